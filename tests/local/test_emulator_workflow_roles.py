"""State machines, rules and schedules act with their own roles on the emulator."""

from __future__ import annotations

import io
import json
import time
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.emulator_fixtures import REGION, WORKLOAD, allow, trusts, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

SECONDS = 20


def run(box: Box, role: str, states: dict[str, Any]) -> dict[str, Any]:
    """The ended execution of a state machine whose first state is "Do"."""
    client = box.client("stepfunctions")
    machine = client.create_state_machine(
        name=unique("machine"),
        roleArn=role,
        definition=json.dumps({"StartAt": "Do", "States": states}),
    )["stateMachineArn"]
    return ended(box, client.start_execution(stateMachineArn=machine, input="{}")["executionArn"])


def ended(box: Box, execution_arn: str) -> dict[str, Any]:
    """The execution once it has ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = box.client("stepfunctions").describe_execution(
            executionArn=execution_arn
        )
        if found["status"] != "RUNNING":
            return found
        time.sleep(0.05)
    raise AssertionError("the execution is still running")


def task(resource: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A definition of one Task state."""
    return {"Do": {"Type": "Task", "Resource": resource, "Parameters": parameters, "End": True}}


def workflow_role(box: Box, *actions: str, resource: str | list[str] = "*") -> str:
    """A role for Step Functions."""
    policy = allow(*actions, resource=resource) if actions else None
    return box.role(unique("workflow"), policy, trust=trusts(service="states.amazonaws.com"))


def fails_without(box: Box, states: dict[str, Any], action: str, resource: str, error: str) -> None:
    """Assert that the states need the action on the resource and fail with the error otherwise."""
    powerless = run(box, workflow_role(box, "sts:GetCallerIdentity"), states)
    assert powerless["status"] == "FAILED"
    assert powerless["error"] == error
    assert f"is not authorized to perform: {action} on resource: {resource}" in powerless["cause"]
    assert "assumed-role/workflow" in powerless["cause"]
    able = run(box, workflow_role(box, action, resource=resource), states)
    assert able["status"] == "SUCCEEDED", able


@pytest.fixture(scope="module")
def table(box: Box) -> str:
    """A table."""
    name = unique("table")
    box.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def test_publishing_needs_sns_publish(box: Box) -> None:
    topic = box.client("sns").create_topic(Name=unique("topic"))["TopicArn"]
    # The default topic policy lets the account's own principals publish.
    box.client("sns").set_topic_attributes(
        TopicArn=topic,
        AttributeName="Policy",
        AttributeValue=json.dumps({"Version": "2012-10-17", "Statement": []}),
    )
    states = task("arn:aws:states:::sns:publish", {"TopicArn": topic, "Message": "hello"})

    fails_without(box, states, "sns:Publish", topic, "SNS.AuthorizationErrorException")


@pytest.mark.parametrize("name", ["putItem", "getItem", "updateItem", "deleteItem"])
def test_writing_an_item_needs_the_tables_action(box: Box, table: str, name: str) -> None:
    parameters: dict[str, Any] = {"TableName": table, "Key": {"id": {"S": "1"}}}
    if name == "putItem":
        parameters = {"TableName": table, "Item": {"id": {"S": "1"}}}
    arn = f"arn:aws:dynamodb:{REGION}:{WORKLOAD}:table/{table}"
    action = f"dynamodb:{name[0].upper()}{name[1:]}"

    fails_without(
        box,
        task(f"arn:aws:states:::dynamodb:{name}", parameters),
        action,
        arn,
        "DynamoDB.AmazonDynamoDBException",
    )


def test_sending_a_message_and_an_event_need_their_actions(box: Box) -> None:
    sqs = box.client("sqs")
    url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    message = task("arn:aws:states:::sqs:sendMessage", {"QueueUrl": url, "MessageBody": "hello"})
    event = {"Source": "test", "DetailType": "Test", "Detail": "{}"}
    events = task("arn:aws:states:::events:putEvents", {"Entries": [event]})
    bus = f"arn:aws:events:{REGION}:{WORKLOAD}:event-bus/default"

    fails_without(
        box,
        message,
        "sqs:SendMessage",
        queue["Attributes"]["QueueArn"],
        "SQS.AmazonSQSException",
    )
    fails_without(box, events, "events:PutEvents", bus, "EventBridge.AmazonEventBridgeException")


