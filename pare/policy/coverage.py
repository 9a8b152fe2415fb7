"""What was read to know what a principal did, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypedDict

from pare.clock import parse_time
from pare.policy.catalogue import load_catalogue

if TYPE_CHECKING:
    from pare.cloudtrail.activity import Activity

# Management events of these are left out of a trail by a click.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
LEFT_OUT_BY_CHOICE = ("kms", "rds-data")
# Names listed of what is missing; all are counted.
MAX_LISTED = 20
# So many different uses, and none that reads: the trail leaves reads out.
_ENOUGH_USES = 100


class DaysJson(TypedDict):
    """The window in days of delivery (UTC), and what of it is known.

    ``missing``: days of which nothing is known. ``quiet``: days that were read to their end, on
    which no log file of the account came. ``unreadable``: days whose digest is damaged.
    ``unread_files``: log files of the window that could not be fetched.
    """

    first: str
    last: str
    digest_count: int
    missing: list[str]
    quiet: list[str]
    unreadable: list[str]
    unread_files: int


class ActivityCoverageJson(TypedDict):
    """What the activity of an account rests on. Times are ISO 8601 UTC, dates ``YYYY-MM-DD``.

    A day without a record is a quiet day or a gap in the logs; where it is known which, quiet days
    are not counted. ``reads_recorded`` is False where many calls were recorded and none of them
    reads: such a trail leaves reads out. ``services_left_out``: those that a trail may leave out,
    and of which there is no record of anybody's. Both are null where only one principal's calls
    are at hand.
    """

    asked: list[dict[str, str]]
    first: str
    last: str
    window_days: int
    days_without_records: int
    first_days_without_records: list[str]
    hours_with_records: int
    files: int
    bytes: int
    uncompressed_bytes: int
    unreadable_files: int
    records: int
    unreadable_records: int
    problem_files: list[str]
    forgotten_event_ids: int
    reads_recorded: bool | None
    services_left_out: list[str] | None
    data_events: list[str]
    catalogue: list[str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the calls of all principals tell of the trail; None where only one's are at hand."""

    reads: bool | None
    left_out: list[str] | None


def recorded(activity: Activity) -> Recorded:
    """Return whether reads are recorded, and which services the trail seems to leave out."""
    if any(each.principals for each in activity.asked):
        return Recorded(None, None)
    catalogue = load_catalogue()
    actions: dict[str, int] = {}
    for theirs in activity.principals.values():
        for key in theirs.groups:
            actions[key.action] = actions.get(key.action, 0) + 1
    if sum(actions.values()) < _ENOUGH_USES:
        return Recorded(True, [])
    services = {action.partition(":")[0] for action in actions}
    return Recorded(
        any(
            catalogue.exists(action) and catalogue.access_level(action) in {"List", "Read"}
            for action in actions
        ),
        [service for service in LEFT_OUT_BY_CHOICE if service not in services],
    )


def activity_coverage(
    activity: Activity,
    account_id: str,
    logs: Recorded,
    *,
    days: DaysJson | None = None,
) -> ActivityCoverageJson:
    """Return the coverage of an account's activity; ``days``: where they are known.

    The window is what was asked for, and what was recorded beyond it: activity files may have been
    asked for different times, or for all.
    """
    asked = [
        {"since": each.since, "until": each.until}
        for each in sorted(activity.asked)
        if each.since or each.until
    ]
    hours = activity.hours.get(account_id, set())
    covered = {hour[:10] for hour in hours}
    window = _window(
        [*covered, *(each["since"][:10] for each in asked if each["since"])],
        [*covered, *(_last_day(each["until"]) for each in asked if each["until"])],
    )
    missing = [day for day in window if day not in covered]
    unread_files = 0
    if days is not None:
        missing = sorted({*days["missing"], *days["unreadable"]})
        unread_files = days["unread_files"]
    totals = activity.totals
    return {
        "asked": asked,
        "first": activity.first,
        "last": activity.last,
        "window_days": len(window),
        "days_without_records": len(missing),
        "first_days_without_records": missing[:MAX_LISTED],
        "hours_with_records": len(hours),
        "files": totals.files,
        "bytes": totals.bytes,
        "uncompressed_bytes": totals.uncompressed_bytes,
        "unreadable_files": sum(totals.unreadable_files.values()) + unread_files,
        "records": totals.records,
        "unreadable_records": sum(totals.unreadable_records.values()),
        "problem_files": sorted(activity.problem_files)[:MAX_LISTED],
        "forgotten_event_ids": totals.forgotten_event_ids,
        "reads_recorded": logs.reads,
        "services_left_out": logs.left_out,
        "data_events": sorted(totals.data_events),
        "catalogue": sorted(activity.catalogue),
    }


def _window(firsts: list[str], lasts: list[str]) -> list[str]:
    """Return the dates from the first to the last, both included; none where one is not known."""
    if not firsts or not lasts:
        return []
    start, end = date.fromisoformat(min(firsts)), date.fromisoformat(max(lasts))
    return [(start + timedelta(days=n)).isoformat() for n in range((end - start).days + 1)]


def _last_day(until: str) -> str:
    """Return the last date before a moment: of midnight it is the day that ends."""
    return (parse_time(until) - timedelta(milliseconds=1)).date().isoformat()
