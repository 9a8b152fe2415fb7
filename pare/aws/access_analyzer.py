"""Access Analyzer: findings, policy generation, policy checks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.aws.calls import translated
from pare.clock import format_time
from pare.errors import AccessAnalyzerQuotaError, PolicyGenerationConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mypy_boto3_accessanalyzer import AccessAnalyzerClient

    from pare.policy.evidence import GeneratedPolicyJson

_REFUSED = {
    "ServiceQuotaExceededException": AccessAnalyzerQuotaError,
    "ConflictException": PolicyGenerationConflictError,
}


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

    def finding_details(self, analyzer_arn: str, finding_id: str) -> list[dict[str, Any]]:
        """Return the ``findingDetails`` of a finding, all pages of them."""
        details: list[dict[str, Any]] = []
        with translated("access-analyzer:GetFindingV2"):
            paginator = self.client.get_paginator("get_finding_v2")
            for page in paginator.paginate(analyzerArn=analyzer_arn, id=finding_id):
                details += [dict(item) for item in page["findingDetails"]]
        return details

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
