"""Which events start what, from whom they are taken, and where they go if they cannot be delivered.

The patterns are evaluated by a small matcher of the operators that Pare uses.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.synthesis import HASH, ROOT, as_list

if TYPE_CHECKING:
    from tests.infra.synthesis import Json, Synthesis, Template

EVENTS = ROOT / "tests" / "events"
FINDINGS = (
    "external_access",
    "external_access_error",
    "internal_access",
    "internal_access_error",
    "unused_permission",
    "unused_iam_role_error",
)
PREVIEWS = ("access_preview_creating", "access_preview_completed", "access_preview_failed")
HUB = "222222222222"
BUSES = ("Hub", "Default")


def matches(pattern: Json, event: Json) -> bool:
    """Return whether EventBridge would match the event."""
    return all(
        key in event
        and (
            matches(wanted, event[key])
            if isinstance(wanted, dict)
            else any(_accepts(each, event[key]) for each in wanted)
        )
        for key, wanted in pattern.items()
    )


def _accepts(wanted: Any, value: Any) -> bool:
    match wanted:
        case {"anything-but": refused}:
            return value not in as_list(refused)
        case dict():
            raise AssertionError(f"the matcher of this test does not know {wanted}")
    return bool(wanted == value)


def recorded(name: str) -> Json:
    """Return a recorded event of Access Analyzer (tests/events/README.md)."""
    event: Json = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def rules(pipeline: Template) -> dict[str, Json]:
    """Return each rule's properties by name: HubFindingRule, DefaultUnknownFindingRule, …"""
    return {
        HASH.sub("", logical_id).removeprefix("EventSources"): rule
        for logical_id, rule in pipeline.properties("AWS::Events::Rule").items()
    }


def matching(pipeline: Template, bus: str, event: Json) -> list[str]:
    """Return the rules of a bus that match an event."""
    return [
        name.removeprefix(bus)
        for name, rule in rules(pipeline).items()
        if name.startswith(bus) and matches(rule["EventPattern"], event)
    ]


# --- What matches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("name", FINDINGS)
def test_every_kind_of_finding_matches_the_finding_rule_only(
    pipeline: Template, bus: str, name: str
) -> None:
    assert matching(pipeline, bus, recorded(name)) == ["FindingRule"]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("name", FINDINGS)
def test_a_test_finding_is_taken_from_the_hub_account_only(
    pipeline: Template, bus: str, name: str
) -> None:
    event = {**recorded(name), "source": "pare.test"}
    assert matching(pipeline, bus, {**event, "account": HUB}) == ["TestFindingRule"]
    assert matching(pipeline, bus, {**event, "account": "444444444444"}) == []


@pytest.mark.parametrize("bus", BUSES)
def test_an_unknown_kind_of_finding_matches_the_other_rule_only(
    pipeline: Template, bus: str
) -> None:
    event = {**recorded("unused_permission"), "detail-type": "Next Finding"}
    assert matching(pipeline, bus, event) == ["UnknownFindingRule"]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("name", PREVIEWS)
def test_a_preview_matches_no_rule(pipeline: Template, bus: str, name: str) -> None:
    assert matching(pipeline, bus, recorded(name)) == []


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize(
    "kind", ["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"]
)
def test_a_cloudtrail_record_of_access_analyzer_matches_no_rule(
    pipeline: Template, bus: str, kind: str
) -> None:
    event = {**recorded("unused_permission"), "detail-type": kind}
    assert matching(pipeline, bus, event) == []


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("source", ["aws.guardduty", "aws.access-analyzer-test", "pare"])
def test_an_event_of_another_source_matches_no_rule(
    pipeline: Template, bus: str, source: str
) -> None:
    assert matching(pipeline, bus, {**recorded("unused_permission"), "source": source}) == []


def test_every_recorded_event_is_used_here() -> None:
    assert {file.stem for file in EVENTS.glob("*.json")} >= {*FINDINGS, *PREVIEWS}


# --- Where they come from and where they go -------------------------------------------------------


def test_the_rules_are_on_the_hub_bus_and_on_the_default_bus(pipeline: Template) -> None:
    (hub_bus,) = pipeline.resources("AWS::Events::EventBus")
    assert {name: rule["EventBusName"] for name, rule in rules(pipeline).items()} == {
        "HubFindingRule": {"Ref": hub_bus},
        "HubUnknownFindingRule": {"Ref": hub_bus},
        "HubTestFindingRule": {"Ref": hub_bus},
        "DefaultFindingRule": "default",
        "DefaultUnknownFindingRule": "default",
        "DefaultTestFindingRule": "default",
    }
    assert {rule["State"] for rule in rules(pipeline).values()} == {"ENABLED"}


