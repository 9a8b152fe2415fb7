"""The evidence bucket: what a claim rests on, as objects that a person can open."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.errors import EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_s3 import S3Client

    from pare.object_ref import ObjectRef


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
            raise EvidenceError(
                f"s3://{ref['bucket']}/{ref['key']} is not gzip NDJSON: {error}"
            ) from error

    def get_bytes(self, ref: ObjectRef) -> bytes:
        """Return an object as it is; raises EvidenceError where there is none."""
        return self._get(ref)

    def _put(self, key: str, body: bytes, content_type: str) -> ObjectRef:
        with translated(f"s3:PutObject s3://{self.bucket}/{key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)
        return {"bucket": self.bucket, "key": key}

    def _get(self, ref: ObjectRef) -> bytes:
        where = f"s3:GetObject s3://{ref['bucket']}/{ref['key']}"
        # To whom may not list the bucket, and none of our functions may, S3 says AccessDenied of a
        # missing object.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        missing = dict.fromkeys(("NoSuchKey", "NoSuchBucket", "AccessDenied"), EvidenceError)
        with translated(where, codes=missing):
            return self.s3.get_object(Bucket=ref["bucket"], Key=ref["key"])["Body"].read()


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes its JSON escape.
    return text.encode(errors="backslashreplace")
