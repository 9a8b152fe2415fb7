"""The tables of findings and of cards, which are written together.

Every write is made under a condition on the item's ``version``. Where somebody else was faster, the
items are read again and the decision is made again, from what is there then: a write never rests on
something old.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast

from botocore.exceptions import ClientError

from pare.aws.calls import error_code, translated
from pare.aws.tables import Table, from_item, to_item
from pare.clock import format_time, parse_time
from pare.errors import ThrottledError
from pare.findings.card import card_id_of
from pare.findings.model import Finding
from pare.findings.severity import severity_of
from pare.findings.state import (
    LOOK_AGAIN,
    abandoned,
    applied,
    card_news,
    claimed,
    counted_as,
    exemption_of,
    how_ended,
    is_worth_a_card,
    looked_at,
    new_card,
    news,
    notify_at,
    quieted,
    refused,
    released,
    round_name,
    settled,
    supersedes,
    unsure,
    urgency_of,
    with_archiver,
    with_exemption,
    with_proposal,
    without_exemption,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from pare.findings.card import (
        ArchivedJson,
        CardJson,
        CardNews,
        CardViewJson,
        ExemptionJson,
        ProposalNoteJson,
        TellingJson,
        Urgency,
    )
    from pare.findings.model import FindingJson, Severity
    from pare.findings.state import News
    from pare.findings.terms import FindingTermsJson

BY_ANALYZER: Final = "by_analyzer"
BY_DUE: Final = "by_due"
# The partitions of the index: what must not wait, and all else.
Partition = Literal["now", "later"]
# What became of the round that claimed a card: it runs, it surely told nobody, or nobody knows.
BecameOf = Literal["running", "untold", "unknown"]
# An item has at most 400 KB.
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
MAX_HISTORY: Final = 50
# Cards with more findings than this have their maps packed: 2,000 ids three times would not fit.
_PACKED_FROM = 400
_MAPS = ("open", "ended", "archived")
_HEARD = "heard"  # of ``told``

# Tries to write what others are writing too, and the longest pause between two, in seconds.
_TRIES = 12
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_KEYS_AT_ONCE = 100  # the most that BatchGetItem takes
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_LOST = frozenset({"ConditionalCheckFailed", "TransactionConflict"})
_THROTTLED = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"})
# Of a write of one item, and of a transaction whose first try is still under way.
_LOST_CODES = frozenset(
    {"ConditionalCheckFailedException", "TransactionConflictException",
     "TransactionInProgressException"}
)  # fmt: skip


class RecordedJson(TypedDict):
    """What became of a finding that was recorded, and what there is to tell of its card.

    ``notify_at``: when the round should begin that tells of it, "" where none has to;
    ``notification_name``: that round's. ``exemption``: the one that the finding falls under.
    """

    news: News
    card_news: CardNews
    urgency: Urgency | None
    notify_at: str
    notification_name: str
    should_archive: bool
    exemption: ExemptionJson | None
    card_id: str


@dataclass(frozen=True, slots=True)
class _VersionedTable(Table):
    """Items with a ``version``; the key's name is the table's only key."""

    def _get_many(
        self, key: str, values: Iterable[str], sleep: Callable[[float], None]
    ) -> Iterator[dict[str, Any]]:
        """Yield the items with these keys, as they are now, in any order.

        What AWS leaves unprocessed is asked for again after a pause that doubles. Raises
        ThrottledError where it gives nothing eight times over.
        """
        keys = [to_item({key: value}) for value in sorted(set(values))]
        pause, last = 0.1, 12.8
        while keys:
            some, keys = keys[:_KEYS_AT_ONCE], keys[_KEYS_AT_ONCE:]
            with translated(f"dynamodb:BatchGetItem on {self.name}"):
                answer = self.dynamodb.batch_get_item(
                    RequestItems={self.name: {"Keys": some, "ConsistentRead": True}}
                )
            yield from map(from_item, answer["Responses"].get(self.name, []))
            unprocessed = answer.get("UnprocessedKeys", {})
            left = unprocessed[self.name]["Keys"] if self.name in unprocessed else []
            keys += [dict(each) for each in left]
            if len(left) < len(some):
                pause = 0.1
            if pause > last:
                raise ThrottledError(
                    f"dynamodb:BatchGetItem on {self.name} left {len(keys)} items unread"
                )
            if left:
                sleep(pause)
                pause *= 2

    def _pages(self, operation: Literal["query", "scan"], **more: Any) -> Iterator[dict[str, Any]]:
        with translated(f"dynamodb:{operation.title()} on {self.name}"):
            for page in self.dynamodb.get_paginator(operation).paginate(
                TableName=self.name, **more
            ):
                yield from map(from_item, page["Items"])

    def _put_part(
        self, item: Mapping[str, Any], *, key: str, version: int | None
    ) -> dict[str, Any]:
        """Return the part of a transaction that puts a typed item in the place of a version."""
        return {"Put": {"TableName": self.name, "Item": item, **_is(key, version)}}

    def _check(self, key: str, value: str, version: int) -> dict[str, Any]:
        """Return the part of a transaction that demands a version of an item."""
        return {
            "ConditionCheck": {
                "TableName": self.name,
                "Key": to_item({key: value}),
                **_is(key, version),
            }
        }

    def _put_if(self, item: Mapping[str, Any], *, key: str, version: int | None) -> bool:
        """Return whether a typed item was put in the place of a version of it."""
        with translated(f"dynamodb:PutItem on {self.name}"):
            try:
                request: Any = {"Item": item, **_is(key, version)}
                self.dynamodb.put_item(TableName=self.name, **request)
            except ClientError as error:
                if error_code(error) in _LOST_CODES:
                    return False
                raise
        return True

    def _transact(self, parts: Sequence[dict[str, Any]]) -> bool:
        """Return whether all parts of a transaction were done; False: somebody was faster."""
        with translated(f"dynamodb:TransactWriteItems on {self.name}"):
            try:
                self.dynamodb.transact_write_items(TransactItems=cast("Any", parts))
            except ClientError as error:
                if error_code(error) in _LOST_CODES:
                    return False
                if error_code(error) != "TransactionCanceledException":
                    raise
                reasons = cast("Any", error.response).get("CancellationReasons", [])
                codes = {str(each.get("Code", "None")) for each in reasons} - {"None"}
                if not codes or codes & _LOST:
                    return False
                if codes <= _THROTTLED:
                    raise ThrottledError(
                        f"dynamodb:TransactWriteItems on {self.name}: {', '.join(sorted(codes))}"
                    ) from error
                raise
        return True


def _is(key: str, version: int | None) -> dict[str, Any]:
    """Return the condition that an item has a version; None: that there is no item."""
    if version is None:
        return {
            "ConditionExpression": "attribute_not_exists(#key)",
            "ExpressionAttributeNames": {"#key": key},
        }
    return {
        "ConditionExpression": "#version = :version",
        "ExpressionAttributeNames": {"#version": "version"},
        "ExpressionAttributeValues": to_item({":version": version}),
    }


def _tries(what: str, sleep: Callable[[float], None]) -> Iterator[None]:
    """Yield as often as a write may be tried; raises ThrottledError after the last."""
    pause = _FIRST_PAUSE
    for left in reversed(range(_TRIES)):
        yield
        if left:
            sleep(random.uniform(0, pause))  # so that they do not meet again
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise ThrottledError(f"{what}: others changed it each of {_TRIES} times it was to be written")


# --- Findings -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FindingsTable(_VersionedTable):
    """One item a finding, ordered by ``updated_at``; key ``finding_id``."""

    def get(self, finding_id: str) -> dict[str, Any] | None:
        """Return the item of a finding, or None."""
        return self._get({"finding_id": finding_id})

    def get_many(
        self, finding_ids: Iterable[str], *, sleep: Callable[[float], None] = time.sleep
    ) -> dict[str, dict[str, Any]]:
        """Return the items of these findings by id; of those that are recorded."""
        items = self._get_many("finding_id", finding_ids, sleep)
        return {item["finding_id"]: item for item in items}

    def by_analyzer(self, analyzer_arn: str) -> Iterator[dict[str, Any]]:
        """Yield the items of an analyzer's findings, by id; the index may lag by a second."""
        return self._pages(
            "query",
            IndexName=BY_ANALYZER,
            KeyConditionExpression="analyzer_arn = :arn",
            ExpressionAttributeValues=to_item({":arn": analyzer_arn}),
        )

    def all_items(self) -> Iterator[dict[str, Any]]:
        """Yield all items, in no order."""
        return self._pages("scan")

    def record(
        self,
        seen: Finding,
        *,
        cards: CardsTable,
        execution: str,
        now: datetime,
        terms: FindingTermsJson,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RecordedJson:
        """Record a finding, if it is newer than what is known, and its state on its card.

        Idempotent: the same execution recording the same finding again gets the same answer, so a
        retried step neither loses nor doubles a message. Nothing is written where nothing changes.
        Raises ThrottledError where others write the same card all the time. A finding for which its
        card has no room is recorded all the same, and the card counts it: ``counted_as`` of the
        item says how, and changes in the same transaction as the card's ``more_open``.
        """
        card_id = card_id_of(seen.account_id, seen.resource)
        for _ in _tries(f"card {card_id}", sleep):
            item, card = self.get(seen.finding_id), cards.get(card_id)
            known = Finding.from_json(item["finding"]) if item else None
            is_newer = supersedes(known, seen)
            finding = seen if is_newer or known is None else known
            exemption = exemption_of(card, finding, now)
            history = item["history"] if item else []
            earlier = next((e for e in history if e["recorded_by"] == execution), None)
            if earlier:
                return _answer(earlier, card_id, finding, exemption)
            archived = _archiver(item, finding, exemption)
            after = applied(
                card,
                finding,
                now,
                terms,
                archived_by_pare=_is_by_pare(archived),
                counted=item.get("counted_as") if item else None,
            )
            entry = _entry(known, finding, after, execution, now, terms, is_newer=is_newer)
            counted = counted_as(after, finding, now)
            values = _values(item, finding, archived, card_id, counted)
            if is_newer:
                values["history"] = [*history, entry][-MAX_HISTORY:]
                values |= {"recorded_at": entry["recorded_at"], "recorded_by": execution}
            card_part = cards.part_of(card, after, now)
            parts = []
            if values != item:
                parts.append(self._part_of(values, item))
            elif card_part:
                parts.append(self._check("finding_id", seen.finding_id, item["version"]))
            if card_part:
                parts.append(card_part)
            elif parts and card:
                parts.append(cards.check_of(card))
            if not parts or self._transact(parts):
                return _answer(entry, card_id, finding, exemption)
        raise AssertionError("_tries raises before this")

    def set_archived(
        self,
        finding_id: str,
        archived: ArchivedJson,
        *,
        cards: CardsTable,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Note who archived a finding; return whether it is known.

        What was archived through Pare is no news, whichever came first: this, or the event.
        """
        for _ in _tries(f"finding {finding_id}", sleep):
            item = self.get(finding_id)
            if item is None:
                return False
            finding = Finding.from_json(item["finding"])
            card = cards.get(card_id_of(finding.account_id, finding.resource))
            parts = []
            if item.get("archived") != archived:
                parts.append(self._part_of({**item, "archived": dict(archived)}, item))
            if card:
                after = with_archiver(card, finding_id, by_pare=_is_by_pare(archived))
                card_part = cards.part_of(card, after, now)
                if card_part:
                    parts.append(card_part)
            if not parts or self._transact(parts):
                return True
        raise AssertionError("_tries raises before this")

    def _part_of(self, values: Mapping[str, Any], item: Mapping[str, Any] | None) -> dict[str, Any]:
        version = item["version"] if item else None
        values = {**values, "version": (version or 0) + 1}
        return self._put_part(to_item(values), key="finding_id", version=version)


def _entry(
    known: Finding | None,
    finding: Finding,
    card: CardJson,
    execution: str,
    now: datetime,
    terms: FindingTermsJson,
    *,
    is_newer: bool,
) -> dict[str, Any]:
    """Return what the history keeps of a record: enough to give the same answer again."""
    urgency = urgency_of(card, now, terms)
    return {
        "at": finding.updated_at,
        "recorded_at": format_time(now),
        "recorded_by": execution,
        "news": news(known, finding) if is_newer else "none",
        "status": finding.status,
        "is_deleted": finding.is_deleted,
        "card_news": card_news(card, now, terms),
        "urgency": urgency,
        "notify_at": notify_at(now, terms) if urgency == "now" else "",
    }


def _values(
    item: Mapping[str, Any] | None,
    finding: Finding,
    archived: ArchivedJson | None,
    card_id: str,
    counted: Severity | None,
) -> dict[str, Any]:
    """Return the item of a finding as it should be; whatever else is in it stays."""
    # Of versions before there were cards.
    old = {"news", "pending"}
    values = {name: value for name, value in (item or {}).items() if name not in old}
    values |= {
        "finding_id": finding.finding_id,
        "finding": finding.to_json(),
        "card_id": card_id,
        "status": finding.status,
        "severity": finding.severity or severity_of(finding)[0],
        "source": finding.source,
        "analyzer_arn": finding.analyzer_arn,
        "account_id": finding.account_id,
        "resource": finding.resource,
        "updated_at": finding.updated_at,
    }
    for name in ("archived", "counted_as"):
        values.pop(name, None)
    values |= {"counted_as": counted} if counted else {}
    return values | ({"archived": dict(archived)} if archived else {})


def _answer(
    entry: Mapping[str, Any], card_id: str, finding: Finding, exemption: ExemptionJson | None
) -> RecordedJson:
    begin_at = entry.get("notify_at") or ""
    return {
        "news": entry["news"],
        "card_news": entry.get("card_news", "none"),
        "urgency": entry.get("urgency"),
        "notify_at": begin_at,
        "notification_name": round_name(begin_at) if begin_at else "",
        "should_archive": exemption is not None and finding.is_open,
        "exemption": exemption,
        "card_id": card_id,
    }


def _archiver(
    item: Mapping[str, Any] | None, finding: Finding, exemption: ExemptionJson | None
) -> ArchivedJson | None:
    """Return who archived a finding; None where it is open again since, or nobody is known."""
    archived: ArchivedJson | None = item.get("archived") if item else None
    if exemption and how_ended(finding) in {None, "ARCHIVED"}:
        return archived or {
            "by": exemption["by"],
            "how": "exemption",
            "reason": exemption["reason"],
            "at": exemption["at"],
            "expires": exemption["expires"],
        }
    if archived and finding.is_open:
        is_later = parse_time(finding.updated_at) > parse_time(archived["at"])
        return None if is_later or archived["how"] == "exemption" else archived
    return archived


def _is_by_pare(archived: ArchivedJson | None) -> bool:
    """Return whether a person through Pare, an exemption or a rule of ours archived a finding."""
    return archived is not None and (
        archived["how"] in {"pare findings archive", "exemption"}
        or archived["how"].startswith("archive rule ")
    )


# --- Cards ----------------------------------------------------------------------------------------


def card_of(fields: Mapping[str, Any]) -> CardJson:
    """Return the card in the fields of an item (``from_item``): its maps unpacked."""
    card: dict[str, Any] = {"due": None, "due_at": None, **fields}
    packed = card.pop("packed", None)
    if packed is not None:
        by_id: dict[str, dict[str, Any]] = json.loads(zlib.decompress(packed.value))
        maps: dict[str, dict[str, Any]] = {
            name: {key: noted[name] for key, noted in by_id.items() if name in noted}
            for name in (*_MAPS, _HEARD)
        }
        heard = maps.pop(_HEARD)
        card |= maps
        card["told"] = card["told"] and {**card["told"], "findings": heard}
    return cast("CardJson", card)


def card_to_item(card: CardJson) -> dict[str, Any]:
    """Return the item of a card. The maps of a big one are packed, so that they fit."""
    fields: dict[str, Any] = {**card}
    if card["due"] is None or card["due_at"] is None:
        # Keys of the index: an item without them is not in it.
        del fields["due"], fields["due_at"]
    told = card["told"]
    maps = {name: fields[name] for name in _MAPS} | {_HEARD: told["findings"] if told else {}}
    if sum(map(len, maps.values())) >= _PACKED_FROM:
        # By finding: what is open says the same as what was heard of it, and packs well beside it.
        by_id: dict[str, dict[str, Any]] = {}
        for name, noted in maps.items():
            for finding_id, each in noted.items():
                by_id.setdefault(finding_id, {})[name] = each
        text = json.dumps(by_id, sort_keys=True, separators=(",", ":"))
        fields |= {name: {} for name in _MAPS} | {"packed": zlib.compress(text.encode())}
        fields["told"] = told and {**told, "findings": {}}
    return to_item(fields)


@dataclass(frozen=True, slots=True)
class CardsTable(_VersionedTable):
    """One item a card; key ``card_id``. Index ``by_due``: those that are due, by ``due_at``."""

    def get(self, card_id: str) -> CardJson | None:
        """Return a card, or None."""
        found = self._get({"card_id": card_id})
        return card_of(found) if found else None

    def get_many(
        self, card_ids: Iterable[str], *, sleep: Callable[[float], None] = time.sleep
    ) -> dict[str, CardJson]:
        """Return these cards by id; those that are there."""
        return {card["card_id"]: card for card in self._cards(card_ids, sleep)}

    def all_cards(self) -> Iterator[CardJson]:
        """Yield all cards, in no order."""
        return map(card_of, self._pages("scan"))

    def due(
        self,
        before: datetime,
        *,
        partitions: Sequence[Partition],
        now: datetime,
        terms: FindingTermsJson,
        execution: str,
        became_of: Callable[[str, TellingJson], BecameOf],
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[CardJson]:
        """Yield the cards that are due by then and have news, as they are now, each once.

        ``partitions``: which of them, in this order: ``now`` is what must not wait, ``later`` all
        else, with what somebody changed who does not know how urgent it is (LOOK_AGAIN) and is not
        urgent. In each the earliest due first.
        Of cards that are being told, only those that this round (``execution``, an ARN) claimed
        itself, in a try before this one. The claim of another round that has ended without a word
        is taken off. ``became_of``, asked of the card's id and the claim, says whether nobody was
        told by it, or whether that is ``unknown``: ``perhaps_told`` says so then. Cards that only
        had to be looked at again, or forgotten quietly, are, and are not yielded.
        """
        until = before.replace(microsecond=0)
        for card_ids in self._due_ids(until, partitions):
            cards = self.get_many(card_ids, sleep=sleep)
            for card_id in card_ids:
                card = cards.get(card_id)
                telling = card["telling"] if card else None
                if card and telling and telling["round"] != execution:
                    end = became_of(card_id, telling)
                    if end == "running":
                        continue
                    after = refused(card) if end == "untold" else abandoned(card)
                    card = self._replace(card, after, now)
                    telling = None
                if card and telling is None:
                    card = self._looked_at(card, now, terms)
                if card and card["due_at"] and parse_time(card["due_at"]) <= until:
                    yield card

    def _due_ids(self, until: datetime, partitions: Sequence[Partition]) -> Iterator[list[str]]:
        """Yield the ids of due cards, as the index has them, in lists; each id once."""
        seen: set[str] = set()  # one that changes meanwhile may be in the other partition by then
        for partition in partitions:
            ids: list[str] = []
            for item in self._pages(
                "query",
                IndexName=BY_DUE,
                ProjectionExpression="card_id",
                KeyConditionExpression="due = :due AND due_at <= :until",
                ExpressionAttributeValues=to_item(
                    {":due": partition, ":until": format_time(until)}
                ),
            ):
                if item["card_id"] in seen:
                    continue
                seen.add(item["card_id"])
                ids.append(item["card_id"])
                if len(ids) == _KEYS_AT_ONCE:
                    yield ids
                    ids = []
            if ids:
                yield ids

    def _looked_at(self, card: CardJson, now: datetime, terms: FindingTermsJson) -> CardJson | None:
        """Return a card nobody tells of, due as its news says; None where it has none now."""
        if card_news(card, now, terms) == "none":
            self._replace(card, quieted(card, now, terms), now)
            return None
        if card["due_at"] != LOOK_AGAIN:
            return card
        return self._replace(card, looked_at(card, now, terms), now)

    def claim(
        self, card: CardJson, *, execution: str, message_id: str, plan: str, now: datetime
    ) -> CardJson | None:
        """Return the card as this round has it now; None where somebody has changed it since.

        ``plan``: the key of the object by which the round tells.

        The same round and message again: the card, as it is now.
        """
        telling = card["telling"]
        if telling is None:
            after = claimed(card, execution=execution, message_id=message_id, plan=plan, now=now)
            done = self._replace(card, after, now)
            if done:
                return done
        found = self.get(card["card_id"])
        telling = found["telling"] if found else None
        is_mine = telling and (telling["round"], telling["message_id"]) == (execution, message_id)
        return found if is_mine else None

    def settle(
        self,
        view: CardViewJson,
        *,
        message_id: str,
        how: Literal["single", "summary", "digest"],
        now: datetime,
        terms: FindingTermsJson,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Note that people were told of a card as the view shows it; a second time, nothing.

        Returns False where the claim was not, or no longer, this message's.
        """
        return self._after_telling(
            view["card"]["card_id"],
            message_id,
            lambda card: settled(card, view, message_id, how, now, terms),
            now,
            sleep,
        )

    def release(
        self,
        card_id: str,
        *,
        message_id: str,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Give a claim back of which nobody was told; return whether it was there."""
        return self._after_telling(card_id, message_id, released, now, sleep)

    def refuse(
        self,
        card_id: str,
        *,
        message_id: str,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Give a claim back because SNS refused the message; return whether it was there."""
        return self._after_telling(card_id, message_id, refused, now, sleep)

    def unsure(
        self,
        view: CardViewJson,
        *,
        message_id: str,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Note that nobody knows whether people were told; return whether the claim was there."""
        return self._after_telling(
            view["card"]["card_id"],
            message_id,
            lambda card: unsure(card, view, message_id, now),
            now,
            sleep,
        )

    def _after_telling(
        self,
        card_id: str,
        message_id: str,
        change: Callable[[CardJson], CardJson],
        now: datetime,
        sleep: Callable[[float], None],
    ) -> bool:
        def if_claimed(card: CardJson) -> CardJson | None:
            telling = card["telling"]
            is_mine = telling is not None and telling["message_id"] == message_id
            return change(card) if is_mine else None

        return self._change(card_id, if_claimed, now, sleep) is not None

    def add_exemption(
        self,
        card_id: str,
        exemption: ExemptionJson,
        *,
        findings: Sequence[Finding],
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> CardJson | None:
        """Note on a card that an access is meant, and take its findings as archived by us.

        ``findings``: those of the card that may fall under it. It replaces one about the same
        access. A card that is not there is made for the findings; without any, returns None.
        """
        for _ in _tries(f"card {card_id}", sleep):
            card = self.get(card_id)
            before = card or (new_card(findings[0]) if findings else None)
            if before is None:
                return None
            after = with_exemption(before, exemption, findings, now)
            if after == card:
                return card
            done = self._replace(before, after, now)
            if done:
                return done
        raise AssertionError("_tries raises before this")

    def end_exemption(
        self,
        card_id: str,
        access: ExemptionJson | FindingJson,
        *,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> CardJson | None:
        """Take an exemption off a card; return the card, None where there is none.

        ``access``: the exemption, or a finding of the access that it is about. Its findings open
        when they are next recorded: set them active at their analyzers, and those of our own record
        again.
        """
        return self._change(card_id, lambda card: without_exemption(card, access), now, sleep)

    def set_proposal(
        self,
        card_id: str,
        proposal: ProposalNoteJson,
        *,
        now: datetime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> bool:
        """Note the newest proposal on its principal's card; return whether there is one."""
        done = self._change(card_id, lambda card: with_proposal(card, proposal), now, sleep)
        return done is not None

    def part_of(
        self, before: CardJson | None, after: CardJson, now: datetime
    ) -> dict[str, Any] | None:
        """Return the part of a transaction that writes a changed card; None: it has not changed.

        A card that is not there, and of which nothing is open or archived, is not made.
        """
        if after == before or (before is None and not is_worth_a_card(after)):
            return None
        written, version = _next(before or after, after, now)
        return self._put_part(card_to_item(written), key="card_id", version=version)

    def check_of(self, card: CardJson) -> dict[str, Any]:
        """Return the part of a transaction that demands that a card is as it was read."""
        return self._check("card_id", card["card_id"], card["version"])

    def _change(
        self,
        card_id: str,
        change: Callable[[CardJson], CardJson | None],
        now: datetime,
        sleep: Callable[[float], None],
    ) -> CardJson | None:
        """Return the changed card; None where it is not there, or ``change`` gives None."""
        for _ in _tries(f"card {card_id}", sleep):
            card = self.get(card_id)
            after = change(card) if card else None
            if card is None or after is None or after == card:
                return after
            done = self._replace(card, after, now)
            if done:
                return done
        raise AssertionError("_tries raises before this")

    def _replace(self, before: CardJson, after: CardJson, now: datetime) -> CardJson | None:
        """Return the card as written; None where somebody has changed it since it was read."""
        if after == before:
            return before
        written, version = _next(before, after, now)
        is_done = self._put_if(card_to_item(written), key="card_id", version=version)
        return written if is_done else None

    def _cards(self, card_ids: Iterable[str], sleep: Callable[[float], None]) -> Iterator[CardJson]:
        return map(card_of, self._get_many("card_id", card_ids, sleep))


def _next(before: CardJson, after: CardJson, now: datetime) -> tuple[CardJson, int | None]:
    """Return a changed card as it is written, and the version it replaces; None: there is none."""
    version = before["version"]
    written: CardJson = {**after, "version": version + 1, "updated_at": format_time(now)}
    return written, version or None
