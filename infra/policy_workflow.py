"""WORKFLOW: one principal, from what it is granted and what it did to a proposed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# One policy generation runs at a time in an account (facts §2): the next one waits its turn.
BUSY_ERRORS = ["AccessAnalyzerQuotaError", "PolicyGenerationConflictError"]


class PolicyWorkflow(Construct):
    """State machine: resolve, gather evidence, build, check, record, notify."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        resolve_principal: StepFunction,
        start_policy_generation: StepFunction,
        get_generated_policy: StepFunction,
        get_last_accessed: StepFunction,
        build_policy: StepFunction,
        check_policy: StepFunction,
        record_proposal: StepFunction,
        notify_proposal: StepFunction,
        record_run_function: StepFunction,
        poll_interval: cdk.Duration,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="policy")
        resolve = resolve_principal.as_task(
            self,
            {"input.$": "$", "started_at.$": "$$.Execution.StartTime"},
            result_path="$.principal",
            on_failure=end,
        )
        gather = self._gather_evidence(
            start_policy_generation, get_generated_policy, get_last_accessed, poll_interval
        )
        gather.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        build = build_policy.as_task(
            self,
            {
                "principal.$": "$.principal",
                "evidence.$": "$.evidence",
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.built",
            on_failure=end,
        )
        check = check_policy.as_task(
            self,
            {"principal.$": "$.principal", "proposal.$": "$.built.proposal"},
            result_path="$.checked",
            on_failure=end,
        )
        record = record_proposal.as_task(
            self,
            {
                "principal.$": "$.principal",
                "proposal.$": "$.built.proposal",
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.recorded",
            on_failure=end,
        )
        notify = notify_proposal.as_task(
            self,
            {"principal.$": "$.principal", "proposal.$": "$.built.proposal"},
            result_path="$.notified",
            on_failure=end,
        )
        store = record.next(notify).next(end)
        has_documents = (
            sfn.Choice(self, "Policy built?")
            .when(sfn.Condition.boolean_equals("$.built.has_documents", True), check.next(store))
            .otherwise(store)
        )
        build.next(has_documents)
        is_narrowable = (
            sfn.Choice(self, "May be narrowed?")
            .when(
                sfn.Condition.boolean_equals("$.principal.is_narrowable", True), gather.next(build)
            )
            .otherwise(
                sfn.Pass(
                    self,
                    "No evidence needed",
                    result=sfn.Result.from_array([]),
                    result_path="$.evidence",
                ).next(build)
            )
        )
        self.workflow = Workflow(
            self,
            "Policy",
            definition=resolve.next(is_narrowable),
            log_group=log_group,
            functions=[
                resolve_principal,
                start_policy_generation,
                get_generated_policy,
                get_last_accessed,
                build_policy,
                check_policy,
                record_proposal,
                notify_proposal,
                record_run_function,
            ],
        )

    def _gather_evidence(
        self,
        start_policy_generation: StepFunction,
        get_generated_policy: StepFunction,
        get_last_accessed: StepFunction,
        poll_interval: cdk.Duration,
    ) -> sfn.Parallel:
        """Return both kinds of evidence side by side; a branch without evidence says why."""
        # A Pass keeps the caught error as the branch's result: `{"failure": …}`.
        no_policy = sfn.Pass(self, "Policy generation unknown", parameters={
            "failure.$": "$.failure"})  # fmt: skip
        no_last_accessed = sfn.Pass(self, "Last accessed unknown", parameters={
            "failure.$": "$.failure"})  # fmt: skip
        start = start_policy_generation.as_task(
            self,
            {"principal.$": "$.principal", "execution.$": "$$.Execution.Id"},
            result_path="$.job",
            on_failure=no_policy,
            retry_later=BUSY_ERRORS,
        )
        wait = sfn.Wait(
            self, "Wait for policy generation", time=sfn.WaitTime.duration(poll_interval)
        )
        get = get_generated_policy.as_task(
            self,
            {"principal.$": "$.principal", "job.$": "$.job"},
            result_path="$.job",
            on_failure=no_policy,
        )
        has_ended = (
            sfn.Choice(self, "Policy generation ended?")
            .when(sfn.Condition.string_equals("$.job.status", "IN_PROGRESS"), wait)
            .otherwise(
                sfn.Pass(self, "Policy generation known", parameters={"outcome.$": "$.job.outcome"})
            )
        )
        last_accessed = get_last_accessed.as_task(
            self, {"principal.$": "$.principal"}, on_failure=no_last_accessed
        )
        gather = sfn.Parallel(self, "Gather evidence", result_path="$.evidence")
        gather.branch(start.next(wait).next(get).next(has_ended))
        gather.branch(last_accessed)
        return gather
