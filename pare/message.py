"""Messages to people and machines: plain text that reads well in a mail, and the facts as JSON.

All text from outside (names, tags, error texts) goes through ``plain``: one line, no control
characters, bounded, so that nothing can forge a line, a header or a link of ours.
"""

from __future__ import annotations

import textwrap
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# SNS: a subject has fewer than 100 characters and no line break (facts §5).
SUBJECT_LIMIT = 99
WIDTH = 78


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``attributes`` are SNS message attributes, for subscriptions to filter by."""

    subject: str
    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


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


def subject(text: str) -> str:
    """Return a subject line that SNS accepts: ASCII, one line, under 100 characters.

    SNS documents UTF-8 subjects, but mail clients differ; what is not ASCII becomes ``?``.
    """
    line = plain(text, 10_000).encode("ascii", "replace").decode()
    return line if len(line) <= SUBJECT_LIMIT else line[: SUBJECT_LIMIT - 3] + "..."


def paragraph(text: str) -> str:
    """Return text wrapped for a mail; words longer than a line (ARNs, links) stay whole."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def headline(text: str) -> str:
    """Return text wrapped as the first line of a mail, its further lines indented.

    A name from outside can be long enough to be wrapped; it must not begin a line of ours.
    """
    return textwrap.fill(
        text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def bullet(text: str) -> str:
    """Return text wrapped as an item of a list, its further lines set under its first."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def rows(pairs: list[tuple[str, str]]) -> str:
    """Return label and value under each other, aligned; empty values are left out."""
    shown = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in shown), default=0) + 2
    return "\n".join(
        textwrap.fill(
            value,
            WIDTH,
            initial_indent=f"{label + ':':<{width}}",
            subsequent_indent=" " * width,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for label, value in shown
    )
