"""Policy variables: ``${aws:username}``, ``${aws:PrincipalTag/team, 'none'}``, ``${*}``.

They are live in Version 2012-10-17 only; ``document.in_current_version`` turns those of older
documents into plain text before they come here.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pare.policy.patterns import has_wildcard, literal
from pare.policy.truth import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

START = "${"
# A key, which may hold spaces (a tag key), and a default value after a comma and a space.
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"(?P<key>[^,'{}]+?)(?:, '(?P<default>[^']*)')?")
_CHARACTERS = frozenset("*?$")
_COLONS_BEFORE_THE_RESOURCE = 5


class Absent(NamedTuple):
    """A variable without default names a key that is not in the request.

    AWS: "any attempt to match it fails and causes the statement to be invalid".
    """

    key: str


def resolve(
    text: str,
    context: Mapping[str, tuple[str, ...]],
    absent: frozenset[str],
    *,
    is_pattern: bool,
) -> str | Absent | Unknown:
    """Return a policy's text with its variables replaced by what the request holds.

    ``context`` and ``absent`` are as in evaluate.Request. In a pattern, a character that ``${*}``
    or ``${?}`` wrote is not a wildcard (patterns.literal). A text without ``${`` comes back as is.
    """
    if START not in text:
        return text
    parts: list[str] = []
    position = 0
    missing: Absent | None = None
    for match in _VARIABLE.finditer(text):
        parts.append(text[position : match.start()])
        position = match.end()
        found = _value(match.group(1), context, absent, is_pattern=is_pattern)
        if isinstance(found, Unknown):
            return found
        if isinstance(found, Absent):
            missing = missing or found
        else:
            parts.append(found)
    parts.append(text[position:])
    # A "$" that a variable wrote stands in a part of its own, before a "{" of the next.
    if any(START in part for part in parts):
        return Unknown(f"{text} has a policy variable that Pare cannot read")
    return missing if missing is not None else "".join(parts)


def widened(text: str) -> str:
    """Return a pattern that matches whatever a text matches, its variables being anything."""
    return _VARIABLE.sub("*", text) if START in text else text


def resolve_resource(
    text: str, context: Mapping[str, tuple[str, ...]], absent: frozenset[str]
) -> str | Absent | Unknown:
    """Return a Resource value as a pattern, as ``resolve`` does.

    Variables stand after the fifth colon of an ARN only; what AWS does with one before it is not
    documented.
    """
    for match in _VARIABLE.finditer(text):
        if match.group(1) not in _CHARACTERS:
            before = _VARIABLE.sub("", text[: match.start()])
            if before.count(":") < _COLONS_BEFORE_THE_RESOURCE:
                return Unknown(f"{text} has a policy variable before the fifth colon")
            break
    return resolve(text, context, absent, is_pattern=True)


def first_doubt(resolved: Iterable[str | Absent | Unknown]) -> Unknown | None:
    """Return why a statement with these values may be invalid as a whole, whatever they match.

    "If AWS cannot resolve a variable, this might cause the entire statement to be invalid": so with
    a variable that is absent, or may be, a statement that does not apply does not, and any other
    is unknown.
    """
    for each in resolved:
        if isinstance(each, Unknown):
            return each
        if isinstance(each, Absent):
            return Unknown(f"a policy variable asks for {each.key}, which is not in the request")
    return None


def _value(
    inside: str,
    context: Mapping[str, tuple[str, ...]],
    absent: frozenset[str],
    *,
    is_pattern: bool,
) -> str | Absent | Unknown:
    """Return what one variable stands for, given what is between its braces."""
    if inside in _CHARACTERS:
        return literal(inside) if is_pattern else inside
    match = _NAME.fullmatch(inside)
    if match is None:
        return Unknown(f"${{{inside}}} is a policy variable that Pare cannot read")
    key, default = match.group("key").strip(), match.group("default")
    values = context.get(key.lower())
    if values is None:
        if key.lower() not in absent:
            return Unknown(f"{key} is not in the record")
        if default is None:
            return Absent(key)
        values = (default,)
    if len(values) != 1:
        return Unknown(f"{key} has {len(values)} values, and a policy variable takes one")
    if is_pattern and has_wildcard(values[0]):
        return Unknown(f"{key} holds a wildcard, and AWS does not say whether it would count")
    return values[0]
