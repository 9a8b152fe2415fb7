"""Who an access is open to.

Access Analyzer names one principal, as the statement that grants the access does, and the
conditions that narrow it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-view.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pare.findings.fields import is_account_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pare.findings.model import Exposure, Finding

# The gravest first: a finding with several principals is as bad as the worst of them.
_BY_GRAVITY: tuple[Exposure, ...] = (
    "public", "outside", "unknown", "federated", "service", "partner", "organization", "account",
    "none",
)  # fmt: skip
# Groups of Amazon S3's access control lists: anybody, and anybody with an AWS account.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#specifying-grantee-predefined-groups
_EVERYBODY = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
# Condition keys whose value says whose access it is, where the principal does not.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_ORGANIZATION_KEYS = frozenset({"aws:principalorgid", "aws:sourceorgid"})
_ACCOUNT_KEYS = frozenset(
    {"aws:principalaccount", "aws:sourceaccount", "aws:sourceowner", "kms:calleraccount",
     "s3:dataaccesspointaccount"}
)  # fmt: skip
_ARN_KEYS = frozenset({"aws:principalarn", "aws:sourcearn", "s3:dataaccesspointarn"})
# Those that say more exactly who calls; the others say through what.
_PRINCIPAL_KEYS = frozenset({"aws:principalaccount", "aws:principalarn", "kms:calleraccount"})
# More accounts than this in one finding are not asked for one by one: they stay unknown.
_ACCOUNTS_LIMIT = 10


@dataclass(frozen=True, slots=True)
class OpenTo:
    """Who an access is open to, and the account that it is, where one is known."""

    exposure: Exposure
    account_id: str | None = None
    partner: str | None = None  # the name that the settings give that account


@dataclass(slots=True)
class _Accounts:
    """What is known of accounts, seen from the account that the resource is in."""

    own: str
    partners: Mapping[str, str]
    is_member: Callable[[str], bool | None]
    asked: int = 0

    def open_to(self, account_id: str) -> OpenTo:
        if account_id == self.own:
            return OpenTo("account", account_id)
        if account_id in self.partners:
            return OpenTo("partner", account_id, self.partners[account_id])
        self.asked += 1
        known = self.is_member(account_id) if self.asked <= _ACCOUNTS_LIMIT else None
        if known is None:
            return OpenTo("unknown", account_id)
        return OpenTo("organization" if known else "outside", account_id)


def open_to(
    finding: Finding,
    *,
    is_member: Callable[[str], bool | None],
    partner_accounts: Mapping[str, str],
    organization_id: str,
) -> OpenTo:
    """Return who the access in a finding is open to.

    ``is_member`` tells whether an account is one of the organization, or None where nobody says;
    ``partner_accounts`` are names by account id. Unused access and blind spots open nothing. A
    finding with an error, and whatever this does not know, is ``unknown``.
    """
    if finding.access in {"unused", "watch"}:
        return OpenTo("none")
    if finding.is_public:
        return OpenTo("public")
    if finding.error is not None:
        return OpenTo("unknown")
    accounts = _Accounts(finding.account_id, partner_accounts, is_member)
    if finding.access == "internal":
        return _internal(finding, accounts)
    condition = {name.lower(): _values(value) for name, value in finding.condition}
    return _gravest(
        _principal(kind, each, finding, condition, accounts, organization_id)
        for kind, value in finding.principal
        for each in _values(value)
    )


def _internal(finding: Finding, accounts: _Accounts) -> OpenTo:
    """Return whose access it is inside the organization; AWS has looked its account up."""
    account_id = finding.principal_account_id or next(
        (found for _, value in finding.principal for each in _values(value)
         if (found := _account_of(each))), None,
    )  # fmt: skip
    if finding.access_type == "INTRA_ACCOUNT":
        return OpenTo("account", account_id or finding.account_id)
    if finding.access_type == "INTRA_ORG":
        return OpenTo("organization", account_id)
    return accounts.open_to(account_id) if account_id else OpenTo("unknown")


def _principal(
    kind: str,
    value: str,
    finding: Finding,
    condition: Mapping[str, tuple[str, ...]],
    accounts: _Accounts,
    organization_id: str,
) -> OpenTo:
    """Return who one principal is: ``kind`` and ``value`` as in a policy's Principal element.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    if value in _EVERYBODY:
        return OpenTo("public")
    if kind == "Service":
        return _service(condition, accounts, organization_id)
    if kind == "Federated":
        return OpenTo("federated", _account_of(value))
    if kind not in {"AWS", "*"}:
        return OpenTo("unknown")  # such as CanonicalUser: no account can be told from it
    if value == "*":
        narrowed = _narrowed(condition, accounts, organization_id)
        if narrowed is not None:
            return narrowed
        # Not public, says AWS, although it is everybody: something that is not shown narrows it.
        return OpenTo("public" if finding.is_public is None and not condition else "unknown")
    account_id = _account_of(value)
    if account_id is not None:
        return accounts.open_to(account_id)
    if value.split(":")[4:5] == ["cloudfront"]:
        return OpenTo("service")  # an origin access identity
    return OpenTo("unknown")  # such as AROA…, of a principal that was deleted


