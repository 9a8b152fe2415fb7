"""Policy documents: parsing, writing, measuring and splitting them as IAM does.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from pare.errors import PolicyParseError, PolicySizeError

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"
Effect: TypeAlias = Literal["Allow", "Deny"]

VERSION = "2012-10-17"
VERSIONS = (VERSION, "2008-10-17")

# Characters in one managed policy, white space not counted.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MANAGED_POLICY_LIMIT = 6144

_ENCODER = json.JSONEncoder(ensure_ascii=False)

DOCUMENT_ELEMENTS = frozenset({"Version", "Id", "Statement"})
STATEMENT_ELEMENTS = frozenset(
    {
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    }
)
EXCLUSIVE_ELEMENTS = (
    ("Action", "NotAction"),
    ("Resource", "NotResource"),
    ("Principal", "NotPrincipal"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. ``None`` means the element is absent; an empty tuple, that its list is empty.

    ``principals`` and ``not_principals`` are kept as they came ("*", or a mapping), as are the
    ``conditions`` (operator -> key -> value or values).
    """

    effect: Effect
    actions: tuple[str, ...] | None = None
    not_actions: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    not_resources: tuple[str, ...] | None = None
    conditions: JsonObject = field(default_factory=dict, hash=False)
    principals: JsonValue = field(default=None, hash=False)
    not_principals: JsonValue = field(default=None, hash=False)
    sid: str | None = None

    def to_json_object(self) -> JsonObject:
        """Return the statement in IAM's JSON, each list sorted and free of repetitions."""
        result: JsonObject = {}
        if self.sid is not None:
            result["Sid"] = self.sid
        result["Effect"] = self.effect
        if self.principals is not None:
            result["Principal"] = self.principals
        if self.not_principals is not None:
            result["NotPrincipal"] = self.not_principals
        for element, values in (
            ("Action", self.actions),
            ("NotAction", self.not_actions),
            ("Resource", self.resources),
            ("NotResource", self.not_resources),
        ):
            if values is not None:
                result[element] = [*sorted(set(values))]
        if self.conditions:
            result["Condition"] = self.conditions
        return result


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy document. Two documents are equal if they say the same in the same order."""

    statements: tuple[Statement, ...]
    version: str | None = VERSION  # absent means 2008-10-17 to IAM
    id: str | None = None

    def to_json_object(self) -> JsonObject:
        """Return the document in IAM's JSON; a list of one stays a list."""
        result: JsonObject = {}
        if self.version is not None:
            result["Version"] = self.version
        if self.id is not None:
            result["Id"] = self.id
        result["Statement"] = [statement.to_json_object() for statement in self.statements]
        return result

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the document as text, keys sorted: compact, or indented for people to read."""
        return _dumps(self.to_json_object(), indent=indent)


def parse(source: str | dict[str, Any]) -> PolicyDocument:
    """Return the document that JSON text, or a parsed JSON object, holds.

    Raises PolicyParseError, which names the statement and the element, for anything IAM would not
    have accepted: a policy that was only half understood must not be judged.
    """
    if isinstance(source, str):
        try:
            source = json.loads(source, object_pairs_hook=_object_without_duplicates)
        except ValueError as error:
            raise PolicyParseError(f"The policy document is not JSON: {error}") from error
    if not isinstance(source, dict):
        raise PolicyParseError("The policy document is not a JSON object.")
    _refuse_unknown("The policy document", source, DOCUMENT_ELEMENTS)
    version = source.get("Version")
    if version is not None and version not in VERSIONS:
        raise PolicyParseError(f"Version is {version!r}, not one of {', '.join(VERSIONS)}.")
    if "Statement" not in source:
        raise PolicyParseError("The policy document has no Statement.")
    statements = source["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list):
        raise PolicyParseError("Statement is neither an object nor a list of objects.")
    return PolicyDocument(
        statements=tuple(_statement(index, each) for index, each in enumerate(statements)),
        version=version,
        id=_text_or_none("The policy document", source, "Id"),
    )


def escaped(value: Any) -> Any:
    """Return a Resource or Condition value of an old document as 2012-10-17 writes it.

    Policy variables are live in 2012-10-17 only: before, and without a Version, ``${`` is text.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if isinstance(value, str):
        return value.replace("${", "${$}{")
    if isinstance(value, list | tuple):
        return type(value)(escaped(each) for each in value)
    if isinstance(value, dict):
        return {key: escaped(each) for key, each in value.items()}
    return value


def in_current_version(document: PolicyDocument) -> PolicyDocument:
    """Return the document in version 2012-10-17, saying what it says in its own version."""
    if document.version == VERSION:
        return document
    return replace(
        document,
        version=VERSION,
        statements=tuple(
            replace(
                statement,
                resources=escaped(statement.resources),
                not_resources=escaped(statement.not_resources),
                conditions=escaped(statement.conditions),
            )
            for statement in document.statements
        ),
    )


def size_in_characters(document: PolicyDocument) -> int:
    """Return the document's size as IAM counts it against its quotas: without white space.

    White space within a value is counted, as IAM does not say that it is not.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """
    return len(document.to_json())


def split(
    document: PolicyDocument, limit: int = MANAGED_POLICY_LIMIT
) -> tuple[PolicyDocument, ...]:
    """Return documents of at most ``limit`` characters that together say the same.

    Each statement, in its order, goes into the first document with room for it: the documents are
    few, and within each the statements keep their order. A statement too long for a document of
    its own is cut along its actions or resources, or both, into as few parts as can be; it begins
    in what room the last document has left. Each part keeps the Sid, and no two parts share a
    document (a Sid is unique within a document only). Raises PolicySizeError if a statement cannot
    be cut far enough: a list under NotAction or NotResource has no parts that mean the same.
    """
    if size_in_characters(document) <= limit:
        return (document,)
    frame = size_in_characters(replace(document, statements=()))
    groups: list[list[Statement]] = []
    rooms: list[int] = []  # what each group has left, its next comma taken off
    for statement in document.statements:
        first_of_own = 0  # the parts of a statement go into different groups
        for part in _parts(statement, limit - frame, rooms[-1] if rooms else 0):
            size = _size(part)
            for at in range(first_of_own, len(groups)):
                if size <= rooms[at]:
                    groups[at].append(part)
                    rooms[at] -= size + 1
                    break
            else:
                at = len(groups)
                groups.append([part])
                rooms.append(limit - frame - size - 1)
            first_of_own = at + 1
    return tuple(replace(document, statements=tuple(group)) for group in groups)


def _parts(statement: Statement, room: int, first_room: int) -> list[Statement]:
    """Return the statement in parts of at most ``room`` characters each, as few as can be.

    Where only one list is cut, the first part is made for ``first_room``, if a value fits there.
    """
    if _size(statement) <= room:
        return [statement]
    actions = _Values(statement.actions)
    resources = _Values(statement.resources)
    frame = _size(
        replace(
            statement,
            actions=None if statement.actions is None else (),
            resources=None if statement.resources is None else (),
        )
    )
    least = frame + actions.longest + resources.longest
    if least > room:
        raise PolicySizeError(
            f"The statement {statement.sid or '(without a Sid)'} needs {least} "
            f"characters where {room} are left, and cannot be cut into parts that mean the same."
        )
    cuts = _fewest(actions, resources, room - frame)
    if len(cuts.actions) == 1:
        left = room - frame - actions.length
        cut = resources.cut(left, first=first_room - frame - actions.length)
        return [replace(statement, resources=values) for values in cut]
    if len(cuts.resources) == 1:
        left = room - frame - resources.length
        cut = actions.cut(left, first=first_room - frame - resources.length)
        return [replace(statement, actions=values) for values in cut]
    return [
        replace(statement, actions=some_actions, resources=some_resources)
        for some_actions in cuts.actions
        for some_resources in cuts.resources
    ]


@dataclass(frozen=True, slots=True)
class _Cuts:
    """How both lists of a statement are cut: every pair of a cut is a part."""

    actions: list[tuple[str, ...]]
    resources: list[tuple[str, ...]]


class _Values:
    """The values of an Action or Resource list, sorted, and their lengths as written.

    A value's length is with its quotes and comma; the list's is without the last comma.
    """

    __slots__ = ("lengths", "values")

    def __init__(self, values: tuple[str, ...] | None) -> None:
        self.values = sorted(set(values or ()))
        self.lengths = [len(_ENCODER.encode(value)) + 1 for value in self.values]

    @property
    def length(self) -> int:
        return max(0, sum(self.lengths) - 1)

    @property
    def longest(self) -> int:
        return max(self.lengths, default=1) - 1

    def cut(self, room: int, *, first: int = 0) -> list[tuple[str, ...]]:
        """Return the values in lists of at most ``room`` characters, the first of ``first``."""
        if not self.values:
            return [()]
        cuts: list[tuple[str, ...]] = []
        begin, left = 0, first if self.lengths[0] - 1 <= first else room
        for at, length in enumerate(self.lengths):
            if length - 1 > left:
                cuts.append(tuple(self.values[begin:at]))
                begin, left = at, room
            left -= length
        return [*cuts, tuple(self.values[begin:])]


def _fewest(actions: _Values, resources: _Values, room: int) -> _Cuts:
    """Return the cuts of both lists that make the fewest parts of at most ``room`` characters."""
    best: _Cuts | None = None
    tried = 0
    fewest_resource_lists = max(1, -(-resources.length // room))
    # The more lists the actions are cut into, the more room the resources of a part have.
    for number in range(1, len(actions.values) + 2):
        share = max(actions.longest, -(-actions.length // number))
        left = room - share
        if share == tried or left < resources.longest:
            if share == actions.longest:
                break
            continue
        tried = share
        cuts = _Cuts(actions.cut(share), resources.cut(left))
        if best is None or _count(cuts) < _count(best):
            best = cuts
        if (number + 1) * fewest_resource_lists >= _count(best):
            break
    if best is None:
        raise AssertionError("both longest values were found to fit")
    return best


def _count(cuts: _Cuts) -> int:
    return len(cuts.actions) * len(cuts.resources)


def _size(statement: Statement) -> int:
    return len(_dumps(statement.to_json_object()))


def _dumps(value: JsonObject, *, indent: int | None = None) -> str:
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        value, sort_keys=True, indent=indent, separators=separators, ensure_ascii=False
    )


def _statement(index: int, value: Any) -> Statement:
    where = f"Statement {index + 1}"
    if not isinstance(value, dict):
        raise PolicyParseError(f"{where} is not a JSON object.")
    _refuse_unknown(where, value, STATEMENT_ELEMENTS)
    effect = value.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise PolicyParseError(f"{where}: Effect is {effect!r}, neither Allow nor Deny.")
    for element, opposite in EXCLUSIVE_ELEMENTS:
        if element in value and opposite in value:
            raise PolicyParseError(f"{where} has both {element} and {opposite}.")
    if "Action" not in value and "NotAction" not in value:
        raise PolicyParseError(f"{where} has neither Action nor NotAction.")
    conditions = value.get("Condition", {})
    if not isinstance(conditions, dict) or not all(
        isinstance(tests, dict) for tests in conditions.values()
    ):
        raise PolicyParseError(f"{where}: Condition is not an object of objects.")
    return Statement(
        effect=effect,
        actions=_texts_or_none(where, value, "Action"),
        not_actions=_texts_or_none(where, value, "NotAction"),
        resources=_texts_or_none(where, value, "Resource"),
        not_resources=_texts_or_none(where, value, "NotResource"),
        conditions=conditions,
        principals=value.get("Principal"),
        not_principals=value.get("NotPrincipal"),
        sid=_text_or_none(where, value, "Sid"),
    )


def _refuse_unknown(where: str, value: dict[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(value) - known)
    if unknown:
        raise PolicyParseError(f"{where} has an element IAM does not know: {', '.join(unknown)}.")


def _texts_or_none(where: str, value: dict[str, Any], element: str) -> tuple[str, ...] | None:
    if element not in value:
        return None
    found = value[element]
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise PolicyParseError(f"{where}: {element} is neither a string nor a list of strings.")
    return tuple(texts)


def _text_or_none(where: str, value: dict[str, Any], element: str) -> str | None:
    found = value.get(element)
    if found is not None and not isinstance(found, str):
        raise PolicyParseError(f"{where}: {element} is not a string.")
    return found


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} is there twice")
        result[key] = value
    return result
