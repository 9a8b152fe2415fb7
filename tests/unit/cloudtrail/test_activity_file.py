from __future__ import annotations

import gzip
import io
import json
import time
from typing import Any

import pytest

from pare.cloudtrail.activity import Activity, Asked
from pare.cloudtrail.activity_file import is_activity, read_activity, read_lines, write_activity
from pare.errors import ActivityFileError, PareError
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    IGNORED,
    ONE_OF_EACH,
    OTHER_ACCOUNT,
    UNMAPPED,
    Json,
    as_bytes,
    delivered,
    digest,
    lines,
    record,
    role_session,
    s3_get,
    user,
)


def everything() -> Activity:
    """Return an activity in which every field of the file says something."""
    shared = {"sharedEventID": "1e5b0b1c-0000-4000-8000-000000000000"}
    activity = digest(
        {
            "a.json": delivered(
                *ONE_OF_EACH,
                IGNORED,
                record(20, userIdentity=user(), awsRegion="us-east-1", eventTime=None),
                s3_get(21, "shared", **shared),
                s3_get(22, "shared", recipientAccountId=OTHER_ACCOUNT, **shared),
                s3_get(23, "theirs", recipientAccountId=OTHER_ACCOUNT, **shared),
                record(24, userIdentity=role_session(invokedBy="athena.amazonaws.com")),
                record(25, eventCategory="Data", requestParameters=None),
                *(record(100 + n, userIdentity=role_session(f"s{n}")) for n in range(30)),
            ),
            "many.json": delivered(
                *(s3_get(1000 + n, f"{n % 3}/{n}", errorCode="AccessDenied") for n in range(510))
            ),
            "broken.json": b"no",
        }
    )
    activity.asked |= {Asked("2026-11-01T00:00:00Z"), Asked(principals=("a",), accounts=("1",))}
    activity.objects |= {"AWSLogs/b", "AWSLogs/a"}
    activity.totals.skipped_files["digest file"] = 2
    activity.totals.forgotten_event_ids = 7
    return activity


def parse(content: bytes) -> Activity:
    return read_activity(io.BytesIO(content))


def test_what_is_read_is_what_was_written_byte_for_byte() -> None:
    activity = everything()
    for compress in (True, False):
        content = as_bytes(activity, compress=compress)
        assert as_bytes(parse(content), compress=compress) == content
    names = {name for line in lines(activity) for name in line}
    told = {"folded", "copies", "own", "via", "errors", "sessions", "more_sessions", "objects"}
    assert told | {"forgotten_event_ids"} <= names


def test_an_empty_activity_survives_too() -> None:
    content = as_bytes(Activity())
    assert as_bytes(parse(content)) == content
    assert len(content.splitlines()) == 1


def test_what_was_read_goes_on_as_what_was_counted() -> None:
    """Nothing that a merge needs is missing from the file."""
    one, other = everything(), digest([*ONE_OF_EACH, *(s3_get(n, f"x/{n}") for n in range(600))])
    again, same = parse(as_bytes(one)), parse(as_bytes(other))
    one.merge(other)
    again.merge(same)
    assert as_bytes(again) == as_bytes(one)


def test_the_header_says_what_follows() -> None:
    head, *rest = lines(everything())
    assert head["line"] == "header"
    assert (head["pare"], head["schema_version"]) == ("activity", 1)
    assert head["principals"] == sum(line["line"] == "principal" for line in rest)
    assert head["uses"] == sum(line["line"] == "use" for line in rest)
    unmapped: dict[str, int] = {}
    for line in rest:
        if line["line"] == "unmapped":
            operation = line["operation"]
            unmapped[operation] = unmapped.get(operation, 0) + line["count"]
    assert head["unmapped_operations"] == unmapped
    assert head["asked"] == sorted(head["asked"], key=json.dumps)
    assert head["hours"][ACCOUNT] == {"2026-11-21": "000400"}
    assert head["files"]["read"] == 3
    assert head["files"]["unreadable"] == {"not a CloudTrail record": 1}
    assert head["problem_files"]["broken.json"] == "not a CloudTrail record"


