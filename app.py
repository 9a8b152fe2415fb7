"""The CDK app: reads the settings, stages the Lambda code, creates the stacks."""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra.lambda_code import ACTIVITY, LAMBDA, stage
from infra.member_stack import MemberStack
from infra.pipeline_stack import PipelineStack
from infra.region_stack import RegionStack, region_stack_name
from infra.role_tags import tag_roles
from infra.settings import load_settings
from infra.storage_stack import StorageStack
from pare.errors import SettingsError

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize every stack; `-c settings=FILE` names another settings file."""
    app = cdk.App()
    try:
        settings = load_settings(app.node.try_get_context("settings") or "config/pare.yaml")
    except SettingsError as error:
        sys.exit(f"{error}\n")
    for sentence in (*settings.not_read_yet(), *settings.prices()):
        print(f"Note: {sentence}", file=sys.stderr)
    # The emulator refuses the publishing role of CDK's bootstrap (docs/emulator.md).
    synthesizer = (
        cdk.CliCredentialsStackSynthesizer()
        if app.node.try_get_context("synthesizer") == "cli"
        else cdk.DefaultStackSynthesizer()
    )
    # An emulator runs functions in its own Python, so compiled wheels must fit that.
    for_host = app.node.try_get_context("functions") == "host"
    hub = cdk.Environment(account=settings.hub_account_id, region=settings.home_region)
    storage = StorageStack(app, "PareStorage", env=hub, synthesizer=synthesizer)
    pipeline = PipelineStack(
        app,
        "ParePipeline",
        env=hub,
        synthesizer=synthesizer,
        settings=settings,
        storage=storage,
        code=lambda_.Code.from_asset(str(stage(ROOT, LAMBDA))),
        activity_code=lambda_.Code.from_asset(str(stage(ROOT, ACTIVITY, for_host=for_host))),
    )
    # These go where nothing was ever bootstrapped: of CDK's synthesizers, only this one sends the
    # template itself instead of publishing it to a bootstrap bucket.
    MemberStack(app, "PareMember", synthesizer=cdk.LegacyStackSynthesizer(), settings=settings)
    for region in settings.other_regions:
        other = RegionStack(
            app,
            region_stack_name(region),
            env=cdk.Environment(account=settings.hub_account_id, region=region),
            synthesizer=cdk.LegacyStackSynthesizer(),
            settings=settings,
        )
        # The end of ParePipeline's deployment starts the reconcile, which tells of a Region without
        # an analyzer: those that these stacks create have to be there.
        pipeline.add_dependency(other)
    tag_roles(app, settings)
    app.synth()


if __name__ == "__main__":
    main()
