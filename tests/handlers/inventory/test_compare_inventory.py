from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory import compare_inventory
from lambdas.inventory.compare_inventory import Output, lambda_handler
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.tables import to_item
from pare.findings.model import Finding
from pare.findings.unused import INVENTORY, judge
from pare.inventory.snapshot import build_snapshot
from tests.finding_terms import finding_terms
from tests.handlers.fake_aws import BUCKET
from tests.unit.inventory.row_builders import ACCOUNT, account_result, last_use, row

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.inventory.model import AccountResultJson, PrincipalRowJson
    from pare.object_ref import ObjectRef

PREFIX = "inventory/period=2026-11"
HEAD: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/snapshot.json"}
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:Inventory:november"
AS_OF = "2026-11-01T06:00:00Z"
EARLIER = "2026-10-01T06:00:00Z"


def idle(name: str, account_id: str = ACCOUNT) -> PrincipalRowJson:
    arn = f"arn:aws:iam::{account_id}:role/{name}"
    return row(arn, status="idle", cls="disable", last_use=last_use())


def used(name: str) -> PrincipalRowJson:
    return row(f"arn:aws:iam::{ACCOUNT}:role/{name}")


def finding_of(one: PrincipalRowJson, **changes: Any) -> Finding:
    (finding,) = judge(one, as_of=EARLIER, region="eu-west-1").found
    return replace(finding, severity="low", exposure="none", **changes)


def store(
    evidence: EvidenceStore, rows: list[PrincipalRowJson], *results: AccountResultJson
) -> None:
    head = build_snapshot(
        period="2026-11",
        created_at="2026-11-01T08:00:00Z",
        as_of=AS_OF,
        results=results or [account_result(name="orders-prod")],
        by_kind={"service role": len(rows), "service-linked role": 3},
        rows=evidence.put_ndjson_gz(f"{PREFIX}/principals.ndjson.gz", rows),
        previous=None,
    )
    evidence.put_json(HEAD["key"], head)


def record(tables: Any, *findings: Finding) -> None:
    for finding in findings:
        FindingsTable(tables, "Findings").record(
            finding,
            cards=CardsTable(tables, "Cards"),
            execution=f"before-{finding.finding_id}",
            now=datetime(2026, 10, 1, 7, tzinfo=UTC),
            terms=finding_terms(),
        )


def compared(evidence: EvidenceStore, context: Any, **terms: Any) -> tuple[Output, list[Finding]]:
    output: Output = lambda_handler(
        {"snapshot": HEAD, "terms": finding_terms(**terms), "execution": EXECUTION}, context
    )
    found = [
        Finding.from_json(each)
        for ref in output["differences"]
        for each in evidence.get_ndjson_gz(ref)
    ]
    return output, found


