"""``pare inventory``: start it, look at it, take its report."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pare.cli_activity import format_option, printable
from pare.cli_snapshot import (
    FOUND_PROBLEMS,
    Period,
    accounts_option,
    damage_lines,
    deployment,
    echo_lines,
    local_options,
    open_snapshot,
    owners_option,
    period_option,
    say,
    snapshot_option,
    unknown_lines,
)
from pare.errors import OutputFileError, SnapshotError
from pare.inventory import view
from pare.inventory.model import CLASSES
from pare.inventory.names import shown as shown_name
from pare.inventory.snapshot_files import STATUSES, unpacked
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.inventory.model import PrincipalRowJson, SnapshotJson
    from pare.inventory.snapshot_files import SnapshotReader

_WIDTH = 100
_MOST_AHEAD = timedelta(hours=14)  # of UTC: the time zone of the Line Islands
STANDARD_OUTPUT = "-"


@click.group()
def inventory() -> None:
    """Every user and role of every account: what is used, what to do, and what changed.

    The commands ask the deployed Pare with the AWS credentials of this shell (hub account, home
    Region), with --local the organization in a box, or, with --snapshot, files on disk and nobody.

    Example: pare inventory show --stale
    """


# --- run ------------------------------------------------------------------------------------------


@inventory.command()
@click.option("--period", type=Period(), help="This month (the default), or the one before.")
@click.option("--again", is_flag=True, help="Make it anew, though it is done; people are told.")
@click.option("--wait", is_flag=True, help="Wait for its end. Exit code 1: it failed.")
@format_option("text", "json")
@local_options
def run(
    period: str | None, again: bool, wait: bool, form: str, is_local: bool, state_dir: Path
) -> None:
    """Make this month's inventory now, instead of waiting for its schedule.

    One that failed or was stopped goes on where it stopped: accounts that are done are not read
    again. While one is under way, or once it is done, no second is started.

    Example: pare inventory run --wait
    """
    from pare.aws.deployed_inventory import DeployedInventory, start_inventory
    from pare.aws.executions import ended

    now = datetime.now(UTC)
    period = _period(period, now)
    deployed = deployment(is_local, state_dir)
    started = start_inventory(deployed, period=period, now=now, again=again)
    told: dict[str, Any] = {
        "period": period,
        "state": started.state,
        "execution_arn": started.execution_arn,
    }
    if form == "text":
        click.echo(
            {
                "started": f"Started: the inventory of {period}",
                "running": f"Already running: the inventory of {period}",
                "done": f"Done already: the inventory of {period}. Anew: --again",
            }[started.state]
        )
        click.echo(f"  {started.execution_arn}")
    is_done = started.state == "done"
    if wait and not is_done and started.execution_arn:
        if form == "text":
            say("waiting for its end; an account takes some minutes; fifty go side by side")
        told["status"] = ended(
            deployed.session, started.execution_arn, poll_seconds=1 if is_local else 10
        )
        is_done = told["status"] == "SUCCEEDED"
        if form == "text":
            click.echo(f"It ended: {told['status']}.")
    if is_done and (wait or started.state == "done"):
        head = DeployedInventory(deployed, period).head
        told["counts"] = head["counts"]
        told["unknown_accounts"] = _unknown_json(head)
        if form == "text":
            echo_lines([summary(head)])
            echo_lines(unknown_lines(head))
    if form == "json":
        click.echo(json.dumps(told, indent=2, sort_keys=True))
    if told.get("status", "SUCCEEDED") != "SUCCEEDED":
        click.get_current_context().exit(FOUND_PROBLEMS)


def _period(asked: str | None, now: datetime) -> str:
    """Return the month that is asked for: this one of the person's clock, or the one before.

    The schedule's time zone may be in the next month already.
    """
    here = now.astimezone()
    this = f"{here:%Y-%m}"
    before = f"{here.replace(day=1) - timedelta(days=1):%Y-%m}"
    ahead = f"{now + _MOST_AHEAD:%Y-%m}"
    if asked not in {None, this, before, ahead}:
        raise click.UsageError(
            f"An inventory says what is there now: it can be of {this}, or go on with that of "
            f"{before}."
        )
    return asked or this


def summary(head: SnapshotJson) -> str:
    """Return what a snapshot has, in one line."""
    counts = head["counts"]
    parts = [
        f"Inventory {head['period']}: {several(counts.get('principals', 0), 'user or role')}"
        if counts.get("principals") == 1
        else f"Inventory {head['period']}: {counts.get('principals', 0):,} users and roles",
        f"in {several(head['account_count'] - head['unknown_account_count'], 'account')};",
        ", ".join(f"{counts.get(f'class_{each}', 0):,} {each}" for each in CLASSES),
    ]
    since = ""
    if head["previous"]:
        since = (
            f"; since {head['previous']}: {counts.get('new', 0):,} new, "
            f"{counts.get('gone', 0):,} gone, {counts.get('changed', 0):,} changed"
        )
    return " ".join(parts) + since + "."


def _unknown_json(head: SnapshotJson | None) -> list[dict[str, str | None]]:
    return [
        {
            "account_id": each["account_id"],
            "name": each["name"],
            "error": each["error"],
            "message": each["message"],
            "last_read": each["known"]["period"] if "known" in each else None,
        }
        for each in view.unknown_accounts(head)
    ]


# --- show -----------------------------------------------------------------------------------------


@inventory.command()
@snapshot_option
@period_option
@click.option(
    "--stale",
    is_flag=True,
    help="Only unused ones: idle or never used, and not kept on purpose.",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    type=click.Choice(CLASSES, case_sensitive=False),
    help="Only what is to be handled so. Repeatable.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only those with this status. Repeatable.",
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(view.KINDS, case_sensitive=False),
    help="Only principals of this kind. Repeatable.",
)
@owners_option
@accounts_option
@click.option(
    "--issue",
    "issues",
    multiple=True,
    type=click.Choice(view.ISSUES, case_sensitive=False),
    help="Only those with this issue. Repeatable.",
)
@click.option("--changed", is_flag=True, help="Only those new or changed since last month.")
@click.option(
    "--sort",
    type=click.Choice(view.SORTS),
    default="class",
    show_default=True,
    help="class: gravest first, then longest idle.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N.")
@format_option("text", "json", "csv")
@local_options
def show(
    snapshot: Path | None,
    period: str | None,
    stale: bool,
    classes: tuple[str, ...],
    statuses: tuple[str, ...],
    kinds: tuple[str, ...],
    owners: tuple[str, ...],
    accounts: tuple[str, ...],
    issues: tuple[str, ...],
    changed: bool,
    sort: view.Sort,
    limit: int | None,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """List users and roles of an inventory, with what to do about each.

    Accounts that could not be read are always named: nobody knows what is in them. Exit code 1:
    lines of a file were damaged, and are counted. 3: there is nothing to show.

    Example: pare inventory show --stale --owner payments
    """
    reader = open_snapshot(snapshot, period, is_local, state_dir)
    head = reader.head
    names = view.account_names(head)
    _check_accounts(accounts, names)
    found = reader.rows()
    wanted = view.Filter(stale, classes, statuses, kinds, owners, accounts,
                         issues, changed)  # fmt: skip
    rows = view.chosen(found.rows, wanted, sort, names)
    shown = rows if limit is None else rows[:limit]
    gone = _gone(reader, replace(wanted, changed=False), names) if changed else None
    echo_lines(damage_lines(found, reader.origin), err=True)
    if form == "json":
        click.echo(_as_json(reader, rows, shown, len(found.rows), gone))
    elif form == "csv":
        _print_csv(shown, names)
        told = (*_gone_lines(head, gone, names), *unknown_lines(head))
        echo_lines([f"pare: {line}" for line in told], err=True)
    else:
        _print_text(head, rows, shown, len(found.rows), names)
        echo_lines(_gone_lines(head, gone, names))
        echo_lines(_root_lines(head))
        echo_lines(unknown_lines(head))
    if found.damaged or found.unread:
        click.get_current_context().exit(FOUND_PROBLEMS)


def _check_accounts(accounts: tuple[str, ...], names: dict[str, str]) -> None:
    """Refuse an account that the snapshot does not have: an empty list would seem to say that
    there is nothing in it."""
    known = {*names, *names.values()}
    for each in accounts:
        if names and "*" not in each and each not in known:
            raise click.UsageError(
                printable(
                    f"There is no account {each} in this inventory. It has "
                    f"{', '.join(sorted(set(names.values()))[:10])}"
                    f"{', …' if len(set(names.values())) > 10 else ''}."
                )
            )


def _print_text(
    head: SnapshotJson | None,
    rows: list[PrincipalRowJson],
    shown: list[PrincipalRowJson],
    total: int,
    names: dict[str, str],
) -> None:
    # Where the output is no terminal and COLUMNS is not set, it is as wide as most terminals.
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    echo_lines(view.table(shown, names, width))
    if shown:
        click.echo()
    if len(shown) < len(rows):
        click.echo(f"… and {len(rows) - len(shown):,} more.")
    if head:
        of = f"Inventory {head['period']}, as of {head['as_of'][:16].replace('T', ' ')} UTC"
    else:
        of = "Rows alone: nothing is known of accounts that could not be read"
    counted = Counter(row["class"] for row in rows)
    parts = ", ".join(f"{counted[each]:,} {each}" for each in CLASSES if counted[each])
    unused = sum(row["is_unused"] for row in rows)
    among = f", {unused:,} of them unused" if unused < len(rows) else ""
    click.echo(
        f"{len(rows):,} of {total:,} users and roles{among}{f': {parts}' if parts else ''}. {of}."
    )


def _gone(
    reader: SnapshotReader, wanted: view.Filter, names: dict[str, str]
) -> list[PrincipalRowJson]:
    """Return last month's rows, of those wanted, whose users and roles are no longer there."""
    rows = [
        row
        for account in (reader.head["accounts"] if reader.head else [])
        if account["gone"] and account["counts"].get("gone", 1)
        for row in reader.gone_rows(account).rows
    ]
    return view.chosen(rows, wanted, "principal", names)


