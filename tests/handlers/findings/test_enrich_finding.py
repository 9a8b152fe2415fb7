from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.findings import enrich_finding
from lambdas.findings.enrich_finding import lambda_handler
from pare.errors import AwsServiceError, ThrottledError
from pare.findings.model import Finding
from pare.findings.state import how_ended
from tests.handlers.fake_aws import HUB, MEMBER, member_session
from tests.recorded import finding

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

WHEN = datetime(2019, 1, 1, tzinfo=UTC)  # before the recorded events


def terms(**changes: Any) -> Any:
    return {
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "security@example.com",
        "partner_accounts": {},
        "organization_id": "o-ours",
        "hub_account_id": HUB,
        **changes,
    }


def details(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "analyzedAt": WHEN,
        "createdAt": WHEN,
        "id": "f-1",
        "resourceType": "AWS::IAM::Role",
        "resourceOwnerAccount": MEMBER,
        "status": "ACTIVE",
        "updatedAt": WHEN,
        "findingDetails": list(entries),
        **more,
    }


def unused(service: str, *actions: str) -> dict[str, Any]:
    listed = [{"action": action} for action in actions]
    return {
        "unusedPermissionDetails": {
            "serviceNamespace": service,
            **({"actions": listed} if listed else {}),
        }
    }


def tagged(arn: str, **tags: str) -> dict[str, Any]:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"ResourceTagMappingList": [{"ResourceARN": arn, "Tags": listed}]}


def no_contact(aws: FakeAws) -> None:
    aws.fail("account:GetAlternateContact", "ResourceNotFoundException", 404)


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


def enriched(found: Finding, context: Any, **changes: Any) -> Finding:
    event: Any = {"finding": found.to_json(), "terms": terms(**changes)}
    return Finding.from_json(lambda_handler(event, context))


def test_a_role_with_permissions_that_it_does_not_use(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer(
        "accessanalyzer:GetFindingV2",
        details(unused("sqs"), unused("s3", "s3:PutObject"), unused("ec2")),
    )
    found = finding(account_id=organization, resource=role(organization, Team="orders"))

    result = enriched(found, context)

    assert result.account_name == "shop-prod"
    assert (result.owner, result.owner_source) == ("orders", "tag")
    assert result.tags == (("Team", "orders"),)
    assert result.unused_services == ("ec2", "sqs")
    assert (result.exposure, result.severity) == ("none", "low")
    assert result.unknown == ()
    assert enriched(found, context) == result, "a retried step says the same"


def test_a_bucket_that_is_open_to_a_stranger(aws: FakeAws, organization: str, context: Any) -> None:
    found = finding("external_access", account_id=organization)
    external: Any = {
        "externalAccessDetails": {
            "action": ["s3:GetObject", "s3:PutObject"],
            "principal": {"AWS": "999988887777"},
            "condition": {},
            "isPublic": False,
            "sources": [{"type": "POLICY"}],
        }
    }
    later = datetime(2026, 11, 21, tzinfo=UTC)
    aws.answer("accessanalyzer:GetFindingV2", details(external, updatedAt=later, analyzedAt=later))
    aws.answer("resourcegroupstaggingapi:GetResources", tagged(found.resource, stage="prod"))
    aws.answer(
        "account:GetAlternateContact",
        {"AlternateContact": {"Name": "Ana", "EmailAddress": "ana@example.com",
                              "PhoneNumber": "1", "AlternateContactType": "SECURITY"}},
    )  # fmt: skip

    result = enriched(found, context)

    assert (result.exposure, result.principal_account_id) == ("outside", "999988887777")
    assert result.access_levels == ("Read", "Write")
    assert result.severity == "high"
    assert (result.owner, result.owner_source) == ("ana@example.com", "account contact")
    assert result.tags == (("stage", "prod"),)
    assert result.granted_through == ("POLICY",)
    assert result.updated_at == "2026-11-21T00:00:00Z"
    assert result.unknown == ()
    asked = {call.operation: call for call in aws.calls}
    tags = asked["resourcegroupstaggingapi:GetResources"]
    assert (tags.account_id, tags.region) == (organization, found.region)
    assert tags.parameters["ResourceARNList"] == [found.resource]
    contact = asked["account:GetAlternateContact"]
    assert contact.account_id == organization
    assert contact.parameters == {"AlternateContactType": "SECURITY"}


def test_the_tags_of_a_resource_are_read_in_its_own_region(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})
    no_contact(aws)
    queue = f"arn:aws:sqs:ap-northeast-1:{organization}:orders"

    enriched(finding("external_access", account_id=organization, resource=queue), context)

    (call,) = [each for each in aws.calls if "tagging" in each.operation]
    assert call.region == "ap-northeast-1"


