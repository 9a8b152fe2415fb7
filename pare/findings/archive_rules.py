"""Archive rules as code: what the file says against what an analyzer has.

At an analyzer the rule ``partner-logs`` is named ``pare-partner-logs``; only rules named so are
Pare's to change or delete. Filters are Access Analyzer's own:
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-filter-keys.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AnalyzerKind = Literal["external", "unused", "internal"]

PREFIX = "pare-"
# The principal of a public finding, as Access Analyzer writes it.
_ANYBODY = "*"


class CriterionJson(TypedDict, total=False):
    """What a finding's value of a key must be; all that is said holds together."""

    eq: list[str]
    neq: list[str]
    contains: list[str]
    exists: bool


FilterJson: TypeAlias = dict[str, CriterionJson]


class RuleJson(TypedDict):
    """A rule of ``config/archive-rules.yaml``, as the terms carry it."""

    name: str
    filter: FilterJson
    reason: str
    owner: str
    expires: str  # the last day on which it is there
    analyzers: list[AnalyzerKind]
    regions: list[str]  # none: all


@dataclass(frozen=True, slots=True)
class ArchiveRule:
    """A rule as the file has it."""

    name: str
    filter: FilterJson
    reason: str
    owner: str
    expires: date
    analyzers: tuple[AnalyzerKind, ...] = ("external",)
    regions: tuple[str, ...] = ()

    @property
    def name_there(self) -> str:
        """The rule's name at an analyzer."""
        return f"{PREFIX}{self.name}"

    def to_json(self) -> RuleJson:
        """Return the rule as the terms carry it."""
        return {
            "name": self.name,
            "filter": normal(self.filter),
            "reason": self.reason,
            "owner": self.owner,
            "expires": self.expires.isoformat(),
            "analyzers": list(self.analyzers),
            "regions": list(self.regions),
        }

    @classmethod
    def from_json(cls, rule: RuleJson) -> ArchiveRule:
        """Return the rule that ``to_json`` wrote."""
        return cls(
            name=rule["name"],
            filter=rule["filter"],
            reason=rule["reason"],
            owner=rule["owner"],
            expires=date.fromisoformat(rule["expires"]),
            analyzers=tuple(rule["analyzers"]),
            regions=tuple(rule["regions"]),
        )

    def is_for(self, kind: AnalyzerKind, region: str, today: date) -> bool:
        """Return whether an analyzer of the kind and Region should have the rule today."""
        return (
            kind in self.analyzers
            and (not self.regions or region in self.regions)
            and today <= self.expires
        )


