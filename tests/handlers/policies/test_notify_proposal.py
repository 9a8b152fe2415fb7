from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.notify_proposal import Output, lambda_handler
from pare.errors import AwsCallError, EvidenceError, MessageUnknownError
from pare.policy.message import proposal_message
from tests.handlers.fake_aws import BUCKET
from tests.handlers.policy_inputs import PREFIX, accessed, allow, current, generated, principal
from tests.handlers.policy_inputs import proposal as proposed

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws, Topic

REF: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/proposal.json"}
PROPOSAL = proposed(
    current(allow("s3:GetObject", "sqs:SendMessage")),
    generated(allow("s3:GetObject")),
    accessed(),
)


def notify(context: Any, **changes: Any) -> Output:
    asked_for_by_hand = {"finding_id": None, **changes}
    output: Output = lambda_handler(
        {"principal": principal(**asked_for_by_hand), "proposal": REF}, context
    )
    return output


def test_people_and_machines_are_told(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], PROPOSAL)

    assert notify(context) == {"told": True}

    message = proposal_message(
        PROPOSAL,
        owner="orders@example.com",
        location=f"s3://{BUCKET}/{PREFIX}/",
        finding_id=None,
    )
    (read,), (facts,) = people.messages(), machines.messages()
    assert (read["Subject"], read["Message"]) == (message.subject, message.text)
    assert json.loads(facts["Message"]) == message.facts


def test_of_what_a_finding_asked_for_people_are_told_by_its_card(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], PROPOSAL)

    assert notify(context, finding_id="b8ae0460") == {"told": False}

    (facts,) = machines.messages()
    assert json.loads(facts["Message"])["finding_id"] == "b8ae0460"
    assert people.messages() == []


def test_of_a_whole_accounts_proposals_machines_are_told_alone(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], PROPOSAL)

    assert notify(context, batch="execution:account") == {"told": False}

    assert len(machines.messages()) == 1
    assert people.messages() == []


def test_a_retried_step_tells_people_nothing_new(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], PROPOSAL)

    assert [notify(context)["told"] for _ in range(3)] == [True, False, False]
    assert len(people.messages()) == 1


def test_a_later_proposal_for_the_same_principal_is_told(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    evidence.put_json(REF["key"], PROPOSAL)
    notify(context)

    assert notify(context, created_at="2026-12-21T09:00:00Z")["told"]
    assert len(people.messages()) == 2


def test_a_refused_message_is_told_by_the_retry(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any,
    aws: FakeAws,
) -> None:  # fmt: skip
    evidence.put_json(REF["key"], PROPOSAL)
    aws.fail("sns:Publish", "AuthorizationError", 403)
    with pytest.raises(AwsCallError):
        notify(context)

    aws.mend("sns:Publish")
    assert notify(context)["told"]


def test_a_lost_answer_is_not_told_twice(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any,
    aws: FakeAws,
) -> None:  # fmt: skip
    evidence.put_json(REF["key"], PROPOSAL)
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.lose_answer("sns:Publish")  # people
    with pytest.raises(MessageUnknownError):
        notify(context)

    assert not notify(context)["told"]
    assert len(people.messages()) == 1


def test_a_proposal_that_is_gone_is_an_error_and_nobody_is_told(
    people: Topic, machines: Topic, tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    with pytest.raises(EvidenceError):
        notify(context)

    assert people.messages() == []
    assert machines.messages() == []
