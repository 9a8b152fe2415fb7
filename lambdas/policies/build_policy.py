"""Build policy: from what is granted and what was gathered to a proposal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.cloudtrail.activity import PrincipalActivity
from pare.cloudtrail.activity_file import read_activity
from pare.policy.coverage import activity_coverage, recorded
from pare.policy.evidence import Evidence, terms_of
from pare.policy.proposal import build_proposal
from pare.policy.subjects import subjects_of
from pare.runs import FailureJson, failure_text

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.choose_route import Route
    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.coverage import ActivityCoverageJson, DaysJson
    from pare.policy.current import CurrentAccessJson
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson, TermsJson


class Source(TypedDict):
    """One source: where its outcome lies, or why there is none; empty where it was not asked."""

    outcome: NotRequired[ObjectRef]
    failure: NotRequired[FailureJson]
    days: NotRequired[DaysJson]  # of the activity


class Gathered(TypedDict):
    """What was gathered; empty where nothing was, because the principal must not be narrowed."""

    route: NotRequired[Route]
    policy_generation: NotRequired[Source]
    activity: NotRequired[Source]
    last_accessed: NotRequired[Source]


class Input(TypedDict):
    principal: Principal
    execution: str
    evidence: Gathered
    terms: TermsJson


class Output(TypedDict):
    proposal: ObjectRef
    verdict: str
    has_documents: bool


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


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
    proposal = build_proposal(
        _evidence(event, store), terms_of(event["terms"], today=principal["created_at"][:10])
    )
    proposal |= {
        "created_at": principal["created_at"],
        "owner": principal["owner"],
        "finding_id": principal["finding_id"],
        "execution": event["execution"],
    }
    logger.info("policy built", verdict=proposal["verdict"])
    return {
        "proposal": store.put_json(f"{principal['prefix']}/proposal.json", proposal),
        "verdict": proposal["verdict"],
        "has_documents": bool(proposal["documents"]),
    }


def _evidence(event: Input, store: EvidenceStore) -> Evidence:
    principal, gathered = event["principal"], event["evidence"]
    current: CurrentAccessJson = store.get_json(principal["current"])
    activity, coverage, gone = _activity(gathered.get("activity", {}), current, store)
    nothing: dict[str, Any] = {"job_id": None, "is_complete": None, "policies": [], "trail": None}
    return Evidence(
        principal_arn=principal["principal_arn"],
        account_id=principal["account_id"],
        kind=current["kind"],
        current=current,
        activity=activity,
        coverage=coverage,
        generation=cast(
            "GenerationOutcomeJson | None",
            _outcome(gathered.get("policy_generation", {}), store, nothing),
        ),
        last_accessed=cast(
            "LastAccessedOutcomeJson | None",
            _outcome(gathered.get("last_accessed", {}), store, {"services": []}),
        ),
        route=cast("dict[str, Any] | None", gathered.get("route")),
        activity_unknown_because=_failed(gathered.get("activity", {})),
        gone_ids=gone,
    )


def _activity(
    source: Source, current: CurrentAccessJson, store: EvidenceStore
) -> tuple[PrincipalActivity | None, ActivityCoverageJson | None, tuple[str, ...]]:
    """Return what the principal did, empty where the logs do not show it; None without logs."""
    if "outcome" not in source:
        return None, None, ()
    arn, account_id = current["principal_arn"], current["principal_arn"].split(":")[4]
    whole = read_activity(io.BytesIO(store.get_bytes(source["outcome"])))
    coverage = activity_coverage(whole, account_id, recorded(whole), days=source.get("days"))
    subject = subjects_of(whole, {arn: current["principal_id"]}).by_arn.get(arn)
    if subject is None:
        return PrincipalActivity(), coverage, ()
    return subject.activity, coverage, subject.gone_ids


def _failed(source: Source) -> str:
    return ": ".join(failure_text(source["failure"])) if "failure" in source else ""


def _outcome(
    source: Source, store: EvidenceStore, nothing: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the outcome of a source, or how it failed; None where it was not asked."""
    if "outcome" in source:
        outcome: dict[str, Any] = store.get_json(source["outcome"])
        return outcome
    if "failure" not in source:
        return None
    error, message = failure_text(source["failure"])
    return {"outcome": error, "message": message, **nothing}
