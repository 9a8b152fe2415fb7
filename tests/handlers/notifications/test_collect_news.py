"""Collect news: what a round tells is claimed and frozen once, however often the step runs."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.notifications import collect_news
from pare.aws.findings_table import CardsTable
from pare.clock import format_time
from pare.errors import AwsServiceError
from tests.handlers.fake_aws import BUCKET
from tests.handlers.notifications.in_rounds import (
    LATER,
    NEXT_ROUND,
    NOW,
    ROUND,
    TERMS,
    card,
    card_id,
    close,
    collect,
    finding,
    frozen,
    numbers,
    record,
    settle,
    settle_all,
)

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.rounds import MessageJson
    from tests.handlers.fake_aws import FakeAws

SOON = NOW + timedelta(minutes=2)  # what is urgent is due


def ends(aws: FakeAws, *, is_over: bool) -> None:
    """Let every round have ended, or still run."""
    aws.mend("sfn:DescribeExecution")
    aws.answer(
        "sfn:DescribeExecution",
        lambda asked: {
            "executionArn": asked["executionArn"],
            "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:Notification",
            "startDate": NOW,
            "status": "FAILED" if is_over else "RUNNING",
        },
    )


def plan_of() -> str:
    """Return the key of the only plan there is."""
    (key,) = [each for each in objects() if "/plan-" in each]
    return key


def objects() -> list[str]:
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET)
    return sorted(each["Key"] for each in listed.get("Contents", []))


# --- What is told ---------------------------------------------------------------------------------


def test_an_urgent_card_is_frozen_as_a_message_of_its_own(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), finding(2, "low"))

    output = collect(context, kind="news", as_of=SOON)

    (message,) = frozen(evidence, output)
    wanted: MessageJson = {
        "message_id": output["messages"][0]["message_id"],
        "kind": "single",
        "owner": None,
        "views": [
            {
                "card": card(tables, 1),
                "news": "first_sight",
                "severity": "high",
                "findings": [finding(1).to_json()],
                "ended": [],
                "archived": {},
            }
        ],
        "perhaps_told": [],
        "as_of": format_time(SOON),
        "list": None,
        "settle": True,
        "budgets": ["2096-11-22T09"],
        "contact": "security@example.com",
    }
    assert message == wanted
    assert output["messages"][0]["ref"]["key"] == (
        f"notifications/2096-11-22/{message['message_id']}.json"
    )
    assert output["counts"] == {
        "cards": 1, "cards_told_singly": 1, "cards_in_summary": 0, "cards_in_digest": 0,
        "cards_perhaps_told_before": 0, "messages": 1,
    }  # fmt: skip
    assert (output["unknown"], output["has_more"]) == ([], False)
    telling = card(tables, 1)["telling"]
    assert telling is not None
    assert (telling["round"], telling["message_id"]) == (ROUND, message["message_id"])
    assert card(tables, 2)["telling"] is None


def test_nothing_due_is_no_message(tables: Any, evidence: EvidenceStore, context: Any) -> None:
    record(tables, finding(1))
    assert collect(context, kind="news", as_of=NOW)["messages"] == []
    assert card(tables, 1)["telling"] is None


def test_an_hourly_round_is_what_the_schedule_starts(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), now=NOW - timedelta(days=36_500))
    output = collect_news.lambda_handler(
        {
            "input": {"scheduled_at": "2026-11-22T09:00:00Z"},
            "execution": ROUND,
            "started_at": "2026-11-22T09:00:07.1Z",
            "terms": TERMS,
        },
        context,
    )
    assert [each["kind"] for each in frozen(evidence, output)] == ["single"]
    assert output["messages"][0]["ref"]["key"].startswith("notifications/2026-11-22/")


def test_what_is_due_later_is_told_now_when_somebody_asks_for_it(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1, "low"))
    start: Any = {
        "input": {"as_of": format_time(SOON), "kind": "hourly"},
        "execution": ROUND,
        "started_at": format_time(SOON),
        "terms": TERMS,
    }
    assert collect_news.lambda_handler(start, context)["messages"] == []

    start["input"]["due_by"] = format_time(LATER)
    output = collect_news.lambda_handler({**start, "execution": NEXT_ROUND}, context)

    (message,) = frozen(evidence, output)
    assert (message["kind"], message["as_of"]) == ("digest", format_time(SOON))


def test_a_round_of_news_takes_the_gravest_within_the_hours_budget_and_leaves_the_rest_due(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, *(finding(number, "medium") for number in range(4)), finding(9))

    output = collect(context, kind="news", as_of=SOON, max_messages_per_hour=3)

    assert [numbers(each) for each in frozen(evidence, output)] == [[9], [0], [1]]
    for number in (2, 3):
        assert card(tables, number)["telling"] is None
        assert card(tables, number)["due"] == "now"
    # The hour is used up for the next round of news; the hourly round sums up what is left.
    settle_all(context, output)
    again = collect(context, kind="news", as_of=SOON, execution=NEXT_ROUND, max_messages_per_hour=3)
    assert again["messages"] == []
    hourly = collect(context, as_of=SOON, execution=NEXT_ROUND + "2", max_messages_per_hour=3)
    assert [(each["kind"], numbers(each)) for each in frozen(evidence, hourly)] == [
        ("summary", [2, 3])
    ]


def kinds(evidence: EvidenceStore, output: Any) -> list[tuple[str, list[int]]]:
    return [(each["kind"], numbers(each)) for each in frozen(evidence, output)]


def test_what_is_critical_waits_for_no_budget_and_leaves_less_to_the_others(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), finding(2, "critical"), finding(3, "critical"))
    output = collect(context, kind="news", as_of=SOON, max_messages_per_hour=1)
    assert kinds(evidence, output) == [("single", [2]), ("single", [3])]
    settle_all(context, output)
    record(tables, finding(4, "critical"))
    hourly = collect(context, as_of=SOON, execution=NEXT_ROUND, max_messages_per_hour=1)
    assert kinds(evidence, hourly) == [("single", [4]), ("summary", [1])]


def test_what_ended_takes_half_of_the_hours_budget_and_the_rest_of_it_comes_in_the_summary(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    """A morning's clean-up does not keep people from hearing of what begins after it."""
    close(tables, context, *range(6))

    output = collect(context, max_messages_per_hour=4)

    assert kinds(evidence, output) == [
        ("single", [0]), ("single", [1]), ("summary", [2, 3, 4, 5]),
    ]  # fmt: skip
    assert output["counts"] == {
        "cards": 6, "cards_told_singly": 2, "cards_in_summary": 4, "cards_in_digest": 0,
        "cards_perhaps_told_before": 0, "messages": 3,
    }  # fmt: skip
    record(tables, finding(7), finding(8), finding(9), now=LATER - timedelta(hours=1))
    news = collect(context, kind="news", execution=NEXT_ROUND, max_messages_per_hour=4)
    assert kinds(evidence, news) == [("single", [7]), ("single", [8])]


