"""Reads whether Pare runs: stacks, subscriptions, schedules, queues, alarms, last runs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pare.aws.calls import error_code, translated
from pare.aws.doctor.context import stack_resources
from pare.aws.executions import STACK_NAME
from pare.clock import json_times
from pare.doctor import deployed_rules
from pare.doctor.checks import title_of
from pare.doctor.commands import mend_first
from pare.doctor.model import Mend, cannot_tell
from pare.doctor.running import (
    KINDS,
    PARTS,
    WORKFLOWS,
    Alarm,
    Part,
    Runs,
    Stack,
    Subscription,
    judge_alarms,
    judge_concurrency,
    judge_parts,
    judge_queue,
    judge_resources,
    judge_schedule,
    judge_stack,
    judge_subscriptions,
    judge_topic_policy,
    judge_workflow,
    region_stack_name,
)
from pare.errors import PareError
from pare.message import listed, plain, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from pare.aws.doctor.context import Examination
    from pare.doctor.model import Result

_QUEUE_GONE = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NonExistentQueue"}
)
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
_TOPICS = ("People", "Chat", "Alarms")
_STORAGE = "PareStorage"
# Output of ParePipeline -> what the queue is called.
_QUEUES = ("FindingDeadLetters", "ScheduleDeadLetters", "MessageDeadLetters")


def examine(examination: Examination) -> Iterator[Result]:
    """Yield whether Pare's own parts are there, switched on, and lately succeeded."""
    for check, what, read in (
        ("running.stacks", "stacks", _stacks),
        ("running.resources", "functions, workflows, topics, tables and keys", _resources),
        ("running.subscriptions", "subscriptions", _subscriptions),
        ("running.schedules", "schedules", _schedules),
        ("running.dead-letters", "dead-letter queues", _queues),
        ("running.alarms", "alarms", _alarms),
        ("running.workflows", "last runs", _workflows),
    ):
        examination.say(f"looking at {what}")
        yield from _told(check, "", lambda read=read: list(read(examination)))  # type: ignore[misc]


_MAY_READ = Mend(
    where="you",
    commands=("pare doctor --only running",),
    text="Your credentials need the right to read it; throttling passes by itself.",
)


def _told(check: str, subject: str, read: Callable[[], list[Result]]) -> list[Result]:
    """Return what was read, or that it could not be."""
    try:
        return read()
    except PareError as error:
        said = sentence(plain(error, 400))
        return [cannot_tell(check, subject, f"AWS did not tell: {said}", _MAY_READ)]


# --- Stacks ---------------------------------------------------------------------------------------


def _stacks(examination: Examination) -> Iterator[Result]:
    setup = examination.setup
    names = ["PareStorage", STACK_NAME, *(["PareMembers"] if setup.has_stack_set else [])]
    home = [(name, setup.home_region) for name in names]
    others = [(region_stack_name(region), region) for region in setup.other_regions]

    def look(about: tuple[str, str]) -> list[Result]:
        name, region = about
        return _told(
            "running.stacks",
            f"{name} ({region})",
            lambda: [judge_stack(setup, name, region, read_stack(examination, name, region))],
        )

    for results in examination.side_by_side("stacks", [*home, *others], look):
        yield from results


def read_stack(examination: Examination, name: str, region: str) -> Stack | None:
    """Return a stack of the hub account; None: there is none of that name."""
    found = _described(examination, name, region)
    if found is None:
        return None
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    # Behind a plus stands what makes the output change with the settings.
    version, _, build = outputs.get("PareVersion", "").partition("+")
    return Stack(
        name=name,
        region=region,
        status=found["StackStatus"],
        reason=found.get("StackStatusReason", ""),
        version=version,
        build=build,
    )


def _described(examination: Examination, name: str, region: str) -> dict[str, Any] | None:
    with translated("cloudformation:DescribeStacks"):
        try:
            answer = examination.client("cloudformation", region).describe_stacks(StackName=name)
        except ClientError as error:
            if error_code(error) == "ValidationError":
                return None
            raise
    found: dict[str, Any] = answer["Stacks"][0]
    return found


# --- Resources ------------------------------------------------------------------------------------

# How all of a kind are listed: service, operation, its action, the list in a page, the id in it.
_LISTED = {
    "AWS::Lambda::Function": (
        "lambda", "list_functions", "lambda:ListFunctions", "Functions", "FunctionName",
    ),
    "AWS::StepFunctions::StateMachine": (
        "stepfunctions", "list_state_machines", "states:ListStateMachines", "stateMachines",
        "stateMachineArn",
    ),
    "AWS::SNS::Topic": ("sns", "list_topics", "sns:ListTopics", "Topics", "TopicArn"),
}  # fmt: skip


