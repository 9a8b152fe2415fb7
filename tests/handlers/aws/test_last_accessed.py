"""Last accessed information: moto has none of it, so botocore's Stubber answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from pare.aws.iam_reader import IamReader
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    LastAccessedError,
    MemberAccountError,
    PareError,
    PrincipalNotFoundError,
    ThrottledError,
)
from tests.handlers.fake_aws import MEMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.policy.evidence import ServiceLastAccessedJson
    from tests.handlers.fake_aws import FakeAws

ARN = f"arn:aws:iam::{MEMBER}:role/App"
JOB = "01234567-89ab-4cde-8f01-23456789abcd"
WHEN = datetime(2026, 11, 20, 9, tzinfo=UTC)


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def iam(aws: FakeAws) -> Iterator[Stubber]:
    with Stubber(boto3.client("iam")) as stub:
        yield stub


def job(status: str, *services: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an answer as IAM gives it; it has no completion date while the job runs."""
    return {
        "JobStatus": status,
        "JobType": "ACTION_LEVEL",
        "JobCreationDate": WHEN,
        "JobCompletionDate": WHEN,
        "ServicesLastAccessed": list(services),
        "IsTruncated": False,
        **more,
    }


def service(namespace: str, **more: Any) -> dict[str, Any]:
    return {"ServiceName": namespace.upper(), "ServiceNamespace": namespace, **more}


def generate(iam: Stubber) -> None:
    iam.add_response(
        "generate_service_last_accessed_details",
        {"JobId": JOB},
        {"Arn": ARN, "Granularity": "ACTION_LEVEL"},
    )


def get(iam: Stubber, answer: dict[str, Any], **marker: str) -> None:
    iam.add_response(
        "get_service_last_accessed_details", answer, {"JobId": JOB, "MaxItems": 1000, **marker}
    )


def read(iam: Stubber, clock: Clock, seconds: float = 60) -> list[ServiceLastAccessedJson]:
    found = IamReader(iam.client, MEMBER).last_accessed(  # type: ignore[arg-type]
        ARN, seconds=seconds, sleep=clock.sleep, monotonic=clock.monotonic
    )
    iam.assert_no_pending_responses()
    return found


def test_services_and_tracked_actions_are_read(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    get(
        iam,
        job(
            "COMPLETED",
            service(
                "s3",
                LastAuthenticated=WHEN,
                LastAuthenticatedRegion="eu-west-1",
                TrackedActionsLastAccessed=[
                    {"ActionName": "CreateBucket", "LastAccessedTime": WHEN},
                    {"ActionName": "DeleteBucket"},
                ],
            ),
            service("dynamodb", LastAuthenticated=WHEN, TrackedActionsLastAccessed=[]),
            service("ec2"),
        ),
    )

    assert read(iam, clock) == [
        {"service": "dynamodb", "name": "DYNAMODB", "last_accessed_at": "2026-11-20T09:00:00Z",
         "region": None, "actions": {}},
        {"service": "ec2", "name": "EC2", "last_accessed_at": None, "region": None,
         "actions": None},
        {"service": "s3", "name": "S3", "last_accessed_at": "2026-11-20T09:00:00Z",
         "region": "eu-west-1",
         "actions": {"CreateBucket": "2026-11-20T09:00:00Z", "DeleteBucket": None}},
    ]  # fmt: skip
    assert clock.pauses == []


def test_every_page_is_read_by_its_marker(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    get(iam, job("COMPLETED", service("c"), IsTruncated=True, Marker="one"))
    get(iam, job("COMPLETED", service("b"), IsTruncated=True, Marker="two"), Marker="one")
    get(iam, job("COMPLETED", service("a")), Marker="two")

    assert [each["service"] for each in read(iam, clock)] == ["a", "b", "c"]


def test_a_running_job_is_asked_again_after_pauses_that_grow(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    for _ in range(7):
        get(iam, job("IN_PROGRESS"))
    get(iam, job("COMPLETED", service("s3")))

    assert [each["service"] for each in read(iam, clock)] == ["s3"]
    assert clock.pauses == [0.5, 1, 2, 4, 8, 8, 8]


def test_a_job_still_running_at_the_deadline_leaves_use_unknown(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    for _ in range(5):
        get(iam, job("IN_PROGRESS"))

    with pytest.raises(LastAccessedError, match=f"{ARN} was still IN_PROGRESS after 10 s"):
        read(iam, clock, seconds=10)

    iam.assert_no_pending_responses()
    assert clock.now - 1_000 <= 10, "it ends before its time is up, not after"


def test_no_time_at_all_is_one_look(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    get(iam, job("IN_PROGRESS"))

    with pytest.raises(LastAccessedError):
        read(iam, clock, seconds=-5)

    assert clock.pauses == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"Error": {"Code": "InternalFailure", "Message": "sorry"}}, "InternalFailure: sorry"),
        ({}, "no code: no message"),
    ],
)
def test_a_failed_job_leaves_use_unknown(
    iam: Stubber, clock: Clock, error: dict[str, Any], words: str
) -> None:
    generate(iam)
    get(iam, job("FAILED", **error))

    with pytest.raises(LastAccessedError, match=words):
        read(iam, clock)


def test_a_job_that_another_session_started_is_a_last_accessed_error(
    iam: Stubber, clock: Clock
) -> None:
    """The job is not there: that says nothing about the principal."""
    generate(iam)
    iam.add_client_error("get_service_last_accessed_details", "NoSuchEntity", "no job", 404)

    with pytest.raises(LastAccessedError, match="no job"):
        read(iam, clock)


def test_a_principal_that_is_gone_is_not_found(iam: Stubber, clock: Clock) -> None:
    iam.add_client_error("generate_service_last_accessed_details", "NoSuchEntity", "gone", 404)

    with pytest.raises(PrincipalNotFoundError, match="gone"):
        read(iam, clock)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("Throttling", 400, ThrottledError),
        ("AccessDenied", 403, MemberAccountError),
        ("ServiceFailure", 500, AwsServiceError),
        ("InvalidInput", 400, AwsCallError),
    ],
)
@pytest.mark.parametrize(
    "operation", ["generate_service_last_accessed_details", "get_service_last_accessed_details"]
)
def test_a_call_that_fails_is_an_error(
    iam: Stubber, clock: Clock, operation: str, code: str, status: int, error: type[PareError]
) -> None:
    if operation.startswith("get"):
        generate(iam)
    iam.add_client_error(operation, code, "AWS's own words", status)

    with pytest.raises(error, match=f"in account {MEMBER}: {code}: AWS's own words"):
        read(iam, clock)


def test_a_principal_without_policies_has_an_empty_list(iam: Stubber, clock: Clock) -> None:
    generate(iam)
    get(iam, job("COMPLETED"))

    assert read(iam, clock) == []
