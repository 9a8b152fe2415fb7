"""IAM last-accessed jobs on the emulator, through boto3 over HTTPS (facts §3)."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import HUB, NOW, REGION, WORKLOAD, Session, allow, unique

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


def used(
    principal_arn: str,
    service: str,
    action: str | None = None,
    *,
    at: datetime = NOW,
    region: str = REGION,
) -> dict[str, Any]:
    """One planted usage entry."""
    return {
        "principal_arn": principal_arn,
        "service": service,
        "action": action,
        "last_accessed_at": at.isoformat(),
        "region": region,
    }


def plant(box: Box, *entries: dict[str, Any]) -> None:
    """Plant usage."""
    box.emulator.control("usage", {"entries": list(entries)})


def report(box: Box, arn: str, granularity: str = "ACTION_LEVEL", **page: Any) -> dict[str, Any]:
    """The ended report about an entity."""
    iam = box.client("iam")
    job_id = iam.generate_service_last_accessed_details(Arn=arn, Granularity=granularity)["JobId"]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        answer: dict[str, Any] = iam.get_service_last_accessed_details(JobId=job_id, **page)
        if answer["JobStatus"] != "IN_PROGRESS":
            return answer
        time.sleep(0.02)
    raise AssertionError("the job is still running")


def by_service(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services of a report."""
    return {service["ServiceNamespace"]: service for service in answer["ServicesLastAccessed"]}


def test_services_the_policies_allow_are_listed_with_their_last_use(box: Box) -> None:
    role = box.role(unique("app"), allow("s3:Get*", "sqs:*"), path="/team/")
    plant(box, used(role, "s3", at=NOW - timedelta(days=3), region="eu-west-2"), used(role, "ec2"))

    services = by_service(report(box, role, "SERVICE_LEVEL"))

    assert sorted(services) == ["s3", "sqs"]  # ec2 is not allowed, so it is not listed
    s3 = services["s3"]
    assert s3["ServiceName"] == "Amazon S3"
    assert s3["LastAuthenticated"] == NOW - timedelta(days=3)
    assert s3["LastAuthenticatedEntity"] == role
    assert s3["LastAuthenticatedRegion"] == "eu-west-2"
    assert s3["TotalAuthenticatedEntities"] == 1
    assert "TrackedActionsLastAccessed" not in s3
    assert "LastAuthenticated" not in services["sqs"]
    assert services["sqs"]["TotalAuthenticatedEntities"] == 0


def test_action_level_lists_tracked_actions_and_never_the_data_plane(box: Box) -> None:
    role = box.role(unique("app"), allow("s3:*", "iam:*", "dynamodb:PutItem"))
    plant(
        box,
        used(role, "s3", "ListAllMyBuckets"),
        used(role, "s3", "s3:GetObject", at=NOW + timedelta(minutes=1)),
        used(role, "iam", "PassRole"),
        used(role, "dynamodb", "PutItem"),
    )

    services = by_service(report(box, role))

    actions = {a["ActionName"]: a for a in services["s3"]["TrackedActionsLastAccessed"]}
    assert actions["ListAllMyBuckets"]["LastAccessedTime"] == NOW
    assert actions["ListAllMyBuckets"]["LastAccessedEntity"] == role
    assert actions["CreateBucket"] == {"ActionName": "CreateBucket"}  # tracked, never used
    assert "GetObject" not in actions
    assert services["s3"]["LastAuthenticated"] == NOW + timedelta(minutes=1)
    iam = {a["ActionName"] for a in services["iam"]["TrackedActionsLastAccessed"]}
    assert "PassRole" not in iam
    assert services["iam"]["LastAuthenticated"] == NOW
    assert "TrackedActionsLastAccessed" not in services["dynamodb"]


