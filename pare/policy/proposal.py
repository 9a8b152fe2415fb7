"""From evidence to a proposed policy.

The rule behind all of it: **no evidence, no proposal**, and what cannot be observed is kept.

- An action the trail shows is granted, if it is granted today. Access Analyzer's generated policies
  include denied calls (facts §2), so an action that is not granted today is listed as asked for and
  refused, never added.
- An action that CloudTrail management events cannot show (the data plane, services that AWS does
  not track) is kept as it is granted today wherever last accessed information says that the
  service was used: *kept: not observable*.
- An action that last accessed information saw and the generated policy did not (an older or a
  seasonal use, or a denied call) is kept too: *kept: last accessed*.
- Deny statements are kept as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pare.policy.catalogue import load_catalogue
from pare.policy.current import may_be_narrowed
from pare.policy.document import PolicyDocument, Statement, parse, size_in_characters, split
from pare.policy.grants import granted_actions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.current import CurrentAccessJson
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson

SCHEMA_VERSION = 1

Verdict = Literal["ready", "review", "refused"]
Basis = Literal["observed", "kept: not observable", "kept: last accessed", "kept: deny"]

# Anybody may call these without a permission, and generated policies name them (facts §2).
# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
_FREE_ACTIONS = frozenset({"sts:GetCallerIdentity"})

# `${TableName}` in a generated policy is for a person to fill; it is not a policy variable.
_PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


class Reason(TypedDict):
    """Why a proposal has its verdict: a stable code, a sentence, and what to do."""

    code: str
    text: str
    what_to_do: str


class StatementEvidenceJson(TypedDict):
    """What one statement rests on, by its Sid."""

    sid: str
    basis: Basis
    actions: list[str]
    widened: list[str]
    last_accessed_at: dict[str, str]


class CountsJson(TypedDict):
    """How much is granted: actions and services of the catalogue."""

    action_count: int
    service_count: int
    services: list[str]


class ProposalJson(TypedDict):
    """A proposal, as stored. ``documents`` is empty where the verdict is refused."""

    schema_version: int
    principal_arn: str
    account_id: str
    kind: str
    verdict: Verdict
    reasons: list[Reason]
    documents: list[dict[str, Any]]
    evidence: list[StatementEvidenceJson]
    before: CountsJson
    after: CountsJson | None
    removed_services: list[str]
    removed_action_count: int
    before_by_policy: list[dict[str, Any]]
    asked_for_and_not_granted: list[str]
    coverage: dict[str, Any]


# What to tell a person about each way policy generation can end without a policy. The first four
# are AWS's job error codes (facts §1), then the job states, then our own errors by name.
NO_GENERATION: Mapping[str, str] = {
    "AUTHORIZATION_ERROR": "Let the AccessAnalyzerMonitorServiceRole_Pare role of the account read "
    "the trail bucket and decrypt with its key, then start the policy workflow again.",
    "RESOURCE_NOT_FOUND_ERROR": "Check the trail ARN and bucket in config/pare.yaml, then deploy "
    "and start the policy workflow again.",
    "SERVICE_QUOTA_EXCEEDED_ERROR": "Use a shorter window_days: AWS reads at most 100,000 log "
    "files and 25 GB for one policy.",
    "SERVICE_ERROR": "Access Analyzer failed by itself: start the policy workflow again.",
    "FAILED": "Start the policy workflow again; if it fails again, open a case with AWS.",
    "CANCELED": "Somebody cancelled the job: start the policy workflow again when it suits.",
    "AccessAnalyzerQuotaError": "Start the policy workflow again tomorrow: AWS allows one policy "
    "generation at a time and 50 a day (5 in some Regions) in an account.",
    "PolicyGenerationConflictError": "Start the policy workflow again when the running policy "
    "generation of the account has ended.",
    "PolicyGenerationTimeoutError": "Start the policy workflow again; if the job hangs again, use "
    "a shorter window_days.",
    "TrailNotSupportedError": "Give Pare an organization trail that Control Tower did not make "
    "(trail.arn in config/pare.yaml), then deploy and start the policy workflow again.",
    "MemberAccountError": "Deploy PareMember to the account, and check that no SCP denies its "
    "calls.",
    "ThrottledError": "Start the policy workflow again later: AWS throttled the account's calls "
    "for minutes on end.",
    "AwsServiceError": "Start the policy workflow again; if AWS keeps failing, look at the AWS "
    "Health Dashboard.",
    "AwsCallError": "Mend what AWS's message names (a missing permission is named in it), then "
    "start the policy workflow again.",
}  # fmt: skip
_GENERIC = "Look at the failed step in the Step Functions console, then start the workflow again."


@dataclass(frozen=True, slots=True)
class _Basis:
    basis: Basis
    statement: Statement
    widened: tuple[str, ...] = ()


def build_proposal(
    current: CurrentAccessJson,
    generation: GenerationOutcomeJson | None,
    last_accessed: LastAccessedOutcomeJson | None,
    *,
    account_id: str,
    break_glass_tag: str,
) -> ProposalJson:
    """Return the proposal for a principal from what is granted, generated and last accessed.

    ``None`` for the evidence: it was not asked for, because the principal must not be narrowed.
    """
    attached = [(policy, parse(policy["document"])) for policy in current["policies"]]
    boundary = parse(current["boundary"]["document"]) if current["boundary"] else None
    granted = granted_actions([document for _, document in attached], boundary=boundary)
    proposal: ProposalJson = {
        "schema_version": SCHEMA_VERSION,
        "principal_arn": current["principal_arn"],
        "account_id": account_id,
        "kind": current["kind"],
        "verdict": "refused",
        "reasons": [],
        "documents": [],
        "evidence": [],
        "before": counts(granted.actions),
        "after": None,
        "removed_services": [],
        "removed_action_count": 0,
        "before_by_policy": [
            {
                "source": policy["source"],
                "name": policy["name"],
                "arn": policy["arn"],
                "group": policy["group"],
                "action_count": len(granted_actions([document]).actions),
            }
            for policy, document in attached
        ],
        "asked_for_and_not_granted": [],
        "coverage": _coverage(generation, last_accessed),
    }
    refusal = _refusal(current, generation, last_accessed, break_glass_tag)
    if refusal or generation is None or last_accessed is None:
        proposal["reasons"] = [refusal] if refusal else []
        return proposal

    catalogue = load_catalogue()
    seen = _seen(generation["policies"])
    observed = {action for action in seen if action in granted.actions}
    proposal["asked_for_and_not_granted"] = sorted(set(seen) - observed - _FREE_ACTIONS)
    bases = _observed_statements(seen, observed - granted.conditional)
    documents = [document for _, document in attached]
    bases += _from_current(documents, observed & granted.conditional, "observed")
    used, unobservable = _kept(last_accessed["services"], granted.actions, observed)
    bases += _from_current(documents, used, "kept: last accessed")
    bases += _from_current(documents, unobservable, "kept: not observable")
    if not observed and not used and not unobservable:
        proposal["reasons"] = [_reason(
            "NO_ACTIVITY",
            "No use of this principal was recorded in the window, by CloudTrail or by IAM.",
            "Ask its owner whether it is needed at all: remove it rather than narrow it.",
        )]  # fmt: skip
        return proposal
    bases += [
        _Basis("kept: deny", statement)
        for document in documents
        for statement in document.statements
        if statement.effect == "Deny"
    ]
    whole, evidence = _named(bases, last_accessed["services"])
    after = granted_actions([whole], boundary=boundary).actions
    proposal["documents"] = [dict(part.to_json_object()) for part in split(whole)]
    proposal["evidence"] = evidence
    proposal["after"] = counts(after)
    proposal["removed_services"] = sorted(
        set(proposal["before"]["services"]) - set(counts(after)["services"])
    )
    proposal["removed_action_count"] = len(granted.actions - after)
    proposal["coverage"]["unknown_patterns"] = _unknown_patterns(documents)
    proposal["verdict"] = "review"
    proposal["reasons"] = _review_reasons(
        proposal, generation, granted.actions, observed, used, unobservable, catalogue.version
    )
    proposal["coverage"]["size_in_characters"] = [size_in_characters(part) for part in split(whole)]
    return proposal


def counts(actions: Iterable[str]) -> CountsJson:
    """Return how many actions and services a set of actions has."""
    actions = list(actions)
    services = sorted({action.partition(":")[0] for action in actions})
    return {
        "action_count": len(actions),
        "service_count": len(services),
        "services": services,
    }


def with_checks(
    proposal: ProposalJson,
    validation: Sequence[Mapping[str, Any]],
    no_new_access: Mapping[str, Any] | None,
) -> ProposalJson:
    """Return the proposal with what ValidatePolicy and CheckNoNewAccess said about it.

    An ERROR of validation makes it refused, without its documents: IAM would not take the policy. A
    FAIL of the check is a reason to review; AWS answers FAIL also where it cannot decide (facts
    §1).
    """
    checked = proposal.copy()
    reasons = checked["reasons"] = list(proposal["reasons"])
    errors = [finding for finding in validation if finding["type"] == "ERROR"]
    if errors:
        checked |= {
            "verdict": "refused",
            "documents": [],
            "evidence": [],
            "after": None,
            "removed_services": [],
            "removed_action_count": 0,
        }
        reasons.append(_reason(
            "INVALID_POLICY",
            f"ValidatePolicy found an error: {errors[0]['code']}: {errors[0]['details']}",
            "Report this to the maintainers with the stored evidence; do not apply the policy.",
        ))  # fmt: skip
    if no_new_access is not None and no_new_access["result"] != "PASS":
        reasons.append(_reason(
            "NEW_ACCESS",
            "CheckNoNewAccess did not pass: "
            + (no_new_access["message"] or "AWS gave no explanation"),
            "Compare the named statement with the attached policies before you apply it.",
        ))  # fmt: skip
    checked["coverage"] = {
        **proposal["coverage"],
        "validate_policy": [dict(finding) for finding in validation],
        "check_no_new_access": dict(no_new_access) if no_new_access is not None else None,
    }
    return checked


def is_checked(proposal: ProposalJson) -> bool:
    """Return whether ``with_checks`` was here before."""
    return "validate_policy" in proposal["coverage"]


def _reason(code: str, text: str, what_to_do: str) -> Reason:
    return {"code": code, "text": text, "what_to_do": what_to_do}


def _coverage(
    generation: GenerationOutcomeJson | None, last_accessed: LastAccessedOutcomeJson | None
) -> dict[str, Any]:
    return {
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
        # Access Analyzer says nothing of them; unknown is a value.
        "data_events": "unknown",
        "denied_calls": "unknown",
    }


def _refusal(
    current: CurrentAccessJson,
    generation: GenerationOutcomeJson | None,
    last_accessed: LastAccessedOutcomeJson | None,
    break_glass_tag: str,
) -> Reason | None:
    narrowing = may_be_narrowed(current["kind"], current["tags"], break_glass_tag=break_glass_tag)
    if not narrowing.allowed:
        return _reason(
            "NOT_NARROWED",
            f"Pare proposes no policy for it: {narrowing.reason}.",
            "Archive the finding if this access is intended.",
        )
    if generation is None or generation["outcome"] != "SUCCEEDED":
        outcome = generation["outcome"] if generation else "SERVICE_ERROR"
        message = generation["message"] if generation else ""
        return _reason(
            outcome,
            "There is no policy from recorded activity, so there is no proposal"
            + (f": {message}" if message else "."),
            NO_GENERATION.get(outcome, _GENERIC),
        )
    if last_accessed is None or last_accessed["outcome"] != "COMPLETED":
        message = last_accessed["message"] if last_accessed else ""
        return _reason(
            "LAST_ACCESSED_UNKNOWN",
            "Last accessed information is unknown, and without it a service that CloudTrail does "
            "not show could be cut" + (f": {message}" if message else "."),
            "Start the policy workflow again.",
        )
    return None


def _seen(policies: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return action -> resources of the generated policies, actions spelled as AWS does."""
    catalogue = load_catalogue()
    seen: dict[str, set[str]] = {}
    for policy in policies:
        for statement in parse(dict(policy)).statements:
            for action in statement.actions or ():
                name = catalogue.canonical(action) if catalogue.exists(action) else action
                seen.setdefault(name, set()).update(statement.resources or ("*",))
    return seen


