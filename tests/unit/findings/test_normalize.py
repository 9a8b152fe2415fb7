from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pare.errors import FindingParseError, UnknownFindingError
from pare.findings.compare import gone
from pare.findings.model import Finding
from pare.findings.normalize import FAMILIES, OWN, STATUSES, normalize
from pare.findings.sent import SENDERS
from tests.recorded import FINDINGS, NOW, PREVIEWS, check_event, event, finding, normalized


def about(sent: Any) -> Any:
    """Return what an event is about."""
    return normalize(sent, NOW)


# --- The three families ---


def test_an_unused_access_event_becomes_a_finding() -> None:
    assert normalized(event("unused_permission")) == Finding(
        finding_id="b8ae0460-5d29-4922-b92a-ba956c986277",  # detail.findingId
        access="unused",
        finding_type="UnusedPermission",
        status="ACTIVE",
        is_deleted=False,
        account_id="111122223333",  # of the role; the analyzer is in 123456789012
        region="us-west-2",
        analyzer_arn="arn:aws:access-analyzer:us-west-2:123456789012:"
        "analyzer/integTestLongLivingAnalyzer-DO-NOT-DELETE",
        resource="arn:aws:iam::111122223333:role/FindingIntegTestFakeRole",
        resource_type="AWS::IAM::Role",
        created_at="2023-09-29T17:29:18.758Z",
        updated_at="2023-09-29T17:29:18.758Z",
        analyzed_at="2023-09-29T17:29:18.758Z",
        unused_service_count=0,
        unused_action_count=1,
    )


def test_an_external_access_event_becomes_a_finding_of_a_type_it_does_not_name() -> None:
    assert normalized(event("external_access")) == Finding(
        finding_id="22222222-dcba-4444-dcba-333333333333",  # detail.id, not the event's
        access="external",
        finding_type="ExternalAccess",
        status="ACTIVE",
        is_deleted=False,
        account_id="111122223333",
        region="us-west-2",
        analyzer_arn="arn:aws:access-analyzer:us-west-2:111122223333:analyzer/MyAnalyzer",
        resource="arn:aws:s3:::amzn-s3-demo-bucket",
        resource_type="AWS::S3::Bucket",
        created_at="2019-11-20T04:58:50Z",
        updated_at="2019-11-21T01:14:07Z",
        analyzed_at="2019-11-21T01:22:22Z",
        is_public=False,
        principal=(("AWS", "999988887777"),),
        actions=("s3:GetObject",),
    )


def test_an_internal_access_event_becomes_a_finding() -> None:
    assert normalized(event("internal_access")) == Finding(
        finding_id="11111111-2222-4444-aaaa-333333333333",
        access="internal",
        finding_type="InternalAccess",
        status="ACTIVE",
        is_deleted=False,
        account_id="111122223333",
        region="us-east-1",  # of the analyzer: detail has none
        analyzer_arn="arn:aws:access-analyzer:us-east-1:111122223333:analyzer/testAnalyzer",
        resource="arn:aws:s3:::critical-data",
        resource_type="AWS::S3::Bucket",
        created_at="2025-04-07T21:33:49.914Z",  # sent with nine digits
        updated_at="2025-04-08T03:22:12.654Z",
        analyzed_at="2025-04-08T03:18:43.509Z",
        principal=(("AWS", "arn:aws:iam::111122223333:role/MyRole_6"),),
        actions=("s3:GetObject",),
        principal_account_id="111122223333",
        access_type="INTRA_ACCOUNT",
        resource_control_policy_restriction="NOT_APPLICABLE",
        service_control_policy_restriction="NOT_APPLICABLE",
    )


@pytest.mark.parametrize(
    ("name", "error", "account_id"),
    [
        ("external_access_error", "ACCESS_DENIED", "111122223333"),
        ("internal_access_error", "ACCESS_DENIED", "111122223333"),
        ("unused_iam_role_error", "INTERNAL_ERROR", "444455556666"),
    ],
)
def test_an_error_finding_has_its_error_and_nothing_that_was_not_sent(
    name: str, error: str, account_id: str
) -> None:
    found = normalized(event(name))

    assert found.error == error
    assert found.account_id == account_id
    assert (found.principal, found.actions, found.condition) == ((), (), ())
    assert found.unused_service_count is None
    assert found.unused_action_count is None
    assert found.is_public is None


