"""A function's look at the log archive, where policies are enforced: what it says is what is so.

The roles, policies and keys are as the stacks make them; the function is asked as Lambda runs it,
with its role's credentials. Each defect is planted alone, and the printed mend is carried out: the
bucket is named like one of Control Tower's, so that it is the whole policy, put by its role.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from pare.aws import probe
from pare.aws.doctor import log_archive, trail
from pare.aws.doctor.context import Examination
from pare.doctor.elsewhere import key_reading_mend
from pare.log_archive.statements import bucket_statements, key_statements
from tests.doctor_setup import setup
from tests.local.emulator_fixtures import (
    HUB,
    LOG_ARCHIVE,
    MANAGEMENT,
    NOW,
    REGION,
    WORKLOAD,
    Box,
    allow,
    trusts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.doctor.model import Result
    from pare.doctor.setup import Setup

BUCKET = "aws-controltower-probed-trail-logs"
CONTROL_TOWER_ROLE = "AWSControlTowerExecution"
TRAIL_NAME = "probed-trail"
MEMBER_ROLE = "ProbedMember"
EXTERNAL_ID = "pare-probed"
LISTS, READS, ENTERS = "ProbedListLogs", "ProbedDigestLogs", "ProbedListPrincipals"
FUNCTIONS = {
    "list_logs": LISTS, "choose_route": LISTS, "digest_logs": READS, "list_principals": ENTERS,
}  # fmt: skip


@dataclass(frozen=True)
class AsFunctions(Examination):
    """An examination that asks with the functions' roles, as Lambda would run them."""

    box: Box = field(kw_only=True)
    variables: dict[str, str] = field(kw_only=True)

    def probe(self, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        role = f"arn:aws:iam::{HUB}:role/{FUNCTIONS[construct_id]}"
        credentials = self.box.session(role, by=HUB).credentials
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in {
                **self.box.emulator.environment(HUB, REGION),
                "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
                "AWS_SESSION_TOKEN": credentials["SessionToken"],
            }.items():
                patch.setenv(name, value)
            answer = probe.answer(request, variables=self.variables, seconds_left=lambda: 300)
        return dict(json.loads(json.dumps(answer)))


@dataclass(frozen=True)
class World:
    """A trail with all it needs, in the emulated organization."""

    box: Box
    setup: Setup
    kms_key: str

    def results(self, module: Any) -> list[Result]:
        settings = {
            "MEMBER_ROLE_ARN_TEMPLATE": f"arn:aws:iam::{{account_id}}:role/{MEMBER_ROLE}",
            "MEMBER_EXTERNAL_ID": EXTERNAL_ID,
            "TRAIL_BUCKET_NAME": BUCKET,
            "TRAIL_LOG_ROOTS": "AWSLogs/",
        }
        environment = self.box.emulator.environment(HUB, REGION)
        session = boto3.Session(
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
                if name in environment:
                    patch.setenv(name, environment[name])
            examination = AsFunctions(
                session, self.setup, {"some": "output"}, NOW, lambda _: None,
                box=self.box, variables=settings,
            )  # fmt: skip
            return list(module.examine(examination))

    def amiss(self, module: Any = log_archive) -> dict[str, Result]:
        return {each.check: each for each in self.results(module) if each.status != "ok"}

    @property
    def s3(self) -> Any:
        return self.box.client("s3", LOG_ARCHIVE)

    @property
    def kms(self) -> Any:
        return self.box.client("kms", LOG_ARCHIVE)

    def put_bucket_policy(self, statements: list[Any]) -> None:
        policy = {"Version": "2012-10-17", "Statement": statements}
        self.s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))

    def put_key_policy(self, statements: list[Any], key: str | None = None) -> None:
        account = {"Sid": "Account", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                   "Principal": {"AWS": f"arn:aws:iam::{LOG_ARCHIVE}:root"}}  # fmt: skip
        policy = {"Version": "2012-10-17", "Statement": [account, *statements]}
        self.kms.put_key_policy(
            KeyId=key or self.kms_key, PolicyName="default", Policy=json.dumps(policy)
        )

    def deliver(self, days_ago: int, key: str | None = None) -> str:
        return self.box.put_log_file(
            [], at=NOW - timedelta(days=days_ago), bucket=BUCKET,
            encrypted_with=key or self.kms_key,
        )  # fmt: skip


