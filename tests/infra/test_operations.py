"""What tells a person at 3 a.m.: alarms, the dashboard, the logs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.infra.synthesis import ROOT, as_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.infra.synthesis import Json, Synthesis, Template

ENDINGS = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")


def alarms(pipeline: Template) -> set[tuple[str, str]]:
    """Return (metric, what it is about) of every alarm."""
    return {
        (alarm["MetricName"], pipeline.readable(dimension["Value"]))
        for alarm in pipeline.properties("AWS::CloudWatch::Alarm").values()
        for dimension in alarm["Dimensions"]
    }


def test_every_end_but_success_of_every_workflow_has_an_alarm(pipeline: Template) -> None:
    machines = {
        pipeline.readable({"Ref": machine})
        for machine in pipeline.resources("AWS::StepFunctions::StateMachine")
    }
    assert len(machines) == 7
    wanted = {(ending, machine) for ending in ENDINGS for machine in machines}
    assert wanted <= alarms(pipeline)


def test_every_dead_letter_queue_has_an_alarm(pipeline: Template) -> None:
    wanted = {
        (
            "ApproximateNumberOfMessagesVisible",
            pipeline.readable({"Fn::GetAtt": [queue, "QueueName"]}),
        )
        for queue in pipeline.resources("AWS::SQS::Queue")
    }
    assert wanted
    assert wanted <= alarms(pipeline)


def test_every_alarm_rings_at_the_first_occurrence_and_tells_people(anywhere: Synthesis) -> None:
    pipeline = anywhere.pipeline
    told = ["TopicsPeople", *(["TopicsAlarms"] if anywhere.settings.notifications.routes else [])]
    for name, alarm in pipeline.properties("AWS::CloudWatch::Alarm").items():
        assert [pipeline.readable(each) for each in alarm["AlarmActions"]] == told, name
        assert alarm.get("ActionsEnabled", True) is True, name
        assert alarm["Threshold"] == 1, name
        assert alarm["EvaluationPeriods"] == 1, name
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold", name
        # Nothing happens most of the time; that is no news.
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert alarm["AlarmDescription"].startswith("Pare: "), name


def test_every_alarm_names_a_page_and_a_section_that_exist(pipeline: Template) -> None:
    for name, alarm in pipeline.properties("AWS::CloudWatch::Alarm").items():
        found = re.search(r" See (\S+\.md), '(.+)'\.$", alarm["AlarmDescription"])
        assert found, name
        page = (ROOT / found[1]).read_text(encoding="utf-8")
        assert f"\n## {found[2]}\n" in page, name


def test_cloudwatch_may_publish_to_every_topic_that_alarms_tell(anywhere: Synthesis) -> None:
    # A topic policy of one's own takes the place of the default one, which let alarms publish.
    # https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
    settings, pipeline = anywhere.settings, anywhere.pipeline
    told = {
        action["Ref"]
        for alarm in pipeline.properties("AWS::CloudWatch::Alarm").values()
        for action in alarm["AlarmActions"]
    }
    assert told
    allowing = {
        policy["Topics"][0]["Ref"]: statement
        for policy in pipeline.properties("AWS::SNS::TopicPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    }
    assert allowing.keys() == told
    for topic, statement in allowing.items():
        assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert statement["Action"] == "sns:Publish"
        assert statement["Resource"] == {"Ref": topic}
        (source,) = as_list(statement["Condition"]["ArnLike"]["aws:SourceArn"])
        assert pipeline.readable(source).split(":", 2)[2] == (
            f"cloudwatch:{settings.home_region}:{settings.hub_account_id}:alarm:*"
        )


# --- Who is subscribed ----------------------------------------------------------------------------

Attributes = dict[str, list[str]]
# What each kind of message has, beside more (pare.findings.message, pare.inventory.message, …).
ALARM: Attributes = {}  # CloudWatch sets none
INVENTORY: Attributes = {"kind": ["inventory"], "owner": ["payments"]}
FINDING: Attributes = {
    "kind": ["finding"],
    "owner": ["payments"],
    "audience": ["security", "owner"],
}
FINDING_OF_OTHERS: Attributes = {**FINDING, "owner": ["search"]}
SUMMARY: Attributes = {"kind": ["finding-summary"], "audience": ["security"]}
OWNER_DIGEST: Attributes = {
    "kind": ["finding-digest"], "owner": ["payments"], "audience": ["owner"],
}  # fmt: skip
EVERYTHING = (ALARM, INVENTORY, FINDING, FINDING_OF_OTHERS, SUMMARY, OWNER_DIGEST)


def gets(policy: Json | None, attributes: Attributes) -> bool:
    """Return whether SNS would deliver: by a filter on message attributes.

    https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
    """
    return policy is None or all(
        any(
            bool(attributes) and (name in attributes) is condition["exists"]
            if isinstance(condition, dict)
            else condition in attributes.get(name, ())
            for condition in conditions
        )
        for name, conditions in policy.items()
    )


def subscriptions(pipeline: Template) -> dict[tuple[str, str], Json | None]:
    """Return the filter policy of each (topic, address)."""
    return {
        (pipeline.readable(each["TopicArn"]), each["Endpoint"]): each.get("FilterPolicy")
        for each in pipeline.properties("AWS::SNS::Subscription").values()
        if each["Protocol"] == "email"
    }


def test_people_of_the_settings_are_subscribed_to_everything(synthesis: Synthesis) -> None:
    assert subscriptions(synthesis.pipeline) == {
        ("TopicsPeople", email): None for email in synthesis.settings.notifications.people_emails
    }


def test_with_routes_owners_get_theirs_and_people_all_but_owners_digests(
    synthesis_in: Callable[[str], Synthesis],
) -> None:
    routed = synthesis_in("aws-us-gov")  # where all optional settings are set
    notifications = routed.settings.notifications
    (route,) = notifications.routes
    found = subscriptions(routed.pipeline)
    assert found.keys() == {
        *(("TopicsPeople", each) for each in (*notifications.people_emails, *route.emails)),
        *(("TopicsAlarms", each) for each in notifications.people_emails),
    }
    for email in route.emails:
        policy = found["TopicsPeople", email]
        assert [each for each in EVERYTHING if gets(policy, each)] == [FINDING, OWNER_DIGEST]
    for email in notifications.people_emails:
        people, alarms = found["TopicsPeople", email], found["TopicsAlarms", email]
        # An alarm has no attributes, and no filter lets it through: it has a topic of its own.
        assert [each for each in EVERYTHING if not gets(people, each)] == [ALARM, OWNER_DIGEST]
        assert alarms is None


def test_the_dashboard_shows_every_workflow_function_and_dead_letter_queue(
    pipeline: Template,
) -> None:
    (dashboard,) = pipeline.properties("AWS::CloudWatch::Dashboard").values()
    shown = references(dashboard["DashboardBody"])
    assert shown >= pipeline.resources("AWS::StepFunctions::StateMachine").keys()
    assert shown >= pipeline.resources("AWS::Lambda::Function").keys()
    assert shown >= pipeline.resources("AWS::SQS::Queue").keys()


def test_every_metric_of_ours_on_the_dashboard_is_counted_by_a_step(pipeline: Template) -> None:
    (dashboard,) = pipeline.properties("AWS::CloudWatch::Dashboard").values()
    shown = re.findall(
        r'"Pare","(\w+)","service","pare"', pipeline.readable(dashboard["DashboardBody"])
    )
    assert sorted(shown) == ["LastAccessedUnknown", "UnknownAccounts"]
    sources = [file.read_text(encoding="utf-8") for file in (ROOT / "lambdas").rglob("*.py")]
    for name in shown:
        assert any(f'count("{name}", ' in source for source in sources), name


def test_every_log_group_is_kept_as_long_as_the_settings_say(anywhere: Synthesis) -> None:
    groups = anywhere.pipeline.properties("AWS::Logs::LogGroup")
    functions = anywhere.pipeline.resources("AWS::Lambda::Function")
    assert len(groups) == len(functions) + 1  # and one of the workflows
    days = {group["RetentionInDays"] for group in groups.values()}
    assert days == {anywhere.settings.log_retention_days}


def test_every_function_and_workflow_writes_to_a_log_group_of_ours(pipeline: Template) -> None:
    groups = pipeline.resources("AWS::Logs::LogGroup")
    for function in pipeline.properties("AWS::Lambda::Function").values():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups
    for machine in pipeline.properties("AWS::StepFunctions::StateMachine").values():
        (destination,) = machine["LoggingConfiguration"]["Destinations"]
        assert destination["CloudWatchLogsLogGroup"]["LogGroupArn"]["Fn::GetAtt"][0] in groups


def references(value: object) -> set[str]:
    """Return the logical ids a value refers to, wherever in it."""
    found: set[str] = set()
    pending: list[object] = [json.loads(json.dumps(value))]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            node: Json = each
            if "Ref" in node:
                found.add(str(node["Ref"]))
            if "Fn::GetAtt" in node:
                found.add(str(node["Fn::GetAtt"][0]))
            pending.extend(node.values())
        elif isinstance(each, list):
            pending.extend(each)
    return found
