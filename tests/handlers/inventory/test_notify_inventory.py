from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory.notify_inventory import Output, lambda_handler
from pare.aws import topics as topics_module
from pare.errors import AwsCallError, EvidenceError, MessageUnknownError
from pare.inventory.snapshot import build_snapshot
from tests.handlers.fake_aws import BUCKET, REGION, Topic
from tests.unit.inventory.row_builders import ACCOUNT, account_result, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.aws.evidence_store import EvidenceStore
    from pare.inventory.model import AccountResultJson, SnapshotJson
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

PREFIX = "inventory/period=2026-11"
WORK = f"{PREFIX}/work=monthly-1"


def ref(name: str) -> ObjectRef:
    return {"bucket": BUCKET, "key": f"{PREFIX}/{name}"}


def notify(context: Any, work: str = WORK) -> Output:
    output: Output = lambda_handler(
        {
            "snapshot": ref("snapshot.json"),
            "report": ref("report.html"),
            "csv": ref("report.csv"),
            "work": work,
        },
        context,
    )
    return output


def build(results: list[AccountResultJson], previous: SnapshotJson | None) -> SnapshotJson:
    return build_snapshot(
        period="2026-11",
        created_at="2026-11-01T08:00:00Z",
        as_of="2026-11-01T06:00:00Z",
        results=results,
        by_kind={"service role": 1},
        rows=ref("principals.ndjson.gz"),
        previous=previous,
    )


@pytest.fixture(autouse=True)
def _terms(settings: Callable[..., None]) -> None:
    settings(language="en", idle_days="90", key_max_age_days="365", chat_topic_arn="")


@pytest.fixture(autouse=True)
def _stored(evidence: EvidenceStore, tables: Any) -> None:
    """A snapshot with one principal to disable."""
    plan = {"what": "principal", "announced_on": "2026-11-01", "disable_on": "2026-12-01",
            "disabled_on": None, "delete_on": None, "times_announced": 1}  # fmt: skip
    rows = [row(f"arn:aws:iam::{ACCOUNT}:role/Idle", cls="disable", plans=[plan])]
    evidence.put_ndjson_gz(ref("principals.ndjson.gz")["key"], rows)
    results = [account_result(counts={"principals": 1, "unused_principals": 1})]
    evidence.put_json(f"{PREFIX}/snapshot.json", build(results, None))


