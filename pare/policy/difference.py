"""What a proposal changes: removed, kept and added actions, by the policy they come from today.

*removed*: granted today, not by the proposal. *kept*: granted by both; *changed* where it is kept
on fewer resources or under more conditions, *widened* where it is not shown to be within what is
granted today (more resources, fewer conditions). *added*: granted by the proposal alone.
"""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from pare.message import WIDTH, plain
from pare.policy.catalogue import load_catalogue
from pare.policy.covering import PatternSet
from pare.policy.document import in_current_version, parse
from pare.policy.grants import CountsJson, action_index, counts, granted_bits
from pare.policy.no_new_access import covers_resource, implied
from pare.policy.output_escapes import code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pare.policy.catalogue import Catalogue
    from pare.policy.current import CurrentAccessJson, Source
    from pare.policy.document import JsonObject, PolicyDocument, Statement
    from pare.policy.grants import ActionIndex

# How many resource patterns one change lists; how many there are more is said.
MAX_PATTERNS = 50


class ServiceActionsJson(TypedDict):
    """Actions of one service. ``actions`` is empty where they are all that the service has."""

    count: int
    is_whole_service: bool
    actions: list[str]


class ChangeJson(TypedDict):
    """Actions that are kept on fewer resources, or under ``conditions`` they had not.

    Both lists of resources are empty where these stay. A pattern that begins with "everything but"
    is a NotResource. ``is_partly_conditional``: on some resources no conditions are demanded.
    """

    actions: list[str]  # "ec2:*" where they are a whole service
    action_count: int
    from_resources: list[str]
    more_from_resources: int
    to_resources: list[str]
    more_to_resources: int
    conditions: list[dict[str, Any]]
    is_partly_conditional: bool


class WideningJson(TypedDict):
    """Actions of today that are granted on more resources, or without conditions they have.

    ``added_resources`` are the new patterns that no pattern of today is shown to cover;
    ``dropped_conditions`` those of today, of which one had to be met.
    """

    actions: list[str]  # "ec2:*" where they are a whole service
    action_count: int
    today_resources: list[str]
    more_today_resources: int
    added_resources: list[str]
    more_added_resources: int
    dropped_conditions: list[dict[str, Any]]


class SourceDifferenceJson(TypedDict):
    """What becomes of one policy of today.

    ``is_replaced`` is false where the proposal keeps all it says: it could stay as it is.
    """

    source: Source | Literal["document"]
    name: str
    arn: str | None
    group: str | None
    is_replaced: bool
    removed_action_count: int
    kept_action_count: int
    changed_action_count: int
    removed_actions: dict[str, ServiceActionsJson]
    kept_actions: dict[str, ServiceActionsJson]
    removed_services: list[str]  # of which nothing this policy grants is kept
    changed: list[ChangeJson]
    removed_denies: list[dict[str, Any]]  # Deny statements that the proposal does not have


class UnlistedJson(TypedDict):
    """Patterns in Action elements that match nothing in the catalogue: not counted anywhere."""

    before: list[str]
    after: list[str]


class DifferenceJson(TypedDict):
    """The whole difference; counts are of the catalogue's actions, within boundary and limits.

    ``differs`` is false only where both grant and refuse the same.
    """

    differs: bool
    before: CountsJson
    after: CountsJson
    removed_action_count: int
    kept_action_count: int
    changed_action_count: int
    widened_action_count: int
    added_action_count: int
    removed_services: list[str]
    added_services: list[str]
    added_actions: dict[str, ServiceActionsJson]
    widened: list[WideningJson]
    added_denies: list[dict[str, Any]]  # Deny statements that no policy of today has
    sources: list[SourceDifferenceJson]
    unlisted: UnlistedJson


class _Part(NamedTuple):
    """One policy of today."""

    source: Source | Literal["document"]
    name: str
    arn: str | None
    group: str | None
    document: PolicyDocument


def difference(
    current: CurrentAccessJson,
    documents: Sequence[PolicyDocument],
    *,
    limits: Sequence[Sequence[PolicyDocument]] = (),
    catalogue: Catalogue | None = None,
) -> DifferenceJson:
    """Return what changes when a proposal takes the place of all that a principal has today."""
    boundary = current["boundary"]
    return _difference(
        [
            _Part(
                policy["source"], policy["name"], policy["arn"], policy["group"],
                in_current_version(parse(policy["document"])),
            )
            for policy in current["policies"]
        ],
        documents,
        [*([[parse(boundary["document"])]] if boundary else []), *limits],
        catalogue,
    )  # fmt: skip


