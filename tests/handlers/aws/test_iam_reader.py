from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import pytest

from pare.arns import parse_principal_arn
from pare.aws.iam_reader import CallCount, IamReader
from pare.clock import parse_time
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    InventoryError,
    MemberAccountError,
    PareError,
    PrincipalNotFoundError,
    ThrottledError,
)
from tests.handlers.fake_aws import MEMBER, member_session

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from tests.handlers.fake_aws import FakeAws


def arn(resource: str) -> str:
    return f"arn:aws:iam::{MEMBER}:{resource}"


def allow(action: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.fixture
def iam(aws: FakeAws) -> IAMClient:
    return member_session().client("iam")


@pytest.fixture
def reader(iam: IAMClient) -> IamReader:
    return IamReader(iam, MEMBER)


def managed(iam: IAMClient, name: str, action: str, path: str = "/") -> str:
    document = json.dumps(allow(action))
    return iam.create_policy(PolicyName=name, Path=path, PolicyDocument=document)["Policy"]["Arn"]


# --- What a principal is allowed ---


def test_a_role_is_read_with_every_source(reader: IamReader, iam: IAMClient) -> None:
    boundary = managed(iam, "Boundary", "*", "/boundaries/")
    iam.create_role(
        RoleName="App",
        Path="/team/",
        AssumeRolePolicyDocument="{}",
        PermissionsBoundary=boundary,
        Tags=[{"Key": "owner", "Value": "orders"}, {"Key": "app", "Value": "shop"}],
    )
    for name in ("write", "read"):
        iam.put_role_policy(
            RoleName="App", PolicyName=name, PolicyDocument=json.dumps(allow(f"s3:{name}"))
        )
    attached = managed(iam, "Queues", "sqs:*")
    iam.attach_role_policy(RoleName="App", PolicyArn=attached)

    access = reader.current_access(parse_principal_arn(arn("role/team/App")))

    assert parse_time(access.pop("created_at")) <= datetime.now(UTC)  # type: ignore[misc]
    assert access.pop("principal_id").startswith("AROA")  # type: ignore[misc]
    access["policies"].sort(key=lambda policy: policy["name"])
    assert access == {
        "principal_arn": arn("role/team/App"),
        "kind": "role",
        "last_used_at": None,
        "tags": {"owner": "orders", "app": "shop"},
        "policies": [
            {"source": "customer managed", "name": "Queues", "arn": attached, "group": None,
             "document": allow("sqs:*")},
            {"source": "inline", "name": "read", "arn": None, "group": None,
             "document": allow("s3:read")},
            {"source": "inline", "name": "write", "arn": None, "group": None,
             "document": allow("s3:write")},
        ],
        "boundary": {
            "source": "customer managed", "name": "Boundary", "arn": boundary, "group": None,
            "document": allow("*"),
        },
    }  # fmt: skip


def test_a_user_is_read_with_its_groups(reader: IamReader, iam: IAMClient) -> None:
    iam.create_user(UserName="mary", Tags=[{"Key": "team", "Value": "orders"}])
    iam.put_user_policy(
        UserName="mary", PolicyName="own", PolicyDocument=json.dumps(allow("s3:Get*"))
    )
    iam.attach_user_policy(UserName="mary", PolicyArn=managed(iam, "Queues", "sqs:*"))
    for group in ("Developers", "Auditors"):
        iam.create_group(GroupName=group)
        iam.add_user_to_group(GroupName=group, UserName="mary")
    iam.put_group_policy(
        GroupName="Developers", PolicyName="dev", PolicyDocument=json.dumps(allow("ec2:*"))
    )
    iam.attach_group_policy(GroupName="Auditors", PolicyArn=managed(iam, "Audit", "iam:Get*"))

    access = reader.current_access(parse_principal_arn(arn("user/mary")))

    assert access["kind"] == "user"
    assert access["principal_id"] == iam.get_user(UserName="mary")["User"]["UserId"]
    assert access["tags"] == {"team": "orders"}
    assert access["boundary"] is None
    assert sorted(
        (policy["name"], policy["source"], policy["group"], policy["document"] == allow(action))
        for policy, action in zip(
            sorted(access["policies"], key=lambda policy: policy["name"]),
            ["iam:Get*", "sqs:*", "ec2:*", "s3:Get*"],
            strict=True,
        )
    ) == [
        ("Audit", "customer managed", "Auditors", True),
        ("Queues", "customer managed", None, True),
        ("dev", "inline", "Developers", True),
        ("own", "inline", None, True),
    ]


def test_the_default_version_of_a_policy_counts(reader: IamReader, iam: IAMClient) -> None:
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    policy = managed(iam, "P", "s3:*")
    iam.attach_role_policy(RoleName="App", PolicyArn=policy)
    iam.create_policy_version(
        PolicyArn=policy, PolicyDocument=json.dumps(allow("sqs:*")), SetAsDefault=True
    )
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=json.dumps(allow("ec2:*")))

    access = reader.current_access(parse_principal_arn(arn("role/App")))

    assert [each["document"] for each in access["policies"]] == [allow("sqs:*")]


