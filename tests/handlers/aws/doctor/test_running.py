from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws.doctor.running import examine, read_schedule
from tests.doctor_setup import HOME, HUB, OTHER
from tests.handlers.aws.doctor.hub import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.doctor.model import Result
    from tests.handlers.fake_aws import FakeAws

SCHEDULES = ("Activity", "Reconcile")
MACHINE = f"arn:aws:states:{HOME}:{HUB}:stateMachine:"
AN_HOUR_AGO = NOW - timedelta(hours=1)


class Hub:
    """The hub as it is after a deployment, all of it well."""

    def __init__(self, aws: FakeAws) -> None:
        self.aws = aws
        self.sns, self.scheduler = boto3.client("sns"), boto3.client("scheduler")
        self.cloudwatch = boto3.client("cloudwatch")
        self.sqs = {region: boto3.client("sqs", region_name=region) for region in (HOME, OTHER)}
        self.topic = self.sns.create_topic(Name="People")["TopicArn"]
        self.policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "AlarmsPublish",
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": "sns:Publish",
                    "Resource": self.topic,
                }
            ],
        }
        self.let_publish(self.policy)
        self.chat = self.sns.create_topic(Name="Chat")["TopicArn"]
        self.urls = {
            name: self.sqs[HOME].create_queue(QueueName=name)["QueueUrl"]
            for name in ("FindingDeadLetters", "ScheduleDeadLetters", "MessageDeadLetters")
        }
        self.sqs[OTHER].create_queue(QueueName="PareRegionDeadLetters")
        self.sns.subscribe(TopicArn=self.topic, Protocol="email", Endpoint="security@example.com")
        for name in SCHEDULES:
            self._schedule(f"{name}-1")
        self.alarm("FindingFailed-1")
        self.stacks: dict[str, dict[str, Any]] = {
            name: {"StackStatus": "UPDATE_COMPLETE"}
            for name in ("PareStorage", "ParePipeline", "PareMembers", f"PareRegion-{OTHER}")
        }
        aws.answer("cloudformation:DescribeStacks", self._describe)
        aws.answer("sfn:ListExecutions", self._executions)
        self.machines = ["Finding", "Reconcile", "Another"]
        aws.answer("sfn:ListStateMachines", self._state_machines)
        boto3.client("dynamodb").create_table(
            TableName="FindingsTable-1",
            KeySchema=[{"AttributeName": "finding_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "finding_id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        boto3.client("s3").create_bucket(
            Bucket="pare-evidence", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        boto3.client("events").create_event_bus(Name="pare")
        self.key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
        self.stored = {
            "FindingsTable0A1B2C3D": ("AWS::DynamoDB::GlobalTable", "FindingsTable-1"),
            "EvidenceBucket0A1B2C3D": ("AWS::S3::Bucket", "pare-evidence"),
            "Key0A1B2C3D": ("AWS::KMS::Key", self.key),
        }
        aws.answer("cloudformation:ListStackResources", self._storage)
        self.runs: dict[str, list[tuple[str, datetime]]] = {
            name: [("SUCCEEDED", AN_HOUR_AGO)]
            for name in ("Inventory", "Activity", "Reconcile", "Notification")
        }

    def let_publish(self, policy: dict[str, Any]) -> None:
        self.sns.set_topic_attributes(
            TopicArn=self.topic, AttributeName="Policy", AttributeValue=json.dumps(policy)
        )

    def _state_machines(self, _: dict[str, Any]) -> dict[str, Any]:
        machines = [
            {
                "stateMachineArn": f"{MACHINE}{name}",
                "name": name,
                "type": "STANDARD",
                "creationDate": NOW,
            }
            for name in self.machines
        ]
        return {"stateMachines": machines}

    def _storage(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["StackName"] == "PareStorage"
        if asked["StackName"] not in self.stacks:
            return {"Error": {"Code": "ValidationError", "Message": "not there"}, "_status": 400}
        return {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": logical_id,
                    "PhysicalResourceId": physical_id,
                    "ResourceType": kind,
                    "ResourceStatus": "CREATE_COMPLETE",
                    "LastUpdatedTimestamp": NOW,
                }
                for logical_id, (kind, physical_id) in self.stored.items()
            ]
        }

    def _schedule(self, name: str) -> None:
        self.scheduler.create_schedule(
            Name=name,
            ScheduleExpression="cron(0 3 * * ? *)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": f"{MACHINE}Reconcile", "RoleArn": f"arn:aws:iam::{HUB}:role/r",
                    "Input": '{"scheduled_at": "<aws.scheduler.scheduled-time>"}'},
        )  # fmt: skip

    def alarm(self, name: str, **changes: Any) -> None:
        self.cloudwatch.put_metric_alarm(
            **{
                "AlarmName": name,
                "AlarmDescription": "Pare: an execution failed.",
                "MetricName": "ExecutionsFailed",
                "Namespace": "AWS/States",
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "AlarmActions": [self.topic],
                **changes,
            }
        )

    def _describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = self.stacks.get(asked["StackName"])
        if found is None:
            return {
                "Error": {"Code": "ValidationError", "Message": "does not exist"},
                "_status": 400,
            }
        outputs = [{"OutputKey": "PareVersion", "OutputValue": "0.7.0+0a1b2c3d4e5f"}]
        stack = {"CreationTime": NOW - timedelta(days=60), "Outputs": outputs, **found}
        return {"Stacks": [{"StackName": asked["StackName"], **stack}]}

    def _executions(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["stateMachineArn"].rpartition(":")[2]
        wanted = asked.get("statusFilter")
        return {
            "executions": [
                {
                    "executionArn": f"arn:execution:{name}:{number}",
                    "stateMachineArn": asked["stateMachineArn"],
                    "name": str(number),
                    "status": status,
                    "startDate": at,
                    "stopDate": at,
                }
                for number, (status, at) in enumerate(self.runs[name])
                if not wanted or wanted == status
            ][: asked["maxResults"]]
        }

    @property
    def resources(self) -> dict[str, tuple[str, str]]:
        return {
            "TopicsPeople0A1B2C3D": ("AWS::SNS::Topic", self.topic),
            "FindingWorkflow0A1B2C3D": ("AWS::StepFunctions::StateMachine", f"{MACHINE}Finding"),
            "ReconcileWorkflow0A1B2C3D": (
                "AWS::StepFunctions::StateMachine",
                f"{MACHINE}Reconcile",
            ),
            "AlarmsFindingFailed0A1B2C3D": ("AWS::CloudWatch::Alarm", "FindingFailed-1"),
            "EventSourcesBus0A1B2C3D": ("AWS::Events::EventBus", "pare"),
            **{
                f"EventSources{name}Schedule0A1B2C3D": ("AWS::Scheduler::Schedule", f"{name}-1")
                for name in SCHEDULES
            },
        }

    @property
    def template(self) -> dict[str, Any]:
        schedule = {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "ScheduleExpression": "cron(0 3 * * ? *)",
                "Target": {
                    "Arn": {"Ref": "ReconcileWorkflow0A1B2C3D"},
                    "Input": '{"scheduled_at":"<aws.scheduler.scheduled-time>"}',
                },
            },
        }
        topic = {"Ref": "TopicsPeople0A1B2C3D"}
        return {
            "Resources": {
                **{f"EventSources{name}Schedule0A1B2C3D": schedule for name in SCHEDULES},
                "TopicsPeopleSecurity0A1B2C3D": {
                    "Type": "AWS::SNS::Subscription",
                    "Properties": {
                        "TopicArn": topic,
                        "Protocol": "email",
                        "Endpoint": "security@example.com",
                    },
                },
                "TopicsPeoplePolicy0A1B2C3D": {
                    "Type": "AWS::SNS::TopicPolicy",
                    "Properties": {"Topics": [topic], "PolicyDocument": self.policy},
                },
                "AlarmsFindingFailed0A1B2C3D": {
                    "Type": "AWS::CloudWatch::Alarm",
                    "Properties": {
                        "AlarmActions": [topic],
                        "MetricName": "ExecutionsFailed",
                        "Namespace": "AWS/States",
                        "Threshold": 1,
                        "Dimensions": [
                            {"Name": "Nobody", "Value": {"Fn::GetAtt": ["Knows", "This"]}}
                        ],
                    },
                },
            }
        }

    @property
    def outputs(self) -> dict[str, str]:
        return {
            "PeopleTopicArn": self.topic,
            "ChatTopicArn": self.chat,
            **{f"{name}Url": url for name, url in self.urls.items()},
            **{f"{name}WorkflowArn": f"{MACHINE}{name}" for name in self.runs},
        }


@pytest.fixture
def hub(aws: FakeAws) -> Hub:
    return Hub(aws)


@pytest.fixture
def looked(hub: Hub, examined: Callable[..., Any]) -> Callable[..., list[Result]]:
    return lambda **changes: list(
        examine(
            examined(resources=hub.resources, outputs=hub.outputs, template=hub.template, **changes)
        )
    )


def faults(results: list[Result]) -> list[tuple[str, str, str]]:
    return [(each.status, each.check, each.subject) for each in results if each.status != "ok"]


def test_a_pare_that_runs_is_well_in_every_check(looked: Callable[..., Any]) -> None:
    results = looked()

    assert faults(results) == []
    assert {each.check for each in results} == {
        "running.stacks",
        "running.resources",
        "running.subscriptions",
        "running.schedules",
        "running.dead-letters",
        "running.alarms",
        "running.workflows",
    }
    assert [each.subject for each in results if each.check == "running.dead-letters"] == [
        f"FindingDeadLetters ({HOME})",
        f"ScheduleDeadLetters ({HOME})",
        f"MessageDeadLetters ({HOME})",
        f"RegionDeadLetters ({OTHER})",
    ]


def test_a_deleted_state_machine_is_named_and_brought_back(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.machines.remove("Finding")

    results = looked()

    assert faults(results) == [("missing", "running.resources", "state machines")]
    (found,) = (each for each in results if each.status != "ok")
    assert found.says == "1 state machine of ParePipeline is not there: FindingWorkflow."
    assert found.mend and found.mend.commands == ("npx cdk deploy ParePipeline --revert-drift",)


def test_a_deleted_table_bucket_and_bus_are_named_and_brought_back(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    boto3.client("dynamodb").delete_table(TableName="FindingsTable-1")
    boto3.client("s3").delete_bucket(Bucket="pare-evidence")
    boto3.client("events").delete_event_bus(Name="pare")

    found = {each.subject: each for each in looked() if each.status != "ok"}

    assert {name: each.says for name, each in found.items()} == {
        "tables": "1 table of PareStorage is not there: FindingsTable.",
        "buckets": "1 bucket of PareStorage is not there: EvidenceBucket.",
        "event buses": "1 event bus of ParePipeline is not there: EventSourcesBus.",
    }
    assert [each.mend and each.mend.commands for each in found.values()] == [
        ("npx cdk deploy PareStorage --revert-drift",),
        ("npx cdk deploy PareStorage --revert-drift",),
        ("npx cdk deploy ParePipeline --revert-drift",),
    ]


def test_a_key_that_is_off_is_switched_on_by_what_is_printed(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    kms = boto3.client("kms")
    kms.disable_key(KeyId=hub.key)

    (found,) = (each for each in looked() if each.status != "ok")

    assert found.says.startswith("The key Key of PareStorage is Disabled: Pare can neither read ")
    enable = f"aws kms enable-key --key-id {hub.key} --region {HOME}"
    assert found.mend and found.mend.commands == (enable,)

    kms.schedule_key_deletion(KeyId=hub.key, PendingWindowInDays=7)

    (found,) = (each for each in looked() if each.status != "ok")

    date = kms.describe_key(KeyId=hub.key)["KeyMetadata"]["DeletionDate"].astimezone(UTC)
    assert f"PendingDeletion, it will be deleted on {date:%Y-%m-%d} at " in found.says
    assert "everything stored with it is lost" in found.says
    cancel = f"aws kms cancel-key-deletion --key-id {hub.key} --region {HOME}"
    assert found.mend and found.mend.commands == (cancel, enable)


def test_a_function_that_may_not_run_is_named(
    hub: Hub, aws: FakeAws, examined: Callable[..., Any]
) -> None:
    reserved = {"EnrichFinding-1": 0, "Other-1": None, "Gone-1": None, "Own-1": 5}
    names = {each.removesuffix("-1"): each for each in reserved}
    functions = {
        f"{label}0A1B2C3D": ("AWS::Lambda::Function", name) for label, name in names.items()
    }
    aws.answer("lambda:ListFunctions", {"Functions": [{"FunctionName": name} for name in reserved]})
    aws.fail("lambda:GetFunctionConcurrency", "ResourceNotFoundException", 404,
             when=lambda asked: asked["FunctionName"] == "Gone-1")  # fmt: skip
    aws.fail("lambda:GetFunctionConcurrency", "AccessDeniedException", 403,
             when=lambda asked: asked["FunctionName"] == "Other-1")  # fmt: skip
    aws.answer(
        "lambda:GetFunctionConcurrency",
        lambda asked: {"ReservedConcurrentExecutions": reserved[asked["FunctionName"]]},
    )
    template: dict[str, Any] = {
        "Resources": {
            f"{label}0A1B2C3D": {"Type": "AWS::Lambda::Function", "Properties": {}}
            for label in names
        }
        | hub.template["Resources"]
    }
    properties = template["Resources"]["Own0A1B2C3D"]["Properties"]
    properties["ReservedConcurrentExecutions"] = 7

    found = [
        each
        for each in examine(
            examined(resources=hub.resources | functions, outputs=hub.outputs, template=template)
        )
        if each.status != "ok"
    ]

    (set_by_hand, untold) = found
    assert set_by_hand.says.startswith(
        "The reserved concurrency of 2 functions was set by hand: EnrichFinding (0), Own (5, not "
        "7). "
    )
    assert set_by_hand.mend and set_by_hand.mend.commands == (
        f"aws lambda delete-function-concurrency --function-name EnrichFinding-1 --region {HOME}",
        f"aws lambda put-function-concurrency --function-name Own-1 --region {HOME} "
        "--reserved-concurrent-executions 7",
    )
    assert untold.status == "cannot tell"
    assert untold.says.startswith("Other: AWS did not tell: lambda:GetFunctionConcurrency: ")


def test_a_part_that_may_not_be_looked_at_hides_no_other(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.aws.fail("kms:DescribeKey", "AccessDeniedException")
    hub.aws.fail("s3:HeadBucket", "403", 403)

    results = looked()

    assert faults(results) == [
        ("cannot tell", "running.resources", "bucket EvidenceBucket"),
        ("cannot tell", "running.resources", "key Key"),
    ]
    assert [each.says for each in results if each.subject in {"tables", "event buses"}] == [
        "1 table",
        "1 event bus",
    ]


def test_without_its_stack_nobody_tells_of_what_is_stored(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    del hub.stacks["PareStorage"]

    results = looked()

    assert faults(results) == [
        ("missing", "running.stacks", f"PareStorage ({HOME})"),
        ("cannot tell", "running.resources", "PareStorage"),
    ]
    (untold,) = (each for each in results if each.status == "cannot tell")
    assert untold.mend and untold.mend.text == "Mend first what is said above of: stacks."


def test_without_a_stack_set_nobody_looks_for_its_stack(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    del hub.stacks["PareMembers"]

    results = looked(member_stacks="by-hand")

    stacks = [each for each in results if each.check == "running.stacks"]
    assert [each.status for each in stacks] == ["ok"] * 3


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("PareMembers", None, "There is no stack PareMembers in eu-west-1."),
        (f"PareRegion-{OTHER}", None, "There is no stack PareRegion-eu-central-1"),
        ("PareStorage", {"StackStatus": "UPDATE_ROLLBACK_COMPLETE"}, "was taken back"),
        (
            "PareStorage",
            {
                "StackStatus": "UPDATE_COMPLETE",
                "Outputs": [{"OutputKey": "PareVersion", "OutputValue": "0.6.0"}],
            },
            "of version 0.6.0, ParePipeline of 0.7.0",
        ),
    ],
)
def test_a_stack_that_differs_is_named(
    hub: Hub, looked: Callable[..., Any], name: str, change: dict[str, Any] | None, words: str
) -> None:
    if change is None:
        del hub.stacks[name]
    else:
        hub.stacks[name] = change

    (found,) = [each for each in looked() if each.status != "ok"]

    assert found.check == "running.stacks"
    assert words in found.says


def test_a_pending_subscription_is_named(hub: Hub, looked: Callable[..., Any]) -> None:
    hub.aws.answer(
        "sns:ListSubscriptionsByTopic",
        {
            "Subscriptions": [
                {
                    "SubscriptionArn": "PendingConfirmation",
                    "Owner": HUB,
                    "Protocol": "email",
                    "Endpoint": "security@example.com",
                    "TopicArn": hub.topic,
                }
            ]
        },
        times=1,
    )

    assert faults(looked()) == [
        ("missing", "running.subscriptions", "security@example.com (People)")
    ]


def test_whoever_hears_of_alarms_alone_is_missed_where_findings_are_told(
    hub: Hub, examined: Callable[..., Any]
) -> None:
    alarms = hub.sns.create_topic(Name="Alarms")["TopicArn"]
    email = "payments@example.com"
    hub.sns.subscribe(TopicArn=alarms, Protocol="email", Endpoint=email)
    emails = (email, "security@example.com")

    results = list(
        examine(
            examined(
                resources={**hub.resources, "TopicsAlarms0A1B2C3D": ("AWS::SNS::Topic", alarms)},
                outputs=hub.outputs, template=hub.template, emails=emails, alarm_emails=(email,),
            )
        )
    )  # fmt: skip

    assert faults(results) == [("missing", "running.subscriptions", f"{email} (People)")]


def test_a_filter_that_lets_nothing_through_is_taken_away_by_what_is_printed(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    (page,) = hub.sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=hub.topic)
    (arn,) = [each["SubscriptionArn"] for each in page["Subscriptions"]]
    hub.sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="FilterPolicy", AttributeValue='{"owner":["nobody"]}'
    )

    (found,) = [each for each in looked() if each.status != "ok"]
    assert (found.status, found.subject) == ("missing", "security@example.com (People)")
    words = shlex.split(found.mend.commands[0])
    hub.sns.set_subscription_attributes(
        SubscriptionArn=words[words.index("--subscription-arn") + 1],
        AttributeName=words[words.index("--attribute-name") + 1],
        AttributeValue=words[words.index("--attribute-value") + 1],
    )

    assert faults(looked()) == []


def test_a_filter_that_may_not_be_read_cannot_be_told(hub: Hub, looked: Callable[..., Any]) -> None:
    hub.aws.fail("sns:GetSubscriptionAttributes", "AuthorizationError", 403)

    assert faults(looked()) == [
        ("cannot tell", "running.subscriptions", "security@example.com (People)")
    ]


def test_a_schedule_that_lost_its_input_is_set_back_by_what_is_printed(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    whole = hub.scheduler.get_schedule(Name="Reconcile-1")
    hub.scheduler.update_schedule(
        Name="Reconcile-1",
        Target={**whole["Target"], "Input": "{}"},
        **{name: whole[name] for name in ("ScheduleExpression", "FlexibleTimeWindow")},
    )

    (found,) = [each for each in looked() if each.status != "ok"]
    assert "its input is {}, not" in found.says
    words = shlex.split(found.mend.commands[1])
    asked = json.loads(words[words.index("--cli-input-json") + 1])
    hub.scheduler.update_schedule(**asked)

    assert faults(looked()) == []


def test_a_schedule_that_is_off_is_switched_on_by_what_is_printed(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    whole = hub.scheduler.get_schedule(Name="Reconcile-1")
    hub.scheduler.update_schedule(
        Name="Reconcile-1",
        State="DISABLED",
        **{name: whole[name] for name in ("ScheduleExpression", "FlexibleTimeWindow", "Target")},
    )

    (found,) = [each for each in looked() if each.status != "ok"]
    assert found.subject == "Reconcile"
    words = shlex.split(found.mend.commands[0])
    asked = json.loads(words[words.index("--cli-input-json") + 1])
    hub.scheduler.update_schedule(**asked)

    assert faults(looked()) == []


def test_a_schedule_that_starts_something_else_is_named(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    whole = hub.scheduler.get_schedule(Name="Reconcile-1")
    target = {**whole["Target"], "Arn": f"arn:aws:lambda:{HOME}:{HUB}:function:another"}
    hub.scheduler.update_schedule(
        Name="Reconcile-1",
        Target=target,
        **{name: whole[name] for name in ("ScheduleExpression", "FlexibleTimeWindow")},
    )

    assert faults(looked()) == [("missing", "running.schedules", "Reconcile")]


def test_a_schedule_that_ended_is_named(hub: Hub, looked: Callable[..., Any]) -> None:
    whole = hub.scheduler.get_schedule(Name="Reconcile-1")
    hub.scheduler.update_schedule(
        Name="Reconcile-1",
        EndDate=AN_HOUR_AGO,
        **{name: whole[name] for name in ("ScheduleExpression", "FlexibleTimeWindow", "Target")},
    )

    (found,) = [each for each in looked() if each.status != "ok"]

    assert found.says == "The schedule Reconcile ended on 2026-11-22 at 12:00 UTC."


def test_a_schedule_of_which_the_template_says_nothing_is_not_taken_for_well(
    hub: Hub, examined: Callable[..., Any]
) -> None:
    results = examine(examined(resources=hub.resources, outputs=hub.outputs))

    assert faults(list(results)) == [
        ("cannot tell", "running.schedules", "Activity"),
        ("cannot tell", "running.schedules", "Reconcile"),
    ]


def test_a_schedule_that_is_gone_is_named(hub: Hub, looked: Callable[..., Any]) -> None:
    hub.scheduler.delete_schedule(Name="Activity-1")

    assert faults(looked()) == [("missing", "running.schedules", "Activity")]


def test_a_schedule_that_the_stack_never_had_is_not_there(examined: Callable[..., Any]) -> None:
    assert read_schedule(examined(), None) is None


def test_messages_in_queues_of_every_region_are_counted(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.sqs[HOME].send_message(QueueUrl=hub.urls["FindingDeadLetters"], MessageBody="{}")
    url = hub.sqs[OTHER].get_queue_url(QueueName="PareRegionDeadLetters")["QueueUrl"]
    for _ in range(2):
        hub.sqs[OTHER].send_message(QueueUrl=url, MessageBody="{}")

    found = [each for each in looked() if each.status != "ok"]

    assert [(each.subject, each.facts["waiting"]) for each in found] == [
        (f"FindingDeadLetters ({HOME})", 1),
        (f"RegionDeadLetters ({OTHER})", 2),
    ]


def test_a_queue_that_is_gone_is_named(hub: Hub, looked: Callable[..., Any]) -> None:
    url = hub.sqs[OTHER].get_queue_url(QueueName="PareRegionDeadLetters")["QueueUrl"]
    hub.sqs[OTHER].delete_queue(QueueUrl=url)

    assert faults(looked()) == [("missing", "running.dead-letters", f"RegionDeadLetters ({OTHER})")]


@pytest.mark.parametrize(
    "change",
    [
        {"ActionsEnabled": False},
        {"AlarmActions": []},
        {"AlarmActions": [f"arn:aws:sns:{HOME}:{HUB}:Another"]},
        {"Threshold": 1_000_000},
        {"MetricName": "ExecutionsSucceeded"},
    ],
)
def test_an_alarm_that_tells_nobody_is_named(
    hub: Hub, looked: Callable[..., Any], change: dict[str, Any]
) -> None:
    hub.alarm("FindingFailed-1", **change)

    assert faults(looked()) == [("missing", "running.alarms", "FindingFailed")]


def test_a_topic_whose_policy_refuses_alarms_is_named(hub: Hub, looked: Callable[..., Any]) -> None:
    hub.let_publish({"Version": "2012-10-17", "Statement": []})

    assert faults(looked()) == [("missing", "running.alarms", "topic People")]


def test_of_a_topic_that_may_not_be_read_the_alarms_are_told(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.aws.fail("sns:GetTopicAttributes", "AuthorizationError", 403)

    assert faults(looked()) == [("cannot tell", "running.alarms", "topic People")]


def test_an_alarm_that_rings_and_one_that_is_gone_are_named(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.cloudwatch.set_alarm_state(
        AlarmName="FindingFailed-1", StateValue="ALARM", StateReason="1 failed"
    )
    (rings,) = [each for each in looked() if each.status != "ok"]
    hub.cloudwatch.delete_alarms(AlarmNames=["FindingFailed-1"])
    (gone,) = [each for each in looked() if each.status != "ok"]

    assert rings.says == "It rings: 1 failed."
    assert gone.says == "FindingFailed is not there."


def test_a_workflow_that_failed_and_one_that_is_late_are_named(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.runs["Inventory"] = [("FAILED", AN_HOUR_AGO), ("SUCCEEDED", NOW - timedelta(days=20))]
    hub.runs["Notification"] = [("SUCCEEDED", NOW - timedelta(hours=5))]

    found = [each for each in looked() if each.status != "ok"]

    assert [(each.subject, each.status) for each in found] == [
        ("Inventory", "missing"),
        ("Notification", "missing"),
    ]
    assert "arn:execution:Inventory:0" in found[0].mend.commands[0]


def test_after_a_new_deployment_workflows_that_never_ran_are_not_due(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    hub.stacks["ParePipeline"] = {
        "StackStatus": "CREATE_COMPLETE",
        "CreationTime": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
    }
    for name in hub.runs:
        hub.runs[name] = []

    assert faults(looked()) == []


def test_what_may_not_be_read_is_not_taken_for_well_and_the_rest_is_told(
    hub: Hub, looked: Callable[..., Any]
) -> None:
    for operation in (
        "sns:ListSubscriptionsByTopic",
        "scheduler:GetSchedule",
        "sqs:GetQueueAttributes",
        "cloudwatch:DescribeAlarms",
        "lambda:ListFunctions",
        "sns:ListTopics",
        "dynamodb:DescribeTable",
        "s3:HeadBucket",
        "kms:DescribeKey",
        "eventbridge:DescribeEventBus",
    ):
        hub.aws.fail(operation, "AccessDenied", 403)
    for operation in ("sfn:ListExecutions", "sfn:ListStateMachines"):
        hub.aws.mend(operation)
        hub.aws.fail(operation, "AccessDeniedException", 403)

    results = looked()

    assert {(each.check, each.status) for each in results} == {
        ("running.stacks", "ok"),
        ("running.resources", "cannot tell"),
        ("running.subscriptions", "cannot tell"),
        ("running.schedules", "cannot tell"),
        ("running.dead-letters", "cannot tell"),
        ("running.alarms", "cannot tell"),
        ("running.workflows", "cannot tell"),
    }
