"""The one port: sends our requests to our handlers and everything else, untouched, to ministack."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from local.emulator import authorization_details, credential_report, last_accessed
from local.emulator.faults import REQUEST_KINDS, error_of
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
        form = headers.get("content-type", "").startswith(_FORM)
        is_iam = signed is not None and signed.service == "iam"
        if (is_iam or self._emulation.faults.active) and (form or "Action" in query):
            request = await _read(scope, receive)
            operation = request.form.get("Action", "")
            own = self._iam_handler(operation) if is_iam else None
            if own is not None:
                await _respond(send, await asyncio.to_thread(self._guarded, own, request))
                return
            fault = self._fault(operation, "query")
            if fault is not None:
                await _respond(send, fault)
                return
            await self._ministack(scope, _replay(request.body, receive), send)
            return
        target = headers.get("x-amz-target")
        if target and self._emulation.faults.active:
            fault = self._fault(target.rpartition(".")[2], "json")
            if fault is not None:
                await _read(scope, receive)
                await _respond(send, fault)
                return
        await self._ministack(scope, receive, send)

    def _iam_handler(self, operation: str) -> Callable[[Request], Response] | None:
        """Return our own handler of an operation of IAM; None: it is ministack's."""
        # Looked up each time: a reset makes new ones.
        if operation in last_accessed.OPERATIONS:
            return self._emulation.last_accessed.handle
        if operation in credential_report.OPERATIONS:
            return self._emulation.credential_reports.handle
        if operation in authorization_details.OPERATIONS:
            return self._emulation.authorization_details.handle
        return None

    def _fault(self, operation: str, protocol: str) -> Response | None:
        fault = self._emulation.faults.take(operation, REQUEST_KINDS)
        return None if fault is None else error_in_protocol(error_of(fault, protocol), protocol)

    def _guarded(self, handler: Callable[[Request], Response], request: Request) -> Response:
        """Return the handler's answer; a fault of ours is loud: HTTP 500 and the log."""
        try:
            return handler(request)
        except Exception as error:
            logger.exception("%s %s", request.method, request.raw_path)
            text = f"emulator fault: {type(error).__name__}: {error}"
            return Response(500, json.dumps({"message": text}).encode())


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