@pytest.mark.parametrize(
    ("policy_arn", "source"),
    [
        ("arn:aws:iam::aws:policy/AdministratorAccess", "AWS managed"),
        ("arn:aws-cn:iam::aws:policy/job-function/ViewOnlyAccess", "AWS managed"),
        (arn("policy/aws/AdministratorAccess"), "customer managed"),
    ],
)
def test_a_policy_of_awss_own_is_told_apart(
    reader: IamReader, iam: IAMClient, aws: FakeAws, policy_arn: str, source: str
) -> None:
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    attached = {"PolicyName": "P", "PolicyArn": policy_arn}
    version = {"VersionId": "v3", "Document": quote(json.dumps(allow("*")))}  # as on the wire
    aws.answer("iam:ListAttachedRolePolicies", {"AttachedPolicies": [attached]})
    aws.answer("iam:GetPolicy", {"Policy": {"PolicyName": "P", "DefaultVersionId": "v3"}})
    aws.answer("iam:GetPolicyVersion", {"PolicyVersion": version})

    (policy,) = reader.current_access(parse_principal_arn(arn("role/App")))["policies"]

    assert policy == {
        "source": source, "name": "P", "arn": policy_arn, "group": None, "document": allow("*"),
    }  # fmt: skip
    assert aws.called("iam:GetPolicyVersion") == [{"PolicyArn": policy_arn, "VersionId": "v3"}]


