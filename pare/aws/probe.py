"""What a function of the hub can do, tried by that function: the doctor's questions.

Kinds of requests, and what answers them (``pare.doctor.answers`` has the shapes):

- ``member``: enter accounts by the member role (every function of MEMBER_CALLERS)
- ``log archive``: what lies in other accounts, read through the member role there: the trail's
  bucket, its keys, the trail (ListPrincipals)
- ``list trail``: list log files as the function does (ListLogs, ChooseRoute)
- ``read trail``: read log files as the function does (DigestLogs)

The role, its external id, the bucket to list and to read are the function's own, from its
variables: a request says what to look at and never widens what may be done. Nothing here raises:
whatever fails is data. An answer comes before the function's time is up, and names what was not
reached. A request may ask for less time: ``"seconds": 120``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pare.aws.calls import CLIENT_CONFIG, DENIED, error_code, error_message
from pare.aws.trail_bucket import TrailBucket
from pare.clock import json_times
from pare.cloudtrail.sources import log_key
from pare.member_rights import rights_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pare.doctor.answers import (
        AccountLogs,
        Age,
        Answer,
        BucketAnswer,
        Entered,
        Failure,
        KeyAnswer,
        ListingAnswer,
        LogArchiveAnswer,
        MemberAnswer,
        ReadingAnswer,
        ReadObject,
        SampleJson,
        TrailAnswer,
        UnreadObject,
    )

T = TypeVar("T")
_DELIVERED = re.compile(r"_[0-9]{8}T([0-9]{2})([0-9]{2})Z_")

# What is left of the function's time when nothing further is begun. A call takes at most two tries
# of a few seconds.
RESERVE_SECONDS = 20
AT_ONCE = 10
CONFIG = CLIENT_CONFIG.merge(
    Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=3,
        read_timeout=5,
        max_pool_connections=AT_ONCE,
    )
)
# Of so many of the newest days a Region's log files are counted. In most Regions a part of a page
# holds them all; where it does not, the time it spans tells how many there are.
COUNTED_DAYS = 7
PAGE = 250
# Locations that have another name than their Region.
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html
OLD_LOCATIONS = {"": "us-east-1", "EU": "eu-west-1"}
# The tag of the member role that says of which template it is.
TEMPLATE_TAG = "pare:member-template"
ACCESS_ANALYZER = "access-analyzer.amazonaws.com"


def answer(
    request: Any, *, variables: Mapping[str, str], seconds_left: Callable[[], float]
) -> dict[str, Any]:
    """Return the answer to a request, in one of the shapes of ``pare.doctor.answers``."""
    try:
        kind = request["kind"]
        if kind in _KINDS:
            left = _less_time(request.get("seconds"), seconds_left)
            answered: dict[str, Any] = _KINDS[kind](request, _Function(variables, left))
            return answered
        failure = _failed("probe", "UnknownRequest", f"no request is {kind!r}")
    except ClientError as error:
        failure = _refused("probe", error)
    except Exception as error:
        # Also a variable that this function does not have, and a request of another shape.
        failure = _failed("probe", type(error).__name__, str(error))
    return {**failure}


def _less_time(seconds: Any, seconds_left: Callable[[], float]) -> Callable[[], float]:
    """Return how much time is left, where somebody waits no longer than some seconds from now."""
    if seconds is None:
        return seconds_left
    end = time.monotonic() + float(seconds) + RESERVE_SECONDS
    return lambda: min(seconds_left(), end - time.monotonic())


def _failed(action: str, code: str, message: str) -> Failure:
    return {"ok": False, "action": action, "code": code, "message": message}


def _refused(action: str, error: ClientError) -> Failure:
    return _failed(action, error_code(error), error_message(error))


class _FailedError(Exception):
    """A call failed; ``failure`` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure["message"])
        self.failure = failure


@contextmanager
def _calling(action: str) -> Iterator[None]:
    """Raise what a call fails with as a _FailedError."""
    try:
        yield
    except ClientError as error:
        raise _FailedError(_refused(action, error)) from error
    except BotoCoreError as error:
        raise _FailedError(_failed(action, type(error).__name__, str(error))) from error


def _tried(action: str, call: Callable[[], Any]) -> Answer:
    """Return what a call answers, or how it failed."""
    try:
        with _calling(action):
            return {"ok": True, "value": call()}
    except _FailedError as error:
        return error.failure


