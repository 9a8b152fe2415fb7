"""The words of the inventory in English and Japanese: reasons, report, message, explanation.

They are ``pare/data/inventory_texts.json`` (``pare.texts`` says how a text names its values). Keys
in capitals are reason codes (``ReasonJson``); the others are words and sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.message import plain
from pare.texts import LANGUAGES, PLACEHOLDER, Texts

if TYPE_CHECKING:
    from pare.inventory.model import ReasonJson

__all__ = ["LANGUAGES", "PLACEHOLDER", "has_text", "reason_text", "text", "texts_of", "word"]

_TEXTS = Texts("inventory_texts.json")
text = _TEXTS.text
word = _TEXTS.word
has_text = _TEXTS.has
texts_of = _TEXTS.of_language

# Values of reasons that are words of ours, and the beginning of their keys.
_WORDS = {"how": "how", "source": "source", "what": "what"}
_LONGEST_VALUE = 500


def reason_text(reason: ReasonJson, language: str) -> str:
    """Return the sentence of a reason or issue: one line, not escaped for any markup.

    A code that this version does not know, of a row of another version, is shown as it is.
    """
    if not has_text(reason["code"]):
        pairs = ", ".join(f"{name}: {value}" for name, value in sorted(reason["values"].items()))
        return plain(f"{reason['code']} {pairs}", _LONGEST_VALUE)
    shown = {name: _shown(name, value, language) for name, value in reason["values"].items()}
    source, what = reason["values"].get("source"), reason["values"].get("what")
    if what and str(what).startswith(str(source)):  # "access key 2" says it all
        shown |= {"source": shown["what"], "what": ""}
    return text(reason["code"], language, **shown)


def _shown(name: str, value: str | int, language: str) -> str | int:
    if isinstance(value, int):
        return value
    group = _WORDS.get(name)
    if name == "sources":
        value = ", ".join(word("source", each, language) for each in value.split(", "))
    elif group:
        value = word(group, value, language)
    return plain(value, _LONGEST_VALUE)
