"""What is said of one finding, in words: what is open to whom, what they may do, since when.

The words are ``pare/data/finding_texts.json``. A ``Words`` says how text from outside is made
harmless where the words go: ``in_mail`` for a mail, ``in_chat`` for a card of a chat channel.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pare.chat_card import quoted
from pare.clock import parse_time
from pare.findings.card_view import archived_before
from pare.findings.links import name_of
from pare.message import plain, unlinked, without_domains
from pare.texts import Texts, word_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from pare.findings.card import CardViewJson, ProposalNoteJson
    from pare.findings.card_view import Group
    from pare.findings.model import FindingJson

TEXTS: Final = Texts("finding_texts.json")
LISTED_ACTIONS = 10
LISTED_CONDITIONS = 5
# In the order in which they harm; ``unknown``: an action that the catalogue does not have.
LEVELS = ("Permissions management", "Write", "Tagging", "Read", "List", "unknown")
# Services whose actions give rights, or reach what is secret or worth most: these first.
_SENSITIVE = (
    "iam", "organizations", "sts", "sso", "kms", "secretsmanager", "ssm", "s3", "dynamodb", "rds",
    "lambda", "ec2",
)  # fmt: skip
_PLAIN_ACCOUNT = 12


def mail_safe(value: object, limit: int = 200) -> str:
    """Return outside text for a mail: one line, no control characters, no links, bounded."""
    return without_domains(unlinked(plain(value, limit)))


def chat_safe(value: object, limit: int = 100) -> str:
    """Return outside text for a chat card: a code span, of which no client makes a link."""
    return quoted(unlinked(str(value)), min(limit, 100))


@dataclass(frozen=True, slots=True)
class Words:
    """The texts of a language, and how text from outside is put into them."""

    language: str
    safe: Callable[..., str]

    def __call__(self, key: str, /, **values: str | int) -> str:
        said = TEXTS.text(key, self.language, **values)
        # A wide bracket has its blank within.
        return said.replace("\uff09 ", "\uff09") if self.language == "ja" else said

    def word(self, group: str, value: str) -> str:
        """Return the word of ours for a value; the value, made harmless, where there is none."""
        key = word_key(group, value)
        return self(key) if TEXTS.has(key) else self.safe(value)

    def listed(self, names: Sequence[str], limit: int) -> str:
        """Return ``a, b and 3 more``; the names are escaped here."""
        shown = self("between").join(self.safe(name, 100) for name in names[:limit])
        if len(names) <= limit:
            return shown
        return self("and_more", shown=shown, count=len(names) - limit)

    def account(self, account_id: str | None, name: str | None) -> str:
        """Return an account's name and id."""
        if not account_id:
            return self("account_unknown")
        shown = self.safe(account_id, 20)
        return self("account_named", name=self.safe(name, 60), account_id=shown) if name else shown


def in_mail(language: str) -> Words:
    """Return the words of a language for a mail."""
    return Words(language, mail_safe)


def in_chat(language: str) -> Words:
    """Return the words of a language for a chat card."""
    return Words(language, chat_safe)


# --- what -----------------------------------------------------------------------------------------


def resource_in_words(resource_type: str, resource: str, say: Words, limit: int = 100) -> str:
    """Return ``S3 bucket amzn-s3-demo-bucket``; whoever names it may mean it to look like a link.

    To be copied, its name stands in the ARN and in the commands.
    """
    name = say.safe(name_of(resource) or resource or "?", limit)
    key = type_key("type", resource_type)
    if not TEXTS.has(key):
        return say("resource_other", type=say.safe(resource_type, 60), name=name)
    return say("resource", type=say(key), name=name)


def type_key(group: str, resource_type: str) -> str:
    """Return ``type_aws_s3_bucket`` of ``type`` and ``AWS::S3::Bucket``."""
    return f"{group}_{resource_type.replace('::', '_').lower()}"


