"""Step Functions, EventBridge rules and schedules act with their roles, as in AWS.

ministack performs the calls of a state machine, and the deliveries of a rule or schedule, without
any check. Here each is checked with ministack's evaluator for the role's session first. A missing
right fails the task with AWS's error name, or sends the event to the target's dead-letter queue.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.core.arn import parse_arn
from ministack.core.iam_actions import SERVICE_TO_IAM_NAMESPACE
from ministack.services import eventbridge, lambda_svc, scheduler, sns, sqs, stepfunctions

from local.emulator import event_buses, key_permissions, upstream
from local.emulator.authorization import (
    Role,
    principal_of_role,
    role_denied,
    service_denied,
)
from local.emulator.shapes import service_model

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("pare.workflow_roles")


_actor: contextvars.ContextVar[Role | None] = contextvars.ContextVar("pare_actor", default=None)


def apply() -> None:
    """Put the checks in place."""
    executions_run_as_their_role()
    tasks_are_authorized()
    distributed_maps_are_authorized()
    deliveries_are_authorized()
    schedules_are_looked_at_every_second()


# Step Functions


def executions_run_as_their_role() -> None:
    """Every task of an execution acts with the state machine's role.

    Step Functions developer guide, procedure-create-iam-role: the service assumes the role, which
    must trust states.amazonaws.com.
    """
    run_execution = stepfunctions._run_execution

    def run(execution_arn: str) -> None:
        execution = stepfunctions._executions.get(execution_arn) or {}
        machine = stepfunctions._state_machines.get(execution.get("stateMachineArn")) or {}
        name = str(execution.get("name", ""))
        token = _actor.set(Role(str(machine.get("roleArn", "")), name))
        try:
            run_execution(execution_arn)
        finally:
            _actor.reset(token)

    stepfunctions._run_execution = run


def tasks_are_authorized() -> None:
    """A task whose role lacks a permission fails with the error name AWS gives.

    Step Functions developer guide, concepts-error-handling and connect-ddb (prefixes); the names of
    the denials themselves are from memory of AWS SDK for Java 1 exceptions, which the optimized
    integrations carry: Lambda.AWSLambdaException, DynamoDB.AmazonDynamoDBException,
    SNS.AuthorizationErrorException, SQS.AmazonSQSException and
    StepFunctions.AWSStepFunctionsException.
    """
    invoke, invoke_with_callback = (
        stepfunctions._invoke_resource,
        stepfunctions._invoke_with_callback,
    )
    execute_task = stepfunctions._execute_task

    def invoke_resource(resource: str, input_data: Any) -> Any:
        _authorize_task(resource, input_data)
        return invoke(resource, input_data)

    def with_callback(resource: str, input_data: Any, token: str, state_def: dict[str, Any]) -> Any:
        _authorize_task(resource.replace(".waitForTaskToken", ""), input_data)
        return invoke_with_callback(resource, input_data, token, state_def)

    def task(state_def: dict[str, Any], raw_input: Any, execution: Any, ctx: Any) -> Any:
        if "Credentials" in state_def:
            # ministack would run the task without assuming the role: a pass that means nothing.
            raise stepfunctions._ExecutionError(
                "States.Runtime", "The emulator does not support Credentials in a Task state."
            )
        return execute_task(state_def, raw_input, execution, ctx)

    stepfunctions._invoke_resource = invoke_resource
    stepfunctions._invoke_with_callback = with_callback
    stepfunctions._execute_task = task


def _authorize_task(resource: str, input_data: Any) -> None:
    actor = _actor.get()
    if actor is None:
        return
    for action, target, error in _needs(
        resource, input_data if isinstance(input_data, dict) else {}
    ):
        message = _trust_problem(actor, "states.amazonaws.com") or role_denied(
            actor, action, target
        )
        if message is not None:
            raise stepfunctions._ExecutionError(error, message)
        message = _key_denied(actor, action, target)
        if message is not None:
            raise stepfunctions._ExecutionError(_KEY_ERRORS.get(error, error), message)


# SNS has an error of its own for a topic whose key may not be used.
_KEY_ERRORS = {
    "Sns.AuthorizationErrorException": "Sns.KmsAccessDeniedException",
    "SNS.AuthorizationErrorException": "SNS.KMSAccessDeniedException",
}


def _key_denied(actor: Role, action: str, target: str) -> str | None:
    """Return why the role may not use the key of an encrypted table, topic or queue, or None."""
    principal = principal_of_role(actor)
    found = {
        "dynamodb": (key_permissions.table_key, ("kms:Decrypt",)),
        "sns": (key_permissions.topic_key, key_permissions.SEND),
        "sqs": (key_permissions.queue_key, key_permissions.SEND),
    }.get(action.partition(":")[0])
    if principal is None or found is None or target.count(":") < 5:
        return None
    key_of, actions = found
    if action.startswith("dynamodb:") and action.partition(":")[2] not in key_permissions.ITEMS:
        return None
    service = action.partition(":")[0]
    return key_permissions.denied(principal, actions, key_of(target), service)


def _trust_problem(actor: Role, service: str) -> str | None:
    role = upstream.role_by_arn(actor.arn)
    # Step Functions names the account whose state machine it runs (confused-deputy protection).
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
    context = {"aws:SourceAccount": responses.get_account_id()}
    if role is not None and upstream.service_may_assume(role, service, context):
        return None
    return f"The role {actor.arn} is not authorized to be assumed by the service {service}."


def _needs(resource: str, data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (action, resource, error name of a denial) of a task, none for an activity."""
    function = stepfunctions._extract_lambda_ref(resource)
    if "states:::lambda:invoke" in resource:
        function = str(data.get("FunctionName", ""))
    if function:
        return [("lambda:InvokeFunction", _function_arn(function), "Lambda.AWSLambdaException")]
    found = re.match(r"arn:aws:states:::(aws-sdk:)?([^:]+):([^.:]+)", resource)
    if found is None:
        return []
    sdk, service, name = found.groups()
    if sdk:
        return _sdk_needs(service.lower(), name, data)
    needs = _OPTIMIZED.get((service, name))
    return [] if needs is None else needs(resource, data)


