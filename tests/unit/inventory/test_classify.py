"""What to do with one principal, and why."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.clock import format_time
from pare.inventory.account_activity import ActivityOfAccount, Did
from pare.inventory.classify import MAX_SEASONS, classify, counts_of
from pare.inventory.facts import NO_CREDENTIAL
from pare.inventory.flags import FLAGS
from pare.inventory.issues import root_issues
from pare.inventory.model import CLASSES, COUNTS, Class, PrincipalKind, PrincipalRowJson, Status
from tests.unit.inventory.row_builders import (
    AS_OF,
    PERIOD,
    ROLE,
    USER,
    access_key,
    credentials,
    facts,
    last_accessed,
    root_user,
    row,
    service_use,
    terms,
    trust,
    unused_service,
)

if TYPE_CHECKING:
    from pare.inventory.model import LastAccessedJson

NOT_ASKED = object()
DAYS = [f"{(AS_OF - timedelta(days=n)).date()}" for n in range(90, 0, -1)]


def ago(days: int, hours: int = 0) -> str:
    return format_time(AS_OF - timedelta(days=days, hours=hours))


def judged(
    arn: str = ROLE,
    *,
    services: Any = (),
    told: Any = NOT_ASKED,
    logs: ActivityOfAccount | None = None,
    previous: PrincipalRowJson | None = None,
    settings: dict[str, Any] | None = None,
    is_first: bool = False,
    **changes: Any,
) -> PrincipalRowJson:
    answer: LastAccessedJson | None = last_accessed(*services, arn=arn)
    if told is not NOT_ASKED:
        answer = told
    return classify(
        facts(arn, **changes), answer, logs, previous, terms(**(settings or {})),
        period=PERIOD, as_of=AS_OF, is_first=is_first,
    )  # fmt: skip


def said(found: PrincipalRowJson) -> tuple[str, str, str]:
    """Return status, class and the deciding reason's code."""
    return found["status"], found["class"], found["reasons"][0]["code"]


def codes(found: PrincipalRowJson) -> list[str]:
    return [reason["code"] for reason in found["reasons"]]


def values(found: PrincipalRowJson, code: str) -> dict[str, Any]:
    return next(each["values"] for each in found["reasons"] if each["code"] == code)


# --- status and class -----------------------------------------------------------------------------


def test_a_used_role_is_kept_with_its_last_use() -> None:
    found = judged(services=[service_use("s3")])

    assert said(found) == ("used", "keep", "USED")
    assert found["reasons"][0]["values"] == {"date": "2026-10-31", "source": "service",
                                             "what": "s3"}  # fmt: skip
    assert (found["idle_days"], found["plans"], found["issues"]) == (0, [], [])
    assert found["services"] == {
        "s3": {"last_accessed_at": "2026-10-31T10:00:00Z", "used_actions": 1,
               "unused_actions": 0, "denied_only": False},
    }  # fmt: skip
    assert (found["unused_services"], found["unused_actions"]) == (0, 0)
    assert found["used_months"] == ["2026-10"]
    assert found["used_services_months"] == {"s3": ["2026-10"]}
    assert found["owner_shown"] == "orders@example.com"


@pytest.mark.parametrize(("days", "hours", "status"), [(90, 0, "used"), (90, 1, "idle")])
def test_the_last_day_of_use_counts_to_the_moment(days: int, hours: int, status: str) -> None:
    assert judged(role_last_used_at=ago(days, hours))["status"] == status


def test_an_idle_role_is_to_be_disabled() -> None:
    found = judged(role_last_used_at=ago(180))

    assert said(found) == ("idle", "disable", "IDLE")
    assert found["reasons"][0]["values"] == {
        "days": 180, "date": "2026-05-05", "source": "role", "what": "",
    }  # fmt: skip
    assert found["plans"] == [
        {"what": "principal", "announced_on": "2026-11-01", "disable_on": "2026-12-01",
         "disabled_on": None, "delete_on": None, "times_announced": 1}
    ]  # fmt: skip


def test_nothing_in_the_days_iam_keeps_of_an_older_role() -> None:
    found = judged(role_last_used_at=None, created_at=ago(1310))

    assert said(found) == ("idle", "disable", "IDLE_BEYOND_RECORDS")
    assert found["reasons"][0]["values"] == {"days": 400, "created": "2023-04-01"}
    assert found["idle_days"] == 400, "400 days before the job, which came ten minutes later"


def test_nothing_since_its_creation() -> None:
    found = judged(role_last_used_at=None, created_at=ago(200))

    assert said(found) == ("never used", "disable", "NEVER_USED")
    assert found["reasons"][0]["values"] == {"days": 200, "created": "2026-04-15"}


