from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest

from pare.errors import SnapshotError
from pare.inventory.snapshot_files import (
    named_in,
    organization_ref,
    read_head,
    read_rows,
    unpacked,
)
from tests.unit.inventory import row_builders as build
from tests.unit.inventory import snapshot_folder as folder


@pytest.mark.parametrize("padding", [b"", b"\0" * 512])
def test_many_members_are_one_file(padding: bytes) -> None:
    content = padding.join(gzip.compress(f"{n}\n".encode()) for n in range(500)) + padding

    text, problem = unpacked(content)

    assert text.split() == [f"{n}".encode() for n in range(500)]
    assert problem is None


def test_a_large_file_of_many_members_is_read_once() -> None:
    content = gzip.compress(b"x" * 100_000, compresslevel=0) * 300

    tracemalloc.start()
    text, problem = unpacked(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (len(text), problem) == (30_000_000, None)
    assert peak < 3 * len(content)


@pytest.mark.parametrize("cut", [1, 9, 30])
def test_what_comes_before_the_damage_is_kept(cut: int) -> None:
    whole = gzip.compress(b"first\n")
    text, problem = unpacked(whole + gzip.compress(b"second\n" * 50)[:-cut])

    assert text.startswith(b"first\n")
    assert problem == "the file is cut off"


def test_a_flipped_bit_is_damage() -> None:
    content = bytearray(gzip.compress(b"first\n" * 1_000))
    content[-6] ^= 1  # in the checksum

    _, problem = unpacked(bytes(content))

    assert problem is not None
    assert "damaged" in problem


def test_only_ten_problems_are_named_and_all_are_counted() -> None:
    found = read_rows(b"{\n" * 1_000, "rows")

    assert (found.damaged, len(found.problems)) == (1_000, 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"class": "archive"},
        {"status": "asleep"},
        {"class": ["keep"]},
        {"tags": None},
        {"last_use": {}},
        {"reasons": ["IDLE"]},
        {"issues": [{"code": "NO_MFA"}]},
        {"plans": [{}]},
        {"services": {"s3": None}},
        {"trust": {}},
        {"credentials": []},
        {"created_at": None},
        {"is_unused": None},
    ],
    ids=str,
)
def test_a_row_that_would_break_the_page_is_a_damaged_line(changes: dict[str, Any]) -> None:
    found = read_rows(json.dumps({**build.row(), **changes}).encode(), "rows")

    assert (found.rows, found.damaged, found.versions) == ([], 1, {})


@pytest.mark.parametrize(
    ("status", "is_unused"),
    [("idle", True), ("never used", True), ("used", False), ("new", False), ("unknown", False)],
)
def test_rows_of_earlier_months_do_not_say_whether_they_are_unused(
    status: str, is_unused: bool
) -> None:
    row: dict[str, Any] = {**build.row(), "status": status}
    del row["is_unused"]
    said = {**row, "is_unused": False}

    found = read_rows(b"\n".join(json.dumps(each).encode() for each in (row, said)), "rows")

    assert [each["is_unused"] for each in found.rows] == [is_unused, False]
    assert found.damaged == 0


@pytest.mark.parametrize("accounts", [None, {}, [1], [{}]])
def test_a_head_without_accounts_is_damaged(accounts: Any) -> None:
    head = {**folder.head([]), "accounts": accounts}

    with pytest.raises(SnapshotError, match="damaged: 'accounts' is no list of accounts"):
        read_head(json.dumps(head).encode(), "snapshot.json")


def test_names_of_any_spelling_are_found() -> None:
    arn = f"arn:aws:iam::{build.ACCOUNT}:role/Büro"
    for ascii_only in (True, False):
        line = json.dumps(build.last_accessed(arn=arn), ensure_ascii=ascii_only).encode()
        found = named_in(b"{damaged\n" + line, arn)
        assert found is not None
        assert found["principal_arn"] == arn
    assert named_in(line, arn[:-1]) is None


def test_an_answer_beats_a_failure_that_was_tried_again() -> None:
    failed = json.dumps(build.last_accessed(error="ThrottledError")).encode()
    answered = json.dumps(build.last_accessed(build.service_use())).encode()

    for lines in ((failed, answered), (answered, failed)):
        found = named_in(b"\n".join(lines), build.ROLE)
        assert found is not None
        assert found["outcome"] == "COMPLETED"


def test_the_organization_lies_beside_the_accounts() -> None:
    assert organization_ref(folder.head([folder.unknown_account(), folder.account()])) == (  # type: ignore[arg-type]
        folder.ref("work=run/organization.json")
    )
    assert organization_ref(folder.head([folder.unknown_account()])) is None  # type: ignore[arg-type]
