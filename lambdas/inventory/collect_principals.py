"""Collect principals: every user and role of one account.

An account that cannot be read is an unknown account in the snapshot, not a failed run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader
from pare.aws.tables import PrincipalsTable
from pare.errors import MemberAccountError
from pare.inventory.snapshot import principal_rows

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.inventory.snapshot import AccountResultJson


class Input(TypedDict):
    """An account of the manifest."""

    account_id: str
    name: str
    state: str
    period: str
    prefix: str


class Output(TypedDict):
    account_id: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    member_role_arn_template: str
    member_external_id: str
    evidence_bucket_name: str
    principals_table_name: str
    owner_tag_keys: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Write the account's rows and how it went; raises only what is worth a retry."""
    settings = environment()
    account_id, prefix = event["account_id"], event["prefix"]
    logger.append_keys(account_id=account_id)
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    role = MemberRole(settings.member_role_arn_template, settings.member_external_id)
    result: AccountResultJson = {
        "account_id": account_id,
        "name": event["name"],
        "principal_count": 0,
        "error": None,
        "message": None,
        "rows": None,
    }
    try:
        reader = iam_reader(account_id, role=role, sts=client("sts"), purpose="collect-principals")
        rows = principal_rows(
            reader.authorization_details(),
            account_id=account_id,
            owner_tag_keys=tuple(settings.owner_tag_keys.split(",")),
        )
    except MemberAccountError as error:
        result |= {"error": type(error).__name__, "message": f"{event['state']}: {error}"}
    else:
        PrincipalsTable(client("dynamodb"), settings.principals_table_name).put_all(
            {**row, "period": event["period"]} for row in rows
        )
        result |= {
            "principal_count": len(rows),
            "rows": store.put_ndjson_gz(f"{prefix}/{account_id}.ndjson.gz", rows),
        }
    store.put_json(f"{prefix}/{account_id}.json", result)
    logger.info("principals collected", count=result["principal_count"], error=result["error"])
    return {"account_id": account_id, "error": result["error"]}
