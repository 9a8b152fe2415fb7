"""Proposals on demand: the deployed workflows, started for some principals or a whole account."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

from pare.arns import parse_principal_arn
from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.executions import STACK_NAME, workflow_arn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import boto3
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, slots=True)
class Started:
    """An execution. ``subject``: the principal's ARN, or the account id; ``is_new``: False where
    one was running already, and goes on."""

    subject: str
    execution_arn: str
    is_new: bool = True


def start_principals(
    session: boto3.Session,
    principal_arns: Sequence[str],
    *,
    now: datetime,
    stack_name: str = STACK_NAME,
) -> list[Started]:
    """Start the policy workflow for each principal, and return the executions.

    Raises ArnParseError for what is no user or role, before anything is started, and
    NotDeployedError where there is no Pare.
    """
    principals = [parse_principal_arn(arn) for arn in dict.fromkeys(principal_arns)]
    states: SFNClient = session.client("stepfunctions", config=CLIENT_CONFIG)
    machine_arn = workflow_arn(session, "Policy", stack_name)
    started: list[Started] = []
    for number, principal in enumerate(principals, start=1):
        name = f"asked-{now.astimezone(UTC):%Y%m%dT%H%M%S%f}-{number}-{principal.name}"[:80]
        with translated("states:StartExecution"):
            answer = states.start_execution(
                stateMachineArn=machine_arn,
                # IAM's names have characters that executions may not.
                name="".join(c if c.isalnum() or c in "-_" else "-" for c in name),
                input=json.dumps({"principal_arn": principal.arn}),
            )
        started.append(Started(principal.arn, answer["executionArn"]))
    return started


def start_account(
    session: boto3.Session, account_id: str, *, now: datetime, stack_name: str = STACK_NAME
) -> Started:
    """Start the policy workflow for every user and role of an account, a few at a time.

    While that is under way for the account, it is not started a second time. Raises
    NotDeployedError where there is no Pare.
    """
    states: SFNClient = session.client("stepfunctions", config=CLIENT_CONFIG)
    machine_arn = workflow_arn(session, "Account", stack_name)
    prefix = f"asked-{account_id}-"
    with translated("states:ListExecutions"):
        pages = states.get_paginator("list_executions").paginate(
            stateMachineArn=machine_arn, statusFilter="RUNNING"
        )
        for page in pages:
            for each in page["executions"]:
                if each["name"].startswith(prefix):
                    return Started(account_id, each["executionArn"], is_new=False)
    with translated("states:StartExecution"):
        answer = states.start_execution(
            stateMachineArn=machine_arn,
            name=f"{prefix}{now.astimezone(UTC):%Y%m%dT%H%M%S}",
            input=json.dumps({"account_id": account_id}),
        )
    return Started(account_id, answer["executionArn"])
