from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.policy.covering import PatternSet, pattern_covers
from pare.policy.patterns import covers, matches_arn, overlaps

PARTS = st.lists(st.sampled_from(["a", "b", "*", "?", "/"]), max_size=5).map("".join)
PATTERNS = st.one_of(
    st.just("*"), PARTS.map(lambda part: f"arn:aws:s3:::{part}"), st.just("arn:aws:s3:::${aws:x}/*")
)
NAMES = st.text("ab/", max_size=5).map(lambda part: f"arn:aws:s3:::{part}")


@given(st.lists(PATTERNS, max_size=4), PATTERNS, NAMES)
def test_a_set_answers_as_its_patterns_do(patterns: list[str], pattern: str, arn: str) -> None:
    found = PatternSet(patterns)

    assert found.covers(pattern) == any(pattern_covers(each, pattern) for each in patterns)
    assert found.may_meet(pattern) == any(
        "${" in each or "${" in pattern or overlaps(each, pattern) for each in patterns
    )
    assert found.matches(arn) == any(matches_arn(each, arn) for each in patterns)


@given(PATTERNS, PATTERNS, NAMES)
def test_what_is_covered_is_matched(wide: str, narrow: str, arn: str) -> None:
    if pattern_covers(wide, narrow) and "${" not in wide + narrow and matches_arn(narrow, arn):
        assert matches_arn(wide, arn)
    if "${" not in wide + narrow:
        assert pattern_covers(wide, narrow) == covers(wide, narrow)


@given(PATTERNS, PATTERNS, st.text("ab/:?", max_size=4))
def test_a_variable_is_covered_whatever_it_holds(wide: str, narrow: str, value: str) -> None:
    if pattern_covers(wide, narrow) and "*" not in value:
        wide, narrow = (each.replace("${aws:x}", value) for each in (wide, narrow))
        arn = narrow.replace("*", "b").replace("?", "a")
        # Only as text: a question mark of the value is no wildcard to IAM.
        assert "?" in value or matches_arn(wide, arn)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("arn:aws:s3:::b*", "arn:aws:s3:::b/x*"),
        ("arn:aws:s3:::b/x*", "arn:aws:s3:::b*"),
        ("arn:aws:s3:::b/x", "arn:aws:s3:::b*"),
        ("arn:aws:s3:::b*", "arn:aws:s3:::b/x"),
        ("*", "arn:aws:s3:::b"),
        ("arn:aws:s3:::b", "*"),
        ("arn:aws:s3:::${aws:x}", "arn:aws:s3:::b"),
        ("arn:aws:s3:::b", "arn:aws:s3:::${aws:x}"),
    ],
)
def test_patterns_that_may_have_an_arn_in_common_meet(one: str, other: str) -> None:
    assert PatternSet([one]).may_meet(other)


def test_nothing_covers_or_meets_nothing() -> None:
    empty = PatternSet([])

    assert not empty.covers("*")
    assert not empty.may_meet("*")
    assert not empty.matches("*")
    assert not PatternSet(["arn:aws:s3:::a"]).may_meet("arn:aws:s3:::b*")
