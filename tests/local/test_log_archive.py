"""PareLogArchive on the emulator, IAM enforced: its own template, in the log archive account.

The organization in a box deploys it by the CDK CLI (``local/deploy.py``); here its ways are gone
through one by one, each with a bucket of its own.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest
import yaml
from botocore.exceptions import ClientError, WaiterError

from infra.log_archive_stack import LogArchiveStack
from infra.settings import load_settings
from tests.local.emulator_fixtures import (
    HUB,
    LOG_ARCHIVE,
    MANAGEMENT,
    NOW,
    REGION,
    TRAIL_ARN,
    allow,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local.emulator_fixtures import Box

Json = dict[str, Any]

# Stand for a test's own bucket and key in the templates.
SOME_BUCKET = "bucket-of-the-test"
SOME_KEY = f"arn:aws:kms:{REGION}:{LOG_ARCHIVE}:key/0a1b2c3d-1111-2222-3333-444455556666"
OURS = ["PareListsTheTrail", "PareReadsTheTrail", "ParePolicyGeneration"]
KEY_OURS = ["PareDecryptsTheTrail", "ParePolicyGenerationDecrypts"]
TLS_ONLY: Json = {
    "Sid": "TlsOnly",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": f"arn:aws:s3:::{SOME_BUCKET}/*",
    "Condition": {"StringEquals": {"aws:PrincipalTag/never": "there"}},
}


@pytest.fixture(scope="session")
def template_with(
    box: Box, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, ...]], str]:
    """Return a function that returns the stack's template with keys of the trail, as text."""
    made: dict[tuple[str, ...], str] = {}

    def with_keys(keys: tuple[str, ...]) -> str:
        if keys not in made:
            folder = tmp_path_factory.mktemp("log_archive")
            app = cdk.App(outdir=str(folder / "out"))
            LogArchiveStack(
                app,
                "PareLogArchive",
                settings=load_settings(_settings_file(box, folder, keys)),
                synthesizer=cdk.LegacyStackSynthesizer(),
                env=cdk.Environment(account=LOG_ARCHIVE, region=REGION),
            )
            app.synth()
            made[keys] = (folder / "out" / "PareLogArchive.template.json").read_text()
        return made[keys]

    return with_keys


def _settings_file(box: Box, folder: Any, keys: tuple[str, ...]) -> Any:
    settings = {
        "organization_id": box.organization_id,
        "management_account_id": MANAGEMENT,
        "hub_account_id": HUB,
        "log_archive_account_id": LOG_ARCHIVE,
        "organizational_units": ["r-root"],
        "home_region": REGION,
        "governed_regions": [REGION],
        "trail": {
            "arn": TRAIL_ARN,
            "bucket": SOME_BUCKET,
            "kms_key_arns": list(keys),
            "made_by_control_tower": False,
        },
        "notifications": {"people_emails": [], "default_owner": "security@example.com"},
    }
    path = folder / "pare.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


class Archive:
    """A trail bucket of a test's own, perhaps with a key, and the stack that is deployed to it."""

    def __init__(self, box: Box, template_with: Callable[[tuple[str, ...]], str]) -> None:
        self.box, self.template_with = box, template_with
        self.bucket, self.stack = unique("archive-logs"), unique("PareLogArchive")
        self.s3, self.kms = box.client("s3", LOG_ARCHIVE), box.client("kms", LOG_ARCHIVE)
        self.client = box.client("cloudformation", LOG_ARCHIVE)
        self.s3.create_bucket(
            Bucket=self.bucket,
            ObjectOwnership="BucketOwnerEnforced",
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
        self.others = json.loads(json.dumps(TLS_ONLY).replace(SOME_BUCKET, self.bucket))
        self.put_policy(self.others)
        self.key_arn = self.kms.create_key(Policy=json.dumps(_key_policy()))["KeyMetadata"]["Arn"]

    def put_policy(self, *statements: Json) -> None:
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        self.s3.put_bucket_policy(Bucket=self.bucket, Policy=json.dumps(policy))

    def put_log_file(self, **options: Any) -> str:
        return self.box.put_log_file([], bucket=self.bucket, **options)

    def deploy(self, kind: str = "create", *, keys: bool = False, again: str = "0") -> Json:
        """Create or update the stack, and return its outputs by what they are about."""
        template = self.template_with((SOME_KEY,) if keys else ())
        body = template.replace(SOME_BUCKET, self.bucket).replace(SOME_KEY, self.key_arn)
        getattr(self.client, f"{kind}_stack")(
            StackName=self.stack,
            TemplateBody=body,
            Parameters=[{"ParameterKey": "Again", "ParameterValue": again}],
            Capabilities=["CAPABILITY_IAM"],
        )
        self.wait(f"stack_{kind}_complete")
        (stack,) = self.client.describe_stacks(StackName=self.stack)["Stacks"]
        return {
            name.replace(key_name, "Key") if (key_name := name[:11]).startswith("Key") else name: (
                each["OutputValue"]
            )
            for each in stack["Outputs"]
            for name in [each["OutputKey"]]
        }

    def wait(self, waiter: str) -> None:
        self.client.get_waiter(waiter).wait(
            StackName=self.stack, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )

    def destroy(self) -> None:
        self.client.delete_stack(StackName=self.stack)
        self.wait("stack_delete_complete")

    def refusal(self, **how: Any) -> str:
        """Deploy, which is refused, and return the reasons of the stack's events."""
        with pytest.raises(WaiterError, match="ROLLBACK"):
            self.deploy(**how)
        events = self.client.describe_stack_events(StackName=self.stack)["StackEvents"]
        return "\n".join(each.get("ResourceStatusReason", "") for each in events)

    def statements(self) -> list[Json]:
        policy = json.loads(self.s3.get_bucket_policy(Bucket=self.bucket)["Policy"])
        found: list[Json] = policy["Statement"]
        return found

    def key_sids(self) -> list[str]:
        text = self.kms.get_key_policy(KeyId=self.key_arn, PolicyName="default")["Policy"]
        return [each["Sid"] for each in json.loads(text)["Statement"]]


def _key_policy() -> Json:
    root = {"AWS": f"arn:aws:iam::{LOG_ARCHIVE}:root"}
    statement = {"Sid": "Iam", "Effect": "Allow", "Principal": root, "Action": "kms:*"}
    return {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]}


