"""The monthly report as CSV: a row for every user and role, for a spreadsheet or a script.

RFC 4180: commas, every cell in quotation marks, CRLF. It begins with a byte order mark: without
one Excel takes UTF-8 for the code page of its Windows, and Japanese is unreadable; what reads CSV
elsewhere knows the mark (Python: ``utf-8-sig``). Column names and words such as ``disable`` are
the same in every language, so that scripts and filters stay; sentences are in the language.

No cell is a formula (OWASP, CSV Injection): one that could begin as one has an apostrophe before
it, and so has every place inside a cell where a program that separates at another sign would begin
a cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pare.inventory.texts import reason_text, text, word
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pare.inventory.model import (
        AccessKeyJson,
        PlanJson,
        PrincipalRowJson,
        ReasonJson,
    )

BYTE_ORDER_MARK = "\ufeff"
COLUMNS = (
    "account_id", "account_name", "name", "arn", "kind", "owner", "status", "unused", "class",
    "reason", "issues", "last_used", "last_used_source", "idle_days", "created", "password", "mfa",
    "access_key_1", "access_key_2", "unused_services", "unused_actions", "planned", "exempt_until",
    "trusted_outside", "administrator", "policies", "groups", "boundary", "change", "changes",
    "unknown",
)  # fmt: skip

# A spreadsheet cuts a cell at 32,767 characters.
# https://support.microsoft.com/en-us/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3
_LONGEST = 4_000
# What begins a formula, after spaces and quotation marks, at the start or behind a separator; the
# wide forms are read as the narrow ones in Japanese.
_FORMULA = re.compile(r"""(^|[,;|])([\s"'\u3000]*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")


def write_csv(
    rows: Iterable[PrincipalRowJson], *, language: str, account_names: Mapping[str, str]
) -> Iterator[str]:
    """Yield the report, a line at a time, in the order of the rows."""
    yield BYTE_ORDER_MARK + _line(COLUMNS)
    for row in rows:
        cells = _cells(row, language, account_names)
        yield _line(cells[name] for name in COLUMNS)


def cell(value: object) -> str:
    """Return a value as a cell: one line, no formula, quoted."""
    shown = _FORMULA.sub(r"\1'\2", plain(value, _LONGEST))
    return '"' + shown.replace('"', '""') + '"'


def _line(values: Iterable[object]) -> str:
    return ",".join(map(cell, values)) + "\r\n"


def _cells(
    row: PrincipalRowJson, language: str, account_names: Mapping[str, str]
) -> dict[str, object]:
    use, trust, credentials = row["last_use"], row["trust"], row["credentials"]
    exemption = row["exemption"]
    keys = credentials["access_keys"] if credentials else []
    return {
        "account_id": row["account_id"],
        "account_name": account_names.get(row["account_id"], ""),
        "name": row["principal_arn"].rpartition("/")[2],
        "arn": row["principal_arn"],
        "kind": row["kind"],
        "owner": row["owner_shown"],
        "status": row["status"],
        # Rows made before there was such a member do not have it.
        "unused": _yes_or_no(row.get("is_unused", row["status"] in {"idle", "never used"})),
        "class": row["class"],
        "reason": _sentences(row["reasons"], language),
        "issues": _sentences(row["issues"], language),
        "last_used": _date(use["at"]),
        "last_used_source": use["source"] or "",
        "idle_days": _number(row["idle_days"]),
        "created": _date(row["created_at"]),
        "password": _yes_or_no(credentials["password_enabled"] if credentials else None)
        if trust is None
        else "",
        "mfa": _yes_or_no(credentials["mfa_active"] if credentials else None)
        if trust is None
        else "",
        "access_key_1": _key(keys[0]) if keys else "",
        "access_key_2": _key(keys[1]) if len(keys) > 1 else "",
        "unused_services": _number(row["unused_services"]),
        "unused_actions": _number(row["unused_actions"]),
        "planned": "; ".join(_plan(plan, language) for plan in row["plans"]),
        "exempt_until": exemption["expires"] if exemption else "",
        "trusted_outside": _trusted(row),
        "administrator": _yes_or_no(any(each["is_administrator"] for each in row["wide"])),
        "policies": " ".join(row["policies"]),
        "groups": " ".join(row["groups"]),
        "boundary": row["boundary"] or "",
        "change": row["change"] or "",
        "changes": " ".join(row["changes"]),
        "unknown": ", ".join([*row["unknown"], *use["unknown"]]),
    }


def _sentences(reasons: list[ReasonJson], language: str) -> str:
    return " ".join(reason_text(reason, language) for reason in reasons)


def _plan(plan: PlanJson, language: str) -> str:
    what = word("what", plan["what"], language)
    if plan["disabled_on"] and plan["delete_on"]:
        return text(
            "plan_delete",
            language,
            what=what,
            delete_on=plan["delete_on"],
            disabled_on=plan["disabled_on"],
        )
    return text("plan_disable", language, what=what, disable_on=plan["disable_on"])


def _key(key: AccessKeyJson) -> str:
    """Return ``AKIA… active, created 2024-01-02, used 2026-10-01``."""
    used = f"used {_date(key['last_used_at'])}" if key["last_used_at"] else "never used"
    return ", ".join([
        key["access_key_id"] or "id unknown",
        "active" if key["is_active"] else "inactive",
        f"created {_date(key['created_at']) or 'unknown'}",
        used,
    ])  # fmt: skip


def _trusted(row: PrincipalRowJson) -> str:
    trust = row["trust"]
    if trust is None:
        return ""
    outside = [each["account_id"] for each in trust["outside"]]
    return " ".join([*(["anybody"] if trust["is_public"] else []), *outside])


def _date(at: str | None) -> str:
    return at[:10] if at else ""


def _number(count: int | None) -> str:
    """Return a number without commas, for spreadsheets to count with."""
    return "unknown" if count is None else str(count)


def _yes_or_no(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"
