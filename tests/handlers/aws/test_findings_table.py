from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from pare.aws.findings_table import CardsTable, FindingsTable, card_of, card_to_item
from pare.aws.tables import from_item, to_item
from pare.errors import AwsCallError, AwsServiceError, ThrottledError
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.findings.state import (
    LOOK_AGAIN,
    MAX_ARCHIVED,
    MAX_OPEN,
    card_news,
    perhaps_told,
)
from tests.finding_terms import bare_view, finding_terms
from tests.recorded import finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.aws.findings_table import BecameOf, Partition, RecordedJson
    from pare.findings.card import (
        ArchivedJson,
        CardJson,
        CardViewJson,
        ExemptionJson,
        ProposalNoteJson,
    )
    from tests.handlers.fake_aws import FakeAws

EARLY, LATE = "2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z"
NOW = datetime(2026, 11, 22, 9, 15, 20, tzinfo=UTC)
TERMS = finding_terms()
ROUND = "arn:aws:states:eu-west-1:123456789012:execution:Notification:news-1"
OTHER_ROUND = f"{ROUND}-other"
PLAN = "notifications/2026-11-22/plan.json"
BASE = finding("external_access", severity="high", updated_at=EARLY, analyzed_at=EARLY)
CARD = card_id_of(BASE.account_id, BASE.resource)


def seen(finding_id: str = "a", **changes: Any) -> Finding:
    return replace(BASE, finding_id=finding_id, **changes)


@pytest.fixture
def findings(tables: Any) -> FindingsTable:
    return FindingsTable(tables, "Findings")


@pytest.fixture
def cards(tables: Any) -> CardsTable:
    return CardsTable(tables, "Cards")


