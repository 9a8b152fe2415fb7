from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pare.inventory import view
from pare.inventory.issues import issues_of
from pare.message import columns
from tests.unit.inventory import row_builders as build

if TYPE_CHECKING:
    from pare.inventory.model import OutsideTrustJson


def test_every_filter_left_out_chooses_everything() -> None:
    rows = [build.row(), build.row(build.USER, status="idle")]

    assert [each for each in rows if view.Filter()(each, {})] == rows


def test_filters_of_two_sorts_must_both_hold() -> None:
    wanted = view.Filter(stale=True, kinds=("person",))

    assert wanted(build.row(build.USER, status="idle"), {})
    assert not wanted(build.row(build.USER), {})
    assert not wanted(build.row(status="idle"), {})


def test_what_is_idle_and_kept_on_purpose_is_not_stale() -> None:
    wanted = view.Filter(stale=True)

    assert wanted(build.row(status="idle", is_unused=True), {})
    assert not wanted(build.row(status="idle", is_unused=False), {})


def test_unknown_is_not_stale() -> None:
    assert not view.Filter(stale=True)(build.row(status="unknown", idle_days=None), {})


@pytest.mark.parametrize("sort", view.SORTS)
def test_an_order_does_not_depend_on_the_input(sort: view.Sort) -> None:
    rows = [
        build.row(f"arn:aws:iam::11112222333{n % 3}:role/r{n}", idle_days=None if n % 2 else n)
        for n in range(9)
    ]

    found = view.chosen(rows, view.Filter(), sort, {})

    assert view.chosen(rows[::-1], view.Filter(), sort, {}) == found
    assert len(found) == 9


@pytest.mark.parametrize(
    ("plans", "expected"),
    [
        ([], None),
        ([("principal", "2026-12-01", None, None)], "  disable 2026-12-01  "),
        ([("access key 1", "2026-12-01", None, None)], "  key 1: disable 2026-12-01  "),
        ([("access key 2", "2026-10-01", "2026-10-05", "2026-12-04")],
         "  key 2: delete 2026-12-04  "),
        ([("access key 1", "2026-12-01", None, None), ("password", "2026-11-15", None, None)],
         "  password: disable 2026-11-15  "),
        ([("\x1b", "2026-12-01", None, None)], "  : disable 2026-12-01  "),
        ([("principal", "2026-10-01", "2026-10-05", "2026-12-04")], "delete 2026-12-04"),
    ],
)  # fmt: skip
def test_the_next_planned_date(
    plans: list[tuple[str, str, str | None, str | None]], expected: str | None
) -> None:
    row = build.row(
        plans=[
            {"what": what, "announced_on": "2026-09-01", "disable_on": disable,
             "disabled_on": disabled, "delete_on": delete, "times_announced": 1}
            for what, disable, disabled, delete in plans
        ]
    )  # fmt: skip

    table = list(view.table([row], {}, 200))

    assert ("PLANNED" in table[0]) == (expected is not None)
    assert expected is None or expected in table[1]


def test_wide_letters_are_aligned_and_cut_by_their_width() -> None:
    rows = [
        build.row(f"arn:aws:iam::{build.ACCOUNT}:role/{name}", owner_shown="担当" * 30)
        for name in ("ab", "abcdef")
    ]

    lines = list(view.table(rows, {build.ACCOUNT: "本番環境"}, 120))

    starts = [columns(line[: line.index("担当")]) for line in lines[1:]]
    assert len(set(starts)) == 1
    assert all(columns(line) <= 120 for line in lines)


@pytest.mark.parametrize("width", [20, 33, 80])
@pytest.mark.parametrize(
    "line",
    [
        "not used for 124 days: last on 2026-06-30, and nobody knows who may have needed it since",
        "許可されている 12 個のサービスのうち 5 個が使用されていません（例: ec2、sqs）。",  # noqa: RUF001
        "",
    ],
)
def test_a_line_is_folded_without_losing_a_letter(line: str, width: int) -> None:
    folded = view.wrapped(line, width=width, first="- ", rest="  ")

    assert "".join(folded).replace(" ", "") == f"-{line}".replace(" ", "")
    assert all(columns(each) <= width + 2 for each in folded)
    never_first = set("、。）")  # noqa: RUF001
    assert never_first.isdisjoint(each.strip()[:1] for each in folded[1:])


def test_a_word_longer_than_a_line_stays_whole() -> None:
    arn = f"arn:aws:iam::{build.ACCOUNT}:role/{'x' * 60}"

    assert view.wrapped(f"see {arn} there", width=30) == ["see", arn, "there"]


@pytest.mark.parametrize("width", [5, 9, 20, 24])
def test_of_a_long_name_the_middle_is_left_out(width: int) -> None:
    name = "本番 role/aws-reserved/sso.amazonaws.com/Audit"

    short = view.without_middle(name, width)

    assert columns(short) <= width
    assert short.count("…") == 1
    assert name.endswith(short.split("…")[1])
    assert view.without_middle(name, 99) == name


def test_every_issue_of_a_trust_policy_can_be_filtered_by() -> None:
    outside: list[OutsideTrustJson] = [
        {"account_id": "1", "external_id": False, "conditions": []},
        {"account_id": "2", "external_id": True, "conditions": []},
    ]
    trust = build.trust(is_public=True, federated_open=["p"], unknown=["x"], outside=outside)
    found = issues_of(build.facts(owner=None, trust=trust), build.terms(), as_of=build.AS_OF)

    assert {each["code"] for each in found} <= set(view.ISSUES)
    assert len(found) == 6
