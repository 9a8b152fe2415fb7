from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from pare.aws.activity_store import ActivityStore, digest_key
from pare.errors import ActivityConflictError, EvidenceError
from tests.handlers.fake_aws import BUCKET

DAY, ACCOUNT = "2026-11-20", "111122223333"


@pytest.fixture
def store(evidence: Any) -> ActivityStore:
    return ActivityStore(evidence.s3, BUCKET)


def body(*objects: str) -> bytes:
    return gzip.compress(json.dumps({"line": "header", "objects": objects}).encode() + b"\nmore\n")


def test_a_digest_is_committed_once_and_replaced_by_who_has_read_it(store: ActivityStore) -> None:
    store.commit(DAY, ACCOUNT, body("a"), replacing=None, seen="first")
    first = store.committed(DAY, ACCOUNT)
    assert first is not None
    assert (first.seen, first.objects()) == ("first", {"a"})

    store.commit(DAY, ACCOUNT, body("a", "b"), replacing=first, seen="second")

    second = store.committed(DAY, ACCOUNT)
    assert second is not None
    assert (second.seen, second.objects()) == ("second", {"a", "b"})
    for stale in (None, first):
        with pytest.raises(ActivityConflictError, match=DAY):
            store.commit(DAY, ACCOUNT, body("c"), replacing=stale, seen="third")
    assert store.committed(DAY, ACCOUNT) == second


def test_a_digest_that_was_deleted_meanwhile_is_a_conflict(store: ActivityStore) -> None:
    store.commit(DAY, ACCOUNT, body("a"), replacing=None, seen="first")
    read = store.committed(DAY, ACCOUNT)
    store.s3.delete_object(Bucket=BUCKET, Key=digest_key(DAY, ACCOUNT))

    with pytest.raises(ActivityConflictError):
        store.commit(DAY, ACCOUNT, body("b"), replacing=read, seen="second")


def test_accounts_with_a_digest_and_complete_days_are_listed(store: ActivityStore) -> None:
    assert store.accounts_with_digest(DAY) == set()
    for account_id in (ACCOUNT, "444455556666"):
        store.commit(DAY, account_id, body(), replacing=None, seen="")
    store.commit("2026-11-2", ACCOUNT, body(), replacing=None, seen="")
    store.complete(DAY, "run")

    assert store.accounts_with_digest(DAY) == {ACCOUNT, "444455556666"}
    assert store.complete_dates() == {DAY}


def test_ids_are_named_by_what_they_are(store: ActivityStore) -> None:
    first = store.put_seen(DAY, ACCOUNT, b"0" * 16)
    second = store.put_seen(DAY, ACCOUNT, b"1" * 16)

    assert first != second
    assert store.get_seen(DAY, ACCOUNT, first) == b"0" * 16
    assert store.get_seen(DAY, ACCOUNT, "gone") is None
    assert store.get_seen(DAY, ACCOUNT, "") is None


def test_what_is_not_there_is_none_or_an_error(store: ActivityStore) -> None:
    store.put("there", b"x")

    assert store.committed(DAY, ACCOUNT) is None
    assert store.unread(DAY, ACCOUNT) == {}
    assert store.get_all(["there", "not"]) == [b"x", None]
    with pytest.raises(EvidenceError, match="not is not there"):
        store.get("not")
