"""``pare explain``: everything known about a user or role, and why it was classified so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pare.arns import parse_principal_arn
from pare.cli_activity import format_option, printable
from pare.cli_snapshot import (
    FOUND_PROBLEMS,
    damage_lines,
    echo_lines,
    local_options,
    one_of,
    open_snapshot,
    period_option,
    snapshot_option,
)
from pare.errors import ArnParseError, NotInInventoryError
from pare.inventory.commands import commands
from pare.inventory.explain import Known, explain
from pare.inventory.names import meant, parts
from pare.inventory.texts import reason_text
from pare.inventory.view import account_names
from pare.message import sentence
from pare.runs import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pare.inventory.model import AccountResultJson, PrincipalRowJson
    from pare.inventory.snapshot_files import Rows, SnapshotReader

_ACCOUNTS_NAMED = 3


@click.command("explain", no_args_is_help=True, short_help="Why it was classified so.")
@click.argument("principal")
@snapshot_option
@period_option
@click.option(
    "--language",
    type=click.Choice(["en", "ja"]),
    default="en",
    show_default=True,
    help="The language of the page.",
)
@format_option("text", "json")
@local_options
def explain_principal(
    principal: str,
    snapshot: Path | None,
    period: str | None,
    language: str,
    form: str,
    is_local: bool,
    state_dir: Path,
) -> None:
    """Tell everything known about a user or role, and why it was classified so.

    PRINCIPAL is an ARN, the ARN of a role's session, a name, account/NAME, or what the mail and
    `pare inventory show` print. From the deployed Pare also its latest proposed policy and its open
    findings.

    Exit code 1: its account could not be read, and what was last known is shown. 2: the name means
    several. 3: it is not in the inventory; why is said.

    Example: pare explain ShopCheckout
    """
    reader = open_snapshot(snapshot, period, is_local, state_dir)
    row, account = _found(reader, principal)
    known = _known(reader, row, account)
    if form == "json":
        click.echo(json.dumps(_as_json(row, known, language), indent=2, sort_keys=True))
    else:
        for line in explain(row, language=language, known=known).splitlines():
            click.echo(printable(line))
    if account is not None and account["error"]:
        click.get_current_context().exit(FOUND_PROBLEMS)


def _known(
    reader: SnapshotReader, row: PrincipalRowJson, account: AccountResultJson | None
) -> Known:
    from pare.aws.deployed_inventory import DeployedInventory

    if not isinstance(reader, DeployedInventory):
        return Known(reader.head, account)
    arn = row["principal_arn"]
    return Known(reader.head, account, reader.proposal(arn), reader.findings(arn), is_deployed=True)


def _as_json(row: PrincipalRowJson, known: Known, language: str) -> dict[str, Any]:
    head, account = known.head, known.account
    return {
        "principal_arn": row["principal_arn"],
        "period": row["period"],
        "as_of": head["as_of"] if head else None,
        "account": {
            "account_id": row["account_id"],
            "name": account["name"] if account else None,
            "error": account["error"] if account else None,
        },
        "row": row,
        "reasons": [reason_text(each, language) for each in row["reasons"]],
        "issues": [reason_text(each, language) for each in row["issues"]],
        "commands": [{"title": each.title, "lines": list(each.lines)} for each in commands(row)],
        "proposal": known.proposal,
        "findings": known.findings,
    }


# --- finding it, or saying why it is not there ----------------------------------------------------


def _found(
    reader: SnapshotReader, principal: str
) -> tuple[PrincipalRowJson, AccountResultJson | None]:
    """Return the row of the principal that a text names, and its account.

    Where the account could not be read, the row is the last one known of it. Raises UsageError for
    a name of several, and NotInInventoryError, which says where it was lost.
    """
    head = reader.head
    accounts = {each["account_id"]: each for each in (head["accounts"] if head else [])}
    account_id = _account_id(principal)
    account = accounts.get(account_id) if account_id else None
    if account is not None and account["error"]:
        return _last_known(reader, principal, account), account
    if head and account_id and account is None:
        raise NotInInventoryError(
            f"account {account_id} is not in the inventory of {head['period']}. "
            f"{_left_out(reader, account_id)}"
        )
    found = reader.rows(account_id)
    echo_lines(damage_lines(found, reader.origin), err=True)
    rows = {row["principal_arn"]: row for row in found.rows}
    if not account_id and not meant(principal, rows, account_names(head)):
        for each in accounts.values():
            last = _last_rows(reader, each) if each["error"] else {}
            named = meant(principal, last, account_names(head))
            if len(named) == 1:
                return last[named[0]], each
    arn = one_of(
        principal,
        sorted(rows),
        head,
        lambda hint: _lost(reader, principal, account, accounts.values(), len(rows), hint),
    )
    return rows[arn], accounts.get(rows[arn]["account_id"])


def _left_out(reader: SnapshotReader, account_id: str) -> str:
    """Return why an account is in no inventory."""
    organization = reader.organization()
    if organization is None:
        return (
            "The settings leave it out (account_exclusions), it is closed, or it was not in the "
            "organization then."
        )
    account = organization.get(account_id)
    if account is None:
        return "It was not in the organization then."
    if account.get("state", "ACTIVE") != "ACTIVE":
        return f"Its state is {account['state']}: nobody can enter it."
    return "The settings leave it out (account_exclusions)."


def _account_id(principal: str) -> str | None:
    """Return the account that a text names by itself; None for a name."""
    try:
        return parse_principal_arn(principal).account_id
    except ArnParseError:
        _, account_id, _ = parts(principal) if principal.startswith("arn:") else ("", "", "")
        return account_id if account_id.isdigit() else None


def _last_known(
    reader: SnapshotReader, principal: str, account: AccountResultJson
) -> PrincipalRowJson:
    rows = _last_rows(reader, account)
    found = meant(principal, rows, account_names(reader.head))
    if len(found) == 1:
        return rows[found[0]]
    raise NotInInventoryError(
        f"whether {principal} is there is unknown: {_why_unread(account)} "
        f"{what_to_do(account['error'] or '')}"
    )


def _why_unread(account: AccountResultJson) -> str:
    """Return why nobody knows what is in an account, and since when."""
    known = account.get("known")
    since = f"It was last read in {known['period']}." if known else "It was never read before."
    why = account["message"] or account["error"] or ""
    name = f"{account['account_id']} {account['name']}"
    return f"account {name} could not be read: {sentence(why)} {since}"


def _last_rows(reader: SnapshotReader, account: AccountResultJson) -> dict[str, PrincipalRowJson]:
    return {row["principal_arn"]: row for row in reader.known_rows(account).rows}


def _lost(
    reader: SnapshotReader,
    principal: str,
    account: AccountResultJson | None,
    accounts: Iterable[AccountResultJson],
    count: int,
    hint: str,
) -> str:
    """Return why a principal is in no row."""
    head = reader.head
    looked_in = [account] if account else list(accounts)
    gone = _gone(reader, principal, looked_in)
    if gone is not None:
        return (
            f"{gone['principal_arn']} is gone: it was there in the inventory of {gone['period']} "
            f"(class {gone['class']}, status {gone['status']}), and IAM no longer lists it.{hint}"
        )
    for each in looked_in:
        for what in each["unknown"]:
            if what.startswith(f"{principal}: "):
                return (
                    f"{what}: account {each['account_id']} listed it and did not tell more.{hint}"
                )
    if account is not None and head is not None:
        read_at = head["as_of"][:16].replace("T", " ")
        return (
            f"{principal} is none of the {count:,} users and roles that account "
            f"{account['account_id']} {account['name']} had on {read_at} UTC. It was deleted "
            f"before, or made after.{hint}"
        )
    unread = [each for each in looked_in if each["error"]]
    may_be = " It may be where Pare could not look:" if unread else ""
    may_be += "".join(f" {_why_unread(each)}" for each in unread[:_ACCOUNTS_NAMED])
    if len(unread) > _ACCOUNTS_NAMED:
        may_be += f" So it is with {len(unread) - _ACCOUNTS_NAMED:,} more accounts."
    return f"{principal} is none of the {count:,} users and roles in {reader.origin}.{hint}{may_be}"


def _gone(
    reader: SnapshotReader, principal: str, accounts: list[AccountResultJson]
) -> PrincipalRowJson | None:
    """Return the row of last month of a principal that is no longer there."""
    rows: dict[str, PrincipalRowJson] = {}
    for account in accounts:
        if account["gone"] and account["counts"].get("gone", 1):
            found: Rows = reader.gone_rows(account)
            rows |= {row["principal_arn"]: row for row in found.rows}
    meanings = meant(principal, rows, account_names(reader.head))
    return rows[meanings[0]] if len(meanings) == 1 else None
