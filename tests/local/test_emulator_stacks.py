"""Stacks on the emulator: the analyzer resource type, and topics with their default policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.local.emulator_fixtures import HUB, WORKLOAD, allow, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

REGION = "ca-central-1"


def deploy(box: Box, resources: dict[str, Any], *, name: str | None = None) -> dict[str, str]:
    """The outputs of a deployed stack: Ref of every resource by its logical id."""
    client = box.client("cloudformation", region=REGION)
    outputs = {logical_id: {"Value": {"Ref": logical_id}} for logical_id in resources}
    body = json.dumps({"Resources": resources, "Outputs": outputs})
    stacks = {s["StackName"] for s in client.describe_stacks()["Stacks"]}
    stack = name or unique("stack")
    kind = "update" if stack in stacks else "create"
    getattr(client, f"{kind}_stack")(StackName=stack, TemplateBody=body)
    waiter = client.get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    found = client.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def analyzer(name: str, **properties: Any) -> dict[str, Any]:
    """An analyzer resource."""
    return {
        "Type": "AWS::AccessAnalyzer::Analyzer",
        "Properties": {"AnalyzerName": name, "Type": "ACCOUNT_UNUSED_ACCESS", **properties},
    }


def test_a_stack_makes_changes_and_deletes_an_analyzer(box: Box) -> None:
    client = box.client("accessanalyzer", region=REGION)
    name, stack = unique("analyzer"), unique("stack")
    rule = {"RuleName": "roles", "Filter": [{"Property": "resource", "Contains": ["role/"]}]}
    configuration = {"UnusedAccessConfiguration": {"UnusedAccessAge": 30}}
    first = analyzer(name, ArchiveRules=[rule], AnalyzerConfiguration=configuration)
    second = analyzer(name, Tags=[{"Key": "team", "Value": "security"}])

    arn = deploy(box, {"Analyzer": first}, name=stack)["Analyzer"]
    made = client.get_analyzer(analyzerName=name)["analyzer"]
    rules = client.list_archive_rules(analyzerName=name)["archiveRules"]
    deploy(box, {"Analyzer": second}, name=stack)
    changed = client.get_analyzer(analyzerName=name)["analyzer"]
    box.client("cloudformation", region=REGION).delete_stack(StackName=stack)
    box.client("cloudformation", region=REGION).get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    assert arn == made["arn"]
    assert made["configuration"] == {"unusedAccess": {"unusedAccessAge": 30}}
    assert rules[0]["filter"] == {"resource": {"contains": ["role/"]}}
    assert changed["tags"] == {"team": "security"}
    assert client.list_analyzers()["analyzers"] == []


def test_an_organization_analyzer_in_a_plain_member_fails_the_stack(box: Box) -> None:
    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(box, {"Analyzer": analyzer(unique("analyzer"), Type="ORGANIZATION_UNUSED_ACCESS")})


def test_a_topic_of_a_stack_is_not_open_to_everybody(box: Box) -> None:
    topic = deploy(box, {"Topic": {"Type": "AWS::SNS::Topic"}})["Topic"]

    def publish(account_id: str, *actions: str) -> None:
        role = box.role(unique("publisher"), allow(*actions), account_id=account_id)
        client = box.session(role, by=account_id).client("sns", REGION)
        client.publish(TopicArn=topic, Message="hello")

    publish(WORKLOAD, "sns:Publish")
    with pytest.raises(ClientError) as powerless:
        publish(WORKLOAD, "sns:ListTopics")
    with pytest.raises(ClientError) as stranger:
        publish(HUB, "sns:Publish")

    for error in (powerless, stranger):
        assert error.value.response["Error"]["Code"] in {"AuthorizationError", "AccessDenied"}


def test_a_stack_encrypts_a_bucket_with_the_key_it_names(box: Box) -> None:
    policy = allow("s3:PutObject", "s3:GetObject")
    role = box.session(box.role(unique("writer"), policy))
    rule = {
        "ServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
        },
        "BucketKeyEnabled": True,
    }
    account = {"AWS": f"arn:aws:iam::{WORKLOAD}:root"}
    key_policy = allow("kms:*")
    key_policy["Statement"][0]["Principal"] = account
    made = deploy(
        box,
        {
            "Key": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": key_policy}},
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]}},
            },
        },
    )
    found = box.client("s3", region=REGION).get_bucket_encryption(Bucket=made["Bucket"])
    (default,) = found["ServerSideEncryptionConfiguration"]["Rules"]
    assert default["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert default["BucketKeyEnabled"] is True

    # S3 lets the role write; the key does not.
    with pytest.raises(ClientError, match="kms:GenerateDataKey"):
        role.client("s3", REGION).put_object(Bucket=made["Bucket"], Key="a", Body=b"x")


def test_a_stack_keeps_the_time_zone_of_a_schedule(box: Box) -> None:
    queue = f"arn:aws:sqs:{REGION}:{WORKLOAD}:q"
    role = box.role(unique("scheduler"))
    schedule = {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "ScheduleExpression": "cron(0 4 * * ? *)",
            "ScheduleExpressionTimezone": "Asia/Tokyo",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {"Arn": queue, "RoleArn": role},
        },
    }
    name = deploy(box, {"Schedule": schedule})["Schedule"]

    found = box.client("scheduler", region=REGION).get_schedule(Name=name)

    assert found["ScheduleExpressionTimezone"] == "Asia/Tokyo"
