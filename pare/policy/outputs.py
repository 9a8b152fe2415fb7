"""A stored proposal in the forms people use it in: files for their tools, pages for their eyes.

| Form | What it is |
| --- | --- |
| json | the policy documents as IAM takes them, one after another (a stream that ``jq`` reads) |
| terraform | managed policies and their attachment, in HCL |
| cloudformation | the same, in YAML |
| markdown | a page for a pull request |
| text | what a terminal shows |

The same proposal gives the same bytes. Where no policy is proposed, ``json`` is empty, and
``terraform`` and ``cloudformation`` are comments that say why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from pare.policy.difference import as_markdown, as_text
from pare.policy.output_cloudformation import cloudformation, why_no_template
from pare.policy.output_escapes import comment, json_text
from pare.policy.output_markdown import markdown_page
from pare.policy.output_terraform import terraform
from pare.policy.output_text import text_page
from pare.policy.output_words import (
    OPENINGS,
    coverage_line,
    how_to_apply,
    level_of,
    no_new_access_line,
    ordered,
    reason_text,
    reasons,
    replay_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Form = Literal["json", "terraform", "cloudformation", "markdown", "text"]
FORMS: tuple[Form, ...] = get_args(Form)

# Form -> name in a folder; the policies of the form json are numbered from 1.
_FILE_NAMES: Mapping[Form, str] = {
    "json": "policy-{number}.json",
    "terraform": "policy.tf",
    "cloudformation": "policy.cloudformation.yaml",
    "markdown": "proposal.md",
    "text": "proposal.txt",
}
WHOLE_PROPOSAL = "proposal.json"
# Where the lists of the difference are that a page cuts.
_COMPLETE_ON_A_PAGE = f"`jq .difference {WHOLE_PROPOSAL}`"
_COMPLETE_ON_A_TERMINAL = f"`jq .difference {WHOLE_PROPOSAL}` (`-o DIR` writes it)"
_REASONS_IN_A_COMMENT = 20


def render(proposal: Mapping[str, Any], form: Form) -> str:
    """Return a proposal in one form."""
    return _rendered(proposal, form, _documents(proposal))


def _rendered(proposal: Mapping[str, Any], form: Form, documents: Sequence[str]) -> str:
    """Return a proposal in one form; ``documents`` are its policies as text."""
    found = proposal.get("difference")
    if form == "json":
        return "".join(documents)
    if form == "markdown":
        difference = as_markdown(found, complete_in=_COMPLETE_ON_A_PAGE) if found else ""
        return markdown_page(proposal, documents, difference)
    if form == "text":
        return text_page(
            proposal, as_text(found, complete_in=_COMPLETE_ON_A_TERMINAL) if found else ""
        )
    if not proposal["documents"]:
        return _header(proposal) + "\n"
    if form == "terraform":
        return terraform(proposal, _header(proposal))
    if why := why_no_template(proposal):
        return f"{_header(proposal)}\n#\n{comment(f'No template: {why}')}\n"
    return cloudformation(proposal, _header(proposal))


def file_name(form: Form, number: int = 1) -> str:
    """Return what a form is called in a folder; ``number`` counts the policies of ``json``."""
    return _FILE_NAMES[form].format(number=number)


def files_of(proposal: Mapping[str, Any], forms: Iterable[Form]) -> dict[str, str]:
    """Return file name -> text: the forms asked for, and always the whole proposal.

    Without a proposed policy there are no policy files, and the page says why whatever was asked.
    """
    wanted = {*forms}
    if not proposal["documents"]:
        wanted = (wanted & {"text"}) | {"markdown"}
    documents = _documents(proposal)
    files = {WHOLE_PROPOSAL: json_text(proposal, sort_keys=True, indent=None) + "\n"}
    for form in (each for each in FORMS if each in wanted):
        if form == "json":
            files |= {file_name("json", n): each for n, each in enumerate(documents, 1)}
        else:
            files[file_name(form)] = _rendered(proposal, form, documents)
    return files


def _documents(proposal: Mapping[str, Any]) -> list[str]:
    return [json_text(ordered(document)) + "\n" for document in proposal["documents"]]


def _header(proposal: Mapping[str, Any]) -> str:
    """Return what a reviewer must know before the first line of code, as comments."""
    verdict = proposal["verdict"]
    lines = [
        f"{'Proposed' if proposal['documents'] else 'Not proposed'} by Pare for "
        f"{proposal['principal_arn']}",
        f"Verdict: {verdict}. {OPENINGS[verdict]}",
    ]
    if proposal["documents"]:
        lines += [
            f"Replay: {replay_line(proposal.get('replay'))}.",
            f"New access: {no_new_access_line(proposal.get('no_new_access'))}.",
        ]
    lines.append(f"Read: {coverage_line(proposal['coverage'])}.")
    found = reasons(proposal)
    if found and verdict != "ready":
        lines.append("Why, and what to do:")
        lines += [f"- {level_of(each)}: {reason_text(each)}" for each in found][
            :_REASONS_IN_A_COMMENT
        ]
        if len(found) > _REASONS_IN_A_COMMENT:
            lines.append(f"- and {len(found) - _REASONS_IN_A_COMMENT:,} more")
    if proposal["documents"]:
        lines.append(how_to_apply(proposal))
    return "\n".join(comment(line, limit=2_000) for line in lines)
