"""The topics: readable text for people, full JSON for machines, cards for a chat channel."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
)

from pare.aws.calls import translated
from pare.errors import AwsServiceError, MessageUnknownError, PareError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from pare.aws.tables import RunsTable
    from pare.message import Message

# The message did not go out: no connection came about.
_NOT_SENT = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)

# Between tries to tell the chat channel.
_CHAT_PAUSES = (1.0, 4.0)

# DynamoDB forgets after this who was told what; the findings' own history stays.
CLAIM_DAYS = 400


@dataclass(frozen=True, slots=True)
class Topics:
    """Publishes a message to people, to machines and to chat."""

    sns: SNSClient
    people_arn: str
    machines_arn: str
    chat_arn: str = ""  # none

    def tell_once(self, message: Message, *, key: str, runs: RunsTable, now: datetime) -> bool:
        """Tell machines at least once and people at most once; return whether people were told now.

        The claim is given back only where AWS said no or was never reached. After a lost answer, or
        where AWS failed half way, nobody knows whether the message went out: the claim stays, since
        people are not told twice, and MessageUnknownError, which no step is retried for, says so.
        The SDK must not send again by itself: give this a client without retries.
        """
        self.tell_machines(message)
        return self._once(lambda: self.tell_people(message), key=key, runs=runs, now=now)

    def tell_chat_once(
        self,
        message: Message,
        *,
        key: str,
        runs: RunsTable,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Tell the chat channel at most once; return whether it was told now.

        Its claim is its own: neither the mail nor the card waits for the other, or is repeated
        because of it. What AWS refused, or never got, is tried again here: a step that were
        retried for a card would be a workflow that fails for a card, so the caller is to pass an
        error over. A message without a card, or no channel, is nothing to tell.
        """
        if not self.chat_arn or message.card is None:
            return False
        pauses = list(_CHAT_PAUSES)
        while True:
            try:
                return self._once(
                    lambda: self.tell_chat(message), key=f"chat#{key}", runs=runs, now=now
                )
            except (AwsServiceError, ThrottledError):
                if not pauses:
                    raise
                sleep(pauses.pop(0))

    def _once(self, tell: Callable[[], None], *, key: str, runs: RunsTable, now: datetime) -> bool:
        """Return whether it was told now; somebody else, or an earlier try, may have done so."""
        expires_at = int((now + timedelta(days=CLAIM_DAYS)).timestamp())
        if not runs.claim_message(key, expires_at=expires_at):
            return False
        try:
            tell()
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

    def tell_chat(self, message: Message) -> None:
        """Publish the card: JSON that Amazon Q Developer in chat applications takes."""
        with translated("sns:Publish to the chat topic"):
            self.sns.publish(
                TopicArn=self.chat_arn,
                Message=json.dumps(message.card, sort_keys=True, ensure_ascii=False),
                MessageAttributes=_attributes(message),
            )


def _attributes(message: Message) -> dict[str, MessageAttributeValueTypeDef]:
    # SNS refuses an attribute with an empty value.
    # https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
    return {
        name: {"DataType": "String", "StringValue": value}
        if isinstance(value, str)
        else {"DataType": "String.Array", "StringValue": json.dumps(value, ensure_ascii=False)}
        for name, value in message.attributes.items()
        if value
    }
