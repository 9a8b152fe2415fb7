from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.list_accounts import Output, lambda_handler
from lambdas.runtime import utc_now
from pare.aws.tables import CLAIM_HOURS, PERIOD, RunsTable
from pare.errors import AwsCallError, InventoryError, ThrottledError
from tests.handlers.fake_aws import BUCKET, HUB, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Inventory:monthly-1"
PREFIX = "inventory/period=2026-11/accounts/monthly-1"
AT = "2026-11-01T06:00:00Z"


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(account_exclusions="000000000003,000000000009", time_zone="UTC")


@pytest.fixture(autouse=True)
def _organization(aws: FakeAws) -> None:
    accounts = [
        {"Id": f"{number:012d}", "Name": f"account-{number}", "Email": f"a{number}@x.io",
         "State": "SUSPENDED" if number == 2 else "ACTIVE"}
        for number in (3, 2, 1)
    ]  # fmt: skip
    aws.answer("organizations:ListAccounts", {"Accounts": accounts})


def list_accounts(context: Any, execution: str = EXECUTION, **start: Any) -> Output:
    start = {"scheduled_at": AT, **start}
    output: Output = lambda_handler(
        {"input": start, "execution": execution},  # type: ignore[typeddict-item]
        context,
    )
    return output


def test_the_manifest_lists_the_accounts_to_collect(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    output = list_accounts(context)

    assert output == {
        "period": "2026-11",
        "prefix": "inventory/period=2026-11",
        "accounts_prefix": PREFIX,
        "is_first": True,
        "manifest": {"bucket": BUCKET, "key": f"{PREFIX}/manifest.json"},
        "account_count": 2,
    }
    assert evidence.get_json(output["manifest"]) == [
        {"account_id": "000000000001", "name": "account-1", "email": "a1@x.io",
         "state": "ACTIVE", "period": "2026-11", "prefix": PREFIX},
        {"account_id": "000000000002", "name": "account-2", "email": "a2@x.io",
         "state": "SUSPENDED", "period": "2026-11", "prefix": PREFIX},
    ]  # fmt: skip


def test_without_exclusions_every_account_is_listed(
    evidence: EvidenceStore, tables: Any, context: Any, settings: Any
) -> None:
    settings(account_exclusions="")

    assert list_accounts(context)["account_count"] == 3


def test_a_retried_step_says_the_same(evidence: EvidenceStore, tables: Any, context: Any) -> None:
    assert list_accounts(context) == list_accounts(context)


def test_a_second_start_of_a_period_does_nothing(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws
) -> None:
    first = list_accounts(context)

    second = list_accounts(context, EXECUTION.replace("monthly-1", "monthly-2"))

    assert (second["is_first"], second["account_count"]) == (False, 0)
    assert second["manifest"] != first["manifest"], "the first one's manifest stays"
    assert len(evidence.get_json(first["manifest"])) == 2
    assert len(aws.called("organizations:ListAccounts")) == 1


@pytest.mark.parametrize(("is_done", "is_first"), [(False, True), (True, False)])
def test_a_period_that_failed_is_collected_by_a_later_start(
    evidence: EvidenceStore,
    tables: Any,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
    is_done: bool,
    is_first: bool,
) -> None:
    list_accounts(context)
    if is_done:
        RunsTable(tables, "Runs").finish(PERIOD, "2026-11")
    later = utc_now() + timedelta(hours=CLAIM_HOURS)
    monkeypatch.setattr("lambdas.inventory.list_accounts.utc_now", lambda: later)

    output = list_accounts(context, EXECUTION.replace("monthly-1", "monthly-2"))

    assert output["is_first"] is is_first


@pytest.mark.parametrize(
    ("zone", "at", "period"),
    [
        ("Asia/Tokyo", "2026-10-31T21:00:00Z", "2026-11"),
        ("Asia/Tokyo", "2026-10-31T14:59:59Z", "2026-10"),
        ("America/New_York", "2026-11-01T03:00:00Z", "2026-10"),
        ("UTC", "2026-10-31T21:00:00Z", "2026-10"),
    ],
)
def test_a_period_is_the_month_where_the_schedule_is(
    evidence: EvidenceStore,
    tables: Any,
    context: Any,
    settings: Any,
    zone: str,
    at: str,
    period: str,
) -> None:
    settings(time_zone=zone)

    assert list_accounts(context, scheduled_at=at)["period"] == period


def test_a_month_no_calendar_has_is_refused(tables: Any, context: Any, settings: Any) -> None:
    settings(time_zone="Asia/Tokyo")

    with pytest.raises(InventoryError, match="scheduled_at"):
        list_accounts(context, scheduled_at="9999-12-31T23:00:00Z")


def test_the_next_period_is_another(evidence: EvidenceStore, tables: Any, context: Any) -> None:
    list_accounts(context)

    later = list_accounts(
        context,
        EXECUTION.replace("monthly-1", "monthly-2"),
        scheduled_at="2026-12-01T06:00:00Z",
    )

    assert (later["period"], later["is_first"]) == ("2026-12", True)


@pytest.mark.parametrize(("again", "is_first"), [(True, True), (False, False), ("yes", False)])
def test_a_person_may_want_a_period_anew(
    evidence: EvidenceStore, tables: Any, context: Any, again: Any, is_first: bool
) -> None:
    list_accounts(context)

    output = list_accounts(context, EXECUTION.replace("monthly-1", "by-hand"), again=again)

    assert output["is_first"] is is_first


@pytest.mark.parametrize("at", ["", "November", None, 202611, "2026-13-01T00:00:00Z"])
def test_an_input_that_names_no_time_is_refused(tables: Any, context: Any, at: Any) -> None:
    with pytest.raises(InventoryError, match="scheduled_at"):
        list_accounts(context, scheduled_at=at)

    assert tables.scan(TableName="Runs")["Count"] == 0, "no period was claimed"


def test_an_input_without_a_time_is_refused(context: Any) -> None:
    with pytest.raises(InventoryError, match="scheduled_at is None"):
        lambda_handler({"input": {}, "execution": EXECUTION}, context)  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("code", "error"),
    [("AccessDeniedException", AwsCallError), ("TooManyRequestsException", ThrottledError)],
)
def test_an_organization_that_cannot_be_read_is_an_error_and_the_retry_goes_on(
    evidence: EvidenceStore,
    tables: Any,
    context: Any,
    aws: FakeAws,
    code: str,
    error: type[Exception],
) -> None:
    aws.mend("organizations:ListAccounts")
    aws.fail("organizations:ListAccounts", code, times=1)
    aws.answer("organizations:ListAccounts", {"Accounts": []})

    with pytest.raises(error):
        list_accounts(context)

    assert list_accounts(context)["is_first"], "the claim is still its own"
