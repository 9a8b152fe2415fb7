"""Everything known about one card and its findings in one page of text: `pare findings show`.

80 columns wide where words allow. The words about findings are those of the messages
(pare/findings/phrases.py). All text from outside is one printable line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pare.findings.card_view import grouped
from pare.findings.links import finding_link, resource_link
from pare.findings.model import Finding
from pare.findings.phrases import (
    account_in,
    condition,
    headline_of,
    kind_of,
    lasting,
    may,
    moment,
    owner_in_words,
    principal_row,
    restrictions,
    sensitive_first,
    severity_in_words,
    unused,
    whom,
)
from pare.findings.state import is_expired, new_card
from pare.findings.steps import Step, argument, folder_of, steps_of
from pare.findings.view import (
    ENGLISH,
    UNKNOWN,
    archiving_of,
    rank,
    severity_of,
    status_of,
)
from pare.inventory.view import wrapped
from pare.message import columns, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from pare.findings.card import CardJson, CardNews, CardViewJson
    from pare.findings.model import FindingJson
    from pare.findings.view import FindingItemJson

_WIDTH = 80
_LABEL = 13
_SHOWN_SERVICES = 25
_MOST = 2_100  # characters of an ARN or an address


@dataclass(frozen=True, slots=True)
class Page:
    """What is asked of a card. ``asked_id``: the one finding that was asked for, if one was."""

    card: CardJson | None  # None: an earlier version recorded its findings
    items: Sequence[FindingItemJson]  # one at least, with their history
    now: datetime
    asked_id: str | None = None

    @property
    def ordered(self) -> list[FindingItemJson]:
        """Return the findings: the one asked for, then open ones, gravest first."""
        return sorted(
            self.items,
            key=lambda item: (
                item["finding_id"] != self.asked_id,
                status_of(item["finding"]) != "ACTIVE",
                -rank(severity_of(item["finding"])),
                item["finding"]["region"],
                item["finding_id"],
            ),
        )

    @property
    def open(self) -> list[FindingItemJson]:
        """Return those that are open, gravest first."""
        return [item for item in self.ordered if status_of(item["finding"]) == "ACTIVE"]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page: the head, then the sections that have anything."""
        yield from self._head()
        for title, lines in (
            ("What it is", self._identity()),
            ("Findings", self._findings()),
            ("What happened", self._history()),
            ("What people were told", self._messages()),
            ("Meant to be so", self._exemptions()),
            ("Proposed policy", self._proposal()),
            ("What to do", self._what_to_do()),
        ):
            found = list(lines)
            if found:
                yield ""
                yield title
                yield from found

    # --- the sections ---

    def _head(self) -> Iterator[str]:
        first = self.ordered[0]["finding"]
        yield plain(first["resource"], _MOST)
        if self.open:
            gravest = self.open[0]["finding"]
            since = min(item["finding"]["created_at"] for item in self.open)
            yield from wrapped(
                f"{severity_of(gravest).upper()}: {headline_of(gravest, ENGLISH)}, since "
                f"{moment(since, ENGLISH)} {lasting(since, self.now, ENGLISH)}".rstrip()
            )
            return
        statuses = {status_of(item["finding"]) for item in self.items}
        if "UNWATCHED" in statuses:
            said = f"UNWATCHED, perhaps still so: {headline_of(first, ENGLISH)}"
        elif "ARCHIVED" in statuses:
            said = f"ARCHIVED: {headline_of(first, ENGLISH)}"
        else:
            said = f"CLOSED: {headline_of(first, ENGLISH, is_over=True)}"
        yield from wrapped(said)

    def _identity(self) -> Iterator[str]:
        first, card = self.ordered[0]["finding"], self.card
        name = plain((card and card["account_name"]) or first["account_name"] or "")
        owner = (card and card["owner"]) or first["owner"]
        tags = ", ".join(f"{plain(k, 130)}={plain(v, 260)}" for k, v in first["tags"].items())
        yield from _pair("Type", plain(first["resource_type"]))
        yield from _pair("Account", f"{plain(first['account_id'])} {name}".strip())
        yield from _pair("Owner", owner_in_words(first, owner, ENGLISH))
        yield from _pair("Tags", tags)
        yield from _pair("Card", card["card_id"] if card else "none: an older Pare recorded it")

    def _findings(self) -> Iterator[str]:
        """Yield the findings; what those of several Regions say alike is said once."""
        groups: dict[tuple[object, ...], list[FindingItemJson]] = {}
        for item in self.ordered:
            same = (item["finding"]["finding_type"], *_facts(item["finding"]), _archived(item))
            groups.setdefault(same, []).append(item)
        for items in groups.values():
            longest = max(len(plain(item["finding"]["region"])) for item in items)
            for item in items:
                finding = item["finding"]
                line = (
                    f"  {plain(finding['region']):<{longest}}  {status_of(finding)}  "
                    f"{severity_of(finding)}  {plain(finding['finding_type'])}"
                )
                finding_id = plain(item["finding_id"])
                if columns(line) + 2 + columns(finding_id) <= _WIDTH:
                    yield f"{line}  {finding_id}"
                else:
                    yield line
                    yield f"{' ' * (longest + 4)}{finding_id}"
            for label, value in _facts(items[0]["finding"]):
                yield from _pair(label, value, indent=4)
            label = "Archiving" if archiving_of(items[0]) else "Archived"
            yield from _pair(label, _archived(items[0]), indent=4)
            for item in items:
                yield from _pair(plain(item["finding"]["region"]), _times(item), indent=4)

    def _history(self) -> Iterator[str]:
        entries = [
            (str(entry.get("at", "")), item["finding"]["region"], item["finding_id"], entry)
            for item in self.items
            for entry in item.get("history") or ()
        ]
        for at, region, finding_id, entry in sorted(entries, key=lambda each: each[:3]):
            status = "DELETED" if entry.get("is_deleted") else plain(entry.get("status", ""))
            recorded = moment(str(entry.get("recorded_at", "")), ENGLISH)
            line = (
                f"{moment(at, ENGLISH)}  {plain(region)}  {plain(finding_id)[:8]}  {status}"
                f"{_news(entry)}; recorded {recorded}"
            )
            yield from wrapped(line, first="  ", rest=" " * 24)

    def _messages(self) -> Iterator[str]:
        card = self.card
        for each in card["messages"] if card else ():
            line = (
                f"{moment(str(each.get('at', '')), ENGLISH)}  "
                f"{plain(each.get('news', '')).replace('_', ' ')}, {_how(each)}, message "
                f"{plain(each.get('message_id', ''))}"
            )
            yield from wrapped(line, first="  ", rest=" " * 24)
        if card is None or (not card["messages"] and card["told"] is None):
            yield "  Nobody was told yet."
        if card and card["telling"]:
            round_ = plain(card["telling"]["round"], _MOST)
            yield from wrapped(f"A round is telling people now: {round_}", first="  ", rest="  ")
        elif card and card.get("due_at"):
            yield f"  Next: not before {moment(card['due_at'] or '', ENGLISH)}."

    def _exemptions(self) -> Iterator[str]:
        for each in self.card["exemptions"] if self.card else ():
            named = " ".join(f"{plain(k)} {plain(v)}" for k, v in sorted(each["principal"].items()))
            until = f"until {plain(each['expires'])}" if each["expires"] else "without an end"
            if is_expired(each, self.now):
                until = f"EXPIRED on {plain(each['expires'] or '')}"
            yield from _item(
                f"{plain(each['finding_type'])}{f' for {named}' if named else ''}, {until}: "
                f"{plain(each['reason'], 1_000)} ({plain(each['by'], _MOST)}, "
                f"{moment(each['at'], ENGLISH)})"
            )

    def _proposal(self) -> Iterator[str]:
        found = self.card["proposal"] if self.card else None
        if found is None:
            return
        yield from _item(f"{plain(found['verdict'])}, made {moment(found['created_at'], ENGLISH)}")
        before, after = found["before_action_count"], found["after_action_count"]
        if before is not None and after is not None:
            yield from _item(
                f"{before:,} actions today, {after:,} proposed (all that its policies allow; what "
                "is unused is counted by another source)"
            )
        for reason in found["reasons"]:
            yield from _item(plain(reason, 500))
        yield from _item(plain(folder_of(found["proposal"]), _MOST))

    def _what_to_do(self) -> Iterator[str]:
        for step in what_to_do(self):
            yield from _item(step.text)
            # Never folded: what is copied must run.
            yield from (f"      {line}" for line in step.command)


