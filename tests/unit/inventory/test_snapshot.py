from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pare.errors import ArnParseError
from pare.inventory.snapshot import (
    AccountResultJson,
    PrincipalRowJson,
    build_snapshot,
    principal_rows,
)

ACCOUNT = "111122223333"
CREATED = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
USED = datetime(2026, 11, 20, 9, 0, 0, tzinfo=UTC)


def arn(resource: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:{resource}"


def user(name: str, **more: Any) -> dict[str, Any]:
    """Return an entry of UserDetailList as GetAccountAuthorizationDetails sends it."""
    return {
        "UserName": name,
        "UserId": f"AIDA{name}",
        "Arn": arn(f"user/{name}"),
        "CreateDate": CREATED,
        "GroupList": [],
        "AttachedManagedPolicies": [],
        **more,
    }


def role(name: str, path: str = "", **more: Any) -> dict[str, Any]:
    return {
        "RoleName": name,
        "RoleId": f"AROA{name}",
        "Arn": arn(f"role/{path}{name}"),
        "CreateDate": CREATED,
        "RolePolicyList": [],
        "AttachedManagedPolicies": [],
        "RoleLastUsed": {},
        **more,
    }


def rows(*pages: dict[str, Any]) -> list[PrincipalRowJson]:
    return principal_rows(pages, account_id=ACCOUNT, owner_tag_keys=("owner", "team"))


def test_a_role_becomes_a_row() -> None:
    page = {
        "RoleDetailList": [
            role(
                "App",
                "team/",
                Tags=[{"Key": "Team", "Value": "orders"}, {"Key": "app", "Value": "shop"}],
                AttachedManagedPolicies=[
                    {"PolicyName": "Z", "PolicyArn": "arn:aws:iam::aws:policy/Z"},
                    {"PolicyName": "A", "PolicyArn": arn("policy/A")},
                ],
                RolePolicyList=[{"PolicyName": "write", "PolicyDocument": {}},
                                {"PolicyName": "read", "PolicyDocument": {}}],
                RoleLastUsed={"LastUsedDate": USED, "Region": "eu-west-1"},
                PermissionsBoundary={"PermissionsBoundaryArn": arn("policy/Boundary")},
            )
        ]
    }  # fmt: skip

    assert rows(page) == [
        {
            "account_id": ACCOUNT,
            "principal_arn": arn("role/team/App"),
            "principal_id": "AROAApp",
            "kind": "role",
            "created_at": "2024-01-02T03:04:05Z",
            "last_used_at": "2026-11-20T09:00:00Z",
            "owner": "orders",
            "policies": [arn("policy/A"), "arn:aws:iam::aws:policy/Z", "inline:read",
                         "inline:write"],
            "groups": [],
            "boundary": arn("policy/Boundary"),
            "tags": {"Team": "orders", "app": "shop"},
        }
    ]  # fmt: skip


def test_a_user_becomes_a_row_with_its_groups() -> None:
    page = {
        "UserDetailList": [
            user(
                "mary",
                GroupList=["Developers", "Auditors"],
                UserPolicyList=[{"PolicyName": "own", "PolicyDocument": {}}],
            )
        ]
    }

    (row,) = rows(page)

    assert row["kind"] == "user"
    assert row["principal_id"] == "AIDAmary"
    assert row["groups"] == ["Auditors", "Developers"]
    assert row["policies"] == ["inline:own"]
    assert row["last_used_at"] is None
    assert row["owner"] is None
    assert row["boundary"] is None
    assert row["tags"] == {}


def test_all_pages_count_and_rows_are_sorted_by_arn() -> None:
    pages = (
        {"RoleDetailList": [role("Z"), role("A")], "UserDetailList": [user("zoe")]},
        {"GroupDetailList": [{"GroupName": "Developers"}], "Policies": [{"PolicyName": "P"}]},
        {"UserDetailList": [user("abe")]},
    )

    found = [row["principal_arn"] for row in rows(*pages)]

    assert found == [arn("role/A"), arn("role/Z"), arn("user/abe"), arn("user/zoe")]
    assert [row["principal_arn"] for row in rows(*reversed(pages))] == found


def test_kinds_that_must_be_left_alone_are_told_apart() -> None:
    page = {
        "RoleDetailList": [
            role("AWSServiceRoleForSupport", "aws-service-role/support.amazonaws.com/"),
            role("AWSReservedSSO_Admin_0", "aws-reserved/sso.amazonaws.com/"),
        ]
    }

    assert {row["kind"] for row in rows(page)} == {"service-linked role", "Identity Center role"}


def test_an_account_without_principals_has_no_rows() -> None:
    assert rows() == []
    assert rows({}) == []


def test_an_entity_that_has_no_arn_of_its_own_is_not_dropped() -> None:
    with pytest.raises(ArnParseError):
        rows({"RoleDetailList": [role("App") | {"Arn": "arn:aws:iam::1:role/App"}]})


# --- Snapshots ---


def result(account_id: str, error: str | None = None, count: int = 0) -> AccountResultJson:
    return {
        "account_id": account_id,
        "name": f"account-{account_id[:1]}",
        "principal_count": count,
        "error": error,
        "message": error and "no way in",
        "rows": None if error else {"bucket": "evidence", "key": f"{account_id}.ndjson.gz"},
    }


def snapshot(results: list[AccountResultJson], found: list[PrincipalRowJson]) -> Any:
    return build_snapshot(
        period="2026-11", created_at="2026-11-01T06:00:00Z", results=results, rows=found
    )


def test_a_snapshot_counts_kinds_and_names_unknown_accounts() -> None:
    found = rows({"RoleDetailList": [role("A"), role("B")], "UserDetailList": [user("mary")]})
    unknown = result("333333333333", "MemberAccountError")
    known = [result("222222222222", count=3), result("111111111111")]

    assert snapshot([unknown, *known], found) == {
        "definition_version": 1,
        "period": "2026-11",
        "created_at": "2026-11-01T06:00:00Z",
        "account_count": 3,
        "principal_count": 3,
        "by_kind": {"role": 2, "user": 1},
        "unknown_accounts": [unknown],
        "accounts": [known[1], known[0], unknown],
    }


def test_same_accounts_same_bytes_in_any_order() -> None:
    found = rows({"RoleDetailList": [role("A")], "UserDetailList": [user("mary")]})
    results = [result("222222222222"), result("111111111111")]

    assert json.dumps(snapshot(results, found)) == json.dumps(snapshot(results[::-1], found[::-1]))


def test_an_empty_organization_has_a_snapshot() -> None:
    empty = snapshot([], [])

    assert (empty["account_count"], empty["principal_count"], empty["by_kind"]) == (0, 0, {})
