"""PareMembers and PareMember: one template, from StackSets or by hand."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import pytest

from infra.by_hand import ByHand
from infra.member_stack import TEMPLATE_TAG, member_template, template_hash
from pare.aws.probe import TEMPLATE_TAG as TAG_OF_PROBE
from tests.infra.synthesis import (
    CONTEXT,
    PARTITIONS,
    WITHOUT_MEMBERS,
    Synthesis,
    Template,
    as_list,
    settings_in,
)
from tests.infra.test_cfn_lint import lint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.infra.synthesis import Json

# What the CDK CLI adds to cdk.json's flags by itself.
OF_THE_CLI = {
    "aws:cdk:enable-path-metadata": True,
    "aws:cdk:enable-asset-metadata": True,
    "aws:cdk:version-reporting": True,
}
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudformation-stackset.html
MAX_BODY_BYTES = 51_200


@pytest.fixture(params=[each for each in PARTITIONS if each != WITHOUT_MEMBERS])
def with_stack_set(
    request: pytest.FixtureRequest, synthesis_in: Callable[[str], Synthesis]
) -> Synthesis:
    """All stacks, in one partition after the other that has stack sets."""
    return synthesis_in(request.param)


def stack_set(synthesis: Synthesis) -> Json:
    """Return the properties of the one stack set."""
    template = synthesis.templates["PareMembers"]
    (properties,) = template.properties("AWS::CloudFormation::StackSet").values()
    return properties


def member_role(template: Json) -> Json:
    (role,) = (
        each
        for each in template["Resources"].values()
        if each["Properties"].get("RoleName") == "PareMember"
    )
    return dict(role)


def statements_of(template: Json, role: str) -> dict[str, Json]:
    """Return the statements of a role by their Sids; the role by the start of its logical id."""
    (policy,) = (
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::IAM::Policy"
        and each["Properties"]["Roles"][0]["Ref"].startswith(role)
    )
    return {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}


def readable(template: Json, role: str, sid: str) -> list[str]:
    """Return a statement's resources as a person writes them."""
    resources = as_list(statements_of(template, role)[sid]["Resource"])
    return [Template("PareMember", template).readable(each) for each in resources]


# --- One template -------------------------------------------------------------------------------


def test_the_doctor_is_told_the_rights_of_the_member_role_in_any_account(
    anywhere: Synthesis,
) -> None:
    told = anywhere.settings.setup().member_rights
    documents = json.loads(told)
    (policy,) = (
        each
        for logical_id, each in anywhere.templates["PareMember"]
        .properties("AWS::IAM::Policy")
        .items()
        if logical_id.startswith("MemberRole")
    )
    sids = [each["Sid"] for each in policy["PolicyDocument"]["Statement"]]
    assert [each["Sid"] for document in documents for each in document["Statement"]] == sids
    # As IAM has it: nothing of CloudFormation's is left, and the account is the reader's to fill.
    assert not {"Fn::", "Ref", "AWS::"} & {
        each for each in ("Fn::", "Ref", "AWS::") if each in told
    }
    partition = anywhere.settings.partition
    assert f"arn:{partition}:iam::{{account_id}}:role/*" in told


def test_stack_sets_carry_exactly_what_is_deployed_by_hand(with_stack_set: Synthesis) -> None:
    by_hand = json.loads(with_stack_set.text("PareMember"))
    assert json.loads(stack_set(with_stack_set)["TemplateBody"]) == by_hand


def test_what_is_deployed_by_hand_is_the_template_of_the_hash(anywhere: Synthesis) -> None:
    by_hand = json.loads(anywhere.text("PareMember"))
    assert member_template(anywhere.settings) == by_hand


def test_the_cdk_cli_makes_the_same_template(synthesis: Synthesis, tmp_path: Path) -> None:
    # It would add the path of each construct, and a resource with CDK's version.
    app = cdk.App(context={**CONTEXT, **OF_THE_CLI}, outdir=str(tmp_path))
    ByHand(app, settings=synthesis.settings)
    app.synth()
    assert Synthesis(synthesis.settings, tmp_path).text("PareMember") == synthesis.text(
        "PareMember"
    )


def test_stack_sets_take_the_template(with_stack_set: Synthesis) -> None:
    # No parameters, macros, rules or nested stacks, and it is sent as it is (facts §6).
    body = stack_set(with_stack_set)["TemplateBody"]
    assert len(body.encode()) < MAX_BODY_BYTES / 4
    template = json.loads(body)
    assert template.keys() == {"Description", "Resources"}
    assert {each["Type"] for each in template["Resources"].values()} == {
        "AWS::IAM::Role",
        "AWS::IAM::Policy",
    }
    assert "Fn::Transform" not in body
    assert "Fn::ImportValue" not in body


def test_the_member_role_says_which_template_it_is_of(
    synthesis: Synthesis, member: Template
) -> None:
    assert TEMPLATE_TAG == TAG_OF_PROBE
    digest = template_hash(synthesis.settings)
    assert len(digest) == 12
    tags = {each["Key"]: each["Value"] for each in member_role(member.body)["Properties"]["Tags"]}
    assert tags[TEMPLATE_TAG] == digest == synthesis.settings.setup().member_template


