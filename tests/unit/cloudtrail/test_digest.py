from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from pare.cloudtrail import digest as digest_module
from pare.cloudtrail.digest import (
    DUPLICATE,
    OTHER_PRINCIPAL,
    OUTSIDE_WINDOW,
    OVER_LONG_FIELD,
    Digest,
)
from pare.cloudtrail.reader import NOT_A_RECORD
from tests.unit.cloudtrail.records import (
    ACCOUNT,
    DENIED,
    IGNORED,
    ONE_OF_EACH,
    OTHER_ACCOUNT,
    REGION,
    ROLE_ARN,
    UNMAPPED,
    UNREADABLE,
    USED,
    USED_WITH_ERROR,
    USER_ARN,
    Json,
    as_bytes,
    assert_consistent,
    by_lines,
    delivered,
    digest,
    fates,
    header,
    lines,
    packed,
    principals,
    record,
    role_session,
    s3_get,
    user,
    uses,
)

if TYPE_CHECKING:
    from pare.cloudtrail.principals import Principal


def without(line: Json, *names: str) -> Json:
    return {name: value for name, value in line.items() if name not in names}


def test_a_call_becomes_what_a_principal_did() -> None:
    activity = digest({"folder/log.json.gz": packed(delivered(USED))})
    assert lines(activity)[1:] == [
        {
            "line": "principal",
            "principal": ROLE_ARN,
            "principal_id": "AROAEXAMPLEEXAMPLE123",
            "kind": "AssumedRole",
            "account_id": ACCOUNT,
            "sessions": [{"name": "i-0abc", "count": 1}],
        },
        {
            "line": "use",
            "principal": ROLE_ARN,
            "action": "s3:GetObject",
            "outcome": "allowed",
            "resource": "arn:aws:s3:::orders/2026/11/a.json",
            "count": 1,
            "first": "2026-11-21T10:15:00Z",
            "last": "2026-11-21T10:15:00Z",
            "regions": [REGION],
            "operations": ["s3.amazonaws.com:GetObject"],
            "file": "log.json.gz",
        },
    ]


def test_every_record_has_one_fate() -> None:
    activity = digest(ONE_OF_EACH)
    assert fates(activity) == (2, 1, 1, 1, 1)
    assert_consistent(activity, records=6)
    assert header(activity)["records"] == {
        "total": 6,
        "used": 2,
        "denied": 1,
        "unmapped": 1,
        "ignored": {"no IAM action: " + _reason(activity): 1},
        "unreadable": {"names no operation": 1},
    }
    assert header(activity)["unmapped_operations"] == {"notaservice.amazonaws.com:DoNothing": 1}


def _reason(activity: Any) -> str:
    (rule,) = activity.totals.ignored
    return str(rule.partition(": ")[2])


def test_the_same_records_in_any_form_give_the_same_activity() -> None:
    several = [*ONE_OF_EACH[:-1], record(30, userIdentity=user())]
    whole = lines(digest({"a": delivered(*several)}))
    for content in (
        packed(delivered(*several)),
        by_lines(*several),
        json.dumps(several).encode(),
        b"".join(json.dumps(each, indent=1).encode() for each in reversed(several)),
    ):
        other = lines(digest({"a": content}))
        assert other[1:] == whole[1:]
        assert other[0]["records"] == whole[0]["records"]


def test_key_order_does_not_matter() -> None:
    turned = [dict(reversed(each.items())) for each in ONE_OF_EACH]
    assert lines(digest(turned))[1:] == lines(digest(ONE_OF_EACH))[1:]


