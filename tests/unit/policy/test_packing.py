from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.errors import PolicySizeError
from pare.policy.catalogue import Catalogue, load_catalogue
from pare.policy.current import Kind
from pare.policy.document import PolicyDocument, Statement, size_in_characters
from pare.policy.packing import (
    ROLE_QUOTAS,
    USER_QUOTAS,
    pack,
    pack_actions,
    quotas_of,
)
from pare.policy.patterns import has_wildcard


def catalogue(**services: list[str]) -> Catalogue:
    return Catalogue(
        {
            "schema_version": 1,
            "source": "",
            "version": "1.2.3",
            "retrieved": "",
            "licence": "",
            "services": {
                name: {"name": name, "actions": {"Read": names}} for name, names in services.items()
            },
        }
    )


SMALL = catalogue(
    db=[
        "DeleteTable", "DeleteTableTagging", "DescribeItems", "DescribeTable", "DescribeTables",
        "GetItemTagging", "GetTableTagging", "PutTableTagging", "Getaway",
    ],
    queue=["GET", "PUT"],
)  # fmt: skip


def packed(*names: str, service: str = "db") -> list[str]:
    found = pack_actions([f"{service}:{name}" for name in names], SMALL)
    return [each.removeprefix(f"{service}:") for each in found]


# --- Actions


def test_words_at_the_end_the_start_and_the_middle_become_a_star() -> None:
    assert packed("DescribeItems", "DescribeTable", "DescribeTables") == ["Describe*"]
    assert packed("GetItemTagging", "GetTableTagging") == ["Get*Tagging"]
    assert packed(
        "DeleteTableTagging", "GetItemTagging", "GetTableTagging", "PutTableTagging"
    ) == ["*Tagging"]  # fmt: skip


def test_a_wildcard_that_would_match_one_action_more_is_not_written() -> None:
    assert packed("DescribeItems", "DescribeTable") == ["DescribeItems", "DescribeTable"]
    # Every action of the word Get; but IAM matches letters, and Getaway begins with them.
    assert "Get*" not in packed("GetItemTagging", "GetTableTagging", "DescribeTable")
    words = catalogue(db=["GetLongerName", "GetOtherName", "Getaway"])
    assert pack_actions(["db:GetLongerName", "db:GetOtherName"], words) == ("db:Get*Name",)
    letters = catalogue(db=["ListNamesOnce", "ListNamesTwice", "Listing"])
    assert pack_actions(["db:ListNamesOnce", "db:ListNamesTwice"], letters) == ("db:ListNames*",)
    inside = catalogue(db=["ListaLong", "ListBLong", "ListCLong"])
    assert pack_actions(["db:ListBLong", "db:ListCLong"], inside) == (
        "db:ListBLong",
        "db:ListCLong",
    ), "List*Long would match ListaLong too"


def test_the_whole_service_only_if_all_of_it_is_meant() -> None:
    assert packed("GET", "PUT", service="queue") == ["*"]
    assert packed("GET", service="queue") == ["GET"]


def test_an_action_the_catalogue_does_not_know_is_written_out() -> None:
    assert packed("DescribeItems", "DescribeTable", "DescribeTables", "DescribeNew") == [
        "Describe*",
        "DescribeNew",
    ]
    assert pack_actions(["new:Do", "new:DoMore"], SMALL) == ("new:Do", "new:DoMore")


def test_names_come_in_the_spelling_of_the_catalogue() -> None:
    assert pack_actions(["DB:deletetable", "db:DeleteTable"], SMALL) == ("db:DeleteTable",)


def test_a_given_pattern_stays_in_place_of_what_it_matches() -> None:
    assert packed("Describe*", "DescribeTable", "DeleteTable") == ["DeleteTable", "Describe*"]
    assert packed("Des*", "DescribeItems") == ["Des*"]


real_service = st.sampled_from(["s3", "ec2", "iam", "dynamodb", "rds", "apigateway", "sqs", "logs"])


@given(
    st.dictionaries(
        real_service, st.tuples(st.floats(0, 1), st.integers(0, 2**32)), min_size=1, max_size=3
    ),
    st.booleans(),
)
def test_the_patterns_match_exactly_the_actions_meant(
    shares: dict[str, tuple[float, int]], by_prefix: bool
) -> None:
    known = load_catalogue()
    meant = set()
    for service, (share, salt) in shares.items():
        actions = sorted(known.actions(service))
        for at, action in enumerate(actions):
            # By whole prefixes there is something to pack; by single actions there is chance.
            key = action[len(service) + 1 :][:3] if by_prefix else str(at)
            if hash_of(key, salt) < share:
                meant.add(action)
    result = pack_actions(meant, known)
    assert {action for each in result for action in known.expand(each)} == meant
    assert sum(map(len, result)) <= sum(map(len, meant))
    assert list(result) == sorted(set(result))
    assert pack_actions(reversed(sorted(meant)), known) == result
    for each in result:
        others = set().union(*(known.expand(other) for other in result if other != each))
        assert not known.expand(each) <= others, f"{each} is needless"


