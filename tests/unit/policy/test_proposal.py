from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.errors import PolicyParseError
from pare.policy.catalogue import load_catalogue
from pare.policy.checks import is_checked, with_checks
from pare.policy.current import AttachedPolicyJson, CurrentAccessJson, Kind
from pare.policy.document import MANAGED_POLICY_LIMIT, parse, size_in_characters
from pare.policy.evidence import Evidence, Terms
from pare.policy.grants import counts, granted_actions
from pare.policy.patterns import wildcard_regex
from pare.policy.proposal import ProposalJson, build_proposal
from pare.policy.reasons import NO_GENERATION
from pare.policy.verdict import LEVELS
from pare.runs import what_to_do

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.policy.evidence import (
        GenerationOutcomeJson,
        LastAccessedOutcomeJson,
        ServiceLastAccessedJson,
    )

ACCOUNT = "111122223333"
ARN = f"arn:aws:iam::{ACCOUNT}:role/app/Shop"
TAG = "pare:break-glass"
USED_AT = "2026-11-20T09:00:00Z"
CONDITION = {"Bool": {"aws:SecureTransport": "true"}}


# --- Building blocks ---


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def attached(*statements: dict[str, Any], **changes: Any) -> AttachedPolicyJson:
    policy: dict[str, Any] = {
        "source": "inline",
        "name": "permissions",
        "arn": None,
        "group": None,
        "document": document(*statements),
    }
    return cast("AttachedPolicyJson", {**policy, **changes})


def current(*policies: AttachedPolicyJson, **changes: Any) -> CurrentAccessJson:
    access: dict[str, Any] = {
        "principal_arn": ARN,
        "principal_id": "AROAEXAMPLE",
        "kind": "role",
        "created_at": "2024-01-01T00:00:00Z",
        "last_used_at": USED_AT,
        "tags": {},
        "policies": list(policies),
        "boundary": None,
    }
    return cast("CurrentAccessJson", {**access, **changes})


def generated(*statements: dict[str, Any], **changes: Any) -> GenerationOutcomeJson:
    outcome: dict[str, Any] = {
        "outcome": "SUCCEEDED",
        "message": "",
        "job_id": "job-1",
        "is_complete": True,
        "policies": [document(*statements)],
        "trail": {"trails": [], "start": "2026-08-23T09:00:00Z", "end": "2026-11-21T09:00:00Z"},
    }
    return cast("GenerationOutcomeJson", {**outcome, **changes})


def service(
    prefix: str, actions: dict[str, str | None] | None = None, used_at: str | None = USED_AT
) -> ServiceLastAccessedJson:
    return {
        "service": prefix,
        "name": prefix,
        "last_accessed_at": used_at,
        "region": "eu-west-1",
        "actions": actions,
    }


def accessed(*services: ServiceLastAccessedJson, **changes: Any) -> LastAccessedOutcomeJson:
    outcome: dict[str, Any] = {"outcome": "COMPLETED", "message": "", "services": list(services)}
    return cast("LastAccessedOutcomeJson", {**outcome, **changes})


def propose(
    access: CurrentAccessJson,
    generation: GenerationOutcomeJson | None = None,
    last_accessed: LastAccessedOutcomeJson | None = None,
    *,
    route: dict[str, Any] | None = None,
    **terms: Any,
) -> ProposalJson:
    return build_proposal(
        Evidence(
            principal_arn=access["principal_arn"],
            account_id=ACCOUNT,
            kind=access["kind"],
            current=access,
            generation=generation,
            last_accessed=last_accessed,
            route=route,
        ),
        Terms(break_glass_tag=TAG, **terms),
    )


def statements_of(proposal: ProposalJson, name: str = "") -> list[dict[str, Any]]:
    """Return the statements whose Sid has this in it, without their Sids."""
    return [
        {key: value for key, value in statement.items() if key != "Sid"}
        for part in proposal["documents"]
        for statement in part["Statement"]
        if name in statement["Sid"]
    ]


def granted(proposal: ProposalJson) -> frozenset[str]:
    return granted_actions([parse(part) for part in proposal["documents"]]).actions


def codes(proposal: ProposalJson) -> list[str]:
    return [reason["code"] for reason in proposal["reasons"]]


def reason(proposal: ProposalJson, code: str, level: str = "") -> str:
    (found,) = [each for each in proposal["reasons"] if each["code"] == code]
    assert found["what_to_do"].endswith(".")
    assert found["level"] == (level or LEVELS[code])
    return found["text"]


ADMINISTRATOR = attached(
    allow("*"),
    source="AWS managed",
    name="AdministratorAccess",
    arn="arn:aws:iam::aws:policy/AdministratorAccess",
)
# Everything but the one action that nothing can show.
POWER_USER = attached({"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"})
NOTHING = accessed(*(service(prefix, used_at=None) for prefix in load_catalogue().services))


# --- Observed ---


def test_an_observed_action_is_granted_on_what_the_trail_showed() -> None:
    seen = generated(allow("s3:GetObject", "arn:aws:s3:::orders/*"))

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert proposal["verdict"] == "review"
    assert proposal["documents"] == [
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "S3Observed1",
                    "Effect": "Allow",
                    "Action": ["s3:GetObject"],
                    "Resource": ["arn:aws:s3:::orders/*"],
                }
            ],
        }
    ]
    assert proposal["evidence"] == [
        {
            "sid": "S3Observed1",
            "basis": "observed",
            "actions": ["s3:GetObject"],
            "call_count": 0,
            "first": "",
            "last": "",
            "uses": [
                {
                    "action": "s3:GetObject",
                    "resource": "arn:aws:s3:::orders/*",
                    "count": 0,
                    "first": "",
                    "last": "",
                    "file": "",
                }
            ],
            "more_uses": 0,
            "widened": [],
            "folded": [],
            "last_accessed_at": {},
        }
    ]
    assert proposal["after"] == {"action_count": 1, "service_count": 1, "services": ["s3"]}


def test_before_and_after_are_counted_and_what_goes_is_named() -> None:
    access = current(attached(allow(["s3:GetObject", "s3:PutObject", "sqs:SendMessage"])))

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert proposal["before"] == {
        "action_count": 3,
        "service_count": 2,
        "services": ["s3", "sqs"],
    }
    assert proposal["after"] == {"action_count": 1, "service_count": 1, "services": ["s3"]}
    assert proposal["removed_services"] == ["sqs"]
    assert proposal["removed_action_count"] == 2


