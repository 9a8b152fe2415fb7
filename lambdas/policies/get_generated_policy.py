"""Get generated policy: how Access Analyzer's job stands, and its policies once it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.evidence_store import EvidenceStore
from pare.aws.member_account import MemberRole
from pare.aws.quota_ledger import QuotaLedger
from pare.errors import PolicyGenerationTimeoutError
from pare.policy.evidence import generation_outcome

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from lambdas.policies.start_policy_generation import Job
    from pare.object_ref import ObjectRef


class Input(TypedDict):
    principal: Principal
    job: Job
    execution: str


class Output(TypedDict):
    """The job, its status as AWS names it, and where the outcome lies once it has ended."""

    job_id: str
    poll_count: int
    wait_seconds: int
    status: str
    outcome: NotRequired[ObjectRef]


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str
    runs_table_name: str
    max_polls: str
    poll_seconds: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the job's state; raises PolicyGenerationTimeoutError when its polls are used up.

    A job that hangs is cancelled, because it blocks every other one of its account (facts §2). The
    account's turn is given back when the job has ended, however it ended.
    """
    settings = environment()
    principal, job = event["principal"], event["job"]
    logger.append_keys(principal_arn=principal["principal_arn"], job_id=job["job_id"])
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    session = role.enter(
        client("sts"), principal["account_id"], session_name="pare-get-generated-policy"
    )
    analyzer = AccessAnalyzer(session.client("accessanalyzer"), principal["account_id"])
    generated = analyzer.get_generated_policy(job["job_id"])
    output: Output = {
        "job_id": job["job_id"],
        "poll_count": job["poll_count"] + 1,
        "wait_seconds": int(settings.poll_seconds),
        "status": generated["status"],
    }
    poll_count = output["poll_count"]
    logger.info("policy generation polled", status=generated["status"], poll_count=poll_count)
    if generated["status"] != "IN_PROGRESS":
        store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
        output["outcome"] = store.put_json(
            f"{principal['prefix']}/policy_generation.json", generation_outcome(generated)
        )
    elif poll_count < int(settings.max_polls):
        return output
    else:
        analyzer.cancel_policy_generation(job["job_id"])
    dynamodb = client("dynamodb")
    QuotaLedger(dynamodb, settings.runs_table_name).release(
        principal["account_id"], dynamodb.meta.region_name, event["execution"], now=utc_now()
    )
    if "outcome" not in output:
        raise PolicyGenerationTimeoutError(
            f"policy generation {job['job_id']} was still running after {poll_count} polls "
            "and was cancelled"
        )
    return output
