"""The Condition element: operators, set operators and missing keys, in three-valued logic.

All operators and keys of the element must hold; of one key's values any may match, of a negated
operator's none.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html

An operator that is not in ``OPERATORS``, a key of which the record says nothing, a value of another
form than the operator takes: each makes the test unknown, with the reason.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from pare.arns import parse_principal_arn
from pare.policy.patterns import literal, matches_text
from pare.policy.truth import Truth, Unknown, conjunction, disjunction, negation
from pare.policy.variables import START, Absent, first_doubt, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pare.policy.document import JsonObject, JsonValue

Quantifier: TypeAlias = Literal["", "forallvalues", "foranyvalue"]
Comparison: TypeAlias = "Callable[[str, str], Truth]"
Resolved: TypeAlias = "str | Absent | Unknown"

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_EPOCH = re.compile(r"-?[0-9]{5,}")
_DATE = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<part>[0-9]{1,9}))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2}))?)?"
)
_LAST_OF_A_SECOND, _LAST_OF_A_MINUTE = Decimal("0.999999999"), Decimal("59.999999999")
_ARN_SEGMENTS = 6
_BOOLEANS = {"true": True, "false": False}


# --- one value of the policy against one value of the request


def _equals(wanted: str, found: str) -> Truth:
    return wanted == found


def _equals_ignoring_case(wanted: str, found: str) -> Truth:
    return wanted.lower() == found.lower()


def _like(wanted: str, found: str) -> Truth:
    return matches_text(wanted, literal(found))


def _arn_like(wanted: str, found: str) -> Truth:
    """Compare ARNs segment by segment: no wildcard reaches over a colon."""
    wanted_segments = wanted.split(":", _ARN_SEGMENTS - 1)
    found_segments = literal(found).split(":", _ARN_SEGMENTS - 1)
    if wanted == found and "*" not in wanted and "?" not in wanted:
        return True
    if len(wanted_segments) != _ARN_SEGMENTS or len(found_segments) != _ARN_SEGMENTS:
        return Unknown(f"{wanted} and {found} are not both ARNs of six parts")
    return all(
        matches_text(pattern, text)
        for pattern, text in zip(wanted_segments, found_segments, strict=True)
    )


def _boolean(wanted: str, found: str) -> Truth:
    one, other = _BOOLEANS.get(wanted.lower()), _BOOLEANS.get(found.lower())
    if one is None or other is None:
        return Unknown(f"{wanted} and {found} are not both true or false")
    return one is other


def _binary(wanted: str, found: str) -> Truth:
    """Compare bytes; the request's value, too, comes as base64 here."""
    try:
        return base64.b64decode(wanted, validate=True) == base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        return Unknown(f"{wanted} and {found} are not both base64")


def _ip_address(wanted: str, found: str) -> Truth:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return Unknown(f"{found} is not an IP address")
    network = _network(wanted)
    if network is None:
        return Unknown(f"{wanted} is not a range of IP addresses")
    if address not in network:
        return False
    if "/" not in wanted and address.version == 6:
        # "IAM uses the default prefix value of /32": whether that holds for IPv6 is not said.
        if address == ipaddress.ip_address(wanted):
            return True
        return Unknown(f"{wanted} has no prefix, and AWS does not say what that means in IPv6")
    if not _is_canonical(wanted):
        return Unknown(f"{wanted} has bits set behind its prefix")
    return True


