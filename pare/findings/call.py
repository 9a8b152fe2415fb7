"""A call of UpdateFindings, as CloudTrail tells of it: somebody archived findings, or took it back.

https://docs.aws.amazon.com/IAM/latest/UserGuide/logging-using-cloudtrail.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from pare.clock import parse_time
from pare.errors import FindingParseError, UnknownFindingError
from pare.findings import fields

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT_SOURCE = "access-analyzer.amazonaws.com"
EVENT_NAME = "UpdateFindings"
STATUSES = ("ACTIVE", "ARCHIVED")  # those that UpdateFindings sets


class CallJson(TypedDict):
    """Who set findings of an analyzer to which status.

    Of a call that failed AWS may not record the parameters: then ``analyzer_arn`` and ``status``
    are empty, and no finding is named.
    """

    who: (
        str  # the ARN of the caller, else its kind, such as Root; ``unknown`` where neither is said
    )
    at: str
    analyzer_arn: str
    finding_ids: list[str]
    resource_arn: str | None  # all findings of this resource are meant
    status: str
    event_name: str
    error_code: str | None


def call_of(detail: Mapping[str, Any]) -> CallJson:
    """Return the call in a CloudTrail record.

    Raises UnknownFindingError for any other call, FindingParseError for one that succeeded and yet
    does not say of which findings.
    """
    source, name = detail.get("eventSource"), detail.get("eventName")
    if source != EVENT_SOURCE or name != EVENT_NAME:
        raise UnknownFindingError(f"unknown call {fields.shown(name)} of {fields.shown(source)}")
    error_code = fields.optional_text(detail, "errorCode")
    asked = fields.mapping(detail, "requestParameters")
    at = fields.time(detail, "eventTime")
    who = _who(detail)
    if error_code is not None:
        asked = {}  # it changed nothing, whatever was asked
    elif not asked.get("ids") and not asked.get("resourceArn"):
        raise FindingParseError("the call names neither ids nor resourceArn")
    finding_ids = [
        fields.identifier({"ids": each}, "ids") for each in fields.texts(asked, "ids")
    ]  # fmt: skip
    return {
        "who": who,
        "at": at,
        "analyzer_arn": "" if error_code else fields.text(asked, "analyzerArn"),
        "finding_ids": sorted(set(finding_ids)),
        "resource_arn": fields.optional_text(asked, "resourceArn"),
        "status": "" if error_code else fields.one_of(asked, "status", STATUSES),
        "event_name": EVENT_NAME,
        "error_code": error_code,
    }


def tells_of_archiver(call: CallJson, item: Mapping[str, Any]) -> bool:
    """Return whether a call that archived is news of who archived the finding of an item.

    It is not where the item knows a reason: that was given through Pare, whose own call this then
    is, or is older. Nor where the item knows a later archiver, or is of another analyzer.
    """
    # An item that an earlier version wrote has the analyzer in its finding alone.
    if item["finding"]["analyzer_arn"] != call["analyzer_arn"]:
        return False
    archived = item.get("archived")
    if not archived:
        return True
    return not archived["reason"] and parse_time(archived["at"]) < parse_time(call["at"])


def _who(detail: Mapping[str, Any]) -> str:
    """Return who called, as far as the record says; that it does not is no reason to refuse it."""
    identity = fields.mapping(detail, "userIdentity")
    for key in ("arn", "invokedBy", "type"):
        value = identity.get(key)
        if isinstance(value, str) and value:
            return value[: fields.TEXT_LIMIT]
    return "unknown"
