"""A person's own CloudTrail files: whatever they look like, they become an organization."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local.organization import Organization, Role, User, read_organization
from local.trail_import import ImportedTrail, TrailImportError, read_trail
from pare.clock import parse_time
from pare.errors import PareError

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
REAL = Path(__file__).parents[4] / "shared/cloudtrail"
ACCOUNT = "711122223333"
ALLOWED = ("CreateTable", "DescribeTable", "ListTables", "UpdateTable")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app/Worker"


def record(name: str = "DescribeTable", **changes: Any) -> dict[str, Any]:
    """Return a record of a role's call."""
    return {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLEEXAMPLE123:session",
            "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Worker/session",
            "accountId": ACCOUNT,
            "sessionContext": {
                "sessionIssuer": {
                    "type": "Role",
                    "principalId": "AROAEXAMPLEEXAMPLE123",
                    "arn": ROLE,
                    "accountId": ACCOUNT,
                    "userName": "Worker",
                },
                "attributes": {"creationDate": "2024-03-01T10:00:00Z"},
            },
        },
        "eventTime": "2024-03-01T10:15:00Z",
        "eventSource": "dynamodb.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-west-1",
        "requestParameters": {"tableName": "orders"},
        "responseElements": None,
        "eventID": f"00000000-0000-4000-8000-{zlib.crc32(name.encode()):012d}",
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
        **changes,
    }


def user_record(
    arn: str = f"arn:aws:iam::{ACCOUNT}:user/people/ann", **changes: Any
) -> dict[str, Any]:
    """Return a record of a user's call."""
    identity = {
        "type": "IAMUser",
        "principalId": "AIDAEXAMPLEEXAMPLE123",
        "arn": arn,
        "accountId": ACCOUNT,
        "accessKeyId": "AKIAEXAMPLEEXAMPLE12",
        "userName": arn.rpartition("/")[2],
    }
    return record(**{"userIdentity": identity, "eventName": "ListTables", **changes})


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return path


def packed(trail: ImportedTrail) -> list[dict[str, Any]]:
    """Return the records of all its log files."""
    return [r for f in trail.log_files() for r in json.loads(gzip.decompress(f.body))["Records"]]


def principal(trail: ImportedTrail, arn: str) -> Role | User:
    return trail.organization.principal(arn)


def says(trail: ImportedTrail, text: str) -> bool:
    return any(text in note for note in trail.notes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.json", {"Records": [record()]}),
        ("log.json.gz", {"Records": [record()]}),
        ("deep/er/log.json", {"Records": [record()]}),
        ("list.json", [record()]),
        ("single.json", record()),
        ("lines.ndjson", (json.dumps(record()) + "\n\n").encode()),
        ("lines.jsonl.gz", json.dumps(record()).encode() + b"\n"),
        ("documents.json", json.dumps({"Records": [record()]}).encode() + b'\n{"Records": []}'),
        ("bom.json", b"\xef\xbb\xbf" + json.dumps([record()]).encode()),
        ("lookup.json", {"Events": [{"CloudTrailEvent": json.dumps(record())}]}),
        ("twice.json.gz", gzip.compress(json.dumps([record()]).encode(), mtime=0)),
    ],
)
def test_records_are_found_in_every_shape_people_keep_them_in(
    tmp_path: Path, name: str, content: Any
) -> None:
    write(tmp_path, name, content)
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count == 1
    assert trail.unreadable == ()
    assert principal(trail, ROLE).arn == ROLE


def test_a_single_file_may_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "log.json.gz", {"Records": [record()]})
    assert read_trail(path, now=NOW).record_count == 1


