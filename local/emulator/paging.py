"""Pages of a list, and the errors most operations of a REST-JSON service share."""

from __future__ import annotations

from typing import Any

from local.emulator.wire import AwsError

_DEFAULT_PAGE = 100


def page(items: list[Any], member: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return one page of the items; the token is the place of the next one."""
    size = params.get("maxResults") or _DEFAULT_PAGE
    token = params.get("nextToken")
    if token is not None and not (token.isascii() and token.isdigit()):
        raise invalid("nextToken", "The next token is not valid.")
    first = int(token or 0)
    answer: dict[str, Any] = {member: items[first : first + size]}
    if first + size < len(items):
        answer["nextToken"] = str(first + size)
    return answer


def invalid(name: str, message: str) -> AwsError:
    """Return a ValidationException for one field."""
    return AwsError(
        "ValidationException",
        message,
        400,
        reason="fieldValidationFailed",
        fieldList=[{"name": name, "message": message}],
    )
