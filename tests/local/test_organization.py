"""The seeded organization in the emulator: created through AWS's APIs, its trail readable there."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.organization import (
    CreatedOrganization,
    User,
    create_organization,
    plant_credentials,
    read_organization,
)
from local.seed_findings import plant_findings, unused_access_finding
from local.trail_generator import GeneratedTrail, generate, write_trail
from pare.clock import parse_time
from tests.local.emulator_fixtures import let_policy_generation_read

if TYPE_CHECKING:
    from local.process import Emulator

SHOP = "400000000004"
DATA = "500000000005"
CHECKOUT = f"arn:aws:iam::{SHOP}:role/app/ShopCheckout"
NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Seeded:
    """The organization and its trail, in the emulator."""

    emulator: Emulator
    created: CreatedOrganization
    trail: GeneratedTrail
    seconds: dict[str, float]


@pytest.fixture(scope="module")
def seeded(emulator: Emulator) -> Seeded:
    seconds: dict[str, float] = {}
    began = time.monotonic()
    created = create_organization(emulator, read_organization(), now=NOW)
    seconds["create"] = time.monotonic() - began
    trail = generate(created.organization, end=NOW)
    began = time.monotonic()
    write_trail(emulator, created, trail.files, trail.usage)
    plant_credentials(emulator, created.organization, now=NOW, used=trail.credentials)
    seconds["write"] = time.monotonic() - began
    return Seeded(emulator, created, trail, seconds)


def test_it_is_quick(seeded: Seeded) -> None:
    # About 1 s and 2.5 s on two idle cores; the bounds leave room for a busy machine.
    assert seeded.seconds["create"] < 10
    assert seeded.seconds["write"] < 20


def test_the_accounts_are_in_one_organization_in_their_units(seeded: Seeded) -> None:
    client = seeded.emulator.client("organizations", "200000000002")
    pages = client.get_paginator("list_accounts").paginate()
    found = {account["Id"]: account for page in pages for account in page["Accounts"]}
    assert set(seeded.created.account_ids) <= set(found)
    assert found[SHOP]["Name"] == "shop-prod"
    (parent,) = client.list_parents(ChildId=SHOP)["Parents"]
    unit = client.describe_organizational_unit(OrganizationalUnitId=parent["Id"])
    assert unit["OrganizationalUnit"]["Name"] == "Workloads"


def test_workloads_have_the_service_control_policy_the_trail_tells_of(seeded: Seeded) -> None:
    client = seeded.emulator.client("organizations", "100000000001")
    policies = client.list_policies(Filter="SERVICE_CONTROL_POLICY")["Policies"]
    (found,) = (policy for policy in policies if policy["Name"] == "KeepTables")
    targets = client.list_targets_for_policy(PolicyId=found["Id"])["Targets"]
    assert [target["Name"] for target in targets] == ["Workloads"]


def test_the_hub_is_delegated_administrator(seeded: Seeded) -> None:
    client = seeded.emulator.client("organizations", "100000000001")
    services = client.list_delegated_services_for_account(AccountId="200000000002")
    assert {entry["ServicePrincipal"] for entry in services["DelegatedServices"]} >= {
        "access-analyzer.amazonaws.com",
        "member.org.stacksets.cloudformation.amazonaws.com",
    }


def test_iam_holds_what_the_data_says(seeded: Seeded) -> None:
    for account in seeded.created.organization.accounts:
        iam = seeded.emulator.client("iam", account.account_id)
        pages = list(iam.get_paginator("get_account_authorization_details").paginate())
        roles = {role["Arn"]: role for page in pages for role in page["RoleDetailList"]}
        for role in account.roles:
            found = roles[role.arn]
            assert found["RoleId"] == role.unique_id
            attached = {policy["PolicyArn"] for policy in found["AttachedManagedPolicies"]}
            assert attached == set(role.managed_policy_arns)
            inline = {p["PolicyName"]: p["PolicyDocument"] for p in found["RolePolicyList"]}
            assert inline == dict(role.inline_policies)
            assert {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])} == dict(role.tags)
        users = {user["Arn"]: user for page in pages for user in page["UserDetailList"]}
        for user in account.users:
            assert users[user.arn]["UserId"] == user.unique_id
            assert users[user.arn].get("GroupList", []) == list(user.groups)


def test_a_boundary_and_the_access_keys_are_there(seeded: Seeded) -> None:
    iam = seeded.emulator.client("iam", SHOP)
    worker = iam.get_role(RoleName="OrderWorker")["Role"]
    assert worker["PermissionsBoundary"]["PermissionsBoundaryArn"].endswith("/WorkloadBoundary")
    deployer = seeded.created.organization.principal("shop-prod/ci-deployer")
    assert isinstance(deployer, User)
    keys = iam.list_access_keys(UserName="ci-deployer")["AccessKeyMetadata"]
    assert [(key["AccessKeyId"], key["Status"]) for key in keys] == [
        (key.access_key_id, key.status) for key in deployer.access_keys
    ]


def report_of(seeded: Seeded, account_id: str) -> dict[str, dict[str, str]]:
    """Return the rows of an account's credential report by user."""
    iam = seeded.emulator.client("iam", account_id)
    deadline = time.monotonic() + 20
    while iam.generate_credential_report()["State"] != "COMPLETE" and time.monotonic() < deadline:
        time.sleep(0.05)
    text = iam.get_credential_report()["Content"].decode()
    return {row["user"]: row for row in csv.DictReader(io.StringIO(text))}


