"""Access Analyzer's policy generation on the emulator, through boto3 over HTTPS (facts §1, §2)."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator_fixtures import (
    BUCKET,
    HUB,
    LOG_ARCHIVE,
    NOW,
    REGION,
    TRAIL_ARN,
    WORKLOAD,
    allow,
    bucket_policy,
    member,
    record,
    trusts,
    unique,
)

if TYPE_CHECKING:
    from local.process import Emulator
    from tests.local.emulator_fixtures import Box


@pytest.fixture(scope="module")
def access_role(box: Box) -> str:
    """An access role as AWS documents it."""
    return box.access_role()


def statements(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of all generated policies."""
    documents = [
        json.loads(policy["policy"])
        for policy in answer["generatedPolicyResult"]["generatedPolicies"]
    ]
    return [statement for document in documents for statement in document["Statement"]]


def job_error(answer: dict[str, Any]) -> str:
    """The code of the job's error."""
    assert answer["jobDetails"]["status"] == "FAILED", answer
    code: str = answer["jobDetails"]["jobError"]["code"]
    return code


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    """The code and HTTP status of a refusal."""
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_calls_of_the_role_become_one_statement_of_sorted_actions(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"), path="/team/")
    box.put_log_file(
        [
            record(role, "s3", "ListBuckets"),
            record(role, "monitoring", "PutMetricAlarm"),
            record(role, "lambda", "UpdateFunctionCode20150331v2"),
            record(role, "access-analyzer", "ListFindingsV2"),
        ]
    )

    answer = box.generate(role, access_role)

    assert answer["jobDetails"]["status"] == "SUCCEEDED"
    assert statements(answer) == [
        {
            "Sid": "SupportedServiceSid0",
            "Effect": "Allow",
            "Action": [
                "access-analyzer:ListFindings",
                "cloudwatch:PutMetricAlarm",
                "lambda:UpdateFunctionCode",
                "s3:ListAllMyBuckets",
            ],
            "Resource": "*",
        }
    ]
    assert answer["generatedPolicyResult"]["properties"]["isComplete"] is True


def test_denied_calls_are_in_and_pass_role_and_data_events_are_not(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"))
    box.put_log_file(
        [
            record(role, "iam", "CreateUser", errorCode="AccessDenied"),
            record(role, "iam", "PassRole"),
            record(role, "sts", "GetCallerIdentity"),
            record(role, "s3", "GetObject", eventCategory="Data", managementEvent=False),
            {
                k: v
                for k, v in record(role, "s3", "PutObject").items()
                if k not in {"eventCategory", "managementEvent"}
            },
            record(role, "sqs", "ListQueues", eventType="AwsServiceEvent"),
            record(role, "sns", "ListTopics", eventCategory="NetworkActivity"),
        ]
    )

    found = statements(box.generate(role, access_role))

    assert found[0]["Action"] == ["iam:CreateUser", "sts:GetCallerIdentity"]


def test_other_principals_other_accounts_and_other_times_do_not_count(
    box: Box, access_role: str
) -> None:
    role, other = box.role(unique("app")), box.role(unique("other"))
    before = NOW - timedelta(days=31)
    box.put_log_file(
        [
            record(role, "ec2", "DescribeInstances"),
            record(other, "ec2", "DescribeVpcs"),
            record(role, "ec2", "DescribeImages", at=before),
        ],
    )
    box.put_log_file([record(role, "ec2", "DescribeHosts")], account_id=HUB)

    assert statements(box.generate(role, access_role))[0]["Action"] == "ec2:DescribeInstances"


def test_a_file_delivered_the_day_after_the_end_is_read(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    end = NOW - timedelta(days=3)
    box.put_log_file(
        [record(role, "ec2", "DescribeVpcs", at=end - timedelta(minutes=1))],
        at=end + timedelta(days=1),
    )

    answer = box.generate(role, access_role, endTime=end)

    assert statements(answer)[0]["Action"] == "ec2:DescribeVpcs"


def test_only_the_regions_asked_for_are_read(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])
    box.put_log_file([record(role, "iam", "ListRoles")], region="us-east-1")
    trail = {"regions": ["us-east-1"], "allRegions": False}

    here = statements(box.generate(role, access_role, trail=trail))
    everywhere = statements(box.generate(role, access_role))

    assert here[0]["Action"] == "iam:ListRoles"
    assert everywhere[0]["Action"] == ["ec2:DescribeVpcs", "iam:ListRoles"]


def test_a_user_is_a_principal_too(box: Box, access_role: str) -> None:
    name = unique("ci")
    user = box.client("iam").create_user(UserName=name)["User"]["Arn"]
    box.put_log_file([record(user, "ec2", "DescribeVpcs")])

    assert statements(box.generate(user, access_role))[0]["Action"] == "ec2:DescribeVpcs"


def test_an_operation_without_a_known_action_makes_the_result_incomplete(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"))
    box.put_log_file(
        [record(role, "ec2", "DescribeVpcs"), record(role, "ec2", "InventedOperation")]
    )

    answer = box.generate(role, access_role)

    assert answer["generatedPolicyResult"]["properties"]["isComplete"] is False
    assert statements(answer)[0]["Action"] == "ec2:DescribeVpcs"


def test_a_role_without_calls_gets_no_policy(box: Box, access_role: str) -> None:
    answer = box.generate(box.role(unique("idle")), access_role)

    assert answer["jobDetails"]["status"] == "SUCCEEDED"
    assert answer["generatedPolicyResult"]["generatedPolicies"] == []


def test_placeholders_come_only_with_the_flag(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    box.put_log_file(
        [
            record(role, "s3", "GetBucketPolicy"),
            record(role, "ec2", "DescribeInstances"),
            record(role, "ec2", "StartInstances"),
            record(role, "ec2", "StopInstances"),
        ]
    )
    job_id = box.start_generation(role, access_role)

    plain = statements(box.finished(job_id))
    templates = statements(box.finished(job_id, includeResourcePlaceholders=True))

    assert [s["Resource"] for s in plain] == ["*"]
    assert [(s["Sid"], s["Action"], s["Resource"]) for s in templates] == [
        ("SupportedServiceSid0", "ec2:DescribeInstances", "*"),
        (
            "SupportedServiceSid1",
            ["ec2:StartInstances", "ec2:StopInstances"],
            "arn:aws:ec2:${Region}:${Account}:instance/${InstanceId}",
        ),
        ("SupportedServiceSid2", "s3:GetBucketPolicy", "arn:aws:s3:::${BucketName}"),
    ]


def test_the_service_level_template_names_services_used_without_actions(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"), allow("s3:*", "sqs:*", "ec2:*"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])
    box.emulator.control("usage", {"entries": [use(role, "s3"), use(role, "ec2")]})
    job_id = box.start_generation(role, access_role)

    without = statements(box.finished(job_id))
    with_template = statements(box.finished(job_id, includeServiceLevelTemplate=True))

    assert [s["Action"] for s in without] == ["ec2:DescribeVpcs"]
    assert [s["Action"] for s in with_template] == ["ec2:DescribeVpcs", "s3:*"]


def use(principal_arn: str, service: str) -> dict[str, Any]:
    """One planted use of a service."""
    return {
        "principal_arn": principal_arn,
        "service": service,
        "action": None,
        "last_accessed_at": NOW.isoformat(),
        "region": REGION,
    }


def test_a_large_result_is_split_into_policies_that_fit(box: Box, access_role: str) -> None:
    from pare.policy.catalogue import load_catalogue

    role = box.role(unique("app"))
    names = [action.partition(":")[2] for action in sorted(load_catalogue().actions("ec2"))]
    box.put_log_file([record(role, "ec2", name) for name in names if name.startswith("D")])

    answer = box.generate(role, access_role)

    documents = [p["policy"] for p in answer["generatedPolicyResult"]["generatedPolicies"]]
    assert len(documents) > 1
    assert all(
        len(json.dumps(json.loads(document), separators=(",", ":"))) <= 6144
        for document in documents
    )


def test_properties_are_there_while_the_job_runs(
    box: Box, access_role: str, settings: Emulator
) -> None:
    settings.control("settings", {"job_delay_seconds": 0.5})
    role = box.role(unique("app"))

    job_id = box.start_generation(role, access_role)
    answer = box.client("accessanalyzer").get_generated_policy(jobId=job_id)

    assert answer["jobDetails"]["status"] == "IN_PROGRESS"
    assert "completedOn" not in answer["jobDetails"]
    properties = answer["generatedPolicyResult"]["properties"]
    assert properties["principalArn"] == role
    assert properties["cloudTrailProperties"]["trailProperties"] == [
        {"cloudTrailArn": TRAIL_ARN, "allRegions": True}
    ]
    assert "generatedPolicies" not in answer["generatedPolicyResult"]
    assert box.finished(job_id)["jobDetails"]["status"] == "SUCCEEDED"


def test_one_job_at_a_time_in_each_region(box: Box, access_role: str, settings: Emulator) -> None:
    settings.control("settings", {"job_delay_seconds": 60})
    role = box.role(unique("app"))
    job_id = box.start_generation(role, access_role)

    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role)
    elsewhere = box.client("accessanalyzer", region="eu-west-2")
    other = box.start_generation(role, access_role, client=elsewhere)

    assert refused(error) == ("ServiceQuotaExceededException", 402)
    box.client("accessanalyzer").cancel_policy_generation(jobId=job_id)
    elsewhere.cancel_policy_generation(jobId=other)


def test_a_canceled_job_ends_canceled_and_counts_to_the_day(
    box: Box, access_role: str, settings: Emulator
) -> None:
    region = "ap-southeast-4"  # 5 a day
    client = box.client("accessanalyzer", region=region)
    settings.control("settings", {"job_delay_seconds": 60})
    role = box.role(unique("app"))
    for _ in range(5):
        job_id = box.start_generation(role, access_role, client=client)
        client.cancel_policy_generation(jobId=job_id)

    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role, client=client)

    ended = client.get_generated_policy(jobId=job_id)
    assert ended["jobDetails"]["status"] == "CANCELED"
    assert "completedOn" in ended["jobDetails"]
    assert refused(error) == ("ServiceQuotaExceededException", 402)
    assert "5 a day" in str(error.value)
    settings.control("settings", {"clock_offset_seconds": 86401})
    tomorrow = box.start_generation(role, access_role, client=client)
    client.cancel_policy_generation(jobId=tomorrow)


def test_the_quota_of_a_day_is_50_where_aws_says_so(
    box: Box, access_role: str, settings: Emulator
) -> None:
    client = box.client("accessanalyzer", region="us-west-1")
    settings.control("settings", {"job_delay_seconds": 60})
    role = box.role(unique("app"))
    for _ in range(50):
        job_id = box.start_generation(role, access_role, client=client)
        client.cancel_policy_generation(jobId=job_id)

    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role, client=client)

    assert "50 a day" in str(error.value)


def test_the_same_client_token_gives_the_same_job(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    client = box.client("accessanalyzer")
    request = {
        "policyGenerationDetails": {"principalArn": role},
        "cloudTrailDetails": {
            "trails": [{"cloudTrailArn": TRAIL_ARN, "allRegions": True}],
            "accessRole": access_role,
            "startTime": NOW - timedelta(days=1),
        },
        "clientToken": unique("token"),
    }

    first = client.start_policy_generation(**request)["jobId"]
    second = client.start_policy_generation(**request)["jobId"]
    other = {**request, "policyGenerationDetails": {"principalArn": box.role(unique("app"))}}
    with pytest.raises(ClientError) as error:
        client.start_policy_generation(**other)

    assert first == second
    assert refused(error) == ("ConflictException", 409)
    assert member(error, "resourceId") == first
    box.finished(first)


def test_jobs_are_listed_newest_first_by_principal_and_page(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    jobs = []
    for _ in range(3):
        jobs.append(box.start_generation(role, access_role))
        box.finished(jobs[-1])
    client = box.client("accessanalyzer")

    first = client.list_policy_generations(principalArn=role, maxResults=2)
    rest = client.list_policy_generations(principalArn=role, nextToken=first["nextToken"])

    listed = first["policyGenerations"] + rest["policyGenerations"]
    assert [job["jobId"] for job in listed] == jobs[::-1]
    assert {job["status"] for job in listed} == {"SUCCEEDED"}
    assert "nextToken" not in rest


def test_a_job_is_visible_for_seven_days(box: Box, access_role: str, settings: Emulator) -> None:
    role = box.role(unique("app"))
    job_id = box.start_generation(role, access_role)
    box.finished(job_id)
    settings.control("settings", {"clock_offset_seconds": 7 * 86400 + 60})
    client = box.client("accessanalyzer")

    with pytest.raises(ClientError) as error:
        client.get_generated_policy(jobId=job_id)

    assert refused(error) == ("ValidationException", 400)
    assert client.list_policy_generations(principalArn=role)["policyGenerations"] == []


def test_an_unknown_job_is_a_validation_error_naming_the_field(box: Box) -> None:
    client = box.client("accessanalyzer")
    with pytest.raises(ClientError) as error:
        client.get_generated_policy(jobId="00000000-0000-0000-0000-000000000000")

    assert refused(error) == ("ValidationException", 400)
    assert member(error, "reason") == "fieldValidationFailed"
    assert member(error, "fieldList")[0]["name"] == "jobId"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"startTime": NOW - timedelta(days=91)}, "startTime"),
        ({"startTime": NOW, "endTime": NOW - timedelta(days=1)}, "startTime"),
        ({"trails": []}, "trails"),
    ],
    ids=["91 days", "end before start", "no trail"],
)
def test_a_wrong_window_or_trail_list_is_refused(
    box: Box, access_role: str, changes: dict[str, Any], field: str
) -> None:
    role = box.role(unique("app"))
    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role, **changes)

    assert refused(error) == ("ValidationException", 400)
    assert member(error, "fieldList")[0]["name"].endswith(field)


