from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.runtime import client
from pare.aws.tables import RunsTable, from_item
from pare.aws.topics import CLAIM_DAYS, Topics
from pare.errors import AwsCallError, AwsServiceError, MessageUnknownError, ThrottledError
from pare.message import Message
from tests.handlers.fake_aws import Topic

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
KEY = "finding#f-1#2026-11-21T09:00:00Z#new"
MESSAGE = Message(
    subject="[Pare] New: unused permissions, App",
    text="New: unused permissions, App\n",
    attributes={"kind": "finding", "owner": "経理部", "status": ""},
    facts={"kind": "finding", "finding": {"unknown": [], "name": "経理部"}},
)


@pytest.fixture
def topics(people: Topic, machines: Topic) -> Topics:
    # The client that functions get: the SDK must not send a message again by itself.
    return Topics(client("sns"), people.arn, machines.arn)


@pytest.fixture
def runs(tables: Any) -> RunsTable:
    return RunsTable(tables, "Runs")


def tell(topics: Topics, runs: RunsTable, key: str = KEY) -> bool:
    return topics.tell_once(MESSAGE, key=key, runs=runs, now=NOW)


def claims(tables: Any) -> list[str]:
    return [from_item(item)["run_id"] for item in tables.scan(TableName="Runs")["Items"]]


def test_people_get_the_text_and_machines_the_facts(
    topics: Topics, runs: RunsTable, people: Topic, machines: Topic
) -> None:
    assert tell(topics, runs)

    (read,) = people.messages()
    (facts,) = machines.messages()
    assert read["Subject"] == MESSAGE.subject
    assert read["Message"] == MESSAGE.text
    assert facts["Message"] == '{"finding": {"name": "経理部", "unknown": []}, "kind": "finding"}'
    assert "Subject" not in facts
    # SNS refuses an empty value.
    attributes = {
        "kind": {"Type": "String", "Value": "finding"},
        "owner": {"Type": "String", "Value": "経理部"},
    }
    assert read["MessageAttributes"] == facts["MessageAttributes"] == attributes


def test_an_owner_may_ask_for_what_is_theirs(
    topics: Topics, runs: RunsTable, people: Topic
) -> None:
    message = replace(MESSAGE, attributes={"owner": ["経理部", "orders@example.com"], "none": []})

    assert topics.tell_once(message, key=KEY, runs=runs, now=NOW)

    (read,) = people.messages()
    assert read["MessageAttributes"] == {
        "owner": {"Type": "String.Array", "Value": '["経理部", "orders@example.com"]'}
    }


def test_people_are_told_once_and_machines_each_time(
    topics: Topics, runs: RunsTable, people: Topic, machines: Topic
) -> None:
    told = [tell(topics, runs) for _ in range(3)]

    assert told == [True, False, False]
    assert len(people.messages()) == 1
    assert len(machines.messages()) == 3


def test_another_message_is_another_claim(topics: Topics, runs: RunsTable, people: Topic) -> None:
    assert tell(topics, runs)
    assert tell(topics, runs, "finding#f-1#2026-11-21T09:00:00Z#resolved")
    assert len(people.messages()) == 2