def kind_of(finding: FindingJson) -> str:
    """Return what kind of message a finding needs: the end of its texts' keys.

    ``error``, ``open`` (external access), ``internal``, or its type in lower case.
    """
    if finding["error"]:
        return "error"
    if finding["access"] == "external":
        return "open"
    if finding["access"] == "internal":
        return "internal"
    return finding["finding_type"].lower()


def headline_of(finding: FindingJson, say: Words, *, is_over: bool = False) -> str:
    """Return what a finding says in a few words; ``is_over``: that it is no longer so."""
    values: dict[str, str | int] = {
        **watched(finding, say),
        "what": resource_in_words(finding["resource_type"], finding["resource"], say, 60),
        "whom": whom(finding, say, is_short=True),
        "unused": unused(finding, say),
        "key": say.safe(finding["access_key_id"], 40) if finding["access_key_id"] else "",
        "type": say.safe(finding["finding_type"], 60),
    }
    return say(_headline_key(finding, "over" if is_over else "headline"), **values)


def with_others(said: str, groups: Sequence[Group], view: CardViewJson, say: Words) -> str:
    """Return what is said of a card's first finding with how many others ended in another way."""
    closed = sum(group.part == "closed" for group in groups[1:] if group.part != groups[0].part)
    archived = sum(group.part == "archived" for group in groups if group.part != groups[0].part)
    if view["news"] == "archived":
        archived += len(archived_before(view))
    if archived:
        said = say("archived_too", said=said, count=archived)
    return say("closed_too", said=said, count=closed) if closed else said


def error_code(finding: FindingJson, say: Words) -> str:
    """Return the code of an error, or that it has none of the kind that AWS gives."""
    error = finding["error"] or ""
    return error if re.fullmatch(r"[A-Z][A-Z_]{2,60}", error) else say("error_unnamed")


def _headline_key(finding: FindingJson, group: str) -> str:
    key = f"{group}_{kind_of(finding)}"
    if finding["error"] and finding["access"] == "unused":
        key = f"{group}_error_unused"
    elif key.endswith("_open") and finding["resource_type"] == "AWS::IAM::Role":
        key = f"{group}_open_role"
    elif finding["finding_type"] == "ExemptionExpiring" and finding["values"].get("ended"):
        key = f"{group}_exemptionended"
    return key if TEXTS.has(key) else f"{group}_other"


def watched(finding: FindingJson, say: Words) -> dict[str, str | int]:
    """Return what the texts about a blind spot name, of the values of Pare's own finding.

    Which type has which values: pare/findings/watch.py.
    """
    values: Mapping[str, Any] = finding["values"]

    def shown(name: str, limit: int = 200) -> str:
        found = values.get(name)
        return say.safe(found, limit) if isinstance(found, str) and found else ""

    drift = [
        say(f"drift_{how}", rules=say.listed([str(each) for each in values[how]], 5))
        for how in ("changed", "deleted")
        if isinstance(values.get(how), list) and values[how]
    ]
    kind = str(values.get("kind") or "")
    count = next((values[name] for name in ("hidden", "findings")
                  if isinstance(values.get(name), int)), 0)  # fmt: skip
    return {
        "region": shown("region", 40) or say.safe(finding["region"], 40),
        "analyzer": shown("analyzer", 100),
        "kind": say.word("analyzer", kind) if kind else say("analyzer_any"),
        "status": shown("status", 40),
        "reason": shown("error", 500) or shown("reason", 500),
        "rule": shown("rule", 100),
        "filter": shown("filter", 300),
        "drift": say("condition_between").join(drift),
        "expires": shown("expires", 10),
        "owner": shown("owner", 200),
        "count": int(count),
    }


# --- to whom --------------------------------------------------------------------------------------


