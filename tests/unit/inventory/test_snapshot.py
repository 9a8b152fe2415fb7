from __future__ import annotations

import json
from typing import Any

import pytest

from pare.data_tables import read_table
from pare.inventory.model import COUNTS, DEFINITION_VERSION, SnapshotJson
from pare.inventory.snapshot import (
    FUNCTION_GB,
    build_snapshot,
    estimated_cost_usd,
    unknown_account,
)
from tests.unit.inventory.row_builders import account_result

ONE, TWO, THREE = (f"{number:012d}" for number in (1, 2, 3))
ROWS = {"bucket": "evidence", "key": "inventory/period=2026-11/principals.ndjson.gz"}


def snapshot(*results: Any, **changes: Any) -> SnapshotJson:
    given: dict[str, Any] = {
        "period": "2026-11",
        "created_at": "2026-11-01T08:00:00Z",
        "as_of": "2026-11-01T06:00:00Z",
        "results": results,
        "by_kind": {"user": 1, "role": 2},
        "rows": ROWS,
        "previous": None,
    }
    return build_snapshot(**{**given, **changes})


def test_a_snapshot_is_the_sum_of_its_accounts() -> None:
    head = snapshot(
        account_result(TWO, counts={"principals": 2, "new": 1}, calls=10, throttled=1,
                       seconds=2.25, transitions=6),
        account_result(ONE, counts={"principals": 5, "gone": 3}, calls=20, seconds=1.5,
                       transitions=8),
    )  # fmt: skip

    assert [each["account_id"] for each in head["accounts"]] == [ONE, TWO]
    assert (head["counts"]["principals"], head["counts"]["new"], head["counts"]["gone"]) == (
        7,
        1,
        3,
    )
    assert (head["calls"], head["throttled"], head["seconds"]) == (30, 1, 3.75)
    assert head["transitions"] == 14
    assert head["account_count"] == 2
    assert head["unknown_account_count"] == 0
    assert head["rows"] == ROWS
    assert list(head["by_kind"]) == ["role", "user"]
    assert (head["as_of"], head["created_at"]) == ("2026-11-01T06:00:00Z", "2026-11-01T08:00:00Z")


def test_every_count_is_there_and_0_where_no_account_has_it() -> None:
    assert snapshot(account_result(counts={}))["counts"] == dict.fromkeys(COUNTS, 0)


def test_an_unknown_account_is_counted_as_such_and_never_as_an_empty_one() -> None:
    known = {"period": "2026-10", "bucket": "evidence", "key": "rows"}
    unknown = unknown_account(TWO, "orders", error="MemberAccountError", message="no", known=known)

    head = snapshot(account_result(ONE, counts={"principals": 5}), unknown)

    assert (head["account_count"], head["unknown_account_count"]) == (2, 1)
    assert head["counts"]["principals"] == 5
    assert head["accounts"][1]["rows"] is None
    assert head["accounts"][1]["known"] == known
    assert head["trend"][-1]["unknown_accounts"] == 1


def test_counts_of_an_account_that_failed_half_way_are_not_added() -> None:
    failed = account_result(error="EvidenceError", message="no", counts={"principals": 9}, calls=7)

    head = snapshot(failed)

    assert head["counts"]["principals"] == 0
    assert head["calls"] == 7, "they were made"


def test_an_account_that_was_never_read_has_nothing_known() -> None:
    assert "known" not in unknown_account(ONE, "orders")


def test_same_accounts_same_bytes_in_any_order() -> None:
    results = [account_result(each) for each in (TWO, ONE, THREE)]

    first = snapshot(*results, by_kind={"user": 1, "role": 2})
    second = snapshot(*reversed(results), by_kind={"role": 2, "user": 1})

    assert json.dumps(first) == json.dumps(second)


def test_an_empty_organization_has_a_snapshot() -> None:
    head = snapshot(by_kind={})

    assert (head["account_count"], head["counts"]["principals"], head["by_kind"]) == (0, 0, {})


# --- Compared with the month before ---


def test_the_first_inventory_is_compared_with_nothing() -> None:
    head = snapshot(account_result())

    assert head["previous"] is None
    assert head["comparable"] is False
    assert [each["period"] for each in head["trend"]] == ["2026-11"]


def test_a_later_one_is_compared_with_the_one_before_and_carries_the_trend() -> None:
    october = snapshot(account_result(counts={"principals": 4}), period="2026-10")

    head = snapshot(account_result(counts={"principals": 5}), previous=october)

    assert (head["previous"], head["comparable"]) == ("2026-10", True)
    assert [(each["period"], each["counts"]["principals"]) for each in head["trend"]] == [
        ("2026-10", 4),
        ("2026-11", 5),
    ]


def test_other_definitions_are_not_comparable_and_the_trend_says_so() -> None:
    october = snapshot(account_result(), period="2026-10")
    october["definition_version"] -= 1
    october["trend"][0]["definition_version"] -= 1

    head = snapshot(account_result(), previous=october)

    assert (head["previous"], head["comparable"]) == ("2026-10", False)
    assert [each["definition_version"] for each in head["trend"]] == [
        DEFINITION_VERSION - 1,
        DEFINITION_VERSION,
    ]


@pytest.mark.parametrize("comparable", [True, False])
def test_a_month_made_anew_is_compared_with_the_month_before_it(comparable: bool) -> None:
    october = snapshot(account_result(), period="2026-10")
    november = snapshot(account_result(counts={"new": 1}), previous=october)
    november["comparable"] = comparable

    head = snapshot(account_result(counts={"new": 2}), previous=november)

    assert (head["previous"], head["comparable"]) == ("2026-10", comparable)
    assert [each["counts"]["new"] for each in head["trend"]] == [0, 2]


# --- What it cost ---


def test_the_cost_is_that_of_transitions_and_functions_at_list_prices() -> None:
    usd = read_table("prices.json", schema_version=1)["usd"]
    head = snapshot(
        *(account_result(f"{n:012d}", transitions=6, seconds=60.0) for n in range(2_000))
    )

    expected = 12_000 * usd["step_functions_transition"]
    expected += 120_000 * FUNCTION_GB * usd["lambda_gb_second_arm64"]
    assert head["estimated_cost_usd"] == pytest.approx(expected, abs=0.0001)
    assert 1 < head["estimated_cost_usd"] < 5
    assert estimated_cost_usd(transitions=0, seconds=0) == 0
