# ruff: noqa: RUF001 - the tests are of Japanese
from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.message import (
    WIDTH,
    bullet,
    columns,
    headline,
    paragraph,
    plain,
    rows,
    sentence,
    subject,
    unlinked,
    without_domains,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Any character at all, halves of surrogate pairs included.
anything = st.text(st.characters(exclude_categories=()))


# --- Outside text ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders@example.com", "orders@example.com"),
        ("  two\t words \n", "two words"),
        ("one\r\nSubject: forged", "one Subject: forged"),
        ("a\u2028b\u2029c\x0bd\x0ce\x85f\x1cg", "a b cdefg"),
        ("\x1b[31mred\x00\x07", "[31mred"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("zero\u200bwidth\ufeff\u2066!", "zerowidth!"),
        ("half \ud800 pair", "half pair"),
        ("経理部", "経理部"),
        ("", ""),
    ],
)
def test_outside_text_becomes_one_harmless_line(text: str, expected: str) -> None:
    assert plain(text) == expected


@given(anything, st.integers(min_value=3, max_value=50))
def test_outside_text_is_one_line_without_control_characters_and_bounded(
    text: str, limit: int
) -> None:
    line = plain(text, limit)

    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not [character for character in line if unicodedata.category(character)[0] == "C"]
    assert plain(line, limit) == line


def test_cut_text_shows_that_it_was_cut() -> None:
    assert plain("abcdefg", 6) == "abc..."
    assert plain("abcdef", 6) == "abcdef"


def test_what_is_no_text_is_shown_as_one() -> None:
    assert plain(None) == "None"
    assert plain(7) == "7"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("no way in", "no way in."), ("Done.", "Done."), ("Why?", "Why?"), ("cut…", "cut…")],
)
def test_a_sentence_has_an_end(text: str, expected: str) -> None:
    assert sentence(text) == expected


# --- Subjects ---


@given(anything)
def test_any_subject_is_one_sns_accepts(text: str) -> None:
    line = subject(f"[Pare] {text}")

    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 100
    assert line.startswith("[Pare]")


def test_a_long_subject_keeps_its_beginning() -> None:
    assert subject("x" * 200) == "x" * 96 + "..."
    assert subject("x" * 99) == "x" * 99
    assert subject("x" * 100) == "x" * 96 + "..."


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (": 5 services, 91 actions (shop-prod)", ": 5 services..."),
        (": 12 services, 340 actions (shop-prod)", ": 12 services..."),
    ],
)
def test_a_subject_is_cut_at_a_word_and_not_behind_a_number(end: str, kept: str) -> None:
    title = "[Pare] Low: Changed: IAM role FindingIntegTestFakeRole has unused permissions"

    assert subject(title + end) == title + kept


def test_letters_beyond_ascii_become_question_marks_in_a_subject() -> None:
    assert subject("[Pare] 経理部 é") == "[Pare] ??? ?"


def test_a_subject_of_our_own_words_keeps_its_japanese() -> None:
    assert subject("[Pare] 経理部\r\n", ascii_only=False) == "[Pare] 経理部"
    assert len(subject("経" * 200, ascii_only=False)) < 100


# --- Links ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://evil.example/a", "see https: //evil.example/a"),
        ("ftp://x and www.evil.example", "ftp: //x and www .evil.example"),
        ("WWW.x", "WWW .x"),
        ("orders@example.com", "orders@example.com"),
        ("arn:aws:iam::111122223333:role/a//b", "arn:aws:iam::111122223333:role/a//b"),
    ],
)
def test_outside_text_has_no_link(text: str, expected: str) -> None:
    assert unlinked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("evil.example.com/fix", "evil .example .com/fix"),
        ("(see evil.example)", "(see evil .example)"),
        ("login.evil\uff0eexample\u3002com", "login .evil \uff0eexample \u3002com"),
        ("例え.テスト/支払い", "例え .テスト/支払い"),
        ("bucket.s3.amazonaws.com/a", "bucket.s3 .amazonaws .com/a"),
        ("s3.amazonaws.com/a", "s3 .amazonaws .com/a"),
        ("me@evil.example/fix", "me@evil .example/fix"),
        ("arn:evil.example", "arn:evil .example"),
        ("orders@example.com", "orders@example.com"),
        ("<orders@shop.example.com>,", "<orders@shop.example.com>,"),
        ("arn:aws:sts::111122223333:assumed-role/A/al.ice@example.com",
         "arn:aws:sts::111122223333:assumed-role/A/al.ice@example.com"),
        ("logs.amazonaws.com", "logs.amazonaws.com"),
        ("accounts.google.com:aud = x", "accounts.google.com:aud = x"),
        ("accounts.google.com/evil", "accounts .google .com/evil"),
        ("orders-1.2.fifo", "orders-1.2.fifo"),
        ("pay.orders.fifo (orders.fifo)", "pay .orders.fifo (orders.fifo)"),
        ("orders.fifo.evil.example", "orders .fifo .evil .example"),
        ("orders.fifos, orders.fifo-x", "orders .fifos, orders .fifo-x"),
        ("203.0.113.0/24, 1.2.3, e.g. です。次", "203.0.113.0/24, 1.2.3, e.g. です。次"),
    ],
)  # fmt: skip
def test_outside_text_has_no_domain_of_which_a_mail_program_makes_a_link(
    text: str, expected: str
) -> None:
    assert without_domains(text) == expected
    assert without_domains(expected) == expected


