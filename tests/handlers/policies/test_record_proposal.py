from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.record_proposal import Output, lambda_handler
from pare.aws.tables import from_item
from pare.errors import AwsCallError, EvidenceError
from tests.handlers.fake_aws import BUCKET, MEMBER
from tests.handlers.policy_inputs import (
    ARN,
    CREATED_AT,
    EXECUTION,
    PREFIX,
    accessed,
    allow,
    current,
    generated,
    principal,
)
from tests.handlers.policy_inputs import proposal as proposed

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from pare.policy.proposal import ProposalJson
    from tests.handlers.fake_aws import FakeAws

REF: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/proposal.json"}


def store(evidence: EvidenceStore, generation: Any, last_accessed: Any) -> ProposalJson:
    proposal = proposed(
        current(allow("s3:GetObject", "sqs:SendMessage", "sqs:DeleteMessage")),
        generation,
        last_accessed,
    )
    evidence.put_json(REF["key"], proposal)
    return proposal


def record(context: Any) -> Output:
    output: Output = lambda_handler(
        {"principal": principal(), "proposal": REF, "execution": EXECUTION}, context
    )
    return output


def items(tables: Any) -> list[dict[str, Any]]:
    return [from_item(item) for item in tables.scan(TableName="Proposals")["Items"]]


def test_a_proposal_is_recorded_as_a_list_of_proposals_shows_it(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    unused = accessed("sqs")
    unused["services"][0]["last_accessed_at"] = None
    proposal = store(evidence, generated(allow("s3:GetObject")), unused)

    assert record(context) == {
        "counts": {"before_action_count": 3, "after_action_count": 1, "policy_count": 1},
        "unknown": ["activity"],
    }
    assert items(tables) == [
        {
            "principal_arn": ARN,
            "created_at": CREATED_AT,
            "account_id": MEMBER,
            "kind": "role",
            "owner": "orders@example.com",
            "finding_id": "b8ae0460",
            "execution": EXECUTION,
            "verdict": "review",
            "reasons": proposal["reasons"],
            "before_action_count": 3,
            "before_service_count": 2,
            "after_action_count": 1,
            "after_service_count": 1,
            "removed_service_count": 1,
            "policy_count": 1,
            "proposal": REF,
        }
    ]


def test_a_refusal_is_recorded_with_what_is_unknown(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    store(
        evidence,
        generated(outcome="AccessAnalyzerQuotaError", message="used up"),
        accessed(outcome="LastAccessedError", message="still running"),
    )

    assert record(context) == {
        "counts": {"before_action_count": 3, "policy_count": 0},
        "unknown": ["activity", "last_accessed", "policy_generation"],
    }
    (item,) = items(tables)
    assert item["verdict"] == "refused"
    assert item["after_action_count"] is None
    assert [reason["code"] for reason in item["reasons"]] == ["AccessAnalyzerQuotaError"]


def test_evidence_that_was_not_asked_for_is_unknown(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    store(evidence, None, None)

    assert record(context)["unknown"] == ["activity", "last_accessed", "policy_generation"]


def test_a_retried_step_records_nothing_twice(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    store(evidence, generated(allow("s3:GetObject")), accessed())
    first = record(context)
    before = items(tables)

    assert record(context) == first
    assert items(tables) == before


def test_a_table_that_refuses_is_an_error(
    evidence: EvidenceStore, tables: Any, aws: FakeAws, context: Any
) -> None:
    store(evidence, generated(allow("s3:GetObject")), accessed())
    aws.fail("dynamodb:PutItem", "AccessDeniedException", message="dynamodb:PutItem")

    with pytest.raises(AwsCallError, match="dynamodb:PutItem on Proposals"):
        record(context)


def test_a_proposal_that_is_gone_is_an_error(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    with pytest.raises(EvidenceError):
        record(context)

    assert items(tables) == []
