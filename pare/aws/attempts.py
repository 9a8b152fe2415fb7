"""The same small call for very many items: what fails of them does not undo the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, cast

from pare.errors import AwsServiceError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pare.errors import PareError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Requests side by side, and how often an item's call is tried; each has the SDK's own tries.
AT_ONCE = 8
_TIMES = 3


def attempt_all(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> tuple[list[Result], list[tuple[Item, PareError]]]:
    """Return what came of each item, in no order, and the items that AWS failed to the end.

    Where one call in a hundred fails for good, a thousand of them never all go well: so each is
    tried by itself. Errors other than throttling and AWS's own failures are raised at once.
    """
    waiting = list(items)
    results: list[Result] = []
    failed: list[tuple[Item, PareError]] = []

    def attempt(item: Item) -> tuple[Item, Result | None, PareError | None]:
        try:
            return item, work(item), None
        except (ThrottledError, AwsServiceError) as error:
            return item, None, error

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in range(_TIMES):
            tried = list(threads.map(attempt, waiting))
            results += [cast("Result", result) for _, result, error in tried if error is None]
            failed = [(item, error) for item, _, error in tried if error is not None]
            waiting = [item for item, _ in failed]
    return results, failed
