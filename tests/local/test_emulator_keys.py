"""Encrypted objects, items, topics and queues need their key: callers, workflows, services."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator_fixtures import (
    BUCKET,
    LOG_ARCHIVE,
    NOW,
    REGION,
    TRAIL_ARN,
    WORKLOAD,
    allow,
    record,
    trusts,
    unique,
)
from tests.local.test_emulator_workflow_roles import emit, messages, queue, run, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.emulator_fixtures import Box

SEND = ("kms:GenerateDataKey", "kms:Decrypt")


def key(box: Box, *statements: dict[str, Any], account_id: str = WORKLOAD) -> str:
    """The ARN of a new key whose policy delegates to IAM, with more statements."""
    root = {"AWS": f"arn:aws:iam::{account_id}:root"}
    delegation = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [delegation, *statements]}
    arn: str = box.client("kms", account_id).create_key(Policy=json.dumps(policy))["KeyMetadata"][
        "Arn"
    ]
    return arn


def for_service(service: str) -> dict[str, Any]:
    """A statement of a key policy for an AWS service."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": list(SEND),
        "Resource": "*",
    }


def needs_key(
    box: Box,
    service: str,
    actions: tuple[str, ...],
    arn: str,
    call: Callable[[Any], Any],
) -> str:
    """Assert that the call needs actions on the key too; return the code of the denial."""

    def client(*more: dict[str, Any]) -> Any:
        policy = allow(f"{service}:*")
        policy["Statement"] += more
        return box.session(box.role(unique("user"), policy)).client(service)

    with pytest.raises(ClientError) as error:
        call(client())
    assert f"is not authorized to perform: {actions[0]} on resource: {arn}" in str(error.value)
    grant = allow(*actions, resource=arn)["Statement"][0]
    via = {"StringEquals": {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}}
    call(client({**grant, "Condition": via}))
    code: str = error.value.response["Error"]["Code"]
    return code


def test_objects_need_decrypt_to_read_and_a_data_key_to_write(box: Box) -> None:
    arn, bucket = key(box), unique("encrypted")
    s3 = box.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": arn}
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]},
    )
    s3.put_object(Bucket=bucket, Key="file", Body=b"x")

    def read(client: Any) -> None:
        client.get_object(Bucket=bucket, Key="file")["Body"].close()

    def write(client: Any) -> None:
        client.put_object(Bucket=bucket, Key="other", Body=b"x")

    assert needs_key(box, "s3", ("kms:Decrypt",), arn, read) == "AccessDenied"
    assert needs_key(box, "s3", ("kms:GenerateDataKey",), arn, write) == "AccessDenied"


def encrypted_table(box: Box, arn: str) -> str:
    """The name of a table encrypted with the key."""
    name = unique("encrypted")
    box.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": arn},
    )
    return name


@pytest.mark.parametrize("batch", [False, True])
def test_items_need_decrypt(box: Box, batch: bool) -> None:
    arn = key(box)
    table = encrypted_table(box, arn)

    def put(client: Any) -> None:
        item = {"id": {"S": "1"}}
        if batch:
            client.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": item}}]})
        else:
            client.put_item(TableName=table, Item=item)

    code = needs_key(box, "dynamodb", ("kms:Decrypt",), arn, put)
    assert code == "AccessDeniedException"


def test_topics_and_queues_need_a_data_key_and_decrypt(box: Box) -> None:
    arn = key(box)
    topic = box.client("sns").create_topic(
        Name=unique("topic"), Attributes={"KmsMasterKeyId": arn}
    )["TopicArn"]
    url, _ = queue(box, key=arn)
    box.client("sqs").send_message(QueueUrl=url, MessageBody="first")

    def publish(client: Any) -> None:
        client.publish(TopicArn=topic, Message="hello")

    def send(client: Any) -> None:
        client.send_message(QueueUrl=url, MessageBody="hello")

    def receive(client: Any) -> None:
        client.receive_message(QueueUrl=url)

    assert needs_key(box, "sns", SEND, arn, publish) == "KMSAccessDenied"
    assert needs_key(box, "sqs", SEND, arn, send) == "KmsAccessDenied"
    assert needs_key(box, "sqs", ("kms:Decrypt",), arn, receive) == "KmsAccessDenied"


