"""Access Analyzer's analyzers, archive rules and findings: requests, pages, refusals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from pare.aws.access_analyzer import AccessAnalyzer
from pare.errors import AwsCallError, AwsServiceError, ThrottledError
from pare.findings.archive_rules import ActualRule
from pare.findings.compare import Listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pare.errors import PareError
    from pare.findings.archive_rules import FilterJson
    from tests.handlers.fake_aws import FakeAws

ANALYZER = "arn:aws:access-analyzer:eu-west-1:222222222222:analyzer/org"
AT = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
FILTER: FilterJson = {"isPublic": {"eq": ["false"]}, "error": {"exists": False}}
RULE = {"analyzerName": "org", "ruleName": "pare-a", "filter": FILTER}
SUMMARY = {
    "id": "f-1",
    "findingType": "ExternalAccess",
    "status": "ACTIVE",
    "resource": "arn:aws:s3:::amzn-s3-demo-bucket",
    "resourceType": "AWS::S3::Bucket",
    "resourceOwnerAccount": "111122223333",
    "createdAt": AT,
    "updatedAt": AT,
    "analyzedAt": AT,
}
LISTED = Listed(
    finding_id="f-1",
    finding_type="ExternalAccess",
    status="ACTIVE",
    account_id="111122223333",
    resource="arn:aws:s3:::amzn-s3-demo-bucket",
    resource_type="AWS::S3::Bucket",
    created_at="2026-11-20T08:00:00.123Z",
    updated_at="2026-11-20T08:00:00.123Z",
    analyzed_at="2026-11-20T08:00:00.123Z",
    error=None,
)


@pytest.fixture
def stub(aws: FakeAws) -> Iterator[Stubber]:
    with Stubber(boto3.client("accessanalyzer")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def analyzer(stub: Stubber) -> AccessAnalyzer:
    return AccessAnalyzer(stub.client)  # type: ignore[arg-type]


def test_analyzers_of_all_pages_are_listed_with_why_they_do_not_work(
    analyzer: AccessAnalyzer, stub: Stubber
) -> None:
    common = {"arn": ANALYZER, "createdAt": AT}
    stub.add_response(
        "list_analyzers",
        {"analyzers": [{**common, "name": "org", "type": "ORGANIZATION", "status": "ACTIVE"}],
         "nextToken": "a"},
        {},
    )  # fmt: skip
    stub.add_response(
        "list_analyzers",
        {"analyzers": [{**common, "arn": f"{ANALYZER}-a", "name": "a", "type": "ACCOUNT",
                        "status": "DISABLED",
                        "statusReason": {"code": "AWS_SERVICE_ACCESS_DISABLED"},
                        "managedBy": "securityhubv2.amazonaws.com"}]},
        {"nextToken": "a"},
    )  # fmt: skip

    working, broken = analyzer.list_analyzers()

    assert working == {
        "arn": ANALYZER, "name": "org", "type": "ORGANIZATION", "region": "eu-west-1",
        "status": "ACTIVE", "status_reason": None, "created_at": "2026-11-20T08:00:00.123Z",
        "managed_by": None,
    }  # fmt: skip
    assert (broken["status"], broken["status_reason"]) == (
        "DISABLED",
        "AWS_SERVICE_ACCESS_DISABLED",
    )
    assert broken["managed_by"] == "securityhubv2.amazonaws.com"


@pytest.mark.parametrize(
    ("arn", "is_it"),
    [(ANALYZER, True), ("arn:aws:access-analyzer:eu-west-1:333333333333:analyzer/org", False)],
)
def test_an_analyzer_is_asked_for_by_its_arn(
    analyzer: AccessAnalyzer, stub: Stubber, arn: str, is_it: bool
) -> None:
    """Access Analyzer asks for a name, which another account may have given, too."""
    stub.add_response(
        "get_analyzer",
        {"analyzer": {"arn": ANALYZER, "name": "org", "type": "ORGANIZATION", "createdAt": AT,
                      "status": "DISABLED",
                      "statusReason": {"code": "DELEGATED_ADMINISTRATOR_DEREGISTERED"}}},
        {"analyzerName": "org"},
    )  # fmt: skip

    found = analyzer.analyzer(arn)

    assert found == ({
        "arn": ANALYZER, "name": "org", "type": "ORGANIZATION", "region": "eu-west-1",
        "status": "DISABLED", "status_reason": "DELEGATED_ADMINISTRATOR_DEREGISTERED",
        "created_at": "2026-11-20T08:00:00.123Z", "managed_by": None,
    } if is_it else None)  # fmt: skip


def test_an_analyzer_that_is_gone_is_none(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    stub.add_client_error("get_analyzer", "ResourceNotFoundException", "gone", 404)
    assert analyzer.analyzer(ANALYZER) is None


def test_rules_of_all_pages_are_listed(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    def page(name: str, **more: str) -> dict[str, Any]:
        rule = {"ruleName": name, "filter": FILTER, "createdAt": AT, "updatedAt": AT}
        return {"archiveRules": [rule], **more}

    stub.add_response("list_archive_rules", page("b", nextToken="a"), {"analyzerName": "org"})
    stub.add_response("list_archive_rules", page("a"), {"analyzerName": "org", "nextToken": "a"})
    assert analyzer.list_archive_rules("org") == [ActualRule("a", FILTER), ActualRule("b", FILTER)]


def put(analyzer: AccessAnalyzer, *, exists: bool) -> None:
    analyzer.put_archive_rule("org", "pare-a", FILTER, exists=exists)


def test_a_rule_is_created_and_changed(aws: FakeAws) -> None:
    aws.answer("accessanalyzer:CreateArchiveRule", {})
    aws.answer("accessanalyzer:UpdateArchiveRule", {})
    analyzer = AccessAnalyzer(boto3.client("accessanalyzer"))
    put(analyzer, exists=False)
    put(analyzer, exists=True)
    assert [call.operation.split(":")[1] for call in aws.calls] == [
        "CreateArchiveRule",
        "UpdateArchiveRule",
    ]
    for call in aws.calls:
        given = {name: call.parameters[name] for name in RULE}
        assert given == RULE


def test_a_rule_that_is_there_after_all_is_changed(aws: FakeAws) -> None:
    aws.fail("accessanalyzer:CreateArchiveRule", "ConflictException", 409)
    aws.answer("accessanalyzer:UpdateArchiveRule", {})
    put(AccessAnalyzer(boto3.client("accessanalyzer")), exists=False)
    assert len(aws.called("accessanalyzer:UpdateArchiveRule")) == 1


def test_a_rule_that_is_gone_already_is_deleted(aws: FakeAws) -> None:
    aws.fail("accessanalyzer:DeleteArchiveRule", "ResourceNotFoundException", 404)
    AccessAnalyzer(boto3.client("accessanalyzer")).delete_archive_rule("org", "pare-a")
    assert len(aws.called("accessanalyzer:DeleteArchiveRule")) == 1


def test_findings_are_read_page_by_page(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    asked = {"analyzerArn": ANALYZER, "maxResults": 100, "filter": FILTER}
    second = {**SUMMARY, "id": "f-2", "error": "ACCESS_DENIED"}
    del second["resource"], second["findingType"]
    stub.add_response("list_findings_v2", {"findings": [SUMMARY], "nextToken": "a"}, asked)
    findings = analyzer.list_findings(ANALYZER, FILTER)
    assert next(findings) == LISTED  # before the second page was asked for
    stub.add_response("list_findings_v2", {"findings": [second]}, {**asked, "nextToken": "a"})
    (last,) = findings
    assert (last.finding_id, last.resource, last.finding_type, last.error) == (
        "f-2", "", None, "ACCESS_DENIED",
    )  # fmt: skip


def test_all_findings_are_listed_without_a_filter(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    stub.add_response(
        "list_findings_v2", {"findings": []}, {"analyzerArn": ANALYZER, "maxResults": 100}
    )
    assert list(analyzer.list_findings(ANALYZER)) == []


def test_one_finding_is_asked_for_by_its_id(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    asked = {"analyzerArn": ANALYZER, "id": "f-1"}
    stub.add_response("get_finding_v2", {**SUMMARY, "findingDetails": []}, asked)
    assert analyzer.finding(ANALYZER, "f-1") == LISTED
    stub.add_client_error("get_finding_v2", "ResourceNotFoundException", "gone", 404)
    assert analyzer.finding(ANALYZER, "f-1") is None


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [("ThrottlingException", 429, ThrottledError), ("AccessDeniedException", 403, AwsCallError),
     ("InternalServerException", 500, AwsServiceError), ("ValidationException", 400, AwsCallError)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("operation", "ask"),
    [
        ("GetFindingV2", lambda asked: asked.finding(ANALYZER, "f-1")),
        ("ListFindingsV2", lambda asked: list(asked.list_findings(ANALYZER))),
        ("ListAnalyzers", lambda asked: asked.list_analyzers()),
        ("GetAnalyzer", lambda asked: asked.analyzer(ANALYZER)),
        ("UpdateFindings", lambda asked: asked.update_findings(ANALYZER, ["f-1"], "ACTIVE")),
        ("DeleteArchiveRule", lambda asked: asked.delete_archive_rule("org", "pare-a")),
    ],
)
def test_only_what_is_gone_is_gone(
    aws: FakeAws, operation: str, ask: Callable[[AccessAnalyzer], object], code: str, status: int,
    error: type[PareError],
) -> None:  # fmt: skip
    aws.fail(f"accessanalyzer:{operation}", code, status)
    with pytest.raises(error):
        ask(AccessAnalyzer(boto3.client("accessanalyzer")))


def test_findings_are_set_some_at_a_time_and_those_gone_are_named(aws: FakeAws) -> None:
    ids = [f"f-{n:03}" for n in range(60)]
    aws.fail("accessanalyzer:UpdateFindings", "ResourceNotFoundException", 404,
             when=lambda asked: "f-003" in asked["ids"])  # fmt: skip
    aws.answer("accessanalyzer:UpdateFindings", {})

    gone = AccessAnalyzer(boto3.client("accessanalyzer")).update_findings(
        ANALYZER, [*ids, "f-000"], "ARCHIVED"
    )

    assert gone == ["f-003"]
    calls = aws.called("accessanalyzer:UpdateFindings")
    assert {call["status"] for call in calls} == {"ARCHIVED"}
    refused, done = calls[0]["ids"], [each for call in calls[1:] for each in call["ids"]]
    assert (len(refused), sorted(done)) == (50, ids)


def test_nothing_is_set_where_there_is_nothing_to_set(aws: FakeAws) -> None:
    analyzer = AccessAnalyzer(boto3.client("accessanalyzer"))
    assert analyzer.update_findings(ANALYZER, [], "ACTIVE") == []
    assert aws.calls == []