def test_only_the_organization_may_put_events_on_the_hub_bus(anywhere: Synthesis) -> None:
    settings = anywhere.settings
    (bus,) = anywhere.pipeline.properties("AWS::Events::EventBus").values()
    (statement,) = bus["Policy"]["Statement"]
    assert statement["Resource"].split(":", 2)[2] == (
        f"events:{settings.home_region}:{settings.hub_account_id}:event-bus/{bus['Name']}"
    )
    assert {key: value for key, value in statement.items() if key != "Resource"} == {
        "Sid": "OrganizationPutsEvents",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "events:PutEvents",
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": settings.organization_id}},
    }


def test_every_rule_starts_the_finding_workflow_with_the_event_as_it_is(pipeline: Template) -> None:
    for name, rule in rules(pipeline).items():
        (target,) = rule["Targets"]
        assert pipeline.readable(target["Arn"]) == "FindingWorkflowFindingStateMachine", name
        assert not target.keys() & {"Input", "InputPath", "InputTransformer"}, name


@pytest.mark.parametrize("workflow", ["Inventory", "Activity"])
def test_a_schedule_starts_its_workflow_when_the_settings_say(
    synthesis: Synthesis, workflow: str
) -> None:
    pipeline, settings = synthesis.pipeline, synthesis.settings
    (schedule,) = (
        schedule
        for name, schedule in pipeline.properties("AWS::Scheduler::Schedule").items()
        if f"{workflow}Schedule" in name
    )
    target = schedule["Target"]
    assert pipeline.readable(target["Arn"]) == f"{workflow}Workflow{workflow}StateMachine"
    assert schedule["ScheduleExpression"] == getattr(settings.schedule, workflow.lower())
    # CloudTrail's days are UTC.
    zone = settings.schedule.time_zone if workflow == "Inventory" else "Etc/UTC"
    assert schedule["ScheduleExpressionTimezone"] == zone
    assert schedule["State"] == "ENABLED"
    # The period comes from when it was due, not from when it ran (facts §6).
    assert json.loads(target["Input"]) == {"scheduled_at": "<aws.scheduler.scheduled-time>"}


# --- Dead letters ---------------------------------------------------------------------------------


def dead_letter_queues(pipeline: Template) -> dict[str, str]:
    """Return the dead-letter queue of every asynchronous edge, by what delivers there."""
    queues = {
        name: target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        for name, rule in rules(pipeline).items()
        for target in rule["Targets"]
    }
    for name, schedule in pipeline.properties("AWS::Scheduler::Schedule").items():
        queues[name] = schedule["Target"]["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
    for name, subscription in pipeline.properties("AWS::SNS::Subscription").items():
        arn = subscription["RedrivePolicy"]["deadLetterTargetArn"]
        queues[name] = arn["Fn::GetAtt"][0]
    return queues


def test_every_asynchronous_edge_has_a_dead_letter_queue(pipeline: Template) -> None:
    used = set(dead_letter_queues(pipeline).values())
    assert used == pipeline.resources("AWS::SQS::Queue").keys()


def test_what_could_not_be_delivered_waits_for_the_longest_time_aws_allows(
    pipeline: Template,
) -> None:
    for queue in pipeline.properties("AWS::SQS::Queue").values():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_an_event_is_retried_for_a_day_before_it_is_a_dead_letter(pipeline: Template) -> None:
    for rule in rules(pipeline).values():
        (target,) = rule["Targets"]
        assert target["RetryPolicy"] == {
            "MaximumEventAgeInSeconds": 24 * 3600,
            "MaximumRetryAttempts": 185,
        }


def test_whoever_delivers_to_a_dead_letter_queue_may_do_so(pipeline: Template) -> None:
    may_send: dict[str, set[str]] = {}
    for policy in pipeline.properties("AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                (source,) = (
                    pipeline.readable(each)
                    for each in as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
                )
                assert statement["Action"] == "sqs:SendMessage"
                (queue,) = (each["Ref"] for each in policy["Queues"])
                may_send.setdefault(queue, set()).add(source)
    queues = dead_letter_queues(pipeline)
    for name, rule_queue in queues.items():
        if name in rules(pipeline):
            assert f"EventSources{name}.Arn" in may_send[rule_queue], name
    for name, subscription in pipeline.properties("AWS::SNS::Subscription").items():
        assert pipeline.readable(subscription["TopicArn"]) in may_send[queues[name]], name
    # The schedule delivers with its role: tests/infra/test_permissions.py.
