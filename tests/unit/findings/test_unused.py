from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pare.findings.unused import INVENTORY, differences, ended, judge, subject_of
from tests.unit.inventory.row_builders import (
    ACCOUNT,
    ROLE,
    USER,
    access_key,
    credentials,
    last_use,
    row,
)

if TYPE_CHECKING:
    from pare.findings.model import Finding
    from pare.inventory.model import PrincipalRowJson

AS_OF = "2026-11-01T06:00:00Z"
NEXT = "2026-12-01T06:00:00Z"
READ = {ACCOUNT: "orders-prod"}
IDLE_ROLE = row(ROLE, status="idle", cls="disable", last_use=last_use())


def issue(code: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "values": values}


def found_in(*rows: PrincipalRowJson, as_of: str = AS_OF) -> list[Finding]:
    return [
        each for one in rows for each in judge(one, as_of=as_of, region="eu-west-1").found
    ]  # fmt: skip


def changed(
    rows: list[PrincipalRowJson],
    known: list[Finding],
    *,
    as_of: str = NEXT,
    read: Any = READ,
    unread: Any = (),
    of_analyzer: list[Finding] | None = None,
) -> list[Finding]:
    return list(
        differences(
            rows,
            {each.finding_id: each for each in known},
            read_accounts=read,
            unread_accounts=unread,
            as_of=as_of,
            region="eu-west-1",
            of_analyzer=None if of_analyzer is None else set(map(subject_of, of_analyzer)),
        )
    )


def test_a_principal_in_use_makes_no_finding() -> None:
    assert found_in(row(ROLE), row(USER)) == []


def test_an_idle_role_is_a_finding_of_pare_s_own() -> None:
    (finding,) = found_in(IDLE_ROLE)

    assert finding.finding_type == "UnusedIAMRole"
    assert finding.source == "pare-inventory"
    assert finding.analyzer_arn == INVENTORY
    assert finding.resource == ROLE
    assert finding.last_accessed_at == "2025-11-02T10:00:00Z"
    assert finding.owner == "orders@example.com"
    assert finding.is_open


def test_a_kept_role_without_use_is_none() -> None:
    assert found_in(row(ROLE, status="idle", is_unused=False, cls="keep")) == []


def test_keys_and_passwords_are_found_one_by_one() -> None:
    keys = [
        access_key("AKIAAAAAAAAAAAAAAAAA", last_used_at="2025-01-01T00:00:00Z"),
        access_key("AKIABBBBBBBBBBBBBBBB", last_used_at=None),
    ]
    user = row(
        USER,
        credentials=credentials(access_keys=keys, password_last_used_at=None),
        issues=[
            issue("KEY_IDLE", number=1, days=669),
            issue("KEY_NEVER_USED", number=2, days=184),
            issue("PASSWORD_NEVER_USED", days=153),
            issue("NO_MFA"),
        ],
    )

    found = found_in(user)

    assert [(each.finding_type, each.access_key_id) for each in found] == [
        ("UnusedIAMUserPassword", None),
        ("UnusedIAMUserAccessKey", "AKIAAAAAAAAAAAAAAAAA"),
        ("UnusedIAMUserAccessKey", "AKIABBBBBBBBBBBBBBBB"),
    ]
    assert found[1].last_accessed_at == "2025-01-01T00:00:00Z"
    assert len({each.finding_id for each in found}) == 3


def test_what_is_worth_narrowing_is_a_finding_with_its_counts() -> None:
    (finding,) = found_in(row(ROLE, cls="narrow", unused_services=12, unused_actions=40))

    assert finding.finding_type == "UnusedPermission"
    assert (finding.unused_service_count, finding.unused_action_count) == (12, 40)
    assert finding.is_about_unused_access_of_an_entity


@pytest.mark.parametrize(
    ("unknown", "kinds"),
    [
        (row(ROLE, status="unknown", cls="review"), {"UnusedIAMRole", "UnusedPermission"}),
        (
            row(USER, credentials=None),
            {"UnusedIAMUserAccessKey", "UnusedIAMUserPassword"},
        ),
        (row(ROLE, unused_services=None), {"UnusedPermission"}),
    ],
)
def test_what_is_unknown_neither_makes_nor_closes_a_finding(
    unknown: PrincipalRowJson, kinds: set[str]
) -> None:
    judged = judge(unknown, as_of=NEXT, region="eu-west-1")

    assert judged.found == ()
    assert judged.unknown == kinds


def test_a_finding_stays_while_the_inventory_cannot_tell() -> None:
    known = found_in(IDLE_ROLE)

    assert changed([row(ROLE, status="unknown", cls="review")], known) == []


