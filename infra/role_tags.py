"""What Pare's own roles say of themselves: whose they are, and that they are Pare's.

The inventory asks every role for its owner, and would call a step idle that waits for rare events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Tags

if TYPE_CHECKING:
    from constructs import IConstruct

    from infra.settings import Settings

ROLES = ["AWS::IAM::Role"]
# As pare/inventory/flags.py reads it.
OWN_TAG, OWN = "pare:part-of", "pare"


def tag_roles(scope: IConstruct, settings: Settings) -> None:
    """Tag every role below with the first owner tag and default owner, and as Pare's own."""
    owner = settings.notifications.default_owner
    Tags.of(scope).add(settings.owner_tag_keys[0], owner, include_resource_types=ROLES)
    Tags.of(scope).add(OWN_TAG, OWN, include_resource_types=ROLES)
