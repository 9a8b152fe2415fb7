"""What the doctor reads of analyzers, rules and test events, in two Regions of an AWS in memory.

moto has EventBridge, SQS and DynamoDB in each Region. It does not deliver from a bus to another
Region, so the test itself notes the test events where one should arrive; and its CloudFormation
needs packages that are not here, so its answers are fakes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from pare.aws.doctor import findings
from pare.aws.doctor.context import Examination
from pare.aws.tables import to_item
from tests.handlers.fake_aws import HUB, FakeAws, create_table
from tests.unit.doctor.findings_builders import HOME, OTHER, SETUP, analyzer, setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from pare.doctor.model import Result

TABLE, QUEUE = "Runs", SETUP.region_dead_letters_name
MACHINE = f"arn:aws:states:{HOME}:{HUB}:stateMachine:Finding"
HUB_BUS = f"arn:aws:events:{HOME}:{HUB}:event-bus/pare"
LIST, PUT, READ = "accessanalyzer:ListAnalyzers", "eventbridge:PutEvents", "dynamodb:BatchGetItem"
RULE = "PareRegion-TestEvent"


ROLE = f"arn:aws:iam::{HUB}:role/forward"


def template(*rules: dict[str, Any], action: str, resource: str) -> dict[str, Any]:
    """Return a template of rules, whose targets' role may do one action."""
    allow: dict[str, Any] = {"Effect": "Allow", "Action": action}
    trust = {**allow, "Action": "sts:AssumeRole", "Principal": {"Service": "events.amazonaws.com"}}
    return {
        "Resources": {
            **{each["Properties"]["Name"].title().replace("-", ""): each for each in rules},
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": {"Statement": [trust]}},
            },
            "Policy": {
                "Type": "AWS::IAM::Policy",
                "Properties": {
                    "PolicyName": "Forward",
                    "PolicyDocument": {"Statement": [{**allow, "Resource": resource}]},
                    "Roles": [{"Ref": "Role"}],
                },
            },
        }
    }


def rule(name: str, target: str, bus: str = "default") -> dict[str, Any]:
    """Return a rule of a template."""
    role = {"Fn::GetAtt": ["Role", "Arn"]}
    return {
        "Type": "AWS::Events::Rule",
        "Properties": {
            "Name": name,
            "Description": "Tests",
            "EventBusName": bus,
            "EventPattern": {"source": ["pare.test"], "account": [HUB]},
            "State": "ENABLED",
            "Targets": [{"Arn": target, "Id": "Target0", "RoleArn": role}],
        },
    }


def deploy(region: str, name: str, made: dict[str, Any]) -> dict[str, Any]:
    """Make the rules of a template, and return what CloudFormation then says, by operation."""
    events = boto3.client("events", region_name=region)
    resources = []
    for logical_id, resource in made["Resources"].items():
        properties = resource["Properties"]
        physical_id = "forward"
        if resource["Type"] == "AWS::Events::Rule":
            bus, physical_id = properties["EventBusName"], properties["Name"]
            where = {"Name": physical_id, "EventBusName": bus}
            events.put_rule(**where, EventPattern=json.dumps(properties["EventPattern"]))
            targets: Any = [{**each, "RoleArn": ROLE} for each in properties["Targets"]]
            events.put_targets(Rule=physical_id, EventBusName=bus, Targets=targets)
            physical_id = physical_id if bus == "default" else f"{bus}|{physical_id}"
        resources.append({
            "LogicalResourceId": logical_id, "PhysicalResourceId": physical_id,
            "ResourceType": resource["Type"], "ResourceStatus": "CREATE_COMPLETE",
            "LastUpdatedTimestamp": datetime(2026, 11, 1, tzinfo=UTC),
        })  # fmt: skip
    stack = {"StackName": name, "StackId": f"{name}/1", "StackStatus": "CREATE_COMPLETE",
             "CreationTime": datetime(2026, 11, 1, tzinfo=UTC)}  # fmt: skip
    return {
        "DescribeStacks": {"Stacks": [stack]},
        "GetTemplate": {"TemplateBody": json.dumps(made)},
        "ListStackResources": {"StackResourceSummaries": resources},
    }


def refusal(code: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "AWS's own words"}, "_status": 400}


