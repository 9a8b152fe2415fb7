"""What people, machines and a chat channel are told about a month's inventory."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pare.chat_card import card, quoted
from pare.inventory.gravest import Gravest, Issue, Named, Planned, is_overdue, named
from pare.inventory.model import CLASSES
from pare.inventory.texts import has_text, reason_text, text, word
from pare.message import (
    Message,
    bullet,
    headline,
    paragraph,
    plain,
    rows,
    sentence,
    subject,
    unlinked,
)
from pare.runs import what_to_do

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.inventory.model import AccountResultJson, PrincipalRowJson, SnapshotJson
    from pare.object_ref import ObjectRef

# A message of SNS has at most 256 KiB, and a person reads less.
LISTED_ACCOUNTS = 50
LISTED_OWNERS = 20
LISTED_OF_OWNER = 10
LISTED_CREDENTIALS = 20
LISTED_OPEN = 20
LISTED_NEW = 10
LISTED_GONE = 10
LISTED_OTHERS = 10
# Of machines' JSON: what is planned, by owner. All of it is in the report's CSV.
OWNERS_BYTES = 120_000
# With the attributes, a message has 256 KiB.
ATTRIBUTE_OWNERS = 200

# Few words for what a role is open to, in a card.
_SHORT_OF = {
    "PUBLIC_TRUST": "report_short_public_trust",
    "FEDERATED_OPEN": "report_short_federated_without_subject",
    "OUTSIDE_WITHOUT_EXTERNAL_ID": "report_short_outside_trust_without_external_id",
}

# Where the S3 console is. https://docs.aws.amazon.com/general/latest/gr/rande.html (partitions),
# https://docs.amazonaws.cn/en_us/aws/latest/userguide/endpoints-Beijing.html
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the month's files lie, and where people open them."""

    snapshot: ObjectRef
    report: ObjectRef
    csv: ObjectRef
    partition: str
    region: str


@dataclass(frozen=True, slots=True)
class _Words:
    """The texts of a language, with what they say filled in, and the names of accounts."""

    language: str
    names: dict[str, str]

    def __call__(self, key: str, **values: str | int) -> str:
        return text(key, self.language, **values)

    def account(self, account_id: str) -> str:
        """Return an account's name and id."""
        name = _outside(self.names.get(account_id, ""))
        return self("message_account", name=name, account_id=account_id) if name else account_id

    def word(self, group: str, value: str) -> str:
        return word(group, value, self.language)


def console_link(ref: ObjectRef, *, partition: str, region: str) -> str:
    """Return the address of an object's page in the S3 console, from where it can be opened."""
    host = CONSOLES.get(partition, CONSOLES["aws"])
    return (
        f"https://{host}/s3/object/{quote(ref['bucket'], safe='')}"
        f"?region={quote(region, safe='')}&prefix={quote(ref['key'], safe='/')}"
    )


def download_command(ref: ObjectRef) -> str:
    """Return the command that brings an object to the folder one is in."""
    return f"aws s3 cp {shlex.quote(_uri(ref))} ."


def _download_lines(ref: ObjectRef) -> tuple[str, ...]:
    """Return the same command for a mail, in lines that can be copied as they are."""
    return ("  aws s3 cp \\", f"    {shlex.quote(_uri(ref))} .")


