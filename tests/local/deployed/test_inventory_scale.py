"""The inventory at organization size, on an IAM that throttles, fails and hangs.

`make test-scale` runs it with 50 accounts of 200 roles; the suite with fewer (PARE_SCALE=4x25).
"""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from local import demo, scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.deployed.conftest import Deployed

ACCOUNTS, ROLES = (int(each) for each in os.environ.get("PARE_SCALE", "4x25").split("x"))
SECONDS = 120 + ACCOUNTS * ROLES * 0.2
# Of an account; a second's worth at once. Pare may make up to 50 here (local/deploy.py), but 50
# accounts at once share two processors, and come to less by themselves.
LIMIT = 5 if ACCOUNTS < 20 else 1.5
FAULTS = [
    {"operation": "GenerateServiceLastAccessedDetails", "kind": "failed_job",
     "count": None, "rate": 0.05},
    {"operation": "GenerateServiceLastAccessedDetails", "kind": "stuck_job",
     "count": 1 + ACCOUNTS * ROLES // 500, "rate": 0.02},
]  # fmt: skip


@pytest.fixture
def accounts(deployed: Deployed) -> Iterator[list[scale.ScaledAccount]]:
    """Accounts of this test alone."""
    created = deployed.box.created.organization
    added = scale.add_accounts(
        deployed.box.emulator,
        accounts=ACCOUNTS,
        roles=ROLES,
    )
    yield added
    deployed.box.emulator.control("settings", {"last_accessed_calls_per_second": None})
    organizations = deployed.box.emulator.client(
        "organizations", created.management_account.account_id
    )
    scale.remove_accounts(organizations, added)


def test_every_principal_is_accounted_for_on_a_bad_day(
    deployed: Deployed, accounts: list[scale.ScaledAccount]
) -> None:
    box = deployed.box
    box.emulator.control(
        "settings", {"last_accessed_calls_per_second": LIMIT, "last_accessed_delay_seconds": 0.2}
    )
    box.emulator.control("faults", {"faults": FAULTS})
    before = box.emulator.control("state")["last_accessed_jobs"]

    execution = deployed.start("Inventory", {"scheduled_at": "2031-05-01T06:00:00Z"})
    ended = deployed.ended(execution, seconds=SECONDS)

    assert ended["status"] == "SUCCEEDED", (ended, deployed.history(execution)[-4:])
    after = box.emulator.control("state")["last_accessed_jobs"]
    bucket = box.outputs["EvidenceBucketName"]
    snapshot = demo.read_json(
        box, {"bucket": bucket, "key": "inventory/period=2031-05/snapshot.json"}
    )
    results = {each["account_id"]: each for each in snapshot["accounts"]}
    everybody = {arn for account in accounts for arn in account.role_arns}
    planted = {account.account_id for account in accounts}
    assert planted <= results.keys()
    unknown = {each: result["message"] for each, result in results.items() if result["error"]}
    assert (unknown, snapshot["unknown_account_count"]) == ({}, 0)

    rows = [
        json.loads(line)
        for line in gzip.decompress(demo.read_bytes(box, snapshot["rows"])).splitlines()
    ]
    seen = Counter(row["principal_arn"] for row in rows)
    assert set(seen.values()) == {1}, "a principal is there twice"
    assert everybody <= seen.keys(), "a principal is missing"
    assert len(rows) == snapshot["counts"]["principals"]

    reads = [
        json.loads(line)
        for account_id in results
        for ref in results[account_id]["last_accessed"]
        for line in gzip.decompress(demo.read_bytes(box, ref)).splitlines()
    ]
    assert Counter(read["principal_arn"] for read in reads) == seen, "each was read once"
    outcomes = Counter(read["outcome"] for read in reads)
    assert outcomes.keys() <= {"COMPLETED", "unknown"}
    assert all(read["services"] is not None for read in reads if read["outcome"] == "COMPLETED")
    assert all(read["error"] and read["message"] for read in reads if read["outcome"] == "unknown")
    assert outcomes["unknown"] == snapshot["counts"]["last_accessed_unknown"]
    # 5 % and a little, three times: one or two in ten thousand.
    assert outcomes["unknown"] <= 2 + len(reads) // 1_000
    assert any(read["attempts"] > 1 for read in reads), "nothing failed: the test shows nothing"

    assert after["throttled"] > before["throttled"], "nothing throttled: the test shows nothing"
    # Another test's proposal may have been throttled beside it.
    assert 0 < snapshot["throttled"] <= after["throttled"] - before["throttled"]
    assert snapshot["throttled"] < 0.35 * (after["calls"] - before["calls"])

    counted = scale.count_transitions(box.hub("stepfunctions"), execution)
    for account_id in planted:
        assert counted.children[account_id] == results[account_id]["transitions"], account_id
    run = run_record(deployed, execution)
    # The record is written by a step of the execution: what it enters after that it cannot know.
    assert run["counts"]["child_transitions"] == sum(counted.children.values())
    assert counted.total - 2 <= run["transitions"] <= counted.total
    of_planted = sum(counted.children[each] for each in planted)
    print(f"transitions a principal: {of_planted / len(everybody):.3f}")
    assert of_planted / len(everybody) <= (0.5 if ROLES < 100 else 0.1)
    assert run["counts"]["principals"] == len(rows)
    assert run["counts"]["last_accessed_unknown"] == outcomes["unknown"]


def run_record(deployed: Deployed, execution: str) -> dict[str, Any]:
    """Return the run record of an execution."""
    (run,) = [
        run for run in demo.runs_of(deployed.box, "inventory") if run["execution_arn"] == execution
    ]
    return run
