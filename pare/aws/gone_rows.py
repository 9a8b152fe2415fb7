"""Last month's rows of the users and roles that are no longer there, from each account's list."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.aws.evidence_store import EvidenceStore
    from pare.inventory.model import AccountResultJson, PrincipalRowJson

# Accounts' lists that are fetched beside each other.
_AT_ONCE = 8


def gone_rows(
    store: EvidenceStore, accounts: list[AccountResultJson]
) -> Iterator[PrincipalRowJson]:
    """Yield the rows in the order of the accounts; who stops early leaves the rest unread."""
    refs = [
        account["gone"] for account in accounts if account["gone"] and account["counts"].get("gone")
    ]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        fetching = deque(threads.submit(store.get_ndjson_gz, ref) for ref in refs[:_AT_ONCE])
        for number in range(len(refs)):
            rows = fetching.popleft().result()
            if number + _AT_ONCE < len(refs):
                fetching.append(threads.submit(store.get_ndjson_gz, refs[number + _AT_ONCE]))
            yield from rows