def test_a_principal_must_exist_in_the_callers_account(box: Box, access_role: str) -> None:
    elsewhere = box.role(unique("app"), account_id=HUB)
    for principal in (elsewhere, f"arn:aws:iam::{WORKLOAD}:role/gone"):
        with pytest.raises(ClientError) as error:
            box.start_generation(principal, access_role)
        assert refused(error) == ("ValidationException", 400)
        assert principal in str(error.value)


def test_a_trust_policy_without_access_analyzer_ends_in_an_authorization_error(box: Box) -> None:
    role = box.role(unique("app"))
    wrong = box.access_role(trust=trusts(service="lambda.amazonaws.com"))

    assert job_error(box.generate(role, wrong)) == "AUTHORIZATION_ERROR"


@pytest.mark.parametrize(
    "missing", ["cloudtrail:GetTrail", "s3:ListBucket", "s3:GetObject", "iam:GetServiceLast*"]
)
def test_each_right_of_the_access_role_is_needed(box: Box, missing: str) -> None:
    actions = [
        "cloudtrail:GetTrail",
        "iam:GenerateServiceLastAccessedDetails",
        "iam:GetServiceLastAccessedDetails",
        "s3:GetObject",
        "s3:ListBucket",
    ]
    kept = [action for action in actions if not action.startswith(missing.rstrip("*"))]
    role = box.role(unique("app"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])

    answer = box.generate(role, box.access_role(policy=allow(*kept)))

    assert job_error(answer) == "AUTHORIZATION_ERROR"


