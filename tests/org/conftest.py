"""An emulated organization with Pare deployed in it, of these tests alone."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from local import demo, process
from tests.org import defects
from tests.org.person import Person

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def organization(tmp_path_factory: pytest.TempPathFactory) -> Iterator[defects.Organization]:
    """The organization as it is once everything is deployed, and somebody at a terminal."""
    state_dir = tmp_path_factory.mktemp("organization")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        box = demo.bring_up(state_dir, port=port, watch=demo.Stopwatch(), wait_scale=0.0)
        person = Person.at(box, tmp_path_factory.mktemp("person"))
        yield defects.Organization(box, person)
    finally:
        process.stop(state_dir)
