"""What to do about a card, step by step, with the commands that do it.

Pare runs none of them: a person does. No value in them needs quotes for a shell.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pare.chat_card import fits_step
from pare.findings.agreement import usd_per_principal_month
from pare.findings.card_view import archived_before, part_of
from pare.findings.links import name_of
from pare.findings.phrases import TEXTS, Words, account_in, kind_of, type_key
from pare.message import fill, paragraph, plain, sentence, unlinked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pare.findings.card import CardViewJson
    from pare.findings.model import FindingJson

# An end is asked for, so that somebody looks again; half a year is often enough.
EXEMPT_DAYS = 180
# A command that changes an account comes after this: it says which account one is signed in to.
_SIGNED_IN = "aws sts get-caller-identity"
_UNUSED_DAYS = 90
_RECONCILE = "pare findings reconcile"
_NAME = re.compile(r"[A-Za-z0-9._:/@+=,][A-Za-z0-9._:/@+=,-]*")
_ANALYZER_IS_GONE = frozenset({"AnalyzerMissing", "AnalyzerDeleted"})
_FEDERATED = frozenset({"federated"})


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence, and the lines of a command where there is one."""

    text: str
    command: tuple[str, ...] = ()

    def in_one_line(self, instead: str = "") -> str:
        """Return the step for a chat card, its command as a code span, without what to check.

        ``instead``: what is said in place of a command that a card has no room for.
        """
        if not self.command:
            return self.text
        lines = [line for line in self.command if line != _SIGNED_IN]
        joined = " ".join(line.strip().removesuffix("\\").strip() for line in lines)
        whole = f"{self.text} `{joined.translate(_NO_SPAN_END)}`"
        if fits_step(whole):
            return whole
        return f"{self.text} {instead}" if instead else self.text.removesuffix(":")


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


def key_command(finding: FindingJson) -> tuple[str, ...]:
    """Return the commands that make an unused access key inactive."""
    name = argument(name_of(finding["resource"]), "NAME")
    key_id = argument(finding["access_key_id"] or "", "KEY")
    return (
        _SIGNED_IN,
        f"aws iam update-access-key --user-name {name} \\",
        f"  --access-key-id {key_id} --status Inactive",
    )


def folder_of(proposal: Mapping[str, str]) -> str:
    """Return the address of a proposal's folder, which all that is said of it names."""
    folder = proposal["key"].rpartition("/")[0]
    return f"s3://{proposal['bucket']}/{folder}/"


