"""What every principal did: the sum of any number of log files, in any order.

An ``Activity`` is a pure function of the set of records that went into it. Two of them merge into
what reading all their records at once would have given, to the byte: counts add, times take the
earlier and the later, sets unite, and what is bounded (resources of a row, sessions of a principal,
names of unreadable files) is bounded by rules that do not depend on the order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pare.cloudtrail.principals import Principal

# More distinct ARNs than this in one row group, and they are kept as prefixes (``fold``).
MAX_RESOURCES = 500
# Session names kept for a principal; how many more there were is said, not who.
MAX_SESSIONS = 20
# Names of unreadable files kept; all are counted.
MAX_NAMES = 200

Outcome = Literal["allowed", "denied"]
# Regions, operations, services that called for the principal: sorted, and shared by many uses.
Where = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
# The resource of an action that takes none, as a policy writes it.
ANY_RESOURCE = "*"


class UseKey(NamedTuple):
    """What one group of a principal's rows has in common."""

    action: str
    passed_to_service: str  # of iam:PassRole; empty for all others and where it is not known
    outcome: Outcome


class Use:
    """How often and when something was done. Times are ISO 8601, empty where no record had one.

    A cross-account call is recorded in both accounts. ``own`` counts the records of the caller's
    account (and all that are not such a pair), ``copies`` those of the other; ``count`` is the
    number of calls: one record of each pair is enough to know a call.
    """

    __slots__ = ("copies", "errors", "file", "first", "last", "own", "where")

    def __init__(
        self,
        own: int = 0,
        copies: int = 0,
        first: str = "",
        last: str = "",
        file: str = "",
        where: Where = ((), (), ()),
        errors: dict[str, int] | None = None,
    ) -> None:
        self.own = own
        self.copies = copies
        self.first = first
        self.last = last
        self.file = file  # the log file that holds the last call; of several the first by name
        self.where = where
        self.errors = errors  # error code -> calls, where there were any

    @property
    def count(self) -> int:
        """Return how many calls there were."""
        return max(self.own, self.copies)

    @property
    def regions(self) -> tuple[str, ...]:
        """Return the Regions of the calls."""
        return self.where[0]

    @property
    def operations(self) -> tuple[str, ...]:
        """Return the operations called, such as ``s3.amazonaws.com:GetObject``."""
        return self.where[1]

    @property
    def via(self) -> tuple[str, ...]:
        """Return the services that made calls for the principal."""
        return self.where[2]

    def add(self, other: Use) -> None:
        """Add what another one holds, which may be shared and is not changed."""
        self.own += other.own
        self.copies += other.copies
        if other.first and (not self.first or other.first < self.first):
            self.first = other.first
        if other.last > self.last or (
            other.last == self.last and other.file and other.file < self.file
        ):
            self.last, self.file = other.last, other.file
        if other.where is not self.where and other.where != self.where:
            self.where = _union(self.where, other.where)
        if other.errors:
            self.errors = dict(self.errors) if self.errors else {}
            _add_counts(self.errors, other.errors)

    def copy(self) -> Use:
        """Return one that can be changed by itself."""
        return Use(self.own, self.copies, self.first, self.last, self.file, self.where, self.errors)


class Group:
    """The uses of one ``UseKey`` by resource: an ARN, ``*``, or None where the ARN is not known.

    ``depth`` is None while every ARN is kept as it is. Once there are more than MAX_RESOURCES, ARNs
    are folded to their first ``depth`` parts: the largest depth that leaves at most that many.
    """

    __slots__ = ("depth", "uses")

    def __init__(self) -> None:
        self.uses: dict[str | None, Use] = {}
        self.depth: int | None = None

    def add(self, resource: str | None, use: Use) -> None:
        """Add uses of a resource, folded as the others are; ``use`` is the group's from now on."""
        if self.depth is not None and resource is not None:
            resource = fold(resource, self.depth)
        known = self.uses.get(resource)
        if known is None:
            self.uses[resource] = use
            if len(self.uses) > MAX_RESOURCES:
                self._fold_more()
        else:
            known.add(use)

    def merge(self, other: Group) -> None:
        """Add another group of the same key."""
        if other.depth is not None and (self.depth is None or other.depth < self.depth):
            self._fold_to(other.depth)
        for resource, use in other.uses.items():
            self.add(resource, use.copy())

    def _fold_more(self) -> None:
        depth = self.depth
        if depth is None:
            depth = max(resource.count("/") for resource in self.uses if resource) + 1
        while len(self.uses) > MAX_RESOURCES and depth > MIN_DEPTH:
            depth -= 1
            self._fold_to(depth)

    def _fold_to(self, depth: int) -> None:
        uses, self.uses, self.depth = self.uses, {}, depth
        for resource, use in uses.items():
            folded = None if resource is None else fold(resource, depth)
            known = self.uses.get(folded)
            if known is None:
                self.uses[folded] = use
            else:
                known.add(use)


