"""Whose turn it is: Access Analyzer's quotas of policy generation, kept by account and Region.

AWS runs one policy generation at a time in an account and Region, and 50 a day (5 in some Regions;
``data/access_analyzer_quotas.json``). Who starts one holds a *lease* of the account's turn, which
ends by itself when its holder does not come back.

The ledger is an item of the Runs table, beside the claims of periods and messages: like these it is
short-lived state of executions that DynamoDB may forget by itself (``expires_at``), and the steps
that keep it have no other use of a table. A change reads the item and writes it back in one
conditional write, which fails if anybody wrote it meanwhile; then it is decided anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Literal

from pare.aws.tables import RunsTable
from pare.clock import format_time
from pare.data_tables import read_table

KIND = "policy-generation"  # the ledger's items among the runs: key ``workflow``
# AWS does not say when its day begins. Of any 24 hours no more than a day's worth: that holds
# wherever it begins.
DAY = timedelta(hours=24)
# After AWS itself said that the day is used up; we cannot know by whom, and so not until when.
EXHAUSTED = timedelta(hours=1)
# When DynamoDB may forget an item that nobody has touched: all it says is long past then.
KEPT = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Quotas:
    """What AWS allows: jobs a day in a Region, and the most that one job reads."""

    files: int
    bytes: int
    _per_day: int
    _per_day_in: dict[str, int]

    def per_day(self, region: str) -> int:
        """Return how many policy generations an account may start a day in a Region."""
        return self._per_day_in.get(region, self._per_day)


@cache
def load_quotas() -> Quotas:
    """Return AWS's quotas of policy generation."""
    table = read_table("access_analyzer_quotas.json", schema_version=1)
    return Quotas(
        files=table["log_files_per_policy_generation"],
        bytes=table["bytes_per_policy_generation"],
        _per_day=table["policy_generations_per_day"],
        _per_day_in=table["policy_generations_per_day_in"],
    )


Refusal = Literal["", "running", "day used up"]


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether a holder may start a policy generation now; if not, why, and until when.

    ``why``: ``running`` (another job, of ``holder``) or ``day used up``. ``until``: for a granted
    turn when its lease ends, otherwise when to ask again.
    """

    granted: bool
    why: Refusal
    until: datetime
    holder: str

    def text(self) -> str:
        """Return the refusal as a clause: "the day's 5 policy generations are used up until …"."""
        until = format_time(self.until)
        if self.why == "running":
            name = self.holder.rpartition(":")[2]
            return f"a policy generation of the account is running (for {name}, at most to {until})"
        if self.why == "day used up":
            return f"the account's policy generations of the day are used up (until {until})"
        return f"granted until {until}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of one account and Region. Times are whole seconds of the epoch."""

    holder: str = ""  # of the lease; empty: nobody
    leased_until: int = 0
    exhausted_until: int = 0  # AWS said so
    jobs: dict[str, int] = field(default_factory=dict)  # holder -> when its job was first leased
    version: int = 0

    def turn(self, holder: str, *, now: int, per_day: int, lease: int) -> Turn:
        """Return whether a holder may start a job now."""
        if self.holder not in {"", holder} and self.leased_until > now:
            return Turn(False, "running", _moment(self.leased_until), self.holder)
        jobs = sorted(self._today(now).values())
        if holder not in self._today(now):
            if self.exhausted_until > now:
                return Turn(False, "day used up", _moment(self.exhausted_until), "")
            if len(jobs) >= per_day:
                free = jobs[len(jobs) - per_day] + int(DAY.total_seconds())
                return Turn(False, "day used up", _moment(free), "")
        return Turn(True, "", _moment(now + lease), holder)

    def leased(self, holder: str, *, now: int, until: int) -> Ledger:
        """Return the ledger with the lease given: a holder's job counts once, however often."""
        jobs = {holder: now, **self._today(now)}
        return Ledger(holder, until, self.exhausted_until, jobs, self.version + 1)

    def released(self, holder: str, *, uncounted: bool) -> Ledger:
        """Return the ledger without a holder's lease, and with ``uncounted`` without its job."""
        jobs = {each: at for each, at in self.jobs.items() if not uncounted or each != holder}
        mine = self.holder == holder
        return Ledger(
            "" if mine else self.holder,
            0 if mine else self.leased_until,
            self.exhausted_until,
            jobs,
            self.version + 1,
        )

    def exhausted(self, until: int) -> Ledger:
        """Return the ledger with AWS's own word that the day is used up."""
        return Ledger(
            self.holder,
            self.leased_until,
            max(until, self.exhausted_until),
            self.jobs,
            self.version + 1,
        )

    def _today(self, now: int) -> dict[str, int]:
        day = int(DAY.total_seconds())
        return {holder: at for holder, at in self.jobs.items() if at > now - day}


