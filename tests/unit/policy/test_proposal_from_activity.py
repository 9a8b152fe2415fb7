"""Proposals from our own reading of the logs, alone and with Access Analyzer's second opinion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.policy import proposal as builder
from pare.policy.catalogue import load_catalogue
from pare.policy.checks import with_checks
from pare.policy.document import parse
from pare.policy.evidence import Terms
from pare.policy.grants import granted_actions
from pare.policy.proposal import MAX_REFUSED_LISTED
from pare.policy.statements import observed_statements
from pare.policy.verdict import LEVELS, Exemption, Thresholds
from tests.unit.policy.evidence_builders import (
    ACCOUNT,
    FILE,
    FIRST,
    LAST,
    REGION,
    ROLE,
    TLS,
    accessed,
    activity,
    allow,
    covered,
    current,
    deny,
    document,
    parsed,
    propose,
    refused,
    service,
    use,
)
from tests.unit.policy.test_proposal import REQUESTS, accesses, is_allowed, last_accesses

if TYPE_CHECKING:
    from pare.cloudtrail.activity import Outcome
    from pare.policy.current import CurrentAccessJson
    from pare.policy.evidence import GenerationOutcomeJson, LastAccessedOutcomeJson
    from pare.policy.proposal import ProposalJson
    from tests.unit.policy.evidence_builders import Made

ORDERS = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/orders"
OTHERS = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/others"
TABLE = "arn:aws:dynamodb:${Region}:${Account}:table/${TableName}"
OBJECT = "arn:aws:s3:::${BucketName}/${ObjectName}"
ADMINISTRATOR = current(allow("*"))
TABLES = current(allow("dynamodb:*Table"))
NOTHING = accessed(*(service(prefix, used_at=None) for prefix in load_catalogue().services))


def generated(*statements: dict[str, Any], **changes: Any) -> GenerationOutcomeJson:
    outcome: dict[str, Any] = {
        "outcome": "SUCCEEDED", "message": "", "job_id": "job-1", "is_complete": True,
        "policies": [document(*statements)], "trail": None,
    }  # fmt: skip
    return cast("GenerationOutcomeJson", {**outcome, **changes})


def statements_of(proposal: ProposalJson, name: str = "") -> list[dict[str, Any]]:
    """Return the statements whose Sid has this in it, without their Sids."""
    return [
        {key: value for key, value in statement.items() if key != "Sid"}
        for part in proposal["documents"]
        for statement in part["Statement"]
        if name in statement["Sid"]
    ]


def granted(proposal: ProposalJson) -> frozenset[str]:
    return granted_actions([parse(part) for part in proposal["documents"]]).actions


def codes(proposal: ProposalJson, *levels: str) -> list[str]:
    return [each["code"] for each in proposal["reasons"] if not levels or each["level"] in levels]


def reason(proposal: ProposalJson, code: str, level: str = "") -> str:
    (found,) = [each for each in proposal["reasons"] if each["code"] == code]
    assert found["level"] == (level or LEVELS[code])
    assert found["what_to_do"].endswith((".", ")"))
    return found["text"]


def is_proved(proposal: ProposalJson) -> bool:
    """Return whether it is proved that nothing is granted which is not granted today."""
    proof = proposal["no_new_access"]
    return proof is not None and proof["result"] == "proved"


def why_refused(proposal: ProposalJson) -> str:
    """Return the code of a refusal, which carries nothing that somebody could apply."""
    assert proposal["verdict"] == "refused"
    assert proposal["documents"] == []
    assert proposal["evidence"] == []
    assert proposal["after"] is None
    assert proposal["removed_services"] == []
    assert proposal["removed_action_count"] == 0
    for name in ("difference", "no_new_access", "packing"):
        assert proposal[name] is None, name
    (code,) = codes(proposal, "refused")
    assert proposal["reasons"][0]["code"] == code, "the gravest first"
    return code


# --- Ready ---


def test_with_everything_known_a_proposal_is_ready() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS, count=7),
        use("dynamodb:DescribeTable", OTHERS, count=2, first="2026-10-01T00:00:00Z"),
        use("dynamodb:ListTables", count=3),
    )
    granted_today = current(allow("dynamodb:*"), allow("s3:*"), deny("dynamodb:DeleteTable"))
    services = accessed(service("dynamodb", used_at=None), service("s3", used_at=None))

    proposal = propose(theirs, granted_today, last_accessed=services)

    assert proposal["verdict"] == "ready"
    assert codes(proposal) == []
    assert proposal["documents"] == [
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "DynamodbObserved1",
                 **allow(["dynamodb:DescribeTable"], [ORDERS, OTHERS])},
                {"Sid": "DynamodbObserved2", **allow(["dynamodb:ListTables"], ["*"])},
                {"Sid": "KeptDeny1", **deny(["dynamodb:DeleteTable"], ["*"])},
            ],
        }
    ]  # fmt: skip
    assert proposal["evidence"][0] == {
        "sid": "DynamodbObserved1",
        "basis": "observed",
        "actions": ["dynamodb:DescribeTable"],
        "call_count": 9,
        "first": FIRST,
        "last": LAST,
        "uses": [
            {"action": "dynamodb:DescribeTable", "resource": ORDERS, "count": 7, "first": FIRST,
             "last": LAST, "file": FILE},
            {"action": "dynamodb:DescribeTable", "resource": OTHERS, "count": 2,
             "first": "2026-10-01T00:00:00Z", "last": LAST, "file": FILE},
        ],
        "more_uses": 0,
        "widened": [],
        "folded": [],
        "last_accessed_at": {},
    }  # fmt: skip
    assert proposal["replay"] is not None
    assert proposal["replay"]["complete"]
    assert (proposal["replay"]["calls"], proposal["replay"]["allowed_calls"]) == (12, 12)
    assert (proposal["replay"]["rows"], proposal["replay"]["allowed_rows"]) == (3, 3)
    assert is_proved(proposal)
    assert proposal["after"] == {"action_count": 2, "service_count": 1, "services": ["dynamodb"]}
    assert proposal["removed_services"] == ["s3"]
    assert proposal["coverage"]["activity"] == covered()
    assert proposal["coverage"]["comparison"] is None


def test_notes_leave_it_ready() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS), refused("s3:CreateBucket"))
    granted_today = current(allow(["dynamodb:*Table", "dynamodb:GetItem"]))
    services = accessed(service("dynamodb", {"DescribeTable": LAST, "CreateTable": LAST}))

    proposal = propose(
        theirs, granted_today, last_accessed=services,
        generation=generated(outcome="CANCELED", policies=[]),
    )  # fmt: skip

    assert proposal["verdict"] == "ready"
    assert codes(proposal, "note") == codes(proposal) == [
        "ASKED_FOR_AND_REFUSED", "POLICY_GENERATION_UNKNOWN", "KEPT_NOT_OBSERVABLE",
        "KEPT_LAST_ACCESSED",
    ]  # fmt: skip


def test_what_the_logs_would_show_and_do_not_is_removed() -> None:
    """Without data events, items stay; tables, whose calls are management events, go."""
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    granted_today = current(allow(["dynamodb:*Table", "dynamodb:GetItem", "dynamodb:PutItem"]))
    services = accessed(service("dynamodb"))

    without = propose(theirs, granted_today, last_accessed=services)
    with_data_events = propose(
        theirs, granted_today, last_accessed=services,
        coverage=covered(data_events=["dynamodb.amazonaws.com"]),
        terms=Terms(thresholds=Thresholds(complete_data_events=("dynamodb",))),
    )  # fmt: skip

    assert granted(without) == {
        "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem"
    }  # fmt: skip
    assert "2 actions of dynamodb" in reason(without, "KEPT_NOT_OBSERVABLE", "note")
    assert granted(with_data_events) == {"dynamodb:DescribeTable"}
    assert without["verdict"] == with_data_events["verdict"] == "ready"


def test_data_events_that_may_be_those_of_some_resources_are_said() -> None:
    theirs = activity(use("dynamodb:GetItem", ORDERS))
    granted_today = current(allow(["dynamodb:GetItem", "dynamodb:PutItem"]))

    proposal = propose(
        theirs, granted_today, coverage=covered(data_events=["dynamodb.amazonaws.com"])
    )

    assert granted(proposal) == {"dynamodb:GetItem"}
    assert proposal["verdict"] == "review"
    assert "dynamodb" in reason(proposal, "DATA_EVENTS_MAY_BE_PARTIAL")


# --- Principals younger than the logs ---


def test_a_principal_made_within_the_window_is_for_review() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    young = {**TABLES, "created_at": "2026-11-01T00:00:00Z"}

    proposal = propose(theirs, cast("CurrentAccessJson", young), last_accessed=NOTHING)

    assert proposal["verdict"] == "review"
    assert "made on 2026-11-01" in reason(proposal, "NEW_PRINCIPAL", "review")
    assert codes(propose(theirs, TABLES, last_accessed=NOTHING)) == []


@pytest.mark.parametrize(
    ("first", "found"),
    [(LAST, ["NEW_PRINCIPAL"]), ("2026-11-01T00:00:00Z", [])],
)
def test_a_principal_first_seen_in_the_last_days_is_for_review(
    first: str, found: list[str]
) -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS, first=first))

    assert codes(propose(theirs, TABLES, last_accessed=NOTHING)) == found


def test_no_activity_comes_with_how_little_was_read_and_who_had_the_name() -> None:
    theirs = activity(refused("s3:CreateBucket"))

    proposal = propose(
        theirs, TABLES, last_accessed=NOTHING, coverage=covered(window_days=1),
        gone_ids=("AROAEARLIER",),
    )  # fmt: skip

    assert codes(proposal)[0] == "NO_ACTIVITY"
    assert {"SHORT_WINDOW", "ASKED_FOR_AND_REFUSED"} < {*codes(proposal)}
    assert "AROAEARLIER" in reason(proposal, "EARLIER_NAMESAKE", "note")


# --- Thresholds ---

THRESHOLDS = pytest.mark.parametrize(
    ("still_good", "too_much", "code"),
    [
        ({"window_days": 80}, {"window_days": 79}, "SHORT_WINDOW"),
        ({"days_without_records": 3}, {"days_without_records": 4}, "DAYS_WITHOUT_RECORDS"),
        ({"unreadable_files": 0}, {"unreadable_files": 1}, "UNREADABLE_LOGS"),
        ({"unreadable_records": 0}, {"unreadable_records": 1}, "UNREADABLE_LOGS"),
        ({"reads_recorded": True}, {"reads_recorded": False}, "READS_NOT_RECORDED"),
        ({"reads_recorded": None}, {"reads_recorded": False}, "READS_NOT_RECORDED"),
    ],
)


@THRESHOLDS
def test_too_little_read_is_for_review(
    still_good: dict[str, Any], too_much: dict[str, Any], code: str
) -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))

    good = propose(theirs, TABLES, last_accessed=NOTHING, coverage=covered(**still_good))
    bad = propose(theirs, TABLES, last_accessed=NOTHING, coverage=covered(**too_much))

    assert (good["verdict"], codes(good)) == ("ready", [])
    assert (bad["verdict"], codes(bad)) == ("review", [code])
    assert reason(bad, code, "review")
    assert bad["documents"] == good["documents"]


def test_the_settings_say_how_much_is_enough() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    little = covered(
        window_days=30, days_without_records=10, unreadable_files=2, unreadable_records=5
    )
    terms = Terms(
        thresholds=Thresholds(
            min_window_days=30, max_days_without_records=10, max_unreadable_files=2,
            max_unreadable_records=5,
        )
    )  # fmt: skip

    strict = propose(theirs, TABLES, last_accessed=NOTHING, coverage=little)
    lax = propose(theirs, TABLES, last_accessed=NOTHING, coverage=little, terms=terms)

    assert codes(strict) == ["SHORT_WINDOW", "DAYS_WITHOUT_RECORDS", "UNREADABLE_LOGS"]
    assert "2 log files and 5 records" in reason(strict, "UNREADABLE_LOGS")
    assert (lax["verdict"], codes(lax)) == ("ready", [])


def test_a_service_that_the_trail_leaves_out_is_kept_where_it_was_used() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    granted_today = current(allow(["dynamodb:DescribeTable", "kms:Decrypt", "kms:CreateKey"]))
    services = accessed(service("kms"))

    shown = propose(theirs, granted_today, last_accessed=services)
    left_out = propose(
        theirs, granted_today, last_accessed=services, coverage=covered(services_left_out=["kms"])
    )

    assert granted(shown) == {"dynamodb:DescribeTable"}
    assert granted(left_out) == {"dynamodb:DescribeTable", "kms:Decrypt", "kms:CreateKey"}


def test_an_operation_behind_which_no_action_is_known_is_for_review() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS), unmapped={"quantum.amazonaws.com:Entangle": 4}
    )

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    assert (proposal["verdict"], codes(proposal)) == ("review", ["UNMAPPED_OPERATIONS"])
    text = reason(proposal, "UNMAPPED_OPERATIONS")
    assert "1 operation that it called: quantum.amazonaws.com:Entangle" in text


# --- Both kinds of evidence ---


def test_two_kinds_of_evidence_are_compared_and_united() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        use("dynamodb:CreateTable", ORDERS),
        refused("dynamodb:UpdateTable", ORDERS, count=2),
        refused("dynamodb:DescribeTable", OTHERS),
    )
    opinion = generated(
        allow(["dynamodb:DescribeTable", "dynamodb:ImportTable", "dynamodb:UpdateTable"], TABLE),
        allow("sts:GetCallerIdentity"),
    )

    proposal = propose(theirs, TABLES, generation=opinion, last_accessed=NOTHING)

    assert proposal["coverage"]["comparison"] == {
        "both": 1,
        "only_access_analyzer": ["dynamodb:ImportTable"],
        "only_activity": ["dynamodb:CreateTable"],
        "refused_in_activity": ["dynamodb:UpdateTable"],
    }
    assert statements_of(proposal) == [
        allow(["dynamodb:CreateTable", "dynamodb:DescribeTable"], [ORDERS]),
        allow(["dynamodb:ImportTable"], ["arn:aws:dynamodb:*:*:table/*"]),
    ]
    assert proposal["verdict"] == "review"
    assert codes(proposal, "review") == ["ROUTES_DISAGREE"]
    assert "dynamodb:ImportTable. They are in" in reason(proposal, "ROUTES_DISAGREE")


def test_a_template_is_filled_with_the_arns_of_the_logs() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    opinion = generated(allow("dynamodb:DescribeTable", TABLE))

    proposal = propose(theirs, TABLES, generation=opinion, last_accessed=NOTHING)

    assert statements_of(proposal) == [allow(["dynamodb:DescribeTable"], [ORDERS])]
    assert proposal["evidence"][0]["widened"] == []
    assert (proposal["verdict"], codes(proposal)) == ("ready", [])


def test_what_only_access_analyzer_saw_stays_within_todays_resources() -> None:
    granted_today = current(allow("dynamodb:*Table", [ORDERS, OTHERS]))
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    opinion = generated(allow("dynamodb:ImportTable", TABLE))

    proposal = propose(theirs, granted_today, generation=opinion, last_accessed=NOTHING)

    assert statements_of(proposal) == [
        allow(["dynamodb:DescribeTable"], [ORDERS]),
        allow(["dynamodb:ImportTable"], [ORDERS, OTHERS]),
    ]


def test_what_access_analyzer_names_and_the_logs_show_refused_is_no_need() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS), refused("dynamodb:DeleteTable", ORDERS)
    )
    opinion = generated(allow(["dynamodb:DescribeTable", "dynamodb:DeleteTable"], TABLE))

    proposal = propose(theirs, TABLES, generation=opinion, last_accessed=NOTHING)

    assert granted(proposal) == {"dynamodb:DescribeTable"}
    assert "ROUTES_DISAGREE" not in codes(proposal)
    assert proposal["verdict"] == "ready"


def test_an_action_refused_once_and_allowed_elsewhere_is_a_need_there() -> None:
    theirs = activity(use("dynamodb:DeleteTable", ORDERS), refused("dynamodb:DeleteTable", OTHERS))

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    assert statements_of(proposal) == [allow(["dynamodb:DeleteTable"], [ORDERS])]
    assert [each["resource"] for each in proposal["refused_calls"]] == [OTHERS]


@pytest.mark.parametrize("outcome", ["CANCELED", "AUTHORIZATION_ERROR", "States.Timeout"])
def test_a_second_opinion_that_failed_is_a_note(outcome: str) -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    opinion = generated(
        allow("dynamodb:CreateTable", TABLE), outcome=outcome, message="AWS's own words"
    )

    proposal = propose(theirs, TABLES, generation=opinion, last_accessed=NOTHING)

    assert proposal["verdict"] == "ready"
    assert granted(proposal) == {"dynamodb:DescribeTable"}
    assert proposal["coverage"]["comparison"] is None
    text = reason(proposal, "POLICY_GENERATION_UNKNOWN", "note")
    assert f"({outcome}): AWS's own words" in text


def test_an_incomplete_second_opinion_says_nothing_beside_the_logs() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    opinion = generated(allow("dynamodb:DescribeTable", TABLE), is_complete=False)

    proposal = propose(theirs, TABLES, generation=opinion, last_accessed=NOTHING)

    assert (proposal["verdict"], codes(proposal)) == ("ready", [])


def test_last_accessed_information_that_failed_is_for_review() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    failed = accessed(outcome="LastAccessedError", message="the job failed")

    proposal = propose(theirs, TABLES, last_accessed=failed)

    assert proposal["verdict"] == "review"
    assert "the job failed" in reason(proposal, "LAST_ACCESSED_UNKNOWN", "review")


# --- Exemptions ---


def exemption(**changes: str) -> Exemption:
    return Exemption(
        **{
            "principal": ROLE, "owner": "orders@example.com", "reason": "it moves in May",
            "expires": "2026-11-22", **changes,
        }
    )  # fmt: skip


def exempted(found: Exemption, today: str) -> ProposalJson:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    terms = Terms(exemptions=(found,), today=today)
    return propose(theirs, TABLES, last_accessed=NOTHING, terms=terms)


@pytest.mark.parametrize("today", ["2026-11-01", "2026-11-22", ""])
@pytest.mark.parametrize("principal", [ROLE, f"arn:aws:iam::{ACCOUNT}:role/app/*", "*"])
def test_an_exempt_principal_is_left_as_it_is(principal: str, today: str) -> None:
    """Up to its last day; and where the day is not known."""
    proposal = exempted(exemption(principal=principal), today)

    assert why_refused(proposal) == "EXEMPT"
    assert proposal["before"] is not None
    assert reason(proposal, "EXEMPT") == (
        "The settings leave it as it is until 2026-11-22: it moves in May (orders@example.com)."
    )


def test_an_exemption_that_ran_out_is_a_note() -> None:
    proposal = exempted(exemption(), "2026-11-23")

    assert proposal["verdict"] == "ready"
    assert codes(proposal) == ["EXEMPTION_EXPIRED"]
    assert "until 2026-11-22: it moves in May" in reason(proposal, "EXEMPTION_EXPIRED", "note")


@pytest.mark.parametrize(
    "principal", ["arn:aws:iam::444455556666:role/app/Shop", f"{ROLE}2", ROLE.upper()]
)
@pytest.mark.parametrize("today", ["2026-11-01", "2027-01-01"])
def test_an_exemption_of_another_principal_says_nothing(principal: str, today: str) -> None:
    proposal = exempted(exemption(principal=principal), today)

    assert (proposal["verdict"], codes(proposal)) == ("ready", [])


# --- Refused calls ---


def test_refused_calls_are_listed_and_not_granted() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        refused("dynamodb:DescribeTable", OTHERS, count=2),
        refused("s3:CreateBucket", "arn:aws:s3:::new", count=9),
        refused("dynamodb:DescribeTable", ORDERS),  # allowed at other times
        refused("iam:CreateRole", None, count=2),
    )

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    common = {"last": LAST, "file": FILE, "granted_by_proposal": False}
    assert proposal["refused_calls"] == [
        {"action": "s3:CreateBucket", "resource": "arn:aws:s3:::new", "count": 9,
         "errors": {"AccessDenied": 9}, **common},
        {"action": "dynamodb:DescribeTable", "resource": OTHERS, "count": 2,
         "errors": {"AccessDenied": 2}, **common},
        {"action": "iam:CreateRole", "resource": None, "count": 2,
         "errors": {"AccessDenied": 2}, **common},
    ]  # fmt: skip
    assert proposal["more_refused_calls"] == 0
    assert proposal["verdict"] == "ready"
    assert codes(proposal) == ["ASKED_FOR_AND_REFUSED"]
    assert "3 uses of dynamodb:DescribeTable, iam:CreateRole, s3:CreateBucket" in reason(
        proposal, "ASKED_FOR_AND_REFUSED", "note"
    )


def test_a_refused_action_is_not_kept_though_iam_counts_the_attempt() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS), refused("dynamodb:DeleteTable", ORDERS)
    )
    services = accessed(service("dynamodb", {"DescribeTable": LAST, "DeleteTable": LAST}))

    proposal = propose(theirs, TABLES, last_accessed=services)

    assert granted(proposal) == {"dynamodb:DescribeTable"}


def test_a_kept_statement_that_grants_a_refused_call_is_said() -> None:
    """The call was refused by something else: a bucket policy, an SCP."""
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        use("dynamodb:GetItem", None, count=3),
        refused("dynamodb:GetItem", OTHERS, count=5),
        refused("dynamodb:DescribeTable", OTHERS, count=50),
    )
    granted_today = current(allow(["dynamodb:*Table", "dynamodb:GetItem"]))

    proposal = propose(theirs, granted_today, last_accessed=NOTHING)

    assert [
        (each["action"], each["granted_by_proposal"]) for each in proposal["refused_calls"]
    ] == [("dynamodb:GetItem", True), ("dynamodb:DescribeTable", False)]
    assert proposal["verdict"] == "review"
    text = reason(proposal, "REFUSED_CALL_GRANTED", "review")
    assert "1 refused call" in text
    assert f"dynamodb:GetItem on {OTHERS}" in text


def test_refused_calls_beyond_the_first_are_counted() -> None:
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        *(refused("s3:CreateBucket", f"arn:aws:s3:::b{n:03}", count=n + 1) for n in range(105)),
    )

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    assert len(proposal["refused_calls"]) == MAX_REFUSED_LISTED == 100
    assert proposal["more_refused_calls"] == 5
    assert [each["count"] for each in proposal["refused_calls"]] == list(range(105, 5, -1))
    assert "105 uses" in reason(proposal, "ASKED_FOR_AND_REFUSED")


def test_folding_never_grants_a_refused_call() -> None:
    names = [f"{ORDERS}-{year}-{n:02}" for year in (2025, 2026) for n in range(25)]
    theirs = activity(
        *(use("dynamodb:DescribeTable", name) for name in names),
        refused("dynamodb:DescribeTable", f"{ORDERS}-2025-secret"),
    )

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    (statement,) = statements_of(proposal)
    assert statement["Resource"] == [*names[:25], f"{ORDERS}-2026-*"]
    (fold,) = proposal["evidence"][0]["folded"]
    assert (fold["pattern"], fold["arn_count"]) == (f"{ORDERS}-2026-*", 25)
    assert not any(each["granted_by_proposal"] for each in proposal["refused_calls"])
    assert proposal["replay"] is not None
    assert proposal["replay"]["complete"]
    unfolded = propose(
        activity(*(use("dynamodb:DescribeTable", name) for name in names)), TABLES,
        last_accessed=NOTHING,
    )  # fmt: skip
    (widest,) = statements_of(unfolded)
    assert widest["Resource"] == [f"{ORDERS}-2025-*", f"{ORDERS}-2026-*"]


# --- What is not granted today ---


def test_a_call_that_today_does_not_grant_is_named_and_never_added() -> None:
    """A bucket policy allowed it, or a policy that is gone since."""
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        use("dynamodb:DescribeTable", OTHERS, count=4),
        use("s3:CreateBucket", "arn:aws:s3:::new"),
    )
    granted_today = current(allow("dynamodb:*Table", ORDERS))

    proposal = propose(theirs, granted_today, last_accessed=NOTHING)

    assert statements_of(proposal) == [allow(["dynamodb:DescribeTable"], [ORDERS])]
    assert proposal["not_granted_today"] == ["dynamodb:DescribeTable", "s3:CreateBucket"]
    assert proposal["verdict"] == "review"
    assert codes(proposal) == ["NOT_GRANTED_TODAY"]
    assert proposal["replay"] is not None
    assert [
        (each["action"], each["resource"], each["count"])
        for each in proposal["replay"]["not_granted_today"]
    ] == [
        ("dynamodb:DescribeTable", OTHERS, 4),
        ("s3:CreateBucket", "arn:aws:s3:::new", 1),
    ]
    assert proposal["replay"]["counterexamples"] == []
    assert (proposal["replay"]["allowed_calls"], proposal["replay"]["calls"]) == (1, 6)


def test_what_a_limit_denies_today_is_not_granted_today() -> None:
    everything = parsed(allow("*"))
    no_tables = parsed(deny("dynamodb:CreateTable"))
    theirs = activity(use("dynamodb:DescribeTable", ORDERS), use("dynamodb:CreateTable", ORDERS))

    free = propose(theirs, TABLES, last_accessed=NOTHING, limits=[[everything]])
    limited = propose(theirs, TABLES, last_accessed=NOTHING, limits=[[everything, no_tables]])
    opinion = generated(allow(["dynamodb:CreateTable", "dynamodb:DescribeTable"], TABLE))
    only_opinion = propose(
        None, TABLES, generation=opinion, last_accessed=NOTHING, limits=[[everything, no_tables]]
    )

    assert (free["verdict"], free["not_granted_today"]) == ("ready", [])
    for proposal in (limited, only_opinion):
        assert proposal["not_granted_today"] == ["dynamodb:CreateTable"]
        assert granted(proposal) == {"dynamodb:DescribeTable"}
        assert "dynamodb:CreateTable" in reason(proposal, "NOT_GRANTED_TODAY")
    assert [each["document"] for each in TABLES["policies"]] == [document(allow("dynamodb:*Table"))]


def test_a_limit_of_a_region_decides_by_the_region_of_the_call() -> None:
    limits = [
        [
            parsed(
                allow("*"),
                deny("*", Condition={"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}),
            )
        ]
    ]
    theirs = activity(
        use("dynamodb:DescribeTable", ORDERS),
        use("dynamodb:ListTables", regions=("us-east-1",)),
    )

    proposal = propose(theirs, current(allow("dynamodb:*")), last_accessed=NOTHING, limits=limits)

    assert proposal["not_granted_today"] == ["dynamodb:ListTables"]
    assert granted(proposal) == {"dynamodb:DescribeTable"}


def test_a_call_that_a_deny_refuses_today_is_not_granted_today() -> None:
    granted_today = current(allow("dynamodb:*Table"), deny("dynamodb:*", OTHERS))
    theirs = activity(use("dynamodb:DescribeTable", ORDERS), use("dynamodb:DescribeTable", OTHERS))

    proposal = propose(theirs, granted_today, last_accessed=NOTHING)

    assert statements_of(proposal) == [
        allow(["dynamodb:DescribeTable"], [ORDERS]), deny(["dynamodb:*"], [OTHERS])
    ]  # fmt: skip
    assert proposal["not_granted_today"] == ["dynamodb:DescribeTable"]


# --- Frames of today's policies ---


def test_a_call_that_only_conditions_grant_keeps_them_and_counts_as_allowed() -> None:
    granted_today = current(
        allow("dynamodb:*Table", [ORDERS, OTHERS], Condition=TLS), allow("dynamodb:List*")
    )
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))

    proposal = propose(theirs, granted_today, last_accessed=NOTHING)

    assert statements_of(proposal) == [allow(["dynamodb:DescribeTable"], [ORDERS], Condition=TLS)]
    assert proposal["replay"] is not None
    assert proposal["replay"]["complete"]
    assert (proposal["verdict"], codes(proposal)) == ("ready", [])


def test_a_call_is_counted_once_though_it_lies_in_several_patterns_of_today() -> None:
    granted_today = current(
        allow("dynamodb:*Table", ["arn:aws:dynamodb:*:*:table/or*", "arn:aws:dynamodb:eu-*:*:*"])
    )
    theirs = activity(
        use("dynamodb:DescribeTable", "arn:aws:dynamodb:*", count=5, depth=-1),
    )

    proposal = propose(theirs, granted_today, last_accessed=NOTHING)

    (row,) = proposal["evidence"]
    assert row["call_count"] == 5
    assert len(row["uses"]) == 1
    assert len(row["widened"]) == 2


def test_list_buckets_is_kept_where_the_pattern_of_all_buckets_grants_it() -> None:
    """s3:ListAllMyBuckets takes no resource, and AWS takes arn:aws:s3:::* for all (facts §2)."""
    granted_today = current(allow("s3:ListAllMyBuckets", "arn:aws:s3:::*"))

    proposal = propose(activity(use("s3:ListAllMyBuckets")), granted_today, last_accessed=NOTHING)

    assert statements_of(proposal) == [allow(["s3:ListAllMyBuckets"], ["arn:aws:s3:::*"])]
    assert proposal["replay"] is not None
    assert proposal["replay"]["complete"]
    assert is_proved(proposal)


def test_a_passed_role_is_named_with_the_service_it_goes_to() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/etl"
    function = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:etl"
    theirs = activity(
        use("lambda:CreateFunction", function),
        use("iam:PassRole", role, to="lambda.amazonaws.com"),
    )

    proposal = propose(
        theirs, current(allow(["lambda:*Function", "iam:PassRole"])), last_accessed=NOTHING
    )

    assert statements_of(proposal, "PassRole") == [
        allow(
            ["iam:PassRole"], [role],
            Condition={"StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com"]}},
        )
    ]  # fmt: skip
    assert "PASS_ROLE_KEPT" not in codes(proposal)
    assert proposal["verdict"] == "ready"


@pytest.mark.parametrize(
    ("roles", "level"), [("*", "review"), (f"arn:aws:iam::{ACCOUNT}:role/etl", "note")]
)
def test_pass_role_is_kept_only_where_a_call_may_pass_one(roles: str, level: str) -> None:
    function = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:etl"
    granted_today = current(
        allow(["lambda:*Function", "dynamodb:*Table"]), allow("iam:PassRole", roles)
    )

    passes = propose(
        activity(use("lambda:CreateFunction", function)), granted_today, last_accessed=NOTHING
    )
    passes_none = propose(
        activity(use("dynamodb:DescribeTable", ORDERS)), granted_today, last_accessed=NOTHING
    )

    assert statements_of(passes, "KeptNotObservable") == [allow(["iam:PassRole"], [roles])]
    assert ("every role" in reason(passes, "PASS_ROLE_KEPT", level)) is (roles == "*")
    assert granted(passes_none) == {"dynamodb:DescribeTable"}


# --- Who it is ---


def test_an_earlier_principal_of_the_same_name_is_a_note() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))

    proposal = propose(theirs, TABLES, last_accessed=NOTHING, gone_ids=("AROAOLD1", "AROAOLD2"))

    assert (proposal["verdict"], codes(proposal)) == ("ready", ["EARLIER_NAMESAKE"])
    assert "2 principals of the same name" in reason(proposal, "EARLIER_NAMESAKE", "note")


def test_a_role_of_which_the_path_is_not_known_is_for_review() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))

    proposal = propose(theirs, TABLES, last_accessed=NOTHING, is_path_known=False)

    assert (proposal["verdict"], codes(proposal)) == ("review", ["PATH_NOT_RECORDED"])


def test_without_todays_policies_only_the_evidence_is_granted() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS), use("dynamodb:CreateTable", None))

    proposal = propose(theirs, None, current_unknown_because="the role is not in the file")

    assert statements_of(proposal) == [
        allow(["dynamodb:CreateTable"], [f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/*"]),
        allow(["dynamodb:DescribeTable"], [ORDERS]),
    ]
    for name in ("before", "difference", "no_new_access"):
        assert proposal[name] is None, name
    assert proposal["after"] is not None
    assert proposal["replay"] is not None
    assert proposal["replay"]["complete"]
    assert proposal["verdict"] == "review"
    assert codes(proposal, "review") == ["CURRENT_ACCESS_UNKNOWN", "RESOURCES_NOT_RECORDED"]
    assert "the role is not in the file" in reason(proposal, "CURRENT_ACCESS_UNKNOWN")


# --- Refused, without a policy ---


def test_a_principal_that_the_logs_do_not_show_is_refused_not_stripped() -> None:
    for theirs in (activity(), activity(refused("dynamodb:DescribeTable", ORDERS))):
        for services in (None, NOTHING, accessed()):
            proposal = propose(theirs, TABLES, last_accessed=services)

            assert why_refused(proposal) == "NO_ACTIVITY"
            assert len(proposal["refused_calls"]) == len(theirs.groups)


def test_what_nothing_could_have_shown_is_no_sign_of_use() -> None:
    """Its grants by name would all be kept, as nobody reports on them: that is no evidence."""
    granted_today = current(allow(["s3:GetObject", "dynamodb:CreateTable"]))

    for services in (None, accessed()):
        assert why_refused(propose(activity(), granted_today, last_accessed=services)) == (
            "NO_ACTIVITY"
        )
    used = propose(activity(), granted_today, last_accessed=accessed(service("s3")))
    assert granted(used) == {"s3:GetObject"}


def test_calls_that_nothing_of_today_grants_are_no_ground_for_a_policy() -> None:
    theirs = activity(use("s3:CreateBucket", "arn:aws:s3:::new"))

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    assert why_refused(proposal) == "NO_ACTIVITY"
    assert proposal["not_granted_today"] == ["s3:CreateBucket"]
    assert "s3:CreateBucket" in reason(proposal, "NO_ACTIVITY")


@pytest.mark.parametrize("kind", ["service-linked role", "Identity Center role", "bootstrap role"])
def test_no_activity_of_a_protected_principal_is_narrowed(kind: str) -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    protected = cast("CurrentAccessJson", {**TABLES, "kind": kind})

    assert why_refused(propose(theirs, protected, kind=kind)) == "NOT_NARROWED"


def test_a_break_glass_principal_is_not_narrowed() -> None:
    theirs = activity(use("dynamodb:DescribeTable", ORDERS))
    tagged = current(allow("*"), tags={"pare:break-glass": "true"})

    assert why_refused(propose(theirs, tagged)) == "NOT_NARROWED"


def test_a_policy_under_which_an_observed_call_fails_is_never_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not happen; if the builder has a fault, the certificate finds it."""
    monkeypatch.setattr(
        builder, "observed_statements", lambda rows, **more: observed_statements(rows[1:], **more)
    )
    theirs = activity(
        use("dynamodb:CreateTable", ORDERS, count=3), use("dynamodb:DescribeTable", ORDERS)
    )

    proposal = propose(theirs, TABLES, last_accessed=NOTHING)

    assert why_refused(proposal) == "REPLAY_FAILED"
    assert f"dynamodb:CreateTable on {ORDERS}" in reason(proposal, "REPLAY_FAILED", "refused")
    assert proposal["replay"] is not None, "the certificate stays: it says what is wrong"
    assert proposal["replay"]["allowed_calls"] == 1


