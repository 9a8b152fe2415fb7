from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail.deduplicate import Seen, event_keys
from pare.cloudtrail.digest import DUPLICATE
from tests.unit.cloudtrail.records import (
    as_bytes,
    assert_consistent,
    copy_of,
    delivered,
    digest,
    event_id,
    merged,
    record,
    role_session,
    uses,
)


def events(*numbers: int) -> list[str]:
    return [event_id(each) for each in numbers]


def test_a_uuid_is_its_own_key() -> None:
    one = uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")
    assert event_keys([str(one)]) == (one.bytes,)
    assert event_keys([str(one).upper()]) == (one.bytes,)
    assert event_keys([]) == ()


ODD_IDS = [
    "f" * 36,
    "0" * 36,
    "-" * 36,
    "_".join(["0"] * 18) + "0",
    "+" + "0" * 35,
    "0x" + "0" * 34,
    " " * 36,
    "\ud800" * 36,
    "é" * 36,
    "",
    "a",
    "1",
    "00000000-0000-0000-0000-00000000000",
    "00000000-0000-0000-0000-0000000000001",
    "0000000000000000000000000000000000--",
    "00000000-0000-0000-0000-00000000000é",
    "00000000-0000-0000-0000-00000000000 ",
]


@given(
    st.lists(
        st.uuids().map(str)
        | st.sampled_from(ODD_IDS)
        | st.text(max_size=40)
        | st.from_regex(r"[0-9a-fA-F_x+ -]{36}", fullmatch=True),
        max_size=5,
    )
)
def test_the_key_of_an_id_is_16_bytes_long_whatever_it_is(ids: list[str]) -> None:
    keys = event_keys(ids)
    assert len(keys) == len(ids)
    assert all(len(key) == 16 for key in keys)


def test_the_key_of_an_id_does_not_depend_on_the_ids_beside_it() -> None:
    # Together they are as long as two UUIDs.
    beside = ["f" * 36, "0" * 28 + "-" * 8]
    assert event_keys(beside) == tuple(event_keys([each])[0] for each in beside)


def test_odd_ids_are_told_apart() -> None:
    assert len({event_keys([each])[0] for each in ODD_IDS}) == len(ODD_IDS)
    seen = Seen()
    assert seen.repeated(ODD_IDS) is None
    assert len(Seen.from_bytes(seen.to_bytes())) == len(ODD_IDS)


def test_the_positions_of_repeated_events_are_told() -> None:
    seen = Seen()
    assert seen.repeated(events(1, 2, 3)) is None
    assert seen.repeated(events(4, 5)) is None
    assert seen.repeated(events(6, 2, 7, 7, 5)) == [1, 3, 4]
    assert seen.repeated([]) is None
    assert seen.repeated(events(1, 2, 3, 4, 5, 6, 7)) == list(range(7))
    assert len(seen) == 7


def test_event_ids_survive_as_bytes() -> None:
    seen = Seen()
    seen.repeated(events(3, 1, 2))
    content = seen.to_bytes()
    assert len(content) == 48
    again = Seen.from_bytes(content)
    assert again.to_bytes() == content
    assert again.repeated(events(2, 9)) == [0]
    assert Seen.from_bytes(b"").to_bytes() == b""


@pytest.mark.parametrize("size", [1, 15, 17])
def test_bytes_that_are_no_event_ids_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        Seen.from_bytes(bytes(size))


def test_memory_is_bounded_and_what_is_forgotten_is_counted() -> None:
    seen = Seen(max_events=100)
    most = 0
    for start in range(0, 10_000, 10):
        assert seen.repeated(events(*range(start, start + 10))) is None
        most = max(most, len(seen))
    assert most <= 120
    assert seen.forgotten + len(seen) == 10_000
    assert seen.repeated(events(9_999, 9_950)) == [0, 1]
    assert seen.repeated(events(0)) is None


def test_duplicates_are_not_counted_as_forgotten() -> None:
    seen = Seen(max_events=100)
    for start in range(0, 1000, 10):
        some = events(*range(start, start + 10))
        assert seen.repeated(some) is None
        assert seen.repeated(some) == list(range(10))
    assert seen.forgotten + len(seen) == 1000


def test_an_event_delivered_twice_counts_once() -> None:
    files = {
        "a.json": delivered(record(1), record(2)),
        "b.json": delivered(record(2), record(3), record(3)),
        "c.json": delivered(record(1), record(2)),
    }
    activity = digest(files)
    assert activity.totals.ignored == {DUPLICATE: 4}
    assert activity.totals.used == 3
    assert_consistent(activity, records=7)
    (use,) = uses(activity)
    assert use["count"] == 3
    backwards = digest(dict(reversed(files.items())))
    assert as_bytes(backwards) == as_bytes(activity)


def test_records_without_an_id_cannot_be_told_apart_and_each_counts() -> None:
    nameless = record(eventID=...)
    activity = digest([nameless, nameless, record(1, eventID=None), record(2)])
    assert activity.totals.used == 4
    assert activity.totals.ignored == {}


def test_a_duplicate_in_a_later_part_is_known_by_the_ids_that_were_kept() -> None:
    def part(seen: Seen, name: str, *events: int) -> object:
        return digest({name: delivered(*(record(e) for e in events))}, seen=seen)

    seen = Seen()
    monday = digest({"a.json": delivered(record(1), record(2))}, seen=seen)
    later = Seen.from_bytes(seen.to_bytes())
    tuesday = digest({"b.json": delivered(record(2), record(3))}, seen=later)
    assert tuesday.totals.ignored == {DUPLICATE: 1}
    assert_consistent(tuesday, records=2)
    whole = digest(
        {"a.json": delivered(record(1), record(2)), "b.json": delivered(record(2), record(3))}
    )
    assert as_bytes(merged([copy_of(monday), copy_of(tuesday)])) == as_bytes(whole)
    assert as_bytes(merged([tuesday, monday])) == as_bytes(whole)


def test_the_first_and_last_time_and_file_come_from_either_copy() -> None:
    def files(*names: str) -> dict[str, bytes]:
        return {name: delivered(record(1)) for name in names}

    assert as_bytes(digest(files("b.json", "a.json"))) == as_bytes(
        digest(files("a.json", "b.json"))
    )
    (use,) = uses(digest(files("b.json", "a.json")))
    assert use["file"] == "a.json"


def test_a_session_is_not_counted_twice_either() -> None:
    activity = digest([record(1, userIdentity=role_session("ann"))] * 3)
    (principal,) = activity.principals
    assert activity.principals[principal].sessions.names == {"ann": 1}
