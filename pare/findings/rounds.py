"""A round: which of the cards that are due are told now, in which messages, and to whom.

Two kinds. ``news``: what must not wait, each card in a message of its own, as far as the hour's
budget goes; all else stays due. ``hourly``: all that is due: cards by themselves as far as the
budget goes, the rest of those in one summary, what can wait in one digest; and to each owner with a
route of their own, what they own of those two.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from pare.findings.severity import rank
from pare.findings.state import card_news, card_severity, perhaps_told, urgency_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from pare.findings.card import ArchivedJson, CardJson, CardViewJson, Urgency
    from pare.findings.model import FindingJson
    from pare.findings.terms import FindingTermsJson
    from pare.object_ref import ObjectRef

RoundKind = Literal["news", "hourly"]
MessageKind = Literal["single", "summary", "digest"]
# ``refused``: nobody was told. ``unknown``: the answer was lost. ``unsettled``: as it may be, the
# cards could not be told.
Outcome = Literal["told", "refused", "unknown", "unsettled"]

# A message shows no more cards line by line; what has more comes with a list of all of them.
SHOWN_CARDS: Final = 100

_ENDED: Mapping[Outcome, str] = {
    "refused": "SNS refused",
    "unknown": "nobody knows whether people got",
    "unsettled": "the cards do not know what became of",
}
_URGENCIES: tuple[Urgency | None, ...] = ("now", "hourly", "digest", None)
# Of message ids, so that a repeated step gives a message the id that it had.
_NAMESPACE = uuid.UUID("5f0c9d3e-3f0a-4b8e-9a57-0d2a6c1e7b44")


class MessageJson(TypedDict):
    """A message before it has words: an object of the evidence bucket, frozen."""

    message_id: str
    kind: MessageKind
    owner: str | None  # whose digest it is; None: the security team's
    views: list[CardViewJson]
    perhaps_told: list[str]  # ids of the cards of which nobody knows if they were told before
    as_of: str
    list: ObjectRef | None  # all its cards, one a line, where it has too many to show
    settle: bool  # whether its cards count as told by it


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One message of a round.

    ``owner``: whose digest it is; None: it goes to the security team, and a single card to its
    owner too. ``settle``: whether its cards count as told by it. An owner's digest repeats what the
    summary and the digest before it say.
    """

    kind: MessageKind
    views: tuple[CardViewJson, ...]
    owner: str | None = None
    settle: bool = True


# --- Cards ----------------------------------------------------------------------------------------


def view_of(
    card: CardJson,
    findings: Mapping[str, FindingJson],
    *,
    now: datetime,
    terms: FindingTermsJson,
    archived: Mapping[str, ArchivedJson] | None = None,
) -> CardViewJson:
    """Return a card with what a message about it needs.

    ``findings``: by id, those that the card names, as far as they are known; ``archived``: who
    archived which, as far as somebody noted it.
    """
    is_open = _gravest_first(findings[each] for each in card["open"] if each in findings)
    ended = _gravest_first(findings[each] for each in card["ended"] if each in findings)
    return {
        "card": card,
        "news": card_news(card, now, terms),
        "severity": card_severity(card),
        "findings": is_open if card["open"] else ended,
        "ended": ended,
        "archived": {
            finding_id: noted
            for finding_id, noted in sorted((archived or {}).items())
            if finding_id in card["ended"]
        },
    }


def _gravest_first(findings: Iterable[FindingJson]) -> list[FindingJson]:
    return sorted(
        findings,
        key=lambda each: (
            -rank(each["severity"] or "medium"),
            each["finding_type"],
            each["region"],
            each["finding_id"],
        ),
    )


# --- Messages -------------------------------------------------------------------------------------


def wants_single(view: CardViewJson, *, kind: RoundKind, urgency: Urgency | None) -> bool:
    """Return whether a card is to have a message of its own, if there is one left for it."""
    return view["news"] != "none" and (
        urgency == "now" or (kind == "hourly" and urgency == "hourly")
    )


