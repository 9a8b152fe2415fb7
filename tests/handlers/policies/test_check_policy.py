from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.check_policy import STORED_FORMS, Output, lambda_handler
from pare.errors import AwsServiceError, EvidenceError, ThrottledError
from pare.policy.checks import with_checks
from pare.policy.outputs import files_of
from tests.handlers.fake_aws import BUCKET, HUB
from tests.handlers.policy_inputs import PREFIX, accessed, allow, current, generated, principal
from tests.handlers.policy_inputs import proposal as proposed

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from pare.policy.proposal import ProposalJson
    from tests.handlers.fake_aws import FakeAws

VALIDATE = "accessanalyzer:ValidatePolicy"
CHECK = "accessanalyzer:CheckNoNewAccess"
REF: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/proposal.json"}


def finding(kind: str) -> dict[str, Any]:
    return {
        "findingType": kind,
        "issueCode": "A_CODE",
        "findingDetails": "Details.",
        "learnMoreLink": "https://docs.aws.amazon.com/x",
        "locations": [],
    }


def store(evidence: EvidenceStore, *services: str, **terms: Any) -> ProposalJson:
    """Store what BuildPolicy leaves, and return the proposal."""
    access = current(allow("s3:*", "ec2:*"))
    last_accessed = accessed("s3", "ec2")
    for service in last_accessed["services"]:
        if service["service"] not in services:
            service["last_accessed_at"] = None
    proposal = proposed(
        access,
        generated(allow("s3:GetObject")),
        last_accessed,
        **terms,
    )
    evidence.put_json(f"{PREFIX}/current.json", access)
    evidence.put_json(REF["key"], proposal)
    return proposal


def check(context: Any) -> Output:
    output: Output = lambda_handler({"principal": principal(), "proposal": REF}, context)
    return output


