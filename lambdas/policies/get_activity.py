"""Get activity: what the principal did, from the nightly digests of its account.

The account's own trail has every call a principal of it makes, those into other accounts too: such
a call is recorded in both (facts §7). What other accounts' principals do here is not asked.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NotRequired, TypedDict

from lambdas.runtime import client, logger, read_environment
from pare.aws.activity_store import ActivityStore, dates_before
from pare.clock import parse_time
from pare.cloudtrail.activity import Activity, Asked
from pare.cloudtrail.activity_file import read_activity, write_activity
from pare.errors import ActivityFileError, ActivityMissingError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from lambdas.policies.choose_route import Route
    from lambdas.policies.resolve_principal import Principal
    from pare.object_ref import ObjectRef
    from pare.policy.coverage import DaysJson


class Input(TypedDict):
    principal: Principal
    route: Route


class Output(TypedDict):
    """Where the activity file lies, and of which days; empty where the route does not ask."""

    outcome: NotRequired[ObjectRef]
    days: NotRequired[DaysJson]


@dataclass(frozen=True, slots=True)
class Environment:
    evidence_bucket_name: str
    window_days: str


@cache
def environment() -> Environment:
    return read_environment(Environment)


@logger.inject_lambda_context(clear_state=True)
def lambda_handler(event: Input, context: LambdaContext) -> Output:
    """Return where the activity lies; raises ActivityMissingError where there is not one digest.

    A principal that did nothing has a file without it, which is not the same as no file.
    """
    if event["route"]["route"] == "access-analyzer":
        return {}
    settings = environment()
    principal = event["principal"]
    account_id = principal["account_id"]
    logger.append_keys(principal_arn=principal["principal_arn"], account_id=account_id)
    store = ActivityStore(client("s3"), settings.evidence_bucket_name)
    dates = dates_before(parse_time(principal["created_at"]), int(settings.window_days))
    activity, read, unreadable = _merged(store, principal, dates)
    if not read:
        raise ActivityMissingError(
            f"account {account_id} has no nightly digest of {dates[0]} to {dates[-1]}"
        )
    complete = store.complete_dates()
    without = [day for day in dates if day not in read and day not in unreadable]
    days: DaysJson = {
        "first": dates[0],
        "last": dates[-1],
        "digest_count": len(read),
        "missing": [day for day in without if day not in complete],
        "quiet": [day for day in without if day in complete],
        "unreadable": unreadable,
        "unread_files": store.count_unread(account_id, dates),
    }
    activity.asked = {
        Asked(
            since=f"{dates[0]}T00:00:00Z",
            until=f"{dates[-1]}T23:59:59Z",
            principals=(principal["principal_arn"],),
            accounts=(account_id,),
        )
    }
    file = io.BytesIO()
    write_activity(activity, file)
    key = f"{principal['prefix']}/activity.ndjson.gz"
    store.put(key, file.getvalue())
    logger.info("activity read", digest_count=len(read), missing=len(days["missing"]))
    return {"outcome": {"bucket": store.bucket, "key": key}, "days": days}


def _merged(
    store: ActivityStore, principal: Principal, dates: list[str]
) -> tuple[Activity, set[str], list[str]]:
    """Return the principal's activity, the days read, and those whose digest is damaged."""
    activity = Activity()
    read: set[str] = set()
    unreadable: list[str] = []
    for day, body in store.digests(principal["account_id"], dates):
        try:
            found = read_activity(io.BytesIO(body), principal=principal["principal_arn"])
        except ActivityFileError as error:
            logger.warning("digest unreadable", date=day, error=str(error))
            unreadable.append(day)
            continue
        # A hundred thousand names of log files, which the digests keep.
        found.objects = set()
        activity.absorb(found)
        read.add(day)
    return activity, read, unreadable
