"""WORKFLOW: one event of Access Analyzer (or of ours), from the event to who hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run
from pare.findings import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_dynamodb as dynamodb
    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# A second start under the name of an execution that has ended, or that has another input, says
# this; under the name and with the input of one that runs, it just answers with that one.
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
ALREADY_STARTED = ["StepFunctions.ExecutionAlreadyExistsException"]
RETRY: Mapping[str, Any] = {
    "IntervalSeconds": 2,
    "BackoffRate": 2,
    "MaxAttempts": 6,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}


class FindingWorkflow(Construct):
    """State machine: normalize; a finding is enriched and recorded, and starts what follows of it.

    What follows: its archiving where it is meant, a proposed policy, and, once no more events are
    likely to come, a round of the notification workflow: one a minute, whatever the flood. An
    access preview is told, and a call that archived something is recorded. A finding that cannot be
    enriched is recorded as it came, and says so. Of the doctor's test event it is noted that it
    arrived, and nothing else: no card, no message, no run record, whoever sends how many of them.

    ``policy_workflow`` and ``notification_workflow``: the state machines that are started;
    ``runs_table``, encrypted with ``key``: where test events are noted. Its role gets the rights
    here. ``terms``: ``settings.finding_terms()``.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        normalize_finding: StepFunction,
        enrich_finding: StepFunction,
        record_finding: StepFunction,
        archive_finding: StepFunction,
        notify_preview: StepFunction,
        record_archiver: StepFunction,
        record_run_function: StepFunction,
        terms: Mapping[str, Any],
        policy_workflow: sfn.IStateMachine,
        notification_workflow: sfn.IStateMachine,
        runs_table: dynamodb.ITable,
        key: kms.IKey,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="finding")
        normalize = normalize_finding.as_task(
            self, None, result_path="$.normalized", on_failure=end
        )
        # So that the run record names it, whatever fails from here on.
        keep = sfn.Pass(
            self, "Take finding", input_path="$.normalized.finding", result_path="$.finding"
        )
        enrich = enrich_finding.as_task(
            self,
            {"finding.$": "$.finding", "terms": terms},
            result_path="$.finding",
        )
        record = record_finding.as_task(
            self,
            {"finding.$": "$.finding", "execution.$": "$$.Execution.Id", "terms": terms},
            result_path="$.recorded",
            on_failure=end,
        )
        # Whoever fails there, people hear of the finding.
        enrich.add_catch(record, errors=["States.ALL"], result_path="$.finding.enrich_failure")
        archive = archive_finding.as_task(
            self,
            {"finding.$": "$.finding", "exemption.$": "$.recorded.exemption"},
            result_path="$.archived",
            on_failure=end,
        )
        preview = notify_preview.as_task(
            self,
            {"preview.$": "$.normalized.preview"},
            result_path="$.notified",
            on_failure=end,
        )
        archiver = record_archiver.as_task(
            self,
            {"call.$": "$.normalized.call"},
            result_path="$.archiver",
            on_failure=end,
            retry_later=["FindingNotRecordedError"],
        )
        tell = self._tell_when_settled(notification_workflow, end)
        policy = self._start_policy(policy_workflow, end, then=tell)
        is_policy_wanted = (
            sfn.Choice(self, "Policy wanted?")
            .when(sfn.Condition.boolean_equals("$.recorded.start_policy", True), policy)
            .otherwise(tell)
        )
        is_meant = (
            sfn.Choice(self, "Meant?")
            .when(
                sfn.Condition.boolean_equals("$.recorded.should_archive", True),
                archive.next(is_policy_wanted),
            )
            .otherwise(is_policy_wanted)
        )
        checked = self._record_check(runs_table, end)
        what = (
            sfn.Choice(self, "What came?")
            .when(sfn.Condition.string_equals("$.normalized.kind", "preview"), preview.next(end))
            .when(sfn.Condition.string_equals("$.normalized.kind", "call"), archiver.next(end))
            .when(sfn.Condition.string_equals("$.normalized.kind", "check"), checked)
            .otherwise(keep.next(enrich).next(record).next(is_meant))
        )
        self.workflow = Workflow(
            self,
            "Finding",
            definition=normalize.next(what),
            log_group=log_group,
            functions=[
                normalize_finding,
                enrich_finding,
                record_finding,
                archive_finding,
                notify_preview,
                record_archiver,
                record_run_function,
            ],
            starts=[policy_workflow, notification_workflow],
        )
        self._let_record_checks(runs_table, key)

    def _record_check(self, runs_table: dynamodb.ITable, end: sfn.IChainable) -> sfn.IChainable:
        """Return the states that note the arrival of the doctor's test event, for a day.

        A service integration: a function would only forward. The same event again is the same
        item. https://docs.aws.amazon.com/step-functions/latest/dg/connect-ddb.html
        """
        record = sfn.CustomState(
            self,
            "Record check",
            state_json={
                "Type": "Task",
                "Resource": f"arn:{Stack.of(self).partition}:states:::dynamodb:putItem",
                "Parameters": {
                    "TableName": runs_table.table_name,
                    "Item": {
                        "workflow": {"S": check.KIND},
                        "run_id": {"S.$": "$.normalized.check.check_id"},
                        "region": {"S.$": "$.normalized.check.region"},
                        "arrived_at": {"S.$": "$$.State.EnteredTime"},
                        "expires_at": {"N.$": "$.normalized.check.expires_at"},
                    },
                },
                "ResultPath": "$.checked",
                "Retry": [{"ErrorEquals": ["States.TaskFailed"], **RETRY}],
            },
        )
        record.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        return record.next(sfn.Succeed(self, "Check recorded"))

    def _let_record_checks(self, runs_table: dynamodb.ITable, key: kms.IKey) -> None:
        role = self.workflow.role
        role.add_to_policy(
            iam.PolicyStatement(
                sid="RecordChecks",
                actions=["dynamodb:PutItem"],
                resources=[runs_table.table_arn],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [check.KIND]}},
            )
        )
        # What AWS asks of whoever uses a table with a customer managed key.
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        role.add_to_policy(
            iam.PolicyStatement(
                sid="UseKeyOfTables",
                actions=[
                    "kms:Decrypt",
                    "kms:DescribeKey",
                    "kms:Encrypt",
                    "kms:GenerateDataKey",
                    "kms:ReEncryptFrom",
                    "kms:ReEncryptTo",
                ],
                resources=[key.key_arn],
                # In China the name may end in ".cn"; AWS's pages do not say.
                conditions={
                    "StringLike": {
                        "kms:ViaService": f"dynamodb.{Stack.of(self).region}.amazonaws.com*"
                    }
                },
            )
        )

    def _start_policy(
        self, workflow: sfn.IStateMachine, end: sfn.IChainable, *, then: sfn.IChainable
    ) -> sfn.IChainable:
        """Return the state that starts the policy workflow, once for a principal and cool-down."""
        return self._start(
            "Start policy workflow",
            workflow,
            name="$.recorded.policy_execution_name",
            arguments={
                "principal_arn.$": "$.finding.resource",
                "finding_id.$": "$.finding.finding_id",
            },
            result_path="$.policy_workflow",
            end=end,
            then=then,
        )

    def _tell_when_settled(
        self, workflow: sfn.IStateMachine, end: sfn.IChainable
    ) -> sfn.IChainable:
        """Return the states that wait for the minute of a round, if any, and start that round.

        The name of the round is its minute's: all findings of that minute start the same one.
        Whatever is lost here, the hourly round finds: the card says since when it is due.
        https://docs.aws.amazon.com/step-functions/latest/dg/state-wait.html
        """
        wait = sfn.Wait(
            self,
            "Wait until settled",
            time=sfn.WaitTime.timestamp_path("$.recorded.notify_at"),
        )
        start = self._start(
            "Start notification workflow",
            workflow,
            name="$.recorded.notification_name",
            arguments={"as_of.$": "$.recorded.notify_at", "kind": "news"},
            result_path="$.notification_workflow",
            end=end,
            then=end,
        )
        return (
            sfn.Choice(self, "Urgent?")
            .when(sfn.Condition.string_equals("$.recorded.notify_at", ""), end)
            .otherwise(wait.next(start))
        )

    def _start(
        self,
        state_name: str,
        workflow: sfn.IStateMachine,
        *,
        name: str,
        arguments: Mapping[str, Any],
        result_path: str,
        end: sfn.IChainable,
        then: sfn.IChainable,
    ) -> sfn.CustomState:
        """Return a state that starts an execution; a second start under its name is harmless.

        A service integration: a function would only forward. ``name``: the path of the execution's
        name, made of what it is about. ``then`` follows, also where it had been started before.
        """
        state = sfn.CustomState(
            self,
            state_name,
            state_json={
                "Type": "Task",
                "Resource": f"arn:{Stack.of(self).partition}:states:::states:startExecution",
                "Parameters": {
                    "StateMachineArn": workflow.state_machine_arn,
                    "Name.$": name,
                    "Input": dict(arguments),
                },
                "ResultPath": result_path,
                "Retry": [
                    {"ErrorEquals": ALREADY_STARTED, "MaxAttempts": 0},
                    # Throttling has many names; a start under a known name is harmless.
                    {"ErrorEquals": ["States.TaskFailed"], **RETRY},
                ],
            },
        )
        state.add_catch(then, errors=ALREADY_STARTED, result_path=result_path)
        state.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        state.next(then)
        return state
