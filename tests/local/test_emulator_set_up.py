"""What an examination of the set-up reads on the emulator, against AWS's documentation.

CloudTrail API reference, GetTrailStatus and GetEventSelectors; S3 user guide,
about-object-ownership; CloudTrail user guide, create-kms-key-policy-for-cloudtrail; SNS API
reference, Subscribe and ListSubscriptionsByTopic; Service Quotas API reference; CloudFormation API
reference, GetTemplate and ListStackResources; EventBridge, Scheduler and SQS API references.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.local.emulator_fixtures import (
    HUB,
    LOG_ARCHIVE,
    MANAGEMENT,
    REGION,
    WORKLOAD,
    allow,
    trusts,
    unique,
)

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box


def policy_of_bucket(bucket: str, *statements: dict[str, Any]) -> str:
    """A bucket policy by which CloudTrail writes, and these statements beside it."""
    cloudtrail = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": ["s3:PutObject", "s3:GetBucketAcl"],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/AWSLogs/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [cloudtrail, *statements]})


def new_bucket(
    box: Box, *statements: dict[str, Any], ownership: str = "BucketOwnerEnforced"
) -> str:
    """A bucket of the log archive."""
    bucket = unique("logs")
    s3 = box.client("s3", LOG_ARCHIVE)
    s3.create_bucket(
        Bucket=bucket,
        ObjectOwnership=ownership,
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    written = [
        {
            **statement,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        for statement in statements
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_of_bucket(bucket, *written))
    return bucket


def new_trail(box: Box, bucket: str, **options: Any) -> str:
    """The ARN of an organization trail that logs to the bucket."""
    cloudtrail = box.client("cloudtrail", MANAGEMENT)
    arn: str = cloudtrail.create_trail(
        Name=unique("trail"),
        S3BucketName=bucket,
        IsOrganizationTrail=True,
        IsMultiRegionTrail=True,
        EnableLogFileValidation=True,
        **options,
    )["TrailARN"]
    cloudtrail.start_logging(Name=arn)
    return arn


def test_a_trail_tells_whether_it_logs_and_delivers(box: Box) -> None:
    bucket = new_bucket(box)
    cloudtrail = box.client("cloudtrail", MANAGEMENT)
    trail = new_trail(box, bucket)

    logging = cloudtrail.get_trail_status(Name=trail)
    box.client("s3", LOG_ARCHIVE).delete_bucket_policy(Bucket=bucket)
    refused = cloudtrail.get_trail_status(Name=trail)
    cloudtrail.stop_logging(Name=trail)
    box.client("s3", LOG_ARCHIVE).delete_bucket(Bucket=bucket)
    stopped = cloudtrail.get_trail_status(Name=trail)

    assert logging["IsLogging"] is True
    assert "LatestDeliveryTime" in logging
    assert "LatestDigestDeliveryTime" in logging
    assert "LatestDeliveryError" not in logging
    assert refused["LatestDeliveryError"] == "AccessDenied"
    assert stopped["IsLogging"] is False
    assert stopped["LatestDeliveryError"] == "NoSuchBucket"


def test_a_trail_that_may_not_use_its_key_does_not_deliver(box: Box) -> None:
    kms, bucket = box.client("kms", LOG_ARCHIVE), new_bucket(box)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    trail = new_trail(box, bucket, KmsKeyId=key)
    cloudtrail = box.client("cloudtrail", MANAGEMENT)
    before = cloudtrail.get_trail_status(Name=trail)
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": "kms:GenerateDataKey*",
            "Resource": "*",
            "Condition": {
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {
                    "kms:EncryptionContext:aws:cloudtrail:arn": (
                        f"arn:aws:cloudtrail:*:{MANAGEMENT}:trail/*"
                    )
                },
            },
        }
    )
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    after = cloudtrail.get_trail_status(Name=trail)

    assert before["LatestDeliveryError"].startswith("KMS.")
    assert "LatestDeliveryError" not in after
    assert cloudtrail.get_trail(Name=trail)["Trail"]["KmsKeyId"] == key


def test_event_selectors_are_told_basic_and_advanced_to_members_too(box: Box) -> None:
    trail = new_trail(box, new_bucket(box))
    cloudtrail = box.client("cloudtrail", MANAGEMENT)
    basic = {
        "ReadWriteType": "All",
        "IncludeManagementEvents": True,
        "ExcludeManagementEventSources": ["kms.amazonaws.com"],
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}],
    }
    advanced = {
        "Name": "Without KMS",
        "FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Management"]},
            {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]},
        ],
    }

    untouched = cloudtrail.get_event_selectors(TrailName=trail)["EventSelectors"]
    cloudtrail.put_event_selectors(TrailName=trail, EventSelectors=[basic])
    first = box.client("cloudtrail", HUB).get_event_selectors(TrailName=trail)
    cloudtrail.put_event_selectors(TrailName=trail, AdvancedEventSelectors=[advanced])
    second = cloudtrail.get_event_selectors(TrailName=trail)

    assert untouched[0]["IncludeManagementEvents"] is True
    assert untouched[0]["ExcludeManagementEventSources"] == []
    assert first["EventSelectors"] == [basic]
    assert second["AdvancedEventSelectors"] == [advanced]
    assert "EventSelectors" not in second


READS = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"}, "Action": "s3:Get*"}
WRITES = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{WORKLOAD}:root"},
    "Action": ["s3:PutObject", "s3:PutObjectAcl"],
}


def read(box: Box, account_id: str, bucket: str, key: str = "AWSLogs/a") -> str:
    """What an account meets when it reads an object: "ok" or the error's code."""
    s3 = box.client("s3", account_id)
    try:
        s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        with pytest.raises(ClientError):
            s3.head_object(Bucket=bucket, Key=key)
        return str(error.response["Error"]["Code"])
    s3.head_object(Bucket=bucket, Key=key)
    return "ok"


