"""Review watch: blind spots as findings, what an analyzer left behind, exemptions that end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypedDict, cast

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.arns import region_of
from pare.aws.access_analyzer import AccessAnalyzer
from pare.aws.calls import QUICK_CONFIG
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.clock import parse_time
from pare.errors import AwsCallError, PareError
from pare.findings.archive_rules import ArchiveRule, reactivated_key
from pare.findings.compare import access_of, gone
from pare.findings.model import Finding
from pare.findings.state import how_ended, is_expired
from pare.findings.unused import INVENTORY
from pare.findings.watch import (
    WATCH,
    Left,
    Unread,
    Watch,
    differences,
    is_about,
    opened_again,
    sight,
)
from pare.message import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.reconcile.apply_archive_rules import Output as Applied
    from lambdas.reconcile.compare_findings import Output as Compared
    from lambdas.reconcile.list_analyzers import Output as Listed
    from pare.findings.archive_rules import FilterJson
    from pare.findings.card import CardJson, ExemptionJson
    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson, AppliedJson, RegionJson, SeenJson, Sight
    from pare.object_ref import ObjectRef

# Findings in an object of differences: of a million, the references still fit in a state.
PART = 10_000
# Sentences of what is unknown that go on; all of them are in the log.
MOST_UNKNOWN = 50
# Why nobody watches any more, where the settings say so: no blind spot (``values["because"]``).
NOT_GOVERNED = "the Region is not governed any more"
NOT_WANTED = "the settings have no analyzer of unused access any more"
# How a person archived one finding alone (``archived.how``).
BY_PERSON = frozenset({"pare findings archive", "call"})


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
    # Analyzers come and go while findings are compared, so they are listed again.
    began = utc_now()
    seen = _seen_again_now(store.get_json(event["listed"]["watch"]))
    unwatched, left = _unwatched(table, seen, event["terms"], began)
    unknown = [*_unknown(results, seen), *_by_choice(unwatched)]
    run = event["execution"].rpartition(":")[2]
    watch = Watch(
        seen=seen,
        applied=[_applied(store, each) for each in results],
        left=left,
        terms=event["terms"],
        now=utc_now(),
        unread_analyzers=list(_unread(results)),
    )
    exempting = [card for card in cards.all_cards() if card["exemptions"]]
    items = {item["finding_id"]: item for item in table.by_analyzer(WATCH)}
    known = {each: Finding.from_json(item["finding"]) for each, item in items.items()}
    ending = _end_exemptions(watch, exempting, items, table, cards)
    unknown += ending.unknown
    again = {each.finding_id for each in ending.opened}
    left_exempt = [_without_ended(card, watch, ending) for card in exempting]
    own = [
        each
        for each in differences(watch, watch.blind_spots(left_exempt), known)
        if each.finding_id not in again or each.status == "RESOLVED"
    ]
    closed = {each.finding_id for each in own}
    reopened = (each for each in ending.opened if each.finding_id not in closed)
    found = chain(own, reopened, unwatched, _reactivated(store, results, event))
    refs = [
        store.put_ndjson_gz(
            f"findings/reconcile/{run}/watch/part-{number:05d}.ndjson.gz",
            [each.to_json() for each in part],
        )
        for number, part in enumerate(_parts(found), start=1)
    ]
    for sentence in unknown:
        logger.warning("unknown", what=sentence)
    counts = _counts(results)
    counts |= {
        "blind_spots_changed": len(own),
        "exemptions_ended": ending.ended,
        "findings_opened_again": len(again),
        "analyzers_deleted": len(left),
        "findings_unwatched": len(unwatched),
        "analyzers_unknown": sum(1 for each in results if _error_of(each) is not None),
    }
    logger.info("watch reviewed", counts=counts)
    if len(unknown) > MOST_UNKNOWN:
        more = f"and {len(unknown) - MOST_UNKNOWN} more: see the log of the step Review watch"
        unknown = [*unknown[:MOST_UNKNOWN], more]
    compared = [ref for each in results for ref in _differences(store, each, seen, run)]
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


def _seen_again_now(listed: SeenJson) -> SeenJson:
    """Return the analyzers there are now; a Region is read if it was read then and now."""
    regions: list[RegionJson] = []
    for before in listed["regions"]:
        now = before
        if before["error"] is None:
            name = before["region"]
            now = AccessAnalyzer(client("accessanalyzer", name, QUICK_CONFIG)).read_region()
        regions.append(now)
    return {**listed, "regions": regions}


def _is_there(analyzer: AnalyzerJson, seen: SeenJson) -> bool:
    """Return whether the very analyzer that was compared works still."""
    return any(
        (each["arn"], each["created_at"]) == (analyzer["arn"], analyzer["created_at"])
        and each["status"] == "ACTIVE"
        for region in seen["regions"]
        for each in region["analyzers"]
    )


def _differences(store: EvidenceStore, result: Result, seen: SeenJson, run: str) -> list[ObjectRef]:
    """Return where the differences of an analyzer lie.

    An analyzer that is deleted answers as if it had no such finding. So of one that is not there
    any more, what looks as if it were gone is left out.
    """
    refs, analyzer = _compared(result)["differences"], result["analyzer"]
    if not refs or _is_there(analyzer, seen):
        return refs
    key = f"findings/reconcile/{run}/watch/{analyzer['region']}-{analyzer['name']}.ndjson.gz"
    rows = (row for ref in refs for row in store.each_ndjson_gz(ref))
    kept = (row for row in rows if how_ended(Finding.from_json(row)) != "DELETED")
    return [store.put_ndjson_gz(key, kept)]


def _reactivated(
    store: EvidenceStore, results: Iterable[Result], event: Input
) -> Iterator[Finding]:
    """Yield what was set ACTIVE because of archive rules, also where the step failed later."""
    for each in results:
        analyzer = each["analyzer"]
        key = reactivated_key(event["execution"], analyzer["region"], analyzer["name"])
        ref: ObjectRef = {"bucket": store.bucket, "key": key}
        if store.find_bytes(ref):
            yield from map(Finding.from_json, store.get_ndjson_gz(ref))


def _unwatched(
    table: FindingsTable, seen: SeenJson, terms: FindingTermsJson, began: datetime
) -> tuple[list[Finding], list[Left]]:
    """Return the findings of analyzers that are gone, as such, and those analyzers that are missed.

    Of a Region that could not be read nothing is known. What was recorded after the analyzers were
    listed (``began``) may be of one that is newer than the list. The table is read a second time,
    for what others see of the same access, only if there is something left.
    """
    governed = {region["region"] for region in seen["regions"]}
    there = {each["arn"]: each for region in seen["regions"] for each in region["analyzers"]}
    read = {region["region"] for region in seen["regions"] if region["error"] is None}
    unwatched: list[Finding] = []
    left_behind: list[tuple[str, Sight]] = []
    for item in table.all_items():
        arn = item["finding"]["analyzer_arn"]
        region = region_of(arn)
        if not region or (region in governed and region not in read):
            continue
        finding = Finding.from_json(item["finding"])
        if finding.is_open and parse_time(item["recorded_at"]) > began:
            continue
        how = how_ended(finding)
        if arn in there:
            if how == "UNWATCHED" and _is_of_an_earlier(finding, there[arn]):
                left_behind.append((arn, sight(finding)))
        elif how in {None, "UNWATCHED"}:
            because = None
            if region not in governed:
                because = NOT_GOVERNED
            elif finding.access == "unused" and not terms["expects_unused_analyzer"]:
                because = NOT_WANTED
            else:
                left_behind.append((arn, sight(finding)))
            if finding.is_open:
                ended = gone(finding, how="UNWATCHED")
                word = {"because": because} if because else {}
                values = tuple(sorted({**dict(ended.values), **word}.items()))
                unwatched.append(replace(ended, values=values))
    if not left_behind:
        return unwatched, []
    seen_again = _seen_again(table, {each for _, each in left_behind}, set(there), read)
    count = Counter((arn, each.kind) for arn, each in left_behind if each not in seen_again)
    return unwatched, [Left(arn, kind, number) for (arn, kind), number in sorted(count.items())]


def _is_of_an_earlier(finding: Finding, analyzer: AnalyzerJson) -> bool:
    """Return whether an analyzer found it that had the same ARN and was deleted."""
    return parse_time(finding.created_at) < parse_time(analyzer["created_at"])


def _seen_again(
    table: FindingsTable, sights: set[Sight], there: set[str], read: set[str]
) -> set[Sight]:
    """Return what an analyzer has seen that is there, or may be: its Region could not be read."""
    found: set[Sight] = set()
    for item in table.all_items():
        arn = item["finding"]["analyzer_arn"]
        region = region_of(arn)
        if not region or (arn not in there and region in read):
            continue  # Pare's own, or of an analyzer that is gone
        finding = Finding.from_json(item["finding"])
        if how_ended(finding) != "UNWATCHED" and sight(finding) in sights:
            found.add(sight(finding))
    return found


@dataclass(slots=True)
class Ending:
    """What becomes of the exemptions that have expired."""

    opened: list[Finding] = field(default_factory=list)  # to be recorded as open
    ended: int = 0  # exemptions that the cards have no more
    held: set[str] = field(default_factory=set)  # cards with what could not be set ACTIVE
    unknown: list[str] = field(default_factory=list)


def _end_exemptions(
    watch: Watch,
    cards: Iterable[CardJson],
    known: Mapping[str, dict[str, Any]],
    table: FindingsTable,
    cards_table: CardsTable,
) -> Ending:
    """End what has expired: what it archived is open again, at its analyzer and on its card.

    An expired exemption has no effect, but the card forgets it last: when all that it was about is
    open there. So whatever fails, or is lost on the way to the card, is done again. ``known``:
    items of Pare's own blind spots, by id.
    """
    ending = Ending()
    for card in cards:
        expired = [each for each in card["exemptions"] if is_expired(each, watch.now)]
        if not expired:
            continue
        found = list(_own_to_open(card, expired, known, table, watch.now))
        for analyzer in watch.analyzers():
            try:
                found += _to_open(analyzer, card, expired, table, watch)
            except PareError as error:
                ending.held.add(card["card_id"])
                ending.unknown.append(
                    f"{analyzer['arn']}: an exemption has expired of {plain(card['resource'], 300)}"
                    f", and what it archived there may still be archived: {plain(str(error), 300)}"
                )
        ending.opened += found
        if found or watch.unread or card["card_id"] in ending.held:
            continue
        for each in expired:
            cards_table.end_exemption(card["card_id"], each, now=watch.now)
        ending.ended += len(expired)
    return ending


def _without_ended(card: CardJson, watch: Watch, ending: Ending) -> CardJson:
    """Return the card with the exemptions of which there is still something to announce."""
    if watch.unread or card["card_id"] in ending.held:
        return card
    kept = [each for each in card["exemptions"] if not is_expired(each, watch.now)]
    return {**card, "exemptions": kept}


def _own_to_open(
    card: CardJson,
    expired: list[ExemptionJson],
    known: Mapping[str, dict[str, Any]],
    table: FindingsTable,
    now: datetime,
) -> Iterator[Finding]:
    """Yield Pare's own findings that an exemption archived, as open."""
    for item in chain(known.values(), _of_inventory(table, expired)):
        finding = Finding.from_json(item["finding"])
        is_here = (finding.account_id, finding.resource) == (card["account_id"], card["resource"])
        is_over = finding.status == "RESOLVED" or finding.is_deleted
        if not is_here or is_over or finding.finding_id in card["open"]:
            continue
        if _is_about_one(expired, finding) and not _is_meant(item, now):
            yield opened_again(finding, now)


