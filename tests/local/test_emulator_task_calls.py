"""Publishing by a Task, faults of such calls and of others, and functions that are killed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import LOG_ARCHIVE, REGION, allow, unique
from tests.local.test_emulator_faults import switch_on
from tests.local.test_emulator_workflow_roles import (
    function,
    messages,
    queue,
    run,
    task,
    workflow_role,
)

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box

SDK, OPTIMIZED = "aws-sdk:sns:publish", "sns:publish"


def topic(box: Box, *, key: str | None = None) -> tuple[str, str]:
    """A topic that lets nobody publish by itself, and the URL of a queue that filters."""
    sns = box.client("sns")
    attributes = {} if key is None else {"KmsMasterKeyId": key}
    arn: str = sns.create_topic(Name=unique("topic"), Attributes=attributes)["TopicArn"]
    nothing = json.dumps({"Version": "2012-10-17", "Statement": []})
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=nothing)
    url, queue_arn = queue(box, service="sns.amazonaws.com")
    wanted = json.dumps({"kind": ["finding"], "audience": ["owner"]})
    sns.subscribe(
        TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes={"FilterPolicy": wanted}
    )
    return arn, url


def publish(kind: str, topic_arn: str, **changes: Any) -> dict[str, Any]:
    """The definition of a Task that publishes."""
    attributes = {
        "kind": {"DataType": "String", "StringValue": "finding"},
        "audience": {"DataType": "String.Array", "StringValue": '["security", "owner"]'},
    }
    message = {"TopicArn": topic_arn, "Subject": "Öffentlich", "Message": "a & b"}
    return task(f"arn:aws:states:::{kind}", {**message, "MessageAttributes": attributes, **changes})


@pytest.mark.parametrize("kind", [SDK, OPTIMIZED])
def test_a_published_message_has_its_attributes(box: Box, kind: str) -> None:
    arn, url = topic(box)

    ended = run(box, workflow_role(box, "sns:Publish", resource=arn), publish(kind, arn))

    [message] = messages(box, url)
    body = json.loads(message["Body"])
    assert json.loads(ended["output"]) == {"MessageId": body["MessageId"]}
    assert (body["Subject"], body["Message"]) == ("Öffentlich", "a & b")
    assert body["MessageAttributes"]["kind"]["Value"] == "finding"


@pytest.mark.parametrize(
    ("kind", "denied", "key_denied", "missing", "wrong"),
    [
        (
            SDK,
            "Sns.AuthorizationErrorException",
            "Sns.KmsAccessDeniedException",
            "Sns.NotFoundException",
            "Sns.InvalidParameterException",
        ),
        (
            OPTIMIZED,
            "SNS.AuthorizationErrorException",
            "SNS.KMSAccessDeniedException",
            "SNS.NotFoundException",
            "SNS.InvalidParameterException",
        ),
    ],
)
def test_what_sns_refuses_has_its_name(
    box: Box, kind: str, denied: str, key_denied: str, missing: str, wrong: str
) -> None:
    arn, _ = topic(box)
    key = box.client("kms").create_key()["KeyMetadata"]["Arn"]
    encrypted, url = topic(box, key=key)
    publisher = workflow_role(box, "sns:Publish")
    with_key = workflow_role(box, "sns:Publish", "kms:GenerateDataKey", "kms:Decrypt")

    assert run(box, workflow_role(box, "sns:List*"), publish(kind, arn))["error"] == denied
    assert run(box, publisher, publish(kind, encrypted))["error"] == key_denied
    assert run(box, publisher, publish(kind, f"{arn}x"))["error"] == missing
    for subject in ("two\nlines", "x" * 101):
        assert run(box, publisher, publish(kind, arn, Subject=subject))["error"] == wrong
    assert run(box, with_key, publish(kind, encrypted))["status"] == "SUCCEEDED"
    assert len(messages(box, url)) == 1


@pytest.mark.parametrize(
    ("resource", "kind", "error"),
    [
        (SDK, "throttle", "Sns.ThrottledException"),
        (SDK, "lost_answer", "Sns.InternalErrorException"),
        (OPTIMIZED, "throttle", "SNS.ThrottledException"),
    ],
)
def test_a_task_that_publishes_meets_faults(
    box: Box, settings: Emulator, resource: str, kind: str, error: str
) -> None:
    arn, url = topic(box)
    role = workflow_role(box, "sns:Publish")
    switch_on(settings, operation="Publish", kind=kind)

    failed = run(box, role, publish(resource, arn))

    assert failed["error"] == error
    assert len(messages(box, url, seconds=0.3)) == (1 if kind == "lost_answer" else 0)
    assert run(box, role, publish(resource, arn))["status"] == "SUCCEEDED"


CALLS = """
import boto3
def run(event, context):
    table = boto3.client("dynamodb")
    for number in range(event["calls"]):
        table.update_item(
            TableName=event["table"], Key={"id": {"S": event["id"]}},
            UpdateExpression="ADD done :one", ExpressionAttributeValues={":one": {"N": "1"}},
        )
    print("the last line")
    return {"calls": event["calls"]}
