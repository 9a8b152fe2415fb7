"""The organization as its member accounts see it, and delegated administrators.

ministack gives every account that calls Organizations an organization of its own. In AWS a member
account has its management account's one, may describe it, and may list it only as a delegated
administrator (facts §6, Organizations API reference).
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.services import iam, organizations

from local.emulator import upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Answer = tuple[int, dict[str, str], bytes]
    Handler = Callable[[str, str, dict[str, str], bytes, dict[str, list[str]]], Awaitable[Answer]]

_PAGE = 20
_OPEN_TO_MEMBERS = frozenset({"DescribeOrganization"})
_READS = ("Describe", "List")
_ACCESS_ROLE = "OrganizationAccountAccessRole"
_NOT_REGISTERED = (
    "The provided account is not a registered delegated administrator for your organization."
)

# management account -> member account -> service principal -> since when
_delegations: dict[str, dict[str, dict[str, float]]] = {}
# management account -> service principal -> since when
_trusted_services: dict[str, dict[str, float]] = {}
# Called with the id of an account that came, moved, went or was closed.
_listeners: list[Callable[[str], None]] = []
# What a change of an account's place goes by.
_MOVES = frozenset({"MoveAccount", "CloseAccount", "RemoveAccountFromOrganization"})


@dataclass(frozen=True, slots=True)
class Member:
    """A member account and where it is."""

    account_id: str
    status: str  # ACTIVE or SUSPENDED
    places: tuple[str, ...]  # units, the nearest first, and the root


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def reset() -> None:
    """Forget delegations and trusted services."""
    _delegations.clear()
    _trusted_services.clear()


def is_delegated_administrator(account_id: str, service: str | None = None) -> bool:
    """Return whether the account is a delegated administrator, for the service or for any."""
    return any(
        account_id in members and (service is None or service in members[account_id])
        for members in _delegations.values()
    )


def tell_of_accounts(listener: Callable[[str], None]) -> None:
    """Call the listener with the id of each account that comes, moves, goes or is closed."""
    _listeners[:] = [listener]


def _tell(account_id: str) -> None:
    for listener in _listeners:
        listener(account_id)


def is_trusted(service: str, management_id: str) -> bool:
    """Return whether the organization trusts the service."""
    return service in _trusted_services.get(management_id, {})


def set_trusted(service: str, management_id: str, *, trusted: bool) -> None:
    """Switch trusted access of a service on or off."""
    services = _trusted_services.setdefault(management_id, {})
    if trusted:
        services.setdefault(service, time.time())
    else:
        services.pop(service, None)


def is_place(entity_id: str, management_id: str) -> bool:
    """Return whether the id is that of the organization's root or of one of its units."""
    with responses.request_scope(management_id, responses.get_region()):
        return entity_id in organizations._roots or entity_id in organizations._ous


def members(management_id: str) -> dict[str, Member]:
    """Return the member accounts of an organization by id, in order; not the management account."""
    with responses.request_scope(management_id, responses.get_region()):
        records = sorted(organizations._accounts.items())
        return {
            account_id: Member(account_id, record["Status"], _places(record))
            for account_id, record in records
            if account_id != management_id
        }


def delegations() -> list[dict[str, Any]]:
    """Return every delegation for the control plane."""
    return [
        {"account_id": account_id, "service_principals": sorted(services)}
        for _, members in sorted(_delegations.items())
        for account_id, services in sorted(members.items())
    ]


def join(account_id: str, name: str, email: str, tags: dict[str, str]) -> dict[str, Any]:
    """Return the account that joined the management account's organization under a chosen id.

    AWS chooses ids itself (CreateAccount) or takes an existing account in (InviteAccountTo-
    Organization), which ministack lacks.
    """
    if not upstream.is_account_id(account_id):
        raise ValueError(f"account_id {account_id!r} is not 12 digits")
    if not name:
        raise ValueError(f"account {account_id} needs a name")
    management_id = os.environ["MINISTACK_ACCOUNT_ID"]
    if account_id == management_id:
        return _named(management_id, name, email)
    if upstream.organization_of(account_id) is not None:
        raise ValueError(f"account {account_id} is in an organization already")
    with responses.request_scope(management_id, responses.get_region()):
        organizations._ensure_org()
        organization = organizations._orgs["self"]
        organizations._accounts[account_id] = {
            "Id": account_id,
            "Arn": organization["Arn"].replace(":organization/", ":account/") + f"/{account_id}",
            "Email": email or f"{account_id}@example.com",
            "Name": name,
            "Status": "ACTIVE",
            "JoinedMethod": "INVITED",
            "JoinedTimestamp": int(time.time()),
            "_ParentId": next(iter(organizations._roots)),
        }
        organizations._attachments[organizations.FULL_ACCESS_POLICY_ID] = [
            *(organizations._attachments.get(organizations.FULL_ACCESS_POLICY_ID) or []),
            account_id,
        ]
        if tags:
            organizations._tags[account_id] = tags
        account = _account(organizations._accounts[account_id])
    _tell(account_id)
    return account


