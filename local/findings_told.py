"""What people were told of findings: every message to machines, read as the cards it is about.

``tellings`` follows each message to the frozen object of its round; ``wrong_tellings`` replays them
card by card: nothing twice, nothing left out.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pare.findings.card import CardJson
    from pare.findings.rounds import MessageJson

_KINDS = {"finding": "single", "finding-summary": "summary", "finding-digest": "digest"}


@dataclass(frozen=True, slots=True)
class Telling:
    """What one message said of one card."""

    message_id: str
    kind: str  # single, summary or digest
    card_id: str
    news: str
    open: Mapping[str, str]  # severity by finding id
    ended: frozenset[str]
    proposal_at: str | None
    perhaps_told: bool
    said: Mapping[str, str] = field(default_factory=dict)  # of open ones: to whom, what


def message_of(delivered: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the facts of a message about cards, as SNS delivered it to machines; else None."""
    facts: dict[str, Any] = json.loads(delivered["Message"])
    return facts if facts.get("kind") in _KINDS else None


def tellings(facts: Mapping[str, Any], frozen: MessageJson) -> list[Telling]:
    """Return what a message said of each of its cards; of an owner's digest nothing.

    An owner's digest repeats what others say. Raises AssertionError where the message does not say
    what its round has frozen.
    """
    assert facts["message_id"] == frozen["message_id"], facts["message_id"]
    assert _KINDS[facts["kind"]] == frozen["kind"], (facts["kind"], frozen["kind"])
    if not frozen["settle"]:
        return []
    told = [
        Telling(
            message_id=frozen["message_id"],
            kind=frozen["kind"],
            card_id=view["card"]["card_id"],
            news=view["news"],
            open={key: each["severity"] for key, each in view["card"]["open"].items()},
            said={key: each["digest"] for key, each in view["card"]["open"].items()},
            ended=frozenset(view["card"]["ended"]),
            proposal_at=proposal["created_at"] if (proposal := view["card"]["proposal"]) else None,
            perhaps_told=view["card"]["card_id"] in frozen["perhaps_told"],
        )
        for view in frozen["views"]
    ]
    _check_facts(facts, told)
    return told


def _check_facts(facts: Mapping[str, Any], told: Sequence[Telling]) -> None:
    """Check that a message for machines names the findings that its round has frozen."""
    if "object" in facts:  # too much for a message: machines read the object itself
        return
    cards = facts.get("cards")
    if cards is None:
        cards = [{**facts, "card_id": facts["card"]["card_id"]}]
    said = {card["card_id"]: {each["finding_id"] for each in card["findings"]} for card in cards}
    for each in told:
        expected = set(each.open) or set(each.ended)
        assert said[each.card_id] == expected, (each, said[each.card_id])


@dataclass(frozen=True, slots=True)
class Replay:
    """All tellings, as somebody took them in who reads every message."""

    problems: list[str]
    times: Mapping[str, int]  # how often people heard anew of a finding
    heard: Mapping[str, Mapping[str, str]]  # by card: what they take for open in the end


def replay(told: Iterable[Telling]) -> Replay:
    """Return what a reader knows in the end; a message that says nothing new is a problem."""
    by_card: dict[str, list[Telling]] = defaultdict(list)
    for each in told:
        by_card[each.card_id].append(each)
    problems: list[str] = []
    times: Counter[str] = Counter()
    heard: dict[str, Mapping[str, str]] = {}
    for card_id, messages in sorted(by_card.items()):
        before: Telling | None = None
        for each in messages:
            known = before.open if before else {}
            times.update(each.open.keys() - known.keys())
            problems += _problems(before, each)
            before = each
        heard[card_id] = before.open if before else {}
    return Replay(problems, times, heard)


def _problems(before: Telling | None, each: Telling) -> list[str]:
    where = f"card {each.card_id}, message {each.message_id} ({each.kind}, {each.news})"
    found = []
    if before is None:
        if each.news != "first_sight":
            found.append(f"{where}: the first that people hear of it")
    else:
        if each.news == "first_sight":
            found.append(f"{where}: told before by {before.message_id}")
        is_same = (each.open, each.said, each.proposal_at) == (
            before.open, before.said, before.proposal_at,
        )  # fmt: skip
        # Nobody knew; now it is known how it ended.
        is_known_now = before.news == "unwatched" and each.news == "closed"
        if is_same and each.news != "still_open" and not is_known_now:
            found.append(f"{where}: says what {before.message_id} said")
    if bool(each.open) != (each.news not in {"closed", "archived", "unwatched"}):
        found.append(f"{where}: {len(each.open)} open")
    if each.perhaps_told:
        found.append(f"{where}: perhaps told before")
    return found


def wrong_tellings(
    told: Sequence[Telling],
    cards: Mapping[str, CardJson],
    *,
    always_open: Collection[str],
) -> list[str]:
    """Return in what people were told otherwise than once of each thing, in a sentence each.

    ``cards``: by id, as they are in the end. ``always_open``: ids of findings that never ended.
    """
    played = replay(told)
    problems = list(played.problems)
    for card_id, card in sorted(cards.items()):
        is_open = {key: each["severity"] for key, each in card["open"].items()}
        heard = played.heard.get(card_id, {})
        if dict(heard) != is_open:
            problems.append(f"card {card_id}: people know {heard}, open is {is_open}")
        problems += [
            f"{finding_id} of card {card_id}: told {played.times[finding_id]} times"
            for finding_id in is_open
            if played.times[finding_id] != 1
            and (finding_id in always_open or played.times[finding_id] != 2)
        ]
    strangers = played.heard.keys() - cards.keys()
    problems += [f"card {card_id} is told and not in the table" for card_id in sorted(strangers)]
    return problems
