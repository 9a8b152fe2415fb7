"""Who may assume a role, as its trust policy says.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html

What the policy says is told generously: an Allow under a condition counts as trust, with the keys
of the condition beside it, and only a Deny without a condition takes trust away. What cannot be
told who it is stands in ``unknown``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pare.errors import PolicyParseError
from pare.policy.document import parse
from pare.policy.patterns import matches_action

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pare.inventory.model import OutsideTrustJson, TrustJson
    from pare.policy.document import JsonObject, JsonValue, Statement

UNREADABLE = "a trust policy that cannot be read"
# The actions that make a session of a role.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_manage-assume.html
ASSUME = ("sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity")
EXTERNAL_ID = "sts:externalid"
# Operators that name what a key must be, without "IfExists" and set operators.
_NAMING = frozenset(
    {"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike"}
)
# Every IAM principal's request has these, so that "…IfExists" changes nothing.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_ALWAYS_THERE = frozenset({"aws:principalaccount", "aws:principalarn"})
_ACCOUNT_KEYS = frozenset({"aws:principalaccount", "aws:sourceaccount"})
_ARN_KEYS = frozenset({"aws:principalarn", "aws:sourcearn"})
_ORGANIZATION_KEYS = frozenset(
    {"aws:principalorgid", "aws:principalorgpaths", "aws:sourceorgid", "aws:sourceorgpaths"}
)
_ACCOUNT_ID = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:[a-z-]+:(?:iam|sts)::([0-9]{12}):(.+)")
# Any ARN with an account, in a condition: the rest may have wildcards.
_ARN_OF_ACCOUNT = re.compile(r"arn:[^:]+:[^:]+:[^:]*:([0-9]{12}):.*")
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}(?:/.*)?")


class _Principal(NamedTuple):
    """One trusted or refused principal: an account's, a service, a provider, anybody, unknown."""

    kind: str  # "account", "Service", "Federated", "anybody" or "unknown"
    name: str  # the account's id, or the principal as written
    entity: str = ""  # the user, role or session of the account; empty: all of it


def read_trust(
    document: Any, *, account_id: str, organization_accounts: Collection[str]
) -> TrustJson:
    """Return who a trust policy lets assume a role of the account.

    The document is an object or JSON text; one that cannot be read trusts somebody unknown.
    ``organization_accounts`` are the accounts whose trust is inside.
    """
    trust = _Trust(account_id, organization_accounts)
    try:
        statements = parse(document).statements
    except (PolicyParseError, RecursionError):
        trust.unknown.add(UNREADABLE)
        return trust.to_json()
    denied = {
        principal
        for statement in statements
        if statement.effect == "Deny" and _denies_assuming(statement)
        for principal in _principals(statement.principals)
    }
    if _Principal("anybody", "*") in denied:
        return trust.to_json()
    for statement in statements:
        if statement.effect == "Allow" and _lets_assume(statement):
            trust.add(statement, denied)
    return trust.to_json()


class _Trust:
    """Gathers what the statements of one trust policy say."""

    def __init__(self, account_id: str, organization_accounts: Collection[str]) -> None:
        self._account_id = account_id
        self._organization_accounts = organization_accounts
        self._services: set[str] = set()
        self._federated: set[str] = set()
        self._federated_open: set[str] = set()
        self._accounts: set[str] = set()
        self._outside: dict[str, OutsideTrustJson] = {}
        self._is_public = False
        self.unknown: set[str] = set()

    def add(self, statement: Statement, denied: Collection[_Principal]) -> None:
        """Take in an Allow statement, without what is denied."""
        if statement.not_principals is not None:
            # Everybody but those: https://docs.aws.amazon.com/IAM/latest/UserGuide/
            # reference_policies_elements_notprincipal.html
            self.unknown.add("NotPrincipal")
            self._anybody(statement)
        for principal in _principals(statement.principals):
            whole_account = _Principal("account", principal.name)
            if principal in denied or (principal.kind == "account" and whole_account in denied):
                continue
            match principal.kind:
                case "account":
                    self._account(principal.name, statement)
                case "Service":
                    self._services.add(principal.name)
                case "Federated":
                    self._federated.add(principal.name)
                    if _lets_all_identities(principal.name, statement):
                        self._federated_open.add(principal.name)
                case "anybody":
                    self._anybody(statement)
                case _:
                    self.unknown.add(principal.name)

    def _account(self, account_id: str, statement: Statement) -> None:
        if account_id == self._account_id or account_id in self._organization_accounts:
            self._accounts.add(account_id)
            return
        keys = _condition_keys(statement.conditions)
        has_external_id = _demands_external_id(statement.conditions)
        known = self._outside.get(account_id)
        if known is not None:
            # Two ways in: what both demand is what is demanded.
            keys &= set(known["conditions"])
            has_external_id = has_external_id and known["external_id"]
        self._outside[account_id] = {
            "account_id": account_id,
            "external_id": has_external_id,
            "conditions": sorted(keys),
        }

    def _anybody(self, statement: Statement) -> None:
        """Take in a ``*``: public, but where a condition names whom it means."""
        named = list(_named_by(statement.conditions))
        accounts = {name for kind, name in named if kind == "account"}
        if accounts:
            for account_id in sorted(accounts):
                self._account(account_id, statement)
        elif named:
            # Which accounts an organization has, or whether it is this one, is not said here.
            self.unknown.update(f"* of {name}" for _, name in named)
        else:
            self._is_public = True

    def to_json(self) -> TrustJson:
        return {
            "services": sorted(self._services),
            "own_account": self._account_id in self._accounts,
            "inside": sorted(self._accounts - {self._account_id}),
            "outside": [self._outside[account_id] for account_id in sorted(self._outside)],
            "federated": sorted(self._federated),
            "federated_open": sorted(self._federated_open),
            "is_public": self._is_public,
            "unknown": sorted(self.unknown),
        }


