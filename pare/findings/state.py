"""What a finding event changes in what is already known.

Events come late, twice, out of order or never (facts §4: best effort), so an event counts only if
it is newer than the record: by ``updated_at``, then by deletion, status and ``analyzed_at``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pare.clock import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from pare.findings.model import Finding

News = Literal["new", "reopened", "archived", "resolved", "deleted", "changed", "none"]

_ENDED = ("ARCHIVED", "RESOLVED")


def supersedes(recorded: Finding | None, seen: Finding) -> bool:
    """Return whether the seen finding is newer than the recorded one, or the first."""
    if recorded is None:
        return True
    return _age(seen) > _age(recorded)


def _age(finding: Finding) -> tuple[datetime, bool, int, datetime]:
    """Return what orders the states of one finding, whatever order they arrive in."""
    return (
        parse_time(finding.updated_at),
        finding.is_deleted,  # a deletion leaves status and updatedAt as they were (facts §4)
        ("ACTIVE", *_ENDED).index(finding.status),
        parse_time(finding.analyzed_at),
    )


def news(recorded: Finding | None, seen: Finding) -> News:
    """Return what people should be told about a finding that supersedes the recorded one."""
    if recorded is None:
        if seen.is_deleted or seen.status in _ENDED:
            return "none"  # it ended before anybody heard of it
        return "new"
    if seen.is_deleted:
        return "none" if recorded.is_deleted or recorded.status == "RESOLVED" else "deleted"
    if recorded.status != seen.status or recorded.is_deleted:
        return {"ACTIVE": "reopened", "ARCHIVED": "archived", "RESOLVED": "resolved"}[seen.status]  # type: ignore[return-value]
    told = ("error", "is_public", "principal", "actions", "condition", "unused_service_count",
            "unused_action_count")  # fmt: skip
    if any(getattr(recorded, field) != getattr(seen, field) for field in told):
        return "changed"
    return "none"
