"""Choose route: whether Access Analyzer is asked, our own reading of CloudTrail, or both.

Our own nightly digests serve every principal at no further cost, so they are used wherever there
are any. Access Analyzer reads one principal of an account at a time, and 50 a day: it is asked as
a second opinion when it can be asked at once.

It reads 100,000 log files and 25 GB at most. Where there are digests, a window larger than that is
read by us alone; where there are none, or the settings want Access Analyzer asked, it is asked of
the newest days that fit (``first_date``), and where too few do, not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from lambdas.probe import answers_probe
from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.activity_store import ActivityStore, dates_before
from pare.aws.quota_ledger import QuotaLedger
from pare.aws.trail_bucket import TrailBucket
from pare.aws.trail_size import LEAST_DAYS, newest_that_fit, trail_size
from pare.clock import parse_time
from pare.errors import TrailReadError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.aws.trail_size import Narrowed, TrailSize

RouteName = Literal["both", "activity", "access-analyzer"]
CONTROL_TOWER = "Access Analyzer does not read trails that Control Tower made"


class Input(TypedDict):
    principal: Principal
    execution: str


class Route(TypedDict):
    """Which evidence is gathered, and why. ``waits``: Access Analyzer's turn is waited for.

    ``first_date``: the first day Access Analyzer is asked of, ``YYYY-MM-DD``, where that is not the
    whole window. It stands in the coverage of the proposal, as the reason does.
    """

    route: RouteName
    reason: str
    waits: bool
    first_date: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Environment:
    evidence: str  # auto, or a route
    evidence_bucket_name: str
    trail_bucket_name: str
    trail_log_roots: str
    trail_made_by_control_tower: str
    window_days: str
    runs_table_name: str
    lease_minutes: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@answers_probe
@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Route:
    """Return the route. With ``both`` chosen here, the execution has the account's turn."""
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"], account_id=principal["account_id"])
    days = dates_before(parse_time(principal["created_at"]), int(settings.window_days))
    if settings.evidence == "auto":
        route = _chosen(settings, principal, days, event["execution"])
    else:
        route = _asked_for(settings, principal, days)
    logger.info("route chosen", **route)
    return route


def _asked_for(settings: Environment, principal: Principal, days: list[str]) -> Route:
    """Return the route that the settings name, as far as Access Analyzer can go it."""
    names: dict[str, RouteName] = {name: name for name in ("both", "activity", "access-analyzer")}
    route = names[settings.evidence]
    reason = f"evidence: {settings.evidence} is set in config/pare.yaml"
    if route == "activity":
        return {"route": route, "reason": reason, "waits": False}
    if settings.trail_made_by_control_tower == "true":
        return {"route": "activity", "reason": f"{reason}, but {CONTROL_TOWER}", "waits": False}
    return _as_far_as_it_reads(
        {"route": route, "reason": reason, "waits": True},
        _look(settings, principal, days),
        otherwise={"route": "activity", "reason": reason, "waits": False},
    )


def _chosen(settings: Environment, principal: Principal, days: list[str], execution: str) -> Route:
    store = ActivityStore(client("s3"), settings.evidence_bucket_name)
    has_digest = store.has_digest(principal["account_id"], days)
    if settings.trail_made_by_control_tower == "true":
        return _activity(CONTROL_TOWER, has_digest)
    if not has_digest:
        return _without_digests(settings, principal, days)
    dynamodb = client("dynamodb")
    ledger = QuotaLedger(dynamodb, settings.runs_table_name)
    key = principal["account_id"], dynamodb.meta.region_name, execution
    lease = timedelta(minutes=int(settings.lease_minutes))
    # Looked at before the trail is listed: of a thousand principals nearly all end here.
    turn = ledger.look(*key, now=utc_now(), lease=lease)
    if turn.granted:
        look = _look(settings, principal, days, narrow=False)
        if look.size is None or not look.size.fits:
            return _activity(look.reason, has_digest)
        reason = look.reason
        turn = ledger.reserve(*key, now=utc_now(), lease=lease)
    if not turn.granted:
        return _activity(f"Access Analyzer is not free: {turn.text()}", has_digest)
    return {
        "route": "both",
        "reason": f"there are nightly digests, and Access Analyzer is free: {reason}",
        "waits": False,
    }


def _without_digests(settings: Environment, principal: Principal, days: list[str]) -> Route:
    """Return the route of an account of which no night was read: there is only one."""
    look = _look(settings, principal, days)
    reason = "there is no nightly digest of the account"
    if not look.is_too_large:
        reason = f"{reason}; {look.reason}"
    return _as_far_as_it_reads(
        {"route": "access-analyzer", "reason": reason, "waits": True},
        look,
        otherwise={"route": "activity", "reason": reason, "waits": False},
    )


def _activity(reason: str, has_digest: bool) -> Route:
    text = reason if has_digest else f"{reason}, and there is no nightly digest of the account"
    return {"route": "activity", "reason": text, "waits": False}


# --- What Access Analyzer would have to read ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Look:
    """How much of the trail Access Analyzer would have to read, and that in words.

    ``size`` is None where the trail may not be listed: unknown, and so no reason to use up a turn
    that need not be. ``narrowed``: the newest days that fit, where all surely do not.
    """

    size: TrailSize | None
    reason: str
    narrowed: Narrowed | None = None

    @property
    def is_too_large(self) -> bool:
        return self.size is not None and self.size.cannot_fit


def _look(
    settings: Environment, principal: Principal, days: list[str], *, narrow: bool = True
) -> _Look:
    bucket = TrailBucket(
        client("s3"), settings.trail_bucket_name, tuple(settings.trail_log_roots.split(","))
    )
    # The day of the request is read too; its log files are few.
    window = principal["account_id"], days[0], principal["created_at"][:10]
    try:
        size = trail_size(bucket, *window)
        if size.cannot_fit:
            reason = f"more than Access Analyzer reads: {size.text()}"
            return _Look(size, reason, newest_that_fit(bucket, *window) if narrow else None)
    except TrailReadError as error:
        logger.warning("trail size unknown", error=str(error))
        return _Look(None, f"the trail's size is unknown: {error}")
    if size.fits:
        return _Look(size, f"{size.text()}, within its quota")
    return _Look(size, f"possibly more than Access Analyzer reads: {size.text()}")


def _as_far_as_it_reads(route: Route, look: _Look, *, otherwise: Route) -> Route:
    """Return a route that asks Access Analyzer, of the newest days where all are too many."""
    if not look.is_too_large:
        return route
    reason = f"{route['reason']}; {look.reason}"
    if look.narrowed is None:
        return {**otherwise, "reason": f"{reason}, in the newest {LEAST_DAYS} days alone"}
    first, days, size = look.narrowed
    asked = f"it is asked of the newest {days} days, from {first} on: {size.text()}"
    return {**route, "reason": f"{reason}; {asked}", "first_date": first}