def test_counts_times_regions_and_errors_add_up() -> None:
    records = [
        s3_get(1, "a", eventTime="2026-11-21T10:00:00Z"),
        s3_get(2, "a", eventTime="2026-11-20T10:00:00Z", awsRegion="us-east-1"),
        s3_get(3, "a", eventTime="2026-11-22T10:00:00Z", errorCode="NoSuchKey"),
        s3_get(4, "a", eventTime="2026-11-21T10:00:00Z", errorCode="NoSuchKey"),
        s3_get(5, "a", errorCode="InternalError"),
        s3_get(6, "b"),
    ]
    activity = digest({"1.json": delivered(*records[:2]), "2.json": delivered(*records[2:])})
    both = {use["resource"].rpartition("/")[2]: use for use in uses(activity)}
    assert without(
        both["a"], "line", "principal", "action", "outcome", "resource", "operations"
    ) == {
        "count": 5,
        "first": "2026-11-20T10:00:00Z",
        "last": "2026-11-22T10:00:00Z",
        "regions": [REGION, "us-east-1"],
        "errors": {"InternalError": 1, "NoSuchKey": 2},
        "file": "2.json",
    }
    assert both["b"]["count"] == 1
    assert (activity.first, activity.last) == ("2026-11-20T10:00:00Z", "2026-11-22T10:00:00Z")


# --- Denials ---


@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "Client.UnauthorizedOperation",
    ],
)
def test_a_denied_call_is_no_use(code: str) -> None:
    activity = digest([record(1, errorCode=code), record(2)])
    assert fates(activity) == (1, 1, 0, 0, 0)
    assert [(use["outcome"], use["count"], use.get("errors")) for use in uses(activity)] == [
        ("allowed", 1, None),
        ("denied", 1, {code: 1}),
    ]


@pytest.mark.parametrize(
    "code",
    ["NoSuchKey", "ThrottlingException", "ValidationException", "Client.DryRunOperation", "X"],
)
def test_any_other_error_is_a_use(code: str) -> None:
    activity = digest([record(1, errorCode=code)])
    assert fates(activity) == (1, 0, 0, 0, 0)
    (use,) = uses(activity)
    assert (use["outcome"], use["errors"]) == ("allowed", {code: 1})


@pytest.mark.parametrize("code", ["ExpiredToken", "SignatureDoesNotMatch"])
def test_a_call_refused_before_its_policies_were_looked_at_proves_nothing(code: str) -> None:
    activity = digest([record(1, errorCode=code)])
    assert fates(activity) == (0, 0, 1, 0, 0)
    assert uses(activity) == []


def test_an_unmapped_call_keeps_its_error() -> None:
    activity = digest([UNMAPPED, {**UNMAPPED, "eventID": "2", "errorCode": "AccessDenied"}])
    (line,) = (line for line in lines(activity) if line["line"] == "unmapped")
    assert (line["operation"], line["count"]) == ("notaservice.amazonaws.com:DoNothing", 2)
    assert line["errors"] == {"AccessDenied": 1}
    assert_consistent(activity, records=2)


# --- PassRole ---

CREATE_FUNCTION = record(
    1,
    "lambda",
    "CreateFunction20150331",
    requestParameters={
        "functionName": "shop",
        "role": f"arn:aws:iam::{ACCOUNT}:role/app/ShopFunction",
        "runtime": "python3.13",
    },
)


def test_a_role_given_to_a_service_was_passed() -> None:
    found = {use["action"]: use for use in uses(digest([CREATE_FUNCTION]))}
    assert found["lambda:CreateFunction"]["count"] == 1
    passed = found["iam:PassRole"]
    assert passed["resource"] == f"arn:aws:iam::{ACCOUNT}:role/app/ShopFunction"
    assert passed["passed_to_service"] == "lambda.amazonaws.com"
    assert passed["count"] == 1
    assert digest([CREATE_FUNCTION]).totals.used == 1


def test_a_refused_call_passed_no_role() -> None:
    found = uses(digest([{**CREATE_FUNCTION, "errorCode": "AccessDeniedException"}]))
    assert {use["action"] for use in found} == {"lambda:CreateFunction"}


# --- What is left out by rule ---


