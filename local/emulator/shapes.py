"""The shapes of AWS requests and answers, from botocore's service models.

One checker serves both ways: what a client sends is refused as AWS refuses it, and an answer of
ours that AWS could not give is a fault of the emulator.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import botocore.session

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

    from local.emulator.wire import Request


@dataclass(frozen=True, slots=True)
class Problem:
    """One place where a value does not fit its shape."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class InputError(Exception):
    """A request that does not fit its operation's input shape."""

    def __init__(self, reason: str, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.reason = reason
        self.problems = problems


@cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service."""
    return botocore.session.Session().get_service_model(service)


class RestRouter:
    """The operations of a REST-JSON service by method and path."""

    def __init__(self, service: str) -> None:
        self.model = service_model(service)
        routes = []
        for name in self.model.operation_names:
            operation = self.model.operation_model(name)
            path = operation.http["requestUri"].partition("?")[0]
            pattern = re.sub(
                r"\{([^}+]+)(\+?)\}",
                lambda label: f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})",
                path,
            )
            routes.append((operation.http["method"], re.compile(pattern), operation))
        # The most literal path first: /policy/generation before /policy/{x}.
        self._routes = sorted(routes, key=lambda route: route[1].pattern.count("(?P<"))

    def match(self, request: Request) -> tuple[OperationModel, dict[str, str]] | None:
        """Return the operation and its path labels, or None if there is no such operation."""
        for method, pattern, operation in self._routes:
            found = pattern.fullmatch(request.raw_path)
            if found and method == request.method:
                return operation, {k: unquote(v) for k, v in found.groupdict().items()}
        return None


def parse_rest_json(
    operation: OperationModel, request: Request, labels: dict[str, str]
) -> dict[str, Any]:
    """Return the operation's parameters, timestamps as datetime; raises InputError."""
    shape = operation.input_shape
    if shape is None:
        return {}
    body: dict[str, Any] = {}
    if request.body:
        try:
            body = json.loads(request.body)
        except ValueError as error:
            raise InputError("cannotParse", [Problem("body", f"is not JSON ({error})")]) from error
        if not isinstance(body, dict):
            raise InputError("cannotParse", [Problem("body", "is not a JSON object")])
    values: dict[str, Any] = {}
    found: list[Problem] = []
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        wire_name = member.serialization.get("name", name)
        if location == "uri":
            text = labels.get(wire_name)
        elif location == "querystring":
            text = next(iter(request.query.get(wire_name, [])), None)
        else:
            if body.get(wire_name) is not None:
                values[name] = _from_json(body[wire_name], member, name, found)
            continue
        if text is not None:
            values[name] = _from_text(text, member, name, found)
    found += problems(values, shape)
    if found:
        raise InputError("fieldValidationFailed", found)
    return values


def _from_text(text: str, shape: Any, name: str, found: list[Problem]) -> Any:
    if shape.type_name == "boolean":
        if text not in {"true", "false"}:
            found.append(Problem(name, "must be true or false"))
        return text == "true"
    if shape.type_name in {"integer", "long"}:
        try:
            return int(text)
        except ValueError:
            found.append(Problem(name, "must be a number"))
            return 0
    return _from_json(text, shape, name, found)


def _from_json(value: Any, shape: Any, name: str, found: list[Problem]) -> Any:
    """Return the value, timestamps parsed; what has the wrong type is left to ``problems``."""
    kind = shape.type_name
    if kind == "timestamp":
        try:
            return parse_time(value)
        except ValueError:
            found.append(Problem(name, "is not a timestamp"))
            return datetime.fromtimestamp(0, UTC)
    if kind == "structure" and isinstance(value, dict):
        members = shape.members
        return {
            k: _from_json(v, members[k], f"{name}.{k}", found) if k in members else v
            for k, v in value.items()
            if v is not None
        }
    if kind == "list" and isinstance(value, list):
        return [_from_json(v, shape.member, f"{name}.{i + 1}", found) for i, v in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {k: _from_json(v, shape.value, f"{name}.{k}", found) for k, v in value.items()}
    return value


def parse_time(value: Any) -> datetime:
    """Return a timestamp given as ISO 8601 text or as seconds; raises ValueError."""
    if isinstance(value, datetime):
        parsed = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        parsed = datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str):
        parsed = datetime.fromisoformat(value)
    else:
        raise ValueError(f"{value!r} is not a timestamp")
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    """Return the moment as AWS writes it: 2026-01-31T00:00:00Z, with milliseconds if any."""
    text = moment.astimezone(UTC).isoformat(
        timespec="milliseconds" if moment.microsecond >= 1000 else "seconds"
    )
    return text.replace("+00:00", "Z")


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (datetime,),
    "blob": (bytes, str),
}


def problems(value: Any, shape: Any, name: str = "") -> list[Problem]:
    """Return every place where the value does not fit the shape; none if AWS could send it."""
    kind = shape.type_name
    right_type = isinstance(value, _PYTHON_TYPES[kind])
    if isinstance(value, bool) and kind != "boolean":
        right_type = False
    if not right_type:
        return [Problem(name, f"is not a {kind}")]
    if kind == "structure":
        return _structure_problems(value, shape, name)
    found = _limit_problems(value, shape, name)
    if kind == "list":
        for index, item in enumerate(value):
            found += problems(item, shape.member, f"{name}.{index + 1}")
    elif kind == "map":
        for key, item in value.items():
            found += problems(key, shape.key, f"{name}.{key}")
            found += problems(item, shape.value, f"{name}.{key}")
    return found


def _structure_problems(value: dict[str, Any], shape: Any, name: str) -> list[Problem]:
    prefix = f"{name}." if name else ""
    found = [
        Problem(f"{prefix}{member}", "is required and missing")
        for member in shape.required_members
        if member not in value
    ]
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        found.append(Problem(name, f"is a union and has {len(value)} members"))
    for member, item in value.items():
        if member not in shape.members:
            found.append(Problem(f"{prefix}{member}", "is not a member of the shape"))
        else:
            found += problems(item, shape.members[member], f"{prefix}{member}")
    return found


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """Return a pattern of a model; None for one in Java's own words, such as ``\\p{L}`` of tags."""
    try:
        return re.compile(text)
    except re.error:
        return None


def _limit_problems(value: Any, shape: Any, name: str) -> list[Problem]:
    found = []
    metadata = shape.metadata
    if "enum" in metadata and value not in metadata["enum"]:
        found.append(Problem(name, f"must be one of {', '.join(metadata['enum'])}"))
    pattern = _pattern(metadata["pattern"]) if "pattern" in metadata else None
    if pattern is not None and not pattern.fullmatch(value):
        found.append(Problem(name, f"must match the pattern {metadata['pattern']}"))
    size = value if isinstance(value, int | float) else None
    if isinstance(value, str | list | dict):
        size = len(value)
    if size is not None:
        if "min" in metadata and size < metadata["min"]:
            found.append(Problem(name, f"must be at least {metadata['min']}"))
        if "max" in metadata and size > metadata["max"]:
            found.append(Problem(name, f"must be at most {metadata['max']}"))
    return found


def to_json(value: Any) -> Any:
    """Return the value as JSON can hold it: datetimes as ISO 8601 text."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, dict):
        return {k: to_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [to_json(v) for v in value]
    return value
