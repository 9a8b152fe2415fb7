from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.activity import digest_logs
from lambdas.activity.digest_logs import lambda_handler
from pare.aws.activity_store import TOO_LATE
from pare.errors import AwsServiceError
from tests.handlers.activity.conftest import obstore_error, record
from tests.handlers.activity.steps import NIGHT, bodies, digest, items, listed, read, run
from tests.handlers.fake_aws import BUCKET, MEMBER

if TYPE_CHECKING:
    from pare.aws.activity_store import ActivityStore
    from tests.handlers.activity.conftest import Trail

DAY, NEXT_DAY = "2026-11-19", "2026-11-20"


@pytest.fixture
def slow(context: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context in which the time is used up after one file."""
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: 1_000)
    return context


def item_of(store: ActivityStore, context: Any, name: str = "night-1") -> Any:
    (item,) = items(store, listed(context, NIGHT, name))
    return item


def test_all_files_are_read_into_one_part(trail: Trail, store: ActivityStore, context: Any) -> None:
    trail.put(DAY, record("a"), record("b"))
    trail.put(NEXT_DAY, record("c"))
    item = item_of(store, context)

    assert lambda_handler(item, context) == {"position": 2, "parts": 1, "is_complete": True}

    folder = f"{item['prefix']}/account={MEMBER}/part=0001"
    assert json.loads(store.get(f"{folder}/part.json")) == {DAY: {}, NEXT_DAY: {}}
    assert len(store.get(f"{folder}/date={DAY}.seen.bin")) == 2 * 16


def test_a_retried_step_writes_the_same(trail: Trail, store: ActivityStore, context: Any) -> None:
    trail.put(DAY, record("a"))
    item = item_of(store, context)

    def written() -> dict[str, bytes]:
        found = store.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{item['prefix']}/account=")
        return {each["Key"]: store.get(each["Key"]) for each in found["Contents"]}

    first = lambda_handler(item, context), written()

    assert (lambda_handler(item, context), written()) == first


def test_what_does_not_fit_into_one_invocation_is_read_by_the_next(
    trail: Trail, store: ActivityStore, slow: Any
) -> None:
    for number in range(3):
        # Every file holds a copy of an event of the one before.
        trail.put(DAY, record(f"{number}"), record(f"{number - 1}"))
    trail.put(NEXT_DAY, record("2"), record("other"))
    state: Any = item_of(store, slow)
    steps: list[Any] = []
    while not steps or not steps[-1]["is_complete"]:
        state = {**state, "digested": lambda_handler(state, slow)}
        steps.append(state["digested"])

    assert [step["position"] for step in steps] == [1, 2, 3, 4]
    read(slow, state)
    assert digest(store, DAY).totals.records == 6
    assert digest(store, DAY).totals.used == 4  # -1, 0, 1, 2
    assert digest(store, NEXT_DAY).totals.used == 1  # "2" was counted the day before


def test_the_same_digests_whether_in_one_invocation_or_many(
    trail: Trail, store: ActivityStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        trail.put(DAY if number < 2 else NEXT_DAY, record(f"{number}"), record("again"))
    run(context, store)
    at_once = bodies(store)
    for key in at_once:
        store.s3.delete_object(Bucket=BUCKET, Key=key)
    monkeypatch.setattr(context, "get_remaining_time_in_millis", lambda: 1_000)
    item = item_of(store, context, "night-2")

    read(context, item)

    assert bodies(store) == at_once


def test_a_broken_file_is_named_and_the_rest_goes_on(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    broken = trail.put(DAY, body=b"\x1f\x8b\x08\x00 not gzip at all")
    trail.put(DAY, record("a"))

    run(context, store)

    activity = digest(store, DAY)
    assert activity.problem_files.keys() == {broken}
    assert (activity.totals.files, activity.totals.used) == (2, 1)
    # It is what it is: nobody reads it again.
    assert broken in activity.objects


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError("no such object"), "not found"),
        (obstore_error("PermissionDeniedError", "403: <Code>AccessDenied</Code>"),
         "access denied (AccessDenied)"),
        (obstore_error("PermissionDeniedError", "403 without a body"), "access denied"),
        (obstore_error("GenericError", "400: <Code>KMS.DisabledException</Code>"),
         "refused (KMS.DisabledException)"),
        (obstore_error("GenericError", "400: <Code>InvalidRequest</Code>"),
         "refused (InvalidRequest)"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_fetched_is_named_and_tried_again_by_the_next_run(
    trail: Trail, store: ActivityStore, context: Any, error: Exception, reason: str
) -> None:
    refused = trail.put(DAY, record("a"))
    trail.put(DAY, record("b"))
    trail.broken[refused] = error

    counted = run(context, store)

    assert store.unread(DAY, MEMBER) == {refused: reason}
    assert counted["unknown"] == [MEMBER]
    assert counted["counts"]["unread_files"] == 1
    assert digest(store, DAY).totals.files == 1
    assert refused not in digest(store, DAY).objects

    del trail.broken[refused]
    counted = run(context, store, name="night-2")

    assert (store.unread(DAY, MEMBER), counted["unknown"]) == ({}, [])
    assert digest(store, DAY).totals.used == 2


def test_s3_that_fails_is_an_error_worth_a_retry(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    key = trail.put(DAY, record("a"))
    trail.broken[key] = obstore_error("GenericError", "500 after 6 retries: <Code>Internal</Code>")

    with pytest.raises(AwsServiceError, match="after 6 retries"):
        lambda_handler(item_of(store, context), context)


def test_an_error_of_our_own_is_not_taken_for_s3s(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    key = trail.put(DAY, record("a"))
    trail.broken[key] = ZeroDivisionError()

    with pytest.raises(ZeroDivisionError):
        lambda_handler(item_of(store, context), context)


def test_an_event_of_the_days_around_counts_once(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put("2026-11-14", record("a"))
    run(context, store, {"first_date": "2026-11-14", "last_date": "2026-11-14"}, "before")
    trail.put(DAY, record("a"), record("b"))

    run(context, store)

    assert digest(store, DAY).totals.used == 1
    assert digest(store, DAY).totals.ignored == {"duplicate of an event already counted": 1}


def test_a_file_that_comes_after_the_ids_are_gone_is_not_read_and_said_so(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put(DAY, record("a"))
    run(context, store)
    before = bodies(store)
    found = store.s3.list_objects_v2(Bucket=BUCKET, Prefix="activity/seen/")["Contents"]
    for each in found:
        store.s3.delete_object(Bucket=BUCKET, Key=each["Key"])
    late = trail.put(DAY, record("a"), record("b"))

    counted = run(context, store, name="night-2")

    assert bodies(store) == before
    assert store.unread(DAY, MEMBER) == {late: TOO_LATE}
    assert counted["unknown"] == [MEMBER]


def test_a_very_busy_account_keeps_its_memory_bounded_and_says_what_it_forgot(
    trail: Trail, store: ActivityStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_logs, "MAX_EVENTS", 4)
    for start in range(0, 12, 3):
        trail.put(DAY, *(record(f"{n}") for n in range(start, start + 3)))

    run(context, store)

    assert digest(store, DAY).totals.used == 12
    assert digest(store, DAY).totals.forgotten_event_ids > 0


def test_objects_are_fetched_side_by_side_and_handed_out_in_order(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    keys = [trail.put(DAY, record(f"{number}")) for number in range(100)]

    run(context, store)

    assert sorted(trail.fetched) == keys
    assert digest(store, DAY).totals.used == 100
