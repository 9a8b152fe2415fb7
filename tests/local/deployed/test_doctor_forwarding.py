"""The doctor's test event really goes through every Region, and what stops it is named and mended.

The doctor runs as a person runs it, and what it prints is typed as it stands. In these tests alone
it is less patient: the emulator delivers in a second what EventBridge may take a minute for.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local import demo
from pare.aws.doctor import examine, findings
from pare.aws.tables import from_item
from tests.org.person import Person

if TYPE_CHECKING:
    from pare.doctor.model import Result
    from tests.local.deployed.conftest import Deployed

HOME, AWAY, OTHER = "eu-west-1", "eu-central-1", "us-east-1"
RULE = "PareRegion-TestEvent"


@pytest.fixture(scope="module")
def person(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody with the hub's credentials at a terminal."""
    return Person.at(deployed.box, tmp_path_factory.mktemp("person"))


def client(deployed: Deployed, service: str, region: str = HOME) -> Any:
    hub = deployed.box.created.organization.hub_account.account_id
    return deployed.box.emulator.client(service, hub, region)


def examined(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, seconds: float = 20
) -> dict[tuple[str, str], Result]:
    """Return what the doctor says of findings, by check and subject."""
    box = deployed.box
    organization = box.created.organization
    hub = organization.hub_account.account_id
    for name, value in box.emulator.environment(hub, organization.home_region).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(findings, "WAIT_SECONDS", seconds)
    monkeypatch.setattr(findings, "DOUBTED_SECONDS", 3)
    said: list[str] = []
    examination = examine.begin(
        boto3.Session(region_name=HOME), None, now=datetime.now(UTC), say=said.append
    )
    return {
        (each.check.partition(".")[2], each.subject): each
        for each in examine.run_group(examination, "findings")
    }


def faults(found: dict[tuple[str, str], Result]) -> dict[tuple[str, str], str]:
    """Return what is not ok, without how long was waited."""
    return {
        key: re.sub(r"within \d+ s", "in time", each.says)
        for key, each in found.items()
        if each.status != "ok"
    }


def mend(person: Person, result: Result) -> None:
    """Do what the doctor says."""
    assert result.mend is not None, result
    person.types(result.mend.where, result.mend.commands)


def noted(deployed: Deployed) -> dict[str, dict[str, Any]]:
    """Return the test events that arrived, by id."""
    answer = client(deployed, "dynamodb").query(
        TableName=deployed.box.outputs["RunsTableName"],
        KeyConditionExpression="workflow = :doctor",
        ExpressionAttributeValues={":doctor": {"S": "doctor"}},
    )
    return {each["run_id"]: each for each in map(from_item, answer["Items"])}


def test_a_test_event_of_every_region_arrives_and_leaves_nothing_else(
    deployed: Deployed, person: Person
) -> None:
    runs, mails = len(demo.runs_of(deployed.box, "finding")), len(deployed.messages(""))
    before = noted(deployed).keys()

    said = person.doctor("--only", "findings")

    # Other tests made an unused-access analyzer, which the settings do not name.
    assert {check for check, _ in said.not_ok} <= {"findings.unused-analyzer"}, said.shown()
    arrived = {
        each["facts"]["check_id"]: each["subject"]
        for each in said.results
        if each["check"] == "findings.forwarding"
    }
    assert sorted(arrived.values()) == sorted([HOME, AWAY, OTHER])
    items = {name: each for name, each in noted(deployed).items() if name not in before}
    assert {name: each["region"] for name, each in items.items()} == arrived
    for each in items.values():
        moment = datetime.fromisoformat(each["arrived_at"].replace("Z", "+00:00")).timestamp()
        assert 24 * 3600 - 300 < each["expires_at"] - moment < 24 * 3600 + 300
    deployed.settle()
    assert len(demo.runs_of(deployed.box, "finding")) == runs
    assert len(deployed.messages("")) == mails


