"""What IAM and the credential report say of every user and role of an account.

https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountAuthorizationDetails.html

The pages come as boto3 gives them, or as they were stored: with times as text. A policy that
cannot be read, or is not in the pages, is named in ``unknown``; the others still count.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pare.arns import parse_principal_arn
from pare.clock import format_time, parse_time
from pare.errors import ArnParseError, InventoryError, PolicyParseError
from pare.inventory.trust import UNREADABLE, read_trust
from pare.inventory.wide import LabelledPolicy, denies_everything, wide_policies
from pare.policy.authorization_details import GROUPS, POLICIES, ROLES, USERS
from pare.policy.current import kind_of, may_be_narrowed, owner_of
from pare.policy.document import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pare.inventory.credential_report import CredentialReport
    from pare.inventory.model import (
        AccessKeyJson,
        CollectedJson,
        CredentialsJson,
        PrincipalFactsJson,
        PrincipalKind,
        TrustJson,
    )
    from pare.policy.document import PolicyDocument

# Names in ``unknown``, beside "policy NAME" and "group NAME".
CREDENTIAL_REPORT = "credential report"
TRUST_POLICY = "trust policy"
ACCESS_KEY_IDS = "access key ids"

# AWS's own policy for taking everything away.
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSDenyAll.html
DENY_ALL = "AWSDenyAll"
NO_CREDENTIAL = "no active password, key or certificate"
# The report's times and IAM's of the same moment may differ by a rounding.
_SAME = timedelta(seconds=2)


def principal_facts(
    pages: Iterable[Mapping[str, Any]],
    report: CredentialReport | None,
    *,
    account_id: str,
    collected: CollectedJson,
    organization_accounts: Collection[str],
    owner_tag_keys: Sequence[str],
    break_glass_tag: str,
) -> list[PrincipalFactsJson]:
    """Return the facts of every user and role in the pages, sorted by ARN.

    ``report`` is None where it is unknown. Raises InventoryError for an entry of the pages that
    is not a user or role of IAM's shape: then nobody knows what is in the account.
    """
    facts: dict[str, PrincipalFactsJson] = {}
    what = "The pages"
    try:
        account = _Account(pages)
        for entity, is_user in account.entities:
            what = f"An entry of {USERS if is_user else ROLES}"
            one = _common(account, entity, account_id, tuple(owner_tag_keys), is_user=is_user)
            if is_user:
                _add_credentials(one, report, collected)
            else:
                _add_role(one, entity, account_id, organization_accounts)
            one["kind"] = _kind(one, break_glass_tag)
            facts[one["principal_arn"]] = one
    except (ArnParseError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InventoryError(
            f"{what} of account {account_id} is not of the shape IAM sends: "
            f"{type(error).__name__}: {error}."
        ) from error
    return [facts[arn] for arn in sorted(facts)]


class _Account:
    """The lists of all pages, and what is looked up in them."""

    def __init__(self, pages: Iterable[Mapping[str, Any]]) -> None:
        self.entities: list[tuple[Mapping[str, Any], bool]] = []
        self._groups: dict[str, Mapping[str, Any]] = {}
        self._managed: dict[str, Mapping[str, Any]] = {}
        self._documents: dict[str, PolicyDocument | None] = {}
        for page in pages:
            self.entities += [(user, True) for user in page.get(USERS) or ()]
            self.entities += [(role, False) for role in page.get(ROLES) or ()]
            self._groups.update(
                {str(group.get("GroupName")): group for group in page.get(GROUPS) or ()}
            )
            self._managed.update(
                {str(policy.get("Arn")): policy for policy in page.get(POLICIES) or ()}
            )

    def policies(
        self, entity: Mapping[str, Any]
    ) -> Iterator[tuple[str, str | None, PolicyDocument | None]]:
        """Yield label, group and document of each policy; None for a document that is unknown."""
        yield from self._own_policies(entity, None)
        for name in entity.get("GroupList") or ():
            group = self._groups.get(name)
            if group is None:
                yield f"group {name}", name, None
            else:
                yield from self._own_policies(group, name)

    def _own_policies(
        self, entity: Mapping[str, Any], group: str | None
    ) -> Iterator[tuple[str, str | None, PolicyDocument | None]]:
        for key in ("UserPolicyList", "RolePolicyList", "GroupPolicyList"):
            for inline in entity.get(key) or ():
                document = _document(inline.get("PolicyDocument"))
                yield f"inline:{inline['PolicyName']}", group, document
        for attached in entity.get("AttachedManagedPolicies") or ():
            yield attached["PolicyArn"], group, self.managed(attached["PolicyArn"])

    def managed(self, arn: str) -> PolicyDocument | None:
        """Return the default version of a managed policy, or None where it is unknown."""
        if arn not in self._documents:
            policy = self._managed.get(arn, {})
            default = policy.get("DefaultVersionId")
            versions = [
                version
                for version in policy.get("PolicyVersionList") or ()
                if default is not None and version.get("VersionId") == default
            ]
            self._documents[arn] = _document(versions[0].get("Document")) if versions else None
        return self._documents[arn]


def _common(
    account: _Account,
    entity: Mapping[str, Any],
    account_id: str,
    owner_tag_keys: tuple[str, ...],
    *,
    is_user: bool,
) -> PrincipalFactsJson:
    """Return what users and roles have in common; the rest as of one that has nothing."""
    arn = parse_principal_arn(entity["Arn"]).arn
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in entity.get("Tags") or ()}
    boundary = (entity.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
    own = entity.get("UserPolicyList" if is_user else "RolePolicyList") or ()
    attached = entity.get("AttachedManagedPolicies") or ()
    policies = list(account.policies(entity))
    known = [
        LabelledPolicy(label, group, document) for label, group, document in policies if document
    ]
    return {
        "account_id": account_id,
        "principal_arn": arn,
        "principal_id": str(entity["UserId" if is_user else "RoleId"]),
        "kind": "user",
        "created_at": _time(entity["CreateDate"]),
        "owner": owner_of(tags, owner_tag_keys),
        "tags": dict(sorted(tags.items())),
        "policies": [
            *sorted(each["PolicyArn"] for each in attached),
            *sorted(f"inline:{each['PolicyName']}" for each in own),
        ],
        "groups": sorted(entity.get("GroupList") or ()),
        "boundary": boundary,
        "description": "",
        "trust": None,
        "role_last_used_at": None,
        "role_last_used_region": None,
        "credentials": None,
        "wide": wide_policies(known),
        "disabled_by": _denied_by(policies, boundary, account),
        "instance_profiles": [],
        "unknown": sorted(
            label if label.startswith("group ") else f"policy {label}"
            for label, _, document in policies
            if document is None
        ),
    }


def _denied_by(
    policies: Iterable[tuple[str, str | None, PolicyDocument | None]],
    boundary: str | None,
    account: _Account,
) -> str | None:
    """Return what takes every permission away, AWS's own policy first; None if nothing does."""
    found = []
    for label, _, document in policies:
        if _is_deny_all(label):
            return DENY_ALL
        if document is not None and denies_everything(document):
            found.append(label)
    if boundary is not None:
        document = account.managed(boundary)
        if _is_deny_all(boundary) or (document is not None and denies_everything(document)):
            found.append(f"boundary {boundary.rpartition('/')[2]}")
    return min(found, default=None)


