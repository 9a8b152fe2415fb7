"""The planted truth: what the inventory must say of each principal of the emulated organization.

``local/seed/truth.yaml`` was written by reading the stories of the seed; ``compare`` names where an
inventory's rows say something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from local.organization import SEED_FOLDER, SeedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from local.organization import Organization
    from pare.inventory.model import AccountResultJson, PrincipalRowJson

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Case:
    """What the inventory must say of one principal."""

    principal: str  # account/Name
    case: str  # its story in a few words
    kind: str
    status: str
    class_: str
    reason: str  # the code of the deciding reason
    also: tuple[str, ...] = ()  # the codes of the others, sorted
    values: Mapping[str, Any] = field(default_factory=dict)  # of the deciding reason, some of them
    issues: tuple[str, ...] = ()  # codes, sorted
    planned: tuple[str, ...] = ()  # what has a date to be disabled or deleted, sorted

    def to_json(self) -> dict[str, Any]:
        """Return what is compared."""
        return {
            "kind": self.kind,
            "status": self.status,
            "class": self.class_,
            "reason": self.reason,
            "values": dict(self.values),
            "also": list(self.also),
            "issues": list(self.issues),
            "planned": list(self.planned),
        }


@dataclass(frozen=True, slots=True)
class Truth:
    """All cases, and the issues of each account's root user by the account's name."""

    cases: tuple[Case, ...]
    roots: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many cases there are, and what is said otherwise: a line each."""

    count: int
    differences: tuple[str, ...]
    different: frozenset[str]  # the principals and root users concerned

    @property
    def right(self) -> int:
        """How many are classified as planted."""
        return self.count - len(self.different)


def read_truth(path: Path = SEED_FOLDER / "truth.yaml") -> Truth:
    """Return the planted truth; SeedError names what is wrong in the file."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    if table.get("schema_version") != SCHEMA_VERSION:
        raise SeedError(f"{path.name}: schema_version is not {SCHEMA_VERSION}.")
    try:
        return Truth(
            cases=tuple(_case(name, entry) for name, entry in table["principals"].items()),
            roots={name: tuple(sorted(codes)) for name, codes in table["roots"].items()},
        )
    except (KeyError, TypeError) as error:
        raise SeedError(f"{path.name}: {error}") from error


def _case(name: str, entry: Mapping[str, Any]) -> Case:
    entry = dict(entry)
    lists: Any = {key: tuple(sorted(entry.pop(key, ()))) for key in ("also", "issues", "planned")}
    return Case(principal=name, class_=entry.pop("class"), **lists, **entry)


def compare(
    truth: Truth,
    organization: Organization,
    rows: Iterable[PrincipalRowJson],
    accounts: Iterable[AccountResultJson],
) -> Comparison:
    """Return where an inventory's rows and accounts say something else than the truth.

    Principals that the organization's data does not have (Pare's own roles) are passed over.
    """
    found = {row["principal_arn"]: row for row in rows}
    differences: dict[str, list[str]] = {}
    for case in truth.cases:
        row = found.get(organization.principal(case.principal).arn)
        said = _said(row, case.values) if row else {}
        lines = [
            f"{case.principal}: {name} is {said.get(name)!r}, planted as {planted!r} ({case.case})"
            for name, planted in case.to_json().items()
            if said.get(name) != planted
        ]
        if lines:
            differences[case.principal] = lines
    results = {account["account_id"]: account for account in accounts}
    for name, planted in truth.roots.items():
        result = results.get(organization.account(name).account_id)
        codes = tuple(sorted(issue["code"] for issue in result["issues"])) if result else None
        if codes != planted:
            differences[f"{name}/root"] = [
                f"{name}: the root user's issues are {codes}, planted as {planted}"
            ]
    return Comparison(
        count=len(truth.cases) + len(truth.roots),
        differences=tuple(line for lines in differences.values() for line in lines),
        different=frozenset(differences),
    )


def _said(row: PrincipalRowJson, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says, in the form of a case; of the values only those that are wanted."""
    deciding, *others = row["reasons"]
    return {
        "kind": row["kind"],
        "status": row["status"],
        "class": row["class"],
        "reason": deciding["code"],
        "values": {name: deciding["values"].get(name) for name in wanted},
        "also": sorted(reason["code"] for reason in others),
        "issues": sorted(issue["code"] for issue in row["issues"]),
        "planned": sorted(plan["what"] for plan in row["plans"]),
    }
