from __future__ import annotations

import base64
import gzip
import random
import subprocess
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.build_snapshot import Output, lambda_handler
from pare.aws import evidence_store
from pare.errors import AwsServiceError, EvidenceError
from pare.inventory.model import COUNTS, DEFINITION_VERSION
from pare.runs import CHILD_TRANSITIONS
from tests.handlers.fake_aws import BUCKET
from tests.unit.inventory.row_builders import account_result, row

if TYPE_CHECKING:
    from pathlib import Path

    from pare.aws.evidence_store import EvidenceStore
    from pare.inventory.model import PrincipalRowJson
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

PREFIX = "inventory/period=2026-11"
WORK = f"{PREFIX}/work=monthly-1"
ROWS: ObjectRef = {"bucket": BUCKET, "key": f"{PREFIX}/principals.ndjson.gz"}
ONE, TWO, THREE = (f"{number:012d}" for number in (1, 2, 3))


def role(account_id: str, name: str, **changes: Any) -> PrincipalRowJson:
    return row(f"arn:aws:iam::{account_id}:role/{name}", **changes)


def place(account_id: str, name: str) -> str:
    return f"{WORK}/account={account_id}/{name}"


def classified(evidence: EvidenceStore, account_id: str, *rows: Any, **changes: Any) -> None:
    """Store what Classify principals leaves of an account."""
    ref = evidence.put_ndjson_gz(place(account_id, "rows.ndjson.gz"), rows)
    result = account_result(
        account_id,
        name=f"account-{account_id[-1]}",
        principal_count=len(rows),
        rows=ref,
        counts={"principals": len(rows), "class_keep": len(rows)},
    )
    evidence.put_json(place(account_id, "result.json"), {**result, **changes})


def not_entered(evidence: EvidenceStore, account_id: str) -> None:
    result = account_result(
        account_id,
        name=f"account-{account_id[-1]}",
        error="MemberAccountError",
        message="SUSPENDED: no way in",
        rows=None,
        root=None,
        calls=1,
    )
    evidence.put_json(place(account_id, "result.json"), result)


def known_rows(account_id: str) -> dict[str, str]:
    return {
        "period": "2026-10",
        "bucket": BUCKET,
        "key": f"inventory/period=2026-10/work=x/account={account_id}/rows.ndjson.gz",
    }


def manifest(evidence: EvidenceStore, *account_ids: str, known: bool = False) -> ObjectRef:
    items = [
        {"account_id": each, "name": f"account-{each[-1]}", "state": "ACTIVE",
         "previous": known_rows(each) if known else None}
        for each in account_ids
    ]  # fmt: skip
    return evidence.put_json(f"{WORK}/manifest.json", items)


def build(context: Any, ref: ObjectRef, previous: ObjectRef | None = None) -> Output:
    output: Output = lambda_handler(
        {
            "period": "2026-11",
            "prefix": PREFIX,
            "work": WORK,
            "as_of": "2026-11-01T06:00:00Z",
            "manifest": ref,
            "previous_snapshot": previous,
        },
        context,
    )
    return output


def test_the_accounts_of_a_period_become_one_snapshot(
    evidence: EvidenceStore, context: Any
) -> None:
    mary = row(f"arn:aws:iam::{ONE}:user/mary")
    classified(evidence, TWO, role(TWO, "B"), throttled=2, seconds=10.4, transitions=8)
    classified(evidence, ONE, role(ONE, "A"), mary,
               counts={"principals": 2, "last_accessed_unknown": 1})  # fmt: skip
    not_entered(evidence, THREE)

    output = build(context, manifest(evidence, TWO, ONE, THREE))

    assert output == {
        "snapshot": {"bucket": BUCKET, "key": f"{PREFIX}/snapshot.json"},
        "counts": {
            "accounts": 3,
            "unknown_accounts": 1,
            "principals": 3,
            "last_accessed_unknown": 1,
            "calls": 7,
            "throttled": 2,
            "seconds": 13,
            "child_transitions": 20,
        },
        "unknown": [THREE],
    }
    assert CHILD_TRANSITIONS in output["counts"]
    head = evidence.get_json(output["snapshot"])
    assert head["by_kind"] == {"person": 1, "service role": 2}
    assert [each["account_id"] for each in head["accounts"]] == [ONE, TWO, THREE]
    assert head["accounts"][2]["message"] == "SUSPENDED: no way in"
    assert (head["as_of"], head["rows"]) == ("2026-11-01T06:00:00Z", ROWS)
    assert head["counts"].keys() == set(COUNTS)
    assert evidence.get_ndjson_gz(ROWS) == [role(ONE, "A"), mary, role(TWO, "B")]


