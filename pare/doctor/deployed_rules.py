"""Rules, schedules, subscriptions and alarms of a deployed stack: what its template says they are.

So the doctor compares what is there with what was deployed, not with what this version of Pare
would deploy. Only the few intrinsic functions that rules and their roles use are worked out; what
uses another one is not compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pare.doctor.commands import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

DEFAULT_BUS: Final = "default"
_RULE, _POLICY = "AWS::Events::Rule", "AWS::IAM::Policy"
_SCHEDULE: Final = "AWS::Scheduler::Schedule"
_SUBSCRIPTION, _ALARM = "AWS::SNS::Subscription", "AWS::CloudWatch::Alarm"
_HASH: Final = 8  # the characters with which CDK ends a logical id
# What a target may not have: it would not get the event as it is.
_CHANGES_THE_EVENT = ("Input", "InputPath", "InputTransformer")


class _Unresolved(Exception):
    """A value of a template that is not worked out here."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack as it is deployed: its template, and logical id -> (type, physical id)."""

    name: str
    stack_id: str
    region: str
    template: Mapping[str, Any]
    resources: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ExpectedRule:
    """A rule as its stack made it.

    ``name`` is empty where CloudFormation has made none; ``pattern`` and ``targets`` are None where
    they could not be worked out. ``role_commands``: what gives the target's role its rights again.
    """

    name: str
    bus: str
    region: str
    description: str
    pattern: JsonObject | None
    targets: tuple[JsonObject, ...] | None
    role_commands: tuple[str, ...]

    @property
    def options(self) -> str:
        """The options that name the rule; the default bus is not named."""
        return self._options("--name")

    def takes(self, source: str) -> bool:
        """Return whether events of a source are what the rule is for."""
        sources = (self.pattern or {}).get("source")
        return isinstance(sources, list) and source in sources

    def enable_command(self) -> str:
        """Return the command that switches the rule on."""
        return f"aws events enable-rule {self.options}"

    def put_rule_command(self) -> str | None:
        """Return the command that makes the rule, or its pattern, what it was; None: unknown."""
        if self.pattern is None:
            return None
        # What is left out of this call is not kept.
        return (
            f"aws events put-rule {self.options} --state ENABLED "
            f"--event-pattern {quoted(self.pattern)} --description {quoted(self.description)}"
        )

    def put_targets_command(self) -> str | None:
        """Return the command that gives the rule its targets again; None: unknown."""
        if self.targets is None:
            return None
        return f"aws events put-targets {self._options('--rule')} --targets " + quoted(
            list(self.targets)
        )

    def _options(self, option: str) -> str:
        bus = "" if self.bus == DEFAULT_BUS else f" --event-bus-name {quoted(self.bus)}"
        return f"{option} {quoted(self.name)}{bus} --region {self.region}"


