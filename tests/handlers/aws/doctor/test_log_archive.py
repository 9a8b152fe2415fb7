"""The doctor's look at the trail and its bucket, through the functions' own answer to a probe.

In place of Lambda's Invoke stands the decorated handler; AWS is moto, which enforces no policy: a
refusal is planted where AWS would refuse.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambdas.probe import answers_probe
from pare.aws.calls import translated
from pare.aws.doctor import log_archive, trail
from pare.aws.doctor.context import Examination
from pare.errors import AwsCallError
from pare.log_archive.statements import bucket_statements, key_statements
from tests.doctor_setup import BUCKET, HOME, HUB, LOG_ARCHIVE, MANAGEMENT, PAYMENTS, SHOP, setup
from tests.handlers.conftest import LambdaContext
from tests.handlers.fake_aws import REGION, member_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.doctor.model import Result
    from pare.doctor.setup import Setup
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORG = "o-example0000"
DAYS = {"old": "2026-08-25", "middle": "2026-10-12", "new": "2026-11-20"}


@dataclass(frozen=True)
class Asked(Examination):
    """An examination that hands a request to the handler instead of Lambda."""

    broken: tuple[str, ...] = ()

    def probe(self, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        if construct_id in self.broken:
            raise AwsCallError(f"lambda:InvokeFunction {construct_id}: it is not there")

        @answers_probe
        def handler(event: Any, context: Any) -> Any:
            pytest.fail("the handler was asked")

        text = json.dumps(handler({"probe": request}, LambdaContext()))
        answer: dict[str, Any] = json.loads(text)
        return answer


@cache
def archive(service: str) -> Any:
    """Return a client of the log archive account."""
    return member_session(LOG_ARCHIVE).client(service, region_name=HOME)  # type: ignore[call-overload]


@pytest.fixture
def kms_key() -> str:
    archive.cache_clear()
    kms = archive("kms")
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def deployed(kms_key: str, aws: FakeAws, settings: Callable[..., None]) -> Setup:
    """A trail's bucket with all it needs, and log files of two accounts."""
    settings(trail_bucket_name=BUCKET, trail_log_roots="AWSLogs/")
    base = setup()
    made = replace(
        base,
        trail=replace(base.trail, log_roots=("AWSLogs/",), kms_key_arns=(kms_key,)),
    )
    s3 = archive("s3")
    s3.create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": REGION},
        ObjectOwnership="BucketOwnerEnforced",
    )
    put_bucket_policy(bucket_statements(made))
    put_key_policy(kms_key, key_statements(made, kms_key))
    for account in (PAYMENTS, SHOP):
        for day in DAYS.values():
            deliver(account, day, kms_key)
    list_accounts(aws, PAYMENTS, SHOP)
    return made


def put_bucket_policy(statements: list[Any]) -> None:
    policy = {"Version": "2012-10-17", "Statement": statements}
    s3 = archive("s3")
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))


def put_key_policy(arn: str, statements: list[Any]) -> None:
    policy = {"Version": "2012-10-17", "Statement": statements}
    kms = archive("kms")
    kms.put_key_policy(KeyId=arn, PolicyName="default", Policy=json.dumps(policy))


def deliver(account: str, day: str, kms_key: str) -> None:
    # moto keeps one list of buckets' names for all accounts, and each account its own objects.
    s3 = archive("s3")
    name = f"{account}_CloudTrail_{HOME}_{day.replace('-', '')}T1005Z_0123456789abcdef.json.gz"
    key = f"AWSLogs/{ORG}/{account}/CloudTrail/{HOME}/{day.replace('-', '/')}/{name}"
    s3.put_object(
        Bucket=BUCKET, Key=key, Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=kms_key
    )


def list_accounts(aws: FakeAws, *account_ids: str) -> None:
    aws.mend("organizations:ListAccounts")
    aws.answer(
        "organizations:ListAccounts",
        {
            "Accounts": [
                {"Id": each, "Name": each, "Email": f"{each}@example.com", "Status": "ACTIVE"}
                for each in account_ids
            ]
        },
    )