def test_the_rows_are_gzip_members_that_every_reader_takes(
    evidence: EvidenceStore, context: Any, tmp_path: Path
) -> None:
    classified(evidence, ONE, role(ONE, "A"))
    classified(evidence, TWO)
    classified(evidence, THREE, role(THREE, "C"))
    build(context, manifest(evidence, ONE, TWO, THREE))
    body = evidence.get_bytes(ROWS)
    file = tmp_path / "principals.ndjson.gz"
    file.write_bytes(body)

    by_zcat = subprocess.run(["zcat", file], check=True, capture_output=True).stdout

    assert by_zcat == gzip.decompress(body)
    assert by_zcat.count(b"\n") == 2
    with gzip.open(file, "rt") as lines:
        assert len(list(lines)) == 2
    assert list(evidence.each_ndjson_gz(ROWS)) == [role(ONE, "A"), role(THREE, "C")]


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied"])
def test_an_account_whose_child_failed_is_unknown_and_not_empty(
    evidence: EvidenceStore, aws: FakeAws, context: Any, code: str
) -> None:
    """AccessDenied is what S3 says of a missing object to those who may not list the bucket."""
    classified(evidence, ONE, role(ONE, "A"))
    ref = manifest(evidence, ONE, TWO, known=True)
    if code == "AccessDenied":
        missing = place(TWO, "result.json")
        aws.fail("s3:GetObject", code, 403, when=lambda sent: sent["Key"] == missing)

    output = build(context, ref)

    assert output["unknown"] == [TWO]
    head = evidence.get_json(output["snapshot"])
    unknown = head["accounts"][1]
    assert (unknown["error"], unknown["name"]) == ("InventoryError", "account-2")
    assert "Map Run" in unknown["message"]
    assert unknown["known"] == known_rows(TWO)
    assert head["counts"]["principals"] == 1


def test_an_account_that_could_not_be_entered_keeps_what_was_last_known(
    evidence: EvidenceStore, context: Any
) -> None:
    not_entered(evidence, ONE)

    output = build(context, manifest(evidence, ONE, known=True))

    (account,) = evidence.get_json(output["snapshot"])["accounts"]
    assert account["known"] == known_rows(ONE)
    assert account["error"] == "MemberAccountError"


@pytest.mark.parametrize("damage", ["gone", "cut", "text", "fewer", "none"])
def test_an_account_whose_rows_cannot_be_read_is_unknown_and_the_others_are_not(
    evidence: EvidenceStore, context: Any, damage: str
) -> None:
    classified(evidence, ONE, role(ONE, "A"), role(ONE, "B"))
    classified(evidence, TWO, role(TWO, "C"))
    key = place(ONE, "rows.ndjson.gz")
    body = evidence.get_bytes({"bucket": BUCKET, "key": key})
    if damage == "gone":
        evidence.s3.delete_object(Bucket=BUCKET, Key=key)
    elif damage == "fewer":
        evidence.put_ndjson_gz(key, [role(ONE, "A")])
    elif damage == "none":
        classified(evidence, ONE, rows=None)
    else:
        spoilt = body[:-20] if damage == "cut" else b"no gzip"
        evidence.s3.put_object(Bucket=BUCKET, Key=key, Body=spoilt)

    output = build(context, manifest(evidence, ONE, TWO, known=True))

    assert output["unknown"] == [ONE]
    head = evidence.get_json(output["snapshot"])
    assert head["accounts"][0]["error"] == "EvidenceError"
    assert head["accounts"][0]["known"] == known_rows(ONE)
    assert (head["counts"]["principals"], head["by_kind"]) == (1, {"service role": 1})
    assert evidence.get_ndjson_gz(ROWS) == [role(TWO, "C")]


def test_a_result_of_another_work_does_not_count(evidence: EvidenceStore, context: Any) -> None:
    classified(evidence, ONE, role(ONE, "A"))
    ref = manifest(evidence, ONE)

    output: Output = lambda_handler(
        {
            "period": "2026-11",
            "prefix": PREFIX,
            "work": f"{PREFIX}/work=by-hand",
            "as_of": "2026-11-02T06:00:00Z",
            "manifest": ref,
            "previous_snapshot": None,
        },
        context,
    )

    assert output["unknown"] == [ONE]