def test_two_gzip_members_are_both_read(tmp_path: Path) -> None:
    lines = [json.dumps(record(name)).encode() + b"\n" for name in ("DescribeTable", "ListTables")]
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(lines[0]) + gzip.compress(lines[1]))
    assert read_trail(tmp_path, now=NOW).record_count == 2


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("torn.json.gz", gzip.compress(b'{"Records": []}', mtime=0)[:-9], "cannot be read"),
        (
            "flipped.json.gz",
            gzip.compress(b"x" * 200, mtime=0)[:12] + b"\xff" * 9,
            "cannot be read",
        ),
        ("text.json", b"not json at all", "is not JSON"),
        ("latin.json", '{"Records": "ü"}'.encode("latin-1"), "is not UTF-8 text"),
        ("half.ndjson", json.dumps(record()).encode() + b"\n{oops", "1 of its lines are not JSON"),
    ],
)
def test_an_unreadable_file_is_named_and_the_rest_is_read(
    tmp_path: Path, name: str, body: bytes, reason: str
) -> None:
    write(tmp_path, "good.json", [record("ListTables")])
    (tmp_path / name).write_bytes(body)
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count >= 1
    assert [file.path for file in trail.unreadable] == [name]
    assert reason in trail.unreadable[0].reason


def test_files_beside_the_logs_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, "AWSLogs/711122223333/CloudTrail/eu-west-1/log.json", [record()])
    write(
        tmp_path, "AWSLogs/711122223333/CloudTrail-Digest/eu-west-1/digest.json", {"logFiles": []}
    )
    write(
        tmp_path, "AWSLogs/711122223333/CloudTrail-Insight/i.json", [{"eventCategory": "Insight"}]
    )
    write(tmp_path, "README.md", b"# mine")
    write(tmp_path, "digest.json", {"digestS3Object": "x", "logFiles": []})
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count == 1
    assert trail.unreadable == ()
    assert says(trail, "2 digest, Insights and other files")


@pytest.mark.parametrize(
    "odd",
    [
        {"userIdentity": None},
        {"userIdentity": "root"},
        {"userIdentity": {"type": "AWSService", "invokedBy": "rds.amazonaws.com"}},
        {"userIdentity": {"type": "AWSAccount", "accountId": "123456789012"}},
        {"userIdentity": {"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root"}},
        {"userIdentity": {"type": "AssumedRole", "sessionContext": "gone"}},
        {"userIdentity": {"type": "AssumedRole", "sessionContext": {"sessionIssuer": None}}},
        {"userIdentity": {"type": "IAMUser", "userName": "no-arn"}},
        {"userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::x:user/HIDDEN"}},
        {"userIdentity": {"type": ["IAMUser"]}},
        {"requestParameters": "a text", "responseElements": "a text", "resources": ["a text"]},
        {"awsRegion": None},
        {"awsRegion": "../../etc"},
        {"eventType": None},
        {"errorCode": 7},
        {"eventName": "Half\ud800Surrogate"},
    ],
)
def test_odd_records_are_kept_and_break_nothing(tmp_path: Path, odd: dict[str, Any]) -> None:
    write(tmp_path, "log.json", [record("DescribeTable"), record("ListTables") | odd])
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count == 2
    assert len(packed(trail)) == 2
    assert all(".." not in file.key for file in trail.log_files())
    assert trail.finding_principal_arn == ROLE


@pytest.mark.parametrize("odd", ["", 7, None, [], {}, {"eventName": "X"}, {"eventSource": 1}])
def test_what_is_no_record_is_counted(tmp_path: Path, odd: Any) -> None:
    write(tmp_path, "log.json", [record(), odd])
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count == 1
    assert says(trail, "1 entries are not CloudTrail records")


@pytest.mark.parametrize("time", [None, "", "yesterday", 1709287200, "0001-01-01T00:00:00+14:00"])
def test_a_record_without_a_time_is_kept_and_counted(tmp_path: Path, time: Any) -> None:
    write(tmp_path, "log.json", [record(), record("ListTables", eventTime=time)])
    trail = read_trail(tmp_path, now=NOW)
    assert says(trail, "1 records have no readable eventTime")
    assert [r["eventTime"] for r in packed(trail) if r["eventName"] == "ListTables"] == [time]
    assert {use.action for use in trail.usage} == {"dynamodb:DescribeTable"}


def test_a_record_that_names_no_account_is_left_out_and_counted(tmp_path: Path) -> None:
    lost = record("ListTables", userIdentity=None, recipientAccountId=None)
    write(tmp_path, "log.json", [record(), lost])
    trail = read_trail(tmp_path, now=NOW)
    assert trail.record_count == 1
    assert says(trail, "1 records name no account")


