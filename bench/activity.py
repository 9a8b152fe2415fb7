"""How fast ``pare activity`` reads logs, and in how much memory: one line a figure.

Everything is measured in one run, on the same files, in turns (A B C A B C …), so that noise is
shared: decompression alone with each wheel, decompression with a full parse, Pare on one core and
on all, and trailscraper. Figures are ratios of medians to decompression alone with the fastest
wheel. At the end stands each bar of design §11 that concerns reading, met or not. Bench figures
are for reading; no test depends on them. docs/benchmarks.md says more.

Run: ``python -m bench.activity`` (50 MB), ``--size 1GB`` (the size the bars are stated for).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
import venv
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.trail_files import CACHE, MEGABYTE, ROOT, Parameters, Trail, make_trail, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

FULL_SIZE = 1000 * MEGABYTE
WHEELS = ("isal==1.9.1", "deflate==0.9.0", "zlib-ng==1.1.0", "orjson==3.13.0", "msgspec==0.22.0")
TRAILSCRAPER = "trailscraper==0.10.0"
STDLIB = "stdlib"
DECOMPRESSORS = ("isal", "deflate", "zlib-ng", STDLIB)
PARSERS = ("json", "orjson", "msgspec")
PRINCIPALS = (10, 500, 5_000)
GROWTH = 20
# "Flat" in the bars: what noise alone may make of two equal figures on a busy machine.
FLAT = 1.15
# Events remembered where de-duplication is to be left aside.
SMALL_SEEN = 10_000
_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took: ``cpu`` of all its processes, ``peak`` of the largest."""

    wall: float
    cpu: float
    peak: int = 0  # bytes
    tree_peak: int = 0  # bytes, all processes together, where it was sampled


# ------------------------------------------------------------------------------------ what is run


class Bench:
    """Runs the commands on a trail, and keeps what each run took."""

    def __init__(self, trail: Trail, rounds: int, wheels: Path | None, other: Path | None) -> None:
        self.trail = trail
        self.rounds = rounds
        self.wheels = wheels
        self.trailscraper = other
        self.output = CACHE / "out"
        self.output.mkdir(parents=True, exist_ok=True)
        self.runs: dict[str, list[Run]] = {}
        self.missing: dict[str, str] = {}

    def take_turns(self, jobs: dict[str, Callable[[], Run]]) -> None:
        """Run every job once a round, each time in the same order."""
        for number in range(self.rounds):
            for name, job in jobs.items():
                note(f"round {number + 1} of {self.rounds}: {name}")
                self.runs.setdefault(name, []).append(job())

    def cpu(self, name: str) -> float:
        """Return the median of a job's processor time, in seconds."""
        return statistics.median(run.cpu for run in self.runs[name])

    def wall(self, name: str) -> float:
        """Return the median of a job's time by the clock, in seconds."""
        return statistics.median(run.wall for run in self.runs[name])

    def step(self, name: str) -> Run:
        """Decompress, or decompress and parse, in a process of its own."""
        found = self.steps([name])[name]
        if isinstance(found, str):
            raise SystemExit(f"bench: {name}: {found}")
        return found

    def steps(self, names: Sequence[str]) -> dict[str, Run | str]:
        """Do several steps in one process; a text says why one could not be done."""
        path = str(self.wheels) if self.wheels is not None else ""
        result = subprocess.run(
            [sys.executable, str(ROOT / "bench" / "reading_steps.py"), self.trail.folder, *names],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
            capture_output=True,
            text=True,
        )
        found: dict[str, Run | str] = {}
        for line in result.stdout.splitlines():
            table = json.loads(line)
            if "missing" in table:
                found[table["step"]] = table["missing"]
                continue
            if table["bytes"] != self.trail.bytes:
                raise SystemExit(f"bench: {table['step']} lost bytes: {table['bytes']}")
            found[table["step"]] = Run(table["wall"], table["cpu"])
        return found

    def pare(self, *options: str, trail: Trail | None = None, sample: bool = False) -> Run:
        """Run ``pare activity`` on a trail, as its user does; check that nothing was lost."""
        trail = trail or self.trail
        output = self.output / "activity.ndjson.gz"
        output.unlink(missing_ok=True)
        command = [pare_command(), "activity", trail.folder, "-o", output, *options]
        run = run_command([command], sample=sample)
        check_counts(output, trail)
        return run

    def start(self) -> Run:
        """Run ``pare activity`` on one file of one record: what it takes before it reads."""
        smallest = min(self.trail.paths(), key=lambda path: path.stat().st_size)
        output = self.output / "start.ndjson.gz"
        return run_command([[pare_command(), "activity", smallest, "-o", output, "--jobs", "1"]])

    def scrape(self) -> Run:
        """Run trailscraper for one role, the busiest, as its user does: select, then generate."""
        assert self.trailscraper is not None
        select = [
            self.trailscraper, "select", "--log-dir", self.trail.folder,
            "--filter-assumed-role-arn", self.trail.role_arn,
        ]  # fmt: skip
        output = self.output / "policy.json"
        run = run_command([select, [self.trailscraper, "generate"]], output=output)
        if not json.loads(output.read_text())["Statement"]:
            raise SystemExit("bench: trailscraper found nothing for the role")
        return run