class Box:
    """The deployed hub, and what the doctor says of its findings."""

    def __init__(self, aws: FakeAws) -> None:
        self.aws = aws
        self.arriving = {HOME, OTHER}
        self.said: list[str] = []
        self.slept = 0.0
        self.changes: dict[str, Any] = {}
        self.outputs = {
            "RunsTableName": TABLE,
            "FindingWorkflowArn": MACHINE,
            "FindingDeadLettersUrl": boto3.client("sqs").create_queue(QueueName="Home")["QueueUrl"],
        }
        self.dynamodb = boto3.client("dynamodb")
        create_table(self.dynamodb, TABLE, "workflow", "run_id")
        sqs = boto3.client("sqs", region_name=OTHER)
        self.queue_url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        made = template(rule(RULE, HUB_BUS), action="events:PutEvents", resource=HUB_BUS)
        self.stacks = {f"PareRegion-{OTHER}": deploy(OTHER, f"PareRegion-{OTHER}", made)}
        boto3.client("events").create_event_bus(Name="pare")
        made = template(
            rule("hub-rule", MACHINE, "pare"),
            rule("default-rule", MACHINE),
            action="states:StartExecution",
            resource=MACHINE,
        )
        self.stacks["ParePipeline"] = deploy(HOME, "ParePipeline", made)
        for operation in ("DescribeStacks", "GetTemplate", "ListStackResources"):
            aws.answer(f"cloudformation:{operation}", self._of_stack(operation))
        self.sent: dict[str, str] = {}
        aws.answer(LIST, {"analyzers": [self.listed("org")]})
        aws.answer(PUT, self.take)

    def _of_stack(self, operation: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def answer(parameters: dict[str, Any]) -> dict[str, Any]:
            stack = self.stacks.get(parameters["StackName"])
            found: dict[str, Any] = stack[operation] if stack else refusal("ValidationError")
            return found

        return answer

    def listed(self, name: str, **more: Any) -> dict[str, Any]:
        """Return an analyzer as the API lists it."""
        found = analyzer(name)
        return {
            "arn": found["arn"], "name": name, "type": "ORGANIZATION", "status": "ACTIVE",
            "createdAt": datetime(2026, 11, 1, tzinfo=UTC), **more,
        }  # fmt: skip

    def take(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Note the test event as the finding workflow does, where one of its Region arrives."""
        (entry,) = parameters["Entries"]
        assert (entry["Source"], entry["DetailType"]) == ("pare.test", "Pare Doctor Check")
        assert entry.get("EventBusName", "default") == "default"
        detail = json.loads(entry["Detail"])
        self.sent[detail["region"]] = detail["check_id"]
        if detail["region"] in self.arriving:
            item = {"workflow": "doctor", "run_id": detail["check_id"], "expires_at": 1}
            self.dynamodb.put_item(TableName=TABLE, Item=to_item(item))
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    def examine(self) -> list[Result]:
        examination = Examination(
            session=boto3.Session(region_name=HOME),
            setup=setup(**self.changes),
            outputs=self.outputs,
            now=datetime.now(UTC),
            say=self.said.append,
        )
        return list(findings.examine(examination))

    def statuses(self) -> dict[tuple[str, str], str]:
        return {(each.check.partition(".")[2], each.subject): each.status
                for each in self.examine()}  # fmt: skip

    def result(self, check: str, subject: str) -> Result:
        (found,) = (
            each for each in self.examine()
            if each.check == f"findings.{check}" and each.subject == subject
        )  # fmt: skip
        return found


@pytest.fixture
def box(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Box:
    made = Box(aws)
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        made.slept += seconds

    monkeypatch.setattr("pare.aws.doctor.findings.time.sleep", sleep)
    monkeypatch.setattr("pare.aws.doctor.findings.time.monotonic", lambda: clock[0])
    return made


ALL = [("analyzer", HOME), ("analyzer", OTHER), ("unused-analyzer", ""), ("rules", HOME),
       ("rules", OTHER), ("forwarding", HOME), ("forwarding", OTHER)]  # fmt: skip


def test_where_all_is_well_it_says_so_and_does_not_wait(box: Box) -> None:
    assert box.statuses() == dict.fromkeys(ALL, "ok")
    assert box.slept == 0
    assert box.sent.keys() == {HOME, OTHER}
    assert len(set(box.sent.values())) == 2
    assert "analyzers and rules of Regions: 2 of 2" in box.said


def test_a_template_that_was_sent_without_a_bucket_is_yaml(box: Box) -> None:
    stack = box.stacks[f"PareRegion-{OTHER}"]
    made = json.loads(stack["GetTemplate"]["TemplateBody"])
    properties = made["Resources"]["Policy"]["Properties"]
    properties["PolicyDocument"]["Version"] = "2012-10-17"
    text = yaml.safe_dump(made).replace("'2012-10-17'", "2012-10-17")
    stack["GetTemplate"] = {"TemplateBody": text}
    assert box.statuses() == dict.fromkeys(ALL, "ok")

    for nonsense in ("", "a: [", "- 1"):
        stack["GetTemplate"] = {"TemplateBody": nonsense}
        found = box.result("rules", OTHER)
        assert (found.status, "cloudformation:GetTemplate" in found.says) == ("cannot tell", True)


def test_a_rule_that_is_off_is_found_at_the_rule_and_by_the_test_event(box: Box) -> None:
    boto3.client("events", region_name=OTHER).disable_rule(Name=RULE)
    box.arriving = {HOME}
    found = {(each.check, each.subject): each for each in box.examine() if each.status != "ok"}
    assert found.keys() == {("findings.rules", OTHER), ("findings.forwarding", OTHER)}
    for each in found.values():
        assert each.mend is not None
        assert each.mend.commands == (f"aws events enable-rule --name {RULE} --region {OTHER}",)
    # What will not arrive is not waited for as long.
    assert box.slept == pytest.approx(16, abs=2)


def test_a_rule_without_its_target_and_one_that_is_gone(box: Box) -> None:
    events = boto3.client("events", region_name=HOME)
    events.remove_targets(Rule="hub-rule", EventBusName="pare", Ids=["Target0"])
    events.remove_targets(Rule="default-rule", Ids=["Target0"])
    events.delete_rule(Name="default-rule")
    found = box.result("rules", HOME)
    assert found.says == "Rule default-rule is not there, rule hub-rule on bus pare has no target."
    assert found.mend is not None
    for command in ("put-rule --name default-rule ", "put-targets --rule default-rule ",
                    "put-targets --rule hub-rule --event-bus-name pare "):  # fmt: skip
        assert sum(command in each for each in found.mend.commands) == 1, command


def test_a_bus_that_is_gone_is_named_once(box: Box) -> None:
    events = boto3.client("events", region_name=HOME)
    events.remove_targets(Rule="hub-rule", EventBusName="pare", Ids=["Target0"])
    events.delete_rule(Name="hub-rule", EventBusName="pare")
    events.delete_event_bus(Name="pare")
    found = box.result("rules", HOME)
    assert found.says == "The event bus pare is not there, and with it 1 rule."
    assert found.mend is not None
    assert found.mend.commands == ("npx cdk deploy ParePipeline --revert-drift",)


def test_a_table_that_is_gone_is_missing(box: Box, aws: FakeAws) -> None:
    aws.fail(READ, "ResourceNotFoundException")
    found = box.result("forwarding", OTHER)
    assert (found.status, "ResourceNotFoundException" in found.says) == ("missing", True)


def test_a_stack_that_is_not_deployed_is_named(box: Box) -> None:
    del box.stacks[f"PareRegion-{OTHER}"]
    box.arriving = {HOME}
    for check in ("rules", "forwarding"):
        found = box.result(check, OTHER)
        assert found.mend is not None
        assert found.mend.commands == (f"npx cdk deploy PareRegion-{OTHER}",)


def test_before_anything_is_deployed_no_event_is_sent(box: Box) -> None:
    box.outputs = {}
    found = box.result("forwarding", "")
    assert found.status == "cannot tell"
    assert box.sent == {}


def test_a_region_that_is_not_enabled_hides_no_other(box: Box, aws: FakeAws) -> None:
    third = "af-south-1"
    box.changes = {"governed_regions": (HOME, OTHER, third)}
    unknown = refusal("UnrecognizedClientException")
    box.stacks[f"PareRegion-{third}"] = {"DescribeStacks": unknown}
    aws.mend(PUT)
    aws.answer(PUT, lambda each: unknown if third in str(each) else box.take(each))
    found = {(each.check, each.subject): each for each in box.examine() if each.status != "ok"}
    assert found.keys() == {("findings.rules", third), ("findings.forwarding", third)}
    for each in found.values():
        assert each.status == "cannot tell"
        assert each.mend is not None
        assert each.mend.commands == (
            f"aws account enable-region --region-name {third} --region {HOME}",
        )
    assert box.slept == 0


def test_analyzers_that_cannot_be_listed_cannot_be_told(box: Box, aws: FakeAws) -> None:
    aws.mend(LIST)
    aws.fail(LIST, "AccessDeniedException", 403)
    statuses = box.statuses()
    assert statuses["analyzer", HOME] == statuses["analyzer", OTHER] == "cannot tell"
    assert statuses["unused-analyzer", ""] == "cannot tell"
    assert statuses["rules", OTHER] == statuses["forwarding", OTHER] == "ok"
    found = box.result("analyzer", OTHER)
    assert found.mend is not None
    assert "may call access-analyzer:ListAnalyzers" in found.mend.text


def test_the_region_of_an_unused_access_analyzer_need_not_be_governed(
    box: Box, aws: FakeAws
) -> None:
    arn = f"arn:aws:access-analyzer:ap-south-1:{HUB}:analyzer/unused"
    box.changes = {"unused_access_arn": arn}
    aws.mend(LIST)
    both = [box.listed("org"), box.listed("unused", arn=arn, type="ORGANIZATION_UNUSED_ACCESS")]
    aws.answer(LIST, {"analyzers": both})
    box.examine()
    assert {call.region for call in aws.calls if call.operation == LIST} == {
        HOME, OTHER, "ap-south-1",
    }  # fmt: skip


def test_an_event_that_is_refused_cannot_be_told_and_is_not_waited_for(
    box: Box, aws: FakeAws
) -> None:
    aws.mend(PUT)
    aws.answer(PUT, {"FailedEntryCount": 1, "Entries": [
        {"ErrorCode": "InternalFailure", "ErrorMessage": "AWS's own words"}]})  # fmt: skip
    found = box.result("forwarding", OTHER)
    assert found.status == "cannot tell"
    assert "InternalFailure: AWS's own words" in found.says
    assert box.slept == 0


def test_a_table_that_cannot_be_read_cannot_be_told(box: Box, aws: FakeAws) -> None:
    aws.fail(READ, "AccessDeniedException")
    found = box.result("forwarding", OTHER)
    assert (found.status, "dynamodb:BatchGetItem" in found.says) == ("cannot tell", True)
    assert box.slept == 0


def test_a_read_that_fails_by_itself_is_tried_again(box: Box, aws: FakeAws) -> None:
    aws.fail(READ, "ProvisionedThroughputExceededException", times=5)
    assert box.result("forwarding", OTHER).status == "ok"
    assert box.slept > 0


# --- Where an event stayed ------------------------------------------------------------------------


def no_executions(aws: FakeAws) -> None:
    aws.answer("sfn:ListExecutions", {"executions": []})


def letter(box: Box, body: str, **attributes: str) -> None:
    boto3.client("sqs", region_name=OTHER).send_message(
        QueueUrl=box.queue_url,
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )


def test_an_event_that_left_no_trace_is_waited_for(box: Box, aws: FakeAws) -> None:
    no_executions(aws)
    box.arriving = {HOME}
    letter(box, "another", ERROR_CODE="NO_RESOURCE", ERROR_MESSAGE="no bus")
    statuses = {each.subject: each for each in box.examine() if each.check.endswith("forwarding")}
    assert statuses[HOME].status == "ok"
    assert "and nothing says where it is; 1 other event" in statuses[OTHER].says
    assert "NO_RESOURCE: no bus" in statuses[OTHER].says
    assert box.slept == pytest.approx(90, abs=2)
    assert "test events: 1 of 2 Regions arrived, 10 of 90 s" in box.said
    # It is still there, for whoever else looks.
    sqs = boto3.client("sqs", region_name=OTHER)
    assert sqs.receive_message(QueueUrl=box.queue_url)["Messages"]


def test_an_event_among_the_dead_letters_says_why(box: Box, aws: FakeAws) -> None:
    no_executions(aws)
    letter(box, "another", ERROR_CODE="NO_RESOURCE", ERROR_MESSAGE="no bus")
    box.arriving = {HOME}

    def refuse(parameters: dict[str, Any]) -> dict[str, Any]:
        answer = box.take(parameters)
        detail = parameters["Entries"][0]["Detail"]
        if OTHER in detail:
            arn = f"arn:aws:events:{OTHER}:{HUB}:rule/{RULE}"
            letter(box, json.dumps({"detail": json.loads(detail)}), RULE_ARN=arn,
                   ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="not authorized")  # fmt: skip
        return answer

    aws.mend(PUT)
    aws.answer(PUT, refuse)
    found = box.result("forwarding", OTHER)
    assert "could not deliver it (NO_PERMISSIONS: not authorized)" in found.says
    assert found.mend is not None
    trust, policy = found.mend.commands
    assert trust.startswith("aws iam update-assume-role-policy --role-name ")
    assert HUB_BUS in policy
    # It is the doctor's own, and taken back; what others left there stays.
    sqs = boto3.client("sqs", region_name=OTHER)
    (left,) = sqs.receive_message(QueueUrl=box.queue_url, MaxNumberOfMessages=10)["Messages"]
    assert left["Body"] == "another"


def stuck(box: Box, aws: FakeAws, status: str, **more: str) -> datetime:
    """Let the test event of the other Region stand in an execution; return when that began."""
    box.arriving = set()
    began = datetime.now(UTC)
    execution = {"executionArn": f"arn:aws:states:{HOME}:{HUB}:execution:Finding:1",
                 "stateMachineArn": MACHINE, "status": status, "startDate": began}  # fmt: skip
    aws.answer("sfn:ListExecutions", {"executions": [{**execution, "name": "1"}]})
    aws.answer(
        "sfn:DescribeExecution",
        lambda _: {
            **execution, **more, "input": json.dumps({"detail": {"check_id": box.sent[OTHER]}}),
        },
    )  # fmt: skip
    return began


def test_an_event_whose_execution_failed_shows_it(box: Box, aws: FakeAws) -> None:
    stuck(box, aws, "FAILED", error="DynamoDB.AmazonDynamoDBException", cause="not authorized")
    found = {each.subject: each for each in box.examine() if each.check.endswith("forwarding")}
    assert "ended as FAILED: DynamoDB.AmazonDynamoDBException: not authorized" in found[OTHER].says
    assert "nothing says where it is" in found[HOME].says


def test_an_event_whose_step_is_throttled_names_the_function(box: Box, aws: FakeAws) -> None:
    began = stuck(box, aws, "RUNNING")
    failed = {"resourceType": "lambda", "resource": "invoke",
              "error": "Lambda.TooManyRequestsException", "cause": "Rate Exceeded."}  # fmt: skip
    scheduled = {"resourceType": "lambda", "resource": "invoke", "region": HOME,
                 "parameters": json.dumps({"FunctionName": "NormalizeFinding-1"})}  # fmt: skip
    events = [
        {"timestamp": began, "type": "TaskFailed", "id": 4, "taskFailedEventDetails": failed},
        {"timestamp": began, "type": "TaskScheduled", "id": 2,
         "taskScheduledEventDetails": scheduled},
    ]  # fmt: skip
    aws.answer("sfn:GetExecutionHistory", {"events": events})

    found = {each.subject: each for each in box.examine() if each.check.endswith("forwarding")}

    assert "tries again and again: Lambda.TooManyRequestsException" in found[OTHER].says
    assert "did not arrive" not in found[OTHER].says
    mend = found[OTHER].mend
    assert mend is not None
    assert "--function-name NormalizeFinding-1" in mend.commands[0]


def test_what_may_not_be_looked_at_is_said(box: Box, aws: FakeAws) -> None:
    box.arriving = {HOME}
    aws.fail("sfn:ListExecutions", "AccessDeniedException")
    aws.fail("sqs:GetQueueUrl", "AWS.SimpleQueueService.NonExistentQueue")
    found = box.result("forwarding", OTHER)
    assert "not looked at: sqs:GetQueueUrl" in found.says
