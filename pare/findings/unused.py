"""What the monthly inventory found unused, as findings of Pare's own.

They are the kinds of the paid unused-access analyzer and stand in for it where it is off. What the
inventory does not know changes nothing: neither does it make a finding, nor does it close one.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pare.clock import parse_time
from pare.findings.model import Finding
from pare.inventory.rules import UNUSED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pare.inventory.model import PrincipalRowJson

# In the place of an analyzer's ARN.
INVENTORY = "pare:inventory"
ROLE, KEY, PASSWORD, PERMISSION = (
    "UnusedIAMRole",
    "UnusedIAMUserAccessKey",
    "UnusedIAMUserPassword",
    "UnusedPermission",
)
_NAMESPACE = uuid.UUID("0e2b1f0a-7d0c-5f43-9a57-6a3c1f0d9b11")
_KEY_ISSUES = frozenset({"KEY_IDLE", "KEY_NEVER_USED"})
_PASSWORD_ISSUES = frozenset({"PASSWORD_IDLE", "PASSWORD_NEVER_USED"})
# What makes a finding another one; the rest is of the moment it is looked at.
_TOLD = ("status", "unused_service_count", "unused_action_count", "last_accessed_at", "owner")


# What one finding of unused access is about, whoever found it: resource, type, access key's id.
Subject = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a row says: the findings it makes, and the kinds of which it cannot tell."""

    found: tuple[Finding, ...]
    unknown: frozenset[str]  # finding types


def judge(row: PrincipalRowJson, *, as_of: str, region: str) -> Judged:
    """Return what the row of a principal makes of it; ``as_of`` is the inventory's moment."""
    found: list[Finding] = []
    unknown: set[str] = set()

    def add(finding_type: str, *, of: str = "", **more: Any) -> None:
        found.append(_finding(row, finding_type, of=of, as_of=as_of, region=region, **more))

    if ":role/" in row["principal_arn"]:
        if row["status"] == "unknown":
            unknown |= {ROLE, PERMISSION}
        elif row["status"] in UNUSED and row["is_unused"]:
            add(ROLE, last_accessed_at=row["last_use"]["at"])
    elif row["credentials"] is None:
        unknown |= {KEY, PASSWORD}
    else:
        codes = {issue["code"] for issue in row["issues"]}
        if codes & _PASSWORD_ISSUES:
            add(PASSWORD, last_accessed_at=row["credentials"]["password_last_used_at"])
        for issue in row["issues"]:
            if issue["code"] in _KEY_ISSUES:
                number = int(issue["values"]["number"])
                key = row["credentials"]["access_keys"][number - 1]
                add(
                    KEY,
                    of=key["access_key_id"] or str(number),
                    access_key_id=key["access_key_id"],
                    last_accessed_at=key["last_used_at"],
                )
    if row["unused_services"] is None:
        unknown.add(PERMISSION)
    elif row["class"] == "narrow":
        add(
            PERMISSION,
            unused_service_count=row["unused_services"],
            unused_action_count=row["unused_actions"],
        )
    return Judged(tuple(found), frozenset(unknown))


def differences(
    rows: Iterable[PrincipalRowJson],
    known: Mapping[str, Finding],
    *,
    read_accounts: Mapping[str, str],
    unread_accounts: Collection[str],
    as_of: str,
    region: str,
    of_analyzer: Collection[Subject] | None = None,
) -> Iterator[Finding]:
    """Yield the findings that are other than what is known (by id), new and changed ones first.

    ``read_accounts`` are the names of the accounts that the inventory read, ``unread_accounts``
    those that it should have read and could not. What is known of these, or of a principal of which
    the inventory cannot tell, stays as it is. An account that is neither is closed, excluded, or
    none of the organization's any more: what is known of it ends. What is known to be newer than
    ``as_of``, from a later inventory, stays too. What somebody archived stays archived: it is
    closed when it is no longer so.

    ``of_analyzer``: what the paid analyzer says is unused; None where there is no such analyzer.
    Where there is one, people hear of what is new from it alone, and a finding of ours ends when
    the analyzer has its twin. One without a twin stays until the inventory says that it is over.
    """
    moment = parse_time(as_of)
    twins = frozenset(of_analyzer or ())
    current: set[str] = set()
    untold: set[tuple[str, str]] = set()
    for row in rows:
        judged = judge(row, as_of=as_of, region=region)
        untold |= {(row["principal_arn"], kind) for kind in judged.unknown}
        for finding in judged.found:
            current.add(finding.finding_id)
            named = replace(finding, account_name=read_accounts.get(finding.account_id))
            before = known.get(finding.finding_id)
            if of_analyzer is not None and (
                before is None or before.status == "RESOLVED" or subject_of(before) in twins
            ):
                continue
            if before is None:
                yield named
            elif parse_time(before.updated_at) < moment and _is_other(before, named):
                yield replace(named, created_at=before.created_at)
    for before in known.values():
        is_over = (
            before.finding_id not in current
            and before.account_id not in unread_accounts
            and (before.resource, before.finding_type) not in untold
        )
        if (
            before.status != "RESOLVED"
            and (is_over or subject_of(before) in twins)
            and parse_time(before.updated_at) < moment
        ):
            yield ended(before, as_of=as_of)


def subject_of(finding: Finding) -> Subject:
    """Return what a finding is about, which is the same in the analyzer's and in ours."""
    return (finding.resource, finding.finding_type, finding.access_key_id or "")


def ended(before: Finding, *, as_of: str) -> Finding:
    """Return the finding as no longer so."""
    return replace(before, status="RESOLVED", updated_at=as_of, analyzed_at=as_of)


def _is_other(before: Finding, now: Finding) -> bool:
    if before.status == "ARCHIVED":
        return False
    return any(getattr(before, name) != getattr(now, name) for name in _TOLD)


def _finding(
    row: PrincipalRowJson, finding_type: str, *, of: str, as_of: str, region: str, **more: Any
) -> Finding:
    arn = row["principal_arn"]
    is_user = ":user/" in arn
    # By the unique id: a re-created principal of the same name is another one.
    name = f"{finding_type}/{row['account_id']}/{row['principal_id']}/{of}"
    return Finding(
        finding_id=str(uuid.uuid5(_NAMESPACE, name)),
        access="unused",
        finding_type=finding_type,
        status="ACTIVE",
        is_deleted=False,
        account_id=row["account_id"],
        region=region,
        analyzer_arn=INVENTORY,
        resource=arn,
        resource_type="AWS::IAM::User" if is_user else "AWS::IAM::Role",
        created_at=as_of,
        updated_at=as_of,
        analyzed_at=as_of,
        owner=row["owner"],
        owner_source="tag" if row["owner"] else None,
        source="pare-inventory",
        exposure="none",
        **more,
    )
