"""The replay certificate as a terminal shows it: counterexamples first, told once for a cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.message import plain, several

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pare.policy.replay import CounterexampleJson, ReplayJson

_GROUPS_SHOWN = 20
_OPERATIONS_SHOWN = 5
_INDENT = " " * 15


def replay_text(certificate: ReplayJson, *, unmapped: Mapping[str, int]) -> str:
    """Return the certificate in lines. ``unmapped``: operation -> calls that cannot be replayed."""
    lines: list[str] = []
    failed = certificate["counterexamples"]
    if failed:
        beyond = certificate["more_counterexamples"]
        groups = _grouped(failed)
        lines.append(f"{several(len(failed) + beyond, 'use')} not shown to be allowed:")
        for group in groups[:_GROUPS_SHOWN]:
            lines += _told(group)
        more = len(groups) - _GROUPS_SHOWN
        if more > 0:
            lines.append(f"  … and {several(more, 'more cause')} (--format json lists them)")
        if beyond:
            lines.append(f"  … and {several(beyond, 'more use')}, counted and not listed anywhere")
        lines.append("")
    rows, allowed = certificate["rows"], certificate["allowed_rows"]
    lines.append(
        f"{allowed:,} of {several(rows, 'observed use')} would still be allowed "
        f"({certificate['allowed_calls']:,} of {several(certificate['calls'], 'call')})."
    )
    if unmapped:
        told = "maps" if len(unmapped) == 1 else "map"
        lines.append(
            f"Not replayed: {several(len(unmapped), 'operation')} that {told} to no known action: "
            + ", ".join(sorted(unmapped)[:_OPERATIONS_SHOWN])
        )
    return "\n".join(lines) + "\n"


def _grouped(failed: Sequence[CounterexampleJson]) -> list[list[CounterexampleJson]]:
    """Return the uses with the same action and cause together, in the order of the first."""
    groups: dict[tuple[str, str, str, str], list[CounterexampleJson]] = {}
    for each in failed:
        cause = each["answer"], each["action"], each["passed_to_service"], each["why"]
        groups.setdefault(cause, []).append(each)
    return list(groups.values())


def _told(group: Sequence[CounterexampleJson]) -> list[str]:
    first, latest = group[0], max(group, key=lambda each: each["last"])
    passed = f" to {first['passed_to_service']}" if first["passed_to_service"] else ""
    resources = {each["resource"] for each in group if each["resource"]}
    counted = [several(len(resources), "resource")] if resources else []
    counted.append(several(sum(each["count"] for each in group), "call"))
    such_as = "such as " if len(resources) > 1 else ""
    resource = next((each["resource"] for each in group if each["resource"]), None)
    return [
        f"  {first['answer'].upper():<11}  {first['action']}{passed}: {', '.join(counted)}"
        + (f"; {first['why']}" if first["why"] else ""),
        f"{_INDENT}{such_as}{plain(resource, 2_000) if resource else _NO_RESOURCE}",
        f"{_INDENT}last {latest['last'] or 'at a time not recorded'}"
        + (f" in {latest['file']}" if latest["file"] else ""),
    ]


_NO_RESOURCE = "on a resource the records do not tell"
