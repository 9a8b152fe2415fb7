"""List accounts: the period's claim, and the manifest that the map over accounts reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict
from zoneinfo import ZoneInfo

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.organization import Organization
from pare.aws.tables import PERIOD, RunsTable
from pare.clock import parse_time
from pare.errors import InventoryError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef


class Start(TypedDict):
    """The input of the inventory workflow."""

    scheduled_at: str
    again: NotRequired[bool]  # a person wants the period's inventory anew


class Input(TypedDict):
    input: Start
    execution: str


class Output(TypedDict):
    period: str
    prefix: str
    accounts_prefix: str
    is_first: bool
    manifest: ObjectRef
    account_count: int


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

    ``is_first`` is False where another execution has the period already: EventBridge Scheduler may
    start a workflow twice (facts §6), and the second start must do nothing. A period that failed
    is free again after some hours. Raises InventoryError where the input names no time.
    """
    settings = environment()
    period = _period(event["input"], ZoneInfo(settings.time_zone))
    prefix = f"inventory/period={period}"
    runs = RunsTable(client("dynamodb"), settings.runs_table_name)
    is_first = runs.claim(
        PERIOD,
        period,
        execution=event["execution"],
        now=utc_now(),
        again=event["input"].get("again") is True,
    )
    excluded = set(filter(None, settings.account_exclusions.split(",")))
    # Of this execution alone: a repeated run must not mistake an older result for its own.
    execution_name = event["execution"].rpartition(":")[2]
    accounts_prefix = f"{prefix}/accounts/{execution_name}"
    accounts = [
        {**account, "period": period, "prefix": accounts_prefix}
        for account in (Organization(client("organizations")).accounts() if is_first else [])
        if account["account_id"] not in excluded
    ]
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    logger.info("accounts listed", period=period, account_count=len(accounts), is_first=is_first)
    return {
        "period": period,
        "prefix": prefix,
        "accounts_prefix": accounts_prefix,
        "is_first": is_first,
        "manifest": store.put_json(f"{accounts_prefix}/manifest.json", accounts),
        "account_count": len(accounts),
    }


def _period(start: Start, zone: ZoneInfo) -> str:
    """Return the schedule's month an inventory is of; a person may have written the input."""
    scheduled_at = start.get("scheduled_at")
    try:
        return parse_time(str(scheduled_at)).astimezone(zone).strftime("%Y-%m")
    except (ValueError, OverflowError) as error:
        raise InventoryError(
            f"scheduled_at is {scheduled_at!r}, not a time such as 2026-11-01T06:00:00Z"
        ) from error
