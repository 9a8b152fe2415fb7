"""What Access Analyzer and CloudTrail say on EventBridge when findings and rules change."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from local.process import EmulatorControlError
from tests.local.emulator_fixtures import HUB, LOG_ARCHIVE, REGION, WORKLOAD, allow, trusts, unique
from tests.local.test_emulator_findings import external, finding, plant
from tests.recorded import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.process import Emulator
    from tests.local.emulator_fixtures import Box

REGIONS = iter(
    (
        "ca-central-1",
        "sa-east-1",
        "us-west-1",
        "us-west-2",
        "ap-south-1",
        "eu-north-1",
        "eu-west-2",
        "ap-east-1",
    )
)
# The analyzers' account: no other test has analyzers in it.
ACCOUNT = LOG_ARCHIVE
UNUSED = "Unused Access Finding for IAM entities"


def analyzer(box: Box, region: str, kind: str = "ACCOUNT_UNUSED_ACCESS") -> str:
    """The ARN of a new analyzer."""
    client = box.client("accessanalyzer", ACCOUNT, region)
    arn: str = client.create_analyzer(analyzerName=unique("analyzer"), type=kind)["arn"]
    return arn


class Heard:
    """The events on the default bus of a Region that a queue there gets."""

    def __init__(self, box: Box, region: str) -> None:
        self.sqs = box.client("sqs", ACCOUNT, region=region)
        self.box = box
        self.url = self.sqs.create_queue(QueueName=unique("heard"))["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        policy = allow("sqs:SendMessage", resource=arn)
        policy["Statement"][0]["Principal"] = {"Service": "events.amazonaws.com"}
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        events = box.client("events", ACCOUNT, region=region)
        pattern = json.dumps({"source": ["aws.access-analyzer"]})
        rule = unique("heard")
        events.put_rule(Name=rule, EventPattern=pattern)
        events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])

    def all(self) -> list[dict[str, Any]]:
        """The events since the last time, once none waits any more."""
        deadline = time.monotonic() + 10
        while self.box.emulator.control("state")["events"]["waiting"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        heard: list[dict[str, Any]] = []
        while True:
            found = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
            if not found.get("Messages"):
                return heard
            for message in found["Messages"]:
                heard.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def statuses(self) -> list[str]:
        """The statuses the events name, in their order."""
        return [event["detail"]["status"] for event in self.all()]


@pytest.fixture
def region() -> Iterator[str]:
    """A Region that no other test uses: a rule hears all of its Region."""
    yield next(REGIONS)


def change(box: Box, arn: str, **changes: Any) -> None:
    """Plant, change, resolve or delete findings, and let EventBridge hear of it."""
    box.emulator.control("findings", {"analyzer_arn": arn, "events": True, **changes})


def keys(value: Any) -> Any:
    """The names in a structure, down to the texts."""
    if isinstance(value, dict):
        return {name: keys(item) for name, item in value.items()}
    return type(value).__name__


def without(sample: dict[str, Any], name: str) -> dict[str, Any]:
    """What a free-form member has in it is nobody's shape."""
    return sample | {"detail": sample["detail"] | {name: None}}


@pytest.mark.parametrize(
    ("sample", "changes"),
    [
        ("external_access", {}),
        ("external_access_error", {"error": "ACCESS_DENIED", "findingDetails": []}),
    ],
)
def test_an_external_event_has_the_shape_of_the_sample(
    box: Box, sample: str, changes: dict[str, Any]
) -> None:
    region = "ap-northeast-1" if changes else "ap-northeast-2"
    heard = Heard(box, region)
    arn = analyzer(box, region, "ACCOUNT")

    found = external(unique("finding"), public=False, principal="999988887777") | changes
    change(box, arn, findings=[found])

    [event] = heard.all()
    expected = json.loads((EVENTS / f"{sample}.json").read_text())
    assert keys(without(event, "condition")) == keys(without(expected, "condition"))
    assert (event["account"], event["region"], event["resources"]) == (ACCOUNT, region, [arn])
    assert event["detail"]["accountId"] == WORKLOAD


