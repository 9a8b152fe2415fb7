"""Start policy generation: Access Analyzer's own job, in the principal's account."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.member_account import MemberRole
from pare.clock import parse_time
from pare.errors import TrailNotSupportedError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal


class Input(TypedDict):
    principal: Principal
    execution: str


class Job(TypedDict):
    """A policy generation under way."""

    job_id: str
    poll_count: int


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    access_role_arn_template: str
    trail_arn: str
    trail_made_by_control_tower: str
    window_days: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Job:
    """Return the job; raises AccessAnalyzerQuotaError, PolicyGenerationConflictError, …

    All Regions of the trail are read: global services log in one Region only, and which one it is
    differs by partition (facts §7).
    """
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"], account_id=principal["account_id"])
    if settings.trail_made_by_control_tower == "true":
        raise TrailNotSupportedError(
            f"the trail {settings.trail_arn} was made by Control Tower, which policy generation "
            "does not support"
        )
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    session = role.enter(
        client("sts"), principal["account_id"], session_name="pare-start-policy-generation"
    )
    analyzer = AccessAnalyzer(session.client("accessanalyzer"), principal["account_id"])
    # The start of the execution, not of this step: a client token stands for one request, and a
    # retried step must make the same one.
    end = parse_time(principal["created_at"]).replace(microsecond=0)
    # AWS accepts at most 90 days; a minute's margin keeps its clock and ours from differing.
    start = end - timedelta(days=int(settings.window_days)) + timedelta(minutes=1)
    job_id = analyzer.start_policy_generation(
        principal_arn=principal["principal_arn"],
        trail_arn=settings.trail_arn,
        regions=(),
        access_role_arn=settings.access_role_arn_template.format(
            account_id=principal["account_id"]
        ),
        start=start,
        end=end,
        client_token=hashlib.sha256(event["execution"].encode()).hexdigest(),
    )
    logger.info("policy generation started", job_id=job_id)
    return {"job_id": job_id, "poll_count": 0}
