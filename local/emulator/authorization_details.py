"""GetAccountAuthorizationDetails, and when roles and passwords were last used (facts §3).

ministack's own answer has no boundaries, no RoleLastUsed, no AWS managed policies and one page.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ministack.core import responses
from ministack.services import iam

from local.emulator import upstream
from local.emulator.caller import identify
from local.emulator.faults import REQUEST_KINDS, error_of
from local.emulator.query_protocol import number, query_error, xml, xml_response
from local.emulator.shapes import service_model
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.emulator.emulation import Emulation

    Record = dict[str, Any]

OPERATIONS = frozenset({"GetAccountAuthorizationDetails"})
_LISTS = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
_DEFAULT_ITEMS = 100
_MAX_ITEMS = 1000
# "the trailing period of 400 days"
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_RoleLastUsed.html
TRACKED_FOR = timedelta(days=400)


class AuthorizationDetails:
    """The operation, in every account."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed IAM request for one of ``OPERATIONS``."""
        form = request.form
        try:
            caller = identify(request)
            fault = self._emulation.faults.take(form["Action"], REQUEST_KINDS)
            if fault is not None:
                raise error_of(fault, "query")
            caller.require("iam:GetAccountAuthorizationDetails", "*")
            return xml_response(form["Action"], self._answer(caller.account_id, form))
        except AwsError as error:
            return error_in_protocol(query_error(error), "query")

    def last_used(self, role_arn: str) -> dict[str, Any]:
        """Return a role's RoleLastUsed: its newest use, denied or not; empty where it has none."""
        uses = self._emulation.usage.services(role_arn).values()
        newest = max(uses, key=lambda use: use.last_accessed_at, default=None)
        if newest is None or self._emulation.now() - newest.last_accessed_at > TRACKED_FOR:
            return {}
        return {"LastUsedDate": newest.last_accessed_at, "Region": newest.region}

    def _answer(self, account_id: str, form: dict[str, str]) -> dict[str, Any]:
        size = number(form.get("MaxItems"), "MaxItems", _DEFAULT_ITEMS)
        if not 1 <= size <= _MAX_ITEMS:
            raise AwsError("ValidationError", f"MaxItems must be 1 to {_MAX_ITEMS}.", 400)
        first = number(form.get("Marker"), "Marker", 0)
        items = list(self._items(account_id, _filters(form)))
        answer: dict[str, Any] = {name: [] for name in _LISTS}
        for name, item in items[first : first + size]:
            answer[name].append(item)
        answer["IsTruncated"] = first + size < len(items)
        if answer["IsTruncated"]:
            answer["Marker"] = str(first + size)
        return answer

    def _items(self, account_id: str, filters: frozenset[str]) -> Iterable[tuple[str, Record]]:
        """Yield every entity of the account that is asked for, with the list it belongs to."""
        records = upstream.IamRecords(account_id)
        if "User" in filters:
            for user in records.users.values():
                yield "UserDetailList", _user(records, user)
        if "Group" in filters:
            for group in records.groups.values():
                yield "GroupDetailList", _group(records, group)
        if "Role" in filters:
            for role in records.roles.values():
                yield "RoleDetailList", self._role(records, role)
        in_use = records.policies_in_use()
        if "LocalManagedPolicy" in filters:
            for arn, policy in records.policies.items():
                yield "Policies", _policy(arn, policy, in_use)
        if "AWSManagedPolicy" in filters:
            # Those in use (M: from memory of the API's answers; the reference does not say).
            for arn in sorted(in_use):
                found = upstream.aws_managed_policy(arn)
                if found is not None:
                    yield "Policies", _policy(arn, found, in_use)

    def _role(self, records: upstream.IamRecords, role: Record) -> Record:
        profiles = [
            {
                **_parts(profile, "Path", "InstanceProfileName", "InstanceProfileId", "Arn"),
                "CreateDate": profile["CreateDate"],
                "Roles": [
                    {
                        **_parts(role, "Path", "RoleName", "RoleId", "Arn", "CreateDate"),
                        "AssumeRolePolicyDocument": _encoded(role.get("AssumeRolePolicyDocument")),
                        **({"Description": text} if (text := role.get("Description")) else {}),
                    }
                ],
            }
            for profile in records.instance_profiles.values()
            if role["RoleName"] in profile.get("Roles", [])
        ]
        return {
            **_parts(role, "Path", "RoleName", "RoleId", "Arn", "CreateDate"),
            "AssumeRolePolicyDocument": _encoded(role.get("AssumeRolePolicyDocument")),
            "InstanceProfileList": profiles,
            "RolePolicyList": _inline(role.get("InlinePolicies") or {}),
            "AttachedManagedPolicies": _attached(role),
            **_boundary(role),
            "Tags": _tags(role),
            "RoleLastUsed": self.last_used(role["Arn"]),
        }


