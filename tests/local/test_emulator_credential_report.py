"""The emulator's credential report and authorization details, as the member role's reader asks."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.emulator.credential_report import COLUMNS
from local.process import EmulatorControlError
from pare.arns import parse_principal_arn
from pare.aws.iam_reader import IamReader
from pare.errors import InventoryError, MemberAccountError
from pare.inventory.credential_report import read_credential_report
from pare.inventory.facts import principal_facts
from tests.local.emulator_fixtures import NOW, allow, trusts, unique

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box

YESTERDAY = NOW - timedelta(days=1)


@pytest.fixture
def account(box: Box, emulator: Emulator) -> str:
    """Return a new account of the organization: a report is one account's, and stays."""
    account_id = str(next(_ACCOUNTS))
    emulator.control("accounts", {"accounts": [{"account_id": account_id, "name": account_id}]})
    return account_id


_ACCOUNTS = iter(range(100000000500, 100000000600))


@pytest.fixture
def iam(box: Box, account: str) -> Any:
    return box.client("iam", account)


def rows(iam: Any) -> dict[str, dict[str, str]]:
    """Return the rows of the report by user, once it is made."""
    deadline = time.monotonic() + 10
    while iam.generate_credential_report()["State"] != "COMPLETE":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    text = iam.get_credential_report()["Content"].decode()
    return {row["user"]: row for row in csv.DictReader(io.StringIO(text))}


def plant(emulator: Emulator, *entries: dict[str, Any]) -> None:
    emulator.control("credentials", {"entries": list(entries)})


# --- The report -----------------------------------------------------------------------------------


def test_a_report_is_made_once_in_four_hours(settings: Emulator, iam: Any) -> None:
    settings.control("settings", {"credential_report_delay_seconds": 0.5})
    with pytest.raises(ClientError) as absent:
        iam.get_credential_report()
    assert absent.value.response["Error"]["Code"] == "ReportNotPresent"
    assert absent.value.response["ResponseMetadata"]["HTTPStatusCode"] == 410

    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "INPROGRESS"
    with pytest.raises(ClientError) as early:
        iam.get_credential_report()
    assert early.value.response["Error"]["Code"] == "ReportInProgress"
    assert early.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404

    first = rows(iam)
    made_at = iam.get_credential_report()["GeneratedTime"]
    iam.create_user(UserName="too-late")
    assert rows(iam) == first
    assert iam.get_credential_report()["GeneratedTime"] == made_at

    settings.control("settings", {"clock_offset_seconds": 4 * 3600 + 60})
    with pytest.raises(ClientError) as expired:
        iam.get_credential_report()
    assert expired.value.response["Error"]["Code"] == "ReportExpired"
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert "too-late" in rows(iam)


def test_the_report_has_every_column_and_what_was_planted(
    emulator: Emulator, iam: Any, account: str
) -> None:
    mary = iam.create_user(UserName="mary")["User"]["Arn"]
    iam.create_login_profile(UserName="mary", Password="Correct-horse-1")
    robot = iam.create_user(UserName="robot")["User"]["Arn"]
    keys = [iam.create_access_key(UserName="robot")["AccessKey"]["AccessKeyId"] for _ in "12"]
    emulator.control(
        "ages",
        {
            "entries": [
                {"arn": robot, "created_at": "2024-01-01T00:00:00Z", "access_key_id": keys[0]},
                {"arn": robot, "created_at": "2025-01-01T00:00:00Z", "access_key_id": keys[1]},
            ]
        },
    )
    iam.update_access_key(UserName="robot", AccessKeyId=keys[1], Status="Inactive")
    root = f"arn:aws:iam::{account}:root"
    used_at = YESTERDAY.isoformat()
    plant(
        emulator,
        {"arn": mary, "password_last_used_at": used_at, "mfa_active": True},
        {"arn": robot, "access_keys": [
            {"access_key_id": keys[0], "last_used_at": used_at, "service": "s3",
             "region": "eu-west-1"}]},
        {"arn": root, "mfa_active": False, "access_keys": [
            {"access_key_id": "AKIAROOT", "last_used_at": None, "service": None, "region": None}]},
    )  # fmt: skip

    found = rows(iam)

    assert list(found) == ["<root_account>", "mary", "robot"]
    assert tuple(found["mary"]) == COLUMNS
    assert found["mary"]["password_enabled"] == "true"
    assert found["mary"]["password_last_used"] == used_at
    assert found["mary"]["mfa_active"] == "true"
    assert found["mary"]["access_key_1_last_used_service"] == "N/A"
    assert found["robot"]["password_last_used"] == "N/A"
    assert found["robot"]["access_key_1_last_rotated"] == "2024-01-01T00:00:00+00:00"
    assert found["robot"]["access_key_1_last_used_date"] == used_at
    assert found["robot"]["access_key_1_last_used_service"] == "s3"
    assert (found["robot"]["access_key_1_active"], found["robot"]["access_key_2_active"]) == (
        "true", "false",
    )  # fmt: skip
    assert found["<root_account>"]["password_enabled"] == "not_supported"
    assert found["<root_account>"]["mfa_active"] == "false"
    assert found["<root_account>"]["access_key_1_active"] == "true"
    password = found["mary"]["password_last_used"]
    assert iam.get_user(UserName="mary")["User"]["PasswordLastUsed"].isoformat() == password


