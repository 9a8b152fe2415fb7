"""Who made a call: ``userIdentity`` to the principal whose policies allowed it.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pare.cloudtrail.record import SessionIssuer, UserIdentity


class Principal(NamedTuple):
    """Whose permissions a call used.

    ``principal`` is the ARN of the user or role, with its path where CloudTrail tells it; the
    service's name for a service, the account id for a caller of another account, of whom CloudTrail
    tells no more.
    ``principal_id`` is IAM's unique id: a role deleted and made anew under its old name has
    another.
    ``kind`` is CloudTrail's own ``userIdentity.type``.
    """

    principal: str
    principal_id: str
    kind: str
    account_id: str


UNKNOWN = Principal("unknown", "", "Unknown", "")


def partition_of(region: str, arn: str = "") -> str:
    """Return the partition an ARN names, else the one of the Region.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
    """
    parts = arn.split(":", 2)
    if len(parts) == 3 and parts[0] == "arn" and parts[1].startswith("aws"):
        return parts[1]
    for prefix, partition in _PARTITIONS:
        if region.startswith(prefix):
            return partition
    return "aws"


# The Region prefixes of botocore's endpoints.json (Apache-2.0).
_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-iso-", "aws-iso"),
    ("eusc-", "aws-eusc"),
)


def session_name(identity: UserIdentity | None) -> str | None:
    """Return the name of the session a call was made in; None where there is no session.

    ``AROAEXAMPLE:name`` for a role session (AWS writes it in ``principalId``), the federated user's
    name for credentials of GetFederationToken.
    """
    if identity is None:
        return None
    if identity.type in {"AssumedRole", "FederatedUser"}:
        _, colon, name = (identity.principalId or "").partition(":")
        if not colon:
            arn = (identity.arn or "").split("/")
            if len(arn) < (3 if identity.type == "AssumedRole" else 2):
                return None
            name = arn[-1]
        return name if identity.type == "AssumedRole" else f"federated-user/{name}"
    if identity.type in {"SAMLUser", "WebIdentityUser"}:
        return identity.userName
    return None


def principal_of(identity: UserIdentity | None, recipient_account_id: str | None) -> Principal:
    """Return the principal of a call; ``UNKNOWN`` where the record does not tell."""
    if identity is None:
        return UNKNOWN
    kind = identity.type or ("AWSService" if identity.invokedBy else "Unknown")
    context = identity.sessionContext
    issuer = context.sessionIssuer if context else None
    arn = (issuer.arn if issuer else None) or identity.arn
    account_id = identity.accountId or _account_in(arn) or recipient_account_id or ""
    principal_id = (identity.principalId or "").partition(":")[0]
    if kind in {"AssumedRole", "FederatedUser"}:
        return _session_principal(identity, issuer, kind, account_id, principal_id)
    if kind == "AWSService":
        return Principal(identity.invokedBy or principal_id or "unknown", "", kind, "")
    if kind in {"SAMLUser", "WebIdentityUser"}:
        provider = identity.identityProvider or principal_id or "unknown"
        return Principal(provider, "", kind, account_id)
    if kind == "IdentityCenterUser":
        behalf = identity.onBehalfOf
        user_id = (behalf.userId if behalf else None) or principal_id or "unknown"
        partition = partition_of("", (behalf.identityStoreArn if behalf else None) or "")
        # The ARN format of the Service Authorization Reference for identity store users.
        arn = f"arn:{partition}:identitystore:::user/{user_id}"
        return Principal(arn, user_id, kind, account_id)
    if identity.arn:
        # A root user's ARN is the account's; its id is the account id too.
        return Principal(identity.arn, principal_id, kind, account_id)
    if kind == "AWSAccount":
        return Principal(account_id or "unknown", principal_id, kind, account_id)
    return Principal(principal_id or identity.userName or "unknown", principal_id, kind, account_id)


def _session_principal(
    identity: UserIdentity,
    issuer: SessionIssuer | None,
    kind: str,
    account_id: str,
    principal_id: str,
) -> Principal:
    """Return the role behind a role session; the user or root behind a federated user.

    A federated user acts with the permissions of whoever asked for its credentials.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_getfederationtoken.html
    """
    if issuer is not None and issuer.arn:
        if kind == "FederatedUser":
            kind = {"User": "IAMUser"}.get(issuer.type or "", issuer.type or "IAMUser")
        return Principal(issuer.arn, issuer.principalId or principal_id, kind, account_id)
    # The session's ARN names the role without its path. Written so, it cannot be taken for the
    # role's.
    arn = identity.arn or ""
    if kind == "AssumedRole" and arn.count("/") >= 2:
        arn = arn.rpartition("/")[0]
    return Principal(arn or principal_id or "unknown", principal_id, kind, account_id)


def _account_in(arn: str | None) -> str | None:
    parts = (arn or "").split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4].isdigit() else None
