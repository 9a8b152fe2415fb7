from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from infra.policy_workflow import BUSY_ERRORS
from lambdas.policies import start_policy_generation
from lambdas.policies.start_policy_generation import Job, lambda_handler
from pare.aws.quota_ledger import QuotaLedger
from pare.errors import (
    AccessAnalyzerBusyError,
    AccessAnalyzerQuotaError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    PolicyGenerationConflictError,
    ThrottledError,
    TrailNotSupportedError,
)
from pare.runs import what_to_do
from tests.handlers.fake_aws import MEMBER, REGION
from tests.handlers.policy_inputs import ARN, EXECUTION, principal

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

TRAIL = "arn:aws:cloudtrail:eu-west-1:111111111111:trail/organization"
OPERATION = "accessanalyzer:StartPolicyGeneration"
LIST = "accessanalyzer:ListPolicyGenerations"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(
        access_role_arn_template="arn:aws:iam::{account_id}:role/service-role/AccessRole",
        trail_arn=TRAIL,
        trail_made_by_control_tower="false",
        window_days="90",
        lease_minutes="45",
        poll_seconds="60",
    )


@pytest.fixture(autouse=True)
def ledger(tables: Any) -> QuotaLedger:
    return QuotaLedger(tables, "Runs")


def holder(ledger: QuotaLedger) -> str:
    """Return who has the account's turn."""
    return ledger.ledger(MEMBER, REGION).holder


def start(context: Any, execution: str = EXECUTION, *, waits: bool = True, **more: str) -> Job:
    route: Any = {"route": "both", "reason": "", "waits": waits, **more}
    job: Job = lambda_handler(
        {"principal": principal(), "execution": execution, "route": route}, context
    )
    return job


def test_a_job_is_started_in_the_principals_account(
    aws: FakeAws, context: Any, ledger: QuotaLedger
) -> None:
    aws.answer(OPERATION, {"jobId": "job-1"})

    assert start(context) == {"job_id": "job-1", "poll_count": 0, "wait_seconds": 180}

    assert holder(ledger) == EXECUTION
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


def test_a_narrowed_window_begins_with_the_first_day_of_its_route(
    aws: FakeAws, context: Any, settings: Any
) -> None:
    aws.answer(OPERATION, {"jobId": "job-1"})

    start(context, first_date="2026-10-22")
    settings(window_days="10")
    start_policy_generation.environment.cache_clear()
    start(context, first_date="2026-10-22")

    narrowed, never_widened = (each["cloudTrailDetails"] for each in aws.called(OPERATION))
    end = datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert narrowed["startTime"] == datetime(2026, 10, 22, tzinfo=UTC)
    assert never_widened["startTime"] == end - timedelta(days=10) + timedelta(minutes=1)


def test_of_account_trails_the_one_of_the_principals_account_is_named(
    aws: FakeAws, context: Any, settings: Any
) -> None:
    settings(trail_arn="arn:aws:cloudtrail:eu-west-1:{account_id}:trail/own")
    aws.answer(OPERATION, {"jobId": "job-1"})

    start(context)

    (trail,) = aws.called(OPERATION)[0]["cloudTrailDetails"]["trails"]
    assert trail["cloudTrailArn"] == f"arn:aws:cloudtrail:eu-west-1:{MEMBER}:trail/own"


def test_a_retried_step_makes_the_very_same_request(
    aws: FakeAws, context: Any, ledger: QuotaLedger
) -> None:
    aws.answer(OPERATION, {"jobId": "job-1"})

    start(context)
    start(context)
    ledger.release(MEMBER, REGION, EXECUTION, now=datetime.now(UTC))
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
    assert what_to_do("TrailNotSupportedError") != PareError.what_to_do


REFUSALS = [
    (OPERATION, "ServiceQuotaExceededException", 402, AccessAnalyzerQuotaError),
    (OPERATION, "ConflictException", 409, PolicyGenerationConflictError),
    (OPERATION, "AccessDeniedException", 403, MemberAccountError),
    (OPERATION, "ValidationException", 400, AwsCallError),
    ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
]
# After these a job may run, or the step is retried at once.
PASSING = [
    (OPERATION, "ThrottlingException", 429, ThrottledError),
    (OPERATION, "InternalServerException", 500, AwsServiceError),
]


@pytest.mark.parametrize(("operation", "code", "status", "error"), REFUSALS + PASSING)
def test_each_refusal_has_the_error_that_the_workflow_and_the_advice_know(
    aws: FakeAws,
    context: Any,
    ledger: QuotaLedger,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(operation, code, status)
    aws.answer(LIST, {"policyGenerations": []})

    with pytest.raises(error) as caught:
        start(context)

    assert type(caught.value) is error
    assert what_to_do(error.__name__) != PareError.what_to_do
    is_kept = (operation, code, status, error) in PASSING
    assert holder(ledger) == (EXECUTION if is_kept else "")
    assert set(ledger.ledger(MEMBER, REGION).jobs) == ({EXECUTION} if is_kept else set())


# --- The account's turn ---


def another_has_the_turn(ledger: QuotaLedger) -> None:
    now = datetime.now(UTC)
    ledger.reserve(MEMBER, REGION, "execution:other", now=now, lease=timedelta(minutes=45))


def test_while_another_has_the_turn_nothing_is_asked_of_aws(
    aws: FakeAws, context: Any, ledger: QuotaLedger
) -> None:
    another_has_the_turn(ledger)

    with pytest.raises(AccessAnalyzerQuotaError, match=r"is running \(for other") as caught:
        start(context)

    assert type(caught.value).__name__ in BUSY_ERRORS
    assert aws.called(OPERATION) == []
    assert holder(ledger) == "execution:other"


@pytest.mark.parametrize("code", ["", "ServiceQuotaExceededException", "ConflictException"])
def test_a_route_that_does_not_wait_has_an_error_that_is_not_retried(
    aws: FakeAws, context: Any, ledger: QuotaLedger, code: str
) -> None:
    if code:
        aws.fail(OPERATION, code)
        aws.answer(LIST, {"policyGenerations": []})
    else:
        another_has_the_turn(ledger)

    with pytest.raises(AccessAnalyzerBusyError) as caught:
        start(context, waits=False)

    assert type(caught.value).__name__ not in BUSY_ERRORS


def job(status: str) -> dict[str, Any]:
    return {"jobId": "j", "principalArn": ARN, "status": status, "startedOn": datetime.now(UTC)}


@pytest.mark.parametrize(
    ("listed", "is_noted"),
    [([], True), (["SUCCEEDED", "FAILED"], True), (["CANCELED", "IN_PROGRESS"], False),
     (None, False)],
)  # fmt: skip
def test_a_day_that_aws_says_is_used_up_is_noted_unless_it_may_be_a_job_that_runs(
    aws: FakeAws, context: Any, ledger: QuotaLedger, listed: list[str] | None, is_noted: bool
) -> None:
    aws.fail(OPERATION, "ServiceQuotaExceededException", 402)
    if listed is None:  # a member role from before this call was needed
        aws.fail(LIST, "AccessDeniedException", 403)
    else:
        aws.answer(LIST, {"policyGenerations": [job(status) for status in listed]})

    with pytest.raises(AccessAnalyzerQuotaError, match="AWS's own words"):
        start(context)

    noted = ledger.ledger(MEMBER, REGION).exhausted_until > datetime.now(UTC).timestamp()
    assert noted is is_noted
    if noted:
        with pytest.raises(AccessAnalyzerQuotaError, match="used up"):
            start(context)
        assert len(aws.called(OPERATION)) == 1
