"""Which rows of a snapshot are shown, in which order, and how a terminal shows them.

Pure: `pare inventory show` and whoever else lists rows choose them here, so that one filter means
the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, get_args

from pare.inventory.model import CLASSES, PrincipalKind, PrincipalRowJson
from pare.inventory.names import shown
from pare.inventory.texts import reason_text
from pare.message import columns, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pare.inventory.model import AccountResultJson, PlanJson, SnapshotJson

KINDS: tuple[str, ...] = get_args(PrincipalKind)
Sort = Literal["class", "idle", "principal", "owner", "account", "created"]
SORTS: tuple[Sort, ...] = get_args(Sort)
# The codes of issues of users and roles, those of credentials first.
ISSUES = (
    "KEY_OLD", "KEY_IDLE", "KEY_NEVER_USED", "NO_MFA", "PASSWORD_IDLE", "PASSWORD_NEVER_USED",
    "PUBLIC_TRUST", "OUTSIDE_TRUST", "OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID",
    "FEDERATED_WITHOUT_SUBJECT", "UNKNOWN_TRUST", "NO_OWNER",
)  # fmt: skip
_CUT = "…"
# A terminal narrower than this shows no owner; the reason gets what is left, if it is enough.
_WIDE_ENOUGH_FOR_OWNER = 110
_SHORTEST_REASON = 24
_LONGEST_PRINCIPAL = 60


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows are wanted. What is empty does not choose; several values of one are "or"."""

    stale: bool = False  # counted as unused: idle or never used, and not kept on purpose
    classes: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()  # part of a name, or with *; letters of either case
    accounts: tuple[str, ...] = ()  # ids or names; * stands for any characters
    issues: tuple[str, ...] = ()
    changed: bool = False  # new or changed since last month

    def __call__(self, row: PrincipalRowJson, names: Mapping[str, str]) -> bool:
        """Return whether a row is wanted; ``names`` are the accounts' names by id."""
        account_id = row["account_id"]
        return (
            (not self.stale or row["is_unused"])
            and (not self.classes or row["class"] in self.classes)
            and (not self.statuses or row["status"] in self.statuses)
            and (not self.kinds or row["kind"] in self.kinds)
            and (not self.changed or row["change"] in {"new", "changed"})
            and (not self.owners or any(_is_owner(row["owner_shown"], o) for o in self.owners))
            and (
                not self.accounts
                or _is_one_of(account_id, self.accounts)
                or _is_one_of(names.get(account_id, ""), self.accounts)
            )
            and (not self.issues or any(each["code"] in self.issues for each in row["issues"]))
        )


def _is_owner(owner: str, wanted: str) -> bool:
    owner, wanted = owner.lower(), wanted.lower()
    return fnmatchcase(owner, wanted) if "*" in wanted else wanted in owner


