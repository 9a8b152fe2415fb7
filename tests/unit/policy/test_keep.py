"""What is kept as it is granted today, because nothing could have shown its use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pare.policy.keep import Kept, passes_roles, roles_are_told, what_to_keep
from tests.unit.policy.evidence_builders import (
    LAST,
    ROLE,
    accessed,
    activity,
    allow,
    calls,
    current,
    deny,
    propose,
    service,
    today,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from pare.policy.evidence import LastAccessedOutcomeJson
    from tests.unit.policy.evidence_builders import Json

S3_DATA = ["s3.amazonaws.com"]


def kept(
    statements: list[Json],
    observed: Collection[str] = (),
    *,
    refused_only: Collection[str] = (),
    seen: LastAccessedOutcomeJson | None = None,
    data: Collection[str] | None = (),
    left_out: Collection[str] = (),
) -> Kept:
    return what_to_keep(
        today(*statements),
        observed,
        refused_only,
        seen,
        data_event_sources=data,
        services_left_out=left_out,
    )


# --- An action whose use the logs would show ---


def test_what_the_logs_would_show_and_do_not_is_dropped() -> None:
    assert kept([allow(["ec2:DescribeInstances", "s3:CreateBucket"])]) == Kept()


@pytest.mark.parametrize(
    ("seen", "is_kept"),
    [
        (accessed(service("s3", {"CreateBucket": LAST})), True),
        # AWS spells them as it likes.
        (accessed(service("S3", {"createbucket": LAST})), True),
        (accessed(service("s3", {"CreateBucket": None})), False),
        (accessed(service("s3", {})), False),
        (accessed(service("s3", None)), False),
        (accessed(service("s3", {"CreateBucket": LAST}, used_at=None)), False),
        (accessed(), False),
        (None, False),
    ],
)
def test_an_older_use_that_iam_saw_is_kept(
    seen: LastAccessedOutcomeJson | None, is_kept: bool
) -> None:
    found = kept([allow("s3:CreateBucket")], seen=seen)

    assert found == Kept(last_accessed=frozenset({"s3:CreateBucket"} if is_kept else ()))


def test_what_was_observed_is_not_kept_besides() -> None:
    seen = accessed(service("s3", {"CreateBucket": LAST, "DeleteBucket": LAST}))

    found = kept([allow("s3:*Bucket")], ["s3:CreateBucket"], seen=seen)

    assert "s3:DeleteBucket" in found.last_accessed
    assert "s3:CreateBucket" not in found.last_accessed | found.not_observable


def test_an_attempt_that_was_always_refused_is_no_use() -> None:
    seen = accessed(service("s3", {"CreateBucket": LAST}))

    assert kept([allow("s3:CreateBucket")], refused_only=["s3:CreateBucket"], seen=seen) == Kept()


def test_nothing_is_kept_that_is_not_granted_today() -> None:
    seen = accessed(service("s3", {"CreateBucket": LAST, "DeleteBucket": LAST}))

    found = kept([allow("s3:*Bucket"), deny("s3:DeleteBucket")], seen=seen)

    assert found.last_accessed == {"s3:CreateBucket"}


# --- An action whose use the logs cannot show ---


@pytest.mark.parametrize(
    ("seen", "is_kept"),
    [
        (accessed(service("s3", None)), True),
        (accessed(service("s3", {})), True),
        (accessed(service("s3", {"CreateBucket": None})), True),
        (accessed(service("s3", None, used_at=None)), False),
        # Nobody reported on the service: the grant names it.
        (accessed(), True),
        (accessed(service("ec2", None)), True),
        (None, True),
    ],
)
def test_data_events_that_are_not_recorded_are_kept_unless_the_service_is_unused(
    seen: LastAccessedOutcomeJson | None, is_kept: bool
) -> None:
    found = kept([allow("s3:GetObject")], seen=seen)

    assert found == Kept(not_observable=frozenset({"s3:GetObject"} if is_kept else ()))


@pytest.mark.parametrize("seen", [None, accessed(), accessed(service("s3", None))])
def test_data_events_that_are_recorded_would_have_shown(
    seen: LastAccessedOutcomeJson | None,
) -> None:
    assert kept([allow("s3:GetObject")], seen=seen, data=S3_DATA) == Kept()
    # Those of other services say nothing.
    assert kept([allow("s3:GetObject")], seen=seen, data=["lambda.amazonaws.com"]) != Kept()


def test_a_tracked_action_that_iam_did_not_see_was_not_used_though_no_log_could_show_it() -> None:
    seen = accessed(service("s3", {"GetObject": None, "PutObject": LAST}))

    found = kept([allow(["s3:GetObject", "s3:PutObject"])], seen=seen)

    assert found == Kept(last_accessed=frozenset({"s3:PutObject"}))


def test_a_service_the_trail_leaves_out_is_not_observable() -> None:
    granted = [allow(["kms:Decrypt", "ec2:DescribeInstances"])]

    assert kept(granted) == Kept()
    assert kept(granted, left_out=["kms"]) == Kept(not_observable=frozenset({"kms:Decrypt"}))
    assert kept(granted, left_out=["kms"], seen=accessed(service("kms", used_at=None))) == Kept()


def test_without_logs_of_ours_only_tracked_actions_could_be_seen() -> None:
    seen = accessed(
        service("s3", {"CreateBucket": None, "DeleteBucket": LAST}), service("ec2", used_at=None)
    )

    found = kept([allow(["s3:*Bucket", "ec2:DescribeInstances"])], seen=seen, data=None)

    assert found.last_accessed == {"s3:DeleteBucket"}
    assert "s3:ListBucket" in found.not_observable
    assert not {"s3:CreateBucket", "ec2:DescribeInstances"} & found.not_observable


# --- A wildcard over services ---


@pytest.mark.parametrize(
    "wildcard",
    [allow("*"), allow("*:Get*"), {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}],
)
def test_a_service_only_a_wildcard_granted_and_nobody_reported_on_is_named(wildcard: Json) -> None:
    found = kept([wildcard], seen=accessed(service("ec2", used_at=None)))

    assert "s3" in found.not_reported
    assert "ec2" not in found.not_reported
    assert not any(action.startswith("s3:") for action in found.not_observable)


def test_it_is_kept_where_the_logs_show_the_service_or_a_grant_names_it() -> None:
    shown = kept([allow("*")], ["s3:CreateBucket"])
    named = kept([allow("*"), allow("s3:GetObject")])

    assert {"s3:GetObject", "s3:PutObject"} <= shown.not_observable
    assert "s3" not in shown.not_reported
    assert "s3:GetObject" in named.not_observable
    assert "s3:PutObject" not in named.not_observable
    assert "s3" in named.not_reported


def test_not_reported_is_sorted_and_each_service_once() -> None:
    found = kept([allow("*")]).not_reported

    assert list(found) == sorted(set(found))


# --- iam:PassRole ---


@pytest.mark.parametrize(
    ("observed", "data", "is_kept"),
    [
        # Calls that pass a role are seen, the role is not always.
        (["lambda:CreateFunction"], [], True),
        (["lambda:CreateFunction", "iam:PassRole"], [], False),
        (["s3:CreateBucket"], [], False),
        ([], [], False),
        ([], None, True),
        (["iam:PassRole"], None, False),
    ],
)
@pytest.mark.parametrize(
    "seen",
    [None, accessed(service("iam", None)), accessed(service("iam", {"PassRole": LAST})),
     accessed(service("iam", None, used_at=None))],
)  # fmt: skip
def test_pass_role_is_kept_where_a_call_passes_one_and_none_is_seen(
    observed: list[str],
    data: list[str] | None,
    is_kept: bool,
    seen: LastAccessedOutcomeJson | None,
) -> None:
    found = kept([allow("iam:PassRole")], observed, seen=seen, data=data)

    assert found == Kept(not_observable=frozenset({"iam:PassRole"} if is_kept else ()))


def test_pass_role_that_was_always_refused_is_not_kept() -> None:
    found = kept([allow("*")], ["lambda:CreateFunction"], refused_only=["iam:PassRole"])

    assert "iam:PassRole" not in found.not_observable


def test_which_calls_pass_a_role() -> None:
    assert passes_roles(["s3:GetObject", "ecs:RunTask"])
    assert not passes_roles(["s3:GetObject", "iam:PassRole", "acme:DoThing"])
    assert not passes_roles([])


# --- Roles that stand in what is named by a call ---


@pytest.mark.parametrize(
    ("action", "passed", "are_told"),
    [
        ("lambda:CreateFunction", ROLE, True),
        ("ecs:RunTask", ROLE, False),
        ("ecs:RunTask", None, False),
        ("ec2:RunInstances", ROLE, False),
        # An instance profile in the request: any role may be passed as today.
        ("ec2:RunInstances", None, True),
        ("autoscaling:CreateAutoScalingGroup", ROLE, False),
    ],
)
def test_roles_in_definitions_and_templates_are_not_told(
    action: str, passed: str | None, are_told: bool
) -> None:
    rows = calls(use(action), use("iam:PassRole", passed, to="lambda.amazonaws.com")).allowed

    assert roles_are_told(rows) is are_told


def test_a_role_seen_passed_does_not_cut_those_of_task_definitions() -> None:
    tasks = "arn:aws:ecs:eu-west-1:111122223333:task-definition/web:*"
    did = activity(use("ecs:RunTask", tasks), use("iam:PassRole", ROLE, to="lambda.amazonaws.com"))
    roles = "arn:aws:iam::111122223333:role/app/*"

    found = propose(did, current(allow(["ecs:RunTask"]), allow("iam:PassRole", roles)))

    granted = [
        (each["Sid"], each["Resource"])
        for each in found["documents"][0]["Statement"]
        if "iam:PassRole" in each["Action"]
    ]
    assert granted == [("PassRole1", [ROLE]), ("KeptNotObservable1", [roles])]