@lru_cache(maxsize=10_000)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return the widest range of addresses that a value may mean, or None."""
    if "/" not in text and ":" in text:
        text = f"{text}/32"
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_canonical(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _numeric(compare: Callable[[Decimal, Decimal], bool]) -> Comparison:
    def test(wanted: str, found: str) -> Truth:
        for text in (wanted, found):
            if not _NUMBER.fullmatch(text):
                return Unknown(f"{text!r} is not a number")
        return compare(Decimal(found), Decimal(wanted))

    return test


def _date(relation: str) -> Comparison:
    """Return a comparison of two times, each known to lie between two moments."""

    def test(wanted: str, found: str) -> Truth:
        wanted_span, found_span = _span(wanted), _span(found)
        if wanted_span is None or found_span is None:
            return Unknown(f"{wanted!r} and {found!r} are not both a date and time")
        return _compare(found_span, wanted_span, relation) or _unless_disjoint(
            found_span, wanted_span, relation
        )

    return test


Span: TypeAlias = tuple[Decimal, Decimal]  # seconds since 1970; the first and the last it may mean


def _compare(found: Span, wanted: Span, relation: str) -> bool:
    """Return whether a relation holds whatever moments the two spans mean."""
    if relation == "=":
        return found == wanted and found[0] == found[1]
    if relation == "<":
        return found[1] < wanted[0]
    if relation == "<=":
        return found[1] <= wanted[0]
    if relation == ">":
        return found[0] > wanted[1]
    return found[0] >= wanted[1]


def _unless_disjoint(found: Span, wanted: Span, relation: str) -> Truth:
    """Return False if a relation holds for no moments of the two spans, else unknown."""
    impossible = {
        "=": found[1] < wanted[0] or found[0] > wanted[1],
        "<": found[0] >= wanted[1],
        "<=": found[0] > wanted[1],
        ">": found[1] <= wanted[0],
        ">=": found[1] < wanted[0],
    }
    if impossible[relation]:
        return False
    return Unknown("a date without a time of day may mean any moment of its day or month")


@lru_cache(maxsize=10_000)
def _span(text: str) -> Span | None:
    """Return the moments that a W3C date and time or a number of seconds may mean, or None.

    Four digits may be a year or seconds, and are neither here.
    https://www.w3.org/TR/NOTE-datetime
    """
    if _EPOCH.fullmatch(text):
        return Decimal(text), Decimal(text)
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(match.group(name) or -1)
        for name in ("year", "month", "day", "hour", "minute", "second")
    )
    try:
        if hour < 0:
            last_day = day if day >= 0 else monthrange(year, month)[1]
            start = datetime(year, month, day if day >= 0 else 1, tzinfo=UTC)
            end = datetime(year, month, last_day, 23, 59, 59, tzinfo=UTC)
            return _seconds(start), _seconds(end) + _LAST_OF_A_SECOND
        zone = _zone(match.group("zone"))
        moment = _seconds(datetime(year, month, day, hour, minute, max(second, 0), tzinfo=zone))
    except ValueError:
        return None
    moment += Decimal(f"0.{match.group('part') or 0}")
    return moment, moment if second >= 0 else moment + _LAST_OF_A_MINUTE


def _seconds(moment: datetime) -> Decimal:
    return Decimal((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))


@dataclass(frozen=True, slots=True)
class Operator:
    """How one value of the policy is compared with one value of the request."""

    compare: Comparison
    is_negated: bool = False
    takes_variables: bool = False
    is_pattern: bool = False


# By name in lower case. IfExists and the set operators are cut off before a name is looked up.
OPERATORS: dict[str, Operator] = {
    "stringequals": Operator(_equals, takes_variables=True),
    "stringnotequals": Operator(_equals, is_negated=True, takes_variables=True),
    "stringequalsignorecase": Operator(_equals_ignoring_case, takes_variables=True),
    "stringnotequalsignorecase": Operator(
        _equals_ignoring_case, is_negated=True, takes_variables=True
    ),
    "stringlike": Operator(_like, takes_variables=True, is_pattern=True),
    "stringnotlike": Operator(_like, is_negated=True, takes_variables=True, is_pattern=True),
    "numericequals": Operator(_numeric(lambda found, wanted: found == wanted)),
    "numericnotequals": Operator(_numeric(lambda found, wanted: found == wanted), is_negated=True),
    "numericlessthan": Operator(_numeric(lambda found, wanted: found < wanted)),
    "numericlessthanequals": Operator(_numeric(lambda found, wanted: found <= wanted)),
    "numericgreaterthan": Operator(_numeric(lambda found, wanted: found > wanted)),
    "numericgreaterthanequals": Operator(_numeric(lambda found, wanted: found >= wanted)),
    "dateequals": Operator(_date("=")),
    "datenotequals": Operator(_date("="), is_negated=True),
    "datelessthan": Operator(_date("<")),
    "datelessthanequals": Operator(_date("<=")),
    "dategreaterthan": Operator(_date(">")),
    "dategreaterthanequals": Operator(_date(">=")),
    # One page of AWS says that variables work with Bool, another that they do not: unknown.
    "bool": Operator(_boolean),
    "binaryequals": Operator(_binary),
    "ipaddress": Operator(_ip_address),
    "notipaddress": Operator(_ip_address, is_negated=True),
    "arnequals": Operator(_arn_like, takes_variables=True, is_pattern=True),
    "arnlike": Operator(_arn_like, takes_variables=True, is_pattern=True),
    "arnnotequals": Operator(_arn_like, is_negated=True, takes_variables=True, is_pattern=True),
    "arnnotlike": Operator(_arn_like, is_negated=True, takes_variables=True, is_pattern=True),
}
NULL = "null"
_IF_EXISTS = "ifexists"


# --- one test: an operator, a key and the policy's values


@dataclass(frozen=True, slots=True)
class ConditionTest:
    """One key under one operator of a Condition element, ready to be asked."""

    name: str  # the operator, as written
    operator: Operator | None  # None: Null, or not known
    quantifier: Quantifier
    if_exists: bool
    key: str  # as written
    lowered_key: str
    values: tuple[str, ...]
    has_variables: bool = False
    problem: str = ""  # why nothing can be said, whatever the request

    def holds(self, context: Mapping[str, tuple[str, ...]], absent: frozenset[str]) -> Truth:
        """Return whether the test is met by a request (evaluate.Request has the shapes)."""
        if self.problem:
            return Unknown(self.problem)
        found = context.get(self.lowered_key)
        if found is None and self.lowered_key not in absent:
            return Unknown(f"{self.key} is not in the record")
        if self.operator is None:
            return self._is_null(found)
        resolved: Sequence[Resolved] = self.values
        doubt: Unknown | None = None
        if self.has_variables and not (found is None and self.if_exists):
            resolved = [
                resolve(each, context, absent, is_pattern=self.operator.is_pattern)
                for each in self.values
            ]
            doubt = first_doubt(resolved)
        if found is None:
            truth: Truth = self._without_key(self.operator)
        else:
            truth = self._with_key(self.operator, found, resolved)
        return truth if doubt is None or truth is False else doubt

    def _is_null(self, found: tuple[str, ...] | None) -> Truth:
        if found == ():
            return Unknown(f"{self.key} has no value")
        return any((value.lower() == "true") is (found is None) for value in self.values)

    def _without_key(self, operator: Operator) -> bool:
        """Return what a test of a key says of a request that does not have it."""
        if self.if_exists or self.quantifier == "forallvalues":
            return True
        # "if the key does not exist", ForAnyValue is false, negated or not.
        return operator.is_negated and self.quantifier != "foranyvalue"

    def _with_key(
        self, operator: Operator, found: tuple[str, ...], resolved: Sequence[Resolved]
    ) -> Truth:
        """Return what a test of a key says of its values in the request."""
        if self.quantifier and not any(found):
            return self.quantifier == "forallvalues"  # an empty text is an empty set
        if not self.quantifier and len(found) != 1:
            return Unknown(f"{self.key} has {len(found)} values, and {self.name} is for one")
        answers = [self._matches(operator, resolved, value) for value in found]
        if len(answers) == 1:
            return answers[0]
        return (disjunction if self.quantifier == "foranyvalue" else conjunction)(answers)

    @staticmethod
    def _matches(operator: Operator, resolved: Sequence[Resolved], found: str) -> Truth:
        truths = [
            each if isinstance(each, Unknown) else operator.compare(each, found)
            for each in resolved
            if not isinstance(each, Absent)
        ]
        truth = truths[0] if len(truths) == 1 else disjunction(truths)
        return negation(truth) if operator.is_negated else truth


def compile_conditions(conditions: JsonObject) -> tuple[ConditionTest, ...]:
    """Return the tests of a Condition element (operator -> key -> value or values)."""
    return tuple(
        _test(name, key, values)
        for name, tests in conditions.items()
        for key, values in (tests.items() if isinstance(tests, dict) else [("", None)])
    )


def hold(
    tests: Sequence[ConditionTest], context: Mapping[str, tuple[str, ...]], absent: frozenset[str]
) -> Truth:
    """Return whether all tests of a Condition element are met."""
    unknown: Unknown | None = None
    for test in tests:
        truth = test.holds(context, absent)
        if truth is False:
            return False
        if truth is not True and unknown is None:
            unknown = truth
    return True if unknown is None else unknown


def _test(name: str, key: str, raw: JsonValue) -> ConditionTest:
    base = name.lower()
    quantifier: Quantifier = ""
    if base.startswith("forallvalues:"):
        quantifier = "forallvalues"
    elif base.startswith("foranyvalue:"):
        quantifier = "foranyvalue"
    base = base.rpartition(":")[2] if quantifier else base
    if_exists = base.endswith(_IF_EXISTS)
    base = base.removesuffix(_IF_EXISTS)
    operator = OPERATORS.get(base)
    is_null = base == NULL and not quantifier and not if_exists
    values = _texts(raw)
    has_variables = any(START in each for each in values or ())
    problem = ""
    if operator is None and not is_null:
        problem = f"{name} is not a condition operator that Pare knows"
    elif values is None:
        problem = f"{key} under {name} has a value that is not a text, a number or a boolean"
    elif not values:
        problem = f"{key} under {name} has no values"
    elif is_null and not all(value.lower() in _BOOLEANS for value in values):
        problem = f"{key} under {name} is neither true nor false"
    elif has_variables and not (operator and operator.takes_variables):
        problem = f"{key} under {name} has a policy variable, which AWS does not support there"
    return ConditionTest(
        name=name,
        operator=operator,
        quantifier=quantifier,
        if_exists=if_exists,
        key=key,
        lowered_key=key.lower(),
        values=values or (),
        has_variables=has_variables,
        problem=problem,
    )


def _texts(raw: JsonValue) -> tuple[str, ...] | None:
    """Return a key's values as texts, or None if one has no place in a policy."""
    found: list[str] = []
    for value in raw if isinstance(raw, list) else [raw]:
        if isinstance(value, bool):
            found.append("true" if value else "false")
        elif isinstance(value, str | int):
            found.append(str(value))
        elif isinstance(value, float):
            found.append(format(Decimal(repr(value)), "f"))
        else:
            return None
    return tuple(found)


