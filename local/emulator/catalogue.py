"""What the emulator knows of services and actions: Pare's catalogue and small tables."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pare.policy.catalogue import load_catalogue
from pare.policy.patterns import wildcard_regex


@cache
def table(name: str) -> dict[str, Any]:
    """Return one of the data tables beside this module."""
    data: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text())
    return data


def services() -> tuple[str, ...]:
    """Return every service prefix, sorted."""
    return load_catalogue().services


def service_name(service: str) -> str:
    """Return the service's name as people know it, or its prefix if the catalogue lacks it."""
    try:
        return load_catalogue().service_name(service)
    except KeyError:
        return service


def matches(name: str, patterns: list[str]) -> bool:
    """Return whether an action name matches one of the patterns, without regard to case."""
    return any(wildcard_regex(pattern.lower()).fullmatch(name.lower()) for pattern in patterns)


@cache
def is_data_plane(service: str, name: str) -> bool:
    """Return whether CloudTrail records the operation or action as a data event only."""
    patterns = table("data_plane.json")["actions"].get(service, [])
    return name != "PassRole" and matches(name, patterns)


@cache
def is_tracked(service: str, name: str) -> bool:
    """Return whether last-accessed tracks the action: no data plane, no iam:PassRole."""
    return not matches(name, table("data_plane.json")["actions"].get(service, []))


@cache
def tracked_actions(service: str) -> tuple[str, ...]:
    """Return the service's tracked actions, without prefix, sorted."""
    names = (action.partition(":")[2] for action in load_catalogue().actions(service))
    return tuple(sorted(name for name in names if is_tracked(service, name)))


@cache
def actions_of(event_source: str, event_name: str) -> tuple[str, ...]:
    """Return the IAM actions of a CloudTrail operation; empty if it is not known.

    Exceptions come from operations.json; else the action has the operation's name, if the catalogue
    has such an action.
    """
    operations = table("operations.json")
    source = event_source.removesuffix(".amazonaws.com").removesuffix(".amazonaws.com.cn")
    service = operations["services"].get(source, source)
    version = operations["versions"].get(service)
    name = re.sub(f"{version}$", "", event_name) if version else event_name
    listed = operations["operations"].get(f"{service}:{name}")
    if listed is not None:
        return tuple(listed)
    action = f"{service}:{name}"
    catalogue = load_catalogue()
    return (catalogue.canonical(action),) if catalogue.exists(action) else ()


def service_of(event_source: str) -> str:
    """Return the IAM prefix of a CloudTrail event source."""
    source = event_source.removesuffix(".amazonaws.com").removesuffix(".amazonaws.com.cn")
    service: str = table("operations.json")["services"].get(source, source)
    return service


@cache
def resource_templates(action: str) -> tuple[str, ...]:
    """Return the action's ARN templates; empty means Resource "*"."""
    service, _, name = action.partition(":")
    for patterns, templates in table("resource_templates.json")["services"].get(service, []):
        if matches(name, patterns):
            return tuple(templates)
    return ()
