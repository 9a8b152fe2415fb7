"""The accounts of the organization, as Organizations tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from pare.aws.calls import translated
from pare.errors import AwsServiceError, PareError, ThrottledError

if TYPE_CHECKING:
    from mypy_boto3_organizations import OrganizationsClient


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
        """Return an account's name, or None where Organizations does not tell.

        Raises ThrottledError or AwsServiceError where it may tell when asked again.
        """
        try:
            with translated("organizations:DescribeAccount"):
                answer = self.organizations.describe_account(AccountId=account_id)
        except (ThrottledError, AwsServiceError):
            raise
        except PareError:
            return None
        return answer["Account"].get("Name")
