"""`aws` for the tests' shell: commands as the AWS CLI v2 spells them, by botocore's models.

It takes what the AWS CLI takes and refuses everything else, so that a command with a wrong
operation, option or value fails here as it would fail a person: nothing is guessed or left out.
It has every operation and waiter of botocore's models, options with JSON, shorthand,
``file://`` and ``fileb://`` values, flags, ``--cli-input-json``, ``--query``,
``--output json|text|table``, ``--profile``, ``--region``, ``--no-cli-pager`` and
``--cli-binary-format``. It lacks the commands that are no operation, such as ``aws s3 cp``.

https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-parameters-types.html
https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-shorthand.html
https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-returncodes.html
"""

from __future__ import annotations

import base64
import binascii
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from botocore.model import OperationModel, Shape

# Return codes of the AWS CLI v2.
WAITED_IN_VAIN, WRONG_USE, WRONG_SETUP, REFUSED_BY_AWS = 255, 252, 253, 254
GLOBAL_VALUES: Final = (
    "region", "profile", "output", "query", "cli-binary-format", "cli-input-json"
)  # fmt: skip
GLOBAL_FLAGS: Final = ("no-cli-pager",)
# The one service that the AWS CLI calls otherwise than boto3, of those we can meet.
CALLED: Final = {"s3api": "s3"}
# Options that the AWS CLI calls otherwise than the operation, because they are global ones too.
RENAMED: Final = {
    ("sns", "Subscribe", "endpoint"): "notification-endpoint",
    ("stepfunctions", "SendTaskSuccess", "output"): "task-output",
}
NO_OPERATIONS: Final = frozenset({"s3", "configure", "deploy", "ddb", "sso"})
_INTEGERS: Final = frozenset({"integer", "long"})
_FLOATS: Final = frozenset({"float", "double"})
_COMPLEX: Final = frozenset({"structure", "map", "list"})


class WrongUseError(Exception):
    """The AWS CLI would not take the command."""


@dataclass
class Command:
    """A command line, taken apart but not yet understood.

    ``words``: what is no option; ``options``: name -> its values, in their order; None of a flag.
    """

    words: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    globals: dict[str, str] = field(default_factory=dict)


def split(arguments: Sequence[str]) -> Command:
    """Return a command line's words and options; raises WrongUseError for an option given twice."""
    command = Command()
    waiting = list(arguments)
    values: list[str] | None = None
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith("--"):
            if argument.startswith("-") and not _is_number(argument):
                raise WrongUseError(f"{argument} is no option of the AWS CLI")
            (command.words if values is None else values).append(argument)
            continue
        name = argument[2:]
        values = None
        if name in GLOBAL_FLAGS:
            command.globals[name] = ""
        elif name in GLOBAL_VALUES:
            if not waiting or name in command.globals:
                raise WrongUseError(f"--{name} takes one value, once")
            command.globals[name] = waiting.pop(0)
        elif name in command.options:
            raise WrongUseError(f"--{name} is given twice")
        else:
            values = command.options[name] = []
    return command


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parameters(
    operation: OperationModel,
    options: dict[str, list[str]],
    *,
    raw_blobs: bool = False,
    input_json: str | None = None,
) -> dict[str, Any]:
    """Return what the options are to an operation, in botocore's types.

    ``input_json``: of --cli-input-json, over which the options go. Raises WrongUseError for an
    option that the operation does not have, for a value that is not of its type, and where an
    option that it needs is missing.
    """
    shape = operation.input_shape
    members: dict[str, tuple[str, Shape]] = {}
    if shape is not None:
        for name, each in shape.members.items():
            called = xform_name(name, "-")
            place = operation.service_model.service_name, operation.name, called
            members[RENAMED.get(place, called)] = (name, each)
    found: dict[str, Any] = {}
    for option, values in options.items():
        member, is_on = members.get(option), True
        if member is None and option.startswith("no-"):
            member, is_on = members.get(option[3:]), False
            if member is not None and member[1].type_name != "boolean":
                member = None
        if member is None:
            raise WrongUseError(f"{operation.name} has no option --{option}")
        name, wanted = member
        if name in found:
            raise WrongUseError(f"--{option} is given twice")
        if wanted.type_name == "boolean":
            if values:
                raise WrongUseError(f"--{option} takes no value: {values}")
            found[name] = is_on
        else:
            found[name] = _option(option, wanted, values, raw_blobs)
    if input_json is not None:
        text = _content(input_json, "cli-input-json")
        if shape is None or isinstance(text, bytes):
            raise WrongUseError("--cli-input-json is JSON, of an operation that has options")
        whole = _json("cli-input-json", text)
        found = {**_of_json("cli-input-json", shape, whole, lacks=set(found)), **found}
    required = shape.required_members if shape is not None else []
    if lacking := [name for name in required if name not in found]:
        raise WrongUseError(
            f"{operation.name} needs {', '.join('--' + xform_name(name, '-') for name in lacking)}"
        )
    return found


