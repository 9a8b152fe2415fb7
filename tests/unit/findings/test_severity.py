from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import botocore.session
import pytest

from pare.data_tables import read_table
from pare.findings.model import SEVERITIES, Access, Exposure
from pare.findings.severity import gravest, rank, rules, severity_of
from pare.policy.catalogue import load_catalogue
from tests.recorded import FINDINGS, finding

READ, WRITE = ("List", "Read"), ("Read", "Write")


def external(exposure: Exposure | None, levels: tuple[str, ...], **changes: Any) -> Any:
    return finding("external_access", exposure=exposure, access_levels=levels, **changes)


@pytest.mark.parametrize(
    ("found", "severity", "rule"),
    [
        (external("public", READ), "high", "public read"),
        (external("public", WRITE), "critical", "public write"),
        (external("public", ("Permissions management",)), "critical", "public write"),
        (external("public", READ, resource_type="AWS::KMS::Key"), "critical",
         "public secret, key or role"),
        (external("public", READ, resource_type="AWS::SecretsManager::Secret"), "critical",
         "public secret, key or role"),
        (external("public", WRITE, resource_type="AWS::IAM::Role"), "critical",
         "public secret, key or role"),
        (external("outside", READ), "medium", "outside read"),
        (external("outside", WRITE), "high", "outside write"),
        (external("federated", WRITE), "high", "outside write"),
        (external("unknown", READ), "medium", "outside read"),
        (external("unknown", WRITE), "high", "outside write"),
        (external("outside", READ, resource_type="AWS::IAM::Role"), "high", "role trust outside"),
        (external("partner", READ), "low", "partner read"),
        (external("partner", WRITE), "medium", "partner write"),
        (external("organization", READ), "low", "organization read"),
        (external("organization", WRITE), "medium", "organization write"),
        (external("account", WRITE), "medium", "organization write"),
        (external("service", WRITE), "medium", "service for anybody"),
        (external("service", READ), "low", "service"),
        (external("public", WRITE, error="ACCESS_DENIED"), "critical", "public write"),
        (external("outside", WRITE, error="ACCESS_DENIED"), "high", "outside write"),
        (external("unknown", WRITE, error="ACCESS_DENIED"), "medium", "not analyzed"),
        (external(None, WRITE, error="ACCESS_DENIED"), "medium", "not analyzed"),
        (finding("unused_iam_role_error", exposure="none"), "medium", "not analyzed"),
        (finding("unused_permission"), "low", "unused"),
        (finding("unused_permission", unused_action_count=9_000), "low", "unused"),
        (finding(access="watch", finding_type="AnalyzerMissing"), "high", "blind spot"),
        (finding(access="watch", finding_type="ArchiveRuleHidesPublic"), "high", "blind spot"),
        (finding(access="watch", finding_type="ExemptionExpiring"), "medium", "watch notice"),
        (external("none", READ), "medium", "no rule"),
    ],
)  # fmt: skip
def test_how_grave_a_finding_is(found: Any, severity: str, rule: str) -> None:
    assert severity_of(found) == (severity, rule)


SECRET = {"resource_type": "AWS::SecretsManager::Secret", "actions": (
    "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")}  # fmt: skip
ABOUT_IT = ("secretsmanager:describesecret", "secretsmanager:ListSecretVersionIds")


@pytest.mark.parametrize("exposure", ["outside", "federated", "unknown"])
def test_what_a_stranger_reads_of_a_secret_is_the_secret(exposure: Exposure) -> None:
    read = external(exposure, READ, **SECRET)
    assert severity_of(read) == ("high", "outside secret or key")
    assert severity_of(replace(read, actions=ABOUT_IT)) == ("medium", "outside read")
    key = replace(read, resource_type="AWS::KMS::Key", actions=("kms:DescribeKey",))
    assert severity_of(key) == ("medium", "outside read")
    assert severity_of(replace(key, actions=("kms:GetWhatIsNew",)))[0] == "high"


def test_what_a_partner_reads_of_a_secret_is_told_at_once() -> None:
    read = external("partner", READ, **SECRET)
    assert severity_of(read) == ("medium", "partner secret or key")
    assert severity_of(replace(read, actions=ABOUT_IT)) == ("low", "partner read")


