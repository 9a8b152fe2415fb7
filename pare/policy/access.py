"""What a set of policies grants, asked action by action: today's, or a proposal's."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from pare.policy.catalogue import load_catalogue
from pare.policy.document import Statement, in_current_version, parse
from pare.policy.evaluate import NAMED_WITHOUT_RESOURCE, Policies
from pare.policy.grants import granted_actions
from pare.policy.patterns import covers, has_wildcard, matches_action, overlaps
from pare.policy.variables import widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pare.policy.current import CurrentAccessJson
    from pare.policy.document import PolicyDocument
    from pare.policy.grants import Grants


class Access:
    """Identity-based policies with a permissions boundary and limits (SCPs), if any."""

    def __init__(
        self,
        documents: Iterable[PolicyDocument],
        *,
        boundary: PolicyDocument | None = None,
        limits: Sequence[Sequence[PolicyDocument]] = (),
    ) -> None:
        self.documents = [in_current_version(document) for document in documents]
        self.boundary = in_current_version(boundary) if boundary else None
        self.limits = limits
        self.policies = Policies(self.documents, boundary=self.boundary, limits=limits)
        self._speaking: dict[str, tuple[Statement, ...]] = {}

    @cached_property
    def grants(self) -> Grants:
        """What is granted, by action of the catalogue."""
        return granted_actions(self.documents, boundary=self.boundary, limits=self.limits)

    def denies(self) -> list[Statement]:
        """Return the Deny statements: what they refuse stays refused."""
        return [each for each in self._statements() if each.effect == "Deny"]

    def allows_of(self, action: str) -> tuple[Statement, ...]:
        """Return the Allow statements that speak of an action."""
        found = self._speaking.get(action)
        if found is None:
            found = self._speaking[action] = tuple(
                each
                for each in self._statements()
                if each.effect == "Allow" and speaks_of(each, action)
            )
        return found

    def within(self, action: str, pattern: str) -> list[Statement]:
        """Return how an action is granted on the ARNs of a pattern: frames without actions.

        Each frame's resource is the narrower of the two patterns; conditions are today's. A frame
        without conditions on the whole pattern makes all others needless.
        """
        found: dict[str, Statement] = {}
        for statement in self.allows_of(action):
            for resource in _meet(statement, action, pattern):
                frame = replace(
                    statement, sid=None, actions=None, not_actions=None, not_resources=None,
                    resources=(resource,),
                )  # fmt: skip
                if resource == pattern and not statement.conditions:
                    return [frame]
                found[f"{resource} {json.dumps(statement.conditions, sort_keys=True)}"] = frame
            if statement.not_resources and any(
                overlaps(widened(each), pattern) for each in statement.not_resources
            ):
                frame = replace(statement, sid=None, actions=None, not_actions=None)
                found[f"not {sorted(statement.not_resources)} {statement.conditions}"] = frame
        return [found[key] for key in sorted(found)]

    def everywhere(self, action: str) -> list[Statement]:
        """Return how an action is granted at all: frames without actions."""
        return list(
            dict.fromkeys(
                replace(each, sid=None, actions=None, not_actions=None)
                for each in self.allows_of(action)
            )
        )

    def kept(self, actions: Iterable[str]) -> list[Statement]:
        """Return Allow statements cut down to some actions; resources and conditions stay."""
        catalogue = load_catalogue()
        wanted = set(actions)
        unlisted = {action for action in wanted if not catalogue.exists(action)}
        listed = wanted - unlisted
        found: dict[Statement, set[str]] = {}
        for statement in self._statements():
            if statement.effect != "Allow":
                continue
            patterns = statement.actions if statement.not_actions is None else statement.not_actions
            matched = {action for each in patterns or () for action in catalogue.expand(each)}
            cut = listed & matched if statement.not_actions is None else listed - matched
            cut |= {action for action in unlisted if speaks_of(statement, action)}
            if cut:
                frame = replace(statement, sid=None, actions=None, not_actions=None)
                found.setdefault(frame, set()).update(cut)
        return [replace(frame, actions=tuple(sorted(cut))) for frame, cut in found.items()]

    def names_service_of(self) -> set[str]:
        """Return the actions granted by a pattern that names their service."""
        catalogue = load_catalogue()
        return {
            action
            for statement in self._statements()
            if statement.effect == "Allow"
            for pattern in statement.actions or ()
            if not has_wildcard(pattern.partition(":")[0])
            for action in catalogue.expand(pattern)
        }

    def unknown_patterns(self) -> list[str]:
        """Return what Allow statements name and no action of the catalogue matches."""
        catalogue = load_catalogue()
        return sorted({
            pattern
            for statement in self._statements()
            if statement.effect == "Allow"
            for pattern in statement.actions or ()
            if not catalogue.expand(pattern)
        })  # fmt: skip

    def _statements(self) -> Iterable[Statement]:
        return (statement for document in self.documents for statement in document.statements)


def access_today(
    current: CurrentAccessJson, *, limits: Sequence[Sequence[PolicyDocument]] = ()
) -> Access:
    """Return what a principal is granted today; raises PolicyParseError."""
    boundary = current["boundary"]
    return Access(
        [parse(policy["document"]) for policy in current["policies"]],
        boundary=parse(boundary["document"]) if boundary else None,
        limits=limits,
    )


def speaks_of(statement: Statement, action: str) -> bool:
    """Return whether a statement's Action or NotAction covers an action, by its name alone."""
    patterns = statement.actions if statement.not_actions is None else statement.not_actions
    matches = any(matches_action(pattern, action) for pattern in patterns or ())
    return matches is (statement.not_actions is None)


def _meet(statement: Statement, action: str, pattern: str) -> list[str]:
    """Return the patterns that lie in both a statement's resources and a pattern, as far as shown.

    Where two patterns cross, today's is returned: nothing that is granted today is new access.
    """
    if statement.not_resources is not None:
        is_clear = not any(overlaps(widened(each), pattern) for each in statement.not_resources)
        return [pattern] if is_clear else []
    found = set()
    for resource in statement.resources or ():
        if covers(resource, pattern):
            return [pattern]
        # An action without resources asks for "*", and nothing less grants it, but for a few.
        if (
            overlaps(widened(resource), pattern)
            if pattern != "*"
            else resource.split(":", 2)[2:] == [NAMED_WITHOUT_RESOURCE.get(action.lower())]
        ):
            found.add(resource)
    return sorted(found)
