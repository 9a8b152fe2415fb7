"""Record proposal: one item a proposal, with what a list of proposals needs to show.

Where a finding asked for it, its verdict joins the card of the principal, which people hear of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import CardsTable
from pare.aws.tables import ProposalsTable
from pare.findings.card import card_id_of
from pare.message import plain

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.proposal import ProposalJson


# A message about a card names the first reasons; the proposal itself has them all.
_MOST_REASONS = 10
_REASON_LIMIT = 300


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
    cards_table_name: str
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
    is_on_card = principal["finding_id"] is not None and _join_card(event, proposal)
    logger.info(
        "proposal recorded",
        principal_arn=principal["principal_arn"],
        verdict=proposal["verdict"],
        is_on_card=is_on_card,
    )
    return {
        "counts": {
            **({"before_action_count": before["action_count"]} if before else {}),
            **({"after_action_count": after["action_count"]} if after else {}),
            "policy_count": len(proposal["documents"]),
        },
        "unknown": _unknown(proposal["coverage"]),
    }


def _join_card(event: Input, proposal: ProposalJson) -> bool:
    """Note the verdict on the principal's card; return whether there is one."""
    principal = event["principal"]
    before, after = proposal["before"], proposal["after"]
    reasons = [plain(reason["text"], _REASON_LIMIT) for reason in proposal["reasons"]]
    return CardsTable(client("dynamodb"), environment().cards_table_name).set_proposal(
        card_id_of(principal["account_id"], principal["principal_arn"]),
        {
            "verdict": proposal["verdict"],
            "created_at": principal["created_at"],
            "before_action_count": before["action_count"] if before else None,
            "after_action_count": after["action_count"] if after else None,
            "reasons": reasons[:_MOST_REASONS],
            "proposal": {"bucket": event["proposal"]["bucket"], "key": event["proposal"]["key"]},
        },
        now=utc_now(),
    )


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