def _observed_statements(seen: Mapping[str, set[str]], actions: set[str]) -> list[_Basis]:
    """Return one statement per set of resources; placeholders are widened to ``*`` and named."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for action in sorted(actions):
        # AWS puts an action on "*" beside its templates where some of its resources have no ARN.
        templates = tuple(sorted(seen[action] - {"*"})) or ("*",)
        groups.setdefault(("*",) if "*" in seen[action] else templates, []).append(action)
    return [
        _Basis(
            "observed",
            Statement(
                effect="Allow",
                actions=tuple(names),
                resources=tuple(sorted({_PLACEHOLDER.sub("*", each) for each in resources})),
            ),
            widened=tuple(sorted({
                name for each in resources for name in _PLACEHOLDER.findall(each)
            })),
        )
        for resources, names in sorted(groups.items())
    ]  # fmt: skip


def _unknown_patterns(documents: Iterable[PolicyDocument]) -> list[str]:
    """Return what Allow statements name and no action of the catalogue matches."""
    catalogue = load_catalogue()
    return sorted({
        pattern
        for document in documents
        for statement in document.statements
        if statement.effect == "Allow"
        for pattern in statement.actions or ()
        if not catalogue.expand(pattern)
    })  # fmt: skip


def _from_current(
    documents: Iterable[PolicyDocument], actions: set[str], basis: Basis
) -> list[_Basis]:
    """Return today's Allow statements cut down to the actions; resources and conditions stay."""
    catalogue = load_catalogue()
    found: dict[Statement, set[str]] = {}
    for document in documents:
        for statement in document.statements:
            if statement.effect != "Allow":
                continue
            patterns = statement.actions if statement.not_actions is None else statement.not_actions
            matched = {action for each in patterns or () for action in catalogue.expand(each)}
            kept = actions & matched if statement.not_actions is None else actions - matched
            if kept:
                frame = replace(statement, sid=None, actions=None, not_actions=None)
                found.setdefault(frame, set()).update(kept)
    return [
        _Basis(basis, replace(frame, actions=tuple(sorted(kept)))) for frame, kept in found.items()
    ]


