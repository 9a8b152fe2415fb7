"""The nightly digests in the evidence bucket: one object an account and day of delivery.

``activity/date=…/account=…/part.ndjson.gz`` is replaced only by who has seen the version it
replaces, so two runs at once cannot count anything twice: the later one finds out and begins again.
Its header names the log files that went into it. Beside it lie, named by its metadata, the ids of
the events counted in it (``activity/seen/…``), and a list of log files that could not be fetched
(``activity/unread/…``), which the next run tries again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.errors import ActivityConflictError, EvidenceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_SEEN = "seen"
_CONFLICT = dict.fromkeys(
    # A second writer at the very same moment is 409.
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
    ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"), ActivityConflictError
)  # fmt: skip
_AT_ONCE = 10  # the connections a client keeps

# Why a log file that could be fetched is not read.
TOO_LATE = "too late: the ids of the events already counted that day are no longer kept"


@dataclass(frozen=True, slots=True)
class Committed:
    """A digest as it lies in the bucket."""

    body: bytes
    etag: str
    seen: str  # names the ids of its events; empty where nobody wrote them

    def objects(self) -> set[str]:
        """Return the keys of the log files that went into it, without reading the rest."""
        with gzip.GzipFile(fileobj=io.BytesIO(self.body)) as lines:
            header: dict[str, Any] = json.loads(lines.readline())
        return set(header.get("objects", ()))


@dataclass(frozen=True, slots=True)
class ActivityStore:
    """Reads and commits digests."""

    s3: S3Client
    bucket: str

    # --- digests ---

    def accounts_with_digest(self, date: str) -> set[str]:
        """Return the accounts that have a digest of a day."""
        prefix = f"activity/date={date}/account="
        with translated(f"s3:ListBucket on {self.bucket}, {prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        return {key[len(prefix) :].partition("/")[0] for key in keys}

    def committed(self, date: str, account_id: str) -> Committed | None:
        """Return the digest of an account and day, or None where there is none yet."""
        answer = self._get(digest_key(date, account_id))
        if answer is None:
            return None
        return Committed(
            answer["Body"].read(), answer["ETag"], answer.get("Metadata", {}).get(_SEEN, "")
        )

    def commit(
        self, date: str, account_id: str, body: bytes, *, replacing: Committed | None, seen: str
    ) -> None:
        """Write the digest of an account and day.

        Raises ActivityConflictError where what lies there is not what it was made from.
        """
        key = digest_key(date, account_id)
        condition: Any = {"IfMatch": replacing.etag} if replacing else {"IfNoneMatch": "*"}
        with translated(f"s3:PutObject s3://{self.bucket}/{key}", codes=_CONFLICT):
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=body, ContentType="application/gzip",
                Metadata={_SEEN: seen}, **condition,
            )  # fmt: skip

    def dates_with_digests(self) -> set[str]:
        """Return the days of which any account has a digest."""
        prefix = "activity/date="
        with translated(f"s3:ListBucket on {self.bucket}, {prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]
        return {folder[len(prefix) :].rstrip("/") for folder in found}

    def has_digest(self, account_id: str, dates: Iterable[str]) -> bool:
        """Return whether an account has a digest of any of these days."""
        for day in sorted(self.dates_with_digests() & set(dates), reverse=True):
            key = digest_key(day, account_id)
            with translated(f"s3:ListBucket on {self.bucket}, {key}"):
                answer = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
            if answer.get("Contents"):
                return True
        return False

    def digests(self, account_id: str, dates: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the days that have a digest of an account, with it, oldest first; a few at once."""
        days = sorted(self.dates_with_digests() & set(dates))
        for start in range(0, len(days), _AT_ONCE):
            some = days[start : start + _AT_ONCE]
            bodies = self.get_all(digest_key(day, account_id) for day in some)
            yield from ((day, body) for day, body in zip(some, bodies, strict=True) if body)

    # --- what was seen ---

    def put_seen(self, date: str, account_id: str, numbers: bytes) -> str:
        """Write event ids (16 bytes each) and return their name, which is made of them.

        A name of its own for each content: a run that loses a race must not overwrite another's.
        """
        name = hashlib.sha256(numbers).hexdigest()[:32]
        self.put(seen_key(date, account_id, name), numbers)
        return name

    def get_seen(self, date: str, account_id: str, name: str) -> bytes | None:
        """Return event ids; None where the bucket's life cycle has removed them."""
        answer = self._get(seen_key(date, account_id, name)) if name else None
        return None if answer is None else answer["Body"].read()

    # --- what could not be fetched ---

    def unread(self, date: str, account_id: str) -> dict[str, str]:
        """Return the log files of an account and day that could not be fetched -> why."""
        answer = self._get(unread_key(date, account_id))
        found: dict[str, str] = {} if answer is None else json.loads(answer["Body"].read())
        return found

    def put_unread(self, date: str, account_id: str, objects: dict[str, str]) -> None:
        """Write the list of what could not be fetched; empty once all was."""
        text = json.dumps(objects, indent=2, sort_keys=True) + "\n"
        self.put(unread_key(date, account_id), text.encode())

    def count_unread(self, account_id: str, dates: Iterable[str]) -> int:
        """Return how many log files of an account and these days could not be fetched."""
        wanted = set(dates)
        prefix, ending = "activity/unread/date=", f"/account={account_id}.json"
        with translated(f"s3:ListBucket on {self.bucket}, {prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            days = [
                each["Key"][len(prefix) : -len(ending)]
                for page in pages
                for each in page.get("Contents", [])
                if each["Key"].endswith(ending)
            ]
        return sum(len(self.unread(day, account_id)) for day in days if day in wanted)

    # --- days ---

    def complete_dates(self) -> set[str]:
        """Return the days of which every log file was read when no more were to be expected."""
        prefix = "activity/complete/date="
        with translated(f"s3:ListBucket on {self.bucket}, {prefix}"):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        return {key[len(prefix) :].removesuffix(".json") for key in keys}

    def complete(self, date: str, execution: str) -> None:
        """Mark a day as complete."""
        text = json.dumps({"date": date, "execution": execution}, indent=2) + "\n"
        self.put(f"activity/complete/date={date}.json", text.encode())

    # --- objects of a run ---

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        with translated(f"s3:PutObject s3://{self.bucket}/{key}"):
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        """Return an object; raises EvidenceError where there is none."""
        answer = self._get(key)
        if answer is None:
            raise EvidenceError(f"s3://{self.bucket}/{key} is not there")
        body: bytes = answer["Body"].read()
        return body

    def get_all(self, keys: Iterable[str]) -> list[bytes | None]:
        """Return objects in the order of their keys; None for one that is not there."""

        def read(key: str) -> bytes | None:
            answer = self._get(key)
            return None if answer is None else answer["Body"].read()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(read, keys))

    def _get(self, key: str) -> Any:
        try:
            with translated(
                f"s3:GetObject s3://{self.bucket}/{key}", codes={"NoSuchKey": EvidenceError}
            ):
                return self.s3.get_object(Bucket=self.bucket, Key=key)
        except EvidenceError:
            return None


def digest_key(date: str, account_id: str) -> str:
    """Return where the digest of an account and day lies."""
    return f"activity/date={date}/account={account_id}/part.ndjson.gz"


def seen_key(date: str, account_id: str, name: str) -> str:
    """Return where the event ids of a digest lie."""
    return f"activity/seen/date={date}/account={account_id}/{name}.bin"


def unread_key(date: str, account_id: str) -> str:
    """Return where the list of what could not be fetched lies."""
    return f"activity/unread/date={date}/account={account_id}.json"


def dates_before(moment: datetime, days: int) -> list[str]:
    """Return so many days before that of a moment, ``YYYY-MM-DD`` in UTC, oldest first.

    The day itself is not among them: its log files are read in the night after it.
    """
    today = moment.astimezone(UTC).date()
    return [f"{today - timedelta(days=n)}" for n in range(days, 0, -1)]
