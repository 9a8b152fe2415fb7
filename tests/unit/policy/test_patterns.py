from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pare.policy.patterns import (
    LITERAL_STAR,
    arn_regex,
    covers,
    has_wildcard,
    literal,
    matches_action,
    matches_arn,
    matches_text,
    overlaps,
    wildcard_regex,
)

# A small alphabet, so that patterns meet often; an ARN's five colons are put in by hand.
SEGMENT = st.text(alphabet="ab*?", max_size=4)
PATTERN = st.one_of(
    st.lists(SEGMENT, min_size=6, max_size=7).map(":".join),
    st.text(alphabet="ab:*?", max_size=10),
)
TEXT = st.one_of(
    st.lists(st.text(alphabet="ab", max_size=3), min_size=6, max_size=8).map(":".join),
    st.text(alphabet="ab:", max_size=10),
)


@st.composite
def pattern_filling(draw: st.DrawFn, pattern: str) -> str:
    """A text that the pattern may match: each wildcard replaced by what it may stand for."""
    filled = ""
    for character in pattern:
        if character == "*":
            filled += draw(st.text(alphabet="ab:", max_size=3))
        elif character == "?":
            filled += draw(st.sampled_from("ab:"))
        else:
            filled += character
    return filled


@st.composite
def pattern_with_match(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern and a text that it may match."""
    pattern = draw(PATTERN)
    return pattern, draw(pattern_filling(pattern))


@st.composite
def widened(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and one like it with some characters made wildcards (often wider)."""
    narrow = draw(PATTERN)
    wide = "".join(draw(st.sampled_from([each, each, each, "*", "?"])) for each in narrow)
    return wide, narrow


# --- Matching ---


@pytest.mark.parametrize(
    ("pattern", "arn", "is_match"),
    [
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/a/b", True),
        ("arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket", False),
        # AWS: "the asterisk can expand to replace everything within a segment, slashes too".
        ("arn:aws:s3:::bucket/*/test/*", "arn:aws:s3:::bucket/1/2/test/3/object.jpg", True),
        ("arn:aws:s3:::bucket/*/test/*", "arn:aws:s3:::bucket/1-test/object.jpg", False),
        ("arn:aws:s3:::b?cket", "arn:aws:s3:::bucket", True),
        ("arn:aws:s3:::Bucket", "arn:aws:s3:::bucket", False),
        # At the end of a segment a star reaches over colons, inside it does not.
        ("arn:aws:sqs:*:orders", "arn:aws:sqs:eu-west-1:111122223333:orders", True),
        ("arn:aws:sqs:eu-*-1:*:orders", "arn:aws:sqs:eu-west-1:111122223333:orders", True),
        ("arn:aws:sqs:e*1:2:x", "arn:aws:sqs:eu:1:2:x", False),
        ("arn:aws:sqs:eu?1:2:x", "arn:aws:sqs:eu:1:2:x", False),
        ("arn:aws:logs:*:*:log-group:?:x", "arn:aws:logs:r:1:log-group:::x", True),
        ("*", "*", True),
        ("arn:aws:s3:::*", "*", False),
        ("", "", True),
    ],
)
def test_an_arn_pattern_matches(pattern: str, arn: str, is_match: bool) -> None:
    assert matches_arn(pattern, arn) is is_match
    assert (arn_regex(pattern).fullmatch(arn) is not None) is is_match


@given(PATTERN, TEXT)
@example("*a*", "ba:ab")
@example("a*:b", "aa:a:b")
@example("*a*:b", "a:b:b")
def test_the_short_cuts_match_as_the_regular_expressions_do(pattern: str, text: str) -> None:
    assert matches_arn(pattern, text) == (arn_regex(pattern).fullmatch(text) is not None)
    assert matches_text(pattern, text) == (wildcard_regex(pattern).fullmatch(text) is not None)


def test_actions_match_without_case() -> None:
    assert matches_action("S3:get*", "s3:GetObject")
    assert matches_action("*", "s3:GetObject")
    assert matches_action("s3:?etObject", "s3:GetObject")
    assert not matches_action("s3:Get", "s3:GetObject")
    assert not matches_action("s3.GetObject", "s3:GetObject")


def test_a_literal_text_has_no_wildcards() -> None:
    assert literal("a*b?c") == f"a{LITERAL_STAR}b\ue001c"
    assert not has_wildcard(literal("a*b?c"))
    assert matches_text("a*b?c", literal("a*b?c"))
    assert not matches_text(literal("a*b"), "axb")


# --- Containment ---


@pytest.mark.parametrize(
    ("wide", "narrow", "is_covered"),
    [
        ("*", "arn:aws:s3:::b/*", True),
        ("**", "*", True),
        ("arn:aws:s3:::b/*", "*", False),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/x/*", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b*", False),
        ("arn:aws:s3:::*/a", "arn:aws:s3:::b/?/a", True),
        ("arn:aws:s3:::*/?", "arn:aws:s3:::*/*", False),
        ("arn:aws:s3:::b/x", "arn:aws:s3:::b/*", False),
        ("arn:aws:*", "arn:aws:s3:::*", True),
        ("arn:aws:sqs:e*1:2:x", "arn:aws:sqs:eu-*-1:2:x", True),
        ("arn:aws:sqs:e*1:2:x", "arn:aws:sqs:e*:1:2:x", False),
        # A ? of the sixth segment may be a colon, one of the fourth may not.
        ("arn:aws:x:a?b:1:y", "arn:aws:x:a?b:1:y", True),
        ("arn:aws:x:a*b:1:y", "arn:aws:x:a?b:1:y", True),
    ],
)
def test_a_pattern_covers_another(wide: str, narrow: str, is_covered: bool) -> None:
    assert covers(wide, narrow) is is_covered


@given(widened(), st.data())
def test_what_the_narrow_pattern_matches_the_wide_one_matches(
    pair: tuple[str, str], data: st.DataObject
) -> None:
    wide, narrow = pair
    text = data.draw(pattern_filling(narrow))
    if covers(wide, narrow) and matches_arn(narrow, text):
        assert matches_arn(wide, text)


@given(PATTERN, PATTERN, st.data())
def test_no_two_patterns_are_wrongly_said_to_cover(
    wide: str, narrow: str, data: st.DataObject
) -> None:
    text = data.draw(pattern_filling(narrow))
    if covers(wide, narrow) and matches_arn(narrow, text):
        assert matches_arn(wide, text)


@given(PATTERN, PATTERN, PATTERN)
def test_covering_is_transitive_enough_to_reason_with(one: str, two: str, three: str) -> None:
    assert covers(one, one)
    if covers(one, two) and covers(two, three):
        assert overlaps(one, three)


@given(pattern_with_match(), widened())
def test_patterns_with_a_common_text_overlap(found: tuple[str, str], pair: tuple[str, str]) -> None:
    pattern, text = found
    for other in (*pair, text):
        if matches_arn(pattern, text) and matches_arn(other, text):
            assert overlaps(pattern, other)
            assert overlaps(other, pattern)


@given(widened())
def test_a_covered_pattern_overlaps(pair: tuple[str, str]) -> None:
    wide, narrow = pair
    if covers(wide, narrow):
        assert overlaps(wide, narrow)


@pytest.mark.parametrize(
    ("one", "other", "is_common"),
    [
        ("arn:aws:s3:::a*", "arn:aws:s3:::*b", True),
        ("arn:aws:s3:::a*", "arn:aws:s3:::b*", False),
        ("arn:aws:s3:::*/a", "arn:aws:s3:::*/b", False),
        ("arn:aws:s3:::a?", "arn:aws:s3:::?b", True),
        ("arn:aws:s3:::a", "arn:aws:s3:::a*", True),
        ("arn:aws:s3:::a", "arn:aws:s3:::b", False),
        ("*", "x", True),
    ],
)
def test_overlap(one: str, other: str, is_common: bool) -> None:
    assert overlaps(one, other) is is_common
    assert overlaps(other, one) is is_common
