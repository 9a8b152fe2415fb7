"""Service-managed stack sets on the emulator, against the CloudFormation user guide and API.

User guide: stacksets-orgs-delegated-admin, stacksets-orgs-manage-auto-deployment,
stacksets-orgs-activate-trusted-access, stackinstances-* ; API reference: StackInstance,
DeploymentTargets, StackSetOperationPreferences; template reference: AWS::CloudFormation::StackSet.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.local.emulator_fixtures import HUB, MANAGEMENT, REGION, WORKLOAD, allow, trusts, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local.emulator_fixtures import Box

SERVICE = "member.org.stacksets.cloudformation.amazonaws.com"
DELEGATED: dict[str, Any] = {"CallAs": "DELEGATED_ADMIN"}
CAPABILITIES = ["CAPABILITY_NAMED_IAM"]

_account_ids = itertools.count(300000000001)


def role_template(name: str, description: str = "first", **more: Any) -> str:
    """A template with one role."""
    role = {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "Description": description,
            "AssumeRolePolicyDocument": trusts(account=HUB),
        },
    }
    return json.dumps({"Resources": {"Role": role}, **more})


@dataclass(frozen=True)
class Company:
    """An organizational unit with accounts, and the hub that administers stack sets for it."""

    box: Box
    unit: str
    accounts: tuple[str, ...]
    joined: list[str] = field(default_factory=list)

    @property
    def hub(self) -> Any:
        """The hub's client of CloudFormation."""
        return self.box.client("cloudformation", HUB)

    @property
    def organizations(self) -> Any:
        """The management account's client of Organizations."""
        return self.box.client("organizations", MANAGEMENT)

    def targets(self, *accounts: str, unit: str | None = None) -> dict[str, Any]:
        """DeploymentTargets: the unit, or these of its accounts alone."""
        found: dict[str, Any] = {"OrganizationalUnitIds": [unit or self.unit]}
        if accounts:
            found |= {"Accounts": list(accounts), "AccountFilterType": "INTERSECTION"}
        return found

    def create(self, template: str, **changes: Any) -> str:
        """The name of a new stack set, with auto-deployment."""
        name = unique("set")
        self.hub.create_stack_set(
            **{
                "StackSetName": name,
                "TemplateBody": template,
                "PermissionModel": "SERVICE_MANAGED",
                "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
                "Capabilities": CAPABILITIES,
                **DELEGATED,
                **changes,
            }
        )
        return name

    def create_instances(self, name: str, **changes: Any) -> dict[str, Any]:
        """The ended operation that made the instances."""
        asked = {"DeploymentTargets": self.targets(), "Regions": [REGION], **DELEGATED, **changes}
        answer = self.hub.create_stack_instances(StackSetName=name, **asked)
        return self.ended(name, answer["OperationId"])

    def update(self, name: str, template: str, **changes: Any) -> dict[str, Any]:
        """The ended operation that updated the stack set."""
        asked = {"TemplateBody": template, "Capabilities": CAPABILITIES, **DELEGATED, **changes}
        answer = self.hub.update_stack_set(StackSetName=name, **asked)
        return self.ended(name, answer["OperationId"])

    def ended(self, name: str, operation_id: str) -> dict[str, Any]:
        """The operation, once it has ended."""

        def operation() -> dict[str, Any] | None:
            found: dict[str, Any] = self.hub.describe_stack_set_operation(
                StackSetName=name, OperationId=operation_id, **DELEGATED
            )["StackSetOperation"]
            return found if found["Status"] in {"SUCCEEDED", "FAILED"} else None

        found: dict[str, Any] = within_seconds(operation)
        return found

    def instances(self, name: str) -> dict[str, dict[str, Any]]:
        """The stack set's instances by account."""
        found = self.hub.list_stack_instances(StackSetName=name, **DELEGATED)["Summaries"]
        return {each["Account"]: each for each in found}

    def join(self, account_id: str, *, unit: str | None = None) -> None:
        """An account joins the organization and moves into the unit."""
        entry = {"account_id": account_id, "name": f"a{account_id}"}
        self.box.emulator.control("accounts", {"accounts": [entry]})
        self.joined.append(account_id)
        root = self.organizations.list_roots()["Roots"][0]["Id"]
        self.organizations.move_account(
            AccountId=account_id, SourceParentId=root, DestinationParentId=unit or self.unit
        )

    def role(self, account_id: str, name: str) -> dict[str, Any] | None:
        """A role of an account, None where it has none of that name."""
        try:
            answer = self.box.client("iam", account_id).get_role(RoleName=name)
        except ClientError:
            return None
        role: dict[str, Any] = answer["Role"]
        return role


