from __future__ import annotations

from typing import Any

import pytest

from pare.policy.evidence import GeneratedPolicyJson, generation_outcome

POLICY = {"Version": "2012-10-17", "Statement": []}
TRAIL = {"trails": [], "start": "2026-08-23T09:00:00Z", "end": "2026-11-21T09:00:00Z"}


def generated(status: str, **changes: Any) -> GeneratedPolicyJson:
    result: GeneratedPolicyJson = {
        "job_id": "job-1",
        "status": status,
        "started_at": "2026-11-21T09:00:00Z",
        "completed_at": "2026-11-21T09:03:00Z",
        "error_code": None,
        "error_message": None,
        "is_complete": None,
        "policies": [],
        "trail": TRAIL,
    }
    return {**result, **changes}  # type: ignore[typeddict-item]


@pytest.mark.parametrize("is_complete", [True, False, None])
def test_a_job_that_succeeded_has_its_policies(is_complete: bool | None) -> None:
    job = generated("SUCCEEDED", is_complete=is_complete, policies=[POLICY])

    assert generation_outcome(job) == {
        "outcome": "SUCCEEDED",
        "message": "",
        "job_id": "job-1",
        "is_complete": is_complete,
        "policies": [POLICY],
        "trail": TRAIL,
    }


@pytest.mark.parametrize(
    "code",
    ["AUTHORIZATION_ERROR", "RESOURCE_NOT_FOUND_ERROR", "SERVICE_QUOTA_EXCEEDED_ERROR",
     "SERVICE_ERROR"],
)  # fmt: skip
def test_a_job_that_failed_ends_in_its_error_code(code: str) -> None:
    outcome = generation_outcome(generated("FAILED", error_code=code, error_message="AWS's words"))

    assert outcome["outcome"] == code
    assert outcome["message"] == "AWS's words"


def test_a_job_that_failed_without_a_code_is_still_failed() -> None:
    assert generation_outcome(generated("FAILED"))["outcome"] == "FAILED"


def test_a_job_that_was_cancelled_says_so() -> None:
    outcome = generation_outcome(generated("CANCELED"))

    assert outcome["outcome"] == "CANCELED"
    assert outcome["message"] == "the policy generation was cancelled"


def test_an_error_code_of_a_job_that_did_not_fail_does_not_count() -> None:
    job = generated("SUCCEEDED", error_code="SERVICE_ERROR", policies=[POLICY])

    assert generation_outcome(job)["outcome"] == "SUCCEEDED"
