"""The monthly inventory: every account, one snapshot, once a period."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_inventory_collects_every_account_and_starts_once_a_period(deployed: Deployed) -> None:
    box = deployed.box
    started = {"scheduled_at": "2026-11-01T06:00:00Z"}

    first = deployed.ended(deployed.start("Inventory", started))
    second = deployed.ended(deployed.start("Inventory", started))

    assert (first["status"], second["status"]) == ("SUCCEEDED", "SUCCEEDED")
    bucket = box.outputs["EvidenceBucketName"]
    snapshot = demo.read_json(
        box, {"bucket": bucket, "key": "inventory/period=2026-11/snapshot.json"}
    )
    assert {account["account_id"] for account in snapshot["accounts"]} == set(
        box.created.account_ids
    )
    assert snapshot["unknown_accounts"] == []
    body = (
        box.hub("s3")
        .get_object(Bucket=bucket, Key="inventory/period=2026-11/principals.ndjson.gz")["Body"]
        .read()
    )
    rows = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    assert len(rows) == snapshot["principal_count"]
    found = {row["principal_arn"]: row for row in rows}
    checkout = found[box.created.organization.principal("shop-prod/ShopCheckout").arn]
    assert checkout["owner"] == "checkout@northwind.example"
    assert "service-linked role" in snapshot["by_kind"]
    told = deployed.messages("Inventory 2026-11")
    assert len(told) == 1
    assert "5 accounts" in told[0]["Subject"]
    (run,) = [run for run in demo.runs_of(box, "inventory") if run["subject"] == "2026-11"]
    assert run["counts"]["account_count"] == 5


def test_account_that_cannot_be_read_is_unknown_not_a_failed_run(deployed: Deployed) -> None:
    box = deployed.box
    account = box.created.organization.account("data-prod").account_id
    iam = box.emulator.client("iam", account)
    trust = iam.get_role(RoleName="PareMember")["Role"]["AssumeRolePolicyDocument"]
    closed = {**trust, "Statement": [{**trust["Statement"][0], "Effect": "Deny"}]}
    iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(closed))
    try:
        ended = deployed.ended(
            deployed.start("Inventory", {"scheduled_at": "2026-12-01T06:00:00Z"})
        )
    finally:
        iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(trust))

    assert ended["status"] == "SUCCEEDED"
    snapshot = demo.read_json(
        box,
        {"bucket": box.outputs["EvidenceBucketName"],
         "key": "inventory/period=2026-12/snapshot.json"},
    )  # fmt: skip
    (unknown,) = snapshot["unknown_accounts"]
    assert unknown["account_id"] == account
    assert unknown["error"] == "MemberAccountError"
    told = deployed.message("Inventory 2026-12")
    assert "4 accounts" in told["Subject"]
    assert account in told["Message"]


def test_schedule_names_the_inventory_workflow_and_its_time(deployed: Deployed) -> None:
    scheduler = deployed.box.hub("scheduler")
    (found,) = (
        scheduler.get_schedule(Name=each["Name"])
        for each in scheduler.list_schedules()["Schedules"]
        if "Inventory" in each["Name"]
    )
    assert found["State"] == "ENABLED"
    assert found["ScheduleExpression"] == "cron(0 6 1 * ? *)"
    assert found["Target"]["DeadLetterConfig"]["Arn"]
    assert found["Target"]["Arn"] == deployed.box.outputs["InventoryWorkflowArn"]
    assert json.loads(found["Target"]["Input"]) == {
        "scheduled_at": "<aws.scheduler.scheduled-time>"
    }