def test_what_nobody_knows_is_frozen_with_what_closed_also_if_nobody_had_heard_of_it(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    close(tables, context, 1)
    other = {"resource": finding(1).resource, "region": "us-east-1"}
    record(tables, finding(2, "low", **other, is_deleted=True))

    output = collect(context)

    (message,) = frozen(evidence, output)
    (view,) = message["views"]
    assert view["news"] == "unwatched"
    assert [each["finding_id"] for each in view["findings"]] == ["f-0001", "f-0002"]
    settle_all(context, output)
    record(tables, finding(2, "low", **other, status="RESOLVED", updated_at=format_time(LATER)))
    (message,) = frozen(evidence, collect(context, as_of=LATER, execution=NEXT_ROUND))
    assert [view["news"] for view in message["views"]] == ["closed"]


def test_a_card_that_sns_refuses_again_and_again_takes_no_place_of_others(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), finding(2, "low"))
    for each in range(30):
        output = collect(
            context, kind="news", as_of=SOON, execution=f"{ROUND}-{each}", max_messages_per_hour=2
        )
        assert kinds(evidence, output) == ([("single", [1])] if each < 3 else []), each
        settle_all(context, output, "refused")
    record(tables, finding(3), finding(4))

    hourly = collect(context, max_messages_per_hour=2)

    assert kinds(evidence, hourly) == [
        ("single", [3]), ("single", [4]), ("digest", [2]), ("summary", [1]),
    ]  # fmt: skip
    (said,) = hourly["unknown"]
    assert said.startswith("messages came to nothing again and again")
    assert card_id(1) in said
    settle_all(context, hourly)
    assert card(tables, 1)["told"] is not None