def test_a_users_credentials_reach_back_for_years() -> None:
    key = access_key(created_at=ago(947), last_used_at=None)
    found = judged(
        USER, created_at=ago(947), owner=None,
        credentials=credentials(password_enabled=False, password_last_used_at=None,
                                password_changed_at=None, mfa_active=False, access_keys=[key]),
    )  # fmt: skip

    assert said(found) == ("never used", "disable", "NEVER_USED")
    assert found["reasons"][0]["values"]["days"] == 947
    assert [each["code"] for each in found["issues"]] == ["KEY_NEVER_USED", "KEY_OLD", "NO_OWNER"]
    assert [plan["what"] for plan in found["plans"]] == ["principal"]


@pytest.mark.parametrize(("age", "status"), [(29, "new"), (30, "never used")])
def test_a_young_role_is_new(age: int, status: str) -> None:
    found = judged(role_last_used_at=None, created_at=ago(age))

    assert found["status"] == status
    assert found["class"] == ("keep" if status == "new" else "disable")


def test_a_role_made_after_the_month_began_is_new() -> None:
    created = format_time(AS_OF + timedelta(hours=2))

    assert said(judged(role_last_used_at=None, created_at=created)) == ("new", "keep", "NEW")


@pytest.mark.parametrize("told", [None, last_accessed(error="ThrottledError")])
def test_unknown_is_not_unused(told: Any) -> None:
    found = judged(told=told, role_last_used_at=ago(200))

    assert said(found) == ("unknown", "review", "USE_UNKNOWN")
    assert found["reasons"][0]["values"] == {"sources": "service"}
    assert values(found, "LAST_ACCESSED_UNKNOWN") == {
        "error": told["error"] if told else "LastAccessedError"
    }
    assert (found["unused_services"], found["unused_actions"]) == (None, None)
    assert (found["services"], found["idle_days"], found["plans"]) == ({}, None, [])


def test_a_proven_use_beats_a_missing_source() -> None:
    found = judged(told=None, role_last_used_at=ago(10))

    # What it may do without is unknown: that is no reason to call all of it needed.
    assert said(found) == ("used", "review", "LAST_ACCESSED_UNKNOWN")
    assert values(found, "LAST_ACCESSED_UNKNOWN") == {"error": "LastAccessedError"}
    assert found["last_use"]["at"] == ago(10)
    assert found["plans"] == []


def test_a_used_user_whose_keys_and_mfa_nobody_knows_is_not_simply_kept() -> None:
    found = judged(USER, services=[service_use()], credentials=None)

    assert said(found) == ("used", "review", "CREDENTIALS_UNKNOWN")


def test_a_user_without_a_report_is_unknown() -> None:
    found = judged(USER, credentials=None)

    assert said(found) == ("unknown", "review", "USE_UNKNOWN")
    assert found["reasons"][0]["values"] == {"sources": "access key, password"}
    assert "CREDENTIALS_UNKNOWN" in codes(found)


def test_holders_of_everything_are_named_even_if_nothing_is_unused() -> None:
    policy = "arn:aws:iam::aws:policy/AdministratorAccess"
    wide = [{"policy": policy, "group": None, "pattern": "*", "is_administrator": True}]

    used, young = judged(wide=wide), judged(wide=wide, role_last_used_at=None, created_at=ago(3))

    assert said(used) == ("used", "narrow", "ADMINISTRATOR")
    assert used["reasons"][0]["values"] == {"policy": policy}
    assert said(young) == ("new", "keep", "NEW")
    assert "ADMINISTRATOR" in codes(young)


def test_whole_services_are_named() -> None:
    wide = [
        {"policy": "inline:Work", "group": None, "pattern": "s3:*", "is_administrator": False},
        {"policy": "inline:Work", "group": None, "pattern": "sqs:*", "is_administrator": False},
    ]

    found = judged(wide=wide)

    assert said(found) == ("used", "narrow", "WIDE")
    assert found["reasons"][0]["values"] == {"policy": "inline:Work", "patterns": "s3:*, sqs:*"}


@pytest.mark.parametrize(("unused", "cls"), [(4, "keep"), (5, "narrow")])
def test_unused_services_are_counted_with_those_idle_for_long(unused: int, cls: str) -> None:
    old = service_use("sqs", last_accessed_at=ago(200), used={"ListQueues": ago(200)}, unused=[])
    services = [service_use("s3"), old, *(unused_service(f"x{n}") for n in range(unused - 1))]

    found = judged(services=services)

    assert found["class"] == cls
    assert found["unused_services"] == unused
    assert sorted(found["services"]) == ["s3", "sqs"]
    if cls == "narrow":
        assert found["reasons"][0]["values"] == {
            "unused": 5, "allowed": 6, "examples": "sqs, x0, x1",
        }  # fmt: skip