def function(box: Box, source: str = "def run(event, context):\n    return {'ok': True}\n") -> str:
    """The ARN of a small function."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", source)
    role = box.role(unique("function"), trust=trusts(service="lambda.amazonaws.com"))
    arn: str = box.client("lambda").create_function(
        FunctionName=unique("function"),
        Runtime="python3.11",
        Handler="handler.run",
        Role=role,
        Code={"ZipFile": code.getvalue()},
    )["FunctionArn"]
    return arn


def test_invoking_a_function_needs_invoke_function(box: Box) -> None:
    arn = function(box)

    for states in (
        task("arn:aws:states:::lambda:invoke", {"FunctionName": arn, "Payload": {}}),
        {"Do": {"Type": "Task", "Resource": arn, "End": True}},
    ):
        fails_without(box, states, "lambda:InvokeFunction", arn, "Lambda.AWSLambdaException")


def test_starting_another_workflow_needs_start_execution_on_it(box: Box) -> None:
    inner = box.client("stepfunctions").create_state_machine(
        name=unique("inner"),
        roleArn=workflow_role(box),
        definition=json.dumps({"StartAt": "Do", "States": {"Do": {"Type": "Pass", "End": True}}}),
    )["stateMachineArn"]
    states = task("arn:aws:states:::states:startExecution", {"StateMachineArn": inner})

    fails_without(
        box, states, "states:StartExecution", inner, "StepFunctions.AWSStepFunctionsException"
    )


def test_an_sdk_integration_needs_the_services_action(box: Box, table: str) -> None:
    states = task("arn:aws:states:::aws-sdk:dynamodb:describeTable", {"TableName": table})
    arn = f"arn:aws:dynamodb:{REGION}:{WORKLOAD}:table/{table}"

    fails_without(box, states, "dynamodb:DescribeTable", arn, "DynamoDb.DynamoDbException")


def test_tasks_in_maps_and_branches_act_with_the_role_too(box: Box, table: str) -> None:
    inner = {
        "StartAt": "Put",
        "States": {
            "Put": {
                "Type": "Task",
                "Resource": "arn:aws:states:::dynamodb:putItem",
                "Parameters": {"TableName": table, "Item": {"id": {"S": "1"}}},
                "End": True,
            }
        },
    }
    parallel = {"Do": {"Type": "Parallel", "Branches": [inner], "End": True}}
    items = {
        "Do": {"Type": "Pass", "Result": [1, 2], "Next": "Each"},
        "Each": {"Type": "Map", "ItemProcessor": inner, "End": True},
    }

    for states in (parallel, items):
        assert run(box, workflow_role(box), states)["error"] == "DynamoDB.AmazonDynamoDBException"
        assert run(box, workflow_role(box, "dynamodb:PutItem"), states)["status"] == "SUCCEEDED"


def test_a_distributed_map_needs_to_start_itself_and_to_read_its_items(box: Box) -> None:
    bucket = unique("items")
    s3 = box.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="items.json", Body=b"[1, 2, 3]")
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Pass",
        "States": {"Pass": {"Type": "Pass", "End": True}},
    }
    states = {
        "Do": {
            "Type": "Map",
            "ItemReader": {
                "Resource": "arn:aws:states:::s3:getObject",
                "ReaderConfig": {"InputType": "JSON"},
                "Parameters": {"Bucket": bucket, "Key": "items.json"},
            },
            "ItemProcessor": processor,
            "End": True,
        }
    }

    nothing = run(box, workflow_role(box), states)
    start_only = run(box, workflow_role(box, "states:StartExecution"), states)
    both = run(box, workflow_role(box, "states:StartExecution", "s3:GetObject"), states)

    assert "states:StartExecution" in nothing["cause"]
    assert start_only["error"] == "States.ItemReaderFailed"
    assert f"s3:GetObject on resource: arn:aws:s3:::{bucket}/items.json" in start_only["cause"]
    assert (both["status"], json.loads(both["output"])) == ("SUCCEEDED", [1, 2, 3])


def test_a_denied_task_can_be_caught_by_its_error_name(box: Box, table: str) -> None:
    states = task(
        "arn:aws:states:::dynamodb:putItem", {"TableName": table, "Item": {"id": {"S": "1"}}}
    )
    catch = {"ErrorEquals": ["DynamoDB.AmazonDynamoDBException"], "Next": "Caught"}
    states["Do"]["Catch"] = [catch]
    states["Caught"] = {"Type": "Succeed"}

    assert run(box, workflow_role(box), states)["status"] == "SUCCEEDED"


def test_a_role_that_does_not_trust_step_functions_runs_nothing(box: Box, table: str) -> None:
    role = box.role(unique("workflow"), allow("*"))
    states = task(
        "arn:aws:states:::dynamodb:putItem", {"TableName": table, "Item": {"id": {"S": "1"}}}
    )

    assert "states.amazonaws.com" in run(box, role, states)["cause"]


# Rules and schedules


def queue(
    box: Box,
    *,
    open_to_events: bool = True,
    service: str = "events.amazonaws.com",
    key: str | None = None,
) -> tuple[str, str]:
    """The URL and ARN of a new queue, perhaps encrypted, perhaps open to a service."""
    sqs = box.client("sqs")
    attributes = {} if key is None else {"KmsMasterKeyId": key}
    url = sqs.create_queue(QueueName=unique("queue"), Attributes=attributes)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    if open_to_events:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def messages(box: Box, url: str, seconds: float = 3.0) -> list[dict[str, Any]]:
    """The messages that arrive in a queue."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: list[dict[str, Any]] = (
            box.client("sqs")
            .receive_message(QueueUrl=url, MessageAttributeNames=["All"])
            .get("Messages", [])
        )
        if found:
            return found
        time.sleep(0.05)
    return []


