"""docs/findings.md says what the tables, the messages and the commands say."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import click

from pare import cli
from pare.aws.deployed_findings import HOW
from pare.findings import view
from pare.findings.severity import NO_RULE, rules
from tools.embed_messages import PAGE, embedded

ROOT = Path(__file__).parents[2]
TEXT = PAGE.read_text(encoding="utf-8")


def test_every_severity_rule_is_listed_with_its_severity_and_in_its_order() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|.*\| (low|medium|high|critical) \|$", TEXT, re.MULTILINE)

    assert listed == [*((each.rule_id, each.severity) for each in rules()), NO_RULE[::-1]]


def test_the_messages_are_those_of_the_golden_files() -> None:
    assert TEXT.count("<!-- golden: ") >= 6
    assert embedded(TEXT) == TEXT, "python -m tools.embed_messages"


def test_every_command_and_option_is_named() -> None:
    findings = cli.main.commands["findings"]
    assert isinstance(findings, click.Group)
    for name, command in findings.commands.items():
        assert f"pare findings {name}" in TEXT or f"`{name}`" in TEXT, name
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in TEXT, f"pare findings {name} {option}"


def test_every_status_source_and_column_is_named() -> None:
    for word in (*view.STATUSES, *view.SOURCES, "list --format json"):
        assert f"`{word}`" in TEXT, word
    for row in (view.ListedCardJson, view.ListedFindingJson):
        for member in row.__annotations__:
            assert f"`{member}`" in TEXT or f"[].{member}`" in TEXT, member


def test_own_types_are_named() -> None:
    for finding_type in view.TYPES[2:]:
        assert f"`{finding_type}`" in TEXT, finding_type


def test_the_picture_is_sound_and_says_what_it_shows() -> None:
    picture = (ROOT / "docs/pictures/finding-states.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(picture)

    assert root.find("{http://www.w3.org/2000/svg}desc") is not None
    for news in ("first sight", "worsened", "changed", "still open", "closed", "archived",
                 "unwatched", "reopened"):  # fmt: skip
        assert news in picture, news
    assert "prefers-color-scheme: dark" in picture
    assert "href" not in picture


def test_the_name_of_the_way_it_was_archived_is_the_commands() -> None:
    assert HOW == "pare findings archive"
