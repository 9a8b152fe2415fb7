"""A month's snapshot of the organization: the sum of its accounts, beside their rows.

The rows of all accounts are one object of gzip NDJSON: each account's own gzip member, one after
the other, as RFC 1952 allows (2.2). Python's gzip, zcat, DuckDB and pandas read all members of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.data_tables import read_table
from pare.errors import InventoryError
from pare.inventory.model import (
    COUNTS,
    DEFINITION_VERSION,
    AccountResultJson,
    PeriodCountsJson,
    SnapshotJson,
)
from pare.inventory.trend import carried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pare.object_ref import ObjectRef

# To price the functions' seconds: more than most of them have (infra/pipeline_stack.py), since
# Read last accessed, with half of it, takes nearly all of the time.
FUNCTION_GB = 1.0

_FAILED = "its step in the map failed; look at the failed item in the Map Run"


def unknown_account(
    account_id: str,
    name: str,
    *,
    error: str = InventoryError.__name__,
    message: str = _FAILED,
    known: dict[str, str] | None = None,
) -> AccountResultJson:
    """Return the result of an account that nobody could read; ``known`` is where it last was."""
    result: AccountResultJson = {
        "account_id": account_id,
        "name": name,
        "alias": None,
        "error": error,
        "message": message,
        "principal_count": 0,
        "rows": None,
        "last_accessed": [],
        "gone": None,
        "root": None,
        "issues": [],
        "counts": dict.fromkeys(COUNTS, 0),
        "unknown": ["account"],
        "calls": 0,
        "throttled": 0,
        "seconds": 0.0,
        "transitions": 0,
    }
    if known:
        result["known"] = known
    return result


def build_snapshot(
    *,
    period: str,
    created_at: str,
    as_of: str,
    results: Iterable[AccountResultJson],
    by_kind: Mapping[str, int],
    rows: ObjectRef,
    previous: SnapshotJson | None,
) -> SnapshotJson:
    """Return the head of a period's snapshot. An account with an error is unknown, never empty.

    ``by_kind`` counts the rows, which lie at ``rows``; ``previous`` is the head of the inventory
    before, where there is one.
    """
    accounts = sorted(results, key=lambda result: result["account_id"])
    read = [account for account in accounts if not account["error"]]
    counts = {name: sum(account["counts"].get(name, 0) for account in read) for name in COUNTS}
    transitions = sum(account["transitions"] for account in accounts)
    seconds = round(sum(account["seconds"] for account in accounts), 3)
    # An inventory of the same month that is made anew is compared with the month before it.
    is_same = previous is not None and previous["period"] == period
    this: PeriodCountsJson = {
        "period": period,
        "definition_version": DEFINITION_VERSION,
        "accounts": len(accounts),
        "unknown_accounts": len(accounts) - len(read),
        "counts": counts,
    }
    return {
        "definition_version": DEFINITION_VERSION,
        "period": period,
        "created_at": created_at,
        "as_of": as_of,
        "previous": previous["previous" if is_same else "period"] if previous else None,
        "comparable": (
            previous is not None
            and previous["definition_version"] == DEFINITION_VERSION
            and (previous["comparable"] or not is_same)
        ),
        "account_count": len(accounts),
        "unknown_account_count": len(accounts) - len(read),
        "counts": counts,
        "by_kind": dict(sorted(by_kind.items())),
        "trend": carried(previous["trend"] if previous else [], this),
        "accounts": accounts,
        "rows": rows,
        "calls": sum(account["calls"] for account in accounts),
        "throttled": sum(account["throttled"] for account in accounts),
        "seconds": seconds,
        "transitions": transitions,
        "estimated_cost_usd": estimated_cost_usd(transitions=transitions, seconds=seconds),
    }


def estimated_cost_usd(*, transitions: int, seconds: float) -> float:
    """Return what the accounts' transitions and functions cost at AWS's list prices."""
    usd = read_table("prices.json", schema_version=1)["usd"]
    cost: float = (
        transitions * usd["step_functions_transition"]
        + seconds * FUNCTION_GB * usd["lambda_gb_second_arm64"]
    )
    return round(cost, 4)
