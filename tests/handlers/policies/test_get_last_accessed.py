from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.get_last_accessed import MARGIN_SECONDS, Output, lambda_handler
from pare.errors import (
    AwsServiceError,
    LastAccessedError,
    MemberAccountError,
    PrincipalNotFoundError,
    ThrottledError,
)
from tests.handlers.fake_aws import BUCKET, MEMBER
from tests.handlers.policy_inputs import ARN, PREFIX, USED_AT, principal

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

GENERATE = "iam:GenerateServiceLastAccessedDetails"
GET = "iam:GetServiceLastAccessedDetails"
JOB = "01234567-89ab-4cde-8f01-23456789abcd"
WHEN = datetime(2026, 11, 20, 9, tzinfo=UTC)


def job(status: str, **more: Any) -> dict[str, Any]:
    return {
        "JobStatus": status,
        "JobCreationDate": WHEN,
        "JobCompletionDate": WHEN,
        "ServicesLastAccessed": [],
        **more,
    }


def get(context: Any) -> Output:
    output: Output = lambda_handler({"principal": principal()}, context)
    return output


def test_what_iam_saw_is_stored(aws: FakeAws, evidence: EvidenceStore, context: Any) -> None:
    service = {"ServiceName": "Amazon S3", "ServiceNamespace": "s3", "LastAuthenticated": WHEN,
               "TrackedActionsLastAccessed": [{"ActionName": "CreateBucket"}]}  # fmt: skip
    aws.answer(GENERATE, {"JobId": JOB})
    aws.answer(GET, job("COMPLETED", ServicesLastAccessed=[service]))

    output = get(context)

    assert output == {
        "status": "COMPLETED",
        "outcome": {"bucket": BUCKET, "key": f"{PREFIX}/last_accessed.json"},
    }
    assert evidence.get_json(output["outcome"]) == {
        "outcome": "COMPLETED",
        "message": "",
        "services": [
            {
                "service": "s3",
                "name": "Amazon S3",
                "last_accessed_at": USED_AT,
                "region": None,
                "actions": {"CreateBucket": None},
            }
        ],
    }
    assert get(context) == output, "a retried step says the same"


def test_one_session_of_the_member_account_generates_and_gets(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    aws.answer(GENERATE, {"JobId": JOB})
    aws.answer(GET, job("COMPLETED"))

    get(context)

    assert aws.attempts.count("sts:AssumeRole") == 1
    assert [(call.operation, call.account_id) for call in aws.calls] == [
        (GENERATE, MEMBER),
        (GET, MEMBER),
    ]
    assert aws.called(GENERATE) == [{"Arn": ARN, "Granularity": "ACTION_LEVEL"}]


def test_a_job_that_does_not_end_leaves_time_to_say_so(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    context.remaining_ms = int((MARGIN_SECONDS + 0.3) * 1000)
    aws.answer(GENERATE, {"JobId": JOB})
    aws.answer(GET, job("IN_PROGRESS"))

    with pytest.raises(LastAccessedError, match="still IN_PROGRESS after 0 s"):
        get(context)


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        (GENERATE, "NoSuchEntity", 404, PrincipalNotFoundError),
        (GENERATE, "AccessDenied", 403, MemberAccountError),
        (GET, "NoSuchEntity", 404, LastAccessedError),
        (GET, "Throttling", 400, ThrottledError),
        (GET, "ServiceFailure", 500, AwsServiceError),
        ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
    ],
)
def test_what_fails_is_an_error_the_workflow_knows_and_nothing_is_stored(
    aws: FakeAws,
    evidence: EvidenceStore,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    if operation != GENERATE:
        aws.answer(GENERATE, {"JobId": JOB})
    aws.fail(operation, code, status)

    with pytest.raises(error) as caught:
        get(context)

    assert type(caught.value) is error
    assert "Contents" not in evidence.s3.list_objects_v2(Bucket=BUCKET)


def test_a_failed_job_leaves_use_unknown(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    aws.answer(GENERATE, {"JobId": JOB})
    aws.answer(GET, job("FAILED", Error={"Code": "X", "Message": "AWS's own words"}))

    with pytest.raises(LastAccessedError, match="AWS's own words"):
        get(context)
