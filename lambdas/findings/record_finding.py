"""Record finding: one item a finding, newest state, and whether people should hear of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.tables import FindingsTable
from pare.clock import format_time
from pare.findings.model import Finding, FindingJson

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.state import News


class Input(TypedDict):
    finding: FindingJson
    execution: str


class Output(TypedDict):
    news: News
    start_policy: bool
    policy_execution_name: str


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return what changed, and whether the policy workflow should start for the resource."""
    finding = Finding.from_json(event["finding"])
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    table = FindingsTable(client("dynamodb"), environment().findings_table_name)
    news = table.record(finding, execution=event["execution"], recorded_at=format_time(utc_now()))
    logger.info("finding recorded", news=news)
    count("Findings", news=news, finding_type=finding.finding_type)
    return {
        "news": news,
        "start_policy": news in {"new", "reopened", "changed"}
        and finding.is_about_unused_access_of_an_entity,
        "policy_execution_name": policy_execution_name(finding),
    }


def policy_execution_name(finding: Finding) -> str:
    """Return the name of the policy execution for this state of a finding; the same again for it.

    A second start under the same name is harmless. At most 80 characters (facts §6).
    """
    digest = hashlib.sha256(f"{finding.finding_id} {finding.updated_at}".encode()).hexdigest()
    return f"finding-{digest[:40]}"
