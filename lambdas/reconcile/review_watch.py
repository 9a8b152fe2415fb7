"""Review watch: blind spots as findings, what an analyzer left behind, exemptions that end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, TypedDict, cast

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.arns import region_of
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.findings.compare import gone
from pare.findings.model import Finding
from pare.findings.state import how_ended, is_expired
from pare.findings.unused import INVENTORY
from pare.findings.watch import WATCH, Left, Watch, differences, is_about, opened_again

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.reconcile.apply_archive_rules import Output as Applied
    from lambdas.reconcile.compare_findings import Output as Compared
    from lambdas.reconcile.list_analyzers import Output as Listed
    from pare.findings.card import CardJson, ExemptionJson
    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson, AppliedJson, SeenJson
    from pare.object_ref import ObjectRef

# Findings in an object of differences: of a million, the references still fit in a state.
PART = 10_000
# Sentences of what is unknown that go on; all of them are in the log.
MOST_UNKNOWN = 50


class FailureJson(TypedDict):
    Error: str


class Nothing(TypedDict):
    """An empty object."""


class Result(TypedDict):
    """What became of one analyzer; what a step leaves is empty where it failed."""

    analyzer: AnalyzerJson
    applied: Applied | Nothing
    compared: Compared | Nothing
    rules_failure: FailureJson | Nothing
    failure: FailureJson | Nothing


class Input(TypedDict):
    listed: Listed
    results: list[Result]
    execution: str
    terms: FindingTermsJson


class Output(TypedDict):
    differences: list[ObjectRef]  # those of the analyzers too
    counts: dict[str, int]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class Environment:
    findings_table_name: str
    cards_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where all findings lie that are to be brought in, with what was seen on the way."""
    settings, results = environment(), event["results"]
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    table = FindingsTable(client("dynamodb"), settings.findings_table_name)
    cards = CardsTable(client("dynamodb"), settings.cards_table_name)
    seen: SeenJson = store.get_json(event["listed"]["watch"])
    unwatched, left = _unwatched(table, seen)
    watch = Watch(
        seen=seen,
        applied=[_applied(store, each) for each in results],
        left=left,
        terms=event["terms"],
        now=utc_now(),
    )
    exempting = [card for card in cards.all_cards() if card["exemptions"]]
    known = {
        item["finding_id"]: Finding.from_json(item["finding"]) for item in table.by_analyzer(WATCH)
    }
    opened = list(_end_exemptions(watch, exempting, known, table, cards))
    again = {each.finding_id for each in opened}
    left_exempt = [_without_ended(card, watch) for card in exempting]
    own = [
        each
        for each in differences(watch, watch.blind_spots(left_exempt), known)
        if each.finding_id not in again or each.status == "RESOLVED"
    ]
    closed = {each.finding_id for each in own}
    found = chain(own, (each for each in opened if each.finding_id not in closed), unwatched)
    run = event["execution"].rpartition(":")[2]
    refs = [
        store.put_ndjson_gz(
            f"findings/reconcile/{run}/watch/part-{number:05d}.ndjson.gz",
            [each.to_json() for each in part],
        )
        for number, part in enumerate(_parts(found), start=1)
    ]
    unknown = list(_unknown(results))
    for sentence in unknown:
        logger.warning("unknown", what=sentence)
    counts = _counts(results)
    counts |= {
        "blind_spots_changed": len(own),
        "exemptions_ended": len(again),
        "analyzers_deleted": len(left),
        "findings_unwatched": len(unwatched),
        "analyzers_unknown": sum(1 for each in results if _error_of(each) is not None),
    }
    logger.info("watch reviewed", counts=counts)
    if len(unknown) > MOST_UNKNOWN:
        more = f"and {len(unknown) - MOST_UNKNOWN} more: see the log of the step Review watch"
        unknown = [*unknown[:MOST_UNKNOWN], more]
    compared = [ref for each in results for ref in _compared(each)["differences"]]
    return {"differences": [*refs, *compared], "counts": counts, "unknown": unknown}


def _compared(result: Result) -> Compared:
    return cast("Compared", result["compared"] or {"differences": [], "counts": {}, "error": None})


def _rules(result: Result) -> Applied:
    nothing: Applied = {"applied": None, "counts": {}, "error": "the step failed"}
    return cast("Applied", result["applied"] or nothing)


def _applied(store: EvidenceStore, result: Result) -> AppliedJson:
    """Return what became of the rules at one analyzer; unknown where the step says nothing."""
    rules = _rules(result)
    if rules["applied"]:
        found: AppliedJson = store.get_json(rules["applied"])
        return found
    return {
        "analyzer_arn": result["analyzer"]["arn"],
        "error": rules["error"],
        "drift": {"changed": [], "deleted": []},
        "hiding_public": [],
    }


