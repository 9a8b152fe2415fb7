"""Known answers of the evaluator: AWS's examples, and the tables of its documentation."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pare.policy.document import PolicyDocument, Statement, parse
from pare.policy.evaluate import Decision, Policies, Request
from pare.policy.patterns import literal

GET, PUT = "s3:GetObject", "s3:PutObject"
BUCKET, OBJECT = "arn:aws:s3:::reports", "arn:aws:s3:::reports/a.csv"


def allow(action: Any = "*", resource: Any = "*", **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def deny(action: Any = "*", resource: Any = "*", **elements: Any) -> dict[str, Any]:
    return {**allow(action, resource, **elements), "Effect": "Deny"}


def without(element: str, statement: dict[str, Any]) -> dict[str, Any]:
    """The statement with an element turned into its opposite: Action into NotAction."""
    changed = dict(statement)
    changed[f"Not{element}"] = changed.pop(element)
    return changed


def document(*statements: dict[str, Any], version: str | None = "2012-10-17") -> PolicyDocument:
    source: dict[str, Any] = {"Statement": list(statements)}
    return parse(source if version is None else {**source, "Version": version})


def decide(
    *statements: dict[str, Any],
    action: str = GET,
    resource: str = OBJECT,
    context: dict[str, tuple[str, ...]] | None = None,
    absent: tuple[str, ...] = (),
) -> Decision:
    request = Request(action, resource, context or {}, frozenset(absent))
    return Policies([document(*statements)]).decide(request)


def answer(*statements: dict[str, Any], **request: Any) -> str:
    return decide(*statements, **request).answer


IF_TLS = {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}
TLS, NO_TLS = {"aws:securetransport": ("true",)}, {"aws:securetransport": ("false",)}


# --- Allow and Deny ---


def test_the_default_is_no_and_a_deny_beats_any_allow() -> None:
    assert answer() == "not allowed"
    assert answer(allow(PUT)) == "not allowed"
    assert answer(allow(GET)) == "allowed"
    assert answer(allow(), deny(GET)) == "denied"
    assert answer(deny(GET), allow()) == "denied"
    assert answer(allow(), deny(PUT)) == "allowed"
    assert answer(deny(GET)) == "denied"


# effect of each statement (T applies, F does not, ? unknown) -> answer
@pytest.mark.parametrize(
    ("allows", "denies", "expected"),
    [
        ("T", "", "allowed"),
        ("F", "", "not allowed"),
        ("?", "", "undecided"),
        ("?T", "", "allowed"),
        ("?F", "", "undecided"),
        ("T", "T", "denied"),
        ("?", "T", "denied"),
        ("F", "T", "denied"),
        ("T", "?", "undecided"),
        ("?", "?", "undecided"),
        ("F", "?", "not allowed"),
        ("T", "?T", "denied"),
        ("T", "F", "allowed"),
        ("?", "F", "undecided"),
    ],
)
def test_what_is_unknown_counts_only_where_it_matters(
    allows: str, denies: str, expected: str
) -> None:
    condition = {
        "T": {"StringEquals": {"k": "v"}},
        "F": {"StringEquals": {"k": "other"}},
        "?": {"StringEquals": {"unknown": "v"}},
    }
    statements = [
        *(allow(Condition=condition[each]) for each in allows),
        *(deny(Condition=condition[each]) for each in denies),
    ]
    assert answer(*statements, context={"k": ("v",)}) == expected


def test_a_decision_names_its_statements_and_what_is_missing() -> None:
    policies = Policies(
        [document(allow(PUT)), document(deny(PUT), allow(GET, **IF_TLS), allow(GET, BUCKET))],
        boundary=document(allow()),
        limits=[[document(allow(PUT)), document(allow())]],
    )
    decided = policies.decide(Request(GET, OBJECT, TLS))
    assert decided == Decision("allowed", ((1, 1), (2, 0), (4, 0)), "")
    assert policies.decide(Request(PUT, OBJECT)) == Decision("denied", ((1, 0),), "")
    assert policies.decide(Request(GET, OBJECT)) == Decision(
        "undecided", ((1, 1),), "aws:SecureTransport is not in the record"
    )
    assert policies.decide(Request("s3:ListBucket", BUCKET)) == Decision(
        "not allowed", (), "no statement allows it"
    )


# --- Action and Resource, and their opposites ---


@pytest.mark.parametrize(
    ("value", "is_match"),
    [
        ("s3:GetObject", True),
        ("S3:getobject", True),
        ("s3:Get*", True),
        ("s3:*Object", True),
        ("s3:?etObject", True),
        ("*", True),
        ("*:GetObject", True),
        ("s?:Get*", True),
        ("s3:Get", False),
        ("s3:GetObject?", False),
        ("sqs:*", False),
        (["sqs:*", "s3:GetObject"], True),
        ([], False),
    ],
)
def test_actions(value: Any, is_match: bool) -> None:
    assert answer(allow(value)) == ("allowed" if is_match else "not allowed")
    if value:
        opposite = "not allowed" if is_match else "allowed"
        assert answer(without("Action", allow(value))) == opposite


@pytest.mark.parametrize(
    ("value", "resource", "is_match"),
    [
        (OBJECT, OBJECT, True),
        ("arn:aws:s3:::Reports/a.csv", OBJECT, False),
        ("arn:aws:s3:::reports/*", OBJECT, True),
        (["arn:aws:s3:::x", "arn:aws:s3:::reports/?.csv"], OBJECT, True),
        ("*", OBJECT, True),
        ("**", OBJECT, True),
        ("arn:aws:*", OBJECT, True),
        ("arn:aws:s3:::reports/*", BUCKET, False),
        # An action that takes no resource: the Resource must be *.
        ("*", "*", True),
        ("**", "*", True),
        ("arn:aws:s3:::*", "*", False),
        ("arn:*", "*", False),
    ],
)
def test_resources(value: Any, resource: str, is_match: bool) -> None:
    expected, opposite = ("allowed", "not allowed") if is_match else ("not allowed", "allowed")
    assert answer(allow(GET, value), resource=resource) == expected
    assert answer(without("Resource", allow(GET, value)), resource=resource) == opposite
    denied = answer(allow(), deny(GET, value), resource=resource)
    assert denied == ("denied" if is_match else "allowed")


def test_aws_example_denies_every_service_but_s3_also_without_resources() -> None:
    # reference_policies_examples_s3_deny-except-bucket.html: "This policy denies access to every
    # AWS service except Amazon S3", also beside AmazonEC2FullAccess, whose Describe actions take
    # no resource.
    values = [BUCKET, f"{BUCKET}/*"]
    statements = (
        allow("s3:*", values),
        without("Action", without("Resource", deny("s3:*", values))),
        allow("ec2:*"),
    )
    assert answer(*statements) == "allowed"
    assert answer(*statements, action="ec2:DescribeInstances", resource="*") == "denied"
    assert answer(*statements, resource="arn:aws:s3:::other/a") == "not allowed"


def test_aws_example_of_a_home_directory() -> None:
    # reference_policies_elements_condition_operators.html#Conditions_String
    statements = (
        allow(["s3:ListAllMyBuckets", "s3:GetBucketLocation"], "arn:aws:s3:::*"),
        allow(
            "s3:ListBucket",
            BUCKET,
            Condition={"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/"]}},
        ),
        allow("s3:*", [f"{BUCKET}/home/${{aws:username}}", f"{BUCKET}/home/${{aws:username}}/*"]),
    )
    ann = {"aws:username": ("ann",), "s3:prefix": ("home/ann/",)}
    assert answer(*statements, action="s3:ListAllMyBuckets", resource="*") == "allowed"
    assert answer(*statements, action="s3:ListBucket", resource=BUCKET, context=ann) == "allowed"
    bob = {**ann, "s3:prefix": ("home/bob/",)}
    assert (
        answer(*statements, action="s3:ListBucket", resource=BUCKET, context=bob) == "not allowed"
    )
    mine, yours = f"{BUCKET}/home/ann/x", f"{BUCKET}/home/bob/x"
    assert answer(*statements, action=PUT, resource=mine, context=ann) == "allowed"
    assert answer(*statements, action=PUT, resource=yours, context=ann) == "not allowed"
    assert answer(*statements, action=PUT, resource=mine) == "undecided"


# --- Resources that are patterns ---


@pytest.mark.parametrize(
    ("value", "allowed", "denied", "not_allowed"),
    [
        ("*", "allowed", "denied", "not allowed"),
        (f"{BUCKET}/*", "allowed", "denied", "not allowed"),
        (f"{BUCKET}/2026/*", "allowed", "denied", "not allowed"),
        (f"{BUCKET}/2026/x/*", "undecided", "undecided", "undecided"),
        (f"{BUCKET}/2026/x", "undecided", "undecided", "undecided"),
        (f"{BUCKET}/*.csv", "undecided", "undecided", "undecided"),
        (f"{BUCKET}/2025/*", "not allowed", "allowed", "allowed"),
        (BUCKET, "not allowed", "allowed", "allowed"),
    ],
)
def test_a_pattern_is_allowed_only_as_a_whole(
    value: str, allowed: str, denied: str, not_allowed: str
) -> None:
    pattern = f"{BUCKET}/2026/*"
    assert answer(allow(GET, value), resource=pattern) == allowed
    assert answer(allow(), deny(GET, value), resource=pattern) == denied
    assert answer(without("Resource", allow(GET, value)), resource=pattern) == not_allowed


def test_a_resource_with_a_real_star_is_not_a_pattern() -> None:
    real = f"{BUCKET}/{literal('a*b')}"
    assert answer(allow(GET, f"{BUCKET}/a${{*}}b"), resource=real) == "allowed"
    assert answer(allow(GET, f"{BUCKET}/a*"), resource=real) == "allowed"
    assert answer(allow(GET, f"{BUCKET}/axb"), resource=real) == "not allowed"
    assert answer(allow(GET, f"{BUCKET}/a${{*}}b"), resource=f"{BUCKET}/axb") == "not allowed"
    assert answer(allow(GET, f"{BUCKET}/axb"), resource=f"{BUCKET}/a*b") == "undecided"


def test_an_action_that_is_a_pattern_is_undecided() -> None:
    assert answer(allow(), action="s3:Get*") == "undecided"


# --- Policy variables in resources ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"{BUCKET}/${{aws:username}}.csv", "allowed"),
        (f"{BUCKET}/${{aws:username}}*", "allowed"),
        (f"{BUCKET}/${{aws:PrincipalTag/x, 'a'}}.csv", "allowed"),
        (f"{BUCKET}/${{aws:PrincipalTag/x}}.csv", "not allowed"),
        (f"{BUCKET}/${{aws:userid}}.csv", "undecided"),
        (f"{BUCKET}/${{x:Starred}}", "undecided"),
        (f"{BUCKET}/${{nonsense,}}", "undecided"),
        ("arn:aws:s3:::${x:Bucket}/a.csv", "allowed"),
        ("arn:aws:${x:Service}:::reports/a.csv", "undecided"),
        ([OBJECT, f"{BUCKET}/${{aws:username}}"], "allowed"),
        # "any attempt to match it fails and causes the statement to be invalid"
        ([OBJECT, f"{BUCKET}/${{aws:PrincipalTag/x}}"], "undecided"),
    ],
)
def test_variables(value: Any, expected: str) -> None:
    context = {
        "aws:username": ("a",),
        "x:bucket": ("reports",),
        "x:service": ("s3",),
        "x:starred": ("*",),
    }
    absent = ("aws:principaltag/x",)
    assert answer(allow(GET, value), context=context, absent=absent) == expected


def test_a_missing_variable_under_not_resource() -> None:
    value = [f"{BUCKET}/${{aws:PrincipalTag/x}}"]
    absent = ("aws:principaltag/x",)
    assert answer(without("Resource", allow(GET, value)), absent=absent) == "undecided"
    value.append(OBJECT)
    assert answer(without("Resource", allow(GET, value)), absent=absent) == "not allowed"


@pytest.mark.parametrize("version", ["2008-10-17", None])
def test_variables_are_text_in_old_documents(version: str | None) -> None:
    old = document(
        allow(GET, f"{BUCKET}/${{aws:username}}"),
        allow(PUT, "*", Condition={"StringEquals": {"k": "${aws:username}"}}),
        version=version,
    )
    policies = Policies([old])
    context = {"aws:username": ("ann",), "k": ("${aws:username}",)}
    assert policies.decide(Request(GET, f"{BUCKET}/ann", context)).answer == "not allowed"
    text = f"{BUCKET}/${{aws:username}}"
    assert policies.decide(Request(GET, text, context)).answer == "allowed"
    assert policies.decide(Request(PUT, OBJECT, context)).answer == "allowed"


# --- Boundary and limits ---


# https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
def test_aws_example_of_a_boundary() -> None:
    boundary = document(allow(["s3:*", "cloudwatch:*", "ec2:*"]))
    create_user = Policies([document(allow("iam:CreateUser"))], boundary=boundary)
    user = "arn:aws:iam::111122223333:user/ann"
    decided = create_user.decide(Request("iam:CreateUser", user))
    assert decided == Decision("not allowed", (), "the permissions boundary does not allow it")
    # A boundary grants nothing by itself.
    assert create_user.decide(Request(GET, OBJECT)).answer == "not allowed"
    both = Policies([document(allow("s3:*"))], boundary=boundary)
    assert both.decide(Request(GET, OBJECT)).answer == "allowed"
    denying = document(allow("s3:*"), deny(GET, BUCKET + "/*"))
    assert Policies([denying], boundary=boundary).decide(Request(GET, OBJECT)).answer == "denied"
    assert (
        Policies([document(allow("s3:*"))], boundary=denying).decide(Request(GET, OBJECT)).answer
        == "denied"
    )


ALL = document(allow())


# https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], "allowed"),
        ([[ALL], [ALL], [ALL]], "allowed"),
        # "there must be an explicit Allow at every level from the root through each OU"
        ([[ALL], [document(allow("ec2:*"))], [ALL]], "not allowed"),
        ([[ALL], [], [ALL]], "not allowed"),
        ([[ALL], [document(allow("ec2:*")), document(allow("s3:*"))], [ALL]], "allowed"),
        # "any denies at any level"
        ([[ALL], [ALL, document(deny(GET))], [ALL]], "denied"),
        ([[ALL, document(deny(PUT))], [ALL]], "allowed"),
        ([[ALL, document(deny(GET, **IF_TLS))], [ALL]], "undecided"),
        ([[document(allow(**IF_TLS))], [ALL]], "undecided"),
        ([[document(allow(**IF_TLS))], [document(allow(PUT))]], "not allowed"),
        # An RCP has a Principal, and it must be everyone.
        ([[ALL, document({**deny(GET), "Principal": "*"})]], "denied"),
        ([[ALL, document({**deny(GET), "Principal": {"AWS": "*"}})]], "denied"),
    ],
)
def test_limits_level_by_level(limits: list[list[PolicyDocument]], expected: str) -> None:
    policies = Policies([document(allow(GET))], limits=limits)
    assert policies.decide(Request(GET, OBJECT)).answer == expected


# --- What it does not know ---


@pytest.mark.parametrize(
    "statement",
    [
        Statement("Allow", actions=("*",), resources=("*",), principals={"AWS": "111122223333"}),
        Statement("Allow", actions=("*",), resources=("*",), not_principals="*"),
        Statement("Allow", actions=("*",)),
        Statement("Allow", resources=("*",)),
        Statement("Allow", not_actions=(), resources=("*",)),
        Statement("Allow", actions=("*",), not_resources=()),
        Statement("Allow", actions=("*",), resources=("*",), conditions={"Odd": {"k": "v"}}),
        Statement("Allow", actions=("*",), resources=("*",), conditions={"StringEquals": "k"}),
    ],
)
def test_a_statement_that_is_not_understood_is_undecided(statement: Statement) -> None:
    decided = Policies([PolicyDocument((statement,))]).decide(Request(GET, OBJECT))
    assert decided.answer == "undecided"
    assert decided.why
    beside = PolicyDocument((statement, Statement("Allow", actions=("*",), resources=("*",))))
    assert Policies([beside]).decide(Request(GET, OBJECT)).answer == "allowed"


# --- Properties ---

CONDITIONS = st.dictionaries(
    st.sampled_from(["StringEquals", "StringNotLike", "ForAllValues:StringEquals", "Null"]),
    st.dictionaries(
        st.sampled_from(["k", "m"]),
        st.lists(st.sampled_from(["true", "a", "a*", "${m}", "${m, 'a'}"]), min_size=1, max_size=2),
        min_size=1,
    ),
    max_size=2,
)
RESOURCES = st.lists(
    st.sampled_from(["*", OBJECT, f"{BUCKET}/*", f"{BUCKET}/${{m}}", f"{BUCKET}/${{k, 'a'}}*"]),
    min_size=1,
    max_size=2,
)
STATEMENTS = st.builds(
    lambda effect, element, resources, conditions: {
        "Effect": effect,
        "Action": "*",
        element: resources,
        "Condition": conditions,
    },
    st.sampled_from(["Allow", "Allow", "Deny"]),
    st.sampled_from(["Resource", "Resource", "NotResource"]),
    RESOURCES,
    CONDITIONS,
)
DOCUMENTS = st.lists(STATEMENTS, min_size=1, max_size=3).map(lambda found: document(*found))
VALUES = st.sampled_from([None, ("a",), ("true",), ("b", "a"), ("",)])


def known(values: dict[str, tuple[str, ...] | None], resource: str) -> Request:
    """The request with each key present or, under None, absent; a key left out is unknown."""
    present = {key: value for key, value in values.items() if value is not None}
    return Request(GET, resource, present, frozenset(values) - frozenset(present))


@given(
    st.lists(DOCUMENTS, min_size=1, max_size=2),
    st.one_of(st.none(), DOCUMENTS),
    st.fixed_dictionaries({"k": VALUES, "m": VALUES}),
    st.sets(st.sampled_from(["k", "m"]), min_size=1),
)
def test_learning_more_never_turns_an_answer(
    identity: list[PolicyDocument],
    boundary: PolicyDocument | None,
    values: dict[str, tuple[str, ...] | None],
    hidden: set[str],
) -> None:
    """What is decided with keys unknown is decided so whatever the keys turn out to be."""
    policies = Policies(identity, boundary=boundary)
    partial = {key: value for key, value in values.items() if key not in hidden}
    before, after = policies.decide(known(partial, OBJECT)), policies.decide(known(values, OBJECT))
    if before.answer == "not allowed":
        assert after.answer in {"not allowed", "denied"}
    elif before.answer != "undecided":
        assert after.answer == before.answer


@given(
    st.lists(DOCUMENTS, min_size=1, max_size=2),
    st.fixed_dictionaries({"k": VALUES, "m": VALUES}),
    st.sampled_from([(f"{BUCKET}/*", OBJECT), (f"{BUCKET}/?.csv", OBJECT), ("arn:*", BUCKET)]),
)
def test_a_pattern_is_decided_as_what_it_matches(
    identity: list[PolicyDocument],
    values: dict[str, tuple[str, ...] | None],
    pair: tuple[str, str],
) -> None:
    policies = Policies(identity)
    pattern, arn = pair
    whole, part = policies.decide(known(values, pattern)), policies.decide(known(values, arn))
    if whole.answer == "not allowed":
        assert part.answer in {"not allowed", "denied"}
    elif whole.answer != "undecided":
        assert part.answer == whole.answer


@given(st.lists(DOCUMENTS, min_size=1, max_size=2), DOCUMENTS)
def test_a_boundary_or_a_limit_never_allows_more(
    identity: list[PolicyDocument], limit: PolicyDocument
) -> None:
    request = Request(GET, OBJECT, {"k": ("a",), "m": ("a",)})
    free = Policies(identity).decide(request).answer
    bounded = Policies(identity, boundary=limit).decide(request).answer
    assert bounded == Policies(identity, limits=[[limit]]).decide(request).answer
    if bounded == "allowed":
        assert free == "allowed"
    if free == "denied":
        assert bounded == "denied"


def test_150_000_decisions_would_take_seconds() -> None:
    """A coarse guard: 6,000 decisions of 200 principals, well under half a second when idle."""
    shared = document(*(allow(f"s{number}:Get*") for number in range(200)))
    start = time.process_time()
    for number in range(200):
        own = document(
            *(
                allow([f"s{i}:Put{number}", f"s{i}:Do*"], f"arn:aws:s{i}:*:1:thing/{number}/*")
                for i in range(8)
            ),
            deny("iam:*", "*", Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}),
        )
        policies = Policies([own, shared], boundary=ALL, limits=[[ALL]])
        for i in range(30):
            resource = f"arn:aws:s{i % 8}:r:1:thing/{number}/x"
            assert policies.decide(Request(f"s{i % 8}:Do", resource)).answer == "allowed"
    assert time.process_time() - start < 3
