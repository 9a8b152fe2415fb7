"""Everything our handlers read from ministack's inside, and nothing else does.

ministack is pinned to one version (pyproject.toml), so its internals are known; keeping their use
in this module and in the corrections keeps a later update to one place. ``server`` imports the
application itself.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, quote

from ministack.core import iam_evaluator, responses, router
from ministack.services import eventbridge, iam, organizations, stepfunctions, sts

if TYPE_CHECKING:
    from local.emulator.wire import Request

_SESSION_SECONDS = 3600
_ACCOUNT_ID = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of a request, its signature checked."""

    account_id: str
    region: str
    access_key_id: str
    arn: str
    kind: str  # Root, User, AssumedRole or FederatedUser


@dataclass(frozen=True, slots=True)
class AuthenticationFailure:
    """Why the caller of a request is not known."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a known caller may not do what it asked for."""

    explicit: bool


@dataclass(frozen=True, slots=True)
class SessionCredentials:
    """Temporary credentials of a role session."""

    access_key_id: str
    secret_access_key: str
    session_token: str


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, role, group or managed policy, with the identity policies that speak for it."""

    arn: str
    kind: str  # user, role, group or policy
    name: str
    policies: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class KeyState:
    """An access key of a user."""

    access_key_id: str
    is_active: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class UserCredentials:
    """The credentials of a user."""

    name: str
    arn: str
    created_at: str
    password_created_at: str | None  # None: no password
    has_mfa: bool
    access_keys: tuple[KeyState, ...]  # oldest first


class PolicyUse(NamedTuple):
    """To how many users, groups and roles a policy is attached, and of how many the boundary."""

    attachments: int
    boundaries: int


class IamRecords:
    """ministack's IAM records of one account, by name (policies by ARN), sorted."""

    def __init__(self, account_id: str) -> None:
        self.users = dict(sorted(_in_account(iam._users, account_id)))
        self.groups = dict(sorted(_in_account(iam._groups, account_id)))
        self.roles = dict(sorted(_in_account(iam._roles, account_id)))
        self.policies = dict(sorted(_in_account(iam._policies, account_id)))
        self.instance_profiles = dict(sorted(_in_account(iam._instance_profiles, account_id)))
        self.user_policies = dict(_in_account(iam._user_inline_policies, account_id))
        self.group_policies = dict(_in_account(iam._group_inline_policies, account_id))

    def policies_in_use(self) -> dict[str, PolicyUse]:
        """Return the managed policies that are attached or a boundary, by ARN."""
        attachments: Counter[str] = Counter()
        boundaries: Counter[str] = Counter()
        for records in (self.users, self.groups, self.roles):
            for record in records.values():
                attachments.update(record.get("AttachedPolicies") or [])
                boundaries.update(filter(None, [record.get("PermissionsBoundary")]))
        return {
            arn: PolicyUse(attachments[arn], boundaries[arn])
            for arn in sorted(attachments | boundaries)
        }


def authenticate(request: Request) -> Identity | AuthenticationFailure:
    """Return the caller of a request as ministack's own gateway finds it.

    It pins account, Region and signature to the running context, so call it, and ``denial`` after
    it, in one thread.
    """
    headers, query = dict(request.headers), request.query
    responses.set_request_client_ip(request.client_host)
    iam_evaluator.pin_request_origin(request.client_host, True)
    access_key_id = router.extract_access_key_id(headers, query)
    region = router.extract_region(headers, query)
    responses.set_request_region(region)
    if not access_key_id:
        return AuthenticationFailure(
            "MissingAuthenticationTokenException", "Missing Authentication Token"
        )
    try:
        scope = iam_evaluator.find_iam_access_key_account(access_key_id) or access_key_id
    except iam_evaluator.AmbiguousAccessKeyError:
        return AuthenticationFailure(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    responses.set_request_account_id(scope)
    iam_evaluator.pin_signed_request(
        request.method, request.raw_path or quote("/"), query, request.raw_headers
    )
    iam_evaluator.pin_signed_body(request.body)
    account_id = responses.get_account_id()
    failure = iam_evaluator.check_credentials(access_key_id)
    if failure is not None:
        return AuthenticationFailure(failure.code, failure.message)
    principal = iam_evaluator.resolve_principal(access_key_id, account_id)
    if isinstance(principal, iam_evaluator.AuthError):
        return AuthenticationFailure(principal.code, principal.message)
    return Identity(principal.account, region, access_key_id, principal.arn, principal.type)


def denial(
    identity: Identity, action: str, resource: str, context: dict[str, str] | None = None
) -> Denial | None:
    """Return why ministack's evaluator denies the action, or None if it allows it."""
    result = iam_evaluator.enforce(
        identity.access_key_id,
        action,
        action.partition(":")[0],
        identity.region,
        resource_arn=resource,
        service_context=context or {},
    )
    if result is None:
        return None
    return Denial(explicit=getattr(result, "decision", "") == "Deny")


def service_may_assume(
    role: dict[str, Any], service: str, context: dict[str, str] | None = None
) -> bool:
    """Return whether a role's trust policy lets the AWS service assume it, conditions included."""
    document = role.get("AssumeRolePolicyDocument") or "{}"
    if isinstance(document, str):
        document = json.loads(document)
    ctx = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account="",
        action="sts:AssumeRole",
        resource_arn=role["Arn"],
        region=responses.get_region(),
        service_context={k.lower(): v for k, v in (context or {}).items()},
    )
    return bool(
        iam_evaluator.evaluate_resource_policy(
            _without_resource(document), ctx, service=service
        ).decision
        == "Allow"
    )