def test_actions_on_the_same_resources_share_a_statement() -> None:
    seen = generated(
        allow("sts:GetCallerIdentity"),
        allow(["s3:PutObject", "s3:GetObject"], "arn:aws:s3:::${BucketName}/${ObjectName}"),
        allow("s3:DeleteObject", "arn:aws:s3:::${BucketName}/${ObjectName}"),
        allow("s3:ListBucket", "arn:aws:s3:::${BucketName}"),
    )

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert statements_of(proposal) == [
        allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::*/*"]),
        allow(["s3:ListBucket"], ["arn:aws:s3:::*"]),
    ]


@pytest.mark.parametrize(
    ("actions", "sid"),
    [
        (["s3:GetObject"], "S3Observed1"),
        (["application-autoscaling:DescribeScalingPolicies"], "ApplicationAutoscalingObserved1"),
        (["s3:GetObject", "sqs:SendMessage"], "Observed1"),
        (["iam:PassRole"], "PassRole1"),
        (["iam:GetRole"], "IamObserved1"),
    ],
)
def test_a_sid_says_of_what_service_its_statement_is(actions: list[str], sid: str) -> None:
    proposal = propose(current(ADMINISTRATOR), generated(allow(actions)), NOTHING)

    (part,) = proposal["documents"]
    assert [each["Sid"] for each in part["Statement"] if "Kept" not in each["Sid"]] == [sid]
    assert proposal["evidence"][0]["sid"] == sid


def test_iam_pass_role_has_a_statement_of_its_own() -> None:
    seen = generated(allow(["iam:PassRole", "iam:GetRole"], "arn:aws:iam::1:role/x"))

    proposal = propose(current(ADMINISTRATOR), seen, NOTHING)

    assert [each["actions"] for each in proposal["evidence"]] == [["iam:GetRole"], ["iam:PassRole"]]


def test_placeholders_are_widened_and_named() -> None:
    seen = generated(
        allow("ec2:StartInstances", "arn:aws:ec2:${Region}:${Account}:instance/${InstanceId}"),
        allow("ec2:DeleteSubnet", "arn:aws:ec2:${Region}:${Account}:subnet/${SubnetId}"),
    )

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert statements_of(proposal) == [
        allow(["ec2:DeleteSubnet"], ["arn:aws:ec2:*:*:subnet/*"]),
        allow(["ec2:StartInstances"], ["arn:aws:ec2:*:*:instance/*"]),
    ]
    why = "Access Analyzer does not name it"
    assert [row["widened"] for row in proposal["evidence"]] == [
        [{"action": "ec2:DeleteSubnet", "resource": "arn:aws:ec2:*:*:subnet/*", "why": why}],
        [{"action": "ec2:StartInstances", "resource": "arn:aws:ec2:*:*:instance/*", "why": why}],
    ]
    text = reason(proposal, "RESOURCES_NOT_RECORDED", "note")
    assert "ec2:DeleteSubnet, ec2:StartInstances: they are granted more widely" in text
    assert "at most as they are today" in text
    assert "${" not in json.dumps(proposal["documents"])


def test_only_what_a_template_leaves_open_is_called_widened() -> None:
    seen = generated(
        allow("s3:GetObject", "arn:aws:s3:::orders/*"),
        allow("s3:PutObject", "arn:aws:s3:::orders/${ObjectName}"),
    )

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert statements_of(proposal) == [
        allow(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::orders/*"])
    ]
    (row,) = proposal["evidence"]
    assert [each["action"] for each in row["widened"]] == ["s3:PutObject"]


SEVERAL_TYPES = pytest.mark.parametrize(
    "resources",
    [
        ["*", "arn:aws:ec2:${Region}:${Account}:subnet/${SubnetId}"],
        [
            "arn:aws:ec2:${Region}:${Account}:instance/${InstanceId}",
            "arn:aws:ec2:${Region}:${Account}:subnet/${SubnetId}",
        ],
    ],
)


@SEVERAL_TYPES
def test_an_action_on_several_types_of_resource_stays_on_everything(resources: list[str]) -> None:
    """AWS's templates need not be all of its types: RunInstances also wants a key pair."""
    seen = generated(*(allow("ec2:RunInstances", each) for each in resources))

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert statements_of(proposal) == [allow(["ec2:RunInstances"], ["*"])]
    assert proposal["evidence"][0]["widened"] == [
        {
            "action": "ec2:RunInstances",
            "resource": "*",
            "why": "the records do not tell which: as granted today",
        }
    ]
    assert "ec2:RunInstances" in reason(proposal, "RESOURCES_NOT_RECORDED", "note")


@SEVERAL_TYPES
def test_an_action_on_several_types_of_resource_keeps_all_of_todays(resources: list[str]) -> None:
    seen = generated(*(allow("ec2:RunInstances", each) for each in resources))
    images = "arn:aws:ec2:*::image/*"
    rest = [f"arn:aws:ec2:*:{ACCOUNT}:{each}/*" for each in ("instance", "key-pair", "subnet")]
    access = current(
        attached(allow("ec2:*", images), allow(["ec2:Run*"], rest, Condition=CONDITION))
    )

    proposal = propose(access, seen, NOTHING)

    assert statements_of(proposal) == [
        allow(["ec2:RunInstances"], rest, Condition=CONDITION),
        allow(["ec2:RunInstances"], [images]),
    ]


def test_an_action_is_spelled_as_aws_does_whatever_the_evidence_writes() -> None:
    proposal = propose(current(POWER_USER), generated(allow("S3:getobject")), NOTHING)

    assert granted(proposal) == {"s3:GetObject"}
    assert statements_of(proposal)[0]["Action"] == ["s3:GetObject"]


def test_several_generated_policies_add_up() -> None:
    seen = generated(policies=[document(allow("s3:GetObject")), document(allow("sqs:SendMessage"))])

    proposal = propose(current(POWER_USER), seen, NOTHING)

    assert granted(proposal) == {"s3:GetObject", "sqs:SendMessage"}


# --- Not granted today ---


def test_what_is_not_granted_today_is_listed_and_never_added() -> None:
    access = current(attached(allow("s3:GetObject"), deny("sqs:*")))
    seen = generated(allow(["s3:GetObject", "s3:PutObject", "sqs:SendMessage"]))

    proposal = propose(access, seen, NOTHING)

    assert proposal["not_granted_today"] == ["s3:PutObject", "sqs:SendMessage"]
    assert granted(proposal) == {"s3:GetObject"}
    assert "s3:PutObject, sqs:SendMessage" in reason(proposal, "NOT_GRANTED_TODAY")


def test_a_call_that_needs_no_permission_is_no_need() -> None:
    seen = generated(allow(["s3:GetObject", "sts:GetCallerIdentity"]))

    for access in (
        current(attached(allow("s3:GetObject"))),
        current(attached(allow(["s3:GetObject", "sts:GetCallerIdentity"]))),
        current(attached(allow("s3:GetObject"), deny("sts:*"))),
    ):
        proposal = propose(access, seen, NOTHING)

        assert proposal["not_granted_today"] == []
        assert statements_of(proposal, "Observed") == [allow(["s3:GetObject"], ["*"])]
        assert "NOT_GRANTED_TODAY" not in codes(proposal)


def test_an_observed_action_the_catalogue_does_not_know_is_kept_where_todays_names_grant_it() -> (
    None
):
    access = current(
        attached(
            allow(["s3:GetObject", "S3:Teleport*"], "arn:aws:s3:::a/*", Condition=CONDITION),
            allow(["quantum:Entangle", "quantum:Forbid"]),
            deny("quantum:forb*"),
        )
    )
    seen = generated(
        allow(["s3:TeleportObject", "quantum:Entangle", "quantum:Forbid", "quantum:Split"])
    )

    proposal = propose(access, seen, NOTHING)

    assert statements_of(proposal, "Observed") == [
        allow(["quantum:Entangle"], ["*"]),
        allow(["s3:TeleportObject"], ["arn:aws:s3:::a/*"], Condition=CONDITION),
    ]
    assert granted_actions([parse(part) for part in proposal["documents"]]).unknown_patterns
    assert proposal["not_granted_today"] == ["quantum:Forbid", "quantum:Split"]
    assert "S3:Teleport*, quantum:Forbid" in reason(proposal, "UNKNOWN_ACTIONS")
    assert "quantum:Entangle" not in reason(proposal, "UNKNOWN_ACTIONS")


def test_not_action_and_a_boundary_count_for_an_action_the_catalogue_does_not_know() -> None:
    seen = generated(allow(["s3:GetObject", "s3:TeleportObject", "quantum:Entangle"]))
    rest = attached({"Effect": "Allow", "NotAction": "quantum:*", "Resource": "*"})

    proposal = propose(current(rest), seen, NOTHING)
    assert proposal["not_granted_today"] == ["quantum:Entangle"]
    bound = propose(current(POWER_USER, boundary=attached(allow("s3:Get*"))), seen, NOTHING)
    assert bound["not_granted_today"] == ["quantum:Entangle", "s3:TeleportObject"]


def test_what_todays_policies_name_and_the_catalogue_does_not_know_is_said() -> None:
    access = current(
        attached(allow(["s3:GetObject", "quantum:Entangle", "s3:Teleport*"]), deny("other:*"))
    )

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert proposal["coverage"]["unknown_patterns"] == ["quantum:Entangle", "s3:Teleport*"]
    assert "quantum:Entangle, s3:Teleport*" in reason(proposal, "UNKNOWN_ACTIONS")


@pytest.mark.parametrize(("count", "end"), [(10, None), (12, "and 2 more")])
def test_a_long_list_is_cut_in_the_reason_and_kept_in_the_proposal(
    count: int, end: str | None
) -> None:
    asked = sorted(load_catalogue().actions("sqs"))[:count]
    access = current(attached(allow("s3:GetObject")))

    proposal = propose(access, generated(allow(["s3:GetObject", *asked])), NOTHING)

    assert proposal["not_granted_today"] == asked
    text = reason(proposal, "NOT_GRANTED_TODAY")
    assert (end or asked[-1]) in text
    assert ("more" in text) is (end is not None)


# --- Conditional grants ---


def test_an_action_granted_on_some_resources_keeps_them() -> None:
    access = current(attached(allow("s3:*", ["arn:aws:s3:::b/*", "arn:aws:s3:::a/*"])))
    seen = generated(allow("s3:GetObject", "arn:aws:s3:::${BucketName}/${ObjectName}"))

    proposal = propose(access, seen, NOTHING)

    assert statements_of(proposal) == [
        allow(["s3:GetObject"], ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"])
    ]
    (row,) = proposal["evidence"]
    assert row["basis"] == "observed"
    assert [each["resource"] for each in row["widened"]] == ["arn:aws:s3:::a/*", "arn:aws:s3:::b/*"]
    assert len(row["uses"]) == 1, "one row of evidence, though it lies in two patterns"


def test_of_a_template_and_todays_resource_the_narrower_is_granted() -> None:
    access = current(attached(allow("s3:*", ["arn:aws:s3:::a/in/*", "arn:aws:s3:::b*"])))
    seen = generated(allow("s3:GetObject", "arn:aws:s3:::b/${ObjectName}"))
    wide = generated(allow("s3:GetObject", "arn:aws:s3:::${BucketName}/${ObjectName}"))

    assert statements_of(propose(access, seen, NOTHING)) == [
        allow(["s3:GetObject"], ["arn:aws:s3:::b/*"])
    ]
    assert statements_of(propose(access, wide, NOTHING)) == [
        allow(["s3:GetObject"], ["arn:aws:s3:::a/in/*", "arn:aws:s3:::b*"])
    ]


@pytest.mark.parametrize(
    "template", ["*", "arn:aws:s3:::elsewhere/${Key}", "arn:aws:s3:${Region}:${Account}:job/${Id}"]
)
def test_an_action_whose_template_is_not_todays_resource_keeps_todays(template: str) -> None:
    """Access Analyzer names a type, not what was used: cutting the action could break a call."""
    access = current(
        attached(allow("s3:*", "arn:aws:s3:::a/*"), allow("s3:Get*", "*", Condition=CONDITION))
        if template == "*"
        else attached(allow("s3:*", "arn:aws:s3:::a/*"))
    )

    proposal = propose(access, generated(allow("s3:GetObject", template)), NOTHING)

    assert allow(["s3:GetObject"], ["arn:aws:s3:::a/*"]) in statements_of(proposal)
    assert proposal["not_granted_today"] == []
    assert ("RESOURCES_NOT_RECORDED" in codes(proposal)) is (template != "*")


def test_an_action_without_resources_is_granted_where_today_grants_it() -> None:
    access = current(
        attached(allow("ec2:*", "arn:aws:ec2:*:*:instance/*"), allow("ec2:Describe*")),
    )

    proposal = propose(access, generated(allow("ec2:DescribeInstances")), NOTHING)

    assert statements_of(proposal) == [allow(["ec2:DescribeInstances"], ["*"])]


def test_an_action_granted_under_conditions_keeps_each_of_them() -> None:
    access = current(
        attached(allow("s3:*", Condition=CONDITION)),
        attached(
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject"],
                "NotResource": "arn:aws:s3:::secret/*",
            }
        ),
    )

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert statements_of(proposal) == [
        allow(["s3:GetObject"], ["*"], Condition=CONDITION),
        {"Effect": "Allow", "Action": ["s3:GetObject"], "NotResource": ["arn:aws:s3:::secret/*"]},
    ]


def test_statements_that_differ_in_their_actions_only_become_one() -> None:
    access = current(
        attached(allow("s3:Get*", Condition=CONDITION)),
        attached(allow("s3:Put*", Condition=CONDITION)),
    )

    proposal = propose(access, generated(allow(["s3:GetObject", "s3:PutObject"])), NOTHING)

    assert statements_of(proposal) == [
        allow(["s3:GetObject", "s3:PutObject"], ["*"], Condition=CONDITION)
    ]


def test_an_action_that_a_deny_narrows_keeps_the_deny() -> None:
    secret = deny("s3:*", "arn:aws:s3:::secret/*", Sid="Guard")
    access = current(attached(allow("s3:*"), secret))

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert statements_of(proposal, "Observed") == [allow(["s3:GetObject"], ["*"])]
    assert statements_of(proposal, "KeptDeny") == [deny(["s3:*"], ["arn:aws:s3:::secret/*"])]
    assert [row["basis"] for row in proposal["evidence"]] == ["observed", "kept: deny"]


def test_every_deny_is_kept_as_it_is() -> None:
    guard = {
        "Effect": "Deny",
        "NotAction": ["iam:Get*", "sts:*"],
        "NotResource": ["arn:aws:s3:::x"],
        "Condition": CONDITION,
    }
    access = current(attached(allow("*")), attached(guard), attached(deny("iam:*"), name="other"))

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert statements_of(proposal, "KeptDeny") == [deny(["iam:*"], ["*"]), guard]
    assert proposal["no_new_access"] is not None
    assert proposal["no_new_access"]["result"] == "proved"


# --- Kept ---


def test_a_service_that_aws_does_not_track_is_kept_where_it_was_used() -> None:
    access = current(attached(allow(["s3:Get*", "sqs:SendMessage", "dynamodb:GetItem"])))
    services = accessed(service("s3"), service("dynamodb", used_at=None))

    proposal = propose(access, generated(allow("sqs:SendMessage")), services)

    kept = load_catalogue().expand("s3:Get*")
    assert statements_of(proposal, "KeptNotObservable") == [allow(sorted(kept), ["*"])]
    assert granted(proposal) == kept | {"sqs:SendMessage"}
    assert proposal["evidence"][1]["basis"] == "kept: not observable"
    assert proposal["evidence"][1]["last_accessed_at"] == {"s3": USED_AT}
    assert f"{len(kept)} actions of s3" in reason(proposal, "KEPT_NOT_OBSERVABLE")


def test_of_a_tracked_service_the_untracked_actions_are_kept_and_the_unused_ones_go() -> None:
    access = current(attached(allow(["s3:GetObject", "s3:CreateBucket", "s3:DeleteBucket"])))
    services = accessed(
        service("s3", {"CreateBucket": USED_AT, "DeleteBucket": None, "ListAllMyBuckets": USED_AT})
    )

    proposal = propose(access, generated(), services)

    assert statements_of(proposal, "KeptLastAccessed") == [allow(["s3:CreateBucket"], ["*"])]
    assert statements_of(proposal, "KeptNotObservable") == [allow(["s3:GetObject"], ["*"])]
    assert granted(proposal) == {"s3:CreateBucket", "s3:GetObject"}
    assert "s3:CreateBucket" in reason(proposal, "KEPT_LAST_ACCESSED")


def test_names_of_last_accessed_information_are_compared_without_case() -> None:
    access = current(attached(allow(["s3:CreateBucket", "s3:DeleteBucket"])))
    services = accessed(service("s3", {"createbucket": USED_AT, "DELETEBUCKET": None}))

    proposal = propose(access, generated(), services)

    assert granted(proposal) == {"s3:CreateBucket"}


def test_an_action_that_was_observed_is_not_kept_a_second_time() -> None:
    access = current(attached(allow("s3:CreateBucket")))
    services = accessed(service("s3", {"CreateBucket": USED_AT}))

    proposal = propose(access, generated(allow("s3:CreateBucket")), services)

    assert [row["basis"] for row in proposal["evidence"]] == ["observed"]
    assert proposal["evidence"][0]["last_accessed_at"] == {
        "s3": USED_AT,
        "s3:CreateBucket": USED_AT,
    }


def test_what_is_kept_keeps_todays_resources_and_conditions() -> None:
    access = current(attached(allow("s3:GetObject", "arn:aws:s3:::a/*", Condition=CONDITION)))

    proposal = propose(access, generated(), accessed(service("s3")))

    assert statements_of(proposal) == [
        allow(["s3:GetObject"], ["arn:aws:s3:::a/*"], Condition=CONDITION)
    ]


def test_nothing_of_a_service_is_kept_that_is_not_granted() -> None:
    access = current(attached(allow("s3:GetObject")))

    proposal = propose(access, generated(), accessed(service("s3"), service("sqs")))

    assert granted(proposal) == {"s3:GetObject"}


# --- Shapes of today's policies ---


def test_not_action_is_read_as_all_the_rest() -> None:
    access = current(attached({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}))
    seen = generated(allow(["s3:GetObject", "iam:CreateRole"]))

    proposal = propose(access, seen, NOTHING)

    assert granted(proposal) == {"s3:GetObject"}
    assert proposal["not_granted_today"] == ["iam:CreateRole"]


def test_a_conditional_not_action_becomes_the_actions_it_was_needed_for() -> None:
    power = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*", "Condition": CONDITION}

    proposal = propose(
        current(attached(power)), generated(allow(["s3:GetObject", "sqs:SendMessage"])), NOTHING
    )

    assert statements_of(proposal) == [
        allow(["s3:GetObject", "sqs:SendMessage"], ["*"], Condition=CONDITION)
    ]


def test_a_boundary_limits_what_is_granted_before_and_after() -> None:
    boundary = attached(allow("s3:*"), deny("s3:DeleteBucket"), source="customer managed")
    access = current(POWER_USER, boundary=boundary)
    seen = generated(allow(["s3:GetObject", "s3:DeleteBucket", "sqs:SendMessage"]))

    proposal = propose(access, seen, NOTHING)

    assert proposal["before"] is not None
    assert proposal["before"]["services"] == ["s3"]
    assert proposal["before"]["action_count"] == len(load_catalogue().actions("s3")) - 1
    assert proposal["not_granted_today"] == ["s3:DeleteBucket", "sqs:SendMessage"]
    assert granted(proposal) == {"s3:GetObject"}
    assert statements_of(proposal, "KeptDeny") == [], "the boundary stays attached"


def test_an_action_that_the_boundary_makes_conditional_keeps_the_policys_own_frame() -> None:
    boundary = attached(allow("s3:*", "arn:aws:s3:::inside/*"))
    access = current(attached(allow("s3:*")), boundary=boundary)

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)
    assert statements_of(proposal) == [allow(["s3:GetObject"], ["*"])]

    seen = generated(allow("s3:GetObject", "arn:aws:s3:::${BucketName}/${ObjectName}"))
    assert statements_of(propose(access, seen, NOTHING)) == [
        allow(["s3:GetObject"], ["arn:aws:s3:::*/*"])
    ]


