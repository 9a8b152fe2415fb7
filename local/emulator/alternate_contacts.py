"""AWS Account Management's GetAlternateContact, which ministack lacks.

https://docs.aws.amazon.com/accounts/latest/reference/API_GetAlternateContact.html: an account asks
for its own contacts without AccountId; the management account, or a delegated administrator of
account.amazonaws.com, for those of a member. Service Authorization Reference, list_awsaccount.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.emulator import organization, upstream
from local.emulator.caller import Caller, identify
from local.emulator.shapes import problems, service_model
from local.emulator.wire import AwsError, Request, Response, access_denied, error_in_protocol

if TYPE_CHECKING:
    from local.emulator.emulation import Emulation

PATH = "/getAlternateContact"
_SERVICE = "account.amazonaws.com"
_TYPES = ("BILLING", "OPERATIONS", "SECURITY")
_MEMBERS = ("Name", "Title", "EmailAddress", "PhoneNumber")


class AlternateContacts:
    """The alternate contacts of every account, as the control plane gives them."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._contacts: dict[tuple[str, str], dict[str, str]] = {}

    def plant(self, account_id: str, contacts: dict[str, Any]) -> None:
        """Give an account contacts by type; ValueError naming what is wrong."""
        for kind, contact in contacts.items():
            if kind not in _TYPES:
                raise ValueError(f"contact type {kind!r} is not one of {', '.join(_TYPES)}")
            if not isinstance(contact, dict) or set(contact) != set(_MEMBERS):
                raise ValueError(f"contact {kind} of {account_id} needs {', '.join(_MEMBERS)}")
            self._contacts[account_id, kind] = {name: str(contact[name]) for name in _MEMBERS}

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed request."""
        try:
            caller = identify(request)
            self._emulation.faults.raise_for("GetAlternateContact")
            return Response(200, json.dumps(self._answer(caller, _body(request))).encode())
        except AwsError as error:
            return error_in_protocol(error, "rest-json")

    def _answer(self, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        kind = body.get("AlternateContactType")
        if kind not in _TYPES:
            raise AwsError("ValidationException", "AlternateContactType is not valid.", 400)
        account_id = body.get("AccountId")
        caller.require("account:GetAlternateContact", _resource(caller, account_id))
        if account_id is not None:
            _require_organization_administrator(caller, account_id)
        contact = self._contacts.get((account_id or caller.account_id, kind))
        if contact is None:
            message = "No contact of the inputted alternate contact type found."
            raise AwsError("ResourceNotFoundException", message, 404)
        answer = {"AlternateContact": {"AlternateContactType": kind, **contact}}
        model: Any = service_model("account").operation_model("GetAlternateContact")
        found = problems(answer, model.output_shape)
        if found:
            raise AwsError("InternalServerException", f"emulator fault: {found}", 500)
        return answer


def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise AwsError("ValidationException", "The body is not a JSON object.", 400)
    return body


def _resource(caller: Caller, account_id: str | None) -> str:
    if account_id is None:
        return f"arn:aws:account::{caller.account_id}:account"
    found = upstream.organization_of(caller.account_id) or {}
    management = found.get("MasterAccountId", caller.account_id)
    return f"arn:aws:account::{management}:account/{found.get('Id')}/{account_id}"


def _require_organization_administrator(caller: Caller, account_id: str) -> None:
    found = upstream.organization_of(caller.account_id)
    member = upstream.organization_of(account_id)
    if found is None or member is None or member["Id"] != found["Id"]:
        raise access_denied(f"{account_id} is not an account of the caller's organization.")
    if account_id == found["MasterAccountId"] == caller.account_id:
        raise access_denied("The management account asks for itself without AccountId.")
    if caller.account_id != found["MasterAccountId"] and not (
        organization.is_delegated_administrator(caller.account_id, _SERVICE)
    ):
        raise access_denied("Only the management account and delegated administrators may ask.")
