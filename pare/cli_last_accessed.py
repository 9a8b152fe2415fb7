"""``pare last-accessed``: which services and actions a user or role used, when, and which never."""

from __future__ import annotations

import csv
import difflib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pare.arns import parse_principal_arn
from pare.cli_activity import csv_cell, format_option, printable
from pare.cli_snapshot import (
    FOUND_PROBLEMS,
    aws_session,
    damage_lines,
    echo_lines,
    local_options,
    one_of,
    open_snapshot,
    period_option,
    snapshot_option,
    why_unknown,
)
from pare.clock import format_time, parse_time
from pare.errors import ArnParseError, LastAccessedError, PolicyInputError, SnapshotError
from pare.inventory.last_accessed import compact
from pare.inventory.last_accessed_view import NOT_TRACKED, answer, answer_lines, question
from pare.inventory.snapshot_files import SnapshotFiles
from pare.inventory.view import unknown_accounts
from pare.message import listed, several
from pare.policy.catalogue import load_catalogue
from pare.policy.last_accessed import entities_of, read_last_accessed

if TYPE_CHECKING:
    from pare.inventory.last_accessed_view import Question, ShownServiceJson
    from pare.inventory.model import LastAccessedJson
    from pare.inventory.snapshot_files import SnapshotReader

_LIVE_SECONDS = 120.0


class _FileError(PolicyInputError):
    what_to_do = (
        "Give what `aws iam get-service-last-accessed-details --job-id ID` prints once the job has "
        "completed."
    )


