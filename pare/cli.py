"""The command line: ``pare`` and ``python -m pare``.

Exit codes: 0 done, 1 found problems, 2 wrong use, 3 AWS or input failed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pare.cli_activity import activity, backfill, format_option, printable
from pare.cli_doctor import doctor
from pare.cli_explain import explain_principal
from pare.cli_findings import findings
from pare.cli_inventory import inventory
from pare.cli_last_accessed import last_accessed
from pare.cli_policy import policy
from pare.cli_policy_start import start
from pare.errors import PareError

if TYPE_CHECKING:
    from local.process import Emulator

FAILED = 3
STATE_DIR = ".demo"
PORT = 4566


class _Group(click.Group):
    """A group that turns Pare's errors into one line, with what to do, and exit code 3."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PareError as error:
            sentence = str(error) if str(error).endswith((".", "?")) else f"{error}."
            # What the error names may come from a log file.
            shown = " ".join(printable(line) for line in sentence.splitlines())
            click.echo(f"pare: {shown} {error.what_to_do}", err=True)
            ctx.exit(FAILED)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pare")
def main() -> None:
    """Pare the permissions in an AWS organization down to what is really used.

    Example: pare local demo
    """


main.add_command(activity)
main.add_command(backfill)
main.add_command(policy)
policy.add_command(start)
main.add_command(findings)
main.add_command(inventory)
main.add_command(last_accessed)
main.add_command(doctor)
main.add_command(explain_principal)


@main.group(cls=_Group)
def local() -> None:
    """The organization in a box: an emulated AWS organization on this machine.

    Example: pare local status
    """


state_dir_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=STATE_DIR,
    show_default=True,
    help="Where the emulator keeps its files.",
)
port_option = click.option(
    "--port",
    type=click.IntRange(1024, 65535),
    default=lambda: int(os.environ.get("PARE_LOCAL_PORT", PORT)),
    show_default=f"$PARE_LOCAL_PORT or {PORT}",
    help="The port on 127.0.0.1.",
)
trail_option = click.option(
    "--trail",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of your own CloudTrail files, instead of a generated trail.",
)


def _say(text: str) -> None:
    click.echo(f"… {text}", err=True)


@local.command()
@state_dir_option
@port_option
@trail_option
def demo(state_dir: Path, port: int, trail: Path | None) -> None:
    """Bring the organization up, deploy Pare, take a finding to a policy, make an inventory.

    One that runs already in the state folder is stopped and made anew.

    Example: pare local demo --trail ~/cloudtrail
    """
    from local import demo as demo_module

    summary = demo_module.run(state_dir.resolve(), port=port, trail=trail, say=_say)
    click.echo(demo_module.account(summary, state_dir))


@local.command()
@state_dir_option
@port_option
@trail_option
def up(state_dir: Path, port: int, trail: Path | None) -> None:
    """Bring the organization up and deploy Pare into it.

    One that runs already in the state folder is stopped and made anew.

    Example: pare local up --port 4600
    """
    from local import demo as demo_module

    box = demo_module.bring_up(
        state_dir.resolve(), port=port, watch=demo_module.Stopwatch(say=_say), trail=trail
    )
    click.echo(f"The emulated organization is up at {box.emulator.endpoint_url}.")
    click.echo("Look at it: pare local status   Stop it: pare local down")


@local.command()
@state_dir_option
@format_option("text", "json")
def status(state_dir: Path, form: str) -> None:
    """Tell what runs, what lies where, and how to look at it with the AWS CLI. Exit code 1: not up.

    Example: pare local status --format json
    """
    from local import process

    emulator = process.running(state_dir)
    if emulator is None:
        if form == "json":
            click.echo(json.dumps({"running": False}))
        else:
            click.echo(f"No emulated organization runs in {state_dir}. Start one: make demo")
        sys.exit(1)
    found = _status(emulator)
    if form == "json":
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    click.echo(f"Up at {emulator.endpoint_url} (process {emulator.pid}), log {emulator.log}")
    if found["outputs"]:
        _print_deployment(emulator, found)


def _status(emulator: Emulator) -> dict[str, Any]:
    """Return what runs: accounts, outputs, and how many executions ended how."""
    try:
        known = json.loads((emulator.state_dir / "organization.json").read_text())
    except (OSError, ValueError):
        known = {"accounts": [], "outputs": {}, "hub_account_id": None, "home_region": None}
    executions: dict[str, dict[str, int]] = {}
    if known["outputs"]:
        states = emulator.client("stepfunctions", known["hub_account_id"], known["home_region"])
        for name in ("Finding", "Notification", "Reconcile", "Policy", "Inventory"):
            arn = known["outputs"].get(f"{name}WorkflowArn")
            if arn is None:
                continue  # an earlier Pare made it
            ended: dict[str, int] = {}
            for execution in states.list_executions(stateMachineArn=arn)["executions"]:
                ended[execution["status"]] = ended.get(execution["status"], 0) + 1
            executions[name] = ended
    return {
        "running": True,
        "endpoint_url": emulator.endpoint_url,
        "pid": emulator.pid,
        "executions": executions,
        **known,
    }


def _print_deployment(emulator: Emulator, found: dict[str, Any]) -> None:
    click.echo("\nAccounts")
    for account in found["accounts"]:
        click.echo(f"  {account['account_id']}  {account['name']}")
    click.echo("\nExecutions")
    for name, ended in found["executions"].items():
        shown = ", ".join(f"{count} {status}" for status, count in sorted(ended.items()))
        click.echo(f"  {name:<12} {shown or 'none yet'}")
    click.echo("\nStack outputs")
    for name, value in sorted(found["outputs"].items()):
        click.echo(f"  {name:<22} {value}")
    click.echo("\nTo look with AWS CLI 2 or boto3, as the hub account's root:")
    environment = emulator.environment(found["hub_account_id"], found["home_region"])
    for name, value in environment.items():
        click.echo(f"  export {name}={value}")
    click.echo(f"  aws dynamodb scan --table-name {found['outputs']['ProposalsTableName']}")
    click.echo(f"  aws s3 ls --recursive s3://{found['outputs']['EvidenceBucketName']}/")
    click.echo("What people were told since the demo (a mail cannot be received here):")
    click.echo("  aws sqs receive-message --max-number-of-messages 10 --queue-url \\")
    click.echo(
        '    "$(aws sqs get-queue-url --queue-name pare-demo-people --query QueueUrl '
        '--output text)"'
    )


@local.command()
@state_dir_option
def down(state_dir: Path) -> None:
    """Stop the emulated organization and everything it started.

    Example: pare local down
    """
    from local import process

    stopped = process.stop(state_dir)
    click.echo("Stopped." if stopped else f"Nothing runs in {state_dir}.")


if __name__ == "__main__":
    main()
