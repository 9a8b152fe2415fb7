"""Fields of an event, each checked as little trusted: what is not as documented is refused by name.

Each raises FindingParseError, whose text shows at most 100 characters of what was sent. Most take
the object and the key.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from pare.clock import format_time, parse_time
from pare.errors import FindingParseError

if TYPE_CHECKING:
    from collections.abc import Mapping

# The longest ARN IAM takes is 2,048 characters; so is a DynamoDB partition key, in bytes.
TEXT_LIMIT = 2_048
# A key of DynamoDB and a part of names of ours: printable ASCII without a space. AWS sends UUIDs.
_ID = re.compile(r"[!-~]{1,200}")
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,63}")
_COUNT_LIMIT = 10**9
_VALUES_LIMIT = 50_000  # characters of JSON: what a state can carry, five times over
_VALUES_DEPTH = 4


def check_json(event: object) -> None:
    """Raise FindingParseError for what can be no JSON text in UTF-8, or is nested too deeply."""
    try:
        json.dumps(event, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:  # lone surrogates are a ValueError
        raise FindingParseError(f"the event is not JSON in UTF-8: {type(error).__name__}") from None


def shown(value: object) -> str:
    """Return a value from outside for an error message: as JSON, at most 100 characters."""
    text_ = json.dumps(value, default=str)
    return text_ if len(text_) <= 100 else text_[:97] + "..."


def text(fields: Mapping[str, Any], key: str) -> str:
    """Return a text that is not empty."""
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise FindingParseError(f"{key} is missing or not a text: {shown(value)}")
    if len(value) > TEXT_LIMIT:
        raise FindingParseError(f"{key} is longer than {TEXT_LIMIT:,} characters: {shown(value)}")
    return value


def optional_text(fields: Mapping[str, Any], key: str) -> str | None:
    """Return a text, or None where none was sent."""
    return text(fields, key) if fields.get(key) is not None else None


def one_of(fields: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> Any:
    """Return a text that is one of those allowed."""
    value = text(fields, key)
    if value not in allowed:
        raise FindingParseError(f"{key} is none of {', '.join(allowed)}: {shown(value)}")
    return value


def identifier(fields: Mapping[str, Any], key: str) -> str:
    """Return an id: printable ASCII without a space, at most 200 characters."""
    value = text(fields, key)
    if not _ID.fullmatch(value):
        raise FindingParseError(f"{key} is not an id: {shown(value)}")
    return value


def alternatives(value: str) -> tuple[str, ...]:
    """Return the alternatives in a value of a policy: mostly one, sometimes a list as JSON."""
    if value.startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            return (value,)
        if isinstance(listed, list) and listed:
            return tuple(each if isinstance(each, str) else json.dumps(each) for each in listed)
    return (value,)


def is_account_id(value: object) -> bool:
    """Return whether a value is twelve digits."""
    return isinstance(value, str) and _ACCOUNT_ID.fullmatch(value) is not None


def account_id(fields: Mapping[str, Any], key: str) -> str:
    """Return an account id: it becomes part of the ARN of the role to enter."""
    value = text(fields, key)
    if not is_account_id(value):
        raise FindingParseError(f"{key} is not an account id: {shown(value)}")
    return value


def optional_account_id(fields: Mapping[str, Any], key: str) -> str | None:
    """Return an account id, or None where none was sent."""
    return account_id(fields, key) if fields.get(key) is not None else None


def region(value: str) -> str:
    """Return a Region: it becomes part of a host name."""
    if not _REGION.fullmatch(value):
        raise FindingParseError(f"not a Region: {shown(value)}")
    return value


def flag(fields: Mapping[str, Any], key: str) -> bool | None:
    """Return true or false, or None where neither was sent."""
    value = fields.get(key)
    if value is not None and not isinstance(value, bool):
        raise FindingParseError(f"{key} is neither true nor false: {shown(value)}")
    return value


def time(fields: Mapping[str, Any], key: str) -> str:
    """Return a time as Pare writes it."""
    value = text(fields, key)
    try:
        return format_time(parse_time(value))
    except ValueError as error:
        raise FindingParseError(f"{key} is not a time: {shown(value)}") from error


def optional_time(fields: Mapping[str, Any], key: str) -> str | None:
    """Return a time as Pare writes it, or None where none was sent."""
    return time(fields, key) if fields.get(key) is not None else None


def count(fields: Mapping[str, Any], key: str) -> int | None:
    """Return a count, or None where none was sent."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_LIMIT:
        raise FindingParseError(f"{key} is not a count: {shown(value)}")
    return value


def texts(fields: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return texts, sorted; none where none were sent."""
    value = fields.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FindingParseError(f"{key} is not a list of texts: {shown(value)}")
    return tuple(sorted(value))


def pairs(fields: Mapping[str, Any], key: str) -> tuple[tuple[str, str], ...]:
    """Return names and texts, sorted; a value that is no text as JSON."""
    return tuple(
        (name, each if isinstance(each, str) else json.dumps(each, sort_keys=True))
        for name, each in sorted(mapping(fields, key).items())
    )


def mapping(fields: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object; empty where none was sent."""
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FindingParseError(f"{key} is not an object: {shown(value)}")
    if not all(isinstance(name, str) for name in value):
        raise FindingParseError(f"{key} has a name that is no text: {shown(value)}")
    return value


def values(fields: Mapping[str, Any], key: str) -> tuple[tuple[str, Any], ...]:
    """Return an object of plain values, bounded in size and depth, sorted by name."""
    found = mapping(fields, key)
    if not _is_plain(found, _VALUES_DEPTH) or len(json.dumps(found)) > _VALUES_LIMIT:
        raise FindingParseError(f"{key} is too large, or no plain value: {shown(found)}")
    return tuple(sorted(found.items()))


def _is_plain(value: object, depth: int) -> bool:
    """Return whether a table can hold a value: numbers are bounded, nothing is nested deeply."""
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) < 1e30
    if depth == 0:
        return False
    if isinstance(value, list):
        return all(_is_plain(each, depth - 1) for each in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v, depth - 1) for k, v in value.items())
    return False
