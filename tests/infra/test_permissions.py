"""Who may do what: exactly what it needs, and every wildcard with its reason."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cfnlint
import pytest

from infra.member_access import MEMBER_CALLERS, TRAIL_READERS
from infra.region_stack import ANALYZER_CALL, ANALYZER_EVENT, TEST_EVENT, rule_name
from pare.policy.catalogue import load_catalogue
from pare.policy.document import parse
from pare.policy.grants import granted_actions
from tests.infra.synthesis import HASH, as_list, states, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.infra.synthesis import Json, Synthesis, Template

# Where a policy stands in a resource's properties, and whether it belongs to an identity.
POLICIES = {
    "AWS::IAM::Policy": ("PolicyDocument", True),
    "AWS::KMS::Key": ("KeyPolicy", False),
    "AWS::S3::BucketPolicy": ("PolicyDocument", False),
    "AWS::SNS::TopicPolicy": ("PolicyDocument", False),
    "AWS::SQS::QueuePolicy": ("PolicyDocument", False),
}
LOG_DELIVERY = {
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies", "logs:GetLogDelivery", "logs:ListLogDeliveries",
    "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
}  # fmt: skip
TRACING = {
    "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}  # fmt: skip
# What AWS asks of whoever uses a table with a customer managed key.
KEY_OF_TABLES = (
    "Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo",
)  # fmt: skip
EVIDENCE = "<PareStorage.EvidenceBucket.Arn>"
IAM = "arn:<AWS::Partition>:iam::<AWS::AccountId>"
EXECUTIONS = "arn:aws:states:us-east-1:222222222222:execution:"
WORKFLOWS = (
    "Finding", "Notification", "Reconcile", "Policy", "Account", "Inventory", "Activity",
)  # fmt: skip
# workflow -> the label of its map
MAPS = {"Inventory": "Accounts", "Activity": "Logs"}


def map_of(workflow: str) -> str:
    """Return the start of the ARNs of a map's children."""
    return f"{EXECUTIONS}<part 6 of {workflow}Workflow{workflow}StateMachine at :>"


TRAIL = "arn:<AWS::Partition>:s3:::example-organization-trail"

ANALYZERS = "arn:<AWS::Partition>:access-analyzer:*:222222222222:analyzer/*"

