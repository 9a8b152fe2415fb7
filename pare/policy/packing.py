"""Making a policy fit IAM's quotas without changing what it says.

Actions are written with wildcards only if they match, in the catalogue, exactly the actions meant:
``ec2:Describe*`` only where every action of that name is meant. AWS may add an action later that a
wildcard then matches too, so ``auto`` writes none as long as one managed policy has room for the
plain names, and every wildcard is named beside the catalogue it was proved against.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
"""

from __future__ import annotations

import heapq
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from pare.policy.document import (
    MANAGED_POLICY_LIMIT,
    PolicyDocument,
    size_in_characters,
    split,
)
from pare.policy.patterns import has_wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pare.policy.catalogue import Catalogue
    from pare.policy.current import Kind

Mode = Literal["auto", "always", "never"]

# Managed policies that may be attached to a role and to a user.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
ROLE_POLICY_LIMIT = 20
USER_POLICY_LIMIT = 10

# The words of an action's name: Describe DB Instances, Get Object, GET.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+|[A-Z]")


class Quotas(NamedTuple):
    """IAM's quotas for the policies of one user or role.

    ``attachments``: managed policies without asking AWS; ``most_attachments``: the most that AWS
    grants. ``inline_characters``: all inline policies together, white space not counted.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """

    attachments: int
    most_attachments: int
    inline_characters: int


ROLE_QUOTAS = Quotas(ROLE_POLICY_LIMIT, most_attachments=25, inline_characters=10_240)
USER_QUOTAS = Quotas(USER_POLICY_LIMIT, most_attachments=20, inline_characters=2_048)


def quotas_of(kind: Kind) -> Quotas:
    """Return the quotas for a principal of this kind."""
    return USER_QUOTAS if kind == "user" else ROLE_QUOTAS


class WildcardJson(TypedDict):
    """A wildcard that packing wrote, and how many actions of the catalogue it matches."""

    sid: str | None
    pattern: str
    action_count: int


class PackingJson(TypedDict):
    """How a policy was made to fit, as stored. Sizes are characters as IAM counts them.

    ``plain_size``: the policy in one document with every action by its name. ``sizes``: each of
    the documents. ``limit``: of one managed policy. ``fits``: there are no more documents than may
    be attached. ``options``: what else could be done, in sentences. ``catalogue_version``: the
    catalogue that the wildcards are exact for; null where there are none.
    """

    mode: Mode
    wildcards: list[WildcardJson]
    plain_size: int
    sizes: list[int]
    limit: int
    policy_count: int
    attachment_limit: int
    fits: bool
    options: list[str]
    catalogue_version: str | None


class Packed(NamedTuple):
    """The documents to attach, and how they came to be."""

    documents: tuple[PolicyDocument, ...]
    packing: PackingJson


def pack(
    document: PolicyDocument,
    catalogue: Catalogue,
    *,
    quotas: Quotas = ROLE_QUOTAS,
    mode: Mode = "auto",
    limit: int = MANAGED_POLICY_LIMIT,
) -> Packed:
    """Return documents of at most ``limit`` characters that together say the same.

    ``auto`` writes wildcards only if the plain names do not fit in one document. Nothing is ever
    left out: too many documents are said in ``packing``. Raises PolicySizeError if a statement
    cannot be cut into parts that fit.
    """
    plain_size = size = size_in_characters(document)
    wildcards: list[WildcardJson] = []
    packed = document
    if mode == "always" or (mode == "auto" and plain_size > limit):
        packed, wildcards = _with_wildcards(document, catalogue)
        size = size_in_characters(packed)
    documents = split(packed, limit) if size > limit else (packed,)
    sizes = [size_in_characters(each) for each in documents] if len(documents) > 1 else [size]
    return Packed(
        documents,
        {
            "mode": mode,
            "wildcards": wildcards,
            "plain_size": plain_size,
            "sizes": sizes,
            "limit": limit,
            "policy_count": len(documents),
            "attachment_limit": quotas.attachments,
            "fits": len(documents) <= quotas.attachments,
            "options": _options(size, len(documents), quotas),
            "catalogue_version": catalogue.version if wildcards else None,
        },
    )


