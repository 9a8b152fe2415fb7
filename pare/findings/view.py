"""Which cards and findings are shown, in which order, and how a terminal shows them.

Pure: `pare findings` chooses its rows here. People look at cards (one resource or principal over
all Regions); a card is listed with those of its findings that are asked for.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, TypedDict, get_args

from pare.findings.card import CardJson, ExemptionJson, ProposalNoteJson, ToldJson, card_id_of
from pare.findings.model import SEVERITIES, Exposure, Severity, Source
from pare.findings.phrases import (
    TEXTS,
    Words,
    headline_of,
    kind_of,
    levels,
    resource_in_words,
    type_key,
    unused,
    watched,
    whom,
)
from pare.inventory.view import cut
from pare.message import columns, plain, several

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pare.findings.model import FindingJson

SOURCES: tuple[str, ...] = get_args(Source)
# As Access Analyzer names them; ``DELETED``: its analyzer has it no more; ``UNWATCHED``: its
# analyzer is gone itself, so nobody knows whether it is open.
STATUSES = ("ACTIVE", "ARCHIVED", "RESOLVED", "DELETED", "UNWATCHED")
TYPES = (
    "ExternalAccess", "InternalAccess", "UnusedIAMRole", "UnusedIAMUserAccessKey",
    "UnusedIAMUserPassword", "UnusedPermission", "AnalyzerMissing", "AnalyzerNotActive",
    "AnalyzerDeleted", "AnalyzerUnread", "RegionUnread", "ArchiveRuleHidesPublic",
    "ArchiveRuleDrift", "ExemptionExpiring",
)  # fmt: skip
UNKNOWN = "unknown"
SHORTEST_ID = 8  # as shown
SHORTEST_PREFIX = 6  # as asked for
_WIDE_ENOUGH_FOR_OWNER = 110
_WIDE_ENOUGH_FOR_TYPES = 100
_LONGEST_WHAT = 48
_SHORTEST_TO = 18  # its heading
_WANTED_TO = 34


class FindingItemJson(TypedDict):
    """An item of the Findings table, as far as it is looked at here; some fields may be absent."""

    finding_id: str
    finding: FindingJson
    card_id: str
    status: str
    archived: dict[str, Any] | None
    history: list[dict[str, Any]]


class ListedFindingJson(TypedDict):
    """A finding in what `pare findings list --format json` prints."""

    finding_id: str
    finding_type: str
    access: str
    status: str  # of STATUSES
    source: str
    analyzer_arn: str
    region: str
    severity: str  # or ``unknown``: not judged
    severity_rule: str | None
    exposure: Exposure | None
    what: str  # open to whom, or what is unused, in words
    principal: dict[str, str]
    access_levels: list[str]
    created_at: str
    updated_at: str
    error: str | None
    archived: dict[str, Any] | None  # who archived it, where it is not open
    archiving: dict[str, Any] | None  # who asked for that, while the table does not have it yet
    unknown: list[str]


class ListedCardJson(TypedDict):
    """A card in what `pare findings list --format json` prints."""

    card_id: str
    short_id: str
    account_id: str
    account_name: str | None
    resource: str
    resource_type: str
    owner: str | None
    severity: str  # the gravest of the findings listed
    since: str  # of the oldest finding listed
    regions: list[str]
    told: ToldJson | None  # None: nobody was told yet
    due_at: str | None  # when somebody will hear of it
    exemptions: list[ExemptionJson]
    proposal: ProposalNoteJson | None
    findings: list[ListedFindingJson]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which findings are wanted. What is empty does not choose; several values of one are "or"."""

    statuses: tuple[str, ...] = ("ACTIVE",)
    types: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()  # ids or names; * stands for any characters
    regions: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()  # part of a name, or with *; letters of either case
    severities: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()  # ARNs; * stands for any characters

    def __call__(self, finding: FindingJson, owner: str | None) -> bool:
        """Return whether a finding is wanted; ``owner`` is its card's."""
        account = (finding["account_id"], finding["account_name"] or "")
        return (
            (not self.statuses or status_of(finding) in self.statuses)
            and (not self.types or finding["finding_type"] in self.types)
            and (not self.accounts or any(is_one_of(name, self.accounts) for name in account))
            and (not self.regions or finding["region"] in self.regions)
            and (not self.owners or any(_is_owner(owner or UNKNOWN, o) for o in self.owners))
            and (not self.severities or severity_of(finding) in self.severities)
            and (not self.sources or finding["source"] in self.sources)
            and (not self.resources or is_one_of(finding["resource"], self.resources))
        )


