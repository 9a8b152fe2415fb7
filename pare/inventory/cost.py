"""What the monthly inventory costs, from what one was measured to do (docs/cost.md)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pare.data_tables import read_table

MEASURED = Path(__file__).parents[1] / "data" / "inventory_measured.json"
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


def project(
    measured: Measured, accounts: int, principals_an_account: float = PRINCIPALS_AN_ACCOUNT
) -> Cost:
    """Return what one inventory of an organization of so many accounts costs.

    What an account does is taken from the measured accounts, what the run itself does grows with
    the rows it reads; the reading of last accessed information takes as long as the pace lets it.
    """
    prices = read_table("prices.json", schema_version=1)["usd"]
    principals = round(accounts * principals_an_account)
    share = principals / measured.principals
    accounts_share = accounts / measured.accounts
    transitions = measured.own_transitions + measured.child_transitions * accounts_share
    calls_an_account = measured.last_accessed_calls / measured.principals * principals_an_account
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
