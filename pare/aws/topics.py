"""The two topics: readable text for people, full JSON for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)

from pare.aws.calls import translated
from pare.errors import AwsServiceError, MessageUnknownError, PareError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from pare.aws.tables import RunsTable
    from pare.message import Message

# The message did not go out: no connection came about.
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)

# DynamoDB forgets after this who was told what; the findings' own history stays.
CLAIM_DAYS = 400


@dataclass(frozen=True, slots=True)
class Topics:
    """Publishes a message to people and to machines."""

    sns: SNSClient
    people_arn: str
    machines_arn: str

    def tell_once(self, message: Message, *, key: str, runs: RunsTable, now: datetime) -> bool:
        """Tell machines at least once and people at most once; return whether people were told now.

        The claim is given back only where AWS said no or was never reached. After a lost answer, or
        where AWS failed half way, nobody knows whether the message went out: the claim stays, since
        people are not told twice, and MessageUnknownError, which no step is retried for, says so.
        The SDK must not send again by itself: give this a client without retries.
        """
        self.tell_machines(message)
        expires_at = int((now + timedelta(days=CLAIM_DAYS)).timestamp())
        if not runs.claim_message(key, expires_at=expires_at):
            return False
        try:
            self.tell_people(message)
        except PareError as error:
            if isinstance(error, AwsServiceError) and not isinstance(error.__cause__, _NOT_SENT):
                raise MessageUnknownError(f"nobody knows whether it went out: {error}") from error
            runs.release_message(key)
            raise
        return True

    def tell_people(self, message: Message) -> None:
        """Publish the readable text."""
        with translated("sns:Publish to the people topic"):
            self.sns.publish(
                TopicArn=self.people_arn,
                Subject=message.subject,
                Message=message.text,
                MessageAttributes=_attributes(message),
            )

    def tell_machines(self, message: Message) -> None:
        """Publish the full JSON."""
        with translated("sns:Publish to the machines topic"):
            self.sns.publish(
                TopicArn=self.machines_arn,
                Message=json.dumps(message.facts, sort_keys=True, ensure_ascii=False),
                MessageAttributes=_attributes(message),
            )


def _attributes(message: Message) -> dict[str, MessageAttributeValueTypeDef]:
    # SNS refuses an attribute with an empty value.
    return {
        name: {"DataType": "String", "StringValue": value}
        for name, value in message.attributes.items()
        if value
    }
