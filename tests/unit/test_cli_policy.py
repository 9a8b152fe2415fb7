"""``pare policy``, as people and scripts run it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pare.cli import main
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    OTHER_ACCOUNT,
    ROLE_ARN,
    ROLE_ID,
    USER_ARN,
    USER_ID,
    by_lines,
    delivered,
    packed,
    record,
    role_session,
    s3_get,
    user,
)

if TYPE_CHECKING:
    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden/policies"
FUNCTION_ROLE = GOLDEN / "function-role"
FUNCTION_ARN = f"arn:aws:iam::{ACCOUNT}:role/service-role/checkout-api"
ALLOW_GET = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder, which the command is run in, with a log file in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write("logs/good.json.gz", packed(delivered(*RECORDS)))
    return tmp_path


RECORDS = (
    s3_get(1, "a"),
    s3_get(2, "a"),
    record(3, "ec2", "DescribeInstances", userIdentity=user()),
    record(4, "s3", "DeleteObject", errorCode="AccessDenied",
           requestParameters={"bucketName": "bucket", "key": "a"}),
)  # fmt: skip


def write(name: str, content: bytes | str | Any) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
    return path


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def pare(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["policy", *arguments], input=stdin, prog_name="pare")


def ok(*arguments: str, stdin: bytes = b"", code: int = 0) -> Result:
    result = pare(*arguments, stdin=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: str, code: int, stdin: bytes = b"") -> str:
    """Return the one sentence (and what to do) that wrong input gets; nothing is on stdout."""
    result = ok(*arguments, stdin=stdin, code=code)
    assert result.stdout == ""
    *usage, line = result.stderr.strip().splitlines()
    if code == 2:
        assert usage[0].startswith("Usage: pare policy ")
        assert line.startswith("Error: ")
    else:
        assert not usage
        assert line.startswith("pare: ")
    assert "Traceback" not in result.stderr
    return line


def current_of(*arns: str) -> dict[str, Any]:
    """Return what IAM prints for an account with these users and roles, each allowed all of S3."""
    found: dict[str, Any] = {"UserDetailList": [], "RoleDetailList": [], "GroupDetailList": [],
                             "Policies": []}  # fmt: skip
    inline = {"PolicyName": "p", "PolicyDocument": policy({**ALLOW_GET, "Action": "s3:*"})}
    for arn in arns:
        which = "User" if ":user/" in arn else "Role"
        ids = {ROLE_ARN: ROLE_ID, USER_ARN: USER_ID}
        found[f"{which}DetailList"].append({
            "Arn": arn, f"{which}Id": ids.get(arn, ROLE_ID), f"{which}PolicyList": [inline],
            "CreateDate": "2024-01-02T03:04:05Z", "GroupList": [], "AttachedManagedPolicies": [],
        })  # fmt: skip
    return found


def index(out: str = "out") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(out, "index.json").read_text("utf-8"))
    return found


def propose_files(out: str | Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(out)): file.read_bytes()
        for file in sorted(Path(out).rglob("*"))
        if file.is_file()
    }


# --- wrong and missing input ----------------------------------------------------------------------


def test_neither_logs_nor_an_activity_file(logs: Path) -> None:
    assert "--trail LOGS or --activity FILE" in refused("propose", "--all", code=2)
    assert "--trail LOGS or --activity FILE" in refused(
        "replay", "--principal", ROLE_ARN, "--policy", str(write("p.json", policy(ALLOW_GET))),
        code=2,
    )  # fmt: skip


def test_activity_that_was_collected_of_somebody_else_says_nothing_of_a_principal(
    logs: Path,
) -> None:
    made = CliRunner().invoke(
        main, ["activity", "logs", "--principal", USER_ARN, "-o", "of-user.ndjson.gz"]
    )
    assert made.exit_code == 0
    ask = ["--activity", "of-user.ndjson.gz", "--principal"]

    told = refused("propose", *ask, ROLE_ARN, code=3)

    assert f"collected of {USER_ARN} only, not of {ROLE_ARN}" in told
    assert "only, not of" in refused(
        "replay", *ask, ROLE_ARN, "--policy", str(write("p.json", policy(ALLOW_GET))), code=3
    )
    ok("propose", *ask, USER_ARN)


def test_an_exempt_principal_is_left_as_it_is_until_its_day(logs: Path) -> None:
    exemption = {"principal": "arn:aws:iam::*:role/*", "owner": "platform@example.com",
                 "reason": "The release in March.", "expires": "2999-01-01"}  # fmt: skip
    ask = ["--trail", "logs", "--principal", ROLE_ARN, "--exemptions"]

    told = ok("propose", *ask, str(write("e.json", [exemption])), code=1).stdout
    assert "The release in March. (platform@example.com)" in told.replace("\n  ", " ")

    past = exemption | {"expires": "2020-01-01"}
    ok("propose", *ask, str(write("e.json", [past])))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "is no JSON list"),
        ([{"principal": "x"}], "is no JSON list"),
        (
            [{"principal": "x", "owner": "o", "reason": "r", "expires": "soon"}],
            "expires of x is no date",
        ),
    ],
)
def test_exemptions_that_are_none(logs: Path, content: Any, why: str) -> None:
    ask = ["--trail", "logs", "--all", "--exemptions", str(write("e.json", content))]
    assert why in refused("propose", *ask, code=3)


@pytest.mark.parametrize("whose", [(), ("--all", "--principal", ROLE_ARN)])
def test_all_or_a_principal_and_not_both(logs: Path, whose: tuple[str, ...]) -> None:
    assert "either --principal ARN or --all" in refused(
        "propose", "--trail", "logs", *whose, code=2
    )


def test_last_accessed_is_of_one_principal(logs: Path) -> None:
    last = str(FUNCTION_ROLE / "last_accessed.json")
    message = refused("propose", "--trail", "logs", "--all", "--last-accessed", last, code=2)
    assert "--last-accessed is of one principal" in message


def test_current_of_another_account(logs: Path) -> None:
    message = refused(
        "propose", "--trail", "logs", "--principal", f"arn:aws:iam::{OTHER_ACCOUNT}:role/x",
        "--current", str(FUNCTION_ROLE / "current.json"), code=2,
    )  # fmt: skip
    assert f"--current is of account {ACCOUNT}" in message
    assert OTHER_ACCOUNT in message


def test_all_with_current_of_another_account(logs: Path) -> None:
    text = (FUNCTION_ROLE / "current.json").read_text("utf-8").replace(ACCOUNT, OTHER_ACCOUNT)
    write("current.json", text)

    message = refused("propose", "--trail", "logs", "--all", "--current", "current.json", code=2)

    assert f"--current is of account {OTHER_ACCOUNT}; " in message
    assert f"in the logs are of {ACCOUNT}." in message


def test_all_with_current_of_some_accounts_says_how_many_it_does_not_cover(logs: Path) -> None:
    current = current_of(USER_ARN, f"arn:aws:iam::{ACCOUNT}:role/idle")
    result = ok("propose", "--trail", "logs", "--all", "--current", str(write("c.json", current)),
                "-o", "out")  # fmt: skip
    assert "pare: --current does not cover 1 of 2 principals;" in result.stderr
    reasons = {row["principal_arn"]: row["reasons"] for row in index()}
    assert "CURRENT_ACCESS_UNKNOWN" in reasons[ROLE_ARN]
    assert "CURRENT_ACCESS_UNKNOWN" not in reasons[USER_ARN]

    covered = current_of(USER_ARN, ROLE_ARN)
    result = ok("propose", "--trail", "logs", "--all", "--current", str(write("c.json", covered)))
    assert "does not cover" not in result.stderr
    assert "not in the logs" not in result.stdout


def test_users_and_roles_of_current_that_are_not_in_the_logs(logs: Path) -> None:
    linked = "aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"
    names = [linked, *(f"idle-{n:02}" for n in range(11))]
    arns = [f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in names]
    current = current_of(USER_ARN, ROLE_ARN, *arns)
    current["RoleDetailList"][-1]["RoleLastUsed"] = {"LastUsedDate": "2025-01-02T03:04:05Z"}
    ask = ("propose", "--trail", "logs", "--current", str(write("c.json", current)))

    shown = ok(*ask, "--all", "-o", "out").stdout

    told = shown.partition("12 users and roles of --current are not in the logs:\n")[2]
    listed = told.splitlines()
    assert listed[:10] == [f"  {arn}" for arn in arns[1:11]], "the service's own role comes last"
    assert listed[10] == "  … and 2 more in index.csv"
    idle = [row for row in index() if row["verdict"] == "not in the logs"]
    assert [row["principal_arn"] for row in idle] == [*arns[1:], arns[0]]
    assert {row["folder"] for row in idle} == {None}
    assert {row["last_used_at"] for row in idle} == {None, "2025-01-02T03:04:05Z"}
    with Path("out/index.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 14
    assert "2 users and roles: " in shown

    one = ok(*ask, "--principal", ROLE_ARN, "-o", "out").stdout
    assert "not in the logs" not in one
    assert len(index()) == 1


def test_who_was_not_asked_for_is_not_called_idle(logs: Path) -> None:
    CliRunner().invoke(main, ["activity", "logs", "--principal", USER_ARN, "-o", "a.ndjson"])
    current = write("c.json", current_of(USER_ARN, ROLE_ARN))
    result = ok("propose", "--activity", "a.ndjson", "--all", "--current", str(current), "-o", "o")
    assert "not in the logs" not in result.stdout


@pytest.mark.parametrize("granularity", ["service", "action"])
def test_last_accessed_information_of_somebody_else(logs: Path, granularity: str) -> None:
    def last(arn: str) -> str:
        service: dict[str, Any] = {"ServiceNamespace": "s3", "ServiceName": "S3"}
        if granularity == "service":
            service["LastAuthenticatedEntity"] = arn
        else:
            service["TrackedActionsLastAccessed"] = [
                {"ActionName": "GetObject", "LastAccessedEntity": arn}
            ]
        return str(write("last.json", {"JobStatus": "COMPLETED",
                                       "ServicesLastAccessed": [service]}))  # fmt: skip

    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    for asked in (ROLE_ARN, "*/Shop"):
        ask = ("propose", "--trail", "logs", "--principal", asked, "--last-accessed")
        message = refused(*ask, last(other), code=2)
        assert f"--last-accessed is of {other}, not of {ROLE_ARN}." in message
        ok(*ask, last(ROLE_ARN))
        ok(*ask, last(f"arn:aws:iam::{ACCOUNT}:role/another/path/Shop"))


def test_a_service_without_data_events_in_the_logs(logs: Path) -> None:
    ask = ("propose", "--trail", "logs", "--principal", ROLE_ARN, "--complete-data-events")
    ignored = "pare: --complete-data-events s3 is ignored: no data events of s3 are in these logs."
    assert ok(*ask, "s3").stderr.splitlines() == [ignored]
    write("logs/data.json.gz", packed(delivered(
        s3_get(30, "a", managementEvent=False, eventCategory="Data")
    )))  # fmt: skip
    assert ok(*ask, "s3").stderr == ""


def test_forms_for_several_need_a_folder(logs: Path) -> None:
    several = ("--principal", ROLE_ARN, "--principal", USER_ARN)
    for whose in (("--all",), several):
        message = refused("propose", "--trail", "logs", *whose, "--output", "terraform", code=2)
        assert "--output with --all (or several principals) needs -o DIR." in message
    ok("propose", "--trail", "logs", *several[:2], *several[:2], "--output", "terraform")


def test_a_service_that_is_none(logs: Path) -> None:
    ask = ["--trail", "logs", "--all", "--complete-data-events"]

    assert "s3x is not a service prefix" in refused("propose", *ask, "s3x", code=2)
    ok("propose", *ask, "S3", "-o", "out")


def test_a_window_without_logs(logs: Path) -> None:
    message = refused("propose", "--trail", "logs", "--all", "--since", "2030-01-01", code=3)
    assert "hold no API call between 2030-01-01T00:00:00Z and the end" in message
    message = refused("propose", "--trail", "logs", "--all", "--until", "2001-01-01", code=3)
    assert "between the beginning and 2001-01-01T00:00:00Z" in message


def test_a_window_that_all_logs_were_delivered_before(logs: Path) -> None:
    folder = f"old/AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/11"
    for day in ("20", "21"):
        write(f"{folder}/{day}/{ACCOUNT}_CloudTrail_eu-west-1_202611{day}T1015Z_x.json.gz",
              packed(delivered(*RECORDS)))  # fmt: skip
    message = refused("propose", "--trail", "old", "--all", "--since", "2027-01-01", code=3)
    assert message == (
        "pare: 2 log files, all delivered before 2027-01-01. Move --since or --until."
    )


def test_a_window_that_ends_before_it_begins(logs: Path) -> None:
    window = ("--since", "2026-02-01", "--until", "2026-01-01")
    assert "is not before" in refused("propose", "--trail", "logs", "--all", *window, code=2)


def test_logs_that_are_not_there_or_no_logs(logs: Path) -> None:
    assert "There is no file or folder 'nowhere'" in refused(
        "propose", "--trail", "nowhere", "--all", code=3
    )
    write("empty/readme.txt", "nothing")
    assert "There are no log files in empty" in refused(
        "propose", "--trail", "empty", "--all", code=3
    )


def test_a_principal_that_is_not_there_and_the_one_that_may_be_meant(logs: Path) -> None:
    for asked in (f"arn:aws:iam::{ACCOUNT}:role/Shop", f"arn:aws:iam::{ACCOUNT}:role/x/Shop"):
        message = refused("propose", "--trail", "logs", "--principal", asked, code=3)
        assert f"{asked} is not in the logs. Did you mean {ROLE_ARN}?" in message
    message = refused(
        "propose", "--trail", "logs", "--principal", f"arn:aws:iam::{ACCOUNT}:user/people/anne",
        code=3,
    )  # fmt: skip
    assert f"Did you mean {USER_ARN}" in message
    far = refused("propose", "--trail", "logs", "--principal", "arn:aws:iam::000000000000:user/q",
                  code=3)  # fmt: skip
    assert "is not in the logs." in far
    assert "Did you mean" not in far


def test_replay_of_a_principal_that_is_not_there(logs: Path) -> None:
    write("p.json", policy(ALLOW_GET))
    message = refused(
        "replay", "--trail", "logs", "--policy", "p.json",
        "--principal", f"arn:aws:iam::{ACCOUNT}:role/Shop", code=3,
    )  # fmt: skip
    assert f"Did you mean {ROLE_ARN}?" in message


def test_what_is_no_arn_of_a_user_or_role(logs: Path) -> None:
    write("p.json", policy(ALLOW_GET))
    commands = (("propose",), ("replay", "--policy", "p.json"), ("sessions",))
    for asked in ("Shop", "shop", f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop/i-0abc"):
        for command in commands:
            message = refused(*command, "--trail", "logs", "--principal", asked, code=2)
            assert f"'{asked}' is not the ARN of an IAM user or role" in message
            assert f"Did you mean {ROLE_ARN}?" in message
    for asked in ("", "somebody-else"):
        message = refused("propose", "--trail", "logs", "--principal", asked, code=2)
        assert "Give its ARN, or '*/NAME'." in message


def test_a_pattern_names_the_only_principal_that_matches(logs: Path) -> None:
    write("p.json", policy(ALLOW_GET))
    for command in (("propose",), ("replay", "--policy", "p.json"), ("sessions",)):
        asked = (*command, "--trail", "logs", "--principal")
        assert ok(*asked, "*/Shop").stdout == ok(*asked, ROLE_ARN).stdout
        message = refused(*asked, "arn:*", code=2)
        assert f"2 users and roles match arn:*: {ROLE_ARN}, {USER_ARN}. Name one" in message
        message = refused(*asked, "*/nobody", code=3)
        assert "No user or role in the logs matches */nobody." in message
    message = refused("sessions", "--trail", "-", "--principal", "*/Shop", code=2)
    assert "standard input is read only once" in message


def test_an_idle_principal_of_current_may_be_named_by_a_pattern(logs: Path) -> None:
    ask = ("propose", "--trail", "logs", "--current", str(FUNCTION_ROLE / "current.json"))
    told = ok(*ask, "--principal", "*/checkout-api", code=1)
    assert FUNCTION_ARN in told.stdout


def test_the_one_that_may_be_meant_has_a_like_name_and_is_of_the_same_kind(logs: Path) -> None:
    def did(number: int, entity: str) -> dict[str, Any]:
        arn = f"arn:aws:iam::{ACCOUNT}:{entity}"
        session = role_session()
        session["sessionContext"]["sessionIssuer"]["arn"] = arn
        return s3_get(number, "a", userIdentity=user(arn) if entity[0] == "u" else session)

    entities = ("user/benjamin", "role/benjamin-deploys", "role/stratus-benign-jam", "role/benjami")
    write("logs/more.json.gz", packed(delivered(*(did(20 + i, each) for i, each in
                                                  enumerate(entities)))))  # fmt: skip
    ask = ("propose", "--trail", "logs", "--principal")

    arn = f"arn:aws:iam::{ACCOUNT}:user/benjamni"
    message = refused(*ask, arn, code=3)
    assert f"Did you mean arn:aws:iam::{ACCOUNT}:user/benjamin? " in message
    message = refused(*ask, "benjamin", code=2)
    assert f"Did you mean arn:aws:iam::{ACCOUNT}:user/benjamin?" in message
    message = refused(*ask, f"arn:aws:iam::{ACCOUNT}:role/xx/benjamin", code=3)
    assert f"Did you mean arn:aws:iam::{ACCOUNT}:user/benjamin? " in message, "the very name"


def test_the_output_folder_is_a_file(logs: Path) -> None:
    write("out", "mine")
    message = refused("propose", "--trail", "logs", "--all", "-o", "out", code=3)
    assert "out is a file, not a folder" in message
    assert Path("out").read_text("utf-8") == "mine"


def test_a_folder_that_cannot_be_made(logs: Path) -> None:
    write("file", "")
    assert "cannot be made" in refused(
        "propose", "--trail", "logs", "--all", "-o", "file/out", code=3
    )


_NO_POLICIES = {
    "no JSON": ("{", "p.json is not JSON"),
    "deep": ("[" * 100_000, "p.json is not JSON"),
    "a number": ("3", "p.json: "),
    "other JSON": ('{"a": 1}', "p.json: "),
    "a list of other JSON": ('[{"a": 1}]', "p.json: "),
    "latin-1": (b'{"Version": "\xe9"}', "p.json is not JSON"),
}


@pytest.mark.parametrize("what", _NO_POLICIES)
def test_a_policy_file_that_is_none_is_named(logs: Path, what: str) -> None:
    content, said = _NO_POLICIES[what]
    write("p.json", content)
    write("good.json", policy(ALLOW_GET))
    replay = ("replay", "--trail", "logs", "--principal", ROLE_ARN)
    assert said in refused(*replay, "--policy", "p.json", code=3)
    assert said in refused("diff", "good.json", "p.json", code=3)
    assert said in refused("diff", "p.json", "good.json", code=3)
    if what != "a list of other JSON":
        assert said in refused(*replay, "--policy", "good.json", "--boundary", "p.json", code=3)


@pytest.mark.parametrize("option", ["--policy", "--boundary", "--limits"])
def test_a_policy_file_that_is_not_there_is_named(logs: Path, option: str) -> None:
    write("good.json", policy(ALLOW_GET))
    message = refused(
        "replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "good.json",
        option, "nowhere.json", code=3,
    )  # fmt: skip
    assert "nowhere.json cannot be read: No such file or directory" in message


def test_a_file_of_another_kind_is_named_for_what_it_is(logs: Path) -> None:
    ok("propose", "--trail", "logs", "--principal", ROLE_ARN, "-o", "out")
    current = str(FUNCTION_ROLE / "current.json")
    place = f"out/{ACCOUNT}/role/service-role/app/Shop"
    replay = ("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy")

    message = refused(*replay, f"{place}/proposal.json", code=3)
    assert f"{place}/proposal.json is no policy: it is a proposal.json of Pare; name" in message
    message = refused("diff", current, place, code=3)
    assert f"{current} is no policy: it is what `aws iam get-account-authorization-" in message
    assert "an index.json of Pare" in refused(*replay, "out/index.json", code=3)
    ok(*replay, place)


def test_a_folder_with_the_folders_of_principals(logs: Path) -> None:
    ok("propose", "--trail", "logs", "--all", "-o", "out")
    place = f"out/{ACCOUNT}/role/service-role/app/Shop"
    several = refused("diff", "out", place, code=3)
    assert f"out has folders for several principals: name one of them, such as {place}" in several
    assert several.endswith("See `pare policy COMMAND --help`.")
    ok("propose", "--trail", "logs", "--principal", ROLE_ARN, "-o", "out")
    assert f"out has the folder of a principal: name one of them, such as {place}" in refused(
        "diff", place, "out", code=3
    )


def test_folders_without_a_policy(logs: Path) -> None:
    Path("empty").mkdir()
    write("good.json", policy(ALLOW_GET))
    for arguments in (("empty", "good.json"), ("good.json", "empty")):
        assert "There is no policy*.json in empty" in refused("diff", *arguments, code=3)


def test_what_is_no_authorization_details(logs: Path) -> None:
    write("c.json", {"Roles": []})
    message = refused("propose", "--trail", "logs", "--all", "--current", "c.json", code=3)
    assert "get-account-authorization-details" in message
    message = refused("propose", "--trail", "logs", "--all", "--current", ".", code=3)
    assert ". cannot be read: Is a directory" in message


_NO_LAST_ACCESSED: dict[str, tuple[Any, str]] = {
    "something else": ({"JobId": "1"}, "it has no ServicesLastAccessed"),
    "in progress": ({"JobStatus": "IN_PROGRESS", "ServicesLastAccessed": []}, "IN_PROGRESS"),
    "failed": ({"JobStatus": "FAILED", "ServicesLastAccessed": []}, "FAILED"),
    "cut": (
        {"JobStatus": "COMPLETED", "ServicesLastAccessed": [], "IsTruncated": True},
        "Only the first page",
    ),
    "damaged": ({"JobStatus": "COMPLETED", "ServicesLastAccessed": [{}]}, "is damaged"),
    "a bad time": (
        {"JobStatus": "COMPLETED", "ServicesLastAccessed": [
            {"ServiceNamespace": "s3", "ServiceName": "S3", "LastAuthenticated": "yesterday"}]},
        "is damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", _NO_LAST_ACCESSED)
def test_last_accessed_information_that_says_nothing_is_refused(logs: Path, what: str) -> None:
    content, said = _NO_LAST_ACCESSED[what]
    write("last.json", content)
    message = refused(
        "propose", "--trail", "logs", "--principal", ROLE_ARN, "--last-accessed", "last.json",
        code=3,
    )  # fmt: skip
    assert "last.json: " in message
    assert said in message


def test_limits_that_allow_nothing(logs: Path) -> None:
    write("limits.json", policy({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}))
    message = refused("propose", "--trail", "logs", "--all", "--limits", "limits.json", code=3)
    assert "FullAWSAccess" in message


def test_an_unknown_form_and_a_number_out_of_range(logs: Path) -> None:
    assert "is not one of" in refused(
        "propose", "--trail", "logs", "--all", "--output", "yaml", code=2
    )
    assert "--fold-after" in refused("propose", "--trail", "logs", "--all", "--fold-after", "0",
                                     code=2)  # fmt: skip


# --- what is read ---------------------------------------------------------------------------------


def test_logs_from_standard_input(logs: Path) -> None:
    asked = ("--principal", ROLE_ARN, "--output", "json")
    result = ok("propose", "--trail", "-", *asked, stdin=by_lines(*RECORDS))
    assert result.stdout == ok("propose", "--trail", "logs", *asked).stdout
    assert "s3:GetObject" in result.stdout


def test_current_and_policies_from_standard_input() -> None:
    arguments = ["propose", "--activity", str(FUNCTION_ROLE / "activity.ndjson"),
                 "--principal", FUNCTION_ARN, "--current"]  # fmt: skip
    current = FUNCTION_ROLE / "current.json"
    piped = ok(*arguments, "-", stdin=current.read_bytes())
    assert piped.stdout == ok(*arguments, str(current)).stdout
    assert "107 -> " in piped.stdout


def test_a_byte_order_mark_is_passed_over(logs: Path) -> None:
    write("p.json", b"\xef\xbb\xbf" + json.dumps(policy(ALLOW_GET)).encode())
    ok("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json")


def test_logs_and_their_activity_file_give_the_same(logs: Path) -> None:
    made = CliRunner().invoke(main, ["activity", "logs", "-o", "a.ndjson.gz"])
    assert made.exit_code == 0
    ok("propose", "--trail", "logs", "--all", "-o", "one")
    ok("propose", "--activity", "a.ndjson.gz", "--all", "-o", "two")
    assert propose_files("one") == propose_files("two")


def test_a_principal_asked_for_twice_is_proposed_for_once(logs: Path) -> None:
    asked = ("--principal", ROLE_ARN)
    twice = ok("propose", "--trail", "logs", *asked, *asked)
    assert twice.stdout == ok("propose", "--trail", "logs", *asked).stdout


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(logs: Path) -> None:
    write("logs/broken.json.gz", b"\x1f\x8bnot gzip")
    result = ok("propose", "--trail", "logs", "--all", "-o", "out", code=1)
    assert "broken.json.gz" in result.stderr
    assert "UNREADABLE_LOGS" in Path("out/index.csv").read_text("utf-8")


# --- what is written ------------------------------------------------------------------------------


def test_all_writes_a_folder_for_each_and_an_index(logs: Path) -> None:
    result = ok("propose", "--trail", "logs", "--all", "-o", "out")
    index = json.loads(Path("out/index.json").read_text("utf-8"))
    assert [row["principal_arn"] for row in index] == [ROLE_ARN, USER_ARN]
    assert index[0]["folder"] == f"{ACCOUNT}/role/service-role/app/Shop"
    for row in index:
        assert {file.name for file in Path("out", row["folder"]).iterdir()} == {
            "policy-1.json", "proposal.json", "proposal.md",
        }  # fmt: skip
    with Path("out/index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["principal_arn"] for row in rows] == [ROLE_ARN, USER_ARN]
    assert rows[0]["reasons"] == " ".join(index[0]["reasons"])
    assert "2 users and roles: 0 ready, 2 review, 0 refused." in result.stdout


def test_one_is_said_in_the_singular(logs: Path) -> None:
    result = ok("propose", "--trail", "logs", "--principal", ROLE_ARN, "-o", "out")
    assert "1 user or role: " in result.stdout


def test_who_gets_no_policy_is_counted(logs: Path) -> None:
    root = {"type": "Root", "principalId": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root",
            "accountId": ACCOUNT}  # fmt: skip
    write("logs/root.json.gz", packed(delivered(record(9, "ec2", "DescribeVpcs",
                                                       userIdentity=root))))  # fmt: skip
    result = ok("propose", "--trail", "logs", "--all")
    assert "1 other, no policy: the root user has no policies" in result.stdout


def test_every_form_is_written_where_it_is_asked_for(logs: Path) -> None:
    forms = ("json", "markdown", "terraform", "cloudformation", "text")
    ok("propose", "--trail", "logs", "--principal", USER_ARN, "-o", "out",
       *(each for form in forms for each in ("--output", form)))  # fmt: skip
    place = Path(f"out/{ACCOUNT}/user/people/ann")
    assert {file.name for file in place.iterdir()} == {
        "policy-1.json", "policy.cloudformation.yaml", "policy.tf", "proposal.json", "proposal.md",
        "proposal.txt",
    }  # fmt: skip
    ok("propose", "--trail", "logs", "--principal", USER_ARN, "-o", "out", "--output", "terraform")
    assert {file.name for file in place.iterdir()} == {
        "policy-1.json", "policy.tf", "proposal.json",
    }  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_table_is_as_wide_as_the_terminal(
    logs: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/{'a-long-path/' * 5}the-name-of-it"
    session = role_session()
    session["sessionContext"]["sessionIssuer"]["arn"] = arn
    write("logs/long.json.gz", packed(delivered(s3_get(50, "a", userIdentity=session))))
    monkeypatch.setenv("COLUMNS", str(width))
    current = write("c.json", current_of(arn, USER_ARN))

    for more in ((), ("--current", str(current))):
        told = ok("propose", "--trail", "logs", "--all", *more).stdout
        table = told.partition("\n\n")[0].splitlines()
        assert max(map(len, table)) <= (width if width > 60 else 80)
        header = ["VERDICT", "TODAY", "PROPOSED", "REPLAYED", "REASON", "PRINCIPAL"]
        assert table[0].split() == [each for each in header if more or each != "TODAY"]
        (line,) = [line for line in table if line.endswith("the-name-of-it")]
        assert ("…" in line) == (width < 200)
        assert (arn in line) == (width == 200)
        (shop,) = [line for line in table if line.endswith("Shop")]
        assert "all 2" in shop, "calls, not uses"
        first = "CURRENT_ACCESS_UNKNOWN" if width == 200 else "CURRE"
        assert first in shop


def test_a_rerun_takes_stale_policies_away(logs: Path) -> None:
    ok("propose", "--trail", "logs", "--all", "-o", "out", "--output", "json",
       "--output", "terraform")  # fmt: skip
    place = Path(f"out/{ACCOUNT}/role/service-role/app/Shop")
    write(str(place / "policy-2.json"), "{}")
    write(str(place / "notes.txt"), "mine")
    ok("propose", "--trail", "logs", "--all", "-o", "out")
    assert {file.name for file in place.iterdir()} == {
        "notes.txt", "policy-1.json", "proposal.json", "proposal.md",
    }  # fmt: skip


def test_a_proposal_that_is_refused_now_leaves_no_policy_behind(tmp_path: Path) -> None:
    arguments = ("propose", "--activity", str(FUNCTION_ROLE / "activity.ndjson"),
                 "--principal", FUNCTION_ARN, "-o", str(tmp_path))  # fmt: skip
    ok(*arguments, "--current", str(FUNCTION_ROLE / "current.json"))
    place = tmp_path / ACCOUNT / "role/service-role/checkout-api"
    assert (place / "policy-1.json").exists()
    current = (FUNCTION_ROLE / "current.json").read_text("utf-8")
    tagged = tmp_path / "tagged.json"
    tagged.write_text(current.replace('"team"', '"pare:break-glass"'), encoding="utf-8")
    ok(*arguments, "--current", str(tagged), code=1)
    assert {file.name for file in place.iterdir()} == {"proposal.json", "proposal.md"}


def test_a_rerun_takes_away_what_the_old_index_names(logs: Path) -> None:
    write("out/policy-of-ours.txt", "mine")
    ok("propose", "--trail", "logs", "--all", "-o", "out")
    write(f"out/{ACCOUNT}/role/service-role/app/notes.txt", "mine")

    ok("propose", "--trail", "logs", "--principal", USER_ARN, "-o", "out")

    place = f"{ACCOUNT}/user/people/ann"
    assert set(propose_files("out")) == {
        "index.csv", "index.json", "policy-of-ours.txt",
        f"{ACCOUNT}/role/service-role/app/notes.txt",
        f"{place}/policy-1.json", f"{place}/proposal.json", f"{place}/proposal.md",
    }  # fmt: skip
    assert not Path(f"out/{ACCOUNT}/role/service-role/app/Shop").exists()


def test_an_edited_index_leads_to_no_file_of_others(logs: Path) -> None:
    rows: list[Any] = [
        {"principal_arn": ROLE_ARN, "folder": folder}
        for folder in ("..", "../mine", ".", "", "mine", str(logs / "mine"), 3, None)
    ]
    linked = f"arn:aws:iam::{ACCOUNT}:role/linked"
    rows += [
        {"principal_arn": "mine", "folder": "mine"},
        {"principal_arn": f"arn:aws:iam::{ACCOUNT}:role/\ud800", "folder": "mine"},
        {"principal_arn": linked, "folder": f"{ACCOUNT}/role/linked"},
        "mine", None,
    ]  # fmt: skip
    kept = ["mine/policy-1.json", "out/mine/policy-1.json", "out/policy-1.json", "policy-1.json"]
    for name in kept:
        write(name, "mine")
    Path(f"out/{ACCOUNT}/role").mkdir(parents=True)
    Path(f"out/{ACCOUNT}/role/linked").symlink_to(logs / "mine")
    for index_json in (rows, {"a": 1}, "{", 3):
        write("out/index.json", index_json)
        ok("propose", "--trail", "logs", "--principal", USER_ARN, "-o", "out")
        assert [name for name in kept if Path(name).read_text("utf-8") != "mine"] == []


_UP = f"arn:aws:iam::{ACCOUNT}:role/../../../../escaped/.././Shop"


@pytest.mark.parametrize(
    "arn",
    [_UP, f"arn:aws:iam::{ACCOUNT}:role/..", f"arn:aws:iam::{ACCOUNT}:user//etc//passwd",
     f"arn:aws:iam::{ACCOUNT}:role/a\x00b\\..\\c"],
)  # fmt: skip
def test_a_path_of_a_role_never_leads_out_of_the_folder(logs: Path, arn: str) -> None:
    session = role_session()
    session["sessionContext"]["sessionIssuer"]["arn"] = arn
    identity = user(arn) if ":user/" in arn else session
    write("logs/good.json.gz", packed(delivered(s3_get(1, "a", userIdentity=identity))))
    write("deep/er/out/keep", "")
    before = propose_files(".")
    ok("propose", "--trail", "logs", "--all", "-o", "deep/er/out")
    new = sorted(set(propose_files(".")) - set(before))
    assert len(new) == 5, new
    assert all(name.startswith("deep/er/out/") for name in new)
    assert all(".." not in Path(name).parts for name in new)


def test_names_with_control_characters_are_not_printed(logs: Path) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/\x1b[2J\x07evil\r\u202eShop"
    session = role_session()
    session["sessionContext"]["sessionIssuer"]["arn"] = arn
    write("logs/good.json.gz", packed(delivered(s3_get(1, "a", userIdentity=session))))
    write("p.json", policy(ALLOW_GET))
    write("none.json", policy({"Sid": "\x1b[2J", "Effect": "Deny", "Action": "s3:\x1b[2J",
                               "Resource": "\x1b\u202e"}))  # fmt: skip
    shown = [
        ok("propose", "--trail", "logs", "--all", "-o", "out"),
        ok("propose", "--trail", "logs", "--all"),
        *(ok("propose", "--trail", "logs", "--principal", arn, "--output", form)
          for form in ("text", "markdown", "json", "terraform", "cloudformation")),
        pare("propose", "--trail", "logs", "--principal", f"arn:aws:iam::{ACCOUNT}:role/x/"
             + arn.rpartition("/")[2]),
        pare("propose", "--trail", "logs", "--principal", "\x1b[2J"),
        ok("replay", "--trail", "logs", "--principal", arn, "--policy", "none.json", code=1),
        ok("diff", "p.json", "none.json", code=1),
        ok("diff", "none.json", "p.json", "--format", "markdown", code=1),
        ok("diff", "none.json", "p.json", "--format", "json", code=1),
    ]  # fmt: skip
    for result in shown:
        for character in "\x1b\x07\r\u202e":
            assert character not in result.output, result.output
    assert "\x1b" not in Path("out/index.csv").read_text("utf-8")


# --- replay and diff ------------------------------------------------------------------------------


def test_replay_says_that_all_is_still_allowed(logs: Path) -> None:
    write("p.json", policy(ALLOW_GET))
    result = ok("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json")
    assert "1 of 1 observed use" in result.stdout
    assert "(2 of 2 calls)" in result.stdout


def test_replay_names_what_would_be_refused_and_where_it_is_recorded(logs: Path) -> None:
    write("p.json", policy({**ALLOW_GET, "Resource": "arn:aws:s3:::other/*"}))
    replay = ("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json")
    result = ok(*replay, code=1)
    assert "NOT ALLOWED  s3:GetObject" in result.stdout
    assert "2 calls" in result.stdout
    assert "last 2026-11-21T10:15:00Z in good.json.gz" in result.stdout
    certificate = json.loads(ok(*replay, "--format", "json", code=1).stdout)
    assert certificate["complete"] is False
    assert certificate["counterexamples"][0]["action"] == "s3:GetObject"


def test_replay_is_not_complete_where_it_cannot_be_decided(logs: Path) -> None:
    condition = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    write("p.json", policy({**ALLOW_GET, "Condition": condition}))
    result = ok("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json", code=1)
    assert "UNDECIDED" in result.stdout
    assert "aws:SourceIp is not in the record" in result.stdout


@pytest.mark.parametrize("option", ["--boundary", "--limits"])
def test_replay_within_a_boundary_and_limits(logs: Path, option: str) -> None:
    write("p.json", policy(ALLOW_GET))
    write("b.json", policy({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}))
    result = ok("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json",
                option, "b.json", code=1)  # fmt: skip
    assert "NOT ALLOWED" in result.stdout


def test_replay_takes_all_policies_of_a_folder_together(logs: Path) -> None:
    write("out/policy-1.json", policy({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}))
    write("out/policy-2.json", policy(ALLOW_GET))
    for arn in (ROLE_ARN, USER_ARN):
        ok("replay", "--trail", "logs", "--principal", arn, "--policy", "out")


@pytest.mark.parametrize("form", ["text", "json"])
def test_replay_of_refused_calls_only_is_no_success(logs: Path, form: str) -> None:
    write("logs/good.json.gz", packed(delivered(RECORDS[3])))
    write("p.json", policy(ALLOW_GET))
    replay = ("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "p.json")
    message = refused(*replay, "--format", form, code=3)
    assert f"Nothing to replay: no allowed call of {ROLE_ARN} was recorded." in message

    unmapped = record(40, "notaservice", "DoNothing", requestParameters=None)
    write("logs/good.json.gz", packed(delivered(RECORDS[3], unmapped)))
    assert "1 operation maps to no known action: notaservice" in refused(*replay, code=3)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_diff_tells_by_its_exit_code_whether_policies_differ(logs: Path, form: str) -> None:
    write("old.json", policy({**ALLOW_GET, "Action": ["s3:GetObject", "s3:PutObject"]}))
    write("new.json", policy(ALLOW_GET))
    ok("diff", "old.json", "old.json", "--format", form)
    for pair in (("old.json", "new.json"), ("new.json", "old.json")):
        assert "PutObject" in ok("diff", *pair, "--format", form, code=1).stdout


# --- for programs ---------------------------------------------------------------------------------


def test_json_on_standard_output_is_all_there_is(logs: Path) -> None:
    write("old.json", policy(ALLOW_GET))
    write("new.json", policy({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}))
    for arguments, code in (
        (("diff", "old.json", "new.json", "--format", "json"), 1),
        (("replay", "--trail", "logs", "--principal", ROLE_ARN, "--policy", "old.json",
          "--format", "json"), 0),
        (("propose", "--trail", "logs", "--principal", ROLE_ARN, "--output", "json"), 0),
    ):  # fmt: skip
        result = ok(*arguments, code=code)
        assert isinstance(json.loads(result.stdout), dict)
        assert result.stderr == ""


def _run(out: Path, *arguments: str, seed: str) -> dict[str, bytes]:
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "pare.cli", "policy", "propose", *arguments, "-o", str(out)],
        check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    return propose_files(out)


def test_the_same_bytes_whatever_the_hash_seed_and_the_jobs(logs: Path) -> None:
    for number in range(10, 16):
        write(f"logs/{number}.json.gz", packed(delivered(*(s3_get(number * 10 + i, f"k{i}")
                                                           for i in range(5)))))  # fmt: skip
    trail = ("--trail", str(logs / "logs"), "--all")
    first = _run(logs / "one", *trail, "--jobs", "1", seed="1")
    assert len(first) == 8
    assert _run(logs / "two", *trail, "--jobs", "2", seed="2") == first


@pytest.mark.parametrize("kind", ["data-platform-role", "user-with-groups"])
def test_the_examples_are_the_same_bytes_whatever_the_hash_seed(kind: str, tmp_path: Path) -> None:
    folder = GOLDEN / kind
    arguments = ("--activity", str(folder / "activity.ndjson"), "--all",
                 "--current", str(folder / "current.json"),
                 "--output", "terraform", "--output", "markdown")  # fmt: skip
    first = _run(tmp_path / "one", *arguments, seed="1")
    assert _run(tmp_path / "two", *arguments, seed="2") == first


# --- shared roles ---------------------------------------------------------------------------------


def test_sessions_of_a_role_alone_and_of_one_with_two_uses(logs: Path) -> None:
    alone = ok(
        "sessions", "--trail", "logs", "--principal", ROLE_ARN
    )  # fmt: skip
    assert "there is nothing to tell apart" in alone.stdout
    write("logs/more.json.gz", packed(delivered(*(
        record(100 + 10 * i + n, source, name, userIdentity=role_session(f"{who}-{i}"))
        for i in range(2)
        for n, (who, source, name) in enumerate((
            ("reader", "ec2", "DescribeVpcs"), ("reader", "ec2", "DescribeSubnets"),
            ("writer", "iam", "ListRoles"), ("writer", "iam", "ListUsers"),
        ))
    ))))  # fmt: skip
    split = ("sessions", "--trail", "logs", "--principal", ROLE_ARN)
    assert "own" in ok(*split, code=1).stdout
    assert isinstance(json.loads(ok(*split, "--format", "json", code=1).stdout), dict)


def test_sessions_of_a_role_that_is_not_there(logs: Path) -> None:
    asked = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    message = refused("sessions", "--trail", "logs", "--principal", asked, code=3)
    assert asked in message


def test_sessions_of_an_activity_file_or_a_user(logs: Path) -> None:
    CliRunner().invoke(main, ["activity", "logs", "-o", "a.ndjson.gz"])
    message = refused("sessions", "--trail", "a.ndjson.gz", "--principal", ROLE_ARN, code=2)
    assert "a.ndjson.gz: an activity file does not tell sessions apart." in message
    for asked in (USER_ARN, "*/ann"):
        message = refused("sessions", "--trail", "logs", "--principal", asked, code=2)
        assert f"{USER_ARN} is no role" in message
