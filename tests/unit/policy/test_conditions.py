"""Known answers, most of them AWS's own examples and tables."""

from __future__ import annotations

from typing import Any

import pytest

from pare.errors import ArnParseError
from pare.policy.conditions import (
    OPERATORS,
    absent_keys,
    compile_conditions,
    hold,
    request_context,
)
from pare.policy.truth import Unknown, conjunction, disjunction, negation

UNKNOWN = "unknown"
ROLE = "arn:aws:iam::111122223333:role/team/Worker"
USER = "arn:aws-us-gov:iam::111122223333:user/division/ann"


def answer(
    conditions: dict[str, Any], context: dict[str, Any] | None = None, absent: tuple[str, ...] = ()
) -> bool | str:
    """Return True, False or "unknown"; a context value of one may be given as a text."""
    known = {
        key.lower(): (value,) if isinstance(value, str) else tuple(value)
        for key, value in (context or {}).items()
    }
    truth = hold(compile_conditions(conditions), known, frozenset(each.lower() for each in absent))
    return UNKNOWN if isinstance(truth, Unknown) else truth


def why(conditions: dict[str, Any], context: dict[str, tuple[str, ...]] | None = None) -> str:
    truth = hold(compile_conditions(conditions), context or {}, frozenset())
    assert isinstance(truth, Unknown)
    return truth.why


