"""The two roles each account gets: the hub's way in, and Access Analyzer's service role.

No assets, no macros, no bootstrap: StackSets take the same template (facts §6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.member_access import caller_role_arns
from infra.nag import WILDCARD, explain

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

# What reading one principal, or all of an account, takes.
READ_PRINCIPALS = {
    "role": [
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies",
        "iam:ListRolePolicies",
    ],
    "user": [
        "iam:GetUser",
        "iam:GetUserPolicy",
        "iam:ListAccessKeys",
        "iam:ListAttachedUserPolicies",
        "iam:ListGroupsForUser",
        "iam:ListUserPolicies",
    ],
    "group": ["iam:GetGroupPolicy", "iam:ListAttachedGroupPolicies", "iam:ListGroupPolicies"],
    "policy": ["iam:GetPolicy", "iam:GetPolicyVersion"],
}
PLURALS = {"role": "Roles", "user": "Users", "group": "Groups", "policy": "Policies"}
# These take no resource: AWS allows nothing narrower (Service Authorization Reference, iam,
# access-analyzer and tag).
WITHOUT_RESOURCE = [
    "access-analyzer:CancelPolicyGeneration",
    "access-analyzer:GetGeneratedPolicy",
    "access-analyzer:ListPolicyGenerations",
    "access-analyzer:StartPolicyGeneration",
    "iam:GenerateCredentialReport",
    "iam:GetAccountAuthorizationDetails",
    "iam:GetCredentialReport",
    "iam:GetServiceLastAccessedDetails",
    "iam:ListAccountAliases",
    # Of a finding's resource, whatever its service: reads tags, and those alone.
    "tag:GetResources",
]


class MemberStack(cdk.Stack):
    """Read-only on IAM, tags and contacts, plus policy generation. The hub can change nothing."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, **kwargs: Any
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            description="Pare: the roles that let the hub account read this account's IAM",
            **kwargs,
        )
        access_role = self._access_role(settings)
        self._member_role(settings, access_role)

    def _iam_arn(self, kind: str, *, account: str | None = None) -> str:
        return f"arn:{cdk.Aws.PARTITION}:iam::{account or cdk.Aws.ACCOUNT_ID}:{kind}/*"

    def _member_role(self, settings: Settings, access_role: iam.Role) -> None:
        role = iam.Role(
            self,
            "MemberRole",
            role_name=settings.names.member_role_name,
            description="Pare reads IAM, tags and contacts here, and starts policy generation",
            max_session_duration=cdk.Duration.hours(1),
            assumed_by=iam.PrincipalWithConditions(
                iam.AccountPrincipal(settings.hub_account_id),
                {
                    "StringEquals": {
                        "aws:PrincipalOrgID": settings.organization_id,
                        "sts:ExternalId": settings.member_external_id,
                    },
                    # Named functions of the hub, not the whole account.
                    "ArnEquals": {"aws:PrincipalArn": caller_role_arns(settings)},
                },
            ),
        )
        for kind, actions in READ_PRINCIPALS.items():
            resources = [self._iam_arn(kind)]
            if kind == "policy":
                resources.append(self._iam_arn(kind, account="aws"))
            role.add_to_policy(
                iam.PolicyStatement(
                    sid=f"Read{PLURALS[kind]}", actions=actions, resources=resources
                )
            )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="GenerateLastAccessed",
                actions=["iam:GenerateServiceLastAccessedDetails"],
                resources=[self._iam_arn("role"), self._iam_arn("user")],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(sid="WithoutResource", actions=WITHOUT_RESOURCE, resources=["*"])
        )
        # Who answers for what nobody's tag names.
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ReadAlternateContact",
                actions=["account:GetAlternateContact"],
                resources=[f"arn:{cdk.Aws.PARTITION}:account::{cdk.Aws.ACCOUNT_ID}:account"],
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="PassAccessRole",
                actions=["iam:PassRole"],
                resources=[access_role.role_arn],
                conditions={
                    "StringEquals": {"iam:PassedToService": "access-analyzer.amazonaws.com"}
                },
            )
        )
        explain(
            role,
            WILDCARD,
            "Pare reads every user, role, group and policy of the account: that is its work.",
            *(
                f"Resource::arn:<AWS::Partition>:iam::<AWS::AccountId>:{kind}/*"
                for kind in READ_PRINCIPALS
            ),
            "Resource::arn:<AWS::Partition>:iam::aws:policy/*",
        )
        explain(
            role,
            WILDCARD,
            "These actions take no resource (Service Authorization Reference).",
            "Resource::*",
        )

    def _access_role(self, settings: Settings) -> iam.Role:
        """Return Access Analyzer's service role; its permissions are the ones AWS documents.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html
        """
        names, trail = settings.names, settings.trail
        bucket = f"arn:{cdk.Aws.PARTITION}:s3:::{trail.bucket}"
        # This account's own log files: in the log archive account, more would be every account's.
        own = f"AWSLogs/{settings.organization_id}/{cdk.Aws.ACCOUNT_ID}/*"
        logs = f"{trail.prefix.strip('/')}/{own}" if trail.prefix else own
        role = iam.Role(
            self,
            "AccessRole",
            path=names.access_role_path,
            role_name=names.access_role_name,
            description="Access Analyzer reads this account's CloudTrail for policy generation",
            # AWS documents this trust without conditions; which keys it sends is not said.
            assumed_by=iam.ServicePrincipal("access-analyzer.amazonaws.com"),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="WithoutResource",
                actions=[
                    "cloudtrail:GetTrail",
                    "iam:GenerateServiceLastAccessedDetails",
                    "iam:GetServiceLastAccessedDetails",
                ],
                resources=["*"],  # as AWS documents it for this role
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ListTrailBucket", actions=["s3:ListBucket"], resources=[bucket]
            )
        )
        role.add_to_policy(
            iam.PolicyStatement(
                sid="ReadLogFiles", actions=["s3:GetObject"], resources=[f"{bucket}/{logs}"]
            )
        )
        if trail.kms_key_arn:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="DecryptLogFiles", actions=["kms:Decrypt"], resources=[trail.kms_key_arn]
                )
            )
        explain(
            role,
            WILDCARD,
            "The permissions AWS documents for this role; log files have made-up names.",
            "Resource::*",
            f"Resource::{bucket}/{logs}",
        )
        return role
