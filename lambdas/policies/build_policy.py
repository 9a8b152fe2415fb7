"""Build policy: from what is granted, generated and last accessed to a proposal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.policy.proposal import build_proposal
from pare.runs import FailureJson, failure_text

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson


class Evidence(TypedDict):
    """One branch of the evidence: where its outcome lies, or why there is none."""

    outcome: NotRequired[ObjectRef]
    failure: NotRequired[FailureJson]


class Input(TypedDict):
    principal: Principal
    execution: str
    evidence: NotRequired[list[Evidence]]  # policy generation, last accessed


class Output(TypedDict):
    proposal: ObjectRef
    verdict: str
    has_documents: bool


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    break_glass_tag: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the proposal lies; without evidence it is a refusal with its reason."""
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"])
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    generation: GenerationOutcomeJson | None = None
    last_accessed: LastAccessedOutcomeJson | None = None
    if evidence := event.get("evidence"):
        empty: dict[str, Any] = {"job_id": None, "is_complete": None, "policies": [], "trail": None}
        generation = cast("GenerationOutcomeJson", _outcome(evidence[0], store, empty))
        last_accessed = cast(
            "LastAccessedOutcomeJson", _outcome(evidence[1], store, {"services": []})
        )
    proposal = build_proposal(
        store.get_json(principal["current"]),
        generation,
        last_accessed,
        account_id=principal["account_id"],
        break_glass_tag=settings.break_glass_tag,
    )
    proposal |= {
        "created_at": principal["created_at"],
        "owner": principal["owner"],
        "finding_id": principal["finding_id"],
        "execution": event["execution"],
    }
    for number, document in enumerate(proposal["documents"], start=1):
        store.put_json(f"{principal['prefix']}/policy-{number}.json", document)
    logger.info("policy built", verdict=proposal["verdict"])
    return {
        "proposal": store.put_json(f"{principal['prefix']}/proposal.json", proposal),
        "verdict": proposal["verdict"],
        "has_documents": bool(proposal["documents"]),
    }


def _outcome(evidence: Evidence, store: EvidenceStore, empty: dict[str, Any]) -> dict[str, Any]:
    if "outcome" in evidence:
        outcome: dict[str, Any] = store.get_json(evidence["outcome"])
        return outcome
    error, message = failure_text(evidence["failure"])
    return {"outcome": error, "message": message, **empty}
