"""What the command says without asking AWS: its help, its words for wrong use, its progress."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from pare import cli_doctor
from pare.cli import main
from pare.cli_doctor import Progress, as_run
from pare.doctor.checks import groups
from pare.doctor.model import Mend, missing

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

    there = as_run(found, " --local --state-dir .box")
    assert there.mend and there.mend.commands == (
        "pare inventory run --wait --local --state-dir .box",
        "npx cdk deploy ParePipeline",
    )
    assert as_run(found, "") == found


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
