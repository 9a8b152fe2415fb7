"""Whose policies to propose: the users and roles that an activity shows, each with what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pare.arns import parse_principal_arn
from pare.cloudtrail.activity import PrincipalActivity
from pare.errors import ArnParseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pare.arns import PrincipalArn
    from pare.cloudtrail.activity import Activity
    from pare.cloudtrail.principals import Principal


class Subject(NamedTuple):
    """A user or role and its activity. ``gone_ids``: unique ids of others that had the name."""

    arn: PrincipalArn
    activity: PrincipalActivity
    is_path_known: bool = True
    gone_ids: tuple[str, ...] = ()


class Subjects(NamedTuple):
    """All users and roles of an activity by ARN, and who gets no policy: reason -> principals."""

    by_arn: Mapping[str, Subject]
    others: Mapping[str, int]


# Why a principal that is no user or role gets no policy.
NO_POLICY = {
    "Root": "the root user has no policies",
    "AWSService": "a service has no policies of ours",
    "AWSAccount": "another account's principals are its own",
    "IdentityCenterUser": "Identity Center users act through roles",
    "Unknown": "the records do not tell who it was",
}
_NO_POLICY_OTHERWISE = "it is no IAM user or role"


def subjects_of(activity: Activity, ids: Mapping[str, str]) -> Subjects:
    """Return the users and roles of an activity.

    ``ids``: ARN -> the unique id of the principal that has it today, as far as known; what others
    did under the name (deleted, and made anew) is left out. Without an id all of it counts. A role
    session whose role's path the records do not tell belongs to the role of the account with that
    name: the one in ``ids``, or else the only one in the activity.
    """
    found: dict[str, _Draft] = {}
    without_path: list[tuple[Principal, PrincipalActivity]] = []
    others: dict[str, int] = {}
    for principal in sorted(activity.principals):
        theirs = activity.principals[principal]
        arn = _entity(principal.principal)
        if arn is None and _session_role(principal.principal):
            without_path.append((principal, theirs))
        elif arn is None:
            why = NO_POLICY.get(principal.kind, _NO_POLICY_OTHERWISE)
            others[why] = others.get(why, 0) + 1
        else:
            found.setdefault(principal.principal, _Draft(arn)).add(
                principal, theirs, ids.get(principal.principal)
            )
    names = _by_name([*found, *ids])
    for principal, theirs in without_path:
        pathless = _session_role(principal.principal)
        named = names.get(pathless, set())
        named = {arn for arn in named if arn in ids} or named
        name = next(iter(named)) if len(named) == 1 else pathless
        draft = found.get(name)
        if draft is None:
            draft = found[name] = _Draft(parse_principal_arn(name), is_path_known=len(named) == 1)
        draft.add(principal, theirs, ids.get(name))
    return Subjects({arn: found[arn].subject() for arn in sorted(found)}, others)


class _Draft:
    def __init__(self, arn: PrincipalArn, *, is_path_known: bool = True) -> None:
        self.arn = arn
        self.is_path_known = is_path_known
        self.parts: list[PrincipalActivity] = []
        self.gone: list[str] = []

    def add(self, principal: Principal, theirs: PrincipalActivity, id_today: str | None) -> None:
        if id_today and principal.principal_id and principal.principal_id != id_today:
            self.gone.append(principal.principal_id)
        else:
            self.parts.append(theirs)

    def subject(self) -> Subject:
        if len(self.parts) == 1:
            merged = self.parts[0]
        else:
            merged = PrincipalActivity()
            for part in self.parts:
                merged.merge(part)
        return Subject(self.arn, merged, self.is_path_known, tuple(sorted(self.gone)))


def _entity(arn: str) -> PrincipalArn | None:
    try:
        return parse_principal_arn(arn)
    except ArnParseError:
        return None


def _session_role(arn: str) -> str:
    """Return the ARN of the role behind ``arn:aws:sts::ACCOUNT:assumed-role/NAME``, pathless.

    Empty for anything else.
    """
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] != "sts" or not parts[5].startswith("assumed-role/"):
        return ""
    name = parts[5].split("/")[1]
    role = f"arn:{parts[1]}:iam::{parts[4]}:role/{name}"
    return role if _entity(role) is not None else ""


def _by_name(arns: Iterable[str]) -> dict[str, set[str]]:
    """Return the pathless ARN of each role -> the ARNs of the roles with that name."""
    found: dict[str, set[str]] = {}
    for arn in arns:
        entity = _entity(arn)
        if entity is not None and entity.entity == "role":
            pathless = f"arn:{entity.partition}:iam::{entity.account_id}:role/{entity.name}"
            found.setdefault(pathless, set()).add(arn)
    return found
