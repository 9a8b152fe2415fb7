"""What the monthly inventory costs, from what one was measured to do (docs/cost.md)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pare.data_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator

MEASURED = Path(__file__).with_name("inventory_measured.json")
ACCOUNTS = (10, 100, 1_000, 2_000)
PRINCIPALS_AN_ACCOUNT = 200
# infra/inventory_workflow.py and config/pare.yaml.
ACCOUNTS_AT_ONCE = 50
CALLS_PER_SECOND = 5.0

# --- What was not measured, because the emulator cannot show it. Each errs upwards. ---
# The pace leaves 1.0 to 1.2 of a turn between calls (pare.aws.last_accessed_jobs), and begins with
# a quarter of it: some seconds of each account.
PACE_OVERHEAD, START_SECONDS = 1.1, 10.0
# Every object that is written is read as often, and each asks for the key (in AWS a bucket key
# saves most of those).
GETS_A_PUT = 1.0
# A function's own lines and Lambda's, of one invocation.
LOG_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Step:
    """A function of the workflow: invocations, seconds by the clock, and its memory."""

    count: int
    seconds: float
    memory_mb: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One inventory on the emulator (bench/inventory.py)."""

    date: str
    accounts: int
    principals: int
    own_transitions: int
    child_transitions: int
    iam_calls: int
    last_accessed_calls: int
    throttled: int
    unknown: int
    seconds: float  # by the clock, the whole
    puts: int
    stored_bytes: int
    table_write_units: int
    own_steps: dict[str, Step]
    child_steps: dict[str, Step]

    def to_json(self) -> dict[str, object]:
        """Return it as the file has it."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path = MEASURED) -> Measured:
        """Return what was measured last."""
        found = json.loads(path.read_text(encoding="utf-8"))
        for steps in ("own_steps", "child_steps"):
            found[steps] = {name: Step(**step) for name, step in found[steps].items()}
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Cost:
    """A month of an organization."""

    accounts: int
    principals: int
    transitions: float
    iam_calls: float
    function_hours: float
    hours: float  # by the clock
    usd: dict[str, float]  # by service

    @property
    def total(self) -> float:
        """Return the sum."""
        return sum(self.usd.values())


READ = "Read last accessed"


def project(measured: Measured, accounts: int) -> Cost:
    """Return what an organization of so many accounts costs, at 200 principals an account.

    What an account does is taken from the measured accounts, what the run itself does grows with
    the rows it reads; the reading of last accessed information takes as long as the pace lets it.
    """
    prices = read_table("prices.json", schema_version=1)["usd"]
    principals = accounts * PRINCIPALS_AN_ACCOUNT
    share = principals / measured.principals
    accounts_share = accounts / measured.accounts
    transitions = measured.own_transitions + measured.child_transitions * accounts_share
    calls_an_account = measured.last_accessed_calls / measured.principals * PRINCIPALS_AN_ACCOUNT
    read_seconds = calls_an_account * PACE_OVERHEAD / CALLS_PER_SECOND + START_SECONDS
    gb_seconds = seconds = invocations = 0.0
    account_seconds = read_seconds
    for name, step in measured.child_steps.items():
        spent = step.seconds / measured.accounts
        if name == READ:
            spent = read_seconds
        else:
            account_seconds += spent
        seconds += spent * accounts
        gb_seconds += spent * accounts * step.memory_mb / 1024
        invocations += step.count * accounts_share
    own_seconds = 0.0
    for step in measured.own_steps.values():
        spent = step.seconds * max(1.0, share)
        own_seconds += spent
        seconds += spent
        gb_seconds += spent * step.memory_mb / 1024
        invocations += step.count
    puts = measured.puts * accounts_share
    gets = puts * GETS_A_PUT
    usd = {
        "Step Functions": transitions * prices["step_functions_transition"],
        "Lambda": gb_seconds * prices["lambda_gb_second_arm64"]
        + invocations * prices["lambda_request"],
        "S3": puts * prices["s3_put"]
        + gets * prices["s3_get"]
        + measured.stored_bytes * share / 1e9 * prices["s3_storage_gb_month"],
        "KMS": (puts + gets) * prices["kms_request"],
        "DynamoDB": measured.table_write_units * share * prices["dynamodb_write_unit"],
        "Logs": invocations * LOG_BYTES / 1e9 * prices["cloudwatch_logs_gb"],
    }
    turns = math.ceil(accounts / ACCOUNTS_AT_ONCE)
    return Cost(
        accounts=accounts,
        principals=principals,
        transitions=transitions,
        iam_calls=measured.iam_calls * share,
        function_hours=seconds / 3600,
        hours=(turns * account_seconds + own_seconds) / 3600,
        usd=usd,
    )


def figures(measured: Measured) -> dict[str, str]:
    """Return the figures of a measured inventory, for people."""
    accounts, principals = measured.accounts, measured.principals
    total = measured.own_transitions + measured.child_transitions
    all_steps = [*measured.own_steps.values(), *measured.child_steps.values()]
    function_seconds = sum(step.seconds for step in all_steps)
    read = measured.child_steps[READ]
    return {
        "accounts": f"{accounts:,}",
        "principals": f"{principals:,}",
        "transitions a principal": f"{total / principals:.3f}",
        "transitions an account": f"{measured.child_transitions / accounts:.1f}",
        "batches an account": f"{read.count / accounts:.2f}",
        "IAM calls a principal": f"{measured.iam_calls / principals:.2f}",
        "of these, last accessed": f"{measured.last_accessed_calls / principals:.2f}",
        "of these, throttled": f"{measured.throttled / measured.last_accessed_calls:.1%}",
        "principals whose last accessed is unknown": f"{measured.unknown:,}",
        "function seconds a principal (emulated)": f"{function_seconds / principals:.2f}",
        "of these, reading last accessed": f"{read.seconds / principals:.2f}",
        "seconds by the clock (emulated)": f"{measured.seconds:,.0f}",
        "objects written an account": f"{measured.puts / accounts:.1f}",
        "bytes stored a principal": f"{measured.stored_bytes / principals:,.0f}",
        "table write units a principal": f"{measured.table_write_units / principals:.2f}",
    }


def tables(measured: Measured) -> Iterator[str]:
    """Yield the lines of the two tables that docs/cost.md has."""
    yield from table(measured)
    yield ""
    yield f"| The inventory measured on {measured.date} | |"
    yield "| --- | --: |"
    for name, value in figures(measured).items():
        yield f"| {name} | {value} |"


def table(measured: Measured) -> Iterator[str]:
    """Yield the lines of the projection."""
    services = list(project(measured, ACCOUNTS[0]).usd)
    yield (
        "| Accounts | Principals | Transitions | a principal | IAM calls | Function hours | "
        f"Hours by the clock | {' | '.join(services)} | **USD a month** | "
        "USD per 1,000 principals |"
    )
    yield "| --: " * (9 + len(services)) + "|"
    for accounts in ACCOUNTS:
        cost = project(measured, accounts)
        each = " | ".join(f"{cost.usd[name]:,.2f}" for name in services)
        yield (
            f"| {cost.accounts:,} | {cost.principals:,} | {cost.transitions:,.0f} | "
            f"{cost.transitions / cost.principals:.3f} | {cost.iam_calls:,.0f} | "
            f"{cost.function_hours:,.1f} | {cost.hours:,.1f} | {each} | **{cost.total:,.2f}** | "
            f"{cost.total / cost.principals * 1000:,.3f} |"
        )