def test_an_unknown_recipient_is_the_callers_account(tmp_path: Path) -> None:
    write(tmp_path, "log.json", [record(recipientAccountId=None)])
    trail = read_trail(tmp_path, now=NOW)
    assert all(f"/{ACCOUNT}/" in file.key for file in trail.log_files())


@pytest.mark.parametrize("content", [None, [], {"Records": []}, {"hello": "world"}])
def test_a_folder_without_records_is_an_error_that_says_what_to_do(
    tmp_path: Path, content: Any
) -> None:
    if content is not None:
        write(tmp_path, "log.json", content)
    with pytest.raises(TrailImportError, match="holds no CloudTrail record") as caught:
        read_trail(tmp_path, now=NOW)
    assert isinstance(caught.value, PareError)
    assert "make demo TRAIL=DIR" in caught.value.what_to_do


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrailImportError, match="is not a folder"):
        read_trail(tmp_path / "nowhere", now=NOW)


def test_principals_become_roles_and_users_of_their_accounts(tmp_path: Path) -> None:
    write(tmp_path, "log.json", [record(), user_record()])
    trail = read_trail(tmp_path, now=NOW)
    account = trail.organization.account(ACCOUNT)
    assert account in trail.organization.workload_accounts
    assert [(r.arn, r.unique_id) for r in account.roles] == [(ROLE, "AROAEXAMPLEEXAMPLE123")]
    assert [(u.name, u.path, len(u.access_keys)) for u in account.users] == [("ann", "/people/", 1)]
    assert account.roles[0].managed_policy_arns == ("arn:aws:iam::aws:policy/AdministratorAccess",)
    assert says(trail, "attached policies are not in a trail")


def test_keys_were_last_used_when_the_trail_shows_it_last(tmp_path: Path) -> None:
    first = user_record(eventTime="2025-03-01T10:00:00Z")
    last = user_record(eventTime="2025-03-04T10:00:00Z")
    newest = record(eventTime="2025-03-10T12:00:00Z")
    write(tmp_path, "log.json", [last, first, newest])
    trail = read_trail(tmp_path, now=NOW)
    (user,) = trail.organization.account(ACCOUNT).users
    (key,) = user.access_keys
    assert (key.last_used_days_ago, key.last_used_service) == (6, "dynamodb")
    assert key.created_days_ago >= 400


def test_nobody_of_the_base_is_exempt_where_it_is_not(tmp_path: Path) -> None:
    write(tmp_path, "log.json", [record()])
    assert read_trail(tmp_path, now=NOW).organization.exemptions == ()


def test_the_base_lends_its_three_accounts(tmp_path: Path) -> None:
    write(tmp_path, "log.json", [record()])
    organization = read_trail(tmp_path, now=NOW).organization
    assert [a.name for a in organization.accounts] == [
        "northwind",
        "security",
        "log-archive",
        f"imported-{ACCOUNT}",
    ]


