"""Compile the action table, ``pare/data/operations.json.gz``: operation -> IAM actions.

What it joins, all of it on disk and pinned, so that the same bytes come out every time:

* the service models of the installed botocore (``requirements.txt`` pins it): every operation of
  every client in every API version, its HTTP method and whether it is signed;
* the catalogue of actions (``pare/data/iam_actions.json.gz``) and its dependent actions
  (``pare/data/iam_resources.json.gz``);
* ``pare/data/operation_exceptions.json``: the hand-kept rest, each row with its document.

An operation needs the action of its own name under its client's service prefix if the catalogue
has exactly that one; otherwise a row of the exceptions must say what it needs, or why nothing can
be said. An operation with neither stops this script and is named: that is what a new botocore asks
for. An event name that botocore does not have (consoles, ended services) is mapped in the same way
only: to the action of exactly its name under a prefix that the event source stands for.

Not in the table are actions that the service itself then calls with the caller's rights (forward
access sessions: ec2:CreateNetworkInterface by Amazon EFS, kms:Decrypt by Amazon S3), because
CloudTrail records such a call as an event of its own, with the caller's identity; nor iam:PassRole,
which ``pare/cloudtrail/pass_role.py`` reads from the request.

Run from the root of the repository: ``python -m tools.compile_operations``.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.compile_catalogue import to_gzip

SCHEMA_VERSION = 1
DATA = Path(__file__).parent.parent / "pare" / "data"
CATALOGUE = DATA / "iam_actions.json.gz"
RESOURCES = DATA / "iam_resources.json.gz"
EXCEPTIONS = DATA / "operation_exceptions.json"
TARGET = DATA / "operations.json.gz"
BOTOCORE_LICENCE = "Apache-2.0"

# The dependent actions that a request needs only when it carries tags.
TAGGING_ACTION = re.compile(r"(Tag|AddTags|CreateTags|AddResourceTags)([A-Z]\w*)?")
TAG_MEMBERS = {"tags", "taglist", "tagslist", "tagset", "tagspecifications", "resourcetags"}


@dataclass(frozen=True)
class Operation:
    """One operation of a service model."""

    http_method: str
    signed: bool
    tag_members: tuple[str, ...]


@dataclass
class Client:
    """What all API versions of one botocore client have in common."""

    labels: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    operations: dict[str, Operation] = field(default_factory=dict)
    uri_dates: set[str] = field(default_factory=set)
    versions: list[str] = field(default_factory=list)


def read_clients() -> dict[str, Client]:
    """Return every botocore client with the operations of all its API versions."""
    # The files as they are installed, not botocore's loader: a model in ~/.aws/models must not
    # change the table, and tools import no SDK (tests/unit/test_layers.py).
    clients: dict[str, Client] = {}
    for file in sorted(botocore_folder().glob("data/*/*/service-2.json.gz")):
        name, version = file.parts[-3:-1]
        client = clients.setdefault(name, Client())
        model = json.loads(gzip.decompress(file.read_bytes()))
        client.versions.append(version)
        metadata = model["metadata"]
        # The order says which name is tried first as service prefix.
        for label in (metadata.get("signingName"), metadata["endpointPrefix"]):
            if label and label not in client.names:
                client.names.append(label)
        for operation, row in model["operations"].items():
            client.operations[operation] = read_operation(model, row)
            if date := re.match(r"/(\d{4}-\d{2}-\d{2})/", row["http"]["requestUri"]):
                client.uri_dates.add(date[1])
        client.labels = {label.lower() for label in (*client.names, name)}
    return clients


def botocore_folder() -> Path:
    """Return where the installed botocore is."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        sys.exit("botocore is not installed: run `make setup`.")
    return Path(spec.origin).parent