def _is_one_of(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def chosen(
    rows: Iterable[PrincipalRowJson], wanted: Filter, sort: Sort, names: Mapping[str, str]
) -> list[PrincipalRowJson]:
    """Return the rows that are wanted, sorted."""
    return sorted((row for row in rows if wanted(row, names)), key=_KEYS[sort])


def _by_class(row: PrincipalRowJson) -> tuple[object, ...]:
    rank = CLASSES.index(row["class"]) if row["class"] in CLASSES else len(CLASSES)
    return rank, -(row["idle_days"] or 0), row["principal_arn"]


_KEYS: Mapping[Sort, Callable[[PrincipalRowJson], tuple[object, ...]]] = {
    "class": _by_class,
    "idle": lambda row: (-(row["idle_days"] if row["idle_days"] is not None else -1),
                         row["principal_arn"]),
    "principal": lambda row: (row["principal_arn"],),
    "owner": lambda row: (row["owner_shown"].lower(), row["principal_arn"]),
    "account": lambda row: (row["account_id"], *_by_class(row)),
    "created": lambda row: (row["created_at"], row["principal_arn"]),
}  # fmt: skip


def account_names(head: SnapshotJson | None) -> dict[str, str]:
    """Return the accounts' names by id, as far as the snapshot tells."""
    return {each["account_id"]: each["name"] for each in (head["accounts"] if head else [])}


def unknown_accounts(head: SnapshotJson | None) -> list[AccountResultJson]:
    """Return the accounts that could not be read."""
    return [each for each in (head["accounts"] if head else []) if each["error"]]


def partly_unknown(head: SnapshotJson | None) -> list[AccountResultJson]:
    """Return the accounts that were read, but for something that ``unknown`` names."""
    accounts = head["accounts"] if head else []
    return [each for each in accounts if each["unknown"] and not each["error"]]


def next_plan(row: PrincipalRowJson) -> tuple[str, PlanJson] | None:
    """Return the next planned date of a row and its plan; None where nothing is planned."""
    dated = [
        (plan["delete_on"] if plan["disabled_on"] and plan["delete_on"] else plan["disable_on"],
         plan)
        for plan in row["plans"]
    ]  # fmt: skip
    return min(dated, key=lambda each: (each[0], each[1]["what"]), default=None)


# --- a table on a terminal ------------------------------------------------------------------------


def table(
    rows: Sequence[PrincipalRowJson], names: Mapping[str, str], width: int, language: str = "en"
) -> Iterator[str]:
    """Yield a header and a line for each row, no wider than the terminal."""
    if not rows:
        return
    cells = [
        (
            row["class"],
            row["status"],
            (row["last_use"]["at"] or "none known")[:10],
            _dates(row),
            plain(shown(row["principal_arn"], names)),
        )
        for row in rows
    ]
    heads = ("CLASS", "STATUS", "LAST USE", "PLANNED", "PRINCIPAL")
    shown_columns = [[head, *(row[i] for row in cells)] for i, head in enumerate(heads)]
    if not any(shown_columns[3][1:]):
        del shown_columns[3]
    left = width - sum(_widest(column) + 2 for column in shown_columns[:-1])
    widest = min(_LONGEST_PRINCIPAL, max(left, 24))
    shown_columns[-1] = [without_middle(cell, widest) for cell in shown_columns[-1]]
    left -= _widest(shown_columns[-1]) + 2
    if width >= _WIDE_ENOUGH_FOR_OWNER:
        owners = [cut("OWNER", left), *(cut(plain(row["owner_shown"]), 28) for row in rows)]
        if left - _widest(owners) - 2 > 0:
            shown_columns.append(owners)
            left -= _widest(owners) + 2
    if left >= _SHORTEST_REASON:
        shown_columns.append(["WHY", *(cut(first_reason(row, language), left) for row in rows)])
    for line in zip(*shown_columns, strict=True):
        padded = [
            cell + " " * (_widest(column) - columns(cell))
            for cell, column in zip(line, shown_columns, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _dates(row: PrincipalRowJson) -> str:
    found = next_plan(row)
    if found is None:
        return ""
    on, plan = found
    planned = f"{'delete' if plan['disabled_on'] else 'disable'} {on}"
    if plan["what"] == "principal":
        return planned
    return f"{plain(plan['what']).removeprefix('access ')}: {planned}"


def first_reason(row: PrincipalRowJson, language: str = "en") -> str:
    """Return the sentence of the reason that decided the class."""
    if not row["reasons"]:
        return ""
    return reason_text(row["reasons"][0], language)


def cut(line: str, width: int) -> str:
    """Return a line that is no wider than this, its end cut off."""
    if columns(line) <= width:
        return line
    kept, taken = [], 1
    for letter in line:
        taken += columns(letter)
        if taken > width:
            break
        kept.append(letter)
    return "".join(kept) + _CUT


def without_middle(line: str, width: int) -> str:
    """Return a line that is no wider than this, its middle left out: a path, not a name."""
    if columns(line) <= width:
        return line
    head = cut(line, width // 3)
    tail: list[str] = []
    left = width - columns(head)
    for letter in reversed(line):
        left -= columns(letter)
        if left < 0:
            break
        tail.append(letter)
    return head + "".join(reversed(tail))


def _widest(column: Sequence[str]) -> int:
    return max(map(columns, column))


def wrapped(line: str, *, width: int = 80, first: str = "", rest: str = "") -> list[str]:
    """Return a line folded to the width, each part after its indent.

    Words longer than a line (ARNs, commands) stay whole; Japanese may break between letters.
    """
    lines: list[str] = []
    now = first
    is_empty = True
    for piece in _pieces(line):
        glue = piece if not is_empty else piece.lstrip(" ")
        if not is_empty and columns(now + glue.rstrip(" ")) > width:
            lines.append(now.rstrip(" "))
            now, glue = rest, piece.lstrip(" ")
        now += glue
        is_empty = is_empty and not glue
    lines.append(now.rstrip(" "))
    return lines


# What may not begin a line of Japanese.
# https://www.w3.org/TR/jlreq/#characters_not_starting_a_line
_NEVER_FIRST = "、。，．・：；？！）」』】〕》〉ーっゃゅょッャュョ"  # noqa: RUF001


def _pieces(line: str) -> Iterator[str]:
    """Yield what may not be divided: words with the blanks before them, single wide letters."""
    piece = ""
    for letter in line:
        is_wide = columns(letter) == 2
        ends = letter == " " or (is_wide and letter not in _NEVER_FIRST)
        after_wide = bool(piece) and columns(piece[-1]) == 2 and not is_wide
        if piece.strip(" ") and (ends or (after_wide and letter != " " and letter.isalnum())):
            yield piece
            piece = ""
        piece += letter
    if piece:
        yield piece
