"""Analyzers in memory, with archive rules, findings and filters, and the tables of findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import parse_time
from pare.findings.model import Finding
from tests.finding_terms import finding_terms
from tests.handlers.fake_aws import HUB, MEMBER, REGION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.findings.watch import AnalyzerJson
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Reconcile:daily-1"
BUCKET_ARN = "arn:aws:s3:::amzn-s3-demo-bucket"
TERMS: Any = finding_terms(
    hub_account_id=HUB,
    home_region=REGION,
    governed_regions=[REGION, "us-east-1"],
    owner_tag_keys=["owner"],
    settle_seconds=120,
)


@dataclass
class Analyzer:
    """One analyzer in memory."""

    region: str = REGION
    name: str = "org"
    type: str = "ORGANIZATION"
    status: str = "ACTIVE"
    created_at: str = "2026-01-01T00:00:00Z"
    managed_by: str | None = None
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:access-analyzer:{self.region}:{HUB}:analyzer/{self.name}"

    def item(self) -> AnalyzerJson:
        """The analyzer as List analyzers passes it on."""
        return {
            "arn": self.arn,
            "name": self.name,
            "type": self.type,
            "region": self.region,
            "status": self.status,
            "status_reason": None,
            "created_at": self.created_at,
            "managed_by": self.managed_by,
        }

    def plant(self, finding_id: str, status: str = "ACTIVE", **changed: Any) -> None:
        """Add a finding; ``isPublic`` and ``principal`` are what filters see of its details."""
        moment = datetime(2026, 11, 20, 8, tzinfo=UTC)
        self.findings[finding_id] = {
            "id": finding_id,
            "findingType": "ExternalAccess",
            "status": status,
            "resource": BUCKET_ARN,
            "resourceType": "AWS::S3::Bucket",
            "resourceOwnerAccount": MEMBER,
            "createdAt": moment,
            "updatedAt": moment,
            "analyzedAt": datetime(2026, 11, 22, 3, tzinfo=UTC),
            "isPublic": "false",
            "principal.AWS": "555566667777",
            **changed,
        }

    def statuses(self) -> dict[str, str]:
        return {each: found["status"] for each, found in self.findings.items()}

    def matching(self, criteria: dict[str, Any]) -> list[dict[str, Any]]:
        """The findings that meet a filter, as far as tests use its operators."""
        found = list(self.findings.values())
        for key, criterion in criteria.items():
            if "eq" in criterion:
                found = [each for each in found if each.get(key) in criterion["eq"]]
            if "neq" in criterion:
                found = [each for each in found if each.get(key) not in criterion["neq"]]
            if "contains" in criterion:
                parts = criterion["contains"]
                found = [e for e in found if any(part in e.get(key, "") for part in parts)]
        return found


_SUMMARY = ("id", "findingType", "status", "resource", "resourceType", "resourceOwnerAccount",
            "createdAt", "updatedAt", "analyzedAt", "error")  # fmt: skip


@dataclass
class Analyzers:
    """Access Analyzer of the hub account, every Region."""

    aws: FakeAws
    all: list[Analyzer] = field(default_factory=list)
    now: datetime = NOW
    most_rules: int = 100

    def add(self, **values: Any) -> Analyzer:
        analyzer = Analyzer(**values)
        self.all.append(analyzer)
        return analyzer

    def install(self) -> None:
        for operation, answer in {
            "ListAnalyzers": self._list_analyzers,
            "ListArchiveRules": self._list_rules,
            "CreateArchiveRule": self._create_rule,
            "UpdateArchiveRule": self._update_rule,
            "DeleteArchiveRule": self._delete_rule,
            "ApplyArchiveRule": self._apply_rule,
            "ListFindingsV2": self._list_findings,
            "GetFindingV2": self._get_finding,
            "UpdateFindings": self._update_findings,
        }.items():
            self.aws.answer(f"accessanalyzer:{operation}", answer)

    def _here(self) -> list[Analyzer]:
        return [each for each in self.all if each.region == self.aws.calls[-1].region]

    def _named(self, params: dict[str, Any]) -> Analyzer:
        return next(each for each in self._here() if each.name == params["analyzerName"])

    def _of_arn(self, params: dict[str, Any]) -> Analyzer:
        return next(each for each in self._here() if each.arn == params["analyzerArn"])

    def _list_analyzers(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "analyzers": [
                {
                    "arn": each.arn,
                    "name": each.name,
                    "type": each.type,
                    "status": each.status,
                    "createdAt": parse_time(each.created_at),
                    **({"managedBy": each.managed_by} if each.managed_by else {}),
                }
                for each in self._here()
            ]
        }

    def _list_rules(self, params: dict[str, Any]) -> dict[str, Any]:
        times = {"createdAt": self.now, "updatedAt": self.now}
        rules = self._named(params).rules
        return {
            "archiveRules": [
                {"ruleName": name, "filter": rule, **times} for name, rule in rules.items()
            ]
        }

    def _create_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        rules = self._named(params).rules
        if params["ruleName"] in rules:
            return _error("ConflictException", 409)
        if len(rules) >= self.most_rules:
            return _error("ServiceQuotaExceededException", 402)
        rules[params["ruleName"]] = params["filter"]
        return {}

    def _update_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        assert params["ruleName"] in self._named(params).rules
        self._named(params).rules[params["ruleName"]] = params["filter"]
        return {}

    def _delete_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        if self._named(params).rules.pop(params["ruleName"], None) is None:
            return _error("ResourceNotFoundException", 404)
        return {}

    def _apply_rule(self, params: dict[str, Any]) -> dict[str, Any]:
        analyzer = self._of_arn(params)
        for finding in analyzer.matching(analyzer.rules[params["ruleName"]]):
            if finding["status"] == "ACTIVE":
                finding |= {"status": "ARCHIVED", "updatedAt": self.now}
        return {}

    def _list_findings(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self._of_arn(params).matching(params.get("filter", {}))
        start = int(params.get("nextToken", 0))
        end = start + 2  # pages are small, so that each test reads several
        page = [{k: each[k] for k in _SUMMARY if k in each} for each in found[start:end]]
        return {"findings": page, **({"nextToken": str(end)} if end < len(found) else {})}

    def _get_finding(self, params: dict[str, Any]) -> dict[str, Any]:
        found = self._of_arn(params).findings.get(params["id"])
        if found is None:
            return _error("ResourceNotFoundException", 404)
        return {**{k: found[k] for k in _SUMMARY if k in found}, "findingDetails": []}

    def _update_findings(self, params: dict[str, Any]) -> dict[str, Any]:
        analyzer = self._of_arn(params)
        if any(each not in analyzer.findings for each in params["ids"]):
            return _error("ResourceNotFoundException", 404)
        for finding_id in params["ids"]:
            finding = analyzer.findings[finding_id]
            if finding["status"] != "RESOLVED":
                finding |= {"status": params["status"], "updatedAt": self.now}
        return {}


def _error(code: str, status: int) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "AWS's own words"}, "_status": status}


@pytest.fixture
def analyzers(aws: FakeAws) -> Analyzers:
    """Access Analyzer with one analyzer of the organization in each Region."""
    found = Analyzers(aws)
    found.install()
    found.add()
    found.add(region="us-east-1")
    return found


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let it be nine o'clock for the steps that look at the clock."""
    from lambdas.reconcile import apply_archive_rules, compare_findings, review_watch

    for module in (apply_archive_rules, compare_findings, review_watch):
        monkeypatch.setattr(module, "utc_now", lambda: NOW)
    yield


