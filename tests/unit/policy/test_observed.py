"""The rows that a policy is built from, out of activity and of generated policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pare.policy.observed import Observed, generated_calls, still_new
from tests.unit.policy.evidence_builders import (
    FILE,
    FIRST,
    LAST,
    REGION,
    ROLE,
    allow,
    calls,
    document,
    refused,
    use,
)

if TYPE_CHECKING:
    from tests.unit.policy.evidence_builders import Json, Made

LAMBDA, EC2 = "lambda.amazonaws.com", "ec2.amazonaws.com"


# --- Activity ---


def test_a_row_holds_what_the_activity_says() -> None:
    found = calls(use("iam:PassRole", ROLE, count=3, to=LAMBDA))

    assert found.allowed == (
        Observed("iam:PassRole", ROLE, 3, FIRST, LAST, FILE, LAMBDA, (REGION,)),
    )
    assert found.refused == ()


def test_allowed_and_refused_calls_are_apart_with_their_errors() -> None:
    found = calls(use("s3:GetObject", "arn:aws:s3:::b/x"), refused("s3:PutObject", count=4))

    assert [row.action for row in found.allowed] == ["s3:GetObject"]
    assert [(row.action, row.errors) for row in found.refused] == [
        ("s3:PutObject", {"AccessDenied": 4})
    ]


def test_a_call_that_needs_no_permission_is_no_row() -> None:
    found = calls(use("sts:GetCallerIdentity"), refused("sts:GetCallerIdentity"))

    assert (found.allowed, found.refused) == ((), ())


def test_an_unknown_resource_stays_none_beside_known_ones() -> None:
    found = calls(
        use("kms:Decrypt", None), use("kms:Decrypt", "arn:aws:kms:x"), use("kms:Decrypt", "*")
    )

    assert [row.resource for row in found.allowed] == ["*", "arn:aws:kms:x", None]


def test_the_sketch_of_many_arns_is_marked() -> None:
    found = calls(use("s3:GetObject", "arn:aws:s3:::b/2026/*", depth=2), use("s3:PutObject"))

    assert [row.is_folded for row in found.allowed] == [True, False]


def test_rows_are_sorted_whatever_order_they_came_in() -> None:
    made = [
        use("s3:PutObject", "b"), use("s3:PutObject", "a"), use("s3:GetObject", "c"),
        use("iam:PassRole", "r", to=LAMBDA), use("iam:PassRole", "r", to=EC2),
    ]  # fmt: skip

    assert calls(*made) == calls(*reversed(made))
    assert [(row.action, row.resource) for row in calls(*made).allowed] == [
        ("iam:PassRole", "r"), ("iam:PassRole", "r"), ("s3:GetObject", "c"), ("s3:PutObject", "a"),
        ("s3:PutObject", "b"),
    ]  # fmt: skip


def test_operations_without_an_action_are_counted() -> None:
    assert calls(unmapped={"b:Do": 2, "a:Do": 1}).unmapped == {"a:Do": 1, "b:Do": 2}


# --- What was never allowed ---


@pytest.mark.parametrize(
    ("allowed", "asked", "is_never_allowed"),
    [
        (use("s3:GetObject", "a"), refused("s3:GetObject", "a"), False),
        (use("s3:GetObject", "a"), refused("s3:GetObject", "b"), True),
        (use("s3:GetObject", "a"), refused("s3:PutObject", "a"), True),
        # An unknown resource is not the same as one that was allowed.
        (use("s3:GetObject", "a"), refused("s3:GetObject", None), True),
        # The same role to another service is another permission.
        (use("iam:PassRole", ROLE, to=LAMBDA), refused("iam:PassRole", ROLE, to=EC2), True),
        (use("iam:PassRole", ROLE, to=LAMBDA), refused("iam:PassRole", ROLE, to=LAMBDA), False),
    ],
)
def test_a_refused_call_was_never_allowed(
    allowed: Made, asked: Made, is_never_allowed: bool
) -> None:
    assert bool(calls(allowed, asked).never_allowed) is is_never_allowed


# --- Access Analyzer ---


def generated(*statements: Json) -> dict[str, Observed]:
    return {row.action: row for row in generated_calls([document(*statements)])}


def test_a_generated_policy_names_actions_and_templates() -> None:
    found = generated(allow("dynamodb:GetItem", "arn:aws:dynamodb:${Region}:1:table/${Table}"))

    assert found == {
        "dynamodb:GetItem": Observed(
            "dynamodb:GetItem",
            "arn:aws:dynamodb:${Region}:1:table/${Table}",
            source="access-analyzer",
        )
    }


def test_actions_are_spelled_as_the_catalogue_spells_them_and_others_are_kept() -> None:
    assert set(generated(allow(["S3:getobject", "acme:DoThing"]))) == {
        "s3:GetObject",
        "acme:DoThing",
    }


def test_an_action_on_several_templates_has_an_unknown_resource() -> None:
    found = generated(
        allow("ec2:RunInstances", "arn:aws:ec2:::instance/${I}"),
        allow("ec2:RunInstances", "arn:aws:ec2:::subnet/${S}"),
    )

    assert found["ec2:RunInstances"].resource is None


def test_a_generated_policy_also_names_what_needs_no_permission() -> None:
    assert generated(allow(["sts:GetCallerIdentity", "s3:ListAllMyBuckets"])).keys() == {
        "s3:ListAllMyBuckets"
    }


# --- Names that others take the place of ---

BUCKET = "arn:aws:s3:::reports/"
TASKS = f"arn:aws:ecs:{REGION}:111122223333:task-definition/web:"


def weekly(name: str, weeks: int = 13) -> list[Made]:
    """Return a call a week, each on a resource of its own, over the 80 days of the window."""
    return [
        use("s3:PutObject", BUCKET + name.format(week * 7919), first=day(week * 80 // weeks))
        for week in range(weeks)
    ]


def day(number: int) -> str:
    return f"2026-{9 + number // 30:02}-{number % 30 + 1:02}T08:00:00Z"


def new_of(made: list[Made], names: list[str] | None = None) -> list[str]:
    rows = calls(*made).allowed
    given = names if names is not None else [row.resource or "" for row in rows]
    return list(still_new(rows, given))


@pytest.mark.parametrize("weeks", [5, 9, 13, 17, 21, 90])
def test_names_that_come_at_an_even_pace_will_go_on_coming(weeks: int) -> None:
    stable = [use("s3:PutObject", f"arn:aws:s3:::config/{number}") for number in range(19)]

    assert new_of(weekly("{}.csv", weeks)) == ["s3:PutObject"]
    # Many that are used again and again in another bucket do not hide them.
    assert new_of([*stable, *weekly("{}.csv", weeks)]) == ["s3:PutObject"]
    assert new_of(stable) == []


@pytest.mark.parametrize(
    ("name", "is_new"),
    [
        ("m/2026-10.csv", True),
        ("2026/11/20/part-0", True),
        ("year=2026/x", True),
        ("20261001T0300.gz", True),
        ("20261001030000", True),
        # Older or later than the calls, no date, or part of a longer number.
        ("2026-02.csv", False),
        ("2025/x", False),
        ("id-120261003/x", False),
        ("port-2099", False),
    ],
)
def test_a_date_of_the_window_is_not_tomorrows(name: str, is_new: bool) -> None:
    assert bool(new_of([use("s3:PutObject", BUCKET + name)])) is is_new


def test_a_fold_with_a_date_is_as_old_as_a_name() -> None:
    made = [use("s3:PutObject", f"{BUCKET}2026/{month}/{n}") for month in (9, 10) for n in (1, 2)]

    assert new_of(made, [f"{BUCKET}2026/9/*", f"{BUCKET}2026/10/*"]) == ["s3:PutObject"]
    # What stands for it is wider, and has no date.
    assert new_of(made, [f"{BUCKET}*"]) == []
    assert new_of(made, ["*"]) == []


@pytest.mark.parametrize(
    ("of", "is_new"),
    [("function:orders:7", True), ("function:orders:live", False), ("layer:common:5", True)],
)
def test_a_version_is_a_revision(of: str, is_new: bool) -> None:
    made = use("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:111122223333:{of}")

    assert bool(new_of([made])) is is_new


def test_the_next_deployment_has_the_next_revision() -> None:
    assert new_of([use("ecs:RunTask", TASKS + "42")]) == ["ecs:RunTask"]
    assert new_of([use("ecs:RunTask", TASKS + "42")], [TASKS + "*"]) == []


def test_what_the_principal_makes_more_of_gets_new_ids() -> None:
    snapshots = f"arn:aws:ec2:{REGION}::snapshot/"
    drop = use("ec2:DeleteSnapshot", snapshots + "snap-0123456789abcdef0")

    assert new_of([drop]) == []
    assert new_of([drop, use("ec2:CreateSnapshot", snapshots + "*")]) == ["ec2:DeleteSnapshot"]
