"""Which actions the logs can show: the tables hold against AWS's catalogue and real records."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail.operations import load_operations
from pare.policy.catalogue import load_catalogue
from pare.policy.observability import is_visible, unseen, visibility
from pare.policy.patterns import has_wildcard, wildcard_regex
from tools.compile_catalogue import to_gzip
from tools.compile_observability import compile_observability
from tools.compile_operations import read_clients

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[3] / "pare/data"
REAL = Path(__file__).parents[4] / "shared/cloudtrail"
TABLE = json.loads((DATA / "data_event_actions.json").read_text(encoding="utf-8"))
WITHOUT = json.loads(gzip.decompress((DATA / "actions_without_operation.json.gz").read_bytes()))
ROWS = [(prefix, row) for prefix, rows in TABLE["services"].items() for row in rows]


def all_actions() -> list[str]:
    catalogue = load_catalogue()
    return sorted(action for prefix in catalogue.services for action in catalogue.actions(prefix))


ACTIONS = all_actions()
SOURCES = sorted({source for _, row in ROWS for source in row.get("event_sources", ())})


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        # Management events.
        ("iam:CreateRole", "management event"),
        ("ec2:RunInstances", "management event"),
        ("kms:Decrypt", "management event"),
        ("secretsmanager:GetSecretValue", "management event"),
        ("ssm:GetParameter", "management event"),
        ("s3:ListAllMyBuckets", "management event"),
        ("s3:GetBucketAcl", "management event"),
        ("s3:GetBucketObjectLockConfiguration", "management event"),
        ("dynamodb:DescribeTable", "management event"),
        ("events:PutRule", "management event"),
        ("logs:CreateLogStream", "management event"),
        ("logs:FilterLogEvents", "management event"),
        ("cloudwatch:PutMetricAlarm", "management event"),
        ("sqs:CreateQueue", "management event"),
        ("states:StartExecution", "management event"),
        ("iot:CreateThing", "management event"),
        ("ssm:UpdateInstanceInformation", "management event"),  # real records have it
        # Data events.
        ("s3:GetObject", "data event"),
        ("s3:GetObjectVersionTagging", "data event"),
        ("s3:ListBucket", "data event"),
        ("s3:AbortMultipartUpload", "data event"),
        ("s3express:CreateSession", "data event"),
        ("s3-outposts:PutObject", "data event"),
        ("dynamodb:Query", "data event"),
        ("dynamodb:PartiQLSelect", "data event"),
        ("dynamodb:GetRecords", "data event"),
        ("lambda:InvokeFunction", "data event"),
        ("sqs:SendMessage", "data event"),
        ("sqs:ListQueues", "data event"),
        ("kinesis:PutRecords", "data event"),
        ("firehose:PutRecordBatch", "data event"),
        ("events:PutEvents", "data event"),
        ("cloudwatch:PutMetricData", "data event"),
        ("xray:PutTraceSegments", "data event"),
        ("ebs:GetSnapshotBlock", "data event"),
        ("rds-data:ExecuteStatement", "data event"),
        ("sagemaker:InvokeEndpoint", "data event"),
        ("bedrock:InvokeAgent", "data event"),
        # Both kinds, by operation: then absence of the one proves nothing.
        ("bedrock:InvokeModel", "data event"),
        ("states:StartSyncExecution", "data event"),
        # Named although no service model has the call.
        ("ssmmessages:OpenControlChannel", "data event"),
        ("ecs:Poll", "data event"),
        # Nowhere.
        ("iam:PassRole", "never"),
        ("execute-api:Invoke", "never"),
        ("es:ESHttpGet", "never"),
        ("rds-db:connect", "never"),
        ("kafka-cluster:ReadData", "never"),
        ("elasticfilesystem:ClientMount", "never"),
        ("ec2messages:GetMessages", "never"),
        ("ssmmessages:OpenDataChannel", "never"),
        ("iot:Connect", "never"),
        ("iot:Publish", "never"),
        ("iot:ListThings", "never"),
        ("logs:PutLogEvents", "never"),
        ("sts:GetCallerIdentity", "never"),
        ("s3:ReplicateObject", "never"),  # a pattern does not make it a call
        # Some ways of calling them are recorded nowhere.
        ("sns:Publish", "never"),
        ("ses:SendRawEmail", "never"),
        # Any spelling; and what AWS does not have.
        ("S3:getobject", "data event"),
        ("s3:NoSuchAction", "never"),
        ("nosuch:Action", "never"),
        ("s3", "never"),
        ("", "never"),
    ],
)
def test_what_is_recorded_of_an_action(action: str, expected: str) -> None:
    assert visibility(action) == expected


def test_a_data_event_is_visible_where_its_service_has_some() -> None:
    assert not is_visible("s3:GetObject", ())
    assert is_visible("s3:GetObject", {"s3.amazonaws.com": 4})
    assert is_visible("s3:getObject", ["S3.amazonaws.com.cn"])
    assert not is_visible("s3:GetObject", ["dynamodb.amazonaws.com"])
    assert is_visible("rds-data:ExecuteStatement", ["rdsdataapi.amazonaws.com"])
    assert is_visible("cloudwatch:PutMetricData", ["monitoring.amazonaws.com"])


def test_data_events_make_nothing_else_visible() -> None:
    assert is_visible("iam:CreateRole", ())
    assert not is_visible("iam:PassRole", SOURCES)
    assert not is_visible("logs:PutLogEvents", ["logs.amazonaws.com"])
    assert not is_visible("nosuch:Action", SOURCES)


@given(
    st.lists(st.sampled_from(ACTIONS), max_size=20),
    st.sets(st.sampled_from(SOURCES)),
    st.sets(st.sampled_from(SOURCES)),
)
def test_unseen_is_what_is_not_visible_and_shrinks_with_data_events(
    actions: list[str], some: set[str], more: set[str]
) -> None:
    assert unseen(actions, some) == {a for a in actions if not is_visible(a, some)}
    assert unseen(actions, some | more) <= unseen(actions, some)
    assert unseen(actions, ()) == {a for a in actions if visibility(a) != "management event"}
    assert {a for a in actions if visibility(a) == "never"} <= unseen(actions, SOURCES)


@given(st.text() | st.builds("{}:{}".format, st.sampled_from(["s3", "iam", "x"]), st.text()))
def test_any_text_has_an_answer(text: str) -> None:
    assert visibility(text) == "never" or load_catalogue().exists(text)


def test_every_action_with_all_data_events_is_seen_or_never() -> None:
    left = unseen(ACTIONS, SOURCES)
    assert {visibility(action) for action in left} == {"never"}
    # Most of AWS is visible without data events; if not, a row has become too wide.
    assert 15_000 < len(ACTIONS) - len(unseen(ACTIONS, ())) < 18_000


def test_all_actions_are_told_apart_in_no_time() -> None:
    unseen(ACTIONS, ())
    start = time.perf_counter()
    unseen(ACTIONS, SOURCES)
    assert time.perf_counter() - start < 1


# The tables.


def test_every_row_is_whole() -> None:
    for prefix, row in ROWS:
        assert row["recorded"] in {"management event", "data event", "never"}, (prefix, row)
        assert row["actions"] == sorted(set(row["actions"])), (prefix, row)
        assert row["actions"], prefix
        assert ("event_sources" in row) == (row["recorded"] == "data event"), (prefix, row)
        assert all(source.endswith(".amazonaws.com") for source in row.get("event_sources", ()))
        allowed = {"recorded", "actions", "document", "event_sources", "also_management", "note"}
        assert set(row) <= allowed, (prefix, row)


def test_every_row_names_its_document() -> None:
    used = {row["document"] for _, row in ROWS}
    assert used == set(TABLE["documents"])
    for name, document in TABLE["documents"].items():
        assert document.startswith("https://docs.aws.amazon.com/") or name in {"careful", "records"}


def test_every_action_named_exists_and_every_pattern_finds_a_call() -> None:
    catalogue = load_catalogue()
    for prefix, row in ROWS:
        assert prefix in catalogue.services
        names = {action.partition(":")[2] for action in catalogue.actions(prefix)}
        called = names - set(WITHOUT["services"].get(prefix, "").split())
        for name in row["actions"]:
            if has_wildcard(name):
                assert any(wildcard_regex(name).fullmatch(each) for each in called), (prefix, name)
            else:
                assert name in names, (prefix, name)


def test_no_row_is_hidden_by_another() -> None:
    for prefix, rows in TABLE["services"].items():
        named = [name for row in rows for name in row["actions"] if not has_wildcard(name)]
        assert len(named) == len(set(named)), prefix
        for i, row in enumerate(rows):
            before = [name for earlier in rows[:i] for name in earlier["actions"]]
            for name in row["actions"]:
                assert not any(wildcard_regex(other).fullmatch(name) for other in before), prefix


def test_data_events_come_from_sources_the_action_table_knows() -> None:
    operations = load_operations()
    for prefix, row in ROWS:
        sources = row.get("event_sources")
        if sources is None:
            continue
        names = [
            action.partition(":")[2]
            for action in load_catalogue().actions(prefix)
            if visibility(action) == "data event"
        ]
        assert any(
            (mapped := operations.lookup(source, name)) is not None
            and f"{prefix}:{name}" in mapped.actions
            for source in sources
            for name in names
        ), (prefix, sources)


def test_operations_of_both_kinds_need_an_action_of_their_row() -> None:
    operations = load_operations()
    for prefix, row in ROWS:
        for operation in row.get("also_management", ()):
            mapped = operations.lookup(prefix, operation)
            assert mapped is not None
            assert any(visibility(action) == row["recorded"] for action in mapped.actions)


def test_the_committed_table_is_the_compiled_one() -> None:
    compiled = to_gzip(compile_observability(read_clients()))
    file = DATA / "actions_without_operation.json.gz"
    assert compiled == file.read_bytes(), "run `make data`"


# Real records.


def real_records() -> Iterator[dict[str, Any]]:
    """Yield every real record that says of which kind it is, from files of any shape."""
    for file in sorted(REAL.rglob("*.json")):
        yield from _records(json.loads(file.read_text(encoding="utf-8")))


def _records(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
    elif isinstance(value, dict):
        if "eventSource" in value and "eventName" in value:
            if value.get("eventType") == "AwsApiCall":
                yield value
        else:
            for item in value.values():
                yield from _records(item)


# eventCategory "Management" with managementEvent false, the one such record: an anonymized example.
ODD = {("kms.amazonaws.com", "CreateKey")}


def test_no_real_record_contradicts_the_table() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: the table is not held against real records")
    both = {
        (f"{prefix}.amazonaws.com", operation)
        for prefix, row in ROWS
        for operation in row.get("also_management", ())
    }
    wrong = set()
    seen = {"Management": 0, "Data": 0}
    for record in real_records():
        call = record["eventSource"], record["eventName"]
        mapped = load_operations().lookup(*call)
        category = record.get("eventCategory")
        if category not in seen or mapped is None or call in both | ODD:
            continue
        seen[category] += 1
        assert record.get("managementEvent") in {None, category == "Management"}, call
        for action in mapped.actions:
            kind = visibility(action)
            prefix, _, name = action.partition(":")
            if kind == "never" and name in WITHOUT["services"].get(prefix, "").split():
                continue  # not known to be recorded, which is no claim that it is not
            if kind != ("management event" if category == "Management" else "data event"):
                wrong.add((*call, category, action, kind))
    assert wrong == set()
    assert seen["Management"] > 3_000
    assert seen["Data"] >= 10