@pytest.mark.parametrize(
    "changes",
    [
        {"eventType": "AwsServiceEvent"},
        {
            "eventType": "AwsConsoleSignIn",
            "eventName": "ConsoleLogin",
            "eventSource": "signin.amazonaws.com",
        },
        {"eventType": "AwsConsoleAction"},
        {"eventType": "AwsVpceEvents", "eventCategory": "NetworkActivity"},
        {"eventCategory": "NetworkActivity"},
        {"eventCategory": "Insight"},
        {"eventCategory": "Aggregated"},
        {"eventType": "AwsCloudTrailInsight", "eventCategory": "Insight"},
    ],
    ids=str,
)
def test_what_is_no_api_call_is_ignored_by_rule(changes: Json) -> None:
    activity = digest([record(1, **changes)])
    assert fates(activity) == (0, 0, 1, 0, 0)
    (rule,) = activity.totals.ignored
    assert rule.startswith("not an API call: ")
    assert uses(activity) == []


INSIGHT = {
    "eventVersion": "1.07",
    "eventTime": "2026-11-21T10:15:00Z",
    "awsRegion": REGION,
    "eventID": "5e6b1c0a-0000-4000-8000-000000000001",
    "eventType": "AwsCloudTrailInsight",
    "recipientAccountId": ACCOUNT,
    "sharedEventID": "5e6b1c0a-0000-4000-8000-000000000002",
    "insightDetails": {
        "state": "Start",
        "eventSource": "ssm.amazonaws.com",
        "eventName": "UpdateInstanceInformation",
        "insightType": "ApiCallRateInsight",
    },
    "eventCategory": "Insight",
}


@pytest.mark.parametrize("form", [delivered, by_lines])
def test_an_insights_record_that_names_no_operation_is_ignored_by_rule(form: Any) -> None:
    activity = digest({"a.json": form(INSIGHT, USED)})
    assert fates(activity) == (1, 0, 1, 0, 0)


def test_events_of_old_records_without_type_and_category_are_used() -> None:
    activity = digest([record(1, eventType=..., eventCategory=...)])
    assert activity.totals.used == 1


def test_files_are_passed_over_by_name_only_where_that_is_asked() -> None:
    engine = Digest()
    engine.skip_file("digest file")
    engine.lose_file("closed.json", "cannot be opened: Permission denied")
    activity = engine.activity()
    assert header(activity)["files"] == {
        "read": 1,
        "bytes": 0,
        "uncompressed_bytes": 0,
        "unreadable": {"cannot be opened: Permission denied": 1},
        "skipped": {"digest file": 1},
    }
    assert activity.problem_files == {"closed.json": "cannot be opened: Permission denied"}


def test_the_header_counts_files_and_bytes() -> None:
    content = delivered(*ONE_OF_EACH)
    activity = digest({"a.json.gz": packed(content), "b.json": delivered(), "c": b"no", "d": b""})
    told = header(activity)["files"]
    assert told["read"] == 4
    assert told["bytes"] == len(packed(content)) + len(delivered()) + 2
    assert told["uncompressed_bytes"] == len(content) + len(delivered()) + 2
    assert told["unreadable"] == {"empty file": 1, NOT_A_RECORD: 1}
    assert header(activity)["problem_files"] == {"c": NOT_A_RECORD, "d": "empty file"} | (
        {"a.json.gz": header(activity)["problem_files"]["a.json.gz"]}
        if "a.json.gz" in header(activity)["problem_files"]
        else {}
    )


def test_data_events_are_counted_by_service() -> None:
    activity = digest(
        [
            record(1, eventCategory="Data"),
            record(2, eventCategory="Data", errorCode="AccessDenied"),
            record(3),
            record(4, "dynamodb", "GetItem", eventCategory="Data"),
        ]
    )
    assert header(activity)["data_events"] == {"dynamodb.amazonaws.com": 1, "s3.amazonaws.com": 2}


