"""Docs nobody runs go stale: links lead somewhere, commands, errors and steps exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from pare import cli, errors

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("pare/**/*.md")])


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{_id(page)}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_make_targets_and_pare_commands_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"`make ([a-z-]+)", text) + re.findall(
        r"^ {4,}make ([a-z-]+)", text, re.M
    ):
        assert name in targets, f"{_id(page)}: make {name}"
    for group, name in re.findall(r"`(?:\.venv/bin/)?pare (local) ([a-z]+)", text):
        commands = cli.main.commands[group]
        assert isinstance(commands, click.Group)
        assert name in commands.commands, f"{_id(page)}: pare {group} {name}"


def _commands(group: click.Group, path: str = "pare") -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        found.append((f"{path} {name}", command))
        if isinstance(command, click.Group):
            found += _commands(command, f"{path} {name}")
    return found


@pytest.mark.parametrize(("name", "command"), _commands(cli.main), ids=lambda value: str(value))
def test_every_command_has_help_with_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert "Example: pare " in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help or parameter.name == "form", f"{name} --{parameter.name}"


def test_operations_names_only_errors_that_exist() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([A-Z][A-Za-z]+Error)`", text):
        assert hasattr(errors, name), name


def test_architecture_names_every_step() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").lower()
    steps = [path.stem for path in ROOT.glob("lambdas/*/*.py") if path.stem != "__init__"]
    assert len(steps) >= 17
    for step in steps:
        words = step.replace("_", " ")
        verb, _, noun = words.partition(" ")
        assert words in text or (verb in text and noun in text), step


def test_example_event_is_one_that_put_events_takes() -> None:
    (entry,) = json.loads((ROOT / "docs/examples/test-finding.json").read_text(encoding="utf-8"))
    assert json.loads(entry["Detail"])["findingType"] == "UnusedPermission"
    assert entry["Source"] == "pare.test"