def _resources(examination: Examination) -> Iterator[Result]:
    for kind, word in KINDS.items():

        def read(kind: str = kind) -> list[Result]:
            wanted = examination.resources_of(kind)
            return [judge_resources(kind, wanted, _there(examination, kind), STACK_NAME)]

        yield from _told("running.resources", f"{word}s", read)
    yield from _told("running.resources", "reserved concurrency", lambda: _concurrency(examination))
    for stack in (_STORAGE, STACK_NAME):
        yield from _told("running.resources", stack, lambda stack=stack: _parts(examination, stack))  # type: ignore[misc]


def _there(examination: Examination, kind: str) -> set[str]:
    """Return the physical ids of all that the hub account has of a kind in the home Region."""
    service, operation, action, name, key = _LISTED[kind]
    with translated(action):
        pages = examination.client(service).get_paginator(operation).paginate()
        return {each[key] for page in pages for each in page[name]}


def _concurrency(examination: Examination) -> list[Result]:
    """Return whether what is reserved for functions lets them run; of those that are there."""
    names = examination.resources_of("AWS::Lambda::Function")
    found: dict[str, int | None] = {}
    untold: dict[str, str] = {}

    def look(label: str) -> None:
        function = examination.client("lambda")
        try:
            with translated("lambda:GetFunctionConcurrency"):
                try:
                    answer = function.get_function_concurrency(FunctionName=names[label])
                except ClientError as error:
                    if error_code(error) in _GONE:
                        return  # told as gone
                    raise
        except PareError as error:
            untold[label] = str(error)
            return
        found[label] = answer.get("ReservedConcurrentExecutions")

    examination.side_by_side("reserved concurrency", list(names), look)
    wanted = {
        construct_id: reserved
        for construct_id, properties in deployed_rules.properties_of(
            "AWS::Lambda::Function", examination.template
        )
        if isinstance(reserved := properties.get("ReservedConcurrentExecutions"), int)
    }
    results = [judge_concurrency(examination.setup, names, wanted, found)] if found else []
    if untold:
        first = min(untold)
        said = f"{listed(sorted(untold))}: AWS did not tell: {plain(untold[first], 300)}"
        results.append(
            cannot_tell("running.resources", "reserved concurrency", sentence(said), _MAY_READ)
        )
    return results


# How one of a kind is looked at: service, operation, its action, the parameter that names it.
_ASKED = {
    "table": ("dynamodb", "describe_table", "dynamodb:DescribeTable", "TableName"),
    "bucket": ("s3", "head_bucket", "s3:ListBucket", "Bucket"),
    "key": ("kms", "describe_key", "kms:DescribeKey", "KeyId"),
    "event bus": ("events", "describe_event_bus", "events:DescribeEventBus", "Name"),
}
_GONE = frozenset({"ResourceNotFoundException", "NotFoundException", "NoSuchBucket", "404"})


def _parts(examination: Examination, stack: str) -> list[Result]:
    """Return whether the tables, buckets, keys and buses of a stack are there, and of use."""
    wanted = _parts_of(examination, stack)
    if wanted is None:
        says = f"There is no stack {stack}."
        mend = mend_first(title_of("running.stacks"))
        return [cannot_tell("running.resources", stack, says, mend)]
    told: list[Result] = []

    def look(about: tuple[str, str, str]) -> Part | Result:
        word, label, physical_id = about
        try:
            return _part(examination, word, label, physical_id)
        except PareError as error:
            said = sentence(f"AWS did not tell: {plain(error, 400)}")
            return cannot_tell("running.resources", f"{word} {label}", said, _MAY_READ)

    found = examination.side_by_side(f"parts of {stack}", wanted, look)
    for word in _ASKED:
        answers = [each for about, each in zip(wanted, found, strict=True) if about[0] == word]
        parts = [each for each in answers if isinstance(each, Part)]
        told += judge_parts(examination.setup, word, parts, stack)
        told += [each for each in answers if not isinstance(each, Part)]
    return told


def _parts_of(examination: Examination, stack: str) -> list[tuple[str, str, str]] | None:
    """Return the word, label and physical id of each part of a stack; None: there is no stack."""
    if stack == STACK_NAME:
        resources = examination.resources
    else:
        with translated("cloudformation:ListStackResources"):
            try:
                resources = stack_resources(examination.client("cloudformation"), stack)
            except ClientError as error:
                if error_code(error) == "ValidationError":
                    return None
                raise
    return [
        (PARTS[kind], deployed_rules.construct_id_of(logical_id), physical_id)
        for logical_id, (kind, physical_id) in sorted(resources.items())
        if kind in PARTS
    ]