def test_what_comes_through_a_group_counts_and_is_named() -> None:
    access = current(
        attached(allow("s3:GetObject")),
        attached(allow("sqs:*"), name="queues", group="Developers"),
        kind="user",
        principal_arn=f"arn:aws:iam::{ACCOUNT}:user/mary",
    )

    proposal = propose(access, generated(allow(["s3:GetObject", "sqs:SendMessage"])), NOTHING)

    assert granted(proposal) == {"s3:GetObject", "sqs:SendMessage"}
    assert proposal["difference"] is not None
    queues = load_catalogue().actions("sqs")
    assert [
        (each["source"], each["name"], each["arn"], each["group"], each["kept_action_count"],
         each["removed_action_count"])
        for each in proposal["difference"]["sources"]
    ] == [
        ("inline", "permissions", None, None, 1, 0),
        ("inline", "queues", None, "Developers", 1, len(queues) - 1),
    ]  # fmt: skip


def test_a_policy_that_is_none_is_not_judged() -> None:
    broken = attached(document={"Statement": [{"Effect": "Allow"}]})

    with pytest.raises(PolicyParseError, match="neither Action nor NotAction"):
        propose(current(broken), generated(), NOTHING)


# --- Size ---


def in_documents(proposal: ProposalJson) -> list[int]:
    sizes = [size_in_characters(parse(part)) for part in proposal["documents"]]
    assert max(sizes) <= MANAGED_POLICY_LIMIT
    assert proposal["packing"] is not None
    assert proposal["packing"]["sizes"] == sizes
    assert proposal["packing"]["policy_count"] == len(sizes)
    return sizes


