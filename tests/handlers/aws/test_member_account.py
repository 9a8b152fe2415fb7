from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.runtime import client
from pare.aws.member_account import MemberRole
from pare.aws.principals import iam_reader
from pare.errors import AwsServiceError, MemberAccountError, ThrottledError
from tests.handlers.fake_aws import (
    EXTERNAL_ID,
    MEMBER,
    MEMBER_ROLE_ARN_TEMPLATE,
)

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

ROLE = MemberRole(MEMBER_ROLE_ARN_TEMPLATE, EXTERNAL_ID)


def credentials() -> dict[str, object]:
    found = boto3.client("sts").assume_role(
        RoleArn=MEMBER_ROLE_ARN_TEMPLATE.format(account_id=MEMBER), RoleSessionName="test"
    )
    return {"Credentials": found["Credentials"], "AssumedRoleUser": found["AssumedRoleUser"]}


def test_the_session_acts_as_the_member_role(aws: FakeAws) -> None:
    session = ROLE.enter(boto3.client("sts"), MEMBER, session_name="pare-test")

    arn = session.client("sts").get_caller_identity()["Arn"]

    assert arn == f"arn:aws:sts::{MEMBER}:assumed-role/PareMember/pare-test"


def test_the_sessions_clients_are_as_patient_as_the_functions_own(aws: FakeAws) -> None:
    session = ROLE.enter(boto3.client("sts"), MEMBER, session_name="pare-test")

    config: Any = session.client("iam").meta.config

    assert config.retries == client("dynamodb").meta.config.retries
    assert config.retries["mode"] == "adaptive"
    assert (config.connect_timeout, config.read_timeout) == (5, 30)


def test_the_role_is_assumed_with_the_external_id_for_an_hour(aws: FakeAws) -> None:
    answer = credentials()
    aws.answer("sts:AssumeRole", answer)

    ROLE.enter(boto3.client("sts"), MEMBER, session_name="n" * 100)

    assert aws.called("sts:AssumeRole") == [
        {
            "RoleArn": f"arn:aws:iam::{MEMBER}:role/PareMember",
            "RoleSessionName": "n" * 64,
            "ExternalId": EXTERNAL_ID,
            "DurationSeconds": 3600,
        }
    ]


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDenied", 403, MemberAccountError),
        ("Throttling", 400, ThrottledError),
        ("ServiceUnavailable", 503, AwsServiceError),
    ],
)
def test_an_account_that_cannot_be_entered_is_named(
    aws: FakeAws, code: str, status: int, error: type[Exception]
) -> None:
    aws.fail("sts:AssumeRole", code, status)

    with pytest.raises(error, match=f"sts:AssumeRole in account {MEMBER}"):
        ROLE.enter(boto3.client("sts"), MEMBER, session_name="pare-test")


def test_the_purpose_is_seen_in_the_member_accounts_own_trail(aws: FakeAws) -> None:
    reader = iam_reader(MEMBER, role=ROLE, sts=boto3.client("sts"), purpose="resolve-principal")

    assert reader.account_id == MEMBER
    aws.answer("sts:AssumeRole", credentials())
    iam_reader(MEMBER, role=ROLE, sts=boto3.client("sts"), purpose="resolve-principal")
    assert aws.called("sts:AssumeRole")[0]["RoleSessionName"] == "pare-resolve-principal"
