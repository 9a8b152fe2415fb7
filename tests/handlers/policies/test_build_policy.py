from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.build_policy import Output, lambda_handler
from pare.cloudtrail.activity import Asked
from pare.cloudtrail.activity_file import write_activity
from pare.cloudtrail.digest import Digest
from pare.errors import EvidenceError, PolicyParseError, PolicySizeError
from pare.policy.reasons import NO_GENERATION
from pare.runs import REJECTIONS
from tests.handlers.fake_aws import BUCKET, MEMBER, REGION
from tests.handlers.policy_inputs import (
    ARN,
    CREATED_AT,
    EXECUTION,
    PREFIX,
    ROUTE,
    TERMS,
    accessed,
    allow,
    call,
    current,
    generated,
    principal,
)
from tests.handlers.policy_inputs import proposal as proposed
from tests.unit.cloudtrail.records import delivered

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
) -> dict[str, Any]:
    """Store both outcomes and return what was gathered."""
    return gathered(
        {"outcome": evidence.put_json(GENERATION, generation or generated(allow("s3:GetObject")))},
        {"outcome": evidence.put_json(LAST_ACCESSED, last_accessed or accessed())},
    )


def gathered(policy_generation: Any, last_accessed: Any) -> dict[str, Any]:
    return {
        "route": ROUTE,
        "policy_generation": policy_generation,
        "activity": {},
        "last_accessed": last_accessed,
    }