def examination(made: Setup, *, broken: tuple[str, ...] = ()) -> Asked:
    return Asked(
        session=boto3.Session(),
        setup=made,
        outputs={"some": "output"},
        now=NOW,
        say=lambda _: None,
        broken=broken,
    )


def results(made: Setup, **more: Any) -> list[Result]:
    found = list(log_archive.examine(examination(made, **more)))
    for each in found:
        assert (each.mend is None) is (each.status == "ok"), each
        json.dumps(each.facts)
    return found


def amiss(made: Setup, **more: Any) -> dict[str, Result]:
    return {each.check: each for each in results(made, **more) if each.status != "ok"}


def test_a_log_archive_as_it_should_be_is_well(deployed: Setup) -> None:
    found = results(deployed)

    assert [each for each in found if each.status != "ok"] == []
    assert {each.check for each in found} == {
        "log-archive.bucket",
        "log-archive.ownership",
        "log-archive.bucket-policy",
        "log-archive.keys",
        "log-archive.key-policy",
        "log-archive.listing",
        "log-archive.reading",
        "log-archive.size",
    }
    (reading,) = [each for each in found if each.check == "log-archive.reading"]
    assert "6 log files (2 old, 2 middle, 2 new) of 2 accounts" in reading.says
    (size,) = [each for each in found if each.check == "log-archive.size"]
    assert size.facts["accounts"].keys() == {PAYMENTS, SHOP}


def test_a_bucket_policy_without_a_statement_is_named(deployed: Setup) -> None:
    put_bucket_policy(bucket_statements(deployed)[1:])

    found = amiss(deployed)

    assert [*found] == ["log-archive.bucket-policy"]
    assert "PareListsTheTrail" in found["log-archive.bucket-policy"].says


def test_what_the_policy_lacks_is_the_mend_of_what_cannot_be_listed(
    deployed: Setup, aws: FakeAws
) -> None:
    put_bucket_policy(bucket_statements(deployed)[1:])
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403)

    found = amiss(deployed)

    policy, listing = found["log-archive.bucket-policy"], found["log-archive.listing"]
    assert listing.status == "missing"
    assert listing.mend == policy.mend
    assert found["log-archive.reading"].status == "cannot tell"
    assert found["log-archive.size"].status == "cannot tell"


def test_a_key_that_the_settings_do_not_name_is_found_and_looked_at(deployed: Setup) -> None:
    kms = archive("kms")
    old: str = kms.create_key()["KeyMetadata"]["Arn"]
    deliver(PAYMENTS, DAYS["old"], old)

    found = amiss(deployed)

    assert {*found} == {"log-archive.keys", "log-archive.key-policy"}
    assert found["log-archive.keys"].subject == old
    assert found["log-archive.key-policy"].subject == old


def test_a_key_that_refuses_has_its_policy_for_a_mend(
    deployed: Setup, kms_key: str, aws: FakeAws
) -> None:
    put_key_policy(kms_key, key_statements(deployed, kms_key)[1:])
    aws.fail("s3:GetObject", "AccessDenied", 403, message="no kms:Decrypt")

    found = amiss(deployed)

    assert {*found} == {"log-archive.key-policy", "log-archive.reading"}
    assert found["log-archive.reading"].mend == found["log-archive.key-policy"].mend
    assert found["log-archive.reading"].facts == {"files": 6, "barrier": "kms"}


def test_log_files_of_another_owner_are_told_from_those_the_policy_refuses(
    deployed: Setup, aws: FakeAws
) -> None:
    s3 = archive("s3")
    rules: Any = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)
    aws.answer("s3:GetBucketAcl", {"Owner": {"ID": "the-log-archive"}})
    aws.fail("s3:GetObject", "AccessDenied", 403, message="Access Denied")
    aws.fail("s3:HeadObject", "403", 403, message="Forbidden")

    found = amiss(deployed)

    assert found["log-archive.ownership"].status == "missing"
    assert found["log-archive.reading"].facts["barrier"] == "owner"
    assert found["log-archive.reading"].mend == found["log-archive.ownership"].mend
    # Nobody was shown a key.
    assert found["log-archive.keys"].facts == {"unknown": 6}


def prefer_the_buckets_owner() -> None:
    s3 = archive("s3")
    rules: Any = {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls=rules)