def whom(finding: FindingJson, say: Words, *, is_short: bool = False) -> str:
    """Return to whom a resource is open: everybody, an account and whose it is, a provider."""
    principal = principal_value(finding)
    exposure: str = "public" if finding["is_public"] else finding["exposure"] or "unknown"
    account_id = finding["principal_account_id"] or account_in(principal)
    name = finding["principal_account_name"]
    if exposure in {"outside", "partner", "organization"} and not account_id:
        exposure = f"{exposure}_unnamed" if exposure != "partner" else exposure
    key = f"whom_{exposure}"
    values: dict[str, str | int] = {
        "principal": say.safe(_short_principal(principal) or "?", 100),
        "account": say.account(account_id, str(name) if name else None),
        "partner": say.safe(finding["partner"] or "?", 60),
    }
    return say(f"{key}_short" if is_short and TEXTS.has(f"{key}_short") else key, **values)


def principal_value(finding: FindingJson) -> str:
    """Return the first principal as the policy names it: an ARN, an account id, a provider."""
    return next((value for _, value in _principals(finding) if value), "")


def _principals(finding: FindingJson) -> list[tuple[str, str]]:
    """Return kind and value of every principal; several of one kind come as a JSON list."""
    found: list[tuple[str, str]] = []
    for kind, value in sorted(finding["principal"].items()):
        values: Any = [value]
        if value.startswith("["):
            try:
                values = json.loads(value)
            except ValueError:
                values = [value]
        found += [(kind, str(each)) for each in values]
    return found


def principal_row(finding: FindingJson, say: Words) -> str:
    """Return the principal as the policy names it, where that says more than an account's id."""
    if not finding["principal"] or finding["is_public"]:
        return ""
    pairs = _principals(finding)
    if len(pairs) == 1 and pairs[0][1] == (
        finding["principal_account_id"] or account_in(pairs[0][1])
    ):
        return ""
    shown = say("between").join(f"{say.safe(k, 40)} {say.safe(v, 300)}" for k, v in pairs[:5])
    return say("and_more", shown=shown, count=len(pairs) - 5) if len(pairs) > 5 else shown


def _short_principal(principal: str) -> str:
    """Return ``role/App`` of a role's ARN, the provider of a provider's; else what it is."""
    parts = principal.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return principal
    for kind in ("oidc-provider/", "saml-provider/"):
        if parts[5].startswith(kind):
            return parts[5].removeprefix(kind)
    return parts[5]


def account_in(principal: str) -> str | None:
    """Return the account in an ARN, or an account id as it is; None where there is none."""
    parts = principal.split(":", 5)
    found = parts[4] if len(parts) == 6 else principal
    return found if len(found) == _PLAIN_ACCOUNT and found.isdigit() and found.isascii() else None


# --- what they may do -----------------------------------------------------------------------------


def levels(finding: FindingJson, say: Words) -> str:
    """Return ``read, list``; nothing where no level is known."""
    return levels_of([finding], say)


def levels_of(findings: Sequence[FindingJson], say: Words) -> str:
    """Return the levels of all the findings together."""
    known = [each for each in LEVELS if any(each in one["access_levels"] for one in findings)]
    return say("between").join(say.word("level", each) for each in known)


def may(finding: FindingJson, say: Words, limit: int = LISTED_ACTIONS) -> str:
    """Return the access levels and the actions; that nobody told them where there are none."""
    shown = say.listed(finding["actions"], limit)
    level = levels(finding, say)
    if not shown:
        return say("may_unknown")
    return say("may", levels=level, actions=shown) if level else shown


def condition(finding: FindingJson, say: Words) -> str:
    """Return under which condition the access is open."""
    pairs = [f"{key} = {value}" for key, value in sorted(finding["condition"].items())]
    shown = say("condition_between").join(say.safe(each, 200) for each in pairs[:LISTED_CONDITIONS])
    if len(pairs) > LISTED_CONDITIONS:
        shown = say("and_more", shown=shown, count=len(pairs) - LISTED_CONDITIONS)
    return shown or say("condition_none")