def test_a_message_that_ends_every_round_keeps_nobody_else_from_being_told(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    """Compose message's answer may be too much for the state, which nothing catches."""
    ends(aws, is_over=True)
    record(tables, finding(1, "critical"), finding(2), finding(3, "low"), finding(4, "critical"))
    told: set[int] = set()
    for each in range(3):
        output = collect(context, execution=f"{ROUND}-{each}", max_messages_per_hour=9)
        for item, message in zip(output["messages"], frozen(evidence, output), strict=True):
            if (message["kind"], numbers(message)) == ("single", [1]):
                break
            settle(context, item)
            told |= set(numbers(message))
        assert told == ([set(), set(), {1, 2, 3, 4}][each])
    assert len(output["messages"]) == 1


def test_a_step_that_is_killed_again_and_again_is_no_trouble_of_its_cards(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1))
    aws.fail("s3:PutObject", "InternalError", 500, when=lambda asked: "/plan-" in asked["Key"])
    for _ in range(4):
        with pytest.raises(AwsServiceError):
            collect(context)
    aws.mend("s3:PutObject")
    assert kinds(evidence, collect(context)) == [("single", [1])]


def test_no_more_messages_than_an_execution_can_hold(
    tables: Any, evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_news, "MAX_SINGLES", 3)
    monkeypatch.setattr(collect_news, "MAX_CARDS", 4)
    record(tables, *(finding(number, "critical") for number in range(6)))
    news = collect(context, kind="news", as_of=SOON, execution=NEXT_ROUND)
    assert kinds(evidence, news) == [("single", [0]), ("single", [1]), ("single", [2])]
    settle_all(context, news, "refused")
    first = collect(context, as_of=SOON)
    assert [each["kind"] for each in frozen(evidence, first)] == ["single"] * 3 + ["summary"]
    settle_all(context, first)
    second = collect(context, as_of=SOON, after={"collected": first, "told": []})
    assert [each["kind"] for each in frozen(evidence, second)] == ["summary"]


def test_a_round_of_news_finds_the_gravest_behind_many_and_looks_at_nothing_that_can_wait(
    tables: Any,
    evidence: EvidenceStore,
    context: Any,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collect_news, "MAX_CARDS", 2)
    record(tables, *(finding(number, "low") for number in range(100, 110)))
    record(tables, *(finding(number, "medium") for number in range(5)))
    record(tables, finding(9, "critical"), now=NOW + timedelta(days=1))
    aws.attempts.clear()

    output = collect(context, kind="news")

    assert kinds(evidence, output) == [("single", [9]), ("single", [0])]
    assert aws.attempts.count("dynamodb:Query") == 1


def test_an_hourly_round_looks_at_what_cannot_wait_before_all_else(
    tables: Any, evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_news, "MAX_CARDS", 1)
    record(tables, finding(1, "low"), now=NOW - timedelta(days=3))
    record(tables, finding(2))
    output = collect(context)
    assert (kinds(evidence, output), output["has_more"]) == ([("single", [2])], True)


