"""Notify finding: tell people once, and machines, what changed in a finding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.tables import RunsTable
from pare.aws.topics import Topics
from pare.findings.message import finding_message
from pare.findings.model import Finding, FindingJson

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.state import News


class Input(TypedDict):
    finding: FindingJson
    news: News


class Output(TypedDict):
    told: bool


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether people were told now; a retried step does not tell them again."""
    settings = environment()
    finding = Finding.from_json(event["finding"])
    told = Topics(client("sns"), settings.people_topic_arn, settings.machines_topic_arn).tell_once(
        finding_message(finding, event["news"]),
        key=f"finding#{finding.finding_id}#{finding.updated_at}#{event['news']}",
        runs=RunsTable(client("dynamodb"), settings.runs_table_name),
        now=utc_now(),
    )
    logger.info("finding told", finding_id=finding.finding_id, news=event["news"], told=told)
    return {"told": told}
