"""What is unused now and may be needed again: used in the same weeks a year ago, or every n months.

Days are dates of UTC, months ``YYYY-MM``. A use that is known by its month only may have been on
any day of it. Where it is not clear, it may be needed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pare.inventory.model import SeasonJson

# How many months before this one are kept: a year, and what lies before it tells of steady use.
MONTHS_KEPT = 14
YEAR = timedelta(days=365)
# Used for longer than this without a month's pause is steady use.
LONGEST_SEASON = 6
_LISTED = 12


@dataclass(frozen=True, slots=True)
class SeasonTerms:
    """When something must come again to count: until it could be deleted, with a tolerance."""

    today: date
    days_to_deletion: int
    weeks: int

    @property
    def tolerance(self) -> timedelta:
        """How early or late a season may be."""
        return timedelta(weeks=self.weeks)

    def is_due(self, first: date, last: date) -> bool:
        """Return whether any day of a span is one on which it may be needed again."""
        begin = self.today - self.tolerance
        end = self.today + timedelta(days=self.days_to_deletion) + self.tolerance
        return first <= end and last >= begin


def season(
    what: str, dates: Iterable[date], months: Iterable[str], terms: SeasonTerms
) -> SeasonJson | None:
    """Return why something may be needed again, or None where nothing speaks for it.

    ``dates``: days of recorded uses, the last one among them. ``months``: those of which is known
    that there was a use, on whatever days.
    A year ago: a use on a day whose anniversary is due. Months of steady use (longer than half a
    year) say nothing, once one of them has had its anniversary, and it was quiet. Every n months:
    three turns at the same distance, give or take a month, and the next one is due.
    """
    days = sorted(set(dates))
    by_month = {_number(month) for month in months}
    numbers = sorted(by_month | {day.year * 12 + day.month - 1 for day in days})
    found: dict[str, date] = {}
    for day in days:
        if terms.is_due(day + YEAR, _anniversary(day)):
            found[day.isoformat()] = day + YEAR
    runs = _runs(numbers)
    for run in runs:
        if _is_over(run, set(numbers), terms):
            continue
        for number in by_month.intersection(run):
            first, last = _first_day(number), _last_day(number)
            if number == numbers[-1] and days and first <= days[-1]:
                last = days[-1]  # nothing was used after the last use
            if terms.is_due(first + YEAR, _anniversary(last)):
                name = _name(number)
                if not any(each.startswith(name) for each in found):
                    found[name] = last + YEAR
    for months_of_turns in _regular(runs):
        expected = _next_turn(months_of_turns, terms)
        if expected is not None:
            names = [_name(number) for number in months_of_turns]
            found |= {name: max(expected, found.get(name, expected)) for name in names}
    if not found:
        return None
    expected = max(found.values())
    return {
        "what": what,
        "used_on": sorted(found)[-_LISTED:],
        "expected": expected.isoformat(),
        "decide_after": (expected + terms.tolerance).isoformat(),
    }


def months_kept(months: Iterable[str], today: date) -> list[str]:
    """Return the months that are kept: this one and MONTHS_KEPT before it, sorted."""
    now = today.year * 12 + today.month - 1
    return sorted({each for each in months if now - MONTHS_KEPT <= _number(each) <= now})


def _regular(runs: list[list[int]]) -> Iterator[tuple[int, ...]]:
    """Yield three months, a pause between each two, at the same distance or a month more."""
    if len(runs) < 3:
        return
    run_of = {number: place for place, run in enumerate(runs) for number in run}
    for first, second, third in combinations(sorted(run_of), 3):
        has_pauses = run_of[first] != run_of[second] != run_of[third]
        if has_pauses and abs((second - first) - (third - second)) <= 1:
            yield first, second, third


def _next_turn(turns: tuple[int, ...], terms: SeasonTerms) -> date | None:
    """Return the day by which the next of regular turns has come, if it is due; else None."""
    first, second, third = turns
    distances = (second - first, third - second)
    last = _last_day(third + max(distances))
    return last if terms.is_due(_first_day(third + min(distances)), last) else None


def _is_over(run: list[int], used: set[int], terms: SeasonTerms) -> bool:
    """Return whether months one after the other are steady use that has ended."""
    return len(run) > LONGEST_SEASON and any(
        _anniversary(_last_day(number)) + terms.tolerance < terms.today and number + 12 not in used
        for number in run
    )


def _anniversary(day: date) -> date:
    """Return the same date a year later, 365 or 366 days on; after a leap day the 1st of March."""
    if (day.month, day.day) == (2, 29):
        return date(day.year + 1, 3, 1)
    return day.replace(year=day.year + 1)


def _runs(numbers: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _name(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _first_day(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _last_day(number: int) -> date:
    return _first_day(number + 1) - timedelta(days=1)
