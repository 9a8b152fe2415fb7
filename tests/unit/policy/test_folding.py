from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.policy.folding import Fold, fold_arns
from pare.policy.patterns import covers, matches_arn

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

TABLES = "arn:aws:dynamodb:eu-west-1:111122223333:table/"
OBJECTS = "arn:aws:s3:::data/"
QUEUES = "arn:aws:sqs:eu-west-1:111122223333:"


def numbered(start: str, count: int, end: str = "") -> list[str]:
    return [f"{start}{number:03}{end}" for number in range(count)]


def patterns(arns: Iterable[str], more_than: int = 20, avoid: Iterable[str] = ()) -> list[str]:
    return list(fold_arns(arns, more_than=more_than, avoid=avoid).patterns)


# --- The rule, one sentence at a time


def test_as_many_as_the_limit_stay_as_they_are() -> None:
    arns = numbered(TABLES + "orders-", 20)
    assert patterns(reversed(arns)) == arns
    assert fold_arns(arns).folds == ()


def test_one_more_folds_with_its_evidence() -> None:
    arns = numbered(TABLES + "orders-", 21)
    folded = fold_arns(arns)
    assert folded.patterns == (TABLES + "orders-*",)
    assert folded.folds == (Fold(TABLES + "orders-*", 21, tuple(arns[:3])),)
    assert folded.folds[0].to_json_object() == {
        "pattern": TABLES + "orders-*",
        "arn_count": 21,
        "examples": arns[:3],
    }


def test_nothing_folds_where_folding_is_switched_off() -> None:
    arns = numbered(TABLES + "orders-", 500)
    assert fold_arns(arns, more_than=None).patterns == tuple(arns)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="more_than is 0"):
        fold_arns([], more_than=0)


@pytest.mark.parametrize(
    "other",
    [
        "arn:aws-cn:dynamodb:eu-west-1:111122223333:table/",
        "arn:aws:dax:eu-west-1:111122223333:table/",
        "arn:aws:dynamodb:us-east-1:111122223333:table/",
        "arn:aws:dynamodb:eu-west-1:444455556666:table/",
        "arn:aws:dynamodb:eu-west-1:111122223333:global-table/",
    ],
)
def test_only_arns_of_a_kind_fold_together(other: str) -> None:
    arns = [*numbered(TABLES, 11), *numbered(other, 10)]
    assert patterns(arns) == sorted(arns)
    assert patterns([*numbered(TABLES, 30), *numbered(other, 30)]) == sorted(
        [TABLES + "*", other + "*"]
    )


@pytest.mark.parametrize("separator", "/:-_.")
def test_a_prefix_ends_at_a_separator(separator: str) -> None:
    arns = numbered(f"{TABLES}team{separator}orders", 30)
    assert patterns(arns) == [f"{TABLES}team{separator}*"]


def test_the_widest_is_the_resource_type_and_is_said_to_be_all_of_it() -> None:
    (fold,) = fold_arns(numbered(TABLES, 30)).folds
    assert (fold.pattern, fold.is_whole_type) == (TABLES + "*", True)
    (fold,) = fold_arns(numbered(TABLES + "a-", 30)).folds
    assert fold.is_whole_type is False


def test_objects_fold_within_their_bucket() -> None:
    arns = [arn for bucket in ("a", "b") for arn in numbered(f"arn:aws:s3:::{bucket}/x", 21)]
    assert patterns(arns) == ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"]


@pytest.mark.parametrize("start", ["arn:aws:s3:::bucket", QUEUES + "queue"])
def test_names_without_a_type_or_a_common_part_stay(start: str) -> None:
    arns = numbered(start, 300)
    assert patterns(arns) == arns


@pytest.mark.parametrize("start", ["arn:aws:s3:::", QUEUES])
def test_names_without_a_type_fold_to_their_first_part_at_the_widest(start: str) -> None:
    arns = [*numbered(start + "acme-logs-", 15), *numbered(start + "other.", 15), start + "lone"]
    assert patterns(arns) == sorted(
        [*numbered(start + "acme-logs-", 15), f"{start}other.*", start + "lone"]
    )
    assert not any(fold.is_whole_type for fold in fold_arns(arns).folds)


def test_the_prefix_with_the_most_arns_is_made_longer_first_while_there_is_room() -> None:
    days = [f"{OBJECTS}logs/{month:02}/{day:02}/x" for month in range(1, 7) for day in range(1, 6)]
    more = [f"{OBJECTS}logs/07/{day:02}/x" for day in range(1, 10)]
    assert patterns([*days, *more]) == sorted(
        [
            *more,  # 9 ARNs, the most: 6 + 9 are not more than 20
            *[arn for arn in days if "logs/01/" in arn],  # then 5 for 1, by name: 19
            *[f"{OBJECTS}logs/{month:02}/*" for month in range(2, 7)],
        ]
    )


def test_a_small_group_is_not_folded_for_the_sake_of_a_large_one() -> None:
    few = numbered(OBJECTS + "x/y/z/", 19)
    assert patterns([*numbered(OBJECTS + "a/", 30), *few]) == [OBJECTS + "a/*", *few]
    one_more = [*few, OBJECTS + "x/y/z/one-more"]
    assert patterns([*numbered(OBJECTS + "a/", 30), *one_more]) == [
        OBJECTS + "a/*",
        OBJECTS + "x/y/z/*",
    ]


