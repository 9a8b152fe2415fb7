"""What an analyzer lists against what the table knows: events that were missed, findings gone.

The table is read before the listing, so what is recorded meanwhile cannot look as if it had
vanished. Memory: a few hundred bytes for each finding that the table knows of the analyzer.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pare.arns import region_of
from pare.clock import parse_time
from pare.findings.model import Access, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from pare.findings.card import HowEnded
    from pare.findings.watch import AnalyzerJson

# The first scan of a new analyzer may take this long until all is listed: facts say minutes, and a
# day for what resource control policies change.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-concepts.html
FIRST_SCAN = timedelta(days=1)
# EventBridge tries for a day; an event that is older than this will not come any more.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
OLD = timedelta(days=7)
_RANK = {"ACTIVE": 0, "ARCHIVED": 1, "RESOLVED": 2}
_ACCESS: Mapping[str, Access] = {
    "ACCOUNT": "external",
    "ORGANIZATION": "external",
    "ACCOUNT_UNUSED_ACCESS": "unused",
    "ORGANIZATION_UNUSED_ACCESS": "unused",
    "ACCOUNT_INTERNAL_ACCESS": "internal",
    "ORGANIZATION_INTERNAL_ACCESS": "internal",
}
# Of findings whose summary names none. One of unused access may be of four types.
_TYPE = {"external": "ExternalAccess", "internal": "InternalAccess"}


@dataclass(frozen=True, slots=True)
class Listed:
    """A finding as ListFindingsV2 summarizes it: without principal, actions or details."""

    finding_id: str
    finding_type: str | None
    status: str
    account_id: str
    resource: str
    resource_type: str
    created_at: str
    updated_at: str
    analyzed_at: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """A finding as the table has it, as far as it is compared."""

    status: str
    is_deleted: bool
    updated_at: str
    created_at: str
    how: HowEnded | None  # as ``pare.findings.state.how_ended`` judges

    @property
    def is_open(self) -> bool:
        """Whether it is open as far as the table knows."""
        return self.how is None


def access_of(analyzer_type: str) -> Access | None:
    """Return what an analyzer of a type looks for; None for a type this version does not know."""
    return _ACCESS.get(analyzer_type)


@dataclass(slots=True)
class Comparison:
    """One analyzer's listing, a finding at a time, against what the table knew before it began."""

    known: Mapping[str, Known]
    now: datetime
    analyzer_created_at: str
    counts: Counter[str] = field(default_factory=Counter)
    _seen: set[str] = field(default_factory=set)

    def differences(self, listed: Iterator[Listed]) -> Iterator[Listed]:
        """Yield what the table lacks, and what is newer than the table has it."""
        for each in listed:
            if each.finding_id in self._seen:
                continue  # a page moved while the list was read
            self._seen.add(each.finding_id)
            self.counts["listed"] += 1
            newer = self.difference(each)
            if newer:
                yield newer

    def difference(self, listed: Listed) -> Listed | None:
        """Return the finding as it is to be brought in, or None."""
        known = self.known.get(listed.finding_id)
        if known is None:
            age = self.now - parse_time(listed.updated_at)
            if listed.status == "RESOLVED" and age > OLD:
                self.counts["resolved_long_ago"] += 1
                return None
            self.counts["missing"] += 1
            return listed
        if _age(listed.updated_at, listed.status) > _age(known.updated_at, known.status):
            self.counts["newer"] += 1
            return listed
        if known.is_deleted and listed.status != "RESOLVED":
            return self._returned(listed, known)
        return None

    def _returned(self, listed: Listed, known: Known) -> Listed | None:
        """Return a finding that was taken for gone and is there, as of its last analysis.

        The record orders by ``updatedAt``, which a deletion shares with the state before it.
        """
        if parse_time(listed.analyzed_at) <= parse_time(known.updated_at):
            self.counts["deleted_but_listed"] += 1
            return None
        self.counts["newer"] += 1
        return replace(listed, updated_at=listed.analyzed_at)

    def vanished(self) -> list[str]:
        """Return the ids that were not listed and are open in the table; ask for each by itself.

        With them those that the table calls unwatched although the analyzer that found them is
        alive: when the event of their deletion came, nobody could tell.

        Of an analyzer that has not been there for a day they are only counted, and stay as they
        are: what it does not list may be what it has not scanned.
        """
        is_open = {finding_id for finding_id, known in self.known.items() if known.is_open}
        unwatched = {
            finding_id
            for finding_id, known in self.known.items()
            if known.how == "UNWATCHED" and self.ended_how(finding_id) == "DELETED"
        }
        found = sorted((is_open | unwatched) - self._seen)
        if found and self.now - parse_time(self.analyzer_created_at) < FIRST_SCAN:
            if left := is_open - self._seen:
                self.counts["not_listed_yet"] += len(left)
            return []
        return found

    def ended_how(self, finding_id: str) -> Literal["DELETED", "UNWATCHED"]:
        """Return how a finding ended that the analyzer, which is alive, has no more."""
        return _gone_how(self.known[finding_id].created_at, self.analyzer_created_at)