def difference_of_documents(
    old: Sequence[PolicyDocument],
    new: Sequence[PolicyDocument],
    *,
    names: Sequence[str] = (),
    boundary: PolicyDocument | None = None,
    catalogue: Catalogue | None = None,
) -> DifferenceJson:
    """Return the difference of two sets of documents; ``names`` tells the old ones apart."""
    return _difference(
        [
            _Part(
                "document", names[i] if i < len(names) else f"document {i + 1}", None, None,
                in_current_version(document),
            )
            for i, document in enumerate(old)
        ],
        new,
        [] if boundary is None else [[boundary]],
        catalogue,
    )  # fmt: skip


def _difference(
    parts: Sequence[_Part],
    documents: Sequence[PolicyDocument],
    bounds: Sequence[Sequence[PolicyDocument]],
    catalogue: Catalogue | None,
) -> DifferenceJson:
    index = action_index(catalogue or load_catalogue())
    new = [in_current_version(document) for document in documents]
    layers = [[in_current_version(each) for each in level] for level in bounds]
    old = [part.document for part in parts]
    before = granted_bits([old, *layers], index).actions
    after = granted_bits([new, *layers], index).actions
    changed_bits = 0
    sources = []
    for part in parts:
        source, changed = _source(part, new, before, after, index)
        sources.append(source)
        changed_bits |= changed
    before_counts, after_counts = (counts(index.actions(bits)) for bits in (before, after))
    kept = before & after
    widened_bits, widened = _widened(old, new, kept, index)
    added_denies = _missing_denies(new, old, index)
    differs = (
        before != after
        or bool(changed_bits or widened or added_denies)
        or any(source["removed_denies"] for source in sources)
        or _unlisted_grants(old, index) != _unlisted_grants(new, index)
        or bool(_widened(new, old, kept, index)[0])
    )
    return {
        "differs": differs,
        "before": before_counts,
        "after": after_counts,
        "removed_action_count": (before & ~after).bit_count(),
        "kept_action_count": kept.bit_count(),
        "changed_action_count": changed_bits.bit_count(),
        "widened_action_count": widened_bits.bit_count(),
        "added_action_count": (after & ~before).bit_count(),
        "removed_services": _without(before_counts["services"], after_counts["services"]),
        "added_services": _without(after_counts["services"], before_counts["services"]),
        "added_actions": _by_service(after & ~before, index),
        "widened": widened,
        "added_denies": added_denies,
        "sources": sources,
        "unlisted": {"before": _unlisted(old, index), "after": _unlisted(new, index)},
    }


def _source(
    part: _Part, new: Sequence[PolicyDocument], before: int, after: int, index: ActionIndex
) -> tuple[SourceDifferenceJson, int]:
    """Return what becomes of a policy, and which of its actions are changed."""
    allows = list(_statements([part.document], "Allow"))
    mine = 0
    for statement in allows:
        mine |= index.of_statement(statement)
    # What a Deny or the boundary holds back today is not removed by the proposal.
    mine &= before
    removed, kept = mine & ~after, mine & after
    changes: list[tuple[int, ChangeJson]] = []
    for bits, (froms, tos) in index.partition(kept, (allows, list(_statements(new, "Allow")))):
        change = _change(froms, tos)
        if change is not None:
            changes.append((bits, change))
    changes = _joined(changes, index)
    changed_bits = 0
    for bits, _ in changes:
        changed_bits |= bits
    removed_denies = _missing_denies([part.document], new, index)
    services = {action.partition(":")[0] for action in index.actions(kept)}
    removed_actions = _by_service(removed, index)
    result: SourceDifferenceJson = {
        "source": part.source,
        "name": part.name,
        "arn": part.arn,
        "group": part.group,
        "is_replaced": bool(removed or changes or removed_denies),
        "removed_action_count": removed.bit_count(),
        "kept_action_count": kept.bit_count(),
        "changed_action_count": changed_bits.bit_count(),
        "removed_actions": removed_actions,
        "kept_actions": _by_service(kept, index),
        "removed_services": sorted(set(removed_actions) - services),
        "changed": [change for _, change in changes],
        "removed_denies": removed_denies,
    }
    return result, changed_bits


