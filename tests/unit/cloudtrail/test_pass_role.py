"""``iam:PassRole`` rebuilt: which role, given to which service, in the operations that pass one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.cloudtrail.pass_role import PassedRole, load_pass_role
from pare.policy.catalogue import load_catalogue

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/worker"
OTHER = f"arn:aws:iam::{ACCOUNT}:role/other"
DATA = Path(__file__).parents[3] / "pare/data/passed_to_service.json"

# Event source, event name, requestParameters, and the service of iam:PassedToService: from each
# service's guide, linked in pare/data/passed_to_service.json.
KNOWN: list[tuple[str, str, Any, str | None]] = [
    ("lambda", "CreateFunction20150331", {"role": ROLE}, "lambda"),
    ("lambda", "UpdateFunctionConfiguration20150331v2", {"role": ROLE}, "lambda"),
    ("ecs", "RegisterTaskDefinition", {"taskRoleArn": ROLE}, "ecs-tasks"),
    ("ecs", "RunTask", {"overrides": {"executionRoleArn": ROLE}}, "ecs-tasks"),
    ("states", "CreateStateMachine", {"roleArn": ROLE}, "states"),
    ("events", "PutTargets", {"targets": [{"id": "a"}, {"roleArn": ROLE}]}, "events"),
    ("scheduler", "CreateSchedule", {"target": {"roleArn": ROLE}}, "scheduler"),
    ("pipes", "CreatePipe", {"roleArn": ROLE}, "pipes"),
    ("glue", "CreateJob", {"role": ROLE}, "glue"),
    ("glue", "UpdateJob", {"jobUpdate": {"role": ROLE}}, "glue"),
    ("sagemaker", "CreateTrainingJob", {"roleArn": ROLE}, "sagemaker"),
    ("sagemaker", "CreateModel", {"executionRoleArn": ROLE}, "sagemaker"),
    ("codebuild", "CreateProject", {"serviceRole": ROLE}, "codebuild"),
    ("codepipeline", "CreatePipeline", {"pipeline": {"roleArn": ROLE}}, "codepipeline"),
    ("codedeploy", "CreateDeploymentGroup", {"serviceRoleArn": ROLE}, "codedeploy"),
    ("cloudformation", "CreateStack", {"roleARN": ROLE}, "cloudformation"),
    (
        "firehose",
        "CreateDeliveryStream",
        {"extendedS3DestinationConfiguration": {"roleARN": ROLE}},
        "firehose",
    ),
    ("rds", "CreateDBInstance", {"monitoringRoleArn": ROLE}, "monitoring.rds"),
    ("rds", "AddRoleToDBCluster", {"roleArn": ROLE}, "rds"),
    ("eks", "CreateCluster", {"roleArn": ROLE}, "eks"),
    ("eks", "CreatePodIdentityAssociation", {"roleArn": ROLE}, "pods.eks"),
    ("batch", "CreateComputeEnvironment", {"serviceRole": ROLE}, "batch"),
    ("transfer", "CreateUser", {"role": ROLE}, "transfer"),
    ("ssm", "StartAutomationExecution", {"parameters": {"AutomationAssumeRole": [ROLE]}}, "ssm"),
    ("backup", "StartBackupJob", {"iamRoleArn": ROLE}, "backup"),
    ("config", "PutConfigurationRecorder", {"configurationRecorder": {"roleARN": ROLE}}, "config"),
    ("cloudtrail", "CreateTrail", {"cloudWatchLogsRoleArn": ROLE}, "cloudtrail"),
    (
        "apigateway",
        "PutIntegration",
        {"putIntegrationInput": {}, "credentials": ROLE},
        "apigateway",
    ),
    ("bedrock", "CreateAgent", {"agentResourceRoleArn": ROLE}, "bedrock"),
    ("dms", "CreateEndpoint", {"serviceAccessRoleArn": ROLE}, "dms"),
    ("elasticmapreduce", "RunJobFlow", {"serviceRole": ROLE}, "elasticmapreduce"),
    (
        "ec2",
        "CreateFlowLogs",
        {"CreateFlowLogsRequest": {"DeliverLogsPermissionArn": ROLE}},
        "vpc-flow-logs",
    ),
    ("logs", "PutSubscriptionFilter", {"roleArn": ROLE}, "logs"),
    ("s3", "PutBucketReplication", {"ReplicationConfiguration": {"Role": ROLE}}, "s3"),
    ("sns", "SetTopicAttributes", {"attributeName": "x", "attributeValue": ROLE}, "sns"),
    ("redshift", "CreateCluster", {"iamRoles": [ROLE]}, "redshift"),
    ("dax", "CreateCluster", {"iamRoleArn": ROLE}, "dax"),
    (
        "access-analyzer",
        "StartPolicyGeneration",
        {"cloudTrailDetails": {"accessRole": ROLE}},
        "access-analyzer",
    ),
    # Documented to depend on iam:PassRole, the service not kept by hand: not known.
    ("omics", "StartRun", {"roleArn": ROLE}, None),
]


def passed(source: str, name: str, request: Any, partition: str = "aws") -> tuple[PassedRole, ...]:
    plan = load_pass_role().plan(f"{source}.amazonaws.com", name)
    assert plan is not None
    if isinstance(request, dict):
        request = {field: request[field] for field in request if field in plan.request_fields}
    return plan.passed(request, partition=partition, account_id=ACCOUNT)


@pytest.mark.parametrize(
    ("source", "name", "request_", "service"), KNOWN, ids=[f"{k[0]}-{k[1]}" for k in KNOWN]
)
def test_known_answers(source: str, name: str, request_: Any, service: str | None) -> None:
    principal = None if service is None else f"{service}.amazonaws.com"
    assert passed(source, name, request_) == (PassedRole(ROLE, principal),)


def test_two_roles_of_one_call_are_both_passed() -> None:
    request = {"taskRoleArn": ROLE, "executionRoleArn": OTHER}
    roles = passed("ecs", "RegisterTaskDefinition", request)
    assert [role.role_arn for role in roles] == sorted([ROLE, OTHER])


def test_a_name_is_a_role_only_where_the_service_takes_its_path_with_it() -> None:
    assert passed("ssm", "CreateActivation", {"iamRole": "service-role/worker"}) == (
        PassedRole(ROLE, "ssm.amazonaws.com"),
    )
    # Elsewhere the path is not known: a role is passed, and it is not known which.
    assert passed("elasticmapreduce", "RunJobFlow", {"serviceRole": "EMR_DefaultRole"}) == (
        PassedRole(None, "elasticmapreduce.amazonaws.com"),
    )


def test_an_instance_profile_passes_a_role_that_is_not_known() -> None:
    profile = {"arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/web"}
    unknown = (PassedRole(None, "ec2.amazonaws.com"),)
    assert passed("ec2", "RunInstances", {"iamInstanceProfile": profile}) == unknown
    assert passed("ec2", "RunInstances", {"iamInstanceProfile": {"name": "web"}}) == unknown
    assert passed("ec2", "RunInstances", {"instanceType": "t3.micro"}) == ()
    associated = {"AssociateIamInstanceProfileRequest": {"IamInstanceProfile": {"Name": "web"}}}
    assert passed("ec2", "AssociateIamInstanceProfile", associated) == unknown
    assert passed("iam", "AddRoleToInstanceProfile", {"roleName": "web"}) == unknown
    plan = load_pass_role().plan("ec2.amazonaws.com", "RunInstances")
    assert plan is not None
    assert plan.unresolved == ("the request names an instance profile, not the role in it",)


@pytest.mark.parametrize("name", ["GetObject", "AssumeRole", "NoSuchOperation", ""])
def test_other_operations_pass_no_role(name: str) -> None:
    assert load_pass_role().plan("s3.amazonaws.com", name) is None
    assert load_pass_role().plan("sts.amazonaws.com", name) is None


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_every_partition(partition: str) -> None:
    arn = f"arn:{partition}:iam::{ACCOUNT}:role/worker"
    assert passed("lambda", "CreateFunction20150331", {"role": arn})[0].role_arn == arn
    (by_name,) = passed("ssm", "CreateActivation", {"iamRole": "worker"}, partition)
    assert by_name.role_arn == arn


@pytest.mark.parametrize(
    "role",
    [f"arn:aws:iam::{ACCOUNT}:role/*", f"arn:aws:iam::{ACCOUNT}:user/eve", "", "a\nb", {"b": 1}],
)
def test_what_is_not_a_role_is_not_passed(role: Any) -> None:
    assert passed("lambda", "CreateFunction20150331", {"role": role}) == ()


def test_a_value_for_many_things_is_a_role_only_if_it_is_an_arn() -> None:
    attribute = {"attributeName": "DisplayName", "attributeValue": "orders"}
    assert passed("sns", "SetTopicAttributes", attribute) == ()


def test_every_row_cites_its_source_and_names_a_service_and_operations() -> None:
    rows = json.loads(DATA.read_text(encoding="utf-8"))["rows"]
    services = load_catalogue().services
    for row in rows:
        assert row["source"].startswith("https://"), row
        service = row["service"]
        assert service is None or re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com", service), row
        assert row["event_source"] in services or row["event_source"] in {"monitoring"}, row
        assert row["roles"] or row["operations"] == ["*"] or row["why"], row


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([ROLE, "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(known=st.sampled_from(KNOWN), value=ANY_JSON, at_top=st.booleans())
def test_no_shape_raises_or_passes_a_wildcard(known: Any, value: Any, at_top: bool) -> None:
    source, name, request, _ = known
    for role in passed(source, name, value if at_top else dict.fromkeys(request, value)):
        if role.role_arn is not None:
            assert re.fullmatch(r"arn:aws:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+", role.role_arn)
