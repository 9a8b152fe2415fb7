"""Whether policies grant nothing that other policies did not grant before.

Every Allow statement of the new policies is taken apart into actions and resource patterns, and
for each it is shown that an old Allow statement granted it, under the same conditions or fewer,
and that no old Deny statement refused it which the new policies leave out. What is neither shown
nor refuted is *undecided*: policy variables, NotResource beside wildcards, several patterns that
together may cover one. Wildcards in actions mean the actions of the catalogue.

A permissions boundary and an organization's policies stay what they are, so they cannot turn what
was granted before into new access; the boundary is only named where it holds an addition back.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from pare.policy.catalogue import load_catalogue
from pare.policy.covering import VARIABLE, PatternSet
from pare.policy.document import in_current_version
from pare.policy.grants import action_index, granted_bits
from pare.policy.patterns import covers, has_wildcard, matches_arn, overlaps, wildcard_regex
from pare.policy.resource_types import PLACEHOLDER, load_resource_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pare.policy.catalogue import Catalogue
    from pare.policy.document import PolicyDocument, Statement

Result = Literal["proved", "additions", "undecided"]


class AccessJson(TypedDict):
    """An action on a resource pattern that was not shown to be granted before.

    ``action`` is a name, or a pattern where all of the pattern's actions share the answer. ``sid``
    names the new statement, by its place where it has no Sid.
    """

    sid: str
    action: str
    resource: str
    why: str


class NoNewAccessJson(TypedDict):
    """The answer: ``additions`` if there is one, else ``undecided`` if anything is, else proved."""

    result: Result
    additions: list[AccessJson]
    undecided: list[AccessJson]


def compare(
    old: Sequence[PolicyDocument],
    new: Sequence[PolicyDocument],
    boundary: PolicyDocument | None = None,
    *,
    catalogue: Catalogue | None = None,
) -> NoNewAccessJson:
    """Return whether everything that ``new`` grants was granted by ``old``, and what was not."""
    return _Comparison(old, new, boundary, catalogue or load_catalogue()).result()


# The answers to one question: shown, refuted, or neither, with the reason.
_Kind = Literal["granted", "addition", "undecided"]
_Answer = tuple[_Kind, str]
_GRANTED: _Answer = ("granted", "")


class _Group(NamedTuple):
    """Actions that the same statements speak of: catalogue actions as bits, or one pattern."""

    bits: int
    pattern: str  # what the catalogue does not know, as written; else ""
    allows: tuple[Statement, ...]  # old
    denies: tuple[Statement, ...]  # old
    kept_denies: tuple[Statement, ...]  # new


class _Comparison:
    """One comparison: the statements of both sides, and what was found."""

    def __init__(
        self,
        old: Sequence[PolicyDocument],
        new: Sequence[PolicyDocument],
        boundary: PolicyDocument | None,
        catalogue: Catalogue,
    ) -> None:
        self._index = action_index(catalogue)
        self._catalogue = catalogue
        self._old = list(_statements(old))
        self._new = list(_statements(new))
        self._boundary = (
            None if boundary is None
            else granted_bits([[in_current_version(boundary)]], self._index).actions
        )  # fmt: skip
        allows = [each for _, each in self._old if each.effect == "Allow"]
        denies = [each for _, each in self._old if each.effect == "Deny"]
        kept = [each for _, each in self._new if each.effect == "Deny"]
        self._sides = (allows, denies, kept)
        self._found: dict[str, set[tuple[str, str, str, str]]] = {
            "addition": set(),
            "undecided": set(),
        }

    def result(self) -> NoNewAccessJson:
        """Return the answer, sorted."""
        for sid, statement in self._new:
            if statement.effect == "Allow":
                self._judge(sid, statement)
        additions, undecided = (
            [
                AccessJson(sid=sid, action=action, resource=resource, why=why)
                for sid, action, resource, why in sorted(self._found[kind])
            ]
            for kind in ("addition", "undecided")
        )
        return {
            "result": "additions" if additions else "undecided" if undecided else "proved",
            "additions": additions,
            "undecided": undecided,
        }

    def _judge(self, sid: str, statement: Statement) -> None:
        whole = self._index.of_statement(statement)
        groups = [*self._groups(whole), *self._unlisted_groups(statement)]
        for resource, excepted in _resources(statement):
            # Actions with the same answer, to be told together.
            told: dict[_Answer, int] = {}
            for group in groups:
                answers = self._answers(group, resource, excepted, statement)
                for bits, (kind, why) in answers:
                    if kind == "granted":
                        continue
                    if group.pattern:
                        self._tell(kind, sid, group.pattern, resource, excepted, why)
                    else:
                        told[kind, why] = told.get((kind, why), 0) | bits
            for (kind, why), bits in told.items():
                for action in self._folded(bits, statement):
                    self._tell(kind, sid, action, resource, excepted, why)

    def _tell(
        self, kind: str, sid: str, action: str, resource: str, excepted: tuple[str, ...], why: str
    ) -> None:
        if excepted:
            resource = f"everything but {_listed(excepted)}"
        self._found[kind].add((sid, action, resource, why))

    # --- Which statements speak of which actions ---

    def _groups(self, whole: int) -> Iterator[_Group]:
        """Yield the actions of ``whole``, those together that the same statements speak of."""
        for bits, (allows, denies, kept) in self._index.partition(whole, self._sides):
            yield _Group(bits, "", allows, denies, kept)

    def _unlisted_groups(self, statement: Statement) -> Iterator[_Group]:
        """Yield the action patterns that match nothing in the catalogue, each by its text."""
        allows, denies, kept = self._sides
        for pattern in sorted(set(statement.actions or ())):
            if not self._index.of_pattern(pattern):
                yield _Group(
                    0,
                    pattern,
                    tuple(each for each in allows if _covers_action(each, pattern)),
                    tuple(each for each in denies if _may_meet_action(each, pattern)),
                    tuple(each for each in kept if _covers_action(each, pattern)),
                )

    def _folded(self, bits: int, statement: Statement) -> list[str]:
        """Return actions, by the statement's patterns and whole services where these say as much.

        A holder of ``*`` has 22,000 actions in 456 services.
        """
        if statement.not_actions is None:
            patterns = sorted({
                pattern
                for pattern in statement.actions or ()
                if has_wildcard(pattern)
                and (mine := self._index.of_pattern(pattern))
                and mine & ~bits == 0
            })  # fmt: skip
            for pattern in patterns:
                bits &= ~self._index.of_pattern(pattern)
        else:
            patterns = []
        return [*patterns, *self._index.folded(bits)]

    # --- Whether actions were granted on a resource pattern ---

    def _answers(
        self, group: _Group, resource: str, excepted: tuple[str, ...], new: Statement
    ) -> list[tuple[int, _Answer]]:
        """Return the answer for a group's actions; several where they differ by resource type."""
        if new.principals is not None or new.not_principals is not None:
            why = "it has a Principal: only policies of resources have one"
            return [(group.bits, ("undecided", why))]
        if not group.allows:
            why = "no policy of today allows it"
            held_back = group.bits & ~self._boundary if self._boundary is not None else 0
            answers: list[tuple[int, _Answer]] = []
            if held_back:
                answers.append((
                    held_back,
                    ("addition", f"{why}; the permissions boundary holds it back"),
                ))  # fmt: skip
            if held_back != group.bits or group.pattern:
                answers.append((group.bits & ~held_back, ("addition", why)))
            return answers
        covering = [each for each in group.allows if covers_resource(each, resource, excepted)]
        if any(implied(each.conditions, new.conditions) for each in covering):
            return [(group.bits, _undenied(group, resource, excepted, new))]
        if covering:
            return [(group.bits, _under_conditions(covering, group.allows, resource, new))]
        if excepted or any(each.not_resources is not None for each in group.allows):
            return [(group.bits, ("undecided", "NotResource: what it leaves was not compared"))]
        if resource == "*" and not group.pattern:
            return list(self._on_everything(group))
        return [(group.bits, _on_other_resources(group.allows, _witness(resource), resource))]

    def _on_everything(self, group: _Group) -> Iterator[tuple[int, _Answer]]:
        """Yield the answers for actions that are now on ``*`` and were on less.

        What ``*`` means to an action is the ARNs of its resource types, which patterns may cover.
        """
        types = load_resource_types()
        partition = _partition(group.allows)
        by_answer: dict[_Answer, int] = {}
        for action in self._index.actions(group.bits):
            prefix = action.partition(":")[0]
            formats = types.arn_formats(prefix)
            witnesses = [
                _filled(arn_format, partition)
                for use in types.types_of(action)
                for arn_format in formats.get(use.name, ())
            ]
            answer: _Answer = (
                "undecided",
                f"today's policies name resources, now it is on *: {_resource_list(group.allows)}",
            )
            for witness in witnesses:
                found = _on_other_resources(group.allows, witness, "*")
                if found[0] == "addition":
                    answer = found
                    break
            by_answer[answer] = by_answer.get(answer, 0) | self._index.of((action,))
        for answer, bits in by_answer.items():
            yield bits, answer


