"""Pare's evaluator and the emulator's, written by other people, answer the same requests.

The emulator's function is called in this process: SimulateCustomPolicy, which calls it too, passes
on neither context keys nor a boundary. Every difference must belong to a rule of the table of known
differences below; each rule has AWS's page and is met at least once, or it is out of date.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from ministack.core import iam_evaluator
from ministack.services import iam as emulated_iam

from pare.policy.document import parse
from pare.policy.evaluate import Decision, Policies, Request

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = 6_000
GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/Worker"
SIMULATED = {"allowed": "allowed", "explicitDeny": "denied", "implicitDeny": "not allowed"}
ANSWERS = {"Allow": "allowed", "Deny": "denied", "ImplicitDeny": "not allowed"}

ACTIONS = [
    "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:ListAllMyBuckets", "sqs:SendMessage",
    "iam:PassRole", "ec2:DescribeInstances",
]  # fmt: skip
ACTION_VALUES = [
    *ACTIONS, "*", "s3:*", "S3:get*", "s3:*Object", "s3:?etObject", "sqs:*", "*:Get*", "iam:Pass*",
    "ec2:Describe*", "s3:List*",
]  # fmt: skip
RESOURCES = [
    "*", "arn:aws:s3:::reports", "arn:aws:s3:::reports/2026/a.csv", "arn:aws:s3:::logs/x:y/z",
    "arn:aws:s3:::Reports/2026/a.csv", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:orders",
    f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders", ROLE,
    f"arn:aws:x:eu-west-1:{ACCOUNT}:store/abc:{ACCOUNT}:finance/d.txt",
]  # fmt: skip
RESOURCE_VALUES = [
    *RESOURCES, "*", "*", "arn:aws:s3:::*", "arn:aws:s3:::reports/*", "arn:aws:s3:::r?ports/*.csv",
    "arn:aws:sqs:*:*:orders", f"arn:aws:sqs:*:{ACCOUNT}:*", "arn:aws:s3:::*/a.csv", "arn:aws:*",
    f"arn:aws:iam::{ACCOUNT}:role/*", f"arn:aws:x:e*1:{ACCOUNT}:finance/*", "arn:*:s3:::logs/*",
    f"arn:aws:x:*1:{ACCOUNT}:finance/*", "arn:aws:s?s:*:*:orders",
    "arn:aws:s3:::reports/${aws:PrincipalTag/year}/*", "arn:aws:s3:::${$}{x}",
]  # fmt: skip
# Condition keys with the values a request may hold (None: the key is not in it).
KEYS: dict[str, list[Any]] = {
    "aws:PrincipalTag/year": [None, "2026", "2025"],
    "aws:SourceVpce": [None, "vpce-1", "VPCE-1", "vpce-2"],
    "s3:prefix": [None, "", "home/", "home/ann/x", "a*b"],
    "s3:max-keys": [None, "10", "9.5", "100", "many"],
    "aws:TokenIssueTime": [None, "2026-03-01T00:00:00Z", "2026-03-01T12:30:00+02:00", "1772323200"],
    "aws:MultiFactorAuthPresent": [None, "true", "false", "True"],
    "aws:VpcSourceIp": [None, "203.0.113.7", "198.51.100.1", "2001:db8::1", "amazonaws.com"],
    "aws:SourceArn": [
        None, f"arn:aws:sns:eu-west-1:{ACCOUNT}:topic", f"arn:aws:x:e:1:s/a:{ACCOUNT}:topic", "x",
    ],
    "x:blob": [None, "QQ==", "Qg=="],
    "aws:CalledVia": [None, [], [""], ["a"], ["a", "b"], ["c"], ["b", "c"]],
}  # fmt: skip
STRINGS = ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
           "StringLike", "StringNotLike"]  # fmt: skip
ORDERS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
# Key -> the operators tried on it and the policy values.
TESTS: dict[str, tuple[list[str], list[Any]]] = {
    "aws:PrincipalTag/year": (STRINGS, ["2026", "20*", "${aws:SourceVpce}", "202?"]),
    "aws:SourceVpce": (STRINGS, ["vpce-1", "vpce-*", "vpce-?", "${aws:SourceVpce, 'vpce-1'}"]),
    "s3:prefix": (STRINGS, ["", "home/*", "home/${aws:PrincipalTag/year}", "a${*}b", "a*b", "*"]),
    "s3:max-keys": ([f"Numeric{each}" for each in ORDERS], ["10", 10, 9.5, "99", "x"]),
    "aws:TokenIssueTime": (
        [f"Date{each}" for each in ORDERS],
        ["2026-03-01T00:00:00Z", "2026-03-01T10:30:00Z", "1772323200", "2026-03-01", "soon"],
    ),
    "aws:MultiFactorAuthPresent": (["Bool"], ["true", "false", True, "yes"]),
    "aws:VpcSourceIp": (
        ["IpAddress", "NotIpAddress"],
        ["203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "203.0.113.9/24", "0.0.0.0/0"],
    ),
    "aws:SourceArn": (
        ["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
        [f"arn:aws:sns:*:{ACCOUNT}:topic", "arn:aws:*:*:*:topic", f"arn:aws:x:*:{ACCOUNT}:topic"],
    ),
    "x:blob": (["BinaryEquals"], ["QQ=="]),
    "aws:CalledVia": (STRINGS, ["a", "b", "?"]),
}


@dataclass(frozen=True)
class Case:
    """A request, every key of which is known, and the policies it meets."""

    identity: list[dict[str, Any]]
    boundary: dict[str, Any] | None
    limits: list[list[dict[str, Any]]]
    action: str
    resource: str
    values: dict[str, Any]

    def ours(self, hidden: frozenset[str] = frozenset()) -> Decision:
        """Return Pare's decision, with some keys unknown."""
        policies = Policies(
            [parse(each) for each in self.identity],
            boundary=None if self.boundary is None else parse(self.boundary),
            limits=[[parse(each) for each in level] for level in self.limits],
        )
        known = {key.lower(): value for key, value in self.values.items() if key not in hidden}
        return policies.decide(
            Request(
                self.action,
                self.resource,
                {
                    key: tuple(value) if isinstance(value, list) else (value,)
                    for key, value in known.items()
                    if value is not None
                },
                frozenset(key for key, value in known.items() if value is None),
            )
        )

    def theirs(self) -> str:
        """Return the emulator's answer in Pare's words."""
        layers = [
            self.identity,
            *([] if self.boundary is None else [[self.boundary]]),
            *self.limits,
        ]
        parsed = [[iam_evaluator.parse_policy_document(each) for each in one] for one in layers]
        context = iam_evaluator.EvalContext(
            principal_arn=ROLE,
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=self.action,
            resource_arn=self.resource,
            region="eu-west-1",
            # A list of one it would compare as the text "['a']".
            service_context={
                key.lower(): value[0] if isinstance(value, list) and len(value) == 1 else value
                for key, value in self.values.items()
            },
        )
        return ANSWERS[iam_evaluator.evaluate(context, *parsed).decision]

    def map_documents(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Case:
        """Return the case with every policy document changed."""
        return replace(
            self,
            identity=[change(each) for each in self.identity],
            boundary=None if self.boundary is None else change(self.boundary),
            limits=[[change(each) for each in level] for level in self.limits],
        )

    def with_variables_put_in(self) -> Case:
        """Return the case as an evaluator without variables must have it to answer as AWS."""
        return self.map_documents(lambda document: _put_in(document, self.values))

    def with_everything_allowed(self) -> Case:
        """Return the case with an Allow of everything beside the statements of each document."""
        return self.map_documents(
            lambda document: {
                **document, "Statement": [*document["Statement"], *EVERYTHING["Statement"]]
            }
        )  # fmt: skip

    def text(self) -> str:
        """Return the case for people, and for the patterns of the table below."""
        return json.dumps(self.__dict__, indent=1)


def _put_in(value: Any, values: dict[str, Any]) -> Any:
    """Return a policy with its variables replaced, by the plainest means."""
    if isinstance(value, dict):
        return {key: _put_in(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_put_in(each, values) for each in value]
    if not isinstance(value, str):
        return value
    value = value.replace("${*}", "?")  # no value of KEYS has another character in its place
    for key in ("aws:PrincipalTag/year", "aws:SourceVpce"):
        value = value.replace(f"${{{key}}}", values[key] or "<absent>")
        value = value.replace(f"${{{key}, 'vpce-1'}}", values[key] or "vpce-1")
    return value.replace("${$}", "$")


# --- the known differences


@dataclass(frozen=True)
class Difference:
    """A rule by which the emulator's answer is not AWS's, or by which Pare gives none."""

    page: str
    says: str
    applies: Callable[[Case, Decision], bool]


def _why(pattern: str) -> Callable[[Case, Decision], bool]:
    return lambda case, ours: (
        ours.answer == "undecided" and re.search(pattern, ours.why) is not None
    )


def _statements(case: Case) -> list[dict[str, Any]]:
    boundary = [] if case.boundary is None else [case.boundary]
    documents = chain(case.identity, boundary, *case.limits)
    return [each for document in documents for each in document["Statement"]]


def _resource_values(case: Case) -> list[str]:
    found: list[list[str]] = [
        each["Resource"] if "Resource" in each else each["NotResource"]
        for each in _statements(case)
    ]
    return [*chain(*found)]


def _condition_values(case: Case) -> list[tuple[str, str, Any]]:
    return [
        (operator, key, value)
        for statement in _statements(case)
        for operator, tests in statement.get("Condition", {}).items()
        for key, values in tests.items()
        for value in values
    ]


def _star_inside_a_segment(case: Case, ours: Decision) -> bool:
    """Return whether a star that must stay in its segment meets an ARN with colons to swallow."""
    return case.resource.count(":") > 5 and any(
        re.match(r"(?:[^:]*:){0,4}[^:]*\*[^:*]", value) for value in _resource_values(case)
    )


def _arn_operator(case: Case, ours: Decision) -> bool:
    """Return whether an ARN operator meets a value whose colons a star would have to swallow."""
    return str(case.values["aws:SourceArn"]).count(":") > 5 and any(
        operator.lower().startswith("arn") or ":arn" in operator.lower()
        for operator, _, _ in _condition_values(case)
    )


def _variables(case: Case, ours: Decision) -> bool:
    """Return whether the emulator agrees once the variables are put in for it."""
    return case.with_variables_put_in().theirs() == ours.answer


def _empty_set(case: Case, ours: Decision) -> bool:
    return any(
        not any(case.values[key] or ()) and case.values[key] is not None
        for operator, key, _ in _condition_values(case)
        if operator.lower().startswith("for")
    )


def _all_buckets(case: Case, ours: Decision) -> bool:
    return (
        case.action == "s3:ListAllMyBuckets"
        and case.resource == "*"
        and "arn:aws:s3:::*" in _resource_values(case)
    )


KNOWN: dict[str, Difference] = {
    "policy variables": Difference(
        GUIDE + "reference_policies_variables.html",
        "AWS puts the request's value in; the emulator compares the text ${...}",
        _variables,
    ),
    "a star inside an ARN segment": Difference(
        GUIDE + "reference_policies_elements_resource.html",
        "only a star at the end of a segment reaches over colons; the emulator's always do",
        _star_inside_a_segment,
    ),
    "ARN operators": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_ARN",
        "each of the six parts is compared by itself; the emulator compares the whole text",
        _arn_operator,
    ),
    "an empty set of values": Difference(
        GUIDE + "reference_policies_condition-single-vs-multi-valued-context-keys.html",
        "an empty text is an empty set: ForAllValues true, ForAnyValue false",
        _empty_set,
    ),
    "s3:ListAllMyBuckets on arn:aws:s3:::*": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_String",
        "AWS's example allows it so; to the emulator the action has the resource * only",
        _all_buckets,
    ),
    "undecided: several values under an operator for one": Difference(
        GUIDE + "reference_policies_condition-single-vs-multi-valued-context-keys.html",
        "multivalued keys need a set operator; what happens without is not said",
        _why(r"has \d+ values, and|has no value"),
    ),
    "undecided: not a number": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_Numeric",
        "what a value that is no number compares as is not said; false to the emulator",
        _why("is not a number"),
    ),
    "undecided: not a date and time": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_Date",
        "what a value that is no date compares as is not said; false to the emulator",
        _why("are not both a date and time"),
    ),
    "undecided: a date without a time": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_Date",
        "which moment of the day is meant is not said; midnight to the emulator",
        _why("may mean any moment"),
    ),
    "undecided: neither true nor false": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_Boolean",
        "Bool compares true and false; the emulator compares any text",
        _why("are not both true or false"),
    ),
    "undecided: not an IP address": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_IPAddress",
        "a value must be an address or a range in CIDR form; the emulator says no match",
        _why("is not an IP address|bits set behind its prefix"),
    ),
    "undecided: not an ARN": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_ARN",
        "what a value without six parts compares as is not said; a text to the emulator",
        _why("are not both ARNs of six parts"),
    ),
    "undecided: a variable's key is absent": Difference(
        GUIDE + "reference_policies_variables.html",
        "AWS: it fails to match and makes the statement invalid; the emulator has no variables",
        _why("a policy variable asks for"),
    ),
    "undecided: null or not": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html#Conditions_Null",
        "Null takes true or false; anything else is false to the emulator",
        _why("is neither true nor false"),
    ),
    "undecided: not an operator": Difference(
        GUIDE + "reference_policies_elements_condition_operators.html",
        "an operator that AWS does not list; the emulator says no match",
        _why("is not a condition operator"),
    ),
}  # fmt: skip


