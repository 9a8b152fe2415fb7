"""A proposal as Terraform: each document a managed policy, attached to the principal by name.

``jsonencode`` of an object, not ``aws_iam_policy_document``: that data source rewrites what it is
given (``&{`` becomes a policy variable, lists and conditions change their shape), and the proof was
made for these very documents. Laid out as ``terraform fmt`` does: a diff shows changes only.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pare.policy.output_escapes import comment, hcl_string
from pare.policy.output_words import (
    any_text,
    basis_by_sid,
    is_normalized,
    names_of,
    ordered,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.policy.output_words import Names

_STEP = "  "
# `for` and `null` mean something where a key is expected; IAM's elements begin with a capital.
_BARE_KEY = re.compile(r"[A-Z][A-Za-z]*")


def terraform(proposal: Mapping[str, Any], header: str) -> str:
    """Return one file of HCL: a variable for the principal's name, then policy and attachment."""
    names = names_of(proposal["principal_arn"])
    basis = basis_by_sid(proposal)
    variable = (
        f'variable "{names.label}_name" {{\n'
        f"  description = {hcl_string(f'Name of the IAM {names.entity} that gets the policies.')}\n"
        f"  type        = string\n"
        f"  default     = {hcl_string(names.name)}\n"
        "}"
    )
    policies = [
        _policy(names, number, document, basis)
        for number, document in enumerate(proposal["documents"], 1)
    ]
    return "\n\n".join([header, variable, *policies]) + "\n"


def _policy(names: Names, number: int, document: dict[str, Any], basis: dict[str, str]) -> str:
    resource = f"{names.label}_{number}"
    # A description cannot be changed: another one would make Terraform replace the policy.
    # https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicy.html
    return f"""\
resource "aws_iam_policy" "{resource}" {{
  name        = {hcl_string(names.policy_name(number))}
  description = "What this {names.entity} was seen to need (Pare)."
{_policy_argument(document, basis)}
}}

resource "aws_iam_{names.entity}_policy_attachment" "{resource}" {{
  {names.entity:<10} = var.{names.label}_name
  policy_arn = aws_iam_policy.{resource}.arn
}}"""


def _policy_argument(document: dict[str, Any], basis: dict[str, str]) -> str:
    """Return the argument ``policy``.

    Terraform turns every string into Unicode's form NFC, which would name another object of S3:
    a document with other forms is given as JSON in ASCII, which it leaves alone.
    https://github.com/hashicorp/hcl/blob/main/hclsyntax/spec.md
    """
    document = ordered(document)
    if any_text(document, lambda text: not is_normalized(text)):
        note = comment("As JSON, since Terraform would change some letters.", indent=_STEP)
        return f"{note}\n  policy = {hcl_string(json.dumps(document))}"
    return f"  policy = jsonencode({_expression(document, _STEP, basis)})"


def _expression(value: Any, indent: str, basis: Mapping[str, str]) -> str:
    """Return a JSON value as an expression; a statement has its evidence as a comment over it."""
    inner = indent + _STEP
    if isinstance(value, str):
        return hcl_string(value)
    if isinstance(value, dict) and value:
        return "{\n" + _attributes(value, inner, basis) + f"{indent}}}"
    if isinstance(value, list) and (len(value) > 1 or any(isinstance(v, dict) for v in value)):
        items = "".join(
            f"{_comment_over(each, inner, basis)}{inner}{_expression(each, inner, basis)},\n"
            for each in value
        )
        return f"[\n{items}{indent}]"
    if isinstance(value, list):
        return "[" + "".join(_expression(each, indent, basis) for each in value) + "]"
    return "{}" if value == {} else json.dumps(value)


def _attributes(value: dict[str, Any], indent: str, basis: Mapping[str, str]) -> str:
    """Return the lines of an object; equals signs stand under each other while lines are single."""
    lines = [
        (key if _BARE_KEY.fullmatch(key) else hcl_string(key), _expression(each, indent, basis))
        for key, each in value.items()
    ]
    text, run = "", list[tuple[str, str]]()
    for key, expression in lines:
        if "\n" in expression:
            text += _aligned(run, indent) + f"{indent}{key} = {expression}\n"
            run = []
        else:
            run.append((key, expression))
    return text + _aligned(run, indent)


def _aligned(run: list[tuple[str, str]], indent: str) -> str:
    width = max((len(key) for key, _ in run), default=0)
    return "".join(f"{indent}{key:<{width}} = {expression}\n" for key, expression in run)


def _comment_over(value: Any, indent: str, basis: Mapping[str, str]) -> str:
    said = basis.get(value.get("Sid") or "") if isinstance(value, dict) else None
    return comment(said, indent=indent) + "\n" if said else ""
