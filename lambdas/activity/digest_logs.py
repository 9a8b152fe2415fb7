"""Digest logs: the log files of one account, read in the order of their days.

All files of an account are read by one step after the other, never side by side: an event is often
delivered twice, in two files of its account, and counts once. What does not fit into one invocation
is read by the next: the workflow comes back until all is read.
"""

from __future__ import annotations

import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

import boto3

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment
from pare.aws.activity_store import TOO_LATE, ActivityStore
from pare.aws.trail_bucket import LogFetcher, LogObject
from pare.cloudtrail.activity_file import write_activity
from pare.cloudtrail.deduplicate import Seen, event_keys
from pare.cloudtrail.digest import Digest

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from pare.object_ref import ObjectRef

# Event ids kept in memory, about 100 bytes each: those of three or more days of one account.
MAX_EVENTS = 6_000_000
# Days before and after those to read whose events are known too: an event may come twice.
NEAR_DAYS = 7
# Digests looked up side by side: the connections a client keeps.
AT_ONCE = 10
# What is left of the function's time when no further file is begun: for writing the part.
RESERVE_SECONDS = 90


class Progress(TypedDict):
    """How far the account is read. ``position``: files done; ``parts``: parts written."""

    position: int
    parts: int
    is_complete: bool


class Input(TypedDict):
    """An account of the manifest. ``digested``: of the step before, or the conflict it ended in."""

    account_id: str
    logs: ObjectRef
    prefix: str
    digested: NotRequired[Progress]


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    trail_bucket_name: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Progress:
    """Return how far the account is read; what was read lies in a part of its own."""
    settings = environment()
    account_id = event["account_id"]
    logger.append_keys(account_id=account_id)
    store = ActivityStore(client("s3"), settings.evidence_bucket_name)
    logs = json.loads(gzip.decompress(store.get(event["logs"]["key"])))
    files = [
        (day, LogObject(key, size))
        for day, objects in sorted(logs["days"].items())
        for key, size in objects
    ]
    # After a conflict there is no position: all begins again, with what the other run wrote.
    before = cast("dict[str, int]", event.get("digested", {}))
    position, parts = before.get("position", 0), before.get("parts", 0)
    part = _Part(store, account_id, event["prefix"], parts + 1)
    known = _Known.load(store, account_id, sorted(logs["days"]))
    for number in range(1, parts + 1):
        known.add_part(store, account_id, event["prefix"], number)
    rest = files[position:]
    wanted = [(n, day, each) for n, (day, each) in enumerate(rest) if known.wants(day, each, part)]
    done = len(rest)
    fetched = LogFetcher.of(settings.trail_bucket_name, logs["region"], boto3.Session()).fetch(
        [each for _, _, each in wanted]
    )
    for (number, day, _), (each, content, reason) in zip(wanted, fetched, strict=True):
        section = part.section(day, known.seen)
        if content is None:
            section.unread[each.key] = reason
        else:
            section.digest.add_file(each.key, content)
            section.objects.add(each.key)
        if context.get_remaining_time_in_millis() < RESERVE_SECONDS * 1000:
            done = number + 1
            break
    fetched.close()  # type: ignore[attr-defined]  # a generator
    part.write()
    position += done
    logger.info("logs digested", position=position, file_count=len(files), part=parts + 1)
    return {"position": position, "parts": parts + 1, "is_complete": position >= len(files)}


