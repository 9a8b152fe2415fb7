from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.doctor.organization import examine
from pare.doctor.checks import all_checks
from tests.doctor_setup import HUB, MANAGEMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.handlers.fake_aws import FakeAws

ORGANIZATION = {"Id": "o-example0000", "MasterAccountId": MANAGEMENT, "FeatureSet": "ALL"}
PRINCIPALS = (
    "access-analyzer.amazonaws.com",
    "member.org.stacksets.cloudformation.amazonaws.com",
)


@pytest.fixture
def delegated(aws: FakeAws) -> FakeAws:
    """An organization in which the hub is what Pare needs."""
    aws.answer("organizations:DescribeOrganization", {"Organization": ORGANIZATION})
    aws.answer(
        "organizations:ListAWSServiceAccessForOrganization",
        {"EnabledServicePrincipals": [{"ServicePrincipal": each} for each in PRINCIPALS]},
    )
    aws.answer(
        "organizations:ListDelegatedAdministrators", {"DelegatedAdministrators": [{"Id": HUB}]}
    )
    aws.answer("cloudformation:DescribeOrganizationsAccess", {"Status": "ENABLED"})
    return aws


def statuses(examination: Any) -> dict[str, str]:
    return {each.check: each.status for each in examine(examination)}


def test_a_hub_that_is_all_it_must_be_is_well(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    found = statuses(examined())

    assert set(found) == {each for each in all_checks() if each.startswith("organization.")}
    assert set(found.values()) == {"ok"}
    assert delegated.called("cloudformation:DescribeOrganizationsAccess") == [
        {"CallAs": "DELEGATED_ADMIN"}
    ]
    assert [
        each["ServicePrincipal"]
        for each in delegated.called("organizations:ListDelegatedAdministrators")
    ] == list(PRINCIPALS)


def test_without_a_stack_set_nobody_asks_about_stack_sets(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    found = statuses(examined(member_stacks="by-hand"))

    assert not [each for each in found if "stack-sets" in each]
    assert delegated.called("cloudformation:DescribeOrganizationsAccess") == []


def test_it_works_before_anything_is_deployed(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    assert set(statuses(examined(outputs={})).values()) == {"ok"}


def test_a_hub_that_is_no_administrator_hears_nothing_and_says_so(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    for operation in (
        "organizations:ListAWSServiceAccessForOrganization",
        "organizations:ListDelegatedAdministrators",
        "cloudformation:DescribeOrganizationsAccess",
    ):
        delegated.mend(operation)
        delegated.fail(operation, "AccessDeniedException", 403)

    results = list(examine(examined()))

    assert {each.status for each in results if each.check != "organization.member"} == {
        "cannot tell"
    }
    assert all(
        "the hub probably is none yet" in each.says
        for each in results
        if each.check != "organization.member"
    )


def test_an_account_in_no_organization_is_told_so(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    delegated.mend("organizations:DescribeOrganization")
    delegated.fail("organizations:DescribeOrganization", "AWSOrganizationsNotInUseException")

    first = next(examine(examined()))

    assert first.status == "missing"
    assert "is in no organization" in first.says


def test_stack_sets_that_only_organizations_switched_on_are_missing(
    delegated: FakeAws, examined: Callable[..., Any]
) -> None:
    delegated.mend("cloudformation:DescribeOrganizationsAccess")
    delegated.answer("cloudformation:DescribeOrganizationsAccess", {"Status": "DISABLED"})

    found = statuses(examined())

    assert [check for check, status in found.items() if status != "ok"] == [
        "organization.stack-sets-trusted"
    ]


def test_motos_own_organization_is_read(examined: Callable[..., Any], aws: FakeAws) -> None:
    aws.fail("cloudformation:DescribeOrganizationsAccess", "ValidationError")
    organizations = boto3.client("organizations")
    made = organizations.create_organization(FeatureSet="ALL")["Organization"]
    for principal in PRINCIPALS:
        organizations.enable_aws_service_access(ServicePrincipal=principal)
    # moto's hub is the management account itself.
    examination = examined(
        organization_id=made["Id"], management_account_id=made["MasterAccountId"]
    )

    found = statuses(examination)

    assert found["organization.member"] == "ok"
    assert found["organization.access-analyzer-trusted"] == "ok"
    assert found["organization.access-analyzer-administrator"] == "missing"