@pytest.mark.parametrize("finding_type", FAMILIES["Unused Access Finding for IAM entities"][2])
def test_every_type_of_unused_access_is_known(finding_type: str) -> None:
    assert normalized(event("unused_permission", findingType=finding_type)).finding_type == (
        finding_type
    )


def test_an_external_event_may_name_its_type() -> None:
    found = normalized(event("external_access", findingType="ExternalAccess"))

    assert found.finding_type == "ExternalAccess"


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_known(status: str) -> None:
    assert normalized(event("external_access", status=status)).status == status


@pytest.mark.parametrize(("sent", "is_deleted"), [(True, True), (False, False), (..., False)])
def test_deletion_is_kept_apart_from_the_status(sent: object, is_deleted: bool) -> None:
    found = normalized(event("unused_permission", isDeleted=sent))

    assert (found.is_deleted, found.status) == (is_deleted, "ACTIVE")


def test_the_order_of_lists_and_objects_does_not_matter() -> None:
    one = event(
        "external_access",
        action=["s3:PutObject", "s3:GetObject"],
        principal={"AWS": "1", "Federated": "2"},
        condition={"aws:SourceVpc": "vpc-1", "aws:PrincipalOrgID": "o-1"},
    )
    other = event(
        "external_access",
        action=["s3:GetObject", "s3:PutObject"],
        principal={"Federated": "2", "AWS": "1"},
        condition={"aws:PrincipalOrgID": "o-1", "aws:SourceVpc": "vpc-1"},
    )

    assert normalized(one) == normalized(other)


def test_a_principal_that_is_no_text_is_kept_as_json() -> None:
    principal = {"AWS": ["2", "1"], "Service": None, "Web": {"b": 1, "a": 2}}

    found = normalized(event("external_access", principal=principal))

    assert found.principal == (
        ("AWS", '["2", "1"]'),
        ("Service", "null"),
        ("Web", '{"a": 2, "b": 1}'),
    )


def test_the_region_is_the_events_where_the_analyzer_names_none() -> None:
    sent = event("unused_permission") | {"resources": ["my-analyzer"], "region": "eu-north-1"}

    assert normalized(sent).region == "eu-north-1"


# --- JSON ---


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_survives_json(name: str) -> None:
    found = normalized(event(name))

    assert Finding.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_finding_read_from_json_does_not_depend_on_the_order_of_its_keys() -> None:
    pairs = {"b": "2", "a": "1"}
    fields = normalized(event("external_access", principal=pairs, condition=pairs)).to_json()

    turned = fields | {"principal": pairs, "condition": pairs}

    assert Finding.from_json(turned) == Finding.from_json(fields)


# --- Broken events ---


@pytest.mark.parametrize(
    "detail_type", [..., None, "", "Access Analyzer finding", 5, ["Internal Access Finding"], {}]
)
def test_an_unknown_detail_type_is_named(detail_type: object) -> None:
    sent = event("internal_access")
    del sent["detail-type"]
    if detail_type is not ...:
        sent["detail-type"] = detail_type

    with pytest.raises(UnknownFindingError, match="detail-type"):
        about(sent)


@pytest.mark.parametrize(
    ("name", "finding_type"),
    [
        ("unused_permission", "UnusedQuantumKey"),
        ("unused_permission", "ExternalAccess"),
        ("unused_permission", ...),
        ("unused_permission", ["UnusedPermission"]),
        ("external_access", "InternalAccess"),
        ("internal_access", "unusedpermission"),
    ],
)
def test_an_unknown_finding_type_is_named(name: str, finding_type: object) -> None:
    with pytest.raises(UnknownFindingError, match="finding type"):
        about(event(name, findingType=finding_type))


