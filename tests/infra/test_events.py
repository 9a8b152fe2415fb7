"""Which events start what, from whom they are taken, and where they go if they cannot be delivered.

The patterns are evaluated by a small matcher of the operators that Pare uses.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
from aws_cdk import assertions

from infra.region_stack import RegionStack, region_stack_name
from infra.settings import load_settings
from pare.doctor.deployed_rules import DEFAULT_BUS, Stack, expected_rules
from pare.doctor.findings import stack_of
from pare.findings.check import DETAIL_TYPE
from pare.policy.catalogue import load_catalogue
from tests.infra.synthesis import HASH, ROOT, as_list
from tests.recorded import check_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.synthesis import Json, Synthesis, Template

EXAMPLE = ROOT / "config" / "pare.yaml"
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
WATCHED = (
    "ApplyArchiveRule",
    "CreateAnalyzer",
    "CreateArchiveRule",
    "DeleteAnalyzer",
    "DeleteArchiveRule",
    "UpdateAnalyzer",
    "UpdateArchiveRule",
)


# What stands for a field that is not there.
ABSENT = object()


def matches(pattern: Json, event: Any) -> bool:
    """Return whether EventBridge would match the event.

    What is within a field that is not there is not there either.
    """
    return all(
        matches(wanted, found)
        if isinstance(wanted, dict)
        else any(_accepts(each, found) for each in wanted)
        for key, wanted in pattern.items()
        for found in [event.get(key, ABSENT) if isinstance(event, dict) else ABSENT]
    )


def _accepts(wanted: Any, value: Any) -> bool:
    match wanted:
        case {"exists": is_there}:
            return (value is not ABSENT) is is_there
        case {"anything-but": refused}:
            return value is not ABSENT and value not in as_list(refused)
        case dict() if not wanted.keys() & {"Ref", "Fn::GetAtt"}:
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
def test_the_doctors_test_event_goes_the_way_of_test_findings(
    pipeline: Template, region: Template, bus: str
) -> None:
    event = check_event()
    assert (event["account"], event["detail-type"]) == (HUB, DETAIL_TYPE)
    assert matching(pipeline, bus, event) == ["TestFindingRule"]
    assert forwarding(region, event) == ["TestEventRule"]
    elsewhere = {**event, "account": "444444444444"}
    assert matching(pipeline, bus, elsewhere) == forwarding(region, elsewhere) == []


@pytest.mark.parametrize("bus", BUSES)
def test_an_unknown_kind_of_finding_matches_the_other_rule_only(
    pipeline: Template, bus: str
) -> None:
    event = {**recorded("unused_permission"), "detail-type": "Next Finding"}
    assert matching(pipeline, bus, event) == ["UnknownFindingRule"]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("name", PREVIEWS)
def test_a_preview_matches_the_preview_rule_only(pipeline: Template, bus: str, name: str) -> None:
    assert matching(pipeline, bus, recorded(name)) == ["PreviewRule"]


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize(
    ("call", "rules"),
    [
        ("UpdateFindings", ["ArchivingCallRule"]),
        *((name, ["WatchedCallRule"]) for name in WATCHED),
        ("StartResourceScan", []),
        ("ListFindings", []),
    ],
)
def test_a_call_that_changes_what_is_seen_matches_its_rule_only(
    pipeline: Template, bus: str, call: str, rules: list[str]
) -> None:
    assert matching(pipeline, bus, call_event(call)) == rules
    # A user has no session issuer.
    assert matching(pipeline, bus, call_event(call, issuer=None)) == rules


def test_every_call_that_is_watched_is_one_of_awss_and_changes_something() -> None:
    catalogue = load_catalogue()
    for call in ("UpdateFindings", *WATCHED):
        assert catalogue.access_level(f"access-analyzer:{call}") == "Write", call


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("call", ["UpdateFindings", *WATCHED])
def test_what_failed_or_was_done_elsewhere_or_by_pare_itself_matches_no_rule(
    pipeline: Template, bus: str, call: str
) -> None:
    event = call_event(call)
    failed = {**event, "detail": {**event["detail"], "errorCode": "AccessDenied"}}
    assert matching(pipeline, bus, failed) == []
    assert matching(pipeline, bus, {**event, "account": "444444444444"}) == []
    for step in ("ArchiveFinding", "ApplyArchiveRules", "ReviewWatch"):
        (role,) = (
            each for each in pipeline.resources("AWS::IAM::Role")
            if HASH.sub("", each) == f"{step}Role"
        )  # fmt: skip
        own = call_event(call, issuer={"Fn::GetAtt": [role, "Arn"]})
        assert matching(pipeline, bus, own) == [], step


@pytest.mark.parametrize("bus", BUSES)
def test_what_aws_does_by_itself_matches_no_rule(pipeline: Template, bus: str) -> None:
    event = {**call_event("DeleteAnalyzer"), "detail-type": "AWS Service Event via CloudTrail"}
    assert matching(pipeline, bus, event) == []


def test_a_deployment_that_went_well_matches_its_rule(pipeline: Template) -> None:
    stack = {"Ref": "AWS::StackId"}
    found = {status: matching(pipeline, "", deployed(stack, status)) for status in
             ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "ROLLBACK_COMPLETE",
              "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")}  # fmt: skip
    assert [status for status, rules in found.items() if rules == ["DeployedRule"]] == [
        "CREATE_COMPLETE", "UPDATE_COMPLETE",
    ]  # fmt: skip
    assert matching(pipeline, "", deployed("another stack", "UPDATE_COMPLETE")) == []


@pytest.mark.parametrize("bus", BUSES)
@pytest.mark.parametrize("source", ["aws.guardduty", "aws.access-analyzer-test", "pare"])
def test_an_event_of_another_source_matches_no_rule(
    pipeline: Template, bus: str, source: str
) -> None:
    assert matching(pipeline, bus, {**recorded("unused_permission"), "source": source}) == []


def call_event(name: str, issuer: Any = "arn:aws:iam::222222222222:role/security") -> Json:
    """Return CloudTrail's event of a call in the hub account; ``issuer``: the caller's role.

    https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """
    session = {"sessionContext": {"sessionIssuer": {"type": "Role", "arn": issuer}}}
    return {
        "version": "0",
        "id": "6f87d04b-9f3a-4d9f-8a30-000000000001",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.access-analyzer",
        "account": HUB,
        "time": "2026-11-22T09:00:00Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {"type": "AssumedRole", **session} if issuer else {"type": "IAMUser"},
            "eventSource": "access-analyzer.amazonaws.com",
            "eventName": name,
        },
    }


def deployed(stack: Any, status: str) -> Json:
    """Return CloudFormation's event of a stack."""
    return {
        "source": "aws.cloudformation",
        "detail-type": "CloudFormation Stack Status Change",
        "account": HUB,
        "detail": {"stack-id": stack, "status-details": {"status": status, "status-reason": ""}},
    }