def run_command(
    commands: Sequence[Sequence[object]], *, output: Path | None = None, sample: bool = False
) -> Run:
    """Run commands, each reading what the one before prints; raise SystemExit if one fails."""
    begin = time.perf_counter()
    processes: list[subprocess.Popen[bytes]] = []
    target = output.open("wb") if output is not None else subprocess.DEVNULL
    errors = (CACHE / "out" / "errors.txt").open("w+b")
    for number, command in enumerate(commands):
        is_last = number == len(commands) - 1
        processes.append(
            subprocess.Popen(
                [str(part) for part in command],
                stdin=processes[-1].stdout if processes else subprocess.DEVNULL,
                stdout=target if is_last else subprocess.PIPE,
                stderr=errors,
            )
        )
    for process in processes[:-1]:
        assert process.stdout is not None
        process.stdout.close()  # so that it is told when its reader ends
    sampler = MemorySampler(processes[0].pid) if sample else None
    cpu, peak = 0.0, 0
    for process, command in zip(processes, commands, strict=True):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += used.ru_utime + used.ru_stime
        # Linux counts in KiB, macOS in bytes.
        peak = max(peak, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        if process.returncode != 0:
            errors.seek(0)
            told = errors.read().decode(errors="replace").strip()
            raise SystemExit(f"bench: {command[0]} ended with {process.returncode}: {told}")
    wall = time.perf_counter() - begin
    tree_peak = sampler.stop() if sampler is not None else 0
    return Run(wall, cpu, peak, max(tree_peak, 0))


class MemorySampler:
    """Notes the memory of a process and its descendants: the sum of their proportional set sizes.

    A page that several of them share counts once (``Pss`` of ``/proc/PID/smaps_rollup``; Linux).
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def stop(self) -> int:
        """Return the highest sum seen."""
        self.done.set()
        self.thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self.done.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(proportional_set_size, family(self.pid))))


def family(pid: int) -> Iterable[int]:
    """Yield a process and its descendants."""
    yield pid
    try:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from family(int(child))
    except OSError:  # it has ended
        return


def proportional_set_size(pid: int) -> int:
    """Return the memory of a process in bytes, its share of what it shares; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024


def pare_command() -> Path:
    """Return the command that is installed beside this Python."""
    return Path(sys.executable).parent / "pare"


def check_counts(output: Path, trail: Trail) -> None:
    """Raise SystemExit unless an activity file accounts for every record of the trail."""
    with gzip.open(output) as lines:
        counts = json.loads(next(lines))["records"]
    duplicates = sum(n for rule, n in counts["ignored"].items() if rule.startswith("duplicate"))
    if (counts["total"], duplicates) != (trail.records, trail.records - trail.unique_records):
        raise SystemExit(f"bench: {trail.records} records in, but pare counted {counts}")


# --------------------------------------------------------------------- what others need installed


def installed_wheels() -> Path | None:
    """Return the folder of the wheels compared, or None, with a note, if they are not to be had."""
    folder = CACHE / ("wheels-" + "-".join(WHEELS).replace("==", "_"))
    stamp = folder / ".complete"
    if not stamp.exists():
        note("installing " + ", ".join(WHEELS))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "--target", str(folder), "--only-binary=:all:", *WHEELS],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            skipped("the wheels compared", done.stderr)
            return None
        stamp.touch()
    return folder


