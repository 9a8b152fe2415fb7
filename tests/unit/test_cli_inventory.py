"""``pare inventory``, ``last-accessed`` and ``explain`` on files, as people run them."""

from __future__ import annotations

import csv
import fnmatch
import gzip
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pare.cli import main
from tests.unit.inventory import row_builders as build
from tests.unit.inventory import snapshot_folder as folder

if TYPE_CHECKING:
    from click.testing import Result

HOSTILE = "\x1b]0;owned\x07"
EXPORT = f"arn:aws:iam::{build.ACCOUNT}:role/app/LegacyExport"
DEPLOY = f"arn:aws:iam::{folder.OTHER_ACCOUNT}:role/ci/Deploy"
OLD = f"arn:aws:iam::{folder.UNKNOWN_ACCOUNT}:role/OldWorker"
GONE = f"arn:aws:iam::{build.ACCOUNT}:role/Retired"
IDLE = {
    "cls": "disable",
    "status": "idle",
    "idle_days": 124,
    "owner": None,
    "owner_shown": "security@example.com",
    "tags": {},
    "reasons": [{"code": "IDLE", "values": {"days": 124, "date": "2026-06-30", "source": "role",
                                            "what": ""}}],
    "last_use": build.last_use(
        at="2026-06-30T10:00:00Z", sources={"role": "2026-06-30T10:00:00Z", "service": None}
    ),
    "plans": [{"what": "principal", "announced_on": "2026-10-01", "disable_on": "2026-10-31",
               "disabled_on": None, "delete_on": None, "times_announced": 2}],
    "change": "changed",
    "changes": ["class"],
}  # fmt: skip
UNKNOWN_USE = {
    "cls": "review",
    "status": "unknown",
    "idle_days": None,
    "reasons": [{"code": "USE_UNKNOWN", "values": {"sources": "service"}}],
    "issues": [{"code": "NO_MFA", "values": {}}],
    "last_use": build.last_use(at=None, source=None, sources={"password": None},
                               unknown=["service"], since=None),
    "unused_services": None,
    "unused_actions": None,
}  # fmt: skip


def rows() -> list[Any]:
    return [
        build.row(),
        build.row(EXPORT, **IDLE),
        build.row(build.USER, **UNKNOWN_USE),
        build.row(DEPLOY, cls="narrow", owner_shown=f"Ci{HOSTILE}",
                  reasons=[{"code": "ADMINISTRATOR", "values": {"policy": HOSTILE}}]),
    ]  # fmt: skip


def infos() -> list[Any]:
    return [
        build.last_accessed(
            build.service_use(
                "ec2",
                used={
                    "RunInstances": "2026-10-30T08:00:00Z",
                    "StopInstances": "2026-09-01T08:00:00Z",
                },
                unused=["CreateVpc"],
                tracked=3,
            ),
            build.service_use("kms", used={}, unused=None, tracked=0),
            build.unused_service("s3"),
        ),
        build.last_accessed(arn=build.USER, error="LastAccessedError"),
    ]


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two periods, in which the commands are run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    head = folder.head(
        [
            folder.account(gone=folder.ref(f"work=run/account={build.ACCOUNT}/gone.ndjson.gz")),
            folder.account(folder.OTHER_ACCOUNT, name="tools"),
            folder.unknown_account(),
        ]
    )
    found = tmp_path / "inventory"
    folder.write(found / "period=2026-11", folder.objects(head, rows(), infos()))
    folder.write(
        found,
        {
            f"period=2026-11/work=run/account={build.ACCOUNT}/gone.ndjson.gz": folder.packed(
                [build.row(GONE, period="2026-10")]
            ),
            f"period=2026-10/work=old/account={folder.UNKNOWN_ACCOUNT}/rows.ndjson.gz":
                folder.packed([build.row(OLD, period="2026-10")]),
        },
    )  # fmt: skip
    return found


def pare(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)


