"""Executions of state machines, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.aws.calls import translated

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


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