def test_unused_actions_are_those_of_used_services() -> None:
    services = [
        service_use("s3", used={"ListAllMyBuckets": ago(1), "CreateBucket": ago(200)},
                    unused=["DeleteBucket"], tracked=3),
        service_use("sns", used={}, unused=None, tracked=0),
        service_use("sqs", last_accessed_at=ago(200), used={"ListQueues": ago(200)},
                    unused=["DeleteQueue"]),
    ]  # fmt: skip

    found = judged(services=services)

    assert found["unused_actions"] == 2
    assert found["services"]["s3"] == {
        "last_accessed_at": "2026-10-31T10:00:00Z", "used_actions": 1, "unused_actions": 2,
        "denied_only": False,
    }  # fmt: skip
    assert found["services"]["sns"]["unused_actions"] is None


def test_actions_that_nobody_tracks_are_unknown_and_not_none() -> None:
    untracked = service_use("sns", used={}, unused=None, tracked=0)

    assert judged(services=[untracked, unused_service("sqs")])["unused_actions"] is None
    assert judged(services=[unused_service("sqs")])["unused_actions"] == 0


# --- kinds and exemptions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "days", "expected"),
    [
        ("service-linked role", 200, ("idle", "keep", "AWS_OWNS")),
        ("bootstrap role", 200, ("idle", "keep", "BOOTSTRAP")),
        ("break-glass", 200, ("idle", "keep", "BREAK_GLASS")),
        ("break-glass", 60, ("used", "review", "BREAK_GLASS_USED")),
        ("Identity Center role", 155, ("idle", "review", "IDENTITY_CENTER_IDLE")),
        ("Identity Center role", 5, ("used", "keep", "USED")),
    ],
)
def test_kinds_that_are_not_to_be_touched(
    kind: str, days: int, expected: tuple[str, str, str]
) -> None:
    found = judged(kind=kind, role_last_used_at=ago(days))

    assert said(found) == expected
    assert found["plans"] == []
    if expected[2] in {"IDENTITY_CENTER_IDLE", "BREAK_GLASS_USED"}:
        assert found["reasons"][0]["values"]["days"] == days


def test_break_glass_whose_use_nobody_knows_is_not_kept_unseen() -> None:
    found = judged(kind="break-glass", told=None, role_last_used_at=None)

    assert said(found) == ("unknown", "review", "USE_UNKNOWN")


def exempt(expires: str) -> dict[str, Any]:
    return {"exemptions": [{"principal": "arn:aws:iam::*:role/app/*", "owner": "ops@example.com",
                            "reason": "standby", "expires": expires}]}  # fmt: skip


def test_an_exemption_holds_to_its_last_day() -> None:
    found = judged(role_last_used_at=ago(180), settings=exempt("2026-11-01"))

    assert said(found) == ("idle", "keep", "EXEMPT")
    assert found["exemption"] == {
        "owner": "ops@example.com", "reason": "standby", "expires": "2026-11-01",
    }  # fmt: skip
    assert found["reasons"][0]["values"] == found["exemption"]
    assert found["plans"] == []


def test_an_exemption_that_is_over_is_noted() -> None:
    found = judged(role_last_used_at=ago(180), settings=exempt("2026-10-31"))

    assert said(found) == ("idle", "disable", "IDLE")
    assert values(found, "EXEMPTION_EXPIRED") == {
        "owner": "ops@example.com", "expires": "2026-10-31",
    }  # fmt: skip
    assert found["exemption"] is None


def test_a_rule_of_the_settings_speaks_in_its_own_words() -> None:
    rules = [{"when": {"principal": ROLE}, "class": "review", "reason": "ask\nOrders"}]

    found = judged(settings={"rules": rules})

    assert said(found) == ("used", "review", "RULE")
    assert found["reasons"][0]["values"] == {"text": "ask Orders"}
    assert codes(found)[1] == "USED"


# --- seasons --------------------------------------------------------------------------------------


def test_what_was_used_in_the_same_weeks_a_year_ago_is_not_disabled() -> None:
    found = judged(role_last_used_at="2025-11-20T10:00:00Z")

    assert said(found) == ("idle", "review", "MAY_BE_SEASONAL")
    assert found["reasons"][0]["values"] == {
        "used_on": "2025-11-20", "expected": "2026-11-20", "decide_after": "2026-12-11",
    }  # fmt: skip
    assert found["plans"] == []
    assert counts_of([found], [], None)["unused_principals"] == 0


