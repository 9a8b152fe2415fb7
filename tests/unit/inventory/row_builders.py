"""Facts and rows for tests: a role that is used and kept, changed as a test says.

``facts(arn, **changes)`` is what Collect principals finds, ``row(arn, **changes)`` a complete row
of a snapshot. ``class`` is a keyword of Python: ``row(arn, cls="disable")``.
"""

from __future__ import annotations

import copy
import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pare.inventory.model import (
    DEFINITION_VERSION,
    AccessKeyJson,
    AccountResultJson,
    CollectedJson,
    CredentialsJson,
    InventoryTermsJson,
    LastAccessedJson,
    LastUseJson,
    PrincipalFactsJson,
    PrincipalRowJson,
    RootUserJson,
    ServiceUseJson,
    TrustJson,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT: Final = "111122223333"
AS_OF: Final = datetime(2026, 11, 1, 6, tzinfo=UTC)
PERIOD: Final = "2026-11"
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/app/OrdersApi"
USER: Final = f"arn:aws:iam::{ACCOUNT}:user/alice"


def terms(**changes: Any) -> InventoryTermsJson:
    """Return the settings' terms, as config/pare.yaml has them by default."""
    found: dict[str, Any] = {
        "idle_days": 90,
        "new_days": 30,
        "key_max_age_days": 365,
        "narrow_unused_services": 5,
        "disable_after_days": 30,
        "delete_after_days": 60,
        "seasonal_weeks": 3,
        "window_days": 90,
        "break_glass_tag": "pare:break-glass",
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "security@example.com",
        "exemptions": [],
        "rules": [],
    }
    return _changed(found, changes)  # type: ignore[return-value]


def trust(**changes: Any) -> TrustJson:
    """Return the trust of a role that a service assumes."""
    found: dict[str, Any] = {
        "services": ["ec2.amazonaws.com"],
        "own_account": False,
        "inside": [],
        "outside": [],
        "federated": [],
        "federated_open": [],
        "is_public": False,
        "unknown": [],
    }
    return _changed(found, changes)  # type: ignore[return-value]


def access_key(access_key_id: str | None = "AKIAIOSFODNN7EXAMPLE", **changes: Any) -> AccessKeyJson:
    """Return an active access key, half a year old and used the day before."""
    found: dict[str, Any] = {
        "access_key_id": access_key_id,
        "is_active": True,
        "created_at": "2026-05-01T08:00:00Z",
        "last_used_at": "2026-10-31T08:00:00Z",
        "last_used_service": "s3",
        "last_used_region": "eu-west-1",
    }
    return _changed(found, changes)  # type: ignore[return-value]


def credentials(**changes: Any) -> CredentialsJson:
    """Return the credentials of a user who signed in the day before, with MFA and no key."""
    found: dict[str, Any] = {
        "password_enabled": True,
        "password_last_used_at": "2026-10-31T09:00:00Z",
        "password_changed_at": "2026-06-01T09:00:00Z",
        "mfa_active": True,
        "access_keys": [],
        "active_certificates": 0,
        "additional": "",
    }
    return _changed(found, changes)  # type: ignore[return-value]


def facts(arn: str = ROLE, **changes: Any) -> PrincipalFactsJson:
    """Return the facts of a role that was used the day before; of a user where the ARN is one's."""
    is_user = ":user/" in arn
    parts = arn.split(":", 5)
    number = hashlib.sha256(arn.encode()).hexdigest()[:16].upper()
    found: dict[str, Any] = {
        "account_id": parts[4],
        "principal_arn": arn,
        "principal_id": ("AIDA" if is_user else "AROA") + number,
        "kind": "person" if is_user else "service role",
        "created_at": "2024-01-10T09:00:00Z",
        "owner": "orders@example.com",
        "tags": {"owner": "orders@example.com"},
        "policies": ["inline:Work"],
        "groups": ["Developers"] if is_user else [],
        "boundary": None,
        "description": "",
        "trust": None if is_user else trust(),
        "role_last_used_at": None if is_user else "2026-10-31T10:00:00Z",
        "role_last_used_region": None if is_user else "eu-west-1",
        "credentials": credentials() if is_user else None,
        "wide": [],
        "disabled_by": None,
        "instance_profiles": [],
        "unknown": [],
    }
    return _changed(found, changes)  # type: ignore[return-value]


def service_use(service: str = "s3", **changes: Any) -> ServiceUseJson:
    """Return a service that was used the day before, with one action used and none left."""
    found: dict[str, Any] = {
        "service": service,
        "last_accessed_at": "2026-10-31T10:00:00Z",
        "region": "eu-west-1",
        "used": {"ListAllMyBuckets": "2026-10-31T10:00:00Z"},
        "unused": [],
        "tracked": 1,
    }
    return _changed(found, changes)  # type: ignore[return-value]


def unused_service(service: str) -> ServiceUseJson:
    """Return a service that is allowed and has no use in the tracking period."""
    return service_use(service, last_accessed_at=None, region=None, used={}, unused=None, tracked=3)


def last_accessed(
    *services: ServiceUseJson, arn: str = ROLE, error: str | None = None
) -> LastAccessedJson:
    """Return a job's outcome; unknown where an error is given."""
    return {
        "principal_arn": arn,
        "outcome": "unknown" if error else "COMPLETED",
        "error": error,
        "message": "the job failed" if error else "",
        "attempts": 3 if error else 1,
        "generated_at": None if error else "2026-11-01T06:10:00Z",
        "services": None if error else list(services),
    }


def row(arn: str = ROLE, **changes: Any) -> PrincipalRowJson:
    """Return a complete row: a principal used the day before, and kept."""
    if "cls" in changes:
        changes["class"] = changes.pop("cls")
    is_user = ":user/" in arn
    source = "password" if is_user else "role"
    at = "2026-10-31T09:00:00Z" if is_user else "2026-10-31T10:00:00Z"
    found: dict[str, Any] = {
        **facts(arn),
        "class": "keep",
        "definition_version": DEFINITION_VERSION,
        "period": PERIOD,
        "status": "used",
        "is_unused": changes.get("status") in {"idle", "never used"},
        "idle_days": 0,
        "reasons": [
            {"code": "USED", "values": {"date": "2026-10-31", "source": source, "what": ""}}
        ],
        "issues": [],
        "last_use": {
            "at": at,
            "source": source,
            "what": "",
            "sources": {source: at, "service": None},
            "unknown": [],
            "since": "2025-09-27T06:00:00Z",
        },
        "services": {},
        "unused_services": 0,
        "unused_actions": 0,
        "seasons": [],
        "used_months": ["2026-10"],
        "used_services_months": {},
        "exemption": None,
        "owner_shown": "orders@example.com",
        "plans": [],
        "change": "same",
        "changes": [],
    }
    return _changed(found, changes)  # type: ignore[return-value]


def last_use(**changes: Any) -> LastUseJson:
    """Return the last use of a role that is a year ago."""
    found: dict[str, Any] = {
        "at": "2025-11-02T10:00:00Z",
        "source": "role",
        "what": "",
        "sources": {"role": "2025-11-02T10:00:00Z", "service": None},
        "unknown": [],
        "since": "2025-09-27T06:00:00Z",
    }
    return _changed(found, changes)  # type: ignore[return-value]


def root_user(**changes: Any) -> RootUserJson:
    """Return a root user with MFA, no key, and a sign-in years ago."""
    found: dict[str, Any] = {
        "mfa_active": True,
        "password_last_used_at": "2021-03-01T08:00:00Z",
        "access_keys": [],
    }
    return _changed(found, changes)  # type: ignore[return-value]


def collected(**changes: Any) -> CollectedJson:
    """Return what Collect principals leaves of an account."""
    work = f"inventory/period={PERIOD}/work=run/account={ACCOUNT}"
    found: dict[str, Any] = {
        "account_id": ACCOUNT,
        "name": "orders",
        "alias": "acme-orders",
        "collected_at": "2026-11-01T06:05:00Z",
        "details": {"bucket": "evidence", "key": f"{work}/authorization_details.ndjson.gz"},
        "credential_report": {"bucket": "evidence", "key": f"{work}/credential_report.csv"},
        "access_keys": {},
        "principals": {"bucket": "evidence", "key": f"{work}/principals.json"},
        "principal_count": 0,
        "unknown": [],
        "calls": 3,
        "seconds": 1.5,
    }
    return _changed(found, changes)  # type: ignore[return-value]


def account_result(account_id: str = ACCOUNT, **changes: Any) -> AccountResultJson:
    """Return how an account ended: read, and nothing in it."""
    work = f"inventory/period={PERIOD}/work=run/account={account_id}"
    found: dict[str, Any] = {
        "account_id": account_id,
        "name": "orders",
        "alias": None,
        "error": None,
        "message": None,
        "principal_count": 0,
        "rows": {"bucket": "evidence", "key": f"{work}/rows.ndjson.gz"},
        "last_accessed": [],
        "gone": None,
        "root": root_user(),
        "issues": [],
        "counts": {},
        "unknown": [],
        "calls": 3,
        "throttled": 0,
        "seconds": 1.5,
        "transitions": 6,
    }
    # ``known`` may be there or not.
    known = {"known": changes.pop("known")} if "known" in changes else {}
    return _changed(found, changes) | known  # type: ignore[return-value]


def _changed(found: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    wrong = changes.keys() - found.keys()
    if wrong:
        raise KeyError(f"no such member: {sorted(wrong)}")
    # Rows of a test share nothing, so that one cannot be changed through another.
    return {**found, **copy.deepcopy(dict(changes))}
