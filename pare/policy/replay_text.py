"""The replay certificate as a terminal shows it: counterexamples first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.policy.replay import CounterexampleJson, ReplayJson

_SHOWN = 20


def replay_text(certificate: ReplayJson, *, unmapped: Mapping[str, int]) -> str:
    """Return the certificate in lines. ``unmapped``: operation -> calls that cannot be replayed."""
    lines: list[str] = []
    failed = certificate["counterexamples"]
    if failed:
        count = len(failed) + certificate["more_counterexamples"]
        lines.append(f"{count:,} not shown to be allowed:")
        for each in failed[:_SHOWN]:
            lines += _told(each)
        if count > _SHOWN:
            lines.append(f"  … and {count - _SHOWN:,} more (--format json lists the first 50)")
        lines.append("")
    rows, allowed = certificate["rows"], certificate["allowed_rows"]
    lines.append(
        f"{allowed:,} of {rows:,} observed uses would still be allowed "
        f"({certificate['allowed_calls']:,} of {certificate['calls']:,} calls)."
    )
    if unmapped:
        lines.append(
            f"Not replayed: {len(unmapped):,} operations that map to no known action: "
            + ", ".join(sorted(unmapped)[:5])
        )
    return "\n".join(lines) + "\n"


def _told(each: CounterexampleJson) -> list[str]:
    resource = each["resource"] or "a resource the records do not tell"
    passed = f" to {each['passed_to_service']}" if each["passed_to_service"] else ""
    calls = f"{each['count']:,} call{'' if each['count'] == 1 else 's'}"
    lines = [
        f"  {each['answer'].upper():<11}  {each['action']}{passed} on {resource}",
        f"               {calls}, last {each['last'] or 'at a time not recorded'}"
        + (f" in {each['file']}" if each["file"] else ""),
    ]
    if each["why"]:
        lines.append(f"               {each['why']}")
    return lines