# --- Lines ---

ARN = "arn:aws:iam::111122223333:role/" + "deep-path/" * 20 + "Name"


@pytest.mark.parametrize("write", [paragraph, headline, bullet])
def test_text_is_wrapped_for_a_mail(write: Callable[[str], str]) -> None:
    lines = write("word " * 60).splitlines()

    assert len(lines) > 1
    assert all(len(line) <= WIDTH < 80 for line in lines)


@pytest.mark.parametrize("write", [paragraph, headline, bullet])
def test_an_arn_is_never_broken(write: Callable[[str], str]) -> None:
    assert ARN in write(f"The role {ARN} is not used.").split()


@pytest.mark.parametrize("write", [headline, bullet])
def test_wrapped_outside_text_begins_no_line_of_ours(write: Callable[[str], str]) -> None:
    _first, *others = write("x" * 70 + " What to do: call 555 0100. " + "y " * 100).splitlines()

    assert others
    assert all(line.startswith("  ") for line in others)


def test_rows_are_aligned_and_empty_ones_left_out() -> None:
    text = rows([("Owner", "orders"), ("Error", ""), ("Resource", "arn:aws:s3:::b")])

    assert text == "Owner:    orders\nResource: arn:aws:s3:::b"


def test_a_long_value_stays_under_itself() -> None:
    lines = rows([("Actions", "s3:GetObject, " * 20)]).splitlines()

    assert len(lines) > 1
    assert all(line.startswith(" " * 9) for line in lines[1:])
    assert all(len(line) <= WIDTH for line in lines)


def test_an_arn_in_a_row_is_never_broken() -> None:
    text = rows([("Resource", ARN), ("Not known", f"owner: {ARN}: no way in")])

    assert text.startswith(f"Resource:  {ARN}\n")
    assert text.count(ARN) == 2


def test_no_rows_are_no_text() -> None:
    assert rows([]) == ""
    assert rows([("Error", "")]) == ""


# --- Japanese: letters of two columns, and no spaces ---

JAPANESE = (
    "信頼ポリシーに、誰のものか不明なプリンシパルがあります（削除済みのユーザーやロールなど）。"
    "まず無効化し、その後に削除します。"
)


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("経理部", 6), ("ｱｲｳ", 3), ("e\u0301", 1), ("", 0)]
)
def test_columns_are_counted(text: str, width: int) -> None:
    assert columns(text) == width


@pytest.mark.parametrize("write", [paragraph, headline, bullet])
def test_japanese_is_wrapped_by_its_width(write: Callable[[str], str]) -> None:
    text = write(JAPANESE * 3)

    assert max(map(columns, text.splitlines())) <= WIDTH
    # A line is not filled where the next word would be broken.
    assert min(map(columns, text.splitlines()[:-1])) > WIDTH - 24, "lines are filled"
    for word in ("不明", "プリンシパル", "削除済", "ユーザー", "無効化", "信頼ポリシー"):
        pieces = word.replace("ポリシー", "|ポリシー").split("|")
        assert all(text.count(piece) >= 3 for piece in pieces), word
    assert "".join(line.strip() for line in text.removeprefix("- ").splitlines()) == JAPANESE * 3


@given(st.text(alphabet="、。（）「」ーっア漢a b", max_size=200))
def test_no_line_begins_with_a_full_stop_or_ends_with_an_opening_bracket(text: str) -> None:
    lines = paragraph("漢" * 30 + text).splitlines()

    assert all(line[0] not in "、。）」ーっ" for line in lines[1:] if " " not in text)
    assert all(line[-1] not in "（「" for line in lines[:-1] if " " not in text)


@given(st.text(alphabet="漢字 abc:/。", max_size=300))
def test_wrapping_loses_nothing(text: str) -> None:
    wrapped = paragraph("漢" + text)

    assert "".join(wrapped.split()) == "".join(("漢" + text).split())


def test_an_arn_among_japanese_is_never_broken() -> None:
    assert ARN in paragraph(f"ロール {ARN} は使用されていません。").split()


def test_rows_with_japanese_labels_are_aligned() -> None:
    text = rows([("レポート", "a"), ("CSV", "b")])

    assert text == "レポート: a\nCSV:      b"
