"""Reads the stack set, its instances, and which functions are let into which accounts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from pare.aws.calls import error_code, translated
from pare.doctor.checks import title_of
from pare.doctor.commands import mend_first
from pare.doctor.members import (
    FOLD_AFTER,
    AccessRole,
    Accounts,
    Instance,
    Probe,
    Rights,
    StackSet,
    as_template,
    judge_access_roles,
    judge_instances,
    judge_management,
    judge_roles,
    judge_stack_set,
    judge_templates,
)
from pare.doctor.model import Mend, cannot_tell
from pare.errors import PareError
from pare.message import plain, sentence, several

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pare.aws.doctor.context import Examination
    from pare.doctor.model import Result
    from pare.doctor.setup import Setup

# Some seconds' work of a function, which may have only a minute for all.
ACCOUNTS_A_PROBE = 100
_NO_STACK_SET = frozenset({"StackSetNotFoundException", "StackSetNotFound"})
# Better than an instance that is not.
_BEST_FIRST = ("CURRENT", "OUTDATED", "INOPERABLE")


def examine(examination: Examination) -> Iterator[Result]:
    """Yield whether every account has the member role, and lets the hub's functions in."""
    setup = examination.setup
    try:
        accounts = read_accounts(examination)
    except PareError as error:
        yield cannot_tell(
            "members.instance",
            "",
            f"The accounts of the organization could not be listed: {_said(error)}",
            Mend(
                where="you",
                text="AWS lists them for delegated administrators: mend first what is said above "
                "of the organization. Where that is well, your credentials need "
                "organizations:ListAccounts.",
            ),
        )
        return
    stack_set: StackSet | None = None
    instances: dict[str, Instance] | None = None
    if setup.has_stack_set:
        try:
            examination.say("reading the stack set")
            stack_set = read_stack_set(examination)
            has_stack = stack_set is None and _has_stack(examination)
            yield judge_stack_set(setup, stack_set, has_stack=has_stack)
            instances = read_instances(examination) if stack_set else None
        except PareError as error:
            yield _untold_stack_set(setup, error)
        if instances is None and stack_set is None:
            yield cannot_tell(
                "members.instance",
                "",
                "Without the stack set nobody knows which accounts have a member stack.",
                mend_first(title_of("members.stack-set")),
            )
    probes, problems = enter(examination, accounts)
    accounts = replace(accounts, above=_above(examination, probes))
    if instances is not None:
        yield from judge_instances(setup, accounts, instances, probes)
    yield judge_management(setup, accounts, probes, problems)
    yield from judge_roles(setup, accounts, instances, probes, problems)
    versions = _versions(setup, probes)
    if versions:
        yield from judge_templates(setup, accounts, instances, versions, stack_set)
        yield from judge_access_roles(setup, accounts, instances, versions, stack_set)
    else:
        for check, what in (
            ("members.template", "of which version the member roles are"),
            ("members.access-role", "whether Access Analyzer's role is there"),
        ):
            yield cannot_tell(
                check,
                "",
                f"No function could say {what}.",
                mend_first(title_of("members.role"), title_of("members.management")),
            )


def _untold_stack_set(setup: Setup, error: PareError) -> Result:
    return cannot_tell(
        "members.stack-set",
        setup.stack_set_name,
        f"CloudFormation did not tell of the stack set: {_said(error)}",
        Mend(
            where="you",
            text="Only a delegated administrator of StackSets may ask: mend first what is said of: "
            f"{title_of('organization.stack-sets-administrator')}. Where that is well, your "
            "credentials need cloudformation:DescribeStackSet and ListStackInstances.",
        ),
    )


def _said(error: PareError) -> str:
    return sentence(plain(error, 400))


# --- The accounts ---------------------------------------------------------------------------------


def read_accounts(examination: Examination) -> Accounts:
    """Return the accounts, and in which of the settings' units each active one is."""
    setup = examination.setup
    governed = setup.organizational_units
    examination.say("listing the accounts")
    active = examination.active_accounts
    if not setup.has_stack_set:
        # Every account has to have the role, wherever it is.
        units, unknown = {}, frozenset[str]()
    elif any(unit.startswith("r-") for unit in governed):
        # An organization has one root.
        root = next(unit for unit in governed if unit.startswith("r-"))
        units, unknown = dict.fromkeys(active, root), frozenset[str]()
    else:
        units, unknown = _units(examination, active)
    return Accounts(
        active=tuple(active),
        inactive={
            each["account_id"]: each["state"]
            for each in examination.accounts
            if each["account_id"] not in active
        },
        excluded=setup.account_exclusions,
        units=units,
        unknown=unknown,
        names={each["account_id"]: examination.named(each["account_id"])
               for each in examination.accounts},
    )  # fmt: skip


