from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.collect_principals import Output, lambda_handler
from pare.aws.tables import from_item
from pare.errors import AwsCallError, AwsServiceError, ThrottledError
from tests.handlers.fake_aws import BUCKET, MEMBER, member_session
from tests.handlers.policy_inputs import allow

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

PREFIX = "inventory/period=2026-11/accounts/monthly-1"
DETAILS = "iam:GetAccountAuthorizationDetails"


def fill_account() -> None:
    iam = member_session().client("iam")
    iam.create_role(
        RoleName="App",
        Path="/team/",
        AssumeRolePolicyDocument="{}",
        Tags=[{"Key": "Owner", "Value": "orders"}],
    )
    iam.put_role_policy(
        RoleName="App",
        PolicyName="own",
        PolicyDocument=json.dumps(allow("s3:GetObject")),
    )
    iam.create_user(UserName="mary")


def collect(context: Any, state: str = "ACTIVE") -> Output:
    output: Output = lambda_handler(
        {
            "account_id": MEMBER,
            "name": "shop-prod",
            "state": state,
            "period": "2026-11",
            "prefix": PREFIX,
        },
        context,
    )
    return output


def result(evidence: EvidenceStore) -> Any:
    return evidence.get_json({"bucket": BUCKET, "key": f"{PREFIX}/{MEMBER}.json"})


def principals(tables: Any) -> list[str]:
    items = tables.scan(TableName="Principals")["Items"]
    return sorted(from_item(item)["principal_arn"] for item in items)


def test_the_principals_of_an_account_are_stored_and_tabled(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    fill_account()

    assert collect(context) == {"account_id": MEMBER, "error": None}

    stored = result(evidence)
    assert stored == {
        "account_id": MEMBER,
        "name": "shop-prod",
        "principal_count": 2,
        "error": None,
        "message": None,
        "rows": {"bucket": BUCKET, "key": f"{PREFIX}/{MEMBER}.ndjson.gz"},
    }
    role, user = evidence.get_ndjson_gz(stored["rows"])
    assert (role["principal_arn"], role["owner"], role["policies"]) == (
        f"arn:aws:iam::{MEMBER}:role/team/App", "orders", ["inline:own"],
    )  # fmt: skip
    assert user["principal_arn"] == f"arn:aws:iam::{MEMBER}:user/mary"
    assert user["owner"] is None, "an inventory names no stand-in owner"
    assert principals(tables) == [role["principal_arn"], user["principal_arn"]]
    items = tables.scan(TableName="Principals")["Items"]
    assert {from_item(item)["period"] for item in items} == {"2026-11"}


def test_a_retried_step_leaves_the_same(evidence: EvidenceStore, tables: Any, context: Any) -> None:
    fill_account()
    collect(context)
    before = (result(evidence), principals(tables))

    collect(context)

    assert (result(evidence), principals(tables)) == before


def test_an_empty_account_is_known_to_be_empty(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    collect(context)

    stored = result(evidence)
    assert (stored["principal_count"], stored["error"]) == (0, None)
    assert evidence.get_ndjson_gz(stored["rows"]) == []


@pytest.mark.parametrize("operation", ["sts:AssumeRole", DETAILS])
def test_an_account_that_cannot_be_entered_is_unknown_and_not_empty(
    evidence: EvidenceStore, tables: Any, aws: FakeAws, context: Any, operation: str
) -> None:
    aws.fail(operation, "AccessDenied", 403)

    assert collect(context, "SUSPENDED") == {"account_id": MEMBER, "error": "MemberAccountError"}

    stored = result(evidence)
    assert stored["error"] == "MemberAccountError"
    assert stored["message"].startswith("SUSPENDED: ")
    assert "AccessDenied" in stored["message"]
    assert stored["rows"] is None
    assert principals(tables) == []


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        (DETAILS, "Throttling", 400, ThrottledError),
        (DETAILS, "ServiceFailure", 500, AwsServiceError),
        ("sts:AssumeRole", "ServiceUnavailable", 503, AwsServiceError),
        ("dynamodb:BatchWriteItem", "AccessDeniedException", 400, AwsCallError),
        ("s3:PutObject", "SlowDown", 503, ThrottledError),
    ],
)
def test_what_is_worth_a_retry_is_an_error_and_leaves_no_result(
    evidence: EvidenceStore,
    tables: Any,
    aws: FakeAws,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    fill_account()
    aws.fail(operation, code, status)

    with pytest.raises(error) as caught:
        collect(context)

    assert type(caught.value) is error
    listed = evidence.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/{MEMBER}.json")
    assert "Contents" not in listed
