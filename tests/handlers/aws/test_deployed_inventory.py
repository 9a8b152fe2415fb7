"""The inventory's commands against a deployed Pare in memory."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from pare.aws.deployed_inventory import DeployedInventory, find_deployment, start_inventory
from pare.aws.findings_table import card_to_item
from pare.aws.tables import PERIOD, PrincipalsTable, ProposalsTable, RunsTable, to_item
from pare.cli import main
from pare.errors import NoInventoryError, NotDeployedError, SnapshotError
from tests.handlers.fake_aws import BUCKET, HUB, REGION
from tests.unit.findings import finding_items
from tests.unit.inventory import row_builders as build
from tests.unit.inventory import snapshot_folder as folder

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
MACHINE = f"arn:aws:states:{REGION}:{HUB}:stateMachine:Inventory"
EXECUTION = MACHINE.replace("stateMachine", "execution")
EXPORT = f"arn:aws:iam::{build.ACCOUNT}:role/app/LegacyExport"
ROOT = "inventory/period=2026-11/"


@pytest.fixture(autouse=True)
def _deployed(aws: FakeAws, evidence: Any, tables: Any) -> None:
    names = {
        "InventoryWorkflowArn": MACHINE,
        "EvidenceBucketName": BUCKET,
        "CardsTableName": "Cards",
        "FindingsTableName": "Findings",
        "PrincipalsTableName": "Principals",
        "ProposalsTableName": "Proposals",
        "RunsTableName": "Runs",
    }
    stack = {
        "StackName": "ParePipeline",
        "CreationTime": NOW,
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in names.items()],
    }
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})
    aws.answer(
        "sfn:StartExecution",
        lambda p: {"executionArn": f"{EXECUTION}:{p['name']}", "startDate": NOW},
    )


def put(files: dict[str, Any], below: str = ROOT) -> None:
    s3 = boto3.client("s3")
    for name, content in files.items():
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        s3.put_object(Bucket=BUCKET, Key=below + name, Body=body)


@pytest.fixture
def period() -> None:
    """The inventory of 2026-11: an account read, one unknown."""
    parts = [
        folder.ref(f"work=run/account={build.ACCOUNT}/last_accessed/part-{n}-0-1.ndjson.gz")
        for n in (1, 2, 3)
    ]
    head = folder.head([folder.account(last_accessed=parts), folder.unknown_account()])
    info = build.last_accessed(build.service_use("ec2"))
    put(folder.objects(head, [build.row(), build.row(EXPORT, cls="disable", status="idle")], []))
    below = f"work=run/account={build.ACCOUNT}/last_accessed/part-3-0-1.ndjson.gz"
    put({below: folder.packed([info]), "report.html": b"<html>", "report.csv": b"table"})
    old = f"arn:aws:iam::{folder.UNKNOWN_ACCOUNT}:role/Old"
    put(
        {"work=old/account=777788889999/rows.ndjson.gz": folder.packed([build.row(old)])},
        "inventory/period=2026-10/",
    )


def inventory(asked: str | None = None) -> DeployedInventory:
    return DeployedInventory(find_deployment(boto3.Session()), asked)


@pytest.fixture
def gets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that were fetched."""
    found: list[str] = []
    fetch = DeployedInventory._get

    def remembered(self: DeployedInventory, ref: Any) -> bytes:
        found.append(ref["key"].removeprefix(ROOT))
        return fetch(self, ref)

    monkeypatch.setattr(DeployedInventory, "_get", remembered)
    return found


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("period")
def test_the_newest_finished_period_is_read(gets: list[str]) -> None:
    put({"work=later/manifest.json": b"[]"}, "inventory/period=2026-12/")

    found = inventory()

    assert [row["principal_arn"] for row in found.rows().rows] == [build.ROLE, EXPORT]
    assert found.period == "2026-11"
    assert found.origin == f"s3://{BUCKET}/{ROOT}"
    assert gets == [
        "inventory/period=2026-12/snapshot.json", "snapshot.json", "principals.ndjson.gz"
    ]  # fmt: skip


@pytest.mark.usefixtures("period")
def test_of_one_account_only_its_own_rows_are_fetched(gets: list[str]) -> None:
    found = inventory("2026-11")

    assert len(found.rows(build.ACCOUNT).rows) == 2
    assert len(found.rows(build.ACCOUNT).rows) == 2
    assert found.rows("000000000000").rows == []
    assert gets == ["snapshot.json", f"work=run/account={build.ACCOUNT}/rows.ndjson.gz"]


