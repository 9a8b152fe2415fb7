"""The findings' commands against the deployed app, as a newcomer runs them; and access previews."""

from __future__ import annotations

import csv
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from local.seed_findings import (
    EXTERNAL_ACCESS_ANALYZER,
    SeedFinding,
    analyzer_arn,
    external_access_finding,
)
from pare.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

    from tests.local.deployed.conftest import Deployed


@pytest.fixture(scope="module")
def site(deployed: Deployed) -> SeedFinding:
    """A bucket that everybody may read, of which nobody has heard yet."""
    organization = deployed.box.created.organization
    found = external_access_finding(
        organization,
        datetime.now(UTC),
        account_id=organization.account("data-prod").account_id,
        resource="arn:aws:s3:::northwind-site",
        is_public=True,
    )
    with deployed.nobody_told():
        deployed.plant(found)
    return found


@pytest.fixture(scope="module")
def pare(deployed: Deployed) -> Callable[..., Result]:
    local = ("--local", "--state-dir", str(deployed.box.emulator.state_dir))

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["findings", *arguments, *local])
        assert result.exit_code == code, result.output
        return result

    return run


def test_list_show_and_tell(
    deployed: Deployed, pare: Callable[..., Result], site: SeedFinding
) -> None:
    finding_id = site.finding["id"]

    text = pare("list", "--account", "data-prod").stdout
    rows = list(csv.DictReader(pare("list", "--format", "csv").stdout.splitlines()))
    listed = json.loads(pare("list", "--all", "--format", "json").stdout)
    pare("list", "--account", "data-prod", "--fail-on", "high", code=1)

    (line,) = (line for line in text.splitlines() if "northwind-site" in line)
    assert line.startswith("high")
    assert "everybody: read" in line
    (row,) = (row for row in rows if row["finding_id"] == finding_id)
    assert (row["severity"], row["account_name"], row["told_at"]) == ("high", "data-prod", "")
    (card,) = (
        card for card in listed["cards"] if card["resource"] == "arn:aws:s3:::northwind-site"
    )
    assert card["told"] is None and card["due_at"]

    told = pare("tell", "--digest", "--wait").stdout
    assert "It ended: SUCCEEDED." in told
    assert len(deployed.messages("S3 bucket northwind-site is open to everybody")) == 1
    shown = pare("show", "arn:aws:s3:::northwind-site").stdout
    assert "HIGH: S3 bucket northwind-site is open to everybody" in " ".join(shown.split())
    assert "first sight, by itself" in shown
    assert f"pare findings archive {finding_id}" in shown
    by_id = json.loads(pare("show", finding_id[:8], "--format", "json").stdout)
    assert by_id["asked_finding_id"] == finding_id
    assert by_id["card"]["told"]["news"] == "first_sight"
    refused = pare("archive", finding_id, "--reason", "Public website", code=2)
    assert "add --yes if you mean it" in refused.stderr


def test_reconcile_says_how_it_ended(pare: Callable[..., Result]) -> None:
    answer = json.loads(pare("reconcile", "--wait", "--format", "json").stdout)

    assert (answer["state"], answer["status"]) == ("started", "SUCCEEDED")


def test_access_preview_is_told_once(deployed: Deployed, site: SeedFinding) -> None:
    arn = analyzer_arn(deployed.box.created.organization, EXTERNAL_ACCESS_ANALYZER)
    account = site.finding["resourceOwnerAccount"]
    moment = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    would_open = {
        "id": "00000000-0000-4000-8000-00000000aaaa",
        "resource": "arn:aws:s3:::northwind-plan",
        "resourceType": "AWS::S3::Bucket",
        "resourceOwnerAccount": account,
        "createdAt": moment,
        "changeType": "NEW",
        "status": "ACTIVE",
        "isPublic": True,
        "principal": {"AWS": "*"},
        "action": ["s3:GetObject"],
    }

    def preview(bucket: str, status: str, **more: Any) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, bucket)),
            "configurations": {f"arn:aws:s3:::northwind-{bucket}": {"s3Bucket": {}}},
            "createdAt": moment,
            "status": status,
            **more,
        }

    states = [
        preview("plan", "CREATING"),
        preview("plan", "COMPLETED", findings=[would_open]),
        preview("plan", "COMPLETED", findings=[would_open]),  # its event comes again
        preview("broken", "FAILED", statusReason={"code": "INVALID_CONFIGURATION"}),
        preview("harmless", "COMPLETED", findings=[]),
    ]
    for each in states:
        body = {"analyzer_arn": arn, "events": True, "previews": [each]}
        deployed.box.emulator.control("previews", body)
    deployed.settle()

    (opens,) = deployed.messages("northwind-plan")
    assert "would be open to 1 more principal" in " ".join(opens["Message"].split())
    assert opens["MessageAttributes"]["kind"]["Value"] == "preview"
    (failed,) = deployed.messages("northwind-broken")
    assert "nobody knows what would be open" in " ".join(failed["Message"].split())
    assert deployed.messages("northwind-harmless") == []
