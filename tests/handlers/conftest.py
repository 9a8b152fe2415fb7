"""One step at a time, on an AWS in memory: nothing here opens a connection."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
import botocore.session
import pytest
from moto import mock_aws

from lambdas import runtime
from pare.aws.evidence_store import EvidenceStore
from tests.handlers.fake_aws import (
    BUCKET,
    EXTERNAL_ID,
    HUB,
    MEMBER_ROLE_ARN_TEMPLATE,
    REGION,
    FakeAws,
    Topic,
    create_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a step fail before it counted anything: Powertools warns of it, which is no fault."""
    quiet = pytest.mark.filterwarnings("ignore:No application metrics to publish:UserWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(quiet)


@dataclass
class LambdaContext:
    """What Lambda hands to a handler beside the event."""

    function_name: str = "Step"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:{HUB}:function:Step"
    aws_request_id: str = "00000000-0000-4000-8000-000000000000"
    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@pytest.fixture
def context() -> Any:
    return LambdaContext()


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Let all sessions share botocore's models: a test makes new sessions, and reading them takes
    most of its time."""
    loader = botocore.session.create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda *_: loader)
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **_: object) -> NoReturn:
        pytest.fail(f"A handler test tried to reach the network ({args[-1]!r}): fake the call.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """moto, with fakes beside it; a function starts cold in each test."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "POWERTOOLS_"))]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    _start_cold()
    with mock_aws():
        fake = FakeAws()
        fake.install(monkeypatch)
        yield fake
    _start_cold()


def _start_cold() -> None:
    """Empty what functions keep from one invocation to the next."""
    for name, module in list(sys.modules.items()):
        if name.startswith("lambdas."):
            for kept in list(vars(module).values()):
                if hasattr(kept, "cache_clear") and kept.__module__ == name:
                    kept.cache_clear()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the variables of a function: ``settings(window_days="90")``."""

    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name.upper(), value)

    return set_all


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return the log lines written so far."""
    stream = io.StringIO()
    monkeypatch.setattr(runtime.logger.registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture(autouse=True)
def _environment(settings: Callable[..., None]) -> None:
    """The variables whose values are the same for every function that has them."""
    settings(
        member_role_arn_template=MEMBER_ROLE_ARN_TEMPLATE,
        member_external_id=EXTERNAL_ID,
        owner_tag_keys="owner,team",
        default_owner="security@example.com",
        break_glass_tag="pare:break-glass",
        evidence_bucket_name=BUCKET,
        findings_table_name="Findings",
        cards_table_name="Cards",
        principals_table_name="Principals",
        proposals_table_name="Proposals",
        runs_table_name="Runs",
    )


@pytest.fixture
def evidence(aws: FakeAws) -> EvidenceStore:
    """The evidence bucket, empty."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return EvidenceStore(s3, BUCKET)


@pytest.fixture
def tables(aws: FakeAws) -> Any:
    """The five tables, empty; the value is a DynamoDB client."""
    dynamodb = boto3.client("dynamodb")
    create_table(
        dynamodb, "Findings", "finding_id", index=("by_analyzer", "analyzer_arn", "finding_id")
    )
    create_table(dynamodb, "Cards", "card_id", index=("by_due", "due", "due_at"))
    create_table(dynamodb, "Principals", "account_id", "principal_arn")
    create_table(dynamodb, "Proposals", "principal_arn", "created_at")
    create_table(dynamodb, "Runs", "workflow", "run_id")
    return dynamodb


@pytest.fixture
def people(aws: FakeAws, settings: Callable[..., None]) -> Topic:
    """The topic for people."""
    topic = Topic.create()
    settings(people_topic_arn=topic.arn)
    return topic


@pytest.fixture
def machines(aws: FakeAws, settings: Callable[..., None]) -> Topic:
    """The topic for machines."""
    topic = Topic.create()
    settings(machines_topic_arn=topic.arn)
    return topic
