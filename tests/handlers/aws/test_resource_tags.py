from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.resource_tags import resource_tags
from pare.errors import AwsCallError, AwsServiceError, MemberAccountError, ThrottledError
from tests.handlers.fake_aws import MEMBER

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

BUCKET = "arn:aws:s3:::orders"


@pytest.fixture
def tagging(aws: FakeAws) -> Any:
    return boto3.client("resourcegroupstaggingapi")


def test_the_tags_of_a_bucket(tagging: Any) -> None:
    s3 = boto3.client("s3")
    for name in ("orders", "invoices"):
        s3.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name},  # type: ignore[typeddict-item]
        )
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "team", "Value": name}]})

    assert resource_tags(tagging, BUCKET, account_id=MEMBER) == {"team": "orders"}


def test_all_pages_are_read_and_tags_of_others_are_not_taken(tagging: Any, aws: FakeAws) -> None:
    def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if "PaginationToken" not in asked:
            return {"ResourceTagMappingList": [], "PaginationToken": "more"}
        return {
            "PaginationToken": "",
            "ResourceTagMappingList": [
                {"ResourceARN": f"{BUCKET}2", "Tags": [{"Key": "team", "Value": "other"}]},
                {"ResourceARN": BUCKET, "Tags": [{"Key": "stage", "Value": "prod"}]},
            ],
        }

    aws.answer("resourcegroupstaggingapi:GetResources", answer)

    assert resource_tags(tagging, BUCKET, account_id=MEMBER) == {"stage": "prod"}


def test_what_was_never_tagged_has_none(tagging: Any, aws: FakeAws) -> None:
    aws.answer("resourcegroupstaggingapi:GetResources", {"ResourceTagMappingList": []})

    assert resource_tags(tagging, BUCKET, account_id=MEMBER) == {}


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, MemberAccountError),
        ("InvalidParameterException", 400, AwsCallError),
        ("ThrottledException", 400, ThrottledError),
        ("InternalServiceException", 500, AwsServiceError),
    ],
)
def test_a_refusal_is_an_error(
    tagging: Any, aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("resourcegroupstaggingapi:GetResources", code, status)

    with pytest.raises(error, match=f"tag:GetResources in account {MEMBER}: {code}"):
        resource_tags(tagging, BUCKET, account_id=MEMBER)
