"""NOTIFY: the topics, who is subscribed, the alarms and the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.event_sources import dead_letter_queue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_sqs as sqs
    from aws_cdk import aws_stepfunctions as sfn

    from infra.settings import Notifications

# Of the attribute "audience", which messages about findings have. What has none is for everybody
# who looks after Pare. "exists": false lets nothing through that has no attribute at all.
# https://docs.aws.amazon.com/sns/latest/dg/attribute-key-matching.html
SECURITY_AUDIENCE, OWNER_AUDIENCE = "security", "owner"
NOT_FOR_OWNERS_ALONE = {"audience": [SECURITY_AUDIENCE, {"exists": False}]}
FIVE_MINUTES = cdk.Duration.minutes(5)


class Topics(Construct):
    """Readable text for people, full JSON for machines, cards for a chat channel."""

    def __init__(
        self, scope: Construct, construct_id: str, *, key: kms.IKey, notifications: Notifications
    ) -> None:
        super().__init__(scope, construct_id)
        self.people = sns.Topic(
            self, "People", display_name="Pare", master_key=key, enforce_ssl=True
        )
        self._let_alarms_publish(self.people)
        self.machines = sns.Topic(self, "Machines", master_key=key, enforce_ssl=True)
        # A topic of its own: Amazon Q Developer in chat applications drops whatever is not JSON of
        # its own kind. https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
        self.chat = sns.Topic(self, "Chat", master_key=key, enforce_ssl=True)
        self.dead_letters = dead_letter_queue(self, "MessageDeadLetters")
        # Where alarms go. Owners' digests are for owners alone, so where there are routes everybody
        # has a filter; and no filter lets a message through that has no attributes, as an alarm's.
        self.alarms = [self.people]
        if notifications.routes:
            alarms = sns.Topic(
                self, "Alarms", display_name="Pare", master_key=key, enforce_ssl=True
            )
            self._let_alarms_publish(alarms)
            self.alarms.append(alarms)
            for email in notifications.people_emails:
                self._subscribe(alarms, email)
                self._subscribe(self.people, email, **NOT_FOR_OWNERS_ALONE)
        else:
            for email in notifications.people_emails:
                self._subscribe(self.people, email)
        for route in notifications.routes:
            for email in route.emails:
                self._subscribe(
                    self.people, email, owner=list(route.owners), audience=[OWNER_AUDIENCE]
                )

    def _subscribe(self, topic: sns.Topic, email: str, **filters: list[Any]) -> None:
        """Subscribe an address, to what all the filters let through."""
        topic.add_subscription(
            subscriptions.EmailSubscription(
                email,
                dead_letter_queue=self.dead_letters,
                filter_policy={
                    name: sns.SubscriptionFilter(conditions) for name, conditions in filters.items()
                }
                or None,
            )
        )

    def _let_alarms_publish(self, topic: sns.Topic) -> None:
        # enforce_ssl gives the topic a policy of its own, which takes the place of SNS's default
        # one: without this statement CloudWatch is refused and no alarm reaches a person.
        # https://repost.aws/knowledge-center/cloudwatch-receive-sns-for-alarm-trigger
        alarms = cdk.Stack.of(self).format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name="*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AlarmsPublish",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"ArnLike": {"aws:SourceArn": alarms}},
            )
        )


class Alarms(Construct):
    """A person hears of every execution that failed and every event that could not be delivered."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        topics: Sequence[sns.ITopic],
        workflows: Mapping[str, sfn.StateMachine],
        dead_letters: Mapping[str, sqs.Queue],
    ) -> None:
        super().__init__(scope, construct_id)
        self._actions = [actions.SnsAction(topic) for topic in topics]
        for name, machine in workflows.items():
            for what, metric in (
                ("Failed", machine.metric_failed(period=FIVE_MINUTES)),
                ("TimedOut", machine.metric_timed_out(period=FIVE_MINUTES)),
                ("Aborted", machine.metric_aborted(period=FIVE_MINUTES)),
            ):
                self._alarm(
                    f"{name}{what}",
                    metric,
                    f"Pare: an execution of the {name.lower()} workflow ended as {what}. See "
                    "docs/operations.md, 'An alarm says that an execution failed and no mail "
                    "explains it'.",
                )
        for name, queue in dead_letters.items():
            self._alarm(
                f"{name}NotEmpty",
                queue.metric_approximate_number_of_messages_visible(
                    period=FIVE_MINUTES, statistic="Maximum"
                ),
                f"Pare: something could not be delivered and waits in {name}. See "
                "docs/operations.md, 'A dead-letter queue is not empty'.",
            )

    def _alarm(self, construct_id: str, metric: cloudwatch.Metric, description: str) -> None:
        alarm = cloudwatch.Alarm(
            self,
            construct_id,
            alarm_description=description,
            metric=metric,
            threshold=1,
            evaluation_periods=1,
            comparison_operator=(cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(*self._actions)


class Dashboard(Construct):
    """One page that tells at 3 a.m. what runs, what fails and what waits."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        workflows: Mapping[str, sfn.StateMachine],
        functions: Sequence[lambda_.Function],
        dead_letters: Mapping[str, sqs.Queue],
        other_regions: Sequence[str],
        region_dead_letters_name: str,
    ) -> None:
        super().__init__(scope, construct_id)
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=cdk.Duration.days(7))
        dashboard.add_widgets(
            *(
                cloudwatch.GraphWidget(
                    title=f"{name} workflow",
                    width=8,
                    left=[
                        machine.metric_started(),
                        machine.metric_succeeded(),
                        machine.metric_failed(),
                        machine.metric_timed_out(),
                        machine.metric_aborted(),
                    ],
                    right=[machine.metric_time()],
                )
                for name, machine in workflows.items()
            )
        )
        dashboard.add_widgets(
            cloudwatch.GraphWidget(
                title="Waiting in dead-letter queues",
                width=8,
                left=[
                    queue.metric_approximate_number_of_messages_visible(label=name)
                    for name, queue in dead_letters.items()
                ]
                + [
                    # What could not be forwarded to the hub bus; no alarm crosses Regions.
                    cloudwatch.Metric(
                        namespace="AWS/SQS",
                        metric_name="ApproximateNumberOfMessagesVisible",
                        dimensions_map={"QueueName": region_dead_letters_name},
                        region=region,
                        label=region,
                    )
                    for region in other_regions
                ],
            ),
            cloudwatch.GraphWidget(
                title="Errors of functions",
                width=8,
                left=[function.metric_errors() for function in functions],
            ),
            cloudwatch.GraphWidget(
                title="Unknown in the inventory",
                width=8,
                left=[
                    # As lambdas.runtime counts: in the namespace and for the service of Powertools.
                    cloudwatch.Metric(
                        namespace="Pare",
                        metric_name=name,
                        dimensions_map={"service": "pare"},
                        statistic="Maximum",
                    )
                    for name in ("UnknownAccounts", "LastAccessedUnknown")
                ],
            ),
            cloudwatch.GraphWidget(
                title="Duration of functions",
                width=8,
                left=[function.metric_duration() for function in functions],
            ),
        )
