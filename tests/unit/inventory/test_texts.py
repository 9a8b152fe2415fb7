# ruff: noqa: RUF001 - the tests are of Japanese, and of signs that look alike
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import pare.errors
from pare.data_tables import read_table
from pare.inventory.facts import NO_CREDENTIAL
from pare.inventory.model import CLASSES, COUNTS
from pare.inventory.texts import LANGUAGES, PLACEHOLDER, reason_text, text, texts_of, word

if TYPE_CHECKING:
    from pare.errors import PareError

TEXTS: dict[str, dict[str, str]] = read_table("inventory_texts.json", schema_version=1)["texts"]

# Every reason code, and the values that come with it.
CODES = {
    "AWS_OWNS": "",
    "EXEMPT": "owner reason expires",
    "BREAK_GLASS": "",
    "BREAK_GLASS_USED": "date days",
    "BOOTSTRAP": "",
    "OWN": "",
    "IDENTITY_CENTER_IDLE": "days",
    "USE_UNKNOWN": "sources",
    "NEW": "days",
    "MAY_BE_SEASONAL": "used_on expected decide_after",
    "DISABLED_DELETE_DUE": "how disabled_on delete_on",
    "DISABLED_WAITING": "how disabled_on delete_on",
    "IDLE": "days date source what",
    "IDLE_BEYOND_RECORDS": "days created",
    "IDLE_REFUSED": "days date",
    "POLICY_UNKNOWN": "what",
    "DISABLED_AND_USED": "how date source what",
    "FEDERATED_WITHOUT_SUBJECT": "provider",
    "FEDERATED_OPEN": "providers",
    "OUTSIDE_WITHOUT_EXTERNAL_ID": "accounts",
    "NEVER_USED": "created days",
    "PUBLIC_TRUST": "",
    "ADMINISTRATOR": "policy",
    "WIDE": "patterns policy",
    "UNUSED_SERVICES": "unused allowed examples",
    "CREDENTIAL_ISSUES": "count",
    "USED": "date source what",
    "RULE": "text",
    "DENIED_ONLY": "services",
    "EXEMPTION_EXPIRED": "owner expires",
    "SEEN_ONLY_IN_ACTIVITY": "what",
    "LAST_ACCESSED_UNKNOWN": "error",
    "CREDENTIALS_UNKNOWN": "",
    "SEASONAL_ACTIONS": "actions",
    "RECREATED": "",
    "KEY_OLD": "number days",
    "KEY_IDLE": "number days",
    "KEY_NEVER_USED": "number days",
    "NO_MFA": "",
    "PASSWORD_IDLE": "days",
    "PASSWORD_NEVER_USED": "days",
    "OUTSIDE_TRUST": "account",
    "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID": "account",
    "UNKNOWN_TRUST": "principal",
    "NO_OWNER": "",
    "ROOT_KEY": "number",
    "ROOT_NO_MFA": "",
    "ROOT_USED": "date days",
}
STATUSES = ("used", "idle", "never used", "new", "unknown")
KINDS = (
    "person", "machine user", "user", "service role", "cross-account role", "federated role",
    "role", "service-linked role", "Identity Center role", "bootstrap role", "break-glass",
)  # fmt: skip
SOURCES = ("role", "service", "password", "access key", "activity")


def names_in(template: str) -> set[str]:
    return {found["name"] for found in PLACEHOLDER.finditer(template)}


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_a_text_is_there_in_every_language_and_names_the_same_values(key: str) -> None:
    texts = TEXTS[key]

    assert set(texts) == set(LANGUAGES)
    assert all(each == each.strip() or not each.strip(", ") for each in texts.values())
    assert names_in(texts["en"]) == names_in(texts["ja"])
    for each in texts.values():
        assert "{" not in PLACEHOLDER.sub("", each), "a mistyped placeholder"
        assert "}" not in PLACEHOLDER.sub("", each), "a mistyped placeholder"


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_reason_has_its_sentence_and_says_all_its_values(code: str) -> None:
    assert names_in(TEXTS[code]["en"]) == set(CODES[code].split())
    assert re.search("[ぁ-ん一-龯]", TEXTS[code]["ja"]), "Japanese"
    assert TEXTS[code]["ja"].endswith(("。", "}"))
    # A person's own words, and lists, stand at the end.
    assert TEXTS[code]["en"].endswith((".", "}"))


