from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from lambdas.policies.choose_route import Route, lambda_handler
from pare.aws import quota_ledger, trail_size
from pare.aws.activity_store import ActivityStore, digest_key
from pare.aws.quota_ledger import QuotaLedger
from pare.errors import AwsServiceError
from tests.handlers.fake_aws import BUCKET, MEMBER, REGION
from tests.handlers.policy_inputs import EXECUTION, principal

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

TRAIL = "trail"
DAY = "2026-11-20"
LEASE = timedelta(minutes=45)


@pytest.fixture(autouse=True)
def _settings(settings: Any) -> None:
    settings(
        evidence="auto",
        trail_bucket_name=TRAIL,
        trail_log_roots="AWSLogs/",
        trail_made_by_control_tower="false",
        window_days="90",
        lease_minutes="45",
    )


@pytest.fixture
def trail(aws: FakeAws) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=TRAIL, CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


@pytest.fixture
def store(evidence: Any) -> ActivityStore:
    return ActivityStore(evidence.s3, BUCKET)


@pytest.fixture
def ledger(tables: Any) -> QuotaLedger:
    return QuotaLedger(tables, "Runs")


@pytest.fixture
def digest(store: ActivityStore) -> None:
    """One nightly digest of the account."""
    store.put(digest_key(DAY, MEMBER), b"what it holds is not looked at")


def deliver(s3: Any, day: str = DAY, number: int = 1, size: int = 7, root: str = "") -> None:
    name = f"{MEMBER}_CloudTrail_{REGION}_{day.replace('-', '')}T1005Z_{number:016d}.json.gz"
    key = f"AWSLogs/{root}{MEMBER}/CloudTrail/{REGION}/{day.replace('-', '/')}/{name}"
    s3.put_object(Bucket=TRAIL, Key=key, Body=b"x" * size)


def choose(context: Any, execution: str = EXECUTION) -> Route:
    route: Route = lambda_handler({"principal": principal(), "execution": execution}, context)
    return route


def quotas(monkeypatch: pytest.MonkeyPatch, *, files: int, size: int) -> None:
    small = quota_ledger.Quotas(files=files, bytes=size, _per_day=50, _per_day_in={})
    monkeypatch.setattr(trail_size, "load_quotas", lambda: small)


@pytest.mark.usefixtures("digest", "trail")
def test_both_are_asked_where_access_analyzer_is_free_and_the_turn_is_taken(
    ledger: QuotaLedger, context: Any
) -> None:
    route = choose(context)

    assert (route["route"], route["waits"]) == ("both", False)
    assert "0 log files" in route["reason"]
    assert ledger.ledger(MEMBER, REGION).holder == EXECUTION
    assert choose(context) == route, "a retried step says the same"


@pytest.mark.usefixtures("digest", "trail")
def test_while_another_has_the_turn_the_activity_is_enough_and_the_trail_is_not_listed(
    ledger: QuotaLedger, aws: FakeAws, context: Any
) -> None:
    assert choose(context, "execution:first")["route"] == "both"
    aws.attempts.clear()

    route = choose(context, "execution:second")

    assert (route["route"], route["waits"]) == ("activity", False)
    assert "a policy generation of the account is running (for first" in route["reason"]
    assert ledger.ledger(MEMBER, REGION).holder == "execution:first"


@pytest.mark.usefixtures("digest", "trail")
def test_where_the_day_is_used_up_the_activity_is_enough(ledger: QuotaLedger, context: Any) -> None:
    ledger.mark_exhausted(MEMBER, REGION, now=datetime.now(UTC))

    route = choose(context)

    assert route["route"] == "activity"
    assert "used up" in route["reason"]


@pytest.mark.usefixtures("digest", "ledger")
def test_a_trail_of_control_tower_is_read_by_us_alone(
    trail: Any, settings: Any, context: Any
) -> None:
    settings(trail_made_by_control_tower="true")

    route = choose(context)

    assert (route["route"], route["waits"]) == ("activity", False)
    assert route["reason"] == "Access Analyzer does not read trails that Control Tower made"


