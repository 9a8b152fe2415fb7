"""``pare activity``, as people and scripts run it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pare import cli_activity
from pare.cli import main
from pare.cloudtrail import parallel
from pare.cloudtrail.activity_file import read_activity
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    ONE_OF_EACH,
    OTHER_ACCOUNT,
    ROLE_ARN,
    UNMAPPED,
    USED,
    USER_ARN,
    as_bytes,
    by_lines,
    delivered,
    digest,
    packed,
    record,
    role_session,
    s3_get,
    user,
)

if TYPE_CHECKING:
    from click.testing import Result

GOOD = ONE_OF_EACH[:5]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, which the command is run in, with a log file in it."""
    monkeypatch.chdir(tmp_path)
    write("logs/good.json.gz", packed(delivered(*GOOD)))
    return tmp_path


def write(name: str, content: bytes) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pare(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["activity", *arguments], input=stdin)


def ok(*arguments: str, stdin: bytes = b"", code: int = 0) -> Result:
    result = pare(*arguments, stdin=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def as_json(*arguments: str, stdin: bytes = b"", code: int = 0) -> Any:
    return json.loads(ok(*arguments, "--format", "json", stdin=stdin, code=code).stdout)


# --- What it prints ---


def test_the_sum_of_all_records_is_printed(logs: Path) -> None:
    output = ok("logs").stdout
    assert "Read 1 file" in output
    assert "5 records = 2 used + 1 denied + 1 ignored + 1 unmapped + 0 unreadable" in output
    assert "unmapped          1  notaservice.amazonaws.com:DoNothing" in output
    assert "events from 2026-11-21T10:15:00Z to 2026-11-21T10:15:00Z" in output


def test_the_table_says_what_each_principal_did(logs: Path) -> None:
    output = ok("logs").stdout
    assert f"AssumedRole {ROLE_ARN}" in output
    assert "s3:GetObject" in output
    assert "s3:GetObject REFUSED" in output
    assert "sessions: i-0abc" in output
    assert "\x1b" not in output


def test_with_an_output_file_only_the_sum_is_printed(logs: Path) -> None:
    output = ok("logs", "-o", "a.ndjson.gz").stdout
    assert "records =" in output
    assert "Wrote a.ndjson.gz." in output
    assert "REFUSED" not in output


def test_the_output_file_is_the_activity(logs: Path) -> None:
    ok("logs", "-o", "a.ndjson.gz")
    ok("logs", "-o", "a.ndjson")
    content = Path("a.ndjson").read_bytes()
    assert gzip.decompress(Path("a.ndjson.gz").read_bytes()) == content
    with Path("a.ndjson").open("rb") as file:
        assert as_bytes(read_activity(file)) == content
    again = Path("a.ndjson.gz").read_bytes()
    ok("logs", "-o", "a.ndjson.gz")
    assert Path("a.ndjson.gz").read_bytes() == again


def test_json_holds_the_header_and_the_principals(logs: Path) -> None:
    told = as_json("logs")
    assert told["header"]["records"]["total"] == 5
    (principal,) = told["principals"]
    assert principal["principal"] == ROLE_ARN
    assert {use["outcome"] for use in principal["uses"]} == {"allowed", "denied"}
    assert [each["operation"] for each in principal["unmapped"]] == [
        "notaservice.amazonaws.com:DoNothing"
    ]


def test_csv_has_a_row_for_each_use(logs: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ok("logs", "--format", "csv").stdout)))
    assert [(row["action"], row["outcome"], row["count"]) for row in rows] == [
        ("s3:GetObject", "allowed", "2"),
        ("s3:GetObject", "denied", "1"),
        ("", "unmapped", "1"),
    ]
    assert rows[0]["resource"] == "arn:aws:s3:::orders/2026/11/a.json"
    assert rows[0]["errors"] == "NoSuchKey=1"
    assert {row["principal"] for row in rows} == {ROLE_ARN}


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_csv_is_a_formula(logs: Path, begin: str) -> None:
    name = f"{begin}cmd|' /C calc'!A1"
    odd = user(name, principalId=name, accountId=name)
    write(
        "odd.json",
        delivered(
            record(1, userIdentity=odd, awsRegion=name, errorCode=name),
            {**UNMAPPED, "userIdentity": odd, "eventSource": name, "eventName": name},
        ),
    )
    rows = list(csv.reader(io.StringIO(ok("odd.json", "--format", "csv").stdout, newline="")))
    assert len(rows) == 3
    assert not [
        cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    ]


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\x9b31m"


def unprintable(output: str) -> list[str]:
    return [char for char in output.replace("\n", "") if not char.isprintable()]


