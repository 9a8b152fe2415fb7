"""The monthly report: one HTML file that needs no network, from a snapshot and its rows.

Style, script and data are in the file. The data are JSON that nothing runs; the script sets it as
text only, and the page's content security policy allows this one style and this one script, by
their hashes, and no request at all (W3C, Content Security Policy Level 3; a meta element delivers
it, since S3 and a disk send no such header). Same input, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pare.data_tables import read_table
from pare.inventory.commands import commands
from pare.inventory.model import CLASSES
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pare.inventory.model import (
        AccountResultJson,
        Class,
        CredentialsJson,
        PrincipalRowJson,
        ReasonJson,
        SnapshotJson,
    )

Language = Literal["en", "ja"]
LANGUAGES: tuple[Language, ...] = ("en", "ja")

# So that a browser opens it at once: beyond it, those to keep are left to the CSV.
PRINCIPAL_LIMIT = 25_000
# Of the principals that are no longer there.
GONE_LIMIT = 1_000
# Of one text from outside; IAM allows descriptions of 1,000 characters and tags of 256.
TEXT_LIMIT = 1_000

# Stands for the principal's name in its commands; no command line can have it.
NAME_MARK = "\0"

TEXTS_SCHEMA_VERSION = 1
_EPOCH = date(1970, 1, 1).toordinal()
# What would end the script element early, or break a line of JavaScript (HTML, 4.12.1.3).
_ESCAPES = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)

# The members of a row in the page, in this order; the script takes the names from the data.
COLUMNS = (
    "account", "arn_head", "arn_tail", "principal_id", "kind", "class", "status", "is_unused",
    "created", "idle_days", "last_use", "reasons", "issues", "owner", "owner_is_default", "tags",
    "policies", "groups", "boundary", "description", "trust", "services", "unused_services",
    "unused_actions", "months", "change", "changes", "unknown", "rest",
)  # fmt: skip


class LinksJson(TypedDict, total=False):
    """Where the other files of the period are: relative, or https."""

    csv: str
    rows: str  # gzip NDJSON


def render(
    snapshot: SnapshotJson,
    rows: Iterable[PrincipalRowJson],
    *,
    language: Language,
    links: LinksJson,
    gone: Iterable[PrincipalRowJson] = (),
) -> str:
    """Return the report of a snapshot as HTML; ``gone`` are last month's rows no longer there.

    The reader can switch the language; it begins with ``language``. At most PRINCIPAL_LIMIT rows
    are in it, the gravest classes first, and the page says how many are not.
    """
    style, script = _asset("css"), _asset("js")
    policy = "; ".join([
        "default-src 'none'",
        f"script-src '{_source_hash(script)}'",
        f"style-src '{_source_hash(style)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ])  # fmt: skip
    parts = {
        "language": language,
        "policy": policy,
        "style": style,
        "script": script,
        "texts": _json(_texts()),
        "data": _data(snapshot, rows, gone=gone, language=language, links=links),
    }
    # In one pass: no part is looked into for the marks of another.
    return re.sub(r"@@([a-z]+)@@", lambda mark: parts[mark[1]], _asset("html"))


# --- the parts of the page ------------------------------------------------------------------------


@cache
def _asset(suffix: str) -> str:
    folder = Path(__file__).parents[1] / "data"
    return (folder / f"inventory_report.{suffix}").read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _texts() -> dict[str, dict[str, str]]:
    """Return every text by language and key; the page chooses."""
    table = read_table("inventory_texts.json", schema_version=TEXTS_SCHEMA_VERSION)
    return {
        language: {key: words[language] for key, words in sorted(table["texts"].items())}
        for language in LANGUAGES
    }


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _data(
    snapshot: SnapshotJson,
    rows: Iterable[PrincipalRowJson],
    *,
    gone: Iterable[PrincipalRowJson],
    language: Language,
    links: LinksJson,
) -> str:
    """Return the data as JSON, with a line for every row, so that two months can be compared."""
    accounts = sorted(snapshot["accounts"], key=lambda account: account["account_id"])
    compact = _Compact({account["account_id"]: at for at, account in enumerate(accounts)})
    kept, left_out = _gravest(rows, PRINCIPAL_LIMIT)
    kept_gone, gone_left_out = _gravest(gone, GONE_LIMIT)
    lines = [_json(compact.row(row)) for row in kept]
    gone_lines = [_json(compact.row(row)) for row in kept_gone]
    members = {
        "language": language,
        "links": {kind: link for kind, link in sorted(links.items()) if _is_link(str(link))},
        "snapshot": {
            name: snapshot.get(name)
            for name in (
                "definition_version", "period", "created_at", "as_of", "previous", "comparable",
                "account_count", "unknown_account_count", "counts", "by_kind", "trend",
            )
        },
        "accounts": [_account(account) for account in accounts],
        "left_out": left_out,
        "gone_left_out": sum(gone_left_out.values()),
        "columns": COLUMNS,
        "pool": compact.pool,
    }  # fmt: skip
    return "".join([
        _json(members)[:-1],
        ',"gone":[\n', ",\n".join(gone_lines), "\n]",
        ',"rows":[\n', ",\n".join(lines), "\n]}",
    ])  # fmt: skip


def _is_link(link: str) -> bool:
    """Return whether a link leads to a file beside the page or to https, and runs nothing."""
    return link.startswith("https://") or re.fullmatch(r"[\w][\w./-]*", link) is not None


def _account(account: AccountResultJson) -> dict[str, Any]:
    counts = account["counts"]
    known = account.get("known")
    return {
        "id": account["account_id"],
        "name": plain(account["name"]),
        "alias": plain(account["alias"] or ""),
        "error": account["error"],
        "message": plain(account["message"] or ""),
        "known": known["period"] if known else None,
        "principals": account["principal_count"],
        "root_is_known": account["root"] is not None,
        "issues": _reasons(account["issues"]),
        "unknown": [plain(each) for each in account["unknown"]],
        "counts": {name: count for name, count in sorted(counts.items()) if count},
    }


def _reasons(reasons: list[ReasonJson]) -> list[dict[str, Any]]:
    return [
        {
            "code": reason["code"],
            "values": {
                name: value if isinstance(value, int) else plain(value, TEXT_LIMIT)
                for name, value in sorted(reason["values"].items())
            },
        }
        for reason in reasons
    ]


# --- which rows -----------------------------------------------------------------------------------


def _gravest(
    rows: Iterable[PrincipalRowJson], limit: int
) -> tuple[Iterator[dict[str, Any]], dict[Class, int]]:
    """Return at most ``limit`` rows in the order given, and how many of each class are not in it.

    Where there are more, those of the mildest class go, the last first. Rows wait as JSON text:
    25,000 of them as dicts would fill a function's memory.
    """
    waiting: dict[Class, list[tuple[int, str]]] = {name: [] for name in CLASSES}
    left_out: dict[Class, int] = {}
    for number, row in enumerate(rows):
        waiting[row["class"]].append((number, json.dumps(_shown(row))))
        if number >= limit:
            mildest = next(name for name in reversed(CLASSES) if waiting[name])
            waiting[mildest].pop()
            left_out[mildest] = left_out.get(mildest, 0) + 1
    in_order = sorted(each for kept in waiting.values() for each in kept)
    return (json.loads(text) for _, text in in_order), left_out


def _shown(row: PrincipalRowJson) -> dict[str, Any]:
    """Return what the page shows of a row, its texts made plain."""
    account_arn, _, resource = row["principal_arn"].rpartition(":")
    use = row["last_use"]
    return {
        "account": row["account_id"],
        "arn_head": plain(account_arn) + ":",
        "arn_tail": plain(resource, TEXT_LIMIT),
        "principal_id": plain(row["principal_id"]),
        "kind": row["kind"],
        "class": row["class"],
        "status": row["status"],
        # Rows made before there was such a member do not have it.
        "is_unused": int(row.get("is_unused", row["status"] in {"idle", "never used"})),
        "created": _day(row["created_at"]),
        "idle_days": row["idle_days"],
        "last_use": {
            "at": _day(use["at"]),
            "source": use["source"],
            "what": plain(use["what"]),
            "sources": {source: _day(at) for source, at in sorted(use["sources"].items())},
            "unknown": [plain(each) for each in use["unknown"]],
            "since": _day(use["since"]),
        },
        "reasons": _reasons(row["reasons"]),
        "issues": _reasons(row["issues"]),
        "owner": plain(row["owner_shown"], TEXT_LIMIT),
        "owner_is_default": int(row["owner"] is None),
        "tags": [plain(part, TEXT_LIMIT) for pair in sorted(row["tags"].items()) for part in pair],
        "policies": [plain(each, TEXT_LIMIT) for each in row["policies"]],
        "groups": [plain(each) for each in row["groups"]],
        "boundary": plain(row["boundary"] or "", TEXT_LIMIT),
        "description": plain(row["description"], TEXT_LIMIT),
        "trust": _all_plain(row["trust"]),
        "services": [
            [
                plain(service),
                _day(used["last_accessed_at"]),
                used["used_actions"],
                used["unused_actions"],
                int(used["denied_only"]),
                _months(row["used_services_months"].get(service, []), row["period"]),
            ]
            for service, used in sorted(row["services"].items())
        ],
        "unused_services": row["unused_services"],
        "unused_actions": row["unused_actions"],
        "months": _months(row["used_months"], row["period"]),
        "change": row["change"],
        "changes": row["changes"],
        "unknown": [plain(each) for each in row["unknown"]],
        "rest": {name: value for name, value in _rest(row).items() if value},
    }


def _rest(row: PrincipalRowJson) -> dict[str, Any]:
    """Return the members that few rows have."""
    return {
        "disabled_by": plain(row["disabled_by"] or ""),
        "instance_profiles": _all_plain(row["instance_profiles"]),
        "wide": _all_plain(row["wide"]),
        "credentials": _credentials(row["credentials"]),
        "seasons": _all_plain(row["seasons"]),
        "exemption": _all_plain(row["exemption"]),
        "plans": _all_plain(row["plans"]),
        "commands": _commands(row),
    }


def _commands(row: PrincipalRowJson) -> list[list[Any]]:
    """Return title and lines, the principal's name in them as NAME_MARK: so lines repeat."""
    name = row["principal_arn"].rpartition("/")[2]
    return [
        [each.title, [line.replace(name, NAME_MARK) for line in each.lines]]
        for each in commands(row)
    ]