MIN_DEPTH = -2


def fold(resource: str, depth: int) -> str:
    """Return a sketch of an ARN: its first ``depth`` parts between slashes, and ``*`` for the rest.

    Depth 0 keeps the type (``function:*``), -1 the service alone, -2 nothing. Folding first to a
    larger depth and then to a smaller gives the same as folding to the smaller at once. The result
    says where the ARNs lay; it is no pattern to grant.
    """
    if resource == ANY_RESOURCE:
        return resource
    parts = resource.split(":", 5)
    if len(parts) < 6:
        return resource if depth > MIN_DEPTH else "arn:*"
    if depth > 0:
        segments = parts[5].split("/")
        if len(segments) <= depth:
            return resource
        return ":".join([*parts[:5], "/".join(segments[:depth]) + "/*"])
    if depth == 0:
        kind, colon, _ = parts[5].partition(":")
        rest = f"{kind}:*" if colon and "/" not in kind else "*"
        return ":".join([*parts[:5], rest])
    return ":".join([*parts[:3], "*"]) if depth == -1 else "arn:*"


class Sessions:
    """The sessions of a principal: name -> calls; the MAX_SESSIONS with the smallest checksums.

    Which are kept depends on the names alone, so that merging keeps the same ones in any order, and
    the calls of a kept name are all counted: a name that is kept in the end was never dropped.
    """

    __slots__ = ("limit", "more", "names")

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.more = False  # whether there were others
        self.limit: tuple[int, str] | None = None

    def add(self, name: str, count: int) -> None:
        """Count calls of a session."""
        if name in self.names:
            self.names[name] += count
        elif self.limit is not None and session_order(name) > self.limit:
            self.more = True
        else:
            self.names[name] = count
            if len(self.names) >= 2 * MAX_SESSIONS:
                self.trim()

    def trim(self) -> None:
        """Keep no more than MAX_SESSIONS."""
        if len(self.names) > MAX_SESSIONS:
            kept = sorted(self.names, key=session_order)[:MAX_SESSIONS]
            self.limit, self.more = session_order(kept[-1]), True
            self.names = {name: self.names[name] for name in kept}

    def merge(self, other: Sessions) -> None:
        """Add another part of the same principal's sessions."""
        self.more |= other.more
        if other.limit is not None and (self.limit is None or other.limit < self.limit):
            self.limit = other.limit
            self.names = {
                name: count for name, count in self.names.items()
                if session_order(name) <= other.limit
            }  # fmt: skip
        for name, count in other.names.items():
            self.add(name, count)
        self.trim()


def session_order(name: str) -> tuple[int, str]:
    """Return by what sessions are chosen: a checksum, which has nothing to do with who they are."""
    return zlib.crc32(name.encode(errors="surrogatepass")), name


