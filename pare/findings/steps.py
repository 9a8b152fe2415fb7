"""What to do about a card, step by step, with the commands that do it.

Pare runs none of them: a person does. No value in them needs quotes for a shell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pare.findings.links import name_of
from pare.findings.phrases import TEXTS, Words, kind_of, type_key
from pare.message import fill, paragraph, plain, sentence, unlinked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pare.findings.card import CardViewJson
    from pare.findings.model import FindingJson

# An end is asked for, so that somebody looks again; half a year is often enough.
EXEMPT_DAYS = 180
_DEPLOY = "npx cdk deploy --all"
_RECONCILE = "pare findings reconcile"
_NAME = re.compile(r"[A-Za-z0-9._:/@+=,][A-Za-z0-9._:/@+=,-]*")
_DEPLOYED = frozenset({"AnalyzerMissing", "AnalyzerDeleted"})
_FEDERATED = frozenset({"federated"})


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence, and the lines of a command where there is one."""

    text: str
    command: tuple[str, ...] = ()

    def in_one_line(self) -> str:
        """Return the step for a chat card, its command as a code span."""
        if not self.command:
            return self.text
        joined = " ".join(line.strip().removesuffix("\\").strip() for line in self.command)
        return f"{self.text} `{joined.translate(_NO_SPAN_END)}`"


# What would end a code span or be read inside one (pare/chat_card.py).
_NO_SPAN_END = str.maketrans({"`": "'", "<": "(", ">": ")", "|": "/", "&": "+"})


def argument(value: object, placeholder: str) -> str:
    """Return a value as one argument of a command, or a placeholder where it needs quotes.

    No id, name or ARN of AWS does: one that does comes from somebody else.
    """
    text = str(value)
    is_name = _NAME.fullmatch(text) and len(text) <= 600 and unlinked(text) == text
    return text if is_name else placeholder


def show_command(finding: FindingJson) -> str:
    """Return the command that shows all that is known of a finding."""
    return f"pare findings show {argument(finding['finding_id'], 'ID')}"


def archive_command(finding_id: str, reason: str, now: datetime) -> tuple[str, ...]:
    """Return the command that archives what is meant, in every Region, with a reason and an end."""
    expires = (now + timedelta(days=EXEMPT_DAYS)).date().isoformat()
    return (
        f"pare findings archive {argument(finding_id, 'ID')} \\",
        f'  --all-regions --reason "{reason}" --expires {expires}',
    )


def steps_of(
    view: CardViewJson,
    findings: Sequence[FindingJson],
    say: Words,
    *,
    now: datetime,
) -> list[Step]:
    """Return what to do, in order; a card that is over asks for nothing, or to look again."""
    finding, news = findings[0], view["news"]
    if news == "closed":
        return [Step(say("closed_nothing"))]
    if news == "archived":
        command = f"pare findings unarchive {argument(finding['finding_id'], 'ID')} --all-regions"
        return [Step(say("archived_nothing")), Step(say("archived_open"), (command,))]
    if news == "unwatched":
        region = say.safe(finding["region"], 40)
        return [
            Step(say("unwatched_analyzer", region=region), (_DEPLOY,)),
            Step(say("unwatched_look")),
            Step(say("unwatched_reconcile"), (_RECONCILE,)),
        ]
    return _of_open(view, findings, say, now)


def numbered(steps: Sequence[Step], say: Words) -> str:
    """Return the steps of a mail; a command stands on lines of its own, to be copied."""
    if len(steps) == 1 and not steps[0].command:
        return fill(say("to_do_one", step=steps[0].text), after="  ")
    lines = [paragraph(say("to_do"))]
    for number, step in enumerate(steps, 1):
        begin = say("step", number=number) + " "
        lines.append(fill(step.text, first=begin, after=" " * len(begin)))
        lines += [" " * (len(begin) + 2) + line for line in step.command]
    return "\n".join(lines)


def _of_open(
    view: CardViewJson, findings: Sequence[FindingJson], say: Words, now: datetime
) -> list[Step]:
    finding = findings[0]
    if finding["error"]:
        return _of_error(finding, say)
    if finding["access"] == "watch":
        return _of_watch(view, finding, say)
    if finding["access"] == "unused":
        return _of_unused(view, finding, say, now)
    archive = archive_command(finding["finding_id"], say("archive_reason"), now)
    return [
        Step(say(_asking(finding), owner=_owner(view, finding, say))),
        Step(say(_fix(finding))),
        Step(
            say("meant_many" if len(findings) > 1 else "meant"),
            archive,
        ),
    ]


