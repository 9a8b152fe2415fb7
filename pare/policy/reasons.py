"""Why a proposal has its verdict, in sentences that a person understands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pare.message import listed, several
from pare.policy.catalogue import load_catalogue
from pare.policy.current import may_be_narrowed
from pare.policy.observability import is_visible, visibility
from pare.policy.observed import PASS_ROLE, still_new
from pare.policy.verdict import reason
from pare.runs import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.access import Access
    from pare.policy.evidence import Evidence, GenerationOutcomeJson, Terms
    from pare.policy.keep import Kept
    from pare.policy.observed import Calls
    from pare.policy.proposal import ProposalJson
    from pare.policy.verdict import Reason

# Who was seen for the first time so few days before the end has hardly begun.
JUST_SEEN_DAYS = 7

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
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the reasons are worked out from, besides the proposal."""

    calls: Calls
    observed: set[str]
    kept: Kept
    today: Access | None
    evidence: Evidence
    terms: Terms


def refusal(evidence: Evidence, terms: Terms) -> Reason | None:
    """Return why there can be no proposal, before any evidence is weighed."""
    tags = evidence.current["tags"] if evidence.current else {}
    narrowing = may_be_narrowed(evidence.kind, tags, break_glass_tag=terms.break_glass_tag)
    if not narrowing.allowed:
        return reason(
            "NOT_NARROWED",
            f"Pare proposes no policy for it: {narrowing.reason}.",
            "Archive the finding if this access is intended.",
        )
    for exemption in terms.exemptions:
        if exemption.holds(evidence.principal_arn) and terms.today <= exemption.expires:
            return reason(
                "EXEMPT",
                f"The settings leave it as it is until {exemption.expires}: {exemption.reason} "
                f"({exemption.owner}).",
                "Remove the exemption from config/pare.yaml when its reason is gone.",
            )
    if evidence.activity is not None:
        return None
    generation, last_accessed = evidence.generation, evidence.last_accessed
    if generation is None or generation["outcome"] != "SUCCEEDED":
        return _no_evidence(generation, evidence.activity_unknown_because)
    if last_accessed is None or last_accessed["outcome"] != "COMPLETED":
        message = last_accessed["message"] if last_accessed else ""
        return reason(
            "LAST_ACCESSED_UNKNOWN",
            "Last accessed information is unknown, and without it a service that CloudTrail does "
            "not show could be cut" + (f": {message}" if message else "."),
            "Start the policy workflow again.",
            level="refused",
        )
    return None


def _no_evidence(generation: GenerationOutcomeJson | None, unread: str) -> Reason:
    if generation is None:
        return reason(
            "NO_EVIDENCE",
            "Neither log files nor a generated policy tell what it did, so there is no proposal"
            + (f": {unread}" if unread else "."),
            "Let the activity workflow read the trail (`pare backfill --days 90`), then start the "
            "policy workflow again.",
        )
    outcome, message = generation["outcome"], generation["message"]
    return reason(
        outcome,
        "There is no policy from recorded activity, so there is no proposal"
        + (f": {message}" if message else "."),
        NO_GENERATION.get(outcome) or what_to_do(outcome),
        level="refused",
    )


def no_activity(calls: Calls, not_granted_today: Sequence[str]) -> Reason:
    """Return why a principal without any granted use gets no proposal."""
    if calls.allowed:
        return reason(
            "NO_ACTIVITY",
            "Nothing that it did in the window is granted by its identity-based policies of today: "
            f"{listed(not_granted_today)}.",
            "Find out what grants it: a resource-based policy, or a policy that is gone.",
        )
    if not_granted_today:
        return reason(
            "NO_ACTIVITY",
            "Nothing that Access Analyzer saw it ask for is granted by its policies of today: "
            f"{listed(not_granted_today)}.",
            "Find out whether these calls were refused, and whether it is needed at all: remove it "
            "rather than narrow it.",
        )
    return reason(
        "NO_ACTIVITY",
        "No allowed use of this principal was recorded in the window.",
        "Ask its owner whether it is needed at all. If not, remove it rather than narrow it.",
    )


def no_activity_reasons(proposal: ProposalJson, facts: Facts) -> list[Reason]:
    """Return why there is nothing to propose, and how much that says."""
    return [
        no_activity(facts.calls, proposal["not_granted_today"]),
        *_refused_reasons(proposal),
        *_identity_reasons(facts),
        *_coverage_reasons(proposal, facts),
    ]