def test_earlier_months_tell_of_quarterly_use() -> None:
    # October was its month, and may be late.
    months = ["2026-01", "2026-04", "2026-07"]
    changes: dict[str, Any] = {"role_last_used_at": "2026-07-03T10:00:00Z"}

    assert judged(previous=row(used_months=months), **changes)["status"] == "idle"
    assert said(judged(previous=row(used_months=months), **changes))[2] == "MAY_BE_SEASONAL"
    # Another principal's months, though it has the name, say nothing.
    other = row(used_months=months, principal_id="AROAOTHER")
    assert said(judged(previous=other, **changes))[2] == "IDLE"


def test_a_seasonal_service_and_action_are_not_counted_as_unused() -> None:
    year_ago = "2025-11-20T10:00:00Z"
    services = [
        service_use("sqs", last_accessed_at=year_ago, used={"ListQueues": year_ago}, unused=[]),
        service_use("s3", used={"ListAllMyBuckets": ago(1), "CreateBucket": year_ago}, unused=[]),
        unused_service("sns"),
    ]

    found = judged(services=services)

    assert (found["unused_services"], found["unused_actions"]) == (1, 0)
    assert [each["what"] for each in found["seasons"]] == ["sqs", "s3:CreateBucket"]
    assert values(found, "SEASONAL_ACTIONS") == {"actions": "sqs, s3:CreateBucket"}
    assert said(found) == ("used", "keep", "USED")


def test_more_seasonal_services_than_a_row_lists_are_not_unused_either() -> None:
    year_ago = "2025-11-20T10:00:00Z"
    services = [
        service_use(f"x{n:03}", last_accessed_at=year_ago, used={}, unused=None)
        for n in range(MAX_SEASONS + 20)
    ]

    found = judged(services=[*services, unused_service("sns")])

    assert (len(found["seasons"]), found["unused_services"]) == (MAX_SEASONS, 1)


# --- disabling, deleting --------------------------------------------------------------------------


def month_later(found: PrincipalRowJson, months: int = 1, **changes: Any) -> PrincipalRowJson:
    as_of = AS_OF + timedelta(days=31 * months)
    return classify(
        facts(**changes), last_accessed(), None, found, terms(),
        period=f"{as_of:%Y-%m}", as_of=as_of,
    )  # fmt: skip


def test_idle_then_disabled_then_deleted() -> None:
    idle: dict[str, Any] = {"role_last_used_at": ago(100)}
    disabled = {**idle, "disabled_by": "inline:PareDisabled"}

    first = judged(**idle)
    second = month_later(first, 1, **disabled)
    third = month_later(second, 2, **disabled)
    fourth = month_later(third, 3, **disabled)

    assert said(first) == ("idle", "disable", "IDLE")
    assert said(second) == ("idle", "disable", "DISABLED_WAITING")
    assert second["reasons"][0]["values"] == {
        "how": "inline:PareDisabled", "disabled_on": "2026-12-02", "delete_on": "2027-01-31",
    }  # fmt: skip
    assert said(third)[1] == "disable"
    assert said(fourth) == ("idle", "delete", "DISABLED_DELETE_DUE")
    plan = fourth["plans"][0]
    assert (plan["announced_on"], plan["disabled_on"], plan["delete_on"]) == (
        "2026-11-01", "2026-12-02", "2027-01-31",
    )  # fmt: skip
    assert [each["plans"][0]["times_announced"] for each in (first, second, third, fourth)] == [
        1, 2, 3, 4,
    ]  # fmt: skip


def test_used_again_the_plan_is_dropped() -> None:
    first = judged(role_last_used_at=ago(100))
    as_of = AS_OF + timedelta(days=31)

    again = month_later(first, 1, role_last_used_at=format_time(as_of - timedelta(days=2)))

    assert (again["class"], again["plans"]) == ("keep", [])


def test_who_was_disabled_and_is_missed_is_for_review() -> None:
    found = judged(disabled_by="AWSDenyAll", role_last_used_at=ago(5))

    assert said(found) == ("used", "review", "DISABLED_AND_USED")
    assert found["plans"] == []


def test_a_rerun_of_the_month_changes_nothing() -> None:
    first = judged(role_last_used_at=ago(100))

    again = judged(role_last_used_at=ago(100), previous=first)

    assert again["plans"] == first["plans"]


def test_unused_keys_and_passwords_of_somebody_used_have_plans() -> None:
    keys = [
        access_key("AKIAOLD", created_at=ago(400), last_used_at=ago(100)),
        access_key("AKIANEVER", created_at=ago(40), last_used_at=None),
    ]
    creds = credentials(
        password_last_used_at=ago(100), access_keys=keys, mfa_active=False,
    )  # fmt: skip

    found = judged(USER, services=[service_use("s3")], credentials=creds)

    assert said(found) == ("used", "review", "CREDENTIAL_ISSUES")
    assert found["reasons"][0]["values"] == {"count": 5}
    assert [(each["code"], each["values"]) for each in found["issues"]] == [
        ("KEY_IDLE", {"number": 1, "days": 100}),
        ("KEY_NEVER_USED", {"number": 2, "days": 40}),
        ("KEY_OLD", {"number": 1, "days": 400}),
        ("NO_MFA", {}),
        ("PASSWORD_IDLE", {"days": 100}),
    ]
    assert [plan["what"] for plan in found["plans"]] == [
        "access key 1", "access key 2", "password",
    ]  # fmt: skip


