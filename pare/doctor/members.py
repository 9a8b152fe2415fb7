"""Whether every account lets the hub in: the stack set, its instances, the role as it is entered.

What AWS says of a refused AssumeRole is the same whether the role is missing, does not trust the
caller, or wants another external id. What is known besides decides what is named first: whether the
account's stack is there and current, and whether another function is let in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pare.doctor.checks import title_of
from pare.doctor.commands import (
    MANAGEMENT_PROFILE,
    PREFERENCES,
    bring_back,
    deploy,
    deploy_member,
    look_again,
    mend_first,
    own_right,
    profile_of,
    quoted,
    stack_set_end,
    stack_set_targets,
)
from pare.doctor.elsewhere import where_of
from pare.doctor.model import Mend, Result, cannot_tell, missing, ok
from pare.member_rights import rights_in
from pare.message import listed, plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pare.doctor.setup import Setup
    from pare.policy.document import JsonObject

TEMPLATE_TAG: Final = "pare:member-template"
# More accounts with the same fault are one result, and no more are taken their stacks at once.
FOLD_AFTER: Final = 20
# Of so many of the accounts that a policy keeps closed its place is looked for.
_LOOKED_UP: Final = 3
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException"})
_PASSING: Final = frozenset({"PENDING", "RUNNING"})

# ``deploy``: the stack set itself; ``recreate``: what is there is not what the template has;
# ``replace``: a deletion failed; ``by hand``: there is no stack set (``again``: it was
# deployed, and somebody changed it). What stands in the way: ``let
# hub out``: a service control policy of the hub, which binds whoever calls; ``let hub in``: a
# resource control policy of the account; ``allow``: one of the two; ``function``: the function's
# own role; ``instance``: what is said of the account's member stack.
How = Literal[
    "instance", "deploy", "create", "update", "recreate", "replace", "move", "wait", "by hand",
    "by hand again", "let hub out", "let hub in", "allow", "function",
]  # fmt: skip
_SERVICE_CONTROL: Final = "SERVICE_CONTROL_POLICY"
_RESOURCE_CONTROL: Final = "RESOURCE_CONTROL_POLICY"


@dataclass(frozen=True, slots=True)
class Instance:
    """The stack set's instance in an account.

    ``status`` is CURRENT, OUTDATED or INOPERABLE, ``detailed`` how the last operation ended there.
    """

    account_id: str
    status: str
    detailed: str = ""
    reason: str = ""
    stack_id: str = ""


@dataclass(frozen=True, slots=True)
class StackSet:
    """The stack set, as CloudFormation describes it; ``template`` is its body as JSON."""

    status: str
    is_auto_deployed: bool
    organizational_units: tuple[str, ...]
    template: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AccessRole:
    """Access Analyzer's service role, as a function found it in an account.

    ``path`` None: it is not there, or could not be read; ``code`` and ``message`` say which.
    """

    path: str | None
    is_trusting: bool = False
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of the member role in an account, as it reads them itself.

    ``digest``: their hash (``pare.member_rights``). None: it may not read itself, or could not;
    ``action``, ``code`` and ``message`` say which.
    """

    digest: str | None
    action: str = ""
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a function was let into an account, and what it found there.

    ``template``: the tag of the member role; ``rights``, ``access_role`` None: the function did not
    look.
    """

    is_in: bool
    code: str = ""
    message: str = ""
    template: str | None = None
    rights: Rights | None = None
    access_role: AccessRole | None = None

    @property
    def is_refused(self) -> bool:
        return not self.is_in and self.code in _DENIED


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts that are looked at, and in which governed unit each of them is.

    ``units``: account -> the unit of the settings that it is in; absent: in none. ``unknown``: the
    accounts whose place could not be read. ``above``: account -> its unit, that one's unit, and
    so on to the root, of the accounts of which it was asked. ``names``: what accounts are called in
    results.
    """

    active: tuple[str, ...]
    inactive: Mapping[str, str]  # account -> SUSPENDED, ...
    excluded: tuple[str, ...]
    units: Mapping[str, str]
    unknown: frozenset[str] = frozenset()
    above: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def named(self, account_id: str) -> str:
        """Return what an account is called."""
        return self.names.get(account_id, account_id)


# --- members.stack-set ----------------------------------------------------------------------------


def template_hash(template: dict[str, Any]) -> str | None:
    """Return the tag that says of which version a member template is."""
    for resource in template.get("Resources", {}).values():
        for tag in resource.get("Properties", {}).get("Tags", ()):
            if isinstance(tag, dict) and tag.get("Key") == TEMPLATE_TAG:
                return str(tag.get("Value"))
    return None


