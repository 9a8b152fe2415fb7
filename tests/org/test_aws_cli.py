"""The tests' `aws` takes what the AWS CLI takes, in botocore's types, and refuses the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import xform_name

from tests.org import aws_cli

if TYPE_CHECKING:
    from pathlib import Path


def taken(line: list[str]) -> dict[str, Any]:
    """Return what a command hands to boto3."""
    command = aws_cli.split(line)
    service, name = command.words
    client: Any = boto3.client(
        aws_cli.CALLED.get(service, service),  # type: ignore[call-overload]
        region_name="eu-west-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    model = client.meta.service_model
    (operation,) = (each for each in model.operation_names if xform_name(each, "-") == name)
    input_json = command.globals.get("cli-input-json")
    return aws_cli.parameters(
        model.operation_model(operation), command.options, input_json=input_json
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            ["cloudtrail", "start-logging", "--name", "org-trail", "--region", "eu-west-1"],
            {"Name": "org-trail"},
        ),
        (
            ["cloudtrail", "update-trail", "--name", "org-trail", "--is-multi-region-trail"],
            {"Name": "org-trail", "IsMultiRegionTrail": True},
        ),
        (
            ["cloudtrail", "update-trail", "--name", "org-trail", "--no-is-multi-region-trail"],
            {"Name": "org-trail", "IsMultiRegionTrail": False},
        ),
        (
            ["events", "put-targets", "--rule", "r", "--targets",
             "Id=bus,Arn=arn:aws:events:eu-west-1:1:event-bus/pare,DeadLetterConfig={Arn=arn:q}"],
            {"Rule": "r", "Targets": [
                {"Id": "bus", "Arn": "arn:aws:events:eu-west-1:1:event-bus/pare",
                 "DeadLetterConfig": {"Arn": "arn:q"}},
            ]},
        ),
        (
            ["cloudformation", "create-stack-instances", "--stack-set-name", "PareMember",
             "--deployment-targets", "OrganizationalUnitIds=r-abcd,ou-1",
             "--operation-preferences", "MaxConcurrentPercentage=100,FailureTolerancePercentage=10",
             "--regions", "eu-west-1", "eu-central-1", "--call-as", "DELEGATED_ADMIN"],
            {"StackSetName": "PareMember",
             "DeploymentTargets": {"OrganizationalUnitIds": ["r-abcd", "ou-1"]},
             "OperationPreferences": {
                 "MaxConcurrentPercentage": 100, "FailureTolerancePercentage": 10},
             "Regions": ["eu-west-1", "eu-central-1"], "CallAs": "DELEGATED_ADMIN"},
        ),
        (
            ["cloudtrail", "put-event-selectors", "--trail-name", "t", "--event-selectors",
             '[{"ReadWriteType": "All", "ExcludeManagementEventSources": []}]'],
            {"TrailName": "t", "EventSelectors": [
                {"ReadWriteType": "All", "ExcludeManagementEventSources": []}]},
        ),
        (
            ["iam", "create-role", "--role-name", "r", "--assume-role-policy-document", "{}",
             "--tags", "Key=a,Value='b, c'", "Key=d,Value=\"e=f\""],
            {"RoleName": "r", "AssumeRolePolicyDocument": "{}",
             "Tags": [{"Key": "a", "Value": "b, c"}, {"Key": "d", "Value": "e=f"}]},
        ),
        (
            ["sqs", "start-message-move-task", "--source-arn", "arn:q",
             "--max-number-of-messages-per-second", "10"],
            {"SourceArn": "arn:q", "MaxNumberOfMessagesPerSecond": 10},
        ),
        (
            ["sqs", "set-queue-attributes", "--queue-url", "u", "--attributes",
             "VisibilityTimeout=30,DelaySeconds=0"],
            {"QueueUrl": "u", "Attributes": {"VisibilityTimeout": "30", "DelaySeconds": "0"}},
        ),
        (
            ["sns", "subscribe", "--topic-arn", "t", "--protocol", "email",
             "--notification-endpoint", "a@example.com"],
            {"TopicArn": "t", "Protocol": "email", "Endpoint": "a@example.com"},
        ),
        (
            ["sqs", "purge-queue", "--cli-input-json", '{"QueueUrl": "u"}', "--queue-url", "v"],
            {"QueueUrl": "v"},
        ),
        (
            ["events", "put-targets", "--rule", "r", "--cli-input-json",
             '{"Targets": [{"Id": "bus", "Arn": "a"}]}'],
            {"Rule": "r", "Targets": [{"Id": "bus", "Arn": "a"}]},
        ),
    ],
)  # fmt: skip
def test_takes_what_the_aws_cli_takes(line: list[str], expected: dict[str, Any]) -> None:
    assert taken(line) == expected


def test_takes_a_file(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"Version": "2012-10-17"}\n', encoding="utf-8")

    found = taken(["s3api", "put-bucket-policy", "--bucket", "b", "--policy", f"file://{policy}"])

    assert found == {"Bucket": "b", "Policy": '{"Version": "2012-10-17"}\n'}


@pytest.mark.parametrize(
    "line",
    [
        ["cloudtrail", "start-logging"],
        ["cloudtrail", "start-logging", "--name"],
        ["cloudtrail", "start-logging", "--name", "a", "b"],
        ["cloudtrail", "start-logging", "--name", "a", "--name", "b"],
        ["cloudtrail", "start-logging", "--Name", "a"],
        ["cloudtrail", "start-logging", "--name", "a", "--trail", "b"],
        ["cloudtrail", "start-logging", "--no-name", "a"],
        ["cloudtrail", "start-logging", "-n", "a"],
        ["cloudtrail", "update-trail", "--name", "a", "--is-multi-region-trail", "true"],
        ["cloudtrail", "put-event-selectors", "--trail-name", "t", "--event-selectors",
         '[{"ReadWriteTypes": "All"}]'],
        ["cloudtrail", "put-event-selectors", "--trail-name", "t", "--event-selectors", "[{"],
        ["cloudtrail", "put-event-selectors", "--trail-name", "t", "--event-selectors",
         '[{"IncludeManagementEvents": "true"}]'],
        ["cloudtrail", "put-event-selectors", "--trail-name", "t", "--event-selectors",
         "ReadWriteType=Everything"],
        ["events", "put-targets", "--rule", "r", "--targets", "Id=bus"],
        ["events", "put-targets", "--rule", "r", "--targets", "Id=bus,Arn=a,Id=b"],
        ["events", "put-targets", "--rule", "r", "--targets", "Id=bus Arn=a"],
        ["events", "put-targets", "--rule", "r", "--targets", "Id=b,Arn=a,DeadLetterConfig={Arn=q"],
        ["s3api", "put-bucket-policy", "--bucket", "b", "--policy", "file:///no/such/file"],
        ["s3api", "put-bucket-policy", "--bucket", "b", "--policy", "fileb:///dev/null"],
        ["cloudformation", "update-stack-set", "--stack-set-name", "s", "--call-as", "ADMIN"],
        ["sqs", "receive-message", "--queue-url", "u", "--wait-time-seconds", "soon"],
        ["sqs", "purge-queue", "--cli-input-json", '{"QueueURL": "u"}'],
        ["sqs", "purge-queue", "--cli-input-json", "{}"],
        ["sns", "subscribe", "--topic-arn", "t", "--protocol", "email", "--endpoint", "a"],
    ],
)  # fmt: skip
def test_refuses_what_the_aws_cli_refuses(line: list[str]) -> None:
    with pytest.raises(aws_cli.WrongUseError):
        taken(line)


@pytest.mark.parametrize(
    "line",
    [
        ["cloudtrail"],
        ["cloudtrail", "stop-trailing", "--name", "a"],
        ["s3", "cp", "a", "s3://b/c"],
        ["s3control", "no-such"],
        ["cloudtrails", "start-logging", "--name", "a"],
        ["cloudtrail", "start-logging", "more", "--name", "a"],
        ["cloudtrail", "wait", "trail-exists", "--name", "a"],
        ["cloudtrail", "start-logging", "--name", "a", "--output", "yaml"],
        ["s3api", "get-object", "--bucket", "b", "--key", "k"],
    ],
)
def test_knows_the_commands_that_there_are(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    assert aws_cli.main(line) == aws_cli.WRONG_USE
    assert capsys.readouterr().err.startswith("aws: ")


@pytest.mark.parametrize(
    ("query", "output", "printed"),
    [
        ("a", "text", "1"),
        ("b", "text", "x\ty"),
        ("c[].[k, v]", "text", "a\t1\nb\tNone"),
        ("none", "text", "None"),
        ("b", "json", json.dumps(["x", "y"], indent=4)),
        (None, "json", None),
        ("none", "json", ""),
    ],
)
def test_prints_as_the_aws_cli_does(query: str | None, output: str, printed: str | None) -> None:
    answer = {"a": 1, "b": ["x", "y"], "c": [{"k": "a", "v": 1}, {"k": "b", "v": None}]}

    found = aws_cli._printed(answer, query, output)

    assert found == (json.dumps(answer, indent=4) if printed is None else printed)


def test_knows_a_waiter_and_what_it_waits_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    line = ["cloudformation", "wait", "stack-delete-complete", "--stack", "s"]
    assert aws_cli.main(line) == aws_cli.WRONG_USE
    assert capsys.readouterr().err == "aws: DescribeStacks has no option --stack\n"