def test_a_workflow_needs_the_key_of_its_table(box: Box) -> None:
    arn = key(box)
    table = encrypted_table(box, arn)
    states = task(
        "arn:aws:states:::dynamodb:putItem", {"TableName": table, "Item": {"id": {"S": "1"}}}
    )

    def role(*more: dict[str, Any]) -> str:
        policy = allow("dynamodb:PutItem")
        policy["Statement"] += more
        return box.role(unique("workflow"), policy, trust=trusts(service="states.amazonaws.com"))

    without = run(box, role(), states)
    with_key = run(box, role(allow("kms:Decrypt", resource=arn)["Statement"][0]), states)

    assert without["error"] == "DynamoDB.AmazonDynamoDBException"
    assert f"kms:Decrypt on resource: {arn}" in without["cause"]
    assert with_key["status"] == "SUCCEEDED"


@pytest.mark.parametrize("open_to_events", [True, False])
def test_a_rule_reaches_an_encrypted_queue_if_the_keys_policy_lets_events(
    box: Box, open_to_events: bool
) -> None:
    arn = key(box, *([for_service("events.amazonaws.com")] if open_to_events else []))
    url, queue_arn = queue(box, key=arn)
    dead_url, dead_arn = queue(box)

    emit(box, {"Arn": queue_arn, "DeadLetterConfig": {"Arn": dead_arn}})

    assert len(messages(box, url if open_to_events else dead_url)) == 1


@pytest.mark.parametrize("open_to_sns", [True, False])
def test_a_topic_reaches_an_encrypted_queue_if_the_keys_policy_lets_sns(
    box: Box, open_to_sns: bool
) -> None:
    arn = key(box, *([for_service("sns.amazonaws.com")] if open_to_sns else []))
    url, queue_arn = queue(box, service="sns.amazonaws.com", key=arn)
    sns = box.client("sns")
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)

    sns.publish(TopicArn=topic, Message="hello")

    assert len(messages(box, url, 1.0)) == (1 if open_to_sns else 0)


def test_policy_generation_needs_the_trails_key_under_the_trails_context(box: Box) -> None:
    organization = {"StringEquals": {"aws:PrincipalOrgID": box.organization_id}}
    reader = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                **organization["StringEquals"],
                "kms:EncryptionContext:aws:cloudtrail:arn": TRAIL_ARN,
            },
            "StringLike": {
                "kms:ViaService": ["access-analyzer.*.amazonaws.com", "s3.*.amazonaws.com"]
            },
            "ArnLike": {
                "aws:PrincipalArn": "arn:aws:iam::${aws:PrincipalAccount}:role/service-role/"
                "AccessAnalyzerMonitorServiceRole*"
            },
        },
    }
    arn = key(box, reader, account_id=LOG_ARCHIVE)
    role = box.role(unique("app"))
    log_file = box.put_log_file([record(role, "ec2", "DescribeVpcs")], at=NOW, encrypted_with=arn)
    actions = (
        "cloudtrail:GetTrail",
        "iam:GenerateServiceLastAccessedDetails",
        "iam:GetServiceLastAccessedDetails",
        "s3:GetObject",
        "s3:ListBucket",
    )

    without = box.generate(role, box.access_role(policy=allow(*actions)))
    with_key = box.generate(role, box.access_role(policy=allow(*actions, "kms:Decrypt")))

    assert without["jobDetails"]["jobError"]["code"] == "AUTHORIZATION_ERROR"
    assert with_key["jobDetails"]["status"] == "SUCCEEDED"
    box.client("s3", LOG_ARCHIVE).delete_object(Bucket=BUCKET, Key=log_file)
