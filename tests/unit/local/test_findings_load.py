"""The plan of the load test: the same each time, and its ends follow from its steps."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from local.findings_load import LoadPlan, plan_load, wrong

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ACCOUNTS = [f"{700_000_000_001 + number}" for number in range(20)]
REGIONS = ["eu-west-1", "eu-central-1", "us-east-1", "ap-northeast-1"]


def plan(count: int = 1000, seed: int = 0) -> LoadPlan:
    return plan_load(count, ACCOUNTS, REGIONS, hub_account_id="1" * 12, now=NOW, seed=seed)


def test_the_same_arguments_give_the_same_plan_and_another_seed_another() -> None:
    assert plan().steps == plan().steps
    assert plan().ends == plan().ends
    assert set(plan().ends) != set(plan(seed=1).ends)


def test_the_ends_are_what_the_steps_lead_to() -> None:
    played: dict[str, str | None] = {}
    for step in plan().steps:
        if step.kind == "plant":
            assert step.finding is not None
            played[step.finding_id] = step.finding["status"]
        elif step.kind == "delete":
            assert played[step.finding_id] is not None
            played[step.finding_id] = None
        else:
            assert played[step.finding_id] in {"ACTIVE", "ARCHIVED"}
            played[step.finding_id] = "RESOLVED" if step.kind == "resolve" else step.kind

    assert played == {finding_id: end.status for finding_id, end in plan().ends.items()}


def test_a_plan_has_everything_that_happens_to_findings() -> None:
    found = plan()

    events = len(found.steps) / 1000
    assert 1.2 < events < 1.45
    statuses = Counter(str(end.status) for end in found.ends.values())
    assert set(statuses) == {"ACTIVE", "ARCHIVED", "RESOLVED", "None"}
    types = {step.finding["findingType"] for step in found.steps if step.finding}
    assert len(types) == 6
    assert {arn.split(":")[3] for arn in found.analyzers} == set(REGIONS)
    assert {end.account_id for end in found.ends.values()} == set(ACCOUNTS)
    errors = {step.finding_id for step in found.steps if step.finding and "error" in step.finding}
    # Whatever becomes of them, they are never resolved: AWS removes them.
    assert {found.ends[each].status for each in errors} == {"ACTIVE", "ARCHIVED", None}
    # And only them: others are deleted with their analyzer alone, and the plan's are alive.
    assert {step.finding_id for step in found.steps if step.kind == "delete"} <= errors
    shared = [ids for ids in found.open_cards().values() if len(ids) > 1]
    assert shared  # a role that every Region sees


def test_later_changes_are_newer_and_come_later() -> None:
    newest: dict[str, str] = {}
    for step in plan().steps:
        if step.finding is not None:
            assert newest.get(step.finding_id, "") < step.finding["updatedAt"]
            newest[step.finding_id] = step.finding["updatedAt"]


def test_what_differs_is_named() -> None:
    found = plan()
    right = {
        finding_id: {
            "status": end.status or "ACTIVE",
            "is_deleted": end.status is None,
            "analyzer_arn": end.analyzer_arn,
            "values": {"ended": "DELETED"} if end.status is None else {},
        }
        for finding_id, end in found.ends.items()
    }
    open_id = next(i for i, end in found.ends.items() if end.is_open)
    closed_id = next(i for i, end in found.ends.items() if end.status == "RESOLVED")

    assert wrong(found, right) == []
    without = {i: item for i, item in right.items() if i not in {open_id, closed_id}}
    assert [text.split()[0] for text in wrong(found, without)] == [open_id]
    stale = right | {closed_id: right[closed_id] | {"status": "ACTIVE"}}
    assert [text.split()[0] for text in wrong(found, stale)] == [closed_id]
    gone_id = next(i for i, end in found.ends.items() if end.status is None)
    unwatched = right | {gone_id: right[gone_id] | {"values": {}}}
    assert [text.split()[0] for text in wrong(found, unwatched)] == [gone_id]
    more = right | {"other": {**right[open_id]}}
    assert wrong(found, more) == ["other is in no analyzer of the plan"]
    assert wrong(found, more, others=["other"]) == []
