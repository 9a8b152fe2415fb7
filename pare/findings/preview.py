"""An access preview: what a policy that is not yet in force would open.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-preview-access-apis.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pare.arns import region_of
from pare.errors import FindingParseError, UnknownFindingError
from pare.findings import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

PreviewStatus = Literal["CREATING", "COMPLETED", "FAILED"]
STATUSES: tuple[PreviewStatus, ...] = ("CREATING", "COMPLETED", "FAILED")


class PreviewJson(TypedDict):
    """The state of an access preview, as its event says."""

    preview_id: str
    status: PreviewStatus
    configured_resources: list[str]
    region: str
    account_id: str  # the analyzer's
    analyzer_arn: str
    created_at: str
    reason_code: str | None  # why it failed: INTERNAL_ERROR, INVALID_CONFIGURATION


class PreviewFindingJson(TypedDict):
    """A finding that a preview says there would be (ListAccessPreviewFindings)."""

    finding_id: str
    change: str  # NEW, CHANGED or UNCHANGED
    status: str  # that it would have
    existing_finding_id: str | None
    existing_status: str | None
    account_id: str  # owner of the resource
    resource: str
    resource_type: str
    is_public: bool | None
    principal: dict[str, str]
    actions: list[str]
    condition: dict[str, str]
    error: str | None


def preview_of(event: Mapping[str, Any], detail: Mapping[str, Any]) -> PreviewJson:
    """Return the preview in an event.

    Raises UnknownFindingError for a status that this version does not know, FindingParseError for
    an event without a field that AWS always sends.
    """
    analyzer_arn = analyzer_of(event)
    status: Any = fields.text(detail, "status")
    if status not in STATUSES:
        raise UnknownFindingError(f"unknown access preview status {fields.shown(status)}")
    return {
        "preview_id": fields.identifier(detail, "accessPreviewId"),
        "status": status,
        "configured_resources": list(fields.texts(detail, "configuredResources")),
        "region": fields.region(region_of(analyzer_arn) or fields.text(event, "region")),
        "account_id": fields.account_id(event, "account"),
        "analyzer_arn": analyzer_arn,
        "created_at": fields.time(detail, "createdAt"),
        "reason_code": fields.optional_text(fields.mapping(detail, "statusReason"), "code"),
    }


def analyzer_of(event: Mapping[str, Any]) -> str:
    """Return the ARN of the analyzer that an event of Access Analyzer is from."""
    resources = event.get("resources")
    if not isinstance(resources, list) or not resources or not isinstance(resources[0], str):
        raise FindingParseError("the event names no analyzer in resources[0]")
    return fields.text({"resources[0]": resources[0]}, "resources[0]")


def opens(finding: PreviewFindingJson) -> bool:
    """Return whether a finding of a preview is access that the change would open or widen.

    One whose status would be RESOLVED is access taken away; ARCHIVED is access that is meant. One
    with an error could not be judged, so nobody knows: it counts.
    """
    return finding["change"] != "UNCHANGED" and finding["status"] == "ACTIVE"
