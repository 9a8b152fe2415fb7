"""Whoever uses an encrypted resource needs the key too.

ministack stores which customer managed key encrypts an object, item, message or queue, and never
asks whether the caller may use it, so a forgotten grant on the key does not show.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ministack.core import responses, router
from ministack.services import cloudtrail, dynamodb, kms, s3, sns, sqs

from local.emulator import authorization, upstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.emulator.authorization import Principal

    Answer = tuple[int, dict[str, str], Any]

_KEY_ID = "x-amz-server-side-encryption-aws-kms-key-id"
ITEMS = frozenset(
    {
        "BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan",
        "TransactGetItems", "TransactWriteItems", "UpdateItem",
    }
)  # fmt: skip
SEND = ("kms:GenerateDataKey", "kms:Decrypt")


@dataclass(frozen=True, slots=True)
class Key:
    """A customer managed key, with its policy."""

    arn: str
    policy: Any


def apply() -> None:
    """Put the checks in place."""
    objects_need_their_key()
    items_need_their_key()
    messages_need_their_key()
    queues_need_their_key()
    services_need_the_key_of_a_queue()


def denied(
    principal: Principal,
    actions: Iterable[str],
    key: Key | None,
    service: str,
    context: dict[str, str] | None = None,
) -> str | None:
    """Return the first denial of the actions on the key, through the service; None if allowed."""
    if key is None:
        return None
    for action in actions:
        message = authorization.denied(
            principal,
            action,
            key.arn,
            {
                "kms:ViaService": f"{service}.{responses.get_region()}.amazonaws.com",
                "kms:CallerAccount": principal.account_id,
                **(context or {}),
            },
            (key.policy, upstream.account_of(key.arn)),
        )
        if message is not None:
            return message
    return None


def service_denied(service: str, key: Key | None) -> bool:
    """Return whether the key's policy keeps an AWS service from using it."""
    return key is not None and any(
        authorization.service_denied(service, action, key.arn, key.policy) for action in SEND
    )


def find(reference: str | None, account_id: str) -> Key | None:
    """Return the customer managed key behind an id, alias or ARN; None for a key of AWS's."""
    if not reference:
        return None
    parts = reference.split(":", 5)
    region = responses.get_region()
    if len(parts) == 6:
        region, account_id = parts[3], parts[4]
    with responses.request_scope(account_id, region):
        record = kms._resolve_key(reference)
    if record is None:
        return None  # alias/aws/…: ministack keeps no record of the keys AWS manages
    return Key(str(record["Arn"]), record.get("Policy") or "")


def table_key(arn: str) -> Key | None:
    """Return the key of a DynamoDB table."""
    parts = arn.split(":", 5)
    name = parts[5].partition("/")[2].partition("/")[0]
    table = dynamodb._tables.get_scoped(parts[4], parts[3], name) or {}
    description = table.get("SSEDescription") or {}
    if description.get("Status") != "ENABLED":
        return None
    return find(description.get("KMSMasterKeyArn"), parts[4])


def topic_key(arn: str) -> Key | None:
    """Return the key of an SNS topic."""
    topic = sns._topic_by_arn_any_scope(arn) or {}
    return find((topic.get("attributes") or {}).get("KmsMasterKeyId"), upstream.account_of(arn))


def queue_key(arn: str) -> Key | None:
    """Return the key of an SQS queue."""
    queue = sqs._queue_by_arn(arn) or {}
    return find((queue.get("attributes") or {}).get("KmsMasterKeyId"), upstream.account_of(arn))


def _caller(headers: dict[str, str], query_params: Any) -> Principal | None:
    access_key_id = router.extract_access_key_id(headers, query_params)
    if not access_key_id:
        return None
    return authorization.principal_of_key(access_key_id, responses.get_account_id())