def _named(management_id: str, name: str, email: str) -> dict[str, Any]:
    """Return the management account with the name its owner gave it when it was opened."""
    with responses.request_scope(management_id, responses.get_region()):
        organizations._ensure_org()
        record = organizations._accounts[management_id]
        record["Name"] = name
        record["Email"] = email or record["Email"]
        return _account(record)


def corrected(original: Handler) -> Handler:
    """Return ministack's Organizations handler, answering members for their organization."""

    async def handle_request(
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, list[str]],
    ) -> Answer:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            payload = json.loads(body or b"{}")
            management_id = _management_account(operation)
        except _Refused as refused:
            return _error(refused)
        with responses.request_scope(management_id, responses.get_region()):
            added = _ADDED.get(operation)
            if added is not None:
                try:
                    answer = added(payload)
                except _Refused as refused:
                    return _error(refused)
            else:
                if operation == "CreateAccount":
                    status, answer_headers, answer_body = _create_account(payload)
                else:
                    status, answer_headers, answer_body = await original(
                        method, path, headers, body, query_params
                    )
                if status >= 400:
                    return status, answer_headers, answer_body
                answer = json.loads(answer_body)
            result = _json(_as_aws(answer, payload))
        if operation == "CreateAccount":
            _tell(str(answer["CreateAccountStatus"]["AccountId"]))
        elif operation in _MOVES:
            _tell(str(payload["AccountId"]))
        return result

    return handle_request


def _management_account(operation: str) -> str:
    """Return the account whose organization answers, if the caller may ask; else AWS's refusal."""
    caller = responses.get_account_id()
    found = upstream.organization_of(caller)
    if found is None:
        # The management account of the box has its organization from the first call on.
        if caller == os.environ["MINISTACK_ACCOUNT_ID"] or operation == "CreateOrganization":
            return str(caller)
        raise _Refused(
            "AWSOrganizationsNotInUseException",
            "Your account is not a member of an organization.",
        )
    management_id = str(found["MasterAccountId"])
    if caller == management_id or operation in _OPEN_TO_MEMBERS:
        return management_id
    if operation.startswith(_READS) and is_delegated_administrator(caller):
        return management_id
    raise _Refused("AccessDeniedException", "You don't have permissions to access this resource.")


