"""app.py: what a person sees who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.infra.synthesis import CONTEXT, EXAMPLE, ROOT, STACKS, Synthesis, copy_sources

if TYPE_CHECKING:
    from pathlib import Path


def run(root: Path, out: Path, **context: str) -> subprocess.CompletedProcess[str]:
    """Run app.py as the CDK CLI does, with the context of cdk.json and ``-c key=value``."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=root,
        env={
            **os.environ,
            "CDK_CONTEXT_JSON": json.dumps({**CONTEXT, **context}),
            "CDK_OUTDIR": str(out),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_app_py_makes_the_stacks_that_these_tests_look_at(
    synthesis: Synthesis, tmp_path: Path
) -> None:
    copy_sources(tmp_path / "root")
    ended = run(tmp_path / "root", tmp_path / "out")
    if ended.returncode and "'pip', 'install'" in ended.stderr:
        pytest.skip(f"pip could not install requirements-lambda.txt (no network?): {ended.stderr}")
    assert ended.returncode == 0, ended.stderr
    assert "still as config/pare.yaml came with Pare" in ended.stderr
    made = Synthesis(synthesis.settings, tmp_path / "out")
    for stack in set(STACKS) - {"ParePipeline"}:
        assert made.text(stack) == synthesis.text(stack), stack
    assert without_code(made.pipeline.body) == without_code(synthesis.pipeline.body)
    assert made.pipeline.body["Metadata"] == synthesis.pipeline.body["Metadata"]
    assert made.manifest("PareStorage")["terminationProtection"] is True
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["artifacts"]
    # Its end starts the reconcile, which looks for analyzers in every Region and into accounts.
    assert {"PareStorage", "PareMembers", synthesis.artifact("PareRegion")} <= set(
        manifest["ParePipeline"]["dependencies"]
    )


def without_code(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template without what only says where the functions' code lies."""
    return {
        logical_id: {
            **{key: value for key, value in resource.items() if key != "Metadata"},
            "Properties": {
                key: value for key, value in resource["Properties"].items() if key != "Code"
            },
        }
        for logical_id, resource in template["Resources"].items()
    }


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            'hub_account_id: "222222222222"',
            'hub_account_id: "2222"',
            "hub_account_id: '2222' is not",
        ),
        ("window_days: 90", "window_day: 90", "window_day: is not a key Pare knows. Fix: did you"),
        ("home_region: us-east-1", "home_region: eu-west-1", "home_region: 'eu-west-1' is not one"),
    ],
)
def test_a_wrong_setting_ends_the_synth_with_its_line_and_the_fix(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count(right) == 1
    line = text[: text.index(right)].count("\n") + 1
    settings = tmp_path / "pare.yaml"
    settings.write_text(text.replace(right, wrong), encoding="utf-8")
    ended = run(ROOT, tmp_path / "out", settings=str(settings))
    assert ended.returncode == 1
    assert ended.stdout == ""
    (message,) = ended.stderr.strip().splitlines()
    assert message.startswith(f"{settings}:{line}: {said}")
    assert " Fix: " in message
    assert list(tmp_path.rglob("*.template.json")) == []


def test_settings_that_are_not_there_end_the_synth_with_the_fix(tmp_path: Path) -> None:
    ended = run(ROOT, tmp_path / "out", settings=str(tmp_path / "none.yaml"))
    assert ended.returncode == 1
    assert ended.stderr.strip() == (
        f"{tmp_path}/none.yaml: there is no such file. Fix: start from config/pare.yaml as it came "
        "with Pare."
    )
