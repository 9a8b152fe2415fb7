"""The CloudFormation resource type AWS::CloudFormation::StackSet, which ministack lacks.

CloudFormation template reference, AWS::CloudFormation::StackSet: Ref and StackSetId are NAME:id;
StackSetName and PermissionModel cannot change. The resource is done when its operations are, and
fails with one that failed. It calls the API as the stack's account does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.services.cloudformation import provisioners, stacks

from local.emulator.caller import Caller
from local.emulator.stack_set_api import template_text
from local.emulator.upstream import Identity
from local.emulator.wire import AwsError

if TYPE_CHECKING:
    from local.emulator.emulation import Emulation

TYPE = "AWS::CloudFormation::StackSet"
_TIMEOUT_SECONDS = 600.0
_OF_THE_SET = (
    "AutoDeployment", "CallAs", "Capabilities", "Description", "ManagedExecution", "Parameters",
    "Tags", "TemplateURL",
)  # fmt: skip
_NUMBERS = (
    "FailureToleranceCount", "FailureTolerancePercentage", "MaxConcurrentCount",
    "MaxConcurrentPercentage",
)  # fmt: skip


def register(emulation: Emulation) -> None:
    """Let stacks create, change and delete stack sets."""
    run_on_worker_thread()

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, Any]:
        work = StackSetWork(emulation, props)
        stack_set_id = work.call(
            "CreateStackSet",
            {**work.of_the_set(), "PermissionModel": props.get("PermissionModel")},
        )["StackSetId"]
        try:
            for group in work.groups:
                work.instances("CreateStackInstances", group)
        except ValueError:
            work.remove()  # as a stack's rollback does
            raise
        return stack_set_id, {"StackSetId": stack_set_id}

    def update(
        physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str
    ) -> tuple[str, Any]:
        before, work = StackSetWork(emulation, old), StackSetWork(emulation, new)
        if before.of_the_set() != work.of_the_set() or work.differs():
            preferences = work.preferences()
            work.finish(work.call("UpdateStackSet", {**work.of_the_set(), **preferences}))
        for group in before.groups:
            if group not in work.groups:
                lost = _without(group, work.groups)
                if lost is not None:
                    work.instances("DeleteStackInstances", lost, RetainStacks=False)
        for group in work.groups:
            if group not in before.groups or work.lacks(group):
                work.instances("CreateStackInstances", group)
        return physical_id, {"StackSetId": physical_id}

    def delete(physical_id: str, props: dict[str, Any]) -> None:
        work = StackSetWork(emulation, {**props, "StackSetName": physical_id.partition(":")[0]})
        if work.found() is not None:
            work.remove()

    provisioners._RESOURCE_HANDLERS[TYPE] = {"create": create, "update": update, "delete": delete}
    provisioners._REPLACING_PROPERTIES[TYPE] = ("StackSetName", "PermissionModel")


def run_on_worker_thread() -> None:
    """A stack set waits for stacks of other accounts, which the server's loop makes."""
    original = stacks._runs_on_worker_thread

    def runs_on_worker_thread(resource_type: str) -> bool:
        return resource_type == TYPE or bool(original(resource_type))

    stacks._runs_on_worker_thread = runs_on_worker_thread


