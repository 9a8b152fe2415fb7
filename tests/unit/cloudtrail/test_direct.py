"""The short way to resources gives what the long way gives."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.cloudtrail.calls import Operation, _operation
from pare.cloudtrail.record import Record

HEADER = ("aws-cn", "cn-north-1", "111122223333")
OPERATIONS = (
    ("s3.amazonaws.com", "GetObject"),
    ("s3.amazonaws.com", "PutObject"),
    ("s3.amazonaws.com", "ListObjects"),
    ("dynamodb.amazonaws.com", "GetItem"),
    ("dynamodb.amazonaws.com", "Query"),
    ("sts.amazonaws.com", "AssumeRole"),
    ("lambda.amazonaws.com", "Invoke"),
    ("sqs.amazonaws.com", "SendMessage"),
    ("sns.amazonaws.com", "Publish"),
    ("secretsmanager.amazonaws.com", "GetSecretValue"),
    ("ssm.amazonaws.com", "GetParameter"),
    ("logs.amazonaws.com", "CreateLogStream"),
    ("states.amazonaws.com", "StartExecution"),
    ("ecr.amazonaws.com", "BatchGetImage"),
    ("kinesis.amazonaws.com", "PutRecord"),
    ("glue.amazonaws.com", "GetTable"),
)
TEXTS = st.sampled_from(
    (
        "orders", "a/b/c.txt", "%s", "100%", "", " ", "*", "a*b", "${aws:username}", 'a"b', "ä",
        "a\nb",
        "x" * 2000, "arn:aws-cn:s3:::bucket", "arn:aws-cn:s3:::bucket/key", "arn:x",
        "arn:aws-cn:iam::111122223333:role/path/app", "arn:aws-cn:iam::111122223333:user/app",
        "arn:aws-cn:dynamodb:cn-north-1:111122223333:table/orders", "bucket--x-s3",
        "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/point",
        "arn:aws-cn:secretsmanager:cn-north-1:111122223333:secret:db-AbCdEf",
        "https://sqs.cn-north-1.amazonaws.com.cn/111122223333/queue", "/aws/lambda/f", "app:live",
        "arn:aws-cn:lambda:cn-north-1:111122223333:function:app:live", "111122223333:function:app",
    )
)  # fmt: skip


def operation(source: str, name: str) -> Operation:
    found = _operation(source, name)
    assert isinstance(found, Operation)
    return found


@pytest.mark.parametrize(("source", "name"), OPERATIONS)
@given(data=st.data())
def test_the_short_way_gives_what_the_long_way_gives(
    source: str, name: str, data: st.DataObject
) -> None:
    found = operation(source, name)
    assert found.pick is not None
    direct = found._direct
    fields = direct.fields if direct is not None else ("bucketName", "key")
    request = {field: data.draw(TEXTS, label=field) for field in fields}
    record = Record(requestParameters=msgspec.Raw(msgspec.json.encode(request)))
    key = found.pick(record)
    long_way = found._resources_the_long_way(found._pick_all(record), HEADER)
    assert found.resources(key, HEADER) == long_way


def test_most_calls_of_most_trails_go_the_short_way() -> None:
    short = {name for source, name in OPERATIONS if operation(source, name)._direct is not None}
    assert short >= {"GetObject", "PutObject", "ListObjects", "GetItem", "AssumeRole", "Invoke"}


def test_a_condition_leads_to_the_long_way() -> None:
    found = operation("s3.amazonaws.com", "GetObject")
    assert found.pick is not None
    request = {"bucketName": "logs-of-mine", "key": "a/b", "versionId": "3"}
    key = found.pick(Record(requestParameters=msgspec.Raw(msgspec.json.encode(request))))
    assert isinstance(key, tuple)
    assert list(found.resources(key, HEADER)) == [
        ("s3:GetObjectVersion", ("arn:aws-cn:s3:::logs-of-mine/a/b",))
    ]
