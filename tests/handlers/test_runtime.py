from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.runtime import client, read_environment, utc_now
from pare.aws.calls import QUICK_CONFIG

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws


@dataclass(frozen=True, slots=True)
class Environment:
    table_name: str
    window_days: str


def test_variables_are_read_by_the_names_of_the_fields(settings: Any) -> None:
    settings(table_name="Findings", window_days="90", something_else="x")

    assert read_environment(Environment) == Environment("Findings", "90")


def test_a_missing_variable_is_named(settings: Any) -> None:
    settings(table_name="Findings")

    with pytest.raises(KeyError, match="WINDOW_DAYS"):
        read_environment(Environment)


def test_a_client_is_made_once_for_each_service_and_region(aws: FakeAws) -> None:
    assert client("s3") is client("s3")
    assert client("accessanalyzer", "us-east-1") is not client("accessanalyzer", "us-west-2")
    assert client("accessanalyzer", "us-west-2").meta.region_name == "us-west-2"


def test_the_sdk_tries_again_everywhere_but_where_people_are_told(aws: FakeAws) -> None:
    assert client("dynamodb").meta.config.retries["total_max_attempts"] > 1
    assert client("sns").meta.config.retries["total_max_attempts"] == 1


def test_a_quick_client_gives_up_in_seconds(aws: FakeAws) -> None:
    config = client("accessanalyzer", "us-west-2", QUICK_CONFIG).meta.config

    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout <= 15
    assert client("accessanalyzer", "us-west-2").meta.config.read_timeout == 30


def test_now_is_in_utc() -> None:
    assert utc_now().tzinfo is UTC
    assert abs(utc_now() - utc_now()) < timedelta(seconds=5)