class Pauses(list[float]):
    """Takes the place of sleep, and remembers."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def record(
    table: FindingsTable,
    found: Finding,
    execution: str = "run-1",
    *,
    now: datetime = NOW,
    sleep: Any = None,
    cards: CardsTable | None = None,
) -> RecordedJson:
    return table.record(
        found,
        cards=cards or CardsTable(table.dynamodb, "Cards"),
        execution=execution,
        now=now,
        terms=TERMS,
        sleep=Pauses() if sleep is None else sleep,
    )


def item_of(table: FindingsTable, finding_id: str = "a") -> dict[str, Any]:
    item = table.get(finding_id)
    assert item is not None
    return item


def card_in(table: CardsTable, card_id: str = CARD) -> CardJson:
    card = table.get(card_id)
    assert card is not None
    return card


def view_of(card: CardJson, now: datetime = NOW) -> CardViewJson:
    return bare_view(card, now)


def due(
    table: CardsTable,
    before: datetime,
    *,
    ended: Mapping[str, BecameOf] | None = None,
    execution: str = ROUND,
    partitions: tuple[Partition, ...] = ("now", "later"),
) -> list[CardJson]:
    return list(
        table.due(
            before,
            partitions=partitions,
            now=before,
            terms=TERMS,
            execution=execution,
            became_of=lambda _, telling: (ended or {}).get(telling["round"], "running"),
        )
    )


def told(table: CardsTable, now: datetime = NOW) -> CardJson:
    """Let a round tell of the card, and return it."""
    claim = table.claim(card_in(table), execution=ROUND, message_id="m-1", plan=PLAN, now=now)
    assert claim is not None
    assert table.settle(view_of(claim, now), message_id="m-1", how="single", now=now, terms=TERMS)
    return card_in(table)


# --- A finding and its card -----------------------------------------------------------------------


def test_a_first_finding_is_recorded_whole_and_so_is_its_card(
    findings: FindingsTable, cards: CardsTable
) -> None:
    first = seen(owner="orders", unknown=("finding details: no",))

    recorded = record(findings, first)

    assert recorded == {
        "news": "new",
        "card_news": "first_sight",
        "urgency": "now",
        "notify_at": "2026-11-22T09:17:00Z",
        "notification_name": "news-2026-11-22T09-17",
        "should_archive": False,
        "exemption": None,
        "card_id": CARD,
    }
    item = item_of(findings)
    assert Finding.from_json(item["finding"]) == first
    entry = {
        "at": EARLY, "recorded_at": "2026-11-22T09:15:20Z", "recorded_by": "run-1", "news": "new",
        "status": "ACTIVE", "is_deleted": False, "card_news": "first_sight", "urgency": "now",
        "notify_at": "2026-11-22T09:17:00Z",
    }  # fmt: skip
    assert item == {
        "finding_id": "a",
        "finding": first.to_json(),
        "card_id": CARD,
        "status": "ACTIVE",
        "severity": "high",
        "source": "access-analyzer",
        "analyzer_arn": first.analyzer_arn,
        "account_id": "111122223333",
        "resource": first.resource,
        "updated_at": EARLY,
        "recorded_at": "2026-11-22T09:15:20Z",
        "recorded_by": "run-1",
        "version": 1,
        "history": [entry],
    }
    card = card_in(cards)
    assert card["open"].keys() == {"a"}
    assert (card["version"], card["updated_at"]) == (1, "2026-11-22T09:15:20Z")
    assert (card["due"], card["due_at"]) == ("now", "2026-11-22T09:17:00Z")


def test_a_finding_that_ended_before_anybody_heard_of_it_makes_no_card(
    findings: FindingsTable, cards: CardsTable
) -> None:
    recorded = record(findings, seen(status="RESOLVED"))

    assert (recorded["news"], recorded["card_news"], recorded["notify_at"]) == ("none", "none", "")
    assert item_of(findings)["status"] == "RESOLVED"
    assert cards.get(CARD) is None


def test_a_retried_step_hears_the_same_answer_and_writes_nothing(
    findings: FindingsTable, cards: CardsTable
) -> None:
    first = record(findings, seen())
    before = item_of(findings), card_in(cards)

    for minutes in (1, 30):
        assert record(findings, seen(), now=NOW + timedelta(minutes=minutes)) == first
    assert (item_of(findings), card_in(cards)) == before


def test_a_retried_step_hears_the_same_answer_after_others_came_between(
    findings: FindingsTable, cards: CardsTable
) -> None:
    first = record(findings, seen())
    record(findings, seen(updated_at=LATE, status="RESOLVED"), "run-2")

    assert record(findings, seen()) == first
    assert item_of(findings)["status"] == "RESOLVED"
    assert card_in(cards)["open"] == {}


def test_the_same_event_again_is_no_news_of_the_finding_and_the_card_is_still_due(
    findings: FindingsTable, cards: CardsTable
) -> None:
    """The first execution may have died before it started a round."""
    first = record(findings, seen())
    before = item_of(findings), card_in(cards)

    again = record(findings, seen(), "run-2", now=NOW + timedelta(minutes=5))

    assert again == {
        **first, "news": "none", "notify_at": "2026-11-22T09:22:00Z",
        "notification_name": "news-2026-11-22T09-22",
    }  # fmt: skip
    assert (item_of(findings), card_in(cards)) == before
    told(cards)
    assert record(findings, seen(), "run-3")["notify_at"] == ""


def test_an_older_state_changes_nothing(findings: FindingsTable, cards: CardsTable) -> None:
    record(findings, seen())
    record(findings, seen(updated_at=LATE, status="RESOLVED"), "run-2")
    before = item_of(findings), card_in(cards)

    assert record(findings, seen(), "run-3")["news"] == "none"
    assert (item_of(findings), card_in(cards)) == before


def test_a_card_that_lacks_what_is_recorded_is_mended_by_the_next_event(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    cards.dynamodb.delete_item(TableName="Cards", Key=to_item({"card_id": CARD}))

    assert record(findings, seen(), "run-2")["card_news"] == "first_sight"
    assert card_in(cards)["open"].keys() == {"a"}


def test_findings_of_a_version_before_cards_join_one(
    findings: FindingsTable, cards: CardsTable
) -> None:
    old = {
        "finding_id": "a", "finding": seen().to_json(), "status": "ACTIVE", "version": 3,
        "history": [{"recorded_by": "run-0", "news": "new"}], "news": "new",
        "pending": {"recorded_by": "run-0"},
    }  # fmt: skip
    findings.dynamodb.put_item(TableName="Findings", Item=to_item(old))

    record(findings, seen(), "run-1")

    item = item_of(findings)
    assert item["analyzer_arn"] == BASE.analyzer_arn, "or no index finds it"
    assert (item["version"], item["card_id"]) == (4, CARD)
    assert "pending" not in item
    assert card_in(cards)["open"].keys() == {"a"}


def test_each_newer_state_is_added_to_a_bounded_history(findings: FindingsTable) -> None:
    record(findings, seen(), "run-0")
    item = item_of(findings)
    item["history"] = [{**item["history"][0], "recorded_by": f"run-{n}"} for n in range(50)]
    findings.dynamodb.put_item(TableName="Findings", Item=to_item(item))

    record(findings, seen(is_public=True, updated_at=LATE), "run-50")

    history = item_of(findings)["history"]
    assert [entry["recorded_by"] for entry in history] == [f"run-{n}" for n in range(1, 51)]
    assert history[-1]["news"] == "changed"


def test_an_analysis_that_changes_nothing_leaves_the_card_alone(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    before = card_in(cards)

    record(findings, seen(analyzed_at=LATE), "run-2")

    assert item_of(findings)["version"] == 2
    assert card_in(cards) == before


def test_a_lost_answer_is_what_the_retry_finds(
    findings: FindingsTable, cards: CardsTable, aws: FakeAws
) -> None:
    aws.lose_answer("dynamodb:TransactWriteItems")

    assert record(findings, seen())["news"] == "new"
    assert (item_of(findings)["version"], card_in(cards)["version"]) == (1, 1)


# --- Several at once ------------------------------------------------------------------------------


class Racing(CardsTable):
    """Lets others do something between a look at the card and the write."""

    others: list[Any]
    __slots__ = ("others",)

    def __init__(self, dynamodb: Any, *others: Any) -> None:
        super().__init__(dynamodb, "Cards")
        object.__setattr__(self, "others", list(others))

    def get(self, card_id: str) -> CardJson | None:
        found = CardsTable.get(self, card_id)
        if self.others:
            self.others.pop(0)()
        return found


def test_two_findings_of_one_card_at_once_are_both_on_it(
    findings: FindingsTable, cards: CardsTable
) -> None:
    racing = Racing(findings.dynamodb, lambda: record(findings, seen("b"), "other"))

    record(findings, seen(), cards=racing)

    card = card_in(cards)
    assert card["open"].keys() == {"a", "b"}
    assert card["version"] == 2


@pytest.mark.parametrize(
    ("other", "mine", "news", "recorded_by"),
    [
        ({}, {"updated_at": LATE, "status": "RESOLVED"}, "resolved", "mine"),
        ({"updated_at": LATE, "status": "RESOLVED"}, {}, "none", "other"),
        ({}, {}, "none", "other"),
    ],
)
def test_of_two_states_at_once_the_newer_stays(
    findings: FindingsTable,
    cards: CardsTable,
    other: dict[str, Any],
    mine: dict[str, Any],
    news: str,
    recorded_by: str,
) -> None:
    racing = Racing(findings.dynamodb, lambda: record(findings, seen(**other), "other"))

    assert record(findings, seen(**mine), "mine", cards=racing)["news"] == news

    item = item_of(findings)
    assert item["recorded_by"] == recorded_by
    assert bool(cards.get(CARD) and card_in(cards)["open"]) is (item["status"] == "ACTIVE")


def test_an_exemption_that_ends_while_a_finding_is_recorded_is_not_overlooked(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    cards.add_exemption(CARD, exemption(), findings=[seen()], now=NOW)

    def end() -> None:
        cards.end_exemption(CARD, seen().to_json(), now=NOW)

    record(findings, seen("b"), cards=Racing(findings.dynamodb, end))

    assert card_in(cards)["open"].keys() == {"b"}


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


def test_many_executions_at_once_lose_nothing(tables: Any, cards: CardsTable) -> None:
    table = FindingsTable(OneAtATime(tables), "Findings")  # type: ignore[arg-type]
    start = threading.Barrier(8)

    def run(number: int) -> str:
        start.wait()
        found = seen(f"f-{number % 4}", updated_at=f"2026-11-21T09:0{number // 4}:00Z")
        for _ in range(5):  # the state machine tries again
            try:
                return record(table, found, f"run-{number}", sleep=lambda _: None)["news"]
            except ThrottledError:
                continue
        raise AssertionError("never its turn")

    with ThreadPoolExecutor(8) as pool:
        news = list(pool.map(run, range(8)))

    assert card_in(cards)["open"].keys() == {"f-0", "f-1", "f-2", "f-3"}
    assert news.count("new") == 4
    for number in range(4):
        item = item_of(table, f"f-{number}")
        assert item["updated_at"] == "2026-11-21T09:01:00Z"
        assert item["version"] == len(item["history"])


def cancelled(*codes: str) -> dict[str, Any]:
    return {
        "Error": {
            "Code": "TransactionCanceledException",
            "Message": f"Transaction cancelled, for reasons [{', '.join(codes)}]",
        },
        "CancellationReasons": [{"Code": code} for code in codes],
        "_status": 400,
    }


@pytest.mark.parametrize(
    "codes",
    [("None", "ConditionalCheckFailed"), ("TransactionConflict", "None"), (),
     ("ConditionalCheckFailed", "ThrottlingError")],
)  # fmt: skip
def test_a_write_that_meets_another_is_made_again(
    findings: FindingsTable, aws: FakeAws, codes: tuple[str, ...]
) -> None:
    aws.answer("dynamodb:TransactWriteItems", cancelled(*codes), times=3)
    pauses = Pauses()

    assert record(findings, seen(), sleep=pauses)["news"] == "new"
    assert len(pauses) == 3
    assert all(0 <= pause <= 0.2 for pause in pauses)


def test_a_card_that_others_write_all_the_time_is_left_to_a_later_try(
    findings: FindingsTable, cards: CardsTable, aws: FakeAws
) -> None:
    aws.answer("dynamodb:TransactWriteItems", cancelled("TransactionConflict"))
    pauses = Pauses()

    with pytest.raises(ThrottledError, match=f"card {CARD}"):
        record(findings, seen(), sleep=pauses)

    assert len(pauses) == 11
    assert max(pauses) <= 1
    assert findings.get("a") is cards.get(CARD) is None


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        (("None", "ThrottlingError"), ThrottledError),
        (("ProvisionedThroughputExceeded",), ThrottledError),
        (("ValidationError",), AwsCallError),
        (("ThrottlingError", "ValidationError"), AwsCallError),
    ],
)
def test_a_transaction_that_cannot_be_is_an_error(
    findings: FindingsTable, aws: FakeAws, codes: tuple[str, ...], error: type[Exception]
) -> None:
    aws.answer("dynamodb:TransactWriteItems", cancelled(*codes))

    with pytest.raises(error, match="dynamodb:TransactWriteItems on Findings"):
        record(findings, seen())
    assert len(aws.called("dynamodb:TransactWriteItems")) == 1


@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems"])
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, AwsCallError),
        ("ProvisionedThroughputExceededException", 400, ThrottledError),
        ("InternalServerError", 500, AwsServiceError),
    ],
)
def test_tables_that_cannot_be_used_are_an_error_not_an_endless_loop(
    findings: FindingsTable,
    aws: FakeAws,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(f"dynamodb:{operation}", code, status)

    with pytest.raises(error, match=f"dynamodb:{operation} on Findings"):
        record(findings, seen())


# --- Exemptions, and who archived -----------------------------------------------------------------


def exemption(**changes: Any) -> ExemptionJson:
    made: ExemptionJson = {
        "finding_type": "ExternalAccess",
        "principal": dict(BASE.principal),
        "is_public": BASE.is_public,
        "condition": dict(BASE.condition),
        "severity": "high",
        "reason": "the partner's backup",
        "by": "arn:aws:sts::111122223333:assumed-role/Admin/anna",
        "at": LATE,
        "expires": "2026-12-31",
    }
    return cast("ExemptionJson", {**made, **changes})


def test_an_exempt_finding_is_quiet_and_to_be_archived_in_its_region(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    card = cards.add_exemption(CARD, exemption(), findings=[seen()], now=NOW)
    assert card == card_in(cards)
    assert card["open"] == {}

    recorded = record(findings, seen("b", region="us-east-1"), "run-2")

    assert recorded["should_archive"]
    assert recorded["exemption"] == exemption()
    assert (recorded["card_news"], recorded["notify_at"]) == ("none", "")
    assert item_of(findings, "b")["archived"] == {
        "by": exemption()["by"], "how": "exemption", "reason": "the partner's backup", "at": LATE,
        "expires": "2026-12-31",
    }  # fmt: skip
    assert not record(findings, seen("b", status="ARCHIVED", updated_at=LATE), "r")[
        "should_archive"
    ]


@pytest.mark.parametrize(
    "changes",
    [{"is_public": True}, {"severity": "critical"}, {"condition": (("aws:SourceVpce", "v"),)}],
)
def test_what_is_graver_than_what_was_exempted_is_told_and_not_archived(
    findings: FindingsTable, cards: CardsTable, changes: dict[str, Any]
) -> None:
    record(findings, seen())
    cards.add_exemption(CARD, exemption(), findings=[seen()], now=NOW)

    recorded = record(findings, seen("b", **changes), "run-2")

    assert (recorded["should_archive"], recorded["exemption"]) == (False, None)
    assert (recorded["card_news"], recorded["urgency"]) == ("first_sight", "now")
    assert "archived" not in item_of(findings, "b")
    # The same finding, which grew: it is no longer quiet.
    assert record(findings, seen(updated_at=LATE, **changes), "run-3")["card_news"] != "none"
    assert card_in(cards)["open"].keys() == {"a", "b"}


def test_a_finding_opens_when_its_exemption_has_ended(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    told(cards)
    cards.add_exemption(CARD, exemption(expires="2026-11-30"), findings=[seen()], now=NOW)
    after = datetime(2026, 12, 1, 0, 0, 1, tzinfo=UTC)
    assert due(cards, after) == [], "forgotten quietly"

    # Of our own findings nothing changes at any analyzer: reconcile records them again.
    recorded = record(findings, seen(), "run-2", now=after)

    assert (recorded["news"], recorded["card_news"]) == ("none", "reopened")
    assert "archived" not in item_of(findings)


def archived(how: str) -> ArchivedJson:
    return {"by": "arn:anna", "how": how, "reason": None, "at": LATE, "expires": None}


@pytest.mark.parametrize("is_noted_first", [True, False])
@pytest.mark.parametrize(
    ("how", "news"),
    [("pare findings archive", "none"), ("archive rule pare-partners", "none"),
     ("call", "archived")],
)  # fmt: skip
def test_what_was_archived_through_pare_is_no_news(
    findings: FindingsTable, cards: CardsTable, how: str, news: str, is_noted_first: bool
) -> None:
    record(findings, seen())
    told(cards)

    def note() -> None:
        assert findings.set_archived("a", archived(how), cards=cards, now=NOW)

    if is_noted_first:
        note()
    record(findings, seen(status="ARCHIVED", updated_at=LATE), "run-2")
    if not is_noted_first:
        note()
    note()

    assert item_of(findings)["archived"] == archived(how)
    assert card_news(card_in(cards), NOW, TERMS) == news
    (only,) = due(cards, NOW + timedelta(hours=1)) if news != "none" else [None]
    assert (only is None) is (news == "none")


def test_who_archived_is_forgotten_when_a_finding_opens_again(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    findings.set_archived("a", archived("call"), cards=cards, now=NOW)
    record(findings, seen(analyzed_at=LATE), "run-2")
    assert item_of(findings)["archived"], "the event that it is archived has not come yet"

    record(findings, seen(updated_at="2026-11-22T10:00:00Z"), "run-3")

    assert "archived" not in item_of(findings)


def test_nobody_archived_a_finding_that_is_not_known(
    findings: FindingsTable, cards: CardsTable
) -> None:
    assert not findings.set_archived("a", archived("call"), cards=cards, now=NOW)
    assert findings.get("a") is None


def test_an_exemption_makes_a_card_where_there_is_none(cards: CardsTable) -> None:
    assert cards.add_exemption(CARD, exemption(), findings=[], now=NOW) is None
    made = cards.add_exemption(CARD, exemption(), findings=[seen()], now=NOW)

    assert made is not None
    assert (made["exemptions"], made["open"], made["version"]) == ([exemption()], {}, 1)
    assert cards.add_exemption(CARD, exemption(), findings=[seen()], now=NOW) == made


# --- Rounds ---------------------------------------------------------------------------------------


def test_due_cards_are_those_whose_time_has_come_and_that_have_news(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    record(findings, seen("low", severity="low", resource="arn:aws:s3:::quiet"), "run-2")

    assert due(cards, NOW) == []
    (card,) = due(cards, NOW + timedelta(minutes=2))
    assert card == card_in(cards)
    assert len(due(cards, NOW + timedelta(days=1))) == 2


def test_cards_come_by_their_due_time_whole_and_as_they_are_now(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    card = card_in(cards)
    for number in range(119):
        due_at = f"2026-11-22T{7 + number % 2:02}:{number % 60:02}:00Z"
        copy: CardJson = {**card, "card_id": f"c-{number}", "due_at": due_at}
        cards.dynamodb.put_item(TableName="Cards", Item=cast("Any", card_to_item(copy)))

    found = due(cards, NOW + timedelta(minutes=2))

    assert len(found) == 120
    assert [each["due_at"] for each in found] == sorted(each["due_at"] or "" for each in found)
    assert found[-1] == card


def test_a_round_reads_what_must_not_wait_first_or_alone(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen(severity="low"), now=NOW - timedelta(days=2))
    grave = seen("b", severity="critical", resource="arn:aws:s3:::grave")
    record(findings, grave, "run-2")
    later = NOW + timedelta(minutes=2)

    assert [each["resource"] for each in due(cards, later)] == [grave.resource, BASE.resource]
    assert [each["resource"] for each in due(cards, later, partitions=("now",))] == [grave.resource]
    assert [each["resource"] for each in due(cards, later, partitions=("later",))] == [
        BASE.resource
    ]


def test_a_card_that_changes_partition_while_a_round_reads_comes_once(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    told(cards)
    record(findings, seen("b"), "run-2")
    found = cards.due(
        NOW + timedelta(days=1), partitions=("now", "later"), now=NOW + timedelta(days=1),
        terms=TERMS, execution=ROUND, became_of=lambda *_: "running",
    )  # fmt: skip

    assert next(found)["due"] == "now"
    record(findings, seen("b", updated_at=LATE, status="RESOLVED"), "run-3", now=NOW)
    assert card_in(cards)["due"] == "later"
    assert list(found) == []


def test_a_graver_event_on_a_card_that_is_due_already_starts_a_round_of_its_own(
    findings: FindingsTable, cards: CardsTable
) -> None:
    """The round of its due time may be over: the hour's budget was used, or SNS refused."""
    record(findings, seen(severity="medium"))
    later = NOW + timedelta(minutes=50)

    recorded = record(findings, seen("p", severity="critical"), "run-2", now=later)

    assert (recorded["urgency"], recorded["notify_at"]) == ("now", "2026-11-22T10:07:00Z")
    assert recorded["notification_name"] == "news-2026-11-22T10-07"
    assert card_in(cards)["due_at"] == "2026-11-22T09:17:00Z", "it has waited since then"
    again = record(findings, seen("p", severity="critical"), "run-2", now=NOW + timedelta(hours=9))
    assert again == recorded


