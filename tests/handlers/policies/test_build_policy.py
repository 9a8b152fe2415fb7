from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.build_policy import Output, lambda_handler
from pare.errors import EvidenceError, PolicyParseError, PolicySizeError
from pare.policy.proposal import NO_GENERATION, build_proposal
from pare.runs import REJECTIONS
from tests.handlers.fake_aws import BUCKET, MEMBER
from tests.handlers.policy_inputs import (
    CREATED_AT,
    EXECUTION,
    PREFIX,
    accessed,
    allow,
    current,
    generated,
    principal,
)

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

GENERATION = f"{PREFIX}/policy_generation.json"
LAST_ACCESSED = f"{PREFIX}/last_accessed.json"
ADMINISTRATOR = current(allow("*"))


def failure(error: str, message: str) -> dict[str, Any]:
    """Return what a branch of the Parallel state leaves that caught an error."""
    cause = json.dumps({"errorType": error, "errorMessage": message})
    return {"failure": {"Error": error, "Cause": cause}}


def evidence_of(
    evidence: EvidenceStore, generation: Any = None, last_accessed: Any = None
) -> list[Any]:
    """Store both outcomes and return the branches' results."""
    return [
        {"outcome": evidence.put_json(GENERATION, generation or generated(allow("s3:GetObject")))},
        {"outcome": evidence.put_json(LAST_ACCESSED, last_accessed or accessed())},
    ]


def build(evidence: EvidenceStore, context: Any, branches: Any, access: Any = None) -> Output:
    evidence.put_json(f"{PREFIX}/current.json", access or ADMINISTRATOR)
    output: Output = lambda_handler(
        {"principal": principal(), "execution": EXECUTION, "evidence": branches}, context
    )
    return output


def test_a_proposal_is_built_and_stored_with_its_policy(
    evidence: EvidenceStore, context: Any
) -> None:
    branches = evidence_of(evidence, last_accessed=accessed("sqs"))

    output = build(evidence, context, branches)

    assert output == {
        "proposal": {"bucket": BUCKET, "key": f"{PREFIX}/proposal.json"},
        "verdict": "review",
        "has_documents": True,
    }
    proposal = evidence.get_json(output["proposal"])
    assert proposal == build_proposal(
        ADMINISTRATOR,
        generated(allow("s3:GetObject")),
        accessed("sqs"),
        account_id=MEMBER,
        break_glass_tag="pare:break-glass",
    ) | {
        "created_at": CREATED_AT,
        "owner": "orders@example.com",
        "finding_id": "b8ae0460",
        "execution": EXECUTION,
    }
    policy = evidence.get_json({"bucket": BUCKET, "key": f"{PREFIX}/policy-1.json"})
    assert [policy] == proposal["documents"]


def test_a_retried_step_leaves_the_same_bytes(evidence: EvidenceStore, context: Any) -> None:
    branches = evidence_of(evidence)

    def stored(output: Output) -> bytes:
        found = evidence.s3.get_object(Bucket=BUCKET, Key=output["proposal"]["key"])
        return found["Body"].read()

    first = stored(build(evidence, context, branches))

    assert stored(build(evidence, context, branches)) == first


def test_each_policy_of_a_long_proposal_is_an_object(evidence: EvidenceStore, context: Any) -> None:
    output = build(evidence, context, evidence_of(evidence, last_accessed=accessed("ec2")))

    proposal = evidence.get_json(output["proposal"])
    assert len(proposal["documents"]) > 1
    for number, document in enumerate(proposal["documents"], start=1):
        ref = {"bucket": BUCKET, "key": f"{PREFIX}/policy-{number}.json"}
        assert evidence.get_json(ref) == document  # type: ignore[arg-type]


@pytest.mark.parametrize("branches", [[], None])
def test_a_principal_that_must_not_be_narrowed_is_refused_without_evidence(
    evidence: EvidenceStore, context: Any, branches: Any
) -> None:
    access = current(allow("*"), tags={"pare:break-glass": "true"})

    output = build(evidence, context, branches, access)

    assert (output["verdict"], output["has_documents"]) == ("refused", False)
    (reason,) = evidence.get_json(output["proposal"])["reasons"]
    assert reason["code"] == "NOT_NARROWED"


@pytest.mark.parametrize("error", [*sorted(NO_GENERATION), "States.Timeout", "Lambda.Unknown"])
def test_a_policy_generation_that_failed_is_a_refusal_with_its_reason(
    evidence: EvidenceStore, context: Any, error: str
) -> None:
    branches = [failure(error, "why it failed"), evidence_of(evidence)[1]]

    output = build(evidence, context, branches)

    assert (output["verdict"], output["has_documents"]) == ("refused", False)
    proposal = evidence.get_json(output["proposal"])
    (reason,) = proposal["reasons"]
    assert reason["code"] == error
    assert "why it failed" in reason["text"]
    assert proposal["coverage"]["policy_generation"]["outcome"] == error
    assert proposal["coverage"]["last_accessed"]["outcome"] == "COMPLETED"


def test_last_accessed_information_that_failed_is_a_refusal(
    evidence: EvidenceStore, context: Any
) -> None:
    branches = [evidence_of(evidence)[0], failure("LastAccessedError", "still running")]

    output = build(evidence, context, branches)

    proposal = evidence.get_json(output["proposal"])
    assert [reason["code"] for reason in proposal["reasons"]] == ["LAST_ACCESSED_UNKNOWN"]
    assert proposal["coverage"]["last_accessed"]["outcome"] == "LastAccessedError"


def test_both_failed_is_a_refusal(evidence: EvidenceStore, context: Any) -> None:
    branches = [failure("ThrottledError", "slow"), failure("ThrottledError", "slow")]

    output = build(evidence, context, branches)

    assert output["verdict"] == "refused"


def test_evidence_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    branches = [
        {"outcome": {"bucket": BUCKET, "key": GENERATION}},
        {"outcome": {"bucket": BUCKET, "key": LAST_ACCESSED}},
    ]

    with pytest.raises(EvidenceError, match=GENERATION):
        build(evidence, context, branches)


def test_policies_that_were_never_stored_are_an_error(
    evidence: EvidenceStore, context: Any
) -> None:
    with pytest.raises(EvidenceError, match=r"current\.json"):
        lambda_handler({"principal": principal(), "execution": EXECUTION, "evidence": []}, context)


def test_a_policy_that_nobody_understands_rejects_the_run(
    evidence: EvidenceStore, context: Any
) -> None:
    access = current({"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]})

    with pytest.raises(PolicyParseError) as caught:
        build(evidence, context, evidence_of(evidence), access)

    assert type(caught.value).__name__ in REJECTIONS


def test_a_statement_that_fits_no_policy_is_named(evidence: EvidenceStore, context: Any) -> None:
    guard = {
        "Effect": "Deny",
        "NotAction": [f"s3:{'x' * 60}{number}" for number in range(120)],
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    access = current({"Version": "2012-10-17", "Statement": [*allow("s3:*")["Statement"], guard]})

    with pytest.raises(PolicySizeError, match="KeptDeny1"):
        build(evidence, context, evidence_of(evidence, last_accessed=accessed("s3")), access)


def test_a_bucket_that_refuses_is_an_error(
    evidence: EvidenceStore, aws: FakeAws, context: Any
) -> None:
    branches = evidence_of(evidence)
    aws.fail("s3:GetObject", "AccessDenied", 403)

    with pytest.raises(EvidenceError, match="AccessDenied"):
        build(evidence, context, branches)