@pytest.mark.parametrize(
    ("resource_type", "content", "about"),
    [
        ("AWS::EC2::Snapshot", "ebs:GetSnapshotBlock", "ec2:DescribeSnapshots"),
        ("AWS::RDS::DBSnapshot", "rds:DownloadWhatIsNew", "rds:DescribeDBSnapshots"),
        ("AWS::RDS::DBClusterSnapshot", "rds:*", "rds:Describe*"),
        ("AWS::ECR::Repository", "ecr:BatchGetImage", "ecr:DescribeImages"),
        ("AWS::ECR::Repository", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"),
        ("AWS::DynamoDB::Table", "dynamodb:GetItem", "dynamodb:DescribeTable"),
        ("AWS::DynamoDB::Table", "dynamodb:*", "dynamodb:GetResourcePolicy"),
        ("AWS::DynamoDB::Stream", "dynamodb:GetRecords", "dynamodb:DescribeStream"),
        ("AWS::SQS::Queue", "sqs:ReceiveMessage", "sqs:GetQueueAttributes"),
        ("AWS::EFS::FileSystem", "elasticfilesystem:ClientMount",
         "elasticfilesystem:DescribeMountTargets"),
        ("AWS::Lambda::Function", "lambda:GetFunction", "lambda:GetPolicy"),
    ],
)  # fmt: skip
def test_contents_are_graver_than_descriptions(
    resource_type: str, content: str, about: str
) -> None:
    found = external("outside", READ, resource_type=resource_type, actions=(content, about))
    assert severity_of(found) == ("high", "outside data")
    assert severity_of(replace(found, actions=(about,))) == ("medium", "outside read")
    assert severity_of(replace(found, actions=()))[0] == "high"
    assert severity_of(replace(found, exposure="partner"))[0] == "low"


@pytest.mark.parametrize(
    "resource_type", ["AWS::EC2::Snapshot", "AWS::RDS::DBSnapshot", "AWS::RDS::DBClusterSnapshot"]
)
def test_a_public_snapshot_is_critical(resource_type: str) -> None:
    assert severity_of(external("public", READ, resource_type=resource_type)) == (
        "critical", "public snapshot",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "rule"),
    [
        ({"aws:SourceAccount": "111122223333"}, "service"),
        ({"AWS:SOURCEACCOUNT": "111122223333"}, "service"),
        ({"aws:SourceOwner": "111122223333"}, "service"),
        ({"aws:SourceArn": "arn:aws:s3:::amzn-s3-demo-bucket"}, "service"),
        ({"aws:SourceArn": "arn:aws:sns:*:111122223333:*"}, "service"),
        ({"aws:SourceArn": '["arn:aws:sns:*:111122223333:*","arn:aws:s3:::b"]'}, "service"),
        ({"aws:SourceOrgID": "o-ours"}, "service"),
        ({"aws:SourceOrgPaths": "o-ours/*"}, "service"),
        ({}, "service for anybody"),
        ({"aws:SourceAccount": "*"}, "service for anybody"),
        ({"aws:SourceArn": "arn:aws:sns:*:*:*"}, "service for anybody"),
        ({"aws:SourceArn": "arn:aws:s3:::*"}, "service for anybody"),
        ({"aws:SourceAccount": '["111122223333","*"]'}, "service for anybody"),
        ({"aws:SourceOrgPaths": "o-*/x"}, "service for anybody"),
        ({"aws:SourceVpc": "vpc-1"}, "service for anybody"),
    ],
)
def test_a_service_is_bound_to_whom_it_acts_for(condition: dict[str, str], rule: str) -> None:
    found = external("service", WRITE, condition=tuple(condition.items()))
    assert severity_of(found)[1] == rule


def test_every_rule_has_its_reason_and_every_type_and_action_exists() -> None:
    table = read_table("severity_rules.json", schema_version=1)
    assert all(each["why"].endswith(".") for each in table["rules"])
    named = {each for group in table["resource_types"].values() for each in group}
    analyzer = botocore.session.get_session().get_service_model("accessanalyzer")
    resource_type: Any = analyzer.shape_for("ResourceType")
    assert named <= set(resource_type.enum)
    catalogue = load_catalogue()
    for pattern in table["metadata_actions"]:
        matched = catalogue.expand(pattern)
        assert matched, pattern
        assert {catalogue.access_level(each) for each in matched} <= {"Read", "List"}, pattern


@pytest.mark.parametrize("levels", [(), ("unknown",), ("Read", "unknown"), ("Tagging",)])
def test_a_level_that_is_not_known_may_change_something(levels: tuple[str, ...]) -> None:
    assert severity_of(external("outside", levels)) == ("high", "outside write")


def test_a_finding_that_nobody_enriched_is_judged_as_open_to_an_unknown_one() -> None:
    assert severity_of(external(None, READ)) == ("medium", "outside read")
    assert severity_of(external(None, READ, is_public=True)) == ("high", "public read")


@pytest.mark.parametrize("restriction", ["APPLIED", "NOT_APPLICABLE", None])
def test_a_restriction_lowers_nothing(restriction: str | None) -> None:
    found = external("public", WRITE, resource_control_policy_restriction=restriction)

    assert severity_of(found)[0] == "critical"


@pytest.mark.parametrize("name", FINDINGS)
def test_every_recorded_finding_is_judged_by_a_rule(name: str) -> None:
    assert severity_of(finding(name))[1] != "no rule"


def test_every_exposure_that_opens_something_has_a_rule() -> None:
    judged = {severity_of(external(each, WRITE))[1] for each in get_args(Exposure)}

    assert judged >= {rule.rule_id for rule in rules() if rule.rule_id.endswith("write")}
    assert [e for e in get_args(Exposure) if severity_of(external(e, WRITE))[1] == "no rule"] == [
        "none"
    ]


def test_the_rules_ask_for_nothing_that_is_not_there() -> None:
    """A misspelt value would never match, and the rule after it would decide."""
    known = {
        "access": set(get_args(Access)),
        "exposure": set(get_args(Exposure)),
        "grants": {"read", "write", "metadata"},
        "error": {True, False},
        "is_bound": {True, False},
    }
    for rule in rules():
        assert rule.severity in SEVERITIES
        for key, values in rule.when.items():
            assert key in {*known, "finding_type", "resource_type"}, rule.rule_id
            assert set(values) <= known.get(key, set(values)), rule.rule_id
    ids = [rule.rule_id for rule in rules()]
    assert len(set(ids)) == len(ids) == len(read_table("severity_rules.json", schema_version=1)
                                            ["rules"])  # fmt: skip


def test_the_gravest_of_some() -> None:
    assert gravest(["low", "critical", "medium"]) == "critical"
    assert gravest([]) is None
    assert [rank(each) for each in SEVERITIES] == [0, 1, 2, 3]
