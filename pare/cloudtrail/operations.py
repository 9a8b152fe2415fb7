"""The action table: which IAM actions the operation of a CloudTrail event needs.

``pare/data/operations.json.gz``, compiled by ``tools/compile_operations.py``, names every operation
of every service; this is its small interpreter. Nothing is read at import: the first
``load_operations()`` reads the file. A lookup never guesses: an operation that is not in the table
is unmapped (None).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

# The other half of what an event says: the callers of this table need both.
from pare.cloudtrail.denials import outcome_of as outcome_of
from pare.data_tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA_VERSION = 1

# Longer first: in China some event sources end as the endpoints there do.
_DOMAINS = (".amazonaws.com.cn", ".amazonaws.com", ".aws.internal", ".aws")

Test = Literal["present", "equals", "contains", "starts_with"]


class ConditionalTable(TypedDict):
    """A condition on the request as the data file holds it."""

    parameters: list[str]
    test: Test
    values: NotRequired[list[str]]
    actions: NotRequired[list[str]]
    instead_of: NotRequired[list[str]]


class OperationRow(TypedDict):
    """An operation whose actions are not simply its name: the key of a reason, or actions."""

    no_action: NotRequired[str]
    actions: NotRequired[str]
    when: NotRequired[list[int]]


# A row that says only which actions (separated by spaces) is a string.
Rows = dict[str, str | OperationRow]


class ServiceTable(TypedDict):
    """The operations of one service prefix."""

    names: str  # the operations whose action has the same name, separated by spaces
    operations: Rows


class SourceTable(TypedDict):
    """An event source: the service prefixes behind it, in order, and rows of its own."""

    prefixes: list[str]
    operations: NotRequired[Rows]
    suffixes: NotRequired[list[str]]
    no_action: NotRequired[str]


class OperationsTable(TypedDict):
    """The data file."""

    schema_version: int
    reasons: dict[str, str]
    conditionals: list[ConditionalTable]
    services: dict[str, ServiceTable]
    # An event source with one service prefix and nothing else is just the prefix.
    sources: dict[str, str | SourceTable]


@dataclass(frozen=True, slots=True)
class Conditional:
    """Actions an operation needs, beside or instead of others, when its request says so."""

    parameters: tuple[str, ...]  # dotted paths in requestParameters; any of them
    test: Test
    values: tuple[str, ...]  # what ``equals``, ``contains`` and ``starts_with`` look for; any
    actions: tuple[str, ...]  # needed when the test holds
    instead_of: tuple[str, ...]  # not needed then

    def holds(self, params: Mapping[str, object]) -> bool:
        """Return whether the request's parameters satisfy the test; False for any odd shape."""
        return any(
            self._accepts(value) for path in self.parameters for value in _values(params, path)
        )

    def _accepts(self, value: object) -> bool:
        if self.test == "present":
            # Empty is what CloudTrail writes for a parameter without a value, e.g. tags: [].
            return value not in (None, "", False) and value not in ([], {})
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str):
            return False
        if self.test == "equals":
            return value in self.values
        if self.test == "contains":
            return any(part in value for part in self.values)
        return value.lstrip().upper().startswith(self.values)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the table says of an operation.

    ``actions`` are always needed, ``conditional`` ones when a request parameter says so. With
    ``no_action`` (a reason) there are neither. An operation without ``actions`` and without
    ``no_action`` is decided by its conditionals alone (DynamoDB's transactions).
    """

    actions: tuple[str, ...]
    conditional: tuple[Conditional, ...] = ()
    no_action: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """The top-level names in requestParameters that the conditionals look at, sorted."""
        return tuple(
            sorted(
                {
                    path.partition(".")[0]
                    for conditional in self.conditional
                    for path in conditional.parameters
                }
            )
        )

    def for_request(self, params: Mapping[str, object]) -> tuple[str, ...]:
        """Return the actions this request needed, sorted and distinct; never raises.

        Empty although ``no_action`` is None: the request does not say which actions, so the event
        is to be treated as unmapped.
        """
        if not self.conditional:
            return self.actions
        added: set[str] = set()
        removed: set[str] = set()
        for conditional in self.conditional:
            if conditional.holds(params):
                added.update(conditional.actions)
                removed.update(conditional.instead_of)
        return tuple(sorted((set(self.actions) | added) - removed))


class OperationTable:
    """The table, asked by event source and event name."""

    __slots__ = ("_names", "_table", "_when")

    def __init__(self, table: OperationsTable) -> None:
        self._table = table
        # Filled one service at a time, as asked for: most logs hold a few of the 400.
        self._names: dict[str, frozenset[str]] = {}
        self._when: dict[int, Conditional] = {}

    def lookup(self, event_source: str, event_name: str) -> Mapped | None:
        """Return what an operation needs; None if the table does not have the operation.

        ``event_source`` is the record's eventSource, "s3.amazonaws.com" (or "s3"). Cheap enough
        to be called once per distinct pair; the caller keeps the answer.
        """
        source = self._table["sources"].get(_label(event_source))
        if source is None:
            return None
        if isinstance(source, str):
            source = {"prefixes": [source]}
        name = event_name.strip()
        found = self._find(source, name)
        if found is None:
            for suffix in source.get("suffixes", ()):
                if name.endswith(suffix):
                    found = self._find(source, name.removesuffix(suffix))
                    break
        if found is None and (reason := source.get("no_action")) is not None:
            return Mapped((), no_action=self._table["reasons"][reason])
        return found

    def _find(self, source: SourceTable, name: str) -> Mapped | None:
        row = source.get("operations", {}).get(name)
        if row is not None:
            return self._mapped(row)
        for prefix in source["prefixes"]:
            row = self._table["services"][prefix]["operations"].get(name)
            if row is not None:
                return self._mapped(row)
            if name in self._same_names(prefix):
                return Mapped((f"{prefix}:{name}",))
        return None

    def _same_names(self, prefix: str) -> frozenset[str]:
        names = self._names.get(prefix)
        if names is None:
            names = frozenset(self._table["services"][prefix]["names"].split())
            self._names[prefix] = names
        return names

    def _mapped(self, row: str | OperationRow) -> Mapped:
        if isinstance(row, str):
            return Mapped(tuple(row.split()))
        if (reason := row.get("no_action")) is not None:
            return Mapped((), no_action=self._table["reasons"][reason])
        return Mapped(
            tuple(row.get("actions", "").split()),
            tuple(self._conditional(index) for index in row.get("when", ())),
        )

    def _conditional(self, index: int) -> Conditional:
        conditional = self._when.get(index)
        if conditional is None:
            row = self._table["conditionals"][index]
            conditional = Conditional(
                parameters=tuple(row["parameters"]),
                test=row["test"],
                values=tuple(row.get("values", ())),
                actions=tuple(row.get("actions", ())),
                instead_of=tuple(row.get("instead_of", ())),
            )
            self._when[index] = conditional
        return conditional


@cache
def load_operations() -> OperationTable:
    """Return the table shipped with Pare; the file is read once per process."""
    table: OperationsTable = read_table("operations.json.gz", schema_version=SCHEMA_VERSION)
    return OperationTable(table)


def _label(event_source: str) -> str:
    """Return "s3" for "s3.amazonaws.com"."""
    label = event_source.strip().lower()
    for domain in _DOMAINS:
        if label.endswith(domain):
            return label.removesuffix(domain)
    return label


def _values(value: Any, path: str) -> Iterator[object]:
    """Yield what stands at a dotted path, of every item where a list stands in between."""
    name, _, rest = path.partition(".")
    # One level of lists only: a hostile record nests them as deep as it likes.
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, dict) and name in item:
            if rest:
                yield from _values(item[name], rest)
            else:
                yield item[name]
