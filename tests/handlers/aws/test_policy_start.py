from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from pare.aws.policy_start import start_account, start_principals
from pare.cli_policy_start import start
from pare.errors import ArnParseError, NotDeployedError
from tests.handlers.fake_aws import HUB, MEMBER, REGION

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 1, 2, 3, 45, tzinfo=UTC)
STATES = f"arn:aws:states:{REGION}:{HUB}"
ROLE = f"arn:aws:iam::{MEMBER}:role/app/Shop+Checkout@{'x' * 40}"
USER = f"arn:aws:iam::{MEMBER}:user/mary"


@pytest.fixture
def _deployed(aws: FakeAws) -> None:
    stack = {
        "StackName": "ParePipeline",
        "CreationTime": NOW,
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": [
            {"OutputKey": f"{name}WorkflowArn", "OutputValue": f"{STATES}:stateMachine:{name}"}
            for name in ("Activity", "Account", "Policy")
        ],
    }
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})
    aws.answer("sfn:StartExecution", lambda p: {
        "executionArn": f"{p['stateMachineArn'].replace('stateMachine', 'execution')}:{p['name']}",
        "startDate": NOW,
    })  # fmt: skip


def running(aws: FakeAws, *names: str) -> None:
    machine = f"{STATES}:stateMachine:Account"
    executions = [
        {"executionArn": f"{STATES}:execution:Account:{name}", "stateMachineArn": machine,
         "name": name, "status": "RUNNING", "startDate": NOW}
        for name in names
    ]  # fmt: skip
    aws.answer("sfn:ListExecutions", {"executions": executions})


@pytest.mark.usefixtures("_deployed")
def test_each_principal_is_started_once_under_a_name_that_is_allowed(aws: FakeAws) -> None:
    started = start_principals(boto3.Session(), [ROLE, USER, ROLE], now=NOW)

    assert [(each.subject, each.is_new) for each in started] == [(ROLE, True), (USER, True)]
    calls = aws.called("sfn:StartExecution")
    assert [json.loads(call["input"]) for call in calls] == [
        {"principal_arn": ROLE}, {"principal_arn": USER},
    ]  # fmt: skip
    for call in calls:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", call["name"])
        assert call["stateMachineArn"] == f"{STATES}:stateMachine:Policy"
    assert calls[1]["name"] == "asked-20261122T010203000045-2-mary"


@pytest.mark.usefixtures("_deployed")
def test_nothing_is_started_where_one_is_no_principal(aws: FakeAws) -> None:
    with pytest.raises(ArnParseError):
        start_principals(boto3.Session(), [USER, "mary"], now=NOW)

    assert aws.called("sfn:StartExecution") == []


@pytest.mark.usefixtures("_deployed")
def test_an_account_is_started_and_while_it_runs_not_again(aws: FakeAws) -> None:
    running(aws, "asked-444455556666-20261121T000000", "by-hand")
    first = start_account(boto3.Session(), MEMBER, now=NOW)
    aws.mend("sfn:ListExecutions")
    running(aws, f"asked-{MEMBER}-20261122T010203")
    again = start_account(boto3.Session(), MEMBER, now=NOW)

    assert (first.subject, first.is_new) == (MEMBER, True)
    assert (again.execution_arn, again.is_new) == (first.execution_arn, False)
    (call,) = aws.called("sfn:StartExecution")
    assert json.loads(call["input"]) == {"account_id": MEMBER}


def test_without_pare_there_is_nothing_to_start(aws: FakeAws) -> None:
    aws.fail("cloudformation:DescribeStacks", "ValidationError", message="does not exist")

    with pytest.raises(NotDeployedError, match="no stack ParePipeline"):
        start_principals(boto3.Session(), [USER], now=NOW)


# --- The command ---


def run(*arguments: str) -> Any:
    return CliRunner().invoke(start, list(arguments))


@pytest.mark.usefixtures("_deployed")
def test_the_command_prints_what_was_started(aws: FakeAws) -> None:
    result = run(USER)

    assert result.exit_code == 0
    assert result.output.startswith(f"Started: {USER}\n  {STATES}:execution:Policy:asked-")


@pytest.mark.usefixtures("_deployed")
@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_the_command_waits_and_says_how_it_ended(aws: FakeAws, status: str, code: int) -> None:
    running(aws)
    execution = {"executionArn": "x", "stateMachineArn": "x", "startDate": NOW}
    aws.answer("sfn:DescribeExecution", {**execution, "status": status})

    result = run("--account", MEMBER, "--wait", "--format", "json")

    assert result.exit_code == code
    (row,) = json.loads(result.output)
    assert (row["subject"], row["status"], row["is_new"]) == (MEMBER, status, True)


@pytest.mark.parametrize(
    "arguments", [("--wait",), (USER, "--account", MEMBER), ("--account", "12345")]
)
def test_wrong_use_is_exit_code_two(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2