# Every resource with a wildcard that an identity may act on: (resource, actions, reason).
WILDCARDS: tuple[tuple[str, set[str], str], ...] = (
    ("*", TRACING, "X-Ray takes no resource."),
    ("*", LOG_DELIVERY, "Log delivery takes no resource."),
    ("*", {"organizations:ListAccounts"}, "It takes no resource."),
    ("*", {"organizations:DescribeAccount"}, "Whoever a finding names, strangers too."),
    ("*", {"access-analyzer:CheckNoNewAccess", "access-analyzer:ValidatePolicy"},
     "Policy checks take no resource."),
    ("*", {"access-analyzer:CancelPolicyGeneration", "access-analyzer:GetGeneratedPolicy",
           "access-analyzer:ListPolicyGenerations", "access-analyzer:StartPolicyGeneration"},
     "Policy generation takes no resource."),
    ("*", {"iam:GenerateCredentialReport", "iam:GetAccountAuthorizationDetails",
           "iam:GetCredentialReport", "iam:GetServiceLastAccessedDetails",
           "iam:ListAccountAliases", "tag:GetResources"}, "They take no resource."),
    ("*", {"cloudtrail:GetTrail", "iam:GenerateServiceLastAccessedDetails"},
     "AWS documents the access role so."),
    ("arn:<AWS::Partition>:iam::*:role/PareMember", {"sts:AssumeRole"},
     "Accounts come and go; the role and the organization are fixed."),
    (ANALYZERS,
     {"access-analyzer:GetAnalyzer", "access-analyzer:GetFinding",
      "access-analyzer:ListFindings", "access-analyzer:UpdateFindings",
      "access-analyzer:ListAccessPreviewFindings", "access-analyzer:ListArchiveRules",
      "access-analyzer:ApplyArchiveRule"},
     "Analyzers of every governed Region, old and new."),
    (f"{ANALYZERS}/archive-rule/pare-*",
     {"access-analyzer:CreateArchiveRule", "access-analyzer:DeleteArchiveRule",
      "access-analyzer:UpdateArchiveRule"},
     "Pare's own rules at every analyzer."),
    ("*", {"access-analyzer:ListAnalyzers"}, "It takes no resource."),
    (f"{EVIDENCE}/proposals/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    (f"{EVIDENCE}/inventory/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    (f"{EVIDENCE}/activity/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    (f"{TRAIL}/AWSLogs/*/CloudTrail/*", {"s3:GetObject"}, "Log files have made-up names."),
    ("arn:aws:s3:::example-organization-trail/AWSLogs/*", {"s3:GetObject"},
     "PareLogArchive looks at log files for the key of each; their names are made up."),
    (f"{EVIDENCE}/runs/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    (f"{EVIDENCE}/findings/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    (f"{EVIDENCE}/notifications/*", {"s3:GetObject", "s3:PutObject"}, "Named at run time."),
    *((f"{EXECUTIONS}<{each}Workflow{each}StateMachine.Name>:*", {"states:GetExecutionHistory"},
       "Executions of our own state machines; named at run time.")
      for each in WORKFLOWS),
    (f"{EXECUTIONS}<InventoryWorkflowInventoryStateMachine.Name>:*", {"states:DescribeExecution"},
     "Whoever began the period's inventory."),
    (f"{EXECUTIONS}<NotificationWorkflowNotificationStateMachine.Name>:*",
     {"states:DescribeExecution"}, "Whichever round claimed a card."),
    *((f"{map_of(each)}:*", {"states:DescribeExecution", "states:StopExecution"},
       "The map's own runs.") for each in MAPS),
    *((f"{map_of(each)}/{label}:*", {"states:RedriveExecution"}, "The map's own children.")
      for each, label in MAPS.items()),
    (f"{IAM}:role/*", {"iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies",
                       "iam:ListRolePolicies", "iam:GenerateServiceLastAccessedDetails"},
     "Pare reads every role of the account."),
    (f"{IAM}:user/*", {"iam:GetUser", "iam:GetUserPolicy", "iam:ListAccessKeys",
                       "iam:ListAttachedUserPolicies", "iam:ListGroupsForUser",
                       "iam:ListUserPolicies",
                       "iam:GenerateServiceLastAccessedDetails"},
     "Pare reads every user of the account."),
    (f"{IAM}:group/*", {"iam:GetGroupPolicy", "iam:ListAttachedGroupPolicies",
                        "iam:ListGroupPolicies"}, "Pare reads the groups of every user."),
    (f"{IAM}:policy/*", {"iam:GetPolicy", "iam:GetPolicyVersion"},
     "Pare reads every policy that is attached."),
    ("arn:<AWS::Partition>:iam::aws:policy/*", {"iam:GetPolicy", "iam:GetPolicyVersion"},
     "AWS's own managed policies."),
    ("arn:<AWS::Partition>:s3:::example-organization-trail/AWSLogs/o-example0000/"
     "<AWS::AccountId>/*", {"s3:GetObject"}, "Log files have made-up names."),
)  # fmt: skip
# Actions that AWS would take a resource for, and that are allowed on "*" all the same.
TAKING_A_RESOURCE = {
    "cloudtrail:GetTrail": "AWS documents the access role so; Access Analyzer is who uses it.",
    "iam:GenerateServiceLastAccessedDetails": "The same.",
    "organizations:DescribeAccount": "Of strangers too; AWS does not say what resource they are.",
}
# The only actions of PareMember that are more than reading.
WRITES_IN_MEMBER_ACCOUNTS = {
    "access-analyzer:CancelPolicyGeneration",
    "access-analyzer:StartPolicyGeneration",
    "iam:PassRole",  # of the access role, to Access Analyzer
}
READING = {"List", "Read"}


def statements(synthesis: Synthesis, *, of_identities: bool) -> Iterator[tuple[Template, Json]]:
    """Yield every statement of every policy of a kind in any template."""
    for template in synthesis.templates.values():
        for resource in template.resources().values():
            element, is_of_identity = POLICIES.get(resource["Type"], ("", not of_identities))
            if is_of_identity is of_identities:
                for statement in resource["Properties"][element]["Statement"]:
                    yield template, statement


def allowed(template: Template, statement: Json) -> set[tuple[str, str]]:
    """Return every (action, resource) of a statement, readable."""
    assert statement["Effect"] == "Allow"
    return {
        (action, template.readable(resource))
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def allowed_to(template: Template, role: str) -> set[tuple[str, str]]:
    return {
        each for statement in template.statements_of(role) for each in allowed(template, statement)
    }


def permissions(template: Template) -> Json:
    """Return every role's statements by Sid, as a person reads them."""
    roles: Json = {}
    for role in template.resources("AWS::IAM::Role"):
        of_role = roles[HASH.sub("", role)] = {}
        for statement in template.statements_of(role):
            actions = as_list(statement["Action"])
            sid = statement.get("Sid") or f"(CDK: {', '.join(actions)})"
            assert sid not in of_role, (role, sid)
            of_role[sid] = {
                "actions": actions,
                "resources": [template.readable(each) for each in as_list(statement["Resource"])],
            }
            if "Condition" in statement:
                of_role[sid]["conditions"] = _readable_leaves(template, statement["Condition"])
    return roles


def _readable_leaves(template: Template, condition: Json) -> Json:
    return {
        operator: {key: [template.readable(each) for each in as_list(value)]
                   for key, value in keys.items()}
        for operator, keys in condition.items()
    }  # fmt: skip


# --- Functions ------------------------------------------------------------------------------------


def test_every_role_has_the_permissions_that_were_reviewed(
    synthesis: Synthesis, golden: Callable[[str, Any], None]
) -> None:
    golden(
        "infra/permissions.json",
        {
            stack: permissions(template)
            for stack, template in synthesis.templates.items()
            if template.resources("AWS::IAM::Role")
        },
    )


def test_who_reads_objects_that_may_be_missing_may_know_it(pipeline: Template) -> None:
    # S3 says 404 only to who may list the bucket, else 403: that would fail the whole snapshot.
    # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    may_list = {
        HASH.sub("", role)
        for role in pipeline.resources("AWS::IAM::Role")
        if ("s3:ListBucket", EVIDENCE.strip("<>")) in allowed_to(pipeline, role)
    }
    assert may_list == {
        "ListAccountsRole", "CollectPrincipalsRole", "ReadLastAccessedRole",
        "ClassifyPrincipalsRole", "BuildSnapshotRole", "ListLogsRole", "DigestLogsRole",
        "MergeActivityRole", "CountActivityRole", "ChooseRouteRole", "GetActivityRole",
        "CollectNewsRole", "ApplyArchiveRulesRole",
    }  # fmt: skip


def test_only_the_steps_for_it_list_and_read_the_trail_and_nothing_but_its_log_files(
    anywhere: Synthesis,
) -> None:
    settings, pipeline = anywhere.settings, anywhere.pipeline
    trail = f"arn:<AWS::Partition>:s3:::{settings.trail.bucket}"
    root = f"{settings.trail.prefix}/AWSLogs/" if settings.trail.prefix else "AWSLogs/"
    of_role = {
        HASH.sub("", role): [
            (as_list(statement["Action"]), resource, statement.get("Condition"))
            for statement in pipeline.statements_of(role)
            for resource in map(pipeline.readable, as_list(statement["Resource"]))
            if resource.lstrip("<").startswith(trail)
        ]
        for role in pipeline.resources("AWS::IAM::Role")
    }
    listing = [(["s3:ListBucket"], trail, {"StringLike": {"s3:prefix": [f"{root}*"]}})]
    assert {role: found for role, found in of_role.items() if found} == {
        "ListLogsRole": listing,
        "ChooseRouteRole": listing,
        "DigestLogsRole": [(["s3:GetObject"], f"{trail}/{root}*/CloudTrail/*", None)],
    }


def test_the_key_of_the_trail_is_used_by_who_reads_it_through_s3_alone(
    anywhere: Synthesis,
) -> None:
    settings, pipeline = anywhere.settings, anywhere.pipeline
    using = [
        (HASH.sub("", role), as_list(statement["Action"]), statement["Condition"])
        for role in pipeline.resources("AWS::IAM::Role")
        for statement in pipeline.statements_of(role)
        if set(settings.trail.kms_key_arns) & set(map(str, as_list(statement["Resource"])))
    ]
    through = {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com*"}}
    expected = [("DigestLogsRole", ["kms:Decrypt"], through)]
    assert using == (expected if settings.trail.kms_key_arns else [])


def test_a_function_role_trusts_lambda_alone(pipeline: Template) -> None:
    roles = pipeline.properties("AWS::IAM::Role")
    for function in pipeline.properties("AWS::Lambda::Function").values():
        assert roles[function["Role"]["Fn::GetAtt"][0]]["AssumeRolePolicyDocument"][
            "Statement"
        ] == [
            {
                "Action": "sts:AssumeRole",
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
            }
        ]


# --- State machines, rules and the schedule -------------------------------------------------------


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_workflow_may_do_exactly_what_its_states_do(pipeline: Template, workflow: str) -> None:
    definition = pipeline.state_machines()[workflow]
    needed = {(action, "*") for action in LOG_DELIVERY | TRACING}
    for task in tasks(definition).values():
        if function := re.fullmatch(r"<(\w+?)[0-9A-F]{8}\.Arn>", task["Resource"]):
            needed.add(("lambda:InvokeFunction", f"{function[1]}.Arn"))
        elif task["Resource"] == "arn:aws:states:::aws-sdk:sns:publish":
            topic = task["Parameters"]["TopicArn"].strip("<>")
            needed |= {
                ("sns:Publish", HASH.sub("", topic)),
                ("kms:Decrypt", "PareStorage.Key.Arn"),
                ("kms:GenerateDataKey", "PareStorage.Key.Arn"),
            }
        elif task["Resource"] == "arn:aws:states:::dynamodb:putItem":
            needed |= {("dynamodb:PutItem", "PareStorage.RunsTable.Arn")}
            needed |= {(f"kms:{action}", "PareStorage.Key.Arn") for action in KEY_OF_TABLES}
        else:
            assert task["Resource"] == "arn:aws:states:::states:startExecution"
            machine = task["Parameters"]["StateMachineArn"].strip("<>")
            needed.add(("states:StartExecution", HASH.sub("", machine)))
    for _, state in states(definition):
        if reader := state.get("ItemReader"):
            assert reader["Resource"] == "arn:aws:states:::s3:getObject"
            needed |= {
                ("s3:GetObject", f"{EVIDENCE}/{workflow.lower()}/*"),
                ("kms:Decrypt", "PareStorage.Key.Arn"),
            }
        if state.get("ItemProcessor", {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED":
            # https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
            needed |= {
                ("states:StartExecution", f"{workflow}Workflow{workflow}StateMachine"),
                ("states:DescribeExecution", f"{map_of(workflow)}:*"),
                ("states:StopExecution", f"{map_of(workflow)}:*"),
                ("states:RedriveExecution", f"{map_of(workflow)}/{state['Label']}:*"),
            }
    assert allowed_to(pipeline, role_of(pipeline, workflow)) == needed


def test_the_finding_workflow_writes_no_runs_but_the_doctors_test_events(
    anywhere: Synthesis,
) -> None:
    pipeline, region = anywhere.pipeline, anywhere.settings.home_region
    statements = {
        each["Sid"]: each.get("Condition")
        for each in pipeline.statements_of(role_of(pipeline, "Finding"))
    }
    assert statements["RecordChecks"] == {
        "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["doctor"]}
    }
    through = {"StringLike": {"kms:ViaService": f"dynamodb.{region}.amazonaws.com*"}}
    assert statements["UseKeyOfTables"] == through


def test_a_workflow_role_trusts_step_functions_of_this_account_alone(synthesis: Synthesis) -> None:
    for workflow in WORKFLOWS:
        role = role_of(synthesis.pipeline, workflow)
        properties = synthesis.pipeline.properties("AWS::IAM::Role")[role]
        account = {"aws:SourceAccount": synthesis.settings.hub_account_id}
        assert properties["AssumeRolePolicyDocument"]["Statement"] == [
            {
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": account},
                "Effect": "Allow",
                "Principal": {"Service": "states.amazonaws.com"},
            }
        ]


def test_a_rule_may_start_its_workflow_and_no_more(pipeline: Template) -> None:
    started = set()
    for rule in pipeline.properties("AWS::Events::Rule").values():
        for target in rule["Targets"]:
            machine = pipeline.readable(target["Arn"])
            started.add(machine)
            assert allowed_to(pipeline, target["RoleArn"]["Fn::GetAtt"][0]) == {
                ("states:StartExecution", machine)
            }
    assert started == {f"{each}Workflow{each}StateMachine" for each in ("Finding", "Reconcile")}


def test_the_rules_of_another_region_may_put_events_on_the_hub_bus_and_no_more(
    anywhere: Synthesis,
) -> None:
    settings, region = anywhere.settings, anywhere.region
    (other,) = settings.other_regions
    (role,) = region.resources("AWS::IAM::Role")
    ((action, bus),) = allowed_to(region, role)
    assert action == "events:PutEvents"
    assert bus.split(":", 2)[2] == (
        f"events:{settings.home_region}:{settings.hub_account_id}:event-bus/pare"
    )
    (statement,) = region.properties("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"][
        "Statement"
    ]
    sources = statement["Condition"].pop("ArnEquals")["aws:SourceArn"]
    # Its rules, each by the whole name.
    assert {source.split(":", 2)[2] for source in sources} == {
        f"events:{other}:{settings.hub_account_id}:rule/{rule['Name']}"
        for rule in region.properties("AWS::Events::Rule").values()
    }
    assert statement == {
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": settings.hub_account_id}},
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
    }


def test_whoever_changes_findings_or_rules_is_known_to_the_rules_on_such_calls(
    pipeline: Template,
) -> None:
    changing = {"UpdateFindings", "CreateArchiveRule", "UpdateArchiveRule", "DeleteArchiveRule",
                "ApplyArchiveRule"}  # fmt: skip
    may = {
        role
        for role in pipeline.resources("AWS::IAM::Role")
        for action, _ in allowed_to(pipeline, role)
        if action.removeprefix("access-analyzer:") in changing
    }
    for name, rule in pipeline.properties("AWS::Events::Rule").items():
        if "Call" in name:
            issuer = rule["EventPattern"]["detail"]["userIdentity"]["sessionContext"]
            (left_out,) = (each["anything-but"] for each in issuer["sessionIssuer"]["arn"]
                           if "anything-but" in each)  # fmt: skip
            assert {each["Fn::GetAtt"][0] for each in left_out} == may != set(), name


@pytest.mark.parametrize("workflow", ["Inventory", "Activity", "Notification", "Reconcile"])
def test_a_schedule_may_start_its_workflow_and_fill_the_dead_letter_queue(
    pipeline: Template, workflow: str
) -> None:
    (schedule,) = (
        schedule
        for name, schedule in pipeline.properties("AWS::Scheduler::Schedule").items()
        if f"{workflow}Schedule" in name
    )
    assert allowed_to(pipeline, schedule["Target"]["RoleArn"]["Fn::GetAtt"][0]) == {
        ("states:StartExecution", f"{workflow}Workflow{workflow}StateMachine"),
        ("sqs:SendMessage", "EventSourcesScheduleDeadLetters.Arn"),
    }


def role_of(template: Template, workflow: str) -> str:
    machines = template.properties("AWS::StepFunctions::StateMachine")
    (role,) = (
        properties["RoleArn"]["Fn::GetAtt"][0]
        for logical_id, properties in machines.items()
        if logical_id.startswith(workflow)
    )
    return str(role)


# --- Wildcards ------------------------------------------------------------------------------------


def test_every_wildcard_is_on_the_list_with_its_reason(synthesis: Synthesis) -> None:
    found = {
        (action, resource)
        for template, statement in statements(synthesis, of_identities=True)
        for action, resource in allowed(template, statement)
        if "*" in resource or "?" in resource
    }
    listed = {(action, resource) for resource, actions, _ in WILDCARDS for action in actions}
    assert found == listed
    assert all(reason.endswith(".") for _, _, reason in WILDCARDS)


def test_an_action_allowed_on_everything_takes_no_resource(synthesis: Synthesis) -> None:
    on_everything = {
        action
        for template, statement in statements(synthesis, of_identities=True)
        for action, resource in allowed(template, statement)
        if resource == "*"
    }
    assert {each for each in on_everything if takes_a_resource(each)} == set(TAKING_A_RESOURCE)


def test_no_action_has_a_wildcard_and_every_action_exists(synthesis: Synthesis) -> None:
    catalogue = load_catalogue()
    actions = {
        action
        for template, statement in statements(synthesis, of_identities=True)
        for action, _ in allowed(template, statement)
    }
    assert [action for action in sorted(actions) if not catalogue.exists(action)] == []
    assert [action for action in sorted(actions) if catalogue.canonical(action) != action] == []


def test_a_resource_policy_allows_no_wildcard_but_the_key_and_the_log_delivery(
    synthesis: Synthesis,
) -> None:
    found = {
        (action, resource)
        for template, statement in statements(synthesis, of_identities=False)
        if statement["Effect"] == "Allow"
        for action, resource in allowed(template, statement)
        if "*" in action or "*" in resource
    }
    assert found == {
        # In a key policy "*" is this key. The first lets IAM policies of the account decide.
        # https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
        ("kms:*", "*"),
        ("kms:Decrypt", "*"),
        ("kms:GenerateDataKey", "*"),
        # S3 names the objects it delivers access logs as.
        ("s3:PutObject", "<AccessLogsBucket.Arn>/evidence/*"),
    }


@cache
def _service_authorization_reference() -> Any:
    """Return AWS's service reference as cfn-lint ships it: the resource types of every action."""
    folder = Path(cfnlint.__file__).parent / "data" / "AdditionalSpecs"
    return json.loads((folder / "Policies.json").read_text(encoding="utf-8"))


def takes_a_resource(action: str) -> bool:
    service, _, name = action.partition(":")
    known = _service_authorization_reference()[service]["Actions"][name.lower()]
    return bool(known.get("Resources"))


# --- Member accounts ------------------------------------------------------------------------------


def member_documents(member: Template) -> list[Any]:
    return [
        parse(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {**statement,
                     "Resource": [member.readable(e) for e in as_list(statement["Resource"])]}
                    for statement in member.statements_of(role)
                ],
            }
        )
        for role in member.resources("AWS::IAM::Role")
    ]  # fmt: skip


def test_pare_changes_nothing_in_a_member_account(member: Template) -> None:
    catalogue = load_catalogue()
    granted = granted_actions(member_documents(member))
    assert granted.unknown_patterns == ()
    writes = {each for each in granted.actions if catalogue.access_level(each) not in READING}
    assert writes == WRITES_IN_MEMBER_ACCOUNTS


def test_pare_grants_itself_no_write_on_iam(member: Template) -> None:
    catalogue = load_catalogue()
    levels = {"Write", "Permissions management", "Tagging"}
    writes_on_iam = {
        action for action in catalogue.actions("iam") if catalogue.access_level(action) in levels
    }
    assert len(writes_on_iam) > 90  # the catalogue is there
    granted = granted_actions(member_documents(member)).actions
    # GenerateServiceLastAccessedDetails starts a report; AWS classifies it as Read.
    assert granted & writes_on_iam == {"iam:PassRole"}
    assert catalogue.access_level("iam:GenerateServiceLastAccessedDetails") == "Read"


def test_only_the_access_role_can_be_passed_and_only_to_access_analyzer(member: Template) -> None:
    passing = [
        statement
        for role in member.resources("AWS::IAM::Role")
        for statement in member.statements_of(role)
        if "iam:PassRole" in as_list(statement["Action"])
    ]
    assert [
        (member.readable(each["Resource"]), each["Action"], each["Condition"]) for each in passing
    ] == [
        (
            "AccessRole.Arn",
            "iam:PassRole",
            {"StringEquals": {"iam:PassedToService": "access-analyzer.amazonaws.com"}},
        )
    ]


def test_the_hub_has_no_right_on_iam_at_all(pipeline: Template) -> None:
    actions = {
        action
        for role in pipeline.resources("AWS::IAM::Role")
        for action, _ in allowed_to(pipeline, role)
    }
    assert [action for action in actions if action.startswith("iam:")] == []


def test_the_member_role_trusts_exactly_the_named_roles_of_the_hub(anywhere: Synthesis) -> None:
    settings, member = anywhere.settings, anywhere.member
    names = {
        role["RoleName"]
        for role in anywhere.pipeline.properties("AWS::IAM::Role").values()
        if "RoleName" in role
    }
    assert names == {f"Pare{caller}" for caller in MEMBER_CALLERS + TRAIL_READERS}
    names = {f"Pare{caller}" for caller in MEMBER_CALLERS}
    (role,) = (
        properties
        for properties in member.properties("AWS::IAM::Role").values()
        if properties["RoleName"] == settings.names.member_role_name
    )
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    hub = f"arn:<AWS::Partition>:iam::{settings.hub_account_id}"
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    assert {kind: member.readable(each) for kind, each in statement["Principal"].items()} == {
        "AWS": f"{hub}:root"
    }
    conditions = _readable_leaves(member, statement["Condition"])
    trusted = conditions["ArnEquals"].pop("aws:PrincipalArn")
    assert set(trusted) == {f"{hub}:role/{name}" for name in names}
    assert conditions == {
        "ArnEquals": {},
        "StringEquals": {
            "aws:PrincipalOrgID": [settings.organization_id],
            "sts:ExternalId": [settings.member_external_id],
        },
    }
    assert role["MaxSessionDuration"] == 3600


def test_the_access_role_is_access_analyzers_under_the_name_that_bucket_policies_match(
    member: Template,
) -> None:
    # facts §2: the documented bucket and key policies match on path and start of the name.
    (role,) = (
        properties
        for properties in member.properties("AWS::IAM::Role").values()
        if properties["RoleName"].startswith("AccessAnalyzerMonitorServiceRole")
    )
    assert role["Path"] == "/service-role/"
    assert role["AssumeRolePolicyDocument"]["Statement"] == [
        {
            "Action": "sts:AssumeRole",
            "Effect": "Allow",
            "Principal": {"Service": "access-analyzer.amazonaws.com"},
        }
    ]


def test_every_function_that_enters_an_account_names_the_organization(synthesis: Synthesis) -> None:
    entering = [
        statement
        for _, statement in statements(synthesis, of_identities=True)
        if "sts:AssumeRole" in as_list(statement["Action"])
    ]
    assert len(entering) == len(MEMBER_CALLERS)
    for statement in entering:
        assert statement["Condition"] == {
            "StringEquals": {"aws:ResourceOrgID": synthesis.settings.organization_id}
        }


# --- Names ----------------------------------------------------------------------------------------


def test_nothing_has_a_physical_name_but_what_another_account_or_region_must_spell(
    synthesis: Synthesis,
) -> None:
    # PolicyName names an inline policy within its role; the others are no names of the resource.
    not_the_name = {"PolicyName", "DisplayName", "EventBusName", "MetricName"}
    named = {
        (stack, resource["Properties"][name])
        for stack, template in synthesis.templates.items()
        for resource in template.resources().values()
        # A custom resource names what is there already.
        if not resource["Type"].startswith("Custom::")
        for name in resource.get("Properties", {})
        if name.endswith("Name") and name not in not_the_name
    }
    names = synthesis.settings.names
    assert named == {
        ("ParePipeline", names.bus_name),
        *(("ParePipeline", f"Pare{caller}") for caller in MEMBER_CALLERS + TRAIL_READERS),
        ("PareMembers", names.stack_set_name),
        ("PareMember", names.member_role_name),
        ("PareMember", names.access_role_name),
        ("PareRegion", names.region_dead_letters_name),
        # The role of the stack trusts them by name (infra/region_stack.py).
        *(("PareRegion", rule_name(each)) for each in (ANALYZER_CALL, ANALYZER_EVENT, TEST_EVENT)),
    }