def _option(option: str, shape: Shape, values: list[str], raw_blobs: bool) -> Any:
    """Return the value of an option that is no flag."""
    if not values:
        raise WrongUseError(f"--{option} needs a value")
    if shape.type_name != "list" and len(values) > 1:
        raise WrongUseError(f"--{option} takes one value, not {len(values)}: {values}")
    texts = [_content(each, option) for each in values]
    if shape.type_name == "list":
        element: Shape = shape.member  # type: ignore[attr-defined]
        if len(texts) == 1 and isinstance(texts[0], str) and texts[0].lstrip().startswith("["):
            return _of_json(option, shape, _json(option, texts[0]))
        return [_one(option, element, text, raw_blobs) for text in texts]
    return _one(option, shape, texts[0], raw_blobs)


def _content(value: str, option: str) -> str | bytes:
    """Return a value, or what is in the file that it names."""
    for scheme in ("file://", "fileb://"):
        if value.startswith(scheme):
            path = Path(value.removeprefix(scheme)).expanduser()
            try:
                return path.read_bytes() if scheme == "fileb://" else path.read_text("utf-8")
            except OSError as error:
                raise WrongUseError(f"--{option}: {path} cannot be read: {error}") from error
    return value


def _one(option: str, shape: Shape, text: str | bytes, raw_blobs: bool) -> Any:
    """Return one value in the type of its shape."""
    if isinstance(text, bytes):
        if shape.type_name != "blob":
            raise WrongUseError(f"--{option} is {shape.type_name}: fileb:// is for blobs")
        return text
    if shape.type_name in _COMPLEX:
        if text.lstrip().startswith(("{", "[")):
            return _of_json(option, shape, _json(option, text))
        return _of_shorthand(option, shape, _Shorthand(option, text).parse())
    if shape.type_name == "blob":
        return text.encode() if raw_blobs else _decoded(option, text)
    return _scalar(option, shape, text)


