from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.account_contact import Contact, account_contact
from pare.errors import AwsServiceError, MemberAccountError, ThrottledError
from tests.handlers.fake_aws import MEMBER

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws


@pytest.fixture
def account(aws: FakeAws) -> Any:
    return boto3.client("account")


def named(aws: FakeAws, kind: str, email: str) -> None:
    """Let the account name a contact of a kind."""
    contact = {
        "Name": f"Ana of {kind}",
        "Title": "Lead",
        "EmailAddress": email,
        "PhoneNumber": "+1 555 0100",
        "AlternateContactType": kind,
    }
    operation = "account:GetAlternateContact"
    # The next call of that kind, and only it.
    aws.answer(operation, {"AlternateContact": contact}, times=1)


def none_of(aws: FakeAws, kind: str) -> None:
    aws.fail(
        "account:GetAlternateContact",
        "ResourceNotFoundException",
        404,
        when=lambda asked: asked["AlternateContactType"] == kind,
    )


def test_the_contact_for_security_comes_first(account: Any, aws: FakeAws) -> None:
    named(aws, "SECURITY", "security@shop.example")

    assert account_contact(account, account_id=MEMBER) == Contact(
        "Ana of SECURITY", "security@shop.example"
    )
    assert aws.called("account:GetAlternateContact") == [{"AlternateContactType": "SECURITY"}]


def test_the_contact_for_operations_is_the_second(account: Any, aws: FakeAws) -> None:
    none_of(aws, "SECURITY")
    named(aws, "OPERATIONS", "ops@shop.example")

    found = account_contact(account, account_id=MEMBER)

    assert found == Contact("Ana of OPERATIONS", "ops@shop.example")


def test_a_contact_without_an_address_is_nobody_to_write_to(account: Any, aws: FakeAws) -> None:
    named(aws, "SECURITY", " ")
    named(aws, "OPERATIONS", "ops@shop.example")

    found = account_contact(account, account_id=MEMBER)

    assert found is not None
    assert found.email == "ops@shop.example"


def test_an_account_may_name_nobody(account: Any, aws: FakeAws) -> None:
    none_of(aws, "SECURITY")
    none_of(aws, "OPERATIONS")

    assert account_contact(account, account_id=MEMBER) is None


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 403, MemberAccountError),
        ("TooManyRequestsException", 429, ThrottledError),
        ("InternalServerException", 500, AwsServiceError),
    ],
)
def test_a_refusal_is_an_error(
    account: Any, aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("account:GetAlternateContact", code, status)

    with pytest.raises(error, match=f"GetAlternateContact in account {MEMBER}: {code}"):
        account_contact(account, account_id=MEMBER)
