from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.policy.catalogue import Catalogue, load_catalogue
from pare.policy.document import PolicyDocument, parse
from pare.policy.grants import Grants, action_index, counts, granted_actions

CATALOGUE = Catalogue(
    {
        "schema_version": 1,
        "source": "",
        "version": "",
        "retrieved": "",
        "licence": "",
        "services": {
            "s3": {"name": "S3", "actions": {"Read": ["GetObject"], "Write": ["PutObject"]}},
            "iam": {"name": "IAM", "actions": {"List": ["ListRoles"], "Write": ["PassRole"]}},
        },
    }
)
EVERY = {"s3:GetObject", "s3:PutObject", "iam:ListRoles", "iam:PassRole"}
CONDITION = {"Bool": {"aws:SecureTransport": "true"}}


def document(*statements: dict[str, Any]) -> PolicyDocument:
    return parse({"Version": "2012-10-17", "Statement": list(statements)})


def allow(
    action: str | list[str], resource: str | list[str] = "*", **elements: Any
) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def deny(action: str | list[str], resource: str = "*", **elements: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **elements}


def grants(*documents: PolicyDocument, boundary: PolicyDocument | None = None) -> Grants:
    return granted_actions(documents, boundary=boundary, catalogue=CATALOGUE)


def test_no_policy_grants_nothing() -> None:
    assert grants() == Grants(frozenset(), frozenset(), frozenset(), ())


def test_administrator_access_grants_the_whole_catalogue() -> None:
    result = granted_actions([document(allow("*"))])
    assert result.actions == load_catalogue().expand("*")
    assert result.conditional == frozenset()


def test_documents_add_up() -> None:
    result = grants(document(allow("s3:Get*")), document(allow(["iam:ListRoles"])))
    assert result.actions == {"s3:GetObject", "iam:ListRoles"}
    assert result.conditional == frozenset()


def test_not_action_grants_the_rest_of_the_catalogue() -> None:
    result = grants(document({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}))
    assert result.actions == {"s3:GetObject", "s3:PutObject"}


def test_an_empty_action_list_grants_nothing_and_an_empty_not_action_everything() -> None:
    assert grants(document(allow([]))).actions == frozenset()
    every = grants(document({"Effect": "Allow", "NotAction": [], "Resource": "*"}))
    assert every.actions == EVERY


def test_deny_takes_away_wherever_it_stands() -> None:
    result = grants(document(deny("s3:PutObject"), allow("s3:*")), document(allow("s3:PutObject")))
    assert result.actions == {"s3:GetObject"}
    assert result.denied == {"s3:PutObject"}


