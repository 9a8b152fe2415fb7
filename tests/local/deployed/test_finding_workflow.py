"""An event on the hub bus becomes an item, a message, and where it helps a proposed policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from local import demo, seed_findings

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_unused_permission_becomes_item_proposal_and_two_messages(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    role = organization.principal("shop-prod/ShopCheckout")
    finding = seed_findings.unused_access_finding(
        organization, role, deployed.box.usage, datetime.now(UTC)
    )

    demo.send(deployed.box, finding)

    finding_id = finding.finding["id"]
    told = deployed.message(finding_id)
    assert told["Subject"] == ("[Pare] New: unused permissions, ShopCheckout, account shop-prod")
    assert "checkout@northwind.example" in told["Message"]
    run = deployed.run_of("finding", finding_id)
    assert run["outcome"] == "succeeded"
    assert run["transitions"] >= 6
    item = demo.finding_item(deployed.box, finding_id)
    assert item is not None
    assert item["finding"]["account_name"] == "shop-prod"
    assert item["finding"]["owner"] == "checkout@northwind.example"
    assert len(item["finding"]["unused_services"]) == item["finding"]["unused_service_count"]
    assert item["finding"]["unknown"] == []
    assert [entry["news"] for entry in item["history"]] == ["new"]
    deployed.run_of("policy", role.arn)
    proposed = demo.wait_for(
        lambda: [
            message
            for message in deployed.messages("Proposed policy for ShopCheckout")
            if finding_id in message["Message"]
        ],
        "the message about the proposal",
    )[0]
    assert proposed["MessageAttributes"]["kind"]["Value"] == "proposal"
    assert proposed["MessageAttributes"]["account_id"]["Value"] == role.account_id
    (proposal,) = [
        item
        for item in demo.proposals_of(deployed.box, role.arn)
        if item["finding_id"] == finding_id
    ]
    assert proposal["verdict"] == "review"


def test_external_and_internal_access_are_told_and_propose_nothing(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    analyzer = seed_findings.analyzer_arn(organization, "organization-external-access")
    shop = organization.account("shop-prod").account_id
    base = {
        "accountId": shop,
        "action": ["s3:GetObject"],
        "analyzedAt": "2026-11-21T01:22:22Z",
        "condition": {},
        "createdAt": "2026-11-20T04:58:50Z",
        "isDeleted": False,
        "resourceType": "AWS::S3::Bucket",
        "status": "ACTIVE",
        "updatedAt": "2026-11-21T01:14:07Z",
        "version": "1.0",
    }
    external = {
        **base, "id": "ext-1", "isPublic": True, "principal": {"AWS": "*"},
        "region": "eu-west-1", "resource": "arn:aws:s3:::public-bucket",
    }  # fmt: skip
    internal = {
        **base, "id": "int-1", "findingType": "InternalAccess", "accessType": "INTRA_ACCOUNT",
        "principal": {"AWS": f"arn:aws:iam::{shop}:role/Someone"},
        "resource": "arn:aws:s3:::critical-data",
    }  # fmt: skip

    for detail_type, detail in (
        ("Access Analyzer Finding", external),
        ("Internal Access Finding", internal),
    ):
        deployed.send({
            "Source": "pare.test", "DetailType": detail_type, "Resources": [analyzer],
            "Detail": json.dumps(detail),
        })  # fmt: skip

    told = deployed.message("public-bucket")
    assert "everybody (public)" in told["Message"]
    assert "critical-data" in deployed.message("critical-data")["Message"]
    for finding_id in ("ext-1", "int-1"):
        assert deployed.run_of("finding", finding_id)["outcome"] == "succeeded"
    assert not [run for run in demo.runs_of(deployed.box, "policy") if "bucket" in run["subject"]]


def test_repeated_and_late_events_tell_nobody_twice(deployed: Deployed) -> None:
    now = datetime.now(UTC)
    finding_id = "repeated-1"
    newest = deployed.event(
        "data-prod/ReportReader", finding_id=finding_id, updated_at=now, findingType="UnusedIAMRole"
    )
    older = deployed.event(
        "data-prod/ReportReader",
        finding_id=finding_id,
        updated_at=now - timedelta(hours=1),
        findingType="UnusedIAMRole",
    )

    for event in (newest, newest, older):
        deployed.send(event)

    demo.wait_for(
        lambda: len([r for r in demo.runs_of(deployed.box, "finding")
                     if r["subject"] == finding_id]) == 3,
        "three runs",
    )  # fmt: skip
    assert len(deployed.messages(finding_id)) == 1
    item = demo.finding_item(deployed.box, finding_id)
    assert item is not None
    assert len(item["history"]) == 1


def test_resolved_finding_is_recorded_and_told(deployed: Deployed) -> None:
    now = datetime.now(UTC)
    more = {"findingType": "UnusedIAMRole", "finding_id": "resolved-1"}

    deployed.send(deployed.event("data-prod/ReportReader", updated_at=now, **more))
    deployed.message("resolved-1")
    deployed.send(
        deployed.event(
            "data-prod/ReportReader",
            updated_at=now + timedelta(seconds=5),
            status="RESOLVED",
            previousStatus="ACTIVE",
            **more,
        )
    )

    told = deployed.message("Resolved: unused role")
    assert "resolved-1" in told["Message"]
    item = demo.finding_item(deployed.box, "resolved-1")
    assert item is not None
    assert item["status"] == "RESOLVED"


def test_second_start_for_the_same_state_of_a_finding_is_harmless(deployed: Deployed) -> None:
    # A new execution records the very finding the policy workflow was started for already.
    event = deployed.event("shop-prod/ShopCheckout", finding_id="second-start")
    deployed.send(event)
    assert deployed.run_of("finding", "second-start")["outcome"] == "succeeded"
    box = deployed.box
    box.hub("dynamodb").delete_item(
        TableName=box.outputs["FindingsTableName"], Key={"finding_id": {"S": "second-start"}}
    )

    deployed.send(event)

    demo.wait_for(
        lambda: len([r for r in demo.runs_of(box, "finding")
                     if r["subject"] == "second-start" and r["outcome"] == "succeeded"]) == 2,
        "the second run",
    )  # fmt: skip
    assert len(deployed.messages("New: unused permissions, ShopCheckout\n")) >= 1
    assert len([m for m in deployed.messages("second-start") if "New:" in m["Subject"]]) == 1
