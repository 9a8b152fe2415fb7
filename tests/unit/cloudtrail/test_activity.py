from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.cloudtrail import activity as activity_module
from pare.cloudtrail import digest as digest_module
from pare.cloudtrail.activity import Activity, Asked, Group, Sessions, Use, fold
from pare.cloudtrail.deduplicate import Seen
from pare.cloudtrail.digest import DUPLICATE
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    DENIED,
    OTHER_ACCOUNT,
    REGION,
    Json,
    as_bytes,
    assert_consistent,
    copy_of,
    delivered,
    digest,
    fates,
    header,
    lines,
    merged,
    record,
    role_session,
    s3_get,
    user,
    uses,
)

if TYPE_CHECKING:
    import random

# --- Folding ---

ARNS = [
    "*",
    "",
    "orders",
    "arn:aws:s3:::orders",
    "arn:aws:s3:::orders/a",
    "arn:aws:s3:::orders/a/b",
    "arn:aws:s3:::orders/a/b/c",
    "arn:aws:s3:::orders/a/b/*",
    "arn:aws:s3:::orders/a/*",
    "arn:aws:s3:::orders/a\nb/c:d/e",
    "arn:aws:s3:::orders//",
    "arn:aws:s3:::other/x:y",
    "arn:aws:s3:::/",
    "arn:aws:s3:::",
    "arn:aws-cn:s3:::orders",
    f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders",
    f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/index/by-date",
    f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:shop",
    f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:shop:live",
    f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/shop:log-stream:2026/11/21/x",
    f"arn:aws:sns:{REGION}:{ACCOUNT}:topic",
    f"arn:aws:iam::{ACCOUNT}:role/a/b/c",
    "arn:*",
    "arn:aws:s3:*",
]
DEPTHS = range(-2, 8)


@pytest.mark.parametrize("arn", ARNS)
def test_folding_twice_is_folding_to_the_smaller_depth(arn: str) -> None:
    for first, second in itertools.product(DEPTHS, DEPTHS):
        assert fold(fold(arn, first), second) == fold(arn, min(first, second))


@given(st.lists(st.sampled_from("ab/:*-"), max_size=12).map("".join), st.data())
def test_folding_any_name_twice_is_folding_it_once(name: str, data: st.DataObject) -> None:
    arn = f"arn:aws:s3:::{name}"
    first, second = (data.draw(st.sampled_from(DEPTHS)) for _ in range(2))
    assert fold(fold(arn, first), second) == fold(arn, min(first, second))


