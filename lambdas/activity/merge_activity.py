"""Merge activity: the parts of one account into the digests of its days, each committed once."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.activity_store import TOO_LATE, ActivityStore
from pare.cloudtrail.activity import Activity
from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.errors import ActivityConflictError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.cloudtrail.activity import Totals


class Digested(TypedDict):
    parts: int


class Input(TypedDict):
    """An account of the manifest, all of whose files have been read."""

    account_id: str
    prefix: str
    digested: Digested


class Output(TypedDict):
    account_id: str
    dates: list[str]


class ResultJson(TypedDict):
    """How an account went: what ``Count activity`` adds up."""

    account_id: str
    counts: dict[str, int]
    unread_reason: str  # of the first log file that could not be fetched; empty where there is none


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the days of which the account has a new digest.

    Raises ActivityConflictError where another run has read some of the same files meanwhile.
    """
    account_id = event["account_id"]
    logger.append_keys(account_id=account_id)
    store = ActivityStore(client("s3"), environment().evidence_bucket_name)
    folders = [
        f"{event['prefix']}/account={account_id}/part={number:04}"
        for number in range(1, event["digested"]["parts"] + 1)
    ]
    unread: dict[str, dict[str, str]] = {}  # day -> file -> why
    places: dict[str, list[str]] = {}  # day -> where its sections lie
    for folder in folders:
        for day, reasons in json.loads(store.get(f"{folder}/part.json")).items():
            places.setdefault(day, []).append(f"{folder}/date={day}")
            unread.setdefault(day, {}).update(reasons)
    result: ResultJson = {"account_id": account_id, "counts": {}, "unread_reason": ""}
    dates: list[str] = []
    for day in sorted(places):
        activity, numbers = _sections(store, places[day])
        if activity.objects:
            _commit(store, day, account_id, activity, numbers)
            dates.append(day)
        _keep_unread(store, day, account_id, unread[day], read=activity.objects)
        _count(result, activity.totals, unread[day])
    key = f"{event['prefix']}/account={account_id}/result.json"
    store.put(key, (json.dumps(result, indent=2, sort_keys=True) + "\n").encode())
    logger.info("activity merged", dates=dates, counts=result["counts"])
    return {"account_id": account_id, "dates": dates}


def _sections(store: ActivityStore, places: list[str]) -> tuple[Activity, bytes]:
    """Return what the parts hold of one day, and the ids of its events."""
    activity, numbers = Activity(), bytearray()
    for place in places:
        activity.merge(read_activity(io.BytesIO(store.get(f"{place}.ndjson.gz"))))
        numbers += store.get(f"{place}.seen.bin")
    return activity, bytes(numbers)


def _commit(
    store: ActivityStore, day: str, account_id: str, activity: Activity, numbers: bytes
) -> None:
    committed = store.committed(day, account_id)
    if committed is not None:
        known = committed.objects()
        if activity.objects <= known:
            return  # this step did so itself, and is run again
        if activity.objects & known:
            raise ActivityConflictError(f"account {account_id}, {day}: another run was faster")
        merged = read_activity(io.BytesIO(committed.body))
        merged.merge(activity)
        activity = merged
        before = store.get_seen(day, account_id, committed.seen)
        if before is None:
            raise ActivityConflictError(f"account {account_id}, {day}: the events' ids are gone")
        numbers = before + numbers
    body = io.BytesIO()
    write_activity(activity, body)
    ids = b"".join(sorted(numbers[i : i + 16] for i in range(0, len(numbers), 16)))
    # The ids first: a digest never names ids that are not there.
    seen = store.put_seen(day, account_id, ids)
    store.commit(day, account_id, body.getvalue(), replacing=committed, seen=seen)


def _keep_unread(
    store: ActivityStore, day: str, account_id: str, unread: dict[str, str], *, read: set[str]
) -> None:
    """Keep the list of files that could not be fetched, for whoever asks what is missing."""
    before = store.unread(day, account_id)
    after = {key: why for key, why in {**before, **unread}.items() if key not in read}
    if after != before:
        store.put_unread(day, account_id, after)


def _count(result: ResultJson, totals: Totals, unread: dict[str, str]) -> None:
    counts = {
        "files": totals.files,
        "bytes": totals.bytes,
        "records": totals.records,
        "used": totals.used,
        "denied": totals.denied,
        "unmapped": totals.unmapped,
        "ignored": sum(totals.ignored.values()),
        "unreadable_records": sum(totals.unreadable_records.values()),
        "unreadable_files": sum(totals.unreadable_files.values()),
        "skipped_files": sum(totals.skipped_files.values()),
        "unread_files": sum(why != TOO_LATE for why in unread.values()),
        "late_files": sum(why == TOO_LATE for why in unread.values()),
    }
    for name, count in counts.items():
        result["counts"][name] = result["counts"].get(name, 0) + count
    result["unread_reason"] = result["unread_reason"] or next(iter(unread.values()), "")
