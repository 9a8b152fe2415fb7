"""What people, machines and a chat channel are told about a card.

Who reads only the message should know what is open to whom, since when, whose it is, how bad, and
what to do. ``overview`` has the messages about many cards at once, ``preview_message`` those about
access previews. The words are ``pare/data/finding_texts.json``; whatever comes from outside goes
through ``say.safe``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.chat_card import card as chat_card
from pare.findings.card import more_open
from pare.findings.card_view import (
    PARTS,
    Group,
    Place,
    archived_before,
    archiver_of,
    archivers_of,
    findings_of,
    groups_of,
    others_of,
)
from pare.findings.changes import changes
from pare.findings.links import finding_link, resource_link
from pare.findings.overview import digest_message, summary_message
from pare.findings.phrases import (
    TEXTS,
    Words,
    account_in,
    condition,
    day,
    error_code,
    headline_of,
    in_chat,
    in_mail,
    kind_of,
    lasting,
    may,
    moment,
    owner_in_words,
    principal_row,
    proposal_in_words,
    resource_in_words,
    restrictions,
    sensitive_first,
    severity_in_words,
    unused,
    watched,
    whom,
    with_others,
)
from pare.findings.preview_message import preview_message
from pare.findings.steps import numbered, show_command, steps_of
from pare.message import (
    Message,
    bullet,
    headline,
    paragraph,
    plain,
    rows,
    subject,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pare.findings.card import CardViewJson
    from pare.findings.card_view import Part
    from pare.findings.model import FindingJson

__all__ = [
    "Place", "card_message", "cut", "digest_message", "preview_message", "summary_message",
]  # fmt: skip

LISTED_GROUPS = 10
LISTED_REGIONS = 10
_WITHOUT_ANALYZER = frozenset({"AnalyzerMissing", "RegionUnread"})
_IS_OVER = frozenset({"closed", "archived", "unwatched"})
# Of these the words name the account, not which role or user of it.
_SAID_BY_ACCOUNT = frozenset({"outside", "partner", "organization"})


@dataclass(frozen=True, slots=True)
class _Told:
    """A card with what its message needs, in one language and one kind of text."""

    view: CardViewJson
    findings: list[FindingJson]  # at least one, gravest first
    groups: list[Group]  # of all of them, what may still be so before what is over
    say: Words
    place: Place
    now: datetime

    @property
    def gravest(self) -> FindingJson:
        return self.groups[0].first

    @property
    def part(self) -> Part:
        """Return what is known now of the gravest finding."""
        return self.groups[0].part

    def of(self, part: Part) -> list[Group]:
        return [group for group in self.groups if group.part == part]

    @property
    def is_over(self) -> bool:
        return self.view["news"] in _IS_OVER

    @property
    def account(self) -> str:
        card = self.view["card"]
        return self.say.account(card["account_id"], card["account_name"])

    def headline(self) -> str:
        """Return what the gravest finding says, and how many say something else."""
        card, say, news = self.view["card"], self.say, self.view["news"]
        if card["proposal"] and _is_only_a_proposal(self.view):
            what = resource_in_words(card["resource_type"], card["resource"], say, 60)
            return say(
                "title_proposal", what=what, proposal=proposal_in_words(card["proposal"], say)
            )
        said = headline_of(self.gravest, say, is_over=self.part == "closed")
        groups = self.of(self.part)
        more, ways = others_of(groups), len(groups)
        if more:
            said = say("title_more", title=said, count=more)
        elif ways > 1 and self.part != "closed":
            said = say("title_ways", title=said, count=ways)
        said = say(f"title_{news if self.part == 'open' else self.part}", headline=said)
        return with_others(said, self.groups, self.view, say)


def card_message(
    view: CardViewJson, *, language: str, place: Place, now: datetime, perhaps_told: bool
) -> Message:
    """Return the message about one card.

    ``perhaps_told``: a message about it may have gone out before, of which AWS's answer was lost.
    """
    findings = findings_of(view)
    groups = groups_of(view, findings)
    gravest = groups[0].first
    mail = _Told(view, findings, groups, in_mail(language), place, now)
    say = mail.say
    title = mail.headline()
    # What several Regions say alike is archived by one command.
    steps = steps_of(view, [group.first for group in groups], say, now=now)
    parts = [
        paragraph(_perhaps_told(view, say)) if perhaps_told else "",
        headline(title),
        *(paragraph(lead) for lead in _leads(mail)),
        rows(_rows(mail)),
        _group_list(mail),
        _changes(mail),
        numbered(steps, say),
        f"{paragraph(say('show'))}\n  {show_command(gravest)}",
        paragraph(_afterwards(mail)),
    ]
    return Message(
        subject=_subject(mail, title),
        text="\n\n".join(part for part in parts if part) + "\n",
        attributes=_attributes(view, gravest),
        facts={
            "kind": "finding",
            "news": view["news"],
            "severity": view["severity"],
            "perhaps_told": perhaps_told,
            "card": view["card"],
            "findings": findings,
            "ended": view["ended"],
        },
        card=_chat(_Told(view, findings, groups, in_chat(language), place, now), perhaps_told),
    )


def cut(text: str, most_bytes: int, *, uri: str, language: str) -> str:
    """Return the first whole lines of a message's text, and where all that it was made from lies.

    ``most_bytes``: of the lines as JSON in ASCII, in which a letter of Japanese has six.
    """
    kept: list[str] = []
    left = most_bytes
    for line in text.splitlines():
        left -= len(json.dumps(line))
        if left < 0:
            rest = paragraph(in_mail(language)("text_cut", uri=uri))
            return "\n".join([*kept, "", rest]) + "\n"
        kept.append(line)
    return text


def _subject(told: _Told, title: str) -> str:
    say, card = told.say, told.view["card"]
    account = say.safe(card["account_name"] or card["account_id"], 30)
    if told.is_over:
        line = say("subject", title=title, account=account)
    else:
        severity = say.word("severity", told.view["severity"])
        severity = severity[:1].upper() + severity[1:]
        line = say("subject_severity", severity=severity, title=title, account=account)
    return subject(line, ascii_only=say.language == "en")


def _attributes(view: CardViewJson, gravest: FindingJson) -> dict[str, str | list[str]]:
    card = view["card"]
    return {
        "kind": "finding",
        "news": view["news"],
        "severity": view["severity"],
        "account_id": plain(card["account_id"], 100),
        "owner": plain(card["owner"] or "unknown", 100) or "unknown",
        "finding_type": plain(gravest["finding_type"], 100) or "unknown",
        "audience": ["security", "owner"],
    }


# --- the parts of the mail ------------------------------------------------------------------------


def _perhaps_told(view: CardViewJson, say: Words) -> str:
    lost = [each for each in view["card"]["messages"] if each.get("how") == "unknown"]
    if lost and lost[-1].get("at"):
        return say("perhaps_told", at=moment(str(lost[-1]["at"]), say))
    return say("perhaps_told_undated")


def _leads(told: _Told) -> list[str]:
    """Return the sentences that say what is different this time, and what nobody knows."""
    view, say, finding = told.view, told.say, told.gravest
    card_told, news = view["card"]["told"], view["news"]
    at = moment(card_told["at"], say) if card_told else say("unknown_time")
    leads = []
    if _is_only_a_proposal(view):
        leads.append(say("lead_proposal"))
    elif news == "reopened":
        # Told as closed; or told as archived, or archived through Pare, which is not told.
        was = card_told["news"] if card_told else "closed"
        keys = {"closed": "lead_reopened", "archived": "lead_reopened_archived",
                "unwatched": "lead_reopened_unwatched"}  # fmt: skip
        leads.append(say(keys.get(was, "lead_reopened_quiet"), at=at))
    elif news in {"worsened", "changed"}:
        leads.append(say(f"lead_{news}", at=at))
    elif news == "still_open":
        first = day(card_told["first_at"], say) if card_told else say("unknown_time")
        count = card_told["reminders"] + 1 if card_told else 1
        leads.append(say("lead_still_open", first=first, count=count))
    elif told.is_over:
        leads += _over_leads(told)
    if not told.is_over:
        if more_open(view["card"]):
            leads.append(say("lead_more_open", count=more_open(view["card"])))
        if finding["error"]:
            key = "lead_error_unused" if finding["access"] == "unused" else "lead_error"
            leads.append(say(key, error=error_code(finding, say)))
        elif finding["access"] == "watch" and TEXTS.has(f"watch_{kind_of(finding)}"):
            if finding["finding_type"] == "ArchiveRuleHidesPublic":
                leads.append(say("lead_watch_rule"))
            elif finding["finding_type"] not in {"ArchiveRuleDrift", "ExemptionExpiring"}:
                leads.append(say("lead_watch"))
            elif finding["finding_type"] == "ExemptionExpiring":
                leads.append(say("exemption_after"))
    return leads


def _over_leads(told: _Told) -> list[str]:
    """Return a sentence for each way in which the findings ended: only what is over is closed."""
    view, say = told.view, told.say
    leads = []
    is_unwatched = view["news"] == "unwatched"  # perhaps of what could not be read
    if is_unwatched or told.of("unwatched"):
        leads.append(say("lead_unwatched"))
    archived, closed = told.of("archived"), told.of("closed")
    if archived:
        who = _archivers(told)
        if len(archived) == len(told.groups):
            leads.append(say("lead_archived", who=who))
        else:
            leads.append(say("lead_archived_some", who=who, count=len(archived)))
    if closed and len(closed) == len(told.groups) and not is_unwatched:
        leads.append(say(_closed_key(view, told.gravest)))
    elif closed:
        leads.append(say("lead_rest_closed", count=len(closed)))
    before = archived_before(view) if view["news"] == "archived" else []
    if before:
        whose = say.listed(list(dict.fromkeys(filter(None, (e["principal"] for e in before)))), 3)
        leads.append(say("lead_archived_before", count=len(before), whom=whose))
    return leads


def _archivers(told: _Told) -> str:
    found = archivers_of(told.view, told.of("archived"))
    return told.say.listed(found, 2) if found else told.say("archiver_unknown")


def _closed_key(view: CardViewJson, finding: FindingJson) -> str:
    hows = {each["how"] for each in view["card"]["ended"].values()}
    if hows == {"DELETED"} and finding["source"] == "access-analyzer":
        return "lead_gone"
    by_source = {
        "access-analyzer": "lead_closed",
        "pare-inventory": "lead_closed_inventory",
        "pare-watch": "lead_closed_watch",
    }
    if finding["finding_type"] in {"ArchiveRuleDrift", "ExemptionExpiring"}:
        return "lead_closed_other"
    return by_source.get(finding["source"], "lead_closed_other")


def _rows(told: _Told) -> list[tuple[str, str]]:
    """Return label and value of all that is known, the most important first."""
    say, card, finding = told.say, told.view["card"], told.gravest
    is_one = len(told.groups) == 1
    found = [
        *_what(told),
        *(_about(told, told.groups[0]) if is_one else []),
        ("error", say.safe(finding["error"], 200) if finding["error"] else ""),
        ("since", "" if told.is_over else _since(told)),
        *_ended(told),
        ("account", told.account),
        ("region", say.listed(_regions(told.findings), LISTED_REGIONS)),
        ("owner", owner_in_words(finding, card["owner"], say)),
        (
            "was_severity" if told.part in {"closed", "unwatched"} else "severity",
            severity_in_words(_severity(told), finding, say),
        ),
        *_archived(told),
        *_proposal(told),
        ("unknown", _unknown(told)),
        *_ids(told),
        ("resource_page", _resource_page(told)),
    ]
    return [(say(f"label_{label}"), value) for label, value in found]


def _severity(told: _Told) -> str:
    """Return how grave the card is; of what nobody watches or is archived, how grave that is."""
    of_view = told.view["severity"]
    is_part = told.part in {"archived", "unwatched"}
    return told.gravest["severity"] or of_view if is_part else of_view


def _what(told: _Told) -> list[tuple[str, str]]:
    card, say, finding = told.view["card"], told.say, told.gravest
    if finding["finding_type"] in _WITHOUT_ANALYZER:  # the ARN is only a stand-in
        known = watched(finding, say)
        return [("what", say("analyzer_of", kind=known["kind"], region=known["region"]))]
    return [
        ("what", resource_in_words(card["resource_type"], card["resource"], say)),
        ("arn", say.safe(card["resource"], 1_000)),
    ]


def _about(told: _Told, group: Group) -> list[tuple[str, str]]:
    """Return the rows of a card whose findings all say the same."""
    finding, is_over = group.first, group.part == "closed"
    say, kind = told.say, kind_of(finding)
    if kind in {"open", "internal"}:
        return [
            ("was_open_to" if is_over else "open_to", whom(finding, say)),
            ("principal", principal_row(finding, say)),
            ("might" if is_over else "may", may(finding, say)),
            ("condition", condition(finding, say)),
            ("through", _through(group, say)),
            ("limits", restrictions(finding, say)),
        ]
    if kind == "unusedpermission":
        label = "was_unused" if is_over else "unused"
        return [
            (label, unused(finding, say)),
            ("services", say.listed(sensitive_first(finding["unused_services"]), 10)),
        ]
    if finding["access"] == "unused" and kind != "error":
        return [
            ("key", say.safe(finding["access_key_id"], 60) if finding["access_key_id"] else ""),
            ("last_used", _last_used(finding, say)),
        ]
    if finding["access"] == "watch":
        known = watched(finding, say)
        labels = (
            ("analyzer", "analyzer"), ("status", "status"), ("message", "reason"),
            ("rule", "rule"), ("filter", "filter"), ("drift", "drift"), ("until", "expires"),
            ("exempted_by", "owner"),
        )  # fmt: skip
        shown = [(label, str(known[name])) for label, name in labels]
        if finding["finding_type"] == "ExemptionExpiring":
            shown = [("reason" if label == "message" else label, value) for label, value in shown]
        if known["count"]:
            shown.append(("left", say("count_findings", count=known["count"])))
        return shown
    return []


def _last_used(finding: FindingJson, say: Words) -> str:
    found = finding["last_accessed_at"]
    return moment(found, say) if found else say("never")


def _through(group: Group, say: Words) -> str:
    ways = dict.fromkeys(way for each in group.findings for way in each["granted_through"])
    return say("between").join(say.word("through", each) for each in list(ways)[:5])


def _since(told: _Told) -> str:
    opened = told.view["card"]["opened_at"] or min(each["created_at"] for each in told.findings)
    shown, how_long = moment(opened, told.say), lasting(opened, told.now, told.say)
    return told.say("since", moment=shown, lasting=how_long) if how_long else shown


def _ended(told: _Told) -> list[tuple[str, str]]:
    ended = told.view["card"]["ended"]
    found = []
    for part in PARTS[1:]:
        ids = [each["finding_id"] for group in told.of(part) for each in group.findings]
        moments = [ended[each]["at"] for each in ids if each in ended]
        if moments:
            label = "ended" if part == "closed" else f"ended_{part}"
            found.append((label, moment(max(moments), told.say)))
    return found


def _archived(told: _Told) -> list[tuple[str, str]]:
    """Return who archived it and why, as far as anybody noted it."""
    archived = told.of("archived")
    if not archived:
        return []
    say = told.say
    found = archiver_of(told.view, archived[0].first)
    if found is None:
        return [("archived_by", say("archived_unknown"))]
    return [
        ("archived_by", say.safe(found["by"], 300) if found["by"] else say("archived_unknown")),
        ("reason", say.safe(found["reason"], 500) if found["reason"] else say("unknown_time")),
        ("until", day(found["expires"], say) if found["expires"] else say("until_open")),
    ]


def _proposal(told: _Told) -> list[tuple[str, str]]:
    note = told.view["card"]["proposal"]
    if note is None or told.is_over:
        return []
    shown = proposal_in_words(note, told.say)
    is_counted = note["after_action_count"] is not None and note["verdict"] != "refused"
    if is_counted and told.gravest["unused_action_count"]:
        shown = told.say("proposal_counts", proposal=shown)
    return [("proposal", shown)]


def _unknown(told: _Told) -> str:
    named = dict.fromkeys(each for finding in told.findings for each in finding["unknown"])
    return told.say("condition_between").join(told.say.safe(each, 200) for each in list(named)[:5])


def _ids(told: _Told) -> list[tuple[str, str]]:
    finding, say = told.gravest, told.say
    count = len(told.findings) + more_open(told.view["card"])
    shown = say.safe(finding["finding_id"], 100)
    if count > 1:
        shown = say("group_findings", count=count, id=shown)
    link = finding_link(finding, partition=told.place.partition)
    analyzers = account_in(finding["analyzer_arn"])
    return [
        ("findings" if count > 1 else "finding", shown),
        ("console", say("link_in", link=link, account=analyzers) if link and analyzers else ""),
    ]


def _resource_page(told: _Told) -> str:
    finding, say = told.gravest, told.say
    link = resource_link(finding, partition=told.place.partition)
    account_id = say.safe(finding["account_id"], 20)
    return say("link_in", link=link, account=account_id) if link else ""


def _regions(findings: Sequence[FindingJson]) -> list[str]:
    return sorted({each["region"] for each in findings})


def _group_list(told: _Told) -> str:
    """Return a line for each access or type, where there is more than one."""
    if len(told.groups) < 2:
        return ""
    return "\n\n".join(_list_of(told, part) for part in PARTS if told.of(part))


def _list_of(told: _Told, part: Part) -> str:
    say, groups = told.say, told.of(part)
    is_open = all(kind_of(group.first) in {"open", "internal"} for group in groups)
    key = {"unwatched": "groups_unwatched", "archived": "groups_archived"}.get(part)
    if key is None:
        key = "groups_other" if part == "open" else "groups_closed"
        key = {"open": "groups_open", "closed": "groups_was_open"}[part] if is_open else key
    lines = [paragraph(say(key, count=len(groups)))]
    lines += [bullet(group_line(group, told.groups, say)) for group in groups[:LISTED_GROUPS]]
    if len(groups) > LISTED_GROUPS:
        command = show_command(told.gravest)
        more = say("group_more", count=len(groups) - LISTED_GROUPS, command=command)
        lines.append(bullet(more))
    return "\n".join(lines)


def group_line(group: Group, groups: Sequence[Group], say: Words) -> str:
    """Return one line about findings that say the same: to whom, what, since when, where.

    ``groups``: all that are listed, from which the line has to differ.
    """
    finding = group.first
    details = [
        say("group_since", day=day(min(each["created_at"] for each in group.findings), say)),
        say.listed(_regions(group.findings), 4),
        say("group_finding", id=say.safe(finding["finding_id"], 60)),
    ]
    if kind_of(finding) not in {"open", "internal"}:
        is_over = group.part == "closed"
        return say("group_other", headline=headline_of(finding, say, is_over=is_over),
                   details=say("between").join(details))  # fmt: skip
    if finding["condition"]:
        details.insert(0, say("group_condition", condition=condition(finding, say)))
    elif any(each.first["condition"] for each in groups):
        details.insert(0, say("group_condition_none"))
    if finding["exposure"] in _SAID_BY_ACCOUNT and (principal := principal_row(finding, say)):
        details.insert(0, principal)
    return say(
        "group_open",
        whom=whom(finding, say),
        may=may(finding, say, 4),
        details=say("between").join(details),
    )


def _changes(told: _Told) -> str:
    """Return what changed since people were last told, where something did."""
    lines = _change_lines(told)
    card_told = told.view["card"]["told"]
    if not lines or card_told is None:
        return ""
    heading = told.say("changes", at=moment(card_told["at"], told.say))
    return "\n".join([paragraph(heading), *map(bullet, lines)])


def _change_lines(told: _Told) -> list[str]:
    if told.view["news"] not in {"worsened", "changed", "still_open"}:
        return []
    lines = changes(told.view, told.findings, told.say)
    note = told.view["card"]["proposal"]
    before = told.view["card"]["told"]
    if note and before and note["created_at"] != before["proposal_at"]:
        shown = proposal_in_words(note, told.say)
        lines.append(told.say("proposal_change", proposal=shown))
    return lines


def _is_only_a_proposal(view: CardViewJson) -> bool:
    card, told = view["card"], view["card"]["told"]
    note = card["proposal"]
    return bool(
        note and told and note["created_at"] != told["proposal_at"] and not card["ended"]
        and set(card["open"]) == set(told["findings"])
    )  # fmt: skip


def _afterwards(told: _Told) -> str:
    if told.is_over:
        return ""
    finding = told.gravest
    is_soon = finding["access"] in {"external", "internal"} and not finding["error"]
    return told.say("afterwards" if is_soon else "afterwards_unused")


# --- for chat -------------------------------------------------------------------------------------


def _chat(told: _Told, perhaps_told: bool) -> dict[str, Any]:
    """Return the card; text from outside only as code spans, links only those of the console."""
    say = told.say
    severity = say.word("severity", told.view["severity"])
    title = told.headline()
    title = title if told.is_over else f"{severity[:1].upper()}{severity[1:]}: {title}"
    left_out = {say(f"label_{label}") for label in ("what", "finding", "findings", "stored")}
    lines = [
        *([_perhaps_told(told.view, say)] if perhaps_told else []),
        *_leads(told),
        *(f"• {label}: {value}" for label, value in _rows(told) if value and label not in left_out),
        *(f"• {_chat_line(told, group)}" for group in told.groups[:LISTED_GROUPS]
          if len(told.groups) > 1),
        *(f"• {line}" for line in _change_lines(told)),
    ]  # fmt: skip
    if len(told.groups) > LISTED_GROUPS:
        command = f"`{show_command(told.gravest)}`"
        lines.append(say("group_more", count=len(told.groups) - LISTED_GROUPS, command=command))
    distinct = [group.first for group in told.groups]
    steps = steps_of(told.view, distinct, say, now=told.now)
    show = say("show_inline", command=f"`{show_command(told.gravest)}`")
    return chat_card(
        title=title,
        lines=lines,
        more="…",
        next_steps=[
            *(step.in_one_line(say("command_below")) for step in steps),
            show,
        ],
        keywords=["Pare", told.view["severity"], told.view["news"]],
        thread_id=told.view["card"]["card_id"],
    )


def _chat_line(told: _Told, group: Group) -> str:
    """Return the line of a group, which says what is known of it where that differs."""
    line = group_line(group, told.groups, told.say)
    if len(told.of(group.part)) == len(told.groups):
        return line
    return told.say("item_news", news=told.say.word("news", group.part), headline=line)
