"""``pare doctor``: names what is missing for Pare to see every account, and the mend of each."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pare.cli_activity import format_option, printable
from pare.cli_snapshot import FOUND_PROBLEMS, aws_session, local_options
from pare.clock import format_time
from pare.doctor.checks import groups
from pare.doctor.text import WIDTH, group_lines, report_json, summary
from pare.errors import PareError

if TYPE_CHECKING:
    from pare.aws.doctor.context import Examination
    from pare.doctor.model import Result
    from pare.doctor.setup import Setup

STOPPED = 130
_ERASE_LINE = "\r\x1b[K"
# Without a stack set there is nothing of these to look at.
OF_STACK_SETS = (
    "organization.stack-sets-trusted", "organization.stack-sets-administrator",
    "members.stack-set", "members.instance",
)  # fmt: skip
# A command of Pare in a text, with its options: those that the doctor's texts name.
_COMMAND = re.compile(
    r"(?<![\w./-])pare (?:doctor|(?:findings|inventory) [a-z-]+)"
    r"(?: --only [a-z-]+| --template [\w./-]+| --[a-z-]+)*"
)
# Where nobody watches a line change, every count would be a line of a log.
_TELL_EVERY_SECONDS = 10


@click.command()
@click.option(
    "--only",
    "only",
    multiple=True,
    type=click.Choice(tuple(groups()), case_sensitive=False),
    help="Look at this group alone. Repeatable.",
)
@click.option(
    "--statements",
    is_flag=True,
    help="Only print the policy statements that the log archive account needs, for pasting.",
)
@click.option(
    "--template",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Before the first deployment: the folder that `npx cdk synth` wrote, cdk.out.",
)
@format_option("text", "json")
@local_options
def doctor(
    only: tuple[str, ...],
    statements: bool,
    template: Path | None,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """Name what is missing for Pare to see every account, and how to mend it.

    Uses credentials of the hub account in its home Region, and changes nothing but for one test
    event a Region. What Pare's functions may do, these functions are asked. Mend what is named
    first, then run it again, until nothing is missing.

    Exit codes: 0 all is well, 1 something is missing or cannot be told, 2 wrong use, 3 AWS failed,
    130 stopped with Ctrl-C.

    Example: pare doctor --only trail --only log-archive
    """
    progress = Progress()
    program = program_as_called()
    options = f" --local --state-dir {shlex.quote(str(state_dir))}" if is_local else ""
    try:
        from pare.aws.doctor.examine import begin, chosen_groups, run_group

        if statements and only:
            raise click.UsageError("Give either --statements or --only.")
        examination = begin(
            aws_session(is_local, state_dir), template, now=datetime.now(UTC), say=progress.say
        )
        if statements:
            progress.end()
            _print_statements(examination.setup, form)
            return
        looked_at = chosen_groups(examination, only)
        _refuse_too_early(only, looked_at)
        results: list[Result] = []
        progress.end()
        if form == "text":
            _print_head(examination)
        for group in looked_at:
            progress.group = group
            found = [as_run(each, program, options) for each in run_group(examination, group)]
            progress.end()
            results += found
            if form == "text":
                _print_group(examination, group, found)
    except KeyboardInterrupt:
        progress.end()
        click.echo("pare: stopped. What is not printed above was not looked at.", err=True)
        # As a shell counts a program that was interrupted.
        click.get_current_context().exit(STOPPED)
    except PareError as error:
        error.what_to_do = _told(error.what_to_do, program, options)
        raise
    finally:
        progress.end()
    if form == "json":
        click.echo(json.dumps(_report(examination, results, looked_at), indent=2, sort_keys=True))
    else:
        _print_end(examination, results, looked_at, only, f"{program} doctor{options}")
    if any(each.status != "ok" for each in results):
        click.get_current_context().exit(FOUND_PROBLEMS)


def as_run(result: Result, program: str, options: str) -> Result:
    """Return a result whose commands of Pare run where the doctor ran, also those in its texts.

    ``program``: how Pare was called; ``options``: what else its commands need there.
    """
    mend = result.mend
    if mend is None:
        return result
    commands = tuple(
        f"{program}{each.removeprefix('pare')}{options}" if each.startswith("pare ") else each
        for each in mend.commands
    )
    text, after = (_told(each, program, options) for each in (mend.text, mend.after))
    return replace(result, mend=replace(mend, commands=commands, text=text, after=after))


def _told(text: str, program: str, options: str) -> str:
    """Return a text with the commands of Pare in it as they run where the doctor ran."""
    return _COMMAND.sub(lambda found: f"{program}{found[0].removeprefix('pare')}{options}", text)


def program_as_called() -> str:
    """Return what calls Pare again from here: nobody is made to have it on the PATH.

    ``pare`` where the shell finds this very program by it, else where it lies: below here from
    here. ``python -m pare`` stays that.
    """
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == "pare":
        return f"{_from_here(sys.executable)} -m pare"
    if called.stem != "pare" or not called.is_file():
        return "pare"
    on_path = shutil.which("pare")
    if on_path is not None and Path(on_path).samefile(called):
        return "pare"
    return _from_here(str(called))


def _from_here(path: str) -> str:
    """Return a program's path as a word of a shell: relative, where it is below this folder."""
    here, there = Path.cwd(), Path(path).absolute()  # no link of a venv is followed
    if not there.is_relative_to(here):
        return shlex.quote(str(there))
    below = str(there.relative_to(here))
    return shlex.quote(below if os.sep in below else f"./{below}")


