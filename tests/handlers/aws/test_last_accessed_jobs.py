"""Last accessed jobs against an IAM in memory that has a clock of its own, limits and bad days."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from pare.aws.last_accessed_jobs import (
    IAM_CONFIG,
    JOBS_IN_FLIGHT,
    EndedJob,
    LastAccessedJobs,
    Pace,
)
from pare.errors import (
    AwsCallError,
    AwsServiceError,
    LastAccessedError,
    MemberAccountError,
    PrincipalNotFoundError,
)
from tests.handlers.fake_aws import MEMBER

START = datetime(2026, 11, 1, 6, tzinfo=UTC)


def arn(number: int) -> str:
    return f"arn:aws:iam::{MEMBER}:role/app-{number:04}"


def error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "AWS's own words"},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        "Operation",
    )


@dataclass
class Iam:
    """IAM as one account sees it; time passes only while somebody sleeps or waits for an answer."""

    limit: float = 1_000.0  # calls per second, with a second's worth at once
    job_seconds: float = 1.5
    latency: float = 0.05
    pages: int = 1
    random: random.Random = field(default_factory=lambda: random.Random(1))
    fail_rate: float = 0.0
    stuck_rate: float = 0.0
    forget_rate: float = 0.0
    dates: bool = True
    # What the next calls of an operation raise.
    errors: dict[str, list[Exception | None]] = field(default_factory=dict)
    now: float = 1_000.0
    tokens: float = 0.0
    refilled_at: float = 1_000.0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    called: list[tuple[float, str]] = field(default_factory=list)
    generated: Counter[str] = field(default_factory=Counter)
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.tokens = self.limit

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def monotonic(self) -> float:
        return self.now

    def _begin(self, operation: str) -> None:
        self.called.append((self.now, operation))
        refilled = (self.now - self.refilled_at) * self.limit
        self.tokens = min(max(self.limit, 1.0), self.tokens + refilled)
        self.refilled_at = self.now
        self.now += self.latency
        if self.tokens < 1:
            raise error("Throttling")
        self.tokens -= 1
        planned = self.errors.get(operation, [])
        raised = planned.pop(0) if planned else None
        if raised is not None:
            raise raised

    def generate_service_last_accessed_details(self, **given: Any) -> dict[str, Any]:
        self._begin("generate")
        assert given["Granularity"] == "ACTION_LEVEL"
        self.generated[given["Arn"]] += 1
        job_id = f"{len(self.jobs):036}"
        drawn = self.random.random()
        fate = "ends"
        if drawn < self.fail_rate:
            fate = "fails"
        elif drawn < self.fail_rate + self.stuck_rate:
            fate = "hangs"
        elif drawn < self.fail_rate + self.stuck_rate + self.forget_rate:
            fate = "is forgotten"
        ends_at = self.now + self.job_seconds * self.random.uniform(0.8, 1.2)
        self.jobs[job_id] = {"arn": given["Arn"], "fate": fate, "ends_at": ends_at,
                             "created_at": self.now, "fetched": False}  # fmt: skip
        open_jobs = [job for job in self.jobs.values() if not job["fetched"]]
        self.most_in_flight = max(self.most_in_flight, len(open_jobs))
        return {"JobId": job_id}

    def get_service_last_accessed_details(self, **given: Any) -> dict[str, Any]:
        self._begin("get")
        job = self.jobs[given["JobId"]]
        moment = START + timedelta(seconds=job["created_at"])
        answer: dict[str, Any] = {"JobCreationDate": moment, "ServicesLastAccessed": []}
        if job["fate"] == "hangs" or self.now < job["ends_at"]:
            return {**answer, "JobStatus": "IN_PROGRESS"}
        job["fetched"] = True
        if job["fate"] == "is forgotten":
            raise error("NoSuchEntity", 404)
        if job["fate"] == "fails":
            failure = {"Code": "SERVICE_ERROR", "Message": "a bad day"}
            return {**answer, "JobStatus": "FAILED", "Error": failure}
        page = int(given.get("Marker", "0"))
        name = job["arn"].rpartition("/")[2]
        answer["ServicesLastAccessed"] = [
            {"ServiceName": name, "ServiceNamespace": f"{'cba'[page % 3]}{page}"}
        ]
        if self.dates:
            answer["JobCompletionDate"] = moment + timedelta(
                seconds=job["ends_at"] - job["created_at"]
            )
        more = {"IsTruncated": True, "Marker": str(page + 1)} if page + 1 < self.pages else {}
        return {**answer, "JobStatus": "COMPLETED", **more}


def reader(iam: Iam, *, calls_per_second: float = 5.0, seed: int = 7) -> LastAccessedJobs:
    pace = Pace(calls_per_second, random.Random(seed))
    return LastAccessedJobs(iam, MEMBER, pace, iam.sleep, iam.monotonic)  # type: ignore[arg-type]


def read(
    iam: Iam, count: int = 1, *, seconds: float = 855, attempts: int = 0, **more: Any
) -> tuple[dict[str, EndedJob], LastAccessedJobs]:
    jobs = reader(iam, **more)
    ended = list(jobs.read([(arn(n), attempts) for n in range(count)], deadline=iam.now + seconds))
    assert len({each.principal_arn for each in ended}) == len(ended), "one ended twice"
    return {each.principal_arn: each for each in ended}, jobs


def test_the_services_of_every_principal_are_its_own() -> None:
    ended, jobs = read(Iam(), 40)

    assert sorted(ended) == [arn(n) for n in range(40)]
    for principal_arn, each in ended.items():
        assert each.services is not None
        assert each.error is None
        assert [service["name"] for service in each.services] == [principal_arn.rpartition("/")[2]]
    assert jobs.calls <= 2.2 * 40, "most jobs are asked for once, when they have ended"
    assert jobs.throttled == 0
    assert ended[arn(0)].generated_at is not None


def test_every_page_is_read_by_its_marker_and_services_are_sorted() -> None:
    ended, _ = read(Iam(pages=3))

    services = ended[arn(0)].services
    assert services is not None
    assert [each["service"] for each in services] == ["a2", "b1", "c0"]


@pytest.mark.parametrize("marker", [None, "same"])
def test_pages_that_lead_nowhere_end_unknown(
    monkeypatch: pytest.MonkeyPatch, marker: str | None
) -> None:
    iam = Iam(job_seconds=0)
    get = iam.get_service_last_accessed_details

    def endless(**given: Any) -> dict[str, Any]:
        answer = get(JobId=given["JobId"])
        return {**answer, "IsTruncated": True} | ({"Marker": marker} if marker else {})

    monkeypatch.setattr(iam, "get_service_last_accessed_details", endless)

    ended, jobs = read(iam)

    assert isinstance(ended[arn(0)].error, LastAccessedError)
    assert jobs.calls <= 3


def test_a_throttling_iam_on_a_bad_day_leaves_nobody_out() -> None:
    """The same as the issue asks of an account: throttled above n calls a second, 5 % of the jobs
    fail, 1 % never end; and batch after batch until each has ended or had three attempts."""
    iam = Iam(limit=3.0, fail_rate=0.05, stuck_rate=0.01)
    attempts = {arn(n): 0 for n in range(1_500)}
    completed: set[str] = set()
    failures: Counter[str] = Counter()
    batches = 0
    while attempts:
        batches += 1
        assert batches < 12
        jobs = reader(iam, seed=batches)
        started, deadline = len(iam.called), iam.now + 855
        for each in jobs.read(list(attempts.items()), deadline=deadline):
            earlier = attempts.pop(each.principal_arn)
            if each.error is None:
                completed.add(each.principal_arn)
            else:
                failures[type(each.error).__name__] += 1
                if earlier < 2:
                    attempts[each.principal_arn] = earlier + 1
        calls = iam.called[started:]
        assert all(at < deadline for at, _ in calls), "a call began after the deadline"
        assert jobs.calls == len(calls)
        if batches == 1:
            assert jobs.throttled < 0.08 * jobs.calls, "the pace follows the limit"
            # 3 a second is what the account allows; most of it is used.
            assert jobs.calls - jobs.throttled > 0.65 * 3.0 * 855

    assert len(completed) >= 1_497, "1 principal of 4,630 fails three times"
    assert failures["LastAccessedError"] > 50
    assert set(failures) == {"LastAccessedError"}
    assert iam.most_in_flight <= JOBS_IN_FLIGHT + batches * JOBS_IN_FLIGHT


def test_the_same_seed_does_the_same() -> None:
    def run(seed: int) -> tuple[list[tuple[float, str]], list[str]]:
        iam = Iam(limit=2.0, fail_rate=0.1, stuck_rate=0.05)
        ended, _ = read(iam, 60, seconds=200, seed=seed)
        return iam.called, list(ended)

    assert run(3) == run(3)
    assert run(3) != run(4), "the jitter is drawn from the seed"


def test_the_pace_starts_gently_and_never_exceeds_the_most() -> None:
    iam = Iam()
    read(iam, 200, calls_per_second=5.0)

    times = [at for at, _ in iam.called]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 1 / 5.0
    assert gaps[0] >= 1 / 1.25
    full = [sum(1 for at in times if start <= at < start + 10) for start in (1_020, 1_030)]
    assert all(40 <= count <= 50 for count in full), full


def test_the_pace_is_halved_and_grows_again() -> None:
    pace = Pace(8.0, random.Random(1))
    assert pace.rate == 2.0
    pace.slowed(10.0)
    assert pace.rate == 1.0
    assert 11.0 <= pace.ready_at <= 11.2
    for _ in range(20):
        pace.slowed(10.0)
    assert pace.rate == pytest.approx(8.0 / 50)
    lowest = 8.0 / 50
    for second in range(11, 14):
        pace.called(float(second))
    assert lowest < pace.rate < 1.3 * lowest, "it gains little where the limit is low"
    for second in range(14, 120):
        pace.called(float(second))
    assert pace.rate == 8.0, "and more and more where the limit has gone"


@pytest.mark.parametrize(("limit", "share"), [(0.5, 0.3), (1.5, 0.12), (3.0, 0.08), (4.5, 0.06)])
def test_a_limit_is_used_and_seldom_met(limit: float, share: float) -> None:
    """Whether the account allows much or little: it is not published, and changes."""
    iam = Iam(limit=limit)

    _, jobs = read(iam, 3_000)

    assert jobs.throttled <= share * jobs.calls, f"{jobs.throttled} of {jobs.calls}"
    assert jobs.calls - jobs.throttled >= 0.5 * limit * 855


def test_an_iam_that_throttles_everything_ends_nobody_and_loses_nobody() -> None:
    iam = Iam(limit=0.0)

    ended, jobs = read(iam, 5, seconds=120)

    assert ended == {}
    assert jobs.throttled == jobs.calls
    assert jobs.calls < 30, "it backs off"


def test_jobs_begin_only_while_they_can_end() -> None:
    iam = Iam(job_seconds=20)

    ended, _ = read(iam, 500, seconds=100)

    generated, unfinished = sum(iam.generated.values()), len(iam.generated) - len(ended)
    assert ended
    assert unfinished <= 0.05 * generated, (generated, unfinished)
    assert all(at < 1_100 for at, _ in iam.called)


def test_no_time_is_no_call() -> None:
    iam = Iam()
    assert read(iam, 3, seconds=0)[0] == {}
    assert read(iam, 3, seconds=-5)[0] == {}
    assert iam.called == []


def test_no_more_jobs_are_in_flight_than_allowed() -> None:
    iam = Iam(stuck_rate=1.0)
    read(iam, 300, seconds=25, calls_per_second=1_000)
    assert iam.most_in_flight == JOBS_IN_FLIGHT


@pytest.mark.parametrize("attempts", [0, 1, 2])
def test_a_stuck_job_is_given_up_after_a_patience_that_grows(attempts: int) -> None:
    iam = Iam(stuck_rate=1.0, latency=0)

    ended, jobs = read(iam, attempts=attempts)

    given_up = ended[arn(0)].error
    assert isinstance(given_up, LastAccessedError)
    assert "was still IN_PROGRESS after" in str(given_up)
    waited = iam.now - 1_000
    # At first a job may take 6 s as far as anybody knows, and is stuck after ten times that.
    assert 60 * 2**attempts <= waited <= 60 * 2**attempts + 20
    assert jobs.calls < 60, "the pauses grow"


def test_a_stuck_job_holds_up_nobody() -> None:
    iam = Iam(stuck_rate=0.02)

    ended, _ = read(iam, 100, seconds=200)

    assert len(ended) == 100
    stuck = [each for each in ended.values() if each.error]
    assert 0 < len(stuck) < 8


def test_a_failed_job_says_what_iam_said() -> None:
    ended, _ = read(Iam(fail_rate=1.0))

    assert isinstance(ended[arn(0)].error, LastAccessedError)
    assert str(ended[arn(0)].error).endswith("failed: SERVICE_ERROR: a bad day")
    assert ended[arn(0)].services is None


def test_a_forgotten_job_is_generated_anew_and_in_the_end_unknown() -> None:
    iam = Iam(forget_rate=0.3)
    ended, _ = read(iam, 30)
    assert sum(iam.generated.values()) > 30
    assert sum(1 for each in ended.values() if each.error is None) >= 27

    iam = Iam(forget_rate=1.0)
    ended, _ = read(iam)
    assert type(ended[arn(0)].error) is LastAccessedError
    assert iam.generated[arn(0)] == 3


def test_a_principal_that_is_gone_has_an_end_of_its_own() -> None:
    iam = Iam(errors={"generate": [error("NoSuchEntity", 404)]})

    ended, _ = read(iam, 2)

    assert isinstance(ended[arn(0)].error, PrincipalNotFoundError)
    assert ended[arn(1)].error is None


@pytest.mark.parametrize("operation", ["generate", "get"])
def test_an_account_that_refuses_is_refused_as_a_whole(operation: str) -> None:
    iam = Iam(errors={operation: [error("AccessDenied", 403)]})

    with pytest.raises(MemberAccountError, match=f"in account {MEMBER}: AccessDenied"):
        read(iam, 10)


@pytest.mark.parametrize("operation", ["generate", "get"])
def test_a_session_that_ends_leaves_the_rest_over(operation: str) -> None:
    iam = Iam(errors={operation: [None, None, error("ExpiredToken", 403)]})

    ended, jobs = read(iam, 10)

    assert len(ended) <= 2
    assert all(each.error is None for each in ended.values())
    assert jobs.calls < 10


@pytest.mark.parametrize("operation", ["generate", "get"])
def test_what_aws_refuses_is_the_end_of_one_principal(operation: str) -> None:
    iam = Iam(errors={operation: [error("InvalidInput")]})

    ended, _ = read(iam, 3)

    assert sorted(type(each.error).__name__ for each in ended.values()) == [
        AwsCallError.__name__,
        "NoneType",
        "NoneType",
    ]


@pytest.mark.parametrize("operation", ["generate", "get"])
@pytest.mark.parametrize(
    "failure",
    [error("ServiceFailure", 500), ReadTimeoutError(endpoint_url="https://iam", error="late")],
)
def test_what_aws_fails_at_is_tried_again_and_in_the_end_unknown(
    operation: str, failure: Exception
) -> None:
    ended, jobs = read(Iam(errors={operation: [failure] * 3}))
    assert ended[arn(0)].error is None
    assert jobs.throttled == 0

    ended, _ = read(Iam(errors={operation: [failure] * 4}))
    assert isinstance(ended[arn(0)].error, AwsServiceError)


def test_throttling_is_no_failure_of_a_principal() -> None:
    iam = Iam(errors={"generate": [error("Throttling")] * 9, "get": [error("Throttling")] * 9})

    ended, jobs = read(iam)

    assert ended[arn(0)].error is None
    assert jobs.throttled == 18


def test_the_length_of_jobs_is_learned_without_the_dates_too() -> None:
    ended, jobs = read(Iam(job_seconds=12, dates=False), 50)

    assert len(ended) == 50
    assert 9 < jobs.durations.usual < 20


def test_the_sdk_hides_no_throttling() -> None:
    """With its own retries one throttled call would be five, and nobody would see them."""
    client: Any = boto3.client("iam", config=IAM_CONFIG)
    assert client.meta.config.retries["total_max_attempts"] == 1
