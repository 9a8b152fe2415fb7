"""ValidatePolicy and CheckNoNewAccess at a useful depth (facts §1).

ValidatePolicy finds what matters for policies Pare proposes: syntax, unknown services and actions,
malformed ARNs, missing elements, iam:PassRole on everything, size. CheckNoNewAccess is sound: it
says PASS only if every allowed action on every resource was allowed before; what it cannot decide
is FAIL, as in AWS.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from local.emulator.paging import invalid
from local.emulator.positions import PositionError, Positions
from pare.policy.catalogue import load_catalogue
from pare.policy.patterns import has_wildcard, wildcard_regex

_REFERENCE = (
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html"
)
_ANCHOR = "access-analyzer-reference-policy-checks"
_VERSIONS = frozenset({"2012-10-17", "2008-10-17"})
_ELEMENTS = frozenset(
    {
        "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource",
        "NotResource", "Condition",
    }
)  # fmt: skip
_ARN = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:.+", re.DOTALL)
_MAX_MANAGED_POLICY = 6144
_NEW_ACCESS = "The modified permissions grant new access compared to your existing policy."
_NO_NEW_ACCESS = "The updated policy does not grant new access compared to the existing policy."

Path = tuple[str | int, ...]


# ValidatePolicy


@dataclass(frozen=True, slots=True)
class _Finding:
    type: str
    code: str
    details: str
    path: Path


def validate_policy(params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings of a policy document, in the order of the document."""
    text = params["policyDocument"]
    try:
        positions = Positions(text)
    except PositionError as error:
        return [_syntax_error(text, error)]
    document = positions.value
    found = _document_findings(document, params["policyType"])
    if params["policyType"] == "IDENTITY_POLICY":
        size = len(re.sub(r"\s", "", text))
        if size > _MAX_MANAGED_POLICY:
            found.append(
                _Finding(
                    "ERROR",
                    "POLICY_SIZE_EXCEEDS_IDENTITY_POLICY_QUOTA",
                    f"The {size} characters in the identity policy, excluding whitespace, exceed "
                    f"the {_MAX_MANAGED_POLICY} character maximum for managed policies.",
                    (),
                )
            )
    found.sort(key=lambda f: positions.offset(f.path))
    return [_as_aws(finding, positions) for finding in found]


def _document_findings(document: Any, policy_type: str) -> list[_Finding]:
    if not isinstance(document, dict):
        return [_Finding("ERROR", "DATA_TYPE_MISMATCH", "A policy is a JSON object.", ())]
    found = []
    version = document.get("Version")
    if version is None:
        found.append(
            _Finding("WARNING", "MISSING_VERSION", "Add the Version element: 2012-10-17.", ())
        )
    elif version not in _VERSIONS:
        found.append(
            _Finding(
                "ERROR", "INVALID_VERSION", f"The version {version} is not valid.", ("Version",)
            )
        )
    if "Statement" not in document:
        found.append(_Finding("ERROR", "MISSING_STATEMENT", "Add a Statement element.", ()))
        return found
    sids: set[str] = set()
    for path, statement in _statements(document):
        if not isinstance(statement, dict):
            found.append(_Finding("ERROR", "DATA_TYPE_MISMATCH", "A statement is an object.", path))
            continue
        found += _statement_findings(statement, path, policy_type)
        sid = statement.get("Sid")
        if isinstance(sid, str) and sid:
            if sid in sids:
                found.append(
                    _Finding(
                        "ERROR",
                        "UNIQUE_SIDS_REQUIRED",
                        f"The Sid {sid} is there twice.",
                        (*path, "Sid"),
                    )
                )
            sids.add(sid)
    return found


def _statements(document: dict[str, Any]) -> list[tuple[Path, Any]]:
    statements = document["Statement"]
    if isinstance(statements, list):
        return [(("Statement", index), item) for index, item in enumerate(statements)]
    return [(("Statement",), statements)]