def hash_of(key: str, salt: int) -> float:
    value = salt
    for character in key:
        value = (value * 1_000_003 + ord(character)) % 2**32
    return value / 2**32


# --- Documents


def allow(*actions: str, sid: str = "A", effect: str = "Allow") -> Statement:
    statement = Statement("Allow", sid=sid, actions=actions, resources=("*",))
    return statement if effect == "Allow" else replace(statement, effect="Deny")


def describing(count: int) -> PolicyDocument:
    actions = sorted(a for a in load_catalogue().actions("ec2") if a.startswith("ec2:Describe"))
    return PolicyDocument((allow(*actions[:count], sid="Read"),))


def test_plain_names_that_fit_stay() -> None:
    document = describing(50)
    result = pack(document, load_catalogue())
    assert result.documents == (document,)
    assert result.packing == {
        "mode": "auto",
        "wildcards": [],
        "plain_size": size_in_characters(document),
        "sizes": [size_in_characters(document)],
        "limit": 6144,
        "policy_count": 1,
        "attachment_limit": 20,
        "fits": True,
        "options": [],
        "catalogue_version": None,
    }


def test_wildcards_come_where_plain_names_do_not_fit_and_are_named() -> None:
    document = describing(1000)
    assert size_in_characters(document) > 6144
    result = pack(document, load_catalogue())
    assert [s.actions for each in result.documents for s in each.statements] == [("ec2:Describe*",)]
    count = len(document.statements[0].actions or ())
    assert result.packing["wildcards"] == [
        {"sid": "Read", "pattern": "ec2:Describe*", "action_count": count}
    ]
    assert result.packing["catalogue_version"] == load_catalogue().version
    assert result.packing["plain_size"] == size_in_characters(document)


def test_modes_always_and_never() -> None:
    known = load_catalogue()
    small = PolicyDocument((allow(*known.actions("sqs")),))
    assert pack(small, known, mode="always").packing["wildcards"] == [
        {"sid": "A", "pattern": "sqs:*", "action_count": len(known.actions("sqs"))}
    ]
    never = pack(describing(1000), known, mode="never")
    assert never.packing["wildcards"] == []
    assert len(never.documents) > 1
    assert never.packing["sizes"] == [size_in_characters(each) for each in never.documents]
    assert max(never.packing["sizes"]) <= 6144


def test_what_is_denied_or_left_out_stays_as_it_is() -> None:
    actions = tuple(sorted(load_catalogue().actions("sqs")))
    left_out = Statement("Allow", not_actions=actions, resources=("*",))
    document = PolicyDocument((allow(*actions, effect="Deny"), left_out))
    assert pack(document, load_catalogue(), mode="always").documents == (document,)


def test_a_pattern_that_was_given_is_no_wildcard_of_ours() -> None:
    result = pack(PolicyDocument((allow("s3:Get*", "s3:GetObject"),)), SMALL, mode="always")
    assert result.packing["wildcards"] == []


def large(count: int) -> PolicyDocument:
    arns = tuple(f"arn:aws:sqs:eu-west-1:111122223333:{number:06}" for number in range(count))
    return PolicyDocument((replace(allow("sqs:SendMessage"), resources=arns),))


def test_over_the_quota_it_says_so_and_leaves_nothing_out() -> None:
    document = large(3000)
    result = pack(document, load_catalogue())
    assert result.packing["policy_count"] == len(result.documents) == 22
    assert result.packing["fits"] is False
    assert any("quota of 22 managed policies" in each for each in result.packing["options"])
    written = [a for d in result.documents for s in d.statements for a in s.resources or ()]
    assert sorted(written) == list(document.statements[0].resources or ())
    more = pack(large(5000), load_catalogue()).packing
    assert (more["fits"], more["policy_count"] > ROLE_QUOTAS.most_attachments) == (False, True)
    assert not any("quota" in each for each in more["options"]), "AWS grants no more than 25"


@pytest.mark.parametrize(
    ("count", "kind", "is_told"), [(190, "role", True), (190, "user", False), (300, "role", False)]
)
def test_one_inline_policy_is_told_of_where_it_fits(count: int, kind: Kind, is_told: bool) -> None:
    packing = pack(large(count), load_catalogue(), quotas=quotas_of(kind)).packing
    assert packing["policy_count"] > 1
    assert any("one inline policy" in each for each in packing["options"]) is is_told


def test_quotas_are_those_of_the_kind() -> None:
    assert {kind: quotas_of(kind) for kind in get_args(Kind)} == {
        kind: USER_QUOTAS if kind == "user" else ROLE_QUOTAS for kind in get_args(Kind)
    }


def test_what_cannot_be_cut_is_an_error() -> None:
    guard = Statement("Allow", not_actions=("a:B",), resources=("x" * 7000,))
    with pytest.raises(PolicySizeError):
        pack(PolicyDocument((guard,)), SMALL)


def test_wildcards_are_only_ours() -> None:
    assert not any(has_wildcard(each) for each in pack_actions(["db:DeleteTable"], SMALL))
