"""Collect news: which messages this round tells, of which cards; each is frozen as an object."""

from __future__ import annotations

import hashlib
import heapq
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.attempts import AT_ONCE, attempt_all
from pare.aws.evidence_store import EvidenceStore
from pare.aws.executions import has_ended
from pare.aws.findings_table import CardsTable, FindingsTable
from pare.aws.tables import RunsTable
from pare.clock import format_time, parse_time
from pare.findings.outcomes import tally
from pare.findings.rounds import (
    SHOWN_CARDS,
    Singles,
    count_singles,
    list_of,
    message_id_of,
    message_json,
    plan,
    trouble_of,
    view_of,
)
from pare.findings.severity import rank
from pare.findings.state import card_severity, perhaps_told, still_unwatched
from pare.message import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.aws.findings_table import BecameOf
    from pare.findings.card import CardJson, CardViewJson, TellingJson
    from pare.findings.model import FindingJson
    from pare.findings.outcomes import SettledJson
    from pare.findings.rounds import MessageKind, PlannedMessage, RoundKind
    from pare.findings.terms import FindingTermsJson
    from pare.object_ref import ObjectRef

# One step claims so many cards, and such as have so many findings; what is left comes in the next,
# with messages of its own. A round of news takes the gravest.
MAX_CARDS = 5_000
MAX_FINDINGS = 20_000
MAX_STEPS = 10
# An execution may have 25,000 events in its history, a message makes some 35, more with retries;
# and what all messages of a step leave has 256 KiB. Beyond it they are told in the summary.
# https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
MAX_SINGLES = 400


class MessageItem(TypedDict):
    message_id: str
    ref: ObjectRef


class Output(TypedDict):
    messages: list[MessageItem]
    counts: dict[str, int]
    unknown: list[str]
    has_more: bool
    step: int


class Plan(TypedDict):
    """What a step decided, written before anything is sent.

    ``cards``: those that an hourly step was about. ``told_in``: the message of each claimed card.
    """

    output: Output
    cards: list[str]
    told_in: dict[str, str]


class Start(TypedDict):
    """What starts the workflow, and what it knows when it comes here again."""

    scheduled_at: NotRequired[str]
    as_of: NotRequired[str]
    kind: NotRequired[RoundKind]
    due_by: NotRequired[str]  # also what is due up to then, such as the next digest
    collected: NotRequired[Output]  # by the step before
    told: NotRequired[list[SettledJson]]


class Input(TypedDict):
    input: Start
    execution: str
    started_at: str
    terms: FindingTermsJson


@dataclass(frozen=True, slots=True)
class Environment:
    cards_table_name: str
    findings_table_name: str
    runs_table_name: str
    evidence_bucket_name: str