@pytest.fixture
def chat(aws: FakeAws, settings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Topic:
    """The chat topic; nobody waits between tries."""
    monkeypatch.setattr(topics_module, "_CHAT_PAUSES", (0.0, 0.0))
    topic = Topic.create()
    settings(chat_topic_arn=topic.arn)
    return topic


def to(topic: Topic) -> Callable[[dict[str, Any]], bool]:
    return lambda sent: sent["TopicArn"] == topic.arn


def test_people_machines_and_chat_are_told(
    people: Topic, machines: Topic, chat: Topic, context: Any
) -> None:
    assert notify(context) == {"told": True, "told_chat": True}

    (read,), (facts,), (shown,) = people.messages(), machines.messages(), chat.messages()
    assert read["Subject"] == "[Pare] Inventory 2026-11: 1 user or role in 1 account"
    assert "1 unused for 90 days." in read["Message"]
    assert "role/Idle in orders (111122223333): disable on 2026-12-01" in read["Message"]
    link = f"https://console.aws.amazon.com/s3/object/{BUCKET}?region={REGION}&prefix={PREFIX}"
    assert link.replace("=2026", "%3D2026") + "/report.html" in read["Message"]
    assert json.loads(facts["Message"])["planned_by_owner"]["orders@example.com"]["count"] == 1
    card = json.loads(shown["Message"])
    assert (card["version"], card["source"]) == ("1.0", "custom")
    assert "Subject" not in shown
    for each in (read, facts, shown):
        assert each["MessageAttributes"]["kind"]["Value"] == "inventory"


def test_the_language_and_the_partition_are_those_of_the_deployment(
    people: Topic, machines: Topic, context: Any, settings: Callable[..., None]
) -> None:
    settings(language="ja")
    context.invoked_function_arn = "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:Step"

    notify(context)

    (read,) = people.messages()
    assert read["Subject"] == "[Pare] 2026-11 の IAM 棚卸し: 1 アカウント、1 件"
    assert "90 日以上未使用 1 件" in read["Message"]
    assert "https://console.amazonaws-us-gov.com/s3/object/" in read["Message"]
    assert "region=us-gov-west-1" in read["Message"]


def test_a_retried_step_and_one_that_goes_on_with_the_work_tell_nobody_twice(
    people: Topic, machines: Topic, chat: Topic, context: Any
) -> None:
    assert notify(context) == {"told": True, "told_chat": True}
    assert notify(context) == {"told": False, "told_chat": False}

    assert (len(people.messages()), len(chat.messages())) == (1, 1)
    assert len(machines.messages()) == 2, "machines at least once"


def test_an_inventory_made_anew_is_told_anew(
    people: Topic, machines: Topic, chat: Topic, context: Any
) -> None:
    notify(context)

    assert notify(context, f"{PREFIX}/work=by-hand") == {"told": True, "told_chat": True}
    assert (len(people.messages()), len(chat.messages())) == (2, 2)


def test_without_a_chat_topic_nothing_is_told_there(
    people: Topic, machines: Topic, context: Any
) -> None:
    assert notify(context) == {"told": True, "told_chat": False}


def test_the_gone_are_named_and_no_more_of_their_lists_is_read_than_that_takes(
    people: Topic, machines: Topic, evidence: EvidenceStore, context: Any
) -> None:
    results = []
    for number in range(40):
        account_id = f"{number:012d}"
        gone = evidence.put_ndjson_gz(
            f"{PREFIX}/gone-{number}", [row(f"arn:aws:iam::{account_id}:role/Gone{number:02d}")]
        )
        results.append(account_result(account_id, gone=gone, counts={"gone": 1}))
    before: SnapshotJson = {**build([account_result()], None), "period": "2026-10"}
    evidence.put_json(f"{PREFIX}/snapshot.json", build(results, before))
    evidence.s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/gone-39")  # would be an error if read

    notify(context)

    (read,) = people.messages()
    assert "40 gone" in read["Message"]
    assert [f"Gone{number:02d}" in read["Message"] for number in (0, 9, 10)] == [True, True, False]
    assert "and 30 more; see the report." in read["Message"]


# --- Failures ---


def test_a_refused_message_is_told_by_the_retry(
    people: Topic, machines: Topic, context: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "InvalidParameter", 400)
    with pytest.raises(AwsCallError):
        notify(context)

    aws.mend("sns:Publish")
    assert notify(context)["told"]


def test_a_lost_answer_is_not_told_twice(
    people: Topic, machines: Topic, context: Any, aws: FakeAws
) -> None:
    aws.answer("sns:Publish", {"MessageId": "m"}, times=1)  # machines
    aws.lose_answer("sns:Publish")  # people
    with pytest.raises(MessageUnknownError):
        notify(context)

    assert not notify(context)["told"]
    assert len(people.messages()) == 1


@pytest.mark.parametrize(
    ("code", "status"), [("NotFound", 404), ("Throttled", 429), ("AuthorizationError", 403)]
)
def test_a_chat_channel_that_refuses_neither_stops_nor_repeats_the_mail(
    people: Topic, machines: Topic, chat: Topic, context: Any, aws: FakeAws,
    logged: Callable[[], list[dict[str, Any]]], code: str, status: int,
) -> None:  # fmt: skip
    aws.fail("sns:Publish", code, status, when=to(chat))

    assert notify(context) == {"told": True, "told_chat": False}
    assert [line["message"] for line in logged() if line["level"] == "ERROR"] == [
        "the chat channel was not told"
    ]

    aws.mend("sns:Publish")
    assert notify(context) == {"told": False, "told_chat": True}
    assert (len(people.messages()), len(chat.messages())) == (1, 1)


def test_a_throttled_card_is_tried_again_at_once(
    people: Topic, machines: Topic, chat: Topic, context: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "Throttled", 429, times=2, when=to(chat))

    assert notify(context) == {"told": True, "told_chat": True}
    assert len(chat.messages()) == 1


def test_a_card_whose_answer_was_lost_is_not_sent_again(
    people: Topic, machines: Topic, chat: Topic, context: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "InternalError", 500, times=1, when=to(chat))

    assert notify(context) == {"told": True, "told_chat": False}
    assert notify(context) == {"told": False, "told_chat": False}
    assert chat.messages() == []


def test_a_mail_that_fails_does_not_keep_the_card_and_the_retry_tells_only_people(
    people: Topic, machines: Topic, chat: Topic, context: Any, aws: FakeAws
) -> None:
    aws.fail("sns:Publish", "InvalidParameter", 400, when=to(people))
    with pytest.raises(AwsCallError):
        notify(context)
    assert len(chat.messages()) == 1

    aws.mend("sns:Publish")
    assert notify(context) == {"told": True, "told_chat": False}
    assert (len(people.messages()), len(chat.messages())) == (1, 0)


@pytest.mark.parametrize("name", ["snapshot.json", "principals.ndjson.gz"])
def test_a_snapshot_that_is_gone_is_an_error_and_nobody_is_told(
    people: Topic, machines: Topic, chat: Topic, evidence: EvidenceStore, context: Any, name: str
) -> None:
    evidence.s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")

    with pytest.raises(EvidenceError):
        notify(context)

    assert people.messages() == machines.messages() == chat.messages() == []
