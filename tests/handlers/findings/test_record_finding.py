from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings.record_finding import COOL_DOWN, Output, lambda_handler, policy_execution_name
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.tables import RunsTable, from_item
from pare.clock import parse_time
from pare.errors import AwsCallError, ThrottledError
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.findings.severity import severity_of
from tests.finding_terms import finding_terms
from tests.recorded import FINDINGS, finding

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

LATE = "2026-11-22T09:00:00Z"


def record(found: Finding, context: Any, execution: str = "run-1", **terms: Any) -> Output:
    output: Output = lambda_handler(
        {"finding": found.to_json(), "execution": execution, "terms": finding_terms(**terms)},
        context,
    )
    return output


def test_a_new_finding_is_recorded_with_its_card_and_asks_for_a_policy(
    tables: Any, context: Any
) -> None:
    found = finding(severity="low")
    card_id = card_id_of(found.account_id, found.resource)

    assert record(found, context) == {
        "news": "new",
        "card_news": "first_sight",
        "urgency": "digest",
        "notify_at": "",
        "notification_name": "",
        "should_archive": False,
        "exemption": None,
        "card_id": card_id,
        "start_policy": True,
        "policy_execution_name": policy_execution_name(found),
        "unknown": [],
    }
    item = FindingsTable(tables, "Findings").get(found.finding_id)
    assert item is not None
    assert item["finding"] == found.to_json()
    assert item["recorded_by"] == "run-1"
    card = CardsTable(tables, "Cards").get(card_id)
    assert card is not None
    assert card["open"].keys() == {found.finding_id}


def test_a_grave_finding_is_told_by_the_round_of_a_minute_after_it_settled(
    tables: Any, context: Any
) -> None:
    output = record(finding("external_access", severity="high"), context, settle_seconds=90)

    item = FindingsTable(tables, "Findings").get(finding("external_access").finding_id)
    assert item is not None
    settled = parse_time(output["notify_at"]) - parse_time(item["recorded_at"])
    assert 90 <= settled.total_seconds() <= 150
    assert output["notify_at"].endswith(":00Z")
    assert output["notification_name"] == f"news-{output['notify_at'][:16].replace(':', '-')}"
    assert len(output["notification_name"]) <= 80


def test_a_finding_that_could_not_be_enriched_is_recorded_by_what_its_event_says(
    tables: Any, context: Any
) -> None:
    found = finding("external_access", unknown=("something else",))
    cause = json.dumps({"errorType": "ThrottledError", "errorMessage": "tag:GetResources"})
    taken: Any = {
        **found.to_json(), "enrich_failure": {"Error": "ThrottledError", "Cause": cause},
    }  # fmt: skip
    event: Any = {"finding": taken, "execution": "run-1", "terms": finding_terms()}

    output = lambda_handler(event, context)

    note = "enrich: ThrottledError: tag:GetResources"
    assert (output["news"], output["card_news"], output["urgency"]) == ("new", "first_sight", "now")
    assert output["unknown"] == [note]
    item = FindingsTable(tables, "Findings").get(found.finding_id)
    assert item is not None
    recorded = Finding.from_json(item["finding"])
    assert recorded.unknown == ("something else", note)
    assert (recorded.severity, recorded.severity_rule) == severity_of(found)
    assert item["severity"] == recorded.severity
    assert lambda_handler(event, context) == output, "a retried step says the same"


def test_a_retried_step_says_the_same(tables: Any, context: Any) -> None:
    first = record(finding(), context)

    assert record(finding(), context) == first
    assert record(finding(), context) == first
    item = FindingsTable(tables, "Findings").get(finding().finding_id)
    assert item is not None
    assert item["version"] == 1


def test_the_same_event_again_starts_no_policy(tables: Any, context: Any) -> None:
    record(finding(), context)

    output = record(finding(), context, "run-2")

    assert (output["news"], output["start_policy"]) == ("none", False)


@pytest.mark.parametrize(
    ("changes", "news", "start_policy"),
    [
        ({"status": "RESOLVED"}, "resolved", False),
        ({"status": "ARCHIVED"}, "archived", False),
        ({"is_deleted": True}, "deleted", False),
        ({"unused_action_count": 99}, "changed", True),
        ({}, "none", False),
    ],
)
def test_a_policy_is_wanted_while_there_is_something_to_cut(
    tables: Any, context: Any, changes: dict[str, Any], news: str, start_policy: bool
) -> None:
    record(finding(), context, cool_down_days=0)

    output = record(finding(updated_at=LATE, **changes), context, "run-2")

    assert (output["news"], output["start_policy"]) == (news, start_policy)


