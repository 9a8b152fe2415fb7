"""The commands that mends have in common, as a person types them."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Final

from pare.doctor.checks import title_of
from pare.doctor.model import Mend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

MANAGEMENT_PROFILE: Final = "management"
LOG_ARCHIVE_PROFILE: Final = "log-archive"
# By default the first account that fails ends an operation, and one account follows the other.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stacksets-concepts.html#stackset-ops-options
PREFERENCES: Final = (
    "--operation-preferences FailureTolerancePercentage=100,MaxConcurrentPercentage=100"
)


# How a call is told that AWS refused: ``lambda:InvokeFunction ListLogs: AccessDenied: …``.
_REFUSED: Final = re.compile(
    r"([a-z0-9-]+:[A-Z][A-Za-z0-9]*)\b(?! in account).*?: "
    r"(?:Invoke)?(?:AccessDenied|AccessDeniedException|UnauthorizedOperation): "
)
# A function with a reserved concurrency of 0 refuses every call: that does not pass by itself.
_NEVER_RUNS: Final = re.compile(r"TooManyRequestsException: .*Reserved(Function)?Concurrent")


def quoted(value: object) -> str:
    """Return a value as one word of a shell; a list or an object as JSON."""
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, dict | list) else value
    return shlex.quote(str(text))


def deploy(*stacks: str) -> str:
    """Return the command that deploys stacks of this repository, those they need with them."""
    return f"npx cdk deploy {' '.join(stacks)}"


def deploy_member(profile: str) -> str:
    """Return the command that deploys the member stack by hand, into the account of a profile.

    An empty profile: the one in use.
    """
    command = deploy("ByHand/PareMember")
    return f"{command} --profile {quoted(profile)}" if profile else command


def profile_of(setup: Setup, account_id: str) -> str:
    """Return what a person's profile of an account is taken to be called; the hub's is in use."""
    names = {
        setup.management_account_id: MANAGEMENT_PROFILE,
        setup.log_archive_account_id: LOG_ARCHIVE_PROFILE,
        setup.hub_account_id: "",
    }
    return names.get(account_id, account_id)


def deploy_members(setup: Setup, accounts: Sequence[str]) -> tuple[str, ...]:
    """Return what brings the member stacks of accounts up to date, with the hub's credentials.

    The stack set does, for all but the management account; where there is none, each account gets
    its own by hand.
    """
    by_hand = [
        each for each in accounts
        if not setup.has_stack_set or each == setup.management_account_id
    ]  # fmt: skip
    commands = tuple(deploy_member(profile_of(setup, each)) for each in by_hand)
    return commands if len(by_hand) == len(accounts) else (deploy("PareMembers"), *commands)


def bring_back(stack: str) -> Mend:
    """Return what brings back what somebody changed or deleted outside CloudFormation.

    A plain deployment of an unchanged template changes nothing, whatever is there really.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/drift-aware-change-sets.html
    """
    return Mend(
        where="hub",
        commands=(f"npx cdk deploy {stack} --revert-drift",),
        text="Somebody changed it outside CloudFormation: this brings back what the template has.",
    )


def look_again(text: str) -> Mend:
    """Return the mend of what passes by itself, or of what was only asked in vain."""
    return Mend(where="you", commands=("pare doctor",), text=text)


def own_right(setup: Setup, problem: str) -> Mend | None:
    """Return the mend of a call that AWS refuses the person's own credentials; None: it is none.

    ``problem``: the call, AWS's code and its message. A right has one mend, whatever waits for it.
    """
    if _NEVER_RUNS.search(problem):
        return mend_elsewhere("running", title_of("running.resources"))
    found = _REFUSED.match(problem)
    if found is None:
        return None
    return Mend(
        where="you",
        commands=("pare doctor",),
        text=f"Your credentials need {found[1]} in account {setup.hub_account_id}: docs/deploy.md, "
        "section 6, says what the doctor needs.",
    )


def mend_first(*titles: str) -> Mend:
    """Return the mend of what nobody can tell before something else is mended.

    ``titles``: what the doctor calls that. It has the commands, so this has none.
    """
    return Mend(where="you", text=f"Mend first what is said above of: {', '.join(titles)}.")


def mend_elsewhere(group: str, *titles: str) -> Mend:
    """Return the mend of what another group of checks tells, perhaps below, and has commands for.

    ``titles``: what the doctor calls that.
    """
    return Mend(
        where="you",
        commands=(f"pare doctor --only {group}",),
        text=f"Mend first what this says of: {', '.join(titles)}.",
    )


def stack_set_targets(setup: Setup, accounts: Sequence[str], unit: str) -> str:
    """Return the options that name the stack set's instances in some accounts of a unit."""
    targets: JsonObject = {
        "OrganizationalUnitIds": [unit],
        "Accounts": list(accounts),
        "AccountFilterType": "INTERSECTION",
    }
    return (
        f"--stack-set-name {quoted(setup.stack_set_name)} --deployment-targets {quoted(targets)} "
        f"--regions {setup.home_region} --call-as DELEGATED_ADMIN --region {setup.home_region} "
        f"{PREFERENCES}"
    )


def stack_set_end(setup: Setup) -> tuple[str, str]:
    """Return what waits until no operation of the stack set is under way, and how the last ended.

    AWS's command line has no waiter for it. An operation that bears failures SUCCEEDED also where
    accounts failed: their number is shown beside.
    """
    operations = (
        "aws cloudformation list-stack-set-operations "
        f"--stack-set-name {quoted(setup.stack_set_name)} --call-as DELEGATED_ADMIN "
        f"--region {setup.home_region}"
    )
    return (
        f"while {operations} --query 'Summaries[].Status' --output text "
        "| grep -qE 'RUNNING|QUEUED|STOPPING'; do sleep 10; done",
        f"{operations} --max-items 1 --query 'Summaries[].{{Action:Action,Status:Status,"
        "FailedAccounts:StatusDetails.FailedStackInstancesCount,Reason:StatusReason}' "
        "--output table",
    )