def pack_actions(actions: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Return patterns, sorted, that match exactly these actions of the catalogue.

    A wildcard stands for whole words of a name, at one place in it: ``ec2:Describe*``,
    ``s3:*Tagging``, ``s3:Get*Tagging``, and ``s3:*`` only if every action of the service is meant.
    It is taken where it makes the text shorter, the one that saves most first; of those for the
    same actions the longest, which leaves least room for what AWS may add. An action that the
    catalogue does not know is always written out, and a pattern among ``actions`` stays as it is,
    in place of the actions it matches.
    """
    given = set(actions)
    patterns = {action for action in given if has_wildcard(action)}
    unknown: set[str] = set()
    named: set[str] = set()
    for action in given - patterns:
        if catalogue.exists(action):
            named.add(catalogue.canonical(action))
        else:
            unknown.add(action)
    matched = {action for pattern in patterns for action in catalogue.expand(pattern)}
    by_service: dict[str, set[str]] = {}
    for action in named - matched:
        by_service.setdefault(action.partition(":")[0], set()).add(action)
    result = patterns | unknown
    for service, wanted in by_service.items():
        meant = frozenset(wanted | {each for each in matched if each.startswith(f"{service}:")})
        result |= _packed_service(service, wanted, meant, catalogue)
    return tuple(sorted(result))


def _packed_service(
    service: str, wanted: set[str], meant: frozenset[str], catalogue: Catalogue
) -> set[str]:
    """Return patterns and names for ``wanted`` that match nothing of the service but ``meant``."""
    patterns_of = _patterns_of_service(catalogue, service)
    actions_of = _actions_of_pattern(catalogue, service)
    matches: dict[str, set[str]] = {}
    for action in sorted(wanted):
        for pattern in patterns_of[action]:
            if actions_of[pattern] <= meant:
                matches.setdefault(pattern, set()).add(action)

    # The proof. Words are how patterns are found, letters are how IAM matches them: a pattern may
    # match more than the actions it was found for (Get*, and the name Getaway).
    chosen = _cover(
        _longest(matches),
        lambda pattern: catalogue.expand(pattern) <= meant,
    )
    left = wanted.difference(*(catalogue.expand(pattern) for pattern in chosen))
    return _without_needless(chosen, wanted, catalogue) | left


def _longest(matches: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return of the patterns for the same several actions the longest: it says most of them."""
    longest: dict[frozenset[str], str] = {}
    for pattern, found in matches.items():
        if len(found) > 1:
            key = frozenset(found)
            longest[key] = max(longest.get(key, ""), pattern, key=lambda each: (len(each), each))
    return {pattern: set(found) for found, pattern in longest.items()}


def _cover(matches: Mapping[str, set[str]], is_exact: Callable[[str], bool]) -> set[str]:
    """Return exact patterns, the one that saves most taken first, as long as one saves anything."""
    covered: set[str] = set()
    chosen: set[str] = set()

    def saving(pattern: str) -> int:
        return sum(map(_cost, matches[pattern] - covered)) - _cost(pattern)

    waiting = [(-saving(pattern), len(pattern), pattern) for pattern in matches]
    heapq.heapify(waiting)
    while waiting:
        minus_saving, length, pattern = heapq.heappop(waiting)
        now = saving(pattern)
        if now <= 0:
            continue
        if -now > minus_saving:  # less than when it was put here: others may save more
            heapq.heappush(waiting, (-now, length, pattern))
        elif is_exact(pattern):
            chosen.add(pattern)
            covered |= matches[pattern]
    return chosen


def _without_needless(patterns: set[str], wanted: set[str], catalogue: Catalogue) -> set[str]:
    """Return the patterns without those whose actions the others match anyway."""
    counts: dict[str, int] = {}
    for pattern in patterns:
        for action in catalogue.expand(pattern) & wanted:
            counts[action] = counts.get(action, 0) + 1
    kept = set(patterns)
    for pattern in sorted(patterns, key=lambda each: (-len(each), each)):
        found = catalogue.expand(pattern) & wanted
        if all(counts[action] > 1 for action in found):
            kept.discard(pattern)
            for action in found:
                counts[action] -= 1
    return kept


def _cost(value: str) -> int:
    return len(value) + 3  # quotes and a comma


@lru_cache(maxsize=64)
def _patterns_of_service(catalogue: Catalogue, service: str) -> Mapping[str, tuple[str, ...]]:
    """Return for each action of a service the patterns that may stand for it among others."""
    return {action: _patterns_of(action) for action in catalogue.actions(service)}


@lru_cache(maxsize=100)
def _actions_of_pattern(catalogue: Catalogue, service: str) -> Mapping[str, frozenset[str]]:
    """Return for each such pattern the actions it may stand for."""
    found: dict[str, set[str]] = {}
    for action, patterns in _patterns_of_service(catalogue, service).items():
        for pattern in patterns:
            found.setdefault(pattern, set()).add(action)
    return {pattern: frozenset(actions) for pattern, actions in found.items()}


def _patterns_of(action: str) -> tuple[str, ...]:
    """Return an action's name with a ``*`` in place of some of its words that stand together."""
    service, _, name = action.partition(":")
    words = _WORD.findall(name)
    starts = ["".join(words[:count]) for count in range(len(words))]
    ends = ["".join(words[count:]) for count in range(1, len(words) + 1)]
    return tuple(
        f"{service}:{start}*{ends[last]}"
        for first, start in enumerate(starts)
        for last in range(first, len(words))
    )


def _with_wildcards(
    document: PolicyDocument, catalogue: Catalogue
) -> tuple[PolicyDocument, list[WildcardJson]]:
    """Return the document with wildcards in the Action of its Allow statements, and those.

    A Deny or a NotAction says what it says of actions that AWS will add, so it stays as it is.
    """
    statements = []
    wildcards: list[WildcardJson] = []
    for statement in document.statements:
        if statement.effect != "Allow" or statement.actions is None:
            statements.append(statement)
            continue
        actions = pack_actions(statement.actions, catalogue)
        statements.append(replace(statement, actions=actions))
        wildcards += [
            {
                "sid": statement.sid,
                "pattern": action,
                "action_count": len(catalogue.expand(action)),
            }
            for action in actions
            if has_wildcard(action) and action not in statement.actions
        ]
    return replace(document, statements=tuple(statements)), wildcards


def _options(size: int, policy_count: int, quotas: Quotas) -> list[str]:
    """Return what could be done instead of attaching so many policies, in sentences."""
    options = []
    if policy_count > 1 and size <= quotas.inline_characters:
        options.append(
            f"It fits in one inline policy: {size:,} of the {quotas.inline_characters:,} "
            "characters that all inline policies of the principal may have together."
        )
    if policy_count > quotas.attachments:
        if policy_count <= quotas.most_attachments:
            options.append(
                f"Ask AWS for a quota of {policy_count} managed policies attached to one "
                f"principal ({quotas.attachments} without asking, at most "
                f"{quotas.most_attachments})."
            )
        options.append("Fold more resources into prefixes.")
        options.append("Divide the work over several principals.")
    return options
