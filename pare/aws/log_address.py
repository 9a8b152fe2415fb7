"""Log files named by an ``s3://bucket/prefix`` address, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.trail_bucket import LogFetcher, LogObject
from pare.cloudtrail.sources import DELIVERED_BEFORE, classify, log_key, reading_order
from pare.errors import LogSourceError

if TYPE_CHECKING:
    import boto3

SCHEME = "s3://"


def list_logs(
    session: boto3.Session, address: str, skipped: dict[str, int], *, first_date: str = ""
) -> tuple[LogFetcher, list[LogObject]]:
    """Return how to fetch the log files below an address, and which there are, in reading order.

    What is passed over, by name or because it was delivered before ``first_date``, is counted in
    ``skipped``. Raises LogSourceError where there is no such bucket, or it may not be listed.
    """
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise LogSourceError(f"{address} names no bucket: s3://BUCKET/PREFIX.")
    s3 = session.client("s3", config=CLIENT_CONFIG)
    objects: list[LogObject] = []
    region = session.region_name or "us-east-1"
    codes = dict.fromkeys(("AccessDenied", "NoSuchBucket", "AllAccessDisabled"), LogSourceError)
    with translated(f"s3:ListBucket on {address}", codes=codes):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            headers = page["ResponseMetadata"].get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region") or region
            for each in page.get("Contents", []):
                reason = _reason(each["Key"], prefix, first_date)
                if reason is None:
                    objects.append(LogObject(each["Key"], each["Size"]))
                else:
                    skipped[reason] = skipped.get(reason, 0) + 1
    objects.sort(key=lambda each: reading_order(each.key))
    return LogFetcher.of(bucket, region, session), objects


def _reason(key: str, prefix: str, first_date: str) -> str | None:
    known = log_key(key)
    if known is not None and known.date < first_date:
        return DELIVERED_BEFORE
    return None if key == prefix else classify(key)