def _is_owner(owner: str, wanted: str) -> bool:
    owner, wanted = owner.lower(), wanted.lower()
    return fnmatchcase(owner, wanted) if "*" in wanted else wanted in owner


def is_one_of(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is one of these; * stands for any characters."""
    # Only * is special: an ARN may have [ and ? in it.
    return any(
        fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns
    )


def status_of(finding: FindingJson) -> str:
    """Return a finding's status, one of STATUSES, as ``pare.findings.state.how_ended`` judges."""
    if finding["status"] == "RESOLVED" or not finding["is_deleted"]:
        return finding["status"]
    return "DELETED" if finding["values"].get("ended") == "DELETED" else "UNWATCHED"


def archiving_of(item: FindingItemJson) -> dict[str, Any] | None:
    """Return who asked for a finding to be archived, while the table has it open still.

    What an exemption keeps quiet may stay open at its analyzer: nobody waits for that.
    """
    found = item.get("archived")
    if not found or status_of(item["finding"]) != "ACTIVE" or found.get("how") == "exemption":
        return None
    return found


def severity_of(finding: FindingJson) -> str:
    """Return a finding's severity, or ``unknown`` where nobody judged it."""
    return finding["severity"] or UNKNOWN


def rank(severity: str) -> int:
    """Return the place of a severity from low to critical; unknown is as high as high.

    What nobody judged may be grave, so it comes before what is known to be medium.
    """
    return SEVERITIES.index(severity) if severity in SEVERITIES else SEVERITIES.index("high")


def is_as_grave(severity: str, bar: Severity) -> bool:
    """Return whether a severity is at least the bar; what is unknown is."""
    return severity not in SEVERITIES or rank(severity) >= rank(bar)


# --- cards with their findings --------------------------------------------------------------------


def chosen(
    cards: Iterable[CardJson], items: Iterable[FindingItemJson], wanted: Filter
) -> list[ListedCardJson]:
    """Return the cards that have a finding that is wanted, with those findings, gravest first.

    An item without a card (an earlier version recorded it) makes a card of its own.
    """
    known = {card["card_id"]: card for card in cards}
    found: dict[str, list[FindingItemJson]] = {}
    for item in items:
        finding = item["finding"]
        card_id = card_id_of_item(item)
        card = known.get(card_id)
        owner = (card and card["owner"]) or finding["owner"]
        if wanted(finding, owner):
            found.setdefault(card_id, []).append(item)
    finding_ids = (item["finding_id"] for each in found.values() for item in each)
    length = unique_length([*known, *found], finding_ids)
    rows = [_card_row(card_id, known.get(card_id), found[card_id], length) for card_id in found]
    return sorted(rows, key=_gravest_first)


def _gravest_first(card: ListedCardJson) -> tuple[object, ...]:
    unknown_last = card["severity"] not in SEVERITIES
    return -rank(card["severity"]), unknown_last, card["since"], card["resource"], card["card_id"]


def unique_length(card_ids: Iterable[str], others: Iterable[str] = ()) -> int:
    """Return how many characters tell cards from each other and all else, eight at least."""
    cards = set(card_ids)
    ordered = sorted(cards | set(others))
    length = SHORTEST_ID
    for one, next_ in itertools.pairwise(ordered):
        if one in cards or next_ in cards:
            pairs = zip(one, next_, strict=False)
            same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            length = max(length, same + 1)
    return length


def _card_row(
    card_id: str, card: CardJson | None, items: list[FindingItemJson], length: int
) -> ListedCardJson:
    findings = [_finding_row(item) for item in items]
    findings.sort(key=lambda each: (-rank(each["severity"]), each["region"], each["finding_id"]))
    first = items[0]["finding"]
    severity = max((each["severity"] for each in findings), key=rank)
    return {
        "card_id": card_id,
        "short_id": card_id[:length],
        "account_id": first["account_id"],
        "account_name": (card and card["account_name"]) or first["account_name"],
        "resource": first["resource"],
        "resource_type": first["resource_type"],
        "owner": (card and card["owner"]) or first["owner"],
        "severity": severity,
        "since": min(each["created_at"] for each in findings),
        "regions": sorted({each["region"] for each in findings}),
        "told": card["told"] if card else None,
        "due_at": card.get("due_at") if card else None,
        "exemptions": card["exemptions"] if card else [],
        "proposal": card["proposal"] if card else None,
        "findings": findings,
    }


def _finding_row(item: FindingItemJson) -> ListedFindingJson:
    finding = item["finding"]
    return {
        "finding_id": item["finding_id"],
        "finding_type": finding["finding_type"],
        "access": finding["access"],
        "status": status_of(finding),
        "source": finding["source"],
        "analyzer_arn": finding["analyzer_arn"],
        "region": finding["region"],
        "severity": severity_of(finding),
        "severity_rule": finding["severity_rule"],
        "exposure": finding["exposure"],
        "what": in_words(finding),
        "principal": finding["principal"],
        "access_levels": finding["access_levels"],
        "created_at": finding["created_at"],
        "updated_at": finding["updated_at"],
        "error": finding["error"],
        "archived": None if archiving_of(item) else item.get("archived"),
        "archiving": archiving_of(item),
        "unknown": finding["unknown"],
    }


def counts_of(cards: Sequence[ListedCardJson]) -> dict[str, int]:
    """Return how many cards and findings there are, and how many cards of each severity."""
    by_severity = Counter(card["severity"] for card in cards)
    return {
        "cards": len(cards),
        "findings": sum(len(card["findings"]) for card in cards),
        **{each: by_severity[each] for each in (*SEVERITIES[::-1], UNKNOWN)},
    }


# --- words ----------------------------------------------------------------------------------------

# For a terminal: one plain line, and no mail program that would make links of it.
ENGLISH: Final = Words("en", plain)
# What nobody watches, in few words: its Region stands beside it.
_WATCH = {
    "AnalyzerMissing": "no {kind}",
    "AnalyzerNotActive": "{kind} not active",
    "AnalyzerDeleted": "findings left without their analyzer",
    "AnalyzerUnread": "analyzer {analyzer} not read, or its rules not written",
    "RegionUnread": "the Region could not be read",
    "ArchiveRuleHidesPublic": "archive rule {rule} hides public access",
    "ArchiveRuleDrift": "archive rules are not as in the code",
}
_UNUSED = {
    "unusediamrole": "unused role",
    "unusediamuseraccesskey": "unused access key",
    "unusediamuserpassword": "unused console password",
}


def in_words(finding: FindingJson) -> str:
    """Return open to whom and for what, or what is unused, or not watched, as one plain text."""
    kind = kind_of(finding)
    if kind in {"open", "internal"}:
        how = levels(finding, ENGLISH)
        said = whom(finding, ENGLISH, is_short=True).removeprefix("the ")
        said = said.replace("outside account ", "outside ", 1)
        return f"{said}: {how}" if how else said
    if kind == "error":
        return f"nobody knows: {plain(finding['error'], 60)}"
    if kind == "unusedpermission":
        return f"unused: {unused(finding, ENGLISH)}"
    if kind in _UNUSED:
        last = finding["last_accessed_at"]
        key = f" {plain(finding['access_key_id'], 40)}" if finding["access_key_id"] else ""
        return (
            f"{_UNUSED[kind]}{key}, {f'last used {plain(last)[:10]}' if last else 'no use known'}"
        )
    if finding["finding_type"] in _WATCH:
        return _WATCH[finding["finding_type"]].format(**watched(finding, ENGLISH))
    return headline_of(finding, ENGLISH)


# --- a table on a terminal ------------------------------------------------------------------------


def table(cards: Sequence[ListedCardJson], width: int) -> Iterator[str]:
    """Yield a header and a line for each card, no wider than the terminal."""
    if not cards:
        return
    longest_account = 20 if width >= _WIDE_ENOUGH_FOR_OWNER else 12
    cells = [
        (
            card["severity"],
            card["short_id"],
            card["since"][:10],
            _regions(card["regions"]),
            cut(plain(card["account_name"] or card["account_id"]), longest_account),
            _what(card, is_short=width < _WIDE_ENOUGH_FOR_TYPES),
        )
        for card in cards
    ]
    heads = ["SEVERITY", "ID", "SINCE", "REGIONS", "ACCOUNT", "WHAT"]
    shown = [[head, *(row[i] for row in cells)] for i, head in enumerate(heads)]
    shown[-1] = [cut(cell, _LONGEST_WHAT) for cell in shown[-1]]
    # To whom it is open is worth more than since when and where.
    for column in ("SINCE", "REGIONS"):
        if width - sum(_widest(each) + 2 for each in shown) < _WANTED_TO:
            del shown[next(i for i, each in enumerate(shown) if each[0] == column)]
    left = width - sum(_widest(each) + 2 for each in shown[:-1])
    told = ["OPEN TO, OR UNUSED", *(_first(card) for card in cards)]
    # Where both do not fit, to whom it is open gets the greater part.
    least_to = max(min(_widest(told), left * 3 // 5), _SHORTEST_TO)
    shown[-1] = [cut(cell, max(left - least_to - 2, 12)) for cell in shown[-1]]
    left -= _widest(shown[-1]) + 2
    owners = ["OWNER", *(cut(plain(card["owner"] or UNKNOWN), 24) for card in cards)]
    has_owners = width >= _WIDE_ENOUGH_FOR_OWNER and left - _widest(owners) - 2 >= _WANTED_TO
    left -= _widest(owners) + 2 if has_owners else 0
    shown.append([cut(cell, max(left, _SHORTEST_TO)) for cell in told])
    if has_owners:
        shown.append(owners)
    for line in zip(*shown, strict=True):
        padded = [
            cell + " " * (_widest(column) - columns(cell))
            for cell, column in zip(line, shown, strict=True)
        ]
        yield cut("  ".join(padded).rstrip(), width)


def _what(card: ListedCardJson, *, is_short: bool) -> str:
    """Return the type and name of a resource; ``is_short``: ``bucket x`` of ``S3 bucket x``."""
    if card["resource_type"] == "AWS::AccessAnalyzer::Analyzer":
        return f"{'' if is_short else 'Access Analyzer '}{_regions(card['regions'])}"
    said = resource_in_words(card["resource_type"], card["resource"], ENGLISH)
    kind = type_key("type", card["resource_type"])
    if not is_short or not TEXTS.has(kind):
        return said
    return said.removeprefix(ENGLISH(kind).rpartition(" ")[0]).strip()


def _first(card: ListedCardJson) -> str:
    """Return the gravest finding in words, and how many others tell something else."""
    words = list(dict.fromkeys(_with_status(each) for each in card["findings"]))
    return words[0] if len(words) == 1 else f"{words[0]} (+{len(words) - 1})"


def _with_status(finding: ListedFindingJson) -> str:
    status = finding["status"]
    return finding["what"] if status == "ACTIVE" else f"{status.lower()}: {finding['what']}"


def _regions(regions: list[str]) -> str:
    named = [plain(each, 20) for each in regions]
    return named[0] if len(named) == 1 else f"{named[0]} +{len(named) - 1}"


def _widest(column: Sequence[str]) -> int:
    return max(map(columns, column))


def summary(cards: Sequence[ListedCardJson]) -> str:
    """Return how much is listed, in one sentence."""
    if not cards:
        return "No finding matches."
    counts = counts_of(cards)
    parts = ", ".join(
        f"{counts[each]:,} {each}" for each in (*SEVERITIES[::-1], UNKNOWN) if counts[each]
    )
    accounts = {card["account_id"] for card in cards}
    regions = {region for card in cards for region in card["regions"]}
    return (
        f"{several(counts['cards'], 'card')} with {several(counts['findings'], 'finding')} in "
        f"{several(len(accounts), 'account')} and {several(len(regions), 'Region')}: {parts}."
    )


def blind_spots(items: Iterable[FindingItemJson]) -> list[FindingJson]:
    """Return the open findings about what nobody watches, in the order of their Regions."""
    found = [
        item["finding"]
        for item in items
        if item["finding"]["access"] == "watch"
        and status_of(item["finding"]) == "ACTIVE"
        and item["finding"]["finding_type"] not in {"ArchiveRuleDrift", "ExemptionExpiring"}
    ]
    return sorted(found, key=lambda each: (each["region"], each["finding_type"], each["resource"]))


# --- which one is meant ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meant:
    """A card, and the one finding of it that was named; None: the card as a whole."""

    card_id: str
    finding_id: str | None = None


def meant(asked: str, cards: Iterable[CardJson], items: Sequence[FindingItemJson]) -> list[Meant]:
    """Return what a text names: an id, a unique beginning of one, or the ARN of a resource.

    A whole id comes before all that begins so. More than one answer: the choice there is.
    """
    of_finding = {item["finding_id"]: card_id_of_item(item) for item in items}
    card_ids = {card["card_id"]: card["resource"] for card in cards}
    card_ids |= {card_id_of_item(item): item["finding"]["resource"] for item in items}
    if asked in of_finding:
        return [Meant(of_finding[asked], asked)]
    if asked in card_ids:
        return [Meant(asked)]
    by_arn = sorted(card_id for card_id, resource in card_ids.items() if resource == asked)
    if by_arn or len(asked) < SHORTEST_PREFIX:
        return [Meant(each) for each in by_arn]
    start = asked.lower()
    return [
        *(Meant(each) for each in sorted(card_ids) if each.startswith(start)),
        *(Meant(of_finding[each], each) for each in sorted(of_finding) if each.startswith(start)),
    ]


def card_id_of_item(item: FindingItemJson) -> str:
    """Return the id of a finding's card, also where an earlier version recorded the finding."""
    finding = item["finding"]
    return item.get("card_id") or card_id_of(finding["account_id"], finding["resource"])


def access_of(noted: FindingJson | ExemptionJson) -> tuple[object, ...]:
    """Return what access a finding or an exemption is about, beside its resource."""
    return noted["finding_type"], noted["principal"], noted["is_public"], noted["condition"]


def alike(item: FindingItemJson, items: Iterable[FindingItemJson]) -> list[FindingItemJson]:
    """Return the findings, in every Region, of the same resource and access."""
    return [
        each
        for each in items
        if card_id_of_item(each) == card_id_of_item(item)
        and access_of(each["finding"]) == access_of(item["finding"])
    ]


def is_ending_exemption(item: FindingItemJson) -> bool:
    """Return whether a finding announces the end of an exemption of its card."""
    finding = item["finding"]
    return (
        finding["finding_type"] == "ExemptionExpiring"
        and finding["values"].get("what") == "exemption"
    )


def exempted_by(
    ending: FindingItemJson, card: CardJson | None, items: Iterable[FindingItemJson]
) -> list[FindingItemJson]:
    """Return the findings of the card that the ending exemption is about."""
    values = ending["finding"]["values"]
    about = [
        access_of(each)
        for each in (card["exemptions"] if card else ())
        if (each["expires"], each["by"], each["reason"])
        == (values.get("expires"), values.get("owner"), values.get("reason"))
    ]
    return [
        item
        for item in items
        if card_id_of_item(item) == card_id_of_item(ending) and access_of(item["finding"]) in about
    ]


def is_public_or_critical(item: FindingItemJson) -> bool:
    """Return whether a finding is of public access or critical, or nobody judged it."""
    finding = item["finding"]
    return bool(
        finding["is_public"]
        or finding["exposure"] == "public"
        or severity_of(finding) not in SEVERITIES[:-1]
    )