def _change(froms: Sequence[Statement], tos: Sequence[Statement]) -> ChangeJson | None:
    """Return how the resources and conditions of kept actions change, or None if they do not."""
    old = sorted({pattern for statement in froms for pattern in _patterns(statement)})
    new = sorted({pattern for statement in tos for pattern in _patterns(statement)})
    is_narrowed = not _are_covered(old, new)
    if is_narrowed:
        # What the proposal grants of what other policies granted is not this one's change.
        has_but = any(each.startswith(_BUT) for each in old)
        before = PatternSet(each for each in old if not each.startswith(_BUT))
        new = [each for each in new if each.startswith(_BUT) or has_but or before.may_meet(each)]
    old_conditions = {_text(statement.conditions) for statement in froms}
    new_conditions = {_text(statement.conditions): statement.conditions for statement in tos}
    # A statement without conditions makes those of the others idle, where it holds.
    free = [each for statement in tos if not statement.conditions for each in _patterns(statement)]
    idle = {
        text
        for text in new_conditions
        if free and all(
            _are_covered(_patterns(statement), free)
            for statement in tos
            if _text(statement.conditions) == text
        )
    }  # fmt: skip
    added = [
        dict(conditions)
        for text, conditions in sorted(new_conditions.items())
        if conditions and text not in old_conditions and text not in idle
    ]
    if not is_narrowed:
        if not added:
            return None
        old = new = []
    return {
        "actions": [],
        "action_count": 0,
        "from_resources": old[:MAX_PATTERNS],
        "more_from_resources": max(0, len(old) - MAX_PATTERNS),
        "to_resources": new[:MAX_PATTERNS],
        "more_to_resources": max(0, len(new) - MAX_PATTERNS),
        "conditions": added,
        "is_partly_conditional": bool(added and free),
    }


def _widened(
    old: Sequence[PolicyDocument], new: Sequence[PolicyDocument], kept: int, index: ActionIndex
) -> tuple[int, list[WideningJson]]:
    """Return which kept actions are not shown to be within what is granted today, and how."""
    allows = list(_statements(old, "Allow"))
    every = 0
    by_text: dict[str, tuple[int, WideningJson]] = {}
    for statement in _statements(new, "Allow"):
        spoken_of = index.of_statement(statement) & kept
        for bits, (froms,) in index.partition(spoken_of, (allows,)):
            widening = _widening(froms, statement)
            if widening is not None:
                text = _text(widening)
                by_text[text] = (by_text[text][0] | bits if text in by_text else bits, widening)
                every |= bits
    found = []
    for bits, widening in by_text.values():
        widening["actions"] = index.folded(bits)
        widening["action_count"] = bits.bit_count()
        found.append(widening)
    return every, sorted(found, key=lambda each: (each["actions"], _text(each)))


def _widening(froms: Sequence[Statement], new: Statement) -> WideningJson | None:
    """Return what a statement grants that those of today do not, or None if there is nothing."""
    if any(not each.conditions and "*" in (each.resources or ()) for each in froms):
        return None
    added: list[str] = []
    dropped: dict[str, dict[str, Any]] = {}
    excepted = tuple(new.not_resources or ())
    for resource in ("*",) if new.resources is None else sorted(set(new.resources)):
        covering = [each for each in froms if covers_resource(each, resource, excepted)]
        if any(implied(each.conditions, new.conditions) for each in covering):
            continue
        if not covering:
            added += _patterns(new) if excepted else [resource]
        dropped |= {_text(each.conditions): dict(each.conditions) for each in covering}
    if not added and not dropped:
        return None
    today = sorted({pattern for statement in froms for pattern in _patterns(statement)})
    return {
        "actions": [],
        "action_count": 0,
        "today_resources": today[:MAX_PATTERNS],
        "more_today_resources": max(0, len(today) - MAX_PATTERNS),
        "added_resources": added[:MAX_PATTERNS],
        "more_added_resources": max(0, len(added) - MAX_PATTERNS),
        "dropped_conditions": [dropped[text] for text in sorted(dropped)],
    }


def _joined(
    changes: Iterable[tuple[int, ChangeJson]], index: ActionIndex
) -> list[tuple[int, ChangeJson]]:
    """Return the changes, those alike as one with all their actions, sorted by actions."""
    by_text: dict[str, tuple[int, ChangeJson]] = {}
    for bits, change in changes:
        text = json.dumps(change, sort_keys=True)
        by_text[text] = (by_text[text][0] | bits if text in by_text else bits, change)
    joined: list[tuple[int, ChangeJson]] = []
    for bits, change in by_text.values():
        named = change.copy()
        named["actions"] = index.folded(bits)
        named["action_count"] = bits.bit_count()
        joined.append((bits, named))
    return sorted(joined, key=lambda found: (found[1]["actions"], _text(found[1])))