@click.command("last-accessed", no_args_is_help=True, short_help="What it used, and when.")
@click.argument("principal")
@click.option(
    "--service", "services", multiple=True, metavar="PREFIX", help="Such as ec2. Repeatable."
)
@click.option("--days", type=click.IntRange(1, 400), help="What was used in the last N days.")
@click.option("--used", is_flag=True, help="Only what was used.")
@click.option("--unused", is_flag=True, help="Only what was not used (in these days).")
@snapshot_option
@period_option
@click.option(
    "--file",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="What `aws iam get-service-last-accessed-details` printed. Needs no AWS.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Ask IAM now, with credentials of its account. PRINCIPAL must be an ARN.",
)
@format_option("text", "json", "csv")
@local_options
def last_accessed(
    principal: str,
    services: tuple[str, ...],
    days: int | None,
    used: bool,
    unused: bool,
    snapshot: Path | None,
    period: str | None,
    file: Path | None,
    live: bool,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """Tell which services and actions a user or role used, when, and which never.

    PRINCIPAL is an ARN, a name, account/NAME, or what the mail and `pare inventory show` print;
    with --live only an ARN. The answer is IAM's last accessed information as the newest inventory
    has it; --live asks IAM now. Days are counted from when IAM was asked. A service asked for by
    --service is in the answer in any case: used, not used, or not allowed.

    Exit code 1: it is unknown, and why is said. 2: also a service that AWS does not have. 3: there
    is no such user or role.

    Example: pare last-accessed ShopCheckout --service ec2 --days 7
    """
    if used and unused:
        raise click.UsageError("Give either --used or --unused.")
    if sum((snapshot is not None, file is not None, live)) > 1:
        raise click.UsageError("Give one of --snapshot, --file and --live.")
    period_of = None
    if file is not None:
        info = _from_file(file, principal)
    elif live:
        info = _live(principal, is_local, state_dir)
    else:
        reader = open_snapshot(snapshot, period, is_local, state_dir)
        info = _from_snapshot(reader, principal)
        period_of = reader.head["period"] if reader.head else None
    _check_services(services, info)
    asked_at = parse_time(info["generated_at"]) if info["generated_at"] else datetime.now(UTC)
    asked = question(services=services, days=days, used=used, unused=unused, asked_at=asked_at)
    shown = answer(info["services"], asked) if info["services"] is not None else []
    if form == "json":
        click.echo(json.dumps(_as_json(info, asked, shown, period_of), indent=2, sort_keys=True))
    elif form == "csv":
        _print_csv(info, shown)
    else:
        _print_text(info, asked, shown, period_of)
    if info["services"] is None:
        if form != "text":
            echo_lines([f"pare: {_unknown_line(info)}"], err=True)
        click.get_current_context().exit(FOUND_PROBLEMS)


def _check_services(services: tuple[str, ...], info: LastAccessedJson) -> None:
    """Refuse a service that neither IAM nor the catalogue has: a slip of the pen would be answered
    like a service that is not allowed."""
    known = set(load_catalogue().services) if services else set()
    known |= {each["service"] for each in info["services"] or ()}
    for each in services:
        if each.lower() not in known:
            # Somebody may give an action.
            near = difflib.get_close_matches(each.lower().partition(":")[0], sorted(known))
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(
                printable(f"There is no service {each} in AWS as Pare knows it.{hint}")
            )


# --- where it comes from --------------------------------------------------------------------------


def _from_snapshot(reader: SnapshotReader, principal: str) -> LastAccessedJson:
    try:
        account_id = parse_principal_arn(principal).account_id
    except ArnParseError:
        account_id = None
    for account in unknown_accounts(reader.head):
        if account["account_id"] == account_id:
            name = f"{account['account_id']} {account['name']}"
            return _unknown(principal, account["error"] or "", f"{name}: {why_unknown(account)}")
    found = reader.rows(account_id)
    rows = {row["principal_arn"]: row for row in found.rows}
    if found.damaged:
        echo_lines(damage_lines(found, reader.origin), err=True)
    arn = one_of(
        principal,
        sorted(rows),
        reader.head,
        lambda hint: f"{principal} is not in {reader.origin}.{hint} `pare explain` says more",
    )
    info = reader.last_accessed(rows[arn]["account_id"], arn)
    if info is not None:
        return info
    if isinstance(reader, SnapshotFiles) and not reader.has_last_accessed():
        raise SnapshotError(
            f"{reader.folder} has the rows alone, and no last accessed information: it lies in "
            "work=…/account=…/last_accessed/"
        )
    return _unknown(arn, "LastAccessedError", "the inventory has no answer of IAM for it")


def _unknown(arn: str, error: str, message: str) -> LastAccessedJson:
    return {
        "principal_arn": arn,
        "outcome": "unknown",
        "error": error,
        "message": message,
        "attempts": 0,
        "generated_at": None,
        "services": None,
    }


def _from_file(file: Path, principal: str) -> LastAccessedJson:
    try:
        # Some shells begin what they write to a file with a byte order mark.
        content = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
        source: Any = json.loads(content)
    except OSError as error:
        raise _FileError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _FileError(f"{file} is not JSON: {error}") from error
    if isinstance(source, dict) and source.get("JobStatus") == "FAILED":
        failure = source.get("Error")
        named = failure if isinstance(failure, dict) else {}
        message = f"{named.get('Code', 'no code')}: {named.get('Message', 'no message')}"
        return _unknown(principal, "LastAccessedError", f"the job failed: {message}")
    try:
        services = read_last_accessed(source)["services"]
        entities = sorted(entities_of(source))
        completed = source.get("JobCompletionDate")
        generated_at = format_time(parse_time(completed)) if completed else None
    except PolicyInputError as error:
        raise _FileError(f"{file}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise _FileError(f"{file}: it is damaged: {error}") from error
    return {
        "principal_arn": _of_file(principal, entities),
        "outcome": "COMPLETED",
        "error": None,
        "message": "",
        "attempts": 1,
        "generated_at": generated_at,
        "services": compact(services),
    }


def _of_file(principal: str, entities: list[str]) -> str:
    """Return whose information it is; raises UsageError where it names others only."""
    name = principal.rpartition("/")[2]
    own = [each for each in entities if each == principal or each.rpartition("/")[2] == name]
    if entities and not own:
        raise click.UsageError(f"--file is of {listed(entities, 3)}, not of {principal}.")
    return own[0] if own and not principal.startswith("arn:") else principal


def _live(principal: str, is_local: bool, state_dir: Path) -> LastAccessedJson:
    """Ask IAM, generating and polling with one session, as the job belongs to it."""
    from pare.aws.calls import CLIENT_CONFIG, translated
    from pare.aws.iam_reader import IamReader

    try:
        arn = parse_principal_arn(principal)
    except ArnParseError as error:
        raise click.UsageError(
            f"--live needs the ARN of a user or role, as no inventory is asked: {error}. "
            "`pare explain NAME` tells it."
        ) from error
    session = aws_session(is_local, state_dir, account_id=arn.account_id)
    # IAM is global: any Region of the partition leads to it.
    region = session.region_name or "us-east-1"
    with translated("sts:GetCallerIdentity"):
        sts = session.client("sts", region_name=region, config=CLIENT_CONFIG)
        mine = sts.get_caller_identity()["Account"]
    if mine != arn.account_id:
        raise click.UsageError(
            f"--live needs credentials of account {arn.account_id}; these are of {mine}."
        )
    reader = IamReader(session.client("iam", region_name=region, config=CLIENT_CONFIG), mine)
    try:
        services = reader.last_accessed(arn.arn, seconds=_LIVE_SECONDS)
    except LastAccessedError as error:
        return _unknown(arn.arn, type(error).__name__, str(error))
    return {
        "principal_arn": arn.arn,
        "outcome": "COMPLETED",
        "error": None,
        "message": "",
        "attempts": 1,
        "generated_at": format_time(datetime.now(UTC).replace(microsecond=0)),
        "services": compact(services),
    }


# --- what people see ------------------------------------------------------------------------------


def _unknown_line(info: LastAccessedJson) -> str:
    message = f": {info['message']}" if info["message"] else ""
    return (
        f"Unknown ({info['error'] or 'no error named'}{message}). What it used, and what it did "
        "not, is not known; nothing may be called unused."
    )


def _print_text(
    info: LastAccessedJson, asked: Question, shown: list[ShownServiceJson], period: str | None
) -> None:
    lines = [info["principal_arn"]]
    at = f" of {info['generated_at'][:16].replace('T', ' ')} UTC" if info["generated_at"] else ""
    of = f", in the inventory of {period}" if period else ""
    lines.append(f"IAM's last accessed information{at}{of}")
    if asked.since and asked.days:
        lines.append(
            f"Question: what was {'not ' if asked.unused else ''}used in the "
            f"{several(asked.days, 'day')} before, since "
            f"{asked.since[:16].replace('T', ' ')} UTC?"
        )
    echo_lines([*lines, ""])
    if info["services"] is None:
        echo_lines([_unknown_line(info)])
    else:
        echo_lines(list(answer_lines(info, shown, asked)))


def _as_json(
    info: LastAccessedJson, asked: Question, shown: list[ShownServiceJson], period: str | None
) -> dict[str, Any]:
    return {
        "principal_arn": info["principal_arn"],
        "outcome": info["outcome"],
        "error": info["error"],
        "message": info["message"],
        "generated_at": info["generated_at"],
        "period": period,
        "days": asked.days,
        "since": asked.since,
        "services": shown if info["services"] is not None else None,
        "allowed_services": None if info["services"] is None else len(info["services"]),
        "not_tracked": NOT_TRACKED,
    }


CSV_COLUMNS = ("principal_arn", "service", "action", "use", "last_accessed_at", "region")


def _print_csv(info: LastAccessedJson, shown: list[ShownServiceJson]) -> None:
    """Print a row for each service (without action) and for each of its actions.

    ``use`` is ``used`` (in the days asked for), ``earlier`` (before them), ``none`` (recorded), or
    ``not allowed``.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for each in shown:
        head = (info["principal_arn"], each["service"])
        use = "used" if each["is_used"] else "earlier" if each["last_accessed_at"] else "none"
        use = use if each["is_allowed"] else "not allowed"
        lines = [(*head, "", use, each["last_accessed_at"] or "", each["region"] or "")]
        lines += [(*head, name, "used", at, "") for name, at in sorted(each["used"].items())]
        lines += [(*head, name, "earlier", at, "") for name, at in sorted(each["earlier"].items())]
        lines += [(*head, name, "none", "", "") for name in each["unused"] or ()]
        for line in lines:
            writer.writerow([csv_cell(cell) for cell in line])
