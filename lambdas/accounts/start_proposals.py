"""Start proposals: the policy workflow for the next few principals of an account.

A few at a time, because all of them ask the IAM of one account, whose limits nobody can raise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.executions import start_once

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.accounts.list_principals import Output as Listed

# Started in one step; the workflow waits before the next.
AT_ONCE = 10


class Input(TypedDict):
    listed: Listed
    state: dict[str, Any]  # ``started`` of the step before, if there was one
    execution: str


class Output(TypedDict):
    """How far the list is done, and the counts of the run so far."""

    position: int
    has_more: bool
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    policy_workflow_arn: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return how many were started; a retried step starts none twice."""
    settings = environment()
    before = event["state"].get("started")
    if not isinstance(before, dict):
        before = {"position": 0, "counts": {}}
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    principals: list[str] = store.get_json(event["listed"]["principals"])["principals"]
    position = before["position"]
    some = principals[position : position + AT_ONCE]
    for arn in some:
        start_once(
            client("stepfunctions"),
            settings.policy_workflow_arn,
            {"principal_arn": arn, "batch": event["execution"]},
        )
    position += len(some)
    logger.info("proposals started", position=position, of=len(principals))
    return {
        "position": position,
        "has_more": position < len(principals),
        "counts": {**event["listed"]["counts"], "started": position},
    }