def _lets_all_identities(provider: str, statement: Statement) -> bool:
    """Return whether all identities of an OpenID provider may assume the role.

    A provider such as GitHub's signs for everybody in the world: without a condition on more than
    the audience, whoever has an account there comes in. Of a Cognito pool the audience is enough.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create_for-idp_oidc.html
    """
    host = provider.rpartition("oidc-provider/")[2].lower()
    if ":oidc-provider/" not in provider or not _lets(statement, ASSUME[2]):
        return False
    return not any(
        key.startswith(f"{host}:")
        and key != f"{host}:aud"
        and _names(operator, key)
        and all(isinstance(value, str) and set(value) - {"*"} for value in values)
        for operator, key, values in _tests(statement.conditions)
    )


def _lets_assume(statement: Statement) -> bool:
    """Return whether any action that makes a session is in the statement."""
    return any(_lets(statement, action) for action in ASSUME)


def _lets(statement: Statement, action: str) -> bool:
    if statement.not_actions is not None:
        return not _matches(statement.not_actions, action)
    return _matches(statement.actions or (), action)


def _denies_assuming(statement: Statement) -> bool:
    """Return whether the statement refuses every action that makes a session, in every case."""
    return not statement.conditions and all(
        _matches(statement.actions or (), action) for action in ASSUME
    )


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(matches_action(pattern, action) for pattern in patterns)


def _principals(element: JsonValue) -> Iterator[_Principal]:
    """Yield the principals of a Principal element, each by itself."""
    if element is None:
        return
    if isinstance(element, str):
        element = {"AWS": element}
    if not isinstance(element, dict):
        yield _Principal("unknown", "a principal that cannot be read")
        return
    for kind, names in element.items():
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str):
                yield _Principal("unknown", "a principal that cannot be read")
            elif not name:
                continue  # IAM refuses it; templates leave it behind in an emulator
            elif name == "*" and kind in {"AWS", "Federated"}:
                yield _Principal("anybody", "*")
            elif kind == "AWS":
                yield _aws_principal(name)
            elif kind in {"Service", "Federated"}:
                yield _Principal(kind, name)
            else:
                yield _Principal("unknown", f"{kind} {name}")


def _aws_principal(name: str) -> _Principal:
    if _ACCOUNT_ID.fullmatch(name):
        return _Principal("account", name)
    found = _ARN.fullmatch(name)
    if found is None or "*" in name:
        # The unique id of a deleted user or role (AIDA…, AROA…), or nothing AWS knows.
        return _Principal("unknown", name)
    account_id, entity = found.groups()
    return _Principal("account", account_id, "" if entity == "root" else entity)


def _tests(conditions: JsonObject) -> Iterator[tuple[str, str, list[JsonValue]]]:
    """Yield operator, key and values of each test, names in lower case."""
    for operator, tests in conditions.items():
        if isinstance(tests, dict):
            for key, values in tests.items():
                yield (
                    operator.lower(),
                    key.lower(),
                    values if isinstance(values, list) else [values],
                )


def _condition_keys(conditions: JsonObject) -> set[str]:
    """Return the keys of the conditions as they are written."""
    return {key for tests in conditions.values() if isinstance(tests, dict) for key in tests}


def _names(operator: str, key: str) -> bool:
    """Return whether a test holds only where its key is there and is one of its values."""
    operator = operator.removeprefix("foranyvalue:")
    if operator.endswith("ifexists"):
        return operator.removesuffix("ifexists") in _NAMING and key in _ALWAYS_THERE
    return operator in _NAMING


def _demands_external_id(conditions: JsonObject) -> bool:
    return any(
        key == EXTERNAL_ID
        and _names(operator, key)
        and all(isinstance(value, str) and set(value) - {"*"} for value in values)
        for operator, key, values in _tests(conditions)
    )


def _named_by(conditions: JsonObject) -> Iterator[tuple[str, str]]:
    """Yield ("account", id) and ("organization", id) of the tests that say whom ``*`` means.

    A test with a single value that names nobody (a wildcard for the account) names nobody at all.
    """
    for operator, key, values in _tests(conditions):
        if not values or not _names(operator, key):
            continue
        named = [_named(key, value) for value in values]
        if all(each is not None for each in named):
            yield from (each for each in named if each is not None)


def _named(key: str, value: JsonValue) -> tuple[str, str] | None:
    text = str(value)
    if key in _ACCOUNT_KEYS and _ACCOUNT_ID.fullmatch(text):
        return ("account", text)
    if key in _ARN_KEYS and (found := _ARN_OF_ACCOUNT.fullmatch(text)):
        return ("account", found[1])
    if key in _ORGANIZATION_KEYS and _ORGANIZATION.fullmatch(text):
        return ("organization", text)
    return None
