"""What was read, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pare.cli_proposals import Logs
from pare.cloudtrail.activity import Asked
from pare.policy.coverage import Recorded, activity_coverage, recorded
from tests.unit.policy.evidence_builders import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGION,
    activity,
    activity_of,
    principal,
    refused,
    use,
)

if TYPE_CHECKING:
    from pare.policy.coverage import ActivityCoverageJson, DaysJson
    from tests.unit.policy.evidence_builders import Made


def hours(*days: str) -> dict[str, set[str]]:
    return {ACCOUNT: {f"{day}T10:" for day in days}}


def coverage(*made: Made, **more: Any) -> ActivityCoverageJson:
    whole = activity_of({principal(): activity(*made)}, **more)
    return activity_coverage(whole, ACCOUNT, recorded(whole))


# --- The window ---


def test_without_a_window_asked_for_it_is_from_the_first_record_to_the_last() -> None:
    found = coverage(hours=hours("2026-11-01", "2026-11-03", "2026-11-04"))

    assert found["window_days"] == 4
    assert found["days_without_records"] == 1
    assert found["first_days_without_records"] == ["2026-11-02"]
    assert found["hours_with_records"] == 3


def test_the_window_asked_for_counts_though_nothing_was_recorded_at_its_ends() -> None:
    asked = {Asked("2026-10-30T00:00:00Z", "2026-11-03T12:00:00Z")}

    found = coverage(hours=hours("2026-11-01"), asked=asked)

    assert found["window_days"] == 5
    assert found["first_days_without_records"] == [
        "2026-10-30", "2026-10-31", "2026-11-02", "2026-11-03",
    ]  # fmt: skip
    assert found["asked"] == [{"since": "2026-10-30T00:00:00Z", "until": "2026-11-03T12:00:00Z"}]


def test_a_window_that_ends_at_midnight_ends_the_day_before() -> None:
    asked = {Asked("2026-11-01T00:00:00Z", "2026-11-03T00:00:00Z")}

    found = coverage(hours=hours("2026-11-01", "2026-11-02"), asked=asked)

    assert (found["window_days"], found["days_without_records"]) == (2, 0)


def test_files_that_were_read_whole_widen_the_window_of_others() -> None:
    asked = {Asked("2026-11-03T00:00:00Z", ""), Asked()}

    found = coverage(hours=hours("2026-11-01", "2026-11-02", "2026-11-03"), asked=asked)

    assert found["window_days"] == 3


def test_a_month_and_a_leap_day_are_counted() -> None:
    found = coverage(asked={Asked("2028-02-01T00:00:00Z", "2028-03-01T00:00:01Z")})

    assert found["window_days"] == found["days_without_records"] == 30
    assert len(found["first_days_without_records"]) == 20


def test_the_hours_of_other_accounts_say_nothing() -> None:
    found = coverage(hours={OTHER_ACCOUNT: {"2026-11-01T10:"}})

    assert (found["window_days"], found["hours_with_records"]) == (0, 0)


def test_days_that_are_known_to_be_quiet_are_not_missing() -> None:
    days: DaysJson = {
        "first": "2026-11-01", "last": "2026-11-05", "digest_count": 3, "missing": ["2026-11-04"],
        "quiet": ["2026-11-02"], "unreadable": ["2026-11-03"], "unread_files": 2,
    }  # fmt: skip

    found = activity_coverage(
        activity_of({}, hours=hours("2026-11-01", "2026-11-05")),
        ACCOUNT,
        recorded(activity_of({})),
        days=days,
    )

    assert found["first_days_without_records"] == ["2026-11-03", "2026-11-04"]
    assert found["days_without_records"] == 2
    assert found["unreadable_files"] == 2


# --- What a trail may leave out ---

CHANGES = [use(f"acme:Do{number}") for number in range(99)]


@pytest.mark.parametrize(
    ("made", "is_recorded"),
    [
        ([*CHANGES, use("s3:PutObject")], False),
        # Though it is little: nothing shows that reads are recorded.
        (CHANGES[:1], False),
        ([], False),
        ([*CHANGES, use("s3:ListAllMyBuckets")], True),
        # A refused read is a read that was recorded.
        ([*CHANGES, refused("ec2:DescribeInstances")], True),
        # What the catalogue does not know is not taken for a read.
        ([*CHANGES, use("acme:GetThing")], False),
    ],
)
def test_a_trail_without_reads_shows(made: list[Made], is_recorded: bool) -> None:
    assert coverage(*made)["reads_recorded"] is is_recorded


def test_a_service_that_nobody_ever_used_may_be_left_out_of_the_trail() -> None:
    many = [*CHANGES, use("s3:PutObject")]

    assert coverage(*many)["services_left_out"] == ["kms", "rds-data"]
    assert coverage(*many, use("kms:Decrypt", None))["services_left_out"] == ["rds-data"]
    assert coverage(*CHANGES[:1])["services_left_out"] == ["kms", "rds-data"]


def test_all_principals_count_together() -> None:
    shop, other = principal(), principal(f"arn:aws:iam::{ACCOUNT}:role/Other", "AROAOTHER")
    whole = activity_of({shop: activity(*CHANGES), other: activity(use("kms:Decrypt", None))})

    assert recorded(whole) == Recorded(False, ["rds-data"], (REGION,))


def test_each_account_may_have_a_trail_of_its_own() -> None:
    shop, other = (
        principal(),
        principal("arn:aws:iam::444455556666:role/Other", "AROAOTHER", account="444455556666"),
    )
    whole = activity_of({
        shop: activity(use("s3:PutObject")), other: activity(use("kms:ListKeys")),
    })  # fmt: skip

    assert recorded(whole).reads is True
    alone = recorded(whole, [whole.principals[shop]])
    assert (alone.reads, alone.left_out) == (False, ["kms", "rds-data"])
    assert Logs(whole).coverage(ACCOUNT)["reads_recorded"] is False
    assert Logs(whole).coverage("444455556666")["reads_recorded"] is True


def test_data_events_count_for_the_accounts_that_surely_have_them() -> None:
    shop, other = (
        principal(),
        principal("arn:aws:iam::444455556666:role/Other", "AROAOTHER", account="444455556666"),
    )
    whole = activity_of({
        shop: activity(use("s3:PutObject", regions=("us-east-1",))),
        other: activity(use("kms:ListKeys")),
    })  # fmt: skip
    whole.totals.data_events = {"s3.amazonaws.com": 1}
    logs = Logs(whole)

    assert logs.coverage(ACCOUNT)["data_events"] == ["s3.amazonaws.com"]
    assert logs.coverage("444455556666")["data_events"] == []
    assert logs.coverage(ACCOUNT)["regions"] == ["us-east-1"]


def test_of_one_principal_alone_nobody_can_tell() -> None:
    found = coverage(*CHANGES, use("s3:PutObject"), asked={Asked(principals=("someone",))})

    assert found["reads_recorded"] is None
    assert found["services_left_out"] is None


# --- Counts ---


def test_what_could_not_be_read_is_counted_and_named() -> None:
    of = activity_of({})
    of.totals.files, of.totals.bytes = 5, 100
    of.totals.unreadable_files = {"not gzip": 2, "not JSON": 1}
    of.totals.unreadable_records = {"no time": 4}
    of.totals.used = 6
    of.totals.data_events = {"s3.amazonaws.com": 3, "lambda.amazonaws.com": 1}
    for number in range(25):
        of.name_problem(f"file-{number:02}", "not gzip")

    found = activity_coverage(of, ACCOUNT, recorded(of))

    assert (found["files"], found["bytes"], found["records"]) == (5, 100, 10)
    assert (found["unreadable_files"], found["unreadable_records"]) == (3, 4)
    assert found["problem_files"] == [f"file-{number:02}" for number in range(20)]
    assert found["data_events"] == ["lambda.amazonaws.com", "s3.amazonaws.com"]