def test_before_the_first_inventory_there_is_none() -> None:
    with pytest.raises(NoInventoryError, match="there is no inventory yet"):
        _ = inventory().head
    with pytest.raises(NoInventoryError, match="no inventory of 2026-10 yet"):
        _ = inventory("2026-10").head


def test_a_head_of_an_older_pare_is_named_so() -> None:
    put({"snapshot.json": {"definition_version": 1, "period": "2026-11"}})

    with pytest.raises(SnapshotError, match="was made by an older Pare, with definition version 1"):
        _ = inventory().head


@pytest.mark.usefixtures("period")
def test_rows_that_are_damaged_are_an_error_not_an_empty_list() -> None:
    put({"principals.ndjson.gz": b"\x1f\x8bnothing"})

    with pytest.raises(SnapshotError, match="damaged"):
        inventory().rows()


@pytest.mark.usefixtures("period")
def test_the_principals_table_leads_to_the_part(tables: Any, gets: list[str]) -> None:
    part = f"work=run/account={build.ACCOUNT}/last_accessed/part-3-0-1.ndjson.gz"
    key = {"account_id": build.ACCOUNT, "principal_arn": build.ROLE}
    PrincipalsTable(tables, "Principals").put_all([{**key, "last_accessed": [folder.ref(part)]}])

    found = inventory().last_accessed(build.ACCOUNT, build.ROLE)

    assert found is not None
    assert found["services"] == [build.service_use("ec2")]
    assert gets == ["snapshot.json", part]


@pytest.mark.usefixtures("period")
def test_without_the_table_the_parts_are_looked_through() -> None:
    failed = folder.packed([build.last_accessed(error="ThrottledError")])
    put({f"work=run/account={build.ACCOUNT}/last_accessed/part-1-0-1.ndjson.gz": failed})
    boto3.client("s3").delete_object(
        Bucket=BUCKET,
        Key=f"{ROOT}work=run/account={build.ACCOUNT}/last_accessed/part-2-0-1.ndjson.gz",
    )

    found = inventory().last_accessed(build.ACCOUNT, build.ROLE)
    assert found is not None
    assert found["services"] == [build.service_use("ec2")]
    assert inventory().last_accessed(build.ACCOUNT, EXPORT) is None


@pytest.mark.usefixtures("period")
def test_the_latest_proposal_and_the_active_findings(tables: Any) -> None:
    proposals = ProposalsTable(tables, "Proposals")
    for day in ("01", "21", "11"):
        proposals.put({"principal_arn": EXPORT, "created_at": f"2026-11-{day}T00:00:00Z"})
    found = [
        finding_items.unused(f"f{number}", resource=EXPORT, account_id=build.ACCOUNT,
                             updated_at=f"2026-11-0{number + 1}T00:00:00Z", status=status)
        for number, status in enumerate(("ACTIVE", "ARCHIVED", "ACTIVE"))
    ]  # fmt: skip
    other = finding_items.unused("f9", resource=build.ROLE, account_id=build.ACCOUNT)
    for each in (*found, other):
        tables.put_item(TableName="Findings", Item=to_item(finding_items.item(each)))
    for card in (finding_items.card(*found), finding_items.card(other)):
        tables.put_item(TableName="Cards", Item=card_to_item(card))

    latest = inventory().proposal(EXPORT)

    assert latest is not None
    assert latest["created_at"] == "2026-11-21T00:00:00Z"
    assert inventory().proposal(build.ROLE) is None
    assert [each["finding_id"] for each in inventory().findings(EXPORT)] == ["f2", "f0"]


def test_where_no_pare_is_deployed(aws: FakeAws) -> None:
    aws.mend("cloudformation:DescribeStacks")
    aws.fail("cloudformation:DescribeStacks", "ValidationError", message="does not exist")

    with pytest.raises(NotDeployedError, match="there is no stack ParePipeline"):
        inventory()


def test_an_older_pare_lacks_an_output(aws: FakeAws) -> None:
    aws.mend("cloudformation:DescribeStacks")
    stack = {"StackName": "ParePipeline", "CreationTime": NOW, "StackStatus": "CREATE_COMPLETE"}
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})

    with pytest.raises(NotDeployedError, match="no output EvidenceBucketName"):
        _ = inventory().bucket