def test_a_bucket_policy_is_not_for_objects_of_others(box: Box) -> None:
    bucket = new_bucket(box, READS, WRITES, ownership="ObjectWriter")
    archive, writer = box.client("s3", LOG_ARCHIVE), box.client("s3", WORKLOAD)

    writer.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x")
    foreign = {account: read(box, account, bucket) for account in (HUB, LOG_ARCHIVE, WORKLOAD)}
    writer.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x", ACL="bucket-owner-full-control")
    shared = {account: read(box, account, bucket) for account in (HUB, LOG_ARCHIVE)}
    archive.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x")
    own = read(box, HUB, bucket)

    assert foreign == {HUB: "AccessDenied", LOG_ARCHIVE: "AccessDenied", WORKLOAD: "AccessDenied"}
    assert shared == {HUB: "AccessDenied", LOG_ARCHIVE: "ok"}
    assert own == "ok"


def test_with_bucket_owner_preferred_the_acl_gives_the_object_away(box: Box) -> None:
    bucket = new_bucket(box, READS, WRITES, ownership="BucketOwnerPreferred")
    writer = box.client("s3", WORKLOAD)

    writer.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x")
    without = read(box, HUB, bucket)
    writer.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x", ACL="bucket-owner-full-control")

    assert without == "AccessDenied"
    assert read(box, HUB, bucket) == "ok"


