"""What the doctor says of analyzers, rules and test events, and how to mend it."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pare.doctor.checks import why
from pare.doctor.deployed_rules import DEFAULT_BUS, FoundRule, expected_rules, faults_of
from pare.doctor.findings import (
    Arrival,
    RegionRules,
    Trace,
    judge_analyzer,
    judge_forwarding,
    judge_rules,
    judge_unused,
    not_told,
)
from tests.unit.doctor.findings_builders import (
    HOME,
    HUB,
    HUB_BUS,
    MACHINE,
    OTHER,
    PATTERN,
    QUEUE,
    ROLE,
    SETUP,
    analyzer,
    as_it_should,
    home_stack,
    region_stack,
    rules_of,
    setup,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pare.doctor.deployed_rules import ExpectedRule, Fault, Stack
    from pare.doctor.model import Result

CREATE = "aws accessanalyzer create-analyzer --analyzer-name"
DELETE = "aws accessanalyzer delete-analyzer --analyzer-name"
UNUSED_ARN = f"arn:aws:access-analyzer:{OTHER}:{HUB}:analyzer/unused"
PAID = {
    "Type": "AWS::AccessAnalyzer::Analyzer",
    "Properties": {
        "Type": "ORGANIZATION_UNUSED_ACCESS",
        "AnalyzerConfiguration": {
            "UnusedAccessConfiguration": {
                "UnusedAccessAge": 90,
                "AnalysisRule": {"Exclusions": [{"AccountIds": ["555555555555"]}]},
            }
        },
    },
}
EXTERNAL = {"Type": "AWS::AccessAnalyzer::Analyzer", "Properties": {"Type": "ORGANIZATION"}}


def mended(result: Result) -> tuple[str, tuple[str, ...]]:
    """Return where a result's mend is done, and its commands, which a shell can read."""
    assert result.status != "ok"
    assert result.mend is not None, result
    assert result.mend.commands, result
    assert result.says.endswith("."), result.says
    assert why(result.check)
    for command in result.mend.commands:
        assert shlex.split(command)[0] in {"aws", "npx", "pare"}
        assert "<" not in command
    return result.mend.where, result.mend.commands


# --- Analyzers ------------------------------------------------------------------------------------


def test_an_active_analyzer_of_the_organization_is_enough() -> None:
    found = judge_analyzer(SETUP, OTHER, [analyzer("a", "ACCOUNT"), analyzer("org")], None)
    assert (found.status, found.subject, found.says) == ("ok", OTHER, "active: org")


def test_a_region_without_an_analyzer_gets_the_command_or_the_setting() -> None:
    found = judge_analyzer(SETUP, OTHER, [], region_stack())
    where, commands = mended(found)
    assert where == "hub"
    assert commands == (
        f"{CREATE} organization-external-access --type ORGANIZATION --region {OTHER}",
    )
    assert found.mend is not None
    assert "analyzers.create_external_access: true" in found.mend.after


def test_an_analyzer_of_the_account_alone_is_not_enough_and_its_name_is_taken() -> None:
    own = analyzer("organization-external-access", "ACCOUNT")
    found = judge_analyzer(SETUP, OTHER, [own], None)
    assert "sees the hub account alone" in found.says
    assert mended(found)[1] == (
        f"{CREATE} organization-external-access-2 --type ORGANIZATION --region {OTHER}",
    )


def test_an_analyzer_that_the_stack_should_make_comes_by_deploying_it() -> None:
    wanting = setup(create_external_access=True)
    for stack in (None, region_stack()):
        assert mended(judge_analyzer(wanting, OTHER, [], stack)) == (
            "hub", (f"npx cdk deploy PareRegion-{OTHER}",),
        )  # fmt: skip
    assert mended(judge_analyzer(wanting, HOME, [], None))[1] == ("npx cdk deploy ParePipeline",)


def test_an_analyzer_that_the_stack_made_and_somebody_deleted_comes_back_under_its_name() -> None:
    stack = home_stack(ExternalAccess=EXTERNAL)
    found = judge_analyzer(setup(create_external_access=True), HOME, [], stack)
    assert mended(found)[1] == (f"{CREATE} ExternalAccess-1 --type ORGANIZATION --region {HOME}",)