@dataclass(frozen=True, slots=True)
class FoundRule:
    """A rule as EventBridge has it; ``pattern`` as parsed JSON."""

    state: str
    pattern: Any
    targets: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a rule, in a few words, and the commands that mend it; none: unknown.

    ``is_of_bus``: its bus is gone, and the rule with it; no command for the rule would help.
    """

    rule: ExpectedRule
    says: str
    commands: tuple[str, ...]
    is_of_bus: bool = False


def expected_rules(stack: Stack, setup: Setup) -> list[ExpectedRule]:
    """Return the rules of a stack, by bus and name."""
    rules = []
    for logical_id, resource in stack.template.get("Resources", {}).items():
        if resource.get("Type") != _RULE:
            continue
        properties = resource.get("Properties", {})
        # Of a rule on a bus of its own CloudFormation says "bus|rule".
        bus, _, name = stack.resources.get(logical_id, ("", ""))[1].rpartition("|")
        found_bus = _or_none(properties.get("EventBusName"), stack, setup) or bus or DEFAULT_BUS
        targets = properties.get("Targets", [])
        rules.append(
            ExpectedRule(
                name=name or str(_or_none(properties.get("Name"), stack, setup) or ""),
                bus=str(found_bus).rpartition("/")[2],
                region=stack.region,
                description=str(_or_none(properties.get("Description"), stack, setup) or ""),
                pattern=_or_none(properties.get("EventPattern"), stack, setup),
                targets=_tuple_or_none(targets, stack, setup),
                role_commands=tuple(_role_commands(targets, stack, setup)),
            )
        )
    return sorted(rules, key=lambda each: (each.bus, each.name))


def faults_of(rule: ExpectedRule, found: FoundRule | None, *, has_bus: bool = True) -> list[Fault]:
    """Return what is wrong with a rule; ``found``: None where EventBridge has none of its name.

    ``has_bus``: whether its bus is there.
    """
    if not has_bus:
        return [Fault(rule, "is not there", (), is_of_bus=True)]
    put_rule, put_targets = rule.put_rule_command(), rule.put_targets_command()
    if found is None:
        both = (put_rule, put_targets)
        commands = tuple(each for each in both if each) if rule.name and all(both) else ()
        return [Fault(rule, "is not there", commands)]
    faults = []
    if rule.pattern is not None and found.pattern != rule.pattern:
        faults.append(
            Fault(rule, "takes other events than it should", (put_rule,) if put_rule else ())
        )
    # Its state is put right with its pattern.
    if not found.state.startswith("ENABLED"):
        commands = () if faults else (rule.enable_command(),)
        faults.append(Fault(rule, "is disabled", commands))
    if problem := _problem_of_targets(rule, found):
        faults.append(Fault(rule, problem, (put_targets,) if put_targets else ()))
    return faults


def _problem_of_targets(rule: ExpectedRule, found: FoundRule) -> str:
    if not found.targets:
        return "has no target"
    by_arn = {each.get("Arn"): each for each in found.targets}
    for wanted in rule.targets or ():
        target = by_arn.get(wanted["Arn"])
        if target is None:
            return "has lost its target"
        if target.get("RoleArn") != wanted.get("RoleArn"):
            return "has its target with another role"
        if any(target.get(each) for each in _CHANGES_THE_EVENT if each not in wanted):
            return "changes the event on its way"
        if target.get("DeadLetterConfig") != wanted.get("DeadLetterConfig"):
            return "has its target without its dead-letter queue"
    return ""


@dataclass(frozen=True, slots=True)
class ExpectedSchedule:
    """A schedule as its stack made it; what could not be worked out is None.

    ``target``: the ARN of what it starts, ``input``: what it starts it with. ``time_zone``: UTC
    where the template names none.
    """

    expression: str | None
    time_zone: str | None
    target: str | None
    input: str | None = None


def expected_schedules(stack: Stack, setup: Setup) -> dict[str, ExpectedSchedule]:
    """Return the schedules of a stack: construct id -> what it is in the template."""
    return {
        construct_id: ExpectedSchedule(
            expression=_or_none(properties.get("ScheduleExpression"), stack, setup),
            time_zone=_or_none(properties.get("ScheduleExpressionTimezone", "UTC"), stack, setup),
            target=_or_none(properties.get("Target", {}).get("Arn"), stack, setup),
            input=_or_none(properties.get("Target", {}).get("Input"), stack, setup),
        )
        for construct_id, properties in properties_of(_SCHEDULE, stack.template)
    }


@dataclass(frozen=True, slots=True)
class ExpectedSubscription:
    """A subscription as its stack made it; ``filter``: empty where everything is let through."""

    topic: str
    protocol: str
    endpoint: str
    filter: JsonObject
    scope: str


def expected_subscriptions(stack: Stack, setup: Setup) -> list[ExpectedSubscription]:
    """Return the subscriptions of a stack, without what could not be worked out."""
    subscriptions = []
    for _, properties in properties_of(_SUBSCRIPTION, stack.template):
        policy = properties.get("FilterPolicy") or {}
        found = _or_none(
            {
                "topic": properties.get("TopicArn"),
                "protocol": properties.get("Protocol"),
                "endpoint": properties.get("Endpoint"),
                "filter": json.loads(policy) if isinstance(policy, str) else policy,
                "scope": properties.get("FilterPolicyScope", "MessageAttributes"),
            },
            stack,
            setup,
        )
        if found:
            subscriptions.append(ExpectedSubscription(**found))
    return subscriptions


@dataclass(frozen=True, slots=True)
class ExpectedAlarm:
    """An alarm as its stack made it.

    ``actions``: the topics it tells; ``measures``: what it looks at, and when it rings, as
    DescribeAlarms names it. Both without what could not be worked out.
    """

    actions: tuple[str, ...]
    measures: JsonObject


# In this order they are told.
_MEASURES: Final = (
    "MetricName", "Namespace", "Dimensions", "Statistic", "Period", "EvaluationPeriods",
    "DatapointsToAlarm", "Threshold", "ComparisonOperator", "TreatMissingData",
)  # fmt: skip


def expected_alarms(stack: Stack, setup: Setup) -> dict[str, ExpectedAlarm]:
    """Return the alarms of a stack: construct id -> what it is in the template."""
    alarms = {}
    for construct_id, properties in properties_of(_ALARM, stack.template):
        actions = [_or_none(each, stack, setup) for each in properties.get("AlarmActions", [])]
        measures = {each: _or_none(properties.get(each), stack, setup) for each in _MEASURES}
        alarms[construct_id] = ExpectedAlarm(
            actions=tuple(each for each in actions if each),
            measures={key: value for key, value in measures.items() if value is not None},
        )
    return alarms


def topics_of_alarms(stack: Stack, setup: Setup) -> list[str]:
    """Return the ARNs of the topics whose policies in the template let alarms publish."""
    return sorted(
        arn
        for _, properties in properties_of("AWS::SNS::TopicPolicy", stack.template)
        if any(map(lets_alarms_publish, properties.get("PolicyDocument", {}).get("Statement", [])))
        for arn in (_or_none(each, stack, setup) for each in properties.get("Topics", []))
        if arn
    )


def lets_alarms_publish(statement: Mapping[str, Any]) -> bool:
    """Return whether a statement of a topic's policy lets CloudWatch publish."""
    principal, actions = statement.get("Principal"), statement.get("Action", [])
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    named = [services] if isinstance(services, str) else services
    asked = [actions] if isinstance(actions, str) else actions
    return (
        statement.get("Effect") == "Allow"
        and "cloudwatch.amazonaws.com" in named
        # AWS gives actions of SNS back as SNS:Publish.
        and any(str(each).lower() in {"sns:publish", "sns:*", "*"} for each in asked)
    )


