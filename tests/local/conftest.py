"""One emulated organization for all tests of the session, on a free port, without job delays.

With pytest-xdist (`make test-local`) each worker has its own: the files are in groups, each of
which runs in one worker, one after the other.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from local import process
from tests.local.emulator_fixtures import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


FIRST = "test_doctor"
# They take away what other tests rely on, and what their mends make is new.
LAST = frozenset({"test_doctor_forwarding", "test_doctor_members"})
# Of the files in deployed: the second group, about as long as the first.
SECOND = frozenset(
    {
        "test_cli_inventory",
        FIRST,
        "test_findings_inventory",
        "test_inventory_rerun",
        "test_inventory_scale",
        "test_inventory_truth",
        "test_inventory_workflow",
    }
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the doctor see a deployment before all others, and broken ones after them."""
    items.sort(key=lambda item: (item.path.stem in LAST) - (item.path.stem == FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Let a worker take a whole group at a time."""
    return ByGroup(config, log)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]
    """Three groups: the emulator's own tests, and two of the deployed app."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        if file.parent.name != "deployed":
            return "emulator"
        return "deployed second" if file.stem in SECOND else "deployed first"


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
