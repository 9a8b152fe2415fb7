"""Compare inventory: what it found unused against the findings known, and the paid analyzer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import FindingsTable
from pare.findings.agreement import compare
from pare.findings.model import Finding
from pare.findings.unused import INVENTORY, differences, subject_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.terms import FindingTermsJson
    from pare.inventory.model import SnapshotJson
    from pare.object_ref import ObjectRef

# Findings in an object of differences.
PART = 2_000


class Input(TypedDict):
    snapshot: ObjectRef
    terms: FindingTermsJson
    execution: str


class Output(TypedDict):
    differences: list[ObjectRef]
    agreement: ObjectRef
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the findings lie that the inventory changes, and the agreement.

    Where the paid analyzer is on and has found anything, it is the one that people hear of. That
    the settings want one is no reason for a finding of ours to end: it may not be there.
    """
    settings, terms = environment(), event["terms"]
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    table = FindingsTable(client("dynamodb"), settings.findings_table_name)
    snapshot: SnapshotJson = store.get_json(event["snapshot"])
    as_of, region = snapshot["as_of"], terms["home_region"]
    is_on = terms["has_unused_analyzer"]
    known = {
        item["finding_id"]: Finding.from_json(item["finding"])
        for item in table.by_analyzer(INVENTORY)
    }
    of_analyzer = list(_of_analyzer(table))
    now_unused = [each for each in of_analyzer if each.status != "RESOLVED" and each.error is None]
    found = differences(
        store.each_ndjson_gz(snapshot["rows"]),
        known,
        read_accounts={
            account["account_id"]: account["name"]
            for account in snapshot["accounts"]
            if account["error"] is None
        },
        unread_accounts={
            account["account_id"]
            for account in snapshot["accounts"]
            if account["error"] is not None
        },
        as_of=as_of,
        region=region,
        of_analyzer={subject_of(each) for each in now_unused} if is_on and of_analyzer else None,
    )
    name = event["execution"].rpartition(":")[2]
    folder = f"findings/inventory/{snapshot['period']}/{name}"
    refs, count = [], 0
    for number, part in enumerate(_parts(found), start=1):
        count += len(part)
        refs.append(
            store.put_ndjson_gz(
                f"{folder}/part-{number:05d}.ndjson.gz", [each.to_json() for each in part]
            )
        )
    agreement = compare(
        store.each_ndjson_gz(snapshot["rows"]) if is_on else (),
        now_unused,
        is_on=is_on,
        by_kind=snapshot["by_kind"],
        period=snapshot["period"],
        as_of=as_of,
        region=region,
    )
    head = event["snapshot"]["key"].rpartition("/")[0]
    where = store.put_json(f"{head}/agreement.json", agreement)
    logger.info("inventory compared", differences=count, is_on=is_on)
    return {"differences": refs, "agreement": where, "counts": {"unused_findings_changed": count}}


def _of_analyzer(table: FindingsTable) -> Iterator[Finding]:
    """Yield what unused-access analyzers found, and still keep; what is resolved, too."""
    for item in table.all_items():
        # An item that an earlier version wrote has nothing but the finding.
        finding = Finding.from_json(item["finding"])
        is_its = finding.source == "access-analyzer" and finding.access == "unused"
        if is_its and not finding.is_deleted:
            yield finding


def _parts(found: Iterable[Finding]) -> Iterator[list[Finding]]:
    iterator = iter(found)
    while part := list(islice(iterator, PART)):
        yield part