def _gone_lines(
    head: SnapshotJson | None, gone: list[PrincipalRowJson] | None, names: dict[str, str]
) -> Iterator[str]:
    if gone is None or head is None:
        return
    if head["previous"] is None:
        yield "It is the first inventory: there is none to compare it with."
    elif gone:
        yield f"Gone since {head['previous']}:"
    for row in gone:
        yield f"  {shown_name(row['principal_arn'], names)}"


def _root_lines(head: SnapshotJson | None) -> Iterator[str]:
    """Yield what is wrong with root users, who are no rows."""
    counts = head["counts"] if head else {}
    keys, without_mfa = counts.get("root_access_keys", 0), counts.get("root_without_mfa", 0)
    if keys or without_mfa:
        yield (
            f"Root users, who are not in this list: {several(keys, 'access key')}, "
            f"{without_mfa:,} without MFA. The report names them."
        )


def _as_json(
    reader: SnapshotReader,
    rows: list[PrincipalRowJson],
    shown: list[PrincipalRowJson],
    total: int,
    gone: list[PrincipalRowJson] | None,
) -> str:
    head = reader.head
    found = reader.rows()
    answer = {
        "period": head["period"] if head else (rows[0]["period"] if rows else None),
        "as_of": head["as_of"] if head else None,
        "definition_version": head["definition_version"] if head else None,
        "origin": reader.origin,
        "principals": total,
        "matching": len(rows),
        "counts": head["counts"] if head else None,
        "unknown_accounts": _unknown_json(head) if head else None,
        "partly_unknown_accounts": [
            {"account_id": each["account_id"], "name": each["name"], "unknown": each["unknown"]}
            for each in view.partly_unknown(head)
        ]
        if head
        else None,
        "damaged_lines": found.damaged,
        "unread_rows": found.unread,
        "gone": gone,
        "rows": shown,
    }
    return json.dumps(answer, indent=2, sort_keys=True)


