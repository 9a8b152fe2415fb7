"""The activity file: NDJSON, sorted, usually gzip (docs/activity.md explains every field).

One header line, then for each principal its own line, its uses, and its calls of unmapped
operations. The same activity always gives the same bytes.
"""

from __future__ import annotations

import gzip
import re
import zlib
from functools import lru_cache
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Literal

import msgspec
from isal import isal_zlib

from pare.cloudtrail.activity import (
    Activity,
    Asked,
    Group,
    PrincipalActivity,
    Totals,
    Use,
    UseKey,
    session_order,
)
from pare.cloudtrail.principals import Principal
from pare.errors import ActivityFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.cloudtrail.activity import Sessions, Where

SCHEMA_VERSION = 1
# How every activity file begins, after decompression.
MAGIC = b'{"line":"header","pare":"activity",'
_ROWS_AT_ONCE = 2000
# isal packs ten times as fast as zlib, and a fifth less tightly.
_LEVEL = 2


class Files(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Log files: read, and of these not readable (in whole or part); passed over by name."""

    read: int
    bytes: int
    uncompressed_bytes: int
    unreadable: dict[str, int] = {}
    skipped: dict[str, int] = {}


class Records(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """total = used + denied + unmapped + the sums of ignored and of unreadable."""

    total: int
    used: int
    denied: int
    unmapped: int
    ignored: dict[str, int] = {}
    unreadable: dict[str, int] = {}


class Header(msgspec.Struct, tag_field="line", tag="header", omit_defaults=True):
    """The first line: what was read to know the rest."""

    pare: Literal["activity"]
    schema_version: int
    first: str | None
    last: str | None
    asked: list[Asked]
    files: Files
    records: Records
    principals: int
    uses: int
    catalogue: list[str]
    data_events: dict[str, int]
    unmapped_operations: dict[str, int]
    problem_files: dict[str, str]
    hours: dict[str, dict[str, str]]
    objects: list[str] = []
    forgotten_event_ids: int = 0


class SessionLine(msgspec.Struct, omit_defaults=True):
    """One session name of a principal."""

    name: str
    count: int


class PrincipalLine(msgspec.Struct, tag_field="line", tag="principal", omit_defaults=True):
    """A principal; its uses follow."""

    principal: str
    principal_id: str
    kind: str
    account_id: str
    sessions: list[SessionLine] = []
    more_sessions: bool = False


class UseLine(msgspec.Struct, tag_field="line", tag="use", omit_defaults=True):
    """What a principal did with one action on one resource.

    ``resource``: an ARN; ``*`` where the action takes none; null where it is not known. ``folded``:
    the resource is a sketch of many ARNs. ``own`` only where the records of the other account are
    more.
    """

    principal: str
    action: str
    outcome: Literal["allowed", "denied"]
    resource: str | None
    count: int
    first: str | None = None
    last: str | None = None
    passed_to_service: str = ""
    folded: int | None = None
    regions: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    errors: dict[str, int] = {}
    via: tuple[str, ...] = ()
    copies: int = 0
    own: int | None = None
    file: str = ""


class UnmappedLine(msgspec.Struct, tag_field="line", tag="unmapped", omit_defaults=True):
    """Calls of an operation that maps to no known action: nothing is known but that it was
    called."""

    principal: str
    operation: str
    count: int
    first: str | None = None
    last: str | None = None
    regions: tuple[str, ...] = ()
    errors: dict[str, int] = {}
    via: tuple[str, ...] = ()
    copies: int = 0
    own: int | None = None
    file: str = ""


Line = Header | PrincipalLine | UseLine | UnmappedLine


def write_activity(activity: Activity, file: IO[bytes], *, compress: bool = True) -> None:
    """Write an activity: gzip without a name or time in it, or plain NDJSON."""
    packer = isal_zlib.compressobj(level=_LEVEL, wbits=31) if compress else None
    encoder = msgspec.json.Encoder()
    lines = activity_lines(activity)
    while some := list(islice(lines, _ROWS_AT_ONCE)):
        text = encoder.encode_lines(some)
        file.write(text if packer is None else packer.compress(text))
    if packer is not None:
        file.write(packer.flush())


def activity_lines(activity: Activity) -> Iterator[Line]:
    """Yield the lines of an activity file in their order."""
    yield _header(activity)
    for principal in sorted(activity.principals):
        theirs = activity.principals[principal]
        yield _principal_line(principal, theirs.sessions)
        name = principal.principal
        for key in sorted(theirs.groups):
            yield from _use_lines(name, key, theirs.groups[key])
        for operation in sorted(theirs.unmapped):
            use = theirs.unmapped[operation]
            yield UnmappedLine(
                principal=name, operation=operation, count=use.count, first=use.first or None,
                last=use.last or None, regions=use.where[0], errors=_sorted(use.errors),
                via=use.where[2], copies=use.copies, own=_own(use), file=use.file,
            )  # fmt: skip


def _header(activity: Activity) -> Header:
    totals = activity.totals
    uses = sum(
        len(group.uses)
        for theirs in activity.principals.values()
        for group in theirs.groups.values()
    )
    return Header(
        pare="activity",
        schema_version=SCHEMA_VERSION,
        first=activity.first or None,
        last=activity.last or None,
        asked=sorted(activity.asked),
        files=Files(
            read=totals.files,
            bytes=totals.bytes,
            uncompressed_bytes=totals.uncompressed_bytes,
            unreadable=_sorted(totals.unreadable_files),
            skipped=_sorted(totals.skipped_files),
        ),
        records=Records(
            total=totals.records,
            used=totals.used,
            denied=totals.denied,
            unmapped=totals.unmapped,
            ignored=_sorted(totals.ignored),
            unreadable=_sorted(totals.unreadable_records),
        ),
        principals=len(activity.principals),
        uses=uses,
        catalogue=sorted(activity.catalogue),
        data_events=_sorted(totals.data_events),
        unmapped_operations=_sorted(activity.unmapped_operations()),
        problem_files=dict(sorted(activity.problem_files.items())),
        hours={account: _masks(activity.hours[account]) for account in sorted(activity.hours)},
        objects=sorted(activity.objects),
        forgotten_event_ids=totals.forgotten_event_ids,
    )


def _principal_line(principal: Principal, sessions: Sessions) -> PrincipalLine:
    return PrincipalLine(
        *principal,
        sessions=[SessionLine(name, count) for name, count in sorted(sessions.names.items())],
        more_sessions=sessions.more,
    )


def _use_lines(principal: str, key: UseKey, group: Group) -> Iterator[UseLine]:
    action, passed_to_service, outcome = key
    depth = group.depth
    uses = group.uses
    for resource in sorted(uses, key=_known_first) if None in uses else sorted(uses):  # type: ignore[type-var]
        use = uses[resource]
        regions, operations, via = use.where
        own, copies = use.own, use.copies
        yield UseLine(
            principal, action, outcome, resource, own if own > copies else copies,
            use.first or None, use.last or None, passed_to_service, depth, regions, operations,
            _sorted(use.errors) if use.errors else _NO_ERRORS, via, copies,
            own if own < copies else None, use.file,
        )  # fmt: skip


_NO_ERRORS: dict[str, int] = {}


def _known_first(resource: str | None) -> tuple[bool, str]:
    return resource is None, resource or ""


def _own(use: Use) -> int | None:
    return use.own if use.own < use.copies else None


def _sorted(counts: dict[str, int] | None) -> dict[str, int]:
    return dict(sorted(counts.items())) if counts else {}


_MASK = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9a-f]{6}")


def _masks(hours: set[str]) -> dict[str, str]:
    """Return date -> six hexadecimal digits, a bit an hour: bit 0 is the hour from 00:00 UTC."""
    masks: dict[str, int] = {}
    for hour in hours:
        masks[hour[:10]] = masks.get(hour[:10], 0) | 1 << int(hour[11:13])
    return {date: f"{masks[date]:06x}" for date in sorted(masks)}


def _hours(masks: dict[str, str]) -> set[str]:
    for date, mask in masks.items():
        if not _MASK.fullmatch(f"{date} {mask}"):
            raise ActivityFileError(f"its hours of {date!r} are not six hexadecimal digits")
    return {
        f"{date}T{hour:02}:"
        for date, mask in masks.items()
        for hour in range(24)
        if int(mask, 16) >> hour & 1
    }


# --- reading ------------------------------------------------------------------------------------


def is_activity(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is an activity file."""
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(31).decompress(head, len(MAGIC))
        except zlib.error:
            return False
    return head.startswith(MAGIC)


_NOT_READABLE = (
    msgspec.MsgspecError, RecursionError, UnicodeError, EOFError, OSError, zlib.error,
)  # fmt: skip


_USE = b'{"line":"use","principal":'


def read_lines(file: IO[bytes], *, uses_of: str | None = None) -> Iterator[Line | None]:
    """Yield the lines of an activity file; raises ActivityFileError for anything else.

    ``uses_of``: of uses, which are nearly all lines, only those of this principal are decoded; for
    the others None is yielded.
    """
    decoder = msgspec.json.Decoder(Line)
    mine = None if uses_of is None else _USE + msgspec.json.encode(uses_of) + b","
    head = file.read(2)
    file.seek(-len(head), 1)
    lines: Any = gzip.GzipFile(fileobj=file) if head == b"\x1f\x8b" else file
    number = 0
    try:
        for number, text in enumerate(lines, start=1):
            if mine is not None and text.startswith(_USE) and not text.startswith(mine):
                yield None
                continue
            line = decoder.decode(text)
            if number == 1:
                _check_header(line)
            elif isinstance(line, Header):
                raise ActivityFileError(
                    f"line {number} is a second header: it is two activity files joined"
                )
            yield line
    except _NOT_READABLE as error:
        raise ActivityFileError(
            f"line {number + (not isinstance(error, msgspec.MsgspecError))} cannot be read: {error}"
        ) from error
    if number == 0:
        raise ActivityFileError("it is empty")


def _check_header(line: Line) -> None:
    if not isinstance(line, Header):
        raise ActivityFileError("it does not begin with a header line")
    if line.schema_version != SCHEMA_VERSION:
        raise ActivityFileError(
            f"it has schema version {line.schema_version}; this Pare reads {SCHEMA_VERSION}"
        )


def read_activity(file: IO[bytes], *, principal: str | None = None) -> Activity:
    """Return the activity in a file; raises ActivityFileError for any other file or a cut one.

    ``principal``: keep what this principal did (a re-created role is several), and what was read to
    know it; the others' lines take neither memory nor much time.
    """
    activity = Activity()
    expected = found = (0, 0, 0)
    theirs: PrincipalActivity | None = None
    for line in read_lines(file, uses_of=principal):
        if isinstance(line, Header):
            _take_header(activity, line)
            expected = line.principals, line.uses, sum(line.unmapped_operations.values())
        elif isinstance(line, PrincipalLine):
            whose = Principal(line.principal, line.principal_id, line.kind, line.account_id)
            found = found[0] + 1, found[1], found[2]
            if principal in {None, line.principal}:
                theirs = activity.of(whose)
                _take_sessions(theirs.sessions, line)
            else:
                theirs = PrincipalActivity()  # dropped with the next one's line
        elif theirs is None:
            raise ActivityFileError("it has a use before the first principal")
        elif line is None:
            found = found[0], found[1] + 1, found[2]
        elif isinstance(line, UseLine):
            found = found[0], found[1] + 1, found[2]
            key = UseKey(line.action, line.passed_to_service, line.outcome)
            group = theirs.groups.get(key)
            if group is None:
                group = theirs.groups[key] = Group()
                group.depth = line.folded
            group.uses[line.resource] = _use(line, line.operations)
        else:
            found = found[0], found[1], found[2] + line.count
            theirs.unmapped[line.operation] = _use(line, (line.operation,))
    if found != expected:
        what = ("principals", "uses", "unmapped calls")
        missing = (
            f"{there} of {told} {each}"
            for there, told, each in zip(found, expected, what, strict=True)
            if there != told
        )
        raise ActivityFileError(f"it is cut or changed: {', '.join(missing)} are there")
    return activity


def _take_header(activity: Activity, line: Header) -> None:
    activity.first, activity.last = line.first or "", line.last or ""
    activity.asked = set(line.asked)
    activity.catalogue = set(line.catalogue)
    activity.problem_files = line.problem_files
    activity.objects = set(line.objects)
    activity.hours = {account: _hours(masks) for account, masks in line.hours.items()}
    activity.totals = Totals(
        files=line.files.read,
        bytes=line.files.bytes,
        uncompressed_bytes=line.files.uncompressed_bytes,
        skipped_files=line.files.skipped,
        unreadable_files=line.files.unreadable,
        used=line.records.used,
        denied=line.records.denied,
        unmapped=line.records.unmapped,
        ignored=line.records.ignored,
        unreadable_records=line.records.unreadable,
        data_events=line.data_events,
        forgotten_event_ids=line.forgotten_event_ids,
    )


def _take_sessions(sessions: Sessions, line: PrincipalLine) -> None:
    for session in line.sessions:
        sessions.names[session.name] = session.count
    sessions.more = line.more_sessions
    if line.more_sessions and sessions.names:
        sessions.limit = max(map(session_order, sessions.names))


def _use(line: UseLine | UnmappedLine, operations: tuple[str, ...]) -> Use:
    return Use(
        own=line.count if line.own is None else line.own,
        copies=line.copies,
        first=line.first or "",
        last=line.last or "",
        file=line.file,
        where=_where(line.regions, operations, line.via),
        errors=line.errors or None,
    )


@lru_cache(maxsize=100_000)
def _where(*where: tuple[str, ...]) -> Where:
    """Return one object for the many uses that say the same."""
    regions, operations, via = where
    return regions, operations, via
