"""The verdict, and the table of reasons: each code has a level, and each level a code."""

from __future__ import annotations

import ast
import re
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pare
from pare.message import listed, several
from pare.policy.verdict import (
    LEVELS,
    Exemption,
    Level,
    in_order,
    reason,
    verdict_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.policy.verdict import Reason

ROOT = Path(pare.__file__).parent.parent
SOURCES = sorted([*(ROOT / "pare").rglob("*.py"), *(ROOT / "lambdas").rglob("*.py")])


def reason_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of ``reason`` in our sources, and where it is."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reason":
                yield f"{path.name}:{node.lineno}", node


CALLS = list(reason_calls())


def codes() -> set[str]:
    return {
        node.args[0].value
        for _, node in CALLS
        if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    }


def test_every_code_of_the_table_is_given_as_a_reason_and_the_other_way_round() -> None:
    assert codes() == set(LEVELS)


def test_a_code_that_is_not_in_the_table_brings_its_own_level() -> None:
    # How a policy generation ended is AWS's word for it.
    for where, node in CALLS:
        if not isinstance(node.args[0], ast.Constant):
            has_level = any(keyword.arg == "level" for keyword in node.keywords)
            assert has_level, where


def test_the_table_is_sorted_and_its_levels_are_levels() -> None:
    assert list(LEVELS) == sorted(LEVELS)
    assert set(LEVELS.values()) == set(get_args(Level))
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code) for code in LEVELS)


def test_an_unknown_code_without_a_level_is_a_mistake_that_shows() -> None:
    with pytest.raises(KeyError):
        reason("NO_SUCH_CODE", "text", "what to do")
    assert reason("NO_SUCH_CODE", "text", "what to do", level="note")["level"] == "note"


def test_a_reason_has_its_usual_level_unless_told() -> None:
    assert reason("SHORT_WINDOW", "a", "b") == {
        "code": "SHORT_WINDOW", "level": "review", "text": "a", "what_to_do": "b",
    }  # fmt: skip
    assert reason("SHORT_WINDOW", "a", "b", level="refused")["level"] == "refused"


# --- The verdict ---


def of_level(level: str, code: str = "LINT") -> Reason:
    return {"code": code, "level": level, "text": "", "what_to_do": ""}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [
        ((), "ready"),
        (("note",), "ready"),
        (("note", "review"), "review"),
        (("note", "review", "refused"), "refused"),
        (("refused",), "refused"),
    ],
)
def test_the_worst_reason_makes_the_verdict(levels: tuple[str, ...], verdict: str) -> None:
    for order in permutations(levels):
        assert verdict_of([of_level(level) for level in order]) == verdict


@given(st.lists(st.sampled_from(["note", "review", "refused"])))
def test_reasons_are_told_from_the_gravest_and_stay_in_order_within_a_level(
    levels: list[str],
) -> None:
    reasons = [of_level(level, f"C{n}") for n, level in enumerate(levels)]

    told = in_order(iter(reasons))

    assert [each["level"] for each in told] == sorted(
        levels, key=["refused", "review", "note"].index
    )
    for level in ("note", "review", "refused"):
        assert [e for e in told if e["level"] == level] == [
            e for e in reasons if e["level"] == level
        ]


# --- Exemptions and words ---


@pytest.mark.parametrize(
    ("pattern", "arn", "holds"),
    [
        ("arn:aws:iam::1:role/ci", "arn:aws:iam::1:role/ci", True),
        ("arn:aws:iam::1:role/ci", "arn:aws:iam::1:role/cicd", False),
        ("arn:aws:iam::1:role/ci*", "arn:aws:iam::1:role/cicd/x", True),
        ("arn:aws:iam::*:role/ci", "arn:aws:iam::2:role/ci", True),
        ("arn:aws:iam::1:role/c.", "arn:aws:iam::1:role/ci", False),
    ],
)
def test_an_exemption_names_a_principal_or_a_pattern(pattern: str, arn: str, holds: bool) -> None:
    assert Exemption(pattern, "ann", "because", "2027-01-01").holds(arn) is holds


def test_numbers_and_lists_as_people_read_them() -> None:
    assert [several(n, "action") for n in (0, 1, 2, 1234)] == [
        "0 actions", "1 action", "2 actions", "1,234 actions",
    ]  # fmt: skip
    assert listed([]) == ""
    assert listed(["a", "b"], 2) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
