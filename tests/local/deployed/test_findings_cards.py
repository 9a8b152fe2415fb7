"""One card for all findings of a resource, over Regions and time; each news of it is told once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from local import demo
from local.seed_findings import OUTSIDE_ACCOUNT, SeedFinding, external_access_finding

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed


def shop(deployed: Deployed) -> str:
    return deployed.box.created.organization.account("shop-prod").account_id


def told(deployed: Deployed, text: str) -> list[tuple[str, str]]:
    """Return news and text of each message about a single card so far, that contains a text."""
    return [
        (each["MessageAttributes"]["news"]["Value"], " ".join(each["Message"].split()))
        for each in deployed.messages(text)
        if each["MessageAttributes"]["kind"]["Value"] == "finding"
    ]


def test_role_trust_in_every_region_is_one_card_and_one_message(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    role = f"arn:aws:iam::{shop(deployed)}:role/SharedOutside"
    findings = [
        external_access_finding(
            organization,
            datetime.now(UTC),
            account_id=shop(deployed),
            resource=role,
            resource_type="AWS::IAM::Role",
            principal={"AWS": OUTSIDE_ACCOUNT},
            actions=("sts:AssumeRole",),
            region=region,
        )
        for region in organization.regions
    ]

    # On the default bus of each Region: from the other Regions it is one hop to the hub bus.
    with deployed.nobody_told():
        deployed.plant(*findings)
    deployed.tell()

    card = deployed.card(shop(deployed), role)
    assert {each["region"] for each in card["open"].values()} == set(organization.regions)
    ((news, text),) = told(deployed, "SharedOutside")
    assert news == "first_sight"
    for region in organization.regions:
        assert region in text
    assert "can be assumed by outside account" in text
    (message,) = deployed.messages("SharedOutside")
    attributes = {name: each["Value"] for name, each in message["MessageAttributes"].items()}
    assert (attributes["severity"], attributes["account_id"]) == ("high", shop(deployed))


def test_life_of_a_card_is_told_once_each_time_though_events_repeat(deployed: Deployed) -> None:
    organization, bucket = deployed.box.created.organization, "arn:aws:s3:::northwind-life"
    deployed.box.emulator.control("settings", {"event_faults": {"twice": 1.0, "late": 0.4}})

    def finding(principal: str, *actions: str) -> SeedFinding:
        return external_access_finding(
            organization,
            datetime.now(UTC),
            account_id=shop(deployed),
            resource=bucket,
            principal={"AWS": principal},
            actions=actions,
            is_public=principal == "*",
        )

    def heard(count: int) -> tuple[str, str]:
        """Return the newest message, after two rounds; there must be so many."""
        deployed.tell()
        deployed.tell()
        found = told(deployed, "northwind-life")
        assert len(found) == count, found
        return found[-1]

    outside = finding(OUTSIDE_ACCOUNT, "s3:GetObject")
    deployed.plant(outside)
    assert heard(1)[0] == "first_sight"

    public = finding("*", "s3:GetObject", "s3:PutObject")
    deployed.plant(public)
    news, text = heard(2)
    assert news == "worsened"
    assert "Severity: medium -> critical." in text

    # A partial fix: Access Analyzer resolves the finding, and makes another of what is left.
    left = finding("*", "s3:GetObject")
    left = SeedFinding(left.event, {**left.finding, "id": f"{left.finding['id'][:-4]}0001"})
    deployed.end("resolve", public, outside)
    deployed.plant(left)
    (changed,) = digests(deployed, "northwind-life")
    assert "changed: S3 bucket northwind-life is open to everybody" in changed

    deployed.end("resolve", left)
    # An event of long ago comes at last.
    deployed.send(public.put_events_entry(deployed.box.outputs["HubBusName"]))
    deployed.settle()
    # As it was last told with a digest, its end is too.
    _, closed = digests(deployed, "northwind-life")
    assert "closed: S3 bucket northwind-life is no longer open" in closed
    assert deployed.card(shop(deployed), bucket)["open"] == {}

    deployed.plant(finding(OUTSIDE_ACCOUNT, "s3:GetObject"))
    assert heard(3)[0] == "reopened"


def digests(deployed: Deployed, text: str) -> list[str]:
    """Return the digests that contain a text, after two rounds."""
    deployed.tell()
    deployed.tell()
    return [
        " ".join(each["Message"].split())
        for each in deployed.messages(text)
        if each["MessageAttributes"]["kind"]["Value"] == "finding-digest"
    ]


def test_round_stopped_before_it_was_noted_says_so_the_next_time(deployed: Deployed) -> None:
    arn = f"arn:aws:iam::{shop(deployed)}:role/Stopped"
    deployed.send(
        deployed.event(
            finding_id="stopped-1",
            findingType="UnusedIAMRole",
            resource=arn,
            resourceType="AWS::IAM::Role",
            accountId=shop(deployed),
        )
    )
    deployed.settle()
    deployed.tell(due_by=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")  # what others left behind
    due_by = f"{datetime.now(UTC) + timedelta(days=8):%Y-%m-%dT%H:%M:%SZ}"
    # It never can, and its process dies at that: there is time to stop it between two tries.
    kill = {"operation": "ParePipeline-SettleMessage", "kind": "kill", "count": None}
    deployed.box.emulator.control("faults", {"faults": [kill]})
    with deployed.without_right("ParePipeline-SettleMessageRole", "dynamodb:"):
        execution = deployed.start("Notification", {"kind": "hourly", "due_by": due_by})
        demo.wait_for(lambda: "TaskFailed" in events_of(deployed, execution), "the publishing")
        deployed.box.hub("stepfunctions").stop_execution(executionArn=execution)
        assert deployed.ended(execution)["status"] == "ABORTED"
    deployed.box.emulator.control("faults", method="DELETE")

    first, second = digests(deployed, "stopped-1")
    assert "perhaps told before" not in first
    assert "perhaps told before" in second
    assert deployed.card(shop(deployed), arn)["telling"] is None


def events_of(deployed: Deployed, execution: str) -> list[str]:
    return [event["type"] for event in deployed.history(execution)]