def test_the_hours_that_have_records_are_kept_for_each_account() -> None:
    activity = digest(
        [
            record(1, eventTime="2026-11-21T00:00:00Z"),
            record(2, eventTime="2026-11-21T00:59:59Z"),
            record(3, eventTime="2026-11-21T23:00:00Z"),
            record(4, eventTime="2026-11-20T05:00:00Z"),
            record(5, eventTime="2026-11-20T05:00:00Z", recipientAccountId=OTHER_ACCOUNT),
            # What is ignored shows as well that the trail was recording.
            {**IGNORED, "eventTime": "2026-11-21T01:00:00Z"},
            record(6, eventTime="no time"),
        ]
    )
    assert header(activity)["hours"] == {
        ACCOUNT: {"2026-11-20": "000020", "2026-11-21": "800003"},
        OTHER_ACCOUNT: {"2026-11-20": "000020"},
    }


# --- Times ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T10:15:00Z", "2026-11-21T10:15:00Z"),
        ("2026-11-21T10:15:00.123Z", "2026-11-21T10:15:00Z"),
        ("2026-11-21T10:15:00.123456789Z", "2026-11-21T10:15:00Z"),
        ("2026-11-21T12:15:00+02:00", "2026-11-21T10:15:00Z"),
        ("2026-11-21T10:15:00", "2026-11-21T10:15:00Z"),
        ("20261121T101500Z", "2026-11-21T10:15:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_written_in_one_way(text: str, expected: str) -> None:
    activity = digest([record(1, eventTime=text)])
    (use,) = uses(activity)
    assert (use["first"], use["last"]) == (expected, expected)
    assert (activity.first, activity.last) == (expected, expected)
    assert_consistent(activity, records=1)


ODD_HOURS = [
    # All of these are 20 characters long and end as a good time does.
    "2026-W47-6T10:15:00Z",
    "2026-11-21 10:15:00Z",
    "2026-11-21\n10:15:00Z",
    "2026-11-21☃10:15:00Z",
]


@pytest.mark.parametrize("text", ODD_HOURS)
def test_a_time_that_only_looks_right_is_written_in_the_one_way_too(text: str) -> None:
    activity = digest([record(1, eventTime=text)])
    assert activity.first in {"2026-11-21T10:15:00Z", ""}
    assert_consistent(activity, records=1)


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        "no time",
        "-2026-11-21T10:15:00Z",
        "2026-13-21T10:15:00Z",
        "2026-11-21T25:15:00Z",
        "2026-11-21T10:15:60Z",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2026-11-21T10:15:00Z" * 100,
        "9" * 100_000,
        "T" * 14 + "00:00Z",
        0,
        1763720100,
        -1,
        1e300,
        True,
        [],
        {},
    ],
    ids=lambda time: repr(time)[:30],
)
def test_a_record_without_a_time_counts_and_has_none(time: Any) -> None:
    activity = digest([record(1, eventTime=time)])
    assert activity.totals.used == 1
    (use,) = uses(activity)
    assert "first" not in use
    assert "last" not in use
    assert (activity.first, activity.last, activity.hours) == ("", "", {})
    assert_consistent(activity, records=1)


def test_only_events_inside_the_window_are_used() -> None:
    records = [
        record(n, eventTime=time)
        for n, time in enumerate(
            [
                "2026-11-20T23:59:59Z",
                "2026-11-21T00:00:00Z",
                "2026-11-21T00:00:00.5Z",
                "2026-11-21T01:30:00+02:00",  # the day before
                "2026-11-21T23:59:59Z",
                "2026-11-22T00:00:00Z",
                None,
                "zzz",
            ]
        )
    ]
    since, until = "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"

    def inside(**window: str) -> tuple[int, int]:
        activity = digest(records, **window)  # type: ignore[arg-type]
        assert_consistent(activity, records=8)
        return activity.totals.used, activity.totals.ignored.get(OUTSIDE_WINDOW, 0)

    assert inside(since=since, until=until) == (3, 5)
    assert inside(since=since) == (4, 4)
    assert inside(until=until) == (5, 3)
    assert inside() == (8, 0)