# Which count of a run's record has the cards of which messages.
_KINDS: Mapping[MessageKind, str] = {
    "single": "told_singly", "summary": "in_summary", "digest": "in_digest",
}  # fmt: skip


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return the messages of this step of a round, each frozen as an object.

    Its cards are claimed: no other round tells them while this one runs. A repeated call of the
    same step returns what the first one planned; one that was killed before it wrote its plan had
    told nobody, and plans anew.
    """
    step = Step.of(event)
    if (planned := step.store.find_bytes(step.plan_ref(step.number))) is not None:
        known: Output = json.loads(planned)["output"]
        logger.info("already planned", messages=len(known["messages"]))
        return known
    output = step.collect()
    logger.info("news collected", counts=output["counts"], has_more=output["has_more"])
    count("MessagesPlanned", len(output["messages"]))
    return output


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a round: what it was started with, and what it works on."""

    execution: str
    number: int
    kind: RoundKind
    now: datetime
    until: datetime  # what is due up to then is told
    hour: str  # of the round, in UTC, such as 2026-11-22T09: whose budget it uses
    terms: FindingTermsJson
    before: Start
    store: EvidenceStore
    cards: CardsTable
    findings: FindingsTable
    runs: RunsTable
    # Of rounds whose claims were met: whether they have ended, and what their plans say.
    ended: dict[str, bool] = field(default_factory=dict)
    plans: dict[str, Plan | None] = field(default_factory=dict)

    @classmethod
    def of(cls, event: Input) -> Step:
        settings, given = environment(), event["input"]
        dynamodb = client("dynamodb")
        begun = max(parse_time(each) for each in (event["started_at"], given.get("as_of")) if each)
        before = given.get("collected")
        # A round is of its minute, though the clock of whoever asks for it may be ahead.
        now = max(begun, utc_now())
        return cls(
            execution=event["execution"],
            number=before["step"] + 1 if before else 1,
            kind=given.get("kind", "hourly"),
            now=now,
            until=max(now, parse_time(given["due_by"])) if "due_by" in given else now,
            hour=format_time(begun)[:13],
            terms=event["terms"],
            before=given,
            store=EvidenceStore(client("s3"), settings.evidence_bucket_name),
            cards=CardsTable(dynamodb, settings.cards_table_name),
            findings=FindingsTable(dynamodb, settings.findings_table_name),
            runs=RunsTable(dynamodb, settings.runs_table_name),
        )

    def plan_ref(self, number: int) -> ObjectRef:
        name = hashlib.sha256(self.execution.encode()).hexdigest()[:16]
        return self._ref(f"plan-{name}-{number}.json")

    def _ref(self, name: str) -> ObjectRef:
        return {"bucket": self.store.bucket, "key": f"notifications/{self.hour[:10]}/{name}"}

    # --- One step ---

    def collect(self) -> Output:
        """Claim, freeze and write the messages, and after them the plan that names them."""
        self._give_back()
        due, has_more = self._due()
        planned = self._planned([self._view(card, {}) for card in due])
        self._note_claims(planned)
        claimed, unclaimed = self._claimed(planned)
        messages = self._frozen(planned, claimed)
        written = self._written(messages)
        counts, unknown = self._so_far()
        for name, number in self._counts(messages).items():
            counts[name] = counts.get(name, 0) + number
        output: Output = {
            "messages": written,
            "counts": counts,
            "unknown": [
                *unknown,
                *_missing(messages),
                *_troubled(messages),
                *_unclaimed(unclaimed),
            ],
            "has_more": has_more and self.number < MAX_STEPS,
            "step": self.number,
        }
        plan_key = self.plan_ref(self.number)["key"]
        plan: Plan = {
            "output": output,
            "cards": sorted({card["card_id"] for card in due} if self.kind == "hourly" else ()),
            "told_in": {
                view["card"]["card_id"]: message_id
                for message_id, message in messages
                if message.settle
                for view in message.views
            },
        }
        self.store.put_json(plan_key, plan)
        return output

    def _due(self) -> tuple[list[CardJson], bool]:
        """Return the cards that this step is about, and whether another has to follow.

        Not those that an earlier step of this round was about: a message that was refused waits
        for the next round.
        """
        seen = self._seen()
        found = (
            card
            for card in self.cards.due(
                self.until,
                # What can wait is left alone by a round of news, however much there is of it.
                partitions=("now",) if self.kind == "news" else ("now", "later"),
                now=self.now,
                terms=self.terms,
                execution=self.execution,
                became_of=self._became_of,
            )
            if card["card_id"] not in seen
        )
        if self.kind == "news":
            # Cards that it does not choose stay due; another step would only find them again.
            cards, has_more = heapq.nsmallest(MAX_CARDS, found, key=_gravest_first), False
        else:
            cards, has_more = _as_many_as_fit(found)
        return cards, has_more

    def _seen(self) -> set[str]:
        earlier = range(1, self.number)
        return {
            card_id
            for number in earlier
            for card_id in self.store.get_json(self.plan_ref(number))["cards"]
        }

    def _became_of(self, card_id: str, telling: TellingJson) -> BecameOf:
        """Return what became of a round that claimed a card.

        A message is sent only once the plan that names it is written, and with the cards that the
        plan has in it: of what is in no plan nobody was told.
        """
        execution, key = telling["round"], telling.get("plan")
        if execution not in self.ended:
            self.ended[execution] = has_ended(client("stepfunctions"), execution)
        if not self.ended[execution]:
            return "running"
        if key is None:  # claimed by a version of Pare that did not say
            return "unknown"
        if key not in self.plans:
            found = self.store.find_bytes({"bucket": self.store.bucket, "key": key})
            self.plans[key] = json.loads(found) if found is not None else None
        plan = self.plans[key]
        told_in = plan["told_in"].get(card_id) if plan else None
        return "unknown" if told_in == telling["message_id"] else "untold"

    def _give_back(self) -> None:
        """Take off the claims of a try of this step before this one.

        That one left no plan, so nobody was told by it. Its cards need not be due any more: what
        happened to them since may have put that off.
        """
        noted = self.store.find_bytes(self._claims_ref())
        claims: dict[str, str] = json.loads(noted) if noted is not None else {}

        def release(each: tuple[str, str]) -> bool:
            card_id, message_id = each
            return self.cards.release(card_id, message_id=message_id, now=self.now)

        # What cannot be released is claimed again, or taken off by a later round.
        attempt_all(release, claims.items())

    def _note_claims(self, planned: Sequence[tuple[str, PlannedMessage]]) -> None:
        """Write which cards are about to be claimed, for a try after this one."""
        claims = {
            view["card"]["card_id"]: message_id
            for message_id, message in planned
            if message.settle
            for view in message.views
        }
        if claims:
            self.store.put_json(self._claims_ref()["key"], claims)

    def _claims_ref(self) -> ObjectRef:
        name = hashlib.sha256(self.execution.encode()).hexdigest()[:16]
        return self._ref(f"claims-{name}-{self.number}.json")

    def _view(self, card: CardJson, findings: Mapping[str, FindingJson]) -> CardViewJson:
        return view_of(card, findings, now=self.now, terms=self.terms)

    def _planned(self, views: Sequence[CardViewJson]) -> list[tuple[str, PlannedMessage]]:
        """Return the messages with their ids; only the singles that fit the hour's budget."""
        messages = plan(
            views,
            kind=self.kind,
            budget=self._budget(views),
            terms=self.terms,
            now=self.now,
            execution=self.execution,
        )
        return [
            (
                message_id_of(
                    message, execution=self.execution, step=self.number, position=position
                ),
                message,
            )
            for position, message in enumerate(messages)
        ]

    def _budget(self, views: Sequence[CardViewJson]) -> Singles:
        """Return how many messages about a single card this step may send, having taken them."""
        wanted = count_singles(views, kind=self.kind, terms=self.terms, now=self.now)
        limit, name = self.terms["max_messages_per_hour"], f"{self.execution}#{self.number}"
        before = self.before.get("collected")
        room = max(0, MAX_SINGLES - (before["counts"]["messages"] if before else 0))
        always = min(wanted.always, room)
        # They are told whatever is left, and leave less to the others.
        self.runs.take_budget(self.hour, always, sys.maxsize, execution=f"{name} always")
        news = self.runs.take_budget(
            self.hour, min(wanted.news, room - always), limit, execution=name
        )
        later = self.runs.take_budget(
            self._later, min(wanted.later, room - always - news), limit // 2, execution=name
        )
        later = self.runs.take_budget(self.hour, later, limit, execution=f"{name} later")
        return Singles(always, news, later)

    @property
    def _later(self) -> str:
        """Return the name of the half of the hour's budget that can go to what can wait."""
        return f"{self.hour} later"

    def _budgets_of(self, message: PlannedMessage) -> list[str]:
        """Return the budgets that a message has a place in."""
        if message.place is None:
            return []
        return [self.hour, self._later] if message.place == "later" else [self.hour]

    def _claimed(
        self, planned: Sequence[tuple[str, PlannedMessage]]
    ) -> tuple[dict[str, CardJson], list[str]]:
        """Return the cards that are ours now, and the ids of those of which AWS would not say.

        One that somebody changed meanwhile stays due. So does one that could not be claimed; where
        it was claimed after all and only the answer lost, a later round finds that nobody was told.
        Raises what AWS said where not a single one could be claimed.
        """
        plan_key = self.plan_ref(self.number)["key"]

        def claim(each: tuple[str, CardJson]) -> CardJson | None:
            message_id, card = each
            return self.cards.claim(
                card,
                execution=self.execution,
                message_id=message_id,
                plan=plan_key,
                now=self.now,
            )

        wanted = [
            (message_id, view["card"])
            for message_id, message in planned
            if message.settle
            for view in message.views
        ]
        claimed, failed = attempt_all(claim, wanted)
        if failed and not claimed:
            raise failed[0][1]
        cards = {card["card_id"]: card for card in claimed if card}
        return cards, sorted(card["card_id"] for (_, card), _ in failed)

    def _frozen(
        self,
        planned: Sequence[tuple[str, PlannedMessage]],
        claimed: Mapping[str, CardJson],
    ) -> list[tuple[str, PlannedMessage]]:
        """Return the messages with what they say of the cards that are ours; no empty ones."""
        ids = {
            finding_id
            for card in claimed.values()
            for finding_id in (*card["open"], *card["ended"], *still_unwatched(card))
        }
        items = self.findings.get_many(ids)
        findings = {finding_id: item["finding"] for finding_id, item in items.items()}
        archived = {
            finding_id: item["archived"]
            for finding_id, item in items.items()
            if item.get("archived")
        }
        views = {
            card_id: view_of(card, findings, now=self.now, terms=self.terms, archived=archived)
            for card_id, card in claimed.items()
        }
        frozen = [
            (
                message_id,
                replace(
                    message,
                    views=tuple(
                        views[view["card"]["card_id"]]
                        for view in message.views
                        if view["card"]["card_id"] in views
                    ),
                ),
            )
            for message_id, message in planned
        ]
        return [each for each in frozen if each[1].views]

    def _written(self, messages: Sequence[tuple[str, PlannedMessage]]) -> list[MessageItem]:
        def write(each: tuple[str, PlannedMessage]) -> MessageItem:
            message_id, message = each
            list_ref = None
            if len(message.views) > SHOWN_CARDS:
                key = self._ref(f"{message_id}.ndjson")["key"]
                list_ref = self.store.put_text(key, list_of(message), "application/x-ndjson")
            frozen = message_json(
                message,
                message_id=message_id,
                as_of=format_time(self.now),
                list_ref=list_ref,
                budgets=self._budgets_of(message),
                contact=self.terms["default_owner"],
            )
            key = self._ref(f"{message_id}.json")["key"]
            return {"message_id": message_id, "ref": self.store.put_json(key, frozen)}

        with ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(write, messages))

    def _so_far(self) -> tuple[dict[str, int], list[str]]:
        """Return the counts of the steps before this one, and what became of their messages."""
        before = self.before.get("collected")
        if before is None:
            return {}, []
        counts, unknown = tally(self.before.get("told", ()))
        for name, number in before["counts"].items():
            counts[name] = counts.get(name, 0) + number
        return counts, [*before["unknown"], *unknown]

    def _counts(self, messages: Sequence[tuple[str, PlannedMessage]]) -> dict[str, int]:
        settling = [message for _, message in messages if message.settle]
        views = [view for message in settling for view in message.views]
        return {
            "cards": len(views),
            **{
                f"cards_{name}": sum(
                    len(message.views) for message in settling if message.kind == kind
                )
                for kind, name in _KINDS.items()
            },
            "cards_perhaps_told_before": sum(perhaps_told(view["card"]) for view in views),
            "messages": len(messages),
        }


