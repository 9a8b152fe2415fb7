"""The IAM action catalogue: every service prefix and action that AWS documents.

The table is ``pare/data/iam_actions.json.gz``, compiled by ``tools/compile_catalogue.py``; this is
its small interpreter. Nothing is read at import: the first ``load_catalogue()`` reads the file.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypedDict

from pare.data_tables import read_table
from pare.policy.patterns import has_wildcard, wildcard_regex

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1


class ServiceTable(TypedDict):
    """One service as the data file holds it."""

    name: str
    actions: dict[str, list[str]]  # access level -> action names without the prefix


class CatalogueTable(TypedDict):
    """The data file."""

    schema_version: int
    source: str
    version: str
    retrieved: str
    licence: str
    services: dict[str, ServiceTable]


class Catalogue:
    """The actions IAM knows. Names are matched without regard to case, as IAM does.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
    """

    __slots__ = ("_actions", "_by_name", "_expanded", "_table", "services")

    def __init__(self, table: CatalogueTable) -> None:
        self._table = table
        self.services: tuple[str, ...] = tuple(sorted(table["services"]))
        # Filled one service at a time, as asked for: most callers need a few of the 456.
        self._by_name: dict[str, Mapping[str, tuple[str, str]]] = {}
        self._actions: dict[str, frozenset[str]] = {}
        self._expanded: dict[str, frozenset[str]] = {}

    @property
    def version(self) -> str:
        """The version of the source this catalogue was compiled from."""
        return self._table["version"]

    def service_name(self, prefix: str) -> str:
        """Return the full name of a service ("Amazon S3" for "s3"); KeyError if there is none."""
        return self._table["services"][prefix.lower()]["name"]

    def actions(self, prefix: str) -> frozenset[str]:
        """Return a service's actions with their prefix; empty if the prefix is not known."""
        prefix = prefix.lower()
        if prefix not in self._actions:
            self._actions[prefix] = frozenset(full for full, _ in self._names(prefix).values())
        return self._actions[prefix]

    def exists(self, action: str) -> bool:
        """Return whether the catalogue has this action, in any spelling of its case."""
        return self._find(action) is not None

    def canonical(self, action: str) -> str:
        """Return the action as AWS spells it; KeyError if the catalogue does not have it."""
        found = self._find(action)
        if found is None:
            raise KeyError(action)
        return found[0]

    def access_level(self, action: str) -> str:
        """Return List, Read, Write, Permissions management or Tagging; KeyError if not known.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_understand-policy-summary-access-level-summaries.html
        """
        found = self._find(action)
        if found is None:
            raise KeyError(action)
        return found[1]

    def expand(self, pattern: str) -> frozenset[str]:
        """Return every action an Action element's value matches; empty if it matches none.

        ``*`` stands for any number of characters and ``?`` for one; ``*`` alone is every action.
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html
        """
        pattern = pattern.lower()
        if pattern not in self._expanded:
            self._expanded[pattern] = self._expand(pattern)
        return self._expanded[pattern]

    def _expand(self, pattern: str) -> frozenset[str]:
        if pattern == "*":
            pattern = "*:*"
        prefix, colon, name = pattern.partition(":")
        if not colon:
            return frozenset()
        prefixes: tuple[str, ...] = (prefix,)
        if has_wildcard(prefix):
            matches_prefix = wildcard_regex(prefix)
            prefixes = tuple(p for p in self.services if matches_prefix.fullmatch(p))
        if not has_wildcard(name):
            return frozenset(
                found[0] for p in prefixes if (found := self._names(p).get(name)) is not None
            )
        if name.strip("*") == "":
            return frozenset().union(*(self.actions(p) for p in prefixes))
        matches = wildcard_regex(name)
        return frozenset(
            full
            for p in prefixes
            for lower, (full, _) in self._names(p).items()
            if matches.fullmatch(lower)
        )

    def _find(self, action: str) -> tuple[str, str] | None:
        prefix, _, name = action.lower().partition(":")
        return self._names(prefix).get(name)

    def _names(self, prefix: str) -> Mapping[str, tuple[str, str]]:
        """Return a service's table: lower-case name -> (full name, access level)."""
        names = self._by_name.get(prefix)
        if names is None:
            service = self._table["services"].get(prefix)
            if service is None:
                return {}
            names = {
                name.lower(): (f"{prefix}:{name}", level)
                for level, level_names in service["actions"].items()
                for name in level_names
            }
            self._by_name[prefix] = names
        return names


@cache
def load_catalogue() -> Catalogue:
    """Return the catalogue shipped with Pare; the file is read once per process."""
    table: CatalogueTable = read_table("iam_actions.json.gz", schema_version=SCHEMA_VERSION)
    return Catalogue(table)
