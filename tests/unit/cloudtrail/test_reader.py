from __future__ import annotations

import gzip
import io
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail import reader
from pare.cloudtrail.reader import BROKEN, CUT, NOT_A_RECORD, OVER_LONG
from tests.unit.cloudtrail.records import (
    by_lines,
    delivered,
    digest,
    fates,
    ids,
    packed,
    read,
    record,
)

if TYPE_CHECKING:
    from collections.abc import Callable

R1, R2, R3 = record(1), record(2), record(3)
THREE = (R1, R2, R3)


def text(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


FORMS: dict[str, bytes] = {
    "delivered": delivered(*THREE),
    "delivered, a blank line after": delivered(*THREE) + b"\n\n",
    "delivered, pretty-printed": delivered(*THREE, indent=2, separators=None),
    "delivered, pretty-printed without indent": delivered(*THREE, indent=0, separators=None),
    "delivered, with other fields": text({"a": 1, "Records": THREE, "b": {"c": []}}),
    "delivered, a record a line": b'{"Records":[\n' + b",\n".join(map(text, THREE)) + b"\n]}\n",
    "bare list": text(THREE),
    "bare list, pretty-printed": text(THREE, indent=4),
    "bare list, a record a line": b"[\n" + b",\n".join(map(text, THREE)) + b"\n]\n",
    "NDJSON": by_lines(*THREE),
    "NDJSON, Windows lines": by_lines(*THREE).replace(b"\n", b"\r\n"),
    "NDJSON, no end of line": by_lines(*THREE).rstrip(),
    "NDJSON, blank lines": b"\n\n" + by_lines(*THREE).replace(b"\n", b"\n \n"),
    "concatenated records": b"".join(map(text, THREE)),
    "concatenated, pretty-printed": b"\n".join(text(each, indent=2) for each in THREE),
    "concatenated files": delivered(R1) + delivered(R2, R3),
    "concatenated files, a line each": delivered(R1) + b"\n" + delivered(R2, R3) + b"\n",
    "concatenated files, pretty-printed": delivered(R1, indent=1) + delivered(R2, R3, indent=1),
    "concatenated lists": text([R1]) + text([R2, R3]),
    "several forms": delivered(R1) + b"\n" + text([R2]) + b"\n" + text(R3),
    "empty file among others": delivered() + delivered(*THREE) + text([]),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + delivered(*THREE),
    "NDJSON with a mark": b"\xef\xbb\xbf" + by_lines(*THREE),
    "UTF-16": delivered(*THREE).decode().encode("utf-16"),
    "UTF-16, big-endian": b"\xfe\xff" + delivered(*THREE).decode().encode("utf-16-be"),
    "NDJSON in UTF-16": by_lines(*THREE).decode().encode("utf-16"),
    "gzip": packed(delivered(*THREE)),
    "gzip with a name and a time": gzip.compress(delivered(*THREE), mtime=1),
    "gzip, two members": packed(delivered(R1)) + packed(delivered(R2, R3)),
    "gzip, members cut anywhere": packed(delivered(*THREE)[:777]) + packed(delivered(*THREE)[777:]),
    "gzip, an empty member first": packed(b"") + packed(delivered(*THREE)),
    "gzip, a blank member first": packed(b" \n") + packed(delivered(*THREE)),
    "gzip, zero padding": packed(delivered(*THREE)) + bytes(512),
    "gzip of NDJSON": packed(by_lines(*THREE)),
    "gzip, not compressed inside": gzip.compress(delivered(*THREE), compresslevel=0),
}


@pytest.fixture(params=[None, 1, 7, 64, 1000], ids=lambda size: f"blocks of {size}")
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """Read in blocks so small that every border between two of them is crossed somewhere."""
    size: int | None = request.param
    if size is not None:
        monkeypatch.setattr(reader, "BLOCK_BYTES", size)
    return size


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_whatever_the_blocks(form: str, block_bytes: int | None) -> None:
    if block_bytes is not None and "other fields" in form:
        pytest.skip("a documented file has no other fields; one larger than a block may not")
    records, reading = read(FORMS[form])
    assert ids(records) == [1, 2, 3]
    assert (reading.skip, reading.file_problem, reading.record_problems) == (None, None, {})
    assert all(each.eventName == "GetObject" for each in records)
    assert [json.loads(bytes(each.requestParameters)) for each in records] == [
        each["requestParameters"] for each in THREE
    ]


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith("gzip")])
def test_bytes_are_counted_as_stored_and_as_read(form: str) -> None:
    content = FORMS[form]
    _, reading = read(content)
    assert reading.stored_bytes == len(content)
    assert reading.bytes >= len(delivered(*THREE)) or form == "gzip of NDJSON"