def _missing(messages: Sequence[tuple[str, PlannedMessage]]) -> list[str]:
    """Return what cards say is open or ended, and the table of findings does not know."""
    missing = {
        finding_id
        for _, message in messages
        for view in message.views
        for finding_id in {*view["card"]["open"], *view["card"]["ended"]}
        - {each["finding_id"] for each in (*view["findings"], *view["ended"])}
    }
    return [f"findings not in the table: {listed(sorted(missing))}"] if missing else []


def _unclaimed(card_ids: Sequence[str]) -> list[str]:
    """Return which cards wait for the next round because AWS failed."""
    if not card_ids:
        return []
    return [f"could not be claimed, so they wait for the next round: cards {listed(card_ids)}"]


def _troubled(messages: Sequence[tuple[str, PlannedMessage]]) -> list[str]:
    """Return what people should look into: why can these cards not be told?"""
    cards = sorted(
        view["card"]["card_id"]
        for _, message in messages
        if message.settle
        for view in message.views
        if trouble_of(view["card"])
    )
    if not cards:
        return []
    return [f"messages came to nothing again and again, now told last: cards {listed(cards)}"]


def _gravest_first(card: CardJson) -> tuple[int, str, str, str]:
    due_at = card["due_at"] or ""
    return -rank(card_severity(card)), due_at, card["account_id"], card["resource"]


def _as_many_as_fit(found: Iterable[CardJson]) -> tuple[list[CardJson], bool]:
    """Return the cards of one step, and whether more are due."""
    cards: list[CardJson] = []
    findings = 0
    for card in found:
        findings += len(card["open"]) + len(card["ended"])
        if cards and (len(cards) == MAX_CARDS or findings > MAX_FINDINGS):
            return cards, True
        cards.append(card)
    return cards, False
