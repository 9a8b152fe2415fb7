"""Planned dates: announced, to disable, disabled, to delete; carried from month to month.

Pare changes nothing itself. A plan is announced by the first inventory that finds a principal, a
key or a password unused, keeps its dates while that stays so, and ends when it is used again. The
date to delete is set by the first inventory that sees it disabled. Enabled again by somebody, it
begins anew. A month that is made again changes neither dates nor counts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pare.clock import parse_time

if TYPE_CHECKING:
    from datetime import date

    from pare.inventory.model import (
        AccessKeyJson,
        InventoryTermsJson,
        PlanJson,
        PrincipalFactsJson,
        PrincipalRowJson,
    )

    What = PlanJson.__annotations__["what"]

_KEYS = ("access key 1", "access key 2")


def planned(
    what: str,
    before: PlanJson | None,
    *,
    is_disabled: bool,
    is_same_period: bool,
    today: date,
    terms: InventoryTermsJson,
) -> PlanJson:
    """Return the plan of something unused; ``before``: last month's, None where there was none.

    ``is_same_period``: ``before`` is of the very month that is made again.
    """
    if before is not None and before["disabled_on"] is not None and not is_disabled:
        before = None
    plan: PlanJson = {
        "what": what,  # type: ignore[typeddict-item]
        "announced_on": before["announced_on"] if before else today.isoformat(),
        "disable_on": before["disable_on"]
        if before
        else (today + timedelta(days=terms["disable_after_days"])).isoformat(),
        "disabled_on": before["disabled_on"] if before else None,
        "delete_on": before["delete_on"] if before else None,
        "times_announced": 1,
    }
    if before is not None:
        plan["times_announced"] = before["times_announced"] + (0 if is_same_period else 1)
    if is_disabled and plan["disabled_on"] is None:
        plan["disabled_on"] = today.isoformat()
        plan["delete_on"] = (today + timedelta(days=terms["delete_after_days"])).isoformat()
    return plan


def is_delete_due(plan: PlanJson, today: date) -> bool:
    """Return whether the date to delete it has come."""
    return plan["delete_on"] is not None and plan["delete_on"] <= today.isoformat()


def plan_before(
    what: str, facts: PrincipalFactsJson, previous: PrincipalRowJson | None
) -> PlanJson | None:
    """Return last month's plan for the same thing: the same principal, and the same access key.

    A key may have moved to the other place, or be another key in the same place.
    """
    if previous is None or previous["principal_id"] != facts["principal_id"]:
        return None
    plans = {str(plan["what"]): plan for plan in previous["plans"]}
    if what not in _KEYS:
        return plans.get(what)
    key = _key(facts, what)
    if key is None:
        return None
    same = [name for name in _KEYS if _is_same(_key(previous, name), key)]
    if not same:
        return None
    # Two keys of the same second, without ids: the place tells them apart.
    return plans.get(what if what in same else same[0])


def _key(facts: PrincipalFactsJson | PrincipalRowJson, what: str) -> AccessKeyJson | None:
    keys = facts["credentials"]["access_keys"] if facts["credentials"] else []
    place = _KEYS.index(what)
    return keys[place] if place < len(keys) else None


def _is_same(before: AccessKeyJson | None, now: AccessKeyJson) -> bool:
    """Return whether two keys are one. The report's time changes when a key is switched off."""
    if before is None:
        return False
    if before["access_key_id"] and now["access_key_id"]:
        return before["access_key_id"] == now["access_key_id"]
    if before["created_at"] is None or now["created_at"] is None:
        return False
    return parse_time(before["created_at"]) == parse_time(now["created_at"])