# --- the cases


def _some(rng: random.Random, values: list[Any], most: int = 3) -> list[Any]:
    return rng.sample(values, rng.randint(1, most))


def _condition(rng: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in rng.sample(sorted(TESTS), rng.choice([1, 1, 1, 2])):
        operators, values = TESTS[key]
        operator = rng.choice(operators)
        if rng.random() < 0.1:
            found.setdefault("Null", {})[key] = rng.choice([["true"], ["false"], [False], ["no"]])
            continue
        set_chance = 0.7 if key == "aws:CalledVia" else 0.08
        prefix = rng.choice(["ForAllValues:", "ForAnyValue:"]) if rng.random() < set_chance else ""
        suffix = "IfExists" if rng.random() < 0.2 else ""
        if rng.random() < 0.01:
            operator = "StringMatches"
        found.setdefault(prefix + operator + suffix, {})[key] = _some(
            rng, values, min(2, len(values))
        )
    return found


def _statement(rng: random.Random, effect: str) -> dict[str, Any]:
    statement: dict[str, Any] = {"Effect": effect}
    statement["NotAction" if rng.random() < 0.15 else "Action"] = _some(rng, ACTION_VALUES)
    statement["NotResource" if rng.random() < 0.15 else "Resource"] = _some(rng, RESOURCE_VALUES)
    if rng.random() < 0.6:
        statement["Condition"] = _condition(rng)
    return statement


def _document(rng: random.Random, allows: int, denies: int) -> dict[str, Any]:
    effects = ["Allow"] * rng.randint(1, allows) + ["Deny"] * rng.randint(0, denies)
    rng.shuffle(effects)
    return {
        "Version": "2012-10-17",
        "Statement": [_statement(rng, effect) for effect in effects],
    }


EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}],
}