# --- Of another Region ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", FINDINGS + PREVIEWS)
def test_another_region_forwards_what_access_analyzer_says(region: Template, name: str) -> None:
    assert forwarding(region, recorded(name)) == ["AnalyzerEventRule"]
    test = {**recorded(name), "source": "pare.test"}
    assert forwarding(region, {**test, "account": HUB}) == ["TestEventRule"]
    assert forwarding(region, {**test, "account": "444444444444"}) == []


def test_another_region_forwards_kinds_of_findings_that_come_later(region: Template) -> None:
    event = {**recorded("unused_permission"), "detail-type": "Next Finding"}
    assert forwarding(region, event) == ["AnalyzerEventRule"]


def test_another_region_forwards_the_calls_that_a_rule_of_the_hub_wants_and_no_other(
    pipeline: Template, region: Template
) -> None:
    for call in ("UpdateFindings", *WATCHED, "StartResourceScan", "ListFindings"):
        event = call_event(call)
        wanted = ["AnalyzerCallRule"] if matching(pipeline, "Hub", event) else []
        assert forwarding(region, event) == wanted, call
        failed = {**event, "detail": {**event["detail"], "errorCode": "AccessDenied"}}
        assert forwarding(region, failed) == [], call
        service = {**event, "detail-type": "AWS Service Event via CloudTrail"}
        assert forwarding(region, service) == [], call


