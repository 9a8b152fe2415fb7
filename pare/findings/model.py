"""A finding as Pare knows it, wherever it came from.

Most come from Access Analyzer, in one of three event families. Pare's own come the same way: what
the monthly inventory found unused, and what nobody watches (a Region without an analyzer).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypedDict

Access = Literal["external", "internal", "unused", "watch"]
# Who found it. ``watch``: Pare's reconcile, about what can no longer be seen.
Source = Literal["access-analyzer", "pare-inventory", "pare-watch"]
Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")  # by rank
# Open to whom. ``none``: it opens nothing (unused access, blind spots). ``unknown`` is judged like
# ``outside``, and says so.
Exposure = Literal[
    "public", "outside", "federated", "service", "partner", "organization", "account", "none",
    "unknown",
]  # fmt: skip
OwnerSource = Literal["tag", "account contact", "settings"]


class FindingJson(TypedDict):
    """A Finding at a JSON edge: the same fields, lists instead of tuples."""

    finding_id: str
    access: Access
    finding_type: str
    status: str
    is_deleted: bool
    account_id: str
    region: str
    analyzer_arn: str
    resource: str
    resource_type: str
    created_at: str
    updated_at: str
    analyzed_at: str
    error: str | None
    is_public: bool | None
    principal: dict[str, str]
    actions: list[str]
    condition: dict[str, str]
    unused_service_count: int | None
    unused_action_count: int | None
    account_name: str | None
    owner: str | None
    unused_services: list[str]
    unknown: list[str]
    source: Source
    exposure: Exposure | None
    principal_account_id: str | None
    principal_account_name: str | None
    partner: str | None
    access_levels: list[str]
    severity: Severity | None
    severity_rule: str | None
    owner_source: OwnerSource | None
    tags: dict[str, str]
    access_type: str | None
    resource_control_policy_restriction: str | None
    service_control_policy_restriction: str | None
    granted_through: list[str]
    last_accessed_at: str | None
    access_key_id: str | None
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. Times are ISO 8601 UTC; ``unknown``: what could not be read."""

    finding_id: str
    access: Access
    finding_type: str
    status: str
    is_deleted: bool
    account_id: str  # owner of the resource, not of the analyzer
    region: str  # the analyzer's Region
    analyzer_arn: str  # of Pare's own findings: ``pare:inventory`` or ``pare:watch``
    resource: str
    resource_type: str
    created_at: str
    updated_at: str
    analyzed_at: str
    error: str | None = None
    is_public: bool | None = None
    principal: tuple[tuple[str, str], ...] = ()
    actions: tuple[str, ...] = ()
    condition: tuple[tuple[str, str], ...] = ()
    unused_service_count: int | None = None
    unused_action_count: int | None = None
    account_name: str | None = None
    owner: str | None = None
    unused_services: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    source: Source = "access-analyzer"
    exposure: Exposure | None = None  # None: not enriched
    principal_account_id: str | None = None  # of the principal it is open to
    principal_account_name: str | None = None  # of an account of the organization
    partner: str | None = None  # the name the settings give that account
    access_levels: tuple[str, ...] = ()  # of the actions, as the catalogue says; ``unknown`` too
    severity: Severity | None = None  # None: not enriched
    severity_rule: str | None = None  # the rule of severity_rules.json that decided
    owner_source: OwnerSource | None = None
    tags: tuple[tuple[str, str], ...] = ()  # of the resource or principal
    access_type: str | None = None  # of internal access: INTRA_ACCOUNT, INTRA_ORG
    resource_control_policy_restriction: str | None = None
    service_control_policy_restriction: str | None = None
    granted_through: tuple[str, ...] = ()  # POLICY, BUCKET_ACL, S3_ACCESS_POINT, …
    last_accessed_at: str | None = None  # of what is unused, where it was ever used
    access_key_id: str | None = None
    values: tuple[tuple[str, Any], ...] = ()  # of Pare's own findings: what their texts name

    def to_json(self) -> FindingJson:
        """Return the finding as a JSON object."""
        found = asdict(self)
        for name in _PAIRS:
            found[name] = dict(getattr(self, name))
        for name in _TEXTS:
            found[name] = list(getattr(self, name))
        return found  # type: ignore[return-value]  # asdict cannot know the TypedDict

    @classmethod
    def from_json(cls, found: FindingJson) -> Finding:
        """Return the finding that ``to_json`` wrote, in this version or an earlier one."""
        values: dict[str, Any] = {
            each.name: found[each.name]  # type: ignore[literal-required]
            for each in fields(cls)
            if each.name in found
        }
        for name in _PAIRS:
            values[name] = tuple(sorted(values.get(name, {}).items()))
        for name in _TEXTS:
            values[name] = tuple(values.get(name, ()))
        return cls(**values)

    @property
    def is_open(self) -> bool:
        """Return whether this is open as far as anybody knows."""
        return self.status == "ACTIVE" and not self.is_deleted

    @property
    def is_about_unused_access_of_an_entity(self) -> bool:
        """Return whether a smaller policy for the resource could answer this finding."""
        return (
            self.access == "unused"
            and self.finding_type == "UnusedPermission"
            and self.is_open
            and self.error is None
            and self.resource_type in {"AWS::IAM::Role", "AWS::IAM::User"}
        )


_PAIRS = ("principal", "condition", "tags", "values")
_TEXTS = ("actions", "unused_services", "unknown", "access_levels", "granted_through")