def _is_deny_all(policy_arn: str) -> bool:
    return policy_arn.endswith(f":iam::aws:policy/{DENY_ALL}")


# --- users ----------------------------------------------------------------------------------------


def _add_credentials(
    facts: PrincipalFactsJson, report: CredentialReport | None, collected: CollectedJson
) -> None:
    name = parse_principal_arn(facts["principal_arn"]).name
    credentials = report.users.get(name) if report is not None else None
    made_at = report.created_at.get(name) if report is not None else None
    if made_at is not None and not _is_same(made_at, facts["created_at"]):
        credentials = None  # another user had the name when the report was made
    if credentials is None:
        facts["unknown"].append(CREDENTIAL_REPORT)
        return
    listed = collected["access_keys"].get(name)
    keys = _keys_with_ids(credentials["access_keys"], listed or [])
    if credentials["access_keys"] and (
        listed is None or any(key["access_key_id"] is None for key in keys)
    ):
        facts["unknown"].append(ACCESS_KEY_IDS)
    credentials = {**credentials, "access_keys": keys}
    facts["credentials"] = credentials
    if facts["disabled_by"] is None and not _can_sign_in(credentials):
        facts["disabled_by"] = NO_CREDENTIAL


def _can_sign_in(credentials: CredentialsJson) -> bool:
    """Return whether a user has a credential that works; what the report does not tell may."""
    return (
        credentials["password_enabled"] is not False
        or credentials["active_certificates"] > 0
        or any(key["is_active"] for key in credentials["access_keys"])
        or bool(credentials["additional"])
    )