def download_command(proposal: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command that brings a proposal's files to a folder of their own."""
    return (
        "aws s3 cp --recursive \\",
        f"  {shlex.quote(plain(folder_of(proposal), 1_200))} proposal/",
    )


def steps_of(
    view: CardViewJson,
    findings: Sequence[FindingJson],
    say: Words,
    *,
    now: datetime,
) -> list[Step]:
    """Return what to do, in order; a card that is over asks for nothing, or to look again."""
    news = view["news"]
    parts = [part_of(view, each) for each in findings]
    if "unwatched" in parts or news == "unwatched":
        return _of_unwatched(findings[parts.index("unwatched") if "unwatched" in parts else 0], say)
    if "archived" in parts:
        archived = findings[parts.index("archived")]
        command = f"pare findings unarchive {argument(archived['finding_id'], 'ID')} --all-regions"
        return [Step(say("archived_nothing")), Step(say("archived_open"), (command,))]
    if "closed" in parts:
        is_left = news == "archived" and archived_before(view)
        return [Step(say("closed_left" if is_left else "closed_nothing"))]
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
        return _of_watch(view, finding, say, now)
    if finding["access"] == "unused":
        return _of_unused(view, finding, say, now)
    archive = archive_command(finding["finding_id"], say("archive_reason"), now)
    return [
        Step(say(_asking(finding), owner=_owner(view, finding, say))),
        Step(say(_fix(finding), account=_account(view, say))),
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
    return say("someone", account=_account(view, say))


def _account(view: CardViewJson, say: Words) -> str:
    card = view["card"]
    return say.account(card["account_id"], card["account_name"])


def _of_error(finding: FindingJson, say: Words) -> list[Step]:
    key = f"error_{str(finding['error']).lower()}"
    meanwhile = "error_meanwhile"
    if finding["access"] == "unused":
        meanwhile = "error_meanwhile_unused"
    return [Step(say(key if TEXTS.has(key) else "error_other")), Step(say(meanwhile))]


def _of_watch(view: CardViewJson, finding: FindingJson, say: Words, now: datetime) -> list[Step]:
    finding_type = finding["finding_type"]
    key = f"watch_{kind_of(finding)}"
    if not TEXTS.has(key):
        return [Step(say("watch_other"))]
    if finding_type == "ExemptionExpiring":
        return _of_exemption(view, finding, say, now)
    steps = [Step(say(key))]
    if finding_type in _ANALYZER_IS_GONE:
        values = finding["values"]
        steps += _create_analyzer(
            kind=str(values.get("kind") or "external"),
            name=str(values.get("analyzer") or "pare"),
            region=finding["region"],
            account=_account(view, say),
            say=say,
            by_settings=values.get("by_settings"),
        )
    return [*steps, Step(say("reconcile"), (_RECONCILE,))]


def _of_exemption(
    view: CardViewJson, finding: FindingJson, say: Words, now: datetime
) -> list[Step]:
    """Return how an exemption is extended: by the id of the finding that announces its end."""
    owner = _owner(view, finding, say)
    steps = [Step(say("watch_exemptionexpiring", owner=owner))]
    if finding["values"].get("what") == "exemption":
        extend = archive_command(finding["finding_id"], say("archive_reason"), now)
        return [*steps, Step(say("exemption_extend"), extend), Step(say("exemption_end"))]
    return [*steps, Step(say("exemption_rule_extend")), Step(say("exemption_rule_end"))]


def _of_unwatched(finding: FindingJson, say: Words) -> list[Step]:
    arn, region = finding["analyzer_arn"], say.safe(finding["region"], 40)
    steps = [Step(say("unwatched_analyzer", region=region))]
    account_id = account_in(arn)
    if account_id is not None:
        steps += _create_analyzer(
            kind=finding["access"],
            name=arn.rpartition("/")[2],
            region=finding["region"],
            account=say.account(account_id, None),
            say=say,
        )
    return [*steps, Step(say("reconcile"), (_RECONCILE,))]


def _create_analyzer(
    *,
    kind: str,
    name: str,
    region: str,
    account: str,
    say: Words,
    by_settings: bool | None = None,
) -> list[Step]:
    """Return how an analyzer that was deleted comes back.

    ``by_settings``: whether the settings create it; None: nobody knows, so both ways are said.
    CloudFormation does not see that one is gone: a deployment without a change creates nothing.
    https://docs.aws.amazon.com/cli/latest/reference/accessanalyzer/create-analyzer.html
    """
    create = f"aws accessanalyzer create-analyzer --analyzer-name {argument(name, 'NAME')} \\"
    where = f"--region {argument(region, 'REGION')}"
    if kind == "external":
        if by_settings:
            return [Step(say("analyzer_settings_only"))]
        command = (_SIGNED_IN, create, f"  --type ORGANIZATION {where}")
        if by_settings is False:
            return [Step(say("analyzer_create_missing", account=account), command)]
        return [
            Step(say("analyzer_create", account=account), command),
            Step(say("analyzer_settings")),
        ]
    if kind == "unused":
        price = f"{usd_per_principal_month():.2f}"
        if by_settings:
            return [Step(say("analyzer_settings_unused_only", price=price))]
        configuration = f'{{"unusedAccess":{{"unusedAccessAge":{_UNUSED_DAYS}}}}}'
        unused = (
            _SIGNED_IN,
            create,
            f"  --type ORGANIZATION_UNUSED_ACCESS {where} \\",
            f"  --configuration '{configuration}'",
        )
        return [
            Step(say("analyzer_create_unused", account=account), unused),
            Step(say("analyzer_settings_unused", price=price)),
        ]
    return [Step(say("analyzer_create_other", account=account))]


def _of_unused(view: CardViewJson, finding: FindingJson, say: Words, now: datetime) -> list[Step]:
    archive = Step(
        say("meant_unused"),
        archive_command(finding["finding_id"], say("archive_reason_unused"), now),
    )
    if finding["finding_type"] == "UnusedPermission":
        return [*_of_permissions(view, say), archive]
    name = argument(name_of(finding["resource"]), "NAME")
    commands = {
        "UnusedIAMRole": (f"pare explain {argument(finding['resource'], 'ARN')}",),
        "UnusedIAMUserAccessKey": key_command(finding),
        "UnusedIAMUserPassword": (
            _SIGNED_IN,
            f"aws iam delete-login-profile --user-name {name}",
        ),
    }
    ask = Step(say("ask_unused", owner=_owner(view, finding, say)))
    key = f"fix_{kind_of(finding)}"
    if not TEXTS.has(key):
        return [ask, archive]
    text = say(key, account=_account(view, say))
    return [ask, Step(text, commands[finding["finding_type"]]), archive]


def _of_permissions(view: CardViewJson, say: Words) -> list[Step]:
    note = view["card"]["proposal"]
    if note is None:
        return [Step(say("permission_wait"))]
    key = f"permission_{note['verdict']}"
    key = key if TEXTS.has(key) else "permission_review"
    steps = [Step(say(key), download_command(note["proposal"]))]
    if note["verdict"] == "refused" and note["reasons"]:
        shown = [sentence(say.safe(each, 200)) for each in note["reasons"][:3]]
        reasons = " ".join(shown)
        steps.append(Step(say("permission_reason", reasons=reasons)))
    return steps
