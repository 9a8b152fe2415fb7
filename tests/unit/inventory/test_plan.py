"""Planned dates, carried from month to month."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from pare.inventory.plan import is_delete_due, plan_before, planned
from tests.unit.inventory.row_builders import USER, access_key, credentials, facts, row, terms

if TYPE_CHECKING:
    from pare.inventory.model import PlanJson

NOVEMBER = date(2026, 11, 1)


def plan(
    before: PlanJson | None = None,
    *,
    today: date = NOVEMBER,
    is_disabled: bool = False,
    is_same_period: bool = False,
) -> PlanJson:
    return planned("principal", before, is_disabled=is_disabled, is_same_period=is_same_period,
                   today=today, terms=terms())  # fmt: skip


ANNOUNCED: PlanJson = {
    "what": "principal",
    "announced_on": "2026-11-01",
    "disable_on": "2026-12-01",
    "disabled_on": None,
    "delete_on": None,
    "times_announced": 1,
}


def test_the_first_month_announces_when_it_is_to_be_disabled() -> None:
    assert plan() == ANNOUNCED


def test_the_dates_stay_and_each_month_is_counted() -> None:
    december = plan(ANNOUNCED, today=date(2026, 12, 1))
    # January was left out.
    february = plan(december, today=date(2027, 2, 1))

    assert december == {**ANNOUNCED, "times_announced": 2}
    assert february == {**ANNOUNCED, "times_announced": 3}


def test_the_first_month_that_sees_it_disabled_says_when_to_delete_it() -> None:
    seen = plan(ANNOUNCED, today=date(2026, 12, 1), is_disabled=True)
    later = plan(seen, today=date(2027, 1, 1), is_disabled=True)

    assert (seen["disabled_on"], seen["delete_on"]) == ("2026-12-01", "2027-01-30")
    assert (later["disabled_on"], later["delete_on"]) == ("2026-12-01", "2027-01-30")
    assert not is_delete_due(later, date(2027, 1, 29))
    assert is_delete_due(later, date(2027, 1, 30))
    assert not is_delete_due(ANNOUNCED, date(2030, 1, 1))


def test_what_somebody_enabled_again_begins_anew() -> None:
    disabled = plan(ANNOUNCED, today=date(2026, 12, 1), is_disabled=True)

    assert plan(disabled, today=date(2027, 1, 1)) == {
        **ANNOUNCED,
        "announced_on": "2027-01-01",
        "disable_on": "2027-01-31",
    }


def test_a_month_made_again_changes_nothing() -> None:
    december = plan(ANNOUNCED, today=date(2026, 12, 1), is_disabled=True)

    assert plan(december, today=date(2026, 12, 9), is_disabled=True, is_same_period=True) == (
        december
    )


@given(
    st.lists(st.tuples(st.integers(1, 90), st.booleans(), st.booleans()), max_size=8),
)
def test_no_date_to_delete_comes_without_a_date_disabled_and_the_days_between(
    months: list[tuple[int, bool, bool]],
) -> None:
    today, current = NOVEMBER, plan()
    for days, is_disabled, is_again in months:
        today = date.fromordinal(today.toordinal() + days)
        current = plan(current, today=today, is_disabled=is_disabled, is_same_period=is_again)
        assert (current["disabled_on"] is None) is (current["delete_on"] is None)
        assert (current["disabled_on"] is not None) is is_disabled
        if current["delete_on"] and current["disabled_on"]:
            between = date.fromisoformat(current["delete_on"]) - date.fromisoformat(
                current["disabled_on"]
            )
            assert between.days == 60
        assert current["announced_on"] <= today.isoformat()


def user_with(*keys: Any) -> dict[str, Any]:
    return {"credentials": credentials(access_keys=list(keys))}


def test_a_principal_made_anew_has_no_plan_from_before() -> None:
    before = row(plans=[ANNOUNCED])

    assert plan_before("principal", facts(), before) == ANNOUNCED
    assert plan_before("principal", facts(principal_id="AROAANEW"), before) is None
    assert plan_before("password", facts(), before) is None
    assert plan_before("principal", facts(), None) is None


def test_the_plan_of_a_key_follows_the_key() -> None:
    first, second = access_key("AKIAFIRST"), access_key("AKIASECOND")
    for_second: PlanJson = {**ANNOUNCED, "what": "access key 2"}
    before = row(USER, **user_with(first, second), plans=[for_second])

    moved = facts(USER, **user_with(second))
    replaced = facts(USER, **user_with(first, access_key("AKIATHIRD")))

    assert plan_before("access key 2", facts(USER, **user_with(first, second)), before) == (
        for_second
    )
    assert plan_before("access key 1", moved, before) == for_second
    assert plan_before("access key 2", replaced, before) is None
    assert plan_before("access key 1", replaced, before) is None
    assert plan_before("access key 2", moved, before) is None


def test_a_key_without_an_id_is_told_by_its_age_and_two_alike_by_their_place() -> None:
    old, new = access_key(None), access_key(None, created_at="2026-09-01T00:00:00Z")
    for_first: PlanJson = {**ANNOUNCED, "what": "access key 1"}
    before = row(USER, **user_with(old, old), plans=[for_first])

    assert plan_before("access key 1", facts(USER, **user_with(old, old)), before) == for_first
    assert plan_before("access key 2", facts(USER, **user_with(old, old)), before) is None
    assert plan_before("access key 1", facts(USER, **user_with(new)), before) is None
    assert plan_before("access key 1", facts(USER, credentials=None), before) is None