def _statements(documents: Iterable[PolicyDocument]) -> Iterator[tuple[str, Statement]]:
    """Yield the statements in version 2012-10-17, each with its name."""
    for number, document in enumerate(documents, start=1):
        for place, statement in enumerate(in_current_version(document).statements, start=1):
            yield statement.sid or f"(document {number}, statement {place})", statement


def _resources(statement: Statement) -> list[tuple[str, tuple[str, ...]]]:
    """Return the resource patterns of a statement, each with what NotResource takes out of it."""
    if statement.not_resources:
        return [("*", tuple(sorted(set(statement.not_resources))))]
    if statement.not_resources is not None or statement.resources is None:
        return [("*", ())]
    return [(resource, ()) for resource in sorted(set(statement.resources))]


# --- Actions by their text, where the catalogue does not know them ---


def _covers_action(statement: Statement, pattern: str) -> bool:
    """Return whether a statement is proved to speak of every action a pattern matches."""
    pattern = pattern.lower()
    if statement.not_actions is not None:
        return not any(overlaps(each.lower(), pattern) for each in statement.not_actions)
    return any(covers(each.lower(), pattern) for each in statement.actions or ())


def _may_meet_action(statement: Statement, pattern: str) -> bool:
    """Return whether a statement may speak of an action a pattern matches."""
    pattern = pattern.lower()
    if statement.not_actions is not None:
        return not any(covers(each.lower(), pattern) for each in statement.not_actions)
    return any(overlaps(each.lower(), pattern) for each in statement.actions or ())


