"""What is unused and may be needed again."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.inventory.season import SeasonTerms, months_kept, season

TODAY = date(2026, 11, 1)
TERMS = SeasonTerms(TODAY, days_to_deletion=90, weeks=3)


def seasonal(*uses: str, terms: SeasonTerms = TERMS) -> bool:
    """Return whether uses, by day or by month, may come again."""
    days = [date.fromisoformat(use) for use in uses if len(use) > 7]
    return season("principal", days, [use for use in uses if len(use) == 7], terms) is not None


def test_a_use_in_the_same_weeks_a_year_ago_says_until_when_to_wait() -> None:
    assert season("principal", [date(2025, 11, 20)], [], TERMS) == {
        "what": "principal",
        "used_on": ["2025-11-20"],
        "expected": "2026-11-20",
        "decide_after": "2026-12-11",
    }


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("2025-10-10", False),
        ("2025-10-11", True),  # its anniversary was three weeks ago
        ("2026-02-20", True),  # 90 days and three weeks from now
        ("2026-02-21", False),
        ("2024-11-20", False),  # it was not used again a year later
        ("2026-07-01", False),
    ],
)
def test_an_anniversary_counts_from_weeks_ago_until_it_could_be_deleted(
    use: str, expected: bool
) -> None:
    assert seasonal(use) is expected


def test_a_month_of_use_may_be_any_day_of_it() -> None:
    found = season("principal", [date(2026, 6, 5)], ["2025-11", "2026-06"], TERMS)

    assert found == {
        "what": "principal",
        "used_on": ["2025-11"],
        "expected": "2026-11-30",
        "decide_after": "2026-12-21",
    }
    assert seasonal("2025-10"), "its last day may be meant"
    assert seasonal("2026-02")
    assert not seasonal("2025-09")


def test_the_last_use_ends_what_its_month_may_mean() -> None:
    found = season("principal", [date(2025, 11, 5)], ["2025-11"], TERMS)

    assert found is not None
    assert (found["used_on"], found["expected"]) == (["2025-11-05"], "2026-11-05")


# Six months later, so that no month below has its anniversary in the weeks that count.
IN_MAY = SeasonTerms(date(2027, 5, 1), days_to_deletion=90, weeks=3)


@pytest.mark.parametrize(
    ("months", "expected"),
    [
        (["2026-09", "2026-12", "2027-03"], True),  # quarterly, June is next
        (["2026-09", "2026-11", "2027-01"], False),  # March has passed
        (["2026-03", "2026-09", "2027-02"], True),  # half-yearly, a month early once
        (["2026-09", "2026-12"], False),  # two are no rule
        (["2027-01", "2027-02", "2027-03"], False),  # one turn of three months
        (["2026-09", "2026-12", "2027-01", "2027-03"], True),  # and once beside it
        (["2026-09", "2026-11", "2027-03"], False),  # at no regular distance
    ],
)
def test_what_is_used_every_few_months_may_be_needed_again(
    months: list[str], expected: bool
) -> None:
    assert seasonal(*months, terms=IN_MAY) is expected


def test_regular_use_says_by_when_the_next_turn_has_come() -> None:
    found = season("principal", [date(2027, 3, 3)], ["2026-09", "2026-12"], IN_MAY)

    assert found == {
        "what": "principal",
        "used_on": ["2026-09", "2026-12", "2027-03"],
        "expected": "2027-06-30",
        "decide_after": "2027-07-21",
    }


STEADY = [f"2025-{m:02d}" for m in range(9, 13)] + [f"2026-{m:02d}" for m in range(1, 8)]


def test_steady_use_that_ended_is_no_season() -> None:
    # Used every month from September to July, and not this September: the service was switched off.
    assert not seasonal(*STEADY, "2026-07-20")


def test_a_long_season_whose_months_have_not_passed_this_year_is_one() -> None:
    assert seasonal(*STEADY[1:])


def test_a_long_season_that_has_come_again_so_far_is_one() -> None:
    months = [f"{year}-{month:02d}" for year, last in ((2025, 11), (2026, 9))
              for month in range(4, last + 1)]  # fmt: skip

    assert seasonal(*months)


def test_steady_use_of_half_a_year_or_less_is_a_season() -> None:
    assert seasonal(*STEADY[:6])


def test_the_last_use_a_year_ago_counts_whatever_the_months_before_it_say() -> None:
    months = [f"2025-{m:02d}" for m in range(1, 12)]

    assert seasonal(*months, "2025-11-03")


def test_months_are_kept_for_a_year_and_two_more() -> None:
    months = ["2025-08", "2025-09", "2026-11", "2026-12", "2026-01", "2026-01"]

    assert months_kept(months, TODAY) == ["2025-09", "2026-01", "2026-11"]


days = st.dates(min_value=date(2019, 1, 1), max_value=date(2032, 12, 31))


@given(
    today=days,
    ahead=st.integers(0, 90),
    weeks=st.integers(0, 8),
    others=st.lists(st.integers(0, 400), max_size=4),
)
def test_a_use_exactly_a_year_before_any_day_until_deletion_is_seasonal(
    today: date, ahead: int, weeks: int, others: list[int]
) -> None:
    terms = SeasonTerms(today, days_to_deletion=90, weeks=weeks)
    needed = today + timedelta(days=ahead)
    by_date = date(needed.year - 1, needed.month, min(needed.day, 28))
    beside = [today - timedelta(days=n) for n in others]
    for use in (needed - timedelta(days=365), by_date if by_date.day == needed.day else None):
        if use is not None:
            found = season("principal", [use, *beside], [], terms)
            assert found is not None
            assert found["decide_after"] >= (needed + timedelta(weeks=weeks)).isoformat()[:10] or (
                found["expected"] >= (needed - timedelta(days=1)).isoformat()
            )


@given(
    today=days,
    ahead=st.integers(0, 90),
    others=st.lists(st.integers(0, 14), max_size=5),
)
def test_nor_is_one_forgotten_of_which_only_the_month_is_known(
    today: date, ahead: int, others: list[int]
) -> None:
    # Five months and this one are never steady use.
    terms = SeasonTerms(today, days_to_deletion=90, weeks=3)
    use = today + timedelta(days=ahead) - timedelta(days=365)
    number = today.year * 12 + today.month - 1
    months = [f"{(number - n) // 12:04d}-{(number - n) % 12 + 1:02d}" for n in others]

    assert season("principal", [], [f"{use:%Y-%m}", *months], terms) is not None
