from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pare.clock import format_time, parse_time
from pare.findings.details import ACTIONS_LIMIT, with_details
from tests.recorded import finding

if TYPE_CHECKING:
    from pare.findings.model import Finding

# Moments of the recorded events.
EXTERNAL = parse_time(finding("external_access").updated_at)
LAST_USED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def answer(found: Finding, *details: dict[str, Any], later: int = 0, **more: Any) -> dict[str, Any]:
    """Return an answer of GetFindingV2 about a finding, ``later`` seconds after its event."""
    moment = parse_time(found.updated_at) + timedelta(seconds=later)
    return {
        "id": found.finding_id,
        "status": found.status,
        "updatedAt": moment,
        "analyzedAt": moment,
        "createdAt": moment,
        "resourceType": found.resource_type,
        "resourceOwnerAccount": found.account_id,
        "findingDetails": list(details),
        **more,
    }


def external(**details: Any) -> dict[str, Any]:
    return {"externalAccessDetails": {"condition": {}, **details}}


def unused(service: str, *actions: str, last: datetime | None = None) -> dict[str, Any]:
    details: dict[str, Any] = {"serviceNamespace": service}
    if last:
        details["lastAccessed"] = last
    if actions:
        details["actions"] = [{"action": f"{service}:{name}"} for name in actions]
    return {"unusedPermissionDetails": details}


def test_details_of_external_access() -> None:
    found = finding("external_access")

    result = with_details(
        found,
        answer(
            found,
            external(
                action=["s3:PutObject", "s3:GetObject"],
                principal={"AWS": "999988887777"},
                condition={"aws:SourceVpc": "vpc-1"},
                isPublic=False,
                sources=[{"type": "POLICY"}, {"type": "BUCKET_ACL"}, {"type": "POLICY"}],
                resourceControlPolicyRestriction="APPLIED",
            ),
        ),
    )

    assert result == replace(
        found,
        actions=("s3:GetObject", "s3:PutObject"),
        condition=(("aws:SourceVpc", "vpc-1"),),
        granted_through=("BUCKET_ACL", "POLICY"),
        resource_control_policy_restriction="APPLIED",
    )


def test_details_of_internal_access() -> None:
    found = finding("internal_access", access_type=None, principal_account_id=None)
    details = {
        "action": ["s3:GetObject"],
        "principal": {"AWS": "arn:aws:iam::222233334444:role/x"},
        "principalOwnerAccount": "222233334444",
        "accessType": "INTRA_ORG",
        "principalType": "IAM_ROLE",
        "sources": [{"type": "S3_ACCESS_POINT", "detail": {"accessPointArn": "arn:x"}}],
        "resourceControlPolicyRestriction": "APPLICABLE",
        "serviceControlPolicyRestriction": "FAILED_TO_EVALUATE_SCP",
    }

    result = with_details(found, answer(found, {"internalAccessDetails": details}))

    assert result == replace(
        found,
        principal=(("AWS", "arn:aws:iam::222233334444:role/x"),),
        principal_account_id="222233334444",
        access_type="INTRA_ORG",
        granted_through=("S3_ACCESS_POINT",),
        resource_control_policy_restriction="APPLICABLE",
        service_control_policy_restriction="FAILED_TO_EVALUATE_SCP",
    )


def test_unused_permissions_of_all_pages() -> None:
    found = finding()

    result = with_details(
        found,
        answer(
            found,
            unused("sqs", last=LAST_USED),
            unused("s3", "PutObject", "GetObject", last=LAST_USED + timedelta(days=9)),
            unused("ec2"),
        ),
    )

    assert result == replace(
        found,
        unused_services=("ec2", "sqs"),  # s3 is in use: some of its actions are not
        last_accessed_at=format_time(LAST_USED),  # of what is unused: s3 is used
    )


def test_counts_that_no_event_brought_are_counted() -> None:
    found = finding(unused_service_count=None, unused_action_count=None)

    result = with_details(found, answer(found, unused("sqs"), unused("s3", "PutObject")))

    assert (result.unused_service_count, result.unused_action_count) == (1, 1)


@pytest.mark.parametrize(
    ("name", "details", "key"),
    [
        ("unusedIamRoleDetails", {"lastAccessed": LAST_USED}, None),
        ("unusedIamUserAccessKeyDetails",
         {"accessKeyId": "AKIAEXAMPLE", "lastAccessed": LAST_USED}, "AKIAEXAMPLE"),
        ("unusedIamUserPasswordDetails", {"lastAccessed": LAST_USED}, None),
    ],
)  # fmt: skip
def test_when_it_was_last_used(name: str, details: dict[str, Any], key: str | None) -> None:
    found = finding()

    result = with_details(found, answer(found, {name: details}))

    assert (result.last_accessed_at, result.access_key_id) == (format_time(LAST_USED), key)
    assert with_details(found, answer(found, {name: {}})).last_accessed_at is None


# --- Which is newer ---


def test_a_later_answer_has_the_last_word() -> None:
    found = finding("external_access_error")

    result = with_details(found, answer(found, external(), later=60, status="RESOLVED"))

    moment = format_time(EXTERNAL + timedelta(seconds=60))
    assert (result.status, result.updated_at, result.analyzed_at) == ("RESOLVED", moment, moment)
    assert result.error is None
    assert result.created_at == found.created_at


