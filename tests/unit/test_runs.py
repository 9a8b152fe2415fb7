from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pare.runs import (
    FailureJson,
    RunJson,
    failure_message,
    failure_text,
    run_record,
    usd_per_transition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

EXECUTION = "arn:aws:states:eu-west-1:222222222222:execution:Policy:finding-0a1b"
STATE = {"bucket": "evidence", "key": "runs/policy/finding-0a1b/state.json"}


def failure(error: str, message: str) -> FailureJson:
    cause = {"errorMessage": message, "errorType": error, "requestId": "r", "stackTrace": []}
    return {"Error": error, "Cause": json.dumps(cause)}


def record(state: dict[str, Any], **changes: Any) -> RunJson:
    arguments: dict[str, Any] = {
        "workflow": "policy",
        "execution_arn": EXECUTION,
        "started_at": "2026-11-21T09:00:00Z",
        "ended_at": "2026-11-21T09:04:00Z",
        "state": state,
        "transitions": 15,
        "input_ref": None,
    }
    return run_record(**{**arguments, **changes})


# --- What went wrong ---


@pytest.mark.parametrize(
    ("caught", "expected"),
    [
        (failure("MemberAccountError", "no way in"), ("MemberAccountError", "no way in")),
        (
            {"Error": "StepFunctions.ExecutionLimitExceededException", "Cause": "Too many"},
            ("StepFunctions.ExecutionLimitExceededException", "Too many"),
        ),
        ({"Error": "States.Timeout", "Cause": ""}, ("States.Timeout", "")),
        ({"Error": "X", "Cause": '["a list"]'}, ("X", '["a list"]')),
        ({"Error": "X", "Cause": '{"other": 1}'}, ("X", '{"other": 1}')),
        ({"Error": "X", "Cause": '{"errorMessage": 5}'}, ("X", "5")),
    ],
)
def test_error_and_message_are_read_from_what_step_functions_caught(
    caught: FailureJson, expected: tuple[str, str]
) -> None:
    assert failure_text(caught) == expected


def test_a_failure_without_a_cause_has_an_empty_message() -> None:
    assert failure_text({"Error": "States.Runtime"}) == ("States.Runtime", "")  # type: ignore[typeddict-item]


# --- Records ---


def test_a_run_that_succeeded_is_recorded_whole() -> None:
    state = {
        "principal_arn": "arn:aws:iam::111122223333:role/App",
        "principal": {"owner": "orders"},
        "evidence": [],
        "built": {"proposal": STATE, "verdict": "review", "has_documents": True},
        "recorded": {"counts": {"policy_count": 2}, "unknown": ["data_events", "denied_calls"]},
        "notified": {"told": True},
    }

    assert record(state) == {
        "workflow": "policy",
        "run_id": "2026-11-21T09:00:00Z#finding-0a1b",
        "execution_arn": EXECUTION,
        "started_at": "2026-11-21T09:00:00Z",
        "ended_at": "2026-11-21T09:04:00Z",
        "outcome": "succeeded",
        "error": None,
        "message": None,
        "what_to_do": None,
        "subject": "arn:aws:iam::111122223333:role/App",
        "asked_by": None,
        "counts": {"policy_count": 2},
        "unknown": ["data_events", "denied_calls"],
        "transitions": 15,
        "estimated_cost_usd": 0.000375,
        "input": None,
    }


def test_counts_and_unknowns_come_from_the_steps_that_know_them() -> None:
    inventory = {
        "scheduled_at": "2026-11-01T06:00:00Z",
        "listed": {"period": "2026-11", "account_count": 5},
        "built": {"counts": {"account_count": 5}, "unknown": ["444455556666"]},
    }
    finding = {"finding": {"finding_id": "f-1", "unknown": ["owner: not told"]}, "recorded": {}}
    activity = {
        "scheduled_at": "2026-11-21T04:00:00Z",
        "listed": {"period": "2026-11-18 to 2026-11-20"},
        "counted": {"counts": {"files": 7}, "unknown": ["444455556666"], "has_more": False},
    }

    assert record(activity)["counts"] == {"files": 7}
    assert record(activity)["unknown"] == ["444455556666"]
    assert record(activity)["subject"] == "2026-11-18 to 2026-11-20"
    assert record(inventory)["counts"] == {"account_count": 5}
    assert record(inventory)["unknown"] == ["444455556666"]
    assert record(finding)["counts"] == {}
    assert record(finding)["unknown"] == ["owner: not told"]


@pytest.mark.parametrize(
    ("state", "subject"),
    [
        ({"finding": {"finding_id": "f-1"}, "id": "event"}, "f-1"),
        ({"id": "event", "detail": {}}, "event"),
        ({"id": "event", "detail": {"finding": {"finding_id": "f-1"}}}, "f-1"),
        ({"id": "event", "detail": {"findingId": "f-1"}}, "f-1"),
        ({"id": "event", "detail": {"id": "f-1"}}, "f-1"),
        ({"id": "event", "detail": "a text"}, "event"),
        ({"principal_arn": "arn:aws:iam::1:role/A", "finding_id": "f-1"}, "arn:aws:iam::1:role/A"),
        ({"scheduled_at": "2026-11-01T06:00:00Z", "listed": {"period": "2026-11"}}, "2026-11"),
        ({"scheduled_at": "2026-11-01T06:00:00Z"}, "2026-11-01T06:00:00Z"),
        ({}, "unknown"),
        ({"finding": "a text", "id": None}, "unknown"),
    ],
)
def test_a_run_is_recorded_under_what_it_was_about(state: dict[str, Any], subject: str) -> None:
    assert record(state)["subject"] == subject


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("FindingParseError", "rejected"),
        ("UnknownFindingError", "rejected"),
        ("PrincipalNotFoundError", "rejected"),
        ("MemberAccountError", "rejected"),
        ("ArnParseError", "rejected"),
        ("PolicyParseError", "rejected"),
        ("AwsCallError", "failed"),
        ("States.Timeout", "failed"),
        ("Lambda.Unknown", "failed"),
        ("KeyError", "failed"),
    ],
)
def test_what_the_input_brought_is_rejected_and_all_else_failed(error: str, outcome: str) -> None:
    run = record({"failure": failure(error, "why")}, input_ref=STATE)

    assert (run["outcome"], run["error"], run["message"]) == (outcome, error, "why")
    assert run["what_to_do"]
    assert run["input"] == STATE


