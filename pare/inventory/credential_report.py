"""IAM's credential report: what the CSV says of each user's password, keys and MFA.

https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html

Times in the report stand in ISO 8601. ``N/A`` and ``no_information`` stand for what is not there or
not recorded, ``not_supported`` for what the report does not tell (of the root user). A user whose
row cannot be read is left out, and so unknown: never a user without credentials.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pare.clock import format_time, parse_time
from pare.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pare.inventory.model import AccessKeyJson, CredentialsJson, RootUserJson

ROOT_USER = "<root_account>"
# Without these a text is no credential report; the others are newer, or a report may lack them.
REQUIRED_COLUMNS = (
    "user",
    "arn",
    "password_enabled",
    "mfa_active",
    "access_key_1_active",
    "access_key_2_active",
)
_EMPTY = frozenset({"", "n/a", "no_information", "not_supported"})
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class CredentialReport:
    """What a report says, users by name: a name is unique within an account."""

    users: dict[str, CredentialsJson]
    root: RootUserJson | None  # None: the report has no row of it, or one that cannot be read
    # When each user was made: a user made anew under an old name is not the one in the report.
    created_at: dict[str, str]


def read_credential_report(csv_text: str) -> CredentialReport:
    """Return what a report says; raises InventoryError for a text that is not one."""
    # A line break inside quotes belongs to its value.
    rows = csv.DictReader(io.StringIO(csv_text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        missing = [column for column in REQUIRED_COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise InventoryError(
                "This is not a credential report of IAM: its first line has no column "
                f"{', '.join(missing)}."
            )
        return _report(rows)
    except csv.Error as error:
        raise InventoryError(f"The credential report is not CSV: {error}.") from error


def _report(rows: Iterable[Mapping[str, str | None]]) -> CredentialReport:
    users: dict[str, CredentialsJson] = {}
    created_at: dict[str, str] = {}
    root: RootUserJson | None = None
    for row in rows:
        name = row.get("user") or ""
        try:
            credentials = _credentials(row)
            created = _time(row, "user_creation_time")
        except ValueError:
            continue
        if name == ROOT_USER:
            root = {
                "mfa_active": credentials["mfa_active"],
                "password_last_used_at": credentials["password_last_used_at"],
                "access_keys": credentials["access_keys"],
            }
        elif name:
            users[name] = credentials
            if created is not None:
                created_at[name] = created
    return CredentialReport(dict(sorted(users.items())), root, dict(sorted(created_at.items())))


def _credentials(row: Mapping[str, str | None]) -> CredentialsJson:
    """Return a row's credentials; raises ValueError for a row that cannot be read."""
    mfa_active = _boolean(row, "mfa_active")
    if mfa_active is None:
        raise ValueError("the row does not say whether MFA is active")
    return {
        "password_enabled": _boolean(row, "password_enabled"),
        "password_last_used_at": _time(row, "password_last_used"),
        "password_changed_at": _time(row, "password_last_changed"),
        "mfa_active": mfa_active,
        "access_keys": [key for number in (1, 2) for key in _access_key(row, number)],
        "active_certificates": sum(
            _boolean(row, f"cert_{number}_active") is True for number in (1, 2)
        ),
        "additional": _text(row, "additional_credentials_info"),
    }


def _access_key(row: Mapping[str, str | None], number: int) -> list[AccessKeyJson]:
    """Return the key in one of the two places, or nothing where the place is empty."""
    place = f"access_key_{number}"
    is_active = _boolean(row, f"{place}_active")
    if is_active is None:
        raise ValueError(f"the row does not say whether {place} is active")
    key: AccessKeyJson = {
        "access_key_id": None,
        "is_active": is_active,
        "created_at": _time(row, f"{place}_last_rotated"),
        "last_used_at": _time(row, f"{place}_last_used_date"),
        "last_used_service": _text(row, f"{place}_last_used_service") or None,
        "last_used_region": _text(row, f"{place}_last_used_region") or None,
    }
    is_there = is_active or key["created_at"] is not None or key["last_used_at"] is not None
    return [key] if is_there else []


def _text(row: Mapping[str, str | None], column: str) -> str:
    text = (row.get(column) or "").strip()
    return "" if text.lower() in _EMPTY else text


def _boolean(row: Mapping[str, str | None], column: str) -> bool | None:
    """Return None where the report has no such column or does not tell; raises ValueError."""
    text = _text(row, column).lower()
    if not text:
        return None
    if text not in _BOOLEANS:
        raise ValueError(f"{column} is neither true nor false")
    return _BOOLEANS[text]


def _time(row: Mapping[str, str | None], column: str) -> str | None:
    text = _text(row, column)
    return format_time(parse_time(text)) if text else None