def test_control_characters_of_records_are_not_printed(logs: Path) -> None:
    odd = role_session(f"s{HOSTILE}")
    odd["sessionContext"]["sessionIssuer"]["arn"] = f"arn:aws:iam::{ACCOUNT}:role/r{HOSTILE}"
    write(
        "odd.json",
        delivered(
            s3_get(1, f"k{HOSTILE}", userIdentity=odd),
            {**UNMAPPED, "userIdentity": odd, "eventName": f"n{HOSTILE}"},
            record(3, userIdentity=odd, eventType=f"t{HOSTILE}"),
        ),
    )
    assert not unprintable(ok("odd.json").output)


def test_control_characters_of_data_events_are_not_printed(logs: Path) -> None:
    write("odd.json", delivered(record(1, eventSource=f"x{HOSTILE}", eventCategory="Data")))
    assert not unprintable(ok("odd.json").output)


def test_control_characters_of_file_names_are_not_printed(logs: Path) -> None:
    write("x/a\x1b[2J.json", b"no")
    result = ok("x", code=3)
    assert "\x1b" not in result.output
    assert "[2J.json: not a CloudTrail record" in result.stderr


# --- Exit codes ---


def test_what_cannot_be_read_is_named_and_the_exit_code_is_1(logs: Path) -> None:
    write("logs/broken.json", b"no")
    write("logs/cut.json.gz", packed(delivered(USED))[:-20])
    write("logs/list.json", json.dumps([{"a": 1}]).encode())
    result = ok("logs", code=1)
    assert "pare: 2 files and 1 single record could not be read:" in result.stderr
    assert "broken.json: not a CloudTrail record" in result.stderr
    assert "cut.json.gz: truncated gzip" in result.stderr
    assert "records = " in result.stdout


def test_a_file_with_a_record_that_names_no_operation_is_named(logs: Path) -> None:
    write("logs/odd.json", delivered(*ONE_OF_EACH))
    assert "odd.json" in ok("logs", code=1).stderr


def test_problems_do_not_go_where_data_goes(logs: Path) -> None:
    write("logs/broken.json", b"no")
    assert "broken" not in ok("logs", "--format", "csv", code=1).stdout
    assert as_json("logs", code=1)["header"]["problem_files"]


def test_a_hundred_broken_files_are_not_all_printed(logs: Path) -> None:
    for number in range(100):
        write(f"logs/{number:03}.json", b"no")
    result = ok("logs", code=1)
    assert "100 files" in result.stderr
    assert len(result.stderr.splitlines()) < 15


