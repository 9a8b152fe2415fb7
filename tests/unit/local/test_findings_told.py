"""The load test's reader of messages sees what is told twice, left out, or not so any more."""

from __future__ import annotations

from typing import Any, cast

import pytest

from local.findings_told import Telling, wrong_tellings


def telling(number: int, news: str, *ids: str, severity: str = "high", **more: Any) -> Telling:
    values: dict[str, Any] = {
        "message_id": f"m-{number}",
        "kind": "single",
        "card_id": "card",
        "news": news,
        "open": dict.fromkeys(ids, severity),
        "ended": frozenset(),
        "proposal_at": None,
        "perhaps_told": False,
    }
    return Telling(**{**values, **more})


def wrong(told: list[Telling], *ids: str, always_open: tuple[str, ...] = ()) -> list[str]:
    """Return what is wrong where these findings of the card are open in the end."""
    card = {"open": {each: {"severity": "high"} for each in ids}}
    return wrong_tellings(told, {"card": cast("Any", card)}, always_open=always_open)


FIRST = telling(1, "first_sight", "a")


@pytest.mark.parametrize(
    ("told", "is_open"),
    [
        ([FIRST], ["a"]),
        ([FIRST, telling(2, "worsened", "a", "b")], ["a", "b"]),
        ([FIRST, telling(2, "closed", ended=frozenset("a"))], []),
        ([FIRST, telling(2, "closed"), telling(3, "reopened", "a")], ["a"]),
        ([FIRST, telling(2, "unwatched"), telling(3, "closed")], []),
        ([telling(1, "first_sight", "a", severity="low"), telling(2, "worsened", "a")], ["a"]),
        ([FIRST, telling(2, "changed", "a", proposal_at="2026-11-22T09:00:00Z")], ["a"]),
        ([FIRST, telling(2, "still_open", "a")], ["a"]),
        ([], []),
    ],
)
def test_what_is_told_once_is_right(told: list[Telling], is_open: list[str]) -> None:
    assert wrong(told, *is_open) == []


@pytest.mark.parametrize(
    ("told", "is_open"),
    [
        ([], ["a"]),  # nobody heard
        ([FIRST], ["a", "b"]),
        ([FIRST], []),  # nobody heard that it is closed
        ([FIRST, telling(2, "first_sight", "a")], ["a"]),
        ([FIRST, telling(2, "worsened", "a")], ["a"]),  # as it was
        ([telling(1, "worsened", "a")], ["a"]),
        ([telling(1, "first_sight", "a", severity="low")], ["a"]),  # it is worse
        ([FIRST, telling(2, "closed", "a")], ["a"]),
        ([FIRST, telling(2, "closed"), telling(3, "unwatched")], []),
        ([FIRST, telling(2, "unwatched"), telling(3, "closed"), telling(4, "closed")], []),
        ([telling(1, "first_sight", "a", perhaps_told=True)], ["a"]),
        ([telling(1, "first_sight", "a", card_id="another")], []),
    ],
)
def test_what_is_not_told_or_told_twice_is_wrong(told: list[Telling], is_open: list[str]) -> None:
    assert wrong(told, *is_open)


def test_what_never_ended_is_not_told_again() -> None:
    told = [FIRST, telling(2, "closed"), telling(3, "reopened", "a")]
    assert wrong(told, "a") == []
    assert wrong(told, "a", always_open=("a",))
