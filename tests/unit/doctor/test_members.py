from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.checks import title_of
from pare.doctor.commands import mend_first, own_right
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
    template_hash,
)
from pare.member_rights import rights_in
from tests.doctor_setup import HUB, LOG_ARCHIVE, MANAGEMENT, PAYMENTS, ROOT, SHOP, TEMPLATE, setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pare.doctor.model import Result
    from pare.doctor.setup import Setup

MEMBERS = (HUB, LOG_ARCHIVE, PAYMENTS, SHOP)
EVERYONE = (*MEMBERS, MANAGEMENT)
FUNCTIONS = ("EnrichFinding", "ListPrincipals", "ReadLastAccessed")
REFUSED = Probe(False, "AccessDenied", "User: x is not authorized to perform: sts:AssumeRole")
IN = Probe(True, template=TEMPLATE)
DEPLOY = ("npx cdk deploy PareMembers",)
ALL_AT_ONCE = "--operation-preferences FailureTolerancePercentage=100,MaxConcurrentPercentage=100"
UNIT = "ou-abcd-11111111"


def template(version: str = TEMPLATE) -> dict[str, Any]:
    role = {"Tags": [{"Key": "pare:member-template", "Value": version}]}
    return {"Resources": {"A": {"Properties": {}}, "B": {"Properties": role}}}


def stack_set(**changes: Any) -> StackSet:
    fields: dict[str, Any] = {
        "status": "ACTIVE",
        "is_auto_deployed": True,
        "organizational_units": (ROOT,),
        "template": template(),
    }
    return StackSet(**{**fields, **changes})


def accounts(**changes: Any) -> Accounts:
    fields: dict[str, Any] = {
        "active": EVERYONE,
        "inactive": {},
        "excluded": (),
        "units": dict.fromkeys(EVERYONE, ROOT),
        "names": {PAYMENTS: f"{PAYMENTS} payments"},
    }
    return Accounts(**{**fields, **changes})


def instance(account_id: str, **changes: Any) -> Instance:
    fields: dict[str, Any] = {
        "status": "CURRENT", "detailed": "SUCCEEDED", "stack_id": "arn:stack"
    }  # fmt: skip
    return Instance(account_id, **{**fields, **changes})


def instances(*changed: Instance, without: tuple[str, ...] = ()) -> dict[str, Instance]:
    found = {each: instance(each) for each in MEMBERS if each not in without}
    return found | {each.account_id: each for each in changed}


def probes(refused: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, dict[str, Probe]]:
    """Return that everybody is let in, but functions (by account) that are refused."""
    refused = refused or {}
    return {
        function: {
            each: REFUSED if function in refused.get(each, ()) else IN for each in EVERYONE
        }
        for function in FUNCTIONS
    }  # fmt: skip


def faults(results: Any) -> list[Result]:
    return [each for each in results if each.status != "ok"]


def commands(result: Result) -> tuple[str, ...]:
    assert result.mend is not None
    return result.mend.commands


def verbs(result: Result) -> list[str]:
    """Return what the commands do, without those that wait and show how it ended."""
    done = [each.split()[2] for each in commands(result) if not each.startswith("while")]
    return [each for each in done if each != "list-stack-set-operations"]


# --- members.stack-set ---


def test_a_stack_set_as_it_should_be_is_well() -> None:
    found = judge_stack_set(setup(), stack_set(), has_stack=True)

    assert (found.status, found.says) == ("ok", f"PareMembers, template {TEMPLATE}")


@pytest.mark.parametrize("found", [None, stack_set(status="DELETED")])
def test_without_a_stack_set_it_is_deployed(found: StackSet | None) -> None:
    assert commands(judge_stack_set(setup(), found, has_stack=False)) == DEPLOY


def test_a_stack_set_that_somebody_deleted_takes_its_stack_with_it_first() -> None:
    assert commands(judge_stack_set(setup(), None, has_stack=True)) == (
        "npx cdk destroy PareMembers --exclusively --force",
        *DEPLOY,
    )


@pytest.mark.parametrize(
    ("change", "words", "done"),
    [
        (
            {"template": template("ffffffffffff")},
            "its template is ffffffffffff, not",
            ["deploy", "deploy"],
        ),
        ({"template": {}}, "its template is of no known version", ["deploy", "deploy"]),
        (
            {"organizational_units": ("ou-abcd-11111111",)},
            f"not deployed to {ROOT}",
            ["deploy", "create-stack-instances"],
        ),
        (
            {"organizational_units": ()},
            f"not deployed to {ROOT}",
            ["deploy", "create-stack-instances"],
        ),
        (
            {"is_auto_deployed": False},
            "accounts that join get no member role",
            ["update-stack-set"],
        ),
        (
            {"is_auto_deployed": False, "template": {}},
            "no known version, not 0a1b2c3d4e5f; automatic deployment is off",
            ["deploy", "deploy", "update-stack-set"],
        ),
    ],
)
def test_a_stack_set_that_differs_is_missing(
    change: dict[str, Any], words: str, done: list[str]
) -> None:
    found = judge_stack_set(setup(), stack_set(**change), has_stack=True)

    assert found.status == "missing"
    assert words in found.says
    assert verbs(found) == done


