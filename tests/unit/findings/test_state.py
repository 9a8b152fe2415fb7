from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.findings.state import News, how_ended, news, supersedes
from tests.recorded import finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.findings.model import Finding

EARLY, MIDDLE, LATE = (f"2026-11-2{day}T09:00:00Z" for day in (1, 2, 3))
GONE: dict[str, Any] = {"values": (("ended", "DELETED"),)}  # as reconcile says it


def seen(
    updated_at: str = EARLY, status: str = "ACTIVE", *, is_deleted: bool = False, **more: Any
) -> Finding:
    return finding(
        updated_at=updated_at,
        analyzed_at=more.pop("analyzed_at", updated_at),
        status=status,
        is_deleted=is_deleted,
        **more,
    )


def recorded(history: Iterable[Finding]) -> tuple[Finding | None, list[News]]:
    """Return what is recorded in the end, and what people were told on the way."""
    known: Finding | None = None
    told: list[News] = []
    for each in history:
        if supersedes(known, each):
            told.append(news(known, each))
            known = each
    return known, [each for each in told if each != "none"]


# --- What is newer ---


def test_the_first_event_of_a_finding_counts() -> None:
    assert supersedes(None, seen())


def test_a_later_event_counts_and_an_earlier_one_does_not() -> None:
    assert supersedes(seen(EARLY), seen(LATE))
    assert not supersedes(seen(LATE), seen(EARLY))


def test_times_are_compared_as_times_not_as_texts() -> None:
    # "…00.500Z" sorts before "…00Z" as a text.
    assert supersedes(seen("2026-11-21T09:00:00Z"), seen("2026-11-21T09:00:00.500Z"))


@pytest.mark.parametrize("status", ["ACTIVE", "ARCHIVED", "RESOLVED"])
@pytest.mark.parametrize("is_deleted", [True, False])
def test_the_same_event_again_does_not_count(status: str, is_deleted: bool) -> None:
    assert not supersedes(
        seen(status=status, is_deleted=is_deleted), seen(status=status, is_deleted=is_deleted)
    )


@pytest.mark.parametrize("status", ["ACTIVE", "ARCHIVED", "RESOLVED"])
def test_a_deletion_counts_though_it_leaves_status_and_time_as_they_were(status: str) -> None:
    before, deletion = seen(status=status), seen(status=status, is_deleted=True)

    assert supersedes(before, deletion)
    assert not supersedes(deletion, before)


def test_of_one_time_the_further_status_counts() -> None:
    for earlier, later in (
        ("ACTIVE", "ARCHIVED"),
        ("ACTIVE", "RESOLVED"),
        ("ARCHIVED", "RESOLVED"),
    ):
        assert supersedes(seen(status=earlier), seen(status=later))
        assert not supersedes(seen(status=later), seen(status=earlier))


def test_of_one_time_and_status_the_later_analysis_counts() -> None:
    first, again = seen(analyzed_at=EARLY), seen(analyzed_at=LATE, unused_action_count=7)

    assert supersedes(first, again)
    assert not supersedes(again, first)


# --- What people are told ---


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, seen(), "new"),
        (None, seen(status="ARCHIVED"), "none"),
        (None, seen(status="RESOLVED"), "none"),
        (None, seen(is_deleted=True), "none"),
        (seen(), seen(LATE, "ARCHIVED"), "archived"),
        (seen(), seen(LATE, "RESOLVED"), "resolved"),
        (seen(status="ARCHIVED"), seen(LATE, "RESOLVED"), "resolved"),
        (seen(status="ARCHIVED"), seen(LATE), "reopened"),
        (seen(status="RESOLVED"), seen(LATE), "reopened"),
        (seen(), seen(LATE), "none"),
        (seen(), seen(is_deleted=True), "deleted"),
        (seen(status="ARCHIVED"), seen(status="ARCHIVED", is_deleted=True), "deleted"),
        (seen(status="RESOLVED"), seen(status="RESOLVED", is_deleted=True), "none"),
        (seen(is_deleted=True), seen(LATE, is_deleted=True), "none"),
        (seen(is_deleted=True), seen(LATE), "reopened"),
        (seen(is_deleted=True), seen(is_deleted=True, **GONE), "none"),
        (seen(), seen(is_deleted=True, **GONE), "deleted"),
        (seen(is_deleted=True), seen(LATE, "RESOLVED"), "resolved"),
        (seen(), seen(LATE, "RESOLVED", is_deleted=True), "resolved"),
        (seen(status="RESOLVED"), seen(LATE, "ARCHIVED"), "archived"),
    ],
)
def test_people_are_told_what_became_of_a_finding(
    before: Finding | None, after: Finding, told: News
) -> None:
    assert news(before, after) == told