@pytest.mark.parametrize("is_owner_told", [True, False])
def test_what_the_hub_reads_is_the_bucket_owners(
    deployed: Setup, aws: FakeAws, is_owner_told: bool
) -> None:
    prefer_the_buckets_owner()
    if not is_owner_told:
        aws.fail("s3:GetBucketAcl", "AccessDenied", 403)

    found = results(deployed)

    assert [each for each in found if each.status != "ok"] == []
    (ownership,) = [each for each in found if each.check == "log-archive.ownership"]
    assert "of 6 log files looked at all are the bucket owner's" in ownership.says


def test_log_files_that_nobody_may_read_nor_say_whose_they_are_may_be_another_owners(
    deployed: Setup, aws: FakeAws
) -> None:
    prefer_the_buckets_owner()
    aws.fail("s3:GetBucketAcl", "AccessDenied", 403)
    aws.fail("s3:GetObject", "AccessDenied", 403, message="Access Denied")
    aws.fail("s3:HeadObject", "403", 403, message="Forbidden")

    found = amiss(deployed)

    assert found["log-archive.ownership"].status == "cannot tell"
    assert found["log-archive.ownership"].facts == {"unknown": 6}
    assert found["log-archive.reading"].mend == found["log-archive.ownership"].mend


def test_a_key_whose_state_nobody_may_see_is_well_where_it_decrypts(
    deployed: Setup, aws: FakeAws
) -> None:
    aws.fail("kms:DescribeKey", "AccessDeniedException", 400)

    assert amiss(deployed) == {}

    aws.fail("s3:GetObject", "AccessDenied", 403, message="no kms:Decrypt")
    assert amiss(deployed)["log-archive.key-policy"].status == "cannot tell"


