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
- ``iam:PassRole`` is recorded by nobody, and kept as it is granted today.
- A service that IAM did not report on is unknown, not unused: it is kept where the grant names it
  or the trail shows it, and named where only a wildcard over services granted it.
- Deny statements are kept as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from pare.errors import (
    AccessAnalyzerQuotaError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PolicyGenerationConflictError,
    PolicyGenerationTimeoutError,
    ThrottledError,
    TrailNotSupportedError,
)
from pare.policy.catalogue import has_wildcard, load_catalogue, wildcard_regex
from pare.policy.current import may_be_narrowed
from pare.policy.document import (
    PolicyDocument,
    Statement,
    in_current_version,
    parse,
    size_in_characters,
    split,
)
from pare.policy.grants import granted_actions
from pare.runs import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.catalogue import Catalogue
    from pare.policy.current import CurrentAccessJson
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson

SCHEMA_VERSION = 1
PASS_ROLE = "iam:PassRole"

# Managed policies that may be attached to a role and to a user; a higher quota is granted on
# request. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
ROLE_POLICY_LIMIT = 20
USER_POLICY_LIMIT = 10

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
    """What one statement rests on, by its Sid. ``last_accessed_at``: action or service -> time."""

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
    """A proposal, as stored. ``documents`` is empty where the verdict is refused.

    The last four keys say where it belongs; the step that stores it knows them.
    """

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
    created_at: NotRequired[str]
    owner: NotRequired[str | None]
    finding_id: NotRequired[str | None]
    execution: NotRequired[str]


