"""List logs: the log files of some days that no digest holds yet, by account, in a manifest.

A run goes through its days a few at a time, oldest first, and through very many accounts in several
rounds. A round ends with ``Count activity``, which hands ``next`` back to this step.
"""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.activity_store import ActivityStore
from pare.aws.trail_bucket import TrailBucket
from pare.clock import parse_time
from pare.errors import ActivityError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.aws.trail_bucket import LogObject
    from pare.object_ref import ObjectRef

# Log files come minutes after the events, rarely hours, and nobody promises (facts §7).
LATE_DAYS = 2
# A round of a range reads at most so many days: a run that is stopped has finished those before.
# More days cost no more calls to list, and fewer rounds.
DAYS_AT_ONCE = 7
# How far back a nightly run looks for days that earlier nights did not finish.
CATCH_UP_DAYS = 30
# The longest range: digests live so long.
MAX_DAYS = 430
# Listed side by side: as many as a client keeps connections.
ACCOUNTS_AT_ONCE = 10
# What is left of the function's time when no further account is begun.
RESERVE_SECONDS = 120


class Start(TypedDict, total=False):
    """The input of the activity workflow: ``scheduled_at`` of a night, or a range of days.

    ``again``: list the days of the range that are complete, too.
    """

    scheduled_at: str
    first_date: str
    last_date: str
    again: bool


class Next(TypedDict):
    """Where the next round begins."""

    round: int
    date: str
    account_after: str  # accounts up to this one are done


class Input(TypedDict):
    state: dict[str, Any]  # Start, and ``counted`` of the round before
    execution: str


class Output(TypedDict):
    """``dates``: the days that are finished with this round, if all goes well."""

    period: str
    prefix: str
    manifest: ObjectRef
    account_count: int
    file_count: int
    byte_count: int
    dates: list[str]
    has_more: bool
    next: Next