def test_the_newest_use_wins(box: Box) -> None:
    role = box.role(unique("app"), allow("ec2:*"))
    plant(box, used(role, "ec2", "DescribeVpcs", at=NOW - timedelta(days=1)))
    plant(box, used(role, "ec2", "DescribeVpcs", at=NOW - timedelta(days=9)))

    actions = by_service(report(box, role))["ec2"]["TrackedActionsLastAccessed"]

    vpcs = next(a for a in actions if a["ActionName"] == "DescribeVpcs")
    assert vpcs["LastAccessedTime"] == NOW - timedelta(days=1)


def test_a_role_without_policies_has_an_empty_report(box: Box) -> None:
    role = box.role(unique("bare"))
    plant(box, used(role, "s3"))

    answer = report(box, role)

    assert answer["JobStatus"] == "COMPLETED"
    assert answer["ServicesLastAccessed"] == []
    assert answer["IsTruncated"] is False


def test_everything_allowed_is_every_service_in_pages_by_marker(box: Box) -> None:
    role = box.role(unique("admin"), allow("*"))
    iam = box.client("iam")
    job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]

    first = iam.get_service_last_accessed_details(JobId=job_id)
    names = [s["ServiceNamespace"] for s in first["ServicesLastAccessed"]]
    assert len(names) == 100
    page = first
    while page["IsTruncated"]:
        page = iam.get_service_last_accessed_details(JobId=job_id, Marker=page["Marker"])
        names += [s["ServiceNamespace"] for s in page["ServicesLastAccessed"]]

    assert "Marker" not in page
    assert names == sorted(set(names))
    assert len(names) > 300
    small = iam.get_service_last_accessed_details(JobId=job_id, MaxItems=7)
    assert len(small["ServicesLastAccessed"]) == 7


def test_managed_policies_and_groups_count_and_not_action_is_the_rest(box: Box) -> None:
    iam = box.client("iam")
    user, group = unique("person"), unique("people")
    arn = iam.create_user(UserName=user)["User"]["Arn"]
    iam.create_group(GroupName=group)
    iam.add_user_to_group(UserName=user, GroupName=group)
    policy = iam.create_policy(
        PolicyName=unique("sns"), PolicyDocument=json.dumps(allow("sns:Publish"))
    )["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    statement = {"Effect": "Allow", "NotAction": ["iam:*", "ec2:RunInstances"], "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    role = box.role(unique("most"), document)

    assert sorted(by_service(report(box, arn))) == ["sns"]
    rest = by_service(report(box, role, MaxItems=1000))
    assert "iam" not in rest
    ec2 = {a["ActionName"] for a in rest["ec2"]["TrackedActionsLastAccessed"]}
    assert "RunInstances" not in ec2
    assert "StopInstances" in ec2


def test_a_group_and_a_policy_report_on_the_principals_behind_them(box: Box) -> None:
    iam = box.client("iam")
    user, group = unique("person"), unique("people")
    user_arn = iam.create_user(UserName=user)["User"]["Arn"]
    group_arn = iam.create_group(GroupName=group)["Group"]["Arn"]
    iam.add_user_to_group(UserName=user, GroupName=group)
    policy = iam.create_policy(PolicyName=unique("sqs"), PolicyDocument=json.dumps(allow("sqs:*")))[
        "Policy"
    ]["Arn"]
    role_name = unique("worker")
    role = box.role(role_name)
    iam.attach_role_policy(RoleName=role_name, PolicyArn=policy)
    iam.attach_group_policy(GroupName=group, PolicyArn=policy)
    plant(box, used(user_arn, "sqs"), used(role, "sqs", at=NOW - timedelta(days=1)))

    about_group = by_service(report(box, group_arn))["sqs"]
    about_policy = by_service(report(box, policy))["sqs"]

    assert (about_group["LastAuthenticatedEntity"], about_group["TotalAuthenticatedEntities"]) == (
        user_arn,
        1,
    )
    assert about_policy["TotalAuthenticatedEntities"] == 2


def test_a_job_can_be_fetched_by_its_own_session_only(box: Box) -> None:
    role = box.role(
        unique("reader"),
        allow("iam:GenerateServiceLastAccessedDetails", "iam:GetServiceLastAccessedDetails"),
    )
    mine, again = box.session(role), box.session(role)
    job_id = mine.client("iam").generate_service_last_accessed_details(Arn=role)["JobId"]

    with pytest.raises(ClientError) as error:
        again.client("iam").get_service_last_accessed_details(JobId=job_id)

    assert error.value.response["Error"]["Code"] == "NoSuchEntity"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    got = mine.client("iam").get_service_last_accessed_details(JobId=job_id)
    assert got["JobStatus"] == "COMPLETED"


def test_a_user_fetches_with_any_of_its_keys(box: Box) -> None:
    iam = box.client("iam")
    name = unique("auditor")
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(allow("iam:*")))
    keys = [iam.create_access_key(UserName=name)["AccessKey"] for _ in range(2)]
    first, second = (Session(box.emulator, key).client("iam") for key in keys)

    job_id = first.generate_service_last_accessed_details(Arn=arn)["JobId"]

    assert second.get_service_last_accessed_details(JobId=job_id)["JobStatus"] == "COMPLETED"


