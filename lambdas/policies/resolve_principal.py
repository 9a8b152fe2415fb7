"""Resolve principal: what a user or role is allowed today, and whether it may be narrowed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment
from pare.arns import parse_principal_arn
from pare.aws.evidence_store import EvidenceStore
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader
from pare.clock import format_time, parse_time
from pare.policy.current import may_be_narrowed, owner_of

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef


class Start(TypedDict):
    """The input of the policy workflow.

    ``batch``: the execution that starts it for many. Machines are told of each proposal, people are
    not.
    """

    principal_arn: str
    finding_id: NotRequired[str]
    batch: NotRequired[str]


class Input(TypedDict):
    input: Start
    started_at: str


class Principal(TypedDict):
    """What the later steps know of the principal; its policies lie in S3."""

    principal_arn: str
    account_id: str
    kind: str
    owner: str | None
    is_narrowable: bool
    created_at: str
    prefix: str
    finding_id: str | None
    batch: str | None
    current: ObjectRef


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str
    owner_tag_keys: str
    default_owner: str
    break_glass_tag: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Principal:
    """Return the principal; raises ArnParseError, PrincipalNotFoundError or MemberAccountError."""
    settings = environment()
    # A person may have written the input by hand.
    principal = parse_principal_arn(str(event["input"].get("principal_arn", "")))
    logger.append_keys(principal_arn=principal.arn, account_id=principal.account_id)
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    reader = iam_reader(
        principal.account_id, role=role, sts=client("sts"), purpose="resolve-principal"
    )
    current = reader.current_access(principal)
    created_at = format_time(parse_time(event["started_at"]))
    prefix = f"proposals/{principal.storage_prefix}/{created_at}"
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    narrowing = may_be_narrowed(
        current["kind"], current["tags"], break_glass_tag=settings.break_glass_tag
    )
    logger.info("principal resolved", kind=current["kind"], is_narrowable=narrowing.allowed)
    owner = owner_of(current["tags"], tuple(settings.owner_tag_keys.split(",")))
    return {
        "principal_arn": principal.arn,
        "account_id": principal.account_id,
        "kind": current["kind"],
        "owner": owner or settings.default_owner or None,
        "is_narrowable": narrowing.allowed,
        "created_at": created_at,
        "prefix": prefix,
        "finding_id": event["input"].get("finding_id"),
        "batch": event["input"].get("batch"),
        "current": store.put_json(f"{prefix}/current.json", current),
    }
