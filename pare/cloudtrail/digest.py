"""The one pass: log files in, the activity of every principal out.

Most records repeat what others said: the same caller, the same call. So a record is first counted
under two small keys, who (``_Caller``) and what (``Call``) and the raw text of the few parameters
that name resources; principals, actions and ARNs are worked out once for each distinct combination,
at the end.
"""

from __future__ import annotations

import io
import re
import sys
from datetime import datetime
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

from pare.clock import format_time, parse_time
from pare.cloudtrail.activity import ANY_RESOURCE, Activity, Sessions, Use, UseKey
from pare.cloudtrail.calls import Call
from pare.cloudtrail.deduplicate import Seen
from pare.cloudtrail.principals import UNKNOWN as UNKNOWN_PRINCIPAL
from pare.cloudtrail.principals import Principal, principal_of, session_name
from pare.cloudtrail.reader import Reading, read_records
from pare.cloudtrail.resources import ANY, UNKNOWN
from pare.cloudtrail.session_pattern import session_pattern
from pare.policy.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.cloudtrail.activity import Group
    from pare.cloudtrail.calls import Operation
    from pare.cloudtrail.record import Record, UserIdentity

# Rules by which a record is left out, and what people read about it.
DUPLICATE = "duplicate of an event already counted"
OUTSIDE_WINDOW = "outside the window asked for"
OTHER_ACCOUNT = "of an account not asked for"
OTHER_PRINCIPAL = "of a principal not asked for"
# Reasons for which a record cannot be used at all.
OVER_LONG_FIELD = "over-long field"

# Kept for one caller and call before ARNs are worked out of them: bounds memory, not what is
# counted.
_MAX_ENTRIES = 512
PASS_ROLE = "iam:PassRole"
_MAX_FIELD = 2048
_MAX_KEY = 8192
_MAX_SESSION_NAME = 128
_MAX_TIME = 64
_MINUTES_AND_SECONDS = frozenset(f"{m:02}:{s:02}Z" for m in range(60) for s in range(60))
_MAX_SESSION_ENTRIES = 200

# An entry: calls, first time, last time, file of the last. A row has more: the entries beneath it
# and how to pick one, or None; the caller's sessions, or None; caller and call. Lists, because they
# change with each event.
_COUNT, _FIRST, _LAST, _FILE, _ENTRIES, _PICK, _SESSIONS, _CALLER, _CALL = range(9)
Entry = list[Any]


class _Caller:
    """One caller: the principal, and what it did."""

    __slots__ = ("calls", "principal", "rule", "session_entries", "sessions", "unreadable")

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        # call -> what was picked -> entry
        self.calls: dict[Call, dict[Any, Entry]] = {}
        self.sessions = Sessions()
        # principalId of a session -> calls and name, until they are added to the sessions
        self.session_entries: dict[str | None, list[Any]] = {}
        self.rule: str | None = None
        self.unreadable: str | None = None

    def new_session(self, identity: UserIdentity) -> list[Any]:
        """Return a session's calls and name; it is kept under the id if that tells the name."""
        entries = self.session_entries
        name = session_name(identity)
        if name is None:
            return [0, ""]
        if len(entries) >= _MAX_SESSION_ENTRIES:
            self.settle_sessions()
        name = name[:_MAX_SESSION_NAME]
        session_id = identity.principalId or ""
        if ":" not in session_id or len(session_id) > _MAX_FIELD:
            session_id = f"{name} "  # no id ends so
        return entries.setdefault(session_id, [0, name])

    def settle_sessions(self) -> None:
        """Add the entries to the sessions."""
        for count, name in self.session_entries.values():
            self.sessions.add(name, count)
        self.session_entries.clear()


