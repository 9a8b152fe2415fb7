"""Normalize finding: one shape for the three event families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdas.runtime import logger
from pare.findings.normalize import normalize

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.model import FindingJson


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> FindingJson:
    """Return the finding in an event; raises FindingParseError or UnknownFindingError."""
    finding = normalize(event)
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    logger.info("finding normalized", finding_type=finding.finding_type, status=finding.status)
    return finding.to_json()