def test_a_claim_is_forgotten_after_more_than_a_year(
    topics: Topics, runs: RunsTable, tables: Any
) -> None:
    tell(topics, runs)

    (item,) = tables.scan(TableName="Runs")["Items"]
    assert from_item(item)["expires_at"] == int(NOW.timestamp()) + CLAIM_DAYS * 86_400


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AuthorizationError", 403, AwsCallError),
        ("KMSAccessDenied", 400, AwsCallError),
        ("Throttled", 429, ThrottledError),
        ("KMSThrottling", 400, ThrottledError),
    ],
)
def test_a_message_aws_refused_is_told_when_it_takes_it(
    topics: Topics,
    runs: RunsTable,
    people: Topic,
    tables: Any,
    aws: FakeAws,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.fail("sns:Publish", code, status, times=1)  # people
    with pytest.raises(error):
        tell(topics, runs)
    assert claims(tables) == [], "released"

    assert tell(topics, runs), "the retried step tells"
    assert len(people.messages()) == 1


def test_a_message_that_was_never_sent_is_told_when_the_connection_is_back(
    topics: Topics, runs: RunsTable, people: Topic, tables: Any, aws: FakeAws
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.refuse_connection("sns:Publish")  # people
    with pytest.raises(AwsServiceError):
        tell(topics, runs)
    assert claims(tables) == []

    aws.mend("sns:Publish")
    assert tell(topics, runs)
    assert len(people.messages()) == 1


def test_people_are_not_told_twice_where_the_answer_was_lost(
    topics: Topics, runs: RunsTable, people: Topic, machines: Topic, tables: Any, aws: FakeAws
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.lose_answer("sns:Publish")  # people
    with pytest.raises(MessageUnknownError, match="sns:Publish to the people topic"):
        tell(topics, runs)
    assert claims(tables) == [KEY], "kept: nobody knows whether the message went out"

    assert not tell(topics, runs), "the retried step does not tell again"
    assert len(people.messages()) == 1, "nor did the SDK by itself"
    assert len(machines.messages()) == 1


@pytest.mark.parametrize(("code", "status"), [("InternalError", 500), ("Unavailable", 503)])
def test_people_are_not_told_twice_where_aws_failed_half_way(
    topics: Topics, runs: RunsTable, tables: Any, aws: FakeAws, code: str, status: int
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.fail("sns:Publish", code, status)  # people

    with pytest.raises(MessageUnknownError):
        tell(topics, runs)

    assert claims(tables) == [KEY]


def test_nobody_claims_a_message_before_machines_have_it(
    topics: Topics, runs: RunsTable, people: Topic, tables: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "InternalError", 500, times=1)
    with pytest.raises(AwsServiceError):
        tell(topics, runs)

    assert claims(tables) == []
    assert people.messages() == []


def test_without_a_claim_people_are_not_told(
    topics: Topics, runs: RunsTable, people: Topic, aws: FakeAws
) -> None:
    aws.fail("dynamodb:UpdateItem", "AccessDeniedException")

    with pytest.raises(AwsCallError):
        tell(topics, runs)

    assert people.messages() == []


# --- Chat ---

CARD = {"version": "1.0", "source": "custom", "content": {"description": "経理部"}}
WITH_CARD = replace(MESSAGE, card=CARD)


@pytest.fixture
def chat(aws: FakeAws) -> Topic:
    return Topic.create()


@pytest.fixture
def with_chat(people: Topic, machines: Topic, chat: Topic) -> Topics:
    return Topics(client("sns"), people.arn, machines.arn, chat.arn)


def tell_chat(
    topics: Topics, runs: RunsTable, message: Message = WITH_CARD, pauses: list[float] | None = None
) -> bool:
    pauses = [] if pauses is None else pauses
    return topics.tell_chat_once(message, key=KEY, runs=runs, now=NOW, sleep=pauses.append)


def test_chat_gets_the_card_alone_and_once(
    with_chat: Topics, runs: RunsTable, chat: Topic, people: Topic, machines: Topic, tables: Any
) -> None:
    assert [tell_chat(with_chat, runs) for _ in range(2)] == [True, False]

    (shown,) = chat.messages()
    assert json.loads(shown["Message"]) == CARD
    assert "Subject" not in shown
    assert people.messages() == machines.messages() == []
    assert claims(tables) == [f"chat#{KEY}"]


def test_chat_and_mail_do_not_wait_for_each_other(
    with_chat: Topics, runs: RunsTable, chat: Topic, people: Topic
) -> None:
    assert tell_chat(with_chat, runs)
    assert tell(with_chat, runs)
    assert (len(chat.messages()), len(people.messages())) == (1, 1)


def test_no_topic_or_no_card_is_nothing_to_tell(
    topics: Topics, with_chat: Topics, runs: RunsTable, tables: Any
) -> None:
    assert not tell_chat(topics, runs)
    assert not tell_chat(with_chat, runs, MESSAGE)
    assert claims(tables) == []


def test_chat_that_is_throttled_is_tried_again_after_growing_pauses(
    with_chat: Topics, runs: RunsTable, aws: FakeAws, tables: Any
) -> None:
    aws.fail("sns:Publish", "Throttled", 429)
    pauses: list[float] = []

    with pytest.raises(ThrottledError):
        tell_chat(with_chat, runs, pauses=pauses)

    assert pauses == [1.0, 4.0]
    assert claims(tables) == [], "a later step may tell it"


@pytest.mark.parametrize("failure", ["lost", "InternalError"])
def test_chat_is_not_told_twice_where_nobody_knows(
    with_chat: Topics, runs: RunsTable, aws: FakeAws, tables: Any, failure: str
) -> None:
    if failure == "lost":
        aws.lose_answer("sns:Publish")
    else:
        aws.fail("sns:Publish", failure, 500, times=1)
    pauses: list[float] = []

    with pytest.raises(MessageUnknownError):
        tell_chat(with_chat, runs, pauses=pauses)

    assert pauses == []
    assert not tell_chat(with_chat, runs)


def test_chat_that_was_never_reached_is_tried_again(
    with_chat: Topics, runs: RunsTable, aws: FakeAws, tables: Any
) -> None:
    aws.refuse_connection("sns:Publish")

    with pytest.raises(AwsServiceError):
        tell_chat(with_chat, runs)

    assert claims(tables) == []