def test_an_access_role_outside_the_documented_path_is_refused_by_the_bucket(box: Box) -> None:
    role = box.role(unique("app"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])
    elsewhere = box.role(
        unique("AccessAnalyzerMonitorServiceRole_T"),
        allow("*"),
        trust=trusts(service="access-analyzer.amazonaws.com"),
    )

    assert job_error(box.generate(role, elsewhere)) == "AUTHORIZATION_ERROR"


def test_a_bucket_policy_for_another_organization_refuses_even_files_read_before(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])
    assert box.generate(role, access_role)["jobDetails"]["status"] == "SUCCEEDED"
    s3 = box.client("s3", LOG_ARCHIVE)
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(bucket_policy("o-0000000000")))
    try:
        answer = box.generate(role, access_role)
    finally:
        right = json.dumps(bucket_policy(box.organization_id))
        s3.put_bucket_policy(Bucket=BUCKET, Policy=right)

    assert job_error(answer) == "AUTHORIZATION_ERROR"


def test_a_missing_trail_or_bucket_ends_in_not_found(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    name = unique("trail")
    trail = box.client("cloudtrail").create_trail(Name=name, S3BucketName="no-such-bucket-here")

    gone = box.generate(role, access_role, trail={"cloudTrailArn": f"{TRAIL_ARN}-gone"})
    empty = box.generate(role, access_role, trail={"cloudTrailArn": trail["TrailARN"]})

    assert job_error(gone) == "RESOURCE_NOT_FOUND_ERROR"
    assert job_error(empty) == "RESOURCE_NOT_FOUND_ERROR"


def test_a_trail_of_the_account_alone_with_a_key_prefix_is_read(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    bucket, name = unique("own-trail-logs"), unique("trail")
    s3 = box.client("s3", WORKLOAD)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    trail = box.client("cloudtrail").create_trail(
        Name=name, S3BucketName=bucket, S3KeyPrefix="logs"
    )
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=json.dumps(
            {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{LOG_ARCHIVE}:root"},
                        "Action": "s3:PutObject",
                        "Resource": f"arn:aws:s3:::{bucket}/*",
                    }
                ]
            }
        ),
    )
    box.put_log_file(
        [record(role, "ec2", "DescribeVpcs")], organization=False, bucket=bucket, prefix="logs/"
    )

    answer = box.generate(role, access_role, trail={"cloudTrailArn": trail["TrailARN"]})

    assert statements(answer)[0]["Action"] == "ec2:DescribeVpcs"


