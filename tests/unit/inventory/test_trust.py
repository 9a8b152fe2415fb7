from __future__ import annotations

import json
from typing import Any

import pytest

from pare.inventory.trust import UNREADABLE, read_trust

OWN, INSIDE, OUTSIDE, OTHER = "111122223333", "222233334444", "999988887777", "888877776666"
ORGANIZATION = {OWN, INSIDE}
NOBODY: dict[str, Any] = {
    "services": [],
    "own_account": False,
    "inside": [],
    "outside": [],
    "federated": [],
    "federated_open": [],
    "is_public": False,
    "unknown": [],
}


def statement(principal: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}


def trust(*statements: dict[str, Any]) -> dict[str, Any]:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return {**read_trust(document, account_id=OWN, organization_accounts=ORGANIZATION)}


def outside(account_id: str = OUTSIDE, *conditions: str, external_id: bool = False) -> Any:
    return {
        "account_id": account_id,
        "external_id": external_id,
        "conditions": list(conditions),
    }


def arn(account_id: str, resource: str = "root", partition: str = "aws") -> str:
    return f"arn:{partition}:iam::{account_id}:{resource}"


@pytest.mark.parametrize(
    ("principal", "found"),
    [
        ({"AWS": OWN}, {"own_account": True}),
        ({"AWS": arn(OWN)}, {"own_account": True}),
        ({"AWS": arn(OWN, "user/team/mary")}, {"own_account": True}),
        ({"AWS": [arn(INSIDE), INSIDE]}, {"inside": [INSIDE]}),
        ({"AWS": arn(INSIDE, "role/Deploy")}, {"inside": [INSIDE]}),
        ({"AWS": arn(OUTSIDE)}, {"outside": [outside()]}),
        ({"AWS": arn(OUTSIDE, partition="aws-us-gov")}, {"outside": [outside()]}),
        (
            {"AWS": f"arn:aws:sts::{OUTSIDE}:assumed-role/Vendor/session"},
            {"outside": [outside()]},
        ),
        (
            {"AWS": f"arn:aws:sts::{OWN}:federated-user/mary"},
            {"own_account": True},
        ),
        (
            {"AWS": [OUTSIDE, OTHER, arn(OWN)]},
            {"own_account": True, "outside": [outside(OTHER), outside()]},
        ),
        ({"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]},
         {"services": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}),
        ({"Federated": "cognito-identity.amazonaws.com"},
         {"federated": ["cognito-identity.amazonaws.com"]}),
        ("*", {"is_public": True}),
        ({"AWS": "*"}, {"is_public": True}),
        ({"AWS": ["*", OWN]}, {"is_public": True, "own_account": True}),
        ({"Federated": "*"}, {"is_public": True}),
        ({"AWS": "AROAEXAMPLEEXAMPLE123"}, {"unknown": ["AROAEXAMPLEEXAMPLE123"]}),
        ({"AWS": "AIDAEXAMPLEEXAMPLE123"}, {"unknown": ["AIDAEXAMPLEEXAMPLE123"]}),
        ({"AWS": "arn:aws:iam::*:root"}, {"unknown": ["arn:aws:iam::*:root"]}),
        ({"CanonicalUser": "79a59df9"}, {"unknown": ["CanonicalUser 79a59df9"]}),
        ({"AWS": 5}, {"unknown": ["a principal that cannot be read"]}),
        (5, {"unknown": ["a principal that cannot be read"]}),
        ({}, {}),
        ({"AWS": ["", OWN]}, {"own_account": True}),
    ],
)  # fmt: skip
def test_every_form_of_principal(principal: Any, found: dict[str, Any]) -> None:
    assert trust(statement(principal)) == {**NOBODY, **found}


@pytest.mark.parametrize(
    "provider",
    [
        arn(OWN, "saml-provider/Corporate"),
        arn(OWN, "oidc-provider/token.actions.githubusercontent.com"),
    ],
)
def test_identity_providers(provider: str) -> None:
    action = "sts:AssumeRoleWithSAML" if "saml" in provider else "sts:AssumeRoleWithWebIdentity"

    found = trust(statement({"Federated": provider}, Action=action))

    is_open = [] if "saml" in provider else [provider]
    assert found == {**NOBODY, "federated": [provider], "federated_open": is_open}


GITHUB = "token.actions.githubusercontent.com"


@pytest.mark.parametrize(
    ("condition", "is_open"),
    [
        ({"StringEquals": {f"{GITHUB}:aud": "sts.amazonaws.com"}}, True),
        ({"StringEquals": {f"{GITHUB}:sub": "repo:northwind/web:ref:refs/heads/main"}}, False),
        ({"StringLike": {f"{GITHUB}:sub": ["repo:northwind/*", "repo:southwind/*"]}}, False),
        ({"StringLike": {f"{GITHUB}:sub": "*"}}, True),
        ({"StringNotEquals": {f"{GITHUB}:sub": "repo:northwind/web"}}, True),
        ({"StringEqualsIfExists": {f"{GITHUB}:sub": "repo:northwind/web"}}, True),
        ({"StringEquals": {"other.example.com:sub": "repo:northwind/web"}}, True),
        ({"StringEquals": {f"{GITHUB}:repository_owner": "northwind"}}, False),
    ],
)
def test_everybody_at_an_openid_provider_comes_in_where_only_the_audience_is_asked(
    condition: dict[str, Any], is_open: bool
) -> None:
    provider = arn(OWN, f"oidc-provider/{GITHUB}")

    found = trust(
        statement({"Federated": provider}, Action="sts:AssumeRoleWithWebIdentity",
                  Condition=condition)
    )  # fmt: skip

    assert found["federated_open"] == ([provider] if is_open else [])


# --- conditions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "external_id", "keys"),
    [
        ({"StringEquals": {"sts:ExternalId": "x1"}}, True, ["sts:ExternalId"]),
        ({"StringEquals": {"STS:externalid": ["x1", "x2"]}}, True, ["STS:externalid"]),
        ({"StringLike": {"sts:ExternalId": "*"}}, False, ["sts:ExternalId"]),
        ({"StringEqualsIfExists": {"sts:ExternalId": "x1"}}, False, ["sts:ExternalId"]),
        ({"StringNotEquals": {"sts:ExternalId": "x1"}}, False, ["sts:ExternalId"]),
        (
            {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
            False,
            ["aws:MultiFactorAuthPresent"],
        ),
    ],
)
def test_the_condition_of_an_outside_account(
    condition: dict[str, Any], external_id: bool, keys: list[str]
) -> None:
    found = trust(statement({"AWS": OUTSIDE}, Condition=condition))

    assert found["outside"] == [outside(OUTSIDE, *keys, external_id=external_id)]


def test_of_two_ways_in_the_weaker_counts() -> None:
    condition = {"StringEquals": {"sts:ExternalId": "x1", "aws:PrincipalArn": arn(OUTSIDE)}}

    found = trust(
        statement({"AWS": OUTSIDE}, Condition=condition),
        statement(
            {"AWS": arn(OUTSIDE, "role/x")}, Condition={"ArnLike": {"aws:PrincipalArn": "*"}}
        ),
    )

    assert found["outside"] == [outside(OUTSIDE, "aws:PrincipalArn")]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
         {"unknown": ["* of o-abcdefghij"]}),
        ({"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-abcdefghij/r-ab12/*"}},
         {"unknown": ["* of o-abcdefghij/r-ab12/*"]}),
        ({"StringEquals": {"aws:PrincipalAccount": [OWN, INSIDE]}},
         {"own_account": True, "inside": [INSIDE]}),
        ({"StringEqualsIfExists": {"aws:PrincipalAccount": OWN}}, {"own_account": True}),
        ({"StringEquals": {"aws:SourceAccount": OWN}}, {"own_account": True}),
        ({"ArnLike": {"aws:PrincipalArn": arn(OUTSIDE, "role/Vendor*")}},
         {"outside": [outside(OUTSIDE, "aws:PrincipalArn")]}),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij", "aws:PrincipalAccount": INSIDE}},
         {"inside": [INSIDE]}),
    ],
)  # fmt: skip
def test_anybody_is_not_public_where_a_condition_names_who(
    condition: dict[str, Any], found: dict[str, Any]
) -> None:
    assert trust(statement("*", Condition=condition)) == {**NOBODY, **found}


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"sts:ExternalId": "x1"}},
        {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}},
        {"StringNotEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"ForAllValues:StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        {"StringLike": {"aws:PrincipalOrgID": "*"}},
        {"StringLike": {"aws:PrincipalOrgPaths": "*"}},
        {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/Deploy"}},
        {"ArnLike": {"aws:PrincipalArn": [arn(OWN, "role/x"), "arn:aws:iam::*:role/Deploy"]}},
        {"StringEquals": {"aws:PrincipalAccount": []}},
    ],
)
def test_anybody_is_public_where_the_condition_names_nobody(condition: dict[str, Any]) -> None:
    assert trust(statement("*", Condition=condition))["is_public"] is True


