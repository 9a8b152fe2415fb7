from __future__ import annotations

import json
import re
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pare.policy.catalogue import Catalogue, load_catalogue
from pare.policy.document import PolicyDocument, Statement, parse
from pare.policy.no_new_access import NoNewAccessJson, compare

CATALOGUE = Catalogue(
    {
        "schema_version": 1,
        "source": "",
        "version": "",
        "retrieved": "",
        "licence": "",
        "services": {
            "s3": {
                "name": "S3",
                "actions": {"Read": ["GetObject", "GetObjectAcl"], "Write": ["PutObject"]},
            },
            "iam": {"name": "IAM", "actions": {"List": ["ListRoles"], "Write": ["PassRole"]}},
        },
    }
)
PROVED: NoNewAccessJson = {"result": "proved", "additions": [], "undecided": []}
OBJECTS = "arn:aws:s3:::b/*"
TLS = {"Bool": {"aws:SecureTransport": "true"}}


def document(*statements: dict[str, Any], version: str = "2012-10-17") -> PolicyDocument:
    return parse({"Version": version, "Statement": list(statements)})


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def asked(old: Any, new: Any, boundary: Any = None) -> NoNewAccessJson:
    def documents(statements: Any) -> list[PolicyDocument]:
        return [document(*(statements if isinstance(statements, list) else [statements]))]

    return compare(
        documents(old),
        documents(new),
        None if boundary is None else document(boundary),
        catalogue=CATALOGUE,
    )


