"""The terms of findings, as the settings give them, and cards as messages see them, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pare.findings.state import card_news, card_severity

if TYPE_CHECKING:
    from datetime import datetime

    from pare.findings.card import CardJson, CardViewJson
    from pare.findings.terms import FindingTermsJson


def finding_terms(**changes: Any) -> FindingTermsJson:
    """Return terms that the settings' defaults would give, changed as asked."""
    terms: FindingTermsJson = {
        "organization_id": "o-example0000",
        "hub_account_id": "123456789012",
        "home_region": "eu-west-1",
        "governed_regions": ["eu-west-1", "us-east-1"],
        "owner_tag_keys": ["owner", "team"],
        "default_owner": "security@example.com",
        "partner_accounts": {},
        "settle_seconds": 60,
        "max_messages_per_hour": 20,
        "remind_after_days": {"critical": 3, "high": 7, "medium": 30},
        "digest": "daily",
        "digest_hour": 8,
        "time_zone": "UTC",
        "language": "en",
        "routed_owners": [],
        "cool_down_days": 30,
        "expects_unused_analyzer": False,
        "has_unused_analyzer": False,
        "announce_days": 14,
        "archive_rules": [],
    }
    return cast("FindingTermsJson", {**terms, **changes})


def bare_view(card: CardJson, now: datetime) -> CardViewJson:
    """Return a card as a round has it that tells of it now, without its findings."""
    return {
        "card": card,
        "news": card_news(card, now, finding_terms()),
        "severity": card_severity(card),
        "findings": [],
        "ended": [],
        "archived": {},
    }
