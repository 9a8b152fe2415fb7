"""Executions of state machines."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from pare.aws.calls import CLIENT_CONFIG, region_of_session, translated
from pare.errors import ConditionFailedError, NotDeployedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import boto3
    from mypy_boto3_stepfunctions import SFNClient

STACK_NAME = "ParePipeline"
_STARTED = {"ExecutionAlreadyExists": ConditionFailedError}
_FORGOTTEN = {"ExecutionDoesNotExist": ConditionFailedError}
_NO_STACK = {"ValidationError": NotDeployedError}


def start_once(states: SFNClient, machine_arn: str, start: Mapping[str, Any]) -> str:
    """Start an execution under a name made of its input, and return its ARN.

    A second start with the same input within 90 days does nothing.
    """
    text = json.dumps(start, sort_keys=True)
    return start_named(states, machine_arn, hashlib.sha256(text.encode()).hexdigest(), start)


def start_named(states: SFNClient, machine_arn: str, name: str, start: Mapping[str, Any]) -> str:
    """Start an execution under a name, and return its ARN; one that has the name is left as it is.

    AWS remembers a name for 90 days.
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    text = json.dumps(start, sort_keys=True)
    try:
        with translated("states:StartExecution", codes=_STARTED):
            started = states.start_execution(stateMachineArn=machine_arn, name=name, input=text)
        return started["executionArn"]
    except ConditionFailedError:
        return f"{machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


def has_ended(states: SFNClient, execution_arn: str) -> bool:
    """Return whether an execution has ended, in whichever way; AWS forgets it after 90 days.

    https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html
    """
    try:
        with translated("states:DescribeExecution", codes=_FORGOTTEN):
            status = states.describe_execution(executionArn=execution_arn)["status"]
    except ConditionFailedError:
        return True
    return status not in {"RUNNING", "PENDING_REDRIVE"}


def count_transitions(states: SFNClient, execution_arn: str) -> int:
    """Return how many states an execution has entered so far, the main part of what AWS charges.

    AWS counts retries too, and the children of a distributed map; these are not counted here.
    """
    count = 0
    with translated("states:GetExecutionHistory"):
        paginator = states.get_paginator("get_execution_history")
        for page in paginator.paginate(executionArn=execution_arn, includeExecutionData=False):
            names = [event["type"] for event in page["events"]]
            count += sum(1 for name in names if name.endswith("StateEntered"))
    return count


def workflow_arn(session: boto3.Session, workflow: str, stack_name: str = STACK_NAME) -> str:
    """Return the ARN of a deployed workflow (``Activity``, …), by the outputs of its stack.

    Raises NotDeployedError where there is no such stack, or it does not have the workflow.
    """
    outputs = stack_outputs(session, stack_name)
    if f"{workflow}WorkflowArn" not in outputs:
        raise NotDeployedError(
            f"the stack {stack_name} in {session.region_name} has no {workflow.lower()} workflow: "
            "it is too old"
        )
    return outputs[f"{workflow}WorkflowArn"]


def stack_outputs(session: boto3.Session, stack_name: str = STACK_NAME) -> dict[str, str]:
    """Return the outputs of a stack in the session's account and Region, by their names.

    Raises NotDeployedError where there is no such stack: only where AWS says so, not where it
    could not be asked.
    """
    region = region_of_session(session)
    cloudformation = session.client("cloudformation", config=CLIENT_CONFIG)
    try:
        with translated(f"cloudformation:DescribeStacks {stack_name} in {region}",
                        codes=_NO_STACK):  # fmt: skip
            stacks = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    except NotDeployedError as error:
        raise NotDeployedError(f"there is no stack {stack_name} in {region}") from error
    return {each["OutputKey"]: each["OutputValue"] for each in stacks[0].get("Outputs", [])}


def ended(session: boto3.Session, execution_arn: str, *, poll_seconds: float = 10) -> str:
    """Return how an execution ended (``SUCCEEDED``, ``FAILED``, …), once it has."""
    states: SFNClient = session.client("stepfunctions", config=CLIENT_CONFIG)
    while True:
        with translated("states:DescribeExecution"):
            status = states.describe_execution(executionArn=execution_arn)["status"]
        if status != "RUNNING":
            return status
        time.sleep(poll_seconds)
