"""Notify inventory: tell people and a chat channel once, and machines, what was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.arns import region_of
from pare.aws.evidence_store import EvidenceStore
from pare.aws.gone_rows import gone_rows
from pare.aws.tables import RunsTable
from pare.aws.topics import Topics
from pare.clock import parse_time
from pare.errors import PareError
from pare.inventory.gravest import gravest
from pare.inventory.message import LISTED_GONE, Place, inventory_message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.inventory.model import SnapshotJson
    from pare.message import Message
    from pare.object_ref import ObjectRef


class Input(TypedDict):
    snapshot: ObjectRef
    report: ObjectRef
    csv: ObjectRef
    work: str


class Output(TypedDict):
    told: bool
    told_chat: bool


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str
    chat_topic_arn: str  # empty: none
    evidence_bucket_name: str
    language: str
    idle_days: str
    key_max_age_days: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return who was told now; a retried step, or one that goes on with a work, repeats nothing."""
    settings = environment()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    snapshot: SnapshotJson = store.get_json(event["snapshot"])
    arn = context.invoked_function_arn
    message = inventory_message(
        snapshot,
        gravest(store.each_ndjson_gz(snapshot["rows"]), as_of=parse_time(snapshot["as_of"])),
        gone=list(islice(gone_rows(store, snapshot["accounts"]), LISTED_GONE)),
        language=settings.language,
        place=Place(
            snapshot=event["snapshot"],
            report=event["report"],
            csv=event["csv"],
            partition=arn.split(":")[1],
            region=region_of(arn),
        ),
        idle_days=int(settings.idle_days),
        key_max_age_days=int(settings.key_max_age_days),
    )
    topics = Topics(
        client("sns"),
        settings.people_topic_arn,
        settings.machines_topic_arn,
        settings.chat_topic_arn,
    )
    runs = RunsTable(client("dynamodb"), settings.runs_table_name)
    key = f"inventory#{event['work']}"
    told_chat = False
    try:
        told = topics.tell_once(message, key=key, runs=runs, now=utc_now())
    finally:
        # In any case, and after the mail: it must not wait for the card, nor the card be lost.
        told_chat = _tell_chat(topics, message, key=key, runs=runs)
    logger.info("inventory told", period=snapshot["period"], told=told, told_chat=told_chat)
    return {"told": told, "told_chat": told_chat}


def _tell_chat(topics: Topics, message: Message, *, key: str, runs: RunsTable) -> bool:
    """Return whether the card went out; where it did not, the run goes on: the mail says it all."""
    untold = 0
    try:
        return topics.tell_chat_once(message, key=key, runs=runs, now=utc_now())
    except PareError as error:
        untold = 1
        logger.error("the chat channel was not told", error=str(error))
        return False
    finally:
        count("ChatMessagesUntold", untold)
