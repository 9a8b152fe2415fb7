"""From observed calls to statements: resources, folds, widenings, groups and names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.policy.access import Access
from pare.policy.document import PolicyDocument
from pare.policy.evaluate import Request
from pare.policy.observed import Observed
from pare.policy.statements import (
    MAX_USES_SHOWN,
    Basic,
    Rules,
    as_pattern,
    named,
    observed_statements,
    type_patterns,
    with_passed_to_service,
)
from tests.unit.policy.evidence_builders import (
    ACCOUNT,
    FIRST,
    LAST,
    OFFICE,
    REGION,
    TLS,
    allow,
    calls,
    refused,
    today,
    use,
)

if TYPE_CHECKING:
    from tests.unit.policy.evidence_builders import Json, Made

A, B, ALL = "arn:aws:s3:::orders/a", "arn:aws:s3:::orders/b", "arn:aws:s3:::orders/*"
ROLES = f"arn:aws:iam::{ACCOUNT}:role/"
LAMBDA, EC2 = "lambda.amazonaws.com", "ec2.amazonaws.com"
Said = tuple[tuple[str, ...], tuple[str, ...] | None, "Json"]


def basics(*made: Made, access: Access | None = None, fold_after: int | None = 20) -> list[Basic]:
    found = calls(*made)
    return observed_statements(
        found.allowed,
        account_id=ACCOUNT,
        partition="aws",
        today=access,
        refused=found.never_allowed,
        rules=Rules(fold_after=fold_after),
    )


def said(*made: Made, access: Access | None = None, fold_after: int | None = 20) -> list[Said]:
    """Return the statements' actions, resources and conditions."""
    return [
        (each.statement.actions or (), each.statement.resources, each.statement.conditions)
        for each in basics(*made, access=access, fold_after=fold_after)
    ]


def whys(*made: Made, access: Access | None = None) -> set[str]:
    return {each["why"] for basic in basics(*made, access=access) for each in basic.widened}


# --- Resources that are known ---


def test_an_action_is_granted_on_what_it_was_used_on() -> None:
    assert said(use("s3:GetObject", A), use("s3:GetObject", B)) == [(("s3:GetObject",), (A, B), {})]
    assert said(use("s3:ListAllMyBuckets", "*")) == [(("s3:ListAllMyBuckets",), ("*",), {})]


def test_actions_with_the_same_resources_go_together() -> None:
    made = [use("s3:GetObject", A), use("s3:PutObject", A), use("s3:GetObjectAcl", B)]

    assert said(*made) == [
        (("s3:GetObject", "s3:PutObject"), (A,), {}),
        (("s3:GetObjectAcl",), (B,), {}),
    ]


def test_conditions_of_today_are_kept_and_part_statements() -> None:
    access = today(allow("s3:*", A, Condition=TLS), allow("s3:*", B))

    assert said(use("s3:GetObject", A), use("s3:GetObject", B), access=access) == [
        (("s3:GetObject",), (A,), TLS),
        (("s3:GetObject",), (B,), {}),
    ]


def test_a_pattern_that_covers_others_stands_for_them() -> None:
    made = [use("s3:GetObject", A), use("s3:GetObject", ALL)]

    assert said(*made) == [(("s3:GetObject",), (ALL,), {})]


@pytest.mark.parametrize(
    ("resources", "left"),
    [
        # ? is one character, never the * of another pattern.
        (["arn:aws:s3:::b?/x", "arn:aws:s3:::b*/x"], ("arn:aws:s3:::b*/x",)),
        (["arn:aws:s3:::b?", "arn:aws:s3:::bcd*"], ("arn:aws:s3:::b?", "arn:aws:s3:::bcd*")),
        # Two that say the same: one of them stays.
        (["arn:aws:s3:::b*", "arn:aws:s3:::b**"], ("arn:aws:s3:::b**",)),
    ],
)
def test_nothing_is_lost_where_patterns_cover_each_other(
    resources: list[str], left: tuple[str, ...]
) -> None:
    found = said(use("s3:GetObject", None), access=today(allow("s3:GetObject", resources)))

    assert found == [(("s3:GetObject",), left, {})]


