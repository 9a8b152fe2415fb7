"""The service and resource control policies of an organization, as somebody gives them.

They grant nothing: at each level from the root over the organizational units to the account, one
policy of the level must allow an action, and none may deny it.
https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pare.errors import LimitsError, PolicyParseError
from pare.policy.document import PolicyDocument, Statement, in_current_version, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.policy.current import Kind

Level = tuple[PolicyDocument, ...]

# AWS attaches it to the root, every OU and every account, and nobody can detach it.
# https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html
RCP_FULL_ACCESS = PolicyDocument(
    statements=(
        Statement(
            "Allow", actions=("*",), resources=("*",), principals="*", sid="RCPFullAWSAccess"
        ),
    )
)

# One level as IAM's policy simulator takes it.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_OrderedOrganizationPolicyType.html
_SIMULATOR_KEY = "ServiceControlPolicyInputList"


def read_limits(sources: Sequence[Any]) -> tuple[Level, ...]:
    """Return the levels that parsed JSON files give, each in version 2012-10-17.

    A file is a level or several: one policy or a list of policies (the level of both), or
    ``{"levels": [[policy, ...], ...]}``. A policy is a document, its JSON text, or what
    ``aws organizations describe-policy`` prints. What IAM's policy simulator takes are levels too:
    ``[{"ServiceControlPolicyInputList": [text, ...]}, ...]``. Raises LimitsError, which names the
    file and the level.
    """
    levels: list[Level] = []
    for number, source in enumerate(sources, start=1):
        found = _levels(source)
        for level_number, policies in enumerate(found, start=1):
            where = f"File {number} of the limits" + (
                f", level {level_number}" if len(found) > 1 else ""
            )
            levels.append(_level(where, policies))
    return tuple(levels)


def bind(kind: Kind) -> bool:
    """Return whether limits hold for a principal of this kind: for service-linked roles, none do.

    (Nor do SCPs for the management account, which the caller has to know.)
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
    """
    return kind != "service-linked role"


def _levels(source: Any) -> list[list[Any]]:
    if isinstance(source, dict) and isinstance(source.get("levels"), list):
        return [level if isinstance(level, list) else [level] for level in source["levels"]]
    if isinstance(source, list) and any(
        isinstance(each, dict) and _SIMULATOR_KEY in each for each in source
    ):
        return [
            each[_SIMULATOR_KEY] if isinstance(each, dict) and _SIMULATOR_KEY in each else [each]
            for each in source
        ]
    return [source if isinstance(source, list) else [source]]


def _level(where: str, policies: list[Any]) -> Level:
    documents = tuple(_policy(where, policy) for policy in policies)
    if any(_is_for_resources(document) for document in documents):
        if not all(_is_for_resources(document) for document in documents):
            raise LimitsError(
                f"{where} mixes resource control policies (their statements have a Principal) "
                "with service control policies: give each kind a level of its own."
            )
        return (RCP_FULL_ACCESS, *documents)
    if not any(
        statement.effect == "Allow" for document in documents for statement in document.statements
    ):
        raise LimitsError(
            f"{where} allows nothing, so nothing could be done in the account: probably "
            "FullAWSAccess, which is attached to the same level, was left out."
        )
    return documents


def _policy(where: str, policy: Any) -> PolicyDocument:
    if isinstance(policy, dict) and isinstance(policy.get("Policy"), dict):
        policy = policy["Policy"]
    if isinstance(policy, dict) and "Content" in policy and "Statement" not in policy:
        policy = policy["Content"]
    try:
        if isinstance(policy, str):
            # Some tools print the text of a policy as a JSON text once more.
            decoded = json.loads(policy)
            policy = decoded if isinstance(decoded, str) else policy
        return in_current_version(parse(policy))
    except (PolicyParseError, ValueError) as error:
        raise LimitsError(f"{where} is not a policy: {error}") from error


def _is_for_resources(document: PolicyDocument) -> bool:
    """Return whether a document is a resource control policy: only those have a Principal.

    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps_syntax.html
    """
    return any(
        statement.principals is not None or statement.not_principals is not None
        for statement in document.statements
    )
