"""Cold import of each function against importing boto3 alone: one line a function, as a ratio.

The bar is 1.6, the reach 1.3 (design.md §11). Run: ``python -m bench.cold_import``. Each import
runs in a fresh process; the ratio is of medians, taken in turns: noise is shared by both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 7


def seconds_to_import(module: str) -> float:
    """Return how long a fresh Python takes to start and import a module."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Print the ratio of every function, worst last."""
    steps = [
        f"lambdas.{path.parent.name}.{path.stem}"
        for path in sorted(ROOT.glob("lambdas/*/*.py"))
        if path.stem != "__init__"
    ]
    times: dict[str, list[float]] = {module: [] for module in ("boto3", *steps)}
    for _ in range(ROUNDS):
        for module, taken in times.items():
            taken.append(seconds_to_import(module))
    base = statistics.median(times["boto3"])
    ratios = {module: statistics.median(times[module]) / base for module in steps}
    for module, ratio in sorted(ratios.items(), key=lambda item: item[1]):
        print(f"cold import {module}: {ratio:.2f} x boto3 ({base:.2f} s)")


if __name__ == "__main__":
    main()
