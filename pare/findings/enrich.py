"""A finding made fuller: whose it is, who it is open to, what that allows, and how bad that is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pare.errors import AwsServiceError, PareError, ThrottledError
from pare.findings.compare import deleted_how, gone
from pare.findings.details import with_details
from pare.findings.exposure import open_to
from pare.findings.severity import severity_of
from pare.policy.current import owner_of
from pare.policy.patterns import has_wildcard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pare.findings.model import Finding, OwnerSource
    from pare.findings.terms import FindingTermsJson
    from pare.findings.watch import AnalyzerJson
    from pare.policy.catalogue import Catalogue

    T = TypeVar("T")

# Worth another try: the state machine repeats the step. For what is beside the finding itself only
# where AWS has too much to do: a service that is down, or that the partition does not have (Account
# Management in GovCloud), must not keep a finding from being told.
_PASSING = (ThrottledError, AwsServiceError)
_PASSING_BESIDE = (ThrottledError,)
# AWS allows 50 tags, of 128 and 256 characters; what a resource brings must not outgrow a state.
# https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html
_TAGS_LIMIT, _KEY_LIMIT, _VALUE_LIMIT = 50, 128, 256
_REASON_LIMIT = 500


class Readers(Protocol):
    """What is read of AWS. Each raises a PareError where AWS does not tell."""

    def account_name(self, account_id: str) -> str | None:
        """Return the name of an account of the organization, or None where it is none of them."""

    def details(self, finding: Finding) -> Mapping[str, Any]:
        """Return the answer of GetFindingV2, with the details of all its pages."""

    def analyzer(self, finding: Finding) -> AnalyzerJson | None:
        """Return the analyzer of the finding's ARN, or None where there is none now."""

    def tags(self, finding: Finding) -> dict[str, str]:
        """Return the tags of the resource, which may be a user or role."""

    def contact(self, account_id: str) -> str | None:
        """Return the e-mail address of an account's contact, or None where it names none."""


def enrich(
    finding: Finding, *, readers: Readers, terms: FindingTermsJson, catalogue: Catalogue
) -> Finding:
    """Return the finding with what the readers tell; what they cannot tell is named in ``unknown``.

    Raises what the readers raise where it is worth another try: ThrottledError, and of the details
    and the analyzer AwsServiceError.
    """
    unknown = list(finding.unknown)
    if finding.source == "access-analyzer" and not finding.is_deleted:
        answer = _told(
            unknown, "finding details", lambda: readers.details(finding), passing=_PASSING
        )
        if answer is not None:
            finding = with_details(replace(finding, unknown=tuple(unknown)), answer)
            unknown = list(finding.unknown)
    elif _may_be_mended(finding):
        # In a tuple: None is an answer, too. Without one it counts as unwatched until reconcile.
        there = _told(
            unknown,
            "whether its analyzer is there",
            lambda: (readers.analyzer(finding),),
            passing=_PASSING,
        )
        if there is not None:
            finding = gone(finding, how=deleted_how(finding, there[0]))
    name = _account_name(finding, readers, unknown)
    tags = dict(finding.tags)
    if finding.source == "access-analyzer":
        tags = _told(unknown, "tags", lambda: readers.tags(finding)) or {}
    owner, owner_source = _owner(finding, tags, readers, terms, unknown)

    members: dict[str, str] = {}

    def is_member(account_id: str) -> bool | None:
        what = f"whether {account_id} is an account of the organization"
        # In a tuple: None is an answer, too.
        told = _told(unknown, what, lambda: (readers.account_name(account_id),))
        if told and told[0] is not None:
            members[account_id] = told[0]
        return None if told is None else told[0] is not None

    finding = replace(finding, access_levels=access_levels(finding, catalogue))
    opened = open_to(
        finding,
        is_member=is_member,
        partner_accounts=terms["partner_accounts"],
        organization_id=terms["organization_id"],
        hub_account_id=terms["hub_account_id"],
    )
    if opened.doubt and opened.doubt not in unknown:
        unknown.append(opened.doubt)
    account_id = opened.account_id or finding.principal_account_id
    finding = replace(
        finding,
        account_name=name,
        owner=owner,
        owner_source=owner_source,
        tags=_bounded(tags),
        exposure=opened.exposure,
        principal_account_id=account_id,
        principal_account_name=members.get(account_id or ""),
        partner=opened.partner,
        unknown=tuple(unknown),
    )
    severity, rule = severity_of(finding)
    return replace(finding, severity=severity, severity_rule=rule)


def _may_be_mended(finding: Finding) -> bool:
    """Return whether AWS may have deleted a finding because the cause of its error is mended.

    Of others it says: "Active and archived findings are not deleted unless you delete the analyzer
    that generated them", and GetAnalyzer may still know an analyzer that is being deleted. What is
    said here is final, so those are unwatched until reconcile compares what the analyzer lists, and
    says it (``values["ended"]``).
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-view.html
    """
    return (
        finding.source == "access-analyzer"
        and finding.is_deleted
        and finding.error is not None
        and finding.status != "RESOLVED"
        and "ended" not in dict(finding.values)
    )


def access_levels(finding: Finding, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the access levels of the granted actions, as the catalogue says, sorted.

    An action that the catalogue does not have, or a pattern that matches none, is ``unknown``.
    """
    if finding.access not in {"external", "internal"}:
        return ()
    levels: set[str] = set()
    for action in finding.actions:
        if has_wildcard(action):
            levels |= {catalogue.access_level(each) for each in catalogue.expand(action)} or {
                "unknown"
            }
        elif catalogue.exists(action):
            levels.add(catalogue.access_level(action))
        else:
            levels.add("unknown")
    return tuple(sorted(levels))


def _told(
    unknown: list[str],
    what: str,
    read: Callable[[], T],
    *,
    passing: tuple[type[PareError], ...] = _PASSING_BESIDE,
) -> T | None:
    """Return what a reader tells; where it cannot, and will not later, note that."""
    try:
        return read()
    except passing:
        raise
    except PareError as error:
        note = f"{what}: {error}"[:_REASON_LIMIT]
        if note not in unknown:
            unknown.append(note)
        return None


def _account_name(finding: Finding, readers: Readers, unknown: list[str]) -> str | None:
    # In a tuple: None is an answer, too.
    told = _told(unknown, "account name", lambda: (readers.account_name(finding.account_id),))
    if told == (None,):
        unknown.append("account name: Organizations knows no such account")
    return (told[0] if told else None) or finding.account_name


def _owner(
    finding: Finding,
    tags: Mapping[str, str],
    readers: Readers,
    terms: FindingTermsJson,
    unknown: list[str],
) -> tuple[str | None, OwnerSource | None]:
    """Return who owns it, and who says so: a tag, else the account's contact, else the settings.

    A finding of the inventory may bring its owner. Of blind spots nobody is asked: they are ours.
    """
    if finding.source == "pare-inventory" and finding.owner:
        return finding.owner[:_VALUE_LIMIT], finding.owner_source or "tag"
    if owner := owner_of(dict(tags), tuple(terms["owner_tag_keys"])):
        return owner[:_VALUE_LIMIT], "tag"
    if finding.source != "pare-watch":
        contact = _told(unknown, "contact", lambda: readers.contact(finding.account_id))
        if contact:
            return contact[:_VALUE_LIMIT], "account contact"
    default = terms["default_owner"]
    return (default, "settings") if default else (None, None)


def _bounded(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (key[:_KEY_LIMIT], value[:_VALUE_LIMIT])
        for key, value in sorted(tags.items())[:_TAGS_LIMIT]
    )
