"""What people read about an inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pare.message import Message, bullet, headline, plain, rows, sentence, subject
from pare.runs import what_to_do

if TYPE_CHECKING:
    from pare.inventory.snapshot import SnapshotJson


# A message of SNS has at most 256 KiB, and a person reads less.
LISTED_ACCOUNTS = 50


def inventory_message(snapshot: SnapshotJson, *, location: str) -> Message:
    """Return the message about a month's inventory; ``location`` is the snapshot's S3 URI."""
    unknown = snapshot["unknown_accounts"]
    title = (
        f"Inventory {snapshot['period']}: {snapshot['principal_count']:,} users and roles in "
        f"{snapshot['account_count'] - len(unknown):,} accounts"
    )
    not_read = "\n".join(
        bullet(
            f"{plain(account['name'])} ({account['account_id']}): "
            f"{sentence(plain(account['message']))} {what_to_do(account['error'] or '')}"
        )
        for account in unknown[:LISTED_ACCOUNTS]
    )
    if len(unknown) > LISTED_ACCOUNTS:
        not_read += "\n" + bullet(f"and {len(unknown) - LISTED_ACCOUNTS:,} more; see the snapshot.")
    text = "\n\n".join(part for part in [
        headline(title),
        rows([
            *((plain(kind), f"{count:,}") for kind, count in snapshot["by_kind"].items()),
            ("Stored in", location),
        ]),
        f"Accounts that could not be read, so nobody knows what is in them ({len(unknown)}):\n"
        + not_read if unknown else "",
    ] if part) + "\n"  # fmt: skip
    return Message(
        subject=subject(f"[Pare] {title}"),
        text=text,
        attributes={"kind": "inventory", "period": snapshot["period"]},
        facts={
            "kind": "inventory",
            "period": snapshot["period"],
            "principal_count": snapshot["principal_count"],
            "account_count": snapshot["account_count"],
            "by_kind": snapshot["by_kind"],
            "unknown_accounts": [account["account_id"] for account in unknown],
            "location": location,
        },
    )
