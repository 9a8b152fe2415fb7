"""Notify preview: tell people once what a policy that is not yet in force would open.

Machines hear of every state of a preview. People hear of one that failed, and of one by which
access would become open or wider.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.tables import RunsTable
from pare.aws.topics import Topics
from pare.errors import AwsServiceError, PareError, ThrottledError
from pare.findings.message import preview_message
from pare.findings.preview import PreviewFindingJson, PreviewJson, opens

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Input(TypedDict):
    preview: PreviewJson


class Output(TypedDict):
    told: bool
    finding_count: int | None  # that there would be, or be wider; null: they could not be read


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str
    language: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether people were told now; a retried step does not tell them again."""
    settings = environment()
    preview = event["preview"]
    logger.append_keys(preview_id=preview["preview_id"], account_id=preview["account_id"])
    findings = _opening(preview) if preview["status"] == "COMPLETED" else []
    message = preview_message(preview, findings, settings.language)
    topics = Topics(client("sns"), settings.people_topic_arn, settings.machines_topic_arn)
    told = False
    if preview["status"] == "FAILED" or findings is None or findings:
        told = topics.tell_once(
            message,
            key=f"preview#{preview['preview_id']}#{preview['status']}",
            runs=RunsTable(client("dynamodb"), settings.runs_table_name),
            now=utc_now(),
        )
    else:
        topics.tell_machines(message)
    finding_count = None if findings is None else len(findings)
    logger.info("preview told", status=preview["status"], findings=finding_count, told=told)
    return {"told": told, "finding_count": finding_count}


def _opening(preview: PreviewJson) -> list[PreviewFindingJson] | None:
    """Return the findings of access that would become open or wider.

    None where AWS does not let us read them: then nobody knows, and people are told that.
    """
    analyzer = AccessAnalyzer(client("accessanalyzer", preview["region"]))
    try:
        findings = analyzer.preview_findings(preview["analyzer_arn"], preview["preview_id"])
    except (ThrottledError, AwsServiceError):
        raise  # worth another try
    except PareError as error:
        logger.error("the findings of a preview could not be read", error=str(error))
        return None
    return [finding for finding in findings if opens(finding)]
