from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pare.errors import MemberAccountError
from pare.inventory.message import LISTED_ACCOUNTS, inventory_message
from pare.inventory.snapshot import AccountResultJson, SnapshotJson, build_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

LOCATION = "s3://evidence/inventory/period=2026-11/snapshot.json"
FORGED = (
    "x\r\nStored in: s3://elsewhere\n\nStored in: s3://elsewhere\u2028\x00\u202e "
    + "y" * 75
    + " Stored in: s3://elsewhere"
)


def unknown(number: int, **changes: Any) -> AccountResultJson:
    result: AccountResultJson = {
        "account_id": f"{number:012d}",
        "name": f"sandbox-{number}",
        "principal_count": 0,
        "error": "MemberAccountError",
        "message": "ACTIVE: sts:AssumeRole in account: AccessDenied: not authorized",
        "rows": None,
    }
    return {**result, **changes}  # type: ignore[typeddict-item]


def known(number: int) -> AccountResultJson:
    return unknown(number, error=None, message=None, rows={"bucket": "b", "key": "k"})


def snapshot(*results: AccountResultJson, roles: int = 1_200, users: int = 34) -> SnapshotJson:
    rows: Any = [{"kind": "role"}] * roles + [{"kind": "user"}] * users
    return build_snapshot(
        period="2026-11", created_at="2026-11-01T06:00:00Z", results=results, rows=rows
    )


def test_an_inventory_reads_well(golden: Callable[[str, Any], None]) -> None:
    message = inventory_message(snapshot(known(1), known(2), unknown(3)), location=LOCATION)

    golden("inventory.txt", f"Subject: {message.subject}\n\n{message.text}")
    assert message.subject == "[Pare] Inventory 2026-11: 1,234 users and roles in 2 accounts"
    assert message.attributes == {"kind": "inventory", "period": "2026-11"}
    assert message.facts == {
        "kind": "inventory",
        "period": "2026-11",
        "principal_count": 1_234,
        "account_count": 3,
        "by_kind": {"role": 1_200, "user": 34},
        "unknown_accounts": ["000000000003"],
        "location": LOCATION,
    }
    json.dumps(message.facts)


def test_where_every_account_is_known_none_is_listed() -> None:
    text = inventory_message(snapshot(known(1)), location=LOCATION).text

    assert "could not be read" not in text


def test_an_unknown_account_comes_with_what_to_do() -> None:
    text = inventory_message(snapshot(unknown(3)), location=LOCATION).text

    assert MemberAccountError.what_to_do in " ".join(text.split())


def test_a_message_about_thousands_of_unknown_accounts_stays_one_sns_takes() -> None:
    results = [unknown(number, message="m" * 5_000) for number in range(2_000)]

    message = inventory_message(snapshot(*results), location=LOCATION)

    assert len(message.text.encode()) < 100_000
    assert len(json.dumps(message.facts).encode()) < 100_000
    assert message.text.count("\n- sandbox-") == LISTED_ACCOUNTS
    assert f"and {2_000 - LISTED_ACCOUNTS:,} more" in message.text
    assert len(message.facts["unknown_accounts"]) == 2_000


def test_no_account_can_forge_a_line() -> None:
    results = [unknown(1, name=FORGED), unknown(2, message=FORGED), unknown(3, error=FORGED)]

    text = inventory_message(snapshot(*results), location=LOCATION).text

    assert [line for line in text.splitlines() if line.startswith("Stored in")] == [
        f"Stored in: {LOCATION}"
    ]
    assert all(line.isprintable() for line in text.splitlines())


def test_lines_fit_a_mail() -> None:
    text = inventory_message(snapshot(known(1), unknown(2)), location=LOCATION).text

    assert all(len(line) <= 80 for line in text.splitlines())
