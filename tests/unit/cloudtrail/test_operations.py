"""The action table: right for the world, complete for the pinned botocore, and never raising."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail.denials import outcome_of
from pare.cloudtrail.operations import Mapped, load_operations
from pare.policy.catalogue import load_catalogue
from tools import compile_operations as compiler
from tools.compile_catalogue import to_gzip

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[3] / "pare/data"
REAL = Path(__file__).parents[4] / "shared/cloudtrail"

# Operations of the pinned botocore without an action. A new botocore or catalogue changes it:
# `python -m tools.compile_operations` names what is new, and what to do about it.
NOT_MAPPABLE = 172

NOTHING: dict[str, object] = {}
TAGS = [{"key": "a", "value": "b"}]

# eventSource, eventName, requestParameters, the actions it needed.
KNOWN: list[tuple[str, str, dict[str, object], str]] = [
    # S3
    ("s3", "ListObjects", NOTHING, "s3:ListBucket"),
    ("s3", "ListObjectsV2", NOTHING, "s3:ListBucket"),
    ("s3", "HeadBucket", NOTHING, "s3:ListBucket"),
    ("s3", "ListObjectVersions", NOTHING, "s3:ListBucketVersions"),
    ("s3", "ListBuckets", NOTHING, "s3:ListAllMyBuckets"),
    ("s3", "ListMultipartUploads", NOTHING, "s3:ListBucketMultipartUploads"),
    ("s3", "ListParts", NOTHING, "s3:ListMultipartUploadParts"),
    ("s3", "GetObject", {"key": "k"}, "s3:GetObject"),
    ("s3", "GetObject", {"key": "k", "versionId": "v"}, "s3:GetObjectVersion"),
    ("s3", "HeadObject", {"versionId": None}, "s3:GetObject"),
    ("s3", "HeadObject", {"versionId": "v"}, "s3:GetObjectVersion"),
    ("s3", "GetObjectAttributes", NOTHING, "s3:GetObject s3:GetObjectAttributes"),
    (
        "s3", "GetObjectAttributes", {"versionId": "v"},
        "s3:GetObjectVersion s3:GetObjectVersionAttributes",
    ),
    ("s3", "GetObjectTagging", {"versionId": "v"}, "s3:GetObjectVersionTagging"),
    ("s3", "GetObjectAcl", {"versionId": "v"}, "s3:GetObjectVersionAcl"),
    ("s3", "PutObjectAcl", NOTHING, "s3:PutObjectAcl"),
    ("s3", "DeleteObject", {"versionId": "v"}, "s3:DeleteObjectVersion"),
    (
        "s3", "DeleteObject", {"versionId": "v", "x-amz-bypass-governance-retention": "true"},
        "s3:BypassGovernanceRetention s3:DeleteObjectVersion",
    ),
    ("s3", "DeleteObjects", NOTHING, "s3:DeleteObject"),
    ("s3", "PutObject", NOTHING, "s3:PutObject"),
    (
        "s3", "PutObject", {"x-amz-acl": "bucket-owner-full-control"},
        "s3:PutObject s3:PutObjectAcl",
    ),
    ("s3", "PutObject", {"x-amz-tagging": "a=b"}, "s3:PutObject s3:PutObjectTagging"),
    (
        "s3", "PutObject", {"x-amz-object-lock-mode": "GOVERNANCE"},
        "s3:PutObject s3:PutObjectRetention",
    ),
    ("s3", "CreateMultipartUpload", NOTHING, "s3:PutObject"),
    ("s3", "UploadPart", NOTHING, "s3:PutObject"),
    ("s3", "CompleteMultipartUpload", NOTHING, "s3:PutObject"),
    ("s3", "AbortMultipartUpload", NOTHING, "s3:AbortMultipartUpload"),
    ("s3", "CopyObject", {"x-amz-copy-source": "b/k"}, "s3:GetObject s3:PutObject"),
    (
        "s3", "CopyObject", {"x-amz-copy-source": "b/k?versionId=1"},
        "s3:GetObjectVersion s3:PutObject",
    ),
    (
        "s3", "UploadPartCopy", {"x-amz-copy-source": "b--use1-az4--x-s3/k"},
        "s3:PutObject s3express:CreateSession",
    ),
    ("s3", "CreateBucket", {"x-amz-acl": "private"}, "s3:CreateBucket"),
    ("s3", "CreateBucket", {"x-amz-acl": "public-read"}, "s3:CreateBucket s3:PutBucketAcl"),
    ("s3", "GetBucketLifecycle", NOTHING, "s3:GetLifecycleConfiguration"),
    ("s3", "DeleteBucketLifecycle", NOTHING, "s3:PutLifecycleConfiguration"),
    ("s3", "GetBucketEncryption", NOTHING, "s3:GetEncryptionConfiguration"),
    ("s3", "DeleteBucketEncryption", NOTHING, "s3:PutEncryptionConfiguration"),
    ("s3", "GetBucketReplication", NOTHING, "s3:GetReplicationConfiguration"),
    ("s3", "PutBucketReplication", NOTHING, "s3:PutReplicationConfiguration"),
    ("s3", "DeleteBucketReplication", NOTHING, "s3:PutReplicationConfiguration"),
    ("s3", "GetBucketCors", NOTHING, "s3:GetBucketCORS"),
    ("s3", "DeleteBucketCors", NOTHING, "s3:PutBucketCORS"),
    ("s3", "GetBucketNotification", NOTHING, "s3:GetBucketNotification"),
    ("s3", "GetBucketNotificationConfiguration", NOTHING, "s3:GetBucketNotification"),
    ("s3", "GetAccelerateConfiguration", NOTHING, "s3:GetAccelerateConfiguration"),
    ("s3", "ListBucketInventoryConfigurations", NOTHING, "s3:GetInventoryConfiguration"),
    ("s3", "GetBucketPublicAccessBlock", NOTHING, "s3:GetBucketPublicAccessBlock"),
    ("s3", "DeleteBucketPublicAccessBlock", NOTHING, "s3:PutBucketPublicAccessBlock"),
    ("s3", "DeleteAccountPublicAccessBlock", NOTHING, "s3:PutAccountPublicAccessBlock"),
    ("s3", "GetPublicAccessBlock", {"bucketName": "b"}, "s3:GetBucketPublicAccessBlock"),
    ("s3", "GetPublicAccessBlock", NOTHING, "s3:GetAccountPublicAccessBlock"),
    ("s3", "GetObjectLockConfiguration", NOTHING, "s3:GetBucketObjectLockConfiguration"),
    ("s3", "CreateJob", NOTHING, "s3:CreateJob"),
    ("s3", "GetBucketPolicyStatus", NOTHING, "s3:GetBucketPolicyStatus"),
    ("s3express", "GetObject", NOTHING, "s3express:CreateSession"),
    ("s3express", "ListDirectoryBuckets", NOTHING, "s3express:ListAllMyDirectoryBuckets"),
    ("s3-outposts", "ListObjectsV2", NOTHING, "s3-outposts:ListBucket"),
    ("s3-object-lambda", "WriteGetObjectResponse", NOTHING,
     "s3-object-lambda:WriteGetObjectResponse"),
    ("s3tables", "GetObject", NOTHING, "s3tables:GetTableData"),
    # Dated names
    ("lambda", "CreateFunction20150331", NOTHING, "lambda:CreateFunction"),
    (
        "lambda", "CreateFunction20150331", {"tags": {"a": "b"}},
        "lambda:CreateFunction lambda:TagResource",
    ),
    ("lambda", "AddPermission20150331v2", NOTHING, "lambda:AddPermission"),
    ("lambda", "GetAccountSettings20160819", NOTHING, "lambda:GetAccountSettings"),
    ("lambda", "TagResource20170331v2", NOTHING, "lambda:TagResource"),
    ("lambda", "PutFunctionConcurrency20171031", NOTHING, "lambda:PutFunctionConcurrency"),
    ("lambda", "PublishLayerVersion20181031", NOTHING, "lambda:PublishLayerVersion"),
    ("lambda", "Invoke", NOTHING, "lambda:InvokeFunction"),
    ("lambda", "InvokeWithResponseStream", NOTHING, "lambda:InvokeFunction"),
    ("cloudfront", "CreateDistribution2020_05_31", NOTHING, "cloudfront:CreateDistribution"),
    ("cloudfront", "GetDistribution2014_11_06", NOTHING, "cloudfront:GetDistribution"),
    (
        "cloudfront", "CreateDistributionWithTags2020_05_31", NOTHING,
        "cloudfront:CreateDistribution cloudfront:TagResource",
    ),
    # API Gateway's verbs
    ("apigateway", "GetRestApis", NOTHING, "apigateway:GET"),
    ("apigateway", "CreateApi", NOTHING, "apigateway:POST"),
    ("apigateway", "UpdateStage", NOTHING, "apigateway:PATCH"),
    ("apigateway", "PutIntegration", NOTHING, "apigateway:PUT"),
    ("apigateway", "DeleteDeployment", NOTHING, "apigateway:DELETE"),
    ("apigateway", "CreateRoutingRule", NOTHING, "apigateway:CreateRoutingRule"),
    (
        "apigateway", "UpdateRestApi",
        {"updateRestApiInput": {"patchOperations": [{"op": "replace", "path": "/policy"}]}},
        "apigateway:PATCH apigateway:UpdateRestApiPolicy",
    ),
    # Several actions, and what decides them
    ("kms", "ReEncrypt", NOTHING, "kms:ReEncryptFrom kms:ReEncryptTo"),
    ("dynamodb", "TransactGetItems", NOTHING, "dynamodb:GetItem"),
    (
        "dynamodb", "TransactWriteItems",
        {"requestItems": [{"operation": "Put"}, {"operation": "Update"}, {"operation": "Put"}]},
        "dynamodb:PutItem dynamodb:UpdateItem",
    ),
    ("dynamodb", "ExecuteStatement", {"statement": " select * from T"}, "dynamodb:PartiQLSelect"),
    (
        "dynamodb", "BatchExecuteStatement",
        {"requestItems": [{"statement": "UPDATE T"}, {"statement": "INSERT INTO T"}]},
        "dynamodb:PartiQLInsert dynamodb:PartiQLUpdate",
    ),
    ("ec2", "RunInstances", NOTHING, "ec2:RunInstances"),
    (
        "ec2", "RunInstances", {"tagSpecificationSet": {"items": [{"tags": TAGS}]}},
        "ec2:CreateTags ec2:RunInstances",
    ),
    (
        "ec2", "CreateFlowLogs", {"CreateFlowLogsRequest": {"TagSpecification": {"tag": 1}}},
        "ec2:CreateFlowLogs ec2:CreateTags",
    ),
    ("iam", "CreateRole", {"tags": []}, "iam:CreateRole"),
    ("iam", "CreateRole", {"tags": TAGS}, "iam:CreateRole iam:TagRole"),
    ("rds", "CreateDBInstance", {"tags": TAGS}, "rds:AddTagsToResource rds:CreateDBInstance"),
    ("sts", "AssumeRole", NOTHING, "sts:AssumeRole"),
    (
        "sts", "AssumeRole", {"sourceIdentity": "x", "tags": TAGS},
        "sts:AssumeRole sts:SetSourceIdentity sts:TagSession",
    ),
    ("sts", "AssumeRoot", NOTHING, "sts:AssumeRoot"),
    (
        "secretsmanager", "BatchGetSecretValue", {"filters": [{"key": "name"}]},
        "secretsmanager:BatchGetSecretValue secretsmanager:ListSecrets",
    ),
    # Another name, or another service prefix
    ("monitoring", "DescribeAlarms", NOTHING, "cloudwatch:DescribeAlarms"),
    ("monitoring", "GetMetricWidgetImage", NOTHING, "cloudwatch:GetMetricWidgetImage"),
    ("email", "VerifyDomainIdentity", NOTHING, "ses:VerifyDomainIdentity"),
    ("ses", "CreateEmailIdentity", NOTHING, "ses:CreateEmailIdentity"),
    ("appstream2", "DescribeFleets", NOTHING, "appstream:DescribeFleets"),
    ("models.lex", "GetBots", NOTHING, "lex:GetBots"),
    ("lex", "CreateBot", NOTHING, "lex:CreateBot"),
    ("mturk-requester", "ListHITs", NOTHING, "mechanicalturk:ListHITs"),
    ("streams.dynamodb", "GetRecords", NOTHING, "dynamodb:GetRecords"),
    ("tagging", "GetResources", NOTHING, "tag:GetResources"),
    ("amazonmq", "ListBrokers", NOTHING, "mq:ListBrokers"),
    ("elasticfilesystem", "CreateMountTarget", NOTHING, "elasticfilesystem:CreateMountTarget"),
    ("cloudcontrolapi", "CreateResource", NOTHING, "cloudformation:CreateResource"),
    ("autoscaling", "CreateAutoScalingGroup", NOTHING, "autoscaling:CreateAutoScalingGroup"),
    ("autoscaling", "PutScalingPolicy", NOTHING, "autoscaling:PutScalingPolicy"),
    (
        "autoscaling", "PutScalingPolicy", {"serviceNamespace": "ecs"},
        "application-autoscaling:PutScalingPolicy",
    ),
    (
        "autoscaling", "RegisterScalableTarget", NOTHING,
        "application-autoscaling:RegisterScalableTarget",
    ),
    ("access-analyzer", "GetFindingV2", NOTHING, "access-analyzer:GetFinding"),
    ("access-analyzer", "ListFindingsV2", NOTHING, "access-analyzer:ListFindings"),
    ("bedrock", "Converse", NOTHING, "bedrock:InvokeModel"),
    ("bedrock", "InvokeModelWithBidirectionalStream", NOTHING, "bedrock:InvokeModel"),
    (
        "bedrock",
        "InvokeModel",
        {"guardrailIdentifier": "g"},
        "bedrock:ApplyGuardrail bedrock:InvokeModel",
    ),
    ("redshift-data", "GetStatementResultV2", NOTHING, "redshift-data:GetStatementResult"),
    ("glue", "BatchGetDataQualityResult", NOTHING, "glue:GetDataQualityResult"),
    ("securityhub", "GetFindingsV2", NOTHING, "securityhub:GetFindings"),
    ("metering-marketplace", "MeterUsage", NOTHING, "aws-marketplace:MeterUsage"),
    ("sso", "CreateAccountAssignment", NOTHING, "sso:CreateAccountAssignment"),
    ("sso-directory", "AddMemberToGroup", NOTHING, "sso-directory:AddMemberToGroup"),
    ("identitystore", "CreateGroup", NOTHING, "identitystore:CreateGroup"),
    ("codestar-connections", "UseConnection", NOTHING, "codestar-connections:UseConnection"),
    ("codeconnections", "CreateConnection", NOTHING, "codeconnections:CreateConnection"),
    ("bedrock", "ConverseStream", NOTHING, "bedrock:InvokeModelWithResponseStream"),
    ("sns", "PublishBatch", NOTHING, "sns:Publish"),
    ("sqs", "SendMessageBatch", NOTHING, "sqs:SendMessage"),
    ("budgets", "DescribeBudgets", NOTHING, "budgets:ViewBudget"),
    ("cassandra", "CreateTable", NOTHING, "cassandra:Create"),
    ("memorydb", "CreateACL", NOTHING, "memorydb:CreateAcl"),
    ("amplify", "ListWebhooks", NOTHING, "amplify:ListWebHooks"),
    ("rdsdata", "ExecuteStatement", NOTHING, "rds-data:ExecuteStatement"),
    ("rds", "DescribeDBClusters", NOTHING, "rds:DescribeDBClusters"),
    ("es", "CreateDomain", NOTHING, "es:CreateDomain"),
    ("es", "CreateElasticsearchDomain", NOTHING, "es:CreateElasticsearchDomain"),
    ("kinesis", "SubscribeToShard", NOTHING, "kinesis:SubscribeToShard"),
    ("ssmmessages", "OpenDataChannel", NOTHING, "ssmmessages:OpenDataChannel"),
    ("route53domains", "updateDomainContact", NOTHING, "route53domains:UpdateDomainContact"),
    ("logs", "PutAccountPolicy", {"policyType": "FIELD_INDEX_POLICY"},
     "logs:PutAccountPolicy logs:PutIndexPolicy"),
    ("dms", "ModifyDataProvider", NOTHING, "dms:UpdateDataProvider"),
    ("sqlworkbench", "CreateConnection", NOTHING, "sqlworkbench:CreateConnection"),
    ("codecommit", "GitPull", NOTHING, "codecommit:GitPull"),
    ("health", "DescribeEventAggregates", NOTHING, "health:DescribeEventAggregates"),
]  # fmt: skip

NO_ACTION = [
    ("sts.amazonaws.com", "GetCallerIdentity", "no permission"),
    ("sts.amazonaws.com", "GetSessionToken", "no permission"),
    ("sts.amazonaws.com", "AssumeRoleWithSAML", "without IAM credentials"),
    ("cognito-idp.amazonaws.com", "InitiateAuth", "token or password"),
    ("cognito-idp.amazonaws.com", "SignUp", "token or password"),
    ("cognito-identity.amazonaws.com", "GetId", "without IAM credentials"),
    ("sso.amazonaws.com", "GetRoleCredentials", "token or password"),
    ("sso.amazonaws.com", "CreateToken", "token or password"),
    ("signin.amazonaws.com", "ConsoleLogin", "sign-in"),
    ("signin.amazonaws.com", "SwitchRole", "sign-in"),
]


@pytest.fixture(scope="module")
def clients() -> dict[str, compiler.Client]:
    return compiler.read_clients()


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        gzip.decompress((DATA / "operations.json.gz").read_bytes())
    )
    return content


@pytest.fixture(scope="module")
def exceptions() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        (DATA / "operation_exceptions.json").read_text(encoding="utf-8")
    )
    return content


@pytest.mark.parametrize(("source", "name", "params", "actions"), KNOWN)
def test_known_answers(source: str, name: str, params: dict[str, object], actions: str) -> None:
    mapped = load_operations().lookup(f"{source}.amazonaws.com", name)
    assert mapped is not None
    assert mapped.no_action is None
    assert mapped.for_request(params) == tuple(actions.split())
    assert set(params) <= {*mapped.needs, "key", "op"} or not mapped.conditional


@pytest.mark.parametrize(("source", "name", "reason"), NO_ACTION)
def test_operations_without_an_action_say_why(source: str, name: str, reason: str) -> None:
    mapped = load_operations().lookup(source, name)
    assert mapped is not None
    assert mapped.no_action is not None
    assert reason in mapped.no_action
    assert mapped.for_request({"tags": TAGS}) == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("s3.amazonaws.com", "getobject"),  # no guess at the case
        ("s3.amazonaws.com", "GetObjectV9"),
        ("lambda.amazonaws.com", "CreateFunction20991231"),  # no date that AWS did not use
        ("lambda.amazonaws.com", "NoSuchOperation20150331"),
        ("cloudfront.amazonaws.com", "CreateDistribution_2020_05_31"),
        ("nosuch.amazonaws.com", "GetObject"),
        ("ec2.amazonaws.com", ""),
        ("", "GetObject"),
        ("access-analyzer.amazonaws.com", "GetFindingV3"),
        ("cognito-idp.amazonaws.com", "DescribeTermsByClient"),
    ],
)
def test_what_the_table_does_not_have_is_unmapped(source: str, name: str) -> None:
    assert load_operations().lookup(source, name) is None


def test_every_action_exists_as_the_catalogue_spells_it(table: dict[str, Any]) -> None:
    catalogue = load_catalogue()
    emitted = {
        f"{prefix}:{name}"
        for prefix, service in table["services"].items()
        for name in service["names"].split()
    }
    rows = [
        *(row for service in table["services"].values() for row in service["operations"].values()),
        *(
            row
            for source in table["sources"].values()
            if not isinstance(source, str)
            for row in source.get("operations", {}).values()
        ),
    ]
    for row in rows:
        emitted.update((row if isinstance(row, str) else row.get("actions", "")).split())
    for conditional in table["conditionals"]:
        emitted.update(conditional.get("actions", ()), conditional.get("instead_of", ()))
    assert len(emitted) > 20_000
    assert [action for action in sorted(emitted) if not catalogue.exists(action)] == []
    assert [action for action in sorted(emitted) if catalogue.canonical(action) != action] == []


def test_every_operation_of_botocore_is_mapped_or_listed_with_a_reason(
    table: dict[str, Any], exceptions: dict[str, Any], clients: dict[str, compiler.Client]
) -> None:
    listed = {
        (row["client"], operation): row["because"]
        for row in exceptions["not_mappable"]
        for operation in row["operations"]
    }
    operations = load_operations()
    count = 0
    for name, client in clients.items():
        for operation in client.operations:
            count += 1
            # Under every event source that could be the client's.
            found = [operations.lookup(label, operation) for label in sorted(client.labels)]
            if (name, operation) in listed:
                assert listed[name, operation]
            else:
                assert any(mapped is not None for mapped in found), f"{name}.{operation}"
                distinct = {mapped for mapped in found if mapped is not None}
                assert len(distinct) == 1 or (name, operation) in SHARED, f"{name}.{operation}"
    assert len(listed) == table["counts"]["not_mappable"] == NOT_MAPPABLE
    assert count == table["counts"]["operations"]
    assert len(clients) == table["counts"]["clients"]


# The two services logged as autoscaling.amazonaws.com are told apart by the request there.
SHARED = {
    (client, operation)
    for client in ("autoscaling", "application-autoscaling")
    for operation in (
        "DeleteScheduledAction", "DescribeScalingActivities", "DescribeScheduledActions",
        "GetPredictiveScalingForecast", "PutScalingPolicy",
    )
}  # fmt: skip


def test_the_committed_table_is_the_compiled_one(clients: dict[str, compiler.Client]) -> None:
    # All its sources are at hand offline: botocore is installed, the rest is in pare/data.
    assert (
        to_gzip(compiler.compile_operations(clients)) == (DATA / "operations.json.gz").read_bytes()
    ), "run `make data`"


def test_every_hand_kept_row_names_its_document(exceptions: dict[str, Any]) -> None:
    documents = exceptions["documents"]
    for section in ("clients", "event_sources", "operations", "not_mappable"):
        for row in exceptions[section]:
            assert documents[row["document"]], row
    used = {
        row["document"]
        for section in ("clients", "event_sources", "operations", "not_mappable")
        for row in exceptions[section]
    }
    assert used == set(documents)


def test_no_two_rows_speak_of_one_operation(exceptions: dict[str, Any]) -> None:
    seen: set[tuple[str, str]] = set()
    for row in exceptions["operations"]:
        for operation in row["operations"]:
            key = (row.get("service") or f"source {row['source']}", operation)
            assert key not in seen
            seen.add(key)


def real_operations() -> Iterator[tuple[str, str]]:
    """Yield event source and name of every real API call, from files of any shape."""
    decoder = json.JSONDecoder()
    for file in sorted(REAL.rglob("*")):
        if not file.is_file() or file.name == "README.md":
            continue
        content = file.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        text = content.decode(errors="replace")
        start = 0
        while (start := text.find("{", start)) >= 0:
            try:
                value, start = decoder.raw_decode(text, start)
            except ValueError:
                start += 1
                continue
            yield from _calls(value)


def _calls(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _calls(item)
    elif isinstance(value, dict):
        if isinstance(value.get("eventSource"), str) and "eventName" in value:
            if value.get("eventType") == "AwsApiCall":
                yield value["eventSource"], value["eventName"]
        else:
            for item in value.values():
                yield from _calls(item)


# A documentation example whose eventName is the address of the access portal, one per Region.
EXPLAINED = {
    ("sso.amazonaws.com", "https://portal.sso.us-east-1.amazonaws.com/instance/appinstances")
}


def test_real_operations_are_mapped() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: the table is not held against real records")
    operations = load_operations()
    with_action: set[tuple[str, str]] = set()
    without: set[tuple[str, str]] = set()
    unmapped: set[tuple[str, str]] = set()
    for source, name in set(real_operations()):
        mapped = operations.lookup(source, name)
        group = unmapped if mapped is None else without if mapped.no_action else with_action
        group.add((source, name))
    share = len(with_action) / (len(with_action) + len(unmapped))
    print(f"{len(with_action)} mapped ({share:.1%}), {len(without)} no action: {sorted(without)}")
    assert len(with_action) > 550
    assert share >= 0.98
    assert unmapped == EXPLAINED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["statement", "operation", "items", "tags", "Tag", "path"]) | st.text(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(st.text(), st.text())
def test_lookup_never_raises(source: str, name: str) -> None:
    operations = load_operations()
    assert operations.lookup(source, name) is None or name.strip()
    operations.lookup(f"{source}.amazonaws.com", name)
    for known in ("s3.amazonaws.com", "lambda.amazonaws.com", "signin.amazonaws.com"):
        operations.lookup(known, name)


@given(st.sampled_from(KNOWN), json_values)
def test_for_request_never_raises_and_never_invents(
    row: tuple[str, str, dict[str, object], str], value: object
) -> None:
    mapped = load_operations().lookup(*row[:2])
    assert mapped is not None
    possible = {*mapped.actions, *(a for c in mapped.conditional for a in c.actions)}
    for params in (dict.fromkeys(mapped.needs, value), {**row[2], "x": value}):
        needed = mapped.for_request(params)
        assert set(needed) <= possible
        assert list(needed) == sorted(set(needed))


def test_nothing_is_needed_of_a_request_without_conditions() -> None:
    assert Mapped(("s3:ListBucket",)).needs == ()
    assert Mapped(("s3:ListBucket",)).for_request({"any": object()}) == ("s3:ListBucket",)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (None, "allowed"),
        ("", "allowed"),
        ("AccessDenied", "denied"),
        ("AccessDeniedException", "denied"),
        ("UnauthorizedOperation", "denied"),
        ("Client.UnauthorizedOperation", "denied"),
        ("VpceAccessDenied", "denied"),
        ("AuthorizationError", "denied"),
        ("com.amazonaws.kms#AccessDeniedException", "denied"),
        ("ExpiredToken", "unauthenticated"),
        ("InvalidClientTokenId", "unauthenticated"),
        ("SignatureDoesNotMatch", "unauthenticated"),
        ("Client.AuthFailure", "unauthenticated"),
        ("OptInRequired", "unauthenticated"),
        ("Client.DryRunOperation", "allowed"),
        ("KMSInvalidStateException", "allowed"),
        ("ThrottlingException", "allowed"),
        ("NoSuchEntityException", "allowed"),
        ("AccessDeniedForDependencyException", "allowed"),
    ],
)
def test_what_an_error_code_proves(code: str | None, outcome: str) -> None:
    assert outcome_of(code) == outcome


def test_a_wrong_password_is_no_denial_in_a_user_pool() -> None:
    assert outcome_of("NotAuthorizedException") == "denied"
    assert outcome_of("NotAuthorizedException", "cognito-idp.amazonaws.com") == "allowed"


def test_every_error_code_has_one_row_with_reason_and_document() -> None:
    rows = json.loads((DATA / "denial_error_codes.json").read_text(encoding="utf-8"))["error_codes"]
    assert all(row["reason"] and row["document"] for row in rows)
    assert {row["outcome"] for row in rows} == {"allowed", "denied", "unauthenticated"}
    keys = [(row["code"], row.get("event_source")) for row in rows]
    assert len(set(keys)) == len(keys)


@given(st.text(), st.text())
def test_outcome_of_never_raises(code: str, source: str) -> None:
    assert outcome_of(code, source) in {"allowed", "denied", "unauthenticated"}