@pytest.mark.parametrize("limit", ["max_files", "max_bytes"])
def test_too_many_files_or_bytes_end_in_a_quota_error(
    box: Box, access_role: str, settings: Emulator, limit: str
) -> None:
    role = box.role(unique("app"))
    box.put_log_file([record(role, "ec2", "DescribeVpcs")])
    settings.control("settings", {limit: 0})

    answer = box.generate(role, access_role)

    assert job_error(answer) == "SERVICE_QUOTA_EXCEEDED_ERROR"
    if limit == "max_files":
        assert answer["jobDetails"]["jobError"]["message"] == (
            "CloudTrail log files processed per policy generation limit exceeded. "
            "Please fix before trying again."
        )


def test_a_denial_names_principal_action_and_resource(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    powerless = box.session(box.role(unique("caller"), allow("iam:PassRole")))

    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role, client=powerless.client("accessanalyzer"))

    assert refused(error) == ("AccessDeniedException", 403)
    assert f"assumed-role/{'caller'}" in str(error.value)
    assert "access-analyzer:StartPolicyGeneration on resource: *" in str(error.value)


def test_the_caller_must_be_allowed_to_pass_the_access_role_to_access_analyzer(
    box: Box, access_role: str
) -> None:
    role = box.role(unique("app"))
    start = {"Effect": "Allow", "Action": "access-analyzer:*", "Resource": "*"}

    def caller(service: str) -> Any:
        passing = {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": access_role,
            "Condition": {"StringEquals": {"iam:PassedToService": service}},
        }
        policy = {"Version": "2012-10-17", "Statement": [start, passing]}
        return box.session(box.role(unique("caller"), policy)).client("accessanalyzer")

    with pytest.raises(ClientError) as error:
        box.start_generation(role, access_role, client=caller("ec2.amazonaws.com"))
    job_id = box.start_generation(role, access_role, client=caller("access-analyzer.amazonaws.com"))

    assert refused(error) == ("AccessDeniedException", 403)
    assert f"iam:PassRole on resource: {access_role}" in str(error.value)
    assert box.finished(job_id)["jobDetails"]["status"] == "SUCCEEDED"


def test_a_wrong_signature_is_refused(box: Box) -> None:
    session = box.session(box.role(unique("caller"), allow("*")))
    session.credentials["SecretAccessKey"] = "wrong"

    with pytest.raises(ClientError) as error:
        session.client("accessanalyzer").list_analyzers()

    assert refused(error)[1] == 403
    assert refused(error)[0] in {"InvalidSignatureException", "SignatureDoesNotMatch"}


def test_a_thousand_files_take_seconds_and_are_fetched_once(box: Box, access_role: str) -> None:
    role = box.role(unique("app"))
    region = "eu-north-1"

    def put(number: int) -> None:
        box.put_log_file(
            [record(role, "ec2", "DescribeVpcs")],
            at=NOW - timedelta(days=1 + number % 10),
            region=region,
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(300)))
    trail = {"regions": [region], "allRegions": False}

    started = time.monotonic()
    box.generate(role, access_role, trail=trail)
    first = time.monotonic() - started
    started = time.monotonic()
    box.generate(role, access_role, trail=trail)
    second = time.monotonic() - started

    assert first < 15
    assert second < first
