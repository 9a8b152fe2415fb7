"""A deployed Pare for the doctor to look at: moto's hub account, and answers for what it lacks."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.doctor.context import Examination
from tests.doctor_setup import HOME, setup
from tests.handlers.aws.doctor.hub import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.handlers.fake_aws import FakeAws


@pytest.fixture
def told() -> list[str]:
    """What the doctor told of its progress."""
    return []


@pytest.fixture
def examined(aws: FakeAws, told: list[str]) -> Callable[..., Examination]:
    """Return an examination; ``resources``: logical id with eight more characters -> type, id."""

    def make(
        *,
        resources: dict[str, tuple[str, str]] | None = None,
        outputs: dict[str, str] | None = None,
        template: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Examination:
        examination = Examination(
            session=boto3.Session(region_name=HOME),
            setup=setup(**changes),
            outputs={"PareVersion": "0.7.0"} if outputs is None else outputs,
            now=NOW,
            say=told.append,
            template=template or {},
        )
        if resources is not None:
            vars(examination)["resources"] = resources
        return examination

    return make


@pytest.fixture
def answered(aws: FakeAws) -> Callable[[Callable[[str, dict[str, Any]], Any]], None]:
    """Let the hub's functions answer: given the function's name and what it is asked."""

    def say(answer: Callable[[str, dict[str, Any]], Any]) -> None:
        def make(parameters: dict[str, Any]) -> dict[str, Any]:
            asked = json.loads(parameters["Payload"])["probe"]
            found = answer(parameters["FunctionName"], asked)
            failed = found.pop("_failed", None)
            body = io.BytesIO(json.dumps(found).encode())
            return {
                "StatusCode": 200,
                "Payload": body,
                **({"FunctionError": failed} if failed else {}),
            }

        aws.answer("lambda:Invoke", make)

    return say
