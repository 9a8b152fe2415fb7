from __future__ import annotations

from typing import Any

import boto3
import pytest

from pare.aws import trail_size as module
from pare.aws.quota_ledger import Quotas
from pare.aws.trail_bucket import TrailBucket
from pare.aws.trail_size import TrailSize, trail_size
from pare.errors import TrailReadError
from tests.handlers.fake_aws import REGION, FakeAws

ACCOUNT, OTHER, ORG = "111122223333", "444455556666", "o-example0000"


@pytest.fixture
def s3() -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="trail", CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def put(s3: Any, day: str, number: int, *, root: str = f"AWSLogs/{ORG}/", account: str = ACCOUNT,
        region: str = REGION, size: int = 10, name: str = "") -> None:  # fmt: skip
    name = (
        name or f"{account}_CloudTrail_{region}_{day.replace('/', '')}T1005Z_{number:016}.json.gz"
    )
    key = f"{root}{account}/CloudTrail/{region}/{day}/{name}"
    s3.put_object(Bucket="trail", Key=key, Body=b"x" * size)


def test_log_files_of_the_account_and_window_are_counted_and_nothing_else(s3: Any) -> None:
    put(s3, "2026/11/01", 1)
    put(s3, "2026/11/30", 2, region="us-west-2", size=20)
    put(s3, "2026/11/15", 3, root="AWSLogs/", size=30)  # a trail from before the organization's
    for number, (day, more) in enumerate([
        ("2026/10/31", {}), ("2026/12/01", {}), ("2026/11/15", {"account": OTHER}),
        ("2026/11/15", {"name": "readme.txt"}),
    ]):  # fmt: skip
        put(s3, day, 90 + number, **more)  # type: ignore[arg-type]

    size = trail_size(TrailBucket(s3, "trail"), ACCOUNT, "2026-11-01", "2026-11-30")

    assert size == TrailSize(3, 60, is_counted_out=True)
    assert size.fits
    assert size.text() == "3 log files, 0.0 GB as stored"


def test_an_account_without_log_files_has_none(s3: Any) -> None:
    put(s3, "2026/11/01", 1)

    size = trail_size(TrailBucket(s3, "trail"), OTHER, "2026-11-01", "2026-11-30")

    assert size == TrailSize(0, 0, is_counted_out=True)


def test_counting_ends_where_the_quota_does(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_quotas", lambda: Quotas(3, 10**9, 50, {}))
    for number in range(8):
        put(s3, f"2026/11/0{number + 1}", number)

    size = trail_size(TrailBucket(s3, "trail"), ACCOUNT, "2026-11-01", "2026-11-30")

    assert size == TrailSize(4, 40, is_counted_out=False)
    assert (size.fits, size.cannot_fit) == (False, True)
    assert size.text() == "more than 3 log files, 0.0 GB as stored"


@pytest.mark.parametrize(
    ("files", "stored", "fits", "cannot_fit"),
    [
        (100_000, 1_250_000_000, True, False),  # 25 GB if unpacked is twenty times as much
        (100_001, 1, False, True),
        (1, 1_250_000_001, False, False),  # nobody can tell
        (1, 25_000_000_000, False, False),
        (1, 25_000_000_001, False, True),
    ],
)
def test_what_fits_is_read_the_careful_way(
    files: int, stored: int, fits: bool, cannot_fit: bool
) -> None:
    size = TrailSize(files, stored, is_counted_out=True)
    assert (size.fits, size.cannot_fit) == (fits, cannot_fit)


def test_a_bucket_that_may_not_be_listed_is_an_error(s3: Any, aws: FakeAws) -> None:
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403)

    with pytest.raises(TrailReadError):
        trail_size(TrailBucket(s3, "trail"), ACCOUNT, "2026-11-01", "2026-11-30")
