from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from pare.clock import json_times
from pare.errors import InventoryError
from pare.inventory.credential_report import CredentialReport
from pare.inventory.facts import principal_facts

if TYPE_CHECKING:
    from pare.inventory.model import (
        AccessKeyJson,
        CollectedJson,
        CredentialsJson,
        PrincipalFactsJson,
    )

ACCOUNT, INSIDE, OUTSIDE = "111122223333", "222233334444", "999988887777"
IAM = f"arn:aws:iam::{ACCOUNT}"
AWS = "arn:aws:iam::aws:policy"
CREATED, CREATED_TEXT = datetime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00Z"


def document(action: Any = "s3:GetObject", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


DENY_EVERYTHING = document("*", Effect="Deny")


def trust(principal: Any, **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def role(name: str = "App", path: str = "/", **more: Any) -> dict[str, Any]:
    """A role as boto3 gives it."""
    return {
        "Path": path,
        "RoleName": name,
        "RoleId": "AROAEXAMPLE",
        "Arn": f"{IAM}:role{path}{name}",
        "CreateDate": CREATED,
        "AssumeRolePolicyDocument": trust({"AWS": ACCOUNT}),
        "InstanceProfileList": [],
        "RolePolicyList": [],
        "AttachedManagedPolicies": [],
        "Tags": [],
        "RoleLastUsed": {},
        **more,
    }


def user(name: str = "mary", **more: Any) -> dict[str, Any]:
    return {
        "Path": "/",
        "UserName": name,
        "UserId": "AIDAEXAMPLE",
        "Arn": f"{IAM}:user/{name}",
        "CreateDate": CREATED,
        "GroupList": [],
        "AttachedManagedPolicies": [],
        "Tags": [],
        **more,
    }


def managed(arn: str, policy: Any, **more: Any) -> dict[str, Any]:
    return {
        "PolicyName": arn.rpartition("/")[2],
        "Arn": arn,
        "DefaultVersionId": "v2",
        "PolicyVersionList": [
            {"VersionId": "v1", "IsDefaultVersion": False, "Document": document("*")},
            {"VersionId": "v2", "IsDefaultVersion": True, "Document": policy},
        ],
        **more,
    }


def inline(name: str, policy: Any) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyDocument": policy}


def attached(*arns: str) -> list[dict[str, str]]:
    return [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in arns]


def key(is_active: bool = True, created_at: str | None = CREATED_TEXT) -> AccessKeyJson:
    return {
        "access_key_id": None,
        "is_active": is_active,
        "created_at": created_at,
        "last_used_at": None,
        "last_used_service": None,
        "last_used_region": None,
    }


def credentials(**more: Any) -> CredentialsJson:
    found: CredentialsJson = {
        "password_enabled": False,
        "password_last_used_at": None,
        "password_changed_at": None,
        "mfa_active": False,
        "access_keys": [],
        "active_certificates": 0,
        "additional": "",
    }
    return {**found, **more}  # type: ignore[typeddict-item]


def collected(access_keys: dict[str, list[dict[str, str]]] | None = None) -> CollectedJson:
    ref = {"bucket": "b", "key": "k"}
    return {
        "account_id": ACCOUNT,
        "name": "shop",
        "alias": None,
        "collected_at": "2026-11-01T06:00:00Z",
        "details": ref,  # type: ignore[typeddict-item]
        "credential_report": None,
        "access_keys": access_keys or {},
        "principals": ref,  # type: ignore[typeddict-item]
        "principal_count": 1,
        "unknown": [],
        "calls": 1,
        "seconds": 1.0,
    }


def facts(
    *pages: dict[str, Any],
    report: CredentialReport | None = None,
    keys: dict[str, list[dict[str, str]]] | None = None,
) -> list[PrincipalFactsJson]:
    return principal_facts(
        pages,
        report,
        account_id=ACCOUNT,
        collected=collected(keys),
        organization_accounts={ACCOUNT, INSIDE},
        owner_tag_keys=["owner", "team"],
        break_glass_tag="pare:break-glass",
    )


def of_role(more: dict[str, Any] | None = None, **lists: Any) -> PrincipalFactsJson:
    (found,) = facts({"RoleDetailList": [role(**(more or {}))], **lists})
    return found


def of_user(
    found: CredentialsJson | None = None,
    more: dict[str, Any] | None = None,
    listed: list[dict[str, str]] | None = None,
    **lists: Any,
) -> PrincipalFactsJson:
    """The facts of mary, with a row in the report or without one."""
    report = CredentialReport({"mary": found} if found else {}, None, {})
    (mary,) = facts(
        {"UserDetailList": [user(**(more or {}))], **lists},
        report=report,
        keys={"mary": listed} if listed is not None else {},
    )
    return mary


# --- what is told ---------------------------------------------------------------------------------


def test_everything_of_a_role_is_told() -> None:
    boundary = f"{IAM}:policy/Boundary"
    profile = {"Arn": f"{IAM}:instance-profile/App", "Roles": [
        {"Arn": f"{IAM}:role/team/App", "Description": "Takes <orders>"}]}  # fmt: skip
    page = {
        "RoleDetailList": [
            role(
                path="/team/",
                AssumeRolePolicyDocument=trust({"Service": "ec2.amazonaws.com"}),
                RolePolicyList=[inline("own", document()), inline("also", document())],
                AttachedManagedPolicies=attached(f"{AWS}/ReadOnlyAccess"),
                PermissionsBoundary={"PermissionsBoundaryArn": boundary},
                Tags=[{"Key": "Owner", "Value": " orders "}, {"Key": "app", "Value": "shop"}],
                RoleLastUsed={"LastUsedDate": datetime(2026, 11, 20, tzinfo=UTC), "Region": "x"},
                InstanceProfileList=[profile],
            )
        ],
        "Policies": [
            managed(f"{AWS}/ReadOnlyAccess", document("s3:Get*")),
            managed(boundary, document("s3:*")),
        ],
    }

    expected: PrincipalFactsJson = (
        {
            "account_id": ACCOUNT,
            "principal_arn": f"{IAM}:role/team/App",
            "principal_id": "AROAEXAMPLE",
            "kind": "service role",
            "created_at": CREATED_TEXT,
            "owner": "orders",
            "tags": {"Owner": " orders ", "app": "shop"},
            "policies": [f"{AWS}/ReadOnlyAccess", "inline:also", "inline:own"],
            "groups": [],
            "boundary": boundary,
            "description": "Takes <orders>",
            "trust": {
                "services": ["ec2.amazonaws.com"], "own_account": False, "inside": [],
                "outside": [], "federated": [], "federated_open": [],
                "is_public": False, "unknown": [],
            },
            "role_last_used_at": "2026-11-20T00:00:00Z",
            "role_last_used_region": "x",
            "credentials": None,
            "wide": [],
            "disabled_by": None,
            "instance_profiles": [f"{IAM}:instance-profile/App"],
            "unknown": [],
        }
    )  # fmt: skip
    assert facts(page) == [expected]
    assert facts(json_times(page)) == facts(page), "stored pages say the same"


def test_rows_are_sorted_whatever_the_pages() -> None:
    pages = [
        {"RoleDetailList": [role("B"), role("A")]},
        {"UserDetailList": [user("zoe")], "RoleDetailList": [role("C")]},
    ]

    found = facts(*pages)

    assert [each["principal_arn"] for each in found] == [
        f"{IAM}:role/A", f"{IAM}:role/B", f"{IAM}:role/C", f"{IAM}:user/zoe",
    ]  # fmt: skip
    assert facts(*reversed(pages)) == found
    assert facts() == []


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "role"),
        ({"AssumeRolePolicyDocument": trust({"Service": "ec2.amazonaws.com"})}, "service role"),
        ({"AssumeRolePolicyDocument": trust({"AWS": INSIDE})}, "cross-account role"),
        ({"AssumeRolePolicyDocument": trust({"AWS": OUTSIDE, "Service": "x.amazonaws.com"})},
         "cross-account role"),
        ({"AssumeRolePolicyDocument": trust("*")}, "cross-account role"),
        ({"AssumeRolePolicyDocument": trust(
            "*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}})},
         "cross-account role"),
        ({"AssumeRolePolicyDocument": trust({"Federated": f"{IAM}:saml-provider/X"})},
         "federated role"),
        ({"AssumeRolePolicyDocument": trust({"AWS": "AROADELETED"})}, "role"),
        ({"path": "/aws-service-role/x.amazonaws.com/"}, "service-linked role"),
        ({"path": "/aws-reserved/sso.amazonaws.com/"}, "Identity Center role"),
        ({"name": "cdk-hnb659fds-deploy-role-1"}, "bootstrap role"),
        ({"Tags": [{"Key": "pare:break-glass", "Value": ""}]}, "break-glass"),
        ({"Tags": [{"Key": "pare:break-glass", "Value": "No"}]}, "role"),
        ({"path": "/aws-reserved/sso.amazonaws.com/",
          "Tags": [{"Key": "pare:break-glass", "Value": "yes"}]}, "Identity Center role"),
    ],
)  # fmt: skip
def test_the_kind_of_a_role(more: dict[str, Any], kind: str) -> None:
    assert of_role(more)["kind"] == kind


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (credentials(password_enabled=True, access_keys=[key()]), "person"),
        (credentials(access_keys=[key()]), "machine user"),
        (credentials(mfa_active=True), "person"),
        (credentials(), "machine user"),
        (None, "user"),
    ],
)
def test_the_kind_of_a_user(found: CredentialsJson | None, kind: str) -> None:
    assert of_user(found)["kind"] == kind