def test_only_wanted_principals_are_kept() -> None:
    def wanted(principal: Principal) -> str | None:
        return None if principal.principal == USER_ARN else OTHER_PRINCIPAL

    engine = Digest(wanted=wanted)
    engine.add_file(
        "a.json",
        delivered(
            record(1, userIdentity=user()),
            record(2),
            record(3, userIdentity=role_session("other")),
            record(4, userIdentity=None),
            UNMAPPED,
            DENIED,
        ),
    )
    activity = engine.activity()
    assert [line["principal"] for line in principals(activity)] == [USER_ARN]
    assert activity.totals.ignored == {OTHER_PRINCIPAL: 5}
    assert_consistent(activity, records=6)


def test_a_digest_goes_on_empty_after_its_activity_was_taken() -> None:
    engine = Digest()
    engine.add_file("a.json", delivered(record(1), UNMAPPED))
    first = engine.activity()
    before = as_bytes(first)
    engine.add_file("b.json", delivered(record(1), record(2)))
    second = engine.activity()
    assert as_bytes(first) == before
    assert fates(second) == (1, 0, 1, 0, 0)
    assert second.totals.ignored == {DUPLICATE: 1}
    assert engine.activity().totals.records == 0


# --- Hostile fields ---


@pytest.mark.parametrize(
    "changes",
    [
        {"eventName": "x" * 20_000},
        {"eventSource": "x" * 20_000},
        {"awsRegion": "x" * 20_000},
        {"errorCode": "x" * 20_000},
        {"recipientAccountId": "1" * 20_000},
        {"userIdentity": user("arn:aws:iam::1:user/" + "x" * 20_000)},
        {"userIdentity": role_session("x" * 20_000)},
        {"userIdentity": {"type": "AWSService", "invokedBy": "x" * 20_000}},
        {"eventType": "x" * 20_000},
        {"eventID": "x" * 20_000},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_nothing_of_an_over_long_field_is_kept(changes: Json) -> None:
    activity = digest([record(1, **changes), record(2)])
    assert_consistent(activity, records=2)
    if "eventID" not in changes:
        assert activity.totals.unreadable_records in ({OVER_LONG_FIELD: 1}, {})
    assert len(as_bytes(activity)) < 3000


def test_many_over_long_fields_are_one_row() -> None:
    activity = digest([record(n, eventName=f"{n}" * 20_000) for n in range(1, 9)])
    assert activity.totals.unreadable_records == {OVER_LONG_FIELD: 8}
    assert principals(activity) == []


@pytest.mark.parametrize(
    "key",
    ['*', '?', 'a b', '"', "'", "\n", "\r\n", "\x00", "\x1b[31m", "=1+1", "${aws:username}", "é☃𝄞",
     "a" * 1024],
    ids=repr,
)  # fmt: skip
def test_odd_names_of_resources_survive_the_file(key: str) -> None:
    activity = digest([s3_get(1, key)])
    assert_consistent(activity, records=1)
    (use,) = uses(activity)
    assert use["resource"] is None or use["resource"].startswith("arn:aws:s3:::orders/")


@pytest.mark.parametrize(
    "parameters",
    [None, [], "text", 1, {"bucketName": None}, {"bucketName": {"a": 1}, "key": ["b"]},
     {"bucketName": 5, "key": 6}, {"bucketName": "x" * 100_000, "key": "k"}, {"a": "b" * 100_000}],
    ids=lambda each: repr(each)[:30],
)  # fmt: skip
def test_parameters_of_any_shape_make_a_use_whose_resource_is_not_known(parameters: Any) -> None:
    activity = digest([record(1, requestParameters=parameters, resources=[1, None, "x", {"a": 1}])])
    assert_consistent(activity, records=1)
    assert activity.totals.used == 1
    (use,) = uses(activity)
    assert use["action"] == "s3:GetObject"
    assert use["resource"] is None or use["resource"].startswith("arn:aws:s3:::x")


def test_the_partition_of_other_regions_is_theirs() -> None:
    china = role_session()
    china["sessionContext"]["sessionIssuer"]["arn"] = ROLE_ARN.replace("arn:aws:", "arn:aws-cn:")
    (use,) = uses(digest([record(1, awsRegion="cn-north-1", userIdentity=china)]))
    assert use["resource"].startswith("arn:aws-cn:s3:::")


def test_an_action_without_a_resource_is_on_any() -> None:
    (use,) = uses(digest([record(1, "s3", "ListBuckets", requestParameters=None)]))
    assert (use["action"], use["resource"]) == ("s3:ListAllMyBuckets", "*")


def test_an_action_whose_resource_is_not_in_the_event_is_unknown_not_any() -> None:
    (use,) = uses(digest([record(1, requestParameters=None)]))
    assert (use["action"], use["resource"]) == ("s3:GetObject", None)


def test_an_item_read_is_on_its_table() -> None:
    (use,) = uses(digest([record(1, "dynamodb", "GetItem")]))
    assert use["action"] == "dynamodb:GetItem"
    assert use["resource"] == f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders"


def test_a_call_made_by_a_service_for_the_principal_says_which() -> None:
    (use,) = uses(digest([record(1, userIdentity=role_session(invokedBy="athena.amazonaws.com"))]))
    assert use["via"] == ["athena.amazonaws.com"]


def test_more_requests_than_are_held_at_once_are_all_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [s3_get(n, f"{n % 50}") for n in range(200)]
    whole = as_bytes(digest(records))
    monkeypatch.setattr(digest_module, "_MAX_ENTRIES", 7)
    assert as_bytes(digest(records)) == whole
    assert sum(use["count"] for use in uses(digest(records))) == 200


def test_a_file_whose_reading_fails_midway_keeps_its_error_for_the_caller() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        Digest().add_stream("a.json", Failing())


def test_file_names_that_are_not_unicode_can_be_written() -> None:
    name = b"caf\xe9.json".decode(errors="surrogateescape")
    activity = digest({name: delivered(USED), f"x/{name}2": b"no"})
    assert_consistent(activity, records=1)


def test_used_with_error_and_without_are_one_row() -> None:
    (use,) = uses(digest([USED, USED_WITH_ERROR]))
    assert (use["count"], use["errors"]) == (2, {"NoSuchKey": 1})


def test_a_record_without_an_operation_is_counted_not_dropped() -> None:
    for odd in (
        UNREADABLE,
        record(1, eventSource=...),
        record(1, eventSource=""),
        record(1, eventName=""),
        {"eventID": "1"},
        {},
    ):
        activity = digest([odd])
        assert fates(activity) == (0, 0, 0, 0, 1)
        assert "log.json" in activity.problem_files or activity.totals.unreadable_records


@pytest.mark.parametrize("arn", [None, f"arn:aws:iam::{ACCOUNT}:root"])
def test_services_are_told_apart_by_their_names(arn: str | None) -> None:
    """Also where a record has an ARN too, which none is known to have."""
    services = ["config.amazonaws.com", "cloudtrail.amazonaws.com", None]
    activity = digest(
        [
            record(number, userIdentity={"type": "AWSService", "invokedBy": service, "arn": arn})
            for number, service in enumerate([*services, *services])
        ]
    )
    assert [(line["principal"], line["kind"]) for line in principals(activity)] == [
        ("cloudtrail.amazonaws.com", "AWSService"),
        ("config.amazonaws.com", "AWSService"),
        ("unknown", "AWSService"),
    ]
    assert [line["count"] for line in uses(activity)] == [2, 2, 2]
