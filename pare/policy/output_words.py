"""What every form of a proposal says in the same words: names, numbers, one line for each proof.

Takes a stored proposal (``ProposalJson``, schema version 2); a part that is absent or null is said
to be unknown, and a part of the coverage that has no words here is shown as it is.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.arns import parse_principal_arn
from pare.message import listed, plain, sentence, several
from pare.policy.document import MANAGED_POLICY_LIMIT, parse, size_in_characters
from pare.policy.message import counted
from pare.policy.verdict import GRAVEST_FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pare.policy.verdict import Level

OPENINGS = {
    "ready": "This policy keeps everything that was used and can be applied.",
    "review": "Somebody who knows the workload should read this policy before it is applied.",
    "refused": "Pare proposes no policy; the reason and what to do are below.",
}

# The order people read a policy in; what is not named here comes after, sorted.
_ORDER = (
    "Version", "Id", "Statement",
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
    "Condition",
)  # fmt: skip

# A policy's name has at most 128 of these characters.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_+=,.@-]+")
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_LENGTH = 100  # leaves room for a prefix and a number
_HASH_LENGTH = 8

# What a coverage calls its other parts -> what people call them, in the order they are told.
_COVERAGE_LABELS = {
    "unmapped_operations": "Unmapped operations",
    "policy_generation": "Access Analyzer",
    "comparison": "Compared with Access Analyzer",
    "last_accessed": "Last accessed information",
    "catalogue_version": "Action catalogue",
    "unknown_patterns": "Unknown actions granted",
    "validate_policy": "ValidatePolicy",
    "check_no_new_access": "CheckNoNewAccess",
}
# What null means: nobody asked for it.
_NOT_ASKED = frozenset({"policy_generation", "last_accessed", "route"})
_NEW_ACCESS = {
    "proved": "none: everything the proposal grants is granted today (proved)",
    "additions": "yes: the proposal grants what is not granted today",
    "undecided": "not proved: for some statements it could not be decided",
}


@dataclass(frozen=True, slots=True)
class Names:
    """What the things made for a principal are called, the same for the same ARN."""

    entity: str  # "role" or "user"
    name: str  # as IAM knows it
    label: str  # an identifier in HCL: "role_ShopCheckout"
    logical_id: str  # letters and digits: "RoleShopCheckout"

    def policy_name(self, number: int) -> str:
        """Return the name of a managed policy; all of Pare's stand together in a list."""
        shown = _shortened(_NOT_IN_A_NAME.sub("-", self.name), self.name, "-")
        return f"pare-{self.entity}-{shown}-{number}"


def names_of(principal_arn: str) -> Names:
    """Return the names for a role or user; raises ArnParseError for any other ARN."""
    principal = parse_principal_arn(principal_arn)
    entity, name = principal.entity, principal.name
    label = _shortened(_NOT_IN_A_LABEL.sub("_", name), name, "_")
    words = _shortened("".join(re.findall(r"[A-Za-z0-9]+", name)), name, "")
    return Names(entity, name, f"{entity}_{label}", f"{entity.title()}{words}")


def _shortened(written: str, name: str, separator: str) -> str:
    """Return what was written of a name, made distinct by a hash where it is not the name."""
    if written == name and len(name) <= _NAME_LENGTH:
        return written
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{written[:_NAME_LENGTH]}{separator}{digest}"


def short_name(proposal: Mapping[str, Any]) -> str:
    """Return the last part of the principal's ARN, bounded."""
    return plain(proposal["principal_arn"].rpartition("/")[2] or proposal["principal_arn"], 80)


def ordered(value: Any) -> Any:
    """Return a policy document with its keys in the order people read them."""
    if isinstance(value, dict):
        known = [key for key in _ORDER if key in value]
        others = sorted(value.keys() - known)
        return {key: ordered(value[key]) for key in (*known, *others)}
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return [ordered(each) for each in value]
    return value


