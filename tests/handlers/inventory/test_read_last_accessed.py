from __future__ import annotations

import json
import types
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.inventory import read_last_accessed
from lambdas.inventory.read_last_accessed import MARGIN_SECONDS, Output, lambda_handler
from pare.errors import AwsServiceError, ThrottledError
from tests.handlers.fake_aws import BUCKET, MEMBER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.aws.evidence_store import EvidenceStore
    from pare.object_ref import ObjectRef
    from tests.handlers.fake_aws import FakeAws

WORK = "inventory/period=2026-11/work=monthly-1"
FOLDER = f"{WORK}/account={MEMBER}/last_accessed"
GENERATE = "iam:GenerateServiceLastAccessedDetails"
GET = "iam:GetServiceLastAccessedDetails"
WHEN = datetime(2026, 11, 20, 9, tzinfo=UTC)
ITEM: Any = {
    "account_id": MEMBER, "name": "shop-prod", "state": "ACTIVE", "period": "2026-11",
    "work": WORK, "as_of": "2026-11-01T06:00:03Z", "organization": {}, "previous": None,
    "is_new": False,
}  # fmt: skip


def arn(number: int) -> str:
    return f"arn:aws:iam::{MEMBER}:role/app-{number:03}"


class Clock:
    """Time that passes only in sleep, and a little with each call."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, settings: Callable[..., None]) -> Clock:
    settings(calls_per_second="5")
    clock = Clock()
    module = types.SimpleNamespace(sleep=clock.sleep, monotonic=clock.monotonic)
    monkeypatch.setattr(read_last_accessed, "time", module)
    return clock


class Jobs:
    """What IAM does with each principal's jobs, one after the other; "completes" ever after."""

    def __init__(self, aws: FakeAws) -> None:
        self.fates: dict[str, list[str]] = {}
        self.generated: Counter[str] = Counter()
        self._jobs: dict[str, tuple[str, str]] = {}
        aws.answer(GENERATE, self.generate)
        aws.answer(GET, self.get)

    def generate(self, given: dict[str, Any]) -> dict[str, Any]:
        job_id = f"{len(self._jobs):036}"
        fates = self.fates.get(given["Arn"], [])
        self.generated[given["Arn"]] += 1
        self._jobs[job_id] = (given["Arn"], fates.pop(0) if fates else "completes")
        return {"JobId": job_id}

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        principal_arn, fate = self._jobs[given["JobId"]]
        answer: dict[str, Any] = {
            "JobStatus": "COMPLETED", "JobCreationDate": WHEN, "JobCompletionDate": WHEN,
            "ServicesLastAccessed": [
                {"ServiceName": "Amazon S3", "ServiceNamespace": "s3", "LastAuthenticated": WHEN,
                 "LastAuthenticatedRegion": "eu-west-1",
                 "TrackedActionsLastAccessed": [
                     {"ActionName": "ListAllMyBuckets", "LastAccessedTime": WHEN},
                     {"ActionName": "CreateBucket"},
                 ]},
                {"ServiceName": principal_arn[-7:], "ServiceNamespace": "ec2",
                 "TrackedActionsLastAccessed": [{"ActionName": "RunInstances"}]},
            ],
        }  # fmt: skip
        if fate == "fails":
            answer |= {"JobStatus": "FAILED", "ServicesLastAccessed": [],
                       "Error": {"Code": "SERVICE_ERROR", "Message": "a bad day"}}  # fmt: skip
        if fate == "hangs":
            answer |= {"JobStatus": "IN_PROGRESS", "ServicesLastAccessed": []}
        return answer


@pytest.fixture
def jobs(aws: FakeAws) -> Jobs:
    return Jobs(aws)


def collected(evidence: EvidenceStore, count: int) -> ObjectRef:
    principals = evidence.put_json(
        f"{WORK}/account={MEMBER}/principals.json", [arn(n) for n in range(count)]
    )
    return evidence.put_json(f"{WORK}/account={MEMBER}/collected.json", {"principals": principals})