def test_the_version_of_a_template_is_in_a_tag_whatever_else_is_there() -> None:
    assert template_hash(template()) == TEMPLATE
    assert template_hash({}) is None
    assert as_template('{"Resources": {}}') == {"Resources": {}}
    assert as_template("Resources: {}") == {}


# --- members.instance ---


def test_current_instances_are_well_and_the_management_account_needs_none() -> None:
    found = list(judge_instances(setup(), accounts(), instances(), {}))

    assert [each.status for each in found] == ["ok"] * 4
    assert MANAGEMENT not in {each.subject for each in found}


def test_an_account_without_an_instance_gets_one_by_a_command_that_names_it() -> None:
    (found,) = faults(judge_instances(setup(), accounts(), instances(without=(PAYMENTS,)), {}))

    assert (found.status, found.subject) == ("missing", f"{PAYMENTS} payments")
    assert found.says == "It has no member stack."
    assert commands(found)[0] == (
        "aws cloudformation create-stack-instances --stack-set-name PareMembers "
        f'--deployment-targets \'{{"OrganizationalUnitIds":["{ROOT}"],"Accounts":["{PAYMENTS}"],'
        '"AccountFilterType":"INTERSECTION"}\' --regions eu-west-1 --call-as DELEGATED_ADMIN '
        f"--region eu-west-1 {ALL_AT_ONCE}"
    )
    wait, show = commands(found)[1:]
    assert wait.startswith("while aws cloudformation list-stack-set-operations")
    assert "list-stack-set-operations" in show
    assert "--max-items 1" in show


@pytest.mark.parametrize(
    "result",
    [
        judge_stack_set(
            setup(),
            StackSet("ACTIVE", is_auto_deployed=False, organizational_units=(), template={}),
            has_stack=True,
        ),
        *judge_instances(
            setup(),
            Accounts((SHOP, PAYMENTS), {}, (), {SHOP: ROOT, PAYMENTS: ROOT}),
            {
                SHOP: Instance(SHOP, "INOPERABLE"),
                PAYMENTS: Instance(PAYMENTS, "OUTDATED", stack_id="arn:stack"),
            },
            {},
        ),
    ],
    ids=lambda each: each.check + each.subject,
)
def test_one_account_that_fails_keeps_no_other_waiting_and_is_seen(result: Result) -> None:
    changing = [
        each for each in commands(result)
        if each.startswith("aws") and "list-stack-set-operations" not in each
    ]  # fmt: skip

    assert changing
    assert all(each.removesuffix(" --retain-stacks").endswith(ALL_AT_ONCE) for each in changing)
    assert "FailedStackInstancesCount" in commands(result)[-1]


def outside(there: Mapping[str, Mapping[str, Probe]]) -> Result:
    """Return what is said of the stack of an account outside the units, all others being well."""
    units = {each: ROOT for each in EVERYONE if each != SHOP}
    results = list(
        judge_instances(setup(), accounts(units=units), instances(without=(SHOP,)), there)
    )
    (result,) = (each for each in results if each.subject == SHOP)
    assert all(each.status == "ok" for each in results if each is not result)
    return result


def test_an_account_outside_the_governed_units_is_named_with_the_setting() -> None:
    found = outside(probes({SHOP: FUNCTIONS}))

    assert found.status == "missing"
    assert "none of the settings' organizational_units (r-abcd)" in found.says
    # What is left out is told by ParePipeline.
    assert commands(found) == ("npx cdk deploy --all",)
    assert found.mend and "account_exclusions" in found.mend.text
    assert f"aws organizations list-parents --child-id {SHOP}" in found.mend.text
    assert found.mend.text.endswith(f": npx cdk deploy ByHand/PareMember --profile {SHOP}")


def test_an_account_outside_the_units_that_lets_every_function_in_got_its_stack_by_hand() -> None:
    found = outside(probes())

    assert found.status == "ok"
    assert found.says == f"{SHOP}: outside the units, its stack was deployed by hand"


def test_a_function_that_is_let_in_nowhere_is_no_fault_of_the_account_outside() -> None:
    there = probes() | {"EnrichFinding": dict.fromkeys(EVERYONE, REFUSED)}

    assert outside(there).status == "ok"


