"""WORKFLOW: what people have to hear of, each message once: collect, compose, tell, settle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.workflow import Workflow, record_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_logs as logs

    from infra.lambda_function import StepFunction
    from infra.notifications import Topics

# By these SNS says that it did not take a message: nobody was told, and it may be sent again. Not
# among them is what the SDK has no name for (Sns.SnsException) and SNS's own failure
# (Sns.InternalErrorException). An error is named by the service, a dot, and the API's own name with
# "Exception" behind it, whether or not the API puts that there.
# https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
REFUSALS_THAT_PASS = [
    "Sns.AuthorizationErrorException",  # a new right takes a while to be known everywhere
    "Sns.KmsAccessDeniedException",
    "Sns.KmsInvalidStateException",
    "Sns.KmsThrottlingException",
    "Sns.ThrottledException",
]
REFUSALS = [
    *REFUSALS_THAT_PASS,
    "Sns.EndpointDisabledException",
    "Sns.InvalidParameterException",
    "Sns.InvalidParameterValueException",
    "Sns.InvalidSecurityException",
    "Sns.KmsDisabledException",
    "Sns.KmsNotFoundException",
    "Sns.KmsOptInRequiredException",
    "Sns.NotFoundException",
    "Sns.PlatformApplicationDisabledException",
    "Sns.ValidationException",
]
# A publish takes milliseconds; one that takes this long has no answer to wait for.
PUBLISH_SECONDS = 120
_RETRY: Mapping[str, Any] = {
    "IntervalSeconds": 2,
    "BackoffRate": 2,
    "MaxAttempts": 6,
    "MaxDelaySeconds": 60,
    "JitterStrategy": "FULL",
}


class NotificationWorkflow(Construct):
    """State machine: collect news; of each message compose, tell people, machines, chat; settle.

    No function publishes: one could be killed after SNS took the message and before it is noted,
    and people would be told twice. Step Functions keeps what SNS answered. Where it has no answer,
    nobody knows; the cards say so, and the next message says "perhaps told before".

    Others start ``workflow.state_machine`` with ``{"scheduled_at"}`` or ``{"as_of", "kind": "news"
    or "hourly"}``. Its role may publish to the three of ``topics``, whose key is ``key``: that is
    granted here. ``terms``: ``settings.finding_terms()``.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        collect_news: StepFunction,
        compose_message: StepFunction,
        settle_message: StepFunction,
        record_run_function: StepFunction,
        terms: Mapping[str, Any],
        topics: Topics,
        key: kms.IKey,
        log_group: logs.ILogGroup,
    ) -> None:
        super().__init__(scope, construct_id)
        end = record_run(self, record_run_function, workflow="notification")
        collect = collect_news.as_task(
            self,
            {
                "input.$": "$",
                "execution.$": "$$.Execution.Id",
                "started_at.$": "$$.Execution.StartTime",
                "terms": terms,
            },
            result_path="$.collected",
        )
        _retry_whatever_it_was(collect)
        collect.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        tell = self._tell_each(
            self._message(compose_message, settle_message, terms=terms, topics=topics)
        )
        tell.add_catch(end, errors=["States.ALL"], result_path="$.failure")
        has_more = (
            sfn.Choice(self, "More to tell?")
            .when(sfn.Condition.boolean_equals("$.collected.has_more", True), collect)
            .otherwise(end)
        )
        self.workflow = Workflow(
            self,
            "Notification",
            definition=collect.next(tell).next(has_more),
            log_group=log_group,
            functions=[collect_news, compose_message, settle_message, record_run_function],
        )
        self._let_publish(topics, key)

    def _tell_each(self, message: sfn.IChainable) -> sfn.Map:
        """Return the map over the messages, one after the other, the gravest first.

        Inline: its iterations are in this execution's history, some 35 events a message of the
        25,000 that one may have. No iteration fails: that would end those after it.
        https://docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html
        https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
        """
        tell = sfn.Map(
            self,
            "Tell each",
            items_path="$.collected.messages",
            max_concurrency=1,
            item_selector={
                "message_id.$": "$$.Map.Item.Value.message_id",
                "ref.$": "$$.Map.Item.Value.ref",
                # So it stays where nothing fails: a Catch puts its error in place of the empty one.
                "outcome": "told",
                "failure": {},
                "machines_failure": {},
                "chat_failure": {},
            },
            # Of each message its id and its outcome (Settle message): small.
            result_path="$.told",
        )
        tell.item_processor(message)
        return tell

    def _message(
        self,
        compose_message: StepFunction,
        settle_message: StepFunction,
        *,
        terms: Mapping[str, Any],
        topics: Topics,
    ) -> sfn.IChainable:
        """Return what is done for one message, from the object that lies in the evidence bucket."""
        unsettled = sfn.Pass(
            self,
            "Unsettled",
            # The cards stay claimed; the round after this one finds that this one has ended.
            parameters={
                "message_id.$": "$.message_id",
                "outcome": "unsettled",
                "error.$": "$.settle_failure.Error",
                "untold": [],
            },
        )
        settle = settle_message.as_task(
            self,
            {
                "ref.$": "$.ref",
                "outcome.$": "$.outcome",
                "failure.$": "$.failure",
                "machines_failure.$": "$.machines_failure",
                "chat_failure.$": "$.chat_failure",
                "execution.$": "$$.Execution.Id",
                "terms": terms,
            },
        )
        _retry_whatever_it_was(settle)
        settle.add_catch(unsettled, errors=["States.ALL"], result_path="$.settle_failure")
        refused = self._outcome("Refused", "refused").next(settle)
        unknown = self._outcome("Perhaps told", "unknown").next(settle)
        compose = compose_message.as_task(
            self,
            {"ref.$": "$.ref", "language": terms["language"]},
            result_path="$.composed",
        )
        _retry_whatever_it_was(compose)
        compose.add_catch(refused, errors=["States.ALL"], result_path="$.failure")
        people = self._publish(
            "Tell people",
            {
                "TopicArn": topics.people.topic_arn,
                "Subject.$": "$.composed.subject",
                "Message.$": "$.composed.text",
            },
            # Only where SNS said no: of everything else nobody knows whether it went out.
            retry=REFUSALS_THAT_PASS,
        )
        people.add_catch(refused, errors=REFUSALS, result_path="$.failure")
        people.add_catch(unknown, errors=["States.ALL"], result_path="$.failure")
        machines = self._publish(
            "Tell machines",
            {"TopicArn": topics.machines.topic_arn, "Message.$": "$.composed.machines"},
            retry=["States.TaskFailed"],  # twice is better than never
        )
        chat = self._publish(
            "Tell chat",
            {"TopicArn": topics.chat.topic_arn, "Message.$": "$.composed.chat"},
            retry=REFUSALS_THAT_PASS,
        )
        chat.add_catch(settle, errors=["States.ALL"], result_path="$.chat_failure")
        chat.next(settle)
        has_chat = (
            sfn.Choice(self, "Chat wanted?")
            .when(sfn.Condition.string_equals("$.composed.chat", ""), settle)
            .otherwise(chat)
        )
        # People have heard of it: what fails from here on is said, and stops nothing.
        machines.add_catch(has_chat, errors=["States.ALL"], result_path="$.machines_failure")
        return compose.next(people).next(machines).next(has_chat)

    def _outcome(self, name: str, outcome: str) -> sfn.Pass:
        return sfn.Pass(self, name, result=sfn.Result.from_string(outcome), result_path="$.outcome")

    def _publish(
        self, name: str, parameters: Mapping[str, Any], *, retry: Sequence[str]
    ) -> sfn.CustomState:
        """Return a state that publishes, with the attributes that the message was composed with.

        Through the SDK integration rather than the optimized one (``sns:publish``): only of the
        former does AWS say how it names errors.
        https://docs.aws.amazon.com/step-functions/latest/dg/connect-sns.html
        """
        return sfn.CustomState(
            self,
            name,
            state_json={
                "Type": "Task",
                "Resource": f"arn:{cdk.Stack.of(self).partition}:states:::aws-sdk:sns:publish",
                "Parameters": {**parameters, "MessageAttributes.$": "$.composed.attributes"},
                # Not None: CDK leaves that out, and SNS's answer would take the place of the state.
                "ResultPath": "$.published",
                "TimeoutSeconds": PUBLISH_SECONDS,
                "Retry": [{"ErrorEquals": list(retry), **_RETRY}],
            },
        )

    def _let_publish(self, topics: Topics, key: kms.IKey) -> None:
        role, region = self.workflow.role, cdk.Stack.of(self).region
        role.add_to_policy(
            iam.PolicyStatement(
                sid="Tell",
                actions=["sns:Publish"],
                resources=[
                    topic.topic_arn for topic in (topics.people, topics.machines, topics.chat)
                ],
            )
        )
        # Whoever publishes to an encrypted topic uses its key.
        # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
        role.add_to_policy(
            iam.PolicyStatement(
                sid="UseKeyOfTopics",
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[key.key_arn],
                # In China the name may end in ".cn"; AWS's pages do not say.
                conditions={"StringLike": {"kms:ViaService": f"sns.{region}.amazonaws.com*"}},
            )
        )


def _retry_whatever_it_was(task: sfn.TaskStateBase) -> None:
    """Let a step run again that was killed, or failed as we did not foresee: it is idempotent."""
    task.add_retry(
        errors=["States.ALL"],
        interval=cdk.Duration.seconds(2),
        backoff_rate=2,
        max_attempts=6,
        max_delay=cdk.Duration.seconds(60),
        jitter_strategy=sfn.JitterType.FULL,
    )
