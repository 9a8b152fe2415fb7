"""The messages about many cards at once: a summary over the hour's budget, and a digest.

The gravest first, by account; what is not listed line by line is counted, and the whole list lies
where the message says.
"""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from pare.chat_card import card as chat_card
from pare.findings.card import more_open
from pare.findings.card_view import (
    Place,
    archivers_of,
    findings_of,
    groups_of,
    of_the_first,
    others_of,
)
from pare.findings.model import SEVERITIES
from pare.findings.phrases import (
    Words,
    day,
    headline_of,
    in_chat,
    in_mail,
    kind_of,
    lasting,
    levels_of,
    proposal_in_words,
    with_others,
)
from pare.findings.steps import Step, archive_command, key_command, numbered, show_command
from pare.message import Message, bullet, fill, headline, paragraph, plain, subject

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from pare.findings.card import CardViewJson
    from pare.findings.card_view import Group
    from pare.object_ref import ObjectRef

LISTED_CARDS = 100
LISTED_CHAT = 15
LISTED_COUNTS = 20
# After what is open, the gravest first: what is archived is still so, only what is closed is over.
# What nobody watches any more is among what is open: nobody knows.
_QUIET = ("archived", "closed")


def summary_message(
    views: Sequence[CardViewJson],
    *,
    language: str,
    place: Place,
    now: datetime,
    perhaps_told: Collection[str] = (),
) -> Message:
    """Return one message about the cards that were to be told singly, but are too many.

    ``perhaps_told``: the ids of those of which a message may have gone out before.
    """
    return _message("summary", views, None, language, place, now, perhaps_told)


def digest_message(
    views: Sequence[CardViewJson],
    *,
    owner: str | None,
    language: str,
    place: Place,
    now: datetime,
    perhaps_told: Collection[str] = (),
) -> Message:
    """Return one message about the cards that could wait; ``owner``: whose all of them are."""
    return _message("digest", views, owner, language, place, now, perhaps_told)


def _message(
    kind: str,
    views: Sequence[CardViewJson],
    owner: str | None,
    language: str,
    place: Place,
    now: datetime,
    perhaps_told: Collection[str],
) -> Message:
    views = sorted(views, key=_order)
    say = in_mail(language)
    title = _title(kind, views, owner, say)
    shown = views[:LISTED_CARDS]
    parts = [
        paragraph(_perhaps(perhaps_told, say)),
        headline(title),
        paragraph(_lead(kind, owner, say)),
        *_sections(shown, say, now, perhaps_told),
        *_left_out(views[LISTED_CARDS:], say),
        numbered([*_key_steps(views, say), *_steps(say, now)], say),
        *([_about_pare(place, say)] if owner is not None else []),
        *_full_list(place.listing, say),
    ]
    attributes: dict[str, str | list[str]] = {
        "kind": f"finding-{kind}",
        "audience": ["security"] if owner is None else ["owner"],
    }
    gravest = _gravest(views)
    if gravest:
        attributes["severity"] = gravest
    if owner is not None:
        attributes["owner"] = plain(owner, 100) or "unknown"
    return Message(
        subject=subject(say("subject_plain", title=title), ascii_only=language == "en"),
        text="\n\n".join(part for part in parts if part) + "\n",
        attributes=attributes,
        facts={
            "kind": f"finding-{kind}",
            "owner": owner,
            "perhaps_told": sorted(perhaps_told),
            "counts": dict(sorted(Counter(_section_of(view) for view in views).items())),
            "cards": [_fact(view) for view in views],
            "list": _uri(place.listing) if place.listing else None,
        },
        card=_chat(kind, views, owner, in_chat(language), place, now, perhaps_told),
    )


def _fact(view: CardViewJson) -> dict[str, Any]:
    card = view["card"]
    return {
        "card_id": card["card_id"],
        "news": view["news"],
        "severity": view["severity"],
        "account_id": card["account_id"],
        "resource": card["resource"],
        "resource_type": card["resource_type"],
        "owner": card["owner"],
        "findings": view["findings"],
    }


def _order(view: CardViewJson) -> tuple[int, str, str, str]:
    card = view["card"]
    section = _section_of(view)
    grave = 1 + _QUIET.index(section) if section in _QUIET else -SEVERITIES.index(view["severity"])
    return grave, card["account_name"] or "", card["account_id"], card["resource"]


def _section_of(view: CardViewJson) -> str:
    part = _groups(view)[0].part
    return part if part in _QUIET else view["severity"]


