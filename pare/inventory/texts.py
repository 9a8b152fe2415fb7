"""The words of the inventory in English and Japanese: reasons, report, message, explanation.

They are ``pare/data/inventory_texts.json``: a key, and its text in each language. Keys in capitals
are reason codes (``ReasonJson``); the others are words and sentences. A text names its values:

- ``{days}``: the value; a number comes with commas.
- ``{days|day|days}``: the number and the word for one or for several.
- ``{what?: }``: nothing where the value is empty, else ``: `` and the value.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from pare.data_tables import read_table
from pare.message import plain

if TYPE_CHECKING:
    from pare.inventory.model import ReasonJson

LANGUAGES: Final = ("en", "ja")

PLACEHOLDER = re.compile(
    r"\{(?P<name>[a-z_]+)(?:\|(?P<one>[^{}|]*)\|(?P<many>[^{}|]*)|\?(?P<before>[^{}|]*))?\}"
)
# Values of reasons that are words of ours, and the beginning of their keys.
_WORDS = {"how": "how", "source": "source", "what": "what"}
_LONGEST_VALUE = 500


def text(key: str, language: str, /, **values: str | int) -> str:
    """Return a text with its values put in as they are: the caller escapes them.

    Raises KeyError for a key, a language or a value that is not there.
    """

    def put(found: re.Match[str]) -> str:
        value = values[found["name"]]
        shown = f"{value:,}" if isinstance(value, int) else value
        if found["one"] is not None:
            return f"{shown} {found['one' if value == 1 else 'many']}"
        if found["before"] is not None:
            return f"{found['before']}{shown}" if shown else ""
        return shown

    return PLACEHOLDER.sub(put, _texts()[key][language])


def word(group: str, value: str, language: str) -> str:
    """Return the word for a value such as ``kind``, ``machine user``; the value where none is."""
    key = f"{group}_{value.lower().replace(' ', '_').replace('-', '_')}"
    texts = _texts()
    return texts[key][language] if key in texts else value


def reason_text(reason: ReasonJson, language: str) -> str:
    """Return the sentence of a reason or issue: one line, not escaped for any markup.

    A code that this version does not know, of a row of another version, is shown as it is.
    """
    if reason["code"] not in _texts():
        pairs = ", ".join(f"{name}: {value}" for name, value in sorted(reason["values"].items()))
        return plain(f"{reason['code']} {pairs}", _LONGEST_VALUE)
    shown = {name: _shown(name, value, language) for name, value in reason["values"].items()}
    source, what = reason["values"].get("source"), reason["values"].get("what")
    if what and str(what).startswith(str(source)):  # "access key 2" says it all
        shown |= {"source": shown["what"], "what": ""}
    return text(reason["code"], language, **shown)


def has_text(key: str) -> bool:
    """Return whether there is a text of this key."""
    return key in _texts()


def texts_of(language: str) -> dict[str, str]:
    """Return every text of a language, unfilled."""
    return {key: texts[language] for key, texts in _texts().items()}


def _shown(name: str, value: str | int, language: str) -> str | int:
    if isinstance(value, int):
        return value
    group = _WORDS.get(name)
    if name == "sources":
        value = ", ".join(word("source", each, language) for each in value.split(", "))
    elif group:
        value = word(group, value, language)
    return plain(value, _LONGEST_VALUE)


@cache
def _texts() -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = read_table("inventory_texts.json", schema_version=1)["texts"]
    return texts
