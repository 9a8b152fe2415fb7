from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.notify_inventory import Output, lambda_handler
from pare.errors import AwsCallError, EvidenceError, MessageUnknownError
from pare.inventory.message import inventory_message
from pare.inventory.snapshot import build_snapshot
from tests.handlers.fake_aws import BUCKET, HUB, REGION

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws, Topic

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Inventory:monthly-1"
REF: ObjectRef = {"bucket": BUCKET, "key": "inventory/period=2026-11/snapshot.json"}
SNAPSHOT = build_snapshot(period="2026-11", created_at="2026-11-01T06:10:00Z", results=[], rows=[])


def notify(context: Any, execution: str = EXECUTION) -> Output:
    output: Output = lambda_handler({"snapshot": REF, "execution": execution}, context)
    return output


def test_people_and_machines_are_told(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], SNAPSHOT)

    assert notify(context) == {"told": True}

    message = inventory_message(SNAPSHOT, location=f"s3://{BUCKET}/{REF['key']}")
    (read,), (facts,) = people.messages(), machines.messages()
    assert (read["Subject"], read["Message"]) == (message.subject, message.text)
    assert json.loads(facts["Message"]) == message.facts


def test_a_retried_step_tells_people_nothing_new_and_another_run_does(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], SNAPSHOT)

    assert [notify(context)["told"] for _ in range(2)] == [True, False]
    assert notify(context, EXECUTION.replace("monthly-1", "by-hand"))["told"]
    assert len(people.messages()) == 2


def test_a_refused_message_is_told_by_the_retry(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any,
    aws: FakeAws,
) -> None:  # fmt: skip
    evidence.put_json(REF["key"], SNAPSHOT)
    aws.fail("sns:Publish", "InvalidParameter", 400)
    with pytest.raises(AwsCallError):
        notify(context)

    aws.mend("sns:Publish")
    assert notify(context)["told"]


def test_a_lost_answer_is_not_told_twice(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any,
    aws: FakeAws,
) -> None:  # fmt: skip
    evidence.put_json(REF["key"], SNAPSHOT)
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.lose_answer("sns:Publish")  # people
    with pytest.raises(MessageUnknownError):
        notify(context)

    assert not notify(context)["told"]
    assert len(people.messages()) == 1


def test_a_snapshot_that_is_gone_is_an_error_and_nobody_is_told(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    with pytest.raises(EvidenceError):
        notify(context)

    assert people.messages() == []