def test_an_internal_event_names_restrictions_as_the_sample_does(box: Box, region: str) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region, "ACCOUNT_INTERNAL_ACCESS")
    details = {
        "action": ["s3:GetObject"],
        "condition": {},
        "principal": {"AWS": f"arn:aws:iam::{WORKLOAD}:role/App"},
        "principalOwnerAccount": WORKLOAD,
        "principalType": "IAM_ROLE",
        "accessType": "INTRA_ACCOUNT",
        "resourceControlPolicyRestriction": "APPLIED",
    }
    found = finding(
        unique("finding"),
        findingType="InternalAccess",
        findingDetails=[{"internalAccessDetails": details}],
    )

    change(box, arn, findings=[found])

    [event] = heard.all()
    expected = json.loads((EVENTS / "internal_access.json").read_text())
    assert keys(event) == keys(expected)
    assert event["detail"]["resourceControlPolicyRestrictionType"] == "APPLIED"
    assert event["detail"]["serviceControlPolicyRestrictionType"] == "NOT_APPLICABLE"
    assert len(event["detail"]["updatedAt"]) == len(expected["detail"]["updatedAt"])


def test_the_life_of_an_unused_access_finding(box: Box, region: str) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region)
    client = box.client("accessanalyzer", ACCOUNT, region=region)
    finding_id = unique("finding")

    change(box, arn, findings=[finding(finding_id)])
    [created] = heard.all()
    client.update_findings(analyzerArn=arn, ids=[finding_id], status="ARCHIVED")
    client.update_findings(analyzerArn=arn, ids=[finding_id], status="ARCHIVED")
    [archived] = heard.all()
    client.update_findings(analyzerArn=arn, ids=[finding_id], status="ACTIVE")
    change(box, arn, resolve=[finding_id])
    reopened, resolved = heard.all()
    change(box, arn, delete=[finding_id])
    [deleted] = heard.all()

    expected = json.loads((EVENTS / "unused_permission.json").read_text())
    assert keys(created) == keys(expected)
    assert created["detail"]["findingId"] == finding_id
    assert created["detail"]["numberOfUnusedActions"] == 3
    story = [created, archived, reopened, resolved, deleted]
    assert [event["detail-type"] for event in story] == [UNUSED] * 5
    changes = [(e["detail"]["previousStatus"], e["detail"]["status"]) for e in story]
    assert changes[:4] == [
        ("", "ACTIVE"),
        ("ACTIVE", "ARCHIVED"),
        ("ARCHIVED", "ACTIVE"),
        ("ACTIVE", "RESOLVED"),
    ]
    assert (deleted["detail"]["isDeleted"], deleted["detail"]["status"]) == (True, "RESOLVED")
    times = [event["detail"]["updatedAt"] for event in story]
    assert times == sorted(set(times))
    assert client.list_findings_v2(analyzerArn=arn)["findings"] == []


def test_rules_and_the_end_of_an_analyzer_tell_of_each_finding(box: Box, region: str) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region, "ACCOUNT")
    client = box.client("accessanalyzer", ACCOUNT, region=region)
    name = arn.rpartition("/")[2]
    ids = sorted([unique("finding"), unique("finding")])
    plant(box, arn, *(external(i, public=False, principal="1") for i in ids))
    criteria = {"principal.AWS": {"eq": ["1"]}}

    client.create_archive_rule(analyzerName=name, ruleName="partner", filter=criteria)
    assert heard.all() == []  # neither planting without events nor creating a rule tells anything
    client.apply_archive_rule(analyzerArn=arn, ruleName="partner")
    assert heard.statuses() == ["ARCHIVED", "ARCHIVED"]
    change(box, arn, findings=[external(unique("finding"), public=False, principal="1")])
    assert heard.statuses() == ["ARCHIVED"]
    client.delete_analyzer(analyzerName=name)

    gone = heard.all()
    assert [event["detail"]["isDeleted"] for event in gone] == [True] * 3
    assert {event["detail"]["status"] for event in gone} == {"ARCHIVED"}