def _case(rng: random.Random) -> Case:
    level = [EVERYTHING, _document(rng, 1, 1)] if rng.random() < 0.5 else [_document(rng, 3, 0)]
    return Case(
        identity=[_document(rng, 3, 1) for _ in range(rng.choice([1, 1, 2]))],
        boundary=_document(rng, 3, 0) if rng.random() < 0.25 else None,
        limits=[level, [EVERYTHING]] if rng.random() < 0.2 else [],
        action=rng.choice(ACTIONS),
        resource=rng.choice(RESOURCES),
        values={key: rng.choice(values) for key, values in KEYS.items()},
    )


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    rng = random.Random(4)
    return [_case(rng) for _ in range(CASES)]


def test_the_two_evaluators_agree_but_for_the_known_differences(cases: list[Case]) -> None:
    answers: Counter[str] = Counter()
    differences: Counter[str] = Counter()
    unexplained: list[str] = []
    for case in cases:
        ours, theirs = case.ours(), case.theirs()
        answers[ours.answer] += 1
        if ours.answer == theirs:
            continue
        if (ours.answer, theirs) == ("not allowed", "denied"):
            # Refused either way. The Deny must be one that Pare leaves undecided.
            case = case.with_everything_allowed()
            ours = case.ours()
            assert ours.answer != "denied", case.text()
        for name, difference in KNOWN.items():
            if difference.applies(case, ours):
                differences[name] += 1
                break
        else:
            unexplained.append(f"Pare: {ours}, emulator: {theirs}\n{case.text()}")
    print(answers, differences)
    assert not unexplained, f"{len(unexplained)} differences, the first:\n{unexplained[0]}"
    assert set(differences) == set(KNOWN)
    # Most agree, and every answer is common enough for agreement to say something.
    assert differences.total() < CASES * 0.15
    assert min(answers[each] for each in ("allowed", "not allowed", "denied")) > CASES * 0.05


