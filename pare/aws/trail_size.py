"""How much of the trail Access Analyzer would have to read for one account, before it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pare.aws.quota_ledger import load_quotas

if TYPE_CHECKING:
    from pare.aws.trail_bucket import TrailBucket

# AWS's quota is of "CloudTrail data", and AWS does not say whether packed or not. Taken for
# unpacked, the narrower reading. Real log files pack to a quarter up to a thirteenth
# (../shared/cloudtrail); this is more than any of them.
UNPACKED_BYTES_PER_STORED = 20
# A policy from fewer days would leave out what happens once a month.
LEAST_DAYS = 30
# By so many days a window grows while it fits: each step lists every Region anew.
DAYS_A_STEP = 10


@dataclass(frozen=True, slots=True)
class TrailSize:
    """Log files and their bytes as stored, counted no further than the quota."""

    files: int
    stored_bytes: int
    is_counted_out: bool  # False: counting stopped, there are more

    @property
    def fits(self) -> bool:
        """Whether it is within the quota on the careful reading of it."""
        quotas = load_quotas()
        unpacked = self.stored_bytes * UNPACKED_BYTES_PER_STORED
        return self.is_counted_out and self.files <= quotas.files and unpacked <= quotas.bytes

    @property
    def cannot_fit(self) -> bool:
        """Whether it is over the quota on any reading of it."""
        quotas = load_quotas()
        return self.files > quotas.files or self.stored_bytes > quotas.bytes

    def text(self) -> str:
        """Return it as words: ``more than 100,000 log files, 1.2 GB as stored``."""
        more = "" if self.is_counted_out else "more than "
        files = self.files if self.is_counted_out else self.files - 1
        return f"{more}{files:,} log files, {self.stored_bytes / 1e9:,.1f} GB as stored"


def trail_size(bucket: TrailBucket, account_id: str, first: str, last: str) -> TrailSize:
    """Return how much lies in the trail of an account, of the days from one through another.

    Days are those of delivery, ``YYYY-MM-DD``. Stops once the quota is passed on any reading of it,
    so that the largest account takes a hundred calls. Raises TrailReadError where the bucket may
    not be listed.
    """
    quotas = load_quotas()
    files = size = 0
    for _, each, reason in bucket.walk(bucket.folders_of(account_id), first, last):
        if reason:
            continue
        files += 1
        size += each.size
        if files > quotas.files or size > quotas.bytes:
            return TrailSize(files, size, is_counted_out=False)
    return TrailSize(files, size, is_counted_out=True)


class Narrowed(NamedTuple):
    """The newest days of a window that fit: the first of them, how many there are, their size."""

    first_date: str
    days: int
    size: TrailSize


def newest_that_fit(bucket: TrailBucket, account_id: str, first: str, last: str) -> Narrowed | None:
    """Return the newest days of a window that are within the quota on the careful reading of it.

    None where not even the last 30 are. The day of ``last`` itself, which is not over, is read too
    and not among the days. Lists newest days first and stops once the quota is passed, so that it
    takes little more than the listing of what fits. Raises TrailReadError where the bucket may not
    be listed.
    """
    folders = bucket.folders_of(account_id)
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    start, through = end - timedelta(days=LEAST_DAYS), end
    files = size = 0
    narrowed: Narrowed | None = None
    while start >= begin:
        for _, each, reason in bucket.walk(folders, f"{start}", f"{through}"):
            if reason:
                continue
            files += 1
            size += each.size
            if not TrailSize(files, size, is_counted_out=True).fits:
                return narrowed
        narrowed = Narrowed(
            f"{start}", (end - start).days, TrailSize(files, size, is_counted_out=True)
        )
        through = start - timedelta(days=1)
        start -= timedelta(days=DAYS_A_STEP)
    return narrowed