def judge_stack_set(setup: Setup, found: StackSet | None, *, has_stack: bool) -> Result:
    """Judge the stack set; None: there is none. ``has_stack``: the stack that makes it is there.

    A plain deployment changes nothing while PareMembers' template is the same, and whether AWS can
    revert the drift of a stack set of a delegated administrator was not tried: where StackSets have
    a command of their own for what somebody changed by hand, that is the mend.
    """
    check, name = "members.stack-set", setup.stack_set_name
    deployed = deploy("PareMembers")
    if found is None or found.status == "DELETED":
        commands: tuple[str, ...] = (deployed,)
        text = ""
        if has_stack:
            commands = ("npx cdk destroy PareMembers --exclusively --force", deployed)
            text = "Somebody deleted it by hand, so its stack is taken away and made anew."
        return missing(
            check,
            "",
            f"There is no stack set {name}.",
            Mend(where="hub", commands=commands, text=text),
        )
    faults: list[str] = []
    mends: list[str] = []
    by_hand = text = ""
    lacking = sorted(set(setup.organizational_units) - set(found.organizational_units))
    there = template_hash(found.template)
    if there != setup.member_template:
        faults.append(
            f"its template is {plain(there or 'of no known version', 40)}, not "
            f"{setup.member_template}"
        )
        by_hand = f"{deployed} --revert-drift"
        text = (
            "The second is for a stack set that somebody changed by hand, which a plain deployment "
            "does not see; where AWS refuses it: npx cdk destroy PareMembers --exclusively, and "
            "the first again."
        )
    if lacking:
        faults.append(f"it is not deployed to {listed(lacking)}")
    if faults:
        mends += [deployed, by_hand] if by_hand else [deployed]
    if lacking:
        units: JsonObject = {"OrganizationalUnitIds": list(lacking)}
        mends.append(
            f"aws cloudformation create-stack-instances --stack-set-name {quoted(name)} "
            f"--deployment-targets {quoted(units)} --regions {setup.home_region} "
            f"--call-as DELEGATED_ADMIN --region {setup.home_region} {PREFERENCES}"
        )
    if not found.is_auto_deployed:
        faults.append("automatic deployment is off: accounts that join get no member role")
        mends.append(
            f"aws cloudformation update-stack-set --stack-set-name {quoted(name)} "
            "--use-previous-template --capabilities CAPABILITY_NAMED_IAM "
            "--auto-deployment Enabled=true,RetainStacksOnAccountRemoval=false "
            f"--call-as DELEGATED_ADMIN --region {setup.home_region} {PREFERENCES}"
        )
    if faults:
        mend = Mend(where="hub", commands=(*mends, *stack_set_end(setup)), text=text)
        return missing(check, name, f"The stack set {name}: {'; '.join(faults)}.", mend)
    return ok(check, name, f"{name}, template {there}")