def test_a_stack_by_hand_that_refuses_some_functions_is_deployed_by_hand_again() -> None:
    there = probes({SHOP: ("EnrichFinding",)})
    by_hand = f"npx cdk deploy ByHand/PareMember --profile {SHOP}"
    both = (by_hand, f"{by_hand} --revert-drift")

    found = outside(there)
    units = {each: ROOT for each in EVERYONE if each != SHOP}
    (role,) = faults(roles(there, instances(without=(SHOP,)), about=accounts(units=units)))

    assert (found.status, commands(found)) == ("missing", both)
    assert "does not let every function in" in found.says
    assert role.says.startswith("EnrichFinding is refused, 2 others let in: its trust policy")
    assert (commands(role), role.mend and role.mend.where) == (both, f"member {SHOP}")


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"ListPrincipals": {SHOP: IN}},
        probes() | {"EnrichFinding": {SHOP: Probe(False, "Throttling", "slow down")}},
    ],
    ids=["nobody", "one function", "throttled"],
)
def test_an_account_outside_the_units_that_nobody_could_try_cannot_be_told(
    there: Mapping[str, Mapping[str, Probe]],
) -> None:
    found = outside(there)

    assert found.status == "cannot tell"
    assert commands(found) == ("pare doctor",)


def test_a_role_by_hand_of_another_version_is_deployed_by_hand() -> None:
    units = {each: ROOT for each in EVERYONE if each != SHOP}
    there = {SHOP: Probe(True, template="older")}

    (found,) = judge_templates(
        setup(), accounts(units=units), instances(without=(SHOP,)), there, stack_set()
    )

    assert commands(found)[0] == f"npx cdk deploy ByHand/PareMember --profile {SHOP}"


def test_an_account_whose_unit_nobody_knows_is_taken_to_be_governed() -> None:
    (found,) = faults(
        judge_instances(
            setup(), accounts(units={}, unknown=frozenset({SHOP})), instances(without=(SHOP,)), {}
        )
    )

    assert verbs(found) == ["create-stack-instances"]


@pytest.mark.parametrize(
    ("change", "status", "words", "done"),
    [
        (
            {"status": "OUTDATED", "detailed": "FAILED", "reason": "role exists"},
            "missing",
            "outdated, the last deployment ended as FAILED: role exists.",
            ["update-stack-instances"],
        ),
        (
            {"status": "OUTDATED", "detailed": "FAILED", "stack_id": ""},
            "missing",
            "ended as FAILED.",
            ["delete-stack-instances", "create-stack-instances"],
        ),
        (
            {"status": "OUTDATED"},
            "missing",
            "outdated, it is of another version.",
            ["update-stack-instances"],
        ),
        (
            {"status": "INOPERABLE", "detailed": "INOPERABLE"},
            "missing",
            "inoperable",
            ["delete-stack-instances", "create-stack-instances"],
        ),
        (
            {"status": "OUTDATED", "detailed": "SKIPPED_SUSPENDED_ACCOUNT"},
            "missing",
            "while it was suspended",
            ["update-stack-instances"],
        ),
        (
            {"status": "OUTDATED", "detailed": "RUNNING"},
            "cannot tell",
            "is being deployed (RUNNING)",
            None,
        ),
    ],
)
def test_an_instance_that_is_not_current_is_mended_by_what_it_is(
    change: dict[str, Any], status: str, words: str, done: list[str] | None
) -> None:
    there = instances(instance(SHOP, **change))

    (found,) = faults(judge_instances(setup(), accounts(), there, {}))

    assert found.status == status
    assert words in found.says
    if done is None:
        assert commands(found) == ("pare doctor",)
    else:
        assert verbs(found) == done


def test_suspended_and_excluded_accounts_are_well_and_named() -> None:
    found = list(
        judge_instances(
            setup(account_exclusions=(SHOP,)),
            accounts(excluded=(SHOP,), inactive={"555566667777": "PENDING_CLOSURE"}),
            instances(without=(SHOP,)),
            {},
        )
    )

    assert faults(found) == []
    says = [each.says for each in found]
    assert f"{SHOP}: left out by account_exclusions (none)" in says
    assert "555566667777: pending closure, needs none" in says


def test_more_accounts_with_one_fault_than_a_person_reads_are_one_result() -> None:
    many = tuple(f"{number:012}" for number in range(FOLD_AFTER + 1))
    (found,) = faults(
        judge_instances(setup(), accounts(active=many, units=dict.fromkeys(many, ROOT)), {}, {})
    )

    assert found.subject == "21 accounts"
    assert found.facts["accounts"] == list(many)
    assert "and 11 more" in found.says
    assert all(each in commands(found)[0] for each in many)