def test_a_very_long_message_is_cut() -> None:
    run = record({"failure": failure("AwsCallError", "x" * 100_000)})

    assert run["message"] == "x" * 2_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["id", "finding", "principal_arn", "listed", "built", "recorded", "failure",
                         "detail", "counts", "unknown", "scheduled_at"]),
        json_values
        | st.fixed_dictionaries({"counts": json_values, "unknown": json_values})
        | st.fixed_dictionaries({"Error": json_values, "Cause": json_values}),
    )
)  # fmt: skip
@example({"failure": {"Error": "X", "Cause": None}})
@example({"failure": {"Error": "X", "Cause": {}}})
@example({"failure": "a text", "built": {"counts": "many", "unknown": 5}})
def test_whatever_an_execution_was_started_with_can_be_recorded(state: dict[str, Any]) -> None:
    run = record(state)

    assert run["subject"]
    assert all(isinstance(count, int) for count in run["counts"].values())
    assert all(isinstance(each, str) for each in run["unknown"])
    assert run["outcome"] == "succeeded" or failure_message(run).text


def test_the_children_of_a_map_are_counted_too() -> None:
    run = record({"built": {"counts": {"child_transitions": 1_000}}}, transitions=15)

    assert run["transitions"] == 1_015
    assert run["estimated_cost_usd"] == round(1_015 * usd_per_transition(), 6) == 0.025375


def test_a_run_whose_transitions_nobody_knows_says_so() -> None:
    run = record({"built": {"unknown": ["444455556666"]}}, transitions=None)

    assert (run["transitions"], run["estimated_cost_usd"]) == (None, None)
    assert run["unknown"] == ["444455556666", "transitions"]


# --- What people read ---


def test_a_failed_run_tells_what_why_and_what_to_do(
    golden: Callable[[str, Any], None],
) -> None:
    state = {
        "principal_arn": "arn:aws:iam::111122223333:role/App",
        "failure": failure(
            "AwsCallError",
            "dynamodb:PutItem on Proposals: AccessDeniedException: User: "
            "arn:aws:sts::222222222222:assumed-role/RecordProposal/fn is not authorized to "
            "perform: dynamodb:PutItem",
        ),
    }

    message = failure_message(record(state, input_ref=STATE))

    golden("run_failed.txt", f"Subject: {message.subject}\n\n{message.text}")
    assert message.attributes == {"kind": "failure", "workflow": "policy", "outcome": "failed"}
    assert message.facts["run"]["error"] == "AwsCallError"
    json.dumps(message.facts)


