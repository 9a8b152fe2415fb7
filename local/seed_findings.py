"""Findings as Access Analyzer would make them for the emulated organization.

Each maker returns a pair: the EventBridge event, and GetFindingV2's answer that belongs to it. Ids
are made from what the finding is about, so the same finding has the same id in every run.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-eventbridge.html
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from local.emulator.catalogue import is_tracked
from local.organization import ADMINISTRATOR_ACCESS, SeedError, User
from pare.clock import format_time
from pare.policy.document import parse
from pare.policy.grants import granted_actions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from local.organization import EmulatorClients, Organization, Principal
    from local.trail_generator import Usage
    from pare.policy.document import JsonObject

# PutEvents refuses every source that begins with "aws."; the rules match this one too.
SOURCE = "pare.test"
UNUSED_ACCESS_ANALYZER = "organization-unused-access"
EXTERNAL_ACCESS_ANALYZER = "organization-external-access"
UNUSED_ACCESS_AGE_DAYS = 90

_ANALYZER_TYPES = {
    UNUSED_ACCESS_ANALYZER: "ORGANIZATION_UNUSED_ACCESS",
    EXTERNAL_ACCESS_ANALYZER: "ORGANIZATION",
}
_UNUSED_ACCESS = "Unused Access Finding for IAM entities"
_EXTERNAL_ACCESS = "Access Analyzer Finding"
_NAMESPACE = uuid.UUID("5d1b9a3c-6f04-4c57-9f26-0f3e8a6f7b21")
_EVERYTHING: JsonObject = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


class SeedFinding(NamedTuple):
    """A finding's event, as a rule's target receives it, and GetFindingV2's answer for it."""

    event: dict[str, Any]
    finding: dict[str, Any]

    @property
    def analyzer_arn(self) -> str:
        """The analyzer that found it."""
        arn: str = self.event["resources"][0]
        return arn

    def put_events_entry(self, bus: str) -> dict[str, Any]:
        """Return the entry that sends the event to a bus with PutEvents."""
        return {
            "EventBusName": bus,
            "Source": self.event["source"],
            "DetailType": self.event["detail-type"],
            "Resources": self.event["resources"],
            "Detail": json.dumps(self.event["detail"]),
        }


def analyzer_arn(organization: Organization, name: str) -> str:
    """Return the ARN of one of the hub's analyzers."""
    hub = organization.hub_account.account_id
    return f"arn:aws:access-analyzer:{organization.home_region}:{hub}:analyzer/{name}"


def unused_access_finding(
    organization: Organization,
    principal: Principal,
    usage: Iterable[Usage],
    now: datetime,
    *,
    documents: Iterable[Mapping[str, Any]] | None = None,
) -> SeedFinding:
    """Return the UnusedPermission finding for what a principal's policies grant beyond its use.

    ``documents`` are its identity-based policies; where they are not given they are taken from the
    organization's data, which has no AWS managed policy but AdministratorAccess. As in AWS, a
    service nobody used is one entry without actions, a service in use lists its unused actions
    among those AWS tracks, and denied attempts count as use.
    """
    if documents is None:
        documents = identity_policies(organization, principal)
    grants = granted_actions([parse(dict(document)) for document in documents])
    by_service: dict[str, list[str]] = defaultdict(list)
    for action in sorted(grants.actions):
        by_service[action.partition(":")[0]].append(action)
    since = now - timedelta(days=UNUSED_ACCESS_AGE_DAYS)
    last_use = _LastUse(principal.arn, usage)
    details: list[dict[str, Any]] = []
    unused_services = unused_actions = 0
    for service, actions in sorted(by_service.items()):
        accessed_at = last_use.of_service(service)
        entry: dict[str, Any] = {"serviceNamespace": service}
        if accessed_at is not None:
            entry["lastAccessed"] = format_time(accessed_at)
        if accessed_at is None or accessed_at < since:
            unused_services += 1
            details.append({"unusedPermissionDetails": entry})
            continue
        unused = [
            action
            for action in actions
            if is_tracked(service, action.partition(":")[2]) and not last_use.since(action, since)
        ]
        if unused:
            unused_actions += len(unused)
            entry["actions"] = [last_use.unused_action(action) for action in unused]
            details.append({"unusedPermissionDetails": entry})
    counts = {"numberOfUnusedServices": unused_services, "numberOfUnusedActions": unused_actions}
    return _unused(organization, principal, "UnusedPermission", details, now, counts)