def _kept(
    services: Iterable[Mapping[str, Any]], granted: frozenset[str], observed: set[str]
) -> tuple[set[str], set[str]]:
    """Return what last accessed information keeps: actions it saw, and actions nothing can show.

    Both only in services that were used. A service without tracked actions is not observable as a
    whole (facts §3: no permissions decision from the absence of tracking information).
    """
    catalogue = load_catalogue()
    used: set[str] = set()
    unobservable: set[str] = set()
    for service in services:
        if not service["last_accessed_at"]:
            continue
        in_service = catalogue.actions(service["service"]) & granted
        tracked = service["actions"] or {}
        names = {f"{service['service']}:{name}".lower(): at for name, at in tracked.items()}
        for action in in_service - observed:
            if action.lower() not in names:
                unobservable.add(action)
            elif names[action.lower()]:
                used.add(action)
    return used, unobservable


def _named(
    bases: Iterable[_Basis], services: Iterable[Mapping[str, Any]]
) -> tuple[PolicyDocument, list[StatementEvidenceJson]]:
    """Return the document with a Sid on each statement, and the evidence under the same Sids."""
    prefixes = {
        "observed": "Observed",
        "kept: not observable": "KeptNotObservable",
        "kept: last accessed": "KeptLastAccessed",
        "kept: deny": "KeptDeny",
    }
    at = {service["service"]: service["last_accessed_at"] for service in services}
    numbers: dict[str, int] = {}
    statements: list[Statement] = []
    evidence: list[StatementEvidenceJson] = []
    for each in bases:
        number = numbers[each.basis] = numbers.get(each.basis, 0) + 1
        sid = f"{prefixes[each.basis]}{number}"
        statements.append(replace(each.statement, sid=sid))
        actions = sorted(each.statement.actions or ())
        evidence.append({
            "sid": sid,
            "basis": each.basis,
            "actions": actions,
            "widened": list(each.widened),
            "last_accessed_at": {
                service: at[service] or ""
                for service in sorted({action.partition(":")[0] for action in actions})
                if at.get(service)
            },
        })  # fmt: skip
    return PolicyDocument(statements=tuple(statements)), evidence