def test_a_user_may_be_break_glass() -> None:
    tags = [{"Key": "pare:break-glass", "Value": "true"}]

    assert of_user(credentials(password_enabled=True), {"Tags": tags})["kind"] == "break-glass"


# --- credentials ----------------------------------------------------------------------------------


def test_a_user_without_a_row_in_the_report_is_unknown() -> None:
    mary = of_user(None)

    assert (mary["credentials"], mary["unknown"]) == (None, ["credential report"])
    assert mary["disabled_by"] is None, "what is not known is not disabled"
    (mary,) = facts({"UserDetailList": [user()]})
    assert (mary["credentials"], mary["unknown"]) == (None, ["credential report"])


@pytest.mark.parametrize(
    ("made_at", "is_known"), [(CREATED_TEXT, True), ("2020-05-05T00:00:00Z", False)]
)
def test_a_user_made_anew_is_not_the_one_in_the_report(made_at: str, is_known: bool) -> None:
    report = CredentialReport({"mary": credentials()}, None, {"mary": made_at})

    (mary,) = facts({"UserDetailList": [user()]}, report=report)

    assert (mary["credentials"] is not None) is is_known


@pytest.mark.parametrize(
    ("found", "disabled"),
    [
        (credentials(), True),
        (credentials(access_keys=[key(False)]), True),
        (credentials(password_enabled=True), False),
        (credentials(password_enabled=None), False),
        (credentials(access_keys=[key(False), key()]), False),
        (credentials(active_certificates=1), False),
        # More of them than the report has columns for.
        (credentials(access_keys=[key(False), key(False)], additional="1 access key"), False),
    ],
)
def test_a_user_without_a_credential_that_works_is_disabled(
    found: CredentialsJson, disabled: bool
) -> None:
    assert of_user(found)["disabled_by"] == (
        "no active password, key or certificate" if disabled else None
    )