@pytest.mark.parametrize("status", ["OPEN", "active", "DELETED"])
def test_an_unknown_status_is_named(status: str) -> None:
    with pytest.raises(UnknownFindingError, match=status):
        about(event("internal_access", status=status))


@pytest.mark.parametrize("name", FINDINGS)
@pytest.mark.parametrize(
    "field",
    ["accountId", "resource", "resourceType", "status", "createdAt", "updatedAt", "analyzedAt"],
)
@pytest.mark.parametrize("value", [..., None, "", 5, []])
def test_a_field_that_aws_always_sends_is_named_where_it_is_missing(
    name: str, field: str, value: object
) -> None:
    with pytest.raises(FindingParseError, match=f"^{field} ") as caught:
        about(event(name, **{field: value}))

    assert not isinstance(caught.value, UnknownFindingError)


@pytest.mark.parametrize(
    ("name", "key"),
    [("external_access", "id"), ("internal_access", "id"), ("unused_permission", "findingId")],
)
def test_each_family_has_its_own_id_key_and_the_other_one_does_not_count(
    name: str, key: str
) -> None:
    other = "findingId" if key == "id" else "id"

    with pytest.raises(FindingParseError, match=f"^{key} "):
        about(event(name, **{key: ..., other: "a-finding"}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accountId", "12345678901"),
        ("accountId", "1234567890123"),
        ("accountId", "١٢٣٤٥٦٧٨٩٠١٢"),
        ("findingId", "a finding"),
        ("findingId", "f\u200b-1"),
        ("findingId", "f" * 201),
        ("resource", "arn:aws:s3:::" + "b" * 2_048),
        ("numberOfUnusedActions", 10**10),
        ("principalOwnerAccount", "somebody"),
        ("accessType", 5),
        ("createdAt", "yesterday"),
        ("updatedAt", "2023-09-29T17:29:18.758Q"),
        ("analyzedAt", "0001-01-01T00:00:00+14:00"),
        ("isDeleted", "true"),
        ("isDeleted", 1),
        ("isPublic", "false"),
        ("numberOfUnusedServices", -1),
        ("numberOfUnusedServices", "3"),
        ("numberOfUnusedActions", True),
        ("numberOfUnusedActions", 1.5),
        ("action", "s3:GetObject"),
        ("action", ["s3:GetObject", None]),
        ("principal", "999988887777"),
        ("condition", []),
        ("error", {"code": "ACCESS_DENIED"}),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(field: str, value: object) -> None:
    with pytest.raises(FindingParseError, match=f"^{field} "):
        about(event("unused_permission", **{field: value}))


@pytest.mark.parametrize(
    "resources", [None, [], "arn:aws:access-analyzer:x:1:analyzer/a", [5], [None, "x"], {}]
)
def test_an_event_without_an_analyzer_is_refused(resources: object) -> None:
    with pytest.raises(FindingParseError, match=r"resources\[0\]"):
        about(event("unused_permission") | {"resources": resources})


@pytest.mark.parametrize(
    ("analyzer", "region"),
    [
        ("arn:aws:access-analyzer:evil.example/?:1:analyzer/a", "us-east-1"),
        ("arn:aws:access-analyzer:us-east-1\nOwner me:1:analyzer/a", "us-east-1"),
        ("my-analyzer", "US EAST 1"),
    ],
)
def test_a_region_that_could_be_no_region_is_refused(analyzer: str, region: str) -> None:
    with pytest.raises(FindingParseError, match="not a Region"):
        about(event("unused_permission") | {"resources": [analyzer], "region": region})


@pytest.mark.parametrize("detail", [None, [], "x", 5, True])
def test_an_event_without_a_detail_object_is_refused(detail: object) -> None:
    with pytest.raises(FindingParseError, match="detail"):
        about(event("unused_permission") | {"detail": detail})


@pytest.mark.parametrize("sent", [None, [], "x", 5])
def test_what_is_no_object_is_refused(sent: Any) -> None:
    with pytest.raises(FindingParseError, match="not a JSON object"):
        about(sent)


@pytest.mark.parametrize("length", [1_000, 10_000])
def test_a_long_value_is_shown_short(length: int) -> None:
    with pytest.raises(FindingParseError) as caught:
        about(event("internal_access", status="S" * length))

    assert len(str(caught.value)) < 200


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
detail_keys = sorted({key for name in FINDINGS for key in event(name)["detail"]})


@given(json_values)
@example({"detail-type": {}})
@example({"detail-type": []})
@example({"detail-type": "Access Analyzer Finding", "detail": {"status": "\ud800"}})
@example({"detail-type": "Pare Finding", "detail": {"finding": None}, "source": "pare.reconcile"})
def test_arbitrary_json_is_refused_with_our_own_errors_only(sent: Any) -> None:
    with pytest.raises(FindingParseError) as caught:
        about(sent)

    assert str(caught.value)
    assert type(caught.value) in {FindingParseError, UnknownFindingError}


@given(
    st.sampled_from(FINDINGS),
    st.dictionaries(st.sampled_from(detail_keys), json_values, max_size=4),
    st.dictionaries(
        st.sampled_from(["detail-type", "resources", "region", "detail"]), json_values, max_size=1
    ),
)
def test_an_event_with_arbitrary_fields_is_a_finding_or_refused(
    name: str, detail: dict[str, Any], top: dict[str, Any]
) -> None:
    try:
        found = normalized({**event(name, **detail), **top})
    except FindingParseError:
        return

    assert Finding.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(FindingParseError, match="RecursionError"):
        about(event("external_access", principal={"AWS": deep}))


@pytest.mark.parametrize("name", FINDINGS)
def test_text_that_no_table_can_hold_is_refused(name: str) -> None:
    with pytest.raises(FindingParseError, match="UTF-8"):
        about(event(name, resource="arn:aws:s3:::\ud800"))


# --- Access previews ---


def test_a_preview_that_failed_says_why() -> None:
    assert about(event("access_preview_failed")) == {
        "kind": "preview",
        "finding": None,
        "preview": {
            "preview_id": "aaaabbbb-cccc-dddd-eeee-ffffaaaabbbb",
            "status": "FAILED",
            "configured_resources": ["arn:aws:s3:::amzn-s3-demo-bucket"],
            "region": "us-west-2",
            "account_id": "111122223333",
            "analyzer_arn": "arn:aws:access-analyzer:us-west-2:111122223333:analyzer/MyAnalyzer",
            "created_at": "2020-02-20T00:00:00Z",
            "reason_code": "INVALID_CONFIGURATION",
        },
        "call": None,
        "check": None,
    }


@pytest.mark.parametrize(
    ("name", "status"),
    [("access_preview_creating", "CREATING"), ("access_preview_completed", "COMPLETED")],
)
def test_every_state_of_a_preview_is_known(name: str, status: str) -> None:
    preview = about(event(name))["preview"]

    assert preview is not None
    assert (preview["status"], preview["reason_code"]) == (status, None)


def test_a_state_of_a_preview_that_is_not_known_is_named() -> None:
    with pytest.raises(UnknownFindingError, match="PAUSED"):
        about(event("access_preview_creating", status="PAUSED"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accessPreviewId", ...),
        ("accessPreviewId", "a b"),
        ("configuredResources", "arn:aws:s3:::b"),
        ("createdAt", 5),
        ("status", None),
        ("statusReason", "INTERNAL_ERROR"),
    ],
)
def test_a_broken_preview_is_refused(field: str, value: object) -> None:
    with pytest.raises(FindingParseError):
        about(event("access_preview_failed", **{field: value}))


preview_keys = sorted({key for name in PREVIEWS for key in event(name)["detail"]})


@given(
    st.sampled_from(PREVIEWS),
    st.dictionaries(st.sampled_from(preview_keys), json_values, max_size=4),
)
def test_a_preview_with_arbitrary_fields_is_one_or_refused(
    name: str, detail: dict[str, Any]
) -> None:
    try:
        found = about(event(name, **detail))
    except FindingParseError:
        return

    assert found["kind"] == "preview"
    json.dumps(found)


# --- The doctor's test event ---


def test_a_test_event_of_the_doctor_is_no_finding_and_is_remembered_for_a_day() -> None:
    assert about(check_event()) == {
        "kind": "check",
        "finding": None,
        "preview": None,
        "call": None,
        "check": {
            "check_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
            "region": "eu-west-1",
            "expires_at": str(int(NOW.timestamp()) + 24 * 3600),
        },
    }


def test_a_test_event_is_remembered_from_now_on_whatever_it_says_of_its_time() -> None:
    sent = {**check_event(expires_at="99999999999"), "time": "2999-01-01T00:00:00Z"}
    assert about(sent) == about(check_event())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("check_id", ...),
        ("check_id", 5),
        ("check_id", "doctor"),
        ("check_id", "0F8FAD5B-D9CB-469F-A165-70867728950E"),
        ("check_id", "0f8fad5b-d9cb-469f-a165-70867728950e\n"),
        ("check_id", "0" * 2_000),
        ("region", ...),
        ("region", "eu-west-1.example.com"),
        ("region", "e" * 64),
    ],
)
def test_a_broken_test_event_is_refused(field: str, value: object) -> None:
    with pytest.raises(FindingParseError) as caught:
        about(check_event(**{field: value}))

    assert type(caught.value) is FindingParseError


