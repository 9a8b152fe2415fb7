from __future__ import annotations

import json
from typing import Any, cast

import pytest

from pare.policy.evidence import GeneratedPolicyJson, Terms, TermsJson, generation_outcome, terms_of
from pare.policy.statements import Rules
from pare.policy.verdict import Exemption, Thresholds

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


# --- Terms ---


def stored_terms(**changes: Any) -> TermsJson:
    """Return terms that differ from the usual ones in every part."""
    found: dict[str, Any] = {
        "break_glass_tag": "emergency",
        "exemptions": [
            {
                "principal": "arn:aws:iam::*:role/ci/*",
                "owner": "ci@example.com",
                "reason": "it moves in May",
                "expires": "2027-05-31",
            }
        ],
        "thresholds": {
            "min_window_days": 30,
            "max_days_without_records": 1,
            "max_unreadable_records": 2,
            "max_unreadable_files": 4,
            "complete_data_events": ["s3", "dynamodb"],
        },
        "fold_after": None,
        "packing": "never",
        **changes,
    }
    return cast("TermsJson", found)


def test_the_terms_in_the_settings_are_all_read() -> None:
    assert terms_of(stored_terms(), today="2026-11-22") == Terms(
        break_glass_tag="emergency",
        exemptions=(
            Exemption(
                "arn:aws:iam::*:role/ci/*", "ci@example.com", "it moves in May", "2027-05-31"
            ),
        ),
        today="2026-11-22",
        rules=Rules(fold_after=None),
        packing="never",
        thresholds=Thresholds(30, 1, 2, 4, ("s3", "dynamodb")),
    )


def test_terms_are_the_same_after_a_journey_through_json() -> None:
    journey = json.loads(json.dumps(stored_terms()))

    assert terms_of(journey, today="2026-11-22") == terms_of(stored_terms(), today="2026-11-22")
    assert hash(terms_of(journey, today="2026-11-22")), "frozen to the bottom: no list inside"


@pytest.mark.parametrize(
    ("thresholds", "error"),
    [
        ({"min_window_days": 30}, KeyError),  # complete_data_events is not there
        ({"complete_data_events": [], "surprise": 1}, TypeError),
    ],
)
def test_terms_of_another_shape_are_not_taken(
    thresholds: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        terms_of(stored_terms(thresholds=thresholds), today="2026-11-22")