@given(
    size=st.integers(1, 400),
    form=st.sampled_from(sorted(FORMS.keys() - {"delivered, with other fields"})),
)
def test_borders_between_blocks_change_nothing(size: int, form: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", size)
        patch.setattr(reader, "MAX_RECORD_BYTES", 1500)
        records, reading = read(FORMS[form])
    assert ids(records) == [1, 2, 3]
    assert (reading.file_problem, reading.record_problems) == (None, {})


def test_texts_that_look_like_brackets_do_not_confuse_the_scanner() -> None:
    odd = [
        record(n, userAgent=agent, requestParameters={"key": agent, "bucketName": "b"})
        for n, agent in enumerate(["}]}", '{"Records":[', '\\"}', "\\", '"', "\n", '\\\\"{', "é☃"])
    ]
    content = delivered(*odd)
    for size in (1, 3, 50, 10_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "BLOCK_BYTES", size)
            records, reading = read(content)
        assert ids(records) == list(range(len(odd)))
        assert (reading.file_problem, reading.record_problems) == (None, {})


def test_a_number_of_records_beyond_a_batch_is_read_by_the_scanner() -> None:
    content = by_lines(*(record(n) for n in range(2500)))
    records, reading = read(content)
    assert ids(records) == list(range(2500))
    assert reading.record_problems == {}


# --- Damage ---


MANY = tuple(record(n) for n in range(200))


@pytest.mark.parametrize("end", [0.1, 0.5, 0.9, 0.999])
def test_what_came_before_the_cut_of_a_gzip_file_is_kept(end: float) -> None:
    rng = random.Random(1)
    noisy = [record(n, userAgent=f"{rng.getrandbits(2000):x}") for n in range(200)]
    content = packed(delivered(*noisy))
    records, reading = read(content[: int(len(content) * end)])
    assert ids(records) == list(range(len(records)))
    assert len(records) > 200 * end - 70
    assert reading.file_problem == "truncated gzip"


@pytest.mark.parametrize("cut", [2, 5, 10, 18])
def test_a_gzip_file_cut_in_its_header_or_trailer_is_named(cut: int) -> None:
    content = packed(delivered(*THREE))
    assert read(content[:cut])[1].file_problem == "truncated gzip"
    assert read(content[:-1])[1].file_problem == "truncated gzip"
    assert ids(read(content[:-1])[0]) == [1, 2, 3]


def test_a_damaged_gzip_file_is_named_and_what_came_before_is_kept() -> None:
    rng = random.Random(2)
    noisy = [record(n, userAgent=f"{rng.getrandbits(8000):x}") for n in range(300)]
    content = bytearray(packed(delivered(*noisy)))
    content[-20:-10] = b"\xff" * 10
    records, reading = read(bytes(content))
    assert reading.file_problem in {"damaged gzip", "truncated gzip"}
    assert ids(records) == list(range(len(records)))


def test_a_wrong_checksum_is_told() -> None:
    content = bytearray(packed(delivered(*THREE)))
    content[-8] ^= 0xFF
    records, reading = read(bytes(content))
    assert reading.file_problem == "damaged gzip"
    # What it says may be wrong, but it is there, and the file is named.
    assert ids(records) in ([1, 2, 3], [])


def test_garbage_after_a_gzip_file_is_told_for_it_may_have_been_records() -> None:
    broken_header = b"\x1f\x8c" + packed(delivered(R3))[2:]
    for rest in (b"garbage", broken_header, bytes(100) + b"x", bytes(100_000) + b"x", b"\x1f"):
        records, reading = read(packed(delivered(R1, R2)) + rest)
        assert ids(records) == [1, 2]
        assert reading.file_problem is not None
        assert reading.file_problem.startswith("damaged gzip")


@pytest.mark.parametrize(
    "form",
    [
        "delivered",
        "delivered, pretty-printed",
        "delivered, a record a line",
        "bare list",
        "bare list, a record a line",
        "NDJSON",
        "concatenated records",
    ],
)
def test_what_came_before_the_cut_of_a_json_file_is_kept(form: str) -> None:
    content = {
        "delivered": delivered(*MANY),
        "delivered, pretty-printed": delivered(*MANY, indent=2),
        "delivered, a record a line": b'{"Records":[\n' + b",\n".join(map(text, MANY)) + b"\n]}",
        "bare list": text(MANY),
        "bare list, a record a line": b"[\n" + b",\n".join(map(text, MANY)) + b"\n]",
        "NDJSON": by_lines(*MANY),
        "concatenated records": b"".join(map(text, MANY)),
    }[form]
    # In the middle of a record.
    end = content.index(json.dumps(MANY[150]["eventID"]).encode())
    records, reading = read(content[:end])
    assert ids(records) == list(range(150))
    assert reading.file_problem == CUT or reading.record_problems == {BROKEN: 1}


def test_a_list_cut_between_two_records_is_told() -> None:
    for content in (delivered(*THREE), text(THREE), text({"Records": THREE}, indent=2)):
        end = content.rindex(b"{", 0, content.index(b'"eventVersion"', len(content) // 2))
        for cut in (content[:end], content[:end].rstrip().rstrip(b",")):
            records, reading = read(cut)
            assert ids(records) == [1, 2]
            assert reading.file_problem == CUT


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"eventID": "x", "eventName": }', BROKEN),
        (b'{"eventID": "x" "eventName": "y"}', BROKEN),
        (b'{"eventName": "\xff\xfe"}', BROKEN),
        (b'{"eventName": "\\ud800"}', BROKEN),
        (
            b'{"eventName": "a", "requestParameters": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
            BROKEN,
        ),
        (
            b'{"eventName": "a", "requestParameters": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
            BROKEN,
        ),
        (b'{"hello": "world"}', NOT_A_RECORD),
    ],
)
def test_a_broken_record_costs_only_itself(place: int, broken: bytes, reason: str) -> None:
    parts = [text(R1), text(R2)]
    parts.insert(place, broken)
    for content in (
        b'{"Records":[' + b",".join(parts) + b"]}",
        b"[" + b",".join(parts) + b"]",
        b"\n".join(parts),
        b"".join(parts),
    ):
        records, reading = read(content)
        assert ids([each for each in records if each.eventID]) == [1, 2]
        lost = sum(reading.record_problems.values()) + sum(each.eventID is None for each in records)
        assert lost == 1
        if reading.record_problems:
            assert reading.record_problems == {reason: 1}
        assert digest({"a.json": content}).totals.records == 3