def _part(examination: Examination, word: str, label: str, physical_id: str) -> Part:
    """Return a table, bucket, key or event bus as it is."""
    service, operation, action, parameter = _ASKED[word]
    if not physical_id:
        return Part(label, "", is_there=False)
    with translated(action):
        try:
            answer = getattr(examination.client(service), operation)(**{parameter: physical_id})
        except ClientError as error:
            if error_code(error) in _GONE:
                return Part(label, physical_id, is_there=False)
            raise
    if word == "key":
        key = answer["KeyMetadata"]
        return Part(label, physical_id, state=key["KeyState"], deleted_at=_utc(key))
    is_there = answer.get("Table", {}).get("TableStatus") != "DELETING"
    return Part(label, physical_id, is_there=is_there)


def _utc(key: dict[str, Any]) -> datetime | None:
    moment: datetime | None = key.get("DeletionDate")
    return moment.astimezone(UTC) if moment else None


# --- Subscriptions --------------------------------------------------------------------------------


def _subscriptions(examination: Examination) -> Iterator[Result]:
    sns = examination.client("sns")
    arns = {
        name: examination.outputs[f"{name}TopicArn"]
        for name in _TOPICS
        if examination.outputs.get(f"{name}TopicArn")
    }
    topics = examination.resources_of("AWS::SNS::Topic")
    arns |= {
        name: topics[f"Topics{name}"]
        for name in _TOPICS
        if name not in arns and topics.get(f"Topics{name}")
    }
    found: dict[str, tuple[str, list[Subscription]]] = {}
    for name, arn in arns.items():
        with translated("sns:ListSubscriptionsByTopic"):
            pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            found[name] = (
                arn,
                [
                    Subscription(each["Protocol"], each["Endpoint"], each["SubscriptionArn"])
                    for page in pages
                    for each in page["Subscriptions"]
                ],
            )
    known = {
        name: (arn, [_with_filter(sns, each) for each in subscriptions])
        for name, (arn, subscriptions) in found.items()
    }
    deployed = deployed_rules.expected_subscriptions(_pipeline(examination), examination.setup)
    yield from judge_subscriptions(examination.setup, known, deployed)


def _with_filter(sns: Any, subscription: Subscription) -> Subscription:
    """Return a subscription with its filter policy, or why that could not be read."""
    if not subscription.is_confirmed:
        return subscription
    try:
        with translated("sns:GetSubscriptionAttributes"):
            answer = sns.get_subscription_attributes(SubscriptionArn=subscription.arn)
    except PareError as error:
        return replace(subscription, filter=None, unread=str(error))
    attributes = answer.get("Attributes", {})
    return replace(
        subscription,
        filter=json.loads(attributes.get("FilterPolicy") or "{}"),
        scope=attributes.get("FilterPolicyScope") or subscription.scope,
    )


def _pipeline(examination: Examination) -> deployed_rules.Stack:
    """Return the pipeline's stack as it was deployed."""
    return deployed_rules.Stack(
        STACK_NAME, "", examination.setup.home_region, examination.template, examination.resources
    )


# --- Schedules ------------------------------------------------------------------------------------


def _schedules(examination: Examination) -> Iterator[Result]:
    setup = examination.setup
    names = examination.resources_of("AWS::Scheduler::Schedule")
    wanted = deployed_rules.expected_schedules(_pipeline(examination), setup)
    for construct_id in setup.schedules:

        def read(construct_id: str = construct_id) -> list[Result]:
            found = read_schedule(examination, names.get(construct_id))
            known = wanted.get(construct_id)
            return [judge_schedule(setup, construct_id, known, found, now=examination.now)]

        yield from _told("running.schedules", construct_id, read)


def read_schedule(examination: Examination, name: str | None) -> dict[str, Any] | None:
    """Return a schedule as GetSchedule tells it, its times as text; None: it is not there."""
    if not name:
        return None
    with translated("scheduler:GetSchedule"):
        try:
            found = examination.client("scheduler").get_schedule(Name=name)
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
    told: dict[str, Any] = json_times(found)
    return told


# --- Dead-letter queues ---------------------------------------------------------------------------


def _queues(examination: Examination) -> Iterator[Result]:
    setup = examination.setup
    queues = [
        (name, setup.home_region, examination.outputs.get(f"{name}Url", "")) for name in _QUEUES
    ]
    queues += [("RegionDeadLetters", region, "") for region in setup.other_regions]

    def look(about: tuple[str, str, str]) -> list[Result]:
        name, region, url = about

        def read() -> list[Result]:
            real, waiting = _waiting(examination, region, url)
            return [judge_queue(name, region, real, waiting)]

        return _told("running.dead-letters", f"{name} ({region})", read)

    for results in examination.side_by_side("queues", queues, look):
        yield from results