def reasons_of(proposal: ProposalJson, facts: Facts) -> list[Reason]:
    """Return the reasons for a proposal's verdict, in the order of what they speak of."""
    return [
        *_replay_reasons(proposal, facts),
        *_access_reasons(proposal, facts),
        *_identity_reasons(facts),
        *_coverage_reasons(proposal, facts),
        *_kept_reasons(proposal, facts),
        *_document_reasons(proposal),
    ]


def _replay_reasons(proposal: ProposalJson, facts: Facts) -> Iterable[Reason]:
    certificate = proposal["replay"]
    if certificate is None:
        catalogue = load_catalogue()
        changing = sorted(
            action
            for action in facts.observed
            if not catalogue.exists(action)
            or catalogue.access_level(action) not in {"List", "Read"}
        )
        yield reason(
            "NOT_REPLAYED",
            "No log files were read that could be replayed"
            + (f" ({unread})" if (unread := facts.evidence.activity_unknown_because) else "")
            + ", and Access Analyzer counts refused calls as calls: any observed action may never "
            "have been allowed.",
            "Read the statements with the owner before applying them"
            + (
                f", first the actions that change something: {listed(changing)}."
                if changing
                else "."
            ),
        )
        return
    shown, undecided = certificate["counterexamples"], certificate["undecided_rows"]
    # Listed with those first that are sure; not all are listed.
    failed = len(shown) + certificate["more_counterexamples"] - undecided
    if failed:
        yield reason(
            "REPLAY_FAILED",
            f"{several(failed, 'observed use')} would be refused, the first of them "
            f"{shown[0]['action']} on {shown[0]['resource'] or 'a resource not recorded'}.",
            "Report this to the maintainers with the stored proposal: it must not happen.",
        )
    if undecided:
        first = next((each for each in shown if each["answer"] == "undecided"), None)
        yield reason(
            "REPLAY_UNDECIDED",
            f"Whether {several(undecided, 'observed use')} would still be allowed cannot be "
            "decided"
            + (f", the first of them {first['action']}: {first['why']}." if first else "."),
            "Look at these calls (replay.counterexamples of the proposal) before you apply it.",
        )


def _access_reasons(proposal: ProposalJson, facts: Facts) -> Iterable[Reason]:
    if facts.today is None:
        why = facts.evidence.current_unknown_because
        yield reason(
            "CURRENT_ACCESS_UNKNOWN",
            "What it is granted today is not known" + (f" ({why.rstrip('.')})" if why else "")
            + ": nothing shows what would be removed, and nothing that logs do not show is kept.",
            "Look whether it still exists, and make the file for --current anew."
            if why
            else "Give --current, the output of aws iam get-account-authorization-details.",
        )  # fmt: skip
    if elsewhere := proposal["not_granted_today"]:
        yield reason(
            "NOT_GRANTED_TODAY",
            "The evidence has calls that today's identity-based policies do not grant, and "
            "that the "
            f"proposal does not add: {listed(elsewhere)}.",
            "Find out what allowed them: a resource-based policy, or a policy that is gone since."
            if proposal["replay"] is not None
            else "Access Analyzer counts refused calls as well: find out whether it is a real "
            "need, a mistake or an attacker.",
        )
    proof = proposal["no_new_access"]
    if proof is not None and proof["result"] == "additions":
        first_addition = proof["additions"][0]
        yield reason(
            "NEW_ACCESS",
            f"The proposal grants what is not granted today: {first_addition['action']} on "
            f"{first_addition['resource']}: {first_addition['why']}.",
            "Compare the named statement with the attached policies before you apply it.",
        )
    if proof is not None and proof["result"] == "undecided":
        yield reason(
            "NEW_ACCESS_UNDECIDED",
            f"It could not be proved that {proof['undecided'][0]['sid']} grants nothing new: "
            f"{proof['undecided'][0]['why']}.",
            "Compare the named statement with the attached policies before you apply it.",
        )
    granted = [each for each in proposal["refused_calls"] if each["granted_by_proposal"]]
    if granted:
        yield reason(
            "REFUSED_CALL_GRANTED",
            f"A widened or kept statement grants {several(len(granted), 'refused call')}, never "
            f"seen allowed, the first of them {granted[0]['action']} on "
            f"{granted[0]['resource'] or 'a resource not recorded'}.",
            "Put the names of the real resources in the statement, or accept it: it is granted "
            "today as well." if facts.today is not None
            else "Put the names of the real resources in the statement.",
        )  # fmt: skip
    yield from _refused_reasons(proposal)
    if facts.today is not None and proposal["removed_action_count"] == 0:
        yield reason(
            "NOTHING_TO_REMOVE",
            "Every action granted today was used or cannot be observed.",
            "Nothing: the actions are as few as the evidence allows. Their resources may be fewer.",
        )