def _keys_with_ids(
    reported: Sequence[AccessKeyJson], listed: Sequence[Mapping[str, str]]
) -> list[AccessKeyJson]:
    """Return the keys of the report with the ids that IAM lists, by state and by age.

    The report may be four hours old, and the list is of now: the list tells whether a key is
    active. The report gives a key's last change of state in the place of its age, so that only a
    key that had never changed by then has the same time in both. Where two keys could be the one,
    neither gets an id: a command with the wrong id would switch off the wrong key. A key that only
    the list has is added: it was made after the report, or the report does not tell of inactive
    ones.
    """
    left = sorted(listed, key=lambda key: (str(key.get("CreateDate")), str(key.get("AccessKeyId"))))
    ids: dict[int, Mapping[str, str]] = {}
    for place, key in enumerate(reported):
        for each in left:
            if _is_active(each) is key["is_active"] and _is_same(
                key["created_at"], each.get("CreateDate")
            ):
                ids[place] = each
                left.remove(each)
                break
    # Switched on or off since the report was made.
    for place, key in enumerate(reported):
        of_its_age = [each for each in left if _is_same(key["created_at"], each.get("CreateDate"))]
        rivals = [
            other
            for other, rival in enumerate(reported)
            if other not in ids and _is_same(key["created_at"], rival["created_at"])
        ]
        if place not in ids and len(of_its_age) == 1 and rivals == [place]:
            ids[place] = of_its_age[0]
            left.remove(of_its_age[0])
    for place, key in enumerate(reported):
        same_state = [
            each
            for each in left
            if _is_active(each) is key["is_active"] and not _is_younger(each, key["created_at"])
        ]
        rivals = [
            other
            for other, rival in enumerate(reported)
            if other not in ids and rival["is_active"] is key["is_active"]
        ]
        if place not in ids and len(same_state) == 1 and rivals == [place]:
            ids[place] = same_state[0]
            left.remove(same_state[0])
    keys: list[AccessKeyJson] = []
    for place, key in enumerate(reported):
        found = ids.get(place)
        keys.append(
            {
                **key,
                "access_key_id": str(found.get("AccessKeyId")) if found else None,
                "is_active": _is_active(found) if found else key["is_active"],
                "created_at": key["created_at"] or (found.get("CreateDate") if found else None),
            }
        )
    if len(ids) == len(reported):
        keys += [
            {
                "access_key_id": str(each.get("AccessKeyId")),
                "is_active": _is_active(each),
                "created_at": each.get("CreateDate"),
                "last_used_at": None,
                "last_used_service": None,
                "last_used_region": None,
            }
            for each in left
        ]
    return keys


def _is_active(listed: Mapping[str, str]) -> bool:
    return listed.get("Status") == "Active"


def _is_younger(listed: Mapping[str, str], reported_at: str | None) -> bool:
    """Return whether a key was made after what the report says of one: it took its place since."""
    if reported_at is None:
        return False
    try:
        return parse_time(str(listed.get("CreateDate"))) > parse_time(reported_at) + _SAME
    except ValueError:
        return False


def _is_same(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return False
    try:
        return abs(parse_time(one) - parse_time(other)) <= _SAME
    except ValueError:
        return False


# --- roles ----------------------------------------------------------------------------------------


def _add_role(
    facts: PrincipalFactsJson,
    entity: Mapping[str, Any],
    account_id: str,
    organization_accounts: Collection[str],
) -> None:
    document = _plain_document(entity.get("AssumeRolePolicyDocument"))
    trust = read_trust(document, account_id=account_id, organization_accounts=organization_accounts)
    facts["trust"] = trust
    if UNREADABLE in trust["unknown"]:
        facts["unknown"].append(TRUST_POLICY)
    used = entity.get("RoleLastUsed") or {}
    if used.get("LastUsedDate"):
        facts["role_last_used_at"] = _time(used["LastUsedDate"])
        facts["role_last_used_region"] = used.get("Region")
    profiles = entity.get("InstanceProfileList") or ()
    facts["instance_profiles"] = sorted(str(profile.get("Arn")) for profile in profiles)
    # The details themselves have no description of a role; its instance profile repeats the role.
    for profile in profiles:
        for role in profile.get("Roles") or ():
            if role.get("Arn") == facts["principal_arn"]:
                facts["description"] = str(role.get("Description") or "")


# --- kinds ----------------------------------------------------------------------------------------


def _kind(facts: PrincipalFactsJson, break_glass_tag: str) -> PrincipalKind:
    kind = kind_of(parse_principal_arn(facts["principal_arn"]))
    if kind in ("service-linked role", "Identity Center role"):
        return kind
    if not may_be_narrowed("role", facts["tags"], break_glass_tag=break_glass_tag).allowed:
        return "break-glass"
    if kind == "bootstrap role":
        return kind
    if kind == "user":
        return _kind_of_user(facts["credentials"])
    return _kind_of_role(facts["trust"])


def _kind_of_user(credentials: CredentialsJson | None) -> PrincipalKind:
    if credentials is None:
        return "user"
    # Whose password was taken away keeps the MFA device: a person still.
    is_person = credentials["password_enabled"] or credentials["mfa_active"]
    return "person" if is_person else "machine user"


def _kind_of_role(trust: TrustJson | None) -> PrincipalKind:
    """Return the kind of a role by its widest trust: other accounts, providers, services."""
    if trust is None:
        return "role"
    is_for_others = any(name.startswith("* of ") for name in trust["unknown"])
    if trust["outside"] or trust["inside"] or trust["is_public"] or is_for_others:
        return "cross-account role"
    if trust["federated"]:
        return "federated role"
    return "service role" if trust["services"] else "role"


# --- values ---------------------------------------------------------------------------------------


def _document(value: Any) -> PolicyDocument | None:
    """Return a policy document that is an object or text; None for one that cannot be read."""
    try:
        return parse(_plain_document(value))
    except (PolicyParseError, RecursionError):
        return None


def _plain_document(value: Any) -> Any:
    """Return a document as an object or as JSON text: IAM sends it URL-encoded (RFC 3986)."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        return unquote(value)
    return value


def _time(value: Any) -> str:
    return format_time(value if isinstance(value, datetime) else parse_time(value))
