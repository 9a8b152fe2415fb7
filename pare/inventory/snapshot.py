"""The inventory of principals: every user and role of an account, and of the organization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from pare.arns import parse_principal_arn
from pare.clock import format_time
from pare.policy.current import kind_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pare.object_ref import ObjectRef

# Raised whenever a row changes its meaning, so that months can be compared honestly.
DEFINITION_VERSION = 1


class PrincipalRowJson(TypedDict):
    """One user or role in a snapshot. Times are ISO 8601 UTC."""

    account_id: str
    principal_arn: str
    principal_id: str
    kind: str
    created_at: str
    last_used_at: str | None  # of a role, as IAM tells; a user's comes with the credential report
    owner: str | None
    policies: list[str]
    groups: list[str]
    boundary: str | None
    tags: dict[str, str]


class AccountResultJson(TypedDict):
    """How the collection of one account ended; ``error`` means the account is unknown."""

    account_id: str
    name: str
    principal_count: int
    error: str | None
    message: str | None
    rows: ObjectRef | None  # where the rows lie


def principal_rows(
    pages: Iterable[Mapping[str, Any]], *, account_id: str, owner_tag_keys: tuple[str, ...]
) -> list[PrincipalRowJson]:
    """Return a row for every user and role in the pages of an account, sorted by ARN."""
    rows: list[PrincipalRowJson] = []
    for page in pages:
        for entity in page.get("UserDetailList", []):
            inline = [policy["PolicyName"] for policy in entity.get("UserPolicyList", [])]
            rows.append(_row(entity, account_id, inline, owner_tag_keys, entity["UserId"]))
        for entity in page.get("RoleDetailList", []):
            inline = [policy["PolicyName"] for policy in entity.get("RolePolicyList", [])]
            rows.append(_row(entity, account_id, inline, owner_tag_keys, entity["RoleId"]))
    return sorted(rows, key=lambda row: row["principal_arn"])


def _row(
    entity: Mapping[str, Any],
    account_id: str,
    inline: list[str],
    owner_tag_keys: tuple[str, ...],
    principal_id: str,
) -> PrincipalRowJson:
    tags = {tag["Key"]: tag["Value"] for tag in entity.get("Tags", [])}
    attached = [policy["PolicyArn"] for policy in entity.get("AttachedManagedPolicies", [])]
    used_at = entity.get("RoleLastUsed", {}).get("LastUsedDate")
    return {
        "account_id": account_id,
        "principal_arn": entity["Arn"],
        "principal_id": principal_id,
        "kind": kind_of(parse_principal_arn(entity["Arn"])),
        "created_at": format_time(entity["CreateDate"]),
        "last_used_at": format_time(used_at) if used_at else None,
        "owner": owner_of(tags, owner_tag_keys),
        "policies": sorted(attached) + sorted(f"inline:{name}" for name in inline),
        "groups": sorted(entity.get("GroupList", [])),
        "boundary": entity.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
        "tags": dict(sorted(tags.items())),
    }


class SnapshotJson(TypedDict):
    """The head of a snapshot; its rows lie beside it as gzip NDJSON."""

    definition_version: int
    period: str
    created_at: str
    account_count: int
    principal_count: int
    by_kind: dict[str, int]
    unknown_accounts: list[AccountResultJson]
    accounts: list[AccountResultJson]


def build_snapshot(
    *,
    period: str,
    created_at: str,
    results: Iterable[AccountResultJson],
    rows: Iterable[PrincipalRowJson],
) -> SnapshotJson:
    """Return the head of a period's snapshot. An account without rows is unknown, never empty."""
    accounts = sorted(results, key=lambda result: result["account_id"])
    by_kind: dict[str, int] = {}
    for row in rows:
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + 1
    return {
        "definition_version": DEFINITION_VERSION,
        "period": period,
        "created_at": created_at,
        "account_count": len(accounts),
        "principal_count": sum(by_kind.values()),
        "by_kind": dict(sorted(by_kind.items())),
        "unknown_accounts": [result for result in accounts if result["error"]],
        "accounts": accounts,
    }