# --- what follows from the principal and the call alone


def request_context(
    principal_arn: str, regions: Collection[str] = (), passed_to_service: str | None = None
) -> dict[str, tuple[str, ...]]:
    """Return the condition keys, in lower case, whose values follow from who called and where.

    ``principal_arn`` is the user's or the role's own ARN (for a role's session, the role's):
    aws:PrincipalArn is that ARN. aws:RequestedRegion is known only if there was one Region.
    Raises ArnParseError. Never here, as nothing of this tells them: aws:SecureTransport (always in
    the request, but some endpoints take plain HTTP), aws:SourceIp, MFA, tags, the organization.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
    """
    principal = parse_principal_arn(principal_arn)
    is_user = principal.entity == "user"
    context: dict[str, tuple[str, ...]] = {
        "aws:principalaccount": (principal.account_id,),
        "aws:principalarn": (principal.arn,),
        "aws:principaltype": ("User" if is_user else "AssumedRole",),
    }
    if is_user:
        context["aws:username"] = (principal.name,)
    if len(set(regions)) == 1:
        context["aws:requestedregion"] = (next(iter(regions)),)
    if passed_to_service:
        context["iam:passedtoservice"] = (passed_to_service,)
    return context


def absent_keys(principal_arn: str) -> frozenset[str]:
    """Return the condition keys, in lower case, that no request of this principal has.

    aws:username is "not present" for a role.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable
    """
    is_role = parse_principal_arn(principal_arn).entity == "role"
    return frozenset({"aws:username"}) if is_role else frozenset()
