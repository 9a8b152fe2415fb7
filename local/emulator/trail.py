"""CloudTrail log files, read as Access Analyzer reads them: with the access role's session.

Everything goes over HTTPS with the role's credentials, so that a wrong bucket policy, a missing
right or a missing trail fails the job as it would in AWS.
"""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.emulator import upstream
from local.emulator.catalogue import is_data_plane, service_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.emulator.upstream import SessionCredentials

_FETCHERS = 4
_CACHED_OBJECTS = 20_000
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "403", "AllAccessDisabled"})
_MISSING = frozenset(
    {"NoSuchBucket", "NoSuchKey", "TrailNotFoundException", "ResourceNotFoundException", "404"}
)


class JobError(Exception):
    """How a policy generation job ends when it cannot succeed (facts §1, JobErrorCode)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class TrailRequest:
    """One trail to read. Neither Regions nor all Regions means the trail's home Region."""

    arn: str
    regions: tuple[str, ...] = ()
    all_regions: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One management call by a role or user, as a log file has it."""

    principal_arn: str
    event_source: str
    event_name: str
    at: str  # ISO 8601 as recorded: comparable as text


@dataclass(frozen=True, slots=True)
class _LogFile:
    bucket: str
    key: str
    etag: str
    size: int

    @property
    def folder(self) -> str:
        return self.key.rpartition("/")[0]


class TrailReader:
    """Reads trails, keeping the parsed calls of every log file by bucket, key and ETag."""

    def __init__(self, endpoint_url: str, ca_bundle: Path) -> None:
        self._endpoint_url = endpoint_url
        self._ca_bundle = ca_bundle
        self._cache: dict[tuple[str, str, str], tuple[Call, ...]] = {}
        self._lock = threading.Lock()
        self._session = botocore.session.Session()

    def client(self, service: str, credentials: SessionCredentials, region: str) -> Any:
        """Return a client that acts with the session's credentials."""
        with self._lock:  # making a client is not thread-safe
            return self._session.create_client(
                service,
                region_name=region,
                endpoint_url=self._endpoint_url,
                verify=str(self._ca_bundle),
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
                aws_session_token=credentials.session_token,
                config=Config(
                    max_pool_connections=_FETCHERS + 1, retries={"total_max_attempts": 2}
                ),
            )

    def calls(
        self,
        credentials: SessionCredentials,
        account_id: str,
        trails: list[TrailRequest],
        start: datetime,
        end: datetime,
        *,
        max_files: int,
        max_bytes: int,
    ) -> Iterator[Call]:
        """Yield the account's calls between the two times; raises JobError.

        The folder of a day is the day of delivery, so the day after the end is read too (facts §7).
        """
        jobs: list[tuple[Any, list[_LogFile]]] = []
        for trail in trails:
            found = self._trail(credentials, trail.arn)
            s3 = self.client("s3", credentials, found["HomeRegion"])
            jobs.append((s3, self._log_files(s3, found, trail, account_id, start, end)))
        every_file = [log_file for _, log_files in jobs for log_file in log_files]
        if len(every_file) > max_files:
            # The message as a user saw it (facts §1).
            raise JobError(
                "SERVICE_QUOTA_EXCEEDED_ERROR",
                "CloudTrail log files processed per policy generation limit exceeded. "
                "Please fix before trying again.",
            )
        if sum(log_file.size for log_file in every_file) > max_bytes:
            raise JobError(
                "SERVICE_QUOTA_EXCEEDED_ERROR",
                "CloudTrail data processed per policy generation limit exceeded. "
                "Please fix before trying again.",
            )
        first, last = _text(start), _text(end)
        with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="trail") as pool:
            for s3, log_files in jobs:
                for calls in pool.map(lambda job: self._read(*job), self._to_read(s3, log_files)):
                    yield from (call for call in calls if first <= call.at <= last)

    def _trail(self, credentials: SessionCredentials, arn: str) -> dict[str, Any]:
        region = arn.split(":")[3]
        try:
            answer = self.client("cloudtrail", credentials, region).get_trail(Name=arn)
        except (ClientError, BotoCoreError) as error:
            raise _job_error(error, f"CloudTrail trail {arn}") from error
        trail: dict[str, Any] = answer["Trail"]
        return trail

    def _log_files(
        self,
        s3: Any,
        trail: dict[str, Any],
        request: TrailRequest,
        account_id: str,
        start: datetime,
        end: datetime,
    ) -> list[_LogFile]:
        bucket = trail["S3BucketName"]
        prefix = f"{trail['S3KeyPrefix'].strip('/')}/" if trail.get("S3KeyPrefix") else ""
        prefix += "AWSLogs/"
        if trail.get("IsOrganizationTrail"):
            organization = upstream.organization_of(upstream.account_of(trail["TrailARN"]))
            prefix += f"{organization['Id']}/" if organization else ""
        prefix += f"{account_id}/CloudTrail/"
        found: list[_LogFile] = []
        try:
            regions: list[str] = list(request.regions) or [trail["HomeRegion"]]
            if request.all_regions:
                regions = _folders(s3, bucket, prefix)
            for region in regions:
                found += _list_days(s3, bucket, f"{prefix}{region}/", start.date(), end.date())
        except (ClientError, BotoCoreError) as error:
            raise _job_error(error, f"CloudTrail S3 bucket {bucket}") from error
        return found

    def _to_read(self, s3: Any, log_files: list[_LogFile]) -> Iterator[tuple[Any, _LogFile, bool]]:
        """Yield each file and whether it must be fetched although it is known.

        The first file of every folder always is: a right taken away since the last job shows.
        """
        folders: set[str] = set()
        for log_file in log_files:
            yield s3, log_file, log_file.folder not in folders
            folders.add(log_file.folder)

    def _read(self, s3: Any, log_file: _LogFile, must_fetch: bool) -> tuple[Call, ...]:
        key = (log_file.bucket, log_file.key, log_file.etag)
        known = self._cache.get(key)
        if known is not None and not must_fetch:
            return known
        try:
            body = s3.get_object(Bucket=log_file.bucket, Key=log_file.key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise _job_error(error, f"CloudTrail S3 bucket {log_file.bucket}") from error
        calls = known if known is not None else tuple(parse_log_file(body))
        with self._lock:
            if len(self._cache) >= _CACHED_OBJECTS:
                self._cache.clear()
            self._cache[key] = calls
        return calls


def _folders(s3: Any, bucket: str, prefix: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter="/"
    )
    return sorted(
        folder["Prefix"].removeprefix(prefix).rstrip("/")
        for page in pages
        for folder in page.get("CommonPrefixes", [])
    )


def _list_days(s3: Any, bucket: str, prefix: str, first: date, last: date) -> list[_LogFile]:
    after = f"{prefix}{first:%Y/%m/%d}/"
    end = f"{prefix}{last + timedelta(days=2):%Y/%m/%d}/"
    found: list[_LogFile] = []
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, StartAfter=after
    )
    for page in pages:
        for item in page.get("Contents", []):
            if item["Key"] >= end:
                return found
            if item["Key"].endswith((".json.gz", ".json")):
                found.append(_LogFile(bucket, item["Key"], item["ETag"], item["Size"]))
    return found


