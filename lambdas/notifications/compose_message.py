"""Compose message: the words of one message of a round, for people, machines and a chat channel."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, metrics, read_environment
from pare.arns import region_of
from pare.aws.evidence_store import EvidenceStore
from pare.clock import parse_time
from pare.findings.message import Place, card_message, digest_message, summary_message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.rounds import MessageJson
    from pare.message import Message
    from pare.object_ref import ObjectRef

# A state has 256 KiB of JSON for all of this, and SNS as much for one message.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MOST_BYTES = 200_000
# What a message's facts name of many findings: with them it could grow without bound.
_LISTS = ("findings", "ended", "cards")


class Input(TypedDict):
    ref: ObjectRef
    language: str


class AttributeJson(TypedDict):
    """A message attribute, as SNS takes it."""

    DataType: str
    StringValue: str


class Output(TypedDict):
    subject: str
    text: str
    attributes: dict[str, AttributeJson]
    machines: str
    chat: str  # empty: none


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the message of a frozen object. The same object, the same message."""
    store = EvidenceStore(client("s3"), environment().evidence_bucket_name)
    frozen: MessageJson = store.get_json(event["ref"])
    arn = context.invoked_function_arn
    place = Place(arn.split(":")[1], region_of(arn), frozen["list"])
    message = _message(frozen, language=event["language"], place=place)
    output = _output(message, message.facts | {"message_id": frozen["message_id"]})
    if _size(output) > MOST_BYTES:
        output = _output(message, _without_lists(message.facts, frozen, event["ref"]))
    logger.info("message composed", message_id=frozen["message_id"], kind=frozen["kind"])
    return output


def _message(frozen: MessageJson, *, language: str, place: Place) -> Message:
    now = parse_time(frozen["as_of"])
    if frozen["kind"] == "single":
        (view,) = frozen["views"]
        return card_message(
            view, language=language, place=place, now=now, perhaps_told=bool(frozen["perhaps_told"])
        )
    if frozen["kind"] == "summary":
        return summary_message(
            frozen["views"],
            language=language,
            place=place,
            now=now,
            perhaps_told=frozen["perhaps_told"],
        )
    return digest_message(
        frozen["views"],
        owner=frozen["owner"],
        language=language,
        place=place,
        now=now,
        perhaps_told=frozen["perhaps_told"],
    )


def _output(message: Message, facts: dict[str, Any]) -> Output:
    return {
        "subject": message.subject,
        "text": message.text,
        "attributes": _attributes(message),
        "machines": _json(facts),
        "chat": _json(message.card) if message.card else "",
    }


def _without_lists(facts: dict[str, Any], frozen: MessageJson, ref: ObjectRef) -> dict[str, Any]:
    """Return the facts with the address of what is too much for a message."""
    left_out = {name: None for name in _LISTS if name in facts}
    return facts | left_out | {"message_id": frozen["message_id"], "object": dict(ref)}


def _attributes(message: Message) -> dict[str, AttributeJson]:
    # SNS refuses an attribute with an empty value.
    # https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
    return {
        name: {"DataType": "String", "StringValue": value}
        if isinstance(value, str)
        else {"DataType": "String.Array", "StringValue": _json(value)}
        for name, value in message.attributes.items()
        if value
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _size(output: Output) -> int:
    # As Lambda answers: letters of Japanese have six bytes.
    return len(json.dumps(output))