def count_singles(
    views: Iterable[CardViewJson], *, kind: RoundKind, terms: FindingTermsJson, now: datetime
) -> int:
    """Return how many messages about a single card these cards ask for."""
    return sum(
        wants_single(view, kind=kind, urgency=urgency_of(view["card"], now, terms))
        for view in views
    )


def plan(
    views: Iterable[CardViewJson],
    *,
    kind: RoundKind,
    budget: int,
    terms: FindingTermsJson,
    now: datetime,
) -> list[PlannedMessage]:
    """Return the messages of a round in the order in which they are told.

    ``views``: of cards that are due; those without news are in no message. ``budget``: how many
    messages about a single card may still go out. In a round of ``news``, cards in no message stay
    due. The same cards give the same plan, in whatever order they come.
    """
    ordered = sorted(
        ((view, urgency_of(view["card"], now, terms)) for view in views if view["news"] != "none"),
        key=lambda each: _order(*each),
    )
    grave = [view for view, urgency in ordered if wants_single(view, kind=kind, urgency=urgency)]
    singles, over = grave[: max(0, budget)], grave[max(0, budget) :]
    messages = [PlannedMessage("single", (view,)) for view in singles]
    if kind == "news":
        return messages
    waiting = [
        view for view, urgency in ordered if not wants_single(view, kind=kind, urgency=urgency)
    ]
    if over:
        messages.append(PlannedMessage("summary", tuple(over)))
    if waiting:
        messages.append(PlannedMessage("digest", tuple(waiting)))
    for owner in sorted(set(terms["routed_owners"])):
        owned = tuple(view for view in (*over, *waiting) if view["card"]["owner"] == owner)
        if owned:
            messages.append(PlannedMessage("digest", owned, owner=owner, settle=False))
    return messages


def _order(view: CardViewJson, urgency: Urgency | None) -> tuple[int, int, str, str, str]:
    """Return what sorts cards: what cannot wait, then the gravest, then whoever waits longest."""
    card = view["card"]
    return (
        _URGENCIES.index(urgency),
        -rank(view["severity"]),
        card["due_at"] or "",
        card["account_id"],
        card["resource"],
    )


def message_id_of(message: PlannedMessage, *, execution: str, step: int, position: int) -> str:
    """Return the id of a message: the same for the same cards at the same place of a round."""
    cards = " ".join(view["card"]["card_id"] for view in message.views)
    return str(uuid.uuid5(_NAMESPACE, f"{execution} {step} {position} {cards}"))


def message_json(
    message: PlannedMessage, *, message_id: str, as_of: str, list_ref: ObjectRef | None
) -> MessageJson:
    """Return the message as it is kept until it has words."""
    return {
        "message_id": message_id,
        "kind": message.kind,
        "owner": message.owner,
        "views": list(message.views),
        "perhaps_told": [
            view["card"]["card_id"] for view in message.views if perhaps_told(view["card"])
        ],
        "as_of": as_of,
        "list": list_ref,
        "settle": message.settle,
    }


def list_of(message: PlannedMessage) -> str:
    """Return all cards of a message as NDJSON: for whom the message could only count them."""
    return "".join(
        json.dumps(_line(view), sort_keys=True, ensure_ascii=False) + "\n" for view in message.views
    )


def _line(view: CardViewJson) -> dict[str, Any]:
    card = view["card"]
    return {
        "card_id": card["card_id"],
        "account_id": card["account_id"],
        "account_name": card["account_name"],
        "resource": card["resource"],
        "resource_type": card["resource_type"],
        "owner": card["owner"],
        "news": view["news"],
        "severity": view["severity"],
        "opened_at": card["opened_at"],
        "open": sorted(card["open"]),
        "ended": sorted(card["ended"]),
    }


# --- What became of them --------------------------------------------------------------------------


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
