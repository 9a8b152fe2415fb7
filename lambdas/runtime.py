"""What every function shares: logger, metrics, cached clients, its environment."""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from botocore.config import Config

from pare.aws.calls import CLIENT_CONFIG

if TYPE_CHECKING:
    from dataclasses import Field
    from typing import ClassVar, Protocol

    class Dataclass(Protocol):
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    EnvironmentT = TypeVar("EnvironmentT", bound=Dataclass)

SERVICE = "pare"
# The level comes from POWERTOOLS_LOG_LEVEL, which infra/lambda_function.py sets.
logger = Logger(service=SERVICE)
metrics = Metrics(namespace="Pare", service=SERVICE)

# People are told at most once: after a lost answer the SDK would send the message again.
CONFIG_WITHOUT_RETRIES = CLIENT_CONFIG.merge(Config(retries={"total_max_attempts": 1}))


@cache
def client(service: str, region: str | None = None, config: Config = CLIENT_CONFIG) -> Any:
    """Return the function's own client of a service, made once."""
    if service == "sns":
        config = CONFIG_WITHOUT_RETRIES
    return boto3.client(service, region_name=region, config=config)  # type: ignore[call-overload]


def read_environment(environment: type[EnvironmentT]) -> EnvironmentT:
    """Return a frozen dataclass of texts from the variables named as its fields, in capitals.

    Raises KeyError, naming the variable, where one is missing.
    """
    return environment(**{each.name: os.environ[each.name.upper()] for each in fields(environment)})


def count(name: str, value: int = 1, **dimensions: str) -> None:
    """Add a CloudWatch metric in the namespace Pare; the handler's ``log_metrics`` sends it."""
    for dimension, text in dimensions.items():
        metrics.add_dimension(name=dimension, value=text)
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
