"""What proposing a policy for every principal costs, against reading the logs alone.

    python -m bench.propose [--size 1GB] [--rounds N]

Both are whole commands with one process, in turns, in processor time (user and system):
``pare activity LOGS -o FILE`` and ``pare policy propose --trail LOGS --all -o DIR``. The bar: at
most twice
the reading alone.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from typing import TYPE_CHECKING

from bench.activity import FULL_SIZE, PRINCIPALS, pare_command, run_command
from bench.trail_files import CACHE, Parameters, make_trail, parse_size

if TYPE_CHECKING:
    from bench.activity import Run

BAR = 2.0


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description="What proposing for everybody costs.")
    parser.add_argument("--size", type=parse_size, default=FULL_SIZE, help="50MB, 1GB …")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    trail = make_trail(Parameters(size=given.size, principals=PRINCIPALS[-1]))
    (CACHE / "out").mkdir(parents=True, exist_ok=True)
    proposals = CACHE / "out" / "proposals"
    logs = [trail.folder, "--jobs", "1"]
    commands = {
        "reading alone": ["activity", *logs, "-o", CACHE / "out" / "activity.ndjson.gz"],
        "reading and proposing": ["policy", "propose", "--all", "-o", proposals, "--trail", *logs],
    }
    runs: dict[str, list[Run]] = {what: [] for what in commands}
    for _ in range(given.rounds):
        for what, command in commands.items():
            shutil.rmtree(proposals, ignore_errors=True)
            runs[what].append(run_command([[pare_command(), *command]]))
    costs = {what: statistics.median(run.cpu for run in each) for what, each in runs.items()}
    for what, cost in costs.items():
        print(f"{what:<24} {cost:7.2f} s  {max(run.peak for run in runs[what]) / 1e6:,.0f} MB")
    reading, both = costs.values()
    print(f"{'against reading alone':<24} {both / reading:7.2f}    bar <= {BAR:.0f}")


if __name__ == "__main__":
    main()