def test_what_is_hidden_from_pare_never_turns_its_answer(cases: list[Case]) -> None:
    """With keys unknown Pare answers as with all known, or "undecided"."""
    rng = random.Random(5)
    undecided = 0
    for case in cases[: CASES // 2]:
        hidden = frozenset(key for key in case.values if rng.random() < 0.5)
        full, partial = case.ours(), case.ours(hidden)
        if full.answer == partial.answer:
            continue
        # Refused either way: a Deny that is now unknown does not matter where nothing allows.
        if (full.answer, partial.answer) == ("denied", "not allowed"):
            continue
        undecided += 1
        assert partial.answer == "undecided", f"{full}, then {partial}\n{hidden}\n{case.text()}"
    assert undecided > CASES * 0.01


def test_through_simulate_custom_policy_too(cases: list[Case]) -> None:
    """The API itself agrees on policies without conditions, boundary and limits."""
    compared = 0
    for case in cases:
        plain = replace(case, boundary=None, limits=[])
        if any("Condition" in each or "${" in str(each) for each in _statements(plain)):
            continue
        ours = plain.ours()
        if ours.answer != plain.theirs():  # a known difference, see above
            continue
        asked = {
            "ActionNames.member.1": case.action,
            "ResourceArns.member.1": case.resource,
            **{
                f"PolicyInputList.member.{i}": json.dumps(each)
                for i, each in enumerate(case.identity, 1)
            },
        }
        _, _, body = emulated_iam._simulate_custom_policy(asked)
        found = re.search(rb"<EvalDecision>(\w+)<", body)
        assert found is not None
        assert SIMULATED[found.group(1).decode()] == ours.answer, plain.text()
        compared += 1
    assert compared > 200
