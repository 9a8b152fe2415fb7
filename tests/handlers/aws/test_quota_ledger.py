from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from infra import pipeline_stack
from local.emulator.policy_generation import (
    _QUOTA_PER_DAY,
    _SMALL_QUOTA_PER_DAY,
    _SMALL_QUOTA_REGIONS,
)
from pare.aws import quota_ledger
from pare.aws.quota_ledger import EXHAUSTED, QuotaLedger, load_quotas
from tests.handlers.fake_aws import MEMBER, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LEASE = timedelta(minutes=45)
SMALL = "af-south-1"  # five a day


@pytest.fixture
def ledger(tables: Any) -> QuotaLedger:
    return QuotaLedger(tables, "Runs")


def reserve(ledger: QuotaLedger, holder: str, at: datetime = NOW, region: str = REGION) -> Any:
    return ledger.reserve(MEMBER, region, holder, now=at, lease=LEASE)


def release(ledger: QuotaLedger, holder: str, at: datetime = NOW, **more: Any) -> bool:
    return ledger.release(MEMBER, REGION, holder, now=at, **more)


def test_the_first_who_asks_has_the_turn_and_the_second_is_told_who_and_until_when(
    ledger: QuotaLedger,
) -> None:
    first = reserve(ledger, "execution:one")
    second = reserve(ledger, "execution:two", NOW + timedelta(minutes=1))

    assert (first.granted, first.until) == (True, NOW + LEASE)
    assert not second.granted
    assert (second.why, second.holder, second.until) == ("running", "execution:one", NOW + LEASE)
    assert second.text() == (
        "a policy generation of the account is running (for one, at most to 2026-11-22T09:45:00Z)"
    )


def test_the_same_holder_asks_again_and_its_job_counts_once(ledger: QuotaLedger) -> None:
    reserve(ledger, "one")
    again = reserve(ledger, "one", NOW + timedelta(minutes=10))

    assert (again.granted, again.until) == (True, NOW + timedelta(minutes=55))
    assert ledger.ledger(MEMBER, REGION).jobs == {"one": int(NOW.timestamp())}


def test_a_turn_given_back_is_free_at_once_and_only_its_holder_gives_it_back(
    ledger: QuotaLedger,
) -> None:
    reserve(ledger, "one")

    assert not release(ledger, "two")
    assert not reserve(ledger, "two").granted
    assert release(ledger, "one")
    assert not release(ledger, "one")  # a retried step
    assert reserve(ledger, "two").granted


def test_a_turn_whose_holder_never_came_back_ends_by_itself(ledger: QuotaLedger) -> None:
    reserve(ledger, "crashed")

    assert not reserve(ledger, "two", NOW + LEASE - timedelta(seconds=1)).granted
    assert reserve(ledger, "two", NOW + LEASE).granted
    # Who was thought lost does not take it back, and does not give it away.
    assert not reserve(ledger, "crashed", NOW + LEASE).granted
    assert not release(ledger, "crashed", NOW + LEASE)


@pytest.mark.parametrize(("region", "per_day"), [(REGION, 50), (SMALL, 5)])
def test_a_day_has_so_many_jobs_and_the_next_is_free_when_the_first_is_a_day_old(
    ledger: QuotaLedger, region: str, per_day: int
) -> None:
    for number in range(per_day):
        at = NOW + timedelta(minutes=number)
        assert reserve(ledger, f"{number}", at, region).granted
        ledger.release(MEMBER, region, f"{number}", now=at)

    refused = reserve(ledger, "late", NOW + timedelta(hours=5), region)
    assert (refused.granted, refused.why) == (False, "day used up")
    assert refused.until == NOW + timedelta(hours=24)
    assert "used up (until 2026-11-23T09:00:00Z)" in refused.text()
    # One whose job counts already may go on with it.
    assert reserve(ledger, "3", NOW + timedelta(hours=5), region).granted
    ledger.release(MEMBER, region, "3", now=NOW)
    assert reserve(ledger, "late", refused.until, region).granted


def test_a_job_that_aws_refused_leaves_the_day_as_it_was(ledger: QuotaLedger) -> None:
    for number in range(60):
        assert reserve(ledger, f"{number}").granted
        assert release(ledger, f"{number}", uncounted=True)


def test_a_day_that_aws_says_is_used_up_is_not_asked_for_an_hour(ledger: QuotaLedger) -> None:
    until = ledger.mark_exhausted(MEMBER, REGION, now=NOW)

    refused = reserve(ledger, "one", NOW + timedelta(minutes=59))
    assert (
        (refused.why, refused.until)
        == ("day used up", NOW + EXHAUSTED)
        == (
            "day used up",
            until,
        )
    )
    assert reserve(ledger, "one", until).granted


def test_accounts_and_regions_have_turns_of_their_own(ledger: QuotaLedger) -> None:
    assert reserve(ledger, "one").granted
    assert reserve(ledger, "two", region=SMALL).granted
    assert ledger.reserve("444455556666", REGION, "three", now=NOW, lease=LEASE).granted


def test_looking_takes_nothing(ledger: QuotaLedger) -> None:
    assert ledger.look(MEMBER, REGION, "one", now=NOW, lease=LEASE).granted
    assert reserve(ledger, "two").granted
    assert not ledger.look(MEMBER, REGION, "one", now=NOW, lease=LEASE).granted