def test_the_credential_report_tells_what_is_planted_and_what_the_trail_shows(
    seeded: Seeded,
) -> None:
    report = report_of(seeded, SHOP)

    def days(user: str, column: str) -> int:
        return (NOW - parse_time(report[user][column])).days

    assert report["<root_account>"]["access_key_1_active"] == "true"
    assert report["<root_account>"]["mfa_active"] == "true"
    assert report_of(seeded, DATA)["<root_account>"]["mfa_active"] == "false"
    assert days("ftp-bridge", "access_key_1_last_used_date") == 420
    assert days("ftp-bridge", "access_key_2_last_used_date") == 152
    assert days("ci-deployer", "access_key_1_last_rotated") == 1388
    assert report["ci-deployer"]["access_key_1_active"] == "false"
    assert 36 <= days("ci-deployer", "access_key_2_last_used_date") < 60
    assert report["ci-deployer"]["access_key_2_last_used_service"] in {
        "lambda",
        "cloudformation",
        "ecs",
    }
    assert (report["maria.jansen"]["mfa_active"], report["amira.haddad"]["mfa_active"]) == (
        "false",
        "true",
    )
    assert days("maria.jansen", "password_last_used") < 10
    assert days("jonas.weber", "password_last_used") == 131
    assert report["amira.haddad"]["access_key_1_last_used_date"] == "N/A"


def test_who_is_trusted_is_as_the_data_says(seeded: Seeded) -> None:
    def trust_of(account_id: str, name: str) -> dict[str, Any]:
        iam = seeded.emulator.client("iam", account_id)
        document: dict[str, Any] = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        (statement,) = document["Statement"]
        return {key: statement.get(key) for key in ("Principal", "Condition")}

    assert trust_of(SHOP, "PartnerFeed") == {
        "Principal": {"AWS": "arn:aws:iam::910000000001:root"},
        "Condition": {"StringEquals": {"sts:ExternalId": "northwind-parcels"}},
    }
    assert trust_of(SHOP, "AuditorsRead")["Condition"] is None
    assert trust_of(SHOP, "StatusPage")["Principal"] == {"AWS": "*"}
    assert trust_of(DATA, "HandoverReader")["Principal"] == {"AWS": "AROANORTHWINDGONE0001"}


def test_the_trail_is_an_organization_trail_with_one_arn_everywhere(seeded: Seeded) -> None:
    for account_id in ("100000000001", SHOP):
        client = seeded.emulator.client("cloudtrail", account_id)
        trail = client.get_trail(Name=seeded.created.trail_arn)["Trail"]
        assert trail["IsOrganizationTrail"]
        assert trail["IsMultiRegionTrail"]
        assert trail["S3BucketName"] == seeded.created.bucket_name


def test_the_bucket_is_owned_and_closed(seeded: Seeded) -> None:
    s3 = seeded.emulator.client("s3", "300000000003")
    bucket = seeded.created.bucket_name
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    with pytest.raises(ClientError, match="AccessDenied"):
        seeded.emulator.client("s3", SHOP).list_objects_v2(Bucket=bucket)