def test_a_retried_step_leaves_the_same_snapshot_but_for_its_time(
    evidence: EvidenceStore, context: Any
) -> None:
    classified(evidence, ONE, role(ONE, "A"))
    ref = manifest(evidence, ONE)
    first = build(context, ref)
    before, rows = evidence.get_json(first["snapshot"]), evidence.get_bytes(ROWS)

    assert build(context, ref) == first
    after = evidence.get_json(first["snapshot"])
    assert {**after, "created_at": before["created_at"]} == before
    assert evidence.get_bytes(ROWS) == rows


# --- The month before ---


def test_the_trend_goes_on_from_the_snapshot_before(evidence: EvidenceStore, context: Any) -> None:
    classified(evidence, ONE, role(ONE, "A"))
    ref = manifest(evidence, ONE)
    head = evidence.get_json(build(context, ref)["snapshot"])
    month = {**head["trend"][0], "period": "2026-10"}
    previous = evidence.put_json(
        "inventory/period=2026-10/snapshot.json", {**head, "period": "2026-10", "trend": [month]}
    )

    output = build(context, ref, previous)

    after = evidence.get_json(output["snapshot"])
    assert (after["previous"], after["comparable"]) == ("2026-10", True)
    assert [each["period"] for each in after["trend"]] == ["2026-10", "2026-11"]
    assert after["definition_version"] == DEFINITION_VERSION
    assert output["unknown"] == []


def test_a_snapshot_before_that_is_gone_is_named_as_unknown(
    evidence: EvidenceStore, context: Any
) -> None:
    gone: ObjectRef = {"bucket": BUCKET, "key": "inventory/period=2026-10/snapshot.json"}

    output = build(context, manifest(evidence), gone)

    assert output["unknown"] == ["previous snapshot"]
    assert evidence.get_json(output["snapshot"])["previous"] is None


# --- Size ---


def test_no_accounts_are_an_empty_snapshot(evidence: EvidenceStore, context: Any) -> None:
    output = build(context, manifest(evidence))

    assert (output["counts"]["accounts"], output["counts"]["principals"]) == (0, 0)
    assert list(evidence.each_ndjson_gz(ROWS)) == []


def test_many_rows_are_uploaded_in_parts(
    evidence: EvidenceStore, context: Any, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_store, "PART_BYTES", 5 * 1024 * 1024)  # the least that S3 takes
    accounts = [f"{number:012d}" for number in range(3)]
    for each in accounts:
        # What cannot be packed, so that three accounts are more than a part.
        noise = _noise(each, 3_000_000)
        classified(evidence, each, role(each, "A", description=noise))

    build(context, manifest(evidence, *accounts))

    assert aws.attempts.count("s3:UploadPart") == 2
    assert aws.attempts.count("s3:CompleteMultipartUpload") == 1
    assert [found["account_id"] for found in evidence.each_ndjson_gz(ROWS)] == accounts
    assert evidence.s3.head_object(Bucket=BUCKET, Key=ROWS["key"])["ContentType"] == (
        "application/gzip"
    )


def _noise(seed: str, length: int) -> str:
    return base64.b64encode(random.Random(seed).randbytes(length)).decode()


def test_rows_of_all_accounts_are_never_held_together(
    evidence: EvidenceStore, context: Any
) -> None:
    accounts = [f"{number:012d}" for number in range(40)]
    for each in accounts:
        names = (f"R{number}" for number in range(20))
        classified(evidence, each, *(role(each, name, description="d" * 40_000) for name in names))
    ref = manifest(evidence, *accounts)
    build(context, ref)  # everything is imported and cached
    tracemalloc.start()
    build(context, ref)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert used < 12_000_000, "of 32 MB of rows"


# --- Errors ---


def test_a_manifest_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    with pytest.raises(EvidenceError, match=r"manifest\.json"):
        build(context, {"bucket": BUCKET, "key": f"{WORK}/manifest.json"})


def test_a_failing_store_is_an_error_not_an_unknown_account(
    evidence: EvidenceStore, aws: FakeAws, context: Any
) -> None:
    ref = manifest(evidence, ONE)
    aws.fail("s3:GetObject", "InternalError", 500, when=lambda sent: "result" in sent["Key"])

    with pytest.raises(AwsServiceError):
        build(context, ref)
