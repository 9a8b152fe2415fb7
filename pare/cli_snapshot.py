"""Where the inventory's commands look: a snapshot on disk, the deployed Pare, or the emulator."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pare.cli_activity import printable
from pare.errors import NotDeployedError, NotInInventoryError
from pare.inventory.names import meant, near
from pare.inventory.snapshot_files import open_files
from pare.inventory.view import account_names, partly_unknown, unknown_accounts
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import boto3

    from pare.aws.deployed_inventory import Deployment
    from pare.inventory.model import AccountResultJson, SnapshotJson
    from pare.inventory.snapshot_files import Rows, SnapshotReader

FOUND_PROBLEMS = 1
_STATE_DIR = ".demo"
_SHOWN = 5


class Period(click.ParamType[str]):
    """A month."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", str(value)):
            self.fail(f"{value!r} is not a month such as 2026-11.")
        return str(value)


period_option = click.option(
    "--period", type=Period(), help="The inventory of this month. Default: the newest."
)
accounts_option = click.option(
    "--account", "accounts", multiple=True, metavar="ID|NAME", help="Only this account. Repeatable."
)
owners_option = click.option(
    "--owner", "owners", multiple=True, metavar="TEXT", help="Only whose owner has it. Repeatable."
)
snapshot_option = click.option(
    "--snapshot",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A snapshot on disk: principals.ndjson.gz, or the folder of a period. Needs no AWS.",
)


def local_options(command: Any) -> Any:
    """Add the options that lead to the emulated organization."""
    for option in (
        click.option(
            "--state-dir",
            type=click.Path(file_okay=False, path_type=Path),
            default=_STATE_DIR,
            show_default=True,
            help="Where the emulator keeps its files, with --local.",
        ),
        click.option("--local", "is_local", is_flag=True, help="Ask the organization in a box."),
    ):
        command = option(command)
    return command


def aws_session(is_local: bool, state_dir: Path, account_id: str | None = None) -> boto3.Session:
    """Return a session with the shell's credentials; ``--local``: the emulated hub account's.

    Raises NotDeployedError where no emulated organization runs.
    """
    from pare.aws.calls import shell_session

    if is_local:
        ctx = click.get_current_context()
        ctx.with_resource(_environment_of(state_dir, account_id))
    return shell_session()


@contextmanager
def _environment_of(state_dir: Path, account_id: str | None) -> Iterator[None]:
    """Let the AWS variables lead to the emulator alone, while the command runs."""
    import json

    from local import process

    emulator = process.running(state_dir)
    try:
        known = json.loads((state_dir / "organization.json").read_text(encoding="utf-8"))
        hub, region = known["hub_account_id"], known["home_region"]
    except (OSError, ValueError, KeyError):
        emulator, hub, region = None, "", ""
    if emulator is None:
        raise _NotUpError(f"no emulated organization runs in {state_dir}")
    before = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    mine = emulator.environment(account_id or hub, region)
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
        os.environ.update(before)


class _NotUpError(NotDeployedError):
    what_to_do = "Bring it up: `make demo`, or `pare local up`."


def deployment(is_local: bool, state_dir: Path) -> Deployment:
    """Return the deployed Pare; raises NotDeployedError where there is none."""
    from pare.aws.deployed_inventory import find_deployment

    return find_deployment(aws_session(is_local, state_dir))


def open_snapshot(
    snapshot: Path | None, period: str | None, is_local: bool, state_dir: Path
) -> SnapshotReader:
    """Return the snapshot that the options name."""
    if snapshot is not None and is_local:
        raise click.UsageError("Give either --snapshot or --local.")
    if snapshot is None:
        from pare.aws.deployed_inventory import DeployedInventory

        return DeployedInventory(deployment(is_local, state_dir), period)
    found = open_files(snapshot, period)
    if period is not None:
        of = found.head["period"] if found.head else found.rows().rows[0]["period"]
        if of != period:
            raise click.UsageError(f"{found.origin} is of {of}, not of {period}.")
    return found


# --- what is not known, said ----------------------------------------------------------------------


def unknown_lines(head: SnapshotJson | None) -> Iterator[str]:
    """Yield a sentence and a line for each account that could not be read."""
    unknown = unknown_accounts(head)
    if unknown:
        yield (
            f"{several(len(unknown), 'account')} could not be read and "
            f"{'is' if len(unknown) == 1 else 'are'} not in this list:"
        )
    for account in unknown:
        yield f"  {account['account_id']} {account['name']}: {why_unknown(account)}"
    partly = partly_unknown(head)
    if partly:
        yield f"Of {several(len(partly), 'account')} not everything could be read:"
    for account in partly:
        for what in account["unknown"][:_SHOWN]:
            yield f"  {account['account_id']} {account['name']}: {what}"
        if len(account["unknown"]) > _SHOWN:
            yield f"  … and {len(account['unknown']) - _SHOWN:,} more"


def why_unknown(account: AccountResultJson) -> str:
    """Return why an account could not be read, and what was last known of it."""
    known = account.get("known")
    last = f" Last read in {known['period']}." if known else " It was never read before."
    message = (account["message"] or "").rstrip(".")
    return f"{account['error']}: {message}.{last}" if message else f"{account['error']}.{last}"


def damage_lines(found: Rows, origin: str) -> Iterator[str]:
    """Yield what of a file could not be read, and what is of another version."""
    from pare.inventory.snapshot_files import other_version

    if found.damaged:
        yield f"pare: {several(found.damaged, 'line')} of {origin} could not be read:"
    for problem in found.problems[:_SHOWN]:
        yield f"  {problem}"
    for version, count in sorted(found.versions.items()):
        yield f"pare: {several(count, 'row')} of {origin} {other_version(version)}."
    if found.unread:
        yield f"pare: {several(found.unread, 'row')} of these cannot be shown."


def echo_lines(lines: Iterator[str] | Sequence[str], *, err: bool = False) -> None:
    """Print lines without what a terminal would take for a command."""
    for line in lines:
        click.echo(printable(line), err=err)


def say(text: str) -> None:
    """Tell what goes on, on standard error."""
    click.echo(f"… {printable(text)}", err=True)


# --- which principal is meant ---------------------------------------------------------------------


def one_of(
    asked: str,
    known: Sequence[str],
    head: SnapshotJson | None,
    missing: Callable[[str], str],
) -> str:
    """Return the ARN that a text names. Several: UsageError with them; none: NotInInventoryError
    with the sentence that ``missing`` makes of those that look alike."""
    found = meant(asked, known, account_names(head))
    if len(found) == 1:
        return found[0]
    if found:
        listed = "\n".join(f"  {arn}" for arn in found[:_SHOWN])
        more = f"\n  … and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        shown = "\n".join(printable(line) for line in f"{listed}{more}".splitlines())
        raise click.UsageError(
            f"{printable(asked)!r} names {len(found):,} users and roles. "
            f"Give one of these:\n{shown}"
        )
    raise NotInInventoryError(missing(_did_you_mean(near(asked, known))))


def _did_you_mean(arns: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(arns)}?" if arns else ""
