"""The function of PareLogArchive as it is deployed: its text from the template, against moto.

What it says to CloudFormation is what arrives at the response URL.
"""

from __future__ import annotations

import ast
import http.server
import importlib.util
import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.log_archive_stack import function_source
from pare.log_archive.statements import bucket_statements, key_statements
from tests.unit.log_archive.setups import BUCKET, ORGANIZATION, setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

Json = dict[str, Any]

ACCOUNT = "123456789012"  # moto's
REGION = "us-east-1"
STACK = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/PareLogArchive/1"
STATEMENTS = bucket_statements(setup())
KEY_STATEMENTS = key_statements(setup(), f"arn:aws:kms:{REGION}:{ACCOUNT}:key/any")
OURS = ["PareListsTheTrail", "PareReadsTheTrail", "ParePolicyGeneration"]
# moto judges by bucket policies, and overlooks conditions.
NO_ACLS: Json = {
    "Sid": "NoAcls",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:PutObjectAcl",
    "Resource": f"arn:aws:s3:::{BUCKET}/*",
}
HAND_WRITTEN: Json = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": "s3:GetBucketAcl",
    "Resource": f"arn:aws:s3:::{BUCKET}",
}


# --- The function, CloudFormation, and an account -------------------------------------------------


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The module that Lambda makes of the template's text; it does not wait."""
    path = tmp_path_factory.mktemp("function") / "index.py"
    path.write_text(function_source(), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("log_archive_index", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    vars(found)["WAIT_SECONDS"] = 0
    return found


class CloudFormation:
    """Asks the function, and takes its answers at a URL of its own."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.answers: list[Json] = []
        self.content_types: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert len(body) <= 4096
                outer.answers.append(json.loads(body))
                outer.content_types.append(self.headers["Content-Type"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ask(self, kind: str, properties: Json, **more: Any) -> Json:
        url = f"http://127.0.0.1:{self.server.server_port}/answer"
        event = {
            "RequestType": kind,
            "ResponseURL": url,
            "StackId": STACK,
            "RequestId": "request",
            "LogicalResourceId": "Bucket",
            "ResourceProperties": properties,
            **more,
        }
        count = len(self.answers)
        self.module.lambda_handler(event, None)
        assert len(self.answers) == count + 1
        answer = self.answers[-1]
        assert {"StackId", "RequestId", "LogicalResourceId", "PhysicalResourceId"} <= set(answer)
        return answer

    def create(self, properties: Json) -> Json:
        return self.ask("Create", properties)

    def update(self, created: Json, properties: Json, old: Json) -> Json:
        return self.ask(
            "Update",
            properties,
            OldResourceProperties=old,
            PhysicalResourceId=created["PhysicalResourceId"],
        )

    def delete(self, created: Json, properties: Json) -> Json:
        return self.ask("Delete", properties, PhysicalResourceId=created["PhysicalResourceId"])


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


@pytest.fixture
def cloudformation(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudFormation]:
    stack_is(monkeypatch, "UPDATE_IN_PROGRESS")
    started = CloudFormation(module)
    yield started
    started.server.shutdown()
    started.server.server_close()


@pytest.fixture
def s3() -> Any:
    return boto3.client("s3", region_name=REGION)


@pytest.fixture
def kms() -> Any:
    return boto3.client("kms", region_name=REGION)


@pytest.fixture
def bucket(s3: Any) -> Json:
    """The trail's bucket with log files of three days; the properties of its custom resource."""
    s3.create_bucket(Bucket=BUCKET, ObjectOwnership="BucketOwnerEnforced")
    put_policy(s3, NO_ACLS, HAND_WRITTEN)
    for ago in (89, 44, 1):
        put_log_file(s3, ago)
    return properties_of_bucket()


def properties_of_bucket(*key_arns: str, statements: list[Any] | None = None) -> Json:
    return {
        "Policy": "bucket",
        "Name": BUCKET,
        "AccountId": ACCOUNT,
        "Region": REGION,
        "Statements": STATEMENTS if statements is None else statements,
        "Look": {
            "Roots": ["AWSLogs/"],
            "WindowDays": "90",
            "TrailRegion": REGION,
            "KeyArns": list(key_arns),
            "KeyStatements": KEY_STATEMENTS,
        },
    }


def properties_of_key(key_arn: str) -> Json:
    return {
        "Policy": "key",
        "Name": key_arn,
        "AccountId": ACCOUNT,
        "Region": REGION,
        "Statements": KEY_STATEMENTS,
    }


def log_key(ago: int, account: str = "444444444444") -> str:
    day = datetime.now(UTC) - timedelta(days=ago)
    return (
        f"AWSLogs/{ORGANIZATION}/{account}/CloudTrail/{REGION}/{day:%Y/%m/%d}/"
        f"{account}_CloudTrail_{REGION}_{day:%Y%m%d}T0000Z_0123456789abcdef.json.gz"
    )


def put_log_file(
    s3: Any, ago: int, key_arn: str | None = None, account: str = "444444444444"
) -> None:
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key_arn} if key_arn else {}
    s3.put_object(Bucket=BUCKET, Key=log_key(ago, account), Body=b"", **encryption)


def put_policy(s3: Any, *statements: Json, version: str = "2012-10-17") -> None:
    policy = {"Version": version, "Statement": list(statements)}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


def statements(s3: Any) -> list[Json]:
    found: list[Json] = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    return found


def sids(found: list[Json]) -> list[str | None]:
    return [each.get("Sid") for each in found]


def key_sids(kms: Any, key_arn: str) -> list[str | None]:
    text = kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    return sids(json.loads(text)["Statement"])


def new_key(kms: Any) -> str:
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


def refuse(
    monkeypatch: pytest.MonkeyPatch, operation: str, code: str, message: str, times: int = 10**6
) -> None:
    """Let AWS refuse an operation, some times."""
    original: Any = vars(BaseClient)["_make_api_call"]
    left = [times]

    def call(self: Any, name: str, arguments: Json) -> Any:
        if name == operation and left[0]:
            left[0] -= 1
            raise ClientError({"Error": {"Code": code, "Message": message}}, name)
        return original(self, name, arguments)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)


