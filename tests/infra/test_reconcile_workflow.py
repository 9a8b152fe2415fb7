"""The reconcile workflow: one analyzer hides no other, and what it finds is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.findings import start_findings
from lambdas.reconcile import (
    apply_archive_rules,
    compare_findings,
    list_analyzers,
    review_watch,
)
from tests.infra.synthesis import tasks

if TYPE_CHECKING:
    from tests.infra.synthesis import Json, Synthesis, Template

STEPS = {
    "List analyzers": list_analyzers,
    "Apply archive rules": apply_archive_rules,
    "Compare findings": compare_findings,
    "Review watch": review_watch,
    "Start findings": start_findings,
}


@pytest.fixture
def definition(pipeline: Template) -> Json:
    found: Json = pipeline.state_machines()["Reconcile"]
    return found


def iteration(definition: Json) -> Json:
    """Return what is done at one analyzer."""
    found: Json = definition["States"]["Look at each analyzer"]["ItemProcessor"]
    return found


def test_the_steps_come_in_this_order(definition: Json) -> None:
    order, name = [], definition["StartAt"]
    while name and name not in order:
        order.append(name)
        name = definition["States"][name].get("Next")
    assert order == [
        "List analyzers",
        "Look at each analyzer",
        "Review watch",
        "Start findings",
        "More to start?",
    ]


def test_each_step_is_given_what_it_reads(definition: Json) -> None:
    found = tasks(definition)
    for name, module in STEPS.items():
        given = {key.removesuffix(".$") for key in found[name]["Parameters"]}
        assert given == module.Input.__annotations__.keys(), name


def test_every_step_is_given_the_terms_of_the_settings(
    definition: Json, synthesis: Synthesis
) -> None:
    for name in ("List analyzers", "Apply archive rules", "Review watch"):
        terms = tasks(definition)[name]["Parameters"]["terms"]
        assert terms == synthesis.settings.finding_terms(), name


def test_findings_are_started_until_there_are_no_more(definition: Json) -> None:
    more = definition["States"]["More to start?"]
    assert more["Choices"] == [
        {"Variable": "$.started.has_more", "BooleanEquals": True, "Next": "Start findings"}
    ]
    assert more["Default"] == "Record run"
    start = definition["States"]["Start findings"]
    assert start["Parameters"]["input.$"] == "$.reviewed"
    assert start["ResultPath"] == "$.started"


def test_an_analyzer_that_fails_hides_no_other(definition: Json) -> None:
    """Whatever fails at one, the iteration ends well, and leaves the name of the error."""
    states = iteration(definition)["States"]
    for name, state in states.items():
        if state["Type"] == "Task":
            assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
            after = states[state["Catch"][-1]["Next"]]
            path = state["Catch"][-1]["ResultPath"]
            assert (after["Type"], after["ResultPath"]) == ("Pass", path)
            # Not its cause, which may have 32 KiB: of all analyzers there may be 256.
            assert after["Parameters"] == {"Error.$": f"{path}.Error"}
    assert "Fail" not in {state["Type"] for state in states.values()}


def test_findings_are_compared_whatever_becomes_of_the_rules(definition: Json) -> None:
    found = iteration(definition)
    states = found["States"]
    assert found["StartAt"] == "Apply archive rules"
    assert states["Apply archive rules"]["Next"] == "Compare findings"
    assert states["Archive rules unknown"]["Next"] == "Compare findings"
    ends = {name for name, state in states.items() if state.get("End")}
    assert ends == {"Compare findings", "Analyzer unknown"}


def test_a_result_has_all_that_review_watch_reads(definition: Json) -> None:
    selector = definition["States"]["Look at each analyzer"]["ItemSelector"]
    written = {key.removesuffix(".$") for key in selector}
    assert written == review_watch.Result.__required_keys__
    empty: dict[str, Any] = {key: {} for key in written - {"analyzer"}}
    assert {key: value for key, value in selector.items() if not key.endswith(".$")} == empty


def test_some_analyzers_are_looked_at_side_by_side(definition: Json) -> None:
    found = definition["States"]["Look at each analyzer"]
    assert found["ItemsPath"] == "$.listed.analyzers"
    assert 1 < found["MaxConcurrency"] <= 10
    assert found["ItemProcessor"]["ProcessorConfig"]["Mode"] == "INLINE"
