"""Evidence made for tests, a line each: activity, today's policies, last accessed, coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pare.arns import parse_principal_arn
from pare.cloudtrail.activity import Activity, Asked, PrincipalActivity, Use, UseKey
from pare.cloudtrail.principals import Principal
from pare.policy.access import Access, access_today
from pare.policy.current import CurrentAccessJson, kind_of
from pare.policy.document import parse
from pare.policy.evidence import Evidence, Terms
from pare.policy.observed import observed_calls
from pare.policy.proposal import build_proposal
from pare.policy.replay import replay

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.cloudtrail.activity import Outcome
    from pare.policy.coverage import ActivityCoverageJson
    from pare.policy.current import AttachedPolicyJson
    from pare.policy.document import PolicyDocument
    from pare.policy.evidence import LastAccessedOutcomeJson, ServiceLastAccessedJson
    from pare.policy.observed import Calls
    from pare.policy.proposal import ProposalJson
    from pare.policy.replay import ReplayJson

Json = dict[str, Any]

ACCOUNT = "111122223333"
OTHER_ACCOUNT = "444455556666"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app/Shop"
ROLE_ID = "AROAEXAMPLEEXAMPLE123"
USER = f"arn:aws:iam::{ACCOUNT}:user/people/ann"
FIRST, LAST = "2026-09-01T08:00:00Z", "2026-11-20T09:00:00Z"
FILE = "s3://trail/2026/11/20/log.json.gz"
# Nothing that the records hold tells whether these are met.
TLS: Json = {"Bool": {"aws:SecureTransport": "true"}}
OFFICE: Json = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}


# --- Policies ---


def allow(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> Json:
    """Return an Allow statement."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str | list[str], resource: str | list[str] = "*", **more: Any) -> Json:
    """Return a Deny statement."""
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def document(*statements: Json, version: str = "2012-10-17") -> Json:
    """Return a policy document."""
    return {"Version": version, "Statement": list(statements)}


def parsed(*statements: Json) -> PolicyDocument:
    """Return a policy document, parsed."""
    return parse(document(*statements))


def attached(*statements: Json, **changes: Any) -> AttachedPolicyJson:
    """Return an inline policy of a principal."""
    policy: Json = {"source": "inline", "name": "permissions", "arn": None, "group": None,
                    "document": document(*statements)}  # fmt: skip
    return cast("AttachedPolicyJson", {**policy, **changes})


def current(
    *statements: Json, boundary: list[Json] | None = None, arn: str = ROLE, **changes: Any
) -> CurrentAccessJson:
    """Return what IAM says of a principal that has one inline policy of these statements."""
    found: CurrentAccessJson = {
        "principal_arn": arn,
        "principal_id": ROLE_ID,
        "kind": kind_of(parse_principal_arn(arn)),
        "created_at": "2024-01-01T00:00:00Z",
        "last_used_at": LAST,
        "tags": {},
        "policies": [attached(*statements)] if statements else [],
        "boundary": attached(*boundary) if boundary is not None else None,
    }
    return cast("CurrentAccessJson", {**found, **changes})


def today(*statements: Json, boundary: list[Json] | None = None) -> Access:
    """Return what is granted by these statements, within a boundary."""
    return access_today(current(*statements, boundary=boundary))


# --- Activity ---


class Made(NamedTuple):
    """One use, to be put into an activity."""

    key: UseKey
    resource: str | None
    use: Use
    depth: int | None = None


def use(
    action: str,
    resource: str | None = "*",
    *,
    count: int = 1,
    to: str = "",
    outcome: Outcome = "allowed",
    regions: tuple[str, ...] = (REGION,),
    depth: int | None = None,
    **changes: Any,
) -> Made:
    """Return allowed calls of an action; ``to`` is the service that a role is passed to.

    With ``depth`` the resource is the sketch of many ARNs, and its group is folded so far.
    """
    found: Json = {"own": count, "first": FIRST, "last": LAST, "file": FILE,
                   "where": (regions, (), ())}  # fmt: skip
    return Made(UseKey(action, to, outcome), resource, Use(**{**found, **changes}), depth)


