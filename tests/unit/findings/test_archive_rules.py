"""Rules as code: the plan for an analyzer, drift, and what a filter could hide."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from pare.findings.archive_rules import (
    ActualRule,
    ArchiveRule,
    could_hide_public,
    drift,
    forgotten,
    is_same,
    plan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.findings.archive_rules import FilterJson, Plan

TODAY = date(2026, 11, 22)
FILTER: FilterJson = {"principal.AWS": {"eq": ["555566667777"]}}
RULE = ArchiveRule(
    name="partner",
    filter=FILTER,
    reason="The partner reads its logs.",
    owner="data",
    expires=date(2026, 12, 31),
)


def planned(rules: Sequence[ArchiveRule], *actual: ActualRule, region: str = "eu-west-1") -> Plan:
    return plan(rules, actual, kind="external", region=region, today=TODAY)


def test_a_rule_travels_whole() -> None:
    assert ArchiveRule.from_json(RULE.to_json()) == RULE


def test_a_rule_that_is_not_there_is_created() -> None:
    assert planned([RULE]).create == (RULE,)


def test_a_rule_with_another_filter_is_changed_whoever_changed_it() -> None:
    there = ActualRule("pare-partner", {"isPublic": {"eq": ["false"]}})
    todo = planned([RULE], there)
    assert todo.update == ((RULE, there),)
    assert todo.ours == (RULE,)


def test_order_repetition_and_empty_lists_make_no_other_filter() -> None:
    one: FilterJson = {"resource": {"eq": ["b", "a", "a"], "neq": []}, "error": {"exists": True}}
    other: FilterJson = {"error": {"exists": True}, "resource": {"eq": ["a", "b"]}}
    assert is_same(one, other)
    assert not is_same(one, {**other, "error": {"exists": False}})


def test_a_rule_of_ours_that_the_file_does_not_have_is_deleted_and_others_are_left() -> None:
    ours, theirs = ActualRule("pare-old", FILTER), ActualRule("made-by-hand", FILTER)
    todo = planned([RULE], ours, theirs, ActualRule("pare-partner", FILTER))
    assert (todo.delete, todo.foreign, todo.unchanged) == ((ours,), (theirs,), (RULE,))
    assert (todo.create, todo.update) == ((), ())


@pytest.mark.parametrize(
    ("changed", "is_there"),
    [
        ({"expires": TODAY}, True),  # its last day
        ({"expires": date(2026, 11, 21)}, False),
        ({"analyzers": ("unused", "internal")}, False),
        ({"regions": ("eu-west-1", "us-east-1")}, True),
        ({"regions": ("us-east-1",)}, False),
    ],
)
def test_a_rule_is_where_and_as_long_as_the_file_says(
    changed: dict[str, object], is_there: bool
) -> None:
    rule = replace(RULE, **changed)  # type: ignore[arg-type]
    there = ActualRule("pare-partner", FILTER)
    assert bool(planned([rule]).create) is is_there
    assert bool(planned([rule], there).delete) is not is_there


def test_how_many_rules_there_may_be_is_awss_to_say() -> None:
    """The quota of a hundred can be raised."""
    others = [ActualRule(f"by-hand-{n}", FILTER) for n in range(150)]
    rules = [RULE, replace(RULE, name="second")]
    assert [rule.name for rule in planned(rules, *others).create] == ["partner", "second"]


def test_what_nobody_has_any_more_and_the_file_does_not_say_is_forgotten() -> None:
    other: FilterJson = {"resource": {"eq": ["x"]}}
    written = {"pare-gone": other, "pare-partner": FILTER, "pare-renamed": FILTER}
    assert forgotten(written, planned([RULE])) == [ActualRule("pare-gone", other)]
    # As long as it is there, it is deleted like any other.
    assert forgotten(written, planned([RULE], ActualRule("pare-gone", other))) == []
    assert forgotten({}, planned([RULE])) == []


def test_drift_is_what_is_other_than_it_was_last_written() -> None:
    written: dict[str, FilterJson] = {"pare-a": FILTER, "pare-b": FILTER, "pare-c": FILTER}
    actual = [ActualRule("pare-a", FILTER), ActualRule("pare-b", {"resource": {"eq": ["x"]}})]
    assert drift(written, actual) == {"changed": ["pare-b"], "deleted": ["pare-c"]}


@pytest.mark.parametrize(
    ("criteria", "could"),
    [
        ({"resourceOwnerAccount": {"eq": ["111122223333"]}}, True),
        ({"resource": {"contains": ["logs"]}}, True),
        ({"condition.aws:SourceVpc": {"exists": False}}, True),
        ({"principal.Federated": {"exists": False}}, True),
        ({"isPublic": {"eq": ["true"]}}, True),
        ({"isPublic": {"eq": ["True"]}}, True),
        ({"isPublic": {"eq": ["false"]}}, False),
        ({"isPublic": {"neq": ["true"]}}, False),
        ({"isPublic": {"neq": ["false"]}}, True),
        ({"isPublic": {"contains": ["tru"]}}, True),
        ({"isPublic": {"contains": ["fal"]}}, False),
        ({"isPublic": {"exists": False}}, False),
        ({"isPublic": {"exists": True}}, True),
        ({"principal.AWS": {"eq": ["555566667777"]}}, False),
        ({"principal.AWS": {"eq": ["555566667777", "*"]}}, True),
        ({"principal.AWS": {"neq": ["555566667777"]}}, True),
        ({"principal.AWS": {"neq": ["*"]}}, False),
        ({"principal.AWS": {"contains": ["role/"]}}, False),
        ({"findingType": {"eq": ["UnusedIAMRole"]}}, False),
        ({"findingType": {"eq": ["UnusedIAMRole", "ExternalAccess"]}}, True),
        ({"error": {"exists": True}}, False),
        ({"error": {"eq": ["ACCESS_DENIED"]}}, False),
        ({"error": {"neq": ["ACCESS_DENIED"]}}, True),
        ({"error": {"exists": False}}, True),
        ({"isPublic": {"eq": ["true"]}, "principal.AWS": {"eq": ["555566667777"]}}, False),
    ],
)
def test_whether_a_filter_could_hide_public_access(criteria: FilterJson, could: bool) -> None:
    assert could_hide_public(criteria) is could