def _print_csv(rows: list[PrincipalRowJson], names: dict[str, str]) -> None:
    """Print the report's table as programs take it: no byte order mark, plain line ends."""
    from pare.inventory.report_csv import BYTE_ORDER_MARK, write_csv

    for line in write_csv(rows, language="en", account_names=names):
        click.echo(line.removeprefix(BYTE_ORDER_MARK).removesuffix("\r\n"))


# --- report ---------------------------------------------------------------------------------------


@inventory.command()
@snapshot_option
@period_option
@click.option("-o", "--output", metavar="FILE", help="Write here; -: standard output.")
@format_option("html", "csv", "ndjson", shows="The page, the table, or all that is known.")
@click.option(
    "--language",
    type=click.Choice(["en", "ja"]),
    help="Render page or table anew, in this language. Default: as it was sent; offline: en.",
)
@local_options
def report(
    snapshot: Path | None,
    period: str | None,
    output: str | None,
    form: str,
    language: Literal["en", "ja"] | None,
    is_local: bool,
    state_dir: Path,
) -> None:
    """Take the report of an inventory, or render it again from its snapshot.

    The page is one file that needs no network. ndjson has all the rows, a line each; with a name
    that ends in .gz it is packed.

    Example: pare inventory report --period 2026-11 -o inventory.html
    """
    reader = open_snapshot(snapshot, period, is_local, state_dir)
    of = reader.head["period"] if reader.head else "snapshot"
    output = output or f"inventory-{of}.{form}"
    content, damaged = _content(reader, form, language, is_packed=output.endswith(".gz"))
    if output == STANDARD_OUTPUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        _write(output, content)
        click.echo(f"Wrote {output} ({_size(len(content))}).")
    echo_lines((f"pare: {line}" for line in unknown_lines(reader.head)), err=True)
    if damaged:
        click.get_current_context().exit(FOUND_PROBLEMS)


