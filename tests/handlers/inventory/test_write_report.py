from __future__ import annotations

import csv
import io
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.write_report import Output, lambda_handler
from pare.errors import EvidenceError
from pare.inventory.snapshot import build_snapshot
from tests.handlers.fake_aws import BUCKET
from tests.unit.inventory.row_builders import ACCOUNT, account_result, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.aws.evidence_store import EvidenceStore
    from pare.inventory.model import AccountResultJson, PrincipalRowJson
    from pare.object_ref import ObjectRef

PREFIX = "inventory/period=2026-11"
HEAD: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/snapshot.json"}


@pytest.fixture(autouse=True)
def _language(settings: Callable[..., None]) -> None:
    settings(language="en")


def role(name: str, **changes: Any) -> PrincipalRowJson:
    return row(f"arn:aws:iam::{ACCOUNT}:role/{name}", **changes)


def store(
    evidence: EvidenceStore, rows: list[PrincipalRowJson], *results: AccountResultJson
) -> None:
    head = build_snapshot(
        period="2026-11",
        created_at="2026-11-01T08:00:00Z",
        as_of="2026-11-01T06:00:00Z",
        results=results or [account_result(name="orders-prod")],
        by_kind={"service role": len(rows)},
        rows=evidence.put_ndjson_gz(f"{PREFIX}/principals.ndjson.gz", rows),
        previous=None,
    )
    evidence.put_json(HEAD["key"], head)


def write(context: Any) -> Output:
    output: Output = lambda_handler({"snapshot": HEAD}, context)
    return output


def test_both_reports_lie_beside_the_snapshot(evidence: EvidenceStore, context: Any) -> None:
    store(evidence, [role("OrdersApi"), role("Second")])

    output = write(context)

    assert output == {
        "report": {"bucket": BUCKET, "key": f"{PREFIX}/report.html"},
        "csv": {"bucket": BUCKET, "key": f"{PREFIX}/report.csv"},
    }
    page = evidence.get_bytes(output["report"]).decode()
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    assert "OrdersApi" in page
    text = evidence.get_bytes(output["csv"]).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [each["name"] for each in rows] == ["OrdersApi", "Second"]
    assert rows[0]["account_name"] == "orders-prod"


def test_browsers_and_spreadsheets_are_told_what_it_is(
    evidence: EvidenceStore, context: Any
) -> None:
    store(evidence, [role("A")])

    output: Any = write(context)
    types = {
        name: evidence.s3.head_object(Bucket=BUCKET, Key=ref["key"])["ContentType"]
        for name, ref in output.items()
    }

    assert types == {"report": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8"}


def test_the_language_is_that_of_the_settings(
    evidence: EvidenceStore, context: Any, settings: Callable[..., None]
) -> None:
    settings(language="ja")
    store(evidence, [role("A")])

    output = write(context)

    assert "最終使用は" in evidence.get_bytes(output["csv"]).decode()
    assert '<html lang="ja"' in evidence.get_bytes(output["report"]).decode()


def test_what_is_gone_is_in_the_page_in_the_order_of_the_accounts(
    evidence: EvidenceStore, context: Any
) -> None:
    results = []
    for number in range(20):
        account_id = f"{number:012d}"
        gone = evidence.put_ndjson_gz(
            f"{PREFIX}/gone-{number}", [row(f"arn:aws:iam::{account_id}:role/Gone{number:02d}x")]
        )
        results.append(account_result(account_id, gone=gone, counts={"gone": number % 2}))
    store(evidence, [role("A")], *results)

    page = evidence.get_bytes(write(context)["report"]).decode()

    places = [page.find(f"Gone{number:02d}x") for number in range(20)]
    assert [place for place in places if place > 0] == sorted(places[1::2])
    assert all(place == -1 for place in places[::2]), "counted as none: not read"


def test_a_retried_step_writes_the_same_bytes(evidence: EvidenceStore, context: Any) -> None:
    store(evidence, [role("A"), role("B")])

    def contents() -> list[bytes]:
        output = write(context)
        return [evidence.get_bytes(output["report"]), evidence.get_bytes(output["csv"])]

    assert contents() == contents()


def test_no_principals_are_a_report_too(evidence: EvidenceStore, context: Any) -> None:
    store(evidence, [])

    output = write(context)

    assert evidence.get_bytes(output["csv"]).decode().count("\r\n") == 1


def test_rows_are_not_held_for_the_csv(
    evidence: EvidenceStore, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page holds 25,000 of them at most; so it is left out here."""
    monkeypatch.setattr("lambdas.inventory.write_report.render", lambda *_, **__: "<!doctype html>")
    store(evidence, [role(f"R{number}", description="d" * 20_000) for number in range(1_000)])
    write(context)  # everything is imported and cached
    tracemalloc.start()
    write(context)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert used < 8_000_000, "of 20 MB of rows"


def test_rows_that_are_gone_are_an_error_and_not_an_empty_report(
    evidence: EvidenceStore, context: Any
) -> None:
    store(evidence, [role("A")])
    evidence.s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/principals.ndjson.gz")

    with pytest.raises(EvidenceError, match=r"principals\.ndjson\.gz"):
        write(context)


def test_rows_that_are_cut_off_are_an_error_and_leave_no_half_report(
    evidence: EvidenceStore, context: Any
) -> None:
    store(evidence, [role(f"R{number}") for number in range(50)])
    key = f"{PREFIX}/principals.ndjson.gz"
    body = evidence.get_bytes({"bucket": BUCKET, "key": key})
    evidence.s3.put_object(Bucket=BUCKET, Key=key, Body=body[:-50])

    with pytest.raises(EvidenceError, match="not gzip NDJSON"):
        write(context)
    listed = evidence.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/report")
    assert "Contents" not in listed