def _facts(finding: FindingJson) -> Iterator[tuple[str, str]]:
    """Yield what is known of a finding, each with its label; what is empty is left out."""
    kind = kind_of(finding)
    if kind in {"open", "internal"}:
        yield "Open to", whom(finding, ENGLISH)
        yield "As named", principal_row(finding, ENGLISH)
        yield "May", may(finding, ENGLISH, limit=50)
        yield "Condition", condition(finding, ENGLISH)
        yield "Bounds", restrictions(finding, ENGLISH)
        yield "Through", ", ".join(map(plain, finding["granted_through"]))
    elif kind == "unusedpermission":
        services = [plain(each, 100) for each in sensitive_first(finding["unused_services"])]
        more = len(services) - _SHOWN_SERVICES
        yield "Unused", unused(finding, ENGLISH)
        yield (
            "Services",
            ", ".join(services[:_SHOWN_SERVICES]) + (f" and {more:,} more" if more > 0 else ""),
        )
    else:
        yield "What", headline_of(finding, ENGLISH)
    yield "Error", plain(finding["error"] or "", 500)
    yield "Last used", moment(finding["last_accessed_at"] or "", ENGLISH)
    yield "Access key", plain(finding["access_key_id"] or "")
    yield "Severity", severity_in_words(severity_of(finding), finding, ENGLISH)
    yield "Unknown", "; ".join(plain(each) for each in finding["unknown"])


