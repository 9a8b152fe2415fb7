"""Very many small calls: what fails of them is tried again, and does not undo the rest."""

from __future__ import annotations

from collections import Counter

import pytest

from pare.aws.attempts import attempt_all
from pare.errors import AwsCallError, AwsServiceError, ThrottledError


def test_everything_that_can_be_done_is_done_and_the_rest_is_named() -> None:
    tried: Counter[int] = Counter()

    def work(item: int) -> int:
        tried[item] += 1
        if item == 3 or (item % 10 == 0 and tried[item] < 3):
            raise ThrottledError("slow down") if item % 20 else AwsServiceError("internal error")
        return -item

    results, failed = attempt_all(work, range(1, 101))

    assert sorted(results) == sorted(-item for item in range(1, 101) if item != 3)
    assert [(item, str(error)) for item, error in failed] == [(3, "slow down")]
    assert tried[1] == 1


def test_what_another_try_would_not_mend_is_raised_at_once() -> None:
    def work(item: int) -> None:
        raise AwsCallError(f"no right to {item}")

    with pytest.raises(AwsCallError):
        attempt_all(work, [1, 2])


def test_nothing_to_do() -> None:
    assert attempt_all(lambda item: item, []) == ([], [])