def within_seconds(look: Any, seconds: float = 15) -> Any:
    """What ``look`` returns as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


@pytest.fixture
def company(box: Box) -> Iterator[Company]:
    """A unit with two accounts in a unit below it; trusted access on, the hub delegated."""
    box.client("cloudformation", MANAGEMENT).activate_organizations_access()
    organizations = box.client("organizations", MANAGEMENT)
    organizations.register_delegated_administrator(AccountId=HUB, ServicePrincipal=SERVICE)
    root = organizations.list_roots()["Roots"][0]["Id"]
    made = organizations.create_organizational_unit(ParentId=root, Name=unique("unit"))
    unit = made["OrganizationalUnit"]["Id"]
    below = organizations.create_organizational_unit(ParentId=unit, Name=unique("below"))
    accounts = (str(next(_account_ids)), str(next(_account_ids)))
    company = Company(box, unit, accounts)
    company.join(accounts[0])
    company.join(accounts[1], unit=below["OrganizationalUnit"]["Id"])
    yield company
    for account_id in company.joined:  # other tests count the accounts
        organizations.remove_account_from_organization(AccountId=account_id)
    organizations.deregister_delegated_administrator(AccountId=HUB, ServicePrincipal=SERVICE)


def test_instances_are_stacks_of_the_member_accounts(company: Company) -> None:
    role = unique("Role")
    name = company.create(role_template(role))

    operation = company.create_instances(name)
    found = company.instances(name)
    first = found[company.accounts[0]]
    member = company.box.client("cloudformation", company.accounts[0])
    (stack,) = member.describe_stacks(StackName=first["StackId"])["Stacks"]

    assert operation["Status"] == "SUCCEEDED"
    assert operation["Action"] == "CREATE"
    assert tuple(found) == company.accounts
    assert first["Status"] == "CURRENT"
    assert first["StackInstanceStatus"] == {"DetailedStatus": "SUCCEEDED"}
    assert first["OrganizationalUnitId"] == company.unit
    assert first["LastOperationId"] == operation["OperationId"]
    assert stack["StackName"].startswith(f"StackSet-{name}-")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    for account_id in company.accounts:
        assert company.role(account_id, role) is not None


def test_the_root_takes_everybody_but_the_management_account(company: Company) -> None:
    root = company.organizations.list_roots()["Roots"][0]["Id"]
    name = company.create(role_template(unique("Role")))

    company.create_instances(name, DeploymentTargets=company.targets(unit=root))

    found = company.instances(name)
    assert {HUB, WORKLOAD, *company.accounts} <= set(found)
    assert MANAGEMENT not in found
    assert {each["OrganizationalUnitId"] for each in found.values()} == {root}


def test_the_set_is_described_as_it_is(company: Company) -> None:
    template = role_template(unique("Role"))
    name = company.create(template, Description="For tests")
    company.create_instances(name)

    found = company.hub.describe_stack_set(StackSetName=name, **DELEGATED)["StackSet"]
    listed = company.hub.list_stack_sets(**DELEGATED)["Summaries"]
    automatic = company.hub.list_stack_set_auto_deployment_targets(StackSetName=name, **DELEGATED)

    assert found["StackSetARN"].startswith(
        f"arn:aws:cloudformation:{REGION}:{MANAGEMENT}:stackset/{name}:"
    )
    assert found["TemplateBody"] == template
    assert found["PermissionModel"] == "SERVICE_MANAGED"
    assert found["AutoDeployment"] == {"Enabled": True, "RetainStacksOnAccountRemoval": False}
    assert found["OrganizationalUnitIds"] == [company.unit]
    assert found["Regions"] == [REGION]
    assert name in {each["StackSetName"] for each in listed}
    assert automatic["Summaries"] == [{"OrganizationalUnitId": company.unit, "Regions": [REGION]}]


def test_an_account_that_comes_gets_its_stack_and_one_that_leaves_loses_it(
    company: Company,
) -> None:
    role, account_id = unique("Role"), str(next(_account_ids))
    name = company.create(role_template(role))
    company.create_instances(name)
    root = company.organizations.list_roots()["Roots"][0]["Id"]

    company.join(account_id)
    came = within_seconds(
        lambda: (
            found := company.instances(name).get(account_id),
            found and found["Status"] == "CURRENT" and found,
        )[1]
    )
    had_role = company.role(account_id, role) is not None
    company.organizations.move_account(
        AccountId=account_id, SourceParentId=company.unit, DestinationParentId=root
    )
    within_seconds(lambda: account_id not in company.instances(name))

    assert came["OrganizationalUnitId"] == company.unit
    assert had_role
    assert company.role(account_id, role) is None


def test_without_auto_deployment_an_account_that_comes_gets_nothing(company: Company) -> None:
    account_id = str(next(_account_ids))
    name = company.create(role_template(unique("Role")), AutoDeployment={"Enabled": False})
    company.create_instances(name)

    company.join(account_id)
    time.sleep(0.3)

    assert account_id not in company.instances(name)


def test_a_suspended_account_is_skipped_and_shown(company: Company) -> None:
    closed = company.accounts[0]
    company.organizations.close_account(AccountId=closed)
    name = company.create(role_template(unique("Role")))

    operation = company.create_instances(name)
    found = company.instances(name)

    assert operation["Status"] == "SUCCEEDED"
    assert found[closed]["StackInstanceStatus"] == {"DetailedStatus": "SKIPPED_SUSPENDED_ACCOUNT"}
    assert found[closed]["Status"] == "OUTDATED"
    assert found[company.accounts[1]]["Status"] == "CURRENT"


def test_an_update_of_some_leaves_the_others_out_of_date(company: Company) -> None:
    role = unique("Role")
    name = company.create(role_template(role))
    company.create_instances(name)
    first, second = company.accounts

    company.update(
        name,
        role_template(role, "second"),
        DeploymentTargets=company.targets(first),
        Regions=[REGION],
    )
    between = {account: each["Status"] for account, each in company.instances(name).items()}
    company.update(name, role_template(role, "second"))
    after = {account: each["Status"] for account, each in company.instances(name).items()}

    assert between == {first: "CURRENT", second: "OUTDATED"}
    assert after == {first: "CURRENT", second: "CURRENT"}
    assert (company.role(second, role) or {})["Description"] == "second"


def test_what_fails_in_an_account_is_told_with_its_reason(company: Company) -> None:
    role, (first, second) = unique("Role"), company.accounts
    company.box.role(role, account_id=first)  # somebody has made a role of that name
    name = company.create(role_template(role))

    operation = company.create_instances(name)
    found = company.instances(name)
    results = company.hub.list_stack_set_operation_results(
        StackSetName=name, OperationId=operation["OperationId"], **DELEGATED
    )["Summaries"]

    # No failure is borne unless the preferences say so.
    assert operation["Status"] == "FAILED"
    assert operation["StatusDetails"] == {"FailedStackInstancesCount": 1}
    assert found[first]["Status"] == "OUTDATED"
    assert found[first]["StackInstanceStatus"] == {"DetailedStatus": "FAILED"}
    assert "ResourceLogicalId:Role, ResourceType:AWS::IAM::Role" in found[first]["StatusReason"]
    assert found[second]["StackInstanceStatus"] == {"DetailedStatus": "CANCELLED"}
    assert [each["Status"] for each in results] == ["FAILED", "CANCELLED"]


def test_failures_within_the_tolerance_do_not_stop_the_others(company: Company) -> None:
    role, (first, second) = unique("Role"), company.accounts
    iam = company.box.client("iam", first)
    company.box.role(role, account_id=first)
    name = company.create(role_template(role))

    operation = company.create_instances(
        name, OperationPreferences={"FailureTolerancePercentage": 100}
    )
    before = company.instances(name)
    iam.delete_role(RoleName=role)
    again = company.create_instances(name, DeploymentTargets=company.targets(first))
    after = company.instances(name)

    assert operation["Status"] == again["Status"] == "SUCCEEDED"
    assert (before[first]["Status"], before[second]["Status"]) == ("OUTDATED", "CURRENT")
    assert after[first]["Status"] == "CURRENT"


def test_a_stack_that_was_deleted_in_the_account_is_made_anew(company: Company) -> None:
    role, (first, _) = unique("Role"), company.accounts
    name = company.create(role_template(role))
    company.create_instances(name)
    member = company.box.client("cloudformation", first)
    stack_id = company.instances(name)[first]["StackId"]
    member.delete_stack(StackName=stack_id)
    member.get_waiter("stack_delete_complete").wait(
        StackName=stack_id, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    # StackSets do not notice.
    told = company.instances(name)[first]["Status"]

    answer = company.hub.delete_stack_instances(
        StackSetName=name,
        DeploymentTargets=company.targets(first),
        Regions=[REGION],
        RetainStacks=False,
        **DELEGATED,
    )
    company.ended(name, answer["OperationId"])
    left = set(company.instances(name))
    company.create_instances(name, DeploymentTargets=company.targets(first))

    assert told == "CURRENT"
    assert left == {company.accounts[1]}
    assert company.role(first, role) is not None


def test_deleted_instances_take_their_stacks_along_unless_these_are_kept(company: Company) -> None:
    for keeps in (False, True):
        role = unique("Role")
        name = company.create(role_template(role))
        company.create_instances(name)
        with pytest.raises(ClientError, match="StackSetNotEmptyException"):
            company.hub.delete_stack_set(StackSetName=name, **DELEGATED)

        answer = company.hub.delete_stack_instances(
            StackSetName=name,
            DeploymentTargets=company.targets(),
            Regions=[REGION],
            RetainStacks=keeps,
            **DELEGATED,
        )
        company.ended(name, answer["OperationId"])
        company.hub.delete_stack_set(StackSetName=name, **DELEGATED)

        kept = company.role(company.accounts[0], role) is not None
        assert kept is keeps
        with pytest.raises(ClientError, match="StackSetNotFoundException"):
            company.hub.describe_stack_set(StackSetName=name, **DELEGATED)


def test_only_a_delegated_administrator_may_call_as_one(company: Company) -> None:
    with pytest.raises(ClientError, match="Account used is not a delegated administrator"):
        company.box.client("cloudformation", WORKLOAD).list_stack_sets(**DELEGATED)
    with pytest.raises(ClientError, match="You must be the management account or delegated admin"):
        company.create(role_template("R"), CallAs="SELF")

    assert company.hub.list_stack_sets()["Summaries"] == []


def test_stack_sets_need_trusted_access(company: Company) -> None:
    management = company.box.client("cloudformation", MANAGEMENT)
    before = company.hub.describe_organizations_access(**DELEGATED)["Status"]
    management.deactivate_organizations_access()
    after = company.hub.describe_organizations_access(**DELEGATED)["Status"]
    try:
        with pytest.raises(ClientError, match="You must enable organizations access"):
            company.create(role_template("R"))
    finally:
        management.activate_organizations_access()
    listed = company.organizations.list_aws_service_access_for_organization()

    assert (before, after) == ("ENABLED", "DISABLED")
    assert SERVICE in {each["ServicePrincipal"] for each in listed["EnabledServicePrincipals"]}


def test_a_role_needs_the_right(company: Company) -> None:
    powerless = company.box.role(unique("reader"), allow("s3:ListBucket"), account_id=HUB)
    reader = company.box.role(
        unique("reader"), allow("cloudformation:ListStackSets"), account_id=HUB
    )

    with pytest.raises(ClientError, match="AccessDenied"):
        company.box.session(powerless, by=HUB).client("cloudformation").list_stack_sets(**DELEGATED)
    company.box.session(reader, by=HUB).client("cloudformation").list_stack_sets(**DELEGATED)


@pytest.mark.parametrize(
    ("template", "changes", "expected"),
    [
        (role_template("R", Transform="AWS::LanguageExtensions"), {}, "macros"),
        (
            json.dumps({"Resources": {"S": {"Type": "AWS::CloudFormation::Stack"}}}),
            {},
            "nested stacks",
        ),
        (role_template("R", Description="x" * 51_200), {}, "51200"),
        (role_template("R"), {"Capabilities": []}, "CAPABILITY_NAMED_IAM"),
    ],
)
def test_templates_that_service_managed_stack_sets_do_not_take(
    company: Company, template: str, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ClientError, match=expected):
        company.create(template, **changes)


def stack_set_resource(company: Company, name: str, template: str) -> dict[str, Any]:
    """A stack set as a resource of a stack."""
    return {
        "Type": "AWS::CloudFormation::StackSet",
        "Properties": {
            "StackSetName": name,
            "PermissionModel": "SERVICE_MANAGED",
            "CallAs": "DELEGATED_ADMIN",
            "Capabilities": CAPABILITIES,
            "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
            "ManagedExecution": {"Active": True},
            "OperationPreferences": {"FailureTolerancePercentage": 0},
            "StackInstancesGroup": [{"DeploymentTargets": company.targets(), "Regions": [REGION]}],
            "TemplateBody": template,
        },
    }


def deploy(company: Company, stack: str, resource: dict[str, Any], kind: str) -> dict[str, Any]:
    """The stack with one stack set, created or updated in the hub."""
    body = json.dumps(
        {"Resources": {"Set": resource}, "Outputs": {"Set": {"Value": {"Ref": "Set"}}}}
    )
    getattr(company.hub, f"{kind}_stack")(StackName=stack, TemplateBody=body)
    company.hub.get_waiter(f"stack_{kind}_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    found: dict[str, Any] = company.hub.describe_stacks(StackName=stack)["Stacks"][0]
    return found


def test_a_stack_makes_changes_and_deletes_a_stack_set(company: Company) -> None:
    role, name, stack = unique("Role"), unique("set"), unique("stack")

    made = deploy(company, stack, stack_set_resource(company, name, role_template(role)), "create")
    first = company.instances(name)
    second = stack_set_resource(company, name, role_template(role, "second"))
    deploy(company, stack, second, "update")
    description = (company.role(company.accounts[1], role) or {})["Description"]
    company.hub.delete_stack(StackName=stack)
    company.hub.get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )

    assert made["Outputs"][0]["OutputValue"].startswith(f"{name}:")
    assert {each["Status"] for each in first.values()} == {"CURRENT"}
    assert tuple(first) == company.accounts
    assert description == "second"
    assert company.role(company.accounts[0], role) is None
    with pytest.raises(ClientError, match="StackSetNotFoundException"):
        company.instances(name)


def test_what_was_changed_of_a_stack_set_is_set_back(company: Company) -> None:
    role, name, stack = unique("Role"), unique("set"), unique("stack")
    resource = stack_set_resource(company, name, role_template(role))
    deploy(company, stack, resource, "create")
    answer = company.hub.delete_stack_instances(
        StackSetName=name,
        DeploymentTargets=company.targets(),
        Regions=[REGION],
        RetainStacks=False,
        **DELEGATED,
    )
    company.ended(name, answer["OperationId"])
    company.update(name, role_template(role, "other"), AutoDeployment={"Enabled": False})

    company.hub.create_change_set(
        StackName=stack,
        ChangeSetName="back",
        UsePreviousTemplate=True,
        DeploymentMode="REVERT_DRIFT",
    )
    company.hub.execute_change_set(StackName=stack, ChangeSetName="back")
    company.hub.get_waiter("stack_update_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )

    found = company.hub.describe_stack_set(StackSetName=name, **DELEGATED)["StackSet"]
    assert found["AutoDeployment"]["Enabled"] is True
    assert found["TemplateBody"] == role_template(role)
    assert tuple(company.instances(name)) == company.accounts


def test_a_stack_fails_with_its_stack_set_and_leaves_nothing(company: Company) -> None:
    role, name, stack = unique("Role"), unique("set"), unique("stack")
    company.box.role(role, account_id=company.accounts[0])

    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(company, stack, stack_set_resource(company, name, role_template(role)), "create")
    events = company.hub.describe_stack_events(StackName=stack)["StackEvents"]

    reasons = " ".join(each.get("ResourceStatusReason", "") for each in events)
    assert "was unexpectedly stopped or failed" in reasons
    assert company.accounts[0] in reasons
    with pytest.raises(ClientError, match="StackSetNotFoundException"):
        company.instances(name)
