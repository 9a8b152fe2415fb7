from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings.archive_finding import lambda_handler
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.errors import AwsCallError, ThrottledError
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
UPDATE = "accessanalyzer:UpdateFindings"
EXEMPTION: Any = {
    "finding_type": "ExternalAccess",
    "principal": {"AWS": "999988887777"},
    "reason": "The auditor reads this.",
    "by": "arn:aws:iam::123456789012:user/ana",
    "at": "2026-11-21T09:00:00Z",
    "expires": "2027-01-01",
}
NOTE = {
    "by": EXEMPTION["by"],
    "how": "exemption",
    "reason": EXEMPTION["reason"],
    "at": EXEMPTION["at"],
    "expires": "2027-01-01",
}


@pytest.fixture
def findings(tables: Any) -> FindingsTable:
    return FindingsTable(tables, "Findings")


def record(findings: FindingsTable, found: Finding) -> None:
    terms: Any = {
        "settle_seconds": 60,
        "remind_after_days": {},
        "digest": "daily",
        "digest_hour": 8,
        "time_zone": "UTC",
    }
    findings.record(
        found,
        cards=CardsTable(findings.dynamodb, "Cards"),
        execution="arn:of:an:execution",
        now=NOW,
        terms=terms,
    )


def archive(found: Finding, context: Any) -> Any:
    return lambda_handler({"finding": found.to_json(), "exemption": EXEMPTION}, context)


def noted(findings: FindingsTable, found: Finding) -> Any:
    item = findings.get(found.finding_id)
    assert item is not None
    return item.get("archived")


def test_it_is_archived_at_its_analyzer_and_noted_why(
    aws: FakeAws, findings: FindingsTable, context: Any
) -> None:
    aws.answer(UPDATE, {})
    found = finding("external_access", severity="high")
    record(findings, found)

    assert archive(found, context) == {"archived": True}

    (call,) = aws.calls
    assert call.region == "us-west-2"
    assert call.parameters["analyzerArn"] == found.analyzer_arn
    assert call.parameters["ids"] == [found.finding_id]
    assert call.parameters["status"] == "ARCHIVED"
    assert noted(findings, found) == NOTE


def test_done_again_nothing_changes(aws: FakeAws, findings: FindingsTable, context: Any) -> None:
    aws.answer(UPDATE, {})
    found = finding("external_access", severity="high")
    record(findings, found)
    archive(found, context)
    before = findings.get(found.finding_id)

    assert archive(found, context) == {"archived": True}

    assert findings.get(found.finding_id) == before


def test_a_finding_of_our_own_is_archived_without_aws(
    aws: FakeAws, findings: FindingsTable, context: Any
) -> None:
    found = finding(source="pare-inventory", analyzer_arn="pare:inventory", severity="low")
    record(findings, found)

    assert archive(found, context) == {"archived": False}

    assert UPDATE not in aws.attempts
    assert aws.calls == []
    assert noted(findings, found) == NOTE


def test_a_finding_that_the_analyzer_has_no_more_is_no_failure(
    aws: FakeAws, findings: FindingsTable, context: Any
) -> None:
    aws.fail(UPDATE, "ResourceNotFoundException", 404)
    found = finding("external_access", severity="high")
    record(findings, found)

    assert archive(found, context) == {"archived": False}


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 403, AwsCallError),
        ("ThrottlingException", 429, ThrottledError),
    ],
)
def test_where_aws_refuses_nothing_is_noted(
    aws: FakeAws, findings: FindingsTable, context: Any, code: str, status: int, error: Any
) -> None:
    aws.fail(UPDATE, code, status)
    found = finding("external_access", severity="high")
    record(findings, found)

    with pytest.raises(error, match=code):
        archive(found, context)

    assert noted(findings, found) is None
