"""Policies that allow whole services, or everything: whoever holds them is named.

"Nothing unused" says little of a principal that may do everything: AWS lists for it what it used,
and the rest is one ``*``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.inventory.model import WidePolicyJson
    from pare.policy.document import PolicyDocument, Statement

NOT_ACTION = "NotAction"
_EVERYTHING = re.compile(r"\*+(:\*+)?")
_WHOLE_SERVICE = re.compile(r"[^:]+:\*+")


class LabelledPolicy(NamedTuple):
    """A policy of a principal, under the name that a row gives it."""

    policy: str  # its ARN, or inline:NAME
    group: str | None  # the group it comes through
    document: PolicyDocument


def wide_policies(policies: Iterable[LabelledPolicy]) -> list[WidePolicyJson]:
    """Return each wide pattern of each policy once, administrators first, then sorted.

    A pattern counts on whatever resources and under whatever conditions it is allowed; a Deny is
    not set against it. Only everything on every resource without a condition is an administrator's.
    """
    found: dict[tuple[str, str | None, str], bool] = {}
    for policy, group, document in policies:
        for statement in document.statements:
            for pattern in _wide_patterns(statement):
                is_administrator = pattern == "*" and _is_unlimited(statement)
                key = (policy, group, pattern)
                found[key] = found.get(key, False) or is_administrator
    return [
        {
            "policy": policy,
            "group": group,
            "pattern": pattern,
            "is_administrator": is_administrator,
        }
        for (policy, group, pattern), is_administrator in sorted(
            found.items(), key=lambda each: (not each[1], each[0][0], each[0][1] or "", each[0][2])
        )
    ]


def denies_everything(document: PolicyDocument) -> bool:
    """Return whether a policy refuses every action on every resource, without a condition."""
    return any(
        statement.effect == "Deny"
        and any(_EVERYTHING.fullmatch(action) for action in statement.actions or ())
        and _is_unlimited(statement)
        for statement in document.statements
    )


def _wide_patterns(statement: Statement) -> Iterable[str]:
    if statement.effect != "Allow":
        return
    if statement.not_actions is not None:
        yield NOT_ACTION
    for action in statement.actions or ():
        if _EVERYTHING.fullmatch(action):
            yield "*"
        elif _WHOLE_SERVICE.fullmatch(action):
            # The prefix is compared without case; one spelling for all.
            yield f"{action.partition(':')[0].lower()}:*"


def _is_unlimited(statement: Statement) -> bool:
    return not statement.conditions and any(
        set(resource) == {"*"} for resource in statement.resources or ()
    )
