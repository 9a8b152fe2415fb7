"""WORKFLOW: every user and role of every account, once a month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, let_map_start_children, map_over_accounts, record_run

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# IAM's limits are per account, so accounts side by side do not slow each other; the bound is for
# STS and for people who watch it.
ACCOUNTS_AT_ONCE = 20
# Stands in the ARNs of the map's children, so that the role can name them.
MAP_LABEL = "Accounts"


class InventoryWorkflow(Construct):
    """State machine: list accounts, collect each one's principals, build the snapshot, notify."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        list_accounts: StepFunction,
        collect_principals: StepFunction,
        build_snapshot: StepFunction,
        notify_inventory: StepFunction,
        record_run_function: StepFunction,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="inventory")
        accounts = list_accounts.as_task(
            self,
            {"input.$": "$", "execution.$": "$$.Execution.Id"},
            result_path="$.listed",
            on_failure=end,
        )
        collect = self._collect(collect_principals)
        collect.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        build = build_snapshot.as_task(
            self,
            {
                "period.$": "$.listed.period",
                "prefix.$": "$.listed.prefix",
                "accounts_prefix.$": "$.listed.accounts_prefix",
                "manifest.$": "$.listed.manifest",
            },
            result_path="$.built",
            on_failure=end,
        )
        notify = notify_inventory.as_task(
            self,
            {"snapshot.$": "$.built.snapshot", "execution.$": "$$.Execution.Id"},
            result_path="$.notified",
            on_failure=end,
        )
        is_first = (
            sfn.Choice(self, "First of its period?")
            .when(
                sfn.Condition.boolean_equals("$.listed.is_first", True),
                collect.next(build).next(notify).next(end),
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
                build_snapshot,
                notify_inventory,
                record_run_function,
            ],
        )
        let_map_start_children(self.workflow, MAP_LABEL)

    def _collect(self, collect_principals: StepFunction) -> sfn.DistributedMap:
        """Return the map over accounts; BuildSnapshot finds out which of them failed."""
        collect = map_over_accounts(
            self, "Collect accounts", max_concurrency=ACCOUNTS_AT_ONCE, label=MAP_LABEL
        )
        collect.item_processor(collect_principals.as_task(self, None))
        return collect
