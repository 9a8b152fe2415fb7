"""`pare findings` against a deployed Pare in memory."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from click.testing import CliRunner

from lambdas.findings import normalize_finding, record_finding
from pare.aws.calls import shell_session
from pare.aws.deployed_findings import DeployedFindings
from pare.aws.deployed_inventory import find_deployment
from pare.aws.findings_table import CardsTable, FindingsTable, card_to_item
from pare.aws.tables import to_item
from pare.cli import main
from pare.findings.card import card_id_of
from pare.findings.normalize import normalize
from pare.findings.view import archiving_of
from tests.finding_terms import finding_terms
from tests.handlers.fake_aws import BUCKET, HUB, REGION
from tests.unit.findings import finding_items as build
from tests.unit.inventory import snapshot_folder as folder

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
ME = f"arn:aws:sts::{HUB}:assumed-role/Security/alice"
OTHER_ID = "22222222-dcba-4444-dcba-444444444444"
REASON = "The partner reads it, contract 2026-17"
TODAY = datetime.now(UTC).date()


def machine(name: str) -> str:
    return f"arn:aws:states:{REGION}:{HUB}:stateMachine:{name}"


@pytest.fixture(autouse=True)
def _deployed(aws: FakeAws, evidence: Any, tables: Any) -> None:
    names = {
        "CardsTableName": "Cards",
        "EvidenceBucketName": BUCKET,
        "FindingsTableName": "Findings",
        "RunsTableName": "Runs",
        **{f"{each}WorkflowArn": machine(each)
           for each in ("Finding", "Notification", "Reconcile")},
    }  # fmt: skip
    stack = {
        "StackName": "ParePipeline",
        "CreationTime": NOW,
        "StackStatus": "CREATE_COMPLETE",
        "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in names.items()],
    }
    put_run("succeeded")
    aws.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})
    aws.answer("sts:GetCallerIdentity", {"Account": HUB, "Arn": ME, "UserId": "x"})
    aws.answer("sfn:ListExecutions", {"executions": []})
    aws.answer(
        "sfn:StartExecution",
        lambda p: {"executionArn": f"{p['stateMachineArn']}:{p['name']}", "startDate": NOW},
    )


def put_run(outcome: str, started_at: str = "2026-11-22T01:00:00Z") -> None:
    run = {"workflow": "reconcile", "run_id": f"{started_at}#x", "started_at": started_at}
    item = to_item({**run, "outcome": outcome})
    boto3.client("dynamodb").put_item(TableName="Runs", Item=item)


@pytest.fixture
def analyzers(aws: FakeAws) -> dict[str, str]:
    """Analyzers that have what the tables have; the value is each finding's status by id."""
    statuses: dict[str, str] = {}

    def update(parameters: dict[str, Any]) -> dict[str, Any]:
        for each in parameters["ids"]:
            if statuses[each] != "RESOLVED":
                statuses[each] = parameters["status"]
        return {}

    def get(parameters: dict[str, Any]) -> dict[str, Any]:
        moment = datetime(2026, 11, 22, 9, tzinfo=UTC)
        return {
            "id": parameters["id"],
            "analyzedAt": moment,
            "createdAt": moment,
            "updatedAt": moment,
            "resource": build.BUCKET,
            "resourceType": "AWS::S3::Bucket",
            "resourceOwnerAccount": build.ACCOUNT,
            "status": statuses[parameters["id"]],
            "findingDetails": [],
            "findingType": "ExternalAccess",
        }

    aws.answer("accessanalyzer:UpdateFindings", update)
    aws.answer("accessanalyzer:GetFindingV2", get)
    return statuses


def put(*found: Finding, statuses: dict[str, str] | None = None, **changes: Any) -> str:
    """Put findings of one resource and their card into the tables; return the card's id."""
    dynamodb = boto3.client("dynamodb")
    for each in found:
        dynamodb.put_item(TableName="Findings", Item=to_item(build.item(each)))
        if statuses is not None:
            statuses[each.finding_id] = each.status
    card = build.card(*found, **changes)
    dynamodb.put_item(TableName="Cards", Item=card_to_item(card))
    return card["card_id"]


def pare(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main, ["findings", *arguments])
    assert result.exit_code == code, result.output
    return result


def listed(*arguments: str) -> Any:
    return json.loads(pare("list", "--format", "json", *arguments).stdout)


def recorded(aws: FakeAws) -> list[dict[str, Any]]:
    """Return the findings that the finding workflow was started with, and takes."""
    starts = aws.called("sfn:StartExecution")
    assert {each["stateMachineArn"] for each in starts} <= {machine("Finding")}
    events = [json.loads(each["input"]) for each in starts]
    for each in events:
        taken = normalize(each, NOW)["finding"]
        assert taken is not None
        sent = each["detail"]["finding"]
        assert (taken["finding_id"], taken["status"]) == (sent["finding_id"], sent["status"])
        assert each["detail"]["asked_by"] == ME
    return [each["detail"]["finding"] for each in events]