def _of_inventory(
    table: FindingsTable, expired: Iterable[ExemptionJson]
) -> Iterator[dict[str, Any]]:
    if any(each["finding_type"].startswith("Unused") for each in expired):
        yield from table.by_analyzer(INVENTORY)


def _to_open(
    analyzer: AnalyzerJson,
    card: CardJson,
    expired: list[ExemptionJson],
    table: FindingsTable,
    watch: Watch,
) -> list[Finding]:
    """Set ACTIVE at one analyzer what an exemption archived there; return it as open.

    Neither what a person archived by itself, nor what a rule of ours archives. With what is ACTIVE
    there already and not open on the card: the exemption kept it from being so. Raises PareError
    where the analyzer cannot be asked or changed.
    """
    if analyzer["status"] in {"CREATING", "FAILED"}:
        return []  # it has never found anything
    if analyzer["status"] != "ACTIVE":
        raise AwsCallError(f"the analyzer is {analyzer['status']}")
    arn = analyzer["arn"]
    aws = AccessAnalyzer(client("accessanalyzer", analyzer["region"]))
    criteria: FilterJson = {
        "resource": {"eq": [card["resource"]]},
        "resourceOwnerAccount": {"eq": [card["account_id"]]},
        "status": {"eq": ["ACTIVE", "ARCHIVED"]},
    }
    listed = {each.finding_id: each.status for each in aws.list_findings(arn, criteria)}
    items = {
        finding_id: item
        for finding_id, item in table.get_many(listed).items()
        if _is_about_one(expired, Finding.from_json(item["finding"]))
    }
    archived = {
        finding_id
        for finding_id, item in items.items()
        if listed[finding_id] == "ARCHIVED" and not _is_meant(item, watch.now)
    }
    for rule in _rules_at(analyzer, watch):
        if archived:
            of_rule: FilterJson = {**rule.filter, "status": {"eq": ["ARCHIVED"]}}
            archived -= {each.finding_id for each in aws.list_findings(arn, of_rule)}
    if archived and analyzer["managed_by"]:
        raise AwsCallError(f"{analyzer['managed_by']} manages the analyzer")
    gone = aws.update_findings(arn, archived, "ACTIVE") if archived else []
    opened = []
    for finding_id, item in items.items():
        finding = Finding.from_json(item["finding"])
        is_active = listed[finding_id] == "ACTIVE"
        was_set = finding_id in archived and finding_id not in gone
        if was_set or (is_active and how_ended(finding) == "ARCHIVED"):
            opened.append(opened_again(finding, watch.now))
        elif is_active and how_ended(finding) is None and finding_id not in card["open"]:
            # As it is: a later time would outrank what its analyzer says of it next.
            opened.append(finding)
    return opened


