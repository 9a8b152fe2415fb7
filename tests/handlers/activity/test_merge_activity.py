from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.activity.digest_logs import lambda_handler as digest_logs
from lambdas.activity.merge_activity import lambda_handler
from pare.errors import ActivityConflictError
from tests.handlers.activity.conftest import record
from tests.handlers.activity.steps import NIGHT, bodies, digest, items, listed, read, run
from tests.handlers.fake_aws import BUCKET, MEMBER

if TYPE_CHECKING:
    from pare.aws.activity_store import ActivityStore
    from tests.handlers.activity.conftest import Trail
    from tests.handlers.fake_aws import FakeAws

DAY, NEXT_DAY = "2026-11-19", "2026-11-20"


def item_of(store: ActivityStore, context: Any, name: str) -> Any:
    (item,) = items(store, listed(context, NIGHT, name))
    return item


def test_an_account_and_day_has_one_digest_that_names_its_files(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    keys = {trail.put(DAY, record("a")), trail.put(DAY, record("b"))}
    trail.put(NEXT_DAY, record("c"))
    state = read(context, item_of(store, context, "night-1"))

    assert state["merged"] == {"account_id": MEMBER, "dates": [DAY, NEXT_DAY]}
    assert bodies(store).keys() == {
        f"activity/date={day}/account={MEMBER}/part.ndjson.gz" for day in (DAY, NEXT_DAY)
    }
    assert digest(store, DAY).objects == keys
    assert digest(store, DAY).totals.used == 2
    committed = store.committed(DAY, MEMBER)
    assert committed is not None
    assert committed.objects() == keys
    seen = store.get_seen(DAY, MEMBER, committed.seen)
    assert seen is not None
    assert len(seen) == 2 * 16


def test_a_late_file_adds_what_is_new_in_it_and_nothing_twice(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put(DAY, record("a"), record("b"))
    run(context, store)
    trail.put(DAY, record("b"), record("c"))

    run(context, store, name="night-2")

    totals = digest(store, DAY).totals
    assert (totals.files, totals.records, totals.used) == (2, 4, 3)
    assert totals.ignored == {"duplicate of an event already counted": 1}
    # The ids of both nights are known to the third.
    trail.put(DAY, record("a"), record("c"), record("d"))
    run(context, store, name="night-3")
    assert digest(store, DAY).totals.used == 4


def test_a_retried_step_changes_nothing(trail: Trail, store: ActivityStore, context: Any) -> None:
    trail.put(DAY, record("a"))
    state: Any = read(context, item_of(store, context, "night-1"))
    before = bodies(store)

    assert lambda_handler(state, context)["dates"] == [DAY]
    assert bodies(store) == before


def test_a_commit_whose_answer_was_lost_is_not_counted_twice(
    trail: Trail, store: ActivityStore, context: Any, aws: FakeAws
) -> None:
    trail.put(DAY, record("a"))
    state: Any = dict(item_of(store, context, "night-1"))
    state["digested"] = digest_logs(state, context)
    aws.lose_answer("s3:PutObject", times=2)  # ids, digest: the SDK sends each again

    try:
        lambda_handler(state, context)
    except ActivityConflictError:
        read(context, {key: state[key] for key in ("account_id", "logs", "prefix")})

    assert digest(store, DAY).totals.used == 1


def test_files_that_another_run_has_read_in_part_are_a_conflict(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    trail.put(DAY, record("a"))
    first = item_of(store, context, "first")
    trail.put(DAY, record("b"))
    both: Any = dict(item_of(store, context, "both"))
    both["digested"] = digest_logs(both, context)
    read(context, first)
    before = bodies(store)

    with pytest.raises(ActivityConflictError, match=DAY):
        lambda_handler(both, context)

    assert bodies(store) == before
    # As the workflow does: its Catch leaves the error where the progress was.
    both["digested"] = {"Error": "ActivityConflictError", "Cause": ""}
    read(context, both)
    assert digest(store, DAY).totals.used == 2


def test_a_digest_written_between_reading_and_writing_is_a_conflict(
    trail: Trail, store: ActivityStore, context: Any, aws: FakeAws
) -> None:
    trail.put(DAY, record("a"))
    state: Any = dict(item_of(store, context, "night-1"))
    state["digested"] = digest_logs(state, context)
    aws.fail("s3:PutObject", "PreconditionFailed", 412, when=lambda p: "IfNoneMatch" in p)

    with pytest.raises(ActivityConflictError):
        lambda_handler(state, context)


def test_the_ids_are_there_before_the_digest_that_names_them(
    trail: Trail, store: ActivityStore, context: Any, aws: FakeAws
) -> None:
    trail.put(DAY, record("a"))
    state: Any = dict(item_of(store, context, "night-1"))
    state["digested"] = digest_logs(state, context)
    aws.fail("s3:PutObject", "AccessDenied", 403, when=lambda p: "/seen/" in p["Key"])

    with pytest.raises(Exception, match="AccessDenied"):
        lambda_handler(state, context)

    assert bodies(store) == {}
    assert store.bucket == BUCKET


def test_the_merged_days_equal_all_files_read_at_once(
    trail: Trail, store: ActivityStore, context: Any
) -> None:
    import io

    from pare.cloudtrail.activity import Activity
    from pare.cloudtrail.activity_file import write_activity
    from pare.cloudtrail.digest import Digest

    keys = [
        trail.put(day, record(f"{day}-{n}", name=name), record(f"{day}-{n - 1}", name=name))
        for day in ("2026-11-18", DAY, NEXT_DAY)
        for n, name in enumerate(("ListBuckets", "GetBucketPolicy", "NoSuchThing"))
    ]
    run(context, store)
    merged = Activity()
    for day in ("2026-11-18", DAY, NEXT_DAY):
        merged.merge(digest(store, day))
    direct = Digest()
    for key in keys:
        direct.add_file(key, trail.get(key))
    whole = direct.activity()
    whole.objects = set(keys)

    def written(activity: Activity) -> bytes:
        file = io.BytesIO()
        write_activity(activity, file)
        return file.getvalue()

    assert written(merged) == written(whole)