def _dynamodb_needs(name: str) -> Callable[[str, dict[str, Any]], list[tuple[str, str, str]]]:
    action = f"dynamodb:{name[0].upper()}{name[1:]}"

    def needs(_: str, data: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [
            (action, _arn("dynamodb", f"table/{_table(data)}"), "DynamoDB.AmazonDynamoDBException")
        ]

    return needs


def _start_needs(resource: str, data: dict[str, Any]) -> list[tuple[str, str, str]]:
    machine = str(data.get("StateMachineArn", ""))
    error = "StepFunctions.AWSStepFunctionsException"
    needs = [("states:StartExecution", machine, error)]
    if ".sync" in resource:
        # The guide's policy for .sync also has StopExecution and an EventBridge managed rule.
        executions = machine.replace(":stateMachine:", ":execution:") + ":*"
        needs.append(("states:DescribeExecution", executions, error))
    return needs


def _put_events_needs(_: str, data: dict[str, Any]) -> list[tuple[str, str, str]]:
    buses = sorted({str(e.get("EventBusName", "default")) for e in data.get("Entries", [])})
    return [
        (
            "events:PutEvents",
            bus if bus.startswith("arn:") else _arn("events", f"event-bus/{bus}"),
            "EventBridge.AmazonEventBridgeException",
        )
        for bus in buses
    ]


_OPTIMIZED: dict[tuple[str, str], Callable[[str, dict[str, Any]], list[tuple[str, str, str]]]] = {
    ("sns", "publish"): lambda _, data: [
        (
            "sns:Publish",
            str(data.get("TopicArn") or data.get("TargetArn") or "*"),
            "SNS.AuthorizationErrorException",
        )
    ],
    ("sqs", "sendMessage"): lambda _, data: [
        (
            "sqs:SendMessage",
            upstream.queue_arn(str(data.get("QueueUrl", ""))),
            "SQS.AmazonSQSException",
        )
    ],
    ("states", "startExecution"): _start_needs,
    ("events", "putEvents"): _put_events_needs,
    ("ecs", "runTask"): lambda _, data: [
        ("ecs:RunTask", str(data.get("TaskDefinition", "*")), "ECS.AmazonECSException")
    ],
    **{
        ("dynamodb", name): _dynamodb_needs(name)
        for name in ("getItem", "putItem", "updateItem", "deleteItem")
    },
}


def _sdk_needs(service: str, name: str, data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return what an AWS SDK integration needs.

    The error is the service's own AccessDeniedException where its model has one, else its base
    exception, as the AWS SDK for Java 2 throws.
    """
    info = stepfunctions._AWS_SDK_SERVICE_MAP.get(service) or {}
    key = info.get("service_key", service)
    namespace = SERVICE_TO_IAM_NAMESPACE.get(key, key)
    pascal = name[0].upper() + name[1:]
    prefix = stepfunctions._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize())
    error = f"{prefix}.{prefix}Exception"
    if _has_access_denied(service):
        error = f"{prefix}.AccessDeniedException"
    if service == "sns":
        error = "Sns.AuthorizationErrorException"
    actions = {
        "s3": {
            "ListObjectsV2": "ListBucket",
            "ListObjects": "ListBucket",
            "HeadObject": "GetObject",
        },
        "lambda": {"Invoke": "InvokeFunction"},
    }
    action = f"{namespace}:{actions.get(namespace, {}).get(pascal, pascal)}"
    return [(action, _sdk_resource(namespace, data), error)]


def _has_access_denied(service: str) -> bool:
    try:
        return (
            "AccessDeniedException" in service_model(_BOTO_NAMES.get(service, service)).shape_names
        )
    except Exception:
        return False


_BOTO_NAMES = {
    "sfn": "stepfunctions",
    "eventbridge": "events",
    "cloudwatchlogs": "logs",
    "rdsdata": "rds-data",
}


def _sdk_resource(namespace: str, data: dict[str, Any]) -> str:
    """Return the resource an SDK call names: an ARN in its parameters, or one made of its name."""
    if namespace == "s3" and "Bucket" in data:
        bucket, key = data["Bucket"], data.get("Key")
        return f"arn:aws:s3:::{bucket}/{key}" if key is not None else f"arn:aws:s3:::{bucket}"
    if namespace == "dynamodb":
        return _arn("dynamodb", f"table/{_table(data)}") if "TableName" in data else "*"
    if namespace == "sqs" and "QueueUrl" in data:
        return upstream.queue_arn(str(data["QueueUrl"]))
    if namespace == "lambda" and "FunctionName" in data:
        return _function_arn(str(data["FunctionName"]))
    if namespace == "iam" and "RoleName" in data:
        return f"arn:aws:iam::{responses.get_account_id()}:role/{data['RoleName']}"
    for name, value in sorted(data.items()):
        if name.endswith("Arn") and isinstance(value, str) and value.startswith("arn:"):
            return value
    return "*"


def _table(data: dict[str, Any]) -> str:
    return str(data.get("TableName", "")).rpartition("table/")[2]


def _arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{responses.get_region()}:{responses.get_account_id()}:{rest}"


def _function_arn(reference: str) -> str:
    if reference.startswith("arn:"):
        return reference
    return _arn("lambda", f"function:{reference}")


def distributed_maps_are_authorized() -> None:
    """A Distributed Map starts its children, and reads its items, with the state machine's role.

    Step Functions developer guide, iam-policies-eg-dist-map: states:StartExecution on the state
    machine itself, and s3:GetObject or s3:ListBucket for the ItemReader. A denied reader fails with
    States.ItemReaderFailed; the name for a denied start is from memory.
    """
    run_map, read_items = stepfunctions._run_distributed_map, stepfunctions._read_map_items

    def distributed_map(
        state_def: Any, raw_input: Any, effective: Any, iterator: Any, execution: Any, ctx: Any
    ) -> Any:
        actor = _actor.get()
        if actor is not None:
            machine = execution["stateMachineArn"].partition("/")[0]
            message = role_denied(actor, "states:StartExecution", machine)
            if message is not None:
                raise stepfunctions._ExecutionError("States.TaskFailed", message)
        return run_map(state_def, raw_input, effective, iterator, execution, ctx)

    def map_items(reader: dict[str, Any], effective: Any, ctx: Any) -> Any:
        actor = _actor.get()
        if actor is not None:
            params = stepfunctions._resolve_params_obj(
                reader.get("Parameters") or reader.get("Arguments") or {}, effective, ctx
            )
            bucket = f"arn:aws:s3:::{params.get('Bucket')}"
            if str(reader.get("Resource", "")).endswith("listObjectsV2"):
                context = {"s3:prefix": params.get("Prefix", "")}
                message = role_denied(actor, "s3:ListBucket", bucket, context)
            else:
                message = role_denied(actor, "s3:GetObject", f"{bucket}/{params.get('Key')}")
            if message is not None:
                raise stepfunctions._ExecutionError("States.ItemReaderFailed", message)
        return read_items(reader, effective, ctx)

    stepfunctions._run_distributed_map = distributed_map
    stepfunctions._read_map_items = map_items


# EventBridge rules and schedules


def deliveries_are_authorized() -> None:
    """A rule or schedule delivers with its role or by the target's policy; else to the queue.

    EventBridge user guide, eb-use-identity-based and eb-use-resource-based: state machines and
    event buses need a role with states:StartExecution or events:PutEvents; Lambda, SNS and SQS
    targets without a role need a resource policy for events.amazonaws.com. eb-rule-dlq: an event
    that cannot be delivered for lack of permissions is not retried and goes to the dead-letter
    queue. Scheduler user guide, setting-up: every target needs the schedule's role.
    """
    invoke_target = eventbridge._invoke_target

    def deliver(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
        problem = _delivery_problem(target, rule)
        if _is_schedule(rule):
            target = _with_schedule_context(target, rule, event)
        if problem is None:
            invoke_target(target, event, rule, view)
            return
        logger.warning("event not delivered to %s: %s", target.get("Arn"), problem)
        view = view or eventbridge._pattern_event_view(event)
        _to_dead_letters(target, rule, json.dumps(view.event_with_detail()), problem)

    eventbridge._invoke_target = deliver


_TARGET_ACTIONS = {
    "states": "states:StartExecution",
    "events": "events:PutEvents",
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
}


def _is_schedule(rule: dict[str, Any]) -> bool:
    return str(rule.get("Arn", "")).split(":")[2:3] == ["scheduler"]


def _with_schedule_context(
    target: dict[str, Any], rule: dict[str, Any], event: dict[str, Any]
) -> dict[str, Any]:
    """Return the target with the context attributes of its input replaced.

    Scheduler user guide, managing-schedule-context-attributes. ministack delivers them as written.
    """
    text = target.get("Input")
    if not text or "<aws.scheduler." not in text:
        return target
    moment = datetime.fromtimestamp(event.get("Time") or 0, UTC)
    values = {
        "schedule-arn": str(rule.get("Arn", "")),
        "scheduled-time": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "execution-id": str(event.get("EventId", "")),
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return {**target, "Input": text}


def _delivery_problem(target: dict[str, Any], rule: dict[str, Any]) -> str | None:
    """Return why the target may not be reached, or None."""
    arn = str(target.get("Arn", ""))
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    action = _TARGET_ACTIONS.get(service)
    if action is None or "api-destination/" in arn:
        return None
    principal = "scheduler.amazonaws.com" if _is_schedule(rule) else "events.amazonaws.com"
    role_arn = target.get("RoleArn") or rule.get("RoleArn")
    if role_arn:
        actor = Role(str(role_arn), str(rule.get("Name", "rule"))[:64])
        role = upstream.role_by_arn(actor.arn)
        context = {
            "aws:SourceAccount": responses.get_account_id(),
            "aws:SourceArn": rule.get("Arn", ""),
        }
        if role is None or not upstream.service_may_assume(role, principal, context):
            return f"The role {role_arn} is not authorized to be assumed by {principal}."
        if service == "events":
            return event_buses.problem(arn, actor)
        return role_denied(actor, action, arn) or _key_denied(actor, action, arn)
    if service in {"states"} or _is_schedule(rule):
        return f"The target {arn} needs a role."
    if service == "events":
        # Required for other accounts; in the same account and Region the bus policy is not asked.
        return None
    return _resource_policy_problem(service, arn, action, principal, rule)


def _resource_policy_problem(
    service: str, arn: str, action: str, principal: str, rule: dict[str, Any]
) -> str | None:
    lookups = {
        "lambda": lambda_svc.function_policy_for_arn,
        "sqs": sqs.queue_policy_for_arn,
        "sns": sns.topic_policy_for_arn,
    }
    found = lookups[service](arn)
    if found is None:
        return None  # the target does not exist: ministack drops the event itself
    context = {
        "aws:SourceArn": str(rule.get("Arn", "")),
        "aws:SourceAccount": responses.get_account_id(),
    }
    if service_denied(principal, action, arn, found[0], context):
        return f"The resource policy of {arn} does not allow {principal} to perform {action}."
    keys = {"sqs": key_permissions.queue_key, "sns": key_permissions.topic_key}
    key = keys[service](arn) if service in keys else None
    if key is not None and key_permissions.service_denied(principal, key):
        return f"The policy of key {key.arn} does not let {principal} use it for {arn}."
    return None


def _to_dead_letters(target: dict[str, Any], rule: dict[str, Any], body: str, problem: str) -> None:
    queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not queue_arn:
        return
    schedule = _is_schedule(rule)
    if schedule:
        role_arn = str(target.get("RoleArn") or rule.get("RoleArn") or "")
        refused = role_denied(Role(role_arn, "scheduler"), "sqs:SendMessage", queue_arn)
    else:
        refused = _resource_policy_problem(
            "sqs", queue_arn, "sqs:SendMessage", "events.amazonaws.com", rule
        )
    if refused is not None:
        logger.warning("event lost: dead-letter queue: %s", refused)
        return
    queue = sqs._queue_by_arn(queue_arn)
    if queue is None:
        logger.warning("event lost: no dead-letter queue %s", queue_arn)
        return
    # eb-rule-dlq: the attributes of a dead letter.
    attributes = {
        "SCHEDULE_ARN" if schedule else "RULE_ARN": str(rule.get("Arn", "")),
        "TARGET_ARN": str(target.get("Arn", "")),
        "ERROR_CODE": "NO_PERMISSIONS",
        "ERROR_MESSAGE": problem,
    }
    eventbridge._dispatch_to_sqs(parse_arn(queue_arn), body)
    queue["messages"][-1]["message_attributes"] = {
        name: {"DataType": "String", "StringValue": value or "-"}
        for name, value in attributes.items()
    }


def schedules_are_looked_at_every_second() -> None:
    """A due schedule fires within a second here.

    Scheduler user guide, schedule-types: a schedule is invoked within 60 seconds of its time.
    ministack looks every 10 seconds.
    """
    scheduler._SCHEDULE_TICK_INTERVAL = 1
    eventbridge._SCHEDULER_TICK_INTERVAL = 1
