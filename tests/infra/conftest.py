"""All stacks, synthesized once a session for each partition."""

from __future__ import annotations

import os

# Before anything loads CDK's JavaScript, which complains about Node 20 and works with it. The value
# is the major versions not to complain about.
os.environ["JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION"] = "20"

from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.infra.synthesis import PARTITIONS, settings_in, synthesize

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.synthesis import Synthesis, Template


@pytest.fixture(scope="session")
def synthesis_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Synthesis]:
    """Return a function that returns all stacks of a partition, synthesized at its first call."""

    @cache
    def in_partition(partition: str) -> Synthesis:
        folder = tmp_path_factory.mktemp(partition)
        return synthesize(settings_in(partition, folder), folder / "out")

    return in_partition


@pytest.fixture(scope="session")
def synthesis(synthesis_in: Callable[[str], Synthesis]) -> Synthesis:
    """All stacks with the settings of config/pare.yaml."""
    return synthesis_in("aws")


@pytest.fixture(scope="session", params=PARTITIONS)
def anywhere(request: pytest.FixtureRequest, synthesis_in: Callable[[str], Synthesis]) -> Synthesis:
    """All stacks, in one partition after the other."""
    return synthesis_in(request.param)


@pytest.fixture(scope="session")
def pipeline(synthesis: Synthesis) -> Template:
    """The template of ParePipeline."""
    return synthesis.pipeline


@pytest.fixture(scope="session")
def storage(synthesis: Synthesis) -> Template:
    """The template of PareStorage."""
    return synthesis.storage


@pytest.fixture(scope="session")
def member(synthesis: Synthesis) -> Template:
    """The template of PareMember."""
    return synthesis.member


@pytest.fixture(scope="session")
def region(synthesis: Synthesis) -> Template:
    """The template of PareRegion of the other Region."""
    return synthesis.region