def test_events_can_be_lost_doubled_and_late(box: Box, settings: Emulator, region: str) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region)
    ids = [unique("finding") for _ in range(40)]

    settings.control("settings", {"event_faults": {"lost": 0.2, "twice": 0.2, "late": 0.3}})
    before = settings.control("state")["events"]
    change(box, arn, findings=[finding(i) for i in ids])

    came = [event["detail"]["findingId"] for event in heard.all()]
    after = settings.control("state")["events"]
    lost, twice, late = (after[name] - before[name] for name in ("lost", "twice", "late"))
    assert lost > 0
    assert twice > 0
    assert late > 0
    assert len(set(came)) == 40 - lost
    assert len(came) == 40 - lost + twice
    first = list(dict.fromkeys(came))
    assert first != [i for i in ids if i in first]


def test_event_faults_that_make_no_sense_are_refused(settings: Emulator) -> None:
    for faults in ({"lost": 2}, {"late": True}, {"rate": 0.1}, 0.3, {"seed": "x"}):
        with pytest.raises(EmulatorControlError, match="event_faults"):
            settings.control("settings", {"event_faults": faults})


def test_calls_are_told_by_cloudtrail_where_it_is_switched_on(
    box: Box, settings: Emulator, region: str
) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region, "ACCOUNT")
    name = arn.rpartition("/")[2]
    role = box.role(
        unique("archivist"), allow("access-analyzer:CreateArchiveRule"), account_id=ACCOUNT
    )
    client = box.session(role, by=ACCOUNT).client("accessanalyzer", region)
    rule = {"analyzerName": name, "ruleName": "mine", "filter": {"error": {"exists": True}}}
    client.create_archive_rule(**{**rule, "ruleName": "before"})

    settings.control("settings", {"cloudtrail_events": True})
    client.create_archive_rule(**rule)
    with pytest.raises(client.exceptions.AccessDeniedException):
        client.delete_archive_rule(analyzerName=name, ruleName="mine")

    made, refused = heard.all()
    assert made["detail-type"] == "AWS API Call via CloudTrail"
    record = made["detail"]
    assert record["eventSource"] == "access-analyzer.amazonaws.com"
    assert (record["eventName"], record["awsRegion"]) == ("CreateArchiveRule", region)
    parameters = {k: v for k, v in record["requestParameters"].items() if k != "clientToken"}
    assert parameters == rule
    assert record["userIdentity"]["type"] == "AssumedRole"
    assert record["userIdentity"]["arn"].endswith("/test")
    assert record["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == role
    assert refused["detail"]["eventName"] == "DeleteArchiveRule"
    assert refused["detail"]["errorCode"] == "AccessDenied"


def test_an_access_preview_is_told_and_read(box: Box, region: str) -> None:
    heard = Heard(box, region)
    arn = analyzer(box, region, "ACCOUNT")
    client = box.client("accessanalyzer", ACCOUNT, region=region)
    moment = "2026-11-20T04:58:50Z"
    preview = {
        "id": "aaaabbbb-cccc-dddd-eeee-ffffaaaabbbb",
        "configurations": {"arn:aws:s3:::bucket": {"s3Bucket": {"bucketPolicy": "{}"}}},
        "createdAt": moment,
        "status": "CREATING",
    }
    found = {
        "id": unique("finding"),
        "resource": "arn:aws:s3:::bucket",
        "resourceType": "AWS::S3::Bucket",
        "resourceOwnerAccount": WORKLOAD,
        "createdAt": moment,
        "changeType": "NEW",
        "status": "ACTIVE",
        "isPublic": True,
        "principal": {"AWS": "*"},
        "action": ["s3:GetObject"],
    }
    ask = {"accessPreviewId": preview["id"], "analyzerArn": arn}

    def put(status: str, **more: Any) -> None:
        body = {"analyzer_arn": arn, "events": True}
        box.emulator.control(
            "previews", {**body, "previews": [{**preview, "status": status, **more}]}
        )

    put("CREATING")
    with pytest.raises(client.exceptions.ConflictException):
        client.list_access_preview_findings(**ask)
    put("COMPLETED", findings=[found])

    creating, completed = heard.all()
    for event, name in ((creating, "creating"), (completed, "completed")):
        sample = json.loads((EVENTS / f"access_preview_{name}.json").read_text())
        assert keys(event) == keys(sample)
    assert client.get_access_preview(**ask)["accessPreview"]["status"] == "COMPLETED"
    [listed_finding] = client.list_access_preview_findings(**ask)["findings"]
    assert listed_finding["changeType"] == "NEW"


def test_an_event_bus_of_another_region_gets_the_event_once(box: Box, region: str) -> None:
    """The rule's role must be allowed to put events there; a third bus gets nothing."""
    home = Heard(box, "me-central-1")
    third = Heard(box, "il-central-1")
    arn = analyzer(box, region, "ACCOUNT")

    def forward(source: str, target: str, role: str, dead_letters: str | None = None) -> None:
        events = box.client("events", ACCOUNT, region=source)
        bus = f"arn:aws:events:{target}:{ACCOUNT}:event-bus/default"
        rule = unique("forward")
        pattern = json.dumps({"source": ["aws.access-analyzer"]})
        events.put_rule(Name=rule, EventPattern=pattern)
        entry: dict[str, Any] = {"Id": "bus", "Arn": bus, "RoleArn": role}
        if dead_letters is not None:
            entry["DeadLetterConfig"] = {"Arn": dead_letters}
        events.put_targets(Rule=rule, Targets=[entry])

    trust = trusts(service="events.amazonaws.com")
    able = box.role(unique("bus"), allow("events:PutEvents"), trust=trust, account_id=ACCOUNT)
    powerless = box.role(unique("bus"), allow("events:List*"), trust=trust, account_id=ACCOUNT)
    forward(region, "me-central-1", able)
    forward("me-central-1", "il-central-1", able)
    forward(region, "il-central-1", powerless)

    change(box, arn, findings=[external("f", public=True, principal="*")])

    [event] = home.all()
    assert (event["region"], event["account"]) == (region, ACCOUNT)
    assert event["detail"]["id"] == "f"
    assert third.all() == []


def test_an_event_bus_of_another_account_needs_its_policy(box: Box) -> None:
    region = "af-south-1"
    trust = trusts(service="events.amazonaws.com")
    role = box.role(unique("bus"), allow("events:PutEvents"), trust=trust, account_id=ACCOUNT)
    bus = f"arn:aws:events:{REGION}:{HUB}:event-bus/default"
    rule, source = unique("rule"), unique("source")
    events = box.client("events", ACCOUNT, region=region)
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "bus", "Arn": bus, "RoleArn": role}])
    hub_sqs, hub_events = box.client("sqs", HUB), box.client("events", HUB)
    url = hub_sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{HUB}:{url.rpartition('/')[2]}"
    policy = allow("sqs:SendMessage", resource=arn)
    policy["Statement"][0]["Principal"] = {"Service": "events.amazonaws.com"}
    hub_sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    hub_events.put_rule(Name=rule, EventPattern=json.dumps({"source": [source]}))
    hub_events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    entry = {"Source": source, "DetailType": "Test", "Detail": "{}"}

    events.put_events(Entries=[entry])
    assert "Messages" not in hub_sqs.receive_message(QueueUrl=url)
    hub_events.put_permission(Action="events:PutEvents", Principal=ACCOUNT, StatementId="sender")
    events.put_events(Entries=[entry])

    [message] = hub_sqs.receive_message(QueueUrl=url)["Messages"]
    event = json.loads(message["Body"])
    assert (event["account"], event["region"]) == (ACCOUNT, region)