@pytest.mark.parametrize(
    ("status", "reason", "where", "command"),
    [
        ("DISABLED", "AWS_SERVICE_ACCESS_DISABLED", "management",
         "aws organizations enable-aws-service-access --service-principal "
         f"access-analyzer.amazonaws.com --region {HOME}"),
        ("DISABLED", "DELEGATED_ADMINISTRATOR_DEREGISTERED", "management",
         f"aws organizations register-delegated-administrator --account-id {HUB} "
         f"--service-principal access-analyzer.amazonaws.com --region {HOME}"),
        ("FAILED", "SERVICE_LINKED_ROLE_CREATION_FAILED", "hub",
         "aws iam create-service-linked-role --aws-service-name access-analyzer.amazonaws.com"),
        ("DISABLED", "ORGANIZATION_DELETED", "hub", f"{DELETE} org --region {OTHER}"),
        ("FAILED", None, "hub", f"{DELETE} org --region {OTHER}"),
        ("CREATING", None, "you", "pare doctor --only findings"),
    ],
)  # fmt: skip
def test_an_analyzer_that_does_not_work_gets_what_mends_its_reason(
    status: str, reason: str | None, where: str, command: str
) -> None:
    broken = analyzer(status=status, status_reason=reason)
    found = judge_analyzer(SETUP, OTHER, [broken], None)
    assert found.status == "missing"
    assert status in found.says
    assert (reason or "org") in found.says
    there, commands = mended(found)
    assert (there, commands[0]) == (where, command)


# --- Unused access --------------------------------------------------------------------------------


def unused(
    changes: dict[str, Any],
    analyzers: Sequence[Any] = (),
    stack: Stack | None = None,
    **unread: str,
) -> list[Result]:
    return list(judge_unused(setup(**changes), analyzers, unread, stack))


def test_none_wanted_and_none_there_is_as_set() -> None:
    (found,) = unused({}, [analyzer("org"), analyzer("own", "ACCOUNT")])
    assert (found.status, found.subject) == ("ok", "")


def test_one_wanted_and_there_is_as_set() -> None:
    there = analyzer("unused", "ORGANIZATION_UNUSED_ACCESS")
    (found,) = unused({"unused_access_arn": UNUSED_ARN}, [there])
    assert (found.status, found.says) == ("ok", f"unused in {OTHER}, as set")
    paid = analyzer("Paid-1", "ORGANIZATION_UNUSED_ACCESS", HOME)
    (found,) = unused({"paid_unused_access": True}, [paid], home_stack(Paid=PAID))
    assert found.status == "ok"


@pytest.mark.parametrize("kind", ["ORGANIZATION_UNUSED_ACCESS", "ACCOUNT_UNUSED_ACCESS"])
def test_one_that_nobody_wanted_is_named_with_its_price(kind: str) -> None:
    (found,) = unused({}, [analyzer("costly", kind)])
    assert found.subject == f"{OTHER} costly"
    assert "0.20 USD a month for every role and user" in found.says
    assert mended(found) == ("hub", (f"{DELETE} costly --region {OTHER}",))
    assert found.mend is not None
    assert "analyzers.unused_access_arn: arn:" in found.mend.text


def test_more_than_one_over_all_regions_is_one_too_many() -> None:
    wanted = analyzer("unused", "ORGANIZATION_UNUSED_ACCESS")
    found = unused(
        {"unused_access_arn": UNUSED_ARN},
        [wanted, analyzer("second", "ACCOUNT_UNUSED_ACCESS", HOME),
         analyzer("unused", "ORGANIZATION_UNUSED_ACCESS", HOME)],
    )  # fmt: skip
    assert [(each.subject, each.status) for each in found] == [
        (f"{HOME} second", "missing"), (f"{HOME} unused", "missing"), ("", "ok"),
    ]  # fmt: skip
    assert "of the hub account that it sees" in found[0].says
    assert "of the organization that it sees" in found[1].says


