"""Settle message: what became of a message is on its cards, once, however often the step runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.aws.tables import RunsTable
from pare.clock import format_time
from pare.errors import AwsServiceError, EvidenceError
from tests.handlers.fake_aws import BUCKET
from tests.handlers.notifications.in_rounds import (
    LATER,
    NEXT_ROUND,
    NOW,
    card,
    card_id,
    close,
    collect,
    finding,
    frozen,
    record,
    settle,
)

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from tests.handlers.fake_aws import FakeAws

THROTTLED = "Rate exceeded (Service: Sns, Status Code: 429, Request ID: 1, Extended Request ID: 2)"
BROKEN = "Unknown (Service: Sns, Status Code: 503, Request ID: 1)"
HOSTILE = "no answer from 'bucket (Service: Sns, Status Code: 4'"


def test_cards_take_what_people_were_told(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1), finding(2, "low"), finding(3, "low"))
    output = collect(context)
    single, digest = output["messages"]

    assert settle(context, single) == {
        "message_id": single["message_id"], "outcome": "told", "error": None, "untold": [],
    }  # fmt: skip
    settle(context, digest)

    for number, item, how in ((1, single, "single"), (2, digest, "digest"), (3, digest, "digest")):
        known = card(tables, number)
        assert known["told"] is not None
        assert (known["told"]["message_id"], known["told"]["how"]) == (item["message_id"], how)
        assert known["told"]["at"] == format_time(LATER)  # the round's clock is ahead of ours
        assert known["told"]["findings"].keys() == {f"f-{number:04}"}
        assert known["telling"] is None
    assert collect(context, execution=NEXT_ROUND)["messages"] == []


@pytest.mark.parametrize("outcome", ["told", "refused", "unknown"])
def test_a_repeated_step_changes_nothing(
    tables: Any, evidence: EvidenceStore, context: Any, outcome: str
) -> None:
    record(tables, finding(1))
    (item,) = collect(context)["messages"]
    first = settle(context, item, outcome)
    settled = card(tables, 1)
    assert settle(context, item, outcome) == first
    # A try that was thought lost comes late: the first one has settled it.
    settle(context, item, "told")
    assert card(tables, 1) == settled


def test_after_a_refusal_the_next_round_tells_as_if_nothing_had_been(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1))
    (item,) = collect(context)["messages"]
    failure = {"Error": "Sns.KmsDisabledException", "Cause": "key is disabled"}

    output = settle(context, item, "refused", failure)

    assert (output["outcome"], output["error"]) == ("refused", "Sns.KmsDisabledException")
    assert card(tables, 1)["told"] is None
    assert [(each["how"], each["times"]) for each in card(tables, 1)["messages"]] == [
        ("refused", 1)
    ]
    (message,) = frozen(evidence, collect(context, execution=NEXT_ROUND))
    assert (message["views"][0]["news"], message["perhaps_told"]) == ("first_sight", [])


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [(THROTTLED, "refused"), (BROKEN, "unknown"), (HOSTILE, "unknown"), ("", "unknown")],
)
def test_an_error_without_a_name_is_a_refusal_only_where_sns_says_so(
    tables: Any, evidence: EvidenceStore, context: Any, cause: str, outcome: str
) -> None:
    record(tables, finding(1))
    (item,) = collect(context)["messages"]
    failure = {"Error": "Sns.SnsException", "Cause": cause}
    assert settle(context, item, "unknown", failure)["outcome"] == outcome
    how = [each["how"] for each in card(tables, 1)["messages"]]
    assert how == [outcome]


@pytest.mark.parametrize("severity", ["critical", "high"])
@pytest.mark.parametrize(("outcome", "is_given_back"), [("refused", True), ("unknown", False)])
def test_a_message_that_nobody_got_gives_its_place_back_once(
    tables: Any,
    evidence: EvidenceStore,
    context: Any,
    severity: Any,
    outcome: str,
    is_given_back: bool,
) -> None:
    record(tables, finding(1, severity))
    (item,) = collect(context, max_messages_per_hour=3)["messages"]
    for _ in range(3):
        settle(context, item, outcome)
    hour = f"{format_time(LATER)[:13]}"
    left = RunsTable(tables, "Runs").take_budget(hour, 9, 3, execution="another")
    assert left == (3 if is_given_back else 2)


def test_what_ended_and_could_not_be_told_gives_both_its_places_back(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    close(tables, context, 1)
    (item,) = collect(context, max_messages_per_hour=2)["messages"]
    (message,) = frozen(evidence, {"messages": [item]})  # type: ignore[typeddict-item]
    hour = f"{format_time(LATER)[:13]}"
    assert message["budgets"] == [hour, f"{hour} later"]
    settle(context, item, "refused")
    runs = RunsTable(tables, "Runs")
    assert runs.take_budget(f"{hour} later", 9, 1, execution="another") == 1
    assert runs.take_budget(hour, 9, 2, execution="another") == 2


def test_what_could_be_settled_stays_so_and_a_second_call_has_the_rest(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, *(finding(number, "low") for number in range(1, 6)))
    (item,) = collect(context)["messages"]

    def is_third(asked: dict[str, Any]) -> bool:
        return bool(asked.get("Item", {}).get("card_id") == {"S": card_id(3)})

    aws.fail("dynamodb:PutItem", "InternalServerError", 500, when=is_third)
    with pytest.raises(AwsServiceError):
        settle(context, item)
    told = {number: card(tables, number)["told"] is not None for number in range(1, 6)}
    assert told == {1: True, 2: True, 3: False, 4: True, 5: True}
    aws.mend("dynamodb:PutItem")
    assert settle(context, item)["outcome"] == "told"
    assert card(tables, 3)["told"] is not None


def test_what_changed_while_people_were_told_is_the_next_news(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1))
    (item,) = collect(context)["messages"]
    worse = finding(1, "critical", updated_at=format_time(NOW), analyzed_at=format_time(NOW))
    record(tables, worse, now=LATER + timedelta(seconds=1))

    settle(context, item)

    known = card(tables, 1)
    assert known["told"] is not None
    assert known["told"]["severity"] == "high"
    assert known["due"] == "now"
    later = collect(context, execution=NEXT_ROUND, as_of=LATER + timedelta(hours=1))
    (message,) = frozen(evidence, later)
    assert (message["views"][0]["news"], message["perhaps_told"]) == ("worsened", [])


def test_an_owners_digest_settles_nothing(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    record(tables, finding(1, "low", owner="team-a"))
    digest, of_owner = collect(context, routed_owners=["team-a"])["messages"]
    settle(context, of_owner)
    assert card(tables, 1)["told"] is None
    settle(context, digest)
    assert card(tables, 1)["told"] is not None


def test_it_says_who_else_was_not_told(tables: Any, evidence: EvidenceStore, context: Any) -> None:
    record(tables, finding(1))
    (item,) = collect(context)["messages"]
    lost = {"Error": "Sns.NotFoundException", "Cause": "no such topic"}
    output = settle(context, item, machines_failure=lost, chat_failure=lost)
    assert (output["outcome"], output["untold"]) == ("told", ["machines", "chat"])


def test_a_step_that_failed_half_way_settles_the_rest_when_it_is_repeated(
    tables: Any, evidence: EvidenceStore, context: Any, aws: FakeAws
) -> None:
    record(tables, *(finding(number, "low") for number in range(4)))
    (item,) = collect(context)["messages"]
    aws.fail("dynamodb:PutItem", "InternalServerError", 500, times=12)
    with pytest.raises(AwsServiceError):
        settle(context, item)
    aws.mend("dynamodb:PutItem")
    settle(context, item)
    for number in range(4):
        assert len(card(tables, number)["messages"]) == 1
        assert card(tables, number)["telling"] is None


def test_a_message_that_is_not_there_is_no_message(
    tables: Any, evidence: EvidenceStore, context: Any
) -> None:
    with pytest.raises(EvidenceError, match=r"notifications/x\.json"):
        settle(context, {"ref": {"bucket": BUCKET, "key": "notifications/x.json"}})
