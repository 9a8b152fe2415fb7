from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.activity import count_activity
from lambdas.activity.count_activity import lambda_handler
from pare.clock import parse_time
from pare.errors import TrailReadError
from tests.handlers.activity.conftest import obstore_error, record
from tests.handlers.activity.steps import NIGHT, execution, items, listed, read, run
from tests.handlers.fake_aws import MEMBER

if TYPE_CHECKING:
    from pare.aws.activity_store import ActivityStore
    from tests.handlers.activity.conftest import Trail

OTHER = "444455556666"
DENIED = obstore_error("PermissionDeniedError", "403: <Code>AccessDenied</Code>")


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_activity, "utc_now", lambda: parse_time(NIGHT["scheduled_at"]))


def count(context: Any, output: Any, **state: Any) -> Any:
    return lambda_handler(
        {"listed": output, "state": state, "execution": execution("night-1")}, context
    )


def test_the_counts_of_all_accounts_are_added_up(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-19", record("a"), record("a"), record("b", name="NoSuchThing"))
    trail.put("2026-11-20", body=b"not a log file")
    trail.put("2026-11-20", record("c"), account_id=OTHER)

    counted = run(context, store)

    size = counted["counts"].pop("bytes")
    assert size > 0
    assert counted == {
        "counts": {
            "account_rounds": 2, "files": 3, "records": 4, "used": 2, "denied": 0, "unmapped": 1,
            "ignored": 1, "unreadable_records": 0, "unreadable_files": 1, "skipped_files": 0,
            "unread_files": 0, "late_files": 0, "unknown_accounts": 0,
        },
        "unknown": [],
        "has_unknown": False,
        "has_more": False,
        "next": {"round": 2, "date": "2026-11-21", "account_after": ""},
    }  # fmt: skip


def test_an_account_whose_steps_failed_is_unknown(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-20", record("a"))
    trail.put("2026-11-20", record("b"), account_id=OTHER)
    output = listed(context, NIGHT)
    read(context, items(store, output)[0])

    counted = count(context, output)

    assert counted["unknown"] == [OTHER]
    assert counted["counts"]["unknown_accounts"] == 1
    assert counted["counts"]["used"] == 1


def test_days_are_complete_when_no_late_file_is_expected_and_all_was_read(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-20", record("a"))

    run(context, store)

    # The 19th and 20th are looked at again by the nights to come.
    assert store.complete_dates() == {"2026-11-18"}


def test_days_with_an_unknown_account_are_not_complete(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-18", record("a"))
    refused = trail.put("2026-11-18", record("b"))
    trail.broken[refused] = DENIED

    run(context, store)

    assert store.complete_dates() == set()


def test_an_unknown_account_of_a_round_before_keeps_its_days_from_being_complete(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    output = listed(context, NIGHT)
    before = {"counts": {"files": 5}, "unknown": [OTHER], "has_unknown": True}

    counted = count(context, output, counted=before)

    assert store.complete_dates() == set()
    assert counted["unknown"] == [OTHER]
    assert counted["counts"]["files"] == 5
    assert not counted["has_unknown"], "the next days begin anew"


def test_a_trail_of_which_nothing_may_be_read_fails_the_run(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    for number in range(3):
        trail.broken[trail.put("2026-11-20", record(f"{number}"))] = DENIED

    with pytest.raises(TrailReadError, match=r"none of 3 log files .* access denied"):
        run(context, store)


def test_counts_of_several_rounds_add_up(trail: Trail, store: ActivityStore, context: Any) -> None:
    for day in ("2026-11-02", "2026-11-09", "2026-11-16"):
        trail.put(day, record(day))

    counted = run(context, store, {"first_date": "2026-11-01", "last_date": "2026-11-20"})

    assert counted["counts"]["used"] == 3
    assert counted["counts"]["account_rounds"] == 3
    assert {"2026-11-01", "2026-11-09", "2026-11-18"} <= store.complete_dates()
    assert MEMBER not in counted["unknown"]
