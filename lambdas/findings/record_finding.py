"""Record finding: its newest state, its card, and what people should hear of it, and when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.findings_table import CardsTable, FindingsTable, RecordedJson
from pare.aws.tables import RunsTable
from pare.findings.model import Finding, FindingJson
from pare.findings.severity import severity_of
from pare.runs import FailureJson, failure_text

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.terms import FindingTermsJson

# One proposal for a principal in so many days, whatever its findings: a kind of claim.
COOL_DOWN = "policy-cool-down"
_DAY_SECONDS = 86_400
_REASON_LIMIT = 500


class TakenJson(FindingJson):
    """A finding; ``enrich_failure``: why it could not be enriched, so that it is as it came."""

    enrich_failure: NotRequired[FailureJson]


class Input(TypedDict):
    finding: TakenJson
    execution: str
    terms: FindingTermsJson


class Output(RecordedJson):
    start_policy: bool
    policy_execution_name: str
    unknown: list[str]  # that it could not be enriched, and why


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
    """Return what changed, what to tell and when, and what else should follow.

    A finding that could not be enriched is recorded by what its event says: it is judged by that,
    which is never milder, and says what is not known.
    """
    settings, execution, now = environment(), event["execution"], utc_now()
    unknown = _not_enriched(event["finding"])
    finding = _judged(Finding.from_json(event["finding"]), unknown)
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
        unknown=unknown,
    )
    count("Findings", news=recorded["news"], finding_type=finding.finding_type)
    return {
        **recorded,
        "start_policy": start_policy,
        "policy_execution_name": policy_execution_name(finding),
        "unknown": unknown,
    }


def _not_enriched(taken: TakenJson) -> list[str]:
    failure = taken.get("enrich_failure")
    if failure is None:
        return []
    error, message = failure_text(failure)
    return [f"enrich: {error}: {message}"[:_REASON_LIMIT]]


def _judged(finding: Finding, unknown: list[str]) -> Finding:
    """Return the finding with a severity, and with what is unknown of it."""
    added = tuple(each for each in unknown if each not in finding.unknown)
    finding = replace(finding, unknown=finding.unknown + added)
    if finding.severity is not None:
        return finding
    severity, rule = severity_of(finding)
    return replace(finding, severity=severity, severity_rule=rule)


def policy_execution_name(finding: Finding) -> str:
    """Return the name of the policy execution for this state of a finding; the same again for it.

    A second start under the same name is harmless. At most 80 characters (facts §6).
    """
    digest = hashlib.sha256(f"{finding.finding_id} {finding.updated_at}".encode()).hexdigest()
    return f"finding-{digest[:40]}"
