from __future__ import annotations

import csv
import io

import pytest

from pare.errors import InventoryError
from pare.inventory.credential_report import REQUIRED_COLUMNS, read_credential_report

COLUMNS = [
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
    "additional_credentials_info",
]
USED, CHANGED = "2026-11-20T10:15:00+00:00", "2025-03-01T08:00:00+00:00"


def row(name: str = "mary", **values: str) -> dict[str, str]:
    """A user's row with no credential at all."""
    return {
        **dict.fromkeys(COLUMNS, "N/A"),
        "user": name,
        "arn": f"arn:aws:iam::111122223333:user/{name}",
        "user_creation_time": "2024-01-01T00:00:00+00:00",
        "password_enabled": "false",
        "mfa_active": "false",
        "access_key_1_active": "false",
        "access_key_2_active": "false",
        "cert_1_active": "false",
        "cert_2_active": "false",
        "additional_credentials_info": "",
        **values,
    }


def written(*rows: dict[str, str], columns: list[str] = COLUMNS) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_a_person_with_a_key_is_read() -> None:
    text = written(
        row(
            password_enabled="true",
            password_last_used=USED,
            password_last_changed=CHANGED,
            mfa_active="true",
            access_key_1_active="true",
            access_key_1_last_rotated=CHANGED,
            access_key_1_last_used_date=USED,
            access_key_1_last_used_region="eu-west-1",
            access_key_1_last_used_service="s3",
            cert_2_active="true",
            additional_credentials_info="1 service specific credential",
        )
    )

    report = read_credential_report(text)

    assert report.users == {
        "mary": {
            "password_enabled": True,
            "password_last_used_at": "2026-11-20T10:15:00Z",
            "password_changed_at": "2025-03-01T08:00:00Z",
            "mfa_active": True,
            "access_keys": [
                {
                    "access_key_id": None,
                    "is_active": True,
                    "created_at": "2025-03-01T08:00:00Z",
                    "last_used_at": "2026-11-20T10:15:00Z",
                    "last_used_service": "s3",
                    "last_used_region": "eu-west-1",
                }
            ],
            "active_certificates": 1,
            "additional": "1 service specific credential",
        }
    }
    assert report.created_at == {"mary": "2024-01-01T00:00:00Z"}
    assert report.root is None


@pytest.mark.parametrize("word", ["N/A", "no_information", "not_supported", ""])
def test_what_the_report_does_not_tell_is_none(word: str) -> None:
    text = written(row(password_enabled=word, password_last_used=word, password_last_changed=word))

    mary = read_credential_report(text).users["mary"]

    assert mary["password_last_used_at"] is None
    assert mary["password_changed_at"] is None
    assert mary["password_enabled"] is None


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 0),
        ({"access_key_2_active": "true"}, 1),
        ({"access_key_1_last_rotated": CHANGED}, 1),  # inactive, and there
        ({"access_key_1_last_used_date": USED, "access_key_2_active": "TRUE"}, 2),
    ],
)
def test_a_key_is_there_where_anything_is_told_of_it(values: dict[str, str], count: int) -> None:
    mary = read_credential_report(written(row(**values))).users["mary"]

    assert len(mary["access_keys"]) == count


def test_the_root_user_is_apart() -> None:
    root = row(
        "<root_account>",
        password_enabled="not_supported",
        password_last_used=USED,
        mfa_active="true",
        access_key_1_active="true",
        access_key_1_last_rotated="not_supported",
    )

    report = read_credential_report(written(row("anna"), root, row("mary")))

    assert list(report.users) == ["anna", "mary"]
    assert report.root is not None
    assert report.root["mfa_active"] is True
    assert report.root["password_last_used_at"] == "2026-11-20T10:15:00Z"
    assert [key["is_active"] for key in report.root["access_keys"]] == [True]


def test_an_older_report_has_fewer_columns() -> None:
    text = written(row(access_key_1_active="true"), columns=[*REQUIRED_COLUMNS])

    mary = read_credential_report(text).users["mary"]

    assert mary["additional"] == ""
    assert mary["access_keys"][0]["last_used_at"] is None
    assert mary["active_certificates"] == 0


def test_columns_to_come_and_odd_names_do_no_harm() -> None:
    text = written(
        {**row("=cmd,@x+y"), "passkey_active": "true"}, columns=[*COLUMNS, "passkey_active"]
    )

    assert list(read_credential_report(f"\ufeff{text}").users) == ["=cmd,@x+y"]


@pytest.mark.parametrize(
    "values",
    [
        {"mfa_active": "N/A"},
        {"mfa_active": "perhaps"},
        {"access_key_1_active": "yes"},
        {"access_key_2_active": "N/A"},
        {"password_last_used": "yesterday"},
        {"access_key_1_last_used_date": "0000-00-00"},
    ],
)
def test_a_row_that_cannot_be_read_is_unknown_and_not_empty(values: dict[str, str]) -> None:
    report = read_credential_report(written(row("anna"), row("mary", **values)))

    assert list(report.users) == ["anna"]


def test_a_row_cut_off_is_unknown() -> None:
    text = written(row("anna"), row("mary"))

    assert list(read_credential_report(text[: text.index("mary") + 40]).users) == ["anna"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a credential report"),
        ("<html>Access Denied</html>", "not a credential report"),
        ("user,arn\nmary,arn:aws:iam::111122223333:user/mary", "has no column password_enabled"),
        (written(row('a"b')) + 'mary,"never closed', "is not CSV"),
        (written(row("a")) + "x" * 200_000, "is not CSV"),
    ],
)
def test_another_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(InventoryError, match=said):
        read_credential_report(text)


def test_no_users_are_no_users() -> None:
    assert read_credential_report(written()).users == {}
