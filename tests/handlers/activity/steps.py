"""The steps as the workflow chains them, for tests of one of them that need what others wrote."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from lambdas.activity.count_activity import lambda_handler as count_activity
from lambdas.activity.digest_logs import lambda_handler as digest_logs
from lambdas.activity.list_logs import lambda_handler as list_logs
from lambdas.activity.merge_activity import lambda_handler as merge_activity
from pare.cloudtrail.activity_file import read_activity
from pare.errors import ActivityConflictError
from tests.handlers.fake_aws import HUB, MEMBER, REGION

if TYPE_CHECKING:
    from pare.aws.activity_store import ActivityStore
    from pare.cloudtrail.activity import Activity

NIGHT = {"scheduled_at": "2026-11-21T04:00:00Z"}  # reads the 18th to the 20th


def execution(name: str) -> str:
    return f"arn:aws:states:{REGION}:{HUB}:execution:Activity:{name}"


def listed(context: Any, state: dict[str, Any], name: str = "night-1") -> Any:
    return list_logs({"state": state, "execution": execution(name)}, context)


def items(store: ActivityStore, output: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(store.get(output["manifest"]["key"]))
    return found


def read(context: Any, item: dict[str, Any]) -> dict[str, Any]:
    """Do what the map does with an account, and return its last state."""
    state: Any = dict(item)
    while True:
        state["digested"] = digest_logs(state, context)
        if not state["digested"]["is_complete"]:
            continue
        try:
            state["merged"] = merge_activity(state, context)
        except ActivityConflictError as error:
            state["digested"] = {"Error": "ActivityConflictError", "Cause": str(error)}
            continue
        return dict(state)


def run(
    context: Any, store: ActivityStore, state: dict[str, Any] | None = None, name: str = "night-1"
) -> Any:
    """Do what the workflow does, and return what ``Count activity`` said at last."""
    state = dict(state or NIGHT)
    while True:
        state["listed"] = listed(context, state, name)
        for item in items(store, state["listed"]):
            read(context, item)
        state["counted"] = count_activity(
            {"listed": state["listed"], "state": state, "execution": execution(name)}, context
        )
        if not state["counted"]["has_more"]:
            return state["counted"]


def digest(store: ActivityStore, date: str, account_id: str = MEMBER) -> Activity:
    """Return a committed digest."""
    committed = store.committed(date, account_id)
    assert committed is not None
    return read_activity(io.BytesIO(committed.body))


def bodies(store: ActivityStore) -> dict[str, bytes]:
    """Return the content of every committed digest by its key."""
    listed = store.s3.list_objects_v2(Bucket=store.bucket, Prefix="activity/date=")
    return {each["Key"]: store.get(each["Key"]) for each in listed.get("Contents", [])}