def ok(*arguments: str | Path, code: int = 0, stdin: str = "") -> Result:
    result = pare(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    return result


def shown(*arguments: str | Path) -> list[str]:
    """Return the names of the principals that a JSON list has, in its order."""
    answer = json.loads(ok("inventory", "show", "--format", "json", *arguments).stdout)
    return [row["principal_arn"].rpartition("/")[2] for row in answer["rows"]]


# --- inventory show -------------------------------------------------------------------------------


def test_show_lists_the_gravest_first_and_names_the_unknown_account(snapshot: Path) -> None:
    result = ok("inventory", "show", "--snapshot", snapshot)

    lines = result.stdout.splitlines()
    assert lines[0].split() == ["CLASS", "STATUS", "LAST", "USE", "PLANNED", "PRINCIPAL", "OWNER",
                                "WHY"]  # fmt: skip
    assert [line.split()[0] for line in lines[1:5]] == ["disable", "narrow", "review", "keep"]
    assert "2026-06-30  disable 2026-10-31  orders role/app/LegacyExport" in lines[1]
    assert "Not used for 124 days" in lines[1]
    assert "none known" in lines[3]
    assert (
        "4 of 4 users and roles, 1 of them unused: 1 disable, 1 narrow, 1 review, 1 keep."
        in result.stdout
    )
    assert "1 account could not be read and is not in this list:" in result.stdout
    assert "  777788889999 legacy: MemberAccountError: " in result.stdout
    assert "Last read in 2026-10." in result.stdout


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    result = ok("inventory", "show", "--snapshot", snapshot, "--class", "keep")

    table = result.stdout.split("\n\n")[0].splitlines()
    assert len(table) == 2
    assert all(len(line) <= max(columns, 60) for line in table)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["LegacyExport", "Deploy", "alice", "OrdersApi"]),
        (("--stale",), ["LegacyExport"]),
        (("--class", "narrow", "--class", "keep"), ["Deploy", "OrdersApi"]),
        (("--status", "unknown"), ["alice"]),
        (("--kind", "person"), ["alice"]),
        (("--kind", "Person"), ["alice"]),
        (("--class", "NARROW", "--class", "Keep"), ["Deploy", "OrdersApi"]),
        (("--status", "Unknown"), ["alice"]),
        (("--owner", "SECURITY"), ["LegacyExport"]),
        (("--owner", "orders@*"), ["alice", "OrdersApi"]),
        (("--account", "tools"), ["Deploy"]),
        (("--account", folder.OTHER_ACCOUNT), ["Deploy"]),
        (("--account", "order*"), ["LegacyExport", "alice", "OrdersApi"]),
        (("--issue", "no_mfa"), ["alice"]),
        (("--changed",), ["LegacyExport"]),
        (("--sort", "principal"), ["LegacyExport", "OrdersApi", "alice", "Deploy"]),
        (("--sort", "idle", "--limit", "2"), ["LegacyExport", "OrdersApi"]),
        (("--stale", "--class", "keep"), []),
    ],
)
def test_each_filter_and_order(
    snapshot: Path, arguments: tuple[str, ...], expected: list[str]
) -> None:
    assert shown("--snapshot", snapshot, *arguments) == expected


def test_what_is_kept_on_purpose_is_idle_and_not_stale(snapshot: Path) -> None:
    kept = build.row(EXPORT, **IDLE, is_unused=False)
    Path("rows.ndjson").write_text(json.dumps(kept) + "\n" + json.dumps(build.row()))

    assert shown("--snapshot", "rows.ndjson", "--stale") == []
    assert shown("--snapshot", "rows.ndjson", "--status", "idle") == ["LegacyExport"]
    text = ok("inventory", "show", "--snapshot", "rows.ndjson").stdout
    assert "2 of 2 users and roles, 0 of them unused: 1 disable, 1 keep." in text


def test_json_is_whole_rows_with_the_unknown_accounts(snapshot: Path) -> None:
    answer = json.loads(
        ok("inventory", "show", "--snapshot", snapshot, "--stale", "--format", "json").stdout
    )

    assert answer["rows"] == [build.row(EXPORT, **IDLE)]
    assert (answer["period"], answer["principals"], answer["matching"]) == ("2026-11", 4, 1)
    assert answer["unknown_accounts"] == [
        {
            "account_id": folder.UNKNOWN_ACCOUNT,
            "name": "legacy",
            "error": "MemberAccountError",
            "message": "sts:AssumeRole in account 777788889999: AccessDenied",
            "last_read": "2026-10",
        }
    ]


def test_what_changed_names_what_is_gone(snapshot: Path) -> None:
    text = ok("inventory", "show", "--snapshot", snapshot, "--changed").stdout
    other = ok(
        "inventory", "show", "--snapshot", snapshot, "--changed", "--account", "tools"
    ).stdout
    answer = json.loads(
        ok("inventory", "show", "--snapshot", snapshot, "--changed", "--format", "json").stdout
    )

    assert "Gone since 2026-10:\n  orders role/Retired\n" in text
    assert "Gone" not in other
    assert [row["principal_arn"] for row in answer["gone"]] == [GONE]
    assert "Gone" not in ok("inventory", "show", "--snapshot", snapshot).stdout


def test_what_is_unknown_in_an_account_that_was_read_is_said(snapshot: Path) -> None:
    nameless = f"arn:aws:iam::{build.ACCOUNT}:role/Shy"
    unknown = [f"{nameless}: nothing is known of it but its name", f"credential report{HOSTILE}"]
    counts = {"root_access_keys": 1, "root_without_mfa": 2}
    head = folder.head([folder.account(unknown=unknown)], counts=counts)
    folder.write(snapshot / "period=2026-11", {"snapshot.json": head})

    text = ok("inventory", "show", "--snapshot", snapshot).stdout
    answer = json.loads(ok("inventory", "show", "--snapshot", snapshot, "--format", "json").stdout)

    assert "Of 1 account not everything could be read:" in text
    assert f"  {build.ACCOUNT} orders: {nameless}: nothing is known of it but its name" in text
    assert "Root users, who are not in this list: 1 access key, 2 without MFA." in text
    (account,) = answer["partly_unknown_accounts"]
    assert account["unknown"] == unknown
    lost = ok("explain", nameless, "--snapshot", snapshot, code=3)
    assert "listed it and did not tell more" in lost.stderr


