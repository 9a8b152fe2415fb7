"""WORKFLOW: every user and role of every account, once a month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import (
    Workflow,
    let_map_start_children,
    map_over_accounts,
    record_run,
    start_until_done,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# An account is one function at a time, for some minutes. IAM's limits are per account, so accounts
# side by side do not slow each other; entering them takes a few of STS's 600 calls a second, and
# the hub has 1,000 functions side by side for everything (the defaults of both).
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
ACCOUNTS_AT_ONCE = 50
# Stands in the ARNs of the map's children, so that the role can name them.
MAP_LABEL = "Accounts"


class InventoryWorkflow(Construct):
    """State machine: list accounts; of each collect, read last accessed, classify; then report.

    What is unused then goes the way of all findings: each is a start of the finding workflow.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        terms: Mapping[str, Any],
        finding_terms: Mapping[str, Any],
        list_accounts: StepFunction,
        collect_principals: StepFunction,
        read_last_accessed: StepFunction,
        classify_principals: StepFunction,
        build_snapshot: StepFunction,
        write_report: StepFunction,
        notify_inventory: StepFunction,
        compare_inventory: StepFunction,
        start_findings: StepFunction,
        record_run_function: StepFunction,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="inventory")
        accounts = list_accounts.as_task(
            self,
            {
                "input.$": "$",
                "execution.$": "$$.Execution.Id",
                "started_at.$": "$$.Execution.StartTime",
            },
            result_path="$.listed",
            on_failure=end,
        )
        inventory = map_over_accounts(
            self, "Inventory accounts", max_concurrency=ACCOUNTS_AT_ONCE, label=MAP_LABEL
        )
        inventory.item_processor(
            self._account(terms, collect_principals, read_last_accessed, classify_principals)
        )
        inventory.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        build = build_snapshot.as_task(
            self,
            {
                "period.$": "$.listed.period",
                "prefix.$": "$.listed.prefix",
                "work.$": "$.listed.work",
                "as_of.$": "$.listed.as_of",
                "manifest.$": "$.listed.manifest",
                "previous_snapshot.$": "$.listed.previous_snapshot",
            },
            result_path="$.built",
            on_failure=end,
        )
        report = write_report.as_task(
            self, {"snapshot.$": "$.built.snapshot"}, result_path="$.written", on_failure=end
        )
        notify = notify_inventory.as_task(
            self,
            {
                "snapshot.$": "$.built.snapshot",
                "report.$": "$.written.report",
                "csv.$": "$.written.csv",
                # Not the execution: who goes on with the work of one that was stopped after it
                # told people must not tell them again.
                "work.$": "$.listed.work",
            },
            result_path="$.notified",
            on_failure=end,
        )
        compare = compare_inventory.as_task(
            self,
            {
                "snapshot.$": "$.built.snapshot",
                "terms": finding_terms,
                "execution.$": "$$.Execution.Id",
            },
            result_path="$.compared",
            on_failure=end,
        )
        compare.next(
            start_until_done(self, start_findings, {"input.$": "$.compared"}, on_failure=end)
        )
        is_first = (
            sfn.Choice(self, "First of its period?")
            .when(
                sfn.Condition.boolean_equals("$.listed.is_first", True),
                inventory.next(build).next(report).next(notify).next(compare),
            )
            .otherwise(sfn.Succeed(self, "Period already collected"))
        )
        self.workflow = Workflow(
            self,
            "Inventory",
            definition=accounts.next(is_first),
            log_group=log_group,
            functions=[
                list_accounts,
                collect_principals,
                read_last_accessed,
                classify_principals,
                build_snapshot,
                write_report,
                notify_inventory,
                compare_inventory,
                start_findings,
                record_run_function,
            ],
        )
        let_map_start_children(self.workflow, MAP_LABEL)

    def _account(
        self,
        terms: Mapping[str, Any],
        collect_principals: StepFunction,
        read_last_accessed: StepFunction,
        classify_principals: StepFunction,
    ) -> sfn.IChainable:
        """Return what is done for one account; BuildSnapshot finds out which of them failed."""
        collect = collect_principals.as_task(self, None)
        read = read_last_accessed.as_task(
            self, {"item.$": "$.item", "collected.$": "$.collected"}, result_path="$.read"
        )
        classify = classify_principals.as_task(
            self,
            {"item.$": "$.item", "collected.$": "$.collected", "terms": terms},
            leaves_nothing=True,
        )
        more = (
            sfn.Choice(self, "More to read?")
            .when(sfn.Condition.boolean_equals("$.read.is_done", False), read)
            .otherwise(classify)
        )
        return collect.next(
            # Done by an execution before this one, or nobody can enter it.
            sfn.Choice(self, "Account done?")
            .when(
                sfn.Condition.boolean_equals("$.is_done", True),
                sfn.Succeed(self, "Account ended", output_path=sfn.JsonPath.DISCARD),
            )
            .otherwise(read.next(more))
        )
