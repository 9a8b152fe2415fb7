"""Settle message: its cards learn whether people were told of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypedDict

from lambdas.runtime import client, count, logger, metrics, read_environment, utc_now
from pare.aws.attempts import attempt_all
from pare.aws.evidence_store import EvidenceStore
from pare.aws.findings_table import CardsTable
from pare.aws.tables import RunsTable
from pare.clock import parse_time

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.findings.card import CardViewJson
    from pare.findings.outcomes import SettledJson
    from pare.findings.rounds import MessageJson
    from pare.findings.terms import FindingTermsJson
    from pare.object_ref import ObjectRef

# How the SDK's errors end that came from the service: "(Service: Sns, Status Code: 403, …)". With
# a status from 400 to 499 it says no, whatever name it has.
_REFUSED = re.compile(r"\(Service: Sns, Status Code: 4\d\d\b")


class Failure(TypedDict, total=False):
    """What a Catch leaves; empty where nothing failed."""

    Error: str
    Cause: str


class Input(TypedDict):
    ref: ObjectRef
    outcome: Literal["told", "refused", "unknown"]
    failure: Failure
    machines_failure: Failure
    chat_failure: Failure
    execution: str
    terms: FindingTermsJson


@dataclass(frozen=True, slots=True)
class Environment:
    cards_table_name: str
    runs_table_name: str
    evidence_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: Input, context: LambdaContext) -> SettledJson:
    """Return what became of a message. A repeated call changes no card a second time.

    Told: its cards take what they said. Refused: nobody was told, the next round tells, and the
    message gives its place in the hour's budget back. Unknown: their news stays, and the next
    message says "perhaps told before".
    """
    settings = environment()
    store = EvidenceStore(client("s3"), settings.evidence_bucket_name)
    message: MessageJson = store.get_json(event["ref"])
    message_id, failure = message["message_id"], event["failure"]
    outcome = event["outcome"]
    if outcome == "unknown" and _REFUSED.search(failure.get("Cause", "")):
        outcome = "refused"
    cards = CardsTable(client("dynamodb"), settings.cards_table_name)
    # The clock of whoever asked for the round may be ahead of ours.
    now = max(utc_now(), parse_time(message["as_of"]))

    def settle(view: CardViewJson) -> bool:
        if outcome == "told":
            return cards.settle(
                view,
                message_id=message_id,
                how=message["kind"],
                now=now,
                terms=event["terms"],
            )
        if outcome == "refused":
            return cards.refuse(view["card"]["card_id"], message_id=message_id, now=now)
        return cards.unsure(view, message_id=message_id, now=now)

    settled = 0
    if message["settle"]:
        done, failed = attempt_all(settle, message["views"])
        if failed:  # what is settled stays so; a repeated call has only the others left
            raise failed[0][1]
        settled = sum(done)
    if outcome == "refused":
        runs = RunsTable(client("dynamodb"), settings.runs_table_name)
        for budget in message["budgets"]:
            runs.give_back_budget(budget, message_id)
    untold = [
        topic
        for topic, lost in (
            ("machines", event["machines_failure"]),
            ("chat", event["chat_failure"]),
        )
        if lost
    ]
    count("Messages", outcome=outcome)
    logger.info("message settled", message_id=message_id, outcome=outcome, cards=settled,
                error=failure.get("Error"), cause=failure.get("Cause"), untold=untold)  # fmt: skip
    return {
        "message_id": message_id,
        "outcome": outcome,
        "error": failure.get("Error"),
        "untold": untold,
    }
