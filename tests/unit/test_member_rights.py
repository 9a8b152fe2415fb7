from __future__ import annotations

import json
from typing import Any

import pytest

from pare.member_rights import rights_hash, rights_in

ALLOW: dict[str, Any] = {
    "Sid": "A",
    "Effect": "Allow",
    "Action": ["iam:GetRole", "iam:ListRoles"],
    "Resource": "*",
    "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-example0000"}},
}


def hash_of(*statements: dict[str, Any], boundary: str | None = None) -> str:
    return rights_hash([{"Version": "2012-10-17", "Statement": list(statements)}], boundary)


@pytest.mark.parametrize(
    "written",
    [
        dict(reversed(ALLOW.items())),
        {**ALLOW, "Resource": ["*"]},
        {**ALLOW, "Action": ["iam:ListRoles", "iam:GetRole"]},
        {**ALLOW, "Condition": {"StringEquals": {"aws:PrincipalOrgID": ["o-example0000"]}}},
    ],
)
def test_the_same_rights_written_otherwise_are_the_same(written: dict[str, Any]) -> None:
    assert hash_of(written) == hash_of(ALLOW)


def test_a_single_statement_and_the_order_of_statements_and_policies_do_not_matter() -> None:
    other = {**ALLOW, "Sid": "B"}

    assert rights_hash([{"Statement": ALLOW}]) == hash_of(ALLOW)
    assert hash_of(ALLOW, other) == hash_of(other, ALLOW)
    assert rights_hash([{"Statement": [other]}, {"Statement": [ALLOW]}]) == hash_of(ALLOW, other)


@pytest.mark.parametrize(
    "changed",
    [
        {**ALLOW, "Action": "iam:GetRole"},
        {**ALLOW, "Effect": "Deny"},
        {**ALLOW, "Resource": "arn:aws:iam::111122223333:role/*"},
        {name: each for name, each in ALLOW.items() if name != "Condition"},
    ],
)
def test_other_rights_are_others(changed: dict[str, Any]) -> None:
    assert hash_of(changed) != hash_of(ALLOW)


def test_no_policy_one_more_and_a_boundary_are_others() -> None:
    boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess"

    found = {hash_of(), hash_of(ALLOW), hash_of(ALLOW, ALLOW), hash_of(ALLOW, boundary=boundary)}
    assert len(found) == 4


def test_the_template_is_of_any_account_and_its_lists_are_sorted_with_the_accounts_id() -> None:
    # A brace comes behind every letter, a digit before.
    resources = ["arn:aws:iam::aws:policy/*", "arn:aws:iam::{account_id}:policy/*"]
    template = json.dumps([{"Statement": {"Action": "iam:GetPolicy", "Resource": resources}}])
    there = [each.replace("{account_id}", "111122223333") for each in reversed(resources)]

    assert rights_in(template, "111122223333") == hash_of(
        {"Action": ["iam:GetPolicy"], "Resource": there}
    )
