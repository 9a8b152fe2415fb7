# ruff: noqa: RUF001 - the tests are of Japanese, and of signs that look alike
from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.inventory.report_csv import BYTE_ORDER_MARK, COLUMNS, cell, write_csv
from tests.unit.inventory.row_builders import (
    ACCOUNT,
    ROLE,
    USER,
    access_key,
    credentials,
    last_use,
    row,
    trust,
)

if TYPE_CHECKING:
    from pare.inventory.model import PrincipalRowJson

NAMES = {ACCOUNT: "orders-prod"}
anything = st.text(st.characters(exclude_categories=()))


def written(*rows: PrincipalRowJson, language: str = "en") -> str:
    return "".join(write_csv(rows, language=language, account_names=NAMES))


def read(*rows: PrincipalRowJson, language: str = "en") -> list[dict[str, str]]:
    text = written(*rows, language=language)
    content = text.encode().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(content, newline=""), strict=True))


def test_a_role_is_a_row_with_its_sentence() -> None:
    (found,) = read(row(ROLE, unused_services=3))

    assert found["account_id"] == ACCOUNT
    assert found["account_name"] == "orders-prod"
    assert found["name"] == "OrdersApi"
    assert found["arn"] == ROLE
    assert (found["kind"], found["status"], found["class"]) == ("service role", "used", "keep")
    assert found["reason"] == "Last used on 2026-10-31 (role last used)."
    assert (found["last_used"], found["last_used_source"]) == ("2026-10-31", "role")
    assert (found["idle_days"], found["unused_services"]) == ("0", "3")
    assert (found["password"], found["mfa"], found["access_key_1"]) == ("", "", "")


def test_what_is_idle_is_not_unused_where_something_speaks_for_it() -> None:
    before: Any = row(status="never used")
    del before["is_unused"]  # a row of before there was such a member
    idle, exempt = row(status="idle", is_unused=True), row(status="idle", is_unused=False)

    assert [each["unused"] for each in read(idle, exempt, row(), before)] == [
        "yes", "no", "no", "yes",
    ]  # fmt: skip


def test_a_user_is_a_row_with_its_credentials() -> None:
    keys = [access_key(), access_key(None, is_active=False, last_used_at=None, created_at=None)]
    (found,) = read(row(USER, credentials=credentials(mfa_active=False, access_keys=keys)))

    assert (found["password"], found["mfa"]) == ("yes", "no")
    assert found["access_key_1"] == (
        "AKIAIOSFODNN7EXAMPLE, active, created 2026-05-01, used 2026-10-31"
    )
    assert found["access_key_2"] == "id unknown, inactive, created unknown, never used"


def test_what_nobody_knows_is_called_unknown() -> None:
    (found,) = read(
        row(
            USER,
            credentials=None,
            idle_days=None,
            unused_services=None,
            unused_actions=None,
            unknown=["credential report"],
            last_use=last_use(at=None, source=None, unknown=["service"]),
        )
    )

    for column in ("password", "mfa", "idle_days", "unused_services", "unused_actions"):
        assert found[column] == "unknown", column
    assert found["unknown"] == "credential report, service"
    assert found["last_used"] == ""


def test_plans_exemption_and_trust_are_said() -> None:
    plan = {"what": "access key 1", "announced_on": "2026-11-01", "disable_on": "2026-12-01",
            "disabled_on": None, "delete_on": None, "times_announced": 1}  # fmt: skip
    done = {**plan, "what": "principal", "disabled_on": "2026-11-01", "delete_on": "2026-12-31"}
    outside = {"account_id": "999988887777", "external_id": False, "conditions": []}
    (found,) = read(
        row(
            plans=[plan, done],
            exemption={"owner": "sec", "reason": "audit", "expires": "2027-01-31"},
            trust=trust(outside=[outside], is_public=True),
        )
    )

    assert found["planned"] == (
        "disable access key 1 on 2026-12-01; "
        "delete user or role on 2026-12-31 (disabled since 2026-11-01)"
    )
    assert found["exempt_until"] == "2027-01-31"
    assert found["trusted_outside"] == "anybody 999988887777"


def test_sentences_are_in_the_language_and_words_to_filter_by_are_not() -> None:
    (found,) = read(row(cls="disable", issues=[{"code": "NO_OWNER", "values": {}}]), language="ja")

    assert "最終使用は" in found["reason"]
    assert found["issues"] == "所有者を示すタグがありません。"
    assert found["class"] == "disable"


def test_the_file_begins_with_a_mark_so_that_excel_reads_japanese() -> None:
    assert written().encode().startswith(b"\xef\xbb\xbf")
    assert written().count(BYTE_ORDER_MARK) == 1


def test_lines_end_as_rfc_4180_says_and_every_cell_is_quoted() -> None:
    text = written(row(), row(USER))

    assert text.count("\r\n") == text.count("\n") == 3
    for line in text.removeprefix(BYTE_ORDER_MARK).split("\r\n")[:-1]:
        assert re.fullmatch(r'"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*', line)


def test_every_row_has_every_column_and_the_same_rows_give_the_same_bytes() -> None:
    rows = [row(), row(USER, credentials=None), row(tags={"a": "b"})]

    assert [tuple(each) for each in read(*rows)] == [COLUMNS] * 3
    assert written(*rows) == written(*rows)


# --- Formulas ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-2", "'-2"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("\r=1", "'=1"),
        ("  =1", "'=1"),
        ('"=1', "'\"=1"),
        ("' =1", "'' =1"),
        ("＝1", "'＝1"),
        ("a;=1", "a;'=1"),
        ("a| =1", "a|' =1"),
        ('a","=1', 'a",\'"=1'),
        ("orders@example.com", "orders@example.com"),
        ("a-b=c", "a-b=c"),
        ("arn:aws:iam::111122223333:role/a+b", "arn:aws:iam::111122223333:role/a+b"),
    ],
)
def test_no_cell_is_a_formula(text: str, expected: str) -> None:
    assert next(csv.reader([cell(text)], strict=True)) == [expected]


@given(anything)
def test_no_text_from_outside_becomes_a_formula_whatever_separates_cells(text: str) -> None:
    (found,) = next(csv.reader([cell(text)], strict=True))

    for separated in re.split(r"[,;|\t]", found):
        assert separated.strip(" \"'")[:1] not in {*"=+-@＝＋－＠"} or (
            separated.lstrip(' "').startswith("'")
        )


@pytest.mark.parametrize("member", ["owner_shown", "boundary", "policies", "groups", "unknown"])
def test_hostile_text_is_harmless_in_its_column(member: str) -> None:
    evil = '=cmd|"/c calc"!A1\r\n=2'
    changes: Any = {member: [evil] if isinstance(row()[member], list) else evil}  # type: ignore[literal-required]
    (found,) = read(row(**changes))

    assert not any(value.startswith("=") for value in found.values())
    assert any("'=cmd|" in value for value in found.values())
