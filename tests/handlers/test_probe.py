"""The doctor's questions to a function, and that every other event still reaches its handler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra.lambda_function import pascal
from infra.member_access import MEMBER_CALLERS, TRAIL_READERS
from infra.pipeline_stack import STEPS
from lambdas.probe import answers_probe
from pare.aws import probe
from pare.member_rights import ACCOUNT, rights_in
from tests.handlers.fake_aws import EXTERNAL_ID, MEMBER, REGION, member_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.handlers.conftest import LambdaContext
    from tests.handlers.fake_aws import FakeAws

ROOT = Path(__file__).parents[2]
OTHER = "444455556666"
ORG = "o-example0000"
TRAIL_BUCKET = "organization-trail"
HANDLERS = [
    f"lambdas.{folder}.{step}"
    for folder, steps in STEPS.items()
    for step in steps
    if pascal(step) in MEMBER_CALLERS + TRAIL_READERS
]


@pytest.fixture(autouse=True)
def _trail_settings(settings: Callable[..., None]) -> None:
    settings(trail_bucket_name=TRAIL_BUCKET, trail_log_roots="AWSLogs/")


def ask(context: Any, kind: str, **request: Any) -> dict[str, Any]:
    """Ask as the doctor does: the answer is JSON."""

    @answers_probe
    def handler(event: Any, context: Any) -> Any:
        pytest.fail("the handler was asked")

    answer: dict[str, Any] = json.loads(
        json.dumps(handler({"probe": {"kind": kind, **request}}, context))
    )
    return answer


# --- The decorator --------------------------------------------------------------------------------


def test_there_is_a_handler_for_every_caller() -> None:
    assert len(HANDLERS) == len(MEMBER_CALLERS) + len(TRAIL_READERS)


@pytest.mark.parametrize("module", HANDLERS)
def test_every_function_that_enters_or_reads_answers_a_probe(module: str, context: Any) -> None:
    answer = import_module(module).lambda_handler({"probe": {"kind": "nothing"}}, context)

    assert answer == {
        "ok": False,
        "action": "probe",
        "code": "UnknownRequest",
        "message": "no request is 'nothing'",
    }


@pytest.mark.parametrize(
    "event",
    [{}, {"probe": {"kind": "member"}, "execution": "e"}, {"principal": {}}, [], None, "probe"],
)
def test_every_other_event_reaches_the_handler_untouched(event: Any, context: Any) -> None:
    seen = []

    @answers_probe
    def handler(event: Any, context: Any) -> str:
        seen.append((event, context))
        return "done"

    assert handler(event, context) == "done"
    assert seen == [(event, context)]
    assert seen[0][0] is event


@pytest.mark.parametrize("module", HANDLERS)
def test_a_handler_is_as_it_was_for_what_is_no_probe(module: str, context: Any) -> None:
    # Every handler reads its variables and its event first; without either it fails by itself.
    with pytest.raises((KeyError, TypeError)):
        import_module(module).lambda_handler({}, context)


def test_a_cold_start_does_not_pay_for_the_probe() -> None:
    code = (
        "import sys, lambdas.probe\n"
        "print([m for m in ('boto3', 'botocore', 'pare.aws.probe') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("request_", [None, [], "member", {}, {"kind": ["member"]}])
def test_a_request_of_another_shape_is_told_and_does_not_raise(request_: Any, context: Any) -> None:
    @answers_probe
    def handler(event: Any, context: Any) -> Any:
        return None

    answer = handler({"probe": request_}, context)

    assert answer["ok"] is False
    assert answer["code"]


def test_a_function_without_the_variables_says_which_it_lacks(
    context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMBER_EXTERNAL_ID")
    monkeypatch.delenv("MEMBER_ROLE_ARN_TEMPLATE")

    answer = ask(context, "member", account_ids=[MEMBER])

    assert (answer["ok"], answer["code"]) == (False, "KeyError")
    assert "MEMBER_ROLE_ARN_TEMPLATE" in answer["message"]


# --- Entering accounts ----------------------------------------------------------------------------


def account_of(parameters: dict[str, Any]) -> str:
    return str(parameters["RoleArn"].split(":")[4])


def test_each_account_says_whether_it_lets_the_function_in(aws: FakeAws, context: Any) -> None:
    aws.fail(
        "sts:AssumeRole",
        "AccessDenied",
        403,
        message="not authorized to perform: sts:AssumeRole",
        when=lambda parameters: account_of(parameters) == OTHER,
    )

    answer = ask(context, "member", account_ids=[MEMBER, OTHER, MEMBER])

    assert answer == {
        "accounts": {
            MEMBER: {"ok": True},
            OTHER: {
                "ok": False,
                "action": "sts:AssumeRole",
                "code": "AccessDenied",
                "message": "not authorized to perform: sts:AssumeRole",
            },
        },
        "not_reached": [],
    }


def test_the_role_and_its_external_id_are_the_functions_own(aws: FakeAws, context: Any) -> None:
    aws.fail("sts:AssumeRole", "AccessDenied", 403)

    ask(
        context,
        "member",
        account_ids=[MEMBER],
        external_id="another",
        role_arn="arn:aws:iam::111122223333:role/Admin",
        member_role_arn_template="arn:aws:iam::{account_id}:role/Admin",
    )

    (asked,) = aws.called("sts:AssumeRole")
    assert asked["RoleArn"] == f"arn:aws:iam::{MEMBER}:role/PareMember"
    assert asked["ExternalId"] == EXTERNAL_ID


@pytest.mark.parametrize(
    ("tags", "template"),
    [([{"Key": "pare:member-template", "Value": "0123456789ab"}], "0123456789ab"), ([], None)],
)
def test_the_version_of_a_member_role_is_its_tag(
    context: Any, tags: list[Any], template: str | None
) -> None:
    member_session().client("iam").create_role(
        RoleName="PareMember", AssumeRolePolicyDocument="{}", Tags=tags
    )

    answer = ask(context, "member", account_ids=[MEMBER, OTHER], template=True)

    found = answer["accounts"][MEMBER]
    assert (found["ok"], found["template"]) == (True, template)
    # It was let in, all the same: what it may do there is another matter.
    found = answer["accounts"][OTHER]
    assert found["ok"] is True
    assert "template" not in found
    assert (found["rights"]["action"], found["rights"]["code"]) == ("iam:GetRole", "NoSuchEntity")


def test_the_rights_of_a_member_role_are_those_of_its_inline_policies(context: Any) -> None:
    iam = member_session().client("iam")
    iam.create_role(RoleName="PareMember", AssumeRolePolicyDocument="{}")
    role = f"arn:aws:iam::{MEMBER}:role/*"
    statement = {"Action": ["iam:ListRoles", "iam:GetRole"], "Effect": "Allow", "Resource": role}

    def hash_of(*actions: str) -> str:
        one = {**statement, "Action": list(actions)}
        document = {"Version": "2012-10-17", "Statement": [one]}
        iam.put_role_policy(
            RoleName="PareMember", PolicyName="Any", PolicyDocument=json.dumps(document)
        )
        answer = ask(context, "member", account_ids=[MEMBER], template=True)
        rights = answer["accounts"][MEMBER]["rights"]
        assert rights["ok"] is True
        return str(rights["value"])

    template = [{"Statement": [{**statement, "Resource": [role.replace(MEMBER, ACCOUNT)]}]}]
    assert hash_of("iam:GetRole", "iam:ListRoles") == rights_in(json.dumps(template), MEMBER)
    assert hash_of("iam:GetRole") != rights_in(json.dumps(template), MEMBER)
    iam.put_role_permissions_boundary(
        RoleName="PareMember", PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess"
    )
    assert hash_of("iam:GetRole", "iam:ListRoles") != rights_in(json.dumps(template), MEMBER)


def trusting(
    principal: Any, action: Any = "sts:AssumeRole", effect: str = "Allow"
) -> dict[str, Any]:
    statement = {"Effect": effect, "Principal": principal, "Action": action}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    ("trust", "is_trusting"),
    [
        (trusting({"Service": "access-analyzer.amazonaws.com"}), True),
        (
            trusting({"Service": ["ec2.amazonaws.com", "access-analyzer.amazonaws.com"]},
                     ["sts:TagSession", "sts:AssumeRole"]),
            True,
        ),
        (trusting({"Service": "ec2.amazonaws.com"}), False),
        (trusting({"Service": "access-analyzer.amazonaws.com"}, "sts:TagSession"), False),
        (trusting({"Service": "access-analyzer.amazonaws.com"}, effect="Deny"), False),
        (trusting({"AWS": "*"}), False),
        (trusting("*"), False),
    ],
)  # fmt: skip
def test_access_analyzers_role_is_looked_at_where_it_is_asked_for(
    context: Any, trust: dict[str, Any], is_trusting: bool
) -> None:
    iam = member_session().client("iam")
    iam.create_role(RoleName="PareMember", AssumeRolePolicyDocument="{}")
    iam.create_role(
        RoleName="OfAnalyzer", Path="/service-role/", AssumeRolePolicyDocument=json.dumps(trust)
    )

    answer = ask(
        context, "member", account_ids=[MEMBER], template=True, access_role="OfAnalyzer"
    )  # fmt: skip

    found = answer["accounts"][MEMBER]
    assert (found["ok"], found["template"]) == (True, None)
    assert found["access_role"] == {
        "ok": True,
        "value": {"path": "/service-role/", "is_trusting": is_trusting},
    }


def test_an_access_role_that_is_not_there_hides_nothing_else(context: Any) -> None:
    tags: list[Any] = [{"Key": "pare:member-template", "Value": "0123456789ab"}]
    iam = member_session().client("iam")
    iam.create_role(RoleName="PareMember", AssumeRolePolicyDocument="{}", Tags=tags)

    answer = ask(context, "member", account_ids=[MEMBER], template=True, access_role="Gone")

    found = answer["accounts"][MEMBER]
    assert (found["ok"], found["template"]) == (True, "0123456789ab")
    assert (found["access_role"]["ok"], found["access_role"]["code"]) == (False, "NoSuchEntity")
    assert found["access_role"]["action"] == "iam:GetRole"


def test_accounts_for_which_no_time_is_left_are_named(
    context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = [f"{number:012}" for number in range(1, 41)]
    context.remaining_ms = 21_000
    monkeypatch.setattr(probe, "AT_ONCE", 2)
    enter = probe._Function.enter

    def slow(self: Any, *args: Any) -> Any:
        context.remaining_ms -= 200
        return enter(self, *args)

    monkeypatch.setattr(probe._Function, "enter", slow)

    answer = ask(context, "member", account_ids=accounts)

    assert 5 <= len(answer["accounts"]) <= 6
    assert [*answer["accounts"], *answer["not_reached"]] == accounts


def test_without_time_nothing_is_begun(aws: FakeAws, context: LambdaContext) -> None:
    context.remaining_ms = 20_000

    answer = ask(context, "member", account_ids=[MEMBER])

    assert answer == {"accounts": {}, "not_reached": [MEMBER]}
    assert aws.attempts == []


def test_a_lost_connection_is_told(aws: FakeAws, context: Any) -> None:
    aws.refuse_connection("sts:AssumeRole")

    answer = ask(context, "member", account_ids=[MEMBER])

    assert answer["accounts"][MEMBER]["code"] == "EndpointConnectionError"


# --- What lies in other accounts ------------------------------------------------------------------

ARCHIVE, MANAGEMENT = "333333333333", "111111111111"


def trail_bucket_in(account_id: str, **more: Any) -> Any:
    s3 = member_session(account_id).client("s3")
    s3.create_bucket(
        Bucket=TRAIL_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}, **more
    )
    return s3


BUCKET_REQUEST = {"name": TRAIL_BUCKET, "account_id": ARCHIVE, "region": REGION}


def test_the_bucket_is_looked_at_in_its_own_account(aws: FakeAws, context: Any) -> None:
    s3 = trail_bucket_in(ARCHIVE, ObjectOwnership="BucketOwnerEnforced")
    policy = {"Version": "2012-10-17", "Statement": []}
    s3.put_bucket_policy(Bucket=TRAIL_BUCKET, Policy=json.dumps(policy))
    key = member_session(ARCHIVE).client("kms").create_key()["KeyMetadata"]["Arn"]
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    }
    s3.put_bucket_encryption(
        Bucket=TRAIL_BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]}
    )

    answer = ask(context, "log archive", bucket=BUCKET_REQUEST, key_arns=[key])

    found = answer["bucket"]
    assert found["policy"] == {"ok": True, "value": policy}
    assert found["ownership"]["value"] == "BucketOwnerEnforced"
    assert found["location"]["value"] == REGION
    assert found["encryption"]["value"] == {"algorithm": "aws:kms", "kms_key_arn": key}
    assert found["owner"]["value"]
    (asked,) = answer["keys"].values()
    assert asked["key"] == {"ok": True, "value": {"state": "Enabled", "manager": "CUSTOMER"}}
    assert asked["policy"]["value"]["Statement"]
    assert answer["not_reached"] == []
    assert aws.attempts.count("sts:AssumeRole") == 3, "two of the test's own, one of the probe"


def test_a_key_of_awss_own_is_told_from_others(aws: FakeAws, context: Any) -> None:
    arn = f"arn:aws:kms:{REGION}:{ARCHIVE}:key/11111111-2222-3333-4444-555555555555"
    aws.answer("kms:DescribeKey", {"KeyMetadata": {"KeyId": arn, "KeyState": "Enabled",
                                                   "KeyManager": "AWS"}})  # fmt: skip

    found = ask(context, "log archive", key_arns=[arn])["keys"][arn]

    assert found["key"]["value"] == {"state": "Enabled", "manager": "AWS"}


def test_a_bucket_on_which_nothing_was_set_says_so(context: Any) -> None:
    trail_bucket_in(ARCHIVE)

    found = ask(context, "log archive", bucket=BUCKET_REQUEST)["bucket"]

    assert found["policy"] == {"ok": True, "value": None}
    assert found["ownership"] == {"ok": True, "value": "ObjectWriter"}
    assert found["encryption"]["ok"]


@pytest.mark.parametrize(
    ("said", "region"),
    [({}, "us-east-1"), ({"LocationConstraint": "EU"}, "eu-west-1"),
     ({"LocationConstraint": "eu-north-1"}, "eu-north-1")],
)  # fmt: skip
def test_the_location_is_a_region(
    aws: FakeAws, context: Any, said: dict[str, Any], region: str
) -> None:
    trail_bucket_in(ARCHIVE)
    aws.answer("s3:GetBucketLocation", said)

    found = ask(context, "log archive", bucket=BUCKET_REQUEST)["bucket"]

    assert found["location"] == {"ok": True, "value": region}


def test_one_refusal_hides_nothing_else(aws: FakeAws, context: Any) -> None:
    trail_bucket_in(ARCHIVE)
    aws.fail("s3:GetBucketPolicy", "AccessDenied", 403)

    found = ask(context, "log archive", bucket=BUCKET_REQUEST)["bucket"]

    assert found["policy"]["code"] == "AccessDenied"
    assert found["policy"]["action"] == "s3:GetBucketPolicy"
    assert found["ownership"]["ok"]


def test_an_account_that_lets_nobody_in_is_why_nothing_of_it_is_known(
    aws: FakeAws, context: Any
) -> None:
    aws.fail("sts:AssumeRole", "AccessDenied", 403, when=lambda p: account_of(p) == ARCHIVE)
    arn = f"arn:aws:cloudtrail:{REGION}:{MANAGEMENT}:trail/organization"

    answer = ask(context, "log archive", bucket=BUCKET_REQUEST, trail_arns=[arn])

    assert {each["action"] for each in answer["bucket"].values()} == {"sts:AssumeRole"}
    assert answer["trails"][arn]["trail"]["action"] == "cloudtrail:GetTrail"


def test_the_trail_is_looked_at_in_the_account_of_its_arn(context: Any) -> None:
    s3 = member_session(MANAGEMENT).client("s3")
    s3.create_bucket(Bucket="trails", CreateBucketConfiguration={"LocationConstraint": REGION})
    cloudtrail = member_session(MANAGEMENT).client("cloudtrail")
    arn = cloudtrail.create_trail(
        Name="organization", S3BucketName="trails", IsMultiRegionTrail=True
    )["TrailARN"]
    cloudtrail.start_logging(Name=arn)
    assert f":{MANAGEMENT}:" in arn

    found = ask(context, "log archive", trail_arns=[arn])["trails"][arn]

    assert found["trail"]["value"]["IsMultiRegionTrail"] is True
    assert found["status"]["value"]["IsLogging"] is True
    assert "T" in found["status"]["value"]["StartLoggingTime"]
    assert found["selectors"]["ok"]


@pytest.mark.parametrize("arn", ["", "organization", "arn:aws:kms:eu-west-1"])
def test_an_arn_that_is_none_is_told(context: Any, arn: str) -> None:
    answer = ask(context, "log archive", key_arns=[arn])

    assert answer["ok"] is False
    assert answer["code"] == "ValueError"


# --- Listing and reading --------------------------------------------------------------------------


@pytest.fixture
def trail(aws: FakeAws) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=TRAIL_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def deliver(s3: Any, day: str, *, account: str = MEMBER, region: str = REGION, size: int = 7,
            root: str = f"AWSLogs/{ORG}/", clock: str = "1005", number: int = 1,
            **more: Any) -> str:  # fmt: skip
    stamp = day.replace("-", "")
    name = f"{account}_CloudTrail_{region}_{stamp}T{clock}Z_{number:016}.json.gz"
    key = f"{root}{account}/CloudTrail/{region}/{day.replace('-', '/')}/{name}"
    s3.put_object(Bucket=TRAIL_BUCKET, Key=key, Body=b"x" * size, **more)
    return key


WINDOW = {"first_date": "2026-08-23", "last_date": "2026-11-20"}


def test_old_middle_and_new_log_files_of_each_account_are_named(trail: Any, context: Any) -> None:
    deliver(trail, "2026-08-22")  # before the window
    old = deliver(trail, "2026-08-25")
    middle = deliver(trail, "2026-10-20")
    new = deliver(trail, "2026-11-20", size=9)
    deliver(trail, "2026-11-21")  # after it
    deliver(trail, "2026-11-19", region="us-west-2")
    lone = deliver(trail, "2026-11-18", account=OTHER)

    answer = ask(context, "list trail", **WINDOW)

    assert answer["ok"] is True
    assert (answer["missing"], answer["not_reached"]) == ([], [])
    found = answer["accounts"][MEMBER]
    assert {each["age"]: each["key"] for each in found["samples"]} == {
        "old": old, "middle": middle, "new": new,
    }  # fmt: skip
    assert {each["date"] for each in found["samples"]} == {"2026-08-25", "2026-10-20", "2026-11-20"}
    assert all(each["owner"] for each in found["samples"])
    ages = {each["age"]: each["key"] for each in answer["accounts"][OTHER]["samples"]}
    assert set(ages.values()) == {lone}


def test_the_size_of_a_window_is_worked_out_from_its_newest_week(trail: Any, context: Any) -> None:
    for number in range(14):
        deliver(trail, f"2026-11-{14 + number % 7}", number=number, size=100)
    deliver(trail, "2026-11-16", region="us-west-2", size=7)

    found = ask(context, "list trail", **WINDOW)["accounts"][MEMBER]

    assert found["files"] == 2 * 90 + 13  # 1 in 7 days, of 90
    assert found["bytes"] == 100 * 2 * 90 + 90


def test_where_a_page_does_not_hold_a_week_the_time_it_spans_counts(
    trail: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PAGE", 24)
    for number in range(48):  # one every half hour of the first day
        clock = f"{number // 2:02}{30 * (number % 2):02}"
        deliver(trail, "2026-11-14", clock=clock, number=number, size=10)

    found = ask(context, "list trail", **WINDOW)["accounts"][MEMBER]

    assert found["files"] == pytest.approx(48 * 90, rel=0.06)
    assert found["bytes"] == pytest.approx(480 * 90, rel=0.06)


def test_a_region_is_listed_once_however_many_log_files_it_has(
    trail: Any, aws: FakeAws, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PAGE", 5)
    regions = [f"xx-region-{number}" for number in range(6)]
    newest = ""
    for region in regions:
        for number in range(8):
            deliver(trail, "2026-11-14", region=region, number=number)
        newest = newest or deliver(trail, "2026-11-20", region=region)

    before = aws.attempts.count("s3:ListObjectsV2")

    found = ask(context, "list trail", **WINDOW)["accounts"][MEMBER]

    # And one of each age, and those that find the bucket, the account and its Regions.
    assert aws.attempts.count("s3:ListObjectsV2") - before == len(regions) + 3 + 4
    assert [each["key"] for each in found["samples"] if each["age"] == "new"] == [newest]


def test_the_folders_of_an_older_trail_of_the_account_have_samples_of_their_own(
    trail: Any, context: Any
) -> None:
    own = deliver(trail, "2026-08-24", root="AWSLogs/")
    new = deliver(trail, "2026-11-20")

    found = ask(context, "list trail", **WINDOW)["accounts"][MEMBER]

    assert {each["key"] for each in found["samples"]} == {own, new}


def test_accounts_can_be_named_and_those_without_a_folder_are_told(
    trail: Any, context: Any
) -> None:
    deliver(trail, "2026-11-20")
    deliver(trail, "2026-11-20", account=OTHER)

    answer = ask(context, "list trail", **WINDOW, account_ids=[MEMBER, "999999999999"])

    assert [*answer["accounts"]] == [MEMBER]
    assert answer["missing"] == ["999999999999"]


def test_what_is_listed_is_the_functions_own_bucket(trail: Any, aws: FakeAws, context: Any) -> None:
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403)

    answer = ask(context, "list trail", **WINDOW, bucket="another", roots="secret/")

    assert answer == {
        "ok": False,
        "action": "s3:ListBucket",
        "code": "AccessDenied",
        "message": "AWS's own words",
    }
    assert {each["Bucket"] for each in aws.called("s3:ListObjectsV2")} == {TRAIL_BUCKET}
    assert {each["Prefix"] for each in aws.called("s3:ListObjectsV2")} == {"AWSLogs/"}


def test_an_account_that_cannot_be_listed_hides_no_other(
    trail: Any, aws: FakeAws, context: Any
) -> None:
    deliver(trail, "2026-11-20")
    deliver(trail, "2026-11-20", account=OTHER)
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403, when=lambda p: OTHER in p["Prefix"])

    accounts = ask(context, "list trail", **WINDOW)["accounts"]

    assert accounts[MEMBER]["ok"] is True
    assert accounts[OTHER]["code"] == "AccessDenied"


def test_listing_ends_in_time(trail: Any, context: LambdaContext) -> None:
    deliver(trail, "2026-11-20")
    context.remaining_ms = 5_000

    answer = ask(context, "list trail", **WINDOW)

    assert (answer["accounts"], answer["not_reached"]) == ({}, [MEMBER])


@pytest.mark.parametrize(("seconds", "is_reached"), [(0, False), (60, True)])
def test_a_request_may_ask_for_less_time(
    trail: Any, context: Any, seconds: int, is_reached: bool
) -> None:
    deliver(trail, "2026-11-20")

    answer = ask(context, "list trail", **WINDOW, seconds=seconds)

    assert (answer["not_reached"] == []) is is_reached


def test_nobody_gets_more_time_than_the_function_has(trail: Any, context: LambdaContext) -> None:
    deliver(trail, "2026-11-20")
    context.remaining_ms = 5_000

    assert ask(context, "list trail", **WINDOW, seconds=900)["not_reached"] == [MEMBER]


def test_a_log_file_that_can_be_read_names_its_key_and_never_what_is_in_it(
    trail: Any, context: Any
) -> None:
    kms_key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    plain = deliver(trail, "2026-11-20", size=9)
    secret = deliver(trail, "2026-11-19", ServerSideEncryption="aws:kms", SSEKMSKeyId=kms_key)

    answer = ask(context, "read trail", keys=[plain, secret])

    assert answer["objects"][plain]["ok"] is True
    assert answer["objects"][plain]["size"] == 9
    assert answer["objects"][plain]["kms_key_arn"] is None
    assert answer["objects"][secret] == {
        "ok": True, "size": 7, "encryption": "aws:kms", "kms_key_arn": kms_key,
    }  # fmt: skip
    assert "xxxx" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("head_too", "code", "message", "barrier", "names_key"),
    [
        (False, "AccessDenied", "Access Denied", "kms", True),
        (True, "AccessDenied", "Access Denied", "s3", False),
        (True, "AccessDenied", "not authorized to perform: kms:Decrypt on resource", "kms", False),
        (True, "KMS.DisabledException", "the key is disabled", "kms", False),
        (True, "NoSuchKey", "it is gone", None, False),
        (True, "InternalError", "S3 failed", None, False),
    ],
)
def test_a_log_file_that_cannot_be_read_says_who_refuses(
    trail: Any, aws: FakeAws, context: Any,
    head_too: bool, code: str, message: str, barrier: str | None, names_key: bool,
) -> None:  # fmt: skip
    kms_key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    key = deliver(trail, "2026-11-20", ServerSideEncryption="aws:kms", SSEKMSKeyId=kms_key)
    aws.fail("s3:GetObject", code, 403, message=message)
    if head_too:
        aws.fail("s3:HeadObject", "403", 403, message="Forbidden")

    found = ask(context, "read trail", keys=[key])["objects"][key]

    assert (found["ok"], found["code"], found["barrier"]) == (False, code, barrier)
    assert found["kms_key_arn"] == (kms_key if names_key else None)


def test_reading_ends_in_time(trail: Any, aws: FakeAws, context: LambdaContext) -> None:
    context.remaining_ms = 5_000

    answer = ask(context, "read trail", keys=["a"])

    assert answer == {"ok": True, "objects": {}, "not_reached": ["a"]}


def test_many_are_asked_side_by_side(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: Any, *_: Any) -> Any:
        time.sleep(0.05)
        return {}

    monkeypatch.setattr(probe._Function, "enter", slow)
    began = time.monotonic()

    ask(context, "member", account_ids=[f"{number:012}" for number in range(40)])

    assert time.monotonic() - began < 40 * 0.05