def test_csv_has_the_rows_and_says_the_unknown_account_beside_them(snapshot: Path) -> None:
    result = ok("inventory", "show", "--snapshot", snapshot, "--stale", "--format", "csv")

    table = list(csv.reader(result.stdout.lstrip("\ufeff").splitlines()))
    assert len(table) == 2
    assert EXPORT in table[1]
    assert "777788889999 legacy" in result.stderr


def test_what_a_terminal_would_obey_is_taken_out_of_the_names_offered(snapshot: Path) -> None:
    (file,) = snapshot.rglob("snapshot.json")
    head = json.loads(file.read_text())
    head["accounts"][0]["name"] = "orders\x1b]0;owned\x07"
    file.write_text(json.dumps(head))

    result = ok("inventory", "show", "--snapshot", snapshot, "--account", "shop\x1b[2J", code=2)

    assert "orders\ufffd]0;owned\ufffd" in result.stderr
    assert "\x1b" not in result.stderr


def test_an_account_that_is_not_there_is_wrong_use(snapshot: Path) -> None:
    result = ok("inventory", "show", "--snapshot", snapshot, "--account", "shop", code=2)

    assert "There is no account shop in this inventory. It has legacy, orders, tools." in (
        result.stderr
    )


@pytest.mark.parametrize("name", ["principals.ndjson.gz", ""])
def test_a_snapshot_is_a_file_or_a_folder(snapshot: Path, name: str) -> None:
    assert len(shown("--snapshot", snapshot / "period=2026-11" / name)) == 4


def test_rows_alone_do_and_what_is_not_known_is_said(snapshot: Path) -> None:
    content = gzip.decompress((snapshot / "period=2026-11/principals.ndjson.gz").read_bytes())
    Path("rows.ndjson").write_bytes(content)

    result = ok("inventory", "show", "--snapshot", "rows.ndjson")

    assert "4 of 4 users and roles" in result.stdout
    assert "nothing is known of accounts that could not be read" in result.stdout
    assert f"{build.ACCOUNT} role/app/LegacyExport" in result.stdout


def test_the_period_asked_for_is_shown_or_refused(snapshot: Path) -> None:
    earlier = [build.row(OLD, period="2026-10")]
    folder.write(snapshot / "period=2026-10", {"principals.ndjson.gz": folder.packed(earlier)})

    assert shown("--snapshot", snapshot, "--period", "2026-10") == ["OldWorker"]
    assert len(shown("--snapshot", snapshot)) == 4
    refused = ok("inventory", "show", "--snapshot", snapshot, "--period", "2026-09", code=3)
    assert "There is no snapshot of 2026-09" in refused.stderr
    file = snapshot / "period=2026-11/principals.ndjson.gz"
    refused = ok("inventory", "show", "--snapshot", file, "--period", "2026-10", code=2)
    assert "is of 2026-11, not of 2026-10" in refused.stderr


def test_damaged_lines_are_counted_and_the_rest_is_shown(snapshot: Path) -> None:
    good = json.dumps(build.row()).encode()
    without_class = json.dumps({**build.row(EXPORT), "class": None}).encode()
    Path("rows.ndjson").write_bytes(b"\n".join([good, b"{", b"[1]", without_class, b""]))

    result = ok("inventory", "show", "--snapshot", "rows.ndjson", code=1)

    assert "1 of 1 users and roles" in result.stdout
    assert "3 lines of rows.ndjson could not be read:" in result.stderr
    assert "rows.ndjson, line 2: this is no row of an inventory" in result.stderr
    assert "line 4: members of the row are missing or damaged" in result.stderr


def test_a_file_that_is_cut_off_is_shown_as_far_as_it_goes(snapshot: Path) -> None:
    many = [build.row(f"arn:aws:iam::{build.ACCOUNT}:role/Role{n:04}") for n in range(300)]
    packed = folder.packed(many[:200]) + folder.packed(many[200:])
    Path("rows.ndjson.gz").write_bytes(packed[:-40])

    result = ok("inventory", "show", "--snapshot", "rows.ndjson.gz", "--limit", "1", code=1)

    assert "the file is cut off" in result.stderr
    count = int(result.stdout.split(" users and roles")[0].split()[-1])
    assert 200 <= count < 300


def test_rows_of_an_older_version_are_not_taken_for_todays(snapshot: Path) -> None:
    old = {"account_id": build.ACCOUNT, "principal_arn": build.ROLE, "kind": "role"}
    Path("old.ndjson").write_text(json.dumps(old) + "\n")

    result = ok("inventory", "show", "--snapshot", "old.ndjson", code=3)
    assert "was made by an older Pare, with definition version 1 of a row" in result.stderr

    Path("mixed.ndjson").write_text(json.dumps(old) + "\n" + json.dumps(build.row()) + "\n")
    result = ok("inventory", "show", "--snapshot", "mixed.ndjson", code=1)
    assert "1 of 1 users and roles" in result.stdout
    assert "1 row of these cannot be shown." in result.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x1f\x8bno gzip at all", "the packed content is damaged"),
        (b"no json\n", "this is no row of an inventory"),
        (b"\xff\xfe\x00\n", "this is no row of an inventory"),
    ],
)
def test_where_there_is_nothing_to_show_it_is_exit_code_three(
    snapshot: Path, content: bytes, said: str
) -> None:
    Path("rows.ndjson").write_bytes(content)

    assert said in ok("inventory", "show", "--snapshot", "rows.ndjson", code=3).stderr