def test_a_long_proposal_is_split_and_grants_the_same() -> None:
    access = current(attached(allow("ec2:*", Condition=CONDITION), deny("ec2:RunInstances")))

    proposal = propose(access, generated(), accessed(service("ec2")), packing="never")

    assert len(in_documents(proposal)) > 1
    assert granted(proposal) == load_catalogue().actions("ec2") - {"ec2:RunInstances"}
    assert proposal["after"] == counts(granted(proposal))
    assert "WILDCARDS" not in codes(proposal)


def test_a_long_proposal_is_packed_with_wildcards_that_grant_the_same() -> None:
    access = current(attached(allow("ec2:*", Condition=CONDITION), deny("ec2:RunInstances")))

    proposal = propose(access, generated(), accessed(service("ec2")))

    assert len(in_documents(proposal)) == 1
    assert proposal["packing"] is not None
    assert proposal["packing"]["plain_size"] > MANAGED_POLICY_LIMIT
    assert granted(proposal) == load_catalogue().actions("ec2") - {"ec2:RunInstances"}
    assert proposal["after"] == counts(granted(proposal))
    assert f"{len(proposal['packing']['wildcards'])} wildcards" in reason(proposal, "WILDCARDS")
    assert load_catalogue().version in reason(proposal, "WILDCARDS", "note")
    kept = next(each for each in proposal["evidence"] if each["basis"] == "kept: not observable")
    assert len(kept["actions"]) == len(granted(proposal)), "the evidence names every action"