def workflow(aws: FakeAws, context: Any) -> None:
    """Let the finding workflow take what it was started with, the last one."""
    start = aws.called("sfn:StartExecution")[-1]
    taken = normalize_finding.lambda_handler(json.loads(start["input"]), context)["finding"]
    record_finding.lambda_handler(
        {"finding": taken, "execution": start["name"], "terms": finding_terms()}, context
    )


def card(card_id: str) -> Any:
    return CardsTable(boto3.client("dynamodb"), "Cards").get(card_id)


def item(finding_id: str) -> Any:
    return FindingsTable(boto3.client("dynamodb"), "Findings").get(finding_id)


# --- list, show -----------------------------------------------------------------------------------


def test_list_has_all_accounts_and_regions_and_names_blind_spots() -> None:
    card_id = put(build.finding(), build.finding(OTHER_ID, region="us-east-1"))
    put(build.public(severity="critical"))
    put(build.blind())

    text = pare("list").stdout
    found = listed()

    assert [each["severity"] for each in found["cards"]] == ["critical", "high", "high"]
    bucket = next(each for each in found["cards"] if each["card_id"] == card_id)
    assert bucket["regions"] == ["eu-west-1", "us-east-1"]
    assert bucket["told"]["message_id"] == "m-1"
    assert "3 cards with 4 findings in 2 accounts and 3 Regions: 1 critical, 2 high." in text
    assert "1 blind spot: what is open there is not in this list.\n  ap-northeast-1: " in text
    assert [each["region"] for each in found["blind_spots"]] == ["ap-northeast-1"]


def test_only_open_ones_are_listed_unless_asked() -> None:
    put(build.finding(), build.finding(OTHER_ID, status="ARCHIVED"))
    put(build.public(status="RESOLVED"))
    put(build.unused(is_deleted=True))

    assert [len(each["findings"]) for each in listed()["cards"]] == [1]
    assert listed("--all")["counts"]["findings"] == 4
    assert listed("--status", "archived")["cards"][0]["findings"][0]["finding_id"] == OTHER_ID
    assert [each["resource"] for each in listed("--status", "UNWATCHED")["cards"]] == [build.ROLE]
    assert "1 finding of analyzers that are gone: whether they are open" in pare("list").stdout


def test_many_pages_are_read(aws: FakeAws) -> None:
    for number in range(30):
        put(build.finding(f"{number:08}", resource=f"arn:aws:s3:::b-{number}",
                          tags=(("x", "y" * 60_000),)))  # fmt: skip

    result = pare("list", "--format", "json")

    assert json.loads(result.stdout)["counts"]["cards"] == 30
    assert "findings read" in result.stderr


def test_a_finding_of_an_earlier_pare_has_a_card_of_its_own() -> None:
    old = build.item(build.finding())
    stored: dict[str, Any] = {**old, "finding": dict(old["finding"])}
    for name in ("source", "exposure", "severity", "values", "tags", "access_levels"):
        del stored["finding"][name]
    del stored["card_id"], stored["archived"]
    boto3.client("dynamodb").put_item(TableName="Findings", Item=to_item(stored))

    (row,) = listed()["cards"]

    assert row["card_id"] == card_id_of(build.ACCOUNT, build.BUCKET)
    assert row["severity"] == "unknown"
    assert "none: an older Pare recorded it" in pare("show", build.FIRST_ID).stdout


def test_a_finding_that_nobody_judged_does_not_pass_for_harmless() -> None:
    put(build.finding(severity=None))

    pare("list", "--fail-on", "critical", code=1)


@pytest.mark.parametrize(("bar", "code"), [("medium", 1), ("high", 1), ("critical", 0)])
def test_fail_on_is_an_exit_code(bar: str, code: int) -> None:
    put(build.finding())

    pare("list", "--fail-on", bar, code=code)
    pare("list", "--fail-on", bar, "--region", "us-east-1", code=0)


def test_before_a_reconcile_succeeded_nothing_passes_as_green(aws: FakeAws) -> None:
    put(build.finding(severity="low"))
    assert listed()["reconciled_at"] == "2026-11-22T01:00:00Z"
    put_run("failed")  # the same run

    told = pare("list")
    asked = pare("list", "--fail-on", "high", "--format", "csv", code=1)

    said = "Blind spots are not known yet: no reconcile has succeeded."
    assert said in told.stdout
    assert said in asked.stderr
    assert "--fail-on high: unknown, because" in asked.stderr
    assert listed()["reconciled_at"] is None