def _review_reasons(
    proposal: ProposalJson,
    generation: GenerationOutcomeJson,
    granted: frozenset[str],
    observed: set[str],
    used: set[str],
    unobservable: set[str],
    catalogue_version: str,
) -> list[Reason]:
    reasons = [_reason(
        "NOT_REPLAYED",
        "Access Analyzer's policies include denied calls and leave out iam:PassRole, and this "
        "version does not yet replay the recorded calls against the proposal.",
        "Read the statements with the owner of the principal before applying them.",
    )]  # fmt: skip
    if generation["is_complete"] is False:
        reasons.append(_reason(
            "NOT_COMPLETE",
            "Access Analyzer could not name every action it saw used (isComplete is false).",
            "Compare the services of the proposal with what the principal is for.",
        ))  # fmt: skip
    if "iam:PassRole" in granted and "iam:PassRole" not in observed | used | unobservable:
        reasons.append(_reason(
            "PASS_ROLE_UNKNOWN",
            "iam:PassRole is granted today, is never recorded by name, and is not in the proposal.",
            "If the principal hands roles to services, add iam:PassRole for exactly those roles.",
        ))  # fmt: skip
    widened = sorted({name for row in proposal["evidence"] for name in row["widened"]})
    if widened:
        reasons.append(_reason(
            "RESOURCES_WIDENED",
            f"Resource names are not in Access Analyzer's evidence; {', '.join(widened)} became *.",
            "Put the names of the real resources in place of * where you know them.",
        ))  # fmt: skip
    if unknown_patterns := proposal["coverage"]["unknown_patterns"]:
        reasons.append(_reason(
            "UNKNOWN_ACTIONS",
            f"Today's policies allow what the catalogue {catalogue_version} does not know: "
            + _listed(unknown_patterns)
            + ". Whether it was used is unknown, and it is not in the proposal.",
            "Add what is needed by hand; look for a spelling mistake in the rest.",
        ))  # fmt: skip
    if unobservable:
        services = sorted({action.partition(":")[0] for action in unobservable})
        reasons.append(_reason(
            "KEPT_NOT_OBSERVABLE",
            f"{len(unobservable)} actions of {', '.join(services)} are kept as they are: the "
            "service was used, and these calls are not recorded.",
            "Switch on data events for these services to learn which of them are needed.",
        ))  # fmt: skip
    if used:
        reasons.append(_reason(
            "KEPT_LAST_ACCESSED",
            f"{len(used)} actions are kept because IAM saw an attempt that the trail did not show: "
            + _listed(sorted(used)),
            "Ask the owner: it may be seasonal use, or a call that was denied.",
        ))  # fmt: skip
    if proposal["asked_for_and_not_granted"]:
        reasons.append(_reason(
            "ASKED_FOR_AND_NOT_GRANTED",
            "The trail has calls that today's policies do not grant: "
            + _listed(proposal["asked_for_and_not_granted"])
            + f" (or actions the catalogue {catalogue_version} does not know).",
            "Find out whether that is a real need, a mistake or an attacker.",
        ))  # fmt: skip
    if proposal["removed_action_count"] == 0:
        reasons.append(_reason(
            "NOTHING_TO_REMOVE",
            "Every action granted today was used or cannot be observed.",
            "Nothing: the attached policies are as small as the evidence allows.",
        ))  # fmt: skip
    return reasons


def _listed(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
