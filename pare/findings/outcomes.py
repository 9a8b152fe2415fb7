"""What became of the messages of a round, as the cards and the run record have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# ``refused``: nobody was told. ``unknown``: the answer was lost. ``unsettled``: as it may be, the
# cards could not be told.
Outcome = Literal["told", "refused", "unknown", "unsettled"]

_ENDED: Mapping[Outcome, str] = {
    "refused": "SNS refused",
    "unknown": "nobody knows whether people got",
    "unsettled": "the cards do not know what became of",
}


class SettledJson(TypedDict):
    """What became of one message; of ``unsettled`` its cards do not know."""

    message_id: str
    outcome: Outcome
    error: str | None  # its name, where people were not told, or nobody knows
    untold: list[str]  # of machines and chat: who was not


def tally(told: Iterable[SettledJson]) -> tuple[dict[str, int], list[str]]:
    """Return how many messages ended how, and a sentence for each that people may not have got."""
    counts: dict[str, int] = {}
    unknown: list[str] = []
    for each in told:
        name = f"messages_{each['outcome']}"
        counts[name] = counts.get(name, 0) + 1
        because = f" ({each['error']})" if each["error"] else ""
        if each["outcome"] != "told":
            unknown.append(f"{_ENDED[each['outcome']]} message {each['message_id']}{because}")
        unknown += [
            f"the topic {topic} did not get message {each['message_id']}"
            for topic in each["untold"]
        ]
    return counts, unknown