@pytest.fixture(scope="module")
def made(box: Box) -> World:
    s3, kms = box.client("s3", LOG_ARCHIVE), box.client("kms", LOG_ARCHIVE)
    s3.create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": REGION},
        ObjectOwnership="BucketOwnerEnforced",
    )
    key: str = kms.create_key()["KeyMetadata"]["Arn"]
    arn: str = box.client("cloudtrail", MANAGEMENT).create_trail(
        Name=TRAIL_NAME, S3BucketName=BUCKET, IsOrganizationTrail=True, IsMultiRegionTrail=True
    )["TrailARN"]
    base = setup()
    deployed = replace(
        base,
        organization_id=box.organization_id,
        management_account_id=MANAGEMENT,
        hub_account_id=HUB,
        log_archive_account_id=LOG_ARCHIVE,
        home_region=REGION,
        governed_regions=(REGION,),
        member_role_name=MEMBER_ROLE,
        # The accounts of other tests have no log files here.
        trail=replace(
            base.trail, arn=arn, bucket=BUCKET, bucket_region=REGION, log_roots=("AWSLogs/",),
            kms_key_arns=(key,),
        ),
        callers={"member": (ENTERS,), "list_trail": (LISTS,), "read_trail": (READS,)},
    )  # fmt: skip
    bucket = f"arn:aws:s3:::{BUCKET}"
    lambda_trust = trusts(account=HUB)
    for name, policy in {
        LISTS: allow("s3:ListBucket", resource=bucket),
        READS: allow("s3:GetObject", "kms:Decrypt", resource=[f"{bucket}/*", key]),
        ENTERS: allow("sts:AssumeRole", resource=f"arn:aws:iam::*:role/{MEMBER_ROLE}"),
    }.items():
        box.role(name, policy, account_id=HUB, trust=lambda_trust)
    entry: Any = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{HUB}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"sts:ExternalId": EXTERNAL_ID},
            "ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{HUB}:role/{ENTERS}"},
        },
    }
    looks = {
        "Version": "2012-10-17",
        "Statement": [
            *allow(
                "s3:GetBucketPolicy", "s3:GetBucketOwnershipControls", "s3:GetBucketAcl",
                "s3:GetEncryptionConfiguration", "s3:GetBucketLocation", resource=bucket,
            )["Statement"],
            *allow("kms:GetKeyPolicy", "kms:DescribeKey", resource="*")["Statement"],
            *allow(
                "cloudtrail:GetTrail", "cloudtrail:GetTrailStatus",
                "cloudtrail:GetEventSelectors", resource=arn,
            )["Statement"],
        ],
    }  # fmt: skip
    for account_id in (LOG_ARCHIVE, MANAGEMENT):
        box.role(
            MEMBER_ROLE, looks, account_id=account_id,
            trust={"Version": "2012-10-17", "Statement": [entry]},
        )  # fmt: skip
    box.role(
        CONTROL_TOWER_ROLE, allow("*"), account_id=LOG_ARCHIVE, trust=trusts(account=MANAGEMENT)
    )
    world = World(box, deployed, key)
    for days_ago in (85, 40, 2):
        world.deliver(days_ago)
    return world


@pytest.fixture
def world(made: World) -> Iterator[World]:
    """The world as it should be, whatever a test did to it before."""
    made.put_bucket_policy(bucket_statements(made.setup))
    made.put_key_policy(key_statements(made.setup, made.kms_key))
    accounts = [
        each["Id"]
        for page in made.box.client("organizations", MANAGEMENT)
        .get_paginator("list_accounts")
        .paginate()
        for each in page["Accounts"]
    ]
    yield replace(
        made,
        setup=replace(
            made.setup,
            account_exclusions=tuple(each for each in accounts if each != WORKLOAD),
        ),
    )


