"""From observed calls to statements: scoped to resources, folded, grouped and named.

An action is granted on the ARNs it was observed on. What the records do not tell is widened, within
what is granted today where that is known, and every widening is named with its reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypedDict

from pare.message import listed
from pare.policy.catalogue import load_catalogue
from pare.policy.covering import VARIABLE, pattern_covers
from pare.policy.document import Statement
from pare.policy.folding import EXAMPLE_COUNT, Fold, fold_arns
from pare.policy.observed import PASS_ROLE, PLACEHOLDER, Observed
from pare.policy.patterns import covers, has_wildcard, literal_prefix, overlaps
from pare.policy.resource_types import PLACEHOLDER as FORMAT_PLACEHOLDER
from pare.policy.resource_types import load_resource_types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pare.policy.access import Access
    from pare.policy.document import JsonObject
    from pare.policy.folding import FoldJson

Basis = Literal["observed", "kept: not observable", "kept: last accessed", "kept: deny"]
BASES: tuple[Basis, ...] = (
    "observed", "kept: last accessed", "kept: not observable", "kept: deny",
)  # fmt: skip
_SIDS: Mapping[Basis, str] = {
    "observed": "Observed",
    "kept: not observable": "KeptNotObservable",
    "kept: last accessed": "KeptLastAccessed",
    "kept: deny": "KeptDeny",
}
PASSED_TO_SERVICE = "iam:PassedToService"

# Types of which a call needs one, though each alone may be left out: commands are sent to whatever
# has a tag, and the records do not tell what.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html
ONE_OF_TYPES: Mapping[str, frozenset[str]] = {
    "ssm:SendCommand": frozenset({"instance", "managed-instance"}),
}

# Rows shown with a statement; how many more there are is said.
MAX_USES_SHOWN = 20


class UseJson(TypedDict):
    """One row of evidence. ``resource`` is null where the records do not tell it."""

    action: str
    resource: str | None
    count: int
    first: str
    last: str
    file: str


class WideningJson(TypedDict):
    """What is granted more widely than it was observed, and why."""

    action: str
    resource: str
    why: str


class StatementEvidenceJson(TypedDict):
    """What one statement rests on, by its Sid. ``last_accessed_at``: action or service -> time."""

    sid: str
    basis: Basis
    actions: list[str]
    call_count: int
    first: str
    last: str
    uses: list[UseJson]
    more_uses: int
    widened: list[WideningJson]
    folded: list[FoldJson]
    last_accessed_at: dict[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """How resources are scoped. ``fold_after``: ARNs of one type kept by name; None: all."""

    fold_after: int | None = 20


@dataclass(slots=True)
class Basic:
    """A statement in the making: a statement without Sid, and what it rests on."""

    basis: Basis
    statement: Statement
    observed: list[Observed] = field(default_factory=list)
    widened: list[WideningJson] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)


@dataclass(slots=True)
class _Part:
    """What one action is granted under one set of conditions."""

    frame: Statement  # conditions and NotResource
    resources: set[str] = field(default_factory=set)
    observed: list[Observed] = field(default_factory=list)
    widened: list[WideningJson] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)


def use_json(row: Observed) -> UseJson:
    """Return a row of evidence as it is stored."""
    return {
        "action": row.action,
        "resource": row.resource,
        "count": row.count,
        "first": row.first,
        "last": row.last,
        "file": row.file,
    }


def observed_statements(
    rows: Iterable[Observed],
    *,
    account_id: str,
    partition: str,
    today: Access | None,
    refused: Iterable[Observed],
    rules: Rules,
) -> list[Basic]:
    """Return the statements that grant the observed calls, not named yet.

    ``refused`` are calls that were never allowed: no folded pattern may grant them. With ``today``,
    nothing reaches beyond what is granted today.
    """
    by_action: dict[str, list[Observed]] = {}
    for row in rows:
        by_action.setdefault(row.action, []).append(row)
    avoid: dict[str, list[str]] = {}
    for row in refused:
        if row.resource is not None:
            avoid.setdefault(row.action, []).append(row.resource)
    scope = _Scope(account_id, partition, today)
    parts: list[tuple[str, _Part]] = []
    for action in sorted(by_action):
        for part in scope.parts(action, by_action[action]):
            _fold(action, part, rules, avoid.get(action, ()), today)
            parts.append((action, part))
    return _grouped(parts)


def as_pattern(resource: str) -> str:
    """Return what a policy may name for an observed resource: an ARN, or a pattern with six parts.

    Placeholders of Access Analyzer's templates become ``*``; so do the parts that the sketch of
    many ARNs has lost (``arn:aws:s3:*``).
    """
    if resource == "*":
        return resource
    pattern = PLACEHOLDER.sub("*", resource)
    missing = 5 - pattern.count(":")
    return pattern + ":*" * missing


def _why_widened(row: Observed, pattern: str) -> str:
    if row.source == "access-analyzer":
        return "Access Analyzer does not name it" if pattern != row.resource else ""
    if row.is_folded and pattern.endswith("*"):
        return "so many ARNs were used that the records keep only where they lay"
    return ""


def type_patterns(
    action: str,
    *,
    account_id: str,
    partition: str,
    regions: Iterable[str] = (),
    only_required: bool = False,
) -> dict[str, tuple[str, ...]]:
    """Return resource type -> the widest ARNs an action takes of it, in this account.

    Empty where the action takes no resource. The Region is filled in where there is only one.
    """
    resource_types = load_resource_types()
    prefix = action.partition(":")[0]
    regions = set(regions)
    values = {
        "Partition": partition,
        "Account": account_id,
        "Region": next(iter(regions)) if len(regions) == 1 else "*",
    }
    formats = resource_types.arn_formats(prefix)
    return {
        use.name: tuple(
            sorted(
                FORMAT_PLACEHOLDER.sub(lambda match: values.get(match[1], "*"), arn_format)
                for arn_format in formats.get(use.name, ())
            )
        )
        for use in resource_types.types_of(action)
        if use.required or not only_required
    }


def may_take_resource(action: str) -> bool:
    """Return whether a policy may name a resource for an action; what is not known may."""
    return not load_catalogue().exists(action) or bool(load_resource_types().types_of(action))


@dataclass(frozen=True, slots=True)
class _Scope:
    account_id: str
    partition: str
    today: Access | None

    def parts(self, action: str, rows: list[Observed]) -> list[_Part]:
        """Return what to grant of an action, by the conditions it is granted under."""
        parts: dict[str, _Part] = {}
        for row in rows:
            if row.resource is None:
                self._add_unknown(parts, row)
            else:
                pattern = as_pattern(row.resource)
                self._add(parts, row, pattern, _why_widened(row, pattern))
        if all(row.resource is not None and row.source == "activity" for row in rows):
            self._add_missing_types(parts, action, rows)
        return list(parts.values())

    def _add(self, parts: dict[str, _Part], row: Observed | None, pattern: str, why: str,
             action: str = "") -> None:  # fmt: skip
        action = row.action if row else action
        frames = [Statement("Allow", resources=(pattern,))]
        if self.today is not None:
            frames = self.today.within(action, pattern)
            if row is not None and row.source == "access-analyzer" and pattern == "*" and (
                may_take_resource(action)
            ):  # fmt: skip
                frames = self.today.everywhere(action)
            elif row is not None and not frames:
                # Granted, as was found before; better too wide than cut.
                frames = self.today.everywhere(action)
                why = "granted today on other resources than the evidence names: as granted today"
        for frame in frames:
            self._add_frame(parts, row, frame, why, action)

    def _add_unknown(self, parts: dict[str, _Part], row: Observed) -> None:
        """Grant an action on resources that the records do not tell."""
        why = "the records do not tell which"
        if self.today is not None:
            for frame in self.today.everywhere(row.action):
                self._add_frame(parts, row, frame, f"{why}: as granted today", row.action)
            return
        found = type_patterns(
            row.action, account_id=self.account_id, partition=self.partition, regions=row.regions
        )
        patterns = sorted({each for some in found.values() for each in some} or {"*"})
        self._add_frame(parts, row, Statement("Allow", resources=(*patterns,)), why, row.action)

    def _add_missing_types(
        self, parts: dict[str, _Part], action: str, rows: list[Observed]
    ) -> None:
        """Grant an action on the types of resource it requires and no record names."""
        resource_types = load_resource_types()
        prefix = action.partition(":")[0]
        required = {use.name for use in resource_types.types_of(action) if use.required}
        one_of = ONE_OF_TYPES.get(action, frozenset())
        if len(required | one_of) < 2:
            return
        shown = {
            name
            for row in rows
            if row.resource is not None
            for name in resource_types.types_matching(row.resource, prefix)
        }
        patterns = type_patterns(
            action,
            account_id=self.account_id,
            partition=self.partition,
            regions={region for row in rows for region in row.regions},
            only_required=not one_of,
        )
        if one_of.isdisjoint(shown):
            required |= one_of
        for name in sorted(required - shown):
            for pattern in patterns[name]:
                why = f"the action requires a resource of type {name}, and no record names one"
                self._add(parts, None, pattern, why, action)

    def _add_frame(
        self, parts: dict[str, _Part], row: Observed | None, frame: Statement, why: str,
        action: str,
    ) -> None:  # fmt: skip
        conditions = with_passed_to_service(frame.conditions, row.passed_to_service if row else "")
        key = _frame_key(conditions, frame.not_resources)
        part = parts.get(key)
        if part is None:
            part = parts[key] = _Part(
                Statement("Allow", not_resources=frame.not_resources, conditions=conditions)
            )
        part.resources.update(frame.resources or ())
        if row is not None and (not part.observed or part.observed[-1] is not row):
            part.observed.append(row)  # once, though it may lie in several frames
        if why:
            what = listed(sorted(frame.resources or ()), 3) or "NotResource"
            part.widened.append({"action": action, "resource": what, "why": why})


def with_passed_to_service(conditions: JsonObject, service: str) -> JsonObject:
    """Return conditions that also demand the service a role is passed to, if it is known."""
    if not service or any(
        key.lower() == PASSED_TO_SERVICE.lower()
        for tests in conditions.values()
        if isinstance(tests, dict)
        for key in tests
    ):
        return conditions  # today's own condition on it stays as it is
    equals = conditions.get("StringEquals")
    others = equals if isinstance(equals, dict) else {}
    return {**conditions, "StringEquals": {**others, PASSED_TO_SERVICE: [service]}}


def _frame_key(conditions: JsonObject, not_resources: tuple[str, ...] | None) -> str:
    if not conditions and not not_resources:
        return ""  # as nearly always
    return json.dumps([conditions, sorted(not_resources or ())], sort_keys=True)


def _fold(
    action: str, part: _Part, rules: Rules, avoid: Collection[str], today: Access | None
) -> None:
    """Fold a part's resources by the rule of ``fold_arns``, within what is granted today."""
    if "*" in part.resources:
        part.resources = {"*"}
        return
    if rules.fold_after is None or len(part.resources) <= rules.fold_after:
        part.resources = _without_covered(part.resources)
        return
    with_variables = {each for each in part.resources if VARIABLE in each}
    folded = fold_arns(part.resources - with_variables, more_than=rules.fold_after, avoid=avoid)
    patterns = with_variables.union(folded.patterns)
    for fold in folded.folds:
        folds, names = [fold], set[str]()
        if today is not None:
            folds, names = _fold_within(today, action, part, fold, avoid)
        patterns.discard(fold.pattern)
        patterns |= names.union(each.pattern for each in folds)
        part.folds += folds
    part.resources = _without_covered(patterns)