def test_an_item_that_dynamodb_forgot_begins_anew(ledger: QuotaLedger, tables: Any) -> None:
    reserve(ledger, "one")
    (item,) = tables.scan(TableName="Runs")["Items"]
    assert int(item["expires_at"]["N"]) == int((NOW + LEASE + timedelta(days=3)).timestamp())
    tables.delete_item(TableName="Runs", Key={key: item[key] for key in ("workflow", "run_id")})

    assert reserve(ledger, "two").granted


def test_of_many_at_once_one_has_the_turn() -> None:
    dynamodb = Memory(lock=threading.Lock())
    start = threading.Barrier(8)

    def ask(number: int) -> bool:
        start.wait()
        granted: bool = reserve(QuotaLedger(dynamodb, "Runs"), f"{number}").granted  # type: ignore[arg-type]
        return granted

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


def test_the_functions_may_touch_the_ledgers_items_alone() -> None:
    assert pipeline_stack.LEDGER == quota_ledger.KIND


def test_the_emulator_and_the_ledger_have_the_same_quotas() -> None:
    quotas = load_quotas()
    assert {quotas.per_day(region) for region in _SMALL_QUOTA_REGIONS} == {_SMALL_QUOTA_PER_DAY}
    assert quotas.per_day("us-east-1") == _QUOTA_PER_DAY
    assert set(quotas._per_day_in) == _SMALL_QUOTA_REGIONS


# --- Any order ------------------------------------------------------------------------------------


@dataclass
class Memory:
    """The two calls of DynamoDB that a ledger makes, each as a whole; moto takes a hundred times as
    long. ``after_read``: what others do after a ledger has read and before it writes."""

    items: dict[str, Any] = field(default_factory=dict)
    lock: Any = field(default_factory=nullcontext)
    after_read: Callable[[], None] = lambda: None

    def get_item(self, *, Key: Any, **_: Any) -> Any:
        with self.lock:
            item = self.items.get(str(Key))
        self.after_read()
        return {"Item": item} if item else {}

    def update_item(self, *, Key: Any, ConditionExpression: str, **request: Any) -> None:
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        with self.lock:
            version = self.items.get(str(Key), {}).get("version")
            if ConditionExpression == "attribute_not_exists(#version)":
                holds = version is None
            else:
                assert ConditionExpression == "#version = :before"
                holds = version == values[":before"]
            if not holds:
                error = {"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}
                raise ClientError(error, "UpdateItem")  # type: ignore[arg-type]
            self.items[str(Key)] = {name: values[f":{name}"] for name in names.values()}


@dataclass
class Model:
    """What is true of five jobs a day and one at a time, said in the plainest way."""

    now: datetime = NOW
    lease: tuple[str, datetime] | None = None
    jobs: dict[str, datetime] = field(default_factory=dict)

    def act(self, what: str, holder: str) -> bool:
        if what == "reserve":
            if self.lease and self.lease[0] != holder and self.lease[1] > self.now:
                return False
            day = self.now - timedelta(hours=24)
            today = {each: at for each, at in self.jobs.items() if at > day}
            if holder not in today and len(today) >= 5:
                return False
            self.jobs = {holder: self.now, **today}
            self.lease = (holder, self.now + LEASE)
            return True
        had = self.lease is not None and self.lease[0] == holder
        if had:
            self.lease = None
        if what == "refused":
            self.jobs.pop(holder, None)
        return had


operations = st.tuples(
    st.sampled_from(["reserve", "reserve", "release", "refused"]), st.sampled_from("abcdefgh")
)
# Minutes that pass, what is done, and what others do between its reading and its writing.
histories = st.lists(
    st.tuples(st.integers(0, 600), operations, st.lists(operations, max_size=2)), max_size=30
)


class Race:
    """A ledger and the truth about it; ``others`` act whenever the ledger has read."""

    def __init__(self) -> None:
        self.dynamodb = Memory()
        self.ledger = QuotaLedger(self.dynamodb, "Runs")  # type: ignore[arg-type]
        self.truth = Model()
        self.as_read = Model()
        self.others: list[tuple[str, str]] = []

    def act(self, what: str, holder: str) -> bool:
        now = self.truth.now
        if what == "reserve":
            granted: bool = reserve(self.ledger, holder, now, SMALL).granted
            return granted
        uncounted = what == "refused"
        return self.ledger.release(MEMBER, SMALL, holder, now=now, uncounted=uncounted)

    def act_with_others(self, what: str, holder: str) -> None:
        """It says what was true when it last read, and it changes only what it read."""
        self.dynamodb.after_read = self._let_another_act
        answer = self.act(what, holder)
        changed = copy.deepcopy(self.as_read)
        assert answer == changed.act(what, holder)
        if changed != self.as_read:
            assert self.truth == self.as_read
            self.truth = changed

    def _let_another_act(self) -> None:
        self.as_read = copy.deepcopy(self.truth)
        if self.others:
            other = self.others.pop()
            self.dynamodb.after_read = lambda: None
            assert self.act(*other) == self.truth.act(*other)
            self.dynamodb.after_read = self._let_another_act


@given(histories)
def test_in_any_order_and_however_interleaved_the_ledger_says_what_is_true(
    history: list[tuple[int, tuple[str, str], list[tuple[str, str]]]],
) -> None:
    race = Race()
    for minutes, operation, others in history:
        race.truth.now += timedelta(minutes=minutes)
        race.others = list(others)
        race.act_with_others(*operation)
