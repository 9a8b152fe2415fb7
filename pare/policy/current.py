"""What a principal is allowed today, by source, and what kind of principal it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from pare.policy.document import VERSION, escaped

if TYPE_CHECKING:
    from pare.arns import PrincipalArn

Source = Literal["inline", "customer managed", "AWS managed"]
Kind = Literal["user", "role", "service-linked role", "Identity Center role", "bootstrap role"]


class AttachedPolicyJson(TypedDict):
    """One policy of a principal; ``group`` names the group it comes through."""

    source: Source
    name: str
    arn: str | None
    group: str | None
    document: dict[str, Any]


class CurrentAccessJson(TypedDict):
    """What IAM says of a principal. Times are ISO 8601 UTC."""

    principal_arn: str
    principal_id: str
    kind: Kind
    created_at: str
    last_used_at: str | None
    tags: dict[str, str]
    policies: list[AttachedPolicyJson]
    boundary: AttachedPolicyJson | None


class Narrowing(NamedTuple):
    """Whether a smaller policy may be proposed for a principal, and if not, why not."""

    allowed: bool
    reason: str = ""


# Paths AWS reserves; the roles under them are AWS's to change (facts §3).
SERVICE_LINKED_PATH = "/aws-service-role/"
IDENTITY_CENTER_NAME = "AWSReservedSSO_"  # some records leave the path out
IDENTITY_CENTER_PATH = "/aws-reserved/sso.amazonaws.com/"
# Roles that deploy everything and are used at no set time: CDK's bootstrap, StackSets' execution.
# https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-env.html
BOOTSTRAP = re.compile(
    r"cdk-[A-Za-z0-9_-]{1,10}-"
    r"(deploy-role|cfn-exec-role|file-publishing-role|image-publishing-role|lookup-role)-"
    r"|AWSCloudFormationStackSetExecutionRole|stacksets-exec-"
)


def kind_of(principal: PrincipalArn) -> Kind:
    """Return the kind of a principal, from what its ARN tells."""
    if principal.entity == "user":
        return "user"
    if principal.path.startswith(SERVICE_LINKED_PATH):
        return "service-linked role"
    if principal.path.startswith(IDENTITY_CENTER_PATH) or principal.name.startswith(
        IDENTITY_CENTER_NAME
    ):
        return "Identity Center role"
    if BOOTSTRAP.match(principal.name):
        return "bootstrap role"
    return "role"


def kind_without_path(principal: PrincipalArn) -> Kind:
    """Return the kind of a role whose path is not known, from the names that AWS gives.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html
    https://docs.aws.amazon.com/singlesignon/latest/userguide/referencingpermissionsets.html
    """
    if principal.name.startswith("AWSServiceRoleFor"):
        return "service-linked role"
    return kind_of(principal)


def may_be_narrowed(kind: Kind, tags: dict[str, str], *, break_glass_tag: str) -> Narrowing:
    """Return whether a policy may be proposed for a principal of this kind with these tags."""
    if kind == "service-linked role":
        return Narrowing(False, "the permissions of a service-linked role belong to its service")
    if kind == "Identity Center role":
        return Narrowing(
            False, "Identity Center owns this role: narrow its permission set, not the role"
        )
    if kind == "bootstrap role":
        return Narrowing(False, "this role deploys infrastructure and needs what it will need next")
    # The tag alone says it; only a plain no takes it back.
    if tags.get(break_glass_tag, "false").strip().lower() not in {"false", "no"}:
        return Narrowing(False, f"the tag {break_glass_tag} marks it as break-glass access")
    return Narrowing(True)


def documents(current: CurrentAccessJson) -> list[dict[str, Any]]:
    """Return the identity-based policy documents of a principal."""
    return [policy["document"] for policy in current["policies"]]


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one document that says what several say together.

    Sids are left out: they are unique within one document only. What is text in an old version
    stays text.
    """
    statements = []
    for part in parts:
        found = part["Statement"]
        for statement in found if isinstance(found, list) else [found]:
            statements.append({
                key: escaped(value)
                if part.get("Version") != VERSION
                and key in {"Resource", "NotResource", "Condition"}
                else value
                for key, value in statement.items()
                if key != "Sid"
            })  # fmt: skip
    return {"Version": VERSION, "Statement": statements}


def owner_of(tags: dict[str, str], owner_tag_keys: tuple[str, ...]) -> str | None:
    """Return the owner that the first owner tag names (keys compared without case), or None."""
    lowered = {key.lower(): value for key, value in tags.items()}
    for key in owner_tag_keys:
        if value := lowered.get(key.lower(), "").strip():
            return value
    return None