def test_a_running_job_has_no_completion_date(box: Box, settings: Emulator) -> None:
    settings.control("settings", {"last_accessed_delay_seconds": 30})
    role = box.role(unique("app"), allow("s3:*"))
    iam = box.client("iam")
    job_id = iam.generate_service_last_accessed_details(Arn=role, Granularity="ACTION_LEVEL")[
        "JobId"
    ]

    answer = iam.get_service_last_accessed_details(JobId=job_id)

    assert answer["JobStatus"] == "IN_PROGRESS"
    assert answer["JobType"] == "ACTION_LEVEL"
    assert "JobCompletionDate" not in answer
    assert len(job_id) == 36


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:iam::{WORKLOAD}:role/never-made",
        f"arn:aws:iam::{HUB}:role/somewhere-else",
        f"arn:aws:iam::{WORKLOAD}:instance-profile/not-an-entity",
    ],
)
def test_an_entity_that_is_not_in_the_account_is_no_such_entity(box: Box, arn: str) -> None:
    with pytest.raises(ClientError) as error:
        box.client("iam").generate_service_last_accessed_details(Arn=arn)

    assert error.value.response["Error"]["Code"] == "NoSuchEntity"


def test_wrong_parameters_are_refused(box: Box) -> None:
    iam = box.client("iam")
    role = box.role(unique("app"), allow("s3:*"))
    job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]

    with pytest.raises(ClientError, match="InvalidInput"):
        iam.get_service_last_accessed_details(JobId=job_id, Marker="next")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_service_last_accessed_details(JobId="0" * 36)


@pytest.mark.parametrize(
    "operation", ["GenerateServiceLastAccessedDetails", "GetServiceLastAccessedDetails"]
)
def test_both_operations_need_their_permission(box: Box, operation: str) -> None:
    other = {
        "GenerateServiceLastAccessedDetails": "iam:GetServiceLastAccessedDetails",
        "GetServiceLastAccessedDetails": "iam:GenerateServiceLastAccessedDetails",
    }
    role = box.role(unique("half"), allow(other[operation]))
    iam = box.session(role).client("iam")

    with pytest.raises(ClientError) as error:
        job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]
        iam.get_service_last_accessed_details(JobId=job_id)

    assert error.value.response["Error"]["Code"] == "AccessDenied"
    assert f"iam:{operation}" in str(error.value)


def test_the_rest_of_iam_is_left_to_ministack(box: Box) -> None:
    name = unique("passed-through")
    box.role(name)
    assert box.client("iam").get_role(RoleName=name)["Role"]["RoleName"] == name


def test_a_wrong_usage_entry_is_refused_by_name(emulator: Emulator) -> None:
    with pytest.raises(EmulatorControlError, match="last_accessed_at"):
        emulator.control("usage", {"entries": [{"principal_arn": "x", "service": "s3"}]})


def throttled_calls(iam: Any, role: str, count: int) -> list[bool]:
    """Whether each of some calls, of both operations in turn, was throttled."""
    job_id, found = "", []
    for _ in range(count):
        try:
            if job_id:
                iam.get_service_last_accessed_details(JobId=job_id)
                job_id = ""
            else:
                job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]
            found.append(False)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "Throttling"
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            found.append(True)
    return found