def inventory_message(
    snapshot: SnapshotJson,
    gravest: Gravest,
    *,
    gone: Sequence[PrincipalRowJson] = (),
    language: str,
    place: Place,
    idle_days: int,
    key_max_age_days: int,
) -> Message:
    """Return the message about a month's inventory. All text from outside is made harmless.

    ``gone`` are the first of last month's rows that are no longer there; LISTED_GONE are named.
    """
    say = _Words(
        language, {account["account_id"]: account["name"] for account in snapshot["accounts"]}
    )
    counts: dict[str, str | int] = {
        "period": snapshot["period"],
        "principals": snapshot["counts"]["principals"],
        "accounts": snapshot["account_count"] - snapshot["unknown_account_count"],
    }
    title = say("message_title", **counts)
    link = console_link(place.report, partition=place.partition, region=place.region)
    sections = [
        _unread(snapshot, say),
        _partly_unread(snapshot, say),
        _open(gravest, say),
        _classes(snapshot, say),
        _planned(snapshot, gravest, say),
        _credentials(gravest, say),
        _break_glass(gravest, say),
        _root_users(snapshot, say),
        _new(snapshot, gravest, say),
        _gone(snapshot, gone, say),
        _exemptions(gravest, say),
        _last_accessed_unknown(snapshot, say),
    ]
    summary = _summary(snapshot, say, idle_days=idle_days, key_max_age_days=key_max_age_days)
    if not summary and snapshot["previous"]:
        summary = say("message_no_change" if any(sections) else "message_quiet")
    parts = [
        headline(title),
        paragraph(summary) if summary else "",
        paragraph(_compared(snapshot, say)),
        rows([
            (say("message_report"), link),
            (say("message_csv"), _uri(place.csv)),
            (say("message_rows"), _uri(snapshot["rows"])),
        ]),
        "\n".join([paragraph(say("message_download")), *_download_lines(place.report)]),
        *sections,
    ]  # fmt: skip
    return Message(
        subject=subject(say("message_subject", **counts), ascii_only=language == "en"),
        text="\n\n".join(part for part in parts if part) + "\n",
        attributes={
            "kind": "inventory",
            "period": snapshot["period"],
            # Who wants the message only where something of theirs is planned asks for this.
            "owner": [plain(owner, 100) for owner in sorted(gravest.planned)[:ATTRIBUTE_OWNERS]],
        },
        facts=_facts(snapshot, gravest, place),
        card=_card(snapshot, gravest, say, title=title, summary=summary, link=link, place=place),
    )


# --- the parts of the mail ------------------------------------------------------------------------


def _summary(snapshot: SnapshotJson, say: _Words, *, idle_days: int, key_max_age_days: int) -> str:
    """Return what changed and what is wrong in one sentence, or nothing where there is none."""
    count = snapshot["counts"]
    old_keys = "message_old_keys_year" if key_max_age_days == 365 else "message_old_keys"
    previous = _outside(snapshot["previous"] or "")
    wrong: tuple[tuple[str, int, int], ...] = (
        ("message_public", count.get("public_trusts", 0), 0),  # not in older snapshots
        # In an organization's first inventory nothing is new.
        ("message_new", count["new"] if previous else 0, 0),
        ("message_gone", count["gone"] if previous else 0, 0),
        ("message_unused", count["unused_principals"], idle_days),
        ("message_unused_unknown", count["status_unknown"], 0),
        (old_keys, count["old_access_keys"], key_max_age_days),
        ("message_no_mfa", count["users_without_mfa"], 0),
        ("message_root_keys", count["root_access_keys"], 0),
        ("message_root_no_mfa", count["root_without_mfa"], 0),
        ("message_unread", snapshot["unknown_account_count"], 0),
    )
    pieces = [
        say(key, count=number, days=days, previous=previous)
        for key, number, days in wrong
        if number
    ]
    return say("message_summary", pieces=say("message_between").join(pieces)) if pieces else ""


def _compared(snapshot: SnapshotJson, say: _Words) -> str:
    previous = snapshot["previous"]
    if previous is None:
        return say("message_first")
    key = "message_compared" if snapshot["comparable"] else "message_not_comparable"
    return say(key, previous=_outside(previous))


def _unread(snapshot: SnapshotJson, say: _Words) -> str:
    unread = [account for account in snapshot["accounts"] if account["error"]]
    return _section(
        say("message_unread_heading", count=len(unread)),
        [_unread_item(account, say) for account in unread[:LISTED_ACCOUNTS]],
        len(unread),
        say,
    )