# --- actions, Deny, NotPrincipal ------------------------------------------------------------------


@pytest.mark.parametrize("action", ["*", "sts:*", "STS:assumerole", ["sts:TagSession", "sts:As*"]])
def test_an_action_that_makes_a_session_is_trust(action: Any) -> None:
    assert trust(statement({"AWS": OWN}, Action=action))["own_account"] is True


@pytest.mark.parametrize("action", ["sts:TagSession", "sts:SetSourceIdentity", []])
def test_an_action_that_makes_none_is_no_trust(action: Any) -> None:
    assert trust(statement("*", Action=action)) == NOBODY


def test_all_actions_but_some_is_trust() -> None:
    of_all = {"Effect": "Allow", "Principal": {"AWS": OWN}, "NotAction": "sts:TagSession"}

    assert trust(of_all)["own_account"] is True
    assert trust({**of_all, "NotAction": "sts:*"}) == NOBODY


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}])
@pytest.mark.parametrize("action", ["*", "sts:*", "sts:AssumeRole*"])
def test_a_deny_of_everything_leaves_nobody(principal: Any, action: str) -> None:
    found = trust(
        statement({"AWS": OUTSIDE, "Service": "ec2.amazonaws.com"}),
        {"Effect": "Deny", "Principal": principal, "Action": action},
    )

    assert found == NOBODY


