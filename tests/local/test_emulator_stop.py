"""A stopped execution stops with everything it started, as in AWS."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator_fixtures import unique
from tests.local.test_emulator_workflow_roles import ended, function, workflow_role

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.emulator_fixtures import Box

SLOW = "import time\ndef run(event, context):\n    time.sleep(1.5)\n    return {}\n"
FAILING = "import time\ndef run(event, context):\n    time.sleep(0.7)\n    raise ValueError('no')\n"


def wait_for(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def start(box: Box, states: dict[str, Any], first: str) -> str:
    """Start a state machine that may do everything; the execution's ARN."""
    client = box.client("stepfunctions")
    machine = client.create_state_machine(
        name=unique("machine"),
        roleArn=workflow_role(box, "*"),
        definition=json.dumps({"StartAt": first, "States": states}),
    )["stateMachineArn"]
    started: str = client.start_execution(
        stateMachineArn=machine, input=json.dumps({"items": [1, 2, 3, 4]})
    )["executionArn"]
    return started


def queue(box: Box) -> tuple[str, dict[str, Any]]:
    """A queue's URL, and a state "Send" that puts a message into it."""
    url = box.client("sqs").create_queue(QueueName=unique("queue"))["QueueUrl"]
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage",
        "Parameters": {"QueueUrl": url, "MessageBody": "went on"},
        "End": True,
    }
    return url, state


def sent(box: Box, url: str) -> int:
    attributes = box.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def test_the_children_of_a_stopped_map_are_stopped_and_the_others_never_start(box: Box) -> None:
    url, send = queue(box)
    states = {
        "Each": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "MaxConcurrency": 2,
            "ToleratedFailurePercentage": 100,
            "Label": "Each",
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Work",
                "States": {
                    "Work": {"Type": "Task", "Resource": function(box, SLOW), "Next": "Send"},
                    "Send": send,
                },
            },
            "Next": "Send",
        },
        "Send": send,
    }
    client = box.client("stepfunctions")
    execution = start(box, states, "Each")

    def children(status: str) -> list[Any]:
        runs = client.list_map_runs(executionArn=execution)["mapRuns"]
        return [
            child
            for run in runs
            for child in client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
            if child["status"] == status
        ]

    wait_for(lambda: len(children("RUNNING")) == 2)
    client.stop_execution(executionArn=execution)

    (run,) = client.list_map_runs(executionArn=execution)["mapRuns"]
    assert len(children("ABORTED")) == 2
    time.sleep(2.5)  # the two functions end by themselves

    assert sent(box, url) == 0
    assert ended(box, execution)["status"] == "ABORTED"
    assert len(children("ABORTED")) == 2
    assert children("RUNNING") == children("FAILED") == children("SUCCEEDED") == []
    found = client.describe_map_run(mapRunArn=run["mapRunArn"])
    assert found["status"] == "ABORTED"
    assert (found["itemCounts"]["aborted"], found["itemCounts"]["pending"]) == (2, 2)
    events = client.get_execution_history(executionArn=execution)["events"]
    assert events[-1]["type"] == "ExecutionAborted"


def test_a_stopped_task_is_neither_retried_nor_caught(box: Box) -> None:
    url, send = queue(box)
    retry = {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5}
    states = {
        "Work": {
            "Type": "Task",
            "Resource": function(box, FAILING),
            "Retry": [retry],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Send"}],
            "End": True,
        },
        "Send": send,
    }
    client = box.client("stepfunctions")
    execution = start(box, states, "Work")

    def types() -> list[str]:
        history = client.get_execution_history(executionArn=execution)
        return [event["type"] for event in history["events"]]

    wait_for(lambda: "TaskScheduled" in types())
    client.stop_execution(executionArn=execution)
    time.sleep(1.5)

    assert ended(box, execution)["status"] == "ABORTED"
    assert types()[-1] == "ExecutionAborted"
    assert types().count("TaskScheduled") == 1
    assert sent(box, url) == 0
    # Stopping it once more says the same; what has ended otherwise cannot be stopped.
    client.stop_execution(executionArn=execution)
    done = start(box, {"Done": {"Type": "Succeed"}}, "Done")
    assert ended(box, done)["status"] == "SUCCEEDED"
    with pytest.raises(ClientError):
        client.stop_execution(executionArn=done)
