"""A snapshot as a folder, as ``aws s3 cp --recursive`` brings it: for the tests of the commands."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

from pare.inventory.model import COUNTS, DEFINITION_VERSION
from tests.unit.inventory import row_builders as build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

BUCKET = "evidence"
OTHER_ACCOUNT = "444455556666"
UNKNOWN_ACCOUNT = "777788889999"


def packed(lines: Iterable[Any]) -> bytes:
    """Return gzip NDJSON."""
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines), mtime=0)


def ref(below: str, period: str = build.PERIOD) -> dict[str, str]:
    """Return where an object of a period lies in the bucket."""
    return {"bucket": BUCKET, "key": f"inventory/period={period}/{below}"}


def head(accounts: list[Any], **changes: Any) -> dict[str, Any]:
    """Return the head of a snapshot with these accounts."""
    unknown = sum(bool(each["error"]) for each in accounts)
    return {
        "definition_version": DEFINITION_VERSION,
        "period": build.PERIOD,
        "created_at": "2026-11-01T07:00:00Z",
        "as_of": "2026-11-01T06:00:00Z",
        "previous": "2026-10",
        "comparable": True,
        "account_count": len(accounts),
        "unknown_account_count": unknown,
        "counts": dict.fromkeys(COUNTS, 0),
        "by_kind": {},
        "trend": [],
        "accounts": accounts,
        "rows": ref("principals.ndjson.gz"),
        "calls": 0,
        "throttled": 0,
        "seconds": 0.0,
        "transitions": 0,
        "estimated_cost_usd": 0.0,
        **changes,
    }


def account(account_id: str = build.ACCOUNT, **changes: Any) -> dict[str, Any]:
    """Return how an account ended, with last accessed information in one part."""
    work = f"work=run/account={account_id}"
    defaults = {
        "rows": ref(f"{work}/rows.ndjson.gz"),
        "last_accessed": [ref(f"{work}/last_accessed/part-1-0-9.ndjson.gz")],
    }
    return dict(build.account_result(account_id, **{**defaults, **changes}))


def unknown_account(**changes: Any) -> dict[str, Any]:
    """Return an account that could not be read, and was last month."""
    known = {"period": "2026-10", **ref("work=old/account=777788889999/rows.ndjson.gz", "2026-10")}
    return account(
        UNKNOWN_ACCOUNT,
        **{
            "name": "legacy",
            "error": "MemberAccountError",
            "message": "sts:AssumeRole in account 777788889999: AccessDenied",
            "rows": None,
            "last_accessed": [],
            "root": None,
            "known": known,
            **changes,
        },
    )


def write(folder: Path, files: Mapping[str, bytes | dict[str, Any]]) -> None:
    """Write files, JSON or bytes, below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def objects(period_head: dict[str, Any], rows: list[Any], infos: list[Any]) -> dict[str, Any]:
    """Return the objects of a period by their names below it; rows and infos by account."""
    found: dict[str, Any] = {
        "snapshot.json": period_head,
        "principals.ndjson.gz": b"".join(packed([row]) for row in rows),
    }
    for each in period_head["accounts"]:
        own = each["account_id"]
        if each["rows"]:
            mine = [row for row in rows if row["account_id"] == own]
            found[_below(each["rows"])] = packed(mine)
        for number, place in enumerate(each["last_accessed"]):
            mine = [info for info in infos if f"::{own}:" in info["principal_arn"]]
            found[_below(place)] = packed(mine if number == 0 else [])
    return found


def _below(place: dict[str, str]) -> str:
    return place["key"].split("/", 2)[2]
