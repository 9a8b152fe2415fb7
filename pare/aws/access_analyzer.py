"""Access Analyzer: findings, policy generation, policy checks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pare.aws.calls import translated
from pare.clock import format_time
from pare.errors import (
    AccessAnalyzerQuotaError,
    AwsServiceError,
    ConditionFailedError,
    PareError,
    PolicyGenerationConflictError,
    ThrottledError,
)
from pare.findings.archive_rules import ActualRule
from pare.findings.compare import Listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from mypy_boto3_accessanalyzer import AccessAnalyzerClient

    from pare.findings.archive_rules import FilterJson
    from pare.findings.preview import PreviewFindingJson
    from pare.findings.watch import AnalyzerJson, RegionJson
    from pare.policy.evidence import GeneratedPolicyJson

_REFUSED = {
    "ServiceQuotaExceededException": AccessAnalyzerQuotaError,
    "ConflictException": PolicyGenerationConflictError,
}
_GONE = {"ResourceNotFoundException": ConditionFailedError}
# Of a rule more than there may be; the quota can be raised, so only AWS knows it.
_EXISTS = {
    "ConflictException": ConditionFailedError,
    "ServiceQuotaExceededException": AccessAnalyzerQuotaError,
}
# Of a Region that does not answer, beside the SDK's own retries: a Region unread is a message.
TRIES = 3
PAUSE_SECONDS = 5.0
# Neither has a documented most; a page of this many findings stays far below 1 MB.
_PAGE = 100
_IDS_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class AccessAnalyzer:
    """Calls Access Analyzer in one account and Region."""

    client: AccessAnalyzerClient
    account_id: str | None = None

    def start_policy_generation(
        self,
        *,
        principal_arn: str,
        trail_arn: str,
        regions: tuple[str, ...],
        access_role_arn: str,
        start: datetime,
        end: datetime,
        client_token: str,
    ) -> str:
        """Start a policy generation and return its job id.

        Raises AccessAnalyzerQuotaError (one at a time, 50 a day: facts §2),
        PolicyGenerationConflictError, ThrottledError or MemberAccountError.
        """
        where: Mapping[str, Any] = {"regions": list(regions)} if regions else {"allRegions": True}
        with translated("access-analyzer:StartPolicyGeneration", account_id=self.account_id,
                        codes=_REFUSED):  # fmt: skip
            return self.client.start_policy_generation(
                policyGenerationDetails={"principalArn": principal_arn},
                cloudTrailDetails={
                    "trails": [{"cloudTrailArn": trail_arn, **where}],  # type: ignore[typeddict-item]
                    "accessRole": access_role_arn,
                    "startTime": start,
                    "endTime": end,
                },
                clientToken=client_token,
            )["jobId"]

    def get_generated_policy(self, job_id: str) -> GeneratedPolicyJson:
        """Return the state of a policy generation and, when it succeeded, its policies."""
        with translated("access-analyzer:GetGeneratedPolicy", account_id=self.account_id):
            answer = self.client.get_generated_policy(
                jobId=job_id, includeResourcePlaceholders=True, includeServiceLevelTemplate=False
            )
        job = answer["jobDetails"]
        result = answer["generatedPolicyResult"]
        properties = result["properties"]
        completed_at = job.get("completedOn")
        failure = job.get("jobError")
        trail = properties.get("cloudTrailProperties")
        return {
            "job_id": job["jobId"],
            "status": job["status"],
            "started_at": format_time(job["startedOn"]),
            "completed_at": format_time(completed_at) if completed_at else None,
            "error_code": failure["code"] if failure else None,
            "error_message": failure["message"] if failure else None,
            "is_complete": properties.get("isComplete"),
            # One JSON text per policy: a long result is split in several (facts §2).
            "policies": [
                json.loads(item["policy"]) for item in result.get("generatedPolicies", [])
            ],
            "trail": {
                "trails": [dict(item) for item in trail["trailProperties"]],
                "start": format_time(trail["startTime"]),
                "end": format_time(trail["endTime"]),
            } if trail else None,
        }  # fmt: skip

    def has_running_policy_generation(self) -> bool:
        """Return whether any policy generation of the account and Region is under way."""
        with translated("access-analyzer:ListPolicyGenerations", account_id=self.account_id):
            pages = self.client.get_paginator("list_policy_generations").paginate()
            return any(
                job["status"] == "IN_PROGRESS"
                for page in pages
                for job in page["policyGenerations"]
            )

    def cancel_policy_generation(self, job_id: str) -> None:
        """Cancel a policy generation; it still counts to the day's quota (facts §1)."""
        with translated("access-analyzer:CancelPolicyGeneration", account_id=self.account_id):
            self.client.cancel_policy_generation(jobId=job_id)

    def finding_details(self, analyzer_arn: str, finding_id: str) -> dict[str, Any]:
        """Return the answer of GetFindingV2, with the ``findingDetails`` of all its pages."""
        answer: dict[str, Any] = {}
        details: list[dict[str, Any]] = []
        with translated("access-analyzer:GetFindingV2"):
            paginator = self.client.get_paginator("get_finding_v2")
            for page in paginator.paginate(analyzerArn=analyzer_arn, id=finding_id):
                answer = {**page}
                details += [dict(item) for item in page["findingDetails"]]
        return {**answer, "findingDetails": details}

    def preview_findings(self, analyzer_arn: str, preview_id: str) -> list[PreviewFindingJson]:
        """Return the findings that there would be by an access preview that is completed."""
        findings: list[PreviewFindingJson] = []
        with translated("access-analyzer:ListAccessPreviewFindings"):
            paginator = self.client.get_paginator("list_access_preview_findings")
            for page in paginator.paginate(analyzerArn=analyzer_arn, accessPreviewId=preview_id):
                findings += [
                    {
                        "finding_id": each["id"],
                        "change": each["changeType"],
                        "status": each["status"],
                        "existing_finding_id": each.get("existingFindingId"),
                        "existing_status": each.get("existingFindingStatus"),
                        "account_id": each["resourceOwnerAccount"],
                        "resource": each.get("resource", ""),
                        "resource_type": each["resourceType"],
                        "is_public": each.get("isPublic"),
                        "principal": dict(each.get("principal", {})),
                        "actions": sorted(each.get("action", [])),
                        "condition": dict(each.get("condition", {})),
                        "error": each.get("error"),
                    }
                    for each in page["findings"]
                ]
        return sorted(findings, key=lambda each: (each["resource"], each["finding_id"]))

    def list_analyzers(self) -> list[AnalyzerJson]:
        """Return the analyzers of the account and Region, of every type and status."""
        found: list[AnalyzerJson] = []
        with translated("access-analyzer:ListAnalyzers", account_id=self.account_id):
            for page in self.client.get_paginator("list_analyzers").paginate():
                found += [self._analyzer(each) for each in page["analyzers"]]
        return sorted(found, key=lambda each: each["arn"])

    def analyzer(self, analyzer_arn: str) -> AnalyzerJson | None:
        """Return an analyzer of the account and Region, or None where there is none of that ARN."""
        name = analyzer_arn.rpartition("/")[2]
        try:
            with translated("access-analyzer:GetAnalyzer", account_id=self.account_id, codes=_GONE):
                answer = self.client.get_analyzer(analyzerName=name)
        except ConditionFailedError:
            return None
        found = self._analyzer(answer["analyzer"])
        return found if found["arn"] == analyzer_arn else None

    def _analyzer(self, answer: Mapping[str, Any]) -> AnalyzerJson:
        return {
            "arn": answer["arn"],
            "name": answer["name"],
            "type": answer["type"],
            "region": self.client.meta.region_name,
            "status": answer["status"],
            "status_reason": answer.get("statusReason", {}).get("code"),
            "created_at": format_time(answer["createdAt"]),
            "managed_by": answer.get("managedBy"),
        }

    def read_region(self) -> RegionJson:
        """Return the analyzers of the Region, or why they could not be listed."""
        region, error = self.client.meta.region_name, ""
        for number in range(TRIES):
            if number:
                time.sleep(PAUSE_SECONDS * number)
            try:
                return {"region": region, "error": None, "analyzers": self.list_analyzers()}
            except (AwsServiceError, ThrottledError) as passing:
                error = str(passing)
            except PareError as lasting:
                error = str(lasting)
                break
        return {"region": region, "error": error[:500], "analyzers": []}

    def list_archive_rules(self, analyzer_name: str) -> list[ActualRule]:
        """Return the archive rules of an analyzer, by name."""
        found: list[ActualRule] = []
        with translated("access-analyzer:ListArchiveRules", account_id=self.account_id):
            paginator = self.client.get_paginator("list_archive_rules")
            for page in paginator.paginate(analyzerName=analyzer_name):
                found += [
                    ActualRule(each["ruleName"], {**each["filter"]})
                    for each in page["archiveRules"]
                ]
        return sorted(found, key=lambda each: each.name)

    def put_archive_rule(
        self, analyzer_name: str, rule_name: str, criteria: FilterJson, *, exists: bool
    ) -> None:
        """Create or change an archive rule; right also where ``exists`` is no longer so.

        It works on findings that come later: see ``apply_archive_rule``. Raises
        AccessAnalyzerQuotaError where the analyzer has as many rules as it may have.
        """
        rule: Any = {
            "analyzerName": analyzer_name,
            "ruleName": rule_name,
            "filter": {key: dict(criterion) for key, criterion in criteria.items()},
        }
        if not exists:
            try:
                with translated("access-analyzer:CreateArchiveRule", account_id=self.account_id,
                                codes=_EXISTS):  # fmt: skip
                    self.client.create_archive_rule(**rule)
                return
            except ConditionFailedError:
                pass  # an answer was lost, or somebody was faster
        with translated("access-analyzer:UpdateArchiveRule", account_id=self.account_id):
            self.client.update_archive_rule(**rule)

    def delete_archive_rule(self, analyzer_name: str, rule_name: str) -> None:
        """Delete an archive rule; one that is gone already is right too."""
        try:
            with translated("access-analyzer:DeleteArchiveRule", account_id=self.account_id,
                            codes=_GONE):  # fmt: skip
                self.client.delete_archive_rule(analyzerName=analyzer_name, ruleName=rule_name)
        except ConditionFailedError:
            return

    def apply_archive_rule(self, analyzer_arn: str, rule_name: str) -> None:
        """Archive the findings there already are that the rule matches (facts §1)."""
        with translated("access-analyzer:ApplyArchiveRule", account_id=self.account_id):
            self.client.apply_archive_rule(analyzerArn=analyzer_arn, ruleName=rule_name)

    def list_findings(
        self, analyzer_arn: str, criteria: FilterJson | None = None
    ) -> Iterator[Listed]:
        """Yield what an analyzer lists, a page at a time: every status, unless filtered."""
        with translated("access-analyzer:ListFindings", account_id=self.account_id):
            pages = self.client.get_paginator("list_findings_v2").paginate(
                analyzerArn=analyzer_arn,
                PaginationConfig={"PageSize": _PAGE},
                **({"filter": criteria} if criteria else {}),  # type: ignore[arg-type]
            )
            for page in pages:
                for each in page["findings"]:
                    yield _listed(each)

    def finding(self, analyzer_arn: str, finding_id: str) -> Listed | None:
        """Return a finding as the list has it, or None where the analyzer has it no more.

        An analyzer that is gone answers the same, so list the analyzers too.
        """
        try:
            with translated("access-analyzer:GetFinding", account_id=self.account_id, codes=_GONE):
                answer = self.client.get_finding_v2(analyzerArn=analyzer_arn, id=finding_id)
        except ConditionFailedError:
            return None
        return _listed(answer)

    def update_findings(
        self, analyzer_arn: str, finding_ids: Iterable[str], status: Literal["ACTIVE", "ARCHIVED"]
    ) -> list[str]:
        """Set findings to a status, and return the ids of those that are gone.

        AWS leaves a resolved finding resolved.
        """
        ids = sorted(set(finding_ids))
        gone: list[str] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            if self._set_status(analyzer_arn, some, status):
                continue
            # One that is gone refuses the others with it.
            gone += [each for each in some if not self._set_status(analyzer_arn, [each], status)]
        return gone

    def _set_status(
        self, analyzer_arn: str, finding_ids: list[str], status: Literal["ACTIVE", "ARCHIVED"]
    ) -> bool:
        try:
            with translated("access-analyzer:UpdateFindings", account_id=self.account_id,
                            codes=_GONE):  # fmt: skip
                self.client.update_findings(
                    analyzerArn=analyzer_arn, ids=finding_ids, status=status
                )
        except ConditionFailedError:
            return False
        return True

    def validate_policy(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what ValidatePolicy says of an identity-based policy."""
        findings: list[dict[str, Any]] = []
        with translated("access-analyzer:ValidatePolicy"):
            paginator = self.client.get_paginator("validate_policy")
            for page in paginator.paginate(
                policyDocument=json.dumps(document), policyType="IDENTITY_POLICY"
            ):
                findings += [
                    {
                        "type": finding["findingType"],
                        "code": finding["issueCode"],
                        "details": finding["findingDetails"],
                        "link": finding["learnMoreLink"],
                    }
                    for finding in page["findings"]
                ]
        return findings

    def check_no_new_access(
        self, new: Mapping[str, Any], existing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what CheckNoNewAccess says: PASS or FAIL with reasons. Each call costs."""
        with translated("access-analyzer:CheckNoNewAccess"):
            answer = self.client.check_no_new_access(
                newPolicyDocument=json.dumps(new),
                existingPolicyDocument=json.dumps(existing),
                policyType="IDENTITY_POLICY",
            )
        return {
            "result": answer["result"],
            "message": answer.get("message", ""),
            "reasons": [dict(reason) for reason in answer.get("reasons", [])],
        }


def _listed(answer: Mapping[str, Any]) -> Listed:
    return Listed(
        finding_id=answer["id"],
        finding_type=answer.get("findingType"),
        status=answer["status"],
        account_id=answer["resourceOwnerAccount"],
        resource=answer.get("resource", ""),
        resource_type=answer["resourceType"],
        created_at=format_time(answer["createdAt"]),
        updated_at=format_time(answer["updatedAt"]),
        analyzed_at=format_time(answer["analyzedAt"]),
        error=answer.get("error"),
    )
