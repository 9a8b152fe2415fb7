"""From evidence to a proposed policy.

The rule behind all of it: **no evidence, no proposal**, and what cannot be observed is kept.

- A call that the trail shows as allowed is granted, on the resource it was made on, if it is
  granted today. A refused call is no need: it is listed as asked for and refused.
- An action that nothing in the evidence could have shown (the data plane where its events are not
  recorded, permissions without an operation of their own) is kept as it is granted today wherever
  last accessed information says that the service was used: *kept: not observable*.
- An action that only last accessed information saw (an older or a seasonal use) is kept too: *kept:
  last accessed*.
- A service that IAM did not report on is unknown, not unused: it is kept where the grant names it
  or the trail shows it, and named where only a wildcard over services granted it.
- Deny statements are kept as they are, and nothing is added that is not granted today.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from pare.policy.access import Access, access_today
from pare.policy.catalogue import load_catalogue
from pare.policy.checks import without_policy
from pare.policy.difference import difference
from pare.policy.document import PolicyDocument
from pare.policy.grants import counts
from pare.policy.keep import Kept, roles_are_told, what_to_keep
from pare.policy.lint import lint
from pare.policy.no_new_access import compare
from pare.policy.observed import PASS_ROLE, Calls, generated_calls, observed_calls
from pare.policy.packing import pack, quotas_of
from pare.policy.patterns import has_wildcard
from pare.policy.reasons import Facts, no_activity_reasons, reasons_of, refusal
from pare.policy.replay import Replay, replay
from pare.policy.statements import Basic, as_pattern, named, observed_statements
from pare.policy.verdict import in_order, verdict_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.difference import DifferenceJson
    from pare.policy.evidence import Evidence, GenerationOutcomeJson, Terms
    from pare.policy.grants import CountsJson
    from pare.policy.lint import LintFindingJson
    from pare.policy.no_new_access import NoNewAccessJson
    from pare.policy.observed import Observed
    from pare.policy.packing import PackingJson
    from pare.policy.replay import ReplayJson
    from pare.policy.statements import StatementEvidenceJson
    from pare.policy.verdict import Reason, Verdict

SCHEMA_VERSION = 2

# Refused calls that are listed; all are counted.
MAX_REFUSED_LISTED = 100


class RefusedCallJson(TypedDict):
    """A call that was refused and never allowed. ``granted_by_proposal``: it should be False."""

    action: str
    resource: str | None
    count: int
    last: str
    file: str
    errors: dict[str, int]
    granted_by_proposal: bool


class ComparisonJson(TypedDict):
    """How the two kinds of evidence agree, action by action."""

    both: int
    only_access_analyzer: list[str]
    only_activity: list[str]
    refused_in_activity: list[str]


class ProposalJson(TypedDict):
    """A proposal, as stored. ``documents`` is empty where the verdict is refused.

    ``not_granted_today``: actions that the evidence shows and today's identity-based policies do
    not grant; no proposal adds them. ``before``, ``difference`` and ``no_new_access`` are null
    where today's policies are not known; ``replay`` where there is no activity to replay. The
    last four keys say where it belongs; the step that stores it knows them.
    """

    schema_version: int
    principal_arn: str
    account_id: str
    kind: str
    verdict: Verdict
    reasons: list[Reason]
    documents: list[dict[str, Any]]
    evidence: list[StatementEvidenceJson]
    before: CountsJson | None
    after: CountsJson | None
    removed_services: list[str]
    removed_action_count: int
    difference: DifferenceJson | None
    no_new_access: NoNewAccessJson | None
    replay: ReplayJson | None
    not_granted_today: list[str]
    refused_calls: list[RefusedCallJson]
    more_refused_calls: int
    packing: PackingJson | None
    lint: list[LintFindingJson]
    coverage: dict[str, Any]
    created_at: NotRequired[str]
    owner: NotRequired[str | None]
    finding_id: NotRequired[str | None]
    execution: NotRequired[str]


def build_proposal(evidence: Evidence, terms: Terms) -> ProposalJson:
    """Return the proposal for a principal; raises PolicyParseError for policies IAM would not have.

    The same evidence and terms give the same proposal, to the byte.
    """
    today = access_today(evidence.current, limits=evidence.limits) if evidence.current else None
    proposal = _empty(evidence, today)
    if refused := refusal(evidence, terms):
        proposal["reasons"] = [refused]
        return proposal
    calls = observed_calls(evidence.activity) if evidence.activity is not None else _NO_CALLS
    generated = _generated(evidence.generation)
    allowed, comparison = _united(calls, generated, evidence)
    proposal["coverage"]["comparison"] = comparison
    granted, elsewhere = _granted_today(allowed, today, evidence)
    proposal["not_granted_today"] = sorted({row.action for row in elsewhere})
    observed = {row.action for row in granted}
    refused_only = {row.action for row in calls.refused} - {row.action for row in calls.allowed}
    told = observed if roles_are_told(granted) else observed - {PASS_ROLE}
    kept = _kept(today, told, refused_only, evidence)
    never_allowed = calls.never_allowed
    proposal["refused_calls"] = _refused_calls(never_allowed, None, evidence)
    if not granted and not _is_in_use(kept, evidence):
        facts = Facts(calls, observed, kept, today, evidence, terms)
        proposal["reasons"] = in_order(no_activity_reasons(proposal, facts))
        return proposal
    basics = observed_statements(
        granted,
        account_id=evidence.account_id,
        partition=evidence.principal_arn.split(":", 2)[1],
        today=today,
        refused=never_allowed,
        rules=terms.rules,
    )
    if today is not None:
        basics += _kept_statements(today, kept)
    last_accessed = evidence.last_accessed
    statements, proposal["evidence"] = named(
        basics, _last_accessed_at(last_accessed["services"] if last_accessed else ())
    )
    packed = pack(
        PolicyDocument(statements=tuple(statements)),
        load_catalogue(),
        quotas=quotas_of(evidence.kind),
        mode=terms.packing,
    )
    proposed = Access(
        packed.documents, boundary=today.boundary if today else None, limits=evidence.limits
    )
    _describe(proposal, packed.documents, packed.packing, today, proposed, evidence)
    proposal["refused_calls"] = _refused_calls(never_allowed, proposed, evidence)
    if evidence.activity is not None:
        proposal["replay"] = replay(
            calls.allowed,
            principal_arn=evidence.principal_arn,
            account_id=evidence.account_id,
            access=proposed,
            today=today,
        )
    return _judged(proposal, Facts(calls, observed, kept, today, evidence, terms))


_NO_CALLS = Calls((), (), {})
_ANY_ARN = "arn:*:*:*:*:*"


def _empty(evidence: Evidence, today: Access | None) -> ProposalJson:
    return {
        "schema_version": SCHEMA_VERSION,
        "principal_arn": evidence.principal_arn,
        "account_id": evidence.account_id,
        "kind": evidence.kind,
        "verdict": "refused",
        "reasons": [],
        "documents": [],
        "evidence": [],
        "before": counts(today.grants.actions) if today else None,
        "after": None,
        "removed_services": [],
        "removed_action_count": 0,
        "difference": None,
        "no_new_access": None,
        "replay": None,
        "not_granted_today": [],
        "refused_calls": [],
        "more_refused_calls": 0,
        "packing": None,
        "lint": [],
        "coverage": _coverage(evidence),
    }


def _coverage(evidence: Evidence) -> dict[str, Any]:
    generation, last_accessed = evidence.generation, evidence.last_accessed
    return {
        "route": dict(evidence.route) if evidence.route else None,
        "activity": evidence.coverage,
        "policy_generation": None
        if generation is None
        else {
            "outcome": generation["outcome"],
            "message": generation["message"],
            "job_id": generation["job_id"],
            "is_complete": generation["is_complete"],
            "trail": generation["trail"],
        },
        "last_accessed": None
        if last_accessed is None
        else {
            "outcome": last_accessed["outcome"],
            "message": last_accessed["message"],
            "service_count": len(last_accessed["services"]),
            "accessed_service_count": sum(
                1 for service in last_accessed["services"] if service["last_accessed_at"]
            ),
        },
        "comparison": None,
        "catalogue_version": load_catalogue().version,
    }


def _generated(generation: GenerationOutcomeJson | None) -> tuple[Observed, ...]:
    if generation is None or generation["outcome"] != "SUCCEEDED":
        return ()
    return generated_calls(generation["policies"])


def _united(
    calls: Calls, generated: tuple[Observed, ...], evidence: Evidence
) -> tuple[tuple[Observed, ...], ComparisonJson | None]:
    """Return the allowed calls of both kinds of evidence, and how they agree.

    Where the activity has an action, its ARNs stand in place of Access Analyzer's templates. What
    the activity knows as refused only is no need, though Access Analyzer names it.
    """
    if evidence.generation is None or evidence.activity is None:
        return calls.allowed or generated, None
    theirs = {row.action for row in generated}
    ours = {row.action for row in calls.allowed}
    refused = {row.action for row in calls.refused} - ours
    added = tuple(row for row in generated if row.action not in ours | refused)
    if evidence.generation["outcome"] != "SUCCEEDED":
        return calls.allowed, None
    return calls.allowed + added, {
        "both": len(ours & theirs),
        "only_access_analyzer": sorted(theirs - ours - refused),
        "only_activity": sorted(ours - theirs),
        "refused_in_activity": sorted(theirs & refused),
    }


def _granted_today(
    rows: tuple[Observed, ...], today: Access | None, evidence: Evidence
) -> tuple[list[Observed], list[Observed]]:
    """Return the rows that today's policies grant, or may, and those that they do not."""
    if today is None:
        return list(rows), []
    asked = Replay(evidence.principal_arn, evidence.account_id, today, today)
    granted, elsewhere = [], []
    for row in rows:
        if _is_granted(row, today, asked):
            granted.append(row)
        else:
            elsewhere.append(row)
    return granted, elsewhere