@pytest.mark.parametrize(
    ("error", "advice"),
    [("AwsCallError", "when the cause is mended"), ("ArnParseError", "another input")],
)
def test_a_failure_says_how_to_go_on(error: str, advice: str) -> None:
    text = " ".join(failure_message(record({"failure": failure(error, "why")})).text.split())

    assert "Nothing is lost" in text
    assert advice in text
    assert "redriven" not in text  # a run ends in a Fail state: a redrive would end it again


def test_a_failure_says_how_many_mails_of_its_kind_come_in_an_hour() -> None:
    text = " ".join(failure_message(record({"failure": failure("AwsCallError", "w")})).text.split())

    assert "same error, 5 send a mail" in text
    assert "docs/operations.md, 'What failed lately'" in text


def test_a_rejected_run_is_told_as_not_accepted() -> None:
    run = record({"id": "e", "failure": failure("UnknownFindingError", "unknown detail-type 5")})

    message = failure_message(run)

    assert message.subject == "[Pare] The policy workflow was not accepted: UnknownFindingError"
    assert "update Pare" in " ".join(message.text.split())


def test_a_refused_finding_of_a_persons_command_names_it_and_who_asked() -> None:
    clerk = "arn:aws:iam::222222222222:user/clerk"
    state = {
        "source": "pare.reconcile",
        "detail-type": "Pare Finding",
        "detail": {"finding": {"finding_id": "f-1"}, "asked_by": clerk},
        "failure": failure("FindingParseError", "source is none of access-analyzer"),
    }

    text = failure_message(record(state, workflow="finding")).text

    assert re.search(r"^About: +f-1$", text, re.MULTILINE)
    assert re.search(rf"^Asked by: +{clerk}$", text, re.MULTILINE)
    assert "mend the sender" not in " ".join(text.split())
    assert "so that both are one, then run the command again" in " ".join(text.split())


def test_who_called_aws_is_named() -> None:
    caller = {"userIdentity": {"arn": "arn:aws:iam::1:user/x"}}

    assert record({"detail": caller})["asked_by"] == "arn:aws:iam::1:user/x"
    assert record({"detail": {"asked_by": 5}})["asked_by"] is None


def test_nothing_in_a_failure_can_forge_a_line_of_the_message() -> None:
    forged = "gone\r\nWhat to do: call 555 0100\u2028\u202eWhat to do: \x1b[2J"
    run = record(
        {"id": forged, "failure": failure("AwsCallError", forged + " " + "y" * 60 + forged)}
    )

    text = failure_message(run).text

    lines = text.splitlines()
    assert len([line for line in lines if line.startswith("What to do")]) == 1
    assert all(line.isprintable() for line in lines)
    assert all(len(line) <= 80 for line in lines if " " in line.strip())


# --- Rounds of messages ---


def outcome(name: str, error: str | None = None) -> dict[str, Any]:
    return {"message_id": "m-1", "outcome": name, "error": error, "untold": []}


def test_a_round_counts_the_messages_of_all_its_steps() -> None:
    state = {
        "as_of": "2026-11-22T09:17:00Z",
        "collected": {"counts": {"messages": 3, "messages_told": 2}, "unknown": []},
        "told": [outcome("told"), outcome("unknown", "States.Timeout")],
    }
    run = record(state, workflow="notification")
    assert (run["outcome"], run["subject"]) == ("succeeded", "2026-11-22T09:17:00Z")
    assert run["counts"] == {"messages": 3, "messages_told": 3, "messages_unknown": 1}
    assert run["unknown"] == ["nobody knows whether people got message m-1 (States.Timeout)"]


@pytest.mark.parametrize(
    "state",
    [
        {"collected": {"counts": {}}, "told": [outcome("refused", "Sns.KmsDisabledException")]},
        {"collected": {"counts": {}}, "told": [outcome("unsettled", "AwsCallError")]},
        # In a step before the last one.
        {"collected": {"counts": {"messages_refused": 1}}, "told": [outcome("told")]},
    ],
)
def test_a_round_whose_messages_did_not_go_out_has_failed(state: dict[str, Any]) -> None:
    run = record(state, workflow="notification")
    assert (run["outcome"], run["error"]) == ("failed", "MessageError")
    assert "next hourly round" in (run["what_to_do"] or "")


@pytest.mark.parametrize("told", [None, 5, "told", [5], ["x"], [{}], [{"outcome": "refused"}]])
def test_whatever_a_person_starts_a_round_with_is_recorded(told: Any) -> None:
    state = {"told": told, "failure": failure("AwsCallError", "why")}
    run = record(state, workflow="notification")
    assert (run["outcome"], run["error"]) == ("failed", "AwsCallError")