def test_an_analyzer_of_another_service_is_that_services_affair() -> None:
    theirs = analyzer("theirs", "ORGANIZATION_UNUSED_ACCESS", managed_by="x.amazonaws.com")
    (found,) = unused({}, [theirs])
    assert found.status == "ok"


def test_one_that_is_named_and_gone() -> None:
    (found,) = unused({"unused_access_arn": UNUSED_ARN})
    assert UNUSED_ARN in found.says
    assert mended(found) == ("you", ("npx cdk deploy --all",))


def test_one_that_pare_should_have_made_is_deployed_or_made_again_as_it_was() -> None:
    (found,) = unused({"paid_unused_access": True})
    assert mended(found) == ("hub", ("npx cdk deploy ParePipeline",))
    (found,) = unused({"paid_unused_access": True}, [], home_stack(Paid=PAID))
    ((command,),) = [mended(found)[1]]
    words = shlex.split(command)
    assert words[words.index("--analyzer-name") + 1] == "Paid-1"
    assert json.loads(words[words.index("--configuration") + 1]) == {
        "unusedAccess": {
            "unusedAccessAge": 90,
            "analysisRule": {"exclusions": [{"accountIds": ["555555555555"]}]},
        }
    }


def test_a_wanted_one_that_does_not_work_says_why() -> None:
    there = analyzer("unused", "ORGANIZATION_UNUSED_ACCESS", status="DISABLED",
                     status_reason="AWS_SERVICE_ACCESS_DISABLED")  # fmt: skip
    (found,) = unused({"unused_access_arn": UNUSED_ARN}, [there])
    assert mended(found)[0] == "management"


@pytest.mark.parametrize("arn", [None, UNUSED_ARN])
def test_what_did_not_answer_may_have_one(arn: str | None) -> None:
    (found,) = unused({"unused_access_arn": arn}, [], None, **{OTHER: "timed out"})
    assert found.status == "cannot tell"
    assert OTHER in found.says
    # What is too much is so all the same.
    there = analyzer("costly", "ACCOUNT_UNUSED_ACCESS", HOME)
    statuses = [each.status for each in unused({}, [there], None, **{OTHER: "timed out"})]
    assert statuses == ["missing"]


# --- Rules ----------------------------------------------------------------------------------------


def of_region(**changes: Any) -> tuple[ExpectedRule, FoundRule]:
    """Return the rule of the other Region, and what EventBridge has of it, changed as asked."""
    (rule,) = expected_rules(region_stack(), SETUP)
    return rule, replace(as_it_should(rule), **changes)


def test_a_rule_is_what_the_deployed_template_says() -> None:
    rule, _ = of_region()
    assert (rule.name, rule.bus, rule.region) == ("PareRegion-TestEvent", DEFAULT_BUS, OTHER)
    assert rule.pattern == PATTERN
    assert rule.targets == (
        {"Arn": HUB_BUS, "Id": "Target0", "RoleArn": ROLE, "DeadLetterConfig": {"Arn": QUEUE}},
    )
    home = {(each.bus, each.name): each for each in expected_rules(home_stack(), SETUP)}
    assert home.keys() == {
        ("default", "ParePipeline-DefaultTestRule"), ("pare", "ParePipeline-HubTestRule"),
    }  # fmt: skip
    for each in home.values():
        role = f"arn:aws:iam::{HUB}:role/service/ParePipeline-EventsRole"
        assert each.targets == ({"Arn": MACHINE, "Id": "Target0", "RoleArn": role},)


def test_a_rule_as_it_was_deployed_has_no_fault() -> None:
    assert faults_of(*of_region()) == []
    more = ({"Arn": f"{QUEUE}-somebodys", "Id": "theirs"},)
    rule, found = of_region()
    # What somebody added takes nothing away.
    assert faults_of(rule, replace(found, targets=found.targets + more)) == []


