# ruff: noqa: RUF001 - the tests are of Japanese, and of signs that look alike
from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.chat_card import (
    DESCRIPTION_LIMIT,
    KEYWORD_LIMIT,
    NEXT_STEP_LIMIT,
    STEPS_LIMIT,
    TITLE_LIMIT,
    card,
    quoted,
)

anything = st.text(st.characters(exclude_categories=()))


def made(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "title": "Inventory 2026-11",
        "lines": ["9 new", "4 gone"],
        "more": "…",
        "next_steps": ["Open the report"],
        "keywords": ["Pare"],
        "thread_id": "pare-inventory-2026-11",
    }
    return card(**{**given, **changes})


def test_a_card_is_a_custom_notification_and_nothing_more() -> None:
    assert made() == {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": "Inventory 2026-11",
            "description": "9 new\n4 gone",
            "nextSteps": ["Open the report"],
            "keywords": ["Pare"],
        },
        "metadata": {"threadId": "pare-inventory-2026-11"},
    }


@pytest.mark.parametrize("letter", ["x", "棚"])
def test_every_part_stays_within_its_limit(letter: str) -> None:
    content = made(
        title=letter * 9_999,
        lines=[letter * 90] * 900,
        next_steps=["short", letter * 9_999, *["another"] * 20],
        keywords=[letter * 999],
    )["content"]

    assert len(content["title"].encode()) <= TITLE_LIMIT
    assert len(content["description"].encode()) <= DESCRIPTION_LIMIT
    assert all(len(step.encode()) <= NEXT_STEP_LIMIT for step in content["nextSteps"])
    assert content["nextSteps"][0] == "short"
    assert len(content["nextSteps"]) <= STEPS_LIMIT
    assert all(len(keyword.encode()) <= KEYWORD_LIMIT for keyword in content["keywords"])
    json.dumps(content, ensure_ascii=False).encode()


def test_a_step_that_does_not_fit_is_said_without_its_command() -> None:
    steps = ["Apply it: `aws s3 cp " + "x" * 350 + "`", "Ask `alice`. " + "y" * 350, "short"]

    content = made(next_steps=steps)["content"]

    assert content["nextSteps"] == [
        "Apply it:", "Ask `alice`. " + "y" * (NEXT_STEP_LIMIT - 17) + "...", "short",
    ]  # fmt: skip


@pytest.mark.parametrize("letter", ["x", "棚"])
@pytest.mark.parametrize("before", range(235, 251))
def test_a_title_is_not_cut_within_a_code_span(before: int, letter: str) -> None:
    title = "t" * before + f" `{letter * 9}` and `{letter * 90}`"

    shown = made(title=title)["content"]["title"]

    assert len(shown.encode()) <= TITLE_LIMIT
    assert shown.endswith("...")
    assert shown.count("`") % 2 == 0
    assert "``" not in shown


@given(st.lists(anything, max_size=9))
def test_whatever_a_title_names_it_stays_in_code_spans(names: list[str]) -> None:
    shown = made(title="Names: " + ", ".join(map(quoted, names)))["content"]["title"]

    assert len(shown.encode()) <= TITLE_LIMIT
    assert not re.sub(r"`[^`]+`", "", shown).strip("Names: ,.")


def test_lines_that_do_not_fit_are_left_out_whole_and_said() -> None:
    lines = [f"{number:03d} " + "x" * 200 for number in range(100)]

    description = made(lines=lines, more="and more")["content"]["description"].split("\n")

    assert description[-1] == "and more"
    assert description[:-1] == lines[: len(description) - 1]
    assert len(description) > 30


def test_lines_that_fit_are_all_there() -> None:
    assert made(lines=["a", "b"], more="and more")["content"]["description"] == "a\nb"


# --- Text from outside ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("role/my_deploy_role", "`role/my_deploy_role`"),
        ("*bold* _it_ ~no~", "`*bold* _it_ ~no~`"),
        ("<@U123>", "`‹@U123›`"),
        ("<https://evil.example|here>", "`‹https://evil.example¦here›`"),
        ("a`b", "`aˋb`"),
        ("&lt;!here&gt;", "`＆lt;!here＆gt;`"),
        ("a\nb", "`a b`"),
        ("", "`?`"),
        ("\u202e", "`?`"),
    ],
)
def test_names_do_nothing(name: str, expected: str) -> None:
    assert quoted(name) == expected


@given(anything)
def test_nothing_leaves_its_code_span(name: str) -> None:
    span = quoted(name)

    assert re.fullmatch(r"`[^`<>|&\n]+`", span)
    assert len(span) <= 122
