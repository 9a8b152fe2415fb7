from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from pare.aws.doctor.members import ACCOUNTS_A_PROBE, examine
from tests.doctor_setup import HUB, LOG_ARCHIVE, MANAGEMENT, PAYMENTS, SHOP, TEMPLATE
from tests.handlers.aws.doctor.hub import functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.doctor.model import Result
    from tests.handlers.fake_aws import FakeAws

MEMBERS = (HUB, LOG_ARCHIVE, PAYMENTS, SHOP)
CALLERS = ("ListPrincipals", "EnrichFinding", "ReadLastAccessed")
UNIT = "ou-abcd-11111111"


def account(account_id: str, *, state: str = "ACTIVE", path: str | None = None) -> dict[str, Any]:
    told = {"Id": account_id, "Name": f"of {account_id[:3]}", "State": state}
    return {**told, "Paths": [path]} if path else told


def list_accounts(aws: FakeAws, *accounts: dict[str, Any]) -> None:
    aws.mend("organizations:ListAccounts")
    aws.answer("organizations:ListAccounts", {"Accounts": list(accounts)})


def summary(
    account_id: str, status: str = "CURRENT", detailed: str = "SUCCEEDED"
) -> dict[str, Any]:
    return {
        "Account": account_id,
        "Region": "eu-west-1",
        "Status": status,
        "StackInstanceStatus": {"DetailedStatus": detailed},
        "StackId": "arn:stack",
    }


@pytest.fixture
def organization(aws: FakeAws) -> FakeAws:
    """Four members with a current stack each, and the management account."""
    list_accounts(aws, *(account(each) for each in (*MEMBERS, MANAGEMENT)))
    role = {"Tags": [{"Key": "pare:member-template", "Value": TEMPLATE}]}
    aws.answer(
        "cloudformation:DescribeStackSet",
        {
            "StackSet": {
                "Status": "ACTIVE",
                "AutoDeployment": {"Enabled": True},
                "OrganizationalUnitIds": ["r-abcd"],
                "TemplateBody": json.dumps({"Resources": {"Role": {"Properties": role}}}),
            }
        },
    )
    aws.answer(
        "cloudformation:ListStackInstances", {"Summaries": [summary(each) for each in MEMBERS]}
    )
    return aws


def parents_of(aws: FakeAws, parents: dict[str, str]) -> None:
    aws.answer(
        "organizations:ListParents",
        lambda asked: {"Parents": [{"Id": parents[asked["ChildId"]], "Type": "ROOT"}]},
    )


