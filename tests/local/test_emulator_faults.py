"""Faults switched on for single calls, of our services and of ministack's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import allow, member, unique

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


def switch_on(emulator: Emulator, **fault: Any) -> None:
    """Switch one fault on."""
    emulator.control("faults", {"faults": [fault]})


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "ThrottlingException", 429),
        ("server_error", "InternalServerException", 500),
        ("access_denied", "AccessDeniedException", 403),
    ],
)
def test_a_fault_answers_as_aws_would_as_often_as_asked(
    box: Box, settings: Emulator, kind: str, code: str, status: int
) -> None:
    switch_on(settings, operation="ListAnalyzers", kind=kind, count=2)
    client = box.client("accessanalyzer")

    for _ in range(2):
        with pytest.raises(ClientError) as error:
            client.list_analyzers()
        assert error.value.response["Error"]["Code"] == code
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    client.list_analyzers()

    if kind == "throttle":
        assert member(error, "retryAfterSeconds") == 1


def test_a_fault_without_count_stays_until_it_is_cleared(box: Box, settings: Emulator) -> None:
    before = settings.control("state")["faults_met"].get("ListAnalyzers throttle", 0)
    switch_on(settings, operation="ListAnalyzers", kind="throttle", count=None)
    client = box.client("accessanalyzer")
    for _ in range(3):
        with pytest.raises(ClientError, match="Throttling"):
            client.list_analyzers()

    settings.control("faults", method="DELETE")

    client.list_analyzers()
    state = settings.control("state")
    assert state["faults"] == []
    assert state["faults_met"]["ListAnalyzers throttle"] == before + 3


def test_a_rate_hits_some_calls_the_same_ones_every_time(box: Box, settings: Emulator) -> None:
    client = box.client("accessanalyzer")

    def outcomes() -> list[bool]:
        settings.control("faults", method="DELETE")
        switch_on(settings, operation="ListAnalyzers", kind="throttle", count=None, rate=0.5)
        found = []
        for _ in range(20):
            try:
                client.list_analyzers()
                found.append(True)
            except ClientError:
                found.append(False)
        return found

    first = outcomes()

    assert 3 < sum(first) < 17
    assert outcomes() == first


def test_ministacks_operations_fail_in_their_own_protocol(box: Box, settings: Emulator) -> None:
    for operation in ("ListRoles", "ListTables", "DescribeOrganization"):
        switch_on(settings, operation=operation, kind="throttle")
        switch_on(settings, operation=operation, kind="server_error")

    codes = []
    for call in (
        box.client("iam").list_roles,
        box.client("dynamodb").list_tables,
        box.client("organizations").describe_organization,
    ):
        for _ in range(2):
            with pytest.raises(ClientError) as error:
                call()
            codes.append(error.value.response["Error"]["Code"])
        call()

    assert codes == ["Throttling", "ServiceFailure"] + 2 * [
        "ThrottlingException",
        "InternalServerException",
    ]


def test_a_stuck_job_never_ends_until_it_is_canceled(box: Box, settings: Emulator) -> None:
    role, access_role = box.role(unique("app")), box.access_role()
    switch_on(settings, operation="StartPolicyGeneration", kind="stuck_job")
    job_id = box.start_generation(role, access_role)
    client = box.client("accessanalyzer")

    status = client.get_generated_policy(jobId=job_id)["jobDetails"]["status"]
    client.cancel_policy_generation(jobId=job_id)

    assert status == "IN_PROGRESS"
    assert client.get_generated_policy(jobId=job_id)["jobDetails"]["status"] == "CANCELED"


@pytest.mark.parametrize(
    "code",
    [
        "AUTHORIZATION_ERROR",
        "RESOURCE_NOT_FOUND_ERROR",
        "SERVICE_QUOTA_EXCEEDED_ERROR",
        "SERVICE_ERROR",
    ],
)
def test_a_job_fails_with_each_code_aws_has(box: Box, settings: Emulator, code: str) -> None:
    role, access_role = box.role(unique("app")), box.access_role()
    switch_on(settings, operation="StartPolicyGeneration", kind="failed_job", code=code)

    answer = box.generate(role, access_role)

    assert answer["jobDetails"]["status"] == "FAILED"
    assert answer["jobDetails"]["jobError"]["code"] == code


def test_last_accessed_jobs_can_be_stuck_or_fail_with_an_error(
    box: Box, settings: Emulator
) -> None:
    role = box.role(unique("app"), allow("s3:*"))
    iam = box.client("iam")
    operation = "GenerateServiceLastAccessedDetails"

    def generated() -> dict[str, Any]:
        job_id = iam.generate_service_last_accessed_details(Arn=role)["JobId"]
        answer: dict[str, Any] = iam.get_service_last_accessed_details(JobId=job_id)
        return answer

    switch_on(settings, operation=operation, kind="stuck_job")
    assert generated()["JobStatus"] == "IN_PROGRESS"
    switch_on(settings, operation=operation, kind="failed_job", code="ServiceFailure")
    failed = generated()
    assert failed["JobStatus"] == "FAILED"
    assert failed["Error"]["Code"] == "ServiceFailure"
    assert failed["ServicesLastAccessed"] == []
    switch_on(settings, operation=operation, kind="throttle")
    with pytest.raises(ClientError, match="Throttling"):
        generated()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"operation": "ListRoles", "kind": "slow"}, "slow"),
        ({"operation": "ListRoles", "kind": "stuck_job"}, "StartPolicyGeneration"),
        ({"kind": "throttle"}, "operation"),
        ({"operation": "ListRoles", "kind": "throttle", "rate": 2}, "rate"),
        (
            {"operation": "StartPolicyGeneration", "kind": "failed_job", "code": "OOPS"},
            "AUTHORIZATION_ERROR",
        ),
    ],
)
def test_a_fault_that_means_nothing_is_refused(
    emulator: Emulator, fault: dict[str, Any], message: str
) -> None:
    with pytest.raises(EmulatorControlError, match=message):
        emulator.control("faults", {"faults": [fault]})
