"""What is meant to be so: archived once, by a person or by a rule, quiet in every Region."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from local import demo
from local.deploy import PARTNER_ACCOUNT
from local.seed_findings import (
    EXTERNAL_ACCESS_ANALYZER,
    OUTSIDE_ACCOUNT,
    SeedFinding,
    external_access_finding,
)
from pare.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from tests.local.deployed.conftest import Deployed

PERSON = "findings-clerk"


def trust(
    deployed: Deployed, role: str, region: str, principal: str = OUTSIDE_ACCOUNT
) -> SeedFinding:
    organization = deployed.box.created.organization
    account = organization.account("shop-prod").account_id
    return external_access_finding(
        organization,
        datetime.now(UTC),
        account_id=account,
        resource=f"arn:aws:iam::{account}:role/{role}",
        resource_type="AWS::IAM::Role",
        principal={"AWS": principal},
        actions=("sts:AssumeRole",),
        region=region,
    )


@pytest.fixture
def person(deployed: Deployed) -> Iterator[dict[str, str]]:
    """The credentials of somebody who may do what docs/findings.md lists, and nothing else."""
    box, outputs = deployed.box, deployed.box.outputs
    iam, hub = box.hub("iam"), box.created.organization.hub_account.account_id
    home = box.created.organization.home_region
    tables = [
        f"arn:aws:dynamodb:{home}:{hub}:table/{outputs[name]}"
        for name in ("FindingsTableName", "CardsTableName")
    ]
    allowed: list[tuple[list[str], list[str]]] = [
        (["cloudformation:DescribeStacks", "kms:Decrypt"], ["*"]),
        (["dynamodb:Scan", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"],
         tables),
        (["access-analyzer:UpdateFindings", "access-analyzer:GetFinding"],
         [f"arn:aws:access-analyzer:*:{hub}:analyzer/*"]),
        (["states:StartExecution"], [outputs["FindingWorkflowArn"]]),
    ]  # fmt: skip
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": resources}
        for actions, resources in allowed
    ]
    iam.create_user(UserName=PERSON)
    iam.put_user_policy(
        UserName=PERSON,
        PolicyName="findings",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    key = iam.create_access_key(UserName=PERSON)["AccessKey"]
    yield {
        **box.emulator.environment(hub, home),
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    iam.delete_access_key(UserName=PERSON, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=PERSON, PolicyName="findings")
    iam.delete_user(UserName=PERSON)


@pytest.fixture
def pare(person: dict[str, str]) -> Callable[..., Result]:
    """Runs a command as that person."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["findings", *arguments], env=person)
        assert result.exit_code == code, result.output
        return result

    return run


def item(deployed: Deployed, finding: SeedFinding) -> dict[str, Any]:
    found = demo.finding_item(deployed.box, finding.finding["id"])
    assert found is not None
    return found


def test_archived_by_a_person_in_every_region_now_and_later(
    deployed: Deployed, pare: Callable[..., Result], person: dict[str, str]
) -> None:
    home, away, later = ("eu-west-1", "eu-central-1", "us-east-1")
    first, second = trust(deployed, "NightlyExport", home), trust(deployed, "NightlyExport", away)
    with deployed.nobody_told():
        deployed.plant(first, second)
    deployed.tell()
    assert len(deployed.messages("NightlyExport")) == 1
    finding_id = first.finding["id"]
    expires = f"{datetime.now(UTC).date() + timedelta(days=200)}"

    done = pare("archive", finding_id, "--all-regions", "--expires", expires,
                "--reason", "The partner fetches the export, contract 2026-17")  # fmt: skip

    assert "2 findings: 2 archived." in done.stdout
    deployed.settle()
    hub = deployed.box.created.organization.hub_account.account_id
    for finding in (first, second):
        found = item(deployed, finding)
        assert found["status"] == "ARCHIVED"
        assert found["archived"]["by"] == f"arn:aws:iam::{hub}:user/{PERSON}"
        assert found["archived"]["how"] == "pare findings archive"
        assert found["archived"]["reason"].endswith("contract 2026-17")
        region = finding.analyzer_arn.split(":")[3]
        there = deployed.box.emulator.client("accessanalyzer", hub, region).get_finding_v2(
            analyzerArn=finding.analyzer_arn, id=finding.finding["id"]
        )
        assert there["status"] == "ARCHIVED"

    # The same access in another Region is archived as it comes, and nobody hears of either.
    third = trust(deployed, "NightlyExport", later)
    deployed.plant(third)
    deployed.settle()
    assert item(deployed, third)["status"] == "ARCHIVED"
    assert item(deployed, third)["archived"]["how"] == "exemption"
    deployed.tell()
    assert len(deployed.messages("NightlyExport")) == 1
    shown = json.loads(pare("show", finding_id, "--format", "json").stdout)
    assert shown["is_open"] is False
    (exemption,) = shown["card"]["exemptions"]
    assert exemption["expires"] == expires

    # Another one that opens the role is news all the same.
    other = trust(deployed, "NightlyExport", home, "777766665555")
    deployed.plant(other)
    deployed.tell()
    assert len(deployed.messages("NightlyExport")) == 2

    opened = pare("unarchive", finding_id, "--all-regions")
    assert "3 findings: 3 opened." in opened.stdout
    deployed.settle()
    assert {item(deployed, each)["status"] for each in (first, second, third)} == {"ACTIVE"}
    deployed.tell()
    assert len(deployed.messages("NightlyExport")) == 3


