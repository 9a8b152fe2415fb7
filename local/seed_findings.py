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
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from local.emulator.catalogue import is_tracked
from local.emulator.finding_events import finding_event
from local.organization import ADMINISTRATOR_ACCESS, SeedError, User
from pare.clock import format_time, parse_time
from pare.policy.document import parse
from pare.policy.grants import granted_actions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.organization import EmulatorClients, Organization, Principal
    from local.trail_generator import Usage
    from pare.policy.document import JsonObject

# PutEvents refuses every source that begins with "aws."; the rules match this one too.
SOURCE = "pare.test"
UNUSED_ACCESS_ANALYZER = "organization-unused-access"
EXTERNAL_ACCESS_ANALYZER = "organization-external-access"
INTERNAL_ACCESS_ANALYZER = "organization-internal-access"
UNUSED_ACCESS_AGE_DAYS = 90
# Outside the organization; the settings may name the second one as a partner.
OUTSIDE_ACCOUNT = "999988887777"
PARTNER_ACCOUNT = "888877776666"

_ANALYZER_AGE = timedelta(days=30)
_ANALYZER_TYPES = {
    UNUSED_ACCESS_ANALYZER: "ORGANIZATION_UNUSED_ACCESS",
    EXTERNAL_ACCESS_ANALYZER: "ORGANIZATION",
    INTERNAL_ACCESS_ANALYZER: "ORGANIZATION_INTERNAL_ACCESS",
}
_UNUSED_ACCESS = "Unused Access Finding for IAM entities"
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


def analyzer_arn(organization: Organization, name: str, region: str | None = None) -> str:
    """Return the ARN of one of the hub's analyzers, in its home Region if no other is named."""
    hub = organization.hub_account.account_id
    return f"arn:aws:access-analyzer:{region or organization.home_region}:{hub}:analyzer/{name}"


def answer(
    finding_id: str,
    finding_type: str,
    resource: str,
    resource_type: str,
    account_id: str,
    moment: datetime,
    details: list[dict[str, Any]],
    *,
    error: str | None = None,
) -> dict[str, Any]:
    """Return GetFindingV2's answer for a finding first seen at the moment."""
    found_at = format_time(moment)
    finding = {
        "analyzedAt": found_at,
        "createdAt": found_at,
        "id": finding_id,
        "resource": resource,
        "resourceType": resource_type,
        "resourceOwnerAccount": account_id,
        "status": "ACTIVE",
        "updatedAt": found_at,
        "findingDetails": details if error is None else [],
        "findingType": finding_type,
    }
    return finding if error is None else {**finding, "error": error}


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
    error: str | None = None,
) -> SeedFinding:
    """Return the UnusedIAMRole finding for a role, or the one that says it was not analyzed."""
    detail = _accessed(last_accessed_at)
    details = [{"unusedIamRoleDetails": detail}] if error is None else []
    return _unused(organization, principal, "UnusedIAMRole", details, now, {}, error=error)


def unused_password_finding(
    organization: Organization,
    user: User,
    now: datetime,
    *,
    last_accessed_at: datetime | None = None,
) -> SeedFinding:
    """Return the UnusedIAMUserPassword finding for a user."""
    details = [{"unusedIamUserPasswordDetails": _accessed(last_accessed_at)}]
    return _unused(organization, user, "UnusedIAMUserPassword", details, now, {})


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
    condition: Mapping[str, str] | None = None,
    region: str | None = None,
    error: str | None = None,
) -> SeedFinding:
    """Return the external access finding for a resource that another organization may use.

    Its id is that of the resource, of the principal where one is named, and of another Region.
    """
    analyzer = analyzer_arn(organization, EXTERNAL_ACCESS_ANALYZER, region)
    about = [resource, *sorted((principal or {}).values())]
    if region not in {None, organization.home_region}:
        about.append(str(region))
    external = {
        "action": list(actions),
        "condition": dict(condition or {}),
        "isPublic": is_public,
        "principal": dict(principal or {"AWS": "*" if is_public else OUTSIDE_ACCOUNT}),
    }
    finding = answer(
        _uuid("ExternalAccess", "/".join(about)),
        "ExternalAccess",
        resource,
        resource_type,
        account_id,
        _to_second(now),
        [{"externalAccessDetails": external}],
        error=error,
    )
    return _found(analyzer, finding, now)