class StackSetWork:
    """The calls for one resource."""

    def __init__(self, emulation: Emulation, props: dict[str, Any]) -> None:
        self._emulation = emulation
        self._props = props
        account_id, region = responses.get_account_id(), responses.get_region()
        root = f"arn:aws:iam::{account_id}:root"
        self._caller = Caller(Identity(account_id, region, account_id, root, "Root"))

    @property
    def groups(self) -> list[dict[str, Any]]:
        """StackInstancesGroup."""
        return list(self._props.get("StackInstancesGroup") or ())

    def of_the_set(self) -> dict[str, Any]:
        """Return what CreateStackSet and UpdateStackSet take of the properties."""
        found: dict[str, Any] = {"StackSetName": self._props["StackSetName"]}
        for name in _OF_THE_SET:
            if self._props.get(name) is not None:
                found[name] = self._props[name]
        if self._props.get("TemplateBody") is not None:
            found["TemplateBody"] = template_text(self._props["TemplateBody"])
        for name, member in (
            ("AutoDeployment", "Enabled"),
            ("AutoDeployment", "RetainStacksOnAccountRemoval"),
            ("ManagedExecution", "Active"),
        ):
            if member in (found.get(name) or {}):
                found[name] = {**found[name], member: _truth(found[name][member])}
        found.setdefault("Tags", [])
        return found

    def differs(self) -> bool:
        """Return whether the stack set is another than the properties say, but for instances."""
        found = self.found()
        wanted = self.of_the_set()
        automatic = wanted.get("AutoDeployment") or {}
        body = wanted.get("TemplateBody")
        return found is not None and (
            (body is not None and found.content.template_body != body)
            or found.auto_deployment != bool(automatic.get("Enabled"))
            or found.retain_on_removal != bool(automatic.get("RetainStacksOnAccountRemoval"))
            or found.managed_execution != bool((wanted.get("ManagedExecution") or {}).get("Active"))
            or found.description != wanted.get("Description", "")
            or set(found.content.capabilities) != set(wanted.get("Capabilities") or ())
        )

    def lacks(self, group: dict[str, Any]) -> bool:
        """Return whether a unit of the group is no target of the stack set any more."""
        found, targets = self.found(), group["DeploymentTargets"]
        if found is None or targets.get("AccountFilterType", "NONE") != "NONE":
            return False
        return any(
            not set(group["Regions"]) <= found.auto_targets.get(unit, set())
            for unit in targets.get("OrganizationalUnitIds") or ()
        )

    def preferences(self) -> dict[str, Any]:
        """Return OperationPreferences, numbers as numbers."""
        given = dict(self._props.get("OperationPreferences") or {})
        given |= {name: int(given[name]) for name in _NUMBERS if name in given}
        return {"OperationPreferences": given} if given else {}

    def instances(self, operation: str, group: dict[str, Any], **more: Any) -> None:
        """Make or delete the instances of one group, and wait."""
        asked = {
            **self._name(),
            **self.preferences(),
            "Regions": list(group["Regions"]),
            "DeploymentTargets": group["DeploymentTargets"],
            **more,
        }
        if operation == "CreateStackInstances" and group.get("ParameterOverrides"):
            asked["ParameterOverrides"] = group["ParameterOverrides"]
        self.finish(self.call(operation, asked))

    def remove(self) -> None:
        """Delete the instances, then the set."""
        for group in self.groups:
            self.instances("DeleteStackInstances", group, RetainStacks=False)
        self.call("DeleteStackSet", self._name())

    def found(self) -> Any:
        """Return the stack set, None where it is gone."""
        try:
            return self._emulation.stack_set_api.stack_set(self._caller, self._name())
        except AwsError as error:
            if error.code == "StackSetNotFoundException":
                return None
            raise _failure(error) from error

    def call(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the API's answer; ValueError is what a stack shows as the reason."""
        try:
            return self._emulation.stack_set_api.run(operation, self._caller, asked)
        except AwsError as error:
            raise _failure(error) from error

    def finish(self, answer: dict[str, Any]) -> None:
        """Wait for an operation; ValueError where it failed."""
        stack_set = self.found()
        (operation,) = (
            each for each in stack_set.operations if each.operation_id == answer["OperationId"]
        )
        operation.done.wait(_TIMEOUT_SECONDS)
        if operation.status != "SUCCEEDED":
            reasons = "; ".join(
                f"Account {each.instance.place.account_id} {each.status}: {each.reason}"
                for each in operation.outcomes
                if each.reason
            )
            raise ValueError(
                f"StackSet Operation [{operation.operation_id}] was unexpectedly stopped or failed."
                f" status reason(s): [{reasons}]"
            )

    def _name(self) -> dict[str, Any]:
        name = {"StackSetName": self._props["StackSetName"]}
        if self._props.get("CallAs"):
            name["CallAs"] = self._props["CallAs"]
        return name


def _without(group: dict[str, Any], kept: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return a group without the units that others of the same Regions keep; None: nothing left."""
    units = set(group["DeploymentTargets"].get("OrganizationalUnitIds") or ())
    for other in kept:
        if set(group["Regions"]) <= set(other["Regions"]):
            units -= set(other["DeploymentTargets"].get("OrganizationalUnitIds") or ())
    if not units:
        return None
    targets = {**group["DeploymentTargets"], "OrganizationalUnitIds": sorted(units)}
    return {**group, "DeploymentTargets": targets}


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _failure(error: AwsError) -> ValueError:
    return ValueError(f"{error.message} (Service: CloudFormation, {error.code})")