def test_who_archived_it_in_the_console_is_noted_and_told(
    deployed: Deployed, person: dict[str, str]
) -> None:
    finding = trust(deployed, "ConsoleExport", "eu-central-1")
    deployed.plant(finding)
    deployed.tell()
    (first,) = deployed.messages("ConsoleExport")
    assert first["MessageAttributes"]["news"]["Value"] == "first_sight"
    deployed.box.emulator.control("settings", {"cloudtrail_events": True})
    client = deployed.box.emulator.client_with(
        "accessanalyzer",
        access_key_id=person["AWS_ACCESS_KEY_ID"],
        secret_access_key=person["AWS_SECRET_ACCESS_KEY"],
        region="eu-central-1",
    )

    client.update_findings(
        analyzerArn=finding.analyzer_arn, ids=[finding.finding["id"]], status="ARCHIVED"
    )
    deployed.settle()

    archived = item(deployed, finding)["archived"]
    assert archived["how"] == "call"
    assert archived["by"].endswith(f":user/{PERSON}")
    assert archived["reason"] is None
    deployed.tell()
    (_, told) = deployed.messages("ConsoleExport")
    assert told["MessageAttributes"]["news"]["Value"] == "archived"
    assert f"user/{PERSON}" in told["Message"]


def test_rule_of_the_file_is_put_everywhere_and_ends(deployed: Deployed) -> None:
    organization = deployed.box.created.organization
    hub = organization.hub_account.account_id
    finding = trust(deployed, "partners/PartnerFeed", "us-east-1", PARTNER_ACCOUNT)
    with deployed.terms("Reconcile", _expired):  # other tests' reconciles brought it
        deployed.reconcile()
    with deployed.nobody_told():
        deployed.plant(finding)
        deployed.reconcile()

    def rules(region: str) -> set[str]:
        client = deployed.box.emulator.client("accessanalyzer", hub, region)
        listed = client.list_archive_rules(analyzerName=EXTERNAL_ACCESS_ANALYZER)
        return {rule["ruleName"] for rule in listed["archiveRules"]}

    for region in organization.regions:
        assert "pare-carrier-parcels" in rules(region)
    found = item(deployed, finding)
    assert found["status"] == "ARCHIVED"
    assert found["archived"]["how"] == "archive rule carrier-parcels"

    # Somebody opens it wide at one analyzer: it is put back, and that is told.
    client = deployed.box.emulator.client("accessanalyzer", hub, "us-east-1")
    wide = {"resourceType": {"eq": ["AWS::IAM::Role"]}}
    client.update_archive_rule(
        analyzerName=EXTERNAL_ACCESS_ANALYZER, ruleName="pare-carrier-parcels", filter=wide
    )
    deployed.reconcile()
    rule = client.get_archive_rule(
        analyzerName=EXTERNAL_ACCESS_ANALYZER, ruleName="pare-carrier-parcels"
    )["archiveRule"]
    assert rule["filter"]["principal.AWS"] == {"eq": [PARTNER_ACCOUNT]}
    deployed.tell()
    (drift,) = deployed.messages("Differences: changed: pare-carrier-parcels")
    assert drift["MessageAttributes"]["finding_type"]["Value"] == "ArchiveRuleDrift"

    # The day after its last one.
    with deployed.terms("Reconcile", _expired):
        deployed.reconcile()
    for region in organization.regions:
        assert "pare-carrier-parcels" not in rules(region)
    found = item(deployed, finding)
    assert (found["status"], found.get("archived")) == ("ACTIVE", None)
    deployed.tell()
    assert deployed.messages("PartnerFeed")
    deployed.reconcile()
    assert item(deployed, finding)["status"] == "ARCHIVED"


def _expired(terms: dict[str, Any]) -> None:
    for rule in terms["archive_rules"]:
        rule["expires"] = f"{datetime.now(UTC).date() - timedelta(days=1)}"
