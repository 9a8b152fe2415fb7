"""The trail's bucket: which log files lie in it, and their content.

Listing goes through boto3, a thousand keys a call. Fetching goes through obstore: a trail is made
of small files, and boto3's ``get_object`` costs more than ten times what obstore takes
(docs/decisions/0009; ``python -m bench.fetch``).
"""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pare.aws.calls import translated
from pare.cloudtrail.sources import classify, log_key
from pare.errors import AwsServiceError, TrailReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    import boto3
    from mypy_boto3_s3 import S3Client

_DENIED = dict.fromkeys(("AccessDenied", "NoSuchBucket", "AllAccessDisabled"), TrailReadError)
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}/")
_ACCOUNT = re.compile(r"[0-9]{12}/")

# Fetched side by side, and held at most while an earlier one is being read. A log file has some
# 15 KB and at most a few MB.
AT_ONCE = 16
MAX_HELD_BYTES = 64 * 1024 * 1024


class LogObject(NamedTuple):
    """An object of the bucket: its key, and its size as stored."""

    key: str
    size: int


class Found(NamedTuple):
    """An object of a listing: a log file and its day, or ``reason`` why it is passed over."""

    date: str
    object: LogObject
    reason: str


@dataclass(slots=True)
class Listing:
    """The log files of one account by day of delivery, ``YYYY-MM-DD``; and what was passed over."""

    days: dict[str, list[LogObject]]
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class TrailBucket:
    """Lists log files. ``roots`` are the prefixes that end in ``AWSLogs/`` (facts §7)."""

    s3: S3Client
    name: str
    roots: tuple[str, ...] = ("AWSLogs/",)

    def account_folders(self) -> dict[str, list[str]]:
        """Return the folders of each account, sorted: ``AWSLogs/o-…/111122223333/``.

        An account has several where a trail of its own was there before the organization's.
        """
        folders: dict[str, list[str]] = {}
        for root in self.roots:
            children = self._folders(root)
            organizations = [child for child in children if _last(child, _ORGANIZATION)]
            for organization in organizations:
                children += self._folders(organization)
            for child in children:
                if _last(child, _ACCOUNT):
                    folders.setdefault(child.rstrip("/").rpartition("/")[2], []).append(child)
        return dict(sorted(folders.items()))

    def logs(self, folders: Iterable[str], first: str, last: str) -> Listing:
        """Return the log files delivered from one day through another, days as ``YYYY-MM-DD``.

        One call a Region and thousand keys: days lie one after the other, so the listing of a
        Region begins at the first and ends after the last.
        """
        listing = Listing({}, {})
        for day, each, reason in self.walk(folders, first, last):
            if reason:
                listing.skipped[reason] = listing.skipped.get(reason, 0) + 1
            else:
                listing.days.setdefault(day, []).append(each)
        for objects in listing.days.values():
            objects.sort()
        return listing

    def folders_of(self, account_id: str) -> list[str]:
        """Return the folders an account's log files may lie in, without listing all accounts.

        Where the account has no log files, nothing lies in them.
        """
        folders: list[str] = []
        for root in self.roots:
            organizations = [child for child in self._folders(root) if _last(child, _ORGANIZATION)]
            folders += [f"{parent}{account_id}/" for parent in (root, *organizations)]
        return sorted(folders)

    def walk(self, folders: Iterable[str], first: str, last: str) -> Iterator[Found]:
        """Yield what was delivered from one day through another, Region after Region."""
        for folder in folders:
            for region in self._folders(f"{folder}CloudTrail/"):
                yield from self._walk_region(region, first, last)

    def region(self, otherwise: str) -> str:
        """Return the Region the bucket lies in, or ``otherwise`` where S3 does not say."""
        with translated(f"s3:ListBucket on {self.name}", codes=_DENIED):
            answer = self.s3.list_objects_v2(Bucket=self.name, Prefix=self.roots[0], MaxKeys=1)
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return headers.get("x-amz-bucket-region") or otherwise

    def _walk_region(self, folder: str, first: str, last: str) -> Iterator[Found]:
        # A day's folder is longer than this text, and so comes after it.
        start, end = folder + first.replace("-", "/"), last.replace("-", "/")
        pages = iter(
            self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=folder, StartAfter=start
            )
        )
        while True:
            # Only the call is AWS's; what the caller does with a page is not.
            with translated(f"s3:ListBucket on {self.name}, {folder}", codes=_DENIED):
                page = next(pages, None)
            if page is None:
                return
            for each in page.get("Contents", []):
                key = each["Key"]
                if key[len(folder) : len(folder) + len(end)] > end:
                    return
                item = LogObject(key, each["Size"])
                reason = classify(key)
                if reason is not None:
                    yield Found("", item, reason)
                elif (found := log_key(key)) is not None and first <= found.date <= last:
                    yield Found(found.date, item, "")

    def _folders(self, prefix: str) -> list[str]:
        """Return the folders right under a prefix."""
        with translated(f"s3:ListBucket on {self.name}, {prefix}", codes=_DENIED):
            pages = self.s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.name, Prefix=prefix, Delimiter="/"
            )
            return [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", [])]


def _last(folder: str, pattern: re.Pattern[str]) -> bool:
    return pattern.fullmatch(folder[folder.rstrip("/").rfind("/") + 1 :]) is not None


# --- Content --------------------------------------------------------------------------------------


class Fetched(NamedTuple):
    """An object's content, or why it could not be had (``not found``, ``access denied (…)``)."""

    object: LogObject
    content: bytes | None
    reason: str


class LogFetcher:
    """Fetches objects of one bucket, many side by side, and hands them out in their order."""

    def __init__(self, get: Callable[[str], bytes]) -> None:
        self._get = get

    @classmethod
    def of(cls, bucket: str, region: str, session: boto3.Session) -> LogFetcher:
        """Return a fetcher that acts with the session's credentials, as its S3 client would.

        The client says where S3 is: in another partition, or in an emulator, that is not derived
        from the Region.
        """
        import obstore
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store

        endpoint = session.client("s3", region_name=region).meta.endpoint_url
        options: Any = {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": "5s",
            "timeout": "60s",
        }
        if bundle := os.environ.get("AWS_CA_BUNDLE"):
            options["root_certificate"] = Path(bundle).read_bytes()
        store = S3Store(
            bucket,
            region=region,
            endpoint=endpoint,
            credential_provider=Boto3CredentialProvider(session),
            client_options=options,
            retry_config={
                "max_retries": 6,
                "backoff": {
                    "init_backoff": timedelta(milliseconds=200),
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
                "retry_timeout": timedelta(seconds=60),
            },
        )
        return cls(lambda key: obstore.get(store, key).bytes().to_bytes())

    def fetch(self, objects: Sequence[LogObject]) -> Iterator[Fetched]:
        """Yield every object in its order. What is asked for ahead is bounded in number and bytes.

        Raises AwsServiceError where S3 itself fails or cannot be reached, after retries: then the
        rest would not go better. Close the generator to stop early.
        """
        pool = ThreadPoolExecutor(AT_ONCE)
        waiting: deque[tuple[LogObject, Future[bytes]]] = deque()
        held = 0
        rest = iter(objects)
        following = next(rest, None)
        try:
            while waiting or following is not None:
                while following is not None and (
                    not waiting
                    or (len(waiting) < 2 * AT_ONCE and held + following.size <= MAX_HELD_BYTES)
                ):
                    waiting.append((following, pool.submit(self._get, following.key)))
                    held += following.size
                    following = next(rest, None)
                each, future = waiting.popleft()
                held -= each.size
                yield _outcome(each, future)
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome(each: LogObject, future: Future[bytes]) -> Fetched:
    try:
        return Fetched(each, future.result(), "")
    except FileNotFoundError:
        return Fetched(each, None, "not found")
    except Exception as error:
        # obstore's own classes, which must not be imported where obstore is not.
        if not type(error).__module__.startswith("obstore"):
            raise
        text = str(error)
        kind = type(error).__name__
        code = re.search(r"<Code>([\w.]+)</Code>", text)
        named = f" ({code[1]})" if code else ""
        if kind in {"PermissionDeniedError", "UnauthenticatedError"}:
            return Fetched(each, None, f"access denied{named}")
        if code is not None and not re.search(r"\b5\d\d\b", text.partition("<")[0]):
            return Fetched(each, None, f"refused{named}")
        raise AwsServiceError(f"s3:GetObject {each.key}: {text.partition(chr(10))[0]}") from error