def test_a_snapshot_that_is_not_there_is_exit_code_three(snapshot: Path) -> None:
    assert "There is no file or folder 'nowhere'" in (
        ok("inventory", "show", "--snapshot", "nowhere", code=3).stderr
    )
    Path("empty").mkdir()
    assert "no principals.ndjson.gz" in (
        ok("inventory", "show", "--snapshot", "empty", code=3).stderr
    )


def test_a_key_of_the_head_cannot_lead_out_of_the_folder(snapshot: Path) -> None:
    secret = folder.packed([build.row(OLD)])
    folder.write(snapshot.parent, {"secret.ndjson.gz": secret})
    evil = folder.unknown_account(
        known={
            "period": "2026-10",
            "bucket": "b",
            "key": "inventory/period=2026-11/../../secret.ndjson.gz",
        }
    )
    folder.write(snapshot / "period=2026-11", {"snapshot.json": folder.head([evil])})

    result = ok("explain", OLD, "--snapshot", snapshot, code=3)

    assert "could not be read" in result.stderr


# --- inventory report -----------------------------------------------------------------------------


def test_the_report_is_rendered_again_in_each_form(snapshot: Path) -> None:
    for form in ("html", "csv", "ndjson"):
        result = ok("inventory", "report", "--snapshot", snapshot, "--format", form)
        assert f"Wrote inventory-2026-11.{form}" in result.stdout
        assert "777788889999 legacy" in result.stderr

    assert EXPORT in Path("inventory-2026-11.csv").read_text(encoding="utf-8")
    lines = Path("inventory-2026-11.ndjson").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows()
    assert "<html" in Path("inventory-2026-11.html").read_text(encoding="utf-8")


def test_the_page_speaks_the_language_asked_for(snapshot: Path) -> None:
    ok("inventory", "report", "--snapshot", snapshot, "--language", "ja", "-o", "ja.html")

    assert 'lang="ja"' in Path("ja.html").read_text(encoding="utf-8")


def test_the_table_speaks_the_language_asked_for(snapshot: Path) -> None:
    for language, said in (("en", "Not used for 124 days"), ("ja", "最終使用")):
        arguments = ("--format", "csv", "--language", language, "-o", f"{language}.csv")
        ok("inventory", "report", "--snapshot", snapshot, *arguments)
        assert said in Path(f"{language}.csv").read_text(encoding="utf-8")

    assert "Not used for" not in Path("ja.csv").read_text(encoding="utf-8")


def test_a_small_file_is_not_said_to_be_nothing(snapshot: Path) -> None:
    result = ok("inventory", "report", "--snapshot", snapshot, "--format", "csv")

    size = Path("inventory-2026-11.csv").stat().st_size
    assert 0 < size < 50_000
    assert f"Wrote inventory-2026-11.csv ({-(-size // 1000)} KB)." in result.stdout


def test_a_report_is_written_whole_or_not_at_all(snapshot: Path) -> None:
    result = ok("inventory", "report", "--snapshot", snapshot, "-o", "no/such/folder.html", code=3)

    assert "no/such/folder.html cannot be written" in result.stderr


def test_the_page_needs_the_head(snapshot: Path) -> None:
    (snapshot / "period=2026-11/snapshot.json").unlink()

    result = ok("inventory", "report", "--snapshot", snapshot, code=3)

    assert "has no snapshot.json beside it" in result.stderr


# --- last-accessed --------------------------------------------------------------------------------


def test_last_accessed_tells_actions_used_not_used_and_not_tracked(snapshot: Path) -> None:
    result = ok("last-accessed", "OrdersApi", "--snapshot", snapshot)

    text = result.stdout
    assert text.startswith(f"{build.ROLE}\nIAM's last accessed information of 2026-11-01 06:10 UTC")
    assert "ec2: last used 2026-10-31 10:00 UTC in eu-west-1; 2 of 3 tracked actions used" in text
    assert "  2026-10-30 08:00 UTC  RunInstances" in text
    assert "  no use recorded: CreateVpc" in text
    assert "kms: last used 2026-10-31 10:00 UTC in eu-west-1; its actions are not tracked" in text
    assert "s3: no use recorded; 3 tracked actions" in text
    assert text.count("iam:PassRole") == 1


