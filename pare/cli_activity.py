"""``pare activity``: CloudTrail log files to what every principal did."""

from __future__ import annotations

import csv
import gc
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from pare.clock import format_time, parse_time
from pare.cloudtrail.activity import MAX_RESOURCES, Activity, Asked
from pare.cloudtrail.activity_file import (
    Header,
    PrincipalLine,
    UnmappedLine,
    UseLine,
    activity_lines,
    is_activity,
    read_activity,
    write_activity,
)
from pare.cloudtrail.deduplicate import Seen
from pare.cloudtrail.digest import OTHER_ACCOUNT, OTHER_PRINCIPAL, Digest
from pare.cloudtrail.parallel import digest_files
from pare.cloudtrail.sources import DELIVERED_BEFORE, files_under, log_key
from pare.errors import ActivityFileError, LogSourceError, LogWindowError, OutputFileError
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pare.cloudtrail.activity import Group
    from pare.cloudtrail.principals import Principal

FOUND_PROBLEMS = 1
FAILED = 3
STANDARD_INPUT = "-"
_MAX_REASONS_SHOWN = 10


class Moment(click.ParamType[str]):
    """An ISO 8601 date or time; a date is its midnight, and without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return format_time(parse_time(value).replace(microsecond=0))
        except ValueError:
            self.fail(f"{value!r} is not a date or time such as 2026-11-01 or 2026-11-01T06:00Z.")


class Wanted:
    """Says by which rule a principal is left out; None for those asked for."""

    def __init__(self, principals: tuple[str, ...], accounts: tuple[str, ...]) -> None:
        self.principals, self.accounts = principals, accounts

    def __call__(self, principal: Principal) -> str | None:
        if self.accounts and principal.account_id not in self.accounts:
            return OTHER_ACCOUNT
        names = (principal.principal, principal.principal_id)
        if self.principals and not any(
            fnmatchcase(name, each)
            for name in names
            for pattern in self.principals
            for each in patterns_of(pattern)
        ):
            return OTHER_PRINCIPAL
        return None


def patterns_of(asked: str) -> tuple[str, ...]:
    """Return what a principal may be called: the ARN of a role session names its role, too."""
    parts = asked.split(":", 5)
    if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
        role = f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/"
        name = parts[5].split("/")[1]
        session = asked.rpartition("/")[0] if parts[5].count("/") > 1 else asked
        return asked, session, f"{role}{name}", f"{role}*/{name}"
    return (asked,)


def format_option(*forms: str, shows: str = "What to print.") -> Callable[[Any], Any]:
    """Return the option that chooses one of these forms, the first where nobody chooses."""
    return click.option(
        "--format", "form", type=click.Choice(forms), default=forms[0], show_default=True,
        help=shows,
    )  # fmt: skip


@click.command(no_args_is_help=True)
@click.argument("paths", metavar="LOGS...", nargs=-1, required=True)
@click.option("-o", "--output", metavar="FILE", help="Write the activity file here (.gz: packed).")
@click.option("--since", type=Moment(), help="Only events from this moment on (UTC).")
@click.option("--until", type=Moment(), help="Only events before this moment (UTC).")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="Only this user or role; * stands for any characters. May be repeated.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="ID",
    help="Only principals of this account. May be repeated.",
)
@format_option("text", "json", "csv")
@click.option("--jobs", type=click.IntRange(1, 256), default=lambda: os.cpu_count() or 1,
              show_default="one a core", help="Processes that read.")  # fmt: skip
def activity(
    paths: tuple[str, ...],
    output: str | None,
    since: str | None,
    until: str | None,
    principals: tuple[str, ...],
    accounts: tuple[str, ...],
    form: str,
    jobs: int,
) -> None:
    """Turn CloudTrail log files into what every principal did.

    LOGS are folders, files (.json.gz, .json, NDJSON, lists of records), s3://bucket/prefix
    addresses,
    - for standard input, and activity files made earlier, which are added. Nothing is asked of AWS,
    except for s3:// addresses.

    The sum of all records is printed: used, denied, ignored by a rule, unmapped, unreadable. Exit
    code 1: something could not be read, and is named. Exit code 3: nothing could.

    Example: pare activity ~/cloudtrail -o activity.ndjson.gz
    """
    # Nothing here makes cycles; looking for them among a million objects takes a sixth of the time.
    gc.disable()
    _check_usage(paths, output, since, until, accounts)
    asked = Asked(since or "", until or "", tuple(sorted(principals)), tuple(sorted(accounts)))
    if output is not None:
        check_output(output)
    result = collect(paths, asked, jobs=jobs)
    _keep(result)
    if output is not None:
        write_file(result, output)
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(as_json(result)), indent=2))
    elif form == "csv":
        print_csv(result, sys.stdout)
    else:
        if output is None:
            print_table(result)
        print_summary(result, output)
    if asked.principals and not result.principals:
        click.echo(
            "pare: nothing matches --principal. Is the path of the role missing? Try '*/NAME'.",
            err=True,
        )
    problems = result.totals.unreadable_files or result.totals.unreadable_records
    if problems:
        for line in problem_lines(result):
            click.echo(line, err=True)
        nothing = sum(problems.values()) and result.totals.records == 0
        click.get_current_context().exit(FAILED if nothing else FOUND_PROBLEMS)


def _keep(result: Activity) -> None:
    """Keep what was read until the process is gone: taking it apart would take as long as writing.

    The list holds itself, and the collector no longer looks at it.
    """
    kept: list[Any] = [result]
    kept.append(kept)
    gc.freeze()


def _check_usage(
    paths: tuple[str, ...],
    output: str | None,
    since: str | None,
    until: str | None,
    accounts: tuple[str, ...],
) -> None:
    """Refuse what cannot be meant; exit code 2."""
    if since and until and since >= until:
        raise click.UsageError(f"--since {since} is not before --until {until}.")
    for account in accounts:
        if len(account) != 12 or not account.isdecimal():
            raise click.BadParameter(f"{account!r} is not an account id of 12 digits.")
    if output == STANDARD_INPUT:
        raise click.UsageError("-o names a file. To print, leave it out and use --format json.")
    if output is not None and any(_is_same_file(output, path) for path in paths):
        raise click.UsageError(f"-o {output} is one of the files to read.")


def _is_same_file(output: str, path: str) -> bool:
    try:
        return os.path.samefile(output, path)  # noqa: PTH121 both are texts
    except OSError:
        return False


def check_output(output: str) -> None:
    """Raise OutputFileError, before hours of reading, where a file could not be written."""
    path = Path(output)
    if path.exists() and not path.is_file():
        raise OutputFileError(f"{output} is no file that could be replaced.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputFileError(f"There is no folder {path.parent}, or it may not be written.")


def collect(
    paths: tuple[str, ...], asked: Asked, *, jobs: int, by_session: frozenset[str] = frozenset()
) -> Activity:
    """Return the activity of all that was named; raises LogSourceError where there is nothing.

    ``by_session``: roles whose sessions are told apart (see ``Digest``).
    """
    is_some = asked.principals or asked.accounts
    wanted = Wanted(asked.principals, asked.accounts) if is_some else None
    new_digest = partial(
        Digest,
        since=asked.since or None,
        until=asked.until or None,
        wanted=wanted,
        by_session=by_session,
    )
    result = Activity()
    result.asked.add(asked)
    local = [path for path in paths if path != STANDARD_INPUT and not path.startswith("s3://")]
    for path in local:
        if not os.path.lexists(path):
            raise LogSourceError(f"There is no file or folder {path!r}.")
    files = files_under(local, result.totals.skipped_files)
    named = {os.path.abspath(path) for path in local}  # noqa: PTH100 as files_under
    activity_files = [file for file in files if file in named and is_activity_file(file)]
    files = [file for file in files if file not in activity_files]
    if activity_files and (asked.since or asked.until):
        raise click.UsageError(
            f"{activity_files[0]} is an activity file: it has no single events that --since and "
            "--until could choose from."
        )
    if asked.since:
        files = _delivered_in_window(files, asked.since, result)
    seen = Seen()
    sizes = [_size(file) for file in files]
    with progress_bar(sum(sizes), f"Reading {len(files):,} files") as progress:
        local_files_only = len(local) == len(paths)
        result.absorb(
            digest_files(
                files, sizes, new_digest, jobs=jobs, seen=seen, progress=progress,
                is_all=local_files_only,
            )
        )  # fmt: skip
    others = new_digest(seen=seen)
    if STANDARD_INPUT in paths:
        others.add_stream("standard input", sys.stdin.buffer)
    for address in (path for path in paths if path.startswith("s3://")):
        _read_bucket(address, asked.since, others)
    result.absorb(others.activity())
    result.totals.forgotten_event_ids += seen.forgotten
    for file in activity_files:
        added = _read_activity_file(file)
        if wanted is not None:
            added.principals = {
                principal: theirs
                for principal, theirs in added.principals.items()
                if wanted(principal) is None
            }
        result.absorb(added)
    if not result.totals.files and not activity_files:
        before = result.totals.skipped_files.get(DELIVERED_BEFORE, 0)
        if before:
            raise LogWindowError(
                f"{several(before, 'log file')}, all delivered before {asked.since[:10]}."
            )
        skipped = ", ".join(f"{n} {why}" for why, n in sorted(result.totals.skipped_files.items()))
        hint = " Name activity files one by one." if "activity file" in skipped else ""
        raise LogSourceError(
            f"There are no log files in {', '.join(paths)}{f' ({skipped})' if skipped else ''}."
            + hint
        )
    return result


def _delivered_in_window(files: list[str], since: str, result: Activity) -> list[str]:
    """Pass over files delivered on days before the window: an event is never delivered early."""
    first_day = since[:10]
    kept = []
    for file in files:
        key = log_key(file.replace(os.sep, "/"))
        if key is not None and key.date < first_day:
            skipped = result.totals.skipped_files
            skipped[DELIVERED_BEFORE] = skipped.get(DELIVERED_BEFORE, 0) + 1
        else:
            kept.append(file)
    return kept


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except OSError:
        return 0  # it will be told when it is opened


def is_activity_file(file: str) -> bool:
    """Return whether a file is one that ``pare activity`` wrote."""
    if not Path(file).is_file():
        return False  # a pipe: what is looked at would be lost
    try:
        with Path(file).open("rb") as opened:
            return is_activity(opened.read(4096))
    except OSError:
        return False


def _read_activity_file(file: str) -> Activity:
    try:
        with Path(file).open("rb") as opened:
            return read_activity(opened)
    except ActivityFileError as error:
        raise ActivityFileError(f"{file}: {error}") from error


def _read_bucket(address: str, since: str, digest: Digest) -> None:
    """Count every log file below an ``s3://bucket/prefix`` address."""
    from pare.aws.calls import shell_session
    from pare.aws.log_address import list_logs

    skipped: dict[str, int] = {}
    fetcher, objects = list_logs(shell_session(), address, skipped, first_date=since[:10])
    for reason, count in skipped.items():
        digest.skip_file(reason, count)
    size = sum(each.size for each in objects)
    with progress_bar(size, f"Reading {len(objects):,} objects") as progress:
        for each, content, reason in fetcher.fetch(objects):
            if content is None:
                digest.lose_file(each.key, reason)
            else:
                digest.add_file(each.key, content)
            progress(each.size)


