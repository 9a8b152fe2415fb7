"""EVENT: the hub bus, the rules on findings, the schedules, and their dead-letter queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.nag import explain

if TYPE_CHECKING:
    from aws_cdk import aws_stepfunctions as sfn

    from infra.settings import Settings

# facts §4: exactly these three are findings.
FINDING_DETAIL_TYPES = [
    "Access Analyzer Finding",
    "Unused Access Finding for IAM entities",
    "Internal Access Finding",
]
# From the same source, and no findings: previews, and CloudTrail's own records of API calls.
OTHER_DETAIL_TYPES = [
    "Access Preview State Change",
    "AWS API Call via CloudTrail",
    "AWS Service Event via CloudTrail",
]


class EventSources(Construct):
    """What starts the workflows, and where an event goes that could not be delivered."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        finding_workflow: sfn.IStateMachine,
        inventory_workflow: sfn.IStateMachine,
        activity_workflow: sfn.IStateMachine,
    ) -> None:
        super().__init__(scope, construct_id)
        self.finding_dead_letters = self._dead_letters("FindingDeadLetters")
        self.schedule_dead_letters = self._dead_letters("ScheduleDeadLetters")
        hub_bus = self._hub_bus(settings)
        # Access Analyzer speaks on the default bus of the analyzer's account and Region; other
        # Regions forward to the hub bus, one hop (facts §6: there is no second one).
        default_bus = events.EventBus.from_event_bus_name(self, "DefaultBus", "default")
        source = ["aws.access-analyzer"]
        target = targets.SfnStateMachine(
            finding_workflow,
            dead_letter_queue=self.finding_dead_letters,
            retry_attempts=185,
            max_event_age=cdk.Duration.hours(24),
        )
        for bus_name, bus in (("Hub", hub_bus), ("Default", default_bus)):
            events.Rule(
                self,
                f"{bus_name}FindingRule",
                description="Access Analyzer findings of all three kinds",
                event_bus=bus,
                event_pattern=events.EventPattern(source=source, detail_type=FINDING_DETAIL_TYPES),
                targets=[target],
            )
            # A kind of finding that AWS adds later must not pass unseen: it is recorded as unknown.
            events.Rule(
                self,
                f"{bus_name}UnknownFindingRule",
                description="Kinds of Access Analyzer events that Pare does not know yet",
                event_bus=bus,
                event_pattern=events.EventPattern(
                    source=source,
                    detail_type=events.Match.anything_but(
                        *FINDING_DETAIL_TYPES, *OTHER_DETAIL_TYPES
                    ),
                ),
                targets=[target],
            )
            # Nobody may send events that claim to come from AWS, so people test with this source.
            # Only the hub itself: another account of the organization must not mail its people.
            events.Rule(
                self,
                f"{bus_name}TestFindingRule",
                description="Test findings, sent by the hub account itself",
                event_bus=bus,
                event_pattern=events.EventPattern(
                    source=[settings.names.test_event_source], account=[settings.hub_account_id]
                ),
                targets=[target],
            )
        self._schedule(
            "InventorySchedule",
            "The monthly inventory of every user and role",
            settings.schedule.inventory,
            cdk.TimeZone.of(settings.schedule.time_zone),
            inventory_workflow,
        )
        self._schedule(
            "ActivitySchedule",
            "The nightly reading of the trail's log files",
            settings.schedule.activity,
            cdk.TimeZone.ETC_UTC,  # CloudTrail's days are UTC
            activity_workflow,
        )

    def _hub_bus(self, settings: Settings) -> events.IEventBus:
        stack = cdk.Stack.of(self)
        bus_arn = stack.format_arn(
            service="events", resource="event-bus", resource_name=settings.names.bus_name
        )
        bus = events.CfnEventBus(
            self,
            "HubBus",
            name=settings.names.bus_name,
            description="Access Analyzer findings of the whole organization",
            # For accounts of the organization only.
            # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html
            policy={
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "OrganizationPutsEvents",
                        "Effect": "Allow",
                        "Principal": "*",
                        "Action": "events:PutEvents",
                        "Resource": bus_arn,
                        "Condition": {
                            "StringEquals": {"aws:PrincipalOrgID": settings.organization_id}
                        },
                    }
                ],
            },
        )
        self.hub_bus_name = bus.ref
        return events.EventBus.from_event_bus_attributes(
            self,
            "HubBusReference",
            event_bus_arn=bus.attr_arn,
            event_bus_name=bus.ref,
            event_bus_policy="",
        )

    def _schedule(
        self,
        construct_id: str,
        description: str,
        cron: str,
        time_zone: cdk.TimeZone,
        workflow: sfn.IStateMachine,
    ) -> None:
        scheduler.Schedule(
            self,
            construct_id,
            description=description,
            schedule=scheduler.ScheduleExpression.expression(cron, time_zone),
            target=scheduler_targets.StepFunctionsStartExecution(
                workflow,
                input=scheduler.ScheduleTargetInput.from_object(
                    {"scheduled_at": scheduler.ContextAttribute.scheduled_time}
                ),
                dead_letter_queue=self.schedule_dead_letters,
                retry_attempts=10,
                max_event_age=cdk.Duration.hours(12),
            ),
        )

    def _dead_letters(self, construct_id: str) -> sqs.Queue:
        return dead_letter_queue(self, construct_id)


def dead_letter_queue(scope: Construct, construct_id: str) -> sqs.Queue:
    """Return a queue for what could not be delivered; kept for 14 days, the most AWS allows."""
    queue = sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    explain(queue, "AwsSolutions-SQS3", "It is a dead-letter queue itself, with an alarm.")
    return queue