def test_bucket_owner_enforced_makes_every_object_the_owners(box: Box) -> None:
    bucket = new_bucket(box, READS, ownership="ObjectWriter")
    s3 = box.client("s3", LOG_ARCHIVE)
    s3.put_object(Bucket=bucket, Key="AWSLogs/a", Body=b"x")
    # As CloudTrail writes: nobody can act as its account.
    planted = box.emulator.control(
        "objects", {"bucket": bucket, "prefix": "AWSLogs/", "owner_account_id": "113285607260"}
    )
    before = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    found = {account: read(box, account, bucket) for account in (HUB, LOG_ARCHIVE)}
    (listed,) = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )

    (owned,) = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=bucket, Key="AWSLogs/a", ExpectedBucketOwner=WORKLOAD)
    s3.get_object(Bucket=bucket, Key="AWSLogs/a", ExpectedBucketOwner=LOG_ARCHIVE)

    assert planted == {"objects": 1}
    assert listed["Owner"]["ID"] != owner
    assert owned["Owner"]["ID"] == owner
    assert before == [{"ObjectOwnership": "ObjectWriter"}]
    assert found == {HUB: "AccessDenied", LOG_ARCHIVE: "ok"}
    assert read(box, HUB, bucket) == "ok"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == REGION


def test_a_key_policy_may_name_the_trail_whose_files_are_decrypted(box: Box) -> None:
    bucket = new_bucket(box, READS)
    trail = new_trail(box, bucket)
    kms, s3 = box.client("kms", LOG_ARCHIVE), box.client("s3", LOG_ARCHIVE)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    s3.put_object(
        Bucket=bucket, Key="AWSLogs/a", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )
    role = box.role(unique("reader"), allow("s3:GetObject", "kms:Decrypt"), account_id=HUB)
    reader = box.session(role, by=HUB).client("s3")
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])

    def reads_with(context: str) -> bool:
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"},
            "Action": "kms:Decrypt",
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:EncryptionContext:aws:cloudtrail:arn": context}},
        }
        written = {**policy, "Statement": [*policy["Statement"], statement]}
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(written))
        try:
            reader.get_object(Bucket=bucket, Key="AWSLogs/a")
        except ClientError as error:
            assert "kms:Decrypt" in str(error)
            return False
        return True

    # Of metadata S3 tells the key without using it.
    assert reader.head_object(Bucket=bucket, Key="AWSLogs/a")["SSEKMSKeyId"] == key
    assert reads_with(trail)
    assert not reads_with(f"{trail}-other")


def test_an_address_is_subscribed_once_somebody_has_followed_the_link(box: Box) -> None:
    sns, address = box.client("sns", HUB), "people@example.com"
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]

    answered = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=address)
    (pending,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    counted = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    box.emulator.control("confirmations", {"entries": [{"topic_arn": topic, "endpoint": address}]})
    (confirmed,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]

    assert answered["SubscriptionArn"] == "pending confirmation"
    assert pending["SubscriptionArn"] == "PendingConfirmation"
    assert counted["SubscriptionsPending"] == "1"
    assert confirmed["SubscriptionArn"].startswith(f"{topic}:")


def deploy(box: Box, stack: str, kind: str, body: dict[str, Any]) -> None:
    """Create or update a stack of the hub."""
    client = box.client("cloudformation", HUB)
    getattr(client, f"{kind}_stack")(
        StackName=stack, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_NAMED_IAM"]
    )
    client.get_waiter(f"stack_{kind}_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_a_stack_tells_its_template_and_its_resources(box: Box) -> None:
    stack, client = unique("stack"), box.client("cloudformation", HUB)
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": trusts(service="scheduler.amazonaws.com")},
    }
    target = {"Arn": f"arn:aws:sqs:{REGION}:{HUB}:q", "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}}
    body: dict[str, Any] = {
        "Metadata": {"Pare": {"schema_version": 1, "accounts": [HUB]}},
        "Resources": {
            "Role": role,
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Subscription": {
                "Type": "AWS::SNS::Subscription",
                "Properties": {
                    "TopicArn": {"Ref": "Topic"},
                    "Protocol": "email",
                    "Endpoint": "owner@example.com",
                },
            },
            "Schedule": {
                "Type": "AWS::Scheduler::Schedule",
                "Properties": {
                    "ScheduleExpression": "rate(1 day)",
                    "FlexibleTimeWindow": {"Mode": "OFF"},
                    "Target": target,
                },
            },
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": {"source": ["aws.access-analyzer"]},
                    "Targets": [{"Id": "Queue", "Arn": f"arn:aws:sqs:{REGION}:{HUB}:q"}],
                },
            },
            "Queue": {"Type": "AWS::SQS::Queue"},
        },
    }
    deploy(box, stack, "create", body)

    template = client.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    resources = {
        each["LogicalResourceId"]: each["PhysicalResourceId"]
        for each in client.list_stack_resources(StackName=stack)["StackResourceSummaries"]
    }
    topic = resources["Topic"]
    (subscription,) = box.client("sns", HUB).list_subscriptions_by_topic(TopicArn=topic)[
        "Subscriptions"
    ]
    scheduler, events = box.client("scheduler", HUB), box.client("events", HUB)
    schedule = scheduler.get_schedule(Name=resources["Schedule"])
    rule = resources["Rule"].rpartition("|")[2]
    events.disable_rule(Name=rule)
    named = ("ScheduleExpression", "FlexibleTimeWindow", "Target", "Name")
    scheduler.update_schedule(State="DISABLED", **{name: schedule[name] for name in named})
    attributes = box.client("sqs", HUB).get_queue_attributes(
        QueueUrl=resources["Queue"], AttributeNames=["All"]
    )["Attributes"]

    assert template["Metadata"] == body["Metadata"]
    assert set(resources) == set(body["Resources"])
    assert subscription["SubscriptionArn"] == "PendingConfirmation"
    assert schedule["State"] == "ENABLED"
    assert scheduler.get_schedule(Name=resources["Schedule"])["State"] == "DISABLED"
    assert events.describe_rule(Name=rule)["State"] == "DISABLED"
    assert [each["Id"] for each in events.list_targets_by_rule(Rule=rule)["Targets"]] == ["Queue"]
    assert attributes["ApproximateNumberOfMessages"] == "0"


