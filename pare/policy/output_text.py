"""A proposal as a person at a terminal reads it: verdict, numbers, reasons, statements in brief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.message import bullet, headline, listed, paragraph, plain, rows, several
from pare.policy.output_words import (
    OPENINGS,
    coverage_line,
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
    title,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STATEMENTS_SHOWN = 20
_CALLS_SHOWN = 5
_SID_WIDTH = 28
_NEXT = (
    "`-o DIR` writes a page with what each statement rests on; `--output json` prints the policy."
)


def text_page(proposal: Mapping[str, Any], difference_text: str = "") -> str:
    """Return the text, at most 80 columns except for ARNs. ``difference_text`` stands as it is."""
    proposes = bool(proposal["documents"])
    parts = [
        headline(title(proposal)),
        paragraph(f"Verdict: {proposal['verdict']}. {OPENINGS[proposal['verdict']]}"),
        rows(_facts(proposal, proposes=proposes)),
        _reasons(proposal),
        _counterexamples(proposal) if proposes else "",
        difference_text.strip("\n"),
        _statements(proposal) if proposes else "",
        paragraph(how_to_apply(proposal)) if proposes else "",
        paragraph(_NEXT) if proposes else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(proposal: Mapping[str, Any], *, proposes: bool) -> list[tuple[str, str]]:
    # The difference names them where there is one.
    gone = [] if proposal.get("difference") else gone_services(proposal)
    refused = sum(each["count"] for each in proposal.get("refused_calls") or [])
    proposed = [
        ("Proposed", granted(proposal.get("after"))),
        ("Services gone", f"{len(gone):,}: {listed(gone)}" if gone else ""),
        ("Written as", policies_line(proposal)),
        ("Still works", replay_line(proposal.get("replay"))),
        ("New access", no_new_access_line(proposal.get("no_new_access"))),
    ] if proposes else []  # fmt: skip
    return [
        ("Principal", plain(proposal["principal_arn"], 1_000)),
        ("Owner", plain(proposal.get("owner") or "")),
        ("Granted today", granted(proposal.get("before"))),
        *proposed,
        ("Refused", f"{several(refused, 'call')}, for which nothing is granted" if refused else ""),
        ("Read", coverage_line(proposal["coverage"])),
    ]


def _reasons(proposal: Mapping[str, Any]) -> str:
    found = "\n".join(
        bullet(f"{level_of(each)}: {reason_text(each)}") for each in reasons(proposal)
    )
    return f"Why, and what to do:\n{found}" if found else ""


def _counterexamples(proposal: Mapping[str, Any]) -> str:
    replay = proposal.get("replay") or {}
    found = replay.get("counterexamples") or []
    if not found:
        return ""
    lines = [
        bullet(
            f"{plain(each['action'])} on {plain(each['resource'] or 'an unknown resource', 400)}: "
            f"{plain(each['answer'])}, {several(each['count'], 'call')}, the last "
            f"{plain(each.get('last') or 'at an unknown time')}. {plain(each.get('why') or '')}"
        ).rstrip()
        for each in found[:_CALLS_SHOWN]
    ]
    more = len(found) - len(lines) + (replay.get("more_counterexamples") or 0)
    lines += [f"- and {more:,} more"] if more else []
    return "Calls that would stop working, or that nobody can be sure of:\n" + "\n".join(lines)


def _statements(proposal: Mapping[str, Any]) -> str:
    found: Sequence[Mapping[str, Any]] = proposal["evidence"]
    cells = [("Statement", "Basis", "Actions", "Calls", "Last use")]
    cells += [
        (
            plain(each["sid"], _SID_WIDTH),
            plain(each["basis"], 24),
            f"{len(each['actions']):,}",
            f"{each['call_count']:,}" if each.get("call_count") else "-",
            last_use(each) or "-",
        )
        for each in found[:_STATEMENTS_SHOWN]
    ]
    wide = [max(len(row[column]) for row in cells) for column in range(5)]
    # Indented: a Sid may be a name from outside, and must not begin a line of ours.
    lines = [
        f"  {row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]:>{wide[2]}}  "
        f"{row[3]:>{wide[3]}}  {row[4]}"
        for row in cells
    ]
    if len(found) > _STATEMENTS_SHOWN:
        lines.append(f"  and {len(found) - _STATEMENTS_SHOWN:,} more")
    return "\n".join(lines)