def test_capitals_are_reason_codes() -> None:
    assert {key for key in TEXTS if key.isupper()} == set(CODES)


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("class", CLASSES),
        ("status", STATUSES),
        ("kind", KINDS),
        ("source", SOURCES),
        ("what", ("principal", "password", "access key 1", "access key 2")),
        ("count", COUNTS),
    ],
)
def test_every_value_has_a_word_in_japanese(group: str, values: tuple[str, ...]) -> None:
    for value in values:
        assert re.search("[ぁ-んァ-ヶ一-龯]", word(group, value, "ja")), value
        assert word(group, value, "en").isascii()


def test_what_to_do_about_an_error_is_in_english_what_the_error_itself_says() -> None:
    todos = {key for key in TEXTS if key.startswith("todo_")}
    for key in todos:
        name = "".join(part.capitalize() for part in key.removeprefix("todo_").split("_"))
        error: type[PareError] = getattr(pare.errors, name)
        assert TEXTS[key]["en"] == error.what_to_do
    assert len(todos) >= 5


def test_the_file_is_sorted_so_that_two_changes_merge() -> None:
    assert list(TEXTS) == sorted(TEXTS)


# --- Filling in ---


def test_values_are_put_in_and_numbers_get_commas() -> None:
    assert text("KEY_IDLE", "en", number=1, days=1_200) == (
        "Access key 1 was not used for 1,200 days."
    )
    assert "1,200 日間" in text("KEY_IDLE", "ja", number=1, days=1_200)


def test_one_is_told_from_several() -> None:
    assert text("PASSWORD_IDLE", "en", days=1) == "Its password was not used for 1 day."
    assert text("PASSWORD_IDLE", "en", days=0) == "Its password was not used for 0 days."


def test_a_value_that_looks_like_a_placeholder_stays_what_it_is() -> None:
    assert "{owner} \\1" in text("RULE", "en", text="{owner} \\1")


def test_a_value_that_is_missing_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="days"):
        text("PASSWORD_IDLE", "en")


# --- Reasons ---


def test_a_use_is_said_with_where_it_was_seen() -> None:
    values: dict[str, str | int] = {"date": "2026-10-31", "source": "service", "what": "s3"}

    assert reason_text({"code": "USED", "values": values}, "en") == (
        "Last used on 2026-10-31 (last accessed information: s3)."
    )
    assert reason_text({"code": "USED", "values": values}, "ja") == (
        "最終使用は 2026-10-31（最終アクセス情報: s3）です。"
    )
    assert "(role last used)." in reason_text(
        {"code": "USED", "values": values | {"source": "role", "what": ""}}, "en"
    )
    assert "(access key 2)." in reason_text(
        {"code": "USED", "values": values | {"source": "access key", "what": "access key 2"}}, "en"
    )


def test_sources_that_gave_no_answer_are_named_in_the_language() -> None:
    reason = {"code": "USE_UNKNOWN", "values": {"sources": "service, credential report"}}

    assert "最終アクセス情報, 認証情報レポート" in reason_text(reason, "ja")  # type: ignore[arg-type]


def test_what_disables_is_said_in_the_language() -> None:
    values: dict[str, str | int] = {"disabled_on": "2026-10-01", "delete_on": "2026-11-30"}

    by_policy = values | {"how": "AWSDenyAll"}
    by_facts = values | {"how": NO_CREDENTIAL}

    assert "（AWSDenyAll）" in reason_text({"code": "DISABLED_WAITING", "values": by_policy}, "ja")
    assert "（有効なパスワード" in reason_text(
        {"code": "DISABLED_WAITING", "values": by_facts}, "ja"
    )


def test_what_comes_from_outside_is_one_bounded_line() -> None:
    reason = reason_text({"code": "RULE", "values": {"text": "a\r\nb\u202e" + "x" * 9_999}}, "en")

    assert reason.isprintable()
    assert "a b" in reason
    assert len(reason) < 600


def test_a_code_of_another_version_is_shown_as_it_is() -> None:
    assert reason_text({"code": "LATER", "values": {"days": 3}}, "ja") == "LATER days: 3"


def test_all_texts_of_a_language_are_to_be_had() -> None:
    assert texts_of("ja")["class_keep"] == "維持"
    assert texts_of("ja").keys() == TEXTS.keys()
