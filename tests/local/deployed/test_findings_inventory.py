"""What the inventory finds unused is told as findings are; and what the paid analyzer says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from local.seed_findings import unused_role_finding
from pare.aws.tables import from_item
from pare.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.deployed.conftest import Deployed

# Months that no other test takes an inventory of.
FIRST, SECOND = "2037-01", "2037-02"
ROLE = "ForgottenJob"


@pytest.fixture
def role(deployed: Deployed) -> Iterator[str]:
    """A role that was made long ago and never used."""
    emulator = deployed.box.emulator
    account = deployed.box.created.organization.account("shop-prod").account_id
    iam = emulator.client("iam", account)
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
                 "Action": "sts:AssumeRole"}  # fmt: skip
    allow = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    trust, policy = (
        json.dumps({"Version": "2012-10-17", "Statement": [each]}) for each in (statement, allow)
    )
    arn: str = iam.create_role(
        RoleName=ROLE, AssumeRolePolicyDocument=trust,
        Tags=[{"Key": "owner", "Value": "jobs@northwind.example"}],
    )["Role"]["Arn"]  # fmt: skip
    iam.put_role_policy(RoleName=ROLE, PolicyName="jobs", PolicyDocument=policy)
    made = f"{datetime.now(UTC) - timedelta(days=300):%Y-%m-%dT%H:%M:%SZ}"
    emulator.control("ages", {"entries": [{"arn": arn, "created_at": made}]})
    yield arn
    iam.delete_role_policy(RoleName=ROLE, PolicyName="jobs")
    iam.delete_role(RoleName=ROLE)


def own(deployed: Deployed, arn: str) -> dict[str, Any]:
    """Return the finding of an unused role that the inventory made."""
    table = deployed.box.outputs["FindingsTableName"]
    pages = deployed.box.hub("dynamodb").get_paginator("query").paginate(
        TableName=table,
        IndexName="by_analyzer",
        KeyConditionExpression="analyzer_arn = :own",
        ExpressionAttributeValues={":own": {"S": "pare:inventory"}},
    )  # fmt: skip
    (found,) = (
        item["finding"]
        for page in pages
        for item in map(from_item, page["Items"])
        if item["resource"] == arn and item["finding"]["finding_type"] == "UnusedIAMRole"
    )
    assert isinstance(found, dict)
    return found


def pare(deployed: Deployed, *arguments: str, code: int = 0) -> str:
    local = ("--local", "--state-dir", str(deployed.box.emulator.state_dir))
    result = CliRunner().invoke(main, ["findings", *arguments, *local])
    assert result.exit_code == code, result.output
    return result.stdout


def agreement(deployed: Deployed, period: str, *arguments: str, code: int = 0) -> str:
    return pare(deployed, "agreement", "--period", period, *arguments, code=code)


def test_unused_role_is_told_until_it_is_used_and_compared_with_the_analyzer(
    deployed: Deployed, role: str
) -> None:
    legacy = deployed.box.created.organization.principal("shop-prod/LegacyExporter")
    deployed.take_inventory(FIRST)
    deployed.settle()

    finding = own(deployed, role)
    assert (finding["status"], finding["severity"]) == ("ACTIVE", "low")
    assert (finding["owner"], finding["owner_source"]) == ("jobs@northwind.example", "tag")
    assert own(deployed, legacy.arn)["status"] == "ACTIVE"
    deployed.tell()
    (told,) = deployed.messages(f"IAM role {ROLE} is not used")
    assert told["MessageAttributes"]["kind"]["Value"] == "finding-digest"
    assert deployed.messages("IAM role LegacyExporter is not used")
    found = json.loads(agreement(deployed, FIRST, "--format", "json"))
    assert found["is_on"] is False
    assert found["principals"] > 50
    assert found["estimated_usd_month"] == pytest.approx(found["principals"] * 0.2)
    text = agreement(deployed, FIRST)
    assert "AWS's unused-access analyzer is off." in text
    assert f"{found['principals']:,} roles and users at 0.20 USD each" in text

    # Somebody keeps it on purpose, and takes that back.
    assert "1 archived." in pare(deployed, "archive", finding["finding_id"], "--reason", "audit")
    deployed.settle()
    assert own(deployed, role)["status"] == "ARCHIVED"
    assert "1 opened." in pare(deployed, "unarchive", finding["finding_id"])
    deployed.settle()
    assert own(deployed, role)["status"] == "ACTIVE"

    # A month later the role is used, and the paid analyzer is on.
    use = {"principal_arn": role, "service": "sqs", "action": None, "region": "eu-west-1",
           "last_accessed_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}  # fmt: skip
    deployed.box.emulator.control("usage", {"entries": [use]})
    organization = deployed.box.created.organization
    deployed.plant(unused_role_finding(organization, legacy, datetime.now(UTC)))
    with deployed.terms("Inventory", lambda terms: terms.update(has_unused_analyzer=True)):
        deployed.take_inventory(SECOND)
    deployed.settle()

    assert own(deployed, role)["status"] == "RESOLVED"
    # The analyzer tells of this one now.
    assert own(deployed, legacy.arn)["status"] == "RESOLVED"
    deployed.tell()
    assert len(deployed.messages(f"closed: IAM role {ROLE}")) == 1
    assert deployed.messages("closed: IAM role LegacyExporter") == []
    found = json.loads(agreement(deployed, SECOND, "--format", "json", code=1))
    assert found["is_on"] is True
    assert found["counts"]["UnusedIAMRole"]["both"] >= 1
    # The analyzer was asked of one role only.
    assert found["counts"]["UnusedIAMRole"]["inventory"] >= 1
    assert "They disagree on:" in agreement(deployed, SECOND, code=1)