def test_a_stack_takes_over_no_role_and_changes_none_that_is_gone(box: Box) -> None:
    stack, name = unique("stack"), unique("Role")
    iam, client = box.client("iam", HUB), box.client("cloudformation", HUB)

    def template(description: str) -> dict[str, Any]:
        properties = {
            "RoleName": name,
            "Description": description,
            "AssumeRolePolicyDocument": trusts(account=HUB),
        }
        return {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}

    box.role(name, account_id=HUB)
    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(box, stack, "create", template("first"))
    there = iam.get_role(RoleName=name)["Role"].get("Description")
    iam.delete_role(RoleName=name)
    client.delete_stack(StackName=stack)
    client.get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    deploy(box, stack, "create", template("first"))
    iam.delete_role(RoleName=name)
    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(box, stack, "update", template("second"))
    events = client.describe_stack_events(StackName=stack)["StackEvents"]

    assert there != "first"
    assert any(
        f"with identifier '{name}' was not found" in each.get("ResourceStatusReason", "")
        for each in events
    )


def test_quotas_are_awss_defaults_unless_others_are_given(box: Box) -> None:
    quotas = box.client("service-quotas", HUB)
    functions = {"ServiceCode": "lambda", "QuotaCode": "L-B99A9384"}

    default = quotas.get_service_quota(**functions)["Quota"]
    entry = {"account_id": HUB, "region": REGION, "service_code": "lambda"}
    box.emulator.control(
        "quotas", {"entries": [{**entry, "quota_code": "L-B99A9384", "value": 10}]}
    )
    given = quotas.get_service_quota(**functions)["Quota"]
    listed = quotas.list_service_quotas(ServiceCode="lambda")["Quotas"]

    assert default["Value"] == 1000
    assert default["QuotaName"] == "Concurrent executions"
    assert given["Value"] == listed[0]["Value"] == 10
    assert quotas.get_aws_default_service_quota(**functions)["Quota"]["Value"] == 1000
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        quotas.get_service_quota(ServiceCode="lambda", QuotaCode="L-00000000")
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        quotas.list_service_quotas(ServiceCode="iam")  # kept in us-east-1