def _gravest(views: Sequence[CardViewJson]) -> str | None:
    of_open = [view["severity"] for view in views if _section_of(view) not in _QUIET]
    of_all = of_open or [view["severity"] for view in views]
    return max(of_all, key=SEVERITIES.index, default=None)


# --- the parts of the mail ------------------------------------------------------------------------


def _title(kind: str, views: Sequence[CardViewJson], owner: str | None, say: Words) -> str:
    counts = Counter(_section_of(view) for view in views)
    pieces = [
        say("severity_count", count=counts[each], severity=say.word("severity", each))
        for each in reversed(SEVERITIES)
        if counts[each]
    ]
    if counts["archived"]:
        pieces.append(say("archived_count", count=counts["archived"]))
    if counts["closed"]:
        pieces.append(say("closed_count", count=counts["closed"]))
    severities = say("between").join(pieces)
    if owner is not None:
        shown = say.safe(owner, 40)
        return say("digest_title_owner", owner=shown, count=len(views), severities=severities)
    return say(f"{kind}_title", count=len(views), severities=severities)


def _lead(kind: str, owner: str | None, say: Words) -> str:
    return say("digest_lead_owner" if owner is not None else f"{kind}_lead")


def _perhaps(perhaps_told: Collection[str], say: Words) -> str:
    return say("perhaps_told_some", count=len(perhaps_told)) if perhaps_told else ""


def _sections(
    views: Sequence[CardViewJson], say: Words, now: datetime, perhaps_told: Collection[str]
) -> Iterator[str]:
    """Yield a section for each severity, in it the accounts, in each its cards."""
    for section in (*reversed(SEVERITIES), *_QUIET):
        inside = [view for view in views if _section_of(view) == section]
        if not inside:
            continue
        if section in _QUIET:
            heading = say(f"section_{section}", count=len(inside))
        else:
            word = say.word("severity", section)
            heading = say("section", severity=word[:1].upper() + word[1:], count=len(inside))
        lines = [paragraph(heading)]
        account = ""
        for view in inside:
            card = view["card"]
            of = say.account(card["account_id"], card["account_name"])
            if of != account:
                account = of
                lines.append(fill(say("account_line", account=of), first="  ", after="    "))
            said, details = _item(view, say, now, perhaps_told)
            lines.append(bullet(said, indent="  "))
            lines.append(fill(details, first="    ", after="    "))
            lines.append(f"    {show_command(_groups(view)[0].first)}")
        yield "\n".join(lines)


def _item(
    view: CardViewJson, say: Words, now: datetime, perhaps_told: Collection[str]
) -> tuple[str, str]:
    """Return the two lines of a card: what it is, and since when and whose."""
    groups, card = _groups(view), view["card"]
    finding, part = groups[0].first, groups[0].part
    said = headline_of(finding, say, is_over=part == "closed")
    same_part = [group for group in groups if group.part == part]
    # What one principal may do, it may do in all the ways that are open to it.
    level = levels_of([group.first for group in of_the_first(same_part)], say)
    if kind_of(finding) in {"open", "internal"} and level:
        said = say("item_levels", headline=said, levels=level)
    if card["proposal"] and part not in _QUIET:
        proposal = proposal_in_words(card["proposal"], say, group="short_verdict")
        said = say("between").join([said, proposal])
    more = others_of(same_part) + more_open(view["card"])
    if more:
        said = say("item_more", headline=said, count=more)
    news = view["news"] if part == "open" else part
    if news != "first_sight":
        said = say("item_news", news=say.word("news", news), headline=said)
    said = with_others(said, groups, view, say)
    if card["card_id"] in perhaps_told:
        said = say("item_perhaps", said=said)
    details = [*_since(view, groups, say, now), *_owner(view, say)]
    return said, say("condition_between").join(details)


def _groups(view: CardViewJson) -> list[Group]:
    return groups_of(view, findings_of(view))


def _since(view: CardViewJson, groups: list[Group], say: Words, now: datetime) -> list[str]:
    part = groups[0].part
    if part == "archived":
        found = archivers_of(view, [each for each in groups if each.part == part])
        who = say.listed(found, 2) if found else say("archiver_unknown")
        return [say("item_archived", who=who)]
    if part == "unwatched":
        return [say("item_unwatched")]
    if part == "closed":
        return []
    opened = view["card"]["opened_at"] or groups[0].first["created_at"]
    how_long = lasting(opened, now, say)
    return [say("item_since", day=day(opened, say), lasting=how_long)] if how_long else []