@given(st.dictionaries(st.sampled_from(["check_id", "region", "more"]), json_values))
def test_a_test_event_with_arbitrary_fields_is_one_or_refused(detail: dict[str, Any]) -> None:
    try:
        found = about(check_event(**detail))
    except FindingParseError:
        return

    assert found["kind"] == "check"
    assert len(json.dumps(found["check"])) < 250  # so much of it is kept, whoever sent it


# --- Calls ---

ANALYZER = "arn:aws:access-analyzer:us-west-2:111122223333:analyzer/MyAnalyzer"
# As CloudTrail records it (its record contents, and the API's own parameter names).
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
CALL: dict[str, Any] = {
    "eventVersion": "1.09",
    "userIdentity": {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE:ana",
        "arn": "arn:aws:sts::111122223333:assumed-role/Admin/ana",
        "accountId": "111122223333",
    },
    "eventTime": "2026-11-21T09:15:42Z",
    "eventSource": "access-analyzer.amazonaws.com",
    "eventName": "UpdateFindings",
    "awsRegion": "us-west-2",
    "sourceIPAddress": "192.0.2.1",
    "requestParameters": {
        "analyzerArn": ANALYZER,
        "ids": ["f-2", "f-1", "f-2"],
        "status": "ARCHIVED",
        "clientToken": "4f2c0c58-5a1c-4a5c-8f0e-8d6e7b8f9a10",
    },
    "responseElements": None,
    "eventType": "AwsApiCall",
}


