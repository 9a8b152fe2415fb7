"""The inventory of the emulated organization says of everybody what is planted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from local import demo
from pare.arns import parse_principal_arn
from pare.policy.current import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.deployed.conftest import Deployed

# Months that no other test takes an inventory of, and that nothing is compared with but each other.
LAST, THIS = "2033-05", "2033-06"


@pytest.fixture(scope="module")
def inventory(deployed: Deployed) -> Iterator[demo.Inventory]:
    """This month's inventory, after 90 days of activity and last month's inventory."""
    box = deployed.box
    demo.read_logs(box, days=90)
    yield demo.take_two_inventories(box, LAST, THIS)
    evidence = box.hub("s3")
    bucket = box.outputs["EvidenceBucketName"]
    # Other tests begin without digests, as on the first night.
    for prefix in ("activity/", f"inventory/period={LAST}", f"inventory/period={THIS}"):
        pages = evidence.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for each in page.get("Contents", []):
                evidence.delete_object(Bucket=bucket, Key=each["Key"])


def test_everybody_is_classified_as_planted(deployed: Deployed, inventory: demo.Inventory) -> None:
    found = demo.compare_with_truth(deployed.box, inventory)

    assert found.differences == ()
    assert found.right == found.count > 50


def test_nobody_else_is_there_but_pare_itself(
    deployed: Deployed, inventory: demo.Inventory
) -> None:
    organization = deployed.box.created.organization
    planted = {principal.arn for principal in organization.principals()}
    others = [row for row in inventory.rows if row["principal_arn"] not in planted]

    assert planted <= {row["principal_arn"] for row in inventory.rows}
    for row in others:
        principal = parse_principal_arn(row["principal_arn"])
        # What is deployed, and the roles of the CDK's bootstrap it is deployed with.
        assert principal.name.startswith(("Pare", "AccessAnalyzerMonitorServiceRole")) or (
            kind_of(principal) == "bootstrap role"
        ), row["principal_arn"]
        assert row["class"] in ("keep", "review"), (row["principal_arn"], row["reasons"])


def test_what_changed_since_last_month_is_told(
    deployed: Deployed, inventory: demo.Inventory
) -> None:
    organization = deployed.box.created.organization
    rows = {row["principal_arn"]: row for row in inventory.rows}
    snapshot = inventory.snapshot

    assert snapshot["previous"] == LAST
    assert snapshot["counts"]["gone"] == 2
    new = {arn for arn, row in rows.items() if row["change"] == "new"}
    # One has the name of another that is gone.
    assert new == {
        organization.principal(f"shop-prod/{name}").arn for name in ("ReturnsPortal", "CatalogSync")
    }
    load = rows[organization.principal("data-prod/NightlyLoad").arn]
    assert (load["change"], "policies" in load["changes"]) == ("changed", True)
    assert [month["period"] for month in snapshot["trend"]][-2:] == [LAST, THIS]


def test_planned_dates_are_carried_from_month_to_month(
    deployed: Deployed, inventory: demo.Inventory
) -> None:
    organization = deployed.box.created.organization
    rows = {row["principal_arn"]: row for row in inventory.rows}
    today = datetime.fromisoformat(inventory.snapshot["as_of"]).astimezone(UTC).date()

    def plan(name: str) -> dict[str, object]:
        (only,) = rows[organization.principal(name).arn]["plans"]
        return dict(only)

    def day(number: int) -> str:
        return f"{today + timedelta(days=number)}"

    exporter = plan("shop-prod/LegacyExporter")
    assert (exporter["announced_on"], exporter["disable_on"]) == (day(-92), day(-62))
    assert (exporter["times_announced"], exporter["disabled_on"]) == (4, None)
    # Announced a month ago, as everything that last_month.yaml says nothing else of.
    assert plan("shop-prod/CatalogImport")["disable_on"] == day(-1)
    retired = plan("data-prod/RetiredMailer")
    assert (retired["disabled_on"], retired["delete_on"]) == (day(-31), day(29))
    indexer = plan("shop-prod/SearchIndexer")
    assert (indexer["disabled_on"], indexer["delete_on"]) == (day(-75), day(-15))