OLD, NEW = "2022-02-02T00:00:00Z", "2026-03-03T00:00:00Z"


def listed(key_id: str, created: str, status: str = "Active") -> dict[str, str]:
    return {"AccessKeyId": key_id, "Status": status, "CreateDate": created}


@pytest.mark.parametrize(
    ("reported", "known", "found"),
    [
        ([key(True, OLD)], [listed("A", OLD)], ["A"]),
        ([key(True, NEW), key(True, OLD)], [listed("A", OLD), listed("B", NEW)], ["B", "A"]),
        # Its state was changed later than it was made.
        ([key(True, NEW)], [listed("A", OLD)], ["A"]),
        ([key(False, NEW), key(True, NEW)],
         [listed("A", OLD), listed("B", OLD, "Inactive")], ["B", "A"]),
        ([key(True, OLD), key(True, NEW)], [listed("A", OLD), listed("B", OLD)], ["A", "B"]),
        # Either could be the one.
        ([key(True, NEW), key(True, NEW)], [listed("A", OLD), listed("B", OLD)], [None, None]),
        ([key(True, NEW)], [listed("A", OLD), listed("B", OLD)], [None]),
        # Another one took its place since the report.
        ([key(True, OLD)], [listed("A", NEW)], [None]),
        # Its state was changed since the report.
        ([key(True, OLD)], [listed("A", OLD, "Inactive")], ["A"]),
        ([key(True, OLD), key(True, OLD)],
         [listed("A", OLD, "Inactive"), listed("B", OLD, "Inactive")], [None, None]),
        ([key(True, OLD)], None, [None]),
        ([key(True, OLD)], [], [None]),
        # The report tells nothing of it.
        ([key(True, OLD)], [listed("A", OLD), listed("B", NEW, "Inactive")], ["A", "B"]),
    ],
)  # fmt: skip
def test_a_key_gets_its_id_where_it_is_sure(
    reported: list[AccessKeyJson],
    known: list[dict[str, str]] | None,
    found: list[str | None],
) -> None:
    mary = of_user(credentials(access_keys=reported), listed=known)

    assert mary["credentials"] is not None
    assert [each["access_key_id"] for each in mary["credentials"]["access_keys"]] == found
    assert ("access key ids" in mary["unknown"]) is (None in found)