def test_of_more_keys_than_the_report_tells_of_nothing_is_known() -> None:
    old = {"created_at": ago(900), "last_used_at": None}
    keys = [access_key(f"A{n}", **old, is_active=n == 3) for n in (1, 2, 3)]
    found = judged(
        USER, credentials=credentials(password_enabled=False, password_last_used_at=None,
                                      access_keys=keys, additional="1 access key"),
    )  # fmt: skip

    assert said(found) == ("unknown", "review", "USE_UNKNOWN")
    assert found["last_use"]["unknown"] == ["access key"]
    assert [each["code"] for each in found["issues"]] == ["KEY_OLD"]


def test_a_key_made_or_enabled_a_short_time_ago_is_not_idle() -> None:
    keys = [access_key(created_at=ago(10), last_used_at=None),
            access_key("AKIA2", created_at=ago(10), last_used_at=ago(200))]  # fmt: skip

    found = judged(USER, credentials=credentials(access_keys=keys))

    assert (found["issues"], found["plans"]) == ([], [])


def test_the_keys_of_whoever_is_exempt_have_no_plan() -> None:
    keys = [access_key(created_at=ago(400), last_used_at=ago(100))]
    settings = {"exemptions": [{"principal": USER, "owner": "a", "reason": "b",
                                "expires": "2027-01-01"}]}  # fmt: skip

    found = judged(USER, credentials=credentials(access_keys=keys), settings=settings)

    assert [each["code"] for each in found["issues"]] == ["KEY_IDLE", "KEY_OLD"]
    assert found["plans"] == []


@pytest.mark.parametrize(("days", "codes_of_issues"), [(90, []), (91, ["KEY_IDLE"])])
def test_a_key_is_idle_after_the_last_day(days: int, codes_of_issues: list[str]) -> None:
    keys = [access_key(created_at=ago(200), last_used_at=ago(days))]

    found = judged(USER, credentials=credentials(access_keys=keys))

    assert [each["code"] for each in found["issues"]] == codes_of_issues


def test_a_key_of_the_same_weeks_a_year_ago_has_no_plan() -> None:
    keys = [access_key(created_at=ago(400), last_used_at="2025-11-20T08:00:00Z")]

    found = judged(USER, credentials=credentials(access_keys=keys))

    assert found["plans"] == []
    assert [each["what"] for each in found["seasons"]] == ["access key 1"]


def test_a_planned_key_that_was_switched_off_is_to_be_deleted_later() -> None:
    key = access_key(created_at=ago(200), last_used_at=ago(150))
    first = judged(USER, credentials=credentials(access_keys=[key]))
    off = {**key, "is_active": False}

    second = classify(
        facts(USER, credentials=credentials(access_keys=[off])), last_accessed(), None, first,
        terms(), period="2026-12", as_of=AS_OF + timedelta(days=30),
    )  # fmt: skip

    assert [plan["what"] for plan in first["plans"]] == ["access key 1"]
    plan = second["plans"][0]
    assert (plan["disabled_on"], plan["delete_on"]) == ("2026-12-01", "2027-01-30")
    # A key that somebody switched off by themselves has no date of ours.
    assert judged(USER, credentials=credentials(access_keys=[off]))["plans"] == []


# --- trust, root, change --------------------------------------------------------------------------


def test_trust_is_an_issue_by_whom_it_names() -> None:
    outside = [
        {"account_id": "999999999999", "external_id": True, "conditions": []},
        {"account_id": "888888888888", "external_id": False, "conditions": []},
    ]

    found = judged(trust=trust(outside=outside, is_public=True, unknown=["AROAGONE"]))

    assert said(found) == ("used", "review", "PUBLIC_TRUST")
    assert [(each["code"], each["values"]) for each in found["issues"]] == [
        ("OUTSIDE_TRUST", {"account": "999999999999"}),
        ("OUTSIDE_TRUST_WITHOUT_EXTERNAL_ID", {"account": "888888888888"}),
        ("PUBLIC_TRUST", {}),
        ("UNKNOWN_TRUST", {"principal": "AROAGONE"}),
    ]
    assert counts_of([found], [], None)["trusts_outside"] == 1