def build(evidence: EvidenceStore, context: Any, branches: Any, access: Any = None) -> Output:
    if access != "nothing is stored":
        evidence.put_json(f"{PREFIX}/current.json", access or ADMINISTRATOR)
    output: Output = lambda_handler(
        {"principal": principal(), "execution": EXECUTION, "evidence": branches, "terms": TERMS},
        context,
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
    assert proposal == proposed(
        ADMINISTRATOR,
        generated(allow("s3:GetObject")),
        accessed("sqs"),
    ) | {
        "created_at": CREATED_AT,
        "owner": "orders@example.com",
        "finding_id": "b8ae0460",
        "execution": EXECUTION,
    }


def test_a_retried_step_leaves_the_same_bytes(evidence: EvidenceStore, context: Any) -> None:
    branches = evidence_of(evidence)

    def stored(output: Output) -> bytes:
        found = evidence.s3.get_object(Bucket=BUCKET, Key=output["proposal"]["key"])
        return found["Body"].read()

    first = stored(build(evidence, context, branches))

    assert stored(build(evidence, context, branches)) == first


def test_a_principal_that_must_not_be_narrowed_is_refused_without_evidence(
    evidence: EvidenceStore, context: Any
) -> None:
    access = current(allow("*"), tags={"pare:break-glass": "true"})

    output = build(evidence, context, {}, access)

    assert (output["verdict"], output["has_documents"]) == ("refused", False)
    (reason,) = evidence.get_json(output["proposal"])["reasons"]
    assert reason["code"] == "NOT_NARROWED"


@pytest.mark.parametrize("error", [*sorted(NO_GENERATION), "States.Timeout", "Lambda.Unknown"])
def test_a_policy_generation_that_failed_is_a_refusal_with_its_reason(
    evidence: EvidenceStore, context: Any, error: str
) -> None:
    branches = evidence_of(evidence) | {"policy_generation": failure(error, "why it failed")}

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
    branches = evidence_of(evidence) | {
        "last_accessed": failure("LastAccessedError", "still running")
    }

    output = build(evidence, context, branches)

    proposal = evidence.get_json(output["proposal"])
    assert [reason["code"] for reason in proposal["reasons"]] == ["LAST_ACCESSED_UNKNOWN"]
    assert proposal["coverage"]["last_accessed"]["outcome"] == "LastAccessedError"


def test_both_failed_is_a_refusal(evidence: EvidenceStore, context: Any) -> None:
    branches = gathered(failure("ThrottledError", "slow"), failure("ThrottledError", "slow"))

    output = build(evidence, context, branches)

    assert output["verdict"] == "refused"


def test_evidence_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    branches = gathered(
        {"outcome": {"bucket": BUCKET, "key": GENERATION}},
        {"outcome": {"bucket": BUCKET, "key": LAST_ACCESSED}},
    )

    with pytest.raises(EvidenceError, match=GENERATION):
        build(evidence, context, branches)


def test_policies_that_were_never_stored_are_an_error(
    evidence: EvidenceStore, context: Any
) -> None:
    with pytest.raises(EvidenceError, match=r"current\.json"):
        lambda_handler(
            {"principal": principal(), "execution": EXECUTION, "evidence": {}, "terms": TERMS},
            context,
        )


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


def activity_of(evidence: EvidenceStore, *records: dict[str, Any]) -> dict[str, Any]:
    """Store the activity file of some records as GetActivity does, and return what it says."""
    digest = Digest()
    digest.add_file("AWSLogs/one.json", delivered(*records))
    activity = digest.activity()
    activity.asked = {Asked("2026-08-23T00:00:00Z", "2026-11-20T23:59:59Z", (ARN,), (MEMBER,))}
    file = io.BytesIO()
    write_activity(activity, file)
    key = f"{PREFIX}/activity.ndjson.gz"
    evidence.s3.put_object(Bucket=BUCKET, Key=key, Body=file.getvalue())
    days = {
        "first": "2026-08-23", "last": "2026-11-20", "digest_count": 90, "missing": [], "quiet": [],
        "unreadable": [], "unread_files": 0,
    }  # fmt: skip
    return {"outcome": {"bucket": BUCKET, "key": key}, "days": days}


def test_activity_gives_a_policy_on_the_real_resource_that_is_ready(
    evidence: EvidenceStore, context: Any
) -> None:
    table = f"arn:aws:dynamodb:{REGION}:{MEMBER}:table/orders"
    record = call("1", "2026-11-19", name="DescribeTable") | {
        "eventSource": "dynamodb.amazonaws.com", "requestParameters": {"tableName": "orders"},
    }  # fmt: skip
    last_accessed = accessed("dynamodb")
    last_accessed["services"][0]["actions"] = {}
    ref = evidence.put_json(LAST_ACCESSED, last_accessed)
    sources = {
        "route": {"route": "activity", "reason": "Control Tower", "waits": False},
        "activity": activity_of(evidence, record),
        "policy_generation": {},
        "last_accessed": {"outcome": ref},
    }

    output = build(
        evidence, context, sources, current(allow("dynamodb:DescribeTable", "dynamodb:DeleteTable"))
    )

    proposal = evidence.get_json(output["proposal"])
    (document,) = proposal["documents"]
    (statement,) = document["Statement"]
    assert statement["Action"] == ["dynamodb:DescribeTable"]
    assert statement["Resource"] == [table]
    assert proposal["replay"]["complete"]
    assert proposal["coverage"]["route"]["reason"] == "Control Tower"
    assert proposal["coverage"]["activity"]["window_days"] == 90


def test_activity_of_a_principal_that_did_nothing_is_a_refusal(
    evidence: EvidenceStore, context: Any
) -> None:
    other = call("1", "2026-11-19", arn=f"arn:aws:iam::{MEMBER}:role/Other", unique_id="AROAOTHER")
    ref = evidence.put_json(LAST_ACCESSED, accessed())
    sources = {"activity": activity_of(evidence, other), "last_accessed": {"outcome": ref}}

    output = build(evidence, context, sources, current(allow("sqs:ListQueues")))

    (reason,) = evidence.get_json(output["proposal"])["reasons"]
    assert (output["verdict"], reason["code"]) == ("refused", "NO_ACTIVITY")


def test_activity_that_failed_is_told(evidence: EvidenceStore, context: Any) -> None:
    sources = {
        "activity": failure("ActivityMissingError", "no digest of 2026-08-23"),
        "policy_generation": {},
        "last_accessed": {"outcome": evidence.put_json(LAST_ACCESSED, accessed())},
    }

    output = build(evidence, context, sources)

    (reason,) = evidence.get_json(output["proposal"])["reasons"]
    assert reason["code"] == "NO_EVIDENCE"
    assert "no digest of 2026-08-23" in reason["text"]