class Item(TypedDict):
    """An account of the manifest, the input of a child of the map."""

    account_id: str
    logs: ObjectRef
    prefix: str
    file_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    trail_bucket_name: str
    trail_log_roots: str
    trail_region: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the manifest lies: a JSON list of accounts with log files to read.

    Raises ActivityError for a range of days that cannot be read, TrailReadError where the bucket
    may not be listed.
    """
    settings = environment()
    store = ActivityStore(client("s3"), settings.evidence_bucket_name)
    state = event["state"]
    first, last, passed_over = _range(state, store)
    counted = state.get("counted")
    begin: Next = counted["next"] if isinstance(counted, dict) else Next(
        round=1, date=f"{first}", account_after=""
    )  # fmt: skip
    execution_name = event["execution"].rpartition(":")[2]
    prefix = f"activity/parts/run={execution_name}/round={begin['round']:04}"
    round_ = _Round(
        store,
        TrailBucket(
            client("s3"), settings.trail_bucket_name, tuple(settings.trail_log_roots.split(","))
        ),
        settings.trail_region,
        prefix,
        has_time=lambda: context.get_remaining_time_in_millis() > RESERVE_SECONDS * 1000,
    )
    window_begin, account_after = date.fromisoformat(begin["date"]), begin["account_after"]
    # A night is one round, however many nights before it failed.
    days_at_once = DAYS_AT_ONCE if "first_date" in state else (last - first).days + 1
    items: list[Item] = []
    dates: list[str] = []
    # Days of which everything is read cost no round of their own.
    while window_begin <= last and not items and (not dates or round_.has_time()):
        if f"{window_begin}" in passed_over:
            window_begin += timedelta(days=1)
            continue
        window_end = min(window_begin + timedelta(days=days_at_once - 1), last)
        found, account_after = round_.items(window_begin, window_end, account_after)
        items += found
        if account_after:
            break
        dates += _days(window_begin, window_end)
        window_begin = window_end + timedelta(days=1)
    manifest = json.dumps(items, indent=2) + "\n"
    store.put(f"{prefix}/manifest.json", manifest.encode())
    file_count = sum(item["file_count"] for item in items)
    byte_count = sum(item["byte_count"] for item in items)
    logger.info("logs listed", account_count=len(items), file_count=file_count, dates=dates)
    return {
        "period": f"{first} to {last}",
        "prefix": prefix,
        "manifest": {"bucket": store.bucket, "key": f"{prefix}/manifest.json"},
        "account_count": len(items),
        "file_count": file_count,
        "byte_count": byte_count,
        "dates": dates,
        "has_more": window_begin <= last,
        "next": {
            "round": begin["round"] + 1,
            "date": f"{window_begin}",
            "account_after": account_after,
        },
    }


@dataclass(slots=True)
class _Round:
    """Lists accounts until the time is used up."""

    store: ActivityStore
    bucket: TrailBucket
    trail_region: str
    prefix: str
    has_time: Callable[[], bool]

    def items(self, first: date, last: date, after: str) -> tuple[list[Item], str]:
        """Return the accounts with something to read, and after which the time was used up.

        The second is empty where all accounts were looked at.
        """
        days = _days(first, last)
        with_digest = {day: self.store.accounts_with_digest(day) for day in days}
        region = self.bucket.region(otherwise=self.trail_region)
        folders = self.bucket.account_folders()
        accounts = [account_id for account_id in folders if account_id > after]

        def item(account_id: str) -> Item | None:
            listing = self.bucket.logs(folders[account_id], days[0], days[-1])
            unread: dict[str, list[LogObject]] = {}
            for day, objects in sorted(listing.days.items()):
                known: set[str] = set()
                if account_id in with_digest[day]:
                    committed = self.store.committed(day, account_id)
                    known = committed.objects() if committed else known
                if new := [each for each in objects if each.key not in known]:
                    unread[day] = new
            if not unread:
                return None
            key = f"{self.prefix}/account={account_id}/logs.json.gz"
            text = json.dumps({"region": region, "days": unread})
            self.store.put(key, gzip.compress(text.encode(), mtime=0))
            return {
                "account_id": account_id,
                "logs": {"bucket": self.store.bucket, "key": key},
                "prefix": self.prefix,
                "file_count": sum(map(len, unread.values())),
                "byte_count": sum(each.size for some in unread.values() for each in some),
            }

        found: list[Item] = []
        with ThreadPoolExecutor(ACCOUNTS_AT_ONCE) as pool:
            for start in range(0, len(accounts), ACCOUNTS_AT_ONCE):
                some = accounts[start : start + ACCOUNTS_AT_ONCE]
                found += [each for each in pool.map(item, some) if each is not None]
                if some[-1] != accounts[-1] and not self.has_time():
                    return found, some[-1]
        return found, ""


def _range(state: Start | dict[str, Any], store: ActivityStore) -> tuple[date, date, set[str]]:
    """Return the first and last day to read, and those between that are passed over."""
    if "first_date" in state or "last_date" in state:
        first, last = _date(state, "first_date"), _date(state, "last_date")
        if not first <= last < utc_now().date() or (last - first).days >= MAX_DAYS:
            raise ActivityError(
                f"{first} to {last} is no range of at most {MAX_DAYS} days that ends before today"
            )
        return first, last, set() if state.get("again") is True else store.complete_dates()
    scheduled_at = state.get("scheduled_at")
    try:
        last = parse_time(str(scheduled_at)).astimezone(UTC).date() - timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise ActivityError(
            f"scheduled_at is {scheduled_at!r}, not a time such as 2026-11-01T04:00:00Z"
        ) from error
    first = last - timedelta(days=LATE_DAYS)
    # Nights that failed are made up for: the first run marks nothing as missing before it.
    complete = {day for day in store.complete_dates() if day <= f"{last}"}
    if complete:
        following = date.fromisoformat(max(complete)) + timedelta(days=1)
        first = max(min(first, following), last - timedelta(days=CATCH_UP_DAYS))
    return first, last, set()


def _date(state: Start | dict[str, Any], name: str) -> date:
    try:
        return date.fromisoformat(str(state.get(name)))
    except ValueError as error:
        raise ActivityError(
            f"{name} is {state.get(name)!r}, not a day such as 2026-11-01"
        ) from error


def _days(first: date, last: date) -> list[str]:
    return [f"{first + timedelta(days=n)}" for n in range((last - first).days + 1)]