def test_what_aws_owns_has_no_issues() -> None:
    assert judged(kind="service-linked role", owner=None)["issues"] == []
    assert judged(kind="Identity Center role", owner=None)["issues"] == []
    assert judged(owner=None)["issues"] == [{"code": "NO_OWNER", "values": {}}]
    assert judged(owner=None)["owner_shown"] == "security@example.com"


def test_root_users() -> None:
    keys = [access_key(None, is_active=False, last_used_at=ago(3)), access_key(None)]
    found = root_issues(root_user(mfa_active=False, access_keys=keys), idle_days=90, as_of=AS_OF)

    assert [(each["code"], each["values"]) for each in found] == [
        ("ROOT_KEY", {"number": 2}),
        ("ROOT_NO_MFA", {}),
        ("ROOT_USED", {"date": "2026-10-31", "days": 0}),
    ]
    assert root_issues(root_user(), idle_days=90, as_of=AS_OF) == []
    assert root_issues(None, idle_days=90, as_of=AS_OF) == []


def test_change_against_last_month() -> None:
    same = judged(is_first=True)

    assert same["change"] is None
    assert judged()["change"] == "new"
    assert judged(previous=same)["change"] == "same"
    changed = judged(previous=same, owner=None)
    assert (changed["change"], changed["changes"]) == ("changed", ["class", "owner"][1:])
    old = judged(previous={**same, "definition_version": 1})
    assert (old["change"], old["changes"]) == (None, [])


def test_a_role_made_anew_under_its_name_is_another_one() -> None:
    before = row(principal_id="AROABEFORE", plans=[{
        "what": "principal", "announced_on": "2026-10-01", "disable_on": "2026-10-31",
        "disabled_on": None, "delete_on": None, "times_announced": 1,
    }], used_months=["2026-01"], used_services_months={"sqs": ["2026-01"]})  # fmt: skip

    found = judged(previous=before, role_last_used_at=ago(100))

    assert "RECREATED" in codes(found)
    assert found["change"] == "new"
    assert found["plans"][0]["announced_on"] == "2026-11-01"
    assert found["used_months"] == ["2026-07"]
    assert found["used_services_months"] == {}


def test_months_of_a_service_are_carried_while_last_accessed_is_unknown() -> None:
    before = row(used_months=["2025-08", "2026-09"], used_services_months={"s3": ["2026-09"]})

    found = judged(told=None, previous=before)

    assert found["used_months"] == ["2026-09", "2026-10"]
    assert found["used_services_months"] == {"s3": ["2026-09"]}


# --- refusals -------------------------------------------------------------------------------------

REFUSED = "2026-10-20T05:30:00Z"


def refusing(**changes: Any) -> ActivityOfAccount:
    did = Did(denied={"secretsmanager:GetSecretValue": REFUSED}, **changes)
    return ActivityOfAccount({ROLE: did}, DAYS[0], DAYS[-1], frozenset(DAYS))


SECRETS = service_use("secretsmanager", last_accessed_at=REFUSED,
                      used={"GetSecretValue": REFUSED}, unused=[])  # fmt: skip


def test_a_role_that_was_refused_everything_is_idle() -> None:
    found = judged(services=[SECRETS], logs=refusing(), role_last_used_at=REFUSED,
                   created_at=ago(240))  # fmt: skip

    assert said(found) == ("idle", "review", "IDLE_REFUSED")
    assert found["reasons"][0]["values"] == {"days": 90, "date": "2026-08-03"}
    assert values(found, "DENIED_ONLY") == {"services": "secretsmanager"}
    assert found["services"]["secretsmanager"]["denied_only"] is True
    assert found["unused_services"] == 0
    assert found["used_months"] == []


def test_use_that_only_the_logs_show_keeps_a_role() -> None:
    logs = refusing(allowed={"s3:GetObject": ago(3)}, months={"s3": {"2026-09", "2026-10"}})

    found = judged(logs=logs, role_last_used_at=None, services=[unused_service("s3")])

    assert said(found) == ("used", "keep", "USED")
    assert values(found, "SEEN_ONLY_IN_ACTIVITY") == {"what": "s3:GetObject"}
    assert found["used_months"] == ["2026-09", "2026-10"]
    assert found["unused_services"] == 0


# --- counts ---------------------------------------------------------------------------------------


def test_counts_have_every_name() -> None:
    counts = counts_of([], [], None)

    assert list(counts) == list(COUNTS)
    assert set(counts.values()) == {0}


