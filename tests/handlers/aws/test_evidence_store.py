from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from botocore.response import StreamingBody

from pare.aws.evidence_store import PART_BYTES, EvidenceStore
from pare.errors import AwsCallError, AwsServiceError, EvidenceError
from tests.handlers.fake_aws import BUCKET

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# --- One row, one part at a time ---


def test_rows_come_one_at_a_time_from_any_number_of_gzip_members(evidence: EvidenceStore) -> None:
    members = [gzip.compress(b'{"a": %d}\n' % number, mtime=0) for number in range(3)]
    empty = gzip.compress(b"", mtime=0)
    body = members[0] + empty + members[1] + b"" + members[2]
    evidence.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)

    assert list(evidence.each_ndjson_gz(REF)) == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert evidence.get_ndjson_gz(REF) == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_an_empty_object_has_no_rows(evidence: EvidenceStore) -> None:
    evidence.put_chunks(KEY, [], "application/gzip")

    assert list(evidence.each_ndjson_gz(REF)) == []


@pytest.mark.parametrize(
    "body",
    [b"plain", WHOLE[:-12], WHOLE[:-8] + b"\x00" * 8, WHOLE + b"rest",
     gzip.compress(b"not json", mtime=0)],
    ids=["not gzip", "cut", "wrong checksum", "rest", "not JSON"],
)  # fmt: skip
def test_a_stream_that_is_not_gzip_ndjson_is_named(evidence: EvidenceStore, body: bytes) -> None:
    evidence.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body)

    with pytest.raises(EvidenceError, match=f"s3://{BUCKET}/{KEY} is not gzip NDJSON"):
        list(evidence.each_ndjson_gz(REF))


def test_a_stream_that_is_not_there_is_an_error(evidence: EvidenceStore) -> None:
    with pytest.raises(EvidenceError, match=KEY):
        next(evidence.each_ndjson_gz(REF))


def test_a_connection_that_breaks_while_reading_is_awss_fault_and_not_the_objects(
    evidence: EvidenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence.s3.put_object(Bucket=BUCKET, Key=KEY, Body=WHOLE)

    def broken(*_: object, **__: object) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://aws.example", error="timed out")

    monkeypatch.setattr(StreamingBody, "read", broken)
    with pytest.raises(AwsServiceError, match="Read timeout"):
        list(evidence.each_ndjson_gz(REF))


def test_a_small_object_is_written_at_once_and_a_large_one_in_parts(
    evidence: EvidenceStore, aws: FakeAws
) -> None:
    small, part = b"x" * 1_000, b"y" * PART_BYTES

    evidence.put_chunks(KEY, [small, small], "text/csv; charset=utf-8")
    assert evidence.get_bytes(REF) == small * 2
    assert "s3:UploadPart" not in aws.attempts

    evidence.put_chunks(KEY, [part[:-1], b"zz", part, small], "text/csv; charset=utf-8")
    assert evidence.get_bytes(REF) == part[:-1] + b"zz" + part + small
    assert aws.attempts.count("s3:UploadPart") == 3
    head = evidence.s3.head_object(Bucket=BUCKET, Key=KEY)
    assert head["ContentType"] == "text/csv; charset=utf-8"


def test_an_object_whose_end_fits_a_part_has_no_empty_one(
    evidence: EvidenceStore, aws: FakeAws
) -> None:
    evidence.put_chunks(KEY, [b"y" * PART_BYTES], "text/plain")

    assert aws.attempts.count("s3:UploadPart") == 1
    assert len(evidence.get_bytes(REF)) == PART_BYTES


@pytest.mark.parametrize(
    "operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"]
)
def test_a_large_object_that_cannot_be_written_is_an_error_and_not_half_there(
    evidence: EvidenceStore, aws: FakeAws, operation: str
) -> None:
    aws.fail(f"s3:{operation}", "InternalError", 500)

    with pytest.raises(AwsServiceError, match=f"s3:PutObject s3://{BUCKET}/{KEY}"):
        evidence.put_chunks(KEY, [b"y" * PART_BYTES, b"z"], "text/plain")
    with pytest.raises(EvidenceError):
        evidence.get_bytes(REF)


def test_an_object_whose_chunks_end_in_an_error_is_not_there(evidence: EvidenceStore) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"a"
        raise EvidenceError("rows cut off")

    with pytest.raises(EvidenceError, match="rows cut off"):
        evidence.put_chunks(KEY, chunks(), "text/plain")
    with pytest.raises(EvidenceError, match=KEY):
        evidence.get_bytes(REF)