def _fold_within(
    today: Access, action: str, part: _Part, fold: Fold, avoid: Collection[str]
) -> tuple[list[Fold], set[str]]:
    """Return a fold as far as it is granted today: the fold itself, or today's patterns in its
    place, and what of its resources must go by name.
    """
    passed = part.observed[0].passed_to_service if part.observed else ""
    conditions = _frame_key(part.frame.conditions, None)
    granted = {
        resource
        for frame in today.within(action, fold.pattern)
        if not frame.conditions
        or _frame_key(with_passed_to_service(frame.conditions, passed), None) == conditions
        for resource in frame.resources or ()
    }
    if fold.pattern in granted:
        return [fold], set()
    folds: list[Fold] = []
    names = {each for each in part.resources if each.startswith(fold.pattern[:-1])}
    for pattern in sorted(granted):
        # Today's pattern may reach beyond the fold, which matches nothing that was refused.
        if any(overlaps(pattern, each) for each in avoid):
            continue
        matched = sorted(each for each in names if covers(pattern, each))
        if len(matched) > 1:
            folds.append(Fold(pattern, len(matched), tuple(matched[:EXAMPLE_COUNT])))
            names.difference_update(matched)
    return folds, names


def _without_covered(patterns: set[str]) -> set[str]:
    """Return the patterns without those that another one covers."""
    wild = [(pattern, literal_prefix(pattern)) for pattern in patterns if has_wildcard(pattern)]
    kept = set(patterns)
    for pattern in sorted(patterns):
        if any(
            other != pattern
            and other in kept
            and pattern.startswith(prefix)
            and pattern_covers(other, pattern)
            for other, prefix in wild
        ):
            kept.discard(pattern)
    return kept