def test_that_the_last_reconcile_could_not_be_read_is_said(aws: FakeAws) -> None:
    put(build.finding(severity="low"))
    aws.fail("dynamodb:Query", "AccessDeniedException")

    result = pare("list", "--fail-on", "high", code=1)

    assert "could not be read: dynamodb:Query on Runs: AccessDeniedException" in result.stdout
    assert "unknown" in result.stderr


def test_what_is_no_region_is_refused_and_one_never_seen_is_said() -> None:
    put(build.finding())

    error = pare("list", "--region", "mars-1", "--fail-on", "high", code=2).stderr

    assert "There is no Region mars-1. Findings are recorded of: eu-west-1." in error
    assert "nobody watches it unless" in pare("list", "--region", "sa-east-1").stderr


def test_a_name_without_a_star_is_no_resource() -> None:
    put(build.finding())

    error = " ".join(pare("list", "--resource", "demo-bucket", code=2).stderr.split())

    assert "Give a whole ARN, or a part with * around it: --resource '*demo-bucket*'" in error
    other = pare("list", "--resource", "arn:aws:s3:::other", "--fail-on", "low")
    assert "no finding was ever recorded about arn:aws:s3:::other" in other.stderr
    assert pare("list", "--resource", "*demo-bucket*").stderr == ""


def test_between_the_request_and_the_table_archiving_was_asked_for() -> None:
    note = {"by": ME, "how": "pare findings archive", "reason": REASON,
            "at": "2026-11-22T08:00:00Z", "expires": None}  # fmt: skip
    put(build.finding())
    stored = to_item(build.item(build.finding(), archived=note))
    boto3.client("dynamodb").put_item(TableName="Findings", Item=stored)

    (row,) = csv.DictReader(pare("list", "--format", "csv").stdout.splitlines())
    page = " ".join(pare("show", build.FIRST_ID).stdout.split())
    ((found,),) = [each["findings"] for each in listed()["cards"]]

    assert (row["status"], row["archived_by"]) == ("ACTIVE", "")
    assert row["archiving_asked_at"] == "2026-11-22T08:00:00Z"
    assert f"Archiving asked for at 2026-11-22 08:00 UTC by {ME}" in page
    assert "not yet in the table" in page
    assert (found["archived"], found["archiving"]) == (None, note)
    assert "Of 1 finding archiving was asked for" in pare("list").stdout


def test_what_an_exemption_keeps_quiet_is_not_waited_for() -> None:
    note = {"by": ME, "how": "exemption", "reason": REASON, "at": "2026-11-22T08:00:00Z",
            "expires": None}  # fmt: skip

    assert archiving_of(build.item(build.unused(), archived=note)) is None


def test_an_account_in_which_nothing_is_open_any_more_is_known_by_its_name(aws: FakeAws) -> None:
    put(build.finding(status="RESOLVED"))
    put(build.public(account_id=build.HUB, account_name="security"))

    assert listed("--account", "payments", "--fail-on", "high")["cards"] == []
    assert aws.called("organizations:ListAccounts") == []


def test_an_account_that_never_had_a_finding_is_known_to_organizations(aws: FakeAws) -> None:
    there = {"Id": build.ACCOUNT, "Name": "payments", "State": "ACTIVE"}
    aws.answer("organizations:ListAccounts", {"Accounts": [there]})

    assert listed("--account", "payments", "--fail-on", "high")["cards"] == []
    error = " ".join(pare("list", "--account", "paymnts", code=2).stderr.split())
    assert "No account has the name paymnts: payments." in error


def test_a_name_that_cannot_be_looked_up_is_refused(aws: FakeAws) -> None:
    aws.fail("organizations:ListAccounts", "AccessDeniedException")

    error = " ".join(
        pare("list", "--account", "payments", "--fail-on", "high", code=2).stderr.split()
    )

    assert "No account has the name payments: no name is known yet." in error
    assert "AccessDeniedException" in error


def test_by_the_name_of_an_account_what_has_no_name_is_found_too() -> None:
    put(build.finding(account_name=None, severity=None))
    put(build.public())

    pare("list", "--account", "payments", "--fail-on", "critical", code=1)
    assert len(listed("--account", "payments")["cards"]) == 2


@pytest.mark.parametrize(
    "asked", [build.FIRST_ID, "22222222-dcba-4444-dcba-33", "CARD", "CARD[:6]", build.BUCKET]
)
def test_show_takes_ids_beginnings_and_arns(asked: str) -> None:
    card_id = put(build.finding(), build.finding(OTHER_ID, region="us-east-1"))
    asked = {"CARD": card_id, "CARD[:6]": card_id[:6]}.get(asked, asked)

    text = pare("show", asked).stdout
    found = json.loads(pare("show", asked, "--format", "json").stdout)

    assert text.startswith(build.BUCKET)
    assert "us-east-1  ACTIVE  high  ExternalAccess" in text
    assert [each["finding_id"] for each in found["findings"]] == [build.FIRST_ID, OTHER_ID]
    assert found["findings"][0]["history"][0]["news"] == "new"
    assert found["card"]["card_id"] == card_id


