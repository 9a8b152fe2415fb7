"""LAMBDA: the one place that sets runtime, architecture, logs, tracing and environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks

from infra.member_access import MEMBER_CALLERS, TRAIL_READERS, caller_role_name
from infra.nag import WILDCARD, explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from constructs import Construct

RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64

# Lambda's own passing errors, a process that died under its work (every step may run twice), and
# ours for a throttled or failing AWS.
# https://docs.aws.amazon.com/step-functions/latest/dg/bp-lambda-serviceexception.html
PASSING_ERRORS = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "ThrottledError",
    "AwsServiceError",
]


def pascal(name: str) -> str:
    """Return ``NormalizeFinding`` for ``normalize_finding``: the construct id of a step."""
    return "".join(word.capitalize() for word in name.split("_"))


def sentence(name: str) -> str:
    """Return ``Normalize finding`` for ``normalize_finding``: the state name of a step."""
    return name.replace("_", " ").capitalize()


@dataclass(frozen=True, slots=True)
class FunctionDefaults:
    """What every function has in common."""

    code: lambda_.Code
    log_retention: logs.RetentionDays


class StepFunction(lambda_.Function):
    """One step of a workflow: module ``lambdas.<folder>.<step>``, its own role and log group."""

    def __init__(
        self,
        scope: Construct,
        folder: str,
        step: str,
        *,
        defaults: FunctionDefaults,
        environment: Mapping[str, str] | None = None,
        timeout: cdk.Duration | None = None,
        memory_mb: int = 512,
    ) -> None:
        name = pascal(step)
        log_group = logs.LogGroup(
            scope,
            f"{name}Logs",
            retention=defaults.log_retention,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            scope,
            f"{name}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            role_name=(caller_role_name(name) if name in MEMBER_CALLERS + TRAIL_READERS else None),
            description=f"Pare: the function {name}",
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="WriteOwnLogs",
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                # The streams of its own log group; a log group's ARN ends in ":*" to name them.
                resources=[log_group.log_group_arn],
            )
        )
        super().__init__(
            scope,
            name,
            runtime=RUNTIME,
            architecture=ARCHITECTURE,
            handler=f"lambdas.{folder}.{step}.lambda_handler",
            code=defaults.code,
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            timeout=timeout or cdk.Duration.seconds(60),
            memory_size=memory_mb,
            environment={
                "POWERTOOLS_SERVICE_NAME": "pare",
                "POWERTOOLS_METRICS_NAMESPACE": "Pare",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **(environment or {}),
            },
        )
        self.step = step
        self.step_role = role
        explain(
            role, WILDCARD, "X-Ray takes no resource: AWS allows nothing narrower.", "Resource::*"
        )

    def allow(self, sid: str, actions: list[str], resources: list[str], **conditions: Any) -> None:
        """Let the function do exactly these actions on exactly these resources."""
        self.step_role.add_to_policy(
            iam.PolicyStatement(
                sid=sid, actions=actions, resources=resources, conditions=conditions or None
            )
        )

    def as_task(
        self,
        scope: Construct,
        payload: Mapping[str, Any] | None,
        *,
        result_path: str | None = None,
        on_failure: sfn.IChainable | None = None,
        retry_later: list[str] | None = None,
        leaves_nothing: bool = False,
    ) -> tasks.LambdaInvoke:
        """Return the state of this step, named as its file: retries with jitter, failures caught.

        ``payload`` is the function's input (None: the whole state). ``retry_later`` names errors
        that pass in minutes to hours rather than seconds. ``leaves_nothing``: its output is empty.
        """
        task = tasks.LambdaInvoke(
            scope,
            sentence(self.step),
            lambda_function=self,
            payload=sfn.TaskInput.from_object(dict(payload)) if payload is not None else None,
            payload_response_only=True,
            retry_on_service_exceptions=False,
            result_path=result_path,
            output_path=sfn.JsonPath.DISCARD if leaves_nothing else None,
            task_timeout=sfn.Timeout.duration(
                cdk.Duration.seconds((self.timeout or cdk.Duration.seconds(60)).to_seconds() + 30)
            ),
        )
        task.add_retry(
            errors=PASSING_ERRORS,
            interval=cdk.Duration.seconds(2),
            backoff_rate=2,
            max_attempts=6,
            max_delay=cdk.Duration.seconds(60),
            jitter_strategy=sfn.JitterType.FULL,
        )
        if retry_later:
            task.add_retry(
                errors=retry_later,
                interval=cdk.Duration.minutes(4),
                backoff_rate=1.5,
                max_attempts=8,
                max_delay=cdk.Duration.hours(1),
                jitter_strategy=sfn.JitterType.FULL,
            )
        if on_failure is not None:
            task.add_catch(on_failure, errors=["States.ALL"], result_path="$.failure")
        return task
