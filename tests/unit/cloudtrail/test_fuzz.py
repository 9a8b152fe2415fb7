"""Anything at all goes in: nothing crashes, nothing hangs, no record loses its place."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pare.cloudtrail import reader
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    ONE_OF_EACH,
    Json,
    as_bytes,
    assert_consistent,
    by_lines,
    delivered,
    digest,
    fates,
    packed,
    record,
    role_session,
    user,
)

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# msgspec cannot read lone surrogates, which no delivered file holds: those are tested by name.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["*", "?", "arn:aws:s3:::*", 'a"b', "a\nb", "\x00", "${aws:username}", "=1+1", "x" * 5000,
     "arn:aws:iam::111122223333:role/*", "arn:" * 50, ":" * 50, "/" * 500, "AROA:", ":x"]
)  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
times = st.sampled_from(
    ["2026-11-21T10:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "-1", "2026-11-21",
     "2026-11-21T10:00:00.5+14:00", "0001-01-01T00:00:00+14:00", "292278994-08-17T07:12:55Z", ""]
)  # fmt: skip
identities = st.sampled_from([role_session(), user(), None, {}]) | st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["AssumedRole", "IAMUser", "Root", "FederatedUser", "AWSService", "AWSAccount",
             "SAMLUser", "WebIdentityUser", "IdentityCenterUser", "Unknown", "Role", "X"]
        ) | json_values,
        "arn": texts | json_values,
        "principalId": texts | json_values,
        "accountId": st.sampled_from([ACCOUNT, "", "x"]) | json_values,
        "invokedBy": texts | json_values,
        "userName": texts,
        "identityProvider": texts,
        "sessionContext": json_values | st.builds(
            lambda issuer: {"sessionIssuer": issuer},
            st.dictionaries(
                st.sampled_from(["type", "arn", "principalId", "accountId"]), texts | json_values
            ),
        ),
        "onBehalfOf": json_values | st.fixed_dictionaries({"userId": texts}),
    },
)  # fmt: skip
fields = st.fixed_dictionaries(
    {},
    optional={
        "userIdentity": identities | json_values,
        "eventTime": times | json_values,
        "eventSource": st.sampled_from(
            ["s3.amazonaws.com", "iam.amazonaws.com", "lambda.amazonaws.com", "x", ""]
        ) | texts | json_values,
        "eventName": st.sampled_from(
            ["GetObject", "PutObject", "ListUsers", "CreateFunction20150331", "CopyObject",
             "RunInstances", "PassRole", "DeleteObjects"]
        ) | texts | json_values,
        "awsRegion": texts | json_values,
        "errorCode": st.sampled_from(["AccessDenied", "NoSuchKey", "ExpiredToken"]) | json_values,
        "eventID": texts | json_values,
        "eventType": st.sampled_from(["AwsApiCall", "AwsServiceEvent"]) | json_values,
        "eventCategory": st.sampled_from(["Management", "Data", "Insight"]) | json_values,
        "recipientAccountId": texts | json_values,
        "sharedEventID": texts | json_values,
        "requestParameters": json_values | st.fixed_dictionaries(
            {},
            optional={
                "bucketName": texts | json_values, "key": texts | json_values,
                "role": texts | json_values, "functionName": texts | json_values,
                "userName": texts | json_values, "versionId": json_values,
                "x-amz-copy-source": texts | json_values, "instancesSet": json_values,
                "iamInstanceProfile": json_values,
            },
        ),
        "responseElements": json_values,
        "resources": json_values | st.lists(
            st.dictionaries(st.sampled_from(["ARN", "ARNPrefix", "accountId", "type"]), texts)
            | json_values, max_size=3,
        ),
    },
)  # fmt: skip


@st.composite
def mutated_records(draw: st.DrawFn) -> Json:
    """Return a good record with any fields changed to anything, and any others taken away."""
    changed = record(draw(st.integers(0, 5))) | draw(fields)
    for name in draw(st.lists(st.sampled_from(sorted(changed)), max_size=2)):
        changed.pop(name, None)
    return changed


@FUZZ
@given(st.lists(mutated_records() | json_values, max_size=8))
def test_records_of_any_shape_have_their_place(records: list[Any]) -> None:
    content = json.dumps({"Records": records}).encode()
    activity = digest({"a.json": content, "good.json": delivered(record(900))})
    assert_consistent(activity, records=len(records) + 1)
    assert activity.totals.used >= 1
    assert activity.totals.unreadable_files == {}
    for form in (packed(content), json.dumps(records).encode()):
        again = digest({"a.json": form, "good.json": delivered(record(900))})
        assert fates(again) == fates(activity)


@FUZZ
@given(st.lists(mutated_records(), max_size=8, unique_by=lambda each: str(each.get("eventID"))))
def test_the_way_a_file_is_read_changes_no_count(records: list[Json]) -> None:
    whole = digest({"a.json": delivered(*records)})
    lines = digest({"a.json": by_lines(*records)})
    joined = digest({"a.json": b"".join(json.dumps(each).encode() for each in records)})
    if records:
        assert fates(lines) == fates(joined) == fates(whole)
    assert as_bytes(lines).count(b"\n") == as_bytes(joined).count(b"\n")


@FUZZ
@given(
    st.lists(
        mutated_records(), min_size=2, max_size=8, unique_by=lambda each: str(each.get("eventID"))
    )
)
def test_the_order_of_any_records_changes_nothing(records: list[Json]) -> None:
    assert as_bytes(digest(records)) == as_bytes(digest(records[::-1]))


GOOD = delivered(*ONE_OF_EACH, *(record(100 + n, userAgent=f"{n}") for n in range(5)))
FORMS = {
    "delivered": GOOD,
    "gzip": packed(GOOD),
    "NDJSON": by_lines(*ONE_OF_EACH, *(record(100 + n) for n in range(5))),
    "pretty": json.dumps(json.loads(GOOD), indent=1).encode(),
    "two members": packed(GOOD) + packed(delivered(record(200))),
    "UTF-16": GOOD.decode().encode("utf-16"),
}


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """Return a good file that is cut, flipped, doubled, overwritten or joined with another."""
    content = bytearray(FORMS[draw(st.sampled_from(sorted(FORMS)))])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        how = draw(
            st.sampled_from(["cut", "flip", "insert", "overwrite", "double", "drop", "swap"])
        )
        if how == "cut":
            del content[at:]
        elif how == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            content[at:at] = draw(
                st.sampled_from([b'"', b"{", b"]", b"\\", b"\x00", b"\xff", b"\n", b"[" * 2000])
            )
        elif how == "overwrite":
            content[at : at + 20] = draw(st.binary(max_size=20))
        elif how == "double":
            content += content[at:]
        elif how == "drop":
            del content[at : at + draw(st.integers(1, 200))]
        else:
            content = content[at:] + content[:at]
    return bytes(content)


@settings(FUZZ, max_examples=200)
@given(mutated_files(), st.sampled_from([None, 64, 500]))
def test_a_damaged_file_takes_no_other_with_it(content: bytes, block_bytes: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if block_bytes is not None:
            patch.setattr(reader, "BLOCK_BYTES", block_bytes)
        good = {"good.json": delivered(*(record(900 + n) for n in range(3)))}
        activity = digest({"damaged.json": content, **good})
    assert_consistent(activity)
    assert activity.totals.used >= 3
    assert activity.totals.files == 2
    if activity.totals.records < 3 + 11 and not content.replace(b"\0", b"").endswith(b"]}"):
        # Otherwise it may be whole JSON again, of fewer records.
        assert "damaged.json" in activity.problem_files


@settings(FUZZ, max_examples=120)
@given(
    st.binary(max_size=300)
    | st.text(alphabet='{}[]",:\\ \nRecords019tru', max_size=100).map(str.encode)
)
def test_any_bytes_are_told_or_read(content: bytes) -> None:
    for stored in (content, b"\x1f\x8b" + content, packed(content)):
        activity = digest({"any": stored, "good.json": delivered(record(900))})
        assert_consistent(activity)
        assert activity.totals.used >= 1
        assert activity.totals.files + sum(activity.totals.skipped_files.values()) == 2
        if activity.totals.records == 1 and not activity.totals.skipped_files:
            empty = json.loads(content) if _is_json(content) else None
            assert (
                "any" in activity.problem_files
                or empty in ([], {"Records": []})
                or b"Records" in content
            )


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_bits_flipped_anywhere_in_a_packed_file_are_noticed(seed: int) -> None:
    content = FORMS["gzip"]
    rng = random.Random(seed)
    for _ in range(60):
        changed = bytearray(content)
        # The time and the operating system in the header are for people.
        at = rng.choice([2, *range(10, len(content))])
        changed[at] ^= 1 << rng.randrange(8)
        activity = digest({"damaged.json.gz": bytes(changed)})
        assert_consistent(activity)
        assert "damaged.json.gz" in activity.problem_files