def test_as_many_as_a_person_reads_are_a_result_each() -> None:
    many = tuple(f"{number:012}" for number in range(FOLD_AFTER))
    found = faults(
        judge_instances(setup(), accounts(active=many, units=dict.fromkeys(many, ROOT)), {}, {})
    )

    assert [each.subject for each in found] == list(many)
    assert len({each.mend for each in found if each.mend and not each.mend.statement}) == 1


# --- members.management ---


def test_the_management_account_lets_the_hub_in() -> None:
    assert judge_management(setup(), accounts(), probes(), {}).status == "ok"


def test_a_management_account_that_refuses_all_gets_its_stack_by_hand() -> None:
    found = judge_management(setup(), accounts(), probes({MANAGEMENT: FUNCTIONS}), {})

    assert found.status == "missing"
    # Whether its stack is there nobody in the hub can see.
    deployed = "npx cdk deploy ByHand/PareMember --profile management"
    assert commands(found) == (deployed, f"{deployed} --revert-drift")
    assert found.mend and found.mend.where == "management"


@pytest.mark.parametrize(
    "tried",
    [{}, {"ListPrincipals": {MANAGEMENT: Probe(False, "Throttling", "slow down")}}],
)
def test_a_management_account_that_nobody_could_try_cannot_be_told(tried: Any) -> None:
    assert judge_management(setup(), accounts(), tried, {}).status == "cannot tell"


def test_the_management_account_needs_no_mend_of_its_own_where_nobody_may_ask() -> None:
    refused = "lambda:InvokeFunction ListPrincipals: AccessDeniedException: not authorized"

    found = judge_management(setup(), accounts(), {}, {"ListPrincipals": refused})
    (asked,) = faults(judge_roles(setup(), accounts(), {}, {}, {"ListPrincipals": refused}))

    assert found.status == "cannot tell"
    assert found.mend == asked.mend == own_right(setup(), refused)
    assert found.mend
    assert f"lambda:InvokeFunction in account {HUB}" in found.mend.text


def test_a_management_account_that_is_left_out_is_well() -> None:
    found = judge_management(
        setup(), accounts(excluded=(MANAGEMENT,)), probes({MANAGEMENT: FUNCTIONS}), {}
    )

    assert found.status == "ok"


# --- members.role ---


def roles(
    there: Mapping[str, Mapping[str, Probe]],
    of: Mapping[str, Instance] | None = None,
    *,
    about: Accounts | None = None,
    deployed: Setup | None = None,
    problems: Mapping[str, str] | None = None,
) -> list[Result]:
    return list(
        judge_roles(
            deployed or setup(),
            about or accounts(),
            instances() if of is None else of,
            there,
            problems or {},
        )
    )


def test_a_function_that_is_let_in_everywhere_is_one_result() -> None:
    found = roles(probes())

    assert [(each.subject, each.says) for each in found] == [
        (function, "all 5 accounts") for function in FUNCTIONS
    ]


def test_an_account_without_a_stack_is_told_so_rather_than_what_the_refusal_says() -> None:
    (found,) = faults(roles(probes({SHOP: FUNCTIONS}), instances(without=(SHOP,))))

    assert found.says == "No function of the hub is let in: it has no member stack."
    assert found.mend == mend_first(title_of("members.instance"))


def test_with_a_current_stack_the_role_was_changed_and_the_stack_is_made_anew() -> None:
    (found,) = faults(roles(probes({SHOP: FUNCTIONS})))

    assert "its member stack is current, so in this order: somebody deleted" in found.says
    assert "pare-o-example0000" in found.says
    assert verbs(found) == ["delete-stack-instances", "create-stack-instances"]
    assert "--no-retain-stacks" in commands(found)[0]


def test_some_refused_functions_are_named_and_others_show_that_the_role_is_there() -> None:
    (found,) = faults(roles(probes({SHOP: ("EnrichFinding",)})))

    assert found.says.startswith("EnrichFinding is refused, 2 others let in: its trust policy")
    assert verbs(found) == ["delete-stack-instances", "create-stack-instances"]


def test_without_knowledge_of_instances_the_causes_are_named_in_order() -> None:
    found = faults(
        judge_roles(setup(), accounts(), None, probes({SHOP: FUNCTIONS}), {})
    )  # fmt: skip

    assert "in this order: the role PareMember is missing" in found[0].says
    assert commands(found[0]) == DEPLOY


