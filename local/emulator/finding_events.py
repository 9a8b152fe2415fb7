"""The EventBridge events of findings and access previews, in their three families (facts §4).

https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html has a sample of
each; the families differ in the key of the id, in what names the type, and in their times.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.emulator.shapes import iso

if TYPE_CHECKING:
    from datetime import datetime

SOURCE = "aws.access-analyzer"
_PREVIEW = "Access Preview State Change"
_NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """An event that a service puts on the default bus of an account and Region."""

    account_id: str
    region: str
    source: str
    detail_type: str
    resources: tuple[str, ...]
    detail: dict[str, Any]


def finding_event(
    analyzer_arn: str,
    finding: dict[str, Any],
    *,
    previous_status: str = "",
    is_deleted: bool = False,
) -> ServiceEvent:
    """Return the event about a finding (GetFindingV2's answer, times parsed) as it is now."""
    kind = finding["findingType"]
    if kind == "ExternalAccess":
        detail_type, detail = "Access Analyzer Finding", _external(analyzer_arn, finding)
    elif kind == "InternalAccess":
        detail_type, detail = "Internal Access Finding", _internal(finding)
    else:
        detail_type = "Unused Access Finding for IAM entities"
        detail = _unused(finding, previous_status)
    return _event(analyzer_arn, detail_type, {**detail, "isDeleted": is_deleted})


def preview_event(
    analyzer_arn: str, preview: dict[str, Any], *, previous_status: str | None = None
) -> ServiceEvent:
    """Return the event about an access preview (its part of GetAccessPreview's answer)."""
    detail = {
        "accessPreviewId": preview["id"],
        "configuredResources": sorted(preview["configurations"]),
        "createdAt": iso(preview["createdAt"]),
        "region": analyzer_arn.split(":")[3],
        "status": preview["status"],
        "version": "1.0",
    }
    if previous_status is not None:
        detail["previousStatus"] = previous_status
    if preview.get("statusReason"):
        detail["statusReason"] = preview["statusReason"]
    return _event(analyzer_arn, _PREVIEW, detail)


def _event(analyzer_arn: str, detail_type: str, detail: dict[str, Any]) -> ServiceEvent:
    parts = analyzer_arn.split(":")
    return ServiceEvent(
        account_id=parts[4],
        region=parts[3],
        source=SOURCE,
        detail_type=detail_type,
        resources=(analyzer_arn,),
        detail=detail,
    )


def _external(analyzer_arn: str, finding: dict[str, Any]) -> dict[str, Any]:
    detail = _common(finding) | {
        "id": finding["id"],
        "region": analyzer_arn.split(":")[3],
        "version": "1.0",
    }
    if finding.get("error"):
        return detail | {"error": finding["error"]}
    found = _details(finding)
    return detail | {
        "action": found.get("action", []),
        "condition": found.get("condition", {}),
        "isPublic": found.get("isPublic", False),
        "principal": found.get("principal", {}),
    }


def _internal(finding: dict[str, Any]) -> dict[str, Any]:
    found = _details(finding)
    detail = _common(finding, nanoseconds=True) | {
        "id": finding["id"],
        "findingType": finding["findingType"],
        # The event's names have "Type" at their end, the API's have not.
        "resourceControlPolicyRestrictionType": found.get(
            "resourceControlPolicyRestriction", _NOT_APPLICABLE
        ),
        "serviceControlPolicyRestrictionType": found.get(
            "serviceControlPolicyRestriction", _NOT_APPLICABLE
        ),
        "version": "1.0",
    }
    if finding.get("error"):
        return detail | {"error": finding["error"]}
    same = ("accessType", "principalOwnerAccount", "principalType")
    return detail | {
        "action": found.get("action", []),
        "condition": found.get("condition", {}),
        "principal": found.get("principal", {}),
        **{name: found[name] for name in same if name in found},
    }


def _unused(finding: dict[str, Any], previous_status: str) -> dict[str, Any]:
    detail = _common(finding) | {
        "findingId": finding["id"],
        "findingType": finding["findingType"],
        "previousStatus": previous_status,
        "version": str(uuid.uuid4()),
    }
    if finding.get("error"):
        return detail | {"error": finding["error"]}
    if finding["findingType"] != "UnusedPermission":
        return detail
    entries = [item["unusedPermissionDetails"] for item in finding["findingDetails"]]
    actions = [len(entry.get("actions") or []) for entry in entries]
    return detail | {
        "numberOfUnusedServices": actions.count(0),
        "numberOfUnusedActions": sum(actions),
    }


def _common(finding: dict[str, Any], *, nanoseconds: bool = False) -> dict[str, Any]:
    def text(moment: datetime) -> str:
        if not nanoseconds:
            return iso(moment)
        # The sample has nine digits; the API tells the same moment in milliseconds.
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}073Z"

    return {
        "accountId": finding["resourceOwnerAccount"],
        "analyzedAt": text(finding["analyzedAt"]),
        "createdAt": text(finding["createdAt"]),
        "updatedAt": text(finding["updatedAt"]),
        "resource": finding.get("resource", ""),
        "resourceType": finding["resourceType"],
        "status": finding["status"],
    }


def _details(finding: dict[str, Any]) -> dict[str, Any]:
    """Return the first of the finding's details, without the name of its union member."""
    for detail in finding["findingDetails"]:
        for found in detail.values():
            return dict(found)
    return {}