def test_a_key_that_was_switched_off_since_the_report_is_inactive() -> None:
    mary = of_user(
        credentials(access_keys=[key(True, OLD), key(True, NEW)]),
        listed=[listed("A", OLD, "Inactive"), listed("B", NEW)],
    )

    assert mary["credentials"] is not None
    keys = mary["credentials"]["access_keys"]
    assert [(each["access_key_id"], each["is_active"]) for each in keys] == [
        ("A", False), ("B", True),
    ]  # fmt: skip


def test_a_key_without_a_date_has_the_one_of_iam() -> None:
    mary = of_user(credentials(access_keys=[key(True, None)]), listed=[listed("A", OLD)])

    assert mary["credentials"] is not None
    assert mary["credentials"]["access_keys"][0]["created_at"] == OLD


# --- policies -------------------------------------------------------------------------------------

GROUP = {
    "GroupName": "admins",
    "Arn": f"{IAM}:group/admins",
    "GroupPolicyList": [inline("own", document("iam:*"))],
    "AttachedManagedPolicies": attached(f"{AWS}/AdministratorAccess"),
}


def test_a_group_makes_an_administrator() -> None:
    mary = of_user(
        credentials(password_enabled=True),
        {"GroupList": ["admins"]},
        GroupDetailList=[GROUP],
        Policies=[managed(f"{AWS}/AdministratorAccess", document("*"))],
    )

    assert [(each["policy"], each["group"], each["pattern"]) for each in mary["wide"]] == [
        (f"{AWS}/AdministratorAccess", "admins", "*"),
        ("inline:own", "admins", "iam:*"),
    ]
    assert mary["wide"][0]["is_administrator"] is True
    assert (mary["policies"], mary["groups"]) == ([], ["admins"])


def test_only_the_default_version_counts() -> None:
    arn = f"{IAM}:policy/P"
    found = of_role(
        {"AttachedManagedPolicies": attached(arn)}, Policies=[managed(arn, document("s3:Get*"))]
    )

    assert (found["wide"], found["unknown"]) == ([], [])


@pytest.mark.parametrize("encode", [json.dumps, lambda value: quote(json.dumps(value)), dict])
def test_documents_come_in_every_form(encode: Any) -> None:
    found = of_role(
        {
            "RolePolicyList": [inline("own", encode(document("s3:*")))],
            "AssumeRolePolicyDocument": encode(trust({"AWS": OUTSIDE})),
        }
    )

    assert [each["pattern"] for each in found["wide"]] == ["s3:*"]
    assert (found["kind"], found["unknown"]) == ("cross-account role", [])


@pytest.mark.parametrize("value", [None, "", "%7B", 5, {}, {"Statement": 5}, "[" * 100_000])
def test_what_cannot_be_read_is_unknown_and_the_rest_counts(value: Any) -> None:
    arn = f"{IAM}:policy/P"
    found = of_role(
        {
            "AssumeRolePolicyDocument": value,
            "RolePolicyList": [inline("bad", value), inline("good", document("*"))],
            "AttachedManagedPolicies": attached(arn),
        },
        Policies=[managed(arn, value)],
    )

    assert found["unknown"] == [f"policy {arn}", "policy inline:bad", "trust policy"]
    assert found["wide"][0]["is_administrator"] is True