def refuse_after(
    monkeypatch: pytest.MonkeyPatch, first: str, operation: str, code: str, message: str
) -> None:
    """Let AWS refuse an operation from when another was called."""
    original: Any = vars(BaseClient)["_make_api_call"]

    def call(self: Any, name: str, arguments: Json) -> Any:
        answer = original(self, name, arguments)
        if name == first:
            refuse(monkeypatch, operation, code, message)
        return answer

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)


def stack_is(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """Let the stack have a status."""
    original: Any = vars(BaseClient)["_make_api_call"]

    def call(self: Any, name: str, arguments: Json) -> Any:
        if name != "DescribeStacks":
            return original(self, name, arguments)
        assert arguments == {"StackName": STACK}
        return {"Stacks": [{"StackStatus": status}]}

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)


# --- The text -------------------------------------------------------------------------------------


def test_the_text_imports_nothing_but_the_standard_library_and_boto3() -> None:
    tree = ast.parse(function_source())
    at_run = [node for node in tree.body if not isinstance(node, ast.If)]  # TYPE_CHECKING
    imported = {
        name.partition(".")[0]
        for node in at_run
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"boto3", "botocore"}


# --- The bucket -----------------------------------------------------------------------------------


def test_our_statements_come_and_those_of_others_stay(
    cloudformation: CloudFormation, s3: Any, bucket: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == f"bucket policy {BUCKET}"
    assert answer["Data"] == {
        "Difference": "+ PareListsTheTrail, + PareReadsTheTrail, + ParePolicyGeneration; "
        "others' statements kept: 2",
        "Notes": "none",
    }
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN, *STATEMENTS]
    # The whole difference is in the log group.
    assert '+  "Sid": "PareReadsTheTrail",' in capsys.readouterr().out
    # CloudFormation's URL is signed for an empty content type.
    assert cloudformation.content_types == [""]


