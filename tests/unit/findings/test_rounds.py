"""Rounds: which due cards are told now, in which messages, in which order, to whom."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.clock import format_time
from pare.findings.model import SEVERITIES, Finding
from pare.findings.outcomes import tally
from pare.findings.rounds import (
    Singles,
    count_singles,
    list_of,
    message_id_of,
    message_json,
    plan,
    trouble_of,
    view_of,
)
from pare.findings.state import abandoned, applied, claimed, refused, settled, unsure
from tests.finding_terms import finding_terms

if TYPE_CHECKING:
    from pare.findings.card import CardJson, CardViewJson
    from pare.findings.model import Severity
    from pare.findings.outcomes import SettledJson
    from pare.findings.rounds import PlannedMessage, RoundKind
    from pare.findings.terms import FindingTermsJson

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
PLAN = "notifications/2026-11-22/plan.json"
LATER = NOW + timedelta(days=2)  # everything that can wait is due
TERMS = finding_terms()
PLENTY = Singles(always=100, news=20, later=20)


def finding(number: int, severity: Severity = "high", **changes: Any) -> Finding:
    at = format_time(NOW - timedelta(hours=1))
    found = Finding(
        finding_id=f"f-{number:03}",
        access="external",
        finding_type="ExternalAccess",
        status="ACTIVE",
        is_deleted=False,
        account_id="111122223333",
        region="eu-west-1",
        analyzer_arn="arn:aws:access-analyzer:eu-west-1:999999999999:analyzer/pare",
        resource=f"arn:aws:s3:::bucket-{number:03}",
        resource_type="AWS::S3::Bucket",
        created_at=at,
        updated_at=at,
        analyzed_at=at,
    )
    return replace(found, severity=severity, **changes)


def card(*findings: Finding, before: CardJson | None = None, at: datetime = NOW) -> CardJson:
    """Return the card after these events."""
    for each in findings:
        before = applied(before, each, at, TERMS)
    assert before is not None
    return before


def view(
    number: int, severity: Severity = "high", *, owner: str | None = None, now: datetime = LATER
) -> CardViewJson:
    """Return a view of a new card with one finding."""
    found = finding(number, severity, owner=owner)
    return view_of(card(found), {found.finding_id: found.to_json()}, now=now, terms=TERMS)


def told(seen: CardViewJson, at: datetime = NOW) -> CardJson:
    """Return the card after people were told of it by itself."""
    return settled(seen["card"], seen, "m-1", "single", at, TERMS)


def closed(number: int, severity: Severity = "high", *, now: datetime = LATER) -> CardViewJson:
    """Return a view of a card that was told, and is closed since."""
    found = finding(number, severity)
    gone = finding(number, severity, status="RESOLVED", updated_at=format_time(NOW))
    after = card(gone, before=told(view(number, severity)))
    return view_of(after, {found.finding_id: gone.to_json()}, now=now, terms=TERMS)


def planned(
    *views: CardViewJson,
    kind: RoundKind = "hourly",
    budget: Singles = PLENTY,
    owners: tuple[str, ...] = (),
    execution: str = "e-1",
) -> list[PlannedMessage]:
    terms: FindingTermsJson = {**TERMS, "routed_owners": list(owners)}
    return plan(views, kind=kind, budget=budget, terms=terms, now=LATER, execution=execution)


def troubled(
    number: int, severity: Severity = "high", *, refusals: int = 0, deaths: int = 0
) -> CardViewJson:
    """Return a view of a new card whose messages SNS refused, or whose rounds died over it."""
    of = view(number, severity)["card"]
    for each in range(refusals + deaths):
        claim = claimed(of, execution=f"e-{each}", message_id=f"m-{each}", plan=PLAN, now=NOW)
        of = refused(claim) if each < refusals else abandoned(claim)
    return view_of(of, {}, now=LATER, terms=TERMS)


def numbers(message: PlannedMessage) -> list[int]:
    return [int(each["card"]["resource"][-3:]) for each in message.views]


# --- Views ----------------------------------------------------------------------------------------


def test_a_view_has_what_is_open_gravest_first_and_what_ended() -> None:
    low = finding(1, "low", finding_id="f-low")
    high = finding(1, "high", finding_id="f-high")
    before = card(low, high, finding(1, "medium", finding_id="f-gone"))
    seen = view_of(before, {}, now=NOW, terms=TERMS)
    gone = finding(1, "medium", finding_id="f-gone", status="RESOLVED",
                   updated_at=format_time(NOW))  # fmt: skip
    after = card(gone, before=told(seen))
    known = {each.finding_id: each.to_json() for each in (low, high, gone)}
    seen = view_of(after, known, now=LATER, terms=TERMS)
    assert [each["finding_id"] for each in seen["findings"]] == ["f-high", "f-low"]
    assert [each["finding_id"] for each in seen["ended"]] == ["f-gone"]
    assert (seen["news"], seen["severity"]) == ("changed", "high")


def test_a_view_of_a_closed_card_has_what_ended_and_how_grave_it_was() -> None:
    seen = closed(1, "critical")
    assert (seen["news"], seen["severity"]) == ("closed", "critical")
    assert [each["status"] for each in seen["findings"]] == ["RESOLVED"]
    assert seen["ended"] == seen["findings"]


def test_a_finding_that_is_not_in_the_table_is_left_out_of_the_view() -> None:
    seen = view_of(card(finding(1)), {}, now=NOW, terms=TERMS)
    assert (seen["findings"], seen["news"]) == ([], "first_sight")


# --- Rounds of news -------------------------------------------------------------------------------


def test_a_round_of_news_tells_what_cannot_wait_gravest_first() -> None:
    messages = planned(
        view(1, "medium"), view(2, "critical"), view(3, "low"), closed(4), view(5), kind="news"
    )
    assert [(each.kind, numbers(each)) for each in messages] == [
        ("single", [2]), ("single", [5]), ("single", [1]),
    ]  # fmt: skip
    assert all(each.settle and each.owner is None for each in messages)


def test_a_round_of_news_ends_with_the_budget_and_tells_nothing_else() -> None:
    views = [view(number, "medium") for number in range(5)] + [view(5, "high")]
    told = planned(*views, kind="news", budget=Singles(news=2, later=9))
    assert [numbers(each) for each in told] == [[5], [0]]
    assert planned(*views, kind="news", budget=Singles(), owners=("team-a",)) == []


def test_what_is_critical_waits_for_no_budget() -> None:
    views = [view(1), view(2, "critical"), view(3, "critical")]
    assert count_singles(views, kind="news", terms=TERMS, now=LATER) == Singles(always=2, news=1)
    for kind in ("news", "hourly"):
        messages = planned(*views, kind=kind, budget=Singles(always=2))
        singles = [numbers(each) for each in messages if each.kind == "single"]
        assert singles == [[2], [3]], kind


# --- Hourly rounds --------------------------------------------------------------------------------


def test_an_hourly_round_tells_all_that_is_due() -> None:
    views = [view(1), view(2, "critical"), closed(3, "critical"), view(4, "low"), closed(5, "low")]
    assert [(each.kind, numbers(each)) for each in planned(*views)] == [
        ("single", [2]),
        ("single", [1]),
        ("single", [3]),  # it is over: it comes after what begins
        ("digest", [4, 5]),
    ]


def test_what_is_over_the_budget_comes_in_one_summary() -> None:
    views = [view(number) for number in range(4)] + [view(9, "low"), view(8, "critical")]
    messages = planned(*views, budget=Singles(always=9, news=1))
    assert [(each.kind, numbers(each), each.place) for each in messages] == [
        ("single", [8], "always"), ("single", [0], "news"), ("summary", [1, 2, 3], None),
        ("digest", [9], None),
    ]  # fmt: skip


def test_what_ends_takes_no_place_of_what_begins() -> None:
    views = [closed(1, "critical"), closed(2), closed(3, "critical"), view(4), view(5, "medium")]
    wanted = count_singles(views, kind="hourly", terms=TERMS, now=LATER)
    assert wanted == Singles(always=0, news=2, later=3)
    messages = planned(*views, budget=Singles(news=1, later=2))
    assert [(each.kind, numbers(each)) for each in messages] == [
        ("single", [4]), ("single", [1]), ("single", [3]), ("summary", [5, 2]),
    ]  # fmt: skip


def test_a_reminder_takes_a_place_of_those_that_can_wait() -> None:
    week = NOW + timedelta(days=7, hours=1)
    seen = view_of(told(view(1)), {}, now=week, terms=TERMS)
    assert seen["news"] == "still_open"
    wanted = count_singles([seen], kind="hourly", terms=TERMS, now=week)
    assert wanted == Singles(later=1)


# --- What cannot be told --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusals", "deaths", "trouble"),
    [(0, 0, 0), (2, 0, 0), (3, 0, 1), (5, 0, 1), (6, 0, 2), (60, 0, 2),
     (0, 1, 0), (0, 2, 1), (0, 3, 1), (0, 4, 2), (2, 1, 0), (2, 2, 1)],
)  # fmt: skip
def test_a_card_is_troubled_whose_messages_come_to_nothing_again_and_again(
    refusals: int, deaths: int, trouble: int
) -> None:
    assert trouble_of(troubled(1, refusals=refusals, deaths=deaths)["card"]) == trouble


def test_a_card_that_was_told_is_no_longer_troubled_and_a_lost_answer_is_no_trouble() -> None:
    seen = troubled(1, refusals=3, deaths=2)
    assert trouble_of(told(seen)) == 0
    lost = view(1)["card"]
    for each in range(5):
        lost = unsure(lost, {**view(1), "card": lost}, f"m-{each}", NOW)
    assert trouble_of(lost) == 0
    # Nor does a refused summary make it well again.
    again = refused(
        claimed(troubled(1, deaths=2)["card"], execution="e", message_id="m", plan=PLAN, now=NOW)
    )
    assert trouble_of(again) == 1


def test_refusals_push_no_other_message_out() -> None:
    of = told(view(1))
    for each in range(50):
        of = refused(claimed(of, execution="e", message_id=f"m-{each}", plan=PLAN, now=NOW))
    assert [(each["message_id"], each["how"]) for each in of["messages"]] == [
        ("m-1", "single"), ("m-49", "refused"),
    ]  # fmt: skip


def test_a_troubled_card_takes_no_place_and_comes_last_beside_others_like_it() -> None:
    views = [
        troubled(1, "critical", refusals=3), troubled(2, deaths=2), troubled(3, "low", deaths=2),
        view(4, "medium"), view(5), view(6, "low", owner="team-a"),
    ]  # fmt: skip
    wanted = count_singles(views, kind="hourly", terms=TERMS, now=LATER)
    assert wanted == Singles(always=0, news=2, later=0)
    messages = planned(*views, budget=Singles(always=9, news=1), owners=("team-a",))
    assert [(each.kind, each.owner, each.settle, numbers(each)) for each in messages] == [
        ("single", None, True, [5]),
        ("summary", None, True, [4]),
        ("digest", None, True, [6]),
        ("digest", "team-a", False, [6]),
        ("summary", None, True, [1, 2, 3]),
    ]
    assert [numbers(each) for each in planned(*views, kind="news")] == [[5], [4]]


def test_cards_beside_a_bad_one_get_away_from_it() -> None:
    """One card spoils any message, and whatever message comes after that one."""
    left = set(range(40))
    rounds = 0
    while len(left) > 1:
        rounds += 1
        views = [troubled(number, deaths=4) for number in sorted(left)]
        messages = planned(*views, execution=f"e-{rounds}")
        assert len(messages) <= 2
        assert sorted(n for each in messages for n in numbers(each)) == sorted(left)
        for each in messages:
            if 7 in numbers(each):
                break
            left -= set(numbers(each))
        assert rounds < 40
    assert left == {7}


def test_an_owner_with_a_route_gets_a_digest_of_their_own_that_settles_nothing() -> None:
    views = [
        view(1, owner="team-a"),
        view(2, owner="team-a"),
        view(3, "low", owner="team-a"),
        view(4, "low", owner="team-b"),
        view(5, "low"),
    ]
    messages = planned(
        *views, budget=Singles(news=1), owners=("team-b", "team-a", "team-c", "team-a")
    )
    assert [(each.kind, each.owner, each.settle, numbers(each)) for each in messages] == [
        ("single", None, True, [1]),
        ("summary", None, True, [2]),
        ("digest", None, True, [3, 4, 5]),
        ("digest", "team-a", False, [2, 3]),
        ("digest", "team-b", False, [4]),
    ]


def test_each_card_is_settled_by_exactly_one_message() -> None:
    views = [view(n, s) for n, s in enumerate(SEVERITIES * 10)]
    views += [troubled(40, refusals=3), troubled(41, deaths=4), closed(42)]
    for budget in itertools.product((-1, 0, 3, 100), repeat=3):
        messages = planned(*views, budget=Singles(*budget), owners=("team-a",))
        settling = [n for each in messages if each.settle for n in numbers(each)]
        assert sorted(settling) == list(range(43))


def test_a_card_without_news_is_in_no_message() -> None:
    quiet = view_of(told(view(1)), {}, now=NOW, terms=TERMS)
    assert quiet["news"] == "none"
    assert planned(quiet) == []


def test_the_same_cards_give_the_same_plan_in_whatever_order() -> None:
    views = [view(n, s, owner="team-a") for n, s in enumerate(SEVERITIES * 4)]
    views += [troubled(number, deaths=4) for number in range(20, 30)]
    budget = Singles(2, 3, 1)
    wanted = planned(*views, budget=budget, owners=("team-a",))
    for seed in range(20):
        shuffled = random.Random(seed).sample(views, len(views))
        assert planned(*shuffled, budget=budget, owners=("team-a",)) == wanted


# --- Messages -------------------------------------------------------------------------------------


def test_a_message_has_the_same_id_at_the_same_place_of_a_round_only() -> None:
    (message,) = planned(view(1))
    (other,) = planned(view(2))

    def id_of(message: PlannedMessage, **changes: Any) -> str:
        where: dict[str, Any] = {"execution": "e-1", "step": 1, "position": 0, **changes}
        return message_id_of(message, **where)

    assert id_of(message) == id_of(message)
    ids = {
        id_of(message), id_of(other), id_of(message, execution="e-2"), id_of(message, step=2),
        id_of(message, position=1),
    }  # fmt: skip
    assert len(ids) == 5


@pytest.mark.parametrize("loses", [True, False])
def test_a_message_says_of_which_cards_nobody_knows_if_they_were_told(loses: bool) -> None:
    seen = view(1)
    claim = claimed(seen["card"], execution="e", message_id="m-1", plan=PLAN, now=NOW)
    again = unsure(claim, seen, "m-1", NOW) if loses else refused(claim)
    (message,) = planned(view_of(again, {}, now=LATER, terms=TERMS))
    written = message_json(message, message_id="m-2", as_of="2026-11-24T09:00:00Z", list_ref=None)
    assert written["perhaps_told"] == ([again["card_id"]] if loses else [])
    assert json.loads(json.dumps(written)) == written


def test_the_list_of_a_message_names_every_card_and_finding_one_a_line() -> None:
    hostile = finding(2, "low", resource='arn:aws:s3:::a\nb,"=cmd()')
    seen = view_of(card(hostile), {}, now=LATER, terms=TERMS)
    (message,) = planned(view(1, "low"), seen)
    lines = [json.loads(line) for line in list_of(message).splitlines()]
    assert [each["open"] for each in sorted(lines, key=lambda each: each["open"])] == [
        ["f-001"], ["f-002"],
    ]  # fmt: skip
    assert {each["card_id"] for each in lines} == {
        each["card"]["card_id"] for each in message.views
    }
    assert 'arn:aws:s3:::a\nb,"=cmd()' in {each["resource"] for each in lines}


def test_a_tally_counts_outcomes_and_names_what_people_may_not_have_got() -> None:
    told: list[SettledJson] = [
        {"message_id": "m-1", "outcome": "told", "error": None, "untold": []},
        {"message_id": "m-2", "outcome": "told", "error": None, "untold": ["machines", "chat"]},
        {"message_id": "m-3", "outcome": "refused", "error": "Sns.X", "untold": []},
        {"message_id": "m-4", "outcome": "unknown", "error": "States.Timeout", "untold": []},
        {"message_id": "m-5", "outcome": "unsettled", "error": "AwsCallError", "untold": []},
    ]
    assert tally(told) == (
        {"messages_told": 2, "messages_refused": 1, "messages_unknown": 1, "messages_unsettled": 1},
        [
            "the topic machines did not get message m-2",
            "the topic chat did not get message m-2",
            "SNS refused message m-3 (Sns.X)",
            "nobody knows whether people got message m-4 (States.Timeout)",
            "the cards do not know what became of message m-5 (AwsCallError)",
        ],
    )
    assert tally([]) == ({}, [])