@pytest.mark.parametrize(
    "deny",
    [
        {"Action": "sts:TagSession"},
        {"Action": "sts:*", "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}}},
    ],
)
def test_a_deny_of_less_takes_no_trust_away(deny: dict[str, Any]) -> None:
    found = trust(statement({"AWS": OUTSIDE}), {"Effect": "Deny", "Principal": "*", **deny})

    assert found["outside"] == [outside()]


def test_a_denied_account_is_not_trusted() -> None:
    found = trust(
        statement({"AWS": [OUTSIDE, arn(OUTSIDE, "role/Vendor"), arn(OTHER, "role/Vendor")]}),
        {"Effect": "Deny", "Principal": {"AWS": arn(OUTSIDE)}, "Action": "*"},
        {"Effect": "Deny", "Principal": {"AWS": arn(OTHER, "role/Another")}, "Action": "*"},
    )

    assert found["outside"] == [outside(OTHER)]


def test_everybody_but_somebody_is_public() -> None:
    found = trust({"Effect": "Allow", "NotPrincipal": {"AWS": OWN}, "Action": "sts:AssumeRole"})

    assert found == {**NOBODY, "is_public": True, "unknown": ["NotPrincipal"]}


# --- documents ------------------------------------------------------------------------------------


def test_a_document_may_be_text() -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": statement({"AWS": OWN})})

    assert read_trust(text, account_id=OWN, organization_accounts=())["own_account"] is True


@pytest.mark.parametrize(
    "document",
    [
        None,
        "",
        "not json",
        "[" * 100_000,
        {},
        [],
        {"Statement": "*"},
        {"Statement": [{"Effect": "Allow", "Principal": "*"}]},
        {"Statement": [{"Effect": "Perhaps", "Principal": "*", "Action": "*"}]},
        {"Statement": [statement("*", Condition=["a"])]},
    ],
)
def test_a_document_that_cannot_be_read_trusts_somebody_unknown(document: Any) -> None:
    found = read_trust(document, account_id=OWN, organization_accounts=ORGANIZATION)

    assert found == {**NOBODY, "unknown": [UNREADABLE]}
