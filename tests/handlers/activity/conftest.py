"""A trail bucket in memory, and log files as CloudTrail delivers them."""

from __future__ import annotations

import gzip
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.activity_store import ActivityStore
from pare.aws.trail_bucket import LogFetcher
from tests.handlers.fake_aws import BUCKET, MEMBER, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

TRAIL = "trail"
ORGANIZATION = "o-example0000"
_numbers = itertools.count(1)


def record(event_id: str, *, name: str = "ListBuckets", at: str = "2026-11-20T10:00:00Z",
           account_id: str = MEMBER) -> dict[str, Any]:  # fmt: skip
    """Return a record of a call by a role."""
    role = f"arn:aws:iam::{account_id}:role/app/Reader"
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:session",
            "arn": f"arn:aws:sts::{account_id}:assumed-role/Reader/session",
            "accountId": account_id,
            "sessionContext": {
                "sessionIssuer": {"type": "Role", "arn": role, "principalId": "AROAEXAMPLE",
                                  "accountId": account_id, "userName": "Reader"},
            },
        },
        "eventTime": at,
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "eventID": event_id,
        "eventType": "AwsApiCall",
        "eventCategory": "Management",
        "managementEvent": True,
        "recipientAccountId": account_id,
    }  # fmt: skip


@dataclass
class Trail:
    """The trail's bucket; ``broken`` says what fetching a key raises instead."""

    s3: Any
    broken: dict[str, Exception] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    def put(
        self,
        date: str,
        *records: dict[str, Any],
        account_id: str = MEMBER,
        region: str = REGION,
        root: str = f"AWSLogs/{ORGANIZATION}/",
        folder: str = "CloudTrail",
        body: bytes | None = None,
    ) -> str:
        """Write a log file into the folder of a day and return its key."""
        day = date.replace("-", "/")
        name = (
            f"{account_id}_CloudTrail_{region}_{date.replace('-', '')}T1005Z_"
            f"{next(_numbers):016d}.json.gz"
        )
        key = f"{root}{account_id}/{folder}/{region}/{day}/{name}"
        packed = gzip.compress(json.dumps({"Records": records}).encode()) if body is None else body
        self.s3.put_object(Bucket=TRAIL, Key=key, Body=packed)
        return key

    def size(self, key: str) -> int:
        """Return how many bytes an object has."""
        size: int = self.s3.head_object(Bucket=TRAIL, Key=key)["ContentLength"]
        return size

    def get(self, key: str) -> bytes:
        """Return an object, as obstore does for the deployed function."""
        self.fetched.append(key)
        if key in self.broken:
            raise self.broken[key]
        body: bytes = self.s3.get_object(Bucket=TRAIL, Key=key)["Body"].read()
        return body


def obstore_error(kind: str, text: str) -> Exception:
    """Return an error as obstore raises it, without obstore."""
    made = type(kind, (Exception,), {"__module__": "obstore.exceptions"})
    error: Exception = made(text)
    return error


@pytest.fixture(autouse=True)
def _fifteen_minutes(context: Any) -> None:
    """The steps here have as long as Lambda gives."""
    context.remaining_ms = 900_000


@pytest.fixture
def trail(aws: Any, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Trail:
    """The trail's bucket, empty, and the variables of the functions that read it."""
    settings(trail_bucket_name=TRAIL, trail_log_roots="AWSLogs/", trail_region=REGION)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=TRAIL, CreateBucketConfiguration={"LocationConstraint": REGION})
    made = Trail(s3)
    monkeypatch.setattr(LogFetcher, "of", lambda *_: LogFetcher(made.get))
    return made


@pytest.fixture
def store(evidence: Any) -> ActivityStore:
    """The digests of the evidence bucket."""
    return ActivityStore(evidence.s3, BUCKET)