def _job_error(error: ClientError | BotoCoreError, what: str) -> JobError:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in _DENIED:
        return JobError(
            "AUTHORIZATION_ERROR",
            f"Incorrect permissions assigned to access {what}. Please fix before trying again.",
        )
    if code in _MISSING:
        return JobError(
            "RESOURCE_NOT_FOUND_ERROR", f"{what} does not exist. Please fix before trying again."
        )
    return JobError("SERVICE_ERROR", f"{what} could not be read: {error}")


def parse_log_file(body: bytes) -> Iterator[Call]:
    """Yield the management calls of roles and users; an unreadable file has none.

    Denied calls are kept, as Access Analyzer keeps them; data events are not (facts §2).
    """
    try:
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        records = json.loads(text)["Records"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return
    for record in records:
        call = _call(record)
        if call is not None:
            yield call


def _call(record: Any) -> Call | None:
    if not isinstance(record, dict) or record.get("eventType") != "AwsApiCall":
        return None
    source, name = record.get("eventSource"), record.get("eventName")
    if not isinstance(source, str) or not isinstance(name, str):
        return None
    category = record.get("eventCategory")
    if category not in {None, "Management"} or record.get("managementEvent") is False:
        return None
    if category is None and is_data_plane(service_of(source), name):
        return None  # records older than eventVersion 1.07 carry no category
    principal = _principal(record.get("userIdentity"))
    if principal is None:
        return None
    return Call(principal, source, name, str(record.get("eventTime", "")))


def _principal(identity: Any) -> str | None:
    """Return the ARN of the role, with its path, or of the user that made the call (facts §7)."""
    if not isinstance(identity, dict):
        return None
    if identity.get("type") == "IAMUser":
        arn = identity.get("arn")
    elif identity.get("type") == "AssumedRole":
        issuer = (identity.get("sessionContext") or {}).get("sessionIssuer") or {}
        arn = issuer.get("arn")
    else:
        return None
    return arn if isinstance(arn, str) else None


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
