"""Cards for a chat channel: custom notifications of Amazon Q Developer in chat applications.

https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html

It takes exactly this JSON from the topic and drops any other. The description is in the markdown
of the client, and the clients differ (Slack has no backslash escapes, Teams has no ``<``): so text
from outside goes in as a code span, in which neither makes anything bold, a link or a mention.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

# Counted in bytes, of which a letter of Japanese has three: AWS does not say what it counts.
TITLE_LIMIT = 250
DESCRIPTION_LIMIT = 8_000
NEXT_STEP_LIMIT = 350
KEYWORD_LIMIT = 75
# AWS names no limit; more would not be read.
STEPS_LIMIT = 5

# What ends a code span, and what Slack and Teams read even inside one: Slack's own links and
# mentions, <https://…|text> and <@U…>, the signs of Teams' tables and HTML, and Slack's escapes.
_HARMLESS = str.maketrans(
    {"`": "ˋ", "<": "‹", ">": "›", "|": "¦", "&": "＆"}  # noqa: RUF001 - alike on purpose
)

_LAST_SPAN = re.compile(r"\s*`[^`]*`$")


def quoted(text: object, limit: int = 120) -> str:
    """Return text from outside as a code span; a few signs become others that look alike."""
    return f"`{plain(text, limit).translate(_HARMLESS) or '?'}`"


def card(
    *,
    title: str,
    lines: Sequence[str],
    more: str,
    next_steps: Sequence[str],
    keywords: Sequence[str],
    thread_id: str,
) -> dict[str, Any]:
    """Return a custom notification. All text is ours, in client markdown; see ``quoted``.

    Lines that do not fit are left out whole, and ``more`` says so; a step that does not fit loses
    the command at its end. ``thread_id`` puts what is said about the same thing together, where
    the channel has threads.
    """
    return {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": _cut(title, TITLE_LIMIT),
            "description": _fitting(lines, more),
            "nextSteps": [_step(step) for step in next_steps[:STEPS_LIMIT]],
            "keywords": [_cut(keyword, KEYWORD_LIMIT) for keyword in keywords],
        },
        "metadata": {"threadId": thread_id},
    }


def _fitting(lines: Sequence[str], more: str) -> str:
    kept: list[str] = []
    left = DESCRIPTION_LIMIT - _size(more) - 1
    for line in lines:
        left -= _size(line) + 1
        if left < 0:
            return "\n".join([*kept, more])
        kept.append(line)
    return "\n".join(kept)


def _step(text: str) -> str:
    """Return a step that fits: never without its text, and never with a part of a command."""
    return text if fits_step(text) else _cut(_LAST_SPAN.sub("", text), NEXT_STEP_LIMIT)


def fits_step(text: str) -> bool:
    """Return whether a step of a card has room for a text."""
    return _size(text) <= NEXT_STEP_LIMIT


def _cut(text: str, limit: int) -> str:
    """Return the beginning of a text; a code span that is cut is closed."""
    if _size(text) <= limit:
        return text
    kept = text.encode()[: limit - len("`...")].decode(errors="ignore").rstrip()
    if kept.count("`") % 2:
        kept = kept[:-1].rstrip() if kept.endswith("`") else kept + "`"
    return kept + "..."


def _size(text: str) -> int:
    return len(text.encode())
