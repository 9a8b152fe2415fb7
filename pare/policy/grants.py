"""Which actions a set of policies grants: a count for people, not a decision about a request.

It answers "how many actions before, how many after". Whether one request on one resource under its
conditions is allowed is for an evaluator to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pare.policy.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.policy.catalogue import Catalogue
    from pare.policy.document import PolicyDocument, Statement


@dataclass(frozen=True, slots=True)
class Grants:
    """What policies grant, by action of the catalogue."""

    actions: frozenset[str]  # granted at least on some resources or under some conditions
    conditional: frozenset[str]  # of these, the ones not granted on everything without conditions
    denied: frozenset[str]  # refused on every resource without conditions
    unknown_patterns: tuple[str, ...]  # as written; they match nothing in the catalogue


def granted_actions(
    documents: Iterable[PolicyDocument],
    *,
    boundary: PolicyDocument | None = None,
    catalogue: Catalogue | None = None,
) -> Grants:
    """Return the actions that identity-based policies grant, within a permissions boundary if any.

    Allow adds; a Deny without conditions on every resource takes away, wherever it stands; any
    other Deny makes the action conditional. A boundary grants nothing: what remains is in both.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_AccessPolicyLanguage_Interplay.html
    """
    catalogue = catalogue or load_catalogue()
    grants = _sum(documents, catalogue)
    if boundary is None:
        return grants
    bounds = _sum([boundary], catalogue)
    denied = grants.denied | bounds.denied
    actions = (grants.actions & bounds.actions) - denied
    return Grants(
        actions=actions,
        conditional=actions & (grants.conditional | bounds.conditional),
        denied=denied,
        unknown_patterns=tuple(sorted({*grants.unknown_patterns, *bounds.unknown_patterns})),
    )


def _sum(documents: Iterable[PolicyDocument], catalogue: Catalogue) -> Grants:
    allowed: set[str] = set()
    allowed_everywhere: set[str] = set()
    denied: set[str] = set()
    denied_somewhere: set[str] = set()
    unknown: set[str] = set()
    for document in documents:
        for statement in document.statements:
            actions = _matched(statement, catalogue, unknown)
            is_everywhere = _is_everywhere(statement)
            if statement.effect == "Allow":
                allowed |= actions
                if is_everywhere:
                    allowed_everywhere |= actions
            elif is_everywhere:
                denied |= actions
            else:
                denied_somewhere |= actions
    allowed -= denied
    return Grants(
        actions=frozenset(allowed),
        conditional=frozenset((allowed - allowed_everywhere) | (allowed & denied_somewhere)),
        denied=frozenset(denied),
        unknown_patterns=tuple(sorted(unknown)),
    )


def _matched(statement: Statement, catalogue: Catalogue, unknown: set[str]) -> frozenset[str]:
    """Return the actions a statement speaks of; add its patterns that match none to ``unknown``."""
    patterns = statement.actions if statement.not_actions is None else statement.not_actions
    matched: set[str] = set()
    for pattern in patterns or ():
        expanded = catalogue.expand(pattern)
        if not expanded:
            unknown.add(pattern)
        matched |= expanded
    if statement.not_actions is None:
        return frozenset(matched)
    return catalogue.expand("*") - matched


def _is_everywhere(statement: Statement) -> bool:
    """Return whether a statement holds for every resource, without conditions."""
    if statement.conditions:
        return False
    if statement.not_resources is not None:
        return not statement.not_resources
    # A resource-based policy may leave Resource out: it then means what it is attached to.
    return statement.resources is None or "*" in statement.resources
