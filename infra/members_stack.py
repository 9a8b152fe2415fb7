"""The member roles in every account of the organization, also in those that join later.

One stack set with service-managed permissions, from the hub as delegated administrator. It never
reaches the management account: there, ``ByHand/PareMember`` deploys the same template.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk

from infra.member_stack import member_template
from infra.setup import tell_doctor

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

MEMBERS_STACK = "PareMembers"


class MembersStack(cdk.Stack):
    """The stack set. It goes with the stack, and its stacks, with the roles in them, go with it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **kwargs: Any
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: the member roles of every account, by StackSets",
            **kwargs,
        )
        tell_doctor(self)
        stack_set = cdk.CfnStackSet
        body = json.dumps(member_template(settings), separators=(",", ":"))
        stack_set(
            self,
            "MemberRoles",
            stack_set_name=settings.names.stack_set_name,
            description="Pare: the roles that let the hub account read each account's IAM",
            permission_model="SERVICE_MANAGED",
            call_as="DELEGATED_ADMIN",
            capabilities=["CAPABILITY_NAMED_IAM"],  # the hub must spell the roles' names
            template_body=body,
            # An account that joins an organizational unit gets the roles; one that leaves loses
            # them.
            auto_deployment=stack_set.AutoDeploymentProperty(
                enabled=True, retain_stacks_on_account_removal=False
            ),
            # Operations that come at once wait for each other instead of failing.
            managed_execution={"Active": True},
            # Every account at once, and none for another: what an account lacks after all is the
            # doctor's to name. Without it one suspended or locked account would stop the rest.
            operation_preferences=stack_set.OperationPreferencesProperty(
                failure_tolerance_percentage=100,
                max_concurrent_percentage=100,
                region_concurrency_type="PARALLEL",
            ),
            stack_instances_group=[
                stack_set.StackInstancesProperty(
                    deployment_targets=stack_set.DeploymentTargetsProperty(
                        organizational_unit_ids=list(settings.organizational_units)
                    ),
                    # IAM is everywhere the same: a second Region would create the roles twice.
                    regions=[settings.home_region],
                )
            ],
        ).apply_removal_policy(cdk.RemovalPolicy.DESTROY)