@dataclass(slots=True)
class Totals:
    """What was read, counted. All of it adds up over files and days.

    ``records`` = used + denied + ignored + unmapped + unreadable, always. ``bytes`` is as stored,
    ``uncompressed_bytes`` as read. ``ignored`` and ``unreadable_records``: rule or reason ->
    records.
    """

    files: int = 0
    bytes: int = 0
    uncompressed_bytes: int = 0
    skipped_files: dict[str, int] = field(default_factory=dict)
    unreadable_files: dict[str, int] = field(default_factory=dict)
    used: int = 0
    denied: int = 0
    unmapped: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    unreadable_records: dict[str, int] = field(default_factory=dict)
    # eventSource -> events of category Data: which data events the trail recorded at all.
    data_events: dict[str, int] = field(default_factory=dict)
    # Event ids that were dropped to bound memory; duplicates of those would have counted twice.
    forgotten_event_ids: int = 0

    @property
    def records(self) -> int:
        """Return how many records went in."""
        counted = self.used + self.denied + self.unmapped
        return counted + sum(self.ignored.values()) + sum(self.unreadable_records.values())

    def add(self, other: Totals) -> None:
        """Add what another one holds."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, dict):
                _add_counts(mine, theirs)
            else:
                setattr(self, each.name, mine + theirs)


class PrincipalActivity:
    """What one principal did."""

    __slots__ = ("groups", "sessions", "unmapped")

    def __init__(self) -> None:
        self.groups: dict[UseKey, Group] = {}
        self.unmapped: dict[str, Use] = {}  # "s3.amazonaws.com:PutThing" -> calls
        self.sessions = Sessions()

    def group(self, key: UseKey) -> Group:
        """Return the uses of an action, empty at first."""
        found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = Group()
        return found

    def add_unmapped(self, operation: str, use: Use) -> None:
        """Add calls of an operation that maps to no known action."""
        known = self.unmapped.get(operation)
        if known is None:
            self.unmapped[operation] = use.copy()
        else:
            known.add(use)

    def merge(self, other: PrincipalActivity) -> None:
        """Add another part of the same principal's activity, which is not changed."""
        for key, group in other.groups.items():
            self.group(key).merge(group)
        for operation, use in other.unmapped.items():
            self.add_unmapped(operation, use)
        self.sessions.merge(other.sessions)


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """What was asked of the logs; empty texts and tuples where nothing was."""

    since: str = ""
    until: str = ""
    principals: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()


class Activity:
    """What every principal did, and what was read to know it."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.principals: dict[Principal, PrincipalActivity] = {}
        # account -> "2026-11-21T10:" of every hour that has a record: gaps are hours without one.
        self.hours: dict[str, set[str]] = {}
        # Names of files that could not be read, in whole or part -> reason; the first by name.
        self.problem_files: dict[str, str] = {}
        self.first = ""
        self.last = ""
        self.asked: set[Asked] = set()
        # Versions of the action catalogue that operations were mapped with.
        self.catalogue: set[str] = set()
        # Keys of the objects read, where that must be known (the nightly digests).
        self.objects: set[str] = set()

    def of(self, principal: Principal) -> PrincipalActivity:
        """Return the activity of a principal, empty at first."""
        found = self.principals.get(principal)
        if found is None:
            found = self.principals[principal] = PrincipalActivity()
        return found

    def unmapped_operations(self) -> dict[str, int]:
        """Return operations that map to no known action, with their calls by all principals."""
        found: dict[str, int] = {}
        for theirs in self.principals.values():
            for operation, use in theirs.unmapped.items():
                found[operation] = found.get(operation, 0) + use.count
        return found

    def name_problem(self, file: str, reason: str) -> None:
        """Name a file of which something could not be read."""
        self.problem_files[file] = min(reason, self.problem_files.get(file, reason))
        if len(self.problem_files) > MAX_NAMES:
            names = sorted(self.problem_files)[:MAX_NAMES]
            self.problem_files = {name: self.problem_files[name] for name in names}

    def widen(self, first: str, last: str) -> None:
        """Make the window of what was read hold these times; empty ones say nothing."""
        if first and (not self.first or first < self.first):
            self.first = first
        self.last = max(self.last, last)

    def merge(self, other: Activity) -> None:
        """Add what another one holds, which is not changed."""
        self._merge(other)
        for principal, theirs in other.principals.items():
            self.of(principal).merge(theirs)

    def absorb(self, other: Activity) -> None:
        """Add what another one holds, whose parts are this one's from now on."""
        self._merge(other)
        for principal, theirs in other.principals.items():
            if principal in self.principals:
                self.principals[principal].merge(theirs)
            else:
                self.principals[principal] = theirs

    def _merge(self, other: Activity) -> None:
        self.totals.add(other.totals)
        for account_id, hours in other.hours.items():
            self.hours.setdefault(account_id, set()).update(hours)
        for file, reason in other.problem_files.items():
            self.name_problem(file, reason)
        self.asked |= other.asked
        self.catalogue |= other.catalogue
        self.objects |= other.objects
        self.widen(other.first, other.last)


@lru_cache(maxsize=100_000)
def _union(mine: Where, theirs: Where) -> Where:
    regions, operations, via = (
        tuple(sorted({*some, *others})) for some, others in zip(mine, theirs, strict=True)
    )
    return regions, operations, via


def _add_counts(mine: dict[str, int], theirs: dict[str, int]) -> None:
    for name, count in theirs.items():
        mine[name] = mine.get(name, 0) + count
