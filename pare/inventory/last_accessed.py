"""Last accessed information as the inventory keeps it: small, also of an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.inventory.model import ServiceUseJson
    from pare.policy.evidence import ServiceLastAccessedJson


class ServiceCounts(NamedTuple):
    """How much of what a principal's policies allow it has used, as far as IAM tracks it."""

    allowed: int  # services
    used: int
    unused: int
    unused_actions: int | None  # of used services; None: IAM tracks the actions of none of them


class NewestUse(NamedTuple):
    """The service used last, and where."""

    at: str
    service: str
    region: str | None


def compact(services: Iterable[ServiceLastAccessedJson]) -> list[ServiceUseJson]:
    """Return the services, sorted by name, with the names of actions only where one is used.

    A policy that allows everything allows some 17,000 tracked actions in 450 services: of a service
    nobody used, their number says as much as their names.
    """
    return sorted((_compact(each) for each in services), key=lambda use: use["service"])


def _compact(service: ServiceLastAccessedJson) -> ServiceUseJson:
    actions = service["actions"]
    used = {name: at for name, at in sorted((actions or {}).items()) if at is not None}
    # A use of an action is a use of its service.
    last_accessed_at = service["last_accessed_at"] or max(used.values(), default=None)
    unused = None
    if actions and last_accessed_at is not None:
        unused = sorted(actions.keys() - used.keys())
    return {
        "service": service["service"],
        "last_accessed_at": last_accessed_at,
        "region": service["region"],
        "used": used,
        "unused": unused,
        "tracked": len(actions or ()),
    }


def service_counts(services: Iterable[ServiceUseJson]) -> ServiceCounts:
    """Return how many services are allowed, used and unused, and the unused actions of used ones.

    What IAM does not track is in no number: it is unknown, and not unused.
    """
    found = list(services)
    used = [each for each in found if each["last_accessed_at"] is not None]
    tracked = [each["unused"] for each in used if each["unused"] is not None]
    return ServiceCounts(
        allowed=len(found),
        used=len(used),
        unused=len(found) - len(used),
        unused_actions=sum(map(len, tracked)) if tracked or not used else None,
    )


def newest_use(services: Iterable[ServiceUseJson]) -> NewestUse | None:
    """Return the newest use in all services, or None where there is none."""
    uses = [
        NewestUse(each["last_accessed_at"], each["service"], each["region"])
        for each in services
        if each["last_accessed_at"] is not None
    ]
    return max(uses, key=lambda use: (use.at, use.service), default=None)
