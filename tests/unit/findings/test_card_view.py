"""Which findings of a card are told as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pare.findings.card_view import grouped, of_the_first, others_of, said_by, whose
from tests.unit.findings.told_cases import credential, old, open_to, reading, unused, writing

if TYPE_CHECKING:
    from pare.findings.model import Finding


def ids(*findings: Finding) -> list[list[str]]:
    groups = grouped(each.to_json() for each in findings)
    return [[each["finding_id"] for each in group.findings] for group in groups]


def test_what_several_regions_say_alike_is_one() -> None:
    condition = (("aws:SourceIp", "203.0.113.0/24"), ("aws:SourceVpc", "vpc-1"))
    here = reading(finding_id="a", region="eu-west-1", condition=condition)
    there = reading(
        finding_id="b", region="us-east-1", condition=condition[::-1], actions=here.actions[::-1],
        created_at="2026-11-02T00:00:00Z", severity="high",
    )  # fmt: skip

    assert ids(here, there) == [["a", "b"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"condition": (("aws:SourceIp", "203.0.113.0/24"),)},
        {"actions": ("s3:GetObject",)},
        {"principal": (("AWS", "888877776666"),)},
        {"is_public": True},
        {"error": "ACCESS_DENIED"},
    ],
)
@pytest.mark.parametrize("access", ["external", "internal"])
def test_another_access_is_told_beside_it(access: Any, changes: dict[str, Any]) -> None:
    one = reading(finding_id="a", access=access)
    other = reading(**({"finding_id": "b", "access": access} | changes))

    assert ids(one, other) == [["a"], ["b"]]


def test_conditions_and_actions_make_no_difference_to_what_is_unused() -> None:
    one, other = unused(3, 4, finding_id="a"), unused(5, 6, finding_id="b", condition=(("a", "b"),))
    key = credential("UnusedIAMUserAccessKey", access_key_id="AKIA1", finding_id="c")
    later = credential("UnusedIAMUserAccessKey", access_key_id="AKIA2", finding_id="d")

    assert ids(one, other, key, later) == [["a", "b"], ["c"], ["d"]]


def test_the_ways_of_one_principal_are_of_one_principal() -> None:
    groups = grouped(
        each.to_json() for each in (writing(), open_to(8, "888877776666"), reading(), old())
    )

    assert len(groups) == 4
    assert others_of(groups) == 1
    assert [each.first for each in of_the_first(groups)] == [
        writing().to_json(), reading().to_json(), old().to_json(),
    ]  # fmt: skip


def test_findings_that_say_the_same_are_of_the_same_principal() -> None:
    one, other = writing().to_json(), reading().to_json()

    assert said_by(one) != said_by(other)
    assert whose(one) == whose(other)
