from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.findings.message import finding_message
from pare.findings.normalize import FAMILIES
from pare.findings.state import News
from pare.message import columns
from tests.recorded import FINDINGS, finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.findings.model import Finding

NEWS: list[News] = [each for each in get_args(News) if each != "none"]
TYPES = [finding_type for *_, types in FAMILIES.values() for finding_type in types]
# What a stranger could put into a name, a tag or an ARN: lines of ours, controls, bidi overrides.
FORGED = (
    "x\r\nWhat to do: call 555 0100\n\nOwner: me\u2028What to do: pay\x0b\x0c\x85"
    "\x1b[31m\x00\u202egnp.exe\u2066\u200f " + "y" * 75 + " What to do: obey"
)


def full(**changes: Any) -> Finding:
    """Return a finding with something in every field."""
    return finding(
        "external_access",
        **{
            "account_name": "shop-prod",
            "owner": "orders@example.com",
            "unused_service_count": 12,
            "unused_action_count": 340,
            "condition": (("aws:SourceVpc", "vpc-1"),),
            "unknown": ("finding details: not told",),
            **changes,
        },
    )


def assert_well_formed(subject: str, text: str) -> None:
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) < 100
    assert text.endswith("\n")
    for line in text.splitlines():
        words = line.split()
        # A single word (an ARN) is never broken; a label may stand before it.
        assert columns(line) <= 80 or max(map(len, words)) > 40, line
        assert not [c for c in line if unicodedata.category(c)[0] == "C"], line


@pytest.mark.parametrize("finding_type", TYPES)
@pytest.mark.parametrize("news", NEWS)
def test_every_type_and_every_news_can_be_told(finding_type: str, news: News) -> None:
    message = finding_message(full(finding_type=finding_type), news)

    assert_well_formed(message.subject, message.text)
    assert all(len(line) <= 80 for line in message.text.splitlines())
    assert message.subject.endswith("amzn-s3-demo-bucket, account shop-prod")
    assert message.attributes == {
        "kind": "finding",
        "account_id": "111122223333",
        "finding_type": finding_type,
        "status": "ACTIVE",
        "news": news,
        "owner": "orders@example.com",
    }


@pytest.mark.parametrize("news", NEWS)
def test_each_news_has_its_own_headline(news: News) -> None:
    headlines = {each: finding_message(full(), each).text.splitlines()[0] for each in NEWS}

    assert len(set(headlines.values())) == len(NEWS)
    assert headlines[news].endswith(": external access, amzn-s3-demo-bucket")


@pytest.mark.parametrize("name", FINDINGS)
@pytest.mark.parametrize("news", NEWS)
def test_every_recorded_finding_can_be_told(name: str, news: News) -> None:
    message = finding_message(finding(name), news)

    assert_well_formed(message.subject, message.text)
    assert message.facts == {"kind": "finding", "news": news, "finding": finding(name).to_json()}
    json.dumps(message.facts)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("finding_unused_permission.txt", finding(account_name="shop-prod", owner="orders")),
        ("finding_external_access.txt", full(is_public=True)),
        ("finding_error.txt", finding("internal_access_error")),
    ],
)
def test_a_new_finding_reads_well(
    name: str, found: Finding, golden: Callable[[str, Any], None]
) -> None:
    message = finding_message(found, "new")

    golden(name, f"Subject: {message.subject}\n\n{message.text}")


@pytest.mark.parametrize("news", ["archived", "resolved", "deleted"])
def test_a_finding_that_ended_asks_for_nothing(news: News) -> None:
    text = finding_message(full(), news).text

    assert "What to do: nothing more, this finding has ended." in text


def test_a_deleted_finding_is_shown_as_deleted() -> None:
    text = finding_message(full(is_deleted=True, status="ACTIVE"), "deleted").text

    assert "Status:    deleted\n" in text
    assert "ACTIVE" not in text


@pytest.mark.parametrize("finding_type", TYPES)
def test_each_type_says_what_to_do(finding_type: str) -> None:
    advice = {
        each: finding_message(full(finding_type=each), "new").text.partition("What to do: ")[2]
        for each in TYPES
    }

    assert advice[finding_type]
    assert "Access Analyzer console" not in advice[finding_type], "its own, not the general one"
    assert len(set(advice.values())) == len(TYPES)


def test_a_public_resource_is_called_public() -> None:
    text = finding_message(full(is_public=True), "new").text

    assert "everybody (public)" in text


def test_an_owner_nobody_named_is_not_known() -> None:
    message = finding_message(full(owner=None), "new")

    assert "Owner:     not known\n" in message.text
    assert message.attributes["owner"] == "unknown"


def test_an_error_finding_says_that_nobody_knows() -> None:
    denied = finding_message(finding("external_access_error"), "new").text
    internal = finding_message(finding("unused_iam_role_error"), "new").text
    other = finding_message(finding("external_access", error="QUOTA\nX"), "new").text

    assert "nobody knows whether it is open" in " ".join(denied.split())
    assert "open a case with AWS" in " ".join(internal.split())
    assert "Error:    QUOTA X\n" in other
    assert "could not analyze" in other


def test_the_name_of_a_role_with_a_long_path_is_its_own() -> None:
    path = "/".join(["part"] * 100)

    message = finding_message(
        finding(resource=f"arn:aws:iam::111122223333:role/{path}/TheRole"), "new"
    )

    assert message.text.startswith("New: unused permissions, TheRole\n")
    assert message.subject == "[Pare] New: unused permissions, TheRole, account 111122223333"


@pytest.mark.parametrize(
    "field",
    ["resource", "resource_type", "account_name", "owner", "error", "finding_id", "region",
     "finding_type"],
)  # fmt: skip
@pytest.mark.parametrize("news", ["new", "resolved"])
def test_no_outside_text_can_forge_a_line(field: str, news: News) -> None:
    message = finding_message(full(**{field: FORGED}), news)

    assert_well_formed(message.subject, message.text)
    starts = [line.partition(":")[0] for line in message.text.splitlines() if line[:1].strip()]
    assert starts.count("What to do") == 1
    assert starts.count("Owner") == 1
    assert all(len(value) < 400 for value in message.attributes.values())


@pytest.mark.parametrize(
    "change",
    [
        {"principal": ((FORGED, FORGED),)},
        {"actions": (FORGED,) * 50},
        {"unknown": (FORGED,) * 50},
        {"condition": ((FORGED, FORGED),)},
    ],
)
def test_no_list_from_outside_can_forge_a_line_or_flood_the_message(change: dict[str, Any]) -> None:
    message = finding_message(full(**change), "new")

    assert_well_formed(message.subject, message.text)
    starts = [line.partition(":")[0] for line in message.text.splitlines() if line[:1].strip()]
    assert starts.count("What to do") == 1
    assert len(message.text) < 5_000


outside = st.text(st.characters(exclude_categories=()), max_size=200)


@given(
    st.sampled_from(NEWS),
    st.builds(
        full,
        resource=outside,
        resource_type=outside,
        account_name=st.none() | outside,
        owner=st.none() | outside,
        error=st.none() | outside,
        finding_id=outside,
        principal=st.lists(st.tuples(outside, outside), max_size=3).map(tuple),
        actions=st.lists(outside, max_size=3).map(tuple),
        unknown=st.lists(outside, max_size=3).map(tuple),
    ),
)
def test_any_text_from_outside_makes_a_message_sns_accepts(news: News, found: Finding) -> None:
    message = finding_message(found, news)

    assert_well_formed(message.subject, message.text)
