"""The newest use of all sources, and what is proved to be refused only."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pare.clock import format_time
from pare.cloudtrail.activity import Activity, Use, UseKey
from pare.cloudtrail.principals import Principal
from pare.inventory.account_activity import ActivityOfAccount, ActivityReading, Did
from pare.inventory.uses import Uses, uses_of
from pare.policy.coverage import LEFT_OUT_BY_CHOICE
from tests.unit.inventory.row_builders import (
    ACCOUNT,
    AS_OF,
    ROLE,
    USER,
    access_key,
    credentials,
    facts,
    last_accessed,
    service_use,
    trust,
    unused_service,
)

# The 90 days before 2026-11-01.
DAYS = [f"{(AS_OF - timedelta(days=n)).date()}" for n in range(90, 0, -1)]
REFUSED = "2026-10-20T05:30:00Z"


def activity(did: Did | None = None, **changes: Any) -> ActivityOfAccount:
    found = ActivityOfAccount(
        by_arn={} if did is None else {ROLE: did},
        first=DAYS[0],
        last=DAYS[-1],
        read=frozenset(DAYS),
    )
    return replace(found, **changes)


def refused(**changes: Any) -> Did:
    did = Did(denied={"secretsmanager:GetSecretValue": REFUSED})
    for name, value in changes.items():
        setattr(did, name, value)
    return did


def secrets(**changes: Any) -> Any:
    found = {"last_accessed_at": REFUSED, "used": {"GetSecretValue": REFUSED},
             "unused": ["DeleteSecret"], "tracked": 2}  # fmt: skip
    return service_use("secretsmanager", **{**found, **changes})


def uses(
    logs: ActivityOfAccount | None = None,
    *services: Any,
    arn: str = ROLE,
    idle_days: int = 90,
    error: str | None = None,
    disabled_on: str | None = None,
    **changes: Any,
) -> Uses:
    return uses_of(
        facts(arn, **changes), last_accessed(*services, arn=arn, error=error), logs,
        as_of=AS_OF, idle_days=idle_days, disabled_on=disabled_on,
    )  # fmt: skip


# --- the newest use -------------------------------------------------------------------------------


def test_every_source_of_a_role_is_asked_and_the_newest_use_counts() -> None:
    logs = activity(Did(allowed={"sqs:ListQueues": "2026-10-30T09:00:00Z"}))

    last = uses(
        logs, service_use("s3", last_accessed_at="2026-10-29T10:00:00Z", used={}, unused=None),
        role_last_used_at="2026-10-28T10:00:00Z",
    ).last  # fmt: skip

    assert last == {
        "at": "2026-10-30T09:00:00Z",
        "source": "activity",
        "what": "sqs:ListQueues",
        "sources": {
            "activity": "2026-10-30T09:00:00Z",
            "role": "2026-10-28T10:00:00Z",
            "service": "2026-10-29T10:00:00Z",
        },
        "unknown": [],
        "since": "2025-09-27T06:10:00Z",  # 400 days before the job
    }


def test_a_users_keys_and_password_are_asked_and_each_key_has_its_number() -> None:
    keys = [access_key(last_used_at=None), access_key("AKIA2", last_used_at="2026-07-02T08:00:00Z")]
    creds = credentials(access_keys=keys, password_last_used_at="2026-07-01T08:00:00Z")

    last = uses(None, unused_service("s3"), arn=USER, credentials=creds).last

    assert (last["at"], last["source"], last["what"]) == (
        "2026-07-02T08:00:00Z",
        "access key",
        "access key 2",
    )
    assert last["sources"] == {
        "access key": "2026-07-02T08:00:00Z",
        "password": "2026-07-01T08:00:00Z",
        "service": None,
    }
    assert last["since"] == "2025-09-27T06:00:00Z", "keys of before may have been deleted"


def test_who_has_the_first_key_still_is_known_since_reports_tell_of_use() -> None:
    made = facts(USER)["created_at"]
    creds = credentials(access_keys=[access_key(created_at=made, last_used_at=None)])

    last = uses(None, unused_service("s3"), arn=USER, credentials=creds).last

    assert last["since"] == "2018-05-23T21:08:00Z", "IAM lost sign-ins before"


def test_of_uses_on_one_day_the_source_is_named_that_tells_most() -> None:
    creds = credentials(password_last_used_at="2026-06-23T08:00:00Z")
    service = service_use("s3", last_accessed_at="2026-06-23T09:00:00Z", used={}, unused=None)

    last = uses(None, service, arn=USER, credentials=creds).last

    assert (last["at"], last["source"]) == ("2026-06-23T09:00:00Z", "password")


def test_a_service_that_was_used_a_moment_later_on_another_day_is_named() -> None:
    creds = credentials(password_last_used_at="2026-06-23T23:59:00Z")
    service = service_use("s3", last_accessed_at="2026-06-24T00:01:00Z", used={}, unused=None)

    last = uses(None, service, arn=USER, credentials=creds).last

    assert (last["at"], last["source"], last["what"]) == ("2026-06-24T00:01:00Z", "service", "s3")


@pytest.mark.parametrize("answer", [None, "failed"])
def test_last_accessed_information_that_is_missing_is_unknown(answer: str | None) -> None:
    told = None if answer is None else last_accessed(error="LastAccessedError")

    found = uses_of(facts(role_last_used_at=None), told, None, as_of=AS_OF, idle_days=90)

    assert found.services is None
    assert found.last["unknown"] == ["service"]
    assert found.last["since"] is None
    assert "service" not in found.last["sources"]


def test_a_user_of_whom_the_report_says_nothing_has_two_unknown_sources() -> None:
    last = uses(None, arn=USER, credentials=None).last

    assert last["unknown"] == ["access key", "password"]
    assert last["since"] is None


def test_a_report_made_later_than_the_month_began_reaches_less_far_back() -> None:
    told = last_accessed()
    told["generated_at"] = format_time(AS_OF + timedelta(days=3))

    last = uses_of(facts(), told, None, as_of=AS_OF, idle_days=90).last

    assert last["since"] == "2025-09-30T06:00:00Z"


def test_digests_that_are_all_damaged_are_an_unknown_source_and_some_are_not() -> None:
    damaged = activity(read=frozenset(), unreadable=tuple(DAYS))
    some = activity(read=frozenset(DAYS[1:]), unreadable=(DAYS[0],))

    assert uses(damaged).last["unknown"] == ["activity"]
    assert uses(some).last["unknown"] == []
    assert uses(some).last["sources"]["activity"] is None
    assert "activity" not in uses(None).last["sources"]


def test_what_only_the_logs_show_is_a_use_and_said_to_be_from_there() -> None:
    logs = activity(Did(allowed={"s3:GetObject": "2026-10-30T09:00:00Z"}))

    found = uses(logs, unused_service("s3"), role_last_used_at=None)

    assert found.seen_only_in_activity == "s3:GetObject"
    assert found.services is not None
    assert found.services["s3"].used_at == "2026-10-30T09:00:00Z"
    assert uses(logs, role_last_used_at="2026-10-29T09:00:00Z").seen_only_in_activity == ""


def test_a_call_of_no_known_action_is_a_use() -> None:
    logs = activity(Did(unmapped={"new.amazonaws.com:Thing": "2026-10-30T09:00:00Z"}))

    assert uses(logs, role_last_used_at=None).last["at"] == "2026-10-30T09:00:00Z"


def test_an_action_the_logs_show_is_not_among_the_unused() -> None:
    logs = activity(Did(allowed={"secretsmanager:DeleteSecret": "2026-10-21T05:30:00Z"}))

    found = uses(logs, secrets()).services

    assert found is not None
    assert found["secretsmanager"].unused == []
    assert sorted(found["secretsmanager"].actions) == ["DeleteSecret", "GetSecretValue"]


# --- refusals -------------------------------------------------------------------------------------


def test_a_service_whose_calls_were_all_refused_was_not_used() -> None:
    found = uses(activity(refused()), secrets(), role_last_used_at=REFUSED)

    assert found.services is not None
    service = found.services["secretsmanager"]
    assert (service.denied_only, service.used_at, service.last_accessed_at) == (True, None, REFUSED)
    assert service.unused == ["DeleteSecret", "GetSecretValue"]
    assert found.denied == ["secretsmanager"]
    assert found.last["at"] is None
    assert found.last["sources"] == {"activity": None, "role": None, "service": None}
    assert found.last["since"] == "2026-08-03T00:00:00Z", "an older use may lie behind the refusals"


def test_an_older_use_of_another_action_stays_a_use() -> None:
    older = "2026-05-01T05:30:00Z"
    service = secrets(used={"GetSecretValue": REFUSED, "DeleteSecret": older}, unused=[])

    found = uses(activity(refused()), service, role_last_used_at=REFUSED)

    assert (found.last["at"], found.last["what"]) == (older, "secretsmanager")


@pytest.mark.parametrize(
    ("did", "changes"),
    [
        pytest.param(refused(allowed={"secretsmanager:ListSecrets": DAYS[0] + "T01:00:00Z"}), {},
                     id="one call of the service was allowed"),
        pytest.param(refused(unmapped={"x.amazonaws.com:Y": REFUSED}), {},
                     id="a call of no known action may be of the service"),
        pytest.param(refused(denied={"secretsmanager:GetSecretValue": "2026-10-20T05:00:00Z"}), {},
                     id="the last access came half an hour after the last refusal"),
        pytest.param(refused(denied={"sqs:SendMessage": REFUSED}), {},
                     id="the refusals are of another service"),
        pytest.param(Did(), {}, id="the logs do not have the access at all"),
        pytest.param(refused(), {"missing": (DAYS[5],)}, id="a day is missing"),
        pytest.param(refused(), {"unreadable": (DAYS[5],)}, id="a day is damaged"),
        pytest.param(refused(), {"unread_files": 1}, id="a log file was not fetched"),
        pytest.param(refused(), {"partial": (DAYS[5],)}, id="a record is unreadable"),
        pytest.param(refused(), {"reads_recorded": False}, id="the trail may leave reads out"),
        pytest.param(refused(), {"services_left_out": ("secretsmanager",)}, id="left out"),
        pytest.param(refused(), {"first": "2026-09-01"}, id="the window is shorter than idle_days"),
        pytest.param(refused(), {"last": "2026-10-19"}, id="the access is after the window"),
    ],
)  # fmt: skip
def test_what_is_not_proved_to_be_refused_is_a_use(did: Did, changes: dict[str, Any]) -> None:
    found = uses(activity(did, **changes), secrets(), role_last_used_at=REFUSED)

    assert found.denied == []
    assert found.last["at"] == REFUSED


def test_days_after_the_last_access_need_not_be_there() -> None:
    logs = activity(refused(), missing=tuple(day for day in DAYS if day > "2026-10-20"))

    assert uses(logs, secrets(), role_last_used_at=REFUSED).denied == ["secretsmanager"]


def test_an_access_shortly_before_a_missing_day_may_have_come_with_others() -> None:
    late = "2026-10-20T20:00:00Z"
    logs = activity(refused(denied={"secretsmanager:GetSecretValue": late}),
                    missing=("2026-10-21",))  # fmt: skip

    found = uses(logs, secrets(last_accessed_at=late, used={}), role_last_used_at=late)

    assert found.denied == []


@pytest.mark.parametrize("service", ["s3", "sqs", "dynamodb", "rds"])
def test_a_service_with_actions_that_a_trail_may_not_show_is_never_proved_refused(
    service: str,
) -> None:
    logs = activity(refused(denied={f"{service}:ListThings": REFUSED}))
    used = service_use(service, last_accessed_at=REFUSED, used={}, unused=None)

    found = uses(logs, used, role_last_used_at=REFUSED)

    assert found.denied == []
    assert found.last["at"] == REFUSED


def test_role_last_used_is_a_use_where_a_service_may_have_been_used_unseen() -> None:
    found = uses(activity(refused()), secrets(), unused_service("s3"), role_last_used_at=REFUSED)

    assert found.services is not None
    assert found.services["secretsmanager"].denied_only
    assert found.last["sources"]["role"] == REFUSED


def test_a_role_without_policies_of_its_own_is_let_in_by_those_of_resources() -> None:
    assert uses(activity(refused()), role_last_used_at=REFUSED).last["at"] == REFUSED


def test_role_last_used_is_a_use_where_another_service_was_allowed() -> None:
    did = refused(allowed={"kms:Decrypt": "2026-09-01T00:00:00Z"})

    found = uses(activity(did), secrets(), role_last_used_at=REFUSED)

    assert found.last["sources"]["role"] == REFUSED


@pytest.mark.parametrize(
    ("disabled_on", "is_missed"), [("2026-10-20", True), ("2026-10-21", False), (None, False)]
)
def test_who_was_disabled_and_still_asks_is_missed_and_that_counts_as_use(
    disabled_on: str | None, is_missed: bool
) -> None:
    found = uses(
        activity(refused()), secrets(), role_last_used_at=REFUSED, disabled_by="AWSDenyAll",
        disabled_on=disabled_on,
    )  # fmt: skip

    assert (found.denied == []) is is_missed
    assert found.last["at"] == (REFUSED if is_missed else None)


# --- reading digests ------------------------------------------------------------------------------

ID = facts()["principal_id"]


def day_of(*uses: tuple[Principal, UseKey, Use], unmapped: Any = ()) -> Activity:
    found = Activity()
    for principal, key, use in uses:
        found.of(principal).group(key).add("*", use)
    for principal, operation, use in unmapped:
        found.of(principal).add_unmapped(operation, use)
    return found


def reading(*days: tuple[str, Activity], ids: dict[str, str] | None = None) -> ActivityOfAccount:
    reader = ActivityReading({ROLE: ID} if ids is None else ids)
    for day, found in days:
        reader.add(day, found)
    return reader.ended(
        DAYS, unreadable=[DAYS[3]], complete={DAYS[4], *DAYS[10:]}, unread_files=0
    )  # fmt: skip


def test_days_are_added_up_by_action_with_the_last_time_and_the_months() -> None:
    principal = Principal(ROLE, ID, "AssumedRole", ACCOUNT)
    listed, deleted = UseKey("sqs:ListQueues", "", "allowed"), UseKey("sqs:Purge", "", "denied")
    logs = reading(
        (DAYS[0], day_of((principal, listed, Use(2, first="2026-08-03T01:00:00Z",
                                                 last="2026-08-03T02:00:00Z")))),
        (DAYS[1], day_of((principal, deleted, Use(1, first="2026-08-04T01:00:00Z",
                                                  last="2026-08-04T01:00:00Z")),
                         (principal, listed, Use(1)))),
        (DAYS[40], day_of(unmapped=[
            (principal, "sqs.amazonaws.com:New", Use(1, first=f"{DAYS[40]}T01:00:00Z",
                                                     last=f"{DAYS[40]}T01:00:00Z")),
            (principal, "sqs.amazonaws.com:Other", Use(1, errors={"AccessDenied": 1})),
        ])),
    )  # fmt: skip

    assert logs.of(ROLE) == Did(
        allowed={"sqs:ListQueues": "2026-08-04T00:00:00Z"},  # a record without a time
        denied={"sqs:Purge": "2026-08-04T01:00:00Z"},
        unmapped={"sqs.amazonaws.com:New": "2026-09-12T01:00:00Z"},
        months={"sqs": {"2026-08"}, "": {"2026-09"}},
    )
    assert logs.missing == (DAYS[2], *DAYS[5:10])
    assert logs.unreadable == (DAYS[3],)
    assert logs.read == {DAYS[0], DAYS[1], DAYS[40]}


def test_quiet_days_before_an_accounts_first_digest_may_be_of_another_trail() -> None:
    reader = ActivityReading({ROLE: ID})
    reader.add(DAYS[70], Activity())
    logs = reader.ended(DAYS, unreadable=[], complete=set(DAYS), unread_files=0)

    assert logs.missing == tuple(DAYS[:70])
    assert not logs.is_whole(DAYS[80])


def test_a_namesake_that_was_deleted_is_another_principal() -> None:
    key = UseKey("sqs:ListQueues", "", "allowed")
    before = Principal(ROLE, "AROABEFORE", "AssumedRole", ACCOUNT)

    assert reading((DAYS[0], day_of((before, key, Use(1))))).of(ROLE) == Did()


def test_a_session_whose_roles_path_is_unknown_belongs_to_the_role_of_that_name() -> None:
    key = UseKey("sqs:ListQueues", "", "allowed")
    session = Principal(f"arn:aws:sts::{ACCOUNT}:assumed-role/OrdersApi", ID, "AssumedRole",
                        ACCOUNT)  # fmt: skip

    assert "sqs:ListQueues" in reading((DAYS[0], day_of((session, key, Use(1))))).of(ROLE).allowed


def test_principals_of_other_accounts_are_not_of_this_one() -> None:
    key = UseKey("sqs:ListQueues", "", "allowed")
    other = Principal("arn:aws:iam::444455556666:role/X", "AROAX", "AssumedRole", "444455556666")

    logs = reading((DAYS[0], day_of((other, key, Use(1)))))

    assert logs.by_arn == {}
    assert logs.reads_recorded, "it tells of the trail all the same"


def test_a_trail_without_reads_or_key_management_is_found_out() -> None:
    principal = Principal(ROLE, ID, "AssumedRole", ACCOUNT)
    write = day_of((principal, UseKey("sqs:CreateQueue", "", "allowed"), Use(1)))
    decrypt = day_of((principal, UseKey("kms:Decrypt", "", "denied"), Use(1)),
                     (principal, UseKey("sqs:ListQueues", "", "denied"), Use(1)))  # fmt: skip

    assert not reading((DAYS[0], write)).reads_recorded
    assert reading((DAYS[0], write)).services_left_out == LEFT_OUT_BY_CHOICE
    assert reading((DAYS[0], decrypt)).reads_recorded
    assert "kms" not in reading((DAYS[0], decrypt)).services_left_out


@pytest.mark.parametrize("kind", ["unreadable_records", "unreadable_files"])
def test_a_day_with_unreadable_parts_is_named(kind: str) -> None:
    found = Activity()
    getattr(found.totals, kind)["damaged"] = 2

    logs = reading((DAYS[0], found), (DAYS[1], Activity()))

    assert logs.partial == (DAYS[0],)


def test_the_trust_of_a_role_says_that_it_is_one() -> None:
    assert "role" in uses(None, trust=trust(services=[])).last["sources"]
