"""When each principal last used each service and action: planted through the control plane."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.emulator.catalogue import is_tracked
from local.emulator.shapes import iso, parse_time

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Use:
    """One service or action, as a principal last tried to use it."""

    principal_arn: str
    service: str
    action: str | None  # without the prefix; None: the service only
    last_accessed_at: datetime
    region: str

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Use:
        """Return the use described; raises ValueError naming what is wrong."""
        wanted = {"principal_arn", "service", "action", "last_accessed_at", "region"}
        if set(data) != wanted:
            raise ValueError(f"a usage entry has exactly the members {', '.join(sorted(wanted))}")
        service = str(data["service"]).lower()
        action = data["action"]
        if action is not None:
            prefix, colon, name = str(action).partition(":")
            action = name if colon else prefix
            if colon and prefix.lower() != service:
                raise ValueError(f"action {data['action']!r} is not of service {service!r}")
        try:
            moment = parse_time(data["last_accessed_at"])
        except ValueError as error:
            raise ValueError(f"last_accessed_at: {error}") from error
        return cls(str(data["principal_arn"]), service, action, moment, str(data["region"]))

    def to_json(self) -> dict[str, Any]:
        """Return the use as the control plane takes it."""
        return {
            "principal_arn": self.principal_arn,
            "service": self.service,
            "action": self.action,
            "last_accessed_at": iso(self.last_accessed_at),
            "region": self.region,
        }


class UsageBook:
    """The newest use of every service and action by every principal."""

    def __init__(self) -> None:
        self._uses: dict[str, dict[tuple[str, str | None], Use]] = {}
        self._lock = threading.Lock()

    def add(self, uses: list[Use]) -> None:
        """Merge uses in; the newest wins, and the use of an action is a use of its service.

        An action AWS does not track (data plane, iam:PassRole) counts for its service only.
        """
        with self._lock:
            for use in uses:
                known = self._uses.setdefault(use.principal_arn, {})
                actions: set[str | None] = {None}
                if use.action is not None and is_tracked(use.service, use.action):
                    actions.add(use.action)
                for action in actions:
                    key = (use.service, action)
                    old = known.get(key)
                    if old is None or old.last_accessed_at < use.last_accessed_at:
                        known[key] = Use(
                            use.principal_arn, use.service, action, use.last_accessed_at, use.region
                        )

    def services(self, principal_arn: str) -> dict[str, Use]:
        """Return the newest use of each service by the principal."""
        with self._lock:
            uses = self._uses.get(principal_arn, {})
            return {service: use for (service, action), use in uses.items() if action is None}

    def actions(self, principal_arn: str, service: str) -> dict[str, Use]:
        """Return the newest use of each tracked action of the service by the principal."""
        with self._lock:
            uses = self._uses.get(principal_arn, {})
            return {a: use for (s, a), use in uses.items() if s == service and a is not None}

    def counts(self) -> dict[str, int]:
        """Return the number of entries per principal."""
        with self._lock:
            return {principal: len(uses) for principal, uses in sorted(self._uses.items())}
