from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.activity import list_logs
from pare.errors import ActivityError, TrailReadError
from tests.handlers.activity.conftest import record
from tests.handlers.activity.steps import NIGHT, items, listed, run
from tests.handlers.fake_aws import BUCKET, MEMBER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.aws.activity_store import ActivityStore
    from tests.handlers.activity.conftest import Trail
    from tests.handlers.fake_aws import FakeAws

OTHER = "444455556666"


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today is the day of the night's run."""
    from lambdas.activity import count_activity
    from pare.clock import parse_time

    for module in (list_logs, count_activity):
        monkeypatch.setattr(module, "utc_now", lambda: parse_time(NIGHT["scheduled_at"]))


def logs_of(store: ActivityStore, item: dict[str, Any]) -> dict[str, list[str]]:
    """Return the keys to read by day."""
    found = json.loads(gzip.decompress(store.get(item["logs"]["key"])))
    return {day: [key for key, _ in objects] for day, objects in found["days"].items()}


def test_the_manifest_has_each_account_with_its_log_files_of_three_days(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    early = trail.put("2026-11-18", record("a"))
    west = trail.put("2026-11-20", record("b"), region="us-west-2")
    late = trail.put("2026-11-20", record("c"))
    other = trail.put("2026-11-19", record("d"), account_id=OTHER)
    trail.put("2026-11-17", record("too early"))
    trail.put("2026-11-21", record("today"))

    output = listed(context, NIGHT)

    prefix = "activity/parts/run=night-1/round=0001"
    assert output.pop("byte_count") == sum(trail.size(key) for key in (early, west, late, other))
    assert output == {
        "period": "2026-11-18 to 2026-11-20",
        "prefix": prefix,
        "manifest": {"bucket": BUCKET, "key": f"{prefix}/manifest.json"},
        "account_count": 2,
        "file_count": 4,
        "dates": ["2026-11-18", "2026-11-19", "2026-11-20"],
        "has_more": False,
        "next": {"round": 2, "date": "2026-11-21", "account_after": ""},
    }
    first, second = items(store, output)
    assert (first["account_id"], second["account_id"]) == (MEMBER, OTHER)
    assert logs_of(store, first) == {"2026-11-18": [early], "2026-11-20": sorted([west, late])}
    assert logs_of(store, second) == {"2026-11-19": [other]}


@pytest.mark.parametrize(
    ("roots", "root"),
    [
        ("AWSLogs/", "AWSLogs/"),  # a trail of one account
        ("AWSLogs/", "AWSLogs/o-example0000/"),  # the organization's
        ("cloud/trail/AWSLogs/", "cloud/trail/AWSLogs/o-example0000/"),  # with a prefix
        ("o-example0000/AWSLogs/,AWSLogs/", "o-example0000/AWSLogs/o-example0000/"),  # C. Tower's
    ],
)
def test_log_files_are_found_in_every_layout(
    trail: Trail,
    store: ActivityStore,
    context: Any,
    settings: Callable[..., None],
    roots: str,
    root: str,
) -> None:
    settings(trail_log_roots=roots)
    key = trail.put("2026-11-20", record("a"), root=root)

    (item,) = items(store, listed(context, NIGHT))

    assert logs_of(store, item) == {"2026-11-20": [key]}


def test_an_account_with_a_trail_of_its_own_beside_the_organizations_is_one_account(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    keys = [
        trail.put("2026-11-20", record("a")),
        trail.put("2026-11-20", record("b"), root="AWSLogs/"),
    ]

    (item,) = items(store, listed(context, NIGHT))

    assert logs_of(store, item) == {"2026-11-20": sorted(keys)}


@pytest.mark.parametrize(
    "folder",
    ["CloudTrail-Digest", "CloudTrail-Insight", "CloudTrail-NetworkActivity",
     "CloudTrail-Aggregated", "Config"],
)  # fmt: skip
def test_what_lies_beside_the_log_files_is_not_read(
    trail: Trail, store: ActivityStore, context: Any, folder: str
) -> None:
    trail.put("2026-11-20", record("a"), folder=folder)

    assert items(store, listed(context, NIGHT)) == []


def test_what_is_read_already_is_left_out_and_a_late_file_is_not(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-19", record("a"))
    run(context, store)
    late = trail.put("2026-11-19", record("b"))
    trail.put("2026-11-19", record("c"), account_id=OTHER)

    found = items(store, listed(context, NIGHT, "night-2"))

    assert [item["account_id"] for item in found] == [MEMBER, OTHER]
    assert logs_of(store, found[0]) == {"2026-11-19": [late]}


def test_nothing_new_is_no_account(trail: Trail, store: ActivityStore, context: Any) -> None:
    trail.put("2026-11-19", record("a"))
    run(context, store)

    output = listed(context, NIGHT, "night-2")

    assert (items(store, output), output["has_more"]) == ([], False)


# --- A range of days ------------------------------------------------------------------------------

RANGE = {"first_date": "2026-11-02", "last_date": "2026-11-20"}


def test_a_range_is_read_a_week_at_a_time_oldest_first(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    for day in ("2026-11-03", "2026-11-19"):
        trail.put(day, record(day))

    first = listed(context, RANGE)
    second = listed(context, {**RANGE, "counted": {"next": first["next"]}})

    assert first["period"] == second["period"] == "2026-11-02 to 2026-11-20"
    assert first["dates"] == [f"2026-11-{n:02}" for n in range(2, 9)]
    assert (first["has_more"], first["next"]["date"]) == (True, "2026-11-09")
    # The days between have no log files, and cost no round.
    assert second["dates"][0] == "2026-11-09"
    assert second["dates"][-1] == "2026-11-20"
    assert not second["has_more"]
    assert len(items(store, second)) == 1
    assert second["prefix"].endswith("/round=0002")


@pytest.mark.parametrize(("again", "passed_over"), [(False, True), (True, False)])
def test_complete_days_are_passed_over_unless_somebody_wants_them_again(
    trail: Trail, store: ActivityStore, context: Any, again: bool, passed_over: bool
) -> None:
    trail.put("2026-11-02", record("a"))
    store.complete("2026-11-02", "before")
    store.complete("2026-11-03", "before")

    output = listed(context, {**RANGE, "again": again})

    assert (output["account_count"] == 0) is passed_over
    assert ("2026-11-02" not in output["dates"]) is passed_over


@pytest.mark.parametrize(
    "state",
    [
        {"first_date": "2026-11-20", "last_date": "2026-11-10"},
        {"first_date": "2026-11-20", "last_date": "2026-11-21"},  # today is not over
        {"first_date": "2025-01-01", "last_date": "2026-11-20"},
        {"first_date": "2026-11-20"},
        {"first_date": "2026-11-20", "last_date": "yesterday"},
        {"scheduled_at": "tonight"},
        {"scheduled_at": "0001-01-01T00:00:00Z"},
        {},
    ],
)
def test_days_that_cannot_be_read_are_refused(
    trail: Trail, store: ActivityStore, context: Any, state: dict[str, Any]
) -> None:
    with pytest.raises(ActivityError):
        listed(context, state)


def test_nights_that_failed_are_made_up_for(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    store.complete("2026-11-12", "before")

    assert listed(context, NIGHT)["period"] == "2026-11-13 to 2026-11-20"


def test_a_long_gap_is_left_to_a_backfill(trail: Trail, store: ActivityStore, context: Any) -> None:
    store.complete("2026-02-12", "before")

    assert listed(context, NIGHT)["period"] == "2026-10-21 to 2026-11-20"


# --- Many accounts --------------------------------------------------------------------------------


def test_a_step_that_runs_short_of_time_goes_on_with_the_next_account(
    trail: Trail, store: ActivityStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_logs, "ACCOUNTS_AT_ONCE", 1)
    for account_id in (MEMBER, OTHER):
        trail.put("2026-11-20", record(account_id), account_id=account_id)
    times = iter([60_000])
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: next(times))

    first = listed(context, NIGHT)
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: 800_000)
    second = listed(context, {**NIGHT, "counted": {"next": first["next"]}})

    assert [item["account_id"] for item in items(store, first)] == [MEMBER]
    assert (first["dates"], first["has_more"]) == ([], True)
    assert first["next"] == {"round": 2, "date": "2026-11-18", "account_after": MEMBER}
    assert [item["account_id"] for item in items(store, second)] == [OTHER]
    assert second["dates"] == ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert not second["has_more"]


def test_a_bucket_that_may_not_be_listed_is_told(
    trail: Trail, store: ActivityStore, context: Any, aws: FakeAws
) -> None:
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403, when=lambda p: p["Bucket"] == "trail")

    with pytest.raises(TrailReadError, match="s3:ListBucket on trail"):
        listed(context, NIGHT)
