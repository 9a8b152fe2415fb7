from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings import record_archiver
from lambdas.findings.record_archiver import WAITED_FOR, lambda_handler
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import parse_time
from pare.errors import FindingNotRecordedError
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ANALYZER = finding("external_access").analyzer_arn
ANA = "arn:aws:sts::123456789012:assumed-role/Admin/ana"
NOTE = {"by": ANA, "how": "call", "reason": None, "at": "2026-11-22T08:00:00Z", "expires": None}


@pytest.fixture
def findings(tables: Any) -> FindingsTable:
    """The table, with findings f-1 and f-2 of one bucket, and f-3 of another."""
    table = FindingsTable(tables, "Findings")
    for name, bucket in (("f-1", "a"), ("f-2", "a"), ("f-3", "b")):
        record(
            table,
            finding(
                "external_access",
                finding_id=name,
                resource=f"arn:aws:s3:::{bucket}",
                severity="high",
            ),
        )
    return table


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
        execution=f"arn:of:the:execution:of:{found.finding_id}",
        now=NOW,
        terms=terms,
    )


@pytest.fixture(autouse=True)
def after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let it be so long after the call; an hour, unless a test says otherwise."""

    def let(ago: timedelta) -> None:
        now = parse_time(NOTE["at"] or "") + ago
        monkeypatch.setattr(record_archiver, "utc_now", lambda: now)

    let(timedelta(hours=1))
    return let


def note(findings: FindingsTable, finding_id: str, **changes: Any) -> None:
    """Let it be known already who archived a finding."""
    archived: Any = {**NOTE, "by": "somebody", **changes}
    findings.set_archived(
        finding_id, archived, cards=CardsTable(findings.dynamodb, "Cards"), now=NOW
    )


def called(context: Any, **changes: Any) -> Any:
    call: Any = {
        "who": ANA,
        "at": "2026-11-22T08:00:00Z",
        "analyzer_arn": ANALYZER,
        "finding_ids": ["f-1"],
        "resource_arn": None,
        "status": "ARCHIVED",
        "event_name": "UpdateFindings",
        "error_code": None,
        **changes,
    }
    return lambda_handler({"call": call}, context)


def noted(findings: FindingsTable) -> dict[str, Any]:
    """Return who archived what, of the findings of which that is known."""
    return {
        item["finding_id"]: item["archived"]
        for item in findings.all_items()
        if item.get("archived")
    }


def test_who_archived_a_finding_is_noted(findings: FindingsTable, context: Any) -> None:
    assert called(context) == {"noted": 1, "unknown": []}
    assert noted(findings) == {"f-1": NOTE}

    before = findings.get("f-1")
    assert called(context) == {"noted": 0, "unknown": []}, "the event came twice"
    assert findings.get("f-1") == before


def test_all_findings_of_a_resource(findings: FindingsTable, context: Any) -> None:
    result = called(context, finding_ids=[], resource_arn="arn:aws:s3:::a")

    assert result == {"noted": 2, "unknown": []}
    assert noted(findings) == {"f-1": NOTE, "f-2": NOTE}


@pytest.mark.parametrize(
    "asked",
    [{"finding_ids": ["f-3", "f-9"]}, {"finding_ids": [], "resource_arn": "arn:aws:s3:::c"}],
)
def test_a_finding_that_may_still_come_is_waited_for(
    findings: FindingsTable, context: Any, after: Any, asked: dict[str, Any]
) -> None:
    after(WAITED_FOR - timedelta(seconds=1))
    with pytest.raises(FindingNotRecordedError, match=r"f-9|s3:::c"):
        called(context, **asked)

    record(findings, finding("external_access", finding_id="f-9", resource="arn:aws:s3:::c"))

    assert called(context, **asked)["unknown"] == []
    assert noted(findings)["f-9"] == NOTE


def test_a_resource_of_which_nothing_is_recorded_is_named(
    findings: FindingsTable, context: Any
) -> None:
    result = called(context, finding_ids=[], resource_arn="arn:aws:s3:::c")

    assert result == {"noted": 0, "unknown": ["arn:aws:s3:::c"]}


def test_a_finding_that_is_not_recorded_is_named(findings: FindingsTable, context: Any) -> None:
    assert called(context, finding_ids=["f-3", "f-9"]) == {"noted": 1, "unknown": ["f-9"]}
    assert noted(findings) == {"f-3": NOTE}


@pytest.mark.parametrize(
    "changes",
    [
        {"error_code": "AccessDenied"},
        {"error_code": "AccessDenied", "status": "", "analyzer_arn": "", "finding_ids": []},
        {"status": "ACTIVE"},
        {"analyzer_arn": ANALYZER + "Else"},
        {"finding_ids": [], "resource_arn": "arn:aws:s3:::c"},
    ],
)
def test_a_call_that_archived_nothing_of_ours_is_no_note(
    findings: FindingsTable, context: Any, changes: dict[str, Any]
) -> None:
    assert called(context, **changes)["noted"] == 0
    assert noted(findings) == {}


@pytest.mark.parametrize(
    "known",
    [
        # Pare's own call comes as an event too, after the reason is noted.
        {"how": "pare findings archive", "reason": "meant", "at": "2026-11-22T07:59:00Z"},
        {"how": "exemption", "reason": "meant", "at": "2026-11-01T00:00:00Z"},
        {"how": "archive rule pare-x", "reason": "meant", "at": "2026-11-22T07:59:00Z"},
        {"how": "call", "reason": None, "at": "2026-11-22T08:30:00Z"},  # a later one
    ],
)
def test_a_reason_or_a_later_archiver_stays(
    findings: FindingsTable, context: Any, known: dict[str, Any]
) -> None:
    note(findings, "f-1", **known)
    before = noted(findings)

    assert called(context)["noted"] == 0

    assert noted(findings) == before


def test_a_later_call_is_news(findings: FindingsTable, context: Any) -> None:
    note(findings, "f-1", at="2026-11-22T07:00:00Z")

    assert called(context)["noted"] == 1
    assert noted(findings) == {"f-1": NOTE}
