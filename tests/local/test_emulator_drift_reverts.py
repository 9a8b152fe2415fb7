"""Change sets that bring back what somebody changed, as `cdk deploy --revert-drift` makes them.

CloudFormation user guide, drift-aware-change-sets; API reference, CreateChangeSet DeploymentMode.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.local.emulator_fixtures import HUB, REGION, allow, trusts, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.emulator_fixtures import Box

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"]
QUEUE = f"arn:aws:sqs:{REGION}:{HUB}:q"


def template(name: str) -> str:
    """A stack with what an examination looks at."""
    return json.dumps(
        {
            "Resources": {
                "Role": {
                    "Type": "AWS::IAM::Role",
                    "Properties": {
                        "RoleName": name,
                        "AssumeRolePolicyDocument": trusts(service="lambda.amazonaws.com"),
                    },
                },
                "Policy": {
                    "Type": "AWS::IAM::Policy",
                    "Properties": {
                        "PolicyName": "own",
                        "PolicyDocument": allow("sqs:SendMessage"),
                        "Roles": [{"Ref": "Role"}],
                    },
                },
                "Rule": {
                    "Type": "AWS::Events::Rule",
                    "Properties": {
                        "Name": name,
                        "EventPattern": {"source": ["aws.access-analyzer"]},
                        "Targets": [{"Id": "Queue", "Arn": QUEUE}],
                    },
                },
                "Schedule": {
                    "Type": "AWS::Scheduler::Schedule",
                    "Properties": {
                        "Name": name,
                        "ScheduleExpression": "rate(1 day)",
                        "FlexibleTimeWindow": {"Mode": "OFF"},
                        "Target": {"Arn": QUEUE, "RoleArn": {"Fn::GetAtt": ["Role", "Arn"]}},
                    },
                },
                "Alarm": {
                    "Type": "AWS::CloudWatch::Alarm",
                    "Properties": {
                        "AlarmName": name,
                        "Namespace": "n",
                        "MetricName": "m",
                        "Statistic": "Sum",
                        "Period": 60,
                        "EvaluationPeriods": 1,
                        "Threshold": 1,
                        "ComparisonOperator": "GreaterThanThreshold",
                    },
                },
                "Analyzer": {
                    "Type": "AWS::AccessAnalyzer::Analyzer",
                    "Properties": {"AnalyzerName": name, "Type": "ACCOUNT"},
                },
                "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}},
                "QueuePolicy": {
                    "Type": "AWS::SQS::QueuePolicy",
                    "Properties": {
                        "Queues": [{"Ref": "Queue"}],
                        "PolicyDocument": allow("sqs:SendMessage", Principal={"AWS": HUB}),
                    },
                },
            }
        }
    )


def change_set(box: Box, stack: str, body: str, **options: Any) -> dict[str, Any]:
    """A new change set of the stack, described."""
    client = box.client("cloudformation", HUB)
    name = unique("changes")
    client.create_change_set(
        StackName=stack,
        ChangeSetName=name,
        TemplateBody=body,
        Capabilities=CAPABILITIES,
        **options,
    )
    found: dict[str, Any] = client.describe_change_set(StackName=stack, ChangeSetName=name)
    return found


@pytest.fixture
def stack(box: Box) -> Iterator[str]:
    """A deployed stack; everything in it has the stack's name."""
    name, client = unique("drift"), box.client("cloudformation", HUB)
    client.create_stack(StackName=name, TemplateBody=template(name), Capabilities=CAPABILITIES)
    client.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    yield name
    client.delete_stack(StackName=name)  # an account has one such analyzer
    client.get_waiter("stack_delete_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )


def test_nothing_has_drifted_in_a_new_stack(box: Box, stack: str) -> None:
    found = change_set(box, stack, template(stack), DeploymentMode="REVERT_DRIFT")

    assert found["Status"] == "FAILED"
    assert "didn't contain changes" in found["StatusReason"]


def test_what_was_deleted_or_changed_comes_back(box: Box, stack: str) -> None:
    iam, events = box.client("iam", HUB), box.client("events", HUB)
    scheduler, cloudwatch = box.client("scheduler", HUB), box.client("cloudwatch", HUB)
    sqs, analyzers = box.client("sqs", HUB), box.client("accessanalyzer", HUB)
    iam.delete_role_policy(RoleName=stack, PolicyName="own")
    iam.delete_role(RoleName=stack)
    events.disable_rule(Name=stack)
    scheduler.delete_schedule(Name=stack)
    cloudwatch.disable_alarm_actions(AlarmNames=[stack])
    analyzers.delete_analyzer(analyzerName=stack)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=stack)["QueueUrl"])

    plain = change_set(box, stack, template(stack))
    found = change_set(box, stack, template(stack), DeploymentMode="REVERT_DRIFT")
    client = box.client("cloudformation", HUB)
    client.execute_change_set(StackName=stack, ChangeSetName=found["ChangeSetId"])
    client.get_waiter("stack_update_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    changes = {
        each["ResourceChange"]["LogicalResourceId"]: each["ResourceChange"]["Action"]
        for each in found["Changes"]
    }
    assert plain["Status"] == "FAILED"
    assert changes == {
        "Alarm": "Modify",
        "Analyzer": "Add",
        "Policy": "Modify",
        "Queue": "Add",
        "QueuePolicy": "Modify",
        "Role": "Add",
        "Rule": "Modify",
        "Schedule": "Add",
    }
    policy = iam.get_role_policy(RoleName=stack, PolicyName="own")["PolicyDocument"]
    assert policy == allow("sqs:SendMessage")
    assert events.describe_rule(Name=stack)["State"] == "ENABLED"
    assert scheduler.get_schedule(Name=stack)["State"] == "ENABLED"
    assert cloudwatch.describe_alarms(AlarmNames=[stack])["MetricAlarms"][0]["ActionsEnabled"]
    assert analyzers.get_analyzer(analyzerName=stack)["analyzer"]["status"] == "ACTIVE"
    queue = sqs.get_queue_url(QueueName=stack)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]
    assert json.loads(attributes["Policy"])["Statement"][0]["Principal"] == {"AWS": HUB}


