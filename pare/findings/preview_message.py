"""What people are told about an access preview: what a policy not yet in force would open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pare.chat_card import card as chat_card
from pare.findings.model import Finding
from pare.findings.phrases import Words, condition, in_chat, in_mail, may, moment, whom
from pare.findings.phrases import resource_in_words as resource
from pare.findings.steps import Step, argument, numbered
from pare.message import Message, bullet, headline, paragraph, plain, rows, subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.findings.model import FindingJson
    from pare.findings.preview import PreviewFindingJson, PreviewJson

LISTED_PREVIEW = 10


def preview_message(
    preview: PreviewJson, findings: Sequence[PreviewFindingJson] | None, language: str
) -> Message:
    """Return the message about an access preview: what a policy not yet in force would open.

    ``findings``: those that the preview says there would be (NEW and CHANGED); None where they
    could not be read.
    """
    say = in_mail(language)
    title = _preview_title(preview, findings, say)
    items = [_preview_item(each, say) for each in findings or ()]
    steps = _preview_steps(preview, findings, say)
    parts = [
        headline(title),
        paragraph(_preview_lead(preview, say)),
        rows([
            (say("label_what"), say.listed(preview["configured_resources"], 5)),
            (say("label_account"), say.safe(preview["account_id"], 20)),
            (say("label_region"), say.safe(preview["region"], 40)),
            (say("label_asked"), moment(preview["created_at"], say)),
            (say("label_analyzer"), say.safe(preview["analyzer_arn"], 300)),
            (say("label_preview"), say.safe(preview["preview_id"], 100)),
        ]),
        _preview_list(items, say),
        numbered(steps, say),
    ]  # fmt: skip
    return Message(
        subject=subject(say("subject_plain", title=title), ascii_only=language == "en"),
        text="\n\n".join(part for part in parts if part) + "\n",
        attributes={
            "kind": "preview",
            "news": preview["status"].lower(),
            "account_id": plain(preview["account_id"], 100),
            "audience": ["security"],
        },
        facts={
            "kind": "preview",
            "preview": preview,
            "findings": None if findings is None else list(findings),
        },
        card=_preview_chat(preview, findings, in_chat(language)),
    )


def _preview_what(preview: PreviewJson, say: Words) -> str:
    resources = preview["configured_resources"]
    if len(resources) == 1:
        return say.safe(resources[0].rpartition(":")[2] or resources[0], 60)
    return say.safe(preview["preview_id"], 60)


def _preview_title(
    preview: PreviewJson, findings: Sequence[PreviewFindingJson] | None, say: Words
) -> str:
    what = _preview_what(preview, say)
    if preview["status"] == "CREATING":
        return say("preview_title_creating", what=what)
    if preview["status"] == "FAILED":
        return say("preview_title_failed", what=what)
    if findings is None:
        return say("preview_title_unknown", what=what)
    if not findings:
        return say("preview_title_nothing", what=what)
    return say("preview_title_completed", what=what, count=len(findings))


def _preview_lead(preview: PreviewJson, say: Words) -> str:
    key = f"preview_lead_{preview['status'].lower()}"
    if preview["status"] == "FAILED":
        code = preview["reason_code"]
        reason = say.word("preview_reason", code) if code else say("preview_reason_unknown")
        return say(key, reason=reason)
    return say(key)


def _preview_item(finding: PreviewFindingJson, say: Words) -> str:
    what = resource(finding["resource_type"], finding["resource"], say)
    if finding["error"]:
        return say("preview_item_error", what=what, error=say.safe(finding["error"], 100))
    known = _as_finding(finding)
    line = say(
        "preview_item",
        what=what,
        whom=whom(known, say),
        may=may(known, say),
        condition=condition(known, say),
    )
    existing = finding["existing_finding_id"]
    if existing:
        line += say("sentence_between") + say("preview_changed", id=say.safe(existing, 60))
    return line


def _as_finding(finding: PreviewFindingJson) -> FindingJson:
    return Finding(
        finding_id=finding["finding_id"],
        access="external",
        finding_type="ExternalAccess",
        status=finding["status"],
        is_deleted=False,
        account_id=finding["account_id"],
        region="",
        analyzer_arn="",
        resource=finding["resource"],
        resource_type=finding["resource_type"],
        created_at="",
        updated_at="",
        analyzed_at="",
        is_public=finding["is_public"],
        principal=tuple(sorted(finding["principal"].items())),
        actions=tuple(finding["actions"]),
        condition=tuple(sorted(finding["condition"].items())),
    ).to_json()


def _preview_list(items: Sequence[str], say: Words) -> str:
    if not items:
        return ""
    lines = [paragraph(say("preview_would")), *map(bullet, items[:LISTED_PREVIEW])]
    if len(items) > LISTED_PREVIEW:
        lines.append(bullet(say("left_out_more", count=len(items) - LISTED_PREVIEW)))
    return "\n".join(lines)


def _preview_steps(
    preview: PreviewJson, findings: Sequence[PreviewFindingJson] | None, say: Words
) -> list[Step]:
    if preview["status"] == "CREATING":
        return [Step(say("preview_wait"))]
    if preview["status"] == "FAILED":
        is_invalid = preview["reason_code"] == "INVALID_CONFIGURATION"
        return [Step(say("preview_invalid" if is_invalid else "preview_again"))]
    if findings is None:
        return [Step(say("preview_look"), _preview_command(preview))]
    if not findings:
        return [Step(say("preview_nothing"))]
    return [Step(say("preview_ask")), Step(say("preview_before"))]


def _preview_command(preview: PreviewJson) -> tuple[str, ...]:
    return (
        "aws accessanalyzer list-access-preview-findings \\",
        f"  --access-preview-id {argument(preview['preview_id'], 'ID')} \\",
        f"  --analyzer-arn {argument(preview['analyzer_arn'], 'ARN')} \\",
        f"  --region {argument(preview['region'], 'REGION')}",
    )


def _preview_chat(
    preview: PreviewJson, findings: Sequence[PreviewFindingJson] | None, say: Words
) -> dict[str, Any]:
    items = [f"• {_preview_item(each, say)}" for each in (findings or ())[:LISTED_PREVIEW]]
    more = len(findings or ()) - LISTED_PREVIEW
    return chat_card(
        title=_preview_title(preview, findings, say),
        lines=[
            _preview_lead(preview, say),
            f"• {say('label_account')}: {say.safe(preview['account_id'], 20)}",
            f"• {say('label_region')}: {say.safe(preview['region'], 40)}",
            *items,
            *([say("left_out_more", count=more)] if more > 0 else []),
        ],
        more="…",
        next_steps=[step.in_one_line() for step in _preview_steps(preview, findings, say)],
        keywords=["Pare", "access preview"],
        thread_id=f"preview-{plain(preview['preview_id'], 100)}",
    )
