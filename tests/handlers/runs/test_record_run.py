from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.runs.record_run import Output, lambda_handler
from pare.aws.tables import PERIOD, Claim, RunsTable, from_item
from pare.errors import AwsCallError
from tests.handlers.fake_aws import BUCKET, HUB, REGION
from tests.recorded import event

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws, Topic

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Finding:0a1b-2c3d"
HISTORY = "sfn:GetExecutionHistory"
SUCCEEDED = {
    **event("unused_permission"),
    "finding": {"finding_id": "f-1", "unknown": ["owner: not told"]},
    "recorded": {"news": "new", "start_policy": False},
}


def failed(error: str, message: str = "why it failed") -> dict[str, Any]:
    cause = json.dumps({"errorType": error, "errorMessage": message})
    return {**event("unused_permission"), "failure": {"Error": error, "Cause": cause}}


@pytest.fixture(autouse=True)
def _everything(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, aws: FakeAws
) -> None:
    states = ["ExecutionStarted", *["TaskStateEntered", "TaskStateExited"] * 4]
    aws.answer(
        HISTORY,
        {
            "events": [
                {"timestamp": datetime(2026, 11, 21, tzinfo=UTC), "type": name, "id": number}
                for number, name in enumerate(states, start=1)
            ]
        },
    )


def record(
    context: Any,
    state: Any,
    execution: str = EXECUTION,
    started_at: str = "2026-11-21T09:00:00.5Z",
    workflow: str = "finding",
) -> Output:
    output: Output = lambda_handler(
        {
            "workflow": workflow,
            "execution": execution,
            "started_at": started_at,
            "state": state,
        },
        context,
    )
    return output


def runs(tables: Any) -> list[dict[str, Any]]:
    items = [from_item(item) for item in tables.scan(TableName="Runs")["Items"]]
    return [item for item in items if item["workflow"] != "message"]


def test_a_run_that_succeeded_is_recorded_and_nobody_is_told(
    tables: Any, people: Topic, machines: Topic, evidence: EvidenceStore, context: Any
) -> None:
    assert record(context, SUCCEEDED) == {"outcome": "succeeded", "error": "", "message": ""}

    (run,) = runs(tables)
    assert run.pop("ended_at").endswith("Z")
    assert run == {
        "workflow": "finding",
        "run_id": "2026-11-21T09:00:00.500Z#0a1b-2c3d",
        "execution_arn": EXECUTION,
        "started_at": "2026-11-21T09:00:00.500Z",
        "outcome": "succeeded",
        "error": None,
        "message": None,
        "what_to_do": None,
        "subject": "f-1",
        "asked_by": None,
        "counts": {},
        "unknown": ["owner: not told"],
        "transitions": 6,  # the four of the history, and the two that come after this step
        "estimated_cost_usd": 0.00015,
        "input": None,
    }
    assert people.messages() == machines.messages() == []
    assert "Contents" not in evidence.s3.list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("error", "outcome", "subject"),
    [
        ("AwsCallError", "failed", "[Pare] The finding workflow failed: AwsCallError"),
        ("States.Timeout", "failed", "[Pare] The finding workflow failed: States.Timeout"),
        (
            "UnknownFindingError",
            "rejected",
            "[Pare] The finding workflow was not accepted: UnknownFindingError",
        ),
        (
            "PrincipalNotFoundError",
            "rejected",
            "[Pare] The finding workflow was not accepted: PrincipalNotFoundError",
        ),
    ],
)
def test_a_run_that_did_not_succeed_is_recorded_told_and_its_input_kept(
    tables: Any,
    people: Topic,
    machines: Topic,
    evidence: EvidenceStore,
    context: Any,
    error: str,
    outcome: str,
    subject: str,
) -> None:
    output = record(context, failed(error))

    assert output == {"outcome": outcome, "error": error, "message": "why it failed"}
    (run,) = runs(tables)
    assert (run["outcome"], run["error"], run["message"]) == (outcome, error, "why it failed")
    assert run["what_to_do"]
    assert evidence.get_json(run["input"]) == failed(error)
    (read,), (facts,) = people.messages(), machines.messages()
    assert read["Subject"] == subject
    assert "why it failed" in read["Message"]
    assert f"s3://{BUCKET}/runs/finding/0a1b-2c3d/state.json" in read["Message"]
    assert json.loads(facts["Message"])["run"]["error"] == error