def test_a_later_answer_may_bring_an_error() -> None:
    found = finding("external_access")

    assert with_details(found, answer(found, later=60, error="ACCESS_DENIED")).error == (
        "ACCESS_DENIED"
    )


@pytest.mark.parametrize("later", [0, -60])
def test_an_answer_that_is_not_later_changes_no_status(later: int) -> None:
    found = finding("external_access_error", status="RESOLVED")

    result = with_details(found, answer(found, later=later, status="ACTIVE"))

    assert result == found


def test_an_older_answer_only_adds() -> None:
    found = finding("external_access")
    old = external(
        action=["s3:DeleteObject"], principal={"AWS": "*"}, isPublic=True,
        sources=[{"type": "POLICY"}],
    )  # fmt: skip

    result = with_details(found, answer(found, old, later=-60))

    assert result == replace(found, granted_through=("POLICY",))


def test_a_moment_with_fewer_digits_is_the_same_moment() -> None:
    found = finding("external_access", updated_at="2019-11-21T01:14:07.758Z")
    whole = EXTERNAL.replace(microsecond=0)

    result = with_details(
        found, answer(found, external(action=["s3:PutObject"]), updatedAt=whole, status="RESOLVED")
    )

    assert result == replace(found, actions=("s3:PutObject",))


def test_what_the_answer_leaves_out_it_does_not_deny() -> None:
    found = finding("external_access")

    assert with_details(found, answer(found, external(), later=60)).actions == found.actions


NARROWED = (("aws:PrincipalOrgID", "o-ours"),)


@pytest.mark.parametrize("later", [0, 60])
def test_a_condition_that_the_answer_has_no_more_narrows_nothing_any_more(later: int) -> None:
    found = finding("external_access", principal=(("AWS", "*"),), condition=NARROWED)
    details = external(principal={"AWS": "*"}, action=["s3:GetObject"], isPublic=True)

    result = with_details(found, answer(found, details, later=later))

    assert (result.condition, result.is_public) == ((), True)


def test_an_older_answer_takes_no_condition_away_and_brings_none_back() -> None:
    old = external(principal={"AWS": "*"}, action=["s3:GetObject"])
    found = finding("external_access", condition=NARROWED)
    assert with_details(found, answer(found, old, later=-60)).condition == NARROWED

    found = finding("external_access", condition=())
    old["externalAccessDetails"]["condition"] = dict(NARROWED)
    assert with_details(found, answer(found, old, later=-60)).condition == ()


@pytest.mark.parametrize("later", [0, 60])
def test_what_could_not_be_analyzed_takes_nothing_away(later: int) -> None:
    found = finding("external_access", condition=NARROWED)

    result = with_details(
        found, answer(found, external(action=[], principal={}), later=later, error="ACCESS_DENIED")
    )

    assert (result.condition, result.actions, result.principal, result.error) == (
        NARROWED, found.actions, found.principal, "ACCESS_DENIED",
    )  # fmt: skip


def test_a_condition_of_one_way_narrows_not_the_other_ways() -> None:
    found = finding("external_access")
    vpc = {"aws:SourceVpc": "vpc-1"}
    entries = [
        external(principal={"AWS": "*"}, condition={**vpc, **dict(NARROWED)}),
        external(principal={"AWS": "*"}, condition=vpc),
    ]

    result = with_details(found, answer(found, *entries))

    assert result.condition == (("aws:SourceVpc", "vpc-1"),)
    assert [each.partition(":")[0] for each in result.unknown] == ["condition"]


# --- What nobody expects ---


def test_a_status_that_is_not_known_is_named_and_closes_nothing() -> None:
    found = finding()

    result = with_details(found, answer(found, later=60, status="VANISHED"))

    assert result.status == "ACTIVE"
    assert result.unknown == ("status: VANISHED is none that Pare knows",)


def test_details_of_a_kind_that_is_not_known_are_named() -> None:
    found = finding()

    (unknown,) = with_details(found, answer(found, {"quantumAccessDetails": {}})).unknown

    assert unknown.startswith("finding details: of a kind")


def test_of_several_principals_the_first_is_shown_and_the_others_are_told() -> None:
    found = finding("external_access")
    entries = [
        external(principal={"AWS": "1"}, action=["s3:GetObject"]),
        external(principal={"AWS": "2"}, action=["s3:PutObject"]),
        external(principal={"AWS": "1"}, action=["s3:ListBucket"]),
    ]

    result = with_details(found, answer(found, *entries))

    assert result.principal == (("AWS", "1"),)
    assert result.actions == ("s3:GetObject", "s3:ListBucket")
    assert [each.partition(":")[0] for each in result.unknown] == ["principal"]


def test_more_actions_than_a_state_can_carry_are_counted() -> None:
    found = finding("external_access")
    many = [f"s3:Action{number:05}" for number in range(ACTIONS_LIMIT + 7)]

    result = with_details(found, answer(found, external(action=many)))

    assert result.actions == tuple(many[:ACTIONS_LIMIT])
    assert result.unknown == ("actions: 7 more than are named",)
