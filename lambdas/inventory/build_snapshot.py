"""Build snapshot: one period's inventory of the organization from its accounts'."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.tables import PERIOD, RunsTable
from pare.clock import format_time
from pare.errors import EvidenceError, InventoryError
from pare.inventory.snapshot import AccountResultJson, PrincipalRowJson, build_snapshot

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef


class Input(TypedDict):
    period: str
    prefix: str
    accounts_prefix: str
    manifest: ObjectRef


class Output(TypedDict):
    snapshot: ObjectRef
    counts: dict[str, int]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the snapshot lies, its counts, and the accounts nobody knows about."""
    settings = environment()
    bucket = settings.evidence_bucket_name
    store = EvidenceStore(client("s3"), bucket)
    results: list[AccountResultJson] = []
    rows: list[PrincipalRowJson] = []
    for account in store.get_json(event["manifest"]):
        result = _result(store, bucket, event["accounts_prefix"], account)
        results.append(result)
        if result["rows"]:
            rows += store.get_ndjson_gz(result["rows"])
    snapshot = build_snapshot(
        period=event["period"], created_at=format_time(utc_now()), results=results, rows=rows
    )
    store.put_ndjson_gz(f"{event['prefix']}/principals.ndjson.gz", rows)
    ref = store.put_json(f"{event['prefix']}/snapshot.json", snapshot)
    # From here on a second start of the period does nothing.
    RunsTable(client("dynamodb"), settings.runs_table_name).finish(PERIOD, event["period"])
    unknown = [result["account_id"] for result in snapshot["unknown_accounts"]]
    count("Principals", len(rows))
    count("UnknownAccounts", len(unknown))
    logger.info("snapshot built", period=event["period"], principal_count=len(rows))
    return {
        "snapshot": ref,
        "counts": {
            "account_count": snapshot["account_count"],
            "principal_count": snapshot["principal_count"],
            "unknown_account_count": len(unknown),
        },
        "unknown": unknown,
    }


def _result(
    store: EvidenceStore, bucket: str, prefix: str, account: dict[str, str]
) -> AccountResultJson:
    """Return how an account went; one whose step failed left nothing and is unknown."""
    try:
        result: AccountResultJson = store.get_json(
            {"bucket": bucket, "key": f"{prefix}/{account['account_id']}.json"}
        )
    except EvidenceError:
        return {
            "account_id": account["account_id"],
            "name": account["name"],
            "principal_count": 0,
            "error": InventoryError.__name__,
            "message": "its step in the map failed; look at the failed item in the Map Run",
            "rows": None,
        }
    return result
