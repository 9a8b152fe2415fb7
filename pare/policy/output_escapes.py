"""Text from outside, made safe for the language it is written in.

Role names, ARNs, object keys and messages of AWS come from whoever could name something. None of
them may end a string, begin a line, become a link, mention a person, or be read as a template.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any

from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Callable

COMMENT_WIDTH = 98

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
# A template begins with `${` or `%{`, and is text with its first character doubled.
# https://developer.hashicorp.com/terraform/language/expressions/strings#escape-sequences
_HCL_TEMPLATE = re.compile(r"([$%]*)([$%])\{")
# Words that need no quotation marks in YAML 1.1; what it reads as true, false or null aside.
_YAML_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9-]*(::?[A-Za-z][A-Za-z0-9-]*)*")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# What needs no escape in a code span of Markdown, in a table or not.
_CODE_PLAIN = re.compile(r"[^`|\\\s](?:[^`|\\]*[^`|\\\s])?")
_MARKDOWN = {
    **{character: f"\\{character}" for character in "*_[]~"},
    # By number, so that neither a table, nor GitHub's mathematics, nor HTML sees them.
    **{character: f"&#{ord(character)};" for character in "\\`|$<>&"},
}
_MARKDOWN_PLAIN = re.compile(r"(?:[A-Za-z0-9 ,;()/'\"=+-]|[:.](?= |$))*")
# GitHub makes links of people, issues and addresses. Of the first two it does so after Markdown:
# only another character between keeps them apart.
_MENTION = re.compile(r"@(?=\w)|#(?=\d)")
# What may be invisible; line ends are the writer's own.
_UNUSUAL = re.compile(r"[^\n -~]")
_ADDRESS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def json_text(value: Any, *, sort_keys: bool = False, indent: int | None = 2) -> str:
    """Return JSON: indented for people, letters as they are, invisible characters as escapes."""
    text = json.dumps(
        value,
        indent=indent,
        ensure_ascii=False,
        sort_keys=sort_keys,
        separators=(",", ":") if indent is None else None,
    )
    return _escaped(text, lambda each: json.dumps(each)[1:-1])


def hcl_string(text: str) -> str:
    """Return a string of HCL that is never a template.

    In `$${` of the source, the first `$` stands alone: written by number, nobody can misread it.
    """

    def literal(found: re.Match[str]) -> str:
        before = "".join(f"\\u{ord(each):04x}" for each in found[1])
        return f"{before}{found[2]}{found[2]}{{"

    quoted = _escaped(
        "".join(_SHORT.get(each, each) for each in text),
        lambda each: f"\\u{ord(each):04x}" if ord(each) < 0x10000 else f"\\U{ord(each):08x}",
    )
    return f'"{_HCL_TEMPLATE.sub(literal, quoted)}"'


def yaml_string(text: str) -> str:
    """Return a string of YAML 1.1: a word as it is, else in quotation marks on one line."""
    if _YAML_PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    quoted = "".join(_SHORT.get(each, each) for each in text)
    return '"' + _escaped(quoted, lambda each: f"\\U{ord(each):08x}") + '"'


def comment(text: str, *, indent: str = "", limit: int = 1_000) -> str:
    """Return lines of a comment that begin with ``#``, as HCL and YAML have them."""
    return textwrap.fill(
        plain(text, limit),
        COMMENT_WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}#   " if text.startswith("- ") else f"{indent}# ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def markdown(text: object, limit: int = 600) -> str:
    """Return outside text as one line of Markdown that shows just it."""
    shown = plain(text, limit)
    if _MARKDOWN_PLAIN.fullmatch(shown):
        return shown
    parted = _MENTION.sub(lambda found: f"{found[0]}\u200b", shown)
    escaped = "".join(_MARKDOWN.get(each, each) for each in parted)
    return _ADDRESS.sub(lambda found: f"&#{ord(found[0])};", escaped)


def code(text: object, limit: int = 300) -> str:
    """Return outside text as Markdown's code, where nothing is mentioned, linked or formatted."""
    shown = plain(text, limit)
    if not shown:
        return ""
    if _CODE_PLAIN.fullmatch(shown):
        return f"`{shown}`"
    numbered = "".join(
        each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in shown
    )
    return f"<code>{numbered}</code>"


def fenced(text: str, language: str) -> str:
    """Return a code block whose fence no line of the text can close."""
    longest = max((len(each) for each in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    """Return the text with every character escaped that is not seen, or only seems a space."""
    return _UNUSUAL.sub(
        lambda found: found[0] if found[0].isprintable() else escape(found[0]), text
    )