# --- Proved ---


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (allow("*"), allow("*")),
        (allow("*"), allow("s3:GetObject", OBJECTS)),
        (allow("s3:*"), allow(["s3:Get*", "S3:putobject"], OBJECTS)),
        (allow("s3:get*", OBJECTS), allow("s3:GetObject", "arn:aws:s3:::b/2026/*")),
        (allow("s3:GetObject", "arn:aws:s3:::b*"), allow("s3:GetObject", OBJECTS)),
        # Several statements together grant what one asks for.
        ([allow("s3:GetObject", OBJECTS), allow("s3:PutObject", OBJECTS)],
         allow(["s3:GetObject", "s3:PutObject"], "arn:aws:s3:::b/x")),
        ([allow("s3:Get*"), allow("s3:PutObject")], allow("s3:*")),
        (allow("s3:GetObject", ["arn:aws:s3:::a", "arn:aws:s3:::b"]),
         allow("s3:GetObject", ["arn:aws:s3:::b", "arn:aws:s3:::a"])),
        # NotAction and NotResource.
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, allow("s3:*")),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
         {"Effect": "Allow", "NotAction": ["iam:*", "s3:PutObject"], "Resource": "*"}),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::secret/*"},
         allow("s3:GetObject", OBJECTS)),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::secret/x"},
         {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::secret/*"}),
        (allow("s3:*"), {"Effect": "Allow", "Action": "s3:*", "NotResource": OBJECTS}),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": []}, allow("s3:*")),
        # What the catalogue does not know.
        (allow("new:*"), allow(["new:Thing", "new:Get*"], "arn:aws:new:::x")),
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, allow("new:Thing")),
        # Nothing is never new.
        (allow("s3:*"), []),
        ([], []),
        ([], deny("*")),
    ],
)  # fmt: skip
def test_what_was_granted_before_is_no_new_access(old: Any, new: Any) -> None:
    assert asked(old, new) == PROVED


# --- Additions ---


@pytest.mark.parametrize(
    ("old", "new", "action", "resource", "why"),
    [
        ([], allow("s3:GetObject"), "s3:GetObject", "*", "no policy of today allows it"),
        (allow("s3:GetObject"), allow("s3:Get*"), "s3:GetObjectAcl", "*", "no policy of today"),
        (allow("s3:*"), allow("iam:*"), "iam:*", "*", "no policy of today"),
        (allow("s3:GetObject", "arn:aws:s3:::b/x"), allow("s3:GetObject", OBJECTS),
         "s3:GetObject", OBJECTS, "on other resources only: arn:aws:s3:::b/x"),
        (allow("s3:GetObject", OBJECTS), allow("s3:GetObject", "arn:aws:s3:::c/x"),
         "s3:GetObject", "arn:aws:s3:::c/x", "on other resources only"),
        (allow("s3:GetObject", OBJECTS), allow("s3:GetObject"),
         "s3:GetObject", "*", "on other resources only"),
        (allow("s3:GetObject", Condition=TLS), allow("s3:GetObject", OBJECTS),
         "s3:GetObject", OBJECTS, "under conditions only"),
        (allow("s3:GetObject", Condition=TLS),
         allow("s3:GetObject", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
         "s3:GetObject", "*", "under conditions only"),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
         allow(["s3:GetObject", "iam:PassRole"]), "iam:PassRole", "*", "no policy of today"),
        (allow("new:Thing"), allow("new:*"), "new:*", "*", "no policy of today"),
        ({"Effect": "Allow", "NotAction": "new:Get*", "Resource": "*"}, allow("new:*"),
         "new:*", "*", "no policy of today"),
        (allow("new:Thing"), allow("new:Thin"), "new:Thin", "*", "no policy of today"),
        # Deny statements of today that are gone, or smaller.
        ([allow("s3:*"), deny("s3:PutObject", Sid="Never")], allow("s3:*"),
         "s3:PutObject", "*", "the Deny statement Never of today refuses it"),
        ([allow("s3:*"), deny("s3:*", "arn:aws:s3:::b/secret")], allow("s3:GetObject", OBJECTS),
         "s3:GetObject", OBJECTS, "a Deny statement without a Sid"),
        ([allow("s3:*"), {"Effect": "Deny", "NotAction": "s3:GetObject", "Resource": "*"}],
         allow("s3:PutObject", OBJECTS), "s3:PutObject", OBJECTS, "a Deny statement"),
        ([allow("s3:*"), {"Effect": "Deny", "Action": "s3:*", "NotResource": OBJECTS}],
         allow("s3:GetObject", "arn:aws:s3:::c/x"),
         "s3:GetObject", "arn:aws:s3:::c/x", "a Deny statement"),
        ([allow("s3:*"), deny("s3:GetObject", OBJECTS, Condition={"Bool": {"k": "false"}})],
         allow("s3:GetObject", OBJECTS), "s3:GetObject", OBJECTS, "a Deny statement"),
        ([allow("s3:*"), deny("s3:*")],
         [allow("s3:GetObject", OBJECTS), deny("s3:*", "arn:aws:s3:::b/x")],
         "s3:GetObject", OBJECTS, "a Deny statement"),
        ([allow("s3:*"), deny("s3:*")], [allow("s3:GetObject"), deny("s3:*", Condition=TLS)],
         "s3:GetObject", "*", "a Deny statement"),
    ],
)  # fmt: skip
def test_an_addition_is_named_with_its_reason(
    old: Any, new: Any, action: str, resource: str, why: str
) -> None:
    answer = asked(old, new)

    assert answer["result"] == "additions"
    assert answer["undecided"] == []
    assert [(each["action"], each["resource"]) for each in answer["additions"]] == [
        (action, resource)
    ]
    assert why in answer["additions"][0]["why"]


def test_an_action_that_could_not_be_done_before_counts_by_its_resource_types() -> None:
    """On ``*`` an object's bucket may be any, so a pattern of one bucket is less."""
    old = document(allow("s3:GetObject", "arn:aws-cn:s3:::b/*"))

    answer = compare([old], [document(allow("s3:GetObject"))])

    assert answer["result"] == "additions"


@pytest.mark.parametrize(
    "old",
    [
        allow("sqs:SendMessage", "arn:aws:sqs:*:*:*"),
        # It takes no resource; IAM's own examples grant it on this pattern.
        allow("s3:ListAllMyBuckets", "arn:aws:s3:::*"),
    ],
)
def test_a_pattern_that_may_be_all_there_is_leaves_it_undecided(old: dict[str, Any]) -> None:
    answer = compare([document(old)], [document(allow(old["Action"]))])

    assert answer["result"] == "undecided"


def test_the_boundary_is_named_where_it_holds_an_addition_back() -> None:
    answer = asked([], allow(["s3:GetObject", "iam:PassRole"]), boundary=allow("s3:*"))

    assert {each["action"]: each["why"] for each in answer["additions"]} == {
        "iam:PassRole": "no policy of today allows it; the permissions boundary holds it back",
        "s3:GetObject": "no policy of today allows it",
    }


def test_additions_are_folded_and_sorted() -> None:
    answer = asked([], [allow("*", Sid="Z"), allow(["s3:Get*", "iam:*"], ["x", "a"], Sid="A")])

    assert [(each["sid"], each["action"], each["resource"]) for each in answer["additions"]] == [
        ("A", "iam:*", "a"),
        ("A", "iam:*", "x"),
        ("A", "s3:Get*", "a"),
        ("A", "s3:Get*", "x"),
        ("Z", "*", "*"),
    ]


def test_a_statement_without_a_sid_is_named_by_its_place() -> None:
    answer = compare(
        [], [document(), document(deny("*"), allow("s3:GetObject"))], catalogue=CATALOGUE
    )

    assert answer["additions"][0]["sid"] == "(document 2, statement 2)"


def test_everything_for_a_holder_of_one_service_is_told_by_services() -> None:
    answer = compare([document(allow("s3:*"))], [document(allow("*"))])

    assert answer["result"] == "additions"
    assert len(answer["additions"]) < 500
    assert "ec2:*" in {each["action"] for each in answer["additions"]}
    assert not [each for each in answer["additions"] if each["action"].startswith("s3:")]


# --- Undecided ---


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"),
         allow("s3:GetObject", "arn:aws:s3:::b/anna/*"), "policy variable"),
        (allow("s3:GetObject", "arn:aws:s3:::b/anna/*"),
         allow("s3:GetObject", "arn:aws:s3:::b/${aws:username}/*"), "policy variable"),
        ({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::b/secret"},
         allow("s3:GetObject", OBJECTS), "NotResource"),
        (allow("s3:*", OBJECTS),
         {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": "arn:aws:s3:::b/secret"},
         "NotResource"),
        (allow("s3:GetObject", ["arn:aws:s3:::b/a*", "arn:aws:s3:::b/?*", "arn:aws:s3:::b/"]),
         allow("s3:GetObject", OBJECTS), "several patterns"),
        ([allow("s3:GetObject", Condition={"Bool": {"k": "true"}}),
          allow("s3:GetObject", Condition={"Bool": {"k": "false"}})],
         allow("s3:GetObject", OBJECTS), "conditions of today"),
        (allow("s3:GetObject", Condition={"StringLike": {"k": "a*"}}),
         allow("s3:GetObject", Condition={"StringLike": {"k": "?a*"}}), "conditions of today"),
        ([allow("s3:*"), deny("s3:*", "arn:aws:s3:::${aws:username}/*")],
         allow("s3:GetObject", OBJECTS), "a Deny statement"),
        ([allow("s3:*"), deny("s3:*", OBJECTS)], allow("s3:GetObject"), "a Deny statement"),
        ([allow("s3:*"), deny("s3:*", Condition={"Bool": {"k": "false"}})],
         allow("s3:GetObject", Condition={"Bool": {"k": "true"}}), "a Deny statement"),
        ([allow("*"), deny("new:Get*")], allow("new:*"), "a Deny statement"),
        (allow("s3:*"), allow("s3:GetObject", Principal="*"), "Principal"),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_never_proved(old: Any, new: Any, why: str) -> None:
    answer = asked(old, new)

    assert answer["result"] == "undecided"
    assert answer["additions"] == []
    assert why in answer["undecided"][0]["why"]


def test_an_addition_outweighs_what_is_undecided() -> None:
    answer = asked(
        allow("s3:GetObject", "arn:aws:s3:::${aws:username}/*"),
        allow(["s3:GetObject", "iam:PassRole"], "arn:aws:s3:::a/*"),
    )

    assert answer["result"] == "additions"
    assert len(answer["additions"]) == len(answer["undecided"]) == 1


# --- Policy variables ---


@pytest.mark.parametrize(
    ("wide", "narrow", "result"),
    [
        ("arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:username}/*", "proved"),
        ("arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:username}/x", "proved"),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}/x", "proved"),
        ("*", "arn:aws:s3:::b/${aws:username}/x", "proved"),
        ("arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:userid}/x", "undecided"),
        # One character is not a variable's.
        ("arn:aws:s3:::b/?", "arn:aws:s3:::b/${aws:username}", "undecided"),
        # Nor need a variable's value be without a colon.
        ("arn:aws:sqs:*:1:q", "arn:aws:sqs:${aws:PrincipalTag/region}:1:q", "undecided"),
    ],
)
def test_a_variable_is_covered_by_itself_and_by_a_star(wide: str, narrow: str, result: str) -> None:
    assert asked(allow("s3:GetObject", wide), allow("s3:GetObject", narrow))["result"] == result


def test_a_dollar_sign_of_an_old_version_is_no_variable() -> None:
    pattern = "arn:aws:s3:::b/${aws:username}"
    old = document(allow("s3:GetObject", pattern), version="2008-10-17")
    new = document(allow("s3:GetObject", pattern))

    assert compare([old], [new])["result"] == "undecided"
    assert compare([old], [old])["result"] == "proved"


# --- Deny statements that stay ---


@pytest.mark.parametrize(
    ("denied", "kept"),
    [
        ([deny("s3:PutObject", OBJECTS)], [deny("s3:PutObject", OBJECTS)]),
        ([deny("s3:PutObject", OBJECTS)], [deny("s3:*")]),
        ([deny("s3:*", ["arn:aws:s3:::b/x", "arn:aws:s3:::b/y"])],
         [deny("s3:*", "arn:aws:s3:::b/x"), deny("s3:*", "arn:aws:s3:::b/y")]),
        ([deny("s3:*")], [deny("s3:Get*"), deny("s3:PutObject")]),
        ([deny("s3:*", Condition={"Bool": {"k": "false"}})],
         [deny("s3:*", Condition={"Bool": {"k": "false"}})]),
        ([deny("s3:*", Condition={"Bool": {"k": "false"}})], [deny("s3:*")]),
        ([{"Effect": "Deny", "Action": "s3:*", "NotResource": OBJECTS}],
         [{"Effect": "Deny", "Action": "s3:*", "NotResource": OBJECTS}]),
        ([{"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}], [deny("s3:*")]),
        # It says nothing about what is granted.
        ([deny("iam:*")], []),
        ([{"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}], []),
    ],
)  # fmt: skip
def test_a_deny_that_is_as_wide_as_before_is_kept(denied: list[Any], kept: list[Any]) -> None:
    assert asked([allow("*"), *denied], [allow("s3:*"), *kept])["result"] == "proved"


@pytest.mark.parametrize(
    "elsewhere",
    [
        deny("s3:*", "arn:aws:s3:::c/*"),
        {"Effect": "Deny", "Action": "s3:*", "NotResource": "arn:aws:s3:::b*"},
    ],
)
def test_a_deny_elsewhere_may_go(elsewhere: dict[str, Any]) -> None:
    assert asked([allow("*"), elsewhere], allow("s3:*", OBJECTS))["result"] == "proved"


# --- Conditions ---


@pytest.mark.parametrize(
    ("old", "new", "is_proved"),
    [
        ({}, TLS, True),
        (TLS, TLS, True),
        (TLS, {**TLS, "StringEquals": {"k": "v"}}, True),
        (TLS, {"bool": {"AWS:securetransport": ["true"]}}, True),
        ({"Bool": {"k": True}}, {"Bool": {"k": "true"}}, True),
        ({"StringEquals": {"k": ["a", "b"]}}, {"StringEquals": {"k": "a"}}, True),
        ({"StringEquals": {"k": "a"}}, {"StringEquals": {"k": ["a", "b"]}}, False),
        ({"StringEquals": {"k": "a", "l": "b"}}, {"StringEquals": {"k": "a"}}, False),
        ({"StringNotEquals": {"k": "a"}}, {"StringNotEquals": {"k": ["a", "b"]}}, True),
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"StringNotEquals": {"k": "a"}}, False),
        ({"StringLike": {"k": "a*"}}, {"StringEquals": {"k": ["a", "ab"]}}, True),
        ({"StringLike": {"k": "a*"}}, {"StringEquals": {"k": ["a", "b"]}}, False),
        ({"StringLike": {"k": "a*"}}, {"StringLike": {"k": "ab"}}, True),
        ({"StringLike": {"k": "*"}}, {"StringLike": {"k": "b*"}}, True),
        ({"StringLike": {"k": "a?"}}, {"StringLike": {"k": "a*"}}, False),
        ({"StringEquals": {"k": "a"}}, {"StringLike": {"k": "a"}}, False),
        ({"StringLike": {"k": "a*"}}, {"StringEquals": {"k": "a${aws:username}"}}, False),
        ({"StringEqualsIfExists": {"k": "a"}}, {"StringEquals": {"k": "a"}}, True),
        ({"StringEquals": {"k": "a"}}, {"StringEqualsIfExists": {"k": "a"}}, False),
        ({"ArnLike": {"k": "a"}}, {"ArnEquals": {"k": "a"}}, True),
        ({"NumericLessThan": {"k": "5"}}, {"NumericLessThan": {"k": 5}}, True),
        ({"NumericLessThan": {"k": "5"}}, {"NumericLessThan": {"k": "4"}}, False),
        ({"Null": {"k": "true"}}, {"Null": {"k": "false"}}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}},
         {"ForAllValues:StringEquals": {"k": ["a"]}}, True),
        ({"ForAnyValue:StringEquals": {"k": "a"}}, {"StringEquals": {"k": "a"}}, False),
        # The same test twice in different case: which holds was not looked into.
        ({"Bool": {"K": "false", "k": "true"}}, {"Bool": {"k": "true", "l": "x"}}, False),
    ],
)  # fmt: skip
def test_conditions_are_kept_or_made_stricter(
    old: dict[str, Any], new: dict[str, Any], is_proved: bool
) -> None:
    answer = asked(allow("s3:*", Condition=old), allow("s3:GetObject", Condition=new))

    assert (answer["result"] == "proved") is is_proved


# --- Properties ---

ARNS = ["arn:aws:s3:::a", "arn:aws:s3:::a/x", "arn:aws:s3:::a/x/y", "arn:aws:s3:::b/x", "*"]
ACTIONS = sorted(CATALOGUE.expand("*"))
PATTERNS = st.sampled_from(
    ["*", "arn:aws:s3:::*", "arn:aws:s3:::a", "arn:aws:s3:::a/*", "arn:aws:s3:::?/x",
     "arn:aws:s3:::b*", "arn:aws:s3:::a/*/y", "arn:*:s3:::a*"]
)  # fmt: skip
ACTION_PATTERNS = st.sampled_from(
    ["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:*Object", "iam:PassRole", "s3:PutObject"]
)
CONDITIONS = st.sampled_from([
    {}, {}, {"StringEquals": {"k": "a"}}, {"StringEquals": {"k": ["a", "b"]}},
    {"StringNotEquals": {"k": "a"}}, {"StringLike": {"k": "a*"}},
    {"StringEqualsIfExists": {"k": "a"}}, {"StringEquals": {"k": "a", "l": "c"}},
])  # fmt: skip
CONTEXTS: list[dict[str, str]] = [
    {}, {"k": "a"}, {"k": "b"}, {"k": "ab"}, {"l": "c"}, {"k": "a", "l": "c"}
]  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> dict[str, Any]:
    action = draw(st.sampled_from(["Action", "Action", "Action", "NotAction"]))
    resource = draw(st.sampled_from(["Resource", "Resource", "Resource", "NotResource"]))
    found = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        action: draw(st.lists(ACTION_PATTERNS, min_size=1, max_size=2)),
        resource: draw(st.lists(PATTERNS, min_size=1, max_size=2)),
    }
    conditions = draw(CONDITIONS)
    return {**found, "Condition": conditions} if conditions else found


