"""Activity of days long past: the deployed workflow, started for a range of days."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.executions import STACK_NAME, workflow_arn
from pare.errors import ActivityError

if TYPE_CHECKING:
    from datetime import datetime

    import boto3
    from mypy_boto3_stepfunctions import SFNClient

_NAME = "backfill-"
# Digests are kept for 430 days (infra/storage_stack.py).
MAX_DAYS = 430


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill under way. ``is_new``: False where one was running already, and goes on."""

    execution_arn: str
    first_date: str
    last_date: str
    is_new: bool


def start_backfill(
    session: boto3.Session,
    *,
    days: int,
    now: datetime,
    again: bool = False,
    stack_name: str = STACK_NAME,
) -> Backfill:
    """Start the activity workflow for the ``days`` before today, and return its execution.

    Days that are complete are passed over, unless ``again`` is true, and log files that were read
    are never read twice: a backfill that was stopped is simply started again. While one runs, no
    second one is started. Raises NotDeployedError where there is no Pare, and ActivityError for a
    number of days that it does not keep.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ActivityError(f"{days} days cannot be read: 1 to {MAX_DAYS} can")
    states: SFNClient = session.client("stepfunctions", config=CLIENT_CONFIG)
    machine_arn = workflow_arn(session, "Activity", stack_name)
    running = _running(states, machine_arn)
    if running is not None:
        return running
    now = now.astimezone(UTC)
    last = now.date() - timedelta(days=1)
    first = now.date() - timedelta(days=days)
    name = f"{_NAME}{first}-{last}-{now:%Y%m%dT%H%M%S}"
    start = {"first_date": f"{first}", "last_date": f"{last}", **({"again": True} if again else {})}
    with translated("states:StartExecution"):
        started = states.start_execution(
            stateMachineArn=machine_arn, name=name, input=json.dumps(start)
        )
    return Backfill(started["executionArn"], f"{first}", f"{last}", is_new=True)


def _running(states: SFNClient, machine_arn: str) -> Backfill | None:
    with translated("states:ListExecutions"):
        pages = states.get_paginator("list_executions").paginate(
            stateMachineArn=machine_arn, statusFilter="RUNNING"
        )
        for page in pages:
            for each in page["executions"]:
                if each["name"].startswith(_NAME):
                    days = each["name"].removeprefix(_NAME)
                    return Backfill(each["executionArn"], days[:10], days[11:21], is_new=False)
    return None