@dataclass(frozen=True)
class _Function:
    """The function that answers: its variables, its time, its credentials."""

    variables: Mapping[str, str]
    seconds_left: Callable[[], float]
    session: boto3.Session = field(default_factory=boto3.Session)
    # A session makes one client at a time.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def has_time(self) -> bool:
        return self.seconds_left() > RESERVE_SECONDS

    def client(self, service: str, region: str | None = None, **credentials: str) -> Any:
        with self._lock:
            return self.session.client(
                service,  # type: ignore[call-overload]
                region_name=region,
                config=CONFIG,
                **credentials,
            )

    def each(
        self, names: Iterable[str], look: Callable[[str], T]
    ) -> tuple[dict[str, T], list[str]]:
        """Return what was seen of each name, side by side, and the names not reached."""

        def one(name: str) -> tuple[bool, T | None]:
            return (True, look(name)) if self.has_time else (False, None)

        wanted = list(dict.fromkeys(names))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            seen = dict(zip(wanted, pool.map(one, wanted), strict=True))
        found = {name: cast("T", each) for name, (reached, each) in seen.items() if reached}
        return found, [name for name in wanted if name not in found]

    def enter(self, sts: Any, account_id: str) -> dict[str, str]:
        """Return credentials in a member account, as a client takes them."""
        with _calling("sts:AssumeRole"):
            credentials = sts.assume_role(
                RoleArn=self.variables["MEMBER_ROLE_ARN_TEMPLATE"].format(account_id=account_id),
                RoleSessionName="pare-doctor",
                ExternalId=self.variables["MEMBER_EXTERNAL_ID"],
                DurationSeconds=900,
            )["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }


# --- Entering member accounts ---------------------------------------------------------------------


def _member(request: Mapping[str, Any], function: _Function) -> MemberAnswer:
    sts = function.client("sts")
    role_name = function.variables["MEMBER_ROLE_ARN_TEMPLATE"].rpartition("/")[2]
    access_role = str(request.get("access_role") or "")

    def look(account_id: str) -> Entered | Failure | None:
        try:
            credentials = function.enter(sts, account_id)
            if not request.get("template"):
                return {"ok": True}
            if not function.has_time:
                return None
        except _FailedError as error:
            return error.failure
        iam = function.client("iam", **credentials)
        entered: Entered = {"ok": True}
        try:
            with _calling("iam:GetRole"):
                role = iam.get_role(RoleName=role_name)["Role"]
            tags = {each["Key"]: each["Value"] for each in role.get("Tags", [])}
            entered["template"] = tags.get(TEMPLATE_TAG)
            entered["rights"] = {"ok": True, "value": _rights(iam, role)}
        except _FailedError as error:
            # It lets the function in, and may not read itself: that is of its rights.
            entered["rights"] = error.failure
        if access_role:
            if not function.has_time:
                return None
            entered["access_role"] = _tried("iam:GetRole", lambda: _access_role(iam, access_role))
        return entered

    found, not_reached = function.each(_texts(request, "account_ids"), look)
    return {
        "accounts": {name: each for name, each in found.items() if each is not None},
        "not_reached": not_reached + [name for name, each in found.items() if each is None],
    }


def _rights(iam: Any, role: Mapping[str, Any]) -> str:
    """Return the hash of a role's rights: its inline policies and its boundary."""
    name = role["RoleName"]
    with _calling("iam:ListRolePolicies"):
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=name)
        policies = [each for page in pages for each in page["PolicyNames"]]
    documents = []
    for policy in policies:
        with _calling("iam:GetRolePolicy"):
            answer = iam.get_role_policy(RoleName=name, PolicyName=policy)
        documents.append(answer["PolicyDocument"])
    boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return rights_hash(documents, boundary)


def _access_role(iam: Any, name: str) -> dict[str, Any]:
    """Return where Access Analyzer's role is, and whether it may assume it."""
    role = iam.get_role(RoleName=name)["Role"]
    document = role.get("AssumeRolePolicyDocument") or {}
    statements = _listed(document.get("Statement"))
    return {
        "path": role["Path"],
        "is_trusting": any(_trusts(each) for each in statements if each.get("Effect") == "Allow"),
    }


