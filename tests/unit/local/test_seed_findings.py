"""Findings made for the emulated organization: shaped as AWS's, counted from policies and use."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from local import seed_findings
from local.emulator.shapes import service_model
from local.organization import Organization, SeedError, User, read_organization
from local.seed_findings import (
    SeedFinding,
    external_access_finding,
    unused_access_finding,
    unused_access_key_finding,
    unused_role_finding,
)
from local.trail_generator import Usage, generate
from pare.clock import parse_time
from pare.policy.catalogue import load_catalogue
from tests.recorded import normalized

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
EVENTS = Path(__file__).parents[4] / "shared/aws/events"
READER = "data-prod/ReportReader"


@pytest.fixture(scope="module")
def organization() -> Organization:
    return read_organization()


@pytest.fixture(scope="module")
def checkout(organization: Organization) -> SeedFinding:
    usage = generate(organization, end=NOW).usage
    return unused_access_finding(
        organization, organization.principal("shop-prod/ShopCheckout"), usage, NOW
    )


def permissions(found: SeedFinding) -> dict[str, dict[str, Any]]:
    """Return the details by service."""
    entries = [entry["unusedPermissionDetails"] for entry in found.finding["findingDetails"]]
    return {entry["serviceNamespace"]: entry for entry in entries}


def use(action: str, days_ago: float, *, arn: str) -> Usage:
    service = action.partition(":")[0]
    name = action if ":" in action else None
    return Usage(arn, service, name, NOW - timedelta(days=days_ago), "eu-west-1")


def test_administrator_access_is_counted_in_real_numbers(checkout: SeedFinding) -> None:
    services = permissions(checkout)
    unused = [entry for entry in services.values() if "actions" not in entry]
    used = {"cognito-idp", "dynamodb", "kms", "secretsmanager", "ssm", "states"}
    assert {entry["serviceNamespace"] for entry in unused} == set(load_catalogue().services) - used
    detail = checkout.event["detail"]
    assert detail["numberOfUnusedServices"] == len(unused) > 400
    assert detail["numberOfUnusedActions"] == sum(
        len(services[service]["actions"]) for service in used
    )
    names = {action["action"] for action in services["dynamodb"]["actions"]}
    assert "dynamodb:ListTables" in names
    assert "dynamodb:DescribeTable" not in names
    # AWS counts denied attempts as access, and does not track the data plane.
    assert not names & {"dynamodb:DeleteTable", "dynamodb:GetItem"}


def test_the_event_is_understood_by_the_product(checkout: SeedFinding) -> None:
    finding = normalized(checkout.event)
    assert finding.access == "unused"
    assert finding.resource.endswith("role/app/ShopCheckout")
    assert finding.account_id == "400000000004"
    assert finding.finding_id == checkout.finding["id"]
    assert finding.unused_service_count == checkout.event["detail"]["numberOfUnusedServices"]


def test_a_service_not_used_for_90_days_is_unused_as_a_whole(organization: Organization) -> None:
    reader = organization.principal(READER)
    found = unused_access_finding(organization, reader, [use("s3", 91, arn=reader.arn)], NOW)
    assert list(permissions(found)) == ["s3"]
    assert "actions" not in permissions(found)["s3"]
    assert parse_time(permissions(found)["s3"]["lastAccessed"]) == NOW - timedelta(days=91)
    assert found.event["detail"]["numberOfUnusedServices"] == 1


def test_actions_used_too_long_ago_say_when(organization: Organization) -> None:
    role = organization.principal("log-archive/LogSearch")
    usage = [
        use("athena:GetWorkGroup", 2, arn=role.arn),
        use("athena:StartQueryExecution", 120, arn=role.arn),
        use("athena:ListWorkGroups", 1, arn="arn:aws:iam::300000000003:role/Other"),
    ]
    athena = permissions(unused_access_finding(organization, role, usage, NOW))["athena"]
    actions = {entry["action"]: entry.get("lastAccessed") for entry in athena["actions"]}
    assert "athena:GetWorkGroup" not in actions
    assert actions["athena:StartQueryExecution"] is not None
    assert actions["athena:ListWorkGroups"] is None


def test_a_users_groups_grant_too(organization: Organization) -> None:
    maria = organization.principal("shop-prod/maria.jansen")
    services = permissions(unused_access_finding(organization, maria, [], NOW))
    assert {"ec2", "iam", "logs"} <= set(services)


def test_documents_may_be_given(organization: Organization) -> None:
    role = organization.principal("shop-prod/LegacyExporter")
    with pytest.raises(SeedError, match="AmazonS3FullAccess"):
        unused_access_finding(organization, role, [], NOW)
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    found = unused_access_finding(organization, role, [], NOW, documents=[document])
    assert list(permissions(found)) == ["sqs"]


def every_kind(organization: Organization) -> dict[str, SeedFinding]:
    deployer = organization.principal("shop-prod/ci-deployer")
    assert isinstance(deployer, User)
    reader = organization.principal(READER)
    before = NOW - timedelta(days=100)
    return {
        "permission": unused_access_finding(organization, reader, [], NOW),
        "role": unused_role_finding(organization, reader, NOW),
        "role_used_once": unused_role_finding(organization, reader, NOW, last_accessed_at=before),
        "key": unused_access_key_finding(organization, deployer, NOW, last_accessed_at=before),
        "external": external_access_finding(organization, NOW, account_id="500000000005"),
        "public": external_access_finding(
            organization, NOW, account_id="500000000005", is_public=True
        ),
    }


KINDS = ("permission", "role", "role_used_once", "key", "external", "public")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_understood_and_the_same_each_time(
    organization: Organization, kind: str
) -> None:
    found = every_kind(organization)[kind]
    assert found == every_kind(read_organization())[kind]
    finding = normalized(found.event)
    assert finding.finding_type == found.finding["findingType"]
    assert found.event["source"] == "pare.test"


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_has_the_shape_of_getfindingv2(organization: Organization, kind: str) -> None:
    client = boto3.client(
        "accessanalyzer",
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    answer = json.loads(json.dumps(every_kind(organization)[kind].finding))
    for key in ("analyzedAt", "createdAt", "updatedAt"):
        answer[key] = parse_time(answer[key])
    for entry in answer["findingDetails"]:
        for detail in entry.values():
            if "lastAccessed" in detail:
                detail["lastAccessed"] = parse_time(detail["lastAccessed"])
    with Stubber(client) as stubber:
        stubber.add_response("get_finding_v2", answer)
        client.get_finding_v2(analyzerArn=every_kind(organization)[kind].analyzer_arn, id="x")


@pytest.mark.parametrize(
    ("kind", "sample"), [("permission", "unused_permission"), ("external", "external_access")]
)
def test_events_have_the_keys_aws_documents(
    organization: Organization, kind: str, sample: str
) -> None:
    path = EVENTS / f"{sample}.json"
    if not path.exists():
        pytest.skip(f"{path} is not here: events cannot be compared with the documented ones")
    documented = json.loads(path.read_text())
    made = every_kind(organization)[kind].event
    assert set(made) == set(documented)
    assert set(made["detail"]) == set(documented["detail"])
    for key, value in documented["detail"].items():
        assert type(made["detail"][key]) is type(value), key


def test_an_event_can_be_sent_with_putevents(organization: Organization) -> None:
    found = unused_role_finding(organization, organization.principal(READER), NOW)
    entry = found.put_events_entry("the-bus")
    assert json.loads(entry["Detail"]) == found.event["detail"]
    assert entry["Resources"] == [found.analyzer_arn]
    assert len(entry["Detail"]) < 256_000


def test_a_user_without_an_active_key_has_no_such_finding(organization: Organization) -> None:
    maria = organization.principal("shop-prod/maria.jansen")
    assert isinstance(maria, User)
    with pytest.raises(SeedError, match="no active access key"):
        unused_access_key_finding(organization, maria, NOW)


def test_there_is_a_finding_of_every_kind_as_aws_would_send_it(organization: Organization) -> None:
    found = seed_findings.every_kind(organization, NOW)

    understood = [normalized(each.event) for each in found]
    assert len({each.finding_id for each in understood}) == len(found)
    assert {each.finding_type for each in understood} == {
        "ExternalAccess",
        "InternalAccess",
        "UnusedIAMRole",
        "UnusedIAMUserAccessKey",
        "UnusedIAMUserPassword",
        "UnusedPermission",
    }
    assert {each.access for each in understood if each.error} == {"external", "internal", "unused"}
    everywhere = [each for each in understood if each.resource.endswith("SharedWithOutside")]
    assert {each.region for each in everywhere} == set(organization.regions)
    shape: Any = service_model("accessanalyzer").operation_model("GetFindingV2").output_shape
    for each in found:
        assert set(shape.required_members) <= set(each.finding)
