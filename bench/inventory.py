"""What the monthly inventory does at organization size, on the emulator: one line a figure.

    python -m bench.inventory [--size 4x25] [--size 50x200] [--keep]
    python -m bench.inventory --project

A size is accounts x roles. IAM throttles the calls of an account, 5 % of the last accessed
jobs fail and a few never end. ``--keep`` writes the last size's figures into
pare/data/inventory_measured.json, from which ``--project`` prints the tables of docs/cost.md.
Seconds are those of functions that share this machine's processors, with no network in between: on
AWS they would differ. The five seeded accounts are in all figures.
"""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.inventory_cost import figures, tables
from local import demo, process, scale
from pare.clock import parse_time
from pare.inventory.cost import MEASURED, Measured, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of an account. Many accounts at once share this machine's processors, and come to less than 5 a
# second by themselves: they are throttled earlier.
CALLS_PER_SECOND, CALLS_PER_SECOND_OF_MANY, MANY = 5, 1.5, 20
FAULTS = [
    {"operation": "GenerateServiceLastAccessedDetails", "kind": "failed_job",
     "count": None, "rate": 0.05},
    {"operation": "GenerateServiceLastAccessedDetails", "kind": "stuck_job",
     "count": 5, "rate": 0.01},
]  # fmt: skip


def main() -> None:
    """Print one line a figure, or the projection."""
    parser = argparse.ArgumentParser(description="What the inventory does at organization size.")
    parser.add_argument("--size", action="append", help="accounts x roles, such as 50x200")
    parser.add_argument("--keep", action="store_true", help=f"write {MEASURED.name}")
    parser.add_argument("--project", action="store_true", help="print the tables of docs/cost.md")
    given = parser.parse_args()
    if given.project:
        print("\n".join(tables(Measured.read())))
        return
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder)
        try:
            box = demo.bring_up(state_dir, port=free_port(), watch=demo.Stopwatch(), wait_scale=0.0)
            for number, size in enumerate(given.size or ["4x25"]):
                accounts, roles = (int(each) for each in size.split("x"))
                measured = measure(box, accounts, roles, period=f"{2030 + number}-05")
                for name, value in figures(measured).items():
                    print(f"{size:<8} {name:<42} {value:>12}")
        finally:
            process.stop(state_dir)
    if given.keep:
        text = json.dumps(measured.to_json(), indent=2, sort_keys=True) + "\n"
        MEASURED.write_text(text, encoding="utf-8")


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(box: demo.Box, accounts: int, roles: int, *, period: str) -> Measured:
    """Return what one inventory did with so many accounts of so many roles."""
    created = box.created.organization
    added = scale.add_accounts(box.emulator, accounts=accounts, roles=roles)
    box.emulator.control(
        "settings",
        {
            "last_accessed_calls_per_second": (
                CALLS_PER_SECOND if accounts < MANY else CALLS_PER_SECOND_OF_MANY
            ),
            "last_accessed_delay_seconds": 0.5,
        },
    )
    box.emulator.control("faults", {"faults": FAULTS})
    before = box.emulator.control("state")["last_accessed_jobs"]
    began = time.monotonic()
    execution = run(box, period, seconds=600 + accounts * roles)
    seconds = time.monotonic() - began
    after = box.emulator.control("state")["last_accessed_jobs"]
    box.emulator.control("faults", method="DELETE")
    bucket = box.outputs["EvidenceBucketName"]
    snapshot = demo.read_json(
        box, {"bucket": bucket, "key": f"inventory/period={period}/snapshot.json"}
    )
    counted = scale.count_transitions(box.hub("stepfunctions"), execution)
    puts, stored = objects(box, f"inventory/period={period}/")
    memory = memory_by_step(box)
    organizations = box.emulator.client("organizations", created.management_account.account_id)
    scale.remove_accounts(organizations, added)
    return Measured(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        accounts=snapshot["account_count"],
        principals=snapshot["counts"]["principals"],
        own_transitions=counted.own,
        child_transitions=sum(counted.children.values()),
        iam_calls=snapshot["calls"],
        last_accessed_calls=after["calls"] - before["calls"],
        throttled=after["throttled"] - before["throttled"],
        unknown=snapshot["counts"]["last_accessed_unknown"],
        seconds=round(seconds, 1),
        puts=puts,
        stored_bytes=stored,
        table_write_units=write_units(box),
        own_steps=steps(box, [execution], memory),
        child_steps=steps(box, scale.children(box.hub("stepfunctions"), execution), memory),
    )