def test_a_step_takes_no_more_findings_than_it_can_hold(
    tables: Any, evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_news, "MAX_FINDINGS", 2)
    many = [finding(1, "low", finding_id=f"g-{each}") for each in range(5)]
    record(tables, *many, *(finding(number, "low") for number in (2, 3, 4)))
    state: dict[str, Any] = {}
    steps = []
    for _ in range(3):
        output = collect(context, after=state)
        steps += kinds(evidence, output)
        state = {"collected": output, "told": []}
        if not output["has_more"]:
            break
    assert sorted(number for _, found in steps for number in found) == [1, 2, 3, 4]
    assert all(len(found) <= 2 for _, found in steps)


def test_an_owners_digest_repeats_and_claims_nothing(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1, "low", owner="team-a"), finding(2, "low"))

    output = collect(context, routed_owners=["team-a"])

    digest, of_owner = frozen(evidence, output)
    assert (digest["settle"], digest["owner"], numbers(digest)) == (True, None, [1, 2])
    assert (of_owner["settle"], of_owner["owner"], numbers(of_owner)) == (False, "team-a", [1])
    assert of_owner["views"] == digest["views"][:1]
    telling = card(tables, 1)["telling"]
    assert telling is not None
    assert telling["message_id"] == digest["message_id"]
    assert output["counts"]["cards"] == 2


@pytest.mark.parametrize(("cards", "has_list"), [(3, False), (4, True)])
def test_a_message_with_too_many_cards_to_show_comes_with_a_list_of_them(
    tables: Any,
    evidence: EvidenceStore,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
    cards: int,
    has_list: bool,
) -> None:
    monkeypatch.setattr(collect_news, "SHOWN_CARDS", 3)
    record(tables, *(finding(number, "low") for number in range(cards)))

    (message,) = frozen(evidence, collect(context))

    assert (message["list"] is not None) is has_list
    if message["list"]:
        lines = evidence.get_bytes(message["list"]).decode().splitlines()
        assert [json.loads(line)["open"] for line in lines] == [
            [f"f-{number:04}"] for number in range(cards)
        ]
        assert message["list"]["key"].endswith(f"{message['message_id']}.ndjson")


def test_a_card_whose_news_went_away_is_settled_in_silence(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1))
    settle_all(context, collect(context, kind="news", as_of=SOON))
    archived = finding(1, status="ARCHIVED", updated_at=format_time(SOON))
    record(tables, archived, now=SOON)
    active = finding(1, updated_at=format_time(SOON + timedelta(minutes=1)))
    record(tables, active, now=SOON + timedelta(minutes=1))

    output = collect(context, execution=NEXT_ROUND)

    assert output["messages"] == []
    assert card(tables, 1)["told"] is not None
    assert len(card(tables, 1)["messages"]) == 1


def test_a_finding_that_a_card_names_and_the_table_does_not_have_is_said(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1))
    tables.delete_item(TableName="Findings", Key={"finding_id": {"S": "f-0001"}})
    output = collect(context)
    assert output["unknown"] == ["findings not in the table: f-0001"]
    (message,) = frozen(evidence, output)
    assert message["views"][0]["card"]["open"].keys() == {"f-0001"}


# --- Steps of a round -----------------------------------------------------------------------------