def _as_aws(answer: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with accounts as AWS has them, and one page of a list."""
    if "Account" in answer:
        answer["Account"] = _account(organizations._accounts[answer["Account"]["Id"]])
    if "Accounts" in answer:
        answer["Accounts"] = [
            _account(organizations._accounts[a["Id"]]) for a in answer["Accounts"]
        ]
    for name, items in answer.items():
        if isinstance(items, list) and name != "Tags":
            first = int(payload.get("NextToken") or 0)
            size = int(payload.get("MaxResults") or _PAGE)
            page: dict[str, Any] = {name: items[first : first + size]}
            if first + size < len(items):
                page["NextToken"] = str(first + size)
            return page
    return answer


def _account(record: dict[str, Any]) -> dict[str, Any]:
    """Return an account with State beside Status, and its Paths (Organizations API reference)."""
    account = {k: v for k, v in record.items() if not k.startswith("_") and k != "Path"}
    account["State"] = account["Status"]
    account["Paths"] = [_entity_path(record)]
    return account


def _entity_path(record: dict[str, Any]) -> str:
    """Return o-…/r-…/ou-…/123456789012/ for an account."""
    parts = [str(record["Id"]), *_places(record), organizations._orgs["self"]["Id"]]
    return "/".join(reversed(parts)) + "/"


def _places(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the units an account is in, the nearest first, and the root."""
    places = []
    parent = record.get("_ParentId")
    while parent:
        places.append(str(parent))
        parent = (organizations._ous.get(parent) or {}).get("_ParentId")
    return tuple(places)


def _create_account(payload: dict[str, Any]) -> Answer:
    """Return ministack's answer, the account id being the next after the highest known one.

    AWS's ids are random; the next number keeps a demo the same from run to run. The new account has
    the role the management account enters it by, as AWS creates it.
    """
    known = set(organizations._accounts.keys())
    status, headers, body = organizations._create_account(payload)
    if status >= 400:
        return status, headers, body
    answer = json.loads(body)
    request_id = answer["CreateAccountStatus"]["Id"]
    old_id = answer["CreateAccountStatus"]["AccountId"]
    new_id = f"{max(int(account_id) for account_id in known) + 1:012d}"
    record = organizations._accounts.pop(old_id)
    record["Arn"] = record["Arn"].replace(old_id, new_id)
    record["Id"] = new_id
    organizations._accounts[new_id] = record
    if old_id in organizations._tags:
        organizations._tags[new_id] = organizations._tags.pop(old_id)
    attachments = organizations._attachments.get(organizations.FULL_ACCESS_POLICY_ID) or []
    organizations._attachments[organizations.FULL_ACCESS_POLICY_ID] = [
        new_id if target == old_id else target for target in attachments
    ]
    organizations._create_statuses[request_id]["AccountId"] = new_id
    answer["CreateAccountStatus"]["AccountId"] = new_id
    _create_access_role(new_id, str(payload.get("RoleName") or _ACCESS_ROLE))
    return status, headers, json.dumps(answer).encode()


def _create_access_role(account_id: str, name: str) -> None:
    management_id = responses.get_account_id()
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{management_id}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    with responses.request_scope(account_id, responses.get_region()):
        iam._create_role({"RoleName": [name], "AssumeRolePolicyDocument": [json.dumps(trust)]})
        iam._roles[name]["AttachedPolicies"].append("arn:aws:iam::aws:policy/AdministratorAccess")


def _register(payload: dict[str, Any]) -> dict[str, Any]:
    account_id, service = _delegation(payload)
    members = _delegations.setdefault(responses.get_account_id(), {})
    if account_id == responses.get_account_id():
        raise _Refused(
            "ConstraintViolationException",
            "You cannot register master account/yourself as delegated administrator for your "
            "organization.",
        )
    if not is_trusted(service, responses.get_account_id()):
        raise _Refused(
            "ConstraintViolationException",
            "You attempted to register a delegated administrator before you enabled service "
            "access. Call the EnableAWSServiceAccess API first.",
        )
    if service in members.get(account_id, {}):
        raise _Refused(
            "AccountAlreadyRegisteredException",
            "The provided account is already a delegated administrator for your organization.",
        )
    members.setdefault(account_id, {})[service] = time.time()
    return {}


def _deregister(payload: dict[str, Any]) -> dict[str, Any]:
    account_id, service = _delegation(payload)
    members = _delegations.setdefault(responses.get_account_id(), {})
    if service not in members.get(account_id, {}):
        raise _Refused(
            "AccountNotRegisteredException",
            _NOT_REGISTERED,
        )
    del members[account_id][service]
    if not members[account_id]:
        del members[account_id]
    return {}


def _delegation(payload: dict[str, Any]) -> tuple[str, str]:
    organizations._ensure_org()
    account_id, service = payload.get("AccountId"), payload.get("ServicePrincipal")
    if not account_id or not service:
        raise _Refused("InvalidInputException", "AccountId and ServicePrincipal are required.")
    if organizations._accounts.get(account_id) is None:
        raise _Refused(
            "AccountNotFoundException",
            f"We can't find an account with the AccountId {account_id} in your organization.",
        )
    return str(account_id), str(service)


def _list_administrators(payload: dict[str, Any]) -> dict[str, Any]:
    wanted = payload.get("ServicePrincipal")
    members = _delegations.get(responses.get_account_id(), {})
    found = []
    for account_id, services in sorted(members.items()):
        if wanted is not None and wanted not in services:
            continue
        account = _account(organizations._accounts[account_id])
        account.pop("Paths")
        account["DelegationEnabledDate"] = min(services.values())
        found.append(account)
    return {"DelegatedAdministrators": found}


def _list_delegated_services(payload: dict[str, Any]) -> dict[str, Any]:
    account_id = str(payload.get("AccountId", ""))
    services = _delegations.get(responses.get_account_id(), {}).get(account_id)
    if services is None:
        raise _Refused(
            "AccountNotRegisteredException",
            _NOT_REGISTERED,
        )
    return {
        "DelegatedServices": [
            {"ServicePrincipal": service, "DelegationEnabledDate": since}
            for service, since in sorted(services.items())
        ]
    }


def _enable_service(payload: dict[str, Any]) -> dict[str, Any]:
    service = payload.get("ServicePrincipal")
    if not service:
        raise _Refused("InvalidInputException", "ServicePrincipal is required.")
    set_trusted(str(service), responses.get_account_id(), trusted=True)
    return {}


def _disable_service(payload: dict[str, Any]) -> dict[str, Any]:
    service = str(payload.get("ServicePrincipal", ""))
    set_trusted(service, responses.get_account_id(), trusted=False)
    return {}


def _list_services(_: dict[str, Any]) -> dict[str, Any]:
    services = _trusted_services.get(responses.get_account_id(), {})
    return {
        "EnabledServicePrincipals": [
            {"ServicePrincipal": service, "DateEnabled": since}
            for service, since in sorted(services.items())
        ]
    }


def _create_organization(_: dict[str, Any]) -> dict[str, Any]:
    if upstream.organization_of(responses.get_account_id()) is not None:
        raise _Refused(
            "AlreadyInOrganizationException",
            "The AWS account is already a member of an organization.",
        )
    organizations._ensure_org()
    return {"Organization": dict(organizations._orgs["self"])}


def _list_children(payload: dict[str, Any]) -> dict[str, Any]:
    """List the accounts or units right under a parent; API reference, ListChildren."""
    organizations._ensure_org()
    parent, kind = payload.get("ParentId"), payload.get("ChildType")
    if not is_place(str(parent), responses.get_account_id()):
        raise _Refused(
            "ParentNotFoundException", f"We can't find a root or OU with the ParentId {parent}."
        )
    store = organizations._accounts if kind == "ACCOUNT" else organizations._ous
    return {
        "Children": [
            {"Id": child_id, "Type": kind}
            for child_id, record in sorted(store.items())
            if record.get("_ParentId") == parent
        ]
    }


def _remove_account(payload: dict[str, Any]) -> dict[str, Any]:
    """Remove a member; API reference, RemoveAccountFromOrganization."""
    organizations._ensure_org()
    account_id = str(payload.get("AccountId", ""))
    if account_id not in organizations._accounts:
        raise _Refused("AccountNotFoundException", f"There is no account {account_id}.")
    if account_id == responses.get_account_id():
        raise _Refused(
            "MasterCannotLeaveOrganizationException",
            "The management account cannot be removed from its organization.",
        )
    if account_id in _delegations.get(responses.get_account_id(), {}):
        raise _Refused(
            "ConstraintViolationException", "Deregister the delegated administrator first."
        )
    del organizations._accounts[account_id]
    organizations._tags.pop(account_id, None)
    for targets in organizations._attachments.values():
        if account_id in targets:
            targets.remove(account_id)
    return {}


_ADDED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CreateOrganization": _create_organization,
    "RegisterDelegatedAdministrator": _register,
    "DeregisterDelegatedAdministrator": _deregister,
    "ListDelegatedAdministrators": _list_administrators,
    "ListDelegatedServicesForAccount": _list_delegated_services,
    "ListChildren": _list_children,
    "RemoveAccountFromOrganization": _remove_account,
    "EnableAWSServiceAccess": _enable_service,
    "DisableAWSServiceAccess": _disable_service,
    "ListAWSServiceAccessForOrganization": _list_services,
}


def _json(answer: dict[str, Any]) -> Answer:
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()


def _error(refused: _Refused) -> Answer:
    body = json.dumps({"__type": refused.code, "Message": refused.message}).encode()
    return 400, {"Content-Type": "application/x-amz-json-1.1"}, body