def everybody(_: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Let a function into every account."""
    role = {"ok": True, "value": {"path": "/service-role/", "is_trusting": True}}
    version = {"template": TEMPLATE, "access_role": role} if asked.get("template") else {}
    return {
        "accounts": {each: {"ok": True, **version} for each in asked["account_ids"]},
        "not_reached": [],
    }


def looked(examined: Callable[..., Any], **changes: Any) -> list[Result]:
    return list(examine(examined(resources=functions(*CALLERS), **changes)))


def faults(results: list[Result]) -> list[tuple[str, str, str]]:
    return [(each.status, each.check, each.subject) for each in results if each.status != "ok"]


def test_an_organization_in_which_everybody_lets_the_hub_in_is_well(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(everybody)

    results = looked(examined)

    assert faults(results) == []
    assert {each.check for each in results} == {
        "members.stack-set",
        "members.instance",
        "members.management",
        "members.role",
        "members.template",
        "members.access-role",
    }
    for operation in ("DescribeStackSet", "ListStackInstances"):
        (call,) = organization.called(f"cloudformation:{operation}")
        assert call["CallAs"] == "DELEGATED_ADMIN"


def test_one_function_is_asked_for_the_versions_and_all_for_the_way_in(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def answer(name: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append((name, request))
        return everybody(name, request)

    answered(answer)

    looked(examined)

    assert sorted(name for name, _ in asked) == sorted(f"ParePipeline-{each}" for each in CALLERS)
    assert [
        (name, request["access_role"]) for name, request in asked if request.get("template")
    ] == [("ParePipeline-ListPrincipals", "AccessAnalyzerMonitorServiceRole_Pare")]
    assert all(request["kind"] == "member" for _, request in asked)


def test_an_account_that_refuses_is_found_and_mended_by_its_stack(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    refused = {"ok": False, "code": "AccessDenied", "message": "not authorized"}
    organization.mend("cloudformation:ListStackInstances")
    organization.answer(
        "cloudformation:ListStackInstances",
        {"Summaries": [summary(each) for each in MEMBERS if each != SHOP]},
    )

    def answer(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = everybody(name, asked)
        return {**found, "accounts": {**found["accounts"], SHOP: refused}}

    answered(answer)
    parents_of(organization, {HUB: UNIT, SHOP: "r-abcd", UNIT: "r-abcd"})

    assert faults(looked(examined)) == [
        ("missing", "members.instance", f"{SHOP} of 222"),
        ("missing", "members.role", f"{SHOP} of 222"),
    ]


def test_where_policies_may_be_is_asked_of_the_hub_and_of_who_refuses(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    message = "with an explicit deny in a service control policy"
    refused = {"ok": False, "code": "AccessDenied", "message": message}
    parents_of(organization, {HUB: UNIT, SHOP: "r-abcd", UNIT: "r-abcd"})

    def answer(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = everybody(name, asked)
        return {**found, "accounts": {**found["accounts"], SHOP: refused}}

    answered(answer)

    (found,) = (each for each in looked(examined) if each.status != "ok")
    assert found.mend is not None
    assert [each.split("--target-id ")[1].split()[0] for each in found.mend.commands] == [
        HUB,
        UNIT,
        "r-abcd",
    ]
    asked_of = [each["ChildId"] for each in organization.called("organizations:ListParents")]
    assert sorted(asked_of) == sorted([HUB, SHOP, UNIT])


def test_an_access_role_that_is_gone_is_found(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    gone = {"ok": False, "action": "iam:GetRole", "code": "NoSuchEntity", "message": "not found"}

    def answer(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = everybody(name, asked)
        if asked.get("template"):
            found["accounts"][SHOP]["access_role"] = gone
        return found

    answered(answer)

    assert faults(looked(examined)) == [("missing", "members.access-role", f"{SHOP} of 222")]


def test_without_stack_sets_nobody_asks_for_one_and_the_accounts_are_entered(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(everybody)

    results = looked(examined, member_stacks="by-hand", organizational_units=())

    assert faults(results) == []
    assert {each.check for each in results} == {
        "members.management",
        "members.role",
        "members.template",
        "members.access-role",
    }
    for operation in ("cloudformation:DescribeStackSet", "organizations:ListParents"):
        assert organization.called(operation) == []


def test_what_a_function_did_not_reach_it_is_asked_again(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    def one_at_a_time(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        first, *rest = asked["account_ids"]
        return {**everybody(name, {**asked, "account_ids": [first]}), "not_reached": rest}

    answered(one_at_a_time)

    assert faults(looked(examined)) == []
    assert len(organization.called("lambda:Invoke")) == len(CALLERS) * 5


def test_a_function_that_reaches_nobody_is_not_asked_for_ever(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(lambda _, asked: {"accounts": {}, "not_reached": asked["account_ids"]})

    found = faults(looked(examined))

    assert len(organization.called("lambda:Invoke")) == len(CALLERS)
    assert {status for status, _, _ in found} == {"cannot tell"}


def test_a_function_that_cannot_be_asked_leaves_the_others(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    answered(everybody)
    found = list(examine(examined(resources=functions("ListPrincipals", "ReadLastAccessed"))))

    assert faults(found) == [("cannot tell", "members.role", "EnrichFinding")]


def test_five_hundred_accounts_are_entered_in_pieces_and_told_as_they_come(
    organization: FakeAws,
    examined: Callable[..., Any],
    answered: Callable[..., Any],
    told: list[str],
) -> None:
    many = [f"{number:012}" for number in range(1, 501)]
    list_accounts(organization, *(account(each) for each in many))
    organization.mend("cloudformation:ListStackInstances")
    for at in range(0, 500, 100):
        more = {"NextToken": str(at)} if at < 400 else {}
        organization.answer(
            "cloudformation:ListStackInstances",
            {"Summaries": [summary(each) for each in many[at : at + 100]], **more},
            times=1,
        )

    def slowly(name: str, asked: dict[str, Any]) -> dict[str, Any]:
        assert len(asked["account_ids"]) <= ACCOUNTS_A_PROBE
        time.sleep(0.05)
        return everybody(name, asked)

    answered(slowly)

    results = looked(examined)

    assert [each.says for each in results if each.check == "members.role"] == [
        "all 500 accounts"
    ] * len(CALLERS)
    assert f"accounts entered, each by {len(CALLERS)} functions: 1,500 of 1,500" in told
    assert len(organization.called("lambda:Invoke")) == 5 * len(CALLERS)


# --- Which unit an account is in ---


def test_the_unit_is_told_by_the_paths_of_the_accounts(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    root = "o-example0000/r-abcd"
    list_accounts(
        organization,
        account(PAYMENTS, path=f"{root}/{UNIT}/ou-abcd-22222222/{PAYMENTS}/"),
        account(SHOP, path=f"{root}/{SHOP}/"),
    )
    organization.mend("cloudformation:ListStackInstances")
    organization.answer("cloudformation:ListStackInstances", {"Summaries": []})
    answered(everybody)

    results = looked(examined, organizational_units=(UNIT,), management_account_id="1" * 12)
    says = {each.subject[:12]: each.says for each in results if each.check == "members.instance"}

    assert says[PAYMENTS] == "It has no member stack."
    assert "outside the units, its stack was deployed by hand" in says[SHOP]
    assert organization.called("organizations:ListParents") == []


def test_without_paths_the_way_up_is_asked_and_each_unit_once(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    parents = {PAYMENTS: "ou-abcd-22222222", SHOP: "ou-abcd-33333333"}
    parents |= {"ou-abcd-22222222": UNIT, "ou-abcd-33333333": "r-abcd", UNIT: "r-abcd"}
    list_accounts(organization, account(PAYMENTS), account(SHOP))
    parents_of(organization, parents)
    organization.mend("cloudformation:ListStackInstances")
    organization.answer("cloudformation:ListStackInstances", {"Summaries": []})
    answered(everybody)

    results = looked(examined, organizational_units=(UNIT,), management_account_id="1" * 12)
    says = {each.subject[:12]: each.says for each in results if each.check == "members.instance"}

    assert says[PAYMENTS] == "It has no member stack."
    assert "outside the units, its stack was deployed by hand" in says[SHOP]


# --- What cannot be read ---


def test_accounts_that_nobody_lists_end_the_group_with_what_to_do(
    organization: FakeAws, examined: Callable[..., Any]
) -> None:
    organization.mend("organizations:ListAccounts")
    organization.fail("organizations:ListAccounts", "AccessDeniedException", 403)

    (found,) = looked(examined)

    assert (found.status, found.check) == ("cannot tell", "members.instance")


@pytest.mark.parametrize("has_stack", [True, False])
def test_a_stack_set_that_is_not_there_is_missing_and_entering_is_tried_all_the_same(
    organization: FakeAws,
    examined: Callable[..., Any],
    answered: Callable[..., Any],
    has_stack: bool,
) -> None:
    organization.mend("cloudformation:DescribeStackSet")
    organization.fail("cloudformation:DescribeStackSet", "StackSetNotFoundException", 404)
    if has_stack:
        stack = {"StackName": "PareMembers", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
        organization.answer("cloudformation:DescribeStacks", {"Stacks": [stack]})
    else:
        organization.fail("cloudformation:DescribeStacks", "ValidationError")
    answered(everybody)

    found = looked(examined)

    assert faults(found) == [
        ("missing", "members.stack-set", ""),
        ("cannot tell", "members.instance", ""),
    ]
    assert found[0].mend is not None
    assert ("destroy" in found[0].mend.commands[0]) is has_stack


def test_a_stack_set_that_the_hub_may_not_see_cannot_be_told(
    organization: FakeAws, examined: Callable[..., Any], answered: Callable[..., Any]
) -> None:
    organization.mend("cloudformation:DescribeStackSet")
    organization.fail(
        "cloudformation:DescribeStackSet",
        "ValidationError",
        message="You must be the management account or delegated admin account",
    )
    answered(everybody)

    found = looked(examined)

    assert faults(found)[0] == ("cannot tell", "members.stack-set", "PareMembers")
    assert "delegated admin" in found[0].says
