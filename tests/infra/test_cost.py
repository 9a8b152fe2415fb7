"""What findings cost by themselves, as docs/cost.md says: transitions, and their price."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pare.data_tables import read_table
from tests.infra.synthesis import ROOT
from tests.infra.test_state_machines import transitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.infra.synthesis import Json, Template

FUNCTION = re.compile(r"<\w+\.Arn>")
ENDED: dict[str, str | list[str]] = {"Run outcome?": "Run recorded"}
HOURS, DAYS = 730, 30.4  # of a month


def test_the_page_says_what_a_round_a_message_a_reconcile_and_an_event_cost(
    pipeline: Template,
) -> None:
    machines = pipeline.state_machines()
    notification, reconcile = machines["Notification"], machines["Reconcile"]
    of_round = transitions(notification, {**ENDED, "More to tell?": "Record run"})
    message = notification["States"]["Tell each"]["ItemProcessor"]
    of_message = transitions(message, {"Chat wanted?": "Tell chat"})
    of_reconcile = transitions(reconcile, {**ENDED, "More to start?": "Record run"})
    analyzer = reconcile["States"]["Look at each analyzer"]["ItemProcessor"]
    of_analyzer = transitions(analyzer, {})
    finding = {"What came?": "Take finding", "Meant?": "Policy wanted?",
               "Policy wanted?": "Urgent?"}  # fmt: skip
    quiet = transitions(machines["Finding"], {**ENDED, **finding, "Urgent?": "Record run"})
    urgent = transitions(machines["Finding"], {**ENDED, **finding, "Urgent?": "Wait until settled"})
    usd: float = read_table("prices.json", schema_version=1)["usd"]["step_functions_transition"]
    page = (ROOT / "docs/cost.md").read_text(encoding="utf-8")
    rows = {
        cells[0]: cells[1:]
        for line in re.findall(r"^\| (.+) \|$", page[page.index("## Findings") :], re.M)
        if (cells := line.split(" | "))
    }
    for name, count, per_month in (
        ("the hourly round, with nothing to tell", of_round, HOURS),
        ("the daily reconcile, of 5 analyzers", of_reconcile + 5 * of_analyzer, DAYS),
        ("an event that is no news, 1,000 a month", quiet, 1_000),
        ("an event that people hear of, 1,000 a month", urgent, 1_000),
        ("a message, 100 a month", of_message, 100),
    ):
        cost = f"{count * per_month * usd:.2f}"
        assert rows[name] == [f"{count}", f"{per_month:,.0f}", cost], (name, count, cost)


def entered(definition: Json, choices: dict[str, str]) -> Iterator[Json]:
    """Yield the states of an execution that goes well; ``choices``: Choice -> where it leads."""
    name: str | None = definition["StartAt"]
    while name:
        state = definition["States"][name]
        yield state
        for branch in state.get("Branches", ()):
            yield from entered(branch, choices)
        name = choices[name] if state["Type"] == "Choice" else state.get("Next")


def test_the_bill_counts_the_states_functions_and_alarms_of_the_templates(
    pipeline: Template,
) -> None:
    machines = pipeline.state_machines()
    counts = read_table("cost_counts.json", schema_version=1)
    ended = {"Run outcome?": "Run recorded"}
    ways: dict[str, tuple[Json, dict[str, str]]] = {
        "finding": (machines["Finding"], {
            **ended, "What came?": "Take finding", "Meant?": "Policy wanted?",
            "Policy wanted?": "Urgent?", "Urgent?": "Wait until settled"}),
        "message": (child_of(machines["Notification"], "Tell each"),
                    {"Chat wanted?": "Tell chat"}),
        "hourly_round": (machines["Notification"], {**ended, "More to tell?": "Record run"}),
        "reconcile": (machines["Reconcile"], {**ended, "More to start?": "Record run"}),
        "reconcile_analyzer": (child_of(machines["Reconcile"], "Look at each analyzer"), {}),
        # With Access Analyzer, whose job ends within three intervals.
        "proposal": (machines["Policy"], {
            **ended, "May be narrowed?": "Choose route",
            "Access Analyzer asked?": "Start policy generation",
            "Policy generation ended?": "Policy generation known"}),
        "night": (machines["Activity"], {**ended, "More to read?": "Record run"}),
        "night_account": (child_of(machines["Activity"], "Read accounts"),
                          {"Account read?": "Merge activity"}),
    }  # fmt: skip
    found = {run: list(entered(*way)) for run, way in ways.items()}
    assert counts["transitions"] == {run: len(states) for run, states in found.items()}
    assert counts["invocations"] == {
        run: sum(1 for state in states if FUNCTION.fullmatch(state.get("Resource", "")))
        for run, states in found.items()
    }
    # What is done inside an execution, item after item, begins and ends none.
    inside = {"message", "reconcile_analyzer"}
    assert set(counts["executions"]) == counts["transitions"].keys() - inside
    assert counts["alarms"] == len(pipeline.resources("AWS::CloudWatch::Alarm"))


def child_of(machine: Json, over: str) -> Json:
    """Return what a map does with each of its items."""
    child: Json = machine["States"][over]["ItemProcessor"]
    return child
