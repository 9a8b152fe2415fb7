"""IAM's wildcard patterns: which texts one matches, and which patterns lie within it.

``*`` stands for any number of characters and ``?`` for one. In an ARN, a ``*`` inside one of the
first five segments does not reach over a colon; one at the end of a segment does. A ``?`` there is
one character of its segment, so never a colon.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html

A text that holds a real ``*`` or ``?`` (an object key may) is written with ``literal``.
"""

from __future__ import annotations

import re
from functools import lru_cache

ANY = "*"
_ARN_SEGMENTS = 6
_WILDCARD = re.compile(r"([*?])")
# Stand for a real * and a real ? in a pattern; no ARN has characters of the private use area.
LITERAL_STAR, LITERAL_QUESTION_MARK = "\ue000", "\ue001"
_LITERALS = str.maketrans({"*": LITERAL_STAR, "?": LITERAL_QUESTION_MARK})


def has_wildcard(pattern: str) -> bool:
    """Return whether IAM would match the pattern by wildcard."""
    return "*" in pattern or "?" in pattern


def literal(text: str) -> str:
    """Return a text whose ``*`` and ``?`` are characters, for use where a pattern may stand."""
    return text.translate(_LITERALS)


@lru_cache(maxsize=5_000)
def wildcard_regex(pattern: str) -> re.Pattern[str]:
    """Return a pattern as a regular expression: only ``*`` and ``?`` are special."""
    return re.compile(_translated(pattern, ".*", "."), re.DOTALL)


