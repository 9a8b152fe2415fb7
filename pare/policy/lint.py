"""The common faults of an identity-based policy, found without AWS.

The same checks as Access Analyzer's ValidatePolicy makes, as far as they can be made without
knowing more than the catalogue does, under AWS's issue codes; which of them are made, and how bad
each is, says ``pare/data/policy_checks.json``. An ERROR is only said of what AWS calls one: where
the documents leave a doubt (a Region or a partition AWS may add, an ARN format) there is no rule.
An action that the catalogue does not have is a WARNING: it may be newer than the catalogue.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
"""

from __future__ import annotations

import ipaddress
import json
import re
from bisect import bisect_left
from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from pare.data_tables import read_table
from pare.policy.catalogue import load_catalogue
from pare.policy.document import MANAGED_POLICY_LIMIT, VERSION, size_in_characters
from pare.policy.patterns import covers, has_wildcard, matches_action, overlaps
from pare.policy.resource_types import PLACEHOLDER, load_resource_types

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pare.policy.document import JsonValue, PolicyDocument, Statement

SCHEMA_VERSION = 1
FindingType = Literal["ERROR", "SECURITY_WARNING", "WARNING", "SUGGESTION"]

PASS_ROLE, PASSED_TO_SERVICE = "iam:PassRole", "iam:passedtoservice"
CREATE_SLR, SERVICE_NAME = "iam:CreateServiceLinkedRole", "iam:awsservicename"

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_OPEN_VARIABLE = re.compile(r"\$\{[^}]*\Z|\$\{[^}]*(?=\$\{)")
_ESCAPES = frozenset("*?$")  # ${*} is a plain *
_SID = re.compile(r"[A-Za-z0-9]*")
_PARTITION = re.compile(r"aws(?:-[a-z]+)*")
_REGION = re.compile(r"[a-z]+(?:-[a-z]+)*(?:-[0-9]+)?")
_NUMBERS = re.compile(r"[0-9-]*[0-9][0-9-]*")
_ACCOUNT = re.compile(r"[0-9]{12}")
_KEY = re.compile(r"[^:]+:.+", re.DOTALL)
_SERVICE_LINKED = re.compile(r"arn:[^:]*:iam::[^:]*:role/aws-service-role/[^*?/]+/.*", re.DOTALL)
_ROLES = "arn:*:iam::*:role/*"
_SERVICE_LINKED_ROLES = "arn:*:iam::*:role/aws-service-role/*"


class LintFindingJson(TypedDict):
    """One finding, as stored. ``code`` is AWS's issue code, or one of ours (``own`` in the table).

    ``path`` is where it is: ``Statement[0].Resource``, statements counted from 0 as ValidatePolicy
    does; empty for the document. ``details`` names the value.
    """

    type: FindingType
    code: str
    details: str
    sid: str | None
    path: str


class OperatorTable(TypedDict):
    """A condition operator as the data file holds it."""

    value_type: Literal["string", "number", "date", "boolean", "binary", "ip", "arn"]
    like: bool
    variables: bool


class OwnTypeTable(TypedDict):
    """A check that ValidatePolicy does not have, or that has another type there; and why."""

    type: FindingType
    reason: str


class ChecksTable(TypedDict):
    """The data file."""

    schema_version: int
    checks: dict[str, FindingType]
    uncertain: dict[str, OwnTypeTable]
    own: dict[str, OwnTypeTable]
    operators: dict[str, OperatorTable]
    tag_keys: list[str]
    services_without_region: list[str]
    services_without_account: list[str]


class _Found(NamedTuple):
    """What a rule found: a code, what it says, and the element of the statement it is in."""

    code: str
    details: str
    element: str = ""


class _Context(NamedTuple):
    """What a rule may know besides the statement."""

    version: str | None
    known_actions: frozenset[str]  # in lower case


class _Operator(NamedTuple):
    """A condition operator taken apart; ``table`` is None if there is no such operator."""

    name: str
    table: OperatorTable | None
    quantifier: str  # "forallvalues", "foranyvalue" or ""
    if_exists: bool

    @property
    def is_null(self) -> bool:
        return self.name.lower() == "null"