def test_a_proposal_that_fits_names_every_action() -> None:
    proposal = propose(current(attached(allow("sqs:*"))), generated(), accessed(service("sqs")))

    assert statements_of(proposal) == [allow(sorted(load_catalogue().actions("sqs")), ["*"])]
    assert "WILDCARDS" not in codes(proposal)


def test_a_long_list_of_buckets_is_split() -> None:
    """Nothing in it can be packed: names differ from their first letter."""
    buckets = sorted(f"arn:aws:s3:::{chr(97 + n % 26)}{n}-{'x' * 40}/*" for n in range(150))

    proposal = propose(
        current(attached(allow("s3:*", buckets))), generated(), accessed(service("s3"))
    )

    assert len(in_documents(proposal)) > 1
    assert proposal["after"] == counts(granted(proposal)) == proposal["before"]


# --- Reasons to review ---


def test_a_proposal_is_for_review_because_calls_were_not_replayed() -> None:
    access = current(attached(allow(["s3:GetObject", "s3:PutObject"])))

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert proposal["verdict"] == "review"
    assert codes(proposal) == ["NOT_REPLAYED"]


def test_an_incomplete_generation_is_said() -> None:
    for is_complete, said in ((False, True), (True, False), (None, False)):
        seen = generated(allow("s3:GetObject"), is_complete=is_complete)

        proposal = propose(current(POWER_USER), seen, NOTHING)

        assert ("NOT_COMPLETE" in codes(proposal)) is said


@pytest.mark.parametrize("first_date", ["2026-10-02", None])
def test_a_window_that_was_narrowed_is_said(first_date: str | None) -> None:
    route = {"route": "access-analyzer", "reason": "too much", "waits": True}
    if first_date:
        route["first_date"] = first_date

    proposal = propose(current(POWER_USER), generated(allow("s3:GetObject")), NOTHING, route=route)

    assert proposal["coverage"]["route"] == route
    assert ("SHORT_WINDOW" in codes(proposal)) is (first_date is not None)
    if first_date:
        assert f"from {first_date} on" in reason(proposal, "SHORT_WINDOW", "review")


@pytest.mark.parametrize("last", [NOTHING, accessed(service("iam", {"PassRole": None}))])
def test_pass_role_is_kept_as_it_is_granted(last: LastAccessedOutcomeJson) -> None:
    roles = ["arn:aws:iam::111122223333:role/etl/*"]
    access = current(
        attached(allow("s3:GetObject"), allow("iam:Pass*", roles, Condition=CONDITION))
    )

    proposal = propose(access, generated(allow("s3:GetObject")), last)

    assert statements_of(proposal, "KeptNotObservable") == [
        allow(["iam:PassRole"], roles, Condition=CONDITION)
    ]
    assert "every role" not in reason(proposal, "PASS_ROLE_KEPT", "note")
    assert "KEPT_NOT_OBSERVABLE" not in codes(proposal)


def test_pass_role_that_access_analyzer_names_stays_on_todays_roles() -> None:
    roles = ["arn:aws:iam::111122223333:role/etl/*"]
    access = current(
        attached(allow("s3:GetObject"), allow("iam:Pass*", roles, Condition=CONDITION))
    )
    seen = generated(allow("iam:PassRole", "arn:aws:iam::${Account}:role/${RoleName}"))

    proposal = propose(access, seen, NOTHING)

    assert statements_of(proposal, "PassRole") == [
        allow(["iam:PassRole"], roles, Condition=CONDITION)
    ]
    assert granted(proposal) == {"iam:PassRole"}


def test_pass_role_for_every_role_is_said() -> None:
    seen = generated(allow("s3:GetObject"))

    proposal = propose(current(ADMINISTRATOR), seen, NOTHING)

    assert statements_of(proposal, "KeptNotObservable") == [allow(["iam:PassRole"], ["*"])]
    assert "granted today, for every role" in reason(proposal, "PASS_ROLE_KEPT", "review")
    assert "KEPT_NOT_OBSERVABLE" not in codes(proposal)
    for access in (
        current(ADMINISTRATOR, attached(deny("iam:PassRole", "arn:aws:iam::*:role/admin"))),
        current(ADMINISTRATOR, boundary=attached(allow("*", "arn:aws:iam::*:role/app/*"))),
    ):
        text = reason(propose(access, seen, NOTHING), "PASS_ROLE_KEPT", "note")
        assert "every role" not in text
    for access in (current(POWER_USER), current(ADMINISTRATOR, attached(deny("iam:PassRole")))):
        assert "PASS_ROLE_KEPT" not in codes(propose(access, seen, NOTHING))


def test_more_policies_than_can_be_attached_are_said() -> None:
    largest = sorted(
        load_catalogue().services, key=lambda each: -len(load_catalogue().actions(each))
    )
    last = accessed(*(service(prefix) for prefix in largest[:40]))

    for kind, limit in (("user", 10), ("role", 20)):
        proposal = propose(current(ADMINISTRATOR, kind=kind), generated(), last, packing="never")

        number = len(in_documents(proposal))
        assert number > limit
        assert f"{number} policies are more than the {limit}" in reason(
            proposal, "TOO_MANY_POLICIES"
        )
        packed = propose(current(ADMINISTRATOR, kind=kind), generated(), last)
        assert "TOO_MANY_POLICIES" not in codes(packed)
        assert granted(packed) == granted(proposal)