def test_every_rule_of_another_region_has_the_hub_bus_as_its_only_target(
    anywhere: Synthesis,
) -> None:
    settings, region = anywhere.settings, anywhere.region
    (queue,) = region.resources("AWS::SQS::Queue")
    (role,) = region.resources("AWS::IAM::Role")
    found = region.properties("AWS::Events::Rule")
    assert len(found) == 3
    for name, rule in found.items():
        assert rule.get("EventBusName", "default") == "default", name  # where AWS's events are
        assert rule["State"] == "ENABLED", name
        (target,) = rule["Targets"]
        assert target["Arn"].split(":", 2)[2] == (
            f"events:{settings.home_region}:{settings.hub_account_id}:event-bus/"
            f"{settings.names.bus_name}"
        ), name
        # The event as it is: its Region and account say where it comes from.
        assert target.keys() == {"Arn", "DeadLetterConfig", "Id", "RoleArn"}, name
        assert target["RoleArn"] == {"Fn::GetAtt": [role, "Arn"]}, name
        assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": [queue, "Arn"]}}, name


def test_the_role_that_forwards_trusts_its_rules_in_the_region_with_the_longest_name() -> None:
    region = "us-gov-northwest-1"  # longer than any there is
    settings = load_settings(EXAMPLE)
    app = cdk.App()
    stack = RegionStack(
        app,
        region_stack_name(region),
        env=cdk.Environment(account=settings.hub_account_id, region=region),
        synthesizer=cdk.LegacyStackSynthesizer(),
        settings=settings,
    )
    made = assertions.Template.from_stack(stack).to_json()["Resources"].values()
    rules = [each["Properties"]["Name"] for each in made if each["Type"] == "AWS::Events::Rule"]
    (role,) = [each["Properties"] for each in made if each["Type"] == "AWS::IAM::Role"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    trusted = statement["Condition"]["ArnEquals"]["aws:SourceArn"]

    # A name of CloudFormation's making would have been cut; these are ours.
    assert max(map(len, rules)) <= 64
    assert sorted(each["Fn::Join"][1][-1].rpartition(":rule/")[2] for each in trusted) == sorted(
        rules
    )


def test_the_rules_of_another_region_may_fill_their_dead_letter_queue(region: Template) -> None:
    (policy,) = region.properties("AWS::SQS::QueuePolicy").values()
    may_send = {
        region.readable(each["Condition"]["ArnEquals"]["aws:SourceArn"])
        for each in policy["PolicyDocument"]["Statement"]
        if each["Effect"] == "Allow" and each["Action"] == "sqs:SendMessage"
    }
    assert may_send == {
        region.readable({"Fn::GetAtt": [rule, "Arn"]})
        for rule in region.resources("AWS::Events::Rule")
    }


def test_the_dead_letters_of_another_region_are_on_the_dashboard(
    synthesis: Synthesis, region: Template
) -> None:
    (queue,) = region.properties("AWS::SQS::Queue").values()
    assert queue["QueueName"] == synthesis.settings.names.region_dead_letters_name
    (dashboard,) = synthesis.pipeline.properties("AWS::CloudWatch::Dashboard").values()
    body = synthesis.pipeline.readable(dashboard["DashboardBody"])
    (other,) = synthesis.settings.other_regions
    assert f'"QueueName","{queue["QueueName"]}",{{"label":"{other}","region":"{other}"}}' in body


def forwarding(region: Template, event: Json) -> list[str]:
    """Return the rules of another Region that match an event."""
    return [
        HASH.sub("", logical_id)
        for logical_id, rule in region.properties("AWS::Events::Rule").items()
        if matches(rule["EventPattern"], event)
    ]


# --- Analyzers ------------------------------------------------------------------------------------


def test_pare_creates_no_analyzer_unless_the_settings_say_so(synthesis: Synthesis) -> None:
    for template in synthesis.templates.values():
        assert template.resources("AWS::AccessAnalyzer::Analyzer") == {}


def test_each_region_gets_one_external_access_analyzer_and_the_home_region_the_paid_one(
    synthesis_in: Callable[[str], Synthesis],
) -> None:
    everything = synthesis_in("aws-us-gov")  # where all optional settings are set
    settings = everything.settings
    (external,) = everything.region.properties("AWS::AccessAnalyzer::Analyzer").values()
    assert external == {"Type": "ORGANIZATION"}
    at_home = list(everything.pipeline.properties("AWS::AccessAnalyzer::Analyzer").values())
    assert sorted(each["Type"] for each in at_home) == [
        "ORGANIZATION", "ORGANIZATION_UNUSED_ACCESS",
    ]  # fmt: skip
    paid = next(each for each in at_home if each["Type"] == "ORGANIZATION_UNUSED_ACCESS")
    assert paid["AnalyzerConfiguration"] == {
        "UnusedAccessConfiguration": {
            "UnusedAccessAge": settings.inventory.idle_days,
            # What the inventory leaves out is not paid for.
            "AnalysisRule": {"Exclusions": [{"AccountIds": list(settings.account_exclusions)}]},
        }
    }


def test_every_recorded_event_is_used_here() -> None:
    assert {file.stem for file in EVENTS.glob("*.json")} >= {*FINDINGS, *PREVIEWS}


# --- Where they come from and where they go -------------------------------------------------------


RULES = ("Finding", "UnknownFinding", "Preview", "ArchivingCall", "WatchedCall", "TestFinding")


def test_the_rules_are_on_the_hub_bus_and_on_the_default_bus(pipeline: Template) -> None:
    (hub_bus,) = pipeline.resources("AWS::Events::EventBus")
    bus = {name: rule.get("EventBusName") for name, rule in rules(pipeline).items()}
    assert bus == {
        **{f"Hub{name}Rule": {"Ref": hub_bus} for name in RULES},
        **{f"Default{name}Rule": "default" for name in RULES},
        "DeployedRule": None,  # the default one
    }
    assert {rule["State"] for rule in rules(pipeline).values()} == {"ENABLED"}


def test_the_doctor_can_work_out_every_rule_from_the_deployed_template(
    anywhere: Synthesis,
) -> None:
    setup = anywhere.settings.setup()
    (other,) = setup.other_regions
    assert stack_of(setup, other) == region_stack_name(other)
    for region, template in ((setup.home_region, anywhere.pipeline), (other, anywhere.region)):
        # As CloudFormation names them; a rule of a bus of its own "bus|rule".
        resources = {
            logical_id: (
                each["Type"],
                f"{setup.bus_name}|{logical_id}"
                if isinstance(each.get("Properties", {}).get("EventBusName"), dict)
                else f"arn:aws:states:{region}:1:stateMachine:{logical_id}"
                if each["Type"] == "AWS::StepFunctions::StateMachine"
                else setup.bus_name
                if each["Type"] == "AWS::Events::EventBus"
                else logical_id,
            )
            for logical_id, each in template.resources().items()
        }
        stack = Stack(stack_of(setup, region), "stack", region, template.body, resources)
        found = expected_rules(stack, setup)
        assert len(found) == len(template.resources("AWS::Events::Rule")) > 2
        for rule in found:
            assert rule.pattern, rule.name
            assert rule.targets, rule.name
            assert all(each["Arn"] for each in rule.targets), rule.name
            # Whom the role trusts, and what it may do.
            assert len(rule.role_commands) == 2, rule.name
        tested = [rule.bus for rule in found if rule.takes(setup.test_event_source)]
        buses = [DEFAULT_BUS, setup.bus_name] if region == setup.home_region else [DEFAULT_BUS]
        assert tested == buses


def test_no_other_account_may_put_events_on_the_hub_bus(anywhere: Synthesis) -> None:
    for template in (anywhere.pipeline, anywhere.region):
        assert not template.resources("AWS::Events::EventBusPolicy")
    (bus,) = anywhere.pipeline.properties("AWS::Events::EventBus").values()
    assert "Policy" not in bus
    # The one sender from another Region has the right by its own role.
    forward = anywhere.region.resources("AWS::IAM::Policy") | anywhere.region.resources(
        "AWS::IAM::Role"
    )
    home = f"{anywhere.settings.home_region}:{anywhere.settings.hub_account_id}"
    assert f"events:{home}:event-bus/{bus['Name']}" in json.dumps(forward)


def test_every_rule_starts_its_workflow_with_the_event_as_it_is(pipeline: Template) -> None:
    for name, rule in rules(pipeline).items():
        (target,) = rule["Targets"]
        looks = name == "DeployedRule" or name.endswith("WatchedCallRule")
        workflow = "Reconcile" if looks else "Finding"
        assert pipeline.readable(target["Arn"]) == f"{workflow}Workflow{workflow}StateMachine"
        assert not target.keys() & {"Input", "InputPath", "InputTransformer"}, name


@pytest.mark.parametrize("workflow", ["Inventory", "Activity", "Notification", "Reconcile"])
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
    hourly = "rate(1 hour)"
    assert schedule["ScheduleExpression"] == getattr(settings.schedule, workflow.lower(), hourly)
    # CloudTrail's days are UTC.
    in_utc = workflow in {"Activity", "Reconcile"}
    zone = "Etc/UTC" if in_utc else settings.schedule.time_zone
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
