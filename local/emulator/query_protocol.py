"""The query protocol: parameters from a form, and answers in XML.

An answer is parsed back with botocore's own parser before it is sent: one of ours that AWS could
not give is a fault of the emulator.
"""

from __future__ import annotations

import base64
import logging
import uuid
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from botocore.parsers import create_parser

from local.emulator.shapes import Problem, iso, problems, service_model
from local.emulator.wire import AwsError, Response

logger = logging.getLogger("pare.query_protocol")

_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "cloudformation": "http://cloudformation.amazonaws.com/doc/2010-05-15/",
}
_CODES = {
    "AccessDeniedException": "AccessDenied",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ExpiredTokenException": "ExpiredToken",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A value that was checked already, in an answer of its own, as the protocol writes it."""

    xml: str


def query_error(error: AwsError) -> AwsError:
    """Return the error as the services of this protocol name it."""
    return AwsError(_CODES.get(error.code, error.code), error.message, error.status)


def number(text: str | None, name: str, default: int) -> int:
    """Return a parameter that is a number; raises InvalidInput."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise AwsError("InvalidInput", f"Invalid {name}: {text}", 400)
    return int(text)


def parameters(operation: Any, form: dict[str, str]) -> dict[str, Any]:
    """Return the parameters of an operation (botocore's model of it) that a form carries.

    Lists are ``Name.member.1``, members of structures ``Name.Member``; an empty list is ``Name=``.
    """
    found = _value(operation.input_shape, "", form)
    return found if isinstance(found, dict) else {}


def _value(shape: Any, name: str, form: dict[str, str]) -> Any:
    """Return the value at a name; None where the form has none."""
    inside = f"{name}." if name else ""
    if shape.type_name == "structure":
        members = {
            member: _value(each, f"{inside}{member}", form)
            for member, each in shape.members.items()
        }
        return {member: each for member, each in members.items() if each is not None} or None
    if shape.type_name == "list":
        items: list[Any] = []
        while (item := _value(shape.member, f"{inside}member.{len(items) + 1}", form)) is not None:
            items.append(item)
        return items if items or name in form else None
    text = form.get(name)
    if text is None or shape.type_name == "string":
        return text
    if shape.type_name == "boolean":
        return text.lower() == "true"
    if shape.type_name == "integer":
        return number(text, name, 0)
    raise TypeError(f"{name} is a {shape.type_name}, which no operation of ours takes")


def xml_response(
    operation: str,
    answer: dict[str, Any],
    may_lack: frozenset[str] = frozenset(),
    *,
    service: str = "iam",
) -> Response:
    """Return the answer of an operation; required members in ``may_lack`` may be missing."""
    unchecked = {
        name: [each for each in value if not isinstance(each, Checked)]
        if isinstance(value, list)
        else value
        for name, value in answer.items()
    }
    found = _answer_problems(service, operation, _body(service, operation, unchecked), may_lack)
    if found:
        text = "; ".join(str(problem) for problem in found)
        logger.error("%s answered what AWS could not: %s", operation, text)
        raise AwsError("ServiceFailure", f"emulator fault in {operation}: {text}", 500)
    return Response(200, _body(service, operation, answer), "text/xml")


def _body(service: str, operation: str, answer: dict[str, Any]) -> bytes:
    return (
        f'<{operation}Response xmlns="{_NAMESPACES[service]}"><{operation}Result>{xml(answer)}'
        f"</{operation}Result><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId>"
        f"</ResponseMetadata></{operation}Response>"
    ).encode()


def xml(value: Any) -> str:
    """Return a value as the query protocol writes it: members by name, lists as ``member``."""
    if isinstance(value, Checked):
        return value.xml
    if isinstance(value, dict):
        return "".join(f"<{name}>{xml(item)}</{name}>" for name, item in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{xml(item)}</member>" for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return escape(str(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return iso(value)


def _answer_problems(
    service: str, operation: str, body: bytes, may_lack: frozenset[str]
) -> list[Problem]:
    shape: Any = service_model(service).operation_model(operation).output_shape
    parsed = create_parser("query").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    parsed.pop("ResponseMetadata", None)
    return [
        problem
        for problem in problems(parsed, shape)
        if not (problem.name in may_lack and problem.message == "is required and missing")
    ]
