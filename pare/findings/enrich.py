"""A finding made fuller: whose account, whose principal, what exactly is unused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pare.errors import AwsServiceError, PareError, ThrottledError
from pare.policy.current import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.findings.model import Finding

# Worth another try: the state machine repeats the step.
_PASSING = (ThrottledError, AwsServiceError)


def enrich(
    finding: Finding,
    *,
    account_name: Callable[[str], str | None],
    details: Callable[[str, str], list[dict[str, Any]]],
    tags: Callable[[str], dict[str, str]],
    owner_tag_keys: tuple[str, ...],
    default_owner: str | None,
) -> Finding:
    """Return the finding with what the readers tell; what they cannot tell is named in ``unknown``.

    ``account_name`` reads Organizations, ``details`` GetFindingV2 (analyzer ARN, finding id), and
    ``tags`` the tags of a principal by its ARN. Raises what they raise where it is worth another
    try: ThrottledError and AwsServiceError.
    """
    unknown = list(finding.unknown)
    name = account_name(finding.account_id)
    if name is None:
        unknown.append("account name: Organizations did not tell")
    owner = None
    if finding.resource_type in {"AWS::IAM::Role", "AWS::IAM::User"}:
        try:
            owner = owner_of(tags(finding.resource), owner_tag_keys)
        except _PASSING:
            raise
        except PareError as error:
            unknown.append(f"owner: {error}")
    services: tuple[str, ...] = ()
    if finding.access == "unused" and not finding.is_deleted and finding.error is None:
        try:
            services = tuple(sorted(
                entry["unusedPermissionDetails"]["serviceNamespace"]
                for entry in details(finding.analyzer_arn, finding.finding_id)
                # A service in use lists its unused actions; without them all of it is unused.
                if "unusedPermissionDetails" in entry
                and not entry["unusedPermissionDetails"].get("actions")
            ))  # fmt: skip
        except _PASSING:
            raise
        except PareError as error:
            unknown.append(f"finding details: {error}")
    return replace(
        finding,
        account_name=name,
        owner=owner or default_owner,
        unused_services=services,
        unknown=tuple(unknown),
    )
