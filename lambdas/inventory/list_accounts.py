"""List accounts: the period's claim, and the manifest that the map over accounts reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict
from zoneinfo import ZoneInfo

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.executions import has_ended
from pare.aws.organization import Organization
from pare.aws.tables import PERIOD, RunsTable
from pare.clock import format_time, parse_time
from pare.errors import EvidenceError, InventoryError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.aws.organization import AccountJson
    from pare.inventory.model import SnapshotJson
    from pare.object_ref import ObjectRef

# Nobody can enter an account that is closed, and nobody in it can do anything.
# https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_accounts_account_state.html
CLOSED = frozenset({"SUSPENDED", "CLOSED"})
# How far back an inventory to compare with is looked for.
PERIODS_BACK = 13
# Snapshots before this definition had rows of another kind.
FIRST_COMPARABLE = 2


class Start(TypedDict):
    """The input of the inventory workflow."""

    scheduled_at: str
    again: NotRequired[bool]  # a person wants the period's inventory anew


class Input(TypedDict):
    input: Start
    execution: str
    started_at: str


class PreviousRows(TypedDict):
    """The last known rows of an account, and the period they are of."""

    period: str
    bucket: str
    key: str


class AccountItem(TypedDict):
    """An account of the manifest: the input of its child in the map."""

    account_id: str
    name: str
    state: str  # ACTIVE, …, as AWS names it
    period: str
    work: str  # the prefix of everything that is made for this period
    as_of: str  # the moment that ages and days are counted to
    organization: ObjectRef  # {"accounts": {id: {"name", "state"}}}, of all accounts
    previous: PreviousRows | None
    is_new: bool  # the account came since the last inventory, and all who are in it with it


class Output(TypedDict):
    period: str
    prefix: str
    work: str
    as_of: str
    is_first: bool  # this execution has the period
    continues: bool  # it goes on with what another one began
    manifest: ObjectRef
    organization: ObjectRef
    previous_snapshot: ObjectRef | None
    account_count: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    evidence_bucket_name: str
    account_exclusions: str
    time_zone: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the manifest lies: a JSON list of the accounts to collect.

    ``is_first`` is False where another execution has the period: EventBridge Scheduler may start a
    workflow twice (facts §6), and the second start must do nothing. Where that one ended before it
    was done, this one goes on with its work. Raises InventoryError where the input names no time.
    """
    settings = environment()
    period = _period(event["input"], ZoneInfo(settings.time_zone))
    execution = event["execution"]
    prefix = f"inventory/period={period}"
    own_work = f"{prefix}/work={execution.rpartition(':')[2]}"
    claim = RunsTable(client("dynamodb"), settings.runs_table_name).claim(
        PERIOD,
        period,
        execution=execution,
        work=own_work,
        as_of=format_time(parse_time(event["started_at"])),
        has_ended=lambda holder: has_ended(client("stepfunctions"), holder),
        again=event["input"].get("again") is True,
    )
    bucket, work = settings.evidence_bucket_name, claim.work
    output: Output = {
        "period": period,
        "prefix": prefix,
        "work": work,
        "as_of": claim.as_of,
        "is_first": claim.holder == execution,
        "continues": work != own_work,
        "manifest": {"bucket": bucket, "key": f"{work}/manifest.json"},
        "organization": {"bucket": bucket, "key": f"{work}/organization.json"},
        "previous_snapshot": None,
        "account_count": 0,
        "counts": {},
    }
    if not output["is_first"]:
        logger.info("period is taken", period=period, holder=claim.holder, is_done=claim.is_done)
        return output
    store = EvidenceStore(client("s3"), bucket)
    accounts = Organization(client("organizations")).accounts()
    excluded = set(filter(None, settings.account_exclusions.split(",")))
    output["previous_snapshot"], snapshot = _previous_snapshot(store, period)
    previous = _previous_rows(snapshot) if snapshot else {}
    listed = {each["account_id"] for each in snapshot["accounts"]} if snapshot else None
    items = [
        _item(
            account,
            output,
            previous.get(account["account_id"]),
            is_new=listed is not None and account["account_id"] not in listed,
        )
        for account in accounts
        if account["account_id"] not in excluded and account["state"] not in CLOSED
    ]
    store.put_json(
        output["organization"]["key"],
        {"accounts": {
            account["account_id"]: {"name": account["name"], "state": account["state"]}
            for account in accounts
        }},
    )  # fmt: skip
    store.put_json(output["manifest"]["key"], items)
    known = {account["account_id"]: account["state"] for account in accounts}
    output["account_count"] = len(items)
    output["counts"] = {
        "closed_account_count": sum(
            1 for each, state in known.items() if state in CLOSED and each not in excluded
        ),
        "excluded_account_count": len(excluded & known.keys()),
    }
    logger.info("accounts listed", period=period, account_count=len(items), work=work)
    return output


def _period(start: Start, zone: ZoneInfo) -> str:
    """Return the schedule's month an inventory is of; a person may have written the input."""
    scheduled_at = start.get("scheduled_at")
    try:
        return parse_time(str(scheduled_at)).astimezone(zone).strftime("%Y-%m")
    except (ValueError, OverflowError) as error:
        raise InventoryError(
            f"scheduled_at is {scheduled_at!r}, not a time such as 2026-11-01T06:00:00Z"
        ) from error


def _item(
    account: AccountJson, output: Output, previous: PreviousRows | None, *, is_new: bool
) -> AccountItem:
    return {
        "account_id": account["account_id"],
        "name": account["name"],
        "state": account["state"],
        "period": output["period"],
        "work": output["work"],
        "as_of": output["as_of"],
        "organization": output["organization"],
        "previous": previous,
        "is_new": is_new,
    }


def _previous_snapshot(
    store: EvidenceStore, period: str
) -> tuple[ObjectRef | None, SnapshotJson | None]:
    """Return the newest snapshot before a period, and where it lies; None: the first inventory.

    One that is damaged, or that we may not read, raises EvidenceError: to pass it over would forget
    every planned date.
    """
    for earlier in _periods_before(period):
        ref: ObjectRef = {
            "bucket": store.bucket,
            "key": f"inventory/period={earlier}/snapshot.json",
        }
        body = store.find_bytes(ref)
        if body is None:
            continue
        try:
            snapshot: SnapshotJson = json.loads(body)
        except ValueError as error:
            raise EvidenceError(f"s3://{ref['bucket']}/{ref['key']} is not JSON") from error
        if snapshot["definition_version"] >= FIRST_COMPARABLE:
            return ref, snapshot
    return None, None


def _periods_before(period: str) -> list[str]:
    """Return the months before one, newest first."""
    year, month = (int(part) for part in period.split("-"))
    months = year * 12 + month - 1
    return [
        f"{earlier // 12:04d}-{earlier % 12 + 1:02d}"
        for earlier in range(months - 1, max(months - 1 - PERIODS_BACK, 11), -1)
    ]


def _previous_rows(snapshot: SnapshotJson) -> dict[str, PreviousRows]:
    """Return where each account's rows of a snapshot lie, or those it was last known by."""
    rows: dict[str, PreviousRows] = {}
    for account in snapshot["accounts"]:
        if account["rows"]:
            rows[account["account_id"]] = {"period": snapshot["period"], **account["rows"]}
        elif known := account.get("known"):
            rows[account["account_id"]] = {
                "period": known["period"],
                "bucket": known["bucket"],
                "key": known["key"],
            }
    return rows