# --- Operators ---


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("StringEquals", "home/*", "home/*", True),
        ("StringEquals", "home/*", "home/ann", False),
        ("StringEquals", "Home", "home", False),
        ("stringequals", "home", "home", True),
        ("StringNotEquals", "Home", "home", True),
        ("StringEqualsIgnoreCase", "Home", "hOME", True),
        ("StringNotEqualsIgnoreCase", "Home", "hOME", False),
        ("StringLike", "home/*", "home/ann/x", True),
        ("StringLike", "home/?", "home/ann", False),
        ("StringLike", "HOME/*", "home/ann", False),
        ("StringLike", "home", "home/", False),
        ("StringLike", "a*b", "a*b", True),
        ("StringLike", "", "", True),
        ("StringNotLike", "home/*", "home/ann", False),
        ("StringNotLike", "home/*", "away", True),
        ("NumericEquals", "10", "10.0", True),
        ("NumericEquals", 10, "10", True),
        ("NumericEquals", 0.1, "0.10", True),
        ("NumericNotEquals", "10", "10", False),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "9", False),
        ("NumericGreaterThan", "9", "10", True),
        ("NumericGreaterThanEquals", "10", "10", True),
        ("NumericEquals", "ten", "10", UNKNOWN),
        ("NumericEquals", "10", "1e1", UNKNOWN),
        ("DateEquals", "2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00", True),
        ("DateEquals", "2026-03-01T00:00:00Z", "1772323200", True),
        ("DateNotEquals", "2026-03-01T00:00:00Z", "1772323200", False),
        ("DateNotEquals", "2026-03-01T00:00:00Z", "1772323201", True),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:01Z", False),
        ("DateGreaterThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:01.5Z", True),
        ("DateGreaterThanEquals", "2020-01-01T00:00:01Z", "2020-01-01T00:00:01Z", True),
        ("DateLessThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:00Z", True),
        ("DateLessThan", "2020-01-01T00:00:01Z", "2020-01-01T00:00:01Z", False),
        ("DateLessThanEquals", "2020-01-01T00:00:01Z", "2020-01-01T00:00:01Z", True),
        ("DateLessThanEquals", "2020-01-01T00:00:01Z", "2020-01-01T00:00:02Z", False),
        # A day is decided by any moment outside it.
        ("DateLessThan", "2026-03-01", "2026-02-28T23:59:59Z", True),
        ("DateLessThan", "2026-03-01", "2026-03-02T00:00:00Z", False),
        ("DateLessThan", "2026-03-01", "2026-03-01T08:00:00Z", UNKNOWN),
        ("DateGreaterThan", "2026-02", "2026-03-01T00:00:00Z", True),
        ("DateGreaterThan", "2026-02", "2026-02-28T00:00:00Z", UNKNOWN),
        ("DateEquals", "2026-03-01T08:00Z", "2026-03-01T08:00:30Z", UNKNOWN),
        ("DateEquals", "2026-03-01", "2026-03-02T00:00:00Z", False),
        ("DateGreaterThanEquals", "2026-03-01", "2026-02-28T00:00:00Z", False),
        ("DateLessThanEquals", "2026-03-01", "2026-03-02T00:00:00Z", False),
        ("DateGreaterThan", "2026-03-01", "2026-03-01T00:00:00Z", False),
        ("DateLessThan", "2020", "2026-03-01T08:00:00Z", UNKNOWN),
        ("DateLessThan", "2026-13-01", "2026-03-01T08:00:00Z", UNKNOWN),
        ("DateLessThan", "2026-03-01T08:00:00", "2026-03-01T08:00:00Z", UNKNOWN),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("Bool", "false", "true", False),
        ("Bool", "True", "true", True),
        ("Bool", "yes", "true", UNKNOWN),
        ("BinaryEquals", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", "QmluYXJ5VmFsdWVJbkJhc2U2NA==", True),
        ("BinaryEquals", "QQ==", "Qg==", False),
        ("BinaryEquals", "not base64", "QQ==", UNKNOWN),
        ("IpAddress", "203.0.113.0/24", "203.0.113.255", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.0", False),
        ("IpAddress", "203.0.113.7", "203.0.113.7", True),
        ("IpAddress", "2001:DB8:1234:5678::/64", "2001:db8:1234:5678::1", True),
        ("IpAddress", "2001:DB8:1234:5678::/64", "203.0.113.7", False),
        ("IpAddress", "2001:db8::1", "2001:db8::1", True),
        ("IpAddress", "2001:db8::1", "2001:db9::1", False),
        ("IpAddress", "2001:db8::1", "2001:db8::2", UNKNOWN),
        ("IpAddress", "203.0.113.9/24", "203.0.113.7", UNKNOWN),
        ("IpAddress", "203.0.113.9/24", "203.0.114.7", False),
        ("IpAddress", "everywhere", "203.0.113.7", UNKNOWN),
        ("IpAddress", "203.0.113.0/24", "cloudformation.amazonaws.com", UNKNOWN),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.7", False),
        ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
        ("ArnLike", "arn:aws:sns:*:111122223333:t*", "arn:aws:sns:r:111122223333:topic", True),
        ("ArnEquals", "arn:aws:sns:*:111122223333:t*", "arn:aws:sns:r:111122223333:topic", True),
        ("ArnNotLike", "arn:aws:sns:*:1:t*", "arn:aws:sns:r:1:topic", False),
        ("ArnNotEquals", "arn:aws:sns:*:1:t*", "arn:aws:sns:r:2:topic", True),
        ("ArnLike", "arn:aws:SNS:r:1:t", "arn:aws:sns:r:1:t", False),
        ("ArnLike", "*", "arn:aws:sns:r:1:t", UNKNOWN),
        ("ArnLike", "arn:aws:sns:r:1:t", "topic", UNKNOWN),
        ("StringMatches", "a", "a", UNKNOWN),
        ("Null", "perhaps", "a", UNKNOWN),
        ("NullIfExists", "true", "a", UNKNOWN),
        ("ForAnyValue:Null", "true", "a", UNKNOWN),
    ],
)
def test_an_operator(operator: str, wanted: Any, found: str, expected: bool | str) -> None:
    assert answer({operator: {"x:Key": wanted}}, {"x:key": found}) == expected


def test_aws_example_of_an_arn_that_only_a_string_operator_matches() -> None:
    # reference_policies_elements_condition_operators.html#Conditions_ARN
    pattern = "arn:aws:someservice:*:111122223333:finance/*"
    value = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
    assert answer({"StringLike": {"k": pattern}}, {"k": value}) is True
    assert answer({"ArnLike": {"k": pattern}}, {"k": value}) is False


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [("true", None, True), ("true", "x", False), ("false", None, False), (False, "x", True)],
)
def test_null_asks_whether_the_key_is_there(wanted: Any, found: str | None, expected: bool) -> None:
    conditions = {"Null": {"aws:TokenIssueTime": wanted}}
    if found is None:
        assert answer(conditions, absent=("aws:TokenIssueTime",)) is expected
    else:
        assert answer(conditions, {"aws:TokenIssueTime": found}) is expected
    assert answer(conditions) == UNKNOWN