def _owner(view: CardViewJson, say: Words) -> list[str]:
    owner = view["card"]["owner"]
    shown = say.safe(owner, 60) if owner else say("owner_unknown_short")
    return [say("item_owner", owner=shown)]


def _left_out(views: Sequence[CardViewJson], say: Words) -> Iterator[str]:
    """Yield the counts of what is not listed above, by account and by type."""
    if not views:
        return
    by_account = Counter(
        say.account(view["card"]["account_id"], view["card"]["account_name"]) for view in views
    )
    by_type = Counter(say.word("kind", findings_of(view)[0]["finding_type"]) for view in views)
    yield _counted(say("left_out", count=len(views)), by_account, say)
    yield _counted(say("left_out_types"), by_type, say)


def _counted(heading: str, counts: Counter[str], say: Words) -> str:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    lines = [paragraph(heading)]
    lines += [
        bullet(say("left_out_item", name=name, count=count))
        for name, count in ordered[:LISTED_COUNTS]
    ]
    if len(ordered) > LISTED_COUNTS:
        left = sum(count for _, count in ordered[LISTED_COUNTS:])
        lines.append(bullet(say("left_out_more", count=left)))
    return "\n".join(lines)


def _steps(say: Words, now: datetime) -> list[Step]:
    reason = say("archive_reason")
    return [
        Step(say("summary_step_show"), ("pare findings show ID",)),
        Step(say("summary_step_archive"), archive_command("ID", reason, now)),
    ]


def _key_steps(views: Sequence[CardViewJson], say: Words) -> list[Step]:
    """Return what to do about the first unused access key, which nothing else explains."""
    for view in views:
        if _section_of(view) in _QUIET:
            continue
        for group in _groups(view):
            finding = group.first
            if finding["finding_type"] == "UnusedIAMUserAccessKey" and not finding["error"]:
                card = view["card"]
                account = say.account(card["account_id"], card["account_name"])
                return [Step(say("digest_key", account=account), key_command(finding))]
    return []


def _about_pare(place: Place, say: Words) -> str:
    """Return what the commands are, for an owner who may never have heard of them."""
    if not place.contact:
        return paragraph(say("digest_pare"))
    return paragraph(say("digest_pare_contact", contact=say.safe(place.contact, 100)))


def _full_list(listing: ObjectRef | None, say: Words) -> Iterator[str]:
    if listing is None:
        return
    uri = _uri(listing)
    yield "\n".join([
        paragraph(say("full_list", uri=uri)),
        paragraph(say("full_list_read")),
        "  aws s3 cp \\",
        f"    {shlex.quote(uri)} -",
    ])  # fmt: skip


def _uri(ref: ObjectRef) -> str:
    return f"s3://{ref['bucket']}/{ref['key']}"


def _reading(uri: str) -> str:
    return f"aws s3 cp {shlex.quote(uri)} -"


# --- for chat -------------------------------------------------------------------------------------


def _chat(
    kind: str,
    views: Sequence[CardViewJson],
    owner: str | None,
    say: Words,
    place: Place,
    now: datetime,
    perhaps_told: Collection[str],
) -> dict[str, Any]:
    """Return the card; the gravest are named, and the mail or the list has them all."""
    lines = [_perhaps(perhaps_told, say)] if perhaps_told else []
    lines.append(_lead(kind, owner, say))
    for view in views[:LISTED_CHAT]:
        card = view["card"]
        said, details = _item(view, say, now, perhaps_told)
        section = _section_of(view)
        word = f"{say.word('severity', section)}: " if section not in _QUIET else ""
        account = say.account(card["account_id"], card["account_name"])
        show = show_command(_groups(view)[0].first)
        lines.append(f"• {word}{said} · {account} · {details} · `{show}`")
    if len(views) > LISTED_CHAT:
        lines.append(say("left_out_more", count=len(views) - LISTED_CHAT))
    steps = [step.in_one_line() for step in _steps(say, now)]
    if place.listing:
        command = f"`{_reading(_uri(place.listing))}`"
        steps.append(say("full_list_command", command=command))
    return chat_card(
        title=_title(kind, views, owner, say),
        lines=lines,
        more="…",
        next_steps=steps,
        keywords=["Pare", f"finding-{kind}"],
        thread_id=f"pare-finding-{kind}",
    )