def call_event(**record: Any) -> dict[str, Any]:
    detail = {key: value for key, value in {**CALL, **record}.items() if value is not ...}
    return {
        "version": "0",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.access-analyzer",
        "account": "111122223333",
        "region": "us-west-2",
        "resources": [],
        "detail": detail,
    }


def called(**record: Any) -> Any:
    found = about(call_event(**record))
    assert (found["kind"], found["finding"], found["preview"]) == ("call", None, None)
    return found["call"]


def asked(**parameters: Any) -> dict[str, Any]:
    changed = {**CALL["requestParameters"], **parameters}
    return {key: value for key, value in changed.items() if value is not ...}


def test_a_call_says_who_set_what_to_which_status() -> None:
    assert called() == {
        "who": "arn:aws:sts::111122223333:assumed-role/Admin/ana",
        "at": "2026-11-21T09:15:42Z",
        "analyzer_arn": ANALYZER,
        "finding_ids": ["f-1", "f-2"],
        "resource_arn": None,
        "status": "ARCHIVED",
        "event_name": "UpdateFindings",
        "error_code": None,
    }


def test_a_call_may_mean_all_findings_of_a_resource() -> None:
    call = called(requestParameters=asked(ids=..., resourceArn="arn:aws:s3:::b", status="ACTIVE"))

    assert (call["finding_ids"], call["resource_arn"], call["status"]) == (
        [], "arn:aws:s3:::b", "ACTIVE"
    )  # fmt: skip