def _refuse_too_early(only: tuple[str, ...], looked_at: list[str]) -> None:
    early = [each for each in only if each not in looked_at]
    if early:
        raise click.UsageError(
            f"{', '.join(early)}: this needs Pare's functions. Deploy it first (npx cdk deploy "
            "--all), then ask without --template."
        )


# --- Progress -------------------------------------------------------------------------------------


class Progress:
    """Tells on standard error what is going on: in a terminal one line that changes."""

    def __init__(self) -> None:
        self.group = ""
        self._is_terminal = sys.stderr.isatty()
        self._shown = ""
        self._said_at: datetime | None = None

    def say(self, text: str) -> None:
        """Tell what is done now."""
        line = printable(f"… {self.group}: {text}" if self.group else f"… {text}")
        if self._is_terminal:
            width = shutil.get_terminal_size((WIDTH, 24)).columns - 1
            click.echo(f"{_ERASE_LINE}{line[:width]}", err=True, nl=False)
            self._shown = line
            return
        # "entering accounts: 120 of 500" and "… 130 of 500" are one thing that goes on.
        what, now = line.rpartition(": ")[0] or line, datetime.now(UTC)
        is_same = what == self._shown
        if is_same and self._said_at and (now - self._said_at).seconds < _TELL_EVERY_SECONDS:
            return
        self._shown, self._said_at = what, now
        click.echo(line, err=True)

    def end(self) -> None:
        """Take the line away, so that results can be printed."""
        if self._is_terminal and self._shown:
            click.echo(_ERASE_LINE, err=True, nl=False)
            self._shown = ""


# --- What is printed ------------------------------------------------------------------------------


def _has_colour() -> bool:
    # https://no-color.org
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _echo(line: str) -> None:
    click.echo(line, color=_has_colour())


def _print_head(examination: Examination) -> None:
    setup = examination.setup
    state = "" if examination.is_deployed else ", of the template: nothing deployed is looked at"
    _echo(
        printable(
            f"Pare {setup.version}{state}: hub {setup.hub_account_id} in {setup.home_region}, "
            f"organization {setup.organization_id}"
        )
    )
    own = version("pare")
    if examination.is_deployed and own != setup.version:
        _echo(printable(f"This command is of Pare {own}: another version than the one deployed."))


def _print_group(examination: Examination, group: str, results: list[Result]) -> None:
    left_out = () if examination.setup.has_stack_set else OF_STACK_SETS
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    _echo("")
    for line in group_lines(group, results, width=width, colour=_has_colour(), left_out=left_out):
        _echo(line)


def _print_end(
    examination: Examination,
    results: list[Result],
    looked_at: list[str],
    only: tuple[str, ...],
    again: str,
) -> None:
    _echo("")
    if not examination.is_deployed:
        later = [each for each in groups() if each not in looked_at]
        _echo(f"Not looked at before Pare is deployed: {', '.join(later)}.")
    elif only:
        _echo(f"Looked at {', '.join(looked_at)} only.")
    _echo(summary(results, again=again, is_deployed=examination.is_deployed))


def _report(
    examination: Examination, results: list[Result], looked_at: list[str]
) -> dict[str, object]:
    setup = examination.setup
    return report_json(
        results,
        as_of=format_time(examination.now.replace(microsecond=0)),
        looked_at=looked_at,
        about={
            "version": setup.version,
            "version_of_command": version("pare"),
            "is_deployed": examination.is_deployed,
            "organization_id": setup.organization_id,
            "hub_account_id": setup.hub_account_id,
            "home_region": setup.home_region,
        },
    )


def _print_statements(setup: Setup, form: str) -> None:
    """Print the statements that go into the log archive account, by where they go."""
    from pare.log_archive.statements import bucket_statements, key_statements

    bucket = bucket_statements(setup)
    keys = {arn: key_statements(setup, arn) for arn in setup.trail.kms_key_arns}
    if form == "json":
        told = {
            "schema_version": 1,
            "account_id": setup.log_archive_account_id,
            "bucket": {"name": setup.trail.bucket, "statements": bucket},
            "keys": [{"arn": arn, "statements": each} for arn, each in keys.items()],
        }
        click.echo(json.dumps(told, indent=2))
        return
    account = setup.log_archive_account_id
    _echo(f"In account {account}, into the policy of the bucket {setup.trail.bucket}:")
    _print_json(bucket)
    for arn, each in keys.items():
        _echo(f"In account {arn.split(':')[4]}, into the policy of the key {arn}:")
        _print_json(each)
    if not keys:
        _echo("No key: the settings name none in trail.kms_key_arns. Where log files are")
        _echo("encrypted with a key of KMS, name it there, and ask again.")


def _print_json(statements: object) -> None:
    _echo("")
    for line in json.dumps(statements, indent=2, ensure_ascii=False).splitlines():
        _echo(printable(line))
    _echo("")