def read_operation(model: dict[str, Any], row: dict[str, Any]) -> Operation:
    """Return what the table needs to know of an operation."""
    members = model["shapes"][row["input"]["shape"]].get("members", {}) if "input" in row else {}
    return Operation(
        http_method=row["http"]["method"],
        signed=row.get("authtype") != "none" and "smithy.api#noAuth" not in row.get("auth", ()),
        tag_members=tuple(sorted(m for m in members if m.lower() in TAG_MEMBERS)),
    )


def read_actions() -> dict[str, frozenset[str]]:
    """Return the action names of every service prefix."""
    services = json.loads(gzip.decompress(CATALOGUE.read_bytes()))["services"]
    return {
        prefix: frozenset(name for names in service["actions"].values() for name in names)
        for prefix, service in services.items()
    }


def read_dependent() -> dict[str, dict[str, list[str]]]:
    """Return the dependent actions of every action, by service prefix."""
    services = json.loads(gzip.decompress(RESOURCES.read_bytes()))["services"]
    return {
        prefix: (json.loads(service) if isinstance(service, str) else service)["dependent"]
        for prefix, service in services.items()
    }


class Compiler:
    """Joins the sources; ``table()`` is the result."""

    def __init__(
        self,
        clients: dict[str, Client],
        actions: dict[str, frozenset[str]],
        dependent: dict[str, dict[str, list[str]]],
        exceptions: dict[str, Any],
    ) -> None:
        self.clients = clients
        self.actions = actions
        self.dependent = dependent
        self.exceptions = exceptions
        self.wrong: list[str] = []
        self.conditionals: dict[str, int] = {}
        self.services: dict[str, dict[str, Any]] = defaultdict(dict)
        self.source_rows: dict[str, dict[str, Any]] = defaultdict(dict)
        self.source_prefixes: dict[str, list[str]] = {}
        self.source_extras: dict[str, dict[str, Any]] = defaultdict(dict)
        self.client_prefix: dict[str, str | None] = {}

    def table(self) -> dict[str, Any]:
        """Return the whole table; SystemExit with every fault found, if any."""
        self.check_documents()
        self.resolve_prefixes()
        self.name_sources()
        self.add_hand_rows()
        self.add_unsigned()
        self.add_api_gateway()
        self.add_tagging()
        unmapped = self.check_coverage()
        if self.wrong:
            sys.exit("\n".join(self.wrong))
        mapped = sum(len(client.operations) for client in self.clients.values()) - unmapped
        catalogue = json.loads(gzip.decompress(CATALOGUE.read_bytes()))
        resources = json.loads(gzip.decompress(RESOURCES.read_bytes()))
        botocore = importlib.metadata.version("botocore")
        return {
            "schema_version": SCHEMA_VERSION,
            "sources_of_this_file": [
                {
                    "source": f"https://pypi.org/project/botocore/{botocore}/",
                    "version": botocore,
                    "licence": BOTOCORE_LICENCE,
                },
                {
                    "source": catalogue["source"],
                    "version": catalogue["version"],
                    "licence": catalogue["licence"],
                },
                # The dependent actions: tags at creation.
                *(row for row in resources["sources"] if row["source"] != catalogue["source"]),
                {
                    "source": EXCEPTIONS.name,
                    "retrieved": self.exceptions["retrieved"],
                    "licence": "facts, each with its document in that file",
                },
            ],
            "retrieved": self.exceptions["retrieved"],
            "counts": {
                "clients": len(self.clients),
                "operations": mapped + unmapped,
                "mapped": mapped,
                "not_mappable": unmapped,
            },
            "reasons": self.exceptions["reasons"],
            "conditionals": [json.loads(row) for row in self.conditionals],
            "services": {
                prefix: {
                    "names": " ".join(sorted(names)),
                    "operations": dict(sorted(self.services[prefix].items())),
                }
                for prefix, names in sorted(self.actions.items())
            },
            "sources": {source: self.source(source) for source in sorted(self.source_prefixes)},
        }

    def source(self, source: str) -> str | dict[str, Any]:
        """Return an event source as the table holds it."""
        prefixes = self.source_prefixes[source]
        rows = self.source_rows[source]
        extras = self.source_extras[source]
        if len(prefixes) == 1 and not rows and not extras:
            return prefixes[0]
        return {
            "prefixes": prefixes,
            **({"operations": dict(sorted(rows.items()))} if rows else {}),
            **dict(sorted(extras.items())),
        }

    # Which service prefix, which event source

    def check_documents(self) -> None:
        """Every hand-kept row names a document that is listed, and a reason that is."""
        documents = self.exceptions["documents"]
        for section in ("clients", "event_sources", "operations", "not_mappable"):
            for row in self.exceptions[section]:
                if row.get("document") not in documents:
                    self.wrong.append(f"{section}: no document for {row}")
                for key in ("reason", "no_action"):
                    if key in row and row[key] not in self.exceptions["reasons"]:
                        self.wrong.append(f"{section}: unknown reason in {row}")

    def resolve_prefixes(self) -> None:
        """Find every client's service prefix: a row, else signingName, else endpointPrefix."""
        rows = {row["client"]: row for row in self.exceptions["clients"]}
        for name in rows.keys() - self.clients.keys():
            self.wrong.append(f"clients: botocore has no client {name}")
        for name, client in self.clients.items():
            if name in rows:
                self.client_prefix[name] = rows[name]["prefix"]
                continue
            found = [label for label in client.names if label in self.actions]
            if not found:
                self.wrong.append(
                    f"The client {name} ({', '.join(client.names)}) has no service prefix: add a "
                    f"row to `clients` in {EXCEPTIONS.name}."
                )
            self.client_prefix[name] = found[0] if found else None

    def name_sources(self) -> None:
        """Give every event source its service prefixes.

        CloudTrail's eventSource is, for nearly every service, the endpoint prefix or the signing
        name; the rest are rows. A service prefix that no client claims (console-only services) is
        its own event source.
        """
        claimed: dict[str, list[str]] = defaultdict(list)
        for name, client in sorted(self.clients.items()):
            prefix = self.client_prefix[name]
            for label in client.labels:
                prefixes = claimed[label]
                if prefix is not None and prefix not in prefixes:
                    prefixes.append(prefix)
        for prefix in self.actions:
            claimed.setdefault(prefix, [prefix])
        for row in self.exceptions["event_sources"]:
            claimed[row["source"]] = row["prefixes"]
            if "reason" in row:
                self.source_extras[row["source"]]["no_action"] = row["reason"]
            if "versions_of" in row:
                self.source_extras[row["source"]]["suffixes"] = self.suffixes(row)
        for source, prefixes in claimed.items():
            if len(prefixes) > 1 and not any(
                row["source"] == source for row in self.exceptions["event_sources"]
            ):
                self.wrong.append(f"{source} stands for {prefixes}: add a row to `event_sources`.")
            for prefix in prefixes:
                if prefix not in self.actions:
                    self.wrong.append(f"event_sources: {prefix} is not a service prefix.")
            self.check_shared(source, prefixes)
        self.source_prefixes = dict(claimed)

    def check_shared(self, source: str, prefixes: list[str]) -> None:
        """Where services share an event source, an operation of both needs a row that decides."""
        decided = {
            operation
            for row in self.exceptions["operations"]
            if row.get("source") == source
            for operation in row["operations"]
        }
        seen: set[str] = set()
        for prefix in prefixes:
            operations = set(self.actions.get(prefix, ()))
            for name, client in self.clients.items():
                if self.client_prefix[name] == prefix:
                    operations |= client.operations.keys()
            for operation in sorted(operations & seen - decided):
                self.wrong.append(f"{source}: {prefix} and another service have {operation}.")
            seen |= operations

    def suffixes(self, row: dict[str, Any]) -> list[str]:
        """Return the version suffixes that CloudTrail appends to a service's event names."""
        client = self.clients[row["versions_of"]]
        dates = {*client.versions, *client.uri_dates, *row.get("more_versions", ())}
        spelled = (date.replace("-", row["separator"]) for date in dates)
        return sorted(
            (date + end for date in spelled for end in ("", *row.get("revisions", ()))),
            key=lambda suffix: (-len(suffix), suffix),
        )

    # What each operation needs

    def add_hand_rows(self) -> None:
        """Take over the rows of `operations`."""
        for row in self.exceptions["operations"]:
            rows = self.services[row["service"]] if "service" in row else None
            if rows is None:
                rows = self.source_rows[row["source"]]
                if row["source"] not in self.source_prefixes:
                    self.wrong.append(f"operations: no event source {row['source']}")
            elif row["service"] not in self.actions:
                self.wrong.append(f"operations: {row['service']} is not a service prefix")
            compiled = self.compile_row(row)
            for operation in row["operations"]:
                if operation in rows:
                    self.wrong.append(f"operations: two rows for {operation} in {row}")
                rows[operation] = compiled
        for row in self.exceptions["clients"]:
            if row["prefix"] is None:
                client = self.clients[row["client"]]
                for label in client.labels:
                    for operation in client.operations:
                        self.source_rows[label].setdefault(operation, {"no_action": row["reason"]})
        for row in self.exceptions["event_sources"]:
            if row.get("small_first_letter"):
                (prefix,) = row["prefixes"]
                for name in sorted(self.actions[prefix]):
                    self.source_rows[row["source"]][name[0].lower() + name[1:]] = f"{prefix}:{name}"

    def compile_row(self, row: dict[str, Any]) -> str | dict[str, Any]:
        """Return a row as the table holds it, its actions checked against the catalogue."""
        if "no_action" in row:
            return {"no_action": row["no_action"]}
        self.check_actions(row["actions"], row)
        actions = " ".join(sorted(row["actions"]))
        if "when" not in row:
            return actions
        return {
            **({"actions": actions} if actions else {}),
            "when": [self.conditional(when, row) for when in row["when"]],
        }

    def conditional(self, when: dict[str, Any], row: dict[str, Any]) -> int:
        """Return the number of a condition in the table."""
        self.check_actions([*when.get("actions", ()), *when.get("instead_of", ())], row)
        tests = [test for test in ("equals", "contains", "starts_with") if test in when]
        values = [when[tests[0]]] if tests and isinstance(when[tests[0]], str) else None
        compiled = {
            "parameters": when["parameters"],
            "test": tests[0] if tests else "present",
            **({"values": values or when[tests[0]]} if tests else {}),
            **({"actions": sorted(when["actions"])} if "actions" in when else {}),
            **({"instead_of": sorted(when["instead_of"])} if "instead_of" in when else {}),
        }
        return self.conditionals.setdefault(json.dumps(compiled), len(self.conditionals))

    def check_actions(self, actions: list[str], row: dict[str, Any]) -> None:
        """Note every action that the catalogue does not spell exactly so."""
        for action in actions:
            prefix, _, name = action.partition(":")
            if name not in self.actions.get(prefix, ()):
                self.wrong.append(f"The catalogue has no action {action}: {row}")

    def add_unsigned(self) -> None:
        """Operations that the service models call without a signature need no IAM action."""
        reasons = {
            row["client"]: row["unsigned"]
            for row in self.exceptions["clients"]
            if "unsigned" in row
        }
        for name, client in self.clients.items():
            prefix = self.client_prefix[name]
            for operation, row in client.operations.items():
                if row.signed or prefix is None or operation in self.services[prefix]:
                    continue
                if name not in reasons:
                    self.wrong.append(
                        f"{name}.{operation} is called unsigned: say why in `clients` (unsigned)."
                    )
                elif reasons[name] is not None:
                    self.services[prefix][operation] = {"no_action": reasons[name]}

    def add_api_gateway(self) -> None:
        """API Gateway's own API is authorized by the HTTP method, on the path as resource.

        https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagement.html
        """
        methods: dict[str, set[str]] = defaultdict(set)
        for name in ("apigateway", "apigatewayv2"):
            for operation, row in self.clients[name].operations.items():
                if operation not in self.actions["apigateway"]:
                    methods[operation].add(row.http_method)
        for operation, verbs in methods.items():
            actions = [f"apigateway:{verb}" for verb in sorted(verbs)]
            self.services["apigateway"].setdefault(operation, " ".join(actions))

    def add_tagging(self) -> None:
        """Operations whose action depends on a tagging action need it when they carry tags."""
        for name, client in sorted(self.clients.items()):
            prefix = self.client_prefix[name]
            if prefix is None:
                continue
            rows = self.services[prefix]
            for operation, row in sorted(client.operations.items()):
                tagging = [
                    action
                    for action in self.dependent.get(prefix, {}).get(operation, ())
                    if action.startswith(f"{prefix}:")
                    and TAGGING_ACTION.fullmatch(action.partition(":")[2])
                ]
                if not tagging or not row.tag_members or operation in rows:
                    continue
                when = {"parameters": tag_parameters(prefix, operation, row), "actions": tagging}
                rows[operation] = {
                    "actions": f"{prefix}:{operation}",
                    "when": [self.conditional(when, {"operation": operation})],
                }

    def check_coverage(self) -> int:
        """Every operation is mapped or listed, never both; return how many are listed."""
        listed = {
            (row["client"], operation)
            for row in self.exceptions["not_mappable"]
            for operation in row["operations"]
        }
        for row in self.exceptions["not_mappable"]:
            for operation in row["operations"]:
                if operation not in self.clients[row["client"]].operations:
                    self.wrong.append(f"not_mappable: {row['client']} has no {operation}")
        missing: dict[str, list[str]] = defaultdict(list)
        for name, client in self.clients.items():
            prefix = self.client_prefix[name]
            for operation in client.operations:
                mapped = prefix is None or (
                    operation in self.services[prefix] or operation in self.actions[prefix]
                )
                if mapped and (name, operation) in listed:
                    self.wrong.append(f"not_mappable: {name}.{operation} is mapped; drop it there.")
                if not mapped and (name, operation) not in listed:
                    missing[f"{name} ({prefix})"].append(operation)
        for name, operations in sorted(missing.items()):
            self.wrong.append(
                f"{name}: no action for {', '.join(sorted(operations))}. Add rows to `operations` "
                f"(what AWS documents) or to `not_mappable` in {EXCEPTIONS.name}."
            )
        return len(listed)


