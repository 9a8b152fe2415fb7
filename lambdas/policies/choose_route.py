"""Choose route: whether Access Analyzer is asked, our own reading of CloudTrail, or both.

Our own nightly digests serve every principal at no further cost, so they are used wherever there
are any. Access Analyzer reads one principal of an account at a time, and 50 a day: it is asked as
a second opinion when it can be asked at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Literal, TypedDict

from lambdas.runtime import client, logger, read_environment, utc_now
from pare.aws.activity_store import ActivityStore, dates_before
from pare.aws.quota_ledger import QuotaLedger
from pare.aws.trail_bucket import TrailBucket
from pare.aws.trail_size import trail_size
from pare.clock import parse_time
from pare.errors import TrailReadError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.resolve_principal import Principal
    from pare.aws.trail_size import TrailSize

RouteName = Literal["both", "activity", "access-analyzer"]


class Input(TypedDict):
    principal: Principal
    execution: str


class Route(TypedDict):
    """Which evidence is gathered, and why. ``waits``: Access Analyzer's turn is waited for."""

    route: RouteName
    reason: str
    waits: bool


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


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Route:
    """Return the route. With ``both`` chosen here, the execution has the account's turn."""
    settings = environment()
    principal = event["principal"]
    logger.append_keys(principal_arn=principal["principal_arn"], account_id=principal["account_id"])
    route = _asked_for(settings.evidence) or _chosen(settings, principal, event["execution"])
    logger.info("route chosen", **route)
    return route


def _asked_for(evidence: str) -> Route | None:
    """Return the route that the settings name, or None where they leave the choice."""
    if evidence == "auto":
        return None
    names: dict[str, RouteName] = {name: name for name in ("both", "activity", "access-analyzer")}
    route = names[evidence]
    return {
        "route": route,
        "reason": f"evidence: {evidence} is set in config/pare.yaml",
        "waits": route != "activity",
    }


def _chosen(settings: Environment, principal: Principal, execution: str) -> Route:
    days = dates_before(parse_time(principal["created_at"]), int(settings.window_days))
    store = ActivityStore(client("s3"), settings.evidence_bucket_name)
    has_digest = store.has_digest(principal["account_id"], days)
    if settings.trail_made_by_control_tower == "true":
        return _activity("Access Analyzer does not read trails that Control Tower made", has_digest)
    if not has_digest:
        return _without_digests(settings, principal, days)
    dynamodb = client("dynamodb")
    ledger = QuotaLedger(dynamodb, settings.runs_table_name)
    key = principal["account_id"], dynamodb.meta.region_name, execution
    lease = timedelta(minutes=int(settings.lease_minutes))
    # Looked at before the trail is listed: of a thousand principals nearly all end here.
    turn = ledger.look(*key, now=utc_now(), lease=lease)
    if turn.granted:
        size, reason = _size(settings, principal, days)
        if size is None or not size.fits:
            return _activity(reason, has_digest)
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
    size, reason = _size(settings, principal, days)
    if size is not None and size.cannot_fit:
        return _activity(reason, has_digest=False)
    return {
        "route": "access-analyzer",
        "reason": f"there is no nightly digest of the account; {reason}",
        "waits": True,
    }


def _activity(reason: str, has_digest: bool) -> Route:
    text = reason if has_digest else f"{reason}, and there is no nightly digest of the account"
    return {"route": "activity", "reason": text, "waits": False}


def _size(
    settings: Environment, principal: Principal, days: list[str]
) -> tuple[TrailSize | None, str]:
    """Return how much Access Analyzer would have to read, and that in words.

    None where the trail may not be listed: unknown, and so no reason to use up a turn.
    """
    bucket = TrailBucket(
        client("s3"), settings.trail_bucket_name, tuple(settings.trail_log_roots.split(","))
    )
    try:
        # The day of the request is read too; its log files are few.
        size = trail_size(bucket, principal["account_id"], days[0], principal["created_at"][:10])
    except TrailReadError as error:
        logger.warning("trail size unknown", error=str(error))
        return None, f"the trail's size is unknown: {error}"
    if size.fits:
        return size, f"{size.text()}, within its quota"
    if size.cannot_fit:
        return size, f"more than Access Analyzer reads: {size.text()}"
    return size, f"possibly more than Access Analyzer reads: {size.text()}"
