"""A YAML file for people, read and checked against its schema, with the line of every fault.

The schema (JSON Schema) says what each key means, which values it takes and how to mend a wrong
one: ``title`` completes the sentence "<value> is not ...", ``x-fix`` says what to write instead.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import yaml
from jsonschema import Draft202012Validator

from pare.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jsonschema import ValidationError

    Get: TypeAlias = Callable[..., Any]
    # Yields what a schema cannot say, of the values that are sound so far.
    Check: TypeAlias = Callable[[Get], Iterator["Problem"]]
    Schema: TypeAlias = Mapping[str, Any]

KeyPath: TypeAlias = tuple[str | int, ...]

# YAML 1.2's core schema. https://yaml.org/spec/1.2.2/#103-core-schema
PLAIN_VALUES: Mapping[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}


def read_checked(path: Path, schema_path: Path, checks: Iterable[Check], *, example: str) -> Any:
    """Return the value of a file, with the schema's defaults.

    ``example`` is the file to start from. Raises SettingsError with one line for every fault, in
    the order of the file: ``config/pare.yaml:14: hub_account_id: '12345' is not … Fix: …``
    """
    source = _Source.read(path, example)
    problems = list(source.problems)
    schema = read_schema(schema_path)
    value = _with_defaults(schema, schema, source.value)
    problems.extend(_schema_problems(schema, value))
    get = _getter(value, {problem.path for problem in problems})
    for check in checks:
        problems.extend(check(get))
    if problems:
        lines = sorted({(source.line(problem), problem.text()) for problem in problems})
        raise SettingsError("\n".join(f"{_shown(path)}:{line}: {text}" for line, text in lines))
    return value


def _getter(value: Any, bad: set[KeyPath]) -> Get:
    def get(*path: str | int) -> Any:
        """Return a value whose key, parents and children are sound so far, else None."""
        if any(path[: len(each)] == each or each[: len(path)] == path for each in bad):
            return None
        found: Any = value
        for part in path:
            if isinstance(found, dict):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int):
                found = found[part]
            else:
                return None
        return found

    return get


# --- Problems -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: at which key, what is wrong with it, and what to write instead."""

    path: KeyPath
    wrong: str  # continues "key: "
    fix: str
    line: int | None = None  # where it is not the line of the key

    def text(self) -> str:
        key = ".".join(str(part) for part in self.path)
        key = re.sub(r"\.(\d+)", r"[\1]", key)
        return f"{key}: {self.wrong}. Fix: {self.fix}" if key else f"{self.wrong}. Fix: {self.fix}"


def _shown(path: Path) -> str:
    """Return the path as a person would write it from where they stand."""
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def _written(value: Any) -> str:
    """Return a value as a message shows it."""
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return json.dumps(value)


# --- Reading: YAML nodes, their values and their lines --------------------------------------------


