from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.build_snapshot import Output, lambda_handler
from pare.aws.tables import PERIOD, RunsTable
from pare.errors import AwsServiceError, EvidenceError
from tests.handlers.fake_aws import BUCKET

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

PREFIX = "inventory/period=2026-11"
ACCOUNTS = f"{PREFIX}/accounts/monthly-1"
ONE, TWO, THREE = (f"{number:012d}" for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _runs(tables: Any) -> None:
    pass


def row(account_id: str, name: str, kind: str = "role") -> dict[str, Any]:
    return {
        "account_id": account_id,
        "principal_arn": f"arn:aws:iam::{account_id}:{kind}/{name}",
        "kind": kind,
    }


def collected(evidence: EvidenceStore, account_id: str, *rows: dict[str, Any]) -> None:
    """Store what CollectPrincipals leaves of an account."""
    result = {
        "account_id": account_id,
        "name": f"account-{account_id[-1]}",
        "principal_count": len(rows),
        "error": None,
        "message": None,
        "rows": evidence.put_ndjson_gz(f"{ACCOUNTS}/{account_id}.ndjson.gz", rows),
    }
    evidence.put_json(f"{ACCOUNTS}/{account_id}.json", result)


def unknown(evidence: EvidenceStore, account_id: str) -> None:
    result = {
        "account_id": account_id,
        "name": f"account-{account_id[-1]}",
        "principal_count": 0,
        "error": "MemberAccountError",
        "message": "SUSPENDED: no way in",
        "rows": None,
    }
    evidence.put_json(f"{ACCOUNTS}/{account_id}.json", result)


def manifest(evidence: EvidenceStore, *account_ids: str) -> ObjectRef:
    accounts = [
        {"account_id": each, "name": f"account-{each[-1]}", "prefix": ACCOUNTS}
        for each in account_ids
    ]
    return evidence.put_json(f"{ACCOUNTS}/manifest.json", accounts)


def build(context: Any, ref: ObjectRef) -> Output:
    output: Output = lambda_handler(
        {"period": "2026-11", "prefix": PREFIX, "accounts_prefix": ACCOUNTS, "manifest": ref},
        context,
    )
    return output


def test_the_accounts_of_a_period_become_one_snapshot(
    evidence: EvidenceStore, context: Any
) -> None:
    collected(evidence, ONE, row(ONE, "A"), row(ONE, "mary", "user"))
    collected(evidence, TWO, row(TWO, "B"))
    unknown(evidence, THREE)

    output = build(context, manifest(evidence, ONE, TWO, THREE))

    assert output == {
        "snapshot": {"bucket": BUCKET, "key": f"{PREFIX}/snapshot.json"},
        "counts": {"account_count": 3, "principal_count": 3, "unknown_account_count": 1},
        "unknown": [THREE],
    }
    snapshot = evidence.get_json(output["snapshot"])
    assert snapshot["by_kind"] == {"role": 2, "user": 1}
    assert [each["account_id"] for each in snapshot["accounts"]] == [ONE, TWO, THREE]
    assert snapshot["unknown_accounts"][0]["message"] == "SUSPENDED: no way in"
    rows = evidence.get_ndjson_gz({"bucket": BUCKET, "key": f"{PREFIX}/principals.ndjson.gz"})
    assert rows == [row(ONE, "A"), row(ONE, "mary", "user"), row(TWO, "B")]


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_an_account_whose_step_failed_is_unknown_and_not_empty(
    evidence: EvidenceStore, aws: FakeAws, context: Any, code: str
) -> None:
    """AccessDenied is what S3 says of a missing object to those who may not list the bucket."""
    collected(evidence, ONE, row(ONE, "A"))
    ref = manifest(evidence, ONE, TWO)
    if code == "AccessDenied":
        missing_key = f"{ACCOUNTS}/{TWO}.json"
        aws.fail("s3:GetObject", code, 403, when=lambda sent: sent["Key"] == missing_key)

    output = build(context, ref)

    assert output["unknown"] == [TWO]
    (missing,) = evidence.get_json(output["snapshot"])["unknown_accounts"]
    assert (missing["error"], missing["name"]) == ("InventoryError", "account-2")
    assert "Map Run" in missing["message"]


def test_a_result_of_an_earlier_run_does_not_count(evidence: EvidenceStore, context: Any) -> None:
    collected(evidence, ONE, row(ONE, "A"))
    ref = manifest(evidence, ONE)

    output: Output = lambda_handler(
        {
            "period": "2026-11",
            "prefix": PREFIX,
            "accounts_prefix": f"{PREFIX}/accounts/by-hand",
            "manifest": ref,
        },
        context,
    )

    assert output["unknown"] == [ONE]


def test_a_retried_step_leaves_the_same_snapshot_but_for_its_time(
    evidence: EvidenceStore, context: Any
) -> None:
    collected(evidence, ONE, row(ONE, "A"))
    ref = manifest(evidence, ONE)
    first = build(context, ref)
    before = evidence.get_json(first["snapshot"])

    assert build(context, ref) == first
    after = evidence.get_json(first["snapshot"])
    assert {**after, "created_at": before["created_at"]} == before


def test_a_period_is_done_when_its_snapshot_lies_there_and_no_earlier(
    evidence: EvidenceStore, tables: Any, aws: FakeAws, context: Any
) -> None:
    runs = RunsTable(tables, "Runs")
    start = datetime(2026, 11, 1, 6, tzinfo=UTC)
    runs.claim(PERIOD, "2026-11", execution="one", now=start)
    ref = manifest(evidence)
    aws.fail("s3:PutObject", "InternalError", 500)
    with pytest.raises(AwsServiceError):
        build(context, ref)
    later = start + timedelta(days=1)
    assert runs.claim(PERIOD, "2026-11", execution="two", now=later), "not done"

    aws.mend("s3:PutObject")
    build(context, ref)

    assert not runs.claim(PERIOD, "2026-11", execution="three", now=later + timedelta(days=1))


def test_no_accounts_are_an_empty_snapshot(evidence: EvidenceStore, context: Any) -> None:
    output = build(context, manifest(evidence))

    assert output["counts"] == {
        "account_count": 0,
        "principal_count": 0,
        "unknown_account_count": 0,
    }


def test_rows_that_cannot_be_read_are_an_error_not_a_smaller_snapshot(
    evidence: EvidenceStore, context: Any
) -> None:
    collected(evidence, ONE, row(ONE, "A"))
    evidence.s3.delete_object(Bucket=BUCKET, Key=f"{ACCOUNTS}/{ONE}.ndjson.gz")

    with pytest.raises(EvidenceError, match=r"\.ndjson\.gz"):
        build(context, manifest(evidence, ONE))


def test_a_manifest_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    with pytest.raises(EvidenceError, match=r"manifest\.json"):
        build(context, {"bucket": BUCKET, "key": f"{ACCOUNTS}/manifest.json"})


def test_a_failing_store_is_an_error_not_an_unknown_account(
    evidence: EvidenceStore, aws: FakeAws, context: Any
) -> None:
    ref = manifest(evidence, ONE)
    aws.fail("s3:GetObject", "InternalError", 500)

    with pytest.raises(AwsServiceError):
        build(context, ref)
