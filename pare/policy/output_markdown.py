"""A proposal as a page for a pull request: the verdict first, then what somebody would ask next.

GitHub takes a comment of at most 65,536 characters. The page says more the more room there is:
tables grow shorter first, then the policy and the difference stay behind in their files.
https://github.com/orgs/community/discussions/27190
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pare.message import listed, several
from pare.policy.output_escapes import code, fenced, markdown
from pare.policy.output_words import (
    OPENINGS,
    coverage_rows,
    gone_services,
    granted,
    how_to_apply,
    last_use,
    level_of,
    no_new_access_line,
    policies_line,
    reason_text,
    reasons,
    replay_line,
    short_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Bytes of UTF-8, which are never fewer than characters; some room is left for a bot's own words.
PAGE_LIMIT = 64_000

_REST = "the rest is in `proposal.json`"
_CUT = f"This page is cut here; {_REST}."


class _Room(NamedTuple):
    rows: int  # in each table
    values: int  # in each cell
    letters: int  # in a text of its own
    has_difference: bool = True
    has_policies: bool = True


_ROOMS = (
    _Room(50, 10, 1_500),
    _Room(20, 5, 1_500),
    _Room(20, 5, 800, has_policies=False),
    _Room(8, 3, 800, has_policies=False),
    _Room(20, 5, 800, has_difference=False, has_policies=False),
    _Room(8, 2, 300, has_difference=False, has_policies=False),
)


def markdown_page(
    proposal: Mapping[str, Any], documents: Sequence[str], difference_markdown: str = ""
) -> str:
    """Return the page, with as much as GitHub takes; the difference stands as it is."""
    for room in _ROOMS:
        sections = _sections(proposal, documents, difference_markdown, room)
        if _size(sections) <= PAGE_LIMIT:
            return "\n\n".join(sections) + "\n"
    while _size([*sections, _CUT]) > PAGE_LIMIT:
        sections.pop()
    return "\n\n".join([*sections, _CUT]) + "\n"


def _size(sections: Sequence[str]) -> int:
    return sum(len(each.encode("utf-8", "replace")) + 2 for each in sections)


def _sections(
    proposal: Mapping[str, Any], documents: Sequence[str], difference: str, room: _Room
) -> list[str]:
    proposes = bool(proposal["documents"])
    parts = [
        _top(proposal),
        _reasons(proposal, room),
        _replay(proposal, room) if proposes else "",
        _changes(proposal, difference, room) if proposes else "",
        _no_new_access(proposal, room) if proposes else "",
        _evidence(proposal, room) if proposes else "",
        _refused_calls(proposal, room),
        _lint(proposal, room),
        _coverage(proposal, room),
        _policies(documents, room) if proposes else "",
    ]
    return [part for part in parts if part]


def _top(proposal: Mapping[str, Any]) -> str:
    name = code(short_name(proposal))
    verdict = proposal["verdict"]
    before, after = proposal.get("before"), proposal.get("after")
    heading = f"# Proposed policy for {name}"
    if not proposal["documents"]:
        heading = f"# No proposal for {name}"
    elif before and after:
        heading += f": {before['action_count']:,} → {after['action_count']:,} actions"
    elif after:
        heading += f": {several(after['action_count'], 'action')}"
    rows = [
        ("Principal", code(proposal["principal_arn"])),
        ("Kind", markdown(proposal["kind"])),
        ("Owner", code(proposal["owner"]) if proposal.get("owner") else ""),
        ("Finding", code(proposal["finding_id"]) if proposal.get("finding_id") else ""),
        ("Sessions", f"{proposal['session_count']:,}" if proposal.get("session_count") else ""),
        ("Made at", markdown(proposal["created_at"]) if proposal.get("created_at") else ""),
    ]
    facts = "  \n".join(f"{label}: {value}" for label, value in rows if value)
    return f"{heading}\n\n**Verdict: {verdict}.** {OPENINGS[verdict]}\n\n{facts}"


def _reasons(proposal: Mapping[str, Any], room: _Room) -> str:
    found = reasons(proposal)
    lines = [
        f"- **{level_of(each)}**: {markdown(reason_text(each), room.letters)} "
        f"({code(each['code'])})"
        for each in found[: room.rows]
    ]
    return _section("Why, and what to do", _capped(lines, found, room, "reasons"))


def _changes(proposal: Mapping[str, Any], difference: str, room: _Room) -> str:
    before, after = proposal.get("before"), proposal.get("after")
    lines = [
        f"- Granted today: {granted(before)}",
        f"- Proposed: {granted(after)}",
    ]
    # The difference names them where it is shown.
    if (gone := gone_services(proposal)) and not (difference and room.has_difference):
        lines.append(f"- Services gone: {len(gone):,}: {markdown(listed(gone, room.values * 5))}")
    lines.append(f"- Written as: {policies_line(proposal)}")
    packing = proposal.get("packing")
    if packing and not packing["fits"]:
        limit = packing["attachment_limit"]
        lines.append(
            f"- **More than may be attached ({limit:,}).** "
            + " ".join(markdown(each) for each in packing["options"])
        )
    lines += ["", how_to_apply(proposal, code)]
    if difference and room.has_difference:
        lines += ["", difference.strip()]
    elif difference:
        lines += ["", "The difference, action by action, is too long for this page: it is in "
                  "`proposal.json`."]  # fmt: skip
    return _section("What changes", lines)


def _replay(proposal: Mapping[str, Any], room: _Room) -> str:
    replay = proposal.get("replay")
    lines = [f"**{_capitalized(replay_line(replay))}.**"]
    if replay:
        lines += _calls_table(
            "Calls that would stop working, or that nobody can be sure of:",
            replay.get("counterexamples") or [], replay.get("more_counterexamples") or 0, room,
        )  # fmt: skip
        lines += _calls_table(
            "Calls that were allowed then and are not granted today (so not kept):",
            replay.get("not_granted_today") or [], replay.get("more_not_granted_today") or 0, room,
        )  # fmt: skip
    return _section("Does it still work?", lines)


def _calls_table(
    heading: str, calls: Sequence[Mapping[str, Any]], more: int, room: _Room
) -> list[str]:
    if not calls:
        return []
    rows = [
        (
            code(each["action"])
            + (f" to {code(each['passed_to_service'])}" if each.get("passed_to_service") else ""),
            code(each["resource"] or "") or "unknown",
            markdown(each.get("answer") or ""),
            markdown(each.get("why") or "", 200),
            f"{each['count']:,}",
            markdown(each.get("last") or "", 20),
            code(each.get("file") or "", 150),
        )
        for each in calls[: room.rows]
    ]
    header = ("Action", "Resource", "Answer", "Why", "Calls", "Last", "Log file")
    return ["", heading, "", *_table(header, rows, len(calls) + more, numbers={4})]


def _no_new_access(proposal: Mapping[str, Any], room: _Room) -> str:
    result = proposal.get("no_new_access")
    lines = [f"**{_capitalized(markdown(no_new_access_line(result), room.letters))}.**"]
    for heading, key in (
        ("Granted by the proposal and not today:", "additions"),
        ("Nobody can be sure of these:", "undecided"),
    ):
        found = (result or {}).get(key) or []
        rows = [
            (code(each["sid"]), code(each["action"]), code(each["resource"]),
             markdown(each["why"], 300))
            for each in found[: room.rows]
        ]  # fmt: skip
        if rows:
            header = ("Sid", "Action", "Resource", "Why")
            lines += ["", heading, "", *_table(header, rows, len(found))]
    return _section("New access", lines)


def _evidence(proposal: Mapping[str, Any], room: _Room) -> str:
    """Return a table that fits a narrow page, and under it the long lists of each statement."""
    found = proposal["evidence"]
    shown = found[: room.rows]
    rows = [
        (
            code(each["sid"]),
            markdown(each["basis"]),
            f"{len(each['actions']):,}",
            f"{each['call_count']:,}" if each.get("call_count") else "",
            markdown(last_use(each)),
        )
        for each in shown
    ]
    header = ("Sid", "Basis", "Actions", "Calls", "Last use")
    lines = _table(header, rows, len(found), numbers={2, 3})
    granted_on = _resources_by_sid(proposal["documents"])
    lines.append("")
    for each in shown:
        lines.append(f"- {code(each['sid'])}")
        lines.append(f"  - Actions: {_codes(each['actions'], room)}")
        lines += [f"  - {line}" for line in _reach(each, granted_on.get(each["sid"], []), room)]
    return _section("What each statement rests on", lines)


def _resources_by_sid(documents: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the Resource or NotResource element of each statement that has a Sid."""
    found: dict[str, list[str]] = {}
    for document in documents:
        statements = document["Statement"]
        for each in statements if isinstance(statements, list) else [statements]:
            values = each.get("Resource", each.get("NotResource", []))
            values = [values] if isinstance(values, str) else values
            if "Resource" not in each:
                values = [f"everything but {', '.join(values)}"]
            found.setdefault(each.get("Sid") or "", []).extend(values)
    return found


