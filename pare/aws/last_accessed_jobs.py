"""IAM's last accessed jobs of many principals of one account, generated and polled side by side.

A job belongs to the session that started it: "you must generate and retrieve the report during the
same session". So one client does both, and a session that ends takes its jobs with it.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetServiceLastAccessedDetails.html

How fast IAM lets itself be called is not published, differs by account, and cannot be raised: the
pace is found out (``Pace``). Times are in seconds of a clock that only goes forward.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from pare.aws.calls import CLIENT_CONFIG, translated
from pare.clock import format_time
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    CredentialsError,
    LastAccessedError,
    PrincipalNotFoundError,
    ThrottledError,
)
from pare.policy.last_accessed import service_last_accessed

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_iam import IAMClient

    from pare.errors import PareError
    from pare.policy.evidence import ServiceLastAccessedJson

# The SDK would hide throttling and slow all calls of the client: the pace is kept here. The longest
# a call can take, 25 s, is what a caller leaves between the deadline and its own end.
IAM_CONFIG = CLIENT_CONFIG.merge(
    Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
)

JOBS_IN_FLIGHT = 50
# A job that takes far longer than others is stuck: at least, and at most, this long is waited; with
# each further attempt twice as long.
LEAST_PATIENCE_SECONDS, MOST_PATIENCE_SECONDS = 30.0, 180.0
_LONGEST_PAUSE_SECONDS = 8.0
# How often in a row AWS may fail for one principal, and how often its job may vanish.
_FAILURES, _REGENERATIONS = 4, 2

_GENERATE, _GET = "iam:GenerateServiceLastAccessedDetails", "iam:GetServiceLastAccessedDetails"
_SESSION_ENDED = dict.fromkeys(
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"), CredentialsError
)


class JobMissingError(LastAccessedError):
    """IAM no longer knows the job: it was forgotten, or is of another session."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What became of one principal: its services, sorted, or why they are unknown."""

    principal_arn: str
    services: list[ServiceLastAccessedJson] | None
    error: PareError | None
    generated_at: str | None


@dataclass(slots=True)
class Pace:
    """How quickly calls may follow each other in an account, in calls per second.

    It starts gently, gains a little each second, and is halved by throttling (additive increase,
    multiplicative decrease), between a fiftieth of ``most`` and ``most``. What it gains is a
    twentieth of the rate that was last too much, so that a low limit is met as seldom as a high
    one; and twice as much after ten seconds without throttling, in case the limit has gone.
    """

    most: float
    random: random.Random
    rate: float = field(init=False)
    ready_at: float = field(init=False, default=0.0)  # when the next call may be made
    _gain: float = field(init=False)  # per second
    _called_at: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.rate = self.most / 4
        self._gain = self.most / 20

    def called(self, began: float) -> None:
        """Take note of a call that IAM answered, and when it began."""
        if self._called_at is not None:
            seconds = began - self._called_at
            self.rate = min(self.rate + seconds * self._gain, self.most)
            self._gain = min(self._gain * 2 ** (seconds / 10), self.most / 20)
        self._next(began)

    def slowed(self, began: float) -> None:
        """Take note of a call that IAM throttled, or failed to answer."""
        self._gain = self.rate / 20
        self.rate = max(self.rate / 2, self.most / 50)
        self._next(began)

    def _next(self, began: float) -> None:
        self._called_at = began
        # Never quicker than the rate, and never in step with other accounts' functions.
        self.ready_at = began + self.random.uniform(1.0, 1.2) / self.rate


@dataclass(slots=True)
class Durations:
    """How long jobs take, in seconds, as TCP knows its round trips (RFC 6298, section 2)."""

    usual: float = 2.0
    _deviation: float = 1.0
    _is_measured: bool = False

    @property
    def longest(self) -> float:
        """Return how long nearly all jobs take at most."""
        return self.usual + 4 * self._deviation

    def add(self, seconds: float) -> None:
        """Take note of a job that ended."""
        if not self._is_measured:
            self.usual, self._deviation, self._is_measured = seconds, seconds / 2, True
            return
        self._deviation += (abs(self.usual - seconds) - self._deviation) / 4
        self.usual += (seconds - self.usual) / 8


@dataclass(slots=True)
class _Work:
    """A principal under way: waiting for its job, or for the job's end or next page."""

    arn: str
    attempts: int  # in earlier batches
    job_id: str = ""
    started_at: float = 0.0
    polls: int = 0
    marker: str | None = None
    services: list[ServiceLastAccessedJson] = field(default_factory=list)  # of the pages so far
    failures: int = 0  # of AWS, in a row
    regenerations: int = 0