@cache
def load_checks() -> ChecksTable:
    """Return the table of checks shipped with Pare; the file is read once per process."""
    table: ChecksTable = read_table("policy_checks.json", schema_version=SCHEMA_VERSION)
    return table


def lint(document: PolicyDocument, *, known_actions: Collection[str] = ()) -> list[LintFindingJson]:
    """Return the findings of an identity-based policy, in the order of the document.

    ``known_actions`` are actions that are known to exist although the catalogue does not have
    them, because somebody used them: nothing is said of those. What ``parse`` refuses (an
    element or an effect that does not exist, an Action that is missing) is not looked for again.
    """
    context = _Context(document.version, frozenset(each.lower() for each in known_actions))
    findings = [_finding(found, None, "") for rule in DOCUMENT_RULES for found in rule(document)]
    repeated = _repeated(document)
    for number, statement in enumerate(document.statements):
        where = f"Statement[{number}]"
        findings += [
            _finding(found, statement.sid, where)
            for found in [
                *repeated.get(number, ()),
                *(found for rule in STATEMENT_RULES for found in rule(statement, context)),
            ]
        ]
    return findings


def _finding(found: _Found, sid: str | None, where: str) -> LintFindingJson:
    table = load_checks()
    own = table["own"].get(found.code) or table["uncertain"].get(found.code)
    return {
        "type": table["checks"][found.code] if own is None else own["type"],
        "code": found.code,
        "details": found.details,
        "sid": sid,
        "path": ".".join(part for part in (where, found.element) if part),
    }


# --- the document


def _missing_version(document: PolicyDocument) -> Iterator[_Found]:
    if document.version is None:
        yield _Found("MISSING_VERSION", f"Version is missing: {VERSION} is the current one.")


def _size(document: PolicyDocument) -> Iterator[_Found]:
    size = size_in_characters(document)
    if size > MANAGED_POLICY_LIMIT:
        yield _Found(
            "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA",
            f"The policy has {size:,} characters without white space, a managed policy at most "
            f"{MANAGED_POLICY_LIMIT:,}.",
        )


def _repeated(document: PolicyDocument) -> Mapping[int, list[_Found]]:
    """Return what statements repeat of an earlier one, by the statement's number."""
    found: dict[int, list[_Found]] = {}
    sids: set[str] = set()
    first: dict[str, int] = {}
    for number, statement in enumerate(document.statements):
        said = statement.to_json_object()
        sid = said.pop("Sid", None)
        if isinstance(sid, str) and sid:
            if sid in sids:
                found.setdefault(number, []).append(
                    _Found("UNIQUE_SIDS_REQUIRED", f"The Sid {sid} is there twice.", "Sid")
                )
            sids.add(sid)
        earlier = first.setdefault(json.dumps(said, sort_keys=True), number)
        if earlier != number:
            found.setdefault(number, []).append(
                _Found("REDUNDANT_STATEMENT", f"Statement[{earlier}] says the same.")
            )
    return found


# --- a statement: Sid, principal, lists


def _sid(statement: Statement, context: _Context) -> Iterator[_Found]:
    if statement.sid == "":
        yield _Found("EMPTY_SID_VALUE", "The Sid is empty.", "Sid")
    elif statement.sid is not None and not _SID.fullmatch(statement.sid):
        yield _Found(
            "UNSUPPORTED_SID", f"The Sid {statement.sid} has more than letters and digits.", "Sid"
        )