# --- Services IAM did not report on ---


def test_a_service_that_iam_did_not_report_on_is_kept_where_the_grant_names_it() -> None:
    access = current(attached(allow("sqs:Send*", "arn:aws:sqs:*:*:q"), allow("s3:GetObject")))

    proposal = propose(access, generated(allow("s3:GetObject")), accessed())

    assert statements_of(proposal, "KeptNotObservable") == [
        allow(["sqs:SendMessage"], ["arn:aws:sqs:*:*:q"])
    ]
    assert "SERVICES_NOT_REPORTED" not in codes(proposal)


def test_a_service_that_only_a_bare_wildcard_grants_goes_and_is_said_to_be_unknown() -> None:
    last = accessed(*(each for each in NOTHING["services"] if each["service"] not in {"s3", "sqs"}))

    proposal = propose(current(POWER_USER), generated(allow("s3:GetObject")), last)

    assert granted(proposal) == load_catalogue().actions("s3"), "the trail shows that it is used"
    assert "sqs" in proposal["removed_services"]
    assert "Nothing tells whether sqs were used" in reason(proposal, "SERVICES_NOT_REPORTED")


# --- Old versions ---


@pytest.mark.parametrize("version", [{"Version": "2008-10-17"}, {}])
def test_what_is_text_in_an_old_version_stays_text(version: dict[str, str]) -> None:
    condition = {"StringLike": {"s3:prefix": ["${aws:username}/*"]}}
    statements = [
        allow("s3:GetObject", "arn:aws:s3:::a/${aws:username}", Condition=condition),
        {
            "Effect": "Deny",
            "Action": "s3:*",
            "NotResource": ["arn:aws:s3:::a/${*}", "arn:aws:s3:::a/${aws:username}"],
        },
    ]
    old = attached(document={**version, "Statement": statements})

    proposal = propose(current(old), generated(allow("s3:GetObject")), NOTHING)

    assert statements_of(proposal) == [
        allow(
            ["s3:GetObject"],
            ["arn:aws:s3:::a/${$}{aws:username}"],
            Condition={"StringLike": {"s3:prefix": ["${$}{aws:username}/*"]}},
        ),
        {
            "Effect": "Deny",
            "Action": ["s3:*"],
            "NotResource": ["arn:aws:s3:::a/${$}{*}", "arn:aws:s3:::a/${$}{aws:username}"],
        },
    ]
    mary = {"kind": "user", "principal_arn": f"arn:aws:iam::{ACCOUNT}:user/mary"}
    access = current(attached(*statements), **mary)
    today = propose(access, generated(allow("s3:GetObject")), NOTHING)
    assert "a/${aws:username}" in json.dumps(statements_of(today, "Observed"))
    assert "${$}" not in json.dumps(today["documents"])


def test_a_principal_that_needs_all_it_has_hears_so() -> None:
    access = current(attached(allow(["s3:GetObject", "s3:PutObject"])))

    proposal = propose(access, generated(allow(["s3:GetObject", "s3:PutObject"])), NOTHING)

    assert proposal["removed_action_count"] == 0
    assert proposal["removed_services"] == []
    assert "NOTHING_TO_REMOVE" in codes(proposal)


# --- Refused ---


def refused(proposal: ProposalJson) -> str:
    """Return the code of the one reason of a refusal, which carries no policy."""
    assert proposal["verdict"] == "refused"
    assert proposal["documents"] == []
    assert proposal["evidence"] == []
    assert proposal["after"] is None
    assert proposal["removed_services"] == []
    assert proposal["removed_action_count"] == 0
    for name in ("difference", "no_new_access", "packing"):
        assert proposal[name] is None, name
    (only,) = proposal["reasons"]
    assert only["level"] == "refused"
    assert only["text"]
    assert only["what_to_do"].endswith(".")
    return only["code"]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_principal_that_must_not_be_narrowed_gets_no_proposal(kind: Kind) -> None:
    tags = {TAG: "true"} if kind in {"user", "role"} else {}

    proposal = propose(current(ADMINISTRATOR, kind=kind, tags=tags))

    assert refused(proposal) == "NOT_NARROWED"
    assert proposal["before"] is not None
    assert proposal["before"]["action_count"] == len(load_catalogue().expand("*"))


@pytest.mark.parametrize("kind", ["service-linked role", "Identity Center role", "bootstrap role"])
def test_no_evidence_changes_that(kind: Kind) -> None:
    access = current(POWER_USER, kind=kind)

    assert refused(propose(access, generated(allow("s3:GetObject")), NOTHING)) == "NOT_NARROWED"


@pytest.mark.parametrize("outcome", sorted(NO_GENERATION))
def test_each_end_of_policy_generation_without_a_policy_is_refused(outcome: str) -> None:
    ended = generated(outcome=outcome, message="AWS's own words", policies=[], is_complete=None)

    proposal = propose(current(POWER_USER), ended, accessed(service("s3")))

    assert refused(proposal) == outcome
    assert proposal["reasons"][0]["text"].endswith("AWS's own words")
    assert proposal["reasons"][0]["what_to_do"] == NO_GENERATION[outcome]
    assert proposal["coverage"]["policy_generation"]["outcome"] == outcome


@pytest.mark.parametrize("outcome", ["States.Timeout", "Lambda.Unknown", "KeyError"])
def test_an_end_nobody_foresaw_is_refused_under_its_name(outcome: str) -> None:
    ended = generated(outcome=outcome, policies=[])

    assert refused(propose(current(POWER_USER), ended, NOTHING)) == outcome


@pytest.mark.parametrize(
    "outcome", ["AccessAnalyzerQuotaError", "ThrottledError", "EvidenceError", "States.Timeout"]
)
def test_an_error_of_ours_gives_the_advice_it_gives_everywhere(outcome: str) -> None:
    proposal = propose(current(ADMINISTRATOR), generated(outcome=outcome, policies=[]), NOTHING)

    assert proposal["reasons"][0]["what_to_do"] == what_to_do(outcome)


def test_policies_of_a_job_that_did_not_succeed_do_not_count() -> None:
    ended = generated(allow("s3:GetObject"), outcome="CANCELED")

    assert refused(propose(current(POWER_USER), ended, NOTHING)) == "CANCELED"


def test_no_generation_and_no_activity_at_all_is_refused() -> None:
    proposal = propose(current(POWER_USER), None, NOTHING)

    assert refused(proposal) == "NO_EVIDENCE"
    assert proposal["reasons"][0]["text"].endswith("so there is no proposal.")
    assert "pare backfill" in proposal["reasons"][0]["what_to_do"]


