"""Compose message: the words of one message of a round, for people, machines and a chat channel."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, metrics, read_environment
from pare.arns import region_of
from pare.aws.evidence_store import EvidenceStore
from pare.clock import parse_time
from pare.findings.card import open_count
from pare.findings.message import Place, card_message, cut, digest_message, summary_message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.rounds import MessageJson
    from pare.message import Message
    from pare.object_ref import ObjectRef

# A state has 256 KiB of JSON for all of this and what SNS answers, and SNS as much for one message.
# More fails the whole round, and no Catch sees it (States.DataLimitExceeded).
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
# https://docs.aws.amazon.com/step-functions/latest/dg/concepts-error-handling.html
MOST_BYTES = 200_000
# What stays of the text in the form that always fits, beside a card of a chat channel (8,000 bytes
# and five steps), attributes and a subject of some hundred, and a few bounded facts.
MOST_BYTES_OF_TEXT = 100_000
# What a message's facts name of many findings: with them it could grow without bound.
_LISTS = ("findings", "ended", "cards")
# And what a card has of each of its findings.
_MAPS = ("open", "ended", "archived", "exemptions", "proposal", "messages")
# Facts whose size is known.
_BOUNDED = ("kind", "news", "severity", "counts")


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
    place = Place(arn.split(":")[1], region_of(arn), frozen["list"], frozen.get("contact"))
    message = _message(frozen, language=event["language"], place=place)
    output = _fitting(message, frozen, event["ref"], event["language"])
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


def _fitting(message: Message, frozen: MessageJson, ref: ObjectRef, language: str) -> Output:
    """Return the message in the fullest form that a state has room for; the last always fits."""
    known = {"message_id": frozen["message_id"]}
    elsewhere = {**known, "object": dict(ref)}
    without_lists = {
        name: None if name in _LISTS else value for name, value in message.facts.items()
    }
    for facts in (
        message.facts | known,
        without_lists | elsewhere,
        without_lists | elsewhere | _without_maps(message.facts),
    ):
        output = _output(message, facts)
        if _size(output) <= MOST_BYTES:
            return output
    bounded = {name: message.facts[name] for name in _BOUNDED if name in message.facts}
    uri = f"s3://{ref['bucket']}/{ref['key']}"
    text = cut(message.text, MOST_BYTES_OF_TEXT, uri=uri, language=language)
    return _output(replace(message, text=text), bounded | elsewhere)


def _without_maps(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the card of the facts without what it has of each finding: how many those are."""
    card = facts.get("card")
    if card is None:
        return {}
    told = card["told"]
    counts = {
        "open": open_count(card),
        "ended": len(card["ended"]),
        "archived": len(card.get("archived") or {}),
        "told": len(told["findings"]) if told else 0,
    }
    left_out = {name: None for name in _MAPS if name in card}
    short = {**told, "findings": None} if told else None
    return {"card": {**card, **left_out, "told": short}, "counts": counts}


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