# --- Missing keys ---


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_a_key_that_is_not_in_the_request(name: str) -> None:
    """AWS: the condition is false, and true for an operator that negates."""
    is_negated = name in {
        "stringnotequals",
        "stringnotequalsignorecase",
        "stringnotlike",
        "numericnotequals",
        "datenotequals",
        "notipaddress",
        "arnnotequals",
        "arnnotlike",
    }
    key, absent = "x:key", ("x:key",)
    assert answer({name: {key: "1"}}, absent=absent) is is_negated
    assert answer({name + "IfExists": {key: "1"}}, absent=absent) is True
    assert answer({"ForAllValues:" + name: {key: "1"}}, absent=absent) is True
    assert answer({"ForAnyValue:" + name: {key: "1"}}, absent=absent) is False
    assert answer({"ForAnyValue:" + name + "IfExists": {key: "1"}}, absent=absent) is True
    for prefix in ("", "ForAllValues:", "ForAnyValue:"):
        assert answer({prefix + name: {key: "1"}}) == UNKNOWN
    assert why({name: {"aws:SourceIp": "1"}}) == "aws:SourceIp is not in the record"


# --- Several values, keys and operators ---


def test_values_are_or_and_under_a_negated_operator_nor() -> None:
    for found, is_listed in (("a", True), ("b", True), ("c", False)):
        assert answer({"StringEquals": {"k": ["a", "b"]}}, {"k": found}) is is_listed
        assert answer({"StringNotEquals": {"k": ["a", "b"]}}, {"k": found}) is not is_listed


def test_keys_and_operators_are_and() -> None:
    both = {"StringEquals": {"k": "a", "m": "b"}, "Bool": {"n": "true"}}
    assert answer(both, {"k": "a", "m": "b", "n": "true"}) is True
    assert answer(both, {"k": "a", "m": "x", "n": "true"}) is False
    assert answer(both, {"k": "a", "m": "b", "n": "false"}) is False
    # What is false is false, whatever is unknown beside it.
    assert answer(both, {"n": "false"}) is False
    assert answer(both, {"k": "a", "n": "true"}) == UNKNOWN
    assert answer({}) is True


# AWS's tables of the set operators, on the values in a request and those of the policy.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
@pytest.mark.parametrize(
    ("found", "all_of", "any_of", "all_not", "any_not"),
    [
        (("PostDateTime", "Message"), True, True, False, False),
        (("PostDateTime", "UserName"), False, True, False, True),
        (("UserName", "ID"), False, False, True, True),
        ((), True, False, True, False),
        (("",), True, False, True, False),
    ],
)
def test_set_operators(
    found: tuple[str, ...], all_of: bool, any_of: bool, all_not: bool, any_not: bool
) -> None:
    wanted = ["PostDateTime", "Message", "Tags"]
    for operator, expected in (
        ("ForAllValues:StringLike", all_of),
        ("ForAnyValue:StringLike", any_of),
        ("forallvalues:stringnotequals", all_not),
        ("ForAnyValue:StringNotEquals", any_not),
    ):
        conditions = {operator: {"dynamodb:Attributes": wanted}}
        assert answer(conditions, {"dynamodb:Attributes": found}) is expected, operator


