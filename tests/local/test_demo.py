"""`make demo` as a person runs it, on a person's own CloudTrail files."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local import process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REAL_TRAIL = ROOT.parent / "shared" / "cloudtrail" / "invictus-ir-aws_dataset"
KEYS = {
    "finding", "proposals", "notifications", "inventory", "seconds", "stack_outputs", "trail",
    "notes",
}  # fmt: skip


def pare(*arguments: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "pare", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    process.stop(tmp_path / "state")


@pytest.fixture
def port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_demo_on_real_records_tells_the_whole_story(state_dir: Path, port: str) -> None:
    if not REAL_TRAIL.is_dir():
        pytest.skip(f"{REAL_TRAIL} is not here: the demo on real records was not tried")

    ran = pare("local", "demo", "--state-dir", str(state_dir), "--port", port,
               "--trail", str(REAL_TRAIL))  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    summary = json.loads((state_dir / "summary.json").read_text())
    assert set(summary) == KEYS
    assert summary["finding"]["finding"]["finding_type"] == "UnusedPermission"
    (proposal,) = summary["proposals"]
    assert proposal["verdict"] == "review"
    assert proposal["document"]["after"]["action_count"] < 100
    # Of unused permissions nobody hears at once: the proposal joins the finding in the digest.
    (digest,) = summary["notifications"]
    assert digest["attributes"]["kind"] == "finding-digest"
    assert "proposal to review" in " ".join(digest["message"].split())
    # The inventory runs on one's own trail too; nothing is planted there.
    inventory = summary["inventory"]
    assert inventory["planted"] is None
    assert inventory["counts"]["principals"] > 5
    assert inventory["unknown_accounts"] == 0
    assert inventory["notification"]["attributes"]["kind"] == "inventory"
    assert inventory["notification"]["subject"] in ran.stdout
    report = (state_dir / "report.html").read_text()
    assert report.startswith("<!doctype html>")
    resource = summary["finding"]["finding"]["resource"]
    assert resource.rpartition("/")[2] in report
    assert resource in (state_dir / "report.csv").read_text()
    assert f"Open the inventory's report in a browser: {state_dir / 'report.html'}" in ran.stdout
    assert "planted" not in ran.stdout
    assert summary["seconds"]["total"] > 0
    assert summary["stack_outputs"]["EvidenceBucketName"] in ran.stdout
    assert summary["notifications"][0]["subject"] in ran.stdout
    assert "make demo-down" in ran.stdout
    # Progress goes to stderr, the account to stdout.
    assert "… deploy" in ran.stderr
    assert "…" not in ran.stdout.splitlines()[0]

    status = pare("local", "status", "--state-dir", str(state_dir), "--format", "json")
    found = json.loads(status.stdout)
    # What the inventory found unused has its policies looked for, too.
    assert found["executions"]["Policy"]["SUCCEEDED"] >= 1
    assert "FAILED" not in found["executions"]["Policy"]
    assert found["outputs"] == summary["stack_outputs"]
    shown = pare("local", "status", "--state-dir", str(state_dir)).stdout
    assert f"export AWS_ENDPOINT_URL=https://127.0.0.1:{port}" in shown

    assert pare("local", "down", "--state-dir", str(state_dir)).stdout == "Stopped.\n"
    assert pare("local", "status", "--state-dir", str(state_dir)).returncode == 1


def test_busy_port_is_said_in_one_line(state_dir: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        ran = pare("local", "demo", "--state-dir", str(state_dir), "--port", port)

    assert ran.returncode == 3
    assert ran.stderr.splitlines()[-1].startswith(f"pare: Port {port} on 127.0.0.1 is taken")
    assert "PARE_LOCAL_PORT" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_folder_without_a_record_is_said_in_one_line(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    ran = pare("local", "demo", "--state-dir", str(state_dir), "--trail", str(tmp_path / "empty"))

    assert ran.returncode == 3
    assert "holds no CloudTrail record" in ran.stderr.splitlines()[-1]


def test_setup_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env", "cat", "cksum", "dirname", "mktemp", "tail", "grep", "head", "rm"):
        found = subprocess.run(
            ["/bin/sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True
        )
        (tools / name).symlink_to(found.stdout.strip())
    (tools / "python3").symlink_to(sys.executable)

    ran = subprocess.run(
        [str(ROOT / "tools" / "setup")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 3
    (line,) = ran.stderr.splitlines()
    assert line == "setup: Node.js 20 or later is needed (for the CDK); there is no node."