"""


def test_a_killed_function_is_tried_again(box: Box, settings: Emulator) -> None:
    dynamodb, name = box.client("dynamodb"), unique("table")
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    arn = function(box, CALLS)
    own = box.client("lambda").get_function_configuration(FunctionName=arn)
    box.client("iam").put_role_policy(
        RoleName=own["Role"].rpartition("/")[2],
        PolicyName="p",
        PolicyDocument=json.dumps(allow("dynamodb:UpdateItem")),
    )

    def done(run_id: str) -> int:
        found = dynamodb.get_item(TableName=name, Key={"id": {"S": run_id}})
        return int(found.get("Item", {}).get("done", {"N": "0"})["N"])

    def execution(run_id: str, *retry: dict[str, Any]) -> dict[str, Any]:
        payload = {"table": name, "id": run_id, "calls": 4}
        states = task("arn:aws:states:::lambda:invoke", {"FunctionName": arn, "Payload": payload})
        states["Do"]["Retry"] = list(retry)
        return run(box, workflow_role(box, "lambda:InvokeFunction"), states)

    settings.control("settings", {})
    switch_on(settings, operation=own["FunctionName"], kind="kill", count=3)
    failed = [execution(f"failed-{number}") for number in range(2)]
    again = execution("again", {"ErrorEquals": ["Runtime.ExitError"], "IntervalSeconds": 1})

    for each in failed:
        assert each["error"] == "Runtime.ExitError"
        assert "Runtime exited with error: signal: killed" in each["cause"]
    assert all(0 <= done(f"failed-{number}") <= 4 for number in range(2))
    assert again["status"] == "SUCCEEDED"
    assert 4 <= done("again") <= 8
    assert settings.control("state")["faults"] == []


def test_the_error_of_a_kill_can_be_named(box: Box, settings: Emulator) -> None:
    arn = function(box)
    name = arn.rpartition(":")[2]
    switch_on(settings, operation=name[:6], kind="kill", code="Lambda.Unknown")

    states = task("arn:aws:states:::lambda:invoke", {"FunctionName": arn, "Payload": {}})
    states["Do"]["Catch"] = [{"ErrorEquals": ["Lambda.Unknown"], "Next": "Caught"}]
    states["Caught"] = {"Type": "Succeed"}

    assert run(box, workflow_role(box, "lambda:InvokeFunction"), states)["status"] == "SUCCEEDED"


def test_a_function_that_fails_keeps_its_process(box: Box) -> None:
    arn = function(
        box,
        "calls = []\n"
        "def run(event, context):\n"
        "    calls.append(event)\n"
        "    if event['fails']:\n"
        "        raise LookupError('nothing there')\n"
        "    return len(calls)\n",
    )
    client = box.client("lambda")

    def answer(*, fails: bool) -> Any:
        found = client.invoke(FunctionName=arn, Payload=json.dumps({"fails": fails}))
        return json.load(found["Payload"])

    failed = answer(fails=True)

    assert (failed["errorType"], failed["errorMessage"]) == ("LookupError", "nothing there")
    assert "raise LookupError" in "".join(failed["stackTrace"])
    assert answer(fails=False) == 2


def test_an_invocations_log_is_whole_and_its_own(box: Box) -> None:
    arn = function(box, "def run(event, context):\n    print(event['say'], end=event['end'])\n")
    client = box.client("lambda")
    for say, end in (("one", "\n"), ("two", ""), ("three", "\n")):
        payload = json.dumps({"say": say, "end": end})
        answer = client.invoke(FunctionName=arn, Payload=payload, LogType="Tail")
        log = base64.b64decode(answer["LogResult"]).decode()
        assert say in log
        assert [w for w in ("one", "two", "three") if w in log] == [say]
        assert "pare" not in log.replace(arn, "")


def test_objects_and_transactions_meet_faults(box: Box, settings: Emulator) -> None:
    s3, bucket = box.client("s3", LOG_ARCHIVE), unique("faulty")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    dynamodb, table = box.client("dynamodb"), unique("table")
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    put = {"Put": {"TableName": table, "Item": {"id": {"S": "1"}}}}

    switch_on(settings, operation="PutObject", kind="throttle")
    with pytest.raises(ClientError, match="SlowDown"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    switch_on(settings, operation="PutObject", kind="lost_answer")
    with pytest.raises(ClientError, match="InternalError"):
        s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"
    switch_on(settings, operation="TransactWriteItems", kind="conflict")
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as conflict:
        dynamodb.transact_write_items(TransactItems=[put])
    assert conflict.value.response["CancellationReasons"][0]["Code"] == "TransactionConflict"
    dynamodb.transact_write_items(TransactItems=[put])
    with pytest.raises(EmulatorControlError, match="TransactWriteItems only"):
        switch_on(settings, operation="PutItem", kind="conflict")


def test_a_transaction_on_two_tables_is_refused_as_a_whole(box: Box) -> None:
    dynamodb = box.client("dynamodb")
    tables = [unique("table"), unique("table")]
    for name in tables:
        dynamodb.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    arns = [f"arn:aws:dynamodb:{REGION}:100000000004:table/{name}" for name in tables]
    writer = box.session(box.role(unique("writer"), allow("dynamodb:PutItem", resource=arns)))
    half = box.session(box.role(unique("writer"), allow("dynamodb:PutItem", resource=arns[:1])))

    def put(table: str, version: int, before: int | None) -> dict[str, Any]:
        item = {"id": {"S": "x"}, "version": {"N": str(version)}}
        condition = {"ConditionExpression": "attribute_not_exists(id)"}
        if before is not None:
            condition["ConditionExpression"] = "version = :before"
            condition["ExpressionAttributeValues"] = {":before": {"N": str(before)}}  # type: ignore[assignment]
        return {"Put": {"TableName": table, "Item": item, **condition}}

    client = writer.client("dynamodb")
    client.transact_write_items(TransactItems=[put(name, 1, None) for name in tables])
    with pytest.raises(client.exceptions.TransactionCanceledException) as refused:
        client.transact_write_items(TransactItems=[put(tables[0], 2, 1), put(tables[1], 2, 7)])
    with pytest.raises(ClientError, match="not authorized to perform: dynamodb:PutItem"):
        half.client("dynamodb").transact_write_items(
            TransactItems=[put(name, 2, 1) for name in tables]
        )

    reasons = [reason["Code"] for reason in refused.value.response["CancellationReasons"]]
    assert reasons == ["None", "ConditionalCheckFailed"]
    keys = {name: {"Keys": [{"id": {"S": "x"}}], "ConsistentRead": True} for name in tables}
    found = dynamodb.batch_get_item(RequestItems=keys)["Responses"]
    assert [found[name][0]["version"]["N"] for name in tables] == ["1", "1"]


RETRIES = """
import time
import boto3
from botocore.config import Config

