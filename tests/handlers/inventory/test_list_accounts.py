from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.list_accounts import Output, lambda_handler
from pare.aws.tables import PERIOD, RunsTable
from pare.errors import AwsCallError, EvidenceError, InventoryError, ThrottledError
from tests.handlers.fake_aws import BUCKET, HUB, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Inventory:monthly-1"
SECOND = EXECUTION.replace("monthly-1", "monthly-2")
WORK = "inventory/period=2026-11/work=monthly-1"
AT, BEGAN = "2026-11-01T06:00:00Z", "2026-11-01T06:00:03.5Z"
ORGANIZATION = {"bucket": BUCKET, "key": f"{WORK}/organization.json"}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(account_exclusions="000000000003,000000000009", time_zone="UTC")


@pytest.fixture(autouse=True)
def _organization(aws: FakeAws) -> None:
    accounts = [
        {"Id": f"{number:012d}", "Name": f"account-{number}", "Email": f"a{number}@x.io",
         "State": "SUSPENDED" if number == 2 else "ACTIVE"}
        for number in (4, 3, 2, 1)
    ]  # fmt: skip
    aws.answer("organizations:ListAccounts", {"Accounts": accounts})


def list_accounts(context: Any, execution: str = EXECUTION, **start: Any) -> Output:
    start = {"scheduled_at": AT, **start}
    output: Output = lambda_handler(
        {"input": start, "execution": execution, "started_at": BEGAN},  # type: ignore[typeddict-item]
        context,
    )
    return output


def holder_is(aws: FakeAws, status: str) -> None:
    """Let Step Functions say how any execution stands."""
    aws.mend("sfn:DescribeExecution")
    aws.answer(
        "sfn:DescribeExecution",
        {"executionArn": EXECUTION, "stateMachineArn": "a", "status": status,
         "startDate": datetime(2026, 11, 1, tzinfo=UTC)},
    )  # fmt: skip


def put_snapshot(
    evidence: EvidenceStore, period: str, accounts: Any = (), definition_version: int = 2
) -> ObjectRef:
    return evidence.put_json(
        f"inventory/period={period}/snapshot.json",
        {"definition_version": definition_version, "period": period, "accounts": list(accounts)},
    )