def refused(action: str, resource: str | None = "*", **more: Any) -> Made:
    """Return refused calls of an action."""
    errors = {"AccessDenied": more.get("count", 1)}
    return use(action, resource, outcome="denied", errors=errors, **more)


def activity(*made: Made, unmapped: Mapping[str, int] | None = None) -> PrincipalActivity:
    """Return what one principal did."""
    found = PrincipalActivity()
    for each in made:
        group = found.group(each.key)
        group.add(each.resource, each.use.copy())
        if each.depth is not None:
            group.depth = each.depth
    for operation, count in (unmapped or {}).items():
        found.add_unmapped(operation, Use(count, 0, FIRST, LAST, FILE))
    return found


def calls(*made: Made, unmapped: Mapping[str, int] | None = None) -> Calls:
    """Return the calls of one principal."""
    return observed_calls(activity(*made, unmapped=unmapped))


def principal(
    arn: str = ROLE, unique_id: str = ROLE_ID, kind: str = "AssumedRole", account: str = ACCOUNT
) -> Principal:
    """Return a principal as the records name it."""
    return Principal(arn, unique_id, kind, account)


def activity_of(
    principals: Mapping[Principal, PrincipalActivity],
    *,
    hours: Mapping[str, set[str]] | None = None,
    asked: set[Asked] | None = None,
) -> Activity:
    """Return the activity of several principals."""
    found = Activity()
    found.principals = dict(principals)
    found.hours = dict(hours or {})
    found.asked = set(asked or ())
    return found


def covered(**changes: Any) -> ActivityCoverageJson:
    """Return the coverage of logs that miss nothing; data events were not recorded."""
    found: Json = {
        "asked": [], "first": FIRST, "last": LAST, "window_days": 90, "days_without_records": 0,
        "first_days_without_records": [], "hours_with_records": 2160, "files": 10, "bytes": 1,
        "uncompressed_bytes": 1, "unreadable_files": 0, "records": 1000, "unreadable_records": 0,
        "problem_files": [], "forgotten_event_ids": 0, "reads_recorded": True,
        "services_left_out": [], "regions": [REGION], "data_events": [],
        "catalogue": [],
    }  # fmt: skip
    return cast("ActivityCoverageJson", {**found, **changes})


# --- Last accessed information ---


def service(
    prefix: str, actions: dict[str, str | None] | None = None, *, used_at: str | None = LAST
) -> ServiceLastAccessedJson:
    """Return one service's last accessed information; without ``actions``, AWS tracks none."""
    return {"service": prefix, "name": prefix, "last_accessed_at": used_at, "region": REGION,
            "actions": actions}  # fmt: skip


def accessed(*services: ServiceLastAccessedJson, **changes: Any) -> LastAccessedOutcomeJson:
    """Return how the last accessed job ended."""
    found: Json = {"outcome": "COMPLETED", "message": "", "services": list(services)}
    return cast("LastAccessedOutcomeJson", {**found, **changes})


# --- All of it ---


def propose(
    theirs: PrincipalActivity | None,
    granted: CurrentAccessJson | None = None,
    *,
    arn: str = ROLE,
    terms: Terms | None = None,
    **more: Any,
) -> ProposalJson:
    """Return the proposal for a principal, from its activity and what it is granted today."""
    if granted is not None:
        arn = granted["principal_arn"]
    found: Json = {
        "principal_arn": arn, "account_id": ACCOUNT, "kind": kind_of(parse_principal_arn(arn)),
        "current": granted, "activity": theirs,
        "coverage": covered() if theirs is not None else None,
    }  # fmt: skip
    return build_proposal(Evidence(**{**found, **more}), terms or Terms())


def replayed(
    theirs: PrincipalActivity,
    policies: Access,
    before: Access | None = None,
    *,
    arn: str = ROLE,
) -> ReplayJson:
    """Return the certificate of an activity under some policies."""
    return replay(
        observed_calls(theirs).allowed,
        principal_arn=arn,
        account_id=ACCOUNT,
        access=policies,
        today=before,
    )
