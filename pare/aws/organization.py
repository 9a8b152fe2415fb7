"""The accounts of the organization, as Organizations tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from pare.aws.calls import translated
from pare.errors import PareError

if TYPE_CHECKING:
    from mypy_boto3_organizations import OrganizationsClient


class _StrangeAccountError(PareError):
    """The account is none of the organization."""


_STRANGERS = {"AccountNotFoundException": _StrangeAccountError}


class AccountJson(TypedDict):
    """An account: ``state`` is ACTIVE, SUSPENDED, PENDING_CLOSURE, …, as AWS names it."""

    account_id: str
    name: str
    email: str
    state: str


@dataclass(frozen=True, slots=True)
class Organization:
    """Reads Organizations; works in the management account and in a delegated administrator."""

    organizations: OrganizationsClient

    def accounts(self) -> list[AccountJson]:
        """Return every account, sorted by id."""
        accounts: list[AccountJson] = []
        with translated("organizations:ListAccounts"):
            # A page may be empty and yet have a successor; the paginator knows.
            for page in self.organizations.get_paginator("list_accounts").paginate():
                accounts += [
                    {
                        "account_id": account["Id"],
                        "name": account.get("Name", ""),
                        "email": account.get("Email", ""),
                        # Status retires on 9 September 2026, State replaces it (facts §6).
                        "state": account.get("State") or account.get("Status", "UNKNOWN"),
                    }
                    for account in page["Accounts"]
                ]
        return sorted(accounts, key=lambda account: account["account_id"])

    def account_name(self, account_id: str) -> str | None:
        """Return the name of an account (empty where it has none), or None for a stranger's.

        Raises ThrottledError or AwsServiceError where Organizations may tell when asked again,
        AwsCallError where it refuses to.
        """
        try:
            with translated("organizations:DescribeAccount", codes=_STRANGERS):
                answer = self.organizations.describe_account(AccountId=account_id)
        except _StrangeAccountError:
            return None
        return answer["Account"].get("Name", "")
