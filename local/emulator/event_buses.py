"""A rule's target may be an event bus in another Region or account, as in AWS.

EventBridge user guide, eb-cross-region, eb-cross-account and eb-bus-to-bus: the rule's role needs
events:PutEvents on the bus, and a bus of another account a policy that lets the sender; the event
keeps its id, account and Region; an event that came from another bus is not sent on to a third
one. ministack drops what goes to another Region or account.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutPermission.html: Policy is the
whole policy, Principal an account. ministack ignores the first and keeps the second as no ARN.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.core.arn import ArnParseError, parse_arn
from ministack.services import eventbridge

from local.emulator import authorization

if TYPE_CHECKING:
    from local.emulator.authorization import Role

logger = logging.getLogger("pare.event_buses")

# In ministack's record of an event: that it came from another bus.
_FORWARDED = "_PareForwarded"


def apply() -> None:
    """Put everything in place."""
    eventbridge._dispatch_to_event_bus = _dispatch
    put_permission = eventbridge._put_permission

    def put_whole_permission(data: dict[str, Any]) -> Any:
        bus = data.get("EventBusName", "default")
        if data.get("Policy"):
            eventbridge._event_bus_policies[bus] = json.loads(data["Policy"])
            return responses.json_response({})
        principal = data.get("Principal", "*")
        if principal != "*":
            data = {**data, "Principal": {"AWS": f"arn:aws:iam::{principal}:root"}}
        return put_permission(data)

    eventbridge._put_permission = put_whole_permission


def problem(arn: str, actor: Role) -> str | None:
    """Return why a rule with this role may not put events on the bus, or None."""
    try:
        spec = parse_arn(arn)
    except ArnParseError:
        return f"{arn} is not an ARN."
    name = spec.resource.partition("/")[2]
    with responses.request_scope(spec.account_id, spec.region):
        eventbridge._ensure_default_bus()
        if name not in eventbridge._event_buses:
            return f"Event bus {arn} does not exist."
        policy = eventbridge._event_bus_policies.get(name) or {}
    principal = authorization.principal_of_role(actor)
    if principal is None:
        return f"The role {actor.arn} does not exist."
    statements = {"Version": "2012-10-17", "Statement": policy.get("Statement") or []}
    found = (statements, spec.account_id)
    return authorization.denied(principal, "events:PutEvents", arn, resource_policy=found)


def _dispatch(
    spec: Any, event: dict[str, Any], _rule: Any, _path: Any, payload: str | None = None
) -> None:
    if event.get(_FORWARDED):
        logger.warning("event %s came from another bus, not sent to %s", event["EventId"], spec)
        return
    forwarded = {
        **event,
        "EventBusName": spec.resource.partition("/")[2],
        _FORWARDED: True,
    }
    # Rules of the other Region may have the same names: none of them has seen the event.
    forwarded.pop("_DispatchPath", None)
    if payload is not None:
        forwarded["Detail"] = payload
    with responses.request_scope(spec.account_id, spec.region):
        eventbridge._dispatch_event(forwarded)
        eventbridge._archive_event(forwarded)
