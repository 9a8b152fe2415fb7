from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.organization import Organization
from pare.errors import AwsCallError, AwsServiceError, ThrottledError

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws


@pytest.fixture
def organization(aws: FakeAws) -> Organization:
    return Organization(boto3.client("organizations"))


def account(number: int, **more: Any) -> dict[str, Any]:
    return {"Id": f"{number:012d}", "Name": f"account-{number}", "Email": f"a{number}@x.io", **more}


def test_accounts_are_listed_by_id(organization: Organization) -> None:
    client = organization.organizations
    client.create_organization(FeatureSet="ALL")
    names = [f"workload-{number}" for number in range(25)]  # more than a page
    for name in names:
        client.create_account(AccountName=name, Email=f"{name}@example.com")

    accounts = organization.accounts()

    assert {each["name"] for each in accounts} == {"master", *names}
    ids = [each["account_id"] for each in accounts]
    assert ids == sorted(ids)
    assert {each["state"] for each in accounts} == {"ACTIVE"}
    assert accounts[0]["email"]


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        ({"State": "PENDING_CLOSURE", "Status": "ACTIVE"}, "PENDING_CLOSURE"),
        ({"State": "CLOSED"}, "CLOSED"),
        ({"Status": "SUSPENDED"}, "SUSPENDED"),
        ({}, "UNKNOWN"),
    ],
)
def test_the_state_comes_before_the_status_that_retires(
    organization: Organization, aws: FakeAws, sent: dict[str, str], state: str
) -> None:
    aws.answer("organizations:ListAccounts", {"Accounts": [account(1, **sent)]})

    assert [each["state"] for each in organization.accounts()] == [state]


def test_an_empty_page_does_not_end_the_list(organization: Organization, aws: FakeAws) -> None:
    aws.answer("organizations:ListAccounts", {"Accounts": [account(2)], "NextToken": "a"}, times=1)
    aws.answer("organizations:ListAccounts", {"Accounts": [], "NextToken": "b"}, times=1)
    aws.answer("organizations:ListAccounts", {"Accounts": [account(1)]}, times=1)

    assert [each["account_id"] for each in organization.accounts()] == [
        "000000000001",
        "000000000002",
    ]


def test_an_account_without_a_name_has_an_empty_one(
    organization: Organization, aws: FakeAws
) -> None:
    aws.answer("organizations:ListAccounts", {"Accounts": [{"Id": "000000000001"}]})

    assert organization.accounts() == [
        {"account_id": "000000000001", "name": "", "email": "", "state": "UNKNOWN"}
    ]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AccessDeniedException", AwsCallError),
        ("AWSOrganizationsNotInUseException", AwsCallError),
        ("TooManyRequestsException", ThrottledError),
    ],
)
def test_a_list_that_is_refused_is_an_error(
    organization: Organization, aws: FakeAws, code: str, error: type[Exception]
) -> None:
    aws.fail("organizations:ListAccounts", code)

    with pytest.raises(error, match="organizations:ListAccounts"):
        organization.accounts()


def test_an_account_is_named(organization: Organization) -> None:
    client = organization.organizations
    client.create_organization(FeatureSet="ALL")
    created = client.create_account(AccountName="shop-prod", Email="shop@example.com")
    account_id = created["CreateAccountStatus"]["AccountId"]

    assert organization.account_name(account_id) == "shop-prod"


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("TooManyRequestsException", 400, ThrottledError),
        ("ServiceException", 500, AwsServiceError),
    ],
)
def test_a_name_that_may_be_told_later_is_an_error(
    organization: Organization, aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("organizations:DescribeAccount", code, status)

    with pytest.raises(error):
        organization.account_name("000000000001")


def test_an_account_of_strangers_has_no_name(organization: Organization, aws: FakeAws) -> None:
    aws.fail("organizations:DescribeAccount", "AccountNotFoundException")

    assert organization.account_name("000000000001") is None


def test_a_refusal_is_no_answer(organization: Organization, aws: FakeAws) -> None:
    aws.fail("organizations:DescribeAccount", "AccessDeniedException")

    with pytest.raises(AwsCallError, match="AccessDeniedException"):
        organization.account_name("000000000001")