@pytest.mark.usefixtures("store", "trail", "ledger")
def test_where_nobody_can_know_anything_the_reason_says_so(settings: Any, context: Any) -> None:
    settings(trail_made_by_control_tower="true")

    route = choose(context)

    assert route["route"] == "activity"
    assert route["reason"].endswith("and there is no nightly digest of the account")


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    "key",
    [
        "",
        digest_key(DAY, "444455556666"),  # another account
        digest_key("2026-08-22", MEMBER),  # the day before the window
        digest_key("2026-11-21", MEMBER),  # the day itself, which is not read yet
        f"activity/complete/date={DAY}.json",
    ],
)
def test_without_a_digest_access_analyzer_is_waited_for(
    store: ActivityStore, ledger: QuotaLedger, context: Any, key: str
) -> None:
    if key:
        store.put(key, b"")

    route = choose(context)

    assert (route["route"], route["waits"]) == ("access-analyzer", True)
    assert "no nightly digest" in route["reason"]
    assert ledger.ledger(MEMBER, REGION).holder == "", "the turn is taken when the job starts"


@pytest.mark.usefixtures("trail", "ledger")
@pytest.mark.parametrize("day", ["2026-08-23", DAY])
def test_the_window_begins_with_its_first_day_and_ends_with_the_last_before_today(
    store: ActivityStore, context: Any, day: str
) -> None:
    store.put(digest_key(day, MEMBER), b"")

    assert choose(context)["route"] == "both"


@pytest.mark.usefixtures("digest")
@pytest.mark.parametrize(
    ("files", "size", "route", "reason"),
    [
        (3, 3 * 7 * 20, "both", "3 log files"),
        (2, 1_000_000, "activity", "more than 2 log files"),
        (3, 3 * 7 * 20 - 1, "activity", "possibly more than Access Analyzer reads: 3 log files"),
        (3, 20, "activity", "more than Access Analyzer reads: more than 2 log files"),
    ],
)
def test_a_window_that_is_too_large_is_read_by_us_alone(
    trail: Any, ledger: QuotaLedger, context: Any, monkeypatch: Any,
    files: int, size: int, route: str, reason: str,
) -> None:  # fmt: skip
    for number, (day, root) in enumerate(
        [("2026-08-23", ""), (DAY, "o-example0000/"), ("2026-11-21", "")]
    ):
        deliver(trail, day, number, root=root)
    deliver(trail, "2026-08-22", 9)  # before the window
    quotas(monkeypatch, files=files, size=size)

    chosen = choose(context)

    assert chosen["route"] == route
    assert reason in chosen["reason"]
    assert (ledger.ledger(MEMBER, REGION).holder == EXECUTION) is (route == "both")


@pytest.mark.usefixtures("store", "ledger")
def test_without_a_digest_only_what_surely_does_not_fit_is_not_tried(
    trail: Any, context: Any, monkeypatch: Any
) -> None:
    deliver(trail)
    quotas(monkeypatch, files=1, size=7)
    assert choose(context)["route"] == "access-analyzer"

    deliver(trail, number=2)
    route = choose(context)
    assert route["route"] == "activity"
    assert "no nightly digest" in route["reason"]
    assert "in the newest 30 days alone" in route["reason"]


@pytest.mark.usefixtures("store", "ledger")
@pytest.mark.parametrize(
    ("older", "first_date", "days"),
    [
        (["2026-08-24"], "2026-09-02", 80),  # steps of ten days before the last 30
        (["2026-10-20"], "2026-10-22", 30),
        (["2026-10-12", "2026-10-21"], "2026-10-22", 30),
        (["2026-10-11", "2026-09-01"], "2026-10-12", 40),
    ],
)
def test_without_a_digest_a_window_that_is_too_large_is_narrowed_to_its_newest_days(
    trail: Any, context: Any, monkeypatch: Any, older: list[str], first_date: str, days: int
) -> None:
    for number, day in enumerate(older * 2, 1):
        deliver(trail, day, number)
    deliver(trail, DAY)
    quotas(monkeypatch, files=2, size=2 * 7 * 20)

    route = choose(context)

    assert (route["route"], route["waits"]) == ("access-analyzer", True)
    assert route["first_date"] == first_date
    assert f"the newest {days} days, from {first_date} on" in route["reason"]
    assert "more than 2 log files" in route["reason"]