@pytest.mark.parametrize(
    "arguments",
    [
        ("logs", "--format", "xml"),
        ("logs", "--since", "yesterday"),
        ("logs", "--until", "2026-13-01"),
        ("logs", "--jobs", "0"),
        ("logs", "--nothing"),
        ("--format", "json"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2(logs: Path, arguments: tuple[str, ...]) -> None:
    result = ok(*arguments, code=2)
    assert result.stdout == ""
    assert "Usage:" in result.stderr


def test_a_wrong_time_is_said_with_an_example(logs: Path) -> None:
    stderr = ok("logs", "--since", "yesterday", code=2).stderr
    assert "'yesterday' is not a date or time such as 2026-11-01" in stderr


def test_a_path_that_is_not_there_is_one_sentence_and_exit_code_3(logs: Path) -> None:
    result = ok("logs", "not/here", code=3)
    assert result.stdout == ""
    assert result.stderr.startswith("pare: There is no file or folder 'not/here'.")
    assert len(result.stderr.splitlines()) == 1


def test_a_folder_without_logs_is_exit_code_3_and_says_what_lies_there(logs: Path) -> None:
    write("empty/readme.txt", b"x")
    write("empty/CloudTrail-Digest/d.json.gz", b"x")
    result = ok("empty", code=3)
    assert "There are no log files in empty" in result.stderr
    assert "1 digest file" in result.stderr


def test_an_output_that_cannot_be_written_is_exit_code_3(logs: Path) -> None:
    result = ok("logs", "-o", "no/such/folder/a.ndjson.gz", code=3)
    assert "There is no folder no/such/folder" in result.stderr


def test_help_has_an_example() -> None:
    output = ok("--help").stdout
    assert "Example: pare activity" in output
    assert "--since" in output


# --- Writing ---


def test_an_output_is_written_whole_or_not_at_all(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.ndjson", b"what was there")

    def half(activity: Any, file: Any, *, compress: bool) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli_activity, "write_activity", half)
    result = ok("logs", "-o", "a.ndjson", code=3)
    assert "No space left on device" in result.stderr
    assert Path("a.ndjson").read_bytes() == b"what was there"


def test_an_output_in_the_folder_that_is_read_is_not_read_the_next_time(logs: Path) -> None:
    ok("logs", "-o", "logs/a.ndjson.gz")
    output = ok("logs", "-o", "logs/a.ndjson.gz").stdout
    assert "5 records = " in output
    assert "skipped           1  files: activity file" in output


# --- What is read ---


def test_standard_input_is_read(logs: Path) -> None:
    for content in (by_lines(*GOOD), packed(delivered(*GOOD)), delivered(*GOOD)):
        assert as_json("-", stdin=content)["header"]["records"]["total"] == 5
    told = as_json("-", "logs", stdin=by_lines(record(99)))
    assert told["header"]["records"]["total"] == 6
    assert told["header"]["files"]["read"] == 2


def test_standard_input_that_is_broken_is_named(logs: Path) -> None:
    result = ok("-", "logs", stdin=b"no", code=1)
    assert "standard input: not a CloudTrail record" in result.stderr


def test_an_event_in_two_sources_counts_once(logs: Path) -> None:
    told = as_json("logs", "-", stdin=by_lines(*GOOD))
    assert told["header"]["records"]["ignored"]["duplicate of an event already counted"] == 5


def test_a_file_named_twice_is_read_once(logs: Path) -> None:
    told = as_json("logs", "logs/good.json.gz", "./logs/../logs/good.json.gz")
    assert told["header"]["files"]["read"] == 1
    assert told["header"]["records"]["total"] == 5


def test_an_activity_file_that_is_named_is_added(logs: Path) -> None:
    ok("logs", "-o", "monday.ndjson.gz")
    write("tuesday/t.json", delivered(record(50), record(51, userIdentity=user())))
    ok("tuesday", "-o", "tuesday.ndjson")
    whole = ok("logs", "tuesday", "-o", "whole.ndjson").stdout
    merged = ok("monday.ndjson.gz", "tuesday.ndjson", "-o", "merged.ndjson").stdout
    mixed = ok("monday.ndjson.gz", "tuesday", "-o", "mixed.ndjson").stdout
    assert "7 records = 4 used" in whole
    assert (
        whole.replace("whole", "x") == merged.replace("merged", "x") == mixed.replace("mixed", "x")
    )
    assert Path("merged.ndjson").read_bytes() == Path("whole.ndjson").read_bytes()
    assert Path("mixed.ndjson").read_bytes() == Path("whole.ndjson").read_bytes()


def test_an_activity_file_may_be_named_by_a_way_up(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok("logs", "-o", "monday.ndjson.gz")
    monkeypatch.chdir("logs")
    assert as_json("../monday.ndjson.gz")["header"]["records"]["total"] == 5


def test_an_activity_file_in_a_folder_is_passed_over(logs: Path) -> None:
    Path("x").mkdir()
    ok("logs", "-o", "x/monday.ndjson.gz")
    assert "activity file" in ok("x", code=3).stderr
    told = as_json("x", "logs")
    assert told["header"]["records"]["total"] == 5
    assert told["header"]["files"]["skipped"] == {"activity file": 1}


def test_a_cut_activity_file_is_refused_by_name(logs: Path) -> None:
    ok("logs", "-o", "monday.ndjson")
    content = Path("monday.ndjson").read_bytes()
    write("cut.ndjson", content[: content.rindex(b"\n", 0, -1) + 1])
    result = ok("cut.ndjson", "logs", code=3)
    assert "cut.ndjson: it is cut" in result.stderr


# --- What is asked ---


@pytest.fixture
def many(logs: Path) -> Path:
    """Return the folder with records of several days, principals and accounts."""
    theirs = user(
        f"arn:aws:iam::{OTHER_ACCOUNT}:user/eve", accountId=OTHER_ACCOUNT, principalId="AIDAEVE"
    )
    write(
        "many/a.json",
        delivered(
            record(1, eventTime="2026-11-20T10:00:00Z"),
            record(2, eventTime="2026-11-21T00:00:00Z", userIdentity=user()),
            record(3, eventTime="2026-11-21T23:59:59Z", userIdentity=theirs),
            record(4, eventTime="2026-11-22T00:00:00Z"),
        ),
    )
    return logs


@pytest.mark.parametrize(
    ("arguments", "used"),
    [
        (("--since", "2026-11-21"), 3),
        (("--until", "2026-11-21"), 1),
        (("--since", "2026-11-21", "--until", "2026-11-22"), 2),
        (("--since", "2026-11-20T12:00+02:00"), 4),
        (("--since", "2026-11-20T10:00:01Z"), 3),
        (("--principal", USER_ARN), 1),
        (("--principal", USER_ARN, "--principal", ROLE_ARN), 3),
        (("--principal", f"arn:aws:iam::{ACCOUNT}:*"), 3),
        (("--principal", "*:user/*"), 2),
        (("--principal", "AIDAEVE"), 1),
        (("--account", OTHER_ACCOUNT), 1),
        (("--account", OTHER_ACCOUNT, "--account", ACCOUNT), 4),
        (("--account", ACCOUNT, "--principal", "*eve"), 0),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else None,
)
def test_only_what_is_asked_is_used_and_the_rest_is_counted(
    many: Path, arguments: tuple[str, ...], used: int
) -> None:
    told = as_json("many", *arguments)
    records = told["header"]["records"]
    assert records["used"] == used
    assert records["total"] == 4
    assert sum(records.get("ignored", {}).values()) == 4 - used
    assert sum(use["count"] for each in told["principals"] for use in each["uses"]) == used
    assert told["header"]["asked"]


def test_files_delivered_before_the_window_are_not_opened(many: Path) -> None:
    name = f"{ACCOUNT}_CloudTrail_eu-west-1_20261119T0000Z_AbCdEfGh12345678.json.gz"
    write(f"many/AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/11/19/{name}", b"not even gzip")
    told = as_json("many", "--since", "2026-11-20")
    assert told["header"]["files"]["skipped"] == {"delivered before the window asked for": 1}
    assert told["header"]["records"]["total"] == 4
    ok("many", code=1)


def test_any_number_of_jobs_gives_the_same_file(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "_BYTES_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(parallel, "_FILES_AT_ONCE", 1)
    arguments = ("many", "logs", "--principal", "*Shop", "--since", "2026-11-20")
    for jobs in ("1", "2", "3"):
        ok(*arguments, "--jobs", jobs, "-o", f"{jobs}.ndjson")
    assert (
        Path("1.ndjson").read_bytes()
        == Path("2.ndjson").read_bytes()
        == Path("3.ndjson").read_bytes()
    )


# --- As a process ---


def test_as_a_process_it_needs_no_aws_and_reads_a_pipe(logs: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(logs)}
    done = subprocess.run(
        [sys.executable, "-m", "pare", "activity", "-", "-o", "a.ndjson.gz"],
        input=packed(delivered(*GOOD)),
        capture_output=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"5 records = 2 used" in done.stdout
    assert Path("a.ndjson.gz").read_bytes() == as_bytes_of_stdin()


def as_bytes_of_stdin() -> bytes:
    from pare.cloudtrail.activity import Asked

    activity = digest({"standard input": packed(delivered(*GOOD))})
    activity.asked.add(Asked())
    return as_bytes(activity, compress=True)


def test_activity_files_are_filtered_by_principal_and_refuse_a_window(logs: Path) -> None:
    write("logs/user.json", delivered(record(77, userIdentity=user())))
    ok("logs", "-o", "all.ndjson.gz")
    everything = json.loads(ok("all.ndjson.gz", "--format", "json").stdout)
    names = {each["principal"] for each in everything["principals"]}
    assert len(names) > 1
    some = json.loads(ok("all.ndjson.gz", "--principal", ROLE_ARN, "--format", "json").stdout)
    assert {each["principal"] for each in some["principals"]} == {ROLE_ARN}
    assert "no single events" in ok("all.ndjson.gz", "--since", "2026-11-01", code=2).stderr


def test_the_arn_of_a_session_names_its_role(logs: Path) -> None:
    account, name = ROLE_ARN.split(":")[4], ROLE_ARN.rpartition("/")[2]
    session = f"arn:aws:sts::{account}:assumed-role/{name}/pod"
    some = json.loads(ok("logs", "--principal", session, "--format", "json").stdout)
    assert {each["principal"] for each in some["principals"]} == {ROLE_ARN}


def test_a_principal_that_matches_nothing_is_said(logs: Path) -> None:
    assert "nothing matches --principal" in ok("logs", "--principal", "nobody").stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--account", "12"),
        ("--since", "2026-11-02", "--until", "2026-11-01"),
        ("-o", "-"),
    ],
)
def test_what_cannot_be_meant_is_wrong_use(logs: Path, options: tuple[str, ...]) -> None:
    ok("logs", *options, code=2)


def test_an_output_that_is_read_is_refused(logs: Path) -> None:
    write("in.json", delivered(USED))
    before = Path("in.json").read_bytes()
    assert "one of the files to read" in ok("in.json", "-o", "in.json", code=2).stderr
    assert Path("in.json").read_bytes() == before
    assert "could be replaced" in ok("in.json", "-o", "/dev/null", code=3).stderr


def test_what_lookup_events_prints_is_read(logs: Path) -> None:
    event = {"EventId": "1", "CloudTrailEvent": json.dumps(USED)}
    write("looked-up.json", json.dumps({"Events": [event]}).encode())
    found = json.loads(ok("looked-up.json", "--format", "json").stdout)
    assert found["header"]["records"]["total"] == 1
