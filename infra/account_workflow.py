"""WORKFLOW: a policy for every user and role of an account, a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# Ten are started (start_proposals), then the account's IAM has this long before the next ten: a
# thousand principals take 50 minutes. AWS publishes no limits to count with (facts §3).
PAUSE = cdk.Duration.seconds(30)


class AccountWorkflow(Construct):
    """State machine: list principals, start the policy workflow for a few, wait, and again.

    No map: it would start the executions as fast as it can, or else wait for each of them, which
    takes rights on EventBridge rules and two transitions more for every principal.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        list_principals: StepFunction,
        start_proposals: StepFunction,
        record_run_function: StepFunction,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="account")
        listed = list_principals.as_task(
            self,
            {"input.$": "$", "execution.$": "$$.Execution.Id"},
            result_path="$.listed",
            on_failure=end,
        )
        started = start_proposals.as_task(
            self,
            {"listed.$": "$.listed", "state.$": "$", "execution.$": "$$.Execution.Id"},
            result_path="$.started",
            on_failure=end,
        )
        pause = sfn.Wait(self, "Pause", time=sfn.WaitTime.duration(PAUSE))
        has_more = (
            sfn.Choice(self, "More to start?")
            .when(
                sfn.Condition.boolean_equals("$.started.has_more", True),
                pause.next(started),
            )
            .otherwise(end)
        )
        self.workflow = Workflow(
            self,
            "Account",
            definition=listed.next(started).next(has_more),
            log_group=log_group,
            functions=[list_principals, start_proposals, record_run_function],
        )