def test_a_beginning_of_several_is_refused_with_the_choice() -> None:
    put(build.finding(), build.finding(OTHER_ID, region="us-east-1"))

    error = pare("show", "22222222", code=2).stderr

    assert "names 2" in error
    assert build.FIRST_ID in error
    assert OTHER_ID in error


@pytest.mark.parametrize(("asked", "code"), [("2222", 2), ("99999999", 3), ("arn:aws:s3:::x", 3)])
def test_what_is_not_there(asked: str, code: int) -> None:
    put(build.finding())

    output = pare("show", asked, code=code).output
    assert "Traceback" not in output
    assert "Usage" not in output


# --- archive --------------------------------------------------------------------------------------


def test_one_finding_is_archived_at_its_analyzer_under_my_name(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    here, there = build.finding(), build.finding(OTHER_ID, region="us-east-1")
    card_id = put(here, there, statuses=analyzers)

    result = pare("archive", OTHER_ID, "--reason", REASON)

    assert analyzers == {here.finding_id: "ACTIVE", OTHER_ID: "ARCHIVED"}
    (call,) = [each for each in aws.calls if each.operation == "accessanalyzer:UpdateFindings"]
    assert call.region == "us-east-1"
    assert call.parameters["analyzerArn"] == build.analyzer("us-east-1")
    (seen,) = recorded(aws)
    assert (seen["finding_id"], seen["status"], seen["updated_at"]) == (
        OTHER_ID, "ARCHIVED", "2026-11-22T09:00:00Z",
    )  # fmt: skip
    archived = item(OTHER_ID)["archived"]
    assert (archived["by"], archived["how"], archived["reason"], archived["expires"]) == (
        ME, "pare findings archive", REASON, None,
    )  # fmt: skip
    assert card(card_id)["exemptions"] == []
    assert "1 finding: 1 archived." in result.stdout
    assert "--all-regions" in result.stderr


def test_all_regions_of_the_same_access_and_an_exemption_for_later_ones(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    another = build.finding("77777777", principal=(("AWS", "444455556666"),))
    card_id = put(
        build.finding(), build.finding(OTHER_ID, region="us-east-1"), another, statuses=analyzers
    )

    told = json.loads(
        pare("archive", build.FIRST_ID, "--all-regions", "--reason", REASON, "--format",
             "json").stdout
    )  # fmt: skip

    assert analyzers == {build.FIRST_ID: "ARCHIVED", OTHER_ID: "ARCHIVED", "77777777": "ACTIVE"}
    (exemption,) = card(card_id)["exemptions"]
    in_a_year = f"{TODAY + timedelta(days=365)}"
    assert {key: exemption[key] for key in ("finding_type", "principal", "by", "expires")} == {
        "finding_type": "ExternalAccess",
        "principal": {"AWS": build.OUTSIDE},
        "by": ME,
        "expires": in_a_year,
    }
    assert (told["reason"], told["expires"], told["by"]) == (REASON, in_a_year, ME)
    assert [each["outcome"] for each in told["findings"]] == ["archived", "archived"]
    assert list(card(card_id)["open"]) == ["77777777"]


def test_that_there_is_no_expiry_is_said(analyzers: dict[str, str]) -> None:
    put(build.finding(), statuses=analyzers)

    result = pare("archive", build.FIRST_ID, "--all-regions", "--reason", REASON)

    assert "no --expires was given: the exemption ends in a year, on " in result.stderr


def test_a_region_that_fails_is_said_and_running_it_again_finishes(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    put(build.finding(), build.finding(OTHER_ID, region="us-east-1"), statuses=analyzers)
    aws.mend("accessanalyzer:UpdateFindings")
    aws.fail("accessanalyzer:UpdateFindings", "AccessDeniedException", 403,
             when=lambda p: ":us-east-1:" in p["analyzerArn"], times=1)  # fmt: skip
    aws.answer("accessanalyzer:UpdateFindings",
               lambda p: analyzers.update(dict.fromkeys(p["ids"], p["status"])) or {})  # fmt: skip
    arguments = ("archive", build.BUCKET, "--all-regions", "--reason", REASON)

    first = pare(*arguments, code=3)

    assert re.search(rf"archived +eu-west-1 +{build.FIRST_ID}", first.stdout)
    said = " ".join(first.stdout.split())
    assert re.search(rf"failed us-east-1 {OTHER_ID}: .*AccessDeniedException", said)
    assert "2 findings: 1 archived, 1 failed." in first.stdout
    assert analyzers == {build.FIRST_ID: "ARCHIVED", OTHER_ID: "ACTIVE"}

    pare(*arguments)

    assert set(analyzers.values()) == {"ARCHIVED"}


def test_an_exemption_is_of_the_access_that_was_looked_at_and_nothing_graver(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    """Not of the same principal under another condition, and no graver than what is open."""
    endpoint: Any = {"condition": (("aws:SourceVpce", "vpce-1"),), "severity": "medium"}
    here = build.finding(**endpoint)
    once = build.finding(
        "55555555-dcba-4444-dcba-333333333333",
        region="us-west-2", status="RESOLVED", **(endpoint | {"severity": "critical"}),
    )  # fmt: skip
    card_id = put(here, build.finding(OTHER_ID, region="us-east-1"), once, statuses=analyzers)

    pare("archive", here.finding_id, "--all-regions", "--reason", REASON)

    assert analyzers[OTHER_ID] == "ACTIVE"
    (made,) = card(card_id)["exemptions"]
    assert (made["condition"], made["is_public"], made["severity"]) == (
        {"aws:SourceVpce": "vpce-1"}, False, "medium",
    )  # fmt: skip


def test_where_the_exemption_cannot_be_written_nothing_is_archived(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    put(build.finding(), statuses=analyzers)
    aws.fail("dynamodb:PutItem", "AccessDeniedException")

    result = pare("archive", build.FIRST_ID, "--all-regions", "--reason", REASON, code=3)

    assert analyzers == {build.FIRST_ID: "ACTIVE"}
    assert "AccessDeniedException" in result.stdout
    assert "its exemption could not be written" in " ".join(result.stdout.split())


def test_where_the_workflow_cannot_be_started_it_is_said(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    put(build.finding(), statuses=analyzers)
    aws.mend("sfn:StartExecution")
    aws.fail("sfn:StartExecution", "AccessDeniedException")

    result = pare("archive", build.FIRST_ID, "--reason", REASON, code=3)

    assert analyzers == {build.FIRST_ID: "ARCHIVED"}
    assert "Pare's own tables could not be told" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "found", [build.public(), build.finding(severity="critical"), build.finding(severity=None)],
    ids=["public", "critical", "not judged"],
)  # fmt: skip
def test_what_is_grave_needs_a_yes(found: Finding, analyzers: dict[str, str]) -> None:
    put(found, statuses=analyzers)
    arguments = ("archive", found.finding_id, "--reason", REASON)

    refused = pare(*arguments, code=2)

    assert "Nobody would be told of it any more: add --yes if you mean it." in refused.stderr
    assert "Usage" not in refused.stderr
    assert found.resource in refused.stderr
    assert analyzers == {found.finding_id: "ACTIVE"}
    pare(*arguments, "--yes")
    assert analyzers == {found.finding_id: "ARCHIVED"}


@pytest.mark.parametrize("found", [build.unused(), build.blind()])
def test_the_workflow_takes_what_a_person_archived_of_our_own_and_the_way_back(
    aws: FakeAws, context: Any, found: Finding
) -> None:
    put(found)

    pare("archive", found.finding_id, "--reason", "The yearly audit needs it")
    workflow(aws, context)

    assert item(found.finding_id)["status"] == "ARCHIVED"
    (row,) = listed("--status", "ARCHIVED")["cards"]
    assert row["findings"][0]["archived"]["by"] == ME

    pare("unarchive", found.finding_id)
    workflow(aws, context)

    assert item(found.finding_id)["status"] == "ACTIVE"
    assert item(found.finding_id).get("archived") is None


def test_own_findings_change_in_pares_tables_alone(aws: FakeAws) -> None:
    put(build.unused())

    pare("archive", build.ROLE, "--reason", "The yearly audit needs it")

    (seen,) = recorded(aws)
    assert (seen["finding_id"], seen["status"]) == (build.unused().finding_id, "ARCHIVED")
    assert seen["updated_at"] > build.unused().updated_at
    assert item(seen["finding_id"])["archived"]["by"] == ME


@pytest.mark.parametrize(
    ("at_analyzer", "outcome"), [("RESOLVED", "resolved"), (None, "gone")]
)  # fmt: skip
def test_what_has_ended_meanwhile(
    aws: FakeAws, analyzers: dict[str, str], at_analyzer: str | None, outcome: str
) -> None:
    put(build.finding())
    if at_analyzer:
        analyzers[build.FIRST_ID] = at_analyzer
    else:
        aws.mend("accessanalyzer:UpdateFindings")
        aws.fail("accessanalyzer:UpdateFindings", "ResourceNotFoundException", 404)

    result = pare("archive", build.FIRST_ID, "--reason", REASON)

    assert f"1 finding: 1 {outcome}." in result.stdout
    assert item(build.FIRST_ID)["archived"] is None


def test_what_is_archived_already_is_left(aws: FakeAws, analyzers: dict[str, str]) -> None:
    put(build.finding(status="ARCHIVED"), statuses=analyzers)

    result = pare("archive", build.FIRST_ID, "--reason", REASON)

    assert "it is already archived." in " ".join(result.stdout.split())
    assert aws.called("accessanalyzer:UpdateFindings") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--expires", "2030-01-01"), "only --all-regions makes one"),
        (("--all-regions", "--expires", "2020-01-01"), "is not in the future"),
        (("--all-regions", "--expires", "soon"), "is not a date such as"),
        (("--reason", " \n "), "--reason is empty"),
        (("--reason", "x" * 501), "longer than 500"),
    ],
)
def test_wrong_use_of_archive(arguments: tuple[str, ...], message: str) -> None:
    put(build.finding())

    result = pare("archive", build.FIRST_ID, "--reason", REASON, *arguments, code=2)

    assert message in result.stderr


def ending(**changes: Any) -> Finding:
    values = {"what": "exemption", "reason": REASON, "owner": ME,
              "expires": f"{TODAY + timedelta(days=10)}"}  # fmt: skip
    return build.blind(
        finding_type="ExemptionExpiring", account_id=build.ACCOUNT, resource=build.BUCKET,
        resource_type="AWS::S3::Bucket", values=tuple(sorted((values | changes).items())),
    )  # fmt: skip


@pytest.mark.parametrize("asked", ["ENDING", "BUCKET"])
def test_an_exemption_that_ends_is_extended(
    aws: FakeAws, analyzers: dict[str, str], asked: str
) -> None:
    card_id = put(
        build.finding(status="ARCHIVED"), ending(), statuses=analyzers,
        exemptions=[exemption(expires=f"{TODAY + timedelta(days=10)}")],
    )  # fmt: skip
    asked = {"ENDING": ending().finding_id, "BUCKET": build.BUCKET}[asked]

    later = f"{TODAY + timedelta(days=200)}"
    pare("archive", asked, "--all-regions", "--reason", "Another year", "--expires", later)

    (renewed,) = card(card_id)["exemptions"]
    assert (renewed["finding_type"], renewed["expires"], renewed["reason"]) == (
        "ExternalAccess", later, "Another year",
    )  # fmt: skip
    assert aws.called("accessanalyzer:UpdateFindings") == []


def test_the_end_of_an_exemption_is_not_archived_by_itself(analyzers: dict[str, str]) -> None:
    put(build.finding(status="ARCHIVED"), ending(), statuses=analyzers,
        exemptions=[exemption(expires=f"{TODAY + timedelta(days=10)}")])  # fmt: skip
    put(build.public(status="RESOLVED"))

    alone = pare("archive", ending().finding_id, "--reason", REASON, code=2)
    assert "give --all-regions" in " ".join(alone.stderr.split())
    card_of_it = pare("archive", build.BUCKET, "--reason", REASON)
    assert "0 findings: none." in card_of_it.stdout


# --- unarchive ------------------------------------------------------------------------------------


def exemption(**changes: Any) -> dict[str, Any]:
    return {
        "finding_type": "ExternalAccess",
        "principal": {"AWS": build.OUTSIDE},
        "is_public": False,
        "condition": {},
        "severity": "high",
        "reason": REASON,
        "by": ME,
        "at": "2026-11-01T00:00:00Z",
        "expires": f"{TODAY + timedelta(days=30)}",
        **changes,
    }


def test_the_way_back(aws: FakeAws, analyzers: dict[str, str]) -> None:
    card_id = put(
        build.finding(status="ARCHIVED"),
        build.finding(OTHER_ID, region="us-east-1", status="ARCHIVED"),
        statuses=analyzers,
        exemptions=[exemption()],
    )

    result = pare("unarchive", build.BUCKET, "--all-regions")

    assert set(analyzers.values()) == {"ACTIVE"}
    assert card(card_id)["exemptions"] == []
    assert {each["status"] for each in recorded(aws)} == {"ACTIVE"}
    assert "2 findings: 2 opened." in result.stdout


@pytest.mark.parametrize("asked", [build.BUCKET, build.FIRST_ID])
@pytest.mark.parametrize("found", [build.finding(), build.unused(build.FIRST_ID)])
def test_what_only_the_exemption_kept_quiet_is_recorded_again(
    aws: FakeAws, analyzers: dict[str, str], asked: str, found: Finding
) -> None:
    # It could not be archived at its analyzer, or it is of our own, which have none.
    card_id = put(
        found,
        statuses=analyzers,
        exemptions=[exemption(principal=dict(found.principal), finding_type=found.finding_type)],
        open={},
    )

    result = pare("unarchive", found.resource if asked == build.BUCKET else asked, "--all-regions")

    assert card(card_id)["exemptions"] == []
    assert recorded(aws) == [found.to_json()]
    assert "1 finding: 1 opened." in result.stdout


def test_running_it_again_records_what_the_first_run_could_not(
    aws: FakeAws, analyzers: dict[str, str]
) -> None:
    put(build.finding(), statuses=analyzers, exemptions=[exemption()], open={})
    aws.mend("sfn:StartExecution")
    aws.fail("sfn:StartExecution", "AccessDeniedException", times=1)
    aws.answer("sfn:StartExecution", {"executionArn": "x", "startDate": NOW})

    first = pare("unarchive", build.BUCKET, "--all-regions", code=3)
    second = pare("unarchive", build.BUCKET, "--all-regions")

    assert "AccessDeniedException" in first.stdout
    assert "1 finding: 1 opened." in second.stdout


def test_the_way_back_twice_is_already_open(analyzers: dict[str, str]) -> None:
    put(build.finding(), statuses=analyzers)

    said = pare("unarchive", build.FIRST_ID).stdout

    assert "it is already open." in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 80
    assert "it is already open" in pare("unarchive", build.BUCKET).stderr


def test_what_an_exemption_would_archive_again_is_not_opened_alone(
    analyzers: dict[str, str],
) -> None:
    put(build.finding(status="ARCHIVED"), statuses=analyzers, exemptions=[exemption()])

    assert "would archive" in pare("unarchive", build.FIRST_ID, code=2).stderr
    assert analyzers == {build.FIRST_ID: "ARCHIVED"}


def test_an_expired_exemption_stands_in_nobodys_way(analyzers: dict[str, str]) -> None:
    put(build.finding(status="ARCHIVED"), statuses=analyzers,
        exemptions=[exemption(expires="2026-01-01")])  # fmt: skip

    pare("unarchive", build.FIRST_ID)

    assert analyzers == {build.FIRST_ID: "ACTIVE"}


# --- reconcile, tell ------------------------------------------------------------------------------


def described(aws: FakeAws, status: str) -> None:
    aws.answer(
        "sfn:DescribeExecution",
        {"executionArn": "x", "stateMachineArn": "y", "status": status, "startDate": NOW},
    )


@pytest.mark.parametrize(("status", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_reconcile_is_started_and_waited_for(aws: FakeAws, status: str, code: int) -> None:
    described(aws, status)

    result = pare("reconcile", "--wait", code=code)

    (start,) = aws.called("sfn:StartExecution")
    assert start["stateMachineArn"] == machine("Reconcile")
    assert f"It ended: {status}." in result.stdout


def test_one_that_runs_is_not_started_again(aws: FakeAws) -> None:
    aws.mend("sfn:ListExecutions")
    running = {"executionArn": "arn:running", "stateMachineArn": machine("Reconcile"),
               "name": "n", "status": "RUNNING", "startDate": NOW}  # fmt: skip
    aws.answer("sfn:ListExecutions", {"executions": [running]})

    told = json.loads(pare("reconcile", "--format", "json").stdout)

    assert told == {"state": "running", "execution_arn": "arn:running"}
    assert aws.called("sfn:StartExecution") == []


def test_tell_starts_an_hourly_round_now(aws: FakeAws) -> None:
    pare("tell")

    (start,) = aws.called("sfn:StartExecution")
    assert start["stateMachineArn"] == machine("Notification")
    asked = json.loads(start["input"])
    assert asked["kind"] == "hourly"
    assert "due_by" not in asked
    age = datetime.now(UTC) - datetime.fromisoformat(asked["as_of"])
    assert timedelta(0) <= age < timedelta(minutes=5)


def test_tell_digest_does_not_wait_for_its_time(aws: FakeAws) -> None:
    pare("tell", "--digest")

    (start,) = aws.called("sfn:StartExecution")
    asked = json.loads(start["input"])
    ahead = datetime.fromisoformat(asked["due_by"]) - datetime.fromisoformat(asked["as_of"])
    assert ahead == timedelta(days=8)


# --- agreement ------------------------------------------------------------------------------------


def inventory(agreement: dict[str, Any] | None) -> None:
    s3 = boto3.client("s3")
    root = "inventory/period=2026-11/"
    head = json.dumps(folder.head([folder.account()]))
    s3.put_object(Bucket=BUCKET, Key=f"{root}snapshot.json", Body=head.encode())
    if agreement is not None:
        s3.put_object(
            Bucket=BUCKET, Key=f"{root}agreement.json", Body=json.dumps(agreement).encode()
        )


def agreement_json(**changes: Any) -> dict[str, Any]:
    return {
        "period": "2026-11",
        "as_of": "2026-11-22T07:21:00Z",
        "is_on": False,
        "principals": 1234,
        "usd_per_principal_month": 0.2,
        "estimated_usd_month": 246.8,
        "counts": {},
        "disagreements": [],
        "left_out": 0,
        **changes,
    }


def test_where_the_paid_analyzer_is_off_its_price_is_said() -> None:
    inventory(agreement_json())

    text = pare("agreement").stdout

    assert "is off. Pare's own results stand in for it." in text
    assert "1,234 roles and users at 0.20 USD each: 246.80 USD a month" in text
    assert "Yet" not in text


def test_what_came_of_such_an_analyzer_all_the_same_is_said() -> None:
    inventory(agreement_json(found_though_off=1))

    text = pare("agreement").stdout

    assert "Yet 1 finding of such an analyzer came: test events, or of one that" in text


def test_disagreements_are_named() -> None:
    inventory(
        agreement_json(
            is_on=True,
            counts={"UnusedIAMRole": {"both": 3, "analyzer": 1, "inventory": 0, "unknown": 0}},
            disagreements=[
                {"account_id": build.ACCOUNT, "principal_arn": build.ROLE,
                 "finding_type": "UnusedIAMRole", "analyzer": "unused", "inventory": "not unused",
                 "status": "used", "last_used_at": "2026-11-20T00:00:00Z",
                 "last_used_source": "activity", "reasons": [], "finding_id": "f"}
            ],
        )
    )  # fmt: skip

    text = pare("agreement", "--period", "2026-11", code=1).stdout

    assert re.search(r"UnusedIAMRole +3 +1 +0 +0", text)
    assert f"{build.ROLE}  UnusedIAMRole: analyzer unused, inventory not unused" in text


def test_before_it_was_compared() -> None:
    inventory(None)

    assert "was not compared yet" in pare("agreement", code=3).stderr


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("list",), ("show", "22222222"), ("reconcile",), ("tell",), ("agreement",)]
)
def test_without_a_pare_the_error_is_a_sentence(aws: FakeAws, arguments: tuple[str, ...]) -> None:
    aws.mend("cloudformation:DescribeStacks")
    aws.fail("cloudformation:DescribeStacks", "ValidationError", message="does not exist")

    assert "there is no stack ParePipeline" in pare(*arguments, code=3).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("findings", "list"),
        ("inventory", "show"),
        ("explain", build.ROLE),
        ("backfill", "--days", "1"),
        ("policy", "start", build.ROLE),
        ("activity", "s3://bucket/prefix/"),
        ("doctor",),
    ],
)
def test_a_profile_that_is_not_there_is_one_line(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments, env={"AWS_PROFILE": "nosuch"})

    assert result.exit_code == 3, result.output
    (line,) = result.stderr.strip().splitlines()
    assert "The config profile (nosuch) could not be found. Set AWS_PROFILE" in line


def test_no_credentials_is_not_told_as_no_stack(aws: FakeAws) -> None:
    aws.mend("cloudformation:DescribeStacks")

    def refuse(_: Any) -> Any:
        raise NoCredentialsError

    aws.answer("cloudformation:DescribeStacks", refuse)
    line = pare("list", code=3).stderr

    assert "there is no stack" not in line
    assert "Unable to locate credentials. Set AWS_PROFILE" in line


def test_aws_region_comes_before_aws_default_region() -> None:
    names = {"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        assert shell_session().region_name == "eu-north-1"
        patch.delenv("AWS_REGION")
        assert shell_session().region_name == "us-east-1"


def test_that_no_region_is_set_is_said() -> None:
    env = {"AWS_REGION": None, "AWS_DEFAULT_REGION": None}
    result = CliRunner().invoke(main, ["findings", "list"], env=env)

    assert result.exit_code == 3
    assert result.stderr.startswith("pare: No Region is set. Set AWS_REGION to the Region that")


def test_a_refused_read_names_the_call(aws: FakeAws) -> None:
    aws.fail("dynamodb:Scan", "AccessDeniedException")

    assert "dynamodb:Scan on " in pare("list", code=3).stderr


def test_the_caller_is_asked_once(aws: FakeAws, analyzers: dict[str, str]) -> None:
    put(build.finding(), build.finding(OTHER_ID, region="us-east-1"), statuses=analyzers)

    pare("archive", build.BUCKET, "--all-regions", "--reason", REASON)

    assert len(aws.called("sts:GetCallerIdentity")) == 1
    assert DeployedFindings(find_deployment(boto3.Session())).caller == ME
