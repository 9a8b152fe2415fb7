from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.policies.resolve_principal import Principal, lambda_handler
from pare.errors import (
    ArnParseError,
    AwsServiceError,
    MemberAccountError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.runs import REJECTIONS
from tests.handlers.fake_aws import BUCKET, MEMBER, member_session
from tests.handlers.policy_inputs import ARN, CREATED_AT, PREFIX, allow

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws


def create(path: str = "/app/", name: str = "Shop", **tags: str) -> None:
    iam = member_session().client("iam")
    iam.create_role(
        RoleName=name,
        Path=path,
        AssumeRolePolicyDocument="{}",
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(allow("s3:*")))


def resolve(context: Any, arn: str = ARN, **more: Any) -> Principal:
    principal: Principal = lambda_handler(
        {"input": {"principal_arn": arn, **more}, "started_at": CREATED_AT},  # type: ignore[typeddict-item]
        context,
    )
    return principal


def test_a_role_is_resolved_and_its_policies_stored(evidence: EvidenceStore, context: Any) -> None:
    create(owner="orders@example.com")

    principal = resolve(context, finding_id="b8ae0460")

    assert principal == {
        "principal_arn": ARN,
        "account_id": MEMBER,
        "kind": "role",
        "owner": "orders@example.com",
        "is_narrowable": True,
        "created_at": CREATED_AT,
        "prefix": PREFIX,
        "finding_id": "b8ae0460",
        "batch": None,
        "current": {"bucket": BUCKET, "key": f"{PREFIX}/current.json"},
    }
    stored = evidence.get_json(principal["current"])
    assert stored["principal_arn"] == ARN
    assert stored["tags"] == {"owner": "orders@example.com"}
    assert [policy["document"] for policy in stored["policies"]] == [allow("s3:*")]


def test_a_retried_step_says_the_same(evidence: EvidenceStore, context: Any) -> None:
    create()

    assert resolve(context) == resolve(context)


def test_without_an_owner_tag_the_default_owner_stands_in(
    evidence: EvidenceStore, context: Any, settings: Any
) -> None:
    create()

    assert resolve(context)["owner"] == "security@example.com"


def test_without_a_default_owner_nobody_is(
    evidence: EvidenceStore, context: Any, settings: Any
) -> None:
    settings(default_owner="")
    create()

    assert resolve(context)["owner"] is None
    assert resolve(context)["finding_id"] is None


@pytest.mark.parametrize(
    ("path", "name", "tags", "kind"),
    [
        ("/app/", "Shop", {"pare:break-glass": "true"}, "role"),
        ("/aws-reserved/sso.amazonaws.com/", "AWSReservedSSO_Admin_0", {}, "Identity Center role"),
        ("/", "cdk-hnb659fds-deploy-role-1-eu-west-1", {}, "bootstrap role"),
    ],
)
def test_a_principal_that_must_not_be_narrowed_says_so(
    evidence: EvidenceStore, context: Any, path: str, name: str, tags: dict[str, str], kind: str
) -> None:
    create(path, name, **tags)

    principal = resolve(context, f"arn:aws:iam::{MEMBER}:role{path}{name}")

    assert (principal["kind"], principal["is_narrowable"]) == (kind, False)


@pytest.mark.parametrize("arn", ["", "Shop", f"arn:aws:iam::{MEMBER}:group/Admins", None, 5])
def test_what_is_no_principal_is_rejected(context: Any, arn: Any) -> None:
    with pytest.raises(ArnParseError) as caught:
        resolve(context, arn)

    assert type(caught.value).__name__ in REJECTIONS


def test_an_input_without_a_principal_is_rejected(context: Any) -> None:
    with pytest.raises(ArnParseError):
        lambda_handler({"input": {}, "started_at": CREATED_AT}, context)  # type: ignore[typeddict-item]


def test_a_principal_that_is_gone_is_rejected(evidence: EvidenceStore, context: Any) -> None:
    with pytest.raises(PrincipalNotFoundError) as caught:
        resolve(context)

    assert type(caught.value).__name__ in REJECTIONS


def test_a_principal_made_anew_under_another_path_is_gone(
    evidence: EvidenceStore, context: Any
) -> None:
    create("/new/")

    with pytest.raises(PrincipalNotFoundError, match="role/new/Shop does"):
        resolve(context)


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        ("sts:AssumeRole", "AccessDenied", 403, MemberAccountError),
        ("iam:GetRole", "AccessDenied", 403, MemberAccountError),
        ("iam:GetRole", "Throttling", 400, ThrottledError),
        ("sts:AssumeRole", "ServiceUnavailable", 503, AwsServiceError),
    ],
)
def test_an_account_that_cannot_be_read_is_an_error_the_workflow_knows(
    evidence: EvidenceStore,
    aws: FakeAws,
    context: Any,
    operation: str,
    code: str,
    status: int,
    error: type[Exception],
) -> None:
    aws.fail(operation, code, status)

    with pytest.raises(error, match=MEMBER) as caught:
        resolve(context)

    assert type(caught.value) is error
