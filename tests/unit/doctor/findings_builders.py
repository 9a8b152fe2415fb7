"""A deployment with one other Region, and what its stacks have, for the tests of findings."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pare.doctor.deployed_rules import FoundRule, Stack, expected_rules
from pare.doctor.findings import RegionRules, stack_of
from tests import doctor_setup

if TYPE_CHECKING:
    from pare.doctor.deployed_rules import ExpectedRule
    from pare.doctor.setup import Setup
    from pare.findings.watch import AnalyzerJson

SETUP = doctor_setup.setup(create_external_access=False)
HUB, HOME, OTHER = SETUP.hub_account_id, SETUP.home_region, SETUP.other_regions[0]
HUB_BUS = f"arn:aws:events:{HOME}:{HUB}:event-bus/pare"
QUEUE = f"arn:aws:sqs:{OTHER}:{HUB}:{SETUP.region_dead_letters_name}"
ROLE = f"arn:aws:iam::{HUB}:role/PareRegion-ForwardRole"
MACHINE = f"arn:aws:states:{HOME}:{HUB}:stateMachine:Finding"
PATTERN = {"source": ["pare.test"], "account": [HUB]}
ROLE_TEMPLATE: dict[str, Any] = {
    "ForwardRole": {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": "sts:AssumeRole",
                        "Principal": {"Service": "events.amazonaws.com"},
                        "Condition": {"ArnEquals": {"aws:SourceArn": [
                            {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"},
                                               f":events:{OTHER}:{HUB}:rule/PareRegion-TestEvent"]]}
                        ]}},
                    }
                ]
            }
        },
    },
    "ForwardPolicy": {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "PolicyName": "ForwardPolicy",
            "PolicyDocument": {
                "Statement": [
                    {"Effect": "Allow", "Action": "events:PutEvents", "Resource": HUB_BUS}
                ]
            },
            "Roles": [{"Ref": "ForwardRole"}],
        },
    },
}  # fmt: skip


def region_stack(**more: Any) -> Stack:
    """Return the stack of the other Region; ``more``: resources of its template."""
    target = {
        "Arn": {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"},
                                  f":events:{HOME}:{HUB}:event-bus/pare"]]},
        "Id": "Target0",
        "RoleArn": {"Fn::GetAtt": ["ForwardRole", "Arn"]},
        "DeadLetterConfig": {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}},
    }  # fmt: skip
    template = {
        "Resources": {
            "DeadLetters": {"Type": "AWS::SQS::Queue", "Properties": {}},
            "TestEventRule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "Name": "PareRegion-TestEvent",
                    "Description": "Pare's test events",
                    "EventPattern": {**PATTERN, "account": [{"Ref": "AWS::AccountId"}]},
                    "State": "ENABLED",
                    "Targets": [target],
                },
            },
            **ROLE_TEMPLATE,
            **more,
        }
    }  # fmt: skip
    resources = {
        "DeadLetters": (
            "AWS::SQS::Queue",
            f"https://sqs.{OTHER}.amazonaws.com/{HUB}/{SETUP.region_dead_letters_name}",
        ),
        "TestEventRule": ("AWS::Events::Rule", "PareRegion-TestEvent"),
        "ForwardRole": ("AWS::IAM::Role", "PareRegion-ForwardRole"),
        "ForwardPolicy": ("AWS::IAM::Policy", "ForwardPolicy"),
    }
    arn = f"arn:aws:cloudformation:{OTHER}:{HUB}:stack/PareRegion-{OTHER}/1"
    return Stack(stack_of(SETUP, OTHER), arn, OTHER, template, resources)


def home_stack(**more: Any) -> Stack:
    """Return ParePipeline with the rules for test events; ``more``: resources of its template."""

    def rule(bus: Any) -> dict[str, Any]:
        return {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "Description": "Test findings",
                "EventBusName": bus,
                "EventPattern": PATTERN,
                "State": "ENABLED",
                "Targets": [{"Arn": {"Ref": "Machine"}, "Id": "Target0",
                             "RoleArn": {"Fn::GetAtt": ["EventsRole", "Arn"]}}],
            },
        }  # fmt: skip

    template = {
        "Resources": {
            "Bus": {"Type": "AWS::Events::EventBus", "Properties": {"Name": "pare"}},
            "Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {}},
            "EventsRole": {"Type": "AWS::IAM::Role", "Properties": {"Path": "/service/"}},
            "HubTestRule": rule({"Ref": "Bus"}),
            "DefaultTestRule": rule("default"),
            **more,
        }
    }
    resources = {
        "Bus": ("AWS::Events::EventBus", "pare"),
        "Machine": ("AWS::StepFunctions::StateMachine", MACHINE),
        "EventsRole": ("AWS::IAM::Role", "ParePipeline-EventsRole"),
        "HubTestRule": ("AWS::Events::Rule", "pare|ParePipeline-HubTestRule"),
        "DefaultTestRule": ("AWS::Events::Rule", "ParePipeline-DefaultTestRule"),
        **{
            name: (each["Type"], f"arn:aws:access-analyzer:{HOME}:{HUB}:analyzer/{name}-1")
            for name, each in more.items()
            if each["Type"] == "AWS::AccessAnalyzer::Analyzer"
        },
    }
    arn = f"arn:aws:cloudformation:{HOME}:{HUB}:stack/ParePipeline/1"
    return Stack("ParePipeline", arn, HOME, template, resources)


def rules_of(stack: Stack) -> RegionRules:
    """Return the rules of a stack, all as they should be."""
    return RegionRules(stack.region, stack, tuple(expected_rules(stack, SETUP)))


def as_it_should(rule: ExpectedRule) -> FoundRule:
    """Return the rule as EventBridge has it when nobody touched it."""
    assert rule.pattern is not None
    assert rule.targets is not None
    return FoundRule("ENABLED", json.loads(json.dumps(rule.pattern)), rule.targets)


def setup(**changes: Any) -> Setup:
    """Return the deployment's settings, changed as asked."""
    return replace(SETUP, **changes)


def analyzer(
    name: str = "org",
    kind: str = "ORGANIZATION",
    region: str = OTHER,
    status: str = "ACTIVE",
    **more: Any,
) -> AnalyzerJson:
    """Return an analyzer as it is listed."""
    found: AnalyzerJson = {
        "arn": f"arn:aws:access-analyzer:{region}:{HUB}:analyzer/{name}",
        "name": name,
        "type": kind,
        "region": region,
        "status": status,
        "status_reason": None,
        "created_at": "2026-11-01T00:00:00Z",
        "managed_by": None,
    }
    found.update(more)  # type: ignore[typeddict-item]
    return found