def unused_role_finding(
    organization: Organization,
    principal: Principal,
    now: datetime,
    *,
    last_accessed_at: datetime | None = None,
) -> SeedFinding:
    """Return the UnusedIAMRole finding for a role."""
    detail = _accessed(last_accessed_at)
    details = [{"unusedIamRoleDetails": detail}]
    return _unused(organization, principal, "UnusedIAMRole", details, now, {})


def unused_access_key_finding(
    organization: Organization,
    user: User,
    now: datetime,
    *,
    last_accessed_at: datetime | None = None,
) -> SeedFinding:
    """Return the UnusedIAMUserAccessKey finding for a user's first active access key."""
    active = [key for key in user.access_keys if key.status == "Active"]
    if not active:
        raise SeedError(f"{user.arn} has no active access key.")
    # AWS chooses the id when the key is created; before that a made-up one stands in.
    key_id = active[0].access_key_id or "AKIA" + _digest(user.arn)[:16].upper()
    detail = {"accessKeyId": key_id, **_accessed(last_accessed_at)}
    details = [{"unusedIamUserAccessKeyDetails": detail}]
    return _unused(organization, user, "UnusedIAMUserAccessKey", details, now, {})


def external_access_finding(
    organization: Organization,
    now: datetime,
    *,
    account_id: str,
    resource: str = "arn:aws:s3:::northwind-reports",
    resource_type: str = "AWS::S3::Bucket",
    principal: Mapping[str, str] | None = None,
    actions: tuple[str, ...] = ("s3:GetObject",),
    is_public: bool = False,
) -> SeedFinding:
    """Return the external access finding for a resource that another organization may use."""
    analyzer = analyzer_arn(organization, EXTERNAL_ACCESS_ANALYZER)
    finding_id = _uuid("ExternalAccess", resource)
    whom = dict(principal or {"AWS": "*" if is_public else "999988887777"})
    found_at = format_time(_to_second(now))
    external = {
        "action": list(actions),
        "condition": {},
        "isPublic": is_public,
        "principal": whom,
    }
    detail = {
        "accountId": account_id,
        **external,
        "analyzedAt": found_at,
        "createdAt": found_at,
        "id": finding_id,
        "isDeleted": False,
        "region": organization.home_region,
        "resource": resource,
        "resourceType": resource_type,
        "status": "ACTIVE",
        "updatedAt": found_at,
        "version": "1.0",
    }
    finding = {
        "analyzedAt": found_at,
        "createdAt": found_at,
        "id": finding_id,
        "resource": resource,
        "resourceType": resource_type,
        "resourceOwnerAccount": account_id,
        "status": "ACTIVE",
        "updatedAt": found_at,
        "findingDetails": [{"externalAccessDetails": external}],
        "findingType": "ExternalAccess",
    }
    return SeedFinding(_event(organization, _EXTERNAL_ACCESS, analyzer, detail, now), finding)


def plant_findings(
    emulator: EmulatorClients, organization: Organization, findings: Iterable[SeedFinding]
) -> None:
    """Give the hub's analyzers these findings, making the analyzers that are not there yet."""
    by_analyzer: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for found in findings:
        by_analyzer[found.analyzer_arn].append(found.finding)
    client = emulator.client(
        "accessanalyzer", organization.hub_account.account_id, organization.home_region
    )
    present = {
        analyzer["arn"]
        for page in client.get_paginator("list_analyzers").paginate()
        for analyzer in page["analyzers"]
    }
    for arn, planted in by_analyzer.items():
        if arn not in present:
            name = arn.rpartition("/")[2]
            client.create_analyzer(analyzerName=name, type=_ANALYZER_TYPES[name])
        emulator.control("findings", {"analyzer_arn": arn, "findings": planted})


