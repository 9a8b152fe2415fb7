"""WORKFLOW: one finding, from event to notification, and on to a proposed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction


class FindingWorkflow(Construct):
    """State machine: normalize, enrich, record, notify, start the policy workflow."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        normalize_finding: StepFunction,
        enrich_finding: StepFunction,
        record_finding: StepFunction,
        notify_finding: StepFunction,
        record_run_function: StepFunction,
        policy_workflow: sfn.IStateMachine,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="finding")
        normalize = normalize_finding.as_task(self, None, result_path="$.finding", on_failure=end)
        enrich = enrich_finding.as_task(
            self, {"finding.$": "$.finding"}, result_path="$.finding", on_failure=end
        )
        record = record_finding.as_task(
            self,
            {"finding.$": "$.finding", "execution.$": "$$.Execution.Id"},
            result_path="$.recorded",
            on_failure=end,
        )
        notify = notify_finding.as_task(
            self,
            {"finding.$": "$.finding", "news.$": "$.recorded.news"},
            result_path="$.notified",
            on_failure=end,
        )
        start_policy = self._start_policy_workflow(policy_workflow, end)
        is_policy_wanted = (
            sfn.Choice(self, "Policy wanted?")
            .when(sfn.Condition.boolean_equals("$.recorded.start_policy", True), start_policy)
            .otherwise(end)
        )
        is_news = (
            sfn.Choice(self, "News for people?")
            .when(sfn.Condition.string_equals("$.recorded.news", "none"), is_policy_wanted)
            .otherwise(notify.next(is_policy_wanted))
        )
        self.workflow = Workflow(
            self,
            "Finding",
            definition=normalize.next(enrich).next(record).next(is_news),
            log_group=log_group,
            functions=[
                normalize_finding,
                enrich_finding,
                record_finding,
                notify_finding,
                record_run_function,
            ],
            starts=[policy_workflow],
        )

    def _start_policy_workflow(
        self, policy_workflow: sfn.IStateMachine, end: sfn.IChainable
    ) -> sfn.CustomState:
        # A service integration: a function would only forward. The name is the same for the same
        # state of the same finding, so a second start is refused and harmless.
        state = sfn.CustomState(
            self,
            "Start policy workflow",
            state_json={
                "Type": "Task",
                "Resource": sfn_integration(self, "states:startExecution"),
                "Parameters": {
                    "StateMachineArn": policy_workflow.state_machine_arn,
                    "Name.$": "$.recorded.policy_execution_name",
                    "Input": {
                        "principal_arn.$": "$.finding.resource",
                        "finding_id.$": "$.finding.finding_id",
                    },
                },
                "ResultPath": "$.policy_workflow",
                "Retry": [
                    {
                        "ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"],
                        "MaxAttempts": 0,
                    },
                    {
                        # Throttling has many names; a start under a known name is harmless.
                        "ErrorEquals": ["States.TaskFailed"],
                        "IntervalSeconds": 2,
                        "BackoffRate": 2,
                        "MaxAttempts": 6,
                        "MaxDelaySeconds": 60,
                        "JitterStrategy": "FULL",
                    },
                ],
            },
        )
        state.add_catch(
            end,
            errors=["StepFunctions.ExecutionAlreadyExistsException"],
            result_path="$.policy_workflow",
        )
        state.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        state.next(end)
        return state


def sfn_integration(scope: Construct, name: str) -> str:
    """Return the ARN of an optimized integration, in whatever partition."""
    from aws_cdk import Stack

    return f"arn:{Stack.of(scope).partition}:states:::{name}"
