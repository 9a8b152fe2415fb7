"""A card under events and rounds. How people are told is simulated at the end of this file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.findings import rounds
from pare.findings.card import card_id_of, open_count
from pare.findings.card_view import part_of
from pare.findings.severity import rank
from pare.findings.state import (
    LOOK_AGAIN,
    MAX_MESSAGES,
    MAX_OPEN,
    MAX_UNWATCHED,
    abandoned,
    applied,
    card_news,
    card_severity,
    claimed,
    counted_as,
    digest_time,
    due_of,
    exemption_of,
    is_expired,
    is_worth_a_card,
    looked_at,
    perhaps_told,
    quieted,
    released,
    round_name,
    settled,
    still_unwatched,
    supersedes,
    unsure,
    urgency_of,
    with_archiver,
    with_exemption,
    with_proposal,
    without_exemption,
)
from tests.finding_terms import bare_view, finding_terms
from tests.recorded import finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pare.findings.card import (
        CardJson,
        CardNews,
        CardViewJson,
        ExemptionJson,
        ProposalNoteJson,
    )
    from pare.findings.model import Finding

TERMS = finding_terms()
NOW = datetime(2026, 11, 22, 9, 15, 20, tzinfo=UTC)
PLAN = "notifications/2026-11-22/plan.json"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EARLY, LATE = "2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z"
ROUND = "arn:aws:states:eu-west-1:123456789012:execution:Notification:news"


BUCKET_OPEN_TO_ONE = finding("external_access")
STRANGER = (("AWS", "666666666666"),)
PUBLIC: Any = {"is_public": True, "principal": (("AWS", "*"),), "condition": ()}


def seen(finding_id: str = "a", severity: str = "high", **changes: Any) -> Finding:
    return replace(
        BUCKET_OPEN_TO_ONE,
        **{
            "finding_id": finding_id,
            "severity": severity,
            "updated_at": EARLY,
            "analyzed_at": EARLY,
            **changes,
        },
    )


def ended(finding_id: str = "a", how: str = "RESOLVED", **changes: Any) -> Finding:
    if how == "UNWATCHED":
        return seen(finding_id, is_deleted=True, updated_at=LATE, **changes)
    return seen(finding_id, status=how, updated_at=LATE, **changes)


def card_with(*findings: Finding, card: CardJson | None = None, **more: Any) -> CardJson:
    for each in findings:
        card = applied(card, each, more.get("now", NOW), TERMS)
    assert card is not None
    return card


def view_of(card: CardJson, now: datetime = NOW) -> CardViewJson:
    return bare_view(card, now)


def told(card: CardJson, *, now: datetime = NOW, how: Any = "single") -> CardJson:
    """Let a round tell of a card, with nothing happening meanwhile."""
    claim = claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=now)
    return settled(claim, view_of(claim, now), "m", how, now, TERMS)


def news_of(card: CardJson, now: datetime = NOW) -> CardNews:
    return card_news(card, now, TERMS)


# --- What there is to tell ------------------------------------------------------------------------


def test_a_card_knows_what_it_is_about() -> None:
    found = seen(owner="orders", account_name="production", created_at="2026-11-20T00:00:00Z")

    card: dict[str, Any] = {**card_with(found)}

    assert card == {
        "card_id": card_id_of(found.account_id, found.resource),
        "account_id": "111122223333",
        "account_name": "production",
        "resource": found.resource,
        "resource_type": "AWS::S3::Bucket",
        "owner": "orders",
        "open": {
            "a": {
                "severity": "high",
                "finding_type": "ExternalAccess",
                "region": found.region,
                "principal": "AWS 999988887777",
                "digest": card["open"]["a"]["digest"],
                "created_at": "2026-11-20T00:00:00Z",
            }
        },
        "more_open": {},
        "ended": {},
        "archived": {},
        "opened_at": "2026-11-20T00:00:00Z",
        "told": None,
        "telling": None,
        "due": "now",
        "due_at": "2026-11-22T09:17:00Z",  # 60 seconds on, at the next whole minute
        "exemptions": [],
        "proposal": None,
        "messages": [],
        "updated_at": EARLY,
        "version": 0,
    }


def test_a_finding_that_nobody_judged_is_judged_by_the_rules() -> None:
    card = card_with(seen(severity=cast("Any", None), exposure="public", access_levels=("Read",)))

    assert card["open"]["a"]["severity"] == "high"


def test_what_opened_and_closed_before_anybody_was_told_is_no_news() -> None:
    card = card_with(seen(), ended())

    assert (card["open"], card["ended"]) == ({}, {})
    assert news_of(card) == "none"
    assert (card["due"], card["due_at"], card["opened_at"]) == (None, None, None)


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        ((), (seen(),), "first_sight"),
        ((), (ended(),), "none"),
        ((seen(),), (), "none"),
        ((seen(),), (ended(),), "closed"),
        ((seen(),), (ended(how="ARCHIVED"),), "archived"),
        ((seen(),), (ended(how="UNWATCHED"),), "unwatched"),
        ((seen(),), (ended(how="UNWATCHED", values=(("ended", "DELETED"),)),), "closed"),
        # AWS cleans up 90 days after it was resolved.
        ((seen(),), (ended(is_deleted=True),), "closed"),
        # Somebody archived it, and it is as it was.
        ((seen(), seen("b")), (ended(), ended("b", "ARCHIVED")), "archived"),
        ((seen(), seen("b", "low")), (ended(), ended("b", "ARCHIVED")), "archived"),
        ((seen("b", status="ARCHIVED"), seen()), (ended(),), "archived"),
        ((seen("b", status="ARCHIVED"), seen()), (ended(), ended("b")), "closed"),
        # A notice that ends says nothing of the access that it was about.
        ((seen("b", status="ARCHIVED"), seen("n", finding_type="ExemptionExpiring")),
         (ended("n", finding_type="ExemptionExpiring"),), "closed"),
        ((seen(), seen("b")), (ended(), ended("b", "UNWATCHED")), "unwatched"),
        ((seen(), ended()), (seen(updated_at="2026-11-23T09:00:00Z"),), "first_sight"),
        ((seen(severity="medium"),), (seen(severity="high", updated_at=LATE),), "worsened"),
        ((seen(severity="high"),), (seen(severity="low", updated_at=LATE),), "none"),
        ((seen(), seen("b", "low")), (seen("b", "high", updated_at=LATE),), "worsened"),
        ((seen(),), (seen("b"),), "worsened"),
        ((seen(),), (seen("b", "low"),), "worsened"),
        ((seen(), seen("b")), (ended("b"),), "changed"),
        # A partial fix: the old finding is resolved, a new one created.
        ((seen(),), (ended(), seen("b")), "changed"),
        ((seen(),), (seen("b"), ended()), "changed"),
        ((seen(),), (ended(), seen("b", "low")), "changed"),
        ((seen(),), (ended(), seen("b", "critical")), "worsened"),
        ((seen(),), (ended(), seen("b", finding_type="InternalAccess")), "worsened"),
        # What is partly fixed was not the gravest.
        ((seen(), seen("b", "low")), (ended("b"), seen("c", "medium")), "worsened"),
        ((seen(), seen("b", "low")), (ended("b"), seen("c", "low")), "changed"),
        # Another principal comes, or more come than ended: strangers, and no churn.
        ((seen(),), (ended(), seen("b", principal=STRANGER)), "worsened"),
        ((seen(),), (ended(), seen("b"), seen("c")), "worsened"),
        ((seen(), seen("b", "low")), (ended(), ended("b"), seen("c"), seen("d")), "worsened"),
        ((seen(), seen("b", "low")), (ended(), ended("b"), seen("c", "low"), seen("d")),
         "changed"),
        # The same finding is of other access, no graver.
        ((seen(),), (seen(principal=STRANGER, updated_at=LATE),), "changed"),
        ((seen(condition=(("aws:SourceVpce", "vpce-1"),)),), (seen(updated_at=LATE),), "changed"),
        ((seen(),), (seen(actions=("s3:*",), updated_at=LATE),), "changed"),
        ((seen(actions=("s3:a", "s3:b")),), (seen(actions=("s3:b", "s3:a"), updated_at=LATE),),
         "none"),
    ],
)  # fmt: skip
def test_the_news_is_the_difference_to_what_was_told(
    before: tuple[Finding, ...], after: tuple[Finding, ...], news: CardNews
) -> None:
    card = told(card_with(*before)) if before and before[-1].is_open else None
    if before and card is None:
        card = card_with(*before)

    card = card_with(*after, card=card) if after else cast("CardJson", card)

    assert news_of(card) == news


def test_a_card_that_was_told_as_closed_opens_again() -> None:
    card = told(card_with(ended(), card=told(card_with(seen()))))
    assert news_of(card) == "none"
    assert card["told"] and card["told"]["severity"] is None
    assert (card["due"], card["due_at"]) == (None, None)

    card = card_with(seen(updated_at="2026-11-23T09:00:00Z"), card=card)

    assert news_of(card) == "reopened"


def test_what_closed_and_opened_again_unheard_of_is_no_news() -> None:
    card = card_with(ended(), seen(updated_at="2026-11-23T09:00:00Z"), card=told(card_with(seen())))

    assert news_of(card) == "none"


def test_an_open_card_has_been_open_since_its_oldest_finding() -> None:
    card = card_with(
        seen("a", created_at="2026-11-20T00:00:00.5Z"),
        seen("b", created_at="2026-11-20T00:00:00Z"),
        seen("c", created_at="2026-11-21T00:00:00Z"),
    )
    assert card["opened_at"] == "2026-11-20T00:00:00Z"

    # Of what ended before anybody heard of it, nothing is left, whenever its event came.
    assert card_with(ended("b"), card=card)["opened_at"] == "2026-11-20T00:00:00.5Z"
    # What people were told stays so, until they are told that it is closed.
    card = card_with(ended("b"), card=told(card))
    assert card["opened_at"] == "2026-11-20T00:00:00Z"
    card = told(card)
    assert card["opened_at"] == "2026-11-20T00:00:00Z"
    card = card_with(ended("a"), ended("c"), card=card)
    assert card["opened_at"] is None
    again = seen("d", created_at="2026-11-23T00:00:00Z", updated_at="2026-11-23T00:00:00Z")
    assert card_with(again, card=card)["opened_at"] == "2026-11-20T00:00:00Z"
    assert card_with(again, card=told(card))["opened_at"] == "2026-11-23T00:00:00Z"


@pytest.mark.parametrize("is_new_first", [True, False])
def test_a_partial_fix_opens_nothing_anew(is_new_first: bool) -> None:
    card = told(card_with(seen(created_at="2026-05-01T00:00:00Z")))
    gone = ended(created_at="2026-05-01T00:00:00Z")
    left = seen("b", created_at=LATE, updated_at=LATE)

    card = card_with(*([left, gone] if is_new_first else [gone, left]), card=card)

    assert (news_of(card), card["opened_at"]) == ("changed", "2026-05-01T00:00:00Z")
    card = told(card, now=NOW + HOUR)
    assert card["opened_at"] == "2026-05-01T00:00:00Z"


def test_what_opens_while_it_is_told_as_closed_is_open_since_then() -> None:
    card = card_with(ended(created_at="2026-05-01T00:00:00Z"),
                     card=told(card_with(seen(created_at="2026-05-01T00:00:00Z"))))  # fmt: skip
    claim = claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW)

    card = card_with(seen("b", created_at=LATE, updated_at=LATE), card=claim)
    assert card["opened_at"] == "2026-05-01T00:00:00Z"
    card = settled(card, view_of(claim), "m", "single", NOW, TERMS)

    assert (news_of(card), card["opened_at"]) == ("reopened", LATE)


def test_a_card_of_an_earlier_version_keeps_since_when_it_is_open() -> None:
    card = told(card_with(seen(created_at="2026-05-01T00:00:00Z")))
    del card["open"]["a"]["created_at"]
    assert card["told"]
    del card["told"]["opened_at"], card["told"]["unwatched"]

    card = card_with(seen("b", created_at=LATE), card=card)
    assert card["opened_at"] == "2026-05-01T00:00:00Z"
    card = card_with(ended(), card=card)
    assert card["opened_at"] == "2026-05-01T00:00:00Z"


# --- What nobody knew, and is known later ---------------------------------------------------------


GONE: Any = {"is_deleted": True, "values": (("ended", "DELETED"),)}


def unwatched(*ids: str) -> CardJson:
    """Return a card of findings that people heard of, and then that nobody knows."""
    card = told(card_with(*map(seen, ids)))
    return told(card_with(*(ended(each, "UNWATCHED") for each in ids), card=card))


def test_what_was_not_told_as_unwatched_yet_is_told_as_closed_alone() -> None:
    card = card_with(ended(how="UNWATCHED"), card=told(card_with(seen())))

    card = card_with(seen(updated_at=LATE, **GONE), card=card)

    assert news_of(card) == "closed"
    assert {each["how"] for each in card["ended"].values()} == {"DELETED"}


@pytest.mark.parametrize("changes", [GONE, {"status": "RESOLVED"}])
def test_what_was_told_as_unwatched_and_is_over_is_told_as_closed_once(changes: Any) -> None:
    card = unwatched("a")
    assert (news_of(card), card["due_at"]) == ("none", None)
    over = seen(updated_at=LATE, **changes)

    card = card_with(over, over, card=card)

    assert (news_of(card), card["due"]) == ("closed", "later")
    # Refused, it is told in the next round.
    card = released(claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW))
    assert news_of(card) == "closed"
    card = card_with(over, card=told(card))
    assert (news_of(card), card["ended"], card["due_at"]) == ("none", {}, None)


def test_what_is_over_while_it_is_told_as_unwatched_is_told_as_closed() -> None:
    card = card_with(ended(how="UNWATCHED"), card=told(card_with(seen())))
    claim = claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW)

    card = card_with(seen(updated_at=LATE, **GONE), card=claim)
    card = settled(card, view_of(claim), "m", "single", NOW, TERMS)

    assert news_of(card) == "closed"


def test_a_card_is_not_closed_while_something_told_as_unwatched_is_so() -> None:
    card = card_with(seen("a", updated_at=LATE, **GONE), card=unwatched("a", "b"))
    assert (news_of(card), card["due_at"]) == ("none", None)

    card = card_with(seen("b", updated_at=LATE, **GONE), card=card)

    assert (news_of(card), [*card["ended"]]) == ("closed", ["a", "b"])


def test_a_card_is_not_closed_by_its_last_open_one_while_another_is_unwatched() -> None:
    card = told(card_with(seen("a"), seen("b", principal=STRANGER)))
    card = card_with(ended("a", "UNWATCHED"), card=card)
    assert news_of(card) == "changed"
    card = card_with(ended("b", principal=STRANGER), card=told(card))
    assert (news_of(card), still_unwatched(card)) == ("unwatched", ["a"])

    view = rounds.view_of(card, {each: seen(each).to_json() for each in "ab"}, now=NOW, terms=TERMS)

    # What is not closed is named with what is.
    parts = {each["finding_id"]: part_of(view, each) for each in view["findings"]}
    assert parts == {"a": "unwatched", "b": "closed"}
    card = told(card)
    assert (news_of(card), card["due_at"]) == ("none", None)
    card = card_with(seen("a", updated_at=LATE, **GONE), card=card)
    assert news_of(card) == "closed"


def test_what_was_told_as_unwatched_and_is_seen_again_is_told_as_reopened() -> None:
    again = seen(updated_at="2026-11-23T09:00:00Z")
    card = card_with(again, card=unwatched("a"))
    assert news_of(card) == "reopened"
    assert news_of(card_with(replace(again, status="RESOLVED"), card=card)) == "closed"

    card = told(card)

    assert card["told"] and card["told"]["unwatched"] == []


# Another access than that of the finding ``a``, of which nobody heard as open.
LOW: Any = {"severity": "low", "principal": STRANGER, "region": "us-east-1"}


def unheard(*before: Finding) -> CardJson:
    """Return a card of which ``a`` was told, and then ``x`` went with its analyzer."""
    card = card_with(*before, ended("x", "UNWATCHED", **LOW), card=told(card_with(seen("a"))))
    assert (card["ended"], still_unwatched(card)) == ({}, ["x"])
    return card


@pytest.mark.parametrize(
    "before",
    [(), (seen("x", **LOW),), (seen("x", status="ARCHIVED", **LOW),)],
    ids=["not known before", "waits for the digest", "archived"],
)
def test_a_card_is_not_closed_while_nobody_knows_of_what_people_had_not_heard(before: Any) -> None:
    card = card_with(ended("a"), card=unheard(*before))
    assert news_of(card) == "unwatched"

    view = rounds.view_of(card, {each: seen(each).to_json() for each in "ax"}, now=NOW, terms=TERMS)

    parts = {each["finding_id"]: part_of(view, each) for each in view["findings"]}
    assert parts == {"x": "unwatched", "a": "closed"}
    card = told(card)
    assert (news_of(card), card["due_at"]) == ("none", None)
    card = card_with(seen("x", updated_at=LATE, **GONE, **LOW), card=card)
    assert news_of(card) == "closed"
    assert news_of(told(card)) == "none"


def test_what_is_over_while_people_first_hear_that_it_is_unwatched_is_told_as_closed() -> None:
    card = card_with(ended("a"), card=unheard())
    claim = claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW)

    card = card_with(seen("x", updated_at=LATE, **GONE, **LOW), card=claim)
    card = settled(card, view_of(claim), "m", "single", NOW, TERMS)

    assert news_of(card) == "closed"


@pytest.mark.parametrize("is_told", [True, False])
def test_what_is_unwatched_while_the_card_is_told_as_closed_is_told_after_it(is_told: bool) -> None:
    card = card_with(ended(), card=told(card_with(seen())))
    claim = claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW)
    assert news_of(claim) == "closed"

    again = {"updated_at": "2026-11-23T09:00:00Z"}
    card = card_with(seen(**again), seen(is_deleted=True, **again), card=claim)
    card = settled(card, view_of(claim), "m", "single", NOW, TERMS) if is_told else released(card)

    assert (news_of(card), card["due"]) == ("unwatched", "later")
    card = told(card)
    assert (news_of(card), card["due_at"]) == ("none", None)


def test_a_card_told_as_closed_is_unwatched_if_nobody_knows_of_something_since() -> None:
    card = told(card_with(ended(), card=told(card_with(seen()))))

    card = card_with(seen("x", **LOW), ended("x", "UNWATCHED", **LOW), card=card)

    assert news_of(card) == "unwatched"
    assert news_of(told(card)) == "none"


def test_of_a_finding_that_a_card_only_counted_nobody_knows_either() -> None:
    card = full_card()
    card = told({**card, "open": {"a": card["open"]["0"]}, "more_open": {"low": 1}})

    card = applied(card, ended("x", "UNWATCHED", **LOW), NOW, TERMS, counted="low")
    card = card_with(ended("a"), card=card)

    assert (news_of(card), card["more_open"]) == ("unwatched", {})


def many_unwatched() -> CardJson:
    noted: Any = {"about": "of nothing else", "at": EARLY}
    unwatched = {f"u{number}": noted for number in range(MAX_UNWATCHED)}
    return {**told(card_with(seen("a"))), "unwatched": unwatched}


def test_a_card_of_too_many_unwatched_findings_is_never_called_closed() -> None:
    card = card_with(ended("x", "UNWATCHED", **LOW), card=many_unwatched())
    assert (len(card.get("unwatched", {})), card.get("more_unwatched")) == (MAX_UNWATCHED, True)
    assert card_with(ended("x", "UNWATCHED", **LOW), card=card) == card

    card = card_with(ended("a"), card={**card, "unwatched": {}})

    assert news_of(card) == "unwatched"
    card = card_with(seen("b"), card=told(card))
    assert news_of(card_with(ended("b"), card=told(card))) == "unwatched"


def test_what_others_have_seen_gives_way_to_what_nobody_knows() -> None:
    card = many_unwatched()
    card["unwatched"] = {**card.get("unwatched", {}), "u7": {"about": "", "at": EARLY}}

    card = card_with(ended("x", "UNWATCHED", **LOW), card=card)

    assert card["unwatched"].keys() >= {"u6", "u8", "x"}
    assert "u7" not in card["unwatched"]
    assert "more_unwatched" not in card


def test_what_another_analyzer_sees_again_and_resolves_is_closed() -> None:
    """An analyzer was deleted and made again: its findings have other ids."""
    card = unwatched("a")
    for finding_id, told_before in (("a2", "unwatched"), ("a3", "closed")):
        assert card["told"] and card["told"]["news"] == told_before
        card = card_with(seen(finding_id, created_at=LATE), card=card)
        assert (news_of(card), still_unwatched(card)) == ("reopened", [])
        card = told(card)
        assert card["told"] and card["told"]["unwatched"] == []
        # That of the first, late and once more, changes nothing.
        assert card_with(ended("a", "UNWATCHED"), card=card) == card

        card = card_with(ended(finding_id), card=card)

        assert (news_of(card), [*card["ended"]]) == ("closed", [finding_id])
        card = card_with(ended("a", "UNWATCHED"), card=told(card))
        assert (news_of(card), still_unwatched(card)) == ("none", [])


@pytest.mark.parametrize(
    "changes",
    [{"region": "us-east-1"}, {"principal": STRANGER}, {"finding_type": "InternalAccess"}],
)
def test_another_access_says_nothing_of_what_is_unwatched(changes: Any) -> None:
    card = told(card_with(seen("b", **changes), card=unwatched("a")))

    card = card_with(ended("b", **changes), card=card)

    assert (news_of(card), still_unwatched(card)) == ("unwatched", ["a"])


def test_what_was_seen_again_and_is_unwatched_once_more_is_unwatched() -> None:
    card = told(card_with(seen("a2"), card=unwatched("a")))

    card = card_with(ended("a2", "UNWATCHED"), card=card)
    assert (news_of(card), still_unwatched(card)) == ("unwatched", ["a2"])

    again = {"updated_at": "2026-11-23T09:00:00Z"}
    card = card_with(seen("a", **again), seen("a", is_deleted=True, **again), card=told(card))
    assert still_unwatched(card) == ["a", "a2"]


def test_what_was_seen_again_but_not_told_is_unwatched_still() -> None:
    card = card_with(seen("a2"), ended("a2"), card=unwatched("a"))

    assert (news_of(card), still_unwatched(card)) == ("none", ["a"])


def test_the_same_unwatched_finding_again_is_no_news() -> None:
    card = unwatched("a")

    assert card_with(ended(how="UNWATCHED"), card=card) == card


# --- Exemptions, and what was archived by us ------------------------------------------------------


def exemption(**changes: Any) -> ExemptionJson:
    made: ExemptionJson = {
        "finding_type": "ExternalAccess",
        "principal": {"AWS": "999988887777"},
        "is_public": False,
        "condition": dict(BUCKET_OPEN_TO_ONE.condition),
        "severity": "high",
        "reason": "the partner's backup",
        "by": "arn:aws:sts::111122223333:assumed-role/Admin/anna",
        "at": LATE,
        "expires": "2026-12-31",
    }
    return cast("ExemptionJson", {**made, **changes})


@pytest.mark.parametrize(
    ("changes", "is_meant"),
    [
        ({}, True),
        ({"expires": None}, True),
        ({"expires": "2026-11-22"}, True),  # the last day counts
        ({"expires": "2026-11-21"}, False),
        ({"finding_type": "InternalAccess"}, False),
        ({"principal": {"AWS": "111111111111"}}, False),
        ({"principal": {}}, False),
        ({"is_public": True}, False),
        ({"is_public": None}, False),
        ({"condition": {"aws:SourceVpce": "vpce-1"}}, False),
        ({"severity": "critical"}, True),
        ({"severity": "medium"}, False),  # what was exempted was less grave
    ],
)
def test_an_exemption_is_for_one_access_until_its_last_day(
    changes: dict[str, Any], is_meant: bool
) -> None:
    card = with_exemption(card_with(seen()), exemption(**changes), [], NOW)

    assert (exemption_of(card, seen(), NOW) is not None) is is_meant
    assert ("a" not in card_with(seen(), card=card)["open"]) is is_meant


def test_findings_of_unused_access_have_no_principal_and_neither_has_their_exemption() -> None:
    found = finding("unused_permission", severity="low")
    made = exemption(
        finding_type="UnusedPermission", principal={}, is_public=found.is_public, condition={}
    )

    card = with_exemption(card_with(found), made, [found], NOW)

    assert card["open"] == {}


def test_an_exemption_does_not_silence_what_is_graver_than_what_was_exempted() -> None:
    endpoint: Any = {"condition": (("aws:SourceVpce", "vpce-1"),), "principal": (("AWS", "*"),)}
    meant = exemption(
        principal={"AWS": "*"}, condition={"aws:SourceVpce": "vpce-1"}, severity="medium"
    )
    card = with_exemption(card_with(seen("v", "medium", **endpoint)), meant, [], NOW)
    assert exemption_of(card, seen("v2", "medium", **endpoint), NOW)

    for graver in (seen("p", "critical", **PUBLIC), seen("w", "high", **endpoint)):
        after = card_with(graver, card=card)

        assert exemption_of(card, graver, NOW) is None
        assert graver.finding_id in after["open"]
        assert (after["due"], news_of(after)) == ("now", "first_sight")


def test_exemptions_of_one_principal_with_other_conditions_stand_beside_each_other() -> None:
    card = with_exemption(card_with(seen()), exemption(), [], NOW)
    card = with_exemption(card, exemption(condition={"aws:SourceVpce": "vpce-1"}), [], NOW)
    assert len(card["exemptions"]) == 2

    card = without_exemption(card, seen(severity="low").to_json())

    assert [each["condition"] for each in card["exemptions"]] == [{"aws:SourceVpce": "vpce-1"}]


def test_an_exemption_expires_at_the_end_of_its_day_in_utc() -> None:
    made = exemption(expires="2026-11-22")
    # One hour into the 23rd in Tokyo is still the 22nd.
    assert not is_expired(made, datetime.fromisoformat("2026-11-23T01:00:00+09:00"))
    assert is_expired(made, datetime(2026, 11, 23, tzinfo=UTC))


def test_what_is_archived_by_us_is_quiet_and_is_news_should_it_open_again() -> None:
    card = told(card_with(seen()))
    card = with_exemption(card, exemption(), [seen()], NOW)
    assert news_of(card) == "none"
    assert card["ended"]["a"] == {
        "how": "ARCHIVED", "by_pare": True, "finding_type": "ExternalAccess", "severity": "high",
        "principal": "AWS 999988887777", "at": EARLY,
    }  # fmt: skip
    assert card["due_at"] == LOOK_AGAIN, "so that a round forgets it"
    # The event comes after.
    assert news_of(card_with(ended(how="ARCHIVED"), card=card)) == "none"

    card = quieted(card, NOW, TERMS)
    assert (card["due_at"], card["ended"]) == (None, {})
    card = without_exemption(card, exemption())
    card = card_with(seen(updated_at="2027-01-01T09:00:00Z"), card=card)

    assert news_of(card) == "reopened"


def test_what_is_archived_by_us_before_a_round_forgot_it_is_due_within_the_hour() -> None:
    card = told(card_with(seen()))
    card["exemptions"] = [exemption()]

    card = card_with(seen(updated_at=LATE), card=card)

    assert card["due_at"] == "2026-11-22T09:46:00Z"
    assert urgency_of(card, NOW, TERMS) is None


def test_one_of_two_archived_by_us_is_quiet_and_the_other_is_still_told() -> None:
    card = told(card_with(seen(), seen("b", "low")))
    card = applied(card, ended(how="ARCHIVED"), NOW, TERMS, archived_by_pare=True)
    assert news_of(card) == "none"

    card = quieted(card, NOW, TERMS)

    assert card["told"] and card["told"]["severity"] == "low"
    assert card["told"]["findings"].keys() == {"b"}
    assert news_of(card) == "none"
    assert news_of(card_with(ended("b"), card=card)) == "archived", "the first is as it was"
    card = card_with(ended("b"), seen(status="RESOLVED", updated_at="2026-11-23T09:00:00Z"),
                     card=card)  # fmt: skip
    assert (news_of(card), card["archived"]) == ("closed", {})


@pytest.mark.parametrize("by_pare", [True, False])
def test_a_card_is_not_closed_while_something_of_it_is_archived(by_pare: bool) -> None:
    """Neither at once, nor when that was told long ago or never."""
    before = told(card_with(seen("p", "critical", **PUBLIC), seen("r", "medium")))
    gone = ended("p", "ARCHIVED", **PUBLIC)
    card = applied(before, gone, NOW, TERMS, archived_by_pare=by_pare)
    assert news_of(card_with(ended("r"), card=card)) == "archived"

    later = NOW + DAY
    card = quieted(card, later, TERMS) if by_pare else told(card, now=later)
    assert card["archived"].keys() == {"p"}
    card = card_with(ended("r"), card=card, now=later)

    assert news_of(card) == "archived"
    assert list(card["ended"]) == ["r"]
    assert news_of(card_with(replace(gone, status="RESOLVED"), card=card)) == "closed"


def test_what_is_archived_by_us_does_not_pass_strangers_as_churn() -> None:
    card = with_exemption(told(card_with(seen())), exemption(), [seen()], NOW)

    assert news_of(card_with(seen("b", principal=STRANGER), card=card)) == "worsened"
    # Of the same principal it falls under the exemption, unless that ended meanwhile.
    card = without_exemption(card, exemption())
    assert news_of(card_with(seen("b"), card=card)) == "worsened"


def test_long_principals_that_begin_alike_are_not_one() -> None:
    arn = "arn:aws:iam::666666666666:role/a/very/long/path/to/a/role/that/is/not/the/other"
    card = told(card_with(seen(principal=(("AWS", f"{arn}-1"),))))
    card = card_with(seen(status="RESOLVED", updated_at=LATE, principal=(("AWS", f"{arn}-1"),)),
                     seen("b", principal=(("AWS", f"{arn}-2"),)), card=card)  # fmt: skip

    assert news_of(card) == "worsened"
    assert all(len(each["principal"]) < 80 for each in card["open"].values())


def test_an_error_does_not_make_a_card_less_grave() -> None:
    card = told(card_with(seen(severity="critical", **PUBLIC)))
    blind = seen(severity="medium", error="ACCESS_DENIED", updated_at=LATE, **PUBLIC)

    after = card_with(blind, blind, card=card)

    assert after["open"]["a"]["severity"] == "critical"
    assert (news_of(after), card_severity(after)) == ("changed", "critical")
    # Told so, and still an error; and when it can be seen again, that counts.
    after = card_with(replace(blind, updated_at="2026-11-23T09:00:00Z"), card=told(after))
    assert (after["open"]["a"]["severity"], news_of(after)) == ("critical", "none")
    well = seen(severity="medium", updated_at="2026-11-24T09:00:00Z", **PUBLIC)
    assert card_with(well, card=after)["open"]["a"]["severity"] == "medium"
    assert card_with(blind)["open"]["a"]["severity"] == "medium", "nothing was known before"


@pytest.mark.parametrize("by_pare", [True, False])
def test_who_archived_may_be_known_only_after_the_event(by_pare: bool) -> None:
    card = card_with(ended(how="ARCHIVED"), card=told(card_with(seen())))
    assert news_of(card) == "archived"

    card = with_archiver(card, "a", by_pare=by_pare)

    assert news_of(card) == ("none" if by_pare else "archived")
    assert with_archiver(card, "a", by_pare=by_pare) == card
    assert with_archiver(card, "other", by_pare=by_pare) == card


def test_a_second_exemption_for_an_access_replaces_the_first() -> None:
    card = with_exemption(card_with(seen()), exemption(), [], NOW)
    card = with_exemption(card, exemption(reason="another", expires=None), [], NOW)

    assert [each["reason"] for each in card["exemptions"]] == ["another"]


def test_an_untold_finding_that_is_archived_by_us_is_never_told() -> None:
    card = with_exemption(card_with(seen()), exemption(), [seen()], NOW)

    assert (card["open"], card["ended"], card["opened_at"]) == ({}, {}, None)
    assert news_of(card) == "none"


# --- Proposals ------------------------------------------------------------------------------------


def proposal(created_at: str = LATE) -> ProposalNoteJson:
    return {
        "verdict": "ready",
        "created_at": created_at,
        "before_action_count": 40,
        "after_action_count": 2,
        "reasons": [],
        "proposal": {"bucket": "evidence", "key": "proposals/p/proposal.json"},
    }


def test_a_proposal_that_comes_after_the_message_is_told_with_the_next_digest() -> None:
    card = told(card_with(seen()))

    card = with_proposal(card, proposal())

    assert news_of(card) == "changed"
    assert card["due_at"] == LOOK_AGAIN, "who brings a proposal does not know when digests are"
    assert looked_at(card, NOW, TERMS)["due_at"] == "2026-11-23T08:00:00Z"
    card = told(looked_at(card, NOW, TERMS), how="digest")
    assert news_of(card) == "none"
    assert with_proposal(card, proposal(EARLY)) == card, "an older one comes late"


def test_a_proposal_before_the_first_message_is_in_it_and_does_not_put_it_off() -> None:
    card = card_with(seen())

    later = with_proposal(card, proposal())

    assert (later["due_at"], news_of(later)) == (card["due_at"], "first_sight")
    assert news_of(told(later)) == "none"


def test_a_proposal_for_what_is_closed_is_no_news() -> None:
    card = told(card_with(ended(), card=told(card_with(seen()))))

    card = with_proposal(card, proposal())

    assert (news_of(card), card["due_at"]) == ("none", None)


# --- When -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "due_at", "urgency"),
    [
        (card_with(seen()), "2026-11-22T09:17:00Z", "now"),
        (card_with(seen(severity="medium")), "2026-11-22T09:17:00Z", "now"),
        (card_with(seen(severity="low")), "2026-11-23T08:00:00Z", "digest"),
        (card_with(seen("b"), card=told(card_with(seen()))), "2026-11-22T09:17:00Z", "now"),
        (card_with(ended(), card=told(card_with(seen()))), "2026-11-22T09:46:00Z", "hourly"),
        (card_with(ended(how="UNWATCHED"), card=told(card_with(seen()))),
         "2026-11-22T09:46:00Z", "hourly"),
        (card_with(ended(), card=told(card_with(seen()), how="summary")),
         "2026-11-23T08:00:00Z", "digest"),
        (card_with(ended(), card=told(card_with(seen(severity="low")))),
         "2026-11-23T08:00:00Z", "digest"),
        (card_with(ended(), seen("b"), card=told(card_with(seen()))),
         "2026-11-23T08:00:00Z", "digest"),
        # A reminder at its time; of what is medium with the first digest after it.
        (told(card_with(seen(severity="critical"))), "2026-11-25T09:16:00Z", "hourly"),
        (told(card_with(seen())), "2026-11-29T09:16:00Z", "hourly"),
        (told(card_with(seen(severity="medium"))), "2026-12-23T08:00:00Z", "digest"),
        (told(card_with(seen(severity="low"))), None, None),
    ],
)  # fmt: skip
def test_when_somebody_should_hear_of_a_card(
    card: CardJson, due_at: str | None, urgency: str | None
) -> None:
    assert due_of(card, NOW, TERMS) == (due_at, urgency)
    partition = "now" if urgency == "now" else "later"
    assert (card["due"], card["due_at"]) == (partition if due_at else None, due_at)


def test_what_must_not_wait_is_not_behind_what_can() -> None:
    card = card_with(seen(severity="low"))
    assert card["due"] == "later"
    assert card_with(seen("b", "medium"), card=card)["due"] == "now"
    # Who brings a proposal does not know the terms; it is looked at with what can wait.
    assert with_proposal(told(card_with(seen())), proposal())["due"] == "later"
    assert told(card_with(seen()))["due"] == "later", "a reminder"


def test_a_flood_of_events_does_not_put_a_message_off() -> None:
    card = card_with(seen())
    for minute in range(1, 5):
        card = card_with(seen(f"f-{minute}"), card=card, now=NOW + timedelta(minutes=minute))

    assert card["due_at"] == "2026-11-22T09:17:00Z"


def test_what_becomes_urgent_is_due_sooner_and_what_no_longer_is_later() -> None:
    card = card_with(seen(severity="low"))
    card = card_with(seen("b", "critical"), card=card)
    assert card["due_at"] == "2026-11-22T09:17:00Z"

    assert card_with(ended("b"), card=card)["due_at"] == "2026-11-23T08:00:00Z"


def test_reminders_come_ever_more_rarely_while_a_card_is_open() -> None:
    card = told(card_with(seen()))
    days = []
    now = NOW
    for _ in range(4):
        assert card["due_at"] is not None
        due_at = datetime.fromisoformat(card["due_at"])
        assert news_of(card, due_at - HOUR) == "none"
        assert (news_of(card, due_at), urgency_of(card, due_at, TERMS)) == ("still_open", "hourly")
        days.append((due_at - now).days)
        card, now = told(card, now=due_at), due_at
        assert news_of(card, now) == "none"

    assert days == [7, 14, 28, 56]
    assert card["told"] and card["told"]["first_at"] == "2026-11-22T09:15:20Z"


def test_reminders_of_what_is_medium_come_with_a_digest() -> None:
    card = told(card_with(seen(severity="medium")))
    due_at = datetime(2026, 12, 23, 8, tzinfo=UTC)

    assert (news_of(card, due_at), urgency_of(card, due_at, TERMS)) == ("still_open", "digest")
    assert told(card, now=due_at, how="digest")["due_at"] == "2027-02-22T08:00:00Z"


def test_what_only_changed_does_not_put_a_reminder_off() -> None:
    """A proposal a day would else silence a critical card for ever."""
    card = told(card_with(seen(severity="critical")))
    heard = []
    for day in range(1, 31):
        now = NOW + day * DAY + timedelta(minutes=1)
        card = with_proposal(card, proposal(f"{now:%Y-%m-%dT%H:%M:%SZ}"))
        heard.append((day, news_of(card, now)))
        card = told(card, now=now, how="digest")

    assert [day for day, news in heard if news == "still_open"] == [3, 9, 21]
    assert {news for _, news in heard} == {"still_open", "changed"}


def test_a_reminder_does_not_wait_for_the_digest_of_what_changed_meanwhile() -> None:
    weekly = finding_terms(digest="weekly")
    tuesday = datetime(2026, 11, 24, 9, tzinfo=UTC)
    card = told(card_with(seen(severity="critical")), now=tuesday)

    card = looked_at(with_proposal(card, proposal()), tuesday + HOUR, weekly)

    assert card["due_at"] == "2026-11-27T09:00:00Z"
    reminded = datetime(2026, 11, 27, 9, tzinfo=UTC)
    assert card_news(card, reminded, weekly) == "still_open"
    assert urgency_of(card, reminded, weekly) == "hourly"


def test_a_worsened_card_is_reminded_of_from_the_beginning() -> None:
    card = told(card_with(seen()))
    card = told(card, now=NOW + 8 * DAY, how="digest")
    assert card["told"] and card["told"]["reminders"] == 1

    card = told(card_with(seen("b"), card=card), now=NOW + 9 * DAY)

    assert card["told"] and card["told"]["reminders"] == 0
    assert card["told"]["first_at"] == "2026-11-22T09:15:20Z"


@pytest.mark.parametrize(
    ("terms", "now", "expected"),
    [
        ({}, "2026-11-22T07:59:59Z", "2026-11-22T08:00:00Z"),
        ({}, "2026-11-22T08:00:00Z", "2026-11-23T08:00:00Z"),
        ({"time_zone": "Asia/Tokyo"}, "2026-11-22T22:00:00Z", "2026-11-22T23:00:00Z"),
        ({"time_zone": "Asia/Tokyo"}, "2026-11-22T23:30:00Z", "2026-11-23T23:00:00Z"),
        ({"time_zone": "Asia/Kolkata"}, "2026-11-22T00:00:00Z", "2026-11-22T02:30:00Z"),
        # The clocks of Berlin went back on 25 October.
        ({"time_zone": "Europe/Berlin"}, "2026-10-24T06:00:00Z", "2026-10-25T07:00:00Z"),
        # Sunday, 22 November.
        ({"digest": "weekly"}, "2026-11-22T09:00:00Z", "2026-11-23T08:00:00Z"),
        ({"digest": "weekly"}, "2026-11-23T08:00:00Z", "2026-11-30T08:00:00Z"),
        ({"digest": "weekly", "time_zone": "Pacific/Auckland", "digest_hour": 0},
         "2026-11-22T09:00:00Z", "2026-11-22T11:00:00Z"),
    ],
)  # fmt: skip
def test_digests_come_at_their_local_hour(terms: Any, now: str, expected: str) -> None:
    found = digest_time(datetime.fromisoformat(now), finding_terms(**terms))

    assert found == datetime.fromisoformat(expected)
    assert found.tzinfo is UTC


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "UTC"]),
    st.integers(0, 23),
)
def test_a_digest_is_never_more_than_a_day_and_an_hour_away(
    now: datetime, zone: str, hour: int
) -> None:
    away = digest_time(now, finding_terms(time_zone=zone, digest_hour=hour)) - now

    assert timedelta(0) < away <= DAY + HOUR


def test_a_round_is_named_after_its_minute() -> None:
    assert round_name("2026-11-22T09:17:00Z") == "news-2026-11-22T09-17"


# --- While a round tells --------------------------------------------------------------------------


def test_what_happens_while_a_round_tells_is_the_next_news() -> None:
    claim = claimed(
        card_with(seen()), execution=ROUND, message_id="m", plan=PLAN, now=NOW + 2 * HOUR
    )
    view = view_of(claim)
    assert claim["due"] == "now", "or nobody finds it should the round die"

    later = NOW + 2 * HOUR + timedelta(seconds=5)
    card = card_with(seen("b", "critical"), card=claim, now=later)
    card = settled(card, view, "m", "single", later, TERMS)

    assert card["telling"] is None
    assert card["told"] and card["told"]["findings"].keys() == {"a"}
    assert news_of(card) == "worsened"
    assert card["due_at"] == "2026-11-22T11:17:00Z"


@pytest.mark.parametrize(
    ("how", "news"), [("RESOLVED", "closed"), ("ARCHIVED", "archived"), ("UNWATCHED", "unwatched")]
)
def test_what_ends_while_it_is_told_for_the_first_time_is_told_as_ended(
    how: str, news: CardNews
) -> None:
    claim = claimed(card_with(seen()), execution=ROUND, message_id="m", plan=PLAN, now=NOW)

    card = settled(card_with(ended(how=how), card=claim), view_of(claim), "m", "single", NOW, TERMS)

    assert news_of(card) == news


def test_a_card_that_changes_and_changes_back_while_it_is_told_stays_due() -> None:
    claim = claimed(
        card_with(seen("b"), card=told(card_with(seen()))),
        execution=ROUND, message_id="m", plan=PLAN, now=NOW + HOUR,
    )  # fmt: skip

    card = card_with(ended("b"), card=claim)

    assert card["due"] == "later"
    assert card["ended"].keys() == {"b"}


def test_a_refused_message_leaves_the_card_as_it_was() -> None:
    before = card_with(seen())
    claim = claimed(before, execution=ROUND, message_id="m", plan=PLAN, now=NOW)

    assert released(claim) == before
    card = released(card_with(ended(), card=claim))
    assert (news_of(card), card["ended"]) == ("none", {}), "nobody heard of it"


def test_a_lost_answer_is_told_again_with_a_word_about_it() -> None:
    claim = claimed(card_with(seen()), execution=ROUND, message_id="m", plan=PLAN, now=NOW)
    card = unsure(claim, view_of(claim), "m", NOW)

    assert (news_of(card), card["told"], card["telling"]) == ("first_sight", None, None)
    assert perhaps_told(card)
    assert (card["due"], card["due_at"]) == ("now", LOOK_AGAIN)
    card = told(card)
    assert not perhaps_told(card)
    assert news_of(card) == "none"


@pytest.mark.parametrize("is_lost", [True, False])
def test_what_people_may_have_heard_of_is_told_as_closed(is_lost: bool) -> None:
    """The answer was lost, or the round ended without a word."""
    claim = claimed(card_with(seen()), execution=ROUND, message_id="m", plan=PLAN, now=NOW)
    card = unsure(claim, view_of(claim), "m", NOW) if is_lost else abandoned(claim)

    card = card_with(ended(), card=card)

    assert news_of(card) == "closed"
    assert perhaps_told(card)
    assert news_of(told(card)) == "none"


def test_people_who_may_have_heard_that_it_closed_hear_that_it_is_open() -> None:
    card = card_with(ended(), card=told(card_with(seen())))
    card = abandoned(claimed(card, execution=ROUND, message_id="m", plan=PLAN, now=NOW))

    card = card_with(seen(updated_at="2026-11-23T09:00:00Z"), card=card)

    assert news_of(card) == "changed"


def test_the_last_messages_are_kept() -> None:
    card = card_with(seen())
    for number in range(30):
        claim = claimed(card, execution=ROUND, message_id=f"m-{number}", plan=PLAN, now=NOW)
        card = settled(claim, view_of(claim), f"m-{number}", "digest", NOW, TERMS)

    assert [each["message_id"] for each in card["messages"]] == [
        f"m-{number}" for number in range(30 - MAX_MESSAGES, 30)
    ]
    assert card["messages"][-1] == {
        "message_id": "m-29", "at": "2026-11-22T09:15:20Z", "news": "none", "how": "digest",
    }  # fmt: skip


# --- More than a card names -----------------------------------------------------------------------


def full_card(severity: str = "low") -> CardJson:
    """Return a card that names as many open findings as it may, and was told."""
    card = card_with(seen("0", severity))
    one = card["open"]["0"]
    return told({**card, "open": {str(number): one for number in range(MAX_OPEN)}})


def test_what_a_full_card_has_no_room_for_is_counted_once() -> None:
    card = full_card()
    more = seen("more", "low")

    after = card_with(more, card=card)
    assert (after["more_open"], len(after["open"])) == ({"low": 1}, MAX_OPEN)
    assert (open_count(after), counted_as(after, more, NOW)) == (MAX_OPEN + 1, "low")
    assert news_of(after) == "changed"
    # The same again, known as counted; and when it ends.
    assert applied(after, more, NOW, TERMS, counted="low") == after
    gone = applied(after, ended("more"), NOW, TERMS, counted="low")
    assert (gone["more_open"], gone["ended"]) == ({}, {})
    assert counted_as(gone, ended("more"), NOW) is None
    assert news_of(told(after)) == "none"


def test_what_is_graver_than_all_that_a_full_card_names_is_named() -> None:
    card = card_with(seen("p", "critical", **PUBLIC), card=full_card())

    assert "p" in card["open"]
    assert (news_of(card), card["due"], card["more_open"]) == ("worsened", "now", {})


def test_a_counted_finding_gets_a_name_when_there_is_room() -> None:
    card = card_with(seen("more", "low"), ended("7"), card=full_card())

    card = applied(card, seen("more", "low"), NOW, TERMS, counted="low")

    assert (card["more_open"], "more" in card["open"]) == ({}, True)


def test_a_card_is_not_closed_while_a_finding_that_it_only_counts_is_open() -> None:
    card = card_with(seen("more", "low"), card=full_card())
    one = next(iter(card["ended"].values()), None)
    assert one is None

    card = {**told(card), "open": {}}
    card["ended"] = {"0": applied(told(card_with(seen())), ended(), NOW, TERMS)["ended"]["a"]}

    assert (news_of(card), card_severity(card)) == ("changed", "low")


# --- Any order, any repetition --------------------------------------------------------------------

states = st.builds(
    lambda finding_id, minute, status, is_deleted: seen(
        finding_id,
        # One analysis at one moment saw one severity.
        ("low", "medium", "high", "critical")[(minute + len(finding_id) + ord(finding_id[0])) % 4],
        status=status,
        is_deleted=is_deleted,
        updated_at=f"2026-11-21T09:{minute:02}:00Z",
        finding_type="ExternalAccess" if finding_id in "ab" else "InternalAccess",
        principal=STRANGER if (minute + ord(finding_id)) % 3 else BUCKET_OPEN_TO_ONE.principal,
        created_at=f"2026-11-0{ord(finding_id) - 96}T09:00:00Z",
        values=(("ended", "DELETED"),) if is_deleted and minute % 2 else (),
    ),
    st.sampled_from("abc"),
    st.integers(0, 4),
    st.sampled_from(["ACTIVE", "ACTIVE", "ARCHIVED", "RESOLVED"]),
    st.booleans(),
)


class Tables:
    """The tables in memory, as pare.aws.findings_table writes them: one card."""

    def __init__(self) -> None:
        self.findings: dict[str, Finding] = {}
        self.card: CardJson | None = None

    def record(self, found: Finding, now: datetime) -> None:
        known = self.findings.get(found.finding_id)
        if supersedes(known, found):
            self.findings[found.finding_id] = found
        card = applied(self.card, self.findings[found.finding_id], now, TERMS)
        if self.card is not None or is_worth_a_card(card):
            self.write(card)

    def write(self, card: CardJson | None) -> None:
        if card is not None:
            assert card["due"] == partition_of(card)
        if card is not None and card != self.card:
            self.card = {**card, "version": (self.card["version"] if self.card else 0) + 1}

    @property
    def open(self) -> set[str]:
        return {key for key, each in self.findings.items() if each.is_open}


def partition_of(card: CardJson) -> str | None:
    """Return in which partition a card has to lie; what must not wait is of grave openings."""
    is_grave = rank(card_severity(card)) >= rank("medium")
    # Long before a reminder, so that the news is what changed.
    is_urgent = is_grave and news_of(card) in {"first_sight", "worsened", "reopened"}
    return None if card["due_at"] is None else "now" if is_urgent else "later"


def compared(tables: Tables) -> dict[str, Any] | None:
    """Return the card without what only counts writes."""
    if tables.card is None:
        return None
    return {key: each for key, each in tables.card.items() if key != "version"}


@given(st.data())
def test_any_order_with_any_repeats_ends_in_the_same_card_and_news(data: st.DataObject) -> None:
    heard = data.draw(st.lists(states, max_size=4))
    heard_later = data.draw(st.lists(states, max_size=4))
    events = data.draw(st.lists(states, min_size=1, max_size=8))
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=4))
    ends = []
    for order in (events, data.draw(st.permutations([*events, *repeats]))):
        tables = Tables()
        for each in heard:
            tables.record(each, NOW)
        if tables.card:
            tables.write(told(tables.card))
            for each in heard_later:
                tables.record(each, NOW)
            tables.write(told(tables.card))
        else:
            # So that the card is there, whichever event of those to come is the first.
            tables.write(told(card_with(seen("z"))))
            tables.findings["z"] = seen("z")
        for each in order:
            tables.record(each, NOW)
        ends.append((compared(tables), tables.card and news_of(tables.card)))

    assert ends[0] == ends[1]


@given(st.lists(states, min_size=1, max_size=8))
def test_a_repeated_event_changes_nothing(events: list[Finding]) -> None:
    tables = Tables()
    for each in events:
        tables.record(each, NOW)
        version = tables.card and tables.card["version"]
        tables.record(each, NOW + timedelta(minutes=7))
        assert (tables.card and tables.card["version"]) == version


# --- Told once, whatever happens ------------------------------------------------------------------


class Box(Tables):
    """One card, people who read, and rounds that may be killed between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.heard: set[str] = set()  # what people know to be open
        self.rounds = 0
        self.running: tuple[str, CardViewJson] | None = None
        self.is_published = False
        self.lost = 0  # messages of which nobody knows if they arrived

    def due(self) -> bool:
        card = self.card
        return bool(card and card["due_at"] and card["due_at"] <= f"{self.now:%Y-%m-%dT%H:%M:%SZ}")

    # --- steps ---

    def claim(self) -> None:
        """Begin a round; whatever another one left is taken off first."""
        if self.card is None or not self.due():
            return
        if self.card["telling"]:
            self.write(abandoned(self.card))
            self.running = None
        if news_of(self.card, self.now) == "none":
            self.write(quieted(self.card, self.now, TERMS))
        elif self.card["due_at"] == LOOK_AGAIN:
            self.write(looked_at(self.card, self.now, TERMS))
        if not self.due():
            return
        self.rounds += 1
        message_id = f"m-{self.rounds}"
        self.write(
            claimed(self.card, execution=ROUND, message_id=message_id, plan=PLAN, now=self.now)
        )
        self.running, self.is_published = (message_id, view_of(self.card, self.now)), False

    def publish(self, *, arrives: bool = True) -> None:
        """Let SNS send the message: once, as the step is not tried again."""
        if self.running is None or self.is_published:
            return
        self.is_published = True
        view = self.running[1]
        if not arrives:
            return
        before = set(view["card"]["told"]["findings"]) if view["card"]["told"] else set()
        assert view["news"] != "none"
        if not perhaps_told(view["card"]):
            assert before == self.heard, "the message says what changed since the last one"
            now_open = set(view["card"]["open"])
            last = view["card"]["told"]
            is_known_now = last is not None and last["news"] == "unwatched"
            assert (
                now_open != before
                or view["news"] in {"still_open", "worsened"}
                or (is_known_now and view["news"] == "closed")
            )
        self.heard = set(view["card"]["open"])

    def settle(self) -> None:
        if self.running and self.is_published and self.card and self.is_mine():
            message_id, view = self.running
            self.write(settled(self.card, view, message_id, "single", self.now, TERMS))
            self.running = None

    def refuse(self) -> None:
        if self.running and not self.is_published and self.card and self.is_mine():
            self.write(released(self.card))
            self.running = None

    def lose_answer(self, *, arrives: bool) -> None:
        if self.running and not self.is_published and self.card and self.is_mine():
            self.publish(arrives=arrives)
            self.lost += 1
            message_id, view = self.running
            self.write(unsure(self.card, view, message_id, self.now))
            self.running = None

    def die(self) -> None:
        if self.running:
            self.lost += 1
        self.running = None

    def is_mine(self) -> bool:
        telling = self.card["telling"] if self.card else None
        return bool(self.running and telling and telling["message_id"] == self.running[0])


