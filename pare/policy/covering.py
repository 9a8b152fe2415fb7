"""Sets of resource patterns, asked whether they cover or meet another: policy variables included.

A role can be granted 5,000 ARNs: a pattern without wildcards is looked up, and one with wildcards
is compared only where the text before its first wildcard agrees.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pare.policy.patterns import covers, has_wildcard, matches_arn, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "${"
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_FIRST_WILDCARD = re.compile(r"[*?]")
# Stand for the policy variables of a pattern, one character each: neither an ARN nor
# patterns.literal has them.
_PRIVATE_USE = 0xE100


class PatternSet:
    """Patterns that together stand for the ARNs any of them matches."""

    __slots__ = ("_exact", "_wild", "has_variables")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact = frozenset(patterns)
        # The text before the first wildcard, then the pattern.
        self._wild = tuple(
            (_FIRST_WILDCARD.split(pattern, maxsplit=1)[0], pattern)
            for pattern in sorted(self._exact)
            if has_wildcard(pattern)
        )
        self.has_variables = any(VARIABLE in pattern for pattern in self._exact)

    def covers(self, narrow: str) -> bool:
        """Return whether one of the patterns is proved to cover ``narrow``."""
        if narrow in self._exact:
            return True
        return any(
            narrow.startswith(head) and pattern_covers(wide, narrow) for head, wide in self._wild
        )

    def may_meet(self, pattern: str) -> bool:
        """Return whether one of the patterns may match an ARN that ``pattern`` matches."""
        if pattern in self._exact:
            return True
        if self.has_variables or VARIABLE in pattern:
            return any(_may_meet(each, pattern) for each in self._exact)
        parts = _FIRST_WILDCARD.split(pattern, maxsplit=1)
        head = parts[0]
        if any(
            (head.startswith(mine) or mine.startswith(head)) and overlaps(wide, pattern)
            for mine, wide in self._wild
        ):
            return True
        return len(parts) > 1 and any(
            each.startswith(head) and matches_arn(pattern, each) for each in self._exact
        )

    def matches(self, arn: str) -> bool:
        """Return whether one of the patterns matches an ARN; a variable's value is not known."""
        if arn in self._exact:
            return True
        return any(arn.startswith(head) and matches_arn(wide, arn) for head, wide in self._wild)


def pattern_covers(wide: str, narrow: str) -> bool:
    """Return whether ``wide`` is proved to cover ``narrow``, policy variables included.

    A variable stands for a text that is not known, so only the same variable or a ``*`` covers it.
    """
    if VARIABLE not in wide and VARIABLE not in narrow:
        return covers(wide, narrow)
    if wide in ("*", narrow):
        return True
    if "?" in wide:
        return False  # it could take a variable for one character
    characters: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        return characters.setdefault(match[0], chr(_PRIVATE_USE + len(characters)))

    wide, narrow = _VARIABLE.sub(stand_in, wide), _VARIABLE.sub(stand_in, narrow)
    # Before the resource part a star does not reach over a colon, which a variable may hold.
    head, wide_head = (":".join(each.split(":", 5)[:5]) for each in (narrow, wide))
    if any(character in head and character not in wide_head for character in characters.values()):
        return False
    return covers(wide, narrow)


def _may_meet(one: str, other: str) -> bool:
    return VARIABLE in one or VARIABLE in other or overlaps(one, other)
