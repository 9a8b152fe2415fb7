"""EVENT: the hub bus, the rules, the schedules, and their dead-letter queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.nag import explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_stepfunctions as sfn

    from infra.settings import Settings

SOURCE = ["aws.access-analyzer"]
# facts §4: exactly these three are findings.
FINDING_DETAIL_TYPES = [
    "Access Analyzer Finding",
    "Unused Access Finding for IAM entities",
    "Internal Access Finding",
]
PREVIEW_DETAIL_TYPES = ["Access Preview State Change"]
CALL_DETAIL_TYPES = ["AWS API Call via CloudTrail"]
# From the same source, too, and of no use: what AWS does by itself.
OTHER_DETAIL_TYPES = ["AWS Service Event via CloudTrail"]
# By this call findings are archived and made active again: of whoever did it there is no other
# trace.
ARCHIVING_CALLS = ["UpdateFindings"]
# By these calls analyzers see less or more than the settings say.
WATCHED_CALLS = [
    "ApplyArchiveRule",
    "CreateAnalyzer",
    "CreateArchiveRule",
    "DeleteAnalyzer",
    "DeleteArchiveRule",
    "UpdateAnalyzer",
    "UpdateArchiveRule",
]
# A deployment brings new settings and archive rules.
DEPLOYED = ["CREATE_COMPLETE", "UPDATE_COMPLETE"]
# Counted from the deployment, so a digest comes within the hour that the settings name.
HOURLY = "rate(1 hour)"


def finding_events() -> events.EventPattern:
    """Return the pattern of findings."""
    return events.EventPattern(source=SOURCE, detail_type=FINDING_DETAIL_TYPES)


def preview_events() -> events.EventPattern:
    """Return the pattern of access previews."""
    return events.EventPattern(source=SOURCE, detail_type=PREVIEW_DETAIL_TYPES)


def unknown_events() -> events.EventPattern:
    """Return the pattern of kinds that AWS adds later: they must not pass unseen."""
    return events.EventPattern(
        source=SOURCE,
        detail_type=events.Match.anything_but(
            *FINDING_DETAIL_TYPES, *PREVIEW_DETAIL_TYPES, *CALL_DETAIL_TYPES, *OTHER_DETAIL_TYPES
        ),
    )


def call_events(
    settings: Settings, calls: Sequence[str], *, own_roles: Sequence[str] = ()
) -> events.EventPattern:
    """Return the pattern of calls of Access Analyzer in the hub account that went well.

    ``own_roles``: ARNs of roles whose calls are left out; what Pare does must not start it again.
    A person, or a role of somebody else, may have no session issuer.
    """
    detail: dict[str, Any] = {
        "eventSource": ["access-analyzer.amazonaws.com"],
        "eventName": list(calls),
        "errorCode": [{"exists": False}],
    }
    if own_roles:
        arn = [{"anything-but": list(own_roles)}, {"exists": False}]
        detail["userIdentity"] = {"sessionContext": {"sessionIssuer": {"arn": arn}}}
    return events.EventPattern(
        source=SOURCE,
        account=[settings.hub_account_id],
        detail_type=CALL_DETAIL_TYPES,
        detail=detail,
    )


def hub_test_events(settings: Settings) -> events.EventPattern:
    """Return the pattern of a person's and the doctor's tests: nobody may send events as AWS's.

    Only the hub itself: another account of the organization must not mail its people.
    """
    return events.EventPattern(
        source=[settings.names.test_event_source], account=[settings.hub_account_id]
    )


def deployment_events(stack: cdk.Stack) -> events.EventPattern:
    """Return the pattern of a deployment of the stack that went well.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-dg-eventbridge-detailed.html
    """
    return events.EventPattern(
        source=["aws.cloudformation"],
        detail_type=["CloudFormation Stack Status Change"],
        detail={"stack-id": [stack.stack_id], "status-details": {"status": DEPLOYED}},
    )


class EventSources(Construct):
    """What starts the workflows, and where an event goes that could not be delivered."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        workflows: Mapping[str, sfn.IStateMachine],
        own_roles: Sequence[str],
    ) -> None:
        """``own_roles``: ARNs of the roles by which Pare itself changes findings and rules."""
        super().__init__(scope, construct_id)
        self.finding_dead_letters = dead_letter_queue(self, "FindingDeadLetters")
        self.schedule_dead_letters = dead_letter_queue(self, "ScheduleDeadLetters")
        hub_bus = self._hub_bus(settings.names.bus_name)
        # Access Analyzer speaks on the default bus of the analyzer's account and Region; other
        # Regions forward to the hub bus, one hop (facts §6: there is no second one).
        default_bus = events.EventBus.from_event_bus_name(self, "DefaultBus", "default")
        finding = self._target(workflows["Finding"], self.finding_dead_letters)
        # It reads no event: like a schedule's, its start can be made up for as it is.
        reconcile = self._target(workflows["Reconcile"], self.schedule_dead_letters)
        rules = (
            ("Finding", "Access Analyzer findings of all three kinds", finding_events(), finding),
            ("UnknownFinding", "Kinds of Access Analyzer events that Pare does not know yet",
             unknown_events(), finding),
            ("Preview", "Access previews", preview_events(), finding),
            ("ArchivingCall", "Findings archived by somebody else",
             call_events(settings, ARCHIVING_CALLS, own_roles=own_roles), finding),
            ("WatchedCall", "Analyzers and archive rules changed by somebody else",
             call_events(settings, WATCHED_CALLS, own_roles=own_roles), reconcile),
            ("TestFinding", "Test findings and the doctor's test events, of the hub account itself",
             hub_test_events(settings), finding),
        )  # fmt: skip
        for bus_name, bus in (("Hub", hub_bus), ("Default", default_bus)):
            for name, description, pattern, target in rules:
                events.Rule(
                    self,
                    f"{bus_name}{name}Rule",
                    description=description,
                    event_bus=bus,
                    event_pattern=pattern,
                    targets=[target],
                )
        events.Rule(
            self,
            "DeployedRule",
            description="New settings and archive rules: looks at every analyzer at once",
            event_pattern=deployment_events(cdk.Stack.of(self)),
            targets=[reconcile],
        )
        schedule = settings.schedule
        # CloudTrail's days are UTC.
        utc, local = cdk.TimeZone.ETC_UTC, cdk.TimeZone.of(schedule.time_zone)
        for name, description, cron, zone in (
            ("Inventory", "The monthly inventory of every user and role", schedule.inventory,
             local),
            ("Activity", "The nightly reading of the trail's log files", schedule.activity, utc),
            ("Notification", "What people have to hear of, once an hour", HOURLY, local),
            ("Reconcile", "The daily comparison of findings with every analyzer",
             schedule.reconcile, utc),
        ):  # fmt: skip
            self._schedule(f"{name}Schedule", description, cron, zone, workflows[name])

    def _target(self, workflow: sfn.IStateMachine, dead_letters: sqs.Queue) -> events.IRuleTarget:
        return targets.SfnStateMachine(
            workflow,
            dead_letter_queue=dead_letters,
            retry_attempts=185,
            max_event_age=cdk.Duration.hours(24),
        )

    def _hub_bus(self, name: str) -> events.IEventBus:
        # Without a policy: the senders are this account's own roles, those of PareRegion, so nobody
        # else's rule can start a workflow (facts §6: one hop, cross-Region, the same account).
        bus = events.CfnEventBus(
            self,
            "HubBus",
            name=name,
            description="Access Analyzer findings of the whole organization",
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


def dead_letter_queue(
    scope: Construct, construct_id: str, *, queue_name: str | None = None
) -> sqs.Queue:
    """Return a queue for what could not be delivered; kept for 14 days, the most AWS allows."""
    queue = sqs.Queue(
        scope,
        construct_id,
        queue_name=queue_name,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )
    explain(queue, "AwsSolutions-SQS3", "It is a dead-letter queue itself, with an alarm.")
    return queue