@dataclass(frozen=True, slots=True)
class ActualRule:
    """A rule as an analyzer has it."""

    name: str
    filter: FilterJson

    @property
    def is_ours(self) -> bool:
        """Whether it is Pare's to change or delete."""
        return self.name.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do at one analyzer so that it has what the file says."""

    create: tuple[ArchiveRule, ...]
    update: tuple[tuple[ArchiveRule, ActualRule], ...]  # with what is there now
    delete: tuple[ActualRule, ...]
    unchanged: tuple[ArchiveRule, ...]
    foreign: tuple[ActualRule, ...]

    @property
    def ours(self) -> tuple[ArchiveRule, ...]:
        """The rules that the analyzer has when the plan is done."""
        return (*self.create, *(rule for rule, _ in self.update), *self.unchanged)


def plan(
    rules: Iterable[ArchiveRule],
    actual: Sequence[ActualRule],
    *,
    kind: AnalyzerKind,
    region: str,
    today: date,
) -> Plan:
    """Return what is to be done at an analyzer of a kind and Region."""
    wanted = {rule.name_there: rule for rule in rules if rule.is_for(kind, region, today)}
    there = {rule.name: rule for rule in actual}
    foreign = tuple(rule for rule in actual if not rule.is_ours)
    delete = tuple(rule for rule in actual if rule.is_ours and rule.name not in wanted)
    both = [(rule, there[name]) for name, rule in sorted(wanted.items()) if name in there]
    return Plan(
        create=tuple(rule for name, rule in sorted(wanted.items()) if name not in there),
        update=tuple(pair for pair in both if not is_same(pair[0].filter, pair[1].filter)),
        delete=delete,
        unchanged=tuple(rule for rule, at in both if is_same(rule.filter, at.filter)),
        foreign=foreign,
    )


def forgotten(written: dict[str, FilterJson], todo: Plan) -> list[ActualRule]:
    """Return what Pare once wrote, nobody has any more, and the file does not say either.

    Such a rule was deleted or changed by somebody else, and taken out of the file: what it had
    archived by then is archived still. ``written``: filters by name there.
    """
    known = [rule.filter for rule in todo.ours]
    known += [rule.filter for rule in todo.delete]
    known += [there.filter for _, there in todo.update]
    return [
        ActualRule(name, criteria)
        for name, criteria in sorted(written.items())
        if not any(is_same(criteria, each) for each in known)
    ]


def reactivated_key(execution: str, region: str, analyzer: str) -> str:
    """Return where the findings lie that one run of reconcile sets ACTIVE because of rules."""
    run = execution.rpartition(":")[2]
    return f"findings/reconcile/{run}/reactivated/{region}/{analyzer}.ndjson.gz"


class Drift(TypedDict):
    """Rules of ours that somebody else changed or deleted at an analyzer, by name there."""

    changed: list[str]
    deleted: list[str]


def drift(written: dict[str, FilterJson], actual: Iterable[ActualRule]) -> Drift:
    """Return what is other than Pare last wrote it; ``written``: filters by name there."""
    there = {rule.name: rule.filter for rule in actual}
    return {
        "changed": sorted(
            name
            for name, criteria in written.items()
            if name in there and not is_same(criteria, there[name])
        ),
        "deleted": sorted(written.keys() - there.keys()),
    }


def normal(criteria: FilterJson) -> FilterJson:
    """Return a filter as it is compared and written: sorted, without empty lists."""
    result: FilterJson = {}
    for key in sorted(criteria):
        given = criteria[key]
        criterion: CriterionJson = {}
        if given.get("eq"):
            criterion["eq"] = sorted(set(given["eq"]))
        if given.get("neq"):
            criterion["neq"] = sorted(set(given["neq"]))
        if given.get("contains"):
            criterion["contains"] = sorted(set(given["contains"]))
        if given.get("exists") is not None:
            criterion["exists"] = given["exists"]
        result[key] = criterion
    return result


def is_same(one: FilterJson, other: FilterJson) -> bool:
    """Return whether two filters say the same."""
    return normal(one) == normal(other)


def as_text(criteria: FilterJson) -> str:
    """Return a filter as one line."""
    return json.dumps(normal(criteria), ensure_ascii=False)


def could_hide_public(criteria: FilterJson) -> bool:
    """Return whether a filter could match a finding about public access.

    Whatever the filter alone does not rule out is taken for possible. An error finding says nothing
    of public access, so a filter for error findings only does not hide any.
    """
    return (
        _admits(criteria.get("isPublic"), "true")
        and _admits(criteria.get("findingType"), "ExternalAccess")
        and _admits(criteria.get("principal.AWS"), _ANYBODY)
        and _admits(criteria.get("error"), None)
    )


def _admits(criterion: CriterionJson | None, value: str | None) -> bool:
    """Return whether a criterion lets a finding with this value (None: without one) pass."""
    if not criterion:
        return True
    if "exists" in criterion and criterion["exists"] is not (value is not None):
        return False
    if value is None:
        return not criterion.get("eq") and not criterion.get("contains")
    wanted = [each.lower() for each in criterion.get("eq") or ()]
    unwanted = [each.lower() for each in criterion.get("neq") or ()]
    parts = [each.lower() for each in criterion.get("contains") or ()]
    value = value.lower()
    return (
        (not wanted or value in wanted)
        and value not in unwanted
        and (not parts or any(part in value for part in parts))
    )