@pytest.mark.parametrize("region", ["evil.example/x", "x" * 100, "EU"])
def test_a_region_in_a_resource_that_could_be_none_is_never_a_host(
    aws: FakeAws, organization: str, context: Any, region: str
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    no_contact(aws)
    queue = f"arn:aws:sqs:{region}:{organization}:orders"

    result = enriched(finding("external_access", account_id=organization, resource=queue), context)

    assert [each.partition(":")[0] for each in result.unknown] == ["tags"]
    assert not [each for each in aws.calls if "tagging" in each.operation]


def test_details_are_read_in_the_analyzers_own_region_by_the_hub(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    found = finding(account_id=organization, resource=role(organization, owner="x"))

    enriched(found, context)

    (call,) = aws.calls
    assert call.region == "us-west-2"  # the function is in another
    assert call.account_id not in {organization, MEMBER}
    assert call.parameters == {"analyzerArn": found.analyzer_arn, "id": found.finding_id}


def test_a_partner_has_the_name_that_the_settings_give_it(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})
    no_contact(aws)

    result = enriched(
        finding("external_access", account_id=organization),
        context,
        partner_accounts={"999988887777": "Auditor Ltd"},
    )

    assert (result.exposure, result.partner) == ("partner", "Auditor Ltd")
    assert (result.owner, result.owner_source) == ("security@example.com", "settings")


def test_without_a_default_owner_it_is_unknown(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    no_contact(aws)
    found = finding(account_id=organization, resource=role(organization))

    result = enriched(found, context, default_owner="")

    assert (result.owner, result.owner_source) == (None, None)


def test_a_finding_that_nothing_can_be_told_of_is_still_a_finding(
    aws: FakeAws, context: Any
) -> None:
    aws.fail("organizations:DescribeAccount", "AccessDeniedException")
    aws.fail("sts:AssumeRole", "AccessDenied", 403)
    aws.fail("accessanalyzer:GetFindingV2", "ResourceNotFoundException", 404)

    result = enriched(finding("external_access"), context)

    assert [each.partition(":")[0] for each in result.unknown] == [
        "finding details",
        "account name",
        "tags",
        "contact",
        "whether 999988887777 is an account of the organization",
    ]
    assert (result.account_name, result.exposure) == (None, "unknown")
    assert (result.severity, result.severity_rule) == ("medium", "outside read")
    assert result.owner == "security@example.com"


def test_a_principal_that_is_gone_is_still_a_finding(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    no_contact(aws)
    gone = f"arn:aws:iam::{organization}:role/Gone"

    result = enriched(finding(account_id=organization, resource=gone), context)

    (unknown,) = result.unknown
    assert "NoSuchEntity" in unknown


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        ("accessanalyzer:GetFindingV2", "ThrottlingException", 429, ThrottledError),
        ("organizations:DescribeAccount", "TooManyRequestsException", 400, ThrottledError),
        ("resourcegroupstaggingapi:GetResources", "ThrottledException", 400, ThrottledError),
        ("account:GetAlternateContact", "TooManyRequestsException", 429, ThrottledError),
        ("accessanalyzer:GetFindingV2", "InternalServerException", 500, AwsServiceError),
    ],
)
def test_what_is_worth_another_try_fails_the_step(
    aws: FakeAws,
    organization: str,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(operation, code, status)
    aws.answer("accessanalyzer:GetFindingV2", details())
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})

    with pytest.raises(error, match=code):
        enriched(finding("external_access", account_id=organization), context)


# --- What AWS deletes ---

GET_ANALYZER = "accessanalyzer:GetAnalyzer"
ERRORS = ("external_access_error", "internal_access_error")


def there(found: Finding, **changes: Any) -> dict[str, Any]:
    return {
        "analyzer": {
            "arn": found.analyzer_arn,
            "name": found.analyzer_arn.rpartition("/")[2],
            "type": "ORGANIZATION",
            "createdAt": WHEN,
            "status": "ACTIVE",
            **changes,
        }
    }


