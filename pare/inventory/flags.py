"""What can be said of a principal in one word: rules ask for these flags.

=====================  =============================================================================
aws_owns               a service-linked role
exempt                 an exemption of the settings holds
break_glass            its tag says so
break_glass_used       and it was used within idle_days
bootstrap              CDK's or StackSets' own roles
own                    a role of Pare itself
identity_center        a role that IAM Identity Center manages
seasonal               idle, and it may be needed again
refused_only           idle, as all that is recorded of it was refused
disabled               nothing is left that it may do, or sign in with
delete_due             disabled, and the date to delete it has come
administrator          a policy allows every action on everything
wide                   a policy allows whole services
unused_services        at least narrow_unused_services of them
policy_unknown         a policy, group or trust policy of it could not be read
last_accessed_unknown  nobody knows which services it uses
credentials_unknown    of a user of whom the credential report says nothing
public_trust           anybody in AWS may assume it
outside_trust          an account outside the organization may assume it
without_external_id    such an account may, and no external id is asked of it
federated_open         everybody with an identity of an OpenID provider may assume it
credential_issue       a password, key or MFA device that should be mended
no_owner               no tag names its owner
=====================  =============================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pare.inventory.model import PrincipalFactsJson, ReasonJson, Status

FLAGS: Final = (
    "aws_owns", "exempt", "break_glass", "break_glass_used", "bootstrap", "own",
    "identity_center", "seasonal", "refused_only", "disabled", "delete_due", "administrator",
    "wide",
    "unused_services", "policy_unknown", "last_accessed_unknown", "credentials_unknown",
    "public_trust", "outside_trust", "without_external_id", "federated_open", "credential_issue",
    "no_owner",
)  # fmt: skip

# What Pare's stacks tag their roles with (infra/role_tags.py).
OWN_TAG: Final = "pare:part-of"
OWN: Final = "pare"

# Whoever has one of these is never to be disabled or deleted, whatever a rule says.
PROTECTING: Final = frozenset(
    {"aws_owns", "exempt", "break_glass", "bootstrap", "own", "identity_center", "seasonal",
     "refused_only"}
)  # fmt: skip

# Whoever has one of these is not counted as unused, though it may be idle.
KEPT: Final = PROTECTING - {"identity_center", "refused_only"}

CREDENTIAL_ISSUES: Final = frozenset({
    "KEY_OLD", "KEY_IDLE", "KEY_NEVER_USED", "NO_MFA", "PASSWORD_IDLE", "PASSWORD_NEVER_USED",
})  # fmt: skip


def flags_of_facts(facts: PrincipalFactsJson, status: Status) -> set[str]:
    """Return the flags that follow from the facts and the status alone."""
    trust = facts["trust"]
    wide = facts["wide"]
    is_break_glass = facts["kind"] == "break-glass"
    found = {
        "aws_owns": facts["kind"] == "service-linked role",
        "break_glass": is_break_glass,
        "break_glass_used": is_break_glass and status == "used",
        "bootstrap": facts["kind"] == "bootstrap role",
        "own": facts["tags"].get(OWN_TAG) == OWN,
        "identity_center": facts["kind"] == "Identity Center role",
        "disabled": facts["disabled_by"] is not None,
        "administrator": any(each["is_administrator"] for each in wide),
        "wide": bool(wide),
        "policy_unknown": bool(unknown_policies(facts)),
        "credentials_unknown": trust is None and facts["credentials"] is None,
        "public_trust": trust is not None and trust["is_public"],
        "outside_trust": trust is not None and bool(trust["outside"]),
        "without_external_id": trust is not None
        and any(not each["external_id"] for each in trust["outside"]),
        "federated_open": trust is not None and bool(trust["federated_open"]),
    }
    return {name for name, holds in found.items() if holds}


def unknown_policies(facts: PrincipalFactsJson) -> list[str]:
    """Return what of the policies could not be read: it may allow anything, to anybody."""
    return [each for each in facts["unknown"] if each.startswith(("policy ", "group ", "trust "))]


def flags_of_issues(issues: Iterable[ReasonJson]) -> set[str]:
    """Return the flags that follow from the issues."""
    codes = {issue["code"] for issue in issues}
    found = {"credential_issue"} if codes & CREDENTIAL_ISSUES else set()
    return found | ({"no_owner"} if "NO_OWNER" in codes else set())
