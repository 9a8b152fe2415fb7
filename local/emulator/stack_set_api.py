"""The operations of CloudFormation on stack sets, and on trusted access for them.

API reference of each operation, and user guide, stacksets-orgs-delegated-admin: a delegated
administrator says CallAs=DELEGATED_ADMIN and sees the stack sets of the management account.
Error texts seen in AWS are quoted in ``_organization``; the others are ours.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from local.emulator import member_stacks, organization, upstream
from local.emulator.caller import Caller, identify
from local.emulator.faults import REQUEST_KINDS, error_of
from local.emulator.member_stacks import StackContent
from local.emulator.query_protocol import parameters, query_error, xml_response
from local.emulator.shapes import service_model
from local.emulator.stack_sets import (
    SERVICE,
    Instance,
    Operation,
    Preferences,
    StackSet,
    Targets,
)
from local.emulator.wire import AwsError, Request, Response, error_in_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.emulator.emulation import Emulation

_TEMPLATE_BYTES = 51_200
_PAGE = 100
_NOT_CHECKED = {"DriftStatus": "NOT_CHECKED"}
_GATE = {
    "Status": "SKIPPED",
    "StatusReason": "Function not found: AWSCloudFormationStackSetAccountGate",
}
_NESTED = "AWS::CloudFormation::Stack"


class StackSetApi:
    """Answers what is asked of stack sets, over HTTP or by a stack's resource."""

    def __init__(self, emulation: Emulation) -> None:
        self._emulation = emulation
        self._operations: dict[str, Callable[[Caller, dict[str, Any]], dict[str, Any]]] = {
            "CreateStackSet": self._create_stack_set,
            "UpdateStackSet": self._update_stack_set,
            "DeleteStackSet": self._delete_stack_set,
            "DescribeStackSet": self._describe_stack_set,
            "ListStackSets": self._list_stack_sets,
            "CreateStackInstances": self._create_stack_instances,
            "UpdateStackInstances": self._update_stack_instances,
            "DeleteStackInstances": self._delete_stack_instances,
            "DescribeStackInstance": self._describe_stack_instance,
            "ListStackInstances": self._list_stack_instances,
            "ListStackSetOperations": self._list_stack_set_operations,
            "DescribeStackSetOperation": self._describe_stack_set_operation,
            "ListStackSetOperationResults": self._list_stack_set_operation_results,
            "ListStackSetAutoDeploymentTargets": self._list_auto_deployment_targets,
            "ActivateOrganizationsAccess": self._activate_organizations_access,
            "DeactivateOrganizationsAccess": self._deactivate_organizations_access,
            "DescribeOrganizationsAccess": self._describe_organizations_access,
        }

    def answers(self, operation: str) -> bool:
        """Return whether the operation is one of ours."""
        return operation in self._operations

    def handle(self, request: Request) -> Response:
        """Return the answer to one signed request."""
        operation = request.form["Action"]
        try:
            caller = identify(request)
            fault = self._emulation.faults.take(operation, REQUEST_KINDS)
            if fault is not None:
                raise error_of(fault, "query")
            model = service_model("cloudformation").operation_model(operation)
            asked = parameters(model, request.form)
            for name in model.input_shape.required_members if model.input_shape else ():
                if name not in asked:
                    raise _invalid(f"{name} is required")
            caller.require(f"cloudformation:{operation}", _resource(caller, asked))
            answer = self.run(operation, caller, asked)
            return xml_response(operation, answer, service="cloudformation")
        except AwsError as error:
            return error_in_protocol(query_error(error), "query")

    def run(self, operation: str, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a caller who may ask; raises AwsError."""
        return self._operations[operation](caller, asked)

    def stack_set(self, caller: Caller, asked: dict[str, Any]) -> StackSet:
        """Return the stack set that is asked for."""
        name = str(asked["StackSetName"])
        management_id = _organization(caller, asked)
        found = self._emulation.stack_sets.find(management_id, caller.region, name)
        if found is None:
            raise AwsError("StackSetNotFoundException", f"StackSet {name} not found", 404)
        return found

    def _create_stack_set(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("PermissionModel", "SELF_MANAGED") != "SERVICE_MANAGED":
            raise AwsError(
                "InternalFailure", "the emulator has service-managed stack sets only", 500
            )
        management_id = _organization(caller, asked)
        _require_trusted_access(management_id)
        automatic = asked.get("AutoDeployment") or {}
        stack_set = StackSet(
            management_id=management_id,
            region=caller.region,
            name=str(asked["StackSetName"]),
            content=_content(asked, None),
            auto_deployment=bool(automatic.get("Enabled")),
            retain_on_removal=bool(automatic.get("RetainStacksOnAccountRemoval")),
            managed_execution=bool((asked.get("ManagedExecution") or {}).get("Active")),
            description=asked.get("Description") or "",
        )
        self._emulation.stack_sets.create(stack_set)
        return {"StackSetId": stack_set.stack_set_id}

    def _update_stack_set(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        _require_trusted_access(stack_set.management_id)
        content = _content(asked, stack_set.content)
        operation = self._operation("UPDATE", stack_set, asked)
        stack_sets = self._emulation.stack_sets
        stack_sets.update(stack_set, operation, asked.get("Regions") or (), content)
        if "Description" in asked:
            stack_set.description = asked["Description"]
        if "AutoDeployment" in asked:
            automatic = asked["AutoDeployment"]
            stack_set.auto_deployment = bool(automatic.get("Enabled"))
            stack_set.retain_on_removal = bool(automatic.get("RetainStacksOnAccountRemoval"))
        if "ManagedExecution" in asked:
            stack_set.managed_execution = bool(asked["ManagedExecution"].get("Active"))
        return {"OperationId": operation.operation_id}

    def _delete_stack_set(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            stack_set = self.stack_set(caller, asked)
        except AwsError as error:
            if error.code == "StackSetNotFoundException":
                return {}  # DeleteStackSet declares no such error: it is gone
            raise
        self._emulation.stack_sets.remove(stack_set)
        return {}

    def _describe_stack_set(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        content, instances = stack_set.content, list(stack_set.instances.values())
        units = {each.organizational_unit_id for each in instances} | set(stack_set.auto_targets)
        return {
            "StackSet": {
                **_summary(stack_set),
                "TemplateBody": content.template_body,
                "Parameters": _parameters(content.parameters),
                "Capabilities": list(content.capabilities),
                "Tags": [{"Key": k, "Value": v} for k, v in sorted(content.tags.items())],
                "StackSetARN": stack_set.arn,
                "StackSetDriftDetectionDetails": {"DriftStatus": "NOT_CHECKED"},
                "OrganizationalUnitIds": sorted(units),
                "Regions": sorted({each.place.region for each in instances}),
            }
        }

    def _list_stack_sets(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        management_id = _organization(caller, asked, listing=True)
        found = []
        if asked.get("Status", "ACTIVE") == "ACTIVE":
            found = self._emulation.stack_sets.all_in(management_id, caller.region)
        return _page([{**_summary(each), **_NOT_CHECKED} for each in found], asked)

    def _create_stack_instances(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        _require_trusted_access(stack_set.management_id)
        operation = self._operation("CREATE", stack_set, asked)
        self._emulation.stack_sets.create_instances(
            stack_set, operation, asked["Regions"], _overrides(asked) or {}
        )
        return {"OperationId": operation.operation_id}

    def _update_stack_instances(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        _require_trusted_access(stack_set.management_id)
        operation = self._operation("UPDATE", stack_set, asked)
        self._emulation.stack_sets.update(
            stack_set, operation, asked["Regions"], overrides=_overrides(asked)
        )
        return {"OperationId": operation.operation_id}

    def _delete_stack_instances(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        _require_trusted_access(stack_set.management_id)
        operation = self._operation("DELETE", stack_set, asked)
        self._emulation.stack_sets.delete_instances(stack_set, operation, asked["Regions"])
        return {"OperationId": operation.operation_id}

    def _operation(self, action: str, stack_set: StackSet, asked: dict[str, Any]) -> Operation:
        given = asked.get("OperationPreferences") or {}
        return self._emulation.stack_sets.operation(
            action,
            operation_id=asked.get("OperationId"),
            preferences=Preferences(
                given.get("FailureToleranceCount"), given.get("FailureTolerancePercentage"), given
            ),
            targets=_targets(stack_set, asked),
            retain_stacks=bool(asked.get("RetainStacks")),
        )

    def _describe_stack_instance(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        account_id, region = asked["StackInstanceAccount"], asked["StackInstanceRegion"]
        place = member_stacks.Place(account_id, region)
        instance = stack_set.instances.get(place)
        if instance is None:
            raise AwsError(
                "StackInstanceNotFoundException",
                f"Stack instance for stack set {stack_set.name}, account {account_id} and region "
                f"{region} not found",
                404,
            )
        overrides = _parameters(instance.overrides)
        return {
            "StackInstance": {**_of_instance(stack_set, instance), "ParameterOverrides": overrides}
        }

    def _list_stack_instances(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        wanted = {each["Name"]: each["Values"] for each in asked.get("Filters") or ()}
        found = [
            instance
            for place, instance in sorted(
                list(stack_set.instances.items()),
                key=lambda each: (each[0].account_id, each[0].region),
            )
            if asked.get("StackInstanceAccount") in {None, place.account_id}
            and asked.get("StackInstanceRegion") in {None, place.region}
            and wanted.get("DETAILED_STATUS") in {None, instance.detailed_status}
            and wanted.get("LAST_OPERATION_ID") in {None, instance.last_operation_id}
            and wanted.get("DRIFT_STATUSES") in {None, "NOT_CHECKED"}
        ]
        return _page([_of_instance(stack_set, each) for each in found], asked)

    def _list_stack_set_operations(self, caller: Caller, asked: dict[str, Any]) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        found = []
        for operation in reversed(stack_set.operations):
            whole = _of_operation(stack_set, operation)
            for name in ("StackSetId", "RetainStacks", "DeploymentTargets"):
                whole.pop(name, None)
            found.append(whole)
        return _page(found, asked)

    def _describe_stack_set_operation(
        self, caller: Caller, asked: dict[str, Any]
    ) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        return {"StackSetOperation": _of_operation(stack_set, _operation_of(stack_set, asked))}

    def _list_stack_set_operation_results(
        self, caller: Caller, asked: dict[str, Any]
    ) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        wanted = {each["Name"]: each["Values"] for each in asked.get("Filters") or ()}
        found = [
            {
                "Account": outcome.instance.place.account_id,
                "Region": outcome.instance.place.region,
                "Status": outcome.status,
                "AccountGateResult": _GATE,
                "OrganizationalUnitId": outcome.instance.organizational_unit_id,
                **({"StatusReason": outcome.reason} if outcome.reason else {}),
            }
            for outcome in list(_operation_of(stack_set, asked).outcomes)
            if wanted.get("OPERATION_RESULT_STATUS") in {None, outcome.status}
        ]
        return _page(found, asked)

    def _list_auto_deployment_targets(
        self, caller: Caller, asked: dict[str, Any]
    ) -> dict[str, Any]:
        stack_set = self.stack_set(caller, asked)
        found = [
            {"OrganizationalUnitId": unit, "Regions": sorted(regions)}
            for unit, regions in sorted(stack_set.auto_targets.items())
        ]
        return _page(found, asked)

    def _activate_organizations_access(self, caller: Caller, _: dict[str, Any]) -> dict[str, Any]:
        organization.set_trusted(SERVICE, _management(caller), trusted=True)
        return {}

    def _deactivate_organizations_access(self, caller: Caller, _: dict[str, Any]) -> dict[str, Any]:
        organization.set_trusted(SERVICE, _management(caller), trusted=False)
        return {}

    def _describe_organizations_access(
        self, caller: Caller, asked: dict[str, Any]
    ) -> dict[str, Any]:
        trusted = organization.is_trusted(SERVICE, _organization(caller, asked))
        return {"Status": "ENABLED" if trusted else "DISABLED"}


def _organization(caller: Caller, asked: dict[str, Any], *, listing: bool = False) -> str:
    """Return the management account whose stack sets are asked for; AWS's refusals, as seen.

    "Account used is not a delegated administrator" and "You must be the management account or
    delegated admin account of an organization before operating a SERVICE_MANAGED stack set".
    """
    found = upstream.organization_of(caller.account_id)
    management_id = None if found is None else str(found["MasterAccountId"])
    if asked.get("CallAs", "SELF") == "DELEGATED_ADMIN":
        if management_id is None or not organization.is_delegated_administrator(
            caller.account_id, SERVICE
        ):
            raise _invalid("Account used is not a delegated administrator")
        return management_id
    if caller.account_id != management_id:
        if listing or asked.get("PermissionModel") is None:
            return caller.account_id  # its own, self-managed stack sets: none here
        raise _invalid(
            "You must be the management account or delegated admin account of an organization "
            "before operating a SERVICE_MANAGED stack set"
        )
    return management_id


def _management(caller: Caller) -> str:
    found = upstream.organization_of(caller.account_id)
    if found is None or found["MasterAccountId"] != caller.account_id:
        raise AwsError(
            "InvalidOperationException",
            "Only the management account of an organization may do this.",
            400,
        )
    return caller.account_id


def _require_trusted_access(management_id: str) -> None:
    if not organization.is_trusted(SERVICE, management_id):
        raise _invalid(
            "You must enable organizations access to operate a service managed stack set"
        )


def _content(asked: dict[str, Any], previous: StackContent | None) -> StackContent:
    """Return what the stacks are made from; what is not given stays, but for capabilities."""
    body = asked.get("TemplateBody")
    if body is None and asked.get("TemplateURL"):
        body = member_stacks.template_at(asked["TemplateURL"])
    elif body is not None and len(body.encode()) > _TEMPLATE_BYTES:
        raise _invalid(
            "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: "
            f"Member must have length less than or equal to {_TEMPLATE_BYTES}"
        )
    if body is None and previous is not None and asked.get("UsePreviousTemplate"):
        body = previous.template_body
    if body is None:
        raise _invalid("Either TemplateBody or TemplateURL must be specified")
    given: dict[str, str] = {}
    for each in asked.get("Parameters") or ():
        key = each["ParameterKey"]
        if each.get("UsePreviousValue") and previous is not None:
            given[key] = previous.parameters[key]
        else:
            given[key] = each["ParameterValue"]
    tags = (
        {each["Key"]: each["Value"] for each in asked["Tags"]}
        if "Tags" in asked
        else dict(previous.tags if previous is not None else {})
    )
    capabilities = tuple(asked.get("Capabilities") or ())
    _check_template(body, capabilities)
    return StackContent(body, given, tags, capabilities)


def _check_template(body: str, capabilities: tuple[str, ...]) -> None:
    """User guide, stacksets-orgs: service-managed stack sets take no macros, no nested stacks."""
    try:
        template = member_stacks.template_of(body)
    except ValueError as error:
        raise _invalid(str(error)) from error
    if member_stacks.uses_macros(template):
        raise _invalid("Service-managed stack sets do not support templates with macros")
    kinds = {each.get("Type") for each in template["Resources"].values() if isinstance(each, dict)}
    if _NESTED in kinds:
        raise _invalid("Service-managed stack sets do not support nested stacks")
    missing = member_stacks.missing_capabilities(capabilities, template)
    if missing:
        raise AwsError(
            "InsufficientCapabilitiesException", f"Requires capabilities : [{', '.join(missing)}]"
        )


def _targets(stack_set: StackSet, asked: dict[str, Any]) -> Targets | None:
    given = asked.get("DeploymentTargets")
    if asked.get("Accounts"):
        raise _invalid("Accounts is for self-managed stack sets; say DeploymentTargets instead")
    if given is None:
        return None
    units = tuple(given.get("OrganizationalUnitIds") or ())
    if not units:
        raise _invalid("OrganizationalUnitIds are required")
    for unit in units:
        if not organization.is_place(unit, stack_set.management_id):
            raise _invalid(f"Organizational unit {unit} not found")
    accounts = tuple(given.get("Accounts") or ())
    account_filter = given.get("AccountFilterType") or "NONE"
    if given.get("AccountsUrl"):
        raise AwsError("InternalFailure", "the emulator does not have AccountsUrl", 500)
    if bool(accounts) != (account_filter != "NONE"):
        raise _invalid("Accounts and AccountFilterType go together")
    return Targets(units, accounts, account_filter)


def _overrides(asked: dict[str, Any]) -> dict[str, str] | None:
    given = asked.get("ParameterOverrides")
    return None if given is None else {e["ParameterKey"]: e["ParameterValue"] for e in given}


def _operation_of(stack_set: StackSet, asked: dict[str, Any]) -> Operation:
    for operation in stack_set.operations:
        if operation.operation_id == asked["OperationId"]:
            return operation
    raise AwsError("OperationNotFoundException", f"Operation {asked['OperationId']} not found", 404)


def _summary(stack_set: StackSet) -> dict[str, Any]:
    automatic: dict[str, Any] = {"Enabled": stack_set.auto_deployment}
    if stack_set.auto_deployment:
        automatic["RetainStacksOnAccountRemoval"] = stack_set.retain_on_removal
    found = {
        "StackSetName": stack_set.name,
        "StackSetId": stack_set.stack_set_id,
        "Status": "ACTIVE",
        "AutoDeployment": automatic,
        "PermissionModel": "SERVICE_MANAGED",
        "ManagedExecution": {"Active": stack_set.managed_execution},
    }
    if stack_set.description:
        found["Description"] = stack_set.description
    return found


def _of_instance(stack_set: StackSet, instance: Instance) -> dict[str, Any]:
    found = {
        "StackSetId": stack_set.stack_set_id,
        "Region": instance.place.region,
        "Account": instance.place.account_id,
        "Status": instance.status,
        "StackInstanceStatus": {"DetailedStatus": instance.detailed_status},
        "OrganizationalUnitId": instance.organizational_unit_id,
        "LastOperationId": instance.last_operation_id,
        **_NOT_CHECKED,
    }
    if instance.stack_id is not None:
        found["StackId"] = instance.stack_id
    if instance.reason is not None:
        found["StatusReason"] = instance.reason
    return found


def _of_operation(stack_set: StackSet, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "OperationId": operation.operation_id,
        "StackSetId": stack_set.stack_set_id,
        "Action": operation.action,
        "Status": operation.status,
        "OperationPreferences": operation.preferences.as_given,
        "CreationTimestamp": operation.created_at,
        "StatusDetails": {"FailedStackInstancesCount": operation.failures},
    }
    if operation.action == "DELETE":
        found["RetainStacks"] = operation.retain_stacks
    if operation.ended_at is not None:
        found["EndTimestamp"] = operation.ended_at
    if operation.targets is not None:
        found["DeploymentTargets"] = operation.targets.to_api()
    return found


def _parameters(values: Any) -> list[dict[str, str]]:
    return [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(values.items())]


def _page(items: list[dict[str, Any]], asked: dict[str, Any]) -> dict[str, Any]:
    token = asked.get("NextToken") or "0"
    if not token.isascii() or not token.isdigit():
        raise _invalid("NextToken is not valid")
    first, size = int(token), asked.get("MaxResults") or _PAGE
    page: dict[str, Any] = {"Summaries": items[first : first + size]}
    if first + size < len(items):
        page["NextToken"] = str(first + size)
    return page


def _resource(caller: Caller, asked: dict[str, Any]) -> str:
    """Return the ARN that is authorized (Service Authorization Reference, CloudFormation)."""
    name = str(asked.get("StackSetName") or "*").partition(":")[0]
    prefix = f"arn:aws:cloudformation:{caller.region}:{caller.account_id}:stackset/{name}"
    return f"{prefix}:*" if "StackSetName" in asked else "*"


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message, 400)


def template_text(template: Any) -> str:
    """Return a template given as text or as a table, as text."""
    return template if isinstance(template, str) else json.dumps(template)
