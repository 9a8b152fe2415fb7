"""Record proposal: one item a proposal, with what a list of proposals needs to show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.tables import ProposalsTable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.proposal import ProposalJson


class Input(TypedDict):
    principal: Principal
    proposal: ObjectRef
    execution: str


class Output(TypedDict):
    """Counts for the run record, and what is unknown."""

    counts: dict[str, int]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class Environment:
    proposals_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Record the proposal under its principal and time; a second time changes nothing."""
    settings = environment()
    principal = event["principal"]
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    proposal: ProposalJson = store.get_json(event["proposal"])
    before, after = proposal["before"], proposal["after"]
    count("Proposals", verdict=proposal["verdict"])
    ProposalsTable(client("dynamodb"), settings.proposals_table_name).put(
        {
            "principal_arn": principal["principal_arn"],
            "created_at": principal["created_at"],
            "account_id": principal["account_id"],
            "kind": principal["kind"],
            "owner": principal["owner"],
            "finding_id": principal["finding_id"],
            "execution": event["execution"],
            "verdict": proposal["verdict"],
            "reasons": [dict(reason) for reason in proposal["reasons"]],
            "before_action_count": before["action_count"] if before else None,
            "before_service_count": before["service_count"] if before else None,
            "after_action_count": after["action_count"] if after else None,
            "after_service_count": after["service_count"] if after else None,
            "removed_service_count": len(proposal["removed_services"]),
            "policy_count": len(proposal["documents"]),
            "proposal": dict(event["proposal"]),
        }
    )
    logger.info(
        "proposal recorded",
        principal_arn=principal["principal_arn"],
        verdict=proposal["verdict"],
    )
    return {
        "counts": {
            **({"before_action_count": before["action_count"]} if before else {}),
            **({"after_action_count": after["action_count"]} if after else {}),
            "policy_count": len(proposal["documents"]),
        },
        "unknown": _unknown(proposal["coverage"]),
    }


def _unknown(coverage: dict[str, Any]) -> list[str]:
    """Return the sources of evidence that gave nothing; Access Analyzer's only if it was asked."""
    return [
        source
        for source in ("activity", "last_accessed", "policy_generation")
        if (
            coverage[source] is None
            and (source != "policy_generation" or coverage["activity"] is None)
        )
        or (
            coverage[source] is not None
            and coverage[source].get("outcome", "COMPLETED") not in {"SUCCEEDED", "COMPLETED"}
        )
    ]