def _rules_at(analyzer: AnalyzerJson, watch: Watch) -> Iterator[ArchiveRule]:
    """Yield the rules of ours that the analyzer has today."""
    kind, region = access_of(analyzer["type"]), analyzer["region"]
    for each in watch.terms["archive_rules"] if analyzer["managed_by"] is None else ():
        rule = ArchiveRule.from_json(each)
        if kind and kind != "watch" and rule.is_for(kind, region, watch.now.date()):
            yield rule


def _is_about_one(expired: Iterable[ExemptionJson], finding: Finding) -> bool:
    return any(is_about(each, finding) for each in expired)


def _is_meant(item: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a person archived this very finding, and for longer than until now."""
    archived = item.get("archived")
    if not archived or archived["how"] not in BY_PERSON:
        return False
    return not is_expired(archived, now)


def _error_of(result: Result) -> str | None:
    failure = cast("FailureJson", result["failure"])
    return f"not compared: {failure['Error']}" if failure else _compared(result)["error"]


def _rules_error_of(result: Result) -> str | None:
    failure = cast("FailureJson", result["rules_failure"])
    return failure["Error"] if failure else _rules(result)["error"]


def _unknown(results: Iterable[Result], seen: SeenJson) -> Iterator[str]:
    """Yield a sentence for each thing that could not be seen or done at an analyzer."""
    for each in results:
        arn, error, rules = each["analyzer"]["arn"], _error_of(each), _rules_error_of(each)
        if error:
            yield f"{arn}: {error}"
        if rules:
            yield f"{arn}: archive rules: {rules}"
        if not _is_there(each["analyzer"], seen):
            yield f"{arn}: it was deleted or stopped meanwhile, so nothing of it is closed"


def _by_choice(unwatched: Iterable[Finding]) -> Iterator[str]:
    """Yield a sentence for each analyzer that is not watched any more because of the settings."""
    count = Counter(
        (each.analyzer_arn, str(dict(each.values)["because"]))
        for each in unwatched
        if "because" in dict(each.values)
    )
    for (arn, because), number in sorted(count.items()):
        yield f"{arn}: {number} open findings are unwatched from now on: {because}"


def _unread(results: Iterable[Result]) -> Iterator[Unread]:
    """Yield the analyzers whose findings were not read, or whose rules were not written."""
    for each in results:
        errors: dict[str, str] = {}
        # Other sentences are about a few findings of a list that was read.
        findings, rules = _error_of(each), _rules_error_of(each)
        if each["failure"] or (findings and findings.startswith("access-analyzer:")):
            errors["findings"] = str(findings)
        if rules:
            errors["archive rules"] = rules
        if errors:
            yield Unread(each["analyzer"], " and ".join(errors), "; ".join(errors.values()))


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