def test_a_second_time_nothing_is_written(
    cloudformation: CloudFormation,
    s3: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created = cloudformation.create(bucket)
    refuse(monkeypatch, "PutBucketPolicy", "AccessDenied", "nobody should ask")
    answer = cloudformation.update(created, {**bucket, "Again": "2"}, bucket)
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert answer["Data"]["Difference"] == "no change; others' statements kept: 2"


def test_deleting_takes_away_ours_alone(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    created = cloudformation.create(bucket)
    put_policy(s3, *statements(s3), {**NO_ACLS, "Sid": "Later"})
    assert cloudformation.delete(created, bucket)["Status"] == "SUCCESS"
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN, {**NO_ACLS, "Sid": "Later"}]


def test_a_bucket_without_a_policy_has_none_again_afterwards(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    s3.delete_bucket_policy(Bucket=BUCKET)
    created = cloudformation.create(bucket)
    assert sids(statements(s3)) == OURS
    assert cloudformation.delete(created, bucket)["Status"] == "SUCCESS"
    with pytest.raises(ClientError, match="NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=BUCKET)


def test_what_is_no_longer_wanted_goes(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    created = cloudformation.create(bucket)
    tower = properties_of_bucket(statements=STATEMENTS[:2])
    answer = cloudformation.update(created, tower, bucket)
    assert answer["Data"]["Difference"].startswith("- ParePolicyGeneration")
    assert sids(statements(s3)) == ["NoAcls", None, *OURS[:2]]


def test_deleting_succeeds_where_the_bucket_is_gone(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    created = cloudformation.create(bucket)
    for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=each["Key"])
    s3.delete_bucket(Bucket=BUCKET)
    assert cloudformation.delete(created, bucket)["Status"] == "SUCCESS"


def test_a_create_that_failed_leaves_what_was_there(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pasted by hand before, and so not the stack's to take away.
    put_policy(s3, NO_ACLS, STATEMENTS[0])
    with monkeypatch.context() as patch:
        refuse(patch, "PutBucketPolicy", "AccessDenied", "no")
        failed = cloudformation.create(bucket)
    assert failed["Status"] == "FAILED"
    assert cloudformation.delete(failed, bucket)["Status"] == "SUCCESS"
    assert statements(s3) == [NO_ACLS, STATEMENTS[0]]


def test_a_create_that_fails_after_writing_is_taken_back(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        refuse_after(patch, "PutBucketPolicy", "GetBucketPolicy", "InternalError", "try later")
        failed = cloudformation.create(bucket)
    assert failed["Status"] == "FAILED"
    assert sids(statements(s3)) == ["NoAcls", None, *OURS]
    assert failed["PhysicalResourceId"] == f"bucket policy {BUCKET}"
    assert cloudformation.delete(failed, bucket)["Status"] == "SUCCESS"
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN]


def test_what_was_pasted_before_stays_also_when_a_create_fails_after_writing(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_policy(s3, NO_ACLS, STATEMENTS[0])
    with monkeypatch.context() as patch:
        refuse_after(patch, "PutBucketPolicy", "GetBucketPolicy", "InternalError", "try later")
        failed = cloudformation.create(bucket)
    assert failed["Status"] == "FAILED"
    stack_is(monkeypatch, "ROLLBACK_IN_PROGRESS")
    assert cloudformation.delete(failed, bucket)["Status"] == "SUCCESS"
    assert STATEMENTS[0] in statements(s3)


def test_an_update_that_was_refused_is_rolled_back_without_being_refused_again(
    cloudformation: CloudFormation,
    s3: Any,
    kms: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    created = cloudformation.create(bucket)
    before = statements(s3)
    # Since then log files have a key that neither the old settings name nor the new ones.
    put_log_file(s3, 1, new_key(kms))
    asked = {**bucket, "Again": "2"}
    assert cloudformation.update(created, asked, bucket)["Status"] == "FAILED"
    stack_is(monkeypatch, "UPDATE_ROLLBACK_IN_PROGRESS")
    # CloudFormation now sends the old properties, to the resource that failed as well.
    answer = cloudformation.update(created, bucket, asked)
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == created["PhysicalResourceId"]
    assert statements(s3) == before


def test_a_rollback_brings_the_old_statements_back(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = properties_of_bucket(statements=STATEMENTS[:2])
    created = cloudformation.create(old)
    assert cloudformation.update(created, bucket, old)["Status"] == "SUCCESS"
    stack_is(monkeypatch, "UPDATE_ROLLBACK_IN_PROGRESS")
    assert cloudformation.update(created, old, bucket)["Status"] == "SUCCESS"
    assert sids(statements(s3)) == ["NoAcls", None, *OURS[:2]]


def test_a_rollback_does_not_fail_where_nothing_may_be_written_any_more(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = properties_of_bucket(statements=STATEMENTS[:2])
    created = cloudformation.create(bucket)
    stack_is(monkeypatch, "UPDATE_ROLLBACK_IN_PROGRESS")
    refuse(monkeypatch, "PutBucketPolicy", "AccessDenied", "with an explicit deny")
    answer = cloudformation.update(created, old, bucket)
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["Difference"] == "unknown"
    says = f"The policy of the bucket {BUCKET} may not be as it was before the update: "
    assert answer["Data"]["Notes"].startswith(says)
    assert "with an explicit deny" in answer["Data"]["Notes"]


@pytest.mark.parametrize(
    ("status", "left"),
    [("ROLLBACK_IN_PROGRESS", ["NoAcls", *OURS]), ("DELETE_IN_PROGRESS", ["NoAcls"])],
)
def test_statements_pasted_before_stay_when_the_stack_is_rolled_back(
    cloudformation: CloudFormation,
    s3: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    left: list[str],
) -> None:
    put_policy(s3, NO_ACLS, STATEMENTS[0])
    created = cloudformation.create(bucket)
    stack_is(monkeypatch, status)
    assert cloudformation.delete(created, bucket)["Status"] == "SUCCESS"
    assert sids(statements(s3)) == left


def test_what_somebody_writes_meanwhile_is_kept(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another writer comes between the reading and the second reading.
    original: Any = vars(BaseClient)["_make_api_call"]
    seen = []

    def call(self: Any, name: str, arguments: Json) -> Any:
        if name == "GetBucketPolicy":
            seen.append(name)
            if len(seen) == 2:
                policy = {"Version": "2012-10-17", "Statement": [NO_ACLS]}
                text = {"Bucket": BUCKET, "Policy": json.dumps(policy)}
                original(self, "PutBucketPolicy", text)
        return original(self, name, arguments)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    answer = cloudformation.create(bucket)
    assert answer["Data"]["Difference"].endswith("others' statements kept: 1")
    assert statements(s3) == [NO_ACLS, *STATEMENTS]


def test_what_somebody_overwrites_right_afterwards_is_written_again(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = vars(BaseClient)["_make_api_call"]
    puts = []

    def call(self: Any, name: str, arguments: Json) -> Any:
        answer = original(self, name, arguments)
        if name == "PutBucketPolicy":
            puts.append(name)
            if len(puts) == 1:
                policy = {"Version": "2012-10-17", "Statement": [HAND_WRITTEN]}
                original(self, name, {"Bucket": BUCKET, "Policy": json.dumps(policy)})
        return answer

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    assert cloudformation.create(bucket)["Status"] == "SUCCESS"
    assert statements(s3) == [HAND_WRITTEN, *STATEMENTS]


def test_somebody_who_never_stops_writing_is_named(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = vars(BaseClient)["_make_api_call"]

    def call(self: Any, name: str, arguments: Json) -> Any:
        answer = original(self, name, arguments)
        if name == "PutBucketPolicy":
            policy = {"Version": "2012-10-17", "Statement": [HAND_WRITTEN]}
            original(self, name, {"Bucket": BUCKET, "Policy": json.dumps(policy)})
        return answer

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert "changed by somebody else 5 times" in answer["Reason"]
    assert statements(s3) == [HAND_WRITTEN]


def test_a_policy_that_would_be_too_long_is_refused(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    long = {**NO_ACLS, "Resource": [f"arn:aws:s3:::{BUCKET}/{n:0100}" for n in range(140)]}
    put_policy(s3, long)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert "and AWS allows 20,480" in answer["Reason"]
    assert statements(s3) == [long]


def test_an_old_version_that_would_change_what_others_mean_is_refused(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    odd = {**NO_ACLS, "Resource": f"arn:aws:s3:::{BUCKET}/${{aws:username}}/*"}
    put_policy(s3, odd, version="2008-10-17")
    answer = cloudformation.create(bucket)
    assert "Write Version 2012-10-17" in answer["Reason"]
    assert statements(s3) == [odd]


DELETED_ROLE = "AROAJQABLZS4A3QDU576Q"
MALFORMED = ("PutBucketPolicy", "MalformedPolicy", "Invalid principal in policy")


@pytest.mark.parametrize(
    "element",
    [
        {"Principal": {"AWS": [DELETED_ROLE, "111122223333"]}},
        {"Principal": {"AWS": DELETED_ROLE}},
        {"NotPrincipal": {"AWS": DELETED_ROLE}},
    ],
)
def test_a_principal_that_was_deleted_is_named_with_its_statement(
    cloudformation: CloudFormation,
    s3: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
    element: Json,
) -> None:
    old = {key: value for key, value in NO_ACLS.items() if key != "Principal"}
    put_policy(s3, {**old, **element, "Sid": "OldAuditors"}, HAND_WRITTEN)
    before = statements(s3)
    with monkeypatch.context() as patch:
        refuse(patch, *MALFORMED)
        answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert f"{DELETED_ROLE} (Sid OldAuditors). Take them out of it" in answer["Reason"]
    assert "Invalid principal in policy" in answer["Reason"]
    assert cloudformation.delete(answer, bucket)["Status"] == "SUCCESS"
    assert statements(s3) == before


def test_a_principal_that_was_deleted_is_named_when_ours_are_taken_out(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = cloudformation.create(bucket)
    old = {**NO_ACLS, "Principal": {"AWS": DELETED_ROLE}}
    put_policy(s3, {key: old[key] for key in old if key != "Sid"}, *statements(s3))
    refuse(monkeypatch, *MALFORMED)
    answer = cloudformation.delete(created, bucket)
    assert answer["Status"] == "FAILED"
    assert f"{DELETED_ROLE} (Sid none)" in answer["Reason"]


def test_a_malformed_policy_without_such_a_principal_is_said_in_awss_words(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "PutBucketPolicy", "MalformedPolicy", "Policy has invalid resource")
    answer = cloudformation.create(bucket)
    assert answer["Reason"].startswith(f"AWS refuses the policy of the bucket {BUCKET} with")
    assert "AWS says: MalformedPolicy: Policy has invalid resource" in answer["Reason"]
    assert "deleted" not in answer["Reason"]


# --- What it looks at before ----------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_named(cloudformation: CloudFormation) -> None:
    answer = cloudformation.create(properties_of_bucket())
    assert answer["Status"] == "FAILED"
    assert f"The bucket {BUCKET} (trail.bucket) is not in" in answer["Reason"]
    assert "NoSuchBucket" in answer["Reason"]


def test_a_bucket_in_another_region_is_named_with_the_setting(
    cloudformation: CloudFormation, s3: Any
) -> None:
    boto3.client("s3", region_name="eu-west-1").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    answer = cloudformation.create(properties_of_bucket())
    assert "write bucket_region: eu-west-1 under trail in config/pare.yaml" in answer["Reason"]


@pytest.mark.parametrize("ownership", ["ObjectWriter", None])
def test_a_bucket_whose_objects_belong_to_who_wrote_them_is_refused_with_the_command(
    cloudformation: CloudFormation, s3: Any, bucket: Json, ownership: str | None
) -> None:
    if ownership:
        rules = {"Rules": [{"ObjectOwnership": ownership}]}
        s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)
    else:
        s3.delete_bucket_ownership_controls(Bucket=BUCKET)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert (
        f"aws s3api put-bucket-ownership-controls --region {REGION} --bucket {BUCKET} "
        "--ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"
    ) in answer["Reason"]
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN]


def test_preferred_ownership_is_noted(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "SUCCESS"
    assert "from before that setting belong to CloudTrail" in answer["Data"]["Notes"]
    assert "put-bucket-ownership-controls" in answer["Data"]["Notes"]


EVERYBODY = "http://acs.amazonaws.com/groups/s3/LogDelivery"


@pytest.mark.parametrize("ownership", ["ObjectWriter", "BucketOwnerPreferred"])
def test_an_acl_that_stands_in_the_way_of_ownership_is_mended_first(
    cloudformation: CloudFormation, s3: Any, bucket: Json, ownership: str
) -> None:
    rules = {"Rules": [{"ObjectOwnership": ownership}]}
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)
    owner = s3.get_bucket_acl(Bucket=BUCKET)["Owner"]
    own = {"Grantee": {"Type": "CanonicalUser", "ID": owner["ID"]}, "Permission": "FULL_CONTROL"}
    others = {"Grantee": {"Type": "Group", "URI": EVERYBODY}, "Permission": "WRITE"}
    s3.put_bucket_acl(Bucket=BUCKET, AccessControlPolicy={"Owner": owner, "Grants": [own, others]})
    answer = cloudformation.create(bucket)
    says = answer["Reason"] if ownership == "ObjectWriter" else answer["Data"]["Notes"]
    assert (
        f"aws s3api put-bucket-acl --region {REGION} --bucket {BUCKET} --acl private && "
        f"aws s3api put-bucket-ownership-controls --region {REGION} --bucket {BUCKET} "
        "--ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]' (the first because"
    ) in says
    assert f"this one does: {EVERYBODY}; what they still need" in says


def test_log_files_that_cannot_be_looked_at_stop_it(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "HeadObject", "403", "Forbidden")
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("3 of 3 log files could not be looked at")
    assert "403: Forbidden" in answer["Reason"]
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN]


def test_the_right_to_look_at_log_files_is_waited_for(
    cloudformation: CloudFormation,
    s3: Any,
    kms: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_log_file(s3, 1, new_key(kms))
    refuse(monkeypatch, "HeadObject", "403", "Forbidden", times=10)
    assert "does not name" in cloudformation.create(bucket)["Reason"]


def test_some_log_files_that_cannot_be_looked_at_are_counted(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    original: Any = vars(BaseClient)["_make_api_call"]

    def call(self: Any, name: str, arguments: Json) -> Any:
        if name == "HeadObject" and arguments["Key"] != log_key(44):
            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, name)
        return original(self, name, arguments)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"]["Notes"].startswith("2 of 3 log files could not be looked at")
    assert f"{log_key(89)}: 403: Forbidden" in answer["Data"]["Notes"]


@pytest.mark.parametrize("ago", [89, 44, 1])
def test_a_key_of_old_middle_or_new_log_files_that_is_not_in_the_settings_is_named(
    cloudformation: CloudFormation, s3: Any, kms: Any, bucket: Json, ago: int
) -> None:
    key_arn = new_key(kms)
    put_log_file(s3, ago, key_arn)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert "trail.kms_key_arns in config/pare.yaml does not name" in answer["Reason"]
    assert f"{key_arn} (such as {log_key(ago)})" in answer["Reason"]
    assert statements(s3) == [NO_ACLS, HAND_WRITTEN]
    assert cloudformation.create(properties_of_bucket(key_arn))["Status"] == "SUCCESS"


def test_a_key_of_one_account_among_many_is_found(
    cloudformation: CloudFormation, s3: Any, kms: Any, bucket: Json
) -> None:
    for number in range(12):
        put_log_file(s3, 1, account=f"5555555555{number:02}")
    key_arn = new_key(kms)
    put_log_file(s3, 1, key_arn, account="555555555507")
    answer = cloudformation.create(bucket)
    assert f"{key_arn} (such as {log_key(1, '555555555507')})" in answer["Reason"]


def test_a_key_of_another_account_is_named_with_the_statements_to_paste(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    key_arn = f"arn:aws:kms:{REGION}:999999999999:key/0a1b2c3d-1111-2222-3333-444455556666"
    put_log_file(s3, 1, key_arn)
    answer = cloudformation.create(bucket)
    assert f"{key_arn} belongs to the account 999999999999." in answer["Reason"]
    pasted = answer["Reason"].partition("its policy needs by hand: ")[2]
    one, other = pasted.split(" and {")
    assert [json.loads(one), json.loads("{" + other)] == KEY_STATEMENTS


def test_a_bucket_without_log_files_is_noted(
    cloudformation: CloudFormation, s3: Any, bucket: Json
) -> None:
    bucket["Look"]["Roots"] = ["audit/AWSLogs/"]
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "SUCCESS"
    assert "under audit/AWSLogs/: look at trail.prefix" in answer["Data"]["Notes"]


# --- What AWS forbids -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "message", "says"),
    [
        (
            "PutBucketPolicy",
            "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: s3:PutBucketPolicy "
            "on resource: b with an explicit deny in a service control policy",
            "A policy of the organization forbids s3:PutBucketPolicy",
        ),
        (
            "PutBucketPolicy",
            "not authorized with an explicit deny in a resource-based policy",
            "A Deny statement forbids s3:PutBucketPolicy",
        ),
        ("PutBucketPolicy", "Access Denied", "The right s3:PutBucketPolicy"),
        ("ListObjectsV2", "Access Denied", "The right s3:ListBucket"),
    ],
)
def test_what_is_forbidden_is_said_with_a_way_out(
    cloudformation: CloudFormation,
    s3: Any,
    bucket: Json,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    message: str,
    says: str,
) -> None:
    refuse(monkeypatch, operation, "AccessDenied", message)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(says)
    assert "`pare doctor --statements` prints the statements" in answer["Reason"]
    assert message in answer["Reason"]


def test_control_towers_bucket_is_known_by_its_name(
    cloudformation: CloudFormation, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"aws-controltower-logs-{ACCOUNT}-{REGION}"
    s3.create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced")
    refuse(monkeypatch, "PutBucketPolicy", "AccessDenied", "Access Denied")
    answer = cloudformation.create({**properties_of_bucket(), "Name": name})
    assert "Control Tower's guardrails" in answer["Reason"]
    assert "AWSControlTowerExecution" in answer["Reason"]


def test_rights_that_are_not_there_yet_are_waited_for(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "GetBucketLocation", "AccessDenied", "Access Denied", times=3)
    assert cloudformation.create(bucket)["Status"] == "SUCCESS"


def test_what_nobody_thought_of_is_answered_too(
    cloudformation: CloudFormation, s3: Any, bucket: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "PutBucketPolicy", "Unheard", "x" * 9_000)
    answer = cloudformation.create(bucket)
    assert answer["Status"] == "FAILED"
    assert "Unheard" in answer["Reason"]


# --- A key ----------------------------------------------------------------------------------------


def test_a_keys_policy_gets_ours_and_loses_them_again(
    cloudformation: CloudFormation, kms: Any
) -> None:
    key_arn = new_key(kms)
    (before,) = key_sids(kms, key_arn)
    properties = properties_of_key(key_arn)
    created = cloudformation.create(properties)
    assert created["Status"] == "SUCCESS"
    assert created["PhysicalResourceId"] == f"key policy {key_arn}"
    ours = ["PareDecryptsTheTrail", "ParePolicyGenerationDecrypts"]
    assert key_sids(kms, key_arn) == [before, *ours]
    again = cloudformation.update(created, properties, properties)
    assert again["Data"]["Difference"] == "no change; others' statements kept: 1"
    assert cloudformation.delete(created, properties)["Status"] == "SUCCESS"
    assert key_sids(kms, key_arn) == [before]


def test_a_key_that_is_gone_is_named_and_deleting_succeeds(
    cloudformation: CloudFormation, kms: Any
) -> None:
    gone = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b2c3d-1111-2222-3333-444455556666"
    properties = properties_of_key(gone)
    answer = cloudformation.create(properties)
    assert answer["Status"] == "FAILED"
    assert "Take it out of config/pare.yaml" in answer["Reason"]
    made = {"PhysicalResourceId": f"key policy {gone}"}
    assert cloudformation.delete(made, properties)["Status"] == "SUCCESS"


def test_a_key_that_leaves_iam_no_say_is_said_to(
    cloudformation: CloudFormation, kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = properties_of_key(new_key(kms))
    refuse(monkeypatch, "GetKeyPolicy", "AccessDeniedException", "because no policy allows it")
    answer = cloudformation.create(properties)
    assert "The key's policy may not leave it to the account's IAM policies" in answer["Reason"]


def test_a_deleted_principal_in_a_keys_policy_is_named(
    cloudformation: CloudFormation, kms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_arn = new_key(kms)
    policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
    policy["Statement"] += [{**policy["Statement"][0], "Sid": "Gone"}]
    policy["Statement"][-1]["Principal"] = {"AWS": "AIDAJQABLZS4A3QDU576Q"}
    kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))
    refuse(monkeypatch, "PutKeyPolicy", "MalformedPolicyDocumentException", "invalid principals")
    answer = cloudformation.create(properties_of_key(key_arn))
    assert "AIDAJQABLZS4A3QDU576Q (Sid Gone). Take them out of it" in answer["Reason"]
    assert answer["PhysicalResourceId"].endswith(" (not made)")
