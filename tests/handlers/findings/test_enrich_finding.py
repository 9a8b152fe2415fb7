from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.findings.enrich_finding import lambda_handler
from pare.findings.model import Finding
from tests.handlers.fake_aws import MEMBER, member_session
from tests.recorded import finding

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def details(*services: dict[str, Any]) -> dict[str, Any]:
    return {
        "analyzedAt": WHEN,
        "createdAt": WHEN,
        "id": "f-1",
        "resourceType": "AWS::IAM::Role",
        "resourceOwnerAccount": MEMBER,
        "status": "ACTIVE",
        "updatedAt": WHEN,
        "findingDetails": [{"unusedPermissionDetails": service} for service in services],
    }


@pytest.fixture
def organization(aws: FakeAws) -> str:
    """An organization; the value is the id of the account ``shop-prod``."""
    client = boto3.client("organizations")
    client.create_organization(FeatureSet="ALL")
    created = client.create_account(AccountName="shop-prod", Email="shop@example.com")
    return created["CreateAccountStatus"]["AccountId"]


def role(account_id: str, **tags: str) -> str:
    """Create a role in an account and return its ARN."""
    created = (
        member_session(account_id)
        .client("iam")
        .create_role(
            RoleName="App",
            AssumeRolePolicyDocument="{}",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
    )
    return created["Role"]["Arn"]


def enriched(found: Finding, context: Any) -> Finding:
    return Finding.from_json(lambda_handler({"finding": found.to_json()}, context))


def test_name_owner_and_unused_services_are_added(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer(
        "accessanalyzer:GetFindingV2",
        details(
            {"serviceNamespace": "sqs"},
            {"serviceNamespace": "s3", "actions": [{"action": "s3:PutObject"}]},
            {"serviceNamespace": "ec2"},
        ),
    )
    found = finding(account_id=organization, resource=role(organization, Team="orders"))

    result = enriched(found, context)

    assert result.account_name == "shop-prod"
    assert result.owner == "orders"
    assert result.unused_services == ("ec2", "sqs")
    assert result.unknown == ()
    assert enriched(found, context) == result, "a retried step says the same"


def test_details_are_read_in_the_analyzers_own_region_by_the_hub(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    found = finding(account_id=organization, resource=role(organization), region="us-west-2")

    enriched(found, context)

    (call,) = aws.calls
    assert call.region == "us-west-2"
    assert call.account_id not in {organization, MEMBER}
    assert call.parameters == {"analyzerArn": found.analyzer_arn, "id": found.finding_id}


def test_the_default_owner_stands_in(aws: FakeAws, organization: str, context: Any) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())

    result = enriched(finding(account_id=organization, resource=role(organization)), context)

    assert result.owner == "security@example.com"


def test_without_a_default_owner_it_is_unknown(
    aws: FakeAws, organization: str, context: Any, settings: Any
) -> None:
    settings(default_owner="")
    aws.answer("accessanalyzer:GetFindingV2", details())

    result = enriched(finding(account_id=organization, resource=role(organization)), context)

    assert result.owner is None


def test_a_finding_that_nothing_can_be_told_of_is_still_a_finding(
    aws: FakeAws, context: Any
) -> None:
    aws.fail("organizations:DescribeAccount", "AccessDeniedException")
    aws.fail("sts:AssumeRole", "AccessDenied", 403)
    aws.fail("accessanalyzer:GetFindingV2", "ResourceNotFoundException", 404)

    result = enriched(finding(), context)

    assert [each.partition(":")[0] for each in result.unknown] == [
        "account name",
        "owner",
        "finding details",
    ]
    assert (result.account_name, result.unused_services) == (None, ())
    assert result.owner == "security@example.com"


def test_a_principal_that_is_gone_is_still_a_finding(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    gone = f"arn:aws:iam::{organization}:role/Gone"

    result = enriched(finding(account_id=organization, resource=gone), context)

    (unknown,) = result.unknown
    assert "NoSuchEntity" in unknown


def test_a_finding_about_a_bucket_needs_no_member_account(
    aws: FakeAws, organization: str, context: Any
) -> None:
    result = enriched(finding("external_access", account_id=organization), context)

    assert result.account_name == "shop-prod"
    assert result.unknown == ()
    assert "sts:AssumeRole" not in aws.attempts
    assert aws.calls == []
