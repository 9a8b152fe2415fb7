"""What the users and roles of one account did in the window, as the nightly digests show it.

Of a digest only this is kept of a principal: the actions it was allowed and refused, each with the
last time, and the months in which it used a service. So an account of 5,000 principals and 90 days
takes tens of megabytes, not all its resources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pare.cloudtrail.denials import outcome_of
from pare.policy.catalogue import load_catalogue
from pare.policy.coverage import LEFT_OUT_BY_CHOICE
from pare.policy.subjects import subjects_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pare.cloudtrail.activity import Activity, PrincipalActivity, Use


@dataclass(slots=True)
class Did:
    """What one principal did. Actions as ``s3:GetObject`` -> time of the last call, ISO 8601."""

    allowed: dict[str, str] = field(default_factory=dict)
    denied: dict[str, str] = field(default_factory=dict)
    # "s3.amazonaws.com:PutThing", of no known action -> last call; all refused ones aside.
    unmapped: dict[str, str] = field(default_factory=dict)
    # service -> YYYY-MM of allowed calls; "" for the calls of no known action
    months: dict[str, set[str]] = field(default_factory=dict)


NOTHING = Did()


@dataclass(frozen=True, slots=True)
class ActivityOfAccount:
    """What every user and role of an account did, and how much of the window is known.

    Days are ``YYYY-MM-DD``. ``missing``: nothing is known of them; ``unreadable``: their digest is
    damaged; ``partial``: some of their log files or records could not be read. A day on which no
    log file came, though all were read, is in none of them; one before the account's first digest
    is missing: the trail may not have had the account yet.
    """

    by_arn: Mapping[str, Did]
    first: str
    last: str
    read: frozenset[str]
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    unread_files: int = 0  # log files of the window that could not be fetched
    # Whether the trail has reads at all, and services that it seems to leave out by choice.
    reads_recorded: bool = True
    services_left_out: tuple[str, ...] = ()

    def of(self, arn: str) -> Did:
        """Return what a principal did; nothing, where the logs do not show it."""
        return self.by_arn.get(arn, NOTHING)

    def is_whole(self, until: str) -> bool:
        """Return whether every call was read from the window's first day to a date, included."""
        return (
            self.first <= until <= self.last
            and not any(day <= until for day in (*self.missing, *self.unreadable, *self.partial))
            and self.unread_files == 0
            and self.reads_recorded
        )


class ActivityReading:
    """Adds up the digests of an account, day by day.

    ``ids``: ARN -> unique id of the users and roles that are there today; what others did, those
    of the same name before them included, is left out (pare/policy/subjects.py).
    """

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._ids = ids
        self._by_arn: dict[str, Did] = {}
        self._read: set[str] = set()
        self._partial: set[str] = set()
        self._actions: set[str] = set()  # of everybody

    def add(self, day: str, activity: Activity) -> None:
        """Add the digest of a day; ``activity`` may be thrown away afterwards."""
        self._read.add(day)
        if activity.totals.unreadable_files or activity.totals.unreadable_records:
            self._partial.add(day)
        for theirs in activity.principals.values():
            self._actions.update(key.action for key in theirs.groups)
        for arn, subject in subjects_of(activity, self._ids).by_arn.items():
            if arn in self._ids:
                _add(self._by_arn.setdefault(arn, Did()), subject.activity, day)

    def ended(
        self,
        days: Iterable[str],
        *,
        unreadable: Collection[str],
        complete: Collection[str],
        unread_files: int,
    ) -> ActivityOfAccount:
        """Return the activity of these days, oldest first.

        ``complete``: days of which no more log files are to be expected: without a digest they were
        quiet, once the account has had one. ``unread_files``: log files that could not be fetched.
        """
        days = list(days)
        catalogue = load_catalogue()
        services = {action.partition(":")[0] for action in self._actions}
        # Days are complete for the organization, which the account may have joined since.
        begin = min([*self._read, *unreadable], default="")
        return ActivityOfAccount(
            by_arn=self._by_arn,
            first=days[0],
            last=days[-1],
            read=frozenset(self._read),
            missing=tuple(
                day
                for day in days
                if day not in self._read
                and day not in unreadable
                and (day not in complete or day < begin)
            ),
            unreadable=tuple(sorted(unreadable)),
            partial=tuple(sorted(self._partial)),
            unread_files=unread_files,
            reads_recorded=any(
                catalogue.exists(action) and catalogue.access_level(action) in {"List", "Read"}
                for action in self._actions
            ),
            services_left_out=tuple(
                service for service in LEFT_OUT_BY_CHOICE if service not in services
            ),
        )


def _add(did: Did, theirs: PrincipalActivity, day: str) -> None:
    for key, group in theirs.groups.items():
        known = did.allowed if key.outcome == "allowed" else did.denied
        for use in group.uses.values():
            at = _time(use, day)
            known[key.action] = max(at, known.get(key.action, at))
            if key.outcome == "allowed":
                _add_months(did, key.action.partition(":")[0], use, day)
    for operation, use in theirs.unmapped.items():
        if not _all_denied(use, operation):
            at = _time(use, day)
            did.unmapped[operation] = max(at, did.unmapped.get(operation, at))
            _add_months(did, "", use, day)


def _add_months(did: Did, service: str, use: Use, day: str) -> None:
    months = did.months.setdefault(service, set())
    months.update(at[:7] for at in (use.first or day, use.last or day))


def _time(use: Use, day: str) -> str:
    """Return the time of the last call; that of no record is the day its log file came."""
    return use.last or f"{day}T00:00:00Z"


def _all_denied(use: Use, operation: str) -> bool:
    """Return whether every call of an unmapped operation ended with a refusal."""
    errors = use.errors or {}
    source = operation.partition(":")[0]
    refused = sum(n for code, n in errors.items() if outcome_of(code, source) != "allowed")
    return use.count > 0 and refused >= use.count
