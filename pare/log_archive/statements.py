"""The statements that the trail's bucket and its keys need, from what is deployed.

Two readers come: Pare's own functions, by named roles of the hub, and Access Analyzer's service
roles of every account, as AWS documents it:
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-policy-generation.html
(``../shared/aws/policies``). Access Analyzer does not accept a trail that Control Tower made, so
there only Pare is let in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject, JsonValue

LISTS: Final = "PareListsTheTrail"
READS: Final = "PareReadsTheTrail"
GENERATES: Final = "ParePolicyGeneration"
DECRYPTS: Final = "PareDecryptsTheTrail"
GENERATES_DECRYPTS: Final = "ParePolicyGenerationDecrypts"

# The account of whoever asks: IAM puts it in (policy variables are live in Version 2012-10-17).
_ASKING_ACCOUNT: Final = "${aws:PrincipalAccount}"
# The documented statements match on this path and this start of the name.
_ACCESS_ROLES: Final = "role/service-role/AccessAnalyzerMonitorServiceRole*"


def bucket_statements(setup: Setup) -> list[JsonObject]:
    """Return the statements of the bucket's policy."""
    trail = setup.trail
    bucket = f"arn:{setup.partition}:s3:::{trail.bucket}"
    statements = [
        _ours(
            setup,
            LISTS,
            "list_trail",
            "s3:ListBucket",
            bucket,
            {"StringLike": {"s3:prefix": _one_or_all([f"{root}*" for root in trail.log_roots])}},
        ),
        _ours(
            setup,
            READS,
            "read_trail",
            "s3:GetObject",
            _one_or_all([f"{bucket}/{root}*/CloudTrail/*" for root in trail.log_roots]),
        ),
    ]
    if not trail.made_by_control_tower:
        # An organization trail has the organization's id in the path, an account's own has not.
        organization = f"{setup.organization_id}/" if trail.is_organization_trail else ""
        statements.append(
            {
                "Sid": GENERATES,
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [
                    bucket,
                    *(
                        f"{bucket}/{root}{organization}{_ASKING_ACCOUNT}/*"
                        for root in trail.log_roots
                    ),
                ],
                "Condition": {
                    "StringEquals": {"aws:PrincipalOrgID": setup.organization_id},
                    "ArnLike": {"aws:PrincipalArn": _access_roles(setup)},
                },
            }
        )
    return statements


def key_statements(setup: Setup, key_arn: str) -> list[JsonObject]:
    """Return the statements of a key's policy, in which ``*`` stands for the key itself.

    A key is used through services of its own Region only, which no statement of AWS's names: so
    they are the same for every key of a partition. ValueError for a key of another partition.
    """
    if key_arn.split(":")[1:3] != [setup.partition, "kms"]:
        raise ValueError(f"{key_arn} is not a key of the partition {setup.partition}")
    statements = [
        _ours(
            setup,
            DECRYPTS,
            "read_trail",
            "kms:Decrypt",
            "*",
            {"StringLike": {"kms:ViaService": _one_or_all(_via(setup, "s3"))}},
        )
    ]
    trail = setup.trail
    if not trail.made_by_control_tower:
        statements.append(
            {
                "Sid": GENERATES_DECRYPTS,
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": {
                    "StringEquals": {
                        "kms:EncryptionContext:aws:cloudtrail:arn": trail.arn.replace(
                            "{account_id}", _ASKING_ACCOUNT
                        ),
                        "aws:PrincipalOrgID": setup.organization_id,
                    },
                    "StringLike": {
                        "kms:ViaService": [*_via(setup, "access-analyzer"), *_via(setup, "s3")]
                    },
                    "ArnLike": {"aws:PrincipalArn": _access_roles(setup)},
                },
            }
        )
    return statements


def _ours(
    setup: Setup,
    sid: str,
    callers: str,
    action: str,
    resource: JsonValue,
    conditions: JsonObject | None = None,
) -> JsonObject:
    """Return a statement for some of the hub's roles.

    The condition names the roles instead of the principal: so it can be there before they are, and
    holds when a role is made anew.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-roles
    """
    hub = f"arn:{setup.partition}:iam::{setup.hub_account_id}"
    roles = [f"{hub}:role/{name}" for name in setup.callers[callers]]
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": f"{hub}:root"},
        "Action": action,
        "Resource": resource,
        "Condition": {**(conditions or {}), "ArnEquals": {"aws:PrincipalArn": _one_or_all(roles)}},
    }


def _access_roles(setup: Setup) -> str:
    return f"arn:{setup.partition}:iam::{_ASKING_ACCOUNT}:{_ACCESS_ROLES}"


def _via(setup: Setup, service: str) -> list[str]:
    """Return how a service may be called in ``kms:ViaService``, in whatever Region.

    AWS documents names that end in ``amazonaws.com``; its endpoints in China end in ``.cn`` too.
    Which of the two KMS compares with there is not documented, and only AWS can set either.
    """
    name = f"{service}.*.amazonaws.com"
    return [name, f"{name}.cn"] if setup.partition == "aws-cn" else [name]


def _one_or_all(values: Sequence[str]) -> JsonValue:
    return values[0] if len(values) == 1 else list(values)
