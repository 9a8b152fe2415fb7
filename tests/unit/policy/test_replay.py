"""The replay certificate, alone and as the judge of every proposal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pare.policy.access import Access, access_today
from pare.policy.conditions import absent_keys, request_context
from pare.policy.document import parse
from pare.policy.evaluate import Request
from pare.policy.evidence import Evidence, Terms
from pare.policy.keep import Kept
from pare.policy.observed import observed_calls
from pare.policy.reasons import Facts, reasons_of
from pare.policy.replay import MAX_LISTED
from pare.policy.replay_text import replay_text
from pare.policy.statements import Rules
from tests.unit.policy.evidence_builders import (
    ACCOUNT,
    FILE,
    LAST,
    OFFICE,
    REGION,
    ROLE,
    TLS,
    USER,
    activity,
    allow,
    calls,
    covered,
    current,
    deny,
    propose,
    refused,
    replayed,
    today,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.policy.replay import ReplayJson
    from tests.unit.policy.evidence_builders import Json, Made

A, B, ALL = "arn:aws:s3:::orders/a", "arn:aws:s3:::orders/b", "arn:aws:s3:::orders/*"
ROLES = f"arn:aws:iam::{ACCOUNT}:role/"
LAMBDA = "lambda.amazonaws.com"


def answers(found: ReplayJson) -> list[tuple[str, str | None, str]]:
    return [(each["action"], each["resource"], each["answer"]) for each in found["counterexamples"]]


def answer(made: Made, granted: Access, before: Access | None = None) -> str:
    """Return what becomes of one call."""
    found = replayed(activity(made), granted, before)
    if found["not_granted_today"]:
        return "elsewhere"
    return found["counterexamples"][0]["answer"] if found["counterexamples"] else "allowed"


# --- The certificate ---


def test_a_certificate_counts_rows_and_calls() -> None:
    done = activity(
        use("s3:GetObject", A, count=5), use("s3:GetObject", B, count=2),
        use("s3:PutObject", A, count=9), use("s3:GetObjectAcl", A, count=3),
    )  # fmt: skip
    granted = today(
        allow("s3:GetObject", A), allow("s3:GetObjectAcl", Condition=OFFICE), deny("s3:PutObject")
    )

    found = replayed(done, granted)

    assert found == {
        "rows": 4, "allowed_rows": 1, "undecided_rows": 1, "calls": 19, "allowed_calls": 5,
        "counterexamples": found["counterexamples"], "more_counterexamples": 0,
        "not_granted_today": [], "more_not_granted_today": 0, "complete": False,
    }  # fmt: skip
    # What is sure comes first, then what was called most.
    assert answers(found) == [
        ("s3:PutObject", A, "denied"),
        ("s3:GetObject", B, "not allowed"),
        ("s3:GetObjectAcl", A, "undecided"),
    ]
    assert found["counterexamples"][0] | {"why": ""} == {
        "action": "s3:PutObject", "resource": A, "passed_to_service": "", "answer": "denied",
        "why": "", "count": 9, "last": LAST, "file": FILE,
    }  # fmt: skip
    assert found["counterexamples"][2]["why"] == "aws:SourceIp is not in the record"


def test_refused_calls_are_not_replayed_and_nothing_is_complete() -> None:
    found = replayed(activity(refused("s3:GetObject", A)), today())

    assert (found["rows"], found["complete"]) == (0, True)


def test_all_counterexamples_are_counted_and_some_listed() -> None:
    done = activity(*(use("s3:GetObject", f"{A}{n}") for n in range(MAX_LISTED + 7)))

    found = replayed(done, today(allow("ec2:*")))
    elsewhere = replayed(done, today(allow("ec2:*")), today(allow("ec2:*")))

    assert (len(found["counterexamples"]), found["more_counterexamples"]) == (MAX_LISTED, 7)
    assert (len(elsewhere["not_granted_today"]), elsewhere["more_not_granted_today"]) == (
        MAX_LISTED, 7,
    )  # fmt: skip
    assert elsewhere["counterexamples"] == []


# --- Calls that today's policies do not grant ---


@pytest.mark.parametrize(
    "before",
    [
        today(),
        today(allow("s3:GetObject", B)),
        today(allow("s3:*"), deny("s3:GetObject", ALL)),
        today(allow("s3:*"), boundary=[allow("ec2:*")]),
    ],
)
def test_what_today_does_not_grant_is_listed_apart(before: Access) -> None:
    assert answer(use("s3:GetObject", A), before, before) == "elsewhere"


def test_without_todays_policies_it_is_a_counterexample() -> None:
    assert answer(use("s3:GetObject", A), today()) == "not allowed"


# --- Conditions that the records do not tell ---


@pytest.mark.parametrize(
    ("granted", "found"),
    [
        (today(allow("s3:GetObject", A, Condition=TLS)), "allowed"),
        (today(allow("s3:*", ALL, Condition=TLS)), "allowed"),
        (today(allow("s3:GetObject", A)), "allowed"),
        # Other conditions, one more, or on something else: not shown.
        (today(allow("s3:GetObject", A, Condition=OFFICE)), "undecided"),
        (today(allow("s3:GetObject", A, Condition={**TLS, **OFFICE})), "undecided"),
        (today(allow("s3:GetObject", B, Condition=TLS)), "not allowed"),
        # The same way, and a refusal or a boundary that was not there.
        (today(allow("s3:GetObject", A, Condition=TLS), deny("s3:*", Condition=OFFICE)),
         "undecided"),
        (today(allow("s3:GetObject", A, Condition=TLS), deny("s3:*")), "denied"),
        (today(allow("s3:GetObject", A, Condition=TLS),
               boundary=[allow("*", Condition=OFFICE)]), "undecided"),
        (today(allow("s3:GetObject", A, Condition=TLS), deny("ec2:*", Condition=OFFICE)),
         "allowed"),
    ],
)  # fmt: skip
def test_a_call_under_conditions_is_allowed_only_if_the_same_statement_is_there(
    granted: Access, found: str
) -> None:
    before = today(allow("s3:*", ALL, Condition=TLS))

    assert answer(use("s3:GetObject", A), granted, before) == found
    assert answer(use("s3:GetObject", A), granted) in {found, "undecided"}


def test_every_way_of_today_must_still_be_there() -> None:
    before = today(allow("s3:*", Condition=TLS), allow("s3:*", ALL, Condition=OFFICE))
    one = today(allow("s3:GetObject", A, Condition=TLS))
    both = today(allow("s3:*", A, Condition=TLS), allow("s3:*", A, Condition=OFFICE))

    assert answer(use("s3:GetObject", A), one, before) == "undecided"
    assert answer(use("s3:GetObject", A), both, before) == "allowed"


def test_a_deny_of_today_that_is_kept_refuses_no_more_than_before() -> None:
    before = today(allow("s3:*"), deny("s3:*", Condition=OFFICE, Sid="One"))
    after = today(allow("s3:GetObject", A), deny(["s3:*"], Condition=OFFICE, Sid="Two"))

    assert answer(use("s3:GetObject", A), after, before) == "allowed"


@pytest.mark.parametrize(
    ("variable", "found"),
    [
        ("arn:aws:s3:::home/${aws:PrincipalTag/team}/*", "not allowed"),
        ("arn:aws:s3:::orders/${aws:PrincipalTag/team}", "undecided"),
        # What a variable means that early is not documented.
        ("arn:aws:s3:${aws:PrincipalTag/team}::home/*", "undecided"),
    ],
)
def test_a_variable_decides_nothing_about_resources_it_cannot_name(
    variable: str, found: str
) -> None:
    assert answer(use("s3:GetObject", A), today(allow("s3:*", variable))) == found
    buckets = use("s3:ListAllMyBuckets", "*")
    assert answer(buckets, today(allow("s3:*", "arn:aws:s3:::x/${aws:PrincipalTag/team}"))) == (
        "not allowed"
    )


# --- Resources that the records do not tell ---


@pytest.mark.parametrize(
    ("granted", "found"),
    [
        (today(allow("s3:GetObject", "*")), "allowed"),
        (today(allow("s3:GetObject", ["arn:aws:s3:::*", "arn:aws:s3:*:*:accesspoint/*"])),
         "allowed"),
        (today(allow("s3:GetObject", A)), "undecided"),
        (today(allow("ec2:*")), "not allowed"),
        (today(), "not allowed"),
        (today(allow("s3:GetObject"), deny("s3:*")), "denied"),
        # Some of them: it may have been another.
        (today(allow("s3:GetObject"), deny("s3:*", "arn:aws:s3:*:*:accesspoint/*")), "undecided"),
    ],
)  # fmt: skip
def test_an_unknown_resource_may_have_been_any(granted: Access, found: str) -> None:
    assert answer(use("s3:GetObject", None), granted) == found


@pytest.mark.parametrize(
    ("before", "granted", "found"),
    [
        # It was one of those that are granted today.
        ([allow("s3:*", [A, B])], [allow("s3:GetObject", [A, B])], "allowed"),
        ([allow("s3:*", [A, B])], [allow("s3:GetObject", A)], "undecided"),
        ([allow("s3:*", [A, B], Condition=TLS)], [allow("s3:GetObject", [A, B], Condition=TLS)],
         "allowed"),
        # It cannot have been what a Deny refuses.
        ([allow("s3:*", [A, B]), deny("s3:*", B)],
         [allow("s3:GetObject", A), deny("s3:*", B)], "allowed"),
        ([allow("s3:*", [A, B]), deny("s3:*")], [allow("s3:*", [A, B])], "elsewhere"),
        ([allow("s3:*", [A, B]), deny("s3:*")], [allow("s3:*", A), deny("s3:*")], "elsewhere"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": [B, A]}],
         [{"Effect": "Allow", "Action": "s3:GetObject", "NotResource": [A, B]}], "allowed"),
    ],
)  # fmt: skip
def test_an_unknown_resource_was_one_that_is_granted_today(
    before: list[Json], granted: list[Json], found: str
) -> None:
    assert answer(use("s3:GetObject", None), today(*granted), today(*before)) == found


@pytest.mark.parametrize(
    ("sketch", "found"),
    [
        ("arn:aws:s3:::orders/2026/*", "allowed"),
        ("arn:aws:s3:::*", "undecided"),
        ("arn:aws:s3:*", "undecided"),
        ("arn:*", "undecided"),
        ("arn:aws:dynamodb:*", "not allowed"),
    ],
)
def test_a_sketch_is_allowed_where_all_of_it_is(sketch: str, found: str) -> None:
    assert answer(use("s3:GetObject", sketch, depth=1), today(allow("s3:*", ALL))) == found


# --- Passing roles ---

TO_LAMBDA = {"StringEquals": {"iam:PassedToService": LAMBDA}}


@pytest.mark.parametrize(
    ("to", "found"), [(LAMBDA, "allowed"), ("ec2.amazonaws.com", "not allowed"), ("", "undecided")]
)
def test_a_role_is_passed_to_the_service_that_is_named(to: str, found: str) -> None:
    granted = today(allow("iam:PassRole", f"{ROLES}*", Condition=TO_LAMBDA))

    assert answer(use("iam:PassRole", f"{ROLES}a", to=to), granted) == found


def test_the_service_may_be_demanded_besides_the_conditions_of_today() -> None:
    before = today(allow("iam:PassRole", "*", Condition=TLS))
    granted = today(allow("iam:PassRole", f"{ROLES}a", Condition={
        **TLS, "StringEquals": {"iam:PassedToService": [LAMBDA]},
    }))  # fmt: skip

    made = use("iam:PassRole", f"{ROLES}a", to=LAMBDA)
    assert answer(made, granted, before) == "allowed"
    assert answer(use("iam:PassRole", f"{ROLES}a"), granted, before) == "undecided"


# --- In words ---


def test_the_certificate_in_words() -> None:
    done = activity(
        use("iam:PassRole", f"{ROLES}a", to=LAMBDA, count=1200), use("s3:GetObject", None, file=""),
        use("ec2:DescribeInstances", count=3),
    )  # fmt: skip

    told = replay_text(replayed(done, today(allow("ec2:*"))), unmapped={"x:Do": 2})

    assert told == (
        "2 uses not shown to be allowed:\n"
        f"  NOT ALLOWED  iam:PassRole to {LAMBDA}: 1 resource, 1,200 calls; "
        "no statement allows it\n"
        f"               {ROLES}a\n"
        f"               last {LAST} in {FILE}\n"
        "  NOT ALLOWED  s3:GetObject: 1 call; no statement allows it\n"
        "               on a resource the records do not tell\n"
        f"               last {LAST}\n"
        "\n"
        "1 of 3 observed uses would still be allowed (3 of 1,204 calls).\n"
        "Not replayed: 1 operation that maps to no known action: x:Do\n"
    )


def test_more_than_fit_are_counted_in_words() -> None:
    done = activity(*(use("s3:GetObject", f"{A}{n}") for n in range(60)))

    told = replay_text(replayed(done, today()), unmapped={})

    assert told == (
        "60 uses not shown to be allowed:\n"
        "  NOT ALLOWED  s3:GetObject: 50 resources, 50 calls; no statement allows it\n"
        f"               such as {A}0\n"
        f"               last {LAST} in {FILE}\n"
        "  … and 10 more uses, counted and not listed anywhere\n"
        "\n"
        "0 of 60 observed uses would still be allowed (0 of 60 calls).\n"
    )


def test_uses_with_one_cause_are_told_once_with_the_latest() -> None:
    done = activity(
        *(use("s3:GetBucketLogging", f"{A}{n}") for n in range(8)),
        use("s3:PutObject", A),
    )
    certificate = replayed(done, today())
    certificate["counterexamples"][3] |= {"last": "2030-01-01T00:00:00Z", "file": "late.json.gz"}

    told = replay_text(certificate, unmapped={"a:B": 1, "a:C": 1})

    assert told.count("NOT ALLOWED") == 2
    assert (
        "  NOT ALLOWED  s3:GetBucketLogging: 8 resources, 8 calls; no statement allows it\n"
        f"               such as {A}0\n"
        "               last 2030-01-01T00:00:00Z in late.json.gz\n"
    ) in told
    assert "2 operations that map to no known action: a:B, a:C\n" in told


def test_at_most_twenty_causes_are_told() -> None:
    done = activity(*(use(f"s3:Action{n:02}", f"{A}{n}") for n in range(30)))

    told = replay_text(replayed(done, today()), unmapped={})

    assert told.count("NOT ALLOWED") == 20
    assert "… and 10 more causes (--format json lists them)\n" in told


def test_reasons_can_be_told_where_what_is_undecided_is_beyond_what_is_listed() -> None:
    done = activity(
        *(use("s3:GetObject", f"{A}{n}") for n in range(MAX_LISTED)),
        use("s3:PutObject", A),
    )
    evidence = Evidence(ROLE, ACCOUNT, "role", activity=done, coverage=covered())
    proposal = propose(done)
    proposal["replay"] = replayed(done, today(allow("s3:PutObject", Condition=TLS)))
    facts = Facts(observed_calls(done), set(), Kept(), None, evidence, Terms())

    codes = [each["code"] for each in reasons_of(proposal, facts)]

    assert {"REPLAY_FAILED", "REPLAY_UNDECIDED"} <= set(codes)


# --- Every proposal ---

TABLE, COMPUTE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/", f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
OBJECTS = [f"arn:aws:s3:::{bucket}/{key}" for bucket in ("orders", "shop")
           for key in ("a", "logs/1", "logs/2", "logs/3", "tmp/x.json")]  # fmt: skip
USED: dict[str, list[str]] = {
    "s3:GetObject": OBJECTS,
    "s3:PutObject": OBJECTS,
    "s3:ListAllMyBuckets": ["*"],
    "ec2:DescribeInstances": ["*"],
    "dynamodb:Query": [TABLE + name for name in ("a1", "a2", "b1")],
    "ec2:AttachVolume": [COMPUTE + name for name in ("instance/i-1", "instance/i-2", "volume/v")],
    "iam:PassRole": [ROLES + name for name in ("a1", "a2", "b1", "app/web")],
}
SKETCHES = {
    "s3:GetObject": ["arn:aws:s3:::orders/logs/*", "arn:aws:s3:::*", "arn:aws:s3:*", "arn:*"],
    "dynamodb:Query": [TABLE.removesuffix("table/") + "*"],
}
RESOURCES = [
    "*", *OBJECTS, ALL, "arn:aws:s3:::*/logs/*", "arn:aws:s3:::orders/logs/?", "arn:aws:s3:::o*",
    "arn:aws:s3:::*.json", "arn:aws:s3:::*", "arn:aws:s3:::${aws:username}/*",
    "arn:aws:s3:::orders/${aws:PrincipalTag/team}/*", TABLE + "*", TABLE + "a*", TABLE + "b1",
    "arn:aws:dynamodb:*:*:table/a1", COMPUTE + "instance/*", COMPUTE + "*",
    "arn:aws:ec2:*:*:volume/*", ROLES + "a*", ROLES + "b*", ROLES + "*", ROLES + "app/*",
]  # fmt: skip
ACTIONS = [
    "*", "s3:*", "s3:Get*", "s3:GetObject", "s3:PutObject", "s3:ListAllMyBuckets", "dynamodb:*",
    "dynamodb:Query", "ec2:*", "ec2:AttachVolume", "iam:PassRole", "iam:*", "ec2:Describe*",
]  # fmt: skip
CONDITIONS: list[Json] = [
    {}, {}, {}, TLS, OFFICE, TO_LAMBDA,
    {"StringLike": {"iam:PassedToService": ["*.amazonaws.com"]}},
    {"StringEquals": {"aws:RequestedRegion": REGION}},
    {"StringEquals": {"aws:ResourceTag/a": "b"}},
]  # fmt: skip


@st.composite
def used(draw: st.DrawFn) -> Made:
    action = draw(st.sampled_from(sorted(USED)))
    made: Callable[..., Made] = draw(st.sampled_from([use, use, use, refused]))
    to = draw(st.sampled_from(["", LAMBDA, "ec2.amazonaws.com"])) if "Pass" in action else ""
    kind = draw(st.sampled_from(["known"] * 6 + ["unknown", "sketch"]))
    if kind == "sketch" and action in SKETCHES:
        return made(action, draw(st.sampled_from(SKETCHES[action])), depth=1)
    if kind == "unknown" and USED[action] != ["*"]:
        return made(action, None, to=to)
    regions = draw(st.sampled_from([(REGION,), (REGION, "us-east-1"), ()]))
    return made(action, draw(st.sampled_from(USED[action])), to=to, regions=regions)


@st.composite
def statements(draw: st.DrawFn) -> Json:
    def some(values: list[str]) -> list[str]:
        return draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))

    found: dict[str, Any] = {
        "Effect": draw(st.sampled_from(["Allow"] * 4 + ["Deny"])),
        draw(st.sampled_from(["Action"] * 5 + ["NotAction"])): some(ACTIONS),
        draw(st.sampled_from(["Resource"] * 5 + ["NotResource"])): some(RESOURCES),
    }
    conditions = draw(st.sampled_from(CONDITIONS))
    return {**found, "Condition": conditions} if conditions else found


POLICIES = st.lists(statements(), min_size=1, max_size=4)
PROPERTY = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip


def test_a_call_without_a_known_resource_that_a_policy_variable_may_grant_is_for_review() -> None:
    made = [use("dynamodb:Query", TABLE + "a1"), use("dynamodb:Query", None)]
    granted: list[Json] = [
        {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::orders/1", "Condition": TLS},
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": ["arn:aws:s3:::orders/a", "arn:aws:s3:::${aws:username}/*"],
            "Condition": TLS,
        },
    ]

    proposal = propose(
        activity(*made), current(*granted, arn=ROLE), terms=Terms(rules=Rules(fold_after=1))
    )

    assert proposal["verdict"] == "review"
    assert proposal["reasons"][0]["code"] == "REPLAY_UNDECIDED"
    assert proposal["replay"] is not None
    assert [each["resource"] for each in proposal["replay"]["counterexamples"]] == [None]


@PROPERTY
@given(
    st.lists(used(), min_size=1, max_size=12),
    POLICIES,
    st.one_of(st.none(), st.none(), POLICIES),
    st.sampled_from([1, 2, 20, None]),
    st.sampled_from([ROLE, USER]),
)
def test_every_call_that_today_grants_replays_and_nothing_is_new(
    made: list[Made],
    granted: list[Json],
    boundary: list[Json] | None,
    fold_after: int | None,
    arn: str,
) -> None:
    held = current(*granted, boundary=boundary, arn=arn)

    proposal = propose(activity(*made), held, terms=Terms(rules=Rules(fold_after=fold_after)))

    certificate, proof = proposal["replay"], proposal["no_new_access"]
    if certificate is None:
        assert proposal["reasons"][0]["code"] == "NO_ACTIVITY"
        return
    is_open = any("NotResource" in each or "${" in json.dumps(each) for each in granted)
    # What a policy variable may grant of a call without a known resource is unknown: never lost.
    for each in certificate["counterexamples"]:
        assert is_open, each
        assert (each["resource"], each["answer"]) == (None, "undecided"), each
    if proof is None:
        assert proposal["verdict"] == "refused"
        return
    assert proof["result"] in ({"proved", "undecided"} if is_open else {"proved"}), proof
    # And by the evaluator itself, without the certificate.
    before = access_today(held).policies
    after = Access(
        [parse(each) for each in proposal["documents"]], boundary=access_today(held).boundary
    ).policies
    for row in calls(*made).allowed:
        if row.resource in {each for some in USED.values() for each in some}:
            request = Request(
                row.action,
                row.resource or "",
                request_context(arn, row.regions, row.passed_to_service),
                absent_keys(arn),
            )
            was, now = before.decide(request).answer, after.decide(request).answer
            assert now == was or (is_open and "undecided" in {was, now}), request


@PROPERTY
@given(st.lists(used(), min_size=1, max_size=12), st.sampled_from([1, 2, 20, None]))
def test_where_todays_policies_are_not_known_every_call_replays_as_well(
    made: list[Made], fold_after: int | None
) -> None:
    done = activity(*made)

    proposal = propose(done, terms=Terms(rules=Rules(fold_after=fold_after)))

    if certificate := proposal["replay"]:
        assert certificate["complete"]
        assert certificate["allowed_calls"] == sum(row.count for row in calls(*made).allowed)
    else:
        assert not calls(*made).allowed


@PROPERTY
@given(st.lists(used(), min_size=1, max_size=8), POLICIES)
def test_what_was_only_refused_is_no_need_and_is_told(
    made: list[Made], granted: list[Json]
) -> None:
    found = calls(*made)

    proposal = propose(activity(*made), current(*granted))

    allowed = {row.action for row in found.allowed}
    for evidence in proposal["evidence"]:
        if evidence["basis"] == "observed":
            assert set(evidence["actions"]) <= allowed
            assert {each["action"] for each in evidence["uses"]} <= allowed
    assert {(each["action"], each["resource"]) for each in proposal["refused_calls"]} == {
        (row.action, row.resource) for row in found.never_allowed
    }


def test_the_boundary_of_today_bounds_the_replay_of_a_proposal() -> None:
    held = current(allow("s3:*"), boundary=[allow("s3:GetObject", Condition=TLS)])

    proposal = propose(activity(use("s3:GetObject", A), use("s3:PutObject", A)), held)

    certificate = proposal["replay"]
    assert certificate is not None
    assert certificate["counterexamples"] == []
    assert [each["action"] for each in certificate["not_granted_today"]] == ["s3:PutObject"]
    assert proposal["not_granted_today"] == ["s3:PutObject"]
