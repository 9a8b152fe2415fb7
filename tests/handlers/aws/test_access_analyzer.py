"""Access Analyzer: moto has none of it, so botocore's Stubber answers, shapes checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ParamValidationError
from botocore.stub import Stubber

from pare.aws.access_analyzer import AccessAnalyzer
from pare.errors import (
    AccessAnalyzerQuotaError,
    AwsCallError,
    AwsServiceError,
    MemberAccountError,
    PareError,
    PolicyGenerationConflictError,
    ThrottledError,
)
from tests.handlers.fake_aws import MEMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.handlers.fake_aws import FakeAws

PRINCIPAL = f"arn:aws:iam::{MEMBER}:role/App"
TRAIL = "arn:aws:cloudtrail:eu-west-1:111111111111:trail/organization"
ROLE = f"arn:aws:iam::{MEMBER}:role/service-role/AccessAnalyzerMonitorServiceRole_Pare"
ANALYZER = "arn:aws:access-analyzer:eu-west-1:222222222222:analyzer/unused"
START, END = datetime(2026, 8, 23, 9, tzinfo=UTC), datetime(2026, 11, 21, 9, tzinfo=UTC)
POLICY = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
def stub(aws: FakeAws) -> Iterator[Stubber]:
    with Stubber(boto3.client("accessanalyzer")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def analyzer(stub: Stubber) -> AccessAnalyzer:
    return AccessAnalyzer(stub.client, MEMBER)  # type: ignore[arg-type]


def refuse(stub: Stubber, operation: str, code: str, status: int) -> None:
    stub.add_client_error(operation, code, "AWS's own words", status)


COMMON_REFUSALS = [
    ("ThrottlingException", 429, ThrottledError),
    ("InternalServerException", 500, AwsServiceError),
    ("ValidationException", 400, AwsCallError),
]


# --- StartPolicyGeneration ---


def start(analyzer: AccessAnalyzer, regions: tuple[str, ...] = ()) -> str:
    return analyzer.start_policy_generation(
        principal_arn=PRINCIPAL,
        trail_arn=TRAIL,
        regions=regions,
        access_role_arn=ROLE,
        start=START,
        end=END,
        client_token="token",
    )


@pytest.mark.parametrize(
    ("regions", "where"),
    [((), {"allRegions": True}), (("eu-west-1", "us-east-1"),
                                  {"regions": ["eu-west-1", "us-east-1"]})],
)  # fmt: skip
def test_a_policy_generation_is_started(
    analyzer: AccessAnalyzer, stub: Stubber, regions: tuple[str, ...], where: dict[str, Any]
) -> None:
    stub.add_response(
        "start_policy_generation",
        {"jobId": "job-1"},
        {
            "policyGenerationDetails": {"principalArn": PRINCIPAL},
            "cloudTrailDetails": {
                "trails": [{"cloudTrailArn": TRAIL, **where}],
                "accessRole": ROLE,
                "startTime": START,
                "endTime": END,
            },
            "clientToken": "token",
        },
    )

    assert start(analyzer, regions) == "job-1"


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        *COMMON_REFUSALS,
        ("ServiceQuotaExceededException", 402, AccessAnalyzerQuotaError),
        ("ConflictException", 409, PolicyGenerationConflictError),
        ("AccessDeniedException", 403, MemberAccountError),
    ],
)
def test_a_start_that_is_refused_has_its_own_error(
    analyzer: AccessAnalyzer, stub: Stubber, code: str, status: int, error: type[PareError]
) -> None:
    refuse(stub, "start_policy_generation", code, status)

    with pytest.raises(error, match=f"StartPolicyGeneration in account {MEMBER}: {code}") as caught:
        start(analyzer)

    assert type(caught.value) is error


# --- GetGeneratedPolicy ---


def generated(status: str, *, job: Any = None, result: Any = None, **properties: Any) -> Any:
    return {
        "jobDetails": {"jobId": "job-1", "status": status, "startedOn": START, **(job or {})},
        "generatedPolicyResult": {
            "properties": {"principalArn": PRINCIPAL, **properties},
            **(result or {}),
        },
    }


def get(analyzer: AccessAnalyzer, stub: Stubber, answer: Any) -> Any:
    expected = {
        "jobId": "job-1",
        "includeResourcePlaceholders": True,
        "includeServiceLevelTemplate": False,
    }
    stub.add_response("get_generated_policy", answer, expected)
    return analyzer.get_generated_policy("job-1")


def test_a_running_job_has_no_policies_yet(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    assert get(analyzer, stub, generated("IN_PROGRESS")) == {
        "job_id": "job-1",
        "status": "IN_PROGRESS",
        "started_at": "2026-08-23T09:00:00Z",
        "completed_at": None,
        "error_code": None,
        "error_message": None,
        "is_complete": None,
        "policies": [],
        "trail": None,
    }


def test_a_finished_job_has_every_policy_and_what_was_read(
    analyzer: AccessAnalyzer, stub: Stubber
) -> None:
    other = {**POLICY, "Id": "second"}
    answer = generated(
        "SUCCEEDED",
        job={"completedOn": END},
        result={
            "generatedPolicies": [{"policy": json.dumps(POLICY)}, {"policy": json.dumps(other)}]
        },
        isComplete=False,
        cloudTrailProperties={
            "trailProperties": [{"cloudTrailArn": TRAIL, "allRegions": True}],
            "startTime": START,
            "endTime": END,
        },
    )

    assert get(analyzer, stub, answer) == {
        "job_id": "job-1",
        "status": "SUCCEEDED",
        "started_at": "2026-08-23T09:00:00Z",
        "completed_at": "2026-11-21T09:00:00Z",
        "error_code": None,
        "error_message": None,
        "is_complete": False,
        "policies": [POLICY, other],
        "trail": {
            "trails": [{"cloudTrailArn": TRAIL, "allRegions": True}],
            "start": "2026-08-23T09:00:00Z",
            "end": "2026-11-21T09:00:00Z",
        },
    }


@pytest.mark.parametrize(
    "code",
    ["AUTHORIZATION_ERROR", "RESOURCE_NOT_FOUND_ERROR", "SERVICE_QUOTA_EXCEEDED_ERROR",
     "SERVICE_ERROR"],
)  # fmt: skip
def test_a_failed_job_is_a_value_with_awss_code(
    analyzer: AccessAnalyzer, stub: Stubber, code: str
) -> None:
    job = {"jobError": {"code": code, "message": "AWS's own words"}, "completedOn": END}

    answer = get(analyzer, stub, generated("FAILED", job=job))

    assert (answer["status"], answer["error_code"], answer["error_message"]) == (
        "FAILED", code, "AWS's own words",
    )  # fmt: skip


def test_a_cancelled_job_is_a_value(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    assert get(analyzer, stub, generated("CANCELED"))["status"] == "CANCELED"


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("get_generated_policy", lambda analyzer: analyzer.get_generated_policy("job-1")),
        ("cancel_policy_generation", lambda analyzer: analyzer.cancel_policy_generation("job-1")),
    ],
)
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [*COMMON_REFUSALS, ("AccessDeniedException", 403, MemberAccountError)],
)
def test_a_job_that_cannot_be_asked_or_cancelled_is_an_error(
    analyzer: AccessAnalyzer,
    stub: Stubber,
    operation: str,
    call: Any,
    code: str,
    status: int,
    error: type[PareError],
) -> None:
    refuse(stub, operation, code, status)

    with pytest.raises(error, match=f"in account {MEMBER}: {code}") as caught:
        call(analyzer)

    assert type(caught.value) is error


def test_a_job_is_cancelled_by_its_id(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    stub.add_response("cancel_policy_generation", {}, {"jobId": "job-1"})

    analyzer.cancel_policy_generation("job-1")


# --- GetFindingV2 ---


def details(*entries: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    return {
        "analyzedAt": END,
        "createdAt": START,
        "id": "f-1",
        "resourceType": "AWS::IAM::Role",
        "resourceOwnerAccount": MEMBER,
        "status": "ACTIVE",
        "updatedAt": END,
        "findingDetails": list(entries),
        **({"nextToken": token} if token else {}),
    }


def test_all_pages_of_a_findings_details_are_read(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    one = {"unusedPermissionDetails": {"serviceNamespace": "s3", "lastAccessed": START}}
    other = {"unusedPermissionDetails": {"serviceNamespace": "ec2"}}
    asked = {"analyzerArn": ANALYZER, "id": "f-1"}
    stub.add_response("get_finding_v2", details(one, token="a"), asked)
    stub.add_response("get_finding_v2", details(token="b"), {**asked, "nextToken": "a"})
    stub.add_response("get_finding_v2", details(other), {**asked, "nextToken": "b"})

    found = analyzer.finding_details(ANALYZER, "f-1")

    assert found["findingDetails"] == [one, other]
    assert (found["status"], found["updatedAt"]) == ("ACTIVE", END)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        *COMMON_REFUSALS,
        ("ResourceNotFoundException", 404, AwsCallError),
        ("AccessDeniedException", 403, AwsCallError),  # the analyzer is in our own account
    ],
)
def test_details_that_cannot_be_read_are_an_error(
    analyzer: AccessAnalyzer, stub: Stubber, code: str, status: int, error: type[PareError]
) -> None:
    refuse(stub, "get_finding_v2", code, status)

    with pytest.raises(error, match=f"GetFindingV2: {code}") as caught:
        analyzer.finding_details(ANALYZER, "f-1")

    assert type(caught.value) is error


def preview_finding(finding_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": finding_id,
        "resourceType": "AWS::S3::Bucket",
        "resourceOwnerAccount": MEMBER,
        "createdAt": START,
        "changeType": "NEW",
        "status": "ACTIVE",
        **more,
    }


def test_all_pages_of_a_previews_findings_are_read(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    asked = {"analyzerArn": ANALYZER, "accessPreviewId": "p-1"}
    bucket = {"resource": "arn:aws:s3:::b", "principal": {"AWS": "*"}, "isPublic": True,
              "action": ["s3:PutObject", "s3:GetObject"], "condition": {}}  # fmt: skip
    stub.add_response(
        "list_access_preview_findings",
        {"findings": [preview_finding("f-2", **bucket)], "nextToken": "a"},
        asked,
    )
    stub.add_response(
        "list_access_preview_findings",
        {"findings": [preview_finding("f-1", error="ACCESS_DENIED", changeType="UNCHANGED")]},
        {**asked, "nextToken": "a"},
    )

    bare, full = analyzer.preview_findings(ANALYZER, "p-1")

    assert (bare["finding_id"], bare["change"], bare["error"]) == (
        "f-1", "UNCHANGED", "ACCESS_DENIED"
    )  # fmt: skip
    assert (bare["resource"], bare["principal"], bare["is_public"]) == ("", {}, None)
    assert full == {
        "finding_id": "f-2",
        "change": "NEW",
        "status": "ACTIVE",
        "existing_finding_id": None,
        "existing_status": None,
        "account_id": MEMBER,
        "resource": "arn:aws:s3:::b",
        "resource_type": "AWS::S3::Bucket",
        "is_public": True,
        "principal": {"AWS": "*"},
        "actions": ["s3:GetObject", "s3:PutObject"],
        "condition": {},
        "error": None,
    }


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        *COMMON_REFUSALS,
        ("ResourceNotFoundException", 404, AwsCallError),
        ("ConflictException", 409, AwsCallError),
    ],
)
def test_a_preview_that_cannot_be_read_is_an_error(
    analyzer: AccessAnalyzer, stub: Stubber, code: str, status: int, error: type[PareError]
) -> None:
    refuse(stub, "list_access_preview_findings", code, status)

    with pytest.raises(error, match=f"ListAccessPreviewFindings: {code}"):
        analyzer.preview_findings(ANALYZER, "p-1")


# --- Checks ---


def test_all_pages_of_a_validation_are_read(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    finding = {
        "findingType": "WARNING",
        "issueCode": "PASS_ROLE_WITH_STAR_IN_RESOURCE",
        "findingDetails": "Details.",
        "learnMoreLink": "https://docs.aws.amazon.com/x",
        "locations": [],
    }
    asked = {"policyDocument": json.dumps(POLICY), "policyType": "IDENTITY_POLICY"}
    stub.add_response("validate_policy", {"findings": [finding], "nextToken": "a"}, asked)
    stub.add_response("validate_policy", {"findings": []}, {**asked, "nextToken": "a"})

    assert analyzer.validate_policy(POLICY) == [
        {
            "type": "WARNING",
            "code": "PASS_ROLE_WITH_STAR_IN_RESOURCE",
            "details": "Details.",
            "link": "https://docs.aws.amazon.com/x",
        }
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"result": "PASS"}, {"result": "PASS", "message": "", "reasons": []}),
        (
            {"result": "FAIL", "message": "New.", "reasons": [
                {"description": "New.", "statementIndex": 0, "statementId": "Observed1"}]},
            {"result": "FAIL", "message": "New.", "reasons": [
                {"description": "New.", "statementIndex": 0, "statementId": "Observed1"}]},
        ),
    ],
)  # fmt: skip
def test_new_access_is_a_value_not_an_error(
    analyzer: AccessAnalyzer, stub: Stubber, answer: dict[str, Any], expected: dict[str, Any]
) -> None:
    existing = {**POLICY, "Id": "today"}
    stub.add_response(
        "check_no_new_access",
        answer,
        {
            "newPolicyDocument": json.dumps(POLICY),
            "existingPolicyDocument": json.dumps(existing),
            "policyType": "IDENTITY_POLICY",
        },
    )

    assert analyzer.check_no_new_access(POLICY, existing) == expected


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("validate_policy", lambda analyzer: analyzer.validate_policy(POLICY)),
        ("check_no_new_access", lambda analyzer: analyzer.check_no_new_access(POLICY, POLICY)),
    ],
)
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        *COMMON_REFUSALS,
        ("AccessDeniedException", 403, AwsCallError),
        ("InvalidParameterException", 400, AwsCallError),
        ("UnprocessableEntityException", 422, AwsCallError),
    ],
)
def test_a_check_that_cannot_be_made_is_an_error(
    analyzer: AccessAnalyzer,
    stub: Stubber,
    operation: str,
    call: Any,
    code: str,
    status: int,
    error: type[PareError],
) -> None:
    refuse(stub, operation, code, status)

    with pytest.raises(error, match=code) as caught:
        call(analyzer)

    assert type(caught.value) is error


def test_the_stub_refuses_what_aws_could_not_say(analyzer: AccessAnalyzer, stub: Stubber) -> None:
    with pytest.raises(ParamValidationError, match="generatedPolicyResult"):
        stub.add_response("get_generated_policy", {"jobDetails": {}})
