from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.evidence_store import EvidenceStore
from pare.errors import AwsCallError, AwsServiceError, EvidenceError
from tests.handlers.fake_aws import BUCKET

if TYPE_CHECKING:
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

KEY = "proposals/111122223333/role/App/2026-11-21T09:00:00Z/proposal.json"
REF: ObjectRef = {"bucket": BUCKET, "key": KEY}


def stored(key: str = KEY) -> tuple[bytes, str]:
    found = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)
    return found["Body"].read(), found["ContentType"]


def test_json_is_stored_so_that_a_person_can_read_it(evidence: EvidenceStore) -> None:
    ref = evidence.put_json(KEY, {"b": [1], "a": "経理部"})

    assert ref == REF
    assert stored() == (
        '{\n  "a": "経理部",\n  "b": [\n    1\n  ]\n}\n'.encode(),
        "application/json",
    )
    assert evidence.get_json(ref) == {"a": "経理部", "b": [1]}


def test_same_value_same_bytes(evidence: EvidenceStore) -> None:
    evidence.put_json("one", {"a": 1, "b": 2})
    evidence.put_json("other", {"b": 2, "a": 1})
    evidence.put_ndjson_gz("one.gz", [{"a": 1, "b": 2}])
    evidence.put_ndjson_gz("other.gz", [{"b": 2, "a": 1}])

    assert stored("one") == stored("other")
    assert stored("one.gz") == stored("other.gz")


def test_text_is_stored_as_it_is(evidence: EvidenceStore) -> None:
    evidence.put_text(KEY, "# 経理部\n", "text/markdown")

    assert stored() == ("# 経理部\n".encode(), "text/markdown")


@pytest.mark.parametrize("rows", [[], [{"a": 1}], [{"a": "line\nbreak\u2028\x85"}, "text", None]])
def test_rows_come_back_as_they_were(evidence: EvidenceStore, rows: list[Any]) -> None:
    ref = evidence.put_ndjson_gz("rows.ndjson.gz", iter(rows))

    body, content_type = stored("rows.ndjson.gz")
    assert len(gzip.decompress(body).splitlines()) == len(rows)
    assert content_type == "application/gzip"
    assert evidence.get_ndjson_gz(ref) == rows


def test_rows_can_be_read_by_a_person_too(evidence: EvidenceStore) -> None:
    evidence.put_ndjson_gz("rows.ndjson.gz", [{"b": 1, "a": "経理部"}, {}])

    body, _ = stored("rows.ndjson.gz")
    assert gzip.decompress(body).decode() == '{"a": "経理部", "b": 1}\n{}\n'


def test_half_a_surrogate_pair_does_not_lose_the_object(evidence: EvidenceStore) -> None:
    value = {"detail": json.loads('"\\ud800 and \\ude00"')}

    assert evidence.get_json(evidence.put_json(KEY, value)) == value
    assert evidence.get_ndjson_gz(evidence.put_ndjson_gz("rows", [value])) == [value]


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_a_missing_object_is_an_evidence_error(
    evidence: EvidenceStore, aws: FakeAws, code: str
) -> None:
    """AccessDenied is what S3 says of it to those who may not list the bucket."""
    if code == "AccessDenied":
        aws.fail("s3:GetObject", code, 403)

    with pytest.raises(EvidenceError, match=f"s3://{BUCKET}/{KEY}: {code}"):
        evidence.get_json(REF)
    with pytest.raises(EvidenceError, match=code):
        evidence.get_ndjson_gz(REF)


def test_a_missing_bucket_is_an_evidence_error(aws: FakeAws) -> None:
    with pytest.raises(EvidenceError, match="NoSuchBucket"):
        EvidenceStore(boto3.client("s3"), BUCKET).get_json(REF)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"not json"])
def test_an_object_that_is_not_json_is_named(evidence: EvidenceStore, body: bytes) -> None:
    evidence.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)

    with pytest.raises(EvidenceError, match=f"s3://{BUCKET}/{KEY} is not JSON"):
        evidence.get_json(REF)


WHOLE = gzip.compress(b'{"a": 1}\n' * 100, mtime=0)


@pytest.mark.parametrize(
    "body",
    [
        b"plain",
        WHOLE[:-12],
        WHOLE[:10] + b"\xff" * 20,
        WHOLE[:-8] + b"\x00" * 8,
        gzip.compress(b"not json", mtime=0),
        gzip.compress(b"\xff\xfe", mtime=0),
    ],
    ids=["not gzip", "cut", "broken stream", "wrong checksum", "not JSON", "not UTF-8"],
)
def test_an_object_that_is_not_gzip_ndjson_is_named(evidence: EvidenceStore, body: bytes) -> None:
    evidence.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)

    with pytest.raises(EvidenceError, match=f"s3://{BUCKET}/{KEY} is not gzip NDJSON"):
        evidence.get_ndjson_gz(REF)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("AccessDenied", 403, AwsCallError), ("InternalError", 500, AwsServiceError)],
)
def test_an_object_that_cannot_be_written_is_an_error(
    evidence: EvidenceStore, aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("s3:PutObject", code, status)

    with pytest.raises(error, match=f"s3:PutObject s3://{BUCKET}/{KEY}"):
        evidence.put_json(KEY, {})