@lru_cache(maxsize=5_000)
def arn_regex(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a Resource element as a regular expression over ARNs."""
    segments = pattern.split(":", _ARN_SEGMENTS - 1)
    if len(segments) == 1:
        return wildcard_regex(pattern)
    return re.compile(":".join(_segment_regex(i, each) for i, each in enumerate(segments)), re.S)


def matches_text(pattern: str, text: str) -> bool:
    """Return whether a pattern matches a text, with regard to case, colons being like any other."""
    if "?" not in pattern:
        return _matches_stars(pattern, text)
    return wildcard_regex(pattern).fullmatch(text) is not None


def literal_prefix(pattern: str) -> str:
    """Return what stands before the first wildcard: everything it matches begins so."""
    return pattern[: _first_wildcard(pattern)]


def matches_action(pattern: str, action: str) -> bool:
    """Return whether an Action value matches an action, without regard to case, as IAM does."""
    return pattern == ANY or matches_text(pattern.lower(), action.lower())


def matches_arn(pattern: str, arn: str) -> bool:
    """Return whether a Resource value matches an ARN (or ``*``, an action without resources)."""
    if pattern in (ANY, arn):
        return True
    if "?" not in pattern:
        first = pattern.find("*")
        if first == -1:
            return False
        # A star reaches as far as it likes at the end of a segment and in the sixth.
        if first == len(pattern) - 1:
            return arn.startswith(pattern[:-1])
        if _only_reaching_stars(pattern, first):
            return _matches_stars(pattern, arn)
    return arn_regex(pattern).fullmatch(arn) is not None


@lru_cache(maxsize=20_000)
def covers(wide: str, narrow: str) -> bool:
    """Return whether every ARN that ``narrow`` matches is matched by ``wide``, as far as is shown.

    True is proved. False may be a pair that would need more than a walk along both to prove, such
    as ``?*`` and ``*?``.
    """
    if wide in {ANY, narrow}:
        return True
    if narrow == ANY:
        return wide.strip("*") == "" and wide != ""
    if "*" not in narrow and "?" not in narrow:
        return matches_arn(wide, narrow)
    # A wildcard of the narrow pattern is itself one character to the wide one, which only a
    # wildcard of at least its reach may take.
    first = _first_wildcard(wide)
    if first == len(wide):
        return False
    if wide[:first] != narrow[:first]:
        return False
    if "?" not in wide and _only_reaching_stars(wide, first):
        return _matches_stars(wide, narrow)
    return _walk(wide, _reaches(wide), narrow, _reaches(narrow))


def overlaps(one: str, other: str) -> bool:
    """Return whether two patterns may match the same ARN; False is proved."""
    if ANY in {one, other} or one == other:
        return True
    if not has_wildcard(one):
        return matches_arn(other, one)
    if not has_wildcard(other):
        return matches_arn(one, other)
    # Most pairs part in the texts before their first wildcards.
    common = min(_first_wildcard(one), _first_wildcard(other))
    if one[:common] != other[:common]:
        return False
    return covers(one, other) or covers(other, one) or _meet(one, other)


def _first_wildcard(pattern: str) -> int:
    """Return where the first wildcard stands; the pattern's length if there is none."""
    found = _WILDCARD.search(pattern)
    return len(pattern) if found is None else found.start()


def _translated(text: str, star: str, question_mark: str) -> str:
    return "".join(
        {"*": star, "?": question_mark}.get(part, re.escape(part)) for part in _WILDCARD.split(text)
    )


def _segment_regex(i: int, segment: str) -> str:
    if i == _ARN_SEGMENTS - 1:
        return _translated(segment, ".*", ".")
    if segment.endswith("*"):
        return _translated(segment[:-1], "[^:]*", "[^:]") + ".*"
    return _translated(segment, "[^:]*", "[^:]")


def _matches_stars(pattern: str, text: str) -> bool:
    """Return whether a pattern without ``?``, its stars all reaching over colons, matches."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    position, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, position, end)
        if found == -1:
            return False
        position = found + len(part)
    return position <= end and text.endswith(last)


def _only_reaching_stars(pattern: str, first: int) -> bool:
    """Return whether every star stands at the end of its segment or in the sixth segment."""
    colons, position = pattern.count(":", 0, first), first
    while colons < _ARN_SEGMENTS - 1:
        following = pattern[position + 1 : position + 2]
        if following not in {"", ":", "*"}:
            return False
        found = pattern.find("*", position + 1)
        if found == -1:
            return True
        colons += pattern.count(":", position, found)
        position = found
    return True


def _reaches(pattern: str) -> tuple[bool, ...]:
    """Return for each character whether it is a wildcard that may be a colon."""
    segments = pattern.split(":", _ARN_SEGMENTS - 1)
    found: list[bool] = []
    for i, segment in enumerate(segments):
        is_last = i == _ARN_SEGMENTS - 1 or len(segments) == 1
        found += [
            character in "*?" and (is_last or (character == "*" and position == len(segment) - 1))
            for position, character in enumerate(segment)
        ]
        found.append(False)  # the colon
    return tuple(found[: len(pattern)])


def _walk(
    wide: str, wide_reach: tuple[bool, ...], narrow: str, narrow_reach: tuple[bool, ...]
) -> bool:
    """Return whether ``wide`` takes ``narrow`` character by character, wildcards included."""
    states = _skip_stars(wide, {0})
    for character, reaches in zip(narrow, narrow_reach, strict=True):
        may_be_colon = character == ":" or reaches
        following: set[int] = set()
        for state in states:
            if state == len(wide):
                continue
            mine = wide[state]
            if mine == "*":
                if wide_reach[state] or not may_be_colon:
                    following.add(state)
            elif mine == "?":
                if character != "*" and (wide_reach[state] or not may_be_colon):
                    following.add(state + 1)
            elif mine == character:
                following.add(state + 1)
        states = _skip_stars(wide, following)
        if not states:
            return False
    return len(wide) in states


def _skip_stars(pattern: str, states: set[int]) -> set[int]:
    """Return the states and those behind the stars they stand before (a star may be empty)."""
    found = set(states)
    for state in states:
        while state < len(pattern) and pattern[state] == "*":
            state += 1
            found.add(state)
    return found


def _meet(one: str, other: str) -> bool:
    """Return whether two patterns have a common text, every wildcard taken to reach over colons."""
    seen: set[tuple[int, int]] = set()
    waiting = [(0, 0)]
    while waiting:
        pair = waiting.pop()
        if pair in seen:
            continue
        seen.add(pair)
        i, j = pair
        if i == len(one) and j == len(other):
            return True
        mine = one[i] if i < len(one) else ""
        theirs = other[j] if j < len(other) else ""
        if mine == "*":
            waiting.append((i + 1, j))
            if theirs:
                waiting.append((i, j + 1))
        if theirs == "*":
            waiting.append((i, j + 1))
            if mine:
                waiting.append((i + 1, j))
        if mine and theirs and "*" not in {mine, theirs} and (
            mine == theirs or "?" in {mine, theirs}
        ):  # fmt: skip
            waiting.append((i + 1, j + 1))
    return False
