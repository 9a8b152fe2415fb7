"""A card: all findings about one resource or one principal, over Regions, as people hear of it.

People are told about cards, not about findings. A card knows what is open, what was last told of
it, and when somebody should hear of it again; what there is to tell is the difference.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from pare.findings.model import FindingJson, Severity

# What there is to tell of a card. ``changed``: partly fixed, or a proposal has come.
# ``unwatched``: its analyzer is gone, so nobody knows whether it is still open.
CardNews = Literal[
    "first_sight", "worsened", "reopened", "still_open", "changed", "closed", "archived",
    "unwatched", "none",
]  # fmt: skip
# How soon: ``now``, after the settling time and within the hour's budget; ``hourly``; ``digest``.
Urgency = Literal["now", "hourly", "digest"]
HowEnded = Literal["RESOLVED", "ARCHIVED", "DELETED", "UNWATCHED"]


class OpenJson(TypedDict):
    """A finding of a card that is open, or was when people were last told."""

    severity: Severity
    finding_type: str
    region: str


class EndedJson(TypedDict):
    """A finding of a card that ended since people were last told."""

    how: HowEnded
    by_pare: bool  # archived by an exemption or an archive rule of ours
    finding_type: str
    at: str


class ToldJson(TypedDict):
    """What people were last told of a card."""

    at: str
    message_id: str
    how: Literal["single", "summary", "digest"]
    news: CardNews
    severity: Severity | None  # None: that it is closed
    findings: dict[str, OpenJson]
    reminders: int
    first_at: str  # when people first heard of it since it was last closed
    proposal_at: str | None


class TellingJson(TypedDict):
    """The round that is telling people of the card now."""

    round: str  # the execution's ARN
    message_id: str
    at: str
    version: int  # of the card when it was claimed


class ExemptionJson(TypedDict):
    """An access that is meant: findings of this type and principal on this resource are quiet."""

    finding_type: str
    principal: dict[str, str]  # as in the finding; of unused access: empty
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
    ended: dict[str, EndedJson]  # by finding id, since people were last told
    opened_at: str | None  # since when something is open, as Access Analyzer says
    told: ToldJson | None
    telling: TellingJson | None
    due: Literal["due"] | None  # partition key of the index by_due
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
