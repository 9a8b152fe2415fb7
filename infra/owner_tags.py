"""Whose Pare's own roles are: the inventory asks every role for its owner, and these answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Tags

if TYPE_CHECKING:
    from constructs import IConstruct

    from infra.settings import Settings


def tag_roles(scope: IConstruct, settings: Settings) -> None:
    """Tag every role below with the settings' first owner tag and default owner."""
    Tags.of(scope).add(
        settings.owner_tag_keys[0],
        settings.notifications.default_owner,
        include_resource_types=["AWS::IAM::Role"],
    )
