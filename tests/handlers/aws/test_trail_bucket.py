from __future__ import annotations

import threading
import time
from typing import Any

import boto3
import pytest

from pare.aws import trail_bucket
from pare.aws.trail_bucket import LogFetcher, LogObject, TrailBucket
from tests.handlers.fake_aws import REGION

ACCOUNT = "111122223333"
ORG = "o-example0000"


@pytest.fixture
def s3() -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="trail", CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def put(s3: Any, key: str) -> str:
    s3.put_object(Bucket="trail", Key=key, Body=b"x" * 7)
    return key


def key_of(day: str, number: int, *, region: str = REGION, account: str = ACCOUNT) -> str:
    name = f"{account}_CloudTrail_{region}_{day.replace('/', '')}T1005Z_{number:016d}.json.gz"
    return f"AWSLogs/{ORG}/{account}/CloudTrail/{region}/{day}/{name}"


def test_accounts_are_found_under_an_organization_and_beside_it(s3: Any) -> None:
    put(s3, key_of("2026/11/20", 1))
    put(s3, f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/20/x.json.gz")
    put(s3, "AWSLogs/444455556666/Config/eu-west-1/x.json.gz")
    put(s3, f"AWSLogs/{ORG}/not-an-account/CloudTrail/x.json.gz")
    put(s3, "AWSLogs/readme.txt")

    assert TrailBucket(s3, "trail").account_folders() == {
        ACCOUNT: [f"AWSLogs/{ACCOUNT}/", f"AWSLogs/{ORG}/{ACCOUNT}/"],
        "444455556666": ["AWSLogs/444455556666/"],
    }


def test_the_folders_of_one_account_are_named_without_listing_the_others(s3: Any) -> None:
    put(s3, key_of("2026/11/20", 1, account="444455556666"))

    bucket = TrailBucket(s3, "trail", ("AWSLogs/", "o-x/AWSLogs/"))

    assert bucket.folders_of(ACCOUNT) == [
        f"AWSLogs/{ACCOUNT}/", f"AWSLogs/{ORG}/{ACCOUNT}/", f"o-x/AWSLogs/{ACCOUNT}/",
    ]  # fmt: skip


def test_log_files_are_listed_by_day_and_what_is_none_is_counted(s3: Any) -> None:
    folder = f"AWSLogs/{ORG}/{ACCOUNT}/"
    days = ["2026/10/31", "2026/11/01", "2026/11/02", "2026/11/03"]
    keys = {day: put(s3, key_of(day, 1)) for day in days}
    west = put(s3, key_of("2026/11/01", 2, region="us-west-2"))
    put(s3, f"{folder}CloudTrail/{REGION}/2026/11/01/.hidden")

    listing = TrailBucket(s3, "trail").logs([folder], "2026-11-01", "2026-11-02")

    assert listing.days == {
        "2026-11-01": [LogObject(keys["2026/11/01"], 7), LogObject(west, 7)],
        "2026-11-02": [LogObject(keys["2026/11/02"], 7)],
    }
    assert sum(listing.skipped.values()) == 1


def test_a_folder_with_more_files_than_a_page_is_listed_whole(s3: Any) -> None:
    for number in range(1_003):
        put(s3, key_of("2026/11/01", number))

    listing = TrailBucket(s3, "trail").logs(
        [f"AWSLogs/{ORG}/{ACCOUNT}/"], "2026-11-01", "2026-11-01"
    )

    assert len(listing.days["2026-11-01"]) == 1_003


def test_the_region_is_s3s_answer_or_the_trails(s3: Any, aws: Any) -> None:
    bucket = TrailBucket(s3, "trail")
    assert bucket.region(otherwise="us-east-1") in {REGION, "us-east-1"}


def test_a_bucket_in_another_region_than_the_trail_is_read_where_it_lies() -> None:
    class Elsewhere:
        """S3 as it answers of a bucket in another Region, once the SDK has followed it there."""

        def list_objects_v2(self, **_: Any) -> dict[str, Any]:
            return {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": "eu-north-1"}}}

    bucket = TrailBucket(Elsewhere(), "trail")  # type: ignore[arg-type]
    assert bucket.region(otherwise="us-east-1") == "eu-north-1"


# --- Fetching -------------------------------------------------------------------------------------


def objects(count: int, size: int = 1) -> list[LogObject]:
    return [LogObject(f"{number:03}", size) for number in range(count)]


def test_what_is_slow_holds_up_nothing_but_its_turn() -> None:
    order: list[str] = []

    def get(key: str) -> bytes:
        if key == "000":
            time.sleep(0.2)
        order.append(key)
        return key.encode()

    found = [each.content for each in LogFetcher(get).fetch(objects(20))]

    assert found == [f"{number:03}".encode() for number in range(20)]
    assert order[-1] == "000" or order.index("000") > 10


def test_what_is_fetched_ahead_is_bounded_in_number() -> None:
    asked: list[str] = []

    def get(key: str) -> bytes:
        asked.append(key)
        return b""

    fetched = LogFetcher(get).fetch(objects(500))
    next(fetched)
    time.sleep(0.1)

    assert len(asked) <= 2 * trail_bucket.AT_ONCE
    fetched.close()  # type: ignore[attr-defined]


def test_what_is_fetched_ahead_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_bucket, "MAX_HELD_BYTES", 250)
    held, most, lock = 0, 0, threading.Lock()

    def get(key: str) -> bytes:
        nonlocal held, most
        with lock:
            held += 100
            most = max(most, held)
        return b"x" * 100

    for _ in LogFetcher(get).fetch(objects(50, size=100)):
        with lock:
            held -= 100

    assert most <= 300


def test_an_object_larger_than_the_bound_is_fetched_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_bucket, "MAX_HELD_BYTES", 10)

    found = list(LogFetcher(str.encode).fetch(objects(3, size=1_000)))

    assert [each.content for each in found] == [b"000", b"001", b"002"]


def test_a_fetcher_of_a_real_client_knows_where_s3_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import obstore.store

    made: dict[str, Any] = {}

    class Store:
        def __init__(self, bucket: str, **options: Any) -> None:
            made.update(options, bucket=bucket)

    monkeypatch.setattr(obstore.store, "S3Store", Store)
    for region, host in (
        ("eu-west-1", "s3.eu-west-1.amazonaws.com"),
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
    ):
        LogFetcher.of("trail", region, boto3.Session())
        assert made["endpoint"] == f"https://{host}"
        assert (made["bucket"], made["region"]) == ("trail", region)
        assert made["client_options"]["allow_http"] is False
        credentials = made["credential_provider"]()
        assert credentials["access_key_id"]