def _unread_item(account: AccountResultJson, say: _Words) -> str:
    error = account["error"] or ""
    key = "todo_" + "".join(f"_{each.lower()}" if each.isupper() else each for each in error)[1:]
    to_do = say(key) if say.language != "en" and has_text(key) else what_to_do(error)
    item = say(
        "message_unread_item",
        name=_outside(account["name"]),
        account_id=account["account_id"],
        message=sentence(_outside(account["message"] or error)),
        what_to_do=to_do,
    )
    known = account.get("known")
    return (
        f"{item} {say('message_last_known', period=_outside(known['period']))}" if known else item
    )


def _partly_unread(snapshot: SnapshotJson, say: _Words) -> str:
    partly = [
        account for account in snapshot["accounts"] if account["unknown"] and not account["error"]
    ]
    return _section(
        say("message_partly_heading", count=len(partly)),
        [
            say("message_partly_item",
                account=say.account(account["account_id"]),
                what=_outside("; ".join(account["unknown"])))
            for account in partly[:LISTED_ACCOUNTS]
        ],
        len(partly),
        say,
    )  # fmt: skip


def _open(gravest: Gravest, say: _Words) -> str:
    """Return the roles that people outside may assume, each with what to do."""
    return _section(
        say("message_open_heading"),
        [
            say("message_open_item",
                principal=_principal(each.principal_arn),
                account=say.account(each.account_id),
                issue=_outside(reason_text(each.reason, say.language)),
                to_do=say(f"message_open_{each.reason['code'].lower()}"))
            for each in gravest.open.items()[:LISTED_OPEN]
        ],
        gravest.open.count,
        say,
    )  # fmt: skip


def _classes(snapshot: SnapshotJson, say: _Words) -> str:
    counts = [(name, snapshot["counts"][f"class_{name}"]) for name in CLASSES]
    if not any(count for name, count in counts if name != "keep"):
        return ""
    lines = [paragraph(say("message_to_do")), rows([
        (say.word("class", name), f"{count:,} - {say(f'class_{name}_about')}" if count else "")
        for name, count in counts
    ])]  # fmt: skip
    if any(count for name, count in counts if name in {"narrow", "review"}):
        lines.append(paragraph(say("message_names_in_report")))
    return "\n".join(lines)


def _planned(snapshot: SnapshotJson, gravest: Gravest, say: _Words) -> str:
    """Return what is to be disabled or deleted, for each owner: their announcement."""
    owners = sorted(gravest.planned.items())
    if not owners:
        return ""
    lines = [paragraph(say("message_planned_heading"))]
    for owner, planned in owners[:LISTED_OWNERS]:
        lines.append(bullet(say("message_owner", owner=_outside(owner), count=planned.count)))
        shown = planned.items()[:LISTED_OF_OWNER]
        lines += [
            bullet(
                say("message_item",
                    principal=_principal(each.principal_arn),
                    account=say.account(each.account_id),
                    plan=_plan(each, snapshot["as_of"], say)),
                indent="  ",
            )
            for each in shown
        ]  # fmt: skip
        if planned.count > len(shown):
            lines.append(bullet(say("message_more", count=planned.count - len(shown)), indent="  "))
    if len(owners) > LISTED_OWNERS:
        lines.append(bullet(say("message_more_owners", count=len(owners) - LISTED_OWNERS)))
    return "\n".join(lines)


def _plan(planned: Planned, as_of: str, say: _Words) -> str:
    """Return ``disable access key 1 by 2026-12-01 (announced 2 times)``."""
    if planned.disable_on is None:
        return say("message_plan_undated")
    values = {"disable_on": _outside(planned.disable_on)}
    key = "message_plan_disable"
    if planned.disabled_on and planned.delete_on:
        key = "message_plan_delete"
        values = {
            "disabled_on": _outside(planned.disabled_on),
            "delete_on": _outside(planned.delete_on),
        }
    if planned.what != "principal":
        key += "_what"
        values["what"] = say.word("what", planned.what)
    if is_overdue(planned, as_of):
        key += "_overdue"
        values.pop("delete_on", None)
    plan = say(key, **values)
    if planned.times_announced > 1:
        plan = say("message_plan_times", plan=plan, times=planned.times_announced)
    return plan