def test_the_manifest_lists_the_accounts_to_collect(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    output = list_accounts(context)

    assert output == {
        "period": "2026-11",
        "prefix": "inventory/period=2026-11",
        "work": WORK,
        "as_of": "2026-11-01T06:00:03.500Z",
        "is_first": True,
        "continues": False,
        "manifest": {"bucket": BUCKET, "key": f"{WORK}/manifest.json"},
        "organization": ORGANIZATION,
        "previous_snapshot": None,
        "account_count": 2,
        "counts": {"closed_account_count": 1, "excluded_account_count": 1},
    }
    assert evidence.get_json(output["manifest"]) == [
        {"account_id": f"00000000000{number}", "name": f"account-{number}", "state": "ACTIVE",
         "period": "2026-11", "work": WORK, "as_of": output["as_of"],
         "organization": ORGANIZATION, "previous": None, "is_new": False}
        for number in (1, 4)
    ]  # fmt: skip


def test_closed_and_excluded_accounts_are_left_out_and_still_of_the_organization(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    """A role that trusts one of them trusts nobody outside."""
    output = list_accounts(context)

    assert evidence.get_json(output["organization"]) == {
        "accounts": {
            "000000000001": {"name": "account-1", "state": "ACTIVE"},
            "000000000002": {"name": "account-2", "state": "SUSPENDED"},
            "000000000003": {"name": "account-3", "state": "ACTIVE"},
            "000000000004": {"name": "account-4", "state": "ACTIVE"},
        }
    }


@pytest.mark.parametrize(
    ("state", "is_listed"),
    [("ACTIVE", True), ("PENDING_CLOSURE", True), ("PENDING_ACTIVATION", True),
     ("SUSPENDED", False), ("CLOSED", False), ("SOMETHING_NEW", True)],
)  # fmt: skip
def test_an_account_is_passed_over_only_where_nobody_can_enter_it(
    evidence: EvidenceStore,
    tables: Any,
    context: Any,
    aws: FakeAws,
    state: str,
    is_listed: bool,
) -> None:
    aws.mend("organizations:ListAccounts")
    aws.answer(
        "organizations:ListAccounts",
        {"Accounts": [{"Id": "000000000007", "Name": "n", "State": state}]},
    )

    output = list_accounts(context)

    assert output["account_count"] == int(is_listed)
    assert output["counts"]["closed_account_count"] == int(not is_listed)


def test_without_exclusions_every_account_is_listed(
    evidence: EvidenceStore, tables: Any, context: Any, settings: Any
) -> None:
    settings(account_exclusions="")

    assert list_accounts(context)["account_count"] == 3


def test_last_months_rows_go_with_the_account(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    rows = {"bucket": BUCKET, "key": "rows"}
    known = {"period": "2026-08", "bucket": BUCKET, "key": "older"}
    put_snapshot(evidence, "2026-09", [{"account_id": "000000000001", "rows": None}])
    newest = put_snapshot(
        evidence,
        "2026-10",
        [{"account_id": "000000000001", "rows": rows},
         {"account_id": "000000000004", "rows": None, "known": known}],
    )  # fmt: skip
    put_snapshot(evidence, "2026-11")  # of this period, before it was wanted again
    put_snapshot(evidence, "2026-12")

    output = list_accounts(context)

    assert output["previous_snapshot"] == newest
    assert [each["previous"] for each in evidence.get_json(output["manifest"])] == [
        {"period": "2026-10", **rows},
        known,
    ]


def test_an_account_that_was_never_read_has_no_rows(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    put_snapshot(evidence, "2026-10", [{"account_id": "000000000001", "rows": None}])

    items = evidence.get_json(list_accounts(context)["manifest"])

    assert [each["previous"] for each in items] == [None, None]


def test_an_account_is_new_that_the_last_inventory_did_not_list(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    put_snapshot(evidence, "2026-10", [{"account_id": "000000000001", "rows": None}])

    items = evidence.get_json(list_accounts(context)["manifest"])

    assert {each["account_id"]: each["is_new"] for each in items} == {
        "000000000001": False,  # it was listed, and not read
        "000000000004": True,
    }


@pytest.mark.parametrize(
    ("period", "definition_version", "is_found"),
    [("2025-12", 2, True), ("2025-10", 2, True), ("2025-09", 2, False), ("2026-10", 3, True),
     ("2026-10", 1, False), ("2027-01", 2, False)],
)  # fmt: skip
def test_months_without_an_inventory_are_passed_over(
    evidence: EvidenceStore,
    tables: Any,
    context: Any,
    period: str,
    definition_version: int,
    is_found: bool,
) -> None:
    ref = put_snapshot(evidence, period, definition_version=definition_version)

    assert list_accounts(context)["previous_snapshot"] == (ref if is_found else None)


def test_a_damaged_snapshot_is_not_taken_for_none(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    put_snapshot(evidence, "2026-09")
    evidence.put_text("inventory/period=2026-10/snapshot.json", "{", "application/json")

    with pytest.raises(EvidenceError, match=r"period=2026-10/snapshot\.json is not JSON"):
        list_accounts(context)


def test_a_snapshot_we_may_not_read_is_not_taken_for_none(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws
) -> None:
    """As S3 says where the key's policy is in the way."""
    put_snapshot(evidence, "2026-10")
    aws.fail("s3:GetObject", "AccessDenied", 403)

    with pytest.raises(EvidenceError, match=r"period=2026-10/snapshot\.json: AccessDenied"):
        list_accounts(context)


def test_a_retried_step_says_the_same(evidence: EvidenceStore, tables: Any, context: Any) -> None:
    assert list_accounts(context) == list_accounts(context)


@pytest.mark.parametrize("status", ["RUNNING", "PENDING_REDRIVE"])
def test_a_second_start_of_a_period_does_nothing(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws, status: str
) -> None:
    first = list_accounts(context)
    holder_is(aws, status)

    second = list_accounts(context, SECOND)

    assert (second["is_first"], second["account_count"]) == (False, 0)
    assert second["manifest"] == first["manifest"], "what it names is there"
    assert len(evidence.get_json(first["manifest"])) == 2
    assert len(aws.called("organizations:ListAccounts")) == 1
    assert [call["executionArn"] for call in aws.called("sfn:DescribeExecution")] == [EXECUTION]


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", "TIMED_OUT", "SUCCEEDED"])
def test_the_work_of_an_execution_that_ended_is_gone_on_with(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws, status: str
) -> None:
    first = list_accounts(context)
    holder_is(aws, status)

    second = list_accounts(context, SECOND)
    again = list_accounts(context, SECOND)

    assert second == again == {**first, "continues": True}
    holder_is(aws, "RUNNING")
    assert not list_accounts(context, EXECUTION)["is_first"], "it is the other's now"


def test_a_period_that_is_done_is_done(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws
) -> None:
    list_accounts(context)
    RunsTable(tables, "Runs").finish(PERIOD, "2026-11", execution=EXECUTION)

    assert not list_accounts(context, SECOND)["is_first"]
    assert aws.called("sfn:DescribeExecution") == [], "nobody is asked"


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
        SECOND,
        scheduled_at="2026-12-01T06:00:00Z",
    )

    assert (later["period"], later["is_first"]) == ("2026-12", True)


@pytest.mark.parametrize("is_done", [True, False])
def test_a_person_may_want_a_period_anew(
    evidence: EvidenceStore, tables: Any, context: Any, is_done: bool
) -> None:
    first = list_accounts(context)
    if is_done:
        RunsTable(tables, "Runs").finish(PERIOD, "2026-11", execution=EXECUTION)

    output = list_accounts(context, SECOND, again=True)

    assert (output["is_first"], output["continues"]) == (True, False)
    assert output["work"] == "inventory/period=2026-11/work=monthly-2"
    assert output["work"] != first["work"], "an older result must not be taken for its own"
    assert output == list_accounts(context, SECOND, again=True), "a retried step says the same"


@pytest.mark.parametrize("again", [False, "yes", None])
def test_only_true_means_anew(
    evidence: EvidenceStore, tables: Any, context: Any, aws: FakeAws, again: Any
) -> None:
    list_accounts(context)
    holder_is(aws, "RUNNING")

    assert not list_accounts(context, SECOND, again=again)["is_first"]


@pytest.mark.parametrize("at", ["", "November", None, 202611, "2026-13-01T00:00:00Z"])
def test_an_input_that_names_no_time_is_refused(tables: Any, context: Any, at: Any) -> None:
    with pytest.raises(InventoryError, match="scheduled_at"):
        list_accounts(context, scheduled_at=at)

    assert tables.scan(TableName="Runs")["Count"] == 0, "no period was claimed"


def test_an_input_without_a_time_is_refused(context: Any) -> None:
    with pytest.raises(InventoryError, match="scheduled_at is None"):
        lambda_handler(
            {"input": {}, "execution": EXECUTION, "started_at": BEGAN},  # type: ignore[typeddict-item]
            context,
        )


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
