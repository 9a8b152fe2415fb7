from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pare.data_tables import read_table
from pare.inventory.explain import Known, explain, say
from pare.message import columns
from tests.unit.findings import finding_items
from tests.unit.inventory import row_builders as build
from tests.unit.inventory import snapshot_folder as folder

TEXTS: dict[str, dict[str, str]] = read_table("explain_texts.json", schema_version=1)["texts"]
CODE = Path(__file__).parents[3] / "pare/inventory/explain.py"
HOSTILE = "x\x1b[2J\u202e\nStatus: used\u2028"


def page(row: Any, language: str = "en", **known: Any) -> str:
    return explain(row, language=language, known=Known(**known))


# --- the words ---


@pytest.mark.parametrize("key", sorted(TEXTS))
def test_both_languages_name_the_same_values(key: str) -> None:
    english, japanese = (
        sorted(re.findall(r"\{(\w+)\}", TEXTS[key][each])) for each in ("en", "ja")
    )

    assert english == japanese
    assert TEXTS[key].keys() == {"en", "ja"}


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    code = CODE.read_text(encoding="utf-8")
    named = {word for word in re.findall(r"[\"']([a-z_]+)[\"']", code) if word in TEXTS}
    named |= {key for key in TEXTS if key.startswith(("command_", "changes_"))}

    assert named == set(TEXTS)


def test_a_value_with_braces_is_not_filled_in_again() -> None:
    assert "{owner}" in say("owner_by_default", "en", owner="{owner}")


# --- the page ---


def full() -> Any:
    role = f"arn:aws:iam::{build.ACCOUNT}:role/app/Everything"
    return build.row(
        role,
        description="Nightly export to the bank",
        boundary="arn:aws:iam::aws:policy/PowerUserAccess",
        instance_profiles=["arn:aws:iam::111122223333:instance-profile/Everything"],
        disabled_by="AWSDenyAll",
        trust=build.trust(
            own_account=True,
            inside=["444455556666"],
            outside=[
                {"account_id": "999988887777", "external_id": False, "conditions": []},
                {"account_id": "999988887778", "external_id": True,
                 "conditions": ["sts:ExternalId"]},
            ],
            federated=["cognito-identity.amazonaws.com"],
            is_public=True,
            unknown=["AROAEXAMPLE"],
        ),
        wide=[
            {"policy": "inline:All", "group": None, "pattern": "*", "is_administrator": True},
            {"policy": "inline:Not", "group": "Ops", "pattern": "NotAction",
             "is_administrator": False},
        ],
        policies=["inline:All", "inline:Other"],
        services={
            "s3": {"last_accessed_at": "2026-10-31T10:00:00Z", "used_actions": 3,
                   "unused_actions": 12, "denied_only": False},
            "sqs": {"last_accessed_at": "2026-10-30T10:00:00Z", "used_actions": 0,
                    "unused_actions": None, "denied_only": True},
        },
        seasons=[{"what": "s3:PutObject", "used_on": ["2025-11-20"], "expected": "2026-11-20",
                  "decide_after": "2026-12-11"}],
        exemption={"owner": "anna@example.com", "reason": "the audit", "expires": "2027-01-31"},
        plans=[{"what": "principal", "announced_on": "2026-09-01", "disable_on": "2026-10-01",
                "disabled_on": "2026-10-05", "delete_on": "2026-12-04", "times_announced": 3}],
        unknown=["credential report"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "Nightly export to the bank",
        "anybody in AWS",
        "999988887777, without an external ID",
        "999988887778, with an external ID; sts:ExternalId",
        "cognito-identity.amazonaws.com",
        "AROAEXAMPLE",
        "inline:All: every action on every resource",
        "inline:Not: everything but what it names (NotAction), through the group Ops",
        "inline:Other",
        "s3   2026-10-31  actions: 3 in use, 12 not",
        "sqs  2026-10-30  its actions are not tracked; everything it asked of it was refused",
        "s3:PutObject: used 2025-11-20, expected around 2026-11-20; decide after 2026-12-11",
        "until 2027-01-31, entered by anna@example.com: the audit",
        "delete user or role on 2026-12-04 (disabled since 2026-10-05)",
        "AWSDenyAll",
        "credential report",
    ],
)
def test_everything_known_is_told(said: str) -> None:
    assert " ".join(said.split()) in " ".join(page(full()).split())


