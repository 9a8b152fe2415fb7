"""What ``aws iam get-account-authorization-details`` printed, read into what each principal may do.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html

The file may have been made with ``--filter``, or cut off: a principal whose policies are not all
in it is unknown, with the reason, and never taken for one that is allowed less.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pare.arns import parse_principal_arn
from pare.clock import format_time, parse_time
from pare.errors import ArnParseError, AuthorizationDetailsError, PolicyParseError
from pare.policy.current import kind_of
from pare.policy.document import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.policy.current import AttachedPolicyJson, CurrentAccessJson, Source

USERS, GROUPS, ROLES, POLICIES = "UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"
LISTS = (USERS, GROUPS, ROLES, POLICIES)
# Each stands for more pages to come: the API's word, and those of the AWS CLI.
# https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-pagination.html
_MORE_PAGES = ("IsTruncated", "NextToken")

_CANNOT_TELL = "so what it is allowed is not known"


class AuthorizationDetails:
    """The users and roles of one or several accounts, as the files tell."""

    __slots__ = ("_account_ids", "_principals", "_unknown", "is_truncated")

    def __init__(
        self,
        principals: dict[str, CurrentAccessJson],
        unknown: dict[str, str],
        *,
        is_truncated: bool,
    ) -> None:
        self._principals = principals
        self._unknown = unknown
        # The AWS CLI was stopped before the last page: a principal that is not here may exist.
        self.is_truncated = is_truncated
        self._account_ids = tuple(
            sorted({parse_principal_arn(arn).account_id for arn in (*principals, *unknown)})
        )

    def principals(self) -> Mapping[str, CurrentAccessJson]:
        """Return the users and roles whose policies are all here, by ARN, sorted."""
        return self._principals

    def unknown(self) -> Mapping[str, str]:
        """Return the users and roles whose policies are not all here: ARN -> a sentence why."""
        return self._unknown

    def account_ids(self) -> tuple[str, ...]:
        """Return the accounts whose users and roles the files hold, sorted."""
        return self._account_ids


def read_authorization_details(
    source: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> AuthorizationDetails:
    """Return what one parsed file, or several files or pages together, say of users and roles.

    Raises AuthorizationDetailsError for anything that is not such a file.
    """
    pages: Sequence[Any] = [source] if not isinstance(source, list | tuple) else source
    if not pages:
        raise AuthorizationDetailsError("There are no authorization details: the input is empty.")
    for page in pages:
        _check(page)
    reader = _Reader(pages)
    principals: dict[str, CurrentAccessJson] = {}
    unknown: dict[str, str] = {}
    for arn, entity, is_user in sorted(reader.entities(), key=lambda found: found[0]):
        try:
            access = reader.access(arn, entity, is_user=is_user)
        except _UnknownAccessError as error:
            unknown[arn] = str(error)
            continue
        except (AttributeError, KeyError, TypeError):
            unknown[arn] = f"The entry of {arn} is not of the shape IAM prints, {_CANNOT_TELL}."
            continue
        if arn in principals and principals[arn] != access:
            unknown[arn] = (
                f"The files say two different things of {arn}, {_CANNOT_TELL}: "
                "give one file for each account."
            )
            del principals[arn]
        else:
            principals[arn] = access
    return AuthorizationDetails(
        {arn: access for arn, access in principals.items() if arn not in unknown},
        unknown,
        is_truncated=all(any(page.get(key) for key in _MORE_PAGES) for page in pages),
    )


class _UnknownAccessError(Exception):
    """What a principal is allowed cannot be told; ``str()`` is the sentence."""


def _check(page: Any) -> None:
    if not isinstance(page, dict) or not any(key in page for key in LISTS):
        found = (
            ", ".join(sorted(map(str, page))[:5]) or "nothing"
            if isinstance(page, dict)
            else f"a JSON {_json_type(page)}"
        )
        raise AuthorizationDetailsError(
            "This is not what `aws iam get-account-authorization-details` prints: none of "
            f"{', '.join(LISTS)} is in it; {found} is."
        )
    for key in LISTS:
        entries = page.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise AuthorizationDetailsError(
                "This is not what `aws iam get-account-authorization-details` prints: "
                f"{key} is not a list of objects."
            )


def _json_type(value: Any) -> str:
    return {list: "list", str: "text", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )


class _Reader:
    """Puts the parts of the pages together."""

    def __init__(self, pages: Sequence[dict[str, Any]]) -> None:
        self._pages = pages
        self._policies: dict[Any, list[dict[str, Any]]] = {}
        self._groups: dict[tuple[str, Any], list[dict[str, Any]]] = {}
        for page in pages:
            for policy in page.get(POLICIES, []):
                self._policies.setdefault(policy.get("Arn"), []).append(policy)
            for group in page.get(GROUPS, []):
                # A group's name is unique within its account.
                known = self._groups.setdefault(
                    (_account_of(group.get("Arn")), group.get("GroupName")), []
                )
                if group not in known:
                    known.append(group)
        self._managed: dict[str, dict[str, Any]] = {}

    def entities(self) -> Iterable[tuple[str, dict[str, Any], bool]]:
        """Yield each user and role with its ARN; True for a user."""
        for page in self._pages:
            for key in (USERS, ROLES):
                for entity in page.get(key, []):
                    arn = entity.get("Arn")
                    try:
                        principal = parse_principal_arn(arn if isinstance(arn, str) else "")
                    except ArnParseError as error:
                        raise AuthorizationDetailsError(
                            f"An entry of {key} has no Arn of a user or role: {arn!r}."
                        ) from error
                    yield principal.arn, entity, key == USERS

    def access(self, arn: str, entity: dict[str, Any], *, is_user: bool) -> CurrentAccessJson:
        """Return what a user or role is allowed; raises _UnknownAccessError."""
        policies = self._attached(arn, entity, "UserPolicyList" if is_user else "RolePolicyList")
        if is_user:
            for name in _list(arn, entity, "GroupList"):
                policies += self._of_group(arn, name)
        boundary_arn = (entity.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        created_at = _time(arn, entity.get("CreateDate"))
        principal_id = entity.get("UserId" if is_user else "RoleId")
        if created_at is None or not isinstance(principal_id, str):
            raise _UnknownAccessError(
                f"{arn} has no CreateDate or no unique id in the file, {_CANNOT_TELL}."
            )
        return {
            "principal_arn": arn,
            "principal_id": principal_id,
            "kind": kind_of(parse_principal_arn(arn)),
            "created_at": created_at,
            # The details tell when a role was last used, of a user nothing.
            "last_used_at": _time(arn, (entity.get("RoleLastUsed") or {}).get("LastUsedDate")),
            "tags": {tag["Key"]: tag["Value"] for tag in entity.get("Tags") or []},
            "policies": policies,
            "boundary": (
                self._managed_policy(arn, boundary_arn, None, "permissions boundary")
                if boundary_arn
                else None
            ),
        }

    def _of_group(self, arn: str, name: str) -> list[AttachedPolicyJson]:
        groups = self._groups.get((_account_of(arn), name), [])
        if len(groups) != 1:
            said = "is not in the file" if not groups else "is in the files with different contents"
            raise _UnknownAccessError(f"The group {name} of {arn} {said}, {_CANNOT_TELL}.")
        return self._attached(arn, groups[0], "GroupPolicyList", group=name)

    def _attached(
        self, arn: str, entity: dict[str, Any], inline_key: str, *, group: str | None = None
    ) -> list[AttachedPolicyJson]:
        """Return the inline and managed policies of a user, role or group."""
        # IAM leaves the list of inline policies out where there are none.
        policies = [
            _inline(arn, policy, group) for policy in _list(arn, entity, inline_key, default=[])
        ]
        for attached in _list(arn, entity, "AttachedManagedPolicies"):
            policy_arn = attached.get("PolicyArn") if isinstance(attached, dict) else None
            if not isinstance(policy_arn, str):
                raise _UnknownAccessError(
                    f"AttachedManagedPolicies of {arn} names no PolicyArn, {_CANNOT_TELL}."
                )
            policies.append(self._managed_policy(arn, policy_arn, group, "managed policy"))
        return policies

    def _managed_policy(
        self, arn: str, policy_arn: str, group: str | None, what: str
    ) -> AttachedPolicyJson:
        return {
            "source": source_of(policy_arn),
            "name": policy_arn.rpartition("/")[2],
            "arn": policy_arn,
            "group": group,
            "document": self._default_document(arn, policy_arn, what),
        }

    def _default_document(self, arn: str, policy_arn: str, what: str) -> dict[str, Any]:
        if policy_arn in self._managed:
            return self._managed[policy_arn]
        where = f"The {what} {policy_arn} of {arn}"
        policies = self._policies.get(policy_arn, [])
        if not policies:
            raise _UnknownAccessError(
                f"{where} is not in the file (was it made with --filter?), {_CANNOT_TELL}."
            )
        if source_of(policy_arn) == "AWS managed":
            # The same in every account; of files made at different times, the newest says it.
            policies = [max(policies, key=_version_number)]
        documents: list[dict[str, Any]] = []
        for policy in policies:
            document = _document(where, _default_version(where, policy).get("Document"))
            if document not in documents:
                documents.append(document)
        if len(documents) > 1:
            raise _UnknownAccessError(
                f"{where} is in the files with different contents, {_CANNOT_TELL}."
            )
        self._managed[policy_arn] = documents[0]
        return documents[0]


def source_of(policy_arn: str) -> Source:
    """Return whose a managed policy is: those of AWS have ``aws`` in the place of an account."""
    return "AWS managed" if _account_of(policy_arn) == "aws" else "customer managed"


def _default_version(where: str, policy: dict[str, Any]) -> dict[str, Any]:
    default = policy.get("DefaultVersionId")
    for version in policy.get("PolicyVersionList") or []:
        is_default = version.get("IsDefaultVersion")
        if version.get("VersionId") == default if default is not None else is_default:
            found: dict[str, Any] = version
            return found
    raise _UnknownAccessError(
        f"{where} is in the file without its default version"
        f"{f' {default}' if default else ''}, {_CANNOT_TELL}."
    )


def _version_number(policy: dict[str, Any]) -> int:
    number = str(policy.get("DefaultVersionId")).removeprefix("v")
    return int(number) if number.isdecimal() else 0


def _account_of(arn: Any) -> str:
    parts = arn.split(":", 5) if isinstance(arn, str) else []
    return parts[4] if len(parts) == 6 else ""


def _list(
    arn: str, entity: dict[str, Any], key: str, *, default: list[Any] | None = None
) -> list[Any]:
    found = entity.get(key, default)
    if not isinstance(found, list):
        raise _UnknownAccessError(f"{arn} comes without its {key}, {_CANNOT_TELL}.")
    return found


def _inline(arn: str, policy: Any, group: str | None) -> AttachedPolicyJson:
    name = policy.get("PolicyName") if isinstance(policy, dict) else None
    if not isinstance(name, str):
        raise _UnknownAccessError(f"An inline policy of {arn} has no PolicyName, {_CANNOT_TELL}.")
    through = f" (group {group})" if group else ""
    return {
        "source": "inline",
        "name": name,
        "arn": None,
        "group": group,
        "document": _document(
            f"The inline policy {name}{through} of {arn}", policy.get("PolicyDocument")
        ),
    }


def _document(what: str, value: Any) -> dict[str, Any]:
    """Return a policy document given as an object or as JSON text, URL-encoded or not.

    AWS sends it URL-encoded (RFC 3986); the AWS CLI and boto3 decode it.
    """
    try:
        if isinstance(value, str):
            text = value if value.lstrip().startswith("{") else unquote(value)
            parse(text)
            value = json.loads(text)
        else:
            parse(value)
    except (ValueError, PolicyParseError) as error:
        said = str(error).rstrip(".")
        raise _UnknownAccessError(
            f"{what} has a document that cannot be read ({said}), {_CANNOT_TELL}."
        ) from error
    document: dict[str, Any] = value
    return document


def _time(arn: str, value: Any) -> str | None:
    if value is None:
        return None
    try:
        return format_time(value if isinstance(value, datetime) else parse_time(value))
    except (TypeError, ValueError) as error:
        raise _UnknownAccessError(f"{arn} has a time that cannot be read: {value!r}.") from error