def test_counts_add_up() -> None:
    keys = [access_key("A", created_at=ago(400), last_used_at=ago(100)),
            access_key("B", created_at=ago(40), last_used_at=None)]  # fmt: skip
    wide = [{"policy": "p", "group": None, "pattern": "*", "is_administrator": True}]
    rows = [
        judged(USER, credentials=credentials(access_keys=keys, mfa_active=False)),
        judged(role_last_used_at=ago(100), owner=None),
        judged(kind="service-linked role", role_last_used_at=ago(100), wide=wide),
        judged(told=None, wide=wide),
        judged(role_last_used_at=ago(100), settings=exempt("2027-01-01")),
        judged(role_last_used_at=ago(100), settings=exempt("2026-01-01"), previous=row()),
    ]

    counts = counts_of(rows, [row()], root_user(access_keys=[access_key(None)], mfa_active=False))

    assert counts == dict.fromkeys(COUNTS, 0) | {
        "principals": 6, "new": 5, "gone": 1, "changed": 1, "status_used": 2, "status_idle": 4,
        "class_keep": 2, "class_review": 1, "class_narrow": 1, "class_disable": 2,
        "unused_principals": 2, "old_access_keys": 1, "idle_access_keys": 2,
        "users_without_mfa": 1, "administrators": 1, "exempt": 1, "exemptions_expired": 1,
        "without_owner": 1, "last_accessed_unknown": 1, "root_access_keys": 1,
        "root_without_mfa": 1, "planned": 4,
    }  # fmt: skip


# --- properties -----------------------------------------------------------------------------------

moments = st.one_of(st.none(), st.integers(0, 800).map(ago))
services = st.lists(
    st.builds(
        lambda name, at: service_use(name, last_accessed_at=at, used={"X": at} if at else {},
                                     unused=["Y"] if at else None),
        st.sampled_from(["s3", "sqs", "ec2", "secretsmanager"]), moments,
    ),
    max_size=3, unique_by=lambda each: each["service"],
)  # fmt: skip
answers = st.one_of(
    st.none(), st.just(last_accessed(error="LastAccessedError")),
    services.map(lambda found: last_accessed(*found)),
)  # fmt: skip
access_keys = st.lists(
    st.builds(
        lambda at, made, on: access_key(last_used_at=at, created_at=made, is_active=on),
        moments, moments, st.booleans(),
    ),
    max_size=2,
)  # fmt: skip
users = st.builds(
    lambda creds, made: facts(USER, created_at=made, credentials=creds),
    st.one_of(st.none(), st.builds(
        lambda keys, at, on: credentials(access_keys=keys, password_last_used_at=at,
                                         password_enabled=on),
        access_keys, moments, st.sampled_from([True, False, None]),
    )),
    st.integers(-1, 4000).map(ago),
)  # fmt: skip
roles = st.builds(
    lambda at, made, kind, off: facts(role_last_used_at=at, created_at=made, kind=kind,
                                      disabled_by=off),
    moments, st.integers(-1, 4000).map(ago), st.sampled_from(get_args(PrincipalKind)),
    st.sampled_from([None, "AWSDenyAll"]),
)  # fmt: skip
did = st.builds(
    Did,
    allowed=st.dictionaries(st.sampled_from(["s3:GetObject", "sqs:ListQueues"]),
                            st.integers(0, 89).map(ago), max_size=1),
    denied=st.dictionaries(st.sampled_from(["secretsmanager:GetSecretValue", "ec2:RunInstances"]),
                           st.integers(0, 89).map(ago)),
)  # fmt: skip
activities = st.one_of(
    st.none(),
    st.builds(
        lambda found, read, missing: ActivityOfAccount(
            {ROLE: found, USER: found}, DAYS[0], DAYS[-1], frozenset(DAYS[:read]),
            missing=tuple(DAYS[:missing]),
        ),
        did, st.sampled_from([0, 90]), st.sampled_from([0, 0, 3]),
    ),
)  # fmt: skip
befores = st.one_of(
    st.none(),
    st.builds(
        lambda months, off: row(used_months=months, plans=[{
            "what": "principal", "announced_on": "2026-08-01", "disable_on": "2026-08-31",
            "disabled_on": off, "delete_on": off and "2026-10-31", "times_announced": 2,
        }], principal_id=facts()["principal_id"]),
        st.lists(st.integers(1, 12).map(lambda n: f"2026-{n:02d}"), max_size=4),
        st.sampled_from([None, "2026-09-01"]),
    ),
)  # fmt: skip
rules = st.lists(
    st.builds(
        lambda cls, flags: {"when": {"principal": "*", "flags": flags}, "class": cls,
                            "reason": "x"},
        st.sampled_from(CLASSES), st.lists(st.sampled_from(FLAGS), max_size=1),
    ),
    max_size=2,
)  # fmt: skip
cases = st.fixed_dictionaries({
    "facts": st.one_of(users, roles), "last_accessed": answers, "activity": activities,
    "previous": befores, "terms": rules.map(lambda found: terms(rules=found)),
})  # fmt: skip


def of_case(case: dict[str, Any]) -> PrincipalRowJson:
    return classify(**case, period=PERIOD, as_of=AS_OF)


