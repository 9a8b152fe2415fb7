"""Subscriptions of e-mail addresses wait until somebody follows the link in the mail.

SNS API reference, Subscribe ("if the endpoint type is HTTP/S or email … the endpoint owner must run
ConfirmSubscription") and ListSubscriptionsByTopic, whose SubscriptionArn is PendingConfirmation
till then; nothing is sent before. ministack takes e-mail subscriptions as confirmed.
"""

from __future__ import annotations

import re
from typing import Any

from ministack.services import sns
from ministack.services.cloudformation import provisioners

_PENDING = "PendingConfirmation"
_BY_MAIL = frozenset({"email", "email-json"})
_MEMBER_ARN = re.compile(r"<SubscriptionArn>([^<]+)</SubscriptionArn>")


def apply() -> None:
    """Put it in place."""
    _subscriptions_wait()
    _lists_tell_pending()


def confirm(topic_arn: str, endpoint: str) -> None:
    """Confirm an address's subscription, as whoever reads its mail; ValueError: there is none."""
    topic = sns._topic_by_arn_any_scope(topic_arn)
    found = [
        each
        for each in (topic or {}).get("subscriptions", [])
        if each["endpoint"] == endpoint and each["protocol"] in _BY_MAIL
    ]
    if topic is None or not found:
        raise ValueError(f"{topic_arn!r} has no subscription of the address {endpoint!r}")
    for each in found:
        each["confirmed"] = True
        each["attributes"][_PENDING] = "false"
    sns._refresh_subscription_counts(topic)


def _subscriptions_wait() -> None:
    subscribe = sns._subscribe
    handler = provisioners._RESOURCE_HANDLERS["AWS::SNS::Subscription"]
    create = handler["create"]

    def subscribe_and_wait(params: dict[str, Any]) -> Any:
        topic_arn = sns._p(params, "TopicArn")
        before = {each["arn"] for each in _subscriptions(topic_arn)}
        status, headers, body = subscribe(params)
        made = [each for each in _subscriptions(topic_arn) if each["arn"] not in before]
        for each in made:
            _wait(topic_arn, each)
        if made and not made[0]["confirmed"] and sns._p(params, "ReturnSubscriptionArn") != "true":
            body = _MEMBER_ARN.sub(
                "<SubscriptionArn>pending confirmation</SubscriptionArn>", body.decode()
            ).encode()
        return status, headers, body

    def create_subscription(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        created = create(logical_id, props, stack_name)
        topic_arn = str(props.get("TopicArn", ""))
        for each in _subscriptions(topic_arn):
            if each["arn"] == created[0]:
                _wait(topic_arn, each)
        return created

    sns._subscribe = subscribe_and_wait
    handler["create"] = create_subscription


def _lists_tell_pending() -> None:
    def told(listing: Any) -> Any:
        def tell(params: dict[str, Any]) -> Any:
            status, headers, body = listing(params)
            return status, headers, _MEMBER_ARN.sub(_as_listed, body.decode()).encode()

        return tell

    sns._list_subscriptions = told(sns._list_subscriptions)
    sns._list_subscriptions_by_topic = told(sns._list_subscriptions_by_topic)


def _as_listed(found: re.Match[str]) -> str:
    arn = found[1]
    topic_arn = sns._sub_arn_to_topic.get(arn)
    waits = any(
        each["arn"] == arn and not each["confirmed"] for each in _subscriptions(topic_arn or "")
    )
    return f"<SubscriptionArn>{_PENDING}</SubscriptionArn>" if waits else found[0]


def _wait(topic_arn: str, subscription: dict[str, Any]) -> None:
    if subscription["protocol"] not in _BY_MAIL:
        return
    subscription["confirmed"] = False
    subscription["attributes"][_PENDING] = "true"
    topic = sns._topic_by_arn_any_scope(topic_arn)
    if topic is not None:
        sns._refresh_subscription_counts(topic)


def _subscriptions(topic_arn: str) -> list[dict[str, Any]]:
    topic = sns._topic_by_arn_any_scope(topic_arn) if topic_arn else None
    return list((topic or {}).get("subscriptions", []))
