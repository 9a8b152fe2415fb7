"""Where ministack differs from AWS and is corrected: conditions, organizations, trails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import (
    HUB,
    LOG_ARCHIVE,
    MANAGEMENT,
    REGION,
    TRAIL_ARN,
    TRAIL_NAME,
    WORKLOAD,
    allow,
    trusts,
    unique,
)

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box

STRANGER = "999999999999"


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    """The code of an error."""
    found: str = error.value.response["Error"]["Code"]
    return found


def bucket_of(box: Box, account_id: str, policy: dict[str, Any] | None = None) -> str:
    """A new bucket with one object named "file", perhaps open to others."""
    bucket = unique("bucket")
    s3 = box.client("s3", account_id)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="file", Body=b"x")
    if policy is not None:
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            **policy,
        }
        document = {"Version": "2012-10-17", "Statement": [statement]}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(document))
    return bucket


def may_read(box: Box, role: str, bucket: str) -> bool:
    """Whether a session of the role may read the bucket's object."""
    try:
        box.session(role).client("s3").get_object(Bucket=bucket, Key="file")["Body"].close()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
        return False
    return True


def test_the_organization_id_of_a_member_matches_in_a_bucket_policy(box: Box) -> None:
    role = box.role(unique("reader"), allow("s3:GetObject"))

    def bucket(organization_id: str) -> str:
        condition = {"StringEquals": {"aws:PrincipalOrgID": organization_id}}
        return bucket_of(box, LOG_ARCHIVE, {"Condition": condition})

    assert may_read(box, role, bucket(box.organization_id))
    assert not may_read(box, role, bucket("o-anotherone"))


def test_a_bucket_policy_sees_the_role_with_its_path_from_another_account(box: Box) -> None:
    pattern = f"arn:aws:iam::{WORKLOAD}:role/service-role/Reader*"
    bucket = bucket_of(
        box,
        LOG_ARCHIVE,
        {
            "Principal": {"AWS": f"arn:aws:iam::{WORKLOAD}:root"},
            "Condition": {"ArnLike": {"aws:PrincipalArn": pattern}},
        },
    )
    right = box.role(unique("Reader"), allow("s3:GetObject"), path="/service-role/")
    wrong = box.role(unique("Reader"), allow("s3:GetObject"))

    assert may_read(box, right, bucket)
    assert not may_read(box, wrong, bucket)


def test_an_identity_policy_sees_the_role_arn_as_principal_arn(box: Box) -> None:
    name = unique("self")
    arn = f"arn:aws:iam::{WORKLOAD}:role/team/{name}"
    condition = {"StringEquals": {"aws:PrincipalArn": arn}}
    role = box.role(name, allow("sqs:ListQueues", Condition=condition), path="/team/")

    box.session(role).client("sqs").list_queues()


def test_a_trust_policy_may_demand_a_role_arn_with_path_and_an_organization(box: Box) -> None:
    name = unique("function")
    caller = box.role(name, allow("sts:AssumeRole"), account_id=HUB, path="/pare/")

    def member_role(arn: str, organization_id: str) -> str:
        trust = trusts(account=HUB)
        trust["Statement"][0]["Condition"] = {
            "StringEquals": {"aws:PrincipalOrgID": organization_id},
            "ArnEquals": {"aws:PrincipalArn": arn},
        }
        return box.role(unique("member"), trust=trust)

    sts = box.session(caller, by=HUB).client("sts")
    right = member_role(caller, box.organization_id)
    assumed = sts.assume_role(RoleArn=right, RoleSessionName="test")
    for wrong in (
        member_role(caller.replace("/pare/", "/"), box.organization_id),
        member_role(caller, "o-anotherone"),
    ):
        with pytest.raises(ClientError) as error:
            sts.assume_role(RoleArn=wrong, RoleSessionName="test")
        assert code(error) == "AccessDenied"

    assert f":{WORKLOAD}:" in assumed["AssumedRoleUser"]["Arn"]