# What to tell a person about each way policy generation can end without a policy. The first four
# are AWS's job error codes (facts §1), then the job states, then our own errors in their own words.
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
    **{
        error.__name__: error.what_to_do
        for error in (
            AccessAnalyzerQuotaError, PolicyGenerationConflictError, PolicyGenerationTimeoutError,
            TrailNotSupportedError, MemberAccountError, ThrottledError, AwsServiceError,
            AwsCallError,
        )
    },
}  # fmt: skip


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
    attached = [
        (policy, in_current_version(parse(policy["document"]))) for policy in current["policies"]
    ]
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
    documents = [document for _, document in attached]
    unlisted = _granted_unlisted(seen, documents, boundary)
    observed = {action for action in seen if action in granted.actions}
    proposal["asked_for_and_not_granted"] = sorted(set(seen) - observed - unlisted - _FREE_ACTIONS)
    used, unobservable = _kept(last_accessed["services"], granted.actions, observed)
    if not observed and not unlisted and not used and not unobservable:
        proposal["reasons"] = [_reason(
            "NO_ACTIVITY",
            "No use of this principal was recorded in the window, by CloudTrail or by IAM.",
            "Ask its owner whether it is needed at all: remove it rather than narrow it.",
        )]  # fmt: skip
        return proposal
    unreported, not_reported = _unreported(
        last_accessed["services"], granted.actions, {*observed, *unlisted}, documents
    )
    unobservable |= unreported - observed
    if PASS_ROLE in granted.actions:
        # Nothing records which roles a principal passes: no source may narrow it.
        observed.discard(PASS_ROLE)
        used.discard(PASS_ROLE)
        unobservable.add(PASS_ROLE)
    bases = _observed_statements(seen, observed - granted.conditional)
    bases += _from_current(documents, observed & granted.conditional | unlisted, "observed")
    bases += _from_current(documents, used, "kept: last accessed")
    bases += _from_current(documents, unobservable, "kept: not observable")
    bases += [
        _Basis("kept: deny", statement)
        for document in documents
        for statement in document.statements
        if statement.effect == "Deny"
    ]
    whole, evidence = _named(bases, last_accessed["services"])
    after = granted_actions([whole], boundary=boundary).actions
    parts = split(whole)
    remaining = counts(after)
    proposal["documents"] = [dict(part.to_json_object()) for part in parts]
    proposal["evidence"] = evidence
    proposal["after"] = remaining
    proposal["removed_services"] = sorted(
        set(proposal["before"]["services"]) - set(remaining["services"])
    )
    proposal["removed_action_count"] = len(granted.actions - after)
    proposal["coverage"]["catalogue_version"] = catalogue.version
    proposal["coverage"]["unknown_patterns"] = _unknown_patterns(documents)
    proposal["coverage"]["size_in_characters"] = [size_in_characters(part) for part in parts]
    proposal["verdict"] = "review"
    passes_every_role = PASS_ROLE in granted.actions and all(
        _is_on_everything(each, PASS_ROLE)
        for each in ([documents, [boundary]] if boundary else [documents])
    )
    proposal["reasons"] = _review_reasons(
        proposal,
        generation,
        observed | unlisted,
        used,
        unobservable,
        catalogue,
        passes_every_role=passes_every_role,
        not_reported=not_reported,
    )
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
    validation: Sequence[Mapping[str, Any]] | None,
    no_new_access: Mapping[str, Any] | None,
    *,
    refusals: Sequence[str] = (),
) -> ProposalJson:
    """Return the proposal with what ValidatePolicy and CheckNoNewAccess said about it.

    An ERROR of validation makes it refused, without its documents: IAM would not take the policy. A
    FAIL of the check is a reason to review; AWS answers FAIL also where it cannot decide (facts
    §1). ``None`` is a check that could not be made: it is unknown, and ``refusals`` say why.
    """
    checked = proposal.copy()
    reasons = checked["reasons"] = list(proposal["reasons"])
    errors = [finding for finding in validation or () if finding["type"] == "ERROR"]
    warnings = [finding for finding in validation or () if finding["type"] == "SECURITY_WARNING"]
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
    elif warnings:
        reasons.append(_reason(
            "SECURITY_WARNING",
            f"ValidatePolicy gave {len(warnings)} security warning"
            f"{'' if len(warnings) == 1 else 's'}, the first of them {warnings[0]['code']}.",
            "Read the warnings (coverage.validate_policy of the proposal) before you apply it.",
        ))  # fmt: skip
    if no_new_access is not None and no_new_access["result"] != "PASS":
        reasons.append(_reason(
            "NEW_ACCESS",
            "CheckNoNewAccess did not pass: "
            + (no_new_access["message"] or "AWS gave no explanation"),
            "Compare the named statement with the attached policies before you apply it.",
        ))  # fmt: skip
    if validation is None or no_new_access is None:
        reasons.append(_reason(
            "CHECK_UNKNOWN",
            "AWS did not check the proposal as it should: "
            + ("; ".join(refusals) or "AWS gave no explanation"),
            "Mend what the message names and start the policy workflow again, or check the policy "
            "by hand before you apply it.",
        ))  # fmt: skip
    checked["coverage"] = {
        **proposal["coverage"],
        "validate_policy": "unknown"
        if validation is None
        else [dict(finding) for finding in validation],
        "check_no_new_access": "unknown" if no_new_access is None else dict(no_new_access),
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
            NO_GENERATION.get(outcome) or what_to_do(outcome),
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
    """Return one statement per resource; placeholders are widened to ``*`` and named.

    An action that Access Analyzer names with several types of resource works on more than one, and
    its templates need not be all of them (RunInstances without key pairs): it stays on ``*``.
    """
    groups: dict[str, list[str]] = {}
    for action in sorted(actions):
        resource = next(iter(seen[action])) if len(seen[action]) == 1 else "*"
        groups.setdefault(resource, []).append(action)
    return [
        _Basis(
            "observed",
            Statement(
                effect="Allow",
                actions=tuple(names),
                resources=(_PLACEHOLDER.sub("*", resource),),
            ),
            widened=tuple(sorted(set(_PLACEHOLDER.findall(resource)))),
        )
        for resource, names in sorted(groups.items())
    ]


def _speaks_of(statement: Statement, action: str) -> bool:
    """Return whether a statement's Action or NotAction covers an action, by its name alone."""
    patterns = statement.actions if statement.not_actions is None else statement.not_actions
    matches = any(
        wildcard_regex(pattern.lower()).fullmatch(action.lower()) for pattern in patterns or ()
    )
    return matches is (statement.not_actions is None)


def _grants_unlisted(documents: Iterable[PolicyDocument], action: str) -> bool:
    """Return whether documents allow an action somewhere and do not deny it everywhere."""
    spoken = [
        statement
        for document in documents
        for statement in document.statements
        if _speaks_of(statement, action)
    ]
    return any(each.effect == "Allow" for each in spoken) and not any(
        each.effect == "Deny" and not each.conditions and "*" in (each.resources or ())
        for each in spoken
    )


def _granted_unlisted(
    seen: Iterable[str], documents: Sequence[PolicyDocument], boundary: PolicyDocument | None
) -> set[str]:
    """Return the seen actions that the catalogue does not know and today's patterns grant."""
    catalogue = load_catalogue()
    return {
        action
        for action in seen
        if not catalogue.exists(action)
        and not has_wildcard(action)
        and _grants_unlisted(documents, action)
        and (boundary is None or _grants_unlisted([boundary], action))
    }


def _is_on_everything(documents: Iterable[PolicyDocument], action: str) -> bool:
    """Return whether an action is allowed on ``*`` and denied on no resource by name."""
    spoken = [
        statement
        for document in documents
        for statement in document.statements
        if _speaks_of(statement, action)
    ]
    return any(
        each.effect == "Allow" and "*" in (each.resources or ()) for each in spoken
    ) and not any(each.effect == "Deny" and "*" not in (each.resources or ()) for each in spoken)


def _unreported(
    services: Iterable[Mapping[str, Any]],
    granted: frozenset[str],
    observed: set[str],
    documents: Iterable[PolicyDocument],
) -> tuple[set[str], list[str]]:
    """Return what to keep of services IAM did not report on, and the services of the rest.

    Whether they were used is unknown. Kept are services the trail shows, and grants that name
    their service; a grant by a wildcard over services says nothing of any one of them.
    """
    catalogue = load_catalogue()
    reported = {service["service"].lower() for service in services}
    unreported = {action for action in granted if action.partition(":")[0] not in reported}
    shown = {action.partition(":")[0] for action in observed}
    explicit = {
        action
        for document in documents
        for statement in document.statements
        if statement.effect == "Allow"
        for pattern in statement.actions or ()
        if not has_wildcard(pattern.partition(":")[0])
        for action in catalogue.expand(pattern)
    }
    kept = {
        action for action in unreported if action in explicit or action.partition(":")[0] in shown
    }
    rest = unreported - kept - {PASS_ROLE}
    return kept, sorted({action.partition(":")[0] for action in rest})


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
    unlisted = {action for action in actions if not catalogue.exists(action)}
    listed = actions - unlisted
    found: dict[Statement, set[str]] = {}
    for document in documents:
        for statement in document.statements:
            if statement.effect != "Allow":
                continue
            patterns = statement.actions if statement.not_actions is None else statement.not_actions
            matched = {action for each in patterns or () for action in catalogue.expand(each)}
            kept = listed & matched if statement.not_actions is None else listed - matched
            kept |= {action for action in unlisted if _speaks_of(statement, action)}
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
    at = _last_accessed(services)
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
                name: at[name.lower()]
                for name in sorted({*actions, *(action.partition(":")[0] for action in actions)})
                if name.lower() in at
            },
        })  # fmt: skip
    return PolicyDocument(statements=tuple(statements)), evidence


