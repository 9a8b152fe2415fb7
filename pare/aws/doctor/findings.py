"""Reads the analyzers and rules of every governed Region, and sends a test event through each.

The test event is the only thing that the doctor writes: it is put on the default bus, as a person
would put a test finding, and its arrival is noted in the table of runs for a day. Found among the
dead letters, it is taken back.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import yaml
from botocore.config import Config

from pare.arns import region_of
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.calls import CLIENT_CONFIG, translated
from pare.aws.doctor.context import stack_resources
from pare.aws.tables import from_item, to_item
from pare.doctor.deployed_rules import FoundRule, Stack, expected_rules, faults_of
from pare.doctor.findings import (
    SENDING,
    Arrival,
    RegionRules,
    Trace,
    judge_analyzer,
    judge_forwarding,
    judge_rules,
    judge_unused,
    not_told,
    on_the_way,
    stack_of,
)
from pare.doctor.model import Mend, cannot_tell
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    ConditionFailedError,
    NotDeployedError,
    PareError,
    ThrottledError,
)
from pare.findings.check import DETAIL_TYPE, KIND
from pare.message import several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pare.aws.doctor.context import Examination
    from pare.doctor.deployed_rules import ExpectedRule
    from pare.doctor.model import Result
    from pare.findings.watch import AnalyzerJson

# A Region that never answers costs half a minute, beside the others, and not the doctor's patience.
REGION_CONFIG: Final = CLIENT_CONFIG.merge(
    Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=5,
        read_timeout=10,
        max_pool_connections=50,
    )
)
WAIT_SECONDS = 90.0
# For what will not arrive, by what its rules look like: it is tried all the same.
DOUBTED_SECONDS = 15.0
POLL_SECONDS = 2.0
_KEYS_AT_ONCE = 100
_EXECUTIONS = 50
_EVENTS = 20
_LETTERS, _LOOKS = 10, 3
_NO_STACK = {"ValidationError": NotDeployedError}
_GONE = {"ResourceNotFoundException": ConditionFailedError}
# A stack of which there is nothing but a change set that nobody executed.
_NOT_YET = "REVIEW_IN_PROGRESS"


class _Loader(yaml.SafeLoader):
    """Reads what CloudFormation reads: of policies the version is a text that looks like a date."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (as PyYAML has it)
        first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen in a Region; ``error``: why its analyzers could not be listed."""

    region: str
    analyzers: tuple[AnalyzerJson, ...]
    error: str
    rules: RegionRules


def examine(examination: Examination) -> Iterator[Result]:
    """Yield what is there of analyzers and rules in each Region, and whether a test arrives."""
    setup = examination.setup
    regions = list(setup.governed_regions)
    # The settings may name an analyzer of a Region that is not governed.
    named = region_of(setup.unused_access_arn) if setup.unused_access_arn else ""
    more = [named] if named and named not in regions else []
    found = examination.side_by_side(
        "analyzers and rules of Regions",
        [*regions, *more],
        lambda region: _look(examination, region, is_governed=region in regions),
    )
    seen = {each.region: each for each in found}
    rules = {region: seen[region].rules for region in regions}
    for region in regions:
        if seen[region].error:
            yield not_told(setup, "findings.analyzer", region, seen[region].error)
        else:
            analyzers, stack = seen[region].analyzers, rules[region].stack
            yield judge_analyzer(setup, region, analyzers, stack)
    yield from judge_unused(
        setup,
        [analyzer for each in found for analyzer in each.analyzers],
        {each.region: each.error for each in found if each.error},
        rules[setup.home_region].stack,
    )
    for region in regions:
        yield judge_rules(setup, rules[region])
    if not examination.is_deployed:
        yield cannot_tell(
            "findings.forwarding",
            "",
            "Nothing is deployed yet that could take a test event.",
            Mend("hub", ("npx cdk deploy --all",)),
        )
        return
    for arrival in _arrivals(examination, regions, rules):
        yield judge_forwarding(setup, arrival, rules)


# --- Analyzers, stacks, rules ---------------------------------------------------------------------


def _look(examination: Examination, region: str, *, is_governed: bool) -> _Seen:
    analyzers: list[AnalyzerJson] = []
    error = ""
    try:
        client = examination.client("accessanalyzer", region, REGION_CONFIG)
        analyzers = AccessAnalyzer(client).list_analyzers()
    except PareError as problem:
        error = str(problem)
    rules = _rules(examination, region) if is_governed else RegionRules(region)
    return _Seen(region, tuple(analyzers), error, rules)


def _rules(examination: Examination, region: str) -> RegionRules:
    try:
        stack = _stack(examination, region)
        if stack is None:
            return RegionRules(region)
        rules = expected_rules(stack, examination.setup)
        there, buses = _rules_there(examination, region, rules)
    except PareError as error:
        return RegionRules(region, error=str(error))
    faults = [
        fault
        for rule in rules
        for fault in faults_of(rule, there.get((rule.bus, rule.name)), has_bus=rule.bus in buses)
    ]
    return RegionRules(region, stack, tuple(rules), tuple(faults))


def _stack(examination: Examination, region: str) -> Stack | None:
    """Return the hub's stack of a Region as it is deployed, or None where it is not."""
    name = stack_of(examination.setup, region)
    cloudformation = examination.client("cloudformation", region, REGION_CONFIG)
    try:
        with translated("cloudformation:DescribeStacks", codes=_NO_STACK):
            (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except NotDeployedError:
        return None
    if described["StackStatus"] == _NOT_YET:
        return None
    with translated("cloudformation:GetTemplate"):
        body = cloudformation.get_template(StackName=name, TemplateStage="Original")["TemplateBody"]
    with translated("cloudformation:ListStackResources"):
        resources = stack_resources(cloudformation, name)
    return Stack(name, described["StackId"], region, _template(body, name), resources)


def _template(body: Any, name: str) -> dict[str, Any]:
    """Return a template, which boto3 has parsed where it is JSON.

    The CDK CLI sends a template as YAML where it goes without a bucket: those of other Regions.
    """
    if isinstance(body, str):
        try:
            body = yaml.load(body, Loader=_Loader)
        except yaml.YAMLError as error:
            raise AwsCallError(f"cloudformation:GetTemplate: {name}: {error}") from error
    if not isinstance(body, dict):
        raise AwsCallError(f"cloudformation:GetTemplate: {name} has a template that is none")
    return body


def _rules_there(
    examination: Examination, region: str, rules: Sequence[ExpectedRule]
) -> tuple[dict[tuple[str, str], FoundRule], set[str]]:
    """Return the rules that EventBridge has of those expected, by bus and name, and their buses."""
    events = examination.client("events", region, REGION_CONFIG)
    found: dict[tuple[str, str], FoundRule] = {}
    buses = set()
    for bus in sorted({each.bus for each in rules}):
        names = {each.name for each in rules if each.bus == bus}
        try:
            with translated("events:ListRules", codes=_GONE):
                there = [
                    each
                    for page in events.get_paginator("list_rules").paginate(EventBusName=bus)
                    for each in page["Rules"]
                    if each["Name"] in names
                ]
        except ConditionFailedError:
            continue  # the bus is gone, and its rules with it
        buses.add(bus)
        for each in there:
            with translated("events:ListTargetsByRule"):
                pages = events.get_paginator("list_targets_by_rule").paginate(
                    Rule=each["Name"], EventBusName=bus
                )
                targets = tuple(target for page in pages for target in page["Targets"])
            found[bus, each["Name"]] = FoundRule(
                each.get("State", ""), json.loads(each.get("EventPattern") or "null"), targets
            )
    return found, buses


# --- Test events ----------------------------------------------------------------------------------


def _arrivals(
    examination: Examination, regions: Sequence[str], rules: Mapping[str, RegionRules]
) -> list[Arrival]:
    """Send a test event in every Region, and return which arrived, by Region."""
    sent = examination.side_by_side(
        "test events sent", regions, lambda region: _send(examination, region)
    )
    arrived = _wait(examination, [each for each in sent if not each.error], rules)
    result = [arrived.get(each.check_id, each) for each in sent]
    lost = [each for each in result if not each.error and each.seconds is None]
    if not lost:
        return result
    executions, unread = _executions(examination, [each.check_id for each in lost])
    traced = examination.side_by_side(
        "traces of test events",
        lost,
        lambda each: replace(
            each, trace=_trace(examination, each, executions.get(each.check_id), unread)
        ),
    )
    traces = {each.check_id: each for each in traced}
    return [traces.get(each.check_id, each) for each in result]


def _send(examination: Examination, region: str) -> Arrival:
    check_id = str(uuid.uuid4())
    entry = {
        "Source": examination.setup.test_event_source,
        "DetailType": DETAIL_TYPE,
        "Detail": json.dumps({"check_id": check_id, "region": region}),
    }
    try:
        with translated(SENDING):
            answer = examination.client("events", region, REGION_CONFIG).put_events(Entries=[entry])
    except PareError as error:
        return Arrival(region, check_id, error=str(error))
    if answer["FailedEntryCount"]:
        (refused,) = answer["Entries"]
        words = f"{refused.get('ErrorCode', '')}: {refused.get('ErrorMessage', '')}"
        return Arrival(region, check_id, error=f"{SENDING}: {words}")
    return Arrival(region, check_id)


def _wait(
    examination: Examination, sent: Sequence[Arrival], rules: Mapping[str, RegionRules]
) -> dict[str, Arrival]:
    """Return what became of each test event, by id, when all arrived or the time is over."""
    setup = examination.setup
    waiting = {each.check_id: each for each in sent}
    doubted = {
        each.check_id
        for each in sent
        if rules[each.region].stack is None or on_the_way(setup, each.region, rules)
    }
    result: dict[str, Arrival] = {}
    started = time.monotonic()
    while waiting:
        error = ""
        try:
            there = _noted(examination, list(waiting))
        except (AwsServiceError, ThrottledError) as passing:
            there, error = set(), str(passing)
        except PareError as lasting:
            return result | {name: replace(each, error=str(lasting))
                             for name, each in waiting.items()}  # fmt: skip
        waited = time.monotonic() - started
        for check_id in there:
            result[check_id] = replace(waiting.pop(check_id), seconds=waited)
        patience = WAIT_SECONDS if waiting.keys() - doubted else DOUBTED_SECONDS
        if waited >= patience:
            for check_id, each in waiting.items():
                result[check_id] = replace(each, waited=waited, error=error)
            break
        if waiting:
            examination.say(
                f"test events: {len(result)} of {several(len(sent), 'Region')} arrived, "
                f"{waited:.0f} of {patience:.0f} s"
            )
            time.sleep(POLL_SECONDS)
    return result


def _noted(examination: Examination, check_ids: Sequence[str]) -> set[str]:
    """Return which of the test events the finding workflow has noted."""
    dynamodb, table = examination.client("dynamodb"), examination.outputs.get("RunsTableName", "")
    noted: set[str] = set()
    for start in range(0, len(check_ids), _KEYS_AT_ONCE):
        keys = [
            to_item({"workflow": KIND, "run_id": each})
            for each in check_ids[start : start + _KEYS_AT_ONCE]
        ]
        with translated("dynamodb:BatchGetItem"):
            # What is left unread is asked for again in two seconds.
            answer = dynamodb.batch_get_item(
                RequestItems={table: {"Keys": keys, "ConsistentRead": True}}
            )
        noted |= {from_item(each)["run_id"] for each in answer["Responses"].get(table, [])}
    return noted


# --- Where a test event stayed --------------------------------------------------------------------


def _executions(examination: Examination, check_ids: Sequence[str]) -> tuple[dict[str, Trace], str]:
    """Return which newest executions of the finding workflow have a test event, and their state.

    By check id. And why they could not be read, if they could not.
    """
    states = examination.client("stepfunctions")
    machine = examination.outputs.get("FindingWorkflowArn", "")
    found: dict[str, Trace] = {}
    try:
        with translated("states:ListExecutions"):
            newest = states.list_executions(stateMachineArn=machine, maxResults=_EXECUTIONS)
        for each in newest["executions"]:
            with translated("states:DescribeExecution"):
                one = states.describe_execution(executionArn=each["executionArn"])
            for check_id in check_ids:
                if check_id in one.get("input", ""):
                    found[check_id] = _state_of(states, one)
    except PareError as error:
        return found, str(error)
    return found, ""


def _state_of(states: Any, execution: Mapping[str, Any]) -> Trace:
    """Return what became of an execution; of one that still tries, what it last failed with."""
    arn, status = execution["executionArn"], execution["status"]
    if status == "SUCCEEDED":
        return Trace(
            execution=arn, execution_says="it ended well, but did not note it in the table of runs"
        )
    failed, function = _last_failure(states, arn)
    if status == "RUNNING":
        begun = "it tries again and again" if failed else "it is at work"
    else:
        failed = [str(execution[each]) for each in ("error", "cause") if execution.get(each)]
        begun = f"it ended as {status}"
    return Trace(
        execution=arn,
        execution_says=f"{begun}: {': '.join(failed)}" if failed else begun,
        is_at_work=status == "RUNNING" and not failed,
        throttled=function if any("TooManyRequests" in each for each in failed) else "",
    )


def _last_failure(states: Any, execution_arn: str) -> tuple[list[str], str]:
    """Return the error and cause of the newest step that failed, and the function it called."""
    try:
        with translated("states:GetExecutionHistory"):
            events = states.get_execution_history(
                executionArn=execution_arn, reverseOrder=True, maxResults=_EVENTS
            )["events"]
    except PareError:
        return [], ""
    failed: list[str] = []
    for event in events:
        details = event.get("taskFailedEventDetails") or event.get(
            "lambdaFunctionFailedEventDetails"
        )
        if details and not failed:
            failed = [str(details[each]) for each in ("error", "cause") if details.get(each)]
        scheduled = event.get("taskScheduledEventDetails")
        if scheduled and failed:
            try:
                return failed, str(json.loads(scheduled["parameters"]).get("FunctionName", ""))
            except (ValueError, KeyError, AttributeError):
                return failed, ""
    return failed, ""


def _trace(
    examination: Examination, arrival: Arrival, execution: Trace | None, unread: str
) -> Trace:
    """Return what can be seen of a test event that did not arrive."""
    setup, region = examination.setup, arrival.region
    trace = Trace(unread=unread)
    if execution is not None:
        return replace(execution, unread=unread)
    for where in dict.fromkeys((region, setup.home_region)):
        try:
            letters, count = _dead_letters(examination, where)
        except PareError as error:
            trace = replace(trace, unread=str(error))
            continue
        for letter in letters:
            reason = _reason_of(letter)
            if arrival.check_id in letter.get("Body", ""):
                _take_back(examination, where, letter)
                rule = _attribute(letter, "RULE_ARN")
                return replace(trace, dead_letter=reason, rule=rule)
            if where == region:
                trace = replace(trace, others=count, other_reason=reason)
    return trace


def _dead_letters(examination: Examination, region: str) -> tuple[list[dict[str, Any]], int]:
    """Return some of what EventBridge could not deliver in a Region, and how many there are.

    They stay visible: nobody else's look at the queue is disturbed.
    """
    sqs = examination.client("sqs", region, REGION_CONFIG)
    url = _queue_url(examination, region)
    letters: dict[str, dict[str, Any]] = {}
    with translated("sqs:ReceiveMessage"):
        for _ in range(_LOOKS):
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=_LETTERS,
                VisibilityTimeout=0,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
            )
            letters |= {each["MessageId"]: each for each in answer.get("Messages", [])}
            if not answer.get("Messages"):
                break
    with translated("sqs:GetQueueAttributes"):
        attributes = sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
    count = int(attributes.get("ApproximateNumberOfMessages", 0))
    return list(letters.values()), max(count, len(letters))