def test_a_principal_has_one_policy_run_in_a_cool_down_whatever_its_findings(
    tables: Any, context: Any
) -> None:
    first, second = finding(), finding(finding_id="another", updated_at=LATE)
    assert record(first, context)["start_policy"]

    assert not record(second, context, "run-2")["start_policy"]
    assert not record(finding(updated_at=LATE, unused_action_count=7), context, "r-3")[
        "start_policy"
    ]
    other = finding(finding_id="third", resource="arn:aws:iam::111122223333:role/Other")
    assert record(other, context, "run-4")["start_policy"]
    assert record(first, context)["start_policy"], "a retried step"

    claims = {
        item["run_id"]
        for item in map(from_item, tables.scan(TableName="Runs")["Items"])
        if item["workflow"] == COOL_DOWN
    }
    assert claims == {first.resource, other.resource}


def test_what_is_meant_is_archived_and_asks_for_nothing(tables: Any, context: Any) -> None:
    found = finding(severity="low")
    card_id = card_id_of(found.account_id, found.resource)
    exemption: Any = {
        "finding_type": "UnusedPermission", "principal": {}, "is_public": found.is_public,
        "condition": {}, "severity": "low", "reason": "seasonal", "by": "anna", "at": LATE,
        "expires": None,
    }  # fmt: skip
    CardsTable(tables, "Cards").add_exemption(
        card_id, exemption, findings=[found], now=parse_time(LATE)
    )

    output = record(found, context)

    assert (output["should_archive"], output["exemption"]) == (True, exemption)
    assert (output["start_policy"], output["notify_at"]) == (False, "")
    assert RunsTable(tables, "Runs").claim_for(
        COOL_DOWN, found.resource, execution="x", now=parse_time(LATE), seconds=1
    ), "the cool-down has not begun"


def test_a_finding_that_opens_again_asks_for_a_policy(tables: Any, context: Any) -> None:
    record(finding(status="RESOLVED"), context)

    output = record(finding(updated_at=LATE), context, "run-2")

    assert (output["news"], output["start_policy"]) == ("reopened", True)


@pytest.mark.parametrize("name", [name for name in FINDINGS if name != "unused_permission"])
def test_only_unused_permissions_of_a_role_or_user_ask_for_a_policy(
    tables: Any, context: Any, name: str
) -> None:
    output = record(finding(name), context)

    assert (output["news"], output["start_policy"]) == ("new", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"finding_type": "UnusedIAMRole"},
        {"finding_type": "UnusedIAMUserAccessKey"},
        {"error": "INTERNAL_ERROR"},
        {"resource_type": "AWS::S3::Bucket"},
    ],
)
def test_other_unused_access_asks_for_none(
    tables: Any, context: Any, changes: dict[str, Any]
) -> None:
    assert record(finding(**changes), context)["start_policy"] is False


def test_one_state_of_a_finding_has_one_execution_name() -> None:
    names = {
        policy_execution_name(finding()),
        policy_execution_name(finding(updated_at=LATE)),
        policy_execution_name(finding(finding_id="other")),
    }

    assert len(names) == 3
    assert policy_execution_name(finding()) == policy_execution_name(finding(owner="x"))
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    assert all(len(name) <= 80 and name.replace("-", "").isalnum() for name in names)


@pytest.mark.parametrize(
    ("code", "error"),
    [("AccessDeniedException", AwsCallError), ("ThrottlingException", ThrottledError)],
)
@pytest.mark.parametrize("operation", ["GetItem", "TransactWriteItems", "UpdateItem"])
def test_a_table_that_cannot_be_used_is_an_error(
    tables: Any, aws: FakeAws, context: Any, operation: str, code: str, error: type[Exception]
) -> None:
    aws.fail(f"dynamodb:{operation}", code)

    with pytest.raises(error, match=f"dynamodb:{operation} on (Findings|Runs)"):
        record(finding(), context)


def test_a_step_that_failed_after_the_record_asks_again_when_it_is_retried(
    tables: Any, aws: FakeAws, context: Any
) -> None:
    aws.fail("dynamodb:UpdateItem", "AccessDeniedException", times=1)
    with pytest.raises(AwsCallError):
        record(finding(), context)

    assert record(finding(), context)["start_policy"]
