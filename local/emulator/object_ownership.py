"""Who owns an object, where the bucket's Object Ownership leaves it to the writer.

S3 user guide, about-object-ownership and bucket-policies: under ObjectWriter an object belongs to
the account that wrote it, under BucketOwnerPreferred too unless it was written with the ACL
bucket-owner-full-control; "a bucket policy does not apply to objects owned by other accounts"; with
BucketOwnerEnforced every object is the bucket owner's, those that lie there as well. ministack
keeps no owner, and takes no notice of ExpectedBucketOwner (bucket-owner-condition).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import unescape

from ministack.core import responses
from ministack.services import s3

_ENTRY = re.compile(r"<Contents>.*?</Contents>", re.DOTALL)
_KEY = re.compile(r"<Key>(.*?)</Key>", re.DOTALL)
_OWNER = re.compile(r"<Owner>\s*<ID>.*?</ID>", re.DOTALL)
Answer = tuple[int, dict[str, str], Any]
_FULL_CONTROL = "bucket-owner-full-control"
# Requests for a part of an object's data or another thing than its data.
_OTHER_THINGS = frozenset(
    {"acl", "annotation", "legal-hold", "partNumber", "retention", "tagging", "torrent"}
)


@dataclass(frozen=True, slots=True)
class Writer:
    """The account that owns an object of another account's bucket."""

    account_id: str
    bucket_owner_may_read: bool


_writers: dict[tuple[str, str], Writer] = {}


def apply() -> None:
    """Keep who wrote each object, and refuse it to those whom its owner did not let in."""
    handle, reset = s3.handle_request, s3.reset

    async def handle_request(
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Answer:
        bucket, key = s3._parse_bucket_key(path, headers)
        expected = headers.get("x-amz-expected-bucket-owner")
        if expected and s3._bucket_owner_account(bucket) not in {None, expected}:
            wrong: Answer = s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}")
            return wrong[0], wrong[1], b"" if method == "HEAD" else wrong[2]
        if not key and method == "GET" and "fetch-owner" in query_params:
            listed: Answer = await handle(
                method, path, headers, body, query_params, *args, **kwargs
            )
            return listed[0], listed[1], _with_owners(bucket, listed[2])
        if not key or kwargs.get("internal") or _OTHER_THINGS & set(query_params):
            plain: Answer = await handle(method, path, headers, body, query_params, *args, **kwargs)
            return plain
        caller = responses.get_account_id()
        if method in {"GET", "HEAD"} and _keeps_out(caller, bucket, key):
            refusal: Answer = s3._error("AccessDenied", "Access Denied", 403, f"/{bucket}/{key}")
            return refusal[0], refusal[1], b"" if method == "HEAD" else refusal[2]
        answer: Answer = await handle(method, path, headers, body, query_params, *args, **kwargs)
        if answer[0] < 300 and method in {"PUT", "POST", "DELETE"}:
            _writers.pop((bucket, key), None)
            if method != "DELETE":
                _wrote(caller, bucket, key, headers.get("x-amz-acl"))
        return answer

    def reset_all() -> None:
        _writers.clear()
        reset()

    s3.handle_request, s3.reset = handle_request, reset_all


def plant(bucket: str, prefix: str, account_id: str | None) -> int:
    """Return how many objects now belong to the account; None: to the bucket's owner.

    CloudTrail's own account, for one, which writes a trail's files under ObjectWriter: nobody can
    act as it. ValueError where there is no such bucket.
    """
    record = _bucket(bucket)
    if record is None:
        raise ValueError(f"there is no bucket {bucket!r}")
    keys = [key for key in record["objects"] if key.startswith(prefix)]
    for key in keys:
        _writers.pop((bucket, key), None)
        if account_id is not None:
            _writers[bucket, key] = Writer(account_id, bucket_owner_may_read=True)
    return len(keys)


def _with_owners(bucket: str, listing: bytes) -> bytes:
    """Return a listing with FetchOwner in which each object has its own owner's canonical id."""
    if _controls(bucket) == "BucketOwnerEnforced":
        return listing

    def owned(entry: re.Match[str]) -> str:
        key = _KEY.search(entry[0])
        writer = _writers.get((bucket, unescape(unquote(key[1])))) if key else None
        if writer is None:
            return entry[0]
        owner = s3._canonical_owner_id(writer.account_id)
        return _OWNER.sub(f"<Owner><ID>{owner}</ID>", entry[0])

    return _ENTRY.sub(owned, listing.decode()).encode()


def _keeps_out(caller: str, bucket: str, key: str) -> bool:
    writer = _writers.get((bucket, key))
    if writer is None or caller == writer.account_id or _controls(bucket) == "BucketOwnerEnforced":
        return False
    return not (writer.bucket_owner_may_read and caller == s3._bucket_owner_account(bucket))


def _wrote(caller: str, bucket: str, key: str, acl: str | None) -> None:
    controls = _controls(bucket)
    if caller == s3._bucket_owner_account(bucket) or controls == "BucketOwnerEnforced":
        return
    if controls == "BucketOwnerPreferred" and acl == _FULL_CONTROL:
        return
    _writers[bucket, key] = Writer(caller, bucket_owner_may_read=acl == _FULL_CONTROL)


def _controls(bucket: str) -> str:
    """Return the bucket's Object Ownership; without controls it is the writer's."""
    record = _bucket(bucket) or {}
    if s3._bucket_owner_enforced(record):
        return "BucketOwnerEnforced"
    stored = record.get("_ownership_controls") or ""
    return "BucketOwnerPreferred" if "BucketOwnerPreferred" in stored else "ObjectWriter"


def _bucket(name: str) -> dict[str, Any] | None:
    owner = s3._bucket_owner_account(name)
    if owner is None:
        return None
    with responses.request_scope(owner, responses.get_region()):
        record: dict[str, Any] | None = s3._buckets.get(name)
    return record