def installed_trailscraper() -> Path | None:
    """Return trailscraper's command in an environment of its own, or None, with a note."""
    folder = CACHE / TRAILSCRAPER.replace("==", "-")
    command = folder / "bin" / "trailscraper"
    stamp = folder / ".complete"
    if not stamp.exists():
        note(f"installing {TRAILSCRAPER}")
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet", TRAILSCRAPER],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            skipped(TRAILSCRAPER, done.stderr)
            return None
        stamp.touch()
    return command


def skipped(what: str, why: str) -> None:
    """Say loudly what is not compared."""
    reason = why.strip().splitlines()[-1:] or ["no reason given"]
    print(f"NOT COMPARED: {what} could not be installed: {reason[0]}", file=sys.stderr)


def note(text: str) -> None:
    """Tell someone who waits what is being done, where there is someone."""
    if sys.stderr.isatty():
        print(f"\r\033[K… {text}", end="", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------- the figures


class Report:
    """The figures, printed as they come and kept for ``--json``."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}
        self.bars: list[dict[str, Any]] = []

    def line(self, name: str, text: str, **values: float | str) -> None:
        """Print one figure."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(f"{name}: {text}", flush=True)
        self.figures[name] = values

    def bar(
        self, name: str, value: float, bar: float, reach: float | None, *, more: bool, unit: str
    ) -> None:
        """Print whether a bar is met, and what lies beyond it."""

        def holds(mark: float) -> bool:
            return value >= mark if more else value <= mark

        sign = ">=" if more else "<="
        text = f"{value:.2f}{unit}; bar {sign} {bar:g}{unit}: {'met' if holds(bar) else 'NOT MET'}"
        if reach is not None:
            text += f"; reach {sign} {reach:g}{unit}: {'met' if holds(reach) else 'not met'}"
        print(f"bar, {name}: {text}", flush=True)
        self.bars.append(
            {"name": name, "value": value, "bar": bar, "met": holds(bar), "reach": reach}
        )


def measure_reading(bench: Bench, report: Report) -> tuple[str, float]:
    """Print how fast each of them reads; return the fastest wheel and its seconds."""
    wheels = DECOMPRESSORS if bench.wheels is not None else (STDLIB,)
    # Warm-up: the files into the page cache, and which wheel is fastest.
    first = bench.steps(wheels)
    ready = {name: run for name, run in first.items() if isinstance(run, Run)}
    for name, why in first.items():
        if isinstance(why, str):
            skipped(name, why)
    fastest = min(ready, key=lambda name: ready[name].cpu)
    parsers = PARSERS if bench.wheels is not None else PARSERS[:1]
    jobs: dict[str, Callable[[], Run]] = {}
    for name in ready:
        jobs[name] = lambda name=name: bench.step(name)  # type: ignore[misc]
    for parser in parsers:
        jobs[f"{fastest}+{parser}"] = lambda parser=parser: bench.step(  # type: ignore[misc]
            f"{fastest}+{parser}"
        )
    jobs["start"] = bench.start
    jobs["pare 1"] = lambda: bench.pare("--jobs", "1")
    jobs["pare all"] = bench.pare
    if bench.trailscraper is not None:
        jobs["trailscraper"] = bench.scrape
    bench.take_turns(jobs)

    fastest = min(ready, key=bench.cpu)
    base = bench.cpu(fastest)
    megabytes, events = bench.trail.bytes / MEGABYTE, bench.trail.records

    def figure(name: str, label: str, seconds: float, more: str = "") -> None:
        report.line(
            label,
            f"{base / seconds:.3f} of decompression alone "
            f"({seconds:.2f} s, {megabytes / seconds:,.0f} MB/s, "
            f"{seconds / events * 1e6:.2f} µs an event{more})",
            ratio=base / seconds,
            seconds=seconds,
            low=min(run.cpu for run in bench.runs[name]),
            high=max(run.cpu for run in bench.runs[name]),
        )

    for name in sorted(ready, key=bench.cpu):
        figure(
            name, f"decompression alone, {name}", bench.cpu(name), ", fastest" * (name == fastest)
        )
    for name in sorted((n for n in bench.runs if "+" in n), key=bench.cpu):
        figure(name, f"decompression and full parse, {name}", bench.cpu(name))
    start = bench.cpu("start")
    report.line("pare, start", f"{start:.2f} s (on a file of one record)", seconds=start)
    figure("pare 1", "pare, 1 core", bench.cpu("pare 1"))
    figure("pare 1", "pare, 1 core, start apart", bench.cpu("pare 1") - start)
    quicker = bench.wall("pare 1") / bench.wall("pare all")
    figure(
        "pare all", f"pare, all {os.cpu_count()} cores, by the clock", bench.wall("pare all"),
        f", {quicker:.2f} times as fast as on 1",
    )  # fmt: skip
    if bench.trailscraper is not None:
        figure("trailscraper", "trailscraper, one role", bench.cpu("trailscraper"))
        times = bench.cpu("trailscraper") / bench.cpu("pare 1")
        report.line(
            "pare, 1 core, against trailscraper",
            f"{times:.1f} times as fast, for {bench.trail.principals:,} principals against 1",
            times=times,
        )
    return fastest, base


def measure_memory(bench: Bench, report: Report, *, growth_base: Trail, growth: Trail) -> None:
    """Print the peak memory, and how it grows with the input."""
    note("memory")
    one = bench.pare("--jobs", "1").peak
    report.line(
        "peak memory, 1 core",
        f"{megabytes(one)} (highest resident set of the process)",
        bytes=one,
    )
    if sys.platform == "linux":
        every = bench.pare(sample=True).tree_peak
        report.line(
            "peak memory, all cores",
            f"{megabytes(every)} (processes together, shared pages once, sampled every 20 ms)",
            bytes=every,
        )
    small, large = read_aside(growth_base), read_aside(growth)
    report.line(
        f"peak memory as input grows {GROWTH} times, de-duplication aside",
        f"{large / small:.2f} times ({megabytes(small)} at {growth_base.bytes / MEGABYTE:,.0f} MB, "
        f"{megabytes(large)} at {growth.bytes / MEGABYTE:,.0f} MB; the same calls over and over, "
        f"{SMALL_SEEN:,} events remembered)",
        ratio=large / small,
    )


def read_aside(trail: Trail) -> int:
    """Return the peak memory of reading a trail on one core with few events remembered."""
    return run_command(
        [[sys.executable, "-m", "bench.activity", "--read-aside", trail.folder]]
    ).peak


def read_with_few_events_remembered(folder: Path) -> None:
    """Do what ``pare activity --jobs 1`` does, but for the set of events, which is kept small."""
    from pare.cloudtrail.activity_file import write_activity
    from pare.cloudtrail.deduplicate import Seen
    from pare.cloudtrail.digest import Digest
    from pare.cloudtrail.parallel import digest_files

    files = sorted(folder.glob("AWSLogs/**/*.json.gz"))
    activity = digest_files(
        [str(file) for file in files],
        [file.stat().st_size for file in files],
        Digest,
        jobs=1,
        seen=Seen(SMALL_SEEN),
    )
    with (CACHE / "out" / "aside.ndjson.gz").open("wb") as output:
        write_activity(activity, output)


def measure_principals(bench: Bench, report: Report, trails: Sequence[Trail]) -> None:
    """Print how the time grows with the number of principals."""
    bench.take_turns(
        {
            f"principals {trail.principals}": lambda trail=trail: bench.pare(  # type: ignore[misc]
                "--jobs", "1", trail=trail
            )
            for trail in trails
        }
    )
    start = bench.cpu("start")
    each = [
        (bench.cpu(f"principals {trail.principals}") - start) / trail.records for trail in trails
    ]
    told = ", ".join(
        f"{seconds * 1e6:.2f} µs at {trail.principals:,}"
        for seconds, trail in zip(each, trails, strict=True)
    )
    report.line(
        "time an event as principals grow",
        f"{each[-1] / each[0]:.2f} times ({told})",
        ratio=each[-1] / each[0],
    )


def judge(bench: Bench, report: Report, base: float) -> None:
    """Print each bar of design §11 that concerns reading."""
    figures = report.figures
    if bench.trail.bytes < FULL_SIZE * 0.99:
        print("(The bars are stated for 1 GB: here they are indications.)")
        ratio = figures["pare, 1 core, start apart"]["ratio"]
        name = "log reading, 1 core, start apart, against decompression alone"
    else:
        ratio = figures["pare, 1 core"]["ratio"]
        name = "log reading, 1 core, against decompression alone"
    report.bar(name, ratio, 0.20, 0.30, more=True, unit="")
    if bench.trailscraper is not None:
        times = figures["pare, 1 core, against trailscraper"]["times"]
        report.bar("against trailscraper's pass for one role", times, 5, None, more=True, unit="x")
    peak = max(figures[name]["bytes"] for name in figures if name.startswith("peak memory, "))
    report.bar("peak memory", peak / MEGABYTE, 300, 150, more=False, unit=" MB")
    for name in figures:
        if "grow" in name:
            report.bar(name, figures[name]["ratio"], FLAT, None, more=False, unit="x")


def megabytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / MEGABYTE:,.0f} MB"


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "wheels": WHEELS,
        "installed": {
            name: metadata.version(name) for name in ("pare", "msgspec", "isal") if _has(name)
        },
    }