def _times(item: FindingItemJson) -> str:
    """Return since when it is so, and when and by whom it was last looked at."""
    finding = item["finding"]
    return (
        f"since {moment(finding['created_at'], ENGLISH)}, updated "
        f"{moment(finding['updated_at'], ENGLISH)}, looked at "
        f"{moment(finding['analyzed_at'], ENGLISH)} by {_analyzer(finding['analyzer_arn'])}"
    )


def _analyzer(arn: str) -> str:
    """Return the name and the account of an analyzer: its Region stands beside it."""
    account_id = account_in(arn)
    if account_id is None:
        return plain(arn, _MOST)
    return f"analyzer {plain(arn.rpartition('/')[2], 300)} of {account_id}"


def _archived(item: FindingItemJson) -> str:
    found = item.get("archived")
    if not found:
        return ""
    by, how = plain(found.get("by") or UNKNOWN, _MOST), plain(found.get("how") or "")
    until = f", until {plain(found['expires'])}" if found.get("expires") else ""
    reason = plain(found.get("reason") or "no reason was given", 1_000)
    at = moment(str(found.get("at") or ""), ENGLISH)
    said = f"{at} by {by}{f' ({how})' if how else ''}{until}: {reason}"
    return f"asked for at {said} (not yet in the table)" if archiving_of(item) else said


def _news(entry: dict[str, Any]) -> str:
    news = plain(entry.get("news", ""))
    return f", {news}" if news and news != "none" else ""


def _how(message: dict[str, Any]) -> str:
    how = str(message.get("how", ""))
    return {
        "single": "by itself",
        "summary": "in a summary",
        "digest": "in a digest",
        "unknown": "but whether it went out is unknown",
    }.get(how, plain(how))


# --- what to do next ------------------------------------------------------------------------------


def what_to_do(page: Page) -> list[Step]:
    """Return what a person can do next, with the commands: as a message about the card says it."""
    first = page.ordered[0]["finding"]
    statuses = {status_of(item["finding"]) for item in page.items}
    if page.open:
        return [*_steps(page, "first_sight"), *_more_steps(page.open[0]["finding"])]
    if "UNWATCHED" in statuses:
        return _steps(page, "unwatched")
    if "ARCHIVED" in statuses:
        archived = next(each for each in page.ordered if status_of(each["finding"]) == "ARCHIVED")
        command = f"pare findings unarchive {argument(archived['finding_id'], 'ID')} --all-regions"
        return [Step("To hear of it again, in every Region:", (command,)), *_links(first)]
    return []


def _steps(page: Page, news: CardNews) -> list[Step]:
    findings = [item["finding"] for item in page.open or page.ordered]
    view: CardViewJson = {
        "card": page.card or new_card(Finding.from_json(findings[0])),
        "news": news,
        "severity": findings[0]["severity"] or "medium",
        "findings": findings,
        "ended": [],
        "archived": {},
    }
    # What several Regions say alike is archived by one command.
    distinct = [group.first for group in grouped(findings)]
    steps = steps_of(view, distinct, ENGLISH, now=page.now)
    return [each for each in steps if not "".join(each.command).startswith("pare findings show ")]


def _more_steps(finding: FindingJson) -> list[Step]:
    """Return what a terminal has room for beside the steps of a message."""
    explain = (f"pare explain {argument(finding['resource'], 'ARN')}",)
    is_principal = finding["resource_type"] in {"AWS::IAM::Role", "AWS::IAM::User"}
    asked = [Step("What it is, what it uses, and its policies:", explain)] if is_principal else []
    return [*asked, *_links(finding)]


def _links(finding: FindingJson) -> list[Step]:
    partition = _partition(finding)
    links = (
        resource_link(finding, partition=partition),
        finding_link(finding, partition=partition),
    )
    shown = tuple(link for link in links if link)
    return [Step("In the console, signed in to its account, or the hub:", shown)] if shown else []


def _partition(finding: FindingJson) -> str:
    for arn in (finding["analyzer_arn"], finding["resource"]):
        parts = arn.split(":")
        if parts[0] == "arn" and len(parts) > 1:
            return parts[1]
    return "aws"


# --- lines ----------------------------------------------------------------------------------------


def _pair(label: str, value: str, *, indent: int = 2) -> list[str]:
    """Return a label and its value, wrapped; nothing where it is empty."""
    if not value:
        return []
    first = f"{' ' * indent}{label}{' ' * max(_LABEL - columns(label), 1)}"
    return wrapped(value, first=first, rest=" " * (indent + _LABEL))


def _item(line: str) -> list[str]:
    return wrapped(line, first="  - ", rest="    ")


def as_json(page: Page) -> dict[str, Any]:
    """Return the page for programs: the card, its findings with their history, what to do."""
    severities = [severity_of(item["finding"]) for item in page.open]
    return {
        "card_id": page.card["card_id"] if page.card else None,
        "resource": page.ordered[0]["finding"]["resource"],
        "is_open": bool(page.open),
        "severity": max(severities, key=rank) if severities else None,
        "asked_finding_id": page.asked_id,
        "card": page.card,
        "findings": page.ordered,
        "what_to_do": [
            {"text": each.text, "lines": list(each.command)} for each in what_to_do(page)
        ],
    }
