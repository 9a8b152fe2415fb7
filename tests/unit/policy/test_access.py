"""What a set of policies grants, asked action by action and pattern by pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pare.policy.access import Access, speaks_of
from pare.policy.document import parse
from tests.unit.policy.evidence_builders import (
    OFFICE,
    TLS,
    allow,
    deny,
    document,
    parsed,
    today,
)

if TYPE_CHECKING:
    from tests.unit.policy.evidence_builders import Json

A, B, ALL = "arn:aws:s3:::orders/a", "arn:aws:s3:::orders/b", "arn:aws:s3:::orders/*"
HOME = "arn:aws:s3:::home/${aws:username}/*"


def ways(granted: list[Json] | Json, pattern: str, action: str = "s3:GetObject") -> list[Any]:
    """Return how an action is granted on a pattern: its resource or NotResource, and conditions."""
    access = today(*(granted if isinstance(granted, list) else [granted]))
    return [
        (frame.resources and frame.resources[0], frame.not_resources, frame.conditions)
        for frame in access.within(action, pattern)
    ]


def on(resource: str, conditions: Json | None = None) -> Any:
    return (resource, None, conditions or {})


# --- Within a pattern ---


@pytest.mark.parametrize(
    ("resource", "pattern", "found"),
    [
        ("*", A, [A]),
        (A, A, [A]),
        (A, B, []),
        (ALL, A, [A]),
        # The narrower of the two.
        (A, ALL, [A]),
        ([A, B], ALL, [A, B]),
        ([A, ALL], ALL, [ALL]),
        # Where they cross, today's: that is no new access.
        ("arn:aws:s3:::*/a", ALL, ["arn:aws:s3:::*/a"]),
        # An action without resources is granted by "*" alone.
        ("*", "*", ["*"]),
        ("**", "*", ["*"]),
        (ALL, "*", []),
        ("arn:aws:s3:::*", "*", []),
        # A variable may be any text.
        (HOME, "arn:aws:s3:::home/ann/x", [HOME]),
        (HOME, "arn:aws:s3:::home/*", [HOME]),
        (HOME, A, []),
    ],
)
def test_the_narrower_of_two_patterns(
    resource: str | list[str], pattern: str, found: list[str]
) -> None:
    assert ways(allow("s3:GetObject", resource), pattern) == [on(each) for each in found]


def test_a_few_actions_without_resources_are_named_all_the_same() -> None:
    every_bucket = "arn:aws:s3:::*"

    assert ways(allow("s3:*", every_bucket), "*", "s3:ListAllMyBuckets") == [on(every_bucket)]
    assert ways(allow("s3:*", every_bucket), "*", "s3:GetAccountPublicAccessBlock") == []
    assert ways(allow("s3:*", ALL), "*", "s3:ListAllMyBuckets") == []


def test_not_resource_grants_what_is_clear_of_it_and_stays_where_it_may_not_be() -> None:
    granted = {"Effect": "Allow", "Action": "s3:*", "NotResource": [B, HOME]}

    assert ways(granted, A) == [on(A)]
    assert ways(granted, B) == [(None, (B, HOME), {})]
    assert ways(granted, ALL) == [(None, (B, HOME), {})]
    assert ways(granted, "arn:aws:s3:::home/ann/x") == [(None, (B, HOME), {})]


def test_conditions_stay_and_a_grant_without_any_makes_them_needless() -> None:
    conditional = [allow("s3:*", A, Condition=TLS), allow("s3:*", ALL, Condition=OFFICE)]

    assert ways(conditional, A) == [on(A, TLS), on(A, OFFICE)]
    assert ways([*conditional, allow("s3:*", A)], A) == [on(A)]
    # On a part of it only, it does not.
    partly = ways([allow("s3:*", ALL, Condition=TLS), allow("s3:*", A)], ALL)
    assert sorted(partly, key=str) == [on(ALL, TLS), on(A)]


def test_statements_of_other_actions_and_denies_are_no_ways() -> None:
    assert ways([allow("s3:PutObject"), deny("s3:GetObject")], A) == []
    assert ways({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, A) == []
    assert ways({"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"}, A) == [on(A)]


def test_everywhere_is_each_grant_once_without_its_actions() -> None:
    access = today(allow("s3:*", A, Sid="One"), allow("s3:Get*", A, Sid="Two"), allow("s3:*", B))

    found = access.everywhere("s3:GetObject")

    assert [frame.resources for frame in found] == [(A,), (B,)]
    assert all(frame.actions is None and frame.sid is None for frame in found)


# --- Cut down to some actions ---


def test_kept_statements_keep_resources_and_conditions() -> None:
    access = today(
        allow("s3:Get*", ALL, Condition=TLS),
        allow(["s3:GetObject", "acme:DoThing"], A),
        {"Effect": "Allow", "NotAction": "iam:*", "NotResource": [B]},
        deny("s3:GetObject", B),
    )

    found = access.kept(["s3:GetObject", "acme:DoThing", "iam:ListRoles"])

    assert [
        (each.actions, each.resources, each.not_resources, each.conditions) for each in found
    ] == [
        (("s3:GetObject",), (ALL,), None, TLS),
        (("acme:DoThing", "s3:GetObject"), (A,), None, {}),
        (("acme:DoThing", "s3:GetObject"), None, (B,), {}),
    ]


def test_statements_that_differ_in_their_actions_alone_are_kept_as_one() -> None:
    found = today(allow("s3:GetObject", A), allow("s3:PutObject", A)).kept(
        ["s3:GetObject", "s3:PutObject"]
    )

    assert [each.actions for each in found] == [("s3:GetObject", "s3:PutObject")]


# --- By name ---


def test_a_service_is_named_by_a_pattern_of_its_own() -> None:
    access = today(allow(["s3:GetO*", "*:CreateBucket", "iam:ListRoles"]), deny("ec2:*"))

    assert "s3:GetObject" in access.names_service_of()
    assert {"s3:CreateBucket", "ec2:RunInstances"}.isdisjoint(access.names_service_of())


def test_what_no_action_matches_is_told() -> None:
    access = today(allow(["s3:GetObjekt", "acme:*", "s3:Get*"]), deny("acme:Nothing"))

    assert access.unknown_patterns() == ["acme:*", "s3:GetObjekt"]


def test_speaking_of_an_action() -> None:
    named, others = (
        parsed(allow("S3:get*")).statements[0],
        parsed({"Effect": "Deny", "NotAction": ["s3:Get*"], "Resource": "*"}).statements[0],
    )

    assert speaks_of(named, "s3:GetObject")
    assert not speaks_of(named, "s3:PutObject")
    assert not speaks_of(others, "s3:GetObject")
    assert speaks_of(others, "s3:PutObject")


# --- Old versions, boundary, limits ---


def test_what_is_text_in_an_old_version_is_no_variable() -> None:
    old = parse(document(allow("s3:GetObject", HOME), version="2008-10-17"))

    (frame,) = Access([old]).everywhere("s3:GetObject")

    assert frame.resources == ("arn:aws:s3:::home/${$}{aws:username}/*",)


def test_grants_lie_within_the_boundary_and_the_limits() -> None:
    granted = parsed(allow(["s3:GetObject", "s3:PutObject", "s3:CreateBucket"]))
    limits = [[parsed(allow("*"), deny("s3:CreateBucket"))]]

    access = Access([granted], boundary=parsed(allow("s3:*Object")), limits=limits)

    assert access.grants.actions == {"s3:GetObject", "s3:PutObject"}
    assert Access([granted], limits=limits).grants.actions == {"s3:GetObject", "s3:PutObject"}
    assert Access([granted], limits=[[]]).grants.actions == frozenset()


def test_denies_are_all_of_them_as_they_are() -> None:
    statements = [deny("s3:*", A, Sid="Keep", Condition=TLS), allow("s3:*"), deny("iam:*")]

    assert today(*statements).denies() == [
        parsed(each).statements[0] for each in statements if each["Effect"] == "Deny"
    ]
