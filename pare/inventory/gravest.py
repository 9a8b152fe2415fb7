"""The gravest of a snapshot's rows, gathered in one pass: what the month's message names.

Memory is bounded by the owners, not by the rows: of each list the first in order are kept, and how
many there are. Whoever is to be disabled or deleted is named there, and not again with the keys and
passwords that should be mended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pare.clock import parse_time
from pare.message import listed, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from pare.inventory.model import Class, PrincipalRowJson, ReasonJson

# Of each owner, and of each list without owners.
KEPT = 50
# An exemption that ends within this is worth a word this month.
EXPIRES_SOON = timedelta(days=31)

_CREDENTIAL_ISSUES = frozenset(
    {"KEY_OLD", "KEY_IDLE", "KEY_NEVER_USED", "NO_MFA", "PASSWORD_IDLE", "PASSWORD_NEVER_USED"}
)
_ISSUE_ORDER = {"NO_MFA": 0, "KEY_OLD": 1}
# Who may assume a role although nobody here knows them, the widest first: the issue, the reason
# that says it of several at once, and the name of its value there and here.
_OPEN = (
    ("PUBLIC_TRUST", "PUBLIC_TRUST", "", ""),
    ("FEDERATED_WITHOUT_SUBJECT", "FEDERATED_OPEN", "provider", "providers"),
    ("OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID", "OUTSIDE_WITHOUT_EXTERNAL_ID", "account", "accounts"),
)
_WHOLE = frozenset({"disable", "delete"})
# Of the accounts or providers that one sentence names.
_NAMED_TOGETHER = 5
_NO_DATE = "9999-12-31"


class Planned(NamedTuple):
    """Something to disable or to delete, in the order of urgency."""

    due: str  # the date of what comes next
    account_id: str
    principal_arn: str
    what: str  # "principal", "password", "access key 1"
    to_do: Class
    disable_on: str | None  # None: no plan yet
    disabled_on: str | None
    delete_on: str | None
    times_announced: int


class Issue(NamedTuple):
    """An issue of a key or password, the gravest first."""

    order: tuple[int, int]
    account_id: str
    principal_arn: str
    reason: ReasonJson


class Named(NamedTuple):
    """A user or role that is there, or that is no longer there."""

    order: int  # what AWS makes by itself comes last
    account_id: str
    principal_arn: str
    kind: str
    owner: str


class Exemption(NamedTuple):
    """An exemption that has ended or ends soon."""

    expires: str
    account_id: str
    principal_arn: str
    owner: str
    has_ended: bool


T = TypeVar("T")


@dataclass(slots=True)
class First(Generic[T]):
    """The first KEPT of things added in any order, and how many were added."""

    order: Callable[[T], tuple[object, ...]]
    count: int = 0
    _kept: list[T] = field(default_factory=list)

    def add(self, each: T) -> None:
        self.count += 1
        self._kept.append(each)
        if len(self._kept) >= 2 * KEPT:
            self._kept = self.items()

    def items(self) -> list[T]:
        """Return what is kept, in order."""
        return sorted(self._kept, key=self.order)[:KEPT]


def _credentials() -> First[Issue]:
    return First(lambda issue: issue[:3])


def _whole() -> First[Planned]:
    return First(lambda planned: planned[:4])


def _named() -> First[Named]:
    return First(lambda named: named[:3])


def _by_expiry() -> First[Exemption]:
    return First(lambda exemption: exemption[:3])


@dataclass(slots=True)
class Gravest:
    """What a message names."""

    planned: dict[str, First[Planned]] = field(default_factory=dict)  # by owner, made plain
    open: First[Issue] = field(default_factory=_credentials)  # to the outside: one of each role
    new: First[Named] = field(default_factory=_named)
    credentials: First[Issue] = field(default_factory=_credentials)
    break_glass: First[Issue] = field(default_factory=_credentials)
    exemptions: First[Exemption] = field(default_factory=_by_expiry)


def gravest(rows: Iterable[PrincipalRowJson], *, as_of: datetime) -> Gravest:
    """Return the gravest of the rows."""
    found = Gravest()
    soon = (as_of + EXPIRES_SOON).date().isoformat()
    for row in rows:
        _add_planned(found, row)
        _add_open(found, row)
        if row["change"] == "new":
            found.new.add(named(row))
        account_id, arn = row["account_id"], row["principal_arn"]
        for issue in row["issues"]:
            if issue["code"] in _CREDENTIAL_ISSUES and row["class"] not in _WHOLE:
                found.credentials.add(Issue(_order(issue), account_id, arn, issue))
        for reason in row["reasons"]:
            if reason["code"] == "BREAK_GLASS_USED":
                found.break_glass.add(Issue(_order(reason), account_id, arn, reason))
            elif reason["code"] == "EXEMPTION_EXPIRED":
                values = reason["values"]
                found.exemptions.add(
                    Exemption(str(values["expires"]), account_id, arn, str(values["owner"]), True)
                )
        exemption = row["exemption"]
        if exemption and as_of.date().isoformat() <= exemption["expires"] <= soon:
            found.exemptions.add(
                Exemption(exemption["expires"], account_id, arn, exemption["owner"], False)
            )
    return found


def named(row: PrincipalRowJson) -> Named:
    """Return what a message says of a principal that came or went."""
    return Named(
        int(row["kind"] == "service-linked role"),
        row["account_id"],
        row["principal_arn"],
        row["kind"],
        row["owner_shown"],
    )


def is_overdue(planned: Planned, as_of: str) -> bool:
    """Return whether the date of what comes next has passed; ``as_of`` is an ISO 8601 time."""
    return planned.due <= parse_time(as_of).date().isoformat()


def _add_planned(found: Gravest, row: PrincipalRowJson) -> None:
    account_id, arn, to_do = row["account_id"], row["principal_arn"], row["class"]
    planned = [
        Planned(
            plan["delete_on"] or plan["disable_on"],
            account_id,
            arn,
            plan["what"],
            to_do,
            plan["disable_on"],
            plan["disabled_on"],
            plan["delete_on"],
            plan["times_announced"],
        )
        for plan in row["plans"]
    ]
    if not planned and to_do in _WHOLE:
        planned.append(Planned(_NO_DATE, account_id, arn, "principal", to_do, None, None, None, 0))
    for each in planned:
        found.planned.setdefault(plain(row["owner_shown"]), _whole()).add(each)


def _add_open(found: Gravest, row: PrincipalRowJson) -> None:
    """Add how wide a role is open: the widest of its issues; administrators before the others."""
    is_administrator = any(each["is_administrator"] for each in row["wide"])
    for order, (code, said, of_one, of_all) in enumerate(_OPEN):
        issues = [issue for issue in row["issues"] if issue["code"] == code]
        if not issues:
            continue
        values: dict[str, str | int] = {}
        if of_one:
            # Of an identity provider's ARN, its name: the account stands beside it.
            each = [str(issue["values"][of_one]).rpartition("-provider/")[2] for issue in issues]
            values[of_all] = listed(each, _NAMED_TOGETHER)
        found.open.add(
            Issue(
                (order, 0 if is_administrator else 1),
                row["account_id"],
                row["principal_arn"],
                {"code": said, "values": values},
            )
        )
        return


def _order(issue: ReasonJson) -> tuple[int, int]:
    """Return what sorts issues: users without MFA, the oldest keys, then what is idle longest."""
    days = issue["values"].get("days", 0)
    return _ISSUE_ORDER.get(issue["code"], 2), -days if isinstance(days, int) else 0
