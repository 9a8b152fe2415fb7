from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from lambdas import runtime
from lambdas.findings.normalize_finding import lambda_handler
from pare.errors import FindingParseError, UnknownFindingError
from pare.runs import REJECTIONS
from tests.recorded import FINDINGS, PREVIEWS, check_event, event, finding

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("name", FINDINGS)
def test_a_recorded_event_becomes_a_finding(name: str, context: Any) -> None:
    found = lambda_handler(event(name), context)

    assert found["kind"] == "finding"
    assert found["finding"] == finding(name).to_json()
    assert (found["preview"], found["call"], found["check"]) == (None, None, None)
    json.dumps(found)


@pytest.mark.parametrize("name", PREVIEWS)
def test_a_preview_is_no_finding(name: str, context: Any) -> None:
    found = lambda_handler(event(name), context)

    assert (found["kind"], found["finding"]) == ("preview", None)
    assert found["preview"] is not None


def test_a_test_event_of_the_doctor_is_no_finding(context: Any) -> None:
    before = time.time()

    found = lambda_handler(check_event(), context)

    assert (found["kind"], found["finding"]) == ("check", None)
    assert found["check"] is not None
    assert found["check"]["region"] == "eu-west-1"
    kept = int(found["check"]["expires_at"]) - before
    assert 24 * 3600 - 1 <= kept <= 24 * 3600 + 60


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (event("access_preview_failed", status="PAUSED"), UnknownFindingError),
        (event("unused_permission", findingType="UnusedQuantumKey"), UnknownFindingError),
        (event("unused_permission", findingId=...), FindingParseError),
        (check_event(check_id=...), FindingParseError),
        ({}, UnknownFindingError),
    ],
)
def test_a_broken_event_is_refused_under_the_name_that_rejects_the_run(
    sent: dict[str, Any], error: type[Exception], context: Any
) -> None:
    with pytest.raises(FindingParseError) as caught:
        lambda_handler(sent, context)

    assert type(caught.value) is error
    assert error.__name__ in REJECTIONS


def test_a_log_line_carries_this_finding_and_not_the_last_one(
    context: Any, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    lambda_handler(event("external_access"), context)
    context.aws_request_id = "second"
    with pytest.raises(FindingParseError):
        lambda_handler({}, context)
    runtime.logger.info("after the second")

    first, second = logged()
    assert first["finding_id"] == finding("external_access").finding_id
    assert second["function_request_id"] == "second"
    assert "finding_id" not in second
