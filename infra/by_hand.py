"""What other accounts deploy by hand: of the same app, and not of ``cdk deploy --all``.

The CDK CLI takes the stacks of the app itself for ``--all``, and those of a stage only by their
path: ``npx cdk deploy ByHand/PareMember --profile management``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk

from infra.log_archive_stack import LogArchiveStack
from infra.member_stack import MEMBER_STACK, MemberStack, template_hash
from infra.role_tags import tag_roles

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

BY_HAND = "ByHand"
LOG_ARCHIVE_STACK = "PareLogArchive"


class ByHand(cdk.Stage):
    """PareMember for the management account, PareLogArchive for the log archive account.

    Where ``member_stacks`` is ``by-hand``, PareMember is for every account.
    """

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(scope, BY_HAND)
        MemberStack(
            self,
            MEMBER_STACK,
            settings=settings,
            digest=template_hash(settings),
            # Whatever account the credentials are of, and one Region: roles are global, and in a
            # second Region a second stack would find their names taken.
            env=cdk.Environment(region=settings.home_region),
        )
        LogArchiveStack(
            self,
            LOG_ARCHIVE_STACK,
            settings=settings,
            stack_name=LOG_ARCHIVE_STACK,
            # Nobody need have bootstrapped that account (ADR 8).
            synthesizer=cdk.LegacyStackSynthesizer(),
            env=cdk.Environment(
                account=settings.log_archive_account_id, region=settings.trail.bucket_region
            ),
        )
        # CDK's tags do not go from an app into its stages.
        tag_roles(self, settings)
