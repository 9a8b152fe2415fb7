"""Stacks on the emulator: the analyzer resource type, and topics with their default policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.local.emulator_fixtures import HUB, WORKLOAD, allow, unique

if TYPE_CHECKING:
    from tests.local.emulator_fixtures import Box

REGION = "ca-central-1"


def deploy(box: Box, resources: dict[str, Any], *, name: str | None = None) -> dict[str, str]:
    """The outputs of a deployed stack: Ref of every resource by its logical id."""
    client = box.client("cloudformation", region=REGION)
    outputs = {logical_id: {"Value": {"Ref": logical_id}} for logical_id in resources}
    body = json.dumps({"Resources": resources, "Outputs": outputs})
    stacks = {s["StackName"] for s in client.describe_stacks()["Stacks"]}
    stack = name or unique("stack")
    kind = "update" if stack in stacks else "create"
    getattr(client, f"{kind}_stack")(StackName=stack, TemplateBody=body)
    waiter = client.get_waiter(f"stack_{kind}_complete")
    waiter.wait(StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    found = client.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def analyzer(name: str, **properties: Any) -> dict[str, Any]:
    """An analyzer resource."""
    return {
        "Type": "AWS::AccessAnalyzer::Analyzer",
        "Properties": {"AnalyzerName": name, "Type": "ACCOUNT_UNUSED_ACCESS", **properties},
    }


def test_a_stack_makes_changes_and_deletes_an_analyzer(box: Box) -> None:
    client = box.client("accessanalyzer", region=REGION)
    name, stack = unique("analyzer"), unique("stack")
    rule = {"RuleName": "roles", "Filter": [{"Property": "resource", "Contains": ["role/"]}]}
    configuration = {"UnusedAccessConfiguration": {"UnusedAccessAge": 30}}
    first = analyzer(name, ArchiveRules=[rule], AnalyzerConfiguration=configuration)
    second = analyzer(name, Tags=[{"Key": "team", "Value": "security"}])

    arn = deploy(box, {"Analyzer": first}, name=stack)["Analyzer"]
    made = client.get_analyzer(analyzerName=name)["analyzer"]
    rules = client.list_archive_rules(analyzerName=name)["archiveRules"]
    deploy(box, {"Analyzer": second}, name=stack)
    changed = client.get_analyzer(analyzerName=name)["analyzer"]
    box.client("cloudformation", region=REGION).delete_stack(StackName=stack)
    box.client("cloudformation", region=REGION).get_waiter("stack_delete_complete").wait(
        StackName=stack, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )

    assert arn == made["arn"]
    assert made["configuration"] == {"unusedAccess": {"unusedAccessAge": 30}}
    assert rules[0]["filter"] == {"resource": {"contains": ["role/"]}}
    assert changed["tags"] == {"team": "security"}
    assert client.list_analyzers()["analyzers"] == []


def test_an_organization_analyzer_in_a_plain_member_fails_the_stack(box: Box) -> None:
    with pytest.raises(WaiterError, match="ROLLBACK"):
        deploy(box, {"Analyzer": analyzer(unique("analyzer"), Type="ORGANIZATION_UNUSED_ACCESS")})


def test_a_topic_of_a_stack_is_not_open_to_everybody(box: Box) -> None:
    topic = deploy(box, {"Topic": {"Type": "AWS::SNS::Topic"}})["Topic"]

    def publish(account_id: str, *actions: str) -> None:
        role = box.role(unique("publisher"), allow(*actions), account_id=account_id)
        client = box.session(role, by=account_id).client("sns", REGION)
        client.publish(TopicArn=topic, Message="hello")

    publish(WORKLOAD, "sns:Publish")
    with pytest.raises(ClientError) as powerless:
        publish(WORKLOAD, "sns:ListTopics")
    with pytest.raises(ClientError) as stranger:
        publish(HUB, "sns:Publish")

    for error in (powerless, stranger):
        assert error.value.response["Error"]["Code"] in {"AuthorizationError", "AccessDenied"}
