"""How grave a finding is: ordered rules, as data; the first that matches decides.

The rules are in ``pare/data/severity_rules.json`` (pare/data/README.md says how they are read).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pare.data_tables import read_table
from pare.findings.model import SEVERITIES, Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1
# Of a finding that no rule knows: it is told at once, and a person judges it.
NO_RULE: tuple[Severity, str] = ("medium", "no rule")
# Access levels of the catalogue that change nothing. What is not known may change something.
_READING = frozenset({"Read", "List"})


@dataclass(frozen=True, slots=True)
class Rule:
    """Which findings it is about, by the values of ``_facts``, and how grave they are."""

    rule_id: str
    when: Mapping[str, tuple[object, ...]]
    severity: Severity


def rank(severity: Severity) -> int:
    """Return the place of a severity, from 0 (low) to 3 (critical)."""
    return SEVERITIES.index(severity)


def gravest(severities: Iterable[Severity]) -> Severity | None:
    """Return the gravest of some severities; None of none."""
    return max(severities, key=rank, default=None)


def severity_of(finding: Finding) -> tuple[Severity, str]:
    """Return how grave an enriched finding is, and the id of the rule that says so."""
    facts = _facts(finding)
    for rule in rules():
        if all(facts[key] in values for key, values in rule.when.items()):
            return rule.severity, rule.rule_id
    return NO_RULE


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules in their order; the file is read once per process."""
    table = read_table("severity_rules.json", schema_version=SCHEMA_VERSION)
    return tuple(
        Rule(
            each["id"],
            {key: tuple(values) for key, values in each["when"].items()},
            each["severity"],
        )
        for each in table["rules"]
    )


def _facts(finding: Finding) -> dict[str, Any]:
    """Return what rules may ask for."""
    exposure = finding.exposure
    if exposure is None:
        exposure = "public" if finding.is_public else "unknown"
    is_reading = bool(finding.access_levels) and _READING.issuperset(finding.access_levels)
    return {
        "access": finding.access,
        "finding_type": finding.finding_type,
        "resource_type": finding.resource_type,
        "error": finding.error is not None,
        "exposure": exposure,
        "grants": "read" if is_reading else "write",
    }