@pytest.mark.parametrize(
    ("policy", "asked"),
    [
        (
            "an explicit deny in a service control policy",
            [(HUB, "SERVICE"), (UNIT, "SERVICE"), (ROOT, "SERVICE")],
        ),
        (
            "an explicit deny in a resource control policy",
            [(SHOP, "RESOURCE"), (ROOT, "RESOURCE")],
        ),
        (
            "an explicit deny",
            [
                (HUB, "SERVICE"),
                (UNIT, "SERVICE"),
                (ROOT, "SERVICE"),
                (SHOP, "RESOURCE"),
                (ROOT, "RESOURCE"),
            ],
        ),
    ],
)
def test_a_policy_of_the_organization_is_looked_for_where_it_binds(
    policy: str, asked: list[tuple[str, str]]
) -> None:
    """A service control policy binds the caller, the hub; a resource control policy the account."""
    denied = Probe(False, "AccessDenied", f"with {policy}")
    there = {function: {**probes()[function], SHOP: denied} for function in FUNCTIONS}
    known = accounts(above={HUB: (UNIT, ROOT), SHOP: (ROOT,)})

    (found,) = faults(roles(there, about=known))

    assert "a policy denies it outright" in found.says
    assert found.mend and found.mend.where == "management"
    assert commands(found) == tuple(
        f"aws organizations list-policies-for-target --target-id {target} --filter "
        f"{kind}_CONTROL_POLICY"
        for target, kind in asked
    )


@pytest.mark.parametrize(
    ("policy", "done"),
    [
        ("an explicit deny in a permissions boundary", ["deploy"]),
        (
            "an explicit deny in a resource-based policy",
            ["delete-stack-instances", "create-stack-instances"],
        ),
    ],
)
def test_a_policy_of_a_role_is_mended_at_that_role(policy: str, done: list[str]) -> None:
    denied = Probe(False, "AccessDenied", f"with {policy}")
    there = {function: {**probes()[function], SHOP: denied} for function in FUNCTIONS}

    (found,) = faults(roles(there))

    assert verbs(found) == done


def test_where_one_account_alone_refuses_the_hubs_policies_are_not_suspected() -> None:
    (known,) = faults(roles(probes({SHOP: FUNCTIONS})))
    (unknown,) = faults(judge_roles(setup(), accounts(), None, probes({SHOP: FUNCTIONS}), {}))

    for found in (known, unknown):
        assert "or a resource control policy denies" in found.says
        assert "service control" not in found.says


def test_a_function_that_is_let_in_nowhere_is_its_own_fault_and_one_result() -> None:
    (found,) = faults(roles(probes(dict.fromkeys(EVERYONE, ("EnrichFinding",)))))

    assert found.subject == "EnrichFinding"
    assert "No account lets the function EnrichFinding in" in found.says
    assert commands(found)[0] == "npx cdk deploy ParePipeline --revert-drift"


def test_where_nobody_is_let_in_anywhere_the_hub_is_named_and_no_stack_is_made_anew() -> None:
    found = roles(
        probes(dict.fromkeys(EVERYONE, FUNCTIONS)), about=accounts(above={HUB: (UNIT, ROOT)})
    )

    (result,) = found  # the management account has a check of its own
    assert (result.subject, result.status) == (f"hub {HUB}", "missing")
    assert "into any of the 4 accounts, though their member stacks are current" in result.says
    assert "not authorized to perform: sts:AssumeRole" in result.says
    assert result.facts["accounts"] == sorted(MEMBERS)
    asked = "aws organizations list-policies-for-target --target-id"
    assert commands(result) == (
        "npx cdk deploy ParePipeline --revert-drift",
        "npx cdk deploy PareMembers",
        *(f"{asked} {each} --filter SERVICE_CONTROL_POLICY" for each in (HUB, UNIT, ROOT)),
    )


def test_beside_the_hub_an_account_without_a_stack_has_its_own_fault() -> None:
    found = faults(
        roles(probes(dict.fromkeys(EVERYONE, FUNCTIONS)), instances(without=(SHOP,)))
    )  # fmt: skip

    assert [each.subject for each in found] == [f"hub {HUB}", SHOP]
    # What its stack lacks has the commands, once.
    assert found[1].mend == mend_first(title_of("members.instance"))


def test_one_account_that_lets_somebody_in_shows_that_it_is_not_the_hub() -> None:
    shut = probes(dict.fromkeys((HUB, LOG_ARCHIVE, PAYMENTS), FUNCTIONS))

    found = faults(roles(shut))

    assert {each.subject.split()[0] for each in found} == {HUB, LOG_ARCHIVE, PAYMENTS}


