"""Three-valued answers: true, false, or unknown with the reason.

What is not known stays unknown only as long as it matters: ``False and unknown`` is false, ``True
or unknown`` is true (Kleene's strong logic).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable


class Unknown(NamedTuple):
    """Neither true nor false can be said; ``why`` is one sentence without its full stop."""

    why: str

    def __bool__(self) -> bool:
        raise TypeError("an unknown answer is neither true nor false: compare with `is`")


Truth: TypeAlias = "bool | Unknown"


def negation(truth: Truth) -> Truth:
    """Return the opposite; of unknown, unknown."""
    return truth if isinstance(truth, Unknown) else not truth


def conjunction(truths: Iterable[Truth]) -> Truth:
    """Return whether all are true: the first false decides, else the first unknown."""
    unknown: Unknown | None = None
    for truth in truths:
        if truth is False:
            return False
        if truth is not True and unknown is None:
            unknown = truth
    return True if unknown is None else unknown


def disjunction(truths: Iterable[Truth]) -> Truth:
    """Return whether any is true: the first true decides, else the first unknown."""
    unknown: Unknown | None = None
    for truth in truths:
        if truth is True:
            return True
        if truth is not False and unknown is None:
            unknown = truth
    return False if unknown is None else unknown
