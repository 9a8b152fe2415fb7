"""Normalize finding: what an event is about: a finding, a preview, a call, the doctor's test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambdas.runtime import logger, utc_now
from pare.findings.normalize import normalize

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.normalize import NormalizedJson


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> NormalizedJson:
    """Return what an event is about; raises FindingParseError or UnknownFindingError."""
    normalized = normalize(event, utc_now())
    if finding := normalized["finding"]:
        logger.append_keys(finding_id=finding["finding_id"], account_id=finding["account_id"])
    logger.info("event normalized", kind=normalized["kind"])
    return normalized