def run(box: demo.Box, period: str, *, seconds: float) -> str:
    """Run the inventory of a period and return the execution's ARN."""
    states = box.hub("stepfunctions")
    arn: str = states.start_execution(
        stateMachineArn=box.outputs["InventoryWorkflowArn"],
        input=json.dumps({"scheduled_at": f"{period}-01T06:00:00Z"}),
    )["executionArn"]
    ended = demo.wait_for(
        lambda: (
            (status := states.describe_execution(executionArn=arn)["status"]) != "RUNNING"
            and status
        ),
        "the inventory",
        seconds,
    )
    if ended != "SUCCEEDED":
        raise SystemExit(f"The inventory ended as {ended}.")
    return arn


def objects(box: demo.Box, prefix: str) -> tuple[int, int]:
    """Return how many objects were written under a prefix (each version), and their bytes."""
    pages = box.hub("s3").get_paginator("list_object_versions").paginate(
        Bucket=box.outputs["EvidenceBucketName"], Prefix=prefix
    )  # fmt: skip
    sizes = [each["Size"] for page in pages for each in page.get("Versions", [])]
    return len(sizes), sum(sizes)


def write_units(box: demo.Box) -> int:
    """Return the write units of the principals table's items: one a KB, begun ones too."""
    pages = box.hub("dynamodb").get_paginator("scan").paginate(
        TableName=box.outputs["PrincipalsTableName"]
    )  # fmt: skip
    return sum(-(-len(json.dumps(item)) // 1024) for page in pages for item in page["Items"])


def memory_by_step(box: demo.Box) -> dict[str, int]:
    """Return the memory of each function in MB, by the name its state has."""
    pages = box.hub("lambda").get_paginator("list_functions").paginate()
    found = {}
    for function in (each for page in pages for each in page["Functions"]):
        step = function["Handler"].split(".")[-2]
        found[step.replace("_", " ").capitalize()] = int(function["MemorySize"])
    return found


def steps(box: demo.Box, executions: list[str], memory: dict[str, int]) -> dict[str, Step]:
    """Return invocations and seconds of each function, from the histories of executions."""
    counts: dict[str, int] = defaultdict(int)
    spent: dict[str, float] = defaultdict(float)
    states = box.hub("stepfunctions")
    for execution in executions:
        for name, seconds in tasks(states, execution):
            counts[name] += 1
            spent[name] += seconds
    return {
        name: Step(counts[name], round(spent[name], 1), memory[name]) for name in sorted(counts)
    }


def tasks(states: Any, execution: str) -> Iterator[tuple[str, float]]:
    """Yield the name and seconds of each Task: from its begin to the next state, or the end."""
    described = states.describe_execution(executionArn=execution)
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    entered = [
        event
        for page in pages
        for event in page["events"]
        if event["type"].endswith("StateEntered")
    ]
    moments = [*(event["timestamp"] for event in entered), described["stopDate"]]
    for event, until in zip(entered, moments[1:], strict=True):
        if event["type"] == "TaskStateEntered":
            name = event["stateEnteredEventDetails"]["name"]
            yield name, (_moment(until) - _moment(event["timestamp"])).total_seconds()


def _moment(value: str | datetime) -> datetime:
    return parse_time(value) if isinstance(value, str) else value


if __name__ == "__main__":
    main()
