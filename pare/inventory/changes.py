"""What changed of a user or role against last month's row of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pare.inventory.model import PrincipalRowJson


def _access_keys(row: PrincipalRowJson) -> Any:
    """Return the keys, not when they were used; None where nobody knows them."""
    if row["credentials"] is None:
        return None
    return sorted(
        # Ids are not always known; the time changes when a key is made, or switched on or off.
        (key["access_key_id"] or "", key["is_active"], key["created_at"] or "")
        for key in row["credentials"]["access_keys"]
    )


def _ids_unknown(row: PrincipalRowJson) -> bool:
    return row["credentials"] is not None and any(
        key["access_key_id"] is None for key in row["credentials"]["access_keys"]
    )


def _mfa(row: PrincipalRowJson) -> Any:
    return None if row["credentials"] is None else row["credentials"]["mfa_active"]


# In the order in which people read them.
_MEMBERS: tuple[tuple[str, Callable[[PrincipalRowJson], Any]], ...] = (
    ("class", lambda row: row["class"]),
    ("status", lambda row: row["status"]),
    ("owner", lambda row: row["owner"]),
    ("policies", lambda row: sorted(row["policies"])),
    ("groups", lambda row: sorted(row["groups"])),
    ("boundary", lambda row: row["boundary"] or ""),
    ("trust", lambda row: row["trust"]),
    ("kind", lambda row: row["kind"]),
    ("access keys", _access_keys),
    ("mfa", _mfa),
)
# None stands for something nobody knows: that is no change.
_MAY_BE_UNKNOWN = frozenset({"access keys", "mfa"})


def is_same_principal(before: PrincipalRowJson, now: PrincipalRowJson) -> bool:
    """Return whether it is the same user or role, not another one under its name."""
    return before["principal_id"] == now["principal_id"]


def changes(before: PrincipalRowJson, now: PrincipalRowJson) -> list[str]:
    """Return the names of what changed; none where the rows cannot be compared.

    Rows of other definitions say other things in the same words.
    """
    if before["definition_version"] != now["definition_version"]:
        return []
    found = []
    for name, value in _MEMBERS:
        old, new = value(before), value(now)
        if name in _MAY_BE_UNKNOWN and (old is None or new is None):
            continue
        if name == "access keys" and (_ids_unknown(before) or _ids_unknown(now)):
            old, new = (sorted(each[1:] for each in keys) for keys in (old, new))
        if old != new:
            found.append(name)
    return found


def gone(before: Iterable[PrincipalRowJson], ids: Mapping[str, str]) -> list[PrincipalRowJson]:
    """Return last month's rows of principals that are no longer there, sorted by ARN.

    ``ids``: ARN -> unique id of those there are. Who has another's name now is another one.
    """
    return sorted(
        (row for row in before if ids.get(row["principal_arn"]) != row["principal_id"]),
        key=lambda row: row["principal_arn"],
    )