def test_a_password_that_was_never_used_has_no_information(iam: Any) -> None:
    iam.create_user(UserName="anna")
    iam.create_login_profile(UserName="anna", Password="Correct-horse-1")

    found = rows(iam)

    assert found["anna"]["password_last_used"] == "no_information"
    assert found["<root_account>"]["mfa_active"] == "true", "AWS demands it"
    assert found["<root_account>"]["access_key_1_active"] == "false"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"arn": "arn:aws:iam::100000000004:user/nobody"}, "there is no user"),
        ({"arn": "arn:aws:iam::100000000004:root", "mfa": True}, "unknown members"),
        ({"arn": "arn:aws:iam::100000000004:root", "mfa_active": "yes"}, "mfa_active must be"),
        (
            {"arn": "arn:aws:iam::100000000004:root", "password_last_used_at": "yesterday"},
            "password_last_used_at: ",
        ),
    ],
)
def test_wrong_planting_is_refused(emulator: Emulator, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(EmulatorControlError, match=said):
        plant(emulator, entry)


# --- The reader of Pare ---------------------------------------------------------------------------


def member(box: Box, account: str, *actions: str) -> IamReader:
    """Return a reader with a role that may do the actions only."""
    role = box.role(
        unique("Reader"), allow(*actions), account_id=account, trust=trusts(account=account)
    )
    return IamReader(box.session(role, by=account).client("iam"), account)


def test_the_reader_waits_for_a_report(settings: Emulator, box: Box, account: str) -> None:
    settings.control("settings", {"credential_report_delay_seconds": 1.5})
    reader = member(box, account, "iam:GenerateCredentialReport", "iam:GetCredentialReport")

    with pytest.raises(InventoryError, match="within 0 s: IAM says STARTED"):
        reader.credential_report(seconds=0)
    report = read_credential_report(reader.credential_report(seconds=20))

    assert report.root is not None
    assert report.root["mfa_active"] is True


def test_a_role_that_may_not_gets_no_report(box: Box, account: str) -> None:
    reader = member(box, account, "iam:GetAccountAuthorizationDetails")

    with pytest.raises(MemberAccountError, match="GenerateCredentialReport"):
        reader.credential_report(seconds=20)
    with pytest.raises(MemberAccountError, match="ListAccountAliases"):
        reader.account_alias()
    with pytest.raises(MemberAccountError, match="ListAccessKeys"):
        reader.access_keys("robot")


def test_alias_and_access_keys_are_read(box: Box, account: str, iam: Any) -> None:
    iam.create_user(UserName="robot", Path="/machines/")
    key = iam.create_access_key(UserName="robot")["AccessKey"]["AccessKeyId"]
    role = box.role(
        unique("Reader"),
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "iam:ListAccountAliases", "Resource": "*"},
                {
                    "Effect": "Allow",
                    "Action": "iam:ListAccessKeys",
                    "Resource": f"arn:aws:iam::{account}:user/*",
                },
            ],
        },
        account_id=account,
        trust=trusts(account=account),
    )
    reader = IamReader(box.session(role, by=account).client("iam"), account)

    assert reader.account_alias() is None
    iam.create_account_alias(AccountAlias="shop-prod")
    assert reader.account_alias() == "shop-prod"
    assert [(each["AccessKeyId"], each["Status"]) for each in reader.access_keys("robot")] == [
        (key, "Active")
    ]


# --- Authorization details ------------------------------------------------------------------------

FILTERS = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")
LISTS = ("UserDetailList", "RoleDetailList", "GroupDetailList", "Policies", "Policies")


@pytest.fixture
def filled(iam: Any, account: str, emulator: Emulator) -> Any:
    """An account with one of everything; the client of its root."""
    boundary = iam.create_policy(PolicyName="Boundary", PolicyDocument=json.dumps(allow("s3:*")))[
        "Policy"
    ]["Arn"]
    role = iam.create_role(
        RoleName="App",
        Path="/team/",
        AssumeRolePolicyDocument=json.dumps(trusts(service="ec2.amazonaws.com")),
        Description="Orders & <returns>",
        PermissionsBoundary=boundary,
        Tags=[{"Key": "owner", "Value": "a & b <c>"}],
    )["Role"]["Arn"]
    iam.put_role_policy(RoleName="App", PolicyName="own", PolicyDocument=json.dumps(allow("sqs:*")))
    iam.attach_role_policy(RoleName="App", PolicyArn="arn:aws:iam::aws:policy/AWSDenyAll")
    iam.create_instance_profile(InstanceProfileName="App")
    iam.add_role_to_instance_profile(InstanceProfileName="App", RoleName="App")
    iam.create_policy_version(
        PolicyArn=boundary, PolicyDocument=json.dumps(allow("s3:Get*")), SetAsDefault=True
    )
    iam.create_user(UserName="mary", Tags=[{"Key": "team", "Value": "orders"}])
    iam.put_user_policy(
        UserName="mary", PolicyName="own", PolicyDocument=json.dumps(allow("s3:Get*"))
    )
    iam.put_user_permissions_boundary(UserName="mary", PermissionsBoundary=boundary)
    iam.create_group(GroupName="developers")
    iam.put_group_policy(
        GroupName="developers", PolicyName="dev", PolicyDocument=json.dumps(allow("ec2:*"))
    )
    iam.attach_group_policy(
        GroupName="developers", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
    )
    iam.add_user_to_group(GroupName="developers", UserName="mary")
    emulator.control(
        "usage",
        {
            "entries": [
                {"principal_arn": role, "service": service, "action": None,
                 "last_accessed_at": moment.isoformat(), "region": region}
                for service, moment, region in (
                    ("sqs", NOW - timedelta(days=3), "eu-west-1"),
                    ("s3", YESTERDAY, "us-east-1"),
                )
            ]
        },
    )  # fmt: skip
    return iam