def test_a_broken_line_costs_only_itself() -> None:
    cut = text(R2)[:-200]
    for content in (
        text(R1) + b"\n" + cut + b"\n" + text(R3),
        cut + b"\n" + text(R1) + b"\n" + text(R3),
        text(R1) + b"\nnot JSON at all\n" + text(R3) + b"\n",
    ):
        records, reading = read(content)
        assert ids(records) in ([1, 3],)
        assert reading.record_problems == {BROKEN: 1}


def test_an_over_long_record_is_counted_and_not_read() -> None:
    long = record(2, requestParameters={"blob": "x" * reader.MAX_RECORD_BYTES})
    for content in (
        delivered(R1, long, R3),
        text([R1, long, R3]),
        by_lines(R1, long, R3),
        text(R1) + text(long) + text(R3),
        packed(delivered(R1)) + packed(delivered(long)) + packed(delivered(R3)),
    ):
        records, reading = read(content)
        assert ids(records) == [1, 3]
        assert reading.record_problems == {OVER_LONG: 1}


def test_a_record_that_never_ends_is_passed_over() -> None:
    endless = b'{"eventName": "' + b"x" * 5000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "BLOCK_BYTES", 500)
        patch.setattr(reader, "MAX_RECORD_BYTES", 1500)
        patch.setattr(reader, "MAX_LINE_BYTES", 1500)
        records, reading = read(text(R1) + endless)
        assert ids(records) == [1]
        assert reading.file_problem == CUT
        for content in (
            by_lines(R1, R2) + endless + b'"}\n' + by_lines(R3),
            text(R1) + text(R2) + endless + b'"}' + text(R3),
        ):
            records, reading = read(content)
            assert ids(records) == [1, 2, 3]
            assert reading.record_problems == {OVER_LONG: 1}
            assert reading.file_problem is None


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"   \n\n", packed(b""), packed(b"\n"), b"\xef\xbb\xbf"]
)
def test_an_empty_file_is_told(content: bytes) -> None:
    records, reading = read(content)
    assert records == []
    assert reading.file_problem == "empty file"


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b'"hello"',
        b"42",
        b"null",
        b"true",
        b"<html></html>",
        b'{"Records": null}',
        b'{"Records": 3}',
        b'{"Records": {}}',
        b'{"hello": "world"}',
        b'{"version": "1.0", "configurationItems": [{"awsRegion": "eu-west-1"}]}',
        bytes(1000),
        b"\x1f\x8b" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        bytes(range(256)) * 10,
    ],
)
def test_what_is_not_cloudtrail_is_told(content: bytes) -> None:
    for stored in (content, packed(content)):
        activity = digest({"a.json": stored})
        assert activity.problem_files.keys() == {"a.json"}
        assert activity.totals.unreadable_files or activity.totals.unreadable_records
        assert fates(activity)[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("content", [b'{"Records": []}', b"[]", b"[]\n", b'{"Records":[]}' * 3])
def test_a_file_without_records_is_no_problem(content: bytes) -> None:
    records, reading = read(content)
    assert records == []
    assert (reading.skip, reading.file_problem, reading.record_problems) == (None, None, {})


DIGEST_FILE = text(
    {
        "awsAccountId": "111122223333",
        "digestStartTime": "2026-11-21T10:00:00Z",
        "digestEndTime": "2026-11-21T11:00:00Z",
        "digestS3Bucket": "trail",
        "logFiles": [{"s3Bucket": "trail", "s3Object": "AWSLogs/a.json.gz", "hashValue": "00"}],
    }
)


def test_files_that_lie_beside_logs_are_known_by_their_content() -> None:
    activity_file = b'{"line":"header","pare":"activity","schema_version":1}\n'
    for content, reason in ((DIGEST_FILE, "digest file"), (activity_file, "activity file")):
        for stored in (content, packed(content), content.replace(b": ", b":")):
            records, reading = read(stored)
            assert (records, reading.skip) == ([], reason)
            activity = digest({"a.json": stored})
            assert activity.totals.skipped_files == {reason: 1}
            assert (activity.totals.files, activity.problem_files) == (0, {})


# --- Shapes ---


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    twice = text(R1)[:-1] + b', "eventName": "PutObject", "eventID": "' + R2["eventID"].encode()
    for content in (twice + b'"}', b'{"Records":[' + twice + b'"}]}', b"[" + twice + b'"}]'):
        records, _ = read(content)
        assert ids(records) == [2]
        assert records[0].eventName == "PutObject"


@pytest.mark.parametrize(
    "field",
    [
        "userIdentity",
        "requestParameters",
        "responseElements",
        "resources",
        "eventTime",
        "awsRegion",
        "errorCode",
        "eventType",
        "eventCategory",
        "recipientAccountId",
        "sharedEventID",
        "userAgent",
    ],
)
@pytest.mark.parametrize(
    "value", [None, "text", 17, -1, 2**70, 1.5, True, [], ["a"], {}, {"a": {"b": []}}], ids=repr
)
def test_a_field_of_any_type_does_not_cost_the_record(field: str, value: Any) -> None:
    odd = record(1, **{field: value})
    records, reading = read(delivered(odd, R2))
    assert ids(records) == [1, 2]
    assert (reading.file_problem, reading.record_problems) == (None, {})
    assert digest([odd, R2]).totals.records == 2


@pytest.mark.parametrize("path", [("sessionContext",), ("sessionContext", "sessionIssuer")])
@pytest.mark.parametrize("value", [None, "text", 17, [], {}], ids=repr)
def test_the_parts_of_an_identity_may_have_any_type(path: tuple[str, ...], value: Any) -> None:
    odd = record(1)
    odd = json.loads(json.dumps(odd))
    place = odd["userIdentity"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    records, reading = read(delivered(odd, R2))
    assert ids(records) == [1, 2]
    assert reading.record_problems == {}
    assert digest([odd]).totals.used == 1


def test_a_number_where_a_text_is_documented_counts_as_that_text() -> None:
    odd = record(1, recipientAccountId=111122223333)
    odd["userIdentity"]["accountId"] = 111122223333
    activity = digest([odd])
    assert [each.account_id for each in activity.principals] == ["111122223333"]
    assert activity.hours.keys() == {"111122223333"}


def test_a_list_may_hold_anything() -> None:
    content = b'{"Records":[null, 1, "a", [], {}, ' + text(R1) + b"]}"
    activity = digest({"a.json": content})
    assert activity.totals.used == 1
    assert activity.totals.records == 6
    assert activity.problem_files.keys() == {"a.json"}


def test_bytes_that_are_not_utf_8_are_kept_out_of_what_is_needed_only() -> None:
    content = delivered(R1, record(2, userAgent="@@"), R3).replace(b"@@", b"\xff\xc3")
    records, reading = read(content)
    assert ids(records) == [1, 2, 3]
    assert reading.record_problems == {}


def test_a_lone_surrogate_costs_no_other_record() -> None:
    content = delivered(R1, record(2, userAgent="@@"), R3).replace(b"@@", b"\\ud800")
    assert digest({"a.json": content}).totals.records == 3
    assert digest({"a.json": content}).totals.used >= 2


def test_nesting_as_deep_as_real_records_have_it_is_read() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": [deep]}
    records, reading = read(delivered(record(1, requestParameters=deep)))
    assert ids(records) == [1]
    assert reading.record_problems == {}


# --- Hostile files end in time ---


@pytest.mark.parametrize(
    "make",
    [
        lambda: b"[" * 1_000_000,
        lambda: b'{"a":' * 300_000,
        lambda: b'{"Records":[' * 100_000,
        lambda: b'{"a": "' + b'\\"' * 500_000,
        lambda: b'{"Records":[{"a": "' + b"\\" * 999_999,
        lambda: b'"' * 1_000_001,
        lambda: b'{"' * 300_000,
        lambda: b"{}" * 100_000,
        lambda: b"{}\n" * 100_000,
        lambda: b"[]" * 200_000,
        lambda: b"\n" * 1_000_000 + b"{",
        lambda: b" " * 1_000_000 + b"x",
        lambda: b'{"awsAccountId":' + b" " * 1_000_000,
        lambda: b'{"Records":[' + b"1," * 300_000 + b"1]}",
        lambda: packed(b"") * 20_000,
        lambda: packed(b'{"Records":[]}') * 5_000,
        lambda: b'\\"' * 500_000,
        lambda: b'{"a": "\\' + b'"\\' * 500_000,
    ],
)
def test_a_hostile_file_ends_in_time(make: Callable[[], bytes]) -> None:
    content = make()
    started = time.process_time()
    activity = digest({"a.json": content})
    # Generous: linear work takes a tenth; quadratic work would take minutes.
    assert time.process_time() - started < 5
    assert fates(activity)[:4] == (0, 0, 0, 0)


def test_what_is_held_of_a_value_that_never_ends_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reader, "MAX_RECORD_BYTES", 10_000)
    most = 0
    real = reader._Brackets.feed

    def feed(self: Any, block: bytes) -> Any:
        nonlocal most
        yield from real(self, block)
        most = max(most, len(self.buffer))

    monkeypatch.setattr(reader._Brackets, "feed", feed)
    for begin in (b'"', b'{"a": "', b"{", b'{"Records":[ "', b'[{"a":"', b"[1,", b"{" * 1_000_000):
        read(begin + b"x" * 1_000_000)
    assert most <= 20_000


def test_a_file_is_read_from_a_stream_that_gives_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(3, size) if size and size > 0 else 3)

    for content in (delivered(*THREE), packed(delivered(*THREE)), by_lines(*THREE)):
        reading = reader.Reading()
        records = [each for some in reader.read_records(Slow(content), reading) for each in some]
        assert ids(records) == [1, 2, 3]
        assert (reading.file_problem, reading.stored_bytes) == (None, len(content))