class _Source:
    """A file's value, the line of every key in it, and what is wrong with it as YAML."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._lines: dict[KeyPath, int] = {(): 1}

    @classmethod
    def read(cls, path: Path, example: str) -> _Source:
        """Return what the file holds; SettingsError if it is not YAML, or no mapping."""
        try:
            text = path.read_text(encoding="utf-8-sig")
            node = yaml.compose(text, Loader=yaml.BaseLoader)
        except FileNotFoundError as error:
            raise SettingsError(
                f"{_shown(path)}: there is no such file. Fix: start from {example} as it came with "
                "Pare."
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{_shown(path)}: cannot be read as UTF-8 text: {error}. Fix: save it as UTF-8."
            ) from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise SettingsError(
                f"{_shown(path)}:{line}: the character U+{error.character:04X} is not allowed in "
                "YAML. Fix: delete it."
            ) from error
        except yaml.MarkedYAMLError as error:
            raise SettingsError(_syntax_message(_shown(path), error)) from error
        if not isinstance(node, yaml.MappingNode):
            line = 1 if node is None else node.start_mark.line + 1
            wrong = "empty" if node is None else "not a mapping"
            raise SettingsError(
                f"{_shown(path)}:{line}: the file is {wrong}. Fix: start from {example} as it came "
                "with Pare."
            )
        source = cls()
        source.value = source._value(node, (), ())
        return source

    def line(self, problem: Problem) -> int:
        """Return the line of a problem: its own, its key's, or its nearest parent's."""
        if problem.line is not None:
            return problem.line
        path = problem.path
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _value(self, node: yaml.Node, path: KeyPath, parents: tuple[yaml.Node, ...]) -> Any:
        if node in parents:
            self._add(path, node, "contains itself through an alias", "write it out, without &, *.")
            return None
        parents = (*parents, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, parents)
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        items = []
        for index, item in enumerate(node.value):
            self._lines[(*path, index)] = item.start_mark.line + 1
            items.append(self._value(item, (*path, index), parents))
        return items

    def _mapping(
        self, node: yaml.MappingNode, path: KeyPath, parents: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(path, key_node, "has a key that is not text", "write a plain key.")
                continue
            key = str(key_node.value)
            key_path = (*path, key)
            if key in result:
                self._add(
                    key_path,
                    key_node,
                    f"is set twice, first on line {self._lines[key_path]}",
                    "keep one of the two.",
                )
                continue
            self._lines[key_path] = key_node.start_mark.line + 1
            result[key] = self._value(value_node, key_path, parents)
        return result

    def _add(self, path: KeyPath, node: yaml.Node, wrong: str, fix: str) -> None:
        self.problems.append(Problem(path, wrong, fix, node.start_mark.line + 1))


def _scalar(node: yaml.ScalarNode) -> str | int | bool | None:
    """Return a plain true, false, null or short whole number as such, and all else as text.

    So an account id needs no quotes, 012345678901 keeps its zero, a date stays as it is written,
    and ``no`` is not false.
    """
    text = str(node.value)
    if node.style is not None:  # in quotes, or a block of text
        return text
    if text in PLAIN_VALUES:
        return PLAIN_VALUES[text]
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,8})", text) else text


def _syntax_message(shown: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    problem = error.problem or "not YAML"
    if "'\\t'" in problem:
        return (
            f"{shown}:{line}: a tab indents this line. Fix: use spaces; YAML allows no tabs there."
        )
    context = f" ({error.context})" if error.context else ""
    return (
        f"{shown}:{line}: this is not YAML: {problem}{context}. Fix: check the indentation, quotes "
        "and colons of this line and the one before it."
    )


# --- Checking: the schema, then what takes two keys to say ----------------------------------------


@cache
def read_schema(path: Path) -> Schema:
    """Return the schema in a file."""
    schema: Schema = json.loads(path.read_text(encoding="utf-8"))
    return schema


def schema_at(schema: Schema, path: KeyPath) -> Schema:
    """Return the schema of a known key, or of an item of a list."""
    part: Schema = schema
    for each in path:
        part = _resolved(schema, part["items"] if isinstance(each, int) else _of_key(part, each))
    return part


def _of_key(schema: Schema, key: str) -> Schema:
    if key in schema["properties"]:
        found: Schema = schema["properties"][key]
        return found
    patterns = schema.get("patternProperties", {})
    return next(patterns[each] for each in patterns if re.search(each, key))


def _is_known(schema: Schema, key: str) -> bool:
    patterns = schema.get("patternProperties", {})
    return key in schema["properties"] or any(re.search(each, key) for each in patterns)


def _resolved(schema: Schema, part: Schema) -> Schema:
    """Return a part of the schema with what it refers to; what it says itself comes first."""
    if "$ref" not in part:
        return part
    name = part["$ref"].removeprefix("#/$defs/")
    return {**schema["$defs"][name], **part}


def _with_defaults(schema: Schema, part: Schema, value: Any) -> Any:
    """Return the value with the defaults of its absent keys; an empty key counts as absent."""
    part = _resolved(schema, part)
    if value is None and "default" in part:
        value = part["default"]
    if isinstance(value, dict) and "properties" in part:
        value = dict(value)
        for key, inner in part["properties"].items():
            if key in value or "default" in _resolved(schema, inner):
                value[key] = _with_defaults(schema, inner, value.get(key))
    elif isinstance(value, list) and "items" in part:
        value = [_with_defaults(schema, part["items"], item) for item in value]
    return value


def _schema_problems(schema: Schema, value: Any) -> Iterator[Problem]:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for error in validator.iter_errors(value):
        path = tuple(error.absolute_path)
        part = schema_at(schema, path)
        match error.validator:
            case "additionalProperties":
                yield from _unknown_keys(path, error, part)
            case "required":
                yield from _missing_keys(schema, path, error, part)
            case "uniqueItems":
                items = cast("list[Any]", error.instance)
                twice = next(item for index, item in enumerate(items) if item in items[:index])
                yield Problem(path, f"has {_written(twice)} twice", "keep one of the two.")
            case _:
                wrong = f"{_written(error.instance)} is not {part['title']}"
                yield Problem(path, wrong, part["x-fix"])


def _unknown_keys(path: KeyPath, error: ValidationError, part: Schema) -> Iterator[Problem]:
    known = list(part["properties"])
    for key in cast("dict[str, Any]", error.instance):
        if not _is_known(part, key):
            near = _nearest(key, known)
            fix = (
                f"did you mean {near}?"
                if near
                else f"remove it; the keys here are {', '.join(known)}."
            )
            yield Problem((*path, key), "is not a key Pare knows", fix)


def _missing_keys(
    schema: Schema, path: KeyPath, error: ValidationError, part: Schema
) -> Iterator[Problem]:
    """Yield each key that is missing, unless an unknown key is likely to be meant for it.

    jsonschema reports every missing key apart, as one error whose message begins with the key.
    """
    known = list(part["properties"])
    present = cast("dict[str, Any]", error.instance)
    meant = {_nearest(key, known) for key in present if key not in known}
    for key in part["required"]:
        if error.message.startswith(f"{key!r} ") and key not in meant:
            yield Problem((*path, key), "is missing", schema_at(schema, (*path, key))["x-fix"])


def _nearest(key: str, known: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.7)), None)
