"""Release lease: after a policy generation that failed, the account's turn is given back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.quota_ledger import QuotaLedger

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal


class Input(TypedDict):
    principal: Principal
    execution: str


class Output(TypedDict):
    released: bool


@dataclass(frozen=True, slots=True)
class Environment:
    runs_table_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return whether the execution still had the turn; a job that may run counts to the day."""
    account_id = event["principal"]["account_id"]
    dynamodb = client("dynamodb")
    released = QuotaLedger(dynamodb, environment().runs_table_name).release(
        account_id, dynamodb.meta.region_name, event["execution"], now=utc_now()
    )
    logger.info("lease released", account_id=account_id, released=released)
    return {"released": released}