def _refused_reasons(proposal: ProposalJson) -> Iterable[Reason]:
    refused = [each for each in proposal["refused_calls"] if not each["granted_by_proposal"]]
    if refused:
        names = sorted({each["action"] for each in refused})
        yield reason(
            "ASKED_FOR_AND_REFUSED",
            f"Asked for, refused, and not granted: {several(len(refused), 'use')} of "
            f"{listed(names)}.",
            "Find out whether that is a real need, a mistake or an attacker.",
        )


def _new_principal_reasons(facts: Facts) -> Iterable[Reason]:
    """A principal may be younger than the logs: they then show only the beginning of its work."""
    evidence, covered = facts.evidence, facts.evidence.coverage
    if covered is None or not covered["last"]:
        return
    last = date.fromisoformat(covered["last"][:10])
    wanted = facts.terms.thresholds.min_window_days
    made_at = evidence.current["created_at"][:10] if evidence.current else ""
    if made_at and (last - date.fromisoformat(made_at)).days < min(wanted, covered["window_days"]):
        yield reason(
            "NEW_PRINCIPAL",
            f"It was made on {made_at}, within the time of the logs: they show the beginning "
            "of its "
            "work only.",
            "Ask the owner what it will do less often, or wait.",
        )
        return
    first = min((row.first for row in facts.calls.allowed if row.first), default="")
    if first and covered["window_days"] > 2 * JUST_SEEN_DAYS and (
        last - date.fromisoformat(first[:10])
    ).days < JUST_SEEN_DAYS:  # fmt: skip
        yield reason(
            "NEW_PRINCIPAL",
            f"Its first recorded call is of {first[:10]}, in the last days of the logs.",
            "Ask the owner what it will do less often, or wait.",
        )


def _identity_reasons(facts: Facts) -> Iterable[Reason]:
    evidence = facts.evidence
    yield from _new_principal_reasons(facts)
    if not evidence.is_path_known:
        yield reason(
            "PATH_NOT_RECORDED",
            "The logs name sessions of this role without the role's path, so its ARN may be "
            "longer.",
            "Look the role up by its name (`aws iam get-role`).",
        )
    if evidence.gone_ids:
        yield reason(
            "EARLIER_NAMESAKE",
            f"The logs also show {several(len(evidence.gone_ids), 'principal')} of the same name, "
            f"gone since ({listed(evidence.gone_ids, 3)}); what was done under it then is not in "
            "the proposal.",
            "Nothing, unless the principal was made anew with the same work to do.",
        )
    for exemption in facts.terms.exemptions:
        if exemption.holds(evidence.principal_arn):  # not any more, or there were no proposal
            yield reason(
                "EXEMPTION_EXPIRED",
                f"It was exempt until {exemption.expires}: {exemption.reason} ({exemption.owner}).",
                "Ask its owner before you apply this; then remove the exemption from "
                "config/pare.yaml, or renew it.",
            )


