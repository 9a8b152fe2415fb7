from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pare.errors import FindingParseError, UnknownFindingError
from pare.findings.model import Finding
from pare.findings.normalize import FAMILIES, STATUSES, normalize
from tests.recorded import FINDINGS, PREVIEWS, event

# --- The three families ---


def test_an_unused_access_event_becomes_a_finding() -> None:
    assert normalize(event("unused_permission")) == Finding(
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
    assert normalize(event("external_access")) == Finding(
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
    assert normalize(event("internal_access")) == Finding(
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
    found = normalize(event(name))

    assert found.error == error
    assert found.account_id == account_id
    assert (found.principal, found.actions, found.condition) == ((), (), ())
    assert found.unused_service_count is None
    assert found.unused_action_count is None
    assert found.is_public is None


@pytest.mark.parametrize("finding_type", FAMILIES["Unused Access Finding for IAM entities"][2])
def test_every_type_of_unused_access_is_known(finding_type: str) -> None:
    assert normalize(event("unused_permission", findingType=finding_type)).finding_type == (
        finding_type
    )


def test_an_external_event_may_name_its_type() -> None:
    found = normalize(event("external_access", findingType="ExternalAccess"))

    assert found.finding_type == "ExternalAccess"


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_known(status: str) -> None:
    assert normalize(event("external_access", status=status)).status == status


@pytest.mark.parametrize(("sent", "is_deleted"), [(True, True), (False, False), (..., False)])
def test_deletion_is_kept_apart_from_the_status(sent: object, is_deleted: bool) -> None:
    found = normalize(event("unused_permission", isDeleted=sent))

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

    assert normalize(one) == normalize(other)


def test_a_principal_that_is_no_text_is_kept_as_json() -> None:
    principal = {"AWS": ["2", "1"], "Service": None, "Web": {"b": 1, "a": 2}}

    found = normalize(event("external_access", principal=principal))

    assert found.principal == (
        ("AWS", '["2", "1"]'),
        ("Service", "null"),
        ("Web", '{"a": 2, "b": 1}'),
    )


def test_the_region_is_the_events_where_the_analyzer_names_none() -> None:
    sent = event("unused_permission") | {"resources": ["my-analyzer"], "region": "eu-north-1"}

    assert normalize(sent).region == "eu-north-1"


# --- JSON ---


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_survives_json(name: str) -> None:
    found = normalize(event(name))

    assert Finding.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_finding_read_from_json_does_not_depend_on_the_order_of_its_keys() -> None:
    pairs = {"b": "2", "a": "1"}
    fields = normalize(event("external_access", principal=pairs, condition=pairs)).to_json()

    turned = fields | {"principal": pairs, "condition": pairs}

    assert Finding.from_json(turned) == Finding.from_json(fields)


# --- Broken events ---


@pytest.mark.parametrize("name", PREVIEWS)
def test_an_access_preview_is_unknown(name: str) -> None:
    with pytest.raises(UnknownFindingError, match="Access Preview State Change"):
        normalize(event(name))


@pytest.mark.parametrize(
    "detail_type", [..., None, "", "Access Analyzer finding", 5, ["Internal Access Finding"], {}]
)
def test_an_unknown_detail_type_is_named(detail_type: object) -> None:
    sent = event("internal_access")
    del sent["detail-type"]
    if detail_type is not ...:
        sent["detail-type"] = detail_type

    with pytest.raises(UnknownFindingError, match="detail-type"):
        normalize(sent)


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
        normalize(event(name, findingType=finding_type))


@pytest.mark.parametrize("status", ["OPEN", "active", "DELETED"])
def test_an_unknown_status_is_named(status: str) -> None:
    with pytest.raises(UnknownFindingError, match=status):
        normalize(event("internal_access", status=status))


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
        normalize(event(name, **{field: value}))

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
        normalize(event(name, **{key: ..., other: "a-finding"}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accountId", "12345678901"),
        ("accountId", "1234567890123"),
        ("accountId", "١٢٣٤٥٦٧٨٩٠١٢"),
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
        normalize(event("unused_permission", **{field: value}))


@pytest.mark.parametrize(
    "resources", [None, [], "arn:aws:access-analyzer:x:1:analyzer/a", [5], [None, "x"], {}]
)
def test_an_event_without_an_analyzer_is_refused(resources: object) -> None:
    with pytest.raises(FindingParseError, match=r"resources\[0\]"):
        normalize(event("unused_permission") | {"resources": resources})


@pytest.mark.parametrize(
    ("analyzer", "region"),
    [
        ("arn:aws:access-analyzer:evil.example/?:1:analyzer/a", "us-east-1"),
        ("arn:aws:access-analyzer:us-east-1\nOwner me:1:analyzer/a", "us-east-1"),
        ("my-analyzer", "US EAST 1"),
    ],
)
def test_a_region_that_could_be_no_region_is_refused(analyzer: str, region: str) -> None:
    with pytest.raises(FindingParseError, match="region"):
        normalize(event("unused_permission") | {"resources": [analyzer], "region": region})


@pytest.mark.parametrize("detail", [None, [], "x", 5, True])
def test_an_event_without_a_detail_object_is_refused(detail: object) -> None:
    with pytest.raises(FindingParseError, match="detail"):
        normalize(event("unused_permission") | {"detail": detail})


@pytest.mark.parametrize("sent", [None, [], "x", 5])
def test_what_is_no_object_is_refused(sent: Any) -> None:
    with pytest.raises(FindingParseError, match="not a JSON object"):
        normalize(sent)


def test_a_long_value_is_shown_short() -> None:
    with pytest.raises(UnknownFindingError) as caught:
        normalize(event("internal_access", status="S" * 10_000))

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
def test_arbitrary_json_is_refused_with_our_own_errors_only(sent: Any) -> None:
    with pytest.raises(FindingParseError) as caught:
        normalize(sent)

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
        found = normalize({**event(name, **detail), **top})
    except FindingParseError:
        return

    assert Finding.from_json(json.loads(json.dumps(found.to_json()))) == found