def test_new_access_is_found_whatever_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        builder,
        "observed_statements",
        lambda rows, **more: observed_statements(rows, **{**more, "today": None}),
    )
    granted_today = current(allow("dynamodb:*Table", [ORDERS, OTHERS]))

    proposal = propose(
        activity(use("dynamodb:CreateTable", None)), granted_today, last_accessed=NOTHING
    )

    assert proposal["verdict"] == "review"
    assert "dynamodb:CreateTable" in reason(proposal, "NEW_ACCESS", "review")


def test_checks_of_aws_can_make_a_ready_proposal_worse_and_never_better() -> None:
    passed = {"result": "PASS", "message": "", "reasons": []}
    ready = propose(activity(use("dynamodb:DescribeTable", ORDERS)), TABLES, last_accessed=NOTHING)
    short = propose(
        activity(use("dynamodb:DescribeTable", ORDERS)), TABLES, last_accessed=NOTHING,
        coverage=covered(window_days=1),
    )  # fmt: skip

    assert with_checks(ready, [], passed)["verdict"] == "ready"
    assert with_checks(short, [], passed)["verdict"] == "review"
    assert with_checks(ready, None, None)["verdict"] == "review"
    failed = with_checks(ready, [], {**passed, "result": "FAIL"})
    assert codes(failed) == ["NEW_ACCESS"]
    error = {"type": "ERROR", "code": "A_CODE", "details": "Details.", "link": ""}
    assert why_refused(with_checks(short, [error], passed)) == "INVALID_POLICY"