def _has(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast pare activity reads logs.")
    parser.add_argument("--size", type=parse_size, default=50 * MEGABYTE, help="50MB, 1GB …")
    parser.add_argument("--full", action="store_true", help="1 GB, which the bars are stated for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-trailscraper", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--read-aside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read_aside is not None:
        read_with_few_events_remembered(given.read_aside)
        return
    size = FULL_SIZE if given.full else given.size

    note("making the trails")
    parameters = Parameters(size=size, principals=PRINCIPALS[-1])
    trail = make_trail(parameters)
    trails = [make_trail(replace(parameters, principals=n)) for n in PRINCIPALS[:-1]]
    growth = Parameters(size=size, principals=500, rounds=GROWTH)
    growth_trail = make_trail(growth)
    growth_base = make_trail(replace(growth, size=size // GROWTH, rounds=1))
    bench = Bench(
        trail,
        given.rounds,
        installed_wheels(),
        None if given.no_trailscraper else installed_trailscraper(),
    )
    report = Report()
    report.line(
        "trail",
        f"{megabytes(trail.bytes)} uncompressed in {trail.files:,} files of "
        f"{megabytes(trail.compressed_bytes)}; {trail.records:,} records, "
        f"{trail.records - trail.unique_records:,} of them twice; {trail.principals:,} principals; "
        f"Python {platform.python_version()}, {os.cpu_count()} cores, medians of {given.rounds}",
    )
    _, base = measure_reading(bench, report)
    measure_memory(bench, report, growth_base=growth_base, growth=growth_trail)
    measure_principals(bench, report, [*trails, trail])
    judge(bench, report, base)
    if given.json is not None:
        given.json.write_text(
            json.dumps(
                {
                    "machine": machine(),
                    "trail": {**asdict(trail), "folder": trail.folder.name},
                    "figures": report.figures,
                    "bars": report.bars,
                    "runs": {name: [asdict(r) for r in runs] for name, runs in bench.runs.items()},
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
