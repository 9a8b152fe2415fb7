"""Count activity: what a round read, which accounts are unknown, and where the next one begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.activity_store import ActivityStore
from pare.errors import TrailReadError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.activity.list_logs import Item, Next
    from lambdas.activity.list_logs import Output as Listed
    from lambdas.activity.merge_activity import ResultJson

# What makes an account unknown: log files that could not be fetched, or came too late.
_UNKNOWN = ("unread_files", "late_files")
# A day is looked at for late files on so many days after it.
LATE_DAYS = 2


class Input(TypedDict):
    listed: Listed
    state: dict[str, Any]  # ``counted`` of the round before, if there was one
    execution: str


class Output(TypedDict):
    """Of all rounds so far. ``has_unknown``: whether a file of the days under way was not read."""

    counts: dict[str, int]
    unknown: list[str]
    has_unknown: bool
    has_more: bool
    next: Next


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the counts of the run so far, and the accounts of which something is not known.

    Raises TrailReadError where not one file of the round could be read.
    """
    listed, before = event["listed"], event["state"].get("counted")
    if not isinstance(before, dict):
        before = {"counts": {}, "unknown": [], "has_unknown": False}
    store = ActivityStore(client("s3"), environment().evidence_bucket_name)
    accounts: list[Item] = json.loads(store.get(listed["manifest"]["key"]))
    results = _results(store, listed["prefix"], accounts)
    counts = {"account_rounds": len(accounts), "files": 0, "bytes": 0, "records": 0}
    unknown: list[str] = []
    for item, result in zip(accounts, results, strict=True):
        if result is None or any(result["counts"].get(each) for each in _UNKNOWN):
            unknown.append(item["account_id"])
        for name, number in (result or {"counts": {}})["counts"].items():
            counts[name] = counts.get(name, 0) + number
    _raise_where_nothing_was_read(results, counts)
    for name, number in before["counts"].items():
        counts[name] = counts.get(name, 0) + number
    all_unknown = sorted({*before["unknown"], *unknown})
    counts["unknown_accounts"] = len(all_unknown)
    has_unknown = bool(unknown) or before["has_unknown"]
    if not has_unknown:
        _mark_complete(store, listed["dates"], event["execution"])
    count("UnknownAccounts", len(unknown))
    logger.info("activity counted", unknown=unknown, counts=counts)
    return {
        "counts": counts,
        "unknown": all_unknown,
        # Days that are finished leave nothing to the next ones.
        "has_unknown": has_unknown and not listed["dates"],
        "has_more": listed["has_more"],
        "next": listed["next"],
    }


def _results(store: ActivityStore, prefix: str, accounts: list[Item]) -> list[ResultJson | None]:
    """Return how each account went; None where its steps failed and left nothing."""
    keys = [f"{prefix}/account={item['account_id']}/result.json" for item in accounts]
    return [None if body is None else json.loads(body) for body in store.get_all(keys)]


def _raise_where_nothing_was_read(results: list[ResultJson | None], counts: dict[str, int]) -> None:
    if counts.get("unread_files") and not counts["files"] and None not in results:
        reason = next(each["unread_reason"] for each in results if each and each["unread_reason"])
        raise TrailReadError(
            f"none of {counts['unread_files']} log files could be fetched; of the first, S3 said: "
            f"{reason}"
        )


def _mark_complete(store: ActivityStore, dates: list[str], execution: str) -> None:
    """Mark the days for which no late file is to be expected."""
    last = utc_now().date() - timedelta(days=LATE_DAYS + 1)
    for day in dates:
        if date.fromisoformat(day) <= last:
            store.complete(day, execution)