def test_policy_variables_are_replaced_in_resources_and_conditions(box: Box) -> None:
    bucket = bucket_of(box, WORKLOAD)
    tail = bucket.removeprefix("bucket-")
    role = box.client("iam").create_role(
        RoleName=unique("tagged"),
        AssumeRolePolicyDocument=json.dumps(trusts(account=WORKLOAD)),
        Tags=[{"Key": "number", "Value": tail}],
    )["Role"]

    def readable(resource: str, **more: Any) -> bool:
        box.client("iam").put_role_policy(
            RoleName=role["RoleName"],
            PolicyName="p",
            PolicyDocument=json.dumps(allow("s3:GetObject", resource=resource, **more)),
        )
        return may_read(box, role["Arn"], bucket)

    assert readable("arn:aws:s3:::bucket-${aws:PrincipalTag/number}/*")
    assert readable("arn:aws:s3:::bucket-${aws:PrincipalTag/none, '" + tail + "'}/file")
    assert not readable("arn:aws:s3:::bucket-${aws:PrincipalTag/none}/*")
    account = {"StringEquals": {"aws:ResourceAccount": "${aws:PrincipalAccount}"}}
    assert readable("*", Condition=account)
    assert not readable("*", Condition={"StringNotEquals": account["StringEquals"]})


def test_the_owner_of_a_bucket_is_the_resource_account(box: Box) -> None:
    foreign = bucket_of(box, LOG_ARCHIVE, {"Principal": {"AWS": f"arn:aws:iam::{WORKLOAD}:root"}})
    condition = {"StringEquals": {"aws:ResourceAccount": WORKLOAD}}
    role = box.role(unique("home"), allow("s3:GetObject", Condition=condition))

    assert may_read(box, role, bucket_of(box, WORKLOAD))
    assert not may_read(box, role, foreign)


def test_a_role_that_trusts_a_service_is_not_for_a_root(box: Box) -> None:
    role = box.role(unique("service"), trust=trusts(service="lambda.amazonaws.com"))

    with pytest.raises(ClientError) as error:
        box.session(role)

    assert code(error) == "AccessDenied"