def _reach(evidence: Mapping[str, Any], granted_on: Sequence[str], room: _Room) -> list[str]:
    """Return where a statement's actions were used, or what it grants where that is not known.

    What was made wider than the uses is told too.
    """
    uses = evidence.get("uses") or []
    resources = sorted({use["resource"] for use in uses if use.get("resource")}) or granted_on
    lines = [
        f"{several(each['arn_count'], 'ARN')} folded to {code(each['pattern'])}, such as "
        f"{_codes(each['examples'][:1], room)}"
        for each in (evidence.get("folded") or [])[: room.values]
    ]
    lines += [
        f"{code(each['action'])} widened to {code(each['resource'])}: {markdown(each['why'], 300)}"
        for each in (evidence.get("widened") or [])[: room.values]
    ]
    if resources and not evidence.get("folded"):
        lines.insert(0, f"Resources: {_codes(resources, room)}")
    return lines


def _refused_calls(proposal: Mapping[str, Any], room: _Room) -> str:
    found = proposal.get("refused_calls") or []
    if not found:
        return ""
    rows = [
        (
            code(each["action"]),
            code(each["resource"] or "") or "unknown",
            f"{each['count']:,}",
            markdown(each.get("last") or "", 20),
            markdown(listed(sorted(each.get("errors") or {}), 3)),
            "yes, for other calls" if each.get("granted_by_proposal") else "no",
        )
        for each in found[: room.rows]
    ]
    header = ("Action", "Resource", "Calls", "Last", "Error", "Granted by the proposal")
    return _section(
        "Asked for and refused",
        [
            "AWS refused these calls. They are no needs and nothing was granted for them.",
            "",
            *_table(header, rows, len(found), numbers={2}),
        ],
    )