def test_what_aws_says_is_added_to_the_proposal(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    proposal = store(evidence)
    aws.answer(VALIDATE, {"findings": [finding("SUGGESTION")]})
    aws.answer(CHECK, {"result": "PASS", "message": "No new access."})

    output = check(context)

    assert output == {"proposal": REF, "verdict": "review"}
    suggestion = {"type": "SUGGESTION", "code": "A_CODE", "details": "Details.",
                  "link": "https://docs.aws.amazon.com/x"}  # fmt: skip
    passed = {"result": "PASS", "message": "No new access.", "reasons": []}
    assert evidence.get_json(REF) == with_checks(proposal, [suggestion], passed)
    assert {call.account_id for call in aws.calls} == {HUB}


def test_each_document_is_validated_and_all_are_compared_at_once(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    """Each CheckNoNewAccess costs."""
    proposal = store(evidence, "ec2", packing="never")
    assert len(proposal["documents"]) > 1
    aws.answer(VALIDATE, {"findings": []})
    aws.answer(CHECK, {"result": "PASS"})

    check(context)

    validated = [json.loads(call["policyDocument"]) for call in aws.called(VALIDATE)]
    assert validated == proposal["documents"]
    (compared,) = aws.called(CHECK)
    new = json.loads(compared["newPolicyDocument"])
    assert [
        {key: value for key, value in statement.items() if key != "Sid"}
        for part in proposal["documents"]
        for statement in part["Statement"]
    ] == new["Statement"]
    assert json.loads(compared["existingPolicyDocument"]) == allow("s3:*", "ec2:*")


def test_new_access_is_a_reason_to_review(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    store(evidence)
    aws.answer(VALIDATE, {"findings": []})
    aws.answer(CHECK, {"result": "FAIL", "message": "New access in statement 0."})

    assert check(context)["verdict"] == "review"
    codes = [reason["code"] for reason in evidence.get_json(REF)["reasons"]]
    assert codes[-1] == "NEW_ACCESS"


def test_a_policy_iam_would_not_take_is_refused(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    store(evidence)
    aws.answer(VALIDATE, {"findings": [finding("ERROR")]})
    aws.answer(CHECK, {"result": "PASS"})

    assert check(context)["verdict"] == "refused"
    stored = evidence.get_json(REF)
    assert stored["documents"] == []
    assert stored["after"] is None


@pytest.mark.parametrize("kind", ["SUGGESTION", "ERROR"])
def test_a_retried_step_neither_asks_again_nor_adds_a_second_reason(
    aws: FakeAws, evidence: EvidenceStore, context: Any, kind: str
) -> None:
    store(evidence)
    aws.answer(VALIDATE, {"findings": [finding(kind)]})
    aws.answer(CHECK, {"result": "FAIL", "message": "New."})
    first = check(context)
    stored = evidence.get_json(REF)
    asked = len(aws.calls)

    assert check(context) == first
    assert evidence.get_json(REF) == stored
    assert len(aws.calls) == asked


@pytest.mark.parametrize("operation", [VALIDATE, CHECK])
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("ThrottlingException", 429, ThrottledError),
        ("InternalServerException", 500, AwsServiceError),
    ],
)
def test_a_check_that_may_pass_later_is_an_error_and_changes_nothing(
    aws: FakeAws,
    evidence: EvidenceStore,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    proposal = store(evidence)
    aws.answer(CHECK if operation == VALIDATE else VALIDATE,
               {"result": "PASS"} if operation == VALIDATE else {"findings": []})  # fmt: skip
    aws.fail(operation, code, status)

    with pytest.raises(error) as caught:
        check(context)

    assert type(caught.value) is error
    assert evidence.get_json(REF) == proposal


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException"])
@pytest.mark.parametrize(
    ("operation", "unknown", "known"),
    [
        (VALIDATE, "validate_policy", "check_no_new_access"),
        (CHECK, "check_no_new_access", "validate_policy"),
    ],
)
def test_a_check_that_aws_refuses_is_unknown_and_leaves_the_proposal(
    aws: FakeAws,
    evidence: EvidenceStore,
    context: Any,
    operation: str,
    unknown: str,
    known: str,
    code: str,
) -> None:
    proposal = store(evidence)
    aws.answer(CHECK if operation == VALIDATE else VALIDATE,
               {"result": "PASS"} if operation == VALIDATE else {"findings": []})  # fmt: skip
    aws.fail(operation, code, 403 if code == "AccessDeniedException" else 400)

    assert check(context) == {"proposal": REF, "verdict": "review"}

    stored = evidence.get_json(REF)
    assert stored["documents"] == proposal["documents"]
    assert stored["coverage"][unknown] == "unknown"
    assert stored["coverage"][known] != "unknown"
    assert stored["reasons"][-1]["code"] == "CHECK_UNKNOWN"
    assert code in stored["reasons"][-1]["text"]


def test_a_proposal_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    with pytest.raises(EvidenceError, match=r"proposal\.json"):
        check(context)


def test_the_proposal_lies_there_in_every_form(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    store(evidence)
    aws.answer(VALIDATE, {"findings": []})
    aws.answer(CHECK, {"result": "FAIL", "message": "New access in statement 0."})

    check(context)

    forms = files_of(evidence.get_json(REF), STORED_FORMS)
    assert {"policy-1.json", "policy.tf", "policy.cloudformation.yaml", "proposal.md"} < {*forms}
    for name, text in forms.items():
        if name != "proposal.json":
            found = evidence.get_bytes({"bucket": BUCKET, "key": f"{PREFIX}/{name}"})
            assert found.decode() == text
    assert "New access in statement 0." in forms["proposal.md"]


def test_a_refusal_lies_there_as_a_page_without_a_policy(
    aws: FakeAws, evidence: EvidenceStore, context: Any
) -> None:
    access = current(allow("*"), tags={"pare:break-glass": "true"})
    evidence.put_json(f"{PREFIX}/current.json", access)
    evidence.put_json(REF["key"], proposed(access, generated(), accessed()))

    assert check(context) == {"proposal": REF, "verdict": "refused"}

    page = evidence.get_bytes({"bucket": BUCKET, "key": f"{PREFIX}/proposal.md"}).decode()
    assert "break-glass" in page
    with pytest.raises(EvidenceError):
        evidence.get_bytes({"bucket": BUCKET, "key": f"{PREFIX}/policy-1.json"})
    assert aws.calls == []
