"""Many ARNs of one type, written as a few prefixes: by a stated rule, with evidence, or not at all.

**The rule.** ARNs are folded only with their like: the same partition, service, Region, account
and resource type, and only where there are more than ``more_than`` (20) of them. The resource type
is the text up to the first ``/`` or ``:`` behind the account, such as ``table/``; for S3 objects it
is the bucket. A prefix ends at a separator (``/ : - _ .``) and is never shorter than the resource
type: ``…:table/*``, all tables, is the widest there is. Where an ARN has no resource type (queues,
topics, buckets) the prefix holds at least the first part of the name, so names without a common
part stay as they are. Begin with the widest prefix and put the next longer ones in its place, the
prefix with the most ARNs first, as long as no more than 20 patterns remain; a prefix that holds a
single ARN is that ARN. A prefix that would match an ARN to avoid is always made longer, whatever
number that leaves. An ARN with a wildcard before or in its resource type is never folded.

So no prefix of a result could be made longer without more than ``more_than`` patterns remaining:
this is how to check one by hand. ``*`` stands for any characters, ``/`` and ``:`` included
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html).
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from pare.policy.patterns import has_wildcard, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MORE_THAN = 20
EXAMPLE_COUNT = 3

# Partition, service, Region and account: the five segments before the resource, colons included.
_HEADER = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:")
_S3_HEADER = re.compile(r"arn:[^:]*:s3:::")
_RESOURCE_TYPE = re.compile(r"/?[^/:]*[/:]")
# The next part of a name: up to its separator, as long as no wildcard stands before that.
_NEXT_PART = re.compile(r"[^/:_.*?-]*[/:_.-]")


class FoldJson(TypedDict):
    """A fold, as stored: the pattern, how many of the ARNs it covers, the first three of them."""

    pattern: str
    arn_count: int
    examples: list[str]


class Fold(NamedTuple):
    """A pattern that stands for several ARNs, with what it rests on.

    ``is_whole_type``: the pattern is as wide as the rule allows, such as all tables of an account
    and Region, or all objects of a bucket.
    """

    pattern: str
    arn_count: int
    examples: tuple[str, ...]
    is_whole_type: bool = False

    def to_json_object(self) -> FoldJson:
        """Return the fold as proposals store it."""
        return {
            "pattern": self.pattern,
            "arn_count": self.arn_count,
            "examples": list(self.examples),
        }


class Folded(NamedTuple):
    """What to write as Resource, sorted; and the folds among it, in the same order."""

    patterns: tuple[str, ...]
    folds: tuple[Fold, ...]


class _Family(NamedTuple):
    """ARNs of one kind, sorted; ``floor`` is how long a prefix of theirs must be at least."""

    texts: tuple[str, ...]
    header: str  # without the resource type
    floor: str  # with it; the same as the header where the ARNs have none

    @property
    def has_type(self) -> bool:
        return len(self.floor) > len(self.header)


@dataclass(frozen=True, slots=True, order=True)
class _Node:
    """A prefix and its ARNs ``texts[first:end]``; ordered by what is made longer first."""

    minus_count: int
    prefix: str
    first: int
    end: int

    @property
    def is_single(self) -> bool:
        return self.minus_count == -1


def fold_arns(
    arns: Iterable[str], *, more_than: int | None = MORE_THAN, avoid: Iterable[str] = ()
) -> Folded:
    """Return the ARNs with many of a kind folded by the rule above; ``None`` folds nothing.

    An ARN may be a pattern already (``arn:…:log-group:/aws/lambda/orders:*``) and takes part as it
    is; a prefix ends before its first wildcard. No fold matches an ARN, or may match what a
    pattern matches, of ``avoid``. The order of the input does not matter. Raises ValueError if
    ``more_than`` is less than 1.
    """
    if more_than is not None and more_than < 1:
        raise ValueError(f"more_than is {more_than}: at least one pattern must remain")
    texts = sorted(set(arns))
    patterns: list[str] = []
    folds: list[Fold] = []
    avoided = _Avoided(avoid)
    for family in _families(texts):
        if more_than is None or len(family.texts) <= more_than or not family.header:
            patterns += family.texts
            continue
        for node in _fold(family, more_than, avoided):
            if node.is_single:
                patterns.append(family.texts[node.first])
                continue
            fold = _described(node, family)
            patterns.append(fold.pattern)
            folds.append(fold)
    return Folded(
        patterns=tuple(sorted(set(patterns))),
        folds=tuple(sorted(folds, key=lambda fold: fold.pattern)),
    )


def _families(texts: Sequence[str]) -> Iterator[_Family]:
    """Yield the texts by header and resource type; what is no ARN comes without a header."""
    found: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        found.setdefault(_family_key(text), []).append(text)
    for (header, floor), members in found.items():
        yield _Family(tuple(members), header, floor)


def _family_key(text: str) -> tuple[str, str]:
    """Return the header and the widest prefix; empty for what has a wildcard as early as there."""
    header = _HEADER.match(text)
    if header is None or has_wildcard(header.group()):
        return "", ""
    start = header.end()
    resource_type = _RESOURCE_TYPE.match(text, start)
    # A name without a type, or a bucket: text up to the header is all there is in common.
    end = start if resource_type is None else resource_type.end()
    if has_wildcard(text[start:end]) or (end == start and text[start : start + 1] in ("*", "?")):
        return "", ""
    if _S3_HEADER.fullmatch(header.group()) and end > start and text[end - 1] != "/":
        return "", ""  # not a shape that S3 has
    return header.group(), text[:end]


class _Avoided:
    """The ARNs, and patterns of ARNs, that no fold may match."""

    __slots__ = ("_arns", "_patterns")

    def __init__(self, avoid: Iterable[str]) -> None:
        given = sorted(set(avoid))
        self._arns = [text for text in given if not has_wildcard(text)]
        self._patterns = [text for text in given if has_wildcard(text)]

    def is_matched(self, prefix: str) -> bool:
        """Return whether the prefix and any further characters may be one of them."""
        at = bisect_left(self._arns, prefix)
        if at < len(self._arns) and self._arns[at].startswith(prefix):
            return True
        return any(overlaps(prefix + "*", pattern) for pattern in self._patterns)


def _fold(family: _Family, more_than: int, avoided: _Avoided) -> list[_Node]:
    """Return the nodes that stand for the family's ARNs by the rule."""
    texts = _without_covered(family.texts)
    kept: list[_Node] = []
    waiting: list[_Node] = []
    if family.has_type:
        roots = [_node(texts, 0, len(texts), len(family.floor))]
    else:
        roots = _longer(texts, 0, len(texts), len(family.header))
    while roots:
        root = roots.pop()
        if not root.is_single and avoided.is_matched(root.prefix):
            roots += _longer(texts, root.first, root.end, len(root.prefix))
        else:
            waiting.append(root)
    count = len(waiting)
    heapq.heapify(waiting)
    while waiting:
        node = heapq.heappop(waiting)
        if node.is_single:
            kept.append(node)
            continue
        longer = _longer(texts, node.first, node.end, len(node.prefix))
        if count - 1 + len(longer) <= more_than:
            count += len(longer) - 1
            for each in longer:
                heapq.heappush(waiting, each)
        else:
            kept.append(node)
    return [_in_family(node, texts, family) for node in kept]


