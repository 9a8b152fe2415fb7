"""What passes between the gateway and the handlers: requests, responses and AWS errors."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

_CREDENTIAL_SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, read whole."""

    method: str
    raw_path: str  # as it was sent: a label with %2F in it is one label
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes
    client_host: str = "127.0.0.1"

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a query-protocol request, from the query string and the body."""
        parameters = {name: values[0] for name, values in self.query.items()}
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)
            parameters.update({name: values[0] for name, values in body.items()})
        return parameters


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CredentialScope:
    """What a SigV4 signature says it is for."""

    access_key_id: str
    region: str
    service: str


class AwsError(Exception):
    """An error as AWS answers it: code, HTTP status, message and the members of its shape."""

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def access_denied(message: str) -> AwsError:
    """Return the denial of a REST-JSON service."""
    return AwsError("AccessDeniedException", message, 403)


def credential_scope(
    headers: dict[str, str], query: dict[str, list[str]]
) -> CredentialScope | None:
    """Return the signature's scope, or None for a request without a SigV4 signature."""
    found = _CREDENTIAL_SCOPE.search(headers.get("authorization", ""))
    if found:
        return CredentialScope(*found.groups())
    presigned = query.get("X-Amz-Credential", [""])[0].split("/")
    if len(presigned) == 5:
        return CredentialScope(presigned[0], presigned[2], presigned[3])
    return None


def json_response(payload: dict[str, Any], status: int = 200) -> Response:
    """Return a JSON answer with sorted keys."""
    return Response(status, json.dumps(payload, sort_keys=True).encode())


def error_in_protocol(error: AwsError, protocol: str) -> Response:
    """Return the error as the protocol has it: json, rest-json, query or rest-xml."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    if protocol in {"json", "rest-json"}:
        headers["x-amzn-ErrorType"] = error.code
        payload = {"message": error.message, **error.members}
        if protocol == "json":
            payload["__type"] = error.code
        return Response(error.status, json.dumps(payload).encode(), headers=headers)
    code, message = escape(error.code), escape(error.message)
    if protocol == "rest-xml":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    else:
        sender = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{sender}</Type><Code>{code}</Code>"
            f"<Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(error.status, body.encode(), "text/xml", headers)