# --- Resources that are not known ---


def test_an_unknown_resource_is_granted_as_today() -> None:
    access = today(allow("s3:*", ALL, Condition=TLS), allow("s3:Get*", A), allow("ec2:*"))

    assert said(use("s3:GetObject", None), access=access) == [
        (("s3:GetObject",), (ALL,), TLS),
        (("s3:GetObject",), (A,), {}),
    ]
    assert whys(use("s3:GetObject", None), access=access) == {
        "the records do not tell which: as granted today"
    }


def test_an_unknown_resource_is_never_everything_where_its_types_are_known() -> None:
    assert said(use("dynamodb:GetItem", None)) == [
        (("dynamodb:GetItem",), (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/*",), {})
    ]
    both = use("dynamodb:GetItem", None, regions=(REGION, "us-east-1"))
    assert said(both)[0][1] == (f"arn:aws:dynamodb:*:{ACCOUNT}:table/*",)
    assert whys(both) == {"the records do not tell which"}


def test_what_the_catalogue_does_not_know_is_granted_on_everything() -> None:
    assert said(use("acme:DoThing", None)) == [(("acme:DoThing",), ("*",), {})]


def test_an_unknown_resource_beside_known_ones_is_not_dropped() -> None:
    made = [use("s3:GetObject", A), use("s3:GetObject", None)]

    assert said(*made, access=today(allow("s3:*", [ALL, "arn:aws:s3:::x"]))) == [
        (("s3:GetObject",), (ALL, "arn:aws:s3:::x"), {})
    ]


def test_not_resource_is_kept_where_the_resource_is_not_known() -> None:
    access = today({"Effect": "Allow", "Action": "s3:*", "NotResource": B})

    (found,) = basics(use("s3:GetObject", None), access=access)

    assert (found.statement.resources, found.statement.not_resources) == (None, (B,))


def test_required_types_that_no_record_names_are_granted_in_this_account() -> None:
    volume = f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-1"
    made = use("ec2:AttachVolume", volume)

    assert said(made) == [
        (("ec2:AttachVolume",), (f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/*", volume), {})
    ]
    assert whys(made) == {
        "the action requires a resource of type instance, and no record names one"
    }
    within = today(allow("ec2:*", [volume, "arn:aws:ec2:*:*:instance/i-*"]))
    assert said(made, access=within)[0][1] == ("arn:aws:ec2:*:*:instance/i-*", volume)


def test_a_command_to_whatever_has_a_tag_needs_the_instances() -> None:
    document = f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript"
    instances = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/"
    managed = f"arn:aws:ssm:{REGION}:{ACCOUNT}:managed-instance/*"
    by_tag = use("ssm:SendCommand", document)
    by_id = use("ssm:SendCommand", instances + "i-1")

    assert said(by_tag)[0][1] == (instances + "*", managed, document)
    assert said(by_tag, by_id)[0][1] == (instances + "i-1", document)


# --- Sketches and templates ---


@pytest.mark.parametrize(
    ("resource", "pattern"),
    [
        ("*", "*"),
        (A, A),
        ("arn:aws:s3:::bucket/2026/*", "arn:aws:s3:::bucket/2026/*"),
        ("arn:aws:s3:*", "arn:aws:s3:*:*:*"),
        ("arn:*", "arn:*:*:*:*:*"),
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:*",
         f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:*"),
        ("arn:${Partition}:s3:::${BucketName}/${KeyName}", "arn:*:s3:::*/*"),
        ("arn:aws:s3:::b/key:with:colons", "arn:aws:s3:::b/key:with:colons"),
    ],
)  # fmt: skip
def test_a_sketch_or_template_becomes_a_pattern_of_six_parts(resource: str, pattern: str) -> None:
    assert as_pattern(resource) == pattern
    assert as_pattern(pattern) == pattern


@pytest.mark.parametrize("sketch", ["arn:aws:s3:::orders/2026/*", "arn:aws:s3:*", "arn:*"])
def test_a_sketch_is_granted_within_what_is_granted_today(sketch: str) -> None:
    made = use("s3:GetObject", sketch, depth=1)

    assert said(made)[0][1] == (as_pattern(sketch),)
    assert said(made, access=today(allow("s3:*", "arn:aws:s3:::orders/2026/11/*")))[0][1] == (
        "arn:aws:s3:::orders/2026/11/*",
    )
    assert whys(made) == {"so many ARNs were used that the records keep only where they lay"}


def test_what_access_analyzer_does_not_name_is_marked() -> None:
    row = Observed("s3:GetObject", "arn:aws:s3:::${B}/${K}", source="access-analyzer")
    (found,) = observed_statements(
        [row], account_id=ACCOUNT, partition="aws", today=None, refused=(), rules=Rules()
    )

    assert found.statement.resources == ("arn:aws:s3:::*/*",)
    assert [each["why"] for each in found.widened] == ["Access Analyzer does not name it"]


def test_everything_from_access_analyzer_is_what_is_granted_today() -> None:
    row = Observed("s3:GetObject", "*", source="access-analyzer")
    (found,) = observed_statements(
        [row], account_id=ACCOUNT, partition="aws", today=today(allow("s3:*", ALL)), refused=(),
        rules=Rules(),
    )  # fmt: skip

    assert found.statement.resources == (ALL,)


# --- Passing roles ---


def test_pass_role_names_the_service_and_stands_alone() -> None:
    made = [
        use("iam:PassRole", f"{ROLES}a", to=LAMBDA), use("iam:PassRole", f"{ROLES}a", to=EC2),
        use("iam:PassRole", f"{ROLES}b"), use("iam:GetRole", f"{ROLES}b"),
    ]  # fmt: skip

    found = said(*made)

    def to(service: str) -> Json:
        return {"StringEquals": {"iam:PassedToService": [service]}}

    assert sorted(found, key=str) == sorted(
        [
            (("iam:GetRole",), (f"{ROLES}b",), {}),
            # Unknown stays unknown.
            (("iam:PassRole",), (f"{ROLES}b",), {}),
            (("iam:PassRole",), (f"{ROLES}a",), to(EC2)),
            (("iam:PassRole",), (f"{ROLES}a",), to(LAMBDA)),
        ],
        key=str,
    )


@pytest.mark.parametrize(
    ("conditions", "passing"),
    [
        ({}, {"StringEquals": {"iam:PassedToService": [LAMBDA]}}),
        (TLS, {**TLS, "StringEquals": {"iam:PassedToService": [LAMBDA]}}),
        ({"StringEquals": {"aws:x": "y"}},
         {"StringEquals": {"aws:x": "y", "iam:PassedToService": [LAMBDA]}}),
        # Today's own stays as it is.
        ({"StringLike": {"IAM:passedtoservice": "l*"}},
         {"StringLike": {"IAM:passedtoservice": "l*"}}),
    ],
)  # fmt: skip
def test_the_service_is_demanded_besides_the_conditions_of_today(
    conditions: Json, passing: Json
) -> None:
    before = str(conditions)

    assert with_passed_to_service(conditions, LAMBDA) == passing
    assert with_passed_to_service(conditions, "") == conditions
    assert str(conditions) == before


# --- Folding ---


def many(count: int, prefix: str = "arn:aws:s3:::orders/logs/", end: str = "") -> list[Made]:
    return [use("s3:GetObject", f"{prefix}{n}x{n}{end}") for n in range(count)]


def test_many_arns_fold_to_a_prefix_and_say_so() -> None:
    (found,) = basics(*many(30))

    assert found.statement.resources == ("arn:aws:s3:::orders/logs/*",)
    assert [(fold.pattern, fold.arn_count) for fold in found.folds] == [
        ("arn:aws:s3:::orders/logs/*", 30)
    ]


def test_few_arns_or_the_switch_fold_nothing() -> None:
    assert len(said(*many(20))[0][1] or ()) == 20
    assert len(said(*many(300), fold_after=None)[0][1] or ()) == 300


def test_a_fold_goes_no_further_than_today() -> None:
    # All of the resources are granted by one narrower pattern.
    narrower = "arn:aws:s3:::orders/logs/*.json"
    (found,) = basics(*many(30, end=".json"), access=today(allow("s3:*", narrower)))

    assert found.statement.resources == (narrower,)
    assert [(fold.pattern, fold.arn_count) for fold in found.folds] == [(narrower, 30)]


def test_a_fold_is_not_granted_beyond_a_not_resource() -> None:
    access = today({"Effect": "Allow", "Action": "s3:*",
                    "NotResource": "arn:aws:s3:::orders/logs/secret*"})  # fmt: skip
    (found,) = basics(*many(30), access=access)

    assert len(found.statement.resources or ()) == 30
    assert found.folds == []


def test_roles_that_are_passed_fold_within_today_too() -> None:
    made = [
        use("iam:PassRole", f"{ROLES}{letter}{n}", to=LAMBDA) for n in range(15) for letter in "ab"
    ]
    access = today(allow("iam:PassRole", [f"{ROLES}a*", f"{ROLES}b*"]))

    assert said(*made)[0][1] == (f"{ROLES}*",)
    assert said(*made, access=access)[0][1] == (f"{ROLES}a*", f"{ROLES}b*")


def test_a_fold_matches_nothing_that_was_refused() -> None:
    secret = refused("s3:GetObject", "arn:aws:s3:::orders/logs/secret")

    (found,) = basics(*many(30), secret)

    assert "arn:aws:s3:::orders/logs/*" not in (found.statement.resources or ())


def test_nor_does_the_pattern_of_today_in_its_place() -> None:
    access = today(allow("s3:*", "arn:aws:s3:::orders/*.json"))
    secret = refused("s3:GetObject", "arn:aws:s3:::orders/secret.json")

    (found,) = basics(*many(30, end=".json"), secret, access=access)

    assert len(found.statement.resources or ()) == 30


def test_policy_variables_are_not_cut_by_a_fold() -> None:
    homes = [
        f"arn:aws:s3:::home/${{{key}}}/{n}/*" for n in range(15)
        for key in ("aws:username", "aws:userid")
    ]  # fmt: skip

    (found,) = basics(use("s3:GetObject", None), access=today(allow("s3:*", homes)))

    assert set(found.statement.resources or ()) == set(homes)


ARNS = [f"arn:aws:s3:::{b}/{k}" for b in ("orders", "shop") for k in ("a", "ab", "logs/1", "logs/2",
        "logs/x/3", "tmp.json")]  # fmt: skip
PATTERNS = st.sampled_from([*ARNS, "*", ALL, "arn:aws:s3:::*/logs/*", "arn:aws:s3:::orders/?",
                            "arn:aws:s3:::*.json", "arn:aws:s3:::orders/logs/*"])  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.sampled_from(ARNS), min_size=1),
    st.sets(st.sampled_from(ARNS)),
    st.one_of(st.none(), st.lists(PATTERNS, min_size=1, max_size=4)),
    st.sampled_from([1, 2, 3, None]),
)
def test_exact_statements_and_folds_grant_what_was_allowed_and_nothing_that_was_refused(
    used: set[str], asked: set[str], granted: list[str] | None, fold_after: int | None
) -> None:
    access = None if granted is None else today(allow("s3:GetObject", granted))
    rows = [
        arn for arn in used
        if access is None
        or access.policies.decide(Request("s3:GetObject", arn)).answer == "allowed"
    ]  # fmt: skip

    found = basics(
        *(use("s3:GetObject", arn) for arn in rows),
        *(refused("s3:GetObject", arn) for arn in asked),
        access=access,
        fold_after=fold_after,
    )
    proposed = Access([PolicyDocument(tuple(each.statement for each in found))])

    def answer(arn: str) -> str:
        return proposed.policies.decide(Request("s3:GetObject", arn)).answer

    assert [answer(arn) for arn in rows] == ["allowed"] * len(rows)
    assert "allowed" not in {answer(arn) for arn in asked - set(rows)}
    for arn in ARNS:
        if access is not None and answer(arn) == "allowed":
            assert access.policies.decide(Request("s3:GetObject", arn)).answer == "allowed"