@pytest.mark.parametrize("status", ["CURRENT", "INOPERABLE"])
def test_no_more_stacks_are_taken_away_at_once_than_a_person_oversees(status: str) -> None:
    many = tuple(f"{number:012}" for number in range(1, 2 * FOLD_AFTER))
    there = {
        function: {each: REFUSED for each in many} | {SHOP: IN} for function in FUNCTIONS
    }  # fmt: skip
    of = {each: instance(each, status=status) for each in many} | {SHOP: instance(SHOP)}
    known = accounts(active=(*many, SHOP), units=dict.fromkeys((*many, SHOP), ROOT))

    results = (
        roles(there, of, about=known)
        if status == "CURRENT"
        else judge_instances(setup(), known, of, there)
    )
    (found,) = faults(results)

    assert found.facts["accounts"] == list(many)
    assert verbs(found) == ["delete-stack-instances", "create-stack-instances"]
    for command in commands(found):
        if "-stack-instances" in command:
            assert [each for each in many if each in command] == list(many[:FOLD_AFTER])
    assert found.mend and "the first 20 accounts" in found.mend.text
    assert "alone; nothing else there." in found.mend.text


# --- Without a stack set ---

BY_HAND = setup(member_stacks="by-hand", organizational_units=())


def test_without_a_stack_set_an_account_that_refuses_gets_its_stack_by_hand() -> None:
    refusing = probes(dict.fromkeys(MEMBERS, FUNCTIONS))

    found = faults(judge_roles(BY_HAND, accounts(units={}), None, refusing, {}))

    deployed = "npx cdk deploy ByHand/PareMember"
    assert {each.mend.where: commands(each)[0] for each in found if each.mend} == {
        "hub": deployed,
        "log archive": f"{deployed} --profile log-archive",
        f"member {PAYMENTS}": f"{deployed} --profile {PAYMENTS}",
        f"member {SHOP}": f"{deployed} --profile {SHOP}",
    }
    for each in found:
        first, second = commands(each)
        assert second == f"{first} --revert-drift"
    assert all("the cause is at the hub" in each.says for each in found)


def test_without_a_stack_set_many_accounts_are_one_result_with_a_command_each() -> None:
    many = tuple(f"{number:012}" for number in range(1, FOLD_AFTER + 2))
    refusing = {function: dict.fromkeys(many, REFUSED) for function in FUNCTIONS}

    (found,) = judge_roles(BY_HAND, accounts(active=many, units={}), None, refusing, {})

    assert found.mend and found.mend.where == "hub"
    assert commands(found) == tuple(
        f"npx cdk deploy ByHand/PareMember --profile {each}{more}"
        for each in many
        for more in ("", " --revert-drift")
    )


def test_without_a_stack_set_no_mend_has_to_do_with_one() -> None:
    refusals: list[dict[str, tuple[str, ...]]] = [
        {SHOP: ("EnrichFinding",)},
        dict.fromkeys(EVERYONE, ("EnrichFinding",)),
        dict.fromkeys(EVERYONE, FUNCTIONS),
    ]
    older = dict.fromkeys(EVERYONE, Probe(True, template="older", access_role=AccessRole(None)))
    absent = dict.fromkeys(
        EVERYONE, Probe(True, template=TEMPLATE, access_role=AccessRole(None, code="NoSuchEntity"))
    )
    results = [
        *(
            each
            for refused in refusals
            for each in judge_roles(BY_HAND, accounts(units={}), None, probes(refused), {})
        ),
        *judge_templates(BY_HAND, accounts(units={}), None, older, None),
        *judge_access_roles(BY_HAND, accounts(units={}), None, absent, None),
    ]

    named = faults(results)
    assert {each.check for each in named} == {
        "members.role", "members.template", "members.access-role"
    }  # fmt: skip
    for each in named:
        for command in commands(each):
            assert "PareMembers" not in command
            assert "stack-instances" not in command


def test_a_management_account_that_refuses_some_is_deployed_by_hand() -> None:
    (found,) = faults(roles(probes({MANAGEMENT: ("EnrichFinding",)})))

    assert commands(found) == (
        "npx cdk deploy ByHand/PareMember --profile management --revert-drift",
    )


def test_what_was_neither_let_in_nor_refused_cannot_be_told() -> None:
    there = probes()
    there["EnrichFinding"][SHOP] = Probe(False, "Throttling", "Rate exceeded")

    (found,) = faults(roles(there))

    assert (found.status, found.subject) == ("cannot tell", SHOP)
    assert "Throttling: Rate exceeded." in found.says


def test_an_account_that_no_time_was_left_for_cannot_be_told() -> None:
    there = probes()
    del there["EnrichFinding"][SHOP]

    (found,) = faults(roles(there))

    assert (found.status, found.says) == ("cannot tell", "EnrichFinding had no time to try it.")