def _statement_findings(statement: dict[str, Any], path: Path, policy_type: str) -> list[_Finding]:
    found = [
        _Finding(
            "ERROR", "INVALID_POLICY_ELEMENT", f"The element {name} is not valid.", (*path, name)
        )
        for name in statement
        if name not in _ELEMENTS
    ]
    effect = statement.get("Effect")
    if effect is None:
        found.append(_Finding("ERROR", "MISSING_EFFECT", "Add the element Effect.", path))
    elif effect not in {"Allow", "Deny"}:
        found.append(
            _Finding(
                "ERROR", "INVALID_EFFECT", f"The effect {effect} is not valid.", (*path, "Effect")
            )
        )
    if not statement.keys() & {"Action", "NotAction"}:
        found.append(_Finding("ERROR", "MISSING_ACTION", "Add an Action or NotAction.", path))
    needs_resource = policy_type != "RESOURCE_POLICY"
    if needs_resource and not statement.keys() & {"Resource", "NotResource"}:
        found.append(_Finding("ERROR", "MISSING_RESOURCE", "Add a Resource or NotResource.", path))
    principal = statement.keys() & {"Principal", "NotPrincipal"}
    if policy_type == "RESOURCE_POLICY" and not principal:
        found.append(_Finding("ERROR", "MISSING_PRINCIPAL", "Add a Principal element.", path))
    if policy_type == "IDENTITY_POLICY":
        found += [
            _Finding(
                "ERROR",
                "UNSUPPORTED_PRINCIPAL",
                f"The policy type IDENTITY_POLICY does not support the {name} element.",
                (*path, name),
            )
            for name in sorted(principal)
        ]
    for name in ("Action", "NotAction"):
        for item_path, item in _items(statement, name, path):
            found += _action_findings(item, item_path)
    for name in ("Resource", "NotResource"):
        for item_path, item in _items(statement, name, path):
            found += _resource_findings(item, item_path)
    if effect == "Allow" and _passes_any_role(statement):
        found.append(
            _Finding(
                "SECURITY_WARNING",
                "PASS_ROLE_WITH_STAR_IN_RESOURCE",
                "Using the iam:PassRole action with wildcards (*) in the resource can be overly "
                "permissive because it allows iam:PassRole permissions on multiple resources. "
                "Specify resource ARNs or add the iam:PassedToService condition key.",
                (*path, "Resource"),
            )
        )
    return found


def _items(statement: dict[str, Any], name: str, path: Path) -> list[tuple[Path, Any]]:
    value = statement.get(name)
    if value is None:
        return []
    if isinstance(value, list):
        return [((*path, name, index), item) for index, item in enumerate(value)]
    return [((*path, name), value)]


def _action_findings(action: Any, path: Path) -> list[_Finding]:
    if not isinstance(action, str):
        return [_Finding("ERROR", "DATA_TYPE_MISMATCH", "An action is a text.", path)]
    if action == "*":
        return []
    service, colon, _ = action.partition(":")
    catalogue = load_catalogue()
    if not colon:
        return [_Finding("ERROR", "INVALID_ACTION", f"The action {action} does not exist.", path)]
    if has_wildcard(service):
        return []
    if service.lower() not in catalogue.services:
        return [
            _Finding(
                "ERROR",
                "INVALID_SERVICE_IN_ACTION",
                f"The service {service} specified in the action does not exist.",
                path,
            )
        ]
    if not catalogue.expand(action):
        return [_Finding("ERROR", "INVALID_ACTION", f"The action {action} does not exist.", path)]
    return []


def _resource_findings(resource: Any, path: Path) -> list[_Finding]:
    if not isinstance(resource, str):
        return [_Finding("ERROR", "DATA_TYPE_MISMATCH", "A resource is a text.", path)]
    if resource == "*" or _ARN.fullmatch(resource):
        return []
    if resource.startswith("arn:"):
        return [
            _Finding(
                "ERROR", "MISSING_ARN_FIELD", f"The resource {resource} lacks an ARN field.", path
            )
        ]
    return [
        _Finding(
            "ERROR",
            "INVALID_ARN_PREFIX",
            f"Add the required prefix (arn) to the resource {resource}.",
            path,
        )
    ]


def _passes_any_role(statement: dict[str, Any]) -> bool:
    actions = [a for _, a in _items(statement, "Action", ()) if isinstance(a, str)]
    resources = [r for _, r in _items(statement, "Resource", ()) if isinstance(r, str)]
    named = any(":" in a and wildcard_regex(a.lower()).fullmatch("iam:passrole") for a in actions)
    conditions = statement.get("Condition") or {}
    limited = "iam:passedtoservice" in str(conditions).lower()
    return named and not limited and any(r == "*" or r.endswith(":role/*") for r in resources)


