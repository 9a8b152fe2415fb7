"""Whom an account names to be written to: its alternate contacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pare.aws.calls import translated
from pare.errors import PareError

# Who is asked first.
_KINDS = ("SECURITY", "OPERATIONS")


class _NoContactError(PareError):
    """The account names no contact of a kind."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact of an account. Its telephone number and title are not kept."""

    name: str
    email: str


def account_contact(account: Any, *, account_id: str) -> Contact | None:
    """Return the contact for security, else the one for operations, or None where neither is named.

    ``account`` is a client of AWS Account Management with credentials of the account itself.
    Raises MemberAccountError where the read is refused.
    https://docs.aws.amazon.com/accounts/latest/reference/API_GetAlternateContact.html
    """
    for kind in _KINDS:
        try:
            with translated("account:GetAlternateContact", account_id=account_id,
                            codes={"ResourceNotFoundException": _NoContactError}):  # fmt: skip
                found = account.get_alternate_contact(AlternateContactType=kind)["AlternateContact"]
        except _NoContactError:
            continue
        if email := found.get("EmailAddress", "").strip():
            return Contact(found.get("Name", ""), email)
    return None
