"""Cards as messages see them, made from AWS's recorded events as Pare enriches them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pare.findings.card import card_id_of
from pare.findings.card_view import Place
from pare.findings.model import SEVERITIES, Finding
from pare.findings.severity import severity_of
from pare.findings.state import principal_text
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.card import CardJson, CardViewJson, EndedJson, ProposalNoteJson, ToldJson
    from pare.findings.model import Severity

NOW = datetime(2026, 11, 22, 9, 17, tzinfo=UTC)
TOLD_AT = "2026-11-14T08:05:00Z"
ACCOUNT = "111122223333"
HUB = "222222222222"
PLACE = Place(
    "aws",
    "eu-west-1",
    {"bucket": "evidence", "key": "notifications/2026-11-22T09/all.json"},
    "security@example.com",
)

# What Enrich says of AWS's samples (test_view_builders.py compares them).
ENRICHED: dict[str, dict[str, Any]] = {
    "external_access": {
        "exposure": "outside",
        "principal_account_id": "999988887777",
        "access_levels": ("Read",),
        "granted_through": ("POLICY",),
    },
    "external_access_error": {
        "exposure": "unknown",
    },
    "internal_access": {
        "exposure": "account",
        "principal_account_id": ACCOUNT,
        "access_type": "INTRA_ACCOUNT",
        "access_levels": ("Read",),
        "resource_control_policy_restriction": "NOT_APPLICABLE",
        "service_control_policy_restriction": "NOT_APPLICABLE",
    },
    "internal_access_error": {
        "exposure": "unknown",
    },
    "unused_permission": {
        "exposure": "none",
    },
    "unused_iam_role_error": {
        "exposure": "none",
    },
}  # fmt: skip


def sample(name: str = "external_access", **changes: Any) -> Finding:
    """Return the finding of a recorded event, enriched."""
    known = {
        "account_name": "shop-prod",
        "owner": "orders@example.com",
        "owner_source": "tag",
        **ENRICHED[name],
    }
    return judged(finding(name, **(known | changes)))


def judged(found: Finding) -> Finding:
    """Return the finding as grave as the rules say, unless a test says so itself."""
    if found.severity is not None:
        return found
    severity, rule = severity_of(found)
    return replace(found, severity=severity, severity_rule=rule)


def watch(finding_type: str, *, region: str = "eu-central-1", **values: Any) -> Finding:
    """Return one of Pare's own findings about what nobody watches."""
    name = f"/{values['analyzer']}" if "analyzer" in values else ""
    known: dict[str, Any] = {
        "resource": f"arn:aws:access-analyzer:{region}:{HUB}:analyzer{name}",
        "resource_type": "AWS::AccessAnalyzer::Analyzer",
    }
    for name in list(values):
        if name in known or name in {"account_id", "account_name", "owner_source"}:
            known[name] = values.pop(name)
    return judged(Finding(
        **{
            "finding_id": "5f0b2b5e-3c0e-5d0b-8a5d-2f1f6c7f4a11",
            "access": "watch",
            "finding_type": finding_type,
            "status": "ACTIVE",
            "is_deleted": False,
            "account_id": HUB,
            "region": region,
            "analyzer_arn": "pare:watch",
            "created_at": "2026-11-22T03:00:00Z",
            "updated_at": "2026-11-22T03:00:00Z",
            "analyzed_at": "2026-11-22T03:00:00Z",
            "account_name": "security",
            "owner": "security@example.com",
            "owner_source": "settings",
            "source": "pare-watch",
            "exposure": "none",
            "values": tuple(sorted({"region": region, **values}.items())),
            **known,
        }
    ))  # fmt: skip


def gravest(findings: list[Finding]) -> Severity:
    known: list[Severity] = [each.severity or "medium" for each in findings]
    return max(known, key=SEVERITIES.index, default="medium")


def told(*findings: Finding, **changes: Any) -> ToldJson:
    """Return what was told on 14 November."""
    made: Any = {
        "at": TOLD_AT,
        "message_id": "m-1",
        "how": "single",
        "news": "first_sight",
        "severity": gravest(list(findings)) if findings else None,
        "findings": {each.finding_id: is_open(each) for each in findings},
        "more_open": {},
        "reminders": 0,
        "reminded_from": TOLD_AT,
        "first_at": TOLD_AT,
        "proposal_at": None,
        **changes,
    }
    found: ToldJson = made
    return found


def is_open(finding: Finding) -> Any:
    return {
        "severity": finding.severity or "medium",
        "finding_type": finding.finding_type,
        "region": finding.region,
        "principal": principal_text(finding),
        "digest": digest_of(finding),
    }


def digest_of(finding: Finding) -> str:
    access = (finding.principal, finding.condition, finding.actions, finding.error)
    return hashlib.sha256(repr(access).encode()).hexdigest()[:12]


def has_ended(finding: Finding, how: str = "RESOLVED", *, by_pare: bool = False) -> EndedJson:
    made: Any = {
        "how": how,
        "by_pare": by_pare,
        "finding_type": finding.finding_type,
        "severity": finding.severity or "medium",
        "principal": principal_text(finding),
        "at": "2026-11-22T08:31:00Z",
    }
    found: EndedJson = made
    return found


def proposal(**changes: Any) -> ProposalNoteJson:
    made: Any = {
        "verdict": "ready",
        "created_at": "2026-11-21T10:00:00Z",
        "before_action_count": 22_091,
        "after_action_count": 21,
        "reasons": [],
        "proposal": {
            "bucket": "evidence",
            "key": "proposals/111122223333/role/FindingIntegTestFakeRole/2026-11-21T10:00:00Z/"
            "proposal.json",
        },
        **changes,
    }
    found: ProposalNoteJson = made
    return found


def card(*findings: Finding, **changes: Any) -> CardJson:
    """Return the card of some open findings of one resource."""
    first = findings[0] if findings else sample()
    made: Any = {
        "card_id": card_id_of(first.account_id, first.resource),
        "account_id": first.account_id,
        "account_name": first.account_name,
        "resource": first.resource,
        "resource_type": first.resource_type,
        "owner": first.owner,
        "open": {each.finding_id: is_open(each) for each in findings},
        "more_open": {},
        "ended": {},
        "archived": {},
        "opened_at": min((each.created_at for each in findings), default=None),
        "told": None,
        "telling": None,
        "due": None,
        "due_at": None,
        "exemptions": [],
        "proposal": None,
        "messages": [],
        "updated_at": "2026-11-22T09:00:00Z",
        "version": 3,
        **changes,
    }
    found: CardJson = made
    return found


def view(
    *findings: Finding,
    news: str = "first_sight",
    ended: tuple[Finding, ...] = (),
    how: str = "RESOLVED",  # all of them ended so; ``ends`` says it of some
    ends: dict[str, str] | None = None,
    severity: str | None = None,
    **changes: Any,
) -> CardViewJson:
    """Return a card as a round freezes it: open findings, and what ended since it was told."""
    of_card = card(*(findings or ended), **changes)
    if not findings:
        of_card["open"] = {}
        of_card["opened_at"] = None
    of_card["ended"] = {}
    for each in ended:
        of = (ends or {}).get(each.finding_id, how)
        of_card["ended"][each.finding_id] = has_ended(each, of)
        if of == "ARCHIVED":
            of_card["archived"] = {**of_card["archived"], each.finding_id: is_open(each)}
    shown = findings or ended
    made: Any = {
        "card": of_card,
        "news": news,
        "severity": severity or gravest(list(shown)),
        "findings": [each.to_json() for each in shown],
        "ended": [each.to_json() for each in ended],
        "archived": {},
    }
    found: CardViewJson = made
    return found