def test_lines_are_sorted() -> None:
    _, *rest = lines(everything())
    shown = [line["principal"] for line in rest if line["line"] == "principal"]
    assert shown == sorted(shown)
    by_principal: dict[str, list[Json]] = {}
    for line in rest:
        by_principal.setdefault(line["principal"], []).append(line)
    for some in by_principal.values():
        kinds = [line["line"] for line in some]
        assert kinds == sorted(kinds, key=["principal", "use", "unmapped"].index)
        uses = [
            (line["action"], line.get("passed_to_service", ""), line["outcome"],
             line["resource"] is None, line["resource"] or "")
            for line in some if line["line"] == "use"
        ]  # fmt: skip
        assert uses == sorted(uses)
        operations = [line["operation"] for line in some if line["line"] == "unmapped"]
        assert operations == sorted(operations)


def test_every_line_is_json_of_its_own() -> None:
    content = as_bytes(everything())
    assert content.endswith(b"}\n")
    assert all(isinstance(json.loads(line), dict) for line in content.splitlines())


def test_the_packed_bytes_hold_no_time_and_no_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    activity = everything()
    before = as_bytes(activity, compress=True)
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    with (tmp_path / "name.ndjson.gz").open("wb") as file:
        write_activity(activity, file)
    content = (tmp_path / "name.ndjson.gz").read_bytes()
    assert content == before
    assert content[3] == 0  # no name, no comment, no extra field
    assert content[4:8] == bytes(4)  # no time
    assert gzip.decompress(content) == as_bytes(activity)


def test_an_activity_file_is_known_by_how_it_begins() -> None:
    for compress in (True, False):
        content = as_bytes(everything(), compress=compress)
        assert is_activity(content[:200])
        assert is_activity(content)
    for other in (b"", b"\x1f", b"\x1f\x8b", b"\x1f\x8b" + bytes(50), b'{"Records":[]}', b"{"):
        assert not is_activity(other)
    assert not is_activity(gzip.compress(delivered(*ONE_OF_EACH)))


# --- Other files ---


def sentence(content: bytes) -> str:
    with pytest.raises(ActivityFileError) as caught:
        parse(content)
    assert isinstance(caught.value, PareError)
    return str(caught.value)


@pytest.mark.parametrize("end", [0.001, 0.3, 0.7, 0.99])
def test_a_cut_packed_file_is_refused(end: float) -> None:
    content = as_bytes(everything(), compress=True)
    assert "cannot be read" in sentence(content[: max(11, int(len(content) * end))])


def test_a_plain_file_cut_at_any_line_is_refused() -> None:
    content = as_bytes(digest([*ONE_OF_EACH, {**UNMAPPED, "eventID": "2", "userIdentity": user()}]))
    whole = content.splitlines(keepends=True)
    assert [json.loads(line)["line"] for line in whole][-1] == "unmapped"
    for count in range(1, len(whole)):
        assert "cut" in sentence(b"".join(whole[:count]))


