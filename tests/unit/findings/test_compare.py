"""A listing against the table: missing, newer, gone; and what is none of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from pare.findings.compare import Comparison, Known, Listed, deleted_how, finding_of, gone
from pare.findings.model import Finding
from pare.findings.state import how_ended, supersedes

if TYPE_CHECKING:
    from pare.findings.watch import AnalyzerJson

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
ANALYZER = "arn:aws:access-analyzer:eu-west-1:222222222222:analyzer/org"
LISTED = Listed(
    finding_id="one",
    finding_type="ExternalAccess",
    status="ACTIVE",
    account_id="111122223333",
    resource="arn:aws:s3:::amzn-s3-demo-bucket",
    resource_type="AWS::S3::Bucket",
    created_at="2026-11-20T08:00:00Z",
    updated_at="2026-11-20T08:00:00Z",
    analyzed_at="2026-11-22T03:00:00Z",
    error=None,
)
KNOWN = Known(
    status="ACTIVE",
    is_deleted=False,
    updated_at="2026-11-20T08:00:00Z",
    created_at="2026-11-20T08:00:00Z",
    how=None,
)
UNWATCHED = replace(KNOWN, is_deleted=True, how="UNWATCHED")
LONG_AGO = "2026-01-01T00:00:00Z"


def differences(known: Known | None, *listed: Listed) -> list[Listed]:
    comparison = Comparison({"one": known} if known else {}, NOW, LONG_AGO)
    return list(comparison.differences(iter(listed)))


def test_a_finding_that_no_event_told_of_is_brought_in() -> None:
    assert differences(None, LISTED) == [LISTED]


def test_what_is_known_already_is_not_though_it_was_analyzed_anew() -> None:
    assert differences(KNOWN, LISTED) == []
    assert differences(KNOWN, replace(LISTED, analyzed_at="2026-11-22T08:00:00Z")) == []


@pytest.mark.parametrize(
    ("known", "listed", "is_newer"),
    [
        (KNOWN, replace(LISTED, updated_at="2026-11-20T08:00:00.001Z"), True),
        (KNOWN, replace(LISTED, status="RESOLVED"), True),
        (KNOWN, replace(LISTED, status="ARCHIVED"), True),
        # The list is older than the event.
        (replace(KNOWN, status="RESOLVED", how="RESOLVED"), LISTED, False),
        (replace(KNOWN, updated_at="2026-11-21T08:00:00Z"), LISTED, False),
        (replace(KNOWN, status="ARCHIVED", how="ARCHIVED"),
         replace(LISTED, updated_at="2026-11-21T08:00:00Z"), True),
    ],
)  # fmt: skip
def test_what_is_newer_at_the_analyzer_is_brought_in(
    known: Known, listed: Listed, is_newer: bool
) -> None:
    assert bool(differences(known, listed)) is is_newer


def test_what_was_resolved_long_ago_and_nobody_heard_of_stays_unheard() -> None:
    recent = replace(LISTED, status="RESOLVED")
    assert differences(None, recent) == [recent]  # a late event would open it again
    assert differences(None, replace(recent, updated_at="2026-11-14T08:00:00Z")) == []


def test_a_finding_listed_twice_is_compared_once() -> None:
    assert differences(None, LISTED, LISTED) == [LISTED]


def test_only_what_is_open_or_unwatched_and_not_listed_can_have_vanished() -> None:
    known = {
        "one": KNOWN,
        "two": KNOWN,
        "archived": replace(KNOWN, status="ARCHIVED", how="ARCHIVED"),
        "resolved": replace(KNOWN, status="RESOLVED", how="RESOLVED"),
        "deleted": replace(KNOWN, is_deleted=True, how="DELETED"),
        "unwatched": UNWATCHED,
        "unwatched and archived": replace(UNWATCHED, status="ARCHIVED"),
    }
    comparison = Comparison(known, NOW, LONG_AGO)
    assert list(comparison.differences(iter([LISTED]))) == []
    assert comparison.vanished() == ["two", "unwatched", "unwatched and archived"]


@pytest.mark.parametrize(
    ("created_at", "vanished"),
    [
        ("2026-11-20T08:00:00Z", ["one"]),
        ("2026-11-20T08:00:01Z", []),  # of an earlier one: asked each night, it would say nothing
        ("2026-11-21T09:00:01Z", []),
    ],
)
def test_what_is_unwatched_has_vanished_if_its_very_analyzer_is_alive(
    created_at: str, vanished: list[str]
) -> None:
    comparison = Comparison({"one": UNWATCHED}, NOW, created_at)
    assert list(comparison.differences(iter([]))) == []
    assert comparison.vanished() == vanished
    assert comparison.counts == {}


def test_what_is_unwatched_and_listed_has_not_vanished() -> None:
    comparison = Comparison({"one": UNWATCHED}, NOW, LONG_AGO)
    assert [each.updated_at for each in comparison.differences(iter([LISTED]))] == [
        LISTED.analyzed_at
    ]
    assert comparison.vanished() == []


@pytest.mark.parametrize(
    ("created_at", "vanished", "not_listed_yet"),
    [
        ("2026-11-22T08:59:59Z", [], 1),
        ("2026-11-21T09:00:01Z", [], 1),  # a second less than a day
        ("2026-11-21T09:00:00Z", ["one"], 0),
    ],
)
def test_nothing_has_vanished_of_an_analyzer_that_may_still_be_scanning(
    created_at: str, vanished: list[str], not_listed_yet: int
) -> None:
    comparison = Comparison({"one": KNOWN}, NOW, created_at)
    assert list(comparison.differences(iter([]))) == []
    assert comparison.vanished() == vanished
    assert comparison.counts["not_listed_yet"] == not_listed_yet


@pytest.mark.parametrize(
    ("created_at", "how"),
    [
        ("2026-11-20T08:00:00Z", "DELETED"),
        ("2026-11-20T08:00:01Z", "UNWATCHED"),  # made again under the same ARN
    ],
)
def test_what_an_earlier_analyzer_of_the_same_arn_found_is_unwatched(
    created_at: str, how: str
) -> None:
    assert Comparison({"one": KNOWN}, NOW, created_at).ended_how("one") == how


def test_what_was_taken_for_gone_and_is_there_comes_back_as_of_its_last_analysis() -> None:
    known = UNWATCHED
    (back,) = differences(known, LISTED)
    assert back.updated_at == LISTED.analyzed_at
    recorded = gone(finding(LISTED), how="UNWATCHED")
    assert supersedes(recorded, finding(back))


def test_a_deleted_one_that_was_not_analyzed_since_is_counted() -> None:
    comparison = Comparison({"one": UNWATCHED}, NOW, LONG_AGO)
    stale = replace(LISTED, analyzed_at=KNOWN.updated_at)
    assert list(comparison.differences(iter([stale]))) == []
    assert comparison.counts["deleted_but_listed"] == 1


def analyzer(created_at: str, status: str = "ACTIVE") -> AnalyzerJson:
    return {
        "arn": ANALYZER,
        "name": "org",
        "type": "ORGANIZATION",
        "region": "eu-west-1",
        "status": status,
        "status_reason": None,
        "created_at": created_at,
        "managed_by": None,
    }


@pytest.mark.parametrize(
    ("there", "how"),
    [
        (analyzer(LONG_AGO), "DELETED"),
        (analyzer(LISTED.created_at), "DELETED"),
        (analyzer("2026-11-20T08:00:01Z"), "UNWATCHED"),  # made again under the same ARN
        (analyzer(LONG_AGO, "DISABLED"), "UNWATCHED"),
        (analyzer(LONG_AGO, "FAILED"), "UNWATCHED"),
        (analyzer(LONG_AGO, "CREATING"), "UNWATCHED"),
        (None, "UNWATCHED"),
    ],
)
def test_what_is_deleted_is_gone_only_if_its_very_analyzer_is_alive(
    there: AnalyzerJson | None, how: str
) -> None:
    assert deleted_how(finding(LISTED), there) == how


def test_what_is_gone_says_no_more_why_nobody_watched_it() -> None:
    left = replace(gone(finding(LISTED), how="UNWATCHED"), values=(
        ("because", "its Region is not governed"), ("ended", "UNWATCHED")))  # fmt: skip

    assert dict(gone(left, how="DELETED").values) == {"ended": "DELETED"}


def finding(listed: Listed, analyzer_type: str = "ORGANIZATION") -> Finding:
    found = finding_of(listed, analyzer_arn=ANALYZER, analyzer_type=analyzer_type)
    assert found is not None
    return found


def test_a_summary_makes_a_finding_of_the_analyzers_region() -> None:
    found = finding(LISTED)
    assert (found.region, found.access, found.analyzer_arn) == ("eu-west-1", "external", ANALYZER)
    assert (found.finding_type, found.is_public, found.severity) == ("ExternalAccess", None, None)


@pytest.mark.parametrize(
    ("analyzer_type", "finding_type"),
    [
        ("ORGANIZATION", "ExternalAccess"),
        ("ACCOUNT_INTERNAL_ACCESS", "InternalAccess"),
        ("ORGANIZATION_UNUSED_ACCESS", None),  # one of four
        ("ORGANIZATION_OF_TOMORROW", None),
    ],
)
def test_a_summary_without_a_type_has_the_only_one_there_is(
    analyzer_type: str, finding_type: str | None
) -> None:
    listed = replace(LISTED, finding_type=None)
    found = finding_of(listed, analyzer_arn=ANALYZER, analyzer_type=analyzer_type)
    assert (found and found.finding_type) == finding_type


def test_gone_is_deleted_and_says_how() -> None:
    recorded = finding(LISTED)
    deleted, unwatched = gone(recorded, how="DELETED"), gone(recorded, how="UNWATCHED")
    assert (how_ended(deleted), how_ended(unwatched)) == ("DELETED", "UNWATCHED")
    assert supersedes(recorded, unwatched)
    assert supersedes(unwatched, deleted)
    assert Finding.from_json(deleted.to_json()) == deleted