def test_a_member_describes_its_organization_and_may_not_list_it(box: Box) -> None:
    client = box.client("organizations", WORKLOAD)

    assert client.describe_organization()["Organization"]["Id"] == box.organization_id
    for call in (
        client.list_accounts,
        client.list_roots,
        lambda: client.describe_account(AccountId=WORKLOAD),
        lambda: client.list_tags_for_resource(ResourceId=WORKLOAD),
        lambda: client.tag_resource(ResourceId=WORKLOAD, Tags=[{"Key": "a", "Value": "b"}]),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert code(error) == "AccessDeniedException"


def test_a_delegated_administrator_reads_the_organization(box: Box) -> None:
    management = box.client("organizations", MANAGEMENT)
    service = "access-analyzer.amazonaws.com"
    with pytest.raises(ClientError, match="before you enabled service access"):
        management.register_delegated_administrator(
            AccountId=HUB, ServicePrincipal="config.amazonaws.com"
        )
    management.enable_aws_service_access(ServicePrincipal=service)
    management.register_delegated_administrator(AccountId=HUB, ServicePrincipal=service)
    management.tag_resource(ResourceId=WORKLOAD, Tags=[{"Key": "Owner", "Value": "payments"}])
    client = box.client("organizations", HUB)

    listed = {account["Id"]: account for account in client.list_accounts()["Accounts"]}
    account = client.describe_account(AccountId=WORKLOAD)["Account"]
    root = client.list_roots()["Roots"][0]["Id"]
    tags = client.list_tags_for_resource(ResourceId=WORKLOAD)["Tags"]
    parents = client.list_parents(ChildId=WORKLOAD)["Parents"]
    children = client.list_children(ParentId=root, ChildType="ACCOUNT")["Children"]
    administrators = client.list_delegated_administrators(ServicePrincipal=service)
    with pytest.raises(ClientError) as error:
        client.create_organizational_unit(ParentId=root, Name="no")
    with pytest.raises(ClientError) as twice:
        management.register_delegated_administrator(AccountId=HUB, ServicePrincipal=service)
    box.client("accessanalyzer", HUB).create_analyzer(
        analyzerName="organization", type="ORGANIZATION"
    )
    management.deregister_delegated_administrator(AccountId=HUB, ServicePrincipal=service)
    with pytest.raises(ClientError) as after:
        client.list_accounts()

    assert {MANAGEMENT, HUB, LOG_ARCHIVE, WORKLOAD} <= set(listed)
    assert listed[WORKLOAD] == account
    assert (account["State"], account["Status"]) == ("ACTIVE", "ACTIVE")
    assert account["Paths"] == [f"{box.organization_id}/{root}/{WORKLOAD}/"]
    assert tags == [{"Key": "Owner", "Value": "payments"}]
    assert {"Id": WORKLOAD, "Type": "ACCOUNT"} in children
    assert parents == [{"Id": root, "Type": "ROOT"}]
    assert [a["Id"] for a in administrators["DelegatedAdministrators"]] == [HUB]
    assert code(error) == "AccessDeniedException"
    assert code(twice) == "AccountAlreadyRegisteredException"
    assert code(after) == "AccessDeniedException"


def test_an_account_outside_has_no_organization(box: Box) -> None:
    with pytest.raises(ClientError) as error:
        box.client("organizations", STRANGER).describe_organization()
    with pytest.raises(ClientError) as analyzer:
        box.client("accessanalyzer", STRANGER).create_analyzer(
            analyzerName="a", type="ORGANIZATION"
        )

    assert code(error) == "AWSOrganizationsNotInUseException"
    assert code(analyzer) == "AccessDeniedException"


def test_a_created_account_has_the_next_id_and_the_role_to_enter_it(box: Box) -> None:
    management = box.client("organizations", MANAGEMENT)
    highest = max(a["Id"] for a in management.list_accounts()["Accounts"])

    status = management.create_account(Email="new@example.com", AccountName="new")
    new_id = status["CreateAccountStatus"]["AccountId"]
    entered = box.client("sts", MANAGEMENT).assume_role(
        RoleArn=f"arn:aws:iam::{new_id}:role/OrganizationAccountAccessRole", RoleSessionName="test"
    )

    assert int(new_id) == int(highest) + 1
    assert f":{new_id}:" in entered["AssumedRoleUser"]["Arn"]
    assert management.describe_account(AccountId=new_id)["Account"]["Name"] == "new"


def test_accounts_come_in_pages_of_twenty(box: Box) -> None:
    management = box.client("organizations", MANAGEMENT)
    for _ in range(20):
        management.create_account(Email="many@example.com", AccountName="many")

    first = management.list_accounts()
    second = management.list_accounts(NextToken=first["NextToken"])

    assert len(first["Accounts"]) == 20
    assert 0 < len(second["Accounts"]) < 20
    assert "NextToken" not in second


def test_an_organization_trail_is_seen_in_every_member_under_the_same_arn(box: Box) -> None:
    cloudtrail = box.client("cloudtrail", WORKLOAD)

    trail = cloudtrail.get_trail(Name=TRAIL_ARN)["Trail"]
    described = cloudtrail.describe_trails()["trailList"]
    elsewhere = box.client("cloudtrail", WORKLOAD, "eu-west-2").describe_trails()["trailList"]

    assert trail["IsOrganizationTrail"] is True
    assert TRAIL_ARN in {t["TrailARN"] for t in described}
    assert TRAIL_ARN in {t["TrailARN"] for t in elsewhere}
    with pytest.raises(ClientError, match="TrailNotFound"):
        cloudtrail.delete_trail(Name=TRAIL_ARN)
    with pytest.raises(ClientError, match="TrailNotFound"):
        box.client("cloudtrail", STRANGER).get_trail(Name=TRAIL_ARN)


def test_only_the_management_account_makes_an_organization_trail(box: Box) -> None:
    with pytest.raises(ClientError) as error:
        box.client("cloudtrail", WORKLOAD).create_trail(
            Name=f"{TRAIL_NAME}-2", S3BucketName="any-bucket", IsOrganizationTrail=True
        )

    assert code(error) == "NotOrganizationMasterAccountException"


def test_ages_can_be_planted_because_no_api_can(emulator: Emulator, box: Box) -> None:
    iam = emulator.client("iam", WORKLOAD)
    name = unique("aged")
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]

    emulator.control(
        "ages",
        {
            "entries": [
                {"arn": arn, "created_at": "2021-01-02T03:04:05Z"},
                {"arn": arn, "created_at": "2022-01-02T03:04:05Z", "access_key_id": key},
            ]
        },
    )

    assert iam.get_user(UserName=name)["User"]["CreateDate"].year == 2021
    (listed,) = iam.list_access_keys(UserName=name)["AccessKeyMetadata"]
    assert listed["CreateDate"].year == 2022
    with pytest.raises(EmulatorControlError, match="no user or role"):
        emulator.control("ages", {"entries": [{"arn": f"{arn}x", "created_at": "2021-01-01"}]})


def test_a_policy_may_limit_a_listing_to_a_prefix(box: Box) -> None:
    bucket = bucket_of(box, WORKLOAD)
    limited = {"StringLike": {"s3:prefix": ["logs/*"]}}
    role = box.role(unique("lister"), allow("s3:ListBucket", Condition=limited))
    s3 = box.session(role).client("s3")

    def may_list(**asked: Any) -> bool:
        try:
            s3.list_objects_v2(Bucket=bucket, **asked)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    assert may_list(Prefix="logs/2026/")
    assert may_list(Prefix="logs/", Delimiter="/")
    assert not may_list(Prefix="other/")
    assert not may_list()
