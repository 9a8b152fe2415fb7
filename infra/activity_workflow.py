"""WORKFLOW: what every principal did, from the organization trail's log files, every night."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, let_map_start_children, map_over_accounts, record_run

if TYPE_CHECKING:
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# Each account is one function at a time. The bound is for S3, which gives each prefix, and so each
# account, thousands of reads a second, and for the account's own limit of functions side by side.
ACCOUNTS_AT_ONCE = 50
# Stands in the ARNs of the map's children, so that the role can name them.
MAP_LABEL = "Logs"


class ActivityWorkflow(Construct):
    """State machine: list logs, digest and merge each account's, count; again until all is read."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        list_logs: StepFunction,
        digest_logs: StepFunction,
        merge_activity: StepFunction,
        count_activity: StepFunction,
        record_run_function: StepFunction,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="activity")
        listed = list_logs.as_task(
            self,
            {"state.$": "$", "execution.$": "$$.Execution.Id"},
            result_path="$.listed",
            on_failure=end,
        )
        read = self._read(digest_logs, merge_activity)
        read.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        counted = count_activity.as_task(
            self,
            {"listed.$": "$.listed", "state.$": "$", "execution.$": "$$.Execution.Id"},
            result_path="$.counted",
            on_failure=end,
        )
        is_done = (
            sfn.Choice(self, "More to read?")
            .when(sfn.Condition.boolean_equals("$.counted.has_more", True), listed)
            .otherwise(end)
        )
        self.workflow = Workflow(
            self,
            "Activity",
            definition=listed.next(read).next(counted).next(is_done),
            log_group=log_group,
            functions=[
                list_logs,
                digest_logs,
                merge_activity,
                count_activity,
                record_run_function,
            ],
        )
        let_map_start_children(self.workflow, MAP_LABEL)

    def _read(self, digest_logs: StepFunction, merge_activity: StepFunction) -> sfn.DistributedMap:
        """Return the map over accounts; CountActivity finds out which of them failed."""
        read = map_over_accounts(
            self, "Read accounts", max_concurrency=ACCOUNTS_AT_ONCE, label=MAP_LABEL
        )
        # Nothing is selected for either step: an account of the manifest has no "digested" at
        # first, and a path that leads nowhere would end the child.
        digest = digest_logs.as_task(self, None, result_path="$.digested")
        merge = merge_activity.as_task(self, None, result_path="$.merged", leaves_nothing=True)
        # Another run was faster with some of the same files: the account begins again.
        merge.add_catch(digest, errors=["ActivityConflictError"], result_path="$.digested")
        is_read = (
            sfn.Choice(self, "Account read?")
            .when(sfn.Condition.boolean_equals("$.digested.is_complete", True), merge)
            .otherwise(digest)
        )
        read.item_processor(digest.next(is_read))
        return read