def _last_accessed(services: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return service and action, in lower case, -> when last accessed, for those that were."""
    found: dict[str, str] = {}
    for service in services:
        names = {"": service["last_accessed_at"], **(service["actions"] or {})}
        for name, at in names.items():
            if at:
                found[f"{service['service']}:{name}".rstrip(":").lower()] = at
    return found


def _review_reasons(
    proposal: ProposalJson,
    generation: GenerationOutcomeJson,
    observed: set[str],
    used: set[str],
    unobservable: set[str],
    catalogue: Catalogue,
    *,
    passes_every_role: bool,
    not_reported: Sequence[str],
) -> list[Reason]:
    changing = sorted(
        action
        for action in observed
        if not catalogue.exists(action) or catalogue.access_level(action) not in {"List", "Read"}
    )
    reasons = [_reason(
        "NOT_REPLAYED",
        "Access Analyzer counts refused calls as calls, so any observed action may never have been "
        "allowed, and this version does not yet replay the recorded calls against the proposal.",
        "Read the statements with the owner before applying them"
        + (f", first the actions that change something: {_listed(changing)}." if changing else "."),
    )]  # fmt: skip
    if generation["is_complete"] is False:
        reasons.append(_reason(
            "NOT_COMPLETE",
            "Access Analyzer could not name every action it saw used (isComplete is false).",
            "Compare the services of the proposal with what the principal is for.",
        ))  # fmt: skip
    if passes_every_role:
        reasons.append(_reason(
            "PASS_ROLE_KEPT",
            "iam:PassRole is granted today for every role; nothing records which roles it passes, "
            "so it is kept.",
            "Name the roles it really passes.",
        ))  # fmt: skip
    limit = USER_POLICY_LIMIT if proposal["kind"] == "user" else ROLE_POLICY_LIMIT
    if len(proposal["documents"]) > limit:
        reasons.append(_reason(
            "TOO_MANY_POLICIES",
            f"{len(proposal['documents'])} policies are more than the {limit} that can be "
            "attached.",
            "Ask for the quota, or split the workload over two roles.",
        ))  # fmt: skip
    if not_reported:
        reasons.append(_reason(
            "SERVICES_NOT_REPORTED",
            f"IAM did not report on {_listed(not_reported)}: whether they were used is unknown. "
            "What a wildcard over services grants of them today is not in the proposal.",
            "Ask the owner whether the workload needs any of them, and add it by name.",
        ))  # fmt: skip
    widened = sorted({name for row in proposal["evidence"] for name in row["widened"]})
    if widened:
        reasons.append(_reason(
            "RESOURCES_WIDENED",
            f"Resource names are not in Access Analyzer's evidence; {', '.join(widened)} became *. "
            "The resource is the type Access Analyzer names for the action; if the action works on "
            "other types too, add them.",
            "Put the names of the real resources in place of * where you know them.",
        ))  # fmt: skip
    seen = {action.lower() for action in observed}
    unknown_patterns = [
        pattern
        for pattern in proposal["coverage"]["unknown_patterns"]
        if pattern.lower() not in seen
    ]
    if unknown_patterns:
        reasons.append(_reason(
            "UNKNOWN_ACTIONS",
            f"Today's policies allow what the catalogue {catalogue.version} does not know: "
            + _listed(unknown_patterns)
            + ". Whether it was used is unknown, and what the trail does not show of it is not in "
            "the proposal.",
            "Add what is needed by hand; look for a spelling mistake in the rest.",
        ))  # fmt: skip
    unobservable = unobservable - ({PASS_ROLE} if passes_every_role else set())
    if unobservable:
        services = sorted({action.partition(":")[0] for action in unobservable})
        reasons.append(_reason(
            "KEPT_NOT_OBSERVABLE",
            f"{_counted(unobservable)} of {', '.join(services)} kept as granted today: nothing "
            "that Pare reads tells whether they were used.",
            "Switch on data events for these services to learn which of them are needed.",
        ))  # fmt: skip
    if used:
        reasons.append(_reason(
            "KEPT_LAST_ACCESSED",
            f"{_counted(used)} kept because IAM saw an attempt that the trail did not show: "
            + _listed(sorted(used)),
            "Ask the owner: it may be seasonal use, or a call that was denied.",
        ))  # fmt: skip
    if proposal["asked_for_and_not_granted"]:
        reasons.append(_reason(
            "ASKED_FOR_AND_NOT_GRANTED",
            "The trail has calls that today's policies do not grant: "
            + _listed(proposal["asked_for_and_not_granted"])
            + ".",
            "Find out whether that is a real need, a mistake or an attacker.",
        ))  # fmt: skip
    if proposal["removed_action_count"] == 0:
        reasons.append(_reason(
            "NOTHING_TO_REMOVE",
            "Every action granted today was used or cannot be observed.",
            "Nothing: the attached policies are as small as the evidence allows.",
        ))  # fmt: skip
    return reasons


def _counted(actions: set[str]) -> str:
    return "1 action" if len(actions) == 1 else f"{len(actions)} actions"


def _listed(names: Sequence[str], limit: int = 10) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
