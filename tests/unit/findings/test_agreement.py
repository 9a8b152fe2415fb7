from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pare.findings import agreement
from pare.findings.agreement import compare
from pare.findings.unused import judge
from tests.unit.inventory.row_builders import ROLE, USER, access_key, credentials, last_use, row

if TYPE_CHECKING:
    import pytest

    from pare.findings.agreement import AgreementJson
    from pare.findings.model import Finding
    from pare.inventory.model import PrincipalRowJson

IDLE = row(ROLE, status="idle", cls="disable", last_use=last_use())
KINDS = {"service role": 8, "person": 2, "service-linked role": 5}


def of_analyzer(one: PrincipalRowJson, **changes: Any) -> Finding:
    (finding,) = judge(one, as_of="2026-10-30T00:00:00Z", region="eu-west-1").found
    return replace(finding, finding_id="aa", source="access-analyzer", **changes)


def agree(
    rows: list[PrincipalRowJson], findings: list[Finding], *, is_on: bool = True
) -> AgreementJson:
    return compare(
        rows,
        findings,
        is_on=is_on,
        by_kind=KINDS,
        period="2026-11",
        as_of="2026-11-01T06:00:00Z",
        region="eu-west-1",
    )


def test_off_says_what_it_would_cost_and_compares_nothing() -> None:
    found = agree([IDLE], [], is_on=False)

    assert found["is_on"] is False
    assert (found["principals"], found["estimated_usd_month"]) == (10, 2.00)
    assert (found["counts"], found["disagreements"]) == ({}, [])
    assert found["found_though_off"] == 0


def test_off_and_yet_somebodys_analyzer_found_something() -> None:
    found = agree([IDLE], [of_analyzer(IDLE)], is_on=False)

    assert found["found_though_off"] == 1
    assert (found["counts"], found["disagreements"]) == ({}, [])


def test_both_say_unused() -> None:
    found = agree([IDLE], [of_analyzer(IDLE)])

    assert found["counts"] == {
        "UnusedIAMRole": {"both": 1, "analyzer": 0, "inventory": 0, "unknown": 0}
    }
    assert found["disagreements"] == []


def test_the_analyzer_alone_says_unused_and_the_inventory_says_since_when_it_is_used() -> None:
    found = agree([row(ROLE)], [of_analyzer(IDLE)])

    (one,) = found["disagreements"]
    assert (one["analyzer"], one["inventory"], one["finding_id"]) == ("unused", "not unused", "aa")
    assert (one["last_used_at"], one["last_used_source"]) == ("2026-10-31T10:00:00Z", "role")
    assert found["counts"]["UnusedIAMRole"]["analyzer"] == 1


def test_the_inventory_alone_says_unused() -> None:
    found = agree([IDLE], [])

    (one,) = found["disagreements"]
    assert (one["analyzer"], one["inventory"]) == ("not unused", "unused")


def test_unknown_is_no_disagreement_about_use() -> None:
    unknown = row(ROLE, status="unknown", cls="review")
    missing = replace(of_analyzer(IDLE), resource="arn:aws:iam::999999999999:role/Elsewhere")

    found = agree([unknown], [of_analyzer(IDLE), missing])

    assert [each["inventory"] for each in found["disagreements"]] == [
        "unknown",
        "not in the inventory",
    ]
    assert found["counts"]["UnusedIAMRole"] == {
        "both": 0, "analyzer": 0, "inventory": 0, "unknown": 2,
    }  # fmt: skip


def test_keys_are_told_apart_by_their_ids() -> None:
    keys = [access_key("AKIAAAAAAAAAAAAAAAAA"), access_key("AKIABBBBBBBBBBBBBBBB")]
    user = row(
        USER,
        credentials=credentials(access_keys=keys),
        issues=[{"code": "KEY_IDLE", "values": {"number": 2, "days": 300}}],
    )
    other = replace(of_analyzer(user), access_key_id="AKIAAAAAAAAAAAAAAAAA")

    found = agree([user], [other])

    assert found["counts"]["UnusedIAMUserAccessKey"] == {
        "both": 0, "analyzer": 1, "inventory": 1, "unknown": 0,
    }  # fmt: skip


def test_what_is_not_named_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "MAX_NAMED", 1)

    found = agree([IDLE, row(ROLE + "2", status="idle", last_use=last_use())], [])

    assert (len(found["disagreements"]), found["left_out"]) == (1, 1)
    assert found["counts"]["UnusedIAMRole"]["inventory"] == 2
