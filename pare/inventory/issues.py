"""What should be mended beside the class: keys, passwords, MFA, trust, owner; and the root user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.clock import parse_time
from pare.inventory.uses import KEYS_SINCE, PASSWORDS_SINCE

if TYPE_CHECKING:
    from datetime import datetime

    from pare.inventory.model import (
        CredentialsJson,
        InventoryTermsJson,
        PrincipalFactsJson,
        ReasonJson,
        RootUserJson,
        TrustJson,
    )

# Their owner is AWS, and nobody here can tag them.
_AWS_KINDS = frozenset({"service-linked role", "Identity Center role"})
REPORTED_KEYS = 2


def issues_of(
    facts: PrincipalFactsJson, terms: InventoryTermsJson, *, as_of: datetime
) -> list[ReasonJson]:
    """Return what should be mended of a user or role, sorted by code."""
    found: list[ReasonJson] = []
    if facts["kind"] != "service-linked role":
        if facts["credentials"] is not None:
            found += _credentials(facts, facts["credentials"], terms, as_of)
        if facts["trust"] is not None:
            found += _trust(facts["trust"])
    if facts["kind"] not in _AWS_KINDS and facts["owner"] is None:
        found.append(issue("NO_OWNER"))
    # Stable: keys and accounts stay in their order.
    return sorted(found, key=lambda each: each["code"])


def root_issues(root: RootUserJson | None, *, idle_days: int, as_of: datetime) -> list[ReasonJson]:
    """Return what should be mended of the root user; nothing where it is unknown.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/root-user-best-practices.html
    """
    if root is None:
        return []
    found = [
        issue("ROOT_KEY", number=number)
        for number, key in enumerate(root["access_keys"], start=1)
        if key["is_active"]
    ]
    if not root["mfa_active"]:
        found.append(issue("ROOT_NO_MFA"))
    uses = [root["password_last_used_at"], *(key["last_used_at"] for key in root["access_keys"])]
    last = max((use for use in uses if use), key=parse_time, default=None)
    if last is not None and days_since(last, as_of) <= idle_days:
        found.append(issue("ROOT_USED", date=last[:10], days=days_since(last, as_of)))
    return found


def issue(code: str, **values: str | int) -> ReasonJson:
    """Return a reason or an issue."""
    return {"code": code, "values": values}


def days_since(at: str, as_of: datetime) -> int:
    """Return how many whole days a moment is ago; 0 where it lies after ``as_of``."""
    return max((as_of - parse_time(at)).days, 0)


def key_idleness(
    created_at: str | None,
    last_used_at: str | None,
    *,
    since: str,
    terms: InventoryTermsJson,
    as_of: datetime,
) -> tuple[str, int] | None:
    """Return ``("IDLE" or "NEVER_USED", days)`` of a key or password; None: used, new or unknown.

    ``since`` is when IAM began to record such uses.
    """
    # Made, or enabled again, a short time ago: it may be about to be used.
    if created_at is not None and days_since(created_at, as_of) < terms["new_days"]:
        return None
    if last_used_at is not None:
        days = days_since(last_used_at, as_of)
        return ("IDLE", days) if days > terms["idle_days"] else None
    if created_at is None:
        return None
    if parse_time(created_at) < parse_time(since):
        return "IDLE", days_since(since, as_of)
    return "NEVER_USED", days_since(created_at, as_of)


def password_idleness(
    facts: PrincipalFactsJson,
    credentials: CredentialsJson,
    terms: InventoryTermsJson,
    as_of: datetime,
) -> tuple[str, int] | None:
    """Return the same of a user's password; None where there is none."""
    if credentials["password_enabled"] is not True:
        return None
    return key_idleness(
        credentials["password_changed_at"] or facts["created_at"],
        credentials["password_last_used_at"],
        since=PASSWORDS_SINCE, terms=terms, as_of=as_of,
    )  # fmt: skip


def _credentials(
    facts: PrincipalFactsJson,
    credentials: CredentialsJson,
    terms: InventoryTermsJson,
    as_of: datetime,
) -> list[ReasonJson]:
    found = []
    for number, key in enumerate(credentials["access_keys"], start=1):
        if not key["is_active"]:
            continue
        created_at = key["created_at"]
        if created_at and days_since(created_at, as_of) > terms["key_max_age_days"]:
            found.append(issue("KEY_OLD", number=number, days=days_since(created_at, as_of)))
        idle = key_idleness(
            created_at, key["last_used_at"], since=KEYS_SINCE, terms=terms, as_of=as_of
        )
        # The report tells of two keys: the use of another one is unknown.
        if idle and number <= REPORTED_KEYS:
            found.append(issue(f"KEY_{idle[0]}", number=number, days=idle[1]))
    if credentials["password_enabled"] is True and not credentials["mfa_active"]:
        found.append(issue("NO_MFA"))
    idle = password_idleness(facts, credentials, terms, as_of)
    if idle:
        found.append(issue(f"PASSWORD_{idle[0]}", days=idle[1]))
    return found


def _trust(trust: TrustJson) -> list[ReasonJson]:
    found = [
        issue(
            "OUTSIDE_TRUST" if each["external_id"] else "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID",
            account=each["account_id"],
        )
        for each in trust["outside"]
    ]
    if trust["is_public"]:
        found.append(issue("PUBLIC_TRUST"))
    found += [issue("FEDERATED_WITHOUT_SUBJECT", provider=each) for each in trust["federated_open"]]
    found += [issue("UNKNOWN_TRUST", principal=each) for each in trust["unknown"]]
    return found
