"""What findings cost by themselves, as docs/cost.md says: transitions, and their price."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pare.data_tables import read_table
from tests.infra.synthesis import ROOT
from tests.infra.test_state_machines import transitions

if TYPE_CHECKING:
    from tests.infra.synthesis import Template

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