def test_what_is_new_and_what_ended_is_a_difference(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    known, ended = finding_of(idle("Known")), finding_of(idle("UsedAgain"))
    record(tables, known, ended)
    store(evidence, [idle("Known"), used("UsedAgain"), idle("New")])

    output, found = compared(evidence, context)

    assert {(each.resource.rpartition("/")[2], each.status) for each in found} == {
        ("New", "ACTIVE"),
        ("UsedAgain", "RESOLVED"),
    }
    assert {each.account_name for each in found if each.status == "ACTIVE"} == {"orders-prod"}
    assert output["counts"] == {"unused_findings_changed": 2}
    assert output["differences"][0]["key"].startswith("findings/inventory/2026-11/november/")


def test_an_account_that_could_not_be_read_closes_nothing(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    record(tables, finding_of(idle("Known")))
    store(evidence, [], account_result(error="MemberAccountError", message="no role"))

    output, found = compared(evidence, context)

    assert (output["differences"], found) == ([], [])


def test_nothing_changed_writes_no_object(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    record(tables, finding_of(idle("Known")))
    store(evidence, [idle("Known")])

    assert compared(evidence, context)[0]["differences"] == []


def test_many_differences_are_several_objects(
    evidence: EvidenceStore, tables: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_inventory, "PART", 2)
    store(evidence, [idle(f"Role{number}") for number in range(5)])

    output, found = compared(evidence, context)

    assert (len(output["differences"]), len(found)) == (3, 5)


def test_without_the_paid_analyzer_the_agreement_says_what_it_would_cost(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    store(evidence, [idle("A"), used("B")])

    output, _ = compared(evidence, context)

    agreement = evidence.get_json(output["agreement"])
    assert output["agreement"]["key"] == f"{PREFIX}/agreement.json"
    assert (agreement["is_on"], agreement["principals"]) == (False, 2)
    assert agreement["found_though_off"] == 0
    assert agreement["estimated_usd_month"] == pytest.approx(0.40)


def test_with_it_our_own_findings_end_and_the_two_are_compared(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    own = finding_of(idle("A"))
    of_analyzer: dict[str, Any] = {
        "source": "access-analyzer",
        "analyzer_arn": "arn:aws:access-analyzer:eu-west-1:123456789012:analyzer/unused",
    }
    record(
        tables,
        own,
        replace(finding_of(idle("A")), finding_id="aa-1", **of_analyzer),
        replace(finding_of(idle("B")), finding_id="aa-2", **of_analyzer),
    )
    store(evidence, [idle("A"), used("B")])

    output, found = compared(evidence, context, has_unused_analyzer=True)

    assert [(each.finding_id, each.status, each.analyzer_arn) for each in found] == [
        (own.finding_id, "RESOLVED", INVENTORY)
    ]
    agreement = evidence.get_json(output["agreement"])
    assert agreement["counts"]["UnusedIAMRole"] == {
        "both": 1, "analyzer": 1, "inventory": 0, "unknown": 0,
    }  # fmt: skip
    assert [each["finding_id"] for each in agreement["disagreements"]] == ["aa-2"]


@pytest.mark.parametrize("found", [{"is_deleted": True}, {"access": "external"}, None])
def test_an_analyzer_that_is_only_wished_for_ends_nothing(
    evidence: EvidenceStore, tables: Any, context: Any, found: dict[str, Any] | None
) -> None:
    record(tables, finding_of(idle("A")))
    if found:
        of_analyzer: dict[str, Any] = {"source": "access-analyzer", "analyzer_arn": "arn:gone"}
        twin = replace(finding_of(idle("A")), finding_id="aa-1", **of_analyzer)
        record(tables, replace(twin, **found))
    store(evidence, [idle("A"), idle("New")])

    _, changed = compared(evidence, context, has_unused_analyzer=True)

    assert [(each.resource.rpartition("/")[2], each.status) for each in changed] == [
        ("New", "ACTIVE")
    ]


def test_what_has_no_twin_at_the_analyzer_stays(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    of_analyzer: dict[str, Any] = {"source": "access-analyzer", "analyzer_arn": "arn:it"}
    record(
        tables,
        finding_of(idle("A")),
        replace(finding_of(idle("B")), finding_id="aa-1", status="RESOLVED", **of_analyzer),
    )
    store(evidence, [idle("A")])

    assert compared(evidence, context, has_unused_analyzer=True)[1] == []


def test_items_of_earlier_versions_are_read(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    old = replace(finding_of(idle("A")), finding_id="old", source="access-analyzer").to_json()
    for name in ("source", "exposure", "severity", "values", "tags"):
        del old[name]  # type: ignore[misc]
    tables.put_item(TableName="Findings", Item=to_item({"finding_id": "old", "finding": old}))
    store(evidence, [idle("A")])

    output, _ = compared(evidence, context, has_unused_analyzer=True)

    assert evidence.get_json(output["agreement"])["counts"]["UnusedIAMRole"]["both"] == 1


def test_findings_of_an_account_that_left_end_and_of_one_unread_stay(
    evidence: EvidenceStore, tables: Any, context: Any
) -> None:
    record(
        tables,
        finding_of(idle("Left", "999999999999")),
        finding_of(idle("Unread", "888888888888")),
    )
    unread = account_result(
        account_id="888888888888", error="MemberAccountError", message="no role"
    )
    store(evidence, [], account_result(name="orders-prod"), unread)

    _, found = compared(evidence, context)

    assert [(each.account_id, each.status) for each in found] == [("999999999999", "RESOLVED")]


def test_a_retried_step_writes_the_same(evidence: EvidenceStore, tables: Any, context: Any) -> None:
    store(evidence, [idle("New")])

    assert compared(evidence, context) == compared(evidence, context)