def _missing_denies(
    here: Sequence[PolicyDocument], there: Sequence[PolicyDocument], index: ActionIndex
) -> list[dict[str, Any]]:
    """Return the Deny statements of ``here`` whose actions ``there`` does not refuse alike.

    Alike is: on the same resources, under the same conditions.
    """
    kept: dict[str, tuple[int, set[str]]] = {}
    for statement in _statements(there, "Deny"):
        bits, unlisted = kept.get(_frame(statement), (0, set()))
        kept[_frame(statement)] = (
            bits | index.of_statement(statement),
            unlisted | set(statement.actions or ()),
        )
    found = []
    for statement in _statements(here, "Deny"):
        bits, named = kept.get(_frame(statement), (0, set()))
        missing = {
            pattern
            for pattern in statement.actions or ()
            if not index.of_pattern(pattern) and pattern not in named
        }
        if index.of_statement(statement) & ~bits or missing:
            found.append(dict(statement.to_json_object()))
    return found


def _frame(statement: Statement) -> str:
    """Return all of a statement but its Sid and its actions, as a text to compare."""
    frame: JsonObject = statement.to_json_object()
    return _text({key: value for key, value in frame.items()
                  if key not in {"Sid", "Action", "NotAction"}})  # fmt: skip


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _statements(documents: Iterable[PolicyDocument], effect: str) -> Iterator[Statement]:
    return (
        statement
        for document in documents
        for statement in document.statements
        if statement.effect == effect
    )


_BUT = "everything but "


def _patterns(statement: Statement) -> list[str]:
    if statement.not_resources:
        return [_BUT + ", ".join(sorted(set(statement.not_resources)))]
    if statement.resources is None:
        return ["*"]
    return list(statement.resources)


def _are_covered(narrow: Sequence[str], wide: Sequence[str]) -> bool:
    """Return whether every pattern is proved to be covered by one of the wide ones."""
    patterns = PatternSet(each for each in wide if not each.startswith(_BUT))
    known = set(wide)
    return all(each in known or patterns.covers("*" if each.startswith(_BUT) else each)
               for each in narrow)  # fmt: skip


def _by_service(bits: int, index: ActionIndex) -> dict[str, ServiceActionsJson]:
    found: dict[str, ServiceActionsJson] = {}
    for service, actions in index.by_service(bits).items():
        is_whole = len(actions) == len(index.catalogue.actions(service))
        found[service] = {
            "count": len(actions),
            "is_whole_service": is_whole,
            "actions": [] if is_whole else actions,
        }
    return found


def _unlisted(documents: Iterable[PolicyDocument], index: ActionIndex) -> list[str]:
    return sorted({
        pattern
        for statement in _statements(documents, "Allow")
        for pattern in statement.actions or ()
        if not index.of_pattern(pattern)
    })  # fmt: skip


def _unlisted_grants(documents: Iterable[PolicyDocument], index: ActionIndex) -> set[str]:
    """Return what is granted of actions that the catalogue does not know, as texts to compare."""
    return {
        _text([pattern.lower(), resource, dict(statement.conditions)])
        for statement in _statements(documents, "Allow")
        for pattern in statement.actions or ()
        if not index.of_pattern(pattern)
        for resource in _patterns(statement)
    }


def _without(services: Sequence[str], others: Sequence[str]) -> list[str]:
    return sorted(set(services) - set(others))


# --- For people ---

_MAX_NAMES = 8
_MAX_SERVICES = 12
_MAX_CHANGES = 8
_MAX_RESOURCES = 4
# What ``_some`` and ``_more`` write, wrapped or not.
_IS_CUT = re.compile(r"\band\s+[0-9,]+\s+more\b")


_SOURCES = {
    "inline": "Inline policy",
    "customer managed": "Customer managed policy",
    "AWS managed": "AWS managed policy",
    "document": "Policy",
}


class _Line(NamedTuple):
    """A line of a page: a paragraph (0), a heading (1), an item (2) or an item under it (3)."""

    level: int
    text: str