client = boto3.client("sts", config=Config(retries={"mode": "adaptive", "max_attempts": 5}))

def run(event, context):
    began = time.time()
    client.get_caller_identity()
    return time.time() - began
"""


def test_pauses_before_another_attempt_can_be_short(box: Box, settings: Emulator) -> None:
    arn = function(box, RETRIES)
    client = box.client("lambda")
    settings.control("settings", {"function_retry_scale": 0.01})

    seconds = []
    for count in (1, 4):
        switch_on(settings, operation="GetCallerIdentity", kind="throttle", count=count)
        answer = client.invoke(FunctionName=arn, Payload="{}")
        assert "FunctionError" not in answer
        seconds.append(float(answer["Payload"].read()))

    assert max(seconds) < 0.5  # in AWS the adaptive mode's limit alone is two seconds a call
    assert settings.control("state")["faults"] == []


def test_functions_wait_for_one_another(box: Box, settings: Emulator) -> None:
    source = "import time\ndef run(event, context):\n    time.sleep(0.3)\n    return time.time()\n"
    arn = function(box, source)
    settings.control("settings", {"functions_at_once": 1})

    branch = {"StartAt": "F", "States": {"F": {"Type": "Task", "Resource": arn, "End": True}}}
    states = {"Do": {"Type": "Parallel", "Branches": [branch, branch], "End": True}}
    ended = run(box, workflow_role(box, "lambda:InvokeFunction"), states)

    first, second = sorted(json.loads(ended["output"]))
    assert second - first >= 0.3
    with pytest.raises(EmulatorControlError, match="functions_at_once"):
        settings.control("settings", {"functions_at_once": 0})
