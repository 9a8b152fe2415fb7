"""The months in numbers: what the report plots, carried from snapshot to snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.inventory.model import PeriodCountsJson

# Two years and this month, so that every month has the same one of two years before beside it.
MONTHS = 25


def carried(earlier: Iterable[PeriodCountsJson], this: PeriodCountsJson) -> list[PeriodCountsJson]:
    """Return the months up to this one, oldest first, MONTHS at most.

    An earlier count of the same month is replaced. Months without an inventory are not in it, and
    each says by its ``definition_version`` which of the others it may be compared with.
    """
    months = {month["period"]: month for month in earlier if month["period"] < this["period"]}
    months[this["period"]] = this
    return [months[period] for period in sorted(months)][-MONTHS:]