def test_every_page_of_policies_is_read(reader: IamReader, iam: IAMClient, aws: FakeAws) -> None:
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    for name in ("one", "two"):
        iam.put_role_policy(
            RoleName="App", PolicyName=name, PolicyDocument=json.dumps(allow(f"s3:{name}"))
        )
    aws.answer(
        "iam:ListRolePolicies",
        {"PolicyNames": ["one"], "IsTruncated": True, "Marker": "more"},
        times=1,
    )
    aws.answer("iam:ListRolePolicies", {"PolicyNames": ["two"], "IsTruncated": False})

    access = reader.current_access(parse_principal_arn(arn("role/App")))

    assert [each["name"] for each in access["policies"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("answer", "resource", "used_at"),
    [
        ({"RoleLastUsed": {"LastUsedDate": datetime(2026, 11, 20, tzinfo=UTC)}}, "role/App",
         "2026-11-20T00:00:00Z"),
        ({"RoleLastUsed": {}}, "role/App", None),
        ({"PasswordLastUsed": datetime(2026, 11, 19, tzinfo=UTC)}, "user/App",
         "2026-11-19T00:00:00Z"),
    ],
)  # fmt: skip
def test_when_it_was_last_used_is_what_iam_tells(
    reader: IamReader,
    iam: IAMClient,
    aws: FakeAws,
    answer: dict[str, Any],
    resource: str,
    used_at: str | None,
) -> None:
    entity = {"Path": "/", "Arn": arn(resource), "CreateDate": datetime(2024, 1, 1, tzinfo=UTC)}
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    iam.create_user(UserName="App")
    aws.answer("iam:GetRole", {"Role": {**entity, "RoleName": "App", "RoleId": "A" * 20, **answer}})
    aws.answer("iam:GetUser", {"User": {**entity, "UserName": "App", "UserId": "A" * 20, **answer}})

    assert reader.current_access(parse_principal_arn(arn(resource)))["last_used_at"] == used_at


# --- A principal that is not there ---


@pytest.mark.parametrize("resource", ["role/Gone", "user/gone"])
def test_a_principal_that_does_not_exist_is_not_found(reader: IamReader, resource: str) -> None:
    principal = parse_principal_arn(arn(resource))

    with pytest.raises(PrincipalNotFoundError, match=f"in account {MEMBER}"):
        reader.current_access(principal)
    with pytest.raises(PrincipalNotFoundError):
        reader.tags(principal)


@pytest.mark.parametrize("entity", ["role", "user"])
def test_another_principal_that_took_the_name_is_not_it(
    reader: IamReader, iam: IAMClient, entity: str
) -> None:
    iam.create_role(RoleName="App", Path="/new/", AssumeRolePolicyDocument="{}")
    iam.create_user(UserName="App", Path="/new/")

    with pytest.raises(PrincipalNotFoundError, match=f"{entity}/new/App does"):
        reader.current_access(parse_principal_arn(arn(f"{entity}/old/App")))


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        ("iam:GetRole", "AccessDenied", 403, MemberAccountError),
        ("iam:ListRolePolicies", "AccessDenied", 403, MemberAccountError),
        ("iam:ListAttachedRolePolicies", "AccessDenied", 403, MemberAccountError),
        ("iam:GetRole", "Throttling", 400, ThrottledError),
        ("iam:GetRole", "ServiceFailure", 500, AwsServiceError),
        ("iam:GetRole", "ValidationError", 400, AwsCallError),
    ],
)
def test_a_read_that_fails_is_never_an_empty_policy(
    reader: IamReader,
    iam: IAMClient,
    aws: FakeAws,
    operation: str,
    code: str,
    status: int,
    error: type[PareError],
) -> None:
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    aws.fail(operation, code, status)

    with pytest.raises(error, match=f"in account {MEMBER}: {code}"):
        reader.current_access(parse_principal_arn(arn("role/App")))


# --- Tags ---


@pytest.mark.parametrize("entity", ["role", "user"])
def test_tags_of_a_role_or_user_are_its_own(reader: IamReader, iam: IAMClient, entity: str) -> None:
    iam.create_role(
        RoleName="App",
        AssumeRolePolicyDocument="{}",
        Tags=[{"Key": "owner", "Value": "of the role"}],
    )
    iam.create_user(UserName="App", Tags=[{"Key": "owner", "Value": "of the user"}])

    tags = reader.tags(parse_principal_arn(arn(f"{entity}/App")))

    assert tags == {"owner": f"of the {entity}"}


@pytest.mark.parametrize("resource", ["role/App", "user/App"])
def test_no_tags_are_no_tags(reader: IamReader, iam: IAMClient, resource: str) -> None:
    iam.create_role(RoleName="App", AssumeRolePolicyDocument="{}")
    iam.create_user(UserName="App")

    assert reader.tags(parse_principal_arn(arn(resource))) == {}


# --- The whole account ---


