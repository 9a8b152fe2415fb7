from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lambdas.policies.release_lease import lambda_handler
from pare.aws.quota_ledger import QuotaLedger
from tests.handlers.fake_aws import MEMBER, REGION
from tests.handlers.policy_inputs import EXECUTION, principal


def test_the_accounts_turn_is_given_back_by_who_has_it(tables: Any, context: Any) -> None:
    ledger, now = QuotaLedger(tables, "Runs"), datetime.now(UTC)
    lease = timedelta(minutes=45)
    event: Any = {"principal": principal(), "execution": EXECUTION}
    assert lambda_handler(event, context) == {"released": False}
    ledger.reserve(MEMBER, REGION, EXECUTION, now=now, lease=lease)

    another: Any = {**event, "execution": "another"}
    assert lambda_handler(another, context) == {"released": False}
    assert lambda_handler(event, context) == {"released": True}
    assert lambda_handler(event, context) == {"released": False}, "a retried step"

    # What may have been started counts to the day.
    assert set(ledger.ledger(MEMBER, REGION).jobs) == {EXECUTION}
    assert ledger.reserve(MEMBER, REGION, "another", now=now, lease=lease).granted
