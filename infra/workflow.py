"""What every workflow has in common: its role, its logs, its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.nag import WILDCARD, explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction

# What Step Functions needs to write its own logs and traces; AWS takes no resource for these.
# https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
LOG_DELIVERY_ACTIONS = [
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
]
TRACING_ACTIONS = [
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
]


class Workflow(Construct):
    """A Standard state machine that may do exactly what its states do."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        definition: sfn.IChainable,
        log_group: logs.ILogGroup,
        functions: Sequence[StepFunction],
        starts: Sequence[sfn.IStateMachine] = (),
    ) -> None:
        super().__init__(scope, construct_id)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            ),
            description=f"Pare: the {construct_id.lower()} workflow",
        )
        self.role.add_to_policy(
            iam.PolicyStatement(
                sid="InvokeSteps",
                actions=["lambda:InvokeFunction"],
                resources=[function.function_arn for function in functions],
            )
        )
        if starts:
            self.role.add_to_policy(
                iam.PolicyStatement(
                    sid="StartWorkflows",
                    actions=["states:StartExecution"],
                    resources=[machine.state_machine_arn for machine in starts],
                )
            )
        self.role.add_to_policy(
            iam.PolicyStatement(
                sid="WriteLogsAndTraces",
                actions=[*LOG_DELIVERY_ACTIONS, *TRACING_ACTIONS],
                resources=["*"],  # AWS allows nothing narrower
            )
        )
        explain(
            self.role,
            WILDCARD,
            "Log delivery and X-Ray take no resource: AWS allows nothing narrower.",
            "Resource::*",
        )
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            definition_body=sfn.DefinitionBody.from_chainable(definition),
            # The role above is complete; CDK's own additions would bring wildcards.
            role=self.role.without_policy_updates(),
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False
            ),
        )
        self.state_machine.node.add_dependency(self.role)


def map_over_accounts(
    scope: Construct, construct_id: str, *, max_concurrency: int, label: str
) -> sfn.DistributedMap:
    """Return the map over the accounts of the manifest that the state ``listed`` names.

    A later step finds out which of them failed: one must not hide the others. What the children
    leave has to be nothing: all of it together may have 256 KiB, and a distributed map, unlike the
    other, fails with ``States.DataLimitExceeded`` although its own result is discarded.
    https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
    https://github.com/aws/aws-cdk/issues/24799
    """
    return sfn.DistributedMap(
        scope,
        construct_id,
        item_reader=sfn.S3JsonItemReader(
            bucket_name_path=sfn.JsonPath.string_at("$.listed.manifest.bucket"),
            key=sfn.JsonPath.string_at("$.listed.manifest.key"),
        ),
        max_concurrency=max_concurrency,
        tolerated_failure_percentage=100,
        map_execution_type=sfn.StateMachineType.STANDARD,
        label=label,
        result_path=sfn.JsonPath.DISCARD,
    )


def record_run(scope: Construct, function: StepFunction, *, workflow: str) -> sfn.IChainable:
    """Return the end of a workflow: the run record, then success or failure.

    Every failure comes here too, so that it is recorded and a person hears of it. A rejected run
    (a malformed event, a principal that is gone) is recorded and told, and ends well.
    """
    record = function.as_task(
        scope,
        {
            "workflow": workflow,
            "execution.$": "$$.Execution.Id",
            "started_at.$": "$$.Execution.StartTime",
            "state.$": "$",
        },
        result_path="$.run",
    )
    failed = sfn.Fail(scope, "Run failed", error_path="$.run.error", cause_path="$.run.message")
    return record.next(
        sfn.Choice(scope, "Run outcome?")
        .when(sfn.Condition.string_equals("$.run.outcome", "failed"), failed)
        .otherwise(sfn.Succeed(scope, "Run recorded"))
    )


def start_until_done(
    scope: Construct,
    start: StepFunction,
    payload: Mapping[str, Any],
    *,
    on_failure: sfn.IChainable,
) -> sfn.IChainable:
    """Return a step that starts executions, some at a time, until it says that it has no more.

    ``payload`` is its input beside ``state`` (how far it is: its own last result) and
    ``execution``. The end of it, good or bad, is ``on_failure``.
    """
    started = start.as_task(
        scope,
        {**payload, "state.$": "$", "execution.$": "$$.Execution.Id"},
        result_path="$.started",
        on_failure=on_failure,
    )
    started.next(
        sfn.Choice(scope, "More to start?")
        .when(sfn.Condition.boolean_equals("$.started.has_more", True), started)
        .otherwise(on_failure)
    )
    return started


def let_map_start_children(workflow: Workflow, label: str) -> None:
    """Give the role CDK's own policy for a map's children, and say why it has wildcards.

    CDK cannot: to it, the role is complete. It names the state machine, so it comes after it.
    https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
    """
    machine = workflow.state_machine
    policy = cast("iam.Policy", machine.node.find_child("DistributedMapPolicy"))
    policy.attach_to_role(workflow.role)
    stack = Stack.of(workflow)
    name = stack.split_arn(machine.state_machine_arn, ArnFormat.COLON_RESOURCE_NAME)
    for suffix in (":*", f"/{label}:*"):
        executions = stack.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{name.resource_name}{suffix}",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        explain(
            policy,
            WILDCARD,
            "The map's own children; named at run time.",
            f"Resource::{executions}",
        )
