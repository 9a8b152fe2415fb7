"""What the AWS CLI prints of last accessed information, read."""

from __future__ import annotations

from typing import Any

import pytest

from pare.errors import PolicyInputError
from pare.policy.last_accessed import read_last_accessed

# The shape of AWS's example:
# https://docs.aws.amazon.com/cli/latest/reference/iam/get-service-last-accessed-details.html
S3: dict[str, Any] = {
    "ServiceName": "Amazon S3",
    "ServiceNamespace": "s3",
    "LastAuthenticated": "2026-11-20T10:00:00+01:00",
    "LastAuthenticatedEntity": "arn:aws:iam::111122223333:role/Shop",
    "LastAuthenticatedRegion": "eu-west-1",
    "TotalAuthenticatedEntities": 1,
    "TrackedActionsLastAccessed": [
        {"ActionName": "PutBucketTagging", "LastAccessedTime": "2026-11-19T10:00:00+00:00"},
        {"ActionName": "CreateBucket"},
    ],
}
A4B: dict[str, Any] = {
    "ServiceName": "Alexa for Business",
    "ServiceNamespace": "a4b",
    "TotalAuthenticatedEntities": 0,
}


def printed(*services: Any, **changes: Any) -> dict[str, Any]:
    return {"JobStatus": "COMPLETED", "JobCreationDate": "2026-11-21T00:00:00+00:00",
            "ServicesLastAccessed": list(services), "IsTruncated": False, **changes}  # fmt: skip


def test_a_used_service_with_tracked_actions() -> None:
    assert read_last_accessed(printed(S3)) == {
        "outcome": "COMPLETED",
        "message": "",
        "services": [
            {
                "service": "s3",
                "name": "Amazon S3",
                "last_accessed_at": "2026-11-20T09:00:00Z",
                "region": "eu-west-1",
                "actions": {"PutBucketTagging": "2026-11-19T10:00:00Z", "CreateBucket": None},
            }
        ],
    }


def test_no_tracking_is_not_the_same_as_no_use() -> None:
    (found,) = read_last_accessed(printed(A4B))["services"]
    (tracked,) = read_last_accessed(printed({**A4B, "TrackedActionsLastAccessed": []}))["services"]

    assert (found["last_accessed_at"], found["region"], found["actions"]) == (None, None, None)
    assert tracked["actions"] == {}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "not what"),
        (None, "not what"),
        ({}, "not what"),
        ({"ServicesLastAccessed": []}, "has not completed"),
        ({"JobStatus": "COMPLETED"}, "damaged"),
        (printed(S3, JobStatus="IN_PROGRESS"), "IN_PROGRESS"),
        # As AWS answers while the job runs: without any services.
        ({"JobStatus": "IN_PROGRESS", "JobCreationDate": "2026-11-21T00:00:00Z"}, "IN_PROGRESS"),
        ({"JobStatus": "FAILED", "Error": {"Code": "X", "Message": "broken"}}, "FAILED"),
        (printed(S3, IsTruncated=True), "IsTruncated"),
        (printed("s3"), "damaged"),
        (printed({"ServiceName": "x"}), "ServiceNamespace"),
        (printed({**S3, "LastAuthenticated": "yesterday"}), "damaged"),
        (printed({**S3, "TrackedActionsLastAccessed": [{}]}), "ActionName"),
        (printed({**S3, "ServiceNamespace": None}), "damaged"),
        ({**printed(), "ServicesLastAccessed": None}, "damaged"),
    ],
)
def test_what_is_not_whole_is_refused(source: Any, said: str) -> None:
    with pytest.raises(PolicyInputError, match=said):
        read_last_accessed(source)
