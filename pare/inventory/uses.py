"""The newest use of a principal in all that is known of it, and what was refused only.

Sources, each with how far back it reaches:

- RoleLastUsed and service last accessed: 400 days. Both count refused attempts too.
  https://docs.aws.amazon.com/IAM/latest/APIReference/API_RoleLastUsed.html
  https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
- credential report: access keys since 2015-04-22; passwords since 2014-10-20, but for May 2018.
  https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
  https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html
- activity: the days of its window. It adds what the others lack and proves refusals.

Refusals are proved, or they are uses. What can go wrong here is calling a used principal unused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pare.clock import format_time, parse_time
from pare.policy.catalogue import load_catalogue
from pare.policy.observability import unseen

if TYPE_CHECKING:
    from datetime import datetime

    from pare.inventory.account_activity import ActivityOfAccount, Did
    from pare.inventory.model import (
        LastAccessedJson,
        LastUseJson,
        PrincipalFactsJson,
        ServiceUseJson,
        UseSource,
    )

TRACKED_DAYS = 400
KEYS_SINCE = "2015-04-22T00:00:00Z"
# IAM lost sign-ins from 2018-05-03 22:50 to 2018-05-23 14:08 PDT: before that, none recorded may
# be one that was lost.
PASSWORDS_SINCE = "2018-05-23T21:08:00Z"

# A last access is explained by a refused call at most so much earlier: IAM rounds times (those of
# access keys to 15 minutes).
ROUNDING = timedelta(minutes=15)
# CloudTrail delivers within minutes as a rule: by then, calls before a last access have come too.
DELIVERY = timedelta(hours=6)
# Of uses on the same day, the one that tells most.
_TELLING: tuple[UseSource, ...] = ("password", "access key", "service", "activity", "role")


class Recorded(NamedTuple):
    """One recorded use: when (ISO 8601), where it was seen, and of what."""

    at: str
    source: UseSource
    what: str


@dataclass(slots=True)
class ServiceSeen:
    """One service: whether the policies allow it, and its use, refusals aside."""

    service: str
    is_allowed: bool
    last_accessed_at: str | None  # as IAM has it, refused attempts included
    used_at: str | None  # None: no use is recorded
    denied_only: bool
    actions: dict[str, str]  # used, without prefix -> last used at
    unused: list[str] | None  # tracked and never used; None: not tracked


@dataclass(slots=True)
class Uses:
    """All that is known of a principal's use."""

    last: LastUseJson
    recorded: list[Recorded]
    services: dict[str, ServiceSeen] | None  # None: last accessed information is unknown
    denied: list[str] = field(default_factory=list)  # services of which all was refused, proven
    seen_only_in_activity: str = ""  # the action, where IAM's own sources show no recent use


def uses_of(
    facts: PrincipalFactsJson,
    last_accessed: LastAccessedJson | None,
    activity: ActivityOfAccount | None,
    *,
    as_of: datetime,
    idle_days: int,
    disabled_on: str | None = None,
) -> Uses:
    """Return what is known of a principal's use at a moment.

    ``disabled_on``: the date of the inventory that first saw it disabled.

    ``last_accessed`` is None where nobody asked, ``activity`` where there are no digests.
    """
    did = activity.of(facts["principal_arn"]) if activity is not None else None
    services = last_accessed["services"] if last_accessed is not None else None
    denials = _Denials(facts, activity, as_of=as_of, idle_days=idle_days, disabled_on=disabled_on)
    recorded: list[Recorded] = []
    sources: dict[str, str | None] = {}
    unknown: list[str] = []

    seen = None if services is None else _services(services, denials)
    denied = sorted(each.service for each in (seen or {}).values() if each.denied_only)
    if seen is None:
        unknown.append("service")
    else:
        found = [
            Recorded(at, "service", each.service)
            for each in seen.values()
            for at in _iam_uses(each)
        ]
        sources["service"] = _newest(found)
        recorded += found

    if facts["trust"] is None:
        _add_credentials(facts, recorded, sources, unknown)
    else:
        at = facts["role_last_used_at"]
        if at and denials.explain_role(at, services, denied):
            denied = denials.services()
            at = None
        sources["role"] = at
        recorded += [Recorded(at, "role", "")] if at else []

    if activity is not None and did is not None:
        if not activity.read:
            unknown.append("activity")
        else:
            found = [
                Recorded(at, "activity", action)
                for action, at in (*did.allowed.items(), *did.unmapped.items())
            ]
            sources["activity"] = _newest(found)
            recorded += found
            if seen is not None:
                seen = _with_activity(seen, did)

    recorded.sort()
    return Uses(
        last=_last_use(facts, recorded, sources, sorted(unknown), denied, last_accessed, activity,
                       as_of=as_of),
        recorded=recorded,
        services=seen,
        denied=denied,
        seen_only_in_activity=_only_in_activity(recorded, as_of - timedelta(days=idle_days)),
    )  # fmt: skip