def test_a_flood_of_one_cause_is_five_mails_an_hour_and_machines_get_each(
    tables: Any, people: Topic, machines: Topic, context: Any
) -> None:
    for number in range(8):
        record(context, failed("AwsCallError"), f"{EXECUTION}{number}")
    assert (len(people.messages()), len(machines.messages()), len(runs(tables))) == (5, 8, 8)

    record(context, failed("States.Timeout"), f"{EXECUTION}-other-cause")
    record(context, failed("AwsCallError"), f"{EXECUTION}-other-workflow", workflow="policy")
    record(context, failed("AwsCallError"), f"{EXECUTION}-later", "2026-11-21T10:00:00Z")
    assert len(people.messages()) == 3  # those that came since


def test_a_retried_step_records_and_tells_once(tables: Any, people: Topic, context: Any) -> None:
    outputs = [record(context, failed("AwsCallError")) for _ in range(3)]

    assert outputs[0] == outputs[1] == outputs[2]
    assert len(runs(tables)) == 1
    assert len(people.messages()) == 1


def test_another_execution_is_another_run(tables: Any, context: Any) -> None:
    record(context, failed("AwsCallError"))
    record(context, failed("AwsCallError"), EXECUTION + "-again")

    assert len(runs(tables)) == 2


@pytest.mark.parametrize(
    "detail",
    [
        {"counts": "many", "unknown": 5},
        {"text": "\ud800"},
        ["a list"],
    ],
)
def test_a_malformed_event_is_recorded_as_it_came(
    tables: Any, people: Topic, evidence: EvidenceStore, context: Any, detail: Any
) -> None:
    """Or the reason why it was refused is lost with it."""
    state = {**failed("FindingParseError"), "detail": detail, "built": detail, "recorded": detail}

    assert record(context, state)["outcome"] == "rejected"

    (run,) = runs(tables)
    assert evidence.get_json(run["input"]) == state
    assert len(people.messages()) == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "KmsThrottlingException"])
def test_a_history_that_cannot_be_read_does_not_hide_a_failure(
    tables: Any, people: Topic, aws: FakeAws, context: Any, code: str
) -> None:
    aws.mend(HISTORY)
    aws.fail(HISTORY, code)

    assert record(context, failed("AwsCallError"))["outcome"] == "failed"

    (run,) = runs(tables)
    assert (run["transitions"], run["estimated_cost_usd"]) == (None, None)
    assert run["unknown"] == ["transitions"]
    assert len(people.messages()) == 1


def test_a_finding_needs_nothing_from_its_run(tables: Any, aws: FakeAws, context: Any) -> None:
    """What there is to tell is on its card, whichever way the run ends."""
    aws.fail("dynamodb:UpdateItem", "AccessDeniedException")
    aws.fail("dynamodb:GetItem", "AccessDeniedException")

    assert record(context, SUCCEEDED)["outcome"] == "succeeded"


INVENTORY = EXECUTION.replace("Finding", "Inventory")


@pytest.mark.parametrize(("error", "is_done"), [(None, True), ("AwsCallError", False)])
def test_a_period_is_done_once_its_run_succeeded(
    tables: Any, people: Topic, context: Any, error: str | None, is_done: bool
) -> None:
    def claim(execution: str) -> Claim:
        return RunsTable(tables, "Runs").claim(
            PERIOD, "2026-11", execution=execution, work="w", as_of="t", has_ended=lambda _: True
        )

    claim(INVENTORY)
    state = {"listed": {"period": "2026-11"}, **(failed(error) if error else {})}
    arguments: Any = {
        "workflow": "inventory", "execution": INVENTORY, "started_at": "2026-11-01T06:00:00Z",
        "state": state,
    }  # fmt: skip
    lambda_handler(arguments, context)
    lambda_handler(arguments, context)

    expected = INVENTORY if is_done else "another"
    assert claim("another") == Claim(expected, is_done=is_done, work="w", as_of="t")


def test_people_who_could_not_be_told_are_told_by_the_retry(
    tables: Any, people: Topic, aws: FakeAws, context: Any
) -> None:
    aws.fail("sns:Publish", "KMSAccessDenied", 400)
    with pytest.raises(AwsCallError):
        record(context, failed("AwsCallError"))
    assert len(runs(tables)) == 1, "recorded first"

    aws.mend("sns:Publish")
    record(context, failed("AwsCallError"))
    assert len(people.messages()) == 1
