from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings.notify_preview import lambda_handler
from pare.errors import AwsServiceError, ThrottledError
from pare.findings.normalize import normalize
from tests.recorded import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.handlers.fake_aws import FakeAws, Topic

WHEN = datetime(2020, 2, 20, tzinfo=UTC)
LIST = "accessanalyzer:ListAccessPreviewFindings"


def preview(status: str) -> Any:
    return normalize(event(f"access_preview_{status.lower()}"), WHEN)["preview"]


def found(finding_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": finding_id,
        "changeType": "NEW",
        "status": "ACTIVE",
        "resource": "arn:aws:s3:::amzn-s3-demo-bucket",
        "resourceType": "AWS::S3::Bucket",
        "resourceOwnerAccount": "111122223333",
        "createdAt": WHEN,
        "principal": {"AWS": "999988887777"},
        "action": ["s3:GetObject"],
        "condition": {},
        "isPublic": False,
        **more,
    }


@pytest.fixture(autouse=True)
def _language(settings: Callable[..., None], tables: Any) -> None:
    settings(language="en")


def told(status: str, context: Any) -> Any:
    return lambda_handler({"preview": preview(status)}, context)


def test_access_that_would_be_opened_is_told_once(
    aws: FakeAws, people: Topic, machines: Topic, context: Any
) -> None:
    aws.answer(
        LIST,
        lambda asked: (
            {"findings": [found("f-1")], "nextToken": "a"}
            if "nextToken" not in asked
            else {"findings": [found("f-2", changeType="CHANGED", principal={"AWS": "*"})]}
        ),
    )

    assert told("COMPLETED", context) == {"told": True, "finding_count": 2}
    assert told("COMPLETED", context) == {"told": False, "finding_count": 2}, "a retried step"

    (message,) = people.messages()
    assert message["MessageAttributes"]["kind"]["Value"] == "preview"
    assert "999988887777" in message["Message"]
    assert len(machines.messages()) == 2
    assert {call.region for call in aws.calls} == {"us-west-2"}
    assert aws.called(LIST)[0] == {
        "analyzerArn": preview("COMPLETED")["analyzer_arn"],
        "accessPreviewId": preview("COMPLETED")["preview_id"],
    }


@pytest.mark.parametrize(
    "findings",
    [
        [],
        [found("f-1", changeType="UNCHANGED")],
        [found("f-1", changeType="CHANGED", status="RESOLVED")],  # access taken away
        [found("f-1", status="ARCHIVED")],  # access that is meant
    ],
)
def test_a_clean_preview_is_for_machines(
    aws: FakeAws, people: Topic, machines: Topic, context: Any, findings: list[dict[str, Any]]
) -> None:
    aws.answer(LIST, {"findings": findings})

    assert told("COMPLETED", context) == {"told": False, "finding_count": 0}

    assert people.messages() == []
    (message,) = machines.messages()
    assert json.loads(message["Message"])["preview"]["status"] == "COMPLETED"


def test_what_could_not_be_judged_is_not_clean(
    aws: FakeAws, people: Topic, machines: Topic, context: Any
) -> None:
    aws.answer(LIST, {"findings": [found("f-1", error="ACCESS_DENIED", principal={}, action=[])]})

    assert told("COMPLETED", context) == {"told": True, "finding_count": 1}
    assert len(people.messages()) == 1


def test_a_preview_that_failed_is_told_without_asking(
    aws: FakeAws, people: Topic, machines: Topic, context: Any
) -> None:
    assert told("FAILED", context) == {"told": True, "finding_count": 0}
    assert told("FAILED", context)["told"] is False

    assert len(people.messages()) == 1
    assert aws.calls == []


def test_a_preview_that_begins_is_for_machines(
    aws: FakeAws, people: Topic, machines: Topic, context: Any
) -> None:
    assert told("CREATING", context) == {"told": False, "finding_count": 0}

    assert people.messages() == []
    assert len(machines.messages()) == 1
    assert aws.calls == []


@pytest.mark.parametrize(
    ("code", "status"), [("AccessDeniedException", 403), ("ResourceNotFoundException", 404)]
)
def test_a_preview_that_cannot_be_read_is_not_clean(
    aws: FakeAws, people: Topic, machines: Topic, context: Any, code: str, status: int
) -> None:
    aws.fail(LIST, code, status)

    assert told("COMPLETED", context) == {"told": True, "finding_count": None}
    assert len(people.messages()) == 1


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 429, ThrottledError),
        ("InternalServerException", 500, AwsServiceError),
    ],
)
def test_what_is_worth_another_try_fails_the_step_before_anybody_is_told(
    aws: FakeAws, people: Topic, machines: Topic, context: Any, code: str, status: int, error: Any
) -> None:
    aws.fail(LIST, code, status)

    with pytest.raises(error):
        told("COMPLETED", context)

    assert people.messages() == machines.messages() == []
