"""The monthly inventory: every account, one snapshot, once a period."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def cards(deployed: Deployed, queue_url: str) -> list[dict[str, Any]]:
    """Return what came to the chat topic's queue, as Amazon Q would see it."""
    return [
        json.loads(message["Message"])
        for message in demo.receive(deployed.box, queue_url, 1_000, seconds=2)
    ]


def chat_queue(deployed: Deployed) -> str:
    """Return the URL of a queue that gets what the chat channel gets."""
    sqs, topic = deployed.box.hub("sqs"), deployed.box.outputs["ChatTopicArn"]
    url = str(sqs.create_queue(QueueName="test-chat")["QueueUrl"])
    names = ["QueueArn"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    deployed.box.hub("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def test_inventory_reads_every_account_reports_and_tells(deployed: Deployed) -> None:
    box, chat = deployed.box, chat_queue(deployed)

    deployed.take_inventory("2028-11")

    snapshot, found = deployed.snapshot("2028-11"), deployed.principals("2028-11")
    accounts = {account["account_id"]: account for account in snapshot["accounts"]}
    assert accounts.keys() == set(box.created.account_ids)
    assert snapshot["unknown_account_count"] == 0
    assert (snapshot["previous"], snapshot["account_count"]) == (None, len(accounts))
    assert found.keys() == deployed.in_iam()
    assert snapshot["counts"]["principals"] == len(found)
    assert snapshot["counts"]["last_accessed_unknown"] == 0
    assert all(account["root"] is not None for account in accounts.values())
    checkout = found[box.created.organization.principal("shop-prod/ShopCheckout").arn]
    assert checkout["owner"] == "checkout@northwind.example"
    assert checkout["class"] in {"keep", "review", "narrow"}
    assert checkout["status"] == "used"
    assert {row["change"] for row in found.values()} == {None}

    files = deployed.keys("inventory/period=2028-11/")
    assert {"report.html", "report.csv", "snapshot.json", "principals.ndjson.gz"} <= files
    item = box.hub("dynamodb").get_item(
        TableName=box.outputs["PrincipalsTableName"],
        Key={
            "account_id": {"S": checkout["account_id"]},
            "principal_arn": {"S": checkout["principal_arn"]},
        },
    )["Item"]
    assert item["period"]["S"] == "2028-11"

    (told,) = deployed.messages("2028-11")
    assert "inventory" in told["Subject"].lower()
    assert "report.html" in told["Message"]
    (card,) = cards(deployed, chat)
    assert (card["version"], card["source"]) == ("1.0", "custom")
    assert card["content"]["description"]

    (run,) = [run for run in demo.runs_of(box, "inventory") if run["subject"] == "2028-11"]
    counts = run["counts"]
    assert (run["outcome"], counts["accounts"]) == ("succeeded", len(accounts))
    assert counts["principals"] == len(found)
    assert counts["child_transitions"] >= 5 * len(accounts)
    assert run["transitions"] == 12 + counts["child_transitions"]
    assert run["estimated_cost_usd"] == round(run["transitions"] * 0.000025, 6)


def test_account_that_cannot_be_entered_is_unknown_not_a_failed_run(deployed: Deployed) -> None:
    box = deployed.box
    account = box.created.organization.account("data-prod").account_id
    iam = box.emulator.client("iam", account)
    trust = iam.get_role(RoleName="PareMember")["Role"]["AssumeRolePolicyDocument"]
    closed = {**trust, "Statement": [{**trust["Statement"][0], "Effect": "Deny"}]}
    iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(closed))
    try:
        deployed.take_inventory("2028-12")
    finally:
        iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(trust))

    snapshot = deployed.snapshot("2028-12")
    (unknown,) = [each for each in snapshot["accounts"] if each["error"]]
    assert (unknown["account_id"], unknown["error"]) == (account, "MemberAccountError")
    assert snapshot["unknown_account_count"] == 1
    assert not [arn for arn in deployed.principals("2028-12") if f"::{account}:" in arn]
    told = deployed.message("2028-12")
    assert account in told["Message"]
    (run,) = [run for run in demo.runs_of(box, "inventory") if run["subject"] == "2028-12"]
    assert (run["outcome"], run["unknown"]) == ("succeeded", [account])


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
