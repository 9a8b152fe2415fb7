"""The ARNs an event's actions were authorized on, from its parameters and its ``resources[]``.

The tables are ``pare/data/resources.json.gz``, compiled by ``tools/compile_resources.py``, and the
ARN formats of the catalogue; this is their interpreter. Nothing is read at import.

What an event does not say is UNKNOWN and never guessed: no wildcard but those AWS documents, for an
id that the service chooses (``instance/*`` for RunInstances), ever gets into an ARN from here.
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypedDict

from pare.data_tables import read_table
from pare.policy.resource_types import PLACEHOLDER, ResourceTypes, load_resource_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

SCHEMA_VERSION = 1

# More than any name of AWS, S3 keys (1,024 bytes) included; and a bound on work per event.
_MAX_VALUE_LENGTH = 1024
_MAX_ARN_LENGTH = 1200
_MAX_VALUES = 1000
_MAX_NUMBER = 10**18
_MAX_DEPTH = 12

# The date that Lambda and CloudFront put behind an operation's name.
# https://docs.aws.amazon.com/lambda/latest/dg/logging-using-cloudtrail.html
_DATE = re.compile(r"(?:20\d{6}(?:v\d)?|20\d\d_\d\d_\d\d)$")

# What a name or an ARN has to be in order to be copied: printable ASCII, without the characters IAM
# reads as a wildcard and without quotes; "${" would begin a policy variable.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
_SAFE = re.compile(r"(?! )(?!.*\$\{)[ !#-&()+-.\/-9:-<=>@-\[\]^_a-~]+(?<! )")

_HEADER = frozenset({"Partition", "Region", "Account"})
_ACCOUNT = re.compile(r"[0-9]{12}")

# How EC2's query and XML parameters wrap a list or a value in CloudTrail.
_WRAPPERS = ("items", "item", "member", "content", "value")

# Where a free text or a filter may hold something that looks like an id.
_NOT_AN_ID = frozenset(
    {
        "additionalinfo",
        "clientdata",
        "clienttoken",
        "description",
        "filter",
        "filters",
        "filterset",
        "tag",
        "tags",
        "tagset",
        "tagspecification",
        "tagspecifications",
        "tagspecificationset",
        "userdata",
    }
)


class Special(enum.Enum):
    """What is known of an event's resources where there is no list of ARNs."""

    ANY = "*"
    UNKNOWN = "unknown"


ANY: Final = Special.ANY
"""The action takes no resource: IAM authorizes it on ``*``."""

UNKNOWN: Final = Special.UNKNOWN
"""The action takes a resource, but it is not in the event."""

Resources: TypeAlias = tuple[str, ...] | Literal[Special.ANY, Special.UNKNOWN]

Found: TypeAlias = set[str] | frozenset[str] | Literal[Special.ANY] | None
"""What one recipe finds; None: a value is there that cannot be used."""

_NONE: Final[frozenset[str]] = frozenset()


class RecipeRow(TypedDict, total=False):
    """How to find the ARNs of one resource type, as the data file holds it.

    A path that starts with ">" is one of the response.
    """

    arn: list[str]  # paths whose value is such an ARN
    fill: dict[str, list[str]]  # placeholder -> paths whose value it is
    scan: list[str]  # top-level fields to search for ids of the type's pattern
    text: dict[str, str]  # placeholder -> what stands for it: "*" for an id the service chooses
    default: dict[str, str]  # placeholder -> its value if the event names none
    when: dict[str, str]  # path -> pattern of its value ("" if there is none), or nothing is found
    format: str  # instead of the catalogue's
    resources: bool  # what resources[] has of the type (otherwise looked at first of all)
    besides: list[str]  # with `resources`: the one that is left without that of these paths
    only: bool  # neither resources[] nor an ARN in place of a name is what IAM evaluates
    types: list[str]  # instead of the one type: those of which an ARN counts
    account: str  # a path: the account that owns the resource, if the event names one
    kind: list[str]  # paths, one of whose values must be the type's name, or nothing is found
    any: bool  # without a resource in the event, IAM evaluates "*"
    each: bool  # a member of a list that has no value has the default
    all: bool  # the values of all paths count, not those of the first path that has any


