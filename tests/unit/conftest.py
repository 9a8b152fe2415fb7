"""Unit tests see no network: they finish in seconds, anywhere, and say the same each time."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test at its first attempt to open a connection or look up a host name."""

    def refuse(*args: object, **_: object) -> NoReturn:
        # pytest.fail raises no Exception, so code under test cannot swallow it.
        pytest.fail(
            f"A unit test tried to reach the network ({args[-1]!r}). tests/unit is pure Pare: use "
            "a fake, or move the test to tests/handlers or tests/local."
        )

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