def register(emulation: Emulation) -> None:
    """Let GetRole tell RoleLastUsed and GetUser PasswordLastUsed, as in AWS; once a process.

    ministack knows neither, and sends tags and descriptions without escaping them. AWS leaves
    RoleLastUsed, tags and boundary out of ListRoles (facts §3): there, ministack's tags stay.
    """

    def role_xml(name: str, boundary: bool = True) -> str:
        role = iam._roles[name]
        used = emulation.authorization_details.last_used(role["Arn"]) if boundary else {}
        return xml(
            {
                **_parts(role, "Path", "RoleName", "RoleId", "Arn", "CreateDate"),
                "AssumeRolePolicyDocument": _encoded(role.get("AssumeRolePolicyDocument")),
                "Description": role.get("Description") or "",
                "MaxSessionDuration": str(role.get("MaxSessionDuration", 3600)),
                **(_boundary(role) if boundary else {}),
                **({"Tags": tags} if (tags := _tags(role)) else {}),
                **({"RoleLastUsed": used} if used else {}),
            }
        )

    def user_xml(name: str, boundary: bool = True) -> str:
        user = iam._users[name]
        used_at = emulation.credential_reports.planted(user["Arn"]).password_last_used_at
        is_told = used_at is not None and name in iam._login_profiles
        return xml(
            {
                **_parts(user, "Path", "UserName", "UserId", "Arn", "CreateDate"),
                **({"PasswordLastUsed": used_at} if is_told else {}),
                **(_boundary(user) if boundary else {}),
                **({"Tags": tags} if (tags := _tags(user)) else {}),
            }
        )

    def list_access_keys(parameters: dict[str, Any]) -> Any:
        name = iam._p(parameters, "UserName")
        if name and name not in iam._users:
            return iam._error(404, "NoSuchEntity", f"The user with name {name} cannot be found.")
        return list_keys(parameters)

    list_keys = iam._list_access_keys
    iam._role_xml, iam._user_xml = role_xml, user_xml
    iam._IAM_HANDLERS["ListAccessKeys"] = list_access_keys


def more_aws_policies() -> None:
    """AWS's policy that denies everything exists in every account.

    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSDenyAll.html
    """
    seed = iam._seed_aws_managed_policies
    document = (
        '{"Version":"2012-10-17","Statement":[{"Sid":"DenyAll","Effect":"Deny","Action":["*"],'
        '"Resource":"*"}]}'
    )

    def seed_more() -> None:
        seed()
        iam._aws_managed_policies["arn:aws:iam::aws:policy/AWSDenyAll"] = (
            iam._make_aws_managed_record("AWSDenyAll", document, "Deny all access.")
        )

    iam._seed_aws_managed_policies = seed_more
    with responses.request_scope("000000000000", "us-east-1"):
        seed_more()


def _filters(form: dict[str, str]) -> frozenset[str]:
    shape: Any = service_model("iam").shape_for("EntityType")
    known = frozenset(shape.enum)
    asked = {value for name, value in form.items() if name.startswith("Filter.member.")}
    if unknown := asked - known:
        raise AwsError("ValidationError", f"Filter has {', '.join(sorted(unknown))}.", 400)
    return frozenset(asked) or known


def _user(records: upstream.IamRecords, user: Record) -> Record:
    name = user["UserName"]
    inline = records.user_policies.get(name) or {}
    return {
        **_parts(user, "Path", "UserName", "UserId", "Arn", "CreateDate"),
        # IAM leaves the list out where there are none.
        **({"UserPolicyList": _inline(inline)} if inline else {}),
        "GroupList": [
            group["GroupName"]
            for group in records.groups.values()
            if name in group.get("Users", [])
        ],
        "AttachedManagedPolicies": _attached(user),
        **_boundary(user),
        "Tags": _tags(user),
    }


def _group(records: upstream.IamRecords, group: Record) -> Record:
    return {
        **_parts(group, "Path", "GroupName", "GroupId", "Arn", "CreateDate"),
        "GroupPolicyList": _inline(records.group_policies.get(group["GroupName"]) or {}),
        "AttachedManagedPolicies": _attached(group),
    }


def _policy(arn: str, policy: Record, in_use: dict[str, upstream.PolicyUse]) -> Record:
    used = in_use.get(arn, upstream.PolicyUse(0, 0))
    return {
        **_parts(policy, "PolicyName", "PolicyId"),
        "Arn": arn,
        "Path": policy.get("Path", "/"),
        "DefaultVersionId": policy["DefaultVersionId"],
        "AttachmentCount": used.attachments,
        "PermissionsBoundaryUsageCount": used.boundaries,
        "IsAttachable": True,
        "CreateDate": policy["CreateDate"],
        "UpdateDate": policy.get("UpdateDate", policy["CreateDate"]),
        "PolicyVersionList": [
            {
                "Document": _encoded(version.get("Document")),
                "VersionId": version["VersionId"],
                "IsDefaultVersion": version["VersionId"] == policy["DefaultVersionId"],
                "CreateDate": version.get("CreateDate", policy["CreateDate"]),
            }
            for version in policy["Versions"].values()
        ],
    }


def _parts(record: Record, *names: str) -> Record:
    return {name: record[name] for name in names}


def _inline(policies: dict[str, Any]) -> list[Record]:
    return [
        {"PolicyName": name, "PolicyDocument": _encoded(policies[name])}
        for name in sorted(policies)
    ]


def _attached(record: Record) -> list[Record]:
    return [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}
        for arn in record.get("AttachedPolicies") or []
    ]


def _boundary(record: Record) -> Record:
    arn = record.get("PermissionsBoundary")
    if not arn:
        return {}
    return {
        "PermissionsBoundary": {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": arn,
        }
    }


def _tags(record: Record) -> list[Record]:
    return [{"Key": tag["Key"], "Value": tag["Value"]} for tag in record.get("Tags") or []]


def _encoded(document: Any) -> str:
    """Return a policy document as IAM sends it: URL-encoded (RFC 3986)."""
    return quote(upstream.document_text(document), safe="")
