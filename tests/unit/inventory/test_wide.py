from __future__ import annotations

from typing import Any

import pytest

from pare.inventory.wide import LabelledPolicy, denies_everything, wide_policies
from pare.policy.document import parse


def statement(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def policy(
    *statements: dict[str, Any], name: str = "inline:p", group: str | None = None
) -> LabelledPolicy:
    document = parse({"Version": "2012-10-17", "Statement": list(statements)})
    return LabelledPolicy(name, group, document)


def patterns(*statements: dict[str, Any]) -> list[tuple[str, bool]]:
    return [
        (each["pattern"], each["is_administrator"]) for each in wide_policies([policy(*statements)])
    ]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (statement("*"), [("*", True)]),
        (statement("*:*"), [("*", True)]),
        (statement(["s3:Get*", "*"], ["arn:aws:s3:::a", "*"]), [("*", True)]),
        (statement("*", "arn:aws:s3:::a/*"), [("*", False)]),
        (
            statement("*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            [("*", False)],
        ),
        ({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::a"}, [("*", False)]),
        (statement("iam:*"), [("iam:*", False)]),
        (statement("IAM:**"), [("iam:*", False)]),
        (statement("s3:*", "arn:aws:s3:::a/*"), [("s3:*", False)]),
        (statement(["sqs:*", "s3:*", "sqs:*"]), [("s3:*", False), ("sqs:*", False)]),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, [("NotAction", False)]),
        (statement("s3:Get*"), []),
        (statement([]), []),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, []),
    ],
)
def test_what_is_wide(given: dict[str, Any], found: list[tuple[str, bool]]) -> None:
    assert patterns(given) == found


def test_a_pattern_is_told_once_and_at_its_widest() -> None:
    assert patterns(statement("*", "arn:aws:s3:::a"), statement("*")) == [("*", True)]


def test_administrators_come_first() -> None:
    arn = "arn:aws:iam::aws:policy/AdministratorAccess"

    found = wide_policies(
        [
            policy(statement("s3:*"), name="inline:b"),
            policy(statement("sqs:*"), name="inline:a", group="developers"),
            policy(statement("*"), name=arn, group="admins"),
        ]
    )

    assert found == [
        {"policy": arn, "group": "admins", "pattern": "*", "is_administrator": True},
        {"policy": "inline:a", "group": "developers", "pattern": "sqs:*",
         "is_administrator": False},
        {"policy": "inline:b", "group": None, "pattern": "s3:*", "is_administrator": False},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "denied"),
    [
        ({"Effect": "Deny", "Action": ["*"], "Resource": "*"}, True),
        ({"Effect": "Deny", "Action": "*:*", "Resource": ["*"]}, True),
        ({"Effect": "Deny", "Action": "s3:*", "Resource": "*"}, False),
        ({"Effect": "Deny", "Action": "*", "Resource": "arn:aws:s3:::a"}, False),
        ({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}, False),
        (
            {
                "Effect": "Deny", "Action": "*", "Resource": "*",
                "Condition": {"DateLessThan": {"aws:TokenIssueTime": "2026-11-01T00:00:00Z"}},
            },
            False,
        ),
        (statement("*"), False),
    ],
)  # fmt: skip
def test_a_deny_of_everything(given: dict[str, Any], denied: bool) -> None:
    assert denies_everything(policy(statement("s3:*"), given).document) is denied
