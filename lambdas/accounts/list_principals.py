"""List principals: the users and roles of an account for which a policy may be proposed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment
from pare.arns import parse_principal_arn
from pare.aws.evidence_store import EvidenceStore
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader
from pare.errors import ArnParseError
from pare.policy.current import kind_of, may_be_narrowed

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef

_ACCOUNT_ID = re.compile(r"[0-9]{12}")


class Start(TypedDict):
    """The input of the account workflow."""

    account_id: str


class Input(TypedDict):
    input: Start
    execution: str


class Output(TypedDict):
    """Where the list lies: ``{"principals": [ARN, …], "skipped": {ARN: why, …}}``."""

    account_id: str
    principals: ObjectRef
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str
    break_glass_tag: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the account's principals lie; raises ArnParseError or MemberAccountError.

    From one reading of the whole account, not call by call: it has the tags too.
    """
    settings = environment()
    account_id = str(event["input"].get("account_id"))  # a person may have written the input
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise ArnParseError(f"account_id is {account_id!r}, not an account id of 12 digits")
    logger.append_keys(account_id=account_id)
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    reader = iam_reader(account_id, role=role, sts=client("sts"), purpose="list-principals")
    principals: list[str] = []
    skipped: dict[str, str] = {}
    for page in reader.authorization_details(("User", "Role")):
        for entity in (*page.get("UserDetailList", ()), *page.get("RoleDetailList", ())):
            why_not = _why_not(entity, settings.break_glass_tag)
            if why_not:
                skipped[entity["Arn"]] = why_not
            else:
                principals.append(entity["Arn"])
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    name = event["execution"].rpartition(":")[2]
    logger.info("principals listed", count=len(principals), skipped=len(skipped))
    return {
        "account_id": account_id,
        "principals": store.put_json(
            f"runs/account/{name}/principals.json",
            {"principals": sorted(principals), "skipped": skipped},
        ),
        "counts": {"principals": len(principals), "skipped": len(skipped)},
    }


def _why_not(entity: dict[str, Any], break_glass_tag: str) -> str:
    """Return why no policy may be proposed for a user or role; empty where it may."""
    tags = {tag["Key"]: tag["Value"] for tag in entity.get("Tags", [])}
    kind = kind_of(parse_principal_arn(entity["Arn"]))
    return may_be_narrowed(kind, tags, break_glass_tag=break_glass_tag).reason