TARGET = {"Arn": HUB_BUS, "Id": "Target0", "RoleArn": ROLE, "DeadLetterConfig": {"Arn": QUEUE}}
TARGETS = json.dumps([TARGET], separators=(",", ":"))
PUT_TARGETS = (
    f"aws events put-targets --rule PareRegion-TestEvent --region {OTHER} --targets '{TARGETS}'"
)
ENABLE = f"aws events enable-rule --name PareRegion-TestEvent --region {OTHER}"


@pytest.mark.parametrize(
    ("changes", "says", "commands"),
    [
        ({"state": "DISABLED"}, "is disabled", (ENABLE,)),
        ({"targets": ()}, "has no target", (PUT_TARGETS,)),
        ({"targets": ({"Arn": f"{HUB_BUS}-other", "Id": "Target0"},)}, "has lost its target",
         (PUT_TARGETS,)),
        ({"targets": ({"Arn": HUB_BUS, "Id": "Target0", "RoleArn": f"{ROLE}-other"},)},
         "has its target with another role", (PUT_TARGETS,)),
        ({"targets": ({"Arn": HUB_BUS, "Id": "Target0", "RoleArn": ROLE},)},
         "has its target without its dead-letter queue", (PUT_TARGETS,)),
        ({"targets": ({"Arn": HUB_BUS, "Id": "Target0", "RoleArn": ROLE, "Input": "{}",
                       "DeadLetterConfig": {"Arn": QUEUE}},)},
         "changes the event on its way", (PUT_TARGETS,)),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_said_and_mended(
    changes: dict[str, Any], says: str, commands: tuple[str, ...]
) -> None:
    rule, found = of_region(**changes)
    assert [(each.says, each.commands) for each in faults_of(rule, found)] == [(says, commands)]


def test_a_rule_that_takes_other_events_is_put_anew_and_on() -> None:
    rule, found = of_region(pattern={"source": ["nothing"]}, state="DISABLED")
    faults = faults_of(rule, found)
    assert [each.says for each in faults] == ["takes other events than it should", "is disabled"]
    (command,) = (command for each in faults for command in each.commands)
    words = shlex.split(command)
    assert words[:3] == ["aws", "events", "put-rule"]
    assert words[words.index("--state") + 1] == "ENABLED"
    assert json.loads(words[words.index("--event-pattern") + 1]) == PATTERN
    assert words[words.index("--description") + 1] == "Pare's test events"


def test_a_rule_that_is_gone_is_made_anew_with_its_targets() -> None:
    rule, _ = of_region()
    (fault,) = faults_of(rule, None)
    assert fault.says == "is not there"
    assert [command.split()[2] for command in fault.commands] == ["put-rule", "put-targets"]


def test_a_rule_of_the_hub_bus_is_mended_there() -> None:
    (rule,) = (each for each in expected_rules(home_stack(), SETUP) if each.bus == "pare")
    (fault,) = faults_of(rule, replace(as_it_should(rule), state="DISABLED"))
    assert fault.commands == (
        "aws events enable-rule --name ParePipeline-HubTestRule --event-bus-name pare "
        f"--region {HOME}",
    )


def test_a_rule_whose_template_is_not_worked_out_is_left_to_cloudformation() -> None:
    odd = {"Fn::ImportValue": "elsewhere"}
    stack = region_stack()
    template = json.loads(json.dumps(stack.template))
    properties = template["Resources"]["TestEventRule"]["Properties"]
    properties["EventPattern"]["account"] = [odd]
    properties["Targets"][0]["Arn"] = odd
    (rule,) = expected_rules(replace(stack, template=template), SETUP)
    assert (rule.pattern, rule.targets) == (None, None)
    # What is not known is not compared.
    assert faults_of(rule, FoundRule("ENABLED", {}, ({"Arn": "any"},))) == []
    faults = faults_of(rule, FoundRule("ENABLED", {}, ()))
    found = judge_rules(SETUP, replace(rules_of(region_stack()), faults=tuple(faults)))
    assert mended(found)[1] == (f"npx cdk deploy PareRegion-{OTHER} --revert-drift",)


def test_all_rules_of_a_region_are_one_result() -> None:
    assert judge_rules(SETUP, rules_of(region_stack())).says == "1 rule on, with their targets"
    home = rules_of(home_stack())
    assert (judge_rules(SETUP, home).status, judge_rules(SETUP, home).subject) == ("ok", HOME)
    faults = [
        fault
        for rule in home.rules
        for fault in faults_of(rule, replace(as_it_should(rule), state="DISABLED"))
    ]
    found = judge_rules(SETUP, replace(home, faults=tuple(faults)))
    assert found.says == (
        "Rule ParePipeline-DefaultTestRule is disabled, rule ParePipeline-HubTestRule on bus "
        "pare is disabled."
    )
    assert len(mended(found)[1]) == 2


def test_a_bus_that_is_gone_is_named_once_and_deployed() -> None:
    home = rules_of(home_stack())
    gone = [
        fault
        for rule in home.rules
        for fault in faults_of(
            rule,
            replace(as_it_should(rule), state="DISABLED") if rule.bus == DEFAULT_BUS else None,
            has_bus=rule.bus == DEFAULT_BUS,
        )
    ]
    rules = {**GOOD, HOME: replace(home, faults=tuple(gone))}

    found = judge_rules(SETUP, rules[HOME])

    assert found.says == (
        "The event bus pare is not there, and with it 1 rule, rule ParePipeline-DefaultTestRule is "
        "disabled."
    )
    assert mended(found)[1] == ("npx cdk deploy ParePipeline --revert-drift",)
    by_hand = f"aws events create-event-bus --name pare --region {HOME}. Then deploy as above"
    assert found.mend is not None
    assert by_hand in found.mend.after

    arrival = judge_forwarding(SETUP, lost(), rules)
    assert arrival.says == (
        "The test event did not arrive within 90 s: the event bus pare is not there, and with it "
        "1 rule."
    )
    assert mended(arrival)[1] == ("npx cdk deploy ParePipeline --revert-drift",)
    assert arrival.mend is not None
    assert by_hand in arrival.mend.after


def test_more_rules_than_two_are_mended_by_one_deployment() -> None:
    (rule,) = expected_rules(region_stack(), SETUP)
    rules = [replace(rule, name=name) for name in ("a", "b", "c")]
    off = [
        fault
        for each in rules
        for fault in faults_of(each, replace(as_it_should(each), state="DISABLED"))
    ]
    two = judge_rules(SETUP, replace(rules_of(region_stack()), faults=tuple(off[:2])))
    three = judge_rules(SETUP, replace(rules_of(region_stack()), faults=tuple(off)))

    assert len(mended(two)[1]) == 2
    assert mended(three)[1] == (f"npx cdk deploy PareRegion-{OTHER} --revert-drift",)


def test_a_region_without_its_stack_is_deployed() -> None:
    assert mended(judge_rules(SETUP, RegionRules(OTHER))) == (
        "hub", (f"npx cdk deploy PareRegion-{OTHER}",),
    )  # fmt: skip
    assert mended(judge_rules(SETUP, RegionRules(HOME)))[1] == ("npx cdk deploy ParePipeline",)


@pytest.mark.parametrize(
    ("code", "where", "command"),
    [
        ("UnrecognizedClientException", "hub",
         f"aws account enable-region --region-name {OTHER} --region {HOME}"),
        ("AccessDeniedException", "you", "pare doctor --only findings"),
        ("InternalServerException", "you", "pare doctor --only findings"),
    ],
)  # fmt: skip
def test_a_region_that_does_not_answer_cannot_be_told(code: str, where: str, command: str) -> None:
    error = f"events:ListRules: {code}: AWS's own words"
    for found in (
        judge_rules(SETUP, RegionRules(OTHER, error=error)),
        not_told(SETUP, "findings.analyzer", OTHER, error),
    ):
        assert found.status == "cannot tell"
        assert "AWS's own words" in found.says
        assert mended(found) == (where, (command,))


def test_in_the_home_region_bad_credentials_are_bad_credentials() -> None:
    error = "events:ListRules: UnrecognizedClientException: The token is invalid."
    assert mended(not_told(SETUP, "findings.rules", HOME, error))[0] == "you"


# --- Test events ----------------------------------------------------------------------------------

GOOD = {HOME: rules_of(home_stack()), OTHER: rules_of(region_stack())}
CHECK_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def lost(region: str = OTHER, **trace: Any) -> Arrival:
    return Arrival(region, CHECK_ID, waited=90.4, trace=Trace(**trace))


def broken(stack: Stack, bus: str, **changes: Any) -> RegionRules:
    """Return the rules of a stack, those of a bus changed as asked."""
    good = rules_of(stack)
    faults: list[Fault] = []
    for rule in good.rules:
        if rule.bus == bus:
            faults += faults_of(rule, replace(as_it_should(rule), **changes))
    return replace(good, faults=tuple(faults))


def test_a_test_event_that_arrived_says_how_fast() -> None:
    found = judge_forwarding(SETUP, Arrival(OTHER, CHECK_ID, seconds=3.14159), GOOD)
    assert (found.status, found.subject, found.says) == ("ok", OTHER, "arrived after 3.1 s")
    assert found.facts == {"seconds": 3.1, "check_id": CHECK_ID}


def test_a_test_event_stays_at_a_rule_that_is_off_in_its_region() -> None:
    rules = {**GOOD, OTHER: broken(region_stack(), DEFAULT_BUS, state="DISABLED")}
    found = judge_forwarding(SETUP, lost(), rules)
    assert found.says == (
        "The test event did not arrive within 90 s: rule PareRegion-TestEvent is disabled."
    )
    assert mended(found) == ("hub", (ENABLE,))


def test_a_test_event_of_another_region_stays_at_a_rule_of_the_hub_bus_too() -> None:
    rules = {**GOOD, HOME: broken(home_stack(), "pare", targets=())}
    (command,) = mended(judge_forwarding(SETUP, lost(), rules))[1]
    assert command.startswith("aws events put-targets --rule ParePipeline-HubTestRule "
                              f"--event-bus-name pare --region {HOME} --targets ")  # fmt: skip
    # At home the default bus has its own.
    assert "nothing says" in judge_forwarding(SETUP, lost(HOME), rules).says
    rules = {**GOOD, HOME: broken(home_stack(), DEFAULT_BUS, state="DISABLED")}
    assert "is disabled" in judge_forwarding(SETUP, lost(HOME), rules).says
    assert "nothing says" in judge_forwarding(SETUP, lost(), rules).says


def test_a_region_without_its_stack_forwards_nothing() -> None:
    found = judge_forwarding(SETUP, lost(), {**GOOD, OTHER: RegionRules(OTHER)})
    assert f"stack PareRegion-{OTHER} is not deployed" in found.says
    assert mended(found)[1] == (f"npx cdk deploy PareRegion-{OTHER}",)


def test_a_dead_letter_says_why_and_the_role_gets_its_rights_again() -> None:
    arn = f"arn:aws:events:{OTHER}:{HUB}:rule/PareRegion-TestEvent"
    trace = {"dead_letter": "NO_PERMISSIONS: not authorized", "rule": arn}
    found = judge_forwarding(SETUP, lost(**trace), GOOD)
    assert "could not deliver it (NO_PERMISSIONS: not authorized)" in found.says
    trust, policy = mended(found)[1]
    assert trust.startswith("aws iam update-assume-role-policy --role-name PareRegion-ForwardRole ")
    assert f"arn:aws:events:{OTHER}:{HUB}:rule/PareRegion-TestEvent" in trust
    words = shlex.split(policy)
    assert words[:3] == ["aws", "iam", "put-role-policy"]
    assert json.loads(words[words.index("--policy-document") + 1]) == {
        "Statement": [{"Effect": "Allow", "Action": "events:PutEvents", "Resource": HUB_BUS}]
    }


def test_a_dead_letter_of_an_unknown_rule_is_left_to_cloudformation() -> None:
    found = judge_forwarding(SETUP, lost(dead_letter="NO_RESOURCE"), GOOD)
    assert mended(found)[1] == ("npx cdk deploy ParePipeline --revert-drift",)


def test_a_dead_letter_whose_target_is_gone_is_no_matter_of_roles() -> None:
    arn = f"arn:aws:events:{OTHER}:{HUB}:rule/PareRegion-TestEvent"
    reason = "NO_PERMISSIONS: Event bus arn:aws:events:bus/pare does not exist."
    found = judge_forwarding(SETUP, lost(dead_letter=reason, rule=arn), GOOD)
    assert mended(found)[1] == ("npx cdk deploy ParePipeline --revert-drift",)


def in_the_workflow(**trace: Any) -> Result:
    arn = MACHINE.replace("stateMachine", "execution") + ":1"
    return judge_forwarding(SETUP, lost(execution=arn, **trace), GOOD)


def test_an_event_that_came_to_the_workflow_is_not_said_to_be_lost() -> None:
    found = in_the_workflow(execution_says="it ended as FAILED: Boom")

    assert found.says == (
        "The test event arrived at the finding workflow and was not noted within 90 s: it ended as "
        "FAILED: Boom."
    )
    assert mended(found)[1] == ("npx cdk deploy ParePipeline --revert-drift",)
    assert found.mend and "get-execution-history" in found.mend.after


def test_an_event_that_is_still_on_its_way_is_looked_at_again() -> None:
    found = in_the_workflow(execution_says="it is at work", is_at_work=True)

    assert mended(found)[1] == ("pare doctor --only findings",)


def test_a_throttled_function_gets_its_concurrency_back() -> None:
    found = in_the_workflow(
        execution_says="it tries again and again: Lambda.TooManyRequestsException",
        throttled="NormalizeFinding-1",
    )

    assert mended(found)[1] == (
        "aws lambda delete-function-concurrency --function-name NormalizeFinding-1 "
        f"--region {HOME}",
    )
    assert found.mend and "quotas" in found.mend.after


def test_what_left_no_trace_says_what_else_is_known() -> None:
    trace: dict[str, Any] = {
        "others": 3,
        "other_reason": "NO_RESOURCE: no bus",
        "unread": "sqs:X: AccessDenied",
    }
    found = judge_forwarding(SETUP, lost(**trace), GOOD)
    assert found.says == (
        "The test event did not arrive within 90 s, and nothing says where it is; 3 other events "
        "could not be delivered there, the last because of NO_RESOURCE: no bus; not looked at: "
        "sqs:X: AccessDenied."
    )
    assert mended(found) == ("hub", ("pare doctor --only findings",))


def test_what_could_not_be_sent_or_looked_for_cannot_be_told() -> None:
    refused = Arrival(OTHER, CHECK_ID, error="events:PutEvents: AccessDeniedException: no")
    found = judge_forwarding(SETUP, refused, GOOD)
    assert (found.status, OTHER in found.says) == ("cannot tell", True)
    assert found.mend is not None
    assert "may call events:PutEvents in" in found.mend.text
    unseen = Arrival(OTHER, CHECK_ID, error="dynamodb:BatchGetItem: AccessDeniedException: no")
    found = judge_forwarding(SETUP, unseen, GOOD)
    assert found.says.startswith("Whether it arrived could not be read: dynamodb:BatchGetItem")
    assert mended(found)[0] == "you"


def test_a_table_of_runs_that_is_gone_is_no_matter_of_credentials() -> None:
    error = "dynamodb:BatchGetItem: ResourceNotFoundException: Requested resource not found"
    found = judge_forwarding(SETUP, Arrival(OTHER, CHECK_ID, error=error), GOOD)
    assert found.status == "missing"
    assert found.says == f"What arrives is not noted: the table of runs is not there: {error}."
    assert mended(found) == ("you", ("pare doctor --only running",))


def test_what_comes_from_outside_is_one_printable_line() -> None:
    found = judge_forwarding(SETUP, lost(dead_letter="\x1b[2Jgone\nfor good"), GOOD)
    assert found.says.isprintable()