# --- starting -------------------------------------------------------------------------------------


def claim(tables: Any, execution: str, *, done: bool) -> None:
    tables.put_item(
        TableName="Runs",
        Item=to_item({"workflow": PERIOD, "run_id": "2026-11", "claimed_by": execution,
                      "done": done}),
    )  # fmt: skip


def start(*, again: bool = False) -> Any:
    deployment = find_deployment(boto3.Session())
    return start_inventory(deployment, period="2026-11", now=NOW, again=again)


def described(aws: FakeAws, status: str) -> None:
    aws.answer(
        "sfn:DescribeExecution",
        {"executionArn": "x", "stateMachineArn": MACHINE, "status": status, "startDate": NOW},
    )


def test_a_month_is_started_once(aws: FakeAws, tables: Any) -> None:
    started = start()

    assert (started.state, started.execution_arn) == (
        "started", f"{EXECUTION}:asked-2026-11-20261122T010203"
    )  # fmt: skip
    (call,) = aws.called("sfn:StartExecution")
    assert json.loads(call["input"]) == {"scheduled_at": "2026-11-15T12:00:00Z"}


@pytest.mark.parametrize(
    ("done", "status", "again", "state"),
    [
        (True, "SUCCEEDED", False, "done"),
        (True, "SUCCEEDED", True, "started"),
        (False, "RUNNING", False, "running"),
        (False, "RUNNING", True, "running"),
        (False, "FAILED", False, "started"),
        (False, "ABORTED", False, "started"),
    ],
)
def test_what_is_done_or_under_way_is_not_started(
    aws: FakeAws, tables: Any, done: bool, status: str, again: bool, state: str
) -> None:
    claim(tables, f"{EXECUTION}:first", done=done)
    described(aws, status)

    started = start(again=again)

    assert started.state == state
    calls = aws.called("sfn:StartExecution")
    assert len(calls) == (state == "started")
    if again and calls:
        assert json.loads(calls[0]["input"])["again"] is True


def test_a_claim_of_an_execution_that_aws_forgot_is_taken_over(aws: FakeAws, tables: Any) -> None:
    claim(tables, f"{EXECUTION}:first", done=False)
    aws.fail("sfn:DescribeExecution", "ExecutionDoesNotExist")

    assert start().state == "started"


def test_the_claim_that_the_workflow_makes_is_the_one_looked_at(aws: FakeAws, tables: Any) -> None:
    runs = RunsTable(tables, "Runs")
    execution = f"{EXECUTION}:first"
    runs.claim(PERIOD, "2026-11", execution=execution, work="w", as_of="2026-11-01T06:00:00Z",
               has_ended=lambda _: False)  # fmt: skip
    described(aws, "RUNNING")
    assert start().state == "running"

    runs.finish(PERIOD, "2026-11", execution=execution)
    assert start().state == "done"


# --- the commands ---------------------------------------------------------------------------------


