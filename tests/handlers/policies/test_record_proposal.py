from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.record_proposal import Output, lambda_handler
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.tables import from_item
from pare.errors import AwsCallError, EvidenceError
from pare.findings.card import card_id_of
from tests.finding_terms import finding_terms
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
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.card import CardJson
    from pare.object_ref import ObjectRef
    from pare.policy.proposal import ProposalJson
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 9, 15, tzinfo=UTC)
TERMS = finding_terms()
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


def card(tables: Any) -> CardJson:
    """Record a finding about the principal, and return its card."""
    found = finding(resource=ARN, account_id=MEMBER, severity="low")
    FindingsTable(tables, "Findings").record(
        found, cards=CardsTable(tables, "Cards"), execution="run-1", now=NOW, terms=TERMS
    )
    made = card_now(tables)
    assert made is not None
    return made


def card_now(tables: Any) -> CardJson | None:
    return CardsTable(tables, "Cards").get(card_id_of(MEMBER, ARN))


def test_the_verdict_joins_the_card_of_the_principal(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    before = card(tables)
    proposal = store(evidence, generated(allow("s3:GetObject")), accessed())

    record(context)
    record(context)

    after = card_now(tables)
    assert after is not None
    assert after["proposal"] == {
        "verdict": proposal["verdict"],
        "created_at": CREATED_AT,
        "before_action_count": 3,
        "after_action_count": 3,  # what is not observable is kept
        "reasons": [reason["text"] for reason in proposal["reasons"]],
        "proposal": REF,
    }
    assert after["version"] == before["version"] + 1, "a retried step changes nothing"
    assert after["open"] == before["open"]


def test_reasons_on_a_card_are_harmless_and_few(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    card(tables)
    proposal = store(evidence, generated(allow("s3:GetObject")), accessed())
    bad: Any = {"code": "X", "level": "review", "text": "line\nSubject: \u202e" + "x" * 900}
    evidence.put_json(REF["key"], {**proposal, "reasons": [bad] * 40})

    record(context)

    after = card_now(tables)
    assert after is not None and after["proposal"] is not None
    reasons = after["proposal"]["reasons"]
    assert len(reasons) == 10
    assert all(len(each) <= 300 and each.isprintable() for each in reasons)


@pytest.mark.parametrize("finding_id", [None, "b8ae0460"])
def test_a_proposal_without_a_card_makes_none(
    evidence: EvidenceStore, tables: Any, context: Any, finding_id: str | None
) -> None:
    store(evidence, generated(allow("s3:GetObject")), accessed())

    lambda_handler(
        {"principal": principal(finding_id=finding_id), "proposal": REF, "execution": EXECUTION},
        context,
    )

    assert card_now(tables) is None
    assert len(items(tables)) == 1


def test_what_no_finding_asked_for_stays_off_the_card(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    before = card(tables)
    store(evidence, generated(allow("s3:GetObject")), accessed())

    lambda_handler(
        {"principal": principal(finding_id=None), "proposal": REF, "execution": EXECUTION}, context
    )

    assert card_now(tables) == before


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
