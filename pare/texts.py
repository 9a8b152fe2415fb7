"""A table of texts in English and Japanese: one data file, and what is put into its texts.

A file of ``pare/data`` holds a key, and its text in each language. A text names its values:

- ``{days}``: the value; a number comes with commas.
- ``{days|day|days}``: the number and the word for one or for several.
- ``{what?: }``: nothing where the value is empty, else ``: `` and the value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from pare.data_tables import read_table

LANGUAGES: Final = ("en", "ja")

PLACEHOLDER = re.compile(
    r"\{(?P<name>[a-z_]+)(?:\|(?P<one>[^{}|]*)\|(?P<many>[^{}|]*)|\?(?P<before>[^{}|]*))?\}"
)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one data file, which is read when the first text is asked for."""

    file_name: str

    def text(self, key: str, language: str, /, **values: str | int) -> str:
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

        return PLACEHOLDER.sub(put, self.table[key][language])

    def word(self, group: str, value: str, language: str) -> str:
        """Return the word for a value such as ``kind``, ``machine user``; else the value."""
        key = word_key(group, value)
        return self.table[key][language] if key in self.table else value

    def has(self, key: str) -> bool:
        """Return whether there is a text of this key."""
        return key in self.table

    def of_language(self, language: str) -> dict[str, str]:
        """Return every text of a language, unfilled."""
        return {key: texts[language] for key, texts in self.table.items()}

    @property
    def table(self) -> dict[str, dict[str, str]]:
        """Return the file: by key, the text in each language."""
        return _read(self.file_name)


def word_key(group: str, value: str) -> str:
    """Return the key of a word: ``kind`` and ``machine user`` make ``kind_machine_user``."""
    return f"{group}_{value.lower().replace(' ', '_').replace('-', '_')}"


def names_in(template: str) -> frozenset[str]:
    """Return the names of the values that a text takes."""
    return frozenset(found["name"] for found in PLACEHOLDER.finditer(template))


@cache
def _read(file_name: str) -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = read_table(file_name, schema_version=1)["texts"]
    return texts
