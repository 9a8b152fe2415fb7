"""Enrich finding: the account's name, the owner, and what exactly is unused.

A finding that cannot be enriched is still a finding: what is missing is named in ``unknown``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.member_account import MemberRole
from pare.aws.organization import Organization
from pare.aws.principals import principal_tags
from pare.findings.enrich import enrich
from pare.findings.model import Finding, FindingJson

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


class Input(TypedDict):
    finding: FindingJson


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    owner_tag_keys: str
    default_owner: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> FindingJson:
    """Return the finding with account name, owner and unused services where they could be read."""
    settings = environment()
    finding = Finding.from_json(event["finding"])
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    enriched = enrich(
        finding,
        account_name=Organization(client("organizations")).account_name,
        details=AccessAnalyzer(client("accessanalyzer", finding.region)).finding_details,
        tags=lambda arn: principal_tags(arn, role=role, sts=client("sts")),
        owner_tag_keys=tuple(settings.owner_tag_keys.split(",")),
        default_owner=settings.default_owner or None,
    )
    logger.info("finding enriched", unknown=list(enriched.unknown))
    return enriched.to_json()