def _grouped(parts: Iterable[tuple[str, _Part]]) -> list[Basic]:
    """Return one statement for each set of resources and conditions, actions together."""
    found: dict[tuple[str, frozenset[str], bool], list[tuple[str, _Part]]] = {}
    for action, part in parts:
        key = (
            _frame_key(part.frame.conditions, part.frame.not_resources),
            frozenset(part.resources),
            action == PASS_ROLE,
        )
        found.setdefault(key, []).append((action, part))
    basics = []
    for (_, resources, _), members in found.items():
        first = members[0][1]
        basics.append(
            Basic(
                "observed",
                replace(
                    first.frame,
                    actions=tuple(action for action, _ in members),
                    resources=tuple(sorted(resources)) if resources else None,
                ),
                observed=[row for _, part in members for row in part.observed],
                widened=_unique(each for _, part in members for each in part.widened),
                folds=sorted(
                    {fold.pattern: fold for _, part in members for fold in part.folds}.values(),
                    key=lambda fold: fold.pattern,
                ),
            )
        )
    return basics


def _unique(widened: Iterable[WideningJson]) -> list[WideningJson]:
    found = {(each["action"], each["resource"], each["why"]): each for each in widened}
    return [found[key] for key in sorted(found)]


def named(
    basics: Iterable[Basic], last_accessed_at: Mapping[str, str]
) -> tuple[list[Statement], list[StatementEvidenceJson]]:
    """Return the statements with their Sids, in their order, and the evidence under the same Sids.

    ``last_accessed_at``: lower-case service or action -> time.
    """
    numbers: dict[str, int] = {}
    statements: list[Statement] = []
    evidence: list[StatementEvidenceJson] = []
    for basic in sorted(basics, key=_order):
        stem = _stem(basic)
        number = numbers[stem] = numbers.get(stem, 0) + 1
        sid = f"{stem}{number}"
        statements.append(replace(basic.statement, sid=sid))
        evidence.append(_evidence(sid, basic, last_accessed_at))
    return statements, evidence


