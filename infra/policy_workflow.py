"""WORKFLOW: one principal, from what it is granted and what it did to a proposed policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# One policy generation runs at a time in an account (facts §2): whoever was asked for by name waits
# its turn. Who need not wait gets an AccessAnalyzerBusyError, which is not retried.
BUSY_ERRORS = ["AccessAnalyzerQuotaError", "PolicyGenerationConflictError"]


class PolicyWorkflow(Construct):
    """State machine: resolve, choose route, gather evidence, build, check, record, notify.

    Principals are many and every transition is paid for: a step that has nothing to do is cheaper
    than the Choice that would pass it by (15 transitions without Access Analyzer, 19 with it).
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        resolve_principal: StepFunction,
        choose_route: StepFunction,
        start_policy_generation: StepFunction,
        get_generated_policy: StepFunction,
        release_lease: StepFunction,
        get_activity: StepFunction,
        get_last_accessed: StepFunction,
        build_policy: StepFunction,
        check_policy: StepFunction,
        record_proposal: StepFunction,
        notify_proposal: StepFunction,
        record_run_function: StepFunction,
        terms: Mapping[str, Any],
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
        choose = choose_route.as_task(
            self,
            {"principal.$": "$.principal", "execution.$": "$$.Execution.Id"},
            result_path="$.route",
            on_failure=end,
        )
        generate = self._generate_policy(
            start_policy_generation, get_generated_policy, release_lease
        )
        gather = self._gather_evidence(generate, get_activity, get_last_accessed)
        gather.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        build = build_policy.as_task(
            self,
            {
                "principal.$": "$.principal",
                "evidence.$": "$.evidence",
                "execution.$": "$$.Execution.Id",
                "terms": terms,
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
        build.next(check).next(record).next(notify).next(end)
        is_narrowable = (
            sfn.Choice(self, "May be narrowed?")
            .when(
                sfn.Condition.boolean_equals("$.principal.is_narrowable", True),
                choose.next(gather).next(build),
            )
            .otherwise(
                sfn.Pass(
                    self,
                    "No evidence needed",
                    result=sfn.Result.from_object({}),
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
                choose_route,
                start_policy_generation,
                get_generated_policy,
                release_lease,
                get_activity,
                get_last_accessed,
                build_policy,
                check_policy,
                record_proposal,
                notify_proposal,
                record_run_function,
            ],
        )

    def _gather_evidence(
        self, generate: sfn.IChainable, get_activity: StepFunction, get_last_accessed: StepFunction
    ) -> sfn.Parallel:
        """Return the sources of evidence side by side; one without an answer says why.

        The result is what ``Build policy`` takes: the route, and each source by its name.
        """
        # A Pass keeps the caught error as the source's answer: `{"failure": …}`.
        no_activity = sfn.Pass(self, "Activity unknown", parameters={
            "failure.$": "$.failure"})  # fmt: skip
        no_last_accessed = sfn.Pass(self, "Last accessed unknown", parameters={
            "failure.$": "$.failure"})  # fmt: skip
        activity = get_activity.as_task(
            self,
            {"principal.$": "$.principal", "route.$": "$.route"},
            on_failure=no_activity,
        )
        last_accessed = get_last_accessed.as_task(
            self, {"principal.$": "$.principal"}, on_failure=no_last_accessed
        )
        gather = sfn.Parallel(
            self,
            "Gather evidence",
            result_selector={
                "route.$": "$[0].route",
                "policy_generation.$": "$[0].policy_generation",
                "activity.$": "$[1]",
                "last_accessed.$": "$[2]",
            },
            result_path="$.evidence",
        )
        gather.branch(generate)
        gather.branch(activity)
        gather.branch(last_accessed)
        return gather

    def _generate_policy(
        self,
        start_policy_generation: StepFunction,
        get_generated_policy: StepFunction,
        release_lease: StepFunction,
    ) -> sfn.IChainable:
        """Return the branch of Access Analyzer. However it ends, the account's turn is given back.

        After a job that has ended, by ``Get generated policy`` itself; after all else by ``Release
        lease``; and where that fails too, the turn ends by itself after a while.
        """
        release = release_lease.as_task(
            self,
            {"principal.$": "$.principal", "execution.$": "$$.Execution.Id"},
            result_path="$.released",
        )
        no_policy = self._policy_generation("unknown", {"failure.$": "$.failure"})
        release.add_catch(no_policy, errors=["States.ALL"], result_path="$.released")
        release.next(no_policy)
        start = start_policy_generation.as_task(
            self,
            {
                "principal.$": "$.principal",
                "route.$": "$.route",
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.job",
            on_failure=release,
            retry_later=BUSY_ERRORS,
        )
        wait = sfn.Wait(
            self,
            "Wait for policy generation",
            time=sfn.WaitTime.seconds_path("$.job.wait_seconds"),
        )
        get = get_generated_policy.as_task(
            self,
            {
                "principal.$": "$.principal",
                "job.$": "$.job",
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.job",
            on_failure=release,
        )
        has_ended = (
            sfn.Choice(self, "Policy generation ended?")
            .when(sfn.Condition.string_equals("$.job.status", "IN_PROGRESS"), wait)
            .otherwise(self._policy_generation("known", {"outcome.$": "$.job.outcome"}))
        )
        return (
            sfn.Choice(self, "Access Analyzer asked?")
            .when(
                sfn.Condition.string_equals("$.route.route", "activity"),
                self._policy_generation("not asked", {}),
            )
            .otherwise(start.next(wait).next(get).next(has_ended))
        )

    def _policy_generation(self, what: str, answer: dict[str, str]) -> sfn.Pass:
        """Return an end of the branch: the answer, and the route it was asked by."""
        return sfn.Pass(
            self,
            f"Policy generation {what}",
            parameters={"route.$": "$.route", "policy_generation": answer},
        )