def _coverage_reasons(proposal: ProposalJson, facts: Facts) -> Iterable[Reason]:
    evidence, thresholds = facts.evidence, facts.terms.thresholds
    generation, covered = evidence.generation, evidence.coverage
    if generation is not None and generation["is_complete"] is False and covered is None:
        yield reason(
            "NOT_COMPLETE",
            "Access Analyzer could not name every action it saw used (isComplete is false).",
            "Compare the services of the proposal with what the principal is for.",
        )
    if generation is not None and generation["outcome"] != "SUCCEEDED":
        yield reason(
            "POLICY_GENERATION_UNKNOWN",
            f"Access Analyzer gave no second opinion ({generation['outcome']})"
            + (f": {generation['message']}" if generation["message"] else "."),
            NO_GENERATION.get(generation["outcome"]) or what_to_do(generation["outcome"]),
        )
    comparison = proposal["coverage"]["comparison"]
    if comparison and comparison["only_access_analyzer"]:
        yield reason(
            "ROUTES_DISAGREE",
            "Access Analyzer names actions that our reading of the logs does not show: "
            f"{listed(comparison['only_access_analyzer'])}. They are in the proposal.",
            "Look whether log files are missing (coverage of the proposal).",
        )
    if evidence.last_accessed is not None and evidence.last_accessed["outcome"] != "COMPLETED":
        message = evidence.last_accessed["message"]
        yield reason(
            "LAST_ACCESSED_UNKNOWN",
            "Last accessed information is unknown: what is older than the logs is not in the "
            "proposal" + (f": {message}" if message else "."),
            "Start the policy workflow again.",
        )
    if covered is None:
        if evidence.route and (first := evidence.route.get("first_date")):
            yield reason(
                "SHORT_WINDOW",
                f"Access Analyzer was asked of the days from {first} on alone: it reads no more of "
                "this account's log files.",
                "Let Pare read them: `pare backfill --days 90`. Then start the policy workflow "
                "again.",
            )
        return
    if covered["window_days"] < thresholds.min_window_days:
        yield reason(
            "SHORT_WINDOW",
            f"The logs that were read span {several(covered['window_days'], 'day')}; "
            f"{thresholds.min_window_days} are asked for.",
            "Read more of the trail, or ask the owner for what happens less often.",
        )
    if covered["days_without_records"] > thresholds.max_days_without_records:
        yield reason(
            "DAYS_WITHOUT_RECORDS",
            f"On {covered['days_without_records']:,} of {covered['window_days']:,} days no call in "
            "the account was recorded: it was quiet, or log files are missing.",
            "Compare with the trail's bucket (coverage.activity.first_days_without_records).",
        )
    if (
        covered["unreadable_files"] > thresholds.max_unreadable_files
        or covered["unreadable_records"] > thresholds.max_unreadable_records
    ):
        yield reason(
            "UNREADABLE_LOGS",
            f"{several(covered['unreadable_files'], 'log file')} and "
            f"{several(covered['unreadable_records'], 'record')} could not be read.",
            "See coverage.activity.problem_files for their names, and read them again.",
        )
    if covered["reads_recorded"] is False:
        yield reason(
            "READS_NOT_RECORDED",
            "No call that only reads is in the logs of any principal: the trail seems to leave "
            "them "
            "out, and what was only read looks unused.",
            "Let the trail record read events too, or read another trail.",
        )
    if elsewhere := _regions_not_read(evidence):
        yield reason(
            "REGIONS_NOT_READ",
            f"IAM says that it used {listed(elsewhere)} in the time of these logs, and they have "
            "no call from there: what was done there is not in the proposal.",
            "Read the trail of these Regions too: one that records all Regions is best.",
        )
    if facts.calls.unmapped:
        yield reason(
            "UNMAPPED_OPERATIONS",
            f"No known action stands behind {several(len(facts.calls.unmapped), 'operation')} "
            f"that it called: {listed(sorted(facts.calls.unmapped))}.",
            "Add the actions they need by hand, and report them to the maintainers.",
        )


def _regions_not_read(evidence: Evidence) -> list[str]:
    """Return services with the Regions they were used in, by IAM, that no recorded call is from."""
    covered, known = evidence.coverage, evidence.last_accessed
    if covered is None or known is None or not covered["regions"]:
        return []
    return sorted(
        f"{service['service']} in {service['region']}"
        for service in known["services"]
        if service["region"]
        and service["region"] not in covered["regions"]
        and covered["first"] <= (service["last_accessed_at"] or "") <= covered["last"]
    )


def _kept_reasons(proposal: ProposalJson, facts: Facts) -> Iterable[Reason]:
    kept, evidence = facts.kept, facts.evidence
    if facts.today is not None and evidence.coverage is not None:
        yield from _data_event_reasons(facts, evidence.coverage["data_events"])
    if kept.not_reported:
        yield reason(
            "SERVICES_NOT_REPORTED",
            f"Nothing tells whether {listed(kept.not_reported)} were used in ways that these "
            "logs do "
            "not show. What a wildcard over services grants of them today is not in the proposal.",
            "Ask the owner whether the workload needs any of them, and add it by name."
            if evidence.last_accessed is not None
            else "Give --last-accessed, what IAM knows of all services; or ask the owner whether "
            "the workload needs any of them, and add it by name.",
        )
    unobservable = kept.not_observable - {PASS_ROLE}
    if unobservable:
        services = sorted({action.partition(":")[0] for action in unobservable})
        yield reason(
            "KEPT_NOT_OBSERVABLE",
            f"{several(len(unobservable), 'action')} of {listed(services)} kept as granted today: "
            "nothing that Pare reads tells whether they were used.",
            _how_to_observe(unobservable),
        )
    if PASS_ROLE in kept.not_observable and facts.today is not None:
        is_every_role = PASS_ROLE not in facts.today.grants.conditional
        yield reason(
            "PASS_ROLE_KEPT",
            "iam:PassRole is kept as it is granted today"
            + (", for every role" if is_every_role else "")
            + ": which roles it passes is not recorded.",
            "Name the roles it really passes.",
            level="review" if is_every_role else "note",
        )
    if kept.last_accessed:
        yield reason(
            "KEPT_LAST_ACCESSED",
            f"{several(len(kept.last_accessed), 'action')} kept because IAM saw an attempt "
            "that the "
            f"logs do not show: {listed(sorted(kept.last_accessed))}.",
            "Ask the owner: it may be seasonal use, or a call that was denied.",
        )
    names = {
        resource
        for document in proposal["documents"]
        for statement in document["Statement"]
        for resource in statement.get("Resource", ())
    }
    if new := still_new(facts.calls.allowed, names):
        yield reason(
            "RESOURCES_STILL_NEW",
            f"{listed(list(new))} used resources whose names change (dates, ids, revisions), such "
            f"as {next(iter(new.values()))}: the policy names those of the past, and a call on "
            "tomorrow's would be refused.",
            "Put a prefix in the place of these names, or use a smaller --fold-after.",
        )
    widened = sorted({each["action"] for row in proposal["evidence"] for each in row["widened"]})
    if widened:
        yield reason(
            "RESOURCES_NOT_RECORDED",
            f"The evidence does not name every resource of {listed(widened)}: they are granted "
            "more "
            "widely than they were used" + (", at most as they are today." if facts.today else "."),
            "Put the names of the real resources where you know them.",
            level="note" if facts.today else "review",
        )
    unknown = [
        pattern
        for pattern in proposal["coverage"].get("unknown_patterns", ())
        if pattern.lower() not in {action.lower() for action in facts.observed}
    ]
    if unknown:
        yield reason(
            "UNKNOWN_ACTIONS",
            f"Today's policies allow what the catalogue {load_catalogue().version} does not know: "
            f"{listed(unknown)}. Whether it was used is unknown, and what the logs do not show "
            "of it "
            "is not in the proposal.",
            "Add what is needed by hand; look for a spelling mistake in the rest.",
        )


