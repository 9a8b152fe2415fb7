"""Events that AWS services put on the default bus: best effort, with faults to switch on.

Access Analyzer's events are "best effort" (facts §4): they may be lost, come twice, or after later
ones. One thread delivers them in the order in which they were sent.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.emulator import upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.emulator.finding_events import ServiceEvent

logger = logging.getLogger("pare.service_events")

_LATE_BY_AT_MOST = 20  # events
_QUIET_SECONDS = 0.3
_LOOK_SECONDS = 0.02
_RATES = ("lost", "twice", "late")


@dataclass(frozen=True, slots=True)
class EventFaults:
    """How many of the events are lost, come twice, or come after later ones; rates from 0 to 1."""

    lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    seed: int = 0

    @classmethod
    def from_json(cls, data: Any) -> EventFaults:
        """Return the faults described; raises ValueError naming what is wrong."""
        if not isinstance(data, dict) or set(data) - {*_RATES, "seed"}:
            raise ValueError("event_faults is an object with lost, twice, late (rates) and seed")
        for name in _RATES:
            rate = data.get(name, 0.0)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise ValueError(f"event_faults.{name} must be a rate from 0 to 1")
        if isinstance(data.get("seed", 0), bool) or not isinstance(data.get("seed", 0), int):
            raise ValueError("event_faults.seed must be a whole number")
        return cls(**data)


NO_EVENT_FAULTS = EventFaults()


class ServiceEvents:
    """The way from a service to the default bus of an account and Region.

    ``faults`` and ``limit`` are asked for each event: the settings may change. While more than
    ``limit`` executions run (None: however many), nothing is delivered: AWS has more machines.
    """

    def __init__(self, faults: Callable[[], EventFaults], limit: Callable[[], int | None]) -> None:
        self._faults = faults
        self._limit = limit
        self._queue: queue.Queue[ServiceEvent] = queue.Queue()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._random: tuple[EventFaults, random.Random] | None = None
        self._late: list[tuple[int, ServiceEvent]] = []  # with how many others go first
        self._thread: threading.Thread | None = None
        self._is_ended = False

    def send(self, event: ServiceEvent) -> None:
        """Send an event; it is delivered soon, or meets one of the faults."""
        with self._lock:
            self._counts["sent"] += 1
            self._queue.put(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def end(self) -> None:
        """Deliver nothing any more."""
        self._is_ended = True

    def summary(self) -> dict[str, int]:
        """Return how many events were sent, delivered, lost, doubled, late, and wait."""
        with self._lock:
            names = ("sent", "delivered", "lost", "twice", "late")
            waiting = self._counts["sent"] - self._counts["done"]
            return {**{name: self._counts[name] for name in names}, "waiting": waiting}

    def _run(self) -> None:
        while not self._is_ended:
            try:
                event = self._queue.get(timeout=_QUIET_SECONDS)
            except queue.Empty:
                for _, late in self._late:  # nothing came after them
                    self._deliver(late)
                    self._count(done=1)
                self._late.clear()
                continue
            self._meet_faults(event)
            due = [late for count, late in self._late if count <= 1]
            self._late = [(count - 1, late) for count, late in self._late if count > 1]
            for late in due:
                self._deliver(late)
                self._count(done=1)

    def _meet_faults(self, event: ServiceEvent) -> None:
        faults = self._faults()
        if self._random is None or self._random[0] != faults:
            self._random = (faults, random.Random(faults.seed))
        source = self._random[1]
        # All are drawn each time, so that one rate does not change where the others fall.
        lost, twice, late = (source.random() < getattr(faults, name) for name in _RATES)
        behind = source.randint(1, _LATE_BY_AT_MOST)
        if lost:
            self._count(lost=1, done=1)
            return
        if late:
            self._count(late=1)
            self._late.append((behind + 1, event))
        else:
            self._deliver(event)
            self._count(done=1)
        if twice:
            self._count(twice=1)
            self._deliver(event)

    def _deliver(self, event: ServiceEvent) -> None:
        while not self._is_ended:
            limit = self._limit()
            if limit is None or upstream.running_executions() < limit:
                break
            time.sleep(_LOOK_SECONDS)
        if self._is_ended:
            return
        try:
            upstream.put_service_event(
                account_id=event.account_id,
                region=event.region,
                source=event.source,
                detail_type=event.detail_type,
                resources=list(event.resources),
                detail=json.dumps(event.detail),
            )
        except Exception:
            logger.exception("event %s was not delivered", event.detail_type)
        self._count(delivered=1)

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts.update(more)