class Digest:
    """Sums up log files, one after the other.

    ``since`` and ``until``: ISO 8601 times; only events from the first, and before the second, are
    used.
    ``wanted``: only principals for which it returns None; otherwise the rule by which they are left
    out.
    ``by_session``: ARNs of roles whose sessions are counted one by one, as principals with the ARN
    of the role and the id ``AROAEXAMPLE:session``; alike names are one (``session_pattern``).
    ``seen``: events that count as counted already, in which the new ones are remembered.
    """

    def __init__(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        wanted: Callable[[Principal], str | None] | None = None,
        by_session: frozenset[str] = frozenset(),
        seen: Seen | None = None,
    ) -> None:
        self.since, self.until = since or "", until or ""
        self.wanted = wanted
        self.by_session = by_session
        self.seen = Seen() if seen is None else seen
        self._activity = Activity()
        self._name = ""  # of the file being read
        self._callers: dict[tuple[str, ...], _Caller] = {}
        # The same callers and calls by the parts of a row's key.
        self._whos: dict[Any, _Caller] = {}
        self._whats: dict[Any, Call] = {}
        self._rows: dict[tuple[Any, ...], Entry] = {}
        self._owners: dict[int, tuple[_Caller, Call]] = {}  # of the entries with that id()

    # --- reading --------------------------------------------------------------------------------

    def add_file(self, name: str, content: bytes) -> None:
        """Count the records of one log file, as stored; never raises for what it holds."""
        self.add_stream(name, io.BytesIO(content))

    def skip_file(self, reason: str, count: int = 1) -> None:
        """Count files that are passed over."""
        _count(self._activity.totals.skipped_files, reason, count)

    def lose_file(self, name: str, reason: str) -> None:
        """Count and name a file that could not be read at all."""
        name = name.encode(errors="replace").decode()
        self._activity.totals.files += 1
        self._lose(name, reason)

    def add_stream(self, name: str, file: IO[bytes]) -> None:
        """Count the records of one log file, read piece by piece."""
        reading = Reading()
        totals = self._activity.totals
        # What is no text in a file's name must not keep the others from being written.
        name = self._name = name.encode(errors="replace").decode()
        short_name = sys.intern(name.rpartition("/")[2])
        for records in read_records(file, reading):
            self._add(records, short_name)
            # Before the next are made: then they take the same memory.
            records.clear()
        if reading.skip is not None:
            self.skip_file(reading.skip)
            return
        totals.files += 1
        totals.bytes += reading.stored_bytes
        totals.uncompressed_bytes += reading.bytes
        if reading.file_problem is not None:
            self._lose(name, reading.file_problem)
        for reason, count in reading.record_problems.items():
            _count(totals.unreadable_records, reason, count)
            self._activity.name_problem(name, f"records: {reason}")

    def _lose(self, name: str, reason: str) -> None:
        _count(self._activity.totals.unreadable_files, reason, 1)
        self._activity.name_problem(name, reason)

    def _add(self, records: list[Record], file: str) -> None:
        self._check_times(records)
        if self.by_session:
            self._tell_sessions_apart(records)
        ids = [r.eventID for r in records]
        if None in ids:
            # Records without an id cannot be told apart from others: each counts.
            self._tally([r for r in records if r.eventID is None], file, 1)
            records = [r for r in records if r.eventID is not None]
        repeated = self.seen.repeated([id for id in ids if id is not None])
        if repeated is not None:
            twice = [records[i] for i in repeated]
            for i in reversed(repeated):
                del records[i]
            _count(self._activity.totals.ignored, DUPLICATE, len(twice))
            # They count nothing, but the file they lie in may be the one to name (``Use.file``).
            self._tally(twice, file, 0)
        self._tally(records, file, 1)

    def _tell_sessions_apart(self, records: list[Record]) -> None:
        """Give the role of every record asked for the session as part of its id.

        The id is part of what callers are told apart by, everywhere: all else stays as it is.
        """
        for record in records:
            identity = record.userIdentity
            context = None if identity is None else identity.sessionContext
            issuer = None if context is None else context.sessionIssuer
            if (
                identity is None
                or issuer is None
                or issuer.arn not in self.by_session
                or identity.type != "AssumedRole"
            ):
                continue
            name = session_name(identity)
            role_id = issuer.principalId or (identity.principalId or "").partition(":")[0]
            if name is not None and ":" not in role_id:
                name = session_pattern(name[:_MAX_SESSION_NAME])
                issuer.principalId = f"{role_id}:{name}"

    def _check_times(self, records: list[Record]) -> None:
        """Make every ``eventTime`` a valid one or an empty text, and note the hours."""
        times = [r.eventTime for r in records]
        accounts = {r.recipientAccountId for r in records}
        try:
            hours = {time[:14] for time in times}  # type: ignore[index]
            good = _MINUTES_AND_SECONDS.issuperset([time[14:] for time in times])  # type: ignore[index]
        except TypeError:
            good = False
        if good and len(accounts) == 1 and all(map(_is_hour, hours)):
            account_id = accounts.pop()
            for hour in hours:
                self._note_hour(account_id, hour)
            return
        for record in records:
            record.eventTime = time = _checked_time(record.eventTime)
            if time:
                self._note_hour(record.recipientAccountId, time[:14])

    def _note_hour(self, account_id: str | None, hour: str) -> None:
        if account_id is None or len(account_id) <= _MAX_FIELD:
            self._activity.hours.setdefault(account_id or "", set()).add(hour)

    def _tally(self, records: list[Record], file: str, weight: int) -> None:
        """Count records under who and what: the hot loop, each statement runs a million times."""
        if self.since or self.until:
            records = self._inside_window(records, weight)
        get = self._rows.get
        for record in records:
            identity = record.userIdentity
            arn = None
            if (
                identity is not None
                and record.eventType == "AwsApiCall"
                and record.sharedEventID is None
            ):
                context = identity.sessionContext
                issuer = None if context is None else context.sessionIssuer
                if issuer is None or issuer.arn is None:
                    unique_id = identity.principalId
                    arn = identity.invokedBy if identity.type == "AWSService" else identity.arn
                elif issuer.principalId is not None and identity.type == "AssumedRole":
                    arn, unique_id = issuer.arn, issuer.principalId
            if arn is None:
                row = self._odd_row(record, weight)
            else:
                key = (
                    unique_id, arn, identity.type, identity.accountId, record.recipientAccountId,  # type: ignore[union-attr]
                    identity.invokedBy, record.eventSource, record.eventName, record.awsRegion,  # type: ignore[union-attr]
                    record.errorCode, record.eventCategory,
                )  # fmt: skip
                row = get(key)  # type: ignore[assignment]
                if row is None:
                    row = self._new_row(key, record, key[:5], key[4:])
            entries, pick, sessions = row[_ENTRIES], row[_PICK], row[_SESSIONS]
            if sessions is not None:
                session = sessions.get(identity.principalId)  # type: ignore[union-attr]
                if session is None:
                    session = row[_CALLER].new_session(identity)
                session[0] += weight
            if pick is not None:
                value = pick(record)
                row = entries.get(value)
                if row is None:
                    if len(entries) >= _MAX_ENTRIES:
                        self._settle_full(entries)
                    time = record.eventTime
                    entries[value] = [weight, time, time, file]
                    continue
            row[_COUNT] += weight
            time = record.eventTime
            if time > row[_LAST]:
                row[_LAST], row[_FILE] = time, file
            elif time == row[_LAST]:
                row[_FILE] = min(row[_FILE], file)
            if time and (time < row[_FIRST] or not row[_FIRST]):
                row[_FIRST] = time

    def _odd_row(self, record: Record, weight: int) -> Entry:
        """Return the row of a record that the short key does not describe; count its session."""
        identity = record.userIdentity
        own, via = (None, None) if identity is None else (identity.accountId, identity.invokedBy)
        who = principal_of(identity, record.recipientAccountId)
        what = (
            own, via, record.sharedEventID is None, record.eventSource, record.eventName,
            record.awsRegion, record.errorCode, record.eventType, record.eventCategory,
            record.recipientAccountId,
        )  # fmt: skip
        key = (*who, *what)
        row = self._rows.get(key) or self._new_row(key, record, who, what)
        row[_SESSIONS] = None
        name = session_name(identity)
        if name is not None:
            row[_CALLER].sessions.add(name[:_MAX_SESSION_NAME], weight)
        return row

    def _new_row(self, key: tuple[Any, ...], record: Record, who: Any, what: Any) -> Entry:
        """Return a new row: an entry, and how to find others beneath it.

        ``who`` and ``what``: the parts of the key that decide on the caller and on the call.
        """
        texts = [part for part in key if type(part) is str]
        if len("".join(texts)) > _MAX_KEY:
            # Nothing of a hostile record is kept; such records share one row.
            key = (OVER_LONG_FIELD,)
            if key in self._rows:
                return self._rows[key]
            caller = self._callers[key] = _Caller(UNKNOWN_PRINCIPAL)
            caller.unreadable = OVER_LONG_FIELD
            call = Call(None, None, None, None, None, None, None, None, False)
        else:
            key = tuple([sys.intern(part) if type(part) is str else part for part in key])
            known_caller, known_call = self._whos.get(who), self._whats.get(what)
            caller = self._whos[who] = known_caller or self._caller(record)
            call = self._whats[what] = known_call or self._call(record)
        entries: dict[Any, Entry] | None = None
        pick: Callable[[Record], Any] | None = None
        if caller.unreadable is not None or call.unreadable is not None:
            entries, pick = caller.calls.setdefault(call, {}), self._pick_file
        elif call.pick is not None and caller.rule is None:
            entries, pick = caller.calls.setdefault(call, {}), call.pick
        if entries is not None:
            self._owners[id(entries)] = (caller, call)
        identity = record.userIdentity
        has_sessions = identity is not None and identity.type in {"AssumedRole", "FederatedUser"}
        sessions = caller.session_entries if has_sessions else None
        row = self._rows[key] = [0, "", "", "", entries, pick, sessions, caller, call]
        return row

    def _pick_file(self, record: Record) -> str:
        """Return the file being read: each that has such a record is to be named."""
        return self._name

    def _caller(self, record: Record) -> _Caller:
        principal = principal_of(record.userIdentity, record.recipientAccountId)
        caller = self._callers.get(principal)
        if caller is None:
            caller = self._callers[principal] = _Caller(principal)
            if self.wanted is not None:
                caller.rule = self.wanted(principal)
        return caller

    def _call(self, record: Record) -> Call:
        identity = record.userIdentity
        account_id = record.recipientAccountId
        own = None if identity is None else identity.accountId
        return Call(
            record.eventSource, record.eventName, record.awsRegion, record.errorCode,
            record.eventType, record.eventCategory, account_id,
            None if identity is None else identity.invokedBy,
            record.sharedEventID is not None and own is not None and own != account_id,
        )  # fmt: skip

    def _inside_window(self, records: list[Record], weight: int) -> list[Record]:
        since, until = self.since, self.until or "~"
        inside = [r for r in records if r.eventTime and since <= r.eventTime < until]
        _count(self._activity.totals.ignored, OUTSIDE_WINDOW, weight * (len(records) - len(inside)))
        return inside

    # --- working out ----------------------------------------------------------------------------

    def activity(self) -> Activity:
        """Return the activity of all files so far; the digest goes on from there, empty."""
        self._settle_rows()
        activity = self._activity
        for caller in self._callers.values():
            for call, entries in caller.calls.items():
                self._settle(caller, call, entries)
            caller.settle_sessions()
            if caller.sessions.names and caller.rule is None and caller.unreadable is None:
                activity.of(caller.principal).sessions.merge(caller.sessions)
            caller.calls = {}
        self._activity = Activity()
        self._callers, self._owners, self._whos = {}, {}, {}
        activity.catalogue.add(load_catalogue().version)
        return activity

    def _settle_rows(self) -> None:
        """Give the rows to their callers."""
        for row in self._rows.values():
            if row[_ENTRIES] is None:
                caller, call = row[_CALLER], row[_CALL]
                known = caller.calls.get(call)
                if known is None:
                    caller.calls[call] = {(): row[:_ENTRIES]}
                else:
                    _add_entry(known[()], row[:_ENTRIES])
        self._rows.clear()

    def _settle_full(self, entries: dict[Any, Entry]) -> None:
        """Work out the entries of a caller and call that have become many, and begin anew."""
        self._settle(*self._owners[id(entries)], entries)
        entries.clear()

    def _settle(self, caller: _Caller, call: Call, entries: dict[Any, Entry]) -> None:
        """Turn what was counted of one caller and call into rows, and count its records."""
        totals = self._activity.totals
        count = sum([entry[_COUNT] for entry in entries.values()])
        if call.category == "Data":
            _count(totals.data_events, call.source or "", count)
        self._activity.widen(
            min(filter(None, [entry[_FIRST] for entry in entries.values()]), default=""),
            max([entry[_LAST] for entry in entries.values()]),
        )
        unreadable = caller.unreadable or call.unreadable
        rule = caller.rule or call.rule
        if unreadable is not None:
            _count(totals.unreadable_records, unreadable, count)
            for name in entries:
                self._activity.name_problem(name, f"records: {unreadable}")
        elif rule is not None:
            _count(totals.ignored, rule, count)
        elif call.operation is None:
            totals.unmapped += count
            activity = self._activity.of(caller.principal)
            for entry in entries.values():
                activity.add_unmapped(call.name, _use(call, entry))
        else:
            unmapped = self._settle_requests(caller, call, call.operation, entries)
            totals.unmapped += unmapped
            if call.outcome == "denied":
                totals.denied += count - unmapped
            else:
                totals.used += count - unmapped

    def _settle_requests(
        self, caller: _Caller, call: Call, operation: Operation, entries: dict[Any, Entry]
    ) -> int:
        """Add the rows of every distinct request; return how many calls were unmapped after all."""
        activity = self._activity.of(caller.principal)
        header = call.header(caller.principal)
        groups: dict[str, Group] = {}
        # A refused call may have been refused before its role was looked at.
        passes_role = operation.passes_role and call.outcome == "allowed"
        unmapped = 0
        for key, entry in entries.items():
            use: Use | None = _use(call, entry)
            for action, resources in operation.resources(key, header):
                group = groups.get(action)
                if group is None:
                    group = groups[action] = activity.group(UseKey(action, "", call.outcome))
                rows: tuple[str | None, ...]
                if resources is UNKNOWN:
                    rows = (None,)
                else:
                    rows = (ANY_RESOURCE,) if resources is ANY else resources
                for resource in rows:
                    # The first row takes it, the others have a copy each.
                    group.add(resource, _use(call, entry) if use is None else use)
                    use = None
            if use is not None:
                # The table knows the operation, but not what this request of it needs.
                activity.add_unmapped(call.name, use)
                unmapped += entry[_COUNT]
            elif passes_role:
                for role in operation.passed_roles(key, header):
                    passed = UseKey(PASS_ROLE, role.passed_to_service or "", call.outcome)
                    activity.group(passed).add(role.role_arn, _use(call, entry))
        return unmapped


