"""What goes wrong ends in a recorded state with its reason, and in a message with what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local import demo

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def test_malformed_event_is_kept_and_told(deployed: Deployed) -> None:
    event = deployed.event("shop-prod/ShopCheckout", finding_id="malformed-1", accountId="12")

    deployed.send(event)

    told = deployed.message("accountId is not an account id")
    assert told["Subject"] == "[Pare] The finding workflow was not accepted: FindingParseError"
    runs = [
        run for run in demo.runs_of(deployed.box, "finding")
        if run["error"] == "FindingParseError"
    ]  # fmt: skip
    assert runs[-1]["outcome"] == "rejected"
    kept = demo.read_json(deployed.box, runs[-1]["input"])
    assert kept["detail"]["findingId"] == "malformed-1"


def test_unknown_detail_type_is_recorded_not_dropped(deployed: Deployed) -> None:
    deployed.send(deployed.event("shop-prod/ShopCheckout", detail_type="Quantum Access Finding"))

    told = deployed.message("Quantum Access Finding")
    assert "UnknownFindingError" in told["Subject"]
    assert "update Pare" in told["Message"].replace("\n", " ")


def test_unknown_finding_type_is_recorded_not_dropped(deployed: Deployed) -> None:
    deployed.send(deployed.event("shop-prod/ShopCheckout", findingType="UnusedQuantumKey"))

    assert "UnknownFindingError" in deployed.message("UnusedQuantumKey")["Subject"]


def test_principal_that_no_longer_exists_is_recorded_and_told(deployed: Deployed) -> None:
    account = deployed.box.created.organization.account("shop-prod").account_id
    arn = f"arn:aws:iam::{account}:role/Departed"

    deployed.send(deployed.event("shop-prod/ShopCheckout", resource=arn, finding_id="gone-1"))

    run = deployed.run_of("policy", arn)
    assert run["outcome"] == "rejected"
    assert run["error"] == "PrincipalNotFoundError"
    told = demo.wait_for(
        lambda: [
            message for message in deployed.messages("role/Departed")
            if "PrincipalNotFoundError" in message["Subject"]
        ],
        "the message",
    )  # fmt: skip
    assert "Nothing, if it was deleted on purpose" in told[0]["Message"].replace("\n", " ")
    item = demo.finding_item(deployed.box, "gone-1")
    assert item is not None
    assert any(entry.startswith("tags:") for entry in item["finding"]["unknown"])


def test_account_that_cannot_be_entered_is_recorded_and_told(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    account = organization.account("data-prod").account_id
    iam = deployed.box.emulator.client("iam", account)
    trust = iam.get_role(RoleName="PareMember")["Role"]["AssumeRolePolicyDocument"]
    closed = {**trust, "Statement": [{**trust["Statement"][0], "Effect": "Deny"}]}
    iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(closed))
    try:
        deployed.send(deployed.event("data-prod/ReportReader", finding_id="closed-1"))

        run = deployed.run_of("policy", organization.principal("data-prod/ReportReader").arn)
        if run["outcome"] == "succeeded":  # of another test; wait for ours
            run = demo.wait_for(
                lambda: next(
                    (r for r in demo.runs_of(deployed.box, "policy")
                     if r["error"] == "MemberAccountError"), None),
                "the rejected run",
            )  # fmt: skip
        assert run["error"] == "MemberAccountError"
        assert account in run["message"]
        told = deployed.message(run["execution_arn"])
        assert "pare doctor --only members" in told["Message"].replace("\n", " ")
    finally:
        iam.update_assume_role_policy(RoleName="PareMember", PolicyDocument=json.dumps(trust))


def test_event_that_cannot_be_delivered_waits_in_the_dead_letter_queue(deployed: Deployed) -> None:
    box = deployed.box
    iam, events = box.hub("iam"), box.hub("events")
    rules = events.list_rules(EventBusName=box.outputs["HubBusName"])["Rules"]
    targets = [
        target
        for rule in rules
        for target in events.list_targets_by_rule(
            Rule=rule["Name"], EventBusName=box.outputs["HubBusName"]
        )["Targets"]
    ]
    role = targets[0]["RoleArn"].rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName=policy)
    try:
        deployed.send(deployed.event("shop-prod/ShopCheckout", finding_id="undelivered-1"))

        answer = demo.wait_for(
            lambda: box.hub("sqs").receive_message(
                QueueUrl=box.outputs["FindingDeadLettersUrl"], WaitTimeSeconds=1
            ).get("Messages"),
            "the dead letter",
        )  # fmt: skip
        assert "undelivered-1" in answer[0]["Body"]
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    # Redriven as docs/operations.md says: the event is put on the bus again.
    body = json.loads(answer[0]["Body"])
    deployed.send({
        "Source": body["source"], "DetailType": body["detail-type"],
        "Resources": body["resources"], "Detail": json.dumps(body["detail"]),
    })  # fmt: skip
    assert deployed.run_of("finding", "undelivered-1")["outcome"] == "succeeded"