def _as_aws(finding: _Finding, positions: Positions) -> dict[str, Any]:
    kind = finding.type.lower().replace("_", "-")
    anchor = (
        f"access-analyzer-reference-policy-checks-{kind}-{finding.code.lower().replace('_', '-')}"
    )
    return {
        "findingType": finding.type,
        "issueCode": finding.code,
        "findingDetails": finding.details,
        "learnMoreLink": f"{_REFERENCE}#{anchor}",
        "locations": [
            {
                "path": [
                    {"value": part} if isinstance(part, str) else {"index": part}
                    for part in finding.path
                ],
                "span": positions.span(finding.path),
            }
        ],
    }


def _syntax_error(text: str, error: PositionError) -> dict[str, Any]:
    position = error.position
    return {
        "findingType": "ERROR",
        "issueCode": "JSON_SYNTAX_ERROR",
        "findingDetails": f"Fix the JSON syntax error at index {position['offset']} line "
        f"{position['line']} column {position['column']}.",
        "learnMoreLink": f"{_REFERENCE}#{_ANCHOR}-error-json-syntax-error",
        "locations": [{"path": [], "span": {"start": position, "end": position}}],
    }


# CheckNoNewAccess


def check_no_new_access(params: dict[str, Any]) -> dict[str, Any]:
    """Return PASS, or FAIL with the first statement of the new policy that may grant more."""
    new = _grants(params["newPolicyDocument"], "newPolicyDocument")
    existing = _grants(params["existingPolicyDocument"], "existingPolicyDocument")
    for index, statement in enumerate(new):
        if statement["Effect"] == "Allow" and not _covered(statement, existing):
            return _new_access(index, statement)
    for statement in existing:
        # A deny that is gone may let an allowed action through.
        if statement["Effect"] == "Deny" and statement not in new:
            return _new_access(0, new[0] if new else {})
    return {"result": "PASS", "message": _NO_NEW_ACCESS}


def _new_access(index: int, statement: dict[str, Any]) -> dict[str, Any]:
    reason: dict[str, Any] = {
        "description": f"New access in the statement with index: {index}.",
        "statementIndex": index,
    }
    if statement.get("Sid"):
        reason["description"] = f"New access in the statement with sid: {statement['Sid']}."
        reason["statementId"] = statement["Sid"]
    return {"result": "FAIL", "message": _NEW_ACCESS, "reasons": [reason]}


def _grants(text: str, name: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise invalid(name, f"The policy document is not JSON: {error}") from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise invalid(name, "The policy document has no Statement element.")
    statements = document["Statement"]
    if isinstance(statements, dict):
        statements = [statements]
    for statement in statements:
        if not isinstance(statement, dict) or statement.get("Effect") not in {"Allow", "Deny"}:
            raise invalid(name, "A statement lacks a valid Effect element.")
    return list(statements)


def _covered(statement: dict[str, Any], existing: list[dict[str, Any]]) -> bool:
    """Return whether existing statements allow all that the statement allows."""
    plain = {k: v for k, v in statement.items() if k != "Sid"}
    allows = [s for s in existing if s["Effect"] == "Allow"]
    if any(plain == {k: v for k, v in s.items() if k != "Sid"} for s in allows):
        return True
    if statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}:
        return False  # inconclusive
    resources = _texts(statement.get("Resource"))
    return all(
        any(_allows(s, action, resource, statement) for s in allows)
        for pattern in _texts(statement.get("Action"))
        for action in (load_catalogue().expand(pattern) or {pattern})
        for resource in resources or [""]
    )


def _allows(
    existing: dict[str, Any], action: str, resource: str, statement: dict[str, Any]
) -> bool:
    if "NotResource" in existing or existing.get("Principal") != statement.get("Principal"):
        return False
    if existing.get("Condition") not in (None, {}, statement.get("Condition")):
        return False
    if "NotAction" in existing:
        named = not any(_matches(action, p) for p in _texts(existing["NotAction"]))
    else:
        named = any(_matches(action, p) for p in _texts(existing.get("Action")))
    resources = _texts(existing.get("Resource")) or [""]
    # A wildcard in the narrower pattern is an ordinary character to the wider one.
    return named and any(wildcard_regex(p).fullmatch(resource) is not None for p in resources)


def _matches(action: str, pattern: str) -> bool:
    return wildcard_regex(pattern.lower()).fullmatch(action.lower()) is not None


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