@pytest.mark.parametrize(
    "policies",
    [
        [],
        [{"Arn": f"{IAM}:policy/P"}],
        [managed(f"{IAM}:policy/P", document(), DefaultVersionId="v9")],
        [managed(f"{IAM}:policy/P", document(), DefaultVersionId=None)],
    ],
)
def test_a_policy_that_is_not_in_the_pages_is_unknown(policies: list[dict[str, Any]]) -> None:
    found = of_role({"AttachedManagedPolicies": attached(f"{IAM}:policy/P")}, Policies=policies)

    assert found["unknown"] == [f"policy {IAM}:policy/P"]


def test_a_group_that_is_not_in_the_pages_is_unknown() -> None:
    mary = of_user(credentials(password_enabled=True), {"GroupList": ["gone"]})

    assert mary["unknown"] == ["group gone"]


@pytest.mark.parametrize(
    ("more", "by"),
    [
        ({"AttachedManagedPolicies": attached(f"{AWS}/AWSDenyAll")}, "AWSDenyAll"),
        ({"AttachedManagedPolicies": attached("arn:aws-cn:iam::aws:policy/AWSDenyAll")},
         "AWSDenyAll"),
        ({"AttachedManagedPolicies": attached(f"{IAM}:policy/AWSDenyAll")}, None),
        ({"RolePolicyList": [inline("off", DENY_EVERYTHING)]}, "inline:off"),
        ({"PermissionsBoundary": {"PermissionsBoundaryArn": f"{AWS}/AWSDenyAll"}},
         "boundary AWSDenyAll"),
        ({"PermissionsBoundary": {"PermissionsBoundaryArn": f"{IAM}:policy/Off"}},
         "boundary Off"),
        ({"AttachedManagedPolicies": attached(f"{IAM}:policy/Off")}, f"{IAM}:policy/Off"),
        ({"RolePolicyList": [inline("older", document("*", Effect="Deny", Condition={
            "DateLessThan": {"aws:TokenIssueTime": "2026-11-01T00:00:00Z"}}))]}, None),
        ({"RolePolicyList": [inline("all", document("*"))]}, None),
    ],
)  # fmt: skip
def test_what_disables_a_role(more: dict[str, Any], by: str | None) -> None:
    policies = [
        managed(f"{IAM}:policy/Off", DENY_EVERYTHING),
        managed(f"{IAM}:policy/AWSDenyAll", document()),
    ]

    assert of_role(more, Policies=policies)["disabled_by"] == by


def test_a_group_disables_a_user() -> None:
    group = {**GROUP, "AttachedManagedPolicies": attached(f"{AWS}/AWSDenyAll")}

    mary = of_user(
        credentials(password_enabled=True), {"GroupList": ["admins"]}, GroupDetailList=[group]
    )

    assert mary["disabled_by"] == "AWSDenyAll"


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entity",
    [
        {"Arn": "nothing"},
        role(CreateDate="yesterday"),
        role(CreateDate=None),
        role(Tags=[{"Key": "a"}]),
        role(AttachedManagedPolicies=["arn"]),
        role(InstanceProfileList=["arn"]),
        role(RoleLastUsed={"LastUsedDate": "yesterday"}),
        {key: value for key, value in role().items() if key != "RoleId"},
    ],
)
def test_an_entry_of_another_shape_makes_the_account_unknown(entity: dict[str, Any]) -> None:
    with pytest.raises(InventoryError, match=f"RoleDetailList of account {ACCOUNT}"):
        facts({"RoleDetailList": [entity]})


@pytest.mark.parametrize("page", [{"UserDetailList": 5}, {"GroupDetailList": ["a"]}])
def test_pages_of_another_shape_make_the_account_unknown(page: dict[str, Any]) -> None:
    with pytest.raises(InventoryError, match=f"The pages of account {ACCOUNT}"):
        facts(page)


def test_hostile_names_and_tags_stay_what_they_are() -> None:
    hostile = "=cmd|' /C calc'!A0<script>\x1b[2J\n"
    found = of_role({"Tags": [{"Key": "owner", "Value": hostile}]})

    assert found["tags"] == {"owner": hostile}
    assert found["owner"] == hostile.strip()
