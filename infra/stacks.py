"""Every stack of the app, and which comes before which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

from infra.by_hand import ByHand
from infra.members_stack import MEMBERS_STACK, MembersStack
from infra.pipeline_stack import PipelineStack
from infra.region_stack import RegionStack, region_stack_name
from infra.role_tags import tag_roles
from infra.storage_stack import StorageStack

if TYPE_CHECKING:
    from aws_cdk import aws_lambda as lambda_

    from infra.settings import Settings

STORAGE_STACK, PIPELINE_STACK = "PareStorage", "ParePipeline"


def add_stacks(
    app: cdk.App,
    settings: Settings,
    *,
    code: lambda_.Code,
    activity_code: lambda_.Code,
    synthesizer: cdk.IReusableStackSynthesizer | None = None,
) -> None:
    """Add the hub's stacks, and what other accounts deploy by hand.

    ``synthesizer``: of the stacks that need the hub's bootstrap; CDK's own by default.
    """
    hub = cdk.Environment(account=settings.hub_account_id, region=settings.home_region)
    storage = StorageStack(app, STORAGE_STACK, env=hub, synthesizer=synthesizer)
    pipeline = PipelineStack(
        app,
        PIPELINE_STACK,
        env=hub,
        synthesizer=synthesizer,
        settings=settings,
        storage=storage,
        code=code,
        activity_code=activity_code,
    )
    for region in settings.other_regions:
        other = RegionStack(
            app,
            region_stack_name(region),
            env=cdk.Environment(account=settings.hub_account_id, region=region),
            # Without bootstrap: the Region may have none (ADR 8).
            synthesizer=cdk.LegacyStackSynthesizer(),
            settings=settings,
        )
        # The end of ParePipeline's deployment starts the reconcile, which tells of a Region without
        # an analyzer: those that these stacks create have to be there.
        pipeline.add_stack_dependency(other)
    if settings.member_stacks == "stack-set":
        members = MembersStack(
            app, MEMBERS_STACK, env=hub, synthesizer=synthesizer, settings=settings
        )
        # And it asks the accounts whose what is that a finding names: it should get in.
        pipeline.add_stack_dependency(members)
    ByHand(app, settings=settings)
    tag_roles(app, settings)