def _credentials(credentials: CredentialsJson | None) -> dict[str, Any] | None:
    if credentials is None:
        return None
    return {
        "password": credentials["password_enabled"],
        "password_used": _day(credentials["password_last_used_at"]),
        "password_changed": _day(credentials["password_changed_at"]),
        "mfa": credentials["mfa_active"],
        "certificates": credentials["active_certificates"],
        "keys": [
            {
                "id": key["access_key_id"],
                "active": key["is_active"],
                "created": _day(key["created_at"]),
                "used": _day(key["last_used_at"]),
                "service": plain(key["last_used_service"] or ""),
                "region": plain(key["last_used_region"] or ""),
            }
            for key in credentials["access_keys"]
        ],
    }


def _all_plain(value: Any) -> Any:
    """Return JSON with every text in it made plain."""
    if isinstance(value, str):
        return plain(value, TEXT_LIMIT)
    if isinstance(value, dict):
        return {name: _all_plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_all_plain(each) for each in value]
    return value


def _day(at: str | None) -> int | None:
    """Return the days from 1970-01-01 to a time: numbers are shorter than dates, and sort."""
    return None if at is None else date.fromisoformat(at[:10]).toordinal() - _EPOCH


def _months(months: list[str], period: str) -> int:
    """Return months as bits: 1 is the period itself, 2 the month before, and so on for 14."""
    bits = 0
    for month in months:
        before = _month_number(period) - _month_number(month)
        if 0 <= before < 14:
            bits |= 1 << before
    return bits


