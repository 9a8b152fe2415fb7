"""An organization of any size in the emulator: accounts that Pare may enter, and roles in them.

What the scale test and ``bench/inventory.py`` count on. Everything is made through AWS's own APIs,
but for what those cannot do: age and use.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pare.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.organization import EmulatorClients

MEMBER_ROLE = "PareMember"
# Policies as organizations have them: mostly narrow ones, and a few of AWS's own that are not.
_NARROW = (
    ("s3:GetObject", "s3:PutObject", "kms:Decrypt"),
    ("dynamodb:*", "sqs:SendMessage", "sqs:ReceiveMessage"),
    ("ec2:Describe*", "autoscaling:*", "elasticloadbalancing:Describe*", "cloudwatch:*"),
    ("lambda:InvokeFunction", "logs:*", "xray:PutTraceSegments", "sns:Publish"),
)
_MANAGED = (
    "arn:aws:iam::aws:policy/AdministratorAccess",
    "arn:aws:iam::aws:policy/ReadOnlyAccess",
)
# Of a hundred roles so many have AWS's own policies.
_MANAGED_SHARE = 5
_USED_SHARE = 60
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class ScaledAccount:
    """An account and the ARNs of its roles, the member role aside."""

    account_id: str
    role_arns: tuple[str, ...]


def add_accounts(
    emulator: EmulatorClients,
    *,
    accounts: int,
    roles: int,
    first_id: int = 700_000_000_001,
) -> list[ScaledAccount]:
    """Add accounts with so many roles each; the stack set brings them the member role.

    Roles are named alike in every account: what differs is who used what, and when.
    """
    ids = [f"{first_id + number:012d}" for number in range(accounts)]
    emulator.control(
        "accounts",
        {"accounts": [
            {"account_id": each, "name": f"scale-{each[-4:]}", "email": f"{each}@northwind.example"}
            for each in ids
        ]},
    )  # fmt: skip
    with ThreadPoolExecutor(_WORKERS) as pool:
        added = list(pool.map(lambda each: _fill(emulator, each, roles), ids))
    for account_id in ids:
        _wait_for_member_role(emulator.client("iam", account_id), account_id)
    return added


def _wait_for_member_role(iam: Any, account_id: str, seconds: float = 300) -> None:
    """Return once the stack set has brought an account the member role; it does so by itself."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(iam.exceptions.NoSuchEntityException):
            iam.get_role(RoleName=MEMBER_ROLE)
            return
        time.sleep(0.5)
    raise RuntimeError(f"after {seconds:.0f} s account {account_id} has no role {MEMBER_ROLE}")


def _fill(emulator: EmulatorClients, account_id: str, roles: int) -> ScaledAccount:
    iam = emulator.client("iam", account_id)
    arns = tuple(_role(iam, number) for number in range(roles))
    now = datetime.now(UTC)
    emulator.control(
        "ages",
        {"entries": [
            {"arn": arn, "created_at": format_time(now - timedelta(days=400))} for arn in arns
        ]},
    )  # fmt: skip
    emulator.control("usage", {"entries": list(_uses(arns, now))})
    return ScaledAccount(account_id, arns)


def _role(iam: Any, number: int) -> str:
    name = f"scale-role-{number:04d}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    arn: str = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps(trust),
        Tags=[{"Key": "owner", "Value": f"team-{number % 7}@northwind.example"}],
    )["Role"]["Arn"]
    if number % 100 < _MANAGED_SHARE:
        iam.attach_role_policy(RoleName=name, PolicyArn=_MANAGED[number % len(_MANAGED)])
    else:
        actions = _NARROW[number % len(_NARROW)]
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}],
        }
        iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=json.dumps(document))
    return arn


def _uses(arns: tuple[str, ...], now: datetime) -> Iterator[dict[str, Any]]:
    services = itertools.cycle(["s3", "dynamodb", "ec2", "logs"])
    for number, (arn, service) in enumerate(zip(arns, services, strict=False)):
        if number * 37 % 100 < _USED_SHARE:
            yield {
                "principal_arn": arn,
                "service": service,
                "action": None,
                "last_accessed_at": format_time(now - timedelta(days=number % 200)),
                "region": "eu-west-1",
            }


def remove_accounts(organizations: Any, accounts: list[ScaledAccount]) -> None:
    """Let the accounts leave the organization; ``organizations`` is the management account's."""
    for account in accounts:
        organizations.remove_account_from_organization(AccountId=account.account_id)


# --- what a run did -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transitions:
    """What AWS would charge of an execution and the children of its map, from their histories."""

    own: int
    children: dict[str, int]  # by account

    @property
    def total(self) -> int:
        """Return the sum; retries are not in it."""
        return self.own + sum(self.children.values())


def children(states: Any, execution_arn: str) -> list[str]:
    """Return the executions of the map's children."""
    return [
        child["executionArn"]
        for run in states.list_map_runs(executionArn=execution_arn)["mapRuns"]
        for page in states.get_paginator("list_executions").paginate(mapRunArn=run["mapRunArn"])
        for child in page["executions"]
    ]


def count_transitions(states: Any, execution_arn: str) -> Transitions:
    """Return the transitions of an inventory's execution, counted one history at a time."""
    by_account = {}
    for child in children(states, execution_arn):
        described = states.describe_execution(executionArn=child)
        account_id = json.loads(described["input"])["account_id"]
        by_account[account_id] = _charged(states, child)
    return Transitions(_charged(states, execution_arn), by_account)


def _charged(states: Any, execution_arn: str) -> int:
    """Return the states entered, and the start and the end, which AWS charges like them.

    https://aws.amazon.com/step-functions/pricing/ (example 1)
    """
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    events = (event for page in pages for event in page["events"])
    return sum(1 for event in events if event["type"].endswith("StateEntered")) + 2
