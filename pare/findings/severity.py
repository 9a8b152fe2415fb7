"""How grave a finding is: ordered rules, as data; the first that matches decides.

The rules are in ``pare/data/severity_rules.json`` (pare/data/README.md says how they are read).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any

from pare.data_tables import read_table
from pare.findings.fields import alternatives, is_account_id
from pare.findings.model import SEVERITIES, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1
# Of a finding that no rule knows: it is told at once, and a person judges it.
NO_RULE: tuple[Severity, str] = ("medium", "no rule")
# Condition keys that say for whom a service of AWS acts.
_SOURCE_KEYS = frozenset(
    {"aws:sourceaccount", "aws:sourceowner", "aws:sourcearn", "aws:sourceorgid",
     "aws:sourceorgpaths"}
)  # fmt: skip
# Access levels of the catalogue that change nothing. What is not known may change something.
_READING = frozenset({"Read", "List"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Which findings it is about, by the values of ``_facts``, and how grave they are."""

    rule_id: str
    when: Mapping[str, tuple[object, ...]]
    severity: Severity


@dataclass(frozen=True, slots=True)
class Table:
    """The rules in their order, and the patterns of actions that only read about a resource."""

    rules: tuple[Rule, ...]
    metadata: tuple[str, ...]


def rank(severity: Severity) -> int:
    """Return the place of a severity, from 0 (low) to 3 (critical)."""
    return SEVERITIES.index(severity)


def gravest(severities: Iterable[Severity]) -> Severity | None:
    """Return the gravest of some severities; None of none."""
    return max(severities, key=rank, default=None)


def severity_of(finding: Finding) -> tuple[Severity, str]:
    """Return how grave an enriched finding is, and the id of the rule that says so."""
    facts = facts_of(finding)
    for rule in rules():
        if all(facts[key] in values for key, values in rule.when.items()):
            return rule.severity, rule.rule_id
    return NO_RULE


def rules() -> tuple[Rule, ...]:
    """Return the rules in their order."""
    return _table().rules


@cache
def _table() -> Table:
    """Return the table; the file is read once per process."""
    table = read_table("severity_rules.json", schema_version=SCHEMA_VERSION)
    groups = table["resource_types"]
    return Table(
        tuple(
            Rule(
                each["id"],
                {
                    key: tuple(groups[values] if isinstance(values, str) else values)
                    for key, values in each["when"].items()
                },
                each["severity"],
            )
            for each in table["rules"]
        ),
        tuple(pattern.lower() for pattern in table["metadata_actions"]),
    )


def facts_of(finding: Finding) -> dict[str, Any]:
    """Return what rules may ask for."""
    exposure = finding.exposure
    if exposure is None:
        exposure = "public" if finding.is_public else "unknown"
    return {
        "access": finding.access,
        "finding_type": finding.finding_type,
        "resource_type": finding.resource_type,
        "error": finding.error is not None,
        "exposure": exposure,
        "grants": _grants(finding),
        "is_bound": _is_bound(finding),
    }


def _grants(finding: Finding) -> str:
    """Return ``write``, ``read`` or ``metadata``; what is not known may be the graver one."""
    if not finding.access_levels or not _READING.issuperset(finding.access_levels):
        return "write"
    patterns = _table().metadata
    is_about = bool(finding.actions) and all(
        any(fnmatchcase(action.lower(), pattern) for pattern in patterns)
        for action in finding.actions
    )
    return "metadata" if is_about else "read"


def _is_bound(finding: Finding) -> bool:
    """Return whether conditions say for whom a service may act, and mean somebody certain.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    return any(
        all(_means_somebody(each) for each in alternatives(value))
        for key, value in finding.condition
        if key.lower() in _SOURCE_KEYS
    )


def _means_somebody(value: str) -> bool:
    """Return whether the account or organization in a value is whole; ARNs of S3 have none."""
    parts = value.split(":", 5)
    if len(parts) == 6 and parts[0] == "arn" and is_account_id(parts[4]):
        return True
    certain = value.partition("/")[0] if value.startswith("o-") else value  # aws:SourceOrgPaths
    return bool(certain) and not set(certain) & set("*?$")