def test_a_function_that_could_not_be_asked_is_named_with_the_error() -> None:
    there = {name: each for name, each in probes().items() if name != "EnrichFinding"}

    (found,) = faults(roles(there, problems={"EnrichFinding": "there is no such function"}))

    assert (found.status, found.subject) == ("cannot tell", "EnrichFinding")
    assert "there is no such function." in found.says


def test_text_from_aws_cannot_write_lines_of_its_own() -> None:
    there = probes()
    there["EnrichFinding"][SHOP] = Probe(False, "Strange", "first\n\x1b[31msecond")

    (found,) = faults(roles(there))

    assert found.says.isprintable()


# --- members.template ---


def templates(
    there: Mapping[str, Probe],
    of: StackSet | None = None,
    known: Mapping[str, Instance] | None = None,
) -> list[Result]:
    return list(
        judge_templates(
            setup(), accounts(), instances() if known is None else known, there, of or stack_set()
        )
    )


def test_roles_of_this_version_are_well() -> None:
    assert faults(templates(dict.fromkeys(EVERYONE, IN))) == []


RIGHTS = json.dumps(
    [{"Statement": [{"Action": "iam:GetRole", "Resource": "arn:aws:iam::{account_id}:role/*"}]}]
)
CHANGED = "Its member role's rights are not those of the template: somebody changed"


def with_rights(rights: Rights | None, of: str = SHOP, **changes: Any) -> Result:
    """Return what is said of an account with such rights, all others being well."""
    there = {
        each: replace(IN, rights=Rights(rights_in(RIGHTS, each)))
        for each in EVERYONE
    }  # fmt: skip
    there[of] = replace(IN, rights=rights)
    known = setup(member_rights=RIGHTS, **changes)
    results = list(judge_templates(known, accounts(), instances(), there, stack_set()))
    (result,) = (each for each in results if each.subject.startswith(of))
    assert all(each.status == "ok" for each in results if each is not result)
    return result


def test_the_rights_of_the_template_are_those_of_each_account() -> None:
    assert with_rights(Rights(rights_in(RIGHTS, SHOP))).status == "ok"
    assert with_rights(Rights(rights_in(RIGHTS, PAYMENTS))).status == "missing"


def test_a_role_whose_rights_somebody_changed_is_made_anew() -> None:
    found = with_rights(Rights("another"))

    assert found.status == "missing"
    assert found.says.startswith(CHANGED)
    assert verbs(found) == ["delete-stack-instances", "create-stack-instances"]


def test_a_changed_role_of_the_management_account_or_by_hand_is_brought_back() -> None:
    command = "npx cdk deploy ByHand/PareMember --profile"

    of_management = with_rights(Rights("another"), MANAGEMENT)
    assert commands(of_management) == (f"{command} management --revert-drift",)
    by_hand = with_rights(Rights("another"), PAYMENTS, member_stacks="by-hand")
    assert commands(by_hand) == (f"{command} {PAYMENTS} --revert-drift",)


def test_a_role_that_may_not_read_itself_lost_its_rights() -> None:
    found = with_rights(Rights(None, "iam:GetRole", "AccessDenied", "not authorized"))

    assert found.status == "missing"
    assert "may not even read itself (iam:GetRole)" in found.says
    assert verbs(found) == ["delete-stack-instances", "create-stack-instances"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Throttling", "slow down"),
        ("AccessDenied", "with an explicit deny in a service control policy"),
    ],
)
def test_a_role_that_something_else_keeps_from_reading_itself_is_not_judged(
    code: str, message: str
) -> None:
    found = with_rights(Rights(None, "iam:GetRole", code, message))

    assert found.status == "cannot tell"
    assert message in found.says


@pytest.mark.parametrize(
    ("kind", "where", "command"),
    [
        ("an identity-based policy", f"member {SHOP}",
         "aws iam list-attached-role-policies --role-name PareMember"),
        ("a permissions boundary", f"member {SHOP}",
         "aws iam get-role --role-name PareMember --query Role.PermissionsBoundary"),
        ("a service control policy", "management",
         f"aws organizations list-policies-for-target --target-id {SHOP} "
         "--filter SERVICE_CONTROL_POLICY"),
    ],
)  # fmt: skip
def test_what_denies_outright_is_not_said_to_pass(kind: str, where: str, command: str) -> None:
    message = f"not authorized to perform: iam:GetRole with an explicit deny in {kind}"

    found = with_rights(Rights(None, "iam:GetRole", "AccessDenied", message))

    assert found.mend and found.mend.where == where
    assert command in found.mend.commands
    assert "may pass" not in found.mend.text