def emit(box: Box, target: dict[str, Any]) -> None:
    """Make a rule with the target and send one event that it matches."""
    source = unique("test.source")
    events = box.client("events")
    rule = unique("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "1", **target}])
    events.put_events(Entries=[{"Source": source, "DetailType": "Test", "Detail": "{}"}])


def machine_that_tells(box: Box) -> tuple[str, str]:
    """The ARN of a state machine that sends a message, and the URL of that queue."""
    url, arn = queue(box)
    role = workflow_role(box, "sqs:SendMessage", resource=arn)
    states = task("arn:aws:states:::sqs:sendMessage", {"QueueUrl": url, "MessageBody": "started"})
    machine = box.client("stepfunctions").create_state_machine(
        name=unique("machine"),
        roleArn=role,
        definition=json.dumps({"StartAt": "Do", "States": states}),
    )["stateMachineArn"]
    return machine, url


@pytest.mark.parametrize("service", ["events.amazonaws.com", "lambda.amazonaws.com"])
@pytest.mark.parametrize("action", ["states:StartExecution", "sns:Publish"])
def test_a_rule_starts_a_workflow_with_its_role_or_the_event_goes_to_the_dead_letters(
    box: Box, action: str, service: str
) -> None:
    machine, started = machine_that_tells(box)
    dead_url, dead_arn = queue(box)
    role = box.role(unique("rule-role"), allow(action), trust=trusts(service=service))

    emit(box, {"Arn": machine, "RoleArn": role, "DeadLetterConfig": {"Arn": dead_arn}})

    if (action, service) == ("states:StartExecution", "events.amazonaws.com"):
        assert [m["Body"] for m in messages(box, started)] == ["started"]
        assert messages(box, dead_url, 0.2) == []
        return
    dead = messages(box, dead_url)
    assert json.loads(dead[0]["Body"])["detail-type"] == "Test"
    attributes = {k: v["StringValue"] for k, v in dead[0]["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"] == machine
    assert attributes["ERROR_CODE"] == "NO_PERMISSIONS"
    assert messages(box, started, 0.2) == []


def test_a_rule_without_a_role_cannot_start_a_workflow(box: Box) -> None:
    machine, _ = machine_that_tells(box)
    dead_url, dead_arn = queue(box)

    emit(box, {"Arn": machine, "DeadLetterConfig": {"Arn": dead_arn}})

    assert len(messages(box, dead_url)) == 1


def test_a_queue_target_needs_a_policy_for_events(box: Box) -> None:
    open_url, open_arn = queue(box)
    closed_url, closed_arn = queue(box, open_to_events=False)
    dead_url, dead_arn = queue(box)

    emit(box, {"Arn": open_arn, "DeadLetterConfig": {"Arn": dead_arn}})
    assert len(messages(box, open_url)) == 1
    emit(box, {"Arn": closed_arn, "DeadLetterConfig": {"Arn": dead_arn}})

    assert len(messages(box, dead_url)) == 1
    assert messages(box, closed_url, 0.2) == []


def test_a_schedule_needs_a_role_that_may_start_its_target(box: Box) -> None:
    machine, started = machine_that_tells(box)
    scheduler = box.client("scheduler")
    able = box.role(
        unique("schedule"),
        allow("states:StartExecution"),
        trust=trusts(service="scheduler.amazonaws.com"),
    )
    dead_url, dead_arn = queue(box, open_to_events=False)
    unable = box.role(
        unique("schedule"),
        allow("sqs:SendMessage", resource=dead_arn),
        trust=trusts(service="scheduler.amazonaws.com"),
    )
    for role in (able, unable):
        scheduler.create_schedule(
            Name=unique("schedule"),
            ScheduleExpression="at(2020-01-01T00:00:00)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": machine, "RoleArn": role, "DeadLetterConfig": {"Arn": dead_arn}},
        )

    assert [m["Body"] for m in messages(box, started, SECONDS)] == ["started"]
    assert len(messages(box, dead_url, SECONDS)) == 1


def test_a_schedules_input_carries_the_scheduled_time(box: Box) -> None:
    url, arn = queue(box)
    role = box.role(
        unique("schedule"),
        allow("sqs:SendMessage", resource=arn),
        trust=trusts(service="scheduler.amazonaws.com"),
    )
    box.client("scheduler").create_schedule(
        Name=unique("schedule"),
        ScheduleExpression="at(2020-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": arn,
            "RoleArn": role,
            "Input": json.dumps({"at": "<aws.scheduler.scheduled-time>"}),
        },
    )

    body = json.loads(messages(box, url, SECONDS)[0]["Body"])

    assert datetime.fromisoformat(body["at"]).tzinfo is not None


def test_what_a_schedule_starts_reaches_a_queue_that_demands_tls(box: Box) -> None:
    url, arn = queue(box, service="sns.amazonaws.com")
    sqs, sns = box.client("sqs"), box.client("sns")
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]
    policy = json.loads(found["Policy"])
    tls = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn}
    policy["Statement"].append({**deny, "Condition": tls})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    states = task("arn:aws:states:::sns:publish", {"TopicArn": topic, "Message": "hello"})
    machine = box.client("stepfunctions").create_state_machine(
        name=unique("machine"),
        roleArn=workflow_role(box, "sns:Publish"),
        definition=json.dumps({"StartAt": "Do", "States": states}),
    )["stateMachineArn"]
    role = box.role(
        unique("schedule"),
        allow("states:StartExecution"),
        trust=trusts(service="scheduler.amazonaws.com"),
    )

    box.client("scheduler").create_schedule(
        Name=unique("schedule"),
        ScheduleExpression="at(2020-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": machine, "RoleArn": role},
    )

    assert len(messages(box, url, SECONDS)) == 1