@pytest.mark.usefixtures("store", "ledger")
@pytest.mark.parametrize("named", ["both", "access-analyzer"])
def test_a_route_that_the_settings_name_is_narrowed_too(
    trail: Any, settings: Any, context: Any, monkeypatch: Any, named: str
) -> None:
    settings(evidence=named)
    for number, day in enumerate(["2026-09-25", "2026-09-25", DAY]):
        deliver(trail, day, number)
    quotas(monkeypatch, files=2, size=2 * 7 * 20)

    route = choose(context)

    assert (route["route"], route["waits"]) == (named, True)
    assert route["first_date"] == "2026-10-02"

    quotas(monkeypatch, files=0, size=10**9)
    route = choose(context)
    assert (route["route"], route["waits"]) == ("activity", False)
    assert "first_date" not in route
    assert named in route["reason"]


@pytest.mark.usefixtures("store", "ledger", "trail")
@pytest.mark.parametrize("named", ["both", "access-analyzer"])
def test_a_route_that_the_settings_name_is_not_gone_where_control_tower_made_the_trail(
    aws: FakeAws, settings: Any, context: Any, named: str
) -> None:
    settings(evidence=named, trail_made_by_control_tower="true")
    aws.attempts.clear()

    route = choose(context)

    assert (route["route"], route["waits"]) == ("activity", False)
    assert route["reason"].endswith("Access Analyzer does not read trails that Control Tower made")
    assert aws.attempts == []


@pytest.mark.usefixtures("store", "ledger")
def test_a_route_that_the_settings_name_is_gone_where_the_size_is_unknown(
    trail: Any, aws: FakeAws, settings: Any, context: Any
) -> None:
    settings(evidence="both")
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403, when=lambda p: p["Bucket"] == TRAIL)

    route = choose(context)

    assert (route["route"], route["waits"]) == ("both", True)
    assert "first_date" not in route


@pytest.mark.usefixtures("digest", "trail")
def test_a_trail_that_may_not_be_listed_is_of_unknown_size(
    aws: FakeAws, ledger: QuotaLedger, context: Any
) -> None:
    aws.fail("s3:ListObjectsV2", "AccessDenied", 403, when=lambda p: p["Bucket"] == TRAIL)

    route = choose(context)

    assert route["route"] == "activity"
    assert "the trail's size is unknown" in route["reason"]
    assert "AccessDenied" in route["reason"]
    assert ledger.ledger(MEMBER, REGION).holder == ""


@pytest.mark.usefixtures("store", "trail", "ledger")
def test_an_s3_that_fails_is_asked_again(aws: FakeAws, context: Any) -> None:
    aws.fail("s3:ListObjectsV2", "InternalError", 500)

    with pytest.raises(AwsServiceError):
        choose(context)


@pytest.mark.usefixtures("store", "trail")
@pytest.mark.parametrize(
    ("named", "waits"), [("both", True), ("access-analyzer", True), ("activity", False)]
)
def test_a_route_that_the_settings_name_is_taken_without_a_look_at_digests_and_turns(
    aws: FakeAws, settings: Any, context: Any, named: str, waits: bool
) -> None:
    settings(evidence=named)
    aws.attempts.clear()

    route = choose(context)

    assert route == {
        "route": named,
        "reason": f"evidence: {named} is set in config/pare.yaml",
        "waits": waits,
    }
    assert set(aws.attempts) == ({"s3:ListObjectsV2"} if waits else set())
    json.dumps(route)
