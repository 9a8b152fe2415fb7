"""What the command says without asking AWS: its help, its words for wrong use, its progress."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pare import cli_doctor
from pare.cli import main
from pare.cli_doctor import Progress, as_run, program_as_called
from pare.doctor.checks import groups
from pare.doctor.model import Mend, missing
from pare.doctor.running import judge_queue

if TYPE_CHECKING:
    from pathlib import Path


def test_the_help_names_every_group_and_what_exit_codes_mean() -> None:
    ran = CliRunner().invoke(main, ["doctor", "--help"])

    assert ran.exit_code == 0
    for group in groups():
        assert group in ran.output
    assert "Exit codes: 0 all is well, 1 something is missing" in ran.output


@pytest.mark.parametrize("arguments", [["--only", "everything"], ["--format", "yaml"]])
def test_wrong_use_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["doctor", *arguments]).exit_code == 2


def test_without_an_organization_in_a_box_local_says_how_to_bring_it_up(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["doctor", "--local", "--state-dir", str(tmp_path)])

    assert ran.exit_code == 3
    assert "no emulated organization runs" in ran.stderr
    assert "pare local up" in ran.stderr


def test_commands_of_pare_are_told_as_they_run_where_the_doctor_ran() -> None:
    mend = Mend("hub", ("pare inventory run --wait", "npx cdk deploy ParePipeline"))
    found = missing("size.cost", "", "Nobody knows.", mend)

    there = as_run(found, "pare", " --local --state-dir .box")
    assert there.mend and there.mend.commands == (
        "pare inventory run --wait --local --state-dir .box",
        "npx cdk deploy ParePipeline",
    )
    assert as_run(found, "pare", "") == found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Or now: pare findings reconcile --wait. It says why.",
         "Or now: .venv/bin/pare findings reconcile --wait --local. It says why."),
        ("See `pare doctor --only size`.", "See `.venv/bin/pare doctor --only size --local`."),
        ("Run pare doctor after each.", "Run .venv/bin/pare doctor --local after each."),
        ("`pare doctor --template cdk.out`.",
         "`.venv/bin/pare doctor --template cdk.out --local`."),
        ("The bus pare is well, .venv/bin/pare doctor too.",
         "The bus pare is well, .venv/bin/pare doctor too."),
    ],
)  # fmt: skip
def test_commands_in_texts_run_as_they_are_printed_too(text: str, shown: str) -> None:
    mend = Mend("you", ("pare doctor --only running",), text=text, after=text)

    there = as_run(missing("running.alarms", "", "Off.", mend), ".venv/bin/pare", " --local")

    assert there.mend == Mend(
        "you", (".venv/bin/pare doctor --only running --local",), text=shown, after=shown
    )


@pytest.mark.parametrize("name", ["FindingDeadLetters", "MessageDeadLetters", "RegionDeadLetters"])
def test_what_to_do_about_dead_letters_runs_as_it_is_printed(name: str) -> None:
    found = as_run(judge_queue(name, "eu-west-1", "https://queue", 1), ".venv/bin/pare", "")

    assert found.mend and ".venv/bin/pare findings " in found.mend.text
    assert not re.search(r"(?<!/)pare findings", found.mend.text)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with Pare's program as `make setup` puts it, where somebody is."""
    program = tmp_path / ".venv" / "bin" / "pare"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, "doctor"])
    return program_as_called()


def test_pare_is_called_again_as_it_was_called_from_where_one_is(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = str(installed / ".venv/bin/pare")

    assert called(monkeypatch, ".venv/bin/pare") == ".venv/bin/pare"
    assert called(monkeypatch, whole) == ".venv/bin/pare"
    monkeypatch.chdir(installed / ".venv")
    assert called(monkeypatch, "bin/pare") == "bin/pare"
    monkeypatch.chdir(installed / ".venv/bin")
    assert called(monkeypatch, "./pare") == "./pare"
    (installed / "else where").mkdir()
    monkeypatch.chdir(installed / "else where")
    assert called(monkeypatch, whole) == whole


def test_pare_is_only_its_name_where_the_shell_finds_it_by_that(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed / ".venv/bin"))
    assert called(monkeypatch, str(installed / ".venv/bin/pare")) == "pare"

    another = installed / "pare"
    another.write_text("#!/bin/sh\n", encoding="utf-8")
    assert called(monkeypatch, "./pare") == "./pare"


def test_pare_as_a_module_stays_one_and_what_is_not_pare_says_its_name(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(installed / ".venv/bin/python"))

    assert called(monkeypatch, "/repository/pare/__main__.py") == ".venv/bin/python -m pare"
    assert called(monkeypatch, "/site-packages/pytest/__main__.py") == "pare"
    assert called(monkeypatch, "/nowhere/pare") == "pare"


def test_what_to_do_about_a_failure_runs_as_it_is_printed_too(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/pare", "doctor"])

    ran = CliRunner().invoke(main, ["doctor", "--template", "cdk.out"])

    assert ran.exit_code == 3
    assert "Then: `.venv/bin/pare doctor --template cdk.out`." in ran.stderr


def test_in_a_log_a_count_that_grows_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress()
    progress.group = "Members"
    for number in range(500):
        progress.say(f"entering accounts: {number} of 500")
    progress.say("reading the stack set")
    progress.end()

    assert capsys.readouterr().err.splitlines() == [
        "… Members: entering accounts: 0 of 500",
        "… Members: reading the stack set",
    ]


def test_after_some_seconds_the_count_is_told_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_doctor, "_TELL_EVERY_SECONDS", 0)
    progress = Progress()
    progress.say("entering accounts: 0 of 2")
    progress.say("entering accounts: 1 of 2")

    assert len(capsys.readouterr().err.splitlines()) == 2


def test_in_a_terminal_one_line_changes_and_goes_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    progress = Progress()
    progress.say("entering accounts: 1 of 500, and more words than a line has room for")
    progress.say("entering\x1b[2J accounts")
    progress.end()

    told = capsys.readouterr().err
    assert "\n" not in told
    assert told.count("\r\x1b[K") == 3
    assert "\x1b[2J" not in told
    assert max(len(line) for line in told.split("\r\x1b[K")) <= 39