def _take_back(examination: Examination, region: str, letter: Mapping[str, Any]) -> None:
    """Delete the doctor's own test event: nobody is to wonder what it does among dead letters."""
    sqs = examination.client("sqs", region, REGION_CONFIG)
    try:
        with translated("sqs:DeleteMessage"):
            sqs.delete_message(
                QueueUrl=_queue_url(examination, region), ReceiptHandle=letter["ReceiptHandle"]
            )
    except PareError:
        return  # it stays, and is told as any other that waits there


def _queue_url(examination: Examination, region: str) -> str:
    setup = examination.setup
    if region == setup.home_region:
        return examination.outputs.get("FindingDeadLettersUrl", "")
    with translated("sqs:GetQueueUrl"):
        found = examination.client("sqs", region, REGION_CONFIG).get_queue_url(
            QueueName=setup.region_dead_letters_name
        )
    return str(found["QueueUrl"])


def _reason_of(letter: Mapping[str, Any]) -> str:
    """Return why EventBridge could not deliver an event.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    """
    said = [_attribute(letter, each) for each in ("ERROR_CODE", "ERROR_MESSAGE")]
    return ": ".join(each for each in said if each)


def _attribute(letter: Mapping[str, Any], name: str) -> str:
    return str(letter.get("MessageAttributes", {}).get(name, {}).get("StringValue", ""))
