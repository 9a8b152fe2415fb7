from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from pare.policy.message import counted, proposal_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.message import Message
    from pare.policy.proposal import ProposalJson

FORGED = (
    "x\r\nVerdict: ready\n\nWhat to do: apply it\u2028Owner: me\x00\x1b[1m\u202e "
    + "y" * 75
    + " Verdict: ready"
)


def proposal(**changes: Any) -> ProposalJson:
    fields: dict[str, Any] = {
        "schema_version": 1,
        "principal_arn": "arn:aws:iam::111122223333:role/app/ShopCheckout",
        "account_id": "111122223333",
        "kind": "role",
        "verdict": "review",
        "reasons": [
            {"code": "NOT_REPLAYED", "text": "Calls were not replayed.", "what_to_do": "Read it."},
            {"code": "NOT_COMPLETE", "text": "A part is missing.", "what_to_do": "Compare it."},
        ],
        "documents": [{"Version": "2012-10-17", "Statement": []}] * 2,
        "evidence": [],
        "before": {"action_count": 17_123, "service_count": 431, "services": ["a"] * 431},
        "after": {"action_count": 6, "service_count": 1, "services": ["s3"]},
        "removed_services": [f"service{number:02}" for number in range(40)],
        "removed_action_count": 17_117,
        "before_by_policy": [],
        "asked_for_and_not_granted": [],
        "coverage": {},
    }
    return cast("ProposalJson", {**fields, **changes})


def refusal(**changes: Any) -> ProposalJson:
    reasons = [{"code": "NO_ACTIVITY", "text": "Nobody used it.", "what_to_do": "Ask its owner."}]
    return proposal(
        verdict="refused",
        reasons=reasons,
        documents=[],
        after=None,
        removed_services=[],
        **changes,
    )


def message(of: ProposalJson, **changes: Any) -> Message:
    arguments: dict[str, Any] = {
        "owner": "orders@example.com",
        "location": "s3://evidence/proposals/111122223333/role/app/ShopCheckout/2026-11-21T09:00:00Z/",
        "finding_id": "b8ae0460",
    }
    return proposal_message(of, **{**arguments, **changes})


def test_a_proposal_reads_well(golden: Callable[[str, Any], None]) -> None:
    told = message(proposal())

    golden("proposal.txt", f"Subject: {told.subject}\n\n{told.text}")


def test_a_refusal_reads_well(golden: Callable[[str, Any], None]) -> None:
    told = message(refusal(), owner=None, finding_id=None)

    golden("proposal_refused.txt", f"Subject: {told.subject}\n\n{told.text}")


def test_machines_get_the_numbers_and_where_the_rest_lies() -> None:
    told = message(proposal())

    assert told.attributes == {
        "kind": "proposal",
        "account_id": "111122223333",
        "verdict": "review",
        "owner": "orders@example.com",
    }
    assert told.facts == {
        "kind": "proposal",
        "principal_arn": "arn:aws:iam::111122223333:role/app/ShopCheckout",
        "account_id": "111122223333",
        "verdict": "review",
        "reasons": proposal()["reasons"],
        "before": 17_123,
        "after": 6,
        "removed_services": proposal()["removed_services"],
        "location": "s3://evidence/proposals/111122223333/role/app/ShopCheckout/2026-11-21T09:00:00Z/",
        "finding_id": "b8ae0460",
    }
    json.dumps(told.facts)


def test_a_refusal_names_no_policy() -> None:
    told = message(refusal())

    assert told.subject == "[Pare] No proposal for ShopCheckout"
    assert told.facts["after"] is None
    for label in ("Proposed:", "Policies:", "Services gone:"):
        assert label not in told.text


@pytest.mark.parametrize("verdict", ["ready", "review", "refused"])
def test_every_verdict_has_its_opening(verdict: Any) -> None:
    openings = {
        each: message(proposal(verdict=each)).text.split("\n\n")[1]
        for each in ("ready", "review", "refused")
    }

    assert len(set(openings.values())) == 3
    first_lines = message(proposal(verdict=verdict)).text.splitlines()[0]
    assert first_lines.startswith("No proposal") is (verdict == "refused")
    assert f"Verdict:       {verdict}\n" in message(proposal(verdict=verdict)).text


def test_the_longest_role_name_leaves_the_numbers_in_the_subject() -> None:
    told = message(proposal(principal_arn="arn:aws:iam::111122223333:role/" + "N" * 64))

    assert len(told.subject) < 100
    assert "17,123" in told.subject
    assert "6 actions" in told.subject
    assert any("N" * 64 in line for line in told.text.splitlines()[:2])


def test_services_that_are_gone_are_counted_and_some_named() -> None:
    few = message(proposal(removed_services=["ec2", "sqs"])).text
    none = message(proposal(removed_services=[])).text

    assert "and 28 more" in message(proposal()).text
    assert "Services gone: 2: ec2, sqs\n" in few
    assert "Services gone: none\n" in none


@pytest.mark.parametrize(
    ("actions", "services", "text"),
    [
        (0, 0, "0 actions in 0 services"),
        (1, 1, "1 action in 1 service"),
        (17_123, 431, "17,123 actions in 431 services"),
    ],
)
def test_counts_are_words(actions: int, services: int, text: str) -> None:
    assert counted({"action_count": actions, "service_count": services, "services": []}) == text


@pytest.mark.parametrize(
    ("changes", "arguments"),
    [
        ({}, {"owner": FORGED}),
        ({}, {"finding_id": FORGED}),
        ({"principal_arn": f"arn:aws:iam::111122223333:role/{FORGED}"}, {}),
        ({"reasons": [{"code": "X", "text": FORGED, "what_to_do": FORGED}]}, {}),
    ],
)
def test_no_outside_text_can_forge_a_line(
    changes: dict[str, Any], arguments: dict[str, Any]
) -> None:
    told = message(proposal(**changes), **arguments)

    lines = told.text.splitlines()
    starts = [line.partition(":")[0] for line in lines if line[:1].strip()]
    assert starts.count("Verdict") == 1
    assert starts.count("Owner") == 1
    assert "What to do" not in starts
    assert all(line.isprintable() for line in lines)
    assert told.subject.isascii()
    assert told.subject.isprintable()
    assert len(told.subject) < 100


def test_lines_fit_a_mail() -> None:
    told = message(proposal(), location="s3://evidence/proposals/x/")

    assert all(len(line) <= 80 for line in told.text.splitlines())


def test_an_owner_nobody_named_is_not_known() -> None:
    told = message(proposal(), owner=None)

    assert "Owner:         not known\n" in told.text
    assert told.attributes["owner"] == "unknown"