def test_an_account_that_calls_too_often_is_throttled(box: Box, settings: Emulator) -> None:
    role = box.role(unique("app"), allow("s3:*"))
    other = box.role(unique("app"), allow("s3:*"), account_id=HUB)
    before = settings.control("state")["last_accessed_jobs"]
    settings.control("settings", {"last_accessed_calls_per_second": 4})

    started = time.monotonic()
    found = throttled_calls(box.client("iam"), role, 30)
    seconds = time.monotonic() - started
    elsewhere = throttled_calls(box.client("iam", HUB), other, 4)
    time.sleep(0.6)
    later = throttled_calls(box.client("iam"), role, 2)

    assert found[:4] == [False] * 4, "a second's worth at once"
    assert 4 <= found.count(False) <= 4 + 4 * seconds + 1
    assert elsewhere == [False] * 4, "each account has its own limit"
    assert later == [False] * 2, "a pause gives it back"
    after = settings.control("state")["last_accessed_jobs"]
    assert after["calls"] - before["calls"] == 36
    assert after["throttled"] - before["throttled"] == found.count(True)
    settings.control("settings", {"last_accessed_calls_per_second": None})
    assert throttled_calls(box.client("iam"), role, 20) == [False] * 20


def test_a_job_is_forgotten_after_its_time(box: Box, settings: Emulator) -> None:
    settings.control("settings", {"last_accessed_retention_seconds": 0.2})
    role = box.role(unique("app"), allow("s3:*"))
    iam = box.client("iam")
    job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]
    assert iam.get_service_last_accessed_details(JobId=job_id)["JobStatus"] == "COMPLETED"

    time.sleep(0.3)

    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_service_last_accessed_details(JobId=job_id)


def test_principals_with_the_same_policies_have_uses_of_their_own(box: Box) -> None:
    everything = allow("*")
    idle, active = (box.role(unique("admin"), everything) for _ in range(2))
    plant(box, used(active, "ec2", "RunInstances"))

    before = by_service(report(box, idle, MaxItems=1000))
    services = by_service(report(box, active, MaxItems=1000))
    after = by_service(report(box, idle, MaxItems=1000))

    assert before == after
    assert sorted(before) == sorted(services)
    assert {name for name in services if services[name] != before[name]} == {"ec2"}
    assert services["ec2"]["LastAuthenticatedEntity"] == active
    assert services["ec2"]["TotalAuthenticatedEntities"] == 1
    run = [each for each in services["ec2"]["TrackedActionsLastAccessed"]
           if "LastAccessedTime" in each]  # fmt: skip
    assert [each["ActionName"] for each in run] == ["RunInstances"]
    levels = by_service(report(box, idle, "SERVICE_LEVEL", MaxItems=1000))
    assert "TrackedActionsLastAccessed" not in levels["ec2"], (
        "both levels have answers of their own"
    )


def test_a_large_policy_is_read_once_for_everybody(box: Box) -> None:
    """The scale test has thousands of jobs, some of administrators and of AWS managed policies."""
    iam = box.client("iam")
    roles = []
    for _ in range(3):
        name = unique("reader")
        roles.append(box.role(name))
        iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    report(box, roles[0], MaxItems=1000)

    started = time.monotonic()
    for role in roles:
        assert len(report(box, role, MaxItems=1000)["ServicesLastAccessed"]) > 20

    assert time.monotonic() - started < 6, "half a second each is slow already"


def test_completion_is_when_the_job_ended_not_when_it_was_asked_for(box: Box) -> None:
    role = box.role(unique("app"), allow("s3:*"))
    iam = box.client("iam")
    job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]
    time.sleep(0.3)

    answer = iam.get_service_last_accessed_details(JobId=job_id)

    assert answer["JobCompletionDate"] - answer["JobCreationDate"] < timedelta(seconds=0.2)