# --- members.instance -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with an account, and how it is mended; equal ones are folded.

    ``unit`` is the governed unit the account is in, empty for none.
    """

    says: str
    how: How
    unit: str


def judge_instances(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance],
    probes: Mapping[str, Mapping[str, Probe]],
) -> Iterator[Result]:
    """Judge the member stack of every active account but the management account.

    One outside the units may have a stack by hand, of which StackSets do not know: it is judged by
    what came of entering it. ``probes``: function -> account.
    """
    check = "members.instance"
    faults: dict[_Fault, list[str]] = defaultdict(list)
    for account_id in accounts.active:
        if account_id == setup.management_account_id:
            continue
        instance = instances.get(account_id)
        if account_id in accounts.excluded:
            there = "there all the same" if instance else "none"
            yield ok(
                check,
                accounts.named(account_id),
                f"{accounts.named(account_id)}: left out by account_exclusions ({there})",
            )
            continue
        fault = instance_fault(setup, accounts, account_id, instance)
        if fault is not None and fault.how == "move":
            let_in = _let_in(setup, account_id, probes)
            if let_in in {"all", "unknown"}:
                yield _outside(accounts, account_id, fault, is_known=let_in == "all")
                continue
            if let_in == "some":
                fault = _Fault(
                    "It is outside the units, and its stack, which was deployed by hand, does not "
                    "let every function in.",
                    "by hand",
                    "",
                )
        if fault is None:
            yield ok(check, accounts.named(account_id), "current")
        elif fault.how == "wait":
            yield cannot_tell(
                check,
                accounts.named(account_id),
                fault.says,
                look_again("CloudFormation is at work there: look again in some minutes."),
            )
        else:
            faults[fault].append(account_id)
    for account_id, state in sorted(accounts.inactive.items()):
        yield ok(
            check,
            accounts.named(account_id),
            f"{accounts.named(account_id)}: {plain(state.lower().replace('_', ' '), 40)}, needs "
            "none",
        )
    yield from _folded(check, setup, accounts, faults)


def _outside(accounts: Accounts, account_id: str, fault: _Fault, *, is_known: bool) -> Result:
    """Return the result of an account outside the units that no function was refused by."""
    check, name = "members.instance", accounts.named(account_id)
    if is_known:
        says = f"{name}: outside the units, its stack was deployed by hand"
        return ok(check, name, says)
    return cannot_tell(
        check,
        name,
        f"{fault.says} Whether it has one by hand nobody could try.",
        look_again(f"See what is said of: {title_of('members.role')}."),
    )


def _let_in(
    setup: Setup, account_id: str, probes: Mapping[str, Mapping[str, Probe]]
) -> Literal["all", "some", "none", "unknown"]:
    """Return which of the functions an account lets in: all of them must, to be known to.

    One that no account lets in does not count: that is its own fault.
    """
    nowhere = _let_in_nowhere(probes)
    functions = {each.removeprefix("Pare") for each in setup.callers.get("member", ())}
    tried = [probes.get(each, {}).get(account_id) for each in functions - nowhere]
    told = [each for each in tried if each is not None]
    is_any_in = any(each.is_in for each in told)
    if any(each.is_refused for each in told):
        return "some" if is_any_in else "none"
    return "all" if tried and len(told) == len(tried) and all(e.is_in for e in told) else "unknown"


def instance_fault(
    setup: Setup, accounts: Accounts, account_id: str, instance: Instance | None
) -> _Fault | None:
    """Return what is wrong with the member stack of an active account; None: nothing."""
    unit = accounts.units.get(account_id, "")
    if instance is None:
        if account_id in accounts.unknown:
            unit = setup.organizational_units[0] if setup.organizational_units else ""
            return _Fault("It has no member stack.", "create", unit)
        if not unit:
            return _Fault(
                "The stack set gives it no member stack: it is in none of the settings' "
                f"organizational_units ({listed(setup.organizational_units)}).",
                "move",
                "",
            )
        return _Fault("It has no member stack.", "create", unit)
    unit = unit or (setup.organizational_units[0] if setup.organizational_units else "")
    if instance.detailed in _PASSING:
        return _Fault(f"Its member stack is being deployed ({instance.detailed}).", "wait", unit)
    because = f": {plain(instance.reason, 300)}" if instance.reason else ""
    if instance.status == "INOPERABLE" or instance.detailed == "INOPERABLE":
        return _Fault(
            sentence(f"Its member stack is inoperable, a deletion failed{because}"), "replace", unit
        )
    if instance.detailed == "SKIPPED_SUSPENDED_ACCOUNT":
        return _Fault(
            "StackSets passed it over while it was suspended; it is active again.", "update", unit
        )
    if instance.status != "CURRENT":
        state = (
            f"the last deployment ended as {instance.detailed}"
            if instance.detailed and instance.detailed != "SUCCEEDED"
            else "it is of another version"
        )
        return _Fault(
            sentence(f"Its member stack is {instance.status.lower()}, {state}{because}"),
            # What never came to be has no stack to update.
            "update" if instance.stack_id else "recreate",
            unit,
        )
    return None


def _folded(
    check: str, setup: Setup, accounts: Accounts, faults: Mapping[_Fault, Sequence[str]]
) -> Iterator[Result]:
    """Yield a result an account; of more than ``FOLD_AFTER`` with one fault, one for all."""
    for fault, ids in sorted(faults.items(), key=lambda each: (each[1][0], each[0].says)):
        mend = mend_of(setup, accounts, ids, fault)
        if len(ids) > FOLD_AFTER:
            yield missing(
                check,
                several(len(ids), "account"),
                f"{fault.says} {listed([accounts.named(each) for each in ids])}.",
                mend,
                accounts=list(ids),
            )
            continue
        for account_id in ids:
            if fault.how in {"by hand", "by hand again"}:
                mend = mend_of(setup, accounts, [account_id], fault)
            yield missing(
                check, accounts.named(account_id), fault.says, mend, accounts=[account_id]
            )


def mend_of(setup: Setup, accounts: Accounts, ids: Sequence[str], fault: _Fault) -> Mend:
    """Return what gives accounts a member stack as it should be."""
    name = setup.stack_set_name
    unit = fault.unit
    if fault.how in {"by hand", "by hand again"}:
        plainly = tuple(deploy_member(profile_of(setup, each)) for each in ids)
        drifted = tuple(f"{each} --revert-drift" for each in plainly)
        # Where it is not known whether the stack is there, the first creates it.
        pairs = tuple(each for pair in zip(plainly, drifted, strict=True) for each in pair)
        return Mend(
            where=where_of(setup, ids[0]) if len(ids) == 1 else "hub",
            commands=drifted if fault.how == "by hand again" else pairs,
            text=_BY_HAND,
        )
    if fault.how == "deploy":
        return Mend(
            where="hub",
            commands=(deploy("PareMembers"),),
            text="It brings the stack set, and with it every account, up to date.",
        )
    if fault.how == "instance":
        return mend_first(title_of("members.instance"))
    if fault.how == "move":
        return Mend(
            where="you",
            # What is left out is told by ParePipeline, which PareMembers does not bring along.
            commands=(deploy("--all"),),
            text="First write its organizational unit (or the root) into organizational_units of "
            f"config/pare.yaml: `aws organizations list-parents --child-id {ids[0]}` tells the id "
            "of the unit that it is in. Or move it into a unit of the settings: `aws organizations "
            "move-account`, with credentials of the management account, needs the ids of both. Or, "
            "where it is to stay outside, name the account in account_exclusions. Where it is to "
            "stay outside and be read all the same, it gets its stack by hand instead, account by "
            "account, with its own credentials (--profile: whatever your profile of it is called): "
            f"{deploy_member(profile_of(setup, ids[0]))}",
        )
    if fault.how == "function":
        return Mend(where="hub", commands=(_PIPELINE_BACK,))
    if fault.how in {"let hub out", "let hub in", "allow"}:
        return _allow(setup, accounts, ids, fault.how)
    few = ids[:FOLD_AFTER]  # whose stack is taken away is not seen until it is there again
    end = stack_set_end(setup)
    if fault.how in {"create", "update"}:
        targets = stack_set_targets(setup, ids, unit)
        return Mend(
            where="hub",
            commands=(f"aws cloudformation {fault.how}-stack-instances {targets}", *end),
            text="Where it fails again for the reason above, mend that first, in the account."
            if fault.how == "update"
            else "",
        )
    targets = stack_set_targets(setup, few, unit)
    create = f"aws cloudformation create-stack-instances {targets}"
    delete = f"aws cloudformation delete-stack-instances {targets}"
    text = (
        f"Takes away and makes anew Pare's two roles in {listed(list(few), len(few))} alone; "
        "nothing else there."
    )
    if len(ids) > len(few):
        text = (
            f"{text} These are the first {len(few)} accounts: see that they are well "
            "(pare doctor --only members), which names the next."
        )
    if fault.how == "replace":
        before = (
            f"Before the commands that create, delete the stack StackSet-{name}-… in "
            f"{'the account' if len(few) == 1 else 'each account'}: it is in the way of the new "
            "one."
        )
        return Mend(
            where="hub",
            commands=(f"{delete} --retain-stacks", *end, create, *end),
            text=f"{before} {text}".strip(),
        )
    return Mend(
        where="hub", commands=(f"{delete} --no-retain-stacks", *end, create, *end), text=text
    )


_PIPELINE_BACK: Final = "npx cdk deploy ParePipeline --revert-drift"
_BY_HAND: Final = (
    "--profile: whatever your profile of the account is called. --revert-drift brings back what "
    "somebody changed by hand, which a plain deployment does not see. An account that is to stay "
    "outside is named in account_exclusions of config/pare.yaml; then: npx cdk deploy --all"
)


def _allow(setup: Setup, accounts: Accounts, ids: Sequence[str], how: How) -> Mend:
    """Return what shows the policies of the organization that may stand in the way.

    A service control policy binds whoever calls: those of the hub and of what is above it count. A
    resource control policy binds what is called: the account's.
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html
    """
    hub = setup.hub_account_id
    where_asked: list[tuple[str, str]] = []
    if how != "let hub in":
        where_asked += [(each, _SERVICE_CONTROL) for each in (hub, *accounts.above.get(hub, ()))]
    if how != "let hub out":
        chosen = ids[:_LOOKED_UP]
        above = (each for account_id in chosen for each in accounts.above.get(account_id, ()))
        where_asked += [(each, _RESOURCE_CONTROL) for each in dict.fromkeys((*chosen, *above))]
    return Mend(
        where="management",
        commands=tuple(_list_policies(target, kind) for target, kind in where_asked),
        text="One of these policies, or one of a unit between, denies it: let it except "
        f"sts:AssumeRole of arn:{setup.partition}:iam::*:role/{setup.member_role_name} by "
        f"the hub account {hub}.",
    )


def _list_policies(target: str, kind: str) -> str:
    return f"aws organizations list-policies-for-target --target-id {target} --filter {kind}"


# --- members.management ---------------------------------------------------------------------------


def judge_management(
    setup: Setup,
    accounts: Accounts,
    probes: Mapping[str, Mapping[str, Probe]],
    problems: Mapping[str, str],
) -> Result:
    """Judge the management account by whether functions are let in.

    ``probes``, ``problems``: as ``judge_roles`` has them.
    """
    check, account_id = "members.management", setup.management_account_id
    name = accounts.named(account_id)
    if account_id in accounts.excluded:
        return ok(check, name, f"{name}: left out by account_exclusions")
    tried = [each[account_id] for each in probes.values() if account_id in each]
    mend = Mend(
        where="management",
        commands=(
            deploy_member(MANAGEMENT_PROFILE),
            f"{deploy_member(MANAGEMENT_PROFILE)} --revert-drift",
        ),
        text=f"--profile: whatever your profile of the account {account_id} is called. Where it is "
        "deployed already, the first changes nothing; the second brings back what somebody changed "
        "by hand.",
    )
    if any(each.is_in for each in tried):
        return ok(check, name, f"{name}, its member role lets the hub in")
    refused = [each for each in tried if each.is_refused]
    if refused:
        return missing(
            check,
            name,
            f"No function of the hub can enter it: {_why_refused(refused[0])}",
            mend,
        )
    if not tried:
        lacking = [each for each in (own_right(setup, one) for one in problems.values()) if each]
        return cannot_tell(
            check,
            name,
            "Whether it lets the hub in is not known: no function could be asked.",
            lacking[0] if lacking else mend_first(title_of("members.role")),
        )
    said = f"{plain(tried[0].code)}: {plain(tried[0].message)}"
    return cannot_tell(check, name, sentence(f"It could not be entered: {said}"), mend)


# --- members.role ---------------------------------------------------------------------------------


def judge_roles(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance] | None,
    probes: Mapping[str, Mapping[str, Probe]],
    problems: Mapping[str, str],
) -> Iterator[Result]:
    """Judge which functions are let into which accounts.

    ``probes``: function -> account -> what came of it. ``problems``: functions that could not be
    asked, and why. ``instances`` None: nobody knows.
    """
    check = "members.role"
    for function, problem in sorted(problems.items()):
        yield _not_asked(setup, function, problem)
    wanted = [each for each in accounts.active if each not in accounts.excluded]
    nowhere = _let_in_nowhere(probes)
    for function in sorted(probes):
        tried = probes[function]
        if function in nowhere:
            yield _function_refused(setup, function, tried)
        elif tried and all(tried[each].is_in for each in tried):
            yield ok(check, function, f"all {several(len(tried), 'account')}", accounts=len(tried))
    yield from _refusing(setup, accounts, instances, probes, nowhere, wanted)


def _not_asked(setup: Setup, function: str, problem: str) -> Result:
    """Return the result of a function that could not be asked."""
    check, said = "members.role", sentence(plain(problem, 400))
    if "ResourceNotFoundException" in problem:
        return missing(
            check,
            function,
            f"The function {function} is not there: {said}",
            bring_back("ParePipeline"),
        )
    says = f"The function {function} could not be asked: {said}"
    if lacking := own_right(setup, problem):
        return cannot_tell(check, function, says, lacking)
    mend = Mend(
        where="hub",
        commands=(_PIPELINE_BACK,),
        text="If it fails by itself, this brings back what the template has of it; throttling "
        "passes.",
    )
    return cannot_tell(check, function, says, mend)


def _let_in_nowhere(probes: Mapping[str, Mapping[str, Probe]]) -> set[str]:
    """Return the functions that no account lets in while others are let in: it is their fault."""
    somewhere = {
        function for function, tried in probes.items() if any(each.is_in for each in tried.values())
    }
    if not somewhere:
        return set()
    return {
        function
        for function, tried in probes.items()
        if function not in somewhere and len(tried) > 1
        and all(each.is_refused for each in tried.values())
    }  # fmt: skip


def _function_refused(setup: Setup, function: str, tried: Mapping[str, Probe]) -> Result:
    first = tried[min(tried)]
    return missing(
        "members.role",
        function,
        f"No account lets the function {function} in, while others are let in: "
        f"{_why_refused(first)}",
        Mend(
            where="hub",
            commands=(
                _PIPELINE_BACK,
                *((deploy("PareMembers"),) if setup.has_stack_set else ()),
            ),
            text=f"In this order: its role Pare{function} lost the right to assume "
            f"{setup.member_role_name}, or the member roles are of a version that does not name "
            "it (member role's version).",
        ),
        accounts=len(tried),
    )


def _refusing(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance] | None,
    probes: Mapping[str, Mapping[str, Probe]],
    nowhere: set[str],
    wanted: Sequence[str],
) -> Iterator[Result]:
    check = "members.role"
    counted = {each: tried for each, tried in probes.items() if each not in nowhere}
    shut = _all_shut(setup, accounts, instances, counted)
    if shut:
        yield _hub_refused(setup, accounts, shut)
    faults: dict[_Fault, list[str]] = defaultdict(list)
    for account_id in wanted:
        tried = {name: each[account_id] for name, each in counted.items() if account_id in each}
        refused = {name: each for name, each in tried.items() if each.is_refused}
        failed = {
            name: each for name, each in tried.items() if not each.is_in and not each.is_refused
        }
        if failed:
            probe = failed[min(failed)]
            yield cannot_tell(
                check,
                accounts.named(account_id),
                f"{listed(sorted(failed))} could not be let in or refused: "
                f"{sentence(f'{plain(probe.code, 60)}: {plain(probe.message, 300)}')}",
                look_again("It may pass by itself."),
            )
        untold = sorted(set(counted) - set(tried))
        if untold and counted:
            yield cannot_tell(
                check,
                accounts.named(account_id),
                f"{listed(untold)} had no time to try it.",
                look_again("Look again."),
            )
        if not refused:
            continue
        is_management = account_id == setup.management_account_id
        if is_management and len(refused) == len(tried):
            continue  # members.management says it
        if account_id in shut:
            continue
        faults[
            _role_fault(setup, accounts, account_id, instances, refused, len(tried))
        ].append(account_id)  # fmt: skip
    managed = {
        fault: [each for each in ids if each != setup.management_account_id]
        for fault, ids in faults.items()
    }
    yield from _folded(check, setup, accounts, {f: ids for f, ids in managed.items() if ids})
    for fault, ids in faults.items():
        if setup.management_account_id in ids:
            yield missing(
                check,
                accounts.named(setup.management_account_id),
                fault.says,
                Mend(
                    where="management",
                    commands=(f"{deploy_member(MANAGEMENT_PROFILE)} --revert-drift",),
                ),
            )


def _all_shut(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance] | None,
    probes: Mapping[str, Mapping[str, Probe]],
) -> dict[str, Probe]:
    """Return the accounts with a current stack, if none of them lets any function in.

    Not every account has had its role changed: the cause is at the hub, and accounts' stacks made
    anew would be as shut as before. Empty where there is only one such account, or one is open.
    """
    shut: dict[str, Probe] = {}
    for account_id, instance in sorted((instances or {}).items()):
        tried = [each[account_id] for each in probes.values() if account_id in each]
        if not tried or instance_fault(setup, accounts, account_id, instance) is not None:
            continue
        if not all(each.is_refused for each in tried):
            return {}
        shut[account_id] = tried[0]
    return shut if len(shut) > 1 else {}


def _hub_refused(setup: Setup, accounts: Accounts, shut: Mapping[str, Probe]) -> Result:
    hub = setup.hub_account_id
    return missing(
        "members.role",
        f"hub {hub}",
        f"No function of the hub is let into any of the {len(shut):,} accounts, though their "
        f"member stacks are current: the cause is at the hub. {_why_refused(shut[min(shut)])}",
        Mend(
            where="hub",
            commands=(
                _PIPELINE_BACK,
                deploy("PareMembers"),
                *(
                    _list_policies(each, _SERVICE_CONTROL)
                    for each in (hub, *accounts.above.get(hub, ()))
                ),
            ),
            text="In this order: the functions' roles lost their right, or their external id, "
            f"{setup.member_external_id}; the stack set's template is not that of this hub; a "
            "service control policy of the hub account, or of what is above it, denies "
            "sts:AssumeRole (the others show which there are); or a resource control policy of the "
            "root does.",
        ),
        accounts=sorted(shut),
    )


def _role_fault(
    setup: Setup,
    accounts: Accounts,
    account_id: str,
    instances: Mapping[str, Instance] | None,
    refused: Mapping[str, Probe],
    tried: int,
) -> _Fault:
    """Return what is the likeliest cause, by all that is known of the account."""
    unit = accounts.units.get(account_id, "")
    instance = (instances or {}).get(account_id)
    who = (
        "No function of the hub is let in"
        if len(refused) == tried
        else f"{listed(sorted(refused))} {'is' if len(refused) == 1 else 'are'} refused, "
        f"{several(tried - len(refused), 'other')} let in"
    )
    why = _why_refused(refused[min(refused)])
    policy = _in_the_way(refused[min(refused)].message)
    if policy is not None:
        return _Fault(f"{who}: {why}", policy, unit)
    if not setup.has_stack_set:
        return _by_hand_fault(setup, who, is_there=len(refused) < tried)
    found = instance_fault(setup, accounts, account_id, instance) if instances is not None else None
    if found is not None and found.how == "move" and len(refused) < tried:
        return _by_hand_fault(setup, who, is_there=True)
    if found is not None:
        return _Fault(f"{who}: {_lowered(found.says)}", "instance", found.unit)
    if len(refused) < tried:
        cause = "its trust policy does not name them: somebody changed it, or it is older"
    elif instances is None:
        cause = (
            f"in this order: the role {setup.member_role_name} is missing, its trust policy wants "
            "another external id or organization, or a resource control policy denies "
            "sts:AssumeRole"
        )
    else:
        cause = (
            f"its member stack is current, so in this order: somebody deleted the role "
            f"{setup.member_role_name}, or changed its trust policy (it must want the external id "
            f"{setup.member_external_id} and the organization {setup.organization_id}), or a "
            "resource control policy denies sts:AssumeRole"
        )
    unit = unit or (setup.organizational_units[0] if setup.organizational_units else "")
    return _Fault(f"{who}: {cause}.", "recreate" if instances is not None else "deploy", unit)


def _by_hand_fault(setup: Setup, who: str, *, is_there: bool) -> _Fault:
    if is_there:
        cause = "its trust policy does not name them: somebody changed it, or it is older"
    else:
        cause = (
            f"in this order: the stack PareMember with the role {setup.member_role_name} is not "
            "deployed there, its trust policy wants another external id or organization, or a "
            "resource control policy denies sts:AssumeRole; where it is so in every account that "
            f"has it, the cause is at the hub: {_PIPELINE_BACK}"
        )
    return _Fault(f"{who}: {cause}.", "by hand", "")


_OF_THE_CALLER: Final = ("identity-based policy", "permissions boundary", "session policy")


def _in_the_way(message: str) -> How | None:
    """Return what is to be done about the policy that AWS's message names; None: it names none.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    message = message.lower()
    if "service control policy" in message:
        return "let hub out"
    if "resource control policy" in message:
        return "let hub in"
    if "explicit deny" not in message or "resource-based policy" in message:
        return None  # a role's trust policy is its own account's
    if any(each in message for each in _OF_THE_CALLER):
        return "function"
    return "allow"


