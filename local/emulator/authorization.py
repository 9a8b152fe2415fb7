"""Whether a principal may do something, for calls that ministack does not check.

Used where a service acts with a role (workflows, rules, schedules) and where a call needs a second
permission (the KMS key of an encrypted resource).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ministack.core import iam_evaluator, responses
from ministack.services import iam

from local.emulator import upstream


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts: the ARN as it stands in denials, and what its policies say."""

    arn: str
    kind: str  # User, AssumedRole, FederatedUser; a root is never asked
    account_id: str
    policies: list[Any]
    limits: list[Any] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the session name with which a service acts in it."""

    arn: str
    session_name: str

    @property
    def account_id(self) -> str:
        """The role's account."""
        return upstream.account_of(self.arn)

    @property
    def name(self) -> str:
        """The role's name."""
        return self.arn.rpartition("/")[2]

    @property
    def session_arn(self) -> str:
        """The assumed-role ARN."""
        return f"arn:aws:sts::{self.account_id}:assumed-role/{self.name}/{self.session_name}"


def principal_of_role(role: Role) -> Principal | None:
    """Return the role's session as a principal, or None if there is no such role."""
    record = upstream.role_by_arn(role.arn)
    if record is None:
        return None
    tags = {f"aws:principaltag/{t['Key'].lower()}": t["Value"] for t in record.get("Tags") or []}
    return Principal(
        arn=role.session_arn,
        kind="AssumedRole",
        account_id=role.account_id,
        policies=iam_evaluator._gather_role_policies(role.name, role.account_id),
        limits=iam_evaluator._permissions_boundary(iam._roles, role.name, role.account_id),
        keys={"aws:userid": f"{record.get('RoleId')}:{role.session_name}", **tags},
    )


def principal_of_key(access_key_id: str, account_id: str) -> Principal | None:
    """Return the principal of an access key, or None for a root or an unknown key."""
    found = iam_evaluator.resolve_principal(access_key_id, account_id)
    if isinstance(found, iam_evaluator.AuthError) or found.policies is None:
        return None
    return Principal(found.arn, found.type, found.account, found.policies, found.limits, found.keys)


def denied(
    principal: Principal,
    action: str,
    resource: str,
    context: dict[str, Any] | None = None,
    resource_policy: tuple[Any, str] | None = None,
) -> str | None:
    """Return the message of the denial, or None if the action is allowed.

    The resource's own policy is looked up unless it is given with its owner's account.
    """
    service = action.partition(":")[0]
    ctx = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.kind,
        principal_account=principal.account_id,
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        secure_transport=True,
        service_context={k.lower(): v for k, v in (context or {}).items()},
        principal_keys=principal.keys,
    )
    result = iam_evaluator.evaluate(ctx, principal.policies, *principal.limits)
    found = resource_policy or iam_evaluator._resource_policy(service, resource)
    if found is not None:
        result = iam_evaluator.combine_resource_policy(
            result, ctx, *found, required=service == "kms", limits=tuple(principal.limits)
        )
    if result.decision == "Allow":
        return None
    message = (
        f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}"
    )
    if result.decision == "Deny":
        return f"{message} with an explicit deny"
    return f"{message} because no identity-based policy allows the {action} action"


def role_denied(
    role: Role, action: str, resource: str, context: dict[str, Any] | None = None
) -> str | None:
    """Return the message of the denial, or None if the role's session is allowed the action."""
    principal = principal_of_role(role)
    if principal is None:
        return (
            f"User: {role.session_arn} is not authorized to perform: {action} on resource: "
            f"{resource} because the role {role.arn} does not exist"
        )
    return denied(principal, action, resource, context)


def service_denied(
    service: str,
    action: str,
    resource: str,
    policy: Any,
    context: dict[str, Any] | None = None,
) -> bool:
    """Return whether a resource policy does not let an AWS service do something."""
    ctx = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=responses.get_region(),
        secure_transport=True,
        service_context={k.lower(): v for k, v in (context or {}).items()},
    )
    decision = iam_evaluator.evaluate_resource_policy(policy, ctx, service=service).decision
    return bool(decision != "Allow")
