from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.start_policy_generation import Job, lambda_handler
from pare.errors import (
    AccessAnalyzerQuotaError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PolicyGenerationConflictError,
    ThrottledError,
    TrailNotSupportedError,
)
from pare.policy.proposal import NO_GENERATION
from tests.handlers.fake_aws import MEMBER
from tests.handlers.policy_inputs import ARN, EXECUTION, principal

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

TRAIL = "arn:aws:cloudtrail:eu-west-1:111111111111:trail/organization"
OPERATION = "accessanalyzer:StartPolicyGeneration"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(
        access_role_arn_template="arn:aws:iam::{account_id}:role/service-role/AccessRole",
        trail_arn=TRAIL,
        trail_made_by_control_tower="false",
        window_days="90",
    )


def start(context: Any, execution: str = EXECUTION) -> Job:
    job: Job = lambda_handler({"principal": principal(), "execution": execution}, context)
    return job


def test_a_job_is_started_in_the_principals_account(aws: FakeAws, context: Any) -> None:
    aws.answer(OPERATION, {"jobId": "job-1"})

    assert start(context) == {"job_id": "job-1", "poll_count": 0}

    (call,) = aws.calls
    assert call.account_id == MEMBER
    end = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert call.parameters["policyGenerationDetails"] == {"principalArn": ARN}
    assert call.parameters["cloudTrailDetails"] == {
        "trails": [{"cloudTrailArn": TRAIL, "allRegions": True}],
        "accessRole": f"arn:aws:iam::{MEMBER}:role/service-role/AccessRole",
        "startTime": end - timedelta(days=90) + timedelta(minutes=1),
        "endTime": end,
    }


@pytest.mark.parametrize("days", [1, 30, 90])
def test_the_window_is_as_long_as_the_settings_say_and_never_over_awss_limit(
    aws: FakeAws, context: Any, settings: Any, days: int
) -> None:
    settings(window_days=str(days))
    aws.answer(OPERATION, {"jobId": "job-1"})

    start(context)

    details = aws.called(OPERATION)[0]["cloudTrailDetails"]
    length = details["endTime"] - details["startTime"]
    assert timedelta(days=days) - timedelta(minutes=1) == length < timedelta(days=90)


def test_a_retried_step_makes_the_very_same_request(aws: FakeAws, context: Any) -> None:
    aws.answer(OPERATION, {"jobId": "job-1"})

    start(context)
    start(context)
    start(context, EXECUTION + "-other")

    first, again, other = aws.called(OPERATION)
    assert first == again, "or AWS refuses the client token"
    assert first["clientToken"] != other["clientToken"]


def test_a_trail_of_control_tower_is_not_tried(aws: FakeAws, context: Any, settings: Any) -> None:
    settings(trail_made_by_control_tower="true")

    with pytest.raises(TrailNotSupportedError, match=TRAIL):
        start(context)

    assert aws.calls == []
    assert "sts:AssumeRole" not in aws.attempts
    assert "TrailNotSupportedError" in NO_GENERATION


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        (OPERATION, "ServiceQuotaExceededException", 402, AccessAnalyzerQuotaError),
        (OPERATION, "ConflictException", 409, PolicyGenerationConflictError),
        (OPERATION, "ThrottlingException", 429, ThrottledError),
        (OPERATION, "AccessDeniedException", 403, MemberAccountError),
        (OPERATION, "ValidationException", 400, AwsCallError),
        (OPERATION, "InternalServerException", 500, AwsServiceError),
        ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
    ],
)
def test_each_refusal_has_the_error_that_the_workflow_and_the_advice_know(
    aws: FakeAws,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(operation, code, status)

    with pytest.raises(error) as caught:
        start(context)

    assert type(caught.value) is error
    assert error.__name__ in NO_GENERATION