def _how_to_observe(unobservable: Iterable[str]) -> str:
    """Return what can be done about actions that the logs do not show."""
    services = sorted(
        {each.partition(":")[0] for each in unobservable if visibility(each) == "data event"}
    )
    if not services:
        return "No log can show them: remove by hand what the workload surely does without."
    return (
        f"Switch on data events of {listed(services)} to learn which of them are needed; remove "
        "by hand what no log can show and the workload surely does without."
    )


def _data_event_reasons(facts: Facts, sources: Sequence[str]) -> Iterable[Reason]:
    """Data events in the logs may be those of a few resources only; the logs do not tell."""
    if facts.today is None or not sources:
        return
    complete = set(facts.terms.thresholds.complete_data_events)
    dropped = facts.today.grants.actions - facts.observed - facts.kept.not_observable
    services = sorted(
        {
            action.partition(":")[0]
            for action in dropped
            if visibility(action) == "data event" and is_visible(action, sources)
        }
        - complete
    )
    if services:
        yield reason(
            "DATA_EVENTS_MAY_BE_PARTIAL",
            f"Data events of {listed(services)} are in the logs, and what they do not show is "
            "not in "
            "the proposal. If the trail records only some resources, use of others is not seen.",
            "If it records all of them, say so (complete_data_events in the settings, or "
            "--complete-data-events).",
        )


def _document_reasons(proposal: ProposalJson) -> Iterable[Reason]:
    packing = proposal["packing"]
    if packing is not None and not packing["fits"]:
        yield reason(
            "TOO_MANY_POLICIES",
            f"{packing['policy_count']} policies are more than the {packing['attachment_limit']} "
            "that can be attached.",
            "Fold more resources (--fold-after), ask for the quota, or split the workload.",
        )
    if packing is not None and packing["wildcards"]:
        yield reason(
            "WILDCARDS",
            f"{several(len(packing['wildcards']), 'wildcard')} of actions made it fit. They match "
            f"exactly the actions meant in the catalogue {packing['catalogue_version']}; AWS "
            "may add "
            "actions that they match later.",
            "Use --pack never where that is not wanted.",
        )
    errors = [finding for finding in proposal["lint"] if finding["type"] == "ERROR"]
    warnings = [finding for finding in proposal["lint"] if finding["type"] == "SECURITY_WARNING"]
    if errors:
        yield reason(
            "LINT",
            f"IAM Access Analyzer would call {several(len(errors), 'thing')} in it an error, the "
            f"first of them {errors[0]['code']}: {errors[0]['details']}.",
            "Look whether the log files are what they should be: names in the policy are from "
            "them.",
        )
    if warnings:
        yield reason(
            "LINT",
            f"{several(len(warnings), 'statement')} would get a security warning from IAM Access "
            f"Analyzer, the first of them {warnings[0]['code']}.",
            "Read the warnings (lint of the proposal) before you apply it.",
        )