@pytest.mark.parametrize("is_reached", [True, False])
def test_the_size_of_an_account_that_was_not_reached_or_listed_is_not_known(
    deployed: Setup, monkeypatch: pytest.MonkeyPatch, is_reached: bool
) -> None:
    whole = Asked.probe

    def without(self: Asked, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = whole(self, construct_id, request)
        if construct_id == "list_logs" and SHOP in answer["accounts"]:
            if is_reached:
                answer["accounts"][SHOP] = refused
            else:
                answer["accounts"].pop(SHOP)
                answer["not_reached"] = [SHOP]
        return answer

    refused = {"ok": False, "action": "s3:ListBucket", "code": "AccessDenied", "message": "no"}
    monkeypatch.setattr(Asked, "probe", without)

    size = amiss(deployed)["log-archive.size"]

    assert size.status == "cannot tell"
    assert size.facts["not_listed"] == [SHOP]
    assert size.facts["accounts"].keys() == {PAYMENTS}


def test_an_account_without_log_files_is_named(deployed: Setup, aws: FakeAws) -> None:
    list_accounts(aws, PAYMENTS, SHOP, "777788889999")

    found = amiss(deployed)

    assert found["log-archive.listing"].facts == {"accounts": ["777788889999"]}
    assert amiss(replace(deployed, account_exclusions=("777788889999",))) == {}


def test_a_log_archive_that_lets_nobody_in_says_which_stack_it_needs(
    deployed: Setup, aws: FakeAws
) -> None:
    aws.fail("sts:AssumeRole", "AccessDenied", 403)

    found = amiss(deployed)

    for check in ("bucket", "ownership", "bucket-policy", "key-policy"):
        result = found[f"log-archive.{check}"]
        assert result.status == "cannot tell"
        assert result.mend is not None
        assert result.mend.commands == ("npx cdk deploy PareMembers",)
    assert "log-archive.listing" not in found


@pytest.mark.parametrize(
    "function", ["list_logs", "choose_route", "digest_logs", "list_principals"]
)
def test_a_function_that_cannot_be_asked_leaves_the_others_answers(
    deployed: Setup, function: str
) -> None:
    found = results(deployed, broken=(function,))

    assert any(each.status == "cannot tell" for each in found)
    assert any(each.status == "ok" for each in found)
    assert not any(each.status == "missing" for each in found)


def test_a_person_who_may_ask_no_function_gets_one_mend_everywhere(
    deployed: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, construct_id: str, __: object) -> None:
        said = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
        with translated(f"lambda:InvokeFunction {construct_id}"):
            raise ClientError(said, "Invoke")  # type: ignore[arg-type]

    monkeypatch.setattr(Asked, "probe", refuse)

    found = [each for each in results(deployed) if "AccessDenied" in each.says]
    found += [each for each in trail_results(deployed).values() if each.check != "trail.route"]

    assert len({each.check for each in found}) >= 8
    (mend,) = {each.mend.text for each in found if each.mend}
    assert f"Your credentials need lambda:InvokeFunction in account {HUB}" in mend


def test_accounts_that_were_not_reached_are_asked_for_once_more(
    deployed: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Asked.probe
    asked: list[Any] = []

    def first_half(self: Asked, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        answer = whole(self, construct_id, request)
        if construct_id == "list_logs":
            asked.append(request.get("account_ids"))
            if len(asked) == 1:
                answer["accounts"].pop(SHOP)
                answer["not_reached"] = [SHOP]
        return answer

    monkeypatch.setattr(Asked, "probe", first_half)

    assert amiss(deployed) == {}
    assert asked == [[PAYMENTS, SHOP], [SHOP]]


def test_many_accounts_are_asked_of_several_functions_at_once(
    deployed: Setup, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Asked.probe
    asked: list[Any] = []

    def noted(self: Asked, construct_id: str, request: dict[str, Any]) -> dict[str, Any]:
        if construct_id == "list_logs":
            asked.append(request["account_ids"])
            # One of them cannot be asked at first: its accounts are asked for again.
            if asked.count([SHOP]) == 1 and request["account_ids"] == [SHOP]:
                raise AwsCallError("it was throttled")
        return whole(self, construct_id, request)

    monkeypatch.setattr(Asked, "probe", noted)
    monkeypatch.setattr(log_archive, "ACCOUNTS_A_PROBE", 1)

    assert amiss(deployed) == {}
    assert sorted(asked) == [[PAYMENTS], [SHOP], [SHOP]]


def test_without_the_organization_all_that_have_log_files_are_listed(
    deployed: Setup, aws: FakeAws
) -> None:
    aws.fail("organizations:ListAccounts", "AccessDeniedException", 400)

    found = results(deployed)

    (size,) = [each for each in found if each.check == "log-archive.size"]
    assert size.facts["accounts"].keys() == {PAYMENTS, SHOP}


PERIMETER = {
    "Sid": "OnlyOurNetwork",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": f"arn:aws:s3:::{BUCKET}/*",
    "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
}


def test_a_deny_that_nobody_can_judge_is_suspected_where_somebody_is_refused(
    deployed: Setup, aws: FakeAws
) -> None:
    put_bucket_policy([PERIMETER, *bucket_statements(deployed)])
    words = "with an explicit deny in a resource-based policy"
    aws.fail("s3:GetObject", "AccessDenied", 403, message=words)
    aws.fail("s3:HeadObject", "403", 403, message="Forbidden")

    found = amiss(deployed)

    policy, reading = found["log-archive.bucket-policy"], found["log-archive.reading"]
    assert (policy.status, reading.status) == ("cannot tell", "missing")
    assert reading.mend == policy.mend
    assert "OnlyOurNetwork" in str(policy.mend)


def test_a_deny_that_nobody_can_judge_is_well_where_only_pare_comes_and_reads(
    deployed: Setup,
) -> None:
    # moto does enforce a Deny of s3:GetObject; to list is another thing.
    there = {"Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
    put_bucket_policy([{**PERIMETER, **there}, *bucket_statements(deployed)])

    # Access Analyzer comes, too, and nobody can try for it.
    assert [*amiss(deployed)] == ["log-archive.bucket-policy"]
    alone = replace(deployed, trail=replace(deployed.trail, made_by_control_tower=True))
    assert amiss(alone) == {}


def test_a_key_of_awss_own_gets_neither_a_setting_nor_a_policy(
    deployed: Setup, kms_key: str, aws: FakeAws
) -> None:
    aws.answer("kms:DescribeKey", {"KeyMetadata": {"KeyId": kms_key, "KeyState": "Enabled",
                                                   "KeyManager": "AWS"}})  # fmt: skip
    aws.fail("s3:GetObject", "AccessDenied", 403, message="no kms:Decrypt")
    unnamed = replace(deployed, trail=replace(deployed.trail, kms_key_arns=()))

    found = amiss(unnamed)

    assert {*found} == {"log-archive.keys", "log-archive.reading"}
    assert found["log-archive.reading"].mend == found["log-archive.keys"].mend
    assert "stay unread" in str(found["log-archive.keys"].mend)


def test_log_files_that_the_trail_did_not_encrypt_are_told(deployed: Setup) -> None:
    make_trail()  # of no key, in a bucket that encrypts by default

    (keys,) = [each for each in results(deployed) if each.check == "log-archive.keys"]

    assert keys.facts == {"files": 6, "not_the_trails": 6}
    assert "Access Analyzer may not read" in keys.says


# --- The trail ---


def make_trail(account_id: str = MANAGEMENT, **changes: Any) -> Any:
    session = member_session(account_id)
    bucket = f"trail-{account_id}"
    session.client("s3", region_name=HOME).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    cloudtrail: Any = session.client("cloudtrail", region_name=HOME)
    cloudtrail.create_trail(
        Name="organization", S3BucketName=bucket,
        **{"IsMultiRegionTrail": True, "IsOrganizationTrail": True, **changes},
    )  # fmt: skip
    cloudtrail.start_logging(Name="organization")
    return cloudtrail


def trail_results(made: Setup, **more: Any) -> dict[str, Result]:
    return {each.check: each for each in trail.examine(examination(made, **more))}


def with_bucket(made: Setup, account_id: str = MANAGEMENT, **changes: Any) -> Setup:
    return replace(made, trail=replace(made.trail, bucket=f"trail-{account_id}", **changes))


def test_the_trail_is_judged_as_its_account_tells_it(deployed: Setup) -> None:
    make_trail(IsMultiRegionTrail=False).stop_logging(Name="organization")

    found = trail_results(with_bucket(deployed))

    assert {check: each.status for check, each in found.items()} == {
        "trail.route": "ok",
        "trail.exists": "ok",
        "trail.scope": "missing",
        "trail.logging": "missing",
        "trail.management-events": "ok",
        "trail.data-events": "ok",
    }


def test_the_printed_mend_makes_it_well(deployed: Setup) -> None:
    cloudtrail = make_trail()
    cloudtrail.put_event_selectors(
        TrailName="organization",
        EventSelectors=[{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": True,
                         "DataResources": []}],
    )  # fmt: skip
    made = with_bucket(deployed)
    amiss = trail_results(made)["trail.management-events"]
    assert amiss.says == "The trail leaves out all reads."
    assert amiss.mend is not None

    # What the command line would send.
    words = amiss.mend.commands[0].split("--event-selectors ")[1].split(" --region")[0]
    cloudtrail.put_event_selectors(
        TrailName="organization", EventSelectors=json.loads(words.strip("'"))
    )

    assert trail_results(made)["trail.management-events"].status == "ok"


def test_a_trail_that_is_not_there_is_missing(deployed: Setup) -> None:
    assert trail_results(deployed)["trail.exists"].status == "missing"


def test_each_account_trail_is_asked_of_its_own_account(deployed: Setup) -> None:
    make_trail(PAYMENTS, IsOrganizationTrail=False)
    arn = deployed.trail.arn.replace(MANAGEMENT, "{account_id}")
    own = with_bucket(deployed, PAYMENTS, arn=arn, is_organization_trail=False)

    found = list(trail.examine(examination(own)))

    missing = [each for each in found if each.status == "missing"]
    assert [(each.check, each.subject) for each in missing] == [("trail.exists", SHOP)]
    assert missing[0].mend is not None
    assert missing[0].mend.where == f"member {SHOP}"


def test_a_function_that_cannot_be_asked_of_the_trail_says_so_of_each_check(
    deployed: Setup,
) -> None:
    found = trail_results(deployed, broken=("list_principals",))

    assert {each.status for check, each in found.items() if check != "trail.route"} == {
        "cannot tell"
    }