def test_ec2_in_the_last_seven_days(snapshot: Path) -> None:
    arguments = ("--service", "ec2", "--days", "7", "--format", "json")
    answer = json.loads(ok("last-accessed", "orders/OrdersApi", "--snapshot", snapshot,
                           *arguments).stdout)  # fmt: skip

    assert answer["since"] == "2026-10-25T06:10:00Z"
    (service,) = answer["services"]
    assert service["used"] == {"RunInstances": "2026-10-30T08:00:00Z"}
    assert (service["service"], service["earlier"], service["unused"]) == ("ec2", {}, None)
    assert answer["allowed_services"] == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--used",), ["ec2", "kms"]),
        (("--unused",), ["ec2", "s3"]),
        (("--unused", "--days", "400"), ["ec2", "s3"]),
        (("--days", "1"), ["ec2", "kms"]),
        (("--service", "S3"), ["s3"]),
        (("--service", "sqs"), ["sqs"]),
        (("--service", "s3", "--service", "ec2", "--days", "1"), ["ec2", "s3"]),
        (("--service", "ec2", "--service", "sqs", "--unused"), ["ec2", "sqs"]),
    ],
)
def test_each_question(snapshot: Path, arguments: tuple[str, ...], expected: list[str]) -> None:
    found = ok("last-accessed", build.ROLE, "--snapshot", snapshot, "--format", "json", *arguments)

    assert [each["service"] for each in json.loads(found.stdout)["services"]] == expected


ASKED = ("--service", "ec2", "--service", "KMS", "--service", "s3", "--service", "sqs")


@pytest.fixture
def old_use(snapshot: Path) -> Path:
    """Return the snapshot after ec2 was last used in September."""
    old = "2026-09-01T08:00:00Z"
    ec2 = build.service_use("ec2", last_accessed_at=old, used={"RunInstances": old},
                            unused=["CreateVpc"], tracked=2)  # fmt: skip
    info = build.last_accessed(ec2, build.service_use("kms", tracked=0, used={}, unused=None),
                               build.unused_service("s3"))  # fmt: skip
    (part,) = snapshot.glob(f"period=2026-11/work=run/account={build.ACCOUNT}/last_accessed/*")
    part.write_bytes(folder.packed([info]))
    return snapshot


def test_every_service_asked_for_is_answered(old_use: Path) -> None:
    text = ok("last-accessed", build.ROLE, "--snapshot", old_use, *ASKED, "--days", "7").stdout

    assert "\nQuestion: what was used in the 7 days before, since 2026-10-25 06:10 UTC?\n" in text
    answers = " ".join(text.split("?\n\n")[1].split())
    assert answers.startswith(
        "ec2: not used since 2026-10-25 06:10 UTC; last used 2026-09-01 08:00 UTC in eu-west-1; "
        "2 tracked actions "
        "kms: used since 2026-10-25 06:10 UTC; last used 2026-10-31 10:00 UTC in eu-west-1; "
        "its actions are not tracked "
        "s3: no use recorded in the 400 days that IAM keeps; 3 tracked actions "
        "sqs: no identity-based policy of it allows this service, so IAM tells nothing of it "
        "1 of the 3 services"
    )
    assert all(len(line) <= 80 for line in text.splitlines()[2:])
    assert not any(line.startswith("Used") for line in text.splitlines())


def test_what_was_not_used_lists_the_actions(old_use: Path) -> None:
    arguments = ("--service", "ec2", "--days", "7", "--unused")
    text = ok("last-accessed", build.ROLE, "--snapshot", old_use, *arguments).stdout

    assert "Question: what was not used in the 7 days before" in text
    assert "2 of 2 tracked actions not used" in " ".join(text.split())
    assert "2026-09-01 08:00 UTC  RunInstances  (before these days)" in text
    assert "no use recorded: CreateVpc" in text


def test_programs_can_tell_what_is_not_used_from_what_is_not_allowed(old_use: Path) -> None:
    command = ("last-accessed", build.ROLE, "--snapshot", old_use, *ASKED, "--days", "7")
    services = json.loads(ok(*command, "--format", "json").stdout)["services"]
    table = list(csv.DictReader(ok(*command, "--format", "csv").stdout.splitlines()))

    assert [(each["service"], each["is_allowed"], each["is_used"]) for each in services] == [
        ("ec2", True, False), ("kms", True, True), ("s3", True, False), ("sqs", False, False),
    ]  # fmt: skip
    assert services[0]["last_accessed_at"] == "2026-09-01T08:00:00Z"
    assert [(each["service"], each["use"]) for each in table if not each["action"]] == [
        ("ec2", "earlier"), ("kms", "used"), ("s3", "none"), ("sqs", "not allowed"),
    ]  # fmt: skip


def test_where_iam_gave_no_answer_no_service_is_called_not_allowed(snapshot: Path) -> None:
    command = ("last-accessed", "alice", "--snapshot", snapshot, "--service", "sqs")

    assert json.loads(ok(*command, "--format", "json", code=1).stdout)["services"] is None
    assert "allowed" not in ok(*command, "--format", "csv", code=1).stdout
    assert "sqs" not in ok(*command, code=1).stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("ecc2", "There is no service ecc2 in AWS as Pare knows it. Did you mean ec2?"),
        ("dynamo", "Did you mean dynamodb?"),
        ("ec2:RunInstances", "Did you mean ec2"),
        (f"zz{HOSTILE}", "in AWS as Pare knows it."),
    ],
)
def test_a_service_that_aws_does_not_have_is_wrong_use(
    snapshot: Path, asked: str, said: str
) -> None:
    result = ok("last-accessed", build.ROLE, "--snapshot", snapshot, "--service", asked, code=2)

    assert said in result.stderr


