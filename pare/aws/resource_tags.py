"""Tags of resources of every kind, as the Resource Groups Tagging API tells them."""

from __future__ import annotations

from typing import Any

from pare.aws.calls import translated


def resource_tags(tagging: Any, arn: str, *, account_id: str) -> dict[str, str]:
    """Return the tags of a resource; none where it has none, or never had one.

    ``tagging`` is a client of that API in the account and Region of the resource. Raises
    MemberAccountError where the read is refused, AwsCallError for what is no ARN to that API.
    https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
    """
    tags: dict[str, str] = {}
    with translated("tag:GetResources", account_id=account_id):
        for page in tagging.get_paginator("get_resources").paginate(ResourceARNList=[arn]):
            for found in page["ResourceTagMappingList"]:
                if found.get("ResourceARN") == arn:
                    tags |= {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    return tags
