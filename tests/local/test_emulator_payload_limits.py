"""A state takes and gives 262,144 bytes of JSON at most, and no wildcard catches what is more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.emulator_fixtures import unique
from tests.local.test_emulator_workflow_roles import ended, function, workflow_role

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

MOST = 262_144
# Of ``{"text":"…"}`` in UTF-8: eleven bytes beside the text.
AROUND = 11
RETURNS = "def run(event, context):\n    return {'text': event['sign'] * event['count']}\n"
EVERYTHING = [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 0}]
BY_NAME = [{"ErrorEquals": ["States.DataLimitExceeded"], "Next": "Caught"}]
CATCH_ALL = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
CAUGHT = {"Type": "Pass", "Result": "caught", "End": True}


@pytest.fixture(scope="module")
def returns(box: Box) -> str:
    return function(box, RETURNS)


def run(box: Box, first: dict[str, Any], **more: dict[str, Any]) -> dict[str, Any]:
    """The ended execution of a state machine that begins with a state."""
    states = box.client("stepfunctions")
    machine = states.create_state_machine(
        name=unique("machine"),
        roleArn=workflow_role(box, "*"),
        definition=json.dumps({"StartAt": "Do", "States": {"Do": first, **more}}),
    )["stateMachineArn"]
    given = json.dumps({"text": "x" * 140_000})
    return ended(box, states.start_execution(stateMachineArn=machine, input=given)["executionArn"])


def task(function_arn: str, sign: str, count: int, **more: Any) -> dict[str, Any]:
    """A Task that answers so many signs, and leaves nothing else behind."""
    return {"Type": "Task", "Resource": function_arn, "Parameters": {"sign": sign, "count": count},
            "End": True, **more}  # fmt: skip


@pytest.mark.parametrize(("sign", "bytes_each"), [("x", 1), ("見", 3)])
def test_the_last_byte_counts_in_utf8(box: Box, returns: str, sign: str, bytes_each: int) -> None:
    fits = (MOST - AROUND) // bytes_each

    assert run(box, task(returns, sign, fits))["status"] == "SUCCEEDED"
    failed = run(box, task(returns, sign, fits + 1))

    assert (failed["status"], failed["error"]) == ("FAILED", "States.DataLimitExceeded")


@pytest.mark.parametrize("result_path", ["$.result", None])
def test_neither_retry_nor_catch_of_everything_sees_it(
    box: Box, returns: str, result_path: str | None
) -> None:
    """A result that is thrown away is a connector's output before that."""
    too_much = task(returns, "x", MOST, Retry=EVERYTHING, Catch=CATCH_ALL, ResultPath=result_path)

    failed = run(box, too_much, Caught=CAUGHT)

    assert (failed["status"], failed["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_what_a_state_keeps_and_adds_counts_together(box: Box, returns: str) -> None:
    fits = run(box, task(returns, "x", 100_000, ResultPath="$.result"))
    failed = run(box, task(returns, "x", 140_000, ResultPath="$.result", Catch=CATCH_ALL),
                 Caught=CAUGHT)  # fmt: skip

    assert fits["status"] == "SUCCEEDED"
    assert failed["error"] == "States.DataLimitExceeded"


def test_what_parameters_make_is_an_input(box: Box) -> None:
    doubled = {"text.$": "States.Format('{}{}', $.text, $.text)"}

    failed = run(box, {"Type": "Pass", "Parameters": doubled, "ResultPath": None, "End": True})

    assert failed["error"] == "States.DataLimitExceeded"


def test_its_own_name_catches_it_also_from_inside_a_map(box: Box, returns: str) -> None:
    item = {
        "Type": "Map",
        "ItemsPath": "$.items",
        "ItemProcessor": {"StartAt": "Big", "States": {"Big": task(returns, "x", MOST)}},
        "End": True,
    }
    items = {"Type": "Pass", "Result": {"items": [1]}, "Next": "Each"}

    missed = run(box, items, Each={**item, "Catch": CATCH_ALL}, Caught=CAUGHT)
    caught = run(box, items, Each={**item, "Catch": BY_NAME}, Caught=CAUGHT)

    assert missed["error"] == "States.DataLimitExceeded"
    assert (caught["status"], caught["output"]) == ("SUCCEEDED", '"caught"')
