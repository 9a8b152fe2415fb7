from __future__ import annotations

from typing import TYPE_CHECKING

from pare.inventory.trend import MONTHS, carried

if TYPE_CHECKING:
    from pare.inventory.model import PeriodCountsJson


def month(period: str, principals: int = 1, version: int = 2) -> PeriodCountsJson:
    return {
        "period": period,
        "definition_version": version,
        "accounts": 2,
        "unknown_accounts": 0,
        "counts": {"principals": principals},
    }


def periods(months: list[PeriodCountsJson]) -> list[str]:
    return [each["period"] for each in months]


def test_the_first_month_is_alone() -> None:
    assert carried([], month("2026-11")) == [month("2026-11")]


def test_this_month_comes_last_whatever_the_order_before() -> None:
    earlier = [month("2026-10"), month("2026-08")]

    assert periods(carried(earlier, month("2026-11"))) == ["2026-08", "2026-10", "2026-11"]


def test_a_month_made_anew_replaces_itself() -> None:
    earlier = [month("2026-10"), month("2026-11", 7)]

    assert carried(earlier, month("2026-11", 9)) == [month("2026-10"), month("2026-11", 9)]


def test_a_month_made_late_has_none_after_it() -> None:
    assert periods(carried([month("2026-12")], month("2026-11"))) == ["2026-11"]


def test_two_years_and_a_month_are_kept() -> None:
    earlier = [month(f"20{year}-{number:02d}") for year in (23, 24, 25) for number in range(1, 13)]

    found = carried(earlier, month("2026-01"))

    assert len(found) == MONTHS == 25
    assert (found[0]["period"], found[-1]["period"]) == ("2024-01", "2026-01")


def test_every_month_says_how_it_was_counted() -> None:
    found = carried([month("2026-10", version=2)], month("2026-11", version=3))

    assert [each["definition_version"] for each in found] == [2, 3]