def test_what_one_step_cannot_hold_comes_in_the_next(
    tables: Any, evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_news, "MAX_CARDS", 2)
    record(tables, *(finding(number, "low") for number in range(5)))
    state: dict[str, Any] = {}
    told = []
    for step in (1, 2, 3):
        output = collect(context, after=state)
        assert (output["step"], output["has_more"]) == (step, step < 3)
        outcomes = []
        for item in output["messages"]:
            # Refused: its cards stay due, for the next round and not for the next step.
            outcomes.append(settle(context, item, "refused" if step == 1 else "told"))
        told += [number for each in frozen(evidence, output) for number in numbers(each)]
        state = {"collected": output, "told": outcomes}
    assert sorted(told) == [0, 1, 2, 3, 4]
    # Of the last step's messages the state itself knows.
    assert output["counts"] == {
        "cards": 5, "cards_told_singly": 0, "cards_in_summary": 0, "cards_in_digest": 5,
        "cards_perhaps_told_before": 0, "messages": 3,
        "messages_refused": 1, "messages_told": 1,
    }  # fmt: skip
    assert len(output["unknown"]) == 1
    assert output["unknown"][0].startswith("SNS refused message ")
    again = collect(context, execution=NEXT_ROUND)
    assert len(frozen(evidence, again)[0]["views"]) == 2


def test_a_round_ends_though_more_cards_become_due_all_the_time(
    tables: Any, evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_news, "MAX_CARDS", 1)
    monkeypatch.setattr(collect_news, "MAX_STEPS", 2)
    record(tables, *(finding(number, "low") for number in range(5)))
    first = collect(context)
    second = collect(context, after={"collected": first, "told": []})
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_a_repeated_step_says_what_the_first_one_planned(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), finding(2, "low"))
    first = collect(context)
    written = objects()
    record(tables, finding(3, "critical"))  # meanwhile

    assert collect(context) == first
    assert objects() == written
    assert card(tables, 3)["telling"] is None


def test_a_step_that_was_killed_before_its_plan_plans_anew_and_nobody_was_told(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2, "low"))
    aws.fail("s3:PutObject", "InternalError", 500, when=lambda asked: "/plan-" in asked["Key"])
    with pytest.raises(AwsServiceError):
        collect(context)
    assert card(tables, 1)["telling"] is not None
    aws.mend("s3:PutObject")
    record(tables, finding(3, "critical"))  # so the plan is another one

    output = collect(context)

    messages = frozen(evidence, output)
    assert [numbers(each) for each in messages] == [[3], [1], [2]]
    assert [each["perhaps_told"] for each in messages] == [[], [], []]
    for each in messages:
        telling = card(tables, numbers(each)[0])["telling"]
        assert telling is not None
        assert telling["message_id"] == each["message_id"]


def test_a_killed_step_gives_back_what_is_not_due_any_more(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1))
    aws.fail("s3:PutObject", "InternalError", 500, when=lambda asked: "/plan-" in asked["Key"])
    with pytest.raises(AwsServiceError):
        collect(context, kind="news", as_of=SOON)
    aws.mend("s3:PutObject")
    # Another Region's finding about the bucket: its card is due a minute later.
    record(tables, finding(1, finding_id="f-0001-us"), now=SOON)

    again = collect(context, kind="news", as_of=SOON)

    assert again["messages"] == []
    assert card(tables, 1)["telling"] is None
    later = collect(context, kind="news", as_of=SOON + timedelta(minutes=2), execution=NEXT_ROUND)
    (message,) = frozen(evidence, later)
    assert message["perhaps_told"] == []
    assert len(message["views"][0]["findings"]) == 2


def test_a_step_that_was_killed_takes_the_hours_budget_once(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2))
    aws.fail("s3:PutObject", "InternalError", 500)
    with pytest.raises(AwsServiceError):
        collect(context, max_messages_per_hour=2)
    aws.mend("s3:PutObject")
    output = collect(context, max_messages_per_hour=2)
    assert [each["kind"] for each in frozen(evidence, output)] == ["single", "single"]


# --- Other rounds ---------------------------------------------------------------------------------


def test_what_a_running_round_tells_is_left_to_it(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1))
    collect(context)
    ends(aws, is_over=False)
    assert collect(context, execution=NEXT_ROUND)["messages"] == []
    telling = card(tables, 1)["telling"]
    assert telling is not None
    assert telling["round"] == ROUND


