from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.accounts.start_proposals import AT_ONCE, Output, lambda_handler
from pare.errors import ThrottledError
from tests.handlers.fake_aws import BUCKET, HUB, MEMBER, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

MACHINE = f"arn:aws:states:{REGION}:{HUB}:stateMachine:Policy"
EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Account:night-1"
START = "sfn:StartExecution"
LIST: Any = {"bucket": BUCKET, "key": "runs/account/night-1/principals.json"}


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(policy_workflow_arn=MACHINE)


@pytest.fixture
def principals(evidence: EvidenceStore) -> list[str]:
    """Two and a half steps of principals."""
    arns = [f"arn:aws:iam::{MEMBER}:role/R{n:02}" for n in range(AT_ONCE * 5 // 2)]
    evidence.put_json(LIST["key"], {"principals": arns, "skipped": {}})
    return arns


def started(_: dict[str, Any]) -> dict[str, Any]:
    return {"executionArn": f"{EXECUTION}-child", "startDate": datetime.now(UTC)}


def start(context: Any, before: Output | None = None, execution: str = EXECUTION) -> Output:
    counts = {"principals": 25, "skipped": 3}
    listed: Any = {"account_id": MEMBER, "principals": LIST, "counts": counts}
    state = {"account_id": MEMBER, "listed": listed, **({"started": before} if before else {})}
    output: Output = lambda_handler(
        {"listed": listed, "state": state, "execution": execution}, context
    )
    return output


def test_every_principal_is_started_once_a_few_at_a_time(
    aws: FakeAws, context: Any, principals: list[str]
) -> None:
    aws.answer(START, started)
    output, steps = start(context), 1
    assert len(aws.called(START)) == AT_ONCE
    while output["has_more"]:
        output, steps = start(context, output), steps + 1

    assert steps == 3
    assert output == {
        "position": 25,
        "has_more": False,
        "counts": {"principals": 25, "skipped": 3, "started": 25},
    }
    calls = aws.called(START)
    assert {call["stateMachineArn"] for call in calls} == {MACHINE}
    assert [json.loads(call["input"]) for call in calls] == [
        {"principal_arn": arn, "batch": EXECUTION} for arn in principals
    ]
    assert len({call["name"] for call in calls}) == 25


def test_a_retried_step_starts_nothing_twice(
    aws: FakeAws, context: Any, principals: list[str]
) -> None:
    aws.answer(START, started, times=4)
    aws.fail(START, "ThrottlingException", times=1)
    aws.fail(START, "ExecutionAlreadyExists", times=4)
    aws.answer(START, started)

    with pytest.raises(ThrottledError):
        start(context)
    output = start(context)

    assert output["position"] == AT_ONCE
    names = [call["name"] for call in aws.called(START)]
    assert names[:5] == names[5:10]
    assert len(set(names)) == AT_ONCE


def test_another_run_starts_them_anew(aws: FakeAws, context: Any, principals: list[str]) -> None:
    aws.answer(START, started)
    start(context)
    start(context, execution=f"{EXECUTION}-2")

    assert len({call["name"] for call in aws.called(START)}) == 2 * AT_ONCE


def test_an_account_without_principals_is_done(
    aws: FakeAws, context: Any, evidence: EvidenceStore
) -> None:
    evidence.put_json(LIST["key"], {"principals": [], "skipped": {}})

    output = start(context)

    assert (output["has_more"], output["counts"]["started"]) == (False, 0)
    assert aws.called(START) == []
