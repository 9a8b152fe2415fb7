"""Which actions the logs can show: what is granted and was not seen may be unseen, not unused.

Use of an action shows in CloudTrail if some API operation needs it, and if that operation is a
management event, or a data event that the trail records. The tables are
``pare/data/data_event_actions.json``, kept by hand from AWS's pages, and
``pare/data/actions_without_operation.json.gz``, compiled by ``tools/compile_observability.py``.
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-data-events-with-cloudtrail.html

Where AWS's pages leave it open, an action counts as less visible than it may be: kept though
unused, it costs little; dropped though used, it breaks the role. Nothing is read at import.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple, NotRequired, TypedDict

from pare.data_tables import read_table
from pare.policy.catalogue import load_catalogue
from pare.policy.patterns import has_wildcard, wildcard_regex

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SCHEMA_VERSION = 1

Visibility = Literal["management event", "data event", "never"]


class RowJson(TypedDict):
    """Some actions of a service, by name or by pattern, and what is recorded of their use."""

    recorded: Visibility
    actions: list[str]
    document: str
    event_sources: NotRequired[list[str]]  # of data events
    also_management: NotRequired[list[str]]  # operations that are management events all the same
    note: NotRequired[str]


class DataEventsTable(TypedDict):
    """The hand-kept data file."""

    schema_version: int
    retrieved: str
    note: str
    documents: dict[str, str]
    services: dict[str, list[RowJson]]  # the first row of a service that matches counts


class WithoutOperationTable(TypedDict):
    """The compiled data file."""

    schema_version: int
    services: dict[str, str]  # prefix -> names of actions, separated by spaces


class Seen(NamedTuple):
    """What is recorded of an action's use, and the event sources its data events have."""

    visibility: Visibility
    event_sources: frozenset[str]


_MANAGEMENT = Seen("management event", frozenset())
_NEVER = Seen("never", frozenset())


class Observability:
    """The two tables, asked by action."""

    __slots__ = ("_seen", "_table", "_without")

    def __init__(self, table: DataEventsTable, without: WithoutOperationTable) -> None:
        self._table = table
        self._without = without
        # Filled one service at a time: lower-case action -> what is recorded.
        self._seen: dict[str, Mapping[str, Seen]] = {}

    def of(self, action: str) -> Seen:
        """Return what is recorded of an action, in any spelling of its case; never raises."""
        action = action.lower()
        prefix = action.partition(":")[0]
        service = self._seen.get(prefix)
        if service is None:
            service = self._seen[prefix] = self._service(prefix)
        return service.get(action, _NEVER)

    def _service(self, prefix: str) -> Mapping[str, Seen]:
        rows = [
            (_seen(row), [name.lower() for name in row["actions"]])
            for row in self._table["services"].get(prefix, ())
        ]
        without = frozenset(self._without["services"].get(prefix, "").lower().split())
        found: dict[str, Seen] = {}
        for action in load_catalogue().actions(prefix):
            name = action.partition(":")[2].lower()
            has_operation = name not in without
            found[action.lower()] = next(
                (seen for seen, names in rows if _matches(names, name, by_pattern=has_operation)),
                _MANAGEMENT if has_operation else _NEVER,
            )
        return found


def visibility(action: str) -> Visibility:
    """Return what is recorded of an action's use.

    "never" also for what no known API operation needs, and for what the catalogue does not have.
    """
    return load_observability().of(action).visibility


def is_visible(action: str, data_event_sources: Collection[str]) -> bool:
    """Return whether use of an action would have shown in logs with these data events.

    ``data_event_sources``: eventSource of the data events that are in the logs
    (``Totals.data_events``), such as ``s3.amazonaws.com``. A trail that records them for some
    resources only (a bucket, a type), or only reads or writes, is not told apart.
    """
    return _is_visible(load_observability().of(action), _normal(data_event_sources))


def unseen(actions: Iterable[str], data_event_sources: Collection[str]) -> frozenset[str]:
    """Return those of the actions whose use would not have shown, in the spelling given."""
    of, sources = load_observability().of, _normal(data_event_sources)
    return frozenset(action for action in actions if not _is_visible(of(action), sources))


@cache
def load_observability() -> Observability:
    """Return the tables shipped with Pare; the files are read once per process."""
    table: DataEventsTable = read_table("data_event_actions.json", schema_version=SCHEMA_VERSION)
    without: WithoutOperationTable = read_table(
        "actions_without_operation.json.gz", schema_version=SCHEMA_VERSION
    )
    return Observability(table, without)


def _seen(row: RowJson) -> Seen:
    return Seen(row["recorded"], _normal(row.get("event_sources", ())))


def _matches(names: list[str], name: str, *, by_pattern: bool) -> bool:
    """Return whether a row is about an action; a pattern may be forbidden to say so."""
    return any(
        by_pattern and wildcard_regex(pattern).fullmatch(name) is not None
        if has_wildcard(pattern)
        else pattern == name
        for pattern in names
    )


def _is_visible(seen: Seen, data_event_sources: frozenset[str]) -> bool:
    if seen.visibility == "data event":
        return not seen.event_sources.isdisjoint(data_event_sources)
    return seen.visibility == "management event"


def _normal(event_sources: Iterable[str]) -> frozenset[str]:
    """Return event sources as the table spells them; in China some end in ``.cn``."""
    return frozenset(source.strip().lower().removesuffix(".cn") for source in event_sources)
