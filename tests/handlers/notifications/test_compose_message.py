"""Compose message: a frozen object becomes words, for people, machines and a chat channel."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.notifications.compose_message import (
    MOST_BYTES,
    MOST_BYTES_OF_TEXT,
    Output,
    lambda_handler,
)
from pare.chat_card import DESCRIPTION_LIMIT
from pare.errors import EvidenceError
from pare.findings.rounds import PlannedMessage, message_json
from tests.handlers.fake_aws import BUCKET
from tests.unit.findings.told_cases import many, old, some_views
from tests.unit.findings.view_builders import told, view

if TYPE_CHECKING:
    from pare.aws.evidence_store import EvidenceStore
    from pare.findings.card import CardViewJson
    from pare.object_ref import ObjectRef

KEY = "notifications/2026-11-22/m-1.json"
REF: ObjectRef = {"bucket": BUCKET, "key": KEY}
LIST: ObjectRef = {"bucket": BUCKET, "key": "notifications/2026-11-22/m-1.ndjson"}
LOST: dict[str, Any] = {"message_id": "m-0", "at": "2026-11-22T09:00:00Z", "how": "unknown",
                        "news": "first_sight"}  # fmt: skip


def freeze(
    store: EvidenceStore,
    *views: CardViewJson,
    kind: Any = "single",
    owner: str | None = None,
    list_ref: ObjectRef | None = None,
) -> None:
    """Write the object as Collect news does."""
    message = PlannedMessage(kind, views, owner=owner)
    store.put_json(
        KEY,
        message_json(message, message_id="m-1", as_of="2026-11-22T09:17:00Z", list_ref=list_ref),
    )


def compose(context: Any, language: str = "en") -> Output:
    output: Output = lambda_handler({"ref": REF, "language": language}, context)
    assert len(json.dumps(output)) < 256 * 1024, "what a state may have"
    return output


def test_a_card_is_told_to_people_machines_and_a_chat_channel(
    evidence: EvidenceStore, context: Any
) -> None:
    of = view(old())
    freeze(evidence, of)

    output = compose(context)

    assert set(output) == {"subject", "text", "attributes", "machines", "chat"}
    assert output["subject"].startswith("[Pare] Medium: S3 bucket amzn-s3-demo-bucket is open to")
    assert "2026-11-01 04:58 UTC (for 21 days)" in output["text"], "as of the round, not of now"
    assert output["attributes"] == {
        "kind": {"DataType": "String", "StringValue": "finding"},
        "news": {"DataType": "String", "StringValue": "first_sight"},
        "severity": {"DataType": "String", "StringValue": "medium"},
        "account_id": {"DataType": "String", "StringValue": "111122223333"},
        "owner": {"DataType": "String", "StringValue": "orders@example.com"},
        "finding_type": {"DataType": "String", "StringValue": "ExternalAccess"},
        "audience": {"DataType": "String.Array", "StringValue": '["security", "owner"]'},
    }
    facts = json.loads(output["machines"])
    assert (facts["kind"], facts["message_id"], facts["card"]) == ("finding", "m-1", of["card"])
    assert [each["finding_id"] for each in facts["findings"]] == list(of["card"]["open"])
    card = json.loads(output["chat"])
    assert (card["version"], card["source"]) == ("1.0", "custom")
    assert card["metadata"]["threadId"] == of["card"]["card_id"]


def test_the_language_and_the_partition_are_those_of_the_deployment(
    evidence: EvidenceStore, context: Any
) -> None:
    freeze(evidence, view(old()))
    context.invoked_function_arn = "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:Step"

    output = compose(context, "ja")

    assert "組織外のアカウント 999988887777" in output["subject"]
    assert "https://console.amazonaws-us-gov.com/s3/buckets/" in output["text"]


def test_the_same_object_makes_the_same_message(evidence: EvidenceStore, context: Any) -> None:
    freeze(evidence, many())

    assert compose(context) == compose(context)


def test_what_was_perhaps_told_before_says_so(evidence: EvidenceStore, context: Any) -> None:
    freeze(evidence, view(old(), messages=[LOST]))

    assert compose(context)["text"].startswith(
        "Perhaps told before: AWS's answer to the message of 2026-11-22 09:00 UTC was"
    )


@pytest.mark.parametrize(
    ("kind", "owner", "audience"),
    [
        ("summary", None, "security"),
        ("digest", None, "security"),
        ("digest", "orders@example.com", "owner"),
    ],
)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_many_cards_are_told_in_one_message(
    kind: str,
    owner: str | None,
    audience: str,
    language: str,
    evidence: EvidenceStore,
    context: Any,
) -> None:
    views = some_views()
    freeze(evidence, *views, kind=kind, owner=owner, list_ref=LIST)

    output = compose(context, language)

    assert output["attributes"]["kind"]["StringValue"] == f"finding-{kind}"
    assert json.loads(output["attributes"]["audience"]["StringValue"]) == [audience]
    assert ("owner" in output["attributes"]) == (owner is not None)
    assert f"s3://{BUCKET}/notifications/2026-11-22/m-1.ndjson" in output["text"]
    facts = json.loads(output["machines"])
    assert {each["card_id"] for each in facts["cards"]} == {
        view["card"]["card_id"] for view in views
    }


def test_of_many_cards_those_perhaps_told_before_are_marked(
    evidence: EvidenceStore, context: Any
) -> None:
    lost = view(old(resource="arn:aws:s3:::lost"), messages=[LOST])
    freeze(evidence, lost, view(old()), kind="summary")

    text = " ".join(compose(context)["text"].split())

    assert text.startswith("Perhaps told before: 1 of these")
    assert "S3 bucket lost is open to outside account 999988887777 (read) (perhaps told" in text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_is_too_much_for_a_message_is_left_to_the_object(
    language: str, evidence: EvidenceStore, context: Any
) -> None:
    """Findings as wide as Enrich lets them be: hundreds of actions and services."""
    wide = [
        old(finding_id=f"id-{n}", resource=f"arn:aws:s3:::{'見' * 40}{n}", owner="所有者" * 30,
            account_name="アカウント" * 10, actions=tuple(f"s3:Action{m}" for m in range(900)))
        for n in range(120)
    ]  # fmt: skip
    freeze(evidence, *(view(each) for each in wide), kind="summary", list_ref=LIST)

    output = compose(context, language)

    facts = json.loads(output["machines"])
    assert facts["cards"] is None
    assert facts["object"] == REF
    assert facts["counts"] == {"medium": 120}
    assert len(output["text"].encode()) < MOST_BYTES
    assert len(json.loads(output["chat"])["content"]["description"].encode()) <= DESCRIPTION_LIMIT


def test_a_card_with_too_many_findings_names_the_object(
    evidence: EvidenceStore, context: Any
) -> None:
    found = [
        old(finding_id=f"id-{n}", actions=tuple(f"s3:Action{m}" for m in range(900)))
        for n in range(40)
    ]
    freeze(evidence, view(*found, news="worsened", told=told(found[0])))

    facts = json.loads(compose(context)["machines"])

    assert (facts["findings"], facts["ended"], facts["object"]) == (None, None, REF)
    assert len(facts["card"]["open"]) == 40


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("news", ["still_open", "worsened", "archived", "unwatched", "closed"])
@pytest.mark.parametrize("count", [800])
def test_whatever_is_on_a_card_the_message_fits_a_state(
    count: int, news: str, language: str, evidence: EvidenceStore, context: Any
) -> None:
    """As many findings as a card may have, open, told, ended or archived all at once."""
    found = [
        old(finding_id=str(uuid.UUID(int=n)), principal=(("AWS", f"{'見' * 60}{n:012}"),))
        for n in range(count)
    ]
    is_open = news in {"still_open", "worsened"}
    how = {"archived": "ARCHIVED", "unwatched": "UNWATCHED"}.get(news, "RESOLVED")
    of = view(*(found if is_open else ()), ended=tuple(found), how=how, news=news,
              told=told(*found), more_open={"low": 12_345} if is_open else {})  # fmt: skip
    freeze(evidence, of)

    output = compose(context, language)

    assert len(json.dumps(output)) <= MOST_BYTES
    facts = json.loads(output["machines"])
    card = facts["card"]
    assert facts["object"] == REF
    assert (card["open"], card["ended"], card["archived"], card["told"]["findings"]) == (None,) * 4
    assert card["card_id"] == of["card"]["card_id"]
    assert facts["counts"] == {
        "open": count + 12_345 if is_open else 0, "ended": count, "told": count,
        "archived": count if news == "archived" else 0,
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_text_that_is_too_long_is_cut_after_a_line_and_says_where_the_rest_is(
    language: str, evidence: EvidenceStore, context: Any
) -> None:
    """A hundred cards whose every word from outside is as long as may be, and not in ASCII."""
    wide = [
        old(finding_id=f"id-{n}", resource=f"arn:aws:s3:::{'見' * 70}{n}", owner="所" * 200,
            account_name="名" * 200, account_id=f"{n:012}", exposure="federated",
            principal=(("Federated", "者" * 300),))
        for n in range(100)
    ]  # fmt: skip
    freeze(evidence, *(view(each) for each in wide), kind="digest", owner="主" * 256)

    output = compose(context, language)

    assert len(json.dumps(output)) <= MOST_BYTES
    assert f"s3://{BUCKET}/{KEY}" in output["text"].splitlines()[-1]
    assert 50_000 < len(json.dumps(output["text"])) < MOST_BYTES_OF_TEXT + 1_000
    assert output["text"].count("pare findings show id-") > 20
    facts = json.loads(output["machines"])
    assert (facts["object"], facts["message_id"]) == (REF, "m-1")
    assert facts["kind"] == "finding-digest"


def test_a_card_that_an_earlier_version_froze_is_told(
    evidence: EvidenceStore, context: Any
) -> None:
    of: Any = view(old(), ended=(old(finding_id="id-2"),), news="changed", told=told(old()))
    for name in ("archived", "more_open"):
        del of["card"][name]
    freeze(evidence, of)

    assert compose(context)["subject"].startswith("[Pare] Medium: Changed:")


def test_an_object_that_is_gone_is_an_error(evidence: EvidenceStore, context: Any) -> None:
    with pytest.raises(EvidenceError):
        compose(context)