# --- Types of resource ---


def test_the_widest_arns_of_an_action() -> None:
    def found(action: str, **more: Any) -> dict[str, tuple[str, ...]]:
        return type_patterns(action, account_id=ACCOUNT, partition="aws-cn", **more)

    assert found("s3:ListAllMyBuckets") == {}
    assert found("acme:DoThing") == {}
    assert found("dynamodb:Query", regions=["cn-north-1"]) == {
        "index": (f"arn:aws-cn:dynamodb:cn-north-1:{ACCOUNT}:table/*/index/*",),
        "table": (f"arn:aws-cn:dynamodb:cn-north-1:{ACCOUNT}:table/*",),
    }
    assert set(found("dynamodb:Query", only_required=True)) == {"table"}


# --- Names and evidence ---


def test_statements_are_named_by_what_they_are_and_numbered() -> None:
    made = [
        use("s3:GetObject", A), use("s3:PutObject", B), use("ec2:DescribeInstances"),
        use("iam:PassRole", f"{ROLES}a", to=LAMBDA), use("acme-shop:Do", A.replace("s3", "x")),
        use("s3:GetObjectAcl", ALL), use("kms:Decrypt", ALL),
    ]  # fmt: skip
    access = today(allow("s3:*", A, Condition=OFFICE))
    basic = basics(*made)
    basic += [
        Basic("kept: deny", today(allow("x:Y")).everywhere("x:Y")[0]),
        Basic("kept: not observable", access.kept(["s3:PutObject"])[0]),
        Basic("kept: last accessed", access.kept(["s3:PutObject"])[0]),
    ]

    statements, evidence = named(basic, {})

    sids = [each.sid for each in statements]
    assert sids == [each["sid"] for each in evidence]
    assert sids == [
        "AcmeShopObserved1", "Ec2Observed1", "Observed1", "PassRole1", "S3Observed1",
        "S3Observed2", "KeptLastAccessed1", "KeptNotObservable1", "KeptDeny1",
    ]  # fmt: skip
    assert all(re.fullmatch("[A-Za-z0-9]+", sid or "") for sid in sids)
    again, _ = named(reversed(basic), {})
    assert again == statements