def test_a_trust_policy_and_a_schedule_are_set_back(box: Box, stack: str) -> None:
    iam, scheduler = box.client("iam", HUB), box.client("scheduler", HUB)
    other = trusts(service="ec2.amazonaws.com")
    iam.update_assume_role_policy(RoleName=stack, PolicyDocument=json.dumps(other))
    schedule = scheduler.get_schedule(Name=stack)
    named = ("ScheduleExpression", "FlexibleTimeWindow", "Target", "Name")
    scheduler.update_schedule(State="DISABLED", **{name: schedule[name] for name in named})

    found = change_set(box, stack, template(stack), DeploymentMode="REVERT_DRIFT")
    client = box.client("cloudformation", HUB)
    client.execute_change_set(StackName=stack, ChangeSetName=found["ChangeSetId"])
    client.get_waiter("stack_update_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    trust = iam.get_role(RoleName=stack)["Role"]["AssumeRolePolicyDocument"]
    assert trust == trusts(service="lambda.amazonaws.com")
    assert scheduler.get_schedule(Name=stack)["State"] == "ENABLED"


def test_an_alarms_threshold_and_a_schedules_input_are_set_back(box: Box, stack: str) -> None:
    scheduler, cloudwatch = box.client("scheduler", HUB), box.client("cloudwatch", HUB)
    schedule = scheduler.get_schedule(Name=stack)
    scheduler.update_schedule(
        Name=stack,
        ScheduleExpression=schedule["ScheduleExpression"],
        FlexibleTimeWindow=schedule["FlexibleTimeWindow"],
        Target={**schedule["Target"], "Input": '{"another": 1}'},
    )
    cloudwatch.put_metric_alarm(
        AlarmName=stack,
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1_000_000,
        ComparisonOperator="GreaterThanThreshold",
    )

    found = change_set(box, stack, template(stack), DeploymentMode="REVERT_DRIFT")
    client = box.client("cloudformation", HUB)
    client.execute_change_set(StackName=stack, ChangeSetName=found["ChangeSetId"])
    client.get_waiter("stack_update_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    assert {each["ResourceChange"]["LogicalResourceId"] for each in found["Changes"]} == {
        "Alarm",
        "Schedule",
    }
    assert "Input" not in scheduler.get_schedule(Name=stack)["Target"]
    assert cloudwatch.describe_alarms(AlarmNames=[stack])["MetricAlarms"][0]["Threshold"] == 1
