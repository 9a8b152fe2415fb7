from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.executions import count_transitions, has_ended
from pare.errors import AwsCallError
from tests.handlers.fake_aws import HUB, REGION

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Policy:finding-0a1b"


def page(*types: str, token: str | None = None) -> dict[str, Any]:
    events = [
        {"timestamp": datetime(2026, 11, 21, tzinfo=UTC), "type": name, "id": number}
        for number, name in enumerate(types, start=1)
    ]
    return {"events": events, **({"nextToken": token} if token else {})}


def test_states_that_were_entered_are_counted_over_all_pages(aws: FakeAws) -> None:
    aws.answer(
        "sfn:GetExecutionHistory",
        page("ExecutionStarted", "TaskStateEntered", "TaskScheduled", "TaskStateExited", token="a"),
        times=1,
    )
    aws.answer("sfn:GetExecutionHistory", page(token="b"), times=1)
    aws.answer(
        "sfn:GetExecutionHistory",
        page("ChoiceStateEntered", "ParallelStateEntered", "PassStateEntered", "WaitStateEntered",
             "MapStateEntered", "FailStateEntered", "SucceedStateEntered", "ExecutionSucceeded"),
    )  # fmt: skip

    assert count_transitions(boto3.client("stepfunctions"), EXECUTION) == 8

    assert [call["executionArn"] for call in aws.called("sfn:GetExecutionHistory")] == [
        EXECUTION
    ] * 3
    assert aws.called("sfn:GetExecutionHistory")[0]["includeExecutionData"] is False


def test_a_history_that_cannot_be_read_is_an_error(aws: FakeAws) -> None:
    aws.fail("sfn:GetExecutionHistory", "ExecutionDoesNotExist")

    with pytest.raises(AwsCallError, match="states:GetExecutionHistory"):
        count_transitions(boto3.client("stepfunctions"), EXECUTION)


@pytest.mark.parametrize(
    ("status", "ended"),
    [("RUNNING", False), ("PENDING_REDRIVE", False), ("SUCCEEDED", True), ("FAILED", True),
     ("TIMED_OUT", True), ("ABORTED", True)],
)  # fmt: skip
def test_an_execution_that_runs_has_not_ended(aws: FakeAws, status: str, ended: bool) -> None:
    began = datetime(2026, 11, 21, tzinfo=UTC)
    aws.answer(
        "sfn:DescribeExecution",
        {"executionArn": EXECUTION, "stateMachineArn": "a", "status": status, "startDate": began},
    )

    assert has_ended(boto3.client("stepfunctions"), EXECUTION) is ended


def test_an_execution_that_aws_has_forgotten_has_ended(aws: FakeAws) -> None:
    aws.fail("sfn:DescribeExecution", "ExecutionDoesNotExist")

    assert has_ended(boto3.client("stepfunctions"), EXECUTION)


def test_an_execution_that_cannot_be_asked_after_is_an_error(aws: FakeAws) -> None:
    aws.fail("sfn:DescribeExecution", "AccessDeniedException")

    with pytest.raises(AwsCallError, match="states:DescribeExecution"):
        has_ended(boto3.client("stepfunctions"), EXECUTION)
