"""Building blocks of the emulator's tests: accounts, roles, sessions, trails and log files."""

from __future__ import annotations

import gzip
import itertools
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from botocore.exceptions import ClientError

    from local.organization import CreatedOrganization
    from local.process import Emulator

MANAGEMENT = "100000000001"
HUB = "100000000002"
LOG_ARCHIVE = "100000000003"
WORKLOAD = "100000000004"
REGION = "eu-west-1"
NOW = datetime.now(UTC).replace(microsecond=0)
BUCKET = "org-trail-logs"
TRAIL_NAME = "org-trail"
TRAIL_ARN = f"arn:aws:cloudtrail:{REGION}:{MANAGEMENT}:trail/{TRAIL_NAME}"

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """Return a name not used before in this run."""
    return f"{prefix}-{next(_numbers)}"


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """Return a policy with one Allow statement."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trusts(*, service: str | None = None, account: str | None = None) -> dict[str, Any]:
    """Return a trust policy for a service or an account."""
    principal = {"Service": service} if service else {"AWS": f"arn:aws:iam::{account}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


@dataclass(frozen=True)
class Box:
    """The organization as the tests use it."""

    emulator: Emulator
    organization_id: str

    def client(self, service: str, account_id: str = WORKLOAD, region: str = REGION) -> Any:
        """Return a client of the account's root."""
        return self.emulator.client(service, account_id, region)

    def role(
        self,
        name: str,
        policy: dict[str, Any] | None = None,
        *,
        account_id: str = WORKLOAD,
        trust: dict[str, Any] | None = None,
        path: str = "/",
    ) -> str:
        """Return the ARN of a new role with one inline policy."""
        iam = self.client("iam", account_id)
        role = iam.create_role(
            RoleName=name,
            Path=path,
            AssumeRolePolicyDocument=json.dumps(trust or trusts(account=account_id)),
        )["Role"]
        if policy is not None:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
        arn: str = role["Arn"]
        return arn

    def session(self, role_arn: str, *, by: str = WORKLOAD, name: str = "test") -> Session:
        """Return a session of the role, assumed by the account's root."""
        sts = self.client("sts", by)
        found = sts.assume_role(RoleArn=role_arn, RoleSessionName=name)["Credentials"]
        return Session(self.emulator, found)

    def access_role(self, name: str | None = None, **changes: Any) -> str:
        """Return the ARN of a new access role for policy generation, as AWS documents it."""
        policy = changes.get("policy") or allow(
            "cloudtrail:GetTrail",
            "iam:GenerateServiceLastAccessedDetails",
            "iam:GetServiceLastAccessedDetails",
            "s3:GetObject",
            "s3:ListBucket",
        )
        return self.role(
            name or unique("AccessAnalyzerMonitorServiceRole_T"),
            policy,
            trust=changes.get("trust") or trusts(service="access-analyzer.amazonaws.com"),
            path="/service-role/",
        )

    def put_log_file(
        self,
        records: list[dict[str, Any]],
        *,
        at: datetime | None = None,
        account_id: str = WORKLOAD,
        region: str = REGION,
        organization: bool = True,
        bucket: str = BUCKET,
        prefix: str = "",
        encrypted_with: str | None = None,
    ) -> str:
        """Return the key of a new log file in the trail's bucket, in the folder of its day."""
        at = at or NOW - timedelta(days=1)
        organization_part = f"{self.organization_id}/" if organization else ""
        key = (
            f"{prefix}AWSLogs/{organization_part}{account_id}/CloudTrail/{region}/{at:%Y/%m/%d}/"
            f"{account_id}_CloudTrail_{region}_{at:%Y%m%dT%H%MZ}_{next(_numbers):016d}.json.gz"
        )
        body = gzip.compress(json.dumps({"Records": records}).encode())
        options: dict[str, Any] = {}
        if encrypted_with is not None:
            options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": encrypted_with}
        self.client("s3", LOG_ARCHIVE).put_object(Bucket=bucket, Key=key, Body=body, **options)
        return key

    def start_generation(self, principal_arn: str, access_role: str, **changes: Any) -> str:
        """Return the job id of a policy generation over the last 30 days."""
        client = changes.pop("client", None) or self.client("accessanalyzer")
        trail = {"cloudTrailArn": TRAIL_ARN, "allRegions": True, **changes.pop("trail", {})}
        job_id: str = client.start_policy_generation(
            policyGenerationDetails={"principalArn": principal_arn},
            cloudTrailDetails={
                "trails": [trail],
                "accessRole": access_role,
                "startTime": NOW - timedelta(days=30),
                "endTime": NOW,
                **changes,
            },
        )["jobId"]
        return job_id

    def finished(self, job_id: str, **options: Any) -> dict[str, Any]:
        """Return GetGeneratedPolicy's answer once the job has ended."""
        client = self.client("accessanalyzer")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer: dict[str, Any] = client.get_generated_policy(jobId=job_id, **options)
            if answer["jobDetails"]["status"] != "IN_PROGRESS":
                return answer
            time.sleep(0.02)
        raise AssertionError(f"job {job_id} is still running")

    def generate(self, principal_arn: str, access_role: str, **changes: Any) -> dict[str, Any]:
        """Return the ended job of a new policy generation."""
        return self.finished(self.start_generation(principal_arn, access_role, **changes))


