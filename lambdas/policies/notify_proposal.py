"""Notify proposal: tell people once, and machines, what is proposed or why nothing is.

Machines alone where people hear of it otherwise: of the many proposals of a whole account, as a
thousand mails are read by nobody, and of one that a finding asked for, with the finding's card.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.evidence_store import EvidenceStore
from pare.aws.tables import RunsTable
from pare.aws.topics import Topics
from pare.policy.message import proposal_message

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef


class Input(TypedDict):
    principal: Principal
    proposal: ObjectRef


class Output(TypedDict):
    told: bool


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str
    people_topic_arn: str
    machines_topic_arn: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether people were told now; a retried step does not tell them again."""
    settings = environment()
    principal, ref = event["principal"], event["proposal"]
    message = proposal_message(
        EvidenceStore(client("s3"), settings.evidence_bucket_name).get_json(ref),
        owner=principal["owner"],
        location=f"s3://{ref['bucket']}/{principal['prefix']}/",
        finding_id=principal["finding_id"],
    )
    topics = Topics(client("sns"), settings.people_topic_arn, settings.machines_topic_arn)
    if principal["batch"] or principal["finding_id"]:
        topics.tell_machines(message)
        return {"told": False}
    told = topics.tell_once(
        message,
        key=f"proposal#{principal['principal_arn']}#{principal['created_at']}",
        runs=RunsTable(client("dynamodb"), settings.runs_table_name),
        now=utc_now(),
    )
    logger.info("proposal told", principal_arn=principal["principal_arn"], told=told)
    return {"told": told}