# --- What is known already ------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """Files and events that digests hold already, of the days to read and those next to them."""

    seen: Seen
    objects: dict[str, set[str]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)  # days whose events' ids are gone

    @classmethod
    def load(cls, store: ActivityStore, account_id: str, days: list[str]) -> _Known:
        """Return what digests hold of these days, whole, and of those around them, near ones first.

        Of an account with very many events the days further away do not fit; its copies of an
        event do not lie days apart.
        """
        known = cls(Seen(MAX_EVENTS))
        wanted = [date.fromisoformat(day) for day in days]
        around = {
            each + timedelta(days=n) for each in wanted for n in range(-NEAR_DAYS, NEAR_DAYS + 1)
        }
        with ThreadPoolExecutor(AT_ONCE) as pool:
            committed = dict(
                zip(
                    around,
                    pool.map(lambda day: store.committed(f"{day}", account_id), around),
                    strict=True,
                )
            )

        def distance(day: date) -> tuple[int, date]:
            return min(abs((day - each).days) for each in wanted), day

        for day in sorted(around, key=distance):
            digest = committed[day]
            if digest is None or (day not in wanted and len(known.seen) > MAX_EVENTS // 3):
                continue
            numbers = store.get_seen(f"{day}", account_id, digest.seen)
            if numbers is not None:
                known.seen.add_bytes(numbers)
            if day in wanted:
                known.objects[f"{day}"] = digest.objects()
                if numbers is None:
                    known.closed.add(f"{day}")
        return known

    def add_part(self, store: ActivityStore, account_id: str, prefix: str, number: int) -> None:
        """Remember the events of a part that an earlier invocation wrote."""
        folder = part_folder(prefix, account_id, number)
        for day in json.loads(store.get(f"{folder}/part.json")):
            self.seen.add_bytes(store.get(f"{folder}/date={day}.seen.bin"))

    def wants(self, day: str, each: LogObject, part: _Part) -> bool:
        """Return whether a file is to be read; one that comes too late is noted in the part."""
        if each.key in self.objects.get(day, ()):
            return False
        if day in self.closed:
            part.section(day, self.seen).unread[each.key] = TOO_LATE
            return False
        return True


class _Noting:
    """``Seen`` for one day's digest: shared with the other days', and what is new is noted."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.new = bytearray()

    def repeated(self, event_ids: list[str]) -> list[int] | None:
        keys = event_keys(event_ids)
        positions = self.seen.repeated_keys(keys)
        if positions is not None:
            again = set(positions)
            keys = tuple(key for i, key in enumerate(keys) if i not in again)
        self.new += b"".join(keys)
        return positions


# --- What was read --------------------------------------------------------------------------------


class _Section:
    """One day of a part."""

    def __init__(self, seen: Seen) -> None:
        self.noting = _Noting(seen)
        self.digest = Digest(seen=cast("Seen", self.noting))
        self.objects: set[str] = set()
        self.unread: dict[str, str] = {}


class _Part:
    """What one invocation read, by day. A day that is finished is written and let go."""

    def __init__(self, store: ActivityStore, account_id: str, prefix: str, number: int) -> None:
        self._store = store
        self._folder = part_folder(prefix, account_id, number)
        self._sections: dict[str, _Section] = {}
        self._written: dict[str, dict[str, str]] = {}
        self._open = ""
        self._forgotten = 0

    def section(self, day: str, seen: Seen) -> _Section:
        """Return the section of a day; the day before is written where it has been read."""
        if self._open and day != self._open and self._sections[self._open].objects:
            self._write(self._open)
        self._open = day
        if day not in self._sections:
            self._sections[day] = _Section(seen)
        return self._sections[day]

    def write(self) -> None:
        """Write what has not been written, and the list of all days."""
        for day in sorted(self._sections):
            self._write(day)
        text = json.dumps(self._written, indent=2, sort_keys=True) + "\n"
        self._store.put(f"{self._folder}/part.json", text.encode())

    def _write(self, day: str) -> None:
        section = self._sections.pop(day)
        self._open = ""
        activity = section.digest.activity()
        activity.objects = section.objects
        forgotten = section.noting.seen.forgotten
        activity.totals.forgotten_event_ids += forgotten - self._forgotten
        self._forgotten = forgotten
        body = io.BytesIO()
        write_activity(activity, body)
        self._store.put(f"{self._folder}/date={day}.ndjson.gz", body.getvalue())
        self._store.put(f"{self._folder}/date={day}.seen.bin", bytes(section.noting.new))
        self._written[day] = section.unread


def part_folder(prefix: str, account_id: str, number: int) -> str:
    """Return the folder of a part."""
    return f"{prefix}/account={account_id}/part={number:04}"