STEPS = {
    "record": 8, "claim": 5, "publish": 5, "settle": 5, "wait": 5, "refuse": 1, "die": 1,
    "lost, arrived": 1, "lost, not arrived": 1,
}  # fmt: skip


def walk(chance: Random, *, without: tuple[str, ...] = ()) -> Iterator[tuple[str, Finding | None]]:
    """Yield steps in any order: some repeated, some left out, as where functions are killed."""
    weights = {step: weight for step, weight in STEPS.items() if step not in without}
    for position in range(40):
        (step,) = chance.choices([*weights], [*weights.values()])
        # Mostly newer states, some late ones.
        minute = max(0, position + chance.choice((0, 0, 0, -9)))
        found = seen(
            chance.choice("aab"),
            chance.choice(("low", "high")) if position % 3 else "medium",
            status=chance.choice(("ACTIVE", "RESOLVED", "ARCHIVED")),
            is_deleted=chance.random() < 0.1,
            updated_at=f"2026-11-21T09:{minute:02}:00Z",
        )
        yield step, found if step == "record" else None


def take(box: Box, step: str, found: Finding | None) -> None:
    if step == "record" and found is not None:
        box.record(found, box.now)
    elif step == "wait":
        # Until something is due, mostly: few steps, and much is told.
        due_at = box.card["due_at"] if box.card else None
        soon = box.now + timedelta(minutes=40)
        box.now = (
            max(soon, datetime.fromisoformat(due_at)) if due_at and box.rounds % 3 < 2 else soon
        )
    elif step.startswith("lost"):
        box.lose_answer(arrives=step == "lost, arrived")
    else:
        getattr(box, step)()