def test_everything_of_an_account_is_read(reader: IamReader, iam: IAMClient) -> None:
    boundary = managed(iam, "Boundary", "*")
    iam.create_role(
        RoleName="App",
        Path="/team/",
        AssumeRolePolicyDocument="{}",
        PermissionsBoundary=boundary,
        Tags=[{"Key": "owner", "Value": "orders"}],
    )
    iam.put_role_policy(RoleName="App", PolicyName="own", PolicyDocument=json.dumps(allow("s3:*")))
    iam.create_user(UserName="mary")
    iam.create_group(GroupName="Developers")
    iam.add_user_to_group(GroupName="Developers", UserName="mary")

    pages = list(reader.authorization_details())

    whole = {
        name: [entity for page in pages for entity in page.get(name, [])]
        for name in ("RoleDetailList", "UserDetailList", "GroupDetailList", "Policies")
    }
    (role,), (user,) = whole["RoleDetailList"], whole["UserDetailList"]
    assert role["RolePolicyList"] == [{"PolicyName": "own", "PolicyDocument": allow("s3:*")}]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    assert user["GroupList"] == ["Developers"]
    assert [group["GroupName"] for group in whole["GroupDetailList"]] == ["Developers"]
    assert boundary in [policy["Arn"] for policy in whole["Policies"]]


def test_all_pages_of_an_account_are_read(reader: IamReader, aws: FakeAws) -> None:
    aws.answer(
        "iam:GetAccountAuthorizationDetails",
        {"UserDetailList": [], "IsTruncated": True, "Marker": "more"},
        times=1,
    )
    aws.answer("iam:GetAccountAuthorizationDetails", {"RoleDetailList": [], "IsTruncated": False})

    assert [sorted(page) for page in reader.authorization_details()] == [
        ["IsTruncated", "Marker", "ResponseMetadata", "UserDetailList"],
        ["IsTruncated", "ResponseMetadata", "RoleDetailList"],
    ]
    sent = aws.called("iam:GetAccountAuthorizationDetails")
    everything = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")
    assert [tuple(each["Filter"]) for each in sent] == [everything] * 2


def test_less_of_an_account_is_read_where_less_is_asked_for(
    reader: IamReader, aws: FakeAws
) -> None:
    aws.answer("iam:GetAccountAuthorizationDetails", {"UserDetailList": [], "IsTruncated": False})

    list(reader.authorization_details(("User", "Role")))

    (sent,) = aws.called("iam:GetAccountAuthorizationDetails")
    assert tuple(sent["Filter"]) == ("User", "Role")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, MemberAccountError),
        ("Throttling", 400, ThrottledError),
        ("ServiceFailure", 500, AwsServiceError),
    ],
)
def test_an_account_that_stops_half_way_is_an_error_not_half_an_account(
    reader: IamReader, aws: FakeAws, code: str, status: int, error: type[PareError]
) -> None:
    aws.answer(
        "iam:GetAccountAuthorizationDetails",
        {"UserDetailList": [], "IsTruncated": True, "Marker": "more"},
        times=1,
    )
    aws.fail("iam:GetAccountAuthorizationDetails", code, status)

    with pytest.raises(error, match=f"in account {MEMBER}"):
        list(reader.authorization_details())


# --- The credential report ---

GENERATE, GET = "iam:GenerateCredentialReport", "iam:GetCredentialReport"
CSV = {"Content": b"user,arn\nmary,\xff", "ReportFormat": "text/csv"}


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def credential_report(reader: IamReader, clock: Clock, seconds: float = 60) -> str:
    return reader.credential_report(seconds=seconds, sleep=clock.sleep, monotonic=clock.monotonic)


def test_a_young_report_is_taken_at_once(reader: IamReader, aws: FakeAws, clock: Clock) -> None:
    aws.answer(GENERATE, {"State": "COMPLETE"})
    aws.answer(GET, CSV)

    assert credential_report(reader, clock) == "user,arn\nmary,\ufffd"
    assert clock.pauses == []


