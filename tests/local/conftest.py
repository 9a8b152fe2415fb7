"""One emulated organization for all tests of the session, on a free port, without job delays."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from local import process
from tests.local.emulator_fixtures import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A running emulator whose jobs end as soon as their work is done."""
    state_dir = tmp_path_factory.mktemp("emulator")
    started = process.start(state_dir, free_port(), wait_scale=0.0)
    yield started
    process.stop(state_dir)


@pytest.fixture(scope="session")
def box(emulator: Emulator) -> Box:
    """The emulated organization of the emulator's own tests: four accounts and a trail."""
    return build(emulator)


@pytest.fixture
def settings(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator, whose settings and faults are put back after the test."""
    before = emulator.control("state")["settings"]
    yield emulator
    emulator.control("settings", before)
    emulator.control("faults", method="DELETE")