# --- The same bytes ---


def everything(*, reverse: bool = False) -> ProposalJson:
    made: list[Made] = [
        *(use("dynamodb:DescribeTable", f"{ORDERS}-{n}", count=n + 1) for n in range(30)),
        *(refused("dynamodb:DescribeTable", f"{ORDERS}-x{n}") for n in range(5)),
        use("dynamodb:CreateTable", ORDERS, regions=("eu-west-1", "eu-central-1")),
        use("dynamodb:ListTables"),
        use("s3:CreateBucket", "arn:aws:s3:::new"),
        use("s3:PutObject", None),
        use("ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"),
        use("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/etl", to="ec2.amazonaws.com"),
        use("sqs:CreateQueue", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q"),
        refused("iam:CreateRole", None),
        refused("kms:Decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"),
    ]
    unmapped = {f"quantum.amazonaws.com:{name}": 1 for name in ("Entangle", "Split", "Join")}
    granted_today = current(
        allow(["dynamodb:*", "s3:*", "iam:PassRole", "quantum:*", "other:Thing"]),
        allow(["ec2:*", "sqs:*"], Condition=TLS),
        allow("sqs:*", [f"arn:aws:sqs:*:{ACCOUNT}:{name}*" for name in "qrs"]),
        deny(["dynamodb:DeleteTable", "s3:DeleteBucket"]),
        boundary=[allow("*"), deny("organizations:*")],
    )
    opinion = generated(
        allow(["dynamodb:DescribeTable", "dynamodb:ImportTable", "kms:Decrypt"], TABLE),
        allow(["s3:DeleteBucketPolicy", "s3:PutObject", "rds:CreateDBInstance"]),
    )
    services = [service("s3"), service("dynamodb", {"UpdateTable": LAST}), service("sqs")]
    if reverse:
        made.reverse()
        unmapped = dict(reversed(unmapped.items()))
        services.reverse()
        opinion["policies"][0]["Statement"].reverse()
        opinion["policies"][0]["Statement"][0]["Action"].reverse()
    return propose(
        activity(*made, unmapped=unmapped), granted_today,
        generation=opinion, last_accessed=accessed(*services),
        limits=[[parsed(allow("*"))], [parsed(allow("*"), deny("rds:*"))]],
        gone_ids=("AROAOLD",),
    )  # fmt: skip


def test_the_proposal_of_all_these_says_something() -> None:
    proposal = everything()

    assert proposal["verdict"] == "review"
    assert {each["basis"] for each in proposal["evidence"]} == {
        "observed", "kept: not observable", "kept: last accessed", "kept: deny"
    }  # fmt: skip
    assert proposal["replay"] is not None
    assert proposal["replay"]["counterexamples"] == []
    assert proposal["no_new_access"] is not None
    assert proposal["no_new_access"]["result"] != "additions"
    assert proposal["refused_calls"]
    json.dumps(proposal)


def test_same_activity_same_bytes_whatever_order_it_came_in() -> None:
    assert json.dumps(everything()) == json.dumps(everything(reverse=True))


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_same_activity_same_bytes_in_another_process(seed: str) -> None:
    """Where a set orders the text of another."""
    program = (
        "import json; from tests.unit.policy import test_proposal_from_activity as t; "
        "print(json.dumps(t.everything()))"
    )

    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert other == json.dumps(everything()) + "\n"


# --- Properties, over many policies and calls, judged by the small evaluator beside them ---

calls_made = st.lists(
    st.tuples(st.sampled_from(REQUESTS), st.booleans(), st.sampled_from(["allowed", "denied"])),
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(accesses, calls_made, st.none() | last_accesses)
def test_every_use_that_today_grants_stays_granted_and_nothing_is_new(
    access: CurrentAccessJson,
    made: list[tuple[tuple[str, str, str], bool, Outcome]],
    last_accessed: LastAccessedOutcomeJson | None,
) -> None:
    """``made``: request and the conditions that held, whether its resource is recorded, outcome."""
    made = [each for each in made if each[0][1].startswith("arn:")]
    theirs = activity(
        *(
            use(action, resource if is_recorded else None, outcome=outcome)
            for (action, resource, _), is_recorded, outcome in made
        )
    )
    proposal = propose(theirs, access, last_accessed=last_accessed)
    before = [policy["document"] for policy in access["policies"]]
    boundary = access["boundary"]["document"] if access["boundary"] else None
    was_allowed = {each for each in REQUESTS if is_allowed(before, boundary, each)}
    used = [each for each in made if each[2] == "allowed" and each[0] in was_allowed]

    assert "REPLAY_FAILED" not in codes(proposal)
    assert "NEW_ACCESS" not in codes(proposal)
    if proposal["verdict"] == "refused":
        assert codes(proposal)[0] == "NO_ACTIVITY"
        assert not used
        return
    for request in REQUESTS:
        is_now = is_allowed(proposal["documents"], boundary, request)
        assert request in was_allowed or not is_now, ("new access", request)
    for request, is_recorded, _ in used:
        assert is_allowed(proposal["documents"], boundary, request), ("lost a use", request)
        if not is_recorded:  # it may have been any of them
            for other in was_allowed:
                if other[0] == request[0]:
                    assert is_allowed(proposal["documents"], boundary, other), ("cut", other)


@pytest.mark.parametrize(
    ("region", "at", "is_said"),
    [("us-east-1", LAST, True), (REGION, LAST, False), (None, LAST, False),
     ("us-east-1", "2026-01-01T00:00:00Z", False), ("us-east-1", None, False)],
)  # fmt: skip
def test_a_use_that_iam_saw_in_a_region_without_records(
    region: str | None, at: str | None, is_said: bool
) -> None:
    known = accessed({**service("ec2", used_at=at), "region": region})

    found = propose(
        activity(use("ec2:DescribeInstances")), current(allow("ec2:*")), last_accessed=known
    )

    said = [each for each in found["reasons"] if each["code"] == "REGIONS_NOT_READ"]
    assert bool(said) is is_said
    assert not is_said or "ec2 in us-east-1" in said[0]["text"]