@pytest.mark.parametrize(
    "change",
    [
        {"error": "ACCESS_DENIED"},
        {"is_public": True},
        {"principal": (("AWS", "*"),)},
        {"actions": ("s3:PutObject",)},
        {"condition": (("aws:SourceVpc", "vpc-1"),)},
        {"unused_service_count": 5},
        {"unused_action_count": 99},
    ],
)
def test_people_are_told_where_what_they_act_on_changed(change: dict[str, Any]) -> None:
    assert news(seen(), seen(LATE, **change)) == "changed"


@pytest.mark.parametrize(
    "change",
    [{"owner": "x"}, {"account_name": "x"}, {"unused_services": ("s3",)}, {"unknown": ("x",)}],
)
def test_nobody_is_told_where_only_our_own_reading_changed(change: dict[str, Any]) -> None:
    assert news(seen(), seen(LATE, **change)) == "none"


def test_nobody_is_told_of_a_change_in_what_has_ended() -> None:
    before, after = seen(status="ARCHIVED"), seen(LATE, "ARCHIVED", unused_action_count=99)

    assert news(before, after) == "none"


@pytest.mark.parametrize(
    ("found", "how"),
    [
        (seen(), None),
        (seen(status="RESOLVED"), "RESOLVED"),
        (seen(status="ARCHIVED"), "ARCHIVED"),
        (seen(is_deleted=True), "UNWATCHED"),
        (seen(status="ARCHIVED", is_deleted=True), "UNWATCHED"),
        (seen(is_deleted=True, values=(("ended", "UNWATCHED"),)), "UNWATCHED"),
        (seen(is_deleted=True, **GONE), "DELETED"),
        (seen(status="RESOLVED", is_deleted=True), "RESOLVED"),  # AWS cleans up after 90 days
    ],
)
def test_what_was_deleted_before_it_was_resolved_is_not_closed(
    found: Finding, how: str | None
) -> None:
    assert how_ended(found) == how


def test_that_a_finding_is_gone_says_more_than_that_it_was_deleted() -> None:
    deleted, gone = seen(is_deleted=True), seen(is_deleted=True, **GONE)

    assert supersedes(deleted, gone)
    assert not supersedes(gone, deleted)


# --- A life of a finding, whatever way its events come ---


def test_a_finding_that_was_closed_and_opened_again_is_told_at_each_turn() -> None:
    history = [
        seen(EARLY),
        seen(MIDDLE, "ARCHIVED"),
        seen(LATE),
        seen(LATE, "RESOLVED"),
        seen(LATE, "RESOLVED", is_deleted=True),
    ]

    known, told = recorded(history)

    assert known == history[-1]
    assert told == ["new", "archived", "reopened", "resolved"]


def test_late_and_repeated_events_tell_nothing() -> None:
    known, told = recorded([seen(LATE, "RESOLVED"), seen(EARLY), seen(LATE, "RESOLVED")])

    assert known == seen(LATE, "RESOLVED")
    assert told == []


times = st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z")


@st.composite
def histories(draw: st.DrawFn) -> list[Finding]:
    """Events of one finding; what one analysis at one moment saw is always the same."""
    moments = draw(st.lists(times, min_size=1, max_size=4, unique=True))
    events = draw(
        st.lists(
            st.builds(
                seen,
                st.sampled_from(moments),
                st.sampled_from(["ACTIVE", "ARCHIVED", "RESOLVED"]),
                is_deleted=st.booleans(),
                analyzed_at=st.sampled_from(moments),
            ),
            min_size=1,
            max_size=6,
        )
    )
    return [
        finding(
            **{
                field: getattr(each, field)
                for field in ("updated_at", "analyzed_at", "status", "is_deleted")
            },
            unused_action_count=sum(map(ord, each.updated_at + each.analyzed_at)) % 3,
        )
        for each in events
    ]


@given(st.data())
def test_any_order_with_any_repeats_ends_in_the_same_record(data: st.DataObject) -> None:
    history = data.draw(histories())
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=6))
    shuffled = data.draw(st.permutations([*history, *repeats]))

    assert recorded(shuffled)[0] == recorded(history)[0]


@given(histories())
def test_of_two_events_at_most_one_supersedes_the_other(history: list[Finding]) -> None:
    for one in history:
        for other in history:
            assert not (supersedes(one, other) and supersedes(other, one))
            assert supersedes(one, other) or supersedes(other, one) or one == other