def test_a_claimed_card_is_of_one_round(findings: FindingsTable, cards: CardsTable) -> None:
    record(findings, seen())
    card = card_in(cards)
    later = NOW + timedelta(minutes=2)

    claim = cards.claim(card, execution=ROUND, message_id="m-1", plan=PLAN, now=later)

    assert claim is not None
    assert claim["telling"] == {
        "round": ROUND, "message_id": "m-1", "at": "2026-11-22T09:17:20Z", "version": 1,
        "plan": PLAN,
    }  # fmt: skip
    assert claim == card_in(cards)
    again = cards.claim(card, execution=ROUND, message_id="m-1", plan=PLAN, now=later)
    assert again == claim, "a retried step"
    assert cards.claim(card, execution=OTHER_ROUND, message_id="m-2", plan=PLAN, now=later) is None
    assert due(cards, later, execution=OTHER_ROUND) == []
    assert due(cards, later) == [claim], "its own, should the step be tried again"


def test_a_card_that_changed_since_it_was_read_is_not_claimed(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    card = card_in(cards)
    record(findings, seen("b"), "run-2")

    assert cards.claim(card, execution=ROUND, message_id="m-1", plan=PLAN, now=NOW) is None
    assert card_in(cards)["telling"] is None


def test_a_claim_whose_answer_was_lost_is_ours(
    findings: FindingsTable, cards: CardsTable, aws: FakeAws
) -> None:
    record(findings, seen())
    aws.lose_answer("dynamodb:PutItem")

    claim = cards.claim(card_in(cards), execution=ROUND, message_id="m-1", plan=PLAN, now=NOW)

    assert claim == card_in(cards)


@pytest.mark.parametrize(("end", "is_unsure"), [("unknown", True), ("untold", False)])
def test_the_claim_of_a_round_that_died_is_taken_off_and_people_are_told_so(
    findings: FindingsTable, cards: CardsTable, end: BecameOf, is_unsure: bool
) -> None:
    record(findings, seen())
    later = NOW + timedelta(minutes=2)
    cards.claim(card_in(cards), execution=OTHER_ROUND, message_id="m-1", plan=PLAN, now=later)

    (card,) = due(cards, later, ended={OTHER_ROUND: end})

    assert card["telling"] is None
    assert perhaps_told(card) is is_unsure
    assert card["messages"][-1]["message_id"] == "m-1"


def test_what_was_told_is_settled_once(findings: FindingsTable, cards: CardsTable) -> None:
    record(findings, seen())
    claim = cards.claim(card_in(cards), execution=ROUND, message_id="m-1", plan=PLAN, now=NOW)
    assert claim is not None
    record(findings, seen("b"), "run-2")

    def settle() -> bool:
        return cards.settle(view_of(claim), message_id="m-1", how="single", now=NOW, terms=TERMS)

    assert settle()
    card = card_in(cards)
    assert card["told"] and card["told"]["findings"].keys() == {"a"}
    assert card["open"].keys() == {"a", "b"}
    assert not settle()
    assert card_in(cards) == card


def test_a_settling_that_meets_an_event_keeps_both(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    claim = cards.claim(card_in(cards), execution=ROUND, message_id="m-1", plan=PLAN, now=NOW)
    assert claim is not None
    racing = Racing(findings.dynamodb, lambda: record(findings, seen("b"), "run-2"))

    assert racing.settle(view_of(claim), message_id="m-1", how="single", now=NOW, terms=TERMS,
                         sleep=Pauses())  # fmt: skip

    card = card_in(cards)
    assert card["open"].keys() == {"a", "b"}
    assert card_news(card, NOW, TERMS) == "worsened"


def test_a_refused_and_a_lost_message_leave_their_news(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())
    claim = cards.claim(card_in(cards), execution=ROUND, message_id="m-1", plan=PLAN, now=NOW)
    assert claim is not None
    assert not cards.release(CARD, message_id="another", now=NOW)
    assert cards.release(CARD, message_id="m-1", now=NOW)
    assert not cards.release(CARD, message_id="m-1", now=NOW)
    assert not perhaps_told(card_in(cards))

    claim = cards.claim(card_in(cards), execution=ROUND, message_id="m-2", plan=PLAN, now=NOW)
    assert claim is not None
    assert cards.unsure(view_of(claim), message_id="m-2", now=NOW)
    assert not cards.unsure(view_of(claim), message_id="m-2", now=NOW)

    (card,) = due(cards, NOW + timedelta(minutes=2))
    assert perhaps_told(card)
    assert card_news(card, NOW, TERMS) == "first_sight"


def proposal(created_at: str = LATE) -> ProposalNoteJson:
    return {
        "verdict": "ready",
        "created_at": created_at,
        "before_action_count": 40,
        "after_action_count": 2,
        "reasons": [],
        "proposal": {"bucket": "evidence", "key": "proposals/p/proposal.json"},
    }


def test_a_proposal_joins_a_card_and_waits_for_the_digest(
    findings: FindingsTable, cards: CardsTable
) -> None:
    assert not cards.set_proposal(CARD, proposal(), now=NOW)
    record(findings, seen())
    told(cards)

    assert cards.set_proposal(CARD, proposal(), now=NOW)
    assert card_in(cards)["due_at"] == LOOK_AGAIN
    assert due(cards, NOW) == [], "it is looked at, and it can wait"
    assert card_in(cards)["due_at"] == "2026-11-23T08:00:00Z"
    (card,) = due(cards, datetime(2026, 11, 23, 8, tzinfo=UTC))
    assert card["proposal"] == proposal()


# --- Reading many ---------------------------------------------------------------------------------


def test_many_are_read_at_once_and_those_that_are_not_there_are_left_out(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen("f-0"))
    for number in range(1, 103):
        item = {**item_of(findings, "f-0"), "finding_id": f"f-{number}"}
        findings.dynamodb.put_item(TableName="Findings", Item=to_item(item))

    found = findings.get_many([*(f"f-{number}" for number in range(103)), "nothing", "f-1"])

    assert found.keys() == {f"f-{number}" for number in range(103)}
    assert cards.get_many([CARD, "nothing"]) == {CARD: card_in(cards)}
    assert findings.get_many([]) == {}


def test_what_aws_leaves_unread_is_read_again(findings: FindingsTable, aws: FakeAws) -> None:
    record(findings, seen())
    left: Any = {"Keys": [to_item({"finding_id": "a"})], "ConsistentRead": True}
    aws.answer(
        "dynamodb:BatchGetItem",
        {"Responses": {}, "UnprocessedKeys": {"Findings": left}},
        times=2,
    )
    pauses = Pauses()

    assert findings.get_many(["a"], sleep=pauses).keys() == {"a"}
    assert pauses == [0.1, 0.2]


def test_a_table_that_gives_nothing_is_an_error(findings: FindingsTable, aws: FakeAws) -> None:
    left: Any = {"Keys": [to_item({"finding_id": "a"})]}
    aws.answer("dynamodb:BatchGetItem", {"Responses": {}, "UnprocessedKeys": {"Findings": left}})

    with pytest.raises(ThrottledError, match="left 1 items unread"):
        findings.get_many(["a"], sleep=Pauses())


def test_the_findings_of_one_analyzer(findings: FindingsTable, cards: CardsTable) -> None:
    record(findings, seen("b"))
    record(findings, seen("a"), "run-2")
    other = BASE.analyzer_arn.replace("us-west-2", "eu-west-1")
    record(findings, seen("c", analyzer_arn=other, resource="arn:aws:s3:::c"), "run-3")

    assert [item["finding_id"] for item in findings.by_analyzer(BASE.analyzer_arn)] == ["a", "b"]
    assert [item["finding_id"] for item in findings.by_analyzer(other)] == ["c"]
    assert {item["finding_id"] for item in findings.all_items()} == {"a", "b", "c"}
    assert {card["card_id"] for card in cards.all_cards()} == {
        CARD, card_id_of(BASE.account_id, "arn:aws:s3:::c"),
    }  # fmt: skip


def test_a_listing_that_is_refused_is_an_error(findings: FindingsTable, aws: FakeAws) -> None:
    aws.fail("dynamodb:Query", "AccessDeniedException")

    with pytest.raises(AwsCallError, match="dynamodb:Query on Findings"):
        list(findings.by_analyzer(BASE.analyzer_arn))


# --- Big cards ------------------------------------------------------------------------------------


def uuids(start: int, count: int) -> list[str]:
    chance = Random(start)
    return [str(UUID(int=chance.getrandbits(128))) for _ in range(count)]


def big_card(cards: CardsTable, findings: FindingsTable, count: int) -> CardJson:
    """Put a card of findings that have nothing in common, and of which nothing packs well."""
    record(findings, seen())
    card = told(cards)
    chance = Random(1)

    def noted(finding_id: str) -> tuple[str, Any]:
        return finding_id, {
            **card["open"]["a"],
            "principal": f"AWS {chance.getrandbits(200):x}",
            "digest": f"{chance.getrandbits(48):012x}",
        }

    open_ = dict(map(noted, uuids(1, count)))
    heard = dict(map(noted, uuids(2, count)))
    ended: Any = {
        finding_id: {
            "how": "RESOLVED", "by_pare": False, "finding_type": "ExternalAccess",
            "severity": "high", "principal": was["principal"], "at": LATE,
        }
        for finding_id, was in heard.items()
    }  # fmt: skip
    assert card["told"] is not None
    card = {
        **card,
        "open": open_,
        "ended": ended,
        "archived": dict(map(noted, uuids(3, MAX_ARCHIVED))),
        "told": {**card["told"], "findings": heard},
    }
    cards.dynamodb.put_item(TableName="Cards", Item=cast("Any", card_to_item(card)))
    return card


def test_a_card_of_the_most_findings_fits_an_item_and_comes_back_whole(
    findings: FindingsTable, cards: CardsTable
) -> None:
    card = big_card(cards, findings, MAX_OPEN)

    assert card_in(cards) == card
    assert list(cards.all_cards()) == [card]
    item = card_to_item(card)
    assert len(item["packed"]["B"]) < 350_000
    assert card_of(from_item(item)) == card


def test_a_card_with_few_findings_can_be_read_in_the_console(
    findings: FindingsTable, cards: CardsTable
) -> None:
    record(findings, seen())

    item = cards.dynamodb.get_item(TableName="Cards", Key=to_item({"card_id": CARD}))["Item"]

    assert "packed" not in item
    assert item["open"]["M"].keys() == {"a"}


def counted(table: FindingsTable, finding_id: str) -> str | None:
    value: str | None = item_of(table, finding_id).get("counted_as")
    return value


def test_what_a_full_card_has_no_room_for_is_recorded_and_counted(
    findings: FindingsTable, cards: CardsTable
) -> None:
    big_card(cards, findings, MAX_OPEN)

    first = record(findings, seen("more"), "run-2")
    assert record(findings, seen("more"), "run-2") == first, "a retried step"
    record(findings, seen("more"), "run-3")
    record(findings, seen("more 2"), "run-4")
    assert card_in(cards)["more_open"] == {"high": 2}
    assert (counted(findings, "more"), len(card_in(cards)["open"])) == ("high", MAX_OPEN)

    # One of them ends, one changes, and one that has a name ends: then there is room.
    record(findings, seen("more 2", updated_at=LATE, status="RESOLVED"), "run-5")
    record(findings, seen("more", updated_at=LATE, severity="low"), "run-6")
    assert card_in(cards)["more_open"] == {"low": 1}
    named = uuids(1, 1)[0]
    record(findings, seen(named, updated_at=LATE, status="RESOLVED"), "run-7")
    record(findings, seen("more", updated_at=LATE), "run-8")
    assert card_in(cards)["more_open"] == {}
    assert "more" in card_in(cards)["open"]
    assert counted(findings, "more") is counted(findings, "more 2") is None


def test_a_count_is_exact_when_its_answer_was_lost_or_others_were_faster(
    findings: FindingsTable, cards: CardsTable, aws: FakeAws
) -> None:
    big_card(cards, findings, MAX_OPEN)

    aws.lose_answer("dynamodb:TransactWriteItems")
    record(findings, seen("more"), "run-2")
    racing = Racing(findings.dynamodb, lambda: record(findings, seen("more 2"), "other"))
    record(findings, seen("more 2"), "run-3", cards=racing)
    racing = Racing(findings.dynamodb, lambda: record(findings, seen("more 3"), "other"))
    record(findings, seen("more 4"), "run-4", cards=racing)

    assert card_in(cards)["more_open"] == {"high": 4}


def test_a_finding_that_is_archived_at_once_is_remembered(
    findings: FindingsTable, cards: CardsTable
) -> None:
    """Or a card that opens later would be told as closed while this is still so."""
    record(findings, seen(status="ARCHIVED"))
    record(findings, seen("b"), "run-2")
    told(cards)

    recorded = record(findings, seen("b", updated_at=LATE, status="RESOLVED"), "run-3")

    assert recorded["card_news"] == "archived"
    assert card_in(cards)["archived"].keys() == {"a"}
