"""Log files to records: any compression, any of the forms CloudTrail logs are kept in, any damage.

Forms: ``{"Records": […]}`` as delivered, a bare list of records, records one to a line (NDJSON),
one record alone, and several of these after each other. A file is read in three ways, each slower
and more patient than the one before:

1. whole, straight into ``Record`` (nearly every file);
2. record by record, where one record breaks the documented shape;
3. by a scanner of brackets and lines that needs no valid JSON around a record: cut or damaged
files, odd
   forms, and files too large to be held at once.

Memory is bounded by BLOCK_BYTES, MAX_LINE_BYTES and MAX_RECORD_BYTES, not by the size of a file.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from itertools import chain
from typing import IO, TYPE_CHECKING

import msgspec
from isal import isal_zlib

from pare.cloudtrail.record import Record, lenient

if TYPE_CHECKING:
    from collections.abc import Iterator

# Delivered files hold at most 50 MB (facts §7); a larger one is read piece by piece.
BLOCK_BYTES = 64 * 1024 * 1024
# CloudTrail's own limit is 256 KB a record. Anything above this is not a record of CloudTrail.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html
MAX_RECORD_BYTES = 1024 * 1024
_SMALL_FILE_BYTES = 64 * 1024
# A line may hold a whole delivered file.
MAX_LINE_BYTES = BLOCK_BYTES
# Blocks smaller than this are joined: a gzip file may have many small members.
_SMALL_BLOCK_BYTES = 1024 * 1024

OVER_LONG = "over-long record"
BROKEN = "broken JSON"
NOT_A_RECORD = "not a CloudTrail record"
CUT = "cut short"


@dataclass(slots=True)
class Reading:
    """What reading one file found beside its records; filled while the records are drawn.

    ``skip``: why the file is none to read, where its content says so. ``file_problem``: why the
    file, or the rest of it, could not be read. ``record_problems``: reason -> how many single
    records could not. ``stored_bytes`` as they lie in the file, ``bytes`` decompressed.
    ``is_known``: something had a documented form, if only a list without records.
    """

    stored_bytes: int = 0
    bytes: int = 0
    skip: str | None = None
    file_problem: str | None = None
    record_problems: dict[str, int] = field(default_factory=dict)
    is_known: bool = False

    def lose_record(self, reason: str) -> None:
        """Count one record that could not be read."""
        self.record_problems[reason] = self.record_problems.get(reason, 0) + 1


class _File(msgspec.Struct, gc=False):
    Records: list[Record]


class _RawFile(msgspec.Struct, gc=False):
    Records: list[msgspec.Raw]


class _Event(msgspec.Struct, gc=False):
    CloudTrailEvent: str


class _Events(msgspec.Struct, gc=False):
    Events: list[_Event]


_FILE = msgspec.json.Decoder(_File)
_EVENTS = msgspec.json.Decoder(_Events)
_RAW_FILE = msgspec.json.Decoder(_RawFile)
_LIST = msgspec.json.Decoder(list[Record])
_LIST_BEGINS = re.compile(rb"\s*\[")
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RECORD = msgspec.json.Decoder(Record)
# isal's own types call this an instance, not a class.
_DAMAGED: type[Exception] = isal_zlib.error  # type: ignore[assignment]
# What msgspec raises for text that is not JSON, not UTF-8, not of the shape, or nested too deep.
_JSON_ERRORS = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


def read_records(file: IO[bytes], reading: Reading) -> Iterator[list[Record]]:
    """Yield the file's records in lists, and fill ``reading``. Never raises for what the file
    holds.

    An OSError of the file itself is the caller's.
    """
    blocks = _blocks(file, reading)
    first = next(blocks, b"")
    if first[:1] in _MARKS or len(first) < len(codecs.BOM_UTF8):
        blocks = _utf8(chain([first], blocks))
        first = next(blocks, b"")
    second = next(blocks, None)
    while second is not None and (not first or first.isspace()):
        first, second = second, next(blocks, None)
    if not first or first.isspace():
        reading.file_problem = reading.file_problem or "empty file"
        return
    reading.skip = _not_a_log(first)
    if reading.skip is not None:
        return
    if second is None and reading.file_problem is None and len(first) <= BLOCK_BYTES:
        records = _whole(first, reading)
        if records is not None:
            yield records
            return
    yield from _scan(_rest(first, second, blocks), reading, by_lines=_is_by_lines(first))
    if not reading.is_known and reading.file_problem is None and not reading.record_problems:
        reading.file_problem = NOT_A_RECORD


# How files begin that lie beside logs and are none: Pare's own, and CloudTrail's digest files.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
_OTHER_FILES = (
    (re.compile(rb'\s*\{\s*"line"\s*:\s*"header"\s*,\s*"pare"'), "activity file"),
    (re.compile(rb'\s*\{\s*"awsAccountId"\s*:[^{]{0,1000}"digestStartTime"'), "digest file"),
)


def _not_a_log(first: bytes) -> str | None:
    return next((what for begins, what in _OTHER_FILES if begins.match(first)), None)


def _rest(first: bytes, second: bytes | None, blocks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    if second is not None:
        yield second
        yield from blocks


# --- Decompression ------------------------------------------------------------------------------


_GZIP = b"\x1f\x8b"


def _blocks(file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the decompressed content in blocks; a damaged end is told in ``reading``."""
    stored = _stored(file, reading)
    head = _begin(b"", stored)
    if not head.startswith(_GZIP):
        for block in _joined(chain([head], stored)):
            reading.bytes += len(block)
            yield block
        return
    more = next(stored, None)
    whole = _gunzip_at_once(head) if more is None else None
    if whole is not None:
        reading.bytes += len(whole)
        yield whole
        return
    if more is not None:
        stored = chain([more], stored)
    for block in _joined(_gunzip(head, stored, reading)):
        reading.bytes += len(block)
        yield block


