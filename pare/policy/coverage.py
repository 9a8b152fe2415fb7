"""What was read to know what a principal did, and what is missing."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from pare.clock import parse_time
from pare.policy.catalogue import load_catalogue
from pare.policy.observability import load_observability

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.cloudtrail.activity import Activity, PrincipalActivity

# Management events of these are left out of a trail by a click.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
LEFT_OUT_BY_CHOICE = ("kms", "rds-data")
# Names listed of what is missing; all are counted.
MAX_LISTED = 20


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
    are not counted. ``reads_recorded`` is False where none of the account's recorded calls reads:
    such a trail leaves reads out, or next to nothing happened. ``services_left_out``: those that a
    trail may leave out, and of which there is no record of anybody's. Both are null where only one
    principal's calls are at hand. ``regions``: those that calls were recorded in.
    ``data_events``: the event sources of the recorded data events.
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
    regions: list[str]
    data_events: list[str]
    catalogue: list[str]


class Recorded(NamedTuple):
    """What the calls of all principals tell of the trail; None where only one's are at hand."""

    reads: bool | None
    left_out: list[str] | None
    regions: tuple[str, ...] = ()
    data_events: tuple[str, ...] | None = None  # None: those of all the logs


def recorded(activity: Activity, principals: Iterable[PrincipalActivity] | None = None) -> Recorded:
    """Return whether reads are recorded, and which services the trail seems to leave out.

    ``principals``: those of one account, where the activity has several: each may have a trail of
    its own.
    """
    everybody = list(activity.principals.values() if principals is None else principals)
    regions = tuple(sorted({
        region
        for theirs in everybody
        for group in theirs.groups.values()
        for use in group.uses.values()
        for region in use.where[0]
    }))  # fmt: skip
    actions = {key.action for theirs in everybody for key in theirs.groups}
    data_events = None
    if len(everybody) < len(activity.principals):
        # The logs tell which there are, not of which account: only what is sure is counted.
        of = load_observability().of
        shown = {source for action in actions for source in of(action).event_sources}
        data_events = tuple(sorted(shown.intersection(activity.totals.data_events)))
    if any(each.principals for each in activity.asked):
        return Recorded(None, None, regions, data_events)
    catalogue = load_catalogue()
    services = {action.partition(":")[0] for action in actions}
    return Recorded(
        any(
            catalogue.exists(action) and catalogue.access_level(action) in {"List", "Read"}
            for action in actions
        ),
        [service for service in LEFT_OUT_BY_CHOICE if service not in services],
        regions,
        data_events,
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
        "regions": list(logs.regions),
        "data_events": sorted(totals.data_events if logs.data_events is None else logs.data_events),
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
