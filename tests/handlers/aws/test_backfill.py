from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.backfill import start_backfill
from pare.errors import ActivityError, NotDeployedError
from tests.handlers.fake_aws import HUB, REGION

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
MACHINE = f"arn:aws:states:{REGION}:{HUB}:stateMachine:Activity"
EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Activity"


@pytest.fixture
def _deployed(aws: FakeAws) -> None:
    stack = {
        "StackName": "ParePipeline",
        "CreationTime": NOW,
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": [
            {"OutputKey": "PolicyWorkflowArn", "OutputValue": "another"},
            {"OutputKey": "ActivityWorkflowArn", "OutputValue": MACHINE},
        ],
    }
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})
    aws.answer(
        "sfn:StartExecution",
        lambda p: {"executionArn": f"{EXECUTION}:{p['name']}", "startDate": NOW},
    )


def running(*names: str) -> dict[str, Any]:
    return {
        "executions": [
            {"executionArn": f"{EXECUTION}:{name}", "stateMachineArn": MACHINE, "name": name,
             "status": "RUNNING", "startDate": NOW}
            for name in names
        ]
    }  # fmt: skip


@pytest.mark.usefixtures("_deployed")
def test_the_days_before_today_are_started(aws: FakeAws) -> None:
    aws.answer("sfn:ListExecutions", running("a-night"))

    started = start_backfill(boto3.Session(), days=90, now=NOW)

    name = "backfill-2026-08-24-2026-11-21-20261122T010203"
    assert started.execution_arn == f"{EXECUTION}:{name}"
    assert (started.first_date, started.last_date) == ("2026-08-24", "2026-11-21")
    assert started.is_new
    (call,) = aws.called("sfn:StartExecution")
    assert (call["stateMachineArn"], call["name"]) == (MACHINE, name)
    assert json.loads(call["input"]) == {"first_date": "2026-08-24", "last_date": "2026-11-21"}


@pytest.mark.usefixtures("_deployed")
def test_a_backfill_that_runs_is_not_started_twice(aws: FakeAws) -> None:
    aws.answer("sfn:ListExecutions", running("backfill-2026-11-01-2026-11-20-20261121T235959"))

    found = start_backfill(boto3.Session(), days=90, now=NOW)

    assert (found.first_date, found.last_date, found.is_new) == ("2026-11-01", "2026-11-20", False)
    assert aws.called("sfn:StartExecution") == []


@pytest.mark.usefixtures("_deployed")
def test_complete_days_are_listed_again_where_somebody_wants_it(aws: FakeAws) -> None:
    aws.answer("sfn:ListExecutions", running())

    start_backfill(boto3.Session(), days=1, now=NOW, again=True)

    (call,) = aws.called("sfn:StartExecution")
    assert json.loads(call["input"]) == {
        "first_date": "2026-11-21", "last_date": "2026-11-21", "again": True,
    }  # fmt: skip


@pytest.mark.parametrize("days", [0, -1, 431])
def test_days_that_are_not_kept_are_refused(days: int) -> None:
    with pytest.raises(ActivityError, match="1 to 430"):
        start_backfill(boto3.Session(), days=days, now=NOW)


def test_credentials_that_see_no_stack_are_told(aws: FakeAws) -> None:
    aws.fail("cloudformation:DescribeStacks", "ValidationError", message="does not exist")

    with pytest.raises(NotDeployedError, match="no stack ParePipeline"):
        start_backfill(boto3.Session(), days=1, now=NOW)


def test_a_stack_of_an_older_pare_is_told(aws: FakeAws) -> None:
    stack = {"StackName": "ParePipeline", "CreationTime": NOW, "StackStatus": "CREATE_COMPLETE"}
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})

    with pytest.raises(NotDeployedError):
        start_backfill(boto3.Session(), days=1, now=NOW)