def test_whoever_sends_many_makes_an_item_each_and_a_malformed_one_is_a_rejected_run(
    deployed: Deployed,
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(12)]
    mails = len(deployed.messages(""))
    runs = len(demo.runs_of(deployed.box, "finding"))
    for check_id in [*ids, ids[0]]:  # one of them twice
        deployed.send(sent_event({"check_id": check_id, "region": HOME}))
    demo.wait_for(lambda: set(ids) <= noted(deployed).keys(), "all test events", 60)
    deployed.settle()
    assert len(demo.runs_of(deployed.box, "finding")) == runs
    assert len(deployed.messages("")) == mails

    deployed.send(sent_event({"check_id": "doctor", "region": HOME}))

    def rejected() -> list[dict[str, Any]]:
        found = demo.runs_of(deployed.box, "finding")[runs:]
        return [each for each in found if each["error"] == "FindingParseError"]

    (run,) = demo.wait_for(rejected, "the rejected run", 60)
    assert run["outcome"] == "rejected"
    assert "check_id is not a UUID" in run["message"]


def sent_event(detail: dict[str, str]) -> dict[str, Any]:
    return {"Source": "pare.test", "DetailType": "Pare Doctor Check", "Detail": json.dumps(detail)}


def test_what_stops_an_event_is_named_with_what_mends_it(
    deployed: Deployed, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client(deployed, "events", AWAY).disable_rule(Name=RULE)
    targets = client(deployed, "events", OTHER).list_targets_by_rule(Rule=RULE)["Targets"]
    client(deployed, "events", OTHER).remove_targets(
        Rule=RULE, Ids=[each["Id"] for each in targets]
    )
    analyzers = client(deployed, "accessanalyzer").list_analyzers()["analyzers"]
    for each in analyzers:
        client(deployed, "accessanalyzer").delete_analyzer(analyzerName=each["name"])

    found = examined(deployed, monkeypatch)

    assert faults(found) == {
        ("rules", AWAY): f"Rule {RULE} is disabled.",
        ("rules", OTHER): f"Rule {RULE} has no target.",
        ("forwarding", AWAY): "The test event did not arrive in time: "
        f"rule {RULE} is disabled.",
        ("forwarding", OTHER): f"The test event did not arrive in time: "
        f"rule {RULE} has no target.",
        ("analyzer", HOME): f"{HOME} has no external-access analyzer of the organization.",
    }  # fmt: skip
    for key in (("rules", AWAY), ("forwarding", OTHER), ("analyzer", HOME)):
        mend(person, found[key])
    assert faults(examined(deployed, monkeypatch)) == {}
    deployed.make_analyzers()


def test_a_rule_of_the_hub_bus_stops_the_events_of_all_other_regions(
    deployed: Deployed, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = deployed.box.outputs["HubBusName"]
    events = client(deployed, "events")
    (rule,) = (
        each["Name"]
        for each in events.list_rules(EventBusName=bus)["Rules"]
        if "pare.test" in each["EventPattern"]
    )
    target = events.list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]
    events.remove_targets(Rule=rule, EventBusName=bus, Ids=[each["Id"] for each in target])
    events.delete_rule(Name=rule, EventBusName=bus)

    found = examined(deployed, monkeypatch)

    assert faults(found).keys() == {("rules", HOME), ("forwarding", AWAY), ("forwarding", OTHER)}
    mend(person, found["forwarding", AWAY])
    assert faults(examined(deployed, monkeypatch)) == {}


def test_a_role_without_its_right_is_found_by_the_dead_letter(
    deployed: Deployed, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = client(deployed, "events", AWAY).list_targets_by_rule(Rule=RULE)["Targets"]
    role = targets[0]["RoleArn"].rpartition("/")[2]
    iam = client(deployed, "iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)

    found = examined(deployed, monkeypatch, seconds=4)

    assert faults(found).keys() == {("forwarding", AWAY)}
    assert "EventBridge could not deliver it (NO_PERMISSIONS" in found["forwarding", AWAY].says
    # The doctor takes its own event back.
    sqs = client(deployed, "sqs", AWAY)
    url = sqs.get_queue_url(QueueName="PareRegionDeadLetters")["QueueUrl"]
    assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []
    mend(person, found["forwarding", AWAY])
    assert faults(examined(deployed, monkeypatch)) == {}


def test_a_failing_workflow_is_shown_by_its_execution(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with deployed.without_right("ParePipeline-FindingWorkflow", "dynamodb:PutItem"):
        found = examined(deployed, monkeypatch, seconds=4)
    for region in (HOME, AWAY, OTHER):
        result = found["forwarding", region]
        assert "arrived at the finding workflow and was not noted within 4 s" in result.says
        assert result.mend is not None
        assert result.mend.commands == ("npx cdk deploy ParePipeline --revert-drift",)
