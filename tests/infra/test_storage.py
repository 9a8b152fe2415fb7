"""What must outlive a deployment stays, under its logical id, and is encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from infra.storage_stack import BY_ANALYZER, BY_DUE
from pare.aws import findings_table
from tests.infra.synthesis import STACKS, as_list

if TYPE_CHECKING:
    from tests.infra.synthesis import Json, Synthesis, Template

# Another logical id is another resource: CloudFormation would make a new, empty one.
LOGICAL_IDS = {
    "Key961B73FD": "AWS::KMS::Key",
    "FindingsTable35CA4E49": "AWS::DynamoDB::GlobalTable",
    "PrincipalsTable168F11AB": "AWS::DynamoDB::GlobalTable",
    "ProposalsTable235EF413": "AWS::DynamoDB::GlobalTable",
    "RunsTable9D121A51": "AWS::DynamoDB::GlobalTable",
    "CardsTable99B0A449": "AWS::DynamoDB::GlobalTable",
    "AccessLogsBucket83982689": "AWS::S3::Bucket",
    "EvidenceBucketFBA44255": "AWS::S3::Bucket",
}
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
WITHOUT_OUR_KEY = {"AccessLogsBucket83982689"}  # S3 cannot deliver access logs encrypted by it
THE_KEY = {"Fn::GetAtt": ["Key961B73FD", "Arn"]}
TABLES = "AWS::DynamoDB::GlobalTable"
BUCKETS = "AWS::S3::Bucket"


def test_the_logical_ids_of_what_is_kept_never_change(anywhere: Synthesis) -> None:
    found = {
        logical_id: resource["Type"]
        for logical_id, resource in anywhere.storage.resources().items()
        if resource["Type"] != "AWS::S3::BucketPolicy"
    }
    assert found == LOGICAL_IDS


def test_whatever_is_kept_is_in_the_storage_stack(synthesis: Synthesis) -> None:
    kinds = set(LOGICAL_IDS.values()) | {"AWS::DynamoDB::Table"}
    for stack in set(STACKS) - {"PareStorage"}:
        assert synthesis.templates[stack].resources(*kinds) == {}


def test_whatever_is_kept_survives_its_stack(storage: Template) -> None:
    for logical_id in LOGICAL_IDS:
        resource = storage.resources()[logical_id]
        assert resource["DeletionPolicy"] == "Retain", logical_id
        assert resource["UpdateReplacePolicy"] == "Retain", logical_id


def test_the_storage_stack_cannot_be_deleted_by_mistake(synthesis: Synthesis) -> None:
    assert synthesis.manifest("PareStorage")["terminationProtection"] is True


def test_every_table_is_protected_recoverable_on_demand_and_encrypted_by_the_one_key(
    storage: Template,
) -> None:
    for logical_id, table in storage.properties(TABLES).items():
        assert table["BillingMode"] == "PAY_PER_REQUEST", logical_id
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}, logical_id
        (replica,) = table["Replicas"]
        assert replica["DeletionProtectionEnabled"] is True, logical_id
        assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        assert replica["SSESpecification"] == {"KMSMasterKeyId": THE_KEY}, logical_id


def test_the_keys_of_the_tables_are_those_the_stores_write(storage: Template) -> None:
    assert {
        storage.readable({"Ref": logical_id}): [key["AttributeName"] for key in table["KeySchema"]]
        for logical_id, table in storage.properties(TABLES).items()
    } == {
        "FindingsTable": ["finding_id"],
        "PrincipalsTable": ["account_id", "principal_arn"],
        "ProposalsTable": ["principal_arn", "created_at"],
        "RunsTable": ["workflow", "run_id"],
        "CardsTable": ["card_id"],
    }


def test_the_indexes_are_those_the_stores_ask(storage: Template) -> None:
    # One new index a table: CloudFormation adds no second one in the same update.
    assert {
        storage.readable({"Ref": logical_id}): {
            index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
            for index in table["GlobalSecondaryIndexes"]
        }
        for logical_id, table in storage.properties(TABLES).items()
        if "GlobalSecondaryIndexes" in table
    } == {
        "FindingsTable": {findings_table.BY_ANALYZER: ["analyzer_arn", "finding_id"]},
        "CardsTable": {findings_table.BY_DUE: ["due", "due_at"]},
    }
    assert (BY_ANALYZER, BY_DUE) == (findings_table.BY_ANALYZER, findings_table.BY_DUE)
    for table in storage.properties(TABLES).values():
        for index in table.get("GlobalSecondaryIndexes", ()):
            assert index["Projection"] == {"ProjectionType": "ALL"}


def test_only_runs_are_ever_forgotten_by_themselves(storage: Template) -> None:
    assert {
        storage.readable({"Ref": logical_id}): table["TimeToLiveSpecification"]["AttributeName"]
        for logical_id, table in storage.properties(TABLES).items()
        if "TimeToLiveSpecification" in table
    } == {"RunsTable": "expires_at"}


def test_every_bucket_is_versioned_closed_to_the_public_and_has_no_acls(storage: Template) -> None:
    for logical_id, bucket in storage.properties(BUCKETS).items():
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, logical_id
        assert bucket["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }, logical_id
        assert bucket["OwnershipControls"] == {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
        }, logical_id


def test_every_bucket_takes_tls_1_2_and_nothing_else(storage: Template) -> None:
    policies = {
        policy["Bucket"]["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in storage.properties("AWS::S3::BucketPolicy").values()
    }
    for logical_id in storage.resources(BUCKETS):
        refused = [
            each["Condition"] for each in policies[logical_id] if denies_everybody(each, "s3:*")
        ]
        assert refused == [
            {"Bool": {"aws:SecureTransport": "false"}},
            {"NumericLessThan": {"s3:TlsVersion": 1.2}},
        ], logical_id
        for statement in policies[logical_id]:
            if denies_everybody(statement, "s3:*"):
                assert [storage.readable(each) for each in statement["Resource"]] == [
                    storage.readable({"Fn::GetAtt": [logical_id, "Arn"]}),
                    f"<{storage.readable({'Fn::GetAtt': [logical_id, 'Arn']})}>/*",
                ]


def test_every_bucket_is_encrypted_and_all_but_the_access_logs_by_the_one_key(
    storage: Template,
) -> None:
    for logical_id, bucket in storage.properties(BUCKETS).items():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        if logical_id in WITHOUT_OUR_KEY:
            assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        else:
            # A bucket key: one call to KMS for many objects instead of one each.
            assert rule == {
                "BucketKeyEnabled": True,
                "ServerSideEncryptionByDefault": {
                    "SSEAlgorithm": "aws:kms",
                    "KMSMasterKeyID": THE_KEY,
                },
            }


def test_access_to_evidence_is_logged(storage: Template) -> None:
    evidence = storage.properties(BUCKETS)["EvidenceBucketFBA44255"]
    assert evidence["LoggingConfiguration"] == {
        "DestinationBucketName": {"Ref": "AccessLogsBucket83982689"},
        "LogFilePrefix": "evidence/",
    }


def test_proposals_and_inventories_never_expire(storage: Template) -> None:
    rules = storage.properties(BUCKETS)["EvidenceBucketFBA44255"]["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix"): rule["ExpirationInDays"] for rule in rules
                if "ExpirationInDays" in rule}  # fmt: skip
    # 400 days of activity count (facts §3), so a digest must be older before it goes.
    assert expiring == {
        "runs/": 400,
        "notifications/": 400,
        "findings/": 400,
        "activity/": 430,
        "activity/seen/": 30,
        "activity/parts/": 14,
    }
    # What is needed for a while only does not stay for a year as an old version.
    old = {rule["Prefix"]: rule["NoncurrentVersionExpiration"] for rule in rules
           if "Prefix" in rule and "NoncurrentVersionExpiration" in rule}  # fmt: skip
    assert old == {
        prefix: {"NoncurrentDays": 1} for prefix in ("activity/seen/", "activity/parts/")
    }


def test_there_is_one_key_that_rotates(synthesis: Synthesis) -> None:
    keys = [
        key
        for template in synthesis.templates.values()
        for key in template.properties("AWS::KMS::Key").values()
    ]
    assert len(keys) == 1  # "nothing paid per account or per Region"
    assert keys[0]["EnableKeyRotation"] is True


def test_the_key_lets_alarms_of_this_account_publish(synthesis: Synthesis) -> None:
    # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    (key,) = synthesis.storage.properties("AWS::KMS::Key").values()
    (statement,) = (
        each
        for each in key["KeyPolicy"]["Statement"]
        if each["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    )
    assert statement["Effect"] == "Allow"
    assert statement["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    account = {"aws:SourceAccount": synthesis.settings.hub_account_id}
    assert statement["Condition"] == {"StringEquals": account}


# --- Topics and queues: in the pipeline, because losing them loses nothing that is kept -----------


def test_every_topic_is_encrypted_by_the_one_key_and_takes_tls_only(anywhere: Synthesis) -> None:
    pipeline = anywhere.pipeline
    policies = {
        topic["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in pipeline.properties("AWS::SNS::TopicPolicy").values()
        for topic in policy["Topics"]
    }
    topics = pipeline.properties("AWS::SNS::Topic")
    assert len(topics) == (4 if anywhere.settings.notifications.routes else 3)
    for logical_id, topic in topics.items():
        assert pipeline.readable(topic["KmsMasterKeyId"]) == "PareStorage.Key.Arn", logical_id
        assert is_tls_only(policies[logical_id], "sns:Publish", {"Ref": logical_id}), logical_id


@pytest.mark.parametrize(("stack", "count"), [("ParePipeline", 3), ("PareRegion", 1)])
def test_every_queue_is_encrypted_and_takes_tls_only(
    synthesis: Synthesis, stack: str, count: int
) -> None:
    template = synthesis.templates[stack]
    policies = {
        queue["Ref"]: policy["PolicyDocument"]["Statement"]
        for policy in template.properties("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
    }
    queues = template.properties("AWS::SQS::Queue")
    assert len(queues) == count
    for logical_id, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True, logical_id
        arn = {"Fn::GetAtt": [logical_id, "Arn"]}
        assert is_tls_only(policies[logical_id], "sqs:*", arn), logical_id


def denies_everybody(statement: Json, action: str) -> bool:
    return (
        statement["Effect"] == "Deny"
        and statement["Principal"] in ({"AWS": "*"}, "*")
        and statement["Action"] == action
    )


def is_tls_only(statements: list[Json], action: str, resource: Json) -> bool:
    return any(
        denies_everybody(statement, action)
        and as_list(statement["Resource"]) == [resource]
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in statements
    )