def deleted_how(finding: Finding, analyzer: AnalyzerJson | None) -> Literal["DELETED", "UNWATCHED"]:
    """Return how an error finding ended that AWS says is deleted; ``analyzer``: of its ARN, if any.

    Where the analyzer that found it is alive, its cause is mended: then "the error finding will be
    removed completely instead of changing to a resolved finding". Else it went with its analyzer,
    and so it did where that does not work any more.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-remediate.html
    """
    if analyzer is None or analyzer["status"] != "ACTIVE":
        return "UNWATCHED"
    return _gone_how(finding.created_at, analyzer["created_at"])


def _gone_how(created_at: str, analyzer_created_at: str) -> Literal["DELETED", "UNWATCHED"]:
    """Return how a finding ended that an analyzer of its ARN has no more.

    An analyzer that was deleted and made again has the same ARN and new findings. What the earlier
    one found went with it: nobody knows whether it is still so.
    """
    is_of_an_earlier = parse_time(created_at) < parse_time(analyzer_created_at)
    return "UNWATCHED" if is_of_an_earlier else "DELETED"


def _age(updated_at: str, status: str) -> tuple[datetime, int]:
    """Return what orders two states of a finding.

    As ``pare.findings.state.supersedes`` does, without ``analyzed_at``: a new analysis that changes
    nothing is no news, and every open finding has one each day.
    """
    return parse_time(updated_at), _RANK.get(status, 0)


def finding_of(listed: Listed, *, analyzer_arn: str, analyzer_type: str) -> Finding | None:
    """Return a finding from its summary, or None where type, status or resource are not known."""
    access = access_of(analyzer_type)
    finding_type = listed.finding_type or _TYPE.get(str(access))
    if access is None or finding_type is None or listed.status not in _RANK or not listed.resource:
        return None
    return Finding(
        finding_id=listed.finding_id,
        access=access,
        finding_type=finding_type,
        status=listed.status,
        is_deleted=False,
        account_id=listed.account_id,
        region=region_of(analyzer_arn),
        analyzer_arn=analyzer_arn,
        resource=listed.resource,
        resource_type=listed.resource_type,
        created_at=listed.created_at,
        updated_at=listed.updated_at,
        analyzed_at=listed.analyzed_at,
        error=listed.error,
    )


def gone(recorded: Finding, *, how: Literal["DELETED", "UNWATCHED"]) -> Finding:
    """Return a finding that ended without a word: its analyzer has it no more, or is gone itself.

    Status and time stay, as in AWS's own event of a deletion (facts §4); ``values`` says how.
    What is deleted is not what the settings left unwatched before (``because``).
    """
    values: dict[str, Any] = {**dict(recorded.values), "ended": how}
    if how == "DELETED":
        values.pop("because", None)
    return replace(recorded, is_deleted=True, values=tuple(sorted(values.items())))