def _order(basic: Basic) -> tuple[int, str, tuple[str, ...], tuple[str, ...], str]:
    statement = basic.statement
    return (
        BASES.index(basic.basis),
        _stem(basic),
        tuple(sorted(statement.actions or statement.not_actions or ())),
        tuple(sorted(statement.resources or statement.not_resources or ())),
        json.dumps(statement.conditions, sort_keys=True),
    )


def _stem(basic: Basic) -> str:
    """Return what a Sid begins with: ``S3Observed``, ``PassRole``, ``KeptDeny``."""
    if basic.basis != "observed":
        return _SIDS[basic.basis]
    actions = basic.statement.actions or ()
    if actions == (PASS_ROLE,):
        return "PassRole"
    prefixes = {action.partition(":")[0] for action in actions}
    service = "".join(
        word.capitalize() for word in next(iter(prefixes)).split("-")
    ) if len(prefixes) == 1 else ""  # fmt: skip
    return f"{service}{_SIDS['observed']}"


def _evidence(sid: str, basic: Basic, last_accessed_at: Mapping[str, str]) -> StatementEvidenceJson:
    actions = sorted(basic.statement.actions or ())
    rows = sorted(
        basic.observed, key=lambda row: (row.action, row.resource is None, row.resource or "")
    )
    services = {action.partition(":")[0] for action in actions}
    names: Mapping[Basis, set[str]] = {
        "kept: last accessed": {*actions},  # the service may have been used in other ways since
        "kept: deny": set(),
    }
    firsts = [row.first for row in rows if row.first]
    return {
        "sid": sid,
        "basis": basic.basis,
        "actions": actions,
        "call_count": sum(row.count for row in rows),
        "first": min(firsts, default=""),
        "last": max((row.last for row in rows), default=""),
        "uses": [use_json(row) for row in rows[:MAX_USES_SHOWN]],
        "more_uses": max(0, len(rows) - MAX_USES_SHOWN),
        "widened": basic.widened,
        "folded": [fold.to_json_object() for fold in basic.folds],
        "last_accessed_at": {
            name: last_accessed_at[name.lower()]
            for name in sorted(names.get(basic.basis, {*actions, *services}))
            if name.lower() in last_accessed_at
        },
    }