def carry_out(world: World, result: Result, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a mend's commands as printed, in a shell with the credentials it names."""
    assert result.mend is not None
    account = {"management": MANAGEMENT, "log archive": LOG_ARCHIVE}[result.mend.where]
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    aws = programs / "aws"
    aws.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.org.aws_cli "$@"\n')
    aws.chmod(0o755)
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(result.mend.commands)],
        cwd=folder,
        env={
            **world.box.emulator.environment(account, REGION),
            "PATH": f"{programs}:/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_is_well_where_all_is_as_the_stacks_make_it(world: World) -> None:
    assert world.amiss() == {}


@pytest.mark.parametrize(
    ("sid", "also"),
    [
        ("PareListsTheTrail", "log-archive.listing"),
        ("PareReadsTheTrail", "log-archive.reading"),
        ("ParePolicyGeneration", ""),
    ],
)
def test_a_missing_statement_of_the_bucket_is_named_and_mended(
    world: World, tmp_path: Path, sid: str, also: str
) -> None:
    world.put_bucket_policy([each for each in bucket_statements(world.setup) if each["Sid"] != sid])

    amiss = world.amiss()

    assert sid in amiss["log-archive.bucket-policy"].says
    if also:
        assert "The bucket's policy refuses" in str(amiss[also].mend)
    ran = carry_out(world, amiss["log-archive.bucket-policy"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert world.amiss() == {}


def test_a_policy_that_others_change_meanwhile_is_not_put(world: World, tmp_path: Path) -> None:
    ours = bucket_statements(world.setup)
    world.put_bucket_policy(ours[1:])
    result = world.amiss()["log-archive.bucket-policy"]
    new = {**ours[0], "Sid": "Others", "Action": "s3:GetBucketLocation"}
    world.put_bucket_policy([*ours[1:], {k: v for k, v in new.items() if k != "Condition"}])

    ran = carry_out(world, result, tmp_path)

    assert "run pare doctor again" in ran.stderr
    policy = json.loads(world.s3.get_bucket_policy(Bucket=BUCKET)["Policy"])
    assert [each["Sid"] for each in policy["Statement"]][-1] == "Others"


@pytest.mark.parametrize("sid", ["PareDecryptsTheTrail", "ParePolicyGenerationDecrypts"])
def test_a_missing_statement_of_the_key_is_named_and_mended(
    world: World, tmp_path: Path, sid: str
) -> None:
    ours = key_statements(world.setup, world.kms_key)
    world.put_key_policy([each for each in ours if each["Sid"] != sid])

    amiss = world.amiss()

    assert sid in amiss["log-archive.key-policy"].says
    if sid == "PareDecryptsTheTrail":
        assert amiss["log-archive.reading"].facts == {"files": 3, "barrier": "kms"}
        assert world.kms_key in amiss["log-archive.reading"].subject
    assert "ByHand/PareLogArchive" in str(amiss["log-archive.key-policy"].mend)
    # Where the stack does not know the key, the whole policy is printed.
    unnamed = replace(world.setup, trail=replace(world.setup.trail, kms_key_arns=()))
    told = replace(world, setup=unnamed).amiss()["log-archive.key-policy"]
    ran = carry_out(world, told, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert world.amiss() == {}


def test_a_key_that_trusts_its_accounts_roles_with_nothing_lets_the_role_look(
    world: World, tmp_path: Path
) -> None:
    # It lets in whom it must, and nobody sees that: the account, of whose roles the member role is
    # one, is not in it.
    policy = {"Version": "2012-10-17", "Statement": key_statements(world.setup, world.kms_key)}
    world.kms.put_key_policy(KeyId=world.kms_key, PolicyName="default", Policy=json.dumps(policy))
    amiss = world.amiss()["log-archive.key-policy"]
    assert amiss.status == "cannot tell"
    assert "kms:GetKeyPolicy" in amiss.says

    # The emulator does not say whose policy lacks it, by which the doctor chooses this mend.
    mend = key_reading_mend(world.setup, world.kms_key)
    ran = carry_out(world, replace(amiss, mend=mend), tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert world.amiss() == {}


def test_a_deny_that_keeps_pare_out_by_its_own_words_is_shown(world: World) -> None:
    # Of our network alone: which a made-up request is not, and the function's is not either.
    perimeter: Any = {
        "Sid": "OnlyOurNetwork", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
        "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
    }  # fmt: skip
    world.put_bucket_policy([perimeter, *bucket_statements(world.setup)])

    amiss = world.amiss()

    policy, reading = amiss["log-archive.bucket-policy"], amiss["log-archive.reading"]
    assert (policy.status, reading.status) == ("cannot tell", "missing")
    assert reading.mend == policy.mend
    assert "OnlyOurNetwork" in str(reading.mend)


def test_old_log_files_of_another_key_are_found(world: World) -> None:
    other: str = world.kms.create_key()["KeyMetadata"]["Arn"]
    key = world.deliver(88, other)
    try:
        amiss = world.amiss()
    finally:
        world.s3.delete_object(Bucket=BUCKET, Key=key)

    assert amiss["log-archive.keys"].subject == other
    assert amiss["log-archive.key-policy"].subject == other
    assert amiss["log-archive.reading"].facts == {"files": 1, "barrier": "kms"}


def test_the_trail_is_read_in_the_management_account(world: World) -> None:
    cloudtrail = world.box.client("cloudtrail", MANAGEMENT)
    cloudtrail.start_logging(Name=world.setup.trail.arn)
    before = {each.check: each.status for each in world.results(trail)}
    cloudtrail.stop_logging(Name=world.setup.trail.arn)

    stopped = world.amiss(trail)

    assert before["trail.exists"] == before["trail.scope"] == "ok"
    assert before["trail.management-events"] == "ok"
    assert stopped["trail.logging"].mend is not None
    assert stopped["trail.logging"].mend.commands[0].startswith("aws cloudtrail start-logging")


def test_a_member_role_that_is_gone_leaves_nothing_well(world: World) -> None:
    iam = world.box.client("iam", LOG_ARCHIVE)
    trust = iam.get_role(RoleName=MEMBER_ROLE)["Role"]["AssumeRolePolicyDocument"]
    iam.update_assume_role_policy(
        RoleName=MEMBER_ROLE, PolicyDocument=json.dumps(trusts(account=WORKLOAD))
    )
    try:
        amiss = world.amiss()
    finally:
        iam.update_assume_role_policy(RoleName=MEMBER_ROLE, PolicyDocument=json.dumps(trust))

    assert amiss["log-archive.bucket-policy"].status == "cannot tell"
    assert "sts:AssumeRole" in amiss["log-archive.bucket-policy"].says
    assert "log-archive.reading" not in amiss
