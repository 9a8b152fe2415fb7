from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.aws.tables import (
    Claim,
    FindingsTable,
    PrincipalsTable,
    ProposalsTable,
    RunsTable,
    from_item,
    to_item,
)
from pare.errors import AwsCallError, AwsServiceError, ThrottledError
from pare.findings.model import Finding
from tests.recorded import finding

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.handlers.fake_aws import FakeAws

EARLY, LATE = "2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z"
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


# --- Findings ---


@pytest.fixture
def findings(tables: Any) -> FindingsTable:
    return FindingsTable(tables, "Findings")


def seen(updated_at: str = EARLY, **changes: Any) -> Finding:
    return finding(**{"updated_at": updated_at, "analyzed_at": updated_at, **changes})


def test_a_first_finding_is_recorded_whole(findings: FindingsTable) -> None:
    first = seen(owner="orders", unknown=("finding details: no",))

    told = findings.record(first, execution="run-1", recorded_at=NOW)

    assert told == "new"
    item = findings.get(first.finding_id)
    assert item is not None
    assert Finding.from_json(item["finding"]) == first
    assert item == {
        "finding_id": first.finding_id,
        "finding": first.to_json(),
        "status": "ACTIVE",
        "account_id": "111122223333",
        "resource": first.resource,
        "updated_at": EARLY,
        "recorded_at": NOW,
        "recorded_by": "run-1",
        "news": "new",
        "version": 1,
        "history": [
            {"at": EARLY, "recorded_at": NOW, "recorded_by": "run-1", "news": "new",
             "status": "ACTIVE", "is_deleted": False}
        ],
        "pending": {"at": EARLY, "recorded_at": NOW, "recorded_by": "run-1", "news": "new",
                    "status": "ACTIVE", "is_deleted": False},
    }  # fmt: skip


def test_a_finding_is_looked_up_as_it_is_now(findings: FindingsTable, aws: FakeAws) -> None:
    """Not as some replica remembers it: what is told depends on it."""
    aws.answer("dynamodb:GetItem", {})

    findings.get("f-1")

    assert aws.called("dynamodb:GetItem") == [
        {"TableName": "Findings", "Key": {"finding_id": {"S": "f-1"}}, "ConsistentRead": True}
    ]


def test_a_finding_nobody_recorded_is_none(findings: FindingsTable) -> None:
    assert findings.get("nothing") is None


def test_each_newer_state_is_added_to_the_history(findings: FindingsTable) -> None:
    told = [
        findings.record(state, execution=f"run-{number}", recorded_at=NOW)
        for number, state in enumerate(
            [seen(), seen(LATE, status="ARCHIVED"), seen(LATE, status="ARCHIVED", is_deleted=True)]
        )
    ]

    item = findings.get(seen().finding_id)
    assert told == ["new", "archived", "deleted"]
    assert item is not None
    assert item["version"] == 3
    assert [entry["news"] for entry in item["history"]] == told
    assert item["finding"]["is_deleted"] is True


def test_an_older_state_changes_nothing(findings: FindingsTable) -> None:
    findings.record(seen(LATE, status="RESOLVED"), execution="run-1", recorded_at=NOW)
    before = findings.get(seen().finding_id)

    told = findings.record(seen(EARLY), execution="run-2", recorded_at=NOW)

    assert told == "none"
    assert findings.get(seen().finding_id) == before


def test_a_settled_state_from_another_execution_is_no_news(findings: FindingsTable) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    assert findings.settle(seen().finding_id, execution="run-1")

    assert findings.record(seen(), execution="run-2", recorded_at=NOW) == "none"


def test_news_of_a_failed_execution_goes_to_the_next_with_the_same_state(
    findings: FindingsTable,
) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)

    assert findings.record(seen(), execution="run-2", recorded_at=NOW) == "new"
    assert findings.record(seen(), execution="run-2", recorded_at=NOW) == "new", "its own retry"
    assert not findings.settle(seen().finding_id, execution="run-1"), "it is run-2's now"
    assert findings.settle(seen().finding_id, execution="run-2")
    assert not findings.settle(seen().finding_id, execution="run-2")
    assert findings.record(seen(), execution="run-3", recorded_at=NOW) == "none"


def test_pending_news_outlives_a_newer_state_without_news(findings: FindingsTable) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    assert findings.record(seen(LATE), execution="run-2", recorded_at=NOW) == "none"

    assert findings.record(seen(), execution="run-3", recorded_at=NOW) == "new"


def test_a_later_analysis_of_a_pending_state_is_recorded(findings: FindingsTable) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    later = seen(analyzed_at=LATE, unused_action_count=99)

    assert findings.record(later, execution="run-2", recorded_at=NOW) == "changed"

    item = findings.get(later.finding_id)
    assert item is not None
    assert Finding.from_json(item["finding"]) == later


def test_later_news_replaces_what_is_pending(findings: FindingsTable) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    later = seen(LATE, status="RESOLVED")
    findings.record(later, execution="run-2", recorded_at=NOW)

    assert findings.record(seen(), execution="run-3", recorded_at=NOW) == "none"
    assert findings.record(later, execution="run-4", recorded_at=NOW) == "resolved"


