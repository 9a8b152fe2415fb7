"""The tables of docs/security.md: what every role of Pare's may do, in few words.

    python -m tools.permission_tables

From tests/golden/infra/permissions.json, which a test holds to the templates. Whatever is granted
newly fails here until somebody says what it is for.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PERMISSIONS = Path(__file__).parents[1] / "tests" / "golden" / "infra" / "permissions.json"
# stack -> (in which accounts, role -> its name)
ELSEWHERE: dict[str, tuple[str, dict[str, str]]] = {
    "PareMember": ("every account", {"MemberRole": "member role", "AccessRole": "access role"}),
    "PareLogArchive": ("log archive", {"Role": "function of `PareLogArchive`"}),
    "PareRegion": ("hub, every other governed Region", {"ForwardRole": "rules of `PareRegion`"}),
}
# (role, statement) -> why
REASONS = {
    ("AccessRole", "ListTrailBucket"): "policy generation, as AWS documents it",
    ("AccessRole", "ReadLogFiles"): "policy generation, as AWS documents it, of its own account",
    ("AccessRole", "WithoutResource"): "policy generation, as AWS documents it",
    ("ForwardRole", "ForwardToHubBus"): "events of other Regions come to the hub's home Region",
    ("MemberRole", "GenerateLastAccessed"): "what was used, and when: starts a report",
    ("MemberRole", "PassAccessRole"): "policy generation takes a role to read the trail with",
    ("MemberRole", "ReadAlternateContact"): "who answers for what has no owner tag",
    ("MemberRole", "ReadGroups"): "what a user is granted through groups",
    ("MemberRole", "ReadPolicies"): "what is granted today",
    ("MemberRole", "ReadRoles"): "what is granted today, to whom, with which tags",
    ("MemberRole", "ReadUsers"): "what is granted today, access keys' names",
    ("MemberRole", "ReadTrail"): "the doctor: does the trail run, what does it record",
    ("MemberRole", "ReadTrailBucket"): "the doctor: policy, ownership, encryption of the bucket",
    ("MemberRole", "WithoutResource"):
        "policy generation; the inventory (all of IAM, credential report); owner tags",
    ("Role", "LookAtLogFiles"): "which key each sampled file has; it asks for heads alone",
    ("Role", "MergeBucketPolicy"): "merges our statements, and takes them away again",
    ("Role", "SeeOwnStack"): "whether a deletion is part of a rollback",
    ("Role", "WriteOwnLogs"): "says what it changed",
}  # fmt: skip
# service of the hub -> why anything of Pare's has it. A service that is not here fails the page.
WHY = {
    "access-analyzer": "findings of every Region, archive rules named `pare-…`, policy checks",
    "dynamodb": "Pare's five tables",
    "kms": "Pare's own key",
    "lambda": "a workflow calls its own functions",
    "logs": "its own logs; log delivery of the workflows takes no resource",
    "organizations": "names, owners and states of accounts",
    "s3": "Pare's evidence bucket by prefix; the trail's bucket to list and read",
    "sns": "Pare's topics",
    "sqs": "the schedules' dead-letter queue",
    "states": "a workflow starts another one, and knows its own executions",
    "sts": "enter accounts as `PareMember`, inside the organization",
    "xray": "traces; it takes no resource",
}
Permissions = dict[str, dict[str, dict[str, dict[str, Any]]]]


def read() -> Permissions:
    """Return stack -> role -> statement -> actions, resources and conditions."""
    found: Permissions = json.loads(PERMISSIONS.read_text(encoding="utf-8"))
    return found


def elsewhere(permissions: Permissions) -> Iterator[str]:
    """Yield the table of all that is granted outside of the hub's home Region: every action."""
    yield "| Account | Who | May | On | Why |"
    yield "| --- | --- | --- | --- | --- |"
    for stack, (account, whose) in ELSEWHERE.items():
        for role, name in whose.items():
            for sid, statement in sorted(permissions[stack][role].items()):
                where = _resources(stack, role, statement["resources"])
                if conditions := statement.get("conditions"):
                    where += f"; only if {_conditions(conditions)}"
                why = REASONS[role, sid]
                yield f"| {account} | {name} | {_actions(statement)} | {where} | {why} |"


