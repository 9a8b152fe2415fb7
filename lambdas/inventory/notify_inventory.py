"""Notify inventory: tell people once, and machines, what the month's inventory found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.tables import RunsTable
from pare.aws.topics import Topics
from pare.inventory.message import inventory_message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef


class Input(TypedDict):
    snapshot: ObjectRef
    execution: str


class Output(TypedDict):
    told: bool


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether people were told now; a retried step does not tell them again."""
    settings = environment()
    ref = event["snapshot"]
    snapshot = EvidenceStore(client("s3"), settings.evidence_bucket_name).get_json(ref)
    told = Topics(client("sns"), settings.people_topic_arn, settings.machines_topic_arn).tell_once(
        inventory_message(snapshot, location=f"s3://{ref['bucket']}/{ref['key']}"),
        key=f"inventory#{event['execution']}",
        runs=RunsTable(client("dynamodb"), settings.runs_table_name),
        now=utc_now(),
    )
    logger.info("inventory told", period=snapshot["period"], told=told)
    return {"told": told}
