"""What a trail says of itself: whether its files arrive, and what it records.

CloudTrail API reference, GetTrailStatus: LatestDeliveryTime, and LatestDeliveryError where the
files cannot be written to the bucket. Nothing is delivered here, so both come from what CloudTrail
is allowed: by the bucket's policy (user guide, create-s3-bucket-policy-for-cloudtrail) and the
key's (create-kms-key-policy-for-cloudtrail). ministack tells neither.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ministack.core import responses
from ministack.services import cloudtrail, s3

from local.emulator import authorization, key_permissions, upstream

_SERVICE = "cloudtrail.amazonaws.com"
# "CloudTrail typically delivers logs within an average of about 5 minutes of an API call."
_DELIVERED_SECONDS_AGO = 300


def apply() -> None:
    """Put the status and the selectors of trails in place."""
    status, selectors = cloudtrail._get_trail_status, cloudtrail._get_event_selectors

    def get_trail_status(body: dict[str, Any]) -> Any:
        code, headers, text = status(body)
        if code != 200:
            return code, headers, text
        answer = json.loads(text)
        trail = cloudtrail._find_visible_trail(str(body["Name"]).strip())[2]
        answer |= _delivery(trail, answer)
        return code, headers, json.dumps(answer).encode()

    def get_event_selectors(body: dict[str, Any]) -> Any:
        """A member that asks for the organization's trail is answered its selectors."""
        try:
            trail = cloudtrail._find_visible_trail(str(body.get("TrailName", "")).strip())[2]
        except ValueError:
            trail = None
        if trail is None:
            return selectors(body)
        owner = upstream.account_of(trail["TrailARN"])
        with responses.request_scope(owner, responses.get_region()):
            return selectors(body)

    cloudtrail._DISPATCH["GetTrailStatus"] = get_trail_status
    cloudtrail._DISPATCH["GetEventSelectors"] = get_event_selectors


def _delivery(trail: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    error = _delivery_error(trail)
    if error is not None:
        return {"LatestDeliveryError": error, "LatestDigestDeliveryError": error}
    at = int(time.time()) - _DELIVERED_SECONDS_AGO
    if not status["IsLogging"]:
        at = status.get("StopLoggingTime", at)
    delivered = {"LatestDeliveryTime": at}
    if trail.get("LogFileValidationEnabled"):
        delivered["LatestDigestDeliveryTime"] = at
    return delivered


def _delivery_error(trail: dict[str, Any]) -> str | None:
    """Return S3's error that CloudTrail meets when it writes a file; None where it can."""
    bucket, arn = str(trail["S3BucketName"]), str(trail["TrailARN"])
    owner = s3._bucket_owner_account(bucket)
    if owner is None:
        return "NoSuchBucket"
    with responses.request_scope(owner, responses.get_region()):
        policy = s3._bucket_policies.get(bucket)
    account_id = upstream.account_of(arn)
    prefix = f"{trail['S3KeyPrefix'].strip('/')}/" if trail.get("S3KeyPrefix") else ""
    folder = account_id
    if trail.get("IsOrganizationTrail"):
        folder = str((upstream.organization_of(account_id) or {}).get("Id", account_id))
    path = f"{prefix}AWSLogs/{folder}/{account_id}/CloudTrail/file.json.gz"
    written = {
        "s3:x-amz-acl": "bucket-owner-full-control",
        "aws:SourceArn": arn,
        "aws:SourceAccount": account_id,
    }
    if policy is None or authorization.service_denied(
        _SERVICE, "s3:PutObject", f"arn:aws:s3:::{bucket}/{path}", policy, written
    ):
        return "AccessDenied"
    if not trail.get("KmsKeyId"):
        return None
    key = key_permissions.find(str(trail["KmsKeyId"]), account_id)
    if key is None:
        return "KMS.NotFoundException"
    encrypted = {"kms:EncryptionContext:aws:cloudtrail:arn": arn, "aws:SourceArn": arn}
    if authorization.service_denied(
        _SERVICE, "kms:GenerateDataKey", key.arn, key.policy, encrypted
    ):
        return "KMS.AccessDeniedException"  # M
    return None