def _lint(proposal: Mapping[str, Any], room: _Room) -> str:
    alike: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for each in proposal.get("lint") or []:
        alike.setdefault((each["type"], each["code"], each.get("sid") or ""), []).append(each)
    found = list(alike.values())
    lines = [
        f"- **{markdown(first['type'])}** {code(first['code'])}"
        + (f" in {code(first['sid'])}" if first.get("sid") else "")
        + f": {markdown(first['details'], room.letters)}"
        + (f" (and {len(others):,} more like it)" if others else "")
        for first, *others in found[: room.rows]
    ]
    return _section("What the lint says", _capped(lines, found, room, "findings")) if found else ""


def _coverage(proposal: Mapping[str, Any], room: _Room) -> str:
    found = coverage_rows(proposal["coverage"])
    rows = [(markdown(label), markdown(value, room.letters)) for label, value in found[: room.rows]]
    return _section("What was read", _table(("What", ""), rows, len(found))) if rows else ""


def _policies(documents: Sequence[str], room: _Room) -> str:
    if not room.has_policies:
        files = listed([f"`policy-{n}.json`" for n, _ in enumerate(documents, 1)])
        return _section("The policy", [f"Too long for this page: see {files}."])
    blocks = [
        f"<details>\n<summary>policy-{number}.json</summary>\n\n"
        f"{fenced(document, 'json')}\n\n</details>"
        for number, document in enumerate(documents, 1)
    ]
    return _section("The policy", ["\n\n".join(blocks)])


def _section(heading: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines).strip()
    return f"## {heading}\n\n{body}" if body else ""


def _table(
    header: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    total: int,
    numbers: frozenset[int] | set[int] = frozenset(),
) -> list[str]:
    """Return the lines of a table, and how many rows of the whole are not in it."""
    rule = "|".join(" ---: " if i in numbers else " --- " for i, _ in enumerate(header))
    lines = [_row(header), f"|{rule}|", *map(_row, rows)]
    if total > len(rows):
        lines += ["", f"… and {total - len(rows):,} more; {_REST}."]
    return lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _capped(lines: list[str], found: Sequence[Any], room: _Room, what: str) -> list[str]:
    more = len(found) - room.rows
    return [*lines, f"- … and {more:,} more {what}".rstrip() + f"; {_REST}."] if more > 0 else lines


def _codes(values: Sequence[str], room: _Room) -> str:
    shown = [code(each) for each in values[: room.values]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
