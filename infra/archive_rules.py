"""The file of archive rules, ``config/archive-rules.yaml``, read and checked like the settings."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.checked_file import KeyPath, Problem, read_checked
from pare.findings.archive_rules import ArchiveRule, could_hide_public, normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.checked_file import Get
    from pare.findings.archive_rules import FilterJson

SCHEMA_PATH = Path(__file__).parent / "archive_rules.schema.json"

# What an account id, a Boolean or a finding type must look like for a rule to match anything.
_TYPES = ("ExternalAccess", "InternalAccess", "UnusedIAMRole", "UnusedIAMUserAccessKey",
          "UnusedIAMUserPassword", "UnusedPermission")  # fmt: skip
_VALUES = {
    "isPublic": (re.compile(r"true|false"), "true or false"),
    "resourceOwnerAccount": (re.compile(r"[0-9]{12}"), "a 12-digit account id"),
    "findingType": (re.compile("|".join(_TYPES)), f"one of {', '.join(_TYPES)}"),
}
# Which kinds of analyzer know the key at all, where not all do.
_KINDS = {
    "isPublic": ("external",),
    "principal.Federated": ("external",),
    "resourceControlPolicyRestriction": ("external", "internal"),
    "serviceControlPolicyRestriction": ("internal",),
    "accessType": ("internal",),
    "principalOwnerAccount": ("internal",),
    "principalType": ("internal",),
}


def load_archive_rules(path: str | Path) -> tuple[ArchiveRule, ...]:
    """Return the rules of a file, in its order.

    Raises SettingsError with one line for every fault: its line, what is wrong, and the fix.
    """
    value = read_checked(
        Path(path),
        SCHEMA_PATH,
        (_check_names, _check_values, _check_kinds, _check_public),
        example="config/archive-rules.yaml",
    )
    return tuple(
        ArchiveRule(
            name=rule["name"],
            filter=normal(_in_texts(rule["filter"])),
            reason=rule["reason"],
            owner=rule["owner"],
            expires=date.fromisoformat(rule["expires"]),
            analyzers=tuple(rule["analyzers"]),
            regions=tuple(rule["regions"]),
        )
        for rule in value["rules"]
    )


def _in_texts(criteria: dict[str, Any]) -> FilterJson:
    """Return a filter with its values as AWS takes them: texts, whatever YAML made of them."""
    found: Any = {
        key: {
            how: [_text(each) for each in what] if isinstance(what, list) else what
            for how, what in criterion.items()
        }
        for key, criterion in criteria.items()
    }
    texts: FilterJson = found
    return texts


def _text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rules(get: Get) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, rule in enumerate(get("rules") or ()):
        if isinstance(rule, dict):
            yield index, rule


def _check_names(get: Get) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, _ in _rules(get):
        name = get("rules", index, "name")
        if name in seen:
            yield Problem(
                ("rules", index, "name"),
                f"'{name}' is the name of rules[{seen[name]}] too",
                "give each rule a name of its own.",
            )
        elif name:
            seen[name] = index


def _check_values(get: Get) -> Iterator[Problem]:
    for index, key, criterion in _criteria(get):
        path: KeyPath = ("rules", index, "filter", key)
        if "exists" in criterion and len(criterion) > 1:
            yield Problem(
                path,
                "has exists beside another operator",
                "keep one of the two: a value that must equal something exists anyhow.",
            )
        if key not in _VALUES:
            continue
        pattern, what = _VALUES[key]
        for how in ("eq", "neq"):
            for place, value in enumerate(criterion.get(how) or ()):
                if not pattern.fullmatch(_text(value)):
                    yield Problem(
                        (*path, how, place), f"'{_text(value)}' is not {what}", f"write {what}."
                    )


def _check_kinds(get: Get) -> Iterator[Problem]:
    for index, key, _ in _criteria(get):
        kinds = get("rules", index, "analyzers") or ()
        known = _KINDS.get(key)
        strangers = [kind for kind in kinds if known and kind not in known]
        if strangers and known:
            yield Problem(
                ("rules", index, "filter", key),
                f"is a key that findings of {' and '.join(strangers)} access do not have",
                f"write analyzers: [{', '.join(known)}], or leave the key out.",
            )


def _check_public(get: Get) -> Iterator[Problem]:
    """Yield the rules that could hide what is open to anybody, and do not say so."""
    for index, _ in _rules(get):
        path: KeyPath = ("rules", index, "filter")
        criteria = get(*path)
        if not criteria or "external" not in (get("rules", index, "analyzers") or ()):
            continue
        if "isPublic" not in criteria and could_hide_public(_in_texts(criteria)):
            yield Problem(
                path,
                "could archive findings about public access too",
                'add isPublic: {eq: ["false"]}; or, where public access is meant, {eq: ["true"]}.',
            )


def _criteria(get: Get) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for index, rule in _rules(get):
        found = rule.get("filter")
        for key in found if isinstance(found, dict) else ():
            criterion = get("rules", index, "filter", key)
            if isinstance(criterion, dict):
                yield index, key, criterion
