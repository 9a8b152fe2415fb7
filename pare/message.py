"""Messages to people and machines: plain text that reads well in a mail, and the facts as JSON.

All text from outside (names, tags, error texts) goes through ``plain``: one line, no control
characters, bounded, so that nothing can forge a line, a header or a link of ours.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# SNS: a subject has fewer than 100 characters and no line break (facts §5).
SUBJECT_LIMIT = 99
WIDTH = 78

_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)
# A dot between the labels of what looks like a domain: a label of two letters or more follows.
# Not the ideographic full stop between Japanese words, but that between Latin ones. No domain ends
# in .fifo, but the names of queues and topics do.
_DOMAIN_DOT = re.compile(
    r"(?<=[\w-])([.\uff0e])(?=[^\W\d_]{2})(?!fifo(?![\w.-]))|(?<=[a-zA-Z0-9-])([\u3002\uff61])(?=[a-zA-Z]{2})"
)
# What may stay though it has such dots: a mail address, an ARN, the name of an AWS service, and the
# identity providers that everybody knows, alone or with a condition's key.
_NO_LINK = re.compile(
    r"[(<\"']?(?:[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:\S+"
    r"|(?:token\.actions\.githubusercontent|accounts\.google|gitlab)\.com(?::[a-z_]+)?"
    r"|[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)[)>\"',;:.!?]*"
)
# The last word of a cut line, with the number and the signs before it.
_LAST_WORD = re.compile(r"[\s,;:(]+(?:[\d,.]+\s+)?\S*$")
_LONGEST_CUT = 30
# A word of Japanese that takes more columns may be broken.
_LONGEST_WORD = 24
# What stands before a word and belongs to it: polite forms, "again", "not yet".
_BEGIN_A_WORD = frozenset("おご再未")
# Signs and small letters that begin no line, beside punctuation (JIS X 4051, kinsoku shori).
_NOT_FIRST = frozenset("ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々")


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    ``attributes`` are SNS message attributes, for subscriptions to filter by: texts, or lists of
    which a subscription asks for any one.
    """

    subject: str
    text: str
    attributes: dict[str, str | list[str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] | None = None  # for a chat channel (pare/chat_card.py)


def plain(text: object, limit: int = 300) -> str:
    """Return outside text as one line without control or formatting characters, bounded."""
    text = str(text)
    if len(text) <= limit and text.isprintable() and "  " not in text and text == text.strip():
        return text  # as nearly always
    kept = "".join(
        " " if character in "\n\r\t" else character
        for character in text
        if character in "\n\r\t" or unicodedata.category(character)[0] != "C"
    )
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."


def unlinked(text: str) -> str:
    """Return outside text in which mail programs find no link, though the words stay readable.

    They make links of whatever has a scheme or begins with www. An e-mail address stays one: it
    names an owner.
    """
    return _WWW.sub(r"\1 .", text.replace("://", ": //"))


def without_domains(text: str) -> str:
    """Return outside text in which nothing looks like a domain: ``evil .example .com/fix``.

    Mail programs make links of those too. What is to be copied stays whole in an ARN, and in the
    name of a FIFO queue or topic, which has to end so.
    """
    if "." not in text and text.isascii():
        return text
    return " ".join(
        word if _NO_LINK.fullmatch(word) else _DOMAIN_DOT.sub(r" \g<0>", word)
        for word in text.split(" ")
    )


def sentence(text: str) -> str:
    """Return text with a full stop where it has no end, so that another sentence can follow."""
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def several(count: int, what: str) -> str:
    """Return ``1 call`` or ``1,200 calls``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Return ``a, b and 3 more``."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def subject(text: str, *, ascii_only: bool = True) -> str:
    """Return a subject line that SNS accepts: one line, under 100 characters.

    SNS takes UTF-8 (its API reference, Publish), but mail clients differ: where names from outside
    may stand in it, what is not ASCII becomes ``?``. A subject of our own words in Japanese, for
    people who asked for Japanese, says more as it is: ``ascii_only=False``.
    """
    line = plain(text, 10_000)
    if ascii_only:
        line = line.encode("ascii", "replace").decode()
    if len(line) <= SUBJECT_LIMIT:
        return line
    kept = line[: SUBJECT_LIMIT - 3]
    if line[SUBJECT_LIMIT - 3] != " ":
        # Cut at a word, if that is not far away; a number without its word says too much.
        at_word = _LAST_WORD.sub("", kept)
        kept = at_word if len(kept) - len(at_word) <= _LONGEST_CUT else kept
    return kept.rstrip() + "..."


def paragraph(text: str) -> str:
    """Return text wrapped for a mail; words longer than a line (ARNs, links) stay whole."""
    return fill(text)


def headline(text: str) -> str:
    """Return text wrapped as the first line of a mail, its further lines indented.

    A name from outside can be long enough to be wrapped; it must not begin a line of ours.
    """
    return fill(text, after="  ")


def bullet(text: str, *, indent: str = "") -> str:
    """Return text wrapped as an item of a list, its further lines set under its first."""
    return fill(text, first=f"{indent}- ", after=f"{indent}  ")


def rows(pairs: list[tuple[str, str]]) -> str:
    """Return label and value under each other, aligned; empty values are left out."""
    shown = [(label, value) for label, value in pairs if value]
    width = max((columns(label) for label, _ in shown), default=0) + 2
    return "\n".join(
        fill(
            value,
            first=f"{label}:" + " " * (width - columns(label) - 1),
            after=" " * width,
        )
        for label, value in shown
    )


def columns(text: str) -> int:
    """Return how many columns a text takes where letters are of one width: Japanese takes two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def fill(text: str, *, first: str = "", after: str = "") -> str:
    """Return text in lines of at most WIDTH columns, the first and the others beginning so.

    Words stay whole. Japanese, which has no spaces, is broken where the script changes, so that a
    word of it stays whole, unless it is long; never before a full stop or behind an opening
    bracket.
    """
    if columns(text) == len(text) and columns(first) == len(first):
        return textwrap.fill(
            text,
            WIDTH,
            initial_indent=first,
            subsequent_indent=after,
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines: list[str] = []
    line, begin = first, first
    for space, piece in _pieces(text):
        joined = line + (space if line != begin else "") + piece
        if columns(joined) > WIDTH and line != begin:
            lines.append(line)
            line = begin = after
            joined = after + piece
        line = joined
    return "\n".join([*lines, line])


def _pieces(text: str) -> list[tuple[str, str]]:
    """Return what must stay together, each with the space that stands before it, if any."""
    pieces: list[tuple[str, str]] = []
    for word in text.split():
        space = " "
        for piece in _parts(word, _is_one_word):
            is_short = columns(piece) <= _LONGEST_WORD or not any(map(_is_wide, piece))
            for part in [piece] if is_short else _parts(piece, _is_one_sign):
                pieces.append((space, part))
                space = ""
    return pieces


def _parts(word: str, is_one: Callable[[str, str], bool]) -> list[str]:
    """Return a word cut wherever two characters are not one."""
    parts: list[str] = []
    for character in word:
        if parts and is_one(parts[-1][-1], character):
            parts[-1] += character
        else:
            parts.append(character)
    return parts


def _is_one_sign(last: str, character: str) -> bool:
    """Return whether no line may end between two characters."""
    return (
        character in _NOT_FIRST
        or unicodedata.category(character) in {"Pe", "Pf", "Po"}
        or unicodedata.category(last) in {"Ps", "Pi"}
        or (not _is_wide(character) and not _is_wide(last))
    )


def _is_one_word(last: str, character: str) -> bool:
    """Return whether two characters are likely of one word: of one script, or kanji and ending."""
    one, other = _script(last), _script(character)
    is_word = one != "" and (one == other or (one, other) == ("kanji", "hiragana"))
    is_word = is_word or (last in _BEGIN_A_WORD and other != "")
    return is_word or _is_one_sign(last, character)


def _script(character: str) -> str:
    if "\u3041" <= character <= "\u309f":
        return "hiragana"
    if "\u30a1" <= character <= "\u30ff":
        return "katakana"
    return "kanji" if "\u4e00" <= character <= "\u9fff" or character == "\u3005" else ""


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