def _principal(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, value in (
        ("Principal", statement.principals),
        ("NotPrincipal", statement.not_principals),
    ):
        if value is not None:
            yield _Found(
                "UNSUPPORTED_PRINCIPAL", f"An identity-based policy has no {element}.", element
            )
    if statement.not_principals is not None and statement.effect == "Allow":
        yield _Found(
            "ALLOW_WITH_NOT_PRINCIPAL", "Allow with NotPrincipal may allow anybody.", "NotPrincipal"
        )


def _missing_resource(statement: Statement, context: _Context) -> Iterator[_Found]:
    if statement.resources is None and statement.not_resources is None:
        yield _Found("MISSING_RESOURCE", "There is neither Resource nor NotResource.")


def _empty_lists(statement: Statement, context: _Context) -> Iterator[_Found]:
    for code, element, values in (
        ("EMPTY_ARRAY_ACTION", "Action", statement.actions),
        ("EMPTY_ARRAY_ACTION", "NotAction", statement.not_actions),
        ("EMPTY_ARRAY_RESOURCE", "Resource", statement.resources),
        ("EMPTY_ARRAY_RESOURCE", "NotResource", statement.not_resources),
    ):
        if values == ():
            yield _Found(code, f"{element} is an empty list.", element)


# --- a statement: actions


def _actions(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, values in (("Action", statement.actions), ("NotAction", statement.not_actions)):
        for value in sorted(set(values or ())):
            code, details = _action(value, context)
            if code:
                yield _Found(code, details, element)


def _action(value: str, context: _Context) -> tuple[str, str]:
    """Return the code and the details of what is wrong with an action; empty if nothing is."""
    if value.strip("*") == "" or value.lower() in context.known_actions:
        return "", ""
    if "${" in value:
        return "VARIABLE_UNSUPPORTED_IN_ELEMENT", f"The action {value} holds a policy variable."
    service, colon, _ = value.partition(":")
    catalogue = load_catalogue()
    if not colon:
        # A wildcard may stand for the colon too.
        return ("", "") if has_wildcard(value) else (
            "INVALID_ACTION", f"The action {value} has no service prefix."
        )  # fmt: skip
    if has_wildcard(service):
        return (
            "WILDCARD_IN_SERVICE_NAME",
            f"The action {value} may match services that AWS adds later.",
        )
    if service.lower() not in catalogue.services:
        return (
            "INVALID_SERVICE_IN_ACTION",
            f"The service of {value} is not in the catalogue {catalogue.version}: misspelled, "
            "ended, or newer.",
        )
    if not catalogue.expand(value):
        return (
            "INVALID_ACTION",
            f"{value} matches no action of the catalogue {catalogue.version}: misspelled, ended, "
            "or newer.",
        )
    return "", ""


def _redundant_actions(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, values in (("Action", statement.actions), ("NotAction", statement.not_actions)):
        by_name: dict[str, str] = {}
        for value in sorted(set(values or ())):
            other = by_name.setdefault(value.lower(), value)
            if other != value:
                yield _Found("REDUNDANT_ACTION", f"{value} is {other} once more.", element)
        for narrow, wide in _covered(by_name):
            yield _Found(
                "REDUNDANT_ACTION", f"{by_name[wide]} includes {by_name[narrow]}.", element
            )


def _allow_with_not_action(statement: Statement, context: _Context) -> Iterator[_Found]:
    if statement.effect == "Allow" and statement.not_actions is not None:
        yield _Found(
            "ALLOW_WITH_NOT_ACTION",
            "Allow with NotAction allows every action that AWS adds later.",
            "NotAction",
        )


# --- a statement: resources


def _arns(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, values in (
        ("Resource", statement.resources),
        ("NotResource", statement.not_resources),
    ):
        for value in sorted(set(values or ())):
            code, details = _arn(value)
            if code:
                yield _Found(code, details, element)


def _arn(value: str) -> tuple[str, str]:
    """Return the code and the details of what is wrong with a resource; empty if nothing is."""
    text = _VARIABLE.sub("?", value)  # as free as a wildcard, and without colons
    if text.strip("*") == "" and text:
        return "", ""
    head = re.split(r"[*?]", text, maxsplit=1)[0]
    if not head.startswith("arn:"):
        is_open = head != text and "arn:".startswith(head)
        return ("", "") if is_open else (
            "INVALID_ARN_PREFIX", f"The resource {value} does not begin with arn:."
        )  # fmt: skip
    fields = text.split(":", 5)
    if len(fields) < 6 or not fields[5]:
        # A wildcard at the end of a field may stand for the fields behind it.
        return ("", "") if has_wildcard(text) else (
            "MISSING_ARN_FIELD",
            f"The resource {value} has not all of arn:partition:service:region:account:resource.",
        )  # fmt: skip
    partition, service, region, account = fields[1:5]
    table = load_checks()
    if not has_wildcard(partition) and not _PARTITION.fullmatch(partition):
        return "INVALID_PARTITION", f"{partition or 'An empty text'} is no partition: {value}."
    if not has_wildcard(service) and service != service.lower():
        return "INVALID_ARN_SERVICE_CASE", f"The service of {value} has capitals."
    if region and not has_wildcard(region):
        if service in table["services_without_region"]:
            return "ARN_REGION_NOT_ALLOWED", f"ARNs of {service} have no Region: {value}."
        if not _REGION.fullmatch(region):
            return "INVALID_ARN_REGION", f"{region} is no Region: {value}."
    if account and not has_wildcard(account):
        if service in table["services_without_account"]:
            return "ARN_ACCOUNT_NOT_ALLOWED", f"ARNs of {service} have no account: {value}."
        if _NUMBERS.fullmatch(account) and not _ACCOUNT.fullmatch(account):
            return "INVALID_ARN_ACCOUNT", f"{account} has not the 12 digits of an account: {value}."
    return "", ""


def _redundant_resources(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, values in (
        ("Resource", statement.resources),
        ("NotResource", statement.not_resources),
    ):
        for narrow, wide in _covered(values or ()):
            yield _Found("REDUNDANT_RESOURCE", f"{wide} includes {narrow}.", element)


def _covered(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return the values that another one of them includes, each with one such, sorted."""
    texts = sorted(set(values))
    found: dict[str, str] = {}
    for wide in texts:
        if not has_wildcard(wide):
            continue
        # What a pattern includes begins as the pattern does.
        head = re.split(r"[*?]", wide, maxsplit=1)[0]
        for at in range(bisect_left(texts, head), len(texts)):
            narrow = texts[at]
            if not narrow.startswith(head):
                break
            if narrow != wide and narrow not in found and covers(wide, narrow):
                if found.get(wide) == narrow:  # two ways to write the same: one may stay
                    continue
                found[narrow] = wide
    return sorted(found.items())


def _resource_not_of_action(statement: Statement, context: _Context) -> Iterator[_Found]:
    if statement.effect != "Allow" or not statement.resources or "*" in statement.resources:
        return
    resources = sorted(set(statement.resources))
    is_met: dict[tuple[str, ...], bool] = {}
    for action in sorted(set(statement.actions or ())):
        if has_wildcard(action) or not load_catalogue().exists(action):
            continue
        formats = _formats_of(action.lower())
        if formats not in is_met:
            is_met[formats] = any(
                overlaps(_VARIABLE.sub("*", resource), each)
                for resource in resources
                for each in formats
            )
        if not is_met[formats]:
            yield _Found(
                "RESOURCE_NOT_OF_ACTION",
                f"By the catalogue {action} takes no resource of the statement"
                + (", only *." if not formats else "."),
                "Action",
            )


@cache
def _formats_of(action: str) -> tuple[str, ...]:
    """Return the ARNs that an action takes, as patterns, sorted; none if it takes only ``*``."""
    table = load_resource_types()
    formats = table.arn_formats(action.partition(":")[0])
    return tuple(
        sorted(
            {
                PLACEHOLDER.sub("*", each)
                for use in table.types_of(action)
                for each in formats.get(use.name, ("*",))
            }
        )
    )


# --- a statement: roles that are passed, and made for services


def _pass_role(statement: Statement, context: _Context) -> Iterator[_Found]:
    yield from _role_action(
        statement, "PASS_ROLE", PASS_ROLE, PASSED_TO_SERVICE, _ROLES, lambda resource: True
    )


def _create_service_linked_role(statement: Statement, context: _Context) -> Iterator[_Found]:
    yield from _role_action(
        statement,
        "CREATE_SLR",
        CREATE_SLR,
        SERVICE_NAME,
        _SERVICE_LINKED_ROLES,
        # Only the name of the role is open once the service is given.
        lambda resource: not _SERVICE_LINKED.fullmatch(resource),
    )


def _role_action(
    statement: Statement,
    prefix: str,
    action: str,
    limiting_key: str,
    roles: str,
    is_wide: Callable[[str], bool],
) -> Iterator[_Found]:
    """Find an action on roles that is allowed for more roles than are named, by AWS's codes."""
    if statement.effect != "Allow" or limiting_key in _condition_keys(statement):
        return
    granted = _how_granted(statement, action)
    if granted is None:
        return
    if statement.not_resources is not None:
        in_resource = "NOT_RESOURCE"
    elif any(
        has_wildcard(each) and overlaps(each, roles) and is_wide(each)
        for each in statement.resources or ()
    ):
        in_resource = "STAR_IN_RESOURCE"
    else:
        return
    yield _Found(
        f"{prefix}_WITH_{_ROLE_CODES[granted, in_resource]}",
        f"{action} is allowed for more roles than are named, without a condition on "
        f"{'the service' if prefix == 'PASS_ROLE' else 'the name of the service'}.",
        "NotResource" if in_resource == "NOT_RESOURCE" else "Resource",
    )


_ROLE_CODES = {
    ("named", "STAR_IN_RESOURCE"): "STAR_IN_RESOURCE",
    ("star", "STAR_IN_RESOURCE"): "STAR_IN_ACTION_AND_RESOURCE",
    ("not", "STAR_IN_RESOURCE"): "STAR_IN_RESOURCE_AND_NOT_ACTION",
    ("named", "NOT_RESOURCE"): "NOT_RESOURCE",
    ("star", "NOT_RESOURCE"): "STAR_IN_ACTION_AND_NOT_RESOURCE",
    ("not", "NOT_RESOURCE"): "NOT_ACTION_AND_NOT_RESOURCE",
}


def _how_granted(statement: Statement, action: str) -> str | None:
    """Return how a statement speaks of an action (``named``, ``star``, ``not``), or None."""
    if statement.not_actions is not None:
        is_left_out = any(matches_action(each, action) for each in statement.not_actions)
        return None if is_left_out else "not"
    values = statement.actions or ()
    if any(each.lower() == action.lower() for each in values):
        return "named"
    if any(matches_action(each, action) for each in values):
        return "star"
    return None


def _condition_keys(statement: Statement) -> set[str]:
    return {
        key.lower()
        for tests in statement.conditions.values()
        if isinstance(tests, dict)
        for key in tests
    }


# --- a statement: conditions


def _conditions(statement: Statement, context: _Context) -> Iterator[_Found]:
    for written, tests in statement.conditions.items():
        element = f"Condition.{written}"
        operator = _operator(written)
        if operator.table is None:
            yield _Found("INVALID_CONDITION_OPERATOR", f"There is no operator {written}.", element)
            continue
        if operator.is_null and operator.if_exists:
            yield _Found("NULL_WITH_IF_EXISTS", "Null cannot have IfExists.", element)
        if not isinstance(tests, dict):
            continue
        if not tests:
            yield _Found("EMPTY_OBJECT_CONDITION", f"{written} has no condition keys.", element)
        seen: set[str] = set()
        for key, values in tests.items():
            if key.lower() in seen:
                yield _Found(
                    "DUPLICATE_KEYS_WITH_DIFFERENT_CASE",
                    f"{key} is there more than once, in different capitalization.",
                    element,
                )
            seen.add(key.lower())
            yield from _key(key, f"{element}.{key}")
            yield from _values(operator, operator.table, values, f"{element}.{key}")


def _operator(written: str) -> _Operator:
    quantifier, colon, name = written.rpartition(":")
    if_exists = name.lower().endswith("ifexists")
    name = name[: -len("IfExists")] if if_exists else name
    known = {each.lower(): table for each, table in load_checks()["operators"].items()}
    is_quantifier = quantifier.lower() in {"forallvalues", "foranyvalue"}
    return _Operator(
        name,
        known.get(name.lower()) if is_quantifier or not colon else None,
        quantifier.lower(),
        if_exists,
    )


def _key(key: str, element: str) -> Iterator[_Found]:
    if "${" in key:
        return  # what a variable stands for is not known here
    if not _KEY.fullmatch(key):
        yield _Found(
            "INVALID_CONDITION_KEY_FORMAT", f"{key} has not the form service:keyname.", element
        )
    elif key.rstrip("/").lower() in {each.lower() for each in load_checks()["tag_keys"]}:
        yield _Found(
            "MISSING_TAG_KEY_IN_CONDITION", f"{key} names no tag: {key.rstrip('/')}/Name.", element
        )


def _values(
    operator: _Operator, table: OperatorTable, values: JsonValue, element: str
) -> Iterator[_Found]:
    listed = values if isinstance(values, list) else [values]
    if not listed:
        suffix = {"forallvalues": "_FORALLVALUES", "foranyvalue": "_FORANYVALUE"}.get(
            operator.quantifier, "_IFEXISTS" if operator.if_exists else ""
        )
        yield _Found(f"EMPTY_ARRAY_CONDITION{suffix}", "The list of values is empty.", element)
    for value in listed:
        text = value if isinstance(value, str) else json.dumps(value)
        if _VARIABLE.search(text) and any(name not in _ESCAPES for name in _VARIABLE.findall(text)):
            if not table["variables"]:
                yield _Found(
                    "INVALID_VARIABLE_FOR_OPERATOR",
                    f"{operator.name} takes no policy variable: {text}.",
                    element,
                )
            continue
        code = _VALUE_RULES.get(table["value_type"], _any_value)(_VARIABLE.sub("", text))
        if code and not (code == "WILDCARD_WITHOUT_LIKE_OPERATOR" and table["like"]):
            yield _Found(code, f"{operator.name} with the value {text}.", element)


def _any_value(text: str) -> str:
    return ""


def _string(text: str) -> str:
    return "WILDCARD_WITHOUT_LIKE_OPERATOR" if has_wildcard(text) else ""


def _boolean(text: str) -> str:
    return "" if text.lower() in {"true", "false"} else "TYPE_MISMATCH_BOOLEAN"


def _number(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return "TYPE_MISMATCH_NUMBER"
    return ""


def _ip_range(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "TYPE_MISMATCH_IP_RANGE"
    return ""


_VALUE_RULES: Mapping[str, Callable[[str], str]] = {
    "string": _string,
    "boolean": _boolean,
    "number": _number,
    "ip": _ip_range,
}


# --- a statement: policy variables


def _variables(statement: Statement, context: _Context) -> Iterator[_Found]:
    for element, text in _texts_with_variables(statement):
        if context.version != VERSION:
            yield _Found(
                "VARIABLE_UNSUPPORTED_IN_VERSION",
                f"{text}: before version {VERSION} a policy variable is plain text.",
                element,
            )
            continue
        if _OPEN_VARIABLE.search(text):
            yield _Found("MISSING_BRACE_IN_VARIABLE", f"{text}: a }} is missing.", element)
            continue
        for name in _VARIABLE.findall(text):
            if not name:
                yield _Found("EMPTY_VARIABLE", f"{text}: a policy variable is empty.", element)
            elif ":" not in name and name not in _ESCAPES and element != "Condition":
                yield _Found(
                    "PLACEHOLDER_IN_RESOURCE",
                    f"{text}: ${{{name}}} is no policy variable, so it matches nothing.",
                    element,
                )


def _texts_with_variables(statement: Statement) -> Iterator[tuple[str, str]]:
    for element, values in (
        ("Resource", statement.resources),
        ("NotResource", statement.not_resources),
    ):
        for value in sorted(set(values or ())):
            if "${" in value:
                yield element, value
    for tests in statement.conditions.values():
        for tested in tests.values() if isinstance(tests, dict) else ():
            for each in tested if isinstance(tested, list) else [tested]:
                if isinstance(each, str) and "${" in each:
                    yield "Condition", each


DOCUMENT_RULES: tuple[Callable[[PolicyDocument], Iterator[_Found]], ...] = (
    _missing_version,
    _size,
)
STATEMENT_RULES: tuple[Callable[[Statement, _Context], Iterator[_Found]], ...] = (
    _sid,
    _principal,
    _missing_resource,
    _empty_lists,
    _actions,
    _redundant_actions,
    _allow_with_not_action,
    _arns,
    _redundant_resources,
    _resource_not_of_action,
    _pass_role,
    _create_service_linked_role,
    _conditions,
    _variables,
)
