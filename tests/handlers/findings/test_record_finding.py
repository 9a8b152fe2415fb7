from __future__ import annotations

from typing import Any

import pytest

from lambdas.findings.record_finding import Output, lambda_handler, policy_execution_name
from pare.aws.tables import FindingsTable
from pare.errors import AwsCallError, ThrottledError
from tests.recorded import FINDINGS, finding

LATE = "2026-11-22T09:00:00Z"


def record(found: Any, context: Any, execution: str = "run-1") -> Output:
    output: Output = lambda_handler({"finding": found.to_json(), "execution": execution}, context)
    return output


def test_a_new_finding_is_recorded_and_asks_for_a_policy(tables: Any, context: Any) -> None:
    found = finding()

    output = record(found, context)

    assert output == {
        "news": "new",
        "start_policy": True,
        "policy_execution_name": policy_execution_name(found),
    }
    item = FindingsTable(tables, "Findings").get(found.finding_id)
    assert item is not None
    assert item["finding"] == found.to_json()
    assert item["recorded_by"] == "run-1"
    assert item["recorded_at"].endswith("Z")


def test_a_retried_step_says_the_same(tables: Any, context: Any) -> None:
    first = record(finding(), context)

    assert record(finding(), context) == first
    assert record(finding(), context) == first
    item = FindingsTable(tables, "Findings").get(finding().finding_id)
    assert item is not None
    assert item["version"] == 1


def test_the_same_event_again_starts_nothing(tables: Any, context: Any) -> None:
    record(finding(), context)
    FindingsTable(tables, "Findings").settle(finding().finding_id, execution="run-1")

    output = record(finding(), context, "run-2")

    assert (output["news"], output["start_policy"]) == ("none", False)


def test_a_failed_run_started_again_asks_for_the_same(tables: Any, context: Any) -> None:
    first = record(finding(), context)

    assert record(finding(), context, "run-2") == first
    assert record(finding(), context, "run-2") == first, "a retried step says the same"


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
    record(finding(), context)

    output = record(finding(updated_at=LATE, **changes), context, "run-2")

    assert (output["news"], output["start_policy"]) == (news, start_policy)


def test_a_finding_that_opens_again_asks_for_a_policy_again(tables: Any, context: Any) -> None:
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
def test_a_table_that_cannot_be_used_is_an_error(
    tables: Any, aws: Any, context: Any, code: str, error: type[Exception]
) -> None:
    aws.fail("dynamodb:GetItem", code)

    with pytest.raises(error, match="dynamodb:GetItem on Findings"):
        record(finding(), context)
