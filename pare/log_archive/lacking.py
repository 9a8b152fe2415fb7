"""What a policy does not grant of a statement, whoever wrote it and under whatever Sid.

People paste statements, shorten them, name roles as the principal: texts differ that grant the
same. So the question is put by requests: those that a statement of ours is there for are made up
from it, and asked of the policy as IAM would (``pare.policy.evaluate``). What a condition makes of
things that no made-up request can know, such as the network it comes from, stays in doubt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from pare.message import listed
from pare.policy.document import PolicyDocument, Statement, parse
from pare.policy.evaluate import Policies, Request
from pare.policy.patterns import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pare.policy.document import JsonObject, JsonValue

# Accounts that no policy names: a statement that lists accounts one by one misses the next one.
ACCOUNT_IDS: Final = ("111122223333", "444455556666")
# Keys of which a role's own request never has a value: aws:username is a user's, and the others
# come with a call that an AWS service makes in its own name.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
ABSENT: Final = frozenset(
    {
        "aws:principalservicename",
        "aws:principalservicenameslist",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourceorgpaths",
        "aws:username",
    }
)
_ANYTHING: Final = Statement(effect="Allow", actions=(ANY,), resources=(ANY,))


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request, who makes it, and how a person would say it."""

    principal_arn: str
    request: Request

    def __str__(self) -> str:
        return f"{self.request.action} on {self.request.resource} by {self.principal_arn}"


def lacking(
    policy: JsonObject,
    statement: JsonObject,
    *,
    organization_id: str = "",
    account_ids: tuple[str, ...] = ACCOUNT_IDS,
    key_arn: str = "",
) -> tuple[str, ...]:
    """Return what the statement grants and the policy surely does not, one line each.

    ``()``: nothing, unless ``in_doubt`` says something. ``organization_id`` is known of every
    request, and stands in the made-up paths of log files. ``statement`` is one of
    ``pare.log_archive.statements``; ``key_arn`` is the key whose policy it is, for one of a key:
    a statement about another key's ARN says nothing there.

    What only a condition beyond ours would decide is not granted: an Allow for one IP address, say.
    A Deny counts where it surely applies. Raises PolicyParseError for what is no policy, and
    ValueError for a key's statement without the key.
    """
    document = parse(policy) if policy else PolicyDocument(statements=())
    lines = []
    for each in _requests(statement, organization_id, account_ids, key_arn):
        about = _about(document, each)
        allows = [one for one in about if one.effect == "Allow"]
        if _answer(document, allows, each.request) != "allowed":
            lines.append(f"{each}: no statement allows it")
        elif _answer(document, about, each.request) == "denied":
            lines.append(f"{each}: a Deny statement forbids it")
    return tuple(lines)


def in_doubt(
    policy: JsonObject,
    statement: JsonObject,
    *,
    organization_id: str = "",
    account_ids: tuple[str, ...] = ACCOUNT_IDS,
    key_arn: str = "",
) -> tuple[str, ...]:
    """Return the Deny statements that may or may not forbid what the statement grants, one a line.

    Those of a data perimeter, most often: whether a request comes from the company's network, its
    VPC endpoint or a tagged role, the policy does not tell. A Deny that forbids some of it for sure
    is left to ``lacking``, whose arguments these are.
    """
    document = parse(policy) if policy else PolicyDocument(statements=())
    actions: dict[int, set[str]] = {}
    reasons: dict[int, set[str]] = {}
    sure: set[int] = set()
    for each in _requests(statement, organization_id, account_ids, key_arn):
        for place, one in enumerate(document.statements):
            if one.effect != "Deny" or not _names(one, each.principal_arn):
                continue
            answer, why = _judged(document, _of_whoever_asks(one), each.request)
            if answer == "denied":
                sure.add(place)
            elif answer == "undecided":
                actions.setdefault(place, set()).add(each.request.action)
                unknown = _unknown_keys(one, each.request)
                reasons.setdefault(place, set()).update(unknown or [why])
    return tuple(
        sorted(
            f"{document.statements[place].sid or f'statement {place + 1}, which has no Sid,'} "
            f"denies {listed(sorted(found))} by a condition that cannot be judged from here: "
            f"{listed(sorted(reasons[place]))}"
            for place, found in actions.items()
            if place not in sure
        )
    )


def _judged(document: PolicyDocument, deny: Statement, request: Request) -> tuple[str, str]:
    """Return the answer of a Deny alone, and why it is undecided.

    Everybody comes by TLS 1.2 at least, and nobody tells us by which.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
    """
    alone = Policies([PolicyDocument(statements=(_ANYTHING, deny), version=document.version)])
    decision = alone.decide(request)
    older = {**request.context, "s3:tlsversion": ("1.2",)}
    if decision.answer == "allowed" != alone.decide(replace(request, context=older)).answer:
        return "undecided", "s3:TlsVersion"
    return decision.answer, decision.why


