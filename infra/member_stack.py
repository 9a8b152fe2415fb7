"""The two roles each account gets: the hub's way in, and Access Analyzer's service role.

No assets, no macros, no bootstrap: StackSets take the same template (facts §6, ADR 16).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from infra.member_access import caller_role_arns
from infra.nag import WILDCARD, explain
from infra.role_tags import tag_roles
from pare.member_rights import ACCOUNT

if TYPE_CHECKING:
    from constructs import Construct

    from infra.settings import Settings

MEMBER_STACK = "PareMember"
# Of the member role: which template it was made by.
TEMPLATE_TAG = "pare:member-template"
CDK_SETTINGS = Path(__file__).parents[1] / "cdk.json"

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


# What the doctor looks at: of the bucket in the log archive account, of its keys and of the trail
# where these are. In every other account it grants nothing: one template for all (ADR 16).
READ_TRAIL_BUCKET = [
    "s3:GetBucketAcl",  # for its owner alone
    "s3:GetBucketLocation",
    "s3:GetBucketOwnershipControls",
    "s3:GetBucketPolicy",
    "s3:GetEncryptionConfiguration",
]
READ_TRAIL_KEYS = ["kms:DescribeKey", "kms:GetKeyPolicy"]
READ_TRAIL = ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"]


def member_template(settings: Settings) -> dict[str, Any]:
    """Return the template that StackSets carry, and that PareMember deploys by hand."""
    body: dict[str, Any] = json.loads(_synthesized(settings, template_hash(settings)))
    return body


def template_hash(settings: Settings) -> str:
    """Return what tells one member template from another: 12 hexadecimal digits.

    Of the template without the tag that carries them.
    """
    text = json.dumps(json.loads(_synthesized(settings, None)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def member_rights(settings: Settings) -> str:
    """Return the inline policies that the template gives the member role, as JSON.

    The id of its own account is ``ACCOUNT``: whoever compares knows it (``pare.member_rights``).
    """
    resources: dict[str, Any] = member_template(settings)["Resources"]
    (role_id,) = (
        logical_id
        for logical_id, each in resources.items()
        if each["Properties"].get("RoleName") == settings.names.member_role_name
    )
    policies = [
        each["Properties"]["PolicyDocument"]
        for each in resources.values()
        if each["Type"] == "AWS::IAM::Policy" and {"Ref": role_id} in each["Properties"]["Roles"]
    ]

    def resolved(value: Any) -> Any:
        """Return a value of the template as CloudFormation hands it to IAM."""
        if isinstance(value, list):
            return [resolved(each) for each in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": "AWS::Partition"}:
                return settings.partition
            case {"Ref": "AWS::AccountId"}:
                return ACCOUNT
            case {"Fn::Join": [str(between), parts]}:
                return between.join(resolved(each) for each in parts)
            case {"Fn::GetAtt": [logical_id, "Arn"]}:
                role = resources[logical_id]["Properties"]
                path, name = role.get("Path", "/"), role["RoleName"]
                return f"arn:{settings.partition}:iam::{ACCOUNT}:role{path}{name}"
        return {name: resolved(each) for name, each in value.items()}

    return json.dumps([resolved(each) for each in policies], sort_keys=True)


def _synthesized(settings: Settings, digest: str | None) -> str:
    """Return the template of a MemberStack in an app of its own, with CDK's flags of cdk.json."""
    # Archive rules are not in it, and cannot be a key of the cache.
    return _synthesized_once(replace(settings, archive_rules=()), digest)


@cache
def _synthesized_once(settings: Settings, digest: str | None) -> str:
    context = json.loads(CDK_SETTINGS.read_text(encoding="utf-8"))["context"]
    with TemporaryDirectory() as folder:
        app = cdk.App(context=context, outdir=folder)
        stack = MemberStack(app, MEMBER_STACK, settings=settings, digest=digest)
        tag_roles(app, settings)
        app.synth()
        return (Path(folder) / stack.template_file).read_text(encoding="utf-8")


class MemberStack(cdk.Stack):
    """Read-only on IAM, tags and contacts, plus policy generation. The hub can change nothing.

    ``digest``: the template's own hash, which the member role carries as a tag.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        digest: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            stack_name=MEMBER_STACK,
            description="Pare: the roles that let the hub account read this account's IAM",
            # Of CDK's synthesizers, only this one sends the template itself instead of publishing
            # it to a bootstrap bucket (ADR 8).
            synthesizer=cdk.LegacyStackSynthesizer(),
            # What the CDK CLI adds of its own would make another template of it: a resource that
            # names CDK's version, and each construct's path.
            analytics_reporting=False,
            **kwargs,
        )
        self.node.set_context("aws:cdk:enable-path-metadata", False)
        access_role = self._access_role(settings)
        member_role = self._member_role(settings, access_role)
        self._let_doctor_read(settings, member_role)
        if digest is not None:
            cdk.Tags.of(member_role).add(TEMPLATE_TAG, digest)

    def _iam_arn(self, kind: str, *, account: str | None = None) -> str:
        return f"arn:{cdk.Aws.PARTITION}:iam::{account or cdk.Aws.ACCOUNT_ID}:{kind}/*"

    def _member_role(self, settings: Settings, access_role: iam.Role) -> iam.Role:
        role = iam.Role(
            self,
            "MemberRole",
            role_name=settings.names.member_role_name,
            description="Pare reads IAM, tags and contacts here, and starts policy generation",
            max_session_duration=cdk.Duration.hours(1),
            assumed_by=iam.PrincipalWithConditions(
                # Not an AccountPrincipal: that one names the partition where the Region is known,
                # and the template would be another one by hand than by the stack set.
                iam.ArnPrincipal(f"arn:{cdk.Aws.PARTITION}:iam::{settings.hub_account_id}:root"),
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
        return role

    def _let_doctor_read(self, settings: Settings, role: iam.Role) -> None:
        """Let the doctor look at the trail, its bucket and its keys, where they are."""
        trail = settings.trail
        for sid, actions, resources in (
            ("ReadTrailBucket", READ_TRAIL_BUCKET, [_bucket_arn(settings)]),
            ("ReadTrailKeys", READ_TRAIL_KEYS, list(trail.kms_key_arns)),
            ("ReadTrail", READ_TRAIL, [trail.arn.format(account_id=cdk.Aws.ACCOUNT_ID)]),
        ):
            if resources:
                role.add_to_policy(
                    iam.PolicyStatement(sid=sid, actions=actions, resources=resources)
                )

    def _access_role(self, settings: Settings) -> iam.Role:
        """Return Access Analyzer's service role; its permissions are the ones AWS documents.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html
        """
        names, trail = settings.names, settings.trail
        bucket = _bucket_arn(settings)
        # This account's own log files: in the log archive account, more would be every account's.
        organization = f"{settings.organization_id}/" if trail.is_organization_trail else ""
        own = f"AWSLogs/{organization}{cdk.Aws.ACCOUNT_ID}/*"
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
        if trail.kms_key_arns:
            role.add_to_policy(
                iam.PolicyStatement(
                    sid="DecryptLogFiles",
                    actions=["kms:Decrypt"],
                    resources=list(trail.kms_key_arns),
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


def _bucket_arn(settings: Settings) -> str:
    return f"arn:{cdk.Aws.PARTITION}:s3:::{settings.trail.bucket}"