def _credentials(gravest: Gravest, say: _Words) -> str:
    shown = gravest.credentials.items()[:LISTED_CREDENTIALS]
    return _section(
        say("message_credentials_heading"),
        [_with_reason(each, say) for each in shown],
        gravest.credentials.count,
        say,
    )  # fmt: skip


def _break_glass(gravest: Gravest, say: _Words) -> str:
    return _section(
        say("message_break_glass_heading"),
        [_with_reason(each, say) for each in gravest.break_glass.items()[:LISTED_OTHERS]],
        gravest.break_glass.count,
        say,
    )  # fmt: skip


def _with_reason(each: Issue, say: _Words) -> str:
    """Return a user or role and what is the matter with it."""
    return say(
        "message_credential",
        principal=_principal(each.principal_arn),
        account=say.account(each.account_id),
        issue=_outside(reason_text(each.reason, say.language)),
    )


def _root_users(snapshot: SnapshotJson, say: _Words) -> str:
    issues = [
        say("message_root",
            account=say.account(account["account_id"]),
            issue=_outside(reason_text(issue, say.language)))
        for account in snapshot["accounts"]
        for issue in account["issues"]
    ]  # fmt: skip
    return _section(say("message_root_heading"), issues[:LISTED_CREDENTIALS], len(issues), say)


def _new(snapshot: SnapshotJson, gravest: Gravest, say: _Words) -> str:
    if snapshot["previous"] is None:
        return ""
    return _section(
        say("message_new_heading", previous=_outside(snapshot["previous"])),
        [_named(each, say) for each in gravest.new.items()[:LISTED_NEW]],
        gravest.new.count,
        say,
    )


def _gone(snapshot: SnapshotJson, gone: Sequence[PrincipalRowJson], say: _Words) -> str:
    if snapshot["previous"] is None:
        return ""
    return _section(
        say("message_gone_heading", previous=_outside(snapshot["previous"])),
        [_named(named(row), say) for row in gone[:LISTED_GONE]],
        snapshot["counts"]["gone"],
        say,
    )


def _named(each: Named, say: _Words) -> str:
    return say(
        "message_named",
        principal=_principal(each.principal_arn),
        account=say.account(each.account_id),
        kind=say.word("kind", each.kind),
        owner=_outside(each.owner),
    )


def _exemptions(gravest: Gravest, say: _Words) -> str:
    return _section(
        say("message_exemptions_heading"),
        [
            say("message_exemption_expired" if each.has_ended else "message_exemption_expiring",
                principal=_principal(each.principal_arn),
                account=say.account(each.account_id),
                expires=_outside(each.expires),
                owner=_outside(each.owner))
            for each in gravest.exemptions.items()[:LISTED_OTHERS]
        ],
        gravest.exemptions.count,
        say,
    )  # fmt: skip


def _last_accessed_unknown(snapshot: SnapshotJson, say: _Words) -> str:
    count = snapshot["counts"]["last_accessed_unknown"]
    return paragraph(say("message_last_accessed_unknown", count=count)) if count else ""


def _section(heading: str, items: Sequence[str], count: int, say: _Words) -> str:
    """Return a list with its heading; empty where there is none."""
    if not items:
        return ""
    lines = [paragraph(heading), *map(bullet, items)]
    if count > len(items):
        lines.append(bullet(say("message_more", count=count - len(items))))
    return "\n".join(lines)


def _outside(value: str) -> str:
    return unlinked(plain(value))


def _principal(arn: str) -> str:
    """Return ``role/app/OrdersApi``: with the account beside it, it says as much as the ARN."""
    return _outside(arn.split(":", 5)[-1])


def _uri(ref: ObjectRef) -> str:
    return f"s3://{ref['bucket']}/{ref['key']}"


# --- for machines ---------------------------------------------------------------------------------


