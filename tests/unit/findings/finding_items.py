"""Items of the tables of findings and cards, as tests of `pare findings` need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.findings.state import principal_text

if TYPE_CHECKING:
    from pare.findings.card import CardJson
    from pare.findings.view import FindingItemJson

ACCOUNT = "111122223333"
HUB = "999900001111"
OUTSIDE = "555566667777"
BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app/ShopCheckout"
FIRST_ID = "22222222-dcba-4444-dcba-333333333333"


def analyzer(region: str) -> str:
    return f"arn:aws:access-analyzer:{region}:{HUB}:analyzer/Org"


def finding(finding_id: str = FIRST_ID, **changes: Any) -> Finding:
    """Return an outside account's access to a bucket, changed."""
    region = changes.get("region", "eu-west-1")
    values: dict[str, Any] = {
        "finding_id": finding_id,
        "access": "external",
        "finding_type": "ExternalAccess",
        "status": "ACTIVE",
        "is_deleted": False,
        "account_id": ACCOUNT,
        "region": region,
        "analyzer_arn": analyzer(region),
        "resource": BUCKET,
        "resource_type": "AWS::S3::Bucket",
        "created_at": "2026-11-20T04:58:50Z",
        "updated_at": "2026-11-21T01:14:07Z",
        "analyzed_at": "2026-11-21T01:22:22Z",
        "account_name": "payments",
        "owner": "payments@example.com",
        "owner_source": "tag",
        "is_public": False,
        "severity": "high",
        "severity_rule": "outside write",
        "exposure": "outside",
        "principal": (("AWS", OUTSIDE),),
        "principal_account_id": OUTSIDE,
        "actions": ("s3:GetObject", "s3:PutObject"),
        "access_levels": ("Read", "Write"),
    }
    return Finding(**(values | changes))


def public(finding_id: str = "33333333-dcba-4444-dcba-333333333333", **changes: Any) -> Finding:
    """Return a bucket that everybody may read."""
    values: dict[str, Any] = {
        "resource": "arn:aws:s3:::amzn-s3-demo-website",
        "is_public": True,
        "exposure": "public",
        "principal": (("AWS", "*"),),
        "principal_account_id": None,
        "actions": ("s3:GetObject",),
        "access_levels": ("Read",),
        "severity": "high",
        "severity_rule": "public read",
    }
    return finding(finding_id, **(values | changes))


def unused(finding_id: str = "44444444-dcba-4444-dcba-333333333333", **changes: Any) -> Finding:
    """Return unused permissions of a role, as the inventory finds them."""
    values: dict[str, Any] = {
        "access": "unused",
        "finding_type": "UnusedPermission",
        "resource": ROLE,
        "resource_type": "AWS::IAM::Role",
        "analyzer_arn": "pare:inventory",
        "source": "pare-inventory",
        "exposure": "none",
        "principal": (),
        "principal_account_id": None,
        "actions": (),
        "access_levels": (),
        "unused_service_count": 12,
        "unused_action_count": 340,
        "severity": "low",
        "severity_rule": "unused",
    }
    return finding(finding_id, **(values | changes))


def blind(finding_id: str = "55555555-dcba-4444-dcba-333333333333", **changes: Any) -> Finding:
    """Return a Region without an analyzer."""
    values: dict[str, Any] = {
        "access": "watch",
        "finding_type": "AnalyzerMissing",
        "account_id": HUB,
        "account_name": "security",
        "region": "ap-northeast-1",
        "resource": f"arn:aws:access-analyzer:ap-northeast-1:{HUB}:analyzer",
        "resource_type": "AWS::AccessAnalyzer::Analyzer",
        "analyzer_arn": "pare:watch",
        "source": "pare-watch",
        "exposure": "none",
        "principal": (),
        "principal_account_id": None,
        "actions": (),
        "access_levels": (),
        "severity_rule": "blind spot",
        "values": (("kind", "external"), ("region", "ap-northeast-1")),
    }
    return finding(finding_id, **(values | changes))


def item(found: Finding, **changes: Any) -> FindingItemJson:
    """Return the item of a finding, with one line of history."""
    entry = {
        "at": found.updated_at,
        "recorded_at": "2026-11-21T01:30:00Z",
        "recorded_by": "arn:aws:states:eu-west-1:999900001111:execution:Finding:e",
        "news": "new",
        "status": found.status,
        "is_deleted": found.is_deleted,
    }
    values = {
        "finding_id": found.finding_id,
        "finding": found.to_json(),
        "card_id": card_id_of(found.account_id, found.resource),
        "status": found.status,
        "account_id": found.account_id,
        "resource": found.resource,
        "updated_at": found.updated_at,
        "analyzer_arn": found.analyzer_arn,
        "archived": None,
        "history": [entry],
        "version": 1,
    }
    return cast("FindingItemJson", values | changes)


def card(*found: Finding, **changes: Any) -> CardJson:
    """Return the card of findings about one resource, told by itself at their first sight."""
    first = found[0]
    is_open = {
        each.finding_id: {
            "severity": each.severity,
            "finding_type": each.finding_type,
            "region": each.region,
            "principal": principal_text(each),
            "digest": "0123456789ab",
        }
        for each in found
        if each.is_open
    }
    values: dict[str, Any] = {
        "card_id": card_id_of(first.account_id, first.resource),
        "account_id": first.account_id,
        "account_name": first.account_name,
        "resource": first.resource,
        "resource_type": first.resource_type,
        "owner": first.owner,
        "open": is_open,
        "more_open": {},
        "ended": {},
        "archived": {},
        "opened_at": first.created_at,
        "told": {
            "at": "2026-11-21T01:33:00Z",
            "message_id": "m-1",
            "how": "single",
            "news": "first_sight",
            "severity": first.severity,
            "findings": is_open,
            "more_open": {},
            "reminders": 0,
            "reminded_from": "2026-11-21T01:33:00Z",
            "first_at": "2026-11-21T01:33:00Z",
            "proposal_at": None,
        },
        "telling": None,
        "due": None,
        "due_at": None,
        "exemptions": [],
        "proposal": None,
        "messages": [
            {"message_id": "m-1", "at": "2026-11-21T01:33:00Z", "news": "first_sight",
             "how": "single"},
        ],
        "updated_at": "2026-11-21T01:33:00Z",
        "version": 3,
    }  # fmt: skip
    return cast("CardJson", values | changes)