@given(cases)
@settings(max_examples=300, deadline=None)
def test_nobody_is_disabled_who_may_be_in_use(case: dict[str, Any]) -> None:
    found = of_case(case)

    assert found["status"] in get_args(Status)
    assert found["class"] in get_args(Class)
    if found["class"] in {"disable", "delete"}:
        assert found["last_use"]["unknown"] == []
        assert found["status"] in {"idle", "never used"}
        assert [plan["what"] for plan in found["plans"]] == ["principal"]
        at = found["last_use"]["at"]
        assert at is None or at < ago(90)
        # Nothing anybody recorded lies in the idle days, but for proven refusals.
        role_at = case["facts"]["role_last_used_at"]
        denied = "DENIED_ONLY" in codes(found)
        assert role_at is None or role_at < ago(90) or denied
        for service in (case["last_accessed"] or {}).get("services") or ():
            used_at = service["last_accessed_at"]
            shown = found["services"].get(service["service"])
            is_denied = shown is not None and shown["denied_only"]
            assert used_at is None or used_at < ago(90) or is_denied
    assert found["status"] != "never used" or found["last_use"]["at"] is None


@given(cases)
@settings(max_examples=60, deadline=None)
def test_the_same_input_gives_the_same_bytes(case: dict[str, Any]) -> None:
    first = json.dumps(of_case(case), sort_keys=True)

    assert json.dumps(of_case(json.loads(json.dumps(case)) if case["activity"] is None else case),
                      sort_keys=True) == first  # fmt: skip


@given(cases, st.integers(0, 800))
@settings(max_examples=200, deadline=None)
def test_one_more_use_never_makes_a_class_graver_towards_deletion(
    case: dict[str, Any], days: int
) -> None:
    case["previous"] = None
    before = of_case(case)
    more = json.loads(json.dumps(case["facts"]))
    if more["trust"] is None:
        if more["credentials"] is None or more["credentials"]["password_last_used_at"]:
            return
        if more["credentials"]["password_enabled"] is None:
            return  # unknown: a use would tell that the source answers, which is more than a use
        more["credentials"]["password_last_used_at"] = ago(days)
    elif more["role_last_used_at"]:
        return
    else:
        more["role_last_used_at"] = ago(days)
    after = of_case({**case, "facts": more})

    if after["class"] in {"disable", "delete"}:
        assert CLASSES.index(before["class"]) <= CLASSES.index(after["class"])
    if days <= 90:
        assert after["status"] == "used" or "DENIED_ONLY" in codes(after)


# --- what the reports do not tell -----------------------------------------------------------------


def test_a_user_without_a_known_credential_is_announced_before_it_counts_as_disabled() -> None:
    # It may work with an SSH key, or a Bedrock key, which the credential report leaves out.
    changes: dict[str, Any] = {
        "created_at": ago(500),
        "credentials": credentials(
            password_enabled=False, password_last_used_at=None, access_keys=[]
        ),
        "disabled_by": NO_CREDENTIAL,
    }

    first = judged(USER, **changes)
    later = judged(USER, **changes, previous={**first, "period": "2026-10"})

    assert said(first) == ("idle", "disable", "IDLE_BEYOND_RECORDS")
    assert [plan["disabled_on"] for plan in first["plans"]] == [None]
    assert said(later) == ("idle", "disable", "DISABLED_WAITING")
    assert [plan["disabled_on"] for plan in later["plans"]] == ["2026-11-01"]


def test_a_user_whose_first_credentials_are_gone_is_not_said_to_be_never_used() -> None:
    found = judged(
        USER,
        created_at=ago(900),
        credentials=credentials(
            password_enabled=False,
            password_last_used_at=None,
            access_keys=[access_key(created_at=ago(120), last_used_at=None)],
        ),
    )

    assert said(found)[2] == "IDLE_BEYOND_RECORDS"


def test_who_trusts_an_outside_account_without_an_external_id_is_for_review() -> None:
    outside: Any = [{"account_id": "999988887777", "external_id": False, "conditions": []}]

    found = judged(
        kind="cross-account role", role_last_used_at=ago(3), trust=trust(outside=outside)
    )

    assert said(found) == ("used", "review", "OUTSIDE_WITHOUT_EXTERNAL_ID")
    assert found["reasons"][0]["values"] == {"accounts": "999988887777"}


def test_a_role_that_everybody_at_a_provider_may_assume_is_for_review() -> None:
    provider = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"

    found = judged(
        role_last_used_at=ago(3), trust=trust(federated=[provider], federated_open=[provider])
    )

    assert said(found) == ("used", "review", "FEDERATED_OPEN")
    assert "FEDERATED_WITHOUT_SUBJECT" in [each["code"] for each in found["issues"]]