# --- Resources ---


@lru_cache(maxsize=512)
def _pattern_set(patterns: tuple[str, ...]) -> PatternSet:
    return PatternSet(patterns)


def covers_resource(statement: Statement, resource: str, excepted: tuple[str, ...] = ()) -> bool:
    """Return whether a statement is proved to hold for all of a pattern but what is excepted."""
    if statement.not_resources is not None:
        left_out = [
            outside
            for outside in statement.not_resources
            if not _pattern_set(excepted).covers(outside)
        ]
        return not PatternSet(left_out).may_meet(resource)
    return _pattern_set(statement.resources or ()).covers(resource)


def _may_meet_resource(statement: Statement, resource: str, excepted: tuple[str, ...]) -> bool:
    """Return whether a statement may hold for an ARN of a pattern."""
    if statement.not_resources is not None:
        return not _pattern_set(statement.not_resources).covers(resource)
    patterns = ("*",) if statement.resources is None else statement.resources
    if excepted:
        patterns = tuple(each for each in patterns if not _pattern_set(excepted).covers(each))
    return _pattern_set(patterns).may_meet(resource)


def _witness(resource: str) -> str:
    """Return an ARN that a pattern matches, with names nobody has."""
    return resource.replace("*", "pare-any-other").replace("?", "x")


def _filled(arn_format: str, partition: str) -> str:
    values = {"Partition": partition, "Region": "xx-any-1", "Account": "000000000000"}
    filled = PLACEHOLDER.sub(lambda match: values.get(match[1], "pare-any-other"), arn_format)
    return _witness(filled)


