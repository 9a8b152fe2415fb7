"""Where the paid unused-access analyzer and Pare's own inventory agree, and where they do not.

They do not ask the same: the analyzer has a tracking period of its own, knows no data events, and
reads identity-based policies alone. A disagreement is for a person to look at, with what each says.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from pare.data_tables import read_table
from pare.findings.unused import judge, subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pare.findings.model import Finding
    from pare.findings.unused import Subject
    from pare.inventory.model import PrincipalRowJson, ReasonJson

# Of disagreements, what the report names; the counts have all of them.
MAX_NAMED = 2_000

Answer = Literal["unused", "not unused", "unknown", "not in the inventory"]


class DisagreementJson(TypedDict):
    """A principal of which the two say other things."""

    account_id: str
    principal_arn: str
    finding_type: str
    analyzer: Literal["unused", "not unused"]
    inventory: Answer
    status: str | None  # of the inventory's row
    last_used_at: str | None  # as the inventory knows
    last_used_source: str | None
    reasons: list[ReasonJson]  # of the inventory
    finding_id: str | None  # of the analyzer


class AgreementJson(TypedDict):
    """``agreement.json`` of a period. ``is_on`` False: there is nothing to compare with."""

    period: str
    as_of: str
    is_on: bool
    principals: int  # users and roles that the analyzer would be charged for
    usd_per_principal_month: float
    estimated_usd_month: float
    counts: dict[str, dict[str, int]]  # finding type -> both, analyzer, inventory, unknown
    disagreements: list[DisagreementJson]
    left_out: int  # disagreements beyond MAX_NAMED
    # Findings of an unused-access analyzer in the table though the settings say that there is none;
    # none said by an earlier version.
    found_though_off: NotRequired[int]


@cache
def usd_per_principal_month() -> float:
    """Return what AWS asks for a role or user a month (pare/data/prices.json)."""
    prices = read_table("prices.json", schema_version=1)["usd"]
    price: float = prices["unused_access_principal_month"]
    return price


def charged(by_kind: Mapping[str, int]) -> int:
    """Return how many principals the analyzer would look at: all but service-linked roles.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-create-unused.html
    """
    return sum(count for kind, count in by_kind.items() if kind != "service-linked role")


def compare(
    rows: Iterable[PrincipalRowJson],
    of_analyzer: Iterable[Finding],
    *,
    is_on: bool,
    by_kind: Mapping[str, int],
    period: str,
    as_of: str,
    region: str,
) -> AgreementJson:
    """Return the agreement of a period's rows with the analyzer's findings that are open.

    ``by_kind`` counts the principals (of the snapshot). The rows are looked at only where the
    analyzer is on. Keys are compared by their ids.
    """
    told: dict[Subject, Finding] = {subject_of(each): each for each in of_analyzer}
    found_though_off = 0 if is_on else len(told)
    counts: Counter[tuple[str, str]] = Counter()
    named: list[DisagreementJson] = []
    left_out = 0

    def disagree(row: PrincipalRowJson | None, finding_type: str, finding: Finding | None,
                 inventory: Answer) -> None:  # fmt: skip
        nonlocal left_out
        if len(named) >= MAX_NAMED:
            left_out += 1
            return
        named.append(_disagreement(row, finding_type, finding, inventory))

    for row in rows if is_on else ():
        judged = judge(row, as_of=as_of, region=region)
        for finding in judged.found:
            if told.pop(subject_of(finding), None) is not None:
                counts[finding.finding_type, "both"] += 1
            else:
                counts[finding.finding_type, "inventory"] += 1
                disagree(row, finding.finding_type, None, "unused")
        left = [key for key in _keys_of(row, told) if key in told]
        for key in left:
            finding = told.pop(key)
            is_unknown = finding.finding_type in judged.unknown
            counts[finding.finding_type, "unknown" if is_unknown else "analyzer"] += 1
            disagree(row, finding.finding_type, finding, "unknown" if is_unknown else "not unused")
    for _, finding in sorted(told.items()) if is_on else ():
        counts[finding.finding_type, "unknown"] += 1
        disagree(None, finding.finding_type, finding, "not in the inventory")
    price = usd_per_principal_month()
    principals = charged(by_kind)
    return {
        "period": period,
        "as_of": as_of,
        "is_on": is_on,
        "principals": principals,
        "usd_per_principal_month": price,
        "estimated_usd_month": round(principals * price, 2),
        "counts": {
            kind: {
                what: counts[kind, what] for what in ("both", "analyzer", "inventory", "unknown")
            }
            for kind in sorted({kind for kind, _ in counts})
        },
        "disagreements": named,
        "left_out": left_out,
        "found_though_off": found_though_off,
    }


def _keys_of(row: PrincipalRowJson, told: dict[Subject, Finding]) -> list[Subject]:
    """Return the keys that findings about the principal may have."""
    arn = row["principal_arn"]
    keys = [(arn, kind, "") for kind in ("UnusedIAMRole", "UnusedIAMUserAccessKey",
                                         "UnusedIAMUserPassword", "UnusedPermission")]  # fmt: skip
    for key in (row["credentials"] or {"access_keys": []})["access_keys"]:
        keys.append((arn, "UnusedIAMUserAccessKey", key["access_key_id"] or ""))
    return [each for each in dict.fromkeys(keys) if each in told]


def _disagreement(
    row: PrincipalRowJson | None, finding_type: str, finding: Finding | None, inventory: Answer
) -> DisagreementJson:
    arn = row["principal_arn"] if row else finding.resource if finding else ""
    return {
        "account_id": arn.split(":")[4],
        "principal_arn": arn,
        "finding_type": finding_type,
        "analyzer": "unused" if finding else "not unused",
        "inventory": inventory,
        "status": row["status"] if row else None,
        "last_used_at": row["last_use"]["at"] if row else None,
        "last_used_source": row["last_use"]["source"] if row else None,
        "reasons": row["reasons"] if row else [],
        "finding_id": finding.finding_id if finding else None,
    }