def is_within(at: str | None, as_of: datetime, days: int) -> bool:
    """Return whether a moment is known and lies no more than so many days back."""
    return at is not None and parse_time(at) >= as_of - timedelta(days=days)


# --- sources --------------------------------------------------------------------------------------


def _add_credentials(
    facts: PrincipalFactsJson,
    recorded: list[Recorded],
    sources: dict[str, str | None],
    unknown: list[str],
) -> None:
    credentials = facts["credentials"]
    if credentials is None:
        unknown += ["access key", "password"]
        return
    password_at = credentials["password_last_used_at"]
    if credentials["password_enabled"] is None and password_at is None:
        unknown.append("password")
    else:
        sources["password"] = password_at
    if password_at:
        recorded.append(Recorded(password_at, "password", ""))
    keys = [
        Recorded(key["last_used_at"], "access key", f"access key {number}")
        for number, key in enumerate(credentials["access_keys"], start=1)
        if key["last_used_at"]
    ]
    if credentials["additional"]:
        # More keys or certificates than the report has columns for: of their use it tells nothing.
        unknown.append("access key")
    else:
        sources["access key"] = _newest(keys)
    recorded += keys


def _services(services: list[ServiceUseJson], denials: _Denials) -> dict[str, ServiceSeen]:
    """Return every service that the policies allow, as IAM saw it, refusals aside."""
    found: dict[str, ServiceSeen] = {}
    for each in services:
        name = each["service"].lower()
        at = each["last_accessed_at"]
        is_denied = at is not None and denials.explain_service(name, at)
        actions = {
            action: used_at
            for action, used_at in each["used"].items()
            # An older use than the window's refusals stays one.
            if not (is_denied and denials.is_inside(used_at))
        }
        refused = each["used"].keys() - actions.keys()
        used_at = None if is_denied else at
        found[name] = ServiceSeen(
            service=name,
            is_allowed=True,
            last_accessed_at=at,
            used_at=max([*([used_at] if used_at else []), *actions.values()], default=None),
            denied_only=is_denied,
            actions=actions,
            unused=None if each["unused"] is None else sorted({*each["unused"], *refused}),
        )
    return found


def _with_activity(services: dict[str, ServiceSeen], did: Did) -> dict[str, ServiceSeen]:
    """Return the services, sorted, with what the logs show of them; others are among them then."""
    for action, at in did.allowed.items():
        name, _, short = action.partition(":")
        seen = services.setdefault(name, ServiceSeen(name, False, None, None, False, {}, None))
        seen.used_at = max(at, seen.used_at or at)
        seen.actions[short] = max(at, seen.actions.get(short, at))
        if seen.unused is not None:
            seen.unused = [each for each in seen.unused if each.lower() != short.lower()]
    return dict(sorted(services.items()))


def _iam_uses(service: ServiceSeen) -> list[str]:
    """Return the times of a service's recorded uses."""
    return sorted({*service.actions.values(), *([service.used_at] if service.used_at else [])})


def _newest(found: list[Recorded]) -> str | None:
    return max((each.at for each in found), key=parse_time, default=None)


def _last_use(
    facts: PrincipalFactsJson,
    recorded: list[Recorded],
    sources: dict[str, str | None],
    unknown: list[str],
    denied: list[str],
    last_accessed: LastAccessedJson | None,
    activity: ActivityOfAccount | None,
    *,
    as_of: datetime,
) -> LastUseJson:
    at = _newest(recorded)
    chosen = None
    if at is not None:
        same_day = [each for each in recorded if each.at[:10] == at[:10]]
        chosen = min(same_day, key=lambda each: _TELLING.index(each.source))
        chosen = max(each for each in same_day if each.source == chosen.source)
    return {
        "at": at,
        "source": chosen.source if chosen else None,
        "what": chosen.what if chosen else "",
        "sources": dict(sorted(sources.items())),
        "unknown": unknown,
        "since": None if unknown else _since(facts, denied, last_accessed, activity, as_of=as_of),
    }


def _since(
    facts: PrincipalFactsJson,
    denied: list[str],
    last_accessed: LastAccessedJson | None,
    activity: ActivityOfAccount | None,
    *,
    as_of: datetime,
) -> str:
    if facts["trust"] is None:
        since = max(KEYS_SINCE, PASSWORDS_SINCE)
        if _had_others(facts):
            # The report forgets what is deleted, its use with it; IAM's other records do not.
            since = max(
                since, format_time((as_of - timedelta(days=TRACKED_DAYS)).replace(microsecond=0))
            )
    else:
        generated_at = last_accessed["generated_at"] if last_accessed else None
        newest = max(as_of, parse_time(generated_at)) if generated_at else as_of
        since = format_time((newest - timedelta(days=TRACKED_DAYS)).replace(microsecond=0))
    if denied and activity is not None:
        # IAM keeps the last attempt alone: an older use may lie behind a refused one.
        since = max(since, f"{activity.first}T00:00:00Z")
    return since