def _partition(statements: Iterable[Statement]) -> str:
    """Return the partition that the statements' ARNs name."""
    for statement in statements:
        for resource in statement.resources or ():
            parts = resource.split(":", 2)
            if parts[0] == "arn" and len(parts) > 1 and parts[1] and not has_wildcard(parts[1]):
                return parts[1]
    return "aws"


def _on_other_resources(allows: Sequence[Statement], witness: str, resource: str) -> _Answer:
    patterns = [_pattern_set(statement.resources or ()) for statement in allows]
    if VARIABLE in resource or any(each.has_variables for each in patterns):
        return "undecided", f"a policy variable: today it is on {_resource_list(allows)}"
    if any(each.matches(witness) for each in patterns):
        return "undecided", f"several patterns of today may cover it: {_resource_list(allows)}"
    return "addition", f"today it is on other resources only: {_resource_list(allows)}"


def _resource_list(statements: Iterable[Statement]) -> str:
    return _listed(sorted({each for found in statements for each in found.resources or ()}))


def _listed(values: Sequence[str], limit: int = 3) -> str:
    more = len(values) - limit
    return ", ".join(values[:limit]) + (f" and {more:,} more" if more > 0 else "")


# --- Deny statements ---


def _undenied(group: _Group, resource: str, excepted: tuple[str, ...], new: Statement) -> _Answer:
    """Return whether the Deny statements of today that may refuse it are still there."""
    answer = _GRANTED
    for deny in group.denies:
        if not _may_meet_resource(deny, resource, excepted):
            continue
        kept = [each for each in group.kept_denies if implied(each.conditions, deny.conditions)]
        left = _not_refused(kept, deny, resource, excepted)
        if not left:
            continue
        name = f"the Deny statement {deny.sid}" if deny.sid else "a Deny statement without a Sid"
        is_one_action = not group.pattern or not has_wildcard(group.pattern)
        if (
            is_one_action
            and not excepted
            and not (deny.conditions and new.conditions)
            and any(_certainly_meets(deny, each, resource) for each in left)
        ):
            return "addition", f"{name} of today refuses it and is not kept"
        answer = "undecided", f"{name} of today may refuse it and is not kept"
    return answer


def _not_refused(
    kept: Sequence[Statement], deny: Statement, resource: str, excepted: tuple[str, ...]
) -> list[str]:
    """Return the patterns of a Deny within ``resource`` that no kept Deny is proved to cover.

    ``*`` stands for all that a NotResource leaves.
    """
    if any(covers_resource(each, resource, excepted) for each in kept):
        return []
    if deny.not_resources is not None:
        outside = tuple(deny.not_resources)
        return [] if any(covers_resource(each, "*", outside) for each in kept) else ["*"]
    return [
        pattern
        for pattern in deny.resources or ("*",)
        if (VARIABLE in pattern or VARIABLE in resource or overlaps(pattern, resource))
        and not any(covers_resource(each, pattern) for each in kept)
    ]


def _certainly_meets(deny: Statement, pattern: str, resource: str) -> bool:
    """Return whether a pattern of a Deny is shown to hold for some ARN of ``resource``."""
    if VARIABLE in resource or VARIABLE in pattern:
        return False
    if deny.not_resources is not None:
        return resource != "*" and not any(
            VARIABLE in each or matches_arn(each, _witness(resource)) for each in deny.not_resources
        )
    if resource == "*":
        # Whether the action takes an ARN of the Deny at all is not known.
        return pattern == "*"
    return matches_arn(pattern, _witness(resource)) or matches_arn(resource, _witness(pattern))


# --- Conditions ---

# Which way a list of values works: any of them suffices, or none of them may match.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
_ANY_OF = frozenset({
    "stringequals", "stringequalsignorecase", "stringlike", "numericequals", "dateequals", "bool",
    "binaryequals", "ipaddress", "arnequals", "arnlike",
})  # fmt: skip
_NONE_OF = frozenset({
    "stringnotequals", "stringnotequalsignorecase", "stringnotlike", "numericnotequals",
    "datenotequals", "notipaddress", "arnnotequals", "arnnotlike",
})  # fmt: skip
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
_SAME_AS = {"arnequals": "arnlike", "arnnotequals": "arnnotlike"}
_SUFFIX = "ifexists"

