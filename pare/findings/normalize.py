"""What an event is about, made one shape: a finding, a preview, somebody's call, the doctor's test.

Shapes: https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html
(facts §4 lists the traps: two id keys, no findingType in the external event, error findings).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pare.arns import region_of
from pare.errors import FindingParseError, UnknownFindingError
from pare.findings import fields
from pare.findings.call import CallJson, call_of
from pare.findings.check import DETAIL_TYPE as CHECK
from pare.findings.check import CheckJson, check_of
from pare.findings.model import Access, Finding, FindingJson, OwnerSource, Source
from pare.findings.preview import PreviewJson, analyzer_of, preview_of
from pare.findings.sent import PARE_FINDING, SENDERS

if TYPE_CHECKING:
    from datetime import datetime

# detail-type -> access, key of the finding id, finding types (the first where none is sent)
FAMILIES: dict[str, tuple[Access, str, tuple[str, ...]]] = {
    "Access Analyzer Finding": ("external", "id", ("ExternalAccess",)),
    "Internal Access Finding": ("internal", "id", ("InternalAccess",)),
    "Unused Access Finding for IAM entities": (
        "unused",
        "findingId",
        ("UnusedPermission", "UnusedIAMRole", "UnusedIAMUserAccessKey", "UnusedIAMUserPassword"),
    ),
}
STATUSES = ("ACTIVE", "ARCHIVED", "RESOLVED")

PREVIEW = "Access Preview State Change"
CALL = "AWS API Call via CloudTrail"

# source of the finding -> its analyzer_arn, its access, its types
OWN: dict[Source, tuple[str, Access, tuple[str, ...]]] = {
    "pare-inventory": (
        "pare:inventory",
        "unused",
        ("UnusedPermission", "UnusedIAMRole", "UnusedIAMUserAccessKey", "UnusedIAMUserPassword"),
    ),
    "pare-watch": (
        "pare:watch",
        "watch",
        ("AnalyzerMissing", "AnalyzerNotActive", "AnalyzerDeleted", "AnalyzerUnread",
         "RegionUnread", "ArchiveRuleHidesPublic", "ArchiveRuleDrift", "ExemptionExpiring"),
    ),
}  # fmt: skip
_TYPES: dict[str, tuple[str, ...]] = {access: types for access, _, types in FAMILIES.values()}
_OWNER_SOURCES: tuple[OwnerSource, ...] = ("tag", "account contact", "settings")


class NormalizedJson(TypedDict):
    """What an event is about; of the four, only that of ``kind`` is not null."""

    kind: Literal["finding", "preview", "call", "check"]
    finding: FindingJson | None
    preview: PreviewJson | None
    call: CallJson | None
    check: CheckJson | None


def normalize(event: Mapping[str, Any], now: datetime) -> NormalizedJson:
    """Return what an EventBridge event is about.

    ``now``: from when on a test event of the doctor's is remembered for a day. Raises
    UnknownFindingError for a detail-type, finding type, status or call that this version does not
    know, FindingParseError for an event without a field that is always sent.
    """
    if not isinstance(event, Mapping):
        raise FindingParseError("the event is not a JSON object")
    fields.check_json(event)
    detail_type = event.get("detail-type")
    known = (*FAMILIES, PREVIEW, CALL, PARE_FINDING, CHECK)
    if not isinstance(detail_type, str) or detail_type not in known:
        raise UnknownFindingError(f"unknown detail-type {fields.shown(detail_type)}")
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise FindingParseError("the event has no detail object")
    about: NormalizedJson = {
        "kind": "finding", "finding": None, "preview": None, "call": None, "check": None,
    }  # fmt: skip
    if detail_type == PREVIEW:
        return {**about, "kind": "preview", "preview": preview_of(event, detail)}
    if detail_type == CALL:
        return {**about, "kind": "call", "call": call_of(detail)}
    if detail_type == CHECK:
        return {**about, "kind": "check", "check": check_of(detail, now)}
    if detail_type == PARE_FINDING:
        return {**about, "finding": _sent_by_pare(event, detail).to_json()}
    return {**about, "finding": _sent_by_aws(event, detail, detail_type).to_json()}


def _sent_by_aws(event: Mapping[str, Any], detail: Mapping[str, Any], family: str) -> Finding:
    access, id_key, finding_types = FAMILIES[family]
    finding_type = detail.get("findingType")
    if finding_type is None and access != "unused":
        finding_type = finding_types[0]
    _check_type(finding_type, finding_types, family)
    status = _status(detail)
    analyzer_arn = analyzer_of(event)
    return Finding(
        finding_id=fields.identifier(detail, id_key),
        access=access,
        finding_type=str(finding_type),
        status=status,
        is_deleted=fields.flag(detail, "isDeleted") is True,
        account_id=fields.account_id(detail, "accountId"),
        region=fields.region(region_of(analyzer_arn) or fields.text(event, "region")),
        analyzer_arn=analyzer_arn,
        resource=fields.text(detail, "resource"),
        resource_type=fields.text(detail, "resourceType"),
        created_at=fields.time(detail, "createdAt"),
        updated_at=fields.time(detail, "updatedAt"),
        analyzed_at=fields.time(detail, "analyzedAt"),
        error=fields.optional_text(detail, "error"),
        is_public=fields.flag(detail, "isPublic"),
        principal=fields.pairs(detail, "principal"),
        actions=fields.texts(detail, "action"),
        condition=fields.pairs(detail, "condition"),
        unused_service_count=fields.count(detail, "numberOfUnusedServices"),
        unused_action_count=fields.count(detail, "numberOfUnusedActions"),
        principal_account_id=fields.optional_account_id(detail, "principalOwnerAccount"),
        access_type=fields.optional_text(detail, "accessType"),
        # The API names them without "Type" (facts §4).
        resource_control_policy_restriction=fields.optional_text(
            detail, "resourceControlPolicyRestrictionType"
        ),
        service_control_policy_restriction=fields.optional_text(
            detail, "serviceControlPolicyRestrictionType"
        ),
    )


def _sent_by_pare(event: Mapping[str, Any], detail: Mapping[str, Any]) -> Finding:
    """Return the finding that a step of ours sent, each field checked as one of AWS's is.

    What Enrich finding finds out anew (exposure, severity, access levels) is not taken from it.
    """
    sender = event.get("source")
    if not isinstance(sender, str) or sender not in SENDERS:
        raise UnknownFindingError(f"unknown sender {fields.shown(sender)} of a {PARE_FINDING}")
    sent = detail.get("finding")
    if not isinstance(sent, Mapping):
        raise FindingParseError("the event has no finding object in its detail")
    source: Source = fields.one_of(sent, "source", SENDERS[sender])
    analyzer_arn = fields.text(sent, "analyzer_arn")
    region = fields.region(fields.text(sent, "region"))
    access: Access
    if source == "access-analyzer":
        access = fields.one_of(sent, "access", tuple(_TYPES))
        finding_types = _TYPES[access]
        if analyzer_arn.split(":")[2:3] != ["access-analyzer"] or region_of(analyzer_arn) != region:
            raise FindingParseError(
                f"analyzer_arn is no analyzer in {region}: {fields.shown(analyzer_arn)}"
            )
    else:
        own_arn, access, finding_types = OWN[source]
        fields.one_of(sent, "access", (access,))
        fields.one_of(sent, "analyzer_arn", (own_arn,))
    _check_type(sent.get("finding_type"), finding_types, source)
    return Finding(
        finding_id=fields.identifier(sent, "finding_id"),
        access=access,
        finding_type=fields.text(sent, "finding_type"),
        status=_status(sent),
        is_deleted=fields.flag(sent, "is_deleted") is True,
        account_id=fields.account_id(sent, "account_id"),
        region=region,
        analyzer_arn=analyzer_arn,
        resource=fields.text(sent, "resource"),
        resource_type=fields.text(sent, "resource_type"),
        created_at=fields.time(sent, "created_at"),
        updated_at=fields.time(sent, "updated_at"),
        analyzed_at=fields.time(sent, "analyzed_at"),
        error=fields.optional_text(sent, "error"),
        is_public=fields.flag(sent, "is_public"),
        principal=fields.pairs(sent, "principal"),
        actions=fields.texts(sent, "actions"),
        condition=fields.pairs(sent, "condition"),
        unused_service_count=fields.count(sent, "unused_service_count"),
        unused_action_count=fields.count(sent, "unused_action_count"),
        account_name=fields.optional_text(sent, "account_name"),
        owner=fields.optional_text(sent, "owner"),
        unused_services=fields.texts(sent, "unused_services"),
        # Of Access Analyzer's findings all of this is found out anew.
        unknown=() if source == "access-analyzer" else fields.texts(sent, "unknown"),
        source=source,
        principal_account_id=fields.optional_account_id(sent, "principal_account_id"),
        owner_source=(
            fields.one_of(sent, "owner_source", _OWNER_SOURCES)
            if sent.get("owner_source") is not None
            else None
        ),
        tags=fields.pairs(sent, "tags"),
        access_type=fields.optional_text(sent, "access_type"),
        resource_control_policy_restriction=fields.optional_text(
            sent, "resource_control_policy_restriction"
        ),
        service_control_policy_restriction=fields.optional_text(
            sent, "service_control_policy_restriction"
        ),
        granted_through=fields.texts(sent, "granted_through"),
        last_accessed_at=fields.optional_time(sent, "last_accessed_at"),
        access_key_id=fields.optional_text(sent, "access_key_id"),
        values=fields.values(sent, "values"),
    )


def _check_type(finding_type: object, known: tuple[str, ...], where: str) -> None:
    if finding_type not in known:
        raise UnknownFindingError(f"unknown finding type {fields.shown(finding_type)} in {where!r}")


def _status(found: Mapping[str, Any]) -> str:
    status = fields.text(found, "status")
    if status not in STATUSES:
        raise UnknownFindingError(f"unknown finding status {fields.shown(status)}")
    return status
