"""A round: which of the cards that are due are told now, in which messages, and to whom.

Two kinds. ``news``: what must not wait, each card in a message of its own, as far as the hour's
budget goes; all else stays due. ``hourly``: all that is due: cards by themselves as far as the
budget goes, the rest of those in one summary, what can wait in one digest; and to each owner with a
route of their own, what they own of those two.

What opens or grows worse and is critical waits for no budget. What ends, and reminders, have at
most half of it. Cards whose messages come to nothing again and again are told last, in a summary of
their own: whatever is wrong with one of them takes nothing from the others.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NotRequired, TypedDict

from pare.findings.severity import rank
from pare.findings.state import (
    card_news,
    card_severity,
    perhaps_told,
    still_unwatched,
    urgency_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pare.findings.card import ArchivedJson, CardJson, CardViewJson, Urgency
    from pare.findings.model import FindingJson
    from pare.findings.terms import FindingTermsJson
    from pare.object_ref import ObjectRef

RoundKind = Literal["news", "hourly"]
MessageKind = Literal["single", "summary", "digest"]

# Which places of the hour's budget a message about a single card may take: of what is critical and
# begins any; of what else cannot wait those that are left; of what ends, and reminders, half.
Place = Literal["always", "news", "later"]

# A card is troubled whose message was refused, or whose round died over it, so often running.
_MOST_REFUSALS = 3
_MOST_DEATHS = 2
# A message shows no more cards line by line; what has more comes with a list of all of them.
SHOWN_CARDS: Final = 100

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
    budgets: list[str]  # in which it has a place; where nobody gets it, it gives them back
    contact: NotRequired[str]  # whom an owner can ask; none in one of an earlier version


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """One message of a round.

    ``owner``: whose digest it is; None: it goes to the security team, and a single card to its
    owner too. ``settle``: whether its cards count as told by it. An owner's digest repeats what the
    summary and the digest before it say. ``place``: of a single one.
    """

    kind: MessageKind
    views: tuple[CardViewJson, ...]
    owner: str | None = None
    settle: bool = True
    place: Place | None = None


class Singles(NamedTuple):
    """Numbers of messages about a single card."""

    always: int = 0
    news: int = 0
    later: int = 0


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
    news = card_news(card, now, terms)
    # A card of which nothing is open is closed but for these: with what ended they are told again.
    unwatched = still_unwatched(card) if news == "unwatched" else []
    ended = _gravest_first(
        findings[each] for each in {*card["ended"], *unwatched} if each in findings
    )
    return {
        "card": card,
        "news": news,
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


def place_of(view: CardViewJson, *, kind: RoundKind, urgency: Urgency | None) -> Place | None:
    """Return which place a card is to have as a message of its own; None: it is not to have one."""
    if view["news"] == "none" or trouble_of(view["card"]):
        return None
    if urgency == "now":
        return "always" if view["severity"] == "critical" else "news"
    return "later" if kind == "hourly" and urgency == "hourly" else None


def trouble_of(card: CardJson) -> int:
    """Return whether a card's messages came to nothing: 0 no, 1 again and again, 2 twice as often.

    Counted is what happened running: SNS, or the step that composes, refused a message about it; or
    the round ended without a word, perhaps because of it, perhaps only before its turn came.
    """
    messages = card["messages"]
    refusals: int = messages[-1]["times"] if messages and messages[-1]["how"] == "refused" else 0
    unknown = takewhile(
        lambda each: each["how"] == "unknown",
        (each for each in reversed(messages) if each["how"] != "refused"),
    )
    # Of a lost answer it is known what the message was to say.
    deaths: int = sum(each["news"] == "none" for each in unknown)
    return min(2, max(refusals // _MOST_REFUSALS, deaths // _MOST_DEATHS))


def count_singles(
    views: Iterable[CardViewJson], *, kind: RoundKind, terms: FindingTermsJson, now: datetime
) -> Singles:
    """Return how many messages about a single card these cards ask for."""
    places = [
        place_of(view, kind=kind, urgency=urgency_of(view["card"], now, terms)) for view in views
    ]
    return Singles(places.count("always"), places.count("news"), places.count("later"))


def plan(
    views: Iterable[CardViewJson],
    *,
    kind: RoundKind,
    budget: Singles,
    terms: FindingTermsJson,
    now: datetime,
    execution: str = "",
) -> list[PlannedMessage]:
    """Return the messages of a round in the order in which they are told.

    ``views``: of cards that are due; those without news are in no message. ``budget``: how many
    messages about a single card may still go out. In a round of ``news``, cards in no message stay
    due. The same cards give the same plan to the same execution, in whatever order they come.
    """
    ordered = sorted(
        ((view, urgency_of(view["card"], now, terms)) for view in views if view["news"] != "none"),
        key=lambda each: _order(*each),
    )
    left = {place: max(0, number) for place, number in budget._asdict().items()}
    messages: list[PlannedMessage] = []
    over: list[CardViewJson] = []
    waiting: list[CardViewJson] = []
    troubled: list[CardViewJson] = []
    for view, urgency in ordered:
        place = place_of(view, kind=kind, urgency=urgency)
        if place and left[place]:
            left[place] -= 1
            messages.append(PlannedMessage("single", (view,), place=place))
        elif place:
            over.append(view)
        else:
            (troubled if trouble_of(view["card"]) else waiting).append(view)
    if kind == "news":
        return messages
    if over:
        messages.append(PlannedMessage("summary", tuple(over)))
    if waiting:
        messages.append(PlannedMessage("digest", tuple(waiting)))
    for owner in sorted(set(terms["routed_owners"])):
        owned = tuple(view for view in (*over, *waiting) if view["card"]["owner"] == owner)
        if owned:
            messages.append(PlannedMessage("digest", owned, owner=owner, settle=False))
    return [*messages, *_last(troubled, execution)]


def _last(troubled: Sequence[CardViewJson], execution: str) -> list[PlannedMessage]:
    """Return the summary of the troubled cards, of which one or more spoil any message.

    Where it has come to nothing itself, there are two, divided by chance in each round anew, so
    that cards that only stand beside a bad one get away from it.
    """

    def half_of(view: CardViewJson) -> int:
        text = f"{execution} {view['card']['card_id']}"
        return hashlib.sha256(text.encode()).digest()[0] % 2

    if not any(trouble_of(view["card"]) == 2 for view in troubled):
        halves = [tuple(troubled)]
    else:
        halves = [tuple(view for view in troubled if half_of(view) == half) for half in (0, 1)]
    return [PlannedMessage("summary", half) for half in halves if half]


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
    message: PlannedMessage,
    *,
    message_id: str,
    as_of: str,
    list_ref: ObjectRef | None,
    budgets: Sequence[str] = (),
    contact: str = "",
) -> MessageJson:
    """Return the message as it is kept until it has words."""
    return {
        "contact": contact,
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
        "budgets": list(budgets),
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
