"""Compile ``pare/data/actions_without_operation.json.gz``: actions no known API operation needs.

The action table maps an event name that no service model has to the action of exactly that name
(consoles, ended services), so every action of the catalogue is in it. Which of them a call is known
to need, and so to show in CloudTrail, is less: those that an operation of the pinned botocore or a
hand-kept row of ``operation_exceptions.json`` needs. The rest is written here: permissions without
a call of their own (iam:PassRole), calls that are no AWS API (rds-db:connect), consoles, services
that have ended.

Run from the root of the repository, after ``tools.compile_operations``:
``python -m tools.compile_observability``.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pare.cloudtrail.operations import OperationTable
from tools.compile_catalogue import to_gzip
from tools.compile_operations import DATA, read_actions, read_clients

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tools.compile_operations import Client

SCHEMA_VERSION = 1
OPERATIONS = DATA / "operations.json.gz"
TARGET = DATA / "actions_without_operation.json.gz"


def compile_observability(clients: Mapping[str, Client]) -> dict[str, Any]:
    """Return the table: service prefix -> names of actions, separated by spaces."""
    operations = json.loads(gzip.decompress(OPERATIONS.read_bytes()))
    needed = {*_by_clients(OperationTable(operations), clients), *_by_rows(operations)}
    without: dict[str, list[str]] = defaultdict(list)
    for prefix, names in sorted(read_actions().items()):
        for name in sorted(names):
            if f"{prefix}:{name}" not in needed:
                without[prefix].append(name)
    botocore = importlib.metadata.version("botocore")
    return {
        "schema_version": SCHEMA_VERSION,
        "sources_of_this_file": [
            {"source": OPERATIONS.name, "licence": "named in that file"},
            {
                "source": f"https://pypi.org/project/botocore/{botocore}/",
                "version": botocore,
                "licence": "Apache-2.0",
            },
        ],
        "retrieved": operations["retrieved"],
        "services": {prefix: " ".join(names) for prefix, names in without.items()},
    }


def _by_clients(table: OperationTable, clients: Mapping[str, Client]) -> Iterator[str]:
    """Yield the actions that the operations of the service models need."""
    for client in clients.values():
        for label in client.labels:
            for operation in client.operations:
                mapped = table.lookup(label, operation)
                if mapped is not None:
                    yield from mapped.actions
                    for conditional in mapped.conditional:
                        yield from conditional.actions


def _by_rows(operations: dict[str, Any]) -> Iterator[str]:
    """Yield the actions that rows of the action table name."""
    parts = [service["operations"] for service in operations["services"].values()]
    for source in operations["sources"].values():
        if isinstance(source, dict):
            parts.append(source.get("operations", {}))
    for rows in parts:
        for row in rows.values():
            if isinstance(row, str):
                yield from row.split()
                continue
            yield from row.get("actions", "").split()
            for index in row.get("when", ()):
                yield from operations["conditionals"][index].get("actions", ())


def main() -> None:
    """Compile and write the table, and say how many actions it has."""
    table = compile_observability(read_clients())
    TARGET.write_bytes(to_gzip(table))
    count = sum(len(names.split()) for names in table["services"].values())
    print(f"{TARGET.name}: {count:,} actions that no known API operation needs")


if __name__ == "__main__":
    main()
