"""Which actions a set of policies grants: a count for people, not a decision about a request.

It answers "how many actions before, how many after". Whether one request on one resource under its
conditions is allowed is for an evaluator to say.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple, TypedDict, TypeVar

from pare.policy.catalogue import load_catalogue
from pare.policy.patterns import covers, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pare.policy.catalogue import Catalogue
    from pare.policy.document import PolicyDocument, Statement

_Cache = TypeVar("_Cache", dict[str, int], dict[tuple[bool, tuple[str, ...]], int])


class CountsJson(TypedDict):
    """How much is granted: actions and services of the catalogue."""

    action_count: int
    service_count: int
    services: list[str]


class Grants(NamedTuple):
    """What policies grant, by action of the catalogue."""

    actions: frozenset[str]  # granted at least on some resources or under some conditions
    conditional: frozenset[str]  # of these, the ones not granted on everything without conditions
    denied: frozenset[str]  # refused on every resource without conditions
    unknown_patterns: tuple[str, ...]  # as written; they match nothing in the catalogue


class ActionIndex:
    """The catalogue's actions as the bits of an integer: sets of 22,000 actions, cheap to join."""

    __slots__ = ("_bits", "_position", "_statements", "catalogue", "every", "names")

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.names: tuple[str, ...] = tuple(sorted(catalogue.expand("*")))
        self.every = (1 << len(self.names)) - 1
        self._position = {name: position for position, name in enumerate(self.names)}
        self._bits: dict[str, int] = {}
        self._statements: dict[tuple[bool, tuple[str, ...]], int] = {}

    def of(self, actions: Iterable[str]) -> int:
        """Return actions, all of the catalogue, as bits."""
        cells = bytearray(len(self.names) // 8 + 1)
        for action in actions:
            position = self._position[action]
            cells[position >> 3] |= 1 << (position & 7)
        return int.from_bytes(cells, "little")

    def of_pattern(self, pattern: str) -> int:
        """Return the actions a value of an Action element matches; 0 where it matches none."""
        bits = self._bits.get(pattern)
        if bits is None:
            expanded = self.catalogue.expand(pattern)
            bits = self.every if len(expanded) == len(self.names) else self.of(expanded)
            _bounded(self._bits)[pattern] = bits
        return bits

    def of_statement(self, statement: Statement) -> int:
        """Return the actions a statement speaks of, by its Action or NotAction element."""
        is_negated = statement.not_actions is not None
        patterns = statement.not_actions if is_negated else statement.actions
        key = is_negated, patterns or ()
        bits = self._statements.get(key)
        if bits is None:
            bits = 0
            for pattern in key[1]:
                bits |= self.of_pattern(pattern)
            bits = self.every & ~bits if is_negated else bits
            _bounded(self._statements)[key] = bits
        return bits

    def partition(
        self, whole: int, sides: Sequence[Sequence[Statement]]
    ) -> list[tuple[int, tuple[tuple[Statement, ...], ...]]]:
        """Return ``whole`` in parts, those actions together that the same statements speak of.

        Each part comes with the statements that speak of it, side by side as given.
        """
        parts: list[tuple[int, tuple[tuple[Statement, ...], ...]]] = [
            (whole, tuple(() for _ in sides))
        ]
        for side, statements in enumerate(sides):
            for statement in statements:
                spoken_of = self.of_statement(statement) & whole
                if not spoken_of:
                    continue
                following = []
                for bits, found in parts:
                    inside = bits & spoken_of
                    if inside:
                        mine = (*found[side], statement)
                        following.append((inside, (*found[:side], mine, *found[side + 1 :])))
                    if inside != bits:
                        following.append((bits & ~inside, found))
                parts = following
        return [part for part in parts if part[0]]

    def by_service(self, bits: int) -> dict[str, list[str]]:
        """Return actions under their services, both sorted."""
        found: dict[str, list[str]] = {}
        for action in self.actions(bits):
            found.setdefault(action.partition(":")[0], []).append(action)
        return dict(sorted(found.items()))

    def folded(self, bits: int) -> list[str]:
        """Return actions by name, or as ``ec2:*`` where a service of several is there whole."""
        found: list[str] = []
        for service, actions in self.by_service(bits).items():
            is_whole = len(actions) > 1 and len(actions) == len(self.catalogue.actions(service))
            found += [f"{service}:*"] if is_whole else actions
        return found

    def actions(self, bits: int) -> list[str]:
        """Return the actions of bits, sorted."""
        if bits == self.every:
            return list(self.names)
        if bits.bit_count() < 64:
            found = []
            while bits:
                lowest = bits & -bits
                found.append(self.names[lowest.bit_length() - 1])
                bits ^= lowest
            return found
        flags = f"{bits:0{len(self.names)}b}"[::-1].encode().translate(_FLAGS)
        return list(compress(self.names, flags))


def _bounded(cache: _Cache) -> _Cache:
    """Return a cache, emptied where it is full: 8,192 sets of actions are some 20 MB."""
    if len(cache) >= 8192:
        cache.clear()
    return cache


# "0" and "1" as the bytes 0 and 1, which are false and true.
_FLAGS = bytes.maketrans(b"01", b"\x00\x01")


@lru_cache(maxsize=4)
def action_index(catalogue: Catalogue) -> ActionIndex:
    """Return the index of a catalogue; the shipped one's is made once per process."""
    return ActionIndex(catalogue)


class GrantedBits(NamedTuple):
    """Grants as bits."""

    actions: int
    conditional: int
    denied: int


def granted_actions(
    documents: Iterable[PolicyDocument],
    *,
    boundary: PolicyDocument | None = None,
    limits: Sequence[Sequence[PolicyDocument]] = (),
    catalogue: Catalogue | None = None,
) -> Grants:
    """Return the actions that identity-based policies grant, within a boundary and limits if any.

    Allow adds; a Deny without conditions on every resource takes away, wherever it stands; so does
    one on all the resources of the Allow statements. Any other Deny makes the action conditional.
    A boundary, and each level of limits (service control policies), grants nothing: what remains is
    in all of them, on resources that are not proved to be others.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_AccessPolicyLanguage_Interplay.html
    """
    index = action_index(catalogue or load_catalogue())
    layers = [list(documents), *([[boundary]] if boundary is not None else []), *map(list, limits)]
    result = granted_bits(layers, index)
    return Grants(
        actions=_frozen(index, result.actions),
        conditional=_frozen(index, result.conditional),
        denied=_frozen(index, result.denied),
        unknown_patterns=tuple(sorted({
            pattern
            for layer in layers
            for document in layer
            for statement in document.statements
            for pattern in (*(statement.actions or ()), *(statement.not_actions or ()))
            if not index.of_pattern(pattern)
        })),
    )  # fmt: skip


def counts(actions: Iterable[str]) -> CountsJson:
    """Return how many actions and services a set of actions has."""
    actions = list(actions)
    services = sorted({action.partition(":")[0] for action in actions})
    return {
        "action_count": len(actions),
        "service_count": len(services),
        "services": services,
    }


def granted_bits(layers: Sequence[Sequence[PolicyDocument]], index: ActionIndex) -> GrantedBits:
    """Return what is granted by all the layers at once, each a set of documents that add up."""
    sums = [_sum(layer, index) for layer in layers]
    denied = 0
    actions = index.every
    conditional = 0
    for each in sums:
        denied |= each.denied
        actions &= each.actions
        conditional |= each.conditional
    actions &= ~denied
    conditional &= actions
    if conditional:
        dead = _dead(layers, conditional, index)
        actions &= ~dead
        conditional &= ~dead
    return GrantedBits(actions, conditional, denied)


def _frozen(index: ActionIndex, bits: int) -> frozenset[str]:
    # The catalogue's own set is shared: a million copies of "*" cost nothing.
    if bits == index.every:
        return index.catalogue.expand("*")
    return frozenset(index.actions(bits))


def _sum(documents: Iterable[PolicyDocument], index: ActionIndex) -> GrantedBits:
    allowed = allowed_everywhere = denied = denied_somewhere = 0
    for document in documents:
        for statement in document.statements:
            actions = index.of_statement(statement)
            is_everywhere = _is_everywhere(statement)
            if statement.effect == "Allow":
                allowed |= actions
                if is_everywhere:
                    allowed_everywhere |= actions
            elif is_everywhere:
                denied |= actions
            else:
                denied_somewhere |= actions
    allowed &= ~denied
    return GrantedBits(
        actions=allowed,
        conditional=(allowed & ~allowed_everywhere) | (allowed & denied_somewhere),
        denied=denied,
    )


def _dead(layers: Sequence[Sequence[PolicyDocument]], candidates: int, index: ActionIndex) -> int:
    """Return which of the candidates no resource is left for.

    Only what is proved: every Allow of the action is on resources that one Deny without conditions
    covers, or that no Allow of another layer has in common with it.
    """
    allows = [
        [
            (index.of_statement(statement) & candidates, statement)
            for document in layer
            for statement in document.statements
            if statement.effect == "Allow"
        ]
        for layer in layers
    ]
    denies = [
        (bits, statement)
        for layer in layers
        for document in layer
        for statement in document.statements
        if statement.effect == "Deny" and not statement.conditions
        if (bits := index.of_statement(statement) & candidates)
    ]
    if not denies and len(layers) == 1:
        return 0
    living = 0
    for bits, statement in allows[0]:
        for pattern in _patterns(statement):
            left = bits & ~living
            if not left:
                break
            for deny_bits, deny in denies:
                if left & deny_bits and _covers(deny, pattern):
                    left &= ~deny_bits
            for layer in allows[1:]:
                if left:
                    meeting = 0
                    for other_bits, other in layer:
                        if left & other_bits and _meets(other, pattern):
                            meeting |= other_bits
                    left &= meeting
            living |= left
    return candidates & ~living


def _patterns(statement: Statement) -> tuple[str, ...]:
    """Return what a statement's resources lie within; all that NotResource leaves is ``*``."""
    if statement.not_resources is not None or statement.resources is None:
        return ("*",)
    return statement.resources


def _covers(deny: Statement, pattern: str) -> bool:
    """Return whether a Deny is proved to refuse every ARN of a pattern."""
    if "${" in pattern:
        return _is_everywhere(deny)
    if deny.not_resources is not None:
        return not any("${" in each or overlaps(each, pattern) for each in deny.not_resources)
    if deny.resources is None:
        return True
    return any("${" not in each and covers(each, pattern) for each in deny.resources)


def _meets(statement: Statement, pattern: str) -> bool:
    """Return whether a statement's resources may have an ARN in common with a pattern."""
    if "${" in pattern or statement.resources is None:
        return True
    return any("${" in each or overlaps(each, pattern) for each in statement.resources)


def _is_everywhere(statement: Statement) -> bool:
    """Return whether a statement holds for every resource, without conditions."""
    if statement.conditions:
        return False
    if statement.not_resources is not None:
        return not statement.not_resources
    # A resource-based policy may leave Resource out: it then means what it is attached to.
    return statement.resources is None or "*" in statement.resources
