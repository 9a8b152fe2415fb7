"""``pare policy start``: proposals made by the deployed Pare."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from pare.cli_activity import format_option

FOUND_PROBLEMS = 1


class AccountId(click.ParamType[str]):
    """Twelve digits."""

    name = "account id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[0-9]{12}", str(value)):
            self.fail(f"{value!r} is not an account id of 12 digits.")
        return str(value)


@click.command(no_args_is_help=True, short_help="Let the deployed Pare propose policies.")
@click.argument("principal_arns", metavar="[PRINCIPAL_ARN]...", nargs=-1)
@click.option("--account", "account_id", type=AccountId(), help="Every user and role of it.")
@click.option("--wait", is_flag=True, help="Wait for the end. Exit code 1: something failed.")
@format_option("text", "json")
def start(principal_arns: tuple[str, ...], account_id: str | None, wait: bool, form: str) -> None:
    """Let the deployed Pare propose policies for users and roles, or for a whole account.

    Starts its workflows with the AWS credentials of this shell (hub account, home Region). The
    proposals are stored and told as always; of a whole account people are told nothing, and it is
    done a few principals at a time: a thousand take about an hour. --wait waits until all are
    started, not for each of their ends.

    Example: pare policy start arn:aws:iam::111122223333:role/app/Shop --wait
    """
    if bool(principal_arns) == (account_id is not None):
        raise click.UsageError("Name either principals or one --account.")
    from pare.aws.calls import shell_session
    from pare.aws.executions import ended
    from pare.aws.policy_start import start_account, start_principals

    session, now = shell_session(), datetime.now(UTC)
    if account_id is not None:
        started = [start_account(session, account_id, now=now)]
    else:
        started = start_principals(session, principal_arns, now=now)
    if form == "text":
        for each in started:
            click.echo(f"{'Started' if each.is_new else 'Already running'}: {each.subject}")
            click.echo(f"  {each.execution_arn}")
    rows: list[dict[str, Any]] = [asdict(each) for each in started]
    if wait:
        for row in rows:
            row["status"] = ended(session, row["execution_arn"])
            if form == "text":
                click.echo(f"{row['subject']} ended: {row['status']}.")
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
    if any(row.get("status", "SUCCEEDED") != "SUCCEEDED" for row in rows):
        click.get_current_context().exit(FOUND_PROBLEMS)