def test_nothing_is_settled_of_a_finding_nobody_recorded(findings: FindingsTable) -> None:
    assert not findings.settle("nothing", execution="run-1")
    assert findings.get("nothing") is None


def test_a_retried_step_hears_the_same_answer(findings: FindingsTable) -> None:
    for _ in range(3):
        assert findings.record(seen(), execution="run-1", recorded_at=NOW) == "new"

    item = findings.get(seen().finding_id)
    assert item is not None
    assert item["version"] == 1


def test_a_retried_step_hears_the_same_answer_after_another_execution_came_between(
    findings: FindingsTable,
) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    findings.record(seen(LATE), execution="run-2", recorded_at=NOW)

    again = findings.record(seen(), execution="run-1", recorded_at=NOW)

    assert again == "new", "or nobody is ever told of the finding"
    item = findings.get(seen().finding_id)
    assert item is not None
    assert item["version"] == 2
    assert item["updated_at"] == LATE


def test_a_retry_after_a_lost_answer_hears_what_was_recorded(
    findings: FindingsTable, aws: FakeAws
) -> None:
    aws.lose_answer("dynamodb:UpdateItem")

    # The SDK tries again by itself, and finds the item as the first try left it.
    told = findings.record(seen(), execution="run-1", recorded_at=NOW)

    assert told == "new"
    item = findings.get(seen().finding_id)
    assert item is not None
    assert item["version"] == 1


def test_a_history_is_bounded(findings: FindingsTable) -> None:
    findings.record(seen(), execution="run-0", recorded_at=NOW)
    item = findings.get(seen().finding_id)
    assert item is not None
    item["history"] = [{**item["history"][0], "recorded_by": f"run-{n}"} for n in range(50)]
    findings.dynamodb.put_item(TableName="Findings", Item=to_item(item))

    findings.record(seen(LATE), execution="run-50", recorded_at=NOW)

    later = findings.get(seen().finding_id)
    assert later is not None
    assert [entry["recorded_by"] for entry in later["history"]] == [
        f"run-{number}" for number in range(1, 51)
    ]


class Racing(FindingsTable):
    """Lets another execution record between this one's look and its write."""

    def __init__(self, dynamodb: Any, other: Finding) -> None:
        super().__init__(dynamodb, "Findings")
        object.__setattr__(self, "others", [other])

    others: list[Finding]
    __slots__ = ("others",)

    def get(self, finding_id: str) -> dict[str, Any] | None:
        found = FindingsTable.get(self, finding_id)
        if self.others:
            FindingsTable(self.dynamodb, self.name).record(
                self.others.pop(), execution="other", recorded_at=NOW
            )
        return found


@pytest.mark.parametrize(
    ("other", "mine", "told", "recorded_by"),
    [
        (seen(EARLY), seen(LATE, status="RESOLVED"), "resolved", "mine"),
        (seen(LATE, status="RESOLVED"), seen(EARLY), "none", "other"),
        (seen(EARLY), seen(EARLY), "new", "other"),  # the message has a claim of its own
    ],
)
def test_of_two_executions_at_once_the_newer_state_stays(
    tables: Any, other: Finding, mine: Finding, told: str, recorded_by: str
) -> None:
    table = Racing(tables, other)

    assert table.record(mine, execution="mine", recorded_at=NOW) == told

    item = FindingsTable(tables, "Findings").get(mine.finding_id)
    assert item is not None
    assert item["recorded_by"] == recorded_by


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


def test_many_executions_at_once_tell_each_state_once(tables: Any) -> None:
    table = FindingsTable(OneAtATime(tables), "Findings")  # type: ignore[arg-type]
    states = [
        seen(f"2026-11-21T09:00:{number:02}Z", unused_action_count=number) for number in range(4)
    ]
    start = threading.Barrier(8)

    def record(number: int) -> tuple[str, str]:
        state = states[number % 4]
        start.wait()
        return state.updated_at, table.record(state, execution=f"run-{number}", recorded_at=NOW)

    with ThreadPoolExecutor(8) as pool:
        told = [each for each in pool.map(record, range(8)) if each[1] != "none"]

    item = table.get(states[0].finding_id)
    assert item is not None
    assert item["updated_at"] == states[-1].updated_at
    assert len(set(told)) == len({at for at, _ in told}), "a state is the same news to all"
    assert [news for _, news in set(told)].count("new") == 1
    assert item["version"] == len(item["history"])


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, AwsCallError),
        ("ProvisionedThroughputExceededException", 400, ThrottledError),
        ("InternalServerError", 500, AwsServiceError),
    ],
)
def test_a_table_that_cannot_be_written_is_an_error_not_an_endless_loop(
    findings: FindingsTable, aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("dynamodb:UpdateItem", code, status)

    with pytest.raises(error, match="dynamodb:UpdateItem on Findings"):
        findings.record(seen(), execution="run-1", recorded_at=NOW)


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
    proposal = {"principal_arn": "a", "created_at": EARLY, "reasons": [{"code": "X"}], "after": 1}

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


def test_a_replaced_finding_stays_the_same_item(findings: FindingsTable, tables: Any) -> None:
    findings.record(seen(), execution="run-1", recorded_at=NOW)
    findings.record(replace(seen(LATE), owner="x"), execution="run-2", recorded_at=NOW)

    assert tables.scan(TableName="Findings")["Count"] == 1
