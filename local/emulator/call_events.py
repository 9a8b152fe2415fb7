"""CloudTrail's event of a call: "AWS API Call via CloudTrail" on the default bus of its Region.

EventBridge user guide, eb-service-event-cloudtrail: the source is that of the service, the detail
is the record as CloudTrail logs it, and a trail that logs management events must exist.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from local.emulator import upstream
from local.emulator.finding_events import ServiceEvent
from local.emulator.shapes import to_json

if TYPE_CHECKING:
    from datetime import datetime

    from local.emulator.caller import Caller
    from local.emulator.wire import AwsError, Request


def call_event(
    caller: Caller,
    service: str,
    operation: str,
    params: dict[str, Any],
    request: Request,
    error: AwsError | None,
    now: datetime,
) -> ServiceEvent:
    """Return the event of a call, refused ones with their error."""
    record: dict[str, Any] = {
        "eventVersion": "1.11",
        "userIdentity": _identity(caller),
        "eventTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{service}.amazonaws.com",
        "eventName": operation,
        "awsRegion": caller.region,
        "sourceIPAddress": request.client_host,
        "userAgent": request.headers.get("user-agent", ""),
        "requestParameters": to_json(params),
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": caller.account_id,
        "eventCategory": "Management",
    }
    if error is not None:
        code = error.code.removesuffix("Exception") if error.status == 403 else error.code
        record |= {"errorCode": code, "errorMessage": error.message}
    return ServiceEvent(
        account_id=caller.account_id,
        region=caller.region,
        source=f"aws.{service}",
        detail_type="AWS API Call via CloudTrail",
        resources=(),
        detail=record,
    )


def _identity(caller: Caller) -> dict[str, Any]:
    identity = caller.identity
    who: dict[str, Any] = {
        "type": {"User": "IAMUser"}.get(identity.kind, identity.kind),
        "arn": caller.arn,
        "accountId": caller.account_id,
        "accessKeyId": identity.access_key_id,
    }
    if identity.kind == "User":
        who["userName"] = caller.arn.rpartition("/")[2]
    if identity.kind == "AssumedRole":
        name = caller.arn.split("/")[1]
        role = upstream.role_named(name, caller.account_id)
        who["principalId"] = f"{role.get('RoleId', name)}:{caller.arn.rpartition('/')[2]}"
        who["sessionContext"] = {
            "sessionIssuer": {
                "type": "Role",
                "principalId": role.get("RoleId", name),
                "arn": role.get("Arn", f"arn:aws:iam::{caller.account_id}:role/{name}"),
                "accountId": caller.account_id,
                "userName": name,
            }
        }
    return who