def tag_parameters(prefix: str, operation: str, row: Operation) -> list[str]:
    """Return where CloudTrail writes the tags of a request.

    It spells members with a small first letter; Amazon EC2 has its own two ways, seen in records:
    tagSpecificationSet, and CreateFlowLogsRequest.TagSpecification.
    """
    if prefix == "ec2":
        return ["tagSpecificationSet", f"{operation}Request.TagSpecification"]
    return sorted(
        {member[0].lower() + member[1:] for member in row.tag_members} | {*row.tag_members}
    )


def compile_operations(clients: dict[str, Client]) -> dict[str, Any]:
    """Return the table, compiled from the service models and the other data files."""
    exceptions = json.loads(EXCEPTIONS.read_text(encoding="utf-8"))
    return Compiler(clients, read_actions(), read_dependent(), exceptions).table()


def main() -> None:
    """Compile and write the table, and say what was written."""
    table = compile_operations(read_clients())
    content = to_gzip(table)
    TARGET.write_bytes(content)
    counts = table["counts"]
    print(
        f"{TARGET.name}: {counts['operations']} operations of {counts['clients']} clients, "
        f"{counts['mapped']} mapped, {counts['not_mappable']} not mappable, "
        f"{len(table['sources'])} event sources, {len(content)} bytes",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
