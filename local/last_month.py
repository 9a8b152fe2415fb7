"""Last month, planted: what its inventory said otherwise than this month's.

In the demo both inventories read the same IAM, a moment apart. What only a month can bring (a
principal that is gone, a planned date that was announced before, a role that was disabled then)
is written into last month's snapshot, as ``local/seed/last_month.yaml`` says.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from local.organization import SEED_FOLDER, SeedError, stable_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from local.organization import Organization
    from pare.inventory.model import Class, PlanJson, PrincipalRowJson, SnapshotJson
    from pare.object_ref import ObjectRef

SCHEMA_VERSION = 1
DAYS = 31  # between the two inventories


@dataclass(frozen=True, slots=True)
class LastMonth:
    """The data file, with the ARNs of the organization in the place of names."""

    not_yet: frozenset[str]
    gone: tuple[Mapping[str, str], ...]  # account_id, arn and the ARN of the row that is its model
    other_ids: Mapping[str, str]
    fewer_policies: Mapping[str, list[str]]
    used_months_back: Mapping[str, list[int]]
    classes: Mapping[str, Class]
    plans: Mapping[str, Mapping[str, int]]
    trend: tuple[Mapping[str, int], ...]


def read_last_month(
    organization: Organization, path: Path = SEED_FOLDER / "last_month.yaml"
) -> LastMonth:
    """Return what the data file says; SeedError names what is wrong in it."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    if table.get("schema_version") != SCHEMA_VERSION:
        raise SeedError(f"{path.name}: schema_version is not {SCHEMA_VERSION}.")

    def by_arn(name: str) -> dict[str, Any]:
        return {organization.principal(each).arn: value for each, value in table[name].items()}

    try:
        return LastMonth(
            not_yet=frozenset(organization.principal(each).arn for each in table["not_yet"]),
            gone=tuple(_gone(each, organization) for each in table["gone"]),
            other_ids=by_arn("other_ids"),
            fewer_policies=by_arn("fewer_policies"),
            used_months_back=by_arn("used_months_back"),
            classes=by_arn("classes"),
            plans=by_arn("plans"),
            trend=tuple(table["trend"]),
        )
    except KeyError as error:
        raise SeedError(f"{path.name}: {error.args[0]!r} is not known.") from error


def _gone(table: Mapping[str, str], organization: Organization) -> dict[str, str]:
    account_id = organization.account(table["account"]).account_id
    return {
        "account_id": account_id,
        "arn": f"arn:aws:iam::{account_id}:role{table['path']}{table['name']}",
        "like": organization.principal(table["like"]).arn,
    }


def plant_last_month(
    s3: Any, snapshot: SnapshotJson, where: ObjectRef, last_month: LastMonth
) -> None:
    """Rewrite a snapshot's rows in the bucket, and its head at ``where``, as they were then."""
    day = date.fromisoformat(snapshot["as_of"][:10])
    members: list[bytes] = []
    for account in snapshot["accounts"]:
        if account["rows"] is None:
            continue
        before = _rows(s3, account["rows"])
        after = list(rows_then(before, account["account_id"], last_month, day))
        body = _packed(after)
        _put(s3, account["rows"], body)
        members.append(body)
        difference = _counted(after)
        difference.subtract(_counted(before))
        for counts in (account["counts"], snapshot["counts"]):
            for name, number in difference.items():
                counts[name] = counts.get(name, 0) + number
        account["principal_count"] = len(after)
    _put(s3, snapshot["rows"], b"".join(members))
    (this,) = snapshot["trend"][-1:]
    this["counts"] = dict(snapshot["counts"])
    earlier = [
        {
            **this,
            "period": _month_back(this["period"], back),
            "counts": {
                name: max(number + differences.get(name, 0), 0)
                for name, number in this["counts"].items()
            },
        }
        for back, differences in enumerate(reversed(last_month.trend), start=1)
    ]
    head = {**snapshot, "trend": [*reversed(earlier), this]}
    _put(s3, where, json.dumps(head, separators=(",", ":"), sort_keys=True).encode())