@dataclass(slots=True)
class LastAccessedJobs:
    """Reads the last accessed information of an account's principals at action level.

    ``iam`` has IAM_CONFIG and the credentials of one session.
    """

    iam: IAMClient
    account_id: str
    pace: Pace
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    calls: int = 0
    throttled: int = 0
    durations: Durations = field(default_factory=Durations)
    _waiting: deque[_Work] = field(default_factory=deque)
    # (when it is due, a number that settles ties, the principal)
    _in_flight: list[tuple[float, int, _Work]] = field(default_factory=list)
    _count: int = 0

    def read(self, principals: Iterable[tuple[str, int]], *, deadline: float) -> Iterator[EndedJob]:
        """Yield each principal whose job ended, in the order they end.

        ``principals`` are ARNs with their earlier attempts. Those not yielded when this ends were
        not tried to their end: the deadline came near, or the session ended. No call begins after
        the deadline. Raises MemberAccountError where the account refuses the calls.
        """
        self._waiting.extend(_Work(arn, attempts) for arn, attempts in principals)
        while True:
            now = self.monotonic()
            begins_at = self._next_at(now, deadline)
            if begins_at is None or begins_at >= deadline:
                return
            if begins_at > now:
                self.sleep(begins_at - now)
                continue
            if self._in_flight and self._in_flight[0][0] <= now:
                work = heapq.heappop(self._in_flight)[2]
            else:
                work = self._waiting.popleft()
            try:
                ended = self._call(work)
            except CredentialsError:
                return
            if ended is not None:
                yield ended

    def _next_at(self, now: float, deadline: float) -> float | None:
        """Return when the next call may begin; None where there is nothing more to do."""
        due = None
        if self._waiting and len(self._in_flight) < JOBS_IN_FLIGHT:
            # The job and the polls of all others have to fit in as well.
            needed = self.durations.longest + (len(self._in_flight) + 2) / self.pace.rate
            if now + needed <= deadline:
                due = now
        if due is None and self._in_flight:
            due = self._in_flight[0][0]
        return None if due is None else max(due, now, self.pace.ready_at)

    def _call(self, work: _Work) -> EndedJob | None:
        """Make the principal's next call; return its end, where it is one."""
        self.calls += 1
        began = self.monotonic()
        try:
            ended = self._poll(work) if work.job_id else self._generate(work)
        except ThrottledError:
            self.throttled += 1
            self.pace.slowed(began)
            self._again(work)
            return None
        except AwsServiceError as error:
            work.failures += 1
            self.pace.slowed(began)
            if work.failures >= _FAILURES:
                return EndedJob(work.arn, None, error, None)
            self._again(work)
            return None
        except JobMissingError as error:
            work.regenerations += 1
            ended = None
            if work.regenerations > _REGENERATIONS:
                ended = EndedJob(work.arn, None, LastAccessedError(str(error)), None)
            else:
                work.job_id, work.marker, work.services = "", None, []
                self._waiting.append(work)
        except (LastAccessedError, PrincipalNotFoundError, AwsCallError) as error:
            ended = EndedJob(work.arn, None, error, None)
        self.pace.called(began)
        work.failures = 0
        return ended

    def _again(self, work: _Work) -> None:
        """Let a call that was throttled or not answered be made again."""
        if work.job_id:
            self._wait(work, 2.0**work.failures)
        elif work.failures:
            self._waiting.append(work)
        else:
            self._waiting.appendleft(work)

    def _wait(self, work: _Work, seconds: float) -> None:
        due = self.monotonic() + seconds * self.pace.random.uniform(1.0, 1.3)
        self._count += 1
        heapq.heappush(self._in_flight, (due, self._count, work))

    def _generate(self, work: _Work) -> EndedJob | None:
        with translated(
            _GENERATE,
            account_id=self.account_id,
            codes={
                **_SESSION_ENDED,
                "NoSuchEntity": PrincipalNotFoundError,
                "NoSuchEntityException": PrincipalNotFoundError,
            },
        ):
            work.job_id = self.iam.generate_service_last_accessed_details(
                Arn=work.arn, Granularity="ACTION_LEVEL"
            )["JobId"]
        work.started_at, work.polls = self.monotonic(), 0
        self._wait(work, self.durations.usual)
        return None

    def _poll(self, work: _Work) -> EndedJob | None:
        marker = {} if work.marker is None else {"Marker": work.marker}
        with translated(
            _GET, account_id=self.account_id,
            codes={**_SESSION_ENDED, "NoSuchEntity": JobMissingError,
                   "NoSuchEntityException": JobMissingError},
        ):  # fmt: skip
            answer: Any = self.iam.get_service_last_accessed_details(
                JobId=work.job_id, MaxItems=1000, **marker
            )
        status = answer["JobStatus"]
        if status == "IN_PROGRESS":
            self._poll_later(work)
            return None
        if status == "FAILED":
            failure = answer.get("Error", {})
            raise LastAccessedError(
                f"the last accessed job for {work.arn} failed: {failure.get('Code', 'no code')}: "
                f"{failure.get('Message', 'no message')}"
            )
        if status != "COMPLETED":
            raise LastAccessedError(f"the last accessed job for {work.arn} is {status!r}")
        if work.marker is None:
            self.durations.add(self._seconds(work, answer))
        work.services += [service_last_accessed(each) for each in answer["ServicesLastAccessed"]]
        if answer.get("IsTruncated"):
            following = answer.get("Marker")
            if not following or following == work.marker:
                raise LastAccessedError(
                    f"the last accessed job for {work.arn} says there is more, and not where"
                )
            work.marker = following
            self._wait(work, 0.0)
            return None
        work.services.sort(key=lambda service: service["service"])
        generated_at = answer.get("JobCompletionDate") or answer["JobCreationDate"]
        return EndedJob(work.arn, work.services, None, format_time(generated_at))

    def _poll_later(self, work: _Work) -> None:
        waited = self.monotonic() - work.started_at
        patience = min(
            max(10 * self.durations.longest, LEAST_PATIENCE_SECONDS), MOST_PATIENCE_SECONDS
        )
        if waited >= patience * 2**work.attempts:
            raise LastAccessedError(
                f"the last accessed job for {work.arn} was still IN_PROGRESS after {waited:.0f} s"
            )
        pause = max(self.durations.usual, 0.5) * 2**work.polls
        work.polls += 1
        self._wait(work, min(pause, _LONGEST_PAUSE_SECONDS))

    def _seconds(self, work: _Work, answer: Any) -> float:
        """Return how long a job took: as IAM says, not as often as it was asked."""
        created, completed = answer["JobCreationDate"], answer.get("JobCompletionDate")
        if completed and completed >= created:
            return float((completed - created).total_seconds())
        return self.monotonic() - work.started_at
