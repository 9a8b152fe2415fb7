from __future__ import annotations

from typing import Any

import pytest

from pare.arns import parse_principal_arn
from pare.policy.current import documents, kind_of, may_be_narrowed, merged, owner_of
from pare.policy.document import parse
from pare.policy.grants import granted_actions

TAG = "pare:break-glass"


# --- Kinds ---


@pytest.mark.parametrize(
    ("resource", "kind"),
    [
        ("user/ci", "user"),
        ("user/aws-reserved/sso.amazonaws.com/x", "user"),
        ("role/App", "role"),
        ("role/service-role/App", "role"),
        ("role/team/aws-service-role/App", "role"),
        ("role/AWSServiceRoleForSupport", "role"),
        ("role/aws-service-role/support.amazonaws.com/AWSServiceRoleForSupport",
         "service-linked role"),
        ("role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123", "Identity Center role"),
        ("role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0123",
         "Identity Center role"),
        ("role/cdk-hnb659fds-deploy-role-111122223333-eu-west-1", "bootstrap role"),
        ("role/AWSCloudFormationStackSetExecutionRole", "bootstrap role"),
        ("role/stacksets-exec-0123456789abcdef", "bootstrap role"),
        ("role/cdk-hnb659fds-cfn-exec-role-111122223333-eu-west-1", "bootstrap role"),
        ("role/cdk-my_q-file-publishing-role-111122223333-eu-west-1", "bootstrap role"),
        ("role/cdk-q-image-publishing-role-111122223333-eu-west-1", "bootstrap role"),
        ("role/cdk-q-lookup-role-111122223333-eu-west-1", "bootstrap role"),
        ("role/cdk-shop-checkout", "role"),
        ("role/cdk-deploy-role-1", "role"),
        ("role/my-cdk-q-deploy-role-1", "role"),
    ],
)  # fmt: skip
def test_the_kind_of_a_principal_is_told_from_its_arn(resource: str, kind: str) -> None:
    assert kind_of(parse_principal_arn(f"arn:aws:iam::111122223333:{resource}")) == kind


# --- Who may be narrowed ---


@pytest.mark.parametrize("kind", ["user", "role"])
def test_users_and_roles_may_be_narrowed(kind: Any) -> None:
    assert may_be_narrowed(kind, {"owner": "a"}, break_glass_tag=TAG).allowed
    assert may_be_narrowed(kind, {}, break_glass_tag=TAG).reason == ""


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("service-linked role", "belong to its service"),
        ("Identity Center role", "permission set"),
        ("bootstrap role", "deploys infrastructure"),
    ],
)
def test_a_role_that_somebody_else_makes_is_left_alone(kind: Any, reason: str) -> None:
    narrowing = may_be_narrowed(kind, {}, break_glass_tag=TAG)

    assert not narrowing.allowed
    assert reason in narrowing.reason


@pytest.mark.parametrize("value", ["true", "True", "yes", "", "two people hold the keys"])
@pytest.mark.parametrize("kind", ["user", "role"])
def test_whoever_has_the_break_glass_tag_is_left_alone(kind: Any, value: str) -> None:
    narrowing = may_be_narrowed(kind, {TAG: value}, break_glass_tag=TAG)

    assert not narrowing.allowed
    assert TAG in narrowing.reason


@pytest.mark.parametrize("tags", [{TAG: "false"}, {TAG: " No "}, {"break-glass": "true"}])
def test_a_tag_that_says_no_is_none(tags: dict[str, str]) -> None:
    assert may_be_narrowed("role", tags, break_glass_tag=TAG).allowed


# --- Owners ---


@pytest.mark.parametrize(
    ("tags", "owner"),
    [
        ({"owner": "orders@example.com"}, "orders@example.com"),
        ({"OWNER": "a", "team": "b"}, "a"),
        ({"Team": "b"}, "b"),
        ({"owner": "  ", "team": "b"}, "b"),
        ({"owner": " a \n"}, "a"),
        ({"service": "x"}, None),
        ({}, None),
    ],
)
def test_the_first_owner_tag_with_a_value_counts(tags: dict[str, str], owner: str | None) -> None:
    assert owner_of(tags, ("owner", "team")) == owner


def test_without_owner_tags_nobody_is_the_owner() -> None:
    assert owner_of({"owner": "a"}, ()) is None


# --- Documents ---


def statement(action: str, **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, **{"Resource": "*", **elements}}


def test_the_documents_of_a_principal_are_those_of_its_policies_alone() -> None:
    one, other, bound = ({"Statement": [statement(f"s3:{name}")]} for name in "ABC")
    rest = {"source": "inline", "name": "p", "arn": None, "group": None}
    current: Any = {
        "principal_arn": "arn:aws:iam::111122223333:role/App",
        "principal_id": "AROA",
        "kind": "role",
        "created_at": "2026-01-01T00:00:00Z",
        "last_used_at": None,
        "tags": {},
        "policies": [{**rest, "document": one}, {**rest, "document": other}],
        "boundary": {**rest, "document": bound},
    }

    assert documents(current) == [one, other]


def test_several_documents_become_one_that_grants_the_same() -> None:
    parts: list[dict[str, Any]] = [
        {"Version": "2012-10-17", "Statement": statement("s3:GetObject", Sid="Same")},
        {
            "Version": "2012-10-17",
            "Statement": [
                statement("s3:PutObject", Sid="Same"),
                {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"},
            ],
        },
    ]

    whole = merged(parts)

    assert whole == {
        "Version": "2012-10-17",
        "Statement": [
            statement("s3:GetObject"),
            statement("s3:PutObject"),
            {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"},
        ],
    }
    assert granted_actions([parse(whole)]) == granted_actions([parse(part) for part in parts])
    assert "Sid" in parts[0]["Statement"], "what was given stays as it was"


def test_what_is_text_in_an_old_version_stays_text() -> None:
    resource = {"Resource": "arn:aws:s3:::a/${aws:username}"}
    condition = {"StringLike": {"s3:prefix": ["${aws:username}/*"]}}
    old = statement("s3:GetObject", **resource, Condition=condition)
    parts: list[dict[str, Any]] = [
        {"Version": "2008-10-17", "Statement": old},
        {"Statement": [old]},
        {"Version": "2012-10-17", "Statement": old},
    ]

    text = statement(
        "s3:GetObject",
        Resource="arn:aws:s3:::a/${$}{aws:username}",
        Condition={"StringLike": {"s3:prefix": ["${$}{aws:username}/*"]}},
    )
    assert merged(parts)["Statement"] == [text, text, old]


def test_no_documents_become_an_empty_one() -> None:
    assert merged([]) == {"Version": "2012-10-17", "Statement": []}
