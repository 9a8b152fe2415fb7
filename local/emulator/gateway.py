"""The one port: sends our requests to our handlers and everything else, untouched, to ministack."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from local.emulator import (
    alternate_contacts,
    authorization_details,
    credential_report,
    last_accessed,
    service_quotas,
)
from local.emulator.faults import CONFLICT, LOST_ANSWER, REQUEST_KINDS, conflict, error_of
from local.emulator.wire import Request, Response, credential_scope, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from local.emulator.control import ControlPlane
    from local.emulator.emulation import Emulation

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger("pare.gateway")

_CONTROL = "/_pare/"
_MINISTACK_RESET = "/_ministack/reset"
_WITH_OWN_OPERATIONS = frozenset({"cloudformation", "iam"})
_FORM = "application/x-www-form-urlencoded"


class Gateway:
    """The ASGI application the server runs.

    Our handlers block (policy generation reads S3 from this very process): each has a thread.
    """

    def __init__(self, ministack: Application, emulation: Emulation, control: ControlPlane) -> None:
        self._ministack = ministack
        self._emulation = emulation
        self._control = control

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one connection scope."""
        if scope["type"] != "http":
            await self._ministack(scope, receive, send)
            return
        path: str = scope["path"]
        if path.startswith(_CONTROL):
            request = await _read(scope, receive)
            await _respond(
                send, await asyncio.to_thread(self._guarded, self._control.handle, request)
            )
            return
        if path == _MINISTACK_RESET:
            self._emulation.reset()
        headers = _headers(scope)
        query = _query(scope)
        signed = credential_scope(headers, query)
        if signed is not None and signed.service == "access-analyzer":
            request = await _read(scope, receive)
            handler = self._emulation.access_analyzer.handle
            await _respond(send, await asyncio.to_thread(self._guarded, handler, request))
            return
        if signed is not None and path == alternate_contacts.PATH:
            request = await _read(scope, receive)
            contacts = self._emulation.alternate_contacts.handle
            await _respond(send, await asyncio.to_thread(self._guarded, contacts, request))
            return
        if signed is not None and signed.service == service_quotas.SERVICE:
            request = await _read(scope, receive)
            quotas = self._emulation.service_quotas.handle
            await _respond(send, await asyncio.to_thread(self._guarded, quotas, request))
            return
        form = headers.get("content-type", "").startswith(_FORM)
        has_own = signed is not None and signed.service in _WITH_OWN_OPERATIONS
        if (has_own or self._emulation.faults.active) and (form or "Action" in query):
            request = await _read(scope, receive)
            operation = request.form.get("Action", "")
            own = self._own_handler(signed.service, operation) if signed is not None else None
            if own is not None:
                await _respond(send, await asyncio.to_thread(self._guarded, own, request))
                return
            again = _replay(request.body, receive)
            await self._through_faults(operation, "query", scope, again, send)
            return
        target = headers.get("x-amz-target")
        if target and self._emulation.faults.active:
            operation = target.rpartition(".")[2]
            await self._through_faults(operation, "json", scope, receive, send)
            return
        if signed is not None and signed.service == "s3" and self._emulation.faults.active:
            operation = _s3_operation(scope["method"], path, query)
            await self._through_faults(operation, "rest-xml", scope, receive, send)
            return
        await self._ministack(scope, receive, send)

    async def _through_faults(
        self,
        operation: str,
        protocol: str,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        """Hand a request to ministack, unless it meets a fault."""
        fault = self._emulation.faults.take(operation, REQUEST_KINDS)
        if fault is None:
            await self._ministack(scope, receive, send)
            return
        if fault.kind == LOST_ANSWER:
            await self._ministack(scope, receive, _unheard)
            error = error_of(fault, protocol)
        else:
            request = await _read(scope, receive)
            error = conflict(request.body) if fault.kind == CONFLICT else error_of(fault, protocol)
        await _respond(send, error_in_protocol(error, protocol))

    def _own_handler(self, service: str, operation: str) -> Callable[[Request], Response] | None:
        """Return our own handler of an operation of the query protocol; None: it is ministack's."""
        # Looked up each time: a reset makes new ones.
        if service == "cloudformation":
            api = self._emulation.stack_set_api
            return api.handle if api.answers(operation) else None
        if service != "iam":
            return None
        if operation in last_accessed.OPERATIONS:
            return self._emulation.last_accessed.handle
        if operation in credential_report.OPERATIONS:
            return self._emulation.credential_reports.handle
        if operation in authorization_details.OPERATIONS:
            return self._emulation.authorization_details.handle
        return None

    def _guarded(self, handler: Callable[[Request], Response], request: Request) -> Response:
        """Return the handler's answer; a fault of ours is loud: HTTP 500 and the log."""
        try:
            return handler(request)
        except Exception as error:
            logger.exception("%s %s", request.method, request.raw_path)
            text = f"emulator fault: {type(error).__name__}: {error}"
            return Response(500, json.dumps({"message": text}).encode())


async def _unheard(message: Message) -> None:
    """Take an answer that its caller shall not get."""


# Subresources of an object or bucket have operations of their own: no faults for these.
_S3_PLAIN = frozenset({"versionId", "x-id", "response-content-type"})
_S3_OBJECT = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}


def _s3_operation(method: str, path: str, query: dict[str, list[str]]) -> str:
    """Return the operation of a request to S3, "" for those that cannot meet a fault."""
    key = path.lstrip("/").partition("/")[2]
    if method == "GET" and not key and query.get("list-type") == ["2"]:
        return "ListObjectsV2"
    return _S3_OBJECT.get(method, "") if key and set(query) <= _S3_PLAIN else ""


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in scope["headers"]}


def _query(scope: MutableMapping[str, Any]) -> dict[str, list[str]]:
    return parse_qs(scope.get("query_string", b"").decode(), keep_blank_values=True)


async def _read(scope: MutableMapping[str, Any], receive: Receive) -> Request:
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
    return Request(
        method=scope["method"],
        raw_path=raw_path.decode("latin-1"),
        query=_query(scope),
        headers=_headers(scope),
        raw_headers=list(scope["headers"]),
        body=b"".join(chunks),
        client_host=(scope.get("client") or ("127.0.0.1",))[0],
    )


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives the body already read, then what the real one gives."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _respond(send: Send, response: Response) -> None:
    headers = {
        "content-type": response.content_type,
        "content-length": str(len(response.body)),
        **{name.lower(): value for name, value in response.headers.items()},
    }
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": response.body, "more_body": False})
