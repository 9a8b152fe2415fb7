"""A proposal as a CloudFormation template in YAML: each document a managed policy.

YAML, because people read it and a statement can carry its evidence as a comment; written here,
because the few shapes of a policy need no library where Pare runs. No ``Fn::Sub``: ``${}`` stays
text. The policies get their names from CloudFormation, so that a replacement never collides.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pare.message import plain
from pare.policy.output_escapes import comment, yaml_string
from pare.policy.output_words import any_text, basis_by_sid, names_of, ordered, replay_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEP = "  "
_DESCRIPTION_LIMIT = 1_000
# CloudFormation replaces it in any text, after all functions: there is no way to write it.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
_DYNAMIC_REFERENCE = "{{resolve:"


def why_no_template(proposal: Mapping[str, Any]) -> str:
    """Return why CloudFormation cannot be given these documents, or nothing."""
    if any_text(proposal["documents"], lambda text: _DYNAMIC_REFERENCE in text):
        return (
            f"The policy has a text with {_DYNAMIC_REFERENCE} in it, which CloudFormation would "
            "replace with a parameter or a secret. Use the JSON or Terraform form."
        )
    return ""


def cloudformation(proposal: Mapping[str, Any], header: str) -> str:
    """Return the template; it needs CAPABILITY_IAM. See ``why_no_template`` first."""
    names = names_of(proposal["principal_arn"])
    basis = basis_by_sid(proposal)
    principal = {"Roles" if names.entity == "role" else "Users": [{"Ref": "PrincipalName"}]}
    description = f"Verdict: {proposal['verdict']}. {replay_line(proposal.get('replay'))}. " + (
        f"Proposed by Pare for {proposal['principal_arn']}"
    )
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        # At most 1,024 bytes: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/
        # template-description-structure.html
        "Description": plain(description.encode("ascii", "replace").decode(), _DESCRIPTION_LIMIT),
        "Parameters": {
            "PrincipalName": {
                "Type": "String",
                "Description": f"Name of the IAM {names.entity} that gets the policies.",
                "Default": names.name,
            }
        },
        "Resources": {
            f"{names.logical_id}Policy{number}": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    # Another description would make CloudFormation replace the policy.
                    "Description": f"What this {names.entity} was seen to need (Pare).",
                    **principal,
                    "PolicyDocument": ordered(document),
                },
            }
            for number, document in enumerate(proposal["documents"], 1)
        },
    }
    return f"{header}\n\n{_mapping(template, '', basis)}"


def _mapping(value: dict[str, Any], indent: str, basis: Mapping[str, str]) -> str:
    return "".join(
        f"{indent}{yaml_string(key)}:{_value(each, indent + _STEP, basis)}"
        for key, each in value.items()
    )


def _sequence(value: list[Any], indent: str, basis: Mapping[str, str]) -> str:
    lines = ""
    for each in value:
        if isinstance(each, dict) and each:
            said = basis.get(each.get("Sid") or "")
            body = _mapping(each, indent + _STEP, basis)
            lines += comment(said, indent=indent) + "\n" if said else ""
            lines += f"{indent}- {body[len(indent) + len(_STEP) :]}"
        else:
            lines += f"{indent}-{_value(each, indent + _STEP, basis)}"
    return lines


def _value(value: Any, indent: str, basis: Mapping[str, str]) -> str:
    """Return what follows a colon or a hyphen, with the end of its line."""
    if isinstance(value, dict) and value:
        return "\n" + _mapping(value, indent, basis)
    if isinstance(value, list) and value:
        return "\n" + _sequence(value, indent, basis)
    if isinstance(value, str):
        return f" {yaml_string(value)}\n"
    return f" {json.dumps(value)}\n"
