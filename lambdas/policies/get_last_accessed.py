"""Get last accessed: IAM's own record of use, generated and polled in one session.

The job belongs to the session that started it (facts §3), so this stays one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.evidence import LastAccessedOutcomeJson

# Left for storing the result and answering.
MARGIN_SECONDS = 20


class Input(TypedDict):
    principal: Principal


class Output(TypedDict):
    status: str
    outcome: ObjectRef


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the last accessed information lies; raises LastAccessedError."""
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"])
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    reader = iam_reader(
        principal["account_id"], role=role, sts=client("sts"), purpose="get-last-accessed"
    )
    services = reader.last_accessed(
        principal["principal_arn"],
        seconds=context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS,
    )
    outcome: LastAccessedOutcomeJson = {
        "outcome": "COMPLETED",
        "message": "",
        "services": services,
    }
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    logger.info("last accessed read", service_count=len(services))
    return {
        "status": "COMPLETED",
        "outcome": store.put_json(f"{principal['prefix']}/last_accessed.json", outcome),
    }
