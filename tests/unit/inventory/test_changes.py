"""What changed against last month's row."""

from __future__ import annotations

from typing import Any

import pytest

from pare.inventory.changes import changes, gone
from tests.unit.inventory.row_builders import ROLE, USER, access_key, credentials, row, trust


def keys(*found: Any, **changes: Any) -> dict[str, Any]:
    return {"credentials": credentials(access_keys=list(found), **changes)}


@pytest.mark.parametrize(
    ("arn", "before", "now", "expected"),
    [
        (ROLE, {}, {}, []),
        (ROLE, {"cls": "keep"}, {"cls": "narrow"}, ["class"]),
        (ROLE, {"status": "used"}, {"status": "idle"}, ["status"]),
        (ROLE, {"owner": None}, {"owner": "a@example.com"}, ["owner"]),
        (ROLE, {"policies": ["a", "b"]}, {"policies": ["b", "a"]}, []),
        (ROLE, {"policies": ["a", "b"]}, {"policies": ["a"]}, ["policies"]),
        (USER, {"groups": ["a"]}, {"groups": []}, ["groups"]),
        (ROLE, {"boundary": None}, {"boundary": "arn:x"}, ["boundary"]),
        (ROLE, {}, {"trust": trust(is_public=True)}, ["trust"]),
        (ROLE, {"kind": "role"}, {"kind": "service role"}, ["kind"]),
        (ROLE, {"role_last_used_at": None}, {"used_months": ["2026-11"]}, []),
        (USER, keys(access_key("A")), keys(access_key("A", last_used_at=None)), []),
        (USER, keys(access_key("A")), keys(access_key("A", is_active=False)), ["access keys"]),
        (USER, keys(access_key("A")), keys(access_key("B")), ["access keys"]),
        (USER, keys(access_key("A")), keys(), ["access keys"]),
        (USER, keys(access_key("A")), keys(access_key(None)), []),
        (USER, keys(access_key("A"), access_key("B", created_at="2020-01-01T00:00:00Z")),
         keys(access_key("B", created_at="2020-01-01T00:00:00Z"), access_key("A")), []),
        (USER, keys(mfa_active=True), keys(mfa_active=False), ["mfa"]),
        (USER, keys(access_key("A")), {"credentials": None}, []),
        (ROLE, {"cls": "keep", "status": "used", "owner": "x"},
         {"cls": "disable", "status": "idle"}, ["class", "status", "owner"]),
        (ROLE, {"definition_version": 1}, {"cls": "disable"}, []),
    ],
)  # fmt: skip
def test_the_names_of_what_changed(
    arn: str, before: dict[str, Any], now: dict[str, Any], expected: list[str]
) -> None:
    assert changes(row(arn, **before), row(arn, **now)) == expected


def test_who_is_no_longer_there_is_gone() -> None:
    rows = [row(USER), row(ROLE)]

    ids = {each["principal_arn"]: each["principal_id"] for each in rows}

    assert gone(rows, {USER: ids[USER]}) == [row(ROLE)]
    assert gone(rows, {}) == [row(ROLE), row(USER)]
    assert gone(rows, {**ids, "arn:aws:iam::111122223333:role/New": "AROANEW"}) == []
    assert gone(rows, {**ids, USER: "AIDAANOTHER"}) == [row(USER)]
