"""Why a finding of cdk-nag stands: said on the resource it is about, never on a stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk

if TYPE_CHECKING:
    from constructs import IConstruct

WILDCARD = "AwsSolutions-IAM5"


def explain(scope: IConstruct, rule: str, reason: str, *findings: str) -> None:
    """Record why a rule's findings on this resource are accepted.

    A rule with several findings on one resource wants each of them named; they may hold tokens.
    """
    for identifier in [f"{rule}[{_shown(scope, each)}]" for each in findings] or [rule]:
        cdk.Validations.of(scope).acknowledge(
            cdk.Acknowledgment(id=f"AwsSolutions::{identifier}", reason=reason)
        )


def _shown(scope: IConstruct, text: str) -> str:
    """Return a finding as cdk-nag writes it, where references to resources stand for themselves."""
    return _flat(cdk.Stack.of(scope).resolve(text))


def _flat(value: Any) -> str:
    match value:
        case str():
            return value
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::ImportValue": str(name)}:
            return name
        case {"Fn::Join": ["", list(parts)]}:
            return "".join(_flat(part) for part in parts)
    return json.dumps(value, separators=(",", ":"))
