"""Start policy generation: Access Analyzer's own job, in the principal's account.

The account's turn is kept by a ledger (``pare.aws.quota_ledger``): ``Get generated policy`` gives
it back when the job has ended, and ``Release lease`` where either of them failed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.member_account import MemberRole
from pare.aws.quota_ledger import QuotaLedger
from pare.clock import parse_time
from pare.errors import (
    AccessAnalyzerBusyError,
    AccessAnalyzerQuotaError,
    AwsCallError,
    MemberAccountError,
    PareError,
    PolicyGenerationConflictError,
    TrailNotSupportedError,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.choose_route import Route
    from lambdas.policies.resolve_principal import Principal

# Jobs take two to three and a half minutes (facts §2): the first poll comes after three intervals.
# Each poll costs three transitions.
FIRST_POLL_AFTER = 3


class Input(TypedDict):
    principal: Principal
    route: Route
    execution: str


class Job(TypedDict):
    """A policy generation under way, and how long to wait before it is asked after."""

    job_id: str
    poll_count: int
    wait_seconds: int


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    access_role_arn_template: str
    trail_arn: str
    trail_made_by_control_tower: str
    window_days: str
    runs_table_name: str
    lease_minutes: str
    poll_seconds: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Job:
    """Return the job; raises AccessAnalyzerQuotaError, PolicyGenerationConflictError, …

    Where the route does not wait for its turn, both are an AccessAnalyzerBusyError instead, which
    the workflow does not retry.

    All Regions of the trail are read: global services log in one Region only, and which one it is
    differs by partition (facts §7).
    """
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"], account_id=principal["account_id"])
    # Account trails have one name, each in its own account.
    trail_arn = settings.trail_arn.replace("{account_id}", principal["account_id"])
    if settings.trail_made_by_control_tower == "true":
        raise TrailNotSupportedError(
            f"the trail {trail_arn} was made by Control Tower, which policy generation "
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
    if "first_date" in event["route"]:
        start = max(start, parse_time(event["route"]["first_date"]))
    turn = _Turn(analyzer, principal["account_id"], event["execution"], settings)
    try:
        turn.take()
        try:
            job_id = analyzer.start_policy_generation(
                principal_arn=principal["principal_arn"],
                trail_arn=trail_arn,
                regions=(),
                access_role_arn=settings.access_role_arn_template.format(
                    account_id=principal["account_id"]
                ),
                start=start,
                end=end,
                client_token=hashlib.sha256(event["execution"].encode()).hexdigest(),
            )
        except _REFUSALS as error:
            turn.give_back(error)
            raise
    except (AccessAnalyzerQuotaError, PolicyGenerationConflictError) as error:
        if event["route"]["waits"]:
            raise
        raise AccessAnalyzerBusyError(str(error)) from error
    logger.info("policy generation started", job_id=job_id)
    wait_seconds = FIRST_POLL_AFTER * int(settings.poll_seconds)
    return {"job_id": job_id, "poll_count": 0, "wait_seconds": wait_seconds}


# With these AWS has said that no job was started. After others, such as a lost answer, one may run:
# the lease stays for the retry.
_REFUSALS = (
    AccessAnalyzerQuotaError, PolicyGenerationConflictError, MemberAccountError, AwsCallError,
)  # fmt: skip


class _Turn:
    """The account's turn to generate a policy, for one execution."""

    def __init__(
        self, analyzer: AccessAnalyzer, account_id: str, execution: str, settings: Environment
    ) -> None:
        self._analyzer = analyzer
        self._dynamodb = client("dynamodb")
        self._ledger = QuotaLedger(self._dynamodb, settings.runs_table_name)
        self._key = (account_id, self._dynamodb.meta.region_name)
        self._execution = execution
        self._lease = timedelta(minutes=int(settings.lease_minutes))

    def take(self) -> None:
        """Take the turn; raises AccessAnalyzerQuotaError where it is another's, or none is left."""
        turn = self._ledger.reserve(*self._key, self._execution, now=utc_now(), lease=self._lease)
        if not turn.granted:
            raise AccessAnalyzerQuotaError(turn.text())

    def give_back(self, refusal: PareError) -> None:
        """Give the turn back, because AWS started no job; note a day that is used up."""
        self._ledger.release(*self._key, self._execution, now=utc_now(), uncounted=True)
        if isinstance(refusal, AccessAnalyzerQuotaError) and self._runs_none():
            self._ledger.mark_exhausted(*self._key, now=utc_now())

    def _runs_none(self) -> bool:
        """Whether no job of anybody runs, so that it must be the day that is used up.

        AWS has one error for both quotas. Where it does not tell, False: then nothing is noted.
        """
        try:
            return not self._analyzer.has_running_policy_generation()
        except PareError as error:
            logger.warning("running policy generations unknown", error=str(error))
            return False