def test_no_longer_prefix_than_the_arns_share() -> None:
    arns = numbered(OBJECTS + "one/long/way/down/", 30)
    assert patterns(arns) == [OBJECTS + "one/long/way/down/*"]


# --- Patterns among the ARNs


def test_a_pattern_takes_part_as_it_is() -> None:
    start = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/"
    few = [f"{start}orders:*", f"{start}bills:*"]
    assert patterns(few) == sorted(few)
    assert patterns(numbered(start, 30, ":*")) == [start + "*"]


def test_a_prefix_ends_before_a_wildcard() -> None:
    arns = [*numbered(OBJECTS + "a?b/", 30), *numbered(OBJECTS + "a/", 3)]
    assert patterns(arns) == [OBJECTS + "*"]


def test_what_a_pattern_covers_is_not_written_again_but_counted() -> None:
    arns = [*numbered(TABLES + "orders-", 30), TABLES + "orders-*"]
    assert patterns(arns) == [TABLES + "orders-*"]
    arns += numbered(TABLES + "bills-", 30)
    folded = fold_arns(arns, more_than=1)
    assert [(fold.pattern, fold.arn_count) for fold in folded.folds] == [(TABLES + "*", 61)]


@pytest.mark.parametrize(
    "arn",
    ["*", "arn:aws:s3:::*", "arn:*:s3:::a", "arn:aws:dynamodb:*:1:table/x"],
)
def test_wildcards_before_the_name_do_not_fold(arn: str) -> None:
    arns = [*numbered(arn, 30), arn]
    assert patterns(arns) == sorted(arns)


# --- ARNs to avoid


def test_a_fold_is_made_longer_until_it_matches_nothing_to_avoid() -> None:
    arns = [*numbered(OBJECTS + "logs/a/", 30), *numbered(OBJECTS + "logs/b/", 30)]
    assert patterns(arns, more_than=1) == [OBJECTS + "logs/*"]
    assert patterns(arns, more_than=1, avoid=[OBJECTS + "logs/secret"]) == [
        OBJECTS + "logs/a/*",
        OBJECTS + "logs/b/*",
    ]
    assert patterns(arns, avoid=[OBJECTS + "logs/a/secret", OBJECTS + "elsewhere"]) == [
        *numbered(OBJECTS + "logs/a/", 30),
        OBJECTS + "logs/b/*",
    ]


def test_a_pattern_to_avoid_is_not_touched_either() -> None:
    arns = numbered(TABLES + "a-", 30)
    assert patterns(arns, avoid=["arn:aws:dynamodb:*:*:table/*-secret"]) == arns
    assert patterns(arns, avoid=[TABLES + "b-*"]) == [TABLES + "a-*"]


# --- What holds always


names = st.lists(st.sampled_from(["a", "b", "cc", "1", "?", "*"]), min_size=1, max_size=4).flatmap(
    lambda parts: st.lists(
        st.sampled_from("/:-_."), min_size=len(parts) - 1, max_size=len(parts) - 1
    ).map(
        lambda between: "".join(
            f"{part}{end}" for part, end in zip(parts, [*between, ""], strict=True)
        )
    )
)
arns_drawn = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from([TABLES, OBJECTS, "arn:aws:s3:::", QUEUES, "arn:*:s3:::", ""]),
        names,
    ),
    max_size=40,
)
limits = st.integers(min_value=1, max_value=6)


@given(arns_drawn, limits, arns_drawn, st.randoms(use_true_random=False))
def test_every_arn_is_covered_and_nothing_is_folded_for_no_reason(
    arns: list[str], more_than: int, avoid: list[str], shuffle: random.Random
) -> None:
    folded = fold_arns(arns, more_than=more_than, avoid=avoid)
    for arn in arns:
        assert any(covers(pattern, arn) for pattern in folded.patterns)
    folds = {fold.pattern: fold for fold in folded.folds}
    for pattern in folded.patterns:
        assert pattern in folds or pattern in arns, "what is no fold was given"
    for fold in folds.values():
        under = sorted({arn for arn in arns if arn.startswith(fold.pattern[:-1])})
        assert fold.arn_count == len(under) > 1
        assert fold.examples == tuple(under[:3])
        assert fold.pattern[-2] in "/:-_."
        assert "*" not in fold.pattern[:-1]
        assert not any(matches_arn(fold.pattern, arn) for arn in avoid if "*" not in arn)

    again = list(arns)
    shuffle.shuffle(again)
    assert fold_arns(again, more_than=more_than, avoid=avoid) == folded
    assert patterns(folded.patterns, more_than, avoid) == list(folded.patterns), "once is enough"


@given(st.lists(names.map(TABLES.__add__), min_size=1, max_size=60), limits)
def test_no_more_patterns_than_the_limit_remain_of_a_type(arns: list[str], more_than: int) -> None:
    plain = [arn for arn in arns if "*" not in arn and "?" not in arn]
    assert len(patterns(plain, more_than)) <= more_than
