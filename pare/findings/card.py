"""A card: all findings about one resource or one principal, over Regions, as people hear of it.

People are told about cards, not about findings. A card knows what is open, what was last told of
it, and when somebody should hear of it again; what there is to tell is the difference.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:
    from pare.findings.model import FindingJson, Severity

# What there is to tell of a card. ``changed``: partly fixed, or other than it was though no graver,
# or a proposal has come. When nothing is open any more:
# ``unwatched``: of something its analyzer is gone, so nobody knows whether it is still open; also
#   where people never heard of it as open, or were told that the card is closed.
# ``archived``: something is archived (just now or long ago, by whomever), so at AWS it is still as
#   it was, whatever else of the card was resolved. What is archived is in ``CardJson.archived``;
#   how each of those that ended did, in ``EndedJson.how``.
# ``closed``: every finding that Pare knows of the card is resolved, or gone at an analyzer that is
#   alive; nothing is archived. Only then may a message say of the card that nothing is open.
CardNews = Literal[
    "first_sight", "worsened", "reopened", "still_open", "changed", "closed", "archived",
    "unwatched", "none",
]  # fmt: skip
# How soon: ``now``, after the settling time and within the hour's budget; ``hourly``; ``digest``.
Urgency = Literal["now", "hourly", "digest"]
HowEnded = Literal["RESOLVED", "ARCHIVED", "DELETED", "UNWATCHED"]


class OpenJson(TypedDict):
    """A finding of a card that is open, or was when people were last told."""

    severity: Severity  # an error on what was judged graver before leaves it as grave
    finding_type: str
    region: str
    principal: str  # a short text; of unused access and of what nobody watches: empty
    digest: str  # of principal, condition, actions and error: whether it is still the same access
    created_at: NotRequired[str]  # not there in what an earlier version noted


class EndedJson(TypedDict):
    """A finding of a card that ended since people were last told."""

    how: HowEnded
    by_pare: bool  # archived by an exemption or an archive rule of ours
    finding_type: str
    severity: Severity  # as it was told; of what may have been told: as it was recorded last
    principal: str  # as in OpenJson
    at: str


class UnwatchedJson(TypedDict):
    """A finding of a card of which nobody knows whether it is still so."""

    # A digest of type, Region and principal, by which others see the same access. Empty: others
    # saw it after this, and people know that, so what became of it since is known from those.
    about: str
    at: str  # when it was updated, as it was when nobody knew


class ToldJson(TypedDict):
    """What people were last told of a card."""

    at: str
    message_id: str
    how: Literal["single", "summary", "digest"]
    news: CardNews
    severity: Severity | None  # None: that it is closed
    findings: dict[str, OpenJson]
    more_open: dict[str, int]  # as in CardJson
    reminders: int
    reminded_from: str  # when a message last named all that is open: reminders count from then
    first_at: str  # when people first heard of it since it was last closed
    proposal_at: str | None
    # Since when something was open, as people were told; None: that it is closed.
    opened_at: NotRequired[str | None]
    # Ids of findings of which people were told that nobody knows, and heard nothing since: of how
    # these end they have to hear. What is unwatched now is in ``CardJson.unwatched``.
    unwatched: NotRequired[list[str]]


class TellingJson(TypedDict):
    """The round that is telling people of the card now."""

    round: str  # the execution's ARN
    message_id: str
    at: str
    version: int  # of the card when it was claimed
    plan: str  # the key of the plan by which it tells; without that object it told nobody


class ExemptionJson(TypedDict):
    """An access that is meant: findings of it on this resource are quiet, if they are no graver."""

    finding_type: str
    principal: dict[str, str]  # as in the finding; of unused access: empty
    is_public: bool | None  # as in the finding
    condition: dict[str, str]  # as in the finding
    severity: Severity  # of the gravest finding that was exempted
    reason: str
    by: str  # the ARN of who archived it
    at: str
    expires: str | None  # a day


class ProposalNoteJson(TypedDict):
    """The newest proposed policy for the principal that the card is about."""

    verdict: str  # ready, review or refused
    created_at: str
    before_action_count: int | None
    after_action_count: int | None
    reasons: list[str]
    proposal: dict[str, str]  # ObjectRef


class ArchivedJson(TypedDict):
    """Who archived a finding; ``how``: ``pare findings archive``, ``archive rule NAME``,
    ``exemption``, or ``call`` (of Access Analyzer's API, from its console or elsewhere)."""

    by: str
    how: str
    reason: str | None
    at: str
    expires: str | None


class CardJson(TypedDict):
    """An item of the Cards table; ``due`` and ``due_at`` are there only when something is due."""

    card_id: str
    account_id: str
    account_name: str | None
    resource: str
    resource_type: str
    owner: str | None
    open: dict[str, OpenJson]  # by finding id
    more_open: dict[str, int]  # open findings for which ``open`` has no room: how many, by severity
    ended: dict[str, EndedJson]  # by finding id, since people were last told
    archived: dict[str, OpenJson]  # by finding id: archived, by whomever, and not resolved since
    # By finding id: that nobody knows of, whether or not people heard of it. Not in a card of an
    # earlier version.
    unwatched: NotRequired[dict[str, UnwatchedJson]]
    more_unwatched: NotRequired[bool]  # there were more than a card names; it stays so
    # Since when something is open, as Access Analyzer says: the oldest of what is open, or what
    # people were told, until they are told that it is closed. None: nothing is open.
    opened_at: str | None
    told: ToldJson | None
    telling: TellingJson | None
    # Partition key of the index by_due; ``now``: what must not wait, the urgency of that name.
    due: Literal["now", "later"] | None
    due_at: str | None
    exemptions: list[ExemptionJson]
    proposal: ProposalNoteJson | None
    messages: list[dict[str, Any]]  # the last 20: message_id, at, news, how
    updated_at: str
    version: int


class CardViewJson(TypedDict):
    """A card with what a message needs: frozen when a round begins to tell of it."""

    card: CardJson
    news: CardNews
    severity: Severity  # of what is open; when closed, of what was told
    findings: list[FindingJson]  # open ones, gravest first; when closed, those that ended
    ended: list[FindingJson]  # of those that ended since people were last told
    archived: dict[str, ArchivedJson]  # by finding id, where somebody noted who archived it


def card_id_of(account_id: str, resource: str) -> str:
    """Return the id of the card of a resource: the same in every Region."""
    return hashlib.sha256(f"{account_id} {resource}".encode()).hexdigest()[:32]


def more_open(card: CardJson) -> int:
    """Return how many findings of a card are open beyond those that it names."""
    return sum((card.get("more_open") or {}).values())  # none in a card of an earlier version


def open_count(card: CardJson) -> int:
    """Return how many findings of a card are open, named or counted."""
    return len(card["open"]) + more_open(card)
