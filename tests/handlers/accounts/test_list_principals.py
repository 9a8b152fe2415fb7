from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lambdas.accounts.list_principals import Output, lambda_handler
from pare.errors import ArnParseError, MemberAccountError, ThrottledError
from pare.runs import REJECTIONS
from tests.handlers.fake_aws import BUCKET, HUB, MEMBER, REGION, member_session

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

EXECUTION = f"arn:aws:states:{REGION}:{HUB}:execution:Account:night-1"
LIST = {"bucket": BUCKET, "key": "runs/account/night-1/principals.json"}
DETAILS = "iam:GetAccountAuthorizationDetails"


def listed(context: Any, account_id: Any = MEMBER) -> Output:
    event: Any = {"input": {"account_id": account_id}, "execution": EXECUTION}
    output: Output = lambda_handler(event, context)
    return output


def arn(rest: str) -> str:
    return f"arn:aws:iam::{MEMBER}:{rest}"


def test_users_and_roles_are_listed_but_those_that_must_not_be_narrowed(
    evidence: EvidenceStore, context: Any
) -> None:
    iam = member_session().client("iam")
    emergency = [{"Key": "pare:break-glass", "Value": "true"}]
    roles: list[tuple[str, str, Any]] = [
        ("/team/", "App", []),
        ("/", "Emergency", emergency),
        ("/aws-reserved/sso.amazonaws.com/", "AWSReservedSSO_Admin_1", []),
        ("/aws-service-role/ecs.amazonaws.com/", "AWSServiceRoleForECS", []),
        ("/", "cdk-hnb659fds-deploy-role-111122223333-eu-west-1", []),
    ]
    for path, name, tags in roles:
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument="{}", Tags=tags)
    iam.create_user(UserName="mary")

    output = listed(context)

    assert output == {
        "account_id": MEMBER,
        "principals": LIST,
        "counts": {"principals": 2, "skipped": 4},
    }
    stored = evidence.get_json(output["principals"])
    assert stored["principals"] == [arn("role/team/App"), arn("user/mary")]
    assert set(stored["skipped"]) == {
        arn("role/Emergency"),
        arn("role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_1"),
        arn("role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"),
        arn("role/cdk-hnb659fds-deploy-role-111122223333-eu-west-1"),
    }
    assert "break-glass" in stored["skipped"][arn("role/Emergency")]


def test_all_pages_are_read(aws: FakeAws, evidence: EvidenceStore, context: Any) -> None:
    def page(asked: dict[str, Any]) -> dict[str, Any]:
        number = int(asked.get("Marker", "0"))
        role = {
            "Arn": arn(f"role/R{number}"),
            "RoleName": f"R{number}",
            "RoleId": "AROAEXAMPLEEXAMPLE",
            "Path": "/",
        }
        more = {"IsTruncated": True, "Marker": f"{number + 1}"} if number < 2 else {}
        return {"RoleDetailList": [role], "UserDetailList": [], **more}

    aws.answer(DETAILS, page)

    assert listed(context)["counts"] == {"principals": 3, "skipped": 0}


@pytest.mark.parametrize("account_id", ["", "12345", None, f"{MEMBER}:role/x", "\uff11" * 12])
def test_what_is_no_account_id_is_rejected(context: Any, account_id: Any) -> None:
    with pytest.raises(ArnParseError, match="12 digits") as caught:
        listed(context, account_id)

    assert type(caught.value).__name__ in REJECTIONS


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
        (DETAILS, "Throttling", 400, ThrottledError),
    ],
)
def test_an_account_that_cannot_be_read_is_an_error(
    aws: FakeAws, evidence: EvidenceStore, context: Any,
    operation: str, code: str, status: int, error: type[Exception],
) -> None:  # fmt: skip
    aws.fail(operation, code, status)

    with pytest.raises(error):
        listed(context)
