"""What was observed of a principal: the rows of evidence that a policy is built from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pare.clock import format_time, parse_time
from pare.policy.catalogue import load_catalogue
from pare.policy.document import parse

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


def still_new(rows: Iterable[Observed], names: Collection[str]) -> list[str]:
    """Return the actions that use new resources to the end: the policy names yesterday's.

    Of an action with five or more of the ``names`` (ARNs as a policy writes them), a quarter or
    more was seen for the first time in the last quarter of the time there are calls of. Names that
    come at an even pace (keys with a date, ids of snapshots) do so; a set that is used again and
    again is known early.
    """
    dated = [row for row in rows if row.first]
    if not dated:
        return []
    start = parse_time(min(row.first for row in dated))
    end = parse_time(max(row.last for row in dated))
    late = format_time((end - (end - start) / 4).replace(microsecond=0))
    firsts: dict[str, list[str]] = {}
    for row in dated:
        if row.resource in names:
            firsts.setdefault(row.action, []).append(row.first)
    return sorted(
        action
        for action, times in firsts.items()
        if len(times) >= MIN_NAMES and sum(time > late for time in times) * 4 >= len(times)
    )


def _known_first(resource: str | None) -> tuple[bool, str]:
    return resource is None, resource or ""