class ServiceRow(TypedDict):
    """One service prefix as the data file holds it (as JSON in a text, decoded when asked for)."""

    # operation -> action without prefix -> type -> recipes, the first that finds something wins;
    # the type "*" stands for all of the action's types together
    operations: dict[str, dict[str, dict[str, list[RecipeRow]]]]
    any_operation: dict[str, list[RecipeRow]]  # type -> recipes, for operations not listed
    # placeholder -> pattern: a value without it cannot be used; "type|placeholder" -> pattern: a
    # value without it belongs to another type
    values: dict[str, str]
    extract: dict[str, str]  # placeholder -> pattern whose named groups are placeholders
    maps: dict[str, dict[str, str]]  # placeholder -> value in the event -> value in the ARN


class ResourcesFile(TypedDict):
    """The data file."""

    schema_version: int
    services: dict[str, str]
    # event source without ".amazonaws.com" -> operation -> paths of the roles it passes
    pass_role: dict[str, dict[str, list[str]]]


class ResourceTable:
    """How to find the resources of every operation."""

    __slots__ = ("_services", "_table", "_types")

    def __init__(self, table: ResourcesFile, types: ResourceTypes) -> None:
        self._table = table
        self._types = types
        self._services: dict[str, _Service | None] = {}

    def plan(self, event_source: str, event_name: str, actions: tuple[str, ...]) -> ResourcePlan:
        """Return how to find the resources of these actions in an operation's events."""
        operation = undated(event_name)
        plans: dict[str, tuple[TypePlan, ...]] = {}
        for action in actions:
            prefix, _, name = action.partition(":")
            uses = self._types.types_of(action)
            if not uses:
                plans[action] = ()
                continue
            service = self._service(prefix.lower())
            whole = service.recipes(operation, name.lower(), "*")
            if whole:
                plans[action] = (TypePlan("*", True, whole, service),)
            else:
                plans[action] = tuple(
                    TypePlan(
                        use.name,
                        use.required,
                        service.recipes(operation, name.lower(), use.name),
                        service,
                    )
                    for use in uses
                )
        return ResourcePlan(plans)

    @property
    def pass_role(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Where operations that depend on iam:PassRole have roles in their parameters."""
        return self._table["pass_role"]

    def _service(self, prefix: str) -> _Service:
        service = self._services.get(prefix)
        if service is None:
            text = self._table["services"].get(prefix)
            row: ServiceRow = (
                json.loads(text)
                if text is not None
                else ServiceRow(operations={}, any_operation={}, values={}, extract={}, maps={})
            )
            service = self._services[prefix] = _Service(prefix, row, self._types)
        return service


class ResourcePlan:
    """How to find the resources of one operation's actions in its events."""

    __slots__ = (
        "_alternatives",
        "_by_kind",
        "request_fields",
        "response_fields",
        "types",
        "uses_resources",
    )

    def __init__(self, plans: Mapping[str, tuple[TypePlan, ...]]) -> None:
        self.types = plans
        self._by_kind = {action: _by_kind(types) for action, types in plans.items()}
        self._alternatives = {
            action: _alternatives(action, types) for action, types in plans.items()
        }
        paths = [
            path for types in plans.values() for type_plan in types for path in type_plan.paths
        ]
        self.request_fields: tuple[str, ...] = spellings(
            path.steps[0] for path in paths if not path.is_response
        )
        self.response_fields: tuple[str, ...] = spellings(
            path.steps[0] for path in paths if path.is_response
        )
        self.uses_resources: bool = any(plans.values())

    def arns(
        self,
        action: str,
        request: Mapping[str, Any],
        response: Mapping[str, Any],
        resources: Sequence[Any],
        *,
        partition: str,
        region: str,
        account_id: str,
    ) -> Resources:
        """Return the ARNs the action was authorized on, sorted; or ANY, or UNKNOWN.

        The parameters may have any shape: this never raises.
        """
        ((_, arns),) = self.arns_of_all(
            (action,), request, response, resources,
            partition=partition, region=region, account_id=account_id,
        )  # fmt: skip
        return arns

    def arns_of_all(
        self,
        actions: Iterable[str],
        request: Mapping[str, Any],
        response: Mapping[str, Any],
        resources: Sequence[Any],
        *,
        partition: str,
        region: str,
        account_id: str,
    ) -> list[tuple[str, Resources]]:
        """Return these actions, each with its ``arns``."""
        header = {"Partition": partition, "Region": region, "Account": account_id}
        event = _Event(_lowered(request), _lowered(response), _arns_of(resources), header)
        return [(action, self._arns_in(action, event)) for action in actions]

    def _arns_in(self, action: str, event: _Event) -> Resources:
        type_plans = self.types.get(action)
        if type_plans is None:
            return UNKNOWN
        if not type_plans:
            return ANY
        found: set[str] = set()
        is_any = False
        alternatives = self._alternatives[action]
        missing: set[str] = set()
        met: set[str] = set()
        by_kind = self._by_kind[action]
        if by_kind is not None and not event.resources:
            kinds = {value.lower() for path in by_kind.paths for value in path.values(event)}
            type_plans = tuple(by_kind.types[kind] for kind in sorted(kinds & by_kind.types.keys()))
        for type_plan in type_plans:
            arns = type_plan.find(event)
            group = alternatives.get(type_plan.name)
            if arns is None or (type_plan.required and not arns and group is None):
                return UNKNOWN
            if group is not None:
                (met if arns else missing).add(group)
            if arns is ANY:
                is_any = True
            elif arns:
                found.update(arns)
        if missing - met:
            return UNKNOWN
        if found:
            return tuple(sorted(found))
        return ANY if is_any else UNKNOWN


@dataclass(slots=True)
class _Event:
    """What one event says; the names of parameters in lower case, as CloudTrail varies them."""

    request: Mapping[str, Any]
    response: Mapping[str, Any]
    resources: tuple[str, ...]
    header: dict[str, str]  # Partition, Region, Account
    # Every text beneath a field, and beneath some: an operation's types look at the same for ids.
    leaves: dict[_Field | tuple[_Field, ...], list[str]] = field(default_factory=dict)
    # What was found at a path: many types look at the same (the kind of a resource to tag).
    found: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def texts(self, fields: tuple[_Field, ...]) -> list[str]:
        """Return every text anywhere beneath these top-level fields that is not too long."""
        found = self.leaves.get(fields)
        if found is None:
            found = self.leaves[fields] = []
            for each in fields:
                # Most of the many fields an operation has are not there.
                if each.name in (self.response if each.is_response else self.request):
                    found += self._beneath(each)
        return found

    def _beneath(self, each: _Field) -> list[str]:
        found = self.leaves.get(each)
        if found is None:
            found = self.leaves[each] = []
            _add_leaves((self.response if each.is_response else self.request)[each.name], 0, found)
        return found


class _Field(NamedTuple):
    """A top-level field, its name in lower case."""

    is_response: bool
    name: str


class _Path:
    """Where the parameters hold a value."""

    __slots__ = ("first", "is_response", "rest", "steps", "text")

    def __init__(self, path: str) -> None:
        self.text = path
        self.is_response = path.startswith(">")
        self.steps = path.removeprefix(">").split(".")
        self.first, self.rest = self.steps[0].lower(), self.steps[1:]

    def values(self, event: _Event) -> Sequence[str]:
        """Return the texts there, through every list on the way."""
        root = event.response if self.is_response else event.request
        value = root.get(self.first)
        if value is None:
            # Whole parameters are wrapped only now and then.
            if self.first != "*" and root.keys().isdisjoint(_WRAPPERS):
                return ()
        elif isinstance(value, str) and not self.rest:
            return (value,) if value else ()
        found = event.found.get(self.text)
        if found is None:
            walk = _walk(root, self.steps, 0) if value is None else _walk(value, self.rest, 1)
            found = event.found[self.text] = tuple(walk)
        return found

    def lacks(self, event: _Event) -> bool:
        """Return whether a member of the list at the first step has no value at the second."""
        members = (event.response if self.is_response else event.request).get(self.first)
        return isinstance(members, list) and any(
            isinstance(member, dict) and not _get(member, self.rest[0] if self.rest else "")
            for member in members[:_MAX_VALUES]
        )


class _Service:
    """One service's part of both tables."""

    __slots__ = ("_checks", "_row", "extract", "formats", "maps", "prefix", "types", "values")

    def __init__(self, prefix: str, row: ServiceRow, types: ResourceTypes) -> None:
        self._row = row
        self._checks: dict[str, Callable[[str], bool]] = {}
        self.prefix = prefix
        self.types = types
        self.formats = types.arn_formats(prefix)
        self.values = {name: re.compile(pattern) for name, pattern in row["values"].items()}
        self.maps = row["maps"]
        self.extract = {name: re.compile(pattern) for name, pattern in row["extract"].items()}

    def recipes(self, operation: str, action: str, type_name: str) -> tuple[RecipeRow, ...]:
        types = self._row["operations"].get(operation, {}).get(action, {})
        return tuple(types.get(type_name, [])) or tuple(
            self._row["any_operation"].get(type_name, [])
        )

    def fits(self, placeholder: str, value: str) -> bool:
        """Return whether the value can be copied into an ARN for this placeholder."""
        return self.check(placeholder)(value)

    def check(self, placeholder: str) -> Callable[[str], bool]:
        """Return what tells whether a value ``fits`` the placeholder."""
        check = self._checks.get(placeholder)
        if check is None:
            pattern = self.values.get(placeholder) or re.compile(
                self.types.placeholder_pattern(self.prefix, placeholder)
            )
            check = self._checks[placeholder] = _check(pattern)
        return check


class TypePlan:
    """How to find the ARNs of one resource type of an action."""

    __slots__ = ("ignores_resources", "name", "paths", "recipes", "required", "service")

    def __init__(
        self, name: str, required: bool, rows: tuple[RecipeRow, ...], service: _Service
    ) -> None:
        self.name = name
        self.required = required
        self.service = service
        self.recipes = tuple(Recipe(row, self) for row in rows)
        self.ignores_resources = any(recipe.only for recipe in self.recipes)
        self.paths = [path for recipe in self.recipes for path in recipe.paths()]

    def find(self, event: _Event) -> Found:
        """Return the type's ARNs in the event; ANY if it needs none; None if they cannot be told.

        They cannot where a value is there that does not fit into an ARN.
        """
        if event.resources and not self.ignores_resources:
            found = self.of_type(event.resources)
            if found:
                return found
        for recipe in self.recipes:
            arns = recipe.find(event)
            if arns is None or arns:
                return arns
        return _NONE

    def of_type(self, arns: Iterable[str]) -> set[str]:
        """Return those ARNs that are of this type."""
        return {arn for arn in arns if self.is_of_type(arn)}

    def is_of_type(self, arn: str) -> bool:
        return self.service.types.is_of_type(arn, self.service.prefix, self.name)


class Slot:
    """What may stand for one placeholder of an ARN format."""

    __slots__ = (
        "default",
        "each",
        "extract",
        "map",
        "name",
        "own",
        "paths",
        "service",
        "takes_all",
    )

    def __init__(self, name: str, row: RecipeRow, plan: TypePlan) -> None:
        self.name = name
        self.service = plan.service
        self.paths = [_Path(path) for path in row.get("fill", {}).get(name, ())]
        self.takes_all = bool(row.get("all"))
        self.each = bool(row.get("each"))
        self.extract = plan.service.extract.get(name)
        self.map = plan.service.maps.get(name)
        self.own = plan.service.values.get(f"{plan.name}|{name}")
        text = row.get("text", {}).get(name, row.get("default", {}).get(name))
        self.default: list[dict[str, str]] = [] if text is None else [{name: text}]

    def values(self, event: _Event) -> list[dict[str, str]] | None:
        """Return the values, each with what else it says; None if one cannot be used."""
        found: list[dict[str, str]] = []
        for path in self.paths:
            for value in path.values(event):
                groups = self._groups(value)
                if groups is None:
                    return None
                if groups and groups not in found:
                    found.append(groups)
                if len(found) > _MAX_VALUES:
                    return None
            if found and not self.takes_all:
                break
        if found and self.each and self.lacks(event):
            found += [groups for groups in self.default if groups not in found]
        return found or self.default

    def lacks(self, event: _Event) -> bool:
        """Return whether a member of a list has no value while others may."""
        return self.each and any(path.lacks(event) for path in self.paths)

    def _groups(self, value: str) -> dict[str, str] | None:
        """Return what a value stands for, nothing if for another type; None if it is unusable."""
        if self.extract is not None:
            match = self.extract.fullmatch(value)
            if match is None:
                return None
            groups = {name: text for name, text in match.groupdict().items() if text is not None}
        elif value.startswith("arn:"):
            return {}
        elif self.map is not None:
            groups = {self.name: self.map.get(value, "")}
        else:
            groups = {self.name: value}
        if self.own is not None and not self.own.fullmatch(groups.get(self.name, "")):
            return {}
        if not all(self.service.fits(name, text) for name, text in groups.items()):
            return None
        return groups


class Recipe:
    """One row of the table, ready to be followed."""

    __slots__ = (
        "account", "arn_paths", "besides", "formats", "is_any", "kind", "only", "plan", "scan",
        "scan_paths", "scanned", "types", "uses_resources", "when",
    )  # fmt: skip

    def __init__(self, row: RecipeRow, plan: TypePlan) -> None:
        service = plan.service
        self.plan = plan
        self.when = [(_Path(p), re.compile(text)) for p, text in row.get("when", {}).items()]
        self.kind = [_Path(path) for path in row.get("kind", ())]
        self.is_any = bool(row.get("any"))
        self.uses_resources = bool(row.get("resources"))
        self.besides = [_Path(path) for path in row.get("besides", ())]
        self.only = bool(row.get("only"))
        self.types = row.get("types", ())
        self.account = _Path(row["account"]) if "account" in row else None
        filled = [path for paths in row.get("fill", {}).values() for path in paths]
        named = dict.fromkeys([*row.get("arn", ()), *(() if self.only else filled)])
        self.arn_paths = [_Path(path) for path in named]
        # Each format as its texts and placeholders in turn, with a slot for each placeholder.
        self.formats: list[tuple[list[str], list[Slot]]] = []
        self.scanned: list[tuple[list[str], str, re.Pattern[str]]] = []
        scanned = [_Path(path) for path in row.get("scan", ())]
        self.scan = tuple(dict.fromkeys(_Field(path.is_response, path.first) for path in scanned))
        self.scan_paths = scanned
        texts = (row["format"],) if "format" in row else service.formats.get(plan.name, ())
        for text in texts:
            parts = PLACEHOLDER.split(text)
            names = [name for name in dict.fromkeys(parts[1::2]) if name not in _HEADER]
            if "scan" in row:
                ids = service.values.get(f"{plan.name}|{names[0]}") if len(names) == 1 else None
                if ids is not None:
                    self.scanned.append((parts, names[0], ids))
            elif "fill" in row or "text" in row:
                self.formats.append((parts, [Slot(name, row, plan) for name in names]))

    def paths(self) -> Iterator[_Path]:
        """Yield every path the recipe looks at."""
        yield from (path for path, _ in self.when)
        yield from self.kind
        yield from self.arn_paths
        yield from self.besides
        yield from self.scan_paths
        if self.account is not None:
            yield self.account
        for _, slots in self.formats:
            for slot in slots:
                yield from slot.paths

    def naming(self) -> Iterator[_Path]:
        """Yield the paths of the request that name what is acted on."""
        slots = (slot for _, slots in self.formats for slot in slots)
        for path in (*self.arn_paths, *(path for slot in slots for path in slot.paths)):
            if not path.is_response:
                yield path

    def find(self, event: _Event) -> Found:
        """Return what the recipe finds; None if a value is there that cannot be used."""
        if not self._applies(event):
            return _NONE
        if self.is_any:
            return ANY
        if self.uses_resources:
            return self._of_resources(event)
        if self.scanned:
            return self._scan(event)
        found: set[str] = set()
        has_names = not self.arn_paths
        for path in self.arn_paths:
            for value in path.values(event):
                if not value.startswith("arn:"):
                    has_names = True
                elif self._accepts(value):
                    if not _is_safe_arn(value):
                        return None
                    found.add(value)
        has_names = has_names or any(s.lacks(event) for _, slots in self.formats for s in slots)
        if self.formats and (has_names or not found):
            filled = self._fill(event)
            return None if filled is None else found | filled
        return found

    def _applies(self, event: _Event) -> bool:
        for path, pattern in self.when:
            if not all(pattern.fullmatch(value) for value in path.values(event) or ("",)):
                return False
        return not self.kind or any(
            value.lower() == self.plan.name for path in self.kind for value in path.values(event)
        )

    def _of_resources(self, event: _Event) -> set[str]:
        """Return what resources[] has of the type; besides another one, if that is known."""
        found = self.plan.of_type(event.resources)
        if not self.besides:
            return found
        others = {value for path in self.besides for value in path.values(event)}
        left = {arn for arn in found if arn not in others and arn.partition("/")[2] not in others}
        return left if len(left) == 1 and left != found else set()

    def is_arn(self, value: str) -> bool:
        """Return whether a value is an ARN this recipe takes as it is."""
        return value.startswith("arn:") and self._accepts(value) and _is_safe_arn(value)

    def _accepts(self, arn: str) -> bool:
        if not self.types:
            return self.plan.is_of_type(arn)
        service = self.plan.service
        return any(service.types.is_of_type(arn, service.prefix, name) for name in self.types)

    def _fill(self, event: _Event) -> set[str] | None:
        """Return the ARN formats with the event's values in them."""
        header = event.header
        if self.account is not None:
            for account in self.account.values(event):
                if not _ACCOUNT.fullmatch(account):
                    return None
                header = {**header, "Account": account}
        found: set[str] = set()
        for parts, slots in self.formats:
            choices: list[list[dict[str, str]]] = []
            for slot in slots:
                values = slot.values(event)
                if values is None:
                    return None
                choices.append(values)
            if sum(len(values) > 1 for values in choices) > 1:
                return None  # which value goes with which is not known
            for combination in product(*choices):
                filled = header.copy()
                for chosen in combination:
                    filled.update(chosen)
                found.add(_join(parts, filled))
        return found

    def _scan(self, event: _Event) -> set[str]:
        """Return the ARNs of the ids of this type anywhere beneath the recipe's fields."""
        found: set[str] = set()
        for value in event.texts(self.scan):
            for parts, name, pattern in self.scanned:
                if pattern.fullmatch(value):
                    found.add(_join(parts, {**event.header, name: value}))
            if len(found) > _MAX_VALUES:
                break
        return found


class _ByKind(NamedTuple):
    """Types of which an event itself names those that count: tags at the creation of something."""

    paths: Sequence[_Path]
    types: Mapping[str, TypePlan]


def _by_kind(types: tuple[TypePlan, ...]) -> _ByKind | None:
    """Return the types by name, if every one of them counts only where the event names it."""
    recipes = [recipe for each in types for recipe in each.recipes]
    kinds = {tuple(path.text for path in recipe.kind) for recipe in recipes}
    if len(types) < 2 or len(kinds) != 1 or kinds == {()} or any(t.required for t in types):
        return None
    if not all(each.recipes for each in types):
        return None
    return _ByKind(recipes[0].kind, {each.name: each for each in types})


def _alternatives(action: str, types: tuple[TypePlan, ...]) -> dict[str, str]:
    """Return the required types of which one suffices, each with what its group has in common.

    The reference requires every type that a parameter may name (``executionArn``: a standard or an
    express execution), but a call names one. So they are alternatives where one parameter fills
    them all, and where kinds of one thing (``listener/app``, ``listener/net``) are filled alike.
    Not where something is made, which is required beside what it belongs to, nor where the name of
    the parameter is put into the ARNs of some of the types only (rds:FailoverGlobalCluster).
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    is_made = action.partition(":")[2].startswith(("Create", "Register"))
    for each in types:
        named = sorted({path.text for recipe in each.recipes for path in recipe.naming()})
        thing, _, kind = each.name.partition("/")
        if each.required and not any(recipe.scan for recipe in each.recipes):
            if len(named) == 1 and not (is_made and not kind):
                how = "name" if any(recipe.formats for recipe in each.recipes) else "arn"
                groups.setdefault((thing + "/" if is_made else how, *named), []).append(each.name)
            elif named and kind:
                groups.setdefault((thing + "/", *named), []).append(each.name)
    return {
        name: ",".join(key) for key, names in groups.items() if len(names) > 1 for name in names
    }


def undated(event_name: str) -> str:
    """Return an operation's name in lower case, without the date some services put behind it."""
    return _DATE.sub("", event_name.strip()).lower()


def values_at(parameters: Any, path: str) -> Iterator[str]:
    """Yield the texts at a path, through every list and wrapper on the way; never raises.

    A last step ``*`` stands for every member.
    """
    return _walk(parameters, path.split("."), 0)


def _join(parts: list[str], values: Mapping[str, str]) -> str:
    """Return texts and placeholders in turn as one text, with the placeholders' values."""
    return "".join(values[part] if i % 2 else part for i, part in enumerate(parts))


def _check(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    is_safe, matches = _SAFE.fullmatch, pattern.fullmatch
    if pattern.pattern == ".+":  # as all that is safe
        return lambda value: len(value) <= _MAX_VALUE_LENGTH and is_safe(value) is not None
    return lambda value: (
        len(value) <= _MAX_VALUE_LENGTH
        and is_safe(value) is not None
        and matches(value) is not None
    )


def _is_safe_arn(arn: str) -> bool:
    return len(arn) <= _MAX_ARN_LENGTH and _SAFE.fullmatch(arn) is not None


def _arns_of(resources: Any) -> tuple[str, ...]:
    """Return the ARNs of ``resources[]``: entries without one, or with a prefix only, have none."""
    if not isinstance(resources, list | tuple):
        return ()
    found = []
    for entry in resources[:_MAX_VALUES]:
        if isinstance(entry, dict):
            arn = entry.get("ARN", entry.get("arn"))
            if isinstance(arn, str) and arn.startswith("arn:") and _is_safe_arn(arn):
                found.append(arn)
    return tuple(found)


def _lowered(parameters: Any) -> dict[str, Any]:
    """Return the parameters that have a value by their names in lower case; the first of equals."""
    if not isinstance(parameters, dict):
        return {}
    lowered: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is not None and isinstance(name, str):
            lowered.setdefault(name.lower(), value)
    return lowered


def _get(mapping: Any, name: str) -> Any:
    """Return a member by its name in any case of its letters: CloudTrail varies the first ones."""
    if not isinstance(mapping, dict):
        return None
    if name in mapping:
        return mapping[name]
    lower = name.lower()
    for key, value in mapping.items():
        if isinstance(key, str) and key.lower() == lower:
            return value
    return None


def _walk(value: Any, steps: list[str], depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH or value is None:
        return
    if isinstance(value, list):
        for item in value[: _MAX_VALUES + 1]:
            yield from _walk(item, steps, depth + 1)
    elif isinstance(value, dict):
        if steps == ["*"]:
            for member in list(value.values())[: _MAX_VALUES + 1]:
                yield from _walk(member, [], depth + 1)
            return
        member = _get(value, steps[0]) if steps else None
        if member is not None:
            yield from _walk(member, steps[1:], depth + 1)
        else:
            for wrapper in _WRAPPERS:
                if wrapper in value:
                    yield from _walk(value[wrapper], steps, depth + 1)
                    return
    elif not steps and isinstance(value, str) and value:
        yield value
    elif isinstance(value, int) and not steps and not isinstance(value, bool):
        yield str(value) if abs(value) < _MAX_NUMBER else "(too large)"


def _may_hold_ids(key: str) -> bool:
    """Return whether ids may stand beneath a field; a name is free to look like one (ami-key)."""
    return key not in _NOT_AN_ID and not key.endswith(("name", "names"))


def _add_leaves(value: Any, depth: int, found: list[str]) -> None:
    if isinstance(value, str):
        if len(value) <= _MAX_VALUE_LENGTH:
            found.append(value)
    elif depth >= _MAX_DEPTH:
        return
    elif isinstance(value, list):
        for item in value[: _MAX_VALUES + 1]:
            _add_leaves(item, depth + 1, found)
    elif isinstance(value, dict):
        for key, member in value.items():
            if isinstance(key, str) and _may_hold_ids(key.lower()):
                _add_leaves(member, depth + 1, found)


def spellings(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the top-level fields of the paths in each spelling that CloudTrail has for them.

    CloudTrail lowers the first letter of a member's name (``dBInstanceIdentifier``, ``aRN``) for
    most services, leaves it for some (``RegionName``), lowers a whole acronym for a few (``arn``).
    """
    fields = set()
    for path in paths:
        field = path.partition(".")[0]
        fields |= {field, field[:1].lower() + field[1:], field[:1].upper() + field[1:]}
        acronym = re.match(r"[A-Za-z][A-Z]+(?=[A-Z][a-z]|$)", field)
        if acronym:
            fields.add(acronym[0].lower() + field[acronym.end() :])
    return tuple(sorted(fields))


@cache
def load_resources() -> ResourceTable:
    """Return the table shipped with Pare; the file is read once per process."""
    table: ResourcesFile = read_table("resources.json.gz", schema_version=SCHEMA_VERSION)
    return ResourceTable(table, load_resource_types())