_Tests = dict[tuple[str, str], frozenset[str]]


def _tests(conditions: Mapping[str, Any]) -> _Tests | None:
    """Return conditions as (operator, key) -> values, in lower case; None if a pair is there twice.

    All tests of a statement must hold.
    """
    found: _Tests = {}
    for operator, tests in conditions.items():
        for key, value in tests.items():
            pair = operator.lower(), key.lower()
            if pair in found:
                return None
            values = value if isinstance(value, list) else [value]
            found[pair] = frozenset(
                each if isinstance(each, str) else json.dumps(each) for each in values
            )
    return found


def implied(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Return whether every request that meets ``narrow`` is proved to meet ``wide``."""
    if not wide or wide == narrow:
        return True
    wide_tests, narrow_tests = _tests(wide), _tests(narrow)
    if wide_tests is None or narrow_tests is None:
        return False
    return all(
        any(
            key == other_key and _test_implied(operator, values, other_operator, other_values)
            for (other_operator, other_key), other_values in narrow_tests.items()
        )
        for (operator, key), values in wide_tests.items()
    )


def _test_implied(
    wide: str, wide_values: frozenset[str], narrow: str, narrow_values: frozenset[str]
) -> bool:
    """Return whether one test of a key implies another test of it."""
    if wide == narrow and wide_values == narrow_values:
        return True
    wide_set, wide_base = _operator(wide)
    narrow_set, narrow_base = _operator(narrow)
    if wide_set != narrow_set:
        return False
    # A key that must be there implies one that may be missing, not the other way round.
    if narrow_base.endswith(_SUFFIX) and not wide_base.endswith(_SUFFIX):
        return False
    wide_base, narrow_base = (
        _SAME_AS.get(base, base)
        for base in (wide_base.removesuffix(_SUFFIX), narrow_base.removesuffix(_SUFFIX))
    )
    if wide_base == narrow_base and wide_base in _NONE_OF:
        return wide_values <= narrow_values
    if wide_base == narrow_base and wide_base in _ANY_OF and narrow_values <= wide_values:
        return True
    if wide_base == "stringlike" and narrow_base in {"stringequals", "stringlike"}:
        is_literal = narrow_base == "stringequals"
        return all(
            any(_value_covers(each, value, is_literal=is_literal) for each in wide_values)
            for value in narrow_values
        )
    return False


def _operator(operator: str) -> tuple[str, str]:
    """Return the set prefix (``forallvalues``, ``foranyvalue`` or nothing) and the operator."""
    prefix, colon, base = operator.partition(":")
    return (prefix, base) if colon else ("", prefix)


def _value_covers(wide: str, value: str, *, is_literal: bool) -> bool:
    """Return whether a value of StringLike is proved to match what another value matches."""
    if wide == value and not is_literal:
        return True
    if VARIABLE in wide or VARIABLE in value:
        return wide == value and not has_wildcard(value)
    if is_literal or not has_wildcard(value):
        return wildcard_regex(wide).fullmatch(value) is not None
    return wide == "*"


def _under_conditions(
    covering: Sequence[Statement], allows: Sequence[Statement], resource: str, new: Statement
) -> _Answer:
    """Return what to say of access that today's policies grant under other conditions."""
    said = _listed(sorted({json.dumps(each.conditions, sort_keys=True) for each in covering}), 2)
    keys, new_keys = (
        {key.lower() for tests in conditions.values() for key in tests}  # type: ignore[union-attr]
        for conditions in (covering[0].conditions, new.conditions)
    )
    others = [each for each in allows if each is not covering[0]]
    if not keys & new_keys and not any(
        _may_meet_resource(each, _witness(resource), ()) for each in others
    ):
        return "addition", f"today it is granted under conditions only: {said}"
    return "undecided", f"the conditions of today were not shown to be kept: {said}"
