"""``iam:PassRole``, which CloudTrail does not record, from the roles in the parameters of others.

Whoever gives a service a role (a function, a task, a stack) needs ``iam:PassRole`` on that role;
there is no event for it. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html

Which operations pass a role is in the documented dependent actions, compiled into
``pare/data/resources.json.gz``; to which service, in the hand-kept
``pare/data/passed_to_service.json``. Nothing is read at import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from pare.cloudtrail.resources import load_resources, undated, values_at
from pare.cloudtrail.resources import spellings as _spellings
from pare.data_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1

# No wildcard, quote or blank can be in it; names and paths as IAM allows them.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}")
_ROLE_NAME = re.compile(r"[A-Za-z0-9+=,.@_/-]{1,576}")
_MAX_ROLES = 100


class Row(TypedDict):
    """One row of the data file."""

    event_source: str  # without ".amazonaws.com"
    operations: list[str]  # ["*"]: those whose role parameters were compiled
    roles: list[str]  # paths of the role ARNs in requestParameters
    service: str | None  # the service principal the role is passed to, if it is known
    source: str
    names_with_path: NotRequired[bool]  # a name, with its path if it has one, is accepted too
    # why the role cannot be told from the request: what is at ``roles`` only says that there is one
    why: NotRequired[str]


class PassedToServiceFile(TypedDict):
    """The data file."""

    schema_version: int
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class PassedRole:
    """A role that was given to a service; ``role_arn`` None: the request does not tell which."""

    role_arn: str | None
    passed_to_service: str | None  # the value of iam:PassedToService; None: not known


@dataclass(frozen=True, slots=True)
class _RolePath:
    path: str
    service: str | None
    names_with_path: bool
    is_told: bool = True  # whether the role can be told from the value


@dataclass(frozen=True, slots=True)
class PassRolePlan:
    """Where one operation's parameters hold the roles it passes."""

    paths: tuple[_RolePath, ...]
    unresolved: tuple[str, ...]  # why a role that may be passed cannot be told from the request

    @property
    def request_fields(self) -> tuple[str, ...]:
        """The top-level fields of requestParameters that are needed, in each spelling."""
        return _spellings(role.path for role in self.paths)

    def passed(
        self, request: Mapping[str, Any], *, partition: str, account_id: str
    ) -> tuple[PassedRole, ...]:
        """Return the roles the operation passed, sorted; never raises, whatever the shape."""
        found: set[tuple[str | None, str | None]] = set()
        for role in self.paths:
            for value in values_at(request, role.path):
                arn = _role_arn(value, role, partition, account_id)
                if arn is not None or _is_a_name(value, role):
                    found.add((arn, role.service))
                if len(found) >= _MAX_ROLES:
                    break
        return tuple(
            PassedRole(arn, service)
            for arn, service in sorted(found, key=lambda pair: (pair[0] or "", pair[1] or ""))
        )


def _is_a_name(value: str, role: _RolePath) -> bool:
    """Return whether a value names a role in another way than by its ARN."""
    if not role.is_told:
        return True
    # A parameter for many things (an attribute's value) is a role only if it is an ARN.
    is_for_roles = "role" in role.path.rpartition(".")[2].lower()
    return is_for_roles and not value.startswith("arn:") and bool(_ROLE_NAME.fullmatch(value))


def _role_arn(value: str, role: _RolePath, partition: str, account_id: str) -> str | None:
    if role.is_told and _ROLE_ARN.fullmatch(value):
        return value
    if role.names_with_path and not value.startswith("arn:") and _ROLE_NAME.fullmatch(value):
        return f"arn:{partition}:iam::{account_id}:role/{value.lstrip('/')}"
    return None


class PassRoleTable:
    """Which operations pass a role."""

    __slots__ = ("_compiled", "_default_service", "_rows")

    def __init__(
        self, table: PassedToServiceFile, compiled: Mapping[str, Mapping[str, Iterable[str]]]
    ) -> None:
        self._compiled = compiled
        self._default_service: dict[str, str | None] = {}
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for row in table["rows"]:
            for operation in row["operations"]:
                if operation == "*":
                    self._default_service[row["event_source"]] = row["service"]
                else:
                    key = row["event_source"], operation.lower()
                    self._rows.setdefault(key, []).append(row)

    def plan(self, event_source: str, event_name: str) -> PassRolePlan | None:
        """Return where the operation's parameters hold roles; None if it passes none."""
        label = event_source.removesuffix(".cn").removesuffix(".amazonaws.com")
        operation = undated(event_name)
        rows = self._rows.get((label, operation), [])
        paths = [
            _RolePath(
                path, row["service"], row.get("names_with_path", False), is_told="why" not in row
            )
            for row in rows
            for path in row["roles"]
        ]
        known = {role.path.lower() for role in paths}
        default = self._default_service.get(label)
        if not any("why" in row for row in rows):
            paths += [
                _RolePath(path, default, names_with_path=False)
                for path in self._compiled.get(label, {}).get(operation, ())
                if path.lower() not in known
            ]
        unresolved = tuple(sorted({row["why"] for row in rows if "why" in row}))
        if not paths and not unresolved:
            return None
        return PassRolePlan(tuple(paths), unresolved)


@cache
def load_pass_role() -> PassRoleTable:
    """Return the table shipped with Pare; the files are read once per process."""
    table: PassedToServiceFile = read_table("passed_to_service.json", schema_version=SCHEMA_VERSION)
    return PassRoleTable(table, load_resources().pass_role)
