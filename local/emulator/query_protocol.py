"""Answers of IAM's query protocol: XML, parsed back with botocore's own parser before it is sent.

An answer of ours that AWS could not give is a fault of the emulator.
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

_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
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


def iam_error(error: AwsError) -> AwsError:
    """Return the error as IAM names it."""
    return AwsError(_CODES.get(error.code, error.code), error.message, error.status)


def number(text: str | None, name: str, default: int) -> int:
    """Return a parameter that is a number; raises InvalidInput."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise AwsError("InvalidInput", f"Invalid {name}: {text}", 400)
    return int(text)


def xml_response(
    operation: str, answer: dict[str, Any], may_lack: frozenset[str] = frozenset()
) -> Response:
    """Return the answer of an operation of IAM; required members in ``may_lack`` may be missing."""
    unchecked = {
        name: [each for each in value if not isinstance(each, Checked)]
        if isinstance(value, list)
        else value
        for name, value in answer.items()
    }
    found = _answer_problems(operation, _body(operation, unchecked), may_lack)
    if found:
        text = "; ".join(str(problem) for problem in found)
        logger.error("%s answered what AWS could not: %s", operation, text)
        raise AwsError("ServiceFailure", f"emulator fault in {operation}: {text}", 500)
    return Response(200, _body(operation, answer), "text/xml")


def _body(operation: str, answer: dict[str, Any]) -> bytes:
    return (
        f'<{operation}Response xmlns="{_NAMESPACE}"><{operation}Result>{xml(answer)}'
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


def _answer_problems(operation: str, body: bytes, may_lack: frozenset[str]) -> list[Problem]:
    shape: Any = service_model("iam").operation_model(operation).output_shape
    parsed = create_parser("query").parse({"status_code": 200, "headers": {}, "body": body}, shape)
    parsed.pop("ResponseMetadata", None)
    return [
        problem
        for problem in problems(parsed, shape)
        if not (problem.name in may_lack and problem.message == "is required and missing")
    ]