@dataclass(frozen=True)
class Session:
    """A role session's or user's credentials."""

    emulator: Emulator
    credentials: dict[str, Any]

    def client(self, service: str, region: str = REGION) -> Any:
        """Return a client with the session's credentials."""
        return self.emulator.client_with(
            service,
            access_key_id=self.credentials["AccessKeyId"],
            secret_access_key=self.credentials["SecretAccessKey"],
            session_token=self.credentials.get("SessionToken"),
            region=region,
        )


def build(emulator: Emulator) -> Box:
    """Return the organization: four accounts, an organization trail and its bucket."""
    emulator.control(
        "accounts",
        {
            "accounts": [
                {"account_id": HUB, "name": "hub"},
                {"account_id": LOG_ARCHIVE, "name": "log-archive"},
                {"account_id": WORKLOAD, "name": "workload"},
            ]
        },
    )
    organizations = emulator.client("organizations", MANAGEMENT)
    organization_id = organizations.describe_organization()["Organization"]["Id"]
    box = Box(emulator, organization_id)
    s3 = box.client("s3", LOG_ARCHIVE)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(bucket_policy(organization_id)))
    box.client("cloudtrail", MANAGEMENT).create_trail(
        Name=TRAIL_NAME, S3BucketName=BUCKET, IsOrganizationTrail=True, IsMultiRegionTrail=True
    )
    return box


def bucket_policy(organization_id: str, bucket: str = BUCKET) -> dict[str, Any]:
    """Return the bucket policy AWS documents for policy generation across accounts (facts §2)."""
    role = (
        "arn:aws:iam::${aws:PrincipalAccount}:role/service-role/AccessAnalyzerMonitorServiceRole*"
    )
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "PolicyGenerationBucketPolicy",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [
                    f"arn:aws:s3:::{bucket}",
                    f"arn:aws:s3:::{bucket}/AWSLogs/{organization_id}/${{aws:PrincipalAccount}}/*",
                ],
                "Condition": {
                    "StringEquals": {"aws:PrincipalOrgID": organization_id},
                    "ArnLike": {"aws:PrincipalArn": role},
                },
            }
        ],
    }


def let_policy_generation_read(emulator: Emulator, created: CreatedOrganization) -> None:
    """Add AWS's statement for policy generation to the seeded trail bucket's policy.

    For tests without PareLogArchive, which adds it and what Pare's own functions need.
    """
    bucket, owner = created.bucket_name, created.organization.log_archive_account.account_id
    s3 = emulator.client("s3", owner, created.organization.home_region)
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    policy["Statement"] += bucket_policy(created.organization_id, bucket)["Statement"]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))


def record(
    principal_arn: str, source: str, name: str, *, at: datetime | None = None, **changes: Any
) -> dict[str, Any]:
    """Return a CloudTrail record of a call by a role (through a session) or a user."""
    account_id, _, rest = principal_arn.split(":", 4)[4].partition(":")
    principal = rest.rpartition("/")[2]
    if rest.startswith("role/"):
        identity = {
            "type": "AssumedRole",
            "arn": f"arn:aws:sts::{account_id}:assumed-role/{principal}/session",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": principal_arn}},
        }
    else:
        identity = {"type": "IAMUser", "arn": principal_arn, "userName": principal}
    at = at or NOW - timedelta(days=1)
    return {
        "eventVersion": "1.11",
        "userIdentity": identity,
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{source}.amazonaws.com",
        "eventName": name,
        "awsRegion": REGION,
        "eventType": "AwsApiCall",
        "eventCategory": "Management",
        "managementEvent": True,
        **changes,
    }


def member(error: pytest.ExceptionInfo[ClientError], name: str) -> Any:
    """Return a member of an error's shape, beside code and message."""
    response: dict[str, Any] = dict(error.value.response)
    return response[name]