def identity_policies(organization: Organization, principal: Principal) -> list[JsonObject]:
    """Return the identity-based policies of a principal, a user's groups included.

    Raises SeedError for an AWS managed policy other than AdministratorAccess: AWS owns its text, so
    ask IAM for it and hand the documents over.
    """
    account = organization.account(principal.account_id)
    arns = list(principal.managed_policy_arns)
    found = list(principal.inline_policies.values())
    if isinstance(principal, User):
        for group in account.groups:
            if group.name in principal.groups:
                arns += group.managed_policy_arns
                found += group.inline_policies.values()
    own = {
        f"arn:aws:iam::{account.account_id}:policy{policy.path}{policy.name}": policy.document
        for policy in account.policies
    }
    for arn in arns:
        if arn == ADMINISTRATOR_ACCESS:
            found.append(_EVERYTHING)
        elif arn in own:
            found.append(own[arn])
        else:
            raise SeedError(
                f"{principal.arn}: the text of {arn} is not in the organization's data."
            )
    return found


class _LastUse:
    """When one principal last used each service and action."""

    def __init__(self, principal_arn: str, usage: Iterable[Usage]) -> None:
        self._services: dict[str, datetime] = {}
        self._actions: dict[str, datetime] = {}
        for use in usage:
            if use.principal_arn == principal_arn:
                _later(self._services, use.service, use.last_accessed_at)
                if use.action is not None:
                    _later(self._actions, use.action.lower(), use.last_accessed_at)

    def of_service(self, service: str) -> datetime | None:
        """Return the last use of a service, or None."""
        return self._services.get(service)

    def since(self, action: str, moment: datetime) -> bool:
        """Return whether the action was used since."""
        accessed_at = self._actions.get(action.lower())
        return accessed_at is not None and accessed_at >= moment

    def unused_action(self, action: str) -> dict[str, str]:
        """Return the entry of an unused action."""
        accessed_at = self._actions.get(action.lower())
        return {"action": action, **_accessed(accessed_at)}


def _later(known: dict[str, datetime], key: str, moment: datetime) -> None:
    known[key] = max(known.get(key, moment), moment)


def _accessed(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"lastAccessed": format_time(moment)}


def _unused(
    organization: Organization,
    principal: Principal,
    finding_type: str,
    details: list[dict[str, Any]],
    now: datetime,
    counts: Mapping[str, int],
) -> SeedFinding:
    analyzer = analyzer_arn(organization, UNUSED_ACCESS_ANALYZER)
    finding_id = _uuid(finding_type, principal.arn)
    resource_type = "AWS::IAM::User" if isinstance(principal, User) else "AWS::IAM::Role"
    # These events have milliseconds.
    found_at = format_time(_to_second(now) + timedelta(milliseconds=758))
    detail = {
        "findingId": finding_id,
        "resource": principal.arn,
        "resourceType": resource_type,
        "accountId": principal.account_id,
        "createdAt": found_at,
        "updatedAt": found_at,
        "analyzedAt": found_at,
        "previousStatus": "",
        "status": "ACTIVE",
        "version": _uuid("version", finding_id),
        "isDeleted": False,
        "findingType": finding_type,
        **counts,
    }
    finding = {
        "analyzedAt": found_at,
        "createdAt": found_at,
        "id": finding_id,
        "resource": principal.arn,
        "resourceType": resource_type,
        "resourceOwnerAccount": principal.account_id,
        "status": "ACTIVE",
        "updatedAt": found_at,
        "findingDetails": details,
        "findingType": finding_type,
    }
    return SeedFinding(_event(organization, _UNUSED_ACCESS, analyzer, detail, now), finding)


def _event(
    organization: Organization,
    detail_type: str,
    analyzer: str,
    detail: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    finding_id = detail.get("findingId") or detail["id"]
    return {
        "version": "0",
        "id": _uuid("event", str(finding_id)),
        "detail-type": detail_type,
        "source": SOURCE,
        "account": organization.hub_account.account_id,
        "time": format_time(_to_second(now)),
        "region": organization.home_region,
        "resources": [analyzer],
        "detail": detail,
    }


def _to_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _uuid(kind: str, text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{text}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