def title(proposal: Mapping[str, Any]) -> str:
    """Return ``Proposed policy for app: 240 -> 9 actions``, or that there is none."""
    name = short_name(proposal)
    if not proposal["documents"]:
        return f"No proposal for {name}"
    before, after = proposal.get("before"), proposal.get("after")
    if before and after:
        return (
            f"Proposed policy for {name}: "
            f"{before['action_count']:,} -> {after['action_count']:,} actions"
        )
    return f"Proposed policy for {name}" + (f": {plural_of(after, 'action')}" if after else "")


def plural_of(counts: Mapping[str, Any], what: str) -> str:
    """Return ``9 actions`` or ``1 service`` of counts."""
    return several(counts[f"{what}_count"], what)


def granted(counts: Any) -> str:
    """Return ``240 actions in 31 services``, or that it is not known."""
    return counted(counts) if counts else "not known"


def reasons(proposal: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the reasons, those that weigh most first."""
    return sorted(proposal["reasons"], key=lambda reason: GRAVEST_FIRST.index(level_of(reason)))


def level_of(reason: Mapping[str, Any]) -> Level:
    """Return ``refused``, ``review`` or ``note``."""
    return next((level for level in GRAVEST_FIRST if level == reason.get("level")), "review")


def reason_text(reason: Mapping[str, Any]) -> str:
    """Return a reason and what to do about it, as one paragraph."""
    text, action = plain(reason["text"], 1_000), plain(reason.get("what_to_do", ""), 500)
    return f"{sentence(text)} {action}".strip()


def replay_line(replay: Any) -> str:
    """Return ``812 of 812 observed calls are still allowed``, with what could not be decided."""
    if not replay:
        return "not replayed: no activity that tells single calls was read"
    line = (
        f"{replay['allowed_calls']:,} of {several(replay['calls'], 'observed call')} "
        f"{'is' if replay['calls'] == 1 else 'are'} still allowed"
    )
    if replay.get("undecided_rows"):
        line += f"; {replay['undecided_rows']:,} of {several(replay['rows'], 'row')} undecided"
    elsewhere = sum(each["count"] for each in replay.get("not_granted_today") or ())
    if elsewhere:
        line += f"; {elsewhere:,} {'is' if elsewhere == 1 else 'are'} not granted today either"
    elif not replay.get("complete", True) and not replay.get("counterexamples"):
        line += "; not all calls could be replayed"
    return line


def no_new_access_line(result: Any) -> str:
    """Return what the comparison with today's permissions found, in one line."""
    if not result:
        return "not checked: what is attached today is not known"
    verdict = plain(result["result"], 60)
    return _NEW_ACCESS.get(verdict, verdict)


def basis_line(evidence: Mapping[str, Any]) -> str:
    """Return ``observed: 812 calls, last on 2026-11-20``: the comment over a statement."""
    line = plain(evidence["basis"], 60)
    if evidence.get("call_count"):
        line += f": {several(evidence['call_count'], 'call')}"
        if evidence.get("last"):
            line += f", last on {plain(evidence['last'], 20)[:10]}"
    elif last := last_accessed(evidence):
        line += f": last accessed on {last[:10]}"
    if evidence.get("folded"):
        count = sum(each["arn_count"] for each in evidence["folded"])
        line += f"; {several(count, 'ARN')} folded"
    if evidence.get("widened"):
        line += "; widened"
    return line


def last_accessed(evidence: Mapping[str, Any]) -> str:
    """Return the latest time that last accessed information has for a statement, or nothing."""
    return plain(max((evidence.get("last_accessed_at") or {"": ""}).values()), 20)


def basis_by_sid(proposal: Mapping[str, Any]) -> dict[str, str]:
    """Return the comment for every statement, by its Sid."""
    return {each["sid"]: basis_line(each) for each in proposal["evidence"]}


def last_use(evidence: Mapping[str, Any]) -> str:
    """Return the day of the last use of a statement's actions, or nothing."""
    return (plain(evidence.get("last") or "", 20) or last_accessed(evidence))[:10]


def how_to_apply(proposal: Mapping[str, Any], name: Callable[[str], str] = plain) -> str:
    """Return what to do with the policies. What comes through a group must stay on the group.

    ``name`` makes names from outside safe where they are shown.
    """
    sources = (proposal.get("difference") or {}).get("sources") or []
    groups = [*dict.fromkeys(name(each["group"]) for each in sources if each.get("group"))]
    if not groups:
        return (
            "Apply this beside what is attached today, then detach that: until then nothing is "
            "narrowed."
        )
    who = name(short_name(proposal))
    own = any(not each.get("group") for each in sources)
    several = len(groups) > 1
    return (
        "Apply this beside what is attached today. "
        + (f"Then detach what is attached to {who} itself. " if own else "")
        + f"{'R' if own else 'Then r'}emove {who} from the group{'s' if several else ''} "
        f"{_anded(groups)}; do not detach {'their' if several else 'its'} policies. "
        "Until then nothing is narrowed."
    )


def _anded(values: Sequence[str]) -> str:
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def sizes(proposal: Mapping[str, Any]) -> list[int]:
    """Return the size of each document as IAM counts it."""
    if packing := proposal.get("packing"):
        return list(packing["sizes"])
    return [size_in_characters(parse(document)) for document in proposal["documents"]]


def policies_line(proposal: Mapping[str, Any]) -> str:
    """Return ``2 policies of 6,012 and 1,100 characters (IAM takes 6,144 each)``."""
    found = [f"{size:,}" for size in sizes(proposal)]
    what, each = ("policy", "") if len(found) == 1 else ("policies", " each")
    limit = f"IAM takes {MANAGED_POLICY_LIMIT:,}{each}"
    return f"{len(found)} {what} of {_anded(found)} characters ({limit})"


def gone_services(proposal: Mapping[str, Any]) -> list[str]:
    """Return the services that are granted today and would not be any more."""
    before, after = proposal.get("before"), proposal.get("after")
    if not before or not after:
        return []
    return sorted(plain(each, 60) for each in {*before["services"]} - {*after["services"]})


def coverage_rows(coverage: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and value for all that the coverage tells, in the order people ask for it."""
    order = [*_COVERAGE_LABELS]
    others = sorted(
        {*coverage} - {"activity"} - _without_a_second_opinion(coverage),
        key=lambda key: (order.index(key) if key in order else len(order), key),
    )
    activity = coverage.get("activity")
    return [
        *(_activity_rows(activity) if activity else [("Log files", "none read")]),
        *(
            (
                _COVERAGE_LABELS.get(key, _words(key)),
                "not asked"
                if key in _NOT_ASKED and coverage[key] is None
                else _shown(key, coverage[key]),
            )
            for key in others
        ),
    ]


def _without_a_second_opinion(coverage: Mapping[str, Any]) -> set[str]:
    """Return what there cannot be where Access Analyzer was not asked."""
    if coverage.get("policy_generation") is not None:
        return set()
    return {key for key in ("comparison", "route") if coverage.get(key) is None}


def _activity_rows(activity: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what log files were read (``ActivityCoverageJson``), in words."""
    asked = [f"{each['since'] or 'the beginning'} to {each['until'] or 'the end'}"
             for each in activity["asked"]]  # fmt: skip
    missing = f"{activity['days_without_records']:,} of {activity['window_days']:,}"
    if activity["first_days_without_records"]:
        missing += f": {listed(activity['first_days_without_records'])}"
    problems, catalogues = activity["problem_files"], activity["catalogue"]
    return [
        ("Asked for", listed(asked) if asked else "everything there is"),
        ("Events", _span(activity)),
        ("Days without records", missing),
        ("Hours with records", f"{activity['hours_with_records']:,}"),
        ("Log files", f"{_files(activity)}; {activity['unreadable_files']:,} unreadable"),
        ("Records", f"{activity['records']:,}; {activity['unreadable_records']:,} unreadable"),
        ("Files with problems", listed(problems) if problems else "none"),
        ("Reads", "recorded" if activity["reads_recorded"] else "not recorded: the trail leaves "
         "them out"),
        ("Data events", _data_events(activity)),
        *([("Event ids forgotten", f"{forgotten:,}: some calls may be counted twice")]
          if (forgotten := activity["forgotten_event_ids"]) else []),
        ("Logs read with", f"action catalogue {listed(catalogues)}" if catalogues else "unknown"),
    ]  # fmt: skip


def coverage_line(coverage: Mapping[str, Any]) -> str:
    """Return the window, the files and the gaps in one line."""
    activity = coverage.get("activity")
    if not activity:
        return "no log files" + "".join(
            f"; {_COVERAGE_LABELS[key]}: {plain((coverage.get(key) or {})['outcome'], 60)}"
            for key in ("policy_generation", "last_accessed")
            if isinstance(coverage.get(key), dict) and "outcome" in coverage[key]
        )
    parts = [
        _span(activity),
        _files(activity),
        f"{several(activity['days_without_records'], 'day')} without records",
    ]
    if activity["unreadable_files"] or activity["unreadable_records"]:
        parts.append(
            f"{several(activity['unreadable_files'], 'file')} and "
            f"{several(activity['unreadable_records'], 'record')} unreadable"
        )
    return ", ".join([*parts, f"data events: {_data_events(activity)}"])


def _span(activity: Mapping[str, Any]) -> str:
    first, last = (plain(activity[key], 20)[:10] or "unknown" for key in ("first", "last"))
    return f"{first} to {last} ({several(activity['window_days'], 'day')})"


def _files(activity: Mapping[str, Any]) -> str:
    return f"{several(activity['files'], 'log file')} ({megabytes(activity['bytes'])})"


def _data_events(activity: Mapping[str, Any]) -> str:
    return plain(listed(activity["data_events"])) or "none recorded"


def _shown(key: str, value: Any) -> str:
    """Return any value of JSON in words, bounded."""
    if value is None or value == "unknown":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return megabytes(value) if key.endswith("bytes") else f"{value:,}"
    if isinstance(value, str):
        return plain(value, 200)
    if isinstance(value, list):
        return listed([_shown("", each) for each in value]) or "none"
    if key == "last_accessed" and {"accessed_service_count", "service_count"} <= value.keys():
        return _last_accessed_line(value)
    told = [
        (_words(name).lower() if "_" in name else plain(name, 60), _inner(name, value[name]))
        for name in sorted(value)
    ]
    return listed([f"{name}: {inner}" for name, inner in told if inner]) or "none"


def _last_accessed_line(value: Mapping[str, Any]) -> str:
    """Return ``4 of 31 services accessed``, and how it ended where it did not end well."""
    line = f"{value['accessed_service_count']:,} of {several(value['service_count'], 'service')}"
    outcome = plain(value.get("outcome") or "", 60)
    said = [outcome if outcome != "COMPLETED" else "", plain(value.get("message") or "", 200)]
    return "; ".join([f"{line} accessed", *(each for each in said if each)])


def _inner(key: str, value: Any) -> str:
    shown = _shown(key, value)
    return f"({shown})" if isinstance(value, dict | list) and len(value) > 1 else shown


def _words(key: str) -> str:
    words = plain(key.replace("_", " "), 60)
    return words[:1].upper() + words[1:]


def megabytes(size: float) -> str:
    """Return a number of bytes as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} bytes"


def any_text(value: Any, test: Callable[[str], bool]) -> bool:
    """Return whether a text anywhere in a JSON value, keys included, passes the test."""
    if isinstance(value, str):
        return test(value)
    if isinstance(value, dict):
        return any(any_text(each, test) for each in [*value, *value.values()])
    return isinstance(value, list) and any(any_text(each, test) for each in value)


def is_normalized(text: str) -> bool:
    """Return whether the text is in Unicode's form NFC, the only one Terraform keeps."""
    return unicodedata.is_normalized("NFC", text)