def test_what_folding_gives_is_said_by_depth() -> None:
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/shop"
    assert [fold(arn, depth) for depth in (9, 2, 0, -1, -2)] == [
        arn,
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/*",
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*",
        "arn:aws:logs:*",
        "arn:*",
    ]


resources = st.sampled_from([*ARNS, None]) | st.builds(
    "arn:aws:s3:::b{}/{}/{}".format, st.integers(0, 3), st.integers(0, 9), st.integers(0, 9)
)


@settings(max_examples=200)
@given(st.lists(resources, max_size=40), st.integers(3, 8), st.randoms(use_true_random=False))
def test_a_group_depends_on_its_resources_not_on_their_order_or_grouping(
    found: list[str | None], limit: int, rng: random.Random
) -> None:
    def group(some: list[str | None]) -> Group:
        made = Group()
        for resource in some:
            made.add(resource, Use(own=1))
        return made

    def said(group: Group) -> Any:
        return group.depth, {resource: use.own for resource, use in group.uses.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity_module, "MAX_RESOURCES", limit)
        whole = group(found)
        assert len(whole.uses) <= limit
        assert sum(use.own for use in whole.uses.values()) == len(found)
        if len(set(found)) <= limit:
            assert whole.depth is None
        shuffled = found[:]
        rng.shuffle(shuffled)
        assert said(group(shuffled)) == said(whole)
        parts: list[list[str | None]] = [[], [], []]
        for resource in shuffled:
            rng.choice(parts).append(resource)
        left, right = Group(), group(parts[0])
        for part in parts:
            left.merge(group(part))
        tail = group(parts[1])
        tail.merge(group(parts[2]))
        right.merge(tail)
        assert said(left) == said(whole)
        assert said(right) == said(whole)


@given(
    st.lists(st.integers(0, 30), max_size=60), st.integers(1, 6), st.randoms(use_true_random=False)
)
def test_sessions_depend_on_their_names_not_on_their_order_or_grouping(
    names: list[int], limit: int, rng: random.Random
) -> None:
    def sessions(some: list[int]) -> Sessions:
        made = Sessions()
        for name in some:
            made.add(f"s{name}", 1)
        made.trim()
        return made

    def said(sessions: Sessions) -> Any:
        return sessions.more, sessions.names

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity_module, "MAX_SESSIONS", limit)
        whole = sessions(names)
        assert len(whole.names) == min(limit, len(set(names)))
        assert whole.more is (len(set(names)) > limit)
        assert all(count == names.count(int(name[1:])) for name, count in whole.names.items())
        shuffled = names[:]
        rng.shuffle(shuffled)
        third = len(names) // 3
        a, b, c = shuffled[:third], shuffled[third : 2 * third], shuffled[2 * third :]
        left = Sessions()
        for part in (a, b, c):
            left.merge(sessions(part))
        right = sessions(b)
        right.merge(sessions(c))
        right.merge(sessions(a))
        assert said(left) == said(whole)
        assert said(right) == said(whole)


def test_names_of_unreadable_files_are_bounded_and_which_are_kept_depends_on_no_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(activity_module, "MAX_NAMES", 3)
    files = {f"{n}.json": b"no" for n in range(8)} | {"3.json": b""}
    parts = [digest({name: content}) for name, content in files.items()]
    whole = digest(files)
    assert sorted(whole.problem_files) == ["0.json", "1.json", "2.json"]
    assert whole.totals.unreadable_files == {"not a CloudTrail record": 7, "empty file": 1}
    for order in (parts, parts[::-1], parts[4:] + parts[:4]):
        assert as_bytes(merged(order)) == as_bytes(whole)


def test_a_file_with_two_problems_is_named_with_the_first_in_the_alphabet() -> None:
    one, other = Activity(), Activity()
    one.name_problem("a", "x")
    other.name_problem("a", "b")
    assert merged([one, other]).problem_files == merged([other, one]).problem_files == {"a": "b"}


def test_what_was_asked_of_parts_is_all_kept() -> None:
    one, other = Activity(), Activity()
    one.asked.add(Asked("2026-11-01T00:00:00Z"))
    other.asked.add(Asked(principals=("a", "b"), accounts=("1",)))
    one.objects.add("k1")
    other.objects.add("k2")
    both = merged([one, other])
    assert as_bytes(both) == as_bytes(merged([other, one]))
    assert copy_of(both).asked == one.asked | other.asked
    assert copy_of(both).objects == {"k1", "k2"}


# --- The sum of parts is the whole, byte for byte ---

SESSIONS = [role_session(f"pod-{n}") for n in range(6)]
IDENTITIES: list[Json | None] = [
    *SESSIONS,
    user(),
    user(f"arn:aws:iam::{ACCOUNT}:user/bob", principalId="AIDABOB"),
    role_session(sessionContext=None),
    {"type": "AWSService", "invokedBy": "autoscaling.amazonaws.com"},
    {"type": "AWSAccount", "principalId": "AIDAOTHER", "accountId": OTHER_ACCOUNT},
    user(accountId=OTHER_ACCOUNT),
    None,
]
CALLS: list[Json] = [
    *({"requestParameters": {"bucketName": "b", "key": f"{n % 3}/{n}"}} for n in range(9)),
    {"requestParameters": {"bucketName": "b"}},
    {"requestParameters": None},
    {"requestParameters": "text"},
    {"errorCode": "NoSuchKey"},
    {"errorCode": "AccessDenied"},
    {"errorCode": "ExpiredToken"},
    {"eventName": "NothingOfTheKind"},
    {"eventSource": "sts.amazonaws.com", "eventName": "GetCallerIdentity"},
    {"eventSource": "iam.amazonaws.com", "eventName": "ListUsers", "awsRegion": "us-east-1"},
    {
        "eventSource": "dynamodb.amazonaws.com",
        "eventName": "GetItem",
        "requestParameters": {"tableName": "orders"},
    },
    {
        "eventSource": "lambda.amazonaws.com",
        "eventName": "CreateFunction20150331",
        "requestParameters": {"functionName": "f", "role": f"arn:aws:iam::{ACCOUNT}:role/x/y"},
    },
    {"eventType": "AwsServiceEvent"},
    {"eventName": None},
    {"eventCategory": "Data"},
    {"sharedEventID": "1e5b0b1c-0000-4000-8000-000000000000"},
    {
        "sharedEventID": "1e5b0b1c-0000-4000-8000-000000000000",
        "recipientAccountId": OTHER_ACCOUNT,
    },
    {"recipientAccountId": None},
    {"eventID": None},
    {"eventName": "x" * 20_000},
]
TIMES = [
    "2026-11-21T10:00:00Z",
    "2026-11-21T10:00:01Z",
    "2026-11-20T23:59:59Z",
    "2026-11-21T11:00:00+01:00",
    "2026-11-21T10:00:00.999Z",
    None,
    "no time",
    "",
]


@st.composite
def record_sets(draw: st.DrawFn) -> list[Json]:
    """Return records of all kinds; some of them twice."""
    made = [
        record(
            number,
            **{
                "userIdentity": draw(st.sampled_from(IDENTITIES)),
                "eventTime": draw(st.sampled_from(TIMES)),
                **draw(st.sampled_from(CALLS)),
            },
        )
        for number in range(draw(st.integers(1, 30)))
    ]
    return made + draw(st.lists(st.sampled_from(made), max_size=5))


def shrink_digest(patch: pytest.MonkeyPatch, size: int) -> None:
    """Make what the hot loop holds at once so small that it is emptied all the time."""
    bounds = [
        name
        for name, value in vars(digest_module).items()
        if name.startswith("_MAX_") and name.endswith(("ENTRIES", "ROWS")) and type(value) is int
    ]
    assert bounds, "the bounds have other names now"
    for name in bounds:
        patch.setattr(digest_module, name, size)


def check_merge(records: list[Json], rng: random.Random) -> None:
    """Check that files cut anyhow, in any order and any parts, give what one pass gives."""
    shuffled = records[:]
    rng.shuffle(shuffled)
    files: dict[str, list[Json]] = {}
    for each in shuffled:
        files.setdefault(f"{rng.randrange(6)}.json", []).append(each)
    contents = {name: delivered(*some) for name, some in sorted(files.items())}
    contents |= {"broken.json": b"no", "empty.json": b""}
    whole = digest(contents)
    assert_consistent(whole, records=len(records))
    # Days: the event ids of the days before are known.
    names = list(contents)
    rng.shuffle(names)
    seen = Seen()
    parts = []
    while names:
        size = rng.randint(1, 3)
        some, names = names[:size], names[size:]
        parts.append(digest({name: contents[name] for name in some}, seen=seen))
        assert_consistent(parts[-1])
        seen = Seen.from_bytes(seen.to_bytes())
    expected = as_bytes(whole)
    assert as_bytes(merged(parts)) == expected
    rng.shuffle(parts)
    assert as_bytes(merged(map(copy_of, parts))) == expected
    middle = rng.randint(0, len(parts))
    assert as_bytes(merged([merged(parts[middle:]), merged(parts[:middle])])) == expected


@settings(max_examples=60, deadline=None)
@given(record_sets(), st.randoms(use_true_random=False))
def test_the_sum_of_parts_is_the_whole_byte_for_byte(
    records: list[Json], rng: random.Random
) -> None:
    check_merge(records, rng)


@settings(max_examples=100, deadline=None)
@given(record_sets(), st.randoms(use_true_random=False))
def test_the_sum_of_parts_is_the_whole_where_everything_is_bounded(
    records: list[Json], rng: random.Random
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(activity_module, "MAX_RESOURCES", 3)
        patch.setattr(activity_module, "MAX_SESSIONS", 2)
        patch.setattr(activity_module, "MAX_NAMES", 2)
        shrink_digest(patch, 2)
        check_merge(records, rng)


@settings(max_examples=40, deadline=None)
@given(record_sets(), st.integers(1, 5))
def test_counting_in_between_changes_nothing(records: list[Json], every: int) -> None:
    """The hot loop empties its tables when they are full; what was counted stays counted."""
    files = {f"{n}.json": delivered(each) for n, each in enumerate(records)}
    whole = as_bytes(digest(files))
    with pytest.MonkeyPatch.context() as patch:
        shrink_digest(patch, every)
        assert as_bytes(digest(files)) == whole


def test_over_long_records_stay_counted_when_the_tables_are_emptied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shrink_digest(monkeypatch, 1)
    files = {
        f"{n}.json": delivered(
            record(n, eventName="x" * 20_000), record(100 + n), DENIED | {"eventID": f"d{n}"}
        )
        for n in range(10)
    }
    activity = digest(files)
    assert_consistent(activity, records=30)
    assert fates(activity) == (10, 10, 0, 0, 10)


def test_a_cross_account_pair_is_one_call() -> None:
    shared = {"sharedEventID": "1e5b0b1c-0000-4000-8000-000000000000"}
    own = record(1, **shared)
    copy = record(2, recipientAccountId=OTHER_ACCOUNT, **shared)
    both = digest([own, copy])
    (use,) = uses(both)
    assert (use["count"], use["copies"]) == (1, 1)
    assert both.totals.used == 2
    assert_consistent(both, records=2)
    (alone,) = uses(digest([copy]))
    assert (alone["count"], alone["copies"], alone["own"]) == (1, 1, 0)
    parts = [digest({"log.json": delivered(own)}), digest({"log.json": delivered(copy)})]
    assert [each["count"] for each in uses(merged(parts))] == [1]
    assert copy_of(merged(parts)).totals.used == 2


def test_many_resources_are_kept_as_prefixes_and_that_is_said() -> None:
    records = [s3_get(n, f"{n % 4}/{n}") for n in range(501)]
    activity = digest(records)
    folded = uses(activity)
    assert {use["folded"] for use in folded} == {2}
    assert {use["resource"] for use in folded} == {f"arn:aws:s3:::orders/{n}/*" for n in range(4)}
    assert sum(use["count"] for use in folded) == 501
    assert len(uses(digest(records[:500]))) == 500
    assert all("folded" not in use for use in uses(digest(records[:500])))


def test_merging_leaves_the_principals_of_one_part_alone() -> None:
    one, other = digest([record(1)]), digest([record(2, userIdentity=user())])
    both = merged([one, other])
    assert [line["principal"] for line in lines(both) if line["line"] == "principal"] == sorted(
        principal.principal for part in (one, other) for principal in part.principals
    )


def test_the_merge_with_nothing_changes_nothing() -> None:
    one = digest([record(1), DENIED])
    assert (
        as_bytes(merged([one, Activity()])) == as_bytes(merged([Activity(), one])) == as_bytes(one)
    )
    assert header(Activity())["records"] == {"total": 0, "used": 0, "denied": 0, "unmapped": 0}


def test_duplicates_across_parts_that_share_their_ids_count_once() -> None:
    seen = Seen()
    parts = [digest({f"{n}.json": delivered(record(1))}, seen=seen) for n in range(3)]
    whole = digest({f"{n}.json": delivered(record(1)) for n in range(3)})
    for order in itertools.permutations(parts):
        assert as_bytes(merged(order)) == as_bytes(whole)
    assert whole.totals.ignored == {DUPLICATE: 2}