@pytest.mark.parametrize(
    "unknown", [None, accessed(outcome="LastAccessedError", message="the job failed")]
)
def test_without_last_accessed_information_nothing_may_be_cut(
    unknown: LastAccessedOutcomeJson | None,
) -> None:
    proposal = propose(current(POWER_USER), generated(allow("s3:GetObject")), unknown)

    assert refused(proposal) == "LAST_ACCESSED_UNKNOWN"


@pytest.mark.parametrize(
    "access",
    [
        current(POWER_USER),
        current(),
        current(attached(allow("s3:*"), deny("s3:*"))),
        current(attached(allow("sqs:*"))),
    ],
)
def test_a_principal_nobody_saw_is_refused_not_stripped(access: CurrentAccessJson) -> None:
    proposal = propose(access, generated(), accessed(service("s3", used_at=None)))

    assert refused(proposal) == "NO_ACTIVITY"


def test_calls_that_were_all_refused_are_no_activity_and_are_listed() -> None:
    access = current(attached(allow("sqs:*")))

    proposal = propose(access, generated(allow("s3:GetObject")), NOTHING)

    assert refused(proposal) == "NO_ACTIVITY"
    assert proposal["not_granted_today"] == ["s3:GetObject"]
    assert "s3:GetObject" in proposal["reasons"][0]["text"]


# --- AWS's own checks ---

PASSED = {"result": "PASS", "message": "", "reasons": []}


def finding(kind: str) -> dict[str, Any]:
    return {"type": kind, "code": "A_CODE", "details": "Details.", "link": "https://example.com"}


@pytest.fixture
def unchecked() -> ProposalJson:
    return propose(current(POWER_USER), generated(allow("s3:GetObject")), NOTHING)


def test_a_proposal_that_passes_stays_as_it_is(unchecked: ProposalJson) -> None:
    warnings = [finding("WARNING"), finding("SUGGESTION")]

    checked = with_checks(unchecked, warnings, PASSED)

    assert checked["coverage"] == {
        **unchecked["coverage"],
        "validate_policy": warnings,
        "check_no_new_access": PASSED,
    }
    assert {**checked, "coverage": unchecked["coverage"]} == unchecked


def test_a_check_is_seen_to_have_been_made(unchecked: ProposalJson) -> None:
    before = json.dumps(unchecked, sort_keys=True)

    checked = with_checks(unchecked, [], PASSED)

    assert (is_checked(unchecked), is_checked(checked)) == (False, True)
    assert json.dumps(unchecked, sort_keys=True) == before, "what was given stays as it was"


def test_a_policy_iam_would_not_take_is_refused_without_it(unchecked: ProposalJson) -> None:
    checked = with_checks(unchecked, [finding("WARNING"), finding("ERROR")], PASSED)

    assert checked["verdict"] == "refused"
    assert checked["documents"] == []
    assert checked["evidence"] == []
    assert checked["after"] is None
    assert (checked["removed_services"], checked["removed_action_count"]) == ([], 0)
    assert "A_CODE: Details." in reason(checked, "INVALID_POLICY")


@pytest.mark.parametrize(
    ("message", "shown"),
    [("New access in statement 0.", "New access in statement 0."), ("", "no explanation")],
)
def test_new_access_is_a_reason_to_review(
    unchecked: ProposalJson, message: str, shown: str
) -> None:
    checked = with_checks(unchecked, [], {"result": "FAIL", "message": message, "reasons": []})

    assert checked["verdict"] == "review"
    assert checked["documents"] == unchecked["documents"]
    assert shown in reason(checked, "NEW_ACCESS")


def test_a_security_warning_is_a_reason_to_review(unchecked: ProposalJson) -> None:
    findings = [finding("WARNING"), finding("SECURITY_WARNING"), finding("SECURITY_WARNING")]

    checked = with_checks(unchecked, findings, PASSED)

    assert checked["verdict"] == "review"
    assert "2 security warnings, the first of them A_CODE" in reason(checked, "SECURITY_WARNING")


def test_a_check_that_could_not_be_made_is_unknown(unchecked: ProposalJson) -> None:
    checked = with_checks(unchecked, None, None, refusals=["AWS's words", "and more"])

    assert checked["documents"] == unchecked["documents"]
    assert checked["coverage"]["validate_policy"] == "unknown"
    assert checked["coverage"]["check_no_new_access"] == "unknown"
    assert "AWS's words; and more" in reason(checked, "CHECK_UNKNOWN")
    assert is_checked(checked)


# --- One whole proposal ---


def everything() -> tuple[CurrentAccessJson, GenerationOutcomeJson, LastAccessedOutcomeJson]:
    access = current(
        attached(
            allow(["dynamodb:*Table", "dynamodb:ListTables", "dynamodb:GetItem"]),
            allow(["sqs:*", "sns:*", "ses:*", "iam:PassRole", "old:Thing", "older:Thing"]),
            allow("kms:*crypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/*", Condition=CONDITION),
            deny("dynamodb:DeleteTable", Sid="Guard"),
        ),
        attached(
            allow(["s3:GetObject", "s3:*Bucket"], ["arn:aws:s3:::orders", "arn:aws:s3:::orders/*"]),
            source="customer managed",
            name="orders",
            arn=f"arn:aws:iam::{ACCOUNT}:policy/orders",
        ),
        boundary=attached(
            {"Effect": "Allow", "NotAction": "organizations:*", "Resource": "*"},
            source="customer managed",
            name="Boundary",
            arn=f"arn:aws:iam::{ACCOUNT}:policy/Boundary",
        ),
    )
    seen = generated(
        allow("dynamodb:CreateTable", "arn:aws:dynamodb:${Region}:${Account}:table/${TableName}"),
        allow(
            "dynamodb:DescribeTable",
            [
                "arn:aws:dynamodb:${Region}:${Account}:table/${TableName}",
                "arn:aws:dynamodb:${Region}:${Account}:global-table/${GlobalTableName}",
                "arn:aws:dynamodb:eu-west-1:${Account}:table/${TableName}",
            ],
        ),
        allow(["kms:Decrypt", "ec2:DescribeInstances", "ec2:RunInstances", "ec2:StopInstances"]),
        is_complete=False,
    )
    last = accessed(
        service(
            "dynamodb",
            {
                "CreateTable": None,
                "DescribeTable": USED_AT,
                "ImportTable": USED_AT,
                "ListTables": USED_AT,
                "RestoreTable": USED_AT,
                "UpdateTable": USED_AT,
            },
        ),
        service("kms", {"Decrypt": USED_AT, "Encrypt": None}),
        service("s3", {"CreateBucket": None}),
        *(service(prefix, {}, used_at=None) for prefix in ("sqs", "sns", "ses")),
    )
    return access, seen, last


def test_a_whole_proposal(golden: Callable[[str, Any], None]) -> None:
    golden("proposal.json", propose(*everything()))