def test_a_service_newer_than_the_catalogue_is_one_that_iam_names(snapshot: Path) -> None:
    job = json.loads(json.dumps(AWS_CLI).replace('"ec2"', '"brandnew"'))
    Path("job.json").write_text(json.dumps(job))

    text = ok("last-accessed", build.ROLE, "--file", "job.json", "--service", "BrandNew").stdout

    assert "brandnew: last used 2026-11-19" in text
    result = ok(
        "last-accessed", build.ROLE, "--snapshot", snapshot, "--service", "BrandNew", code=2
    )
    assert "There is no service BrandNew" in result.stderr


@pytest.mark.parametrize(
    "name", ["orders role/app/LegacyExport", "role/app/LegacyExport", "111122223333 role/app/L…t"]
)
def test_names_are_taken_as_mail_and_table_print_them(snapshot: Path, name: str) -> None:
    assert ok("explain", name, "--snapshot", snapshot).stdout.startswith(EXPORT)


def test_live_says_that_it_needs_an_arn(snapshot: Path) -> None:
    result = ok("last-accessed", "OrdersApi", "--live", code=2)

    assert "--live needs the ARN of a user or role" in result.stderr
    assert "must be an ARN" in " ".join(ok("last-accessed", "--help").stdout.split())


def test_last_accessed_as_csv(snapshot: Path) -> None:
    result = ok("last-accessed", build.ROLE, "--snapshot", snapshot, "--format", "csv")

    table = [tuple(line[1:5]) for line in csv.reader(result.stdout.splitlines())][1:]
    assert ("ec2", "", "used", "2026-10-31T10:00:00Z") in table
    assert ("ec2", "CreateVpc", "none", "") in table
    assert ("s3", "", "none", "") in table


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_an_unknown_job_is_unknown_and_not_unused(snapshot: Path, form: str) -> None:
    result = ok("last-accessed", "alice", "--snapshot", snapshot, "--format", form, code=1)

    assert "Unknown (LastAccessedError: the job failed)" in result.output
    if form == "json":
        assert json.loads(result.stdout)["services"] is None


def test_a_principal_of_an_unknown_account_is_unknown(snapshot: Path) -> None:
    result = ok("last-accessed", OLD, "--snapshot", snapshot, code=1)

    assert "Unknown (MemberAccountError: 777788889999 legacy" in result.stdout


def test_a_name_of_several_is_wrong_use_and_they_are_listed(snapshot: Path) -> None:
    for command in ("last-accessed", "explain"):
        result = ok(command, "*e*", "--snapshot", snapshot, code=2)
        assert "names 4 users and roles. Give one of these:" in result.stderr
        assert f"  {EXPORT}" in result.stderr


def test_where_the_files_of_last_accessed_are_missing_it_says_so(snapshot: Path) -> None:
    file = snapshot / "period=2026-11/principals.ndjson.gz"
    Path("alone").mkdir()
    (Path("alone") / file.name).write_bytes(file.read_bytes())

    result = ok("last-accessed", build.ROLE, "--snapshot", "alone", code=3)

    assert "has the rows alone, and no last accessed information" in result.stderr


AWS_CLI = {
    "JobStatus": "COMPLETED",
    "JobCompletionDate": "2026-11-20T10:00:00+00:00",
    "IsTruncated": False,
    "ServicesLastAccessed": [
        {
            "ServiceName": "Amazon EC2",
            "ServiceNamespace": "ec2",
            "LastAuthenticated": "2026-11-19T10:00:00+00:00",
            "LastAuthenticatedEntity": build.ROLE,
            "LastAuthenticatedRegion": "eu-west-1",
            "TrackedActionsLastAccessed": [
                {"ActionName": "RunInstances", "LastAccessedTime": "2026-11-19T10:00:00+00:00",
                 "LastAccessedEntity": build.ROLE},
                {"ActionName": "StopInstances"},
            ],
        }
    ],
}  # fmt: skip


def test_what_the_aws_cli_printed_is_read(snapshot: Path) -> None:
    Path("job.json").write_text(json.dumps(AWS_CLI))

    result = ok("last-accessed", "OrdersApi", "--file", "job.json", "--days", "7")
    piped = ok("last-accessed", "OrdersApi", "--file", "-", "--days", "7",
               stdin=json.dumps(AWS_CLI))  # fmt: skip

    assert result.stdout == piped.stdout
    assert result.stdout.startswith(f"{build.ROLE}\n")
    assert "1 of 2 tracked actions used" in result.stdout
    assert "StopInstances" not in result.stdout


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"JobStatus": "FAILED", "Error": {"Code": "X", "Message": HOSTILE}}, 1, "the job failed"),
        ({"JobStatus": "IN_PROGRESS"}, 3, "The job has not completed"),
        ({"IsTruncated": True}, 3, "Only the first page"),
        ({"JobCompletionDate": "yesterday"}, 3, "damaged"),
        ({"ServicesLastAccessed": [{}]}, 3, "damaged"),
    ],
)
def test_a_job_that_says_nothing_of_the_rest_is_not_read(
    snapshot: Path, changes: dict[str, Any], code: int, said: str
) -> None:
    Path("job.json").write_text(json.dumps({**AWS_CLI, **changes}))

    assert said in ok("last-accessed", build.ROLE, "--file", "job.json", code=code).output


