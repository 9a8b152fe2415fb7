"""Analyzers, archive rules, findings and access previews (facts §1).

The control plane plants, changes, resolves and deletes findings, and says what state an analyzer is
in. What AWS would say on EventBridge goes to ``send``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from local.emulator import organization, upstream
from local.emulator.finding_events import finding_event, preview_event
from local.emulator.finding_filters import matches, values_of
from local.emulator.paging import invalid, page
from local.emulator.shapes import Problem, parse_time, problems, service_model
from local.emulator.wire import AwsError, access_denied

if TYPE_CHECKING:
    from datetime import datetime

    from local.emulator.caller import Caller
    from local.emulator.emulation import Emulation
    from local.emulator.finding_events import ServiceEvent

_SERVICE = "access-analyzer.amazonaws.com"
_DEFAULT_UNUSED_DAYS = 90
_STATUSES = ("ACTIVE", "CREATING", "DISABLED", "FAILED")
_STATUS_REASONS = (
    "AWS_SERVICE_ACCESS_DISABLED",
    "DELEGATED_ADMINISTRATOR_DEREGISTERED",
    "ORGANIZATION_DELETED",
    "SERVICE_LINKED_ROLE_CREATION_FAILED",
)
_TICK = timedelta(milliseconds=1)
_MAX_ARCHIVE_RULES = 100
_MAX_ACCOUNT_ANALYZERS = 1
_MAX_ORGANIZATION_ANALYZERS = 5
_SUMMARY_MEMBERS = (
    "analyzedAt",
    "createdAt",
    "error",
    "id",
    "resource",
    "resourceType",
    "resourceOwnerAccount",
    "status",
    "updatedAt",
    "findingType",
)


@dataclass(slots=True)
class Analyzer:
    """One analyzer with its archive rules and findings."""

    arn: str
    name: str
    type: str
    created_at: datetime
    tags: dict[str, str]
    configuration: dict[str, Any] | None
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)
    previews: dict[str, dict[str, Any]] = field(default_factory=dict)
    preview_findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    status: str = "ACTIVE"
    status_reason: str | None = None

    def summary(self) -> dict[str, Any]:
        """Return the analyzer as List and Get answer it."""
        summary: dict[str, Any] = {
            "arn": self.arn,
            "name": self.name,
            "type": self.type,
            "createdAt": self.created_at,
            "status": self.status,
        }
        if self.status_reason is not None:
            summary["statusReason"] = {"code": self.status_reason}
        if self.tags:
            summary["tags"] = self.tags
        if self.configuration is not None:
            summary["configuration"] = self.configuration
        return summary


class Findings:
    """The analyzers of every account and Region, and what they found."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._analyzers: dict[str, Analyzer] = {}
        self._lock = threading.RLock()

    # Analyzers

    def create_analyzer(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return the ARN of a new analyzer."""
        name, kind = params["analyzerName"], params["type"]
        arn = _arn(caller, name)
        if kind.startswith("ORGANIZATION"):
            self._require_organization_administrator(caller)
        configuration = _configuration(kind, params.get("configuration"))
        with self._lock:
            if arn in self._analyzers:
                raise _conflict(name, "Analyzer", f"An analyzer named {name} exists already.")
            same = [a for a in self._in_scope(caller) if a.type == kind]
            limit = _MAX_ACCOUNT_ANALYZERS
            if kind in {"ORGANIZATION", "ORGANIZATION_UNUSED_ACCESS"}:
                limit = _MAX_ORGANIZATION_ANALYZERS
            if len(same) >= limit:
                raise _quota(
                    "Analyzer", caller.account_id, f"At most {limit} analyzers of type {kind}."
                )
            analyzer = Analyzer(
                arn=arn,
                name=name,
                type=kind,
                created_at=self._emulation.now(),
                tags=params.get("tags") or {},
                configuration=configuration,
            )
            for rule in params.get("archiveRules", []):
                self._add_rule(analyzer, rule["ruleName"], rule["filter"])
            self._analyzers[arn] = analyzer
        return {"arn": arn}

    def change_analyzer(self, arn: str, changes: dict[str, Any]) -> None:
        """Give an analyzer other tags, rules or configuration, as a stack update does."""
        with self._lock:
            analyzer = self._analyzers[arn]
            analyzer.tags = changes["tags"]
            if "configuration" in changes:
                analyzer.configuration = _configuration(analyzer.type, changes["configuration"])
            analyzer.rules.clear()
            for rule in changes["archiveRules"]:
                self._add_rule(analyzer, rule["ruleName"], rule["filter"])

    def list_analyzers(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return the caller's analyzers of this Region, by name."""
        with self._lock:
            summaries = [
                analyzer.summary()
                for analyzer in self._in_scope(caller)
                if params.get("type") in {None, analyzer.type}
            ]
        return page(summaries, "analyzers", params)

    def get_analyzer(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return one analyzer."""
        with self._lock:
            return {"analyzer": self._named(caller, params["analyzerName"]).summary()}

    def delete_analyzer(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Delete an analyzer with its rules and findings.

        AWS tells of the findings about a day later, their status unchanged (facts §4); here at
        once.
        """
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            del self._analyzers[analyzer.arn]
            for finding in analyzer.findings.values():
                self._tell(finding_event(analyzer.arn, finding, is_deleted=True))
        return {}

    def update_analyzer(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Change the configuration of an analyzer of unused or internal access (facts §1)."""
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            if analyzer.type in {"ACCOUNT", "ORGANIZATION"}:
                raise invalid("analyzerName", "An external access analyzer has no configuration.")
            given = params.get("configuration")
            analyzer.configuration = _configuration(analyzer.type, given)
            return {"configuration": analyzer.configuration or {}}

    # Archive rules

    def create_archive_rule(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Add an archive rule; it works on findings that come later (facts §1)."""
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            self._add_rule(analyzer, params["ruleName"], params["filter"])
        return {}

    def apply_archive_rule(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Archive the active findings there already are that the rule matches."""
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            rule = _rule(analyzer, params["ruleName"])
            for finding in analyzer.findings.values():
                if finding["status"] == "ACTIVE" and matches(finding, rule["filter"]):
                    self._set_status(analyzer, finding, "ARCHIVED")
        return {}

    def get_archive_rule(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return one archive rule."""
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            return {"archiveRule": dict(_rule(analyzer, params["ruleName"]))}

    def update_archive_rule(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Give an archive rule another filter; findings archived by the old one stay archived."""
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            rule = _rule(analyzer, params["ruleName"])
            _check_filter(params["filter"])
            rule |= {"filter": params["filter"], "updatedAt": self._emulation.now()}
        return {}

    def delete_archive_rule(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Delete an archive rule; what it archived stays archived."""
        with self._lock:
            analyzer = self._named(caller, params["analyzerName"])
            del analyzer.rules[_rule(analyzer, params["ruleName"])["ruleName"]]
        return {}

    def list_archive_rules(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return the archive rules of an analyzer, by name."""
        with self._lock:
            analyzer = self._by_name(caller, params["analyzerName"])
            if analyzer is None:
                # The operation has no ResourceNotFoundException.
                raise invalid("analyzerName", f"There is no analyzer {params['analyzerName']}.")
            rules = [analyzer.rules[name] for name in sorted(analyzer.rules)]
        return page(rules, "archiveRules", params)

    # Findings

    def list_findings(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return summaries of the findings the filter matches: no principal, action or details."""
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            found = [
                f for f in analyzer.findings.values() if matches(f, params.get("filter") or {})
            ]
        sort = params.get("sort") or {}
        attribute = sort.get("attributeName", "updatedAt")
        found.sort(key=lambda f: (str(values_of(f, attribute)), f["id"]))
        if sort.get("orderBy", "DESC") == "DESC":
            found.reverse()
        summaries = [{k: f[k] for k in _SUMMARY_MEMBERS if k in f} for f in found]
        return page(summaries, "findings", params)

    def get_finding(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return one finding with a page of its details."""
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            finding = analyzer.findings.get(params["id"])
            if finding is None:
                raise _not_found("Finding", params["id"])
            details = page(finding["findingDetails"], "findingDetails", params)
            return {**finding, **details}

    def update_findings(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Set findings to ACTIVE or ARCHIVED, by id or by resource."""
        ids, resource = params.get("ids"), params.get("resourceArn")
        if not ids and resource is None:
            raise invalid("ids", "Either ids or resourceArn is needed.")
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            for finding_id in ids or []:
                if finding_id not in analyzer.findings:
                    raise _not_found("Finding", finding_id)
            for finding in analyzer.findings.values():
                chosen = finding["id"] in (ids or []) or finding.get("resource") == resource
                # A resolved finding stays resolved: AWS decided that, not a person.
                if chosen and finding["status"] != "RESOLVED":
                    self._set_status(analyzer, finding, params["status"])
        return {}

    # Access previews

    def get_access_preview(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return one access preview."""
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            preview = analyzer.previews.get(params["accessPreviewId"])
            if preview is None:
                raise _not_found("AccessPreview", params["accessPreviewId"])
            return {"accessPreview": preview}

    def list_access_previews(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return summaries of an analyzer's access previews."""
        members = ("id", "analyzerArn", "createdAt", "status", "statusReason")
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            found = [
                {name: preview[name] for name in members if name in preview}
                for _, preview in sorted(analyzer.previews.items())
            ]
        return page(found, "accessPreviews", params)

    def list_preview_findings(self, caller: Caller, params: dict[str, Any]) -> dict[str, Any]:
        """Return what an access preview found; while it is not complete that is a conflict."""
        with self._lock:
            analyzer = self._by_arn(caller, params["analyzerArn"])
            preview = analyzer.previews.get(params["accessPreviewId"])
            if preview is None:
                raise _not_found("AccessPreview", params["accessPreviewId"])
            if preview["status"] != "COMPLETED":
                raise _conflict(preview["id"], "AccessPreview", "The preview is not completed.")
            found = analyzer.preview_findings[preview["id"]]
        return page(found, "findings", params)

    # Control plane

    def plant(
        self, analyzer_arn: str, planted: list[dict[str, Any]], *, events: bool = False
    ) -> None:
        """Add findings, or replace those with the same id; raises ValueError naming what is wrong.

        Each is a GetFindingV2 answer. Archive rules work on new ones, as in AWS.
        """
        shape: Any = service_model("accessanalyzer").operation_model("GetFindingV2").output_shape
        with self._lock:
            analyzer = self._planted(analyzer_arn)
            for data in planted:
                finding = _with_times(data)
                found: list[Problem] = problems(finding, shape)
                if found:
                    raise ValueError("; ".join(f"finding {problem}" for problem in found))
                old = analyzer.findings.get(finding["id"])
                if old is None and finding["status"] == "ACTIVE":
                    rules = analyzer.rules.values()
                    if any(matches(finding, rule["filter"]) for rule in rules):
                        finding["status"] = "ARCHIVED"
                analyzer.findings[finding["id"]] = finding
                if events:
                    before = "" if old is None else old["status"]
                    self._tell(finding_event(analyzer_arn, finding, previous_status=before))

    def resolve(self, analyzer_arn: str, ids: list[str], *, events: bool = False) -> None:
        """Let findings be RESOLVED, as when the access is gone; ValueError for an unknown id."""
        with self._lock:
            analyzer = self._planted(analyzer_arn)
            for finding in _chosen(analyzer, ids):
                self._set_status(analyzer, finding, "RESOLVED", events=events)

    def delete(self, analyzer_arn: str, ids: list[str], *, events: bool = False) -> None:
        """Delete findings, as when the resource is gone; ValueError for an unknown id.

        The event has the status unchanged (facts §4).
        """
        with self._lock:
            analyzer = self._planted(analyzer_arn)
            for finding in _chosen(analyzer, ids):
                del analyzer.findings[finding["id"]]
                finding["updatedAt"] = self._next_moment(finding)
                if events:
                    self._tell(finding_event(analyzer_arn, finding, is_deleted=True))

    def plant_preview(
        self,
        analyzer_arn: str,
        preview: dict[str, Any],
        findings: list[dict[str, Any]],
        *,
        events: bool = False,
    ) -> None:
        """Add an access preview, or replace the one with its id; ValueError for a wrong one."""
        model = service_model("accessanalyzer")
        # GetAccessPreview's answer and one of ListAccessPreviewFindings.
        whole = _with_times({**preview, "analyzerArn": analyzer_arn})
        found = [_with_times(each) for each in findings]
        wrong = problems(whole, model.shape_for("AccessPreview"))
        for each in found:
            wrong += problems(each, model.shape_for("AccessPreviewFinding"))
        if wrong:
            raise ValueError("; ".join(f"preview {problem}" for problem in wrong))
        with self._lock:
            analyzer = self._planted(analyzer_arn)
            old = analyzer.previews.get(whole["id"])
            analyzer.previews[whole["id"]] = whole
            analyzer.preview_findings[whole["id"]] = found
            if events:
                before = None if old is None else old["status"]
                self._tell(preview_event(analyzer_arn, whole, previous_status=before))

    def set_status(self, analyzer_arn: str, status: str, reason: str | None) -> None:
        """Let an analyzer be in a state; ValueError where AWS knows no such state or reason."""
        if status not in _STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(_STATUSES)}")
        if reason is not None and reason not in _STATUS_REASONS:
            raise ValueError(f"reason {reason!r} is not one of {', '.join(_STATUS_REASONS)}")
        with self._lock:
            analyzer = self._planted(analyzer_arn)
            analyzer.status, analyzer.status_reason = status, reason

    def set_created_at(self, analyzer_arn: str, created_at: str) -> None:
        """Let an analyzer be older than it is; ValueError for no time, or no analyzer."""
        with self._lock:
            self._planted(analyzer_arn).created_at = parse_time(created_at)

    def overview(self) -> list[dict[str, Any]]:
        """Return every analyzer for the control plane."""
        with self._lock:
            return [
                {
                    "arn": analyzer.arn,
                    "type": analyzer.type,
                    "status": analyzer.status,
                    "archive_rules": len(analyzer.rules),
                    "findings": len(analyzer.findings),
                }
                for _, analyzer in sorted(self._analyzers.items())
            ]

    def _in_scope(self, caller: Caller) -> list[Analyzer]:
        prefix = _arn(caller, "")
        return [a for arn, a in sorted(self._analyzers.items()) if arn.startswith(prefix)]

    def _by_name(self, caller: Caller, name: str) -> Analyzer | None:
        return self._analyzers.get(_arn(caller, name))

    def _named(self, caller: Caller, name: str) -> Analyzer:
        analyzer = self._by_name(caller, name)
        if analyzer is None:
            raise _not_found("Analyzer", name)
        return analyzer

    def _by_arn(self, caller: Caller, arn: str) -> Analyzer:
        analyzer = self._analyzers.get(arn)
        if analyzer is None or not arn.startswith(_arn(caller, "")):
            raise _not_found("Analyzer", arn)
        return analyzer

    def _add_rule(self, analyzer: Analyzer, name: str, criteria: dict[str, Any]) -> None:
        if name in analyzer.rules:
            raise _conflict(name, "ArchiveRule", f"An archive rule named {name} exists already.")
        if len(analyzer.rules) >= _MAX_ARCHIVE_RULES:
            raise _quota("ArchiveRule", name, f"At most {_MAX_ARCHIVE_RULES} archive rules.")
        _check_filter(criteria)
        now = self._emulation.now()
        analyzer.rules[name] = {
            "ruleName": name,
            "filter": criteria,
            "createdAt": now,
            "updatedAt": now,
        }

    def _planted(self, analyzer_arn: str) -> Analyzer:
        analyzer = self._analyzers.get(analyzer_arn)
        if analyzer is None:
            raise ValueError(f"there is no analyzer {analyzer_arn}")
        return analyzer

    def _set_status(
        self,
        analyzer: Analyzer,
        finding: dict[str, Any],
        status: str,
        *,
        events: bool = True,
    ) -> None:
        """Change a finding's status; where it has it already nothing happens."""
        before = finding["status"]
        if before == status:
            return
        finding["status"] = status
        finding["updatedAt"] = self._next_moment(finding)
        if events:
            self._tell(finding_event(analyzer.arn, finding, previous_status=before))

    def _next_moment(self, finding: dict[str, Any]) -> datetime:
        """Return now, and later than the finding's last change, in whole milliseconds."""
        now = self._emulation.now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        later: datetime = max(now, finding["updatedAt"] + _TICK)
        return later

    def _tell(self, event: ServiceEvent) -> None:
        self._emulation.service_events.send(event)

    def _require_organization_administrator(self, caller: Caller) -> None:
        found = upstream.organization_of(caller.account_id)
        if found is None:
            raise access_denied(f"Account {caller.account_id} is not in an organization.")
        if found["MasterAccountId"] == caller.account_id:
            return
        if not organization.is_delegated_administrator(caller.account_id, _SERVICE):
            raise access_denied(
                f"Account {caller.account_id} is neither the management account nor a delegated "
                f"administrator for {_SERVICE}."
            )


def _arn(caller: Caller, name: str) -> str:
    return f"arn:aws:access-analyzer:{caller.region}:{caller.account_id}:analyzer/{name}"


def _configuration(kind: str, given: dict[str, Any] | None) -> dict[str, Any] | None:
    if kind.endswith("UNUSED_ACCESS"):
        unused = dict((given or {}).get("unusedAccess") or {})
        unused.setdefault("unusedAccessAge", _DEFAULT_UNUSED_DAYS)
        if not 1 <= unused["unusedAccessAge"] <= 365:
            raise invalid("configuration.unusedAccess.unusedAccessAge", "Must be 1 to 365 days.")
        return {"unusedAccess": unused}
    if given and "unusedAccess" in given:
        raise invalid("configuration", f"unusedAccess is not for an analyzer of type {kind}.")
    return given


def _with_times(finding: dict[str, Any]) -> dict[str, Any]:
    """Return a planted finding with its timestamps parsed."""
    times = {"analyzedAt", "createdAt", "updatedAt", "lastAccessed"}

    def walk(value: Any, name: str) -> Any:
        if name in times:
            return parse_time(value)
        if isinstance(value, dict):
            return {k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, "") for v in value]
        return value

    return {k: walk(v, k) for k, v in finding.items()}


def _rule(analyzer: Analyzer, name: str) -> dict[str, Any]:
    rule = analyzer.rules.get(name)
    if rule is None:
        raise _not_found("ArchiveRule", name)
    return rule


def _check_filter(criteria: dict[str, Any]) -> None:
    if not criteria:
        raise invalid("filter", "A filter needs at least one criterion.")
    for key, criterion in criteria.items():
        if key == "status":
            raise invalid("filter.status", "status is not allowed in archive rules.")
        if not criterion:
            raise invalid(f"filter.{key}", "A criterion needs eq, neq, contains or exists.")


def _chosen(analyzer: Analyzer, ids: list[str]) -> list[dict[str, Any]]:
    missing = [finding_id for finding_id in ids if finding_id not in analyzer.findings]
    if missing:
        raise ValueError(f"{analyzer.arn} has no finding {', '.join(missing)}")
    return [analyzer.findings[finding_id] for finding_id in ids]


def _not_found(kind: str, name: str) -> AwsError:
    return AwsError(
        "ResourceNotFoundException",
        f"{kind} {name} does not exist.",
        404,
        resourceId=name,
        resourceType=kind,
    )


def _conflict(name: str, kind: str, message: str) -> AwsError:
    return AwsError("ConflictException", message, 409, resourceId=name, resourceType=kind)


def _quota(kind: str, name: str, message: str) -> AwsError:
    return AwsError(
        "ServiceQuotaExceededException", message, 402, resourceId=name, resourceType=kind
    )