def as_text(
    found: DifferenceJson, *, width: int = WIDTH, complete_in: str = "`--format json`"
) -> str:
    """Return a difference for a terminal, counts first, in lines of at most ``width`` characters.

    Names longer than a line, such as ARNs, stay whole. ``complete_in``: what holds the lists that
    are cut here.
    """
    written: list[str] = []
    for line in _lines(found, plain):
        indent = "  " * max(0, line.level - 1)
        mark = "- " if line.level > 2 else ""
        text = textwrap.fill(
            line.text,
            width,
            initial_indent=indent + mark,
            subsequent_indent=indent + ("  " if line.level > 1 else ""),
            break_long_words=False,
            break_on_hyphens=False,
        )
        written.append(f"\n{text}" if line.level == 1 else text)
    page = "\n".join(written) + "\n"
    if _IS_CUT.search(page):
        page += "\n" + textwrap.fill(f"Complete lists: {complete_in}.", width) + "\n"
    return page


def as_markdown(
    found: DifferenceJson, *, heading: str = "###", complete_in: str = "`--format json`"
) -> str:
    """Return a difference as Markdown for a pull request: what is from outside is in code spans."""
    marks = {0: "", 1: f"{heading} ", 2: "- ", 3: "  - "}
    written: list[str] = []
    last = 0
    for line in _lines(found, code):
        # Blocks need an empty line between them; items of one list do not.
        if written and not (line.level > 1 and last > 1):
            written.append("")
        written.append(marks[line.level] + line.text)
        last = line.level
    page = "\n".join(written) + "\n"
    return f"{page}\nComplete lists: {complete_in}.\n" if _IS_CUT.search(page) else page


def _lines(found: DifferenceJson, name: Callable[[str], str]) -> Iterator[_Line]:
    before, after = found["before"], found["after"]
    how_kept = ", ".join(
        f"{count:,} {word}"
        for word, count in (
            ("changed", found["changed_action_count"]),
            ("widened", found["widened_action_count"]),
        )
        if count
    )
    yield _Line(0, (
        f"{_counted(before['action_count'], before['service_count'])} today, "
        f"{_counted(after['action_count'], after['service_count'])} proposed: "
        f"removed {found['removed_action_count']:,}, kept {found['kept_action_count']:,}"
        + (f" ({how_kept})" if how_kept else "")
        + f", added {found['added_action_count']:,}."
    ))  # fmt: skip
    gone = sum(len(source["removed_denies"]) for source in found["sources"])
    for verb, count in (("removed", gone), ("added", len(found["added_denies"]))):
        if count:
            yield _Line(0, f"{_denies(count)} {verb}.")
    for verb, services in (("removed", "removed_services"), ("added", "added_services")):
        values: list[str] = found[services]  # type: ignore[literal-required]
        if values:
            what = "Service" if len(values) == 1 else "Services"
            yield _Line(0, f"{what} {verb}, {len(values):,}: {_some(values, name)}.")
    if found["added_actions"]:
        yield _Line(1, f"Added {_counted(found['added_action_count'])}, not granted today")
        yield from _service_lines(found["added_actions"], name, 2)
    if found["widened"]:
        yield _Line(1, f"Widened {_counted(found['widened_action_count'])}, granted on less today")
        for widening in found["widened"][:_MAX_CHANGES]:
            yield _Line(2, _widening_line(widening, name))
        yield from _more(len(found["widened"]) - _MAX_CHANGES, "widening", 2)
    if found["added_denies"]:
        yield _Line(1, f"Added {_denies(len(found['added_denies']))}")
        yield from _deny_lines(found["added_denies"], name, 2)
    for source in found["sources"]:
        yield from _source_lines(source, name)
    for side, when in (("before", "today"), ("after", "proposed")):
        patterns: list[str] = found["unlisted"][side]  # type: ignore[literal-required]
        if patterns:
            yield _Line(1, f"Not in the catalogue, so not counted ({when})")
            yield _Line(2, _some(patterns, name))


def _source_lines(source: SourceDifferenceJson, name: Callable[[str], str]) -> Iterator[_Line]:
    title = f"{_SOURCES[source['source']]} {name(source['name'])}"
    if source["group"]:
        title += f", through the group {name(source['group'])}"
    changed = source["changed_action_count"]
    counted = f"removed {source['removed_action_count']:,}, kept {source['kept_action_count']:,}"
    yield _Line(1, f"{title}: {counted}" + (f" ({changed:,} changed)" if changed else ""))
    if not source["is_replaced"]:
        yield _Line(2, "all it grants is kept")
        return
    if source["removed_actions"]:
        yield _Line(2, f"removed {_counted(source['removed_action_count'])}")
        yield from _service_lines(source["removed_actions"], name, 3)
    if source["kept_actions"]:
        yield _Line(2, f"kept {_counted(source['kept_action_count'])}")
        yield from _service_lines(source["kept_actions"], name, 3)
    if source["changed"]:
        yield _Line(2, f"changed {_counted(changed)}")
        for change in source["changed"][:_MAX_CHANGES]:
            yield _Line(3, _change_line(change, name))
        yield from _more(len(source["changed"]) - _MAX_CHANGES, "change", 3)
    if source["removed_denies"]:
        yield _Line(2, f"removed {_denies(len(source['removed_denies']))}")
        yield from _deny_lines(source["removed_denies"], name, 3)


