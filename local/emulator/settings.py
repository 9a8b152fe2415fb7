"""What the control plane can change, and the emulation's clock."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from local.emulator.service_events import NO_EVENT_FAULTS, EventFaults

# Two to three and a half minutes were observed for a job (facts §2).
AWS_JOB_SECONDS = 150.0
# "Jobs take seconds" (facts §3).
AWS_LAST_ACCESSED_SECONDS = 5.0
# From memory: seconds, of a large account a minute.
AWS_CREDENTIAL_REPORT_SECONDS = 5.0


# More functions at once only make each slower here: Lambda has more machines.
FUNCTIONS_AT_ONCE = max(8, 4 * (os.cpu_count() or 2))

_MAY_BE_NONE = frozenset(
    {
        "quota_per_day", "last_accessed_calls_per_second", "last_accessed_retention_seconds",
        "events_wait_above_executions",
    }
)  # fmt: skip
_SWITCHES = frozenset({"cloudtrail_events"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Delays, quotas, events and the clock.

    None: ``quota_per_day`` is AWS's number for the Region, IAM throttles no last-accessed calls of
    an account, jobs are never forgotten, and events wait for no executions to end.
    """

    job_delay_seconds: float
    last_accessed_delay_seconds: float
    credential_report_delay_seconds: float = AWS_CREDENTIAL_REPORT_SECONDS
    quota_per_day: int | None = None
    max_files: int = 100_000
    max_bytes: int = 25 * 1024**3
    clock_offset_seconds: float = 0.0
    last_accessed_calls_per_second: float | None = None
    last_accessed_retention_seconds: float | None = None
    event_faults: EventFaults = NO_EVENT_FAULTS
    events_wait_above_executions: int | None = None
    cloudtrail_events: bool = False
    functions_at_once: int = FUNCTIONS_AT_ONCE
    function_retry_scale: float = 1.0

    @classmethod
    def scaled(cls, wait_scale: float) -> Settings:
        """Return AWS's delays, a second of which takes ``wait_scale`` seconds here."""
        return cls(
            job_delay_seconds=AWS_JOB_SECONDS * wait_scale,
            last_accessed_delay_seconds=AWS_LAST_ACCESSED_SECONDS * wait_scale,
            credential_report_delay_seconds=AWS_CREDENTIAL_REPORT_SECONDS * wait_scale,
        )

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return the settings with the changes; raises ValueError naming what is wrong."""
        known = {field.name for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
            if value is None and name in _MAY_BE_NONE:
                continue
            if name == "event_faults":
                changes = {**changes, name: EventFaults.from_json(value)}
                continue
            if name in _SWITCHES:
                if not isinstance(value, bool):
                    raise ValueError(f"setting {name!r} must be true or false")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"setting {name!r} must be a number")
            if name == "functions_at_once" and value < 1:
                raise ValueError(f"setting {name!r} must be 1 or more")
            if value < 0 and name != "clock_offset_seconds":
                raise ValueError(f"setting {name!r} must not be negative")
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    def now(self) -> datetime:
        """Return the emulation's time: the real one, moved by ``clock_offset_seconds``."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset_seconds)