def test_everything_of_an_account_is_in_the_details(filled: Any, account: str) -> None:
    answer = filled.get_account_authorization_details()

    role = next(each for each in answer["RoleDetailList"] if each["RoleName"] == "App")
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(":policy/Boundary")
    assert role["Tags"] == [{"Key": "owner", "Value": "a & b <c>"}]
    assert role["AssumeRolePolicyDocument"] == trusts(service="ec2.amazonaws.com")
    assert role["RolePolicyList"] == [{"PolicyName": "own", "PolicyDocument": allow("sqs:*")}]
    assert role["RoleLastUsed"] == {"LastUsedDate": YESTERDAY, "Region": "us-east-1"}
    assert role["InstanceProfileList"][0]["Roles"][0]["Description"] == "Orders & <returns>"
    (user,) = answer["UserDetailList"]
    assert user["GroupList"] == ["developers"]
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith(":policy/Boundary")
    (group,) = answer["GroupDetailList"]
    assert group["GroupPolicyList"][0]["PolicyDocument"] == allow("ec2:*")
    policies = {each["PolicyName"]: each for each in answer["Policies"]}
    assert sorted(policies) == ["AWSDenyAll", "AdministratorAccess", "Boundary"]
    assert policies["Boundary"]["PermissionsBoundaryUsageCount"] == 2
    assert policies["AWSDenyAll"]["AttachmentCount"] == 1
    default = [each for each in policies["Boundary"]["PolicyVersionList"]
               if each["IsDefaultVersion"]]  # fmt: skip
    assert [each["Document"] for each in default] == [allow("s3:Get*")]
    assert filled.get_role(RoleName="App")["Role"]["RoleLastUsed"] == role["RoleLastUsed"]


@pytest.mark.parametrize(("name", "listed"), list(zip(FILTERS, LISTS, strict=True)))
def test_a_filter_leaves_the_rest_out(filled: Any, name: str, listed: str) -> None:
    answer = filled.get_account_authorization_details(Filter=[name])

    assert {key for key in set(LISTS) if answer[key]} == {listed}
    if listed == "Policies":
        owners = {each["Arn"].split(":")[4] == "aws" for each in answer["Policies"]}
        assert owners == {name == "AWSManagedPolicy"}


def test_the_pages_together_are_the_whole(filled: Any) -> None:
    whole = filled.get_account_authorization_details()
    paginator = filled.get_paginator("get_account_authorization_details")

    pages = list(paginator.paginate(PaginationConfig={"PageSize": 2}))

    assert len(pages) > 2
    assert [each["IsTruncated"] for each in pages] == [True] * (len(pages) - 1) + [False]
    for name in set(LISTS):
        assert [entity for page in pages for entity in page[name]] == whole[name]


def test_a_use_beyond_what_iam_keeps_is_no_use(filled: Any, settings: Emulator) -> None:
    settings.control("settings", {"clock_offset_seconds": 401 * 86_400})

    assert filled.get_role(RoleName="App")["Role"].get("RoleLastUsed", {}) == {}


def test_the_reader_and_the_facts_agree_with_it(
    box: Box, filled: Any, account: str, emulator: Emulator
) -> None:
    reader = member(box, account, "iam:*")
    pages = list(reader.authorization_details())
    report = read_credential_report(reader.credential_report(seconds=20))

    facts = principal_facts(
        pages,
        report,
        account_id=account,
        collected={"access_keys": {}},  # type: ignore[typeddict-item]
        organization_accounts=[],
        owner_tag_keys=("owner", "team"),
        break_glass_tag="pare:break-glass",
    )

    by_name = {parse_principal_arn(each["principal_arn"]).name: each for each in facts}
    app, mary = by_name["App"], by_name["mary"]
    assert app["kind"] == "service role"
    assert app["disabled_by"] == "AWSDenyAll"
    assert app["description"] == "Orders & <returns>"
    assert app["owner"] == "a & b <c>"
    assert app["unknown"] == []
    assert mary["wide"][0]["policy"] == "arn:aws:iam::aws:policy/AdministratorAccess"
    assert mary["wide"][0]["is_administrator"] is True
    assert mary["wide"][0]["group"] == "developers"
    assert mary["disabled_by"] == "no active password, key or certificate"
