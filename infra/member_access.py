"""How the hub enters a member account: who may, by which role, under which names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Aws

if TYPE_CHECKING:
    from infra.settings import Settings

# The steps that enter member accounts. Only their roles have fixed names, because the member
# role's trust policy, in another account, must spell them.
MEMBER_CALLERS = (
    "EnrichFinding",
    "ResolvePrincipal",
    "StartPolicyGeneration",
    "GetGeneratedPolicy",
    "GetLastAccessed",
    "CollectPrincipals",
    "ReadLastAccessed",
    "ListPrincipals",
)


# The steps that list and read the trail's bucket. Their roles have fixed names for the same reason:
# the bucket's and the key's policy in the log archive account must spell them.
TRAIL_LISTERS = ("ListLogs", "ChooseRoute")
TRAIL_FILE_READERS = ("DigestLogs",)
TRAIL_READERS = (*TRAIL_LISTERS, *TRAIL_FILE_READERS)


def caller_role_name(step: str) -> str:
    """Return the fixed name of the role of a step that another account lets in."""
    return f"Pare{step}"


def caller_role_arns(settings: Settings) -> list[str]:
    """Return the ARNs of the roles that the member role trusts."""
    return [
        f"arn:{Aws.PARTITION}:iam::{settings.hub_account_id}:role/{caller_role_name(step)}"
        for step in MEMBER_CALLERS
    ]


def member_role_arn_template(settings: Settings) -> str:
    """Return the member role's ARN with ``{account_id}`` where the account goes."""
    return f"arn:{Aws.PARTITION}:iam::{{account_id}}:role/{settings.names.member_role_name}"


def access_role_arn_template(settings: Settings) -> str:
    """Return the ARN of Access Analyzer's service role with ``{account_id}`` in it."""
    names = settings.names
    return (
        f"arn:{Aws.PARTITION}:iam::{{account_id}}:role"
        f"{names.access_role_path}{names.access_role_name}"
    )
