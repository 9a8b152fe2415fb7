"""The table of checks: what each is called, in which group it stands, and why it matters."""

from __future__ import annotations

from functools import cache
from typing import Any

from pare.data_tables import read_table


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = read_table("doctor_checks.json", schema_version=1)
    return table


def groups() -> dict[str, str]:
    """Return the title of each group, in the order in which they are looked at and shown."""
    return {each["group"]: each["title"] for each in _table()["groups"]}


def group_of(check: str) -> str:
    """Return the group of a check: ``trail`` of ``trail.logging``."""
    return check.partition(".")[0]


def title_of(check: str) -> str:
    """Return what a check is called; raises KeyError for one that the table does not have."""
    title: str = _table()["checks"][check]["title"]
    return title


def why(check: str) -> str:
    """Return in one sentence why a check matters."""
    sentence: str = _table()["checks"][check]["why"]
    return sentence


def all_checks() -> tuple[str, ...]:
    """Return every check, in the order of the table."""
    return tuple(_table()["checks"])