def test_a_plain_file_cut_inside_a_line_is_refused() -> None:
    content = as_bytes(everything())
    for end in (5, 500, len(content) // 2, len(content) - 2):
        assert "line" in sentence(content[:end])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty"),
        (gzip.compress(b"", mtime=0), "it is empty"),
        (b"hello\n", "line 1 cannot be read"),
        (b"{}\n", "line 1 cannot be read"),
        (b"[]\n", "line 1 cannot be read"),
        (b'{"Records":[]}', "line 1 cannot be read"),
        (b'{"line":"header","pare":"activity"}\n', "line 1 cannot be read"),
        (b"\x1f\x8b" + bytes(20), "cannot be read"),
        (b"\xff\xfe\n", "line 1 cannot be read"),
        (b"[" * 100_000 + b"\n", "line 1 cannot be read"),
        (b'{"line":"principal","principal":"a","principal_id":"","kind":"","account_id":""}\n',
         "it does not begin with a header line"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_activity_file_is_refused_in_a_sentence(
    content: bytes, expected: str
) -> None:
    assert expected in sentence(content)


def changed(**fields: Any) -> bytes:
    head, *rest = as_bytes(digest(ONE_OF_EACH)).splitlines()
    return b"\n".join([json.dumps(json.loads(head) | fields).encode(), *rest, b""])


def test_a_file_of_another_schema_is_refused() -> None:
    assert sentence(changed(schema_version=2)) == ("it has schema version 2; this Pare reads 1")


@pytest.mark.parametrize(
    "hours",
    [
        {ACCOUNT: {"2026-11-21": "zzzzzz"}},
        {ACCOUNT: {"2026-11-21": "-00001"}},
        {ACCOUNT: {"2026-11-21": "f" * 100}},
        {ACCOUNT: {"day": "000001"}},
        {ACCOUNT: {"2026-11-21": 1}},
        {ACCOUNT: []},
    ],
    ids=str,
)
def test_hours_that_are_none_are_refused(hours: Any) -> None:
    sentence(changed(hours=hours))


@pytest.mark.parametrize(
    "fields",
    [{"uses": 99}, {"principals": 0}, {"unmapped_operations": {}}, {"files": None}],
    ids=str,
)
def test_a_header_that_does_not_fit_the_rest_is_refused(fields: Json) -> None:
    sentence(changed(**fields))


def test_two_files_joined_are_refused_and_not_half_read() -> None:
    for compress in (True, False):
        content = as_bytes(digest(ONE_OF_EACH), compress=compress)
        assert "second header" in sentence(content + content)
        empty = as_bytes(Activity(), compress=compress)
        assert "second header" in sentence(empty + empty)


def test_uses_before_a_principal_are_refused() -> None:
    head, _, *rest = as_bytes(digest(ONE_OF_EACH)).splitlines(keepends=True)
    assert "before the first principal" in sentence(head + b"".join(rest))


def test_fields_of_a_later_version_do_not_hinder_reading() -> None:
    head, principal, *rest = as_bytes(digest(ONE_OF_EACH)).splitlines()
    more = json.dumps(json.loads(principal) | {"later": {"a": 1}}).encode()
    again = parse(b"\n".join([head, more, *rest, b""]))
    assert again.totals.records == 6


def test_lines_can_be_read_one_by_one() -> None:
    content = as_bytes(everything(), compress=True)
    assert sum(1 for _ in read_lines(io.BytesIO(content))) == len(lines(everything()))


def test_one_principal_of_a_file_is_what_it_is_in_the_whole() -> None:
    content = as_bytes(everything())
    whole = parse(content)
    names = {each.principal for each in whole.principals}
    assert len(names) > 1
    for name in [*names, "arn:aws:iam::111122223333:role/nobody"]:
        activity = read_activity(io.BytesIO(content), principal=name)
        expected = parse(content)
        expected.principals = {
            each: theirs for each, theirs in expected.principals.items() if each.principal == name
        }
        assert as_bytes(activity) == as_bytes(expected)
        assert activity.totals.records == whole.totals.records


def test_one_principal_of_a_cut_file_is_not_taken_for_all_of_it() -> None:
    text = as_bytes(everything(), compress=False).splitlines(keepends=True)
    rows = [json.loads(line) for line in text]
    for kind in ("use", "principal", "unmapped"):
        number = next(n for n, row in enumerate(rows) if row["line"] == kind)
        cut = b"".join(text[:number] + text[number + 1 :])
        others = {row["principal"] for row in rows[1:]} - {rows[number]["principal"]}
        with pytest.raises(ActivityFileError, match=r"cut or changed|before the first"):
            read_activity(io.BytesIO(cut), principal=others.pop())