def _is_granted(row: Observed, today: Access, asked: Replay) -> bool:
    if row.resource is None or row.source == "access-analyzer":
        # By its name: a template need not be all of the resources that were used.
        if load_catalogue().exists(row.action) and row.action not in today.grants.actions:
            return False
        return bool(today.allows_of(row.action)) and any(
            asked.answer(replace(row, resource=anything))[0] not in {"not allowed", "denied"}
            for anything in (_ANY_ARN, "*")
        )
    answer, _ = asked.answer(row)
    if answer == "not allowed" and has_wildcard(row.resource):
        return bool(today.within(row.action, as_pattern(row.resource)))
    return answer not in {"not allowed", "denied"}


def _kept(
    today: Access | None, observed: set[str], refused_only: set[str], evidence: Evidence
) -> Kept:
    if today is None:
        return Kept()
    known, covered = evidence.last_accessed, evidence.coverage
    return what_to_keep(
        today,
        observed,
        refused_only,
        known if known is not None and known["outcome"] == "COMPLETED" else None,
        data_event_sources=covered["data_events"] if covered else None,
        services_left_out=(covered["services_left_out"] if covered else None) or (),
    )


def _is_in_use(kept: Kept, evidence: Evidence) -> bool:
    """Return whether IAM saw a use of what is granted, though no call of it was observed.

    What is kept because nobody reports on it is no sign of use.
    """
    if kept.last_accessed:
        return True
    services = evidence.last_accessed["services"] if evidence.last_accessed else []
    used = {each["service"].lower() for each in services if each["last_accessed_at"]}
    return any(action.partition(":")[0] in used for action in kept.not_observable)