def test_several_values_need_a_set_operator() -> None:
    assert answer({"StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ("a", "b")}) == UNKNOWN
    assert answer({"StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ()}) == UNKNOWN
    assert answer({"Null": {"aws:TagKeys": "true"}}, {"aws:TagKeys": ()}) == UNKNOWN


@pytest.mark.parametrize(
    "conditions",
    [
        {"StringEquals": {"k": []}},
        {"StringNotEquals": {"k": []}},
        {"StringEquals": {"k": None}},
        {"StringEquals": {"k": [{"a": "b"}]}},
        {"StringEquals": "k"},
        {"NumericEquals": {"k": "${aws:EpochTime}"}},
        {"Null": {"k": "${aws:EpochTime}"}},
        {"Bool": {"k": "${aws:SecureTransport}"}},
    ],
)
def test_what_a_policy_should_not_say_is_unknown(conditions: dict[str, Any]) -> None:
    assert answer(conditions, {"k": "1", "aws:EpochTime": "1"}) == UNKNOWN


# --- Policy variables ---


@pytest.mark.parametrize(
    ("operator", "wanted", "found", "expected"),
    [
        ("StringLike", "home/${aws:username}/*", "home/ann/x", True),
        ("StringEquals", "home/${AWS:UserName}", "home/ann", True),
        ("StringEquals", "${aws:PrincipalTag/cost center}", "42", True),
        ("StringEquals", "${aws:username}-${aws:PrincipalTag/cost center}", "ann-42", True),
        ("StringEquals", "${aws:PrincipalTag/team, 'none'}", "none", True),
        ("StringEquals", "${aws:username, 'nobody'}", "ann", True),
        ("StringEquals", "${aws:PrincipalTag/team, ''}", "", True),
        ("StringEquals", "${aws:PrincipalTag/team}", "none", False),
        ("StringNotEquals", "${aws:PrincipalTag/team}", "none", UNKNOWN),
        ("StringEquals", "${aws:userid}", "none", UNKNOWN),
        ("StringEquals", "${aws:userid, 'x'}", "none", UNKNOWN),
        ("StringEquals", "${aws:username,'x'}", "ann", UNKNOWN),
        ("StringEquals", "${aws:username", "ann", UNKNOWN),
        ("StringEquals", "${}", "ann", UNKNOWN),
        ("StringEquals", "${aws:TagKeys}", "a", UNKNOWN),
        ("StringEquals", "${*}${?}${$}", "*?$", True),
        ("StringEquals", "${$}{aws:username}", "${aws:username}", True),
        ("StringLike", "a${*}b", "a*b", True),
        ("StringLike", "a${*}b", "axb", False),
        ("StringLike", "a${?}*", "a?b", True),
        ("StringLike", "a${?}*", "aab", False),
        ("StringLike", "${x:Starred}", "abc", UNKNOWN),
        ("StringEquals", "${x:Starred}", "a*", True),
        ("ArnLike", "arn:aws:iam::${aws:PrincipalAccount}:role/*", "arn:aws:iam::1:role/r", True),
    ],
)
def test_a_variable(operator: str, wanted: str, found: str, expected: bool | str) -> None:
    context = {
        "k": found,
        "aws:username": "ann",
        "aws:PrincipalTag/cost center": "42",
        "aws:PrincipalAccount": "1",
        "aws:TagKeys": ("a", "b"),
        "x:Starred": "a*",
    }
    absent = ("aws:PrincipalTag/team",)
    assert answer({operator: {"k": wanted}}, context, absent) == expected


def test_an_absent_variable_may_make_the_statement_invalid() -> None:
    conditions = {"StringEquals": {"k": ["a", "${aws:username}"]}}
    assert answer(conditions, {"k": "a"}, ("aws:username",)) == UNKNOWN
    assert answer(conditions, {"k": "b"}, ("aws:username",)) is False
    # Unknown may be absent.
    assert answer(conditions, {"k": "a"}) == UNKNOWN
    negated = {"StringNotEquals": {"k": "${aws:username}"}}
    assert answer(negated, absent=("k", "aws:username")) == UNKNOWN
    if_exists = {"StringNotEqualsIfExists": {"k": "${aws:username}"}}
    assert answer(if_exists, absent=("k", "aws:username")) is True


# --- What follows from the principal ---


def test_the_context_of_a_role() -> None:
    assert request_context(ROLE, ["eu-west-1"], "lambda.amazonaws.com") == {
        "aws:principalaccount": ("111122223333",),
        "aws:principalarn": (ROLE,),
        "aws:principaltype": ("AssumedRole",),
        "aws:requestedregion": ("eu-west-1",),
        "iam:passedtoservice": ("lambda.amazonaws.com",),
    }
    assert absent_keys(ROLE) == {"aws:username"}


def test_the_context_of_a_user() -> None:
    assert request_context(USER, ["eu-west-1", "us-east-1"]) == {
        "aws:principalaccount": ("111122223333",),
        "aws:principalarn": (USER,),
        "aws:principaltype": ("User",),
        "aws:username": ("ann",),
    }
    assert absent_keys(USER) == frozenset()
    assert "aws:requestedregion" not in request_context(USER)


def test_a_session_is_no_principal_of_its_own() -> None:
    with pytest.raises(ArnParseError):
        request_context("arn:aws:sts::111122223333:assumed-role/Worker/session")


# --- Three-valued logic ---


def test_kleene() -> None:
    one, other = Unknown("one"), Unknown("other")
    assert conjunction([one, False, other]) is False
    assert conjunction([True, one, other]) is one
    assert conjunction([]) is True
    assert disjunction([one, True]) is True
    assert disjunction([False, one, other]) is one
    assert disjunction([]) is False
    assert negation(one) is one
    assert negation(True) is False
    with pytest.raises(TypeError):
        bool(one)
