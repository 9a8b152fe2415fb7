from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory import collect_principals
from lambdas.inventory.collect_principals import Output, lambda_handler
from pare.errors import AwsServiceError, ThrottledError
from pare.inventory.credential_report import read_credential_report
from pare.inventory.facts import principal_facts
from pare.inventory.model import COUNTS
from tests.handlers.fake_aws import BUCKET, MEMBER, member_session
from tests.handlers.policy_inputs import allow

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdas.inventory.list_accounts import AccountItem
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

WORK = "inventory/period=2026-11/work=monthly-1"
FOLDER = f"{WORK}/account={MEMBER}"
COLLECTED = {"bucket": BUCKET, "key": f"{FOLDER}/collected.json"}
DETAILS, GENERATE = "iam:GetAccountAuthorizationDetails", "iam:GenerateCredentialReport"
PREVIOUS = {"period": "2026-10", "bucket": BUCKET, "key": "inventory/period=2026-10/rows"}
HEADER = "user,arn,password_enabled,mfa_active,access_key_1_active,access_key_2_active\n"
REPORT = (
    f"{HEADER}"
    f"<root_account>,arn:aws:iam::{MEMBER}:root,not_supported,true,false,false\n"
    f"mary,arn:aws:iam::{MEMBER}:user/mary,true,true,false,false\n"
    f"robot,arn:aws:iam::{MEMBER}:user/machines/robot,false,false,true,false\n"
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that never comes is given up at once."""
    monkeypatch.setattr(collect_principals, "MAX_REPORT_SECONDS", 0.0)


@pytest.fixture
def reported(aws: FakeAws) -> FakeAws:
    """An account whose credential report is young."""
    aws.answer(GENERATE, {"State": "COMPLETE"})
    aws.answer("iam:GetCredentialReport", {"Content": REPORT.encode(), "ReportFormat": "text/csv"})
    return aws


@pytest.fixture
def filled(aws: FakeAws) -> str:
    """An account with a role and two users; the id of the key that one of them has."""
    iam = member_session().client("iam")
    iam.create_role(
        RoleName="App",
        Path="/team/",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": "999988887777"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        ),
        Tags=[{"Key": "Owner", "Value": "orders"}],
    )
    iam.put_role_policy(
        RoleName="App", PolicyName="own", PolicyDocument=json.dumps(allow("s3:GetObject"))
    )
    iam.create_user(UserName="mary")
    iam.create_user(UserName="robot", Path="/machines/")
    iam.create_account_alias(AccountAlias="shop-prod")
    return iam.create_access_key(UserName="robot")["AccessKey"]["AccessKeyId"]


def item(**changes: Any) -> AccountItem:
    found: AccountItem = {
        "account_id": MEMBER,
        "name": "shop",
        "state": "ACTIVE",
        "period": "2026-11",
        "work": WORK,
        "as_of": "2026-11-01T06:00:00Z",
        "organization": {"bucket": BUCKET, "key": f"{WORK}/organization.json"},
        "previous": None,
        "is_new": False,
    }
    return {**found, **changes}  # type: ignore[typeddict-item]


def collect(context: Any, **changes: Any) -> Output:
    output: Output = lambda_handler(item(**changes), context)
    return output


def stored(evidence: EvidenceStore, name: str) -> Any:
    return evidence.get_json({"bucket": BUCKET, "key": f"{FOLDER}/{name}.json"})


def keys(evidence: EvidenceStore) -> list[str]:
    found = evidence.s3.list_objects_v2(Bucket=BUCKET, Prefix=FOLDER).get("Contents", [])
    return [each["Key"].removeprefix(f"{FOLDER}/") for each in found]


# --- Collected ------------------------------------------------------------------------------------


def test_what_iam_says_of_an_account_is_stored(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    output = collect(context)

    assert output == {"is_done": False, "error": None, "item": item(), "collected": COLLECTED}
    collected = stored(evidence, "collected")
    assert collected.pop("collected_at").endswith("Z")
    assert 0 < collected.pop("seconds") < 60
    listed = collected.pop("access_keys")
    assert [(name, [each["AccessKeyId"] for each in found]) for name, found in listed.items()] == [
        ("robot", [filled])
    ], "of users with keys only"
    principals = sorted(
        f"arn:aws:iam::{MEMBER}:{name}"
        for name in ("role/team/App", "user/machines/robot", "user/mary")
    )
    assert collected == {
        "account_id": MEMBER,
        "name": "shop",
        "alias": "shop-prod",
        "details": {"bucket": BUCKET, "key": f"{FOLDER}/authorization_details.ndjson.gz"},
        "credential_report": {"bucket": BUCKET, "key": f"{FOLDER}/credential_report.csv"},
        "principals": {"bucket": BUCKET, "key": f"{FOLDER}/principals.json"},
        "principal_count": 3,
        "unknown": [],
        "calls": 5,  # details, alias, report twice, keys
    }
    assert evidence.get_json(collected["principals"]) == principals
    assert evidence.get_bytes(collected["credential_report"]).decode() == REPORT


def test_facts_can_be_made_of_what_is_stored(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    collect(context)
    collected = stored(evidence, "collected")

    app, robot, mary = principal_facts(
        evidence.get_ndjson_gz(collected["details"]),
        read_credential_report(evidence.get_bytes(collected["credential_report"]).decode()),
        account_id=MEMBER,
        collected=collected,
        organization_accounts=[MEMBER],
        owner_tag_keys=["owner"],
        break_glass_tag="pare:break-glass",
    )

    assert (app["kind"], app["owner"]) == ("cross-account role", "orders")
    assert (mary["kind"], robot["kind"]) == ("person", "machine user")
    assert robot["credentials"] is not None
    assert [key["access_key_id"] for key in robot["credentials"]["access_keys"]] == [filled]


def test_what_was_collected_is_not_collected_again(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    collect(context)
    before = {name: evidence.s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}/{name}")["LastModified"]
              for name in keys(evidence)}  # fmt: skip
    reported.fail("sts:AssumeRole", "AccessDenied", 403)

    assert collect(context)["collected"] == COLLECTED

    assert reported.called("sts:AssumeRole") == [], "the account was not entered"
    assert {name: evidence.s3.get_object(Bucket=BUCKET, Key=f"{FOLDER}/{name}")["LastModified"]
            for name in keys(evidence)} == before  # fmt: skip


def test_a_step_that_broke_off_collects_again(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    collect(context)
    evidence.s3.delete_object(Bucket=BUCKET, Key=COLLECTED["key"])

    collect(context)

    assert stored(evidence, "collected")["principal_count"] == 3


def test_an_account_that_is_done_is_left_alone(
    evidence: EvidenceStore, reported: FakeAws, context: Any
) -> None:
    evidence.put_json(f"{FOLDER}/result.json", {"error": None})

    output = collect(context)

    assert output == {"is_done": True, "error": None, "item": item(), "collected": None}
    assert keys(evidence) == ["result.json"]


def test_an_account_that_was_unknown_is_tried_anew(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    reported.fail("sts:AssumeRole", "AccessDenied", 403, times=1)
    assert collect(context)["is_done"] is True

    assert collect(context)["is_done"] is False
    assert stored(evidence, "collected")["principal_count"] == 3


def test_an_empty_account_is_known_to_be_empty(
    evidence: EvidenceStore, reported: FakeAws, context: Any
) -> None:
    assert collect(context)["error"] is None

    collected = stored(evidence, "collected")
    assert (collected["principal_count"], collected["unknown"]) == (0, [])
    assert evidence.get_json(collected["principals"]) == []


# --- Unknown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["sts:AssumeRole", DETAILS])
@pytest.mark.parametrize(
    ("state", "previous", "begins"),
    [("ACTIVE", None, "sts:AssumeRole in |iam:Get"), ("SUSPENDED", PREVIOUS, "SUSPENDED: ")],
)
def test_an_account_that_cannot_be_entered_is_unknown_and_not_empty(
    evidence: EvidenceStore,
    aws: FakeAws,
    context: Any,
    operation: str,
    state: str,
    previous: dict[str, str] | None,
    begins: str,
) -> None:
    aws.fail(operation, "AccessDenied", 403)

    output = collect(context, state=state, previous=previous)

    assert (output["is_done"], output["error"]) == (True, "MemberAccountError")
    assert output["collected"] is None
    result = stored(evidence, "result")
    assert result["error"] == "MemberAccountError"
    assert result["message"].startswith(tuple(begins.split("|")))
    assert "AccessDenied" in result["message"]
    assert result["rows"] is None
    assert result["counts"] == dict.fromkeys(COUNTS, 0)
    assert result.get("known") == previous
    assert keys(evidence) == ["result.json"], "half an account is no account"


@pytest.mark.parametrize(
    ("operation", "code", "status", "said"),
    [
        (GENERATE, "AccessDenied", 403, "AccessDenied"),
        (GENERATE, "Throttling", 400, "Throttling"),
        ("iam:GetCredentialReport", "ReportNotPresent", 410, "no credential report within 0 s"),
        ("iam:GetCredentialReport", "AccessDenied", 403, "AccessDenied"),
    ],
)
def test_without_a_report_users_are_unknown_and_the_account_is_not(
    evidence: EvidenceStore,
    aws: FakeAws,
    filled: str,
    context: Any,
    operation: str,
    code: str,
    status: int,
    said: str,
) -> None:
    aws.fail(operation, code, status)
    aws.answer(GENERATE, {"State": "COMPLETE"})

    assert collect(context)["error"] is None

    collected = stored(evidence, "collected")
    assert collected["credential_report"] is None
    (unknown,) = collected["unknown"]
    assert unknown.startswith("credential report: ")
    assert said in unknown
    assert sorted(collected["access_keys"]) == ["mary", "robot"], "whose keys, nobody knows"
    assert "credential_report.csv" not in keys(evidence)


def test_a_report_that_cannot_be_read_is_unknown(
    evidence: EvidenceStore, aws: FakeAws, filled: str, context: Any
) -> None:
    aws.answer(GENERATE, {"State": "COMPLETE"})
    aws.answer("iam:GetCredentialReport", {"Content": b"<html>", "ReportFormat": "text/csv"})

    collect(context)

    collected = stored(evidence, "collected")
    assert collected["credential_report"] is None
    assert "not a credential report" in collected["unknown"][0]


def test_alias_and_keys_that_are_refused_are_unknown(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    reported.fail("iam:ListAccountAliases", "AccessDenied", 403)
    reported.fail("iam:ListAccessKeys", "AccessDenied", 403)

    assert collect(context)["error"] is None

    collected = stored(evidence, "collected")
    assert collected["alias"] is None
    alias, access_keys = collected["unknown"]
    assert alias.startswith("account alias: ")
    assert access_keys.startswith("access key ids of 1 of 1 users: ")
    assert collected["access_keys"] == {}


def test_a_user_deleted_meanwhile_is_no_unknown(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    reported.fail("iam:ListAccessKeys", "NoSuchEntity", 404)

    collect(context)

    assert stored(evidence, "collected")["unknown"] == []


def test_a_step_without_time_says_what_it_left_out(
    evidence: EvidenceStore, reported: FakeAws, filled: str, context: Any
) -> None:
    context.remaining_ms = 1_000

    collect(context)

    collected = stored(evidence, "collected")
    assert collected["principal_count"] == 3
    assert collected["unknown"] == ["access key ids of 1 of 1 users: the step's time was over"]


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        (DETAILS, "Throttling", 400, ThrottledError),
        (DETAILS, "ServiceFailure", 500, AwsServiceError),
        ("sts:AssumeRole", "ServiceUnavailable", 503, AwsServiceError),
        ("s3:PutObject", "SlowDown", 503, ThrottledError),
    ],
)
def test_what_is_worth_a_retry_is_an_error_and_leaves_no_result(
    evidence: EvidenceStore,
    reported: FakeAws,
    filled: str,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    reported.fail(operation, code, status)

    with pytest.raises(error) as caught:
        collect(context)

    assert type(caught.value) is error
    assert not {"collected.json", "result.json"} & set(keys(evidence))


def test_the_log_says_what_is_unknown(
    evidence: EvidenceStore,
    aws: FakeAws,
    filled: str,
    context: Any,
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    aws.fail(GENERATE, "AccessDenied", 403)

    collect(context)

    (line,) = [line for line in logged() if line["message"] == "principals collected"]
    assert line["count"] == 3
    assert line["unknown"][0].startswith("credential report: ")