@pytest.mark.parametrize("parameters", [..., None, {}, CALL["requestParameters"], {"ids": [5]}])
def test_a_call_that_failed_changed_nothing(parameters: object) -> None:
    call = called(errorCode="AccessDenied", requestParameters=parameters)

    assert call["error_code"] == "AccessDenied"
    assert (call["finding_ids"], call["resource_arn"]) == ([], None)
    assert (call["analyzer_arn"], call["status"]) == ("", "")


@pytest.mark.parametrize(
    ("identity", "who"),
    [
        ({"type": "Root", "arn": "arn:aws:iam::111122223333:root"},
         "arn:aws:iam::111122223333:root"),
        ({"type": "AWSService", "invokedBy": "config.amazonaws.com"}, "config.amazonaws.com"),
        ({"type": "WebIdentityUser"}, "WebIdentityUser"),
        ({"arn": {"hostile": 1}, "type": "IAMUser"}, "IAMUser"),
        ({"arn": "", "type": ""}, "unknown"),
        (None, "unknown"),
        (..., "unknown"),
    ],
)  # fmt: skip
def test_who_called_as_far_as_it_is_said(identity: object, who: str) -> None:
    assert called(userIdentity=identity)["who"] == who


@pytest.mark.parametrize(
    "record",
    [
        {"eventName": "DeleteAnalyzer"},
        {"eventName": ["UpdateFindings"]},
        {"eventSource": "iam.amazonaws.com"},
        {"eventSource": ...},
    ],
)
def test_any_other_call_is_unknown(record: dict[str, Any]) -> None:
    with pytest.raises(UnknownFindingError, match="unknown call"):
        about(call_event(**record))


@pytest.mark.parametrize(
    "record",
    [
        {"requestParameters": ...},
        {"requestParameters": "ids"},
        {"requestParameters": asked(ids=[])},
        {"requestParameters": asked(ids=["a b"])},
        {"requestParameters": asked(ids="f-1")},
        {"requestParameters": asked(status="RESOLVED")},
        {"requestParameters": asked(analyzerArn=...)},
        {"userIdentity": "ana"},
        {"eventTime": ...},
        {"errorCode": 5},
    ],
)
def test_a_broken_call_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(FindingParseError) as caught:
        about(call_event(**record))

    assert type(caught.value) is FindingParseError


@given(
    st.dictionaries(st.sampled_from(sorted({*CALL, "errorCode"})), json_values, max_size=3),
    st.dictionaries(st.sampled_from(["ids", "resourceArn", "analyzerArn", "status"]), json_values),
)
def test_a_call_with_arbitrary_fields_is_one_or_refused(
    record: dict[str, Any], parameters: dict[str, Any]
) -> None:
    try:
        found = about(call_event(**{"requestParameters": asked(**parameters), **record}))
    except FindingParseError:
        return

    assert found["kind"] == "call"
    json.dumps(found)


# --- Findings that Pare sends ---


def pare_event(found: Finding | dict[str, Any], source: str = "pare.reconcile") -> dict[str, Any]:
    sent: Any = found.to_json() if isinstance(found, Finding) else found
    return {"source": source, "detail-type": "Pare Finding", "detail": {"finding": sent}}


WATCH = finding(
    "unused_iam_role_error",
    access="watch",
    finding_type="AnalyzerMissing",
    source="pare-watch",
    analyzer_arn="pare:watch",
    resource_type="AWS::AccessAnalyzer::Analyzer",
    error=None,
    values=(("days", 3), ("names", ["a"]), ("share", 0.5)),
)
INVENTORY = finding(
    finding_type="UnusedIAMRole",
    source="pare-inventory",
    analyzer_arn="pare:inventory",
    account_name="shop-prod",
    owner="orders@example.com",
    owner_source="tag",
    tags=(("team", "orders"),),
    last_accessed_at="2026-01-01T00:00:00Z",
    access_key_id="AKIAEXAMPLE",
    unknown=("days of July",),
)


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_that_reconcile_brings_is_as_if_its_event_had_come(name: str) -> None:
    assert normalized(pare_event(finding(name))) == finding(name)


