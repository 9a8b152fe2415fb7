"""Change sets that bring back what somebody changed beside CloudFormation (REVERT_DRIFT).

CloudFormation user guide, drift-aware-change-sets, and API reference, CreateChangeSet
(DeploymentMode): such a change set compares what is there with the template too; executing it
makes deleted resources anew and sets changed ones back. `cdk deploy --revert-drift` asks for it.
ministack takes it for a plain one. Custom resources have no drift.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ministack.core import responses
from ministack.services import cloudformation, cloudwatch, eventbridge, iam, scheduler, sns, sqs
from ministack.services.cloudformation import drift, handlers, provisioners, stacks

from local.emulator import stack_set_resource

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.emulator.emulation import Emulation

    # Of a resource's physical id and its properties: whether it is DELETED, MODIFIED, or neither.
    Reader = Callable[[str, dict[str, Any]], str | None]

_MODE = "REVERT_DRIFT"
_ID = re.compile(r"<Id>([^<]+)</Id>")
_DELETED, _MODIFIED = "DELETED", "MODIFIED"
# In the old properties of a resource, so that they differ from the new ones.
_MARK = "PareDrifted"


def register(emulation: Emulation) -> None:
    """Put it in place."""
    actions = handlers._ACTION_HANDLERS
    create, execute = actions["CreateChangeSet"], actions["ExecuteChangeSet"]
    readers = {
        **_READERS,
        "AWS::AccessAnalyzer::Analyzer": _analyzer_reader(emulation),
        stack_set_resource.TYPE: _stack_set_reader(emulation),
    }

    def create_change_set(params: dict[str, Any]) -> Any:
        answer = create(params)
        if params.get("DeploymentMode", [""])[0] != _MODE or answer[0] >= 400:
            return answer
        found = _ID.search(answer[2].decode())
        assert found is not None
        change_set = cloudformation._change_sets[found[1]]
        stack = cloudformation._stacks[change_set["StackName"]]
        with stacks._stack_region_context(stack, stack["StackId"]):
            _add_drift(change_set, stack, readers)
        return answer

    def execute_change_set(params: dict[str, Any]) -> Any:
        change_set = _change_set(params)
        if change_set is not None and change_set["ExecutionStatus"] == "AVAILABLE":
            _forget_drifted(change_set)
        return execute(params)

    actions["CreateChangeSet"] = create_change_set
    actions["ExecuteChangeSet"] = execute_change_set


def _add_drift(
    change_set: dict[str, Any], stack: dict[str, Any], readers: dict[str, Reader]
) -> None:
    """Add what drifted to the changes: a set without others can be executed for it alone."""
    drifted = {}
    for logical_id, record in stack["_resources"].items():
        status = _drift_of(stack, logical_id, record, readers)
        if status is not None and logical_id in change_set["_template"]["Resources"]:
            drifted[logical_id] = status
    known = {each["ResourceChange"]["LogicalResourceId"] for each in change_set["Changes"]}
    for logical_id, status in drifted.items():
        record = stack["_resources"][logical_id]
        change = {
            "Action": "Add" if status == _DELETED else "Modify",
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": record["PhysicalResourceId"],
            "ResourceType": record["ResourceType"],
            "Scope": ["Properties"],
            "Details": [],
        }
        if status == _MODIFIED:
            change["Replacement"] = "False"
        if logical_id not in known:
            change_set["Changes"].append({"Type": "Resource", "ResourceChange": change})
    change_set["_drifted"] = drifted
    if drifted:
        change_set |= {
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
            "StatusReason": "",
        }


def _drift_of(
    stack: dict[str, Any], logical_id: str, record: dict[str, Any], readers: dict[str, Reader]
) -> str | None:
    kind, physical_id = record["ResourceType"], record["PhysicalResourceId"]
    if drift.supports_drift(kind):
        found = drift.detect_resource_drift(stack, logical_id, record, responses.now_iso())
        status = found["StackResourceDriftStatus"]
        if status in {_DELETED, _MODIFIED}:
            return str(status)
    reader = readers.get(kind)
    return None if reader is None else reader(physical_id, record.get("Properties") or {})


def _change_set(params: dict[str, Any]) -> dict[str, Any] | None:
    name = params.get("ChangeSetName", [""])[0]
    stack_name = params.get("StackName", [""])[0]
    for change_set_id, found in cloudformation._change_sets.items():
        if name in {change_set_id, found["ChangeSetName"]} and stack_name in {
            "", found["StackName"], found["StackId"],
        }:  # fmt: skip
            return dict(found)
    return None


def _forget_drifted(change_set: dict[str, Any]) -> None:
    """Let the update that follows make what is gone, and set back what was changed."""
    resources = cloudformation._stacks[change_set["StackName"]]["_resources"]
    for logical_id, status in (change_set.get("_drifted") or {}).items():
        if status == _DELETED:
            resources.pop(logical_id, None)
        else:
            record = resources[logical_id]
            record["Properties"] = {**record["Properties"], _MARK: True}


def _rule(physical_id: str, props: dict[str, Any]) -> str | None:
    key = eventbridge._rule_key(physical_id, provisioners._eb_rule_bus_name(props))
    rule = eventbridge._rules.get(key)
    if rule is None:
        return _DELETED
    wanted = {each["Id"] for each in props.get("Targets") or ()}
    there = {each["Id"] for each in eventbridge._targets.get(key) or ()}
    pattern = json.loads(rule["EventPattern"]) if rule.get("EventPattern") else None
    same = (
        rule["State"] == props.get("State", "ENABLED")
        and wanted <= there
        and pattern == props.get("EventPattern")
    )
    return None if same else _MODIFIED


def _schedule(physical_id: str, props: dict[str, Any]) -> str | None:
    found = scheduler._schedules.get(f"{props.get('GroupName', 'default')}/{physical_id}")
    if found is None:
        return _DELETED
    same = (
        found["State"] == props.get("State", "ENABLED")
        and _expression(found) == _expression(props)
        and _started(found) == _started(props)
    )
    return None if same else _MODIFIED


def _started(schedule: dict[str, Any]) -> tuple[Any, Any]:
    target = schedule.get("Target") or {}
    return target.get("Arn"), target.get("Input")


def _expression(schedule: dict[str, Any]) -> tuple[Any, Any]:
    return schedule["ScheduleExpression"], schedule.get("ScheduleExpressionTimezone") or "UTC"


def _alarm(physical_id: str, props: dict[str, Any]) -> str | None:
    found = cloudwatch._alarms.get(physical_id)
    if found is None:
        return _DELETED
    wanted = provisioners._cw_metric_alarm_record(physical_id, props)
    same = all(found.get(each) == wanted.get(each) for each in _OF_AN_ALARM)
    actions = set(wanted["AlarmActions"])
    return None if same and actions <= set(found.get("AlarmActions") or ()) else _MODIFIED


_OF_AN_ALARM = (
    "ActionsEnabled", "MetricName", "Namespace", "Dimensions", "Statistic", "Period",
    "EvaluationPeriods", "Threshold", "ComparisonOperator", "TreatMissingData",
)  # fmt: skip


def _role(physical_id: str, props: dict[str, Any]) -> str | None:
    """Beside what ministack compares: the inline policies and the managed ones."""
    role = iam._roles[physical_id]
    for policy in props.get("Policies") or ():
        if _document(role["InlinePolicies"].get(policy["PolicyName"])) != policy["PolicyDocument"]:
            return _MODIFIED
    attached = set(props.get("ManagedPolicyArns") or ())
    return None if attached <= set(role["AttachedPolicies"]) else _MODIFIED


def _policy(physical_id: str, props: dict[str, Any]) -> str | None:
    for name in props.get("Roles") or ():
        role = iam._roles.get(name) or {"InlinePolicies": {}}
        if _document(role["InlinePolicies"].get(props["PolicyName"])) != props["PolicyDocument"]:
            return _MODIFIED
    return None


def _attached(stores: Any, members: str) -> Reader:
    """Return a reader of the policies that a resource attaches to queues or topics."""

    def read(physical_id: str, props: dict[str, Any]) -> str | None:
        for name in props.get(members) or ():
            attributes = (stores.get(name) or {}).get("attributes") or {}
            if _document(attributes.get("Policy")) != props["PolicyDocument"]:
                return _MODIFIED
        return None

    return read


def _document(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _analyzer_reader(emulation: Emulation) -> Reader:
    def read(physical_id: str, props: dict[str, Any]) -> str | None:
        analyzers = emulation.access_analyzer.findings.overview()
        return None if physical_id in {each["arn"] for each in analyzers} else _DELETED

    return read


def _stack_set_reader(emulation: Emulation) -> Reader:
    """Of a stack set its own properties and targets; not what became of the members' stacks."""

    def read(physical_id: str, props: dict[str, Any]) -> str | None:
        work = stack_set_resource.StackSetWork(emulation, props)
        if work.found() is None:
            return _DELETED
        differs = work.differs() or any(work.lacks(group) for group in work.groups)
        return _MODIFIED if differs else None

    return read


_READERS: dict[str, Reader] = {
    "AWS::Events::Rule": _rule,
    "AWS::Scheduler::Schedule": _schedule,
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::IAM::Role": _role,
    "AWS::IAM::Policy": _policy,
    "AWS::SQS::QueuePolicy": _attached(sqs._queues, "Queues"),
    "AWS::SNS::TopicPolicy": _attached(sns._topics, "Topics"),
}