def _lowered(says: str) -> str:
    return says[0].lower() + says[1:]


def _why_refused(probe: Probe) -> str:
    """Return why AWS refused, where its message says more than that it did."""
    message = plain(probe.message, 400)
    if "explicit deny" in message.lower():
        return sentence(f"a policy denies it outright, AWS says: {message}")
    if "no identity-based policy" in message.lower():
        return sentence(f"the function's own role lacks the right, AWS says: {message}")
    return sentence(message or plain(probe.code) or "AWS gave no reason")


# --- members.template -----------------------------------------------------------------------------


def _entered(accounts: Accounts, probes: Mapping[str, Probe]) -> Iterator[tuple[str, Probe]]:
    """Yield the accounts that are looked at and could be entered."""
    for account_id in accounts.active:
        probe = probes.get(account_id)
        if account_id not in accounts.excluded and probe is not None and probe.is_in:
            yield account_id, probe


def judge_templates(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance] | None,
    probes: Mapping[str, Probe],
    stack_set: StackSet | None,
) -> Iterator[Result]:
    """Judge of which version the member roles are that could be entered, and their rights."""
    check = "members.template"
    faults: dict[_Fault, list[str]] = defaultdict(list)
    for account_id, probe in _entered(accounts, probes):
        name = accounts.named(account_id)
        untold = _rights_untold(probe.rights)
        if untold:
            yield cannot_tell(check, name, untold, _mend_of_rights(setup, account_id, probe))
            continue
        changed = _rights_fault(setup, account_id, probe)
        there = f"of version {plain(probe.template, 40)}" if probe.template else "of no version"
        says = changed or f"Its member role is {there}, the hub is of {setup.member_template}."
        if not changed and probe.template == setup.member_template:
            yield ok(check, name, f"version {probe.template}")
        elif account_id == setup.management_account_id:
            command = deploy_member(MANAGEMENT_PROFILE)
            # Changed by hand, a plain deployment of the same template sees nothing to do.
            yield missing(
                check,
                name,
                says,
                Mend("management", (f"{command} --revert-drift" if changed else command,)),
            )
        else:
            fault = _stale(
                setup, accounts, account_id, instances, stack_set, says, by_hand=bool(changed)
            )
            faults[fault].append(account_id)
    yield from _folded(check, setup, accounts, faults)