def hub(permissions: Permissions) -> Iterator[str]:
    """Yield the table of the hub: by service, what is granted there to how many roles, and why."""
    actions: dict[str, set[str]] = defaultdict(set)
    roles: dict[str, set[str]] = defaultdict(set)
    for role, statements in permissions["ParePipeline"].items():
        for statement in statements.values():
            for action in statement["actions"]:
                service, _, name = action.partition(":")
                actions[service].add(name)
                roles[service].add(role)
    every = len(permissions["ParePipeline"])
    yield f"| Service | Actions, of all {every} roles together | Roles | What for |"
    yield "| --- | --- | --: | --- |"
    for service in sorted(actions):
        names = ", ".join(f"`{each}`" for each in sorted(actions[service]))
        yield f"| {service} | {names} | {len(roles[service])} | {WHY[service]} |"


def by_role(permissions: Permissions) -> Iterator[str]:
    """Yield the table of the hub's roles that reach beyond Pare's own data."""
    yield "| Role in the hub | Beyond Pare's own tables, bucket and topics |"
    yield "| --- | --- |"
    for role, statements in sorted(permissions["ParePipeline"].items()):
        beyond = sorted(
            {
                action
                for statement in statements.values()
                for action in statement["actions"]
                if _is_beyond(action, statement["resources"])
            }
        )
        if beyond:
            names = ", ".join(f"`{each}`" for each in beyond)
            yield f"| {role.removesuffix('Role')} | {names} |"


def _is_beyond(action: str, resources: list[str]) -> bool:
    service = action.partition(":")[0]
    if service in {"access-analyzer", "organizations", "sts"}:
        return True
    return service == "s3" and any(":s3:::" in each for each in resources)


def _actions(statement: Mapping[str, Any]) -> str:
    return ", ".join(f"`{each}`" for each in statement["actions"])


def _resources(stack: str, role: str, resources: list[str]) -> str:
    """Return resources in words where they take many letters to say little."""
    return ", ".join(sorted({_readable(stack, role, each) for each in resources}))


_WORDS = (
    (r"\*", "any (takes no resource)"),
    (r"arn:.+?:iam::<AWS::AccountId>:(\w+)/\*", r"every \1 of the account"),
    (r"arn:.+?:iam::aws:policy/\*", "every policy of AWS"),
    (r"arn:.+?:s3:::example-organization-trail", "the trail's bucket"),
    (r"arn:.+?:s3:::example-organization-trail/.*<AWS::AccountId>/\*",
     "this account's log files in the trail's bucket"),
    (r"arn:.+?:s3:::example-organization-trail/.+", "the log files in the trail's bucket"),
    (r"arn:.+?:cloudtrail:.+", "the trail"),
    (r"arn:.+?:account::.+", "the account itself"),
    (r"arn:.+?:event-bus/pare", "the hub bus"),
    (r"AccessRole\.Arn", "the access role"),
    (r"AWS::StackId", "its own stack"),
    (r"Logs\.Arn", "its own log group"),
)  # fmt: skip


def _readable(stack: str, role: str, resource: str) -> str:
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, resource):
            return found.expand(words)
    raise ValueError(f"{stack}, {role}: say in tools/permission_tables.py what {resource} is")


def _conditions(conditions: Mapping[str, Mapping[str, list[str]]]) -> str:
    return " and ".join(
        f"`{key}` is {' or '.join(values)}"
        for tests in conditions.values()
        for key, values in tests.items()
    )


def main() -> None:
    """Print the three tables."""
    permissions = read()
    for table in (elsewhere, by_role, hub):
        print("\n".join(table(permissions)), end="\n\n")


if __name__ == "__main__":
    main()
