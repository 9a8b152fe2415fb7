"""A finding as Pare knows it, whichever of the three event families it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

Access = Literal["external", "internal", "unused"]


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


@dataclass(frozen=True, slots=True)
class Finding:
    """One Access Analyzer finding. Times are ISO 8601 UTC; ``unknown``: what could not be read."""

    finding_id: str
    access: Access
    finding_type: str
    status: str
    is_deleted: bool
    account_id: str  # owner of the resource, not of the analyzer
    region: str  # the analyzer's Region
    analyzer_arn: str
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

    def to_json(self) -> FindingJson:
        """Return the finding as a JSON object."""
        fields = asdict(self)
        fields |= {
            "principal": dict(self.principal),
            "condition": dict(self.condition),
            "actions": list(self.actions),
            "unused_services": list(self.unused_services),
            "unknown": list(self.unknown),
        }
        return fields  # type: ignore[return-value]  # asdict cannot know the TypedDict

    @classmethod
    def from_json(cls, fields: FindingJson) -> Finding:
        """Return the finding that ``to_json`` wrote."""
        values: dict[str, Any] = dict(fields)
        values |= {
            "principal": tuple(sorted(fields["principal"].items())),
            "condition": tuple(sorted(fields["condition"].items())),
            "actions": tuple(fields["actions"]),
            "unused_services": tuple(fields["unused_services"]),
            "unknown": tuple(fields["unknown"]),
        }
        return cls(**values)

    @property
    def is_about_unused_access_of_an_entity(self) -> bool:
        """Return whether a smaller policy for the resource could answer this finding."""
        return (
            self.access == "unused"
            and self.finding_type == "UnusedPermission"
            and self.status == "ACTIVE"
            and not self.is_deleted
            and self.error is None
            and self.resource_type in {"AWS::IAM::Role", "AWS::IAM::User"}
        )
