"""Which evidence a proposal rests on: our digests, Access Analyzer, or both; and whole accounts."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local import demo
from pare.aws.policy_start import start_account, start_principals
from pare.aws.quota_ledger import QuotaLedger
from pare.cloudtrail.activity_file import read_activity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.deployed.conftest import Deployed

PRINCIPAL = "shop-prod/ShopCheckout"
DAYS = 5


@pytest.fixture(scope="module", autouse=True)
def digests(deployed: Deployed) -> Iterator[None]:
    """The digests of some days, as the nights leave them; taken away again at the end."""
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=DAYS), today - timedelta(days=1)
    execution = deployed.start("Activity", {"first_date": f"{first}", "last_date": f"{last}"})
    assert deployed.ended(execution, seconds=180)["status"] == "SUCCEEDED"
    yield
    s3, bucket = deployed.box.hub("s3"), deployed.box.outputs["EvidenceBucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="activity/"):
        for each in page.get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=each["Key"])


@pytest.fixture
def ledger(deployed: Deployed) -> QuotaLedger:
    return QuotaLedger(deployed.box.hub("dynamodb"), deployed.box.outputs["RunsTableName"])


def gathered(
    deployed: Deployed, principal: str = PRINCIPAL, *, transitions: int = 25
) -> dict[str, Any]:
    """Run the policy workflow for a principal and return the evidence it gathered."""
    arn = deployed.box.created.organization.principal(principal).arn
    execution = deployed.start("Policy", {"principal_arn": arn})
    ended = deployed.ended(execution)
    assert ended["status"] == "SUCCEEDED", (ended, deployed.history(execution)[-4:])
    evidence = deployed.evidence_of(execution)
    (run,) = (
        run for run in demo.runs_of(deployed.box, "policy") if run["execution_arn"] == execution
    )
    assert run["transitions"] <= transitions, run
    if evidence["route"]["route"] == "activity":
        assert run["transitions"] <= 15, run
    return evidence


def key_of(deployed: Deployed, principal: str = PRINCIPAL) -> tuple[str, str]:
    organization = deployed.box.created.organization
    return organization.principal(principal).arn.split(":")[4], organization.home_region


def jobs(deployed: Deployed) -> list[Any]:
    account_id, _ = key_of(deployed)
    analyzer = deployed.box.emulator.client("accessanalyzer", account_id)
    found: list[Any] = analyzer.list_policy_generations()["policyGenerations"]
    return found


def activity_of(deployed: Deployed, evidence: dict[str, Any]) -> Any:
    ref = evidence["activity"]["outcome"]
    body = deployed.box.hub("s3").get_object(Bucket=ref["bucket"], Key=ref["key"])["Body"].read()
    return read_activity(io.BytesIO(body))


@contextmanager
def variables(deployed: Deployed, step: str, **changes: str) -> Iterator[None]:
    """Change variables of a function for a while."""
    functions = deployed.box.hub("lambda")
    (name,) = (
        each["FunctionName"]
        for page in functions.get_paginator("list_functions").paginate()
        for each in page["Functions"]
        if step in each["FunctionName"]
    )
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**before, **changes}}
    )
    try:
        yield
    finally:
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": before}
        )


def test_both_are_asked_where_access_analyzer_is_free(
    deployed: Deployed, ledger: QuotaLedger
) -> None:
    evidence = gathered(deployed)

    assert (evidence["route"]["route"], evidence["route"]["waits"]) == ("both", False)
    assert "within its quota" in evidence["route"]["reason"]
    generation = demo.read_json(deployed.box, evidence["policy_generation"]["outcome"])
    assert generation["outcome"] == "SUCCEEDED"
    activity = activity_of(deployed, evidence)
    arn = deployed.box.created.organization.principal(PRINCIPAL).arn
    assert {each.principal for each in activity.principals} == {arn}
    assert activity.totals.records > 20
    days = evidence["activity"]["days"]
    # The window is 90 days; the others were never read, and are known to be missing.
    assert days["digest_count"] + len(days["missing"]) + len(days["quiet"]) == 90
    assert len(days["missing"]) >= 90 - DAYS
    assert "outcome" in evidence["last_accessed"]
    # The turn is given back, and the job counts to the day.
    known = ledger.ledger(*key_of(deployed))
    assert (known.holder, len(known.jobs)) == ("", 1)


def test_while_another_has_the_turn_the_activity_is_enough(
    deployed: Deployed, ledger: QuotaLedger
) -> None:
    before, now = len(jobs(deployed)), datetime.now(UTC)
    ledger.reserve(*key_of(deployed), "execution:other", now=now, lease=timedelta(minutes=5))

    evidence = gathered(deployed)

    assert evidence["route"]["route"] == "activity"
    assert "is running (for other" in evidence["route"]["reason"]
    assert evidence["policy_generation"] == {}
    assert activity_of(deployed, evidence).principals
    assert len(jobs(deployed)) == before
    assert ledger.ledger(*key_of(deployed)).holder == "execution:other"


def test_a_trail_of_control_tower_is_read_by_us_alone(deployed: Deployed) -> None:
    before = len(jobs(deployed))
    with variables(deployed, "ChooseRoute", TRAIL_MADE_BY_CONTROL_TOWER="true"):
        proposal = deployed.propose(PRINCIPAL)

    evidence = deployed.evidence_of(proposal["execution"])
    assert evidence["route"]["route"] == "activity"
    assert "Control Tower" in evidence["route"]["reason"]
    assert len(jobs(deployed)) == before
    assert proposal["verdict"] in {"ready", "review"}
    assert proposal["document"]["documents"]


def test_a_day_that_aws_says_is_used_up_is_not_waited_for_and_remembered(
    deployed: Deployed,
) -> None:
    deployed.box.emulator.control("settings", {"quota_per_day": 0})

    first, second = gathered(deployed), gathered(deployed)

    assert first["route"]["route"] == "both"
    assert first["policy_generation"]["failure"]["Error"] == "AccessAnalyzerBusyError"
    assert "outcome" in first["activity"]
    assert second["route"]["route"] == "activity"
    assert "used up" in second["route"]["reason"]


@pytest.mark.parametrize("kind", ["failed_job", "stuck_job"])
def test_a_job_that_comes_to_nothing_gives_the_turn_back(
    deployed: Deployed, ledger: QuotaLedger, kind: str
) -> None:
    deployed.box.emulator.control(
        "faults", {"faults": [{"operation": "StartPolicyGeneration", "kind": kind}]}
    )

    # A job that hangs is asked after for half an hour.
    evidence = gathered(deployed, transitions=110)

    assert evidence["route"]["route"] == "both"
    if kind == "stuck_job":
        failure = evidence["policy_generation"]["failure"]
        assert failure["Error"] == "PolicyGenerationTimeoutError"
    assert activity_of(deployed, evidence).principals
    assert ledger.ledger(*key_of(deployed)).holder == ""


def test_a_step_that_breaks_gives_the_turn_back(deployed: Deployed, ledger: QuotaLedger) -> None:
    # Access Analyzer answers no question about the job.
    deployed.box.emulator.control(
        "faults", {"faults": [{"operation": "GetGeneratedPolicy", "kind": "access_denied"}]}
    )

    evidence = gathered(deployed)

    assert evidence["policy_generation"]["failure"]["Error"] == "MemberAccountError"
    assert "outcome" in evidence["activity"]
    assert ledger.ledger(*key_of(deployed)).holder == ""


def test_what_is_asked_for_by_name_is_asked_alone(deployed: Deployed) -> None:
    # That it waits for its turn: test_quota_that_stays_used_up_ends_in_a_refusal_and_a_message.
    with variables(deployed, "ChooseRoute", EVIDENCE="access-analyzer"):
        evidence = gathered(deployed)

    route = evidence["route"]
    assert (route["route"], route["waits"]) == ("access-analyzer", True)
    assert evidence["activity"] == {}
    assert "outcome" in evidence["policy_generation"]


@pytest.fixture
def session(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    organization = deployed.box.created.organization
    hub = organization.hub_account.account_id
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in deployed.box.emulator.environment(hub, organization.home_region).items():
        monkeypatch.setenv(name, value)
    return boto3.Session()


def test_every_principal_of_an_account_gets_its_proposal(
    deployed: Deployed, session: boto3.Session
) -> None:
    account = deployed.box.created.organization.account("log-archive")
    told_before = len(deployed.messages(account.account_id))

    started = start_account(session, account.account_id, now=datetime.now(UTC))
    ended = deployed.ended(started.execution_arn, seconds=180)

    assert ended["status"] == "SUCCEEDED"
    run = deployed.run_of("account", account.account_id)
    counts = run["counts"]
    assert counts["started"] == counts["principals"] > 0
    states = deployed.box.hub("stepfunctions")
    batch = [
        each for page in states.get_paginator("list_executions").paginate(
            stateMachineArn=deployed.box.outputs["PolicyWorkflowArn"])
        for each in page["executions"]
        if json.loads(states.describe_execution(executionArn=each["executionArn"])["input"]).get(
            "batch") == started.execution_arn
    ]  # fmt: skip
    assert len(batch) == counts["started"]
    assert {deployed.ended(each["executionArn"])["status"] for each in batch} == {"SUCCEEDED"}
    assert len(deployed.messages(account.account_id)) == told_before


def test_a_principal_is_started_from_the_command_line(
    deployed: Deployed, session: boto3.Session
) -> None:
    arn = deployed.box.created.organization.principal("data-prod/ReportReader").arn

    (started,) = start_principals(session, [arn, arn], now=datetime.now(UTC))

    assert deployed.ended(started.execution_arn)["status"] == "SUCCEEDED"
    assert demo.proposals_of(deployed.box, arn)[-1]["execution"] == started.execution_arn