POLICIES = st.lists(statements(), max_size=4)


@cache
def matches(pattern: str, text: str) -> bool:
    """Match plainly: none of the ARNs here has a colon where a star of a pattern could differ."""
    expression = "".join(
        {"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern.lower()
    )
    return re.fullmatch(expression, text.lower()) is not None


def holds(conditions: dict[str, Any], context: dict[str, str]) -> bool:
    for operator, tests in conditions.items():
        for key, wanted in tests.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            found = context.get(key)
            if operator == "StringNotEquals":
                good = found not in values
            elif found is None:
                good = operator.endswith("IfExists")
            elif operator == "StringLike":
                good = any(matches(value, found) for value in values)
            else:
                good = found in values
            if not good:
                return False
    return True


def speaks_of(statement: Statement, action: str, arn: str, context: dict[str, str]) -> bool:
    names_it = any(matches(each, action)
                   for each in statement.actions or statement.not_actions or ())  # fmt: skip
    is_on_it = any(matches(each, arn)
                   for each in statement.resources or statement.not_resources or ())  # fmt: skip
    return (
        names_it is (statement.not_actions is None)
        and is_on_it is (statement.not_resources is None)
        and holds(dict(statement.conditions), context)
    )


def is_allowed(document: PolicyDocument, action: str, arn: str, context: dict[str, str]) -> bool:
    found = {each.effect for each in document.statements if speaks_of(each, action, arn, context)}
    return found == {"Allow"}


@settings(max_examples=400, deadline=None)
@given(POLICIES, POLICIES)
def test_what_is_proved_holds_for_every_request(
    old: list[dict[str, Any]], new: list[dict[str, Any]]
) -> None:
    before, after = document(*old), document(*new)

    answer = compare([before], [after], catalogue=CATALOGUE)

    if answer["result"] == "proved":
        for action, arn, context in product(ACTIONS, ARNS, CONTEXTS):
            assert not is_allowed(after, action, arn, context) or is_allowed(
                before, action, arn, context
            ), (action, arn, context)


@settings(max_examples=200, deadline=None)
@given(POLICIES, st.randoms(use_true_random=False))
def test_policies_grant_nothing_new_over_themselves(policies: list[dict[str, Any]],
                                                    random: Any) -> None:  # fmt: skip
    shuffled = random.sample(policies, len(policies))
    cut = random.randint(0, len(policies))

    answer = compare(
        [document(*policies)],
        [document(*shuffled[:cut]), document(*shuffled[cut:])],
        catalogue=CATALOGUE,
    )

    assert answer["result"] == "proved"


@settings(max_examples=200, deadline=None)
@given(POLICIES, st.data())
def test_less_of_what_allows_and_all_that_denies_is_no_new_access(
    policies: list[dict[str, Any]], data: st.DataObject
) -> None:
    kept = [
        each for each in policies if each["Effect"] == "Deny" or data.draw(st.booleans())
    ]  # fmt: skip

    answer = compare([document(*policies)], [document(*kept)], catalogue=CATALOGUE)

    assert answer["result"] == "proved"


@settings(max_examples=200, deadline=None)
@given(POLICIES, statements())
def test_a_statement_that_adds_access_is_never_proved(
    policies: list[dict[str, Any]], added: dict[str, Any]
) -> None:
    before, after = document(*policies), document(*policies, added)
    adds = any(
        is_allowed(after, action, arn, context) and not is_allowed(before, action, arn, context)
        for action, arn, context in product(ACTIONS, ARNS, CONTEXTS)
    )

    answer = compare([before], [after], catalogue=CATALOGUE)

    if adds:
        assert answer["result"] != "proved"


def test_the_answer_is_json_and_the_same_every_time() -> None:
    old = [document(allow("s3:*", OBJECTS), deny("s3:PutObject"))]
    new = [document(allow("*"), allow(["s3:GetObject", "ec2:*"], ["a", "b"]))]

    assert json.dumps(compare(old, new)) == json.dumps(compare(list(old), list(new)))


def test_twenty_two_thousand_actions_are_one_question() -> None:
    every = document(allow("*"))

    assert compare([every], [document(allow(sorted(load_catalogue().actions("ec2"))))]) == PROVED
