"""The nightly reading of the trail: every log file once, whatever happens in between."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local import demo
from pare.aws.backfill import start_backfill
from pare.cloudtrail.activity import Activity
from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.cloudtrail.digest import Digest
from pare.cloudtrail.sources import log_key, reading_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.local.deployed.conftest import Deployed

TODAY = datetime.now(UTC).date()


def day(days_ago: int) -> str:
    return f"{TODAY - timedelta(days=days_ago)}"


@dataclass
class Activities:
    """The trail bucket and the digests, as a person sees them."""

    deployed: Deployed
    put: list[str] = field(default_factory=list)

    @property
    def evidence(self) -> Any:
        return self.deployed.box.hub("s3")

    @property
    def bucket(self) -> str:
        return self.deployed.box.outputs["EvidenceBucketName"]

    @property
    def trail(self) -> Any:
        organization = self.deployed.box.created.organization
        archive = organization.log_archive_account.account_id
        return self.deployed.box.emulator.client("s3", archive, organization.home_region)

    @property
    def trail_bucket(self) -> str:
        return self.deployed.box.created.bucket_name

    def read(self, **state: Any) -> dict[str, Any]:
        """Run the workflow and return its run record."""
        return self.run_of(self.deployed.start("Activity", state or night()))

    def run_of(self, execution: str) -> dict[str, Any]:
        self.deployed.ended(execution, seconds=180)
        runs = demo.runs_of(self.deployed.box, "activity")
        return next(run for run in runs if run["execution_arn"] == execution)

    def bodies(self, dates: Iterable[str]) -> dict[str, bytes]:
        """Return the digests of some days by their keys."""
        found = {}
        for date in dates:
            listed = self.evidence.list_objects_v2(
                Bucket=self.bucket, Prefix=f"activity/date={date}/"
            )
            for each in listed.get("Contents", []):
                answer = self.evidence.get_object(Bucket=self.bucket, Key=each["Key"])
                found[each["Key"]] = answer["Body"].read()
        return found

    def digests(self, dates: Iterable[str]) -> Activity:
        """Return the digests of some days, merged."""
        merged = Activity()
        for body in self.bodies(dates).values():
            merged.merge(read_activity(io.BytesIO(body)))
        return merged

    def keys(self, dates: Iterable[str], account_id: str = "") -> list[str]:
        """Return the keys of the log files delivered on some days."""
        wanted = set(dates)
        pages = self.trail.get_paginator("list_objects_v2").paginate(Bucket=self.trail_bucket)
        found = [each["Key"] for page in pages for each in page["Contents"]]
        return [
            key
            for key in sorted(found, key=reading_order)
            if (known := log_key(key)) is not None
            and known.date in wanted
            and known.account_id.startswith(account_id)
        ]

    def body(self, key: str) -> bytes:
        body: bytes = self.trail.get_object(Bucket=self.trail_bucket, Key=key)["Body"].read()
        return body

    def direct(self, dates: Iterable[str]) -> Activity:
        """Return what reading the same log files directly gives, as the command line does."""
        digest = Digest()
        keys = self.keys(dates)
        for key in keys:
            digest.add_file(key, self.body(key))
        activity = digest.activity()
        activity.objects = set(keys)
        return activity

    def deliver(self, like: str, body: bytes) -> str:
        """Deliver another log file beside one that is there; taken back after the test."""
        key = like.replace(".json.gz", f"{len(self.put):04}.json.gz")
        self.trail.put_object(Bucket=self.trail_bucket, Key=key, Body=body)
        self.put.append(key)
        return key


@pytest.fixture
def activities(deployed: Deployed) -> Iterator[Activities]:
    made = Activities(deployed)
    yield made
    for key in made.put:
        made.trail.delete_object(Bucket=made.trail_bucket, Key=key)
    # Each test begins without digests, as on the first night.
    pages = made.evidence.get_paginator("list_objects_v2").paginate(
        Bucket=made.bucket, Prefix="activity/"
    )
    for page in pages:
        for each in page.get("Contents", []):
            made.evidence.delete_object(Bucket=made.bucket, Key=each["Key"])


def night(days_ago: int = 0) -> dict[str, str]:
    """Return what the schedule starts the workflow with."""
    return {"scheduled_at": f"{day(days_ago)}T04:00:00Z"}


def written(activity: Activity) -> str:
    file = io.BytesIO()
    write_activity(activity, file, compress=False)
    return file.getvalue().decode()


def packed(*records: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps({"Records": records}).encode())


def records_of(body: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress(body))["Records"]
    return found


def test_a_night_gives_what_reading_the_same_log_files_gives(activities: Activities) -> None:
    dates = [day(3), day(2), day(1)]

    run = activities.read()

    assert run["outcome"] == "succeeded", run
    assert run["subject"] == f"{dates[0]} to {dates[-1]}"
    assert run["unknown"] == []
    digests, direct = activities.digests(dates), activities.direct(dates)
    assert written(digests) == written(direct)
    assert digests.totals.records > 300
    assert run["counts"]["files"] == len(activities.keys(dates)) == direct.totals.files
    for name in ("bytes", "records", "used", "denied", "unmapped"):
        assert run["counts"][name] == getattr(direct.totals, name), name
    assert run["transitions"] <= 8
    # One object for an account and day, and nothing else.
    assert all(key.endswith("/part.ndjson.gz") for key in activities.bodies(dates))


def test_late_files_are_picked_up_and_nothing_is_counted_twice(activities: Activities) -> None:
    dates = [day(3), day(2), day(1)]
    activities.read()
    before = activities.bodies(dates)

    again = activities.read()

    assert again["counts"]["account_rounds"] == 0
    assert activities.bodies(dates) == before

    counted = activities.digests(dates).totals
    # One event comes again, in a file of its own account, and one is new.
    busiest = max(activities.keys([day(2)]), key=lambda key: len(activities.body(key)))
    known = next(
        record for record in records_of(activities.body(busiest))
        if record["eventType"] == "AwsApiCall" and "errorCode" not in record
    )  # fmt: skip
    new = {**known, "eventID": "00000000-0000-4000-8000-00000000abcd"}
    late = activities.deliver(busiest, packed(known, new))

    activities.read()

    after = activities.digests(dates)
    assert late in after.objects
    assert after.totals.records == counted.records + 2
    assert after.totals.used == counted.used + 1
    assert written(after) == written(activities.direct(dates))
    changed = [key for key, body in activities.bodies(dates).items() if body != before[key]]
    assert changed == [f"activity/date={day(2)}/account={new['recipientAccountId']}/part.ndjson.gz"]


def test_a_broken_file_is_named_and_the_rest_goes_on(activities: Activities) -> None:
    first = activities.keys([day(2)])[0]
    whole = activities.body(first)
    broken = activities.deliver(first, whole[: len(whole) // 2])

    run = activities.read()

    assert run["outcome"] == "succeeded"
    assert run["counts"]["unreadable_files"] == 1
    digests = activities.digests([day(3), day(2), day(1)])
    assert list(digests.problem_files) == [broken]
    assert written(digests) == written(activities.direct([day(3), day(2), day(1)]))


def test_a_trail_that_may_not_be_read_is_told_and_read_once_it_may(
    activities: Activities, deployed: Deployed
) -> None:
    policy = json.loads(
        activities.trail.get_bucket_policy(Bucket=activities.trail_bucket)["Policy"]
    )
    less = {
        **policy,
        "Statement": [s for s in policy["Statement"] if s["Sid"] != "PareReadsTheTrail"],
    }
    put = activities.trail.put_bucket_policy
    put(Bucket=activities.trail_bucket, Policy=json.dumps(less))
    try:
        run = activities.read()
    finally:
        put(Bucket=activities.trail_bucket, Policy=json.dumps(policy))

    assert (run["outcome"], run["error"]) == ("failed", "TrailReadError")
    assert "access denied" in run["message"]
    told = deployed.message(run["execution_arn"])
    assert told["Subject"] == "[Pare] The activity workflow failed: TrailReadError"
    assert "Let Pare read the trail" in " ".join(told["Message"].split())

    mended = activities.read()
    assert mended["outcome"] == "succeeded"
    dates = [day(3), day(2), day(1)]
    assert written(activities.digests(dates)) == written(activities.direct(dates))


def test_an_account_that_may_not_be_read_is_unknown_and_the_others_are_read(
    activities: Activities, deployed: Deployed
) -> None:
    account = deployed.box.created.organization.account("shop-prod").account_id
    policy = json.loads(
        activities.trail.get_bucket_policy(Bucket=activities.trail_bucket)["Policy"]
    )
    closed = {
        "Sid": "Closed",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{activities.trail_bucket}/AWSLogs/*/{account}/*",
    }
    more = {**policy, "Statement": [*policy["Statement"], closed]}
    put = activities.trail.put_bucket_policy
    put(Bucket=activities.trail_bucket, Policy=json.dumps(more))
    try:
        run = activities.read()
    finally:
        put(Bucket=activities.trail_bucket, Policy=json.dumps(policy))

    dates = [day(3), day(2), day(1)]
    missing = activities.keys(dates, account)
    assert run["outcome"] == "succeeded"
    assert run["unknown"] == [account]
    assert run["counts"]["unread_files"] == len(missing)
    listed = [
        key
        for date in dates
        for key in json.loads(
            activities.evidence.get_object(
                Bucket=activities.bucket, Key=f"activity/unread/date={date}/account={account}.json"
            )["Body"].read()
        )
    ]
    assert listed == missing

    # The next night reads what was closed, and only that.
    healed = activities.read()
    assert healed["counts"]["files"] == len(missing)
    assert healed["unknown"] == []
    assert written(activities.digests(dates)) == written(activities.direct(dates))


def test_a_step_that_fails_makes_its_account_unknown(
    activities: Activities, deployed: Deployed
) -> None:
    # The key of the evidence is taken from one step: every account fails, each by itself.
    iam = deployed.box.hub("iam")
    role = "PareDigestLogs"
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = [s for s in document["Statement"] if s.get("Sid") != "UseKeyOfEvidence"]
    assert len(less) == len(document["Statement"]) - 1
    put = iam.put_role_policy
    put(RoleName=role, PolicyName=policy,
        PolicyDocument=json.dumps({**document, "Statement": less}))  # fmt: skip
    try:
        run = activities.read()
    finally:
        put(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))

    accounts = {log_key(key).account_id for key in activities.keys([day(3), day(2), day(1)])}  # type: ignore[union-attr]
    assert run["outcome"] == "succeeded"
    assert set(run["unknown"]) == accounts
    assert run["counts"]["unknown_accounts"] == len(accounts)


def test_a_backfill_that_was_stopped_goes_on_where_it_was(
    activities: Activities, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization = deployed.box.created.organization
    hub = organization.hub_account.account_id
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in deployed.box.emulator.environment(hub, organization.home_region).items():
        monkeypatch.setenv(name, value)
    session, states = boto3.Session(), deployed.box.hub("stepfunctions")
    dates = [day(n) for n in range(28, 0, -1)]  # four rounds of a week

    started = start_backfill(session, days=28, now=datetime.now(UTC))
    assert (started.first_date, started.last_date, started.is_new) == (dates[0], dates[-1], True)
    # While it runs, no second one is started.
    assert start_backfill(session, days=28, now=datetime.now(UTC)).execution_arn == (
        started.execution_arn
    )
    complete = f"activity/complete/date={dates[0]}.json"
    demo.wait_for(
        lambda: activities.evidence.list_objects_v2(Bucket=activities.bucket, Prefix=complete).get(
            "Contents"
        ),
        complete,
    )
    states.stop_execution(executionArn=started.execution_arn)
    deployed.ended(started.execution_arn)
    finished = activities.bodies(dates[:7])
    assert finished
    assert written(activities.digests(dates)) != written(activities.direct(dates))

    again = start_backfill(session, days=28, now=datetime.now(UTC))
    run = activities.run_of(again.execution_arn)

    assert again.is_new
    assert run["outcome"] == "succeeded"
    assert activities.bodies(dates[:7]) == finished
    assert 0 < run["counts"]["files"] < len(activities.keys(dates))
    assert written(activities.digests(dates)) == written(activities.direct(dates))


def test_two_runs_at_once_count_nothing_twice(activities: Activities, deployed: Deployed) -> None:
    dates = [day(9), day(8), day(7)]
    state = {"first_date": dates[0], "last_date": dates[-1]}

    executions = [deployed.start("Activity", state) for _ in range(3)]
    runs = [activities.run_of(each) for each in executions]

    assert {run["outcome"] for run in runs} == {"succeeded"}
    assert {tuple(run["unknown"]) for run in runs} == {()}
    assert written(activities.digests(dates)) == written(activities.direct(dates))


def test_what_does_not_fit_into_one_invocation_is_read_by_the_next(
    activities: Activities, deployed: Deployed
) -> None:
    functions = deployed.box.hub("lambda")
    (name,) = (
        each["FunctionName"]
        for page in functions.get_paginator("list_functions").paginate()
        for each in page["Functions"]
        if "DigestLogs" in each["FunctionName"]
    )
    # Less than the step wants to have left: it stops after each file.
    functions.update_function_configuration(FunctionName=name, Timeout=60)
    try:
        run = activities.read(first_date=day(15), last_date=day(15))
    finally:
        functions.update_function_configuration(FunctionName=name, Timeout=900)

    assert run["outcome"] == "succeeded"
    assert run["counts"]["files"] == len(activities.keys([day(15)])) > 5
    assert written(activities.digests([day(15)])) == written(activities.direct([day(15)]))
    parts = activities.evidence.list_objects_v2(Bucket=activities.bucket, Prefix="activity/parts/")[
        "Contents"
    ]
    assert any("/part=0002/" in each["Key"] for each in parts)


@pytest.mark.parametrize(
    "state",
    [{"first_date": "2026-13-01", "last_date": "2026-13-02"}, {"first_date": f"{TODAY}"}, {}],
)
def test_days_that_cannot_be_read_are_rejected_and_told(
    activities: Activities, deployed: Deployed, state: dict[str, str]
) -> None:
    execution = deployed.start("Activity", state)
    run = activities.run_of(execution)

    assert (run["outcome"], run["error"]) == ("rejected", "ActivityError")
    assert "was not accepted" in deployed.message(execution)["Subject"]


def test_schedule_names_the_activity_workflow_every_night_in_utc(deployed: Deployed) -> None:
    scheduler = deployed.box.hub("scheduler")
    (found,) = (
        scheduler.get_schedule(Name=each["Name"])
        for each in scheduler.list_schedules()["Schedules"]
        if "Activity" in each["Name"]
    )
    assert found["State"] == "ENABLED"
    assert (found["ScheduleExpression"], found["ScheduleExpressionTimezone"]) == (
        "cron(0 4 * * ? *)",
        "Etc/UTC",
    )
    assert found["Target"]["Arn"] == deployed.box.outputs["ActivityWorkflowArn"]
    assert json.loads(found["Target"]["Input"]) == {
        "scheduled_at": "<aws.scheduler.scheduled-time>"
    }
