"""The CDK app: reads the settings, stages the Lambda code, creates the stacks."""

from __future__ import annotations

import sys
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_

from infra.lambda_code import ACTIVITY, LAMBDA, stage
from infra.settings import load_settings
from infra.stacks import add_stacks
from pare.errors import SettingsError

ROOT = Path(__file__).parent


def main() -> None:
    """Synthesize every stack; `-c settings=FILE` names another settings file."""
    app = cdk.App()
    try:
        settings = load_settings(app.node.try_get_context("settings") or "config/pare.yaml")
    except SettingsError as error:
        sys.exit(f"{error}\n")
    for sentence in (*settings.placeholders(), *settings.not_read_yet(), *settings.prices()):
        print(f"Note: {sentence}", file=sys.stderr)
    # The emulator refuses the publishing role of CDK's bootstrap (docs/emulator.md).
    synthesizer = (
        cdk.CliCredentialsStackSynthesizer()
        if app.node.try_get_context("synthesizer") == "cli"
        else cdk.DefaultStackSynthesizer()
    )
    # An emulator runs functions in its own Python, so compiled wheels must fit that.
    for_host = app.node.try_get_context("functions") == "host"
    add_stacks(
        app,
        settings,
        code=lambda_.Code.from_asset(str(stage(ROOT, LAMBDA))),
        activity_code=lambda_.Code.from_asset(str(stage(ROOT, ACTIVITY, for_host=for_host))),
        synthesizer=synthesizer,
    )
    app.synth()


if __name__ == "__main__":
    main()