def _trusts(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement of a trust policy is about Access Analyzer's assuming the role."""
    principal = statement.get("Principal")
    services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
    actions = {each.lower() for each in _listed(statement.get("Action"))}
    return ACCESS_ANALYZER in services and bool(actions & {"sts:assumerole", "sts:*", "*"})


def _listed(value: Any) -> list[Any]:
    """Return what stands alone or in a list as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


# --- What lies in other accounts ------------------------------------------------------------------


def _log_archive(request: Mapping[str, Any], function: _Function) -> LogArchiveAnswer:
    bucket = request.get("bucket")
    entry = _Entry(function)
    keys, keys_not_reached = function.each(
        _texts(request, "key_arns"), lambda arn: _key(arn, entry)
    )
    trails, trails_not_reached = function.each(
        _texts(request, "trail_arns"), lambda arn: _trail(arn, entry)
    )
    return {
        "ok": True,
        "bucket": _bucket(bucket, entry) if bucket else None,
        "keys": keys,
        "trails": trails,
        "not_reached": keys_not_reached + trails_not_reached,
    }


class _Entry:
    """Clients in member accounts; an account is entered once."""

    def __init__(self, function: _Function) -> None:
        self._function = function
        self._sts = function.client("sts")
        self._entered: dict[str, dict[str, str] | _FailedError] = {}
        self._lock = threading.Lock()

    def client(self, account_id: str, service: str, region: str) -> Any:
        """Return a client; raises _FailedError where the account lets nobody in."""
        with self._lock:
            if account_id not in self._entered:
                try:
                    self._entered[account_id] = self._function.enter(self._sts, account_id)
                except _FailedError as error:
                    self._entered[account_id] = error
            entered = self._entered[account_id]
        if isinstance(entered, _FailedError):
            raise _FailedError(entered.failure)
        return self._function.client(service, region, **entered)


def _asked(
    entry: _Entry,
    where: tuple[str, str, str],
    calls: Mapping[str, tuple[str, Callable[[Any], Any]]],
) -> dict[str, Answer]:
    """Return the answer of each call to a service in an account and Region, by its name."""
    try:
        client = entry.client(*where)
    except _FailedError as error:
        return dict.fromkeys(calls, error.failure)
    except (BotoCoreError, ValueError) as error:
        failure = _failed(f"{where[1]}:client", type(error).__name__, str(error))
        return dict.fromkeys(calls, failure)

    def told(action: str, call: Callable[[Any], Any]) -> Answer:
        return _tried(action, lambda: call(client))

    return {name: told(action, call) for name, (action, call) in calls.items()}


def _bucket(wanted: Mapping[str, Any], entry: _Entry) -> BucketAnswer:
    name = str(wanted["name"])

    def policy(s3: Any) -> Any:
        try:
            return json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])
        except ClientError as error:
            if error_code(error) == "NoSuchBucketPolicy":
                return None
            raise

    def ownership(s3: Any) -> Any:
        try:
            rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        except ClientError as error:
            # Where nothing was set, the writer owns what it writes.
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
            if error_code(error) == "OwnershipControlsNotFoundError":
                return "ObjectWriter"
            raise
        return rules[0]["ObjectOwnership"]

    def encryption(s3: Any) -> Any:
        try:
            answered = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
        except ClientError as error:
            if error_code(error) == "ServerSideEncryptionConfigurationNotFoundError":
                return {"algorithm": None, "kms_key_arn": None}
            raise
        rule = answered["Rules"][0].get("ApplyServerSideEncryptionByDefault", {})
        return {
            "algorithm": rule.get("SSEAlgorithm"),
            "kms_key_arn": rule.get("KMSMasterKeyID"),
        }

    def location(s3: Any) -> Any:
        said = s3.get_bucket_location(Bucket=name).get("LocationConstraint")
        return OLD_LOCATIONS.get(said or "", said)

    return cast(
        "BucketAnswer",
        _asked(
            entry,
            (str(wanted["account_id"]), "s3", str(wanted["region"])),
            {
                "location": ("s3:GetBucketLocation", location),
                "policy": ("s3:GetBucketPolicy", policy),
                "ownership": ("s3:GetBucketOwnershipControls", ownership),
                "encryption": ("s3:GetEncryptionConfiguration", encryption),
                "owner": (
                    "s3:GetBucketAcl",
                    lambda s3: s3.get_bucket_acl(Bucket=name)["Owner"]["ID"],
                ),
            },
        ),
    )


def _key(arn: str, entry: _Entry) -> KeyAnswer:
    _, _, _, region, account_id, _ = arn.split(":", 5)

    def described(kms: Any) -> Any:
        found = kms.describe_key(KeyId=arn)["KeyMetadata"]
        return {"state": found["KeyState"], "manager": found.get("KeyManager", "CUSTOMER")}

    return cast(
        "KeyAnswer",
        _asked(
            entry,
            (account_id, "kms", region),
            {
                "key": ("kms:DescribeKey", described),
                "policy": (
                    "kms:GetKeyPolicy",
                    lambda kms: json.loads(
                        kms.get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
                    ),
                ),
            },
        ),
    )


def _trail(arn: str, entry: _Entry) -> TrailAnswer:
    _, _, _, region, account_id, _ = arn.split(":", 5)

    def without_metadata(answered: dict[str, Any]) -> Any:
        return json_times({k: v for k, v in answered.items() if k != "ResponseMetadata"})

    return cast(
        "TrailAnswer",
        _asked(
            entry,
            (account_id, "cloudtrail", region),
            {
                "trail": (
                    "cloudtrail:GetTrail",
                    lambda trail: json_times(trail.get_trail(Name=arn)["Trail"]),
                ),
                "status": (
                    "cloudtrail:GetTrailStatus",
                    lambda trail: without_metadata(trail.get_trail_status(Name=arn)),
                ),
                "selectors": (
                    "cloudtrail:GetEventSelectors",
                    lambda trail: without_metadata(trail.get_event_selectors(TrailName=arn)),
                ),
            },
        ),
    )


# --- Listing the trail ----------------------------------------------------------------------------


def _list_trail(request: Mapping[str, Any], function: _Function) -> ListingAnswer | Failure:
    name = function.variables["TRAIL_BUCKET_NAME"]
    roots = tuple(function.variables["TRAIL_LOG_ROOTS"].split(","))
    first, last = (date.fromisoformat(str(request[each])) for each in ("first_date", "last_date"))
    s3 = function.client("s3")
    lister = _Lister(s3, name, first, last)
    try:
        with _calling("s3:ListBucket"):
            page = s3.list_objects_v2(Bucket=name, Prefix=roots[0], MaxKeys=1)
            region = page["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
            folders = _account_folders(TrailBucket(s3, name, roots))
    except _FailedError as error:
        return error.failure
    wanted = [str(each) for each in request.get("account_ids", folders)]
    accounts, not_reached = function.each(
        [each for each in wanted if each in folders], lambda each: lister.look(folders[each])
    )
    return {
        "ok": True,
        "region": region,
        "accounts": accounts,
        "missing": [each for each in wanted if each not in folders],
        "not_reached": not_reached,
    }


def _account_folders(bucket: TrailBucket) -> dict[str, list[str]]:
    """Return the folders of each account; raises what AWS says, not our translation of it."""
    from pare.errors import PareError

    try:
        return bucket.account_folders()
    except PareError as error:
        if isinstance(error.__cause__, ClientError | BotoCoreError):
            raise error.__cause__ from error
        raise


@dataclass(frozen=True, slots=True)
class _Counted:
    """The log files of a Region in the window, about; ``is_busy``: a page did not hold a week's."""

    files: int
    bytes: int
    newest: SampleJson | None
    is_busy: bool


@dataclass(frozen=True, slots=True)
class _Lister:
    """Looks into the folders of one account after the other, a call a Region and a few more."""

    s3: Any
    bucket: str
    first: date
    last: date

    def look(self, folders: Sequence[str]) -> AccountLogs | Failure:
        """Return samples of an account's log files, and about how much they all are."""
        samples: dict[str, SampleJson] = {}
        files = size = 0
        try:
            for folder in folders:
                regions = self._regions(folder)
                counted = {region: self._counted(region) for region in regions}
                files += sum(each.files for each in counted.values())
                size += sum(each.bytes for each in counted.values())
                # Of each age those of one Region are enough: a trail has one key for all of them.
                newest = [each.newest for each in counted.values() if each.newest is not None]
                newest += self._first_at(
                    self.last, "new", [r for r in regions if counted[r].is_busy]
                )
                for sample in (
                    *sorted(newest, key=lambda each: (each["date"], each["key"]))[-1:],
                    *self._first_at(self.first, "old", regions),
                    *self._first_at(self.first + (self.last - self.first) / 2, "middle", regions),
                ):
                    samples[sample["key"]] = sample
        except _FailedError as error:
            return error.failure
        kept = [each for _, each in sorted(samples.items())]
        return {"ok": True, "samples": kept, "files": files, "bytes": size}

    def _regions(self, folder: str) -> list[str]:
        with _calling("s3:ListBucket"):
            page = self.s3.list_objects_v2(
                Bucket=self.bucket, Prefix=f"{folder}CloudTrail/", Delimiter="/"
            )
        return [each["Prefix"] for each in page.get("CommonPrefixes", [])]

    def _page(self, region: str, day: date, most: int) -> tuple[list[tuple[str, Any]], bool]:
        """Return objects from a day on and to the last, and whether these are all of them."""
        with _calling("s3:ListBucket"):
            page = self.s3.list_objects_v2(
                Bucket=self.bucket,
                Prefix=region,
                StartAfter=f"{region}{day:%Y/%m/%d}",
                MaxKeys=most,
                FetchOwner=True,
            )
        found: list[tuple[str, Any]] = []
        for each in page.get("Contents", []):
            known = log_key(each["Key"])
            if known is not None and known.date <= f"{self.last}":
                found.append((known.date, each))
        return found, not page.get("IsTruncated", False)

    def _counted(self, region: str) -> _Counted:
        """Return about how many log files and bytes of the window a Region has, and a new one."""
        start = max(self.first, self.last - timedelta(days=COUNTED_DAYS - 1))
        found, is_whole = self._page(region, start, PAGE)
        if not found:
            return _Counted(0, 0, None, is_busy=False)
        days = (self.last - start).days + 1.0
        if not is_whole:
            days = max(_time_in_days(found[-1][1]["Key"]) - _time_in_days_of(start), 1 / 24)
        times = ((self.last - self.first).days + 1) / days
        stored = sum(each["Size"] for _, each in found)
        return _Counted(
            round(len(found) * times),
            round(stored * times),
            _sample(*found[-1], "new"),
            is_busy=not is_whole,
        )

    def _first_at(self, day: date, age: Age, regions: Sequence[str]) -> list[SampleJson]:
        """Return a log file of that day or later, of the first Region that has any."""
        for region in regions:
            # A folder may hold an object that is no log file.
            found, _ = self._page(region, day, 5)
            if found:
                return [_sample(*found[0], age)]
        return []


def _sample(day: str, each: Mapping[str, Any], age: Age) -> SampleJson:
    return {
        "key": each["Key"],
        "age": age,
        "date": day,
        "size": each["Size"],
        "owner": each.get("Owner", {}).get("ID"),
    }


def _time_in_days_of(day: date) -> float:
    return float(day.toordinal())


def _time_in_days(key: str) -> float:
    """Return when a log file was delivered, in days: ``…_20261120T1005Z_…``."""
    known = log_key(key)
    day = date.fromisoformat(known.date).toordinal() if known else 0
    found = _DELIVERED.search(key)
    minutes = int(found[1]) * 60 + int(found[2]) if found else 24 * 60
    return day + minutes / (24 * 60)


# --- Reading the trail ----------------------------------------------------------------------------


def _read_trail(request: Mapping[str, Any], function: _Function) -> ReadingAnswer:
    bucket = function.variables["TRAIL_BUCKET_NAME"]
    s3 = function.client("s3", request.get("region"))

    def look(key: str) -> ReadObject | UnreadObject:
        try:
            with _calling("s3:GetObject"):
                answered = s3.get_object(Bucket=bucket, Key=key)
                answered["Body"].close()  # what is in it is nobody's concern here
        except _FailedError as error:
            return _unread(error.failure, s3, bucket, key)
        return {
            "ok": True,
            "size": answered["ContentLength"],
            "encryption": answered.get("ServerSideEncryption"),
            "kms_key_arn": answered.get("SSEKMSKeyId"),
        }

    objects, not_reached = function.each(_texts(request, "keys"), look)
    return {"ok": True, "objects": objects, "not_reached": not_reached}


def _unread(failure: Failure, s3: Any, bucket: str, key: str) -> UnreadObject:
    """Return a failure with who refuses.

    A HEAD needs the right to get the object and not the right to decrypt it, and names the key.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    is_refusal = failure["code"] in DENIED or failure["code"].startswith("KMS.")
    if not is_refusal:
        return {**failure, "barrier": None, "kms_key_arn": None}
    head = _tried("s3:GetObject", lambda: s3.head_object(Bucket=bucket, Key=key))
    if head["ok"]:
        return {**failure, "barrier": "kms", "kms_key_arn": head["value"].get("SSEKMSKeyId")}
    is_kms = failure["code"].startswith("KMS.") or "kms:" in failure["message"]
    return {**failure, "barrier": "kms" if is_kms else "s3", "kms_key_arn": None}


def _texts(request: Mapping[str, Any], name: str) -> list[str]:
    return [str(each) for each in request.get(name) or ()]


_KINDS: dict[str, Callable[[Mapping[str, Any], _Function], Any]] = {
    "member": _member,
    "log archive": _log_archive,
    "list trail": _list_trail,
    "read trail": _read_trail,
}
