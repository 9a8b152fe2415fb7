"""Archive finding: an access that is meant is archived where it was found, and it is noted why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.findings.model import Finding, FindingJson

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.card import ExemptionJson


class Input(TypedDict):
    finding: FindingJson
    exemption: ExemptionJson


class Output(TypedDict):
    archived: bool  # at the analyzer; False: it has the finding no more, or it is our own


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    cards_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether the analyzer has it archived now; done again, nothing changes."""
    settings = environment()
    finding, exemption = Finding.from_json(event["finding"]), event["exemption"]
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    archived = False
    if finding.source == "access-analyzer":
        analyzer = AccessAnalyzer(client("accessanalyzer", finding.region))
        gone = analyzer.update_findings(finding.analyzer_arn, [finding.finding_id], "ARCHIVED")
        archived = not gone
    dynamodb = client("dynamodb")
    FindingsTable(dynamodb, settings.findings_table_name).set_archived(
        finding.finding_id,
        {
            "by": exemption["by"],
            "how": "exemption",
            "reason": exemption["reason"],
            "at": exemption["at"],
            "expires": exemption["expires"],
        },
        cards=CardsTable(dynamodb, settings.cards_table_name),
        now=utc_now(),
    )
    logger.info("finding archived", at_the_analyzer=archived, by=exemption["by"])
    return {"archived": archived}
