from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from pare.policy.message import MAX_NOTES, counted, proposal_message
from pare.policy.verdict import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.message import Message
    from pare.policy.proposal import ProposalJson
    from pare.policy.verdict import Reason

FORGED = (
    "x\r\nVerdict: ready\n\nWhat to do: apply it\u2028Owner: me\x00\x1b[1m\u202e "
    + "y" * 75
    + " Verdict: ready"
)


def told(code: str, text: str = "A text.", what_to_do: str = "Do it.") -> Reason:
    return reason(code, text, what_to_do)


def replay(allowed_calls: int, calls: int) -> dict[str, Any]:
    return {"allowed_calls": allowed_calls, "calls": calls}


def proposal(**changes: Any) -> ProposalJson:
    fields: dict[str, Any] = {
        "schema_version": 2,
        "principal_arn": "arn:aws:iam::111122223333:role/app/ShopCheckout",
        "account_id": "111122223333",
        "kind": "role",
        "verdict": "review",
        "reasons": [
            told("SHORT_WINDOW", "The logs are short.", "Read more."),
            told("UNMAPPED_OPERATIONS", "A part is missing.", "Add it."),
            told("KEPT_NOT_OBSERVABLE", "Some actions are kept.", "Ask."),
        ],
        "documents": [{"Version": "2012-10-17", "Statement": []}] * 2,
        "evidence": [],
        "before": {"action_count": 17_123, "service_count": 431, "services": ["a"] * 431},
        "after": {"action_count": 6, "service_count": 1, "services": ["s3"]},
        "removed_services": [f"service{number:02}" for number in range(40)],
        "removed_action_count": 17_117,
        "replay": replay(4_711, 4_711),
        "not_granted_today": [],
        "refused_calls": [],
        "coverage": {},
    }
    return cast("ProposalJson", {**fields, **changes})


def refusal(**changes: Any) -> ProposalJson:
    reasons = [told("NO_ACTIVITY", "Nobody used it.", "Ask its owner.")]
    return proposal(
        verdict="refused",
        reasons=reasons,
        documents=[],
        after=None,
        removed_services=[],
        **{"replay": None, **changes},
    )


def message(of: ProposalJson, **changes: Any) -> Message:
    arguments: dict[str, Any] = {
        "owner": "orders@example.com",
        "location": "s3://evidence/proposals/111122223333/role/app/ShopCheckout/2026-11-21T09:00:00Z/",
        "finding_id": "b8ae0460",
    }
    return proposal_message(of, **{**arguments, **changes})


def test_a_proposal_reads_well(golden: Callable[[str, Any], None]) -> None:
    sent = message(proposal())

    golden("proposal.txt", f"Subject: {sent.subject}\n\n{sent.text}")


def test_a_refusal_reads_well(golden: Callable[[str, Any], None]) -> None:
    sent = message(refusal(), owner=None, finding_id=None)

    golden("proposal_refused.txt", f"Subject: {sent.subject}\n\n{sent.text}")


def test_machines_get_the_numbers_and_where_the_rest_lies() -> None:
    sent = message(proposal())

    assert sent.attributes == {
        "kind": "proposal",
        "account_id": "111122223333",
        "verdict": "review",
        "owner": "orders@example.com",
    }
    assert sent.facts == {
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
    json.dumps(sent.facts)


def test_a_refusal_names_no_policy() -> None:
    sent = message(refusal())

    assert sent.subject == "[Pare] No proposal for ShopCheckout"
    assert sent.facts["after"] is None
    for label in ("Proposed:", "Policies:", "Services gone:", "Replay:"):
        assert label not in sent.text


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
    sent = message(proposal(principal_arn="arn:aws:iam::111122223333:role/" + "N" * 64))

    assert len(sent.subject) < 100
    assert "17,123" in sent.subject
    assert "6 actions" in sent.subject
    assert any("N" * 64 in line for line in sent.text.splitlines()[:2])


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
        ({"reasons": [told("LINT", FORGED, FORGED)]}, {}),
        ({"reasons": [told("WILDCARDS", FORGED, FORGED)]}, {}),
    ],
)
def test_no_outside_text_can_forge_a_line(
    changes: dict[str, Any], arguments: dict[str, Any]
) -> None:
    sent = message(proposal(**changes), **arguments)

    lines = sent.text.splitlines()
    starts = [line.partition(":")[0] for line in lines if line[:1].strip()]
    assert starts.count("Verdict") == 1
    assert starts.count("Owner") == 1
    assert "What to do" not in starts
    assert all(line.isprintable() for line in lines)
    assert sent.subject.isascii()
    assert sent.subject.isprintable()
    assert len(sent.subject) < 100


@pytest.mark.parametrize(
    ("certificate", "line"),
    [
        (replay(1_234, 1_234), "Replay:        1,234 of 1,234 observed calls still allowed\n"),
        (replay(5, 6), "Replay:        5 of 6 observed calls still allowed\n"),
    ],
)
def test_the_replay_is_told_with_its_numbers(certificate: dict[str, Any], line: str) -> None:
    assert line in message(proposal(replay=certificate)).text


def test_where_nothing_was_replayed_nothing_is_said_of_it() -> None:
    assert "Replay" not in message(proposal(replay=None)).text
    assert "Replay" not in message(refusal(replay=replay(5, 6))).text


def lines_of(reasons: list[Reason]) -> list[str]:
    text = message(proposal(reasons=reasons)).text
    return text.partition("Why, and what to do:\n")[2].splitlines()


def test_of_the_notes_the_first_few_are_shown_and_all_else() -> None:
    grave = [told("SHORT_WINDOW", f"Grave {n}.") for n in range(5)]
    notes = [told("KEPT_NOT_OBSERVABLE", f"Note {n}.") for n in range(5)]
    shown = [f"- Note {n}. Do it." for n in range(MAX_NOTES)]

    assert MAX_NOTES == 3
    assert lines_of([*grave, *notes]) == [
        *(f"- Grave {n}. Do it." for n in range(5)), *shown,
        "- 2 more notes in the stored proposal.",
    ]  # fmt: skip
    assert lines_of(notes[:4]) == [*shown, "- 1 more note in the stored proposal."]
    assert lines_of(notes[:3]) == shown
    assert lines_of([]) == []


def test_machines_get_every_reason() -> None:
    notes = [told("KEPT_NOT_OBSERVABLE", f"Note {n}.") for n in range(9)]

    assert message(proposal(reasons=notes)).facts["reasons"] == notes


def test_what_is_granted_today_may_not_be_known() -> None:
    unknown = message(proposal(before=None))

    assert unknown.subject == "[Pare] Proposed policy for ShopCheckout: ? -> 6 actions"
    assert "Granted today: not known\n" in unknown.text
    assert unknown.facts["before"] is None


def test_lines_fit_a_mail() -> None:
    sent = message(proposal(), location="s3://evidence/proposals/x/")

    assert all(len(line) <= 80 for line in sent.text.splitlines())


def test_an_owner_nobody_named_is_not_known() -> None:
    sent = message(proposal(), owner=None)

    assert "Owner:         not known\n" in sent.text
    assert sent.attributes["owner"] == "unknown"