def internal_access_finding(
    organization: Organization,
    now: datetime,
    *,
    account_id: str,
    resource: str,
    resource_type: str = "AWS::S3::Bucket",
    principal_arn: str,
    actions: tuple[str, ...] = ("s3:GetObject",),
    region: str | None = None,
    restriction: str = "NOT_APPLICABLE",
    error: str | None = None,
) -> SeedFinding:
    """Return the internal access finding for a resource that a principal of ours may use."""
    analyzer = analyzer_arn(organization, INTERNAL_ACCESS_ANALYZER, region)
    owner = principal_arn.split(":")[4]
    internal = {
        "action": list(actions),
        "condition": {},
        "principal": {"AWS": principal_arn},
        "principalOwnerAccount": owner,
        "principalType": "IAM_USER" if ":user/" in principal_arn else "IAM_ROLE",
        "accessType": "INTRA_ACCOUNT" if owner == account_id else "INTRA_ORG",
        "resourceControlPolicyRestriction": restriction,
        "serviceControlPolicyRestriction": restriction,
    }
    finding = answer(
        _uuid("InternalAccess", f"{resource}/{principal_arn}/{region or ''}"),
        "InternalAccess",
        resource,
        resource_type,
        account_id,
        _to_second(now),
        [{"internalAccessDetails": internal}],
        error=error,
    )
    return _found(analyzer, finding, now)


def every_kind(organization: Organization, now: datetime) -> list[SeedFinding]:
    """Return one finding of every kind that people are told differently, over all Regions."""
    role = organization.principal("shop-prod/ShopCheckout")
    account = role.account_id
    users = [
        user
        for each in organization.accounts
        for user in each.users
        if any(key.status == "Active" for key in user.access_keys)
    ]
    home = organization.home_region
    away = next((region for region in organization.regions if region != home), home)

    def external(
        resource: str, kind: str, principal: dict[str, str], *actions: str, **more: Any
    ) -> SeedFinding:
        return external_access_finding(
            organization,
            now,
            account_id=account,
            resource=resource,
            resource_type=kind,
            principal=principal,
            actions=actions,
            **more,
        )

    outside, partner = {"AWS": OUTSIDE_ACCOUNT}, {"AWS": PARTNER_ACCOUNT}
    everybody = {"AWS": "*"}
    bucket, key = "AWS::S3::Bucket", f"arn:aws:kms:{home}:{account}:key/5f0c1f6e-seed"
    shared_role = f"arn:aws:iam::{account}:role/SharedWithOutside"
    found = [
        external("arn:aws:s3:::northwind-public-read", bucket, everybody, "s3:GetObject",
                 is_public=True),
        external("arn:aws:s3:::northwind-public-write", bucket, everybody, "s3:PutObject",
                 "s3:DeleteObject", is_public=True, region=away),
        external("arn:aws:s3:::northwind-outside", bucket, outside, "s3:GetObject",
                 condition={"aws:SourceVpc": "vpc-0123456789"}),
        external("arn:aws:s3:::northwind-unreadable", bucket, outside, error="ACCESS_DENIED"),
        external(f"arn:aws:iam::{account}:role/PartnerSync", "AWS::IAM::Role", partner,
                 "sts:AssumeRole", condition={"sts:ExternalId": "northwind"}),
        external(f"arn:aws:iam::{account}:role/FromGitHub", "AWS::IAM::Role",
                 {"Federated": f"arn:aws:iam::{account}:oidc-provider/token.actions.example.com"},
                 "sts:AssumeRoleWithWebIdentity"),
        external(key, "AWS::KMS::Key", partner, "kms:Decrypt"),
        external(f"arn:aws:sqs:{home}:{account}:orders", "AWS::SQS::Queue", outside,
                 "sqs:SendMessage"),
        external(f"arn:aws:secretsmanager:{home}:{account}:secret:db-AbCdEf",
                 "AWS::SecretsManager::Secret", everybody, "secretsmanager:GetSecretValue",
                 is_public=True),
        *(
            external(shared_role, "AWS::IAM::Role", outside, "sts:AssumeRole", region=region)
            for region in organization.regions
        ),
        internal_access_finding(organization, now, account_id=account,
                                resource="arn:aws:s3:::northwind-ledger", principal_arn=role.arn),
        internal_access_finding(organization, now, account_id=account,
                                resource="arn:aws:s3:::northwind-unreadable-inside",
                                principal_arn=role.arn, error="INTERNAL_ERROR"),
        unused_access_finding(organization, role, (), now, documents=[_EVERYTHING]),
        unused_role_finding(organization, role, now),
        unused_role_finding(organization, organization.principal("data-prod/ReportReader"), now,
                            error="INTERNAL_ERROR"),
    ]  # fmt: skip
    for user in users[:1]:
        found.append(unused_access_key_finding(organization, user, now))
        found.append(unused_password_finding(organization, user, now))
    return found