def test_the_rights_of_another_version_are_not_said_to_be_changed() -> None:
    there = {SHOP: Probe(True, template="older", rights=Rights("another"))}
    (found,) = judge_templates(
        setup(member_rights=RIGHTS), accounts(), instances(), there, stack_set()
    )

    assert found.says == f"Its member role is of version older, the hub is of {TEMPLATE}."


@pytest.mark.parametrize(
    ("problem", "status", "command"),
    [
        (
            "lambda:InvokeFunction EnrichFinding: ResourceNotFoundException: Function not found",
            "missing",
            ("npx cdk deploy ParePipeline --revert-drift",),
        ),
        (
            "lambda:InvokeFunction EnrichFinding: AccessDeniedException: no",
            "cannot tell",
            ("pare doctor",),
        ),
        (
            "EnrichFinding failed: Boom",
            "cannot tell",
            ("npx cdk deploy ParePipeline --revert-drift",),
        ),
    ],
)
def test_a_function_that_could_not_be_asked_gets_the_mend_of_its_cause(
    problem: str, status: str, command: tuple[str, ...]
) -> None:
    found = judge_roles(setup(), accounts(), instances(), {}, {"EnrichFinding": problem})

    (result,) = faults(found)
    assert (result.status, commands(result)) == (status, command)


@pytest.mark.parametrize(
    ("of", "known", "done"),
    [
        (stack_set(template=template("ffffffffffff")), None, ["deploy"]),
        (stack_set(), instances(instance(SHOP, status="OUTDATED")), ["update-stack-instances"]),
        (stack_set(), instances(), ["delete-stack-instances", "create-stack-instances"]),
        (stack_set(), {}, ["deploy"]),
    ],
)
def test_a_role_of_another_version_is_mended_by_what_is_behind(
    of: StackSet, known: Mapping[str, Instance] | None, done: list[str]
) -> None:
    there = {**dict.fromkeys(EVERYONE, IN), SHOP: Probe(True, template="older")}

    (found,) = faults(templates(there, of, known))

    assert "of version older, the hub is of 0a1b2c3d4e5f" in found.says
    assert verbs(found) == done


def test_a_role_without_a_version_and_one_that_was_not_entered() -> None:
    there = {MANAGEMENT: Probe(True), SHOP: REFUSED}

    (found,) = faults(templates(there))

    assert "is of no version" in found.says
    assert commands(found) == ("npx cdk deploy ByHand/PareMember --profile management",)


# --- members.access-role ---

THERE = AccessRole("/service-role/", is_trusting=True)


def access_roles(found: AccessRole | None, of: str = SHOP) -> Result:
    """Return what is said of an account with such a role, all others being well."""
    well = Probe(True, template=TEMPLATE, access_role=THERE)
    there = {**dict.fromkeys(EVERYONE, well), of: Probe(True, access_role=found)}
    results = list(judge_access_roles(setup(), accounts(), instances(), there, stack_set()))
    assert len(results) == len(EVERYONE)
    (result,) = (each for each in results if each.subject.startswith(of))
    assert all(each.status == "ok" for each in results if each is not result)
    return result


def test_a_role_as_access_analyzer_is_handed_it_is_well() -> None:
    found = access_roles(THERE)

    assert (found.status, found.says) == ("ok", "AccessAnalyzerMonitorServiceRole_Pare")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (AccessRole(None, code="NoSuchEntity", message="cannot be found"), "is not there."),
        (AccessRole("/service-role/", is_trusting=False), "does not let Access Analyzer assume it"),
        (AccessRole("/", is_trusting=True), "has the path /, not /service-role/"),
    ],
)
def test_an_account_whose_role_is_gone_or_changed_has_its_stack_made_anew(
    found: AccessRole, words: str
) -> None:
    result = access_roles(found)

    assert result.status == "missing"
    assert words in result.says
    assert verbs(result) == ["delete-stack-instances", "create-stack-instances"]

    by_hand = access_roles(found, MANAGEMENT)
    assert by_hand.mend and by_hand.mend.where == "management"
    assert commands(by_hand) == (
        "npx cdk deploy ByHand/PareMember --profile management --revert-drift",
    )


@pytest.mark.parametrize(
    "found", [None, AccessRole(None, code="AccessDenied", message="not authorized")]
)
def test_a_role_that_nobody_read_cannot_be_told(found: AccessRole | None) -> None:
    assert access_roles(found).status == "cannot tell"


def test_an_account_that_lets_nobody_in_or_is_left_out_has_no_result() -> None:
    there = {SHOP: REFUSED, PAYMENTS: Probe(True, access_role=AccessRole(None))}
    known = accounts(excluded=(PAYMENTS,))

    assert list(judge_access_roles(setup(), known, instances(), there, stack_set())) == []
