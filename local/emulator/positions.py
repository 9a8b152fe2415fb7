"""A JSON text with the place of every element, for ValidatePolicy's locations."""

from __future__ import annotations

import json
import re
from typing import Any

Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class PositionError(Exception):
    """The text is not JSON; ``position`` is where it stops being so."""

    def __init__(self, position: dict[str, int]) -> None:
        super().__init__(f"not JSON at offset {position['offset']}")
        self.position = position


class Positions:
    """The parsed value, and the start and end of every element by its path."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans: dict[Path, tuple[int, int]] = {}
        try:
            self.value = json.loads(text)
        except json.JSONDecodeError as error:
            raise PositionError(self._position(error.pos)) from error
        self._scan(self._skip(0), ())

    def offset(self, path: Path) -> int:
        """Return where the element, or the nearest one around it, starts."""
        return self._nearest(path)[0]

    def span(self, path: Path) -> dict[str, dict[str, int]]:
        """Return where the element, or the nearest one around it, starts and ends."""
        start, end = self._nearest(path)
        return {"start": self._position(start), "end": self._position(end)}

    def _nearest(self, path: Path) -> tuple[int, int]:
        while path not in self._spans:
            path = path[:-1]
        return self._spans[path]

    def _position(self, offset: int) -> dict[str, int]:
        before = self._text[:offset]
        line = before.count("\n") + 1
        column = offset - (before.rfind("\n") + 1)
        return {"line": line, "column": column, "offset": offset}

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return at if found is None else found.end()

    def _scan(self, at: int, path: Path) -> int:
        """Note the span of the element that starts here and of all within; return where it ends."""
        opening = self._text[at]
        if opening not in "{[":
            _, end = _DECODER.raw_decode(self._text, at)
        else:
            end = self._scan_members(at, path, is_object=opening == "{")
        self._spans[path] = (at, end)
        return end

    def _scan_members(self, at: int, path: Path, *, is_object: bool) -> int:
        place = self._skip(at + 1)
        index = 0
        while self._text[place] not in "}]":
            key: Any = index
            if is_object:
                key, place = _DECODER.raw_decode(self._text, place)
                place = self._skip(self._skip(place) + 1)  # past the colon
            place = self._skip(self._scan(place, (*path, key)))
            index += 1
            if self._text[place] == ",":
                place = self._skip(place + 1)
        return place + 1