def test_a_report_that_is_being_made_is_waited_for(
    reader: IamReader, aws: FakeAws, clock: Clock
) -> None:
    for state in ("STARTED", "INPROGRESS", "INPROGRESS", "INPROGRESS", "INPROGRESS"):
        aws.answer(GENERATE, {"State": state}, times=1)
    aws.answer(GENERATE, {"State": "COMPLETE"})
    aws.answer(GET, CSV)

    assert credential_report(reader, clock).startswith("user,arn")
    assert clock.pauses == [1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("operation", "code", "status"),
    [
        (GET, "ReportNotPresent", 410),
        (GET, "ReportExpired", 410),
        (GET, "ReportInProgress", 404),
        (GENERATE, "Throttling", 400),
        (GENERATE, "ServiceFailure", 500),
        (GET, "Throttling", 400),
    ],
)
def test_a_report_that_is_not_there_yet_is_asked_for_again(
    reader: IamReader, aws: FakeAws, clock: Clock, operation: str, code: str, status: int
) -> None:
    # The SDK's own repetitions are behind the fake: each error here is what is left of five.
    aws.fail(operation, code, status, times=1)
    aws.answer(GENERATE, {"State": "COMPLETE"})
    aws.answer(GET, CSV)

    assert credential_report(reader, clock).startswith("user,arn")
    assert clock.pauses == [1.0]


@pytest.mark.parametrize("seconds", [0, 10, 60])
def test_a_report_is_not_waited_for_longer_than_there_is_time(
    reader: IamReader, aws: FakeAws, clock: Clock, seconds: float
) -> None:
    aws.answer(GENERATE, {"State": "INPROGRESS"})

    with pytest.raises(InventoryError, match=rf"{MEMBER} had .* {seconds} s: IAM says INPROGRESS"):
        credential_report(reader, clock, seconds)
    assert clock.now <= seconds


@pytest.mark.parametrize("operation", [GENERATE, GET])
def test_a_refused_report_is_not_asked_for_again(
    reader: IamReader, aws: FakeAws, clock: Clock, operation: str
) -> None:
    aws.fail(operation, "AccessDenied", 403)
    aws.answer(GENERATE, {"State": "COMPLETE"})

    with pytest.raises(MemberAccountError, match=operation):
        credential_report(reader, clock)
    assert clock.pauses == []


# --- Alias and access keys ---


def test_an_account_has_one_alias_or_none(reader: IamReader, iam: IAMClient) -> None:
    assert reader.account_alias() is None

    iam.create_account_alias(AccountAlias="shop-prod")

    assert reader.account_alias() == "shop-prod"


def test_the_access_keys_of_a_user_are_read(reader: IamReader, aws: FakeAws) -> None:
    keys = [
        {"UserName": "robot", "AccessKeyId": f"AKIAEXAMPLEEXAMPLE{n}", "Status": status,
         "CreateDate": datetime(2026, n, 1, tzinfo=UTC)}
        for n, status in ((3, "Active"), (2, "Inactive"))
    ]  # fmt: skip
    aws.answer("iam:ListAccessKeys", {"AccessKeyMetadata": keys, "IsTruncated": False})

    assert reader.access_keys("robot") == [
        {"AccessKeyId": "AKIAEXAMPLEEXAMPLE2", "Status": "Inactive",
         "CreateDate": "2026-02-01T00:00:00Z"},
        {"AccessKeyId": "AKIAEXAMPLEEXAMPLE3", "Status": "Active",
         "CreateDate": "2026-03-01T00:00:00Z"},
    ]  # fmt: skip


def test_a_user_that_is_gone_is_not_found(reader: IamReader) -> None:
    with pytest.raises(PrincipalNotFoundError):
        reader.access_keys("gone")


def test_calls_are_counted_with_their_pages(
    reader: IamReader, iam: IAMClient, aws: FakeAws
) -> None:
    page = {"AccessKeyMetadata": [], "IsTruncated": True, "Marker": "more"}
    aws.answer("iam:ListAccessKeys", page, times=1)
    aws.answer("iam:ListAccessKeys", {"AccessKeyMetadata": [], "IsTruncated": False})
    count = CallCount(reader.iam)

    reader.access_keys("robot")
    reader.account_alias()

    assert count.calls == 3


def test_the_reader_reads_the_member_account_and_no_other(reader: IamReader) -> None:
    boto3.client("iam").create_role(RoleName="InTheHub", AssumeRolePolicyDocument="{}")

    with pytest.raises(PrincipalNotFoundError):
        reader.current_access(parse_principal_arn(arn("role/InTheHub")))