WALKS = 1_000


def test_people_know_what_is_open_after_the_last_round_whatever_happened() -> None:
    """Each message says what is new since the last one, but after a lost answer, which it says."""
    for seed in range(WALKS):
        box = Box()
        for step, found in walk(Random(seed)):
            take(box, step, found)

        for _ in range(4):  # a digest, what came up while a dead round held the card, a closing
            box.now += 2 * DAY
            box.claim()
            box.publish()
            box.settle()

        card = box.card
        if card is None:
            assert box.open == box.heard == set(), seed
            continue
        assert set(card["open"]) == box.open == box.heard, seed
        assert set(card["told"]["findings"] if card["told"] else ()) == box.open, seed
        assert card["telling"] is None, seed
        assert card_news(card, box.now, TERMS) in {"none", "still_open"}, seed
        if card["open"]:
            assert card["told"] and card["told"]["severity"], seed
            assert rank(card["told"]["severity"]) >= rank(card_severity(card)), seed
        else:
            assert card["due"] is None, seed


def test_without_a_lost_answer_every_finding_is_told_once_each_time_it_opens() -> None:
    told_findings = 0
    for seed in range(WALKS):
        box = Box()
        for step, found in walk(
            Random(seed), without=("lost, arrived", "lost, not arrived", "die")
        ):
            if step == "claim" and box.running:
                continue  # no round takes a card from one that runs
            was_published, before = box.is_published, set(box.heard)
            take(box, step, found)
            if step == "publish" and box.running and not was_published:
                view = box.running[1]["card"]
                opened = view["open"].keys() - (view["told"]["findings"] if view["told"] else {})
                assert not opened & before, f"{seed}: told as new, and known already"
                told_findings += len(opened)

    assert told_findings > WALKS / 2, "the walks tell something"