def test_a_file_of_somebody_else_is_wrong_use(snapshot: Path) -> None:
    Path("job.json").write_text(json.dumps(AWS_CLI))

    assert "--file is of" in ok("last-accessed", "Other", "--file", "job.json", code=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("last-accessed", "x", "--used", "--unused"),
        ("last-accessed", "x", "--live", "--file", "job.json"),
        ("last-accessed", "x", "--live"),
        ("last-accessed", "x", "--days", "0"),
        ("inventory", "show", "--period", "2026-13"),
        ("inventory", "show", "--snapshot", "x", "--local"),
        ("inventory", "run", "--period", "2001-01"),
        ("inventory", "show", "--issue", "NO_SUCH"),
    ],
)
def test_wrong_use_is_exit_code_two(snapshot: Path, arguments: tuple[str, ...]) -> None:
    ok(*arguments, code=2)


def test_without_a_box_local_says_how_to_get_one(snapshot: Path) -> None:
    result = ok("inventory", "show", "--local", code=3)

    assert "no emulated organization runs in .demo. Bring it up: `make demo`" in result.stderr


# --- explain --------------------------------------------------------------------------------------


def test_explain_tells_why_with_sources_plan_and_commands(snapshot: Path) -> None:
    text = ok("explain", "LegacyExport", "--snapshot", snapshot).stdout

    assert text.startswith(f"{EXPORT}\nInventory 2026-11, as of 2026-11-01 06:00 UTC\n\nDISABLE: ")
    assert "Not used for 124 days: last on 2026-06-30 (role last used)." in text
    assert "security@example.com (no tag names one: the settings' default)" in " ".join(
        text.split()
    )
    assert "disable user or role on 2026-10-31; announced 2x, first on 2026-10-01" in text
    assert "aws iam" in text
    assert "LegacyExport" in text.split("aws iam", 1)[1]
    assert "Changed: class." in text


def test_explain_says_which_source_gave_no_answer(snapshot: Path) -> None:
    text = ok("explain", build.USER, "--snapshot", snapshot).stdout

    assert "last accessed information  unknown: it gave no answer" in text
    assert "CloudTrail logs            not asked" in text
    assert "How many services are not in use is unknown." in text
    assert "It has a console password and no MFA device." in text


def test_explain_speaks_japanese(snapshot: Path) -> None:
    text = ok("explain", "alice", "--snapshot", snapshot, "--language", "ja").stdout

    assert "使用状況は不明です" in text
    assert "{" not in text


def test_explain_as_json_has_the_row_and_the_sentences(snapshot: Path) -> None:
    found = json.loads(ok("explain", EXPORT, "--snapshot", snapshot, "--format", "json").stdout)

    assert found["row"] == build.row(EXPORT, **IDLE)
    assert found["reasons"][0].startswith("Not used for 124 days")
    assert found["account"] == {"account_id": build.ACCOUNT, "name": "orders", "error": None}
    assert found["commands"]
    assert (found["proposal"], found["findings"]) == (None, None)


def test_explain_a_session_of_a_role(snapshot: Path) -> None:
    session = f"arn:aws:sts::{build.ACCOUNT}:assumed-role/LegacyExport/i-0123"

    assert ok("explain", session, "--snapshot", snapshot).stdout.startswith(EXPORT)


@pytest.mark.parametrize("asked", [OLD, "OldWorker", "legacy/OldWorker"])
def test_of_an_unknown_account_the_last_known_row_is_told(snapshot: Path, asked: str) -> None:
    text = ok("explain", asked, "--snapshot", snapshot, code=1).stdout

    assert text.startswith(f"{OLD}\nInventory 2026-10\nIts account could not be read this time")


@pytest.mark.parametrize(
    ("account_id", "said"),
    [
        ("999999999999", "It was not in the organization then."),
        ("888888888888", "The settings leave it out (account_exclusions)."),
        ("666666666666", "Its state is SUSPENDED: nobody can enter it."),
    ],
)
def test_why_an_account_is_in_no_inventory(snapshot: Path, account_id: str, said: str) -> None:
    accounts = {"888888888888": {"name": "a", "state": "ACTIVE"},
                "666666666666": {"name": "b", "state": "SUSPENDED"}}  # fmt: skip
    folder.write(snapshot, {"period=2026-11/work=run/organization.json": {"accounts": accounts}})

    arn = f"arn:aws:iam::{account_id}:role/X"

    assert said in ok("explain", arn, "--snapshot", snapshot, code=3).stderr


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("arn:aws:iam::999999999999:role/X",
         "account 999999999999 is not in the inventory of 2026-11. "),
        (f"arn:aws:iam::{folder.UNKNOWN_ACCOUNT}:role/X", "is unknown"),
        (f"arn:aws:iam::{build.ACCOUNT}:role/Legacy-Export", f"Did you mean {EXPORT}?"),
        (f"arn:aws:iam::{build.ACCOUNT}:role/Nobody",
         "is none of the 3 users and roles that account 111122223333 orders had on "
         "2026-11-01 06:00 UTC."),
        (GONE, "is gone: it was there in the inventory of 2026-10"),
        ("Retired", "is gone: it was there in the inventory of 2026-10"),
        ("Nobody", "It may be where Pare could not look: account 777788889999 legacy could not "
         "be read: sts:AssumeRole in account 777788889999: AccessDenied. It was last read in "
         "2026-10. `pare"),
        (f"arn:aws:iam::{folder.UNKNOWN_ACCOUNT}:role/X", "pare doctor --only members"),
        (f"No{HOSTILE}", "is none of the 4 users and roles"),
    ],
)  # fmt: skip
def test_what_is_not_there_was_lost_somewhere(snapshot: Path, asked: str, said: str) -> None:
    told = ok("explain", asked, "--snapshot", snapshot, code=3).stderr

    assert said in told
    assert "List accounts" not in told
    assert "Collect principals" not in told