def _rights_untold(rights: Rights | None) -> str:
    """Return why nobody knows the rights of a member role; empty: they are known, or refused."""
    if rights is None or rights.digest is not None:
        return ""
    if rights.code in _DENIED and "explicit deny" not in rights.message.lower():
        return ""
    said = f"{plain(rights.action, 60)}: {plain(rights.code, 60)}: {plain(rights.message, 300)}"
    return sentence(f"It lets the hub in, and its member role could not be read: {said}")


def _mend_of_rights(setup: Setup, account_id: str, probe: Probe) -> Mend:
    """Return what lets a member role be read that could not be; what denies outright never passes.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    message = probe.rights.message.lower() if probe.rights else ""
    role = setup.member_role_name
    if "explicit deny" not in message:
        return look_again("The message is AWS's own: it may pass by itself.")
    if "control policy" in message:
        kind = _RESOURCE_CONTROL if "resource control policy" in message else _SERVICE_CONTROL
        return Mend(
            "management",
            (_list_policies(account_id, kind),),
            text=f"One of these policies, or one of a unit above, denies it: let it except "
            f"arn:{setup.partition}:iam::{account_id}:role/{role}.",
        )
    return Mend(
        where_of(setup, account_id),
        (
            f"aws iam list-attached-role-policies --role-name {role}",
            f"aws iam get-role --role-name {role} --query Role.PermissionsBoundary",
        ),
        text=f"A policy attached to the role {role}, or its permissions boundary, denies it, which "
        "never passes by itself. These commands name them: find the one that denies, and detach "
        f"it. Where there is none, somebody changed the role's own policies: `aws iam "
        f"list-role-policies --role-name {role}`.",
    )


def _rights_fault(setup: Setup, account_id: str, probe: Probe) -> str:
    """Return what is wrong with the rights of a member role; empty: nothing, or not known.

    A role of another version has other rights: of that its version tells.
    """
    rights = probe.rights
    if rights is None:
        return ""
    if rights.digest is None:
        return (
            "Its member role lets the hub in, and may not even read itself "
            f"({plain(rights.action, 60)}): its rights are not those of the template, somebody "
            "changed them."
        )
    if probe.template != setup.member_template or not setup.member_rights:
        return ""
    if rights.digest == rights_in(setup.member_rights, account_id):
        return ""
    return (
        "Its member role's rights are not those of the template: somebody changed its inline "
        "policies or its permissions boundary."
    )


def _stale(
    setup: Setup,
    accounts: Accounts,
    account_id: str,
    instances: Mapping[str, Instance] | None,
    stack_set: StackSet | None,
    says: str,
    *,
    by_hand: bool,
) -> _Fault:
    """Return the fault of an account that lets the hub in and has not what the template has.

    ``by_hand``: somebody changed it; else it may be of another version.
    """
    if not setup.has_stack_set or _is_outside(setup, accounts, account_id, instances):
        return _Fault(says, "by hand again" if by_hand else "by hand", "")
    unit = accounts.units.get(account_id, "") or (
        setup.organizational_units[0] if setup.organizational_units else ""
    )
    how: How = "deploy"
    is_set_current = stack_set is not None and template_hash(stack_set.template) == (
        setup.member_template
    )
    if is_set_current and instances is not None and account_id in instances:
        how = "recreate" if instances[account_id].status == "CURRENT" else "update"
    return _Fault(says, how, unit)


def _is_outside(
    setup: Setup, accounts: Accounts, account_id: str, instances: Mapping[str, Instance] | None
) -> bool:
    """Return whether the stack set is known not to reach an account."""
    if instances is None:
        return False
    fault = instance_fault(setup, accounts, account_id, instances.get(account_id))
    return fault is not None and fault.how == "move"


# --- members.access-role --------------------------------------------------------------------------

_ABSENT: Final = "NoSuchEntity"


def judge_access_roles(
    setup: Setup,
    accounts: Accounts,
    instances: Mapping[str, Instance] | None,
    probes: Mapping[str, Probe],
    stack_set: StackSet | None,
) -> Iterator[Result]:
    """Judge Access Analyzer's service role in the accounts that could be entered."""
    check = "members.access-role"
    faults: dict[_Fault, list[str]] = defaultdict(list)
    for account_id, probe in _entered(accounts, probes):
        name, found = accounts.named(account_id), probe.access_role
        if found is None or (found.path is None and found.code != _ABSENT):
            said = f"{plain(found.code, 60)}: {plain(found.message)}" if found else "not looked for"
            yield cannot_tell(
                check,
                name,
                sentence(f"The role {setup.access_role_name} could not be read: {said}"),
                _mend_of_reading(found),
            )
            continue
        says = _access_role_fault(setup, found)
        if not says:
            yield ok(check, name, setup.access_role_name)
        elif account_id == setup.management_account_id:
            yield missing(
                check,
                name,
                says,
                Mend(
                    where="management",
                    commands=(f"{deploy_member(MANAGEMENT_PROFILE)} --revert-drift",),
                ),
            )
        else:
            fault = _stale(setup, accounts, account_id, instances, stack_set, says, by_hand=True)
            faults[fault].append(account_id)
    yield from _folded(check, setup, accounts, faults)


def _mend_of_reading(found: AccessRole | None) -> Mend:
    """Return what lets Access Analyzer's role be read where it could not be."""
    if found is None:
        return Mend(
            where="hub",
            commands=(deploy("--all"),),
            text="The function did not look for it: it is of another Pare than this command.",
        )
    if found.code in _DENIED:
        return mend_first(title_of("members.template"))
    return look_again("The message is AWS's own: it may pass by itself.")


def _access_role_fault(setup: Setup, found: AccessRole) -> str:
    """Return what is wrong with the role; empty: nothing."""
    role = f"The role {setup.access_role_name}"
    if found.path is None:
        return f"{role}, by which Access Analyzer reads the trail, is not there."
    if found.path != setup.access_role_path:
        return (
            f"{role} has the path {plain(found.path, 120)}, not {setup.access_role_path}: Access "
            "Analyzer is handed a role that is not there."
        )
    if not found.is_trusting:
        return f"{role} does not let Access Analyzer assume it: its trust policy was changed."
    return ""


def as_template(body: Any) -> dict[str, Any]:
    """Return a template's body as JSON; an empty one where it is none."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return {}
    return dict(body) if isinstance(body, dict) else {}