def plant_findings(
    emulator: EmulatorClients,
    organization: Organization,
    findings: Iterable[SeedFinding],
    *,
    events: bool = False,
) -> None:
    """Give the hub's analyzers these findings, making the analyzers that are not there yet.

    ``events``: EventBridge tells of them, as Access Analyzer does.
    """
    by_analyzer: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for found in findings:
        by_analyzer[found.analyzer_arn].append(found.finding)
    hub = organization.hub_account.account_id
    for arn in by_analyzer:
        make_analyzer(emulator, hub, arn)
    for arn, planted in by_analyzer.items():
        body = {"analyzer_arn": arn, "findings": planted, "events": events}
        emulator.control("findings", body)


def make_analyzer(emulator: EmulatorClients, account_id: str, arn: str) -> None:
    """Make one of our analyzers of an organization where it is not there yet, some weeks old.

    Of an analyzer made today Pare takes no finding for gone: it may not have looked at all yet.
    """
    name, region = arn.rpartition("/")[2], arn.split(":")[3]
    client = emulator.client("accessanalyzer", account_id, region)
    present = {
        analyzer["arn"]
        for page in client.get_paginator("list_analyzers").paginate()
        for analyzer in page["analyzers"]
    }
    if arn not in present:
        client.create_analyzer(analyzerName=name, type=_ANALYZER_TYPES[name])
        made_at = format_time(datetime.now(UTC) - _ANALYZER_AGE)
        emulator.control("analyzers", {"analyzers": [{"arn": arn, "created_at": made_at}]})


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
    *,
    error: str | None = None,
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
        **({} if error is None else {"error": error}),
    }
    finding = answer(
        finding_id,
        finding_type,
        principal.arn,
        resource_type,
        principal.account_id,
        _to_second(now) + timedelta(milliseconds=758),
        details,
        error=error,
    )
    return SeedFinding(_event(analyzer, _UNUSED_ACCESS, detail, now), finding)


def _found(analyzer: str, finding: dict[str, Any], now: datetime) -> SeedFinding:
    """Return a finding with the event that AWS sends of it."""
    times = {name: parse_time(finding[name]) for name in ("analyzedAt", "createdAt", "updatedAt")}
    event = finding_event(analyzer, finding | times)
    return SeedFinding(_event(analyzer, event.detail_type, event.detail, now), finding)


def _event(
    analyzer: str, detail_type: str, detail: dict[str, Any], now: datetime
) -> dict[str, Any]:
    finding_id = detail.get("findingId") or detail["id"]
    return {
        "version": "0",
        "id": _uuid("event", str(finding_id)),
        "detail-type": detail_type,
        "source": SOURCE,
        "account": analyzer.split(":")[4],
        "time": format_time(_to_second(now)),
        "region": analyzer.split(":")[3],
        "resources": [analyzer],
        "detail": detail,
    }


def _to_second(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _uuid(kind: str, text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{kind}/{text}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