def test_same_input_same_bytes_whatever_order_the_evidence_came_in() -> None:
    access, seen, last = everything()
    turned = generated(
        *reversed(seen["policies"][0]["Statement"]), is_complete=False, trail=seen["trail"]
    )
    turned["policies"][0]["Statement"][0]["Action"].reverse()
    turned["policies"][0]["Statement"][1]["Resource"].reverse()

    one = json.dumps(propose(access, seen, last))
    other = json.dumps(propose(access, turned, accessed(*reversed(last["services"]))))

    assert one == other == json.dumps(propose(access, seen, last))


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_same_input_same_bytes_in_another_process(seed: str) -> None:
    """Where a set orders the text of another."""
    program = (
        "import json; from tests.unit.policy import test_proposal as t; "
        "print(json.dumps(t.propose(*t.everything())))"
    )

    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert other == json.dumps(propose(*everything())) + "\n"


# --- Properties, over many policies ---
#
# Requests are judged here by a small evaluator of its own: IAM's logic for identity-based policies
# and a boundary, conditions as facts that hold or do not.

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:CreateBucket", "sqs:SendMessage", "iam:PassRole"]
PATTERNS = [*ACTIONS, "*", "s3:*", "s3:Get*", "sqs:*", "s?s:Send*", "iam:Pass*", "none:Such"]
RESOURCES = ["*", "arn:aws:s3:::a/*", "arn:aws:s3:::a/secret", "arn:aws:sqs:*:*:q"]
CONDITIONS = [{}, CONDITION, {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}]
TEMPLATES = ["*", "arn:aws:s3:::${BucketName}/${ObjectName}", "arn:aws:sqs:${Region}:${Account}:q"]
REQUESTED = ["arn:aws:s3:::a/open", "arn:aws:s3:::a/secret", "arn:aws:sqs:eu-west-1:1:q", "x"]

policy_statements = st.builds(
    lambda effect, action, actions, resource, resources, condition: {
        "Effect": effect,
        action: actions,
        resource: resources,
        "Condition": condition,
    },
    st.sampled_from(["Allow", "Allow", "Allow", "Deny"]),
    st.sampled_from(["Action", "Action", "Action", "NotAction"]),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    st.sampled_from(["Resource", "Resource", "Resource", "NotResource"]),
    st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=2),
    st.sampled_from(CONDITIONS),
)
policy_documents = st.lists(policy_statements, max_size=3).map(lambda each: document(*each))
accesses = st.builds(
    lambda parts, boundary: current(
        *(attached(document=part) for part in parts),
        boundary=None if boundary is None else attached(document=boundary),
    ),
    st.lists(policy_documents, min_size=1, max_size=3),
    st.none() | policy_documents,
)
generations = st.lists(
    st.builds(
        allow,
        st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3),
        st.lists(st.sampled_from(TEMPLATES), min_size=1, max_size=2),
    ),
    max_size=3,
).map(lambda each: generated(*each))
last_accesses = st.lists(
    st.builds(
        service,
        st.sampled_from(["s3", "sqs", "iam"]),
        st.none()
        | st.dictionaries(
            st.sampled_from([action.partition(":")[2] for action in ACTIONS]),
            st.none() | st.just(USED_AT),
        ),
        st.none() | st.just(USED_AT),
    ),
    unique_by=lambda each: each["service"],
    max_size=3,
).map(lambda each: accessed(*each))


def matches(patterns: list[str], text: str) -> bool:
    return any(re.fullmatch(wildcard_regex(pattern.lower()), text.lower()) for pattern in patterns)


def speaks_of(statement: dict[str, Any], action: str, resource: str, facts: str) -> bool:
    """Return whether a statement applies to a request; ``facts`` are the conditions that hold."""
    for positive, negative, asked in (
        ("Action", "NotAction", action),
        ("Resource", "NotResource", resource),
    ):
        if positive in statement and not matches(_list(statement[positive]), asked):
            return False
        if negative in statement and matches(_list(statement[negative]), asked):
            return False
    condition = statement.get("Condition")
    return not condition or json.dumps(condition, sort_keys=True) in facts


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def is_allowed(
    documents: list[dict[str, Any]],
    boundary: dict[str, Any] | None,
    request: tuple[str, str, str],
) -> bool:
    def says(parts: list[dict[str, Any]], effect: str) -> bool:
        return any(
            statement["Effect"] == effect and speaks_of(statement, *request)
            for part in parts
            for statement in part["Statement"]
        )

    bounds = [] if boundary is None else [boundary]
    return (
        says(documents, "Allow")
        and (boundary is None or says(bounds, "Allow"))
        and not says([*documents, *bounds], "Deny")
    )


FACTS = ["", *(json.dumps(each, sort_keys=True) for each in CONDITIONS[1:])]
REQUESTS = list(product([*ACTIONS, "ec2:RunInstances"], REQUESTED, [*FACTS, "".join(FACTS)]))


@settings(max_examples=200, deadline=None)
@given(accesses, generations, last_accesses)
def test_a_proposal_never_allows_what_was_not_allowed_and_keeps_what_was_used(
    access: CurrentAccessJson,
    generation: GenerationOutcomeJson,
    last_accessed: LastAccessedOutcomeJson,
) -> None:
    proposal = propose(access, generation, last_accessed)
    before = [policy["document"] for policy in access["policies"]]
    boundary = access["boundary"]["document"] if access["boundary"] else None
    today = granted_actions(
        [parse(each) for each in before], boundary=parse(boundary) if boundary else None
    )
    templates: dict[str, set[str]] = {}
    for part in generation["policies"]:
        for each in part["Statement"]:
            for action in each["Action"]:
                templates.setdefault(action, set()).update(each["Resource"])
    observed = set(templates)
    after = granted_actions(
        [parse(part) for part in proposal["documents"]],
        boundary=parse(boundary) if boundary else None,
    ).actions
    was_allowed = {each for each in REQUESTS if is_allowed(before, boundary, each)}

    # The count leaves a grant on nothing (NotResource: "*") in, the proposal does not.
    not_granted = set(proposal["not_granted_today"])
    assert observed - today.actions <= not_granted <= observed
    assert not not_granted & {action for action, _, _ in was_allowed}
    if proposal["verdict"] == "refused":
        assert proposal["documents"] == []
        assert not observed & {action for action, _, _ in was_allowed}
        return
    assert proposal["after"] == counts(after)
    assert after <= today.actions
    assert observed - not_granted == {
        action
        for row in proposal["evidence"]
        if row["basis"] == "observed"
        for action in row["actions"]
    }
    assert proposal["no_new_access"] is not None
    assert proposal["no_new_access"]["result"] != "additions"
    kept = {
        action
        for each in last_accessed["services"]
        if each["last_accessed_at"]
        for action in ACTIONS
        if action.startswith(f"{each['service']}:")
        and (each["actions"] or {}).get(action.partition(":")[2], USED_AT)
    }
    for request in REQUESTS:
        is_now = is_allowed(proposal["documents"], boundary, request)
        assert request in was_allowed or not is_now, ("new access", request)
        action, resource, _ = request
        if action in observed:
            named = templates[action]
            (template,) = named if len(named) == 1 else ("*",)  # of several, none is all of it
            if matches([re.sub(r"\$\{[^}]*\}", "*", template)], resource):
                assert is_now == (request in was_allowed), ("lost a use", request)
        elif action in kept:
            assert is_now == (request in was_allowed), ("lost access", request)