def test_a_finding_stays_while_its_account_could_not_be_read() -> None:
    known = found_in(IDLE_ROLE)

    assert changed([], known, read={}, unread={ACCOUNT}) == []


def test_what_is_known_of_an_account_that_is_closed_or_excluded_or_left_ends() -> None:
    (known,) = found_in(IDLE_ROLE)

    (end,) = changed([], [known], read={"999999999999": "another"}, unread={"888888888888"})

    assert end == ended(known, as_of=NEXT)


@pytest.mark.parametrize("rows", [[row(ROLE)], []], ids=["used again", "gone"])
def test_a_finding_ends_when_it_is_no_longer_so(rows: list[PrincipalRowJson]) -> None:
    (known,) = found_in(IDLE_ROLE)

    (end,) = changed(rows, [known])

    assert end == ended(known, as_of=NEXT)
    assert (end.status, end.updated_at) == ("RESOLVED", NEXT)


def test_the_same_again_is_no_difference() -> None:
    known = found_in(IDLE_ROLE)

    assert changed([IDLE_ROLE], known) == []


def test_other_counts_are_a_difference_since_the_same_day() -> None:
    (known,) = found_in(row(ROLE, cls="narrow", unused_services=12, unused_actions=40))

    (now,) = changed([row(ROLE, cls="narrow", unused_services=5, unused_actions=40)], [known])

    assert now.finding_id == known.finding_id
    assert (now.created_at, now.updated_at) == (AS_OF, NEXT)
    assert now.account_name == "orders-prod"


def test_what_ended_and_is_so_again_opens_again() -> None:
    (known,) = found_in(IDLE_ROLE)

    (now,) = changed([IDLE_ROLE], [ended(known, as_of="2026-11-15T00:00:00Z")])

    assert now.status == "ACTIVE"


def test_what_somebody_archived_stays_archived_until_it_ends() -> None:
    (known,) = found_in(IDLE_ROLE)
    archived = replace(known, status="ARCHIVED")

    assert changed([IDLE_ROLE], [archived]) == []
    (end,) = changed([row(ROLE)], [archived])
    assert end.status == "RESOLVED"


def test_an_older_inventory_made_again_changes_nothing_newer() -> None:
    newer = found_in(IDLE_ROLE, as_of=NEXT)

    assert changed([row(ROLE)], newer, as_of=AS_OF) == []


def test_a_recreated_role_of_the_same_name_is_another() -> None:
    (known,) = found_in(IDLE_ROLE)
    other: Any = {**IDLE_ROLE, "principal_id": "AROAANOTHERONE000000"}

    now = changed([other], [known])

    assert {each.status for each in now} == {"ACTIVE", "RESOLVED"}
    assert len({each.finding_id for each in now}) == 2


# --- Beside the paid analyzer ---


def twin_of(own: Finding, **changes: Any) -> Finding:
    return replace(own, finding_id="aa-1", source="access-analyzer", **changes)


def test_a_finding_ends_when_the_analyzer_has_its_twin_and_stays_closed() -> None:
    (known,) = found_in(IDLE_ROLE)
    end = ended(known, as_of=NEXT)

    assert changed([IDLE_ROLE], [known], of_analyzer=[twin_of(known)]) == [end]
    later = "2027-01-01T06:00:00Z"
    assert changed([IDLE_ROLE], [end], as_of=later, of_analyzer=[twin_of(known)]) == []


@pytest.mark.parametrize(
    "other",
    [
        {"resource": ROLE + "Other"},
        {"finding_type": "UnusedPermission"},
        {"access_key_id": "AKIAAAAAAAAAAAAAAAAA"},
    ],
)
def test_a_finding_without_a_twin_stays_until_it_is_no_longer_so(other: dict[str, Any]) -> None:
    (known,) = found_in(IDLE_ROLE)
    strangers = [twin_of(known, **other)]

    assert changed([IDLE_ROLE], [known], of_analyzer=strangers) == []
    assert changed([row(ROLE)], [known], of_analyzer=strangers) == [ended(known, as_of=NEXT)]


def test_a_twin_ends_a_finding_also_where_the_inventory_cannot_tell() -> None:
    (known,) = found_in(IDLE_ROLE)
    twin = [twin_of(known)]

    (end,) = changed([], [known], read={}, unread={ACCOUNT}, of_analyzer=twin)

    assert end.status == "RESOLVED"


def test_what_is_new_is_the_analyzers_to_tell() -> None:
    assert changed([IDLE_ROLE], [], of_analyzer=[]) == []
