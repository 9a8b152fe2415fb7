"""Whose a finding is, to whom it is open, and how grave that is: asked in every account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local import demo
from local.deploy import PARTNER_ACCOUNT
from local.seed_findings import (
    OUTSIDE_ACCOUNT,
    SeedFinding,
    external_access_finding,
    internal_access_finding,
)

if TYPE_CHECKING:
    from tests.local.deployed.conftest import Deployed

CONTACT = "data-oncall@northwind.example"


def test_owner_exposure_and_severity_of_findings_in_member_accounts(deployed: Deployed) -> None:
    organization, emulator = deployed.box.created.organization, deployed.box.emulator
    # An account of which no other finding has asked for the contact: it is kept for a while.
    account = organization.log_archive_account.account_id
    person = {
        "Name": "Data",
        "Title": "Lead",
        "PhoneNumber": "+1 555 0100",
        "EmailAddress": CONTACT,
    }
    emulator.control(
        "contacts", {"entries": [{"account_id": account, "contacts": {"SECURITY": person}}]}
    )
    s3 = emulator.client("s3", account, organization.home_region)
    where = {"LocationConstraint": organization.home_region}
    s3.create_bucket(Bucket="northwind-tagged", CreateBucketConfiguration=where)
    s3.put_bucket_tagging(
        Bucket="northwind-tagged",
        Tagging={"TagSet": [{"Key": "team", "Value": "payments & <b>co</b>"}]},
    )

    def external(bucket: str, principal: str, *actions: str) -> SeedFinding:
        return external_access_finding(
            organization,
            datetime.now(UTC),
            account_id=account,
            resource=f"arn:aws:s3:::{bucket}",
            principal={"AWS": principal},
            actions=actions,
            is_public=principal == "*",
        )

    by_contact = (CONTACT, "account contact")
    cases = [
        (external("northwind-tagged", OUTSIDE_ACCOUNT, "s3:GetObject"),
         "payments & <b>co</b>", "tag", "outside", "medium", "outside read"),
        (external("northwind-partner", PARTNER_ACCOUNT, "s3:GetObject"),
         *by_contact, "partner", "low", "partner read"),
        (external("northwind-partner-drop", PARTNER_ACCOUNT, "s3:PutObject"),
         *by_contact, "partner", "medium", "partner write"),
        (external("northwind-open", "*", "s3:GetObject"),
         *by_contact, "public", "high", "public read"),
        (external("northwind-drop", "*", "s3:PutObject"),
         *by_contact, "public", "critical", "public write"),
        (internal_access_finding(
            organization, datetime.now(UTC), account_id=account,
            resource="arn:aws:s3:::northwind-inside", actions=("s3:DeleteObject",),
            principal_arn=organization.principal("data-prod/ReportReader").arn),
         *by_contact, "organization", "medium", "organization write"),
    ]  # fmt: skip
    try:
        with deployed.nobody_told():
            deployed.plant(*(case[0] for case in cases))
    finally:
        s3.delete_bucket(Bucket="northwind-tagged")
    for finding, *expected in cases:
        item = demo.finding_item(deployed.box, finding.finding["id"])
        assert item is not None
        found = item["finding"]
        names = ("owner", "owner_source", "exposure", "severity", "severity_rule")
        assert [found[name] for name in names] == expected, found["resource"]
        assert found["unknown"] == []
        assert found["account_name"] == "log-archive"
        is_partner = found["exposure"] == "partner"
        assert found["partner"] == ("Parcel carrier" if is_partner else None)

    deployed.tell()

    (tagged,) = deployed.messages("S3 bucket northwind-tagged")
    assert (
        "Owner:" in tagged["Message"] and "payments & <b>co</b> (by its tag)" in tagged["Message"]
    )
    assert tagged["MessageAttributes"]["owner"]["Value"] == "payments & <b>co</b>"
    (public,) = deployed.messages("S3 bucket northwind-drop")
    assert public["Subject"].startswith(
        "[Pare] Critical: S3 bucket northwind-drop is open to every"
    )
    assert f"{CONTACT} (contact of the account)" in public["Message"]
    (quiet,) = deployed.messages("northwind-partner is open")
    assert quiet["MessageAttributes"]["kind"]["Value"] == "finding-digest"