def rows_then(
    rows: Iterable[PrincipalRowJson], account_id: str, last_month: LastMonth, day: date
) -> Iterable[PrincipalRowJson]:
    """Return an account's rows as they were a month before ``day``, sorted by ARN."""
    found = {row["principal_arn"]: row for row in rows}
    then = [
        _row_then(row, last_month, day)
        for arn, row in found.items()
        if arn not in last_month.not_yet
    ]
    then += [
        {
            **_row_then(found[gone["like"]], last_month, day),
            "principal_arn": gone["arn"],
            "principal_id": stable_id("AROA", gone["arn"]),
            "description": "",
        }
        for gone in last_month.gone
        if gone["account_id"] == account_id and gone["like"] in found
    ]
    return sorted(then, key=lambda row: row["principal_arn"])


def _row_then(row: PrincipalRowJson, last_month: LastMonth, day: date) -> PrincipalRowJson:
    arn = row["principal_arn"]
    then = row.copy()
    then["principal_id"] = last_month.other_ids.get(arn, row["principal_id"])
    fewer = last_month.fewer_policies.get(arn, [])
    then["policies"] = [policy for policy in row["policies"] if policy not in fewer]
    if arn in last_month.classes:
        then["class"] = last_month.classes[arn]
        then["plans"] = []
    else:
        planted = last_month.plans.get(arn, {})
        then["plans"] = [_plan_then(plan, planted, day) for plan in row["plans"]]
    months = last_month.used_months_back.get(arn)
    if months is not None:
        if row["last_use"]["at"] is None:
            raise SeedError(f"last_month.yaml: {arn} has no use to count months back from.")
        newest = row["last_use"]["at"][:7]
        then["used_months"] = sorted(_month_back(newest, back) for back in months)
    return then


def _plan_then(plan: PlanJson, planted: Mapping[str, int], day: date) -> PlanJson:
    """Return a plan with other dates; the days between its dates stay as they are."""
    waits = date.fromisoformat(plan["disable_on"]) - date.fromisoformat(plan["announced_on"])
    announced_on = day - timedelta(days=planted.get("announced", DAYS))
    then = plan.copy()
    then["announced_on"] = f"{announced_on}"
    then["disable_on"] = f"{announced_on + waits}"
    then["times_announced"] = planted.get("times", 1)
    if plan["disabled_on"] and plan["delete_on"]:
        rests = date.fromisoformat(plan["delete_on"]) - date.fromisoformat(plan["disabled_on"])
        disabled_on = day - timedelta(days=planted.get("disabled", DAYS))
        then["disabled_on"] = f"{disabled_on}"
        then["delete_on"] = f"{disabled_on + rests}"
    return then


def _month_back(period: str, months: int) -> str:
    year, month = (int(part) for part in period.split("-"))
    number = year * 12 + month - 1 - months
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _counted(rows: Iterable[PrincipalRowJson]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        found["principals"] += 1
        found[f"status_{row['status'].replace(' ', '_')}"] += 1
        found[f"class_{row['class']}"] += 1
        found["planned"] += len(row["plans"])
    return found


def _rows(s3: Any, ref: ObjectRef) -> list[PrincipalRowJson]:
    body = s3.get_object(Bucket=ref["bucket"], Key=ref["key"])["Body"].read()
    return [json.loads(line) for line in gzip.decompress(body).splitlines()]


def _packed(rows: Iterable[PrincipalRowJson]) -> bytes:
    lines = [json.dumps(row, separators=(",", ":"), sort_keys=True) + "\n" for row in rows]
    return gzip.compress("".join(lines).encode(), mtime=0)


def _put(s3: Any, ref: ObjectRef, body: bytes) -> None:
    s3.put_object(Bucket=ref["bucket"], Key=ref["key"], Body=body)
