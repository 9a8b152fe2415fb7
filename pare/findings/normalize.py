"""The three event families of Access Analyzer made one.

Shapes: https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html
(facts §4 lists the traps: two id keys, no findingType in the external event, error findings).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pare.arns import region_of
from pare.clock import format_time, parse_time
from pare.errors import FindingParseError, UnknownFindingError
from pare.findings.model import Access, Finding

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
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z0-9-]{1,63}")


def normalize(event: Mapping[str, Any]) -> Finding:
    """Return the finding in an EventBridge event.

    Raises UnknownFindingError for a detail-type, finding type or status that this version does not
    know, FindingParseError for an event without a field that AWS always sends.
    """
    if not isinstance(event, Mapping):
        raise FindingParseError("the event is not a JSON object")
    detail_type = event.get("detail-type")
    if not isinstance(detail_type, str) or detail_type not in FAMILIES:
        raise UnknownFindingError(f"unknown detail-type {_shown(detail_type)}")
    access, id_key, finding_types = FAMILIES[detail_type]
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise FindingParseError("the event has no detail object")
    finding_type = detail.get("findingType")
    if finding_type is None and access != "unused":
        finding_type = finding_types[0]
    if finding_type not in finding_types:
        raise UnknownFindingError(f"unknown finding type {_shown(finding_type)} in {detail_type!r}")
    status = _text(detail, "status")
    if status not in STATUSES:
        raise UnknownFindingError(f"unknown finding status {_shown(status)}")
    analyzers = event.get("resources")
    if not isinstance(analyzers, list) or not analyzers or not isinstance(analyzers[0], str):
        raise FindingParseError("the event names no analyzer in resources[0]")
    return Finding(
        finding_id=_text(detail, id_key),
        access=access,
        finding_type=finding_type,
        status=status,
        is_deleted=_flag(detail, "isDeleted") is True,
        account_id=_account_id(detail),
        region=_region(region_of(analyzers[0]) or _text(event, "region")),
        analyzer_arn=analyzers[0],
        resource=_text(detail, "resource"),
        resource_type=_text(detail, "resourceType"),
        created_at=_time(detail, "createdAt"),
        updated_at=_time(detail, "updatedAt"),
        analyzed_at=_time(detail, "analyzedAt"),
        error=_optional_text(detail, "error"),
        is_public=_flag(detail, "isPublic"),
        principal=_pairs(detail, "principal"),
        actions=_texts(detail, "action"),
        condition=_pairs(detail, "condition"),
        unused_service_count=_count(detail, "numberOfUnusedServices"),
        unused_action_count=_count(detail, "numberOfUnusedActions"),
    )


def _shown(value: object) -> str:
    """Return a value from outside for an error message: as JSON, at most 100 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise FindingParseError(f"{key} is missing or not a text: {_shown(value)}")
    return value


def _optional_text(fields: Mapping[str, Any], key: str) -> str | None:
    return _text(fields, key) if fields.get(key) is not None else None


def _account_id(detail: Mapping[str, Any]) -> str:
    account_id = _text(detail, "accountId")
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise FindingParseError(f"accountId is not an account id: {_shown(account_id)}")
    return account_id


def _region(region: str) -> str:
    # It becomes part of a host name.
    if not _REGION.fullmatch(region):
        raise FindingParseError(f"the analyzer's region is not a Region: {_shown(region)}")
    return region


def _flag(detail: Mapping[str, Any], key: str) -> bool | None:
    value = detail.get(key)
    if value is not None and not isinstance(value, bool):
        raise FindingParseError(f"{key} is neither true nor false: {_shown(value)}")
    return value


def _time(detail: Mapping[str, Any], key: str) -> str:
    text = _text(detail, key)
    try:
        return format_time(parse_time(text))
    except ValueError as error:
        raise FindingParseError(f"{key} is not a time: {_shown(text)}") from error


def _count(detail: Mapping[str, Any], key: str) -> int | None:
    value = detail.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FindingParseError(f"{key} is not a count: {_shown(value)}")
    return value


def _texts(detail: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = detail.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FindingParseError(f"{key} is not a list of texts: {_shown(value)}")
    return tuple(sorted(value))


def _pairs(detail: Mapping[str, Any], key: str) -> tuple[tuple[str, str], ...]:
    value = detail.get(key)
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise FindingParseError(f"{key} is not an object: {_shown(value)}")
    return tuple(sorted(
        (str(name), text if isinstance(text, str) else json.dumps(text, sort_keys=True))
        for name, text in value.items()
    ))  # fmt: skip
