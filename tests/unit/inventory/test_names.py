from __future__ import annotations

import pytest

from pare.inventory.names import meant, near, shown

A, B = "111122223333", "444455556666"
APP = f"arn:aws:iam::{A}:role/app/Checkout"
SAME = f"arn:aws:iam::{B}:role/Checkout"
USER = f"arn:aws:iam::{A}:user/checkout"
CHINA = f"arn:aws-cn:iam::{A}:role/Orders[1]"
KNOWN = [APP, SAME, USER, CHINA]
ACCOUNTS = {A: "shop", B: "tools"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (APP, [APP]),
        (CHINA, [CHINA]),
        ("Checkout", [APP, SAME]),
        ("checkout", [USER]),
        ("shop/Checkout", [APP]),
        (f"{B}/Checkout", [SAME]),
        ("tools/*", [SAME]),
        ("role/app/Checkout", [APP]),
        ("user/checkout", [USER]),
        ("shop role/app/Checkout", [APP]),
        (f"{A} role/app/Checkout", [APP]),
        ("shop user/checkout", [USER]),
        ("tools role/app/Checkout", []),
        ("tools role/*", [SAME]),
        ("shop ro…eckout", [APP]),
        ("sh…eckout", [APP, USER]),
        ("shop role/Orders[1]", [CHINA]),
        ("r*", []),
        (f"arn:aws:iam::{A}:role/Checkout", []),
        (f"arn:aws:iam::{A}:*/Checkout", [APP]),
        (f"arn:aws:sts::{A}:assumed-role/Checkout/i-0123", [APP]),
        (f"arn:aws:sts::{A}:assumed-role/*/i-0123", []),
        ("nobody", []),
        ("", []),
    ],
)
def test_what_a_text_names(asked: str, expected: list[str]) -> None:
    assert meant(asked, KNOWN[::-1], ACCOUNTS) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (f"arn:aws:iam::{A}:role/Checkout", [APP, USER, SAME]),
        (f"arn:aws:iam::{B}:role/Chekout", [SAME, APP, USER]),
        ("Order[1]", [CHINA]),
        ("zzz", []),
    ],
)
def test_what_is_much_alike(asked: str, expected: list[str]) -> None:
    assert near(asked, KNOWN) == expected


def test_an_account_whose_name_has_blanks_is_named_as_it_is_shown() -> None:
    accounts = {A: "shop [prod]  1", B: "user/x role"}

    for arn in (APP, SAME, USER, CHINA):
        assert meant(shown(arn, accounts), KNOWN, accounts) == [arn]


def test_how_a_table_shows_it() -> None:
    assert shown(APP, ACCOUNTS) == "shop role/app/Checkout"
    assert shown(APP, {}) == f"{A} role/app/Checkout"
    assert shown("no arn", {}) == "no arn"