@pytest.mark.parametrize(
    ("found", "source"), [(WATCH, "pare.reconcile"), (INVENTORY, "pare.inventory")]
)
def test_a_finding_of_our_own_keeps_what_it_says(found: Finding, source: str) -> None:
    assert normalized(pare_event(found, source)) == found


def test_what_is_found_out_anew_is_not_taken_from_whoever_sends_it() -> None:
    judged = finding(
        exposure="account", severity="low", severity_rule="x", access_levels=("Read",), partner="x"
    )

    assert normalized(pare_event(judged)) == finding()


def test_notes_on_what_was_unknown_last_time_are_not_carried_on() -> None:
    assert normalized(pare_event(finding(unknown=("tags: refused",)))).unknown == ()


@pytest.mark.parametrize(
    ("found", "source"),
    [
        (finding(), "aws.access-analyzer"),
        (finding(), "pare.inventory"),
        (WATCH, "pare.inventory"),
        (INVENTORY, "pare.reconcile"),
        (finding(), ""),
        (finding(), ["pare.reconcile"]),
    ],
)
def test_only_the_step_that_makes_a_finding_may_send_it(found: Finding, source: Any) -> None:
    with pytest.raises(FindingParseError):
        about(pare_event(found, source))


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "somebody"},
        {"access": "watch"},
        {"access": "everything"},
        {"finding_type": "AnalyzerMissing"},
        {"finding_type": "ExternalAccess"},
        {"status": "OPEN"},
        {"analyzer_arn": "pare:watch"},
        {"analyzer_arn": "arn:aws:iam:us-west-2:1:analyzer/x"},
        {"region": "eu-west-1"},
        {"region": "x/y"},
        {"finding_id": "a b"},
        {"account_id": "1"},
        {"updated_at": "today"},
        {"is_deleted": "no"},
        {"tags": ["a"]},
        {"values": {"a": {"b": {"c": {"d": {"e": 1}}}}}},
        {"values": {"a": float("nan")}},
        {"values": {"a": 10**40}},
        {"values": {"a": "x" * 60_000}},
        {"values": [1]},
        {"owner_source": "hearsay"},
        {"last_accessed_at": "never"},
        {"unused_services": "s3"},
        {"resource": ""},
    ],
)
def test_each_field_of_a_finding_of_ours_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(FindingParseError):
        about(pare_event({**finding().to_json(), **changes}))


@pytest.mark.parametrize("name", FINDINGS)
def test_what_reconcile_says_is_gone_is_understood(name: str) -> None:
    sent = gone(finding(name, tags=(("team", "orders"),)), how="UNWATCHED")

    assert normalized(pare_event(sent)) == sent


@pytest.mark.parametrize("access_and_type", [("unused", "UnusedIAMRole"), ("watch", "Else")])
def test_a_finding_of_our_own_has_one_of_its_own_types(access_and_type: tuple[str, str]) -> None:
    access, finding_type = access_and_type
    sent = {**WATCH.to_json(), "access": access, "finding_type": finding_type}

    with pytest.raises(FindingParseError):
        about(pare_event(sent))


def test_every_source_of_findings_of_our_own_has_a_sender() -> None:
    assert {each for sources in SENDERS.values() for each in sources} == {*OWN, "access-analyzer"}


@given(
    st.sampled_from([finding(), finding("external_access"), WATCH]),
    st.dictionaries(st.sampled_from(sorted(finding().to_json())), json_values, max_size=4),
)
def test_a_finding_of_ours_with_arbitrary_fields_is_one_or_refused(
    found: Finding, changes: dict[str, Any]
) -> None:
    try:
        result = normalized(pare_event({**found.to_json(), **changes}))
    except FindingParseError:
        return

    assert Finding.from_json(json.loads(json.dumps(result.to_json()))) == result