def _stored(file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    # Most log files are small, and asking for a whole block costs its memory.
    block = file.read(_SMALL_FILE_BYTES)
    if len(block) == _SMALL_FILE_BYTES:
        block += file.read(BLOCK_BYTES)
    while block:
        reading.stored_bytes += len(block)
        yield block
        # Nearly always the end; a whole block is only asked for in files that have several.
        block = file.read(_SMALL_FILE_BYTES)
        if len(block) == _SMALL_FILE_BYTES:
            block += file.read(BLOCK_BYTES)


def _begin(data: bytes, stored: Iterator[bytes]) -> bytes:
    """Return data with as much more as it takes to tell whether a gzip member begins here."""
    while len(data) < len(_GZIP) and (more := next(stored, b"")):
        data += more
    return data


def _gunzip_at_once(data: bytes) -> bytes | None:
    """Return what a gzip file of one sound member holds; None for any other, which takes longer.

    The size at its end is not to be trusted: it bounds what is unpacked, and must then be right. A
    second member shows as a second beginning (or by chance: then the long way gives the same).
    """
    size = int.from_bytes(data[-4:], "little")
    # No gzip file unpacks to more than 1,032 times its size.
    if not 0 < size <= min(BLOCK_BYTES, 1032 * len(data)) or data.find(b"\x1f\x8b\x08", 1) > 0:
        return None
    try:
        content = isal_zlib.decompress(data, 31, size)
    except _DAMAGED:
        return None
    return content if len(content) == size else None


def _gunzip(data: bytes, stored: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield what every member of a gzip file holds: joined files have several members."""
    is_first = True
    while data.startswith(_GZIP):
        member = isal_zlib.decompressobj(31)
        while not member.eof:
            try:
                block = member.decompress(data, BLOCK_BYTES)
            except _DAMAGED:
                reading.file_problem = "damaged gzip"
                return
            if block:
                yield block
            data = member.unconsumed_tail
            if not data and not member.eof:
                data = next(stored, b"")
                if not data and not block:
                    reading.file_problem = "truncated gzip"
                    return
        data = member.unused_data
        if is_first:
            # What follows a member is copied each time: in small pieces, for there may be many.
            is_first, stored, data = False, _pieces(data, stored), b""
        data = _begin(data, stored)
    # Zeros after the last member are padding. Anything else may have been another member.
    for rest in chain([data], stored):
        if rest.strip(b"\0"):
            reading.file_problem = "damaged gzip: what follows its first part is none"
            return


_PIECE_BYTES = 64 * 1024


def _pieces(data: bytes, stored: Iterator[bytes]) -> Iterator[bytes]:
    for block in chain([data], stored):
        for start in range(0, len(block), _PIECE_BYTES):
            yield block[start : start + _PIECE_BYTES]


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same in blocks of a useful size, for there is work to do for each."""
    least = min(BLOCK_BYTES, _SMALL_BLOCK_BYTES)
    waiting: list[bytes] = []
    size = 0
    for block in blocks:
        waiting.append(block)
        size += len(block)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


# What a mark of UTF-8 or UTF-16 begins with.
_MARKS = frozenset((b"\xef", b"\xff", b"\xfe"))


def _utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the text as UTF-8 without a mark: some editors and shells save UTF-16."""
    head = next(blocks, b"")
    while len(head) < len(codecs.BOM_UTF8) and (more := next(blocks, b"")):
        head += more
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        for block in chain([head], blocks):
            yield decoder.decode(block).encode(errors="replace")
        yield decoder.decode(b"", final=True).encode(errors="replace")
        return
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from blocks


# --- 1 and 2: whole files -----------------------------------------------------------------------


def _whole(data: bytes, reading: Reading) -> list[Record] | None:
    """Return all records of a file in a documented form, or None where it needs the scanner."""
    is_list = _LIST_BEGINS.match(data) is not None
    try:
        records = _LIST.decode(data) if is_list else _FILE.decode(data).Records
        reading.is_known = True
        if (
            len(data) <= MAX_RECORD_BYTES
            or max(map(_raw_bytes, records), default=0) <= MAX_RECORD_BYTES
        ):
            return records
    except _JSON_ERRORS:
        pass
    try:
        raws = _RAW_LIST.decode(data) if is_list else _RAW_FILE.decode(data).Records
    except _JSON_ERRORS:
        return None if is_list else _looked_up(data, reading)
    reading.is_known = True
    records = []
    for raw in raws:
        records += _one(bytes(raw), reading)
    return records


def _looked_up(data: bytes, reading: Reading) -> list[Record] | None:
    """Return the records in what ``aws cloudtrail lookup-events`` prints; None for any other."""
    try:
        events = _EVENTS.decode(data).Events
    except _JSON_ERRORS:
        return None
    reading.is_known = True
    records = []
    for event in events:
        records += _one(event.CloudTrailEvent.encode(errors="replace"), reading)
    return records


def _raw_bytes(record: Record) -> int:
    return len(record.requestParameters) + len(record.responseElements) + len(record.resources)


def _one(text: bytes, reading: Reading) -> list[Record]:
    """Return the records in one JSON value: usually one, a list's, or none and it is counted."""
    if len(text) > MAX_RECORD_BYTES:
        reading.lose_record(OVER_LONG)
        return []
    try:
        record = _RECORD.decode(text)
        if record.eventName is not None or record.eventType is not None:
            reading.is_known = True
            return [record]
    except _JSON_ERRORS:
        pass
    try:
        value = msgspec.json.decode(text)
        if isinstance(value, dict) and ("eventName" in value or "eventType" in value):
            reading.is_known = True
            return [lenient(value)]
    except _JSON_ERRORS:
        reading.lose_record(BROKEN)
        return []
    reading.lose_record(NOT_A_RECORD)
    return []


# --- 3: the scanner -----------------------------------------------------------------------------

# A text or a bracket; or the rest of a text. A text that does not end yet lacks its last quote.
# Possessive: no backtracking.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)
_REST_OF_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_RECORDS = re.compile(rb'"Records"\s*:\s*\Z')
_BATCH = 1000


def _is_by_lines(block: bytes) -> bool:
    """Return whether a file holds a value a line: then a broken line costs only itself."""
    lines = [line for line in block[:MAX_RECORD_BYTES].split(b"\n", 100)[:100] if line.strip()]
    # Not a line of a list, which ends with a comma, nor one of a printed object.
    whole = sum(
        line.startswith((b"{", b"[")) and line.rstrip().endswith((b"}", b"]")) for line in lines
    )
    return len(lines) > 1 and whole * 2 >= len(lines)


def _scan(blocks: Iterator[bytes], reading: Reading, *, by_lines: bool) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for text in _lines(blocks, reading) if by_lines else _values(blocks, reading):
        batch += _records_in(text, reading)
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _records_in(text: bytes, reading: Reading) -> list[Record]:
    """Return the records of one value: one record, a list of them, or a delivered file's object."""
    if text.startswith(b"[") or (b'"Records"' in text and not _is_record(text)):
        records = _whole(text, reading)
        if records is not None:
            return records
    return _one(text, reading)


def _is_record(text: bytes) -> bool:
    try:
        return _RECORD.decode(text).eventName is not None
    except _JSON_ERRORS:
        return False


def _lines(blocks: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield lines that are not blank; one that never ends is passed over and counted."""
    rest = b""
    skipping = False
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if skipping:
                skipping = False
            elif line.strip():
                yield line.strip()
        if len(rest) > MAX_LINE_BYTES:
            if not skipping:
                reading.lose_record(OVER_LONG)
            rest, skipping = b"", True
    if rest.strip() and not skipping:
        yield rest.strip()


class _Brackets:
    """Cuts a stream of JSON into its records by counting brackets outside texts.

    No byte is looked at twice, and no more is kept than the value being read, or nothing of one
    that is too long.
    """

    def __init__(self) -> None:
        self.buffer = b""
        self.position = 0  # what has been scanned of the buffer
        self.start: int | None = None  # where the value being read begins
        self.depth = 0
        self.is_over_long = False  # the value being read
        self.inside_list = False
        self.inside_text = False
        self.has_records = False  # there was a list of records, if only an empty one

    def feed(self, block: bytes) -> Iterator[bytes | None]:
        """Yield the values that end in what has been fed so far; None for an over-long one."""
        self.buffer += block
        while True:
            find = _REST_OF_TEXT.match if self.inside_text else _TOKEN.search
            token = find(self.buffer, self.position)
            if token is None:
                self.position = len(self.buffer)
                break
            self.position = token.end()
            if token[1] is None:
                yield from self._bracket(token[0], token.start())
                continue
            self.inside_text = not token[1]
            if self.inside_text:
                break
        if self.start is not None and self.position - self.start > MAX_RECORD_BYTES:
            self.is_over_long = True
        # Keep only the value being read.
        keep = self.position if self.start is None or self.is_over_long else self.start
        self.buffer = self.buffer[keep:]
        self.position -= keep
        self.start = None if self.start is None else 0

    def _bracket(self, kind: bytes, at: int) -> Iterator[bytes | None]:
        if kind in b"{[":
            if self.start is None:
                if kind == b"[":
                    self.inside_list = True
                    return
                self.start, self.depth, self.is_over_long = at, 0, False
            elif kind == b"[" and self.depth == 1 and not self.inside_list:
                before = self.buffer[max(self.start, at - _MAX_SPACE) : at]
                if _RECORDS.search(before):
                    self.start, self.inside_list, self.has_records = None, True, True
                    return
            self.depth += 1
            return
        if self.start is None:
            self.inside_list = False
            return
        self.depth -= 1
        if self.depth == 0:
            yield None if self.is_over_long else self.buffer[self.start : at + 1]
            self.start = None


_MAX_SPACE = 1000


def _values(blocks: Iterator[bytes], reading: Reading) -> Iterator[bytes]:
    brackets = _Brackets()
    for block in blocks:
        # Small pieces, so that an over-long record is noticed early.
        for start in range(0, len(block), MAX_RECORD_BYTES):
            for value in brackets.feed(block[start : start + MAX_RECORD_BYTES]):
                if value is None:
                    reading.lose_record(OVER_LONG)
                else:
                    yield value
    reading.is_known |= brackets.has_records
    if brackets.start is not None or brackets.inside_list:
        reading.file_problem = reading.file_problem or CUT