def test_every_file_arrived_as_it_was_made(seeded: Seeded) -> None:
    s3 = seeded.emulator.client("s3", "300000000003")
    bucket = seeded.created.bucket_name
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    sizes = {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}
    assert sizes == {file.key: len(file.body) for file in seeded.trail}
    file = seeded.trail.files[len(seeded.trail.files) // 2]
    body = s3.get_object(Bucket=bucket, Key=file.key)["Body"].read()
    assert json.loads(gzip.decompress(body)) == json.loads(gzip.decompress(file.body))


def access_role(emulator: Emulator, account_id: str, bucket: str) -> str:
    """Return the access role that Pare's member stack would make in the account."""
    iam = emulator.client("iam", account_id)
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "access-analyzer.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    role: dict[str, Any] = iam.create_role(
        RoleName="AccessAnalyzerMonitorServiceRole_Seed",
        Path="/service-role/",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]
    reading = [
        {"Effect": "Allow", "Action": ["cloudtrail:GetTrail"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": [
                "iam:GetServiceLastAccessedDetails",
                "iam:GenerateServiceLastAccessedDetails",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        },
    ]
    iam.put_role_policy(
        RoleName=role["RoleName"],
        PolicyName="read",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": reading}),
    )
    arn: str = role["Arn"]
    return arn


def test_policy_generation_finds_the_six_actions_and_the_refused_one(seeded: Seeded) -> None:
    let_policy_generation_read(seeded.emulator, seeded.created)
    client = seeded.emulator.client("accessanalyzer", SHOP)
    job_id = client.start_policy_generation(
        policyGenerationDetails={"principalArn": CHECKOUT},
        cloudTrailDetails={
            "trails": [{"cloudTrailArn": seeded.created.trail_arn, "allRegions": True}],
            "accessRole": access_role(seeded.emulator, SHOP, seeded.created.bucket_name),
            "startTime": NOW - timedelta(days=90),
            "endTime": NOW,
        },
    )["jobId"]
    deadline = time.monotonic() + 60
    answer = client.get_generated_policy(jobId=job_id)
    while answer["jobDetails"]["status"] == "IN_PROGRESS" and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = client.get_generated_policy(jobId=job_id)
    assert answer["jobDetails"]["status"] == "SUCCEEDED", answer["jobDetails"]
    actions: set[str] = set()
    for generated in answer["generatedPolicyResult"]["generatedPolicies"]:
        for statement in json.loads(generated["policy"])["Statement"]:
            found = statement["Action"]
            actions |= set([found] if isinstance(found, str) else found)
    # AWS grants denied calls too (facts §2).
    assert actions == {
        "cognito-idp:AdminGetUser",
        "dynamodb:DeleteTable",
        "dynamodb:DescribeTable",
        "kms:Decrypt",
        "secretsmanager:GetSecretValue",
        "ssm:GetParameter",
        "states:StartExecution",
    }


def test_last_accessed_knows_what_the_trail_does_not(seeded: Seeded) -> None:
    iam = seeded.emulator.client("iam", DATA)
    arn = f"arn:aws:iam::{DATA}:role/analytics/ReportReader"
    job_id = iam.generate_service_last_accessed_details(Arn=arn, Granularity="ACTION_LEVEL")[
        "JobId"
    ]
    deadline = time.monotonic() + 20
    answer = iam.get_service_last_accessed_details(JobId=job_id)
    while answer["JobStatus"] == "IN_PROGRESS" and time.monotonic() < deadline:
        time.sleep(0.05)
        answer = iam.get_service_last_accessed_details(JobId=job_id)
    (service,) = answer["ServicesLastAccessed"]
    assert service["ServiceNamespace"] == "s3"
    assert service["LastAuthenticated"] > NOW - timedelta(days=2)


def test_a_planted_finding_is_told_by_getfindingv2(seeded: Seeded) -> None:
    organization = seeded.created.organization
    checkout = organization.principal(CHECKOUT)
    found = unused_access_finding(organization, checkout, seeded.trail.usage, NOW)
    plant_findings(seeded.emulator, organization, [found])
    client = seeded.emulator.client("accessanalyzer", "200000000002")
    pages = client.get_paginator("get_finding_v2").paginate(
        analyzerArn=found.analyzer_arn, id=found.finding["id"]
    )
    details = [entry for page in pages for entry in page["findingDetails"]]
    assert len(details) == len(found.finding["findingDetails"])


def test_nothing_of_the_emulator_falls_short_but_what_is_said(seeded: Seeded) -> None:
    assert set(seeded.created.notes) <= {
        "The emulator has no ages: every role, user and key is as old as the run."
    }


def test_the_seed_folder_is_part_of_the_project() -> None:
    folder = Path(__file__).parents[2] / "local" / "seed"
    assert sorted(path.name for path in folder.glob("*.yaml")) == [
        "behaviour.yaml",
        "last_month.yaml",
        "operations.yaml",
        "organization.yaml",
        "truth.yaml",
    ]
