"""A deployment for the doctor's tests: an organization of a hub, a log archive and some others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from pare.doctor.setup import Setup, TrailSetup

HUB = DEFAULT_ACCOUNT_ID  # moto's own account
MANAGEMENT = "999988887777"
LOG_ARCHIVE = "333344445555"
PAYMENTS = "111122223333"
SHOP = "222233334444"
ROOT = "r-abcd"
HOME = "eu-west-1"
OTHER = "eu-central-1"
TEMPLATE = "0a1b2c3d4e5f"
BUCKET = "organization-trail"


def setup(**changes: Any) -> Setup:
    """Return what is deployed, with changes."""
    return replace(_SETUP, **changes)


_SETUP = Setup(
    version="0.7.0",
    partition="aws",
    organization_id="o-example0000",
    management_account_id=MANAGEMENT,
    hub_account_id=HUB,
    log_archive_account_id=LOG_ARCHIVE,
    home_region=HOME,
    governed_regions=(HOME, OTHER),
    organizational_units=(ROOT,),
    account_exclusions=(),
    trail=TrailSetup(
        arn=f"arn:aws:cloudtrail:{HOME}:{MANAGEMENT}:trail/organization",
        bucket=BUCKET,
        bucket_region=HOME,
        log_roots=("AWSLogs/o-example0000/", "AWSLogs/"),
        kms_key_arns=(),
        made_by_control_tower=False,
        is_organization_trail=True,
    ),
    member_role_name="PareMember",
    member_external_id="pare-o-example0000",
    access_role_path="/service-role/",
    access_role_name="AccessAnalyzerMonitorServiceRole_Pare",
    bus_name="pare",
    region_dead_letters_name="PareRegionDeadLetters",
    test_event_source="pare.test",
    stack_set_name="PareMembers",
    member_template=TEMPLATE,
    callers={
        "member": ("PareListPrincipals", "PareEnrichFinding", "PareReadLastAccessed"),
        "list_trail": ("PareListLogs", "PareChooseRoute"),
        "read_trail": ("PareDigestLogs",),
    },
    schedules=("EventSourcesActivitySchedule", "EventSourcesReconcileSchedule"),
    emails=("security@example.com",),
    create_external_access=True,
    unused_access_arn=None,
    paid_unused_access=False,
    window_days=90,
)
