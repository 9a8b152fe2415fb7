"""What was deployed, and with which settings: what the doctor compares the organization with.

``infra`` writes it into the metadata of the template of ``ParePipeline``, where it tells what is
deployed, not what somebody has meanwhile written into a file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

# The key of the template's metadata, and the shape below it.
METADATA_KEY: Final = "Pare"
SCHEMA_VERSION: Final = 1

# Who puts the member roles into the accounts: the stack set of PareMembers, or a person, account by
# account (where there are no StackSets with service-managed permissions).
MemberStacks = Literal["stack-set", "by-hand"]


@dataclass(frozen=True, slots=True)
class TrailSetup:
    """The trail, as the settings name it.

    ``arn`` has ``{account_id}`` in place of the account where each account has a trail of its own
    that writes into the one bucket. ``log_roots`` end in ``AWSLogs/``.
    """

    arn: str
    bucket: str
    bucket_region: str
    log_roots: tuple[str, ...]
    kms_key_arns: tuple[str, ...]
    made_by_control_tower: bool
    is_organization_trail: bool


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings and names of a deployment; every field is plain JSON.

    ``member_template``: a hash of the member template, which the member role has as its tag
    ``pare:member-template``. ``callers``: the names of the hub's roles that enter member accounts
    (``member``), list the trail (``list_trail``) and read it (``read_trail``). ``schedules``: the
    construct ids of the schedules. ``emails``: who has to confirm a subscription of the topic
    People; ``alarm_emails``: who has to confirm one of the topic Alarms as well, None where an
    earlier Pare did not say.
    ``member_stacks``: ``by-hand`` where there is no stack set and no ``PareMembers``;
    ``organizational_units`` may be empty then. ``member_rights``: the member role's inline policies
    as JSON, with ``{account_id}`` for the role's own account; empty where it is not known.
    """

    version: str
    partition: str
    organization_id: str
    management_account_id: str
    hub_account_id: str
    log_archive_account_id: str
    home_region: str
    governed_regions: tuple[str, ...]
    organizational_units: tuple[str, ...]
    account_exclusions: tuple[str, ...]
    trail: TrailSetup
    member_role_name: str
    member_external_id: str
    access_role_path: str
    access_role_name: str
    bus_name: str
    region_dead_letters_name: str
    test_event_source: str
    stack_set_name: str
    member_template: str
    callers: Mapping[str, tuple[str, ...]]
    schedules: tuple[str, ...]
    emails: tuple[str, ...]
    create_external_access: bool
    unused_access_arn: str | None
    paid_unused_access: bool
    window_days: int
    member_stacks: MemberStacks = "stack-set"
    member_rights: str = ""
    alarm_emails: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the template's metadata has it."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Setup:
        """Return it from the template's metadata.

        Raises ValueError for another schema version, KeyError or TypeError for another shape.
        """
        fields: dict[str, Any] = dict(value)
        if fields.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"schema version {value['schema_version']}, not {SCHEMA_VERSION}")
        fields.setdefault("unused_access_arn", None)  # CDK leaves null out of a template
        trail: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each
            for name, each in fields.pop("trail").items()
        }
        callers = {name: tuple(roles) for name, roles in fields.pop("callers").items()}
        plain: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()
        }
        return cls(trail=TrailSetup(**trail), callers=callers, **plain)

    @property
    def member_role_arn_template(self) -> str:
        """The member role's ARN with ``{account_id}`` where the account goes."""
        return f"arn:{self.partition}:iam::{{account_id}}:role/{self.member_role_name}"

    @property
    def has_stack_set(self) -> bool:
        """Whether a stack set puts the member roles into the accounts."""
        return self.member_stacks == "stack-set"

    @property
    def other_regions(self) -> tuple[str, ...]:
        """The governed Regions but the home Region."""
        return tuple(each for each in self.governed_regions if each != self.home_region)
