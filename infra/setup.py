"""What is deployed with some settings, as ParePipeline's template tells it to the doctor."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING

import aws_cdk as cdk

from infra.member_access import (
    MEMBER_CALLERS,
    TRAIL_FILE_READERS,
    TRAIL_LISTERS,
    caller_role_name,
)
from infra.member_stack import member_rights, template_hash
from pare.doctor.setup import METADATA_KEY, Setup, TrailSetup

if TYPE_CHECKING:
    from infra.settings import Settings

# Logical ids without CDK's hash; a test compares them with the template's.
SCHEDULES = tuple(
    f"EventSources{each}Schedule" for each in ("Activity", "Inventory", "Notification", "Reconcile")
)


def tell_doctor(stack: cdk.Stack, setup: Setup | None = None) -> None:
    """Write what is deployed into a stack's template, where the doctor reads it.

    Of stacks but ParePipeline, which has all of it, the version alone. CloudFormation takes no
    update of the metadata alone; it does take one of an output, so one changes with it.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/metadata-section-structure.html
    """
    told = setup.to_json() if setup else {"version": version("pare")}
    text = json.dumps(told, sort_keys=True)
    # CDK takes no tuples, so it gets them as JSON has them.
    stack.template_options.metadata = {METADATA_KEY: json.loads(text)}
    digest = f"+{hashlib.sha256(text.encode()).hexdigest()[:12]}" if setup else ""
    cdk.CfnOutput(stack, "PareVersion", value=f"{told['version']}{digest}")


def setup_of(settings: Settings) -> Setup:
    """Return what is deployed with these settings."""
    names, trail, told = settings.names, settings.trail, settings.notifications
    emails = {*told.people_emails, *(each for route in told.routes for each in route.emails)}
    return Setup(
        version=version("pare"),
        partition=settings.partition,
        organization_id=settings.organization_id,
        management_account_id=settings.management_account_id,
        hub_account_id=settings.hub_account_id,
        log_archive_account_id=settings.log_archive_account_id,
        home_region=settings.home_region,
        governed_regions=settings.governed_regions,
        organizational_units=settings.organizational_units,
        account_exclusions=settings.account_exclusions,
        trail=TrailSetup(
            arn=trail.arn,
            bucket=trail.bucket,
            bucket_region=trail.bucket_region,
            log_roots=trail.log_roots(settings.organization_id),
            kms_key_arns=trail.kms_key_arns,
            made_by_control_tower=trail.made_by_control_tower,
            is_organization_trail=trail.is_organization_trail,
        ),
        member_role_name=names.member_role_name,
        member_external_id=settings.member_external_id,
        access_role_path=names.access_role_path,
        access_role_name=names.access_role_name,
        bus_name=names.bus_name,
        region_dead_letters_name=names.region_dead_letters_name,
        test_event_source=names.test_event_source,
        stack_set_name=names.stack_set_name,
        member_template=template_hash(settings),
        callers={
            use: tuple(caller_role_name(step) for step in steps)
            for use, steps in (
                ("member", MEMBER_CALLERS),
                ("list_trail", TRAIL_LISTERS),
                ("read_trail", TRAIL_FILE_READERS),
            )
        },
        schedules=SCHEDULES,
        emails=tuple(sorted(emails)),
        alarm_emails=tuple(sorted(told.people_emails)) if told.routes else (),
        create_external_access=settings.analyzers.create_external_access,
        unused_access_arn=settings.analyzers.unused_access_arn,
        paid_unused_access=settings.analyzers.paid_unused_access,
        window_days=settings.window_days,
        member_stacks=settings.member_stacks,
        member_rights=member_rights(settings),
    )
