"""The children of a distributed map have histories from which their transitions can be counted."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.local.emulator_fixtures import unique
from tests.local.test_emulator_workflow_roles import workflow_role

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

CHILD: dict[str, Any] = {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "Begin",
    "States": {
        "Begin": {"Type": "Pass", "Next": "Enough?"},
        "Enough?": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.rounds", "NumericEquals": 2, "Next": "Done"}],
            "Default": "Once more",
        },
        "Once more": {
            "Type": "Pass",
            "Parameters": {"rounds.$": "States.MathAdd($.rounds, 1)"},
            "Next": "Enough?",
        },
        "Done": {"Type": "Succeed"},
    },
}


def test_a_child_has_a_history_of_the_states_it_entered(box: Box) -> None:
    states = box.client("stepfunctions")
    each = {"Type": "Map", "ItemsPath": "$.items", "Label": "Each", "ItemProcessor": CHILD,
            "End": True}  # fmt: skip
    machine = states.create_state_machine(
        name=unique("machine"),
        roleArn=workflow_role(box, "*"),
        definition=json.dumps({"StartAt": "Map", "States": {"Map": each}}),
    )["stateMachineArn"]
    execution = states.start_execution(
        stateMachineArn=machine, input=json.dumps({"items": [{"rounds": 0}, {"rounds": 2}]})
    )["executionArn"]
    deadline = time.monotonic() + 15
    while states.describe_execution(executionArn=execution)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)

    (run,) = states.list_map_runs(executionArn=execution)["mapRuns"]
    children = states.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    found = sorted(entered(states, child["executionArn"]) for child in children)

    assert found == [
        ["Begin", "Enough?", "Done"],
        ["Begin", "Enough?", "Once more", "Enough?", "Once more", "Enough?", "Done"],
    ]
    assert entered(states, execution) == ["Map"], "the parent's history has its own states"


def entered(states: Any, execution: str) -> list[str]:
    """The states an execution entered, in order."""
    events = states.get_execution_history(executionArn=execution)["events"]
    return [
        event["stateEnteredEventDetails"]["name"]
        for event in events
        if event["type"].endswith("StateEntered")
    ]