def _asking(finding: FindingJson) -> str:
    if finding["is_public"] or finding["exposure"] == "public":
        return "ask_public"
    key = f"ask_{finding['exposure']}"
    if TEXTS.has(key):
        return key
    is_inside = finding["access"] == "internal" or finding["exposure"] in {
        "organization", "account", "service",
    }  # fmt: skip
    return "ask_inside" if is_inside else "ask_outside"


def _fix(finding: FindingJson) -> str:
    """Return the key of what to do where the access is not meant."""
    if finding["access"] == "internal":
        return "fix_internal"
    key = type_key("fix", finding["resource_type"])
    is_public = finding["is_public"] or finding["exposure"] == "public"
    if is_public and TEXTS.has(f"{key}_public"):
        return f"{key}_public"
    if finding["exposure"] in _FEDERATED and TEXTS.has(f"{key}_federated"):
        return f"{key}_federated"
    return key if TEXTS.has(key) else "fix_other"


def _owner(view: CardViewJson, finding: FindingJson, say: Words) -> str:
    owner = view["card"]["owner"]
    if owner:
        return say.safe(owner, 60)
    card = view["card"]
    account = say.account(card["account_id"], card["account_name"])
    return say("someone", account=account)


def _of_error(finding: FindingJson, say: Words) -> list[Step]:
    key = f"error_{str(finding['error']).lower()}"
    meanwhile = "error_meanwhile"
    if finding["access"] == "unused":
        meanwhile = "error_meanwhile_unused"
    return [Step(say(key if TEXTS.has(key) else "error_other")), Step(say(meanwhile))]


def _of_watch(view: CardViewJson, finding: FindingJson, say: Words) -> list[Step]:
    key = f"watch_{kind_of(finding)}"
    if not TEXTS.has(key):
        return [Step(say("watch_other"))]
    command = (_DEPLOY,) if finding["finding_type"] in _DEPLOYED else ()
    steps = [Step(say(key, owner=_owner(view, finding, say)), command)]
    if finding["finding_type"] != "ExemptionExpiring":
        steps.append(Step(say("unwatched_reconcile"), (_RECONCILE,)))
    return steps


def _of_unused(view: CardViewJson, finding: FindingJson, say: Words, now: datetime) -> list[Step]:
    archive = Step(
        say("meant_unused"),
        archive_command(finding["finding_id"], say("archive_reason_unused"), now),
    )
    if finding["finding_type"] == "UnusedPermission":
        return [*_of_permissions(view, say), archive]
    name = argument(name_of(finding["resource"]), "NAME")
    key_id = argument(finding["access_key_id"] or "", "KEY")
    commands = {
        "UnusedIAMRole": (f"pare explain {argument(finding['resource'], 'ARN')}",),
        "UnusedIAMUserAccessKey": (
            f"aws iam update-access-key --user-name {name} \\",
            f"  --access-key-id {key_id} --status Inactive",
        ),
        "UnusedIAMUserPassword": (f"aws iam delete-login-profile --user-name {name}",),
    }
    ask = Step(say("ask_unused", owner=_owner(view, finding, say)))
    key = f"fix_{kind_of(finding)}"
    if not TEXTS.has(key):
        return [ask, archive]
    return [ask, Step(say(key), commands[finding["finding_type"]]), archive]


def _of_permissions(view: CardViewJson, say: Words) -> list[Step]:
    note = view["card"]["proposal"]
    if note is None:
        return [Step(say("permission_wait"))]
    where = (plain("s3://{bucket}/{key}".format(**note["proposal"]), 1_200),)
    key = f"permission_{note['verdict']}"
    steps = [Step(say(key if TEXTS.has(key) else "permission_review"), where)]
    if note["verdict"] == "refused" and note["reasons"]:
        shown = [sentence(say.safe(each, 200)) for each in note["reasons"][:3]]
        reasons = " ".join(shown)
        steps.append(Step(say("permission_reason", reasons=reasons)))
    return steps