def read(evidence: EvidenceStore, context: Any, count: int = 3, seconds: float = 900) -> Output:
    context.remaining_ms = int(seconds * 1000)
    output: Output = lambda_handler(
        {"item": ITEM, "collected": collected(evidence, count)}, context
    )
    return output


def progress(evidence: EvidenceStore) -> Any:
    return evidence.get_json({"bucket": BUCKET, "key": f"{FOLDER}/progress.json"})


def rows(evidence: EvidenceStore) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in progress(evidence)["parts"]:
        for row in evidence.get_ndjson_gz({"bucket": BUCKET, "key": key}):
            assert row["principal_arn"] not in found, "a principal is there twice"
            found[row["principal_arn"]] = row
    return found


def test_one_batch_reads_everybody(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    assert read(evidence, context) == {"is_done": True, "read": 3, "unknown": 0, "left": 0}

    found = rows(evidence)
    assert sorted(found) == [arn(0), arn(1), arn(2)]
    assert found[arn(1)] == {
        "principal_arn": arn(1),
        "outcome": "COMPLETED",
        "error": None,
        "message": "",
        "attempts": 1,
        "generated_at": "2026-11-20T09:00:00Z",
        "services": [
            {"service": "ec2", "last_accessed_at": None, "region": None, "used": {},
             "unused": None, "tracked": 1},
            {"service": "s3", "last_accessed_at": "2026-11-20T09:00:00Z", "region": "eu-west-1",
             "used": {"ListAllMyBuckets": "2026-11-20T09:00:00Z"}, "unused": ["CreateBucket"],
             "tracked": 2},
        ],
    }  # fmt: skip
    done = progress(evidence)
    assert (done["left"], done["batches"], done["calls"], done["throttled"]) == ([], 1, 6, 0)
    assert done["parts"][0].startswith(f"{FOLDER}/part-1-0-3-")
    assert aws.attempts.count("sts:AssumeRole") == 1, "one session, to which the jobs belong"
    assert {call.account_id for call in aws.calls} == {MEMBER}


def test_the_session_says_what_it_is_for(
    evidence: EvidenceStore, jobs: Jobs, context: Any, aws: FakeAws
) -> None:
    names: list[str] = []

    def refuse(given: dict[str, Any]) -> dict[str, Any]:
        names.append(given["RoleSessionName"])
        return {"Error": {"Code": "AccessDenied", "Message": "no"}, "_status": 403}

    aws.answer("sts:AssumeRole", refuse)
    read(evidence, context)
    assert names == ["pare-read-last-accessed"]


def test_an_account_without_principals_is_done_at_once(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    assert read(evidence, context, 0) == {"is_done": True, "read": 0, "unknown": 0, "left": 0}
    assert progress(evidence)["parts"] == []
    assert aws.attempts.count("sts:AssumeRole") == 0


def test_a_step_that_is_repeated_says_the_same_and_does_nothing(
    evidence: EvidenceStore, jobs: Jobs, context: Any
) -> None:
    first = read(evidence, context)
    before = (progress(evidence), rows(evidence))

    assert read(evidence, context) == first
    assert (progress(evidence), rows(evidence)) == before
    assert sum(jobs.generated.values()) == 3


def test_what_fails_is_tried_in_the_next_batch_behind_the_others(
    evidence: EvidenceStore, jobs: Jobs, context: Any
) -> None:
    jobs.fates = {arn(0): ["fails"], arn(1): ["hangs"]}

    assert read(evidence, context) == {"is_done": False, "read": 1, "unknown": 0, "left": 2}
    left = progress(evidence)["left"]
    assert [(each["principal_arn"], each["attempts"], each["error"]) for each in left] == [
        (arn(0), 1, "LastAccessedError"),
        (arn(1), 1, "LastAccessedError"),
    ]
    assert left[0]["message"].endswith("failed: SERVICE_ERROR: a bad day")
    assert "was still IN_PROGRESS after" in left[1]["message"]

    assert read(evidence, context) == {"is_done": True, "read": 3, "unknown": 0, "left": 0}
    assert {row["attempts"] for row in rows(evidence).values()} == {1, 2}
    assert progress(evidence)["batches"] == 2


def test_three_failures_are_unknown_with_the_last_reason(
    evidence: EvidenceStore, jobs: Jobs, context: Any
) -> None:
    jobs.fates = {arn(1): ["fails", "fails", "fails"]}

    outputs = [read(evidence, context) for _ in range(3)]

    assert [output["is_done"] for output in outputs] == [False, False, True]
    assert outputs[-1] == {"is_done": True, "read": 2, "unknown": 1, "left": 0}
    row = rows(evidence)[arn(1)]
    assert (row["outcome"], row["error"], row["attempts"]) == ("unknown", "LastAccessedError", 3)
    assert row["message"].endswith("failed: SERVICE_ERROR: a bad day")
    assert row["services"] is None
    assert row["generated_at"] is None


def test_a_principal_that_is_gone_meanwhile_is_unknown_at_once(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    aws.mend(GENERATE)
    aws.fail(GENERATE, "NoSuchEntity", 404, when=lambda given: given["Arn"] == arn(2))
    aws.answer(GENERATE, jobs.generate)

    assert read(evidence, context) == {"is_done": True, "read": 2, "unknown": 1, "left": 0}
    assert rows(evidence)[arn(2)]["error"] == "PrincipalNotFoundError"


@pytest.mark.parametrize("operation", ["sts:AssumeRole", GENERATE, GET])
def test_an_account_that_refuses_leaves_its_principals_unknown(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any, operation: str
) -> None:
    aws.mend(operation)
    aws.fail(operation, "AccessDenied", 403)

    assert read(evidence, context) == {"is_done": True, "read": 0, "unknown": 3, "left": 0}
    assert {row["error"] for row in rows(evidence).values()} == {"MemberAccountError"}
    assert all("AccessDenied" in row["message"] for row in rows(evidence).values())


def test_what_does_not_fit_into_the_time_is_left_and_not_an_attempt(
    evidence: EvidenceStore, jobs: Jobs, context: Any, clock: Clock
) -> None:
    began = clock.now

    first = read(evidence, context, 100, seconds=MARGIN_SECONDS + 20)

    assert clock.now - began <= 21
    assert not first["is_done"]
    assert 5 < first["read"] < 95
    assert first["read"] + first["left"] == 100
    assert {each["attempts"] for each in progress(evidence)["left"]} == {0}
    assert read(evidence, context, 100)["read"] == 100
    assert len(rows(evidence)) == 100
    assert len(progress(evidence)["parts"]) == 2


def test_throttling_is_counted_and_no_attempt(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    aws.mend(GENERATE)
    aws.fail(GENERATE, "Throttling", times=4)
    aws.answer(GENERATE, jobs.generate)

    assert read(evidence, context)["read"] == 3
    assert progress(evidence)["throttled"] == 4
    assert {row["attempts"] for row in rows(evidence).values()} == {1}
    assert progress(evidence)["calls"] == 4 + 6


def test_an_account_that_throttles_to_death_ends_unknown(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    aws.mend(GENERATE)
    aws.fail(GENERATE, "Throttling")

    outputs = [read(evidence, context) for _ in range(3)]

    assert [output["left"] for output in outputs] == [3, 3, 0]
    assert outputs[-1] == {"is_done": True, "read": 0, "unknown": 3, "left": 0}
    assert {row["error"] for row in rows(evidence).values()} == {"ThrottledError"}
    assert "IAM throttled" in rows(evidence)[arn(0)]["message"]


def test_a_batch_that_ends_a_job_lets_the_others_go_on(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    """Two batches without an end, one with, and two without again: nobody is given up."""
    spared = ""

    def is_throttled(given: dict[str, Any]) -> bool:
        return bool(given["Arn"] != spared)

    aws.mend(GENERATE)
    aws.fail(GENERATE, "Throttling", when=is_throttled)
    aws.answer(GENERATE, jobs.generate)
    for spared in ("", "", arn(0), "", ""):  # noqa: B007
        assert not read(evidence, context)["is_done"]
    assert progress(evidence)["stalled"] == 2


@pytest.mark.parametrize(
    ("operation", "code", "status", "error"),
    [
        ("sts:AssumeRole", "ServiceUnavailable", 503, AwsServiceError),
        ("sts:AssumeRole", "Throttling", 400, ThrottledError),
        ("s3:PutObject", "SlowDown", 503, ThrottledError),
        ("s3:GetObject", "InternalError", 500, AwsServiceError),
    ],
)
def test_what_is_worth_a_retry_of_the_step_is_an_error(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any,
    operation: str, code: str, status: int, error: type[Exception],
) -> None:  # fmt: skip
    ref = collected(evidence, 3)
    aws.fail(operation, code, status)

    with pytest.raises(error):
        lambda_handler({"item": ITEM, "collected": ref}, context)

    aws.mend(operation)
    assert read(evidence, context)["read"] == 3


def test_a_function_that_is_ended_loses_no_more_than_a_part(
    evidence: EvidenceStore,
    jobs: Jobs,
    aws: FakeAws,
    context: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read_last_accessed, "PART_SIZE", 10)
    asked: list[Any] = []

    def ended_by_lambda(given: dict[str, Any]) -> dict[str, Any]:
        asked.append(given)
        if len(asked) == 25:
            raise SystemExit("the function's time is over")
        return jobs.get(given)

    aws.mend(GET)
    aws.answer(GET, ended_by_lambda)
    with pytest.raises(SystemExit):
        read(evidence, context, 40)
    assert progress(evidence)["read"] == 20

    assert read(evidence, context, 40) == {"is_done": True, "read": 40, "unknown": 0, "left": 0}

    assert len(rows(evidence)) == 40
    firsts = [key.split("part-")[1].split("-")[:3] for key in progress(evidence)["parts"]]
    assert firsts == [["1", "0", "10"], ["2", "10", "10"], ["3", "20", "10"], ["4", "30", "10"]]
    assert sum(jobs.generated.values()) < 40 + 10 + 10, "what was written was not read again"


@pytest.mark.parametrize("begun", [False, True])
def test_two_functions_at_once_neither_lose_nor_double_anybody(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any, *, begun: bool
) -> None:
    """A stopped execution's last function is still at work when its successor's has begun."""
    if begun:
        jobs.fates = {arn(1): ["fails"], arn(3): ["fails"]}
        read(evidence, context, 4)
    inner: list[Output] = []

    def overtaken(given: dict[str, Any]) -> dict[str, Any]:
        if not inner:
            inner.append({"is_done": False, "read": 0, "unknown": 0, "left": 0})
            jobs.fates = {arn(3): ["fails"]}
            inner.append(read(evidence, context, 4))
        return jobs.get(given)

    aws.mend(GET)
    aws.answer(GET, overtaken)
    outer = read(evidence, context, 4)

    assert inner[1] == {"is_done": False, "read": 3, "unknown": 0, "left": 1}
    assert outer == inner[1], "the work of the one that was quicker counts"
    assert sorted(rows(evidence)) == [arn(0), arn(1), arn(2)]
    assert read(evidence, context, 4)["is_done"]
    assert sorted(rows(evidence)) == [arn(n) for n in range(4)]


def test_an_administrator_stays_small(
    evidence: EvidenceStore, jobs: Jobs, aws: FakeAws, context: Any
) -> None:
    services: list[dict[str, Any]] = [
        {"ServiceName": f"Amazon Service {n}", "ServiceNamespace": f"service{n}",
         "TrackedActionsLastAccessed": [
             {"ActionName": f"DescribeSomethingOrOther{m}"} for m in range(40)
         ]}
        for n in range(450)
    ]  # fmt: skip
    services[7]["LastAuthenticated"] = WHEN
    aws.mend(GET)
    aws.answer(
        GET,
        {"JobStatus": "COMPLETED", "JobCreationDate": WHEN, "JobCompletionDate": WHEN,
         "ServicesLastAccessed": services},
    )  # fmt: skip

    read(evidence, context, 1)

    (row,) = rows(evidence).values()
    assert len(row["services"]) == 450
    assert len(json.dumps(services, default=str)) > 600_000
    assert len(json.dumps(row)) < 60_000