def pare(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.mark.usefixtures("period")
def test_run_says_what_it_waited_for(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch, tables: Any
) -> None:
    month = f"{datetime.now().astimezone():%Y-%m}"
    head = folder.head([folder.account(), folder.unknown_account()], period=month)
    put({"snapshot.json": head}, f"inventory/period={month}/")
    described(aws, "SUCCEEDED")

    text = pare("inventory", "run", "--wait").stdout
    found = json.loads(pare("inventory", "run", "--wait", "--format", "json").stdout)

    assert text.startswith(f"Started: the inventory of {month}\n  {EXECUTION}:asked-{month}-")
    assert "It ended: SUCCEEDED." in text
    assert f"Inventory {month}: 0 users and roles in 1 account;" in text
    assert "777788889999 legacy" in text
    assert (found["status"], found["state"], found["period"]) == ("SUCCEEDED", "started", month)


def test_run_that_fails_is_exit_code_one(aws: FakeAws) -> None:
    described(aws, "FAILED")

    assert "It ended: FAILED." in pare("inventory", "run", "--wait", code=1).stdout


@pytest.mark.usefixtures("period")
def test_show_and_explain_read_the_deployed_inventory(tables: Any) -> None:
    ProposalsTable(tables, "Proposals").put({
        "principal_arn": EXPORT, "created_at": "2026-11-21T00:00:00Z", "verdict": "review",
        "before_action_count": 90, "after_action_count": 7,
        "reasons": [{"code": "SHORT_WINDOW", "level": "review", "text": "Twelve days were read.",
                     "what_to_do": ""}],
        "proposal": {"bucket": BUCKET, "key": "proposals/x/proposal.json"},
    })  # fmt: skip

    shown = pare("inventory", "show", "--stale").stdout
    text = pare("explain", EXPORT).stdout

    assert "LegacyExport" in shown
    assert "777788889999 legacy" in shown
    assert "review, made 2026-11-21 00:00 UTC" in text
    assert "90 actions today, 7 proposed" in text
    assert "SHORT_WINDOW: Twelve days were read." in text
    assert f"s3://{BUCKET}/proposals/x/proposal.json" in text
    assert f"pare policy start {build.ROLE}" in " ".join(pare("explain", build.ROLE).stdout.split())


@pytest.mark.usefixtures("period")
def test_a_last_known_row_is_told_of_an_unknown_account() -> None:
    text = pare("explain", "legacy/Old", code=1).stdout

    assert "Its account could not be read this time (MemberAccountError)" in text


@pytest.mark.usefixtures("period")
def test_last_accessed_from_the_deployed_inventory() -> None:
    assert "ec2: last used" in pare("last-accessed", "OrdersApi").stdout


@pytest.mark.usefixtures("period")
def test_the_report_is_taken_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    pare("inventory", "report")
    pare("inventory", "report", "--format", "csv", "-o", "a.csv")
    pare("inventory", "report", "--format", "ndjson", "-o", "a.ndjson.gz")
    pare("inventory", "report", "--format", "ndjson", "-o", "a.ndjson")

    assert Path("inventory-2026-11.html").read_bytes() == b"<html>"
    assert Path("a.csv").read_bytes() == b"table"
    lines = gzip.decompress(Path("a.ndjson.gz").read_bytes())
    assert lines == Path("a.ndjson").read_bytes()
    assert len(lines.splitlines()) == 2


@pytest.mark.usefixtures("period")
@pytest.mark.parametrize(("form", "words"), [("csv", "最終使用"), ("html", 'lang="ja"')])
def test_a_language_renders_page_and_table_anew(tmp_path: Path, form: str, words: str) -> None:
    output = tmp_path / f"report.{form}"

    pare("inventory", "report", "--language", "ja", "--format", form, "-o", str(output))

    assert words in output.read_text(encoding="utf-8")


def live(aws: FakeAws, **changes: Any) -> None:
    aws.answer(
        "sts:GetCallerIdentity",
        {"Account": build.ACCOUNT, "Arn": f"arn:aws:iam::{build.ACCOUNT}:root", "UserId": "x"},
    )
    aws.answer("iam:GenerateServiceLastAccessedDetails", {"JobId": "0" * 36})
    ec2 = {
        "ServiceName": "Amazon EC2",
        "ServiceNamespace": "ec2",
        "LastAuthenticated": datetime.now(UTC),
        "TrackedActionsLastAccessed": [{"ActionName": "RunInstances"}],
    }
    aws.answer(
        "iam:GetServiceLastAccessedDetails",
        {"JobStatus": "COMPLETED", "JobCreationDate": NOW, "JobCompletionDate": NOW,
         "ServicesLastAccessed": [ec2], **changes},
    )  # fmt: skip


def test_live_asks_iam_with_the_shells_credentials(aws: FakeAws) -> None:
    live(aws)

    text = pare("last-accessed", build.ROLE, "--live", "--days", "7").stdout

    assert "ec2: last used" in text
    (call,) = aws.called("iam:GenerateServiceLastAccessedDetails")
    assert call == {"Arn": build.ROLE, "Granularity": "ACTION_LEVEL"}


def test_a_live_job_that_fails_is_unknown(aws: FakeAws) -> None:
    live(aws, JobStatus="FAILED", Error={"Code": "NO_LUCK", "Message": "try later"})

    text = pare("last-accessed", build.ROLE, "--live", code=1).stdout

    assert "Unknown (LastAccessedError: the last accessed job for" in text
    assert "NO_LUCK: try later" in text


def test_live_refuses_credentials_of_another_account(aws: FakeAws) -> None:
    result = pare("last-accessed", build.ROLE, "--live", code=2)

    assert f"needs credentials of account {build.ACCOUNT}; these are of {HUB}." in result.stderr