@dataclass(frozen=True, slots=True)
class QuotaLedger(RunsTable):
    """Gives out the turns of every account and Region; the holder is an execution."""

    def reserve(
        self, account_id: str, region: str, holder: str, *, now: datetime, lease: timedelta
    ) -> Turn:
        """Return a turn, granted or not; to the same holder it is granted again, with a new end.

        The job counts to the day from its first turn on.
        """
        moment = _seconds(now)
        while True:
            ledger = self.ledger(account_id, region)
            turn = self._turn(ledger, holder, region, moment, lease)
            if not turn.granted:
                return turn
            changed = ledger.leased(holder, now=moment, until=_seconds(turn.until))
            if self._write(account_id, region, changed, now=moment):
                return turn

    def look(
        self, account_id: str, region: str, holder: str, *, now: datetime, lease: timedelta
    ) -> Turn:
        """Return what ``reserve`` would, without reserving anything."""
        ledger = self.ledger(account_id, region)
        return self._turn(ledger, holder, region, _seconds(now), lease)

    def release(
        self, account_id: str, region: str, holder: str, *, now: datetime, uncounted: bool = False
    ) -> bool:
        """Return whether the holder had the lease; it is free now.

        ``uncounted``: AWS refused to start the job, so that the day has one more left.
        """
        while True:
            ledger = self.ledger(account_id, region)
            had = ledger.holder == holder
            if not had and not (uncounted and holder in ledger.jobs):
                return False
            changed = ledger.released(holder, uncounted=uncounted)
            if self._write(account_id, region, changed, now=_seconds(now)):
                return had

    def mark_exhausted(self, account_id: str, region: str, *, now: datetime) -> datetime:
        """Note that AWS refused for the day, and return until when nobody asks again."""
        until = now + EXHAUSTED
        while True:
            changed = self.ledger(account_id, region).exhausted(_seconds(until))
            if self._write(account_id, region, changed, now=_seconds(now)):
                return until

    def ledger(self, account_id: str, region: str) -> Ledger:
        """Return what is known of an account and Region."""
        item = self._get(_key(account_id, region))
        if item is None:
            return Ledger()
        return Ledger(
            item["holder"],
            item["leased_until"],
            item["exhausted_until"],
            item["jobs"],
            item["version"],
        )

    def _turn(
        self, ledger: Ledger, holder: str, region: str, moment: int, lease: timedelta
    ) -> Turn:
        return ledger.turn(
            holder,
            now=moment,
            per_day=load_quotas().per_day(region),
            lease=int(lease.total_seconds()),
        )

    def _write(self, account_id: str, region: str, ledger: Ledger, *, now: int) -> bool:
        """Return whether nobody else wrote since this ledger's predecessor was read."""
        values: dict[str, Any] = {
            "holder": ledger.holder,
            "leased_until": ledger.leased_until,
            "exhausted_until": ledger.exhausted_until,
            "jobs": ledger.jobs,
            "version": ledger.version,
            "expires_at": max(now, ledger.leased_until) + int(KEPT.total_seconds()),
        }
        first = ledger.version == 1
        return self._update(
            _key(account_id, region),
            "SET " + ", ".join(f"#{name} = :{name}" for name in values),
            condition="attribute_not_exists(#version)" if first else "#version = :before",
            names={f"#{name}": name for name in values},
            values={
                **{f":{name}": value for name, value in values.items()},
                **({} if first else {":before": ledger.version - 1}),
            },
        )


def _key(account_id: str, region: str) -> dict[str, str]:
    return {"workflow": KIND, "run_id": f"{account_id}#{region}"}


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
