"""Compare findings: one analyzer's list against the table, for what events missed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import FindingsTable
from pare.errors import AwsServiceError, PareError, ThrottledError
from pare.findings.compare import Comparison, Known, finding_of, gone
from pare.findings.model import Finding
from pare.findings.state import how_ended
from pare.message import plain

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.compare import Listed
    from pare.findings.watch import AnalyzerJson
    from pare.object_ref import ObjectRef

# Findings in an object of differences: of a million, the references still fit in a state.
PART = 10_000
# Time that is left for the objects and the answer when findings are still asked for one by one.
RESERVE_MS = 60_000


class Input(TypedDict):
    analyzer: AnalyzerJson
    execution: str


class Output(TypedDict):
    """``error``: why the analyzer could not be compared; then nothing of it is closed."""

    differences: list[ObjectRef]
    counts: dict[str, int]
    error: str | None


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the findings lie that are to be brought in."""
    analyzer = event["analyzer"]
    logger.append_keys(analyzer=analyzer["arn"])
    settings = environment()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    table = FindingsTable(client("dynamodb"), settings.findings_table_name)
    aws = AccessAnalyzer(client("accessanalyzer", analyzer["region"]))
    run = event["execution"].rpartition(":")[2]
    folder = f"findings/reconcile/{run}/{analyzer['region']}/{analyzer['name']}"
    known = known_of(table, analyzer["arn"])
    comparison = Comparison(known, utc_now(), analyzer["created_at"])
    refs: list[ObjectRef] = []
    try:
        for number, part in enumerate(
            _parts(_differences(comparison, aws, table, analyzer, context)), start=1
        ):
            key = f"{folder}/part-{number:05d}.ndjson.gz"
            refs.append(store.put_ndjson_gz(key, [each.to_json() for each in part]))
    except (AwsServiceError, ThrottledError):
        raise  # the step is tried again
    except PareError as error:
        logger.warning("findings not compared", error=str(error))
        # What is written already is true whatever the rest of the list would have said.
        counts = dict(comparison.counts)
        return {"differences": refs, "counts": counts, "error": plain(str(error), 300)}
    counts = dict(sorted(comparison.counts.items()))
    logger.info("findings compared", counts=counts)
    return {"differences": refs, "counts": counts, "error": _left_open(counts)}


def _left_open(counts: dict[str, int]) -> str | None:
    """Return what is unknown of the analyzer although its list was read."""
    sentences = {
        "unasked": "findings that were not listed could not be asked for in time",
        "of_unknown_type": "findings are of a type that this version does not know",
        "not_listed_yet": "findings are not listed, and the analyzer is younger than a day",
        "deleted_but_listed": "findings are listed, and an event said that they are deleted",
    }
    found = [f"{counts[name]} {text}" for name, text in sentences.items() if counts.get(name)]
    return "; ".join(found) or None


def known_of(table: FindingsTable, analyzer_arn: str) -> dict[str, Known]:
    """Return what the table knows of an analyzer's findings, by id."""
    return {
        item["finding_id"]: Known(
            status=item["finding"]["status"],
            is_deleted=item["finding"]["is_deleted"],
            updated_at=item["finding"]["updated_at"],
            created_at=item["finding"]["created_at"],
            how=how_ended(Finding.from_json(item["finding"])),
        )
        for item in table.by_analyzer(analyzer_arn)
    }


def _differences(
    comparison: Comparison,
    aws: AccessAnalyzer,
    table: FindingsTable,
    analyzer: AnalyzerJson,
    context: LambdaContext,
) -> Iterator[Finding]:
    """Yield the findings to be brought in: those listed first, then those that are gone."""
    arn, counts = analyzer["arn"], comparison.counts
    for listed in comparison.differences(aws.list_findings(arn)):
        yield from _as_findings(listed, analyzer, counts)
    vanished = comparison.vanished()
    for number, finding_id in enumerate(vanished):
        if context.get_remaining_time_in_millis() < RESERVE_MS:
            counts["unasked"] += len(vanished) - number
            return
        there = aws.finding(arn, finding_id)
        if there is not None:  # the list was read while it changed
            counts["not_listed_but_there"] += 1
            changed = comparison.difference(there)
            if changed:
                yield from _as_findings(changed, analyzer, counts)
            continue
        item: Any = table.get(finding_id)
        if item is not None:
            how = comparison.ended_how(finding_id)
            counts["gone" if how == "DELETED" else "gone_with_an_earlier_analyzer"] += 1
            yield gone(Finding.from_json(item["finding"]), how=how)


def _as_findings(listed: Listed, analyzer: AnalyzerJson, counts: Counter[str]) -> Iterator[Finding]:
    finding = finding_of(listed, analyzer_arn=analyzer["arn"], analyzer_type=analyzer["type"])
    if finding:
        yield finding
    else:
        counts["of_unknown_type"] += 1


def _parts(found: Iterable[Finding]) -> Iterator[list[Finding]]:
    iterator = iter(found)
    while part := list(islice(iterator, PART)):
        yield part