def _decoded(option: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise WrongUseError(
            f"--{option} is a blob: base64, or --cli-binary-format raw-in-base64-out"
        ) from error


def _json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise WrongUseError(f"--{option} is not JSON: {error}: {text!r}") from error


def _scalar(option: str, shape: Shape, text: str) -> Any:
    kind = shape.type_name
    try:
        if kind in _INTEGERS:
            return int(text)
        if kind in _FLOATS:
            return float(text)
    except ValueError as error:
        raise WrongUseError(f"--{option} is a number: {text!r}") from error
    if kind == "boolean":
        if text.lower() not in {"true", "false"}:
            raise WrongUseError(f"--{option}: true or false, not {text!r}")
        return text.lower() == "true"
    if kind == "timestamp":
        return text
    if kind != "string":
        raise WrongUseError(f"--{option}: no value of the type {kind} is known here")
    _check_enum(option, shape, text)
    return text


def _check_enum(option: str, shape: Shape, text: str) -> None:
    allowed = getattr(shape, "enum", None)
    if allowed and text not in allowed:
        raise WrongUseError(f"--{option}: {text!r} is none of {', '.join(allowed)}")


def _of_json(option: str, shape: Shape, value: Any, lacks: Collection[str] = ()) -> Any:
    """Return a JSON value, every member of which the shape has, in its type.

    ``lacks``: the names of members that it may lack.
    """
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            raise WrongUseError(f"--{option}: an object, not {value!r}")
        members = shape.members  # type: ignore[attr-defined]
        if more := sorted(value.keys() - members.keys()):
            raise WrongUseError(f"--{option} has no member {', '.join(more)}")
        required = shape.required_members
        if lacking := [name for name in required if name not in value and name not in lacks]:
            raise WrongUseError(f"--{option} lacks {', '.join(lacking)}")
        return {name: _of_json(option, members[name], each) for name, each in value.items()}
    if kind == "map":
        if not isinstance(value, dict):
            raise WrongUseError(f"--{option}: an object, not {value!r}")
        element = shape.value  # type: ignore[attr-defined]
        return {name: _of_json(option, element, each) for name, each in value.items()}
    if kind == "list":
        if not isinstance(value, list):
            raise WrongUseError(f"--{option}: a list, not {value!r}")
        return [_of_json(option, shape.member, each) for each in value]  # type: ignore[attr-defined]
    types: dict[str, tuple[type, ...]] = {
        "string": (str,), "timestamp": (str, int, float), "boolean": (bool,), "integer": (int,),
        "long": (int,), "float": (int, float), "double": (int, float), "blob": (str,),
    }  # fmt: skip
    is_of_it = isinstance(value, types[kind])
    if not is_of_it or (isinstance(value, bool) and kind != "boolean"):
        raise WrongUseError(f"--{option}: {kind}, not {value!r}")
    if kind == "string":
        _check_enum(option, shape, value)
    return _decoded(option, value) if kind == "blob" else value


def _of_shorthand(option: str, shape: Shape, value: Any) -> Any:
    """Return a value of the shorthand syntax in the types of its shape."""
    kind = shape.type_name
    if kind == "list":
        values = value if isinstance(value, list) else [value]
        element = shape.member  # type: ignore[attr-defined]
        return [_of_shorthand(option, element, each) for each in values]
    if kind in {"structure", "map"}:
        if not isinstance(value, dict):
            raise WrongUseError(f"--{option}: Key=Value,…, not {value!r}")
        if kind == "map":
            element = shape.value  # type: ignore[attr-defined]
            return {name: _of_shorthand(option, element, each) for name, each in value.items()}
        members = shape.members  # type: ignore[attr-defined]
        if more := sorted(value.keys() - members.keys()):
            raise WrongUseError(f"--{option} has no member {', '.join(more)}")
        required = shape.required_members
        if lacking := [name for name in required if name not in value]:
            raise WrongUseError(f"--{option} lacks {', '.join(lacking)}")
        return {name: _of_shorthand(option, members[name], each) for name, each in value.items()}
    if not isinstance(value, str):
        raise WrongUseError(f"--{option}: {kind}, not {value!r}")
    return _scalar(option, shape, value)


class _Shorthand:
    """The AWS CLI's shorthand: ``Key=Value,Key=[a,b],Key={K=V},Key="a,b"``, ``Key=a,b``."""

    def __init__(self, option: str, text: str) -> None:
        self._option = option
        self._text = text
        self._at = 0

    def parse(self) -> dict[str, Any]:
        found = self._pairs(end="")
        if self._at != len(self._text):
            raise self._wrong()
        return found

    def _pairs(self, end: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            key = self._key()
            if not key or key in found:
                raise self._wrong()
            found[key] = self._values(end)
            if not self._take(","):
                return found

    def _key(self) -> str:
        start = self._at
        while self._at < len(self._text) and (
            self._text[self._at].isalnum() or self._text[self._at] in "-_.#/:"
        ):
            self._at += 1
        key = self._text[start : self._at]
        if not self._take("="):
            raise self._wrong()
        return key

    def _values(self, end: str) -> Any:
        """Return a value, or several with commas between them, up to the next ``Key=``."""
        values = [self._value(end)]
        while self._peek() == "," and not self._is_key_next():
            self._at += 1
            values.append(self._value(end))
        return values[0] if len(values) == 1 else values

    def _is_key_next(self) -> bool:
        rest = self._text[self._at + 1 :]
        before, equals, _ = rest.partition("=")
        return bool(equals) and bool(before) and all(c.isalnum() or c in "-_.#/:" for c in before)

    def _value(self, end: str) -> Any:
        if self._take("["):
            values: list[Any] = []
            while not self._take("]"):
                values.append(self._value("]"))
                if self._peek() != "]" and not self._take(","):
                    raise self._wrong()
            return values
        if self._take("{"):
            found = self._pairs("}")
            if not self._take("}"):
                raise self._wrong()
            return found
        if self._peek() in {'"', "'"} and self._peek():
            return self._quoted()
        start = self._at
        while self._at < len(self._text) and self._text[self._at] not in f",{end}":
            self._at += 1
        return self._text[start : self._at].strip()

    def _quoted(self) -> str:
        quote = self._text[self._at]
        self._at += 1
        found = ""
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 1
            if letter == quote:
                return found
            if letter == "\\" and self._peek() in {quote, "\\"}:
                letter = self._text[self._at]
                self._at += 1
            found += letter
        raise self._wrong()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, letter: str) -> bool:
        if self._peek() != letter:
            return False
        self._at += 1
        return True

    def _wrong(self) -> WrongUseError:
        return WrongUseError(
            f"--{self._option} is no shorthand, at {self._text[self._at :]!r}: {self._text!r}"
        )


def run(arguments: Sequence[str]) -> str:
    """Do what a command says and return what the AWS CLI prints.

    Raises WrongUseError for what the AWS CLI would not take.
    """
    command = split(arguments)
    if len(command.words) < 2:
        raise WrongUseError("aws SERVICE OPERATION --options")
    service, name, *more = command.words
    output = command.globals.get("output", "json")
    if output not in {"json", "text", "table"}:
        raise WrongUseError(f"--output {output} is not known here")
    binary = command.globals.get("cli-binary-format", "base64")
    if binary not in {"base64", "raw-in-base64-out"}:
        raise WrongUseError(f"--cli-binary-format {binary} does not exist")
    session = boto3.Session(
        profile_name=command.globals.get("profile"), region_name=command.globals.get("region")
    )
    known = set(session.get_available_services()) - set(CALLED.values()) | set(CALLED)
    if service in NO_OPERATIONS or service not in known:
        raise WrongUseError(f"aws {service} is not known here")
    client: Any = session.client(CALLED.get(service, service))  # type: ignore[call-overload]
    operations = {xform_name(each, "-"): each for each in client.meta.service_model.operation_names}
    how: dict[str, Any] = {
        "raw_blobs": binary == "raw-in-base64-out",
        "input_json": command.globals.get("cli-input-json"),
    }

    def operation(called: str) -> OperationModel:
        model: OperationModel = client.meta.service_model.operation_model(called)
        return model

    if name == "wait":
        waiters = {each.replace("_", "-"): each for each in client.waiter_names}
        if len(more) != 1 or more[0] not in waiters:
            raise WrongUseError(f"aws {service} wait {' '.join(more)} does not exist")
        waiter = client.get_waiter(waiters[more[0]])
        waits_by = operation(waiter.config.operation)
        waiter.wait(**parameters(waits_by, command.options, **how))
        return ""
    if name not in operations:
        raise WrongUseError(f"aws {service} has no operation {name}")
    model = operation(operations[name])
    call = xform_name(operations[name])
    # The AWS CLI puts all pages together, up to so many items, and hides AWS's own paging.
    paging = {}
    if client.can_paginate(call):
        for option, member in (("max-items", "MaxItems"), ("page-size", "PageSize")):
            if (values := command.options.pop(option, None)) is not None:
                if len(values) != 1 or not values[0].isdigit():
                    raise WrongUseError(f"--{option} takes a number")
                paging[member] = int(values[0])
    given = parameters(model, command.options, **how)
    if model.has_streaming_output != (len(more) == 1) or len(more) > 1:
        raise WrongUseError(
            f"aws {service} {name}: {more} (the name of a file for what it streams)"
        )
    if client.can_paginate(call):
        pages = client.get_paginator(call).paginate(**given, PaginationConfig=paging)
        answer: dict[str, Any] = pages.build_full_result()
    else:
        answer = getattr(client, call)(**given)
        answer.pop("ResponseMetadata", None)
    if more:
        member = model.output_shape.serialization["payload"]  # type: ignore[union-attr]
        Path(more[0]).write_bytes(answer.pop(member).read())
    return _printed(answer, command.globals.get("query"), output)


def _printed(answer: dict[str, Any], query: str | None, output: str) -> str:
    found = answer if query is None else jmespath.search(query, answer)
    if output == "text":
        return _text(found)
    return json.dumps(found, indent=4, default=_json_of) if found not in ({}, None) else ""


def _json_of(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value)} has no JSON")


def _text(value: Any) -> str:
    """Return scalars, a list of them in a line, or lists of them in lines."""
    if not isinstance(value, list):
        return _word(value)
    if any(isinstance(each, list) for each in value):
        return "\n".join(_text(each) for each in value)
    return "\t".join(_word(each) for each in value)


def _word(value: Any) -> str:
    if isinstance(value, dict | list):
        raise WrongUseError(f"--output text of {value!r}: name the member in --query")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def main(arguments: Sequence[str]) -> int:
    """Do what a command says; print and return what the AWS CLI does."""
    try:
        printed = run(arguments)
    except WrongUseError as error:
        print(f"aws: {error}", file=sys.stderr)
        return WRONG_USE
    except ClientError as error:
        print(f"\n{error}", file=sys.stderr)
        return REFUSED_BY_AWS
    except WaiterError as error:
        print(f"\n{error}", file=sys.stderr)
        return WAITED_IN_VAIN
    except BotoCoreError as error:
        print(f"\n{error}", file=sys.stderr)
        return WRONG_SETUP
    if printed:
        print(printed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
