"""What the actions of the catalogue act on: resource types, ARN formats and dependent actions.

The table is ``pare/data/iam_resources.json.gz``, compiled by ``tools/compile_resources.py``; this
is its small interpreter. Nothing is read at import; a service's part is decoded when asked for.
"""

from __future__ import annotations

import json
import re
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from pare.data_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1

PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")

# Which characters a placeholder of an ARN format stands for. The names of most resources hold
# neither of the two characters that separate the parts of an ARN; the table lists those that do.
_PLAIN = r"[^/:]+"
_WITH_SLASHES = r"[^:]+"
_ANYTHING = r".+"
_HEADER = {"Partition": r"aws[a-z-]*", "Region": r"[a-z0-9-]*", "Account": r"[^/:]*"}


class ResourceTypeUse(NamedTuple):
    """One resource type an action takes."""

    name: str
    required: bool


class ServiceResources(TypedDict):
    """One service as the data file holds it (as JSON in a text, decoded when asked for)."""

    types: dict[str, list[str]]  # resource type -> ARN formats
    actions: dict[str, list[str]]  # action without prefix -> types; "*" marks a required one
    dependent: dict[str, list[str]]  # action without prefix -> actions it depends on
    with_slashes: list[str]  # placeholders whose value may hold "/"
    with_anything: list[str]  # ... "/" and ":"


class ResourceTypesTable(TypedDict):
    """The data file."""

    schema_version: int
    sources: list[dict[str, str]]
    services: dict[str, str]  # prefix -> ServiceResources as JSON


class ResourceTypes:
    """The resource types IAM knows. Actions are matched without regard to case, as IAM does."""

    __slots__ = ("_actions", "_of_type", "_patterns", "_services", "_table", "services")

    def __init__(self, table: ResourceTypesTable) -> None:
        self._table = table
        self.services: tuple[str, ...] = tuple(sorted(table["services"]))
        self._services: dict[str, ServiceResources] = {}
        self._actions: dict[str, Mapping[str, str]] = {}
        self._patterns: dict[str, tuple[tuple[str, re.Pattern[str]], ...]] = {}
        self._of_type: dict[tuple[str, str], tuple[re.Pattern[str], ...]] = {}

    def arn_formats(self, prefix: str) -> Mapping[str, tuple[str, ...]]:
        """Return a service's resource types with their ARN formats; empty if it has none."""
        return MappingProxyType(
            {name: tuple(formats) for name, formats in self._service(prefix)["types"].items()}
        )

    def types_of(self, action: str) -> tuple[ResourceTypeUse, ...]:
        """Return the resource types an action takes; without any, it takes only ``*``."""
        prefix, name = self._find(action)
        return tuple(
            ResourceTypeUse(type_name.removesuffix("*"), type_name.endswith("*"))
            for type_name in self._service(prefix)["actions"].get(name, ())
        )

    def dependent_actions(self, action: str) -> tuple[str, ...]:
        """Return the actions a caller may need besides this one, as AWS documents them.

        https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
        """
        prefix, name = self._find(action)
        return tuple(self._service(prefix)["dependent"].get(name, ()))

    def types_matching(self, arn: str, prefix: str) -> tuple[str, ...]:
        """Return the service's resource types whose ARN format this ARN has, sorted."""
        return tuple(
            dict.fromkeys(
                name for name, pattern in self._type_patterns(prefix) if pattern.fullmatch(arn)
            )
        )

    def is_of_type(self, arn: str, prefix: str, type_name: str) -> bool:
        """Return whether the ARN has a format of this resource type of the service."""
        key = prefix, type_name
        patterns = self._of_type.get(key)
        if patterns is None:
            patterns = self._of_type[key] = tuple(
                pattern for name, pattern in self._type_patterns(prefix) if name == type_name
            )
        return any(pattern.fullmatch(arn) for pattern in patterns)

    def placeholder_pattern(self, prefix: str, placeholder: str) -> str:
        """Return the regular expression of the values a placeholder stands for."""
        if placeholder in _HEADER:
            return _HEADER[placeholder]
        service = self._service(prefix)
        if placeholder in service["with_anything"]:
            return _ANYTHING
        return _WITH_SLASHES if placeholder in service["with_slashes"] else _PLAIN

    def _type_patterns(self, prefix: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
        prefix = prefix.lower()
        if prefix not in self._patterns:
            self._patterns[prefix] = tuple(
                (name, self._pattern(prefix, arn_format))
                for name, formats in sorted(self._service(prefix)["types"].items())
                for arn_format in formats
            )
        return self._patterns[prefix]

    def _pattern(self, prefix: str, arn_format: str) -> re.Pattern[str]:
        parts = PLACEHOLDER.split(arn_format)
        # Texts and placeholders take turns.
        return re.compile(
            "".join(
                self.placeholder_pattern(prefix, part)
                if i % 2
                # A few formats are written with a wildcard: arn:...:dms:...:rep:*
                else re.escape(part).replace(r"\*", _ANYTHING)
                for i, part in enumerate(parts)
            )
        )

    def _find(self, action: str) -> tuple[str, str]:
        prefix, _, name = action.partition(":")
        prefix = prefix.lower()
        if prefix not in self._actions:
            service = self._service(prefix)
            self._actions[prefix] = {
                known.lower(): known for known in (*service["actions"], *service["dependent"])
            }
        return prefix, self._actions[prefix].get(name.lower(), "")

    def _service(self, prefix: str) -> ServiceResources:
        prefix = prefix.lower()
        if prefix not in self._services:
            text = self._table["services"].get(prefix)
            self._services[prefix] = (
                json.loads(text)
                if text is not None
                else ServiceResources(
                    types={}, actions={}, dependent={}, with_slashes=[], with_anything=[]
                )
            )
        return self._services[prefix]


@cache
def load_resource_types() -> ResourceTypes:
    """Return the resource types shipped with Pare; the file is read once per process."""
    table: ResourceTypesTable = read_table("iam_resources.json.gz", schema_version=SCHEMA_VERSION)
    return ResourceTypes(table)
