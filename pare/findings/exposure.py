"""Who an access is open to.

Access Analyzer names one principal, as the statement that grants the access does, and the
conditions that narrow it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-view.html

An analyzer of the organization reports only what is outside of it. Where an account or a condition
seems to say that it is inside after all, the two contradict each other, and it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pare.findings.fields import alternatives, is_account_id
from pare.findings.severity import rank, severity_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pare.findings.model import Exposure, Finding

# Of those that are equally grave in a finding, the first is named.
_ORDER: tuple[Exposure, ...] = (
    "public", "outside", "unknown", "federated", "partner", "service", "organization", "account",
    "none",
)  # fmt: skip
# Of what could not be analyzed, only these are believed: they are as grave as unknown, or graver.
_SURE_OF_AN_ERROR = frozenset({"public", "outside", "federated"})
# Groups of Amazon S3's access control lists: anybody, and anybody with an AWS account.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#specifying-grantee-predefined-groups
_EVERYBODY = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)
# Condition keys whose value says whose access it is, where the principal does not. Those that say
# through what (aws:SourceVpce, aws:SourceVpc, aws:SourceIp, s3:DataAccessPointAccount and -Arn, …)
# are none of them: anybody may come that way.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
_ORGANIZATION_KEYS = frozenset({"aws:principalorgid", "aws:sourceorgid"})
_ACCOUNT_KEYS = frozenset(
    {"aws:principalaccount", "aws:sourceaccount", "aws:sourceowner", "kms:calleraccount"}
)
_ARN_KEYS = frozenset({"aws:principalarn", "aws:sourcearn"})
# Those that say who calls; the others say for whom a service of AWS does.
_PRINCIPAL_KEYS = frozenset({"aws:principalaccount", "aws:principalarn", "kms:calleraccount"})
_CONTRADICTION = (
    "open to whom: what Pare sees is inside the organization, and the organization's analyzer"
    " reports only what is outside"
)
# More accounts than this in one finding are not asked for one by one: they stay unknown.
_ACCOUNTS_LIMIT = 10


@dataclass(frozen=True, slots=True)
class OpenTo:
    """Who an access is open to, and the account that it is, where one is known."""

    exposure: Exposure
    account_id: str | None = None
    partner: str | None = None  # the name that the settings give that account
    doubt: str | None = None  # why it is unknown, where two sources contradict each other


@dataclass(slots=True)
class _Accounts:
    """What is known of accounts, seen from the account that the resource is in."""

    finding: Finding
    partners: Mapping[str, str]
    is_member: Callable[[str], bool | None]
    asked: int = 0

    def open_to(self, account_id: str) -> OpenTo:
        if account_id == self.finding.account_id:
            return OpenTo("account", account_id)
        if account_id in self.partners:
            return OpenTo("partner", account_id, self.partners[account_id])
        self.asked += 1
        known = self.is_member(account_id) if self.asked <= _ACCOUNTS_LIMIT else None
        if known is None:
            return OpenTo("unknown", account_id)
        return OpenTo("organization" if known else "outside", account_id)

    def gravest(self, found: Iterable[OpenTo]) -> OpenTo:
        """Return the one by which the finding is gravest; what names nobody is unknown."""
        firsts: dict[Exposure, OpenTo] = {}
        for each in found:
            firsts.setdefault(each.exposure, each)
        return max(firsts.values(), key=self._gravity, default=OpenTo("unknown"))

    def _gravity(self, each: OpenTo) -> tuple[int, int]:
        severity, _ = severity_of(replace(self.finding, exposure=each.exposure))
        return rank(severity), -_ORDER.index(each.exposure)


def open_to(
    finding: Finding,
    *,
    is_member: Callable[[str], bool | None],
    partner_accounts: Mapping[str, str],
    organization_id: str,
    hub_account_id: str,
) -> OpenTo:
    """Return who the access in a finding is open to; its access levels have to be known.

    ``is_member`` tells whether an account is one of the organization, or None where nobody says;
    ``partner_accounts`` are names by account id. Unused access and blind spots open nothing. A
    finding with an error, and whatever this does not know, is ``unknown``.

    Of several principals the one counts by which the finding is gravest.
    """
    if finding.access in {"unused", "watch"}:
        return OpenTo("none")
    if finding.is_public:
        return OpenTo("public")
    accounts = _Accounts(finding, partner_accounts, is_member)
    if finding.access == "internal":
        return OpenTo("unknown") if finding.error is not None else _internal(finding, accounts)
    condition = {name.lower(): alternatives(value) for name, value in finding.condition}
    found = accounts.gravest(
        _principal(kind, each, condition, accounts, organization_id)
        for kind, value in finding.principal
        for each in alternatives(value)
    )
    if finding.error is not None and found.exposure not in _SURE_OF_AN_ERROR:
        return OpenTo("unknown")
    inside = found.exposure in {"organization", "account"}
    if inside and _is_of_the_organization(finding, hub_account_id):
        return OpenTo("unknown", found.account_id, doubt=_CONTRADICTION)
    return found


def _is_of_the_organization(finding: Finding, hub_account_id: str) -> bool:
    """Return whether the analyzer is, or may be, one of the organization.

    Nothing in a finding says so. But an analyzer of an account sees only that account; and in the
    hub account, where both kinds may be, Pare requires the organization's. What remains is taken
    for an account's own, whose findings are also about the other accounts of the organization.
    """
    analyzer_account = _account_of(finding.analyzer_arn)
    return analyzer_account in {None, hub_account_id} or analyzer_account != finding.account_id


def _internal(finding: Finding, accounts: _Accounts) -> OpenTo:
    """Return whose access it is inside the organization; AWS has looked its account up."""
    account_id = finding.principal_account_id or next(
        (found for _, value in finding.principal for each in alternatives(value)
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
        is_denied = accounts.finding.is_public is not None
        return OpenTo("unknown" if is_denied or condition else "public")
    account_id = _account_of(value)
    if account_id is not None:
        return accounts.open_to(account_id)
    # Such as AROA…, of a principal that was deleted; or an origin access identity of CloudFront,
    # which is somebody's distribution, and does not say whose.
    return OpenTo("unknown")


def _service(
    condition: Mapping[str, tuple[str, ...]], accounts: _Accounts, organization_id: str
) -> OpenTo:
    """Return on whose behalf a service of AWS has access: its conditions may name a stranger.

    Where they name no account or organization, it is the service, as without conditions.
    """
    narrowed = _narrowed(condition, accounts, organization_id)
    if narrowed is None or narrowed == OpenTo("unknown"):
        return OpenTo("service")
    if narrowed.exposure in {"account", "organization"}:
        return OpenTo("service", narrowed.account_id)
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
            found.append(accounts.gravest(
                OpenTo("organization" if value == organization_id else _stranger(value, "o-"))
                for value in values
            ))  # fmt: skip
        elif key in _ACCOUNT_KEYS or key in _ARN_KEYS:
            found.append(accounts.gravest(
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