def _unknown_keys(statement: Statement, request: Request) -> list[str]:
    """Return the condition keys of which nobody can say what the request has."""
    known = request.context.keys() | request.absent
    conditions: Any = statement.conditions
    return [key for keys in conditions.values() for key in keys if key.lower() not in known]


def _about(document: PolicyDocument, asked: _Asked) -> list[Statement]:
    """Return the statements about whoever asks."""
    return [
        _of_whoever_asks(one) for one in document.statements if _names(one, asked.principal_arn)
    ]


def _of_whoever_asks(statement: Statement) -> Statement:
    """Return a statement without its principals."""
    return replace(statement, principals=None, not_principals=None)


def _answer(document: PolicyDocument, statements: list[Statement], request: Request) -> str:
    if not statements:
        return "not allowed"
    only = PolicyDocument(statements=tuple(statements), version=document.version)
    return Policies([only]).decide(request).answer


# --- The requests a statement is there for --------------------------------------------------------


def _requests(
    statement: JsonObject, organization_id: str, account_ids: tuple[str, ...], key_arn: str
) -> Iterator[_Asked]:
    condition: Any = statement.get("Condition", {})
    wanted = {key: _texts(values) for keys in condition.values() for key, values in keys.items()}
    for named in wanted.pop("aws:PrincipalArn"):
        for account_id in account_ids if "${aws:PrincipalAccount}" in named else ("",):
            arn = named.replace("${aws:PrincipalAccount}", account_id).replace("*", "_Pare")
            own_account = arn.split(":")[4]
            context = {
                key.lower(): tuple(_example(each, own_account, organization_id) for each in values)
                for key, values in wanted.items()
            }
            if key_arn:
                # A key is used through services of its own Region only.
                region = key_arn.split(":")[3]
                context["kms:viaservice"] = tuple(
                    each.replace(".*.", f".{region}.") for each in wanted["kms:ViaService"]
                )
            # Who looks for accounts lists the root itself, and then what is below.
            if "s3:prefix" in context:
                roots = tuple(each.rstrip("*") for each in wanted["s3:prefix"])
                context["s3:prefix"] += roots
            context |= {
                "aws:principalarn": (arn,),
                "aws:principalaccount": (own_account,),
                "aws:principaltype": ("AssumedRole",),
                "aws:principalisawsservice": ("false",),
                "aws:securetransport": ("true",),
                "s3:tlsversion": ("1.3",),
            }
            if organization_id:
                context["aws:principalorgid"] = (organization_id,)
                context["aws:resourceorgid"] = (organization_id,)
            for action, resource in _calls(statement, key_arn):
                example = _example(resource, own_account, organization_id)
                for one in _one_at_a_time(context):
                    yield _Asked(arn, Request(action, example, one, ABSENT))


def _calls(statement: JsonObject, key_arn: str) -> Iterator[tuple[str, str]]:
    """Yield each action with each resource that it is for: a bucket, an object, or the key."""
    for action in _texts(statement["Action"]):
        if action.startswith("kms:"):
            if not key_arn:
                raise ValueError(f"{statement['Sid']} is asked of a key's policy: of which key's?")
            yield action, key_arn
            continue
        for resource in _texts(statement["Resource"]):
            if (action == "s3:GetObject") == ("/" in resource):
                yield action, resource


def _one_at_a_time(context: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, tuple[str, ...]]]:
    """Yield the context once for each value of a key that a request has only one of."""
    several = [key for key, values in context.items() if len(values) > 1]
    if not several:
        yield dict(context)
        return
    for value in context[several[0]]:
        yield from _one_at_a_time({**context, several[0]: (value,)})


def _example(pattern: str, account_id: str, organization_id: str) -> str:
    """Return a text that the pattern matches, and that a log file of the account may have."""
    text = pattern.replace("${aws:PrincipalAccount}", account_id)
    folder = f"{organization_id}/{ACCOUNT_IDS[0]}" if organization_id else ACCOUNT_IDS[0]
    text = text.replace("AWSLogs/*/CloudTrail/", f"AWSLogs/{folder}/CloudTrail/")
    text = re.sub(r"AWSLogs/\*$", f"AWSLogs/{folder}/CloudTrail/us-east-1/", text)
    return text.replace("*", "any")


# --- Whom a statement is about --------------------------------------------------------------------


def _names(statement: Statement, role_arn: str) -> bool:
    """Return whether Principal or NotPrincipal takes in a role.

    A role is in its account, whose id, or root, stands for whoever is in it.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    if statement.not_principals is not None:
        return not _takes_in(statement.not_principals, role_arn)
    return statement.principals is not None and _takes_in(statement.principals, role_arn)


def _takes_in(principals: JsonValue, role_arn: str) -> bool:
    values = principals.get("AWS", []) if isinstance(principals, dict) else principals
    account_id = role_arn.split(":")[4]
    partition = role_arn.split(":")[1]
    names = {"*", account_id, f"arn:{partition}:iam::{account_id}:root", role_arn}
    return not names.isdisjoint(_texts(values))


def _texts(value: Any) -> list[str]:
    return [str(each) for each in (value if isinstance(value, list) else [value])]
