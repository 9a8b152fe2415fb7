"""An event on the hub bus becomes an item, a message, and where it helps a proposed policy."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lambdas.findings.record_finding import COOL_DOWN
from local import demo, seed_findings

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_unused_permission_becomes_item_proposal_and_one_message(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    role = organization.principal("shop-prod/ShopCheckout")
    finding = seed_findings.unused_access_finding(
        organization, role, deployed.box.usage, datetime.now(UTC)
    )

    deployed.forget(COOL_DOWN)  # an inventory of another test may have asked for it already
    demo.send(deployed.box, finding)

    finding_id = finding.finding["id"]
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
    (proposal,) = demo.wait_for(
        lambda: [
            item
            for item in demo.proposals_of(deployed.box, role.arn)
            if item["finding_id"] == finding_id
        ],
        "the proposal",
    )
    assert deployed.run_of("policy", role.arn)["outcome"] == "succeeded"
    assert proposal["verdict"] == "review", proposal["reasons"]
    # Nobody hears of it at once, and of the proposal not by itself: both come with the digest.
    assert deployed.messages(finding_id) == []
    deployed.tell()
    told = deployed.message(finding_id)
    assert told["MessageAttributes"]["kind"]["Value"] == "finding-digest"
    text = " ".join(told["Message"].split())
    assert "IAM role ShopCheckout has unused permissions" in text
    assert "owner checkout@northwind.example" in text
    assert "proposal to review" in text
    assert len(deployed.messages(finding_id)) == 1

    # Within the cool-down another finding about the role starts no second proposal.
    proposals = len(demo.proposals_of(deployed.box, role.arn))
    deployed.send(deployed.event("shop-prod/ShopCheckout", finding_id="cool-1"))
    (run,) = deployed.runs_about("cool-1", 1)
    states = [
        each["stateEnteredEventDetails"]["name"]
        for each in deployed.history(run["execution_arn"])
        if "stateEnteredEventDetails" in each
    ]
    assert "Record finding" in states
    assert "Start policy workflow" not in states
    assert len(demo.proposals_of(deployed.box, role.arn)) == proposals


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

    for finding_id in ("ext-1", "int-1"):
        assert deployed.run_of("finding", finding_id)["outcome"] == "succeeded"
    deployed.tell()
    told = deployed.message("public-bucket")
    assert "everybody (public)" in told["Message"]
    attributes = {name: each["Value"] for name, each in told["MessageAttributes"].items()}
    assert (attributes["kind"], attributes["severity"]) == ("finding", "high")
    assert (attributes["news"], attributes["account_id"]) == ("first_sight", shop)
    assert "critical-data" in deployed.message("critical-data")["Message"]
    assert not [run for run in demo.runs_of(deployed.box, "policy") if "bucket" in run["subject"]]


def test_repeated_and_late_events_tell_nobody_twice(deployed: Deployed) -> None:
    now, finding_id = datetime.now(UTC), "repeated-1"
    more = {"finding_id": finding_id, "findingType": "UnusedIAMRole", **a_role(deployed, "Twice")}
    newest = deployed.event(updated_at=now, **more)
    older = deployed.event(updated_at=now - timedelta(hours=1), **more)

    for event in (newest, newest, older):
        deployed.send(event)

    deployed.runs_about(finding_id, 3)
    deployed.tell()
    deployed.tell()
    assert len(deployed.messages(finding_id)) == 1
    item = demo.finding_item(deployed.box, finding_id)
    assert item is not None
    assert item["finding"]["updated_at"] == json.loads(newest["Detail"])["updatedAt"]


def test_resolved_finding_is_recorded_and_told(deployed: Deployed) -> None:
    now = datetime.now(UTC)
    more = {
        "findingType": "UnusedIAMRole", "finding_id": "resolved-1", **a_role(deployed, "Resolved")
    }  # fmt: skip

    deployed.send(deployed.event(updated_at=now, **more))
    deployed.runs_about("resolved-1", 1)
    deployed.tell()
    assert "IAM role Resolved is not used" in deployed.message("resolved-1")["Message"]
    later = {"status": "RESOLVED", "previousStatus": "ACTIVE"}
    deployed.send(deployed.event(updated_at=now + timedelta(seconds=5), **later, **more))
    deployed.runs_about("resolved-1", 2)
    deployed.tell()

    told = deployed.messages("resolved-1")
    assert len(told) == 2
    assert "closed: IAM role Resolved" in told[1]["Message"]
    item = demo.finding_item(deployed.box, "resolved-1")
    assert item is not None
    assert item["status"] == "RESOLVED"


def test_second_start_for_the_same_state_of_a_finding_is_harmless(deployed: Deployed) -> None:
    # A new execution records the very finding the policy workflow was started for already.
    event = deployed.event("shop-prod/ShopCheckout", finding_id="second-start")
    deployed.send(event)
    (first,) = deployed.runs_about("second-start", 1)
    deployed.ended(_policy_execution(deployed, first))
    box = deployed.box
    box.hub("dynamodb").delete_item(
        TableName=box.outputs["FindingsTableName"], Key={"finding_id": {"S": "second-start"}}
    )
    deployed.forget(COOL_DOWN)

    deployed.send(event)

    runs = deployed.runs_about("second-start", 2)
    assert {run["outcome"] for run in runs} == {"succeeded"}
    second = next(run for run in runs if run != first)
    states = [
        each["stateEnteredEventDetails"]["name"]
        for each in deployed.history(second["execution_arn"])
        if "stateEnteredEventDetails" in each
    ]
    assert "Start policy workflow" in states
    role = deployed.box.created.organization.principal("shop-prod/ShopCheckout").arn
    proposals = demo.proposals_of(deployed.box, role)
    assert len([each for each in proposals if each["finding_id"] == "second-start"]) == 1


def _policy_execution(deployed: Deployed, run: dict[str, Any]) -> str:
    """Return the policy execution that a run of the finding workflow started."""
    for each in deployed.history(run["execution_arn"]):
        details = each.get("stateExitedEventDetails", {})
        if details.get("name") == "Start policy workflow":
            arn: str = json.loads(details["output"])["policy_workflow"]["ExecutionArn"]
            return arn
    raise AssertionError(f"{run['execution_arn']} started none")


def a_role(deployed: Deployed, name: str) -> dict[str, str]:
    """Return what an event says of a role that no other test's findings are about."""
    shop = deployed.box.created.organization.account("shop-prod").account_id
    arn = f"arn:aws:iam::{shop}:role/{name}"
    return {"resource": arn, "resourceType": "AWS::IAM::Role", "accountId": shop}