_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")


@lru_cache(maxsize=1024)
def _is_hour(hour: str) -> bool:
    """Return whether a text is the beginning of a time, such as ``2026-11-21T10:``."""
    try:
        datetime.fromisoformat(f"{hour}00:00Z")
    except ValueError:
        return False
    return _HOUR.fullmatch(hour) is not None


def _checked_time(time: str | None) -> str:
    """Return a time as ``2026-11-21T10:00:00Z``, empty for a text that is no time."""
    if time is None or len(time) > _MAX_TIME:
        return ""
    if time[14:] in _MINUTES_AND_SECONDS and _is_hour(time[:14]):
        return time
    try:
        return format_time(parse_time(time).replace(microsecond=0))
    except (ValueError, OverflowError):
        return ""


def _add_entry(known: Entry, other: Entry) -> None:
    known[_COUNT] += other[_COUNT]
    if other[_LAST] > known[_LAST]:
        known[_LAST], known[_FILE] = other[_LAST], other[_FILE]
    elif other[_LAST] == known[_LAST]:
        known[_FILE] = min(known[_FILE], other[_FILE])
    if other[_FIRST] and (other[_FIRST] < known[_FIRST] or not known[_FIRST]):
        known[_FIRST] = other[_FIRST]


def _use(call: Call, entry: Entry) -> Use:
    count, first, last, file = entry
    errors = {call.error: count} if call.error is not None and count else None
    if call.copy:
        return Use(0, count, first, last, file, call.where, errors)
    return Use(count, 0, first, last, file, call.where, errors)


def _count(counts: dict[str, int], name: str, count: int) -> None:
    if count:
        counts[name] = counts.get(name, 0) + count