def test_deny_not_action_takes_away_the_rest() -> None:
    result = grants(document(allow("*"), {"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}))
    assert result.actions == {"s3:GetObject", "s3:PutObject"}
    assert result.denied == {"iam:ListRoles", "iam:PassRole"}


@pytest.mark.parametrize(
    "partial",
    [
        deny("s3:GetObject", Condition=CONDITION),
        deny("s3:GetObject", "arn:aws:s3:::secret/*"),
        {"Effect": "Deny", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::open/*"},
    ],
)
def test_a_partial_deny_leaves_the_action_conditional(partial: dict[str, Any]) -> None:
    result = grants(document(allow("s3:*"), partial))
    assert result.actions == {"s3:GetObject", "s3:PutObject"}
    assert result.conditional == {"s3:GetObject"}
    assert result.denied == frozenset()


@pytest.mark.parametrize(
    "partial",
    [
        allow("s3:GetObject", Condition=CONDITION),
        allow("s3:GetObject", "arn:aws:s3:::bucket/*"),
        {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::secret/*"},
    ],
)
def test_a_partial_allow_is_conditional_until_another_grants_everything(
    partial: dict[str, Any],
) -> None:
    result = grants(document(partial))
    assert result.actions == result.conditional == {"s3:GetObject"}
    assert grants(document(partial, allow("s3:GetObject"))).conditional == frozenset()


def test_an_empty_condition_is_no_condition() -> None:
    assert grants(document(allow("s3:GetObject", Condition={}))).conditional == frozenset()


def test_patterns_that_match_nothing_are_named_not_dropped() -> None:
    result = grants(
        document(allow(["s3:GetObject", "new:Thing", "s3:Nothing*"])),
        document(deny("old:*")),
        boundary=document({"Effect": "Allow", "NotAction": "other:Thing", "Resource": "*"}),
    )
    assert result.actions == {"s3:GetObject"}
    assert result.unknown_patterns == ("new:Thing", "old:*", "other:Thing", "s3:Nothing*")


def test_a_boundary_grants_nothing_and_limits_all() -> None:
    result = grants(document(allow("s3:*")), boundary=document(allow(["s3:GetObject", "iam:*"])))
    assert result.actions == {"s3:GetObject"}
    assert result.denied == frozenset()


def test_a_boundary_that_allows_nothing_leaves_nothing() -> None:
    assert grants(document(allow("*")), boundary=document()).actions == frozenset()


def test_a_boundary_may_deny_and_may_make_conditional() -> None:
    result = grants(
        document(allow("*")),
        boundary=document(allow("s3:*"), allow("iam:*", Condition=CONDITION), deny("s3:Put*")),
    )
    assert result.actions == {"s3:GetObject", "iam:ListRoles", "iam:PassRole"}
    assert result.conditional == {"iam:ListRoles", "iam:PassRole"}
    assert result.denied == {"s3:PutObject"}


# --- Resources that nothing is left of ---


@pytest.mark.parametrize(
    ("statements", "granted"),
    [
        # One Deny covers all that is allowed.
        ([allow("s3:GetObject", "arn:aws:s3:::b/x"), deny("s3:*", "arn:aws:s3:::b/*")], set()),
        ([allow("s3:*", "arn:aws:s3:::b/x"), deny("s3:Get*", "arn:aws:s3:::b*")],
         {"s3:PutObject"}),
        ([allow("s3:GetObject", "arn:aws:s3:::b/x"),
          {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::c/*"}], set()),
        # It does not cover all, or not always.
        ([allow("s3:GetObject", ["arn:aws:s3:::b/x", "arn:aws:s3:::c/x"]),
          deny("s3:*", "arn:aws:s3:::b/*")], {"s3:GetObject"}),
        ([allow("s3:GetObject", "arn:aws:s3:::b/x"),
          deny("s3:*", "arn:aws:s3:::b/*", Condition=CONDITION)], {"s3:GetObject"}),
        ([allow("s3:GetObject", "arn:aws:s3:::b*"), deny("s3:*", "arn:aws:s3:::b/*")],
         {"s3:GetObject"}),
        ([allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}"),
          deny("s3:*", "arn:aws:s3:::b/*")], {"s3:GetObject"}),
        ([allow("s3:GetObject", "arn:aws:s3:::b/x"), allow("s3:GetObject", "arn:aws:s3:::c"),
          deny("s3:*", "arn:aws:s3:::b/*")], {"s3:GetObject"}),
    ],
)  # fmt: skip
def test_an_action_all_of_whose_resources_are_denied_is_not_granted(
    statements: list[dict[str, Any]], granted: set[str]
) -> None:
    assert grants(document(*statements)).actions == granted


@pytest.mark.parametrize(
    ("resource", "bound", "granted"),
    [
        ("arn:aws:s3:::a/*", "arn:aws:s3:::b/*", set()),
        ("arn:aws:s3:::a/*", "arn:aws:s3:::a/x", {"s3:GetObject"}),
        ("arn:aws:s3:::a/*", "*", {"s3:GetObject"}),
        ("arn:aws:s3:::a/*", "arn:aws:s3:::${aws:username}/*", {"s3:GetObject"}),
    ],
)
def test_a_boundary_on_other_resources_leaves_nothing(
    resource: str, bound: str, granted: set[str]
) -> None:
    result = grants(
        document(allow("s3:GetObject", resource)), boundary=document(allow("s3:*", bound))
    )
    assert result.actions == granted


# --- Limits ---


def test_each_level_of_limits_must_allow_and_none_may_deny() -> None:
    every = document(allow("*"))
    levels = [[every, document(deny("iam:PassRole"))], [document(allow("s3:*")), every]]

    result = granted_actions([every], limits=levels, catalogue=CATALOGUE)

    assert result.actions == EVERY - {"iam:PassRole"}
    assert result.denied == {"iam:PassRole"}
    only_s3 = [*levels, [document(allow("s3:*", Condition=CONDITION))]]
    result = granted_actions([every], limits=only_s3, catalogue=CATALOGUE)
    assert result.actions == result.conditional == {"s3:GetObject", "s3:PutObject"}


def test_a_level_that_allows_nothing_leaves_nothing() -> None:
    result = granted_actions([document(allow("*"))], limits=[[]], catalogue=CATALOGUE)
    assert result.actions == frozenset()


# --- Sets as bits ---


@given(st.sets(st.sampled_from(sorted(load_catalogue().expand("*")))))
@settings(max_examples=50, deadline=None)
def test_actions_as_bits_are_the_same_actions(actions: set[str]) -> None:
    index = action_index(load_catalogue())

    assert index.actions(index.of(actions)) == sorted(actions)
    assert index.of(actions).bit_count() == len(actions)


@pytest.mark.parametrize("pattern", ["*", "ec2:*", "ec2:Describe*", "s3:GetObject", "S3:gETobject",
                                     "*:List*", "none:*"])  # fmt: skip
def test_a_pattern_as_bits_is_what_the_catalogue_expands_it_to(pattern: str) -> None:
    index = action_index(load_catalogue())

    assert set(index.actions(index.of_pattern(pattern))) == load_catalogue().expand(pattern)


def test_whole_services_are_folded() -> None:
    index = action_index(load_catalogue())
    bits = index.of_pattern("sqs:*") | index.of_pattern("s3:GetObject")

    assert index.folded(bits) == ["s3:GetObject", "sqs:*"]
    assert list(index.by_service(bits)) == ["s3", "sqs"]


def test_actions_are_parted_by_the_statements_that_speak_of_them() -> None:
    index = action_index(CATALOGUE)
    one, two = document(allow("s3:*"), allow(["s3:PutObject", "iam:*"])).statements

    parts = {
        tuple(index.actions(bits)): sides
        for bits, sides in index.partition(index.of_pattern("*"), ([one, two], [two]))
    }

    assert parts == {
        ("s3:GetObject",): ((one,), ()),
        ("s3:PutObject",): ((one, two), (two,)),
        ("iam:ListRoles", "iam:PassRole"): ((two,), (two,)),
    }
    assert index.partition(0, ([one], [])) == []


def test_counts_are_of_actions_and_services() -> None:
    assert counts({"s3:GetObject", "s3:PutObject", "iam:PassRole"}) == {
        "action_count": 3,
        "service_count": 2,
        "services": ["iam", "s3"],
    }
