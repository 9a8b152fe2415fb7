from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings.notify_finding import Output, lambda_handler
from pare.errors import AwsCallError, MessageUnknownError
from pare.findings.message import finding_message
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.state import News
    from tests.handlers.fake_aws import FakeAws, Topic

FOUND = finding(account_name="shop-prod", owner="orders")


def notify(context: Any, news: News = "new", found: Any = FOUND) -> Output:
    return lambda_handler({"finding": found.to_json(), "news": news}, context)


def test_people_and_machines_are_told(
    people: Topic, machines: Topic, tables: Any, context: Any
) -> None:
    assert notify(context) == {"told": True}

    message = finding_message(FOUND, "new")
    (read,), (facts,) = people.messages(), machines.messages()
    assert (read["Subject"], read["Message"]) == (message.subject, message.text)
    assert json.loads(facts["Message"]) == message.facts
    assert read["MessageAttributes"]["owner"]["Value"] == "orders"


def test_a_retried_step_tells_people_nothing_new(
    people: Topic, machines: Topic, tables: Any, context: Any
) -> None:
    told = [notify(context)["told"] for _ in range(3)]

    assert told == [True, False, False]
    assert len(people.messages()) == 1


def test_the_next_state_of_a_finding_is_told(
    people: Topic, machines: Topic, tables: Any, context: Any
) -> None:
    notify(context)

    assert notify(context, "deleted")["told"], "at the same time of update"
    assert notify(context, "changed", finding(updated_at="2026-11-22T09:00:00Z"))["told"]
    assert notify(context, "new", finding(finding_id="other"))["told"]
    assert len(people.messages()) == 4


def test_a_refused_message_fails_the_step_and_is_told_by_its_retry(
    people: Topic, machines: Topic, tables: Any, context: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "AuthorizationError", 403)
    with pytest.raises(AwsCallError, match="sns:Publish"):
        notify(context)

    aws.mend("sns:Publish")
    assert notify(context) == {"told": True}
    assert len(people.messages()) == 1


def test_a_lost_answer_fails_the_step_and_people_are_not_told_twice(
    people: Topic, machines: Topic, tables: Any, context: Any, aws: FakeAws
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.lose_answer("sns:Publish")  # people
    with pytest.raises(MessageUnknownError):
        notify(context)

    assert notify(context) == {"told": False}
    assert len(people.messages()) == 1
