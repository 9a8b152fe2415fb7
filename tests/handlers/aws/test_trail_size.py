from __future__ import annotations

from typing import Any

import boto3
import pytest

from pare.aws import trail_size as module
from pare.aws.quota_ledger import Quotas
from pare.aws.trail_bucket import TrailBucket
from pare.aws.trail_size import Narrowed, TrailSize, newest_that_fit, trail_size
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


# --- Narrowing ------------------------------------------------------------------------------------

FIRST, LAST = "2026-08-23", "2026-11-21"


def small(monkeypatch: pytest.MonkeyPatch, *, files: int, stored: int = 10**6) -> None:
    quotas = Quotas(files, stored * module.UNPACKED_BYTES_PER_STORED, 50, {})
    monkeypatch.setattr(module, "load_quotas", lambda: quotas)


def newest(s3: Any, first: str = FIRST) -> Narrowed | None:
    return newest_that_fit(TrailBucket(s3, "trail"), ACCOUNT, first, LAST)


def test_the_newest_days_are_as_many_as_fit_in_steps_of_ten(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, day in enumerate(["09/01", "10/11", "10/12", "10/22", "11/21"]):
        put(s3, f"2026/{day}", number, region=("us-west-2", REGION)[number % 2])

    found = {}
    for files in range(1, 6):
        small(monkeypatch, files=files)
        narrowed = newest(s3)
        found[files] = (narrowed.first_date, narrowed.days) if narrowed else None

    assert found == {
        1: None,  # the last 30 days alone have two
        2: ("2026-10-22", 30),
        3: ("2026-10-12", 40),
        4: ("2026-09-02", 80),
        5: ("2026-08-23", 90),
    }


def test_the_bytes_bind_as_well_on_the_careful_reading(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3, "2026/10/21", 1, size=30)
    put(s3, "2026/10/22", 2, size=70)

    small(monkeypatch, files=9, stored=99)
    assert newest(s3) == Narrowed("2026-10-22", 30, TrailSize(1, 70, is_counted_out=True))
    small(monkeypatch, files=9, stored=69)
    assert newest(s3) is None


def test_a_window_of_fewer_days_than_the_least_is_not_narrowed(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, files=9)

    assert newest(s3, "2026-10-23") is None


def test_narrowing_lists_hardly_more_than_what_fits(
    s3: Any, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_500):
        put(s3, "2026/11/01", number)
    small(monkeypatch, files=1_500)
    aws.attempts.clear()

    assert newest(s3) is None
    assert aws.attempts.count("s3:ListObjectsV2") <= 6


def test_a_bucket_that_may_not_be_listed_is_an_error(s3: Any, aws: FakeAws) -> None:
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403)

    with pytest.raises(TrailReadError):
        trail_size(TrailBucket(s3, "trail"), ACCOUNT, "2026-11-01", "2026-11-30")