def condition_if_any(finding: FindingJson, say: Words) -> str:
    """Return under which condition the access is open; nothing where there is none."""
    return condition(finding, say) if finding["condition"] else ""


def restrictions(finding: FindingJson, say: Words) -> str:
    """Return what the organization's own policies do to the access; nothing where nothing."""
    found = (
        ("rcp", finding["resource_control_policy_restriction"]),
        ("scp", finding["service_control_policy_restriction"]),
    )
    sentences = []
    for group, value in found:
        short = "failed" if str(value).startswith("FAILED") else str(value or "").lower()
        if TEXTS.has(f"{group}_{short}"):
            sentences.append(say(f"{group}_{short}"))
    return say("sentence_between").join(sentences)


def unused(finding: FindingJson, say: Words) -> str:
    """Return ``12 services, 340 actions``: what is unused of a role's or user's permissions."""
    services, actions = finding["unused_service_count"], finding["unused_action_count"]
    pieces = []
    if services:
        pieces.append(say("unused_services", count=services))
    if actions:
        pieces.append(say("unused_actions", count=actions))
    return say("between").join(pieces) or say("unused_some")


def sensitive_first(services: Sequence[str]) -> list[str]:
    """Return services, first those whose actions give rights, or reach what is secret."""
    return sorted(
        services,
        key=lambda each: (_SENSITIVE.index(each) if each in _SENSITIVE else len(_SENSITIVE), each),
    )


# --- since when, whose, how bad -------------------------------------------------------------------


def moment(text: str, say: Words) -> str:
    """Return ``2026-11-21 09:17 UTC``; what is no time is shown as it is."""
    try:
        return parse_time(text).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return say.safe(text, 40)


def day(text: str, say: Words) -> str:
    """Return ``2026-11-21``."""
    found = text[:10]
    return found if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", found) else say.safe(found, 10)


def lasting(since: str, now: datetime, say: Words) -> str:
    """Return ``for 14 days``; nothing where it cannot be told."""
    try:
        seconds = (now - parse_time(since)).total_seconds()
    except ValueError:
        return ""
    if seconds < 0:
        return ""
    if seconds >= 2 * 86_400:
        return say("for_days", count=int(seconds // 86_400))
    if seconds >= 3_600:
        return say("for_hours", count=int(seconds // 3_600))
    return say("for_less")


def owner_in_words(finding: FindingJson, owner: str | None, say: Words) -> str:
    """Return who owns it and how that is known."""
    if not owner:
        return say("owner_unknown")
    source = finding["owner_source"]
    if source is None or owner != finding["owner"]:
        return say.safe(owner, 100)
    key = {"tag": "owner_tag", "account contact": "owner_contact", "settings": "owner_settings"}
    return say(key[source], owner=say.safe(owner, 100))


def severity_in_words(severity: str, finding: FindingJson | None, say: Words) -> str:
    """Return how bad it is, and by which rule in words."""
    word = say.word("severity", severity)
    rule = finding["severity_rule"] if finding else None
    if not rule:
        return word
    why = say(rule_key(rule)) if TEXTS.has(rule_key(rule)) else say.safe(rule, 200)
    return say("severity_by", severity=word, why=why)


def rule_key(rule: str) -> str:
    """Return the key of the sentence of a rule of severity_rules.json."""
    return "rule_" + "_".join(re.findall(r"[a-z0-9]+", rule.lower()))


def proposal_in_words(note: ProposalNoteJson, say: Words, *, group: str = "verdict") -> str:
    """Return ``ready to apply: 22,091 -> 21 actions``."""
    verdict = say.word(group, note["verdict"])
    before, after = note["before_action_count"], note["after_action_count"]
    if after is None or note["verdict"] == "refused" or group == "short_verdict":
        return verdict  # beside what is unused, which is counted in another way
    if before is None:
        return say("proposal_line_unknown", verdict=verdict, after=after)
    return say("proposal_line", verdict=verdict, before=before, after=after)
