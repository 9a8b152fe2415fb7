"""What events missed comes in with the reconcile, what is gone ends, and blind spots are told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from local import demo
from local.seed_findings import (
    EXTERNAL_ACCESS_ANALYZER,
    SeedFinding,
    analyzer_arn,
    external_access_finding,
)
from pare.aws.tables import from_item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.deployed.conftest import Deployed

HOME, AWAY, OTHER = "eu-west-1", "eu-central-1", "us-east-1"


@pytest.fixture(autouse=True)
def mended(deployed: Deployed) -> Iterator[None]:
    """Afterwards every Region is watched again."""
    yield
    deployed.make_analyzers()
    deployed.reconcile()


def arn(deployed: Deployed, region: str) -> str:
    return analyzer_arn(deployed.box.created.organization, EXTERNAL_ACCESS_ANALYZER, region)


def aws(deployed: Deployed, region: str) -> Any:
    hub = deployed.box.created.organization.hub_account.account_id
    return deployed.box.emulator.client("accessanalyzer", hub, region)


def public(deployed: Deployed, bucket: str, region: str = HOME, **more: Any) -> SeedFinding:
    organization = deployed.box.created.organization
    return external_access_finding(
        organization,
        datetime.now(UTC),
        **{
            "account_id": organization.account("shop-prod").account_id,
            "resource": f"arn:aws:s3:::{bucket}",
            "is_public": True,
            "region": region,
            **more,
        },
    )


def watched(deployed: Deployed) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the open blind spots by type and Region."""
    table = deployed.box.outputs["FindingsTableName"]
    pages = deployed.box.hub("dynamodb").get_paginator("scan").paginate(TableName=table)
    items = [from_item(item) for page in pages for item in page["Items"]]
    return {
        (item["finding"]["finding_type"], item["finding"]["region"]): item["finding"]
        for item in items
        if item["source"] == "pare-watch" and item["status"] == "ACTIVE"
    }


def status(deployed: Deployed, finding: SeedFinding) -> dict[str, Any]:
    item = demo.finding_item(deployed.box, finding.finding["id"])
    assert item is not None, finding.finding["resource"]
    found: dict[str, Any] = item["finding"]
    return found


def test_lost_events_blind_spots_and_rules(deployed: Deployed) -> None:
    kept, vanished = public(deployed, "northwind-lost"), public(deployed, "northwind-vanished")
    moved = public(deployed, "northwind-moved")
    left = public(deployed, "northwind-left", OTHER)
    asleep = public(deployed, "northwind-asleep", AWAY)
    deployed.plant(vanished, moved, left, asleep)
    deployed.tell()
    deployed.plant(kept, events=False)
    deployed.end("delete", vanished, events=False)
    deployed.end("resolve", moved, events=False)
    # Of what a deleted analyzer had found AWS tells a day later; here that event is lost.
    deployed.box.emulator.control("settings", {"event_faults": {"lost": 1.0}})
    aws(deployed, OTHER).delete_analyzer(analyzerName=EXTERNAL_ACCESS_ANALYZER)
    deployed.box.emulator.control("settings", {"event_faults": {}})
    deployed.box.emulator.control(
        "analyzers",
        {"analyzers": [{"arn": arn(deployed, AWAY), "status": "DISABLED",
                        "status_reason": "AWS_SERVICE_ACCESS_DISABLED"}]},
    )  # fmt: skip
    home = aws(deployed, HOME)
    home.create_archive_rule(
        analyzerName=EXTERNAL_ACCESS_ANALYZER,
        ruleName="quiet",
        filter={"resourceType": {"eq": ["AWS::S3::Bucket"]}},
    )
    hidden = public(deployed, "northwind-hidden")
    deployed.plant(hidden, events=False)

    run = deployed.reconcile()

    assert run["counts"]["analyzers_deleted"] >= 1
    assert status(deployed, kept)["status"] == "ACTIVE"
    assert status(deployed, moved)["status"] == "RESOLVED"
    gone = status(deployed, vanished)
    assert (gone["is_deleted"], gone["values"]) == (True, {"ended": "DELETED"})
    unwatched = status(deployed, left)
    assert (unwatched["is_deleted"], unwatched["values"]) == (True, {"ended": "UNWATCHED"})
    assert status(deployed, asleep)["status"] == "ACTIVE"
    assert status(deployed, hidden)["status"] == "ARCHIVED"
    found = watched(deployed)
    assert {
        ("AnalyzerMissing", OTHER), ("AnalyzerDeleted", OTHER), ("AnalyzerNotActive", AWAY),
        ("ArchiveRuleHidesPublic", HOME),
    } <= found.keys()  # fmt: skip
    assert found["ArchiveRuleHidesPublic", HOME]["values"]["hidden"] == 1

    deployed.tell()

    assert len(deployed.messages("S3 bucket northwind-lost is open to everybody")) == 1
    for text in (
        "Nobody watches us-east-1", "northwind-left", "northwind-vanished", "northwind-moved",
        "S3 bucket northwind-asleep",
    ):  # fmt: skip
        assert deployed.messages(text), text

    # Nothing has changed since: the second look brings nothing in, and nobody hears of it again.
    told = len(deployed.messages(""))
    again = deployed.reconcile()
    assert again["counts"]["findings_started"] == 0, again
    deployed.tell()
    assert len(deployed.messages("")) == told

    # Mended: the blind spots close.
    deployed.make_analyzers()
    body = {"analyzers": [{"arn": arn(deployed, AWAY), "status": "ACTIVE"}]}
    deployed.box.emulator.control("analyzers", body)
    home.delete_archive_rule(analyzerName=EXTERNAL_ACCESS_ANALYZER, ruleName="quiet")
    deployed.reconcile()
    # The new analyzer lacked the rule of the file: that was mended, and is told.
    assert {what for what, _ in watched(deployed)} <= {"ArchiveRuleDrift"}
    deployed.tell()
    assert "closed" in {
        each["MessageAttributes"]["news"]["Value"]
        for each in deployed.messages("us-east-1")
        if "AnalyzerMissing" in each["MessageAttributes"].get("finding_type", {}).get("Value", "")
    }
