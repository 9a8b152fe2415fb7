"""What GetFindingV2 says of a finding, joined with what is known of it.

https://docs.aws.amazon.com/access-analyzer/latest/APIReference/API_GetFindingV2.html: the details
are a list of a union, one entry for access, and for unused permissions one for each service.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pare.clock import json_times, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.findings.model import Finding

_STATUSES = ("ACTIVE", "ARCHIVED", "RESOLVED")
# More actions than this in one finding are counted, not named: a state passes 256 KiB at most.
ACTIONS_LIMIT = 1_000
_ACCESS = ("externalAccessDetails", "internalAccessDetails")
# Of access, by their names in the answer: what an answer that has them says in full.
_SENT = {"actions": "action", "principal": "principal", "condition": "condition"}
_Age = Literal["newer", "older", "error"]
_UNUSED = ("unusedIamRoleDetails", "unusedIamUserAccessKeyDetails", "unusedIamUserPasswordDetails")


def with_details(finding: Finding, answer: Mapping[str, Any]) -> Finding:
    """Return the finding with what the answer of GetFindingV2 says; its details are all pages'.

    The answer is newer than the event where its ``updatedAt`` is later: then its status, times and
    error count. Where it is earlier (a read may lag behind), it only adds what the event lacks.
    Otherwise the access is as the answer has it, also where it has no condition any more; but an
    answer of what could not be analyzed says nothing by what it leaves out.
    """
    said: dict[str, Any] = json_times(dict(answer))
    unknown = list(finding.unknown)
    order = _order(said["updatedAt"], finding.updated_at)
    changes: dict[str, Any] = {}
    if order > 0:
        if said["status"] in _STATUSES:
            changes["status"] = said["status"]
        else:
            unknown.append(f"status: {str(said['status'])[:100]} is none that Pare knows")
        changes |= {
            "updated_at": said["updatedAt"],
            "analyzed_at": said["analyzedAt"],
            "error": said.get("error"),
        }
    elif order == 0:
        changes["error"] = finding.error or said.get("error")
    details = said["findingDetails"]
    access = [entry[name] for entry in details for name in _ACCESS if name in entry]
    if access:
        is_error = changes.get("error", finding.error) is not None
        age: _Age = "older" if order < 0 else "error" if is_error else "newer"
        changes |= _access(finding, access, age=age, unknown=unknown)
    permissions = [
        entry["unusedPermissionDetails"] for entry in details if "unusedPermissionDetails" in entry
    ]
    if permissions:
        changes |= _permissions(finding, permissions)
    for entry in details:
        for name in _UNUSED:
            if name in entry:
                changes["last_accessed_at"] = entry[name].get("lastAccessed")
                changes["access_key_id"] = entry[name].get("accessKeyId")
    if not (set().union(*details) <= {*_ACCESS, *_UNUSED, "unusedPermissionDetails"}):
        unknown.append("finding details: of a kind that this version of Pare does not know")
    return replace(finding, **changes, unknown=tuple(unknown))


def _order(said: str, known: str) -> int:
    """Return whether the answer is newer (1), of the same second (0) or older (-1).

    Events and the API give the same moment with different fractions of a second.
    """
    one, other = parse_time(said), parse_time(known)
    if one.replace(microsecond=0) == other.replace(microsecond=0):
        return 0
    return 1 if one > other else -1


def _access(
    finding: Finding, entries: list[dict[str, Any]], *, age: _Age, unknown: list[str]
) -> dict[str, Any]:
    """Return the fields of external or internal access; of the first principal, if several.

    ``age`` is the answer's against the event's, or that it is the answer of an error finding.
    """
    first = entries[0]
    if any(entry.get("principal") != first.get("principal") for entry in entries):
        unknown.append("principal: Access Analyzer names several, this is the first")
        entries = [entry for entry in entries if entry.get("principal") == first.get("principal")]
    actions = sorted({action for entry in entries for action in entry.get("action", ())})
    if len(actions) > ACTIONS_LIMIT:
        unknown.append(f"actions: {len(actions) - ACTIONS_LIMIT:,} more than are named")
    told: dict[str, Any] = {
        "actions": tuple(actions[:ACTIONS_LIMIT]),
        "principal": tuple(sorted(first.get("principal", {}).items())),
        "condition": _shared_conditions(entries, unknown),
        "is_public": first.get("isPublic"),
        "principal_account_id": first.get("principalOwnerAccount"),
        "access_type": first.get("accessType"),
        "resource_control_policy_restriction": first.get("resourceControlPolicyRestriction"),
        "service_control_policy_restriction": first.get("serviceControlPolicyRestriction"),
        "granted_through": tuple(
            sorted({source["type"] for entry in entries for source in entry.get("sources", ())})
        ),
    }
    # What the answer leaves out, it does not deny. A condition it always has: {} means that there
    # is none (any more).
    found = {
        name: value
        for name, value in told.items()
        if value not in (None, ()) and (age != "older" or getattr(finding, name) in (None, ()))
    }
    if age == "newer":
        return found | {
            name: told[name]
            for name, sent in _SENT.items()
            if all(sent in each for each in entries)
        }
    if age == "older" and finding.principal:
        found.pop("condition", None)  # the event, which is newer, brought none
    return found


def _shared_conditions(
    entries: list[dict[str, Any]], unknown: list[str]
) -> tuple[tuple[str, str], ...]:
    """Return the conditions that narrow every way to the access; one way without is wide open."""
    each_has = [set(entry.get("condition", {}).items()) for entry in entries]
    shared = set.intersection(*each_has)
    if any(has != shared for has in each_has):
        unknown.append("condition: it differs between the ways of access, this is what all share")
    return tuple(sorted(shared))


def _permissions(finding: Finding, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the fields of unused permissions.

    A service in use lists its unused actions; without them all of it is unused.
    """
    services = sorted(entry["serviceNamespace"] for entry in entries if not entry.get("actions"))
    actions = [action for entry in entries for action in entry.get("actions", ())]
    used = [
        each["lastAccessed"]
        for each in [*actions, *(entry for entry in entries if not entry.get("actions"))]
        if each.get("lastAccessed")
    ]
    return {
        "unused_services": tuple(services),
        "unused_service_count": _known(finding.unused_service_count, len(services)),
        "unused_action_count": _known(finding.unused_action_count, len(actions)),
        "last_accessed_at": max(used, key=parse_time, default=None),
    }


def _known(sent: int | None, counted: int) -> int:
    return counted if sent is None else sent
