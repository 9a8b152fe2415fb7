"""Enrich finding: whose it is, who it is open to, what that allows, and how bad that is.

A finding that cannot be enriched is still a finding: what is missing is named in ``unknown``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.arns import parse_principal_arn, region_of
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.account_contact import account_contact
from pare.aws.iam_reader import IamReader
from pare.aws.member_account import MemberRole
from pare.aws.organization import Organization
from pare.aws.resource_tags import resource_tags
from pare.findings import fields
from pare.findings.enrich import enrich
from pare.findings.model import Finding, FindingJson
from pare.policy.catalogue import load_catalogue

if TYPE_CHECKING:
    import boto3
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson

# What is the same for all findings of an account is asked once in a while, not for each of them:
# in a flood, a function that is still warm reads it from memory. Each key ends with the slot of
# time it was asked in; a session in a member account is good for an hour.
_SLOT_SECONDS = 900
_ACCOUNTS, _SESSIONS, _CLIENTS = 2_048, 16, 16


class Input(TypedDict):
    finding: FindingJson
    terms: FindingTermsJson


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> FindingJson:
    """Return the finding with all that could be read about it."""
    finding = Finding.from_json(event["finding"])
    logger.append_keys(finding_id=finding.finding_id, account_id=finding.account_id)
    enriched = enrich(
        finding, readers=_Readers(_slot()), terms=event["terms"], catalogue=load_catalogue()
    )
    logger.info(
        "finding enriched",
        severity=enriched.severity,
        severity_rule=enriched.severity_rule,
        exposure=enriched.exposure,
        unknown=list(enriched.unknown),
    )
    return enriched.to_json()


def _slot() -> int:
    return int(utc_now().timestamp() // _SLOT_SECONDS)


@dataclass(frozen=True, slots=True)
class _Readers:
    """Reads AWS: the analyzer and Organizations from the hub, the rest in the member account."""

    slot: int

    def account_name(self, account_id: str) -> str | None:
        return _account_name(account_id, self.slot)

    def details(self, finding: Finding) -> dict[str, Any]:
        analyzer = AccessAnalyzer(client("accessanalyzer", finding.region))
        return analyzer.finding_details(finding.analyzer_arn, finding.finding_id)

    def analyzer(self, finding: Finding) -> AnalyzerJson | None:
        # Asked for each: what is deleted is judged by whether it is there now.
        return AccessAnalyzer(client("accessanalyzer", finding.region)).analyzer(
            finding.analyzer_arn
        )

    def tags(self, finding: Finding) -> dict[str, str]:
        if finding.resource_type in {"AWS::IAM::Role", "AWS::IAM::User"}:
            principal = parse_principal_arn(finding.resource)
            iam = _member_client("iam", None, principal.account_id, self.slot)
            return IamReader(iam, principal.account_id).tags(principal)
        # A bucket's ARN names no Region; an analyzer sees the buckets of its own.
        region = fields.region(region_of(finding.resource) or finding.region)
        tagging = _member_client(
            "resourcegroupstaggingapi", region, finding.account_id, self.slot
        )  # fmt: skip
        return resource_tags(tagging, finding.resource, account_id=finding.account_id)

    def contact(self, account_id: str) -> str | None:
        return _contact(account_id, self.slot)


@lru_cache(maxsize=_ACCOUNTS)
def _account_name(account_id: str, slot: int) -> str | None:
    return Organization(client("organizations")).account_name(account_id)


@lru_cache(maxsize=_ACCOUNTS)
def _contact(account_id: str, slot: int) -> str | None:
    found = account_contact(
        _member_client("account", None, account_id, slot), account_id=account_id
    )  # fmt: skip
    return found.email if found else None


@lru_cache(maxsize=_CLIENTS)
def _member_client(service: str, region: str | None, account_id: str, slot: int) -> Any:
    session = _session(account_id, slot)
    return session.client(service, region_name=region)  # type: ignore[call-overload]


@lru_cache(maxsize=_SESSIONS)
def _session(account_id: str, slot: int) -> boto3.Session:
    settings = environment()
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    return role.enter(client("sts"), account_id, session_name="pare-enrich-finding")
