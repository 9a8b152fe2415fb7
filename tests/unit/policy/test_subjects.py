"""Whose policies are proposed: users and roles, told apart and put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pare.policy.subjects import NO_POLICY, subjects_of
from tests.unit.policy.evidence_builders import (
    ACCOUNT,
    OTHER_ACCOUNT,
    ROLE,
    ROLE_ID,
    USER,
    activity,
    activity_of,
    principal,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.cloudtrail.activity import PrincipalActivity
    from pare.cloudtrail.principals import Principal
    from pare.policy.subjects import Subject, Subjects

SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/Shop"
PATHLESS = f"arn:aws:iam::{ACCOUNT}:role/Shop"
ELSEWHERE = f"arn:aws:iam::{ACCOUNT}:role/web/Shop"
EARLIER_ID = "AROAEARLIER"


def did(action: str) -> PrincipalActivity:
    return activity(use(action))


def subjects(
    found: Mapping[Principal, PrincipalActivity], ids: Mapping[str, str] | None = None
) -> Subjects:
    return subjects_of(activity_of(found), ids or {})


def actions(subject: Subject) -> list[str]:
    return sorted(key.action for key in subject.activity.groups)


def test_users_and_roles_are_found_by_their_arns() -> None:
    found = subjects({
        principal(): did("s3:A"),
        principal(USER, "AIDAEXAMPLE", "IAMUser"): did("s3:B"),
    })  # fmt: skip

    assert list(found.by_arn) == [ROLE, USER]
    assert found.by_arn[ROLE].arn.name == "Shop"
    assert found.by_arn[ROLE].is_path_known
    assert found.by_arn[ROLE].gone_ids == ()
    assert actions(found.by_arn[USER]) == ["s3:B"]
    assert found.others == {}


# --- Two unique ids under one ARN ---


def test_what_an_earlier_namesake_did_is_left_out_where_the_id_of_today_is_known() -> None:
    found = subjects(
        {principal(): did("s3:A"), principal(unique_id=EARLIER_ID): did("s3:B")}, {ROLE: ROLE_ID}
    ).by_arn[ROLE]

    assert actions(found) == ["s3:A"]
    assert found.gone_ids == (EARLIER_ID,)


def test_without_todays_id_both_count_and_neither_part_is_changed() -> None:
    mine, theirs = did("s3:A"), did("s3:B")

    found = subjects({principal(): mine, principal(unique_id=EARLIER_ID): theirs}).by_arn[ROLE]

    assert actions(found) == ["s3:A", "s3:B"]
    assert found.gone_ids == ()
    assert (len(mine.groups), len(theirs.groups)) == (1, 1)


def test_a_record_without_an_id_counts() -> None:
    found = subjects({principal(unique_id=""): did("s3:A")}, {ROLE: ROLE_ID}).by_arn[ROLE]

    assert actions(found) == ["s3:A"]


def test_a_principal_made_anew_that_did_nothing_yet_is_there_without_activity() -> None:
    found = subjects({principal(unique_id=EARLIER_ID): did("s3:A")}, {ROLE: ROLE_ID}).by_arn[ROLE]

    assert actions(found) == []
    assert found.gone_ids == (EARLIER_ID,)


# --- Sessions whose role's path is not recorded ---


def test_a_session_belongs_to_the_one_role_of_its_name_in_the_logs() -> None:
    found = subjects({principal(): did("s3:A"), principal(SESSION): did("s3:B")})

    assert list(found.by_arn) == [ROLE]
    assert actions(found.by_arn[ROLE]) == ["s3:A", "s3:B"]
    assert found.by_arn[ROLE].is_path_known


def test_a_session_belongs_to_the_one_role_of_its_name_that_iam_has() -> None:
    found = subjects({principal(SESSION): did("s3:B")}, {ROLE: ROLE_ID})

    assert list(found.by_arn) == [ROLE]
    assert found.by_arn[ROLE].is_path_known


def test_a_session_of_an_earlier_namesake_is_left_out_too() -> None:
    found = subjects({principal(SESSION, EARLIER_ID): did("s3:B")}, {ROLE: ROLE_ID}).by_arn[ROLE]

    assert actions(found) == []
    assert found.gone_ids == (EARLIER_ID,)


def test_a_session_of_an_unknown_role_has_no_known_path() -> None:
    found = subjects({principal(SESSION): did("s3:B")})

    assert list(found.by_arn) == [PATHLESS]
    assert not found.by_arn[PATHLESS].is_path_known


def test_between_two_paths_nobody_chooses() -> None:
    # A name is unique in an account at one time: one of the two is gone.
    found = subjects({
        principal(): did("s3:A"),
        principal(ELSEWHERE, EARLIER_ID): did("s3:B"),
        principal(SESSION, ""): did("s3:C"),
    })  # fmt: skip

    assert {arn: actions(each) for arn, each in found.by_arn.items()} == {
        PATHLESS: ["s3:C"], ROLE: ["s3:A"], ELSEWHERE: ["s3:B"],
    }  # fmt: skip
    assert not found.by_arn[PATHLESS].is_path_known


def test_between_two_paths_the_role_that_is_there_today_is_meant() -> None:
    found = subjects(
        {principal(ELSEWHERE, EARLIER_ID): did("s3:B"), principal(SESSION): did("s3:C")},
        {ROLE: ROLE_ID},
    )

    assert {arn: actions(each) for arn, each in found.by_arn.items()} == {
        ROLE: ["s3:C"], ELSEWHERE: ["s3:B"],
    }  # fmt: skip


def test_a_session_is_not_matched_across_accounts() -> None:
    session = f"arn:aws:sts::{OTHER_ACCOUNT}:assumed-role/Shop"

    found = subjects({principal(): did("s3:A"), principal(session): did("s3:B")})

    assert list(found.by_arn) == [ROLE, f"arn:aws:iam::{OTHER_ACCOUNT}:role/Shop"]


def test_a_session_of_a_role_is_not_a_user_of_that_name() -> None:
    user = f"arn:aws:iam::{ACCOUNT}:user/Shop"

    found = subjects({principal(user, "", "IAMUser"): did("s3:A"), principal(SESSION): did("s3:B")})

    assert list(found.by_arn) == [PATHLESS, user]


# --- Those who get no policy ---


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        (f"arn:aws:iam::{ACCOUNT}:root", "Root"),
        ("config.amazonaws.com", "AWSService"),
        (OTHER_ACCOUNT, "AWSAccount"),
        ("arn:aws:identitystore:::user/1234", "IdentityCenterUser"),
        ("unknown", "Unknown"),
    ],
)
def test_others_are_counted_with_the_reason(arn: str, kind: str) -> None:
    found = subjects({principal(arn, "", kind): did("s3:A"), principal(): did("s3:B")})

    assert list(found.by_arn) == [ROLE]
    assert found.others == {NO_POLICY[kind]: 1}


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:sts::{ACCOUNT}:federated-user/bob",
        # Damaged, as no record of AWS's is.
        "arn:aws:sts:::assumed-role/Shop",
        "arn:aws:sts::1234:assumed-role/Shop",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/",
        "accounts.google.com",
        "",
    ],
)
def test_what_is_no_user_and_no_role_stops_nobody_else(arn: str) -> None:
    found = subjects({principal(arn, "", "AssumedRole"): did("s3:A"), principal(): did("s3:B")})

    assert list(found.by_arn) == [ROLE]
    assert sum(found.others.values()) == 1


def test_the_order_of_the_logs_does_not_matter() -> None:
    parts = [
        (principal(SESSION, "AROAONE"), did("s3:A")),
        (principal(ROLE, "AROATWO"), did("s3:B")),
        (principal(ROLE, "AROATHREE"), did("s3:C")),
    ]

    one = subjects(dict(parts), {ROLE: "AROATWO"}).by_arn[ROLE]
    other = subjects(dict(reversed(parts)), {ROLE: "AROATWO"}).by_arn[ROLE]

    assert one.gone_ids == other.gone_ids == ("AROAONE", "AROATHREE")
    assert actions(one) == actions(other) == ["s3:B"]