def objects_need_their_key() -> None:
    """Reading an object encrypted with a key needs kms:Decrypt, writing one kms:GenerateDataKey.

    S3 user guide, UsingKMSEncryption (permissions). The error is S3's AccessDenied.
    """
    handle, resolve = s3.handle_request, s3._resolve_sse_write_headers

    async def handle_request(
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Answer:
        caller = None if kwargs.get("internal") else _caller(headers, query_params)
        account_id, region = responses.get_account_id(), responses.get_region()
        answer: Answer = await handle(method, path, headers, body, query_params, *args, **kwargs)
        key_id = {k.lower(): v for k, v in answer[1].items()}.get(_KEY_ID)
        if caller is None or method != "GET" or not key_id or answer[0] not in {200, 206}:
            return answer
        owner = responses.get_account_id()  # the bucket's, once the handler has found it
        with responses.request_scope(account_id, region):
            key = find(key_id, owner)
            context = _of_object(*path.lstrip("/").partition("/")[::2])
            message = denied(caller, ["kms:Decrypt"], key, "s3", context)
        return answer if message is None else s3._error("AccessDenied", message, 403)

    def resolve_sse_write_headers(headers: dict[str, str], bucket: str) -> tuple[Any, Any]:
        found, error = resolve(headers, bucket)
        key_id = (found or {}).get(_KEY_ID)
        caller = _caller(headers, None) if key_id else None
        if error is None and caller is not None:
            key = find(key_id, responses.get_account_id())
            context = {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}"}
            message = denied(caller, ["kms:GenerateDataKey"], key, "s3", context)
            if message is not None:
                return None, s3._error("AccessDenied", message, 403)
        return found, error

    s3.handle_request = handle_request
    s3._resolve_sse_write_headers = resolve_sse_write_headers


def _of_object(bucket: str, object_key: str) -> dict[str, str]:
    """Return the encryption context of an object; of CloudTrail's files it is the trail's ARN.

    CloudTrail user guide, create-kms-key-policy-for-cloudtrail.
    """
    for trail in cloudtrail._trails.all_values():
        prefix = f"{trail['S3KeyPrefix'].strip('/')}/" if trail.get("S3KeyPrefix") else ""
        folder = f"{prefix}AWSLogs/"
        if not trail.get("IsOrganizationTrail"):
            folder += f"{upstream.account_of(trail['TrailARN'])}/"
        if trail.get("S3BucketName") == bucket and object_key.startswith(folder):
            return {"kms:EncryptionContext:aws:cloudtrail:arn": str(trail["TrailARN"])}
    return {"kms:EncryptionContext:aws:s3:arn": f"arn:aws:s3:::{bucket}/{object_key}"}


def items_need_their_key() -> None:
    """Using the items of a table encrypted with a customer managed key needs kms:Decrypt.

    DynamoDB developer guide, encryption.usagenotes: the caller's permission on the key is asked
    through dynamodb.
    """
    handle = dynamodb.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any
    ) -> Answer:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        caller = _caller(headers, query_params) if action in ITEMS else None
        for arn in _table_arns(body) if caller is not None else ():
            assert caller is not None
            message = denied(caller, ["kms:Decrypt"], table_key(arn), "dynamodb", _of_table(arn))
            if message is not None:
                answer = {"__type": "AccessDeniedException", "message": message}
                kind = {"Content-Type": "application/x-amz-json-1.0"}
                return 400, kind, json.dumps(answer).encode()
        result: Answer = await handle(method, path, headers, body, query_params)
        return result

    dynamodb.handle_request = handle_request


def _of_table(arn: str) -> dict[str, str]:
    return {
        "kms:EncryptionContext:aws:dynamodb:tableName": arn.rpartition("/")[2],
        "kms:EncryptionContext:aws:dynamodb:subscriberId": upstream.account_of(arn),
    }


def _table_arns(body: bytes) -> list[str]:
    try:
        data = json.loads(body or b"{}")
    except ValueError:
        return []
    names: set[str] = set(data.get("RequestItems") or {})
    for item in data.get("TransactItems") or []:
        names |= {str(entry.get("TableName")) for entry in item.values() if isinstance(entry, dict)}
    if data.get("TableName"):
        names.add(str(data["TableName"]))
    prefix = f"arn:aws:dynamodb:{responses.get_region()}:{responses.get_account_id()}:table/"
    return sorted(name if name.startswith("arn:") else f"{prefix}{name}" for name in names)


def messages_need_their_key() -> None:
    """Publishing to an encrypted topic needs kms:GenerateDataKey and kms:Decrypt.

    SNS developer guide, sns-key-management (permissions of publishers). KMSAccessDenied.
    """
    handle = sns.handle_request

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any
    ) -> Answer:
        form = upstream.form(body, query_params)
        topic = form.get("TopicArn") or form.get("TargetArn") or ""
        if form.get("Action") in {"Publish", "PublishBatch"} and topic.count(":") == 5:
            caller, key = _caller(headers, query_params), topic_key(topic)
            message = None if caller is None else denied(caller, SEND, key, "sns")
            if message is not None:
                refusal: Answer = sns._error("KMSAccessDenied", message, 400)
                return refusal
        answer: Answer = await handle(method, path, headers, body, query_params)
        return answer

    sns.handle_request = handle_request


def queues_need_their_key() -> None:
    """Sending to an encrypted queue needs GenerateDataKey and Decrypt, receiving Decrypt.

    SQS developer guide, sqs-key-management; the error is KmsAccessDenied.
    """
    dispatch = sqs._dispatch
    needs = {
        "SendMessage": SEND,
        "SendMessageBatch": SEND,
        "ReceiveMessage": ("kms:Decrypt",),
    }
    handle = sqs.handle_request
    calling: ContextVar[Principal | None] = ContextVar("pare_sqs_caller", default=None)

    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: Any
    ) -> Answer:
        token = calling.set(_caller(headers, query_params))
        try:
            answer: Answer = await handle(method, path, headers, body, query_params)
        finally:
            calling.reset(token)
        return answer

    async def dispatch_with_key(action: str, data: dict[str, Any], url: str) -> Any:
        caller = calling.get()
        if caller is not None and action in needs:
            arn = upstream.queue_arn(str(data.get("QueueUrl") or url))
            message = denied(caller, needs[action], queue_key(arn), "sqs")
            if message is not None:
                raise sqs._Err("KmsAccessDenied", message)
        return await dispatch(action, data, url)

    sqs.handle_request = handle_request
    sqs._dispatch = dispatch_with_key


def services_need_the_key_of_a_queue() -> None:
    """SNS and S3 deliver to an encrypted queue only if the key's policy lets them.

    SNS developer guide, sns-enable-encryption-for-topic-sqs-queue-subscriptions.
    """
    allows = sqs.queue_policy_allows

    def queue_policy_allows(
        queue_arn: str, service: str, source_arn: str, source_account: str
    ) -> bool:
        if not allows(queue_arn, service, source_arn, source_account):
            return False
        return not service_denied(service, queue_key(queue_arn))

    sqs.queue_policy_allows = queue_policy_allows