def deleted(name: str, aws: FakeAws, account_id: str) -> Finding:
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})
    no_contact(aws)
    return finding(name, account_id=account_id, is_deleted=True)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_finding_that_aws_removes_from_a_living_analyzer_is_closed(
    aws: FakeAws, organization: str, context: Any, name: str
) -> None:
    found = deleted(name, aws, organization)
    aws.answer(GET_ANALYZER, there(found))

    result = enriched(found, context)

    assert (how_ended(result), result.unknown) == ("DELETED", ())
    (call,) = [each for each in aws.calls if each.operation == GET_ANALYZER]
    assert (call.region, call.account_id) == (found.region, HUB)
    assert call.parameters == {"analyzerName": found.analyzer_arn.rpartition("/")[2]}
    assert aws.called("accessanalyzer:GetFindingV2") == []


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"createdAt": datetime(2026, 11, 21, tzinfo=UTC)},
        {"status": "DISABLED", "statusReason": {"code": "DELEGATED_ADMINISTRATOR_DEREGISTERED"}},
        {"arn": "arn:aws:access-analyzer:us-west-2:999999999999:analyzer/another"},
    ],
)
def test_an_error_finding_that_goes_with_its_analyzer_is_unwatched(
    aws: FakeAws, organization: str, context: Any, changes: dict[str, Any] | None
) -> None:
    found = deleted("external_access_error", aws, organization)
    if changes is None:
        aws.fail(GET_ANALYZER, "ResourceNotFoundException", 404)
    else:
        aws.answer(GET_ANALYZER, there(found, **changes))

    result = enriched(found, context)

    assert (how_ended(result), result.unknown) == ("UNWATCHED", ())


def test_what_is_no_error_is_unwatched_and_nobody_is_asked(
    aws: FakeAws, organization: str, context: Any
) -> None:
    """GetAnalyzer may still know an analyzer that is being deleted, and nothing else deletes it."""
    result = enriched(deleted("external_access", aws, organization), context)

    assert (how_ended(result), result.unknown) == ("UNWATCHED", ())
    assert aws.called(GET_ANALYZER) == []


def test_where_aws_refuses_to_tell_it_is_unwatched_and_said(
    aws: FakeAws, organization: str, context: Any
) -> None:
    found = deleted("external_access_error", aws, organization)
    aws.fail(GET_ANALYZER, "AccessDeniedException", 403)

    result = enriched(found, context)

    assert how_ended(result) == "UNWATCHED"
    (unknown,) = result.unknown
    assert unknown.startswith("whether its analyzer is there: ")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 429, ThrottledError),
        ("InternalServerException", 500, AwsServiceError),
    ],
)
def test_where_aws_may_tell_later_the_step_fails(
    aws: FakeAws, organization: str, context: Any, code: str, status: int, error: type[Exception]
) -> None:
    found = deleted("external_access_error", aws, organization)
    aws.fail(GET_ANALYZER, code, status)

    with pytest.raises(error, match=code):
        enriched(found, context)


# --- How often AWS is asked ---


def test_a_flood_of_one_account_asks_once_for_what_is_the_same(
    aws: FakeAws, organization: str, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.answer("organizations:DescribeAccount", {"Account": {"Name": "shop-prod"}})
    aws.answer("accessanalyzer:GetFindingV2", details())
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})
    no_contact(aws)

    for number in range(5):
        found = finding("external_access", account_id=organization, finding_id=f"f-{number}")
        assert enriched(found, context).account_name == "shop-prod"

    asked = [call.operation for call in aws.calls]
    assert asked.count("accessanalyzer:GetFindingV2") == 5
    assert asked.count("organizations:DescribeAccount") == 2  # its own account, the principal's
    assert asked.count("account:GetAlternateContact") == 2  # for security, for operations
    assert aws.attempts.count("sts:AssumeRole") == 1

    # Later it is asked again: names and contacts change, and a session ends.
    monkeypatch.setattr(enrich_finding, "_slot", lambda: -1)
    enriched(finding("external_access", account_id=organization), context)

    assert [call.operation for call in aws.calls].count("organizations:DescribeAccount") == 4


def test_an_account_that_refused_is_asked_again(
    aws: FakeAws, organization: str, context: Any
) -> None:
    aws.answer("accessanalyzer:GetFindingV2", details())
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})
    aws.fail("account:GetAlternateContact", "AccessDeniedException", 403)
    found = finding("external_access", account_id=organization)
    assert enriched(found, context).unknown != ()

    aws.mend("account:GetAlternateContact")
    no_contact(aws)

    assert enriched(found, context).unknown == ()