def properties_of(
    kind: str, template: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the construct id and the properties of each resource of a type."""
    for logical_id, resource in template.get("Resources", {}).items():
        if resource.get("Type") == kind:
            yield construct_id_of(logical_id), resource.get("Properties", {})


def construct_id_of(logical_id: str) -> str:
    """Return a logical id without CDK's hash, which ends it."""
    return logical_id[:-_HASH]


def own_analyzers(stack: Stack) -> dict[str, tuple[str, JsonObject]]:
    """Return the analyzers of a stack: type -> (name, empty if not made; its properties)."""
    return {
        str(resource.get("Properties", {}).get("Type")): (
            # Its physical id is its ARN.
            stack.resources.get(logical_id, ("", ""))[1].rpartition("/")[2],
            resource.get("Properties", {}),
        )
        for logical_id, resource in stack.template.get("Resources", {}).items()
        if resource.get("Type") == "AWS::AccessAnalyzer::Analyzer"
    }


# --- Roles ----------------------------------------------------------------------------------------


def _role_commands(targets: Any, stack: Stack, setup: Setup) -> Iterator[str]:
    """Yield the commands that put right whom the targets' roles trust, and what they may do."""
    roles = {
        target["RoleArn"]["Fn::GetAtt"][0]: None
        for target in targets
        if isinstance(target.get("RoleArn"), dict) and "Fn::GetAtt" in target["RoleArn"]
    }
    resources = stack.template["Resources"]
    for role in roles:
        name = stack.resources.get(role, ("", ""))[1]
        if not name:
            continue
        trust = _or_none(
            resources.get(role, {}).get("Properties", {}).get("AssumeRolePolicyDocument"),
            stack,
            setup,
        )
        if trust:
            yield (
                f"aws iam update-assume-role-policy --role-name {quoted(name)} "
                f"--policy-document {quoted(trust)}"
            )
        for resource in resources.values():
            properties = resource.get("Properties", {})
            if resource.get("Type") != _POLICY or {"Ref": role} not in properties.get("Roles", ()):
                continue
            document = _or_none(properties.get("PolicyDocument"), stack, setup)
            policy = _or_none(properties.get("PolicyName"), stack, setup)
            if document and policy:
                yield (
                    f"aws iam put-role-policy --role-name {quoted(name)} "
                    f"--policy-name {quoted(policy)} --policy-document {quoted(document)}"
                )


# --- Values of a template -------------------------------------------------------------------------


def _tuple_or_none(value: Any, stack: Stack, setup: Setup) -> tuple[JsonObject, ...] | None:
    found = _or_none(value, stack, setup)
    return None if found is None else tuple(found)


def _or_none(value: Any, stack: Stack, setup: Setup) -> Any:
    """Return what a value of the template is in the deployed stack; None if it is not known."""
    try:
        return _resolved(value, stack, setup)
    except _Unresolved:
        return None


def _resolved(value: Any, stack: Stack, setup: Setup) -> Any:
    match value:
        case {"Ref": str(name)}:
            return _reference(name, stack, setup)
        case {"Fn::GetAtt": [str(name), "Arn"]}:
            return _arn_of(name, stack, setup)
        case {"Fn::GetAtt": [str(name), "QueueName"]}:
            return _arn_of(name, stack, setup).rpartition(":")[2]
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(str(_resolved(part, stack, setup)) for part in parts)
        case dict():
            if any(key.startswith("Fn::") for key in value):
                raise _Unresolved
            return {key: _resolved(each, stack, setup) for key, each in value.items()}
        case list():
            return [_resolved(each, stack, setup) for each in value]
    return value


def _reference(name: str, stack: Stack, setup: Setup) -> str:
    pseudo = {
        "AWS::AccountId": setup.hub_account_id,
        "AWS::Partition": setup.partition,
        "AWS::Region": stack.region,
        "AWS::StackId": stack.stack_id,
        "AWS::StackName": stack.name,
    }
    found = pseudo.get(name) or stack.resources.get(name, ("", ""))[1]
    if not found:
        raise _Unresolved
    return found


def _arn_of(logical_id: str, stack: Stack, setup: Setup) -> str:
    kind, physical_id = stack.resources.get(logical_id, ("", ""))
    if not physical_id:
        raise _Unresolved
    if physical_id.startswith("arn:"):
        return physical_id
    partition, account = setup.partition, setup.hub_account_id
    match kind:
        case "AWS::IAM::Role":
            properties = stack.template["Resources"].get(logical_id, {}).get("Properties", {})
            path = properties.get("Path", "/")
            return f"arn:{partition}:iam::{account}:role{path}{physical_id}"
        case "AWS::SQS::Queue":  # its physical id is its URL
            name = physical_id.rpartition("/")[2]
            return f"arn:{partition}:sqs:{stack.region}:{account}:{name}"
        case "AWS::Events::EventBus":
            return f"arn:{partition}:events:{stack.region}:{account}:event-bus/{physical_id}"
    raise _Unresolved