def _service(
    condition: Mapping[str, tuple[str, ...]], accounts: _Accounts, organization_id: str
) -> OpenTo:
    """Return on whose behalf a service of AWS has access: its conditions may name a stranger.

    Where they name nobody that is known, it is the service, as without conditions.
    """
    narrowed = _narrowed(condition, accounts, organization_id)
    if narrowed is None or narrowed.exposure in {"account", "organization", "unknown"}:
        return OpenTo("service", narrowed.account_id if narrowed else None)
    return narrowed


def _narrowed(
    condition: Mapping[str, tuple[str, ...]], accounts: _Accounts, organization_id: str
) -> OpenTo | None:
    """Return whom the conditions leave of everybody, or None where they name nobody.

    All conditions hold at once, so the keys that name a caller say it best; the values of one key
    are alternatives, so the gravest counts.
    """
    found: list[OpenTo] = []
    for key in sorted(condition, key=lambda key: (key not in _PRINCIPAL_KEYS, key)):
        values = condition[key]
        if key in _ORGANIZATION_KEYS:
            found.append(_gravest(
                OpenTo("organization" if value == organization_id else _stranger(value, "o-"))
                for value in values
            ))  # fmt: skip
        elif key in _ACCOUNT_KEYS or key in _ARN_KEYS:
            found.append(_gravest(
                accounts.open_to(account_id) if (account_id := _account_of(value))
                else OpenTo("unknown")
                for value in values
            ))  # fmt: skip
    known = [each for each in found if each.exposure != "unknown"]
    return next(iter(known or found), None)


def _stranger(value: str, prefix: str) -> Exposure:
    """Return what an organization is that is not ours: one with wildcards may be anybody."""
    is_whole = value.startswith(prefix) and not set(value) & set("*?$")
    return "outside" if is_whole else "unknown"


def _account_of(value: str) -> str | None:
    """Return the account in a principal: its id, or the one in its ARN."""
    if is_account_id(value):
        return value
    parts = value.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[0] == "arn" and is_account_id(parts[4]) else None


def _values(value: str) -> tuple[str, ...]:
    """Return the alternatives in a value: mostly one, sometimes a list as JSON."""
    if value.startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            return (value,)
        if isinstance(listed, list) and listed:
            return tuple(each if isinstance(each, str) else json.dumps(each) for each in listed)
    return (value,)


def _gravest(found: Iterable[OpenTo]) -> OpenTo:
    """Return the gravest; what names nobody is unknown."""
    return min(
        found, key=lambda each: _BY_GRAVITY.index(each.exposure), default=OpenTo("unknown")
    )  # fmt: skip
