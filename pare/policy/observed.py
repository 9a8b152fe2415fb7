"""What was observed of a principal: the rows of evidence that a policy is built from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pare.clock import format_time, parse_time
from pare.policy.catalogue import load_catalogue
from pare.policy.document import parse
from pare.policy.patterns import has_wildcard

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from pare.cloudtrail.activity import PrincipalActivity

Source = Literal["activity", "access-analyzer"]

PASS_ROLE = "iam:PassRole"

# Anybody may call these without a permission, and generated policies name them (facts §2).
# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE_ACTIONS = frozenset({"sts:GetCallerIdentity"})

# Fewer names of an action's resources than this tell nothing of how they come.
MIN_NAMES = 5

# The kind of resource that an ARN is of: what stands before its name, or the bucket.
_KIND = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:/?[^/:]*[/:]")
# 2026, 2026-10, 2026/10/01, 20261001, 20261001T0300: no part of a longer number.
_DATE = re.compile(
    r"(?<![0-9])(20[0-9]{2})(?:[-/_.]?(0[1-9]|1[0-2])(?:[-/_.]?(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[0-9]{2}){0,3})?)?(?![0-9])"
)
# Each deployment makes the next: `task-definition/web:42`, `function:orders:7`, `layer:common:5`.
_REVISION = re.compile(r":(?:(?:task|job)-definition/|function:|layer:)[^:*]+:[0-9]+$")

# `${TableName}` in a generated policy is for a person to fill; it is not a policy variable.
PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Observed:
    """Calls of one action on one resource. Times are ISO 8601, empty where no record had one.

    ``resource``: an ARN; a pattern, where many ARNs were folded or the service chooses the id;
    ``*`` where the action takes none; None where the records do not tell. ``file`` holds the last
    call.
    """

    action: str
    resource: str | None
    count: int = 0
    first: str = ""
    last: str = ""
    file: str = ""
    passed_to_service: str = ""
    regions: tuple[str, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict, hash=False)
    source: Source = "activity"
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Calls:
    """What a principal did: allowed and refused, sorted, and what maps to no known action."""

    allowed: tuple[Observed, ...]
    refused: tuple[Observed, ...]
    unmapped: Mapping[str, int]  # operation -> calls

    @property
    def never_allowed(self) -> tuple[Observed, ...]:
        """Return the refused calls that were never allowed: of the same action, on the same
        resource, and for a role that is passed, to the same service.
        """
        allowed = {(each.action, each.resource, each.passed_to_service) for each in self.allowed}
        return tuple(
            each
            for each in self.refused
            if (each.action, each.resource, each.passed_to_service) not in allowed
        )


def observed_calls(activity: PrincipalActivity) -> Calls:
    """Return the calls in a principal's activity."""
    found: dict[str, list[Observed]] = {"allowed": [], "denied": []}
    for key in sorted(activity.groups):
        group = activity.groups[key]
        if key.action in FREE_ACTIONS:
            continue
        rows = found[key.outcome]
        for resource in sorted(group.uses, key=_known_first):
            use = group.uses[resource]
            rows.append(
                Observed(
                    key.action, resource, use.count, use.first, use.last, use.file,
                    key.passed_to_service, use.where[0], use.errors or {},
                    is_folded=group.depth is not None,
                )
            )  # fmt: skip
    return Calls(
        tuple(found["allowed"]),
        tuple(found["denied"]),
        {operation: use.count for operation, use in sorted(activity.unmapped.items())},
    )


def generated_calls(policies: Iterable[Mapping[str, Any]]) -> tuple[Observed, ...]:
    """Return what Access Analyzer's generated policies name, templates and all.

    An action that is named with several types of resource works on more than one, and its templates
    need not be all of them (RunInstances without key pairs): its resource is not known. Denied
    calls are among them (facts §2).
    """
    catalogue = load_catalogue()
    seen: dict[str, set[str]] = {}
    for policy in policies:
        for statement in parse(dict(policy)).statements:
            for action in statement.actions or ():
                name = catalogue.canonical(action) if catalogue.exists(action) else action
                if name not in FREE_ACTIONS:
                    seen.setdefault(name, set()).update(statement.resources or ("*",))
    return tuple(
        Observed(action, next(iter(seen[action])) if len(seen[action]) == 1 else None,
                 source="access-analyzer")
        for action in sorted(seen)
    )  # fmt: skip


def still_new(rows: Iterable[Observed], names: Collection[str]) -> dict[str, str]:
    """Return the actions that will ask for other resources tomorrow -> a name that says so.

    ``names``: ARNs and patterns as the policy writes them; rows that none of them stands for are on
    something wider. A name will not do for long if it holds a date of the time there are calls of,
    or the number of a revision, or if it is of a kind that the principal makes more of; or if it
    came late: of five or more names of an action (all of them, or those of one bucket or type) an
    eighth or more was first seen in the last quarter of the time. Names that come at an even pace
    do so, give or take a few; a set that is used again and again is known early.
    """
    dated = [row for row in rows if row.first]
    if not dated:
        return {}
    start = parse_time(min(row.first for row in dated))
    end = parse_time(max(row.last for row in dated))
    late = format_time((end - (end - start) / 4).replace(microsecond=0))
    moving = _Moving(format_time(start)[:7], format_time(end)[:7], dated)
    stands_for = _Names(names)
    found: dict[str, str] = {}
    firsts: dict[tuple[str, str], dict[str, str]] = {}
    for row in dated:
        name = stands_for.name_of(row.resource) if row.resource else None
        if name is None:
            continue
        if row.action not in found and moving.is_moving(name):
            found[row.action] = name
        for group in ("", _KIND.match(name)):
            times = firsts.setdefault((row.action, (group and group[0]) or ""), {})
            times[name] = min(times.get(name, row.first), row.first)
    for (action, _), times in firsts.items():
        new = [name for name, time in times.items() if time > late]
        if len(times) >= MIN_NAMES and len(new) * 8 >= len(times):
            found.setdefault(action, min(new))
    return dict(sorted(found.items()))


class _Names:
    """Names and prefixes of a policy, asked which of them stands for an ARN."""

    __slots__ = ("_lengths", "_names", "_prefixes")

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._prefixes = frozenset(
            name[:-1] for name in names if name.endswith("*") and not has_wildcard(name[:-1])
        )
        self._lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def name_of(self, resource: str) -> str | None:
        """Return the name, or else the longest prefix with its ``*``, that matches an ARN."""
        if resource in self._names:
            return resource
        for length in self._lengths:
            if resource[:length] in self._prefixes:
                return resource[:length] + "*"
        return None


class _Moving:
    """Tells names that others take the place of, by what they look like."""

    __slots__ = ("_made", "_months", "_years")

    def __init__(self, first: str, last: str, rows: Iterable[Observed]) -> None:
        self._months = first, last
        self._years = first[:4], last[:4]
        # Where the service chooses the ids of what the principal makes: ``snapshot/*``.
        self._made = tuple({
            row.resource[:-1]
            for row in rows
            if row.resource and not row.is_folded and row.resource.endswith(("/*", ":*"))
        })  # fmt: skip

    def is_moving(self, name: str) -> bool:
        """Return whether the name has a date of the window, a revision, or an id just made."""
        for match in _DATE.finditer(name):
            first, last = self._months if match[2] else self._years
            if first <= (f"{match[1]}-{match[2]}" if match[2] else match[1]) <= last:
                return True
        return _REVISION.search(name) is not None or (
            not has_wildcard(name) and name.startswith(self._made)
        )


def _known_first(resource: str | None) -> tuple[bool, str]:
    return resource is None, resource or ""