def test_of_many_accounts_that_could_not_be_read_some_are_named(snapshot: Path) -> None:
    accounts = [{**folder.unknown_account(), "account_id": f"99999999999{n}"} for n in range(5)]
    head = folder.head([folder.account(), *accounts])
    folder.write(snapshot / "period=2026-11", {"snapshot.json": head})

    told = ok("explain", "Nobody", "--snapshot", snapshot, code=3).stderr

    assert told.count("could not be read") == 3
    assert "So it is with 2 more accounts." in told


# --- what is promised to programs -----------------------------------------------------------------


def test_every_member_that_programs_see_is_documented(snapshot: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/inventory.md").read_text(encoding="utf-8")
    commands = [
        ("inventory", "show", "--snapshot", snapshot, "--format", "json"),
        ("last-accessed", build.ROLE, "--snapshot", snapshot, "--format", "json"),
        ("explain", build.ROLE, "--snapshot", snapshot, "--format", "json"),
    ]
    names = set(build.row())
    for command in commands:
        answer = json.loads(ok(*command).stdout)
        names |= set(answer) | {name for each in answer.get("services", ()) for name in each}

    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_the_download_brings_what_the_commands_need_and_no_raw_answer(
    snapshot: Path, tmp_path: Path
) -> None:
    """The AWS CLI takes patterns as fnmatch does; of those that match a key, the last one decides.

    https://docs.aws.amazon.com/cli/latest/reference/s3/index.html#use-of-exclude-and-include-filters
    """
    page = (Path(__file__).parents[2] / "docs/inventory.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ {4}(aws s3 cp --recursive .+)$", page, re.MULTILINE)
    patterns = re.findall(r"--(include|exclude) '([^']+)'", line)
    period = snapshot / "period=2026-11"
    work = f"work=run/account={build.ACCOUNT}"
    raw = ("authorization_details.ndjson.gz", "credential_report.csv", "collected.json",
           "result.json", "principals.json", "last_accessed/progress.json")  # fmt: skip
    folder.write(period, {f"{work}/{name}": b"raw" for name in raw})
    folder.write(period, {"work=run/organization.json": {"accounts": {}}, "report.html": b"-"})
    brought = tmp_path / "period=2026-11"
    for file in period.rglob("*"):
        key = str(file.relative_to(period))
        kinds = [kind for kind, pattern in patterns if fnmatch.fnmatchcase(key, pattern)]
        if file.is_file() and kinds[-1:] != ["exclude"]:
            folder.write(brought, {key: file.read_bytes()})

    for command in (
        ("inventory", "show", "--changed"),
        ("inventory", "report", "-o", "-"),
        ("last-accessed", build.ROLE),
        ("explain", build.ROLE),
    ):
        before = ok(*command, "--snapshot", period).stdout
        assert ok(*command, "--snapshot", brought).stdout == before
    for asked in ("arn:aws:iam::999999999999:role/X", GONE):
        told = ok("explain", asked, "--snapshot", brought, code=3).stderr
        assert "It was not in the organization then." in told or "is gone" in told
    assert [file for file in brought.rglob("*") if file.name in map(os.path.basename, raw)] == []
    assert (brought / "report.html").exists()


def test_the_page_names_what_the_address_of_the_report_takes() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/inventory.md").read_text(encoding="utf-8")
    script = (root / "pare/data/inventory_report.js").read_text(encoding="utf-8")
    (state,) = re.findall(r"^  const state = \{(.+?)^  \};", script, re.DOTALL | re.MULTILINE)
    (keys,) = re.findall(r"^  const KEYS = \{(.+?)^  \};", script, re.DOTALL | re.MULTILINE)
    address = page.split("is in the page's address")[1].split("\n\n")[0]

    names = re.findall(r"^    (\w+):", state + keys, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in address] == []


def test_the_page_has_the_defaults_of_the_settings() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/inventory.md").read_text(encoding="utf-8")
    settings = (root / "config/pare.yaml").read_text(encoding="utf-8")
    for name in ("idle_days", "new_days", "key_max_age_days", "narrow_unused_services",
                 "seasonal_weeks", "calls_per_second"):  # fmt: skip
        default = settings.split(f"  {name}: ")[1].split()[0]
        assert f"| `inventory.{name}` | {default} |" in page