@dataclass(frozen=True)
class Tables:
    """The two tables as the steps use them."""

    findings: FindingsTable
    cards: CardsTable

    def record(self, finding: Finding, execution: str = "recorded") -> None:
        """Record a finding as the finding workflow does."""
        self.findings.record(finding, cards=self.cards, execution=execution, now=NOW, terms=TERMS)


@pytest.fixture
def both(tables: Any) -> Tables:
    """Findings and cards, empty."""
    return Tables(FindingsTable(tables, "Findings"), CardsTable(tables, "Cards"))


def recorded(analyzer: Analyzer, finding_id: str, **changed: Any) -> Finding:
    """Return a finding of an analyzer as an event brought it."""
    values: dict[str, Any] = {
        "finding_id": finding_id,
        "access": "external",
        "finding_type": "ExternalAccess",
        "status": "ACTIVE",
        "is_deleted": False,
        "account_id": MEMBER,
        "region": analyzer.region,
        "analyzer_arn": analyzer.arn,
        "resource": BUCKET_ARN,
        "resource_type": "AWS::S3::Bucket",
        "created_at": "2026-11-20T08:00:00Z",
        "updated_at": "2026-11-20T08:00:00Z",
        "analyzed_at": "2026-11-20T08:00:00Z",
        "principal": (("AWS", "555566667777"),),
        **changed,
    }
    return Finding(**values)