def test_what_a_round_left_that_ended_is_told_and_says_perhaps_told_before(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2, "low"))
    collect(context)  # and then it dies, before or after SNS took the messages
    ends(aws, is_over=True)

    output = collect(context, execution=NEXT_ROUND)

    single, digest = frozen(evidence, output)
    assert (single["perhaps_told"], digest["perhaps_told"]) == ([card_id(1)], [card_id(2)])
    assert output["counts"]["cards_perhaps_told_before"] == 2
    # All cards of that round: its end is asked for once.
    assert [each["executionArn"] for each in aws.called("sfn:DescribeExecution")] == [ROUND]


def test_a_round_that_ended_before_its_plan_told_nobody(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2, "low"))
    aws.fail("s3:PutObject", "InternalError", 500, when=lambda asked: "/plan-" in asked["Key"])
    with pytest.raises(AwsServiceError):
        collect(context)
    aws.mend("s3:PutObject")
    ends(aws, is_over=True)

    output = collect(context, execution=NEXT_ROUND)

    messages = frozen(evidence, output)
    assert [each["perhaps_told"] for each in messages] == [[], []]
    assert [each["views"][0]["news"] for each in messages] == ["first_sight", "first_sight"]
    assert output["counts"]["cards_perhaps_told_before"] == 0


def test_a_card_that_was_claimed_and_is_in_no_message_was_not_told(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2))
    lost = [card_id(2)]

    def is_lost(asked: dict[str, Any]) -> bool:
        return asked.get("Item", {}).get("card_id", {}).get("S") in lost

    aws.fail("dynamodb:PutItem", "InternalServerError", 500, when=is_lost)
    first = collect(context)
    assert kinds(evidence, first) == [("single", [1])]
    assert first["unknown"] == [
        f"could not be claimed, so they wait for the next round: cards {card_id(2)}"
    ]
    aws.mend("dynamodb:PutItem")
    # As if the claim had been written, and only its answer had been lost.
    CardsTable(tables, "Cards").claim(
        card(tables, 2), execution=ROUND, message_id="lost", plan=plan_of(), now=LATER
    )
    ends(aws, is_over=True)

    messages = frozen(evidence, collect(context, execution=NEXT_ROUND))

    told = {numbers(each)[0]: each["perhaps_told"] for each in messages}
    assert told == {1: [card_id(1)], 2: []}


def test_where_no_card_can_be_claimed_the_step_is_tried_again(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, finding(1), finding(2))
    aws.fail("dynamodb:PutItem", "InternalServerError", 500)
    with pytest.raises(AwsServiceError):
        collect(context)
    assert not [each for each in objects() if "/plan-" in each]


def test_after_a_lost_answer_the_next_message_says_perhaps_told_before(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1))
    settle_all(context, collect(context), "unknown")
    (message,) = frozen(evidence, collect(context, execution=NEXT_ROUND))
    assert (message["views"][0]["news"], message["perhaps_told"]) == ("first_sight", [card_id(1)])


def test_a_card_that_somebody_changes_while_it_is_claimed_stays_due(
    tables: Any,
    evidence: EvidenceStore,
    context: Any,
    aws: FakeAws,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends(aws, is_over=False)
    record(tables, finding(1), finding(2))
    claim = CardsTable.claim

    def race(self: CardsTable, seen: Any, **more: Any) -> Any:
        if seen["card_id"] == card_id(1):
            late = finding(1, "critical", updated_at=format_time(NOW), analyzed_at=format_time(NOW))
            record(tables, late)
        return claim(self, seen, **more)

    monkeypatch.setattr(CardsTable, "claim", race)
    output = collect(context)
    monkeypatch.setattr(CardsTable, "claim", claim)

    assert [numbers(each) for each in frozen(evidence, output)] == [[2]]
    assert card(tables, 1)["telling"] is None
    assert [numbers(each) for each in frozen(evidence, collect(context, execution=NEXT_ROUND))] == [
        [1]
    ]
