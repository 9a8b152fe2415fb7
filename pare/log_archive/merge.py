"""Statements of ours in a policy that others write too: put in by their Sid, taken out by it.

This module travels inside the inline function of PareLogArchive (``infra/log_archive_stack.py``),
which has no other copy of it: it imports the standard library alone. Nothing here changes what it
is given.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pare.policy.document import JsonObject

VERSION = "2012-10-17"
# What AWS stores at most.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html
# https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
BUCKET_POLICY_BYTES = 20 * 1024
KEY_POLICY_BYTES = 32 * 1024


def merged(
    policy: JsonObject, statements: Sequence[JsonObject], replacing: Collection[str] = ()
) -> JsonObject:
    """Return the policy with these statements in it, and without those of the Sids ``replacing``.

    A statement that is there under its Sid is replaced where it stands, unless it already says the
    same; a new one comes last. All else stays as it is, in its order. An empty policy, ``{}``, is
    none. Raises ValueError where others would mean something else once our policy variables count.
    """
    ours = {str(each["Sid"]): each for each in statements}
    found: list[Any] = []
    for each in statements_of(policy):
        sid = each.get("Sid")
        if sid in ours:
            wanted = ours.pop(sid)
            found.append(each if same(each, wanted) else wanted)
        elif sid not in replacing and sid not in {str(one["Sid"]) for one in statements}:
            found.append(each)
    found += ours.values()
    current = _in_current_version(policy, statements)
    if current is policy and found == statements_of(policy):
        return policy
    return {**current, "Statement": found}


def without(policy: JsonObject, sids: Collection[str]) -> JsonObject:
    """Return the policy without the statements of these Sids; its list may then be empty."""
    found = [each for each in statements_of(policy) if each.get("Sid") not in sids]
    return policy if found == statements_of(policy) else {**policy, "Statement": found}


def statements_of(policy: JsonObject) -> list[Any]:
    """Return a policy's statements: one may stand without a list."""
    found: Any = policy.get("Statement", [])
    return found if isinstance(found, list) else [found]


def same(one: JsonObject, other: JsonObject) -> bool:
    """Return whether two statements say the same, whatever their Sids.

    A string or a list of one, the order of lists and of keys, the case of actions and of condition
    keys, an account's id or its root, "*" or {"AWS": "*"}: they mean the same.
    """
    return bool(_meaning(one) == _meaning(other))


def difference(before: JsonObject, after: JsonObject) -> list[str]:
    """Return what changes from one policy to the other, as lines that begin with + or - or @@."""
    lines = difflib.unified_diff(_lines(before), _lines(after), n=1, lineterm="")
    return list(lines)[2:]


def summary(before: JsonObject, after: JsonObject) -> str:
    """Return in a few words what changes: ``+ PareReadsTheTrail, ~ PareListsTheTrail``."""
    old, new = _by_sid(before), _by_sid(after)
    words = [f"+ {sid}" for sid in new if sid not in old]
    words += [f"~ {sid}" for sid in new if sid in old and old[sid] != new[sid]]
    words += [f"- {sid}" for sid in old if sid not in new]
    return ", ".join(words) or "no change"


def size(policy: JsonObject) -> int:
    """Return how many bytes a policy has as it is sent."""
    return len(compact(policy).encode())


def compact(value: Any) -> str:
    """Return JSON without white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _in_current_version(policy: JsonObject, statements: Sequence[JsonObject]) -> JsonObject:
    """Return the policy in the version in which our variables are variables.

    In 2008-10-17, and without a Version, ``${`` is text. Where others wrote none, a version is as
    good as the other to them.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if policy.get("Version") == VERSION:
        return policy
    if policy and "${" not in compact(list(statements)):
        return policy
    if "${" in compact(statements_of(without(policy, {str(each["Sid"]) for each in statements}))):
        raise ValueError(
            f"The policy has not Version {VERSION}, and statements of others hold ${{, which means "
            f"something else there. Write Version {VERSION} into it once you know what they mean."
        )
    return {"Version": VERSION, **{key: policy[key] for key in policy if key != "Version"}}


def _meaning(statement: JsonObject) -> Any:
    elements: dict[str, Any] = {}
    for name, value in statement.items():
        if name in {"Action", "NotAction"}:
            elements[name] = frozenset(each.lower() for each in _texts(value))
        elif name in {"Resource", "NotResource"}:
            elements[name] = frozenset(_texts(value))
        elif name in {"Principal", "NotPrincipal"}:
            elements[name] = _principals(value)
        elif name == "Condition" and isinstance(value, dict):
            elements[name] = {
                (operator.lower(), key.lower()): frozenset(_texts(values))
                for operator, keys in value.items()
                if isinstance(keys, dict)
                for key, values in keys.items()
            }
        elif name != "Sid":
            elements[name] = value
    return {name: value for name, value in elements.items() if value != {}}


def _principals(value: Any) -> frozenset[tuple[str, str]]:
    by_type = value if isinstance(value, dict) else {"AWS": value}
    return frozenset(
        (kind, _account(each) if kind == "AWS" else each)
        for kind, each_value in by_type.items()
        for each in _texts(each_value)
    )


def _account(principal: str) -> str:
    """Return an account's id for its root, and any other principal as it is."""
    parts = principal.split(":")
    return parts[4] if parts[5:] == ["root"] and parts[2] == "iam" else principal


def _texts(value: Any) -> list[str]:
    """Return an element's values as IAM compares them: true is "true", 1 is "1"."""
    values = value if isinstance(value, list) else [value]
    return [each if isinstance(each, str) else json.dumps(each) for each in values]


def _lines(policy: JsonObject) -> list[str]:
    """Return a policy as lines in which a statement's do not depend on its neighbours'."""
    lines = [f"{key}: {compact(policy[key])}" for key in policy if key != "Statement"]
    for each in statements_of(policy):
        lines += json.dumps(each, indent=2, ensure_ascii=False).splitlines()
    return lines


def _by_sid(policy: JsonObject) -> dict[str, Any]:
    rest = {key: policy[key] for key in policy if key != "Statement"}
    named = {
        str(each.get("Sid") or f"statement {place} without a Sid"): each
        for place, each in enumerate(statements_of(policy), 1)
    }
    return {**{key: value for key, value in rest.items() if key == "Version"}, **named}
