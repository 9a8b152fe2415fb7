"""The load test's plan, played against the emulator: its analyzers end as the plan says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local import findings_load
from local.findings_load import plan_load
from tests.local.emulator_fixtures import MANAGEMENT, WORKLOAD

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


def test_the_analyzers_end_as_planned_whatever_happens_to_the_events(
    box: Box, settings: Emulator
) -> None:
    plan = plan_load(
        60,
        [WORKLOAD, "700000000001"],
        ["mx-central-1", "ca-west-1"],
        hub_account_id=MANAGEMENT,
        now=datetime.now(UTC),
    )
    findings_load.make_analyzers(settings, plan)
    findings_load.switch_faults_on(settings, rate=0.2)
    before = settings.control("state")["events"]

    findings_load.play(settings, plan, batch=20)
    counts = findings_load.wait_for_events(settings, 30)
    findings_load.switch_faults_off(settings)

    ends = {i: end.status for i, end in plan.ends.items() if end.status is not None}
    assert findings_load.at_the_analyzers(box.emulator, plan) == ends
    sent, lost = (counts[name] - before[name] for name in ("sent", "lost"))
    assert sent == len(plan.steps)
    assert 0 < lost < sent / 3