def _kept_statements(today: Access, kept: Kept) -> list[Basic]:
    return [
        *(Basic("kept: last accessed", each) for each in today.kept(kept.last_accessed)),
        *(Basic("kept: not observable", each) for each in today.kept(kept.not_observable)),
        *(Basic("kept: deny", each) for each in today.denies()),
    ]


def _last_accessed_at(services: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return service and action, in lower case, -> when last accessed, for those that were."""
    found: dict[str, str] = {}
    for service in services:
        names = {"": service["last_accessed_at"], **(service["actions"] or {})}
        for name, at in names.items():
            if at:
                found[f"{service['service']}:{name}".rstrip(":").lower()] = at
    return found


def _refused_calls(
    rows: Sequence[Observed], proposed: Access | None, evidence: Evidence
) -> list[RefusedCallJson]:
    """Return refused calls that were never allowed, those that the proposal grants first."""
    asked = (
        Replay(evidence.principal_arn, evidence.account_id, proposed, None) if proposed else None
    )
    found: list[RefusedCallJson] = [
        {
            "action": row.action,
            "resource": row.resource,
            "count": row.count,
            "last": row.last,
            "file": row.file,
            "errors": dict(sorted(row.errors.items())),
            "granted_by_proposal": proposed is not None
            and asked is not None
            and _grants(proposed, row, asked),
        }
        for row in rows
    ]
    return sorted(
        found,
        key=lambda each: (
            not each["granted_by_proposal"], -each["count"], each["action"], each["resource"] or "",
        ),
    )  # fmt: skip


def _grants(access: Access, row: Observed, asked: Replay) -> bool:
    """Return whether a set of policies may grant a refused call; what is not known may be."""
    if row.resource is None:
        # Exact ARNs are those of calls that were allowed.
        return any(
            statement.not_resources is not None
            or any(map(has_wildcard, statement.resources or "*"))
            for statement in access.allows_of(row.action)
        )
    return asked.answer(row)[0] in {"allowed", "undecided"}


def _describe(
    proposal: ProposalJson,
    documents: Sequence[PolicyDocument],
    packing: PackingJson,
    today: Access | None,
    proposed: Access,
    evidence: Evidence,
) -> None:
    """Fill in the documents and all that follows from them."""
    after = proposed.grants.actions
    proposal["documents"] = [dict(document.to_json_object()) for document in documents]
    proposal["packing"] = packing
    proposal["after"] = counts(after)
    proposal["lint"] = [finding for document in documents for finding in lint(document)]
    before = proposal["before"]
    if today is None or evidence.current is None or before is None:
        return
    proposal["removed_services"] = sorted(
        set(before["services"]) - {action.partition(":")[0] for action in after}
    )
    proposal["removed_action_count"] = len(today.grants.actions - after)
    proposal["difference"] = difference(evidence.current, documents, limits=evidence.limits)
    proposal["no_new_access"] = compare(today.documents, documents, boundary=today.boundary)
    proposal["coverage"]["unknown_patterns"] = today.unknown_patterns()


def _judged(proposal: ProposalJson, facts: Facts) -> ProposalJson:
    reasons = in_order(reasons_of(proposal, facts))
    proposal["more_refused_calls"] = max(0, len(proposal["refused_calls"]) - MAX_REFUSED_LISTED)
    proposal["refused_calls"] = proposal["refused_calls"][:MAX_REFUSED_LISTED]
    proposal["reasons"] = reasons
    proposal["verdict"] = verdict_of(reasons)
    return without_policy(proposal) if proposal["verdict"] == "refused" else proposal