def test_a_service_linked_role_is_shown_as_such(tmp_path: Path) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/rds.amazonaws.com/AWSServiceRoleForRDS"
    linked = record()
    linked["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = arn
    write(tmp_path, "log.json", [linked])
    trail = read_trail(tmp_path, now=NOW)
    role = principal(trail, arn)
    assert isinstance(role, Role)
    assert role.service_linked == "rds.amazonaws.com"
    assert role.managed_policy_arns == ()
    assert trail.finding_principal_arn is None


def test_a_role_known_by_its_session_only_is_said_to_be_a_guess(tmp_path: Path) -> None:
    bare = record()
    del bare["userIdentity"]["sessionContext"]
    write(tmp_path, "log.json", [bare])
    trail = read_trail(tmp_path, now=NOW)
    assert principal(trail, f"arn:aws:iam::{ACCOUNT}:role/Worker")
    assert says(trail, "the path of 1 roles is not in their records and is made up")


def test_one_name_under_two_paths_is_one_role(tmp_path: Path) -> None:
    bare = record("ListTables", eventTime="2024-03-01T11:00:00Z")
    del bare["userIdentity"]["sessionContext"]
    write(tmp_path, "log.json", [record(), bare])
    trail = read_trail(tmp_path, now=NOW)
    assert [role.arn for role in trail.organization.account(ACCOUNT).roles] == [ROLE]
    assert {use.principal_arn for use in trail.usage} == {ROLE}


def test_another_partition_is_written_as_aws(tmp_path: Path) -> None:
    text = json.dumps([record()]).replace("arn:aws:", "arn:aws-us-gov:")
    write(tmp_path, "log.json", text.encode())
    trail = read_trail(tmp_path, now=NOW)
    assert trail.finding_principal_arn == ROLE
    assert says(trail, "ARNs of another partition")


def test_times_move_as_a_whole_to_end_half_an_hour_before_now(tmp_path: Path) -> None:
    records = [record(), record("ListTables", eventTime="2024-02-28T10:15:00Z")]
    write(tmp_path, "log.json", records)
    trail = read_trail(tmp_path, now=NOW)
    moved = {r["eventName"]: r for r in packed(trail)}
    newest = parse_time(moved["DescribeTable"]["eventTime"])
    assert newest == NOW - timedelta(minutes=30)
    assert newest - parse_time(moved["ListTables"]["eventTime"]) == timedelta(days=2)
    session = moved["DescribeTable"]["userIdentity"]["sessionContext"]
    assert newest - parse_time(session["attributes"]["creationDate"]) == timedelta(minutes=15)
    assert says(trail, "CloudTrail windows are 90 days")


def test_records_older_than_the_window_are_counted_and_do_not_choose_the_principal(
    tmp_path: Path,
) -> None:
    old = [user_record(eventName=n, eventTime="2023-01-01T00:00:00Z") for n in ALLOWED]
    write(tmp_path, "log.json", [record(), *old])
    trail = read_trail(tmp_path, now=NOW)
    assert says(trail, "4 records are more than 90 days older than the newest")
    assert trail.finding_principal_arn == ROLE


def test_files_are_packed_by_account_region_and_day(tmp_path: Path) -> None:
    records = [
        record("DescribeTable"),
        record("ListTables"),
        record("ListTables", awsRegion="us-east-1"),
        record("ListTables", eventTime="2024-02-28T10:15:00Z"),
        record("ListTables", recipientAccountId="722233334444"),
    ]
    write(tmp_path, "log.json", records)
    trail = read_trail(tmp_path, now=NOW)
    keys = [file.key for file in trail.log_files()]
    assert len(keys) == 4
    assert all(key.startswith("AWSLogs/o-") for key in keys)
    assert sum("/us-east-1/" in key for key in keys) == 1
    assert sum("/722233334444/" in key for key in keys) == 1
    assert trail.log_files() == read_trail(tmp_path, now=NOW).log_files()


def test_log_files_take_the_ids_of_the_created_organization(tmp_path: Path) -> None:
    write(tmp_path, "log.json", [record()])
    trail = read_trail(tmp_path, now=NOW)
    created = _created(trail.organization)
    (file,) = trail.log_files(created)
    assert file.key.startswith("AWSLogs/o-created0001/")
    (moved,) = json.loads(gzip.decompress(file.body))["Records"]
    assert moved["userIdentity"]["principalId"] == "AROACREATEDCREATED999:session"


def _created(organization: Organization) -> Organization:
    account = organization.account(ACCOUNT)
    roles = tuple(replace(role, unique_id="AROACREATEDCREATED999") for role in account.roles)
    accounts = tuple(
        replace(a, roles=roles) if a.account_id == ACCOUNT else a for a in organization.accounts
    )
    return replace(organization, organization_id="o-created0001", accounts=accounts)


def test_usage_knows_actions_denials_and_operations_without_an_action(tmp_path: Path) -> None:
    records = [
        record("DescribeTable"),
        record("DeleteTable", errorCode="AccessDeniedException"),
        record("ListTables", errorCode="ThrottlingException"),
        record("ListBuckets", eventSource="s3.amazonaws.com"),
        record("GetFunction20150331v2", eventSource="lambda.amazonaws.com"),
        record("InventedOperation", eventSource="glue.amazonaws.com"),
        record("DescribeAlarms", eventSource="monitoring.amazonaws.com"),
        record("ConsoleLogin", eventSource="signin.amazonaws.com", eventType="AwsConsoleSignIn"),
    ]
    write(tmp_path, "log.json", records)
    usage = read_trail(tmp_path, now=NOW).usage
    assert {(use.service, use.action, use.is_denied) for use in usage} == {
        ("dynamodb", "dynamodb:DescribeTable", False),
        ("dynamodb", "dynamodb:DeleteTable", True),
        ("dynamodb", "dynamodb:ListTables", False),
        ("s3", "s3:ListAllMyBuckets", False),
        ("lambda", "lambda:GetFunction", False),
        ("glue", None, False),
        ("cloudwatch", "cloudwatch:DescribeAlarms", False),
    }


def test_the_finding_is_about_the_role_with_the_most_allowed_operations(tmp_path: Path) -> None:
    other = f"arn:aws:iam::{ACCOUNT}:role/Quiet"
    quiet = [record(name, errorCode="AccessDenied") for name in ALLOWED]
    quiet += [record(name) for name in ("Unheard", "OfThese", "Operations")]
    quiet += [record(name, eventCategory="Data") for name in ("GetItem", "PutItem", "Query")]
    for one in quiet:
        one["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = other
    users = [user_record(eventName=name) for name in ALLOWED]
    write(tmp_path, "log.json", [record(), record("ListTables"), *quiet, *users])
    assert read_trail(tmp_path, now=NOW).finding_principal_arn == ROLE


def test_without_a_role_the_finding_is_about_a_user(tmp_path: Path) -> None:
    sso = record()
    sso["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] = (
        f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef"
    )
    write(tmp_path, "log.json", [sso, user_record()])
    found = read_trail(tmp_path, now=NOW).finding_principal_arn
    assert found == f"arn:aws:iam::{ACCOUNT}:user/people/ann"


def test_an_account_of_the_base_keeps_what_it_has(tmp_path: Path) -> None:
    hub = read_organization().hub_account
    arn = f"arn:aws:iam::{hub.account_id}:user/guest"
    write(tmp_path, "log.json", [user_record(arn, recipientAccountId=hub.account_id)])
    trail = read_trail(tmp_path, now=NOW)
    found = trail.organization.hub_account
    assert found.roles == hub.roles
    assert [user.arn for user in found.users] == [arn]


def test_only_so_many_of_the_newest_records_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.trail_import.MAX_RECORDS", 1)
    for day in (1, 2, 3):
        name = f"a/{ACCOUNT}_CloudTrail_eu-west-1_2024030{day}T1020Z_x.json"
        write(tmp_path, name, [record(f"Op{day}")])
    trail = read_trail(tmp_path, now=NOW)
    assert [r["eventName"] for r in packed(trail)] == ["Op3"]
    assert says(trail, "2 older log files were left alone")


# The real samples.


@pytest.mark.parametrize(
    ("folder", "at_least"),
    [
        ("invictus-ir-aws_dataset", 2_900),
        ("stratus-red-team", 300),
        ("opensearch-catalog", 880),
        ("umccr-cloudtrail-parquet-lambda", 200),
        ("aws-docs", 250),
    ],
)
def test_real_records_are_imported(folder: str, at_least: int) -> None:
    if not (REAL / folder).is_dir():
        pytest.skip(f"{REAL / folder} is not here: the import of real records is not tested")
    trail = read_trail(REAL / folder, now=NOW)
    assert trail.record_count >= at_least
    assert trail.unreadable == ()
    assert sum(file.record_count for file in trail.log_files()) == trail.record_count
    assert trail.finding_principal_arn is not None
    assert principal(trail, trail.finding_principal_arn)


def test_the_invictus_trail_becomes_one_account_with_its_principals() -> None:
    folder = REAL / "invictus-ir-aws_dataset"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: the import of real records is not tested")
    trail = read_trail(folder, now=NOW)
    (account,) = trail.organization.workload_accounts
    assert (len(account.roles), len(account.users)) == (9, 3)
    assert sum(role.service_linked is not None for role in account.roles) == 2
    assert trail.finding_principal_arn is not None
    used = {u.action for u in trail.usage if u.principal_arn == trail.finding_principal_arn}
    assert len(used) >= 5
