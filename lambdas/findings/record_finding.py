"""Record finding: its newest state, its card, and what people should hear of it, and when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.findings_table import CardsTable, FindingsTable, RecordedJson
from pare.aws.tables import RunsTable
from pare.findings.model import Finding, FindingJson

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.terms import FindingTermsJson

# One proposal for a principal in so many days, whatever its findings: a kind of claim.
COOL_DOWN = "policy-cool-down"
_DAY_SECONDS = 86_400


class Input(TypedDict):
    finding: FindingJson
    execution: str
    terms: FindingTermsJson


class Output(RecordedJson):
    start_policy: bool
    policy_execution_name: str


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    cards_table_name: str
    runs_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return what changed, what to tell and when, and what else should follow."""
    settings, execution, now = environment(), event["execution"], utc_now()
    finding = Finding.from_json(event["finding"])
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    dynamodb = client("dynamodb")
    recorded = FindingsTable(dynamodb, settings.findings_table_name).record(
        finding,
        cards=CardsTable(dynamodb, settings.cards_table_name),
        execution=execution,
        now=now,
        terms=event["terms"],
    )
    start_policy = (
        recorded["news"] in {"new", "reopened", "changed"}
        and finding.is_about_unused_access_of_an_entity
        and recorded["exemption"] is None
        and RunsTable(dynamodb, settings.runs_table_name).claim_for(
            COOL_DOWN,
            finding.resource,
            execution=execution,
            now=now,
            seconds=event["terms"]["cool_down_days"] * _DAY_SECONDS,
        )
    )
    logger.info(
        "finding recorded",
        news=recorded["news"],
        card_id=recorded["card_id"],
        card_news=recorded["card_news"],
        urgency=recorded["urgency"],
        start_policy=start_policy,
    )
    count("Findings", news=recorded["news"], finding_type=finding.finding_type)
    return {
        **recorded,
        "start_policy": start_policy,
        "policy_execution_name": policy_execution_name(finding),
    }


def policy_execution_name(finding: Finding) -> str:
    """Return the name of the policy execution for this state of a finding; the same again for it.

    A second start under the same name is harmless. At most 80 characters (facts §6).
    """
    digest = hashlib.sha256(f"{finding.finding_id} {finding.updated_at}".encode()).hexdigest()
    return f"finding-{digest[:40]}"
