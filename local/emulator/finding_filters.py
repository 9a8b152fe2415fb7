"""What the filters of archive rules and of ListFindingsV2 match.

https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-filter-keys.html
"""

from __future__ import annotations

from typing import Any

_OF_DETAILS = frozenset(
    {
        "isPublic", "resourceControlPolicyRestriction", "serviceControlPolicyRestriction",
        "accessType", "principalType", "principalOwnerAccount",
    }
)  # fmt: skip


def matches(finding: dict[str, Any], criteria: dict[str, Any]) -> bool:
    """Return whether a finding meets every criterion."""
    for key, criterion in criteria.items():
        values = values_of(finding, key)
        if "exists" in criterion and bool(values) != criterion["exists"]:
            return False
        if "eq" in criterion and not set(values) & set(criterion["eq"]):
            return False
        if "neq" in criterion and set(values) & set(criterion["neq"]):
            return False
        if "contains" in criterion and not any(
            part in value for value in values for part in criterion["contains"]
        ):
            return False
    return True


def values_of(finding: dict[str, Any], key: str) -> list[str]:
    """Return the finding's values of a filter key, as texts; empty if it has none."""
    details = [d for detail in finding.get("findingDetails", []) for d in detail.values()]
    if key.startswith("principal."):
        kind = key.partition(".")[2]
        found: list[Any] = [d.get("principal", {}).get(kind) for d in details]
    elif key.startswith("condition."):
        found = [d.get("condition", {}).get(key.partition(".")[2]) for d in details]
    elif key in _OF_DETAILS:
        found = [d.get(key) for d in details]
    else:
        found = [finding.get(key)]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in found if v is not None]