@pytest.fixture
def archive(box: Box, template_with: Callable[[tuple[str, ...]], str]) -> Archive:
    return Archive(box, template_with)


def sids(statements: list[Json]) -> list[str]:
    return [each["Sid"] for each in statements]


def role_of_hub(box: Box, name: str) -> Any:
    """An S3 client of a role of the hub that its own account allows everything here."""
    actions = allow("s3:GetObject", "s3:ListBucket", "kms:Decrypt")
    try:
        arn = box.role(name, actions, account_id=HUB)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "EntityAlreadyExists"
        arn = f"arn:aws:iam::{HUB}:role/{name}"
    return box.session(arn, by=HUB).client("s3")


def test_pare_is_let_in_and_nobody_else(box: Box, archive: Archive) -> None:
    log_file = archive.put_log_file(encrypted_with=archive.key_arn)
    get = {"Bucket": archive.bucket, "Key": log_file}
    reader, lister = role_of_hub(box, "PareDigestLogs"), role_of_hub(box, "PareListLogs")
    stranger = role_of_hub(box, unique("Stranger"))
    listing = {"Bucket": archive.bucket, "Prefix": "AWSLogs/"}
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_object(**get)
    outputs = archive.deploy(keys=True)
    assert outputs == {
        "BucketDifference": "+ PareListsTheTrail, + PareReadsTheTrail, + ParePolicyGeneration; "
        "others' statements kept: 1",
        "BucketNotes": "none",
        "KeyDifference": "+ PareDecryptsTheTrail, + ParePolicyGenerationDecrypts; "
        "others' statements kept: 1",
    }
    assert archive.statements()[0] == archive.others
    assert reader.get_object(**get)["ContentLength"] > 0
    assert lister.list_objects_v2(**listing)["KeyCount"] == 1
    for client, operation, arguments in (
        (lister, "get_object", get),
        (stranger, "get_object", get),
        (stranger, "list_objects_v2", listing),
        (reader, "list_objects_v2", listing),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            getattr(client, operation)(**arguments)
    archive.destroy()
    assert archive.statements() == [archive.others]
    assert archive.key_sids() == ["Iam"]
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_object(**get)


def test_access_analyzers_roles_read_their_own_accounts_log_files(
    box: Box, archive: Archive
) -> None:
    own = archive.put_log_file(encrypted_with=archive.key_arn)
    foreign = archive.put_log_file(account_id=HUB)
    name = unique("AccessAnalyzerMonitorServiceRole_T")
    everything = allow("s3:GetObject", "s3:ListBucket", "kms:Decrypt")
    role = box.role(name, everything, path="/service-role/")
    client = box.session(role).client("s3")
    archive.deploy(keys=True)
    listing = {"Bucket": archive.bucket, "Prefix": "AWSLogs/"}
    assert client.list_objects_v2(**listing)["KeyCount"] == 2
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=archive.bucket, Key=foreign)
    # The key's policy asks for the context that CloudTrail encrypts with, which this object, put
    # by a person, has not: the bucket's policy alone is not enough.
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=archive.bucket, Key=own)
    plain = archive.put_log_file()
    assert client.get_object(Bucket=archive.bucket, Key=plain)["ContentLength"] > 0


