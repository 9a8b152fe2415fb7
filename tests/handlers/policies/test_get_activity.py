from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.get_activity import Output, lambda_handler
from pare.aws.activity_store import ActivityStore, digest_key
from pare.cloudtrail.activity import Asked
from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.cloudtrail.digest import Digest
from pare.errors import ActivityMissingError, AwsServiceError
from tests.handlers.fake_aws import BUCKET, MEMBER
from tests.handlers.policy_inputs import ARN, PREFIX, call, principal
from tests.unit.cloudtrail.records import delivered

if TYPE_CHECKING:
    from pare.cloudtrail.activity import Activity
    from tests.handlers.fake_aws import FakeAws

OUTCOME = {"bucket": BUCKET, "key": f"{PREFIX}/activity.ndjson.gz"}
FIRST, LAST = "2026-11-18", "2026-11-20"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(window_days="3")


@pytest.fixture
def store(evidence: Any) -> ActivityStore:
    return ActivityStore(evidence.s3, BUCKET)


def night(store: ActivityStore, day: str, *records: dict[str, Any], account: str = MEMBER) -> None:
    """Write the digest of a day as the nightly workflow does."""
    digest = Digest()
    digest.add_file(f"AWSLogs/{day}.json", delivered(*records))
    activity = digest.activity()
    activity.objects = {f"AWSLogs/{day}.json"}
    file = io.BytesIO()
    write_activity(activity, file)
    store.put(digest_key(day, account), file.getvalue())


def get(context: Any, route: str = "both") -> Output:
    event: Any = {"principal": principal(), "route": {"route": route, "reason": "", "waits": False}}
    output: Output = lambda_handler(event, context)
    return output


def stored(store: ActivityStore) -> Activity:
    return read_activity(io.BytesIO(store.get(OUTCOME["key"])))


def test_what_the_principal_did_is_kept_and_what_was_read_of_everybody(
    store: ActivityStore, context: Any
) -> None:
    other = f"{ARN}keeper"  # begins as the one that is asked for
    night(store, "2026-11-17", call("before", "2026-11-17"))
    night(store, FIRST, call("a", FIRST), call("b", FIRST, arn=other))
    night(store, "2026-11-19", call("c", "2026-11-19", name="CreateQueue"),
          call("d", "2026-11-19", unique_id="AROARECREATED"),
          call("u", "2026-11-19", arn=other, name="NoSuchOperation"))  # fmt: skip
    night(store, LAST, call("e", LAST, arn=other))
    night(store, LAST, call("f", LAST), account="444455556666")
    night(store, "2026-11-21", call("after", "2026-11-21"))

    output = get(context)

    assert output == {
        "outcome": OUTCOME,
        "days": {"first": FIRST, "last": LAST, "digest_count": 3, "missing": [], "quiet": [],
                 "unreadable": [], "unread_files": 0},
    }  # fmt: skip
    activity = stored(store)
    found = {
        (each.principal, each.principal_id): sorted(
            (key.action, use.count) for key, group in theirs.groups.items()
            for use in group.uses.values()
        )
        for each, theirs in activity.principals.items()
    }  # fmt: skip
    assert found == {
        (ARN, "AROAEXAMPLE"): [("sqs:CreateQueue", 1), ("sqs:ListQueues", 1)],
        (ARN, "AROARECREATED"): [("sqs:ListQueues", 1)],
    }
    assert activity.totals.records == 6
    assert activity.totals.files == 3
    assert (activity.first, activity.last) == (f"{FIRST}T10:00:00Z", f"{LAST}T10:00:00Z")
    assert activity.hours == {MEMBER: {f"{FIRST}T10:", "2026-11-19T10:", f"{LAST}T10:"}}
    assert activity.asked == {Asked(f"{FIRST}T00:00:00Z", f"{LAST}T23:59:59Z", (ARN,), (MEMBER,))}
    assert activity.objects == set(), "a hundred thousand names of log files"


def test_a_retried_step_leaves_the_same_bytes(store: ActivityStore, context: Any) -> None:
    night(store, FIRST, call("a", FIRST))
    night(store, LAST, call("b", LAST))
    output = get(context)
    body = store.get(OUTCOME["key"])

    assert get(context) == output
    assert store.get(OUTCOME["key"]) == body


def test_days_without_a_digest_are_missing_unless_they_were_read_to_their_end(
    store: ActivityStore, context: Any
) -> None:
    night(store, "2026-11-19", call("a", "2026-11-19"))
    store.complete(FIRST, "execution")
    store.put_unread(FIRST, MEMBER, {"AWSLogs/x": "access denied", "AWSLogs/y": "not found"})
    store.put_unread("2026-11-19", MEMBER, {})
    store.put_unread("2026-11-19", "444455556666", {"AWSLogs/z": "not found"})
    store.put_unread("2026-11-01", MEMBER, {"AWSLogs/old": "not found"})

    days = get(context, "activity")["days"]

    assert days == {
        "first": FIRST, "last": LAST, "digest_count": 1, "missing": [LAST], "quiet": [FIRST],
        "unreadable": [], "unread_files": 2,
    }  # fmt: skip


def test_a_principal_that_did_nothing_has_a_file_without_it(
    store: ActivityStore, context: Any
) -> None:
    night(store, LAST, call("a", LAST, arn=f"arn:aws:iam::{MEMBER}:role/Other"))

    assert get(context)["outcome"] == OUTCOME
    activity = stored(store)
    assert activity.principals == {}
    assert activity.totals.records == 1


@pytest.mark.parametrize("damage", [b"no digest", b""])
def test_a_damaged_digest_is_a_day_that_is_named(
    store: ActivityStore, context: Any, damage: bytes
) -> None:
    night(store, FIRST, call("a", FIRST))
    night(store, LAST, call("b", LAST))
    whole = store.get(digest_key(LAST, MEMBER))
    store.put(digest_key(LAST, MEMBER), damage or whole[:-20])

    days = get(context)["days"]

    assert (days["digest_count"], days["unreadable"]) == (1, [LAST])
    assert days["missing"] == ["2026-11-19"]
    assert stored(store).totals.records == 1


def test_not_one_digest_is_unknown_and_not_a_principal_that_did_nothing(
    store: ActivityStore, context: Any
) -> None:
    night(store, LAST, call("a", LAST), account="444455556666")

    with pytest.raises(ActivityMissingError, match=f"{MEMBER} has no nightly digest"):
        get(context)


def test_a_route_without_it_reads_nothing(aws: FakeAws, context: Any) -> None:
    assert get(context, "access-analyzer") == {}
    assert aws.attempts == []


def test_an_s3_that_fails_is_asked_again(store: ActivityStore, aws: FakeAws, context: Any) -> None:
    night(store, LAST, call("a", LAST))
    aws.fail("s3:GetObject", "InternalError", 500)

    with pytest.raises(AwsServiceError):
        get(context)