def _facts(snapshot: SnapshotJson, gravest: Gravest, place: Place) -> dict[str, Any]:
    owners, left_out = _by_owner(gravest)
    return {
        "kind": "inventory",
        "period": snapshot["period"],
        "as_of": snapshot["as_of"],
        "definition_version": snapshot["definition_version"],
        "previous": snapshot["previous"],
        "comparable": snapshot["comparable"],
        "account_count": snapshot["account_count"],
        "principal_count": snapshot["counts"]["principals"],
        "counts": snapshot["counts"],
        "by_kind": snapshot["by_kind"],
        "unknown_accounts": [
            account["account_id"] for account in snapshot["accounts"] if account["error"]
        ],
        "planned_by_owner": owners,
        "owners_left_out": left_out,
        "snapshot": _uri(place.snapshot),
        "rows": _uri(snapshot["rows"]),
        "report": _uri(place.report),
        "csv": _uri(place.csv),
    }


def _by_owner(gravest: Gravest) -> tuple[dict[str, Any], int]:
    """Return what is planned by owner, as far as OWNERS_BYTES go, and how many owners are not in.

    Of an owner the most urgent come first; ``count`` says how many there are.
    """
    found: dict[str, Any] = {}
    left = OWNERS_BYTES
    for number, (owner, planned) in enumerate(sorted(gravest.planned.items())):
        share = left // (len(gravest.planned) - number)  # what one leaves goes to the next
        principals: list[dict[str, Any]] = []
        shown = {"count": planned.count, "principals": principals}
        size = _size({owner: shown})
        if size > left:
            return found, len(gravest.planned) - number
        for each in planned.items():
            item = {
                "account_id": each.account_id,
                "principal_arn": each.principal_arn,
                "class": each.to_do,
                "what": each.what,
                "disable_on": each.disable_on,
                "disabled_on": each.disabled_on,
                "delete_on": each.delete_on,
                "times_announced": each.times_announced,
            }
            size += _size(item)
            if size > share:
                size -= _size(item)
                break
            principals.append(item)
        left -= size
        found[owner] = shown
    return found, 0


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace")) + 2


# --- for chat -------------------------------------------------------------------------------------


def _card(
    snapshot: SnapshotJson,
    gravest: Gravest,
    say: _Words,
    *,
    title: str,
    summary: str,
    link: str,
    place: Place,
) -> dict[str, Any]:
    """Return the card; text from outside only as code spans."""
    classes = [
        f"• {say.word('class', name)}: {snapshot['counts'][f'class_{name}']:,}"
        for name in CLASSES
        if snapshot["counts"][f"class_{name}"]
    ]
    unread = [
        f"• {quoted(account['name'])} {account['account_id']}: {quoted(account['error'], 60)}"
        for account in snapshot["accounts"]
        if account["error"]
    ]
    owners = [
        "• " + say("message_owner", owner=quoted(owner), count=planned.count)
        for owner, planned in sorted(gravest.planned.items())
    ]
    is_open = [
        f"• {quoted(each.principal_arn.split(':', 5)[-1])} {each.account_id}: "
        + say(_SHORT_OF[each.reason["code"]])
        for each in gravest.open.items()
    ]
    lines = [
        *([summary] if summary else []),
        *([say("message_open_heading"), *is_open[:LISTED_OTHERS]] if is_open else []),
        *([say("message_more", count=gravest.open.count - LISTED_OTHERS)]
          if gravest.open.count > LISTED_OTHERS else []),
        *classes,
        *([say("message_unread_heading", count=len(unread)), *unread[:LISTED_OTHERS]]
          if unread else []),
        *([say("message_planned_heading"), *owners[:LISTED_OWNERS]] if owners else []),
    ]  # fmt: skip
    return card(
        title=title,
        lines=lines,
        more="…",
        next_steps=[
            say("message_open_report", link=link),
            say("message_download_report", command=f"`{download_command(place.report)}`"),
        ],
        keywords=["Pare", "inventory", snapshot["period"]],
        thread_id=f"pare-inventory-{snapshot['period']}",
    )
