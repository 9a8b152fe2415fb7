"""CloudTrail records and files, made for tests, and short ways to have them counted."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import msgspec

from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.cloudtrail.digest import Digest
from pare.cloudtrail.reader import Reading, read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.cloudtrail.activity import Activity
    from pare.cloudtrail.deduplicate import Seen
    from pare.cloudtrail.record import Record

ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
REGION = "eu-west-1"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/service-role/app/Shop"
ROLE_ID = "AROAEXAMPLEEXAMPLE123"
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/people/ann"
USER_ID = "AIDAEXAMPLEEXAMPLE123"

Json = dict[str, Any]


def event_id(number: int) -> str:
    """Return a UUID that says its number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def role_session(session: str = "i-0abc", **changes: Any) -> Json:
    """Return the userIdentity of a role session."""
    return {
        "type": "AssumedRole",
        "principalId": f"{ROLE_ID}:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop/{session}",
        "accountId": ACCOUNT,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": ROLE_ID,
                "arn": ROLE_ARN,
                "accountId": ACCOUNT,
                "userName": "Shop",
            }
        },
        **changes,
    }


def user(arn: str = USER_ARN, **changes: Any) -> Json:
    """Return the userIdentity of an IAM user."""
    return {
        "type": "IAMUser",
        "principalId": USER_ID,
        "arn": arn,
        "accountId": ACCOUNT,
        "userName": arn.rpartition("/")[2],
        **changes,
    }


def record(number: int = 1, source: str = "s3", name: str = "GetObject", **changes: Any) -> Json:
    """Return a record of a role's call; ``...`` takes a field away."""
    whole = {
        "eventVersion": "1.11",
        "userIdentity": role_session(),
        "eventTime": "2026-11-21T10:15:00Z",
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "[aws-cli/2.17]",
        "requestParameters": _PARAMETERS.get(name),
        "responseElements": None,
        "eventID": event_id(number),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
        **changes,
    }
    return {field: value for field, value in whole.items() if value is not ...}


_PARAMETERS: dict[str, Json] = {
    "GetObject": {"bucketName": "orders", "key": "2026/11/a.json"},
    "GetItem": {"tableName": "orders", "key": {"id": {"S": "1"}}},
}
# A record of each fate: used, denied, ignored by rule, unmapped, unreadable.
USED = record(11)
USED_WITH_ERROR = record(12, errorCode="NoSuchKey")
DENIED = record(13, errorCode="AccessDenied")
IGNORED = record(14, "sts", "GetCallerIdentity", requestParameters=None)
UNMAPPED = record(15, "notaservice", "DoNothing", requestParameters=None)
UNREADABLE = record(16, eventName=...)
ONE_OF_EACH = (USED, USED_WITH_ERROR, DENIED, IGNORED, UNMAPPED, UNREADABLE)


def s3_get(number: int, key: str, **changes: Any) -> Json:
    """Return a GetObject of a key."""
    return record(number, requestParameters={"bucketName": "orders", "key": key}, **changes)


def delivered(*records: Json, **json_options: Any) -> bytes:
    """Return a log file as CloudTrail delivers it, unpacked."""
    options: dict[str, Any] = {"separators": (",", ":"), **json_options}
    return json.dumps({"Records": list(records)}, **options).encode()


def by_lines(*records: Json) -> bytes:
    """Return NDJSON."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in records)


def packed(content: bytes) -> bytes:
    """Return it as one gzip member that is always the same."""
    return gzip.compress(content, mtime=0)


def read(content: bytes) -> tuple[list[Record], Reading]:
    """Return the records of a file and what its reading found."""
    reading = Reading()
    found = [each for some in read_records(io.BytesIO(content), reading) for each in some]
    return found, reading


def ids(records: Iterable[Record]) -> list[int]:
    """Return the numbers of records that were made with ``event_id``."""
    return [int((each.eventID or "-1")[-12:], 16) for each in records]


def digest(
    files: Mapping[str, bytes] | Sequence[Json],
    *,
    since: str | None = None,
    until: str | None = None,
    seen: Seen | None = None,
) -> Activity:
    """Return the activity of files, or of records in one file."""
    engine = Digest(since=since, until=until, seen=seen)
    if not hasattr(files, "items"):
        files = {"log.json": delivered(*files)}
    for name, content in files.items():
        engine.add_file(name, content)
    return engine.activity()


def as_bytes(activity: Activity, *, compress: bool = False) -> bytes:
    """Return the activity file."""
    file = io.BytesIO()
    write_activity(activity, file, compress=compress)
    return file.getvalue()


def lines(activity: Activity) -> list[Json]:
    """Return the lines of the activity file, decoded."""
    return [json.loads(line) for line in as_bytes(activity).splitlines()]


def header(activity: Activity) -> Json:
    """Return its first line."""
    return lines(activity)[0]


def uses(activity: Activity) -> list[Json]:
    """Return its use lines."""
    return [line for line in lines(activity) if line["line"] == "use"]


def principals(activity: Activity) -> list[Json]:
    """Return its principal lines."""
    return [line for line in lines(activity) if line["line"] == "principal"]


def fates(activity: Activity) -> tuple[int, int, int, int, int]:
    """Return how many records were used, denied, ignored, unmapped, unreadable."""
    totals = activity.totals
    ignored, lost = sum(totals.ignored.values()), sum(totals.unreadable_records.values())
    return totals.used, totals.denied, ignored, totals.unmapped, lost


def copy_of(activity: Activity) -> Activity:
    """Return one with no part in common, by way of a file: which must say all there is."""
    again = read_activity(io.BytesIO(as_bytes(activity)))
    assert as_bytes(again) == as_bytes(activity)
    return again


def merged(parts: Iterable[Activity]) -> Activity:
    """Return the sum of activities; they are not changed."""
    from pare.cloudtrail.activity import Activity

    whole = Activity()
    for part in parts:
        before = as_bytes(part)
        whole.merge(part)
        assert as_bytes(part) == before, "merging changed what was merged in"
    return whole


def assert_consistent(activity: Activity, *, records: int | None = None) -> None:
    """Check that every record has its place, the header says so, and the file can be read again.

    ``records``: how many went in, where that is known.
    """
    told = header(activity)["records"]
    assert told["total"] == (
        told["used"]
        + told["denied"]
        + told["unmapped"]
        + sum(told.get("ignored", {}).values())
        + sum(told.get("unreadable", {}).values())
    )
    assert all(count >= 0 for count in fates(activity))
    if records is not None:
        assert told["total"] == records
    copy_of(activity)
    assert as_bytes(copy_of(activity), compress=True) == as_bytes(activity, compress=True)


def json_size(value: Any) -> int:
    """Return how long a value is as compact JSON."""
    return len(msgspec.json.encode(value))
