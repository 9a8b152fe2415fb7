from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings import start_findings
from lambdas.findings.start_findings import Output, lambda_handler
from pare.errors import ThrottledError
from pare.findings.model import Finding
from pare.findings.normalize import normalize
from tests.handlers.fake_aws import HUB, MEMBER, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

MACHINE = f"arn:aws:states:{REGION}:{HUB}:stateMachine:Finding"
EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Reconcile:daily-1"
START = "sfn:StartExecution"
FINDING = Finding(
    finding_id="f-00",
    access="external",
    finding_type="ExternalAccess",
    status="ACTIVE",
    is_deleted=False,
    account_id=MEMBER,
    region=REGION,
    analyzer_arn=f"arn:aws:access-analyzer:{REGION}:{HUB}:analyzer/org",
    resource="arn:aws:s3:::amzn-s3-demo-bucket",
    resource_type="AWS::S3::Bucket",
    created_at="2026-11-20T08:00:00Z",
    updated_at="2026-11-20T08:00:00Z",
    analyzed_at="2026-11-20T08:00:00Z",
)
OWN = {"access": "watch", "finding_type": "AnalyzerMissing", "analyzer_arn": "pare:watch",
       "source": "pare-watch", "values": {"region": REGION, "kind": "external"}}  # fmt: skip
UNUSED = {"access": "unused", "finding_type": "UnusedIAMRole", "analyzer_arn": "pare:inventory",
          "source": "pare-inventory"}  # fmt: skip


@pytest.fixture(autouse=True)
def _settings(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(finding_workflow_arn=MACHINE)
    monkeypatch.setattr(start_findings, "AT_ONCE", 4)


@pytest.fixture
def parts(evidence: EvidenceStore) -> list[ObjectRef]:
    """Ten findings in parts of five, none and five; two steps and a half."""
    rows = [{**FINDING.to_json(), "finding_id": f"f-{n:02}"} for n in range(10)]
    return [
        evidence.put_ndjson_gz(f"findings/reconcile/daily-1/part-{n}.ndjson.gz", some)
        for n, some in enumerate((rows[:5], [], rows[5:]))
    ]


def started(_: dict[str, Any]) -> dict[str, Any]:
    return {"executionArn": f"{EXECUTION}-child", "startDate": datetime.now(UTC)}


def start(
    context: Any, refs: list[ObjectRef], before: Output | None = None, execution: str = EXECUTION
) -> Output:
    state: Any = {"listed": {}, **({"started": before} if before else {})}
    output: Output = lambda_handler(
        {"input": {"differences": refs}, "state": state, "execution": execution}, context
    )
    return output


def test_every_finding_is_started_once_some_at_a_time(
    aws: FakeAws, context: Any, parts: list[ObjectRef]
) -> None:
    aws.answer(START, started)
    output, steps = start(context, parts), 1
    assert len(aws.called(START)) == 4
    while output["has_more"]:
        output, steps = start(context, parts, output), steps + 1

    assert steps == 3
    assert output["counts"] == {"findings_started": 10}
    calls = aws.called(START)
    inputs = [json.loads(call["input"]) for call in calls]
    assert [each["detail"]["finding"]["finding_id"] for each in inputs] == [
        f"f-{n:02}" for n in range(10)
    ]
    assert {call["stateMachineArn"] for call in calls} == {MACHINE}
    names = {call["name"] for call in calls}
    assert len(names) == 10
    assert all(len(name) <= 80 for name in names)


def test_nothing_is_a_whole_step(aws: FakeAws, context: Any, evidence: EvidenceStore) -> None:
    assert start(context, []) == {
        "position": {"part": 0, "row": 0}, "has_more": False, "counts": {"findings_started": 0},
    }  # fmt: skip
    assert aws.calls == []


def test_the_end_of_a_part_at_the_end_of_a_step_starts_nothing_twice_and_leaves_nothing(
    aws: FakeAws, context: Any, evidence: EvidenceStore
) -> None:
    aws.answer(START, started)
    rows = [{**FINDING.to_json(), "finding_id": f"f-{n:02}"} for n in range(6)]
    refs = [evidence.put_ndjson_gz(f"p{n}", some) for n, some in enumerate((rows[:4], rows[4:]))]
    output = start(context, refs)
    while output["has_more"]:
        output = start(context, refs, output)
    assert len({call["name"] for call in aws.called(START)}) == len(aws.called(START)) == 6


def test_a_retried_step_starts_nothing_twice(
    aws: FakeAws, context: Any, parts: list[ObjectRef]
) -> None:
    aws.answer(START, started, times=2)
    aws.fail(START, "ThrottlingException", times=1)
    aws.fail(START, "ExecutionAlreadyExists", times=2)
    aws.answer(START, started)

    with pytest.raises(ThrottledError):
        start(context, parts)
    output = start(context, parts)

    assert output["counts"] == {"findings_started": 4}
    names = [call["name"] for call in aws.called(START)]
    assert names[:3] == names[3:6]
    assert len(set(names)) == 4


def test_another_run_starts_them_anew(aws: FakeAws, context: Any, parts: list[ObjectRef]) -> None:
    aws.answer(START, started)
    start(context, parts)
    start(context, parts, execution=f"{EXECUTION}-2")
    assert len({call["name"] for call in aws.called(START)}) == 8


@pytest.mark.parametrize("changed", [{}, {"is_deleted": True}, OWN, UNUSED])
def test_the_finding_workflow_takes_the_event_it_is_started_with(
    aws: FakeAws, context: Any, evidence: EvidenceStore, changed: dict[str, Any]
) -> None:
    aws.answer(START, started)
    sent: Any = {**FINDING.to_json(), **changed}
    start(context, [evidence.put_ndjson_gz("part", [sent])])

    (call,) = aws.called(START)
    taken = normalize(json.loads(call["input"]), datetime.now(UTC))

    assert taken["kind"] == "finding"
    finding = taken["finding"]
    assert finding is not None
    assert {name: finding[name] for name in changed} == changed  # type: ignore[literal-required]
    assert finding["finding_id"] == "f-00"