def _waiting(examination: Examination, region: str, url: str) -> tuple[str, int | None]:
    """Return a queue's URL, and how many messages wait there; None: there is no such queue."""
    sqs = examination.client("sqs", region)
    with translated("sqs:GetQueueAttributes"):
        try:
            if not url:
                name = examination.setup.region_dead_letters_name
                url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
        except ClientError as error:
            if error_code(error) in _QUEUE_GONE:
                return url, None
            raise
    return url, sum(int(answer.get("Attributes", {}).get(name, 0)) for name in _COUNTS)


# --- Alarms ---------------------------------------------------------------------------------------


def _alarms(examination: Examination) -> Iterator[Result]:
    setup, stack = examination.setup, _pipeline(examination)
    deployed = {
        label.removeprefix("Alarms"): alarm
        for label, alarm in deployed_rules.expected_alarms(stack, setup).items()
    }
    yield from _told("running.alarms", "", lambda: list(_each_alarm(examination, deployed)))
    names = {arn: name for name, arn in examination.resources_of("AWS::SNS::Topic").items()}
    for arn in deployed_rules.topics_of_alarms(stack, setup):
        name = names.get(arn, arn).removeprefix("Topics")

        def read(name: str = name, arn: str = arn) -> list[Result]:
            found = judge_topic_policy(name, _policy_of_topic(examination, arn))
            return [found] if found else []

        yield from _told("running.alarms", f"topic {name}", read)


def _policy_of_topic(examination: Examination, arn: str) -> Any:
    """Return a topic's policy; None: there is no such topic, or none of it."""
    with translated("sns:GetTopicAttributes"):
        try:
            answer = examination.client("sns").get_topic_attributes(TopicArn=arn)
        except ClientError as error:
            if error_code(error) in {"NotFound", "NotFoundException"}:
                return None
            raise
    return json.loads(answer.get("Attributes", {}).get("Policy") or "null")


def _each_alarm(
    examination: Examination, deployed: Mapping[str, deployed_rules.ExpectedAlarm]
) -> Iterator[Result]:
    wanted = {
        label.removeprefix("Alarms"): name
        for label, name in examination.resources_of("AWS::CloudWatch::Alarm").items()
    }
    names = list(wanted.values())
    cloudwatch = examination.client("cloudwatch")
    found: dict[str, Alarm] = {}
    for at in range(0, len(names), 100):  # the most AWS takes
        with translated("cloudwatch:DescribeAlarms"):
            answer = cloudwatch.describe_alarms(AlarmNames=names[at : at + 100], MaxRecords=100)
        for each in answer["MetricAlarms"]:
            found[each["AlarmName"]] = Alarm(
                name=each["AlarmName"],
                state=each.get("StateValue", ""),
                has_actions_on=bool(each.get("ActionsEnabled", True)),
                actions=tuple(each.get("AlarmActions", [])),
                description=each.get("AlarmDescription", ""),
                reason=each.get("StateReason", ""),
                measures=each,
            )
    yield from judge_alarms(examination.setup, wanted, found, deployed)


# --- Last runs ------------------------------------------------------------------------------------


def _workflows(examination: Examination) -> Iterator[Result]:
    stack = _described(examination, STACK_NAME, examination.setup.home_region) or {}
    deployed_at = stack.get("CreationTime")
    for workflow in WORKFLOWS:
        arn = examination.outputs.get(f"{workflow.name}WorkflowArn", "")
        if not arn:
            continue  # running.stacks says that it is of an earlier Pare

        def read(workflow: Any = workflow, arn: str = arn) -> list[Result]:
            return [
                judge_workflow(
                    examination.setup,
                    workflow,
                    arn,
                    read_runs(examination, arn),
                    now=examination.now,
                    deployed_at=deployed_at,
                )
            ]

        yield from _told("running.workflows", workflow.name, read)


def read_runs(examination: Examination, machine_arn: str) -> Runs:
    """Return what is known of a workflow's executions; AWS remembers them for 90 days."""
    states = examination.client("stepfunctions")
    with translated("states:ListExecutions"):
        latest = states.list_executions(stateMachineArn=machine_arn, maxResults=1)["executions"]
        good = states.list_executions(
            stateMachineArn=machine_arn, statusFilter="SUCCEEDED", maxResults=1
        )["executions"]
    return Runs(
        succeeded_at=_ended(good[0]) if good else None,
        last_status=latest[0]["status"] if latest else "",
        last_at=_ended(latest[0]) if latest else None,
        last_arn=latest[0]["executionArn"] if latest else "",
    )


def _ended(execution: dict[str, Any]) -> datetime:
    moment: datetime = execution.get("stopDate") or execution["startDate"]
    return moment.astimezone(UTC)
