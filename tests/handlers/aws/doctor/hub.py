"""What is deployed in moto's hub account, as far as the doctor reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pare.doctor.setup import METADATA_KEY
from tests.doctor_setup import setup

if TYPE_CHECKING:
    from tests.handlers.fake_aws import FakeAws

NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)


def functions(*names: str) -> dict[str, tuple[str, str]]:
    """Return resources: functions under CDK's logical ids."""
    return {f"{name}0A1B2C3D": ("AWS::Lambda::Function", f"ParePipeline-{name}") for name in names}


def template(**changes: Any) -> dict[str, Any]:
    """Return ParePipeline's template as far as the doctor and moto read it."""
    return {
        "Metadata": {METADATA_KEY: setup(**changes).to_json()},
        "Resources": {"People": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {"PareVersion": {"Value": "0.7.0"}},
    }


def deploy(aws: FakeAws, body: Any, *, resources: dict[str, str] | None = None) -> None:
    """Let ParePipeline be deployed; moto's CloudFormation wants packages that are not here.

    ``resources``: logical id -> type.
    """
    outputs = [
        {"OutputKey": name, "OutputValue": each["Value"]}
        for name, each in (body.get("Outputs", {}) if isinstance(body, dict) else {}).items()
    ]
    aws.answer(
        "cloudformation:DescribeStacks",
        {
            "Stacks": [
                {
                    "StackName": "ParePipeline",
                    "CreationTime": NOW,
                    "StackStatus": "CREATE_COMPLETE",
                    "Outputs": outputs,
                }
            ]
        },
    )
    aws.answer(
        "cloudformation:GetTemplate",
        {"TemplateBody": body if isinstance(body, str) else json.dumps(body)},
    )
    aws.answer(
        "cloudformation:ListStackResources",
        {
            "StackResourceSummaries": [
                {
                    "LogicalResourceId": logical_id,
                    "PhysicalResourceId": f"ParePipeline-{logical_id}",
                    "ResourceType": kind,
                    "LastUpdatedTimestamp": NOW,
                    "ResourceStatus": "CREATE_COMPLETE",
                }
                for logical_id, kind in (resources or {}).items()
            ]
        },
    )