def test_the_evidence_of_a_statement() -> None:
    made = [
        use("s3:GetObject", A, count=3, first="2026-09-02T00:00:00Z"),
        use("s3:GetObject", None, count=2),
    ]

    _, (found,) = named(basics(*made, access=today(allow("s3:*", ALL))), {
        "s3": LAST, "s3:getobject": FIRST, "ec2": LAST,
    })  # fmt: skip

    assert (found["basis"], found["actions"]) == ("observed", ["s3:GetObject"])
    assert (found["call_count"], found["first"], found["last"]) == (5, FIRST, LAST)
    assert [(row["resource"], row["count"]) for row in found["uses"]] == [(A, 3), (None, 2)]
    assert found["more_uses"] == 0
    assert found["last_accessed_at"] == {"s3": LAST, "s3:GetObject": FIRST}


def test_a_call_in_several_statements_counts_in_each_but_once_in_one() -> None:
    access = today(allow("s3:*", [A, B]))

    (found,) = basics(use("s3:GetObject", ALL, count=4), access=access)

    assert found.statement.resources == (A, B)
    assert sum(row.count for row in found.observed) == 4


def test_rows_beyond_those_shown_are_counted() -> None:
    _, (found,) = named(basics(*many(MAX_USES_SHOWN + 5)), {})

    assert (len(found["uses"]), found["more_uses"]) == (MAX_USES_SHOWN, 5)
    assert found["call_count"] == MAX_USES_SHOWN + 5
