"""Custom resources of stacks, answered by a function of the same stack with its code inline.

CloudFormation user guide, template-custom-resources-lambda, crpg-ref-requesttypes and
crpg-ref-responses: request types, ResponseURL, PhysicalResourceId, a changed id is a replacement,
the reason of a failure is in the stack's events.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import WaiterError

from tests.local.emulator_fixtures import LOG_ARCHIVE, REGION, allow, trusts, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

# Standard library and boto3 alone: what Lambda has without a package.
CODE = """
import json
import urllib.request
import boto3

def handler(event, context):
    asked = event["ResourceProperties"]
    answer = {"Status": "SUCCESS", "PhysicalResourceId": asked.get("Id", "one")}
    try:
        boto3.client("s3").put_object(
            Bucket=asked["Bucket"], Key=event["RequestType"],
            Body=json.dumps({k: v for k, v in event.items() if k != "ResponseURL"}),
        )
        if asked.get("Refuse") == event["RequestType"]:
            raise RuntimeError("a guardrail forbids it: p-1234")
        answer["Data"] = {"Account": boto3.client("sts").get_caller_identity()["Account"]}
    except Exception as error:
        answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"}
    if "PhysicalResourceId" in event and event["RequestType"] == "Delete":
        answer["PhysicalResourceId"] = event["PhysicalResourceId"]
    answer |= {k: event[k] for k in ("StackId", "RequestId", "LogicalResourceId")}
    body = json.dumps(answer).encode()
    request = urllib.request.Request(
        event["ResponseURL"], data=body, method="PUT",
        headers={"content-type": "", "content-length": str(len(body))},
    )
    urllib.request.urlopen(request).read()
"""


def deploy(box: Box, stack: str, kind: str, bucket: str, **properties: Any) -> dict[str, str]:
    """The outputs of a stack with a function and a custom resource that it answers."""
    resources = {
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": trusts(service="lambda.amazonaws.com"),
                "Policies": [{"PolicyName": "p", "PolicyDocument": allow("s3:PutObject")}],
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.14",
                "Architectures": ["arm64"],
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "Timeout": 60,
                "Code": {"ZipFile": CODE},
            },
        },
        "Own": {
            "Type": "Custom::Own",
            "Properties": {
                "ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]},
                "ServiceTimeout": 60,
                "Bucket": bucket,
                **properties,
            },
        },
    }
    outputs = {
        "Id": {"Value": {"Ref": "Own"}},
        "Account": {"Value": {"Fn::GetAtt": ["Own", "Account"]}},
    }
    client = box.client("cloudformation", LOG_ARCHIVE)
    body = json.dumps({"Resources": resources, "Outputs": outputs})
    getattr(client, f"{kind}_stack")(
        StackName=stack, TemplateBody=body, Capabilities=["CAPABILITY_IAM"]
    )
    client.get_waiter(f"stack_{kind}_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    found = client.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {each["OutputKey"]: each["OutputValue"] for each in found}


def new_bucket(box: Box) -> str:
    """A bucket where the function writes down what it was asked."""
    name = unique("asked")
    box.client("s3", LOG_ARCHIVE).create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return name


def asked(box: Box, bucket: str, request_type: str) -> dict[str, Any]:
    """What the function was last asked with this request type."""
    s3 = box.client("s3", LOG_ARCHIVE)
    found: dict[str, Any] = json.loads(
        s3.get_object(Bucket=bucket, Key=request_type)["Body"].read()
    )
    return found


def reasons(box: Box, stack: str) -> str:
    """The reasons of the stack's events."""
    client = box.client("cloudformation", LOG_ARCHIVE)
    events = client.describe_stack_events(StackName=stack)["StackEvents"]
    return "\n".join(each.get("ResourceStatusReason", "") for each in events)


def test_create_update_and_delete_reach_the_function(box: Box) -> None:
    stack, bucket = unique("custom"), new_bucket(box)
    client = box.client("cloudformation", LOG_ARCHIVE)

    made = deploy(box, stack, "create", bucket, Statements=[{"Sid": "A", "Number": 1, "On": True}])
    created = asked(box, bucket, "Create")
    deploy(box, stack, "update", bucket, Statements=[{"Sid": "B"}])
    updated = asked(box, bucket, "Update")
    client.delete_stack(StackName=stack)
    client.get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    deleted = asked(box, bucket, "Delete")

    assert made == {"Id": "one", "Account": LOG_ARCHIVE}
    assert created["ResourceType"] == "Custom::Own"
    assert created["LogicalResourceId"] == "Own"
    # Every value below the properties is a text.
    assert created["ResourceProperties"]["Statements"] == [
        {"Sid": "A", "Number": "1", "On": "true"}
    ]
    assert updated["PhysicalResourceId"] == "one"
    assert updated["OldResourceProperties"]["Statements"][0]["Sid"] == "A"
    assert updated["ResourceProperties"]["Statements"] == [{"Sid": "B"}]
    assert deleted["PhysicalResourceId"] == "one"


def test_another_physical_id_deletes_the_old_one(box: Box) -> None:
    stack, bucket = unique("custom"), new_bucket(box)

    deploy(box, stack, "create", bucket)
    made = deploy(box, stack, "update", bucket, Id="two")

    assert made["Id"] == "two"
    assert asked(box, bucket, "Delete")["PhysicalResourceId"] == "one"


@pytest.mark.parametrize("kind", ["create", "update"])
def test_a_refusal_shows_its_reason_and_rolls_back(box: Box, kind: str) -> None:
    stack, bucket = unique("custom"), new_bucket(box)
    if kind == "update":
        deploy(box, stack, "create", bucket)

    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(box, stack, kind, bucket, Refuse=kind.capitalize())

    assert "RuntimeError: a guardrail forbids it: p-1234" in reasons(box, stack)