@pytest.mark.parametrize(
    "change",
    [
        {"hub_account_id": "444444444444"},
        {"member_external_id": "another"},
        {"account_exclusions": ("555555555555",)},
        {"window_days": 30},
    ],
)
def test_the_hash_changes_with_the_template_and_with_nothing_else(
    synthesis: Synthesis, change: Json
) -> None:
    settings = synthesis.settings
    changed: Any = replace(settings, **change)
    body, body_then = member_template(settings), member_template(changed)
    for each in (body, body_then):
        member_role(each)["Properties"]["Tags"] = []
    assert (body == body_then) == (template_hash(settings) == template_hash(changed))
    assert (body == body_then) == (change.keys() <= {"account_exclusions", "window_days"})


# --- The stack set ------------------------------------------------------------------------------


def test_the_stack_set_covers_the_organizational_units_from_the_hub(
    with_stack_set: Synthesis,
) -> None:
    settings, found = with_stack_set.settings, stack_set(with_stack_set)
    properties = {name: value for name, value in found.items() if name != "TemplateBody"}
    assert properties == {
        "StackSetName": "PareMembers",
        "Description": "Pare: the roles that let the hub account read each account's IAM",
        "PermissionModel": "SERVICE_MANAGED",
        "CallAs": "DELEGATED_ADMIN",
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        # Those that join get the roles, those that leave lose them.
        "AutoDeployment": {"Enabled": True, "RetainStacksOnAccountRemoval": False},
        "ManagedExecution": {"Active": True},
        # No account stops the others.
        "OperationPreferences": {
            "FailureTolerancePercentage": 100,
            "MaxConcurrentPercentage": 100,
            "RegionConcurrencyType": "PARALLEL",
        },
        # Roles are global: one Region.
        "StackInstancesGroup": [
            {
                "DeploymentTargets": {"OrganizationalUnitIds": list(settings.organizational_units)},
                "Regions": [settings.home_region],
            }
        ],
    }


def test_removing_pare_removes_the_member_roles(synthesis: Synthesis) -> None:
    template = synthesis.templates["PareMembers"]
    (resource,) = template.resources("AWS::CloudFormation::StackSet").values()
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Delete"
    for each in json.loads(resource["Properties"]["TemplateBody"])["Resources"].values():
        assert not each.keys() & {"DeletionPolicy", "UpdateReplacePolicy"}
    assert synthesis.manifest("PareMembers")["terminationProtection"] is False


def test_the_member_roles_are_there_when_the_pipeline_first_looks(synthesis: Synthesis) -> None:
    text = (synthesis.folder / "manifest.json").read_text(encoding="utf-8")
    assert "PareMembers" in json.loads(text)["artifacts"]["ParePipeline"]["dependencies"]


@pytest.mark.parametrize(
    ("path", "wrong", "said"),
    [
        (("PermissionModel",), "SERVICE", "'SERVICE' is not one of"),
        (("CallAs",), "DELEGATED", "'DELEGATED' is not one of"),
        (("Capabilities",), ["CAPABILITY_IAM_NAMED"], "is not one of"),
        (("OperationPreferences", "FailureTolerancePercentage"), 101, "101 is greater than"),
        (("OperationPreferences", "FailureTolerance"), 1, "'FailureTolerance' was unexpected"),
        (("AutoDeployment", "Retain"), True, "'Retain' was unexpected"),
        (("StackInstancesGroup", 0, "DeploymentTargets", "OrganizationalUnitIds"), ["root"],
         "'root' does not match"),
        (("StackInstancesGroup", 0, "Region"), "us-east-1", "'Region' was unexpected"),
    ],
)  # fmt: skip
def test_the_schema_of_the_resource_finds_what_is_wrong_in_it(
    synthesis: Synthesis, path: tuple[Any, ...], wrong: Any, said: str
) -> None:
    # So that its passing (test_cfn_lint.py) means something.
    body = copy.deepcopy(synthesis.templates["PareMembers"].body)
    (resource,) = (
        each
        for each in body["Resources"].values()
        if each["Type"] == "AWS::CloudFormation::StackSet"
    )
    part = resource["Properties"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = wrong
    found = [str(each) for each in lint(json.dumps(body), [synthesis.settings.home_region])]
    assert any(said in each for each in found), found


# --- What the trail changes in it ---------------------------------------------------------------


def test_the_doctor_may_look_at_the_trail_its_bucket_and_its_keys(anywhere: Synthesis) -> None:
    trail, template = anywhere.settings.trail, anywhere.member.body
    looking = {
        sid: readable(template, "MemberRole", sid)
        for sid in statements_of(template, "MemberRole")
        if sid.startswith("ReadTrail")
    }
    expected = {
        "ReadTrail": [trail.arn],
        "ReadTrailBucket": [f"arn:<AWS::Partition>:s3:::{trail.bucket}"],
    }
    if trail.kms_key_arns:
        expected["ReadTrailKeys"] = list(trail.kms_key_arns)
    assert looking == expected


def test_where_each_account_has_a_trail_of_its_own_nobody_needs_more(tmp_path: Path) -> None:
    settings = settings_in("aws", tmp_path)
    arn = settings.trail.arn.replace("111111111111", "{account_id}")
    each = replace(settings, trail=replace(settings.trail, arn=arn))
    template = member_template(each)
    assert "{account_id}" not in json.dumps(template)
    assert readable(template, "MemberRole", "ReadTrail") == [
        "arn:aws:cloudtrail:us-east-1:<AWS::AccountId>:trail/organization"
    ]
    # Without the organization's id in the keys.
    assert readable(template, "AccessRole", "ReadLogFiles") == [
        "arn:<AWS::Partition>:s3:::example-organization-trail/AWSLogs/<AWS::AccountId>/*"
    ]
    setup = each.setup()
    assert setup.trail.arn == arn
    assert not setup.trail.is_organization_trail