def _deny_lines(
    statements: Sequence[dict[str, Any]], name: Callable[[str], str], level: int
) -> Iterator[_Line]:
    for statement in statements[:_MAX_CHANGES]:
        yield _Line(level, name(_text(statement)))
    yield from _more(len(statements) - _MAX_CHANGES, "Deny statement", level)


def _denies(count: int) -> str:
    return f"{count:,} Deny statement{'' if count == 1 else 's'}"


def _service_lines(
    services: dict[str, ServiceActionsJson], name: Callable[[str], str], level: int
) -> Iterator[_Line]:
    """Yield whole services in one line, the others each in its own."""
    whole = [
        f"{name(service)} ({found['count']:,})"
        for service, found in services.items()
        if found["is_whole_service"]
    ]
    parts = {service: found for service, found in services.items() if not found["is_whole_service"]}
    if len(whole) == 1:
        service, found = next(
            (service, found) for service, found in services.items() if found["is_whole_service"]
        )
        all_of_it = "its one action" if found["count"] == 1 else f"all {found['count']:,} actions"
        yield _Line(level, f"{name(service)}: {all_of_it}")
    elif whole:
        yield _Line(
            level, f"all actions of {len(whole):,} services: {_some(whole, str, _MAX_SERVICES)}"
        )
    for service, found in list(parts.items())[:_MAX_SERVICES]:
        names = [action.partition(":")[2] for action in found["actions"]]
        yield _Line(level, f"{name(service)}, {found['count']:,}: {_some(names, name)}")
    yield from _more(len(parts) - _MAX_SERVICES, "service", level)


def _change_line(change: ChangeJson, name: Callable[[str], str]) -> str:
    text = _some(change["actions"], name)
    if change["from_resources"] != change["to_resources"]:
        old = _some(change["from_resources"], name, _MAX_RESOURCES, change["more_from_resources"])
        new = _some(change["to_resources"], name, _MAX_RESOURCES, change["more_to_resources"])
        is_gone = not change["to_resources"]
        text += f": no longer on {old}" if is_gone else f": from {old} to {new}"
    if change["conditions"]:
        conditions = [_text(condition) for condition in change["conditions"]]
        partly = "in part " if change["is_partly_conditional"] else ""
        text += f", {partly}only under {_some(conditions, name, _MAX_RESOURCES)}"
    return text


def _widening_line(widening: WideningJson, name: Callable[[str], str]) -> str:
    text = _some(widening["actions"], name)
    today = _some(widening["today_resources"], name, _MAX_RESOURCES,
                  widening["more_today_resources"])  # fmt: skip
    parts = []
    if widening["added_resources"]:
        added = _some(widening["added_resources"], name, _MAX_RESOURCES,
                      widening["more_added_resources"])  # fmt: skip
        parts.append(f"now on {added}, today on {today}")
    if widening["dropped_conditions"]:
        conditions = [_text(condition) for condition in widening["dropped_conditions"]]
        parts.append(f"no longer only under {_some(conditions, name, _MAX_RESOURCES)}")
    return f"{text}: {'; '.join(parts)}"


def _some(
    values: Sequence[str], name: Callable[[str], str], limit: int = _MAX_NAMES, beyond: int = 0
) -> str:
    """Return ``a, b and 3 more``; ``beyond`` values were not even handed over."""
    more = max(0, len(values) - limit) + beyond
    shown = ", ".join(name(value) for value in values[:limit]) or "nothing"
    return shown + (f" and {more:,} more" if more else "")


def _more(count: int, what: str, level: int) -> Iterator[_Line]:
    if count > 0:
        yield _Line(level, f"and {count:,} more {what}{'' if count == 1 else 's'}")


def _counted(actions: int, services: int | None = None) -> str:
    text = f"{actions:,} action{'' if actions == 1 else 's'}"
    if services is not None:
        text += f" in {services:,} service{'' if services == 1 else 's'}"
    return text
