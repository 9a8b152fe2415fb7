from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.get_generated_policy import Output, lambda_handler
from pare.aws.quota_ledger import QuotaLedger
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    PolicyGenerationTimeoutError,
    ThrottledError,
)
from pare.policy.reasons import NO_GENERATION
from pare.runs import what_to_do
from tests.handlers.fake_aws import BUCKET, MEMBER, REGION
from tests.handlers.policy_inputs import ARN, EXECUTION, PREFIX, allow, principal

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

GET = "accessanalyzer:GetGeneratedPolicy"
CANCEL = "accessanalyzer:CancelPolicyGeneration"
OUTCOME = {"bucket": BUCKET, "key": f"{PREFIX}/policy_generation.json"}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(max_polls="3", poll_seconds="60")


@pytest.fixture(autouse=True)
def ledger(tables: Any) -> QuotaLedger:
    """The ledger, in which this execution has the account's turn."""
    ledger = QuotaLedger(tables, "Runs")
    now = datetime.now(UTC)
    ledger.reserve(MEMBER, REGION, EXECUTION, now=now, lease=timedelta(minutes=45))
    return ledger


def has_turn(ledger: QuotaLedger) -> bool:
    return ledger.ledger(MEMBER, REGION).holder == EXECUTION


def answer(status: str, *policies: dict[str, Any], **job: Any) -> dict[str, Any]:
    return {
        "jobDetails": {
            "jobId": "job-1",
            "status": status,
            "startedOn": datetime(2026, 11, 21, 9, tzinfo=UTC),
            **job,
        },
        "generatedPolicyResult": {
            "properties": {"principalArn": ARN, "isComplete": True},
            "generatedPolicies": [{"policy": json.dumps(policy)} for policy in policies],
        },
    }


def poll(context: Any, poll_count: int = 0) -> Output:
    job: Any = {"job_id": "job-1", "poll_count": poll_count, "wait_seconds": 180}
    output: Output = lambda_handler(
        {"principal": principal(), "job": job, "execution": EXECUTION}, context
    )
    return output


def test_a_running_job_is_to_be_asked_again(
    aws: FakeAws, evidence: EvidenceStore, context: Any, ledger: QuotaLedger
) -> None:
    aws.answer(GET, answer("IN_PROGRESS"))
    job = {"job_id": "job-1", "wait_seconds": 60, "status": "IN_PROGRESS"}

    assert poll(context) == {**job, "poll_count": 1}
    assert poll(context, 1) == {**job, "poll_count": 2}
    assert has_turn(ledger)
    assert [call.account_id for call in aws.calls] == [MEMBER, MEMBER]
    assert aws.called(GET)[0]["jobId"] == "job-1"


def test_the_policies_of_a_finished_job_are_stored(
    aws: FakeAws, evidence: EvidenceStore, context: Any, ledger: QuotaLedger
) -> None:
    aws.answer(GET, answer("SUCCEEDED", allow("s3:GetObject"), allow("sqs:SendMessage")))

    output = poll(context, 2)

    assert output == {
        "job_id": "job-1",
        "poll_count": 3,
        "wait_seconds": 60,
        "status": "SUCCEEDED",
        "outcome": OUTCOME,
    }
    assert evidence.get_json(output["outcome"]) == {
        "outcome": "SUCCEEDED",
        "message": "",
        "job_id": "job-1",
        "is_complete": True,
        "policies": [allow("s3:GetObject"), allow("sqs:SendMessage")],
        "trail": None,
    }
    assert not has_turn(ledger)
    assert poll(context, 2) == output, "a retried step says the same"


@pytest.mark.parametrize(
    ("status", "job", "outcome"),
    [
        ("CANCELED", {}, "CANCELED"),
        ("FAILED", {}, "FAILED"),
        *(
            ("FAILED", {"jobError": {"code": code, "message": "AWS's own words"}}, code)
            for code in ("AUTHORIZATION_ERROR", "RESOURCE_NOT_FOUND_ERROR",
                         "SERVICE_QUOTA_EXCEEDED_ERROR", "SERVICE_ERROR")
        ),
    ],
)  # fmt: skip
def test_a_job_that_ended_without_a_policy_is_an_outcome_not_an_error(
    aws: FakeAws,
    evidence: EvidenceStore,
    context: Any,
    ledger: QuotaLedger,
    status: str,
    job: dict[str, Any],
    outcome: str,
) -> None:
    aws.answer(GET, answer(status, **job))

    output = poll(context)

    assert not has_turn(ledger)
    assert set(ledger.ledger(MEMBER, REGION).jobs) == {EXECUTION}, "it counts to the day"

    assert output["status"] == status
    stored = evidence.get_json(output["outcome"])
    assert stored["outcome"] == outcome
    assert stored["message"] == job.get("jobError", {}).get("message", stored["message"])
    assert outcome in NO_GENERATION


def test_a_job_that_hangs_is_cancelled_so_that_it_blocks_no_other(
    aws: FakeAws, evidence: EvidenceStore, context: Any, ledger: QuotaLedger
) -> None:
    aws.answer(GET, answer("IN_PROGRESS"))
    aws.answer(CANCEL, {})

    with pytest.raises(PolicyGenerationTimeoutError, match=r"job-1 .* 3 polls") as caught:
        poll(context, 2)

    assert aws.called(CANCEL) == [{"jobId": "job-1"}]
    assert not has_turn(ledger)
    assert what_to_do(type(caught.value).__name__) != PareError.what_to_do


def test_a_job_that_ends_at_the_last_look_is_not_cancelled(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    aws.answer(GET, answer("SUCCEEDED", allow("s3:GetObject")))

    assert poll(context, 2)["status"] == "SUCCEEDED"
    assert aws.called(CANCEL) == []


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        (GET, "ThrottlingException", 429, ThrottledError),
        (GET, "AccessDeniedException", 403, MemberAccountError),
        (GET, "ValidationException", 400, AwsCallError),
        (GET, "InternalServerException", 500, AwsServiceError),
        ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
    ],
)
def test_each_refusal_has_the_error_that_the_workflow_and_the_advice_know(
    aws: FakeAws,
    evidence: EvidenceStore,
    context: Any,
    ledger: QuotaLedger,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(operation, code, status)

    with pytest.raises(error) as caught:
        poll(context)

    assert has_turn(ledger), "the step is retried, or the lease released after it"
    assert type(caught.value) is error
    assert what_to_do(error.__name__) != PareError.what_to_do
