"""What changed on a card since people were last told of it, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pare.findings.card_view import Group, archivers_of, ended_of, grouped, said_by, whose
from pare.findings.model import SEVERITIES
from pare.findings.phrases import (
    Words,
    condition,
    condition_if_any,
    headline_of,
    kind_of,
    may,
    whom,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pare.findings.card import CardViewJson, HowEnded
    from pare.findings.model import FindingJson, Severity

LISTED_CHANGES = 10
_HOWS: tuple[HowEnded, ...] = ("UNWATCHED", "ARCHIVED", "RESOLVED", "DELETED")
_IS_OVER = frozenset({"RESOLVED", "DELETED"})
_COUNTS = ("unused_service_count", "unused_action_count")


@dataclass(frozen=True, slots=True)
class _Left:
    """What is still open of a card: what its findings say, and of which principals they are."""

    said: Collection[object]
    whose: Collection[object]
    unread: Collection[str]  # Regions in which Access Analyzer could not look at it


def changes(view: CardViewJson, findings: Sequence[FindingJson], say: Words) -> list[str]:
    """Return a sentence for each change, the gravest first, ten at most.

    The churn of a partial fix (an old finding resolved, a new one made) is one story: what there
    was and what is left.
    """
    told = view["card"]["told"]
    if told is None:
        return []
    new = [each for each in findings if each["finding_id"] not in told["findings"]]
    ended = ended_of(view)
    lines = [*_severity(view, say), *_worse(view, say), *_other(view, findings, say)]
    over = [each for each in ended if _how(view, each) in _IS_OVER]
    for before, after in _partly_fixed(over, new):
        lines += _counts(before, after, say)
        new = [each for each in new if each["finding_id"] != after["finding_id"]]
        ended = [each for each in ended if each["finding_id"] != before["finding_id"]]
    lines += [_new(group.first, say) for group in grouped(new)]
    left = _Left(
        {said_by(each) for each in findings},
        {whose(each) for each in findings},
        {each["region"] for each in findings if each["error"]},
    )
    for how in _HOWS:
        alike = grouped(each for each in ended if _how(view, each) == how)
        lines += [_ended(group, how, left, view, say) for group in alike]
    if len(lines) > LISTED_CHANGES:
        more = say("change_more", count=len(lines) - LISTED_CHANGES)
        lines = [*lines[:LISTED_CHANGES], more]
    return lines


def _severity(view: CardViewJson, say: Words) -> list[str]:
    told = view["card"]["told"]
    before = told["severity"] if told else None
    if before is None or before == view["severity"]:
        return []
    return [
        say(
            "change_severity",
            before=say.word("severity", before),
            after=say.word("severity", view["severity"]),
        )
    ]


def _worse(view: CardViewJson, say: Words) -> list[str]:
    """Return the findings that were told and are graver now, where the card itself is not."""
    told, card = view["card"]["told"], view["card"]
    if told is None or told["severity"] != view["severity"]:
        return []
    both = [(told["findings"][each], card["open"][each])
            for each in sorted(card["open"]) if each in told["findings"]]  # fmt: skip
    return [
        say(
            "change_worse",
            region=say.safe(after["region"], 40),
            before=say.word("severity", before["severity"]),
            after=say.word("severity", after["severity"]),
        )
        for before, after in both
        if _rank(after["severity"]) > _rank(before["severity"])
    ]


def _rank(severity: Severity) -> int:
    return SEVERITIES.index(severity)


def _partly_fixed(
    ended: Sequence[FindingJson], new: Sequence[FindingJson]
) -> list[tuple[FindingJson, FindingJson]]:
    """Return pairs of a finding that ended and the one that came for what is left of it."""
    pairs = []
    left = list(new)
    for before in ended:
        after = next(
            (each for each in left
             if each["finding_type"] == before["finding_type"] == "UnusedPermission"), None,
        )  # fmt: skip
        if after is not None:
            left.remove(after)
            pairs.append((before, after))
    return pairs


def _counts(before: FindingJson, after: FindingJson, say: Words) -> list[str]:
    lines = [
        say(
            "change_partly",
            old=say.safe(before["finding_id"], 60),
            new=say.safe(after["finding_id"], 60),
        )
    ]
    for name, key in zip(_COUNTS, ("change_unused_services", "change_unused_actions"), strict=True):
        was: int | None = before[name]  # type: ignore[literal-required]
        is_: int | None = after[name]  # type: ignore[literal-required]
        if was is not None and is_ is not None and was != is_:
            lines.append(say(key, before=was, after=is_))
    return lines


def _new(finding: FindingJson, say: Words) -> str:
    if kind_of(finding) in {"open", "internal"}:
        return say("change_new_open", **_access(finding, say))
    return say("change_new", what=headline_of(finding, say))


def _how(view: CardViewJson, finding: FindingJson) -> HowEnded:
    noted = view["card"]["ended"].get(finding["finding_id"])
    return noted["how"] if noted else "RESOLVED"


def _ended(group: Group, how: HowEnded, left: _Left, view: CardViewJson, say: Words) -> str:
    """Return what ended: only what is over, in every Region and every way, is called gone.

    Where access is denied to the analyzer, AWS resolves what is open, and says instead that it
    could not look: then nobody knows.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-findings-remediate.html
    """
    finding = group.first
    if how == "ARCHIVED":
        found = archivers_of(view, [group])
        who = say.listed(found, 2) if found else say("archiver_unknown")
        return say("change_archived", what=_what(finding, say), who=who)
    is_unread = not finding["error"] and any(e["region"] in left.unread for e in group.findings)
    if how == "UNWATCHED" or is_unread:
        return say("change_unwatched", what=_what(finding, say))
    if said_by(finding) in left.said:
        regions = say.listed(sorted({each["region"] for each in group.findings}), 4)
        return say("change_gone_region", regions=regions, what=_what(finding, say))
    if kind_of(finding) in {"open", "internal"}:
        key = "change_gone_way" if whose(finding) in left.whose else "change_gone_open"
        return say(key, **_access(finding, say))
    return say("change_gone", what=headline_of(finding, say, is_over=True))


def _what(finding: FindingJson, say: Words) -> str:
    """Return what a finding says, with what exactly is open: there may be other access beside."""
    headline = headline_of(finding, say)
    if kind_of(finding) not in {"open", "internal"}:
        return headline
    return say("change_what", **_access(finding, say) | {"headline": headline})


def _access(finding: FindingJson, say: Words) -> dict[str, str]:
    """Return to whom something is open, what they may do, and under which condition."""
    return {
        "whom": whom(finding, say),
        "may": may(finding, say, 5),
        "condition": condition_if_any(finding, say),
    }


def _other(view: CardViewJson, findings: Sequence[FindingJson], say: Words) -> list[str]:
    """Return the findings that were told and are another access now, though no graver."""
    told, is_open = view["card"]["told"], view["card"]["open"]
    if told is None:
        return []
    changed = [
        each
        for each in findings
        if (before := told["findings"].get(each["finding_id"]))
        and (now := is_open.get(each["finding_id"]))
        and before.get("digest") != now.get("digest")
        and _rank(now["severity"]) <= _rank(before["severity"])
        and kind_of(each) in {"open", "internal"}
    ]
    return [
        say(
            "change_other",
            whom=whom(group.first, say),
            may=may(group.first, say, 5),
            condition=condition(group.first, say),
        )
        for group in grouped(changed)
    ]
