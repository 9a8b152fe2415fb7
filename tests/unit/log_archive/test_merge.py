"""Merging by Sid: idempotent, keeps what others wrote and its order, takes away only its own."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.log_archive.merge import difference, merged, same, size, summary, without
from pare.log_archive.statements import bucket_statements
from tests.unit.log_archive.setups import setup

Json = dict[str, Any]
OURS = bucket_statements(setup())
SIDS = {str(each["Sid"]) for each in OURS}
TLS_ONLY: Json = {
    "Sid": "TlsOnly",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "arn:aws:s3:::b/*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
NAMELESS: Json = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudtrail.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::b/AWSLogs/*",
}

words = st.text("abcXYZ:/*", min_size=1, max_size=8)
one_or_more = words | st.lists(words, min_size=1, max_size=3)
statements_of_others = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Deny"]),
        "Principal": st.just("*") | st.fixed_dictionaries({"AWS": one_or_more}),
        "Action": one_or_more,
        "Resource": one_or_more,
    },
    optional={
        "Sid": st.text("PareLists12", min_size=1, max_size=8).filter(lambda sid: sid not in SIDS),
        "Condition": st.dictionaries(words, st.dictionaries(words, one_or_more, max_size=2)),
    },
)
policies_of_others = st.fixed_dictionaries(
    {
        "Version": st.just("2012-10-17"),
        "Statement": st.lists(statements_of_others, min_size=1, max_size=5),
    },
    optional={"Id": words},
)


def policy(*statements: Json, version: str | None = "2012-10-17") -> Json:
    return {**({"Version": version} if version else {}), "Statement": list(statements)}


@given(policies_of_others, st.permutations(OURS))
def test_merging_twice_is_merging_once(others: Json, ours: list[Json]) -> None:
    once = merged(others, ours)
    assert merged(once, ours) == once


@given(policies_of_others, st.integers(0, len(OURS)))
def test_what_was_put_in_comes_out_again_and_nothing_else(others: Json, count: int) -> None:
    before = copy.deepcopy(others)
    taken = without(merged(others, OURS[:count]), SIDS)
    assert json.dumps(taken) == json.dumps(before) == json.dumps(others)


@given(policies_of_others, st.data())
def test_what_others_wrote_stays_in_its_order(others: Json, data: st.DataObject) -> None:
    mixed = list(others["Statement"])
    for each in OURS:
        old = {**each, "Action": "s3:GetObjectVersion"} if data.draw(st.booleans()) else each
        mixed.insert(data.draw(st.integers(0, len(mixed))), old)
    result: Json = merged({**others, "Statement": mixed}, OURS)
    assert [each for each in result["Statement"] if each.get("Sid") not in SIDS] == (
        others["Statement"]
    )
    # Ours stand where they stood, and say what they should.
    order = [each.get("Sid") for each in mixed]
    assert [each.get("Sid") for each in result["Statement"]] == order
    assert all(each in result["Statement"] for each in OURS)


def test_no_policy_becomes_one_of_ours_alone() -> None:
    assert merged({}, OURS) == policy(*OURS)
    assert without(policy(*OURS), SIDS) == policy()


def test_one_statement_without_a_list_is_kept() -> None:
    lone: Json = {"Version": "2012-10-17", "Statement": TLS_ONLY}
    assert merged(lone, OURS) == policy(TLS_ONLY, *OURS)
    assert without(lone, SIDS) == lone


def test_a_statement_of_ours_that_is_there_twice_is_there_once_afterwards() -> None:
    assert merged(policy(OURS[0], TLS_ONLY, OURS[0]), OURS[:1]) == policy(OURS[0], TLS_ONLY)


def test_what_is_no_longer_wanted_goes() -> None:
    before = policy(*OURS, TLS_ONLY)
    after = merged(before, OURS[:2], replacing={"ParePolicyGeneration"})
    assert after == policy(*OURS[:2], TLS_ONLY)


def test_a_statement_that_says_the_same_is_left_as_it_is_written() -> None:
    pasted = {
        "Principal": {"AWS": ["222222222222"]},
        "Effect": "Allow",
        "Resource": [OURS[1]["Resource"]],
        "Condition": {
            "ArnEquals": {"AWS:principalarn": ["arn:aws:iam::222222222222:role/PareDigestLogs"]}
        },
        "Action": ["S3:getobject"],
        "Sid": "PareReadsTheTrail",
    }
    before = policy(TLS_ONLY, pasted)
    assert merged(before, [OURS[1]]) is before


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Deny"},
        {"Principal": {"AWS": "*"}},
        {"Action": "s3:*"},
        {"Resource": "*"},
        {"Condition": {}},
        {"NotAction": "s3:PutObject"},
    ],
)
def test_a_statement_that_says_something_else_is_not_the_same(change: Json) -> None:
    assert not same(OURS[1], {**OURS[1], **change})
    assert merged(policy({**OURS[1], **change}), [OURS[1]]) == policy(OURS[1])


def test_values_of_json_say_the_same_as_their_texts() -> None:
    one = {**TLS_ONLY, "Condition": {"Bool": {"aws:SecureTransport": False}}}
    assert same(one, TLS_ONLY)


@pytest.mark.parametrize("version", ["2008-10-17", None])
def test_a_policy_of_an_old_version_gets_the_one_in_which_our_variables_count(
    version: str | None,
) -> None:
    assert merged(policy(TLS_ONLY, version=version), OURS) == policy(TLS_ONLY, *OURS)
    # Pasted as they are, they would have granted nothing.
    assert merged(policy(*OURS, version=version), OURS) == policy(*OURS)


def test_an_old_version_stays_where_ours_have_no_variables() -> None:
    before = policy(TLS_ONLY, version="2008-10-17")
    assert merged(before, OURS[:2]) == policy(TLS_ONLY, *OURS[:2], version="2008-10-17")


def test_an_old_version_in_which_others_wrote_what_would_become_a_variable_is_refused() -> None:
    odd = {**TLS_ONLY, "Resource": "arn:aws:s3:::b/${aws:username}"}
    with pytest.raises(ValueError, match="2012-10-17"):
        merged(policy(odd, version="2008-10-17"), OURS)


def test_the_difference_shows_what_changes_and_nothing_else() -> None:
    before = policy(TLS_ONLY, {**OURS[1], "Action": "s3:*"}, NAMELESS)
    lines = difference(before, merged(before, OURS[:2]))
    changed = [line for line in lines if line[0] in "+-"]
    assert changed[:2] == ['-  "Action": "s3:*",', '+  "Action": "s3:GetObject",']
    assert '+  "Sid": "PareListsTheTrail",' in changed
    assert "TlsOnly" not in "\n".join(lines)
    assert difference(before, before) == []


def test_the_summary_names_every_statement_that_changes() -> None:
    before = policy({**OURS[1], "Action": "s3:*"}, {"Sid": "Old"}, version="2008-10-17")
    after = merged(before, OURS, replacing={"Old"})
    assert summary(before, after) == (
        "+ PareListsTheTrail, + ParePolicyGeneration, ~ Version, ~ PareReadsTheTrail, - Old"
    )
    assert summary(after, after) == "no change"


def test_a_policys_size_is_that_of_the_bytes_that_are_sent() -> None:
    assert size({"Statement": []}) == len('{"Statement":[]}')
    assert size({"Id": "é"}) == len('{"Id":"x"}') + 1