def _unwatched(table: FindingsTable, seen: SeenJson) -> tuple[list[Finding], list[Left]]:
    """Return the findings of analyzers that are gone, as such, and these analyzers.

    Of a Region that could not be read, or is not governed any more, nothing is known.
    """
    there = {each["arn"] for region in seen["regions"] for each in region["analyzers"]}
    read = {region["region"] for region in seen["regions"] if region["error"] is None}
    unwatched: list[Finding] = []
    count: Counter[tuple[str, str]] = Counter()
    for item in table.all_items():
        arn = item["finding"]["analyzer_arn"]
        if arn in there or region_of(arn) not in read:
            continue
        finding = Finding.from_json(item["finding"])
        if how_ended(finding) in {None, "UNWATCHED"}:
            count[arn, finding.access] += 1
            if finding.is_open:
                unwatched.append(gone(finding, how="UNWATCHED"))
    left = [Left(arn, kind, number) for (arn, kind), number in sorted(count.items())]
    return unwatched, left


def _end_exemptions(
    watch: Watch,
    cards: Iterable[CardJson],
    known: dict[str, Finding],
    table: FindingsTable,
    cards_table: CardsTable,
) -> Iterator[Finding]:
    """End what has expired, and yield the findings of Pare's own that are open again by it.

    Access Analyzer's are set ACTIVE there, and come back by their event or the next reconcile. The
    card forgets the exemption last, and not before every Region could be read: whatever fails is
    done again.
    """
    for card in cards:
        expired = [each for each in card["exemptions"] if is_expired(each, watch.now)]
        if not expired:
            continue
        here = (card["account_id"], card["resource"])
        for region in watch.seen["regions"]:
            for analyzer in region["analyzers"]:
                _reactivate(analyzer, card, expired, table)
        own = chain(known.values(), _of_inventory(table, expired))
        for finding in own:
            is_here = (finding.account_id, finding.resource) == here
            is_over = finding.status == "RESOLVED" or finding.is_deleted
            if is_here and not is_over and any(is_about(each, finding) for each in expired):
                yield opened_again(finding, watch.now)
        for each in expired if _may_end(watch) else ():
            cards_table.end_exemption(
                card["card_id"],
                finding_type=each["finding_type"],
                principal=each["principal"],
                now=watch.now,
            )


def _may_end(watch: Watch) -> bool:
    """Return whether all that an exemption archived can be set active again."""
    return not watch.unread


def _without_ended(card: CardJson, watch: Watch) -> CardJson:
    if not _may_end(watch):
        return card
    kept = [each for each in card["exemptions"] if not is_expired(each, watch.now)]
    return {**card, "exemptions": kept}


def _of_inventory(table: FindingsTable, expired: Iterable[ExemptionJson]) -> Iterator[Finding]:
    if any(each["finding_type"].startswith("Unused") for each in expired):
        for item in table.by_analyzer(INVENTORY):
            yield Finding.from_json(item["finding"])


def _reactivate(
    analyzer: AnalyzerJson, card: CardJson, expired: list[ExemptionJson], table: FindingsTable
) -> None:
    """Set ACTIVE at one analyzer what an exemption archived there, but nothing else."""
    aws = AccessAnalyzer(client("accessanalyzer", analyzer["region"]))
    listed = aws.list_findings(
        analyzer["arn"],
        {
            "resource": {"eq": [card["resource"]]},
            "resourceOwnerAccount": {"eq": [card["account_id"]]},
            "status": {"eq": ["ARCHIVED"]},
        },
    )
    items = table.get_many(each.finding_id for each in listed)
    found = [Finding.from_json(item["finding"]) for item in items.values()]
    ids = [
        each.finding_id for each in found if any(is_about(exemption, each) for exemption in expired)
    ]
    if ids:
        aws.update_findings(analyzer["arn"], ids, "ACTIVE")


def _error_of(result: Result) -> str | None:
    failure = cast("FailureJson", result["failure"])
    return f"not compared: {failure['Error']}" if failure else _compared(result)["error"]


def _unknown(results: Iterable[Result]) -> Iterator[str]:
    """Yield a sentence for each thing that could not be seen or done at an analyzer."""
    for each in results:
        arn, error = each["analyzer"]["arn"], _error_of(each)
        if error:
            yield f"{arn}: {error}"
        failure = cast("FailureJson", each["rules_failure"])
        rules = failure["Error"] if failure else _rules(each)["error"]
        if rules:
            yield f"{arn}: archive rules: {rules}"


def _counts(results: Iterable[Result]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for each in results:
        counts.update(_compared(each)["counts"])
        counts.update(_rules(each)["counts"])
    return dict(sorted(counts.items()))


def _parts(found: Iterable[Finding]) -> Iterator[list[Finding]]:
    iterator = iter(found)
    while part := list(islice(iterator, PART)):
        yield part