@cache
def _month_number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7])


# --- compact rows ---------------------------------------------------------------------------------


class _Compact:
    """Rows as lists; what repeats is a number in the pool."""

    def __init__(self, accounts: dict[str, int]) -> None:
        self.pool: list[Any] = []
        self._numbers: dict[str, int] = {}
        self._accounts = accounts

    def row(self, shown: dict[str, Any]) -> list[Any]:
        """Return what ``_shown`` gave as a list in the order of COLUMNS."""
        number = self._number
        use = shown["last_use"]
        # An account that the head does not have is shown by its id.
        account = self._accounts.get(shown["account"], shown["account"])
        changed: dict[str, Any] = {
            "account": account,
            "last_use": [
                use["at"],
                use["source"],
                number(use["what"]),
                use["sources"],
                use["unknown"],
                use["since"],
            ],
            "reasons": [self._reason(each) for each in shown["reasons"]],
            "issues": [self._reason(each) for each in shown["issues"]],
            "services": [[number(service), *rest] for service, *rest in shown["services"]],
        }
        for name in ("arn_head", "kind", "class", "status", "owner", "trust"):
            changed[name] = number(shown[name])
        for name in ("boundary", "description"):
            changed[name] = number(shown[name])
        for name in ("tags", "policies", "groups", "changes", "unknown"):
            changed[name] = [number(each) for each in shown[name]]
        changed["last_use"][3] = [
            part for source, at in use["sources"].items() for part in (number(source), at)
        ]
        changed["last_use"][4] = [number(each) for each in use["unknown"]]
        changed["last_use"][1] = number(use["source"])
        if "commands" in shown["rest"]:
            changed["rest"] = shown["rest"] | {
                "commands": [
                    [title, [number(line) for line in lines]]
                    for title, lines in shown["rest"]["commands"]
                ]
            }
        return [changed.get(name, shown[name]) for name in COLUMNS]

    def _reason(self, reason: dict[str, Any]) -> list[Any]:
        """Return a reason as its shape's number (code, names of values) and the values."""
        values = reason["values"]
        return [self._number([reason["code"], *values]), *values.values()]

    def _number(self, value: Any) -> int:
        key = value if isinstance(value, str) else "\0" + json.dumps(value, sort_keys=True)
        if key not in self._numbers:
            self._numbers[key] = len(self.pool)
            self.pool.append(value)
        return self._numbers[key]
