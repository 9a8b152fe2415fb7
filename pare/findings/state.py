"""What an event changes in what is known of a finding, and what there is to tell of a card.

Events come late, twice, out of order or never (facts §4: best effort), so an event counts only if
it is newer than the record: by ``updated_at``, then by deletion, status and ``analyzed_at``.

A card is what people hear of. What was last told of it stays on it, so what there is to tell is
the difference between that and what is open: whatever order events come in, and however often, the
card and the news end the same. All functions are pure; they return a new card.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from zoneinfo import ZoneInfo

from pare.clock import format_time, parse_time
from pare.findings.card import card_id_of
from pare.findings.severity import gravest, rank, severity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pare.findings.card import (
        CardJson,
        CardNews,
        CardViewJson,
        EndedJson,
        ExemptionJson,
        HowEnded,
        OpenJson,
        ProposalNoteJson,
        ToldJson,
        UnwatchedJson,
        Urgency,
    )
    from pare.findings.model import Finding, FindingJson, Severity
    from pare.findings.terms import FindingTermsJson

# What became of one finding.
News = Literal["new", "reopened", "archived", "resolved", "deleted", "changed", "none"]

_ENDED = ("ARCHIVED", "RESOLVED")
_OVER: frozenset[HowEnded | None] = frozenset({"RESOLVED", "DELETED"})

# After a partial fix the old finding is resolved and a new one created (facts §1): what is closed
# is told no sooner than this after it closed.
CLOSED_SETTLES: Final = timedelta(minutes=30)
# ``due_at`` of a card that somebody changed who does not know the terms (a proposal has come, a
# person archived): the next round asks first whether and when somebody should hear of it.
LOOK_AGAIN: Final = "1970-01-01T00:00:00Z"
MAX_MESSAGES: Final = 20
# An item has at most 400 KB. A card names so many open findings, and counts those beyond.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
MAX_OPEN: Final = 2_000
MAX_ARCHIVED: Final = 1_000
MAX_UNWATCHED: Final = 400
# Reminders come after n, 2n, 4n… days; 2 to the power of this is the most.
_MOST_DOUBLINGS = 10
_OPENING: frozenset[CardNews] = frozenset({"first_sight", "worsened", "reopened"})
_CLOSING: frozenset[CardNews] = frozenset({"closed", "archived", "unwatched"})
# They say nothing of the access itself, so what is archived beside them does not matter.
_NOTICES = frozenset({"ExemptionExpiring", "ArchiveRuleDrift"})
_LONGEST_PRINCIPAL = 60


# --- One finding ----------------------------------------------------------------------------------


def supersedes(recorded: Finding | None, seen: Finding) -> bool:
    """Return whether the seen finding is newer than the recorded one, or the first."""
    if recorded is None:
        return True
    return _age(seen) > _age(recorded)


def _age(finding: Finding) -> tuple[datetime, int, int, datetime]:
    """Return what orders the states of one finding, whatever order they arrive in."""
    return (
        parse_time(finding.updated_at),
        # A deletion leaves status and updatedAt as they were (facts §4); that the finding itself
        # is gone says more than that it was deleted, perhaps with its analyzer.
        finding.is_deleted + (how_ended(finding) == "DELETED"),
        ("ACTIVE", *_ENDED).index(finding.status),
        parse_time(finding.analyzed_at),
    )


def how_ended(finding: Finding) -> HowEnded | None:
    """Return how a finding ended; None while it is open.

    What AWS deletes before it was resolved may have gone with its analyzer: then nobody knows
    whether it is still so. Only who found that analyzer alive, reconcile or, of an error, the
    enrich step, says that the finding itself is gone (``values["ended"]``,
    ``pare.findings.compare.deleted_how``).
    The deletion of what is resolved is AWS's cleaning up, after 90 days.
    """
    if finding.status == "RESOLVED":
        return "RESOLVED"
    if finding.is_deleted:
        return "DELETED" if dict(finding.values).get("ended") == "DELETED" else "UNWATCHED"
    return "ARCHIVED" if finding.status == "ARCHIVED" else None


def news(recorded: Finding | None, seen: Finding) -> News:
    """Return what became of a finding that supersedes the recorded one."""
    before = how_ended(recorded) if recorded else "RESOLVED"
    after = how_ended(seen)
    if recorded is None:
        return "none" if after else "new"  # it ended before anybody heard of it
    if before != after:
        if after is None:
            return "reopened"
        if after == "ARCHIVED":
            return "archived"
        if after == "RESOLVED":
            return "resolved"
        return "none" if recorded.is_deleted else "deleted"
    told = ("error", "is_public", "principal", "actions", "condition", "unused_service_count",
            "unused_action_count")  # fmt: skip
    if after is None and any(getattr(recorded, name) != getattr(seen, name) for name in told):
        return "changed"
    return "none"


# --- Exemptions -----------------------------------------------------------------------------------


def is_expired(exemption: ExemptionJson, now: datetime) -> bool:
    """Return whether the last day of an exemption, in UTC, is over."""
    expires = exemption["expires"]
    return expires is not None and now.astimezone(UTC).date().isoformat() > expires


def covers(exemption: ExemptionJson, finding: Finding) -> bool:
    """Return whether an exemption of the finding's card is about it, expired or not.

    It is about one access: this type, principal and condition, public or not, and no graver than
    what was exempted. Findings of unused access have no principal, and neither has their exemption.
    """
    return _is_same_access(exemption, finding.to_json()) and rank(_severity(finding)) <= rank(
        exemption["severity"]
    )


def _is_same_access(one: ExemptionJson | FindingJson, other: ExemptionJson | FindingJson) -> bool:
    return (one["finding_type"], one["principal"], one["is_public"], one["condition"]) == (
        other["finding_type"], other["principal"], other["is_public"], other["condition"],
    )  # fmt: skip


def exemption_of(card: CardJson | None, finding: Finding, now: datetime) -> ExemptionJson | None:
    """Return the exemption of a card that says that this access is meant, or None."""
    for each in card["exemptions"] if card else []:
        if covers(each, finding) and not is_expired(each, now):
            return each
    return None


# --- What an event changes ------------------------------------------------------------------------


def applied(
    card: CardJson | None,
    finding: Finding,
    now: datetime,
    terms: FindingTermsJson,
    *,
    archived_by_pare: bool = False,
    counted: Severity | None = None,
) -> CardJson:
    """Return the card with the present state of one of its findings; a new card where it has none.

    The same state again gives an equal card (``version`` and ``updated_at`` are the table's to
    set). An exempt finding counts as archived by us. ``archived_by_pare``: an archive rule of ours,
    or a person through Pare, archived it. ``counted``: how the card has counted this finding in
    ``more_open``, if it has (``counted_as``).
    """
    before = card or new_card(finding)
    after = _without(before, finding.finding_id)
    if counted:
        after["more_open"] = _counted(after["more_open"], counted, -1)
    how = how_ended(finding)
    is_exempt = exemption_of(before, finding, now) is not None
    if how is None and not is_exempt:
        noted = _open(before, finding)
        if _has_room(before, after, finding.finding_id, noted["severity"]):
            after["open"][finding.finding_id] = noted
        else:
            after["more_open"] = _counted(after["more_open"], noted["severity"], 1)
    elif _was_heard_of(before, finding.finding_id, how):
        by_pare = how in {None, "ARCHIVED"} and (is_exempt or archived_by_pare)
        after["ended"][finding.finding_id] = _end(before, finding, how, by_pare=by_pare)
    if how == "ARCHIVED" or (how is None and is_exempt):
        after["archived"] = _with_archived(after, finding)
    if how == "UNWATCHED":
        _note_unwatched(after, finding, _unwatched(before).get(finding.finding_id))
    is_counted = how is None and not is_exempt and finding.finding_id not in after["open"]
    after["opened_at"] = _opened_at(after, before, [finding.created_at] if is_counted else [])
    after["account_name"] = finding.account_name or before["account_name"]
    after["owner"] = finding.owner or before["owner"]
    return _due_again(before, after, now, terms)


def _severity(finding: Finding) -> Severity:
    return finding.severity or severity_of(finding)[0]


def _open(before: CardJson, finding: Finding) -> OpenJson:
    """Return what a card notes of an open finding.

    Where Access Analyzer could not look (``error``), nobody knows that it got better.
    """
    severity = _severity(finding)
    was = before["open"].get(finding.finding_id) or _heard(before).get(finding.finding_id)
    if finding.error and was and rank(was["severity"]) > rank(severity):
        severity = was["severity"]
    return {
        "severity": severity,
        "finding_type": finding.finding_type,
        "region": finding.region,
        "principal": principal_text(finding),
        "digest": _digest(finding),
        "created_at": finding.created_at,
    }


def _end(before: CardJson, finding: Finding, how: HowEnded | None, *, by_pare: bool) -> EndedJson:
    was = _heard(before).get(finding.finding_id)
    return {
        "how": how or "ARCHIVED",
        "by_pare": by_pare,
        "finding_type": finding.finding_type,
        "severity": was["severity"] if was else _severity(finding),
        "principal": principal_text(finding),
        "at": finding.updated_at,
    }


def _with_archived(card: CardJson, finding: Finding) -> dict[str, OpenJson]:
    """Return what is archived of a card, with a finding; of too many, the gravest are kept."""
    archived = {**card["archived"], finding.finding_id: _open(card, finding)}
    if len(archived) > MAX_ARCHIVED:
        kept = sorted(archived, key=lambda each: (-rank(archived[each]["severity"]), each))
        archived = {key: archived[key] for key in kept[:MAX_ARCHIVED]}
    return archived


def _note_unwatched(card: CardJson, finding: Finding, was: UnwatchedJson | None) -> None:
    """Note on a card that nobody knows of a finding; ``was``: as it was noted before.

    The same again changes nothing: what others have seen since stays so. Of too many, those that
    others have seen give way; else the card says that there are more, and is never called closed.
    """
    unwatched = _unwatched(card)
    if was is None or was["at"] != finding.updated_at:
        was = {"about": _about(_open(card, finding)), "at": finding.updated_at}
    if len(unwatched) >= MAX_UNWATCHED:
        unwatched = {key: each for key, each in unwatched.items() if each["about"]}
    if len(unwatched) < MAX_UNWATCHED:
        card["unwatched"] = {**unwatched, finding.finding_id: was}
    else:
        card["more_unwatched"] = True


def _about(noted: OpenJson) -> str:
    """Return a digest of what another analyzer's finding of the same access has too.

    Much as ``pare.findings.watch.sight`` judges; a card is of one resource.
    """
    facts = [noted["finding_type"], noted["region"], noted["principal"]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def _abouts(card: CardJson) -> set[str]:
    """Return of what there is something on a card that its analyzer sees: open or archived."""
    return {_about(each) for each in (*card["open"].values(), *card["archived"].values())}


def principal_text(finding: Finding) -> str:
    """Return a finding's principal as a short text: another principal, another text."""
    text = ", ".join(f"{kind} {name}" for kind, name in sorted(finding.principal))
    if len(text) <= _LONGEST_PRINCIPAL:
        return text
    return f"{text[:_LONGEST_PRINCIPAL]}… {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _digest(finding: Finding) -> str:
    """Return a digest of what a finding allows to whom, in whatever order it is listed."""
    facts = [
        sorted(finding.principal),
        sorted(finding.condition),
        sorted(finding.actions),
        finding.error,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


# --- More open findings than a card names ---------------------------------------------------------


def _has_room(before: CardJson, after: CardJson, finding_id: str, severity: Severity) -> bool:
    """Return whether a card names an open finding, or only counts it.

    Whatever is graver than all it names is named, so nothing grave is hidden behind a number.
    """
    named = after["open"]
    return (
        finding_id in before["open"]
        or len(named) < MAX_OPEN
        or all(rank(severity) > rank(each["severity"]) for each in named.values())
    )


def counted_as(card: CardJson, finding: Finding, now: datetime) -> Severity | None:
    """Return how a card that a finding was just applied to counts it in ``more_open``, or None.

    The table keeps this beside the finding, in one transaction with the card, so the numbers are
    exact under retries and races. A finding that is counted gets a name on the card when it is next
    recorded while there is room.
    """
    is_open = how_ended(finding) is None and exemption_of(card, finding, now) is None
    return _severity(finding) if is_open and finding.finding_id not in card["open"] else None


def _counted(counts: Mapping[str, int], severity: Severity, by: int) -> dict[str, int]:
    after = {**counts, severity: counts.get(severity, 0) + by}
    return {key: count for key, count in sorted(after.items()) if count > 0}


def _is_open(card: CardJson) -> bool:
    return bool(card["open"] or card["more_open"])


def _opened_at(card: CardJson, before: CardJson, counted: Sequence[str] = ()) -> str | None:
    """Return since when something of a card is open; ``before``: the card as it was.

    Whatever order events come in: the oldest of what is open, and what people were told, until they
    are told that it is closed. So a partial fix, by which one finding ends and a new one comes,
    opens nothing anew. Of findings that the card only counts, and of those that an earlier version
    noted, only the card's own word says when they were created. ``counted``: when one was that is
    counted now.
    """
    if not _is_open(card):
        return None
    named = [each.get("created_at") for each in card["open"].values()]
    since = [*named, *counted]
    told = card["told"]
    if told and told["severity"]:
        since.append(told.get("opened_at", before["opened_at"]))
    if (card["more_open"] or None in named) and _is_open(before):
        since.append(before["opened_at"])
    return min((each for each in since if each), key=parse_time, default=None)


def _gravest_open(card: CardJson) -> Severity | None:
    counted = cast("Iterable[Severity]", card["more_open"])
    return gravest([*(each["severity"] for each in card["open"].values()), *counted])


# --- A card ---------------------------------------------------------------------------------------


def new_card(finding: Finding) -> CardJson:
    """Return a card that is not in the table yet (``version`` 0): nothing is open of it."""
    return {
        "card_id": card_id_of(finding.account_id, finding.resource),
        "account_id": finding.account_id,
        "account_name": finding.account_name,
        "resource": finding.resource,
        "resource_type": finding.resource_type,
        "owner": finding.owner,
        "open": {},
        "more_open": {},
        "ended": {},
        "archived": {},
        "opened_at": None,
        "told": None,
        "telling": None,
        "due": None,
        "due_at": None,
        "exemptions": [],
        "proposal": None,
        "messages": [],
        "updated_at": finding.updated_at,
        "version": 0,
    }


def is_worth_a_card(card: CardJson) -> bool:
    """Return whether there is anything that a card that is not in the table yet has to keep."""
    return _is_open(card) or bool(card["archived"] or _unwatched(card))


def _without(card: CardJson, finding_id: str) -> CardJson:
    """Return a copy of the card that does not know the finding; its maps can be changed."""
    copy: CardJson = {
        **card,
        "open": dict(card["open"]),
        "ended": dict(card["ended"]),
        "archived": dict(card["archived"]),
    }
    if finding_id in _unwatched(card):
        copy["unwatched"] = {k: each for k, each in _unwatched(card).items() if k != finding_id}
        if not copy["unwatched"]:
            del copy["unwatched"]  # as if there had been none
    copy["open"].pop(finding_id, None)
    copy["ended"].pop(finding_id, None)
    copy["archived"].pop(finding_id, None)
    return copy


def _was_heard_of(card: CardJson, finding_id: str, how: HowEnded | None) -> bool:
    """Return whether people heard of a finding that ended so, or may have, or may be hearing now.

    Of one that was told as unwatched they hear again once it is known how it ended.
    """
    may_be_heard = card["telling"] is not None or perhaps_told(card)
    if finding_id in _told_unwatched(card) and finding_id not in _heard(card) and not may_be_heard:
        return how in _OVER
    return (
        finding_id in card["ended"]
        or finding_id in _heard(card)
        or (finding_id in card["open"] and may_be_heard)
        or (finding_id in _unwatched(card) and may_be_heard and how in _OVER)
        or (finding_id in _told_unwatched(card) and how in _OVER)
    )


def _heard(card: CardJson) -> Mapping[str, OpenJson]:
    return card["told"]["findings"] if card["told"] else {}


def still_unwatched(card: CardJson) -> list[str]:
    """Return the ids of what nobody knows, whether or not people heard of it, sorted.

    Not of what others see now, or saw: then it is known from those.
    """
    seen = _abouts(card)
    return sorted(
        finding_id
        for finding_id, each in _unwatched(card).items()
        if each["about"] and each["about"] not in seen
    )


def _is_unwatched(card: CardJson) -> bool:
    return bool(still_unwatched(card)) or card.get("more_unwatched", False)


def _unwatched(card: CardJson) -> dict[str, UnwatchedJson]:
    return card.get("unwatched", {})


def _told_unwatched(card: CardJson) -> Sequence[str]:
    return card["told"].get("unwatched", []) if card["told"] else []


# --- What there is to tell ------------------------------------------------------------------------


def card_news(card: CardJson, now: datetime, terms: FindingTermsJson) -> CardNews:
    """Return what there is to tell of a card: the difference to what was told.

    ``terms`` say when a reminder is due; all else is on the card.
    """
    news = _difference(card)
    if news in {"none", "changed"}:
        # A reminder names all that is open, and what changed with it.
        remind_at = _remind_at(card, terms)
        if remind_at and now >= remind_at:
            return "still_open"
    return news


def _difference(card: CardJson) -> CardNews:
    told = card["told"]
    loud = [each for each in card["ended"].values() if not _is_quiet(each)]
    if not _is_open(card):
        if card["ended"] and not loud:
            return "none"
        if told and told["news"] == "closed" and _is_unwatched(card):
            return "unwatched"  # what people take for closed
        if not card["ended"] and (told is None or told["severity"] is None):
            return "none"  # nobody heard of it, or it was told as closed
        if _is_partly_unwatched(card):
            return "none"  # as it was told
        return _how_closed(card, loud)
    if told is None:
        return "first_sight"
    if told["severity"] is None:
        return "reopened"
    if _has_worsened(card, told):
        return "worsened"
    heard = told["findings"]
    is_other = any(
        finding_id not in heard or now_open["digest"] != heard[finding_id]["digest"]
        for finding_id, now_open in card["open"].items()
    )
    is_more = sum(card["more_open"].values()) > sum(told["more_open"].values())
    proposal = card["proposal"]
    is_proposed = proposal and _is_newer(proposal["created_at"], told["proposal_at"])
    # People may have heard of something else than this, such as that it is closed.
    is_changed = loud or is_other or is_more or is_proposed or perhaps_told(card)
    return "changed" if is_changed else "none"


def _is_partly_unwatched(card: CardJson) -> bool:
    """Return whether all news is how some findings ended that were told as unwatched, not all."""
    is_of_those = bool(card["ended"]) and card["ended"].keys() <= {*_told_unwatched(card)}
    return is_of_those and _is_unwatched(card) and not _heard(card) and not perhaps_told(card)


def _how_closed(card: CardJson, loud: Sequence[EndedJson]) -> CardNews:
    """Return what to say of a card of which nothing is open; ``loud``: what ended and is told.

    It is not closed while of something nobody knows whether it is still so.
    """
    if any(each["how"] == "UNWATCHED" for each in loud) or _is_unwatched(card):
        return "unwatched"
    if any(each["how"] == "ARCHIVED" for each in loud):
        return "archived"
    is_of_notices = bool(loud) and all(each["finding_type"] in _NOTICES for each in loud)
    return "archived" if card["archived"] and not is_of_notices else "closed"


def _is_quiet(ended: EndedJson) -> bool:
    """Return whether a person or a rule of ours archived it: nobody needs to be told."""
    return ended["how"] == "ARCHIVED" and ended["by_pare"]


def _has_worsened(card: CardJson, told: ToldJson) -> bool:
    """Return whether the card, or a finding of it, is graver, or one is new.

    After a partial fix a new finding comes for one that ended (facts §1). It is no worsening if it
    is of the same type and for the same principal, and no graver: one new for one that ended. What
    was archived by us ended quietly, and nothing comes for it.
    """
    severity = _gravest_open(card)
    if severity and told["severity"] and rank(severity) > rank(told["severity"]):
        return True
    new: dict[tuple[str, str], list[int]] = {}
    for finding_id, now_open in card["open"].items():
        was = told["findings"].get(finding_id)
        if was is None:
            new.setdefault(_kind(now_open), []).append(rank(now_open["severity"]))
        elif rank(now_open["severity"]) > rank(was["severity"]):
            return True
    gone: dict[tuple[str, str], list[int]] = {}
    for finding_id, ended in card["ended"].items():
        if finding_id in told["findings"] and not _is_quiet(ended):
            gone.setdefault(_kind(ended), []).append(rank(ended["severity"]))
    for kind, ranks in new.items():
        # The gravest new for the gravest that ended, and so on.
        bars = sorted(gone.get(kind, ()), reverse=True)
        if len(bars) < len(ranks) or any(
            now > bar for now, bar in zip(sorted(ranks, reverse=True), bars, strict=False)
        ):
            return True
    return False


def _kind(noted: OpenJson | EndedJson) -> tuple[str, str]:
    return noted["finding_type"], noted["principal"]


def _is_newer(one: str, other: str | None) -> bool:
    return other is None or parse_time(one) > parse_time(other)


def card_severity(card: CardJson) -> Severity:
    """Return how grave a card is: what is open; when closed, what was told."""
    told = card["told"]
    severity = _gravest_open(card)
    # A lost answer may have told people of something that closed since: how grave is not kept.
    return severity or (told["severity"] if told else None) or "medium"


def perhaps_told(card: CardJson) -> bool:
    """Return whether nobody knows if the last message about a card reached people.

    The next one says so: "perhaps told before". Of what SNS refused it is known: nobody was told.
    """
    sent = [each for each in card["messages"] if each["how"] != "refused"]
    return bool(sent) and sent[-1]["how"] == "unknown"


# --- When somebody should hear of it --------------------------------------------------------------


def due_of(
    card: CardJson, now: datetime, terms: FindingTermsJson
) -> tuple[str | None, Urgency | None]:
    """Return when somebody should hear of a card if its news came now, and how soon that is.

    (None, None) where there is nothing to tell, now or later. What was archived by us is forgotten
    quietly by an hourly round (``quieted``).
    """
    news = _difference(card)
    urgency = _urgency(card, news)
    if urgency == "now":
        return notify_at(now, terms), "now"
    if urgency == "hourly":
        return format_time(_next_minute(now + CLOSED_SETTLES)), "hourly"
    soonest: list[tuple[datetime, Urgency]] = []
    if urgency == "digest":
        soonest.append((digest_time(now, terms), "digest"))
    remind_at = _remind_at(card, terms)
    if remind_at and _reminds_singly(card):
        soonest.append((_next_minute(remind_at), "hourly"))
    elif remind_at:
        soonest.append((digest_time(remind_at, terms), "digest"))
    if not soonest:
        return None, None
    moment, urgency = min(soonest)
    return format_time(moment), urgency


def notify_at(now: datetime, terms: FindingTermsJson) -> str:
    """Return when the round should begin that tells of what is urgent and came now.

    Also where the card has been due for longer: the round that its time asked for may be over.
    """
    return format_time(_next_minute(now + timedelta(seconds=terms["settle_seconds"])))


def _urgency(card: CardJson, news: CardNews) -> Urgency | None:
    """Return how soon news is to be told, reminders aside."""
    if news == "none":
        return "hourly" if any(map(_is_quiet, card["ended"].values())) else None
    if rank(card_severity(card)) >= rank("medium"):
        told = card["told"]
        if news in _OPENING:
            return "now"
        if news in _CLOSING and (told is None or told["how"] == "single"):
            return "hourly"
    return "digest"


def urgency_of(card: CardJson, now: datetime, terms: FindingTermsJson) -> Urgency | None:
    """Return how soon there is something to tell of a card; None: nothing yet."""
    news = card_news(card, now, terms)
    if news == "still_open":
        return "hourly" if _reminds_singly(card) else "digest"
    return _urgency(card, news) if news != "none" else None


def _reminds_singly(card: CardJson) -> bool:
    """Return whether a reminder is a message of its own, at its own time; else the digest's."""
    return rank(card_severity(card)) >= rank("high")


def _due_again(
    before: CardJson, after: CardJson, now: datetime, terms: FindingTermsJson
) -> CardJson:
    """Return the changed card with its due time: a flood of events does not put it off.

    What has become more or less urgent gets a new time.
    """
    due_at, _ = due_of(after, now, terms)
    urgency = _urgency(after, _difference(after))
    old = before["due_at"] if before["due_at"] != LOOK_AGAIN else None
    telling = before["telling"]
    if telling and old:
        # It stays due, so that a round finds it should the one that is telling die. What has
        # changed since that one began is due once more after it.
        is_renewed = parse_time(old) > parse_time(telling["at"])
        is_news = _difference(after) != "none" and _says(before) != _says(after)
        if is_renewed or not is_news:
            due_at = old
    elif old and due_at and urgency and urgency == _urgency(before, _difference(before)):
        due_at = min(old, due_at, key=parse_time)
    return _due_at(after, due_at)


def _says(card: CardJson) -> object:
    return card["open"], card["more_open"], card["ended"], _unwatched(card)


def _due_at(card: CardJson, due_at: str | None) -> CardJson:
    is_urgent = _urgency(card, _difference(card)) == "now"
    partition: Literal["now", "later"] = "now" if is_urgent else "later"
    return {**card, "due": partition if due_at else None, "due_at": due_at}


def _remind_at(card: CardJson, terms: FindingTermsJson) -> datetime | None:
    """Return when people are to be reminded of what they were told and is still open.

    After n days, by severity, then each time twice as long after a message last named all of it.
    """
    told = card["told"]
    if not _is_open(card) or told is None:
        return None
    days = terms["remind_after_days"].get(card_severity(card))
    if days is None:
        return None
    return parse_time(told["reminded_from"]) + timedelta(
        days=days * 2 ** min(told["reminders"], _MOST_DOUBLINGS)
    )


def digest_time(now: datetime, terms: FindingTermsJson) -> datetime:
    """Return the next time of a digest after now, in UTC: each day or each Monday, local time."""
    zone = ZoneInfo(terms["time_zone"])
    day = now.astimezone(zone).date()
    while True:
        moment = datetime(
            day.year, day.month, day.day, terms["digest_hour"], tzinfo=zone
        ).astimezone(UTC)
        if moment > now and (terms["digest"] == "daily" or day.weekday() == 0):
            return moment
        day += timedelta(days=1)


def _next_minute(moment: datetime) -> datetime:
    """Return the moment rounded up to a whole minute."""
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def round_name(due_at: str) -> str:
    """Return the name of the round of a minute, such as ``news-2026-11-22T09-17``."""
    return f"news-{parse_time(due_at):%Y-%m-%dT%H-%M}"


# --- A round tells people -------------------------------------------------------------------------


def claimed(
    card: CardJson, *, execution: str, message_id: str, plan: str, now: datetime
) -> CardJson:
    """Return the card as a round (an execution's ARN) has it that is about to tell people of it.

    ``plan``: the key of the object that names its messages, written before any is sent. The card
    stays due, so that another round finds it should this one die.
    """
    return {
        **card,
        "telling": {
            "round": execution,
            "message_id": message_id,
            "at": format_time(now),
            "version": card["version"],
            "plan": plan,
        },
    }


def abandoned(card: CardJson) -> CardJson:
    """Return the card without the claim of a round that ended without a word.

    Perhaps it told people; what it told of is not known, so its entry names no news.
    """
    telling = card["telling"]
    if telling is None:
        return card
    messages = _noted(card["messages"], telling["message_id"], telling["at"], "none", "unknown")
    return _due_at({**card, "telling": None, "messages": messages}, card["due_at"])


def settled(
    card: CardJson,
    view: CardViewJson,
    message_id: str,
    how: Literal["single", "summary", "digest"],
    now: datetime,
    terms: FindingTermsJson,
) -> CardJson:
    """Return the card after people were told of it as the view shows it.

    What changed since the view was frozen is the next news.
    """
    shown, news, at = view["card"], view["news"], format_time(now)
    before = card["told"]
    is_open = _is_open(shown)
    is_begun = before is None or before["severity"] is None or news in _OPENING
    proposal_at = before["proposal_at"] if before else None
    if shown["proposal"] and is_open:
        proposal_at = shown["proposal"]["created_at"]
    told: ToldJson = {
        "at": at,
        "message_id": message_id,
        "how": how,
        "news": news,
        "severity": _gravest_open(shown),
        "findings": shown["open"],
        "more_open": shown["more_open"],
        "reminders": 0 if is_begun or before is None else before["reminders"]
        + (news == "still_open"),
        "reminded_from": at if is_begun or before is None or news == "still_open"
        else before["reminded_from"],
        "first_at": at if before is None or before["severity"] is None else before["first_at"],
        "proposal_at": proposal_at,
        "opened_at": shown["opened_at"],
        "unwatched": _unwatched_as_shown(shown, news),
    }  # fmt: skip
    after: CardJson = {
        **card,
        "told": told,
        "telling": None,
        "messages": _noted(card["messages"], message_id, at, news, how),
        "ended": {
            finding_id: each
            for finding_id, each in card["ended"].items()
            if finding_id in told["unwatched"] and each["how"] in _OVER
        } | {
            finding_id: card["ended"].get(finding_id) or _lost(told["findings"][finding_id], at)
            for finding_id in told["findings"]
            if finding_id not in card["open"]
        },
    }  # fmt: skip
    if "unwatched" in card:
        after["unwatched"] = _without_seen(card, shown)
    after["opened_at"] = _opened_at(after, card)
    due_at, _ = due_of(after, now, terms)
    if due_at and card["due_at"] and _says(card) != _says(shown):
        # What changed while people were told has been due since.
        due_at = min(card["due_at"], due_at, key=parse_time)
    return _due_at(after, due_at)


def _unwatched_as_shown(shown: CardJson, news: CardNews) -> list[str]:
    """Return of which findings people know, once told of the card so, that nobody knows.

    Of too many not all are kept: of how the others end nothing is told.
    """
    still = {*still_unwatched(shown)}
    ended = {key for key, each in shown["ended"].items() if each["how"] == "UNWATCHED"}
    # A message that closes a card but for these names them, also those of which nobody had heard.
    named = still if news == "unwatched" else still.intersection(_told_unwatched(shown))
    seen = _unwatched(shown).keys() - still
    return sorted((ended | named) - seen)[:MAX_UNWATCHED]


def _without_seen(card: CardJson, shown: CardJson) -> dict[str, UnwatchedJson]:
    """Return what nobody knows of a card, once people know what it showed.

    What others see, as they were told, is not unwatched any more, however that ends.
    """
    seen, before = _abouts(shown), _unwatched(shown)
    return {
        finding_id: {**each, "about": ""}
        if each["about"] in seen and each == before.get(finding_id)
        else each
        for finding_id, each in _unwatched(card).items()
    }


def _lost(was: OpenJson, at: str) -> EndedJson:
    """Return the end of a finding of which nobody noted how it ended: it is not known to be."""
    return {
        "how": "UNWATCHED",
        "by_pare": False,
        "finding_type": was["finding_type"],
        "severity": was["severity"],
        "principal": was["principal"],
        "at": at,
    }


def released(card: CardJson) -> CardJson:
    """Return the card without its claim: nobody was told, the next round tells."""
    after: CardJson = {**card, "telling": None}
    if not perhaps_told(card):
        heard, unwatched = _heard(card), _told_unwatched(card)
        after["ended"] = {
            key: each
            for key, each in card["ended"].items()
            if key in heard or (key in unwatched and each["how"] in _OVER)
        }
    return _due_at(after, card["due_at"])


def refused(card: CardJson) -> CardJson:
    """Return the card after a message that surely reached nobody: released, with a note.

    SNS refused it, or its round ended before it sent anything.

    One entry says how often running that happened: so no other is pushed out by it.
    """
    telling, messages, times = card["telling"], card["messages"], 1
    if telling is None:
        return card
    if messages and messages[-1]["how"] == "refused":
        messages, times = messages[:-1], messages[-1]["times"] + 1
    noted = _noted(messages, telling["message_id"], telling["at"], "none", "refused")
    return {**released(card), "messages": [*noted[:-1], {**noted[-1], "times": times}]}


def unsure(card: CardJson, view: CardViewJson, message_id: str, now: datetime) -> CardJson:
    """Return the card after SNS's answer was lost: nobody knows whether people were told.

    Its news stays, and comes in the next message, which says that it was perhaps told before.
    """
    at = format_time(now)
    messages = _noted(card["messages"], message_id, at, view["news"], "unknown")
    return _due_at({**card, "telling": None, "messages": messages}, LOOK_AGAIN)


def quieted(card: CardJson, now: datetime, terms: FindingTermsJson) -> CardJson:
    """Return the card, of which there is nothing to tell now, as if that had been told.

    What was archived by us is forgotten, so that it is news should it open again; and the card is
    due when there will be something to tell.
    """
    after: CardJson = {**card}
    told = card["told"]
    quiet = {key for key, each in card["ended"].items() if _is_quiet(each)}
    if quiet and _difference(card) == "none":
        after["ended"] = {key: each for key, each in card["ended"].items() if key not in quiet}
        if told:
            findings = {key: each for key, each in told["findings"].items() if key not in quiet}
            counted = cast("Iterable[Severity]", told["more_open"])
            severity = gravest([*(each["severity"] for each in findings.values()), *counted])
            after["told"] = {**told, "findings": findings, "severity": severity}
            after["opened_at"] = _opened_at(after, card)
    return _due_at(after, due_of(after, now, terms)[0])


def _noted(
    messages: list[dict[str, Any]], message_id: str, at: str, news: CardNews, how: str
) -> list[dict[str, Any]]:
    entry = {"message_id": message_id, "at": at, "news": news, "how": how}
    return [*messages, entry][-MAX_MESSAGES:]


def looked_at(card: CardJson, now: datetime, terms: FindingTermsJson) -> CardJson:
    """Return a card that has news and was to be looked at again, due as its news says.

    What is urgent stays due now: it has waited for the look.
    """
    is_soon = urgency_of(card, now, terms) in {"now", "hourly"}
    return card if is_soon else _due_at(card, due_of(card, now, terms)[0])


# --- Others who change a card, without the terms --------------------------------------------------


def with_proposal(card: CardJson, proposal: ProposalNoteJson) -> CardJson:
    """Return the card with the newest proposal for its principal."""
    known = card["proposal"]
    if known and not _is_newer(proposal["created_at"], known["created_at"]):
        return card
    return _looked_at_again(card, {**card, "proposal": proposal})


def with_exemption(
    card: CardJson, exemption: ExemptionJson, findings: Sequence[Finding], now: datetime
) -> CardJson:
    """Return the card with an exemption, and those of the findings quiet that it is about.

    It replaces one about the same access.
    """
    after = without_exemption(card, exemption)
    after["exemptions"] = [*after["exemptions"], exemption]
    for finding in findings:
        if finding.finding_id in card["open"] and exemption_of(after, finding, now):
            was_heard_of = _was_heard_of(after, finding.finding_id, "ARCHIVED")
            before, after = after, _without(after, finding.finding_id)
            if was_heard_of:
                after["ended"][finding.finding_id] = _end(before, finding, None, by_pare=True)
            after["archived"] = _with_archived(after, finding)
    after["opened_at"] = _opened_at(after, card)
    return _looked_at_again(card, after)


def without_exemption(card: CardJson, access: ExemptionJson | FindingJson) -> CardJson:
    """Return the card without the exemptions of an access; its findings open when recorded again.

    ``access``: the exemption, or a finding of the access, however grave.
    """
    kept = [each for each in card["exemptions"] if not _is_same_access(each, access)]
    return {**card, "exemptions": kept}


def with_archiver(card: CardJson, finding_id: str, *, by_pare: bool) -> CardJson:
    """Return the card with who archived a finding, if that is how it ended."""
    ended = card["ended"].get(finding_id)
    if ended is None or ended["how"] != "ARCHIVED" or ended["by_pare"] == by_pare:
        return card
    after: CardJson = {
        **card,
        "ended": {**card["ended"], finding_id: {**ended, "by_pare": by_pare}},
    }
    return _looked_at_again(card, after)


def _looked_at_again(before: CardJson, after: CardJson) -> CardJson:
    """Return the changed card, due for a look, unless it is already due as urgently."""
    urgency = _urgency(after, _difference(after))
    is_as_urgent = urgency == _urgency(before, _difference(before))
    if after["due_at"] and urgency and is_as_urgent:
        return after
    if urgency is None and after["due_at"] is None:
        return after
    return _due_at(after, LOOK_AGAIN)