def _had_others(facts: PrincipalFactsJson) -> bool:
    """Return whether a user may have had keys or a password that were deleted since."""
    credentials = facts["credentials"]
    if credentials is None:
        return True
    made = [key["created_at"] for key in credentials["access_keys"]]
    if credentials["password_enabled"]:
        made.append(credentials["password_changed_at"])
    first = parse_time(facts["created_at"]) + timedelta(days=1)
    return not any(at is not None and parse_time(at) <= first for at in made)


def _only_in_activity(recorded: list[Recorded], since: datetime) -> str:
    recent = [each for each in recorded if parse_time(each.at) >= since]
    if not recent or any(each.source != "activity" for each in recent):
        return ""
    return max(recent).what


# --- refusals -------------------------------------------------------------------------------------


class _Denials:
    """Proves that a last access was a refused call, and so were all others in the window."""

    def __init__(
        self,
        facts: PrincipalFactsJson,
        activity: ActivityOfAccount | None,
        *,
        as_of: datetime,
        idle_days: int,
        disabled_on: str | None,
    ) -> None:
        self._activity = activity
        self._did = activity.of(facts["principal_arn"]) if activity is not None else None
        self._can = (
            activity is not None
            and self._did is not None
            and bool(self._did.denied)
            # What is of no known action may be of any.
            and not self._did.unmapped
            # A use before the window, which a refusal in it hides, must not be a recent one.
            and activity.first <= (as_of - timedelta(days=idle_days)).date().isoformat()
            and not _is_missed(facts, self._did, disabled_on)
        )

    def is_inside(self, at: str) -> bool:
        """Return whether a moment lies in the window, and all calls up to it were read."""
        if self._activity is None:
            return False
        moment = parse_time(at)
        if moment < parse_time(f"{self._activity.first}T00:00:00Z"):
            return False
        return self._activity.is_whole((moment + DELIVERY).date().isoformat())

    def services(self) -> list[str]:
        """Return the services of all refused calls, sorted."""
        denied = self._did.denied if self._did is not None else {}
        return sorted({action.partition(":")[0] for action in denied})

    def explain_service(self, service: str, at: str) -> bool:
        """Return whether a service's last access, and all since the window's first day, failed.

        Every action of the service must be one that the trail shows whatever it records: of data
        events nobody knows whether they are recorded of all resources.
        """
        if not self._can or self._activity is None or self._did is None:
            return False
        if any(action.partition(":")[0] == service for action in self._did.allowed):
            return False
        times = [t for a, t in self._did.denied.items() if a.partition(":")[0] == service]
        return (
            self._explains(times, at)
            and service not in self._activity.services_left_out
            and _is_visible(service)
        )

    def explain_role(
        self, at: str, services: list[ServiceUseJson] | None, denied: list[str]
    ) -> bool:
        """Return whether RoleLastUsed is a refused call, as were all in the window."""
        if not self._can or self._activity is None or self._did is None or not services:
            # Who has no policy of its own is let in by those of resources, which nobody lists.
            return False
        if self._did.allowed or not self._explains(list(self._did.denied.values()), at):
            return False
        return all(
            each["service"].lower() in denied
            or (
                # What was not accessed in the window may be whatever it likes, if it can be seen.
                not (each["last_accessed_at"] and self._is_since_first(each["last_accessed_at"]))
                and each["service"].lower() not in self._activity.services_left_out
                and _is_visible(each["service"].lower())
            )
            for each in services
        )

    def _explains(self, times: list[str], at: str) -> bool:
        if not times or not self.is_inside(at):
            return False
        return max(map(parse_time, times)) >= parse_time(at) - ROUNDING

    def _is_since_first(self, at: str) -> bool:
        first = self._activity.first if self._activity is not None else ""
        return parse_time(at) >= parse_time(f"{first}T00:00:00Z")


def _is_missed(facts: PrincipalFactsJson, did: Did, disabled_on: str | None) -> bool:
    """Return whether somebody still asks with what was disabled: that is no lack of use."""
    if facts["disabled_by"] is None or disabled_on is None:
        return False
    return any(at >= disabled_on for at in did.denied.values())


@cache
def _is_visible(service: str) -> bool:
    """Return whether every known action of a service is a management event."""
    actions = load_catalogue().actions(service)
    return bool(actions) and not unseen(actions, ())
