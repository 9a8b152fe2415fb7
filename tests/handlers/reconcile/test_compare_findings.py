from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.reconcile import compare_findings
from lambdas.reconcile.compare_findings import Output, lambda_handler
from pare.errors import ThrottledError
from pare.findings.model import Finding
from pare.findings.state import how_ended
from tests.handlers.reconcile.conftest import EXECUTION, recorded

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws
    from tests.handlers.reconcile.conftest import Analyzer, Analyzers, Tables

LIST = "accessanalyzer:ListFindingsV2"
GET = "accessanalyzer:GetFindingV2"


@pytest.fixture
def analyzer(analyzers: Analyzers) -> Analyzer:
    return analyzers.all[0]


def compare(analyzer: Analyzer, context: Any) -> Output:
    output: Output = lambda_handler({"analyzer": analyzer.item(), "execution": EXECUTION}, context)
    return output


def brought_in(evidence: EvidenceStore, output: Output) -> dict[str, Finding]:
    rows = [row for ref in output["differences"] for row in evidence.get_ndjson_gz(ref)]
    return {row["finding_id"]: Finding.from_json(row) for row in rows}


def test_where_the_table_is_as_the_analyzer_nothing_is_brought_in(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    for name in "abc":
        analyzer.plant(name)
        both.record(recorded(analyzer, name))

    output = compare(analyzer, context)

    assert output == {"differences": [], "counts": {"listed": 3}, "error": None}


def test_what_events_missed_is_brought_in(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    later = datetime(2026, 11, 21, 8, tzinfo=UTC)
    analyzer.plant("missing")
    analyzer.plant("closed", "RESOLVED", updatedAt=later)
    analyzer.plant("archived", "ARCHIVED", updatedAt=later)
    analyzer.plant("same")
    for name in ("closed", "archived", "same"):
        both.record(recorded(analyzer, name))

    output = compare(analyzer, context)

    found = brought_in(evidence, output)
    assert {each: one.status for each, one in found.items()} == {
        "missing": "ACTIVE", "closed": "RESOLVED", "archived": "ARCHIVED",
    }  # fmt: skip
    assert found["missing"].analyzer_arn == analyzer.arn
    assert output["counts"] == {"listed": 4, "missing": 1, "newer": 2}
    for finding in found.values():
        both.record(finding, execution="healed")
    assert compare(analyzer, context)["differences"] == []  # and not each day again


def test_what_is_gone_is_closed_and_what_was_only_not_listed_is_not(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    for name in ("gone", "hidden"):
        both.record(recorded(analyzer, name, actions=("s3:GetObject",)))
    analyzer.plant("hidden")
    aws.mend(LIST)
    aws.answer(LIST, {"findings": []})

    output = compare(analyzer, context)

    (gone,) = brought_in(evidence, output).values()
    assert (gone.finding_id, how_ended(gone)) == ("gone", "DELETED")
    assert gone.actions == ("s3:GetObject",)  # what the message says of it
    assert output["counts"] == {"gone": 1, "not_listed_but_there": 1}
    both.record(gone, execution="healed")
    assert compare(analyzer, context)["differences"] == []


def test_an_analyzer_made_again_under_its_arn_closes_nothing_of_the_earlier_one(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    both.record(recorded(analyzer, "earlier"))  # of the 20th
    analyzer.created_at = "2026-11-22T08:30:00Z"
    both.record(recorded(analyzer, "later", created_at="2026-11-22T08:45:00Z"))

    output = compare(analyzer, context)  # half an hour later: it may be scanning

    assert output["differences"] == []
    assert output["counts"] == {"not_listed_yet": 2}
    assert "younger than a day" in str(output["error"])
    assert aws.called(GET) == []

    analyzer.created_at = "2026-11-21T08:30:00Z"
    output = compare(analyzer, context)

    ended = {each: how_ended(one) for each, one in brought_in(evidence, output).items()}
    assert ended == {"earlier": "UNWATCHED", "later": "DELETED"}
    assert output["counts"] == {"gone": 1, "gone_with_an_earlier_analyzer": 1}


def test_what_an_event_called_deleted_while_nobody_could_tell_is_closed(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    """As an error finding whose cause was mended, while the analyzer could not be asked for."""
    for name in ("error", "earlier"):
        created_at = "2026-11-20T08:00:00Z" if name == "error" else "2025-12-31T23:59:59Z"
        found = recorded(analyzer, name, error="ACCESS_DENIED", created_at=created_at)
        both.record(found)
        both.record(replace(found, is_deleted=True), execution="deleted")

    output = compare(analyzer, context)

    (gone,) = brought_in(evidence, output).values()
    assert (gone.finding_id, how_ended(gone)) == ("error", "DELETED")
    assert output == {**output, "counts": {"gone": 1}, "error": None}
    assert [asked["id"] for asked in aws.called(GET)] == ["error"]
    both.record(gone, execution="healed")
    assert compare(analyzer, context)["differences"] == []
    assert len(aws.called(GET)) == 1  # and not each day again


def test_a_list_that_fails_closes_nothing(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    both.record(recorded(analyzer, "open"))
    aws.mend(LIST)
    aws.fail(LIST, "AccessDeniedException", 403)

    output = compare(analyzer, context)

    assert output["differences"] == []
    assert "AWS's own words" in str(output["error"])
    assert aws.called(GET) == []


def test_a_list_that_breaks_off_brings_in_what_it_had_and_closes_nothing(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(compare_findings, "PART", 1)
    both.record(recorded(analyzer, "open"))
    for name in ("one", "two", "three"):
        analyzer.plant(name)
    aws.mend(LIST)
    aws.fail(LIST, "AccessDeniedException", 403, when=lambda asked: "nextToken" in asked)
    aws.answer(LIST, {"findings": [], "nextToken": "2"})

    output = compare(analyzer, context)

    assert output["differences"] == []
    assert output["error"] is not None
    assert aws.called(GET) == []


@pytest.mark.parametrize(("code", "status"), [("ThrottlingException", 429)])
def test_what_passes_is_tried_again_by_the_workflow(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables,
    code: str, status: int,
) -> None:  # fmt: skip
    aws.mend(LIST)
    aws.fail(LIST, code, status)
    with pytest.raises(ThrottledError):
        compare(analyzer, context)


def test_what_is_recorded_while_the_list_is_read_has_not_vanished(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    """The table is read first: an event that arrives after that is not in what is compared."""

    def meanwhile(_: dict[str, Any]) -> dict[str, Any]:
        both.record(recorded(analyzer, "new"))
        return {"findings": []}

    aws.mend(LIST)
    aws.answer(LIST, meanwhile)

    output = compare(analyzer, context)

    assert output == {"differences": [], "counts": {}, "error": None}
    assert aws.called(GET) == []


def test_what_there_was_no_time_to_ask_for_stays_open_and_is_said(
    aws: FakeAws, context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    for name in ("one", "two"):
        both.record(recorded(analyzer, name))
    context.remaining_ms = compare_findings.RESERVE_MS - 1

    output = compare(analyzer, context)

    assert output["differences"] == []
    assert str(output["error"]).startswith("2 findings that were not listed")


def test_the_differences_come_in_parts(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(compare_findings, "PART", 2)
    for name in "abcde":
        analyzer.plant(name)

    output = compare(analyzer, context)

    assert len(output["differences"]) == 3
    assert brought_in(evidence, output).keys() == set("abcde")
    again = compare(analyzer, context)
    assert again["differences"] == output["differences"]  # a retried step writes the same objects


def test_a_finding_of_a_type_unknown_is_counted_and_said(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    analyzer.plant("odd")
    del analyzer.findings["odd"]["findingType"]
    analyzer.type = "ORGANIZATION_UNUSED_ACCESS"

    output = compare(analyzer, context)

    assert output["differences"] == []
    assert str(output["error"]).startswith("1 findings are of a type")


def test_a_finding_that_came_back_is_open_again(
    context: Any, analyzer: Analyzer, evidence: EvidenceStore, both: Tables
) -> None:
    analyzer.plant("back")
    both.record(recorded(analyzer, "back"))
    both.record(replace(recorded(analyzer, "back"), is_deleted=True), execution="deleted")

    (back,) = brought_in(evidence, compare(analyzer, context)).values()

    both.record(back, execution="healed")
    item = both.findings.get("back")
    assert item is not None
    assert item["finding"]["is_deleted"] is False