def _units(examination: Examination, active: list[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Return account -> the governed unit it is in, and the accounts of which nobody could say.

    From the paths that ListAccounts has; else by going up from each account.
    """
    governed = examination.setup.organizational_units
    organizations = examination.client("organizations")
    paths: dict[str, list[str]] = {}
    with translated("organizations:ListAccounts"):
        for page in organizations.get_paginator("list_accounts").paginate():
            for each in page["Accounts"]:
                if each.get("Paths"):
                    paths[each["Id"]] = [part for path in each["Paths"] for part in path.split("/")]
    asked = [each for each in active if each not in paths]
    ways = _ways(examination, asked)
    units: dict[str, str] = {}
    unknown = set()
    for account_id in active:
        way = paths.get(account_id) or ways.get(account_id)
        if way is None:
            unknown.add(account_id)
            continue
        unit = next((each for each in governed if each in way), None)
        if unit:
            units[account_id] = unit
    return units, frozenset(unknown)


def _ways(examination: Examination, asked: list[str]) -> dict[str, list[str] | None]:
    """Return account -> its unit, that one's unit, and so on to the root; None: not told."""
    organizations = examination.client("organizations")
    parents: dict[str, str] = {}

    def parent(child: str) -> str:
        if child not in parents:
            with translated("organizations:ListParents"):
                answer = organizations.list_parents(ChildId=child)
            parents[child] = answer["Parents"][0]["Id"] if answer["Parents"] else ""
        return parents[child]

    def above(account_id: str) -> list[str] | None:
        found = []
        here = account_id
        try:
            while here and not here.startswith("r-"):
                here = parent(here)
                found.append(here)
        except PareError:
            return None
        return found

    if not asked:
        return {}
    found = examination.side_by_side("where accounts are", asked, above, threads=4)
    return dict(zip(asked, found, strict=True))


def _above(
    examination: Examination, probes: Mapping[str, Mapping[str, Probe]]
) -> dict[str, list[str]]:
    """Return what is above the hub and the first accounts that refuse: policies may be there."""
    refusing = sorted(
        {
            account_id
            for tried in probes.values()
            for account_id, probe in tried.items()
            if probe.is_refused
        }
    )
    if not refusing:
        return {}
    asked = list(dict.fromkeys((examination.setup.hub_account_id, *refusing[:FOLD_AFTER])))
    ways = _ways(examination, asked)
    return {account_id: way for account_id, way in ways.items() if way}


# --- The stack set --------------------------------------------------------------------------------


def read_stack_set(examination: Examination) -> StackSet | None:
    """Return the stack set as the delegated administrator sees it; None: there is none."""
    cloudformation = examination.client("cloudformation")
    with translated("cloudformation:DescribeStackSet"):
        try:
            found: dict[str, Any] = cloudformation.describe_stack_set(
                StackSetName=examination.setup.stack_set_name, CallAs="DELEGATED_ADMIN"
            )["StackSet"]
        except ClientError as error:
            if error_code(error) in _NO_STACK_SET:
                return None
            raise
    return StackSet(
        status=found.get("Status", ""),
        is_auto_deployed=bool(found.get("AutoDeployment", {}).get("Enabled")),
        organizational_units=tuple(found.get("OrganizationalUnitIds", ())),
        template=as_template(found.get("TemplateBody", "")),
    )


def _has_stack(examination: Examination) -> bool:
    """Return whether the stack that makes the stack set is there."""
    with translated("cloudformation:DescribeStacks"):
        try:
            examination.client("cloudformation").describe_stacks(StackName="PareMembers")
        except ClientError as error:
            if error_code(error) == "ValidationError":
                return False
            raise
    return True


def read_instances(examination: Examination) -> dict[str, Instance]:
    """Return the best instance of each account that has one."""
    pages = examination.client("cloudformation").get_paginator("list_stack_instances")
    instances: dict[str, Instance] = {}
    with translated("cloudformation:ListStackInstances"):
        for page in pages.paginate(
            StackSetName=examination.setup.stack_set_name, CallAs="DELEGATED_ADMIN"
        ):
            for each in page["Summaries"]:
                instance = Instance(
                    account_id=each["Account"],
                    status=each.get("Status", ""),
                    detailed=each.get("StackInstanceStatus", {}).get("DetailedStatus", ""),
                    reason=each.get("StatusReason", ""),
                    stack_id=each.get("StackId", ""),
                )
                known = instances.get(instance.account_id)
                if known is None or _rank(instance) < _rank(known):
                    instances[instance.account_id] = instance
    return instances


def _rank(instance: Instance) -> int:
    return _BEST_FIRST.index(instance.status) if instance.status in _BEST_FIRST else 9


# --- Entering accounts ----------------------------------------------------------------------------


def enter(
    examination: Examination, accounts: Accounts
) -> tuple[dict[str, dict[str, Probe]], dict[str, str]]:
    """Let every function that enters accounts try all of them.

    Returns function -> account -> what came of it, and what was wrong with functions that could not
    be asked. An account that no time was left for is in neither.
    """
    setup = examination.setup
    wanted = [each for each in accounts.active if each not in accounts.excluded]
    functions = callers(setup)
    chunks = [wanted[i : i + ACCOUNTS_A_PROBE] for i in range(0, len(wanted), ACCOUNTS_A_PROBE)]

    def ask(about: tuple[str, list[str]]) -> tuple[str, dict[str, Probe], str]:
        function, ids = about
        found: dict[str, Probe] = {}
        left = ids
        try:
            while left:
                request: dict[str, Any] = {"kind": "member", "account_ids": left}
                if function == functions[0]:
                    request |= {"template": True, "access_role": setup.access_role_name}
                answer = examination.probe(function, request)
                entered = _probes(answer)
                found |= entered
                # A function has little time; what it did not reach it is asked again, unless it
                # reached none.
                left = [each for each in left if each not in found] if entered else []
        except PareError as error:
            return function, found, str(error)
        return function, found, ""

    probes: dict[str, dict[str, Probe]] = {each: {} for each in functions}
    problems: dict[str, str] = {}
    work = [(function, ids) for ids in chunks for function in functions]
    examination.say(f"letting {several(len(functions), 'function')} enter the accounts")
    for function, found, problem in examination.side_by_side(
        f"accounts entered, each by {several(len(functions), 'function')}",
        work,
        ask,
        weight=lambda each: len(each[1]),
    ):
        probes[function] |= found
        if problem:
            problems[function] = problem
    return {
        function: found
        for function, found in probes.items()
        if found or function not in problems
    }, problems  # fmt: skip


def callers(setup: Setup) -> list[str]:
    """Return the functions that enter accounts; their roles are called as they are, with Pare."""
    return [each.removeprefix("Pare") for each in setup.callers.get("member", ())]


def _probes(answer: Mapping[str, Any]) -> dict[str, Probe]:
    told: dict[str, Any] = answer.get("accounts", {})
    return {
        account_id: Probe(
            is_in=bool(each.get("ok")),
            code=str(each.get("code", "")),
            message=str(each.get("message", "")),
            template=each.get("template"),
            rights=_rights(each.get("rights")),
            access_role=_access_role(each.get("access_role")),
        )
        for account_id, each in told.items()
    }


def _rights(answer: Mapping[str, Any] | None) -> Rights | None:
    if answer is None:
        return None
    if answer.get("ok"):
        return Rights(str(answer["value"]))
    action, code, message = (str(answer.get(each, "")) for each in ("action", "code", "message"))
    return Rights(None, action, code, message)


def _access_role(answer: Mapping[str, Any] | None) -> AccessRole | None:
    if answer is None:
        return None
    if not answer.get("ok"):
        return AccessRole(
            None, code=str(answer.get("code", "")), message=str(answer.get("message", ""))
        )
    return AccessRole(
        path=str(answer["value"]["path"]), is_trusting=bool(answer["value"]["is_trusting"])
    )


def _versions(setup: Setup, probes: Mapping[str, Mapping[str, Probe]]) -> Mapping[str, Probe]:
    functions = callers(setup)
    return probes.get(functions[0], {}) if functions else {}