def _without_resource(document: dict[str, Any]) -> dict[str, Any]:
    """Return a trust policy as the evaluator of resource policies takes it."""
    statements = document.get("Statement", [])
    if isinstance(statements, dict):
        statements = [statements]
    return {"Statement": [{**statement, "Resource": "*"} for statement in statements]}


def assume_as_service(role: dict[str, Any], session_name: str) -> SessionCredentials:
    """Return credentials of a new session of the role, as a service that assumed it holds them."""
    account_id = account_of(role["Arn"])
    name = role["RoleName"]
    credentials = SessionCredentials(
        access_key_id=f"ASIA{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_hex(20),
        session_token=secrets.token_hex(64),
    )
    sts.register_session(
        credentials.access_key_id,
        {
            "Arn": f"arn:aws:sts::{account_id}:assumed-role/{name}/{session_name}",
            "UserId": f"{role.get('RoleId', name)}:{session_name}",
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": time.time() + _SESSION_SECONDS,
            "AccountId": account_id,
            "PrincipalType": "AssumedRole",
        },
    )
    return credentials


def account_of(arn: str) -> str:
    """Return the account in an ARN, or an empty text."""
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def role_by_arn(arn: str) -> dict[str, Any] | None:
    """Return the role with exactly this ARN, path included, or None."""
    role = iam._roles.get_scoped(account_of(arn), None, arn.rpartition("/")[2])
    return dict(role) if role is not None and role.get("Arn") == arn else None


def role_named(name: str, account_id: str) -> dict[str, Any]:
    """Return the record of an account's role; empty where there is none."""
    return dict(iam._roles.get_scoped(account_id, None, name) or {})


def entity(arn: str, account_id: str) -> Entity | None:
    """Return the account's user, role, group or policy with exactly this ARN, or None."""
    kind, _, rest = arn.split(":", 5)[-1].partition("/")
    name = rest.rpartition("/")[2]
    if kind == "policy":
        document = _managed_policy(arn, account_id)
        return None if document is None else Entity(arn, kind, name, (document,))
    stores = {"role": iam._roles, "user": iam._users, "group": iam._groups}
    store = stores.get(kind)
    record = store.get_scoped(account_id, None, name) if store is not None else None
    if record is None or record.get("Arn") != arn:
        return None
    documents = _own_policies(kind, name, record, account_id)
    if kind == "user":
        for group_name, group in _in_account(iam._groups, account_id):
            if name in group.get("Users", []):
                documents += _own_policies("group", group_name, group, account_id)
    return Entity(arn, kind, name, tuple(documents))


def user_credentials(account_id: str) -> list[UserCredentials]:
    """Return the credentials of every user of an account, by name."""
    keys: dict[str, list[KeyState]] = {}
    for key_id, key in _in_account(iam._access_keys, account_id):
        state = KeyState(key_id, key.get("Status") == "Active", str(key["CreateDate"]))
        keys.setdefault(key["UserName"], []).append(state)
    with_mfa = {device.get("User") for _, device in _in_account(iam._mfa_devices, account_id)}
    profiles = dict(_in_account(iam._login_profiles, account_id))
    return [
        UserCredentials(
            name=name,
            arn=str(user["Arn"]),
            created_at=str(user["CreateDate"]),
            password_created_at=str(profiles[name]["CreateDate"]) if name in profiles else None,
            has_mfa=name in with_mfa,
            access_keys=tuple(
                sorted(keys.get(name, []), key=lambda key: (key.created_at, key.access_key_id))
            ),
        )
        for name, user in sorted(_in_account(iam._users, account_id))
    ]


def user_by_arn(arn: str) -> dict[str, Any] | None:
    """Return the record of a user, or None."""
    record = iam._users.get_scoped(account_of(arn), None, arn.rpartition("/")[2])
    return record if record is not None and record.get("Arn") == arn else None


def aws_managed_policy(arn: str) -> dict[str, Any] | None:
    """Return the record of a policy of AWS's own, or None where ministack does not have it."""
    return iam._lookup_policy(arn) if iam._is_aws_managed_arn(arn) else None


