"""Stacks that a service makes in other accounts, by ministack's own CloudFormation.

StackSets act there with a role of their own that may do everything (CloudFormation user guide,
stacksets-orgs-enable-trusted-access), so no permission is asked.
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.services import cloudformation
from ministack.services.cloudformation import engine, handlers, helpers

from local.emulator.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TICK_SECONDS = 0.005
_TIMEOUT_SECONDS = 300.0
_NO_UPDATES = "No updates are to be performed."
_DONE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
_GONE = frozenset({"DELETE_COMPLETE"})
_DELETE_ENDS = frozenset({"DELETE_COMPLETE", "DELETE_FAILED"})


class StackError(Exception):
    """A stack that did not become what it should; the reason as StackSets shows it."""


@dataclass(frozen=True, slots=True)
class StackContent:
    """What a stack is made from."""

    template_body: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """An account and a Region."""

    account_id: str
    region: str


def template_of(body: str) -> dict[str, Any]:
    """Return a template as a table; ValueError where it is none."""
    try:
        template: dict[str, Any] = engine._parse_template(body)
    except Exception as error:
        raise ValueError(f"Template format error: {error}") from error
    if not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise ValueError("Template format error: At least one Resources member must be defined.")
    return template


def required_capabilities(template: dict[str, Any]) -> list[str]:
    """Return the capabilities that a template's IAM resources ask for."""
    found: list[str] = handlers._required_iam_capabilities(template)
    return found


def missing_capabilities(given: Sequence[str], template: dict[str, Any]) -> list[str]:
    """Return the capabilities that a template asks for and ``given`` does not acknowledge."""
    missing: list[str] = handlers._missing_capabilities(set(given), required_capabilities(template))
    return missing


def uses_macros(template: dict[str, Any]) -> bool:
    """Return whether a template calls a macro, for the whole or for a part."""
    return bool(handlers._uses_macro(template))


class MemberStacks:
    """Makes, changes and deletes stacks on the server's loop, and waits for their end.

    Its methods are for other threads than the loop's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def deploy(self, place: Place, name: str, content: StackContent) -> str:
        """Return the id of the stack, made or changed to be this; StackError where it is not.

        A stack that a person deleted is made anew (M: how StackSets takes it is not written).
        """
        stack_id: str = self._run(place, _deploy(name, content))
        return stack_id

    def delete(self, place: Place, name: str) -> None:
        """Delete a stack, and take it as done where it is gone; StackError where it stays."""
        self._run(place, _delete(name))

    def _run(self, place: Place, work: Any) -> Any:
        # The task keeps the context of the thread that hands it over.
        with responses.request_scope(place.account_id, place.region):
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(_TIMEOUT_SECONDS)


async def _deploy(name: str, content: StackContent) -> str:
    known = cloudformation._stacks.get(name)
    exists = known is not None and known["StackStatus"] not in _GONE | {"ROLLBACK_COMPLETE"}
    answer = _call("UpdateStack" if exists else "CreateStack", name, content)
    if answer is not None and _NO_UPDATES not in answer:
        raise StackError(answer)
    stack = cloudformation._stacks[name]
    await _settled(stack)
    if stack["StackStatus"] not in _DONE and answer is None:
        raise StackError(_reason(stack))
    return str(stack["StackId"])


async def _delete(name: str) -> None:
    stack = cloudformation._stacks.get(name)
    if stack is None or stack["StackStatus"] in _GONE:
        return
    answer = _call("DeleteStack", name, None)
    if answer is not None:
        raise StackError(answer)
    while stack["StackStatus"] not in _DELETE_ENDS:
        await asyncio.sleep(_TICK_SECONDS)
    if stack["StackStatus"] not in _GONE:
        raise StackError(_reason(stack))


def _call(action: str, name: str, content: StackContent | None) -> str | None:
    """Return the error of a call of CloudFormation, None where it was taken."""
    params = {"Action": [action], "StackName": [name]}
    if content is not None:
        params["TemplateBody"] = [content.template_body]
        for index, capability in enumerate(content.capabilities, 1):
            params[f"Capabilities.member.{index}"] = [capability]
        for index, (key, value) in enumerate(sorted(content.parameters.items()), 1):
            params[f"Parameters.member.{index}.ParameterKey"] = [key]
            params[f"Parameters.member.{index}.ParameterValue"] = [value]
        params["Tags"] = [""]
        for index, (key, value) in enumerate(sorted(content.tags.items()), 1):
            params[f"Tags.member.{index}.Key"] = [key]
            params[f"Tags.member.{index}.Value"] = [value]
    status, _, body = handlers._ACTION_HANDLERS[action](params)
    if status < 400:
        return None
    found = ElementTree.fromstring(body).find(".//{*}Message")
    return found.text if found is not None and found.text else body.decode()


async def _settled(stack: dict[str, Any]) -> None:
    while stack["StackStatus"].endswith("_IN_PROGRESS"):
        await asyncio.sleep(_TICK_SECONDS)


def _reason(stack: dict[str, Any]) -> str:
    """Return the first resource that failed in the stack's last operation, as StackSets tells it.

    The form is that of statuses seen in AWS, "ResourceLogicalId:…, ResourceType:…,
    ResourceStatusReason:…" (hashicorp/terraform-provider-aws#40956).
    """
    events = cloudformation._stack_events.get(stack["StackId"]) or []
    began = max(
        (index for index, event in enumerate(events) if _begins_an_operation(event)), default=0
    )
    for event in events[began:]:
        if event["ResourceStatus"].endswith("_FAILED"):
            return (
                f"ResourceLogicalId:{event['LogicalResourceId']}, "
                f"ResourceType:{event['ResourceType']}, "
                f"ResourceStatusReason:{event['ResourceStatusReason']}"
            )
    return str(stack.get("StackStatusReason") or f"The stack is {stack['StackStatus']}")


def _begins_an_operation(event: dict[str, Any]) -> bool:
    return event["LogicalResourceId"] == event["StackName"] and event["ResourceStatus"] in {
        "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS",
    }  # fmt: skip


def template_at(url: str) -> str:
    """Return the template behind a TemplateURL; AwsError as CloudFormation's."""
    body, error = helpers._resolve_template({"TemplateURL": [url]})
    if error is not None or not body:
        raise AwsError("ValidationError", f"The template at {url} cannot be read.", 400)
    return str(body)