def test_again_changes_nothing_and_mends_what_somebody_took_out(archive: Archive) -> None:
    archive.put_log_file()
    archive.deploy()
    outputs = archive.deploy("update", again="2")
    assert outputs["BucketDifference"] == "no change; others' statements kept: 1"
    later = {**archive.others, "Sid": "Later"}
    archive.put_policy(later, archive.statements()[1])
    outputs = archive.deploy("update", again="3")
    assert outputs["BucketDifference"].startswith("+ PareReadsTheTrail, + ParePolicyGeneration;")
    assert sids(archive.statements()) == ["Later", *OURS]


def test_a_key_that_leaves_the_settings_is_cleaned(archive: Archive) -> None:
    archive.put_log_file()
    archive.deploy(keys=True)
    assert archive.key_sids() == ["Iam", *KEY_OURS]
    archive.deploy("update")
    assert archive.key_sids() == ["Iam"]
    assert sids(archive.statements()) == ["TlsOnly", *OURS]


def test_log_files_of_a_key_that_is_not_in_the_settings_stop_it(archive: Archive) -> None:
    log_file = archive.put_log_file(encrypted_with=archive.key_arn)
    reasons = archive.refusal()
    assert "trail.kms_key_arns in config/pare.yaml does not name" in reasons
    assert f"{archive.key_arn} (such as {log_file})" in reasons
    assert archive.statements() == [archive.others]


def test_an_update_that_is_refused_is_rolled_back_to_its_end(archive: Archive) -> None:
    # CloudFormation updates the resource that refused once more, with its properties from before:
    # the log files are still there that it was refused for.
    archive.put_log_file()
    archive.deploy()
    before = archive.statements()
    archive.put_log_file(encrypted_with=archive.key_arn, at=NOW - timedelta(days=80))
    assert "trail.kms_key_arns" in archive.refusal(kind="update", again="2")
    (stack,) = archive.client.describe_stacks(StackName=archive.stack)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert archive.statements() == before


def test_old_log_files_are_looked_at_too(archive: Archive) -> None:
    archive.put_log_file()
    old = NOW - timedelta(days=80)
    log_file = archive.put_log_file(encrypted_with=archive.key_arn, at=old)
    assert log_file in archive.refusal()


def test_objects_that_belong_to_their_writers_stop_it(archive: Archive) -> None:
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    archive.s3.put_bucket_ownership_controls(Bucket=archive.bucket, OwnershipControls=rules)
    assert f"put-bucket-ownership-controls --region {REGION}" in archive.refusal()
    assert archive.statements() == [archive.others]


def test_preferred_ownership_is_noted_with_a_log_file_of_another_owner(
    box: Box, archive: Archive
) -> None:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    archive.s3.put_bucket_ownership_controls(Bucket=archive.bucket, OwnershipControls=rules)
    log_file = archive.put_log_file()
    planted = {"bucket": archive.bucket, "prefix": log_file, "owner_account_id": MANAGEMENT}
    box.emulator.control("objects", planted)
    notes = archive.deploy()["BucketNotes"]
    assert f"{log_file} does, for one." in notes
    assert "'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'" in notes


def test_a_failure_with_a_key_leaves_nothing_half_done(archive: Archive) -> None:
    archive.put_log_file()
    archive.key_arn = SOME_KEY  # which nobody made
    reasons = archive.refusal(keys=True)
    assert "does not exist, or is being deleted. Take it out of config/pare.yaml" in reasons
    assert archive.statements() == [archive.others]


def test_statements_pasted_by_hand_outlive_a_rollback(archive: Archive) -> None:
    archive.put_log_file()
    archive.deploy()
    pasted = archive.statements()
    archive.destroy()
    archive.put_policy(*pasted)
    archive.stack, archive.key_arn = unique("PareLogArchive"), SOME_KEY
    archive.refusal(keys=True)
    assert archive.statements() == pasted


def test_a_deny_is_named_with_a_way_out(archive: Archive) -> None:
    # The emulator knows no service control policies (Control Tower's guardrail is one):
    # tests/infra/test_log_archive_function.py has their wording.
    archive.put_log_file()
    deny = {
        "Sid": "OnlyTheBreakGlassRole",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutBucketPolicy",
        "Resource": f"arn:aws:s3:::{archive.bucket}",
        "Condition": {
            "ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{LOG_ARCHIVE}:role/PareLogArchive*"}
        },
    }
    archive.put_policy(deny)
    reasons = archive.refusal()
    assert f"A Deny statement forbids s3:PutBucketPolicy on {archive.bucket}" in reasons
    assert "`pare doctor --statements`" in reasons
    assert archive.statements() == [deny]