def _content(
    reader: SnapshotReader, form: str, language: Literal["en", "ja"] | None, *, is_packed: bool
) -> tuple[bytes, bool]:
    """Return the report, and whether anything of the rows could not be read."""
    from pare.aws.deployed_inventory import DeployedInventory

    if isinstance(reader, DeployedInventory):
        if form == "ndjson":
            content = reader.packed_rows()
            return (content if is_packed else unpacked(content)[0]), False
        if language is None:
            return reader.report(f"report.{form}"), False
    found = reader.rows()
    echo_lines(damage_lines(found, reader.origin), err=True)
    damaged = bool(found.damaged or found.unread)
    if form == "html":
        return _page(reader, found.rows, language or "en"), damaged
    if form == "csv":
        from pare.inventory.report_csv import write_csv

        names = view.account_names(reader.head)
        table = write_csv(found.rows, language=language or "en", account_names=names)
        return "".join(table).encode(errors="backslashreplace"), damaged
    import gzip

    lines = "".join(
        json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in found.rows
    ).encode(errors="backslashreplace")
    return (gzip.compress(lines, mtime=0) if is_packed else lines), damaged


def _page(
    reader: SnapshotReader, rows: list[PrincipalRowJson], language: Literal["en", "ja"]
) -> bytes:
    from pare.inventory.report_html import render

    if reader.head is None:
        raise SnapshotError(f"{reader.origin} has no snapshot.json beside it, which the page needs")
    gone = _gone(reader, view.Filter(), {})
    page = render(reader.head, rows, language=language, links={}, gone=gone)
    return page.encode("utf-8", errors="backslashreplace")


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1_000_000 else f"{-(-count // 1_000):,} KB"


def _write(output: str, content: bytes) -> None:
    """Write a file whole or not at all."""
    path = Path(output)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputFileError(f"{output} cannot be written: {error.strerror}.") from error