def document_text(document: str | dict[str, Any] | None) -> str:
    """Return a policy document of a record as text."""
    return document if isinstance(document, str) else json.dumps(document or {})


def set_age(arn: str, created_at: str, access_key_id: str | None = None) -> None:
    """Make a user, a role, or an access key of a user as old as given.

    No API of AWS can: things are as old as they are. ValueError where there is no such thing.
    """
    kind, _, rest = arn.split(":", 5)[-1].partition("/")
    stores = {"role": iam._roles, "user": iam._users}
    store = stores.get(kind)
    name = rest.rpartition("/")[2]
    record = store.get_scoped(account_of(arn), None, name) if store is not None else None
    if record is None or record.get("Arn") != arn:
        raise ValueError(f"there is no user or role {arn}")
    if access_key_id is not None:
        record = iam._access_keys.get_scoped(account_of(arn), None, access_key_id)
        if record is None or record.get("UserName") != name:
            raise ValueError(f"{arn} has no access key {access_key_id}")
    record["CreateDate"] = created_at


def principals_behind(entity: Entity, account_id: str) -> list[str]:
    """Return the users and roles whose use counts for the entity: itself, members, or attached."""
    if entity.kind in {"user", "role"}:
        return [entity.arn]
    users = dict(_in_account(iam._users, account_id))
    groups = dict(_in_account(iam._groups, account_id))
    if entity.kind == "group":
        return [
            users[name]["Arn"] for name in groups[entity.name].get("Users", []) if name in users
        ]
    attached = {
        record["Arn"]
        for store in (iam._users, iam._roles)
        for _, record in _in_account(store, account_id)
        if entity.arn in (record.get("AttachedPolicies") or [])
    }
    for group in groups.values():
        if entity.arn in (group.get("AttachedPolicies") or []):
            attached |= {users[name]["Arn"] for name in group.get("Users", []) if name in users}
    return sorted(attached)


def _in_account(store: Any, account_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the records of one account in a store, by name."""
    records = list(store.to_dict().items())
    return [(name, record) for (account, name), record in records if account == account_id]


def _own_policies(
    kind: str, name: str, record: dict[str, Any], account_id: str
) -> list[dict[str, Any]]:
    if kind == "role":
        inline = record.get("InlinePolicies") or {}
    else:
        store = iam._user_inline_policies if kind == "user" else iam._group_inline_policies
        inline = store.get_scoped(account_id, None, name) or {}
    documents = [_document(inline[policy]) for policy in sorted(inline)]
    for arn in record.get("AttachedPolicies") or []:
        attached = _managed_policy(arn, account_id)
        if attached is not None:
            documents.append(attached)
    return documents


def _managed_policy(arn: str, account_id: str) -> dict[str, Any] | None:
    document = iam_evaluator._resolve_managed_policy_document(arn, account_id)
    return None if document is None else _document(document)


def _document(value: str | dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return document


def organization_of(account_id: str) -> dict[str, Any] | None:
    """Return the organization an account belongs to, as management or as member, or None."""
    own = organizations._orgs.get_scoped(account_id, None, "self")
    if own is not None:
        return dict(own)
    for management_id, member_id in list(organizations._accounts.to_dict()):
        if member_id == account_id:
            found = organizations._orgs.get_scoped(management_id, None, "self")
            return None if found is None else dict(found)
    return None


def accounts() -> list[dict[str, Any]]:
    """Return the accounts of every organization, by id."""
    records = organizations._accounts.to_dict().values()
    return sorted(
        ({k: v for k, v in record.items() if not k.startswith("_")} for record in records),
        key=lambda record: str(record["Id"]),
    )


def is_account_id(text: str) -> bool:
    """Return whether the text is an account id."""
    return bool(_ACCOUNT_ID.fullmatch(text))


def form(body: bytes, query: dict[str, list[str]]) -> dict[str, str]:
    """Return the parameters of a query-protocol request."""
    parameters = {name: values[0] for name, values in query.items()}
    for name, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items():
        parameters[name] = values[0]
    return parameters


def queue_arn(url: str) -> str:
    """Return the ARN of the queue with this URL, in the Region of the request."""
    account_id, _, name = url.rpartition("/")
    return f"arn:aws:sqs:{responses.get_region()}:{account_id.rpartition('/')[2]}:{name}"


def put_service_event(
    *,
    account_id: str,
    region: str,
    source: str,
    detail_type: str,
    resources: list[str],
    detail: str,
) -> None:
    """Put an event of an AWS service on the default bus of an account and Region."""
    entry = {
        "Source": source,
        "DetailType": detail_type,
        "Resources": resources,
        "Detail": detail,
    }
    with responses.request_scope(account_id, region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def running_executions() -> int:
    """Return how many executions of state machines run, in all accounts and Regions."""
    executions = list(stepfunctions._executions.all_values())
    return sum(execution["status"] == "RUNNING" for execution in executions)
