"""How far an account's last accessed information is read, in the evidence bucket.

``progress.json`` is replaced only by who has seen the version it replaces. A function of a stopped
execution may still be at work when its successor begins: whichever comes second finds out, and what
it has read does not count. Parts are named by their content, so neither overwrites the other's.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.errors import ConditionFailedError, EvidenceError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from pare.inventory.model import LastAccessedJson, ProgressJson

_CONFLICT = dict.fromkeys(
    # A second writer at the very same moment is 409.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"), ConditionFailedError
)  # fmt: skip


@dataclass(slots=True)
class ProgressStore:
    """Reads and replaces the progress of one account; ``prefix`` is its folder."""

    s3: S3Client
    bucket: str
    prefix: str  # …/account=<id>/last_accessed
    _etag: str | None = None  # of the version seen last

    def read(self) -> ProgressJson | None:
        """Return the progress, or None where nobody has begun."""
        key = f"{self.prefix}/progress.json"
        # S3 says AccessDenied of a missing object to whom may not list the bucket.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        missing = dict.fromkeys(("NoSuchKey", "AccessDenied"), EvidenceError)
        try:
            with translated(f"s3:GetObject s3://{self.bucket}/{key}", codes=missing):
                answer = self.s3.get_object(Bucket=self.bucket, Key=key)
                body = answer["Body"].read()
        except EvidenceError:
            self._etag = None
            return None
        self._etag = answer["ETag"]
        progress: ProgressJson = json.loads(body)
        return progress

    def replace(self, progress: ProgressJson) -> None:
        """Write the progress; raises ConditionFailedError where another has, since it was read."""
        key = f"{self.prefix}/progress.json"
        body = json.dumps(progress, indent=1, sort_keys=True).encode()
        condition: Any = {"IfMatch": self._etag} if self._etag else {"IfNoneMatch": "*"}
        with translated(f"s3:PutObject s3://{self.bucket}/{key}", codes=_CONFLICT):
            answer = self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentType="application/json", **condition
            )
        self._etag = answer["ETag"]

    def put_part(self, number: int, first: int, rows: list[LastAccessedJson]) -> str:
        """Write rows as gzip NDJSON, sorted by principal, and return the key.

        ``number`` is the part's, ``first`` the number of rows in the parts before it.
        """
        ordered = sorted(rows, key=lambda row: row["principal_arn"])
        lines = "".join(
            json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in ordered
        ).encode(errors="backslashreplace")
        digest = hashlib.sha256(lines).hexdigest()[:12]
        key = f"{self.prefix}/part-{number}-{first}-{len(rows)}-{digest}.ndjson.gz"
        with translated(f"s3:PutObject s3://{self.bucket}/{key}"):
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=gzip.compress(lines, mtime=0),
                ContentType="application/gzip",
            )  # fmt: skip
        return key
