"""The evidence bucket: what a claim rests on, as objects that a person can open."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pare.aws.calls import error_code, translated
from pare.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

    from pare.object_ref import ObjectRef


# What one request of a large object carries; S3 takes 5 MiB and more, 10,000 times.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART_BYTES = 8 * 1024 * 1024

_MISSING = "NoSuchKey"


@dataclass(frozen=True, slots=True)
class EvidenceStore:
    """Reads and writes objects of the evidence bucket. Same content, same bytes."""

    s3: S3Client
    bucket: str

    def put_json(self, key: str, value: Any) -> ObjectRef:
        """Write a value as JSON, sorted and indented, and return where."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        return self._put(key, _bytes(text), "application/json")

    def put_text(self, key: str, text: str, content_type: str) -> ObjectRef:
        """Write a text and return where."""
        return self._put(key, _bytes(text), content_type)

    def put_ndjson_gz(self, key: str, rows: Iterable[Any]) -> ObjectRef:
        """Write rows as gzip NDJSON (no time in the header) and return where."""
        lines = "".join(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows)
        return self._put(key, gzip.compress(_bytes(lines), mtime=0), "application/gzip")

    def put_chunks(self, key: str, chunks: Iterable[bytes], content_type: str) -> ObjectRef:
        """Write an object of any size as it comes, in parts, and return where.

        It is there whole or not at all. The bucket's life cycle ends an upload that broke off.
        """
        waiting = bytearray()
        upload_id = ""
        parts: list[CompletedPartTypeDef] = []
        for chunk in chunks:
            waiting += chunk
            if len(waiting) >= PART_BYTES:
                upload_id = upload_id or self._begin(key, content_type)
                parts.append(self._part(key, upload_id, len(parts) + 1, bytes(waiting)))
                waiting.clear()
        if not upload_id:
            return self._put(key, bytes(waiting), content_type)
        if waiting:
            parts.append(self._part(key, upload_id, len(parts) + 1, bytes(waiting)))
        with translated(f"s3:PutObject s3://{self.bucket}/{key}, its parts"):
            self.s3.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )
        return {"bucket": self.bucket, "key": key}

    def get_json(self, ref: ObjectRef) -> Any:
        """Return the JSON value of an object; raises EvidenceError where there is none."""
        body = self._get(ref)
        try:
            return json.loads(body)
        except ValueError as error:
            raise EvidenceError(
                f"s3://{ref['bucket']}/{ref['key']} is not JSON: {error}"
            ) from error

    def get_ndjson_gz(self, ref: ObjectRef) -> list[Any]:
        """Return the rows of a gzip NDJSON object."""
        body = self._get(ref)
        try:
            return [json.loads(line) for line in gzip.decompress(body).splitlines() if line]
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise EvidenceError(_not_ndjson(ref, error)) from error

    def each_ndjson_gz(self, ref: ObjectRef) -> Iterator[Any]:
        """Yield the rows of a gzip NDJSON object, of any number of gzip members, one at a time."""
        body: Any = self._open(ref)
        try:
            with translated(_getting(ref)), gzip.GzipFile(fileobj=body) as lines:
                for line in lines:
                    yield json.loads(line)
        except (ValueError, OSError, EOFError, zlib.error) as error:
            raise EvidenceError(_not_ndjson(ref, error)) from error

    def get_bytes(self, ref: ObjectRef) -> bytes:
        """Return an object as it is; raises EvidenceError where there is none."""
        return self._get(ref)

    def find_bytes(self, ref: ObjectRef) -> bytes | None:
        """Return an object as it is, or None where there is none; for whom may list the bucket.

        One that we may not read is not taken for none: it raises EvidenceError.
        """
        try:
            return self._get(ref)
        except EvidenceError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and error_code(cause) == _MISSING:
                return None
            raise

    def _put(self, key: str, body: bytes, content_type: str) -> ObjectRef:
        with translated(f"s3:PutObject s3://{self.bucket}/{key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)
        return {"bucket": self.bucket, "key": key}

    def _begin(self, key: str, content_type: str) -> str:
        with translated(f"s3:PutObject s3://{self.bucket}/{key}, in parts"):
            return self.s3.create_multipart_upload(
                Bucket=self.bucket, Key=key, ContentType=content_type
            )["UploadId"]

    def _part(self, key: str, upload_id: str, number: int, body: bytes) -> CompletedPartTypeDef:
        with translated(f"s3:PutObject s3://{self.bucket}/{key}, part {number}"):
            answer = self.s3.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body
            )
        # S3 wants the checksums that the SDK sent with the parts, whichever it chose, again.
        part: Any = {name: value for name, value in answer.items() if name in _CHECKSUMS}
        part |= {"PartNumber": number, "ETag": answer["ETag"]}
        completed: CompletedPartTypeDef = part
        return completed

    def _get(self, ref: ObjectRef) -> bytes:
        with translated(_getting(ref)):
            content: bytes = self._open(ref).read()
        return content

    def _open(self, ref: ObjectRef) -> Any:
        # To whom may not list the bucket, as some of our functions, S3 says AccessDenied of a
        # missing object; to whom may, only of one that is there.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        missing = dict.fromkeys((_MISSING, "NoSuchBucket", "AccessDenied"), EvidenceError)
        with translated(_getting(ref), codes=missing):
            return self.s3.get_object(Bucket=ref["bucket"], Key=ref["key"])["Body"]


_CHECKSUMS = frozenset(
    {"ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256"}
)


def _getting(ref: ObjectRef) -> str:
    return f"s3:GetObject s3://{ref['bucket']}/{ref['key']}"


def _not_ndjson(ref: ObjectRef, error: Exception) -> str:
    return f"s3://{ref['bucket']}/{ref['key']} is not gzip NDJSON: {error}"


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes its JSON escape.
    return text.encode(errors="backslashreplace")