@pytest.mark.parametrize("language", ["en", "ja"])
def test_lines_that_can_be_folded_are_no_wider_than_a_terminal(language: str) -> None:
    for line in page(full(), language).splitlines():
        words = line.split()
        if "aws iam" not in line and max(map(columns, words), default=0) < 50:
            assert columns(line) <= 82, line


@pytest.mark.parametrize(
    "changes",
    [
        {"description": HOSTILE},
        {"tags": {HOSTILE: HOSTILE}},
        {"owner_shown": HOSTILE, "owner": HOSTILE},
        {"policies": [f"inline:{HOSTILE}"]},
        {"reasons": [{"code": "RULE", "values": {"text": HOSTILE}}]},
        {"issues": [{"code": f"NEW_{HOSTILE}", "values": {}}]},
        {"exemption": {"owner": HOSTILE, "reason": HOSTILE, "expires": HOSTILE}},
        {"unknown": [HOSTILE]},
        {"disabled_by": HOSTILE},
        {"boundary": HOSTILE},
        {"changes": [HOSTILE], "change": "changed"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_text_from_outside_forges_no_line(changes: dict[str, Any]) -> None:
    text = page(build.row(**changes))

    assert text.count("\nStatus: used") == 1
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_user_shows_password_mfa_and_keys() -> None:
    keys = [build.access_key(), build.access_key(None, last_used_at=None, is_active=False)]
    text = page(build.row(build.USER, credentials=build.credentials(
        mfa_active=False, access_keys=keys, active_certificates=1)))  # fmt: skip

    assert re.search(r"Password +last used 2026-10-31, set 2026-06-01", text)
    assert re.search(r"MFA +no", text)
    assert re.search(r"Access key 1 +AKIAIOSFODNN7EXAMPLE, active, made 2026-05-01", text)
    assert re.search(r"Access key 2 +id not told, inactive, made 2026-05-01, no use", text)
    assert "1 active" in text
    assert "Who may assume it" not in text


def test_what_the_credential_report_did_not_say_is_unknown() -> None:
    assert "Unknown: the credential report could not be read." in page(
        build.row(build.USER, credentials=None)
    )


def test_what_is_disabled_is_not_to_be_disabled() -> None:
    row = build.row(cls="disable", status="idle")

    assert "To disable it" in page(row)
    assert "To disable it" not in page({**row, "disabled_by": "inline:DisabledByOwner"})
    assert "To delete it" in page({**row, "disabled_by": "inline:DisabledByOwner"})


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "with credentials of account 111122223333 (orders). Pare runs none of them"),
        ("ja", "（アカウント 111122223333 (orders) の認証情報で実行します。Pare は実行しません）"),  # noqa: RUF001
    ],
)
def test_the_commands_say_in_which_account_they_are_to_be_run(language: str, said: str) -> None:
    row = build.row(cls="disable", status="idle")

    text = page(row, language, account=folder.account(name="orders"))

    assert said in " ".join(text.split()) or said in text.replace("\n", "")
    assert f"credentials of account {build.ACCOUNT}." in " ".join(page(row).split())
    assert "credentials of account" not in page(build.row())


def test_a_hostile_account_name_forges_no_heading() -> None:
    row = build.row(cls="disable", status="idle")

    text = page(row, account=folder.account(name=HOSTILE))

    assert text.count("\nStatus: ") == 1


def test_a_first_inventory_has_nothing_to_compare_with() -> None:
    assert "There is no inventory to compare it with." in page(build.row(change=None))


def test_findings_that_were_not_asked_for_are_not_called_none() -> None:
    finding = finding_items.unused("f-1", finding_type="UnusedIAMRole").to_json()

    assert "Open findings" not in page(build.row())
    assert "Open findings\n  None." in page(build.row(), findings=[])
    found = page(build.row(), findings=[{"finding_id": "f-1", "finding": finding}])
    assert "low: IAM role ShopCheckout is not used; since 2026-11-20, eu-west-1: f-1" in found


def test_the_last_known_row_of_an_unknown_account_says_so_first() -> None:
    text = page(
        build.row(period="2026-10"),
        head=folder.head([folder.unknown_account()]),
        account=folder.unknown_account(),
    )

    assert "what is there today is unknown" in " ".join(text.splitlines()[:5])