def _longer(texts: Sequence[str], first: int, end: int, length: int) -> list[_Node]:
    """Return the next longer prefixes of some texts that have ``length`` characters in common."""
    found: list[_Node] = []
    while first < end:
        part = _NEXT_PART.match(texts[first], length)
        behind = first + 1
        if part is not None:
            prefix = part.string[: part.end()]
            while behind < end and texts[behind].startswith(prefix):
                behind += 1
        found.append(_node(texts, first, behind, length))
        first = behind
    return found


def _node(texts: Sequence[str], first: int, end: int, length: int) -> _Node:
    """Return the node of some texts: its prefix is the longest they share, up to a separator."""
    lowest, highest = texts[first], texts[end - 1]
    if end - first == 1:
        return _Node(-1, lowest, first, end)
    # Sorted texts all share what the first and the last of them share.
    while (part := _NEXT_PART.match(lowest, length)) is not None:
        if not highest.startswith(part.group(), length):
            break
        length = part.end()
    return _Node(first - end, lowest[:length], first, end)


def _without_covered(texts: Sequence[str]) -> list[str]:
    """Return the sorted texts without those that one of them, a prefix and ``*``, covers."""
    prefixes: list[str] = []
    for text in texts:
        prefix = text[:-1]
        if (
            text.endswith("*")
            and not has_wildcard(prefix)
            and not (prefixes and prefix.startswith(prefixes[-1]))
        ):
            # Only an earlier text could cover this prefix, or a later one be covered by it.
            while prefixes and prefixes[-1].startswith(prefix):
                prefixes.pop()
            prefixes.append(prefix)
    prefixes.sort()

    def is_covered(text: str) -> bool:
        # None of the prefixes is a prefix of another, so only the nearest can be one of the text.
        at = bisect_left(prefixes, text)
        if at < len(prefixes) and prefixes[at] == text:
            return True
        nearest = prefixes[at - 1] if at else None
        return nearest is not None and text.startswith(nearest) and text != nearest + "*"

    return [text for text in texts if not is_covered(text)]


def _in_family(node: _Node, texts: Sequence[str], family: _Family) -> _Node:
    """Return the node with its place among all ARNs of the family, covered ones included."""
    if node.is_single:
        first = bisect_left(family.texts, texts[node.first])
        return _Node(-1, node.prefix, first, first + 1)
    first = bisect_left(family.texts, node.prefix)
    end = bisect_left(family.texts, node.prefix + chr(0x10FFFF), first)
    return _Node(first - end, node.prefix, first, end)


def _described(node: _Node, family: _Family) -> Fold:
    return Fold(
        pattern=node.prefix + "*",
        arn_count=node.end - node.first,
        examples=family.texts[node.first : min(node.end, node.first + EXAMPLE_COUNT)],
        is_whole_type=family.has_type and node.prefix == family.floor,
    )
