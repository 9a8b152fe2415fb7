"""A deployment's setup, as far as the log archive's statements ask for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pare.doctor.setup import Setup, TrailSetup

ORGANIZATION = "o-example0000"
HUB = "222222222222"
LOG_ARCHIVE = "333333333333"
BUCKET = "example-organization-trail"
TRAIL = "arn:aws:cloudtrail:us-east-1:111111111111:trail/organization"
KEY = f"arn:aws:kms:us-east-1:{LOG_ARCHIVE}:key/0a1b2c3d-1111-2222-3333-444455556666"


def setup(**trail: Any) -> Setup:
    """Return a setup in the partition of the trail's ARN; the arguments are of the trail."""
    trail_setup = replace(
        TrailSetup(
            arn=TRAIL,
            bucket=BUCKET,
            bucket_region="us-east-1",
            log_roots=("AWSLogs/",),
            kms_key_arns=(),
            made_by_control_tower=False,
            is_organization_trail=True,
        ),
        **trail,
    )
    return Setup(
        version="0.1.0",
        partition=trail_setup.arn.split(":")[1],
        organization_id=ORGANIZATION,
        management_account_id="111111111111",
        hub_account_id=HUB,
        log_archive_account_id=LOG_ARCHIVE,
        home_region="us-east-1",
        governed_regions=("us-east-1",),
        organizational_units=("r-root",),
        account_exclusions=(),
        trail=trail_setup,
        member_role_name="PareMember",
        member_external_id="pare-o-example0000",
        access_role_path="/service-role/",
        access_role_name="AccessAnalyzerMonitorServiceRole_Pare",
        bus_name="pare",
        region_dead_letters_name="PareRegionDeadLetters",
        test_event_source="pare.test",
        stack_set_name="PareMembers",
        member_template="0123456789ab",
        callers={
            "member": ("PareEnrichFinding",),
            "list_trail": ("PareListLogs", "PareChooseRoute"),
            "read_trail": ("PareDigestLogs",),
        },
        schedules=(),
        emails=(),
        create_external_access=False,
        unused_access_arn=None,
        paid_unused_access=False,
        window_days=90,
    )