@contextmanager
def progress_bar(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error while it is a terminal; otherwise nothing."""
    if not sys.stderr.isatty() or not length:
        yield lambda size: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr, width=30) as bar:
        yield bar.update


@click.command()
@click.option("--days", type=int, required=True, help="How many days before today (1 to 430).")
@click.option("--again", is_flag=True, help="Look for late files on days that are complete, too.")
@click.option("--wait", is_flag=True, help="Wait for its end. Exit code 1: it failed.")
def backfill(days: int, again: bool, wait: bool) -> None:
    """Let the deployed Pare read the trail of days long past.

    Starts the activity workflow with the AWS credentials of this shell. What was read is never
    read again: a backfill that was stopped is simply started again. While one runs, no second is
    started.

    Example: pare backfill --days 90
    """
    from pare.aws.backfill import start_backfill
    from pare.aws.calls import shell_session
    from pare.aws.executions import ended

    session = shell_session()
    started = start_backfill(session, days=days, now=datetime.now(UTC), again=again)
    what = "Started" if started.is_new else "Already running"
    click.echo(f"{what}: {started.first_date} to {started.last_date}")
    click.echo(f"  {started.execution_arn}")
    if wait:
        status = ended(session, started.execution_arn)
        click.echo(f"It ended: {status}.")
        if status != "SUCCEEDED":
            click.get_current_context().exit(FOUND_PROBLEMS)


# --- what people see ----------------------------------------------------------------------------


def write_file(result: Activity, output: str) -> None:
    """Write the activity file whole or not at all."""
    path = Path(output)
    partial = path.with_name(path.name + ".partial")
    try:
        try:
            with partial.open("wb") as file:
                write_activity(result, file, compress=path.name.endswith(".gz"))
            # A link stays one: what it leads to is replaced.
            partial.replace(path.resolve())
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputFileError(f"{output} cannot be written: {error.strerror}.") from error


def as_json(result: Activity) -> dict[str, Any]:
    """Return the lines of the activity file as one object: header, then principals with theirs."""
    header: Any = None
    principals: list[dict[str, Any]] = []
    for line in activity_lines(result):
        value = msgspec.to_builtins(line)
        kind = value.pop("line")
        if isinstance(line, Header):
            header = value
        elif isinstance(line, PrincipalLine):
            principals.append({**value, "uses": [], "unmapped": []})
        else:
            del value["principal"]
            principals[-1]["uses" if kind == "use" else "unmapped"].append(value)
    return {"header": header, "principals": principals}


CSV_COLUMNS = (
    "account_id", "principal", "principal_id", "kind", "action", "operation", "resource", "outcome",
    "count", "first", "last", "passed_to_service", "regions", "errors",
)  # fmt: skip


def print_csv(result: Activity, file: IO[str]) -> None:
    """Print a row for each use and each unmapped operation."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    who = PrincipalLine("", "", "", "")
    for line in activity_lines(result):
        if isinstance(line, PrincipalLine):
            who = line
        elif isinstance(line, UseLine | UnmappedLine):
            use = line if isinstance(line, UseLine) else None
            operations = line.operations if isinstance(line, UseLine) else [line.operation]
            cells = (
                who.account_id, who.principal, who.principal_id, who.kind,
                use.action if use else "", " ".join(operations),
                (use.resource or "unknown") if use else "", use.outcome if use else "unmapped",
                line.count, line.first or "", line.last or "",
                use.passed_to_service if use else "", " ".join(line.regions),
                " ".join(f"{code}={count}" for code, count in line.errors.items()),
            )  # fmt: skip
            writer.writerow([csv_cell(cell) for cell in cells])


def csv_cell(value: str | int) -> str | int:
    """Return a cell that no spreadsheet takes for a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if isinstance(value, int) or value == "*":
        return value
    value = printable(value)
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def print_table(result: Activity) -> None:
    """Print what each principal did, an action a line."""
    for principal in sorted(result.principals):
        theirs = result.principals[principal]
        name = f"{principal.kind} {principal.principal}"
        if principal.principal_id and principal.principal_id != principal.account_id:
            name += f" ({principal.principal_id})"
        rows: list[tuple[str, ...]] = []
        for key in sorted(theirs.groups, key=lambda each: (each.outcome, each)):
            group = theirs.groups[key]
            count = sum(use.count for use in group.uses.values())
            last = max(use.last for use in group.uses.values())
            told = key.action if key.outcome == "allowed" else f"{key.action} REFUSED"
            if key.passed_to_service:
                told += f" to {key.passed_to_service}"
            rows.append((told, f"{count:,}", last[:10] or "no time", _resources(group)))
        rows += [
            (f"{operation} unmapped", f"{use.count:,}", use.last[:10] or "no time", "")
            for operation, use in sorted(theirs.unmapped.items())
        ]
        if not rows and not theirs.sessions.names:
            continue
        click.echo(click.style(printable(name), bold=True))
        if rows:
            rows.insert(0, ("ACTION", "CALLS", "LAST", "RESOURCE"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)] if rows else []
        for told, calls, last, resources in rows:
            line = f"  {told:<{widths[0]}}  {calls:>{widths[1]}}  {last:<{widths[2]}}  {resources}"
            click.echo(printable(line.rstrip()))
        if theirs.sessions.names:
            names = ", ".join(sorted(theirs.sessions.names)[:5])
            more = len(theirs.sessions.names) > 5 or theirs.sessions.more
            click.echo(printable(f"  sessions: {names}{' and others' if more else ''}"))
        click.echo()


def _resources(group: Group) -> str:
    if group.depth is not None:
        return f"more than {MAX_RESOURCES} ARNs in {len(group.uses)} places"
    known = sorted(resource for resource in group.uses if resource)
    unknown = " and unknown ones" if known and None in group.uses else ""
    if not known:
        return "resource unknown"
    return (known[0] if len(known) == 1 else f"{known[0]} and {len(known) - 1} more") + unknown


def print_summary(result: Activity, output: str | None) -> None:
    """Print what was read, and the sum in which every record has its place."""
    totals = result.totals
    size = f"{totals.uncompressed_bytes / 1e6:,.1f} MB"
    when = (
        f"events from {result.first} to {result.last}" if result.first else "no event with a time"
    )
    click.echo(
        f"Read {several(totals.files, 'file')} ({size} uncompressed), {when}, "
        f"{several(len(result.principals), 'principal')}."
    )
    ignored, lost = sum(totals.ignored.values()), sum(totals.unreadable_records.values())
    click.echo(
        f"{totals.records:,} records = {totals.used:,} used + {totals.denied:,} denied "
        f"+ {ignored:,} ignored + {totals.unmapped:,} unmapped + {lost:,} unreadable"
    )
    for rule, count in _largest(totals.ignored):
        click.echo(printable(f"  ignored   {count:>9,}  {rule}"))
    for operation, calls in _largest(result.unmapped_operations()):
        click.echo(printable(f"  unmapped  {calls:>9,}  {operation}"))
    for reason, count in _largest(totals.skipped_files):
        click.echo(printable(f"  skipped   {count:>9,}  files: {reason}"))
    if totals.forgotten_event_ids:
        click.echo(
            f"  Duplicates were looked for among the latest events only: "
            f"{totals.forgotten_event_ids:,} earlier event ids were forgotten to bound memory."
        )
    data = ", ".join(sorted(source.partition(".")[0] for source in totals.data_events))
    data = printable(data)
    click.echo(f"Data events in these logs: {data or 'none; what they would show is unknown'}.")
    if output is not None:
        click.echo(f"Wrote {output}.")


def _largest(counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    yield from ranked[:_MAX_REASONS_SHOWN]
    if len(ranked) > _MAX_REASONS_SHOWN:
        rest = ranked[_MAX_REASONS_SHOWN:]
        yield f"({len(rest)} others)", sum(count for _, count in rest)


def problem_lines(result: Activity) -> Iterator[str]:
    """Yield a sentence for what could not be read, with the names of the files."""
    files = sum(result.totals.unreadable_files.values())
    records = sum(result.totals.unreadable_records.values())
    lost = f"{several(files, 'file')} and {several(records, 'single record')}"
    yield f"pare: {lost} could not be read:"
    named = list(result.problem_files.items())
    for name, reason in named[:_MAX_REASONS_SHOWN]:
        yield printable(f"  {name}: {reason}")
    if len(named) > _MAX_REASONS_SHOWN:
        yield "  and others, named in the activity file's header (problem_files)"


def printable(text: str) -> str:
    """Return text from outside without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
