from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.aws.tables import (
    Claim,
    PrincipalsTable,
    ProposalsTable,
    RunsTable,
    from_item,
    to_item,
)
from pare.errors import AwsCallError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.handlers.fake_aws import FakeAws

NOW = "2026-11-23T09:00:00Z"


# --- Items ---

plain_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**37), max_value=10**37)
    | st.floats(min_value=-1e9, max_value=1e9, allow_subnormal=False).map(lambda n: round(n, 6))
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), plain_values))
def test_json_comes_back_from_an_item_as_it_was(fields: dict[str, Any]) -> None:
    assert from_item(to_item(fields)) == fields


def test_numbers_come_back_as_whole_numbers_where_they_are() -> None:
    back = from_item(to_item({"count": 3, "cost": 0.000375, "whole": 2.0}))

    assert back == {"count": 3, "cost": 0.000375, "whole": 2}
    assert [type(value) for value in back.values()] == [int, float, int]


def test_a_set_becomes_a_sorted_list() -> None:
    assert from_item({"names": {"SS": ["b", "a"]}, "n": {"NS": ["10", "9"]}}) == {
        "names": ["a", "b"],
        "n": [9, 10],
    }


class OneAtATime:
    """A DynamoDB client that does each call as a whole: as AWS does, and moto does not."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._dynamodb, name)

        def locked(**parameters: Any) -> Any:
            with self._lock:
                return call(**parameters)

        return locked


# --- Principals ---


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"account_id": "111122223333", "principal_arn": f"role-{number:03}", "owner": None}
        for number in range(count)
    ]


def stored(tables: Any) -> list[str]:
    items = tables.get_paginator("scan").paginate(TableName="Principals")
    return sorted(item["principal_arn"]["S"] for page in items for item in page["Items"])


@pytest.mark.parametrize("count", [0, 1, 25, 26, 60])
def test_rows_of_any_number_are_written(tables: Any, count: int) -> None:
    PrincipalsTable(tables, "Principals").put_all(rows(count))

    assert stored(tables) == [row["principal_arn"] for row in rows(count)]


def test_a_row_written_again_replaces_the_first(tables: Any) -> None:
    table = PrincipalsTable(tables, "Principals")
    table.put_all(rows(1))

    table.put_all([rows(1)[0] | {"owner": "orders"}])

    (item,) = tables.scan(TableName="Principals")["Items"]
    assert from_item(item)["owner"] == "orders"


def unprocessed(tables: Any, aws: FakeAws, leave: Any) -> list[int]:
    """Let DynamoDB leave some requests of each batch unprocessed; return the sizes it was sent."""
    sizes: list[int] = []

    def write(parameters: dict[str, Any]) -> dict[str, Any]:
        (requests,) = parameters["RequestItems"].values()
        sizes.append(len(requests))
        kept = leave(requests)
        for request in requests[: len(requests) - len(kept)]:
            tables.put_item(TableName="Principals", Item=request["PutRequest"]["Item"])
        return {"UnprocessedItems": {"Principals": kept} if kept else {}}

    aws.answer("dynamodb:BatchWriteItem", write)
    return sizes


def test_what_dynamodb_leaves_unprocessed_is_written_later(tables: Any, aws: FakeAws) -> None:
    sizes = unprocessed(tables, aws, lambda requests: requests[(len(requests) + 1) // 2 :])
    pauses: list[float] = []

    PrincipalsTable(tables, "Principals").put_all(rows(40), sleep=pauses.append)

    assert stored(tables) == [row["principal_arn"] for row in rows(40)]
    assert max(sizes) <= 25
    assert pauses, "not at once: AWS asks for a pause"
    assert set(pauses) == {0.1}, "it goes on, so the pause stays short"


def test_a_table_that_takes_nothing_is_an_error_after_pauses_that_grow(
    tables: Any, aws: FakeAws
) -> None:
    sizes = unprocessed(tables, aws, lambda requests: requests)
    pauses: list[float] = []

    with pytest.raises(ThrottledError, match="left 3 rows unwritten"):
        PrincipalsTable(tables, "Principals").put_all(rows(3), sleep=pauses.append)

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]
    assert sizes == [3] * 9


# --- Proposals ---


def test_a_proposal_written_again_replaces_itself(tables: Any) -> None:
    table = ProposalsTable(tables, "Proposals")
    proposal = {"principal_arn": "a", "created_at": NOW, "reasons": [{"code": "X"}], "after": 1}

    table.put(proposal)
    table.put(proposal | {"after": None})

    (item,) = tables.scan(TableName="Proposals")["Items"]
    assert from_item(item) == proposal | {"after": None}


# --- Runs and claims ---


@pytest.fixture
def runs(tables: Any) -> RunsTable:
    return RunsTable(tables, "Runs")


def test_a_run_is_written_with_its_cost(runs: RunsTable, tables: Any) -> None:
    run = {"workflow": "policy", "run_id": "1", "estimated_cost_usd": 0.000375, "input": None}

    runs.put(run)

    (item,) = tables.scan(TableName="Runs")["Items"]
    assert from_item(item) == run


PERIOD = ("inventory-period", "2026-11")


def claim(
    runs: RunsTable,
    execution: str,
    *,
    ended: Collection[str] = (),
    again: bool = False,
    key: tuple[str, str] = PERIOD,
) -> Claim:
    return runs.claim(
        *key,
        execution=execution,
        work=f"work={execution}",
        as_of=f"when {execution} began",
        has_ended=lambda holder: holder in ended,
        again=again,
    )


def held(execution: str, *, is_done: bool = False, work_of: str = "") -> Claim:
    """Return a claim of an execution, with the work of another one where it took over."""
    began = work_of or execution
    return Claim(execution, is_done=is_done, work=f"work={began}", as_of=f"when {began} began")


def test_the_first_execution_holds_a_claim(runs: RunsTable) -> None:
    assert claim(runs, "one") == held("one")
    assert claim(runs, "two") == held("one")
    assert claim(runs, "one", ended={"one"}) == held("one"), "its own retry"
    assert claim(runs, "two") == held("one")
    for key in (("inventory-period", "2026-12"), ("other", "2026-11")):
        assert claim(runs, "two", key=key) == held("two")


def test_the_work_of_an_execution_that_ended_goes_on(runs: RunsTable) -> None:
    claim(runs, "one")

    assert claim(runs, "two", ended={"one"}) == held("two", work_of="one")
    assert claim(runs, "two") == held("two", work_of="one"), "its own retry"
    assert claim(runs, "one") == held("two", work_of="one"), "it is the other's now"
    assert claim(runs, "three", ended={"one"}) == held("two", work_of="one")
    assert claim(runs, "three", ended={"one", "two"}) == held("three", work_of="one")


def test_a_claim_that_is_done_is_held_for_good(runs: RunsTable) -> None:
    claim(runs, "one")
    assert runs.finish(*PERIOD, execution="one")

    assert claim(runs, "two", ended={"one"}) == held("one", is_done=True)


def test_whoever_wants_it_again_takes_a_claim_from_anybody_and_begins_anew(
    runs: RunsTable,
) -> None:
    claim(runs, "one")
    assert claim(runs, "two", again=True) == held("two")
    assert claim(runs, "two", again=True) == held("two"), "its own retry"
    runs.finish(*PERIOD, execution="two")
    assert claim(runs, "three", again=True) == held("three")

    assert claim(runs, "four", ended={"three"}) == held("four", work_of="three")


def test_only_who_holds_a_claim_finishes_it(runs: RunsTable) -> None:
    assert not runs.finish(*PERIOD, execution="one")
    claim(runs, "one")
    claim(runs, "two", again=True)

    assert not runs.finish(*PERIOD, execution="one")
    assert claim(runs, "three") == held("two")
    assert runs.finish(*PERIOD, execution="two")


def test_a_claim_of_the_version_before_names_no_work(runs: RunsTable) -> None:
    runs.put({"workflow": PERIOD[0], "run_id": PERIOD[1], "claimed_by": "one", "claimed_at": 1,
              "done": False})  # fmt: skip

    assert claim(runs, "two") == held("one", work_of="two")
    assert claim(runs, "two", ended={"one"}) == held("two")


def test_of_many_who_would_go_on_one_does(tables: Any) -> None:
    claim(RunsTable(tables, "Runs"), "one")

    def take_over(number: int) -> bool:
        name = f"other-{number}"
        return claim(RunsTable(tables, "Runs"), name, ended={"one"}).holder == name

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take_over, range(8))) == 1


def test_a_message_can_be_claimed_once_even_by_the_same_caller(runs: RunsTable) -> None:
    assert runs.claim_message("finding#1", expires_at=1)
    assert not runs.claim_message("finding#1", expires_at=1)
    assert runs.claim_message("finding#2", expires_at=1)


def test_a_claim_that_was_released_can_be_had_again(runs: RunsTable, tables: Any) -> None:
    runs.claim_message("finding#1", expires_at=1)

    runs.release_message("finding#1")
    runs.release_message("finding#1")

    assert tables.scan(TableName="Runs")["Items"] == []
    assert runs.claim_message("finding#1", expires_at=1)


def test_a_claim_expires_by_the_tables_time_to_live(runs: RunsTable, tables: Any) -> None:
    runs.claim_message("finding#1", expires_at=1_800_000_000)

    (found,) = tables.scan(TableName="Runs")["Items"]
    item = from_item(found)
    assert item.pop("claimed_by")
    assert item == {
        "workflow": "message",
        "run_id": "finding#1",
        "expires_at": 1_800_000_000,
    }


def test_a_claim_whose_answer_was_lost_is_still_won(runs: RunsTable, aws: FakeAws) -> None:
    aws.lose_answer("dynamodb:UpdateItem")

    # The SDK asks again by itself; were that taken for another caller, nobody would be told.
    assert runs.claim_message("finding#1", expires_at=1)

    assert aws.attempts.count("dynamodb:UpdateItem") == 2
    assert not runs.claim_message("finding#1", expires_at=1)


def test_claims_of_many_at_once_have_one_winner(tables: Any) -> None:
    start = threading.Barrier(8)
    table = RunsTable(OneAtATime(tables), "Runs")  # type: ignore[arg-type]

    def claim(_: int) -> bool:
        start.wait()
        return table.claim_message("finding#1", expires_at=1)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(claim, range(8))) == [False] * 7 + [True]


def test_a_claim_that_fails_is_an_error_not_a_no(runs: RunsTable, aws: FakeAws) -> None:
    aws.fail("dynamodb:UpdateItem", "AccessDeniedException")

    with pytest.raises(AwsCallError):
        runs.claim_message("finding#1", expires_at=1)
    with pytest.raises(AwsCallError):
        claim(runs, "one")


# --- Claims for a while, and budgets ---

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def claimed(runs: RunsTable, execution: str, *, minutes: int = 0, key: str = "role") -> bool:
    now = NOON + timedelta(minutes=minutes)
    return runs.claim_for("cool-down", key, execution=execution, now=now, seconds=3_600)


def test_a_claim_for_a_while_is_the_first_ones_until_it_is_over(runs: RunsTable) -> None:
    assert claimed(runs, "one")
    assert claimed(runs, "one"), "a retried step"
    assert not claimed(runs, "two", minutes=59)
    assert claimed(runs, "two", key="another role")

    assert claimed(runs, "two", minutes=60)
    assert not claimed(runs, "one", minutes=61)


def test_a_claim_for_a_while_is_forgotten_by_the_tables_time_to_live(
    runs: RunsTable, tables: Any
) -> None:
    claimed(runs, "one")

    (item,) = tables.scan(TableName="Runs")["Items"]
    assert from_item(item)["expires_at"] == int(NOON.timestamp()) + 3_600


HOUR = "2026-11-22T09"


def test_a_budget_is_used_up_and_a_retried_step_takes_nothing_twice(runs: RunsTable) -> None:
    assert runs.take_budget(HOUR, 12, 20, execution="one") == 12
    assert runs.take_budget(HOUR, 12, 20, execution="one") == 12
    assert runs.take_budget(HOUR, 12, 20, execution="two") == 8
    assert runs.take_budget(HOUR, 1, 20, execution="three") == 0
    assert runs.take_budget("2026-11-22T10", 1, 20, execution="three") == 1


def test_nothing_is_taken_of_a_budget_by_who_wants_nothing(runs: RunsTable, tables: Any) -> None:
    assert runs.take_budget(HOUR, 0, 20, execution="one") == 0
    assert runs.take_budget(HOUR, 5, 0, execution="one") == 0
    assert tables.scan(TableName="Runs")["Count"] == 0


def test_a_budget_is_kept_for_two_days(runs: RunsTable, tables: Any) -> None:
    runs.take_budget(HOUR, 3, 20, execution="one")

    (item,) = tables.scan(TableName="Runs")["Items"]
    assert from_item(item) == {
        "workflow": "message-budget",
        "run_id": HOUR,
        "used": 3,
        "taken": {"one": 3},
        "expires_at": int(datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()),
    }


def test_what_a_message_gives_back_others_may_take_once(runs: RunsTable) -> None:
    assert runs.take_budget(HOUR, 20, 20, execution="one") == 20
    for message_id in ("m-1", "m-1", "m-2"):
        runs.give_back_budget(HOUR, message_id)
    assert runs.take_budget(HOUR, 12, 20, execution="one") == 20
    assert runs.take_budget(HOUR, 12, 20, execution="two") == 2
    assert runs.take_budget(HOUR, 12, 20, execution="three") == 0


def test_part_of_an_hours_budget_has_its_own_account(runs: RunsTable) -> None:
    assert runs.take_budget(f"{HOUR} later", 9, 10, execution="one") == 9
    assert runs.take_budget(HOUR, 9, 20, execution="one") == 9
    assert runs.take_budget(f"{HOUR} later", 9, 10, execution="two") == 1


def test_what_is_given_back_to_a_forgotten_hour_is_forgotten_too(
    runs: RunsTable, tables: Any
) -> None:
    runs.give_back_budget(f"{HOUR} later", "m-1")

    (item,) = tables.scan(TableName="Runs")["Items"]
    found = from_item(item)
    assert found["expires_at"] == int(datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp())
    assert runs.take_budget(f"{HOUR} later", 9, 3, execution="one") == 3


def test_many_at_once_take_no_more_than_there_is(tables: Any) -> None:
    runs = RunsTable(OneAtATime(tables), "Runs")  # type: ignore[arg-type]
    start = threading.Barrier(8)

    def take(number: int) -> int:
        start.wait()
        return runs.take_budget(HOUR, 3, 20, execution=f"run-{number}")

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(take, range(8))) == [0, 2, 3, 3, 3, 3, 3, 3]


def test_a_budget_that_cannot_be_asked_for_is_an_error(runs: RunsTable, aws: FakeAws) -> None:
    aws.fail("dynamodb:UpdateItem", "AccessDeniedException")

    with pytest.raises(AwsCallError, match="dynamodb:UpdateItem on Runs"):
        runs.take_budget(HOUR, 3, 20, execution="one")
